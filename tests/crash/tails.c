/* SPDX-License-Identifier: Apache-2.0 */
/* An own reading of segments and of checkpoints.log: where they end, and whether what was torn there is kept. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "frame.h"
#include "names.h"
#include "sim.h"
#include "test.h"

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

static void read_tail(struct tail *tail, const struct memfs_node *file, uint64_t id, uint64_t offset)
{
	size_t end = file->size;

	free(tail->bytes);
	*tail = (struct tail){ .segment_id = id, .offset = offset };
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

/* The records of checkpoints.log that hold, from its beginning on. */
static uint64_t valid_log_end(const struct memfs_node *file)
{
	enum { HEADER = 12 };
	uint64_t offset = 0;

	while (file->size - offset >= HEADER) {
		const uint8_t *at = file->data + offset;
		uint32_t size = get_le32(at + 8);

		if (memcmp(at, "CKPT", 4) != 0 || size > file->size - offset - HEADER || crc32_update(0, at + HEADER, size) != get_le32(at + 4))
			break;
		offset += HEADER + (uint64_t)size;
	}
	return offset;
}

/* Of the last two segment files of each stream: the very last may be an empty one that is not in use yet. */
static void read_segment_tails(struct sim *sim)
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
				read_tail(&sim->tails[slot][t], file[t], last[t], file[t]->size > 0 ? valid_end(file[t], last[t]) : 0);
		}
	}
}

static struct memfs_node *root_dir(struct sim *sim)
{
	int store = memfs_lookup(&sim->disk, MEMFS_ROOT, STORE_NAME);

	return store < 0 ? NULL : &sim->disk.nodes[store];
}

static void read_log_tail(struct sim *sim)
{
	const struct memfs_node *log = root_dir(sim) ? memfs_find(&sim->disk, (unsigned)(root_dir(sim) - sim->disk.nodes), "checkpoints.log") : NULL;

	free(sim->log_tail.bytes);
	sim->log_tail = (struct tail){ 0 };
	if (log && log->size > 0)
		read_tail(&sim->log_tail, log, 0, valid_log_end(log));
	sim->torn_logs += sim->log_tail.bytes != NULL;
}

void read_tails(struct sim *sim)
{
	read_segment_tails(sim);
	read_log_tail(sim);
}

static bool log_tail_is_kept(struct sim *sim)
{
	const struct memfs_node *dir = root_dir(sim);
	const struct tail *tail = &sim->log_tail;

	for (size_t i = 0; dir && i < dir->name_count; i++) {
		const struct memfs_node *file = &sim->disk.nodes[dir->names[i].node];
		const char *name = dir->names[i].name;
		uint64_t offset = strcmp(name, "checkpoints.log") == 0 ? tail->offset : 0;

		if (strncmp(name, "checkpoints.log", 15) == 0 && file->size >= offset + tail->size && memcmp(file->data + offset, tail->bytes, tail->size) == 0)
			return true;
	}
	return false;
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

bool tails_are_kept(struct sim *sim)
{
	if (sim->log_tail.bytes && !log_tail_is_kept(sim))
		return violated(sim, "the torn end of checkpoints.log, %zu bytes at %" PRIu64 ", is kept nowhere", sim->log_tail.size, sim->log_tail.offset);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		/* The last file only: if that is an empty one that a crash left behind, the one before it was synced whole. */
		const struct tail *tail = &sim->tails[slot][0];

		if (tail->bytes && !is_kept(sim, slot, tail))
			return violated(sim, "the torn end of '%s', %zu bytes at %" PRIu64 " of segment %" PRIu64 ", is kept nowhere", slot_name(sim->w, slot),
					tail->size, tail->offset, tail->segment_id);
	}
	return true;
}
