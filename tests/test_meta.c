/* SPDX-License-Identifier: Apache-2.0 */
#include "meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "test.h"
#include "wal.h"

enum { SEGMENT = 1000 }; /* its first id */

/* A sidecar in memory, and what was put into it. */
struct sidecar {
	struct meta_writer w;
	uint8_t last[META_BLOCK_BYTES];
	uint8_t *blocks;
	size_t count;
	size_t capacity;
	_Atomic uint8_t *verified;
	struct meta_entry *expected; /* entries and gaps in order */
	size_t expected_count;
	size_t expected_capacity;
};

static int keep_block(struct meta_writer *w, uint64_t block_no, uint8_t block[META_BLOCK_BYTES])
{
	struct sidecar *s = (struct sidecar *)w; /* its first member */

	assert_int_equal(block_no, s->count);
	assert_true(meta_block_valid(block, SEGMENT));
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 16;
		s->blocks = reallocarray(s->blocks, s->capacity, META_BLOCK_BYTES);
		assert_non_null(s->blocks);
	}
	memcpy(s->blocks + s->count++ * META_BLOCK_BYTES, block, META_BLOCK_BYTES);
	return 0;
}

static void sidecar_begin(struct sidecar *s)
{
	*s = (struct sidecar){ .w = { .emit = keep_block } };
	meta_writer_begin(&s->w, SEGMENT, NULL, 0, s->last);
}

/* What begin() left is at id SEGMENT, whatever else it holds. */
static void expect_next(struct sidecar *s, struct meta_entry e)
{
	if (s->expected_count == s->expected_capacity) {
		s->expected_capacity = s->expected_capacity ? 2 * s->expected_capacity : 64;
		s->expected = reallocarray(s->expected, s->expected_capacity, sizeof(*s->expected));
		assert_non_null(s->expected);
	}
	s->expected[s->expected_count++] = e;
}

/* A frame whose entries have the lengths base, base + 1 … */
static void add_frame(struct sidecar *s, uint32_t entries, uint32_t base, uint8_t type, int64_t delta)
{
	const struct meta_pos at = s->w.at;
	uint32_t disk_size = 0, pos = 0;
	uint64_t bytes = at.bytes;

	for (uint32_t i = 0; i < entries; i++)
		disk_size += 4 + base + i;
	if (type == 1)
		disk_size = disk_size / 2 + 1;
	/* The usual one can be written at once; every other one is. */
	bool at_once = entries == 1 && type == 0 && base % 2;
	if (at_once)
		assert_int_equal(meta_writer_entry(&s->w, base, at.last_time + delta), 0);
	else
		assert_int_equal(meta_writer_frame(&s->w, entries, type, disk_size, at.last_time + delta), 0);
	for (uint32_t i = 0; i < entries; i++) {
		expect_next(s, (struct meta_entry){ .id = at.id + i, .size = base + i, .time_ns = at.last_time + delta + i, .bytes = bytes,
						    .frame_offset = at.frame_offset, .payload_pos = pos, .index = i, .entry_count = entries,
						    .disk_size = disk_size, .type = type });
		if (!at_once)
			assert_int_equal(meta_writer_length(&s->w, base + i), 0);
		pos += 4 + base + i;
		bytes += base + i;
	}
	assert_int_equal(s->w.at.id, at.id + entries);
	assert_int_equal(s->w.at.frame_offset, at.frame_offset + 32 + disk_size);
}

static void add_gap(struct sidecar *s, uint64_t ids, uint64_t bytes)
{
	expect_next(s, (struct meta_entry){ .gap = true, .id = s->w.at.id, .bytes = s->w.at.bytes, .frame_offset = s->w.at.frame_offset, .gap_ids = ids,
					    .gap_bytes = bytes });
	assert_int_equal(meta_writer_gap(&s->w, ids, bytes), 0);
}

