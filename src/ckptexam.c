/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptexam.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckptlog.h"
#include "ckptscan.h"
#include "cleanup.h"
#include "names.h"

enum {
	SURVEYS_MAX = 10,
	PLACES_MAX = 1000, /* of which it is told one by one */
	TEXT_BYTES = 128,
};

struct place {
	uint64_t offset;
	uint64_t bytes;
	bool at_end;
	char expected[TEXT_BYTES];
	char found[TEXT_BYTES];
};

struct exam {
	const struct env *env;
	void (*tell)(void *arg, const struct wal_finding *finding);
	void *arg;
	bool mend;

	/* HEAD */
	int head_result; /* of reading it */
	uint8_t head[HEAD_BYTES_MAX];
	size_t head_size;
	const uint8_t *head_id; /* NULL: torn */
	size_t head_id_size;

	/* checkpoints.log */
	int log_result;
	uint64_t records;
	bool head_found;
	struct place *places;
	size_t place_count;
	uint64_t more_places;
	uint64_t more_bytes;
};

static void tell_error(struct exam *x, const char *file, int error)
{
	x->tell(x->arg, &(struct wal_finding){ .kind = WAL_FINDING_ERROR, .file = file, .expected = "a file that can be read", .found = wal_strerror(error) });
}

/* ---- Reading ---- */

static int visit_record(void *arg, uint64_t offset, const uint8_t *payload, uint32_t size, const struct record *record)
{
	struct exam *x = arg;

	(void)offset;
	(void)payload;
	(void)size;
	x->records++;
	x->head_found |= x->head_id && record->id_size == x->head_id_size && memcmp(record->id, x->head_id, record->id_size) == 0;
	return 0;
}

static int visit_bad(void *arg, const struct ckptscan_bad *bad)
{
	struct exam *x = arg;

	/* The end is told of in any case. */
	if (x->place_count >= PLACES_MAX && !bad->at_end) {
		x->more_places++;
		x->more_bytes += bad->bytes;
		return 0;
	}
	struct place *places = reallocarray(x->places, x->place_count + 1, sizeof *places), *place;
	if (!places)
		return -ENOMEM;
	x->places = places;
	place = &places[x->place_count++];
	*place = (struct place){ .offset = bad->offset, .bytes = bad->bytes, .at_end = bad->at_end };
	snprintf(place->expected, sizeof place->expected, "%s", bad->expected);
	snprintf(place->found, sizeof place->found, "%s", bad->found);
	return 0;
}

static void read_head(struct exam *x)
{
	struct sys *sys = x->env->sys;

	x->head_id = NULL;
	x->head_size = 0;
	x->head_result = sys_read_file(sys, x->env->root_fd, NAME_HEAD, x->head, sizeof x->head, &x->head_size);
	if (x->head_result == 0)
		x->head_id = head_decode(x->head, x->head_size, &x->head_id_size);
}

