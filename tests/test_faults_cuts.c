/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prunes, checkpoints and what is done with them, in named and in sharded stores, with one system call after the other failing: the first, the second … until the operation meets no
 * fault. After each: what the error is, that nothing acknowledged is lost (in the store as it goes on, and in one opened over the real calls), and that the operation can be done
 * when the fault is gone.
 *
 *	WALFS_TEST_NTH		only this call of each operation fails
 *	WALFS_TEST_OPERATION	only this operation, by its name in the list below
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuts.h"
#include "damage.h"
#include "faultsys.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum { A, B, EMPTY, NONE };

/* What must be in the store. */
struct model {
	struct cut_state cuts;
	bool exists[CUT_STREAMS];
	uint64_t first[CUT_STREAMS];
	uint64_t next[CUT_STREAMS];
};

struct place {
	struct faultsys f;
	struct tmpdir dir;
	char path[PATH_MAX];
	struct wal_options opts;
	const char *const *names;
	struct cut_versions versions;
	struct model is;   /* acknowledged */
	struct model will; /* what the operation that is tried makes of it */
	bool unsure;	   /* a prune or deletion failed: what it was about may be gone, and back when the store is opened again */
	bool unsettled;	   /* it was so */
	struct logged logged;
	struct wal_store *store; /* NULL: not open */
};

static const char *const plain_names[CUT_STREAMS] = { "a", "b", "empty", "none" };
static const char *const shard_names[CUT_STREAMS] = { "shard_00", "shard_01", "shard_02", "shard_03" };

/* ---- The store ---- */

static int open_place(struct place *p)
{
	struct wal_error err = { 0 };
	int result = store_open(&p->f.sys, p->path, &p->opts, &p->store, &err);

	if (result < 0) {
		assert_int_equal(err.code, result);
		assert_true(err.message[0] != '\0');
		p->store = NULL;
	}
	return result;
}

static void close_place(struct place *p)
{
	if (p->store)
		wal_store_close(p->store);
	p->store = NULL;
	assert_int_equal(p->f.open_fds, 0);
	assert_int_equal(p->f.mapped, 0);
}

static void fill(struct place *p, unsigned i, uint64_t next)
{
	struct wal_stream *st = stream_open_or_fail(p->store, p->names[i]);

	stream_fill(st, p->is.next[i], next);
	p->is.next[i] = next;
	p->is.exists[i] = true;
	wal_stream_close(st);
}

static unsigned new_version(struct place *p, unsigned id)
{
	unsigned number = cut_versions_next(&p->versions);
	struct cut_version *v = cut_versions_add(&p->versions);

	v->id = id;
	for (unsigned i = 0; i < CUT_STREAMS; i++) {
		v->knows[i] = p->is.exists[i];
		v->next_id[i] = p->is.next[i];
	}
	return number;
}

static int create(struct place *p, unsigned id, unsigned flags)
{
	struct wal_error err = { 0 };
	size_t size;
	const void *bytes = cut_id(id, &size);
	int result = wal_checkpoint_create(p->store, bytes, size, flags, &err);

	assert_true(result >= 0 || (err.code == result && err.message[0] != '\0'));
	return result;
}

static void add_checkpoint(struct place *p, unsigned id)
{
	cut_state_create(&p->is.cuts, id, new_version(p, id));
	assert_int_equal(create(p, id, 0), 0);
}

static void rotate_and_prune(struct place *p, unsigned i)
{
	struct wal_stream *st = stream_open_or_fail(p->store, p->names[i]);

	assert_int_equal(wal_stream_rotate(st), 0);
	assert_int_equal(wal_stream_prune(st, p->is.next[i], NULL), 0);
	p->is.first[i] = p->is.next[i];
	wal_stream_close(st);
}

