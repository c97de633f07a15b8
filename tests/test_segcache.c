/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded set of open segments: over the files of a real store. */
#include "segcache.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "cleanup.h"
#include "options.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	SEGMENTS = 12,
	EACH = 5,
	LIMIT = 8,
	THREADS = 6,
	ROUNDS = 300,
};

struct place {
	struct tmpdir dir;
	struct env env;
	struct segcache *cache;
};

static void make(struct place *p)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	char path[PATH_MAX];

	tmpdir_make(&p->dir, "segcache");
	tmpdir_path(&p->dir, "store", path);
	struct wal_store *store = store_open_or_fail(path, &opts);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	for (unsigned i = 0; i < SEGMENTS; i++) {
		stream_fill(st, i * EACH, (i + 1) * EACH);
		assert_int_equal(wal_stream_rotate(st), 0);
	}
	wal_stream_close(st);
	store_close_or_fail(store);

	p->env = (struct env){ .sys = sys_real(), .opts = { .max_open_segments = LIMIT } };
	options_fill_defaults(&p->env.opts);
	p->env.root_fd = p->env.sys->openat(p->env.sys, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	assert_true(p->env.root_fd >= 0);
	assert_int_equal(segcache_new(&p->env, &p->cache), 0);
}

static void end(struct place *p)
{
	segcache_free(p->cache);
	sys_close(p->env.sys, &p->env.root_fd);
	tmpdir_remove(&p->dir);
}

static struct segcache_request request(unsigned i)
{
	return (struct segcache_request){ .stream_key = 1, .stream_name = "s", .first_id = i * EACH, .end_id = (i + 1) * EACH, .before_id = i > 0 ? (i - 1) * EACH : 0, .meta_fd = -1 };
}

static struct segment *get(struct place *p, unsigned i)
{
	struct segcache_request rq = request(i);
	struct segment *segment;

	assert_int_equal(segcache_get(p->cache, &rq, &segment), 0);
	assert_int_equal(segment->first_id, i * EACH);
	return segment;
}

static void more_segments_than_may_be_open(void **state)
{
	struct place p;

	(void)state;
	make(&p);
	size_t before = open_fd_count();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SEGMENTS; i++) {
			segcache_put(p.cache, get(&p, i));
			assert_true(segcache_count(p.cache) <= LIMIT);
		}
	}
	assert_int_equal(segcache_count(p.cache), LIMIT);
	assert_true(open_fd_count() <= before + LIMIT);
	end(&p);
}

/* Used again it is the same one; forgotten it is opened anew, while who has it goes on. */
static void forgotten_while_pinned(void **state)
{
	struct place p;

	(void)state;
	make(&p);
	struct segment *first = get(&p, 3);
	struct segment *again = get(&p, 3);
	assert_ptr_equal(first, again);
	segcache_put(p.cache, again);
	segcache_forget(p.cache, 1, 3 * EACH);
	struct segment *anew = get(&p, 3);
	assert_ptr_not_equal(first, anew);
	assert_true(first->fd >= 0 && first->size == anew->size);
	assert_int_equal(segcache_count(p.cache), 2);
	segcache_put(p.cache, first);
	assert_int_equal(segcache_count(p.cache), 1);
	segcache_put(p.cache, anew);
	end(&p);
}

/* A segment that can't be opened takes no place. */
static void segment_that_is_missing(void **state)
{
	struct segcache_request rq = { .stream_key = 1, .stream_name = "s", .first_id = 1000, .end_id = 1001, .meta_fd = -1 };
	struct segment *segment;
	struct place p;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < 2 * LIMIT; i++)
		assert_int_equal(segcache_get(p.cache, &rq, &segment), -ENOENT);
	assert_int_equal(segcache_count(p.cache), 0);
	end(&p);
}

struct user {
	struct place *p;
	unsigned seed;
	atomic_bool *over;
};

static void *use(void *arg)
{
	struct user *u = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		u->seed = u->seed * 1103515245 + 12345;
		unsigned which = (u->seed >> 16) % SEGMENTS;
		struct segcache_request rq = request(which);
		struct segment *segment;

		if (segcache_get(u->p->cache, &rq, &segment) != 0 || segment->first_id != which * EACH || segcache_count(u->p->cache) > LIMIT) {
			atomic_store(u->over, true);
			return NULL;
		}
		if (i % 17 == 0)
			segcache_forget(u->p->cache, 1, which * EACH);
		segcache_put(u->p->cache, segment);
	}
	return NULL;
}

