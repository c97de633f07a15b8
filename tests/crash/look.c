/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a store that a power cut may have left. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "sim.h"
#include "test.h"

bool violated(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->why[0]) {
		va_start(args, format);
		vsnprintf(sim->why, sizeof sim->why, format, args);
		va_end(args);
	}
	return false;
}

static bool check_entry(struct sim *sim, const struct expected_slot *x, unsigned slot, uint64_t id, const void *data, size_t size)
{
	char probe[64];
	const void *want = probe;
	size_t want_size;

	if (id >= x->probed) {
		want_size = probe_content(slot, id, probe);
	} else {
		want = sim->w->slots[slot].entries[x->base + id].data;
		want_size = sim->w->slots[slot].entries[x->base + id].size;
	}
	if (size != want_size || (size > 0 && memcmp(data, want, size) != 0))
		return violated(sim, "entry %" PRIu64 " of '%s' has %zu bytes '%.*s', submitted were %zu '%.*s'", id, slot_name(sim->w, slot), size,
				(int)(size < 40 ? size : 40), (const char *)data, want_size, (int)(want_size < 40 ? want_size : 40), (const char *)want);
	return true;
}

static bool check_entries(struct sim *sim, struct wal_stream *st, const struct expected_slot *x, unsigned slot, uint64_t first, uint64_t next)
{
	struct wal_iter *it;
	struct wal_entry e;
	struct wal_buf buf = { 0 };
	struct wal_entry_info info;
	int64_t time = INT64_MIN;
	bool good = true;

	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (uint64_t id = first; id < next && good; id++) {
		int result = wal_iter_next(it, &e);

		if (result != 0 || e.id != id)
			good = violated(sim, "iterating '%s' at %" PRIu64 ": %s", slot_name(sim->w, slot), id, wal_strerror(result));
		else if (e.time_ns <= time)
			good = violated(sim, "entry %" PRIu64 " of '%s' is not later than the one before it", id, slot_name(sim->w, slot));
		else
			good = check_entry(sim, x, slot, id, e.data, e.size);
		time = good ? e.time_ns : 0;
	}
	if (good && wal_iter_next(it, &e) != WAL_END)
		good = violated(sim, "iterating '%s' goes on behind its end %" PRIu64, slot_name(sim->w, slot), next);
	wal_iter_free(it);
	if (good && first > 0 && (wal_stream_get(st, first - 1, &buf) != WAL_PRUNED || wal_stream_lookup(st, 0, &info) != WAL_PRUNED))
		good = violated(sim, "what is pruned of '%s' below %" PRIu64 " is not said to be", slot_name(sim->w, slot), first);
	for (uint64_t id = next > first + 3 ? next - 3 : first; id < next && good; id++) {
		int result = wal_stream_get(st, id, &buf);

		if (result != 0 || wal_stream_lookup(st, id, &info) != 0 || info.size != buf.size)
			good = violated(sim, "entry %" PRIu64 " of '%s': %s", id, slot_name(sim->w, slot), wal_strerror(result));
		else
			good = check_entry(sim, x, slot, id, buf.data, buf.size);
	}
	wal_buf_release(&buf);
	return good;
}

static bool check_tail(struct sim *sim, const struct wal_stream_stat *stat, unsigned slot, bool first_open)
{
	const struct tail *tail = NULL;

	for (unsigned t = 0; first_open && t < TAILS; t++) {
		if (sim->tails[slot][t].bytes && sim->tails[slot][t].segment_id == stat->active_segment_id)
			tail = &sim->tails[slot][t];
	}
	if (!tail && stat->tail != WAL_TAIL_CLEAN)
		return violated(sim, "'%s' reports a torn tail at %" PRIu64 " where there is none", slot_name(sim->w, slot), stat->tail_offset);
	if (!tail)
		return true;
	sim->truncated++;
	if (stat->tail != WAL_TAIL_TRUNCATED || stat->tail_offset != tail->offset || stat->tail_bytes != tail->size)
		return violated(sim, "'%s' reports tail %d at %" PRIu64 ", %" PRIu64 " bytes; it is torn at %" PRIu64 ", %zu bytes", slot_name(sim->w, slot),
				stat->tail, stat->tail_offset, stat->tail_bytes, tail->offset, tail->size);
	return true;
}

