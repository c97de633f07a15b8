/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replaying. One pass over the entries from the checkpoint on. A record outside of transactions is given at once. Of one inside it is only counted:
 * when the commit comes, the entries from begin to commit are read again and given. So memory does not grow with transactions, and of one without a
 * commit nothing is given.
 *
 * A checkpoint may lie inside a transaction of another writer. Then the first marker behind it is the end of a transaction that was not begun: it
 * counts as begun where the replay begins.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "journal_impl.h"
#include "markers.h"
#include "txns.h"

struct replayer {
	struct wal_journal *journal;
	const struct wal_replay *in;
	struct wal_replay_result result;
	struct wal_error *err;
	uint64_t from, end;
	uint64_t budget; /* entries that may still be looked at ahead of time */
	struct txns open;
	struct wal_buf memory;	/* of the record being looked at */
	struct wal_buf members; /* of one of a transaction being committed */
};

static void fail(const struct replayer *rp, int result, const char *message)
{
	if (!rp->err)
		return;
	*rp->err = (struct wal_error){ .code = result };
	snprintf(rp->err->message, sizeof(rp->err->message), "journal '%s': %s", wal_stream_name(rp->journal->stream), message);
}

/* Tells of something wrong. -EBADMSG if that is to be the end. */
__attribute__((format(printf, 5, 6))) static int problem(struct replayer *rp, enum wal_replay_problem_kind kind, uint64_t sequence, uint64_t count,
							 const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	rp->result.problems++;
	if (rp->in->problem)
		rp->in->problem(rp->in->arg, &(struct wal_replay_problem){ kind, sequence, count, message });
	if (rp->in->policy == WAL_REPLAY_SKIP)
		return 0;
	fail(rp, -EBADMSG, message);
	return -EBADMSG;
}

static void drop(struct replayer *rp, const struct open_txn *txn)
{
	rp->result.dropped++;
	rp->result.dropped_records += txn->records;
}

/*
 * Something at `sequence` that can't be read may have been a part of whatever is open. What still gets its end is dropped then; what does not is over
 * now, or all that follows would count as its.
 */
static int break_open(struct replayer *rp, uint64_t sequence, uint64_t next)
{
	struct wal_record marker;
	bool found;
	int r = 0;

	for (size_t i = rp->open.count; i-- > 0 && !r;) {
		struct open_txn *txn = &rp->open.txns[i];

		if (txn->broken)
			continue;
		txn->broken = true;
		r = problem(rp, WAL_REPLAY_INCOMPLETE, txn->begin, 1,
			    "transaction %" PRIu64 " that begins at entry %" PRIu64 ": expected all of its entries, found that %" PRIu64 " cannot be read; it is dropped",
			    txn->number, txn->begin, sequence);
		if (!r)
			r = markers_next(rp->journal->stream, next, rp->end, &txn->number, &rp->budget, &marker, &found);
		if (!r && (!found || marker.type == WAL_RECORD_BEGIN)) {
			struct open_txn over = txns_take(&rp->open, i);

			drop(rp, &over);
		}
	}
	return r;
}

static int on_missing(struct replayer *rp, enum wal_replay_problem_kind kind, uint64_t first, uint64_t end)
{
	int r;

	if (end > rp->end)
		end = rp->end;
	rp->result.damaged += end - first;
	r = problem(rp, kind, first, end - first, "entries %" PRIu64 " to %" PRIu64 ": expected records, found %s", first, end - 1,
		    kind == WAL_REPLAY_DAMAGED ? "damage" : "that they were pruned");
	return r ? r : break_open(rp, first, end);
}

static int on_undecodable(struct replayer *rp, uint64_t id, const struct wal_error *why)
{
	int r;

	rp->result.undecodable++;
	r = problem(rp, WAL_REPLAY_UNDECODABLE, id, 1, "entry %" PRIu64 ", %s", id, why->message);
	return r ? r : break_open(rp, id, id + 1);
}

static int give(struct replayer *rp, const struct wal_entry *entry, const struct wal_record *record)
{
	rp->result.records++;
	rp->result.bytes += entry->size;
	return rp->in->record(rp->in->arg, entry->id, record);
}

static bool too_late(const struct replayer *rp, const struct wal_record *record)
{
	return rp->in->until_time && record->time > rp->in->until_time;
}

