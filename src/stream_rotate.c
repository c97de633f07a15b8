/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing the active segment and starting the next one at id N.
 *
 * The crash order:
 *	1	the old segment is fdatasynced: whatever is in a sealed segment is durable, in every sync mode
 *	2	its sidecar is completed (a cache: if it is lost it is made again)
 *	3	N.wal is created, allocated and fsynced, an empty N.meta is created, the directory fsynced
 *	4	the old file is cut to its length and fsynced
 *	5	N is appended to segments.idx, which is fdatasynced
 *	6	head.state is replaced: N is the active segment
 *	7	in memory, appends go to N
 *
 * Between 3 and 6 a crash leaves an empty N.wal that the two small files may not name yet: the next open finds by the old segment's last id whether N is
 * its successor, and finishes the job; or, if the rotation was given up and the old segment went on, removes it.
 *
 * A step that fails takes back what came before: the stream goes on in the old segment.
 *
 * Skipping ids is the same with an N above the old segment's next id (see stream_skip.c). The old file is then cut before 3, and between that and 3 comes
 *	2a	a record of the skipped ids: "<old segment>.damaged.<n>", fsynced, then the directory
 * so that who finds N.wal knows why ids are missing before it; a record that no segment follows is removed by the next open. With 7 the old segment's sidecar gets
 * the gap. Taking it back means that head.state names the old segment again, then N.wal goes, then the record; where that fails the stream stops and the rest is left to the next open.
 */
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "damagerec.h"
#include "names.h"
#include "scan.h"
#include "stream_impl.h"

struct rotation {
	struct wal_stream *st;
	struct sys *sys;
	uint64_t old_id;
	uint64_t from; /* the old one's next id */
	uint64_t id;   /* the new one's first: `from`, or the ids between are skipped */
	size_t index;  /* how many segments there are before the new one */
	uint64_t end; /* of the old one */
	struct segment *old;
	int dir_fd;
	int fd; /* the new segment's */
	bool cut;   /* the old one has been, or may have been */
	bool stuck; /* the new one could not be taken back */
	bool synced; /* the old one has been, */
	bool sync_failed; /* or could not be; neither: it was not tried */
	uint64_t allocated;
	struct stream_skip *skip; /* NULL: none are skipped */
	bool head_changed;
};

static int seal_meta(struct wal_stream *st, struct segment *segment, uint64_t end)
{
	struct sys *sys = st->engine->env.sys;
	int fd = st->meta_fd >= 0 ? st->meta_fd : segment->meta_fd;

	/* The holder of `writing` alone changes st->meta, and that is the caller; meta_lock keeps flushes out. */
	pthread_mutex_lock(&st->meta_lock);
	uint8_t block[META_BLOCK_BYTES];
	memcpy(block, st->meta.block, META_OFF_RECORDS + st->meta.used);
	meta_block_seal(block, st->meta.used, end);
	int result = sys_pwrite_full(sys, fd, block, META_BLOCK_BYTES, st->meta.block_no * META_BLOCK_BYTES);
	if (result == 0)
		result = sys->ftruncate(sys, fd, (st->meta.block_no + 1) * META_BLOCK_BYTES);
	if (result == 0)
		result = sys->fdatasync(sys, fd);
	pthread_mutex_unlock(&st->meta_lock);
	return result;
}

struct gap_writer {
	struct meta_writer writer;
	struct sys *sys;
	int fd;
};

static int emit_block(struct meta_writer *w, uint64_t block_no, uint8_t block[META_BLOCK_BYTES])
{
	struct gap_writer *g = container_of(w, struct gap_writer, writer);

	return sys_pwrite_full(g->sys, g->fd, block, META_BLOCK_BYTES, block_no * META_BLOCK_BYTES);
}

/*
 * The sidecar of the old segment leads up to the new one. Caller holds st->meta_lock, and goes on to make the segment a sealed one: a flush in between would take the gap out again. What is in
 * memory stays as it is, for those who read there.
 */
static void seal_gap(struct rotation *r)
{
	struct wal_stream *st = r->st;
	uint8_t block[META_BLOCK_BYTES];
	struct gap_writer g = { .writer = st->meta, .sys = r->sys, .fd = st->meta_fd >= 0 ? st->meta_fd : r->old->meta_fd };

	memcpy(block, st->meta.block, META_OFF_RECORDS + st->meta.used);
	g.writer.block = block;
	g.writer.emit = emit_block;
	g.writer.durable = r->end;
	int result = meta_writer_gap(&g.writer, r->id - r->from, 0);
	meta_block_seal(block, g.writer.used, r->end);
	if (result == 0)
		result = emit_block(&g.writer, g.writer.block_no, block);
	/* Only a cache: without the gap it is made anew by who reads there. */
	if (result == 0)
		r->sys->ftruncate(r->sys, g.fd, (g.writer.block_no + 1) * META_BLOCK_BYTES);
}

