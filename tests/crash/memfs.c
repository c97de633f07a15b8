/* SPDX-License-Identifier: Apache-2.0 */
#include "memfs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"

enum {
	FD_BASE = 1000, /* so that a descriptor of the real world is no valid one here */
	CLOCK_STEP_NS = 3000000,
	DEVICE_BLOCK = 512,
};

#define CLOCK_START 1700000000000000000

static struct memfs *from_sys(struct sys *sys)
{
	return container_of(sys, struct memfs, sys);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- The trace ---- */

void trace_release(struct trace *trace)
{
	for (size_t i = 0; i < trace->count; i++) {
		free(trace->events[i].data);
		free(trace->events[i].name);
		free(trace->events[i].to);
	}
	free(trace->events);
	*trace = (struct trace){ 0 };
}

/* A temporary file has no name, so nothing of it outlives a crash, and what is done to it is no change of the store. */
static bool is_nameless(const struct memfs *fs, const struct trace_event *e)
{
	bool on_file = e->kind == TRACE_WRITE || e->kind == TRACE_SIZE || e->kind == TRACE_SYNC;

	return on_file && !fs->nodes[e->node].dir && !fs->nodes[e->node].last_name[0];
}

/* Caller holds fs->lock. What the event points to is the trace's from here on. */
static void record(struct memfs *fs, struct trace_event event)
{
	struct trace *trace = fs->trace;
	bool counts = !is_nameless(fs, &event);

	if (counts && event.kind != TRACE_NOTE && event.kind != TRACE_SYNC)
		fs->changes++;
	if (!trace || !counts) {
		free(event.data);
		free(event.name);
		free(event.to);
		return;
	}
	if (trace->count == trace->capacity) {
		trace->capacity = trace->capacity ? 2 * trace->capacity : 256;
		trace->events = must(reallocarray(trace->events, trace->capacity, sizeof *trace->events));
	}
	event.time = fs->clock;
	trace->events[trace->count++] = event;
}

static uint8_t *copy_of(const void *data, size_t size)
{
	return memcpy(must(malloc(size + 1)), data, size);
}

void memfs_note(struct memfs *fs, unsigned what, unsigned which, uint64_t value)
{
	LOCKED_SCOPE(&fs->lock);
	record(fs, (struct trace_event){ .kind = TRACE_NOTE, .node = what, .child = which, .size = value });
}

void memfs_set_dead(struct memfs *fs, bool dead)
{
	LOCKED_SCOPE(&fs->lock);
	fs->dead = dead;
}

void memfs_set_recovering(struct memfs *fs, bool recovering)
{
	LOCKED_SCOPE(&fs->lock);
	fs->recovering = recovering;
}

void memfs_set_checkpointing(struct memfs *fs, bool checkpointing)
{
	LOCKED_SCOPE(&fs->lock);
	fs->checkpointing = checkpointing;
}

/* ---- Nodes ---- */

static void forget_names(struct memfs_node *node)
{
	for (size_t i = 0; i < node->name_count; i++)
		free(node->names[i].name);
	node->name_count = 0;
}

unsigned memfs_make_node(struct memfs *fs, bool dir)
{
	if (fs->node_count == fs->node_capacity) {
		fs->node_capacity = fs->node_capacity ? 2 * fs->node_capacity : 64;
		fs->nodes = must(reallocarray(fs->nodes, fs->node_capacity, sizeof *fs->nodes));
	}
	struct memfs_node *node = &fs->nodes[fs->node_count];
	if (fs->node_count == fs->nodes_made) {
		*node = (struct memfs_node){ 0 };
		fs->nodes_made++;
	}
	node->dir = dir;
	node->parent = MEMFS_ROOT;
	node->size = 0;
	node->writes = 0;
	node->owes_sync = false;
	node->mtime = fs->clock;
	node->last_name[0] = '\0';
	return fs->node_count++;
}

static void need_data(struct memfs_node *node)
{
	if (node->data)
		return;
	node->data = mmap(NULL, MEMFS_NODE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (node->data == MAP_FAILED)
		abort();
}

static void set_size(struct memfs_node *node, size_t size)
{
	if (size < node->dirty) {
		memset(node->data + size, 0, node->dirty - size);
		node->dirty = size;
	}
	node->size = size;
}

void memfs_set_content(struct memfs *fs, unsigned number, const void *data, size_t size)
{
	struct memfs_node *node = &fs->nodes[number];

	assert(size <= MEMFS_NODE_BYTES);
	set_size(node, 0);
	if (size == 0)
		return;
	need_data(node);
	memcpy(node->data, data, size);
	node->size = node->dirty = size;
}

static ssize_t name_index(const struct memfs_node *dir, const char *name)
{
	for (size_t i = 0; i < dir->name_count; i++) {
		if (strcmp(dir->names[i].name, name) == 0)
			return (ssize_t)i;
	}
	return -1;
}

static void unlink_name(struct memfs_node *dir, size_t index)
{
	free(dir->names[index].name);
	dir->names[index] = dir->names[--dir->name_count];
}

void memfs_link(struct memfs *fs, unsigned number, const char *name, unsigned child)
{
	struct memfs_node *dir = &fs->nodes[number];
	ssize_t at = name_index(dir, name);

	fs->nodes[child].parent = number;
	snprintf(fs->nodes[child].last_name, sizeof fs->nodes[child].last_name, "%s", name);
	if (at >= 0) {
		dir->names[at].node = child;
		return;
	}
	if (dir->name_count == dir->name_capacity) {
		dir->name_capacity = dir->name_capacity ? 2 * dir->name_capacity : 16;
		dir->names = must(reallocarray(dir->names, dir->name_capacity, sizeof *dir->names));
	}
	dir->names[dir->name_count++] = (struct memfs_name){ must(strdup(name)), child };
}

int memfs_lookup(struct memfs *fs, unsigned dir, const char *name)
{
	ssize_t at = name_index(&fs->nodes[dir], name);

	return at < 0 ? -1 : (int)fs->nodes[dir].names[at].node;
}

struct memfs_node *memfs_find(struct memfs *fs, unsigned dir, const char *name)
{
	int node = memfs_lookup(fs, dir, name);

	return node < 0 ? NULL : &fs->nodes[node];
}

void memfs_reset(struct memfs *fs)
{
	for (unsigned i = 0; i < fs->node_count; i++) {
		set_size(&fs->nodes[i], 0);
		forget_names(&fs->nodes[i]);
	}
	fs->node_count = 0;
	memset(fs->fds, 0, sizeof fs->fds);
	fs->open_fds = fs->mapped = 0;
	fs->changes = 0;
	fs->clock = CLOCK_START;
	fs->trace = NULL;
	fs->breakage = 0;
	fs->recovering = fs->checkpointing = fs->dead = false;
	memfs_make_node(fs, true);
}

void memfs_copy(const struct memfs *from, struct memfs *to)
{
	memfs_reset(to);
	to->clock = from->clock;
	for (unsigned i = 1; i < from->node_count; i++)
		memfs_make_node(to, from->nodes[i].dir);
	for (unsigned i = 0; i < from->node_count; i++) {
		const struct memfs_node *node = &from->nodes[i];

		if (!node->dir)
			memfs_set_content(to, i, node->data, node->size);
		to->nodes[i].mtime = node->mtime;
		for (size_t n = 0; n < node->name_count; n++)
			memfs_link(to, i, node->names[n].name, node->names[n].node);
	}
}

/* ---- Calls. Each holds fs->lock. ---- */

static struct memfs_fd *fd_of(struct memfs *fs, int fd)
{
	assert(fd >= FD_BASE && fd < FD_BASE + MEMFS_FDS && fs->fds[fd - FD_BASE].used);
	return &fs->fds[fd - FD_BASE];
}

static struct memfs_node *node_of(struct memfs *fs, int fd)
{
	return &fs->nodes[fd_of(fs, fd)->node];
}

static int new_fd(struct memfs *fs, unsigned node, bool writable)
{
	for (int i = 0; i < MEMFS_FDS; i++) {
		if (!fs->fds[i].used) {
			fs->fds[i] = (struct memfs_fd){ .used = true, .writable = writable, .node = node };
			fs->open_fds++;
			return FD_BASE + i;
		}
	}
	return -EMFILE;
}

/* The directory in which a call's name is looked up, and the name in it. */
static unsigned dir_of(struct memfs *fs, int dirfd, const char **name)
{
	if (dirfd != AT_FDCWD)
		return fd_of(fs, dirfd)->node;
	while (**name == '/')
		++*name;
	return MEMFS_ROOT;
}

static unsigned make_child(struct memfs *fs, unsigned dir, const char *name, bool is_dir)
{
	unsigned node = memfs_make_node(fs, is_dir);

	memfs_link(fs, dir, name, node);
	record(fs, (struct trace_event){ .kind = TRACE_LINK, .node = dir, .child = node, .dir = is_dir, .name = must(strdup(name)) });
	return node;
}

static void resize(struct memfs *fs, unsigned number, size_t size)
{
	struct memfs_node *node = &fs->nodes[number];

	assert(size <= MEMFS_NODE_BYTES);
	set_size(node, size);
	node->mtime = fs->clock;
	record(fs, (struct trace_event){ .kind = TRACE_SIZE, .node = number, .size = size });
}

static int mem_openat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	bool writable = (flags & O_ACCMODE) != O_RDONLY;

	(void)mode;
	if (fs->dead)
		return -EIO;
	unsigned dir = dir_of(fs, dirfd, &name);
	int node = strcmp(name, ".") == 0 ? (int)dir : strcmp(name, "..") == 0 ? (int)fs->nodes[dir].parent : memfs_lookup(fs, dir, name);
	if (node < 0 && !(flags & O_CREAT))
		return -ENOENT;
	if (node >= 0 && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (node < 0)
		node = (int)make_child(fs, dir, name, false);
	if (fs->nodes[node].dir && writable)
		return -EISDIR;
	if (!fs->nodes[node].dir && (flags & O_DIRECTORY))
		return -ENOTDIR;
	if ((flags & O_TRUNC) && fs->nodes[node].size > 0)
		resize(fs, (unsigned)node, 0);
	return new_fd(fs, (unsigned)node, writable);
}

static int mem_close(struct sys *sys, int fd)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	fd_of(fs, fd)->used = false;
	fs->open_fds--;
	return 0;
}

static ssize_t mem_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	const struct memfs_node *node = node_of(fs, fd);

