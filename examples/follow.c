/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows a stream while another thread appends to it: an iterator for what is there, wal_stream_wait() for what comes. Ends after --count entries.
 */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <wal.h>

struct job {
	struct wal_stream *stream;
	uint64_t count;
};

static void *append_readings(void *arg)
{
	const struct job *job = arg;
	char text[64];

	for (uint64_t i = 0; i < job->count; i++) {
		int size = snprintf(text, sizeof(text), "reading %" PRIu64, i);
		int r = wal_stream_append(job->stream, text, (size_t)size, 0, NULL);
		if (r < 0)
			errx(1, "append: %s", wal_strerror(r));
	}
	return NULL;
}

/* Prints `count` entries from `id` on, waiting for those that are not there yet. */
static void follow(struct wal_stream *stream, uint64_t id, uint64_t count)
{
	struct wal_entry entry;
	struct wal_iter *iter;
	int r = wal_iter_new(stream, id, &iter);

	while (r >= 0 && count > 0) {
		r = wal_iter_next(iter, &entry);
		if (r == 0) {
			printf("%" PRIu64 ": %.*s\n", entry.id, (int)entry.size, (const char *)entry.data);
			id = entry.id + 1;
			count--;
		} else if (r == WAL_END) {
			r = wal_stream_wait(stream, id, -1);
		} else if (r > 0) { /* damaged or pruned: the iterator has stepped over them */
			fprintf(stderr, "%zu entries from %" PRIu64 " on: %s\n", entry.size, entry.id, wal_strerror(r));
			id = entry.id + entry.size;
		}
	}
	if (r < 0)
		errx(1, "follow: %s", wal_strerror(r));
	wal_iter_free(iter);
}

static uint64_t parse_count(int argc, char **argv)
{
	static const struct option options[] = { { "count", required_argument, NULL, 'n' }, { 0 } };
	long long count = 10;
	int key;

	while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (key != 'n')
			errx(2, "usage: follow [--count N] STORE");
		count = atoll(optarg);
	}
	if (count < 1 || argc - optind != 1)
		errx(2, "usage: follow [--count N] STORE");
	return (uint64_t)count;
}

int main(int argc, char **argv)
{
	struct job job = { .count = parse_count(argc, argv) };
	struct wal_store *store;
	struct wal_error error;
	pthread_t writer;
	uint64_t next;
	int r;

	if (wal_store_open(argv[optind], NULL, &store, &error) < 0)
		errx(1, "%s", error.message);
	if (wal_stream_open(store, "readings", WAL_CREATE, &job.stream, &error) < 0)
		errx(1, "%s", error.message);
	wal_stream_bounds(job.stream, NULL, &next, NULL);
	r = pthread_create(&writer, NULL, append_readings, &job);
	if (r)
		errx(1, "thread: %s", wal_strerror(-r));
	follow(job.stream, next, job.count);
	pthread_join(writer, NULL);
	wal_stream_close(job.stream);
	r = wal_store_close(store);
	if (r < 0)
		errx(1, "close: %s", wal_strerror(r));
	return 0;
}
