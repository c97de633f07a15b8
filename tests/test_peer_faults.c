/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that other write-ahead logs have, each reproduced there and named here for what must not happen: ironwal 0.6 (whose format this is), walogs, oxirs. The line above a
 * test says what that program does. Those of checkpoints and shards are in test_peer_checkpoints.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "damage.h"
#include "faultsys.h"
#include "frames.h"
#include "random.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

#define SEGMENT(id_digits) "000000000000000000" id_digits ".wal"

/* Where one test works: a store over calls that can fail, and the stream "s" in it. */
struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	struct wal_options opts;
	struct faultsys f;
	struct wal_store *store;
	struct wal_stream *st;
};

static void place_open(struct place *p)
{
	struct wal_error err;

	if (store_open(&p->f.sys, p->path, &p->opts, &p->store, &err) != 0)
		fail_msg("cannot open the store: %s", err.message);
	p->st = stream_open_or_fail(p->store, "s");
}

static void place_make(struct place *p, struct wal_options opts)
{
	*p = (struct place){ .opts = opts };
	tmpdir_make(&p->dir, "peers");
	tmpdir_path(&p->dir, "store", p->path);
	faultsys_init(&p->f);
	place_open(p);
}

/* What it says at the end is no matter here: a stream may have been stopped. */
static void place_close(struct place *p)
{
	if (p->store) {
		wal_stream_close(p->st);
		wal_store_close(p->store);
	}
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
}

static char *wal_of(const struct place *p, uint64_t id, char buf[PATH_MAX])
{
	return segment_path(p->path, "s", id, ".wal", buf);
}

static char *file_of(const struct place *p, const char *name, char buf[PATH_MAX])
{
	assert_true(snprintf(buf, PATH_MAX, "%s/s/%s", p->path, name) < PATH_MAX);
	return buf;
}

static void remove_file(const char *path)
{
	if (unlink(path) < 0)
		fail_msg("cannot remove '%s': %m", path);
}

/* From here on the test works on what a crash at this moment leaves. */
static void place_crash(struct place *p)
{
	char copy[PATH_MAX];

	copy_tree(p->path, tmpdir_path(&p->dir, "crashed", copy));
	place_close(p);
	memcpy(p->path, copy, sizeof(copy));
}

static struct wal_stream_stat stat_of(const struct place *p)
{
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(p->st, &stat), 0);
	return stat;
}

static int append_text(struct place *p, const char *text, uint64_t *ret_id)
{
	return wal_stream_append(p->st, text, strlen(text), 0, ret_id);
}

static void expect_text(struct wal_stream *st, uint64_t id, const char *text)
{
	struct wal_buf buf = { 0 };
	int result = wal_stream_get(st, id, &buf);

	if (result != 0 || buf.size != strlen(text) || memcmp(buf.data, text, buf.size) != 0)
		fail_msg("entry %" PRIu64 " is not '%s' (%s)", id, text, wal_strerror(result));
	wal_buf_release(&buf);
}

/* The stream has (at least) the entries 0 … next - 1 of entry_content() but for those in [bad, bad_end), which are damaged; an iterator passes over them. */
static void expect_all_but(struct place *p, uint64_t next, uint64_t bad, uint64_t bad_end)
{
	uint8_t content[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t got_next;

	wal_stream_bounds(p->st, NULL, &got_next, NULL);
	assert_true(got_next >= next);
	assert_int_equal(wal_iter_new(p->st, 0, &it), 0);
	for (uint64_t id = 0; id < next; id++) {
		bool damaged = id >= bad && id < bad_end;
		size_t size;
		const void *data = entry_content(id, content, &size);

		assert_int_equal(wal_stream_get(p->st, id, &buf), damaged ? -EBADMSG : 0);
		if (damaged)
			continue;
		assert_int_equal(buf.size, size);
		assert_memory_equal(buf.data, data, size);
		int result = wal_iter_next(it, &e);
		while (result == WAL_GAP) {
			assert_true(e.id >= bad && e.id + e.size <= bad_end);
			result = wal_iter_next(it, &e);
		}
		assert_int_equal(result, 0);
		assert_int_equal(e.id, id);
	}
	wal_iter_free(it);
	wal_buf_release(&buf);
}

/* ---- ironwal ---- */

/* 1: the repair after a torn payload extends the torn frame with zeros, and iteration fails there for ever, or the id comes twice. */
static void torn_payload_is_not_extended_with_zeros(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_stream_sync(p.st), 0);
	stream_fill(p.st, 10, 11);
	place_crash(&p);
	struct frame_place last = frame_of(wal_of(&p, 0, path), 10);
	damage_shrink(path, file_size(path) - last.offset - last.bytes + 5);
	place_open(&p);
	assert_int_equal(stat_of(&p).tail, WAL_TAIL_TRUNCATED);
	stream_expect(p.st, 0, 10);
	stream_fill(p.st, 10, 15);
	place_reopen(&p);
	stream_expect(p.st, 0, 15);
	place_remove(&p);
}

/* 2: 'a/b', 'a:b' and 'a_b' share a directory and its ids. */
static void names_do_not_alias(void **state)
{
	static const char *const names[] = { "a:b", "a_b", "a-b", "A_b", "a b", "a%2fb", "a\\b" };
	struct wal_stream *st;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < TEST_COUNT(names); i++) {
			uint64_t id;

			st = stream_open_or_fail(p.store, names[i]);
			assert_int_equal(wal_stream_append(st, names[i], strlen(names[i]), 0, &id), 0);
			assert_int_equal(id, round);
			expect_text(st, 0, names[i]);
			wal_stream_close(st);
		}
		place_reopen(&p);
	}
	assert_int_equal(wal_stream_open(p.store, "a/b", WAL_CREATE, &st, NULL), -EINVAL);
	place_remove(&p);
}

