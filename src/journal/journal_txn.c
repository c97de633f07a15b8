/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: begin, records and commit gathered in a transaction of the engine, which makes one frame of them. */
#include <errno.h>
#include <stdlib.h>

#include "journal_impl.h"

struct wal_journal_txn {
	struct wal_journal *journal;
	struct wal_txn *txn;
	struct wal_buf buf;
	uint64_t number;
	uint64_t last_time; /* of its records: the commit's too, so that times that are not of this clock stay in order */
	uint64_t records;
	uint64_t bytes;
	bool begun; /* the begin is in `txn` */
};

static int add(struct wal_journal_txn *txn, const struct wal_record *record)
{
	int r = wal_record_encode(record, &txn->buf, NULL);

	return r ? r : wal_txn_add(txn->txn, txn->buf.data, txn->buf.size);
}

static int add_marker(struct wal_journal_txn *txn, enum wal_record_type type, uint64_t time)
{
	return add(txn, &(struct wal_record){ .type = type, .time = time, .transaction = txn->number });
}

static void release(struct wal_journal_txn *txn)
{
	wal_txn_abort(txn->txn);
	wal_buf_release(&txn->buf);
	free(txn);
}

int wal_journal_begin(struct wal_journal *j, struct wal_journal_txn **ret_txn)
{
	struct wal_journal_txn *txn = calloc(1, sizeof(*txn));
	int r;

	if (!txn)
		return -ENOMEM;
	txn->journal = j;
	txn->number = atomic_fetch_add(&j->next_transaction, 1);
	r = wal_txn_new(j->stream, &txn->txn);
	if (r) {
		release(txn);
		return r;
	}
	*ret_txn = txn;
	return 0;
}

int wal_journal_add(struct wal_journal_txn *txn, const struct wal_record *record)
{
	struct wal_record stamped = *record;
	int r = 0;

	if (record_is_marker(record))
		return -EINVAL;
	if (!stamped.time)
		stamped.time = journal_now();
	if (!txn->begun)
		r = add_marker(txn, WAL_RECORD_BEGIN, stamped.time);
	txn->begun |= !r;
	if (!r)
		r = add(txn, &stamped);
	if (r)
		return r;
	txn->last_time = stamped.time > txn->last_time ? stamped.time : txn->last_time;
	txn->records++;
	txn->bytes += txn->buf.size;
	return 0;
}

static int commit(struct wal_journal_txn *txn, unsigned flags, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t first_id;
	size_t count;
	int r = add_marker(txn, WAL_RECORD_COMMIT, txn->last_time);

	if (r)
		return r;
	r = wal_txn_commit(txn->txn, flags, &first_id, &count);
	txn->txn = NULL;
	if (r)
		return r;
	*ret_first = first_id + 1;
	*ret_last = first_id + count - 1;
	return 0;
}

int wal_journal_commit(struct wal_journal_txn *txn, unsigned flags, uint64_t *ret_first, uint64_t *ret_last)
{
	struct wal_journal *j = txn->journal;
	uint64_t first = 0, last = 0;
	int r = 0;

	if (txn->records) {
		journal_ask_if_due(j);
		r = commit(txn, flags, &first, &last);
	}
	if (r) {
		j->aborted++;
	} else if (txn->records) {
		j->committed++;
		j->records += txn->records;
		j->bytes += txn->bytes;
	}
	if (!r && ret_first)
		*ret_first = first;
	if (!r && ret_last)
		*ret_last = last;
	release(txn);
	return r;
}

void wal_journal_abort(struct wal_journal_txn *txn)
{
	if (!txn)
		return;
	txn->journal->aborted++;
	release(txn);
}
