/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_log.h>

enum {
	LINE_MAX_BYTES = 1280, /* a libwal message is at most 1 KiB */
};

/* As sd-daemon(3) has it: $JOURNAL_STREAM names the journal's socket, and descriptors that were redirected since are another file. */
void report_init(struct report *report)
{
	const char *journal = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	*report = (struct report){ 0 };
	if (journal && sscanf(journal, "%llu:%llu", &device, &inode) == 2 && !fstat(STDERR_FILENO, &st))
		report->journal = st.st_dev == device && st.st_ino == inode;
}

/* Stream names may hold any byte: one that could end the line or drive a terminal is shown as '?'. */
static void make_printable(char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < 0x20 || *line == 0x7f)
			*line = '?';
}

void report_line(struct report *report, enum wal_log_level level, const char *format, ...)
{
	static const int priority[] = { [WAL_LOG_ERROR] = LOG_ERR, [WAL_LOG_WARNING] = LOG_WARNING, [WAL_LOG_INFO] = LOG_INFO };
	char line[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	make_printable(line);
	if (atomic_load(&report->syslog))
		syslog(priority[level], "%s", line);
	else if (report->journal)
		fprintf(stderr, "<%d>%s\n", priority[level], line);
	else
		fprintf(stderr, "walfs: %s\n", line);
}

void report_wal(void *log_arg, enum wal_log_level level, const char *message)
{
	report_line(log_arg, level, "%s", message);
}

__attribute__((format(printf, 2, 0))) static void fuse_to_syslog(enum fuse_log_level level, const char *format, va_list ap)
{
	vsyslog((int)level, format, ap); /* the levels are syslog's */
}

void report_to_syslog(struct report *report)
{
	openlog("walfs", LOG_PID, LOG_DAEMON);
	fuse_set_log_func(fuse_to_syslog);
	atomic_store(&report->syslog, true);
}
