/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE_BYTES = 1024 };

/* Names come from directories that others may write to: a newline or an escape sequence in one must not forge a line or drive a terminal. */
static void mask_control_bytes(char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20 || c == 0x7f)
			*text = '?';
	}
}

void log_write(const struct log *log, enum wal_log_level level, const char *format, ...)
{
	char line[LOG_LINE_BYTES];
	int saved_errno = errno;
	va_list args;

	if (!log->write)
		return;
	va_start(args, format);
	if (vsnprintf(line, sizeof(line), format, args) < 0)
		line[0] = '\0';
	va_end(args);
	mask_control_bytes(line);
	log->write(log->arg, level, line);
	errno = saved_errno;
}

int error_set(struct wal_error *err, int code, const char *path, const char *format, ...)
{
	/* Put together aside, since `path` and the arguments may be parts of *err. */
	struct wal_error made = { .code = code };
	va_list args;

	if (!err)
		return code;
	if (path)
		snprintf(made.path, sizeof(made.path), "%s", path);
	va_start(args, format);
	if (vsnprintf(made.message, sizeof(made.message), format, args) < 0)
		made.message[0] = '\0';
	va_end(args);
	mask_control_bytes(made.message);
	*err = made;
	return code;
}

static const char *condition_text(int condition)
{
	switch ((enum wal_condition)condition) {
	case WAL_NOT_FOUND:
		return "entry not found";
	case WAL_PRUNED:
		return "entry pruned";
	case WAL_END:
		return "end of the stream";
	case WAL_GAP:
		return "damaged entries passed over";
	case WAL_TIMEOUT:
		return "timed out";
	}
	return "unknown condition";
}

const char *wal_strerror(int result)
{
	const char *text;

	if (result == 0)
		return "success";
	if (result > 0)
		return condition_text(result);
	/* The system's "Bad message" would not tell anyone what is wrong. */
	if (result == -EBADMSG)
		return "stored bytes are damaged";
	text = result == INT_MIN ? NULL : strerrordesc_np(-result);
	return text ? text : "unknown error";
}