/* Three checkpoints, segments of three entries, and some entries that no sync has covered. One stream was pruned to its end. */
static void build(struct place *p)
{
	tmpdir_make(&p->dir, "cuts");
	tmpdir_path(&p->dir, "store", p->path);
	assert_int_equal(open_place(p), 0);
	for (unsigned i = 0; i < CUT_STREAMS && p->opts.shards > 0; i++)
		p->is.exists[i] = true;
	fill(p, A, 4);
	fill(p, B, 2);
	fill(p, EMPTY, 4);
	add_checkpoint(p, 0);
	fill(p, A, 8);
	fill(p, B, 5);
	rotate_and_prune(p, EMPTY);
	add_checkpoint(p, 1);
	fill(p, A, 10);
	add_checkpoint(p, 2);
	fill(p, A, 11);
	fill(p, B, 7);
}

/* ---- What must hold ---- */

static bool is_stopped(struct place *p)
{
	struct wal_stream_stat stat;
	bool stopped = false;

	for (unsigned i = 0; i < CUT_STREAMS; i++) {
		struct wal_stream *st;

		if (wal_stream_open(p->store, p->names[i], 0, &st, NULL) != 0)
			continue;
		assert_int_equal(wal_stream_stat(st, &stat), 0);
		stopped |= stat.health != WAL_HEALTHY;
		wal_stream_close(st);
	}
	return stopped;
}

static void expect_entries(struct wal_stream *st, uint64_t first, uint64_t next)
{
	uint8_t content[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };

	for (uint64_t id = first; id < next; id++) {
		size_t size;
		const void *data = entry_content(id, content, &size);
		int result = wal_stream_get(st, id, &buf);

		if (result != 0)
			fail_msg("entry %" PRIu64 " of '%s': %s", id, wal_stream_name(st), wal_strerror(result));
		assert_int_equal(buf.size, size);
		assert_memory_equal(buf.data, data, size);
	}
	if (first > 0)
		assert_int_equal(wal_stream_get(st, first - 1, &buf), WAL_PRUNED);
	wal_buf_release(&buf);
}

/* The store is as `now` says, or as `next` does, or pruned somewhere between. `now` becomes what was found. */
static void expect_between(struct place *p, struct model *now, const struct model *next)
{
	struct cut_state found;
	char why[CUT_WHY_BYTES];

	for (unsigned i = 0; i < CUT_STREAMS; i++) {
		struct wal_stream *st;
		uint64_t first, end;

		if (wal_stream_open(p->store, p->names[i], 0, &st, NULL) != 0) {
			assert_true(!now->exists[i] || !next->exists[i]);
			now->exists[i] = false;
			continue;
		}
		assert_true(now->exists[i] || next->exists[i]);
		wal_stream_bounds(st, &first, &end, NULL);
		if (end != now->next[i] || first < now->first[i] || first > next->first[i])
			fail_msg("'%s' has %" PRIu64 " to %" PRIu64 ", expected from %" PRIu64 " or %" PRIu64 " to %" PRIu64, p->names[i], first, end, now->first[i],
				 next->first[i], now->next[i]);
		expect_entries(st, first, end);
		now->first[i] = first;
		now->exists[i] = true;
		wal_stream_close(st);
	}
	if (!cuts_check(p->store, p->names, &p->versions, &now->cuts, &next->cuts, &found, why))
		fail_msg("%s", why);
	now->cuts = found;
}

static void expect(struct place *p)
{
	struct model found = p->is;

	expect_between(p, &found, p->unsure ? &p->will : &p->is);
	if (!p->unsure)
		assert_memory_equal(&p->is, &found, sizeof(found));
}

/* What was unsure until the store was opened again is so or so now. */
static void settle(struct place *p)
{
	p->unsettled = p->unsure;
	if (p->unsure)
		expect_between(p, &p->is, &p->will);
	p->unsure = false;
	expect(p);
}

/* A store that is opened over calls that work is whole, and goes on. */
static void expect_goes_on(struct place *p)
{
	faultsys_fail(&p->f, FAULT_ANY, 0, 0);
	close_place(p);
	assert_int_equal(open_place(p), 0);
	settle(p);
	fill(p, A, p->is.next[A] + 2);
	rotate_and_prune(p, A);
	add_checkpoint(p, 4);
	expect(p);
	close_place(p);
	assert_int_equal(open_place(p), 0);
	expect(p);
}

/* ---- Operations ---- */

