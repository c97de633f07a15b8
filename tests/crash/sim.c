/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts, simulated: workloads run on a file system in memory that writes down what is done to it; at each moment of that the states that a power cut may
 * leave (powercut.h) are built, opened and looked at. Now and then the power is cut again while that goes on. Small workloads: all states of each moment up to a bound, and random
 * ones beyond it; long ones: random states.
 *
 * The death of the process alone, at each moment too and within the workloads ('k' in the scripts), must leave all that was acknowledged.
 *
 * The same with disks and libraries that are broken on purpose shows that the simulator would notice: each must come to a violation.
 *
 *	WALFS_TEST_SEED		another seed; the one in use is printed
 *	WALFS_CRASH_STATES	how many random states (default 8000)
 *	WALFS_TEST_ONLY		only tests whose name matches this (*, ?)
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"
#include "names.h"
#include "powercut.h"
#include "test.h"
#include "workload.h"

enum {
	STATES_RANDOM = 8000,
	STATES_PER_MOMENT = 150, /* of a small workload, one after another */
	RANDOM_PER_MOMENT = 10,	 /* and at random, if those were not all */
	STATES_PER_WORKLOAD = 400,
	STATES_BROKEN_MAX = 20000,
	WHY_BYTES = 600,
	TAILS = 2,
	SCRIPT_MAX = 160,
};

/* The end of a segment file, as an own reading of it finds it. */
struct tail {
	uint64_t segment_id;
	uint64_t offset; /* the valid frames end here */
	uint8_t *bytes;	 /* what stands behind them, up to the last byte that is not zero */
	size_t size;
};

struct sim {
	/* what is being tried */
	struct random random;
	struct workload *w;
	unsigned version_count; /* of its checkpoints */
	struct memfs disk;   /* the state that is looked at */
	struct memfs before; /* a copy of it, if the power is to be cut again */
	struct trace again;  /* what was done to it since */
	struct tail tails[SLOTS][TAILS]; /* of the last segment files */
	struct logged logged;
	/* what has been tried */
	uint64_t *seen; /* hashes: a set, 0 is no member */
	size_t seen_count;
	size_t seen_capacity;
	uint64_t states;
	uint64_t nested;
	uint64_t truncated; /* streams that were found with a torn tail */
	uint64_t violations;
	uint64_t violations_max;
	char why[WHY_BYTES];
	char first[WHY_BYTES]; /* of the first violation */
	bool silent;
};

static uint64_t environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* The first reason stays. Always false. */
__attribute__((format(printf, 2, 3))) static bool violated(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->why[0]) {
		va_start(args, format);
		vsnprintf(sim->why, sizeof sim->why, format, args);
		va_end(args);
	}
	return false;
}

/* ---- An own reading of a segment ---- */

static uint64_t valid_end(const struct memfs_node *file, uint64_t id)
{
	uint64_t offset = 0;

	while (file->size - offset >= FRAME_HEADER_BYTES) {
		const uint8_t *at = file->data + offset;
		struct frame_header h;

		if (frame_decode_header(at, &h) != FRAME_OK || h.start_id != id || h.disk_size > file->size - offset - FRAME_HEADER_BYTES ||
		    frame_check_crc(&h, at + FRAME_HEADER_BYTES) != FRAME_OK)
			break;
		offset += FRAME_HEADER_BYTES + (uint64_t)h.disk_size;
		id += h.entry_count;
	}
	return offset;
}

static void read_tail(struct tail *tail, const struct memfs_node *file, uint64_t id)
{
	size_t end = file->size;

	free(tail->bytes);
	*tail = (struct tail){ .segment_id = id, .offset = file->size > 0 ? valid_end(file, id) : 0 };
	while (end > tail->offset && file->data[end - 1] == 0)
		end--;
	if (end == tail->offset)
		return;
	tail->size = end - (size_t)tail->offset;
	tail->bytes = malloc(tail->size);
	assert_non_null(tail->bytes);
	memcpy(tail->bytes, file->data + tail->offset, tail->size);
}

static struct memfs_node *stream_dir(struct memfs *fs, const char *name)
{
	int store = memfs_lookup(fs, MEMFS_ROOT, STORE_NAME);

