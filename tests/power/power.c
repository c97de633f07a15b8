/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What power_cut.sh calls:
 *	power write library|mount PATH LOG SYNC SEED ROUND [LIE]	several writers, and a reader, until all of them have met an error
 *	power check library|mount PATH LOG SYNC SEED ROUND power|kill	compares what is there with the log, then appends some more; 1 if it is not so
 *	power scramble STORE SEED					writes out random pages of the store's files until that fails
 *	power cut DIR LOG 0|1|2						the file system loses its power; 2 with what its journal has not written yet
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "power.h"
#include "random.h"

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)

enum {
	WRITERS = 4,
	STREAMS = 3,		 /* that all rounds write to */
	STREAMS_OF_ROUND = 1000, /* the others: this plus round * WRITERS + writer */
	CHECKER = 100,		 /* the checker's number as a writer */
	BATCH_MAX = 12,
	PENDING_MAX = 64,
	CHECKPOINTS = 3, /* of each writer */
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

struct worker {
	struct target *target;
	int log_fd;
	uint32_t round;
	uint32_t writer;
	uint64_t seed;
	uint64_t seq;
	uint64_t committed[STREAMS]; /* the last id in each */
	pthread_t thread;
	atomic_uint *writing; /* how many writers still are */
	atomic_bool *created; /* the common streams are there */
};

static void log_add(const struct worker *w, struct record r, uint32_t kind)
{
	r.kind = kind;
	r.round = w->round;
	r.writer = w->writer;
	if (write(w->log_fd, &r, sizeof r) != sizeof r)
		die("cannot write the log");
}

/* ---- Writing ---- */

struct pending {
	struct record records[PENDING_MAX]; /* committed, and not known to be durable */
	unsigned count;
};

static void all_durable(const struct worker *w, struct pending *pending)
{
	for (unsigned i = 0; i < pending->count; i++)
		log_add(w, pending->records[i], RECORD_DURABLE);
	pending->count = 0;
}

static int append(struct worker *w, uint32_t stream, uint32_t count, uint64_t dice, struct pending *pending)
{
	struct record r = { .stream = stream, .round = w->round, .writer = w->writer, .count = count, .seq = w->seq++, .id = ID_UNKNOWN };
	char name[STREAM_NAME_MAX];
	uint64_t id;
	bool durable;

	stream_name(name, stream);
	log_add(w, r, RECORD_TRIED);
	int result = w->target->append(w->target, name, &r, dice, &id, &durable);
	if (result < 0)
		return result;
	r.id = id;
	if (id != ID_UNKNOWN && stream < STREAMS)
		w->committed[stream] = id;
	log_add(w, r, durable ? RECORD_DURABLE : RECORD_COMMITTED);
	if (!durable && id != ID_UNKNOWN && pending && pending->count < PENDING_MAX)
		pending->records[pending->count++] = r;
	return 0;
}

static int create(struct worker *w, uint32_t stream)
{
	struct record r = { .stream = stream };
	char name[STREAM_NAME_MAX];

	stream_name(name, stream);
	log_add(w, r, RECORD_CREATING);
	int result = w->target->create(w->target, name);
	if (result == 0)
		log_add(w, r, RECORD_CREATED);
	return result;
}

static int delete_empty(struct worker *w, uint32_t stream)
{
	struct record r = { .stream = stream };
	char name[STREAM_NAME_MAX];

	stream_name(name, stream);
	log_add(w, r, RECORD_DELETING);
	int result = w->target->remove(w->target, name);
	if (result == 0)
		log_add(w, r, RECORD_DELETED);
	return result;
}

/* Syncs the stream all of `pending` is on. */
static int sync_pending(struct worker *w, struct pending *pending, uint32_t stream)
{
	char name[STREAM_NAME_MAX];

	stream_name(name, stream);
	int result = w->target->sync(w->target, name);
	if (result == 0)
		all_durable(w, pending);
	return result;
}

static void checkpoint_name(char name[STREAM_NAME_MAX], uint32_t writer, uint32_t number)
{
	snprintf(name, STREAM_NAME_MAX, "w%u-%u", (unsigned)writer, (unsigned)number);
}

/* Of what was committed lately the older part. */
static int prune(struct worker *w, uint32_t stream, uint64_t id)
{
	struct record r = { .stream = stream, .id = id };
	char name[STREAM_NAME_MAX];

	stream_name(name, stream);
	log_add(w, r, RECORD_PRUNING);
	int result = w->target->prune(w->target, name, id, &r.id);
	if (result == 0)
		log_add(w, r, RECORD_PRUNED);
	return result;
}

static int make_checkpoint(struct worker *w, uint32_t number)
{
	struct record r = { .part = number };
	char name[STREAM_NAME_MAX], stream[STREAM_NAME_MAX];

	checkpoint_name(name, w->writer, number);
	log_add(w, r, RECORD_CHECKPOINTING);
	int result = w->target->checkpoint(w->target, name);
	for (; r.stream < STREAMS && result == 0; r.stream++) {
		stream_name(stream, r.stream);
		result = w->target->covered(w->target, name, stream, &r.id);
		if (result == 0)
			log_add(w, r, RECORD_CHECKPOINTED);
	}
	return result;
}

static int forget_checkpoint(struct worker *w, uint32_t number)
{
	struct record r = { .part = number };
	char name[STREAM_NAME_MAX];

	checkpoint_name(name, w->writer, number);
	log_add(w, r, RECORD_FORGETTING);
	int result = w->target->forget(w->target, name);
	if (result == 0)
		log_add(w, r, RECORD_FORGOTTEN);
	return result;
}

static void *write_entries(void *arg)
{
	struct worker *w = arg;
	struct random random = { w->seed };
	uint32_t own = STREAMS_OF_ROUND + w->round * WRITERS + w->writer;
	bool made = false;
	struct pending pending[STREAMS] = { 0 };
	int result = 0;

	while (!*w->created)
		usleep(100);
	while (result == 0) {
		uint64_t dice = random_next(&random);
		uint32_t stream = (uint32_t)(dice % STREAMS), count = w->target->batches && dice % 5 == 0 ? 1 + dice / 5 % BATCH_MAX : 1;

		if (!made && dice % 32 == 0) {
			result = create(w, own);
			made = result == 0;
		} else if (made && dice % 32 < 4) {
			result = append(w, own, count, dice >> 16, NULL);
		} else if (dice % 64 == 60) {
			/* Made and deleted again; its number is never used otherwise. */
			uint32_t passing = own * 1000 + (uint32_t)(w->seq % 1000);

			w->seq++;
			result = create(w, passing);
			if (result == 0)
				result = delete_empty(w, passing);
		} else if (dice % 64 == 61) {
			result = prune(w, stream, w->committed[stream] * (1 + dice / 64 % 7) / 8);
		} else if (dice % 32 == 30) {
			result = make_checkpoint(w, dice / 32 % CHECKPOINTS);
		} else if (dice % 128 == 29) {
			result = forget_checkpoint(w, dice / 128 % CHECKPOINTS);
		} else if (w->target->batches && !w->target->strict && (dice % 32 == 31 || pending[stream].count == PENDING_MAX)) {
			result = sync_pending(w, &pending[stream], stream);
		} else {
			result = append(w, stream, count, dice >> 16, &pending[stream]);
		}
	}
	if (result != -EIO && result != -EROFS && result != -ENOSPC && result != -ENOTCONN && result != -ECONNABORTED && result != -ENODEV)
		fprintf(stderr, "a writer ended because of: %s\n", strerror(-result));
	atomic_fetch_sub(w->writing, 1);
	return NULL;
}

struct watch {
	struct worker *w;
	uint32_t stream;
	uint64_t next;
};

static bool see(void *arg, uint64_t id, const void *data, size_t size)
{
	struct watch *watch = arg;
	struct record r;

	if (!content_parse(data, size, &r)) {
		fprintf(stderr, "stream %u: entry %" PRIu64 " as read while it was written is not what anybody wrote\n", watch->stream, id);
		exit(3);
	}
	r.id = id;
	r.kind = RECORD_SEEN;
	if (write(watch->w->log_fd, &r, sizeof r) != sizeof r)
		die("cannot write the log");
	watch->next = id + 1;
	return true;
}

/* Whatever can be read in strict mode is durable. */
static void *watch_entries(void *arg)
{
	struct worker *w = arg;
	struct random random = { w->seed };
	struct watch watch[STREAMS] = { 0 };
	char name[STREAM_NAME_MAX];

	while (*w->writing > 0) {
		struct watch *one = &watch[random_below(&random, STREAMS)];

		one->w = w;
		one->stream = (uint32_t)(one - watch);
		stream_name(name, one->stream);
		if (w->target->read(w->target, name, one->next, see, one) < 0)
			usleep(1000);
	}
	return NULL;
}

static int run_writers(struct worker common)
{
	struct worker workers[WRITERS + 1];
	atomic_uint writing = WRITERS;
	atomic_bool created = false;
	int result = 0;

	common.writing = &writing;
	common.created = &created;
	for (uint32_t i = 0; i <= WRITERS; i++) {
		workers[i] = common;
		workers[i].writer = i;
		workers[i].seed = common.seed + i;
	}
	for (uint32_t i = 0; i < STREAMS && result == 0; i++)
		result = create(&workers[0], i);
	if (result < 0)
		return 0; /* the power went first */
	created = true;
	for (uint32_t i = 0; i <= WRITERS; i++)
		if ((i < WRITERS || common.target->strict) &&
		    pthread_create(&workers[i].thread, NULL, i < WRITERS ? write_entries : watch_entries, &workers[i]) != 0)
			die("no thread");
	for (uint32_t i = 0; i <= WRITERS; i++)
		if (i < WRITERS || common.target->strict)
			pthread_join(workers[i].thread, NULL);
	/* A program that still closes its store, and one that just ends. */
	if (common.seed % 2)
		common.target->close(common.target);
	return 0;
}

/* ---- Checking ---- */

struct tried {
	struct record r;
	bool durable;
	uint64_t id;	    /* under which it must be, if it is durable */
	uint64_t committed; /* under which it came back */
	uint64_t base;	    /* where it was found */
	uint32_t found;	    /* how many of its entries */
};

struct made {
	uint32_t stream;
	bool created, deleting, deleted, present;
};

/* One of the writers' checkpoints, as the log tells of it. */
struct cut {
	bool tried;	/* something was, since it was last known how it is */
	bool there;	/* when it was known */
	uint32_t round;
	uint64_t next[STREAMS];
};

struct checker {
	struct cut cuts[WRITERS * CHECKPOINTS];
	uint64_t prune_max[STREAMS]; /* what is below may be gone */
	uint64_t prune_min[STREAMS]; /* what is below is */
	uint64_t firsts[STREAMS];    /* what was found: the ids from here */
	uint64_t nexts[STREAMS];     /* to here */
	struct tried *tried;
	size_t tried_count;
	struct made *made;
	size_t made_count;
	unsigned faults;
	uint64_t entries, durable, in_vain, late, checkpoints;
	uint32_t round; /* as the log is gone through */
	bool cut;	/* the power is gone */
	bool kill;	/* only programs ended: what was committed is there */
	const char *name; /* of the stream that is looked at */
	uint32_t stream;
	uint64_t next;
};

#define FAULT(c, ...) ((c)->faults++, fprintf(stderr, "FAULT: " __VA_ARGS__), fputc('\n', stderr))

static int compare_tried(const void *a, const void *b)
{
	const struct record *x = &((const struct tried *)a)->r, *y = &((const struct tried *)b)->r;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	if (x->round != y->round)
		return x->round < y->round ? -1 : 1;
	if (x->writer != y->writer)
		return x->writer < y->writer ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static struct tried *find_tried(const struct checker *c, const struct record *r)
{
	struct tried key = { .r = *r };

	return bsearch(&key, c->tried, c->tried_count, sizeof key, compare_tried);
}

static struct made *find_made(struct checker *c, uint32_t stream)
{
	for (size_t i = 0; i < c->made_count; i++)
		if (c->made[i].stream == stream)
			return &c->made[i];
	return NULL;
}

/* Whether the power was gone when this was written to the log: until the checker, or the writers of a later round, begin. */
static bool is_late(struct checker *c, const struct record *r)
{
	bool begins = r->kind == RECORD_TRIED || r->kind == RECORD_CREATING;

	if (r->kind == RECORD_CUT) {
		c->cut = true;
	} else if (begins && (r->round > c->round || (r->writer == CHECKER && r->kind == RECORD_TRIED))) {
		c->round = r->round;
		c->cut = false;
	}
	return c->cut;
}

static void note_stream(struct checker *c, const struct record *r, bool late)
{
	struct made *m = find_made(c, r->stream);

	if (!m) {
		m = &c->made[c->made_count++];
		*m = (struct made){ .stream = r->stream };
	}
	m->created |= r->kind == RECORD_CREATED && !late;
	m->deleting |= r->kind == RECORD_DELETING;
	m->deleted |= r->kind == RECORD_DELETED && !late;
}

static void note_append(struct checker *c, const struct record *r, bool late)
{
	struct tried *t = find_tried(c, r);

	if (!t) {
		FAULT(c, "the log has kind %u of what nobody tried", r->kind);
		return;
	}
	if ((r->kind == RECORD_COMMITTED && !c->kill) || late) {
		c->late += late;
		return;
	}
	uint64_t id = r->id == ID_UNKNOWN ? t->id : r->id - r->part;
	if (t->id != ID_UNKNOWN && t->id != id)
		FAULT(c, "stream %u: writer %u of round %u was told id %" PRIu64 " for what was read as %" PRIu64, r->stream, r->writer, r->round, t->id, id);
	t->durable = true;
	t->id = id;
}

static void raise_to(uint64_t *value, uint64_t to)
{
	*value = *value > to ? *value : to;
}

static void note_checkpoint(struct checker *c, const struct record *r, bool late)
{
	struct cut *cut = &c->cuts[r->writer * CHECKPOINTS + r->part];

	if (r->kind == RECORD_CHECKPOINTING || r->kind == RECORD_FORGETTING) {
		cut->tried = true;
		return;
	}
	/* The last of its records says that it is known whole. */
	if (late || (r->kind == RECORD_CHECKPOINTED && r->stream >= STREAMS))
		return;
	cut->there = r->kind == RECORD_CHECKPOINTED;
	cut->round = r->round;
	if (cut->there)
		cut->next[r->stream] = r->id;
	cut->tried = cut->there && r->stream < STREAMS - 1;
}

static void note_prune(struct checker *c, const struct record *r, bool late)
{
	if (r->stream >= STREAMS)
		return;
	raise_to(&c->prune_max[r->stream], r->id);
	if (r->kind == RECORD_PRUNED && !late)
		raise_to(&c->prune_min[r->stream], r->id);
}

static void note(struct checker *c, const struct record *r)
{
	bool late = is_late(c, r);

	if (r->kind == RECORD_PRUNING || r->kind == RECORD_PRUNED)
		note_prune(c, r, late);
	else if (r->kind >= RECORD_CHECKPOINTING && r->kind <= RECORD_FORGOTTEN)
		note_checkpoint(c, r, late);

	if (r->kind == RECORD_COMMITTED && find_tried(c, r))
		find_tried(c, r)->committed = r->id;
	if (r->kind >= RECORD_CREATING && r->kind <= RECORD_DELETED)
		note_stream(c, r, late);
	else if (r->kind > RECORD_TRIED && r->kind <= RECORD_SEEN)
		note_append(c, r, late);
}

/* What a checkpoint of the same round covers of the stream. */
static uint64_t covered_in(const struct checker *c, const struct record *r)
{
	uint64_t next = 0;

	for (size_t i = 0; i < sizeof c->cuts / sizeof c->cuts[0] && r->stream < STREAMS; i++) {
		if (c->cuts[i].there && !c->cuts[i].tried && c->cuts[i].round == r->round)
			raise_to(&next, c->cuts[i].next[r->stream]);
	}
	return next;
}

/* What lies below a durable id of the same round and stream is durable too. (The checker comes after the cut.) */
static void promote(struct checker *c)
{
	for (size_t i = 0, end; i < c->tried_count; i = end) {
		uint64_t durable = covered_in(c, &c->tried[i].r);

		for (end = i; end < c->tried_count && c->tried[end].r.stream == c->tried[i].r.stream && c->tried[end].r.round == c->tried[i].r.round; end++)
			if (c->tried[end].durable && c->tried[end].id != ID_UNKNOWN && c->tried[end].r.writer != CHECKER && c->tried[end].id > durable)
				durable = c->tried[end].id;
		for (size_t j = i; j < end; j++) {
			struct tried *t = &c->tried[j];

			if (t->committed != ID_UNKNOWN && t->committed < durable) {
				t->durable = true;
				t->id = t->committed;
			}
		}
	}
}

static void load_log(struct checker *c, const char *path)
{
	struct stat sb;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &sb) < 0)
		die(path);
	size_t count = (size_t)sb.st_size / sizeof(struct record);
	struct record *records = calloc(count + 1, sizeof *records);

