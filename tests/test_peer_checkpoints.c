/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that ironwal 0.6 has with checkpoints and shards, each reproduced there and named here for what must not happen; test_peer_faults.c has the others. The line above a
 * test says what that program does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "damage.h"
#include "faultsys.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum { SHARDS = 4 };

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	struct wal_options opts;
	struct faultsys f;
	struct logged logged;
	struct wal_store *store;
};

static void place_open(struct place *p)
{
	struct wal_error err;

	if (store_open(&p->f.sys, p->path, &p->opts, &p->store, &err) != 0)
		fail_msg("cannot open the store: %s", err.message);
}

static void place_make(struct place *p, struct wal_options opts)
{
	*p = (struct place){ .opts = opts, .logged = LOGGED_INIT };
	p->opts.log = logged_write;
	p->opts.log_arg = &p->logged;
	tmpdir_make(&p->dir, "peers");
	tmpdir_path(&p->dir, "store", p->path);
	faultsys_init(&p->f);
	place_open(p);
}

static void place_close(struct place *p)
{
	if (p->store)
		wal_store_close(p->store);
	p->store = NULL;
	assert_int_equal(p->f.open_fds, 0);
}

static void place_reopen(struct place *p)
{
	faultsys_fail(&p->f, FAULT_ANY, 0, 0);
	place_close(p);
	place_open(p);
}

static void place_remove(struct place *p)
{
	place_close(p);
	tmpdir_remove(&p->dir);
	logged_release(&p->logged);
}

static char *file_of(const struct place *p, const char *name, char buf[PATH_MAX])
{
	assert_true(snprintf(buf, PATH_MAX, "%s/%s", p->path, name) < PATH_MAX);
	return buf;
}

static int create(struct place *p, const char *id)
{
	return wal_checkpoint_create(p->store, id, strlen(id), 0, NULL);
}

static void create_or_fail(struct place *p, const char *id)
{
	struct wal_error err;

	if (wal_checkpoint_create(p->store, id, strlen(id), 0, &err) != 0)
		fail_msg("no checkpoint '%s': %s", id, err.message);
}

static void append_to(struct place *p, const char *name, uint64_t first, uint64_t next)
{
	struct wal_stream *st = stream_open_or_fail(p->store, name);

	stream_fill(st, first, next);
	wal_stream_close(st);
}

/* UINT64_MAX: the checkpoint does not know it. */
static uint64_t cut_of(struct place *p, const char *id, const char *stream)
{
	struct wal_checkpoint *c;
	uint64_t next = UINT64_MAX;
	int result = wal_checkpoint_load(p->store, id, strlen(id), &c);

	if (result != 0)
		fail_msg("no checkpoint '%s': %s", id, wal_strerror(result));
	assert_int_equal(c->id_size, strlen(id));
	assert_memory_equal(c->id, id, c->id_size);
	if (wal_checkpoint_find(c, stream, &next) != 0)
		next = UINT64_MAX;
	free(c);
	return next;
}

static void expect_latest(struct place *p, const char *id)
{
	struct wal_checkpoint *c;

	assert_int_equal(wal_checkpoint_latest(p->store, &c), 0);
	if (c->id_size != strlen(id) || memcmp(c->id, id, c->id_size) != 0)
		fail_msg("the latest is '%.*s', not '%s'", (int)c->id_size, (const char *)c->id, id);
	free(c);
}

/* Just these, in this order. */
static void expect_list(struct place *p, const char *const *ids, size_t count)
{
	struct wal_checkpoint *list;
	size_t got;

	assert_int_equal(wal_checkpoint_list(p->store, &list, &got), 0);
	assert_int_equal(got, count);
	assert_int_equal(wal_checkpoint_count(p->store), count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(list[i].id_size, strlen(ids[i]));
		assert_memory_equal(list[i].id, ids[i], list[i].id_size);
		assert_true(i == 0 || list[i].time_ns > list[i - 1].time_ns);
	}
	free(list);
}

