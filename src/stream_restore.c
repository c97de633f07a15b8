/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending entries with the ids and times that they have had elsewhere. They go in windows of a few ops at a time: each op becomes a frame, and those of a window go to the queue together, so that small ones
 * share a write. That an op gets the ids it is to have is looked at when ids are given out (stream_may_restore()), and so nothing else can come in between unnoticed.
 *
 * A frame's time is kept by the sidecar, entry number k having k ns more. So a run of entries 1 ns apart loses nothing by being one frame.
 */
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "stream_impl.h"

struct restore {
	struct wal_stream *stream;
	const struct wal_entry *entries;
	size_t count;
	unsigned flags;
	size_t next;	   /* the first entry that no window has had */
	int64_t last_time; /* of the one before, as it will be unless what is there makes them later */
	bool failed;	   /* protected by stream->lock */
	struct window {
		struct frame {
			struct wal_op op;
			struct window *window;
		} frames[GROUP_OPS_MAX];
		struct wal_restored restored[GROUP_OPS_MAX];
		size_t count;
		struct iovec *entries;
		pthread_mutex_t lock;
		pthread_cond_t done;
		size_t pending; /* protected by lock */
	} window;
};

static int64_t time_of(const struct restore *r, size_t i, int64_t before)
{
	int64_t time = r->entries[i].time_ns;

	if (time > RESTORED_TIME_MAX)
		time = RESTORED_TIME_MAX;
	if (time < RESTORED_TIME_MIN)
		time = RESTORED_TIME_MIN;
	return time > before ? time : before + 1;
}

/* How many entries from r->next on go into one frame, and *ret_bytes it takes. */
static size_t run_length(const struct restore *r, uint64_t *ret_bytes)
{
	const struct wal_options *opts = &r->stream->engine->env.opts;
	uint64_t entries_max = opts->segment_entries ? opts->segment_entries : UINT64_MAX, payload = 0;
	int64_t time = r->last_time;
	size_t n = 0;

	for (; r->next + n < r->count && n < entries_max && n < UINT32_MAX / FRAME_LENGTH_BYTES; n++) {
		uint64_t more = FRAME_LENGTH_BYTES + (uint64_t)r->entries[r->next + n].size;
		int64_t next = time_of(r, r->next + n, time);

		if (n > 0 && (next != time + 1 || payload + more > UINT32_MAX || FRAME_HEADER_BYTES + payload + more > opts->segment_size))
			break;
		time = next;
		payload += more;
	}
	*ret_bytes = FRAME_HEADER_BYTES + payload;
	return n;
}

static void frame_done(struct wal_op *op)
{
	struct window *w = container_of(op, struct frame, op)->window;

	LOCKED_SCOPE(&w->lock);
	if (--w->pending == 0)
		pthread_cond_signal(&w->done);
}

/* Puts the next frames together, whose entries begin at *ret_first. */
static int fill_window(struct restore *r, size_t *ret_first)
{
	struct window *w = &r->window;
	uint64_t bytes = 0, frame_bytes;

	*ret_first = r->next;
	w->count = 0;
	while (w->count < GROUP_OPS_MAX && r->next < r->count) {
		struct frame *f = &w->frames[w->count];
		size_t n = run_length(r, &frame_bytes);

		/* What is compressed or a batch is in memory twice until it is written. */
		if (w->count > 0 && bytes + frame_bytes > r->stream->engine->env.opts.write_buffer)
			break;
		bytes += frame_bytes;
		f->op = (struct wal_op){ .done = frame_done, .count = n };
		f->window = w;
		w->restored[w->count] =
			(struct wal_restored){ .first_id = r->entries[r->next].id, .time_ns = time_of(r, r->next, r->last_time), .failed = &r->failed };
		r->last_time = w->restored[w->count].time_ns + (int64_t)(n - 1);
		r->next += n;
		w->count++;
	}
	/* What is durable at the end makes all before it so. */
	if (r->next == r->count)
		w->frames[w->count - 1].op.flags = r->flags & WAL_DURABLE;
	w->entries = calloc(r->next - *ret_first, sizeof *w->entries);
	return w->entries ? 0 : -ENOMEM;
}

/* *ret_count grows by what was appended. */
static int write_window(struct restore *r, size_t first, size_t *ret_count)
{
	struct window *w = &r->window;
	struct wal_op *ops[GROUP_OPS_MAX];
	int result = 0;

	for (size_t i = 0, at = first; i < w->count; i++) {
		ops[i] = &w->frames[i].op;
		ops[i]->entries = w->entries + (at - first);
		for (size_t e = 0; e < ops[i]->count; e++, at++)
			w->entries[at - first] = (struct iovec){ (void *)r->entries[at].data, r->entries[at].size };
	}
	w->pending = w->count;
	stream_submit_restored(r->stream, ops, w->restored, w->count);
	pthread_mutex_lock(&w->lock);
	while (w->pending > 0)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < w->count && result == 0; i++) {
		result = ops[i]->result;
		if (result == 0)
			*ret_count += ops[i]->count;
	}
	return result;
}

static int check(const struct wal_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].size > WAL_ENTRY_SIZE_MAX)
			return -EFBIG;
		if (entries[i].id != entries[0].id + i)
			return -EINVAL;
	}
	return 0;
}

int wal_stream_restore(struct wal_stream *st, const struct wal_entry *entries, size_t count, unsigned flags, size_t *ret_count)
{
	int result = check(entries, count);
	size_t done = 0, first;

	if (ret_count)
		*ret_count = 0;
	if (result < 0) {
		stream_count_append_error(st, result);
		return result;
	}
	if (count == 0 || st->engine->env.opts.ro)
		return count == 0 ? 0 : -EROFS;
	struct restore *r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->stream = st;
	r->entries = entries;
	r->count = count;
	r->flags = flags;
	pthread_mutex_init(&r->window.lock, NULL);
	pthread_cond_init(&r->window.done, NULL);
	while (r->next < count && result == 0) {
		result = fill_window(r, &first);
		if (result == 0)
			result = write_window(r, first, &done);
		free(r->window.entries);
	}
	pthread_cond_destroy(&r->window.done);
	pthread_mutex_destroy(&r->window.lock);
	free(r);
	if (ret_count)
		*ret_count = done;
	return result;
}
