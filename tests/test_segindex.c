/* SPDX-License-Identifier: Apache-2.0 */
#include "segindex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "damage.h"
#include "faultsys.h"
#include "test.h"
#include "tmpdir.h"

#define IDX "segments.idx"
#define HEAD "head.state"

static void push_all(struct id_array *array, const uint64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(id_array_push(array, ids[i]), 0);
}

static void expect_ids(const struct id_array *array, const uint64_t *ids, size_t count)
{
	assert_int_equal(array->count, count);
	if (count)
		assert_memory_equal(array->ids, ids, count * sizeof(*ids));
}

static void arrays_sort_and_merge(void **state)
{
	static const uint64_t mixed[] = { 7, 0, UINT64_MAX, 7, 3, 0, 7 }, sorted[] = { 0, 3, 7, UINT64_MAX };
	struct id_array array = { 0 };

	(void)state;
	id_array_sort(&array);
	assert_int_equal(array.count, 0);
	push_all(&array, mixed, TEST_COUNT(mixed));
	id_array_sort(&array);
	expect_ids(&array, sorted, TEST_COUNT(sorted));
	id_array_release(&array);
	assert_null(array.ids);
	id_array_release(&array);
}

static void largest_id_not_above(void **state)
{
	static const uint64_t ids[] = { 10, 20, 30 };
	struct id_array array = { 0 };

	(void)state;
	assert_int_equal(id_array_find(&array, 5), -1);
	push_all(&array, ids, TEST_COUNT(ids));
	assert_int_equal(id_array_find(&array, 0), -1);
	assert_int_equal(id_array_find(&array, 9), -1);
	assert_int_equal(id_array_find(&array, 10), 0);
	assert_int_equal(id_array_find(&array, 19), 0);
	assert_int_equal(id_array_find(&array, 20), 1);
	assert_int_equal(id_array_find(&array, 29), 1);
	assert_int_equal(id_array_find(&array, 30), 2);
	assert_int_equal(id_array_find(&array, UINT64_MAX), 2);
	id_array_release(&array);
}

static void arrays_of_many(void **state)
{
	enum { COUNT = 10000 };
	struct id_array array = { 0 };

	(void)state;
	for (uint64_t i = COUNT; i > 0; i--)
		assert_int_equal(id_array_push(&array, i * 2), 0);
	id_array_sort(&array);
	assert_int_equal(array.count, COUNT);
	for (uint64_t id = 2; id <= COUNT * 2 + 1; id++)
		assert_int_equal(id_array_find(&array, id), id / 2 - 1);
	id_array_release(&array);
}

static void write_ids(const struct tmpdir *dir, const uint64_t *ids, size_t count)
{
	char path[PATH_MAX];
	uint8_t *buf = malloc(count * 8 + 1);

	for (size_t i = 0; i < count; i++)
		put_le64(buf + i * 8, ids[i]);
	file_write(tmpdir_path(dir, IDX, path), buf, count * 8);
	free(buf);
}

static void store_and_load(void **state)
{
	static const uint64_t ids[] = { 0, 140, 279, 425, 571 };
	/* multi-segment/store/orders of the original */
	static const uint8_t bytes[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0x8c, 0, 0, 0, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 0, 0, 0, 0xa9, 1, 0, 0, 0, 0, 0, 0, 0x3b, 2, 0, 0, 0, 0, 0, 0,
	};
	struct id_array array = { 0 }, back;
	struct tmpdir dir;
	char path[PATH_MAX];
	uint8_t *data;
	size_t size;

	(void)state;
	tmpdir_make(&dir, "segindex");
	assert_int_equal(segindex_load(sys_real(), dir.fd, &back), -ENOENT);
	push_all(&array, ids, TEST_COUNT(ids));
	assert_int_equal(segindex_store(sys_real(), dir.fd, &array, 0644), 0);
	data = file_read(tmpdir_path(&dir, IDX, path), &size);
	assert_int_equal(size, sizeof(bytes));
	assert_memory_equal(data, bytes, sizeof(bytes));
	free(data);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &back), 0);
	expect_ids(&back, ids, TEST_COUNT(ids));
	id_array_release(&back);
	array.count = 0;
	assert_int_equal(segindex_store(sys_real(), dir.fd, &array, 0644), 0);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &back), 0);
	assert_int_equal(back.count, 0);
	id_array_release(&back);
	id_array_release(&array);
	tmpdir_remove(&dir);
}