static struct meta_view view_of(struct sidecar *s)
{
	free((void *)s->verified);
	s->verified = calloc(1, s->count / 8 + 1);
	assert_non_null(s->verified);
	meta_block_seal(s->last, s->w.used, 0);
	return (struct meta_view){ .segment_id = SEGMENT, .map = s->blocks, .map_blocks = s->count, .verified = s->verified, .last = s->last };
}

static void sidecar_release(struct sidecar *s)
{
	free(s->blocks);
	free((void *)s->verified);
	free(s->expected);
}

static void expect_same(const struct meta_entry *e, const struct meta_entry *expected)
{
	assert_int_equal(e->gap, expected->gap);
	assert_int_equal(e->id, expected->id);
	assert_int_equal(e->bytes, expected->bytes);
	assert_int_equal(e->frame_offset, expected->frame_offset);
	if (expected->gap) {
		assert_int_equal(e->gap_ids, expected->gap_ids);
		assert_int_equal(e->gap_bytes, expected->gap_bytes);
		return;
	}
	assert_int_equal(e->size, expected->size);
	assert_int_equal(e->time_ns, expected->time_ns);
	assert_int_equal(e->payload_pos, expected->payload_pos);
	assert_int_equal(e->index, expected->index);
	assert_int_equal(e->entry_count, expected->entry_count);
	assert_int_equal(e->disk_size, expected->disk_size);
	assert_int_equal(e->type, expected->type);
}

/* The same, but read from a file, which is to be closed. */
static struct meta_view file_view_of(struct sidecar *s, struct meta_window *window, FILE **ret_file)
{
	struct meta_view view = view_of(s);
	FILE *file = tmpfile();

	assert_non_null(file);
	if (s->count > 0)
		assert_int_equal(fwrite(s->blocks, META_BLOCK_BYTES, s->count, file), s->count);
	assert_int_equal(fflush(file), 0);
	meta_window_init(window, sys_real(), fileno(file));
	view.map = NULL;
	view.verified = NULL;
	view.window = window;
	*ret_file = file;
	return view;
}

/* By going through it, and by each of the three keys. */
static void expect_all_in(const struct sidecar *s, struct meta_view view)
{
	struct meta_cursor c;
	struct meta_entry e;
	struct meta_pos end;

	assert_int_equal(meta_cursor_seek(&c, &view, META_BY_ID, SEGMENT), 0);
	for (size_t i = 0; i < s->expected_count; i++) {
		assert_int_equal(meta_cursor_next(&c, &e), 0);
		expect_same(&e, &s->expected[i]);
	}
	assert_int_equal(meta_cursor_next(&c, &e), WAL_END);
	for (size_t i = 0; i < s->expected_count; i++) {
		const struct meta_entry *expected = &s->expected[i];

		if (!expected->gap || expected->gap_ids > 0) {
			assert_int_equal(meta_find(&c, &view, expected->gap ? expected->id + expected->gap_ids - 1 : expected->id, &e), 0);
			expect_same(&e, expected);
		}
		assert_int_equal(meta_cursor_seek(&c, &view, META_BY_BYTES, expected->bytes), 0);
		do
			assert_int_equal(meta_cursor_next(&c, &e), 0);
		while (e.bytes < expected->bytes);
		assert_int_equal(e.bytes, expected->bytes);
		assert_int_equal(meta_cursor_seek(&c, &view, META_BY_FRAME_OFFSET, expected->frame_offset), 0);
		assert_true(c.at.frame_offset <= expected->frame_offset);
	}
	assert_int_equal(meta_cursor_seek(&c, &view, META_BY_FRAME_OFFSET, UINT64_MAX), 0);
	assert_int_equal(meta_cursor_end(&c, &end), 0);
	assert_int_equal(end.id, s->w.at.id);
	assert_int_equal(end.frame_offset, s->w.at.frame_offset);
	assert_int_equal(end.bytes, s->w.at.bytes);
	assert_int_equal(end.last_time, s->w.at.last_time);
	assert_int_equal(meta_find(&c, &view, s->w.at.id, &e), WAL_NOT_FOUND);
	assert_int_equal(meta_find(&c, &view, SEGMENT - 1, &e), WAL_NOT_FOUND);
}

