/* SPDX-License-Identifier: Apache-2.0 */
#include "oxirs_numbers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	PROBE_RECORDS = 64,	     /* looked at to tell the encoding of a file */
	NUMBERS_AHEAD = 64,	     /* how far from its neighbour's a number may be to be believed without a checksum */
	REPAIR_BYTES_MAX = 4 << 20, /* of a record whose length is wrong */
	SEARCH_FACTOR = 16,
};

/* Looking for records behind wrong lengths reads what may be one, at each place. What that may cost at most in all, so that no file can make it endless. */
#define SEARCH_BYTES_MIN ((uint64_t)1 << 30)

static const uint8_t file_magic[8] = { 'W', 'A', 'L', 'V', 1, 0, 0, 0 };

/* What stands at a place. */
struct look {
	uint64_t number;
	uint32_t length;
	bool whole; /* a record, all of it */
	struct wal_record record; /* if it is whole */
	size_t used;	   /* bytes that the record takes, if it is one with or without bytes behind it */
	const uint8_t *data; /* it and the record are valid until the next look */
	char why[192];
};

static uint64_t get_le(const uint8_t *p, size_t size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | p[size];
	return value;
}

static bool is_log_name(const char *name, uint64_t *ret_number)
{
	size_t length = strlen(name);

	*ret_number = 0;
	return length >= 8 && !strncmp(name, "wal-", 4) && !strcmp(name + length - 4, ".log");
}

static uint64_t bytes_left(const struct oxirs_log *log, uint64_t offset)
{
	return log->input.size - offset;
}

static void advance(struct oxirs_log *log, uint64_t bytes)
{
	log->done += bytes;
	log->offset += bytes;
	log->judged = false;
}

/* ---- Looking ---- */

/* Applications' records are none of the original's. */
static bool is_foreign(const struct wal_record *record)
{
	if (record->type == WAL_RECORD_OPAQUE)
		return true;
	for (size_t i = 0; record->type == WAL_RECORD_BATCH && i < record->record_count; i++) {
		if (is_foreign(&record->records[i]))
			return true;
	}
	return false;
}

static int decode(struct oxirs_log *log, enum wal_record_encoding encoding, size_t length, struct look *ret, struct wal_error *err)
{
	struct wal_error detail = { 0 };
	int r = wal_record_decode(ret->data, length, encoding, &log->record, &ret->record, &detail);

	ret->whole = r == 0 && !is_foreign(&ret->record);
	ret->used = ret->whole ? length : 0;
	if (ret->whole)
		return 0;
	if (r < 0 && r != -EBADMSG)
		return source_fail(err, r, "reading '%s' at offset %llu: a record of %zu bytes: %s", log->input.name, (unsigned long long)log->offset, length, wal_strerror(r));
	snprintf(ret->why, sizeof(ret->why), "no record in %zu bytes: %.140s", length, r == 0 ? "of another type" : detail.message);
	/* where it failed may be where it is over */
	if (r == -EBADMSG && detail.offset && detail.offset < length && wal_record_decode(ret->data, (size_t)detail.offset, encoding, &log->record, &ret->record, NULL) == 0 &&
	    !is_foreign(&ret->record))
		ret->used = (size_t)detail.offset;
	return 0;
}

/* With `length_max` the length that is written there does not matter. */
static int look_at(struct oxirs_log *log, uint64_t offset, enum wal_record_encoding encoding, size_t length_max, struct look *ret, struct wal_error *err)
{
	uint64_t rest = bytes_left(log, offset);
	const uint8_t *p;
	int r;

	*ret = (struct look){ 0 };
	if (rest < OXIRS_RECORD_HEADER_BYTES) {
		snprintf(ret->why, sizeof(ret->why), "%llu bytes", (unsigned long long)rest);
		return 0;
	}
	r = input_get(&log->input, offset, OXIRS_RECORD_HEADER_BYTES, &p, err);
	if (r < 0)
		return r;
	rest -= OXIRS_RECORD_HEADER_BYTES;
	ret->number = get_le(p, 8);
	ret->length = (uint32_t)get_le(p + 8, 4);
	size_t length = length_max ? (size_t)(rest < length_max ? rest : length_max) : ret->length;
	if (length > WAL_RECORD_SIZE_MAX) {
		snprintf(ret->why, sizeof(ret->why), "a length of %u bytes, more than 100000000", ret->length);
		return 0;
	}
	if (length > rest) {
		snprintf(ret->why, sizeof(ret->why), "%llu of %u bytes", (unsigned long long)rest, ret->length);
		return 0;
	}
	r = input_get(&log->input, offset, OXIRS_RECORD_HEADER_BYTES + length, &p, err);
	if (r < 0)
		return r;
	log->looked += length;
	ret->data = p + OXIRS_RECORD_HEADER_BYTES;
	return decode(log, encoding, length, ret, err);
}

