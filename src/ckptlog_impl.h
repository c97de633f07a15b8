/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of ckptlog.h: the object, and what changes its two files. */
#ifndef WAL_CKPTLOG_IMPL_H
#define WAL_CKPTLOG_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "ckptindex.h"
#include "ckptrecord.h"
#include "log.h"
#include "sys.h"

struct ckptlog {
	struct sys *sys;
	struct log log;
	int root_fd;
	bool ro;
	bool unread; /* checkpoints.log is there and could not be read: nobody knows what is in it. Set while it is opened */
	int open_error;

	atomic_uint_fast64_t version;

	/* Lock order: change_lock -> lock. Held by whoever changes something, over writing and syncing. */
	pthread_mutex_t change_lock;
	/* protected by change_lock */
	uint64_t size; /* of checkpoints.log: what is behind it does not count */
	uint64_t tidy_from; /* no smaller file is written anew for the records in it that no longer count */
	bool stopped; /* what is on disk is not certain: nothing is changed any more */
	bool head_unread; /* HEAD could not be read: it may name any checkpoint */

	/* Held over no system call but pread, so who only looks waits for no sync. */
	pthread_mutex_t lock;
	/* changed under both locks: the holder of either may look */
	int fd;	       /* of checkpoints.log; -1: there is none */
	struct ckptindex index;
	uint8_t *head; /* the id that HEAD names; NULL: HEAD is missing or torn */
	size_t head_size;
};

/* Caller holds log->change_lock in all that follows; one lock or the other for ckptlog_read_payload(). */

/* Takes no more changes. Logged. */
void ckptlog_stop(struct ckptlog *log, const char *reason);

/* The payload of the entry's record, checked, in a buffer that the caller frees. -EBADMSG (logged), -ENOMEM, or as reading failed. */
int ckptlog_read_payload(struct ckptlog *log, const struct ckptindex_entry *entry, uint8_t **ret_payload, struct record *ret_record);

struct ckptlog_place {
	uint64_t offset;
	uint64_t bytes;
};

/* Keeps these places of checkpoints.log, durably, in a new .torn.<n> or .damaged.<n>; see ckptlog.h. */
int ckptlog_put_aside(struct ckptlog *log, const struct ckptlog_place *places, size_t count, bool torn);

/* What the file shall hold: all that the index has, but */
struct ckptlog_plan {
	size_t from;				/* not so many of the oldest */
	const struct ckptindex_entry *without;	/* not this one */
	const char *forget;			/* not this stream */
	const uint8_t *extra;			/* and this record, which the index does not get */
	size_t extra_size;
};

/*
 * Writes checkpoints.log anew, by time, and brings the index in line with it (entries that are left out are freed). On failure file and index are as before, unless that can't be had:
 * then the log is stopped. A record that no longer holds is put aside, as an opening does, and its checkpoint is gone.
 */
int ckptlog_write_anew(struct ckptlog *log, const struct ckptlog_plan *plan);

/* Appends a record durably, or leaves the file as it was, or stops the log. */
int ckptlog_add_record(struct ckptlog *log, const uint8_t *data, size_t size);

/* Takes what stands behind `size` out again, or stops the log. */
void ckptlog_cut(struct ckptlog *log, uint64_t size);

/* The id in HEAD, to be freed by the caller; NULL if there is no HEAD or it is torn. < 0 if it can't be read. */
int ckptlog_read_head(struct ckptlog *log, uint8_t **ret_id, size_t *ret_id_size);

/* Makes HEAD name `id`, or removes it for NULL. On failure it names what it named before, or the log is stopped. */
int ckptlog_set_head(struct ckptlog *log, const uint8_t *id, size_t id_size);

#endif
