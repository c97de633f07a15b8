/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints while many write, held against the order of what happened. One counter gives tickets: an append takes one before it is submitted and one when it was
 * acknowledged, a checkpoint one before it is asked for and one when it is there. From the tickets follows what must be in a cut, what must not, and what must be if
 * something else is. Meanwhile someone prunes, compacts and removes, and no checkpoint may get lost by that.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "random.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	STREAMS = 16,
	WRITERS = 16,
	CHECKPOINTERS = 2,
	CHECKPOINTS = UNDER_TSAN ? 12 : 30, /* of each */
	OPS_MAX = UNDER_TSAN ? 400 : 2000,  /* of each writer */
	TICKETS_BETWEEN = 60,
	BATCH_MAX = 5,
	CHAIN = 4,	 /* appends that are submitted one after the other without waiting */
	SPREAD = 3,	 /* shards that one call appends to */
	KEEP = UNDER_TSAN ? 6 : 15, /* at a compaction */
	PAUSE_US_MAX = 300,
	WAIT_SECONDS = 60,
};

/* What an entry says of itself. */
struct mark {
	uint32_t writer;
	uint32_t op;
	uint32_t index; /* in its batch */
	uint32_t stream;
	uint8_t fill[40];
};

/* One append, of an entry or a batch. */
struct op {
	uint64_t before; /* tickets */
	uint64_t after;
	uint32_t stream;
	uint32_t count;
	uint64_t first_id;
};

struct writer {
	pthread_t pthread;
	struct shared *shared;
	uint32_t no;
	struct random random;
	struct op ops[OPS_MAX];
	uint32_t count;
};

struct checkpoint {
	char id[16];
	uint64_t before;
	uint64_t after;
	bool loaded; /* the rest is known */
	int64_t time_ns;
	uint64_t cut[STREAMS];
	bool removed;
};

struct checkpointer {
	pthread_t pthread;
	struct shared *shared;
	uint32_t no;
	struct checkpoint checkpoints[CHECKPOINTS];
};

struct keeper {
	pthread_t pthread;
	struct shared *shared;
	struct random random;
	size_t compacted;
	size_t removed_count;
	char removed[CHECKPOINTERS * CHECKPOINTS][16];
	uint64_t pruned_to[STREAMS]; /* at most */
	uint64_t segments;
};

struct shared {
	struct wal_store *store;
	struct wal_stream *streams[STREAMS];
	bool sharded;
	char keys[STREAMS][16]; /* one of each shard */
	atomic_uint_fast64_t clock;
	atomic_uint working; /* checkpointers that are not at their end */
	atomic_uint writing; /* writers that are not */
	struct writer writers[WRITERS];
	struct checkpointer checkpointers[CHECKPOINTERS];
	struct keeper keeper;
};

static uint64_t take_ticket(struct shared *shared)
{
	return atomic_fetch_add(&shared->clock, 1);
}

static void name_stream(const struct shared *shared, char name[16], unsigned no)
{
	snprintf(name, 16, "%s_%02u", shared->sharded ? "shard" : "stream", no);
}

/* ---- Writers ---- */

static void make_mark(struct mark *mark, uint32_t writer, uint32_t op, uint32_t index, uint32_t stream)
{
	*mark = (struct mark){ .writer = writer, .op = op, .index = index, .stream = stream };
	random_fill((uint64_t)writer << 40 | (uint64_t)op << 8 | index, mark->fill, sizeof(mark->fill));
}

/* The next op, to one of the streams. */
static struct op *new_op(struct writer *w, uint32_t count)
{
	struct op *op = &w->ops[w->count++];

	*op = (struct op){ .stream = (uint32_t)random_below(&w->random, STREAMS), .count = count };
	return op;
}

static void append_entry(struct writer *w)
{
	struct op *op = new_op(w, 1);
	struct mark mark;

	make_mark(&mark, w->no, w->count - 1, 0, op->stream);
	op->before = take_ticket(w->shared);
	THREAD_CHECK_OK(wal_stream_append(w->shared->streams[op->stream], &mark, sizeof(mark), 0, &op->first_id));
	op->after = take_ticket(w->shared);
}

