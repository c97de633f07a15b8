/* SPDX-License-Identifier: Apache-2.0 */
#include "cuts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

/* Among them one that begins as a record does, and one whose record is longer than a sector. */
static const struct {
	const char *bytes;
	size_t size;
} cut_ids[CUT_IDS] = {
	{ "before-upgrade", 14 },
	{ "CKPT\0\377\1", 7 },
	{ HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED, 700 },
	{ "n", 1 },
	{ "with space/and slash", 20 },
	{ THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND
	  THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND, 20000 },
};

const void *cut_id(unsigned id, size_t *ret_size)
{
	*ret_size = cut_ids[id].size;
	return cut_ids[id].bytes;
}

/* ---- Versions ---- */

unsigned cut_versions_next(const struct cut_versions *versions)
{
	return versions->count > 0 ? versions->count : 1;
}

struct cut_version *cut_versions_add(struct cut_versions *versions)
{
	unsigned number = cut_versions_next(versions);

	if (number >= versions->capacity) {
		versions->capacity = versions->capacity ? 2 * versions->capacity : 16;
		versions->items = reallocarray(versions->items, versions->capacity, sizeof *versions->items);
		if (!versions->items)
			abort();
	}
	versions->count = number + 1;
	versions->items[number] = (struct cut_version){ 0 };
	return &versions->items[number];
}

void cut_versions_release(struct cut_versions *versions)
{
	free(versions->items);
	*versions = (struct cut_versions){ 0 };
}

/* ---- States ---- */

size_t cut_state_count(const struct cut_state *s)
{
	size_t count = 0;

	for (unsigned id = 0; id < CUT_IDS; id++)
		count += s->version[id] > 0;
	return count;
}

unsigned cut_state_nth(const struct cut_state *s, size_t nth)
{
	unsigned version = 0;

	for (size_t i = 0; i <= nth; i++) {
		unsigned next = UINT32_MAX;

		for (unsigned id = 0; id < CUT_IDS; id++) {
			if (s->version[id] > version && s->version[id] < next)
				next = s->version[id];
		}
		version = next;
	}
	return version;
}

void cut_state_create(struct cut_state *s, unsigned id, unsigned version)
{
	s->version[id] = s->latest = version;
}

void cut_state_remove(struct cut_state *s, unsigned id)
{
	bool was_latest = s->latest == s->version[id];
	size_t count;

	s->version[id] = 0;
	count = cut_state_count(s);
	if (was_latest)
		s->latest = count > 0 ? cut_state_nth(s, count - 1) : 0;
}

size_t cut_state_compact(struct cut_state *s, size_t keep)
{
	size_t removed = 0;

	while (cut_state_count(s) > keep) {
		unsigned oldest = cut_state_nth(s, 0);

		for (unsigned id = 0; id < CUT_IDS; id++) {
			if (s->version[id] == oldest)
				cut_state_remove(s, id);
		}
		removed++;
	}
	return removed;
}

/* ---- Looking ---- */

struct look {
	struct wal_store *store;
	const char *const *names;
	const struct cut_versions *versions;
	char *why;
};

/* The first reason stays. Always false. */
__attribute__((format(printf, 2, 3))) static bool violated(const struct look *l, const char *format, ...)
{
	va_list args;

	if (!l->why[0]) {
		va_start(args, format);
		vsnprintf(l->why, CUT_WHY_BYTES, format, args);
		va_end(args);
	}
	return false;
}

static unsigned id_number(const struct wal_checkpoint *c)
{
	unsigned id = 0;

	while (id < CUT_IDS && (cut_ids[id].size != c->id_size || memcmp(cut_ids[id].bytes, c->id, c->id_size) != 0))
		id++;
	return id;
}

static bool is_version(const struct look *l, const struct wal_checkpoint *c, unsigned version, const struct cut_state *s)
{
	const struct cut_version *v = &l->versions->items[version];
	size_t known = 0;

	for (unsigned stream = 0; stream < CUT_STREAMS; stream++) {
		uint64_t next;
		bool knows = v->knows[stream] && version >= s->forgotten[stream];
		int result = wal_checkpoint_find(c, l->names[stream], &next);

		if (knows ? result != 0 || next != v->next_id[stream] : result != WAL_NOT_FOUND)
			return false;
		known += knows;
	}
	return c->cut_count == known;
}

/* All that the checkpoint covers is there, or was taken by a prune. */
static bool is_covered(const struct look *l, const struct wal_checkpoint *c)
{
	for (size_t i = 0; i < c->cut_count; i++) {
		struct wal_stream *st;
		uint64_t next, durable;

		if (wal_stream_open(l->store, c->cuts[i].stream, 0, &st, NULL) != 0)
			return violated(l, "a checkpoint names the stream '%s', which there is not", c->cuts[i].stream);
		wal_stream_bounds(st, NULL, &next, &durable);
		wal_stream_close(st);
		if (next < c->cuts[i].next_id || durable < c->cuts[i].next_id)
			return violated(l, "a checkpoint covers the entries of '%s' below %" PRIu64 "; there are %" PRIu64 ", durable %" PRIu64,
					c->cuts[i].stream, c->cuts[i].next_id, next, durable);
	}
	return true;
}

