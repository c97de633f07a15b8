/* SPDX-License-Identifier: Apache-2.0 */
/* How sidecars are read while their segments are open: what is mapped, what is read how often, and what happens if the disk or someone else spoils them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "meta.h"
#include "store.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	EACH = 1500, /* entries of the sealed segment, and of the active one: several blocks each */
	FDS_MAX = 1024,
	BAD_NOWHERE = -1,
	WAIT_SECONDS = 60,
};

/* A disk with a bad place in the sidecars, as a real one has it: what is before it can be read. */
struct bad_disk {
	struct sys sys;
	atomic_bool is_sidecar[FDS_MAX];
	atomic_long bad_block;
	atomic_uint maps;
	atomic_uint reads; /* of sidecars */
	atomic_uint made;  /* sidecars that got their name */
	atomic_uint opens; /* of segments that are read only */
	/* What someone else does meanwhile: once, when a file is closed, when a new segment is the active one and its file is closed, or when a sidecar is read. NULL: nothing */
	void (*at_close)(struct bad_disk *d);
	void (*at_switch)(struct bad_disk *d);
	atomic_int new_fd;
	void (*at_read)(struct bad_disk *d);
	/* Who opens a sidecar to read it says so, and waits: 0: not, 1: to come, 2: is there, 3: may go on */
	atomic_int stage;
};

static void do_once(struct bad_disk *d, void (**what)(struct bad_disk *d))
{
	void (*now)(struct bad_disk *d) = *what;

	*what = NULL;
	if (now)
		now(d);
}

static void await_stage(struct bad_disk *d, int stage)
{
	time_t until = time(NULL) + WAIT_SECONDS;

	while (d->stage < stage) {
		THREAD_CHECK(time(NULL) < until);
		sched_yield();
	}
}

static bool is_sidecar(const char *name)
{
	size_t length = strlen(name);

	return length > 5 && strcmp(name + length - 5, ".meta") == 0;
}

static int note_open(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	struct bad_disk *d = container_of(sys, struct bad_disk, sys);
	int fd = sys_real()->openat(sys_real(), dirfd, name, flags, mode);

	if (fd >= 0)
		d->is_sidecar[fd] = is_sidecar(name);
	if (fd >= 0 && flags & O_EXCL && strstr(name, ".wal"))
		d->new_fd = fd;
	d->opens += strstr(name, ".wal") && (flags & O_ACCMODE) == O_RDONLY;
	if (is_sidecar(name) && (flags & O_ACCMODE) == O_RDONLY && d->stage == 1) {
		d->stage = 2;
		await_stage(d, 3);
	}
	return fd;
}

static ssize_t read_or_fail(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	struct bad_disk *d = container_of(sys, struct bad_disk, sys);
	long bad_block = d->bad_block;

	d->reads += d->is_sidecar[fd];
	if (d->is_sidecar[fd])
		do_once(d, &d->at_read);
	if (d->is_sidecar[fd] && bad_block != BAD_NOWHERE) {
		uint64_t begin = (uint64_t)bad_block * META_BLOCK_BYTES, end = begin + META_BLOCK_BYTES;

		if (offset >= begin && offset < end)
			return -EIO;
		if (offset < begin && size > begin - offset)
			size = begin - offset;
	}
	return sys_real()->pread(sys_real(), fd, data, size, offset);
}

static int note_map(struct sys *sys, int fd, size_t size, void **ret)
{
	struct bad_disk *d = container_of(sys, struct bad_disk, sys);

	d->maps++;
	return sys_real()->mmap(sys_real(), fd, size, ret);
}

static int close_and_go_on(struct sys *sys, int fd)
{
	struct bad_disk *d = container_of(sys, struct bad_disk, sys);
	int result = sys_real()->close(sys_real(), fd);

	do_once(d, &d->at_close);
	if (fd == d->new_fd)
		do_once(d, &d->at_switch);
	return result;
}

static int count_made(struct sys *sys, int dirfd, const char *from, const char *to)
{
	struct bad_disk *d = container_of(sys, struct bad_disk, sys);

	d->made += is_sidecar(to);
	return sys_real()->renameat(sys_real(), dirfd, from, to);
}

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	char sealed[PATH_MAX], active[PATH_MAX]; /* the sidecars */
	struct bad_disk disk;
	struct wal_store *store;
	struct wal_stream *st;
	pthread_t early;
};

static void open_place(struct place *p, enum wal_read read)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .read = read };
	struct wal_error err;

	assert_int_equal(store_open(&p->disk.sys, p->path, &opts, &p->store, &err), 0);
	p->st = stream_open_or_fail(p->store, "s");
}