	return store < 0 ? NULL : memfs_find(fs, (unsigned)store, name);
}

/* Of the last two segment files of each stream: the very last may be an empty one that is not in use yet. */
static void read_tails(struct sim *sim)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		const struct memfs_node *dir = stream_dir(&sim->disk, slot_name(sim->w, slot));
		uint64_t last[TAILS] = { UINT64_MAX, UINT64_MAX }, id;
		const struct memfs_node *file[TAILS] = { NULL, NULL };

		for (size_t i = 0; dir && i < dir->name_count; i++) {
			if (!name_is_segment(dir->names[i].name, &id))
				continue;
			unsigned place = !file[0] || id > last[0] ? 0 : !file[1] || id > last[1] ? 1 : TAILS;
			if (place == 0) {
				file[1] = file[0];
				last[1] = last[0];
			}
			if (place < TAILS) {
				file[place] = &sim->disk.nodes[dir->names[i].node];
				last[place] = id;
			}
		}
		for (unsigned t = 0; t < TAILS; t++) {
			free(sim->tails[slot][t].bytes);
			sim->tails[slot][t] = (struct tail){ .segment_id = UINT64_MAX };
			if (file[t])
				read_tail(&sim->tails[slot][t], file[t], last[t]);
		}
	}
}

static bool is_kept(struct sim *sim, unsigned slot, const struct tail *tail)
{
	const struct memfs_node *dir = stream_dir(&sim->disk, slot_name(sim->w, slot));

	for (size_t i = 0; dir && i < dir->name_count; i++) {
		const struct memfs_node *file = &sim->disk.nodes[dir->names[i].node];
		const char *name = dir->names[i].name;

		if (strtoull(name, NULL, 10) != tail->segment_id)
			continue;
		if (strstr(name, ".wal.torn.") && file->size == tail->size && memcmp(file->data, tail->bytes, tail->size) == 0)
			return true;
		if (strchr(name, '.') && strcmp(strchr(name, '.'), ".wal") == 0 && file->size >= tail->offset + tail->size &&
		    memcmp(file->data + tail->offset, tail->bytes, tail->size) == 0)
			return true;
	}
	return false;
}

/* ---- Looking at a store ---- */

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

/* What is said read-only must be right too, and nothing may change. */
static bool check_read_only(struct sim *sim, const struct expected *x)
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

static bool try_store(struct sim *sim, struct expected *x, bool first_open)
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

static bool tails_are_kept(struct sim *sim)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		/* The last file only: if that is an empty one that a crash left behind, the one before it was synced whole. */
		const struct tail *tail = &sim->tails[slot][0];

		if (tail->bytes && !is_kept(sim, slot, tail))
			return violated(sim, "the torn end of '%s', %zu bytes at %" PRIu64 " of segment %" PRIu64 ", is kept nowhere", slot_name(sim->w, slot),
					tail->size, tail->offset, tail->segment_id);
	}
	return true;
}

/* ---- States ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size > 0 && p[size - 1] == 0)
		size--;
	for (size_t i = 0; i < size; i++)
		h = mix(h, p[i]);
	return h;
}

/* Of all that can be seen of it, in whatever order the names are. */
static uint64_t hash_dir(const struct memfs *fs, unsigned number)
{
	const struct memfs_node *dir = &fs->nodes[number];
	uint64_t sum = 0;

	for (size_t i = 0; i < dir->name_count; i++) {
		const struct memfs_node *node = &fs->nodes[dir->names[i].node];
		uint64_t h = hash_bytes(1, dir->names[i].name, strlen(dir->names[i].name));

		h = node->dir ? mix(h, hash_dir(fs, dir->names[i].node)) : mix(hash_bytes(h, node->data, node->size), node->size);
		sum += mix(h, 7);
	}
	return mix(sum, dir->name_count);
}