/* Whether a log may go on at `offset` behind the record `number`: 1 or 0. */
static int is_boundary(struct oxirs_log *log, uint64_t offset, uint64_t number, struct wal_error *err)
{
	uint64_t rest = bytes_left(log, offset);
	struct look look;
	const uint8_t *p;
	int r;

	if (!rest)
		return 1;
	if (rest >= OXIRS_FILE_HEADER_BYTES) {
		r = input_get(&log->input, offset, sizeof(file_magic), &p, err);
		if (r < 0 || !memcmp(p, file_magic, sizeof(file_magic)))
			return r < 0 ? r : 1;
	}
	r = input_is_zero(&log->input, offset, err);
	if (r != 0)
		return r;
	r = look_at(log, offset, log->encoding, 0, &look, err);
	if (r < 0)
		return r;
	/* that it is no record, or torn, is for its own turn */
	return look.whole || (look.number > number && look.number - number <= NUMBERS_AHEAD);
}

/* The encoding in which records of this file take all of their bytes. Files are written in one. */
static int tell_encoding(struct oxirs_log *log, struct wal_error *err)
{
	uint64_t offset = OXIRS_FILE_HEADER_BYTES;

	log->known = false;
	log->encoding = WAL_RECORD_VARINT;
	for (unsigned i = 0; i < PROBE_RECORDS && bytes_left(log, offset) >= OXIRS_RECORD_HEADER_BYTES; i++) {
		struct look standard, fixed;
		const uint8_t *p;
		int r = input_get(&log->input, offset, OXIRS_RECORD_HEADER_BYTES, &p, err);

		if (r == 0 && !memcmp(p, file_magic, sizeof(file_magic))) {
			if (bytes_left(log, offset) < OXIRS_FILE_HEADER_BYTES)
				break;
			offset += OXIRS_FILE_HEADER_BYTES;
			continue;
		}
		if (r == 0)
			r = look_at(log, offset, WAL_RECORD_VARINT, 0, &standard, err);
		if (r == 0)
			r = look_at(log, offset, WAL_RECORD_FIXED, 0, &fixed, err);
		if (r < 0)
			return r;
		if (standard.whole != fixed.whole) {
			log->known = true;
			log->encoding = fixed.whole ? WAL_RECORD_FIXED : WAL_RECORD_VARINT;
			return 0;
		}
		if (fixed.length > WAL_RECORD_SIZE_MAX || fixed.length > bytes_left(log, offset) - OXIRS_RECORD_HEADER_BYTES)
			break;
		offset += OXIRS_RECORD_HEADER_BYTES + fixed.length;
	}
	return 0;
}

/* ---- Files ---- */

static void end_file(struct oxirs_log *log)
{
	log->done += bytes_left(log, log->offset);
	log->offset = 0;
	input_close(&log->input);
	log->is_open = false;
	log->index++;
}

