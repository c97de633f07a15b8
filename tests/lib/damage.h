/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that make, look at and damage files, by path. They fail the running test when the system does not do as asked. */
#ifndef DAMAGE_H
#define DAMAGE_H

#include <stddef.h>
#include <stdint.h>

/* All of a file in memory, to be freed by the caller; a NUL follows the last byte. */
uint8_t *file_read(const char *path, size_t *ret_size);
/* Makes the file, or replaces what is in it. */
void file_write(const char *path, const void *data, size_t size);
uint64_t file_size(const char *path);

void damage_flip_bit(const char *path, uint64_t offset, unsigned bit);
void damage_set_byte(const char *path, uint64_t offset, uint8_t value);
/* Cuts `size` bytes off the end. */
void damage_shrink(const char *path, uint64_t size);
/* Adds `size` zeros at the end. */
void damage_grow_zeros(const char *path, uint64_t size);
void damage_append(const char *path, const void *data, size_t size);
/* Copies a file, or a directory with all that is in it, to `to`, which does not exist. */
void copy_tree(const char *from, const char *to);

#endif
