/* SPDX-License-Identifier: Apache-2.0 */
/* Where the program's messages go, one line an event: to stderr (with their level, if systemd's journal is behind that), and to syslog once it runs in the background. */
#ifndef WALFS_REPORT_H
#define WALFS_REPORT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "wal.h"

struct report {
	atomic_bool syslog;
	bool journal; /* stderr is */
};

/* Finds out about stderr. All-zero will do as well. */
void report_init(struct report *report);

__attribute__((format(printf, 3, 4))) void report_line(struct report *report, enum wal_log_level level, const char *format, ...);

/* For struct wal_options.log; log_arg is the struct report. */
void report_wal(void *log_arg, enum wal_log_level level, const char *message);

/* From here on to syslog, libfuse's own messages too. */
void report_to_syslog(struct report *report);

#endif
