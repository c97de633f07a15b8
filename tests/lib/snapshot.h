/* SPDX-License-Identifier: Apache-2.0 */
/* What a directory tree holds, as one text to compare: each name with its type, size, modification time and a checksum of its content. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <stdbool.h>

/* To be freed by the caller. Fails the running test if the tree can't be read. */
char *snapshot_take(const char *path);

/* Fails the running test, saying which line differs, if the tree is not as it was. */
void snapshot_expect(const char *path, const char *before);

#endif
