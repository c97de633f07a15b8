/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	PROGRESS_AFTER_MS = 1000,
	PROGRESS_EVERY_MS = 200,
	BAR_WIDTH = 40,
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void progress_init(struct progress *progress)
{
	*progress = (struct progress){ .on_terminal = isatty(STDERR_FILENO), .next_ms = now_ms() + PROGRESS_AFTER_MS };
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
	if (!progress->on_terminal || now_ms() < progress->next_ms)
		return;
	progress->next_ms = now_ms() + PROGRESS_EVERY_MS;
	progress->shown = true;
	if (total) {
		double part = done < total ? (double)done / (double)total : 1;
		int filled = (int)(part * BAR_WIDTH);

		fprintf(stderr, "\r[%.*s%*s] %3d %%", filled, "########################################", BAR_WIDTH - filled, "", (int)(part * 100));
	} else {
		fprintf(stderr, "\r%llu MiB", (unsigned long long)(done >> 20));
	}
}

void progress_clear(struct progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r\033[K");
	progress->shown = false;
}