	c->tried = calloc(count + 1, sizeof *c->tried);
	c->made = calloc(count + 1, sizeof *c->made);
	if (!records || !c->tried || !c->made || read(fd, records, count * sizeof *records) != (ssize_t)(count * sizeof *records))
		die(path);
	close(fd);
	for (size_t i = 0; i < count; i++)
		if (records[i].kind == RECORD_TRIED)
			c->tried[c->tried_count++] = (struct tried){ .r = records[i], .id = ID_UNKNOWN, .committed = ID_UNKNOWN };
	qsort(c->tried, c->tried_count, sizeof *c->tried, compare_tried);
	for (size_t i = 0; i < count; i++)
		note(c, &records[i]);
	free(records);
	promote(c);
}

static bool check_entry(void *arg, uint64_t id, const void *data, size_t size)
{
	struct checker *c = arg;
	struct record r;

	if (id != c->next)
		FAULT(c, "stream %s: entry %" PRIu64 " comes where %" PRIu64 " is expected", c->name, id, c->next);
	c->next = id + 1;
	c->entries++;
	if (!content_parse(data, size, &r) || r.stream != c->stream) {
		FAULT(c, "stream %s: entry %" PRIu64 " (%zu bytes) is not what anybody wrote there", c->name, id, size);
		return true;
	}
	struct tried *t = find_tried(c, &r);

	if (!t || t->r.count != r.count) {
		FAULT(c, "stream %s: entry %" PRIu64 " was never tried", c->name, id);
		return true;
	}
	if (t->found == 0)
		t->base = id;
	if (r.part != t->found || id != t->base + r.part)
		FAULT(c, "stream %s: entry %" PRIu64 " is part %u of a batch of %u that began at %" PRIu64 " and of which %u came before", c->name, id, r.part,
		      r.count, t->base, t->found);
	t->found++;
	return true;
}