static void many_users(void **state)
{
	pthread_t threads[THREADS];
	struct user users[THREADS];
	atomic_bool over = false;
	struct place p;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < THREADS; i++) {
		users[i] = (struct user){ &p, i * 7919 + 1, &over };
		assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(over);
	end(&p);
}

static void *get_one(void *arg)
{
	struct place *p = arg;
	struct segcache_request rq = request(LIMIT);
	struct segment *segment;

	return segcache_get(p->cache, &rq, &segment) == 0 ? segment : NULL;
}

/* All in use: who wants one more gets it as soon as one is given back. */
static void all_in_use(void **state)
{
	struct segment *held[LIMIT];
	pthread_t thread;
	struct place p;
	void *got;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < LIMIT; i++)
		held[i] = get(&p, i);
	assert_int_equal(pthread_create(&thread, NULL, get_one, &p), 0);
	segcache_put(p.cache, held[0]);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_non_null(got);
	assert_int_equal(segcache_count(p.cache), LIMIT);
	segcache_put(p.cache, got);
	for (unsigned i = 1; i < LIMIT; i++)
		segcache_put(p.cache, held[i]);
	end(&p);
}

/* ---- Held between uses ---- */

static struct segment *hold(struct place *p, struct segcache_hold *hold, unsigned i)
{
	struct segment *segment = get(p, i);

	segcache_hold(p->cache, hold, segment);
	return segment;
}

/* It is the same one each time, and leaves when its hold does. */
static void held_and_used_again(void **state)
{
	struct segcache_hold h = { 0 };
	struct place p;

	(void)state;
	make(&p);
	assert_null(segcache_resume(&h));
	struct segment *segment = hold(&p, &h, 3);
	segcache_rest(p.cache, &h);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(segcache_resume(&h), segment);
		segcache_rest(p.cache, &h);
	}
	assert_int_equal(segcache_opens(p.cache), 1);
	segcache_let_go(p.cache, &h);
	assert_null(segcache_resume(&h));
	assert_int_equal(segcache_count(p.cache), 1);
	end(&p);
}

/* As many are held as may be open: the one that was not used for longest makes room, and those that were used stay, however long ago they were opened. */
static void more_than_can_be_held(void **state)
{
	struct segcache_hold holds[LIMIT] = { 0 };
	struct place p;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < LIMIT; i++) {
		hold(&p, &holds[i], i);
		segcache_rest(p.cache, &holds[i]);
	}
	/* All have been used since they came, so the first look only takes note of that, and the oldest goes. */
	segcache_put(p.cache, get(&p, LIMIT));
	assert_null(segcache_resume(&holds[0]));
	assert_non_null(segcache_resume(&holds[1]));
	segcache_rest(p.cache, &holds[1]);
	segcache_put(p.cache, get(&p, LIMIT + 1));
	segcache_put(p.cache, get(&p, LIMIT + 2));
	assert_non_null(segcache_resume(&holds[1]));
	segcache_rest(p.cache, &holds[1]);
	assert_null(segcache_resume(&holds[2]));
	assert_int_equal(segcache_count(p.cache), LIMIT);
	for (unsigned i = 0; i < LIMIT; i++)
		segcache_let_go(p.cache, &holds[i]);
	end(&p);
}

/* Its place is wanted by who waits for one while it is in use: it is given up at the end of the use. */
static void all_held_and_in_use(void **state)
{
	struct segcache_hold holds[LIMIT] = { 0 };
	pthread_t thread;
	struct place p;
	void *got;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < LIMIT; i++)
		hold(&p, &holds[i], i);
	assert_int_equal(pthread_create(&thread, NULL, get_one, &p), 0);
	while (atomic_load(&holds[0].state) != SEGCACHE_HOLD_WANTED)
		sched_yield();
	segcache_rest(p.cache, &holds[0]);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_non_null(got);
	assert_null(segcache_resume(&holds[0]));
	segcache_put(p.cache, got);
	for (unsigned i = 1; i < LIMIT; i++) {
		segcache_rest(p.cache, &holds[i]);
		segcache_let_go(p.cache, &holds[i]);
	}
	end(&p);
}

