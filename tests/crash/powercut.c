/* SPDX-License-Identifier: Apache-2.0 */
#include "powercut.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What stands on the disk, and the numbers of the events on it that no sync has covered yet. */
struct powercut_node {
	bool dir;
	int64_t mtime;
	uint8_t *data;
	size_t size;
	size_t capacity; /* bytes behind `size` are zero */
	struct memfs_name *names;
	size_t name_count;
	size_t *pending;
	size_t pending_count;
	size_t pending_capacity;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- Choosing ---- */

void chooser_begin(struct chooser *c)
{
	c->random = false;
	c->depth = c->count = 0;
}

bool chooser_next(struct chooser *c)
{
	while (c->count > 0 && c->digits[c->count - 1].value + 1 == c->digits[c->count - 1].choices)
		c->count--;
	if (c->count == 0)
		return false;
	c->digits[c->count - 1].value++;
	c->depth = 0;
	return true;
}

void chooser_randomize(struct chooser *c, unsigned percent_last)
{
	c->random = true;
	c->percent_last = percent_last;
}

void chooser_release(struct chooser *c)
{
	free(c->digits);
	c->digits = NULL;
}

/* 0 … choices - 1; the last is what was done last. */
static unsigned choose(struct chooser *c, size_t choices)
{
	if (choices == 1)
		return 0;
	if (c->random) {
		if (random_below(&c->seed, 100) < c->percent_last)
			return (unsigned)choices - 1;
		return (unsigned)random_below(&c->seed, choices);
	}
	if (c->depth == c->count) {
		if (c->count == c->capacity) {
			c->capacity = c->capacity ? 2 * c->capacity : 64;
			c->digits = must(reallocarray(c->digits, c->capacity, sizeof *c->digits));
		}
		c->digits[c->count++] = (struct chooser_digit){ 0, (unsigned)choices };
	}
	assert(c->digits[c->depth].choices == choices);
	return c->digits[c->depth++].value;
}

/* ---- Names ---- */

struct names {
	struct memfs_name *items;
	size_t count;
};

static void names_remove(struct names *names, const char *name, const unsigned *node)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->items[i].name, name) == 0 && (!node || names->items[i].node == *node)) {
			free(names->items[i].name);
			names->items[i] = names->items[--names->count];
			return;
		}
	}
}

static void names_put(struct names *names, const char *name, unsigned node)
{
	names_remove(names, name, NULL);
	names->items = must(reallocarray(names->items, names->count + 1, sizeof *names->items));
	names->items[names->count++] = (struct memfs_name){ must(strdup(name)), node };
}

static void names_release(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].name);
	free(names->items);
}

static void apply_name(struct names *names, const struct trace_event *e)
{
	if (e->kind == TRACE_LINK)
		names_put(names, e->name, e->child);
	if (e->kind == TRACE_UNLINK || e->kind == TRACE_RENAME)
		names_remove(names, e->name, e->kind == TRACE_RENAME ? &e->child : NULL);
	if (e->kind == TRACE_RENAME)
		names_put(names, e->to, e->child);
}

/* ---- The disk ---- */

static struct powercut_node *get_node(struct powercut *pc, unsigned number)
{
	if (number >= pc->count) {
		pc->nodes = must(reallocarray(pc->nodes, number + 1, sizeof *pc->nodes));
		memset(pc->nodes + pc->count, 0, (number + 1 - pc->count) * sizeof *pc->nodes);
		pc->count = number + 1;
	}
	return &pc->nodes[number];
}

static void grow(struct powercut_node *node, size_t size)
{
	if (size <= node->capacity)
		return;
	node->data = must(realloc(node->data, size));
	memset(node->data + node->capacity, 0, size - node->capacity);
	node->capacity = size;
}

static size_t size_after(const struct trace_event *e, size_t size)
{
	if (e->kind == TRACE_SIZE)
		return e->size;
	return e->offset + e->size > size ? e->offset + e->size : size;
}

