/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: the record that says up to where the application's state is durable, then the segments that nobody needs any more.
 *
 * The record is durable, and with it everything before it, before the first segment is dropped: a crash in between leaves segments too many, never
 * too few. What is dropped lies below what the record covers, so the record itself is never among it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "journal_impl.h"

static int record_checkpoint(struct wal_journal *j, uint64_t applied)
{
	const struct wal_record record = { .type = WAL_RECORD_CHECKPOINT, .time = journal_now(), .sequence = applied };
	struct wal_buf buf = { 0 };
	int r = wal_record_encode(&record, &buf, NULL);

	if (!r)
		r = wal_stream_append(j->stream, buf.data, buf.size, WAL_DURABLE, NULL);
	wal_buf_release(&buf);
	if (r)
		return r;
	j->last_checkpoint = applied;
	j->checkpoints++;
	return 0;
}

static int drop_segments(struct wal_journal *j, uint64_t applied)
{
	uint64_t *first_ids, limit, dropped = 0;
	size_t count;
	int r;

	if (!j->opts.retain_segments)
		return 0;
	r = wal_stream_segments(j->stream, &first_ids, &count);
	if (r)
		return r;
	limit = count > j->opts.retain_segments ? first_ids[count - j->opts.retain_segments] : 0;
	free(first_ids);
	if (limit > applied + 1)
		limit = applied + 1;
	r = wal_stream_prune(j->stream, limit, &dropped);
	j->pruned_segments += dropped;
	return r;
}

static int refuse(const struct wal_journal *j, uint64_t applied, const char *expected, uint64_t number, struct wal_error *err)
{
	if (err) {
		*err = (struct wal_error){ .code = -EINVAL };
		snprintf(err->message, sizeof(err->message), "journal '%s': a checkpoint: expected a number %s %" PRIu64 ", found %" PRIu64,
			 wal_stream_name(j->stream), expected, number, applied);
	}
	return -EINVAL;
}

static int checkpoint_locked(struct wal_journal *j, uint64_t applied, struct wal_error *err)
{
	uint64_t next = wal_journal_current_sequence(j), last = j->last_checkpoint;
	int r;

	if (applied && applied >= next)
		return refuse(j, applied, "below the next one,", next, err);
	if (applied < last)
		return refuse(j, applied, "not below that of the last checkpoint,", last, err);
	if (applied == last)
		return 0;
	r = record_checkpoint(j, applied);
	j->asked_at = wal_journal_current_sequence(j);
	if (!r)
		r = drop_segments(j, applied);
	if (r && err) {
		*err = (struct wal_error){ .code = r };
		snprintf(err->message, sizeof(err->message), "journal '%s': a checkpoint of %" PRIu64 ": %s", wal_stream_name(j->stream), applied, wal_strerror(r));
	}
	return r;
}

static void note_result(struct wal_journal *j, int result)
{
	j->checkpoint_result = result;
	if (result)
		j->checkpoint_failures++;
}

int wal_journal_checkpoint(struct wal_journal *j, uint64_t applied, struct wal_error *err)
{
	int r;

	pthread_mutex_lock(&j->checkpoint_lock);
	r = checkpoint_locked(j, applied, err);
	note_result(j, r);
	pthread_mutex_unlock(&j->checkpoint_lock);
	return r;
}

static void ask(struct wal_journal *j, uint64_t next)
{
	uint64_t applied = 0;
	int r = j->opts.checkpoint(j->opts.arg, next - 1, &applied);

	/* Another thread's checkpoint may have gone beyond it meanwhile. */
	if (r)
		note_result(j, r < 0 ? r : -EINVAL);
	else if (applied > j->last_checkpoint)
		wal_journal_checkpoint(j, applied, NULL);
}

void journal_ask_if_due(struct wal_journal *j)
{
	uint64_t next, asked_at;

	if (!j->opts.checkpoint_interval || !j->opts.checkpoint)
		return;
	next = wal_journal_current_sequence(j);
	asked_at = j->asked_at;
	if (next < asked_at || next - asked_at < j->opts.checkpoint_interval || atomic_flag_test_and_set(&j->asking))
		return;
	/* Set before: it must not be asked again at each append while, or because, the application can't. */
	j->asked_at = next;
	ask(j, next);
	atomic_flag_clear(&j->asking);
}