static void append_batch(struct writer *w)
{
	struct op *op = new_op(w, 2 + (uint32_t)random_below(&w->random, BATCH_MAX - 1));
	struct mark marks[BATCH_MAX];
	struct iovec iov[BATCH_MAX];

	for (uint32_t i = 0; i < op->count; i++) {
		make_mark(&marks[i], w->no, w->count - 1, i, op->stream);
		iov[i] = (struct iovec){ &marks[i], sizeof(marks[i]) };
	}
	op->before = take_ticket(w->shared);
	THREAD_CHECK_OK(wal_stream_append_batch(w->shared->streams[op->stream], iov, op->count, 0, &op->first_id));
	op->after = take_ticket(w->shared);
}

static void append_txn(struct writer *w)
{
	struct op *op = new_op(w, 1 + (uint32_t)random_below(&w->random, BATCH_MAX));
	struct wal_txn *txn;
	struct mark mark;
	size_t count;

	THREAD_CHECK_OK(wal_txn_new(w->shared->streams[op->stream], &txn));
	for (uint32_t i = 0; i < op->count; i++) {
		make_mark(&mark, w->no, w->count - 1, i, op->stream);
		THREAD_CHECK_OK(wal_txn_add(txn, &mark, sizeof(mark)));
	}
	op->before = take_ticket(w->shared);
	THREAD_CHECK_OK(wal_txn_commit(txn, 0, &op->first_id, &count));
	op->after = take_ticket(w->shared);
	THREAD_CHECK(count == op->count);
}

static void append_draft(struct writer *w)
{
	struct op *op = new_op(w, 1);
	struct wal_draft *draft;
	struct mark mark;

	make_mark(&mark, w->no, w->count - 1, 0, op->stream);
	THREAD_CHECK_OK(wal_draft_new(w->shared->streams[op->stream], &draft));
	THREAD_CHECK_OK(wal_draft_write(draft, &mark, sizeof(mark), 0));
	op->before = take_ticket(w->shared);
	THREAD_CHECK_OK(wal_draft_commit(draft, 0, &op->first_id));
	op->after = take_ticket(w->shared);
}

struct link {
	struct wal_op wal_op;
	struct iovec iov;
	struct mark mark;
	struct op *op;
	struct shared *shared;
	atomic_bool done;
};

static void link_done(struct wal_op *wal_op)
{
	struct link *link = container_of(wal_op, struct link, wal_op);

	THREAD_CHECK_OK(wal_op->result);
	link->op->first_id = wal_op->first_id;
	link->op->after = take_ticket(link->shared);
	atomic_store(&link->done, true);
}

/* Several at once under way, to as many streams. */
static void append_chain(struct writer *w)
{
	struct link links[CHAIN] = { 0 };
	time_t until = time(NULL) + WAIT_SECONDS;

	for (unsigned i = 0; i < CHAIN; i++) {
		struct link *link = &links[i];

		link->op = new_op(w, 1);
		link->shared = w->shared;
		make_mark(&link->mark, w->no, w->count - 1, 0, link->op->stream);
		link->iov = (struct iovec){ &link->mark, sizeof(link->mark) };
		link->wal_op = (struct wal_op){ .done = link_done, .entries = &link->iov, .count = 1 };
		link->op->before = take_ticket(w->shared);
		wal_stream_submit(w->shared->streams[link->op->stream], &link->wal_op);
	}
	for (unsigned i = 0; i < CHAIN; i++) {
		while (!atomic_load(&links[i].done)) {
			THREAD_CHECK(time(NULL) < until);
			sched_yield();
		}
	}
}

static void append_for_key(struct writer *w)
{
	struct op *op = new_op(w, 1);
	const char *key = w->shared->keys[op->stream];
	struct mark mark;
	uint32_t shard;

	make_mark(&mark, w->no, w->count - 1, 0, op->stream);
	op->before = take_ticket(w->shared);
	THREAD_CHECK_OK(wal_shard_append(w->shared->store, key, strlen(key), &mark, sizeof(mark), 0, &shard, &op->first_id));
	op->after = take_ticket(w->shared);
	THREAD_CHECK(shard == op->stream);
}

