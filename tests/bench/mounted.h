/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs that measure a mount have beside bench.h: walfs and nothing_fs, mounted in the program's directory, and clients that use them.
 *
 * The programs are found beside this one, where the build has put them; WALFS and NOTHING_FS in the environment say where else.
 */
#ifndef WALFS_BENCH_MOUNTED_H
#define WALFS_BENCH_MOUNTED_H

#include <sys/types.h>

#include "bench.h"

struct mounted {
	pid_t pid; /* 0: not mounted */
	char dir[600];
};

/* Ends the program with status 77 where nothing can be mounted. */
void mounted_need(void);

/* Whether `part` is to be run: the program was called with its name, or with none. */
bool mounted_wants(char **argv, const char *part);

/* Mounts the store `name` with `options` (NULL: none) as -o takes them. Errors end the program, here and below. */
void mounted_walfs(struct bench *b, struct mounted *m, const char *name, const char *options);

/* Mounts nothing_fs with up to three options; NULL: none. */
void mounted_nothing(struct bench *b, struct mounted *m, const char *name, const char *first, const char *second, const char *third);

/* Unmounts it, and waits until its process has ended. Nothing happens if it is not mounted. */
void mounted_stop(struct mounted *m);

/* Resident memory of its process in bytes: all of it, and the part that is no file's. */
void mounted_memory(const struct mounted *m, uint64_t *ret_resident, uint64_t *ret_anonymous);

/* A path in it: one of a few static texts, reused in turn. */
const char *mounted_path(const struct mounted *m, const char *name);

/* A new store with the stream `s` that holds `entries` entries of `size` bytes each, made by the library and closed. */
void mounted_fill(struct bench *b, const char *name, uint64_t entries, size_t size);

/* Runs a program, its output to /dev/null, in directory `dir`. Returns the seconds it took; a status but 0 ends the program. */
double mounted_command(const char *dir, const char *const *argv);

/* Opens, writes and closes `path` `count` times, each as one latency; `seconds` each took on average. */
double mounted_append(struct bench *b, const char *path, size_t size, unsigned count);

/* The medians of single latencies of two cases, as a ratio: on a machine with others on it they say more than a whole turn's time. */
void mounted_compare_p50(struct bench *b, const char *row, const struct bench_case *ours, const struct bench_case *theirs);

#endif