/* The batch that holds the entries on both sides of `id` is not whole. */
static bool splits_batch(const struct sim *sim, const struct expected_slot *x, unsigned slot, uint64_t id)
{
	const struct slot *s = &sim->w->slots[slot];

	return id > 0 && id < x->probed && id < x->submitted && s->entries[x->base + id].batch_first < id;
}

static bool check_stream(struct sim *sim, struct wal_stream *st, const struct expected_slot *x, unsigned slot, bool first_open, uint64_t *ret_next)
{
	const char *name = slot_name(sim->w, slot);
	struct wal_stream_stat stat;
	int result = wal_stream_stat(st, &stat);

	if (result != 0)
		return violated(sim, "'%s' has no figures: %s", name, wal_strerror(result));
	if (stat.health != WAL_HEALTHY)
		return violated(sim, "'%s' is not healthy after a power cut: %s", name, stat.reason);
	if (stat.next_id < x->durable || stat.next_id > x->submitted)
		return violated(sim, "'%s' holds %" PRIu64 " to %" PRIu64 "; durable were %" PRIu64 ", submitted %" PRIu64, name, stat.first_id,
				stat.next_id, x->durable, x->submitted);
	if (stat.first_id < x->first_min || stat.first_id > x->first_max)
		return violated(sim, "'%s' holds %" PRIu64 " to %" PRIu64 "; pruned was what is below %" PRIu64 ", and no more than what is below %" PRIu64, name,
				stat.first_id, stat.next_id, x->first_min, x->first_max);
	if (splits_batch(sim, x, slot, stat.next_id) || splits_batch(sim, x, slot, stat.first_id))
		return violated(sim, "'%s' holds %" PRIu64 " to %" PRIu64 ", that is a part of a batch", name, stat.first_id, stat.next_id);
	*ret_next = stat.next_id;
	return check_tail(sim, &stat, slot, first_open) && check_entries(sim, st, x, slot, stat.first_id, stat.next_id);
}

static bool check_names(struct sim *sim, struct wal_store *store, const struct expected *x)
{
	char **names;
	size_t count, known = 0;

	assert_int_equal(wal_store_list(store, &names, &count), 0);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		bool listed = false;

		for (size_t i = 0; i < count; i++)
			listed |= strcmp(names[i], slot_name(sim->w, slot)) == 0;
		known += listed;
		if (listed != (x->slots[slot].exists == THERE) && x->slots[slot].exists != MAYBE)
			violated(sim, "stream '%s' is %s", slot_name(sim->w, slot), listed ? "there, and had been deleted" : "gone");
	}
	if (known != count)
		violated(sim, "there is a stream that nobody made");
	free(names);
	return !sim->why[0];
}

/* Looks at the checkpoints: *ret_found is which of those that may be there are. */
static bool check_cuts(struct sim *sim, struct wal_store *store, const struct expected *x, struct cut_state *ret_found)
{
	const char *names[SLOTS];
	char why[CUT_WHY_BYTES];

	for (unsigned slot = 0; slot < SLOTS; slot++)
		names[slot] = slot_name(sim->w, slot);
	return cuts_check(store, names, &sim->w->versions, &x->cuts, &x->cuts_next, ret_found, why) || violated(sim, "%s", why);
}

static struct wal_store *open_state(struct sim *sim, bool read_only, int *ret_result)
{
	struct wal_options opts = sim->w->opts;
	struct wal_store *store = NULL;
	struct wal_error err = { 0 };

	opts.ro = read_only;
	opts.log = logged_write;
	opts.log_arg = &sim->logged;
	*ret_result = store_open(&sim->disk.sys, STORE_PATH, &opts, &store, &err);
	/* Of a store whose making was interrupted. */
	bool unfinished = *ret_result == -ENOENT || (*ret_result == -EINVAL && sim->w->sharded);
	if (*ret_result < 0 && (!read_only || !unfinished))
		violated(sim, "the store cannot be opened%s: %s", read_only ? " read-only" : "", err.message);
	return store;
}

static bool close_state(struct sim *sim, struct wal_store *store)
{
	int result = wal_store_close(store);

	if (result != 0)
		return violated(sim, "closing fails: %s", wal_strerror(result));
	if (sim->disk.open_fds != 0 || sim->disk.mapped != 0)
		return violated(sim, "%ld descriptors and %ld mappings are left", sim->disk.open_fds, sim->disk.mapped);
	return true;
}

