/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints by what wal.h says of them, and the bytes they leave; one thread. What a power cut leaves is worked out from a trace of the system calls. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckptfile.h"
#include "cleanup.h"
#include "crash/powercut.h"
#include "damage.h"
#include "faultsys.h"
#include "frames.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

struct place {
	struct tmpdir dir;
	struct wal_options opts;
	struct wal_store *store;
};

static void place_open(struct place *p)
{
	p->store = store_open_or_fail(p->dir.path, &p->opts);
}

static void place_make(struct place *p, const struct wal_options *opts)
{
	*p = (struct place){ .opts = *opts };
	tmpdir_make(&p->dir, "checkpoint");
	place_open(p);
}

static void place_reopen(struct place *p)
{
	store_close_or_fail(p->store);
	place_open(p);
}

static void place_remove(struct place *p)
{
	store_close_or_fail(p->store);
	tmpdir_remove(&p->dir);
}

/* Appends the entries of entry_content() to stream `name` until it has `next` of them. */
static void fill(struct place *p, const char *name, uint64_t next)
{
	struct wal_stream *st = stream_open_or_fail(p->store, name);
	uint64_t have;

	wal_stream_bounds(st, NULL, &have, NULL);
	stream_fill(st, have, next);
	wal_stream_close(st);
}

static void create_sized(struct place *p, const void *id, size_t size)
{
	struct wal_error err = { 0 };

	if (wal_checkpoint_create(p->store, id, size, 0, &err) != 0)
		fail_msg("cannot create a checkpoint: %s", err.message);
}

static void create(struct place *p, const char *id)
{
	create_sized(p, id, strlen(id));
}

/* To be freed. */
static struct wal_checkpoint *load(struct place *p, const char *id)
{
	struct wal_checkpoint *c;
	int r = wal_checkpoint_load(p->store, id, strlen(id), &c);

	if (r != 0)
		fail_msg("cannot load checkpoint '%s': %s", id, wal_strerror(r));
	return c;
}

static bool is_there(struct place *p, const char *id)
{
	struct wal_checkpoint *c;
	int r = wal_checkpoint_load(p->store, id, strlen(id), &c);

	assert_true(r == 0 || r == WAL_NOT_FOUND);
	if (r == 0)
		free(c);
	return r == 0;
}

static void expect_id(const struct wal_checkpoint *c, const void *id, size_t size)
{
	assert_int_equal(c->id_size, size);
	assert_memory_equal(c->id, id, size);
	assert_int_equal(((const char *)c->id)[size], 0);
}

/* The checkpoint has just the `count` cuts given, "a" 1 "b" 2 …. */
static void expect_cuts(struct place *p, const char *id, const struct wal_cut *cuts, size_t count)
{
	struct wal_checkpoint *c = load(p, id);
	uint64_t next;

	expect_id(c, id, strlen(id));
	assert_int_equal(c->cut_count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(c->cuts[i].stream, cuts[i].stream);
		assert_int_equal(c->cuts[i].next_id, cuts[i].next_id);
		assert_int_equal(wal_checkpoint_find(c, cuts[i].stream, &next), 0);
		assert_int_equal(next, cuts[i].next_id);
	}
	assert_int_equal(wal_checkpoint_find(c, "no such stream", &next), WAL_NOT_FOUND);
	free(c);
}

static void expect_latest(struct place *p, const char *id)
{
	struct wal_checkpoint *c;

	assert_int_equal(wal_checkpoint_latest(p->store, &c), 0);
	expect_id(c, id, strlen(id));
	free(c);
}

static void expect_none(struct place *p)
{
	struct wal_checkpoint *c = NULL;
	size_t count = 7;

	assert_int_equal(wal_checkpoint_count(p->store), 0);
	assert_int_equal(wal_checkpoint_latest(p->store, &c), WAL_NOT_FOUND);
	assert_int_equal(wal_checkpoint_list(p->store, &c, &count), 0);
	assert_int_equal(count, 0);
	free(c);
}

/* Just these, from the oldest to the newest, with times that increase; `ids` are separated by spaces. */
static void expect_list(struct place *p, const char *ids)
{
	struct wal_checkpoint *list;
	size_t count, n = 0;
	char *text = strdup(ids), *rest = text, *id;

	assert_int_equal(wal_checkpoint_list(p->store, &list, &count), 0);
	assert_int_equal(wal_checkpoint_count(p->store), count);
	for (; (id = strsep(&rest, " ")); n++) {
		assert_true(n < count);
		expect_id(&list[n], id, strlen(id));
		assert_int_equal(list[n].cut_count, 0);
		assert_null(list[n].cuts);
		assert_true(n == 0 || list[n].time_ns > list[n - 1].time_ns);
		struct wal_checkpoint *c = load(p, id);
		assert_int_equal(c->time_ns, list[n].time_ns);
		free(c);
	}
	assert_int_equal(n, count);
	free(text);
	free(list);
}

static const struct wal_options async = { .sync = WAL_SYNC_ASYNC, .segment_entries = 10 };

/* ---- Making and finding ---- */

