/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tiny persistent vector store: what it holds is in memory, every change goes to a journal first, and now and then all of it into a snapshot file.
 * Killed at any moment, it comes back with everything it had acknowledged: from the snapshot, and from what the journal has behind it.
 *
 *	vector_store DIRECTORY				a demonstration
 *	vector_store --fill FROM COUNT DIRECTORY	makes COUNT changes from number FROM on, and prints each number when the change is acknowledged
 *	vector_store --check COUNT DIRECTORY		whether it holds what COUNT changes make, or one more; prints how many
 *
 * DIRECTORY/log is the store with the journal "vectors", which `walctl cat --journal DIRECTORY/log vectors` shows; DIRECTORY/snapshot is the state as
 * of a checkpoint.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wal_journal.h>

struct item {
	char *id;
	char *label;
	float *values;
	size_t count;
};

struct vectors {
	struct item *items;
	size_t count, capacity;
	uint64_t applied; /* the last record that `items` has in it */
	int dir_fd;
	struct wal_store *store;
	struct wal_journal *journal;
};

static void *need(void *memory)
{
	if (!memory)
		err(1, "memory");
	return memory;
}

static void check(int result, const char *what, const struct wal_error *error)
{
	if (result < 0)
		errx(1, "%s: %s", what, error && error->message[0] ? error->message : wal_strerror(result));
}

/* ---- The state in memory ---- */

static struct item *find(const struct vectors *v, const char *id)
{
	for (size_t i = 0; i < v->count; i++) {
		if (strcmp(v->items[i].id, id) == 0)
			return &v->items[i];
	}
	return NULL;
}

static void release(struct item *item)
{
	free(item->id);
	free(item->label);
	free(item->values);
}

static void put(struct vectors *v, const struct wal_record *record)
{
	const struct wal_record_pair *label = wal_record_find(record, "label");
	struct item *item = find(v, record->id);

	if (item) {
		release(item);
	} else {
		if (v->count == v->capacity) {
			v->capacity = v->capacity ? 2 * v->capacity : 64;
			v->items = need(reallocarray(v->items, v->capacity, sizeof(*v->items)));
		}
		item = &v->items[v->count++];
	}
	*item = (struct item){ .id = need(strdup(record->id)), .label = label ? need(strdup(label->value)) : NULL, .count = record->vector.count };
	item->values = need(calloc(item->count + 1, sizeof(*item->values)));
	memcpy(item->values, record->vector.values, item->count * sizeof(*item->values));
}

static void take_out(struct vectors *v, const char *id)
{
	struct item *item = find(v, id);

	if (!item)
		return;
	release(item);
	*item = v->items[--v->count];
}

static void apply(struct vectors *v, const struct wal_record *record)
{
	if (record->type == WAL_RECORD_INSERT || record->type == WAL_RECORD_UPDATE)
		put(v, record);
	else if (record->type == WAL_RECORD_DELETE)
		take_out(v, record->id);
	else if (record->type == WAL_RECORD_BATCH)
		for (size_t i = 0; i < record->record_count; i++)
			apply(v, &record->records[i]);
}

static void clear(struct vectors *v)
{
	for (size_t i = 0; i < v->count; i++)
		release(&v->items[i]);
	free(v->items);
	v->items = NULL;
	v->count = v->capacity = 0;
}

static float distance(const struct item *item, const float *values, size_t count)
{
	float sum = 0;

	for (size_t i = 0; i < count && i < item->count; i++)
		sum += (item->values[i] - values[i]) * (item->values[i] - values[i]);
	return sum;
}

static const struct item *nearest(const struct vectors *v, const float *values, size_t count)
{
	const struct item *best = NULL;

	for (size_t i = 0; i < v->count; i++) {
		if (!best || distance(&v->items[i], values, count) < distance(best, values, count))
			best = &v->items[i];
	}
	return best;
}

/* ---- The snapshot: one batch record, whose first record says up to where it goes ---- */

static struct wal_record record_of(const struct item *item, struct wal_record_pair *label)
{
	struct wal_record record = { .type = WAL_RECORD_INSERT, .time = 1, .id = item->id, .id_size = strlen(item->id), .vector = { item->values, item->count } };

	if (item->label) {
		*label = (struct wal_record_pair){ "label", 5, item->label, strlen(item->label) };
		record.metadata = (struct wal_record_metadata){ true, label, 1 };
	}
	return record;
}

static int encode_snapshot(const struct vectors *v, struct wal_buf *buf)
{
	struct wal_record *records = need(calloc(v->count + 1, sizeof(*records)));
	struct wal_record_pair *labels = need(calloc(v->count + 1, sizeof(*labels)));
	int r;

	records[0] = (struct wal_record){ .type = WAL_RECORD_CHECKPOINT, .sequence = v->applied };
	for (size_t i = 0; i < v->count; i++)
		records[i + 1] = record_of(&v->items[i], &labels[i]);
	r = wal_record_encode(&(struct wal_record){ .type = WAL_RECORD_BATCH, .records = records, .record_count = v->count + 1 }, buf, NULL);
	free(records);
	free(labels);
	return r;
}