static uint64_t hash_expected(const struct expected *x)
{
	uint64_t h = 3;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		h = mix(h, x->slots[slot].exists);
		h = mix(h, x->slots[slot].durable);
		h = mix(h, x->slots[slot].submitted);
		h = mix(h, x->slots[slot].probed);
		h = mix(h, x->slots[slot].base);
		h = mix(h, x->slots[slot].first_min);
		h = mix(h, x->slots[slot].first_max);
	}
	h = hash_bytes(h, &x->cuts, sizeof x->cuts);
	return hash_bytes(h, &x->cuts_next, sizeof x->cuts_next);
}

static void seen_put(struct sim *sim, uint64_t hash)
{
	size_t at = hash & (sim->seen_capacity - 1);

	while (sim->seen[at] != 0 && sim->seen[at] != hash)
		at = (at + 1) & (sim->seen_capacity - 1);
	sim->seen_count += sim->seen[at] == 0;
	sim->seen[at] = hash;
}

/* False if it is new. */
static bool seen_before(struct sim *sim, uint64_t hash)
{
	size_t count = sim->seen_count;

	if (2 * sim->seen_count >= sim->seen_capacity) {
		uint64_t *old = sim->seen;
		size_t capacity = sim->seen_capacity;

		sim->seen_capacity = capacity ? 2 * capacity : 4096;
		sim->seen = calloc(sim->seen_capacity, sizeof *sim->seen);
		assert_non_null(sim->seen);
		sim->seen_count = 0;
		for (size_t i = 0; i < capacity; i++) {
			if (old[i] != 0)
				seen_put(sim, old[i]);
		}
		free(old);
		count = sim->seen_count;
	}
	seen_put(sim, hash | 1);
	return sim->seen_count == count;
}

/* Looks at sim->disk. Twice: the second open finds what the first one left, and takes it from a clean close. */
static bool check_state(struct sim *sim, struct expected x)
{
	sim->why[0] = '\0';
	/* Those that were made in other states are no longer. */
	sim->w->versions.count = sim->version_count;
	read_tails(sim);
	if (random_below(&sim->random, 8) == 0 && !check_read_only(sim, &x))
		return false;
	return try_store(sim, &x, true) && tails_are_kept(sim) && try_store(sim, &x, false);
}

static void report(struct sim *sim, const char *where, size_t at, size_t count)
{
	const struct workload *w = sim->w;

	if (sim->violations++ == 0)
		memcpy(sim->first, sim->why, sizeof sim->first);
	if (sim->silent || sim->violations > sim->violations_max)
		return;
	print_message("# violation: %s\n", sim->why);
	print_message("#   %s before event %zu of %zu; script \"%s\", seed %" PRIu64 ", sync %d, compression %d, segment_size %" PRIu64 ", segment_entries %" PRIu64 "\n",
		      where, at, count, w->script, w->seed, w->opts.sync, w->opts.compression, w->opts.segment_size, w->opts.segment_entries);
	for (char *line = sim->logged.text, *end; line && (end = memchr(line, '\n', sim->logged.size - (size_t)(line - sim->logged.text)));) {
		print_message("#   log: %.*s\n", (int)(end - line), line);
		line = (size_t)(end + 1 - sim->logged.text) < sim->logged.size ? end + 1 : NULL;
	}
}

/* The power is cut again at a random moment of what check_state() did, and the store opened once more. */
static bool cut_again(struct sim *sim, struct expected x)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	size_t at = random_below(&sim->random, sim->again.count + 1);

	powercut_init(&pc, &sim->before, &sim->again);
	for (size_t i = 0; i < at; i++) {
		expected_step(&x, &sim->again.events[i]);
		powercut_step(&pc);
	}
	chooser_randomize(&c, (unsigned)random_below(&sim->random, 5) * 25);
	powercut_state(&pc, &c, &sim->disk);
	powercut_release(&pc);
	chooser_release(&c);
	sim->nested++;
	sim->why[0] = '\0';
	/* Those of the first cut. */
	bool good = tails_are_kept(sim);
	logged_release(&sim->logged);
	if (good) {
		read_tails(sim);
		good = try_store(sim, &x, true) && try_store(sim, &x, false);
	}
	if (!good)
		report(sim, "in the second power cut,", at, sim->again.count);
	return good;
}

