/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workload_impl.h"

void expect_cuts(struct workload *w)
{
	const char *names[SLOTS];
	struct cut_state found;
	char why[CUT_WHY_BYTES];

	for (unsigned i = 0; i < SLOTS; i++)
		names[i] = slot_name(w, i);
	if (!cuts_check(w->store, names, &w->versions, &w->cuts, &w->cuts, &found, why))
		wrong(w, "%.200s", why);
}

/* ---- Prunes ---- */

static void note_pruned(struct workload *w, unsigned slot, uint64_t limit)
{
	struct slot *s = &w->slots[slot];
	uint64_t before = s->first, next;

	wal_stream_bounds(s->stream, &s->first, &next, NULL);
	note(w, NOTE_PRUNED, slot, s->first);
	if (next != slot_next(s) || s->first < before || (s->first > limit && s->first > before))
		wrong(w, "stream %u: a prune of %" PRIu64 " to %" PRIu64 " below %" PRIu64 " left %" PRIu64 " to %" PRIu64, slot, before, slot_next(s), limit,
		      s->first, next);
}

void do_prune(struct workload *w, unsigned slot, bool all)
{
	struct slot *s = &w->slots[slot];
	uint64_t before = s->first, segments = UINT64_MAX;
	uint64_t limit = all ? slot_next(s) + w->turn++ % 2 : before + (slot_next(s) - before + 1) / 2;

	note(w, NOTE_PRUNING, slot, limit);
	int result = wal_stream_prune(s->stream, limit, &segments);
	if (result < 0) {
		wrong(w, "stream %u: cannot prune it: %s", slot, wal_strerror(result));
		return;
	}
	note_pruned(w, slot, limit);
	if ((segments == 0) != (s->first == before) || (all && s->first != slot_next(s)))
		wrong(w, "stream %u: a prune below %" PRIu64 " dropped %" PRIu64 " segments, from %" PRIu64 " to %" PRIu64 " of %" PRIu64, slot, limit, segments,
		      before, s->first, slot_next(s));
}

void do_prune_amid(struct workload *w, unsigned slot)
{
	struct slot *s = &w->slots[slot];
	uint64_t limit = slot_next(s);
	struct submission all;

	submit_many(w, slot, &all);
	note(w, NOTE_PRUNING, slot, limit);
	int result = wal_stream_prune(s->stream, limit, NULL);
	await_many(w, slot, &all);
	if (result < 0)
		wrong(w, "stream %u: cannot prune it amid appends: %s", slot, wal_strerror(result));
	note_pruned(w, slot, limit);
}

/* ---- Checkpoints ---- */

static struct cut_version *new_version(struct workload *w, unsigned id)
{
	struct cut_version *v = cut_versions_add(&w->versions);

	v->id = id;
	for (unsigned i = 0; i < SLOTS; i++) {
		v->knows[i] = w->slots[i].exists;
		v->next_id[i] = slot_next(&w->slots[i]);
	}
	return v;
}

/* One that is not in use; else, or if it shall be in use, any that is. */
static unsigned choose_id(struct workload *w, bool used)
{
	size_t count = cut_state_count(&w->cuts);
	unsigned turn = w->turn++;

	for (unsigned i = 0; i < CUT_ID_LARGE && !used; i++) {
		unsigned id = (turn + i) % CUT_ID_LARGE;

		if (w->cuts.version[id] == 0)
			return id;
	}
	return count > 0 ? w->versions.items[cut_state_nth(&w->cuts, turn % count)].id : turn % CUT_ID_LARGE;
}

static int create(struct workload *w, unsigned id, unsigned flags)
{
	struct wal_error err = { 0 };
	size_t size;
	const void *bytes = cut_id(id, &size);
	int result = wal_checkpoint_create(w->store, bytes, size, flags, &err);

	if (result != 0 && (result != -EEXIST || !(flags & WAL_EXCL)))
		wrong(w, "cannot make checkpoint %u: %s", id, err.message);
	return result;
}