/* 3: one flipped magic bit, and the next append cuts seven fsynced entries off and gives their ids out again. */
static void one_flipped_magic_bit_costs_no_other_entry(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (unsigned sidecar = 0; sidecar < 2; sidecar++) {
		place_make(&p, (struct wal_options){ 0 });
		stream_fill(p.st, 0, 10);
		place_close(&p);
		uint64_t size = file_size(wal_of(&p, 0, path));
		damage_flip_bit(path, frame_of(path, 2).offset, 0);
		if (!sidecar)
			remove_file(segment_path(p.path, "s", 0, ".meta", (char[PATH_MAX]){ 0 }));
		place_open(&p);
		expect_all_but(&p, 10, 2, 3);
		uint64_t id = 10;
		int result = append_text(&p, "next", &id);
		assert_true(result == -EIO || (result == 0 && id == 10));
		assert_true(file_size(path) >= size);
		expect_all_but(&p, 10, 2, 3);
		if (result == 0)
			expect_text(p.st, 10, "next");
		place_remove(&p);
	}
}

/* ---- Many streams and threads ---- */

enum {
	STREAMS = 24,
	EACH = 60,
	WRITERS = 3,
};

struct writer {
	struct place *p;
	unsigned number;
	int result;
};

/* Every writer has streams of its own, more than there may be open segments. */
static void *write_many(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[ENTRY_SIZE_MAX];

	for (uint64_t id = 0; id < EACH; id++) {
		for (unsigned i = w->number; i < STREAMS; i += WRITERS) {
			struct wal_stream *st;
			uint64_t got;
			char name[16];
			size_t size;
			const void *data = entry_content(id, buf, &size);

			snprintf(name, sizeof(name), "s%u", i);
			w->result = wal_stream_open(w->p->store, name, WAL_CREATE, &st, NULL);
			if (w->result == 0)
				w->result = wal_stream_append(st, data, size, 0, &got);
			if (w->result == 0 && got != id)
				w->result = -ERANGE;
			if (w->result != 0)
				return NULL;
			wal_stream_close(st);
		}
	}
	return NULL;
}

/* 4: evicting an open segment from the cache races with its writer: live streams are damaged. */
static void evicting_segments_under_writers(void **state)
{
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .max_open_segments = 8, .segment_entries = 20 });
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ &p, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(writers[i].result, 0);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < STREAMS; i++) {
			struct wal_stream *st;
			char name[16];

			snprintf(name, sizeof(name), "s%u", i);
			st = stream_open_or_fail(p.store, name);
			stream_expect(st, 0, EACH);
			wal_stream_close(st);
		}
		place_reopen(&p);
	}
	place_remove(&p);
}

/* 17: max_open_segments is not enforced: 1007 descriptors at a limit of 50. */
static void no_more_segments_are_open_than_allowed(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .max_open_segments = 8, .segment_entries = 2 });
	size_t fds = open_fd_count();
	stream_fill(p.st, 0, 100);
	for (uint64_t id = 0; id < 100; id++) {
		assert_int_equal(wal_stream_get(p.st, id * 37 % 100, &buf), 0);
		assert_true(store_open_segments(p.store) <= 8);
		/* A segment is a file and perhaps a sidecar. */
		assert_true(open_fd_count() <= fds + 2 * 8 + 4);
	}
	wal_buf_release(&buf);
	place_remove(&p);
}

struct rotator {
	struct wal_stream *st;
	_Atomic uint64_t acknowledged;
	atomic_bool stop;
	int result;
};

static void *rotate_on(void *arg)
{
	struct rotator *r = arg;
	uint8_t buf[ENTRY_SIZE_MAX];

	for (uint64_t id = 0; !atomic_load(&r->stop) && r->result == 0; id++) {
		size_t size;
		const void *data = entry_content(id, buf, &size);

		r->result = wal_stream_append(r->st, data, size, 0, NULL);
		if (r->result == 0)
			atomic_store(&r->acknowledged, id + 1);
		if (r->result == 0 && id % 3 == 2)
			r->result = wal_stream_rotate(r->st);
	}
	return NULL;
}

