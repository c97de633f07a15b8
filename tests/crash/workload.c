/* SPDX-License-Identifier: Apache-2.0 */
#include "workload_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "crc32.h"
#include "frame.h"

#define ANY_SIZE SIZE_MAX

enum {
	LARGE_DRAFT = (1 << 20) + 70000,
	AWKWARD_SIZE = 964, /* the next header begins 24 bytes before a sector ends: the mark is in the next one, all that the checksum covers in this */
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

const char *slot_name(const struct workload *w, unsigned slot)
{
	static const char *const names[SLOTS] = { "orders", "b", "with space", "zz.9" };
	static const char *const shards[SLOTS] = { "shard_00", "shard_01", "shard_02", "shard_03" };

	return w->sharded ? shards[slot] : names[slot];
}

uint64_t slot_next(const struct slot *s)
{
	return s->count - s->base;
}

void wrong(struct workload *w, const char *format, ...)
{
	va_list args;

	if (w->why[0])
		return;
	va_start(args, format);
	vsnprintf(w->why, sizeof w->why, format, args);
	va_end(args);
}

/* ---- What must hold ---- */

void expected_init(struct expected *e)
{
	*e = (struct expected){ 0 };
	for (unsigned i = 0; i < SLOTS; i++)
		e->slots[i].probed = UINT64_MAX;
}

static void raise_to(uint64_t *value, uint64_t to)
{
	if (*value < to)
		*value = to;
}

static void step_cuts(struct expected *e, const struct trace_event *event)
{
	switch ((enum note)event->node) {
	case NOTE_CHECKPOINTING:
		cut_state_create(&e->cuts_next, event->child, (unsigned)event->size);
		break;
	case NOTE_REMOVING:
		cut_state_remove(&e->cuts_next, event->child);
		break;
	case NOTE_COMPACTING:
		cut_state_compact(&e->cuts_next, event->size);
		break;
	case NOTE_CUTS_FOUND:
		if (event->child == 0)
			e->cuts_next = e->cuts;
		e->cuts_next.latest = (unsigned)event->size;
		e->cuts = e->cuts_next;
		break;
	default:
		e->cuts = e->cuts_next;
		break;
	}
}

void expected_step(struct expected *e, const struct trace_event *event)
{
	struct expected_slot *s = &e->slots[event->child % SLOTS];
	uint64_t value = event->size;

	if (event->kind != TRACE_NOTE)
		return;
	switch ((enum note)event->node) {
	case NOTE_CREATING:
		*s = (struct expected_slot){ .exists = MAYBE, .probed = UINT64_MAX, .base = value };
		break;
	case NOTE_CREATED:
		s->exists = THERE;
		break;
	case NOTE_DELETING:
		s->exists = MAYBE;
		e->cuts_next.forgotten[event->child] = (unsigned)value;
		break;
	case NOTE_DELETED:
		s->exists = GONE;
		e->cuts = e->cuts_next;
		break;
	case NOTE_SUBMITTED:
		raise_to(&s->submitted, value);
		break;
	case NOTE_ACKED:
		raise_to(&s->acked, value);
		break;
	case NOTE_DURABLE:
		raise_to(&s->durable, value);
		break;
	case NOTE_FOUND:
		s->exists = THERE;
		s->durable = s->acked = s->submitted = value;
		break;
	case NOTE_PROBED:
		if (s->probed > value)
			s->probed = value;
		raise_to(&s->submitted, value + 1);
		break;
	case NOTE_PRUNING:
		raise_to(&s->first_max, value);
		break;
	case NOTE_PRUNED:
		s->first_min = s->first_max = value;
		raise_to(&s->durable, value);
		break;
	default:
		step_cuts(e, event);
		break;
	}
}

/* ---- Contents ---- */

size_t probe_content(unsigned slot, uint64_t id, char buf[64])
{
	return (size_t)snprintf(buf, 64, "probe %" PRIu64 " of %u after the crash", id, slot);
}

/* A valid frame of its own, with the id of the entry that holds it. */
static size_t frame_content(uint8_t *data, uint64_t id, bool marked)
{
	struct frame_header h = { .start_id = id, .entry_count = 1, .type = FRAME_RAW, .disk_size = 12, .raw_size = 12 };
	uint8_t *payload = data + FRAME_HEADER_BYTES;

	put_le32(payload, 8);
	memcpy(payload + 4, "impostor", 8);
	h.crc = crc32_update(frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size), payload, h.disk_size);
	/* As in a copy of a segment: without a mark, as ironwal writes it, or with one for the place where it was written, which is not this one. */
	if (marked)
		frame_set_mark(&h, id + 1, 4096);
	frame_encode_header(data, &h);
	return FRAME_HEADER_BYTES + 12;
}

