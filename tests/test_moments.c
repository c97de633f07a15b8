/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes between the steps of a prune, of a delete, of a look at the offsets: a system call of the one is where the other is let in. No test here depends on who is
 * faster.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

/* The stream of most tests: segments 0, 10, 20 and the active 30, which holds 30 … 34. */
enum {
	EACH = 10,
	ACTIVE = 30,
	NEXT = 35,
	WAIT_SECONDS = 20,
};

enum call {
	CALL_NONE,
	CALL_OPENAT,
	CALL_RENAMEAT, /* by its new name */
	CALL_UNLINKAT,
	CALL_FDATASYNC, /* of any file */
};

struct moment {
	struct sys sys;
	struct tmpdir dir;
	struct wal_options opts;
	struct wal_store *store;
	struct wal_stream *st;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* protected by lock */
	enum call call; /* the next such call with `name` first calls `meet`, once; what that returns it fails with, unless it is 0 */
	const char *name;
	int (*meet)(struct moment *m);
	unsigned met;
	const char *refused; /* can't be opened */
	unsigned steps;	     /* a bit for each that somebody is behind */

	/* what the test and its `meet` tell each other */
	pthread_t other;
	struct wal_op op;
	uint64_t id;
	uint64_t offset;
	int result;
};

/* ---- The moment ---- */

static void arm(struct moment *m, enum call call, const char *name, int (*meet)(struct moment *m))
{
	LOCKED_SCOPE(&m->lock);
	m->call = call;
	m->name = name;
	m->meet = meet;
}

static int pass(struct sys *sys, enum call call, const char *name)
{
	struct moment *m = container_of(sys, struct moment, sys);
	int (*meet)(struct moment *m) = NULL;

	pthread_mutex_lock(&m->lock);
	bool refused = call == CALL_OPENAT && m->refused && strcmp(name, m->refused) == 0;
	if (call == m->call && (!name || strcmp(name, m->name) == 0)) {
		meet = m->meet;
		m->call = CALL_NONE;
		m->met++;
	}
	pthread_mutex_unlock(&m->lock);
	return refused ? -EMFILE : meet ? meet(m) : 0;
}

static int moment_openat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	int result = pass(sys, CALL_OPENAT, name);

	return result < 0 ? result : sys_real()->openat(sys_real(), dirfd, name, flags, mode);
}

static int moment_renameat(struct sys *sys, int dirfd, const char *from, const char *to)
{
	int result = pass(sys, CALL_RENAMEAT, to);

	return result < 0 ? result : sys_real()->renameat(sys_real(), dirfd, from, to);
}

static int moment_unlinkat(struct sys *sys, int dirfd, const char *name, int flags)
{
	int result = pass(sys, CALL_UNLINKAT, name);

	return result < 0 ? result : sys_real()->unlinkat(sys_real(), dirfd, name, flags);
}

static int moment_fdatasync(struct sys *sys, int fd)
{
	int result = pass(sys, CALL_FDATASYNC, NULL);

	return result < 0 ? result : sys_real()->fdatasync(sys_real(), fd);
}

static void reach(struct moment *m, unsigned step)
{
	LOCKED_SCOPE(&m->lock);
	m->steps |= 1u << step;
	pthread_cond_broadcast(&m->changed);
}

/* False if nobody has got there within the time. */
static bool await(struct moment *m, unsigned step)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	LOCKED_SCOPE(&m->lock);
	while (!(m->steps & 1u << step) && error == 0)
		error = pthread_cond_timedwait(&m->changed, &m->lock, &until);
	return error == 0;
}

static bool is_reached(struct moment *m, unsigned step)
{
	LOCKED_SCOPE(&m->lock);
	return m->steps & 1u << step;
}

static bool was_met(struct moment *m)
{
	LOCKED_SCOPE(&m->lock);
	return m->met > 0 && m->call == CALL_NONE;
}

static void start_other(struct moment *m, void *(*run)(void *arg))
{
	THREAD_CHECK(pthread_create(&m->other, NULL, run, m) == 0);
}

