/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoints.log and HEAD in a store's root.
 *
 * checkpoints.log is a sequence of records, appended, and now and then written anew without those that are no longer wanted:
 *
 *	off size field
 *	  0   4  "CKPT"
 *	  4   4  CRC-32 of the payload
 *	  8   4  payload length L
 *	 12   L  payload:
 *	           0   1  version: 1 (ironwal's; of a sharded store) or 2 (of named streams)
 *	           1   2  id length n, 1 to 65535
 *	           3   n  id
 *	         3+n   8  time, nanoseconds of Unix time
 *	 version 1:
 *	        11+n   2  number of shards S, 1 to 65535
 *	        13+n  8S  for shard i the next id
 *	 version 2:
 *	        11+n   4  number of streams S
 *	        15+n   …  S times, sorted by name: u8 length of the name (1 to 255), name, u64 next id
 *
 * All little-endian. Bytes of the payload behind that are ignored. Of records with the same id the last one in the file counts.
 *
 * HEAD names the checkpoint made last: u16 id length, id; no checksum. ironwal goes by it. Here it is there only where nothing was changed since the store was opened or closed: before the first
 * checkpoint that is made, HEAD would name another one than the latest, and to make it durable with each would take longer than the checkpoint. So the first removes it, and closing makes it
 * again; while there is none, the latest is the one with the latest time. Those made here have later times than all before.
 *
 * What a crash may leave: a record at the end that is short or does not hold (it was never acknowledged), a .tmp of either file, no HEAD; or, before the first checkpoint since the opening was
 * acknowledged, the HEAD there was, whose word counts, as in a store that ironwal left so. A
 * record that does not hold in the middle is damage. Either costs itself only (see ckptend.h). Opening for writing puts the bad
 * bytes aside in "checkpoints.log.torn.<n>" (at the end) or "checkpoints.log.damaged.<n>" (elsewhere: all of one opening, each place after a line that says where it was) and
 * writes the log anew without them. So does whatever writes it anew later and finds a record damaged meanwhile. A HEAD that is missing, torn or names none that is there is made to
 * name the newest; one that can't be read is left.
 */
#ifndef WAL_CKPTLOG_H
#define WAL_CKPTLOG_H

#include "log.h"
#include "sys.h"
#include "wal.h"

struct ckptlog;

/*
 * Reads the log of the store in `root_fd` (not kept open; must outlive the object). `ro`: nothing on disk is changed. Damage is logged, and put aside unless ro; where
 * that fails the log can be read and takes no changes. A missing file is an empty log. One that can't be read, or is no file, is shown empty and takes no changes (-EIO; a
 * directory: as making the first record fails). `sys` and `log` are kept. -ENOMEM, -EMFILE, -ENFILE with detail: all else is logged, and must not keep the streams out of reach.
 */
int ckptlog_open(struct sys *sys, const struct log *log, int root_fd, bool ro, struct ckptlog **ret_log, struct wal_error *err);

/* Makes HEAD name the latest if there is none, durably, and frees it in any case. < 0: HEAD could not be made, and ironwal would not find the latest; all else is as it was. */
int ckptlog_close(struct ckptlog *log);

/* Frees it as it is, as a process does that dies. NULL is allowed. */
void ckptlog_free(struct ckptlog *log);

/* 0, or what kept it from being read or put in order when it was opened. */
int ckptlog_open_error(const struct ckptlog *log);

/*
 * Thread-safe from here on. Who changes something holds a lock over writing and syncing; who only looks never waits for that.
 */

/*
 * Appends a record for `checkpoint` (its time_ns is not looked at: the record gets the present time, or one later than all others if that is later, and *ret_time_ns), fdatasyncs it,
 * then removes HEAD if there is one. `shards` > 0: version 1; the cuts are then those of the shards in order, and their names are not recorded. WAL_EXCL in `flags`: -EEXIST if the id is there.
 * If the record can't be written it is cut off again; if HEAD can't, that is returned too and the record is taken out. If even taking back fails, the log takes no more
 * records (-EIO) until it is opened again.
 */
int ckptlog_append(struct ckptlog *log, const struct wal_checkpoint *checkpoint, uint32_t shards, unsigned flags, int64_t *ret_time_ns);

/* The same with the time that the checkpoint has: -EINVAL if one with another id has it. */
int ckptlog_restore(struct ckptlog *log, const struct wal_checkpoint *checkpoint, uint32_t shards, unsigned flags);

/* See wal_checkpoint_load(), _latest(), _list(), _count(), _version(), _remove() and _compact(). */
int ckptlog_load(struct ckptlog *log, const void *id, size_t id_size, struct wal_checkpoint **ret_checkpoint);
int ckptlog_latest(struct ckptlog *log, struct wal_checkpoint **ret_checkpoint);
int ckptlog_list(struct ckptlog *log, struct wal_checkpoint **ret_checkpoints, size_t *ret_count);
size_t ckptlog_count(struct ckptlog *log);
uint64_t ckptlog_version(struct ckptlog *log);
int ckptlog_remove(struct ckptlog *log, const void *id, size_t id_size);
int ckptlog_compact(struct ckptlog *log, size_t keep, size_t *ret_removed);

/* The number of shards that the record added last of version 1 tells of; 0: there is none. */
uint32_t ckptlog_shards(struct ckptlog *log);

/* Writes the records of version 2 that name `stream` anew without it. Durable when it returns; does nothing if there is none. */
int ckptlog_forget_stream(struct ckptlog *log, const char *stream);

#endif
