/* SPDX-License-Identifier: Apache-2.0 */
/* Where the library's messages go: to the caller's callback, or nowhere. And the one place that fills a struct wal_error. */
#ifndef WAL_LOG_H
#define WAL_LOG_H

#include "wal.h"

struct log {
	void (*write)(void *arg, enum wal_log_level level, const char *message); /* may be NULL */
	void *arg;
};

/* One line to the callback, cut at 1 KiB; control bytes in it (names may hold any) become '?'. Keeps errno. */
__attribute__((format(printf, 3, 4))) void log_write(const struct log *log, enum wal_log_level level, const char *format, ...);

/*
 * Fills `err` (NULL: nothing to do) with `code`, `path` (may be NULL) and the message, and returns `code`, so that a function can end with
 * `return error_set(err, -EINVAL, NULL, "…")`. Offset and pid become 0: set them afterwards where there are any.
 */
__attribute__((format(printf, 4, 5))) int error_set(struct wal_error *err, int code, const char *path, const char *format, ...);

#endif