/* One entry of a transaction that is committed. `inner` has what was begun after it: the records of those are theirs. */
static int give_member(struct replayer *rp, const struct wal_entry *entry, struct txns *inner)
{
	struct open_txn ended;
	struct wal_record record;
	size_t drops;
	int r = wal_record_decode(entry->data, entry->size, WAL_RECORD_VARINT, &rp->members, &record, NULL);

	if (r)
		return r;
	if (record.type == WAL_RECORD_BEGIN)
		return txns_begin(inner, record.transaction, entry->id, &ended, &drops);
	if (record.type == WAL_RECORD_COMMIT || record.type == WAL_RECORD_ABORT)
		txns_end(inner, record.transaction, &ended);
	if (record_is_marker(&record) || txns_top(inner))
		return 0;
	return give(rp, entry, &record);
}

/*
 * All of it was read a moment ago. If some of it was pruned since, the state that the application has made durable meanwhile holds that, and a replay
 * of what was before is out of date anyway: told like the rest. If it can't be read, a part of it may have been given, and that can't be stepped
 * over.
 */
static int on_lost_member(struct replayer *rp, int result, uint64_t id, uint64_t commit)
{
	if (result < 0 || result == WAL_GAP) {
		fail(rp, result < 0 ? result : -EBADMSG, "entries of a transaction can't be read a second time");
		return result < 0 ? result : -EBADMSG;
	}
	rp->result.damaged += commit - id;
	return problem(rp, WAL_REPLAY_PRUNED, id, commit - id, "entries %" PRIu64 " to %" PRIu64 " of a transaction: expected records, found that they were pruned", id,
		       commit - 1);
}

static int give_transaction(struct replayer *rp, const struct open_txn *txn, uint64_t commit)
{
	struct txns inner = { 0 };
	struct wal_entry entry;
	struct wal_iter *iter;
	bool lost = false;
	int r = wal_iter_new(rp->journal->stream, txn->begin + 1, &iter);

	if (r)
		return r;
	for (uint64_t id = txn->begin + 1; id < commit && !r && !lost; id++) {
		r = wal_iter_next(iter, &entry);
		lost = r || entry.id != id;
		r = lost ? on_lost_member(rp, r, id, commit) : give_member(rp, &entry, &inner);
	}
	wal_iter_free(iter);
	txns_release(&inner);
	return r;
}

static int on_begin(struct replayer *rp, uint64_t id, const struct wal_record *record)
{
	struct open_txn dropped;
	size_t drops = 0;
	int r = txns_begin(&rp->open, record->transaction, id, &dropped, &drops);

	if (drops)
		drop(rp, &dropped);
	return r;
}

static int on_commit(struct replayer *rp, uint64_t id, const struct wal_record *record)
{
	struct open_txn txn;

	/* Begun before what is looked at: its records were given as they came. */
	if (!txns_end(&rp->open, record->transaction, &txn))
		return 0;
	if (txn.broken) {
		drop(rp, &txn);
		return 0;
	}
	if (too_late(rp, record)) {
		rp->result.too_late += txn.records;
		return 0;
	}
	rp->result.committed++;
	return txn.records ? give_transaction(rp, &txn, id) : 0;
}

static int on_abort(struct replayer *rp, uint64_t id, const struct wal_record *record)
{
	struct open_txn txn;

	if (!txns_end(&rp->open, record->transaction, &txn))
		return problem(rp, WAL_REPLAY_MISPLACED, id, 1, "entry %" PRIu64 ": expected the abort of a transaction that is open, found that of %" PRIu64, id,
			       record->transaction);
	drop(rp, &txn);
	return 0;
}

static int on_checkpoint(struct replayer *rp, uint64_t id, const struct wal_record *record)
{
	rp->result.checkpoints++;
	if (record->sequence && record->sequence >= id)
		return problem(rp, WAL_REPLAY_MISPLACED, id, 1, "entry %" PRIu64 ": expected a checkpoint of what is before it, found one of %" PRIu64, id, record->sequence);
	return 0;
}

static int on_record(struct replayer *rp, const struct wal_entry *entry, const struct wal_record *record)
{
	struct open_txn *txn = txns_top(&rp->open);

	switch (record->type) {
	case WAL_RECORD_BEGIN:
		return on_begin(rp, entry->id, record);
	case WAL_RECORD_COMMIT:
		return on_commit(rp, entry->id, record);
	case WAL_RECORD_ABORT:
		return on_abort(rp, entry->id, record);
	case WAL_RECORD_CHECKPOINT:
		return on_checkpoint(rp, entry->id, record);
	default:
		break;
	}
	if (txn) {
		txn->records++;
		return 0;
	}
	if (too_late(rp, record)) {
		rp->result.too_late++;
		return 0;
	}
	return give(rp, entry, record);
}