bool check_read_only(struct sim *sim, const struct expected *x)
{
	uint64_t changes = sim->disk.changes, next;
	struct cut_state found;
	int result;
	struct wal_store *store = open_state(sim, true, &result);

	if (!store) {
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			if (x->slots[slot].exists == THERE)
				return violated(sim, "read-only there is no store");
		}
		return !sim->why[0];
	}
	bool good = check_names(sim, store, x) && check_cuts(sim, store, x, &found);
	for (unsigned slot = 0; slot < SLOTS && good; slot++) {
		struct wal_stream *st;

		if (wal_stream_open(store, slot_name(sim->w, slot), 0, &st, NULL) != 0)
			continue;
		good = check_stream(sim, st, &x->slots[slot], slot, true, &next);
		wal_stream_close(st);
	}
	good = close_state(sim, store) && good;
	if (good && sim->disk.changes != changes)
		return violated(sim, "opening read-only changed something");
	return good;
}

/* Something is done to the disk that is looked at: that is noted for a second power cut, and holds from here on. */
static void say(struct sim *sim, struct expected *x, enum note what, unsigned slot, uint64_t value)
{
	memfs_note(&sim->disk, what, slot, value);
	expected_step(x, &(struct trace_event){ .kind = TRACE_NOTE, .node = what, .child = slot, .size = value });
}

/* One stream of a store just opened: what it holds, and that it goes on. */
static bool try_stream(struct sim *sim, struct wal_store *store, struct expected *x, unsigned slot, bool first_open)
{
	struct expected_slot *s = &x->slots[slot];
	struct wal_stream *st;
	struct wal_error err = { 0 };
	uint64_t next = 0, id = 0;
	char probe[64];

	if (s->exists == GONE && first_open && random_below(&sim->random, 4) > 0)
		return true;
	if (wal_stream_open(store, slot_name(sim->w, slot), 0, &st, &err) == -ENOENT) {
		if (sim->w->sharded)
			return violated(sim, "'%s' is missing", slot_name(sim->w, slot));
		if (!first_open)
			return true;
		say(sim, x, NOTE_CREATING, slot, 0);
		if (wal_stream_open(store, slot_name(sim->w, slot), WAL_CREATE, &st, &err) != 0)
			return violated(sim, "stream '%s' cannot be made: %s", slot_name(sim->w, slot), err.message);
	}
	bool good = check_stream(sim, st, s, slot, first_open, &next);
	if (good && first_open) {
		size_t size = probe_content(slot, next, probe);

		say(sim, x, NOTE_FOUND, slot, next);
		say(sim, x, NOTE_PROBED, slot, next);
		int result = wal_stream_append(st, probe, size, WAL_DURABLE, &id);
		if (result != 0 || id != next)
			good = violated(sim, "appending to '%s': %s, id %" PRIu64 ", expected %" PRIu64, slot_name(sim->w, slot), wal_strerror(result), id, next);
		say(sim, x, NOTE_DURABLE, slot, next + 1);
	}
	wal_stream_close(st);
	return good;
}

/* That prunes go on: to anywhere, or of all there is. */
static bool probe_prune(struct sim *sim, struct wal_store *store, struct expected *x, unsigned slot)
{
	uint64_t first, next, limit, now_first, now_next;
	struct wal_stream *st;
	bool all = random_below(&sim->random, 2);

	if (wal_stream_open(store, slot_name(sim->w, slot), 0, &st, NULL) != 0)
		return true;
	wal_stream_bounds(st, &first, &next, NULL);
	limit = all ? next : random_below(&sim->random, next + 2);
	int result = all ? wal_stream_rotate(st) : 0;
	say(sim, x, NOTE_PRUNING, slot, limit);
	if (result == 0)
		result = wal_stream_prune(st, limit, NULL);
	wal_stream_bounds(st, &now_first, &now_next, NULL);
	wal_stream_close(st);
	say(sim, x, NOTE_PRUNED, slot, now_first);
	if (result != 0 || now_next != next || now_first < first || (now_first > limit && now_first > first) || (all && now_first != next))
		return violated(sim, "pruning '%s' from %" PRIu64 " to %" PRIu64 " below %" PRIu64 ": %s, it has %" PRIu64 " to %" PRIu64, slot_name(sim->w, slot), first,
				next, limit, wal_strerror(result), now_first, now_next);
	return true;
}