	if (fs->dead)
		return -EIO;
	if (node->dir)
		return -EISDIR;
	if (offset >= node->size)
		return 0;
	if (size > node->size - offset)
		size = (size_t)(node->size - offset);
	need_data((struct memfs_node *)node);
	memcpy(data, node->data + offset, size);
	return (ssize_t)size;
}

static ssize_t mem_pwritev(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	struct memfs_node *node = node_of(fs, fd);
	size_t size = 0;

	if (fs->dead || !fd_of(fs, fd)->writable)
		return fs->dead ? -EIO : -EBADF;
	need_data(node);
	for (int i = 0; i < count; i++) {
		assert(offset + size + iov[i].iov_len <= MEMFS_NODE_BYTES);
		if (iov[i].iov_len > 0)
			memcpy(node->data + offset + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	if (offset + size > node->dirty)
		node->dirty = offset + size;
	if (offset + size > node->size)
		node->size = offset + size;
	node->mtime = fs->clock;
	node->writes = fs->trace ? fs->trace->count : 0;
	record(fs, (struct trace_event){ .kind = TRACE_WRITE,
					 .node = fd_of(fs, fd)->node,
					 .offset = offset,
					 .size = size,
					 .data = fs->trace ? copy_of(node->data + offset, size) : NULL });
	return (ssize_t)size;
}

static int mem_fallocate(struct sys *sys, int fd, uint64_t offset, uint64_t size)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	if (fs->dead)
		return -EIO;
	if (offset + size > node_of(fs, fd)->size)
		resize(fs, fd_of(fs, fd)->node, offset + size);
	return 0;
}

static int mem_ftruncate(struct sys *sys, int fd, uint64_t size)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	if (fs->dead)
		return -EIO;
	if (size != node_of(fs, fd)->size)
		resize(fs, fd_of(fs, fd)->node, size);
	return 0;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* segments.idx, head.state, and what is about to replace them. */
static bool is_small(const char *name)
{
	return strncmp(name, "segments.idx", 12) == 0 || strncmp(name, "head.state", 10) == 0;
}

/* Whether the broken disk leaves this sync out. */
static bool is_left_out(const struct memfs *fs, const struct memfs_node *node, bool data_only)
{
	const char *name = node->last_name;
	unsigned b = fs->breakage;

	if (node->dir)
		return b & BREAK_DIR_FSYNC;
	if (data_only && ((b & BREAK_FDATASYNC) || ((b & BREAK_RECOVERY_SYNC) && fs->recovering)))
		return true;
	if (!data_only && (b & BREAK_SEGMENT_FSYNC) && ends_with(name, ".wal"))
		return true;
	if ((b & BREAK_SMALL_SYNC) && is_small(name))
		return true;
	if ((b & BREAK_CUT_SYNC) && fs->checkpointing && ends_with(name, ".wal"))
		return true;
	if ((b & BREAK_CKPTLOG_SYNC) && strncmp(name, "checkpoints.log", 15) == 0)
		return true;
	if ((b & BREAK_HEAD_SYNC) && strcmp(name, "HEAD.tmp") == 0)
		return true;
	if ((b & BREAK_LOCK_SYNC) && strcmp(name, "LOCK") == 0)
		return true;
	return (b & BREAK_TORN_SYNC) && strstr(name, ".torn.");
}

static void record_sync(struct memfs *fs, unsigned number, bool data_only)
{
	const struct memfs_node *node = &fs->nodes[number];
	bool early = (fs->breakage & BREAK_SYNC_EARLY) && data_only;

	record(fs, (struct trace_event){ .kind = TRACE_SYNC, .node = number, .upto = early ? node->writes : SIZE_MAX });
}

static int sync_node(struct memfs *fs, int fd, bool data_only)
{
	LOCKED_SCOPE(&fs->lock);
	struct memfs_node *node = node_of(fs, fd);

	if (fs->dead)
		return -EIO;
	if (is_left_out(fs, node, data_only))
		return 0;
	if ((fs->breakage & BREAK_RENAME_FIRST) && is_small(node->last_name) && ends_with(node->last_name, ".tmp"))
		node->owes_sync = true;
	else
		record_sync(fs, fd_of(fs, fd)->node, data_only);
	return 0;
}

static int mem_fsync(struct sys *sys, int fd)
{
	return sync_node(from_sys(sys), fd, false);
}

static int mem_fdatasync(struct sys *sys, int fd)
{
	return sync_node(from_sys(sys), fd, true);
}

static int mem_renameat(struct sys *sys, int dirfd, const char *from, const char *to)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	if (fs->dead)
		return -EIO;
	unsigned dir = fd_of(fs, dirfd)->node;
	int child = memfs_lookup(fs, dir, from);
	if (child < 0)
		return -ENOENT;
	unlink_name(&fs->nodes[dir], (size_t)name_index(&fs->nodes[dir], from));
	memfs_link(fs, dir, to, (unsigned)child);
	record(fs, (struct trace_event){
			   .kind = TRACE_RENAME, .node = dir, .child = (unsigned)child, .name = must(strdup(from)), .to = must(strdup(to)) });
	if (fs->nodes[child].owes_sync)
		record_sync(fs, (unsigned)child, false);
	fs->nodes[child].owes_sync = false;
	return 0;
}