/* 18: readers during a rotation miss acknowledged entries, or panic. */
static void readers_see_every_entry_during_rotations(void **state)
{
	enum { READS = 4000, ENTRIES = 300 };
	struct rotator r = { .result = 0 };
	struct random random = { 5 };
	struct wal_buf buf = { 0 };
	pthread_t thread;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	r.st = p.st;
	assert_int_equal(pthread_create(&thread, NULL, rotate_on, &r), 0);
	for (unsigned i = 0; i < READS || atomic_load(&r.acknowledged) < ENTRIES; i++) {
		uint64_t acknowledged = atomic_load(&r.acknowledged), id;

		if (acknowledged == 0)
			continue;
		/* The newest are those that a rotation is about. */
		id = acknowledged - 1 - random_below(&random, acknowledged < 5 ? acknowledged : 5);
		int result = wal_stream_get(p.st, id, &buf);
		if (result != 0)
			fail_msg("entry %" PRIu64 " of %" PRIu64 " acknowledged: %s", id, acknowledged, wal_strerror(result));
		if (r.result != 0)
			break;
	}
	atomic_store(&r.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.result, 0);
	stream_expect(p.st, 0, atomic_load(&r.acknowledged));
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- Batches ---- */

static int append_batch(struct place *p, uint64_t first, size_t count, uint64_t *ret_id)
{
	static uint8_t bufs[32][ENTRY_SIZE_MAX];
	struct iovec iov[32];

	assert_true(count <= 32);
	for (size_t i = 0; i < count; i++) {
		size_t size;

		iov[i].iov_base = (void *)entry_content(first + i, bufs[i], &size);
		iov[i].iov_len = size;
	}
	return wal_stream_append_batch(p->st, iov, count, 0, ret_id);
}

/* 5: an asynchronous batch stays in the memory of the process: it can't be read at once, and a normal exit leaves an empty file. oxirs 17: so does any append, on kill -9. */
static void async_batch_is_readable_at_once_and_survives_the_process(void **state)
{
	struct place p;

	(void)state;
	for (unsigned killed = 0; killed < 2; killed++) {
		place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
		place_close(&p);
		pid_t child = fork();
		if (child == 0) {
			struct wal_buf buf = { 0 };

			place_open(&p);
			if (append_batch(&p, 0, 7, NULL) != 0 || wal_stream_get(p.st, 6, &buf) != 0)
				_exit(1);
			if (killed)
				raise(SIGKILL);
			_exit(0);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : WIFEXITED(status) && WEXITSTATUS(status) == 0);
		place_open(&p);
		stream_expect(p.st, 0, 7);
		place_remove(&p);
	}
}

/* 6: a strict batch over several segments syncs the last one only: it is acknowledged although the first sync failed. */
static void strict_batch_is_durable_whole(void **state)
{
	struct place p;
	uint64_t id;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 4, .segment_size = 4096 });
	stream_fill(p.st, 0, 3);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	p.f.sticky = true;
	assert_int_equal(append_batch(&p, 3, 20, &id), -EIO);
	place_reopen(&p);
	stream_expect(p.st, 0, 3);
	/* One frame, in one segment, whatever the limit of entries. */
	assert_int_equal(append_batch(&p, 3, 20, &id), 0);
	assert_int_equal(id, 3);
	place_reopen(&p);
	stream_expect(p.st, 0, 23);
	place_remove(&p);
}

/* 15: batches are split over frames and segments, so they are not atomic; those of one entry never rotate; none knows of segment_entries. */
static void batches_are_one_frame_and_counted(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 10 });
	for (uint64_t id = 0; id < 28; id += 7)
		assert_int_equal(append_batch(&p, id, 7, NULL), 0);
	assert_int_equal(stat_of(&p).segments, 4);
	for (uint64_t id = 28; id < 50; id++)
		assert_int_equal(append_batch(&p, id, 1, NULL), 0);
	assert_int_equal(stat_of(&p).segments, 6);
	place_close(&p);
	for (uint64_t id = 0; id < 28; id += 7)
		assert_int_equal(frame_of(wal_of(&p, id, path), id).h.entry_count, 7);
	/* A byte of it is bad: the batch is gone, and nothing else. */
	damage_flip_bit(wal_of(&p, 7, path), FRAME_HEADER_BYTES + 4, 1);
	place_open(&p);
	expect_all_but(&p, 50, 7, 14);
	place_remove(&p);
}

/* ---- Failing calls ---- */

/* 7, 8: on a full disk half a frame of a large entry stays, and what follows is acknowledged and unreadable; a small one stays buffered and is written later. */
static void full_disk_leaves_nothing_of_what_failed(void **state)
{
	static const size_t sizes[] = { 1, 100, 5000, 300000, 3 << 20 };
	static uint8_t bytes[3 << 20];

	(void)state;
	random_fill(1, bytes, sizeof(bytes));
	for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
		for (unsigned torn = 0; torn < 2; torn++) {
			struct place p;

			place_make(&p, (struct wal_options){ 0 });
			stream_fill(p.st, 0, 3);
			faultsys_fail(&p.f, FAULT_PWRITEV, 1, ENOSPC);
			p.f.short_write = torn;
			assert_int_equal(wal_stream_append(p.st, bytes, sizes[i], 0, NULL), -ENOSPC);
			assert_true(faultsys_hit(&p.f));
			faultsys_fail(&p.f, FAULT_ANY, 0, 0);
			stream_fill(p.st, 3, 6);
			stream_expect(p.st, 0, 6);
			place_reopen(&p);
			assert_int_equal(stat_of(&p).tail, WAL_TAIL_CLEAN);
			stream_expect(p.st, 0, 6);
			place_remove(&p);
		}
	}
}

/* The sidecar can't go on, here or elsewhere, when some of its blocks are full already with what a batch brought: nothing of them is left for what comes next. */
static void sidecar_fails_amid_a_batch(void **state)
{
	enum { MANY = 2000, BYTES = 200 };
	static const uint8_t bytes[BYTES];
	struct iovec entries[MANY];
	struct place p;

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		entries[i] = (struct iovec){ (void *)bytes, BYTES };
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 3);
	/* The frame, a block, and then no more. */
	faultsys_fail(&p.f, FAULT_PWRITEV, 3, EIO);
	p.f.sticky = true;
	assert_int_equal(wal_stream_append_batch(p.st, entries, MANY, 0, NULL), -EIO);
	assert_true(faultsys_hit(&p.f));
	faultsys_fail(&p.f, FAULT_ANY, 0, 0);
	stream_fill(p.st, 3, 6);
	stream_expect(p.st, 0, 6);
	place_reopen(&p);
	stream_expect(p.st, 0, 6);
	place_remove(&p);
}

