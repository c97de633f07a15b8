/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `scale` share: figures, and stores made fast. Errors end the program. */
#ifndef SCALE_H
#define SCALE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wal.h"

enum {
	TEMPLATE_ENTRIES = 3,
	TOUCHED = 1000,
	WRITERS = 64,
	WRITTEN_STREAMS = 8,
	RANDOM_READS = 100000,
	ENTRY_BYTES = 128,
	NAME_MAX_BYTES = 32,
	PATH_BYTES = 600,
};

/* Of row 14; bytes. */
enum {
	TARGET_IDLE = 8 << 20,
	TARGET_ENTRIES = 24 << 20,
	TARGET_STREAM = 2048,
	TARGET_WRITERS = 96 << 20,
};

struct scale {
	char base[512];	   /* the directory of this run */
	const char *walfs; /* NULL: no mounts */
};

struct memory {
	uint64_t resident;
	uint64_t private;
};

/* ---- scale_tools.c ---- */

uint64_t scale_now_ns(void);
struct memory memory_of(pid_t pid);
void show_memory(const char *what, struct memory memory);
/* Of what began at `begin_ns` and is done; `count` > 0: and for each. */
void show_time(const char *what, uint64_t begin_ns, uint64_t count);
/* With its line of JSON. */
void judge(const char *name, double ours, const char *unit, double target);
/* What each of `count` streams takes beyond an idle process. */
void judge_each(const char *name, struct memory memory, struct memory idle, uint64_t count);

const char *path_of(const struct scale *s, const char *name, char path[PATH_BYTES]);
char *stream_name(char name[NAME_MAX_BYTES], uint64_t i);
void remove_all(const char *path);
struct wal_store *open_store(const char *path, enum wal_sync sync);
struct wal_stream *open_stream(struct wal_store *store, const char *name);
void close_store(struct wal_store *store);
void make_entries(const char *path, uint64_t count);
void make_streams(const char *path, uint64_t count);

/* ---- scale_mount.c ---- */

void mount_idle(const struct scale *s, const char *path);
void mount_streams(const struct scale *s, const char *path, uint64_t count, struct memory idle);
void mount_entries(const struct scale *s, const char *path, uint64_t count);
void mount_writers(const struct scale *s, const char *path);

#endif
