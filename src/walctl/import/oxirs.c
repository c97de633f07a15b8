/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An oxirs log as a source. All records are given, as they are, or in the standard encoding if they have the other one; checkpoints and transactions are records like others.
 *
 * A checkpoint names records by the sequence numbers they had. In a stream the entries have other numbers, so a journal that reads it may make more of a checkpoint than it says: then they are better left out.
 *
 * The original hides what a checkpoint of any session covers, and applies what was aborted. If it is asked for, they are honoured as they were meant: a checkpoint hides what its own session wrote up to its number, and records
 * between the begin of a transaction and its end (of the one begun last that has not ended, as they do not say) are left out unless it was committed, its marks with them. For that the log is read twice: only the end of
 * a session tells.
 */
#include <errno.h>
#include <stdlib.h>

#include "oxirs_log.h"

struct cover {
	uint64_t session;
	uint64_t number;
};

struct transaction {
	uint64_t id;
	uint64_t ordinal; /* of its begin, among all */
};

struct transactions {
	struct transaction *open;
	size_t count, capacity;
	uint64_t session;
	uint64_t begun;
};

struct oxirs {
	struct source source;
	struct source_options options;
	struct oxirs_log log;
	/* what the first reading found */
	struct cover *covers; /* by session */
	size_t cover_count, cover_capacity;
	uint8_t *committed; /* a bit for each begin */
	size_t committed_bytes;
	/* the reading that gives */
	size_t cover;
	struct transactions transactions;
};