struct operation {
	const char *name;
	int (*run)(struct place *p);
	void (*foresee)(struct place *p); /* makes p->will of p->is */
	bool in_part; /* what fails may have got somewhere */
	bool cuts;    /* that may change checkpoints */
	bool named_only;
	bool sharded_only;
	bool reads; /* changes nothing */
	bool opens; /* the store: a stream that can't be read then is there, and says so */
};

static struct wal_stream *stream_of(struct place *p, unsigned i)
{
	struct wal_stream *st;

	assert_int_equal(wal_stream_open(p->store, p->names[i], 0, &st, NULL), 0);
	return st;
}

static int run_prune(struct place *p)
{
	struct wal_stream *st = stream_of(p, A);
	uint64_t segments = UINT64_MAX;
	int result = wal_stream_prune(st, 8, &segments);

	assert_true(segments <= 2);
	wal_stream_close(st);
	return result;
}

static void foresee_prune(struct place *p)
{
	p->will.first[A] = 6;
}

static int run_prune_all(struct place *p)
{
	struct wal_stream *st = stream_of(p, A);
	int result = wal_stream_rotate(st);

	if (result == 0)
		result = wal_stream_prune(st, UINT64_MAX, NULL);
	wal_stream_close(st);
	return result;
}

static void foresee_prune_all(struct place *p)
{
	p->will.first[A] = p->is.next[A];
}

static int run_create(struct place *p)
{
	return create(p, 3, 0);
}

static int run_create_exclusively(struct place *p)
{
	return create(p, 3, WAL_EXCL);
}

static void foresee_create(struct place *p)
{
	cut_state_create(&p->will.cuts, 3, new_version(p, 3));
}

static int run_move(struct place *p)
{
	return create(p, 0, 0);
}

static void foresee_move(struct place *p)
{
	cut_state_create(&p->will.cuts, 0, new_version(p, 0));
}

static int remove_checkpoint(struct place *p, unsigned id)
{
	size_t size;
	const void *bytes = cut_id(id, &size);

	return wal_checkpoint_remove(p->store, bytes, size);
}

static int run_remove_latest(struct place *p)
{
	return remove_checkpoint(p, 2);
}

static void foresee_remove_latest(struct place *p)
{
	cut_state_remove(&p->will.cuts, 2);
}

static int run_remove_oldest(struct place *p)
{
	return remove_checkpoint(p, 0);
}

static void foresee_remove_oldest(struct place *p)
{
	cut_state_remove(&p->will.cuts, 0);
}

static int run_compact(struct place *p)
{
	return wal_checkpoint_compact(p->store, 1, NULL);
}

static void foresee_compact(struct place *p)
{
	cut_state_compact(&p->will.cuts, 1);
}

static int run_prune_before(struct place *p)
{
	struct wal_error err = { 0 };
	size_t size;
	const void *bytes = cut_id(1, &size);
	int result = wal_checkpoint_prune_before(p->store, bytes, size, NULL, &err);

	assert_true(result >= 0 || (err.code == result && err.message[0] != '\0'));
	return result;
}

static void foresee_prune_before(struct place *p)
{
	p->will.first[A] = 6;
	p->will.first[B] = 3;
}

static int run_delete(struct place *p)
{
	return wal_stream_delete(p->store, "empty");
}

static void foresee_delete(struct place *p)
{
	p->will.exists[EMPTY] = false;
	p->will.cuts.forgotten[EMPTY] = cut_versions_next(&p->versions);
}

static int run_look(struct place *p)
{
	struct wal_checkpoint *list, *one;
	size_t count;
	int result = wal_checkpoint_latest(p->store, &one);

	if (result != 0)
		return result;
	free(one);
	result = wal_checkpoint_list(p->store, &list, &count);
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = wal_checkpoint_load(p->store, list[i].id, list[i].id_size, &one);
		if (result == 0)
			free(one);
	}
	if (count > 0 && list)
		free(list);
	return result;
}

static void foresee_nothing(struct place *p)
{
	(void)p;
}

static int run_reopen(struct place *p)
{
	wal_store_close(p->store);
	p->store = NULL;
	return open_place(p);
}

