/* SPDX-License-Identifier: Apache-2.0 */
/* The sharded store that the original wrote: its entries, its routing and its checkpoints, read, continued and compacted as the original would. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "ckptfile.h"
#include "damage.h"
#include "fixtures.h"
#include "original.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	SHARDS = 8,
	KEYS = 2000,
	CHECKPOINTS_MAX = 8,
};

/* A line of the manifest that begins with @checkpoint. */
struct fact {
	char id[64];
	size_t id_size;
	int64_t time_ns;
	uint64_t next[SHARDS];
};

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	struct manifest manifest;
};

static void place_make(struct place *p)
{
	char original[PATH_MAX];

	tmpdir_make(&p->dir, "sharded");
	copy_tree(fixture_path("sharded", "store", original), tmpdir_path(&p->dir, "store", p->path));
	manifest_load("sharded", &p->manifest);
}

static void place_remove(struct place *p)
{
	manifest_release(&p->manifest);
	tmpdir_remove(&p->dir);
}

/* "text" or "hex:0a0b"; returns the number of bytes. */
static size_t parse_key(const char *text, char key[64])
{
	size_t size = strlen(text);

	if (strncmp(text, "hex:", 4) != 0) {
		assert_true(size < 64);
		memcpy(key, text, size);
		return size;
	}
	size = (size - 4) / 2;
	assert_true(size < 64);
	for (size_t i = 0; i < size; i++) {
		unsigned byte;

		assert_int_equal(sscanf(text + 4 + 2 * i, "%2x", &byte), 1);
		key[i] = (char)byte;
	}
	return size;
}

/* The checkpoints that the manifest tells of in lines that begin with `word`, in their order there. */
static size_t load_facts(const char *word, struct fact facts[CHECKPOINTS_MAX])
{
	char path[PATH_MAX], line[1024], first[64], id[128], cuts[256];
	FILE *file = fopen(fixture_path("sharded", "MANIFEST.txt", path), "re");
	size_t count = 0;
	int64_t time;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %127s %" SCNd64 " %255s", first, id, &time, cuts) != 4 || strcmp(first, word) != 0)
			continue;
		assert_true(count < CHECKPOINTS_MAX);
		struct fact *fact = &facts[count++];
		fact->id_size = parse_key(id, fact->id);
		fact->time_ns = time;
		char *rest = cuts, *next;
		for (unsigned s = 0; s < SHARDS; s++) {
			assert_non_null(next = strsep(&rest, ","));
			fact->next[s] = strtoull(next, NULL, 10);
		}
		assert_null(rest);
	}
	fclose(file);
	assert_true(count > 0);
	return count;
}

static void expect_fact(const struct fact *fact, const struct wal_checkpoint *c)
{
	assert_int_equal(c->id_size, fact->id_size);
	assert_memory_equal(c->id, fact->id, fact->id_size);
	assert_int_equal(c->time_ns, fact->time_ns);
}

/* Just these checkpoints, the last of them the latest. */
static void expect_facts(struct wal_store *store, const struct fact *facts, size_t count)
{
	struct wal_checkpoint *list, *c;
	size_t found;

	assert_int_equal(wal_checkpoint_count(store), count);
	assert_int_equal(wal_checkpoint_list(store, &list, &found), 0);
	assert_int_equal(found, count);
	for (size_t i = 0; i < count; i++) {
		expect_fact(&facts[i], &list[i]);
		assert_int_equal(wal_checkpoint_load(store, facts[i].id, facts[i].id_size, &c), 0);
		expect_fact(&facts[i], c);
		assert_int_equal(c->cut_count, SHARDS);
		for (unsigned s = 0; s < SHARDS; s++) {
			char name[32];
			uint64_t next;

			snprintf(name, sizeof(name), "shard_%02u", s);
			assert_string_equal(c->cuts[s].stream, name);
			assert_int_equal(c->cuts[s].next_id, facts[i].next[s]);
			assert_int_equal(wal_checkpoint_find(c, name, &next), 0);
			assert_int_equal(next, facts[i].next[s]);
		}
		free(c);
	}
	free(list);
	assert_int_equal(wal_checkpoint_latest(store, &c), 0);
	expect_fact(&facts[count - 1], c);
	free(c);
}

/* ---- Entries and routing ---- */

/* The shard holds the lines of the manifest from `first` on, all of them and no more. */
static void expect_shard(struct wal_store *store, const struct manifest *manifest, uint32_t shard, uint64_t first)
{
	struct wal_stream *st;
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t id = first, next;

	assert_int_equal(wal_shard_open(store, shard, &st), 0);
	wal_stream_bounds(st, &id, &next, NULL);
	assert_int_equal(id, first);
	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (; id < next; id++) {
		const struct manifest_entry *line = manifest_find(manifest, wal_stream_name(st), id);

		assert_non_null(line);
		assert_int_equal(wal_iter_next(it, &e), 0);
		assert_int_equal(e.id, id);
		assert_int_equal(e.size, line->size);
		assert_int_equal(crc32(0, e.data, (uInt)e.size), line->crc);
	}
	assert_null(manifest_find(manifest, wal_stream_name(st), id));
	wal_iter_free(it);
	wal_stream_close(st);
}

