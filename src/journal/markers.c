/* SPDX-License-Identifier: Apache-2.0 */
#include "markers.h"

#include <errno.h>

#include "journal_impl.h"
#include "txns.h"

/* Type, number and time, in their longest forms too. */
enum { MARKER_BYTES_MIN = 3, MARKER_BYTES_MAX = 5 + 9 + 9 };

/* An entry above it is not read, but looked up; below it reading one after the other is cheaper than looking each one up. */
enum { LOOK_SIZE = 16384 };

enum { BLOCK_IDS = 4096 };

/* What gets each entry that can be had: `record` is a marker, or NULL. Not 0: the walk ends and returns it. */
typedef int visit_fn(void *arg, uint64_t id, int64_t time_ns, const struct wal_record *record);

enum { VISIT_DONE = 1000 }; /* no condition of the engine's */

struct walk {
	struct wal_stream *stream;
	struct wal_iter *iter;
	visit_fn *visit;
	void *arg;
	struct wal_buf memory;
	bool large; /* the entry before was */
	bool sought; /* `iter` stands where the walk does */
};

static int visit_entry(struct walk *walk, const struct wal_entry *entry)
{
	struct wal_record record;
	int r = -EBADMSG;

	if (entry->size >= MARKER_BYTES_MIN && entry->size <= MARKER_BYTES_MAX)
		r = wal_record_decode(entry->data, entry->size, WAL_RECORD_VARINT, &walk->memory, &record, NULL);
	if (r && r != -EBADMSG)
		return r;
	return walk->visit(walk->arg, entry->id, entry->time_ns, r || !record_is_marker(&record) ? NULL : &record);
}

/* The next entry at or after *id, or what is missing there; *id moves over it. */
static int read_next(struct walk *walk, uint64_t *id, uint64_t end)
{
	struct wal_entry entry;
	int r;

	if (!walk->sought)
		wal_iter_seek(walk->iter, *id);
	walk->sought = true;
	r = wal_iter_next(walk->iter, &entry);
	if (r == WAL_END)
		*id = end;
	else if (r > 0)
		*id = entry.id + entry.size;
	if (r)
		return r < 0 ? r : 0;
	*id = entry.id + 1;
	walk->large = entry.size > LOOK_SIZE;
	return entry.id < end ? visit_entry(walk, &entry) : 0;
}

/* Likewise, of an entry after a large one: most probably it is large too. */
static int look_up_next(struct walk *walk, uint64_t *id, uint64_t end)
{
	struct wal_entry_info info;
	int r = wal_stream_lookup(walk->stream, *id, &info);

	walk->large = !r && info.size > LOOK_SIZE;
	if (!walk->large)
		return r < 0 && r != -EBADMSG ? r : read_next(walk, id, end);
	walk->sought = false;
	(*id)++;
	return walk->visit(walk->arg, info.id, info.time_ns, NULL);
}

/* Visits `from` … `end` - 1. VISIT_DONE if `visit` returned that. */
static int walk(struct wal_stream *stream, uint64_t from, uint64_t end, visit_fn *visit, void *arg)
{
	struct walk walk = { .stream = stream, .visit = visit, .arg = arg, .sought = true };
	uint64_t id = from;
	int r = wal_iter_new(stream, from, &walk.iter);

	if (r)
		return r;
	while (id < end && !r)
		r = walk.large ? look_up_next(&walk, &id, end) : read_next(&walk, &id, end);
	wal_iter_free(walk.iter);
	wal_buf_release(&walk.memory);
	return r;
}

struct find {
	const struct checkpoint_limits *limits;
	struct checkpoint_found found;
	bool any;
};

static bool counts(const struct wal_record *record, uint64_t id, const struct checkpoint_limits *limits)
{
	if (record->type != WAL_RECORD_CHECKPOINT || (record->sequence && record->sequence >= id))
		return false;
	return !limits->until_time || record->time <= limits->until_time;
}

static int visit_find(void *arg, uint64_t id, int64_t time_ns, const struct wal_record *record)
{
	struct find *find = arg;

	if (find->limits->until_ns && time_ns > find->limits->until_ns) {
		if (id < find->found.end)
			find->found.end = id;
	} else if (record && counts(record, id, find->limits)) {
		find->found.sequence = record->sequence;
		find->found.id = id;
		find->any = true;
	}
	return 0;
}

int markers_find_checkpoint(struct wal_stream *stream, uint64_t first, uint64_t end, const struct checkpoint_limits *limits, struct checkpoint_found *ret)
{
	struct find find = { .limits = limits, .found = { .end = end } };
	uint64_t block = end;
	int r = 0;

	while (block > first && !find.any && !r) {
		uint64_t block_end = block;

		block = block_end - first > BLOCK_IDS ? block_end - BLOCK_IDS : first;
		r = walk(stream, block, block_end, visit_find, &find);
	}
	if (r)
		return r;
	*ret = find.found;
	return 0;
}

static int visit_follow(void *arg, uint64_t id, int64_t time_ns, const struct wal_record *record)
{
	struct txns *open = arg;
	struct open_txn ended;
	size_t drops;

	(void)time_ns;
	if (!record || record->type == WAL_RECORD_CHECKPOINT)
		return 0;
	if (record->type == WAL_RECORD_BEGIN)
		return txns_begin(open, record->transaction, id, &ended, &drops);
	txns_end(open, record->transaction, &ended);
	return 0;
}

int markers_follow(struct wal_stream *stream, uint64_t from, uint64_t end, struct txns *open)
{
	return walk(stream, from, end, visit_follow, open);
}

struct next {
	const uint64_t *number;
	uint64_t *budget;
	struct wal_record record; /* a marker points to nothing */
};

static int visit_next_marker(void *arg, uint64_t id, int64_t time_ns, const struct wal_record *record)
{
	struct next *next = arg;

	(void)id;
	(void)time_ns;
	(*next->budget)--;
	if (!record || record->type == WAL_RECORD_CHECKPOINT || (next->number && record->transaction != *next->number))
		return 0;
	next->record = *record;
	return VISIT_DONE;
}

int markers_next(struct wal_stream *stream, uint64_t from, uint64_t end, const uint64_t *number, uint64_t *budget, struct wal_record *ret, bool *ret_found)
{
	struct next next = { .number = number, .budget = budget };
	uint64_t ahead_max = *budget < MARKERS_AHEAD_MAX ? *budget : MARKERS_AHEAD_MAX;
	int r;

	if (end > from && end - from > ahead_max)
		end = from + ahead_max;
	r = walk(stream, from, end, visit_next_marker, &next);
	if (r && r != VISIT_DONE)
		return r;
	if (r)
		*ret = next.record;
	*ret_found = r == VISIT_DONE;
	return 0;
}
