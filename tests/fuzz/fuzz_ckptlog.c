/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoints.log and HEAD: whatever stands in them, the scan covers the file exactly once and takes for records only what holds; opening read-only and for writing show the same
 * checkpoints; what was mended is in order from then on; changes do what they should and no more. The first two bytes are the length of HEAD, then HEAD, then checkpoints.log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "ckptlog.h"
#include "ckptscan.h"
#include "crc32.h"
#include "fuzz.h"
#include "scratch.h"

/* ---- The scan ---- */

struct cover {
	const uint8_t *data;
	size_t size;
	uint64_t at;
	bool after_bad;
	uint64_t records;
};

/* Judged over memory. */
static bool holds(const struct cover *c, uint64_t offset)
{
	struct record record;
	uint32_t crc, size;

	return c->size - offset >= RECORD_HEADER && record_header(c->data + offset, &crc, &size) && size <= c->size - offset - RECORD_HEADER &&
	       crc32_update(0, c->data + offset + RECORD_HEADER, size) == crc && !record_parse(c->data + offset + RECORD_HEADER, size, &record);
}

static int visit_record(void *arg, uint64_t offset, const uint8_t *payload, uint32_t size, const struct record *record)
{
	struct cover *c = arg;

	CHECK(offset == c->at && holds(c, offset));
	CHECK(memcmp(payload, c->data + offset + RECORD_HEADER, size) == 0);
	CHECK(record->id_size > 0 && record->end <= size && record->cuts <= record->end);
	c->at = offset + RECORD_HEADER + size;
	c->after_bad = false;
	c->records++;
	return 0;
}

static int visit_bad(void *arg, const struct ckptscan_bad *bad)
{
	struct cover *c = arg;

	CHECK(bad->offset == c->at && bad->bytes > 0 && bad->bytes <= c->size - c->at && !c->after_bad);
	CHECK(!holds(c, bad->offset) && bad->expected[0] && bad->found[0]);
	c->at += bad->bytes;
	CHECK(bad->at_end == (c->at == c->size));
	c->after_bad = true;
	return 0;
}

static void check_scan(const uint8_t *data, size_t size)
{
	struct cover c = { .data = data, .size = size };
	const struct ckptscan scan = { visit_record, visit_bad, &c };
	int fd = fuzz_memfd(data, size);
	uint64_t scanned;

	CHECK(ckptscan_run(&scan, sys_real(), fd, &scanned) == 0 && scanned == size && c.at == size);
	close(fd);
}

/* ---- The log ---- */

static void count_warnings(void *arg, enum wal_log_level level, const char *message)
{
	(void)message;
	*(unsigned *)arg += level <= WAL_LOG_WARNING;
}

static struct ckptlog *open_log(const struct scratch *s, bool ro, unsigned *warnings)
{
	const struct log log = { count_warnings, warnings };
	struct ckptlog *opened;
	struct wal_error err;

	*warnings = 0;
	int result = ckptlog_open(sys_real(), &log, s->fd, ro, &opened, &err);
	CHECK(result == 0, "%d: %s", result, err.message);
	return opened;
}

/* All that is in it, loaded. */
static void check_all(struct ckptlog *log, const struct wal_checkpoint *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct wal_checkpoint *cp;

		CHECK(i == 0 || list[i - 1].time_ns <= list[i].time_ns);
		CHECK(ckptlog_load(log, list[i].id, list[i].id_size, &cp) == 0);
		CHECK(cp->id_size == list[i].id_size && memcmp(cp->id, list[i].id, cp->id_size) == 0 && cp->time_ns == list[i].time_ns);
		for (size_t k = 0; k < cp->cut_count; k++)
			CHECK(strlen(cp->cuts[k].stream) > 0);
		free(cp);
	}
}

static bool same(const struct wal_checkpoint *a, const struct wal_checkpoint *b)
{
	return a->time_ns == b->time_ns && a->id_size == b->id_size && memcmp(a->id, b->id, a->id_size) == 0;
}

