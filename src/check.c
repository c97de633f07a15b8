/* SPDX-License-Identifier: Apache-2.0 */
/* wal_verify() and wal_repair(): one walk over the files of a store, which tells what it finds and, repairing, mends it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckptexam.h"
#include "cleanup.h"
#include "damagerec.h"
#include "examine.h"
#include "names.h"
#include "options.h"
#include "repair.h"
#include "root.h"
#include "segindex.h"

#define PROGRESS_STEP (1ull << 20)

enum { SURVEYS_MAX = 10 };

struct walk {
	const struct wal_check *check;
	bool repair;
	struct env env;
	struct root root;
	struct wal_check_result result;
	uint64_t total;
	uint64_t done;
	uint64_t reported;
	bool found_stream;

	/* the stream at hand */
	const char *name;
	int dir_fd;
	struct id_array files;
	struct damage_record *records;
	size_t record_count;
	bool mended; /* a segment of it was split, or its index is wrong */
};

static void tell(struct walk *w, const struct wal_finding *finding)
{
	struct wal_finding f = *finding;

	f.stream = w->name;
	if (!w->repair)
		f.action = NULL;
	w->result.findings[f.kind]++;
	if (w->check->finding)
		w->check->finding(w->check->arg, &f);
}

static void tell_error(struct walk *w, const char *file, int error)
{
	tell(w, &(struct wal_finding){ .kind = WAL_FINDING_ERROR, .file = file, .expected = "a file that can be read", .found = wal_strerror(error) });
}

static void advance(void *arg, uint64_t bytes)
{
	struct walk *w = arg;

	w->done += bytes;
	if (w->total < w->done)
		w->total = w->done; /* someone appends meanwhile */
	if (w->check->progress && w->done - w->reported >= PROGRESS_STEP) {
		w->reported = w->done;
		w->check->progress(w->check->arg, w->done, w->total);
	}
}

/* ---- Segments ---- */

/* Whether a damaged extent without bytes is a loss that an earlier repair has recorded. */
static bool is_known(void *arg, const struct extent *extent)
{
	const struct walk *w = arg;
	uint64_t id = extent->first_id, end = extent->first_id + extent->ids;

	if (extent->bytes > 0 || extent->ids == 0)
		return false;
	/* The records are in no order, and one loss may consist of several. */
	for (bool more = true; more && id < end;) {
		more = false;
		for (size_t i = 0; i < w->record_count; i++) {
			const struct damage_record *r = &w->records[i];

			if (r->first_id <= id && id - r->first_id < r->ids) {
				id = r->first_id + r->ids;
				more = true;
			}
		}
	}
	return id >= end;
}

static void describe_header(char *text, size_t size, enum frame_fault fault, const struct frame_header *h)
{
	if (fault == FRAME_BAD_MAGIC)
		snprintf(text, size, "%s", frame_fault_text(fault));
	else
		snprintf(text, size, "%s (id %" PRIu64 ", %" PRIu32 " entries, %" PRIu32 " bytes, crc %08" PRIx32 ")", frame_fault_text(fault), h->start_id,
			 h->entry_count, h->disk_size, h->crc);
}

static void tell_extent(struct walk *w, const char *file, const struct exam *x, const struct extent *extent)
{
	char expected[96], found[160];
	bool known = is_known(w, extent);

	if (extent->ids > 0 || x->end_id == UINT64_MAX)
		snprintf(expected, sizeof expected, "the frame of id %" PRIu64, extent->first_id);
	else
		snprintf(expected, sizeof expected, "the end of the segment, or the frame of id %" PRIu64, extent->first_id);
	if (known)
		snprintf(found, sizeof found, "nothing: lost earlier, and recorded in a .damaged file");
	else if (extent->bytes == 0)
		snprintf(found, sizeof found, "the end of the file, or the frame of a later id");
	else
		describe_header(found, sizeof found, extent->fault, &extent->header);
	tell(w, &(struct wal_finding){
			.kind = known ? WAL_FINDING_NOTE : WAL_FINDING_DAMAGE,
			.file = file,
			.offset = extent->offset,
			.bytes = extent->bytes,
			.first_id = extent->first_id,
			.ids = extent->ids,
			.expected = expected,
			.found = found,
			.action = known ? NULL : "set aside in a .damaged file, the segment split around it",
		});
}