/* What is wrong with the header of the file that was just opened, which is then passed over. True: something is. */
static bool judge_file(struct oxirs_log *log, const uint8_t *header, struct item *item)
{
	uint64_t size = log->input.size, have = size < sizeof(file_magic) ? size : sizeof(file_magic);

	oxirs_place(log, item, size);
	if (!size) {
		finding_set(item, FINDING_NOTE, "a log", "a file of no bytes: its session ended before it wrote any");
	} else if (size < OXIRS_FILE_HEADER_BYTES && !memcmp(header, file_magic, have)) {
		finding_set(item, FINDING_TORN, "a header of 16 bytes", "%llu bytes", (unsigned long long)size);
		item->ends_prefix = false; /* there is nothing behind it in this file that could be missed */
	} else if (size < OXIRS_FILE_HEADER_BYTES || memcmp(header, file_magic, 4)) {
		finding_set(item, FINDING_DAMAGE, "a header with WALV", "something else, in %llu bytes", (unsigned long long)size);
	} else if (memcmp(header, file_magic, sizeof(file_magic))) {
		finding_set(item, FINDING_DAMAGE, "version 1", "version %llu", (unsigned long long)get_le(header + 4, 4));
	} else {
		return false;
	}
	return true;
}

/* 0: a file is open, or there is something to tell of one that is not for use (*ret_told). */
static int open_next(struct oxirs_log *log, struct item *item, bool *ret_told, struct wal_error *err)
{
	const uint8_t *header;
	int r;

	*ret_told = log->index == log->files.count && log->missing_count;
	if (*ret_told)
		oxirs_tell_missing(log, item);
	if (log->index == log->files.count)
		return *ret_told ? 0 : WAL_END;
	r = input_open(&log->input, log->files.dir_fd, log->files.files[log->index].name, err);
	if (r < 0)
		return r;
	log->offset = 0;
	log->is_open = true;
	uint64_t have = log->input.size < OXIRS_FILE_HEADER_BYTES ? log->input.size : OXIRS_FILE_HEADER_BYTES;
	r = input_get(&log->input, 0, (size_t)have, &header, err);
	if (r < 0)
		return r;
	*ret_told = judge_file(log, header, item);
	if (*ret_told) {
		end_file(log);
		return 0;
	}
	advance(log, OXIRS_FILE_HEADER_BYTES);
	log->may_restart = true;
	return tell_encoding(log, err);
}

/* ---- What is no record ---- */

/*
 * From `offset` on, the first place that must be a record: its number follows, it takes all its bytes, and behind it the log goes on. input->size if there is none, or not all were tried
 * (*ret_given_up).
 */
static int find_record(struct oxirs_log *log, uint64_t offset, uint64_t *ret_offset, bool *ret_given_up, struct wal_error *err)
{
	uint64_t begin = offset;

	*ret_offset = log->input.size;
	*ret_given_up = log->searched > log->searched_max;
	if (*ret_given_up)
		return 0;
	for (; bytes_left(log, offset) > OXIRS_RECORD_HEADER_BYTES; offset++) {
		uint64_t number, ahead = NUMBERS_AHEAD + (offset - begin) / OXIRS_RECORD_HEADER_BYTES, looked = log->looked;
		struct look look;
		const uint8_t *p;
		int r = input_get(&log->input, offset, OXIRS_RECORD_HEADER_BYTES, &p, err);

		if (r < 0)
			return r;
		if (bytes_left(log, offset) >= OXIRS_FILE_HEADER_BYTES && !memcmp(p, file_magic, sizeof(file_magic)))
			break;
		number = get_le(p, 8);
		if (log->any ? number <= log->last || number - log->last > ahead : number > ahead)
			continue;
		r = look_at(log, offset, log->encoding, 0, &look, err);
		if (r == 0 && look.whole)
			r = is_boundary(log, offset + OXIRS_RECORD_HEADER_BYTES + look.length, number, err);
		if (r < 0)
			return r;
		if (r == 1)
			break;
		log->searched += log->looked - looked;
		*ret_given_up = log->searched > log->searched_max;
		if (*ret_given_up)
			return 0;
	}
	*ret_offset = bytes_left(log, offset) > OXIRS_RECORD_HEADER_BYTES ? offset : log->input.size;
	return 0;
}

static int tell_lost(struct oxirs_log *log, const char *why, struct item *item, struct wal_error *err)
{
	uint64_t end = log->input.size;
	bool given_up = false;
	int r = log->resync ? find_record(log, log->offset + 1, &end, &given_up, err) : 0;

	if (r < 0)
		return r;
	oxirs_place(log, item, end - log->offset);
	if (end < log->input.size)
		finding_set(item, FINDING_DAMAGE, "a record", "%s; records again from offset %llu on", why, (unsigned long long)end);
	else if (given_up)
		finding_set(item, FINDING_DAMAGE, "a record", "%s; not every place behind it was tried for a record", why);
	else
		finding_set(item, FINDING_DAMAGE, "a record", "%s; nothing tells where the next one is", why);
	advance(log, end - log->offset);
	return 0;
}

