/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for frames before they are written. The active segment is allocated ahead, so that a frame needs no new blocks and its fdatasync no change of the
 * file's size; and drafts reserve in it, so that a full disk is met when bytes are handed over and not when they are committed.
 *
 * What is only allocated reads as zeros, but when a block of it is first written, the sync after that has to make durable too that it now holds something: a second write, in another
 * place, which takes about as long again. So where little is written between two syncs, zeros go before the frames, for many of them at once.
 *
 * Always: allocated >= active.end + in_flight + reserved, except where the file system can't allocate ahead.
 */
#include <errno.h>

#include "cleanup.h"
#include "stream_impl.h"

#define STEP_MIN (64ull << 10)
#define STEP_MAX (8ull << 20)

enum {
	ZEROS_MIN = 16 << 10,
	ZEROS_MAX = 128 << 10,
	ZEROS_PIECE = 4096,
};

uint64_t stream_allocation_step(uint64_t end, uint64_t segment_size)
{
	uint64_t step = STEP_MIN;

	/* A small stream stays small, a large one is extended seldom. */
	while (step < end && step < STEP_MAX)
		step *= 2;
	if (end < segment_size && step > segment_size - end)
		step = segment_size - end;
	return step;
}

/* Caller holds st->space_lock. */
static int extend(struct wal_stream *st, struct segment *segment, uint64_t need)
{
	struct sys *sys = st->engine->env.sys;
	uint64_t target = st->allocated + stream_allocation_step(st->allocated, st->engine->env.opts.segment_size);

	if (target < need)
		target = need;
	int result = sys->fallocate(sys, segment->fd, st->allocated, target - st->allocated);
	/* The last room there is must be usable too. */
	if ((result == -ENOSPC || result == -EDQUOT) && target > need) {
		target = need;
		result = sys->fallocate(sys, segment->fd, st->allocated, target - st->allocated);
	}
	if (result == -EOPNOTSUPP || result == -ENOSYS) {
		log_write(&st->engine->env.log, WAL_LOG_INFO,
			  "stream '%s': the file system can't allocate ahead, a full disk may show at commit", st->name);
		st->no_fallocate = true;
		return 0;
	}
	if (result == 0)
		st->allocated = target;
	return result;
}

/* Caller holds st->space_lock. */
static bool fits(const struct wal_stream *st, uint64_t taken)
{
	return taken <= st->allocated || st->no_fallocate;
}

int stream_allocate(struct wal_stream *st, struct segment *segment, uint64_t bytes)
{
	/*
	 * The lock is mostly not needed: whoever writes says so before it looks at what is reserved, and whoever reserves says so before it looks at what is being written. So of two that want the same room at
	 * least one notices, and takes the lock, or lets it be.
	 */
	atomic_store(&st->in_flight, bytes);
	if (st->active.end + atomic_load(&st->reserved) + bytes <= atomic_load(&st->allocated))
		return 0;

	LOCKED_SCOPE(&st->space_lock);
	uint64_t need = st->active.end + st->reserved + bytes;
	return fits(st, need) ? 0 : extend(st, segment, need);
}

static int put_zeros(struct sys *sys, int fd, uint64_t offset, uint64_t size)
{
	static const uint8_t zeros[ZEROS_PIECE];
	struct iovec iov[ZEROS_MAX / ZEROS_PIECE];
	int count = 0;

	for (uint64_t done = 0; done < size; done += iov[count++].iov_len)
		iov[count] = (struct iovec){ (void *)zeros, size - done < sizeof zeros ? size - done : sizeof zeros };
	return sys_pwritev_full(sys, fd, iov, count, offset);
}

void stream_write_zeros(struct wal_stream *st, struct segment *segment, uint64_t end, uint64_t unsynced)
{
	uint64_t step = ZEROS_MAX;

	if (end <= st->zeroed)
		return;
	/* As with what is allocated, a small stream stays small. */
	while (step > end)
		step /= 2;
	if (step < ZEROS_MIN || unsynced > step / 2)
		return;
	LOCKED_SCOPE(&st->space_lock);
	uint64_t target = (end + step) / ZEROS_PIECE * ZEROS_PIECE;
	if (target > st->allocated)
		target = st->allocated;
	if (target <= end || st->no_fallocate)
		return;
	/* What could not be written is left as it is. */
	put_zeros(st->engine->env.sys, segment->fd, end, target - end);
	st->zeroed = target;
}

/*
 * Caller holds st->space_lock. Whoever publishes a write moves the end and then clears in_flight, without that lock: read the other way round, what was just written may be counted twice, but is never left out.
 */
static uint64_t taken(const struct wal_stream *st)
{
	uint64_t in_flight = atomic_load(&st->in_flight);

	return in_flight + st->active.end + st->reserved;
}

/* Whether it was there; see stream_allocate(). */
static bool reserve_allocated(struct wal_stream *st, uint64_t bytes)
{
	LOCKED_SCOPE(&st->space_lock);
	st->reserved += bytes;
	if (fits(st, taken(st)))
		return true;
	st->reserved -= bytes;
	return false;
}

int stream_reserve(struct wal_stream *st, uint64_t bytes)
{
	int result = 0;

	pthread_mutex_lock(&st->lock);
	if (st->deleted || st->health != WAL_HEALTHY)
		result = st->deleted ? -ENOENT : -EIO;
	st->touched = true;
	pthread_mutex_unlock(&st->lock);
	if (result < 0)
		return result;

	for (;;) {
		struct segment *segment;

		if (reserve_allocated(st, bytes))
			return 0;

		/* Pinned before the lock is taken, as pinning may wait; a rotation may have come between. */
		result = stream_pin_active(st, &segment);
		if (result < 0)
			return result;
		pthread_mutex_lock(&st->space_lock);
		uint64_t need = taken(st) + bytes;
		if (segment->first_id == st->active.first_id && !fits(st, need))
			result = extend(st, segment, need);
		pthread_mutex_unlock(&st->space_lock);
		segcache_put(st->engine->segcache, segment);
		if (result < 0)
			return result;
	}
}

void stream_unreserve(struct wal_stream *st, uint64_t bytes)
{
	LOCKED_SCOPE(&st->space_lock);
	st->reserved -= bytes;
}

void stream_spend(struct wal_stream *st, uint64_t reserved, uint64_t bytes)
{
	LOCKED_SCOPE(&st->space_lock);
	st->reserved -= reserved;
	st->in_flight = bytes;
}

int stream_cut(struct wal_stream *st, struct segment *segment, uint64_t offset)
{
	struct sys *sys = st->engine->env.sys;
	LOCKED_SCOPE(&st->space_lock);
	int result = sys->ftruncate(sys, segment->fd, offset);

	if (result < 0)
		return result;
	st->allocated = offset;
	st->zeroed = 0;
	/* What drafts were promised they get back, if it is still there; if not, their commit meets the full disk. */
	if (st->reserved > 0 && !st->no_fallocate)
		extend(st, segment, offset + st->reserved);
	return 0;
}

int stream_give_back_space(struct wal_stream *st)
{
	struct segment *segment;
	int result = stream_pin_active(st, &segment);

	if (result < 0)
		return result;
	result = stream_cut(st, segment, st->active.end);
	segcache_put(st->engine->segcache, segment);
	return result;
}