/* 9: a failed index write in a rotation makes acknowledged entries unreachable. walogs 3: a failed rotation lists the live segment as a finished one, and deletes it later. */
static void failed_rotation_loses_nothing_and_keeps_the_live_segment(void **state)
{
	bool hit = true;

	(void)state;
	for (unsigned n = 1; hit; n++) {
		uint64_t id = 0, next = 4;
		char path[PATH_MAX];
		struct place p;

		place_make(&p, (struct wal_options){ .segment_entries = 4 });
		stream_fill(p.st, 0, next);
		faultsys_fail(&p.f, FAULT_ANY, n, EIO);
		int result = wal_stream_rotate(p.st);
		hit = faultsys_hit(&p.f);
		assert_true(hit || result == 0);
		faultsys_fail(&p.f, FAULT_ANY, 0, 0);
		stream_expect(p.st, 0, next);
		/* It goes on, in the one segment or the other; only a failed sync of the data stops it. */
		if (stat_of(&p).health == WAL_HEALTHY) {
			assert_int_equal(append_text(&p, "after", &id), 0);
			assert_int_equal(id, next++);
			assert_int_equal(access(wal_of(&p, stat_of(&p).active_segment_id, path), F_OK), 0);
		}
		place_reopen(&p);
		assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
		wal_stream_bounds(p.st, NULL, &id, NULL);
		assert_int_equal(id, next);
		if (next > 4)
			expect_text(p.st, 4, "after");
		stream_fill(p.st, next, next + 6);
		place_remove(&p);
	}
}

/* 10: after a failed fsync the id is used up, the failed entry is readable, and the next fsync "succeeds". walogs 2: the retry gets the same LSN, and both are there. */
static void failed_fsync_fails_for_good(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 3);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(append_text(&p, "never", NULL), -EIO);
	assert_true(faultsys_hit(&p.f));
	/* Syncs would work again by now. */
	assert_int_equal(append_text(&p, "not either", NULL), -EIO);
	assert_int_equal(wal_stream_get(p.st, 3, &buf), WAL_NOT_FOUND);
	assert_int_equal(stat_of(&p).health, WAL_STOPPED);
	stream_expect(p.st, 0, 3);
	place_reopen(&p);
	stream_expect(p.st, 0, 3);
	stream_fill(p.st, 3, 5);
	place_reopen(&p);
	stream_expect(p.st, 0, 5);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* The same for a sync of its own. */
static void failed_sync_never_gives_an_id_twice(void **state)
{
	struct place p;
	uint64_t next;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 5);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_sync(p.st), -EIO);
	assert_int_equal(wal_stream_sync(p.st), -EIO);
	assert_int_equal(append_text(&p, "no", NULL), -EIO);
	place_reopen(&p);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_true(next <= 5);
	stream_fill(p.st, next, 8);
	stream_expect(p.st, 0, 8);
	place_remove(&p);
}

/* 14, walogs 8: there is no lock: two processes hand out the same ids. */
static void second_writer_is_refused(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	pid_t child = fork();
	if (child == 0) {
		struct wal_store *store;
		struct wal_error err;
		int result = wal_store_open(p.path, NULL, &store, &err);

		_exit(result == -EBUSY && err.pid == getppid() ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	place_remove(&p);
}

/* 24: new directories and files are not synced into theirs. oxirs 13 likewise. So every sync on the way must be able to fail. */
static void new_stream_is_not_acknowledged_before_it_is_durable(void **state)
{
	struct wal_stream *st;
	struct place p;
	unsigned failed = 0;
	int result = -EIO;

	(void)state;
	for (unsigned n = 1; result != 0; n++) {
		char name[16];

		place_make(&p, (struct wal_options){ 0 });
		snprintf(name, sizeof(name), "n%u", n);
		faultsys_fail(&p.f, FAULT_FSYNC, n, EIO);
		result = wal_stream_open(p.store, name, WAL_CREATE, &st, NULL);
		assert_int_equal(result, faultsys_hit(&p.f) ? -EIO : 0);
		failed += result != 0;
		if (result == 0)
			wal_stream_close(st);
		place_remove(&p);
	}
	/* The segment, its directory, the root. */
	assert_true(failed >= 3);
}

/* oxirs 13: a file that is rotated out is not synced, and a later flush covers only the new one. */
static void rotated_out_segment_is_durable(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 5);
	unsigned before = faultsys_count(&p.f, FAULT_FDATASYNC);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_true(faultsys_count(&p.f, FAULT_FDATASYNC) > before);
	assert_int_equal(stat_of(&p).durable_id, 5);
	stream_fill(p.st, 5, 8);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_rotate(p.st), -EIO);
	place_reopen(&p);
	assert_int_equal(wal_stream_get(p.st, 4, &buf), 0);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- Opening again ---- */

/* 16: the count of entries for the rotation begins at 0 with each open. */
static void count_of_entries_goes_on(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 10 });
	for (uint64_t id = 0; id < 40; id += 4) {
		stream_fill(p.st, id, id + 4);
		place_reopen(&p);
	}
	assert_int_equal(stat_of(&p).segments, 4);
	stream_expect(p.st, 0, 40);
	place_remove(&p);
}

