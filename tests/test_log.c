/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "test.h"

struct seen {
	enum wal_log_level level;
	char message[4096];
	int calls;
};

static void keep(void *arg, enum wal_log_level level, const char *message)
{
	struct seen *seen = arg;

	seen->level = level;
	strncpy(seen->message, message, sizeof(seen->message) - 1);
	seen->calls++;
	errno = EXDEV;
}

static void line_reaches_the_callback(void **state)
{
	struct seen seen = { 0 };
	struct log log = { keep, &seen };

	(void)state;
	errno = ENOSPC;
	log_write(&log, WAL_LOG_WARNING, "stream '%s': %d bytes cut", "a\nb\x1b[31m\x7f", 7);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.level, WAL_LOG_WARNING);
	assert_string_equal(seen.message, "stream 'a?b?[31m?': 7 bytes cut");
}

static void utf8_stays(void **state)
{
	struct seen seen = { 0 };
	struct log log = { keep, &seen };

	(void)state;
	log_write(&log, WAL_LOG_INFO, "stream 'ключ'");
	assert_string_equal(seen.message, "stream 'ключ'");
}

static void long_line_is_cut(void **state)
{
	struct seen seen = { 0 };
	struct log log = { keep, &seen };
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_write(&log, WAL_LOG_ERROR, "%s", text);
	assert_int_equal(strlen(seen.message), 1023);
}

static void no_callback_is_silence(void **state)
{
	struct log log = { 0 };

	(void)state;
	errno = ENOSPC;
	log_write(&log, WAL_LOG_ERROR, "%d", 1);
	assert_int_equal(errno, ENOSPC);
}

static void error_is_filled(void **state)
{
	struct wal_error err;

	(void)state;
	memset(&err, 0xaa, sizeof(err));
	assert_int_equal(error_set(&err, -EBADMSG, "/srv/log", "segment %d is\tbad", 3), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_int_equal(err.pid, 0);
	assert_int_equal(err.offset, 0);
	assert_string_equal(err.path, "/srv/log");
	assert_string_equal(err.message, "segment 3 is?bad");
	assert_int_equal(error_set(NULL, -EIO, NULL, "nobody listens"), -EIO);
}

/* Callers wrap a message in a longer one. */
static void error_from_its_own_parts(void **state)
{
	struct wal_error err;

	(void)state;
	error_set(&err, -EIO, "/srv/log", "inner");
	error_set(&err, -EINVAL, err.path, "outer: %s", err.message);
	assert_string_equal(err.path, "/srv/log");
	assert_string_equal(err.message, "outer: inner");
	error_set(&err, -EINVAL, NULL, "no path");
	assert_string_equal(err.path, "");
}

static void error_parts_are_cut_to_fit(void **state)
{
	struct wal_error err;
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&err, -EIO, text, "%s", text);
	assert_int_equal(strlen(err.path), sizeof(err.path) - 1);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void every_result_has_a_text(void **state)
{
	(void)state;
	for (int result = -200; result <= WAL_TIMEOUT + 1; result++) {
		assert_non_null(wal_strerror(result));
		assert_true(strlen(wal_strerror(result)) > 0);
	}
	assert_string_equal(wal_strerror(WAL_NOT_FOUND), "entry not found");
	assert_string_equal(wal_strerror(WAL_TIMEOUT), "timed out");
	assert_string_equal(wal_strerror(WAL_TIMEOUT + 1), "unknown condition");
	assert_string_equal(wal_strerror(-EIO), "Input/output error");
	assert_string_equal(wal_strerror(-EBADMSG), "stored bytes are damaged");
	assert_string_equal(wal_strerror(-100000), "unknown error");
	assert_string_equal(wal_strerror(INT_MIN), "unknown error");
	assert_string_equal(wal_strerror(INT_MAX), "unknown condition");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_reaches_the_callback),
		cmocka_unit_test(utf8_stays),
		cmocka_unit_test(long_line_is_cut),
		cmocka_unit_test(no_callback_is_silence),
		cmocka_unit_test(error_is_filled),
		cmocka_unit_test(error_from_its_own_parts),
		cmocka_unit_test(error_parts_are_cut_to_fit),
		cmocka_unit_test(every_result_has_a_text),
	};

	return TEST_RUN(tests);
}