/* A new store with an empty stream "s"; nothing is met yet. */
static void moment_make(struct moment *m, struct wal_options opts)
{
	*m = (struct moment){ .sys = *sys_real(), .opts = opts };
	m->opts.sync = WAL_SYNC_ASYNC;
	m->sys.openat = moment_openat;
	m->sys.renameat = moment_renameat;
	m->sys.unlinkat = moment_unlinkat;
	m->sys.fdatasync = moment_fdatasync;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	tmpdir_make(&m->dir, "moments");
	assert_int_equal(store_open(&m->sys, m->dir.path, &m->opts, &m->store, NULL), 0);
	m->st = stream_open_or_fail(m->store, "s");
}

static void moment_close(struct moment *m)
{
	wal_stream_close(m->st);
	store_close_or_fail(m->store);
}

/* So that no segment but the active one is open. */
static void moment_reopen(struct moment *m)
{
	moment_close(m);
	assert_int_equal(store_open(&m->sys, m->dir.path, &m->opts, &m->store, NULL), 0);
	m->st = stream_open_or_fail(m->store, "s");
}

static void moment_remove(struct moment *m)
{
	moment_close(m);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	tmpdir_remove(&m->dir);
}

/* ---- Sums of payload bytes ---- */

static uint64_t bytes_of(uint64_t first, uint64_t next)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	uint64_t bytes = 0;
	size_t size;

	for (uint64_t id = first; id < next; id++) {
		entry_content(id, buf, &size);
		bytes += size;
	}
	return bytes;
}

/* Entry `first` is the first, `base` is its offset, and the others follow. */
static void expect_offsets(struct moment *m, uint64_t first, uint64_t next, uint64_t base)
{
	uint64_t at, found, skip;

	for (uint64_t id = first; id <= next; id++) {
		assert_int_equal(wal_stream_offset_of(m->st, id, &at), 0);
		assert_int_equal(at, base + bytes_of(first, id));
		assert_int_equal(wal_stream_id_at(m->st, at, &found, &skip), id < next ? 0 : WAL_NOT_FOUND);
		assert_true(id == next || (found == id && skip == 0));
	}
	assert_int_equal(wal_stream_offset_of(m->st, first - 1, &at), WAL_PRUNED);
}

static int meet_ask_for_the_end(struct moment *m)
{
	m->result = wal_stream_offset_of(m->st, NEXT, &m->offset);
	return 0;
}

/* Whoever asks for an offset while the index is being replaced has got as far as `known` segments, then can't open the next. */
static void sums_begun_while_segments_go(uint64_t drop, uint64_t known)
{
	static const char *const names[] = { "00000000000000000000.wal", "00000000000000000010.wal", "00000000000000000020.wal", NULL };
	uint64_t first = drop * EACH, segments, base;
	struct wal_stream_stat stat;
	struct moment m;

	moment_make(&m, (struct wal_options){ .segment_entries = EACH });
	stream_fill(m.st, 0, NEXT);
	moment_reopen(&m);
	m.refused = names[known];
	arm(&m, CALL_RENAMEAT, "segments.idx", meet_ask_for_the_end);
	assert_int_equal(wal_stream_prune(m.st, first, &segments), 0);
	assert_int_equal(segments, drop);
	assert_true(was_met(&m));
	assert_int_equal(m.result, m.refused ? -EMFILE : 0);
	if (!m.refused)
		assert_int_equal(m.offset, bytes_of(0, NEXT));
	m.refused = NULL;
	/* What has been given out stays; else they count from what is first now, or was when the first was asked for. */
	assert_int_equal(wal_stream_offset_of(m.st, first, &base), 0);
	assert_true(base == bytes_of(0, first) || (base == 0 && names[known]));
	expect_offsets(&m, first, NEXT, base);
	assert_int_equal(wal_stream_stat(m.st, &stat), 0);
	assert_int_equal(stat.payload_bytes, bytes_of(first, NEXT));
	stream_fill(m.st, NEXT, 2 * NEXT);
	assert_int_equal(wal_stream_prune(m.st, ACTIVE + EACH, NULL), 0);
	expect_offsets(&m, ACTIVE + EACH, 2 * NEXT, base + bytes_of(first, ACTIVE + EACH));
	moment_remove(&m);
}

static void sums_begun_while_the_index_is_replaced(void **state)
{
	(void)state;
	for (uint64_t drop = 1; drop <= 3; drop++) {
		for (uint64_t known = 0; known <= 3; known++)
			sums_begun_while_segments_go(drop, known);
	}
}