/* walogs 1: after everything was dropped and reopened, LSNs begin at 1 again. */
static void ids_do_not_begin_again_when_no_segment_is_left(void **state)
{
	char path[PATH_MAX];
	struct place p;
	uint64_t id;

	(void)state;
	for (unsigned which = 0; which < 3; which++) {
		place_make(&p, (struct wal_options){ 0 });
		stream_fill(p.st, 0, 5);
		assert_int_equal(wal_stream_rotate(p.st), 0);
		place_close(&p);
		remove_file(wal_of(&p, 0, path));
		remove_file(wal_of(&p, 5, path));
		/* Either of the two small files is enough. */
		if (which > 0)
			remove_file(file_of(&p, which == 1 ? "head.state" : "segments.idx", path));
		place_open(&p);
		assert_int_equal(append_text(&p, "next", &id), 0);
		assert_int_equal(id, 5);
		place_remove(&p);
	}
}

/* walogs 7: a segment number of more digits than were thought of is not found again. */
static void large_ids_are_found_again(void **state)
{
	static const uint64_t firsts[] = { 999999, 1000000, 1ull << 40, 1ull << 62 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(firsts); i++) {
		char path[PATH_MAX], to[PATH_MAX];
		struct place p;
		uint64_t id;

		place_make(&p, (struct wal_options){ .segment_entries = 2 });
		place_close(&p);
		assert_int_equal(rename(wal_of(&p, 0, path), wal_of(&p, firsts[i], to)), 0);
		remove_file(file_of(&p, "segments.idx", path));
		for (uint64_t n = 0; n < 5; n++) {
			place_open(&p);
			assert_int_equal(append_text(&p, "next", &id), 0);
			assert_int_equal(id, firsts[i] + n);
			place_close(&p);
		}
		place_open(&p);
		for (uint64_t n = 0; n < 5; n++)
			expect_text(p.st, firsts[i] + n, "next");
		assert_int_equal(stat_of(&p).segments, 3);
		place_remove(&p);
	}
}

/* oxirs 1: a log that was just made can't be opened again. */
static void empty_store_opens_again(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	for (unsigned i = 0; i < 3; i++)
		place_reopen(&p);
	stream_expect(p.st, 0, 0);
	stream_fill(p.st, 0, 1);
	place_remove(&p);
}

/* oxirs 3: a second open or rotation within the same second takes the same file name. 8: an old checkpoint hides what a new session wrote. */
static void sessions_within_a_second(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	for (uint64_t id = 0; id < 20; id += 2) {
		stream_fill(p.st, id, id + 1);
		assert_int_equal(wal_stream_rotate(p.st), 0);
		stream_fill(p.st, id + 1, id + 2);
		place_reopen(&p);
	}
	stream_expect(p.st, 0, 20);
	assert_int_equal(stat_of(&p).segments, 11);
	place_remove(&p);
}

/* ---- Damage ---- */

/* 19: iteration over a short or missing segment ends silently. walogs 6: damage that comes up while reading looks like the end. */
static void damage_found_while_reading_is_no_end(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		place_make(&p, (struct wal_options){ .segment_entries = 10 });
		stream_fill(p.st, 0, 35);
		place_close(&p);
		wal_of(&p, 10, path);
		struct frame_place cut = frame_of(path, 16);
		if (how == 0)
			remove_file(path);
		else if (how == 1)
			damage_shrink(path, file_size(path) - cut.offset - 7);
		place_open(&p);
		/* Under an open store, too. */
		if (how == 2)
			damage_flip_bit(path, cut.offset + 40, 5);
		expect_all_but(&p, 35, how == 0 ? 10 : 16, how == 2 ? 17 : 20);
		place_remove(&p);
	}
}

/* walogs 4: one flipped bit in the last segment destroys every later entry. */
static void damage_in_the_middle_keeps_later_entries(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 20);
	place_close(&p);
	wal_of(&p, 0, path);
	damage_flip_bit(path, frame_of(path, 2).offset + 40, 1);
	remove_file(segment_path(p.path, "s", 0, ".meta", (char[PATH_MAX]){ 0 }));
	uint64_t size = file_size(path);
	place_open(&p);
	expect_all_but(&p, 20, 2, 3);
	place_close(&p);
	assert_int_equal(file_size(path), size);
	place_remove(&p);
}

/* walogs 5: one bad byte in a finished segment makes the whole log unopenable. oxirs 10: one bad record, and nothing is recovered. */
static void one_bad_byte_does_not_close_the_store(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 10 });
	stream_fill(p.st, 0, 25);
	place_close(&p);
	wal_of(&p, 0, path);
	damage_flip_bit(path, frame_of(path, 5).offset + 33, 7);
	place_open(&p);
	assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
	expect_all_but(&p, 25, 5, 6);
	stream_fill(p.st, 25, 30);
	expect_all_but(&p, 30, 5, 6);
	place_remove(&p);
}

/* oxirs 4: there is no checksum: one flipped bit comes out as another value. */
static void no_flipped_bit_is_ever_served(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	assert_int_equal(append_text(&p, "1.0", NULL), 0);
	assert_int_equal(append_text(&p, "2.0", NULL), 0);
	wal_of(&p, 0, path);
	struct frame_place first = frame_of(path, 0);
	for (uint64_t at = FRAME_HEADER_BYTES; at < first.bytes; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct wal_buf buf = { 0 };

			damage_flip_bit(path, at, bit);
			place_reopen(&p);
			assert_int_equal(wal_stream_get(p.st, 0, &buf), -EBADMSG);
			expect_text(p.st, 1, "2.0");
			damage_flip_bit(path, at, bit);
			wal_buf_release(&buf);
		}
	}
	place_remove(&p);
}