static void a_new_store_has_none(void **state)
{
	struct wal_prune_result result;
	struct wal_checkpoint *c = NULL;
	struct wal_error err = { 0 };
	size_t removed = 7;
	struct place p;

	(void)state;
	place_make(&p, &async);
	expect_none(&p);
	assert_int_equal(wal_checkpoint_load(p.store, "x", 1, &c), WAL_NOT_FOUND);
	assert_null(c);
	assert_int_equal(wal_checkpoint_remove(p.store, "x", 1), WAL_NOT_FOUND);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "x", 1, &result, &err), WAL_NOT_FOUND);
	assert_int_equal(wal_checkpoint_compact(p.store, 1, &removed), 0);
	assert_int_equal(removed, 0);
	place_reopen(&p);
	expect_none(&p);
	place_remove(&p);
}

/* A store without streams can be cut too. */
static void a_checkpoint_of_nothing(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &async);
	create(&p, "empty");
	expect_cuts(&p, "empty", NULL, 0);
	expect_latest(&p, "empty");
	place_reopen(&p);
	expect_cuts(&p, "empty", NULL, 0);
	expect_list(&p, "empty");
	place_remove(&p);
}

static void cuts_are_sorted_and_right(void **state)
{
	static const struct wal_cut first[] = { { "Z", 0 }, { "a", 3 }, { "b", 12 } };
	static const struct wal_cut second[] = { { "Z", 1 }, { "a", 3 }, { "a0", 2 }, { "b", 31 } };
	struct place p;

	(void)state;
	place_make(&p, &async);
	fill(&p, "b", 12);
	fill(&p, "a", 3);
	fill(&p, "Z", 0);
	create(&p, "first");
	fill(&p, "b", 31);
	fill(&p, "Z", 1);
	fill(&p, "a0", 2);
	create(&p, "second");
	for (int round = 0; round < 2; round++) {
		expect_cuts(&p, "first", first, TEST_COUNT(first));
		expect_cuts(&p, "second", second, TEST_COUNT(second));
		expect_list(&p, "first second");
		expect_latest(&p, "second");
		place_reopen(&p);
	}
	place_remove(&p);
}

static void create_many(struct place *p, unsigned first, unsigned next)
{
	for (unsigned i = first; i < next; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%u", i);
		fill(p, "s", i + 1);
		create(p, id);
	}
}

static void an_id_that_is_used_again_moves(void **state)
{
	static const struct wal_cut cuts[] = { { "s", 20 } };
	struct wal_error err = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 3);
	fill(&p, "s", 20);
	create(&p, "c0");
	for (int round = 0; round < 2; round++) {
		expect_list(&p, "c1 c2 c0");
		expect_latest(&p, "c0");
		expect_cuts(&p, "c0", cuts, 1);
		place_reopen(&p);
	}
	uint64_t version = wal_checkpoint_version(p.store);
	fill(&p, "s", 21);
	assert_int_equal(wal_checkpoint_create(p.store, "c1", 2, WAL_EXCL, &err), -EEXIST);
	assert_int_equal(err.code, -EEXIST);
	assert_non_null(strstr(err.message, "checkpoint"));
	assert_int_equal(wal_checkpoint_version(p.store), version);
	expect_list(&p, "c1 c2 c0");
	assert_int_equal(wal_checkpoint_remove(p.store, "c1", 2), 0);
	assert_int_equal(wal_checkpoint_create(p.store, "c1", 2, WAL_EXCL, NULL), 0);
	assert_int_equal(wal_checkpoint_create(p.store, "new", 3, WAL_EXCL, &err), 0);
	expect_list(&p, "c2 c0 c1 new");
	place_remove(&p);
}

static void removed_ones_are_gone(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 5);
	assert_int_equal(wal_checkpoint_remove(p.store, "c2", 2), 0);
	assert_int_equal(wal_checkpoint_remove(p.store, "c2", 2), WAL_NOT_FOUND);
	assert_false(is_there(&p, "c2"));
	expect_list(&p, "c0 c1 c3 c4");
	expect_latest(&p, "c4");
	assert_int_equal(wal_checkpoint_remove(p.store, "c4", 2), 0);
	for (int round = 0; round < 2; round++) {
		expect_list(&p, "c0 c1 c3");
		expect_latest(&p, "c3");
		place_reopen(&p);
	}
	assert_int_equal(wal_checkpoint_remove(p.store, "c0", 2), 0);
	assert_int_equal(wal_checkpoint_remove(p.store, "c1", 2), 0);
	assert_int_equal(wal_checkpoint_remove(p.store, "c3", 2), 0);
	expect_none(&p);
	place_reopen(&p);
	expect_none(&p);
	create(&p, "c2");
	expect_latest(&p, "c2");
	place_remove(&p);
}