static void tell_meta(struct walk *w, const struct exam *x)
{
	char file[NAME_SEGMENT_MAX];

	name_meta(file, x->first_id);
	if (x->meta_error)
		tell_error(w, file, x->meta_error);
	if (!x->meta_exists && x->end_id != UINT64_MAX)
		tell(w, &(struct wal_finding){
				.kind = WAL_FINDING_CACHE,
				.file = file,
				.expected = "the sidecar of a sealed segment",
				.found = "none",
				.action = "made anew when the segment is next read",
			});
	else if (x->meta_differs)
		tell(w, &(struct wal_finding){
				.kind = WAL_FINDING_CACHE,
				.file = file,
				.offset = x->meta_differs_at,
				.expected = "what the segment's frames say",
				.found = "intact blocks that say otherwise, or blocks that are not intact",
				.action = "made anew",
			});
}

/* Mends what the exam found, if that is wanted. */
static int mend(struct walk *w, const struct exam *x)
{
	/* Without its sidecar, which is there but can't be opened just now, the times of the entries would be lost. */
	if (!w->repair || w->check->dry_run || x->meta_error)
		return 0;
	if (repair_wanted(x, is_known, w)) {
		w->mended = true;
		return repair_segment(x, is_known, w);
	}
	return x->meta_differs ? repair_meta(x) : 0;
}

static int check_segment(struct walk *w, uint64_t first_id, uint64_t end_id)
{
	struct exam x = { .env = &w->env, .dir_fd = w->dir_fd, .progress = advance, .arg = w, .first_id = first_id, .end_id = end_id };
	char file[NAME_SEGMENT_MAX], found[160];
	int result = exam_run(&x);

	name_segment(file, first_id);
	w->result.segments++;
	w->result.frames += x.frames;
	w->result.entries += x.entries;
	w->result.bytes += x.size;
	if (result < 0) {
		tell_error(w, file, result);
		exam_release(&x);
		return result == -ENOMEM ? result : 0;
	}
	for (size_t i = 0; i < x.extent_count; i++) {
		if (!x.extents[i].good)
			tell_extent(w, file, &x, &x.extents[i]);
	}
	if (x.end == SEGMENT_TORN) {
		describe_header(found, sizeof found, x.end_fault, &(struct frame_header){ 0 });
		tell(w, &(struct wal_finding){
				.kind = WAL_FINDING_TORN,
				.file = file,
				.offset = x.end_offset,
				.bytes = x.size - x.end_offset,
				.first_id = x.next_id,
				.expected = "a whole frame, or unused room",
				.found = found,
				.action = "set aside in a .torn file and cut off",
			});
	}
	tell_meta(w, &x);
	result = mend(w, &x);
	exam_release(&x);
	if (result < 0)
		tell_error(w, file, result);
	return result;
}

/* ---- Streams ---- */

static int visit_file(void *arg, const char *name, unsigned char type)
{
	struct walk *w = arg;
	struct damage_record record;
	size_t n = strlen(name);
	uint64_t id;

	(void)type;
	if (name_is_segment(name, &id))
		return id_array_push(&w->files, id);
	if (strstr(name, ".damaged.") && damage_record_load(&w->env, w->dir_fd, name, &record) == 0) {
		struct damage_record *records = reallocarray(w->records, w->record_count + 1, sizeof *records);

		if (!records)
			return -ENOMEM;
		w->records = records;
		records[w->record_count++] = record;
	} else if (!name_is_ours(name) || (n > 4 && strcmp(name + n - 4, NAME_TMP_SUFFIX) == 0)) {
		tell(w, &(struct wal_finding){ .kind = WAL_FINDING_NOTE, .file = name, .expected = "only files of the store", .found = "another file" });
	}
	return 0;
}