static void *get_another(void *arg)
{
	struct place *p = arg;
	struct segcache_request rq = request(LIMIT + 1);
	struct segment *segment;

	return segcache_get(p->cache, &rq, &segment) == 0 ? segment : NULL;
}

/* Someone waits already when it comes to be held: he could not ask for it, so it is not. */
static void held_while_someone_waits(void **state)
{
	struct segcache_hold h = { 0 }, first = { 0 };
	struct segment *others[LIMIT];
	pthread_t thread;
	struct place p;
	void *got;

	(void)state;
	make(&p);
	hold(&p, &first, 0);
	for (unsigned i = 1; i < LIMIT; i++)
		others[i] = get(&p, i);
	assert_int_equal(pthread_create(&thread, NULL, get_another, &p), 0);
	while (atomic_load(&first.state) != SEGCACHE_HOLD_WANTED)
		sched_yield();
	/* He waits by the time that the lock is free. */
	segcache_hold(p.cache, &h, others[1]);
	segcache_rest(p.cache, &h);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_non_null(got);
	assert_null(segcache_resume(&h));
	segcache_put(p.cache, got);
	segcache_rest(p.cache, &first);
	segcache_let_go(p.cache, &first);
	for (unsigned i = 2; i < LIMIT; i++)
		segcache_put(p.cache, others[i]);
	end(&p);
}

static void forgotten_while_held(void **state)
{
	struct segcache_hold idle = { 0 }, busy = { 0 };
	struct place p;

	(void)state;
	make(&p);
	size_t before = open_fd_count();
	hold(&p, &idle, 1);
	segcache_rest(p.cache, &idle);
	struct segment *segment = hold(&p, &busy, 2);
	segcache_forget(p.cache, 1, 1 * EACH);
	segcache_forget(p.cache, 1, 2 * EACH);
	assert_null(segcache_resume(&idle));
	assert_int_equal(segcache_count(p.cache), 1);
	assert_true(segment->fd >= 0);
	segcache_rest(p.cache, &busy);
	assert_null(segcache_resume(&busy));
	assert_int_equal(segcache_count(p.cache), 0);
	assert_int_equal(open_fd_count(), before);
	end(&p);
}

/* One hold each, of segments that others push out all the time. */
static void *hold_and_use(void *arg)
{
	struct user *u = arg;
	struct segcache_hold h = { 0 };
	unsigned mine = u->seed % SEGMENTS;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct segment *segment = segcache_resume(&h);
		struct segcache_request rq = request(mine), other = request((mine + i) % SEGMENTS);

		if (!segment && segcache_get(u->p->cache, &rq, &segment) == 0)
			segcache_hold(u->p->cache, &h, segment);
		if (!segment || segment->first_id != mine * EACH || segcache_count(u->p->cache) > LIMIT)
			atomic_store(u->over, true);
		segcache_rest(u->p->cache, &h);
		if (segcache_get(u->p->cache, &other, &segment) != 0)
			break;
		segcache_put(u->p->cache, segment);
		if (i % 29 == 0)
			segcache_forget(u->p->cache, 1, mine * EACH);
	}
	segcache_let_go(u->p->cache, &h);
	return NULL;
}

