/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walogs log: a directory with wal-000001.log and so on, or with the wal.log of its first version, or one such file.
 *
 * The original never repairs a finished segment and cuts the last one at the first bad frame, whatever stands behind. Here what is bad is stepped over: the next frame
 * whose checksum holds goes on. Only a bad end of the last segment is a torn one, as a crash leaves it.
 *
 * If the sync of an append failed, its frame may be there all the same, and the next append got the same number: of frames with one number right behind each other
 * the last is the one that was acknowledged. After a checkpoint that left only an empty segment the numbers begin again at 1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "source.h"
#include "walogs_frame.h"

/* Looking for frames behind damage, each place that may be one is checked. What that may cost at most in all, so that no file can make it endless. */
#define SEARCH_BYTES_MIN ((uint64_t)1 << 30)
#define FIRST_NUMBER_MAX ((uint64_t)1 << 40)
enum { SEARCH_FACTOR = 16, NEAR_NUMBERS = 1024 };

struct walogs {
	struct source source;
	struct source_options options;
	struct listing files;
	size_t index; /* of the file that is open, or is the next */
	struct input input;
	struct input ahead; /* the file behind it */
	bool is_open;
	uint64_t offset;
	bool announced; /* what is wrong between this file and the one before was told */
	bool at_start;	/* no frame of this file has been met */
	bool placed;	/* the number of the frame at `offset` has been judged */
	bool any;	/* `last` is set */
	uint64_t last;	/* the number met last, */
	uint64_t highest; /* and the highest since the numbers began */
	uint64_t budgets[2]; /* of bytes that looking for frames may still check: at places with any number, and with one that may follow */
};

/* A frame, or why there is none. */
struct look {
	bool valid;
	struct walogs_header header;
	char why[96];
};

static bool is_segment_name(const char *name, uint64_t *ret_number)
{
	const char *digits = name + 4;
	uint64_t number = 0;
	size_t count;

	if (!strcmp(name, "wal.log")) {
		*ret_number = 0;
		return true;
	}
	if (strncmp(name, "wal-", 4))
		return false;
	count = strspn(digits, "0123456789");
	/* the original loses sight of numbers with more than six digits, which it gives out */
	if (count < 6 || count > 10 || (count > 6 && digits[0] == '0') || strcmp(digits + count, ".log"))
		return false;
	for (size_t i = 0; i < count; i++)
		number = 10 * number + (uint64_t)(digits[i] - '0');
	*ret_number = number;
	return true;
}

static int look_at(struct input *input, uint64_t offset, struct look *ret, struct wal_error *err)
{
	uint64_t rest = input->size - offset;
	const uint8_t *frame;
	int r;

	ret->valid = false;
	if (rest < WALOGS_HEADER_BYTES) {
		snprintf(ret->why, sizeof(ret->why), "a header of %llu bytes", (unsigned long long)rest);
		ret->header = (struct walogs_header){ 0 };
		return 0;
	}
	r = input_get(input, offset, WALOGS_HEADER_BYTES, &frame, err);
	if (r < 0)
		return r;
	walogs_decode_header(frame, &ret->header);
	if (ret->header.size > WALOGS_DATA_MAX) {
		snprintf(ret->why, sizeof(ret->why), "a length of %u bytes, more than 16 MiB", ret->header.size);
		return 0;
	}
	if (ret->header.size > rest - WALOGS_HEADER_BYTES) {
		snprintf(ret->why, sizeof(ret->why), "%llu of %u bytes of data", (unsigned long long)(rest - WALOGS_HEADER_BYTES), ret->header.size);
		return 0;
	}
	r = input_get(input, offset, WALOGS_HEADER_BYTES + ret->header.size, &frame, err);
	if (r < 0)
		return r;
	uint32_t crc = walogs_frame_crc(&ret->header, frame);
	ret->valid = crc == ret->header.crc;
	if (!ret->valid)
		snprintf(ret->why, sizeof(ret->why), "checksum mismatch (%u bytes, crc %08x, computed %08x)", ret->header.size, ret->header.crc, crc);
	return 0;
}

/* Whether a number may follow the last one, `bytes` behind it. */
static bool is_near(const struct walogs *w, uint64_t lsn, uint64_t bytes)
{
	return w->any ? lsn > w->last && lsn - w->last - 1 <= bytes / WALOGS_HEADER_BYTES + NEAR_NUMBERS : lsn <= FIRST_NUMBER_MAX;
}

