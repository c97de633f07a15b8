/* SPDX-License-Identifier: Apache-2.0 */
/* Stores for tests: opening and filling them, and comparing what they hold. Functions fail the running test when the library does not do as asked. */
#ifndef STORES_H
#define STORES_H

#include <pthread.h>
#include <stdbool.h>

#include "store.h"

/* What the library logged, line by line. Safe for several threads. */
struct logged {
	pthread_mutex_t lock;
	char *text;
	size_t size;
};

#define LOGGED_INIT { .lock = PTHREAD_MUTEX_INITIALIZER }

/* For struct wal_options.log; log_arg is the struct logged. */
void logged_write(void *arg, enum wal_log_level level, const char *message);
/* Whether any line holds `text`. */
bool logged_has(struct logged *logged, const char *text);
void logged_release(struct logged *logged);

struct wal_store *store_open_or_fail(const char *path, const struct wal_options *opts);
void store_close_or_fail(struct wal_store *store);
/* Makes it if need be, unless the store is read-only. */
struct wal_stream *stream_open_or_fail(struct wal_store *store, const char *name);

/* The content of entry `id` in tests that need no other: a few to a few hundred bytes that say the id; *ret_size of them. */
#define ENTRY_SIZE_MAX 1024
const void *entry_content(uint64_t id, uint8_t buf[ENTRY_SIZE_MAX], size_t *ret_size);

/* Appends the entries `first` … `next` - 1 with that content, whose ids must come out as that. */
void stream_fill(struct wal_stream *st, uint64_t first, uint64_t next);

/* The stream holds just `first` … `next` - 1 with that content, by every way of reading; times increase strictly. */
void stream_expect(struct wal_stream *st, uint64_t first, uint64_t next);

/* "<dir>/<stream>/<id as 20 digits><suffix>" in `buf` of PATH_MAX bytes, which is returned. */
char *segment_path(const char *store, const char *stream, uint64_t first_id, const char *suffix, char *buf);

#endif