/* Builds the state that `c` chooses and looks at it. */
static void try_state(struct sim *sim, const struct powercut *pc, struct chooser *c, const struct expected *x)
{
	powercut_state(pc, c, &sim->disk);
	if (seen_before(sim, mix(hash_dir(&sim->disk, MEMFS_ROOT), hash_expected(x))))
		return;
	sim->states++;
	logged_release(&sim->logged);
	bool again = random_below(&sim->random, 4) == 0;
	if (again) {
		memfs_copy(&sim->disk, &sim->before);
		sim->disk.trace = &sim->again;
		sim->disk.breakage = sim->w->fs->breakage;
	}
	if (!check_state(sim, *x))
		report(sim, "power cut", pc->at, pc->trace->count);
	else if (again)
		cut_again(sim, *x);
	trace_release(&sim->again);
}

/* The next event is a note that only makes more of this very state certain. */
static bool says_more(const struct powercut *pc)
{
	const struct trace_event *next = pc->at < pc->trace->count ? &pc->trace->events[pc->at] : NULL;

	return next && next->kind == TRACE_NOTE &&
	       (next->node == NOTE_ACKED || next->node == NOTE_DURABLE || next->node == NOTE_CREATED || next->node == NOTE_DELETED ||
		next->node == NOTE_PRUNED || next->node == NOTE_CUTS_CHANGED);
}

static void start_disk(struct sim *sim, struct powercut *pc, struct expected *x)
{
	memfs_reset(&sim->disk);
	powercut_init(pc, &sim->disk, &sim->w->trace);
	expected_init(x);
	/* An open makes them. */
	for (unsigned slot = 0; slot < SLOTS && sim->w->sharded; slot++)
		x->slots[slot].exists = MAYBE;
}

static void one_further(struct powercut *pc, struct expected *x)
{
	expected_step(x, &pc->trace->events[pc->at]);
	powercut_step(pc);
}

/* The death of the process alone: all that was done is there, and so must be all that was acknowledged. */
static void try_killed(struct sim *sim, const struct powercut *pc, struct chooser *c, const struct expected *x)
{
	struct expected killed = *x;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct expected_slot *s = &killed.slots[slot];

		s->durable = s->acked > s->durable ? s->acked : s->durable;
	}
	chooser_randomize(c, 100);
	try_state(sim, pc, c, &killed);
}

/* All states of each moment, as far as the bound allows. */
static void explore_all(struct sim *sim)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	struct expected x;

	start_disk(sim, &pc, &x);
	while (pc.at < pc.trace->count && sim->violations < sim->violations_max) {
		one_further(&pc, &x);
		if (says_more(&pc))
			continue;
		bool more = true;
		unsigned n = 0;
		for (chooser_begin(&c); more && n < STATES_PER_MOMENT; n++) {
			try_state(sim, &pc, &c, &x);
			more = chooser_next(&c);
		}
		for (n = 0; more && n < RANDOM_PER_MOMENT; n++) {
			chooser_randomize(&c, n % 5 * 25);
			try_state(sim, &pc, &c, &x);
		}
		try_killed(sim, &pc, &c, &x);
	}
	chooser_release(&c);
	powercut_release(&pc);
}

/* About `states` random ones, spread evenly over its moments. */
static void explore_some(struct sim *sim, uint64_t states)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	struct expected x;

	start_disk(sim, &pc, &x);
	while (pc.at < pc.trace->count && sim->violations < sim->violations_max) {
		one_further(&pc, &x);
		if (says_more(&pc))
			continue;
		uint64_t n = states / pc.trace->count + (random_below(&sim->random, pc.trace->count) < states % pc.trace->count);
		for (uint64_t i = 0; i < n; i++) {
			chooser_randomize(&c, (unsigned)random_below(&sim->random, 5) * 25);
			try_state(sim, &pc, &c, &x);
		}
		if (n > 0)
			try_killed(sim, &pc, &c, &x);
	}
	chooser_release(&c);
	powercut_release(&pc);
}

/* ---- Workloads ---- */

static struct sim *sim_new(uint64_t seed, uint64_t violations_max)
{
	struct sim *sim = calloc(1, sizeof *sim);

	assert_non_null(sim);
	sim->random.state = seed;
	sim->violations_max = violations_max;
	pthread_mutex_init(&sim->logged.lock, NULL);
	memfs_init(&sim->disk);
	memfs_init(&sim->before);
	return sim;
}