/* Written beside, synced, renamed, the directory synced: at any moment there is a whole one, the old or the new. */
static int write_snapshot(const struct vectors *v, const struct wal_buf *buf)
{
	int fd = openat(v->dir_fd, "snapshot.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), r = 0;
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		return -errno;
	if (fwrite(buf->data, 1, buf->size, file) != buf->size || fflush(file) || fsync(fd))
		r = -errno;
	fclose(file);
	if (!r && (renameat(v->dir_fd, "snapshot.tmp", v->dir_fd, "snapshot") || fsync(v->dir_fd)))
		r = -errno;
	return r;
}

/* The journal asks for this after every so many records, before it appends the next one. */
static int make_durable(void *arg, uint64_t appended, uint64_t *ret_applied)
{
	struct vectors *v = arg;
	struct wal_buf buf = { 0 };
	int r = encode_snapshot(v, &buf);

	(void)appended;
	if (!r)
		r = write_snapshot(v, &buf);
	wal_buf_release(&buf);
	if (!r)
		*ret_applied = v->applied;
	return r;
}

static void load_snapshot(struct vectors *v)
{
	int fd = openat(v->dir_fd, "snapshot", O_RDONLY | O_CLOEXEC);
	struct wal_buf memory = { 0 };
	struct wal_record batch;
	struct wal_error error;
	struct stat st;
	char *data;

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st))
		err(1, "snapshot");
	data = need(malloc((size_t)st.st_size + 1));
	if (read(fd, data, (size_t)st.st_size) != st.st_size)
		err(1, "snapshot");
	close(fd);
	check(wal_record_decode(data, (size_t)st.st_size, WAL_RECORD_VARINT, &memory, &batch, &error), "snapshot", &error);
	if (batch.type != WAL_RECORD_BATCH || !batch.record_count || batch.records[0].type != WAL_RECORD_CHECKPOINT)
		errx(1, "snapshot: expected a batch that begins with a checkpoint, found something else");
	apply(v, &batch);
	v->applied = batch.records[0].sequence;
	wal_buf_release(&memory);
	free(data);
}

/* ---- Opening, changing ---- */

/* The snapshot may be newer than the last checkpoint: if it was killed between the two. */
static int replay(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct vectors *v = arg;

	if (sequence > v->applied) {
		apply(v, record);
		v->applied = sequence;
	}
	return 0;
}

static void open_vectors(struct vectors *v, const char *path)
{
	const struct wal_options options = { .segment_entries = 64 };
	const struct wal_journal_options journal_options = { .checkpoint_interval = 50, .checkpoint = make_durable, .arg = v, .retain_segments = 2 };
	struct wal_error error;
	char log[4096];

	*v = (struct vectors){ 0 };
	if (mkdir(path, 0777) && errno != EEXIST)
		err(1, "%s", path);
	v->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->dir_fd < 0)
		err(1, "%s", path);
	if ((size_t)snprintf(log, sizeof(log), "%s/log", path) >= sizeof(log))
		errx(1, "%s: too long", path);
	check(wal_store_open(log, &options, &v->store, &error), "log", &error);
	check(wal_journal_open(v->store, "vectors", &journal_options, &v->journal, &error), "journal", &error);
	load_snapshot(v);
	check(wal_journal_replay(v->journal, &(struct wal_replay){ .record = replay, .arg = v }, NULL, &error), "replay", &error);
}

static void close_vectors(struct vectors *v)
{
	wal_journal_close(v->journal);
	check(wal_store_close(v->store), "close", NULL);
	clear(v);
	close(v->dir_fd);
}

/* First the journal, then memory: what is acknowledged is what can be replayed. */
static void change(struct vectors *v, const struct wal_record *record)
{
	uint64_t sequence;

	check(wal_journal_append(v->journal, record, 0, &sequence), "append", NULL);
	apply(v, record);
	v->applied = sequence;
}

/* All of them or none. */
static void change_together(struct vectors *v, const struct wal_record *records, size_t count)
{
	struct wal_journal_txn *txn;
	uint64_t last;

	check(wal_journal_begin(v->journal, &txn), "begin", NULL);
	for (size_t i = 0; i < count; i++)
		check(wal_journal_add(txn, &records[i]), "add", NULL);
	check(wal_journal_commit(txn, 0, NULL, &last), "commit", NULL);
	for (size_t i = 0; i < count; i++)
		apply(v, &records[i]);
	v->applied = last;
}

static struct wal_record text_record(enum wal_record_type type, const char *id, const float *values, size_t count)
{
	struct wal_record record = { .type = type, .id = id, .id_size = strlen(id) };