static int mem_unlinkat(struct sys *sys, int dirfd, const char *name, int flags)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	if (fs->dead)
		return -EIO;
	unsigned dir = dir_of(fs, dirfd, &name);
	struct memfs_node *node = memfs_find(fs, dir, name);
	if (!node)
		return -ENOENT;
	if (node->dir != ((flags & AT_REMOVEDIR) != 0))
		return node->dir ? -EISDIR : -ENOTDIR;
	if (node->name_count > 0)
		return -ENOTEMPTY;
	unlink_name(&fs->nodes[dir], (size_t)name_index(&fs->nodes[dir], name));
	record(fs, (struct trace_event){ .kind = TRACE_UNLINK, .node = dir, .name = must(strdup(name)) });
	return 0;
}

static int mem_mkdirat(struct sys *sys, int dirfd, const char *name, mode_t mode)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	(void)mode;
	if (fs->dead)
		return -EIO;
	unsigned dir = dir_of(fs, dirfd, &name);
	if (memfs_find(fs, dir, name))
		return -EEXIST;
	make_child(fs, dir, name, true);
	return 0;
}

static int stat_node(const struct memfs *fs, const struct memfs_node *node, struct stat *ret)
{
	if (fs->dead)
		return -EIO;
	*ret = (struct stat){
		.st_ino = (ino_t)(node - fs->nodes) + 1,
		.st_mode = node->dir ? S_IFDIR | 0700 : S_IFREG | 0600,
		.st_nlink = 1,
		.st_size = (off_t)node->size,
		.st_blocks = (blkcnt_t)((node->size + DEVICE_BLOCK - 1) / DEVICE_BLOCK),
		.st_mtim = { .tv_sec = node->mtime / 1000000000, .tv_nsec = node->mtime % 1000000000 },
	};
	return 0;
}