/*
 * The next place from `offset` on where a frame is whole; input->size if there is none, or not all were tried (*ret_given_up): of places with a number that may follow, and of others, as many are tried as a
 * budget for each allows, which is for all searches together: or many short ones, each for the largest frame, would be without bound.
 */
static int find_frame(struct walogs *w, uint64_t offset, uint64_t *ret_offset, bool *ret_given_up, struct look *ret, struct wal_error *err)
{
	struct input *input = &w->input;
	uint64_t begin = offset;

	*ret_given_up = false;
	for (; input->size - offset >= WALOGS_HEADER_BYTES; offset++) {
		const uint8_t *bytes;
		int r = input_get(input, offset, WALOGS_HEADER_BYTES, &bytes, err);

		if (r < 0)
			return r;
		walogs_decode_header(bytes, &ret->header);
		/* 2^56 numbers are never given out: of bytes that are no frame one in 65536 gets further */
		if (ret->header.size > WALOGS_DATA_MAX || ret->header.size > input->size - offset - WALOGS_HEADER_BYTES || ret->header.lsn >> 56)
			continue;
		bool near = is_near(w, ret->header.lsn, offset - begin);
		if (w->budgets[near] < ret->header.size) {
			*ret_given_up = true;
			continue;
		}
		w->budgets[near] -= ret->header.size;
		r = look_at(input, offset, ret, err);
		if (r < 0)
			return r;
		if (ret->valid) {
			*ret_offset = offset;
			*ret_given_up = false;
			return 0;
		}
	}
	ret->valid = false;
	*ret_offset = input->size;
	return 0;
}

/*
 * Whether the bad frame at w->offset is over where its own length says, as the next one in the log stands there, or the file ends behind the number that was to come. Then only its data is bad, and what that
 * holds is not to be searched: there may be frames in it, of a log that was stored in this one.
 */
static int find_own_end(struct walogs *w, const struct look *bad, uint64_t *ret_end, bool *ret_is, struct look *ret, struct wal_error *err)
{
	uint64_t rest = w->input.size - w->offset, end = w->offset + WALOGS_HEADER_BYTES + bad->header.size;
	int r;

	ret->valid = *ret_is = false;
	if (rest < WALOGS_HEADER_BYTES || bad->header.size > WALOGS_DATA_MAX || bad->header.size > rest - WALOGS_HEADER_BYTES)
		return 0;
	*ret_end = end;
	if (end == w->input.size) {
		*ret_is = w->any && bad->header.lsn == w->last + 1;
		return 0;
	}
	r = look_at(&w->input, end, ret, err);
	*ret_is = r == 0 && ret->valid && (ret->header.lsn == bad->header.lsn + 1 || (w->any && ret->header.lsn == w->last + 2));
	return r;
}

/* The first frame behind the file that is open, if the next file with anything in it begins with one. */
static int look_ahead(struct walogs *w, struct look *ret, struct wal_error *err)
{
	ret->valid = false;
	for (size_t i = w->index + 1; i < w->files.count; i++) {
		int r;

		if (!w->files.files[i].size)
			continue;
		if (w->ahead.fd < 0 || w->ahead.name != w->files.files[i].name) {
			r = input_open(&w->ahead, w->files.dir_fd, w->files.files[i].name, err);
			if (r < 0)
				return r;
		}
		return look_at(&w->ahead, 0, ret, err);
	}
	return 0;
}

static void place(const struct walogs *w, struct item *item, uint64_t bytes)
{
	*item = (struct item){ .file = w->files.files[w->index].name, .offset = w->offset, .bytes = bytes };
}

/* ---- Numbers ---- */

static void set_numbers(struct item *item, uint64_t first, uint64_t count)
{
	item->has_sequence = true;
	item->sequence = first;
	item->count = count;
}

/* What the number of the first frame of a file says. True: there is something to tell. */
static bool judge_first(const struct walogs *w, uint64_t lsn, struct item *item)
{
	if (!w->any) {
		if (lsn != 1 || w->files.files[w->index].number <= 1)
			return false;
		finding_set(item, FINDING_RESTART, "a later number", "LSN 1 in a later segment: after a checkpoint the log began again at 1");
		return true;
	}
	if (lsn < w->last) {
		char expected[64];

		snprintf(expected, sizeof(expected), "LSN %llu", (unsigned long long)w->last + 1);
		finding_set(item, FINDING_RESTART, expected, "LSN %llu", (unsigned long long)lsn);
		item->ends_prefix = item->fails_strict = true;
		return true;
	}
	return false;
}

