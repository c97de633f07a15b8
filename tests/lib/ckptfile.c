/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptfile.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "damage.h"
#include "test.h"

static void put_bytes(struct ckptfile *file, const void *data, size_t size)
{
	file->data = realloc(file->data, file->size + size + 1);
	assert_non_null(file->data);
	if (size > 0)
		memcpy(file->data + file->size, data, size);
	file->size += size;
}

static void put_number(struct ckptfile *file, uint64_t value, unsigned bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		put_bytes(file, &(uint8_t){ (uint8_t)value }, 1);
}

static void put_payload(struct ckptfile *payload, unsigned version, const struct wal_checkpoint *c)
{
	put_number(payload, version, 1);
	put_number(payload, c->id_size, 2);
	put_bytes(payload, c->id, c->id_size);
	put_number(payload, (uint64_t)c->time_ns, 8);
	put_number(payload, c->cut_count, version == 1 ? 2 : 4);
	for (size_t i = 0; i < c->cut_count; i++) {
		if (version == 2) {
			put_number(payload, strlen(c->cuts[i].stream), 1);
			put_bytes(payload, c->cuts[i].stream, strlen(c->cuts[i].stream));
		}
		put_number(payload, c->cuts[i].next_id, 8);
	}
}

void ckptfile_add(struct ckptfile *file, unsigned version, const struct wal_checkpoint *checkpoint)
{
	struct ckptfile payload = { 0 };

	put_payload(&payload, version, checkpoint);
	put_bytes(file, "CKPT", 4);
	put_number(file, crc32(0, payload.data, (uInt)payload.size), 4);
	put_number(file, payload.size, 4);
	put_bytes(file, payload.data, payload.size);
	ckptfile_release(&payload);
}

void ckptfile_add_from(struct ckptfile *file, unsigned version, struct wal_store *store, const void *id, size_t id_size)
{
	struct wal_checkpoint *checkpoint;

	assert_int_equal(wal_checkpoint_load(store, id, id_size, &checkpoint), 0);
	ckptfile_add(file, version, checkpoint);
	free(checkpoint);
}

void ckptfile_release(struct ckptfile *file)
{
	free(file->data);
	*file = (struct ckptfile){ 0 };
}

static void expect_bytes(const char *path, const uint8_t *expected, size_t expected_size)
{
	size_t size;
	uint8_t *data = file_read(path, &size);

	for (size_t at = 0; at < size && at < expected_size; at++) {
		if (data[at] != expected[at])
			fail_msg("'%s' has the byte %02x at offset %zu, expected %02x", path, data[at], at, expected[at]);
	}
	if (size != expected_size)
		fail_msg("'%s' has %zu bytes, expected %zu", path, size, expected_size);
	free(data);
}

void ckptfile_expect(const struct ckptfile *file, const char *store)
{
	char path[PATH_MAX];

	assert_true(snprintf(path, sizeof(path), "%s/checkpoints.log", store) < PATH_MAX);
	expect_bytes(path, file->data, file->size);
}

void ckptfile_expect_head(const char *store, const void *id, size_t id_size)
{
	struct ckptfile head = { 0 };
	char path[PATH_MAX];

	assert_true(snprintf(path, sizeof(path), "%s/HEAD", store) < PATH_MAX);
	if (!id) {
		assert_int_not_equal(access(path, F_OK), 0);
		return;
	}
	put_number(&head, id_size, 2);
	put_bytes(&head, id, id_size);
	expect_bytes(path, head.data, head.size);
	ckptfile_release(&head);
}