/* With what a crash in the middle of an append leaves of checkpoints.log. */
static int run_open_torn(struct place *p)
{
	static const uint8_t torn[] = "CKPT\1\2\3\4\40\0\0\0\2";
	char path[PATH_MAX];

	wal_store_close(p->store);
	p->store = NULL;
	damage_append(tmpdir_path(&p->dir, "store/checkpoints.log", path), torn, sizeof(torn));
	return open_place(p);
}

static int run_open_headless(struct place *p)
{
	char path[PATH_MAX];

	wal_store_close(p->store);
	p->store = NULL;
	file_write(tmpdir_path(&p->dir, "store/HEAD", path), "\4\0gone", 6);
	return open_place(p);
}

/* A key of that shard. */
static size_t key_of(unsigned shard, char key[16])
{
	for (unsigned i = 0;; i++) {
		int size = snprintf(key, 16, "key %u", i);

		if (wal_shard_of(key, (size_t)size, CUT_STREAMS) == shard)
			return (size_t)size;
	}
}

/* What is acknowledged of it counts, whatever becomes of the rest. */
static int run_keyed_batch(struct place *p)
{
	struct wal_keyed_entry entries[CUT_STREAMS];
	uint8_t content[CUT_STREAMS][ENTRY_SIZE_MAX];
	char keys[CUT_STREAMS][16];

	for (unsigned i = 0; i < CUT_STREAMS; i++) {
		entries[i] = (struct wal_keyed_entry){ .key = keys[i], .key_size = key_of(i, keys[i]), .result = -ECANCELED };
		entries[i].data = entry_content(p->is.next[i], content[i], &entries[i].size);
	}
	int result = wal_shard_append_batch(p->store, entries, CUT_STREAMS, 0);
	for (unsigned i = 0; i < CUT_STREAMS; i++) {
		assert_true(entries[i].result == 0 || result != 0);
		if (entries[i].result != 0)
			continue;
		assert_int_equal(entries[i].shard, i);
		assert_int_equal(entries[i].id, p->is.next[i]);
		p->will.next[i] = ++p->is.next[i];
	}
	return result;
}

static const struct operation operations[] = {
	{ "prune", run_prune, foresee_prune, .in_part = true },
	{ "prune all", run_prune_all, foresee_prune_all, .in_part = true },
	{ "create", run_create, foresee_create },
	{ "create exclusively", run_create_exclusively, foresee_create },
	{ "move", run_move, foresee_move },
	{ "remove the latest", run_remove_latest, foresee_remove_latest },
	{ "remove the oldest", run_remove_oldest, foresee_remove_oldest },
	{ "compact", run_compact, foresee_compact },
	{ "prune before", run_prune_before, foresee_prune_before, .in_part = true },
	{ "delete", run_delete, foresee_delete, .in_part = true, .cuts = true, .named_only = true },
	{ "append to all shards", run_keyed_batch, foresee_nothing, .sharded_only = true },
	{ "look", run_look, foresee_nothing, .reads = true },
	{ "reopen", run_reopen, foresee_nothing, .opens = true },
	{ "open with a torn log", run_open_torn, foresee_nothing, .opens = true },
	{ "open with a HEAD of nothing", run_open_headless, foresee_nothing, .opens = true },
};

/* ---- Sweeps ---- */

struct sweep {
	enum fault_call call;
	int error;
	bool sticky;
	bool short_write;
	bool sharded;
};

/* A checkpoint that could not be made, moved or removed is as it was; a prune or a deletion may have got somewhere. */
static void expect_failed(struct place *p, const struct operation *op, bool sticky)
{
	unsigned heir = p->will.cuts.latest;
	/* If even taking it back failed, it may have been done when the store is opened again. */
	bool stopped = logged_has(&p->logged, "none can be made or removed until the store is opened again");

	p->unsure = op->in_part || stopped || sticky;
	if (!op->cuts && !stopped)
		p->will.cuts = p->is.cuts;
	/* HEAD goes first; if it can't be put back it names one that is there. */
	if (sticky)
		p->will.cuts.latest = heir;
	expect(p);
}