static int mem_fstat(struct sys *sys, int fd, struct stat *ret)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	return stat_node(fs, node_of(fs, fd), ret);
}

static int mem_fstatat(struct sys *sys, int dirfd, const char *name, struct stat *ret)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	unsigned dir = dir_of(fs, dirfd, &name);
	const struct memfs_node *node = memfs_find(fs, dir, name);

	return node ? stat_node(fs, node, ret) : -ENOENT;
}

static int mem_fstatvfs(struct sys *sys, int fd, struct statvfs *ret)
{
	(void)sys;
	(void)fd;
	*ret = (struct statvfs){ .f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 19, .f_bavail = 1 << 19, .f_namemax = 255 };
	return 0;
}

static int mem_flock(struct sys *sys, int fd, int operation)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	(void)fd;
	(void)operation;
	return fs->dead ? -EIO : 0;
}

static ssize_t mem_getdents(struct sys *sys, int fd, void *buf, size_t size)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	const struct memfs_node *dir = node_of(fs, fd);
	struct memfs_fd *f = fd_of(fs, fd);
	size_t used = 0;

	if (fs->dead)
		return -EIO;
	for (; f->position < dir->name_count; f->position++) {
		const struct memfs_name *name = &dir->names[f->position];
		size_t length = offsetof(struct dirent64, d_name) + strlen(name->name) + 1;
		size_t record_size = (length + 7) / 8 * 8;
		struct dirent64 *entry = (struct dirent64 *)((uint8_t *)buf + used);

		if (used + record_size > size)
			break;
		entry->d_ino = name->node + 1;
		entry->d_off = (off64_t)f->position + 1;
		entry->d_reclen = (unsigned short)record_size;
		entry->d_type = fs->nodes[name->node].dir ? DT_DIR : DT_REG;
		memcpy(entry->d_name, name->name, strlen(name->name) + 1);
		used += record_size;
	}
	return (ssize_t)used;
}