static void expect_all(struct sidecar *s)
{
	struct meta_window window;
	FILE *file;

	expect_all_in(s, view_of(s));
	expect_all_in(s, file_view_of(s, &window, &file));
	fclose(file);
}

/* All kinds of records, so many that each comes to stand across a block's end at some place. */
static void records_of_all_kinds(void **state)
{
	struct random random = { 7 };
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	assert_int_equal(s.w.at.id, SEGMENT);
	for (unsigned i = 0; i < 3000; i++) {
		int64_t delta = 1 + (int64_t)random_size(&random, (size_t)1 << 40);

		switch (random_below(&random, 6)) {
		case 0:
			add_frame(&s, 1 + (uint32_t)random_below(&random, 20), (uint32_t)random_size(&random, 100000), 0, delta);
			break;
		case 1:
			add_frame(&s, 1 + (uint32_t)random_below(&random, 3), (uint32_t)random_size(&random, 100000), 1, delta);
			break;
		case 2:
			add_gap(&s, random_below(&random, 3), 1 + random_size(&random, 100000));
			break;
		default:
			add_frame(&s, 1, (uint32_t)random_size(&random, 100000), 0, delta);
		}
	}
	assert_true(s.count > 10);
	expect_all(&s);
	sidecar_release(&s);
}

/* Its lengths go on over several blocks, of which some hold no beginning of any frame. */
static void batches_longer_than_a_block(void **state)
{
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	add_frame(&s, 1, 5, 0, 10);
	add_frame(&s, 5000, 100, 0, 10);
	add_frame(&s, 1, 0, 0, 10000);
	add_frame(&s, 3000, 20000, 1, 10);
	assert_true(s.count > 8);
	expect_all(&s);
	sidecar_release(&s);
}

/* So uneven that no guess at where a key is comes true; and from the first block to the end in one go. */
static void entries_that_grow(void **state)
{
	struct meta_cursor c;
	struct meta_pos end;
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	for (unsigned i = 0; i < 4000; i++)
		add_frame(&s, 1 + i % 3, i < 3900 ? i / 1000 : 1u << (i - 3900) / 4, 0, 1 + (int64_t)i * i * i);
	add_gap(&s, UINT64_MAX >> 4, 1);
	for (unsigned i = 0; i < 1000; i++)
		add_frame(&s, 1, 7, 0, 1);
	expect_all(&s);

	struct meta_view view = view_of(&s);
	assert_int_equal(meta_cursor_seek(&c, &view, META_BY_ID, SEGMENT), 0);
	assert_int_equal(meta_cursor_end(&c, &end), 0);
	assert_int_equal(end.id, s.w.at.id);
	assert_int_equal(end.bytes, s.w.at.bytes);
	assert_int_equal(end.frame_offset, s.w.at.frame_offset);
	assert_int_equal(end.last_time, s.w.at.last_time);
	sidecar_release(&s);
}

/* The same blocks as one by one. */
static void lengths_in_runs(void **state)
{
	enum { ENTRIES = 2500 };
	struct random random = { 11 };
	struct iovec entries[ENTRIES];
	struct sidecar one, run;

	(void)state;
	sidecar_begin(&one);
	sidecar_begin(&run);
	for (size_t i = 0; i < ENTRIES; i++)
		entries[i].iov_len = random_size(&random, 100000);
	for (size_t count = 1; count <= ENTRIES; count += 1 + count / 3) {
		assert_int_equal(meta_writer_frame(&one.w, (uint32_t)count, 0, 1, one.w.at.last_time + 5), 0);
		assert_int_equal(meta_writer_frame(&run.w, (uint32_t)count, 0, 1, run.w.at.last_time + 5), 0);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(meta_writer_length(&one.w, (uint32_t)entries[i].iov_len), 0);
		assert_int_equal(meta_writer_lengths(&run.w, entries, count / 2), 0);
		assert_int_equal(meta_writer_lengths(&run.w, entries + count / 2, count - count / 2), 0);
	}
	assert_int_equal(run.count, one.count);
	assert_memory_equal(run.blocks, one.blocks, one.count * META_BLOCK_BYTES);
	assert_int_equal(run.w.used, one.w.used);
	assert_int_equal(run.w.at.id, one.w.at.id);
	assert_int_equal(run.w.at.bytes, one.w.at.bytes);
	assert_int_equal(run.w.at.last_time, one.w.at.last_time);
	assert_int_equal(run.w.at.frame_offset, one.w.at.frame_offset);
	assert_memory_equal(run.last, one.last, META_OFF_RECORDS + one.w.used);
	sidecar_release(&one);
	sidecar_release(&run);
}