/* Of a stream that could not be read nobody knows what a checkpoint would have to cover. If one is made, it covers all there is, as is seen when the store is opened again. */
static void expect_no_wrong_checkpoint(struct place *p)
{
	unsigned version = new_version(p, 4);
	int result = create(p, 4, 0);

	if (result == 0)
		cut_state_create(&p->is.cuts, 4, version);
	else
		assert_int_equal(result, -EIO);
}

/* The checkpoints could not be read, or not put in order, when the store was opened: none are shown or all, and no more are made; the streams are there. */
static void expect_shut(struct place *p)
{
	struct model none = p->is, same;

	assert_int_equal(create(p, 4, 0), -EIO);
	if (wal_checkpoint_count(p->store) > 0) {
		expect(p);
		return;
	}
	none.cuts = (struct cut_state){ 0 };
	same = none;
	expect_between(p, &none, &same);
}

static void try_again(struct place *p, const struct operation *op, const struct model *done)
{
	int result;

	if (!p->store) {
		assert_int_equal(open_place(p), 0);
		expect(p);
		return;
	}
	result = op->run(p);
	/* Until it is opened again, if a sync or the taking back of something failed, or half of a stream was deleted. */
	if (result == -EIO || (result == -ENOENT && op->run == run_delete)) {
		close_place(p);
		assert_int_equal(open_place(p), 0);
		settle(p);
		result = op->run(p);
	}
	bool already = (result == -ENOENT && op->run == run_delete) || (result == -EEXIST && op->run == run_create_exclusively) || result == WAL_NOT_FOUND;
	if (result != 0 && !(already && p->unsettled))
		fail_msg("'%s' without a fault: %s", op->name, wal_strerror(result));
	if (result == 0)
		p->is.cuts = done->cuts;
	for (unsigned i = 0; i < CUT_STREAMS && result == 0; i++) {
		p->is.exists[i] = done->exists[i];
		p->is.first[i] = done->first[i];
	}
	p->unsure = false;
	expect(p);
}

/* False if the operation met no fault. */
static bool run_once(const struct operation *op, const struct sweep *sweep, unsigned nth)
{
	size_t fds = open_fd_count();
	struct place *p = calloc(1, sizeof(*p));
	bool hit;

	assert_non_null(p);
	p->names = sweep->sharded ? shard_names : plain_names;
	p->logged = (struct logged)LOGGED_INIT;
	p->opts = (struct wal_options){ .segment_entries = 3, .sync = WAL_SYNC_ASYNC, .shards = sweep->sharded ? CUT_STREAMS : 0, .log = logged_write,
					.log_arg = &p->logged };
	faultsys_init(&p->f);
	build(p);
	p->will = p->is;
	op->foresee(p);
	const struct model done = p->will;
	faultsys_fail(&p->f, sweep->call, nth, sweep->error);
	p->f.sticky = sweep->sticky;
	p->f.short_write = sweep->short_write;
	int result = op->run(p);
	hit = faultsys_hit(&p->f);
	if (result != 0 && (!hit || (result != -sweep->error && result != -EIO)))
		fail_msg("'%s' fails with: %s", op->name, wal_strerror(result));
	faultsys_fail(&p->f, FAULT_ANY, 0, 0);
	if (result == 0)
		p->is = p->will;
	if (op->opens && p->store && is_stopped(p))
		expect_no_wrong_checkpoint(p);
	else if (op->opens && p->store && logged_has(&p->logged, "none can be made or removed until the store is opened again"))
		expect_shut(p);
	else if (result == 0)
		expect(p);
	else if (p->store)
		expect_failed(p, op, sweep->sticky);
	/* One failure is taken back, but not of opening. */
	if (!sweep->sticky && !op->opens)
		assert_false(logged_has(&p->logged, "none can be made or removed until the store is opened again"));
	/* Every other time it is left at that, and must be so when it is opened the next time. */
	if (result != 0 && nth % 2 == 0)
		try_again(p, op, &done);
	if (op->reads || !hit)
		assert_false(is_stopped(p));
	expect_goes_on(p);
	close_place(p);
	tmpdir_remove(&p->dir);
	cut_versions_release(&p->versions);
	logged_release(&p->logged);
	free(p);
	assert_int_equal(open_fd_count(), fds);
	return hit;
}