static int meet_prune_to_the_end(struct moment *m)
{
	m->result = wal_stream_prune(m->st, m->id, NULL);
	return 0;
}

/* The end has an offset whatever goes: the entry before it is the way to that, and may be gone by the time its segment is opened. */
static void the_end_while_the_last_entry_goes(void **state)
{
	struct wal_options opts = { .segment_entries = 1, .max_open_segments = 8 };
	enum { COUNT = 20 };
	struct wal_buf buf = { 0 };
	uint64_t offset;
	struct moment m;

	(void)state;
	moment_make(&m, opts);
	stream_fill(m.st, 0, COUNT);
	assert_int_equal(wal_stream_rotate(m.st), 0);
	assert_int_equal(wal_stream_offset_of(m.st, 0, &offset), 0);
	/* No room for the last one to stay open. */
	for (uint64_t id = 0; id < opts.max_open_segments; id++)
		assert_int_equal(wal_stream_get(m.st, id, &buf), 0);
	wal_buf_release(&buf);
	m.id = COUNT;
	arm(&m, CALL_OPENAT, "00000000000000000019.wal", meet_prune_to_the_end);
	assert_int_equal(wal_stream_offset_of(m.st, COUNT, &offset), 0);
	assert_int_equal(offset, bytes_of(0, COUNT));
	assert_true(was_met(&m));
	assert_int_equal(m.result, 0);
	moment_remove(&m);
}

enum { OPENING, PRUNED };

static int meet_wait_for_prune(struct moment *m)
{
	reach(m, OPENING);
	THREAD_CHECK(await(m, PRUNED));
	return 0;
}

static void *run_offset_of_the_end(void *arg)
{
	struct moment *m = arg;

	m->result = wal_stream_offset_of(m->st, NEXT, &m->offset);
	return NULL;
}

static void *run_id_at_the_beginning(void *arg)
{
	struct moment *m = arg;
	uint64_t skip;

	m->result = wal_stream_id_at(m->st, 0, &m->offset, &skip);
	return NULL;
}

static int meet_start_offset(struct moment *m)
{
	arm(m, CALL_OPENAT, "00000000000000000000.wal", meet_wait_for_prune);
	start_other(m, run_offset_of_the_end);
	THREAD_CHECK(await(m, OPENING));
	return 0;
}

static int meet_start_id_at(struct moment *m)
{
	arm(m, CALL_OPENAT, "00000000000000000000.wal", meet_wait_for_prune);
	start_other(m, run_id_at_the_beginning);
	THREAD_CHECK(await(m, OPENING));
	return 0;
}

/* The prune does not wait for who adds up, and when that one comes to open its first segment, that is gone: it goes on with the others. */
static void what_is_added_up_goes(void **state)
{
	int (*const starts[])(struct moment *m) = { meet_start_offset, meet_start_id_at };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(starts); i++) {
		for (uint64_t first = EACH; first <= ACTIVE; first += EACH) {
			struct moment m;

			moment_make(&m, (struct wal_options){ .segment_entries = EACH });
			stream_fill(m.st, 0, NEXT);
			moment_reopen(&m);
			arm(&m, CALL_RENAMEAT, "segments.idx", starts[i]);
			assert_int_equal(wal_stream_prune(m.st, first, NULL), 0);
			reach(&m, PRUNED);
			assert_int_equal(pthread_join(m.other, NULL), 0);
			assert_true(was_met(&m));
			assert_int_equal(m.result, 0);
			assert_int_equal(m.offset, i == 0 ? bytes_of(first, NEXT) : first);
			expect_offsets(&m, first, NEXT, 0);
			moment_remove(&m);
		}
	}
}

/* ---- What stays open ---- */

static size_t deleted_fd_count(void)
{
	char path[PATH_MAX], target[PATH_MAX];
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		count += strstr(target, ".wal (deleted)") != NULL || strstr(target, ".meta (deleted)") != NULL;
	}
	closedir(d);
	return count;
}

enum { LOCATED, UNLINKING, READ };

/* Between the way to an entry and its segment there is nothing else to be met: a sidecar that turns out to be bad is told of, then the segment opened anew. */
static void log_and_wait(void *arg, enum wal_log_level level, const char *message)
{
	struct moment *m = arg;

	(void)level;
	if (strstr(message, "does not lead to id")) {
		reach(m, LOCATED);
		THREAD_CHECK(await(m, UNLINKING));
	}
}

