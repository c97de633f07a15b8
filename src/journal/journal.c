/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a journal, and appending records to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "journal_impl.h"
#include "markers.h"
#include "txns.h"

uint64_t journal_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

static int append_marker(struct wal_journal *j, const struct wal_record *marker)
{
	struct wal_buf buf = { 0 };
	int r = wal_record_encode(marker, &buf, NULL);

	if (!r)
		r = wal_stream_append(j->stream, buf.data, buf.size, 0, NULL);
	wal_buf_release(&buf);
	return r;
}

/* Ends what others began and left open: or what is appended from now on would count as theirs. */
static int abort_open(struct wal_journal *j, uint64_t from, uint64_t end)
{
	struct txns open = { 0 };
	int r = markers_follow(j->stream, from, end, &open);

	while (!r && open.count) {
		r = append_marker(j, &(struct wal_record){ .type = WAL_RECORD_ABORT, .time = journal_now(), .transaction = open.txns[open.count - 1].number });
		if (!r) {
			open.count--;
			j->aborted_open++;
		}
	}
	txns_release(&open);
	return r;
}

static int begin_with_zero(struct wal_journal *j)
{
	return append_marker(j, &(struct wal_record){ .type = WAL_RECORD_CHECKPOINT, .time = journal_now() });
}

/* Something that can't be read is a failure here, unless it doesn't matter: what might be open stays so, and takes in what is appended next. */
static bool takes_no_appends(const struct wal_journal *j, int result)
{
	return result == -EROFS || (result == -EIO && wal_stream_health(j->stream) != WAL_HEALTHY);
}

static int load(struct wal_journal *j)
{
	struct checkpoint_found found;
	uint64_t first, next;
	int r;

	wal_stream_bounds(j->stream, &first, &next, NULL);
	r = markers_find_checkpoint(j->stream, first, next, &(struct checkpoint_limits){ 0 }, &found);
	if (r)
		return r;
	j->last_checkpoint = found.sequence;
	j->asked_at = found.id ? found.id : first;
	j->next_transaction = next;
	if (!next)
		r = begin_with_zero(j);
	else
		r = abort_open(j, found.sequence ? found.sequence + 1 : first, next);
	/* What can't be appended to can be replayed. */
	return takes_no_appends(j, r) ? 0 : r;
}

static int open_stream(struct wal_stream *stream, bool ours, const struct wal_journal_options *opts, struct wal_journal **ret, struct wal_error *err)
{
	struct wal_journal *j = calloc(1, sizeof(*j));
	int r = j ? 0 : -ENOMEM;

	if (j) {
		j->stream = stream;
		j->stream_is_ours = ours;
		j->opts = opts ? *opts : (struct wal_journal_options){ 0 };
		pthread_mutex_init(&j->checkpoint_lock, NULL);
		atomic_flag_clear(&j->asking);
		r = load(j);
	}
	if (r) {
		if (err) {
			*err = (struct wal_error){ .code = r };
			snprintf(err->message, sizeof(err->message), "journal '%s': %s", wal_stream_name(stream), wal_strerror(r));
		}
		if (j)
			j->stream_is_ours = false;
		wal_journal_close(j);
		return r;
	}
	*ret = j;
	return 0;
}

int wal_journal_open(struct wal_store *store, const char *name, const struct wal_journal_options *opts, struct wal_journal **ret_journal,
		     struct wal_error *err)
{
	struct wal_stream *stream;
	int r = wal_stream_open(store, name, wal_store_options(store)->ro ? 0 : WAL_CREATE, &stream, err);

	if (r)
		return r;
	r = open_stream(stream, true, opts, ret_journal, err);
	if (r)
		wal_stream_close(stream);
	return r;
}

int wal_journal_open_stream(struct wal_stream *stream, const struct wal_journal_options *opts, struct wal_journal **ret_journal, struct wal_error *err)
{
	return open_stream(stream, false, opts, ret_journal, err);
}

void wal_journal_close(struct wal_journal *j)
{
	if (!j)
		return;
	pthread_mutex_destroy(&j->checkpoint_lock);
	if (j->stream_is_ours)
		wal_stream_close(j->stream);
	free(j);
}

struct wal_stream *wal_journal_stream(struct wal_journal *j)
{
	return j->stream;
}

int wal_journal_append(struct wal_journal *j, const struct wal_record *record, unsigned flags, uint64_t *ret_sequence)
{
	struct wal_record stamped = *record;
	struct wal_buf buf = { 0 };
	int r;

	if (record_is_marker(record))
		return -EINVAL;
	if (!stamped.time)
		stamped.time = journal_now();
	journal_ask_if_due(j);
	r = wal_record_encode(&stamped, &buf, NULL);
	if (!r)
		r = wal_stream_append(j->stream, buf.data, buf.size, flags, ret_sequence);
	if (!r) {
		j->records++;
		j->bytes += buf.size;
	}
	wal_buf_release(&buf);
	return r;
}

int wal_journal_flush(struct wal_journal *j)
{
	return wal_stream_sync(j->stream);
}

uint64_t wal_journal_current_sequence(struct wal_journal *j)
{
	uint64_t next;

	wal_stream_bounds(j->stream, NULL, &next, NULL);
	return next;
}

uint64_t wal_journal_last_checkpoint_sequence(struct wal_journal *j)
{
	return j->last_checkpoint;
}

void wal_journal_stat(struct wal_journal *j, struct wal_journal_stat *ret)
{
	*ret = (struct wal_journal_stat){
		.records = j->records,
		.bytes = j->bytes,
		.committed = j->committed,
		.aborted = j->aborted,
		.aborted_open = j->aborted_open,
		.checkpoints = j->checkpoints,
		.checkpoint_failures = j->checkpoint_failures,
		.checkpoint_result = j->checkpoint_result,
		.pruned_segments = j->pruned_segments,
	};
}