#define EXPECT_LIST(place, ...)                                               \
	do {                                                                  \
		static const char *const ids_[] = { __VA_ARGS__ };            \
		expect_list(place, ids_, TEST_COUNT(ids_));                   \
	} while (0)

/* ---- The log and HEAD ---- */

static void fill_shards(struct place *p, uint64_t first, uint64_t next)
{
	append_to(p, p->opts.shards ? "shard_00" : "a", first, next);
	append_to(p, p->opts.shards ? "shard_01" : "b", first / 2, next / 2);
}

/* A file beside the log holds just `data` and perhaps zeros; behind a line that says where it was, if it was not the end of the log. */
static bool is_set_aside(struct place *p, const char *what, const void *data, size_t size)
{
	bool line = strcmp(what, "damaged") == 0;

	for (unsigned n = 0; n < 4; n++) {
		char name[64], path[PATH_MAX];
		size_t got, skip = 0;

		snprintf(name, sizeof(name), "checkpoints.log.%s.%u", what, n);
		if (access(file_of(p, name, path), F_OK) != 0)
			continue;
		uint8_t *bytes = file_read(path, &got);
		while (line && skip < got && bytes[skip++] != '\n')
			continue;
		bool same = got - skip >= size && memcmp(bytes + skip, data, size) == 0;
		for (size_t i = skip + size; i < got; i++)
			same &= bytes[i] == 0;
		free(bytes);
		if (same)
			return true;
	}
	return false;
}

/* 11: a torn end of checkpoints.log is not cut, so what is appended behind it is not found at the next open. */
static void torn_end_of_the_log_costs_no_later_checkpoint(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (unsigned shards = 0; shards <= SHARDS; shards += SHARDS) {
		for (size_t cut = 1; cut < 40; cut += 6) {
			place_make(&p, (struct wal_options){ .shards = shards });
			fill_shards(&p, 0, 10);
			create_or_fail(&p, "one");
			place_close(&p);
			size_t one = file_size(file_of(&p, "checkpoints.log", path)), size;
			place_open(&p);
			create_or_fail(&p, "torn");
			place_close(&p);
			damage_shrink(path, file_size(path) - one - cut);
			uint8_t *torn = file_read(path, &size);
			place_open(&p);
			expect_latest(&p, "one");
			EXPECT_LIST(&p, "one");
			assert_true(is_set_aside(&p, "torn", torn + one, size - one));
			free(torn);
			fill_shards(&p, 10, 20);
			create_or_fail(&p, "two");
			place_reopen(&p);
			EXPECT_LIST(&p, "one", "two");
			expect_latest(&p, "two");
			assert_int_equal(cut_of(&p, "one", shards ? "shard_00" : "a"), 10);
			assert_int_equal(cut_of(&p, "two", shards ? "shard_00" : "a"), 20);
			place_remove(&p);
		}
	}
}

/* 11: the scan stops at the first bad record. */
static void bad_record_costs_itself_only(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	fill_shards(&p, 0, 10);
	create_or_fail(&p, "one");
	place_close(&p);
	size_t one = file_size(file_of(&p, "checkpoints.log", path)), two;
	place_open(&p);
	create_or_fail(&p, "two");
	place_close(&p);
	two = file_size(path);
	place_open(&p);
	create_or_fail(&p, "three");
	place_close(&p);
	damage_flip_bit(path, one + 20, 3);
	size_t size;
	uint8_t *bytes = file_read(path, &size);
	place_open(&p);
	EXPECT_LIST(&p, "one", "three");
	assert_true(is_set_aside(&p, "damaged", bytes + one, two - one));
	free(bytes);
	create_or_fail(&p, "four");
	place_reopen(&p);
	EXPECT_LIST(&p, "one", "three", "four");
	place_remove(&p);
}