/* Two entries to each of a few shards, in turn; what goes to one shard is one batch. */
static void append_over_shards(struct writer *w)
{
	struct wal_keyed_entry entries[2 * SPREAD];
	struct mark marks[2 * SPREAD];
	uint32_t first = (uint32_t)random_below(&w->random, STREAMS), first_op = w->count;
	uint64_t before = take_ticket(w->shared);

	for (uint32_t i = 0; i < SPREAD; i++)
		*new_op(w, 2) = (struct op){ .before = before, .stream = (first + i) % STREAMS, .count = 2 };
	for (uint32_t i = 0; i < 2 * SPREAD; i++) {
		const struct op *op = &w->ops[first_op + i % SPREAD];
		const char *key = w->shared->keys[op->stream];

		make_mark(&marks[i], w->no, first_op + i % SPREAD, i / SPREAD, op->stream);
		entries[i] = (struct wal_keyed_entry){ .key = key, .key_size = strlen(key), .data = &marks[i], .size = sizeof(marks[i]) };
	}
	THREAD_CHECK_OK(wal_shard_append_batch(w->shared->store, entries, 2 * SPREAD, 0));
	for (uint32_t i = 0; i < SPREAD; i++) {
		struct op *op = &w->ops[first_op + i];

		op->first_id = entries[i].id;
		op->after = take_ticket(w->shared);
		THREAD_CHECK(entries[i].shard == op->stream && entries[i + SPREAD].id == entries[i].id + 1);
	}
}

static void *run_writer(void *arg)
{
	struct writer *w = arg;

	while (atomic_load(&w->shared->working) > 0 && w->count + CHAIN < OPS_MAX) {
		switch (random_below(&w->random, w->shared->sharded ? 12 : 8)) {
		case 8:
		case 9:
			append_for_key(w);
			break;
		case 10:
		case 11:
			append_over_shards(w);
			break;
		case 0:
			append_draft(w);
			break;
		case 1:
			append_txn(w);
			break;
		case 2:
			append_batch(w);
			break;
		case 3:
			append_chain(w);
			break;
		default:
			append_entry(w);
		}
		if (random_below(&w->random, 50) == 0)
			THREAD_CHECK_OK(wal_stream_rotate(w->shared->streams[random_below(&w->random, STREAMS)]));
		/* So that there is someone writing for as long as checkpoints are made, in every mode. */
		if (random_below(&w->random, 2) == 0)
			usleep((useconds_t)random_below(&w->random, PAUSE_US_MAX));
	}
	atomic_fetch_sub(&w->shared->writing, 1);
	return NULL;
}

/* ---- Checkpoints ---- */

/* Its cut has every stream, in order. */
static void note_cut(const struct shared *shared, struct checkpoint *cp, const struct wal_checkpoint *c)
{
	cp->loaded = true;
	cp->time_ns = c->time_ns;
	THREAD_CHECK(c->cut_count == STREAMS);
	for (unsigned s = 0; s < STREAMS; s++) {
		char name[16];

		name_stream(shared, name, s);
		THREAD_CHECK(strcmp(c->cuts[s].stream, name) == 0);
		cp->cut[s] = c->cuts[s].next_id;
	}
}

static void *run_checkpointer(void *arg)
{
	struct checkpointer *me = arg;
	struct shared *shared = me->shared;

	for (unsigned i = 0; i < CHECKPOINTS; i++) {
		struct checkpoint *cp = &me->checkpoints[i];
		struct wal_checkpoint *c;

		snprintf(cp->id, sizeof(cp->id), "%u-%u", me->no, i);
		cp->before = take_ticket(shared);
		THREAD_CHECK_OK(wal_checkpoint_create(shared->store, cp->id, strlen(cp->id), i % 2 ? WAL_EXCL : 0, NULL));
		cp->after = take_ticket(shared);
		int r = wal_checkpoint_load(shared->store, cp->id, strlen(cp->id), &c);
		THREAD_CHECK(r == 0 || r == WAL_NOT_FOUND); /* the keeper may have been quicker */
		if (r == 0) {
			note_cut(shared, cp, c);
			free(c);
		}
		/* A checkpoint may take less time than an append. */
		while (atomic_load(&shared->clock) < cp->after + TICKETS_BETWEEN && atomic_load(&shared->writing) > 0)
			sched_yield();
	}
	atomic_fetch_sub(&shared->working, 1);
	return NULL;
}