static void compaction_keeps_the_newest(void **state)
{
	size_t removed = 7;
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 6);
	create(&p, "c1"); /* the newest by time, not by its place in the list */
	assert_int_equal(wal_checkpoint_compact(p.store, 0, &removed), -EINVAL);
	assert_int_equal(removed, 7);
	assert_int_equal(wal_checkpoint_compact(p.store, 6, &removed), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(wal_checkpoint_compact(p.store, SIZE_MAX, &removed), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(wal_checkpoint_compact(p.store, 4, &removed), 0);
	assert_int_equal(removed, 2);
	expect_list(&p, "c3 c4 c5 c1");
	place_reopen(&p);
	expect_list(&p, "c3 c4 c5 c1");
	assert_int_equal(wal_checkpoint_compact(p.store, 1, NULL), 0);
	for (int round = 0; round < 2; round++) {
		expect_list(&p, "c1");
		expect_latest(&p, "c1");
		place_reopen(&p);
	}
	place_remove(&p);
}

static void the_version_changes_with_the_list(void **state)
{
	struct place p;
	uint64_t before, now;

	(void)state;
	place_make(&p, &async);
	before = wal_checkpoint_version(p.store);
	create(&p, "a");
	assert_true((now = wal_checkpoint_version(p.store)) != before);
	before = now;
	create(&p, "b");
	assert_true((now = wal_checkpoint_version(p.store)) != before);
	before = now;
	create(&p, "a");
	assert_true((now = wal_checkpoint_version(p.store)) != before);
	before = now;
	assert_int_equal(wal_checkpoint_remove(p.store, "none", 4), WAL_NOT_FOUND);
	expect_list(&p, "b a");
	assert_int_equal(wal_checkpoint_version(p.store), before);
	assert_int_equal(wal_checkpoint_compact(p.store, 1, NULL), 0);
	assert_true((now = wal_checkpoint_version(p.store)) != before);
	before = now;
	assert_int_equal(wal_checkpoint_remove(p.store, "a", 1), 0);
	assert_true(wal_checkpoint_version(p.store) != before);
	place_remove(&p);
}

/* ---- Ids ---- */

static void ids_of_any_bytes(void **state)
{
	static const struct {
		const char *id;
		size_t size;
	} ids[] = {
		{ "a", 1 },	{ "", 1 },	 { "a\0b", 3 }, { "a\0c", 3 }, { "a\0", 2 },	 { "/", 1 },	      { "../x", 4 }, { "line\nbreak", 10 },
		{ "HEAD", 4 },	{ "\xff\xfe", 2 }, { "CKPT", 4 }, { " ", 1 },	 { "\0\0\0\0", 4 }, { "checkpoints.log", 15 }, { "%41", 3 },
	};
	struct wal_checkpoint *list, *c;
	size_t count;
	struct place p;

	(void)state;
	place_make(&p, &async);
	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		fill(&p, "s", i);
		create_sized(&p, ids[i].id, ids[i].size);
	}
	for (int round = 0; round < 2; round++) {
		assert_int_equal(wal_checkpoint_list(p.store, &list, &count), 0);
		assert_int_equal(count, TEST_COUNT(ids));
		for (size_t i = 0; i < count; i++) {
			expect_id(&list[i], ids[i].id, ids[i].size);
			assert_int_equal(wal_checkpoint_load(p.store, ids[i].id, ids[i].size, &c), 0);
			expect_id(c, ids[i].id, ids[i].size);
			assert_int_equal(c->cuts[0].next_id, i);
			free(c);
		}
		free(list);
		place_reopen(&p);
	}
	for (size_t i = 0; i < TEST_COUNT(ids); i++)
		assert_int_equal(wal_checkpoint_remove(p.store, ids[i].id, ids[i].size), 0);
	expect_none(&p);
	place_remove(&p);
}

static void ids_of_any_length(void **state)
{
	static const size_t sizes[] = { 1, 2, 255, 256, 4095, 4096, WAL_CHECKPOINT_ID_MAX - 1, WAL_CHECKPOINT_ID_MAX };
	char *id = malloc(WAL_CHECKPOINT_ID_MAX + 1);
	struct wal_error err = { 0 };
	struct wal_checkpoint *c = NULL;
	struct place p;

	(void)state;
	assert_non_null(id);
	memset(id, 'i', WAL_CHECKPOINT_ID_MAX + 1);
	place_make(&p, &async);
	fill(&p, "s", 3);
	for (size_t i = 0; i < TEST_COUNT(sizes); i++)
		create_sized(&p, id, sizes[i]);
	uint64_t version = wal_checkpoint_version(p.store);
	assert_int_equal(wal_checkpoint_create(p.store, id, 0, 0, &err), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_true(err.message[0] != '\0');
	assert_int_equal(wal_checkpoint_create(p.store, id, WAL_CHECKPOINT_ID_MAX + 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "65536"));
	assert_non_null(strstr(err.message, "65535"));
	assert_int_equal(wal_checkpoint_version(p.store), version);
	assert_int_not_equal(wal_checkpoint_load(p.store, id, WAL_CHECKPOINT_ID_MAX + 1, &c), 0);
	assert_int_not_equal(wal_checkpoint_load(p.store, id, 0, &c), 0);
	assert_null(c);
	place_reopen(&p);
	assert_int_equal(wal_checkpoint_count(p.store), TEST_COUNT(sizes));
	for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
		assert_int_equal(wal_checkpoint_load(p.store, id, sizes[i], &c), 0);
		expect_id(c, id, sizes[i]);
		free(c);
	}
	place_remove(&p);
	free(id);
}

/* ---- The bytes ---- */

static void the_log_of_named_streams(void **state)
{
	struct ckptfile file = { 0 };
	char name[WAL_STREAM_NAME_MAX + 1];
	struct place p;

	(void)state;
	memset(name, 'n', WAL_STREAM_NAME_MAX);
	name[WAL_STREAM_NAME_MAX] = '\0';
	place_make(&p, &async);
	create(&p, "nothing");
	ckptfile_add_from(&file, 2, p.store, "nothing", 7);
	fill(&p, "b", 12);
	fill(&p, "a\nb", 1);
	fill(&p, name, 2);
	create(&p, "three");
	ckptfile_add_from(&file, 2, p.store, "three", 5);
	create_sized(&p, "\0\xff", 2);
	ckptfile_add_from(&file, 2, p.store, "\0\xff", 2);
	ckptfile_expect(&file, p.dir.path);
	ckptfile_expect_head(p.dir.path, NULL, 0);
	place_reopen(&p);
	ckptfile_expect(&file, p.dir.path);
	ckptfile_expect_head(p.dir.path, "\0\xff", 2);
	create(&p, "later");
	ckptfile_add_from(&file, 2, p.store, "later", 5);
	ckptfile_expect(&file, p.dir.path);
	ckptfile_expect_head(p.dir.path, NULL, 0);
	place_reopen(&p);
	ckptfile_expect_head(p.dir.path, "later", 5);
	ckptfile_release(&file);
	place_remove(&p);
}

