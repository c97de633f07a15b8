/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction: entries side by side in one buffer until they are committed as one batch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream_impl.h"

struct wal_txn {
	struct wal_stream *stream;
	struct wal_buf bytes;
	size_t *sizes;
	size_t count;
	size_t capacity;
	uint64_t raw_size;
};

int wal_txn_new(struct wal_stream *st, struct wal_txn **ret_txn)
{
	if (st->engine->env.opts.ro)
		return -EROFS;
	struct wal_txn *txn = calloc(1, sizeof *txn);
	if (!txn)
		return -ENOMEM;
	stream_ref(st);
	txn->stream = st;
	*ret_txn = txn;
	return 0;
}

int wal_txn_add(struct wal_txn *txn, const void *data, size_t size)
{
	uint64_t raw_size = txn->raw_size + FRAME_LENGTH_BYTES + size;

	if (size > WAL_ENTRY_SIZE_MAX || raw_size > UINT32_MAX) {
		stream_count_append_error(txn->stream, -EFBIG);
		return -EFBIG;
	}
	if (txn->count == txn->capacity) {
		size_t capacity = txn->capacity ? 2 * txn->capacity : 16;
		size_t *sizes = reallocarray(txn->sizes, capacity, sizeof *sizes);

		if (!sizes)
			return -ENOMEM;
		txn->sizes = sizes;
		txn->capacity = capacity;
	}
	if (size > txn->bytes.capacity - txn->bytes.size) {
		size_t capacity = 2 * (txn->bytes.size + size) + 256;
		void *bytes = realloc(txn->bytes.data, capacity);

		if (!bytes)
			return -ENOMEM;
		txn->bytes.data = bytes;
		txn->bytes.capacity = capacity;
	}
	if (size > 0)
		memcpy((uint8_t *)txn->bytes.data + txn->bytes.size, data, size);
	txn->bytes.size += size;
	txn->sizes[txn->count++] = size;
	txn->raw_size = raw_size;
	return 0;
}

size_t wal_txn_count(const struct wal_txn *txn)
{
	return txn->count;
}

int wal_txn_commit(struct wal_txn *txn, unsigned flags, uint64_t *ret_first_id, size_t *ret_count)
{
	struct iovec *entries = NULL;
	uint8_t *pos = txn->bytes.data;
	uint64_t first_id = 0;
	int result = 0;

	if (txn->count > 0) {
		entries = calloc(txn->count, sizeof *entries);
		result = entries ? 0 : -ENOMEM;
	}
	for (size_t i = 0; result == 0 && i < txn->count; i++) {
		entries[i] = (struct iovec){ pos, txn->sizes[i] };
		if (pos) /* NULL if all are empty */
			pos += txn->sizes[i];
	}
	if (result == 0 && txn->count > 0)
		result = wal_stream_append_batch(txn->stream, entries, txn->count, flags, &first_id);
	if (result == 0 && ret_first_id)
		*ret_first_id = first_id;
	if (result == 0 && ret_count)
		*ret_count = txn->count;
	free(entries);
	wal_txn_abort(txn);
	return result;
}

void wal_txn_abort(struct wal_txn *txn)
{
	if (!txn)
		return;
	stream_unref(txn->stream);
	wal_buf_release(&txn->bytes);
	free(txn->sizes);
	free(txn);
}