/*
 * r->fd becomes its descriptor, or < 0. A file of the new segment's name, from a rotation that was given up and could not be taken back, holds no frame: it is used. One that holds anything is not
 * this library's to overwrite.
 */
static void reuse_empty(struct rotation *r, const char *name)
{
	struct scan scan;
	struct stat sb;
	int zero;

	r->fd = sys_open_regular(r->sys, r->dir_fd, name, O_RDWR, 0);
	if (r->fd < 0)
		return;
	int result = r->sys->fstat(r->sys, r->fd, &sb);
	if (result == 0)
		result = scan_init(&scan, r->sys, r->fd, r->id, (uint64_t)sb.st_size, 64 * 1024);
	if (result == 0) {
		zero = scan_is_zero(&scan, 0, (uint64_t)sb.st_size);
		scan_release(&scan);
		result = zero == 1 ? r->sys->ftruncate(r->sys, r->fd, 0) : zero == 0 ? -EEXIST : zero;
	}
	if (result < 0) {
		sys_close(r->sys, &r->fd);
		r->fd = result;
	}
}

/* Step 3. */
static int create_next(struct rotation *r)
{
	struct wal_stream *st = r->st;
	const struct env *env = &st->engine->env;
	char name[NAME_SEGMENT_MAX];
	int result;

	name_segment(name, r->id);
	r->fd = r->sys->openat(r->sys, r->dir_fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (r->fd == -EEXIST)
		reuse_empty(r, name);
	if (r->fd < 0)
		return r->fd;
	/* Room for the first frames, and for what drafts have reserved in the old segment so far: it must be theirs again. */
	pthread_mutex_lock(&st->space_lock);
	bool can = !st->no_fallocate;
	uint64_t step = stream_allocation_step(0, env->opts.segment_size);
	uint64_t want = st->reserved > step ? st->reserved : step;
	pthread_mutex_unlock(&st->space_lock);
	result = can ? r->sys->fallocate(r->sys, r->fd, 0, want) : 0;
	if (result == 0 && can)
		r->allocated = want;
	if (result == -EOPNOTSUPP || result == -ENOSYS)
		result = 0;
	if (result == 0)
		result = r->sys->fsync(r->sys, r->fd);
	if (result == 0)
		result = stream_create_meta(st, r->dir_fd, r->id);
	if (result == 0)
		result = r->sys->fsync(r->sys, r->dir_fd);
	return result;
}

/* Steps 5 and 6. */
static int name_next(struct rotation *r)
{
	struct wal_stream *st = r->st;
	struct id_array all = { 0 };
	int result = 0;

	if (r->skip)
		st->index_unsure = true;
	if (st->index_unsure) {
		for (size_t i = 0; i < r->index && result == 0; i++)
			result = id_array_push(&all, st->segments.ids[i]);
		if (result == 0)
			result = id_array_push(&all, r->id);
		if (result == 0)
			result = segindex_store(r->sys, r->dir_fd, &all, 0600);
		id_array_release(&all);
		if (result == 0 && !r->skip)
			st->index_unsure = false;
	} else {
		result = segindex_append(r->sys, r->dir_fd, r->index, r->id);
	}

	r->head_changed = result == 0;
	if (result == 0)
		result = headstate_store(r->sys, r->dir_fd, r->id, 0600);
	if (result == 0)
		st->index_unsure = false;
	return result;
}

/* Step 2a. */
static int record_skip(struct rotation *r)
{
	const struct damage_record record = { .skipped = true, .segment = r->old_id, .offset = r->end, .first_id = r->from, .ids = r->id - r->from };
	uint64_t size;
	int fd = damage_record_create(&r->st->engine->env, r->dir_fd, &record, r->skip->record, &size);

	if (fd < 0) {
		r->skip->record[0] = '\0';
		return fd;
	}
	int result = r->sys->fsync(r->sys, fd);
	sys_close(r->sys, &fd);
	return result == 0 ? r->sys->fsync(r->sys, r->dir_fd) : result;
}

/* What of it was done. The record goes last: without it the rest would look like damage. */
static int take_back_skip(struct rotation *r, bool created)
{
	char name[NAME_SEGMENT_MAX];
	int result = r->head_changed ? headstate_store(r->sys, r->dir_fd, r->old_id, 0600) : 0;

	if (result == 0 && created)
		result = r->sys->unlinkat(r->sys, r->dir_fd, name_segment(name, r->id), 0);
	if (result == 0 && created) {
		r->sys->unlinkat(r->sys, r->dir_fd, name_meta(name, r->id), 0);
		result = r->sys->fsync(r->sys, r->dir_fd);
	}
	if (result == 0 && r->skip->record[0])
		result = r->sys->unlinkat(r->sys, r->dir_fd, r->skip->record, 0);
	return result == 0 ? r->sys->fsync(r->sys, r->dir_fd) : result;
}

/* What of steps 3 to 6 was done. The index may keep the id at its end: whoever appends to it or opens the stream next puts it right. */
static void take_back(struct rotation *r)
{
	char name[NAME_SEGMENT_MAX];

	bool created = r->fd >= 0;
	sys_close(r->sys, &r->fd);
	int result = r->skip ? take_back_skip(r, created) : r->sys->unlinkat(r->sys, r->dir_fd, name_segment(name, r->id), 0);
	if (!r->skip) {
		r->sys->unlinkat(r->sys, r->dir_fd, name_meta(name, r->id), 0);
		if (result == 0)
			result = r->sys->fsync(r->sys, r->dir_fd);
	}
	/* With the file still there the old segment must not go on beyond its id, unless the next open has sorted that out. */
	r->stuck = result < 0;
	/* The old file goes on, with room for what drafts have reserved. */
	if (r->cut)
		stream_cut(r->st, r->old, r->end);
}

/* Step 7. Under both locks, so that neither a reservation nor a reader sees half of it. */
static int switch_over(struct rotation *r)
{
	struct wal_stream *st = r->st;
	int result;

	pthread_mutex_lock(&st->meta_lock);
	pthread_mutex_lock(&st->space_lock);
	/* Reservations that came since step 3. */
	if (r->allocated > 0 && st->reserved > r->allocated) {
		result = r->sys->fallocate(r->sys, r->fd, r->allocated, st->reserved - r->allocated);
		if (result < 0)
			goto out;
		r->allocated = st->reserved;
	}
	if (r->skip)
		seal_gap(r);
	pthread_mutex_lock(&st->lock);
	/* What the old segment holds is durable, and so visible before the segment is sealed. */
	st->durable_id = r->from;
	stream_advance(st);
	result = id_array_push(&st->segments, r->id);
	if (result == 0 && st->meta_fd >= 0) {
		result = id_array_push(&st->old_meta_fds, (uint64_t)st->meta_fd);
		if (result == 0)
			st->meta_fd = -1;
		else
			st->segments.count--;
	}
	if (result == 0) {
		struct meta_pos at = { .id = r->id, .last_time = st->meta.at.last_time };

		if (r->skip) {
			stream_see_cut(st);
			st->next_id = st->durable_id = r->id;
			if (r->skip->drops_old) {
				st->segments.ids[0] = r->id;
				st->segments.count = 1;
			}
		}
		st->allocated = r->allocated;
		st->zeroed = 0;
		st->active.first_id = r->id;
		st->active.end = 0;
		st->active.frames = st->active.durable_frames = 0;
		st->active.durable_end = 0;
		meta_writer_begin(&st->meta, r->id, &at, 0, st->meta.block);
		st->meta_common = 0;
		st->meta_full = 0;
		/* In the same moment: a segment that is sealed without entries begins where the ids that are visible would end. */
		if (r->skip)
			stream_publish(st);
	}
	stream_unlock(st);
out:
	pthread_mutex_unlock(&st->space_lock);
	pthread_mutex_unlock(&st->meta_lock);
	return result;
}

/* Step 4. */
static int cut_old(struct rotation *r)
{
	r->cut = true;
	int result = r->sys->ftruncate(r->sys, r->old->fd, r->end);

	return result < 0 ? result : r->sys->fsync(r->sys, r->old->fd);
}

static int build_next(struct rotation *r)
{
	int result;

	r->dir_fd = segment_open_dir(&r->st->engine->env, r->st->name);
	if (r->dir_fd < 0)
		return r->dir_fd;
	result = r->skip ? cut_old(r) : 0;
	if (result == 0 && r->skip)
		result = record_skip(r);
	if (result == 0)
		result = create_next(r);
	if (result == 0 && !r->skip)
		result = cut_old(r);
	if (result == 0)
		result = name_next(r);
	if (result == 0)
		result = switch_over(r);
	if (result < 0 && (r->fd >= 0 || r->skip))
		take_back(r);
	/* A reservation may have come between, and room that the old one does not need any more would look like lost bytes. */
	if (result == 0 && r->skip)
		(void)cut_old(r);
	sys_close(r->sys, &r->fd);
	sys_close(r->sys, &r->dir_fd);
	return result;
}

/* No lock held, both tokens are. */
static int rotate(struct rotation *r)
{
	struct wal_stream *st = r->st;
	int result = stream_pin_active(st, &r->old);

	if (result < 0)
		return result;
	uint64_t begin_ns = stats_clock();
	result = r->sys->fdatasync(r->sys, r->old->fd);
	pthread_mutex_lock(&st->lock);
	stream_count_sync(st, begin_ns, r->from, result);
	pthread_mutex_unlock(&st->lock);
	r->synced = result == 0;
	r->sync_failed = result < 0;
	if (result == 0) {
		/* Only a cache: what is wrong with it shows, and is mended, when it is next opened. */
		seal_meta(st, r->old, r->end);
		result = build_next(r);
	}
	/* Not one that readers have opened as sealed since: they may be making its sidecar, which two must not do at once. */
	if (result == 0)
		segcache_forget_this(st->engine->segcache, r->old);
	segcache_put(st->engine->segcache, r->old);
	return result;
}

static int rotate_to(struct wal_stream *st, uint64_t id, struct stream_skip *skip)
{
	struct rotation r = { .st = st, .sys = st->engine->env.sys, .dir_fd = -1, .fd = -1, .id = id, .skip = skip };

	stream_take_syncing(st);
	if (st->health != WAL_HEALTHY) {
		stream_give_syncing(st);
		return -EIO;
	}
	r.old_id = st->active.first_id;
	r.from = st->next_id;
	r.index = skip && skip->drops_old ? 0 : st->segments.count;
	r.end = st->active.end;
	st->touched = true;
	pthread_mutex_unlock(&st->lock);

	int result = rotate(&r);

	pthread_mutex_lock(&st->lock);
	stats_add(&stream_stats(st)->rotations, result == 0);
	if (r.synced) {
		st->durable_id = result == 0 ? r.id : r.from;
		if (result < 0) {
			st->active.durable_end = r.end;
			st->active.durable_frames = st->active.frames;
		}
	}
	/* Before the token goes, so that nobody syncs what this found unsyncable. */
	if (r.sync_failed)
		stream_mark_stopped(st, result, "syncing the segment to be sealed");
	else if (r.stuck)
		stream_mark_stopped(st, result, "taking back a rotation that failed");
	stream_give_syncing(st);
	stream_advance(st);
	return r.sync_failed ? -EIO : result;
}

int stream_rotate(struct wal_stream *st)
{
	return rotate_to(st, st->next_id, NULL);
}

int stream_rotate_skipping(struct wal_stream *st, uint64_t id, struct stream_skip *skip)
{
	return rotate_to(st, id, skip);
}

int wal_stream_rotate(struct wal_stream *st)
{
	if (st->engine->env.opts.ro)
		return -EROFS;
	pthread_mutex_lock(&st->lock);
	int result = stream_take_writing(st);
	if (result == 0) {
		if (st->active.end > 0)
			result = stream_rotate(st);
		/* Who asks for it may be about to prune, for want of room. */
		if (result == -ENOSPC || result == -EDQUOT) {
			pthread_mutex_unlock(&st->lock);
			int given = stream_give_back_space(st);
			pthread_mutex_lock(&st->lock);
			if (given == 0 && st->health == WAL_HEALTHY)
				result = stream_rotate(st);
		}
		stream_give_writing(st);
	}
	stream_call_back(st);
	pthread_mutex_unlock(&st->lock);
	return result;
}

int stream_finish(struct wal_stream *st)
{
	struct sys *sys = st->engine->env.sys;
	struct segment *segment;

	if (st->health == WAL_STOPPED)
		return -EIO; /* what was not durable when it stopped may be lost */
	if (st->engine->env.opts.ro || !st->touched || st->health != WAL_HEALTHY || st->deleted)
		return 0;
	int result = stream_pin_active(st, &segment);
	if (result < 0)
		return result;
	uint64_t end = st->active.end;
	int cut = sys->ftruncate(sys, segment->fd, end);
	result = sys->fsync(sys, segment->fd);
	if (result == 0)
		result = cut;
	if (result == 0) {
		st->active.durable_end = end;
		seal_meta(st, segment, end);
		st->touched = false;
	}
	segcache_put(st->engine->segcache, segment);
	return result;
}
