/* SPDX-License-Identifier: Apache-2.0 */
/* Sharded stores: how many shards there are, for ever, and which key goes where. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "faultsys.h"
#include "key_hashes.h"
#include "random.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

/* The build has calls of calloc() come here. Of this thread the one that the counter comes down to fails; a counter of the thread's own needs no lock. */
static _Thread_local unsigned calloc_countdown;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	return calloc_countdown > 0 && --calloc_countdown == 0 ? NULL : __real_calloc(count, size);
}

/* The `nth` from now on fails (1: the next); 0: none. */
static void calloc_fail(unsigned nth)
{
	calloc_countdown = nth;
}

static void shard_name(char name[32], unsigned shard)
{
	snprintf(name, 32, "shard_%02u", shard);
}

/* Just the shards are there, all of them. */
static void expect_shards(struct wal_store *store, uint32_t shards)
{
	char **names, name[32];
	size_t count;

	assert_int_equal(wal_store_shards(store), shards);
	assert_int_equal(wal_store_list(store, &names, &count), 0);
	assert_int_equal(count, shards);
	free(names);
	for (uint32_t i = 0; i < shards; i++) {
		struct wal_stream *st;

		shard_name(name, i);
		assert_int_equal(wal_shard_open(store, i, &st), 0);
		assert_string_equal(wal_stream_name(st), name);
		wal_stream_close(st);
	}
	struct wal_stream *none = NULL;
	assert_int_equal(wal_shard_open(store, shards, &none), -EINVAL);
	assert_int_equal(wal_shard_open(store, UINT32_MAX, &none), -EINVAL);
	assert_null(none);
}

static struct wal_store *open_sharded(const struct tmpdir *dir, uint32_t shards)
{
	return store_open_or_fail(dir->path, &(struct wal_options){ .shards = shards, .sync = WAL_SYNC_ASYNC });
}

/* What opening it with `shards` says is wrong names both numbers. */
static void expect_refused(const struct tmpdir *dir, struct wal_options opts, const char *text)
{
	struct wal_store *store = NULL;
	struct wal_error err = { 0 };
	char *before = snapshot_take(dir->path);

	assert_int_equal(wal_store_open(dir->path, &opts, &store, &err), -EINVAL);
	assert_null(store);
	assert_int_equal(err.code, -EINVAL);
	if (!strstr(err.message, text))
		fail_msg("the message '%s' does not say '%s'", err.message, text);
	assert_non_null(strstr(err.message, dir->path));
	snapshot_expect(dir->path, before);
	free(before);
}

static void remove_stream_dir(const struct tmpdir *dir, const char *name)
{
	char path[PATH_MAX], file[PATH_MAX];
	struct dirent *entry;
	DIR *d = opendir(tmpdir_path(dir, name, path));

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		assert_true(snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) < PATH_MAX);
		assert_int_equal(unlink(file), 0);
	}
	closedir(d);
	assert_int_equal(rmdir(path), 0);
}

/* ---- How many ---- */

static void the_number_is_fixed_when_the_store_is_made(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = open_sharded(&dir, 8);
	expect_shards(store, 8);
	store_close_or_fail(store);
	for (uint32_t shards = 0; shards <= 8; shards += 8) {
		store = open_sharded(&dir, shards);
		expect_shards(store, 8);
		store_close_or_fail(store);
	}
	store = store_open_or_fail(dir.path, &(struct wal_options){ .ro = true });
	expect_shards(store, 8);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

static void another_number_is_refused(void **state)
{
	static const struct {
		uint32_t shards;
		const char *text;
	} others[] = { { 1, "8 shards, not 1:" }, { 7, "8 shards, not 7:" }, { 9, "8 shards, not 9:" }, { 65535, "8 shards, not 65535:" } };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = open_sharded(&dir, 8);
	assert_int_equal(wal_shard_append(store, "k", 1, "v", 1, 0, NULL, NULL), 0);
	store_close_or_fail(store);
	for (size_t i = 0; i < TEST_COUNT(others); i++) {
		expect_refused(&dir, (struct wal_options){ .shards = others[i].shards, .ro = true }, others[i].text);
		struct wal_error err = { 0 };
		assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = others[i].shards }, &store, &err), -EINVAL);
		assert_non_null(strstr(err.message, others[i].text));
		store = open_sharded(&dir, 0); /* it was not changed by that */
		expect_shards(store, 8);
		store_close_or_fail(store);
	}
	tmpdir_remove(&dir);
}