static void keeper_compacts(struct keeper *k)
{
	size_t removed = SIZE_MAX;

	THREAD_CHECK_OK(wal_checkpoint_compact(k->shared->store, KEEP, &removed));
	k->compacted += removed;
}

static void keeper_removes(struct keeper *k, const struct wal_checkpoint *c)
{
	THREAD_CHECK_OK(wal_checkpoint_remove(k->shared->store, c->id, c->id_size));
	memcpy(k->removed[k->removed_count++], c->id, c->id_size + 1);
}

static void keeper_prunes(struct keeper *k, const struct wal_checkpoint *c)
{
	struct wal_prune_result result;
	struct wal_checkpoint *full;

	THREAD_CHECK_OK(wal_checkpoint_load(k->shared->store, c->id, c->id_size, &full));
	for (unsigned s = 0; s < STREAMS; s++) {
		if (full->cuts[s].next_id > k->pruned_to[s])
			k->pruned_to[s] = full->cuts[s].next_id;
	}
	THREAD_CHECK_OK(wal_checkpoint_prune_before(k->shared->store, c->id, c->id_size, &result, NULL));
	THREAD_CHECK(result.streams <= STREAMS && result.segments >= result.streams);
	k->segments += result.segments;
	free(full);
}

/* The list is always in order, and nobody else takes anything from it. */
static void *run_keeper(void *arg)
{
	struct keeper *k = arg;
	size_t count;

	for (unsigned turn = 0; atomic_load(&k->shared->working) > 0; turn++) {
		struct wal_checkpoint *list;

		THREAD_CHECK_OK(wal_checkpoint_list(k->shared->store, &list, &count));
		for (size_t i = 1; i < count; i++)
			THREAD_CHECK(list[i].time_ns > list[i - 1].time_ns);
		if (count > 0) {
			switch (turn % 4) {
			case 0:
				keeper_removes(k, &list[random_below(&k->random, count)]);
				break;
			case 2:
				keeper_prunes(k, &list[random_below(&k->random, count)]);
				break;
			default:
				keeper_compacts(k);
			}
		}
		free(list);
		usleep((useconds_t)random_below(&k->random, 10 * PAUSE_US_MAX));
	}
	return NULL;
}

/* ---- What must hold ---- */

static bool is_in(const struct op *op, const struct checkpoint *cp)
{
	return op->first_id + op->count <= cp->cut[op->stream];
}

static void expect_op(const struct op *op, const struct checkpoint *cp, const char *must)
{
	fail_msg("checkpoint %s (%" PRIu64 " to %" PRIu64 ") with the cut %" PRIu64 " of stream %u and the ids %" PRIu64 " + %u (%" PRIu64 " to %" PRIu64 "): %s", cp->id,
		 cp->before, cp->after, cp->cut[op->stream], op->stream, op->first_id, op->count, op->before, op->after, must);
}

static void expect_cut(const struct shared *shared, const struct checkpoint *cp)
{
	uint64_t last_before = 0; /* of those in the cut */

	for (unsigned w = 0; w < WRITERS; w++) {
		for (uint32_t i = 0; i < shared->writers[w].count; i++) {
			const struct op *op = &shared->writers[w].ops[i];
			bool in = is_in(op, cp);

			if (!in && op->first_id < cp->cut[op->stream])
				expect_op(op, cp, "neither in nor out");
			if (!in && op->after < cp->before)
				expect_op(op, cp, "acknowledged before, and not in");
			if (in && op->before > cp->after)
				expect_op(op, cp, "submitted afterwards, and in");
			if (in && op->before > last_before)
				last_before = op->before;
		}
	}
	/* Whatever was acknowledged before something that is in was submitted. */
	for (unsigned w = 0; w < WRITERS; w++) {
		for (uint32_t i = 0; i < shared->writers[w].count; i++) {
			const struct op *op = &shared->writers[w].ops[i];

			if (op->after < last_before && !is_in(op, cp))
				expect_op(op, cp, "something is in that was submitted after it was acknowledged");
		}
	}
}

