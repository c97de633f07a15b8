/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "rebuild.h"

int segment_open_dir(const struct env *env, const char *name)
{
	return env->sys->openat(env->sys, env->root_fd, name, O_RDONLY | O_DIRECTORY, 0);
}

static void map_free(const struct env *env, struct segment_map *map)
{
	while (map) {
		struct segment_map *next = map->retired;

		if (map->data)
			env->sys->munmap(env->sys, (void *)map->data, map->size);
		free((void *)map->verified);
		free(map);
		map = next;
	}
}

/* Maps `size` bytes of `fd`, which may be more than the file has yet. */
static int map_new(const struct env *env, int fd, uint64_t size, struct segment_map **ret_map)
{
	struct segment_map *map = calloc(1, sizeof *map);
	uint8_t *verified = calloc(1, size / META_BLOCK_BYTES / 8 + 1);
	void *data;

	if (!map || !verified) {
		free(map);
		free(verified);
		return -ENOMEM;
	}
	map->verified = (_Atomic uint8_t *)verified;
	int result = env->sys->mmap(env->sys, fd, size, &data);
	if (result < 0) {
		map_free(env, map);
		return result;
	}
	map->data = data;
	map->size = size;
	*ret_map = map;
	return 0;
}

static bool is_mapped(const struct env *env)
{
	return env->opts.read == WAL_READ_MMAP;
}

static struct segment *segment_alloc(uint64_t first_id, bool active)
{
	struct segment *segment = calloc(1, sizeof *segment);

	if (segment) {
		segment->first_id = first_id;
		segment->active = active;
		segment->fd = -1;
		segment->meta_fd = -1;
		pthread_mutex_init(&segment->map_lock, NULL);
	}
	return segment;
}

uint64_t segment_mapped_bytes(const struct segment *segment)
{
	if (segment->active)
		return 0;
	return (segment->map ? segment->map->size : 0) + (segment->data ? segment->size : 0);
}

void segment_unload(const struct env *env, struct segment *segment)
{
	struct sys *sys = env->sys;

	if (segment->active || !sys->unload)
		return;
	if (segment->map)
		sys->unload(sys, (void *)segment->map->data, segment->map->size);
	if (segment->data)
		sys->unload(sys, (void *)segment->data, segment->size);
}

void segment_close(const struct env *env, struct segment *segment)
{
	if (!segment)
		return;
	map_free(env, segment->map);
	if (segment->data)
		env->sys->munmap(env->sys, (void *)segment->data, segment->size);
	free(atomic_load_explicit(&segment->window, memory_order_relaxed));
	free(segment->last);
	sys_close(env->sys, &segment->fd);
	if (!segment->meta_borrowed)
		sys_close(env->sys, &segment->meta_fd);
	pthread_mutex_destroy(&segment->map_lock);
	free(segment);
}

/* ---- Sealed segments ---- */

struct opening {
	const struct env *env;
	const char *name;
	int dir_fd;
	struct segment *segment;
	uint64_t end_id;
	uint64_t before_id;
	int64_t mtime;
};

static void log_damage(void *arg, uint64_t offset, uint64_t bytes, uint64_t first_id, uint64_t ids, enum frame_fault fault,
		       const struct frame_header *h)
{
	const struct opening *o = arg;

	log_write(&o->env->log, WAL_LOG_ERROR,
		  "stream '%s': segment %020" PRIu64 ".wal is damaged at offset %" PRIu64 " (%" PRIu64 " bytes, ids %" PRIu64 " to %" PRIu64
		  ", %" PRIu64 " lost): expected the frame of id %" PRIu64 ", found %s (id %" PRIu64 ", %" PRIu32 " entries, %" PRIu32
		  " bytes, crc %08" PRIx32 ")",
		  o->name, o->segment->first_id, offset, bytes, first_id, first_id + ids - (ids > 0), ids, first_id,
		  bytes == 0	    ? "the end of the segment, or a later id" :
		  fault == FRAME_OK ? "bytes that belong to no entry" :
				      frame_fault_text(fault),
		  h->start_id, h->entry_count, h->disk_size, h->crc);
}