static int on_entry(struct replayer *rp, const struct wal_entry *entry)
{
	struct wal_record record;
	struct wal_error why;
	int r = wal_record_decode(entry->data, entry->size, WAL_RECORD_VARINT, &rp->memory, &record, &why);

	if (r == -EBADMSG || r == -EFBIG)
		return on_undecodable(rp, entry->id, &why);
	return r ? r : on_record(rp, entry, &record);
}

/* Steps over the next entry, or over what is missing. */
static int step(struct replayer *rp, struct wal_iter *iter)
{
	struct wal_entry entry;
	int r = wal_iter_next(iter, &entry);

	if (r < 0)
		return r;
	if (r == WAL_END)
		entry.id = rp->end;
	/* An iterator begins with what is there: what should have been before it was pruned. */
	if (entry.id > rp->result.next) {
		uint64_t missing = rp->result.next;

		rp->result.next = entry.id < rp->end ? entry.id : rp->end;
		wal_iter_seek(iter, rp->result.next);
		return on_missing(rp, WAL_REPLAY_PRUNED, missing, rp->result.next);
	}
	rp->result.next = entry.id + (r ? entry.size : 1);
	if (rp->result.next > rp->end)
		rp->result.next = rp->end;
	if (r)
		return on_missing(rp, r == WAL_GAP ? WAL_REPLAY_DAMAGED : WAL_REPLAY_PRUNED, entry.id, rp->result.next);
	return on_entry(rp, &entry);
}

static int run(struct replayer *rp)
{
	struct wal_iter *iter;
	int r = wal_iter_new(rp->journal->stream, rp->from, &iter);

	if (r)
		return r;
	while (!r && rp->result.next < rp->end)
		r = step(rp, iter);
	wal_iter_free(iter);
	return r;
}

/* See the top of this file. */
static int begin_inside(struct replayer *rp, uint64_t next)
{
	struct open_txn dropped;
	struct wal_record marker;
	size_t drops;
	bool found;
	int r;

	if (!rp->from)
		return 0;
	r = markers_next(rp->journal->stream, rp->from, next, NULL, &rp->budget, &marker, &found);
	if (r || !found || marker.type == WAL_RECORD_BEGIN)
		return r;
	return txns_begin(&rp->open, marker.transaction, rp->from - 1, &dropped, &drops);
}

static int choose_range(struct replayer *rp, uint64_t *ret_next)
{
	const struct wal_replay *in = rp->in;
	struct checkpoint_found found;
	uint64_t first, next, end;
	int r;

	wal_stream_bounds(rp->journal->stream, &first, &next, NULL);
	end = in->until_sequence && in->until_sequence < next ? in->until_sequence + 1 : next;
	if (in->until_sequence || in->until_ns || in->until_time)
		r = markers_find_checkpoint(rp->journal->stream, first, end, &(struct checkpoint_limits){ in->until_ns, in->until_time }, &found);
	else
		r = 0, found = (struct checkpoint_found){ .sequence = rp->journal->last_checkpoint, .end = next };
	if (r)
		return r;
	rp->result.after = in->from_start ? 0 : in->after ? in->after : found.sequence;
	rp->from = in->from_start ? first : rp->result.after ? rp->result.after + 1 : 0;
	rp->end = found.end;
	rp->budget = MARKERS_AHEAD_MAX + (rp->end > rp->from ? 4 * (rp->end - rp->from) : 0);
	rp->result.first = rp->result.next = rp->from;
	*ret_next = next;
	return 0;
}

static int replay(struct replayer *rp)
{
	uint64_t next;
	int r = choose_range(rp, &next);

	if (!r)
		r = begin_inside(rp, next);
	if (!r)
		r = run(rp);
	while (!r && rp->open.count) {
		struct open_txn unfinished = txns_take(&rp->open, rp->open.count - 1);

		drop(rp, &unfinished);
	}
	return r;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int wal_journal_replay(struct wal_journal *journal, const struct wal_replay *in, struct wal_replay_result *ret_result, struct wal_error *err)
{
	struct replayer rp = { .journal = journal, .in = in, .err = err };
	uint64_t began = now_ns();
	int r;

	if (err)
		*err = (struct wal_error){ 0 };
	r = replay(&rp);
	if (r < 0 && err && !err->code)
		fail(&rp, r, wal_strerror(r));
	rp.result.duration_ns = now_ns() - began;
	if (ret_result)
		*ret_result = rp.result;
	txns_release(&rp.open);
	wal_buf_release(&rp.memory);
	wal_buf_release(&rp.members);
	return r;
}