/* One that was there before another was asked for is earlier in time and in every stream. */
static void expect_order(const struct checkpoint *a, const struct checkpoint *b)
{
	if (!a->loaded || !b->loaded || a->after > b->before)
		return;
	assert_true(a->time_ns < b->time_ns);
	for (unsigned s = 0; s < STREAMS; s++)
		assert_true(a->cut[s] <= b->cut[s]);
}

static struct checkpoint *checkpoint_no(struct shared *shared, unsigned i)
{
	return &shared->checkpointers[i / CHECKPOINTS].checkpoints[i % CHECKPOINTS];
}

static void expect_cuts(struct shared *shared)
{
	unsigned loaded = 0;

	for (unsigned i = 0; i < CHECKPOINTERS * CHECKPOINTS; i++) {
		const struct checkpoint *cp = checkpoint_no(shared, i);

		for (unsigned k = 0; k < CHECKPOINTERS * CHECKPOINTS; k++)
			expect_order(cp, checkpoint_no(shared, k));
		if (cp->loaded)
			expect_cut(shared, cp);
		loaded += cp->loaded;
	}
	assert_true(loaded > CHECKPOINTERS * CHECKPOINTS / 2);
}

static struct checkpoint *find(struct shared *shared, const char *id)
{
	for (unsigned i = 0; i < CHECKPOINTERS * CHECKPOINTS; i++) {
		if (strcmp(checkpoint_no(shared, i)->id, id) == 0)
			return checkpoint_no(shared, i);
	}
	fail_msg("nobody made a checkpoint '%s'", id);
	return NULL;
}

/*
 * Every checkpoint is there, or it was removed, or it was compacted away: then it was older than all that are there. Those there are the ones that were made, with the
 * cuts that they had when they were.
 */
static void expect_none_lost(struct shared *shared)
{
	struct keeper *k = &shared->keeper;
	bool present[CHECKPOINTERS * CHECKPOINTS] = { false };
	struct wal_checkpoint *list, *c;
	size_t count;

	for (size_t i = 0; i < k->removed_count; i++) {
		assert_false(find(shared, k->removed[i])->removed);
		find(shared, k->removed[i])->removed = true;
	}
	assert_int_equal(wal_checkpoint_list(shared->store, &list, &count), 0);
	assert_int_equal(count + k->compacted + k->removed_count, CHECKPOINTERS * CHECKPOINTS);
	for (size_t i = 0; i < count; i++) {
		struct checkpoint *cp = find(shared, list[i].id), now = { 0 };

		assert_false(cp->removed);
		for (unsigned n = 0; n < CHECKPOINTERS * CHECKPOINTS; n++)
			present[n] = present[n] || checkpoint_no(shared, n) == cp;
		assert_int_equal(wal_checkpoint_load(shared->store, list[i].id, list[i].id_size, &c), 0);
		note_cut(shared, &now, c);
		free(c);
		assert_int_equal(now.time_ns, list[i].time_ns);
		if (cp->loaded) {
			assert_int_equal(cp->time_ns, now.time_ns);
			assert_memory_equal(cp->cut, now.cut, sizeof(now.cut));
		}
	}
	for (unsigned a = 0; a < CHECKPOINTERS * CHECKPOINTS; a++) {
		if (present[a] || checkpoint_no(shared, a)->removed)
			continue;
		for (unsigned b = 0; b < CHECKPOINTERS * CHECKPOINTS; b++) {
			if (present[b] && checkpoint_no(shared, b)->after < checkpoint_no(shared, a)->before)
				fail_msg("checkpoint '%s' is lost: an older one, '%s', is there", checkpoint_no(shared, a)->id, checkpoint_no(shared, b)->id);
		}
	}
	free(list);
}