static void the_log_of_shards(void **state)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .shards = 3 };
	static const struct wal_cut cuts[] = { { "shard_00", 5 }, { "shard_01", 0 }, { "shard_02", 7 } };
	struct ckptfile file = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &opts);
	create(&p, "nothing");
	ckptfile_add_from(&file, 1, p.store, "nothing", 7);
	fill(&p, "shard_00", 5);
	fill(&p, "shard_02", 7);
	create(&p, "some");
	expect_cuts(&p, "some", cuts, 3);
	ckptfile_add_from(&file, 1, p.store, "some", 4);
	ckptfile_expect(&file, p.dir.path);
	place_reopen(&p);
	ckptfile_expect_head(p.dir.path, "some", 4);
	expect_cuts(&p, "some", cuts, 3);
	expect_list(&p, "nothing some");
	ckptfile_expect(&file, p.dir.path);
	ckptfile_release(&file);
	place_remove(&p);
}

/* The order of shards is by number, which is that of names only up to a hundred. */
static void the_log_of_many_shards(void **state)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .shards = 103 };
	struct ckptfile file = { 0 };
	struct wal_checkpoint *c;
	struct place p;

	(void)state;
	place_make(&p, &opts);
	fill(&p, "shard_09", 1);
	fill(&p, "shard_10", 2);
	fill(&p, "shard_99", 3);
	fill(&p, "shard_100", 4);
	fill(&p, "shard_102", 5);
	create(&p, "c");
	for (int round = 0; round < 2; round++) {
		c = load(&p, "c");
		assert_int_equal(c->cut_count, 103);
		for (unsigned i = 0; i < 103; i++) {
			char name[32];
			uint64_t next;

			snprintf(name, sizeof(name), "shard_%02u", i);
			assert_string_equal(c->cuts[i].stream, name);
			assert_int_equal(c->cuts[i].next_id, i == 9 ? 1 : i == 10 ? 2 : i == 99 ? 3 : i == 100 ? 4 : i == 102 ? 5 : 0);
			assert_int_equal(wal_checkpoint_find(c, name, &next), 0);
			assert_int_equal(next, c->cuts[i].next_id);
		}
		free(c);
		place_reopen(&p);
	}
	ckptfile_add_from(&file, 1, p.store, "c", 1);
	ckptfile_expect(&file, p.dir.path);
	ckptfile_release(&file);
	place_remove(&p);
}

/* After a compaction the log has just the records that were kept, the oldest first, with their times. */
static void the_log_after_a_compaction(void **state)
{
	static const char *const kept[] = { "c3", "c4", "c1" };
	struct ckptfile file = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 5);
	create(&p, "c1");
	for (size_t i = 0; i < TEST_COUNT(kept); i++)
		ckptfile_add_from(&file, 2, p.store, kept[i], 2);
	assert_int_equal(wal_checkpoint_compact(p.store, 3, NULL), 0);
	ckptfile_expect(&file, p.dir.path);
	place_reopen(&p);
	ckptfile_expect(&file, p.dir.path);
	ckptfile_expect_head(p.dir.path, "c1", 2);
	ckptfile_release(&file);
	place_remove(&p);
}

static void head_that_tells_nothing(void **state)
{
	static const struct {
		const char *data;
		size_t size;
	} heads[] = { { "", 0 }, { "\2", 1 }, { "\0\0", 2 }, { "\2\0c", 3 }, { "\4\0none", 6 }, { "\xff\xff", 2 } };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 3);
	tmpdir_path(&p.dir, "HEAD", path);
	for (size_t i = 0; i <= TEST_COUNT(heads); i++) {
		store_close_or_fail(p.store);
		if (i < TEST_COUNT(heads))
			file_write(path, heads[i].data, heads[i].size);
		else
			assert_int_equal(unlink(path), 0);
		p.opts.ro = i % 2;
		place_open(&p);
		expect_latest(&p, "c2");
	}
	store_close_or_fail(p.store);
	/* The one that it names counts, whatever the times. */
	file_write(path, "\2\0c0", 4);
	p.opts.ro = false;
	place_open(&p);
	expect_latest(&p, "c0");
	create(&p, "c3");
	expect_latest(&p, "c3");
	place_remove(&p);
}

/* ---- Streams that come and go ---- */

static void streams_made_between(void **state)
{
	static const struct wal_cut before[] = { { "a", 2 } }, after[] = { { "a", 2 }, { "b", 3 } };
	struct wal_prune_result result;
	struct place p;

	(void)state;
	place_make(&p, &async);
	fill(&p, "a", 2);
	create(&p, "before");
	fill(&p, "b", 3);
	create(&p, "after");
	expect_cuts(&p, "before", before, 1);
	expect_cuts(&p, "after", after, 2);
	fill(&p, "b", 25);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "before", 6, &result, NULL), 0);
	assert_int_equal(result.streams, 0);
	place_remove(&p);
}