/* ironwal leaves [0, 0, 1, 2] after an entry that was too large for the empty first segment. */
static void equal_neighbours_are_merged(void **state)
{
	static const uint64_t ids[] = { 0, 0, 1, 2, 2, 2, UINT64_MAX, UINT64_MAX }, merged[] = { 0, 1, 2, UINT64_MAX };
	struct id_array array;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	write_ids(&dir, ids, TEST_COUNT(ids));
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), 0);
	expect_ids(&array, merged, TEST_COUNT(merged));
	id_array_release(&array);
	tmpdir_remove(&dir);
}

static void damaged_index(void **state)
{
	static const uint64_t descending[] = { 0, 10, 9 };
	struct id_array array = { .count = 4711 };
	struct tmpdir dir;
	char path[PATH_MAX];

	(void)state;
	tmpdir_make(&dir, "segindex");
	write_ids(&dir, descending, 3);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -EBADMSG);
	for (unsigned cut = 1; cut < 8; cut++) {
		write_ids(&dir, descending, 2);
		damage_shrink(tmpdir_path(&dir, IDX, path), cut);
		assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -EBADMSG);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdirat(dir.fd, IDX, 0755), 0);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -EISDIR);
	assert_int_equal(unlinkat(dir.fd, IDX, AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("/etc/passwd", dir.fd, IDX), 0);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -ELOOP);
	assert_int_equal(array.count, 4711);
	tmpdir_remove(&dir);
}

/* Several reads long; order is checked across their borders too. */
static void long_index(void **state)
{
	enum { COUNT = 5000 };
	uint64_t *ids = malloc(COUNT * sizeof(*ids));
	struct id_array array;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	for (uint64_t i = 0; i < COUNT; i++)
		ids[i] = i * 3;
	write_ids(&dir, ids, COUNT);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), 0);
	expect_ids(&array, ids, COUNT);
	id_array_release(&array);
	for (size_t i = 1; i < COUNT; i += 7) {
		uint64_t kept = ids[i];
		ids[i] = i == 512 ? 0 : ids[i - 1] - 1;
		if (i % 512 < 8) {
			write_ids(&dir, ids, COUNT);
			assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -EBADMSG);
		}
		ids[i] = kept;
	}
	free(ids);
	tmpdir_remove(&dir);
}

/* A sparse file of zeros is one id, but too many bytes to believe in. */
static void absurdly_large_index(void **state)
{
	struct id_array array;
	struct tmpdir dir;
	char path[PATH_MAX];

	(void)state;
	tmpdir_make(&dir, "segindex");
	file_write(tmpdir_path(&dir, IDX, path), "", 0);
	damage_grow_zeros(path, (128 << 20) + 8);
	assert_int_equal(segindex_load(sys_real(), dir.fd, &array), -EFBIG);
	tmpdir_remove(&dir);
}

static void expect_index(const struct tmpdir *dir, const uint64_t *ids, size_t count)
{
	struct id_array array;

	assert_int_equal(segindex_load(sys_real(), dir->fd, &array), 0);
	expect_ids(&array, ids, count);
	id_array_release(&array);
}

static void appending_an_id(void **state)
{
	static const uint64_t ids[] = { 0, 10, 20, 30 }, other[] = { 0, 10, 25 };
	struct tmpdir dir;
	char path[PATH_MAX];

	(void)state;
	tmpdir_make(&dir, "segindex");
	assert_int_equal(segindex_append(sys_real(), dir.fd, 0, 0), -ENOENT);
	write_ids(&dir, ids, 2);
	assert_int_equal(segindex_append(sys_real(), dir.fd, 2, 20), 0);
	expect_index(&dir, ids, 3);
	assert_int_equal(segindex_append(sys_real(), dir.fd, 3, 30), 0);
	expect_index(&dir, ids, 4);
	/* More than one id of an earlier try */
	assert_int_equal(segindex_append(sys_real(), dir.fd, 2, 25), 0);
	expect_index(&dir, other, 3);
	/* Half an id of an earlier try */
	damage_append(tmpdir_path(&dir, IDX, path), "\xff\xff\xff", 3);
	write_ids(&dir, ids, 2);
	damage_append(path, "\xff\xff\xff\xff\xff", 5);
	assert_int_equal(segindex_append(sys_real(), dir.fd, 2, 20), 0);
	expect_index(&dir, ids, 3);
	/* A file that lost ids: writing behind its end would make zeros of them. */
	assert_int_equal(segindex_append(sys_real(), dir.fd, 4, 40), -EBADMSG);
	expect_index(&dir, ids, 3);
	tmpdir_remove(&dir);
}