/* Of what all streams hold now. */
static bool probe_checkpoint(struct sim *sim, struct wal_store *store, struct expected *x)
{
	unsigned id = (unsigned)random_below(&sim->random, CUT_ID_LARGE), number = cut_versions_next(&sim->w->versions);
	struct cut_version *v = cut_versions_add(&sim->w->versions);
	struct wal_error err = { 0 };
	size_t size;
	const void *bytes = cut_id(id, &size);

	v->id = id;
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct wal_stream *st;

		v->knows[slot] = wal_stream_open(store, slot_name(sim->w, slot), 0, &st, NULL) == 0;
		if (!v->knows[slot])
			continue;
		wal_stream_bounds(st, NULL, &v->next_id[slot], NULL);
		wal_stream_close(st);
	}
	say(sim, x, NOTE_CHECKPOINTING, id, number);
	if (wal_checkpoint_create(store, bytes, size, 0, &err) != 0)
		return violated(sim, "checkpoint %u can't be made: %s", id, err.message);
	say(sim, x, NOTE_CUTS_CHANGED, 0, 0);
	return true;
}

static bool probe_removal(struct sim *sim, struct wal_store *store, struct expected *x)
{
	size_t size, keep = 1 + random_below(&sim->random, 2);
	unsigned id = (unsigned)random_below(&sim->random, CUT_IDS);
	const void *bytes = cut_id(id, &size);
	bool compact = random_below(&sim->random, 2), there = x->cuts.version[id] > 0;
	int result;

	if (compact) {
		say(sim, x, NOTE_COMPACTING, 0, keep);
		result = wal_checkpoint_compact(store, keep, NULL);
	} else {
		say(sim, x, NOTE_REMOVING, id, 0);
		result = wal_checkpoint_remove(store, bytes, size);
	}
	say(sim, x, NOTE_CUTS_CHANGED, 0, 0);
	if (result != (compact || there ? 0 : WAL_NOT_FOUND))
		return violated(sim, compact ? "compacting: %s" : "removing a checkpoint: %s", wal_strerror(result));
	return true;
}

/* That the store goes on with all that is no append. */
static bool go_on(struct sim *sim, struct wal_store *store, struct expected *x)
{
	struct cut_state found;
	bool good = true;

	for (unsigned i = 0; i < 2 && good; i++) {
		switch (random_below(&sim->random, 4)) {
		case 0:
			good = probe_prune(sim, store, x, (unsigned)random_below(&sim->random, SLOTS));
			break;
		case 1:
			good = probe_checkpoint(sim, store, x);
			break;
		case 2:
			good = probe_removal(sim, store, x);
			break;
		}
	}
	return good && check_cuts(sim, store, x, &found);
}

/* What HEAD names is the latest; where it can't be read, another reader looks for that one too. */
static bool head_is_right(struct sim *sim, const struct expected *x)
{
	int store = memfs_lookup(&sim->disk, MEMFS_ROOT, STORE_NAME);
	const struct memfs_node *head = store < 0 ? NULL : memfs_find(&sim->disk, (unsigned)store, "HEAD");
	size_t size;

	if (!head || head->size < 2 || get_le16(head->data) == 0 || head->size - 2 < get_le16(head->data) || x->cuts.latest == 0)
		return true;
	const void *bytes = cut_id(sim->w->versions.items[x->cuts.latest].id, &size);
	return (get_le16(head->data) == size && memcmp(head->data + 2, bytes, size) == 0) || violated(sim, "HEAD does not name the latest checkpoint");
}

bool try_store(struct sim *sim, struct expected *x, bool first_open)
{
	struct cut_state found;
	int result;
	struct wal_store *store = open_state(sim, false, &result);

	if (!store)
		return false;
	bool good = check_names(sim, store, x) && check_cuts(sim, store, x, &found);
	if (good)
		say(sim, x, NOTE_CUTS_FOUND, memcmp(found.version, x->cuts.version, sizeof found.version) != 0 ||
						     memcmp(found.forgotten, x->cuts.forgotten, sizeof found.forgotten) != 0, found.latest);
	for (unsigned slot = 0; slot < SLOTS && good; slot++)
		good = try_stream(sim, store, x, slot, first_open);
	if (good && first_open)
		good = go_on(sim, store, x);
	return close_state(sim, store) && good && head_is_right(sim, x);
}