static void empty_and_delete(struct place *p, const char *name)
{
	struct wal_stream *st = stream_open_or_fail(p->store, name);

	assert_int_equal(wal_stream_rotate(st), 0);
	assert_int_equal(wal_stream_prune(st, UINT64_MAX, NULL), 0);
	wal_stream_close(st);
	assert_int_equal(wal_stream_delete(p->store, name), 0);
}

/* What another stream of its name holds was never covered. */
static void a_stream_deleted_and_made_again(void **state)
{
	static const struct wal_cut cuts[] = { { "b", 4 } }, after[] = { { "a", 31 }, { "b", 4 } };
	struct wal_prune_result result;
	struct wal_stream *st;
	int64_t time;
	struct place p;

	(void)state;
	place_make(&p, &async);
	fill(&p, "a", 25);
	fill(&p, "b", 4);
	create(&p, "old");
	struct wal_checkpoint *c = load(&p, "old");
	time = c->time_ns;
	free(c);
	uint64_t version = wal_checkpoint_version(p.store);
	empty_and_delete(&p, "a");
	assert_true(wal_checkpoint_version(p.store) != version); /* what the checkpoint tells is not what it told */
	expect_cuts(&p, "old", cuts, 1);
	fill(&p, "a", 31);
	for (int round = 0; round < 2; round++) {
		expect_cuts(&p, "old", cuts, 1);
		c = load(&p, "old");
		assert_int_equal(c->time_ns, time);
		free(c);
		expect_latest(&p, "old");
		assert_int_equal(wal_checkpoint_prune_before(p.store, "old", 3, &result, NULL), 0);
		assert_int_equal(result.streams, 0);
		assert_int_equal(result.segments, 0);
		place_reopen(&p);
	}
	st = stream_open_or_fail(p.store, "a");
	stream_expect(st, 0, 31);
	wal_stream_close(st);
	create(&p, "new");
	expect_cuts(&p, "new", after, 2);
	expect_list(&p, "old new");
	place_remove(&p);
}

/* ---- Pruning ---- */

static void expect_first(struct place *p, const char *name, uint64_t expected)
{
	struct wal_stream *st = stream_open_or_fail(p->store, name);
	uint64_t first;

	wal_stream_bounds(st, &first, NULL, NULL);
	assert_int_equal(first, expected);
	wal_stream_close(st);
}

static void pruned_to_a_checkpoint(void **state)
{
	struct wal_prune_result result = { .streams = 77 };
	struct wal_error err = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &async);
	fill(&p, "a", 25);
	fill(&p, "b", 5);
	fill(&p, "c", 30);
	create(&p, "old");
	fill(&p, "a", 45);
	fill(&p, "b", 25);
	fill(&p, "c", 31);
	fill(&p, "d", 25);
	create(&p, "new");
	assert_int_equal(wal_checkpoint_prune_before(p.store, "none", 4, &result, &err), WAL_NOT_FOUND);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "old", 3, &result, &err), 0);
	assert_int_equal(result.streams, 2);
	assert_int_equal(result.segments, 5);
	expect_first(&p, "a", 20);
	expect_first(&p, "b", 0);
	expect_first(&p, "c", 30);
	expect_first(&p, "d", 0);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "old", 3, &result, &err), 0);
	assert_int_equal(result.streams, 0);
	assert_int_equal(result.segments, 0);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "new", 3, NULL, NULL), 0);
	for (int round = 0; round < 2; round++) {
		expect_first(&p, "a", 40);
		expect_first(&p, "b", 20);
		expect_first(&p, "c", 30);
		expect_first(&p, "d", 20);
		expect_list(&p, "old new"); /* they stay, whatever is left of what they cover */
		place_reopen(&p);
	}
	place_remove(&p);
}

/* The others are pruned all the same, and it is said which one was not. */
static void pruned_but_for_a_stopped_stream(void **state)
{
	struct wal_prune_result result = { 0 };
	struct wal_error err = { 0 };
	struct wal_stream *st;
	struct faultsys f;
	struct place p = { .opts = { .sync = WAL_SYNC_STRICT, .segment_entries = 10 } };

	(void)state;
	tmpdir_make(&p.dir, "checkpoint");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	fill(&p, "a", 25);
	fill(&p, "bad", 25);
	fill(&p, "c", 15);
	create(&p, "now");
	st = stream_open_or_fail(p.store, "bad");
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_append(st, "x", 1, 0, NULL), -EIO);
	wal_stream_close(st);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "now", 3, &result, &err), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_non_null(strstr(err.message, "'bad'"));
	assert_int_equal(result.streams, 2);
	assert_int_equal(result.segments, 3);
	wal_store_close(p.store);
	place_open(&p);
	expect_first(&p, "a", 20);
	expect_first(&p, "bad", 0);
	expect_first(&p, "c", 10);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "now", 3, &result, &err), 0);
	assert_int_equal(result.streams, 1);
	assert_int_equal(result.segments, 2);
	place_remove(&p);
}

/* ---- Read-only ---- */