static void append_sweep(bool short_write, unsigned calls)
{
	static const uint64_t ids[] = { 0, 10, 20 };
	struct faultsys f;
	struct tmpdir dir;
	char path[PATH_MAX];
	unsigned n = 1;

	tmpdir_make(&dir, "segindex");
	faultsys_init(&f);
	for (;; n++) {
		size_t fds = open_fd_count();
		int r;

		write_ids(&dir, ids, 2);
		damage_append(tmpdir_path(&dir, IDX, path), "torn", 4);
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		f.short_write = short_write;
		r = segindex_append(&f.sys, dir.fd, 2, 20);
		assert_int_equal(f.open_fds, 0);
		assert_int_equal(open_fd_count(), fds);
		/* A failure before the torn rest could be cut leaves that; any later one leaves the two ids. */
		if (r < 0 && file_size(path) == 20)
			damage_shrink(path, 4);
		expect_index(&dir, ids, r < 0 ? 2 : 3);
		if (!faultsys_hit(&f))
			break;
		assert_true(r == -EIO || (r == 0 && n == calls));
	}
	/* open, two fstats, ftruncate, pwritev, fdatasync, close */
	assert_int_equal(n, calls + 1);
	tmpdir_remove(&dir);
}

static void appending_with_every_call_failing(void **state)
{
	(void)state;
	append_sweep(false, 7);
}

static void appending_with_short_writes(void **state)
{
	(void)state;
	append_sweep(true, 7);
}

/* When even the way back is blocked, the next append still finds its place. */
static void appending_after_a_failed_cut(void **state)
{
	static const uint64_t ids[] = { 0, 10, 20 };
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	faultsys_init(&f);
	write_ids(&dir, ids, 2);
	faultsys_fail(&f, FAULT_ANY, 5, EIO); /* fdatasync */
	f.sticky = true;
	assert_int_equal(segindex_append(&f.sys, dir.fd, 2, 19), -EIO);
	faultsys_fail(&f, FAULT_ANY, 0, 0);
	assert_int_equal(segindex_append(&f.sys, dir.fd, 2, 20), 0);
	expect_index(&dir, ids, 3);
	tmpdir_remove(&dir);
}

static void storing_with_every_call_failing(void **state)
{
	static const uint64_t old[] = { 0, 10 }, new[] = { 10, 20, 30 };
	struct id_array array = { 0 };
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	faultsys_init(&f);
	push_all(&array, new, 3);
	for (unsigned n = 1;; n++) {
		struct id_array back;
		int r;

		write_ids(&dir, old, 2);
		faultsys_fail(&f, FAULT_ANY, n, ENOSPC);
		r = segindex_store(&f.sys, dir.fd, &array, 0644);
		assert_int_equal(f.open_fds, 0);
		assert_int_equal(segindex_load(sys_real(), dir.fd, &back), 0);
		if (r == 0 || back.count == 3)
			expect_ids(&back, new, 3);
		else
			expect_ids(&back, old, 2);
		id_array_release(&back);
		if (!faultsys_hit(&f))
			break;
		assert_int_equal(r, -ENOSPC);
	}
	id_array_release(&array);
	tmpdir_remove(&dir);
}

static void loading_with_every_call_failing(void **state)
{
	static const uint64_t ids[] = { 0, 10 };
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	faultsys_init(&f);
	write_ids(&dir, ids, 2);
	for (unsigned n = 1;; n++) {
		struct id_array array;
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		int r = segindex_load(&f.sys, dir.fd, &array);
		assert_int_equal(f.open_fds, 0);
		if (r == 0) {
			expect_ids(&array, ids, 2);
			id_array_release(&array);
		}
		if (!faultsys_hit(&f))
			break;
	}
	tmpdir_remove(&dir);
}

/* multi-segment/store/orders of the original */
static const uint8_t head_bytes[] = "\x01\x18" "00000000000000000571.wal";