static void a_store_of_named_streams_has_none(void **state)
{
	struct wal_store *store;
	struct wal_error err = { 0 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	store = store_open_or_fail(dir.path, NULL);
	stream_fill(stream_open_or_fail(store, "orders"), 0, 3);
	store_close_or_fail(store);
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 4 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "0 shards, not 4:"));
	store = store_open_or_fail(dir.path, NULL);
	assert_int_equal(wal_store_shards(store), 0);
	char **names;
	size_t count;
	assert_int_equal(wal_store_list(store, &names, &count), 0);
	assert_int_equal(count, 1);
	free(names);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

static void numbers_out_of_range(void **state)
{
	struct wal_store *store = NULL;
	struct wal_error err = { 0 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 65536 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "65536"));
	assert_non_null(strstr(err.message, "65535"));
	store = open_sharded(&dir, 1);
	expect_shards(store, 1);
	uint32_t shard = 7;
	assert_int_equal(wal_shard_append(store, "anything", 8, "v", 1, 0, &shard, NULL), 0);
	assert_int_equal(shard, 0);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* Names go on behind two digits. */
static void more_than_a_hundred(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = open_sharded(&dir, 101);
	expect_shards(store, 101);
	store_close_or_fail(store);
	store = open_sharded(&dir, 0);
	expect_shards(store, 101);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* Whichever call of making it fails, the next try comes to the end of it. */
static void unfinished_creation_is_continued(void **state)
{
	enum { SHARDS = 3 };

	(void)state;
	for (unsigned n = 1;; n++) {
		struct wal_options opts = { .shards = SHARDS, .sync = WAL_SYNC_ASYNC };
		struct wal_error err = { 0 };
		struct wal_store *store;
		struct faultsys f;
		struct tmpdir dir;

		tmpdir_make(&dir, "shard");
		faultsys_init(&f);
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		f.sticky = true;
		int r = store_open(&f.sys, dir.path, &opts, &store, &err);
		bool hit = faultsys_hit(&f);
		if (r == 0)
			wal_store_close(store);
		else
			assert_true(r == -EIO && err.message[0] != '\0');
		assert_int_equal(f.open_fds, 0);
		store = open_sharded(&dir, SHARDS);
		expect_shards(store, SHARDS);
		assert_int_equal(wal_shard_append(store, "k", 1, "v", 1, 0, NULL, NULL), 0);
		store_close_or_fail(store);
		tmpdir_remove(&dir);
		if (!hit) {
			assert_true(n > 10);
			break;
		}
	}
}

/* Also while nothing is in them: who made them has keys for them in mind. */
static void empty_shards_are_not_multiplied(void **state)
{
	struct wal_store *store = NULL;
	struct wal_error err = { 0 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	store_close_or_fail(open_sharded(&dir, 2));
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 4 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "2 shards, not 4:"));
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 1 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "2 shards, not 1:"));
	store = open_sharded(&dir, 0);
	expect_shards(store, 2);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* ---- Missing shards ---- */

