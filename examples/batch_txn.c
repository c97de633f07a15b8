/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways to append several entries so that a reader, also after a crash, finds all of them or none: a batch, when they are in memory already, and a
 * transaction, when they come one by one and may be called off.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <wal.h>

static struct iovec text(const char *string)
{
	return (struct iovec){ (void *)string, strlen(string) };
}

static void append_batch(struct wal_stream *stream)
{
	const struct iovec transfer[] = { text("account 1: -100"), text("account 2: +100") };
	uint64_t first_id;
	int r = wal_stream_append_batch(stream, transfer, 2, 0, &first_id);

	if (r < 0)
		errx(1, "batch: %s", wal_strerror(r));
	printf("batch: %" PRIu64 " to %" PRIu64 "\n", first_id, first_id + 1);
}

static struct wal_txn *begin(struct wal_stream *stream)
{
	struct wal_txn *txn;
	int r = wal_txn_new(stream, &txn);

	if (r < 0)
		errx(1, "transaction: %s", wal_strerror(r));
	return txn;
}

static void add(struct wal_txn *txn, const char *string)
{
	int r = wal_txn_add(txn, string, strlen(string));

	if (r < 0)
		errx(1, "transaction: %s", wal_strerror(r));
}

static void run_transactions(struct wal_stream *stream)
{
	struct wal_txn *txn = begin(stream);
	uint64_t first_id;
	size_t count;
	int r;

	add(txn, "account 1: -7");
	wal_txn_abort(txn); /* nothing of it is in the stream */

	txn = begin(stream);
	add(txn, "account 1: -5");
	add(txn, "account 2: +3");
	add(txn, "account 3: +2");
	/* WAL_DURABLE: on stable storage when it returns, also in a store that was opened with WAL_SYNC_ASYNC. */
	r = wal_txn_commit(txn, WAL_DURABLE, &first_id, &count);
	if (r < 0)
		errx(1, "commit: %s", wal_strerror(r));
	printf("transaction: %" PRIu64 " to %" PRIu64 "\n", first_id, first_id + count - 1);
}

int main(int argc, char **argv)
{
	struct wal_stream *accounts;
	struct wal_store *store;
	struct wal_error error;
	int r;

	if (argc != 2)
		errx(2, "usage: batch_txn STORE");
	if (wal_store_open(argv[1], NULL, &store, &error) < 0)
		errx(1, "%s", error.message);
	if (wal_stream_open(store, "accounts", WAL_CREATE, &accounts, &error) < 0)
		errx(1, "%s", error.message);
	append_batch(accounts);
	run_transactions(accounts);
	wal_stream_close(accounts);
	r = wal_store_close(store);
	if (r < 0)
		errx(1, "close: %s", wal_strerror(r));
	return 0;
}
