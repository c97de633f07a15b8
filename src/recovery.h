/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two parts of opening a stream share: stream_recover.c brings what its directory holds to agreement, recover_active.c finds the end of the active
 * segment.
 */
#ifndef WAL_RECOVERY_H
#define WAL_RECOVERY_H

#include "damagerec.h"
#include "names.h"
#include "rebuild.h"
#include "stream_impl.h"

/* Ids that wal_stream_skip() let go, or was about to. */
struct skip_record {
	uint64_t first_id;
	uint64_t end_id;
	char name[NAME_SEGMENT_MAX];
};

struct recovery {
	struct wal_stream *st;
	const struct env *env;
	struct sys *sys;
	struct wal_error *err;
	int dir_fd;
	bool listed;

	/* what the directory holds */
	struct id_array files;
	struct id_array metas;
	bool head_listed;
	struct skip_record *records;
	size_t record_count;
	struct id_array index;
	int index_result; /* of loading it */
	uint64_t head;
	int head_result;

	/* the active segment */
	uint64_t id;
	int fd;
	uint64_t size;
	int64_t mtime;
	int64_t last_time; /* of the entry before it, if that is known */
	int meta_fd;
	struct meta_view old; /* the sidecar as it was: as many blocks as are of use */
	bool old_read;	      /* into memory of its own, not mapped */
	uint64_t old_size;    /* of the map */
	bool old_bad;	      /* they don't lead from one to the next */
	uint64_t durable;     /* it says that the segment is durable so far */
	uint64_t kept_blocks; /* of it; the new ones follow, in st->meta_fd as long as it is not clear what becomes of them */
	uint8_t *blocks;      /* new ones that are still to be written there: */
	uint64_t blocks_no;
	size_t blocks_count;
	struct scan scan;
	struct rebuild r;
	unsigned rereads; /* of the same place, read-only */
	uint64_t lost_end; /* the active segment's file is missing, and held the ids below */
	uint64_t sealed_below; /* the next segment's file is there, so what comes before its id had been durable */
	bool unsynced;	  /* what was found could not be made durable */
	bool probe;	  /* only find where the log ends: judge nothing, change nothing */
};

static inline bool recovery_is_read_only(const struct recovery *rec)
{
	return rec->env->opts.ro;
}

/*
 * Finds the end of segment `id`, with a torn end set aside, and makes it the stream's active one. -EBADMSG if it is damaged and the store is not to be opened then.
 */
int recover_active(struct recovery *rec, uint64_t id);

/* ---- recover_sidecar.c ---- */

/* Takes up the sidecar there is, as far as it is of use, and puts rec->r where reading the segment begins: behind what is known to be durable, or at its start. */
int recovery_begin_rebuild(struct recovery *rec);

/* New blocks that were gathered go to st->meta_fd. */
int recovery_flush_blocks(struct recovery *rec);

/* The new blocks take the place of the old ones, and the last one says that all before it is durable. Costs the next open some time if it fails. */
int recovery_replace_meta(struct recovery *rec);

/* ---- recover_active.c ---- */

/* The stream can be read, no more, and `reason` says why; nothing of it is changed from now on. */
void recovery_read_only(struct wal_stream *st, const char *reason);

/* Whether the segment holds nothing but zeros. */
bool recovery_is_blank(struct recovery *rec, uint64_t id);

/* ---- recover_skip.c ---- */

/* Remembers what the file says, if it is the record of a skip. */
int recovery_note_record(struct recovery *rec, const char *name);

/* Where the ids begin that were let go in favour of `id`; `id` if none were. */
uint64_t recovery_skipped_from(const struct recovery *rec, uint64_t id);

/* Of a stream that held nothing when it was made to go on elsewhere, the old segment is only litter: takes it from the stream's segments. */
void recovery_drop_skipped(struct recovery *rec);

/* Removes such segments, and records of which nobody needs to know. Once segments.idx and head.state are in order. What fails is tried at the next open. */
void recovery_finish_skips(struct recovery *rec);

/* Damage that costs entries but does not keep others from being served: as on_corruption says. 0, or -EBADMSG if the store is not to be opened then. */
int recovery_damage(struct recovery *rec, uint64_t offset, const char *text);

#endif
