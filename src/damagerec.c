/* SPDX-License-Identifier: Apache-2.0 */
#include "damagerec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "names.h"

#define DAMAGED "libwal: damaged bytes of segment "
#define SKIPPED "libwal: skipped ids of segment "
#define FIGURES "%020" PRIu64 " from offset %" PRIu64 ", %" PRIu64 " bytes, first id %" PRIu64 ", %" PRIu64 " ids\n"
#define SCANNED "%" SCNu64 " from offset %" SCNu64 ", %" SCNu64 " bytes, first id %" SCNu64 ", %" SCNu64 " ids%n"

enum {
	LINE_MAX_BYTES = 256,
	DAMAGED_FILES_MAX = 1000000,
};

static bool scan_figures(const char *text, const char *format, struct damage_record *r)
{
	int end = -1;

	return sscanf(text, format, &r->segment, &r->offset, &r->bytes, &r->first_id, &r->ids, &end) == 5 && end >= 0 && text[end] == '\n' &&
	       r->ids <= UINT64_MAX - r->first_id;
}

int damage_record_load(const struct env *env, int dir_fd, const char *file, struct damage_record *ret)
{
	char text[LINE_MAX_BYTES + 1];
	struct damage_record r;
	int fd = sys_open_regular(env->sys, dir_fd, file, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	ssize_t n = sys_pread_full(env->sys, fd, text, LINE_MAX_BYTES, 0);
	sys_close(env->sys, &fd);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	r.skipped = scan_figures(text, SKIPPED SCANNED, &r);
	if (!r.skipped && !scan_figures(text, DAMAGED SCANNED, &r))
		return -EBADMSG;
	*ret = r;
	return 0;
}

int damage_record_create(const struct env *env, int dir_fd, const struct damage_record *r, char *name, uint64_t *ret_size)
{
	struct sys *sys = env->sys;
	char text[LINE_MAX_BYTES];
	int fd = -EEXIST;

	for (unsigned n = 0; fd == -EEXIST && n < DAMAGED_FILES_MAX; n++)
		fd = sys->openat(sys, dir_fd, name_damaged(name, r->segment, n), O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	int size = snprintf(text, sizeof text, "%s" FIGURES, r->skipped ? SKIPPED : DAMAGED, r->segment, r->offset, r->bytes, r->first_id, r->ids);
	int result = sys_pwrite_full(sys, fd, text, (size_t)size, 0);
	if (result < 0) {
		/* A part of a record must not be taken for one. */
		sys_close(sys, &fd);
		sys->unlinkat(sys, dir_fd, name, 0);
		return result;
	}
	*ret_size = (uint64_t)size;
	return fd;
}
