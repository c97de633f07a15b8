/* SPDX-License-Identifier: Apache-2.0 */
/* The defaults behind the zeros in struct wal_options; what programs see of the options is in wal.h. */
#ifndef WAL_OPTIONS_H
#define WAL_OPTIONS_H

#include "wal.h"

/* Puts the default into every field that is 0 and has one. WAL_SIZE_NONE stays. */
void options_fill_defaults(struct wal_options *opts);

#endif