/* An end that was being written: what is there fits what a record would be. */
static bool is_torn(const struct oxirs_log *log, const struct look *look)
{
	if (bytes_left(log, log->offset) < OXIRS_RECORD_HEADER_BYTES)
		return true;
	return !look->data && look->length <= WAL_RECORD_SIZE_MAX && (log->any ? look->number > log->last && look->number - log->last <= NUMBERS_AHEAD : look->number <= NUMBERS_AHEAD);
}

static void tell_torn(struct oxirs_log *log, const char *why, struct item *item)
{
	oxirs_place(log, item, bytes_left(log, log->offset));
	finding_set(item, FINDING_TORN, "a record", "%s", why);
	item->ends_prefix = log->index + 1 < log->files.count;
	advance(log, bytes_left(log, log->offset));
}

/*
 * A record that is whole before its length is over, or whose length leads nowhere, and behind which the next record stands: only the length is wrong. *ret_used: how many bytes it takes; 0: it is not so. Without resync only
 * for a length that the file has room for, as the original takes it.
 */
static int find_real_length(struct oxirs_log *log, const struct look *look, size_t *ret_used, struct wal_error *err)
{
	struct look again = *look, next;
	uint64_t behind;
	int r;

	*ret_used = 0;
	if (!log->known || (log->any && (look->number <= log->last || look->number - log->last > NUMBERS_AHEAD)))
		return 0;
	if (!look->used && log->resync && log->searched <= log->searched_max) {
		uint64_t looked = log->looked;

		r = look_at(log, log->offset, log->encoding, REPAIR_BYTES_MAX, &again, err);
		if (r < 0)
			return r;
		log->searched += log->looked - looked;
	}
	if (!again.used)
		return 0;
	behind = log->offset + OXIRS_RECORD_HEADER_BYTES + again.used;
	r = look_at(log, behind, log->encoding, 0, &next, err);
	if (r < 0)
		return r;
	if (next.whole && next.number > look->number && next.number - look->number <= NUMBERS_AHEAD)
		*ret_used = again.used;
	return 0;
}

static void tell_undecodable(struct oxirs_log *log, const struct look *look, struct item *item)
{
	uint64_t size = OXIRS_RECORD_HEADER_BYTES + (uint64_t)look->length;

	if (!log->judged && oxirs_judge_number(log, look->number, item))
		return;
	oxirs_place(log, item, size);
	item->has_sequence = true;
	item->sequence = look->number;
	finding_set(item, FINDING_DAMAGE, "a record", "%s", look->why);
	item->count = 1;
	advance(log, size);
}

static int judge_bad(struct oxirs_log *log, const struct look *look, struct item *item, struct wal_error *err)
{
	int r = input_is_zero(&log->input, log->offset, err);

	if (r < 0)
		return r;
	if (r == 1) {
		tell_torn(log, "zeros to the end", item);
		return 0;
	}
	if (look->data) {
		r = is_boundary(log, log->offset + OXIRS_RECORD_HEADER_BYTES + look->length, look->number, err);
		if (r < 0)
			return r;
		if (r == 1) {
			tell_undecodable(log, look, item);
			return 0;
		}
	}
	r = find_real_length(log, look, &log->mended, err);
	if (r < 0)
		return r;
	if (log->mended) {
		oxirs_place(log, item, 0);
		finding_set(item, FINDING_DAMAGE, "the record's length", "%u, but the record takes %zu bytes, and the next one follows it", look->length, log->mended);
		return 0;
	}
	if (is_torn(log, look)) {
		tell_torn(log, look->why, item);
		return 0;
	}
	return tell_lost(log, look->why, item, err);
}

/* ---- Records ---- */

static int64_t entry_time(const struct oxirs_log *log, const struct wal_record *record)
{
	if (!record->time || record->time > (uint64_t)log->now_ns / 1000000000)
		return log->input.mtime_ns;
	return (int64_t)record->time * 1000000000;
}

