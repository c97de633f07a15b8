/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a sidecar: whether one holds, where they are read from, and the search for the one that a key belongs to. */
#include "meta.h"

#include <errno.h>

#include "bytes.h"
#include "crc32.h"
#include "wal.h"

enum {
	GUESSES_MAX = 6,
	GUESS_BLOCKS = 2, /* the block that is guessed, and the next one, which says where it ends */
};

bool meta_block_valid(const uint8_t block[META_BLOCK_BYTES], uint64_t segment_id)
{
	return get_le32(block + META_OFF_MAGIC) == META_MAGIC && get_le64(block + META_OFF_SEGMENT) == segment_id &&
	       get_le16(block + META_OFF_USED) <= META_RECORD_ROOM &&
	       get_le32(block + META_OFF_CRC) == crc32_update(0, block + META_OFF_SEGMENT, META_BLOCK_BYTES - META_OFF_SEGMENT);
}

void meta_block_header(const uint8_t block[META_BLOCK_BYTES], struct meta_pos *ret_pos, uint64_t *ret_durable)
{
	*ret_pos = (struct meta_pos){
		.id = get_le64(block + META_OFF_ID),
		.frame_offset = get_le64(block + META_OFF_FRAME_OFFSET),
		.last_time = (int64_t)get_le64(block + META_OFF_LAST_TIME),
		.bytes = get_le64(block + META_OFF_BYTES),
		.payload_pos = get_le64(block + META_OFF_PAYLOAD_POS),
		.index = get_le32(block + META_OFF_INDEX),
		.entry_count = get_le32(block + META_OFF_ENTRY_COUNT),
		.disk_size = get_le32(block + META_OFF_DISK_SIZE),
		.type = block[META_OFF_TYPE],
	};
	if (ret_durable)
		*ret_durable = get_le64(block + META_OFF_DURABLE);
}

void meta_window_init(struct meta_window *window, struct sys *sys, int fd)
{
	window->sys = sys;
	window->fd = fd;
	window->first = 0;
	window->count = 0;
	window->valid = 0;
}

static bool window_has(const struct meta_window *w, uint64_t no)
{
	return w && no >= w->first && no - w->first < w->count;
}

/* `count` of the view's blocks from number `from` on, or as many as there are. */
static int window_read(const struct meta_view *view, uint64_t from, uint64_t count)
{
	struct meta_window *w = view->window;

	if (count > view->map_blocks - from)
		count = view->map_blocks - from;
	w->count = w->valid = 0;
	ssize_t n = sys_pread_full(w->sys, w->fd, w->data, (size_t)count * META_BLOCK_BYTES, from * META_BLOCK_BYTES);
	if (n < 0)
		return (int)n;
	w->first = from;
	w->count = (unsigned)((size_t)n / META_BLOCK_BYTES);
	return 0;
}

uint64_t meta_view_blocks(const struct meta_view *view)
{
	return view->map_blocks + (view->last != NULL);
}

/* The block, whatever is in it. If it has to be read, it is the first of `count`. */
static int raw_block(const struct meta_view *view, uint64_t no, uint64_t count, const uint8_t **ret)
{
	struct meta_window *w = view->window;

	if (!w) {
		*ret = view->map + no * META_BLOCK_BYTES;
		return 0;
	}
	int result = window_has(w, no) ? 0 : window_read(view, no, count);
	if (result < 0 && count > 1) /* those behind it must not cost this one */
		result = window_read(view, no, 1);
	if (result < 0)
		return result;
	if (!window_has(w, no)) /* the file has become shorter */
		return -EBADMSG;
	*ret = w->data + (no - w->first) * META_BLOCK_BYTES;
	return 0;
}

static bool is_checked(const struct meta_view *view, uint64_t no)
{
	const struct meta_window *w = view->window;

	if (w)
		return w->valid >> (no - w->first) & 1;
	return __atomic_load_n((const uint8_t *)&view->verified[no / 8], __ATOMIC_RELAXED) >> (no % 8) & 1;
}

static void set_checked(const struct meta_view *view, uint64_t no)
{
	if (view->window)
		view->window->valid |= 1u << (no - view->window->first);
	else
		__atomic_fetch_or((uint8_t *)&view->verified[no / 8], (uint8_t)(1u << (no % 8)), __ATOMIC_RELAXED);
}

int meta_view_block(const struct meta_view *view, uint64_t no, uint64_t count, const uint8_t **ret)
{
	const uint8_t *block;

	if (no >= view->map_blocks) {
		*ret = view->last;
		return 0;
	}
	int result = raw_block(view, no, count, &block);
	if (result < 0)
		return result;
	if (!is_checked(view, no)) {
		if (!meta_block_valid(block, view->segment_id))
			return -EBADMSG;
		set_checked(view, no);
	}
	*ret = block;
	return 0;
}

