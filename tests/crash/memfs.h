/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system in memory behind struct sys, which can write down what is done to it. It stands for the page cache: what is written is there at once, and what a power
 * cut would leave of it is worked out from the trace (powercut.h). No call of it fails for want of anything, and none takes time: its clock moves when it is
 * read. Safe for several threads.
 */
#ifndef MEMFS_H
#define MEMFS_H

#include <pthread.h>

#include "sys.h"

enum {
	MEMFS_ROOT = 0,		   /* the directory in which paths given with AT_FDCWD are looked up */
	MEMFS_NODE_BYTES = 4 << 20, /* no file may be larger */
	MEMFS_FDS = 512,
};

/* ---- What was done ---- */

enum trace_kind {
	TRACE_WRITE,  /* `size` bytes `data` at `offset` of `node` */
	TRACE_SIZE,   /* `node` has `size` bytes now */
	TRACE_LINK,   /* `name` in directory `node` is `child` now */
	TRACE_UNLINK, /* `name` in directory `node` is gone */
	TRACE_RENAME, /* what was `name` in directory `node`, that is `child`, is `to` now */
	TRACE_SYNC,   /* of the events on `node`, those before event number `upto` are on stable storage */
	TRACE_NOTE,   /* whatever memfs_note() was given */
};

struct trace_event {
	enum trace_kind kind;
	unsigned node;
	unsigned child;
	bool dir; /* TRACE_LINK: `child` is a new directory */
	uint64_t offset;
	uint64_t size;
	size_t upto;
	int64_t time;
	uint8_t *data;
	char *name;
	char *to;
};

struct trace {
	struct trace_event *events;
	size_t count;
	size_t capacity;
};

void trace_release(struct trace *trace);

/* Disks and libraries that are broken on purpose: a sync that is left out says that it was done. */
enum memfs_breakage {
	BREAK_FDATASYNC = 1 << 0,	/* every fdatasync is left out */
	BREAK_DIR_FSYNC = 1 << 1,	/* every fsync of a directory */
	BREAK_SMALL_SYNC = 1 << 2,	/* every sync of segments.idx, head.state and their *.tmp */
	BREAK_RENAME_FIRST = 1 << 3,	/* these *.tmp are synced only after they have been renamed */
	BREAK_SYNC_EARLY = 1 << 4,	/* an fdatasync does not cover the write just before it: as if they had been swapped */
	BREAK_SEGMENT_FSYNC = 1 << 5,	/* every fsync (not fdatasync) of *.wal */
	BREAK_TORN_SYNC = 1 << 6,	/* every sync of *.torn.* */
	BREAK_RECOVERY_SYNC = 1 << 7,	/* every fdatasync while a store is opened */
	BREAK_LOCK_SYNC = 1 << 8,	/* every sync of LOCK */
	BREAK_CUT_SYNC = 1 << 9,	/* every sync of *.wal while a checkpoint is made */
	BREAK_CKPTLOG_SYNC = 1 << 10,	/* every sync of checkpoints.log and its *.tmp */
	BREAK_HEAD_SYNC = 1 << 11,	/* every sync of HEAD.tmp */
};

/* ---- The file system ---- */

struct memfs_name {
	char *name;
	unsigned node;
};

struct memfs_node {
	bool dir;
	unsigned parent;
	uint8_t *data;	/* MEMFS_NODE_BYTES that never move, so that maps can point to them */
	size_t size;
	size_t dirty;	/* all bytes from here on are zero */
	size_t writes;	/* number of the last TRACE_WRITE */
	bool owes_sync; /* BREAK_RENAME_FIRST */
	int64_t mtime;
	struct memfs_name *names;
	size_t name_count;
	size_t name_capacity;
	char last_name[64]; /* it had, as far as it fits */
};

struct memfs_fd {
	bool used;
	bool writable;
	unsigned node;
	size_t position; /* of getdents */
};

struct memfs {
	struct sys sys;
	pthread_mutex_t lock;
	/* protected by lock */
	struct memfs_node *nodes;
	unsigned node_count;
	unsigned node_capacity;
	unsigned nodes_made; /* those that have memory, for use again */
	struct memfs_fd fds[MEMFS_FDS];
	long open_fds;
	long mapped;
	uint64_t changes; /* calls that changed anything */
	int64_t clock;
	bool recovering;
	bool checkpointing;
	bool dead;
	/* the user's, to be set while nothing is under way */
	struct trace *trace; /* NULL: nothing is written down */
	unsigned breakage;
};

void memfs_init(struct memfs *fs);
void memfs_release(struct memfs *fs);
/* Nothing but an empty root, as after memfs_init(); the memory is kept for the next use. The trace and breakages are taken off. */
void memfs_reset(struct memfs *fs);

/* For filling it by hand. A new node in no directory. */
unsigned memfs_make_node(struct memfs *fs, bool dir);
void memfs_link(struct memfs *fs, unsigned dir, const char *name, unsigned node);
void memfs_set_content(struct memfs *fs, unsigned node, const void *data, size_t size);
/* Makes `to` (which is reset) hold the same; numbers of nodes are the same too. */
void memfs_copy(const struct memfs *from, struct memfs *to);

/* The node called `name` in directory `dir`, or NULL. */
struct memfs_node *memfs_find(struct memfs *fs, unsigned dir, const char *name);
/* Its number, or -1. */
int memfs_lookup(struct memfs *fs, unsigned dir, const char *name);

/* While the process is dead no call has any effect, and all fail but close() and munmap(). Any thread. */
void memfs_set_dead(struct memfs *fs, bool dead);
/* While a store is being opened: what BREAK_RECOVERY_SYNC concerns. */
void memfs_set_recovering(struct memfs *fs, bool recovering);
/* While a checkpoint is being made: what BREAK_CUT_SYNC concerns. */
void memfs_set_checkpointing(struct memfs *fs, bool checkpointing);

/* Puts a TRACE_NOTE with these three numbers (node, child, size) into the trace, if there is one. Any thread. */
void memfs_note(struct memfs *fs, unsigned what, unsigned which, uint64_t value);

#endif