/* 21: raw_size is outside the checksum and makes a reservation of 4 GiB; entry_count is believed. oxirs 10: a length that lies aborts the process. */
static void lengths_that_lie(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		place_make(&p, (struct wal_options){ .segment_entries = 5, .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 64 });
		for (uint64_t id = 0; id < 15; id += 5)
			assert_int_equal(append_batch(&p, id, 5, NULL), 0);
		place_close(&p);
		wal_of(&p, 5, path);
		struct frame_place frame = frame_of(path, 5);
		assert_int_equal(frame.h.type, FRAME_LZ4);
		if (how == 0)
			frame.h.raw_size = UINT32_MAX;
		else
			frame.h.entry_count = how == 1 ? 4 : 6;
		frame_forge(path, 0, frame.h);
		remove_file(segment_path(p.path, "s", 5, ".meta", (char[PATH_MAX]){ 0 }));
		place_open(&p);
		expect_all_but(&p, 15, how == 0 ? 0 : 5, how == 0 ? 0 : 10);
		place_remove(&p);
	}
	/* An entry of 4 GiB in a frame of a few bytes. */
	place_make(&p, (struct wal_options){ .segment_entries = 5 });
	stream_fill(p.st, 0, 12);
	place_close(&p);
	struct frame_place frame = frame_of(wal_of(&p, 5, path), 7);
	for (unsigned i = 0; i < FRAME_LENGTH_BYTES; i++)
		damage_set_byte(path, frame.offset + FRAME_HEADER_BYTES + i, 0xff);
	frame_forge(path, frame.offset, frame.h);
	place_open(&p);
	expect_all_but(&p, 12, 7, 8);
	place_remove(&p);
}

/* 21: an empty head.state fails the whole root. oxirs 15: a stray file of a few bytes blocks the recovery. */
static void small_files_of_no_sense_cost_nothing(void **state)
{
	static const char *const files[] = { "head.state", "segments.idx", "head.state.tmp", SEGMENT("05") ".meta", "wal-1.log", "1.wal", SEGMENT("05") "x" };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(files); i++) {
		for (unsigned size = 0; size < 2; size++) {
			place_make(&p, (struct wal_options){ .segment_entries = 5 });
			stream_fill(p.st, 0, 12);
			place_close(&p);
			file_write(file_of(&p, files[i], path), "?", size);
			place_open(&p);
			assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
			stream_expect(p.st, 0, 12);
			stream_fill(p.st, 12, 14);
			place_remove(&p);
		}
	}
}

/* walogs 9: the order of LSNs inside a segment is not checked: 1 2 5 6 4 4 7 is accepted. */
static void ids_that_jump_are_not_accepted(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 10 });
	stream_fill(p.st, 0, 15);
	place_close(&p);
	wal_of(&p, 0, path);
	static const uint64_t jumps[] = { 12, 2, 0 };
	for (uint64_t i = 0; i < TEST_COUNT(jumps); i++) {
		struct frame_place frame = frame_of(path, 3 + i);

		frame.h.start_id = jumps[i];
		frame_forge(path, frame.offset, frame.h);
	}
	remove_file(segment_path(p.path, "s", 0, ".meta", (char[PATH_MAX]){ 0 }));
	place_open(&p);
	expect_all_but(&p, 15, 3, 6);
	place_remove(&p);
}

/* walogs 10: 'wal-+00001.log' is taken for segment 1. */
static void only_exact_names_are_segments(void **state)
{
	static const char *const names[] = {
		"+0000000000000000005.wal", "0000000000000000005.wal", "000000000000000000005.wal", "5.wal", " 0000000000000000005.wal",
		"0x000000000000000005.wal", "99999999999999999999.wal", "00000000000000000005.WAL", "00000000000000000005.wal~",
	};
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 3);
	place_close(&p);
	for (size_t i = 0; i < TEST_COUNT(names); i++)
		file_write(file_of(&p, names[i], path), "mine", 4);
	place_open(&p);
	assert_int_equal(stat_of(&p).segments, 1);
	assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
	stream_expect(p.st, 0, 3);
	place_close(&p);
	for (size_t i = 0; i < TEST_COUNT(names); i++)
		assert_int_equal(file_size(file_of(&p, names[i], path)), 4);
	place_remove(&p);
}

/* walogs 11: a foreign file of the right name is "repaired" by cutting it to nothing. */
static void foreign_file_of_the_right_name_is_not_cut_to_nothing(void **state)
{
	static const char text[] = "Dear diary, this is no log at all. LAWL. And more of it, so that it is longer than a header.";
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	place_close(&p);
	wal_of(&p, 0, path);
	file_write(path, text, sizeof(text));
	place_open(&p);
	place_close(&p);
	/* In its place, or set aside as a whole. */
	if (file_size(path) != sizeof(text))
		segment_path(p.path, "s", 0, ".wal.torn.0", path);
	size_t size;
	uint8_t *data = file_read(path, &size);
	/* What is set aside ends with its last byte that is not zero. */
	assert_true(size >= sizeof(text) - 1);
	assert_memory_equal(data, text, sizeof(text) - 1);
	free(data);
	place_remove(&p);
}