static void close_place(struct place *p)
{
	wal_stream_close(p->st);
	store_close_or_fail(p->store);
}

static void make(struct place *p, enum wal_read read)
{
	tmpdir_make(&p->dir, "sidecar");
	tmpdir_path(&p->dir, "store", p->path);
	segment_path(p->path, "s", 0, ".meta", p->sealed);
	segment_path(p->path, "s", EACH, ".meta", p->active);
	p->disk = (struct bad_disk){ .sys = *sys_real(), .bad_block = BAD_NOWHERE, .new_fd = -1 };
	p->disk.sys.openat = note_open;
	p->disk.sys.pread = read_or_fail;
	p->disk.sys.mmap = note_map;
	p->disk.sys.close = close_and_go_on;
	p->disk.sys.renameat = count_made;
	open_place(p, read);
	stream_fill(p->st, 0, EACH);
	assert_int_equal(wal_stream_rotate(p->st), 0);
	stream_fill(p->st, EACH, 2 * EACH);
}

static void end(struct place *p)
{
	close_place(p);
	tmpdir_remove(&p->dir);
}

/* The first id whose record is in the block. */
static uint64_t id_in_block(const char *sidecar, uint64_t no)
{
	size_t size;
	CLEANUP_FREE uint8_t *data = file_read(sidecar, &size);
	struct meta_pos pos;

	assert_true((no + 1) * META_BLOCK_BYTES <= size);
	meta_block_header(data + no * META_BLOCK_BYTES, &pos, NULL);
	return pos.id;
}

static void expect_entry(struct place *p, uint64_t id)
{
	uint8_t expected[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };
	size_t size;

	entry_content(id, expected, &size);
	assert_int_equal(wal_stream_get(p->st, id, &buf), 0);
	assert_int_equal(buf.size, size);
	assert_memory_equal(buf.data, expected, size);
	wal_buf_release(&buf);
}

static int lookup(struct place *p, uint64_t id)
{
	struct wal_entry_info info;

	return wal_stream_lookup(p->st, id, &info);
}

static int64_t time_of(struct place *p, uint64_t id)
{
	struct wal_entry_info info;

	assert_int_equal(wal_stream_lookup(p->st, id, &info), 0);
	return info.time_ns;
}

static void spoil_block(const char *sidecar, uint64_t no)
{
	for (unsigned i = 0; i < 16; i++)
		damage_set_byte(sidecar, no * META_BLOCK_BYTES + META_OFF_RECORDS + i, 0xff);
}

/* Every way of looking, in both kinds of segments, at a good sidecar and at one that is made anew. */
static void what_is_mapped(enum wal_read read, bool expected)
{
	struct place p;

	make(&p, read);
	spoil_block(p.sealed, 3);
	stream_expect(p.st, 0, 2 * EACH);
	assert_int_equal(p.disk.maps > 0, expected);
	end(&p);
}

static void nothing_is_mapped_unless_asked_for(void **state)
{
	(void)state;
	what_is_mapped(WAL_READ_IO, false);
	what_is_mapped(WAL_READ_MMAP, true);
}

/* Entries of like size: the guess is right most of the time, and what was read stays for who comes next. */
static void few_reads(void **state)
{
	struct place p;
	uint64_t blocks;

	(void)state;
	make(&p, WAL_READ_IO);
	blocks = file_size(p.sealed) / META_BLOCK_BYTES;
	assert_int_equal(lookup(&p, 0), 0);
	p.disk.reads = 0;
	for (uint64_t id = 0; id < EACH; id++)
		assert_int_equal(lookup(&p, id), 0);
	assert_true(p.disk.reads <= 2 * blocks);
	p.disk.reads = 0;
	for (uint64_t i = 0; i < EACH; i++)
		assert_int_equal(lookup(&p, i * 7919 % EACH), 0);
	assert_true(p.disk.reads <= EACH * 3 / 2);
	end(&p);
}