static void a_read_only_store(void **state)
{
	static const struct wal_cut cuts[] = { { "s", 3 } };
	struct wal_prune_result result;
	struct wal_error err = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &async);
	create_many(&p, 0, 3);
	store_close_or_fail(p.store);
	char *before = snapshot_take(p.dir.path);
	p.opts.ro = true;
	place_open(&p);
	expect_list(&p, "c0 c1 c2");
	expect_latest(&p, "c2");
	expect_cuts(&p, "c2", cuts, 1);
	assert_int_equal(wal_checkpoint_create(p.store, "x", 1, 0, &err), -EROFS);
	assert_int_equal(err.code, -EROFS);
	assert_int_equal(wal_checkpoint_create(p.store, "c0", 2, WAL_EXCL, NULL), -EROFS);
	assert_int_equal(wal_checkpoint_remove(p.store, "c0", 2), -EROFS);
	assert_int_equal(wal_checkpoint_compact(p.store, 1, NULL), -EROFS);
	assert_int_equal(wal_checkpoint_prune_before(p.store, "c2", 2, &result, &err), -EROFS);
	expect_list(&p, "c0 c1 c2");
	store_close_or_fail(p.store);
	snapshot_expect(p.dir.path, before);
	free(before);
	tmpdir_remove(&p.dir);
}

/* ---- Syncs ---- */

enum { STREAMS = 3 };

/* One place of the trace, with nothing left but what had been synced, or any of what had not. */
static void expect_after_power_cut(const struct trace *trace, size_t at, unsigned states, unsigned checkpoints)
{
	struct chooser c = { .seed = { at } };
	struct powercut pc;
	struct memfs empty, disk;

	memfs_init(&empty);
	memfs_init(&disk);
	powercut_init(&pc, &empty, trace);
	while (pc.at < at)
		powercut_step(&pc);
	chooser_begin(&c);
	for (unsigned i = 0; i < states; i++) {
		struct wal_checkpoint *list, *full;
		struct wal_store *store;
		size_t count;

		if (i > 0)
			chooser_randomize(&c, i % 5 * 25);
		powercut_state(&pc, &c, &disk);
		assert_int_equal(store_open(&disk.sys, "/store", &async, &store, NULL), 0);
		assert_int_equal(wal_checkpoint_list(store, &list, &count), 0);
		assert_true(count == checkpoints);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(wal_checkpoint_load(store, list[k].id, list[k].id_size, &full), 0);
			assert_int_equal(full->cut_count, STREAMS);
			for (size_t s = 0; s < STREAMS; s++) {
				struct wal_stream *st = stream_open_or_fail(store, full->cuts[s].stream);
				struct wal_buf buf = { 0 };

				assert_int_equal(full->cuts[s].next_id, (s + 2) * (k + 1));
				for (uint64_t id = 0; id < full->cuts[s].next_id; id++)
					assert_int_equal(wal_stream_get(st, id, &buf), 0);
				wal_buf_release(&buf);
				wal_stream_close(st);
			}
			free(full);
		}
		if (count > 0) {
			assert_int_equal(wal_checkpoint_latest(store, &full), 0);
			expect_id(full, list[count - 1].id, list[count - 1].id_size);
			free(full);
		}
		free(list);
		store_close_or_fail(store);
	}
	chooser_release(&c);
	powercut_release(&pc);
	memfs_release(&empty);
	memfs_release(&disk);
}

/* Everything below the cut is on stable storage when the checkpoint is, and that is when it is made: in the modes in which appends are not. */
static void the_cut_is_durable(const struct wal_options *opts)
{
	enum { CHECKPOINTS = 3, STATES = 6 };
	struct trace trace = { 0 };
	size_t made[CHECKPOINTS];
	struct wal_store *store;
	struct memfs fs;

	memfs_init(&fs);
	fs.trace = &trace;
	assert_int_equal(store_open(&fs.sys, "/store", opts, &store, NULL), 0);
	for (unsigned k = 0; k < CHECKPOINTS; k++) {
		for (unsigned s = 0; s < STREAMS; s++) {
			struct wal_stream *st = stream_open_or_fail(store, (const char *[]){ "a", "b", "c" }[s]);

			stream_fill(st, (s + 2) * k, (s + 2) * (k + 1));
			wal_stream_close(st);
		}
		assert_int_equal(wal_checkpoint_create(store, &k, sizeof(k), 0, NULL), 0);
		made[k] = trace.count;
	}
	memfs_set_dead(&fs, true);
	wal_store_close(store);
	memfs_set_dead(&fs, false);
	for (unsigned k = 0; k < CHECKPOINTS; k++)
		expect_after_power_cut(&trace, made[k], STATES, k + 1);
	memfs_release(&fs);
	trace_release(&trace);
}