static void check_tried(struct checker *c)
{
	const struct tried *before = NULL;

	for (size_t i = 0; i < c->tried_count; i++) {
		const struct tried *t = &c->tried[i];
		const struct record *r = &t->r;

		c->durable += t->durable;
		c->in_vain += t->found == 0;
		if (t->found != 0 && t->found != r->count)
			FAULT(c, "stream %u: %u of the %u entries of a batch (round %u, writer %u, number %" PRIu64 ") are there", r->stream, t->found,
			      r->count, r->round, r->writer, r->seq);
		bool same = before && before->r.stream == r->stream && before->r.round == r->round && before->r.writer == r->writer;
		/* One without an id can't be older than what the same writer wrote before it. */
		bool pruned = r->stream < STREAMS && c->firsts[r->stream] > 0 && (t->id == ID_UNKNOWN ? !same : t->id < c->firsts[r->stream]);
		if (t->durable && t->found == 0 && !pruned)
			FAULT(c, "stream %u: number %" PRIu64 " of round %u, writer %u, acknowledged as durable (id %" PRId64 "), is missing", r->stream, r->seq,
			      r->round, r->writer, (int64_t)t->id);
		if (t->durable && t->found > 0 && t->id != ID_UNKNOWN && t->base != t->id)
			FAULT(c, "stream %u: number %" PRIu64 " of round %u, writer %u, was acknowledged under %" PRIu64 " and is %" PRIu64, r->stream, r->seq,
			      r->round, r->writer, t->id, t->base);
		if (t->found == 0)
			continue;
		if (same && before->base >= t->base)
			FAULT(c, "stream %u: what writer %u of round %u wrote first comes second, at %" PRIu64 " and %" PRIu64, r->stream, r->writer, r->round,
			      before->base, t->base);
		before = t;
	}
}