/* True: there is something to tell of the frame at w->offset before it comes. */
static bool judge_number(struct walogs *w, const struct look *look, struct item *item)
{
	uint64_t lsn = look->header.lsn, expected = w->last + 1;
	bool told = false, first = w->at_start;
	char text[64];

	place(w, item, 0);
	w->placed = true;
	w->at_start = false;
	set_numbers(item, lsn, 0);
	snprintf(text, sizeof(text), "LSN %llu", (unsigned long long)expected);
	if (lsn == 0 && (!w->any || w->last != UINT64_MAX)) {
		finding_set(item, FINDING_NOTE, "an LSN from 1 on", "LSN 0, which is not used");
		told = true;
	} else if (first && judge_first(w, lsn, item)) {
		told = true;
	} else if (w->any && lsn > expected && lsn - 1 > w->highest) {
		finding_set(item, FINDING_GAP, text, "LSN %llu", (unsigned long long)lsn);
		set_numbers(item, w->highest + 1, lsn - w->highest - 1);
		item->ends_prefix = first; /* within a segment the original sees nothing wrong */
		told = true;
	} else if (w->any && lsn < w->last) {
		finding_set(item, FINDING_ORDER, text, "LSN %llu", (unsigned long long)lsn);
		told = true;
	}
	if (!w->any || lsn > w->highest || item->finding == FINDING_RESTART)
		w->highest = lsn;
	w->last = lsn;
	w->any = true;
	return told;
}

/* ---- Files ---- */

/* What is wrong between the file that comes and the one before it. */
static bool judge_file(const struct walogs *w, struct item *item)
{
	const struct listed *file = &w->files.files[w->index], *before = w->index ? file - 1 : NULL;

	if (!before || (before->number && file->number == before->number + 1))
		return false;
	place(w, item, 0);
	item->offset = 0;
	if (before->number == 0) {
		finding_set(item, FINDING_GAP, "either wal.log or segments", "both: wal.log, and '%s' behind it", file->name);
		return true;
	}
	char expected[64];
	snprintf(expected, sizeof(expected), "wal-%06llu.log", (unsigned long long)before->number + 1);
	finding_set(item, FINDING_GAP, expected, "'%s'", file->name);
	return true;
}

/* 0: the next file is open, or there is something to tell (*ret_told). */
static int open_next(struct walogs *w, struct item *item, bool *ret_told, struct wal_error *err)
{
	int r;

	*ret_told = false;
	if (w->index == w->files.count)
		return WAL_END;
	w->offset = 0;
	if (!w->announced) {
		w->announced = true;
		*ret_told = judge_file(w, item);
		if (*ret_told)
			return 0;
	}
	r = input_open(&w->input, w->files.dir_fd, w->files.files[w->index].name, err);
	if (r < 0)
		return r;
	w->is_open = true;
	w->at_start = true;
	w->placed = false;
	return 0;
}

static void end_file(struct walogs *w)
{
	w->source.done += w->input.size - w->offset;
	w->offset = w->input.size;
	input_close(&w->input);
	w->is_open = false;
	w->announced = false;
	w->index++;
}

static void advance(struct walogs *w, uint64_t offset)
{
	w->source.done += offset - w->offset;
	w->offset = offset;
	w->placed = false;
}

/* ---- Damage ---- */

/* Numbers that must have stood between w->last and `next`. */
static void count_lost(struct walogs *w, struct item *item, uint64_t next)
{
	if (w->any && next > w->last && next - w->last > 1) {
		set_numbers(item, w->last + 1, next - w->last - 1);
		w->last = next - 1;
		w->highest = w->last > w->highest ? w->last : w->highest;
	}
}