static int grow(void **array, size_t *capacity, size_t count, size_t size)
{
	size_t wanted = *capacity ? *capacity : 64;
	void *grown;

	if (count < *capacity)
		return 0;
	while (wanted <= count)
		wanted *= 2;
	grown = reallocarray(*array, wanted, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*capacity = wanted;
	return 0;
}

/* ---- Transactions ---- */

static int begin(struct transactions *t, uint64_t id)
{
	int r = grow((void **)&t->open, &t->capacity, t->count, sizeof(*t->open));

	if (r < 0)
		return r;
	t->open[t->count++] = (struct transaction){ id, t->begun++ };
	return 0;
}

/* False: none of that number is open. */
static bool end(struct transactions *t, uint64_t id, uint64_t *ret_ordinal)
{
	size_t i = t->count;

	while (i && t->open[i - 1].id != id)
		i--;
	if (!i)
		return false;
	*ret_ordinal = t->open[i - 1].ordinal;
	for (; i < t->count; i++)
		t->open[i - 1] = t->open[i];
	t->count--;
	return true;
}

static void enter_session(struct transactions *t, uint64_t session)
{
	if (t->session != session)
		t->count = 0;
	t->session = session;
}

static bool is_committed(const struct oxirs *o, uint64_t ordinal)
{
	return ordinal / 8 < o->committed_bytes && (o->committed[ordinal / 8] >> (ordinal % 8) & 1);
}

static int set_committed(struct oxirs *o, uint64_t ordinal)
{
	size_t had = o->committed_bytes;
	int r = grow((void **)&o->committed, &o->committed_bytes, (size_t)(ordinal / 8), 1);

	if (r < 0)
		return r;
	for (; had < o->committed_bytes; had++)
		o->committed[had] = 0;
	o->committed[ordinal / 8] |= (uint8_t)(1 << (ordinal % 8));
	return 0;
}

/* ---- The first reading ---- */

static int note_record(struct oxirs *o, struct transactions *t, const struct wal_record *record)
{
	uint64_t ordinal;
	int r;

	enter_session(t, o->log.session);
	switch (record->type) {
	case WAL_RECORD_CHECKPOINT:
		if (o->cover_count && o->covers[o->cover_count - 1].session == o->log.session) {
			o->covers[o->cover_count - 1].number = record->sequence;
			return 0;
		}
		r = grow((void **)&o->covers, &o->cover_capacity, o->cover_count, sizeof(*o->covers));
		if (r == 0)
			o->covers[o->cover_count++] = (struct cover){ o->log.session, record->sequence };
		return r;
	case WAL_RECORD_BEGIN:
		return begin(t, record->transaction);
	case WAL_RECORD_COMMIT:
		return end(t, record->transaction, &ordinal) ? set_committed(o, ordinal) : 0;
	case WAL_RECORD_ABORT:
		end(t, record->transaction, &ordinal);
		return 0;
	default:
		return 0;
	}
}

static int read_ahead(struct oxirs *o, struct wal_error *err)
{
	struct transactions t = { 0 };
	struct wal_record record;
	struct item item;
	int r = 0;

	while (r == 0) {
		r = oxirs_log_next(&o->log, &item, &record, err);
		if (r != 0)
			break;
		if (item.kind == ITEM_FINDING && item.ends_prefix && o->options.policy == POLICY_PREFIX)
			break;
		if (item.kind == ITEM_ENTRY && note_record(o, &t, &record) < 0)
			r = source_fail(err, -ENOMEM, "out of memory");
	}
	free(t.open);
	oxirs_log_rewind(&o->log);
	return r < 0 ? r : 0;
}

/* ---- The reading that gives ---- */

/* As the original, which takes a checkpoint at 0 for none. */
static bool is_covered(struct oxirs *o, uint64_t number)
{
	while (o->cover < o->cover_count && o->covers[o->cover].session < o->log.session)
		o->cover++;
	return o->cover < o->cover_count && o->covers[o->cover].session == o->log.session && o->covers[o->cover].number && number <= o->covers[o->cover].number;
}

/* 1: the record belongs to a transaction that was not committed. */
static int is_void(struct oxirs *o, const struct wal_record *record)
{
	struct transactions *t = &o->transactions;
	uint64_t ordinal;

	enter_session(t, o->log.session);
	if (record->type == WAL_RECORD_BEGIN) {
		ordinal = t->begun;
		return begin(t, record->transaction) < 0 ? -ENOMEM : !is_committed(o, ordinal);
	}
	if (record->type == WAL_RECORD_COMMIT || record->type == WAL_RECORD_ABORT)
		return end(t, record->transaction, &ordinal) && !is_committed(o, ordinal);
	return t->count && !is_committed(o, t->open[t->count - 1].ordinal);
}

static int judge(struct oxirs *o, const struct wal_record *record, struct item *item, struct wal_error *err)
{
	int is_left_out = o->options.apply_transactions ? is_void(o, record) : 0;

	if (is_left_out < 0)
		return source_fail(err, is_left_out, "out of memory");
	if (is_left_out)
		finding_set(item, FINDING_LEFT_OUT, "a committed transaction", "a record of type %s of one that was not", item->type);
	else if (o->options.apply_checkpoints && is_covered(o, item->sequence))
		finding_set(item, FINDING_LEFT_OUT, "a record behind its session's checkpoint", "a record of type %s that it covers", item->type);
	else if (o->options.drop_checkpoints && record->type == WAL_RECORD_CHECKPOINT)
		finding_set(item, FINDING_LEFT_OUT, "no checkpoints", "one");
	return 0;
}

static int oxirs_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct oxirs *o = (struct oxirs *)source;
	struct wal_record record;
	int r = oxirs_log_next(&o->log, ret, &record, err);

	source->done = o->log.done;
	if (r == 0 && ret->kind == ITEM_ENTRY)
		r = judge(o, &record, ret, err);
	return r;
}

static void oxirs_free(struct source *source)
{
	struct oxirs *o = (struct oxirs *)source;

	oxirs_log_release(&o->log);
	free(o->covers);
	free(o->committed);
	free(o->transactions.open);
	free(o);
}

int oxirs_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = oxirs_next, .free = oxirs_free };
	struct oxirs *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return source_fail(err, -ENOMEM, "out of memory");
	o->source.ops = &ops;
	o->options = *options;
	r = oxirs_log_open(&o->log, path, options, err);
	if (r == 0 && (options->apply_checkpoints || options->apply_transactions))
		r = read_ahead(o, err);
	if (r < 0) {
		oxirs_free(&o->source);
		return r;
	}
	o->source.total = o->log.files.bytes;
	*ret = &o->source;
	return 0;
}