static void check_stream(struct checker *c, struct target *target, const char *name)
{
	uint64_t first = 0, next;
	struct made *m = stream_number(name, &c->stream) ? find_made(c, c->stream) : NULL;

	c->name = name;
	if (!m) {
		FAULT(c, "stream %s was never made", name);
		return;
	}
	m->present = true;
	int result = target->inspect(target, name, &first, &next);
	if (result < 0)
		FAULT(c, "stream %s: %s", name, strerror(-result));
	c->next = first;
	if (c->stream < STREAMS)
		c->firsts[c->stream] = first;
	if (c->stream < STREAMS ? first < c->prune_min[c->stream] || first > c->prune_max[c->stream] : first > 0)
		FAULT(c, "stream %s begins with %" PRIu64 "; pruned was what is below %" PRIu64 ", and no more than what is below %" PRIu64, name, first,
		      c->prune_min[c->stream % STREAMS], c->prune_max[c->stream % STREAMS]);
	result = target->read(target, name, first, check_entry, c);
	if (result < 0)
		FAULT(c, "stream %s: reading it, up to %" PRIu64 ": %s", name, c->next, strerror(-result));
	if (c->stream < STREAMS)
		c->nexts[c->stream] = c->next;
	if (result == 0 && c->next != next)
		FAULT(c, "stream %s: the next id is said to be %" PRIu64 ", and reading ended at %" PRIu64, name, next, c->next);
}