/* Whether the sidecar's first and last block lead to the segment's last id and its end. 1, 0, or < 0. */
static int meta_agrees(struct opening *o, const uint8_t first[META_BLOCK_BYTES], const uint8_t last[META_BLOCK_BYTES])
{
	const struct segment *segment = o->segment;
	struct meta_view view = { .segment_id = segment->first_id, .last = last };
	struct meta_cursor c;
	struct meta_pos start, end;

	if (!meta_block_valid(first, segment->first_id) || !meta_block_valid(last, segment->first_id))
		return 0;
	int result = meta_cursor_seek(&c, &view, META_BY_FRAME_OFFSET, UINT64_MAX);
	if (result == 0)
		result = meta_cursor_end(&c, &end);
	if (result != 0 || end.id != o->end_id || end.frame_offset > segment->size)
		return 0;
	meta_block_header(first, &start, NULL);
	if (start.id != segment->first_id || start.frame_offset != 0 || start.bytes != 0)
		return 0;
	if (end.frame_offset == segment->size)
		return 1;

	/* A crash may have kept the preallocated space behind the last frame from being cut. */
	struct scan scan;
	result = scan_init(&scan, o->env->sys, segment->fd, segment->first_id, segment->size, (size_t)o->env->opts.read_buffer);
	if (result == 0)
		result = scan_is_zero(&scan, end.frame_offset, segment->size);
	scan_release(&scan);
	return result;
}

/* 1 if the sidecar agrees with the segment (it is mapped then), 0 or < 0. */
static int map_meta(struct opening *o, int fd, uint64_t blocks)
{
	struct segment *segment = o->segment;
	int result = map_new(o->env, fd, blocks * META_BLOCK_BYTES, &segment->map);

	if (result < 0)
		return result;
	result = meta_agrees(o, segment->map->data, segment->map->data + (blocks - 1) * META_BLOCK_BYTES);
	if (result != 1) {
		map_free(o->env, segment->map);
		segment->map = NULL;
	}
	return result;
}

/* 1, or 0 if it is not there (any more), or < 0. */
static int read_meta_block(struct opening *o, int fd, uint64_t no, uint8_t block[META_BLOCK_BYTES])
{
	ssize_t n = sys_pread_full(o->env->sys, fd, block, META_BLOCK_BYTES, no * META_BLOCK_BYTES);

	return n < 0 ? (int)n : n == META_BLOCK_BYTES;
}

/* The same, and its last block is kept. */
static int read_meta(struct opening *o, int fd, uint64_t blocks)
{
	uint8_t first[META_BLOCK_BYTES], *last = malloc(META_BLOCK_BYTES);
	int result = last ? read_meta_block(o, fd, blocks - 1, last) : -ENOMEM;

	if (result == 1 && blocks > 1)
		result = read_meta_block(o, fd, 0, first);
	if (result == 1)
		result = meta_agrees(o, blocks > 1 ? first : last, last);
	if (result == 1)
		o->segment->last = last;
	else
		free(last);
	return result;
}

/* Begins to use the sidecar *fd. 1 if it agrees with the segment (*fd becomes -1 if it is kept open), 0 if it does not, or < 0. */
static int use_meta(struct opening *o, int *fd)
{
	struct segment *segment = o->segment;
	struct stat st;
	int result = o->env->sys->fstat(o->env->sys, *fd, &st);

	if (result < 0)
		return result;
	if (st.st_size <= 0 || st.st_size % META_BLOCK_BYTES != 0)
		return 0;
	uint64_t blocks = (uint64_t)st.st_size / META_BLOCK_BYTES;
	result = is_mapped(o->env) ? map_meta(o, *fd, blocks) : read_meta(o, *fd, blocks);
	if (result != 1)
		return result;
	segment->blocks = blocks;
	if (!is_mapped(o->env) && blocks > 1) {
		segment->meta_fd = *fd;
		*fd = -1;
	}
	return 1;
}