static void a_shard_is_missing(void **state)
{
	static const struct {
		unsigned shard;
		const char *told, *asked;
	} cases[] = {
		{ 0, "of 4 shards, but there are 0", "0 shards, not 4:" },
		{ 2, "of 4 shards, but there are 2", "2 shards, not 4:" },
		{ 3, "of 4 shards, but there are 3", "3 shards, not 4:" },
	};

	(void)state;
	/* LOCK tells, or where the original made the store, which has none, the checkpoints do. */
	for (size_t i = 0; i < 2 * TEST_COUNT(cases); i++) {
		bool no_lock = i >= TEST_COUNT(cases);
		struct tmpdir dir;
		char name[32], lock[PATH_MAX];
		struct wal_stream *st;
		struct wal_error err = { 0 };

		tmpdir_make(&dir, "shard");
		struct wal_store *store = open_sharded(&dir, 4);
		for (uint32_t s = 0; s < 4; s++) {
			assert_int_equal(wal_shard_open(store, s, &st), 0);
			stream_fill(st, 0, s + 1);
			wal_stream_close(st);
		}
		assert_int_equal(wal_checkpoint_create(store, "c", 1, 0, NULL), 0);
		store_close_or_fail(store);
		shard_name(name, cases[i % TEST_COUNT(cases)].shard);
		remove_stream_dir(&dir, name);
		if (no_lock)
			assert_int_equal(unlink(tmpdir_path(&dir, "LOCK", lock)), 0);
		store = NULL;
		assert_int_equal(wal_store_open(dir.path, NULL, &store, &err), -EINVAL);
		assert_non_null(strstr(err.message, no_lock ? "checkpoints tell" : "LOCK file tells"));
		if (!strstr(err.message, cases[i % TEST_COUNT(cases)].told) || !strstr(err.message, name))
			fail_msg("the message '%s' does not say '%s' or '%s'", err.message, cases[i % TEST_COUNT(cases)].told, name);
		assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 4 }, &store, &err), -EINVAL);
		assert_non_null(strstr(err.message, cases[i % TEST_COUNT(cases)].asked));
		assert_null(store);
		assert_int_not_equal(access(tmpdir_path(&dir, name, (char[PATH_MAX]){ 0 }), F_OK), 0);

		/* What there is can be read. */
		struct logged logged = LOGGED_INIT;
		store = store_open_or_fail(dir.path, &(struct wal_options){ .ro = true, .log = logged_write, .log_arg = &logged });
		assert_true(logged_has(&logged, cases[i % TEST_COUNT(cases)].told));
		logged_release(&logged);
		assert_int_equal(wal_store_shards(store), 0);
		for (uint32_t s = 0; s < 4; s++) {
			if (s == cases[i % TEST_COUNT(cases)].shard)
				continue;
			shard_name(name, s);
			st = stream_open_or_fail(store, name);
			stream_expect(st, 0, s + 1);
			wal_stream_close(st);
		}
		assert_int_equal(wal_shard_append(store, "k", 1, "v", 1, 0, NULL, NULL), -EINVAL);
		store_close_or_fail(store);
		tmpdir_remove(&dir);
	}
}

/* Without a checkpoint that tells, a hole shows all the same that keys would go astray. */
static void a_hole_that_nothing_tells_of(void **state)
{
	struct logged logged = LOGGED_INIT;
	struct wal_store *store;
	struct wal_error err = { 0 };
	char lock[PATH_MAX];
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	store = open_sharded(&dir, 4);
	for (uint32_t s = 0; s < 4; s++) {
		struct wal_stream *st;

		assert_int_equal(wal_shard_open(store, s, &st), 0);
		stream_fill(st, 0, 1);
		wal_stream_close(st);
	}
	store_close_or_fail(store);
	remove_stream_dir(&dir, "shard_02");
	assert_int_equal(wal_store_open(dir.path, NULL, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "LOCK file tells of 4 shards, but there are 2 (shard_02 is missing)"));
	assert_int_equal(unlink(tmpdir_path(&dir, "LOCK", lock)), 0);
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 4 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "2 shards, not 4:"));
	assert_int_equal(wal_store_open(dir.path, &(struct wal_options){ .shards = 2 }, &store, &err), -EINVAL);
	store = store_open_or_fail(dir.path, &(struct wal_options){ .log = logged_write, .log_arg = &logged });
	assert_int_equal(wal_store_shards(store), 0);
	assert_true(logged_has(&logged, "2 shards"));
	logged_release(&logged);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* ---- Made while the lock is waited for ---- */

/* Another process makes the store after this one has looked at the directory and before it has the lock. */
struct late {
	struct sys sys;
	const char *path;
	uint32_t shards; /* of the one that is made; 0: with the stream "orders" */
	bool made;
};

static int late_flock(struct sys *sys, int fd, int operation)
{
	struct late *late = container_of(sys, struct late, sys);

	if (!late->made) {
		struct wal_store *store = store_open_or_fail(late->path, &(struct wal_options){ .shards = late->shards });
		struct wal_stream *st = NULL;

		late->made = true;
		if (late->shards > 0)
			assert_int_equal(wal_shard_open(store, 0, &st), 0);
		else
			st = stream_open_or_fail(store, "orders");
		stream_fill(st, 0, 3);
		wal_stream_close(st);
		store_close_or_fail(store);
	}
	return sys_real()->flock(sys_real(), fd, operation);
}