/* The checkpoint is as it was when that was last known, unless something was tried since. What it covers is there. */
static void check_cut(struct checker *c, struct target *target, const struct cut *cut, const char *name, uint32_t stream)
{
	char of[STREAM_NAME_MAX];
	uint64_t covered = 0;

	stream_name(of, stream);
	int result = target->covered(target, name, of, &covered);
	if (result < 0 && result != -ENOENT)
		FAULT(c, "checkpoint %s: %s", name, strerror(-result));
	if ((result == 0) != cut->there && !cut->tried)
		FAULT(c, "checkpoint %s is %s, and that is not how it was left", name, result == 0 ? "there" : "gone");
	if (result < 0)
		return;
	if (cut->there && !cut->tried && covered != cut->next[stream])
		FAULT(c, "checkpoint %s covers %" PRIu64 " entries of stream %s; when it was made it was %" PRIu64, name, covered, of, cut->next[stream]);
	if (covered > c->nexts[stream])
		FAULT(c, "checkpoint %s covers %" PRIu64 " entries of stream %s, which ends at %" PRIu64, name, covered, of, c->nexts[stream]);
}

static void check_cuts(struct checker *c, struct target *target)
{
	char name[STREAM_NAME_MAX];

	for (uint32_t i = 0; i < WRITERS * CHECKPOINTS; i++) {
		checkpoint_name(name, i / CHECKPOINTS, i % CHECKPOINTS);
		for (uint32_t stream = 0; stream < STREAMS; stream++)
			check_cut(c, target, &c->cuts[i], name, stream);
		c->checkpoints += c->cuts[i].there && !c->cuts[i].tried;
	}
}

