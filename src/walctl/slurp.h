/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WALCTL_SLURP_H
#define WALCTL_SLURP_H

#include <stddef.h>
#include <stdint.h>

/* All of a file, or of standard input ("-"), followed by a NUL that doesn't count; for free(3). -EFBIG: it is longer than `bytes_max`. */
int slurp(const char *path, uint64_t bytes_max, char **ret_text, size_t *ret_size);

#endif