static int open_late(const struct tmpdir *dir, uint32_t made, uint32_t want, struct wal_store **ret_store, struct wal_error *err)
{
	struct late late = { .sys = *sys_real(), .path = dir->path, .shards = made };

	late.sys.flock = late_flock;
	int result = store_open(&late.sys, dir->path, &(struct wal_options){ .shards = want }, ret_store, err);
	assert_true(late.made);
	if (result == 0) {
		expect_shards(*ret_store, made);
		store_close_or_fail(*ret_store);
	}
	return result;
}

static void a_store_that_came_to_be_meanwhile(void **state)
{
	static const struct {
		uint32_t made, want;
		int result;
	} cases[] = { { 4, 8, -EINVAL }, { 4, 2, -EINVAL }, { 4, 4, 0 }, { 4, 0, 0 }, { 0, 8, -EINVAL }, { 0, 1, -EINVAL } };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		struct wal_store *store = NULL;
		struct wal_error err = { 0 };
		struct wal_stream *st;
		struct tmpdir dir;
		char **names;
		size_t count;

		tmpdir_make(&dir, "shard");
		assert_int_equal(open_late(&dir, cases[i].made, cases[i].want, &store, &err), cases[i].result);
		if (cases[i].result < 0) {
			assert_int_equal(err.code, cases[i].result);
			assert_non_null(strstr(err.message, dir.path));
		}
		/* It is as it was made. */
		store = store_open_or_fail(dir.path, NULL);
		assert_int_equal(wal_store_shards(store), cases[i].made);
		assert_int_equal(wal_store_list(store, &names, &count), 0);
		assert_int_equal(count, cases[i].made > 0 ? cases[i].made : 1);
		st = stream_open_or_fail(store, cases[i].made > 0 ? "shard_00" : "orders");
		stream_expect(st, 0, 3);
		wal_stream_close(st);
		free(names);
		store_close_or_fail(store);
		tmpdir_remove(&dir);
	}
}

/* ---- Other streams ---- */