static void the_cut_is_durable_in_every_mode(void **state)
{
	(void)state;
	the_cut_is_durable(&(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	the_cut_is_durable(&(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 2 });
	the_cut_is_durable(&(struct wal_options){ .sync = WAL_SYNC_BATCH, .segment_entries = 3 });
	the_cut_is_durable(&(struct wal_options){ .sync = WAL_SYNC_STRICT, .segment_entries = 3 });
}

/* The store over a table that fails, with `name` stopped by it: by an earlier sync, or by the one that the checkpoint asks for. */
static void a_sync_that_fails(const struct wal_options *opts, bool earlier)
{
	struct wal_error err = { 0 };
	struct wal_stream *st;
	struct faultsys f;
	struct place p = { .opts = *opts };
	struct ckptfile file = { 0 };

	tmpdir_make(&p.dir, "checkpoint");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	fill(&p, "good", 3);
	fill(&p, "the bad one", 2);
	create(&p, "before");
	ckptfile_add_from(&file, 2, p.store, "before", 6);
	st = stream_open_or_fail(p.store, "the bad one");
	assert_int_equal(wal_stream_append(st, "x", 1, 0, NULL), 0);
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	if (earlier)
		assert_int_equal(wal_stream_sync(st), -EIO);
	uint64_t version = wal_checkpoint_version(p.store);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wal_checkpoint_create(p.store, "after", 5, 0, &err), -EIO);
		assert_int_equal(err.code, -EIO);
		assert_non_null(strstr(err.message, "the bad one"));
		assert_int_equal(wal_checkpoint_create(p.store, "before", 6, 0, NULL), -EIO);
	}
	assert_true(faultsys_hit(&f));
	assert_int_equal(wal_checkpoint_version(p.store), version);
	expect_list(&p, "before");
	expect_latest(&p, "before");
	ckptfile_expect(&file, p.dir.path);
	wal_stream_close(st);
	wal_store_close(p.store);
	place_open(&p);
	ckptfile_expect_head(p.dir.path, "before", 6);
	expect_list(&p, "before");
	create(&p, "after"); /* opened again it is well */
	expect_list(&p, "before after");
	ckptfile_release(&file);
	place_remove(&p);
}

static void a_stream_that_is_stopped(void **state)
{
	(void)state;
	a_sync_that_fails(&(struct wal_options){ .sync = WAL_SYNC_BATCH }, true);
	a_sync_that_fails(&(struct wal_options){ .sync = WAL_SYNC_ASYNC }, true);
	a_sync_that_fails(&(struct wal_options){ .sync = WAL_SYNC_BATCH }, false);
	a_sync_that_fails(&(struct wal_options){ .sync = WAL_SYNC_ASYNC }, false);
}

/* Of a strict stream that stopped nothing is missing that was ever acknowledged: it can be cut there. */
static void a_stopped_stream_of_which_all_is_durable(void **state)
{
	static const struct wal_cut cuts[] = { { "s", 2 } };
	struct wal_stream *st;
	struct faultsys f;
	struct place p = { .opts = { .sync = WAL_SYNC_STRICT } };

	(void)state;
	tmpdir_make(&p.dir, "checkpoint");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	fill(&p, "s", 2);
	st = stream_open_or_fail(p.store, "s");
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_append(st, "x", 1, 0, NULL), -EIO);
	wal_stream_close(st);
	create(&p, "c");
	expect_cuts(&p, "c", cuts, 1);
	wal_store_close(p.store);
	place_open(&p);
	expect_cuts(&p, "c", cuts, 1);
	st = stream_open_or_fail(p.store, "s");
	stream_expect(st, 0, 2);
	wal_stream_close(st);
	place_remove(&p);
}

/* Each call of a creation fails once: then the checkpoint is not there, the one that had the id is, and the next try succeeds. */
static void each_call_fails(const char *id, const char *before, const char *after)
{
	for (unsigned n = 1;; n++) {
		struct wal_error err = { 0 };
		struct faultsys f;
		struct place p = { .opts = async };

		tmpdir_make(&p.dir, "checkpoint");
		faultsys_init(&f);
		assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
		fill(&p, "s", 3);
		create(&p, "a");
		create(&p, "b");
		store_close_or_fail(p.store);
		assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
		faultsys_fail(&f, FAULT_ANY, n, ENOSPC);
		int r = wal_checkpoint_create(p.store, id, strlen(id), 0, &err);
		bool hit = faultsys_hit(&f);

		faultsys_fail(&f, FAULT_ANY, 0, 0);
		if (r != 0) {
			assert_int_equal(r, -ENOSPC);
			assert_int_equal(err.code, -ENOSPC);
			assert_true(hit && err.message[0] != '\0');
		}
		expect_list(&p, r == 0 ? after : before);
		expect_latest(&p, r == 0 ? id : "b");
		assert_int_equal(wal_store_close(p.store), 0);
		place_open(&p);
		expect_list(&p, r == 0 ? after : before);
		expect_latest(&p, r == 0 ? id : "b");
		create(&p, id);
		expect_list(&p, after);
		place_remove(&p);
		if (!hit) {
			assert_true(n > 4); /* the record and its sync, and the same of HEAD, which is the first's to remove */
			break;
		}
	}
}

static void each_call_of_a_creation_fails(void **state)
{
	(void)state;
	each_call_fails("c", "a b", "a b c");
	each_call_fails("a", "a b", "b a");
}

/* What it has on disk is all that there is of it. */
static void a_damaged_stream_is_cut_where_it_stands(void **state)
{
	static const struct wal_cut cuts[] = { { "bad", 15 }, { "good", 4 } };
	struct wal_stream_stat stat;
	struct wal_stream *st;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_STRICT, .segment_entries = 10 });
	fill(&p, "bad", 15);
	fill(&p, "good", 3);
	store_close_or_fail(p.store);
	segment_path(p.dir.path, "bad", 10, ".wal", path);
	damage_flip_bit(path, frame_of(path, 12).offset + FRAME_HEADER_BYTES + 6, 3);
	assert_int_equal(unlink(segment_path(p.dir.path, "bad", 10, ".meta", path)), 0);
	place_open(&p);
	st = stream_open_or_fail(p.store, "bad");
	assert_int_equal(wal_stream_stat(st, &stat), 0);
	assert_int_equal(stat.health, WAL_READONLY);
	wal_stream_close(st);
	fill(&p, "good", 4);
	create(&p, "c");
	expect_cuts(&p, "c", cuts, 2);
	place_reopen(&p);
	expect_cuts(&p, "c", cuts, 2);
	place_remove(&p);
}

