/* SPDX-License-Identifier: Apache-2.0 */
#include "markers.h"

#include <errno.h>

#include "journal_impl.h"
#include "txns.h"

/* Type, number and time, in their longest forms too. */
enum { MARKER_BYTES_MIN = 3, MARKER_BYTES_MAX = 5 + 9 + 9 };

struct look {
	struct wal_stream *stream;
	struct wal_buf bytes, memory;
	struct wal_entry_info info; /* of the entry looked at, if it can be had */
};

static void look_release(struct look *look)
{
	wal_buf_release(&look->bytes);
	wal_buf_release(&look->memory);
}

/* 0: *ret_record is a marker at `id`. WAL_NOT_FOUND: something else is there. */
static int look_at(struct look *look, uint64_t id, struct wal_record *ret_record)
{
	int r = wal_stream_lookup(look->stream, id, &look->info);

	if (r == -EBADMSG || r == WAL_PRUNED) {
		look->info = (struct wal_entry_info){ .id = id };
		return WAL_NOT_FOUND;
	}
	if (r)
		return r;
	if (look->info.size < MARKER_BYTES_MIN || look->info.size > MARKER_BYTES_MAX)
		return WAL_NOT_FOUND;
	r = wal_stream_get(look->stream, id, &look->bytes);
	if (!r)
		r = wal_record_decode(look->bytes.data, look->bytes.size, WAL_RECORD_VARINT, &look->memory, ret_record, NULL);
	if (r == -EBADMSG || r == WAL_PRUNED)
		return WAL_NOT_FOUND;
	return r || record_is_marker(ret_record) ? r : WAL_NOT_FOUND;
}

static bool counts(const struct wal_record *record, uint64_t id, const struct checkpoint_limits *limits)
{
	if (record->type != WAL_RECORD_CHECKPOINT || (record->sequence && record->sequence >= id))
		return false;
	return !limits->until_time || record->time <= limits->until_time;
}

int markers_find_checkpoint(struct wal_stream *stream, uint64_t first, uint64_t end, const struct checkpoint_limits *limits, struct checkpoint_found *ret)
{
	struct checkpoint_found found = { .end = end };
	struct look look = { .stream = stream };
	struct wal_record record;
	bool done = false;
	int r = 0;

	for (uint64_t id = end; id > first && !done && r >= 0;) {
		r = look_at(&look, --id, &record);
		if (limits->until_ns && look.info.time_ns > limits->until_ns) {
			found.end = id;
		} else if (!r && counts(&record, id, limits)) {
			found.sequence = record.sequence;
			found.id = id;
			done = true;
		}
	}
	look_release(&look);
	if (r < 0)
		return r;
	*ret = found;
	return 0;
}

static int follow(struct txns *open, const struct wal_record *record, uint64_t id)
{
	struct open_txn ended;
	size_t drops;

	if (record->type == WAL_RECORD_BEGIN)
		return txns_begin(open, record->transaction, id, &ended, &drops);
	if (record->type != WAL_RECORD_CHECKPOINT)
		txns_end(open, record->transaction, &ended);
	return 0;
}

int markers_follow(struct wal_stream *stream, uint64_t from, uint64_t end, struct txns *open)
{
	struct look look = { .stream = stream };
	struct wal_record record;
	int r = 0;

	for (uint64_t id = from; id < end && r >= 0; id++) {
		r = look_at(&look, id, &record);
		if (!r)
			r = follow(open, &record, id);
	}
	look_release(&look);
	return r < 0 ? r : 0;
}

int markers_next(struct wal_stream *stream, uint64_t from, uint64_t end, const uint64_t *number, struct wal_record *ret, bool *ret_found)
{
	struct look look = { .stream = stream };
	struct wal_record record;
	bool found = false;
	int r = 0;

	if (end - from > MARKERS_AHEAD_MAX && end > from)
		end = from + MARKERS_AHEAD_MAX;
	for (uint64_t id = from; id < end && !found && r >= 0; id++) {
		r = look_at(&look, id, &record);
		found = !r && record.type != WAL_RECORD_CHECKPOINT && (!number || record.transaction == *number);
	}
	look_release(&look);
	if (r < 0)
		return r;
	if (found)
		*ret = record; /* a marker points to nothing */
	*ret_found = found;
	return 0;
}