/* It is there: what it covers is a promise. */
static void note_created(struct workload *w)
{
	note(w, NOTE_CUTS_CHANGED, 0, 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t known;

		if (!w->slots[i].exists)
			continue;
		wal_stream_bounds(w->slots[i].stream, NULL, NULL, &known);
		note(w, NOTE_DURABLE, i, known);
	}
	expect_cuts(w);
}

static void do_checkpoint(struct workload *w, unsigned id, unsigned flags)
{
	unsigned version = cut_versions_next(&w->versions);

	if ((flags & WAL_EXCL) && w->cuts.version[id] > 0) {
		if (create(w, id, flags) != -EEXIST)
			wrong(w, "checkpoint %u was made, and there was one", id);
		expect_cuts(w);
		return;
	}
	new_version(w, id);
	memfs_set_checkpointing(w->fs, true);
	note(w, NOTE_CHECKPOINTING, id, version);
	int result = create(w, id, flags);
	memfs_set_checkpointing(w->fs, false);
	if (result != 0) {
		wrong(w, "checkpoint %u: %s", id, wal_strerror(result));
		return;
	}
	cut_state_create(&w->cuts, id, version);
	note_created(w);
}

/* The cut is somewhere among the entries that are just being appended: before one of them, or behind the last. */
static uint64_t cut_amid(struct workload *w, unsigned slot, const struct wal_checkpoint *c, const struct submission *all)
{
	uint64_t next = 0;
	bool good = wal_checkpoint_find(c, slot_name(w, slot), &next) == 0 && next == all->ops[SUBMITTED_AT_ONCE - 1].end;

	for (unsigned i = 0; i < SUBMITTED_AT_ONCE; i++)
		good |= next == all->ops[i].first;
	if (!good)
		wrong(w, "stream %u: a checkpoint amid the appends %" PRIu64 " to %" PRIu64 " has the cut %" PRIu64, slot, all->ops[0].first, slot_next(&w->slots[slot]),
		      next);
	return next;
}

void do_checkpoint_amid(struct workload *w, unsigned slot)
{
	unsigned id = choose_id(w, w->turn % 2), version = cut_versions_next(&w->versions);
	struct wal_checkpoint *c;
	struct submission all;
	size_t size;
	const void *bytes = cut_id(id, &size);

	new_version(w, id);
	submit_many(w, slot, &all);
	note(w, NOTE_CHECKPOINTING, id, version);
	int result = create(w, id, 0);
	if (result == 0)
		result = wal_checkpoint_load(w->store, bytes, size, &c);
	if (result == 0) {
		/* What it says is looked up when all of this is over, at states from before it too. */
		w->versions.items[version].next_id[slot] = cut_amid(w, slot, c, &all);
		free(c);
		cut_state_create(&w->cuts, id, version);
		note_created(w);
	} else {
		wrong(w, "checkpoint %u amid appends: %s", id, wal_strerror(result));
	}
	await_many(w, slot, &all);
}

static void do_remove(struct workload *w)
{
	unsigned id = choose_id(w, true);
	bool there = w->cuts.version[id] > 0;
	size_t size;
	const void *bytes = cut_id(id, &size);

	if (there)
		note(w, NOTE_REMOVING, id, 0);
	int result = wal_checkpoint_remove(w->store, bytes, size);
	if (result != (there ? 0 : WAL_NOT_FOUND))
		wrong(w, "removing checkpoint %u: %s", id, wal_strerror(result));
	cut_state_remove(&w->cuts, id);
	note(w, NOTE_CUTS_CHANGED, 0, 0);
	expect_cuts(w);
}

static void do_compact(struct workload *w)
{
	size_t keep = 1 + w->turn++ % 2, removed = SIZE_MAX;

	note(w, NOTE_COMPACTING, 0, keep);
	int result = wal_checkpoint_compact(w->store, keep, &removed);
	size_t expected = cut_state_compact(&w->cuts, keep);
	if (result != 0 || removed != expected)
		wrong(w, "compacting to %zu: %s, %zu removed, expected %zu", keep, wal_strerror(result), removed, expected);
	note(w, NOTE_CUTS_CHANGED, 0, 0);
	expect_cuts(w);
}