/* A place for a new sidecar: beside the segment, or if that can't be (read-only, no room) in a temporary file, as it is only a cache. */
static int create_meta(struct opening *o, const char *tmp, bool *ret_beside)
{
	const struct env *env = o->env;
	int fd = -EROFS;

	*ret_beside = false;
	if (!env->opts.ro)
		fd = sys_open_regular(env->sys, o->dir_fd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return env->sys->tmpfile(env->sys, -1);
	*ret_beside = true;
	return fd;
}

bool sidecar_end(struct sys *sys, int dir_fd, uint64_t id, struct meta_pos *ret)
{
	uint8_t block[META_BLOCK_BYTES];
	char name[NAME_SEGMENT_MAX];
	bool told = false;
	struct stat sb;
	int fd = sys_open_regular(sys, dir_fd, name_meta(name, id), O_RDONLY, 0);

	if (fd < 0)
		return false;
	if (sys->fstat(sys, fd, &sb) == 0 && sb.st_size >= META_BLOCK_BYTES &&
	    sys_pread_full(sys, fd, block, sizeof block, ((uint64_t)sb.st_size / META_BLOCK_BYTES - 1) * META_BLOCK_BYTES) == sizeof block &&
	    meta_block_valid(block, id)) {
		struct meta_view view = { .segment_id = id, .last = block };
		struct meta_cursor c;

		told = meta_cursor_seek(&c, &view, META_BY_ID, UINT64_MAX) == 0 && meta_cursor_end(&c, ret) == 0;
	}
	sys_close(sys, &fd);
	return told;
}

/* Writes the sidecar into `fd`. `old` are the blocks there were (NULL: none), for their times. */
static int write_meta(struct opening *o, int fd, const struct meta_view *old)
{
	struct scan scan;
	struct rebuild r = { .scan = &scan, .out_fd = fd, .old = old, .fallback_time = o->mtime };
	int result = scan_init(&scan, o->env->sys, o->segment->fd, o->segment->first_id, o->segment->size, (size_t)o->env->opts.read_buffer);

	int blank = result == 0 && old ? meta_is_blank(old, old->map_blocks) : 0;
	if (blank < 0)
		result = blank;
	if (result == 0) {
		scan.made_here = blank;
		struct meta_pos start = { .id = o->segment->first_id }, before;

		/* Whatever the files' times are, those of the entries go up. */
		if (o->before_id < o->segment->first_id && sidecar_end(o->env->sys, o->dir_fd, o->before_id, &before))
			start.last_time = before.last_time;
		rebuild_begin(&r, o->segment->first_id, &start, 0);
		result = rebuild_sealed(&r, o->end_id, log_damage, o);
	}
	scan_release(&scan);
	return result;
}

static int make_meta(struct opening *o, const struct meta_view *old)
{
	const struct env *env = o->env;
	char name[NAME_SEGMENT_MAX], tmp[NAME_SEGMENT_MAX + sizeof NAME_TMP_SUFFIX];
	bool beside;

	name_meta(name, o->segment->first_id);
	strcat(strcpy(tmp, name), NAME_TMP_SUFFIX);
	int fd = create_meta(o, tmp, &beside);
	if (fd < 0)
		return fd;
	int result = write_meta(o, fd, old);
	if (result < 0 && beside) {
		/* No room for the cache must not keep anyone from reading. */
		env->sys->unlinkat(env->sys, o->dir_fd, tmp, 0);
		sys_close(env->sys, &fd);
		beside = false;
		fd = env->sys->tmpfile(env->sys, -1);
		if (fd < 0)
			return fd;
		result = write_meta(o, fd, old);
	}
	/* Later blocks must not be on disk before earlier ones when it has its name. */
	if (beside && result == 0)
		env->sys->fdatasync(env->sys, fd);
	if (result == 0) {
		result = use_meta(o, &fd);
		result = result == 1 ? 0 : result == 0 ? -EBADMSG : result;
	}
	if (beside && (result < 0 || env->sys->renameat(env->sys, o->dir_fd, tmp, name) < 0))
		env->sys->unlinkat(env->sys, o->dir_fd, tmp, 0);
	sys_close(env->sys, &fd);
	return result;
}

/* Makes the sidecar anew, with the times that the present one (if any) still tells. */
static int remake_meta(struct opening *o, int old_fd)
{
	struct meta_window window;
	struct meta_view old = { .segment_id = o->segment->first_id, .window = &window };
	struct stat st;

	if (old_fd >= 0) {
		int result = o->env->sys->fstat(o->env->sys, old_fd, &st);

		if (result < 0)
			return result;
		old.map_blocks = (uint64_t)st.st_size / META_BLOCK_BYTES;
		meta_window_init(&window, o->env->sys, old_fd);
	}
	return make_meta(o, old.map_blocks > 0 ? &old : NULL);
}

/* Without the time of access, which costs a look at it for each read and a write of the inode now and then. That is for the owner of the file (and root) alone. */
static int open_quietly(struct opening *o, const char *name, int flags)
{
	int fd = sys_open_regular(o->env->sys, o->dir_fd, name, flags | O_NOATIME, 0);

	return fd == -EPERM ? sys_open_regular(o->env->sys, o->dir_fd, name, flags, 0) : fd;
}

static int open_meta(struct opening *o, bool distrust)
{
	const struct env *env = o->env;
	char name[NAME_SEGMENT_MAX];
	int fd = open_quietly(o, name_meta(name, o->segment->first_id), O_RDONLY);
	/* One that is not there, or no file, is made anew. One that can't be opened just now is not lost for that, nor one that can't be read. */
	if (fd < 0 && fd != -ENOENT && fd != -ELOOP && fd != -EISDIR && fd != -EINVAL)
		return fd;
	int result = fd < 0 || distrust ? 0 : use_meta(o, &fd);

	if (result == 0) {
		o->segment->made_anew = true;
		result = remake_meta(o, fd);
	}
	sys_close(env->sys, &fd);
	return result < 0 ? result : 0;
}

static int open_wal(struct opening *o, int flags)
{
	const struct env *env = o->env;
	char name[NAME_SEGMENT_MAX];
	struct stat st;
	int result;

	o->segment->fd = open_quietly(o, name_segment(name, o->segment->first_id), flags);
	if (o->segment->fd < 0) {
		result = o->segment->fd;
		/* One that is missing may have been pruned: the caller knows. */
		if (result == -ELOOP || result == -EISDIR || result == -EINVAL) {
			log_write(&env->log, WAL_LOG_ERROR, "stream '%s': segment %s: expected a regular file, found something else", o->name, name);
			result = -EBADMSG;
		}
		return result;
	}
	result = env->sys->fstat(env->sys, o->segment->fd, &st);
	if (result < 0)
		return result;
	o->segment->size = (uint64_t)st.st_size;
	o->mtime = sys_mtime_ns(&st);
	return 0;
}

int segment_open_sealed(const struct env *env, const char *name, const struct segment_range *range, bool distrust, struct segment **ret_segment)
{
	struct opening o = { .env = env, .name = name, .end_id = range->end_id, .before_id = range->before_id,
			     .segment = segment_alloc(range->first_id, false) };

	if (!o.segment)
		return -ENOMEM;
	o.dir_fd = segment_open_dir(env, name);
	int result = o.dir_fd < 0 ? o.dir_fd : open_wal(&o, O_RDONLY);
	if (result == 0)
		result = open_meta(&o, distrust);
	if (result == 0 && is_mapped(env) && o.segment->size > 0) {
		void *data;

		result = env->sys->mmap(env->sys, o.segment->fd, o.segment->size, &data);
		if (result == 0)
			o.segment->data = data;
	}
	if (o.dir_fd >= 0)
		sys_close(env->sys, &o.dir_fd);
	if (result < 0) {
		segment_close(env, o.segment);
		return result;
	}
	*ret_segment = o.segment;
	return 0;
}

/* ---- The active segment ---- */

int segment_open_active(const struct env *env, const char *name, uint64_t first_id, int meta_fd, struct segment **ret_segment)
{
	int mode = env->opts.ro ? O_RDONLY : O_RDWR;
	struct opening o = { .env = env, .name = name, .segment = segment_alloc(first_id, true) };
	char meta[NAME_SEGMENT_MAX];

	if (!o.segment)
		return -ENOMEM;
	o.dir_fd = segment_open_dir(env, name);
	int result = o.dir_fd < 0 ? o.dir_fd : open_wal(&o, mode);
	if (result == 0) {
		o.segment->meta_borrowed = meta_fd >= 0;
		if (meta_fd >= 0)
			o.segment->meta_fd = meta_fd;
		else
			o.segment->meta_fd = sys_open_regular(env->sys, o.dir_fd, name_meta(meta, first_id), env->opts.ro ? mode : mode | O_CREAT, 0600);
		/* Read-only, a segment that never filled a block may have no sidecar. */
		if (o.segment->meta_fd < 0 && !env->opts.ro)
			result = o.segment->meta_fd;
	}
	if (o.dir_fd >= 0)
		sys_close(env->sys, &o.dir_fd);
	if (result < 0) {
		segment_close(env, o.segment);
		return result;
	}
	*ret_segment = o.segment;
	return 0;
}

/* ---- Views ---- */

static int view_map(const struct env *env, struct segment *segment, struct meta_view *view)
{
	int result = 0;

	if (segment->active) {
		pthread_mutex_lock(&segment->map_lock);
		if (!segment->map || segment->map->size < view->map_blocks * META_BLOCK_BYTES) {
			/* Room for as many again: the file may be mapped beyond its end, as long as nobody looks there. */
			struct segment_map *map;

			result = map_new(env, segment->meta_fd, 2 * (view->map_blocks + 64) * META_BLOCK_BYTES, &map);
			if (result == 0) {
				map->retired = segment->map;
				segment->map = map;
			}
		}
	}
	if (result == 0) {
		view->map = segment->map->data;
		view->verified = segment->map->verified;
	}
	if (segment->active)
		pthread_mutex_unlock(&segment->map_lock);
	return result;
}

static int view_window(const struct env *env, struct segment *segment, struct meta_view *view)
{
	view->window = atomic_exchange_explicit(&segment->window, NULL, memory_order_acquire);
	if (view->window)
		return 0;
	view->window = malloc(sizeof *view->window);
	if (!view->window)
		return -ENOMEM;
	meta_window_init(view->window, env->sys, segment->meta_fd);
	return 0;
}

int segment_view(const struct env *env, struct segment *segment, uint64_t blocks, struct meta_view *ret_view)
{
	*ret_view = (struct meta_view){ .segment_id = segment->first_id, .map_blocks = blocks, .last = segment->last };
	if (!segment->active)
		ret_view->map_blocks = segment->blocks - (segment->last != NULL);
	if (ret_view->map_blocks == 0)
		return 0;
	if (segment->active && segment->meta_fd < 0)
		return -EBADMSG;
	return is_mapped(env) ? view_map(env, segment, ret_view) : view_window(env, segment, ret_view);
}

void segment_view_end(struct segment *segment, struct meta_view *view)
{
	if (view->window)
		free(atomic_exchange_explicit(&segment->window, view->window, memory_order_acq_rel));
	view->window = NULL;
}