/* Goes over the records from wherever that may begin, by turns one by one and in runs of frames of one entry. */
static void singles_in_runs(void **state)
{
	enum { FRAMES = 3000, RUN = 50 };
	struct random random = { 12 };
	struct meta_single singles[RUN];
	struct sidecar s;
	size_t in_runs = 0;

	(void)state;
	sidecar_begin(&s);
	for (size_t i = 0; i < FRAMES; i++) {
		/* Sizes and times of each length that a varint has. */
		uint32_t size = (uint32_t)random_size(&random, 1 << 30);

		if (random_below(&random, 30) == 0)
			add_gap(&s, random_below(&random, 3), 77);
		add_frame(&s, random_below(&random, 20) == 0 ? 3 : 1, size % (1u << random_below(&random, 31)), random_below(&random, 20) == 0,
			  1 + (int64_t)random_size(&random, (uint64_t)1 << 40));
	}
	for (unsigned turn = 0; turn < 5; turn++) {
		struct meta_view view = view_of(&s);
		struct meta_cursor c;
		struct meta_entry e;
		size_t i = 0;

		assert_int_equal(meta_cursor_seek(&c, &view, META_BY_ID, SEGMENT), 0);
		while (meta_cursor_next(&c, &e) == 0) {
			expect_same(&e, &s.expected[i++]);

			size_t max = random_below(&random, RUN + 1), n = meta_cursor_singles(&c, turn ? singles : NULL, max);

			assert_true(n <= max);
			for (size_t k = 0; k < n; k++, i++) {
				assert_false(s.expected[i].gap);
				assert_int_equal(s.expected[i].entry_count, 1);
				assert_int_equal(s.expected[i].type, 0);
				if (turn)
					assert_int_equal(singles[k].size, s.expected[i].size);
				if (turn)
					assert_int_equal(singles[k].time_ns, s.expected[i].time_ns);
			}
			in_runs += n;
		}
		assert_int_equal(i, s.expected_count);
	}
	assert_true(in_runs > 2 * FRAMES);
	sidecar_release(&s);
}

/* What claims a time that no clock shows does not hold, also if what comes before is just below that. */
static void times_beyond_any_clock(void **state)
{
	const int64_t last = INT64_MAX - ((int64_t)1 << 34);
	struct sidecar s = { .w = { .emit = keep_block } };
	struct meta_view view = { .segment_id = SEGMENT, .last = s.last };
	struct meta_entry e;
	struct meta_cursor c;

	(void)state;
	meta_writer_begin(&s.w, SEGMENT, &(struct meta_pos){ .id = SEGMENT, .last_time = last }, 0, s.last);
	assert_int_equal(meta_writer_entry(&s.w, 1, last + 1), 0);
	assert_int_equal(meta_writer_entry(&s.w, 1, INT64_MAX), 0);
	meta_block_seal(s.last, s.w.used, 0);
	assert_int_equal(meta_cursor_seek(&c, &view, META_BY_ID, SEGMENT), 0);
	assert_int_equal(meta_cursor_next(&c, &e), 0);
	assert_int_equal(meta_cursor_next(&c, &e), -EBADMSG);
}