/* Each stream holds what was acknowledged, where it was, but for what was pruned. */
static void expect_stream(struct shared *shared, unsigned s)
{
	struct wal_stream *st = shared->streams[s];
	uint64_t first, next, total = 0, durable;
	struct wal_iter *it;
	struct wal_entry e;
	struct mark expected;

	wal_stream_bounds(st, &first, &next, &durable);
	assert_true(first <= shared->keeper.pruned_to[s]);
	for (unsigned w = 0; w < WRITERS; w++) {
		for (uint32_t i = 0; i < shared->writers[w].count; i++)
			total += shared->writers[w].ops[i].stream == s ? shared->writers[w].ops[i].count : 0;
	}
	assert_int_equal(next, total);
	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (uint64_t id = first; id < next; id++) {
		struct mark mark;

		assert_int_equal(wal_iter_next(it, &e), 0);
		assert_int_equal(e.id, id);
		assert_int_equal(e.size, sizeof(mark));
		memcpy(&mark, e.data, sizeof(mark));
		make_mark(&expected, mark.writer, mark.op, mark.index, s);
		assert_memory_equal(&mark, &expected, sizeof(mark));
		assert_true(mark.writer < WRITERS && mark.op < shared->writers[mark.writer].count);
		const struct op *op = &shared->writers[mark.writer].ops[mark.op];
		assert_int_equal(op->stream, s);
		assert_int_equal(op->first_id + mark.index, id);
	}
	assert_int_equal(wal_iter_next(it, &e), WAL_END);
	wal_iter_free(it);
}

/* ---- Running it ---- */

static void find_keys(struct shared *shared)
{
	for (unsigned n = 0, found = 0; found < STREAMS; n++) {
		char key[16];

		snprintf(key, sizeof(key), "key%u", n);
		uint32_t shard = wal_shard_of(key, strlen(key), STREAMS);
		if (shared->keys[shard][0] == '\0') {
			memcpy(shared->keys[shard], key, sizeof(key));
			found++;
		}
	}
}

static void open_store(struct shared *shared, const char *path, const struct wal_options *opts)
{
	shared->store = store_open_or_fail(path, opts);
	shared->sharded = wal_store_shards(shared->store) > 0;
	for (unsigned s = 0; s < STREAMS; s++) {
		char name[16];

		name_stream(shared, name, s);
		shared->streams[s] = stream_open_or_fail(shared->store, name);
	}
}

static void close_store(struct shared *shared)
{
	for (unsigned s = 0; s < STREAMS; s++)
		wal_stream_close(shared->streams[s]);
	store_close_or_fail(shared->store);
}

static void run_threads(struct shared *shared, uint64_t seed)
{
	struct keeper *k = &shared->keeper;

	atomic_store(&shared->working, CHECKPOINTERS);
	atomic_store(&shared->writing, WRITERS);
	for (unsigned w = 0; w < WRITERS; w++) {
		shared->writers[w].shared = shared;
		shared->writers[w].no = w;
		shared->writers[w].random.state = seed + w;
		assert_int_equal(pthread_create(&shared->writers[w].pthread, NULL, run_writer, &shared->writers[w]), 0);
	}
	k->shared = shared;
	k->random.state = seed + WRITERS;
	assert_int_equal(pthread_create(&k->pthread, NULL, run_keeper, k), 0);
	for (unsigned c = 0; c < CHECKPOINTERS; c++) {
		shared->checkpointers[c].shared = shared;
		shared->checkpointers[c].no = c;
		assert_int_equal(pthread_create(&shared->checkpointers[c].pthread, NULL, run_checkpointer, &shared->checkpointers[c]), 0);
	}
	for (unsigned c = 0; c < CHECKPOINTERS; c++)
		assert_int_equal(pthread_join(shared->checkpointers[c].pthread, NULL), 0);
	assert_int_equal(pthread_join(k->pthread, NULL), 0);
	for (unsigned w = 0; w < WRITERS; w++)
		assert_int_equal(pthread_join(shared->writers[w].pthread, NULL), 0);
}