static void apply_data(struct powercut_node *node, const struct trace_event *e)
{
	size_t size = size_after(e, node->size);

	grow(node, size);
	if (e->kind == TRACE_WRITE)
		memcpy(node->data + e->offset, e->data, e->size);
	if (size < node->size)
		memset(node->data + size, 0, node->size - size);
	node->size = size;
}

static void apply(struct powercut_node *node, const struct trace_event *e)
{
	struct names names = { node->names, node->name_count };

	if (e->kind == TRACE_WRITE || e->kind == TRACE_SIZE) {
		apply_data(node, e);
		return;
	}
	apply_name(&names, e);
	node->names = names.items;
	node->name_count = names.count;
}

void powercut_init(struct powercut *pc, const struct memfs *start, const struct trace *trace)
{
	*pc = (struct powercut){ .trace = trace, .time = start->clock };
	for (unsigned i = 0; i < start->node_count; i++) {
		const struct memfs_node *from = &start->nodes[i];
		struct powercut_node *node = get_node(pc, i);

		node->dir = from->dir;
		node->mtime = from->mtime;
		if (from->size > 0) {
			grow(node, from->size);
			memcpy(node->data, from->data, from->size);
			node->size = from->size;
		}
		for (size_t n = 0; n < from->name_count; n++)
			apply(node, &(struct trace_event){ .kind = TRACE_LINK, .name = from->names[n].name, .child = from->names[n].node });
	}
}

void powercut_release(struct powercut *pc)
{
	for (unsigned i = 0; i < pc->count; i++) {
		struct names names = { pc->nodes[i].names, pc->nodes[i].name_count };

		names_release(&names);
		free(pc->nodes[i].data);
		free(pc->nodes[i].pending);
	}
	free(pc->nodes);
	*pc = (struct powercut){ 0 };
}

static void sync_node(struct powercut *pc, struct powercut_node *node, size_t upto)
{
	size_t kept = 0;

	for (size_t i = 0; i < node->pending_count; i++) {
		if (node->pending[i] < upto)
			apply(node, &pc->trace->events[node->pending[i]]);
		else
			node->pending[kept++] = node->pending[i];
	}
	node->pending_count = kept;
}

void powercut_step(struct powercut *pc)
{
	const struct trace_event *e = &pc->trace->events[pc->at++];

	pc->time = e->time;
	if (e->kind == TRACE_NOTE)
		return;
	if (e->kind == TRACE_LINK)
		get_node(pc, e->child)->dir = e->dir;
	struct powercut_node *node = get_node(pc, e->node);
	if (e->kind == TRACE_SYNC) {
		sync_node(pc, node, e->upto);
		return;
	}
	node->mtime = e->time;
	if (node->pending_count == node->pending_capacity) {
		node->pending_capacity = node->pending_capacity ? 2 * node->pending_capacity : 8;
		node->pending = must(reallocarray(node->pending, node->pending_capacity, sizeof *node->pending));
	}
	node->pending[node->pending_count++] = pc->at - 1;
}

/* ---- A state ---- */

/* What a sector, which begins at `start`, is after an event; true if that is anything new. */
static bool change_sector(uint8_t sector[SECTOR_BYTES], size_t start, const struct trace_event *e)
{
	uint8_t before[SECTOR_BYTES];

	if (e->kind == TRACE_SIZE ? e->size >= start + SECTOR_BYTES : e->offset >= start + SECTOR_BYTES || e->offset + e->size <= start)
		return false;
	memcpy(before, sector, SECTOR_BYTES);
	if (e->kind == TRACE_SIZE) {
		size_t from = e->size > start ? e->size - start : 0;

		memset(sector + from, 0, SECTOR_BYTES - from);
	} else {
		size_t from = e->offset > start ? e->offset - start : 0;
		size_t end = e->offset + e->size - start < SECTOR_BYTES ? e->offset + e->size - start : SECTOR_BYTES;

		memcpy(sector + from, e->data + (start + from - e->offset), end - from);
	}
	return memcmp(before, sector, SECTOR_BYTES) != 0;
}