/* 11: a HEAD that names what is not there has no fallback; one that is too short has. */
static void head_of_no_sense_is_not_followed(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} heads[] = { { "\4\0gone", 6 }, { "", 0 }, { "\3", 1 }, { "\3\0tw", 4 }, { "\0\0", 2 }, { "\377\377two", 5 }, { "\3\0TWO", 5 }, { NULL, 0 } };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(heads); i++) {
		for (unsigned ro = 0; ro < 2; ro++) {
			place_make(&p, (struct wal_options){ 0 });
			fill_shards(&p, 0, 10);
			create_or_fail(&p, "one");
			create_or_fail(&p, "two");
			place_close(&p);
			file_of(&p, "HEAD", path);
			if (heads[i].bytes)
				file_write(path, heads[i].bytes, heads[i].size);
			else
				assert_int_equal(unlink(path), 0);
			p.opts.ro = ro;
			char *before = snapshot_take(p.path);
			place_open(&p);
			expect_latest(&p, "two");
			EXPECT_LIST(&p, "one", "two");
			if (ro)
				snapshot_expect(p.path, before);
			free(before);
			p.opts.ro = false;
			place_reopen(&p);
			assert_int_equal(wal_checkpoint_remove(p.store, "two", 3), 0);
			expect_latest(&p, "one");
			place_reopen(&p);
			expect_latest(&p, "one");
			place_remove(&p);
		}
	}
}

/* ---- Compaction ---- */

enum {
	CREATORS = 2,
	CREATED_EACH = 400,
};

struct creator {
	struct place *p;
	unsigned number;
	atomic_uint *running;
	int result;
};

static void *create_many(void *arg)
{
	struct creator *c = arg;
	char id[32];

	for (unsigned i = 0; i < CREATED_EACH && c->result == 0; i++) {
		snprintf(id, sizeof(id), "%u/%u", c->number, i);
		c->result = create(c->p, id);
	}
	atomic_fetch_sub(c->running, 1);
	return NULL;
}

/* Makes some of its own and takes them away again, by every way there is. */
static void *rewrite_on(void *arg)
{
	struct creator *c = arg;
	size_t removed;

	while (atomic_load(c->running) > 0 && c->result == 0) {
		c->result = create(c->p, "passing");
		if (c->result == 0)
			c->result = wal_checkpoint_compact(c->p->store, CREATORS * CREATED_EACH + 1, &removed);
		if (c->result == 0 && removed > 0)
			c->result = -ERANGE;
		if (c->result == 0)
			c->result = wal_checkpoint_remove(c->p->store, "passing", 7);
	}
	return NULL;
}

static void expect_created(struct place *p)
{
	char id[32];

	assert_int_equal(wal_checkpoint_count(p->store), CREATORS * CREATED_EACH);
	for (unsigned c = 0; c < CREATORS; c++) {
		for (unsigned i = 0; i < CREATED_EACH; i++) {
			snprintf(id, sizeof(id), "%u/%u", c, i);
			assert_int_equal(cut_of(p, id, "a"), 10);
		}
	}
}

/* 12: a compaction races with those that make checkpoints: 137 of 2679 acknowledged ones are gone. */
static void no_rewriting_of_the_log_loses_a_checkpoint(void **state)
{
	struct creator creators[CREATORS + 1];
	pthread_t threads[CREATORS + 1];
	atomic_uint running = CREATORS;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	fill_shards(&p, 0, 10);
	for (unsigned i = 0; i <= CREATORS; i++) {
		creators[i] = (struct creator){ &p, i, &running, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, i < CREATORS ? create_many : rewrite_on, &creators[i]), 0);
	}
	for (unsigned i = 0; i <= CREATORS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(creators[i].result, 0);
	}
	expect_created(&p);
	place_reopen(&p);
	expect_created(&p);
	place_remove(&p);
}