static void sweep(struct sweep sweep)
{
	const char *only = getenv("WALFS_TEST_NTH"), *which = getenv("WALFS_TEST_OPERATION");

	for (size_t i = 0; i < TEST_COUNT(operations); i++) {
		unsigned nth = only ? (unsigned)strtoul(only, NULL, 0) : 1;

		if ((sweep.sharded ? operations[i].named_only : operations[i].sharded_only) || (which && strcmp(which, operations[i].name) != 0))
			continue;
		/* The number of a run that fails is the last that is printed. */
		while (printf("# %s: call %u\n", operations[i].name, nth), fflush(stdout), run_once(&operations[i], &sweep, nth) && !only)
			nth += test_thinning();
	}
}

static void each_call_fails(void **state)
{
	(void)state;
	sweep((struct sweep){ .call = FAULT_ANY, .error = EIO });
	sweep((struct sweep){ .call = FAULT_ANY, .error = ENOSPC });
}

static void each_call_fails_in_a_sharded_store(void **state)
{
	(void)state;
	sweep((struct sweep){ .call = FAULT_ANY, .error = EIO, .sharded = true });
}

/* Shards that an open could not make are made by the next one. */
static void each_call_fails_while_shards_are_made(void **state)
{
	bool hit = true;

	(void)state;
	for (unsigned nth = 1; hit; nth++) {
		struct place *p = calloc(1, sizeof(*p));

		assert_non_null(p);
		*p = (struct place){ .names = shard_names, .opts = { .shards = CUT_STREAMS } };
		tmpdir_make(&p->dir, "cuts");
		tmpdir_path(&p->dir, "store", p->path);
		faultsys_init(&p->f);
		faultsys_fail(&p->f, FAULT_ANY, nth, nth % 2 ? EIO : ENOSPC);
		int result = open_place(p);
		hit = faultsys_hit(&p->f);
		assert_true(result == 0 || (hit && result == (nth % 2 ? -EIO : -ENOSPC)));
		faultsys_fail(&p->f, FAULT_ANY, 0, 0);
		close_place(p);
		p->opts.shards = result == 0 && nth % 4 < 2 ? 0 : CUT_STREAMS;
		assert_int_equal(open_place(p), 0);
		assert_int_equal(wal_store_shards(p->store), CUT_STREAMS);
		for (unsigned i = 0; i < CUT_STREAMS; i++)
			fill(p, i, 3);
		expect_goes_on(p);
		close_place(p);
		tmpdir_remove(&p->dir);
		cut_versions_release(&p->versions);
		free(p);
	}
}

static void each_open_meets_the_limit_of_descriptors(void **state)
{
	(void)state;
	sweep((struct sweep){ .call = FAULT_OPENAT, .error = EMFILE });
}

static void each_write_is_cut_short(void **state)
{
	(void)state;
	sweep((struct sweep){ .call = FAULT_PWRITEV, .error = ENOSPC, .short_write = true });
}

static void from_some_call_on(void **state)
{
	(void)state;
	sweep((struct sweep){ .call = FAULT_ANY, .error = EIO, .sticky = true });
	sweep((struct sweep){ .call = FAULT_PWRITEV, .error = ENOSPC, .sticky = true, .short_write = true });
	sweep((struct sweep){ .call = FAULT_FSYNC, .error = EIO, .sticky = true });
	sweep((struct sweep){ .call = FAULT_FDATASYNC, .error = EIO, .sticky = true });
	sweep((struct sweep){ .call = FAULT_FDATASYNC, .error = EIO, .sticky = true, .sharded = true });
	sweep((struct sweep){ .call = FAULT_RENAMEAT, .error = EIO, .sticky = true });
	sweep((struct sweep){ .call = FAULT_UNLINKAT, .error = EIO, .sticky = true });
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(each_call_fails_in_a_sharded_store),
		cmocka_unit_test(each_call_fails_while_shards_are_made),
		cmocka_unit_test(each_open_meets_the_limit_of_descriptors),
		cmocka_unit_test(each_write_is_cut_short),
		cmocka_unit_test(from_some_call_on),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(500); /* a hang is a failure, not a wait */
	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
