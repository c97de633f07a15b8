/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WAL_JOURNAL_IMPL_H
#define WAL_JOURNAL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "wal_journal.h"

/*
 * No lock of a journal is held over a call of the application, nor taken on the way of an append.
 *
 * checkpoint_lock	one checkpoint at a time is compared with the last one, recorded, and followed by a prune
 * asking		whoever sets it asks the application for a checkpoint; others append meanwhile without asking
 */
struct wal_journal {
	struct wal_stream *stream;
	bool stream_is_ours;
	struct wal_journal_options opts;

	pthread_mutex_t checkpoint_lock;
	_Atomic uint64_t last_checkpoint; /* what it covers; written under checkpoint_lock */
	_Atomic uint64_t asked_at;	  /* the next id when a checkpoint was last made or asked for */
	atomic_flag asking;

	_Atomic uint64_t next_transaction;
	_Atomic uint64_t records, bytes, committed, aborted, checkpoints, checkpoint_failures, pruned_segments;
	uint64_t aborted_open; /* written at open only */
	atomic_int checkpoint_result;
};

/* Unix time in seconds. */
uint64_t journal_now(void);

/* Asks for a checkpoint if it is time for one: before each append. */
void journal_ask_if_due(struct wal_journal *j);

static inline bool record_is_marker(const struct wal_record *record)
{
	return record->type >= WAL_RECORD_CHECKPOINT && record->type <= WAL_RECORD_ABORT;
}

#endif