/* The log has these `count` checkpoints, and the same one is the latest. */
static void expect(struct ckptlog *log, const struct wal_checkpoint *list, size_t count, const struct wal_checkpoint *latest)
{
	struct wal_checkpoint *now, *now_latest = NULL;
	size_t now_count;

	CHECK(ckptlog_list(log, &now, &now_count) == 0 && now_count == count, "%zu instead of %zu", now_count, count);
	for (size_t i = 0; i < count; i++)
		CHECK(same(&now[i], &list[i]));
	check_all(log, now, now_count);
	CHECK(ckptlog_latest(log, &now_latest) == (count > 0 ? 0 : WAL_NOT_FOUND));
	if (latest)
		CHECK(same(now_latest, latest));
	free(now_latest);
	free(now);
}

static void check_changes(const struct scratch *s, const struct wal_checkpoint *list, size_t count)
{
	static const struct wal_cut cut = { "stream", 4711 };
	struct wal_checkpoint added = { .id = "added by the fuzzer", .id_size = 19, .cut_count = 1, .cuts = &cut };
	struct wal_checkpoint *cp, *now;
	unsigned warnings;
	size_t removed;
	struct ckptlog *log = open_log(s, false, &warnings);

	CHECK(warnings == 0);
	int result = ckptlog_load(log, added.id, added.id_size, &cp);
	if (result == 0)
		free(cp);
	CHECK(ckptlog_append(log, &added, 0, 0, &added.time_ns) == 0);
	CHECK(ckptlog_count(log) == count + (result == WAL_NOT_FOUND));
	CHECK(ckptlog_forget_stream(log, "a") == 0);
	CHECK(ckptlog_list(log, &now, &count) == 0 && same(&now[count - 1], &added));
	expect(log, now, count, &added);
	ckptlog_free(log);
	log = open_log(s, false, &warnings);
	CHECK(warnings == 0);
	expect(log, now, count, &added);
	CHECK(ckptlog_remove(log, added.id, added.id_size) == 0);
	expect(log, now, count - 1, count > 1 ? &now[count - 2] : NULL);
	CHECK(ckptlog_compact(log, 2, &removed) == 0 && removed == (count > 3 ? count - 3 : 0));
	ckptlog_free(log);
	log = open_log(s, false, &warnings);
	CHECK(warnings == 0);
	expect(log, now + removed, count - 1 - removed, NULL);
	ckptlog_free(log);
	free(now);
	(void)list;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wal_checkpoint *list, *latest = NULL;
	struct scratch s;
	unsigned warnings;
	size_t count;

	if (size < 2)
		return 0;
	size_t head = get_le16(data) < size - 2 ? get_le16(data) : size - 2;
	data += 2;
	size -= 2;
	check_scan(data + head, size - head);
	scratch_make(&s);
	if (head > 0)
		scratch_write(&s, "HEAD", data, head);
	scratch_write(&s, "checkpoints.log", data + head, size - head);
	struct ckptlog *log = open_log(&s, true, &warnings);
	CHECK(ckptlog_list(log, &list, &count) == 0 && ckptlog_count(log) == count);
	check_all(log, list, count);
	if (count > 0)
		CHECK(ckptlog_latest(log, &latest) == 0);
	ckptlog_free(log);
	log = open_log(&s, false, &warnings);
	expect(log, list, count, latest);
	ckptlog_free(log);
	check_changes(&s, list, count);
	free(latest);
	free(list);
	scratch_remove(&s);
	return 0;
}

/* Makes the checksums hold of what looks like records. */
static void fix_records(uint8_t *data, size_t size)
{
	for (size_t at = 0; at + RECORD_HEADER <= size;) {
		uint32_t crc, bytes;

		if (!record_header(data + at, &crc, &bytes) || bytes > size - at - RECORD_HEADER) {
			at++;
			continue;
		}
		record_put_header(data + at, crc32_update(0, data + at + RECORD_HEADER, bytes), bytes);
		at += RECORD_HEADER + bytes;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 4 && size > 2) {
		size_t head = get_le16(data) < size - 2 ? get_le16(data) : size - 2;

		fix_records(data + 2 + head, size - 2 - head);
	}
	return size;
}