/* Appends go on, and the next check looks for them. */
static void check_appending(struct checker *c, struct worker *w, char **names)
{
	for (; *names; names++) {
		uint32_t stream;

		for (int i = 0; i < 3 && stream_number(*names, &stream); i++) {
			int result = append(w, stream, w->target->batches && i == 1 ? 3 : 1, 8 * 4096, NULL);

			if (result < 0)
				FAULT(c, "stream %s: appending after the cut: %s", *names, strerror(-result));
		}
	}
}

static int check(struct worker common, const char *log, bool kill)
{
	struct checker c = { .kill = kill };
	char **names;

	load_log(&c, log);
	int result = common.target->list(common.target, &names);
	if (result < 0) {
		errno = -result;
		die("cannot list the streams");
	}
	for (size_t i = 0; names[i]; i++)
		check_stream(&c, common.target, names[i]);
	check_tried(&c);
	check_cuts(&c, common.target);
	for (size_t i = 0; i < c.made_count; i++) {
		if (c.made[i].created && !c.made[i].deleting && !c.made[i].present)
			FAULT(&c, "stream %u was made and is missing", c.made[i].stream);
		if (c.made[i].deleted && c.made[i].present)
			FAULT(&c, "stream %u was deleted and is there", c.made[i].stream);
	}
	common.writer = CHECKER;
	check_appending(&c, &common, names);
	free(names);
	free(c.tried);
	free(c.made);
	result = common.target->close(common.target);
	if (result < 0)
		FAULT(&c, "closing: %s", strerror(-result));
	printf("%" PRIu64 " entries, %zu appends: %" PRIu64 " durable, %" PRIu64 " not there, %" PRIu64 " answers after the cut, %" PRIu64 " checkpoints\n",
	       c.entries, c.tried_count, c.durable, c.in_vain, c.late, c.checkpoints);
	return c.faults > 0;
}