	if (type != WAL_RECORD_DELETE)
		record.vector = (struct wal_record_vector){ values, count };
	return record;
}

/* ---- Changes by number ---- */

/* What change number `i` is: so that how many there were says what must be there. */
struct numbered {
	char ids[2][32];
	float values[3];
	struct wal_record records[2];
	size_t count;
};

static void make_numbered(uint64_t i, struct numbered *ret)
{
	static const enum wal_record_type types[5] = { WAL_RECORD_INSERT, WAL_RECORD_INSERT, WAL_RECORD_INSERT, WAL_RECORD_UPDATE, WAL_RECORD_DELETE };
	uint64_t target = i % 5 == 3 ? i - 1 : i % 5 == 4 ? i - 4 : i;

	*ret = (struct numbered){ .values = { (float)i, (float)i / 3, -1 }, .count = i % 5 == 1 ? 2 : 1 };
	for (size_t k = 0; k < ret->count; k++) {
		snprintf(ret->ids[k], sizeof(ret->ids[k]), "v%" PRIu64 "%s", target, k ? "-too" : "");
		ret->records[k] = text_record(types[i % 5], ret->ids[k], ret->values, 3);
	}
}

static void fill(struct vectors *v, uint64_t from, uint64_t count)
{
	struct numbered n;

	for (uint64_t i = from; i < from + count; i++) {
		make_numbered(i, &n);
		if (n.count > 1)
			change_together(v, n.records, n.count);
		else
			change(v, n.records);
		printf("%" PRIu64 "\n", i + 1);
		fflush(stdout);
	}
}

static bool holds(const struct vectors *v, const struct vectors *expected)
{
	for (size_t i = 0; i < expected->count; i++) {
		const struct item *there = find(v, expected->items[i].id);

		if (!there || memcmp(there->values, expected->items[i].values, 3 * sizeof(float)) != 0)
			return false;
	}
	return v->count == expected->count;
}

static int check_numbered(const struct vectors *v, uint64_t acknowledged)
{
	struct vectors expected = { 0 };
	struct numbered n;
	int code = 1;

	for (uint64_t i = 0; i <= acknowledged + 1 && code; i++) {
		if (i >= acknowledged && holds(v, &expected)) {
			printf("%" PRIu64 "\n", i);
			code = 0;
		}
		make_numbered(i, &n);
		for (size_t k = 0; k < n.count; k++)
			apply(&expected, &n.records[k]);
	}
	clear(&expected);
	if (code)
		warnx("expected what %" PRIu64 " changes make, or one more; found %zu vectors that are not that", acknowledged, v->count);
	return code;
}

/* ---- A demonstration ---- */

static void demonstrate(struct vectors *v)
{
	static const float apple[] = { 1, 0.5F, 0 }, pear[] = { 0.9F, 0.7F, 0.1F }, stone[] = { -3, 0, 0.25F }, other_stone[] = { -3, 1, 0.25F };
	const struct wal_record_pair label = { "label", 5, "a fruit", 7 };
	struct wal_record records[2] = { text_record(WAL_RECORD_INSERT, "apple", apple, 3), text_record(WAL_RECORD_INSERT, "stone", stone, 3) };
	const struct item *found;

	records[0].metadata = (struct wal_record_metadata){ true, &label, 1 };
	change_together(v, records, 2);
	records[0] = text_record(WAL_RECORD_INSERT, "pear", pear, 3);
	change(v, &records[0]);
	records[0] = text_record(WAL_RECORD_UPDATE, "stone", other_stone, 3);
	change(v, &records[0]);
	found = nearest(v, (const float[]){ 1, 0.6F, 0 }, 3);
	printf("%zu vectors; nearest is %s (%s)\n", v->count, found->id, found->label ? found->label : "no label");
	records[0] = text_record(WAL_RECORD_DELETE, "apple", NULL, 0);
	change(v, &records[0]);
}

static int run(struct vectors *v, int argc, char **argv)
{
	const struct item *found;

	if (argc == 5) {
		fill(v, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
		return 0;
	}
	if (argc == 4)
		return check_numbered(v, strtoull(argv[2], NULL, 10));
	demonstrate(v);
	close_vectors(v);
	open_vectors(v, argv[1]);
	found = nearest(v, (const float[]){ 1, 0.6F, 0 }, 3);
	printf("opened again: %zu vectors; nearest is %s\n", v->count, found->id);
	return 0;
}

int main(int argc, char **argv)
{
	struct vectors v;
	int code;

	if (argc < 2 || argc == 3 || argc > 5 || (argc == 5 && strcmp(argv[1], "--fill") != 0) || (argc == 4 && strcmp(argv[1], "--check") != 0))
		errx(2, "usage: vector_store [--fill FROM COUNT | --check COUNT] DIRECTORY");
	open_vectors(&v, argv[argc - 1]);
	code = run(&v, argc, argv);
	close_vectors(&v);
	return code;
}