static void head_is_the_originals(void **state)
{
	struct tmpdir dir;
	char path[PATH_MAX];
	uint64_t id = 4711;
	uint8_t *data;
	size_t size;

	(void)state;
	tmpdir_make(&dir, "segindex");
	assert_int_equal(headstate_load(sys_real(), dir.fd, &id), -ENOENT);
	assert_int_equal(headstate_store(sys_real(), dir.fd, 571, 0644), 0);
	data = file_read(tmpdir_path(&dir, HEAD, path), &size);
	assert_int_equal(size, sizeof(head_bytes) - 1);
	assert_memory_equal(data, head_bytes, size);
	free(data);
	assert_int_equal(headstate_load(sys_real(), dir.fd, &id), 0);
	assert_int_equal(id, 571);
	damage_append(path, "trailing", 8);
	damage_grow_zeros(path, 100000);
	assert_int_equal(headstate_load(sys_real(), dir.fd, &id), 0);
	assert_int_equal(id, 571);
	assert_int_equal(headstate_store(sys_real(), dir.fd, UINT64_MAX, 0644), 0);
	assert_int_equal(headstate_load(sys_real(), dir.fd, &id), 0);
	assert_true(id == UINT64_MAX);
	tmpdir_remove(&dir);
}

static void damaged_head(void **state)
{
	struct tmpdir dir;
	char path[PATH_MAX];
	uint64_t id = 4711;
	uint8_t all_ones[300];

	(void)state;
	tmpdir_make(&dir, "segindex");
	tmpdir_path(&dir, HEAD, path);
	for (size_t size = 0; size < sizeof(head_bytes) - 1; size++) {
		file_write(path, head_bytes, size);
		assert_int_equal(headstate_load(sys_real(), dir.fd, &id), -EBADMSG);
	}
	/* No byte may become anything but another digit. */
	for (size_t at = 0; at < sizeof(head_bytes) - 1; at++) {
		for (unsigned value = 0; value < 256; value += at < 2 ? 1 : 17) {
			bool digit = at >= 2 && at < 22 && value >= '0' && value <= '9';
			int r;

			if (value == head_bytes[at])
				continue;
			file_write(path, head_bytes, sizeof(head_bytes) - 1);
			damage_set_byte(path, at, (uint8_t)value);
			r = headstate_load(sys_real(), dir.fd, &(uint64_t){ 0 });
			assert_true(r == -EBADMSG || (digit && r == 0));
		}
	}
	memset(all_ones, 0xff, sizeof(all_ones));
	all_ones[0] = 1;
	file_write(path, all_ones, sizeof(all_ones));
	assert_int_equal(headstate_load(sys_real(), dir.fd, &id), -EBADMSG);
	assert_int_equal(id, 4711);
	tmpdir_remove(&dir);
}

static void head_with_every_call_failing(void **state)
{
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "segindex");
	faultsys_init(&f);
	for (unsigned n = 1;; n++) {
		uint64_t id = 4711;
		int r;

		assert_int_equal(headstate_store(sys_real(), dir.fd, 1, 0644), 0);
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		r = headstate_store(&f.sys, dir.fd, 2, 0644);
		assert_int_equal(f.open_fds, 0);
		assert_int_equal(headstate_load(sys_real(), dir.fd, &id), 0);
		assert_true(id == 2 || (id == 1 && r == -EIO));
		if (!faultsys_hit(&f))
			break;
	}
	for (unsigned n = 1;; n++) {
		uint64_t id = 2;
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		int r = headstate_load(&f.sys, dir.fd, &id);
		assert_true(r == 0 || r == -EIO);
		assert_int_equal(id, 2);
		assert_int_equal(f.open_fds, 0);
		if (!faultsys_hit(&f))
			break;
	}
	tmpdir_remove(&dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_sort_and_merge),
		cmocka_unit_test(largest_id_not_above),
		cmocka_unit_test(arrays_of_many),
		cmocka_unit_test(store_and_load),
		cmocka_unit_test(equal_neighbours_are_merged),
		cmocka_unit_test(damaged_index),
		cmocka_unit_test(long_index),
		cmocka_unit_test(absurdly_large_index),
		cmocka_unit_test(appending_an_id),
		cmocka_unit_test(appending_with_every_call_failing),
		cmocka_unit_test(appending_with_short_writes),
		cmocka_unit_test(appending_after_a_failed_cut),
		cmocka_unit_test(storing_with_every_call_failing),
		cmocka_unit_test(loading_with_every_call_failing),
		cmocka_unit_test(head_is_the_originals),
		cmocka_unit_test(damaged_head),
		cmocka_unit_test(head_with_every_call_failing),
	};

	return TEST_RUN(tests);
}