static int mem_mmap(struct sys *sys, int fd, size_t size, void **ret)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);
	struct memfs_node *node = node_of(fs, fd);

	if (fs->dead || size == 0 || size > MEMFS_NODE_BYTES)
		return fs->dead ? -EIO : -EINVAL;
	need_data(node);
	fs->mapped++;
	*ret = node->data;
	return 0;
}

static int mem_munmap(struct sys *sys, void *addr, size_t size)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	(void)addr;
	(void)size;
	fs->mapped--;
	return 0;
}

static int mem_tmpfile(struct sys *sys, int dirfd)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	(void)dirfd;
	if (fs->dead)
		return -EIO;
	return new_fd(fs, memfs_make_node(fs, false), true);
}

static int64_t mem_now(struct sys *sys)
{
	struct memfs *fs = from_sys(sys);
	LOCKED_SCOPE(&fs->lock);

	return fs->clock += CLOCK_STEP_NS;
}

void memfs_init(struct memfs *fs)
{
	*fs = (struct memfs){
		.sys = {
			.openat = mem_openat,
			.close = mem_close,
			.pread = mem_pread,
			.pwritev = mem_pwritev,
			.fallocate = mem_fallocate,
			.ftruncate = mem_ftruncate,
			.fsync = mem_fsync,
			.fdatasync = mem_fdatasync,
			.renameat = mem_renameat,
			.unlinkat = mem_unlinkat,
			.mkdirat = mem_mkdirat,
			.fstat = mem_fstat,
			.fstatat = mem_fstatat,
			.fstatvfs = mem_fstatvfs,
			.flock = mem_flock,
			.getdents = mem_getdents,
			.mmap = mem_mmap,
			.munmap = mem_munmap,
			.tmpfile = mem_tmpfile,
			.now = mem_now,
		},
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	memfs_reset(fs);
}

void memfs_release(struct memfs *fs)
{
	memfs_reset(fs);
	for (unsigned i = 0; i < fs->nodes_made; i++) {
		if (fs->nodes[i].data)
			munmap(fs->nodes[i].data, MEMFS_NODE_BYTES);
		forget_names(&fs->nodes[i]);
		free(fs->nodes[i].names);
	}
	free(fs->nodes);
	fs->nodes = NULL;
}