/* ---- Clocks ---- */

struct clock_sys {
	struct sys sys;
	int64_t now;
};

static int64_t clock_now(struct sys *sys)
{
	return container_of(sys, struct clock_sys, sys)->now;
}

static int no_sync(struct sys *sys, int fd)
{
	(void)sys;
	(void)fd;
	return 0;
}

/* The real table's functions ask nothing of it but to be called. Nothing loses power here, so syncs may cost nothing. */
static void clock_sys_init(struct clock_sys *c, int64_t now)
{
	c->sys = *sys_real();
	c->sys.now = clock_now;
	c->sys.fsync = no_sync;
	c->sys.fdatasync = no_sync;
	c->now = now;
}

/* What was made later is later, whatever the clock says, in this life of the store and the next. */
static void a_clock_that_goes_backwards(void **state)
{
	static const int64_t day = 86400 * (int64_t)1000000000;
	struct clock_sys clock;
	struct place p = { .opts = async };

	(void)state;
	tmpdir_make(&p.dir, "checkpoint");
	clock_sys_init(&clock, 20000 * day);
	assert_int_equal(store_open(&clock.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	create(&p, "a");
	create(&p, "b"); /* the same moment */
	clock.now -= 100 * day;
	create(&p, "c");
	store_close_or_fail(p.store);
	clock.now -= 100 * day;
	assert_int_equal(store_open(&clock.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	expect_list(&p, "a b c");
	create(&p, "d");
	create(&p, "a");
	expect_list(&p, "b c d a");
	expect_latest(&p, "a");
	clock.now = 20001 * day;
	create(&p, "e");
	struct wal_checkpoint *c = load(&p, "e");
	assert_int_equal(c->time_ns, 20001 * day);
	free(c);
	assert_int_equal(wal_checkpoint_compact(p.store, 2, NULL), 0);
	expect_list(&p, "a e");
	store_close_or_fail(p.store);
	tmpdir_remove(&p.dir);
}

/* ---- Many ---- */

static void ten_thousand(void **state)
{
	enum { COUNT = 10000 };
	struct wal_checkpoint *list, *c;
	struct clock_sys clock;
	size_t count, removed;
	struct place p = { .opts = async };

	(void)state;
	tmpdir_make(&p.dir, "checkpoint");
	clock_sys_init(&clock, 1700000000 * (int64_t)1000000000);
	assert_int_equal(store_open(&clock.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	fill(&p, "s", 3);
	for (uint32_t i = 0; i < COUNT; i++)
		create_sized(&p, &i, sizeof(i));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(wal_checkpoint_count(p.store), COUNT);
		assert_int_equal(wal_checkpoint_list(p.store, &list, &count), 0);
		assert_int_equal(count, COUNT);
		for (uint32_t i = 0; i < COUNT; i++) {
			expect_id(&list[i], &i, sizeof(i));
			assert_int_equal(wal_checkpoint_load(p.store, &i, sizeof(i), &c), 0);
			assert_int_equal(c->time_ns, list[i].time_ns);
			assert_int_equal(c->cut_count, 1);
			free(c);
		}
		free(list);
		store_close_or_fail(p.store);
		assert_int_equal(store_open(&clock.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	}
	assert_int_equal(wal_checkpoint_remove(p.store, &(uint32_t){ 5000 }, 4), 0);
	assert_int_equal(wal_checkpoint_compact(p.store, 10, &removed), 0);
	assert_int_equal(removed, COUNT - 11);
	assert_int_equal(wal_checkpoint_count(p.store), 10);
	store_close_or_fail(p.store);
	tmpdir_remove(&p.dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_store_has_none),
		cmocka_unit_test(a_checkpoint_of_nothing),
		cmocka_unit_test(cuts_are_sorted_and_right),
		cmocka_unit_test(an_id_that_is_used_again_moves),
		cmocka_unit_test(removed_ones_are_gone),
		cmocka_unit_test(compaction_keeps_the_newest),
		cmocka_unit_test(the_version_changes_with_the_list),
		cmocka_unit_test(ids_of_any_bytes),
		cmocka_unit_test(ids_of_any_length),
		cmocka_unit_test(the_log_of_named_streams),
		cmocka_unit_test(the_log_of_shards),
		cmocka_unit_test(the_log_of_many_shards),
		cmocka_unit_test(the_log_after_a_compaction),
		cmocka_unit_test(head_that_tells_nothing),
		cmocka_unit_test(streams_made_between),
		cmocka_unit_test(a_stream_deleted_and_made_again),
		cmocka_unit_test(pruned_to_a_checkpoint),
		cmocka_unit_test(pruned_but_for_a_stopped_stream),
		cmocka_unit_test(a_damaged_stream_is_cut_where_it_stands),
		cmocka_unit_test(a_read_only_store),
		cmocka_unit_test(the_cut_is_durable_in_every_mode),
		cmocka_unit_test(a_stream_that_is_stopped),
		cmocka_unit_test(a_stopped_stream_of_which_all_is_durable),
		cmocka_unit_test(each_call_of_a_creation_fails),
		cmocka_unit_test(a_clock_that_goes_backwards),
		cmocka_unit_test(ten_thousand),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(120); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