/* ---- Disturbing ---- */

/*
 * Without help the kernel writes nothing out in the moment a test takes, so that a cut would just leave what was synced. Here pages go out in any order, as
 * they do under memory pressure: later ones without earlier ones, sizes and directory entries without data.
 */
static int scramble_file(int dir_fd, const char *name, struct random *random)
{
	struct stat sb;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &sb) < 0) {
		int result = -errno;

		if (fd >= 0)
			close(fd);
		return result == -ENOENT || result == -ENOTDIR ? 0 : result;
	}
	int result = 0;
	for (int i = 0; i < 4 && S_ISREG(sb.st_mode) && result == 0; i++)
		if (sync_file_range(fd, (off_t)random_below(random, (uint64_t)sb.st_size / 4096 + 1) * 4096, 4096 << random_below(random, 3),
				    SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0)
			result = -errno;
	if (result == 0 && random_below(random, 40) == 0 && fsync(fd) < 0)
		result = -errno;
	close(fd);
	return result;
}

static int scramble(const char *path, struct random *random)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	int result = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (result == 0 && (d = readdir(dir))) {
		char below[4096];

		if (d->d_name[0] == '.')
			continue;
		snprintf(below, sizeof below, "%s/%s", path, d->d_name);
		if (d->d_type == DT_DIR)
			result = scramble(below, random);
		else if (random_below(random, 3) == 0)
			result = scramble_file(dirfd(dir), d->d_name, random);
	}
	closedir(dir);
	return result;
}

static int scramble_until_cut(const char *path, uint64_t seed)
{
	struct random random = { seed };
	/* Some cuts are without it, some with bursts. */
	useconds_t pause = (useconds_t)random_below(&random, 20000);

	for (int result = 0; result == 0;) {
		result = scramble(path, &random);
		usleep(pause);
	}
	return 0;
}

/*
 * The file system does not stop in one moment: ext4 may let a sync return 0 whose extents were not converted any more. With real power nobody would live to
 * hear of it. So what is acknowledged from here on does not count.
 */
static int cut(const char *path, const char *log, uint32_t flag)
{
	struct record r = { .kind = RECORD_CUT };
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), log_fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (log_fd < 0 || write(log_fd, &r, sizeof r) != sizeof r)
		die(log);
	if (fd < 0 || ioctl(fd, FS_IOC_SHUTDOWN, &flag) < 0)
		die(path);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "scramble") == 0)
		return scramble_until_cut(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "cut") == 0)
		return cut(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10));
	if (argc < 8) {
		fprintf(stderr, "usage: power write library|mount PATH LOG SYNC SEED ROUND [LIE]\n"
				"       power check library|mount PATH LOG SYNC SEED ROUND power|kill\n"
				"       power scramble STORE SEED\n"
				"       power cut DIR LOG FLAG\n");
		return 2;
	}
	bool writing = strcmp(argv[1], "write") == 0;
	struct worker common = {
		.log_fd = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
		.seed = strtoull(argv[6], NULL, 10),
		.round = (uint32_t)strtoul(argv[7], NULL, 10),
	};
	if (common.log_fd < 0)
		die(argv[4]);
	common.target = strcmp(argv[2], "mount") == 0 ? target_mount(argv[3], argv[5]) : target_library(argv[3], argv[5], common.seed, !writing, writing ? argv[8] : NULL);
	if (!common.target)
		return writing ? 0 : 1; /* a writer may come too late for the power */
	return writing ? run_writers(common) : check(common, argv[4], argv[8] && strcmp(argv[8], "kill") == 0);
}