/* 22: compact(0) removes all, and HEAD names one that is gone. It is not touched by any other compaction either. */
static void head_names_one_that_there_is(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	fill_shards(&p, 0, 10);
	create_or_fail(&p, "one");
	create_or_fail(&p, "two");
	create_or_fail(&p, "three");
	assert_int_equal(wal_checkpoint_compact(p.store, 0, NULL), -EINVAL);
	EXPECT_LIST(&p, "one", "two", "three");
	assert_int_equal(wal_checkpoint_remove(p.store, "three", 5), 0);
	for (unsigned i = 0; i < 2; i++) {
		size_t size;

		place_reopen(&p);
		uint8_t *head = file_read(file_of(&p, "HEAD", path), &size);
		assert_int_equal(size, 5);
		assert_memory_equal(head, "\3\0two", 5);
		free(head);
		expect_latest(&p, "two");
		assert_int_equal(wal_checkpoint_compact(p.store, 1, NULL), 0);
		EXPECT_LIST(&p, "two");
	}
	assert_int_equal(wal_checkpoint_remove(p.store, "two", 3), 0);
	place_reopen(&p);
	assert_int_equal(wal_checkpoint_count(p.store), 0);
	struct wal_checkpoint *c;
	assert_int_equal(wal_checkpoint_latest(p.store, &c), WAL_NOT_FOUND);
	create_or_fail(&p, "four");
	expect_latest(&p, "four");
	place_remove(&p);
}

/* ---- Cuts ---- */

/* 13: in async mode a checkpoint names entries that were never written out, or misses all that are in the buffer. */
static void checkpoint_is_of_what_is_acknowledged_and_durable(void **state)
{
	static const enum wal_sync modes[] = { WAL_SYNC_STRICT, WAL_SYNC_BATCH, WAL_SYNC_ASYNC };
	uint64_t durable;
	struct place p;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(modes); i++) {
		for (unsigned shards = 0; shards <= SHARDS; shards += SHARDS) {
			place_make(&p, (struct wal_options){ .sync = modes[i], .shards = shards });
			const char *name = shards ? "shard_00" : "a";
			fill_shards(&p, 0, 33);
			create_or_fail(&p, "one");
			assert_int_equal(cut_of(&p, "one", name), 33);
			struct wal_stream *st = stream_open_or_fail(p.store, name);
			wal_stream_bounds(st, NULL, NULL, &durable);
			assert_int_equal(durable, 33);
			stream_fill(st, 33, 40);
			wal_stream_close(st);
			assert_int_equal(cut_of(&p, "one", name), 33);
			create_or_fail(&p, "one");
			assert_int_equal(cut_of(&p, "one", name), 40);
			place_remove(&p);
		}
	}
}

/* 13: whether the entries got to the disk is not asked. */
static void no_checkpoint_without_its_entries(void **state)
{
	struct wal_error err = { 0 };
	struct place p;

	(void)state;
	for (unsigned moved = 0; moved < 2; moved++) {
		place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
		fill_shards(&p, 0, 10);
		create_or_fail(&p, "one");
		fill_shards(&p, 10, 20);
		faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
		const char *id = moved ? "one" : "two";
		assert_int_equal(wal_checkpoint_create(p.store, id, 3, 0, &err), -EIO);
		assert_true(strstr(err.message, "'a'") || strstr(err.message, "'b'"));
		EXPECT_LIST(&p, "one");
		assert_int_equal(cut_of(&p, "one", "a"), 10);
		/* As long as what failed is not found to be there. */
		assert_int_equal(create(&p, "three"), -EIO);
		place_reopen(&p);
		EXPECT_LIST(&p, "one");
		create_or_fail(&p, "three");
		assert_int_equal(cut_of(&p, "three", "a"), 20);
		place_remove(&p);
	}
}

struct turns {
	struct place *p;
	atomic_bool stop;
	int result;
};

/* Each entry is submitted after the one before it, in another stream, was acknowledged. */
static void *append_in_turns(void *arg)
{
	struct turns *t = arg;
	struct wal_stream *streams[SHARDS];

	for (unsigned i = 0; i < SHARDS; i++)
		assert_int_equal(wal_shard_open(t->p->store, i, &streams[i]), 0);
	for (uint64_t n = 0; !atomic_load(&t->stop) && t->result == 0; n++)
		t->result = wal_stream_append(streams[n % SHARDS], &n, sizeof(n), 0, NULL);
	for (unsigned i = 0; i < SHARDS; i++)
		wal_stream_close(streams[i]);
	return NULL;
}

