/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are only read: one at a time through a window, and lists of those in a directory. */
#ifndef IMPORT_INPUT_H
#define IMPORT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal.h"

struct input {
	int fd; /* -1: none */
	const char *name;
	uint64_t size; /* when it was opened */
	int64_t mtime_ns;
	/* the window: what it holds of the file */
	uint8_t *window;
	size_t capacity, filled;
	uint64_t at;
};

/* All-zero but for fd. */
#define INPUT_NONE ((struct input){ .fd = -1 })

/* Opens the regular file `name` (which stays the caller's) below `dir_fd`, instead of the one before. -EINVAL: it is not a regular file. */
int input_open(struct input *input, int dir_fd, const char *name, struct wal_error *err);

/* `size` bytes at `offset`, within input->size; *ret is valid until the next call. -EIO also: the file became shorter. */
int input_get(struct input *input, uint64_t offset, size_t size, const uint8_t **ret, struct wal_error *err);

/* Whether the bytes from `offset` to the end are all zero: 1 or 0. */
int input_is_zero(struct input *input, uint64_t offset, struct wal_error *err);

/* Closes the file and keeps the window. */
void input_close(struct input *input);

void input_release(struct input *input);

/* open(2), read-only, without a change of the time of access where that may be; never waits for a writer of a FIFO. A negative errno. */
int input_open_fd(int dir_fd, const char *name, int flags);

struct listed {
	char *name; /* relative to the directory */
	uint64_t size;
	uint64_t number; /* the caller's */
};

/* Files in a directory, or the one file that was given instead. Begin with all-zero but for fd. */
struct listing {
	int dir_fd;
	struct listed *files;
	size_t count, capacity;
	uint64_t bytes;
};

#define LISTING_NONE ((struct listing){ .dir_fd = -1 })

/* Says whether `name` is one of those wanted, and may set its number. */
typedef bool listing_filter(const char *name, uint64_t *ret_number);

/*
 * The regular files at `path`, with `recursive` also in directories below, symbolic links left out; or the one file `path` itself, which is wanted in any case. Sorted by number, then by name bytewise. *ret_passed (may be NULL) is how many
 * things were passed over that are neither files nor directories.
 */
int listing_read(struct listing *listing, const char *path, listing_filter *filter, bool recursive, uint64_t *ret_passed, struct wal_error *err);

void listing_release(struct listing *listing);

#endif