static void do_prune_before(struct workload *w)
{
	struct wal_prune_result pruned = { 0 };
	unsigned id = choose_id(w, true);
	size_t size, streams = 0;
	const void *bytes = cut_id(id, &size);
	unsigned version = w->cuts.version[id];

	if (version == 0)
		return;
	const struct cut_version *v = &w->versions.items[version];
	for (unsigned i = 0; i < SLOTS; i++) {
		if (w->slots[i].exists && v->knows[i] && version >= w->cuts.forgotten[i])
			note(w, NOTE_PRUNING, i, v->next_id[i]);
	}
	int result = wal_checkpoint_prune_before(w->store, bytes, size, &pruned, NULL);
	if (result != 0)
		wrong(w, "pruning to checkpoint %u: %s", id, wal_strerror(result));
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t first = w->slots[i].first;
		bool known = v->knows[i] && version >= w->cuts.forgotten[i];

		if (!w->slots[i].exists)
			continue;
		note_pruned(w, i, known ? v->next_id[i] : 0);
		streams += w->slots[i].first > first;
	}
	if (streams != pruned.streams || pruned.segments < streams)
		wrong(w, "pruning to checkpoint %u: %zu streams and %" PRIu64 " segments, expected %zu", id, pruned.streams, pruned.segments, streams);
	expect_cuts(w);
}

/* ---- Shards ---- */

/* A key that belongs to the shard. */
static size_t key_of(unsigned shard, unsigned turn, char key[16])
{
	for (unsigned i = 0;; i++) {
		int size = snprintf(key, 16, "%u/%u", turn, i);

		if (wal_shard_of(key, (size_t)size, SLOTS) == shard)
			return (size_t)size;
	}
}

static void do_keyed_batch(struct workload *w)
{
	enum { EACH = 2 };
	struct wal_keyed_entry entries[SLOTS * EACH];
	char keys[SLOTS * EACH][16];
	uint64_t first[SLOTS];
	unsigned turn = w->turn++;

	/* Each shard's are next to each other in one half of the cases, in turns in the other. */
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct iovec iov[EACH];

		first[slot] = slot_next(&w->slots[slot]);
		new_batch(w, slot, EACH, iov);
		for (unsigned i = 0; i < EACH; i++) {
			unsigned at = turn % 2 ? i * SLOTS + slot : slot * EACH + i;

			entries[at] = (struct wal_keyed_entry){ .key = keys[at], .key_size = key_of(slot, turn + i, keys[at]), .data = iov[i].iov_base, .size = iov[i].iov_len };
		}
		note(w, NOTE_SUBMITTED, slot, slot_next(&w->slots[slot]));
	}
	int result = wal_shard_append_batch(w->store, entries, SLOTS * EACH, 0);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		for (unsigned i = 0; i < EACH; i++) {
			const struct wal_keyed_entry *e = &entries[turn % 2 ? i * SLOTS + slot : slot * EACH + i];

			if (result != 0 || e->result != 0 || e->shard != slot || e->id != first[slot] + i)
				wrong(w, "a batch over the shards: %s; in shard %u: %s, id %" PRIu64 ", expected %" PRIu64, wal_strerror(result), slot,
				      wal_strerror(e->result), e->id, first[slot] + i);
		}
		note_done(w, slot, result, is_durable(w, 0, true), first[slot], first[slot]);
	}
}

void step_all(struct workload *w, char what)
{
	switch (what) {
	case 'C':
		do_checkpoint(w, choose_id(w, false), 0);
		break;
	case 'M':
		do_checkpoint(w, choose_id(w, true), 0);
		break;
	case 'L':
		do_checkpoint(w, CUT_ID_LARGE, 0);
		break;
	case 'E':
		do_checkpoint(w, choose_id(w, w->turn % 2), WAL_EXCL);
		break;
	case 'R':
		do_remove(w);
		break;
	case 'Q':
		do_compact(w);
		break;
	case 'f':
		do_prune_before(w);
		break;
	case 'y':
		if (w->sharded)
			do_keyed_batch(w);
		break;
	default:
		abort();
	}
}
