/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal_stream_skip(): the stream goes on with a later id, N.
 *
 * It is a rotation to N (stream_rotate.c has the order). In a stream that holds entries the ids between stay lost in the segment that is sealed by it, whose ".damaged" record tells of them for as long
 * as the segment is there. One that holds none is to have nothing before N at all:
 *	1	as that rotation, but segments.idx is replaced by one that lists N alone
 *	2	the old segment, which is empty, is unlinked, its sidecar too, the directory fsynced
 *	3	the record is unlinked: nobody asks for ids before the first
 * A crash before N.wal has its name leaves the stream as it was, and perhaps a record, which the next open removes. From then on, with the record there, the next open goes on with N: the empty
 * segment before it, all of whose ids were skipped, is dropped (recover_skip.c).
 */
#include <errno.h>

#include "cleanup.h"
#include "stream_impl.h"

/* Step 3. Caller holds `pruning`, and no lock. */
static int remove_record(struct wal_stream *st, const char *name)
{
	struct sys *sys = st->engine->env.sys;
	int dir_fd = segment_open_dir(&st->engine->env, st->name);

	if (dir_fd < 0)
		return dir_fd;
	int result = sys->unlinkat(sys, dir_fd, name, 0);
	if (result == 0 || result == -ENOENT)
		result = sys->fsync(sys, dir_fd);
	sys_close(sys, &dir_fd);
	return result;
}

/* Caller holds `writing`, `pruning` and st->lock, which is released meanwhile. */
static int skip_to(struct wal_stream *st, uint64_t id, struct stream_skip *skip)
{
	uint64_t old_id = st->active.first_id;
	int result = 0;

	if (id < st->next_id || id > NEXT_ID_MAX)
		return -EINVAL;
	if (id == st->next_id)
		return 0;
	skip->drops_old = st->segments.count == 1 && st->next_id == old_id && st->active.end == 0;
	/* Had before anything is done, as it can't be taken back. */
	if (skip->drops_old)
		result = id_array_push(&st->doomed, old_id);
	if (result == 0)
		result = stream_rotate_skipping(st, id, skip);
	if (result < 0 && skip->drops_old && st->doomed.count > 0 && st->doomed.ids[st->doomed.count - 1] == old_id)
		st->doomed.count--;
	return result;
}

int wal_stream_skip(struct wal_stream *st, uint64_t next_id)
{
	struct stream_skip skip = { 0 };
	uint64_t removed;

	if (st->engine->env.opts.ro)
		return -EROFS;
	pthread_mutex_lock(&st->lock);
	stream_take_pruning(st);
	int result = stream_take_writing(st);
	if (result == 0) {
		result = skip_to(st, next_id, &skip);
		stream_give_writing(st);
	}
	bool litter = result == 0 && skip.drops_old && !st->deleted;
	pthread_mutex_unlock(&st->lock);
	/* What of this fails is litter that the next open removes: the stream goes on with the new id, durably. */
	if (litter && stream_remove_doomed(st, &removed) == 0)
		(void)remove_record(st, skip.record);
	pthread_mutex_lock(&st->lock);
	stream_give_pruning(st);
	stream_call_back(st);
	pthread_mutex_unlock(&st->lock);
	return result;
}