/* -EIO for what is in the block, while what is far from it can be read; it is over when the disk is well again, and nothing was made anew meanwhile. */
static void fail_block(struct place *p, const char *sidecar, uint64_t begin, uint64_t end)
{
	struct wal_buf buf = { 0 };
	struct wal_iter *it;
	struct wal_entry e;
	size_t size, size_after;
	CLEANUP_FREE uint8_t *before = file_read(sidecar, &size);
	uint64_t bad = id_in_block(sidecar, 3), next = id_in_block(sidecar, 4), id;
	uint64_t offset, skip;
	int result;

	assert_int_equal(wal_stream_offset_of(p->st, bad + 1, &offset), 0);
	p->disk.bad_block = 3;
	expect_entry(p, begin); /* what was read before is not kept any more */
	for (id = bad; id < next; id++)
		assert_int_equal(lookup(p, id), -EIO);
	expect_entry(p, begin);
	expect_entry(p, end - 1);
	assert_int_equal(wal_stream_get(p->st, bad + 1, &buf), -EIO);
	assert_int_equal(wal_stream_offset_of(p->st, bad + 1, &offset), -EIO);
	assert_int_equal(wal_stream_id_at(p->st, offset, &id, &skip), -EIO);
	assert_int_equal(wal_iter_new(p->st, begin, &it), 0);
	for (id = begin; (result = wal_iter_next(it, &e)) == 0; id++)
		assert_int_equal(e.id, id);
	assert_int_equal(result, -EIO);
	assert_true(id <= bad);
	p->disk.bad_block = BAD_NOWHERE;
	for (; (result = wal_iter_next(it, &e)) == 0; id++)
		assert_int_equal(e.id, id);
	assert_int_equal(result, WAL_END);
	assert_int_equal(id, 2 * EACH);
	wal_iter_free(it);
	wal_buf_release(&buf);
	expect_entry(p, bad + 1);
	CLEANUP_FREE uint8_t *after = file_read(sidecar, &size_after);
	assert_int_equal(size, size_after);
	assert_memory_equal(before, after, size);
}

static void block_that_cannot_be_read(void **state)
{
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	fail_block(&p, p.sealed, 0, EACH);
	fail_block(&p, p.active, EACH, 2 * EACH);
	end(&p);
}

/* A sealed segment whose sidecar can't be read when it is opened is not to be had just now. Its times are in nothing else, so it is not made anew. */
static void ends_that_cannot_be_read(void **state)
{
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	uint64_t last = file_size(p.sealed) / META_BLOCK_BYTES - 1;
	int64_t time = time_of(&p, 5);
	for (unsigned i = 0; i < 2; i++) {
		close_place(&p);
		open_place(&p, WAL_READ_IO);
		p.disk.bad_block = i == 0 ? 0 : (long)last;
		assert_int_equal(lookup(&p, 5), -EIO);
		assert_int_equal(lookup(&p, EACH - 1), -EIO);
		p.disk.bad_block = BAD_NOWHERE;
		assert_int_equal(time_of(&p, 5), time);
	}
	stream_expect(p.st, 0, 2 * EACH);
	end(&p);
}

/* Nor is it made anew while the times that the others tell can't be read. */
static void times_that_cannot_be_read(void **state)
{
	size_t size, size_after;
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	uint64_t unreadable = id_in_block(p.sealed, 2), spoilt = id_in_block(p.sealed, 4);
	int64_t time = time_of(&p, unreadable + 1);
	spoil_block(p.sealed, 4);
	CLEANUP_FREE uint8_t *before = file_read(p.sealed, &size);
	p.disk.bad_block = 2;
	assert_int_equal(lookup(&p, spoilt + 1), -EIO);
	CLEANUP_FREE uint8_t *after = file_read(p.sealed, &size_after);
	assert_int_equal(size, size_after);
	assert_memory_equal(before, after, size);
	p.disk.bad_block = BAD_NOWHERE;
	expect_entry(&p, spoilt + 1);
	assert_int_equal(time_of(&p, unreadable + 1), time);
	stream_expect(p.st, 0, 2 * EACH);
	end(&p);
}

/* A sealed segment's is made anew, whatever is left of it. */
static void sealed_one_is_spoilt_while_open(enum wal_read read, uint64_t size)
{
	struct place p;

	make(&p, read);
	uint64_t first = id_in_block(p.sealed, 2), later = id_in_block(p.sealed, 4);
	expect_entry(&p, first);
	if (size < UINT64_MAX)
		assert_int_equal(truncate(p.sealed, (off_t)size), 0);
	else
		spoil_block(p.sealed, 4);
	for (uint64_t id = later; id < EACH; id += 7)
		expect_entry(&p, id);
	expect_entry(&p, first);
	end(&p);
}

static void sealed_ones_cut_or_bad_while_open(void **state)
{
	(void)state;
	sealed_one_is_spoilt_while_open(WAL_READ_IO, UINT64_MAX);
	sealed_one_is_spoilt_while_open(WAL_READ_IO, 3 * META_BLOCK_BYTES);
	sealed_one_is_spoilt_while_open(WAL_READ_IO, 4 * META_BLOCK_BYTES + 17);
	sealed_one_is_spoilt_while_open(WAL_READ_IO, 0);
	sealed_one_is_spoilt_while_open(WAL_READ_MMAP, UINT64_MAX);
}