/* 24: the cut of a checkpoint is taken from one shard after the other while writers go on. */
static void cut_is_of_one_instant(void **state)
{
	enum { CHECKPOINTS = 2000 };
	struct wal_checkpoint *c;
	struct turns t = { 0 };
	pthread_t thread;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .shards = SHARDS, .segment_entries = 500 });
	t.p = &p;
	assert_int_equal(pthread_create(&thread, NULL, append_in_turns, &t), 0);
	for (unsigned i = 0; i < CHECKPOINTS; i++) {
		create_or_fail(&p, "one");
		assert_int_equal(wal_checkpoint_load(p.store, "one", 3, &c), 0);
		assert_int_equal(c->cut_count, SHARDS);
		for (unsigned s = 1; s < SHARDS; s++) {
			uint64_t before = c->cuts[s - 1].next_id, here = c->cuts[s].next_id;

			if (here > before || c->cuts[0].next_id > here + 1)
				fail_msg("a cut at %" PRIu64 " of shard %u and %" PRIu64 " of shard %u", before, s - 1, here, s);
		}
		free(c);
	}
	atomic_store(&t.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(t.result, 0);
	place_remove(&p);
}

/* ---- Shards ---- */

/* LOCK is written at each open: its time, and that of the directory, say nothing. */
static void forget_times(struct place *p)
{
	static const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	char path[PATH_MAX];

	assert_int_equal(utimensat(AT_FDCWD, file_of(p, "LOCK", path), times, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, p->path, times, 0), 0);
}

/* Opening it with that many shards fails, saying `text`, and changes nothing. */
static void expect_refused(struct place *p, unsigned shards, const char *text)
{
	struct wal_options opts = p->opts;
	struct wal_store *store;
	struct wal_error err = { 0 };

	forget_times(p);
	char *before = snapshot_take(p->path);
	opts.shards = shards;
	int result = wal_store_open(p->path, &opts, &store, &err);
	if (result == 0)
		wal_store_close(store);
	assert_int_equal(result, -EINVAL);
	if (!strstr(err.message, text))
		fail_msg("'%s' does not say '%s'", err.message, text);
	forget_times(p);
	snapshot_expect(p->path, before);
	free(before);
}

/* 22: the number of shards is not looked at when a store is opened: with another one keys go elsewhere than before. */
static void number_of_shards_is_fixed(void **state)
{
	static const unsigned others[] = { 1, SHARDS - 1, SHARDS + 1, 2 * SHARDS };
	struct wal_stream *st;
	struct place p;

	(void)state;
	for (unsigned filled = 0; filled < 3; filled++) {
		place_make(&p, (struct wal_options){ .shards = SHARDS });
		if (filled > 0)
			fill_shards(&p, 0, 10);
		if (filled != 1)
			create_or_fail(&p, "one");
		assert_int_equal(wal_store_shards(p.store), SHARDS);
		place_close(&p);
		for (size_t i = 0; i < TEST_COUNT(others); i++)
			expect_refused(&p, others[i], "4");
		p.opts.shards = 0;
		place_open(&p);
		assert_int_equal(wal_store_shards(p.store), SHARDS);
		assert_int_equal(wal_stream_open(p.store, "more", WAL_CREATE, &st, NULL), -EPERM);
		assert_int_equal(wal_stream_open(p.store, "shard_04", WAL_CREATE, &st, NULL), -EPERM);
		assert_int_equal(wal_stream_delete(p.store, "shard_02"), -EPERM);
		place_remove(&p);
	}
	place_make(&p, (struct wal_options){ 0 });
	append_to(&p, "a", 0, 3);
	place_close(&p);
	expect_refused(&p, SHARDS, "0");
	place_remove(&p);
}