static void many_holders(void **state)
{
	pthread_t threads[THREADS];
	struct user users[THREADS];
	atomic_bool over = false;
	struct place p;

	(void)state;
	make(&p);
	for (unsigned i = 0; i < THREADS; i++) {
		users[i] = (struct user){ &p, i, &over };
		assert_int_equal(pthread_create(&threads[i], NULL, hold_and_use, &users[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(over);
	assert_int_equal(segcache_count(p.cache), LIMIT);
	end(&p);
}

/* ---- What is mapped ---- */

enum {
	LARGE_SEGMENTS = 4,
	LARGE_BYTES = 3 << 20, /* of the one entry in each: three are more than stay in memory when they are not in use */
	MANY_USES = 3000,
};

struct counting_sys {
	struct sys sys;
	unsigned unloads; /* of segments, not of sidecars */
	void *unloaded;	  /* the last of them */
};

static void note_unload(struct sys *sys, void *addr, size_t size)
{
	struct counting_sys *c = container_of(sys, struct counting_sys, sys);

	if (size >= LARGE_BYTES) {
		c->unloads++;
		c->unloaded = addr;
	}
	sys_real()->unload(sys, addr, size);
}

static void large_segments(struct place *p, struct counting_sys *c)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	CLEANUP_FREE char *entry = calloc(1, LARGE_BYTES);
	char path[PATH_MAX];

	tmpdir_make(&p->dir, "segcache");
	tmpdir_path(&p->dir, "store", path);
	struct wal_store *store = store_open_or_fail(path, &opts);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	for (unsigned i = 0; i < LARGE_SEGMENTS; i++) {
		memset(entry, 'a' + (int)i, LARGE_BYTES);
		assert_int_equal(wal_stream_append(st, entry, LARGE_BYTES, 0, NULL), 0);
		assert_int_equal(wal_stream_rotate(st), 0);
	}
	wal_stream_close(st);
	store_close_or_fail(store);

	*c = (struct counting_sys){ .sys = *sys_real() };
	c->sys.unload = note_unload;
	p->env = (struct env){ .sys = &c->sys, .opts = { .read = WAL_READ_MMAP } };
	options_fill_defaults(&p->env.opts);
	p->env.root_fd = c->sys.openat(&c->sys, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	assert_true(p->env.root_fd >= 0);
	assert_int_equal(segcache_new(&p->env, &p->cache), 0);
}

static struct segment *get_large(struct place *p, unsigned i)
{
	struct segcache_request rq = { .stream_key = 1, .stream_name = "s", .first_id = i, .end_id = i + 1, .before_id = i > 0 ? i - 1 : 0, .meta_fd = -1 };
	struct segment *segment;

	assert_int_equal(segcache_get(p->cache, &rq, &segment), 0);
	assert_non_null(segment->data);
	/* What was unloaded is there again. */
	assert_int_equal(segment->data[segment->size - 1], 'a' + (int)i);
	return segment;
}

/* All are in use in turn: none is unloaded, however large. */
static void segments_in_use_stay(void **state)
{
	struct place p;
	struct counting_sys c;

	(void)state;
	large_segments(&p, &c);
	for (unsigned i = 0; i < MANY_USES; i++)
		segcache_put(p.cache, get_large(&p, i % LARGE_SEGMENTS));
	assert_int_equal(c.unloads, 0);
	end(&p);
}

/* One after the other, as who goes through the log does. */
static void segments_left_behind_are_unloaded(void **state)
{
	struct place p;
	struct counting_sys c;

	(void)state;
	large_segments(&p, &c);
	struct segment *first = get_large(&p, 0);
	const void *first_data = first->data;
	for (unsigned i = 0; i < LARGE_SEGMENTS; i++) {
		for (unsigned n = 0; n < MANY_USES; n++)
			segcache_put(p.cache, get_large(&p, i));
		if (i == 2) {
			assert_int_equal(c.unloads, 1);
			assert_ptr_equal(c.unloaded, first_data);
		}
	}
	assert_int_equal(c.unloads, 2);
	/* Pinned or not, it reads as before, and used again it pushes another out. */
	assert_int_equal(first->data[0], *(const uint8_t *)first_data);
	segcache_put(p.cache, get_large(&p, 0));
	assert_int_equal(c.unloads, 3);
	segcache_put(p.cache, first);
	assert_int_equal(segcache_count(p.cache), LARGE_SEGMENTS);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_segments_than_may_be_open),
		cmocka_unit_test(forgotten_while_pinned),
		cmocka_unit_test(segment_that_is_missing),
		cmocka_unit_test(many_users),
		cmocka_unit_test(segments_in_use_stay),
		cmocka_unit_test(segments_left_behind_are_unloaded),
		cmocka_unit_test(all_in_use),
		cmocka_unit_test(held_and_used_again),
		cmocka_unit_test(more_than_can_be_held),
		cmocka_unit_test(all_held_and_in_use),
		cmocka_unit_test(held_while_someone_waits),
		cmocka_unit_test(forgotten_while_held),
		cmocka_unit_test(many_holders),
	};

	return TEST_RUN(tests);
}