static void *run_gets(void *arg)
{
	struct moment *m = arg;
	struct wal_buf buf = { 0 };

	/* Up to the one that the bad block was to lead to. */
	for (uint64_t id = 0; id < m->id && !is_reached(m, LOCATED); id++)
		m->result = wal_stream_get(m->st, id, &buf);
	wal_buf_release(&buf);
	reach(m, READ);
	return NULL;
}

static int meet_let_read(struct moment *m)
{
	reach(m, UNLINKING);
	THREAD_CHECK(await(m, READ));
	return 0;
}

/* A reader that found its way before the prune opens the segment just before its name is gone. */
static void opened_just_before_it_is_unlinked(void **state)
{
	enum { ENTRIES = 1500, BLOCK = 1024 };
	char path[PATH_MAX];
	uint64_t segments;
	struct moment m;

	(void)state;
	moment_make(&m, (struct wal_options){ .segment_entries = ENTRIES, .block_cache = WAL_SIZE_NONE });
	m.opts.log = log_and_wait;
	m.opts.log_arg = &m;
	stream_fill(m.st, 0, ENTRIES + 1);
	moment_close(&m);
	segment_path(m.dir.path, "s", 0, ".meta", path);
	/* Not a block that opening the segment looks at. */
	assert_true(file_size(path) > 4 * BLOCK);
	damage_flip_bit(path, BLOCK + 100, 1);
	assert_int_equal(store_open(&m.sys, m.dir.path, &m.opts, &m.store, NULL), 0);
	m.st = stream_open_or_fail(m.store, "s");
	m.id = ENTRIES;
	start_other(&m, run_gets);
	assert_true(await(&m, LOCATED));
	arm(&m, CALL_UNLINKAT, "00000000000000000000.wal", meet_let_read);
	assert_int_equal(wal_stream_prune(m.st, ENTRIES, &segments), 0);
	assert_int_equal(segments, 1);
	assert_int_equal(pthread_join(m.other, NULL), 0);
	assert_true(was_met(&m));
	assert_int_equal(m.result, 0);
	assert_int_equal(deleted_fd_count(), 0);
	assert_int_equal(store_open_segments(m.store), 0);
	moment_remove(&m);
}

/* ---- Deleting ---- */

static int meet_delete_and_cut(struct moment *m)
{
	m->result = wal_stream_delete(m->store, "s");
	THREAD_CHECK_OK(wal_checkpoint_create(m->store, "meanwhile", 9, 0, NULL));
	return 0;
}

/* The one that prunes goes on when both are done, so neither can have waited for it. */
static void a_stream_with_entries_while_files_are_removed(void **state)
{
	uint64_t segments;
	struct moment m;

	(void)state;
	moment_make(&m, (struct wal_options){ .segment_entries = EACH });
	stream_fill(m.st, 0, NEXT);
	arm(&m, CALL_UNLINKAT, "00000000000000000010.wal", meet_delete_and_cut);
	assert_int_equal(wal_stream_prune(m.st, ACTIVE, &segments), 0);
	assert_int_equal(segments, 3);
	assert_true(was_met(&m));
	assert_int_equal(m.result, -ENOTEMPTY);
	stream_expect(m.st, ACTIVE, NEXT);
	stream_fill(m.st, NEXT, NEXT + 1);
	moment_remove(&m);
}

/* Making checkpoints and streams does not wait for a prune because a delete does. */
enum { DELETE_BEGUN, CUTS_MADE, CUTS = 50 };

static void *run_delete(void *arg)
{
	struct moment *m = arg;

	reach(m, DELETE_BEGUN);
	m->result = wal_stream_delete(m->store, "s");
	return NULL;
}

static void *run_cuts(void *arg)
{
	struct moment *m = arg;

	for (int i = 0; i < CUTS; i++)
		THREAD_CHECK_OK(wal_checkpoint_create(m->store, "meanwhile", 9, 0, NULL));
	reach(m, CUTS_MADE);
	return NULL;
}

static int meet_delete_then_cut(struct moment *m)
{
	pthread_t cutter;

	start_other(m, run_delete);
	THREAD_CHECK(await(m, DELETE_BEGUN));
	THREAD_CHECK(pthread_create(&cutter, NULL, run_cuts, m) == 0);
	THREAD_CHECK(await(m, CUTS_MADE));
	THREAD_CHECK(pthread_join(cutter, NULL) == 0);
	return 0;
}