/* The next entry of a stream: as it will be, if it is committed. */
static struct known_entry *new_entry(struct workload *w, unsigned slot, size_t size_max)
{
	struct slot *s = &w->slots[slot];
	struct random r = { w->seed ^ (s->count * SLOTS + slot) * 0x9e3779b97f4a7c15u };
	uint64_t id = slot_next(s);
	/* In some workloads many are empty: a torn header may then be all that is wrong with a frame. */
	size_t size = w->seed % 4 == 0 && random_below(&r, 3) == 0 ? 0 : random_size(&r, size_max);
	uint8_t *data = must(malloc(size + 256));
	size_t n = 0;

	if (w->nested && random_below(&r, 2) == 0)
		n = frame_content(data, id, random_below(&r, 2));
	else if (size > 0)
		n = (size_t)snprintf((char *)data, 64, "%u/%zu;", slot, s->count);
	if (size > n)
		random_fill(random_next(&r), data + n, size - n);
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 64;
		s->entries = must(reallocarray(s->entries, s->capacity, sizeof *s->entries));
	}
	struct known_entry *e = &s->entries[s->count++];
	*e = (struct known_entry){ data, size > n ? size : n, id, id + 1 };
	return e;
}

static struct known_entry *entry_of_size(struct workload *w, unsigned slot, size_t size)
{
	struct known_entry *e = new_entry(w, slot, 1);

	e->data = must(realloc(e->data, size + 1));
	e->size = size;
	random_fill(w->seed + slot, e->data, size);
	return e;
}

void new_batch(struct workload *w, unsigned slot, size_t count, struct iovec *iov)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s);

	for (size_t i = 0; i < count; i++) {
		const struct known_entry *e = new_entry(w, slot, w->size_max / 2);

		iov[i] = (struct iovec){ e->data, e->size };
	}
	for (size_t i = s->base + first; i < s->count; i++) {
		s->entries[i].batch_first = first;
		s->entries[i].batch_end = slot_next(s);
	}
}

/* ---- Notes ---- */

void note(struct workload *w, enum note what, unsigned slot, uint64_t value)
{
	memfs_note(w->fs, what, slot, value);
}

void note_done(struct workload *w, unsigned slot, int result, bool durable, uint64_t first, uint64_t got_first)
{
	struct slot *s = &w->slots[slot];
	uint64_t next, known, count = slot_next(s);

	if (result != 0 || got_first != first) {
		wrong(w, "stream %u: result %d, id %" PRIu64 ", expected %" PRIu64, slot, result, got_first, first);
		return;
	}
	note(w, NOTE_ACKED, slot, count);
	if (durable)
		note(w, NOTE_DURABLE, slot, count);
	wal_stream_bounds(s->stream, NULL, &next, &known);
	note(w, NOTE_DURABLE, slot, known);
	if (next != count)
		wrong(w, "stream %u: %" PRIu64 " entries are visible, %" PRIu64 " were acknowledged", slot, next, count);
}

bool is_durable(const struct workload *w, unsigned flags, bool batch)
{
	return (flags & WAL_DURABLE) || w->opts.sync == WAL_SYNC_STRICT || (batch && w->opts.sync == WAL_SYNC_BATCH);
}

/* ---- Steps ---- */

static void do_append(struct workload *w, unsigned slot, unsigned flags, size_t size)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s), id = UINT64_MAX;
	const struct known_entry *e = size == ANY_SIZE ? new_entry(w, slot, w->size_max) : entry_of_size(w, slot, size);

	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	int result = wal_stream_append(s->stream, e->data, e->size, flags, &id);
	note_done(w, slot, result, is_durable(w, flags, false), first, id);
}

static void do_batch(struct workload *w, unsigned slot, unsigned flags)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s), id = UINT64_MAX;
	struct iovec iov[BATCH_MAX];
	size_t count = 2 + first % (BATCH_MAX - 1);

	new_batch(w, slot, count, iov);
	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	int result = wal_stream_append_batch(s->stream, iov, count, flags, &id);
	note_done(w, slot, result, is_durable(w, flags, true), first, id);
}

