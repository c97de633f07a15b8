/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping the bad bytes of checkpoints.log in files of their own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckptlog_impl.h"
#include "cleanup.h"
#include "names.h"

enum {
	ASIDE_FILES_MAX = 100000,
	COPY_BYTES = 64 * 1024,
};

static bool all_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Zeros are not written: what is a hole, of any size, stays one. So the copy may end behind the file's end. */
static int copy(struct ckptlog *log, const struct ckptlog_place *place, int to_fd, uint64_t *to_offset)
{
	CLEANUP_FREE uint8_t *data = malloc(COPY_BYTES);
	int result = data ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < place->bytes && result == 0; at += COPY_BYTES) {
		uint64_t left = place->bytes - at;
		ssize_t n = sys_pread_full(log->sys, log->fd, data, left < COPY_BYTES ? (size_t)left : COPY_BYTES, place->offset + at);

		if (n < 0)
			return (int)n;
		if (!all_zero(data, (size_t)n))
			result = sys_pwrite_full(log->sys, to_fd, data, (size_t)n, *to_offset);
		*to_offset += (uint64_t)n;
	}
	return result;
}

/* A damaged place is preceded by a line that says where it was; a torn end is alone in its file. */
static int copy_places(struct ckptlog *log, const struct ckptlog_place *places, size_t count, bool torn, int to_fd)
{
	uint64_t to_offset = 0;
	char line[128];
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		int size = torn ? 0 : snprintf(line, sizeof line, NAME_CHECKPOINTS_LOG " offset=%" PRIu64 " bytes=%" PRIu64 "\n", places[i].offset,
					       places[i].bytes);

		result = sys_pwrite_full(log->sys, to_fd, line, (size_t)size, to_offset);
		to_offset += (uint64_t)size;
		if (result == 0)
			result = copy(log, &places[i], to_fd, &to_offset);
	}
	return result < 0 ? result : log->sys->ftruncate(log->sys, to_fd, to_offset);
}

int ckptlog_put_aside(struct ckptlog *log, const struct ckptlog_place *places, size_t count, bool torn)
{
	struct sys *sys = log->sys;
	char name[NAME_SEGMENT_MAX];
	int fd = -EEXIST;

	for (unsigned n = 0; fd == -EEXIST && n < ASIDE_FILES_MAX; n++)
		fd = sys->openat(sys, log->root_fd, torn ? name_checkpoints_torn(name, n) : name_checkpoints_damaged(name, n), O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	int result = copy_places(log, places, count, torn, fd);
	if (result == 0)
		result = sys->fsync(sys, fd);
	sys_close(sys, &fd);
	if (result == 0)
		result = sys->fsync(sys, log->root_fd);
	if (result < 0)
		(void)sys->unlinkat(sys, log->root_fd, name, 0);
	else
		log_write(&log->log, WAL_LOG_WARNING, NAME_CHECKPOINTS_LOG ": what was %s is kept in '%s'", torn ? "torn" : "damaged", name);
	return result;
}