static void look_at_first(struct bad_disk *d)
{
	expect_entry(container_of(d, struct place, disk), 0);
}

/* Who finds a bad block lets the segment go to have its sidecar made anew; in that moment another, who needs a good block only, opens the segment again as it is. */
static void opened_again_before_it_is_made_anew(void **state)
{
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	uint64_t spoilt = id_in_block(p.sealed, 4);
	spoil_block(p.sealed, 4);
	expect_entry(&p, 0);
	p.disk.at_close = look_at_first;
	expect_entry(&p, spoilt + 1);
	assert_null(p.disk.at_close);
	assert_int_equal(p.disk.made, 1);
	stream_expect(p.st, 0, 2 * EACH);
	end(&p);
}

static void look_at_spoilt(struct bad_disk *d)
{
	struct place *p = container_of(d, struct place, disk);

	expect_entry(p, id_in_block(p->sealed, 4) + 1);
}

/* Two who read in one segment find it, and the second when the first has done all there is to do. */
static void two_find_it_bad(void **state)
{
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	uint64_t spoilt = id_in_block(p.sealed, 4);
	expect_entry(&p, 0);
	spoil_block(p.sealed, 4);
	p.disk.at_read = look_at_spoilt;
	expect_entry(&p, spoilt + 1);
	assert_null(p.disk.at_read);
	assert_int_equal(p.disk.made, 1);
	stream_expect(p.st, 0, 2 * EACH);
	end(&p);
}

static void *read_early(void *arg)
{
	struct place *p = arg;
	struct wal_entry_info info;

	THREAD_CHECK(wal_stream_lookup(p->st, 2 * EACH - 1, &info) == 0);
	return NULL;
}

static void start_early_reader(struct bad_disk *d)
{
	struct place *p = container_of(d, struct place, disk);

	d->stage = 1;
	assert_int_equal(pthread_create(&p->early, NULL, read_early, p), 0);
	await_stage(d, 2);
}

/* A segment has just been sealed, and someone opens it already, which may take long if its sidecar has to be made: the end of the rotation does not have others open it too. */
static void opened_before_the_rotation_is_over(void **state)
{
	struct place p;

	(void)state;
	make(&p, WAL_READ_IO);
	p.disk.opens = 0;
	p.disk.at_switch = start_early_reader;
	assert_int_equal(wal_stream_rotate(p.st), 0);
	p.disk.stage = 3;
	assert_null(p.disk.at_switch);
	assert_int_equal(pthread_join(p.early, NULL), 0);
	expect_entry(&p, EACH);
	assert_int_equal(p.disk.opens, 1);
	stream_expect(p.st, 0, 2 * EACH);
	end(&p);
}

/* The active segment's costs the entries that it tells of until it is opened again; what is in memory goes on, and so do appends. */
static void active_one_cut_or_bad_while_open(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct place p;

		make(&p, WAL_READ_IO);
		uint64_t first = id_in_block(p.active, 1), later = id_in_block(p.active, 4);
		expect_entry(&p, first);
		if (i == 0)
			spoil_block(p.active, 4);
		else
			assert_int_equal(truncate(p.active, 4 * META_BLOCK_BYTES + 500), 0);
		assert_int_equal(lookup(&p, later + 1), -EBADMSG);
		expect_entry(&p, first);
		expect_entry(&p, 2 * EACH - 1);
		stream_fill(p.st, 2 * EACH, 2 * EACH + 20);
		expect_entry(&p, 2 * EACH + 19);
		expect_entry(&p, 1);
		close_place(&p);
		open_place(&p, WAL_READ_IO);
		stream_expect(p.st, 0, 2 * EACH + 20);
		end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_mapped_unless_asked_for),
		cmocka_unit_test(few_reads),
		cmocka_unit_test(block_that_cannot_be_read),
		cmocka_unit_test(ends_that_cannot_be_read),
		cmocka_unit_test(times_that_cannot_be_read),
		cmocka_unit_test(sealed_ones_cut_or_bad_while_open),
		cmocka_unit_test(opened_again_before_it_is_made_anew),
		cmocka_unit_test(two_find_it_bad),
		cmocka_unit_test(opened_before_the_rotation_is_over),
		cmocka_unit_test(active_one_cut_or_bad_while_open),
	};

	return TEST_RUN(tests);
}
