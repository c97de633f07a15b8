/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of WALFS_BENCH_JSON, one object each:
 *	{"bench": program, "table": …, "case": …, "unit": …, "median": …, "min": …, "max": …[, "p50_ns": …, "p99_ns": …]}
 *	{"bench": program, "row": "2", "what": …, "unit": …, "value": …, "min": …, "max": …[, "sense": "at most" or "at least", "target": …, "met": true or false]}
 */
#include "bench.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
	REPEATS_DEFAULT = 5,
	PATHS = 8,
	NAME_COLUMN = 60,
};

/* ---- Tools ---- */

uint64_t bench_now_ns(void)
{
	static clockid_t clock = -1;
	struct timespec t;

	if (clock == -1) {
		const char *text = getenv("WALFS_BENCH_CLOCK");

		clock = text && strcmp(text, "cpu") == 0 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
	}
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_scaled(const struct bench *b, uint64_t count)
{
	double scaled = (double)count * b->scale;

	return scaled < 1 ? 1 : (uint64_t)scaled;
}

const char *bench_path(const struct bench *b, const char *name)
{
	static char paths[PATHS][600];
	static unsigned next;
	char *path = paths[next++ % PATHS];

	snprintf(path, sizeof paths[0], "%s/%s", b->dir, name);
	return path;
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb;
	(void)type;
	(void)ftw;
	return remove(path);
}

void bench_remove(const struct bench *b, const char *name)
{
	const char *path = bench_path(b, name);

	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		err(1, "removing '%s'", path);
}

uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void bench_fill_random(void *data, size_t size, uint64_t seed)
{
	uint8_t *pos = data;

	for (size_t at = 0; at < size; at += 8) {
		uint64_t word = bench_random(&seed);

		memcpy(pos + at, &word, size - at < 8 ? size - at : 8);
	}
}

void bench_fill_text(void *data, size_t size, uint64_t seed)
{
	char line[256];

	for (size_t at = 0; at < size;) {
		int n = snprintf(line, sizeof line, "2026-01-07T12:%02u:%02u.%03uZ INFO  orders: order=%08u customer=%06u total=%u.%02u EUR state=accepted region=eu-west-%u\n",
				 (unsigned)(bench_random(&seed) % 60), (unsigned)(bench_random(&seed) % 60), (unsigned)(bench_random(&seed) % 1000),
				 (unsigned)(bench_random(&seed) % 100000000), (unsigned)(bench_random(&seed) % 1000000),
				 (unsigned)(bench_random(&seed) % 1000), (unsigned)(bench_random(&seed) % 100), (unsigned)(bench_random(&seed) % 3));
		size_t part = size - at < (size_t)n ? size - at : (size_t)n;

		memcpy((char *)data + at, line, part);
		at += part;
	}
}

int bench_open_file(struct bench *b, const char *name, uint64_t preallocate)
{
	const char *path = bench_path(b, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		err(1, "'%s'", path);
	if (preallocate > 0 && fallocate(fd, 0, 0, (off_t)preallocate) < 0)
		err(1, "allocating '%s'", path);
	return fd;
}

struct wal_store *bench_open_store(struct bench *b, const char *name, const struct wal_options *opts)
{
	struct wal_store *store;
	struct wal_error error;

	if (wal_store_open(bench_path(b, name), opts, &store, &error) < 0)
		errx(1, "%s", error.message);
	return store;
}

struct wal_stream *bench_open_stream(struct wal_store *store, const char *name)
{
	struct wal_stream *st;
	struct wal_error error;

	if (wal_stream_open(store, name, WAL_CREATE, &st, &error) < 0)
		errx(1, "%s", error.message);
	return st;
}

void bench_memory(uint64_t *ret_resident, uint64_t *ret_anonymous)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];

	if (!file)
		err(1, "/proc/self/status");
	*ret_resident = *ret_anonymous = 0;
	while (fgets(line, sizeof line, file)) {
		unsigned long long kib;

		if (sscanf(line, "VmRSS: %llu", &kib) == 1)
			*ret_resident = kib * 1024;
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			*ret_anonymous = kib * 1024;
	}
	fclose(file);
}

/* ---- Beginning and end ---- */

static double number_from_env(const char *name, double fallback, double min, double max)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return fallback;
	double value = strtod(text, &end);
	if (*end || !(value >= min && value <= max))
		errx(2, "%s: expected a number from %g to %g, found '%s'", name, min, max, text);
	return value;
}