/* 23: foreign directories in the root get a segments.idx. */
static void foreign_directories_are_left_alone(void **state)
{
	char path[PATH_MAX], file[PATH_MAX], *before;
	struct wal_stream *st;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	place_close(&p);
	assert_true(snprintf(path, sizeof(path), "%s/photos", p.path) > 0);
	assert_int_equal(mkdir(path, 0755), 0);
	file_write(strcat(strcpy(file, path), "/a.jpg"), "mine", 4);
	before = snapshot_take(path);
	for (unsigned i = 0; i < 2; i++) {
		place_open(&p);
		assert_true(wal_stream_open(p.store, "photos", 0, &st, NULL) < 0);
		assert_true(wal_stream_open(p.store, "photos", WAL_CREATE, &st, NULL) < 0);
		assert_true(wal_stream_delete(p.store, "photos") != 0);
		place_close(&p);
	}
	snapshot_expect(path, before);
	free(before);
	place_remove(&p);
}

/* 23: a first entry over the size of a segment makes the index 0 0 1 2. */
static void oversized_first_entry_makes_one_segment(void **state)
{
	static uint8_t bytes[20000];
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_size = 4096 });
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wal_stream_append(p.st, bytes, sizeof(bytes), 0, NULL), 0);
	place_close(&p);
	size_t size;
	uint8_t *data = file_read(file_of(&p, "segments.idx", path), &size);
	assert_int_equal(size, 3 * 8);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(data[8 * i], i);
	free(data);
	place_remove(&p);
}

/* 24: lengths are cast to 32 bits unchecked. Nothing of the memory is looked at. */
static void lengths_over_32_bits_are_refused(void **state)
{
	static uint8_t byte;
	struct iovec iov[2] = { { &byte, (size_t)UINT32_MAX - 3 }, { &byte, 1 } };
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	assert_int_equal(wal_stream_append(p.st, &byte, (size_t)UINT32_MAX - 3, 0, NULL), -EFBIG);
	assert_int_equal(wal_stream_append(p.st, &byte, (size_t)UINT32_MAX + 1, 0, NULL), -EFBIG);
	assert_int_equal(wal_stream_append(p.st, &byte, SIZE_MAX, 0, NULL), -EFBIG);
	assert_int_equal(wal_stream_append_batch(p.st, iov, 2, 0, NULL), -EFBIG);
	iov[0].iov_len = iov[1].iov_len = 1u << 31;
	assert_int_equal(wal_stream_append_batch(p.st, iov, 2, 0, NULL), -EFBIG);
	stream_fill(p.st, 0, 2);
	stream_expect(p.st, 0, 2);
	place_remove(&p);
}

/* ---- Cost ---- */

/* 20: a lookup goes through all headers before it (249 MB for one get of a 2.5 MB store), and so does opening. */
static void get_and_open_cost_no_more_with_more_entries(void **state)
{
	enum { ENTRIES = 5000 };
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, ENTRIES);
	place_close(&p);
	unsigned before = faultsys_count(&p.f, FAULT_PREAD);
	place_open(&p);
	assert_true(faultsys_count(&p.f, FAULT_PREAD) - before < 16);
	for (uint64_t id = 0; id < ENTRIES; id += 499) {
		before = faultsys_count(&p.f, FAULT_PREAD);
		assert_int_equal(wal_stream_get(p.st, id, &buf), 0);
		assert_true(faultsys_count(&p.f, FAULT_PREAD) - before <= 2);
	}
	wal_buf_release(&buf);
	place_remove(&p);
}

/* oxirs 14: reading makes files. */
static void reading_makes_no_files(void **state)
{
	struct wal_options opts = { .ro = true };
	struct wal_buf buf = { 0 };
	struct wal_store *store;
	struct wal_stream *st;
	char *before;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .segment_entries = 5 });
	stream_fill(p.st, 0, 12);
	place_close(&p);
	remove_file(segment_path(p.path, "s", 0, ".meta", (char[PATH_MAX]){ 0 }));
	before = snapshot_take(p.path);
	for (unsigned i = 0; i < 2; i++) {
		store = store_open_or_fail(p.path, &opts);
		st = stream_open_or_fail(store, "s");
		assert_int_equal(wal_stream_get(st, 3, &buf), 0);
		wal_buf_release(&buf);
		store_close_or_fail(store);
	}
	snapshot_expect(p.path, before);
	free(before);
	place_remove(&p);
}

/* ---- Order and transactions ---- */

static void *append_ids(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < 300 && w->result == 0; i++) {
		char text[32];
		uint64_t id;

		int size = snprintf(text, sizeof(text), "%u %u", w->number, i);
		w->result = wal_stream_append(w->p->st, text, (size_t)size, 0, &id);
	}
	return NULL;
}

/* oxirs 11: the sequence number is taken under another lock than the write: inversions with several threads. */
static void ids_stand_in_their_order(void **state)
{
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	unsigned next[WRITERS] = { 0 };
	char path[PATH_MAX];
	struct place p;
	size_t size;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ &p, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, append_ids, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(writers[i].result, 0);
	}
	place_close(&p);
	uint8_t *data = file_read(wal_of(&p, 0, path), &size);
	uint64_t id = 0;
	for (size_t at = 0; at < size;) {
		struct frame_header h;
		unsigned number, i;

		assert_int_equal(frame_decode_header(data + at, &h), FRAME_OK);
		assert_int_equal(h.start_id, id);
		id += h.entry_count;
		assert_int_equal(sscanf((char *)data + at + FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES, "%u %u", &number, &i), 2);
		/* And each thread's in the order of its calls. */
		assert_true(number < WRITERS);
		assert_int_equal(i, next[number]++);
		at += FRAME_HEADER_BYTES + h.disk_size;
	}
	assert_int_equal(id, WRITERS * 300);
	free(data);
	place_remove(&p);
}