static void expect_entries(struct wal_store *store, const struct manifest *manifest)
{
	uint64_t total = 0, next;
	struct wal_stream *st;

	for (uint32_t s = 0; s < SHARDS; s++) {
		expect_shard(store, manifest, s, 0);
		assert_int_equal(wal_shard_open(store, s, &st), 0);
		wal_stream_bounds(st, NULL, &next, NULL);
		total += next;
		wal_stream_close(st);
	}
	assert_int_equal(total, manifest->count);
}

static void opened_as_it_is(void **state)
{
	static const struct wal_options variants[] = { { .ro = true }, { .ro = true, .shards = SHARDS }, { .shards = SHARDS }, { .read = WAL_READ_MMAP } };
	struct fact facts[CHECKPOINTS_MAX];
	size_t count = load_facts("@checkpoint", facts);
	struct place p;

	(void)state;
	assert_int_equal(count, 3);
	place_make(&p);
	char *before = snapshot_take(p.path);
	for (size_t i = 0; i < TEST_COUNT(variants); i++) {
		struct wal_store *store = store_open_or_fail(p.path, &variants[i]);

		assert_int_equal(wal_store_shards(store), SHARDS);
		expect_entries(store, &p.manifest);
		expect_facts(store, facts, count);
		store_close_or_fail(store);
		if (variants[i].ro)
			snapshot_expect(p.path, before);
	}
	free(before);
	place_remove(&p);
}