static const char *file_system_of(const char *path)
{
	static char text[32];
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		err(1, "'%s'", path);
	switch ((unsigned long)fs.f_type) {
	case 0xef53:
		return "ext4";
	case 0x01021994:
		return "tmpfs";
	case 0x58465342:
		return "xfs";
	case 0x9123683e:
		return "btrfs";
	case 0x794c7630:
		return "overlayfs";
	}
	snprintf(text, sizeof text, "type %lx", (unsigned long)fs.f_type);
	return text;
}

void bench_begin(struct bench *b, const char *name)
{
	const char *dir = getenv("WALFS_BENCH_DIR"), *json = getenv("WALFS_BENCH_JSON");

	if (!dir || !*dir)
		dir = getenv("TMPDIR");
	if (!dir || !*dir)
		dir = "/tmp";
	*b = (struct bench){
		.name = name,
		.repeats = (unsigned)number_from_env("WALFS_BENCH_REPEATS", REPEATS_DEFAULT, 5, BENCH_REPEATS_MAX),
		.scale = number_from_env("WALFS_BENCH_SCALE", 1, 0.001, 1000),
		.json_fd = -1,
	};
	snprintf(b->dir, sizeof b->dir, "%s/walfs-bench-%s-XXXXXX", dir, name);
	if (!mkdtemp(b->dir))
		err(1, "'%s'", b->dir);
	if (json && *json) {
		b->json_fd = open(json, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (b->json_fd < 0)
			err(1, "'%s'", json);
	}
	printf("%s, in '%s' (%s), %u turns each\n", name, dir, file_system_of(b->dir), b->repeats);
}

int bench_end(struct bench *b)
{
	if (nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
		err(1, "removing '%s'", b->dir);
	if (b->json_fd >= 0 && close(b->json_fd) < 0)
		err(1, "writing the lines of JSON");
	printf("\n");
	return fflush(stdout) == 0 ? 0 : 1;
}

/* ---- JSON ---- */

/* The names are the programs' own: nothing in them needs an escape but quotes. */
static void json_text(FILE *out, const char *key, const char *text)
{
	fprintf(out, "\"%s\": \"", key);
	for (; *text; text++)
		fputc(*text == '"' || *text == '\\' ? '\'' : *text, out);
	fputs("\", ", out);
}

static FILE *json_begin(struct bench *b, char **text, size_t *size)
{
	FILE *out = b->json_fd >= 0 ? open_memstream(text, size) : NULL;

	if (out) {
		fputc('{', out);
		json_text(out, "bench", b->name);
	}
	return out;
}

/* In one write, as the programs of a run share the file. */
static void json_end(struct bench *b, FILE *out, char **text, size_t *size)
{
	fputs("}\n", out);
	if (fclose(out) != 0 || write(b->json_fd, *text, *size) != (ssize_t)*size)
		err(1, "writing the lines of JSON");
	free(*text);
}

/* ---- Tables ---- */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct spread {
	double median, min, max;
};

static struct spread spread_of(const double *values, unsigned count)
{
	double sorted[BENCH_REPEATS_MAX];

	memcpy(sorted, values, count * sizeof *values);
	qsort(sorted, count, sizeof *sorted, compare_double);
	return (struct spread){ (sorted[(count - 1) / 2] + sorted[count / 2]) / 2, sorted[0], sorted[count - 1] };
}

/* Four significant digits or so, as tables are read. */
static const char *figure(double value)
{
	static char texts[PATHS][32];
	static unsigned next;
	char *text = texts[next++ % PATHS];
	double size = value < 0 ? -value : value;

	if (size >= 1e6)
		snprintf(text, sizeof texts[0], "%.2f M", value / 1e6);
	else
		snprintf(text, sizeof texts[0], "%.*f", size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3, value);
	return text;
}

/* Of text with characters of several bytes. */
static int column(const char *text, int width)
{
	for (const char *pos = text; *pos; pos++)
		width += ((unsigned char)*pos & 0xc0) == 0x80;
	return width;
}

static void print_case(struct bench *b, const struct bench_case *c)
{
	struct spread s = spread_of(c->values, b->repeats);
	char *text;
	size_t size;
	FILE *out = json_begin(b, &text, &size);

	printf("  %-*s %12s %12s %12s", column(c->name, NAME_COLUMN), c->name, figure(s.median), figure(s.min), figure(s.max));
	if (out) {
		json_text(out, "table", b->table);
		json_text(out, "case", c->name);
		json_text(out, "unit", b->unit);
		fprintf(out, "\"median\": %.9g, \"min\": %.9g, \"max\": %.9g", s.median, s.min, s.max);
	}
	if (c->latency_count > 0) {
		uint64_t p50 = c->latencies[c->latency_count / 2], p99 = c->latencies[c->latency_count * 99 / 100];

		printf(" %10s %10s", figure((double)p50 / 1000), figure((double)p99 / 1000));
		if (out)
			fprintf(out, ", \"p50_ns\": %llu, \"p99_ns\": %llu", (unsigned long long)p50, (unsigned long long)p99);
	}
	putchar('\n');
	if (out)
		json_end(b, out, &text, &size);
}

void bench_run(struct bench *b, const char *table, const char *unit, struct bench_case *cases, size_t count)
{
	bool latencies = false;

	b->table = table;
	b->unit = unit;
	for (unsigned turn = 0; turn < b->repeats; turn++) {
		for (size_t i = 0; i < count; i++) {
			/* Whoever comes first in one turn comes last in the next. */
			struct bench_case *c = &cases[turn % 2 ? count - 1 - i : i];

			if (c->skip)
				continue;
			b->running = c;
			c->values[turn] = c->run(b, c->arg);
		}
	}
	for (size_t i = 0; i < count; i++) {
		struct bench_case *c = &cases[i];

		c->median = spread_of(c->values, b->repeats).median;
		if (c->latency_count > 0)
			qsort(c->latencies, c->latency_count, sizeof *c->latencies, compare_u64);
		latencies |= c->latency_count > 0;
	}
	printf("\n%s\n  %-*s %12s %12s %12s%s\n", table, NAME_COLUMN, unit, "median", "min", "max", latencies ? "     p50 µs     p99 µs" : "");
	for (size_t i = 0; i < count; i++) {
		if (cases[i].skip)
			printf("  %-*s %12s\n", column(cases[i].name, NAME_COLUMN), cases[i].name, "not there");
		else
			print_case(b, &cases[i]);
	}
	fflush(stdout);
}

void bench_release(struct bench_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(cases[i].latencies);
}

void bench_latency(struct bench *b, uint64_t ns)
{
	struct bench_case *c = b->running;

	if (c->latency_count == c->latency_room) {
		c->latency_room = c->latency_room ? 2 * c->latency_room : 4096;
		c->latencies = realloc(c->latencies, c->latency_room * sizeof *c->latencies);
		if (!c->latencies)
			err(1, "latencies");
	}
	c->latencies[c->latency_count++] = ns;
}

static void print_judgement(struct bench *b, const char *row, const char *what, const char *unit, struct spread s, enum bench_sense sense, double target)
{
	bool met = sense == BENCH_AT_MOST ? s.median <= target : s.median >= target;
	const char *word = sense == BENCH_AT_MOST ? "at most" : "at least";
	char *text;
	size_t size;
	FILE *out = json_begin(b, &text, &size);

	printf("  -> %-*s %12s %12s %12s %s", column(what, NAME_COLUMN - 3), what, figure(s.median), figure(s.min), figure(s.max), unit);
	if (target != 0)
		printf("   [%s] %s %s: %s", row, word, figure(target), met ? "met" : "NOT MET");
	putchar('\n');
	fflush(stdout);
	if (!out)
		return;
	json_text(out, "row", row);
	json_text(out, "what", what);
	json_text(out, "unit", unit);
	fprintf(out, "\"value\": %.9g, \"min\": %.9g, \"max\": %.9g", s.median, s.min, s.max);
	if (target != 0)
		fprintf(out, ", \"sense\": \"%s\", \"target\": %.9g, \"met\": %s", word, target, met ? "true" : "false");
	json_end(b, out, &text, &size);
}

void bench_compare(struct bench *b, const char *row, const struct bench_case *ours, const struct bench_case *theirs, enum bench_sense sense, double target)
{
	double ratios[BENCH_REPEATS_MAX];
	char what[256];

	if (ours->skip || theirs->skip)
		return;
	for (unsigned i = 0; i < b->repeats; i++)
		ratios[i] = ours->values[i] / theirs->values[i];
	snprintf(what, sizeof what, "%s / %s", ours->name, theirs->name);
	print_judgement(b, row, what, "x", spread_of(ratios, b->repeats), sense, target);
}

void bench_judge(struct bench *b, const char *row, const char *what, double value, const char *unit, enum bench_sense sense, double target)
{
	print_judgement(b, row, what, unit, (struct spread){ value, value, value }, sense, target);
}