static void an_emptied_stream_while_its_files_are_removed(void **state)
{
	struct moment m;

	(void)state;
	moment_make(&m, (struct wal_options){ .segment_entries = EACH });
	stream_fill(m.st, 0, NEXT);
	assert_int_equal(wal_stream_rotate(m.st), 0);
	arm(&m, CALL_UNLINKAT, "00000000000000000010.wal", meet_delete_then_cut);
	assert_int_equal(wal_stream_prune(m.st, NEXT, NULL), 0);
	assert_int_equal(pthread_join(m.other, NULL), 0);
	assert_true(was_met(&m));
	assert_int_equal(m.result, 0);
	moment_remove(&m);
}

enum { PRUNED_AGAIN, CALLED_BACK };

static void *run_prune(void *arg)
{
	struct moment *m = arg;

	m->result = wal_stream_prune(m->st, 0, NULL);
	reach(m, PRUNED_AGAIN);
	return NULL;
}

static void wait_for_prune(struct wal_op *op)
{
	struct moment *m = op->arg;

	THREAD_CHECK_OK(op->result);
	start_other(m, run_prune);
	THREAD_CHECK(await(m, PRUNED_AGAIN));
	reach(m, CALLED_BACK);
}

static int meet_submit(struct moment *m)
{
	m->op = (struct wal_op){ .done = wait_for_prune, .arg = m };
	wal_stream_submit(m->st, &m->op);
	return 0;
}

/* As if both took a lock of the application's. */
static void a_callback_that_waits_for_who_prunes(void **state)
{
	struct moment m;

	(void)state;
	moment_make(&m, (struct wal_options){ .segment_entries = EACH });
	stream_fill(m.st, 0, NEXT);
	assert_int_equal(wal_stream_sync(m.st), 0);
	arm(&m, CALL_RENAMEAT, "segments.idx", meet_submit);
	assert_int_equal(wal_stream_prune(m.st, ACTIVE, NULL), 0);
	assert_true(await(&m, CALLED_BACK));
	assert_int_equal(pthread_join(m.other, NULL), 0);
	assert_int_equal(m.result, 0);
	moment_remove(&m);
}

enum { CREATED, CALLED };

static void *run_create(void *arg)
{
	struct moment *m = arg;
	struct wal_stream *st;

	m->result = wal_stream_open(m->store, "other", WAL_CREATE, &st, NULL);
	if (m->result == 0)
		wal_stream_close(st);
	reach(m, CREATED);
	return NULL;
}

static void create_when_deleted(struct wal_op *op)
{
	struct moment *m = op->arg;

	THREAD_CHECK(op->result == -ENOENT);
	start_other(m, run_create);
	THREAD_CHECK(await(m, CREATED));
	reach(m, CALLED);
}

/* As if both took a lock of the application's. */
static void a_watch_that_waits_for_who_creates(void **state)
{
	struct wal_stream_counters counters;
	struct wal_op op;
	struct moment m;

	(void)state;
	moment_make(&m, (struct wal_options){ 0 });
	memset(&op, 0xaa, sizeof(op)); /* only the two are read */
	op.done = create_when_deleted;
	op.arg = &m;
	wal_stream_watch(m.st, 0, &op);
	assert_int_equal(wal_stream_delete(m.store, "s"), 0);
	assert_true(await(&m, CALLED));
	assert_int_equal(pthread_join(m.other, NULL), 0);
	assert_int_equal(m.result, 0);
	wal_stream_counters(m.st, &counters);
	assert_int_equal(counters.append_errors_other, 0);
	assert_int_equal(counters.append_errors_io, 0);
	moment_remove(&m);
}

/* An op, and how it ended. */
struct noted_op {
	struct wal_op op;
	bool called;
};

static void note_end(struct wal_op *op)
{
	container_of(op, struct noted_op, op)->called = true;
}

enum { CUT_TAKEN };

struct failing_delete {
	struct moment m;
	struct noted_op append;
	struct noted_op soon, later; /* watches */
	bool appended_at_once;
	int cut_result;
};