static void another_number_of_shards(void **state)
{
	struct wal_store *store = NULL;
	struct wal_error err = { 0 };
	struct place p;

	(void)state;
	place_make(&p);
	assert_int_equal(wal_store_open(p.path, &(struct wal_options){ .shards = 4 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "8 shards, not 4:"));
	assert_int_equal(wal_store_open(p.path, &(struct wal_options){ .shards = 16 }, &store, &err), -EINVAL);
	assert_non_null(strstr(err.message, "8 shards, not 16:"));
	assert_null(store);
	place_remove(&p);
}

/* Each of the keys that the original routed goes where it sent it, and on from there. */
static void routed_as_the_original_did(void **state)
{
	char path[PATH_MAX], line[512], text[256], key[64];
	FILE *file = fopen(fixture_path("sharded", "KEYS.txt", path), "re");
	uint64_t next[SHARDS], expected, id;
	uint32_t shard, routed;
	struct wal_stream *st;
	unsigned count = 0;
	struct place p;

	(void)state;
	assert_non_null(file);
	place_make(&p);
	struct wal_store *store = store_open_or_fail(p.path, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	for (uint32_t s = 0; s < SHARDS; s++) {
		assert_int_equal(wal_shard_open(store, s, &st), 0);
		wal_stream_bounds(st, NULL, &next[s], NULL);
		wal_stream_close(st);
	}
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%255s %" SCNu32 " %" SCNu64, text, &routed, &expected), 3);
		size_t size = parse_key(text, key);
		if (wal_shard_of(key, size, SHARDS) != routed)
			fail_msg("key '%s' goes to shard %" PRIu32 ", and with the original to %" PRIu32, text, wal_shard_of(key, size, SHARDS), routed);
		assert_true(expected < next[routed]);
		assert_int_equal(wal_shard_append(store, key, size, text, strlen(text), 0, &shard, &id), 0);
		assert_int_equal(shard, routed);
		assert_int_equal(id, next[routed]++);
		count++;
	}
	fclose(file);
	assert_int_equal(count, KEYS);
	store_close_or_fail(store);
	for (uint32_t s = 0; s < SHARDS; s++) {
		snprintf(text, sizeof(text), "shard_%02" PRIu32, s);
		assert_int_equal(original_check_stream(p.path, text, NULL), next[s]);
	}
	place_remove(&p);
}

/* ---- Checkpoints ---- */

/* The original's bytes stay, and ours come behind them in its form. */
static void its_log_is_continued(void **state)
{
	char path[PATH_MAX];
	struct ckptfile file = { 0 };
	struct wal_checkpoint *c;
	uint64_t next;
	struct place p;

	(void)state;
	place_make(&p);
	file.data = file_read(tmpdir_path(&p.dir, "store/checkpoints.log", path), &file.size);
	struct wal_store *store = store_open_or_fail(p.path, NULL);
	ckptfile_expect(&file, p.path);
	assert_int_equal(wal_shard_append(store, "key1", 4, "v", 1, 0, NULL, NULL), 0);
	assert_int_equal(wal_checkpoint_create(store, "\0ours\n", 6, 0, NULL), 0);
	assert_int_equal(wal_checkpoint_load(store, "\0ours\n", 6, &c), 0);
	assert_int_equal(c->cut_count, SHARDS);
	assert_int_equal(wal_checkpoint_find(c, "shard_02", &next), 0);
	assert_int_equal(next, 242);
	free(c);
	ckptfile_add_from(&file, 1, store, "\0ours\n", 6);
	/* One of its ids again: the old record stays where it is, and no longer counts. */
	assert_int_equal(wal_checkpoint_create(store, "snapshot/4", 10, WAL_EXCL, NULL), -EEXIST);
	assert_int_equal(wal_checkpoint_create(store, "snapshot/4", 10, 0, NULL), 0);
	ckptfile_add_from(&file, 1, store, "snapshot/4", 10);
	for (int round = 0; round < 2; round++) {
		ckptfile_expect(&file, p.path);
		ckptfile_expect_head(p.path, round == 0 ? NULL : "snapshot/4", 10); /* only closing makes it */
		assert_int_equal(wal_checkpoint_count(store), 4);
		assert_int_equal(wal_checkpoint_latest(store, &c), 0);
		assert_memory_equal(c->id, "snapshot/4", 10);
		free(c);
		store_close_or_fail(store);
		store = store_open_or_fail(p.path, NULL);
	}
	store_close_or_fail(store);
	ckptfile_release(&file);
	place_remove(&p);
}

/* The same compaction as the original made, from the same bytes: the same bytes come of it. */
static void compacted_as_the_original_did(void **state)
{
	struct fact before[CHECKPOINTS_MAX], after[CHECKPOINTS_MAX];
	size_t before_count = load_facts("@checkpoint-before-compaction", before), after_count = load_facts("@checkpoint", after), removed, size;
	char path[PATH_MAX], original[PATH_MAX];
	struct ckptfile file = { 0 };
	struct place p;

	(void)state;
	assert_int_equal(before_count, 5);
	assert_int_equal(after_count, 3);
	place_make(&p);
	file.data = file_read(tmpdir_path(&p.dir, "store/checkpoints.log", path), &file.size);
	uint8_t *data = file_read(fixture_path("sharded", "checkpoints.log.before-compaction", original), &size);
	file_write(path, data, size);
	free(data);
	struct wal_store *store = store_open_or_fail(p.path, NULL);
	expect_facts(store, before, before_count);
	assert_int_equal(wal_checkpoint_compact(store, after_count, &removed), 0);
	assert_int_equal(removed, before_count - after_count);
	expect_facts(store, after, after_count);
	ckptfile_expect(&file, p.path);
	ckptfile_expect_head(p.path, "final", 5);
	store_close_or_fail(store);
	store = store_open_or_fail(p.path, NULL);
	expect_facts(store, after, after_count);
	store_close_or_fail(store);
	ckptfile_release(&file);
	place_remove(&p);
}

static void its_checkpoints_are_removed(void **state)
{
	struct fact facts[CHECKPOINTS_MAX];
	size_t count = load_facts("@checkpoint", facts);
	struct place p;

	(void)state;
	place_make(&p);
	struct wal_store *store = store_open_or_fail(p.path, NULL);
	assert_int_equal(wal_checkpoint_remove(store, "final", 5), 0);
	expect_facts(store, facts, count - 1);
	store_close_or_fail(store);
	store = store_open_or_fail(p.path, NULL);
	expect_facts(store, facts, count - 1);
	assert_int_equal(wal_checkpoint_remove(store, facts[0].id, facts[0].id_size), 0);
	expect_facts(store, facts + 1, count - 2);
	store_close_or_fail(store);
	place_remove(&p);
}

/* To its oldest checkpoint, which keeps what comes after it in every shard. */
static void pruned_to_its_checkpoint(void **state)
{
	static const uint64_t first[SHARDS] = { 121, 112, 124, 114, 113, 133, 125, 119 };
	struct fact facts[CHECKPOINTS_MAX];
	size_t count = load_facts("@checkpoint", facts);
	struct wal_prune_result result;
	char name[32];
	uint64_t found;
	struct place p;

	(void)state;
	place_make(&p);
	struct wal_store *store = store_open_or_fail(p.path, NULL);
	assert_int_equal(wal_checkpoint_prune_before(store, facts[0].id, facts[0].id_size, &result, NULL), 0);
	assert_int_equal(result.streams, SHARDS);
	assert_int_equal(result.segments, SHARDS);
	for (uint32_t s = 0; s < SHARDS; s++)
		expect_shard(store, &p.manifest, s, first[s]);
	expect_facts(store, facts, count);
	store_close_or_fail(store);
	for (uint32_t s = 0; s < SHARDS; s++) {
		snprintf(name, sizeof(name), "shard_%02" PRIu32, s);
		original_check_stream(p.path, name, &found);
		assert_int_equal(found, first[s]);
	}
	store = store_open_or_fail(p.path, &(struct wal_options){ .shards = SHARDS });
	for (uint32_t s = 0; s < SHARDS; s++)
		expect_shard(store, &p.manifest, s, first[s]);
	store_close_or_fail(store);
	place_remove(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_as_it_is),
		cmocka_unit_test(another_number_of_shards),
		cmocka_unit_test(routed_as_the_original_did),
		cmocka_unit_test(its_log_is_continued),
		cmocka_unit_test(compacted_as_the_original_did),
		cmocka_unit_test(its_checkpoints_are_removed),
		cmocka_unit_test(pruned_to_its_checkpoint),
	};

	if (!fixtures_or_skip())
		return 0;
	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(120); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