/* oxirs 5: what an aborted or never committed transaction inserted is replayed. */
static void only_committed_transactions_are_there(void **state)
{
	struct wal_txn *txn;
	char copy[PATH_MAX];
	struct place p;
	uint64_t next;
	size_t count;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "aborted", 7), 0);
	wal_txn_abort(txn);
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "one", 3), 0);
	assert_int_equal(wal_txn_add(txn, "two", 3), 0);
	stream_expect(p.st, 0, 0);
	assert_int_equal(wal_txn_commit(txn, 0, NULL, &count), 0);
	assert_int_equal(count, 2);
	/* And one whose commit failed. */
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "failed", 6), 0);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_txn_commit(txn, 0, NULL, &count), -EIO);
	/* And one that the process took with it. */
	place_reopen(&p);
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "gone", 4), 0);
	copy_tree(p.path, tmpdir_path(&p.dir, "crashed", copy));
	wal_txn_abort(txn);
	place_close(&p);
	memcpy(p.path, copy, sizeof(copy));
	place_open(&p);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_int_equal(next, 2);
	expect_text(p.st, 0, "one");
	expect_text(p.st, 1, "two");
	place_remove(&p);
}

/* oxirs 16: how recovery is to deal with damage can be chosen, and no choice makes a difference. */
static void every_choice_of_on_corruption_does_what_it_says(void **state)
{
	static const enum wal_on_corruption choices[] = { WAL_ON_CORRUPTION_READONLY, WAL_ON_CORRUPTION_TRUNCATE, WAL_ON_CORRUPTION_ERROR };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(choices); i++) {
		struct wal_store *store;
		char path[PATH_MAX];
		struct place p;

		place_make(&p, (struct wal_options){ .on_corruption = choices[i] });
		stream_fill(p.st, 0, 10);
		place_close(&p);
		wal_of(&p, 0, path);
		damage_flip_bit(path, frame_of(path, 5).offset + 40, 1);
		remove_file(segment_path(p.path, "s", 0, ".meta", (char[PATH_MAX]){ 0 }));
		if (choices[i] == WAL_ON_CORRUPTION_ERROR) {
			assert_int_equal(wal_store_open(p.path, &p.opts, &store, NULL), -EBADMSG);
		} else {
			place_open(&p);
			if (choices[i] == WAL_ON_CORRUPTION_READONLY)
				expect_all_but(&p, 10, 5, 6);
			else
				stream_expect(p.st, 0, 5);
			assert_int_equal(append_text(&p, "x", NULL), choices[i] == WAL_ON_CORRUPTION_READONLY ? -EIO : 0);
		}
		place_remove(&p);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_payload_is_not_extended_with_zeros),
		cmocka_unit_test(names_do_not_alias),
		cmocka_unit_test(one_flipped_magic_bit_costs_no_other_entry),
		cmocka_unit_test(evicting_segments_under_writers),
		cmocka_unit_test(no_more_segments_are_open_than_allowed),
		cmocka_unit_test(readers_see_every_entry_during_rotations),
		cmocka_unit_test(async_batch_is_readable_at_once_and_survives_the_process),
		cmocka_unit_test(strict_batch_is_durable_whole),
		cmocka_unit_test(batches_are_one_frame_and_counted),
		cmocka_unit_test(full_disk_leaves_nothing_of_what_failed),
		cmocka_unit_test(sidecar_fails_amid_a_batch),
		cmocka_unit_test(failed_rotation_loses_nothing_and_keeps_the_live_segment),
		cmocka_unit_test(failed_fsync_fails_for_good),
		cmocka_unit_test(failed_sync_never_gives_an_id_twice),
		cmocka_unit_test(second_writer_is_refused),
		cmocka_unit_test(new_stream_is_not_acknowledged_before_it_is_durable),
		cmocka_unit_test(rotated_out_segment_is_durable),
		cmocka_unit_test(count_of_entries_goes_on),
		cmocka_unit_test(ids_do_not_begin_again_when_no_segment_is_left),
		cmocka_unit_test(large_ids_are_found_again),
		cmocka_unit_test(empty_store_opens_again),
		cmocka_unit_test(sessions_within_a_second),
		cmocka_unit_test(damage_found_while_reading_is_no_end),
		cmocka_unit_test(damage_in_the_middle_keeps_later_entries),
		cmocka_unit_test(one_bad_byte_does_not_close_the_store),
		cmocka_unit_test(no_flipped_bit_is_ever_served),
		cmocka_unit_test(lengths_that_lie),
		cmocka_unit_test(small_files_of_no_sense_cost_nothing),
		cmocka_unit_test(ids_that_jump_are_not_accepted),
		cmocka_unit_test(only_exact_names_are_segments),
		cmocka_unit_test(foreign_file_of_the_right_name_is_not_cut_to_nothing),
		cmocka_unit_test(foreign_directories_are_left_alone),
		cmocka_unit_test(oversized_first_entry_makes_one_segment),
		cmocka_unit_test(lengths_over_32_bits_are_refused),
		cmocka_unit_test(get_and_open_cost_no_more_with_more_entries),
		cmocka_unit_test(reading_makes_no_files),
		cmocka_unit_test(ids_stand_in_their_order),
		cmocka_unit_test(only_committed_transactions_are_there),
		cmocka_unit_test(every_choice_of_on_corruption_does_what_it_says),
	};

	alarm(300); /* a hang is a failure, not a wait */
	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