static void do_restore(struct workload *w, unsigned slot, unsigned flags)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s);
	struct wal_entry entries[RESTORED_AT_ONCE];
	size_t count = 0;

	for (size_t i = 0; i < RESTORED_AT_ONCE; i++) {
		const struct known_entry *e = new_entry(w, slot, w->size_max / 2);

		/* Apart, or they would be a batch. */
		entries[i] = (struct wal_entry){ .id = first + i, .time_ns = 1000 * (int64_t)(first + i + 1), .data = e->data, .size = e->size };
	}
	/* What is there already may be later than that: then they follow 1 ns apart all the same. */
	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	int result = wal_stream_restore(s->stream, entries, RESTORED_AT_ONCE, flags, &count);
	note_done(w, slot, result, flags & WAL_DURABLE, first, first + RESTORED_AT_ONCE - count);
}

static void do_txn(struct workload *w, unsigned slot)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s), id = UINT64_MAX;
	struct iovec iov[BATCH_MAX];
	struct wal_txn *txn;

	if (wal_txn_new(s->stream, &txn) != 0)
		abort();
	new_batch(w, slot, BATCH_MAX, iov);
	for (size_t i = 0; i < BATCH_MAX; i++) {
		if (wal_txn_add(txn, iov[i].iov_base, iov[i].iov_len) != 0)
			abort();
	}
	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	int result = wal_txn_commit(txn, 0, &id, NULL);
	note_done(w, slot, result, is_durable(w, 0, true), first, id);
}

static void do_draft(struct workload *w, unsigned slot, size_t size)
{
	struct slot *s = &w->slots[slot];
	uint64_t first = slot_next(s), id = UINT64_MAX;
	struct wal_draft *draft;
	const struct known_entry *e = size == ANY_SIZE ? new_entry(w, slot, w->size_max) : entry_of_size(w, slot, size);

	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	if (wal_draft_new(s->stream, &draft) != 0)
		abort();
	/* The middle comes last. */
	size_t a = e->size / 3, b = 2 * (e->size / 3);
	int result = wal_draft_write(draft, e->data, a, 0);
	if (result == 0)
		result = wal_draft_write(draft, e->data + b, e->size - b, b);
	if (result == 0)
		result = wal_draft_write(draft, e->data + a, b - a, a);
	if (result < 0)
		wal_draft_free(draft);
	else
		result = wal_draft_commit(draft, 0, &id);
	note_done(w, slot, result, is_durable(w, 0, false), first, id);
}

static void submitted_done(struct wal_op *op)
{
	struct submitted *s = container_of(op, struct submitted, op);

	if (op->result == 0 && op->first_id == s->first) {
		note(s->w, NOTE_ACKED, s->slot, s->end);
		if (is_durable(s->w, op->flags, op->count > 1))
			note(s->w, NOTE_DURABLE, s->slot, s->end);
	}
	LOCKED_SCOPE(&s->all->lock);
	s->all->left--;
	pthread_cond_signal(&s->all->all_done);
}

void submit_many(struct workload *w, unsigned slot, struct submission *all)
{
	struct slot *s = &w->slots[slot];

	*all = (struct submission){ .lock = PTHREAD_MUTEX_INITIALIZER, .all_done = PTHREAD_COND_INITIALIZER, .left = SUBMITTED_AT_ONCE };
	for (unsigned i = 0; i < SUBMITTED_AT_ONCE; i++) {
		struct submitted *o = &all->ops[i];
		size_t count = i == 3 ? 3 : 1;

		*o = (struct submitted){ .w = w, .all = all, .slot = slot, .first = slot_next(s) };
		new_batch(w, slot, count, o->iov);
		o->end = slot_next(s);
		o->op = (struct wal_op){ .done = submitted_done, .entries = o->iov, .count = count, .flags = i == 4 ? WAL_DURABLE : 0 };
	}
	note(w, NOTE_SUBMITTED, slot, slot_next(s));
	for (unsigned i = 0; i < SUBMITTED_AT_ONCE; i++)
		wal_stream_submit(s->stream, &all->ops[i].op);
}