/* *ret_identity tells the file from another one of that name, and from itself when something was appended. */
static int read_log(struct exam *x, struct stat *ret_identity)
{
	const struct ckptscan scan = { .record = visit_record, .bad = visit_bad, .arg = x };
	struct sys *sys = x->env->sys;
	uint64_t size;

	x->records = x->more_places = x->more_bytes = 0;
	x->place_count = 0;
	x->head_found = false;
	int fd = sys_open_regular(sys, x->env->root_fd, NAME_CHECKPOINTS_LOG, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	int result = sys->fstat(sys, fd, ret_identity);
	if (result == 0)
		result = ckptscan_run(&scan, sys, fd, &size);
	sys_close(sys, &fd);
	return result;
}

/* Whether the log under its name is still that file, with that many bytes. */
static bool is_unchanged(const struct exam *x, const struct stat *identity)
{
	struct sys *sys = x->env->sys;
	struct stat now;
	int result = sys->fstatat(sys, x->env->root_fd, NAME_CHECKPOINTS_LOG, &now);

	if (x->log_result == -ENOENT)
		return result == -ENOENT;
	return x->log_result != 0 || (result == 0 && now.st_ino == identity->st_ino && now.st_size == identity->st_size);
}

/*
 * Both files as of one moment, if whoever writes them lets us: an id that HEAD names before and after the log is read is in the log all the time.
 */
static int survey(struct exam *x)
{
	CLEANUP_FREE uint8_t *head = malloc(HEAD_BYTES_MAX);

	if (!head)
		return -ENOMEM;
	read_head(x);
	for (unsigned tries = 0; tries < SURVEYS_MAX; tries++) {
		int result_before = x->head_result;
		size_t size_before = x->head_size;
		struct stat identity = { 0 };

		memcpy(head, x->head, size_before);
		x->log_result = read_log(x, &identity);
		if (x->log_result == -ENOMEM)
			return -ENOMEM;
		read_head(x);
		if (x->head_result == result_before && x->head_size == size_before && memcmp(x->head, head, size_before) == 0 && is_unchanged(x, &identity))
			break;
	}
	return 0;
}

/* ---- Telling ---- */

static void tell_log(struct exam *x)
{
	char text[TEXT_BYTES];

	for (size_t i = 0; i < x->place_count; i++) {
		const struct place *place = &x->places[i];

		x->tell(x->arg, &(struct wal_finding){
					.kind = place->at_end ? WAL_FINDING_TORN : WAL_FINDING_DAMAGE,
					.file = NAME_CHECKPOINTS_LOG,
					.offset = place->offset,
					.bytes = place->bytes,
					.expected = place->expected,
					.found = place->found,
					.action = place->at_end ? "set aside in a .torn file and cut off" : "set aside in a .damaged file and taken out",
				});
	}
	if (x->more_places > 0) {
		snprintf(text, sizeof text, "%" PRIu64 " more places of other bytes", x->more_places);
		x->tell(x->arg, &(struct wal_finding){
					.kind = WAL_FINDING_DAMAGE,
					.file = NAME_CHECKPOINTS_LOG,
					.bytes = x->more_bytes,
					.expected = "records",
					.found = text,
					.action = "set aside in a .damaged file and taken out",
				});
	}
	x->mend |= x->place_count > 0;
}

static bool is_torn(int head_result)
{
	return head_result == -EFBIG || head_result == -ELOOP || head_result == -EINVAL;
}

static void tell_head(struct exam *x)
{
	bool any = x->records > 0, missing = x->head_result == -ENOENT;
	const char *found = NULL;

	/* Who makes checkpoints removes it until the store is closed. */
	if (missing)
		found = any ? "no such file" : NULL;
	else if ((x->head_result == 0 && !x->head_id) || is_torn(x->head_result))
		found = "none that is whole";
	else if (x->head_result < 0)
		tell_error(x, NAME_HEAD, x->head_result);
	else if (!x->head_found)
		found = "one that is not there";
	if (!found)
		return;
	x->mend |= any;
	/* Without checkpoints nothing is made of it, and nothing reads it. */
	x->tell(x->arg, &(struct wal_finding){
				.kind = any && !missing ? WAL_FINDING_CACHE : WAL_FINDING_NOTE,
				.file = NAME_HEAD,
				.expected = missing ? "the id of the latest checkpoint, unless the store is open" : any ? "the id of the latest checkpoint" : "no such file, as there is no checkpoint",
				.found = found,
				.action = any ? "made to name the newest checkpoint" : NULL,
			});
}

static int visit_root(void *arg, const char *name, unsigned char type)
{
	struct exam *x = arg;
	size_t length = strlen(NAME_CHECKPOINTS_LOG);
	const char *found = NULL, *rest = strncmp(name, NAME_CHECKPOINTS_LOG, length) == 0 ? name + length : NULL;

	(void)type;
	if (strcmp(name, NAME_HEAD NAME_TMP_SUFFIX) == 0 || (rest && strcmp(rest, NAME_TMP_SUFFIX) == 0))
		found = "what a replacement that did not come to its end has left";
	else if (rest && (strncmp(rest, ".torn.", 6) == 0 || strncmp(rest, ".damaged.", 9) == 0))
		found = "bytes that were set aside earlier";
	else if (rest && *rest)
		found = "another file";
	if (found)
		x->tell(x->arg, &(struct wal_finding){ .kind = WAL_FINDING_NOTE, .file = name, .expected = "only files of the store", .found = found });
	return 0;
}

int ckptexam_run(const struct env *env, void (*tell)(void *arg, const struct wal_finding *finding), void *arg, bool *ret_mend)
{
	struct exam *x = calloc(1, sizeof *x);

	if (!x)
		return -ENOMEM;
	*x = (struct exam){ .env = env, .tell = tell, .arg = arg };
	int result = survey(x);
	if (result == 0) {
		if (x->log_result < 0 && x->log_result != -ENOENT)
			tell_error(x, NAME_CHECKPOINTS_LOG, x->log_result);
		tell_log(x);
		/* Of a log that could not be read nobody knows what HEAD could name. */
		if (x->log_result == 0 || x->log_result == -ENOENT)
			tell_head(x);
		int list_result = sys_list(env->sys, env->root_fd, visit_root, x);
		if (list_result < 0)
			tell_error(x, NULL, list_result);
		*ret_mend = x->mend;
	}
	free(x->places);
	free(x);
	return result;
}

/* ---- Mending ---- */

int ckptexam_mend(const struct env *env)
{
	struct ckptlog *log;
	int result = ckptlog_open(env->sys, &env->log, env->root_fd, false, &log, NULL);

	if (result < 0)
		return result;
	result = ckptlog_open_error(log);
	ckptlog_free(log);
	return result;
}