/* The checkpoint, as the list has it, is one of `s`, and has the cut that it was given. */
static bool is_one_of(const struct look *l, const struct wal_checkpoint *listed, const struct cut_state *s)
{
	unsigned id = id_number(listed);
	struct wal_checkpoint *c;
	bool good;

	if (id == CUT_IDS)
		return violated(l, "there is a checkpoint that nobody made, its id has %zu bytes", listed->id_size);
	int result = wal_checkpoint_load(l->store, listed->id, listed->id_size, &c);
	if (result != 0)
		return violated(l, "checkpoint %u is listed and can't be loaded: %s", id, wal_strerror(result));
	good = s->version[id] > 0 && is_version(l, c, s->version[id], s) && c->time_ns == listed->time_ns && id_number(c) == id;
	free(c);
	return good;
}

static bool is_state(const struct look *l, const struct wal_checkpoint *list, size_t count, const struct cut_state *s)
{
	if (count != cut_state_count(s))
		return false;
	for (size_t i = 0; i < count; i++) {
		unsigned id = id_number(&list[i]);

		if (!is_one_of(l, &list[i], s) || s->version[id] != cut_state_nth(s, i))
			return false;
		if (i > 0 && list[i].time_ns <= list[i - 1].time_ns)
			return violated(l, "checkpoint %u is not later than the one before it", id);
	}
	return true;
}

static void describe(const struct cut_state *s, char text[CUT_WHY_BYTES / 4])
{
	int at = 0;

	text[0] = '\0';
	for (unsigned id = 0; id < CUT_IDS; id++)
		at += snprintf(text + at, CUT_WHY_BYTES / 4 - (size_t)at, "%s%u", id > 0 ? "," : "", s->version[id]);
	snprintf(text + at, CUT_WHY_BYTES / 4 - (size_t)at, " latest %u", s->latest);
}

/* Tells what is there instead of what should be. */
static bool wrong_state(const struct look *l, const struct wal_checkpoint *list, size_t count, const struct cut_state *now, const struct cut_state *next)
{
	char a[CUT_WHY_BYTES / 4], b[CUT_WHY_BYTES / 4], found[CUT_WHY_BYTES / 4] = "";
	int at = 0;

	describe(now, a);
	describe(next, b);
	for (size_t i = 0; i < count && i < CUT_IDS; i++) {
		unsigned id = id_number(&list[i]);

		at += snprintf(found + at, sizeof found - (size_t)at, "%s%u:%s", i > 0 ? "," : "", id,
			       id == CUT_IDS ? "foreign" : is_one_of(l, &list[i], now) ? "as before" : is_one_of(l, &list[i], next) ? "as after" : "neither");
	}
	return violated(l, "the checkpoints are {%s}; versions before {%s}, after {%s}", found, a, b);
}

static bool check_latest(const struct look *l, const struct cut_state *now, const struct cut_state *next, struct cut_state *found)
{
	size_t count = cut_state_count(found);
	struct wal_checkpoint *c;
	int result = wal_checkpoint_latest(l->store, &c);

	if (count == 0)
		return result == WAL_NOT_FOUND || violated(l, "without a checkpoint the latest is: %s", wal_strerror(result));
	if (result != 0)
		return violated(l, "of %zu checkpoints there is no latest: %s", count, wal_strerror(result));
	unsigned id = id_number(c);
	bool good = id < CUT_IDS && found->version[id] > 0 && is_version(l, c, found->version[id], found);
	if (good)
		good = (now->latest > 0 && l->versions->items[now->latest].id == id) || (next->latest > 0 && l->versions->items[next->latest].id == id);
	/* Where HEAD names what is gone it is the one with the latest time. */
	if (id < CUT_IDS && !good)
		violated(l, "the latest is checkpoint %u; it was version %u, or is %u now", id, now->latest, next->latest);
	if (good)
		found->latest = found->version[id];
	free(c);
	return good || violated(l, "the latest is one that there is not");
}

bool cuts_check(struct wal_store *store, const char *const names[CUT_STREAMS], const struct cut_versions *versions, const struct cut_state *now,
		const struct cut_state *next, struct cut_state *ret_found, char why[CUT_WHY_BYTES])
{
	struct look l = { store, names, versions, why };
	struct wal_checkpoint *list;
	size_t count;
	bool good;

	why[0] = '\0';
	int result = wal_checkpoint_list(store, &list, &count);
	if (result != 0)
		return violated(&l, "the checkpoints can't be listed: %s", wal_strerror(result));
	if (count != wal_checkpoint_count(store))
		violated(&l, "%zu checkpoints are listed, %zu counted", count, wal_checkpoint_count(store));
	struct cut_state found = is_state(&l, list, count, now) ? *now : *next;
	good = !why[0] && (is_state(&l, list, count, &found) || wrong_state(&l, list, count, now, next));
	for (size_t i = 0; i < count && good; i++) {
		struct wal_checkpoint *c;

		good = wal_checkpoint_load(store, list[i].id, list[i].id_size, &c) == 0;
		if (good) {
			good = is_covered(&l, c);
			free(c);
		}
	}
	free(list);
	good = good && check_latest(&l, now, next, &found);
	if (good)
		*ret_found = found;
	return good;
}