static void sim_free(struct sim *sim)
{
	for (unsigned i = 0; i < SLOTS * TAILS; i++)
		free(sim->tails[i / TAILS][i % TAILS].bytes);
	logged_release(&sim->logged);
	pthread_mutex_destroy(&sim->logged.lock);
	memfs_release(&sim->disk);
	memfs_release(&sim->before);
	free(sim->seen);
	free(sim);
}

struct attempt {
	const char *script;
	uint64_t seed;
	size_t size_max;
	struct wal_options opts;
	unsigned breakage;
	bool nested;
	enum script_kind kind;
	uint64_t states; /* random ones; 0: all of each moment */
};

/* Runs one workload and looks at the states it may leave. */
static void sim_attempt(struct sim *sim, const struct attempt *a)
{
	struct memfs fs;
	struct workload w = { .seed = a->seed, .size_max = a->size_max, .nested = a->nested, .sharded = a->kind == SCRIPT_SHARDS, .script = a->script,
			      .opts = a->opts, .fs = &fs };

	memfs_init(&fs);
	w.opts.shards = w.sharded ? SLOTS : 0;
	sim->w = &w;
	workload_run(&w, a->breakage);
	sim->version_count = w.versions.count;
	if (w.why[0])
		fail_msg("script \"%s\", seed %" PRIu64 ", sync %d: %s", a->script, a->seed, a->opts.sync, w.why);
	if (a->states == 0)
		explore_all(sim);
	else
		explore_some(sim, a->states);
	workload_release(&w);
	memfs_release(&fs);
	sim->w = NULL;
}

/* The end of a test: no violation is allowed. */
static void finish(struct sim *sim, const char *what)
{
	uint64_t violations = sim->violations;

	print_message("# %s: %" PRIu64 " different states, %" PRIu64 " of them cut again while they were recovered, %" PRIu64
		      " torn tails, %" PRIu64 " violations\n",
		      what, sim->states, sim->nested, sim->truncated, violations);
	sim_free(sim);
	assert_int_equal(violations, 0);
}

static uint64_t base_seed(void)
{
	return environment("WALFS_TEST_SEED", 20251);
}

/* Each kind of step at least once in each sync mode. */
static const char *const small_scripts[] = {
	"0caaa",
	"0cabad",
	"0caasao",
	"0caramra",
	"0caakaasa",
	"0cmka",
	"0cx0ca1cx",
	"0cr0ata1ca2co1b",
	"0clees",
};

/* The same for what is no append. */
static const char *const small_cut_scripts[] = {
	"0caraPaara",
	"0cararbpaPka",
	"0caCaMarRa",
	"0carCaraCfQ",
	"0caC1ca0anM",
	"0caCPx0caEaC",
	"0ca1caCaCRRRCa",
};

static const char *const small_shard_scripts[] = {
	"yCa",
	"arCyPfa",
};

static void attempt_small(struct sim *sim, const char *const *scripts, size_t count, enum script_kind kind)
{
	for (unsigned sync = 0; sync < 3; sync++) {
		for (size_t i = 0; i < count; i++) {
			struct attempt a = { .script = scripts[i], .seed = base_seed() + i, .size_max = 700, .kind = kind, .opts = { .sync = sync, .segment_size = 4096 } };

			sim_attempt(sim, &a);
		}
	}
}

static void all_states_of_small_workloads(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_scripts, TEST_COUNT(small_scripts), SCRIPT_APPENDS);
	finish(sim, "small workloads");
}

static void all_states_of_small_prunes_and_checkpoints(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_cut_scripts, TEST_COUNT(small_cut_scripts), SCRIPT_CHECKPOINTS);
	finish(sim, "small workloads with prunes and checkpoints");
}

static void all_states_of_small_sharded_stores(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_shard_scripts, TEST_COUNT(small_shard_scripts), SCRIPT_SHARDS);
	finish(sim, "small sharded stores");
}