static void load_sector(const struct powercut_node *node, size_t start, uint8_t sector[SECTOR_BYTES])
{
	size_t have = node->size > start ? node->size - start : 0;

	memset(sector, 0, SECTOR_BYTES);
	if (have > 0)
		memcpy(sector, node->data + start, have < SECTOR_BYTES ? have : SECTOR_BYTES);
}

static void choose_sector(const struct powercut *pc, const struct powercut_node *node, size_t start, struct chooser *c, uint8_t *ret)
{
	const struct trace_event *events = pc->trace->events;
	uint8_t sector[SECTOR_BYTES];
	size_t versions = 1;

	load_sector(node, start, sector);
	for (size_t i = 0; i < node->pending_count; i++)
		versions += change_sector(sector, start, &events[node->pending[i]]);
	unsigned version = choose(c, versions);
	load_sector(node, start, sector);
	for (size_t i = 0; version > 0; i++)
		version -= change_sector(sector, start, &events[node->pending[i]]);
	memcpy(ret, sector, SECTOR_BYTES);
}

/* Of the sizes that the file had since its last sync one, or one between. */
static size_t choose_size(const struct powercut *pc, const struct powercut_node *node, struct chooser *c)
{
	enum { SIZES_MAX = 64, PAGE = 4096 };
	size_t sizes[SIZES_MAX], count = 0, size = node->size, min = size, max = size, step = PAGE;

	sizes[count++] = size;
	for (size_t i = 0; i < node->pending_count; i++) {
		const struct trace_event *e = &pc->trace->events[node->pending[i]];
		size_t next = size_after(e, size);

		/* Writes at the end are written back by pages; what was allocated ahead may be of any size. */
		step = e->kind == TRACE_SIZE ? 1 : step;
		if (next != size && count < SIZES_MAX - 2)
			sizes[count++] = next;
		size = next;
		min = size < min ? size : min;
		max = size > max ? size : max;
	}
	size_t between = min + (c->random ? random_below(&c->seed, max - min + 1) : (max - min) / 2);
	between -= between % step;
	if (between > min && between < max)
		sizes[count++] = between;
	if (sizes[count - 1] != size)
		sizes[count++] = size;
	return sizes[choose(c, count)];
}

static void build_file(const struct powercut *pc, unsigned number, struct chooser *c, struct memfs *fs)
{
	const struct powercut_node *node = &pc->nodes[number];

	if (node->pending_count == 0) {
		memfs_set_content(fs, number, node->data, node->size);
		return;
	}
	size_t size = choose_size(pc, node, c);
	uint8_t *data = must(malloc(size + SECTOR_BYTES));
	for (size_t start = 0; start < size; start += SECTOR_BYTES)
		choose_sector(pc, node, start, c, data + start);
	memfs_set_content(fs, number, data, size);
	free(data);
}

static void build_dir(const struct powercut *pc, unsigned number, struct chooser *c, struct memfs *fs)
{
	const struct powercut_node *node = &pc->nodes[number];
	struct names names = { 0 };

	for (size_t i = 0; i < node->name_count; i++)
		names_put(&names, node->names[i].name, node->names[i].node);
	for (size_t i = 0; i < node->pending_count; i++) {
		if (choose(c, 2) == 1)
			apply_name(&names, &pc->trace->events[node->pending[i]]);
	}
	for (size_t i = 0; i < names.count; i++) {
		memfs_link(fs, number, names.items[i].name, names.items[i].node);
		if (pc->nodes[names.items[i].node].dir)
			build_dir(pc, names.items[i].node, c, fs);
		else
			build_file(pc, names.items[i].node, c, fs);
	}
	names_release(&names);
}

void powercut_state(const struct powercut *pc, struct chooser *c, struct memfs *fs)
{
	memfs_reset(fs);
	fs->clock = pc->time;
	for (unsigned i = 1; i < pc->count; i++)
		memfs_make_node(fs, pc->nodes[i].dir);
	for (unsigned i = 0; i < pc->count; i++)
		fs->nodes[i].mtime = pc->nodes[i].mtime;
	build_dir(pc, MEMFS_ROOT, c, fs);
}