static int visit_segment(void *arg, const char *name, unsigned char type)
{
	struct walk *w = arg;
	uint64_t id;

	(void)type;
	return name_is_segment(name, &id) ? id_array_push(&w->files, id) : 0;
}

/* Whether the segment holds nothing but zeros. */
static bool is_blank(struct walk *w, uint64_t id)
{
	struct exam x = { .env = &w->env, .dir_fd = w->dir_fd, .first_id = id, .end_id = UINT64_MAX };
	bool blank = exam_run(&x) == 0 && x.extent_count == 0 && x.end != SEGMENT_TORN;

	exam_release(&x);
	return blank;
}

/* The last file may be the empty rest of a rotation that was given up: then the one before goes on beyond its id. */
static void drop_given_up(struct walk *w)
{
	size_t n = w->files.count;
	char file[NAME_SEGMENT_MAX];

	if (n < 2 || !is_blank(w, w->files.ids[n - 1]))
		return;
	struct exam x = { .env = &w->env, .dir_fd = w->dir_fd, .first_id = w->files.ids[n - 2], .end_id = UINT64_MAX };
	if (exam_run(&x) == 0 && x.next_id > w->files.ids[n - 1]) {
		tell(w, &(struct wal_finding){
				.kind = WAL_FINDING_NOTE,
				.file = name_segment(file, w->files.ids[n - 1]),
				.expected = "frames, or to be the next segment",
				.found = "the empty rest of a rotation that was given up",
				.action = "removed",
			});
		w->files.count--;
	}
	exam_release(&x);
}

static void tell_small_file(struct walk *w, const char *file, const char *expected, const char *found)
{
	w->mended |= w->repair && !w->check->dry_run;
	tell(w, &(struct wal_finding){ .kind = WAL_FINDING_CACHE, .file = file, .expected = expected, .found = found, .action = "written anew" });
}

static void check_index(struct walk *w, int index_result, const struct id_array *index)
{
	const struct id_array *files = &w->files;

	if (index_result == -ENOENT)
		tell_small_file(w, NAME_SEGMENTS_IDX, "an index of the segments", "none");
	else if (index_result < 0)
		tell_small_file(w, NAME_SEGMENTS_IDX, "an index of the segments", wal_strerror(index_result));
	else if (files->count > 0 &&
		 (files->count != index->count || memcmp(files->ids, index->ids, files->count * sizeof *files->ids) != 0))
		tell_small_file(w, NAME_SEGMENTS_IDX, "the segments that are there", "others");
}

static void check_head(struct walk *w, int head_result, uint64_t head)
{
	const struct id_array *files = &w->files;
	char expected[96], found[96];

	if (head_result == -ENOENT && files->count < 2)
		return; /* it comes with the first rotation */
	if (files->count > 0)
		snprintf(expected, sizeof expected, "the name of the last segment, %020" PRIu64 ".wal", files->ids[files->count - 1]);
	else
		snprintf(expected, sizeof expected, "the name of a segment");
	if (head_result < 0) {
		tell_small_file(w, NAME_HEAD_STATE, expected, head_result == -ENOENT ? "no such file" : wal_strerror(head_result));
	} else if (files->count > 0 && head != files->ids[files->count - 1]) {
		snprintf(found, sizeof found, "%020" PRIu64 ".wal", head);
		tell_small_file(w, NAME_HEAD_STATE, expected, found);
	}
}

/* segments.idx and head.state say what is there now. */
static int mend_small_files(struct walk *w, int head_result)
{
	struct sys *sys = w->env.sys;

	id_array_release(&w->files);
	int result = sys_list(sys, w->dir_fd, visit_segment, w);
	if (result == 0 && w->files.count > 0) {
		id_array_sort(&w->files);
		result = segindex_store(sys, w->dir_fd, &w->files, 0600);
		if (result == 0 && (w->files.count > 1 || w->files.ids[0] > 0 || head_result != -ENOENT))
			result = headstate_store(sys, w->dir_fd, w->files.ids[w->files.count - 1], 0600);
	}
	if (result < 0)
		tell_error(w, NAME_SEGMENTS_IDX, result);
	return result;
}