static int step_over(struct walogs *w, const struct look *bad, struct item *item, struct wal_error *err)
{
	struct look next;
	uint64_t end = w->offset; /* gcc 12 does not see that it is set */
	bool given_up = false, is_own_end, in_last = w->index + 1 == w->files.count;
	int r = find_own_end(w, bad, &end, &is_own_end, &next, err);

	if (r == 0 && !is_own_end)
		r = find_frame(w, w->offset + 1, &end, &given_up, &next, err);
	if (r < 0)
		return r;
	place(w, item, end - w->offset);
	if (next.valid) {
		finding_set(item, FINDING_DAMAGE, "a frame", "%s; intact frames behind it, from offset %llu on", bad->why, (unsigned long long)end);
		count_lost(w, item, next.header.lsn);
	} else if (given_up) {
		finding_set(item, FINDING_DAMAGE, "a frame", "%s; not every place behind it was tried for a frame", bad->why);
	} else if (in_last) {
		finding_set(item, FINDING_TORN, "a frame", "%s", bad->why);
	} else {
		finding_set(item, FINDING_DAMAGE, "a frame", "%s", bad->why);
		r = look_ahead(w, &next, err);
		if (r < 0)
			return r;
		if (next.valid)
			count_lost(w, item, next.header.lsn);
	}
	w->at_start = w->at_start && !next.valid;
	advance(w, end);
	return 0;
}

/* ---- Frames ---- */

/* Whether the frame right behind the one at w->offset has its number too. */
static int is_replaced(struct walogs *w, const struct walogs_header *header, bool *ret, struct wal_error *err)
{
	uint64_t end = w->offset + WALOGS_HEADER_BYTES + header->size;
	struct look next;
	int r = end == w->input.size ? look_ahead(w, &next, err) : look_at(&w->input, end, &next, err);

	*ret = r == 0 && next.valid && next.header.lsn == header->lsn;
	return r;
}

static int give_frame(struct walogs *w, const struct look *look, struct item *item, struct wal_error *err)
{
	uint64_t size = WALOGS_HEADER_BYTES + look->header.size;
	bool replaced = false;
	const uint8_t *frame;
	int r = 0;

	if (!w->options.keep_duplicates)
		r = is_replaced(w, &look->header, &replaced, err);
	if (r < 0)
		return r;
	if (replaced) {
		place(w, item, size);
		set_numbers(item, look->header.lsn, 0);
		finding_set(item, FINDING_DUPLICATE, "one frame with its LSN", "LSN %llu again right behind it: the append was tried again, the later one counts",
			    (unsigned long long)look->header.lsn);
		advance(w, w->offset + size);
		return 0;
	}
	r = input_get(&w->input, w->offset, (size_t)size, &frame, err);
	if (r < 0)
		return r;
	place(w, item, size);
	item->kind = ITEM_ENTRY;
	item->data = frame + WALOGS_HEADER_BYTES;
	item->size = look->header.size;
	item->time_ns = w->input.mtime_ns;
	set_numbers(item, look->header.lsn, 0);
	advance(w, w->offset + size);
	return 0;
}

static int walogs_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct walogs *w = (struct walogs *)source;
	struct look look;
	int r;

	while (!w->is_open || w->offset == w->input.size) {
		bool told;

		if (w->is_open) {
			end_file(w);
			continue;
		}
		r = open_next(w, ret, &told, err);
		if (r != 0 || told)
			return r;
	}
	r = look_at(&w->input, w->offset, &look, err);
	if (r < 0)
		return r;
	if (!look.valid)
		return step_over(w, &look, ret, err);
	if (!w->placed && judge_number(w, &look, ret))
		return 0;
	return give_frame(w, &look, ret, err);
}

static void walogs_free(struct source *source)
{
	struct walogs *w = (struct walogs *)source;

	input_release(&w->input);
	input_release(&w->ahead);
	listing_release(&w->files);
	free(w);
}

int walogs_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = walogs_next, .free = walogs_free };
	struct walogs *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return source_fail(err, -ENOMEM, "out of memory");
	*w = (struct walogs){ .source = { .ops = &ops }, .options = *options, .files = LISTING_NONE, .input = INPUT_NONE, .ahead = INPUT_NONE };
	r = listing_read(&w->files, path, is_segment_name, false, NULL, err);
	if (r == 0 && !w->files.count)
		r = source_fail(err, -ENOENT, "'%s' has neither a wal.log nor a wal-000001.log", path);
	if (r < 0) {
		walogs_free(&w->source);
		return r;
	}
	w->source.total = w->files.bytes;
	w->budgets[0] = w->budgets[1] = SEARCH_FACTOR * w->files.bytes > SEARCH_BYTES_MIN ? SEARCH_FACTOR * w->files.bytes : SEARCH_BYTES_MIN;
	*ret = &w->source;
	return 0;
}