/* Options that make for many rotations, or few, and all modes. */
static void random_options(struct random *random, struct wal_options *opts)
{
	static const uint64_t sizes[] = { 4096, 8192, 65536, 1 << 20 };

	*opts = (struct wal_options){
		.sync = (enum wal_sync)random_below(random, 3),
		.compression = random_below(random, 2) ? WAL_COMPRESSION_LZ4 : WAL_COMPRESSION_NONE,
		.min_compression_size = 64,
		.segment_size = sizes[random_below(random, TEST_COUNT(sizes))],
		.segment_entries = random_below(random, 3) == 0 ? 5 : 0,
		.read = random_below(random, 2) ? WAL_READ_MMAP : WAL_READ_IO,
	};
}

/* With a script, sizes and options at random; the rest is in `like`. */
static void random_attempt(struct sim *sim, struct random *random, const struct attempt *like)
{
	char script[SCRIPT_MAX + 1];
	struct attempt a = *like;

	workload_make_script(random, like->kind, script, 24 + random_below(random, SCRIPT_MAX - 24));
	a.script = script;
	a.seed = random_next(random);
	a.size_max = (size_t)64 << random_below(random, 8);
	random_options(random, &a.opts);
	sim_attempt(sim, &a);
}

static void random_states_of_long_workloads(void **state)
{
	uint64_t seed = base_seed(), states = environment("WALFS_CRASH_STATES", STATES_RANDOM);
	struct sim *sim = sim_new(seed, 5);
	struct random random = { seed };

	(void)state;
	print_message("# seed %" PRIu64 "\n", seed);
	while (sim->states + sim->nested < states && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .states = STATES_PER_WORKLOAD });
	finish(sim, "long workloads");
}

static void random_states_with(enum script_kind kind, const char *what)
{
	uint64_t states = environment("WALFS_CRASH_STATES", STATES_RANDOM);
	struct sim *sim = sim_new(base_seed(), 5);
	struct random random = { base_seed() };

	while (sim->states + sim->nested < states && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .kind = kind, .states = STATES_PER_WORKLOAD });
	finish(sim, what);
}

static void random_states_of_prunes_and_checkpoints(void **state)
{
	(void)state;
	random_states_with(SCRIPT_CHECKPOINTS, "prunes and checkpoints");
}

static void random_states_of_sharded_stores(void **state)
{
	(void)state;
	random_states_with(SCRIPT_SHARDS, "sharded stores");
}

/* Of the records in the log most no longer count, so it is written anew behind one that was appended. */
static void states_of_a_log_that_is_tidied(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	for (unsigned sync = 0; sync < 3; sync++) {
		struct attempt a = { .script = "0caCLaLaLnLaMLaC", .seed = base_seed() + sync, .size_max = 700, .states = 300, .opts = { .sync = sync } };

		sim_attempt(sim, &a);
	}
	finish(sim, "a log that is tidied");
}

/* Its payload goes into the segment before its header does, and in pieces. */
static void states_of_an_entry_from_a_temporary_file(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	for (unsigned sync = 0; sync < 3; sync++) {
		struct attempt a = { .script = "0caDaDa", .seed = base_seed(), .size_max = 700, .states = 40,
				     .opts = { .sync = sync, .read_buffer = 256 << 10, .segment_size = 3 << 20 } };

		sim_attempt(sim, &a);
	}
	finish(sim, "large entries");
}

/* Copies of segment files, say: what is inside of an entry is no frame of the stream, however much it looks like one. */
static void states_with_frames_inside_of_entries(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);
	struct random random = { base_seed() };

	(void)state;
	while (sim->states + sim->nested < environment("WALFS_CRASH_STATES", STATES_RANDOM) / 4 && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .nested = true, .states = STATES_PER_WORKLOAD });
	finish(sim, "frames inside of entries");
}

/* ---- Broken disks ---- */

/* Runs until the simulator complains, and returns how many states it took; 0 if it never did. */
static uint64_t states_until_caught(unsigned breakage, enum script_kind kind, uint64_t states_max, char why[WHY_BYTES])
{
	struct sim *sim = sim_new(base_seed(), 1);
	struct random random = { base_seed() };
	uint64_t states = 0;

	sim->silent = true;
	while (sim->violations == 0 && sim->states + sim->nested < states_max)
		random_attempt(sim, &random, &(struct attempt){ .breakage = breakage, .kind = kind, .states = STATES_PER_WORKLOAD });
	if (sim->violations > 0)
		states = sim->states + sim->nested;
	memcpy(why, sim->first, WHY_BYTES);
	sim_free(sim);
	return states;
}

