/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of many streams: several threads open and close them, and those that nobody uses cost little memory. */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "damage.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

enum {
	STREAMS = 96, /* three threads open them */
	THREADS = 4,
	READERS = 2,
	ROUNDS = 6,
	ENTRIES = 3, /* of each stream, and of each round */
	MANY_STREAMS = 1000,
	STREAM_BYTES_MAX = 1536,
};

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
};

static char *name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "stream-%04u", i);
	return name;
}

/* The directory of a stream may be copied while the store is closed. */
static void make(struct place *p, unsigned streams)
{
	char from[PATH_MAX + 32], to[PATH_MAX + 32], name[32];

	tmpdir_make(&p->dir, "many");
	tmpdir_path(&p->dir, "store", p->path);
	struct wal_store *store = store_open_or_fail(p->path, NULL);
	struct wal_stream *st = stream_open_or_fail(store, name_of(0, name));
	stream_fill(st, 0, ENTRIES);
	wal_stream_close(st);
	store_close_or_fail(store);
	snprintf(from, sizeof(from), "%s/%s", p->path, name);
	for (unsigned i = 1; i < streams; i++) {
		snprintf(to, sizeof(to), "%s/%s", p->path, name_of(i, name));
		copy_tree(from, to);
	}
}

struct user {
	pthread_t thread;
	struct wal_store *store;
	unsigned no;
	atomic_bool *writers_done;
};

static void *append_in_turn(void *arg)
{
	struct user *u = arg;
	char name[32];

	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = u->no; i < STREAMS; i += THREADS) {
			struct wal_stream *st = stream_open_or_fail(u->store, name_of(i, name));

			stream_fill(st, round * ENTRIES, (round + 1) * ENTRIES);
			wal_stream_close(st);
		}
	}
	return NULL;
}

/* Of what is appended to as well as of what rests. */
static void *read_in_turn(void *arg)
{
	struct user *u = arg;
	char name[32];

	for (unsigned i = u->no; !atomic_load(u->writers_done); i = (i + 7) % STREAMS) {
		struct wal_stream *st = stream_open_or_fail(u->store, name_of(i, name));
		uint64_t next;

		wal_stream_bounds(st, NULL, &next, NULL);
		struct wal_entry_info info;
		assert_int_equal(wal_stream_lookup(st, next - 1, &info), 0);
		assert_int_equal(info.id, next - 1);
		wal_stream_close(st);
	}
	return NULL;
}

static void expect_all(struct wal_store *store, uint64_t next)
{
	char name[32];

	for (unsigned i = 0; i < STREAMS; i++) {
		struct wal_stream *st = stream_open_or_fail(store, name_of(i, name));

		stream_expect(st, 0, next);
		wal_stream_close(st);
	}
}

/* So few segments may be open that streams come to rest and are used again all the time. */
static void used_in_turn(void **state)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .max_open_segments = 8 };
	struct user users[THREADS + READERS];
	atomic_bool writers_done = false;
	struct place p;

	(void)state;
	make(&p, STREAMS);
	struct wal_store *store = store_open_or_fail(p.path, &opts);
	for (unsigned i = 0; i < THREADS + READERS; i++) {
		users[i] = (struct user){ .store = store, .no = i, .writers_done = &writers_done };
		assert_int_equal(pthread_create(&users[i].thread, NULL, i < THREADS ? append_in_turn : read_in_turn, &users[i]), 0);
	}
	for (unsigned i = 0; i < THREADS + READERS; i++) {
		if (i == THREADS)
			atomic_store(&writers_done, true);
		assert_int_equal(pthread_join(users[i].thread, NULL), 0);
	}
	expect_all(store, (ROUNDS + 1) * ENTRIES);
	store_close_or_fail(store);
	store = store_open_or_fail(p.path, &opts);
	expect_all(store, (ROUNDS + 1) * ENTRIES);
	store_close_or_fail(store);
	tmpdir_remove(&p.dir);
}

static void damaged(struct place *p, unsigned i)
{
	char path[PATH_MAX], name[32];

	damage_shrink(segment_path(p->path, name_of(i, name), 0, ".wal", path), 10);
}

/* Whatever threads open what, it is always the same stream that is named: with others that fail behind it. */
static void some_are_damaged(void **state)
{
	const struct wal_options refuse = { .on_corruption = WAL_ON_CORRUPTION_ERROR };
	struct logged logged = LOGGED_INIT;
	const struct wal_options allow = { .log = logged_write, .log_arg = &logged };
	struct wal_error first = { 0 }, error;
	struct wal_store *store;
	struct place p;
	char name[32];

	(void)state;
	make(&p, STREAMS);
	for (unsigned i = 5; i < STREAMS; i += 9)
		damaged(&p, i);
	size_t fds = open_fd_count();
	assert_int_equal(wal_store_open(p.path, &refuse, &store, &first), -EBADMSG);
	assert_non_null(strstr(first.message, "stream-"));
	for (unsigned n = 0; n < 5; n++) {
		error = (struct wal_error){ 0 };
		assert_int_equal(wal_store_open(p.path, &refuse, &store, &error), -EBADMSG);
		assert_string_equal(error.message, first.message);
	}
	assert_int_equal(open_fd_count(), fds);
	store = store_open_or_fail(p.path, &allow);
	for (unsigned i = 0; i < STREAMS; i++) {
		struct wal_stream *st = stream_open_or_fail(store, name_of(i, name));
		struct wal_stream_stat stat;

		assert_int_equal(wal_stream_health(st), i % 9 == 5 ? WAL_READONLY : WAL_HEALTHY);
		assert_int_equal(wal_stream_stat(st, &stat), 0);
		assert_int_equal(stat.health, wal_stream_health(st));
		assert_int_equal(stat.tail, wal_stream_tail(st));
		assert_true(i % 9 != 5 || stat.reason[0]);
		assert_true(logged_has(&logged, name) == (i % 9 == 5));
		wal_stream_close(st);
	}
	store_close_or_fail(store);
	logged_release(&logged);
	tmpdir_remove(&p.dir);
}

/* A sanitizer keeps memory of its own. */
#ifndef SANITIZED
static void memory_of_those_that_rest(void **state)
{
	struct place p;

	(void)state;
	make(&p, MANY_STREAMS);
	/* What the library needs once does not count. */
	store_close_or_fail(store_open_or_fail(p.path, NULL));
	size_t before = mallinfo2().uordblks;
	struct wal_store *store = store_open_or_fail(p.path, NULL);
	size_t after = mallinfo2().uordblks;
	assert_in_range((after - before) / MANY_STREAMS, 1, STREAM_BYTES_MAX);
	store_close_or_fail(store);
	tmpdir_remove(&p.dir);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(used_in_turn),
		cmocka_unit_test(some_are_damaged),
#ifndef SANITIZED
		cmocka_unit_test(memory_of_those_that_rest),
#endif
	};

	return TEST_RUN(tests);
}