int meta_is_blank(const struct meta_view *view, uint64_t blocks)
{
	for (uint64_t no = 0; no < blocks; no++) {
		const uint8_t *block;
		int result = raw_block(view, no, META_WINDOW_BLOCKS, &block);

		if (result < 0)
			return result;
		if (get_le32(block) != 0)
			return 0;
	}
	return 1;
}

static uint64_t block_key(const uint8_t *block, enum meta_key by)
{
	switch (by) {
	case META_BY_ID:
		return get_le64(block + META_OFF_ID);
	case META_BY_BYTES:
		return get_le64(block + META_OFF_BYTES);
	case META_BY_FRAME_OFFSET:
		break;
	}
	return get_le64(block + META_OFF_FRAME_OFFSET);
}

/* Where a block is looked for: `low` is at or before it, `high` behind it. low_key <= the key < high_key, and so they are different. */
struct bracket {
	enum meta_key by;
	uint64_t key;
	uint64_t low, low_key;
	uint64_t high, high_key;
};

/* The block that begins with the key, or before it, if all entries are of like size. */
static uint64_t guess(const struct bracket *b)
{
	return b->low + (uint64_t)((double)(b->high - b->low) * ((double)(b->key - b->low_key) / (double)(b->high_key - b->low_key)));
}

/* Narrows the bracket by what block `no` inside it begins with; if it has to be read, together with what follows, `count` in all. */
static int narrow(struct bracket *b, const struct meta_view *view, uint64_t no, uint64_t count)
{
	const uint8_t *block;
	int result = meta_view_block(view, no, count, &block);

	if (result < 0)
		return result;
	uint64_t key = block_key(block, b->by);
	if (key <= b->key) {
		b->low = no;
		b->low_key = key;
	} else {
		b->high = no;
		b->high_key = key;
	}
	return 0;
}

static bool is_inside(const struct bracket *b, uint64_t no)
{
	return no > b->low && no < b->high;
}

/* What has been read and checked already costs nothing. */
static int narrow_by_window(struct bracket *b, const struct meta_view *view)
{
	const struct meta_window *w = view->window;
	int result = 0;

	for (unsigned i = 0; w && i < w->count && result == 0; i++) {
		if (w->valid >> i & 1 && is_inside(b, w->first + i))
			result = narrow(b, view, w->first + i, 1);
	}
	return result;
}

/* The first and the last block. Results as meta_cursor_seek(); 0 also if *b has but one block left. */
static int bracket_init(struct bracket *b, const struct meta_view *view)
{
	const uint8_t *first, *last;
	uint64_t count = meta_view_blocks(view);

	if (count == 0)
		return WAL_NOT_FOUND;
	int result = meta_view_block(view, count - 1, 1, &last);
	if (result < 0)
		return result;
	b->high = count - 1;
	b->high_key = block_key(last, b->by);
	b->low = 0;
	b->low_key = b->by == META_BY_ID ? view->segment_id : 0;
	if (!view->window) {
		result = meta_view_block(view, 0, 1, &first);
		if (result < 0)
			return result;
		b->low_key = block_key(first, b->by);
	}
	if (b->key < b->low_key)
		return WAL_NOT_FOUND;
	if (b->key >= b->high_key)
		b->low = b->high++;
	return 0;
}

/* A few guesses lead there if entries are of like size; then halving goes on, so that no sidecar takes much longer than by that alone. What has been read together with a guess is looked at before the next one. */
int meta_view_find(const struct meta_view *view, enum meta_key by, uint64_t key, bool likely, uint64_t *ret)
{
	struct bracket b = { .by = by, .key = key };
	int result = bracket_init(&b, view);

	if (result == 0 && b.high - b.low > 1)
		result = narrow_by_window(&b, view);
	for (unsigned guesses = 0; result == 0 && b.high - b.low > 1;) {
		uint64_t no = guesses < GUESSES_MAX ? guess(&b) : b.low + (b.high - b.low) / 2;

		if (likely && no <= b.low)
			break;
		if (window_has(view->window, b.low + 1))
			no = b.low + 1;
		else
			guesses++;
		no = no <= b.low ? b.low + 1 : no >= b.high ? b.high - 1 : no;
		result = narrow(&b, view, no, likely ? 1 : GUESS_BLOCKS);
	}
	if (result == 0)
		*ret = b.low;
	return result;
}