static void nothing_in_it(void **state)
{
	struct meta_view none = { .segment_id = SEGMENT };
	struct meta_cursor c;
	struct meta_entry e;
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	expect_all(&s);
	assert_int_equal(meta_cursor_seek(&c, &none, META_BY_ID, SEGMENT), WAL_NOT_FOUND);
	assert_int_equal(meta_find(&c, &none, SEGMENT, &e), WAL_NOT_FOUND);
	sidecar_release(&s);
}

/* What lies behind the last whole frame that is believed is dropped, at every place where that may be. */
static void last_block_taken_up_again(void **state)
{
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	for (unsigned i = 0; i < 60; i++)
		add_frame(&s, 1 + i % 3, i, 0, 1000);
	assert_int_equal(s.count, 0);
	view_of(&s);
	for (size_t i = 0; i < s.expected_count; i++) {
		uint8_t block[META_BLOCK_BYTES];
		struct meta_writer w = { .emit = keep_block };

		if (s.expected[i].index > 0)
			continue;
		assert_int_equal(meta_writer_resume(&w, SEGMENT, 0, block, s.last, s.expected[i].frame_offset), 0);
		assert_int_equal(w.at.id, s.expected[i].id);
		assert_int_equal(w.at.bytes, s.expected[i].bytes);
		assert_int_equal(w.at.entry_count, 0);
		/* A place inside a frame is none. */
		assert_int_equal(meta_writer_resume(&w, SEGMENT, 0, block, s.last, s.expected[i].frame_offset + 1), -EBADMSG);
	}
	sidecar_release(&s);
}

/* A flipped bit anywhere in a block is found, whatever is looked for in it. */
static void damaged_blocks(void **state)
{
	struct sidecar s;

	(void)state;
	sidecar_begin(&s);
	while (s.count < 5)
		add_frame(&s, 1, 100, 0, 1000);
	for (unsigned bit = 0; bit < 8 * META_BLOCK_BYTES; bit += 13) {
		uint8_t *block = s.blocks + 2 * META_BLOCK_BYTES;
		struct meta_view view = view_of(&s);
		struct meta_window window;
		struct meta_cursor c;
		struct meta_entry e;
		struct meta_pos pos;
		FILE *file;

		meta_block_header(block, &pos, NULL);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(meta_block_valid(block, SEGMENT));
		assert_int_equal(meta_find(&c, &view, pos.id, &e), -EBADMSG);
		view = file_view_of(&s, &window, &file);
		assert_int_equal(meta_find(&c, &view, pos.id, &e), -EBADMSG);
		fclose(file);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(meta_block_valid(block, SEGMENT));
		assert_false(meta_block_valid(block, SEGMENT + 1));
	}
	sidecar_release(&s);
}

/* What a sidecar costs: at most 12 bytes for each entry that stands alone, however fast or slow they come. */
static void size_of_a_million_entries(void **state)
{
	static const int64_t deltas[] = { 1000, 1000 * 1000, 1000 * 1000 * 1000 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(deltas); i++) {
		struct sidecar s;

		sidecar_begin(&s);
		for (unsigned n = 0; n < 1000000; n++) {
			assert_int_equal(meta_writer_frame(&s.w, 1, 0, 132, s.w.at.last_time + deltas[i]), 0);
			assert_int_equal(meta_writer_length(&s.w, 128), 0);
		}
		print_message("# %.2f bytes an entry\n", (double)s.count * META_BLOCK_BYTES / 1000000);
		assert_true((s.count + 1) * META_BLOCK_BYTES <= 12 * 1000000);
		sidecar_release(&s);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_of_all_kinds),
		cmocka_unit_test(batches_longer_than_a_block),
		cmocka_unit_test(entries_that_grow),
		cmocka_unit_test(lengths_in_runs),
		cmocka_unit_test(singles_in_runs),
		cmocka_unit_test(times_beyond_any_clock),
		cmocka_unit_test(nothing_in_it),
		cmocka_unit_test(last_block_taken_up_again),
		cmocka_unit_test(damaged_blocks),
		cmocka_unit_test(size_of_a_million_entries),
	};

	return TEST_RUN(tests);
}