void await_many(struct workload *w, unsigned slot, struct submission *all)
{
	pthread_mutex_lock(&all->lock);
	while (all->left > 0)
		pthread_cond_wait(&all->all_done, &all->lock);
	pthread_mutex_unlock(&all->lock);
	for (unsigned i = 0; i < SUBMITTED_AT_ONCE; i++)
		note_done(w, slot, all->ops[i].op.result, false, all->ops[i].first, all->ops[i].op.first_id);
}

static void do_submit(struct workload *w, unsigned slot)
{
	struct submission all;

	submit_many(w, slot, &all);
	await_many(w, slot, &all);
}

static void do_create(struct workload *w, unsigned slot)
{
	struct wal_error err = { 0 };

	if (w->sharded)
		return;
	if (!w->slots[slot].exists)
		note(w, NOTE_CREATING, slot, w->slots[slot].base);
	int result = wal_stream_open(w->store, slot_name(w, slot), WAL_CREATE, &w->slots[slot].stream, &err);
	if (result < 0) {
		wrong(w, "stream %u: cannot make it: %s", slot, err.message);
		return;
	}
	note(w, NOTE_CREATED, slot, 0);
	w->slots[slot].exists = true;
}

static void do_delete(struct workload *w, unsigned slot)
{
	struct slot *s = &w->slots[slot];

	if (s->first < slot_next(s) || w->sharded)
		return;
	w->cuts.forgotten[slot] = cut_versions_next(&w->versions);
	note(w, NOTE_DELETING, slot, w->cuts.forgotten[slot]);
	wal_stream_close(s->stream);
	s->stream = NULL;
	s->exists = false;
	int result = wal_stream_delete(w->store, slot_name(w, slot));
	if (result < 0)
		wrong(w, "stream %u: cannot delete it: %s", slot, wal_strerror(result));
	note(w, NOTE_DELETED, slot, 0);
	s->base = s->count;
	s->first = 0;
	expect_cuts(w);
}

static void open_store(struct workload *w)
{
	struct wal_error err = { 0 };

	memfs_set_recovering(w->fs, true);
	int result = store_open(&w->fs->sys, STORE_PATH, &w->opts, &w->store, &err);
	memfs_set_recovering(w->fs, false);
	if (result < 0) {
		wrong(w, "cannot open the store: %s", err.message);
		return;
	}
	for (unsigned i = 0; i < SLOTS && !w->why[0]; i++) {
		struct slot *s = &w->slots[i];
		uint64_t first = 0, next = 0;

		if (!s->exists)
			continue;
		result = wal_stream_open(w->store, slot_name(w, i), 0, &s->stream, &err);
		if (result == 0)
			wal_stream_bounds(s->stream, &first, &next, NULL);
		if (result < 0 || first != s->first || next != slot_next(s))
			wrong(w, "stream %u: after a reopen without power cut: %s, ids %" PRIu64 " to %" PRIu64 ", expected %" PRIu64 " to %" PRIu64, i,
			      wal_strerror(result), first, next, s->first, slot_next(s));
		else
			note(w, NOTE_DURABLE, i, next);
	}
	if (!w->why[0])
		expect_cuts(w);
}

static void close_store(struct workload *w, bool killed)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		wal_stream_close(w->slots[i].stream);
		w->slots[i].stream = NULL;
	}
	memfs_set_dead(w->fs, killed);
	int result = wal_store_close(w->store);
	memfs_set_dead(w->fs, false);
	w->store = NULL;
	if (killed)
		return;
	if (result < 0)
		wrong(w, "closing the store: %s", wal_strerror(result));
	for (unsigned i = 0; i < SLOTS; i++) {
		if (w->slots[i].exists && result == 0)
			note(w, NOTE_DURABLE, i, slot_next(&w->slots[i]));
	}
}

static void do_sync(struct workload *w, unsigned slot, bool all)
{
	int result = all ? wal_store_sync(w->store) : wal_stream_sync(w->slots[slot].stream);

	for (unsigned i = 0; i < SLOTS; i++) {
		if (w->slots[i].exists && (all || i == slot))
			note_done(w, i, result, true, 0, 0);
	}
}

static void do_rotate(struct workload *w, unsigned slot)
{
	int result = wal_stream_rotate(w->slots[slot].stream);

	if (result < 0)
		wrong(w, "stream %u: cannot rotate: %s", slot, wal_strerror(result));
	note_done(w, slot, result, true, 0, 0);
}

