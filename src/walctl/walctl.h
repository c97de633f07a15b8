/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walctl: what its verbs share.
 *
 * Each verb is a struct verb in a file of its own. command_run() reads the arguments by the verb's tables into a struct command, and calls the
 * verb, which opens the store with command_open_store(). A verb returns an enum exit_code, having said on stderr why it is not EXIT_OK.
 */
#ifndef WALCTL_H
#define WALCTL_H

#include <pthread.h>
#include <stdio.h>

#include "wal.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_LACKING = 1, /* damage, or what was asked for is not there */
	EXIT_USAGE = 2,
	EXIT_SYSTEM = 3, /* the system said no */
};

/* An option of one verb, in `given` of struct command by its place in the verb's table. */
struct verb_option {
	const char *name;  /* NULL ends the table */
	char letter;	   /* 0: none */
	const char *value; /* the form of its value for the help text; NULL for a flag */
	const char *help;
	bool value_optional; /* then only as --name=VALUE */
};

enum { VERB_OPTIONS_MAX = 16 };

struct command;

/* How something is done through the files of a mount: `command`, then a path below the mount point. */
struct mount_way {
	const char *command; /* NULL: not at all */
	const char *path;    /* "": the mount point itself */
};

struct verb {
	const char *name; /* one word or two */
	const char *operands; /* as the synopsis shows them */
	const char *summary;
	const struct verb_option *options; /* may be NULL */
	int operands_min, operands_max;	   /* the store counts; max -1: any number */
	struct mount_way on_mount;	   /* told when a mount has the store */
	bool writes;			   /* opens the store for writing; others work on a mounted store too */
	enum exit_code (*run)(struct command *command);
};

extern const struct verb verb_init, verb_ls, verb_stat, verb_append, verb_cat, verb_rotate, verb_sync, verb_prune, verb_route, verb_verify, verb_repair, verb_import, verb_export, verb_restore, verb_copy;
extern const struct verb verb_checkpoint_create, verb_checkpoint_show, verb_checkpoint_list, verb_checkpoint_rm, verb_checkpoint_compact;

/* What the library reports while a store is open, from any thread. */
struct command_log {
	pthread_mutex_t lock;
	/* protected by lock */
	char last[1024]; /* a damaged entry is met more than once on the way to it: the same line is not said again */
	bool damage;	 /* something was lost, since it was last asked */
};

/* One call of the tool. */
struct command {
	const struct verb *verb;
	FILE *out; /* for standard output; that it fails is told at the end by main() */
	const char *store_path;
	char **operands; /* what follows STORE, NULL-terminated */
	int operand_count;
	struct wal_options options;
	struct command_log log;
	struct mount_way on_mount; /* the verb's, unless it knows better from its options */
	const char *given[VERB_OPTIONS_MAX]; /* the option's value, "" for a flag, NULL if it was not given */
};

/* Reads argv[1] … (argv[0] is the verb) and runs the verb, or prints its help to `out`. */
enum exit_code command_run(const struct verb *verb, int argc, char **argv, FILE *out);

/* Prints "walctl: STORE: " and the message on stderr, as one line. */
__attribute__((format(printf, 2, 3))) void command_say(const struct command *command, const char *format, ...);

/* command_say() with ": " and the text of `result` behind it; returns the exit code that stands for it. */
__attribute__((format(printf, 3, 4))) enum exit_code command_fail(const struct command *command, int result, const char *format, ...);

/* Likewise for a failed change of `stream`, and why it takes none if that is so. */
enum exit_code command_fail_stream(const struct command *command, int result, struct wal_stream *stream, const char *what);

/* Prints the message and where help is to be had. Returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) enum exit_code command_usage(const struct verb *verb, const char *format, ...);

/* Sets those of the options that are not the user's: where messages go, and how long to wait for a lock. */
void command_prepare(struct command *command);

/* Says why a store could not be opened; returns the exit code. */
enum exit_code command_fail_open(const struct command *command, int result, const struct wal_error *error);

/* Opens the existing store as the verb needs it. *ret_store is for command_close_store(). */
enum exit_code command_open_store(struct command *command, struct wal_store **ret_store);

/* Closes it; returns `code`, or what closing came to if `code` is EXIT_OK. */
enum exit_code command_close_store(const struct command *command, struct wal_store *store, enum exit_code code);

/* True if the library reported damage since the store was opened, or since the last call. */
bool command_met_damage(struct command *command);

/* Opens a stream; a missing one is EXIT_LACKING. */
enum exit_code command_open_stream(const struct command *command, struct wal_store *store, const char *name, unsigned flags,
				   struct wal_stream **ret_stream);

/* The exit code for what a function of wal.h returned. */
enum exit_code exit_code_of(int result);

/* The worse of two: what is counted as the result when a verb goes on after a failure. */
static inline enum exit_code exit_code_worse(enum exit_code a, enum exit_code b)
{
	return a > b ? a : b;
}

#endif