/* The segment that both small files name, behind all that are there: its sidecar may tell that it was there once. */
static int check_lost(struct walk *w, uint64_t named)
{
	struct meta_pos end;
	char file[NAME_SEGMENT_MAX];

	if ((w->files.count > 0 && named <= w->files.ids[w->files.count - 1]) || !sidecar_end(w->env.sys, w->dir_fd, named, &end) || end.id <= named)
		return 0;
	tell(w, &(struct wal_finding){
			.kind = WAL_FINDING_DAMAGE,
			.file = name_segment(file, named),
			.first_id = named,
			.ids = end.id - named,
			.expected = "the segment that segments.idx and head.state name",
			.found = "no such file, though its sidecar is there",
			.action = "recorded in a .damaged file, the next id kept",
		});
	if (!w->repair || w->check->dry_run)
		return 0;
	w->mended = true;
	int result = repair_lost(&w->env, w->dir_fd, named, end.id);
	if (result < 0)
		tell_error(w, file, result);
	return result;
}

static int check_files(struct walk *w)
{
	struct id_array index = { 0 };
	uint64_t head = 0;
	int result = sys_list(w->env.sys, w->dir_fd, visit_file, w), index_result = 0, head_result = 0;

	/* Of a store that another process writes, names and what the small files say must be of one moment. */
	for (unsigned tries = 0; result == 0 && tries < SURVEYS_MAX; tries++) {
		size_t before = w->files.count;

		id_array_release(&index);
		index_result = segindex_load(w->env.sys, w->dir_fd, &index);
		head_result = headstate_load(w->env.sys, w->dir_fd, &head);
		w->files.count = 0;
		result = sys_list(w->env.sys, w->dir_fd, visit_segment, w);
		if (w->files.count == before)
			break;
	}
	if (result < 0) {
		id_array_release(&index);
		tell_error(w, NULL, result);
		return result == -ENOMEM ? result : 0;
	}
	id_array_sort(&w->files);
	drop_given_up(w);
	check_index(w, index_result, &index);
	check_head(w, head_result, head);
	bool named = index_result == 0 && head_result == 0 && index.count > 0 && index.ids[index.count - 1] == head;
	id_array_release(&index);
	if (named)
		result = check_lost(w, head);
	for (size_t i = 0; i < w->files.count && result == 0; i++)
		result = check_segment(w, w->files.ids[i], i + 1 < w->files.count ? w->files.ids[i + 1] : UINT64_MAX);
	if (result == 0 && w->mended)
		result = mend_small_files(w, head_result);
	return result;
}

static int check_stream(struct walk *w, const char *name)
{
	w->name = name;
	w->result.streams++;
	w->dir_fd = segment_open_dir(&w->env, name);
	if (w->dir_fd < 0) {
		tell_error(w, NULL, w->dir_fd);
		return 0;
	}
	int result = check_files(w);
	sys_close(w->env.sys, &w->dir_fd);
	id_array_release(&w->files);
	free(w->records);
	w->records = NULL;
	w->record_count = 0;
	w->mended = false;
	return result;
}

/* ---- The store ---- */

static int add_size(void *arg, const char *name, unsigned char type)
{
	struct walk *w = arg;
	struct stat sb;
	uint64_t id;

	(void)type;
	if (name_is_segment(name, &id) && w->env.sys->fstatat(w->env.sys, w->dir_fd, name, &sb) == 0)
		w->total += (uint64_t)sb.st_size;
	return 0;
}

static bool wanted(const struct walk *w, const char *name)
{
	return !w->check->stream || strcmp(w->check->stream, name) == 0;
}

