/* SPDX-License-Identifier: Apache-2.0 */
#include "syncs.h"

#include "cleanup.h"

void syncs_begin(struct syncs *syncs)
{
	*syncs = (struct syncs){ 0 };
	pthread_mutex_init(&syncs->lock, NULL);
	pthread_cond_init(&syncs->done, NULL);
}

static void sync_done(struct wal_op *op)
{
	struct syncs *syncs = container_of(op, struct sync_item, op)->syncs;

	LOCKED_SCOPE(&syncs->lock);
	if (--syncs->pending == 0)
		pthread_cond_signal(&syncs->done);
}

static void submit(struct syncs *syncs, struct sync_item *item)
{
	pthread_mutex_lock(&syncs->lock);
	syncs->pending++;
	pthread_mutex_unlock(&syncs->lock);
	item->op = (struct wal_op){ .done = sync_done };
	wal_stream_submit(item->stream, &item->op);
}

void syncs_add(struct syncs *syncs, struct sync_item *item, struct wal_stream *stream)
{
	item->syncs = syncs;
	item->stream = stream;
	if (syncs->own)
		submit(syncs, syncs->own);
	syncs->own = item;
}

void syncs_wait(struct syncs *syncs)
{
	if (syncs->own)
		syncs->own->op.result = wal_stream_sync(syncs->own->stream);
	pthread_mutex_lock(&syncs->lock);
	while (syncs->pending > 0)
		pthread_cond_wait(&syncs->done, &syncs->lock);
	pthread_mutex_unlock(&syncs->lock);
	pthread_cond_destroy(&syncs->done);
	pthread_mutex_destroy(&syncs->lock);
}