static void step(struct workload *w, unsigned slot, char what)
{
	switch (what) {
	case 'c':
		do_create(w, slot);
		return;
	case 'S':
		do_sync(w, slot, true);
		return;
	case 'C':
	case 'M':
	case 'E':
	case 'L':
	case 'R':
	case 'Q':
	case 'f':
	case 'y':
		step_all(w, what);
		return;
	case 'o':
	case 'k':
		close_store(w, what == 'k');
		open_store(w);
		return;
	}
	if (!w->slots[slot].exists)
		return;
	switch (what) {
	case 'x':
		do_delete(w, slot);
		break;
	case 'a':
	case 'A':
		do_append(w, slot, what == 'A' ? WAL_DURABLE : 0, ANY_SIZE);
		break;
	case 'e':
		do_append(w, slot, 0, 0);
		break;
	case 'l':
		do_append(w, slot, 0, AWKWARD_SIZE);
		break;
	case 'b':
	case 'B':
		do_batch(w, slot, what == 'B' ? WAL_DURABLE : 0);
		break;
	case 't':
		do_txn(w, slot);
		break;
	case 'v':
	case 'V':
		do_restore(w, slot, what == 'V' ? WAL_DURABLE : 0);
		break;
	case 'd':
	case 'D':
		do_draft(w, slot, what == 'D' ? LARGE_DRAFT : ANY_SIZE);
		break;
	case 'm':
		do_submit(w, slot);
		break;
	case 's':
		do_sync(w, slot, false);
		break;
	case 'r':
		do_rotate(w, slot);
		break;
	case 'P':
		do_rotate(w, slot);
		do_prune(w, slot, true);
		break;
	case 'p':
		do_prune(w, slot, false);
		break;
	case 'q':
		do_prune_amid(w, slot);
		break;
	case 'n':
		do_checkpoint_amid(w, slot);
		break;
	default:
		abort();
	}
}

void workload_run(struct workload *w, unsigned breakage)
{
	unsigned slot = 0;

	memfs_reset(w->fs);
	w->fs->trace = &w->trace;
	w->fs->breakage = breakage;
	for (unsigned i = 0; w->sharded && i < SLOTS; i++)
		w->slots[i].exists = true;
	open_store(w);
	for (unsigned i = 0; w->sharded && i < SLOTS; i++)
		note(w, NOTE_CREATED, i, 0);
	for (const char *p = w->script; *p && !w->why[0]; p++) {
		if (*p >= '0' && *p < '0' + SLOTS)
			slot = (unsigned)(*p - '0');
		else
			step(w, slot, *p);
	}
	if (w->store)
		close_store(w, false);
	if (w->fs->open_fds != 0 || w->fs->mapped != 0)
		wrong(w, "%ld descriptors and %ld mappings are left", w->fs->open_fds, w->fs->mapped);
	w->fs->trace = NULL;
}

void workload_release(struct workload *w)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		for (size_t e = 0; e < w->slots[i].count; e++)
			free(w->slots[i].entries[e].data);
		free(w->slots[i].entries);
	}
	cut_versions_release(&w->versions);
	trace_release(&w->trace);
}

void workload_make_script(struct random *random, enum script_kind kind, char *script, size_t length)
{
	static const char *const letters[] = {
		"aaaaaaaaaaaaaaaAAbbbBttvVdddmmmssSrrrok0123",
		"aaaaaaaaAbbBtdmmsrrrrokpppPPqqCCCMEnnRRQff0123",
		"aaaaaaaAbbtvdmmsrrrokppPqCCCMEnnRQffyyyy0123",
	};

	for (size_t i = 0; i < length; i++)
		script[i] = letters[kind][random_below(random, strlen(letters[kind]))];
	/* Each stream is made early or late, and some of them twice. */
	for (unsigned s = 0; s < 2 * SLOTS; s++) {
		size_t at = random_below(random, length - 4) & ~(size_t)3;

		memcpy(script + at, s % 3 == 2 ? kind == SCRIPT_APPENDS ? "?xc0" : "?Pxc" : "?caa", 4);
		script[at] = (char)('0' + s % SLOTS);
	}
	memcpy(script, "0c", 2);
	script[length] = '\0';
}