static void streams_of_a_sharded_store(void **state)
{
	struct wal_stream *st = NULL;
	struct wal_error err = { 0 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = open_sharded(&dir, 3);
	static const char *const names[] = { "orders", "shard_03", "shard_3", "shard_100" };
	for (size_t i = 0; i < TEST_COUNT(names); i++) {
		assert_int_equal(wal_stream_open(store, names[i], WAL_CREATE, &st, &err), -EPERM);
		assert_int_equal(err.code, -EPERM);
		assert_non_null(strstr(err.message, names[i]));
		assert_int_equal(wal_stream_open(store, names[i], 0, &st, NULL), -ENOENT);
		assert_int_equal(wal_stream_delete(store, names[i]), -ENOENT);
	}
	assert_null(st);
	assert_int_equal(wal_stream_delete(store, "shard_01"), -EPERM);
	assert_int_equal(wal_stream_open(store, "shard_01", WAL_CREATE, &st, NULL), 0);
	wal_stream_close(st);
	assert_int_equal(wal_stream_open(store, "shard_01", WAL_CREATE | WAL_EXCL, &st, NULL), -EEXIST);
	expect_shards(store, 3);
	store_close_or_fail(store);
	store = open_sharded(&dir, 3);
	expect_shards(store, 3);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

static void shards_of_a_store_of_named_streams(void **state)
{
	static const char *const refused[] = { "shard_00", "shard_09", "shard_10", "shard_99", "shard_100", "shard_65534" };
	static const char *const allowed[] = { "shard", "shard_", "shard_0", "shard_000", "shard_0x", "shards_00", "Shard_00" };
	struct wal_keyed_entry entry = { .key = "k", .key_size = 1, .data = "v", .size = 1, .result = 77 };
	struct iovec iov = { (void *)"v", 1 };
	struct wal_stream *st = NULL;
	struct wal_error err = { 0 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = store_open_or_fail(dir.path, NULL);
	for (size_t i = 0; i < TEST_COUNT(refused); i++) {
		assert_int_equal(wal_stream_open(store, refused[i], WAL_CREATE, &st, &err), -EPERM);
		assert_non_null(strstr(err.message, refused[i]));
	}
	assert_null(st);
	for (size_t i = 0; i < TEST_COUNT(allowed); i++)
		wal_stream_close(stream_open_or_fail(store, allowed[i]));
	assert_int_equal(wal_shard_open(store, 0, &st), -EINVAL);
	assert_int_equal(wal_shard_append(store, "k", 1, "v", 1, 0, NULL, NULL), -EINVAL);
	assert_int_equal(wal_shard_append_batch(store, &entry, 1, 0), -EINVAL);
	assert_int_equal(wal_shard_append_batch_for_key(store, "k", 1, &iov, 1, 0, NULL, NULL), -EINVAL);
	store_close_or_fail(store);
	store = store_open_or_fail(dir.path, NULL);
	assert_int_equal(wal_store_shards(store), 0);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* ---- Keys ---- */

/* From the original: what its keys hash to. */
static void keys_go_where_the_original_sends_them(void **state)
{
	static const uint32_t shards[] = { 1, 2, 3, 7, 8, 16, 100, 65535 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(key_hashes); i++) {
		for (size_t s = 0; s < TEST_COUNT(shards); s++)
			assert_int_equal(wal_shard_of(key_hashes[i].key, key_hashes[i].size, shards[s]), key_hashes[i].hash % shards[s]);
	}
	assert_int_equal(wal_shard_of(NULL, 0, 8), key_hashes[0].hash % 8);
}

/* ---- Appending ---- */

enum { SHARDS = 5 };

/* What a test has appended, shard by shard. */
struct model {
	uint64_t next[SHARDS];
	struct model_entry {
		uint8_t data[40];
		size_t size;
	} entries[SHARDS][2000];
};

static void expect_model(struct wal_store *store, const struct model *m)
{
	for (uint32_t s = 0; s < SHARDS; s++) {
		struct wal_stream *st;
		struct wal_iter *it;
		struct wal_entry e;

		assert_int_equal(wal_shard_open(store, s, &st), 0);
		assert_int_equal(wal_iter_new(st, 0, &it), 0);
		for (uint64_t id = 0; id < m->next[s]; id++) {
			assert_int_equal(wal_iter_next(it, &e), 0);
			assert_int_equal(e.id, id);
			assert_int_equal(e.size, m->entries[s][id].size);
			assert_memory_equal(e.data, m->entries[s][id].data, e.size);
		}
		assert_int_equal(wal_iter_next(it, &e), WAL_END);
		wal_iter_free(it);
		wal_stream_close(st);
	}
}

static void note_entry(struct model *m, uint32_t shard, uint64_t id, const void *data, size_t size)
{
	assert_true(shard < SHARDS);
	assert_int_equal(id, m->next[shard]);
	struct model_entry *e = &m->entries[shard][m->next[shard]++];
	memcpy(e->data, data, size);
	e->size = size;
}

static size_t make_key(struct random *r, uint8_t key[16])
{
	size_t size = random_below(r, 16);

	random_fill(random_below(r, 50), key, size);
	return size;
}

static void append_one(struct wal_store *store, struct model *m, struct random *r)
{
	uint8_t key[16], data[40];
	size_t key_size = make_key(r, key), size = random_below(r, sizeof(data));
	uint32_t shard;
	uint64_t id;

	random_fill(random_next(r), data, size);
	assert_int_equal(wal_shard_append(store, key, key_size, data, size, 0, &shard, &id), 0);
	assert_int_equal(shard, wal_shard_of(key, key_size, SHARDS));
	note_entry(m, shard, id, data, size);
}

static void append_batch_for_key(struct wal_store *store, struct model *m, struct random *r)
{
	uint8_t key[16], data[4][40];
	size_t key_size = make_key(r, key), count = 1 + random_below(r, 4);
	struct iovec iov[4];
	uint32_t shard;
	uint64_t id;

	for (size_t i = 0; i < count; i++) {
		iov[i] = (struct iovec){ data[i], random_below(r, sizeof(data[i])) };
		random_fill(random_next(r), data[i], iov[i].iov_len);
	}
	assert_int_equal(wal_shard_append_batch_for_key(store, key, key_size, iov, count, 0, &shard, &id), 0);
	assert_int_equal(shard, wal_shard_of(key, key_size, SHARDS));
	for (size_t i = 0; i < count; i++)
		note_entry(m, shard, id + i, data[i], iov[i].iov_len);
}

static void append_over_shards(struct wal_store *store, struct model *m, struct random *r)
{
	enum { MAX = 30 };
	uint8_t keys[MAX][16], data[MAX][40];
	struct wal_keyed_entry entries[MAX];
	size_t count = 1 + random_below(r, MAX);

	for (size_t i = 0; i < count; i++) {
		entries[i] = (struct wal_keyed_entry){ .key = keys[i], .key_size = make_key(r, keys[i]), .data = data[i],
						       .size = random_below(r, sizeof(data[i])), .result = 77, .shard = 77, .id = 77 };
		random_fill(random_next(r), data[i], entries[i].size);
	}
	assert_int_equal(wal_shard_append_batch(store, entries, count, 0), 0);
	/* Each result is at its entry, and a shard's entries are in the order given. */
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(entries[i].result, 0);
		assert_int_equal(entries[i].shard, wal_shard_of(keys[i], entries[i].key_size, SHARDS));
		note_entry(m, entries[i].shard, entries[i].id, data[i], entries[i].size);
	}
}

static void appending_by_key(const struct wal_options *opts)
{
	void (*const ways[])(struct wal_store *store, struct model *m, struct random *r) = { append_one, append_batch_for_key, append_over_shards };
	struct model *m = calloc(1, sizeof(*m));
	struct random r = { opts->sync };
	struct wal_store *store;
	struct tmpdir dir;

	assert_non_null(m);
	tmpdir_make(&dir, "shard");
	store = store_open_or_fail(dir.path, opts);
	for (int i = 0; i < 100; i++)
		ways[random_below(&r, TEST_COUNT(ways))](store, m, &r);
	expect_model(store, m);
	store_close_or_fail(store);
	store = store_open_or_fail(dir.path, opts);
	expect_model(store, m);
	for (uint32_t s = 0; s < SHARDS; s++)
		assert_true(m->next[s] > 20);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
	free(m);
}

static void appending_by_key_in_each_mode(void **state)
{
	(void)state;
	appending_by_key(&(struct wal_options){ .shards = SHARDS, .sync = WAL_SYNC_STRICT, .segment_entries = 50 });
	appending_by_key(&(struct wal_options){ .shards = SHARDS, .sync = WAL_SYNC_BATCH });
	appending_by_key(&(struct wal_options){ .shards = SHARDS, .sync = WAL_SYNC_ASYNC, .segment_size = 4096 });
}

static void outputs_may_be_left_out(void **state)
{
	struct iovec iov = { (void *)"v", 1 };
	uint32_t shard = 77;
	uint64_t id = 77;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = open_sharded(&dir, 2);
	assert_int_equal(wal_shard_append(store, NULL, 0, "v", 1, 0, NULL, NULL), 0);
	assert_int_equal(wal_shard_append_batch_for_key(store, NULL, 0, &iov, 1, 0, NULL, NULL), 0);
	assert_int_equal(wal_shard_append_batch_for_key(store, "k", 1, &iov, 0, 0, &shard, &id), -EINVAL);
	assert_int_equal(wal_shard_append_batch(store, NULL, 0, 0), -EINVAL);
	assert_true(shard == 77 && id == 77);
	store_close_or_fail(store);
	store = store_open_or_fail(dir.path, &(struct wal_options){ .ro = true });
	assert_int_equal(wal_shard_append(store, "k", 1, "v", 1, 0, &shard, &id), -EROFS);
	struct wal_keyed_entry entry = { .key = "k", .key_size = 1, .data = "v", .size = 1 };
	assert_int_equal(wal_shard_append_batch(store, &entry, 1, 0), -EROFS);
	assert_int_equal(entry.result, -EROFS);
	assert_true(shard == 77 && id == 77);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* What fails before anything is submitted is told of each entry too. */
static void a_batch_that_fails_at_once(void **state)
{
	struct wal_keyed_entry entries[3];
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "shard");
	struct wal_store *store = store_open_or_fail(dir.path, NULL);
	for (size_t i = 0; i < TEST_COUNT(entries); i++)
		entries[i] = (struct wal_keyed_entry){ .key = "k", .key_size = 1, .data = "v", .size = 1 };
	assert_int_equal(wal_shard_append_batch(store, entries, TEST_COUNT(entries), 0), -EINVAL);
	for (size_t i = 0; i < TEST_COUNT(entries); i++)
		assert_int_equal(entries[i].result, -EINVAL);
	store_close_or_fail(store);
	tmpdir_remove(&dir);

	tmpdir_make(&dir, "shard");
	store = open_sharded(&dir, SHARDS);
	for (unsigned nth = 1; nth <= 2; nth++) {
		for (size_t i = 0; i < TEST_COUNT(entries); i++)
			entries[i].result = 0;
		calloc_fail(nth);
		assert_int_equal(wal_shard_append_batch(store, entries, TEST_COUNT(entries), 0), -ENOMEM);
		calloc_fail(0);
		for (size_t i = 0; i < TEST_COUNT(entries); i++)
			assert_int_equal(entries[i].result, -ENOMEM);
	}
	assert_int_equal(wal_shard_append_batch(store, entries, TEST_COUNT(entries), 0), 0);
	for (size_t i = 0; i < TEST_COUNT(entries); i++) {
		assert_int_equal(entries[i].result, 0);
		assert_int_equal(entries[i].id, i);
	}
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* A key of each shard. */
static void find_keys(char keys[SHARDS][16])
{
	unsigned found = 0;

	memset(keys, 0, SHARDS * 16);
	for (unsigned n = 0; found < SHARDS; n++) {
		char key[16];

		snprintf(key, sizeof(key), "key%u", n);
		uint32_t shard = wal_shard_of(key, strlen(key), SHARDS);
		if (keys[shard][0] == '\0') {
			memcpy(keys[shard], key, sizeof(key));
			found++;
		}
	}
}

/* The others' entries are there, and every entry of the failing one says why it is not. */
static void one_shard_that_fails(void **state)
{
	enum { EACH = 3, BAD = 2 };
	struct wal_options opts = { .shards = SHARDS };
	struct wal_keyed_entry entries[SHARDS * EACH];
	char keys[SHARDS][16], data[SHARDS * EACH];
	struct wal_stream *st;
	struct wal_store *store;
	struct faultsys f;
	struct tmpdir dir;
	uint64_t next;

	(void)state;
	find_keys(keys);
	tmpdir_make(&dir, "shard");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, dir.path, &opts, &store, NULL), 0);
	assert_int_equal(wal_shard_append(store, keys[BAD], strlen(keys[BAD]), "before", 6, 0, NULL, NULL), 0);
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_shard_append(store, keys[BAD], strlen(keys[BAD]), "stops it", 8, 0, NULL, NULL), -EIO);
	for (unsigned i = 0; i < SHARDS * EACH; i++) {
		data[i] = (char)('a' + i);
		entries[i] = (struct wal_keyed_entry){ .key = keys[i % SHARDS], .key_size = strlen(keys[i % SHARDS]), .data = &data[i], .size = 1 };
	}
	assert_int_equal(wal_shard_append_batch(store, entries, SHARDS * EACH, 0), -EIO);
	for (unsigned i = 0; i < SHARDS * EACH; i++) {
		assert_int_equal(entries[i].shard, i % SHARDS);
		assert_int_equal(entries[i].result, i % SHARDS == BAD ? -EIO : 0);
		if (i % SHARDS != BAD)
			assert_int_equal(entries[i].id, i / SHARDS);
	}
	wal_store_close(store);
	store = store_open_or_fail(dir.path, &opts);
	for (uint32_t s = 0; s < SHARDS; s++) {
		struct wal_buf buf = { 0 };

		assert_int_equal(wal_shard_open(store, s, &st), 0);
		wal_stream_bounds(st, NULL, &next, NULL);
		assert_int_equal(next, s == BAD ? 1 : EACH);
		for (uint64_t id = 0; id < next && s != BAD; id++) {
			assert_int_equal(wal_stream_get(st, id, &buf), 0);
			assert_true(buf.size == 1 && *(char *)buf.data == data[id * SHARDS + s]);
		}
		wal_buf_release(&buf);
		wal_stream_close(st);
	}
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* Each entry of a shard has the same result, and the shard holds just those that have 0, durably. Returns how many have not. */
static unsigned expect_all_or_none(struct wal_store *store, const struct wal_keyed_entry *entries, unsigned count)
{
	unsigned failed = 0;

	for (uint32_t s = 0; s < SHARDS; s++) {
		uint64_t expected = 0, next, durable;
		struct wal_stream *st;
		int result = 77;

		assert_int_equal(wal_shard_open(store, s, &st), 0);
		for (unsigned i = 0; i < count; i++) {
			if (entries[i].shard != s)
				continue;
			assert_true(entries[i].result == 0 || entries[i].result == -ENOSPC);
			assert_true(result == 77 || result == entries[i].result);
			result = entries[i].result;
			expected += result == 0;
			failed += result != 0;
		}
		wal_stream_bounds(st, NULL, &next, &durable);
		assert_int_equal(next, expected);
		assert_int_equal(durable, expected);
		wal_stream_close(st);
	}
	return failed;
}

/* A shard's part is one frame, so of a write that fails in its middle nothing is left; with WAL_DURABLE all is durable at once. From each write on there is no room. */
static void batches_are_atomic_and_durable_for_each_shard(void **state)
{
	enum { COUNT = 40, WRITES = 12 };
	struct wal_options opts = { .shards = SHARDS, .sync = WAL_SYNC_ASYNC };
	struct wal_keyed_entry entries[COUNT];
	uint8_t data[COUNT][100];
	unsigned in_part = 0;

	(void)state;
	for (unsigned n = 1; n <= WRITES; n++) {
		struct wal_store *store;
		struct faultsys f;
		struct tmpdir dir;

		tmpdir_make(&dir, "shard");
		faultsys_init(&f);
		assert_int_equal(store_open(&f.sys, dir.path, &opts, &store, NULL), 0);
		for (unsigned i = 0; i < COUNT; i++) {
			random_fill(i, data[i], sizeof(data[i]));
			entries[i] = (struct wal_keyed_entry){ .key = data[i], .key_size = 8, .data = data[i], .size = sizeof(data[i]) };
		}
		faultsys_fail(&f, FAULT_PWRITEV, n, ENOSPC);
		f.sticky = true;
		f.short_write = n % 2;
		int r = wal_shard_append_batch(store, entries, COUNT, WAL_DURABLE);
		unsigned failed = expect_all_or_none(store, entries, COUNT);

		assert_int_equal(r, failed > 0 ? -ENOSPC : 0);
		in_part += failed > 0 && failed < COUNT;
		/* There is room again. */
		faultsys_fail(&f, FAULT_ANY, 0, 0);
		assert_int_equal(wal_shard_append_batch(store, entries, COUNT, 0), 0);
		store_close_or_fail(store);
		tmpdir_remove(&dir);
	}
	assert_true(in_part > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_number_is_fixed_when_the_store_is_made),
		cmocka_unit_test(another_number_is_refused),
		cmocka_unit_test(a_store_of_named_streams_has_none),
		cmocka_unit_test(numbers_out_of_range),
		cmocka_unit_test(more_than_a_hundred),
		cmocka_unit_test(unfinished_creation_is_continued),
		cmocka_unit_test(empty_shards_are_not_multiplied),
		cmocka_unit_test(a_shard_is_missing),
		cmocka_unit_test(a_hole_that_nothing_tells_of),
		cmocka_unit_test(a_store_that_came_to_be_meanwhile),
		cmocka_unit_test(streams_of_a_sharded_store),
		cmocka_unit_test(shards_of_a_store_of_named_streams),
		cmocka_unit_test(keys_go_where_the_original_sends_them),
		cmocka_unit_test(appending_by_key_in_each_mode),
		cmocka_unit_test(outputs_may_be_left_out),
		cmocka_unit_test(a_batch_that_fails_at_once),
		cmocka_unit_test(one_shard_that_fails),
		cmocka_unit_test(batches_are_atomic_and_durable_for_each_shard),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(120); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
