/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros that are written before the frames: when there are any, and that they change nothing of what is in the stream. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum { ENTRIES = 800 }; /* some 120 KiB */

struct zeros {
	struct sys sys;
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	unsigned writes; /* of zeros alone */
	uint64_t written; /* bytes of them */
	bool fail;
};

static bool all_zero(const struct iovec *iov, int count, uint64_t *ret_size)
{
	*ret_size = 0;
	for (int i = 0; i < count; i++) {
		const uint8_t *data = iov[i].iov_base;

		for (size_t k = 0; k < iov[i].iov_len; k++) {
			if (data[k] != 0)
				return false;
		}
		*ret_size += iov[i].iov_len;
	}
	return true;
}

static ssize_t zeros_pwritev(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	struct zeros *z = container_of(sys, struct zeros, sys);
	uint64_t size;

	/* A sidecar begins with some too. */
	if (offset > 0 && all_zero(iov, count, &size)) {
		z->writes++;
		z->written += size;
		if (z->fail)
			return -EIO;
	}
	return sys_real()->pwritev(sys_real(), fd, iov, count, offset);
}

static void zeros_make(struct zeros *z, const struct wal_options *opts)
{
	char path[PATH_MAX];

	*z = (struct zeros){ .sys = *sys_real() };
	z->sys.pwritev = zeros_pwritev;
	tmpdir_make(&z->dir, "zeros");
	assert_int_equal(store_open(&z->sys, tmpdir_path(&z->dir, "store", path), opts, &z->store, NULL), 0);
	z->st = stream_open_or_fail(z->store, "s");
}

static void zeros_remove(struct zeros *z)
{
	wal_stream_close(z->st);
	store_close_or_fail(z->store);
	tmpdir_remove(&z->dir);
}

/* The store as it would be found if the process died now. */
static void expect_after_a_crash(struct zeros *z)
{
	char original[PATH_MAX], copy[PATH_MAX], path[PATH_MAX];
	struct wal_store *store;
	struct wal_stream *st;

	copy_tree(tmpdir_path(&z->dir, "store", original), tmpdir_path(&z->dir, "copy", copy));
	store = store_open_or_fail(copy, NULL);
	st = stream_open_or_fail(store, "s");
	stream_expect(st, 0, ENTRIES);
	assert_int_not_equal(access(segment_path(copy, "s", 0, ".wal.torn.0", path), F_OK), 0);
	wal_stream_close(st);
	store_close_or_fail(store);
}

static void strict_appends_come_into_space_of_zeros(void **state)
{
	struct zeros z;

	(void)state;
	zeros_make(&z, NULL);
	stream_fill(z.st, 0, ENTRIES);
	/* For many entries at once, and in all about as much as these are. */
	assert_in_range(z.writes, 1, ENTRIES / 50);
	assert_in_range(z.written, 100 << 10, 400 << 10);
	stream_expect(z.st, 0, ENTRIES);
	expect_after_a_crash(&z);
	zeros_remove(&z);
}

static void a_small_stream_has_none(void **state)
{
	struct zeros z;

	(void)state;
	zeros_make(&z, NULL);
	stream_fill(z.st, 0, 20);
	assert_int_equal(z.writes, 0);
	zeros_remove(&z);
}

static void what_is_not_synced_has_none(void **state)
{
	struct zeros z;

	(void)state;
	zeros_make(&z, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(z.st, 0, ENTRIES);
	assert_int_equal(z.writes, 0);
	zeros_remove(&z);
}

/* Each sync has much to write anyway. */
static void large_entries_have_none(void **state)
{
	uint8_t *data = calloc(1, 100 << 10);
	struct zeros z;

	(void)state;
	assert_non_null(data);
	zeros_make(&z, NULL);
	memset(data, 'x', 100 << 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(wal_stream_append(z.st, data, 100 << 10, 0, NULL), 0);
	assert_int_equal(z.writes, 0);
	free(data);
	zeros_remove(&z);
}

static void appends_go_on_where_zeros_can_not_be_written(void **state)
{
	struct zeros z;

	(void)state;
	zeros_make(&z, NULL);
	z.fail = true;
	stream_fill(z.st, 0, ENTRIES);
	assert_in_range(z.writes, 1, ENTRIES / 50);
	stream_expect(z.st, 0, ENTRIES);
	expect_after_a_crash(&z);
	zeros_remove(&z);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_appends_come_into_space_of_zeros),
		cmocka_unit_test(a_small_stream_has_none),
		cmocka_unit_test(what_is_not_synced_has_none),
		cmocka_unit_test(large_entries_have_none),
		cmocka_unit_test(appends_go_on_where_zeros_can_not_be_written),
	};

	return TEST_RUN(tests);
}