static int meet_cut_is_taken(struct moment *m)
{
	reach(m, CUT_TAKEN);
	return 0;
}

static void *run_cut(void *arg)
{
	struct failing_delete *f = arg;

	f->cut_result = wal_checkpoint_create(f->m.store, "two", 3, 0, NULL);
	return NULL;
}

/* The checkpoints are about to forget the stream, and there will be no room for that. */
static int meet_append_and_cut(struct moment *m)
{
	static const struct iovec entry = { (void *)"meanwhile", 9 };
	struct failing_delete *f = container_of(m, struct failing_delete, m);

	/* Its syncs come when the cut is taken, and recording it has to wait for the delete. */
	arm(m, CALL_FDATASYNC, NULL, meet_cut_is_taken);
	start_other(m, run_cut);
	THREAD_CHECK(await(m, CUT_TAKEN));
	f->append = (struct noted_op){ .op = { .done = note_end, .entries = &entry, .count = 1 } };
	wal_stream_submit(m->st, &f->append.op);
	f->appended_at_once = f->append.called;
	return -ENOSPC;
}

static void expect_cut(struct moment *m, const char *id, uint64_t next)
{
	struct wal_checkpoint *cp;
	uint64_t found;

	assert_int_equal(wal_checkpoint_load(m->store, id, strlen(id), &cp), 0);
	assert_int_equal(wal_checkpoint_find(cp, "s", &found), 0);
	assert_int_equal(found, next);
	free(cp);
}

static void a_delete_that_fails_at_the_checkpoints(void **state)
{
	struct failing_delete f = { 0 };
	struct wal_buf buf = { 0 };
	struct moment *m = &f.m;
	struct wal_stream *dirty;
	uint64_t id;

	(void)state;
	moment_make(m, (struct wal_options){ .segment_entries = EACH });
	stream_fill(m->st, 0, NEXT);
	assert_int_equal(wal_stream_rotate(m->st), 0);
	assert_int_equal(wal_stream_prune(m->st, NEXT, NULL), 0);
	assert_int_equal(wal_checkpoint_create(m->store, "one", 3, 0, NULL), 0);
	dirty = stream_open_or_fail(m->store, "dirty");
	stream_fill(dirty, 0, 1);
	wal_stream_close(dirty);
	f.soon.op.done = f.later.op.done = note_end;
	wal_stream_watch(m->st, NEXT, &f.soon.op);
	wal_stream_watch(m->st, NEXT + 1, &f.later.op);

	arm(m, CALL_RENAMEAT, "checkpoints.log", meet_append_and_cut);
	assert_int_equal(wal_stream_delete(m->store, "s"), -ENOSPC);
	assert_int_equal(pthread_join(m->other, NULL), 0);
	assert_true(was_met(m));
	assert_false(f.appended_at_once);
	assert_true(f.append.called);
	assert_int_equal(f.append.op.result, 0);
	assert_int_equal(f.append.op.first_id, NEXT);
	assert_true(f.soon.called);
	assert_int_equal(f.soon.op.result, 0);
	assert_false(f.later.called);
	assert_int_equal(f.cut_result, 0);
	expect_cut(m, "one", NEXT);
	expect_cut(m, "two", NEXT);

	assert_int_equal(wal_stream_append(m->st, "after", 5, 0, &id), 0);
	assert_int_equal(id, NEXT + 1);
	assert_true(f.later.called);
	assert_int_equal(f.later.op.result, 0);
	moment_reopen(m);
	assert_int_equal(wal_stream_get(m->st, NEXT, &buf), 0);
	assert_int_equal(buf.size, 9);
	wal_buf_release(&buf);
	expect_cut(m, "two", NEXT);
	moment_remove(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_begun_while_the_index_is_replaced),
		cmocka_unit_test(the_end_while_the_last_entry_goes),
		cmocka_unit_test(what_is_added_up_goes),
		cmocka_unit_test(opened_just_before_it_is_unlinked),
		cmocka_unit_test(a_stream_with_entries_while_files_are_removed),
		cmocka_unit_test(an_emptied_stream_while_its_files_are_removed),
		cmocka_unit_test(a_callback_that_waits_for_who_prunes),
		cmocka_unit_test(a_watch_that_waits_for_who_creates),
		cmocka_unit_test(a_delete_that_fails_at_the_checkpoints),
	};

	alarm(100); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
