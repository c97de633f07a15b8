/* SPDX-License-Identifier: Apache-2.0 */
/* A bar on standard error, if that is a terminal, for what takes more than a second. */
#ifndef WALCTL_PROGRESS_H
#define WALCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on_terminal;
	bool shown;
	int64_t next_ms; /* not drawn before */
};

void progress_init(struct progress *progress);

/* `total` 0: not known. May be called often. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total);

/* Before anything else is printed. */
void progress_clear(struct progress *progress);

#endif