static void cuts_in(const struct wal_options *opts)
{
	uint64_t seed = test_seed((uint64_t)time(NULL)), appends = 0;
	struct shared *shared = calloc(1, sizeof(*shared));
	struct tmpdir dir;

	assert_non_null(shared);
	tmpdir_make(&dir, "cut");
	find_keys(shared);
	open_store(shared, dir.path, opts);
	run_threads(shared, seed);
	for (unsigned w = 0; w < WRITERS; w++)
		appends += shared->writers[w].count;
	print_message("# %" PRIu64 " appends, %d checkpoints, %zu of them compacted and %zu removed, %" PRIu64 " segments pruned\n", appends, CHECKPOINTERS * CHECKPOINTS,
		      shared->keeper.compacted, shared->keeper.removed_count, shared->keeper.segments);
	assert_true(appends > 10 * CHECKPOINTERS * CHECKPOINTS);
	expect_cuts(shared);
	expect_none_lost(shared);
	for (unsigned s = 0; s < STREAMS; s++)
		expect_stream(shared, s);
	close_store(shared);
	for (unsigned i = 0; i < CHECKPOINTERS * CHECKPOINTS; i++)
		checkpoint_no(shared, i)->removed = false;
	open_store(shared, dir.path, opts);
	expect_none_lost(shared);
	for (unsigned s = 0; s < STREAMS; s++)
		expect_stream(shared, s);
	close_store(shared);
	tmpdir_remove(&dir);
	free(shared);
}

static void strict_appends(void **state)
{
	(void)state;
	cuts_in(&(struct wal_options){ .sync = WAL_SYNC_STRICT, .segment_entries = 50 });
}

static void appends_of_which_batches_are_durable(void **state)
{
	(void)state;
	cuts_in(&(struct wal_options){ .sync = WAL_SYNC_BATCH, .segment_size = 8192, .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 64 });
}

static void asynchronous_appends(void **state)
{
	(void)state;
	cuts_in(&(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 40, .max_open_segments = 20 });
}

static void shards(void **state)
{
	(void)state;
	cuts_in(&(struct wal_options){ .shards = STREAMS, .sync = WAL_SYNC_BATCH, .segment_entries = 50 });
}

/* ---- Several disks' worth of syncs ---- */

enum { MEETING = 4 };

/* A sync ends once as many are under way as there are streams. */
struct meeting_sys {
	struct sys sys;
	pthread_mutex_t lock;
	pthread_cond_t all_there;
	unsigned there; /* protected by lock */
	bool missed;
};

static int meeting_fdatasync(struct sys *sys, int fd)
{
	struct meeting_sys *meeting = container_of(sys, struct meeting_sys, sys);
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_SECONDS;
	pthread_mutex_lock(&meeting->lock);
	if (++meeting->there == MEETING)
		pthread_cond_broadcast(&meeting->all_there);
	while (meeting->there < MEETING && !meeting->missed)
		meeting->missed = pthread_cond_timedwait(&meeting->all_there, &meeting->lock, &end) != 0;
	pthread_mutex_unlock(&meeting->lock);
	return sys_real()->fdatasync(sys_real(), fd);
}

/* One after the other they would never meet. */
static void syncs_of_many_streams_run_at_once(void **state)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct meeting_sys meeting = { .sys = *sys_real(), .there = MEETING };
	struct wal_stream *streams[MEETING];
	struct wal_store *store;
	struct tmpdir dir;

	(void)state;
	pthread_mutex_init(&meeting.lock, NULL);
	pthread_cond_init(&meeting.all_there, NULL);
	meeting.sys.fdatasync = meeting_fdatasync;
	tmpdir_make(&dir, "cut");
	assert_int_equal(store_open(&meeting.sys, dir.path, &opts, &store, NULL), 0);
	for (unsigned i = 0; i < MEETING; i++)
		streams[i] = stream_open_or_fail(store, (const char[]){ (char)('a' + i), '\0' });
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MEETING; i++)
			assert_int_equal(wal_stream_append(streams[i], "x", 1, 0, NULL), 0);
		pthread_mutex_lock(&meeting.lock);
		meeting.there = 0;
		pthread_mutex_unlock(&meeting.lock);
		assert_int_equal(round == 0 ? wal_store_sync(store) : wal_checkpoint_create(store, "c", 1, 0, NULL), 0);
		assert_false(meeting.missed);
	}
	for (unsigned i = 0; i < MEETING; i++)
		wal_stream_close(streams[i]);
	store_close_or_fail(store);
	pthread_cond_destroy(&meeting.all_there);
	pthread_mutex_destroy(&meeting.lock);
	tmpdir_remove(&dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(syncs_of_many_streams_run_at_once),
		cmocka_unit_test(strict_appends),
		cmocka_unit_test(appends_of_which_batches_are_durable),
		cmocka_unit_test(asynchronous_appends),
		cmocka_unit_test(shards),
	};

	alarm(300); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
