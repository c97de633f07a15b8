/* SPDX-License-Identifier: Apache-2.0 */
/* Appends three entries to the stream "orders" of a store, and reads the stream from its first entry to its last. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <wal.h>

static void append(struct wal_stream *stream, const char *text)
{
	uint64_t id;
	int r = wal_stream_append(stream, text, strlen(text), 0, &id);

	if (r < 0)
		errx(1, "append: %s", wal_strerror(r));
	printf("appended %" PRIu64 "\n", id);
}

static void read_all(struct wal_stream *stream)
{
	struct wal_entry entry;
	struct wal_iter *iter;
	int r = wal_iter_new(stream, 0, &iter);

	if (r < 0)
		errx(1, "iterator: %s", wal_strerror(r));
	while ((r = wal_iter_next(iter, &entry)) != WAL_END) {
		if (r < 0)
			errx(1, "read: %s", wal_strerror(r));
		if (r == 0)
			printf("%" PRIu64 ": %.*s\n", entry.id, (int)entry.size, (const char *)entry.data);
		else
			printf("%" PRIu64 " and on, %zu entries: %s\n", entry.id, entry.size, wal_strerror(r));
	}
	wal_iter_free(iter);
}

int main(int argc, char **argv)
{
	struct wal_options options = { .segment_size = 1 << 20 }; /* what is not set is the default */
	struct wal_buf buf = { 0 };
	struct wal_stream *orders;
	struct wal_store *store;
	struct wal_error error;
	int r;

	if (argc != 2)
		errx(2, "usage: append_read STORE");
	if (wal_store_open(argv[1], &options, &store, &error) < 0)
		errx(1, "%s", error.message);
	if (wal_stream_open(store, "orders", WAL_CREATE, &orders, &error) < 0)
		errx(1, "%s", error.message);

	append(orders, "two apples");
	append(orders, "a pear");
	append(orders, "one apple back");
	read_all(orders);

	/* One entry by its id. The buffer can be used again and again. */
	r = wal_stream_get(orders, 1, &buf);
	if (r != 0)
		errx(1, "entry 1: %s", wal_strerror(r));
	printf("entry 1 has %zu bytes\n", buf.size);
	wal_buf_release(&buf);

	wal_stream_close(orders);
	r = wal_store_close(store);
	if (r < 0)
		errx(1, "close: %s", wal_strerror(r));
	return 0;
}
