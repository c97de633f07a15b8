/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sidecar's blocks: whatever they say, reading comes to an end, in order, inside the blocks; what is found by a key holds it. That from memory, and from a file that perhaps has become shorter.
 * The first byte says how many blocks of the rest are the copy that is being filled (0 or 1), and how many the file has lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "fuzz.h"
#include "meta.h"
#include "wal.h"

/* The file that a window looks at. */
struct blocks_file {
	struct sys sys;
	const uint8_t *data;
	size_t size;
};

static ssize_t read_blocks(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	const struct blocks_file *file = container_of(sys, struct blocks_file, sys);

	(void)fd;
	if (offset >= file->size)
		return 0;
	if (size > file->size - offset)
		size = file->size - (size_t)offset;
	memcpy(data, file->data + offset, size);
	return (ssize_t)size;
}

static void run_to_end(const struct meta_view *view, enum meta_key by, uint64_t key, uint64_t records_max)
{
	struct meta_cursor c;
	struct meta_entry entry;
	struct meta_pos pos;
	uint64_t records = 0, next_id = 0;
	int result = meta_cursor_seek(&c, view, by, key);

	CHECK(result == 0 || result == WAL_NOT_FOUND || result == -EBADMSG, "%d", result);
	if (result != 0)
		return;
	struct meta_cursor again = c;
	uint64_t first_block = c.block;
	while ((result = meta_cursor_next(&c, &entry)) == 0) {
		/* Each takes at least a byte of a block. */
		CHECK(++records <= records_max);
		if (records > 1)
			CHECK(entry.id == next_id || entry.id == 0, "entry %zu after %zu", (size_t)entry.id, (size_t)next_id);
		next_id = entry.id + (entry.gap ? entry.gap_ids : 1);
		if (!entry.gap)
			CHECK(entry.index < entry.entry_count && entry.type <= FRAME_LZ4 && entry.size <= WAL_ENTRY_SIZE_MAX);
	}
	CHECK(result == WAL_END || result == -EBADMSG, "%d", result);
	/* Of a window there is one cursor at a time; and where a search goes in blocks that do not agree depends on which of them are in it. */
	if (view->window && (meta_cursor_seek(&again, view, by, key) != 0 || again.block != first_block))
		return;
	CHECK(meta_cursor_end(&again, &pos) == (result == WAL_END ? 0 : result));
	if (result == WAL_END && records > 0)
		CHECK(pos.id == next_id);
}

static void find(const struct meta_view *view, uint64_t id)
{
	struct meta_cursor c;
	struct meta_entry entry;
	int result = meta_find(&c, view, id, &entry);

	CHECK(result == 0 || result == WAL_NOT_FOUND || result == -EBADMSG, "%d", result);
	if (result == 0)
		CHECK(entry.gap ? id - entry.id < entry.gap_ids : id == entry.id);
}

static void resume(const uint8_t *block, uint64_t segment_id, uint64_t keep)
{
	uint8_t copy[META_BLOCK_BYTES];
	struct meta_writer w = { 0 };

	if (meta_writer_resume(&w, segment_id, 0, copy, block, keep) != 0)
		return;
	CHECK(w.used <= META_BLOCK_BYTES - META_OFF_RECORDS && w.at.frame_offset == keep && w.at.entry_count == 0);
	CHECK(memcmp(copy, block, META_OFF_RECORDS) == 0);
}

static void read_everywhere(const struct meta_view *view, uint64_t blocks, const uint8_t *data)
{
	static const uint64_t keys[] = { 0, 1, 7, 100, 4096, 65536, (uint64_t)1 << 32, UINT64_MAX };

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		for (enum meta_key by = META_BY_ID; by <= META_BY_FRAME_OFFSET; by++)
			run_to_end(view, by, keys[i], blocks * META_BLOCK_BYTES);
		find(view, keys[i]);
	}
	for (uint64_t no = 0; no < blocks; no++) {
		struct meta_pos pos;

		meta_block_header(data + no * META_BLOCK_BYTES, &pos, NULL);
		find(view, pos.id);
		find(view, pos.id + 1);
		run_to_end(view, META_BY_BYTES, pos.bytes, blocks * META_BLOCK_BYTES);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 + META_BLOCK_BYTES)
		return 0;
	bool last = data[0] & 1;
	uint64_t blocks = (size - 1) / META_BLOCK_BYTES;
	const uint8_t *map = data + 1;
	struct meta_view view = {
		.segment_id = get_le64(map + META_OFF_SEGMENT),
		.map = map,
		.map_blocks = blocks - last,
		.verified = calloc(1, blocks / 8 + 1),
		.last = last ? map + (blocks - 1) * META_BLOCK_BYTES : NULL,
	};

	CHECK(view.verified);
	/* The copy being filled is the library's own memory: what it lets in there, it has checked. */
	if (last && !meta_block_valid(view.last, view.segment_id))
		view.last = NULL;
	read_everywhere(&view, blocks, map);
	if (view.map_blocks > 0) {
		struct blocks_file file = { .sys = { .pread = read_blocks }, .data = map, .size = view.map_blocks * META_BLOCK_BYTES };
		struct meta_window window;
		struct meta_view from_file = { .segment_id = view.segment_id, .map_blocks = view.map_blocks, .window = &window, .last = view.last };
		size_t lost = (size_t)(data[0] >> 1) * 100;

		file.size -= lost < file.size ? lost : file.size;
		meta_window_init(&window, &file.sys, -1);
		read_everywhere(&from_file, blocks, map);
	}
	for (uint64_t no = 0; no < blocks; no++) {
		const uint8_t *block = map + no * META_BLOCK_BYTES;
		struct meta_pos pos;
		uint64_t durable;

		if (!meta_block_valid(block, view.segment_id))
			continue;
		meta_block_header(block, &pos, &durable);
		resume(block, view.segment_id, pos.frame_offset);
		resume(block, view.segment_id, durable);
	}
	free((void *)view.verified);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 4 && size > 1)
		fuzz_fix_meta(data + 1, size - 1);
	return size;
}