/* 22: likewise if a directory is missing. */
static void missing_shard_is_noticed(void **state)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct wal_stream *st;
	struct place p;

	(void)state;
	for (unsigned missing = 0; missing < SHARDS; missing++) {
		place_make(&p, (struct wal_options){ .shards = SHARDS });
		fill_shards(&p, 0, 10);
		create_or_fail(&p, "one");
		place_close(&p);
		char name[16];
		snprintf(name, sizeof(name), "shard_%02u", missing);
		file_of(&p, name, from);
		assert_int_equal(rename(from, tmpdir_path(&p.dir, "away", to)), 0);
		expect_refused(&p, SHARDS, "4");
		expect_refused(&p, 0, "4");
		p.opts.shards = 0;
		p.opts.ro = true;
		place_open(&p);
		assert_int_equal(wal_store_shards(p.store), 0);
		assert_int_equal(wal_stream_open(p.store, name, 0, &st, NULL), -ENOENT);
		assert_int_equal(wal_stream_open(p.store, missing == 3 ? "shard_00" : "shard_03", 0, &st, NULL), 0);
		wal_stream_close(st);
		place_close(&p);
		assert_int_equal(rename(to, from), 0);
		p.opts.ro = false;
		place_open(&p);
		assert_int_equal(wal_store_shards(p.store), SHARDS);
		assert_int_equal(cut_of(&p, "one", "shard_00"), 10);
		place_remove(&p);
	}
}

/* 24: lengths are cast unchecked. */
static void ids_are_of_any_bytes_up_to_their_limit(void **state)
{
	uint8_t *id = malloc(WAL_CHECKPOINT_ID_MAX + 1);
	struct wal_checkpoint *c;
	struct place p;

	(void)state;
	assert_non_null(id);
	for (size_t i = 0; i <= WAL_CHECKPOINT_ID_MAX; i++)
		id[i] = (uint8_t)i;
	place_make(&p, (struct wal_options){ 0 });
	fill_shards(&p, 0, 10);
	assert_int_equal(wal_checkpoint_create(p.store, id, WAL_CHECKPOINT_ID_MAX + 1, 0, NULL), -EINVAL);
	assert_int_equal(wal_checkpoint_create(p.store, id, 0, 0, NULL), -EINVAL);
	assert_int_equal(wal_checkpoint_create(p.store, id, WAL_CHECKPOINT_ID_MAX, 0, NULL), 0);
	assert_int_equal(wal_checkpoint_create(p.store, id, 1, 0, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(wal_checkpoint_count(p.store), 2);
		assert_int_equal(wal_checkpoint_load(p.store, id, WAL_CHECKPOINT_ID_MAX, &c), 0);
		assert_int_equal(c->id_size, WAL_CHECKPOINT_ID_MAX);
		assert_memory_equal(c->id, id, WAL_CHECKPOINT_ID_MAX);
		assert_int_equal(c->cut_count, 2);
		assert_string_equal(c->cuts[0].stream, "a");
		assert_int_equal(c->cuts[0].next_id, 10);
		free(c);
		place_reopen(&p);
	}
	place_remove(&p);
	free(id);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_end_of_the_log_costs_no_later_checkpoint),
		cmocka_unit_test(bad_record_costs_itself_only),
		cmocka_unit_test(head_of_no_sense_is_not_followed),
		cmocka_unit_test(no_rewriting_of_the_log_loses_a_checkpoint),
		cmocka_unit_test(head_names_one_that_there_is),
		cmocka_unit_test(checkpoint_is_of_what_is_acknowledged_and_durable),
		cmocka_unit_test(no_checkpoint_without_its_entries),
		cmocka_unit_test(cut_is_of_one_instant),
		cmocka_unit_test(number_of_shards_is_fixed),
		cmocka_unit_test(missing_shard_is_noticed),
		cmocka_unit_test(ids_are_of_any_bytes_up_to_their_limit),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(300); /* a hang is a failure, not a wait */
	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