/* For every stream: adds up what there is to read, or checks it. */
static int for_streams(struct walk *w, bool sizes)
{
	int result = 0;

	for (size_t i = 0; i < w->root.dir_count && result == 0; i++) {
		const char *name = w->root.dirs[i];

		if (!wanted(w, name) || wal_stream_name_check(name) < 0 || root_looks_like_stream(&w->env, name) == 0)
			continue;
		w->found_stream = true;
		if (!sizes) {
			result = check_stream(w, name);
			continue;
		}
		w->dir_fd = segment_open_dir(&w->env, name);
		if (w->dir_fd >= 0) {
			sys_list(w->env.sys, w->dir_fd, add_size, w);
			sys_close(w->env.sys, &w->dir_fd);
		}
	}
	return result;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void tell_checkpoints(void *arg, const struct wal_finding *finding)
{
	tell(arg, finding);
}

static int check_checkpoints(struct walk *w)
{
	bool mend_wanted = false;
	int result = ckptexam_run(&w->env, tell_checkpoints, w, &mend_wanted);

	if (result < 0 || !mend_wanted || !w->repair || w->check->dry_run)
		return result;
	result = ckptexam_mend(&w->env);
	if (result < 0)
		tell_error(w, NAME_CHECKPOINTS_LOG, result);
	return result;
}

static int check_store(struct walk *w)
{
	if (w->root.dir_count > 0)
		qsort(w->root.dirs, w->root.dir_count, sizeof *w->root.dirs, compare_names);
	for_streams(w, true);
	if (w->check->stream && !w->found_stream)
		return WAL_NOT_FOUND;
	int result = for_streams(w, false);
	w->name = NULL;
	if (result == 0 && !w->check->stream)
		result = check_checkpoints(w);
	if (w->check->progress && w->total > 0)
		w->check->progress(w->check->arg, w->total, w->total);
	return result;
}

/* Opens the root, walks, closes it. */
static int run(struct walk *w, const char *path, const struct wal_options *opts, struct wal_check_result *ret_result, struct wal_error *err)
{
	struct wal_error detail = { 0 };
	int result = opts ? wal_options_validate(opts, err) : 0;

	if (result < 0)
		return result;
	w->env = (struct env){ .sys = sys_real(), .root_fd = -1 };
	if (opts)
		w->env.opts = *opts;
	options_fill_defaults(&w->env.opts);
	w->env.opts.ro = !w->repair || w->check->dry_run;
	w->env.opts.no_create = true;
	w->env.log = (struct log){ w->env.opts.log, w->env.opts.log_arg };
	result = root_open(&w->root, &w->env, path, &detail);
	if (result == 0 && w->repair && !w->check->dry_run && w->env.opts.ro)
		result = error_set(&detail, -EROFS, path, "'%s' cannot be written", path);
	if (result == 0) {
		result = check_store(w);
		if (result < 0)
			error_set(&detail, result, path, "'%s': the %s was not finished: %s", path, w->repair ? "repair" : "check",
				  wal_strerror(result));
	}
	root_close(&w->root);
	if (result == 0 && ret_result)
		*ret_result = w->result;
	if (result < 0 && err)
		*err = detail;
	return result;
}

int wal_verify(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
	       struct wal_error *err)
{
	const struct wal_check everything = { 0 };
	struct walk w = { .check = check ? check : &everything, .dir_fd = -1 };

	return run(&w, path, opts, ret_result, err);
}

int wal_repair(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
	       struct wal_error *err)
{
	const struct wal_check everything = { 0 };
	struct walk w = { .check = check ? check : &everything, .repair = true, .dir_fd = -1 };
	struct wal_options settle = opts ? *opts : (struct wal_options){ 0 };
	struct wal_store *store;
	int result = run(&w, path, opts, ret_result, err);

	if (result != 0 || w.check->dry_run)
		return result;
	/* What is left is what every open for writing does: torn ends, the index, the active segment's sidecar. */
	settle.ro = false;
	settle.no_create = true;
	settle.on_corruption = WAL_ON_CORRUPTION_READONLY;
	result = wal_store_open(path, &settle, &store, err);
	return result < 0 ? result : wal_store_close(store);
}