static int give_record(struct oxirs_log *log, const struct look *look, struct item *item, struct wal_error *err)
{
	if (log->encoding == WAL_RECORD_FIXED) {
		int r = wal_record_encode(&look->record, &log->standard, err);

		if (r < 0)
			return r;
	}
	oxirs_place(log, item, OXIRS_RECORD_HEADER_BYTES + look->used);
	item->kind = ITEM_ENTRY;
	item->has_sequence = true;
	item->sequence = look->number;
	item->data = log->encoding == WAL_RECORD_FIXED ? log->standard.data : look->data;
	item->size = log->encoding == WAL_RECORD_FIXED ? log->standard.size : look->used;
	item->time_ns = entry_time(log, &look->record);
	item->type = wal_record_type_name(look->record.type);
	advance(log, OXIRS_RECORD_HEADER_BYTES + look->used);
	return 0;
}

static int give_or_judge(struct oxirs_log *log, struct item *item, struct wal_record *ret_record, struct wal_error *err)
{
	struct look look;
	int r = look_at(log, log->offset, log->encoding, log->mended, &look, err);

	if (r < 0)
		return r;
	if (!look.whole)
		return judge_bad(log, &look, item, err);
	if (!log->judged && oxirs_judge_number(log, look.number, item))
		return 0;
	*ret_record = look.record;
	log->unsure = log->mended && !log->resync;
	log->mended = 0;
	return give_record(log, &look, item, err);
}

/* 1: it was one, and is told of. */
static int pass_header(struct oxirs_log *log, struct item *item, struct wal_error *err)
{
	const uint8_t *header;
	int r;

	if (bytes_left(log, log->offset) < OXIRS_FILE_HEADER_BYTES)
		return 0;
	r = input_get(&log->input, log->offset, OXIRS_FILE_HEADER_BYTES, &header, err);
	if (r < 0 || memcmp(header, file_magic, sizeof(file_magic)))
		return r;
	oxirs_place(log, item, OXIRS_FILE_HEADER_BYTES);
	finding_set(item, FINDING_NOTE, "a record", "a second header: the log was opened again within the second");
	advance(log, OXIRS_FILE_HEADER_BYTES);
	log->may_restart = true;
	return 1;
}

int oxirs_log_next(struct oxirs_log *log, struct item *ret, struct wal_record *ret_record, struct wal_error *err)
{
	int r;

	while (!log->is_open || log->offset == log->input.size) {
		bool told;

		if (log->is_open) {
			end_file(log);
			continue;
		}
		r = open_next(log, ret, &told, err);
		if (r != 0 || told)
			return r;
	}
	if (log->unsure) {
		log->unsure = false;
		return tell_lost(log, "behind a wrong length", ret, err);
	}
	r = pass_header(log, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return give_or_judge(log, ret, ret_record, err);
}

void oxirs_log_rewind(struct oxirs_log *log)
{
	struct oxirs_log begin = { .files = log->files, .resync = log->resync, .now_ns = log->now_ns, .searched_max = log->searched_max, .input = log->input,
				   .record = log->record, .standard = log->standard };

	input_close(&begin.input);
	*log = begin;
}

int oxirs_log_open(struct oxirs_log *log, const char *path, const struct source_options *options, struct wal_error *err)
{
	int r;

	*log = (struct oxirs_log){ .files = LISTING_NONE, .resync = options->resync, .now_ns = options->now_ns, .input = INPUT_NONE };
	r = listing_read(&log->files, path, is_log_name, false, NULL, err);
	if (r == 0 && !log->files.count)
		r = source_fail(err, -ENOENT, "'%s' has no files wal-*.log", path);
	log->searched_max = SEARCH_FACTOR * log->files.bytes > SEARCH_BYTES_MIN ? SEARCH_FACTOR * log->files.bytes : SEARCH_BYTES_MIN;
	return r;
}

void oxirs_log_release(struct oxirs_log *log)
{
	input_release(&log->input);
	listing_release(&log->files);
	wal_buf_release(&log->record);
	wal_buf_release(&log->standard);
}