static const struct broken {
	unsigned breakage;
	const char *what;
	enum script_kind kind;
} broken[] = {
	{ BREAK_FDATASYNC, "no fdatasync" },
	{ BREAK_DIR_FSYNC, "no fsync of directories" },
	{ BREAK_SEGMENT_FSYNC, "no fsync of segments (their fdatasync is done)" },
	{ BREAK_SYNC_EARLY, "each fdatasync before the last write" },
	{ BREAK_RECOVERY_SYNC, "no fdatasync when a store is opened" },
	{ BREAK_TORN_SYNC, "no fsync of the copy of a torn end" },
	{ BREAK_LOCK_SYNC, "no fsync of LOCK" },
	{ BREAK_DIR_FSYNC, "no fsync of directories, with checkpoints", SCRIPT_CHECKPOINTS },
	{ BREAK_CUT_SYNC, "no sync of what a checkpoint covers", SCRIPT_CHECKPOINTS },
	{ BREAK_CUT_SYNC, "no sync of what a checkpoint of shards covers", SCRIPT_SHARDS },
	{ BREAK_CKPTLOG_SYNC, "no sync of checkpoints.log", SCRIPT_CHECKPOINTS },
};

static void broken_disks_are_noticed(void **state)
{
	char why[WHY_BYTES];
	unsigned missed = 0;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(broken); i++) {
		uint64_t states = states_until_caught(broken[i].breakage, broken[i].kind, STATES_BROKEN_MAX, why);

		if (states > 0)
			print_message("# %s: noticed after %" PRIu64 " states: %s\n", broken[i].what, states, why);
		else
			print_message("# %s: NOT NOTICED\n", broken[i].what);
		missed += states == 0;
	}
	assert_int_equal(missed, 0);
}

/*
 * segments.idx and head.state hold nothing that the names of the segments don't say, as long as there is a segment; and there always is one, the active. A crash may leave
 * them empty, of zeros, or old: they are written anew. So it does not matter if their syncs are lost, or come after the rename. It would if an id were
 * taken from them. HEAD, if it can't be read, is the checkpoint with the latest time.
 */
static void small_files_may_be_lost(void **state)
{
	static const struct broken may[] = {
		{ BREAK_SMALL_SYNC, "no syncs of small files", SCRIPT_APPENDS },
		{ BREAK_SMALL_SYNC, "no syncs of small files, with prunes", SCRIPT_CHECKPOINTS },
		{ BREAK_RENAME_FIRST, "small files renamed before their sync", SCRIPT_APPENDS },
		{ BREAK_RENAME_FIRST, "small files renamed before their sync, with prunes", SCRIPT_CHECKPOINTS },
		{ BREAK_HEAD_SYNC, "no syncs of HEAD", SCRIPT_CHECKPOINTS },
	};
	char why[WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(may); i++) {
		uint64_t states = states_until_caught(may[i].breakage, may[i].kind, environment("WALFS_CRASH_STATES", STATES_RANDOM) / 6, why);

		if (states > 0)
			fail_msg("%s: after %" PRIu64 " states: %s", may[i].what, states, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_states_of_small_workloads),
		cmocka_unit_test(random_states_of_long_workloads),
		cmocka_unit_test(all_states_of_small_prunes_and_checkpoints),
		cmocka_unit_test(all_states_of_small_sharded_stores),
		cmocka_unit_test(random_states_of_prunes_and_checkpoints),
		cmocka_unit_test(random_states_of_sharded_stores),
		cmocka_unit_test(states_of_a_log_that_is_tidied),
		cmocka_unit_test(states_of_an_entry_from_a_temporary_file),
		cmocka_unit_test(states_with_frames_inside_of_entries),
		cmocka_unit_test(broken_disks_are_noticed),
		cmocka_unit_test(small_files_may_be_lost),
	};

	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
