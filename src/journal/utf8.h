/* SPDX-License-Identifier: Apache-2.0 */
/* Texts in records. */
#ifndef WAL_JOURNAL_UTF8_H
#define WAL_JOURNAL_UTF8_H

#include <stddef.h>

/* Where the first byte stands that is not part of a valid sequence (RFC 3629: no surrogates, no longer forms); `size` if there is none. */
size_t utf8_valid_size(const void *text, size_t size);

#endif
