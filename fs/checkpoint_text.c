/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "percent.h"
#include "walfs.h"

enum {
	/* "created " or a name, a space, an id of 20 digits, a newline, NUL */
	LINE_BYTES = 3 * WAL_STREAM_NAME_MAX + 24,
};

static size_t render_time(int64_t time_ns, char *line)
{
	struct timespec ts = walfs_timespec(time_ns);
	char seconds[32];
	struct tm tm;

	gmtime_r(&ts.tv_sec, &tm); /* 64 bits of nanoseconds end in 2262 */
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	return (size_t)snprintf(line, LINE_BYTES, "created %s.%09ldZ\n", seconds, ts.tv_nsec);
}

static size_t render_cut(const struct wal_cut *cut, char *line)
{
	size_t used = percent_encode_column(cut->stream, line);

	return used + (size_t)snprintf(line + used, LINE_BYTES - used, " %" PRIu64 "\n", cut->next_id);
}

size_t checkpoint_text_size(const struct wal_checkpoint *checkpoint)
{
	char line[LINE_BYTES];
	size_t size = render_time(checkpoint->time_ns, line);

	for (size_t i = 0; i < checkpoint->cut_count; i++)
		size += render_cut(&checkpoint->cuts[i], line);
	return size;
}

char *checkpoint_text(const struct wal_checkpoint *checkpoint, size_t *ret_size)
{
	size_t size = checkpoint_text_size(checkpoint), used;
	char *text = malloc(size + LINE_BYTES); /* the last line is rendered with as much room as any */

	if (!text)
		return NULL;
	used = render_time(checkpoint->time_ns, text);
	for (size_t i = 0; i < checkpoint->cut_count; i++)
		used += render_cut(&checkpoint->cuts[i], text + used);
	*ret_size = used;
	return text;
}
