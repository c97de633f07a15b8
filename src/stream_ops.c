/* SPDX-License-Identifier: Apache-2.0 */
/* How ops end. */
#include <stdlib.h>

#include "cleanup.h"
#include "stream_impl.h"

/* Marks ops whose submitter waits; it is woken instead of called. */
void stream_op_wakes(struct wal_op *op)
{
	(void)op;
}

void stream_op_finish(struct wal_stream *st, struct wal_op *op, int result)
{
	op->result = result;
	if (result < 0 && !op_is_sync(op))
		stream_count_append_error(st, result);
	if (result < 0 && op->internal.restored)
		*op->internal.restored->failed = true;
	if (op->done != stream_op_wakes) {
		op_list_push(&st->done, op);
		return;
	}
	struct waiting_op *waiting = container_of(op, struct waiting_op, op);
	if (st->leader == &waiting->sleeper) { /* it will not come to it */
		st->leader = NULL;
		st->sync_assigned = false;
	}
	waiting->finished = true;
	op_list_push(&st->ended, op);
}

void stream_unlock(struct wal_stream *st)
{
	struct wal_op *op = st->ended.head;

	op_list_init(&st->ended);
	pthread_mutex_unlock(&st->lock);
	while (op) {
		struct waiting_op *waiting = container_of(op, struct waiting_op, op);

		op = op->internal.next;
		sleeper_end(&waiting->sleeper);
	}
}

void op_release(struct wal_op *op)
{
	free(op->internal.payload);
	op->internal.payload = NULL;
	wal_draft_free(op->internal.draft);
	op->internal.draft = NULL;
}

void stream_call_back(struct wal_stream *st)
{
	struct wal_op *op;

	if (st->ended.head) {
		stream_unlock(st);
		pthread_mutex_lock(&st->lock);
	}
	/* A callback may submit, and come here again: then the one below on the stack goes on, so the stack does not grow with the ops. */
	if (st->calling_back)
		return;
	st->calling_back = true;
	while ((op = op_list_pop(&st->done))) {
		stream_unlock(st);
		op_release(op);
		op->done(op);
		stream_unref(st); /* the op's; the caller has its own */
		pthread_mutex_lock(&st->lock);
	}
	st->calling_back = false;
}
