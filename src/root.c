/* SPDX-License-Identifier: Apache-2.0 */
#include "root.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "bytes.h"
#include "crc32.h"
#include "names.h"

#define LOCK_TEXT "libwal store\n"
#define LOCK_SHARDS "shards "

enum {
	LOCK_BYTES = 64,
	LOCK_POLL_MS = 10,
};

enum root_kind {
	ROOT_STORE,
	ROOT_EMPTY,
	ROOT_FOREIGN,
};

/* ---- What the directory holds ---- */

struct survey {
	struct root *root;
	bool lock_file;
	bool checkpoints; /* HEAD or checkpoints.log: an ironwal root with shards */
	bool others;
};

/* HEAD (u16 length and as many bytes) or checkpoints.log ("CKPT" …) of a store, rather than of git, say. */
static bool is_checkpoint_file(const struct env *env, const char *name)
{
	bool head = strcmp(name, NAME_HEAD) == 0;
	uint8_t start[4];
	struct stat sb;

	if (!head && strcmp(name, NAME_CHECKPOINTS_LOG) != 0)
		return false;
	int fd = sys_open_regular(env->sys, env->root_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return false;
	ssize_t n = env->sys->fstat(env->sys, fd, &sb) == 0 ? sys_pread_full(env->sys, fd, start, sizeof start, 0) : -1;
	sys_close(env->sys, &fd);
	if (head)
		return n >= 2 && sb.st_size == 2 + get_le16(start);
	return n == 4 && memcmp(start, "CKPT", 4) == 0;
}

static int visit_root(void *arg, const char *name, unsigned char type)
{
	struct survey *survey = arg;
	struct root *root = survey->root;
	const struct env *env = root->env;
	struct stat sb;

	if (type == DT_UNKNOWN && env->sys->fstatat(env->sys, env->root_fd, name, &sb) == 0)
		type = S_ISDIR(sb.st_mode) ? DT_DIR : DT_REG;
	if (type == DT_DIR) {
		char **dirs = reallocarray(root->dirs, root->dir_count + 1, sizeof *dirs);

		if (!dirs)
			return -ENOMEM;
		root->dirs = dirs;
		dirs[root->dir_count] = strdup(name);
		if (!dirs[root->dir_count])
			return -ENOMEM;
		root->dir_count++;
	} else if (strcmp(name, NAME_LOCK) == 0) {
		survey->lock_file = true;
	} else if (is_checkpoint_file(env, name)) {
		survey->checkpoints = true;
	} else {
		survey->others = true;
	}
	return 0;
}

void root_forget_dirs(struct root *root)
{
	for (size_t i = 0; i < root->dir_count; i++)
		free(root->dirs[i]);
	free(root->dirs);
	root->dirs = NULL;
	root->dir_count = 0;
}

static int list(struct survey *survey, struct root *root, struct wal_error *err)
{
	const struct env *env = root->env;

	root_forget_dirs(root);
	*survey = (struct survey){ .root = root };
	int result = sys_list(env->sys, env->root_fd, visit_root, survey);
	return result < 0 ? error_set(err, result, root->path, "'%s': cannot list the directory: %s", root->path, wal_strerror(result)) : 0;
}

static int visit_stream_dir(void *arg, const char *name, unsigned char type)
{
	uint64_t id;

	(void)arg;
	(void)type;
	return name_is_segment(name, &id) || strcmp(name, NAME_SEGMENTS_IDX) == 0 || strcmp(name, NAME_HEAD_STATE) == 0 ? WAL_END : 0;
}

int root_looks_like_stream(const struct env *env, const char *name)
{
	int fd = segment_open_dir(env, name);

	if (fd < 0)
		return fd;
	int result = sys_list(env->sys, fd, visit_stream_dir, NULL);
	sys_close(env->sys, &fd);
	return result == WAL_END ? 1 : result;
}

/* 0 with the text of the LOCK file, NUL-terminated. */
static int read_lock(const struct env *env, char text[LOCK_BYTES + 1])
{
	size_t size = 0;
	int result = sys_read_file(env->sys, env->root_fd, NAME_LOCK, text, LOCK_BYTES, &size);

	text[result == 0 ? size : 0] = '\0';
	return result;
}

static enum root_kind classify(const struct survey *survey)
{
	const struct root *root = survey->root;
	char text[LOCK_BYTES + 1];
	bool empty = !survey->others;

	if (survey->checkpoints)
		return ROOT_STORE;
	if (survey->lock_file) {
		int result = read_lock(root->env, text);

		if (result == 0 && strstr(text, LOCK_TEXT))
			return ROOT_STORE;
		/* An empty one is what a crash leaves of the first open. */
		empty = empty && result == 0 && text[0] == '\0';
	}
	for (size_t i = 0; i < root->dir_count; i++) {
		if (root_looks_like_stream(root->env, root->dirs[i]) == 1)
			return ROOT_STORE;
		/* What a fresh file system has in its root. */
		if (strcmp(root->dirs[i], "lost+found") != 0)
			empty = false;
	}
	return empty ? ROOT_EMPTY : ROOT_FOREIGN;
}

/* ---- Opening ---- */

/* The new directory's name is durable when its parent is. */
static int sync_parent(const struct env *env, int fd)
{
	int parent = env->sys->openat(env->sys, fd, "..", O_RDONLY | O_DIRECTORY, 0);
	int result = parent < 0 ? parent : env->sys->fsync(env->sys, parent);

	if (parent >= 0)
		sys_close(env->sys, &parent);
	return result;
}

static int make_directory(struct root *root, struct wal_error *err)
{
	struct sys *sys = root->env->sys;
	int result = sys->mkdirat(sys, AT_FDCWD, root->path, 0700);

	if (result < 0 && result != -EEXIST)
		return error_set(err, result, root->path, "'%s': cannot create the store's directory: %s", root->path, wal_strerror(result));
	int fd = sys->openat(sys, AT_FDCWD, root->path, O_RDONLY | O_DIRECTORY, 0);
	result = fd < 0 ? fd : sync_parent(root->env, fd);
	if (result < 0) {
		sys_close(sys, &fd);
		return error_set(err, result, root->path, "'%s': cannot make the new directory durable: %s", root->path, wal_strerror(result));
	}
	return fd;
}

static int open_directory(struct root *root, struct wal_error *err)
{
	const char *path = root->path;
	struct env *env = root->env;
	int fd = env->sys->openat(env->sys, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT && !env->opts.ro && !env->opts.no_create) {
		fd = make_directory(root, err);
		if (fd < 0)
			return fd;
	}
	if (fd == -ENOENT)
		return error_set(err, fd, path, "'%s': there is no such directory", path);
	if (fd == -ENOTDIR)
		return error_set(err, fd, path, "'%s' is not a directory", path);
	if (fd < 0)
		return error_set(err, fd, path, "'%s': cannot open the directory: %s", path, wal_strerror(fd));
	env->root_fd = fd;
	return 0;
}

static int check_kind(const struct root *root, enum root_kind kind, struct wal_error *err)
{
	const struct wal_options *opts = &root->env->opts;

	if (kind == ROOT_FOREIGN)
		return error_set(err, -ENOTEMPTY, root->path, "'%s' is not empty and is no store: it holds no stream and no LOCK file of one",
				 root->path);
	if (kind == ROOT_EMPTY && (opts->ro || opts->no_create))
		return error_set(err, -ENOENT, root->path, "'%s' is empty: there is no store in it", root->path);
	return 0;
}

static int lock(struct root *root)
{
	struct env *env = root->env;
	int result = env->sys->flock(env->sys, root->lock_fd, LOCK_EX | LOCK_NB);

	for (uint32_t waited = 0; result == -EWOULDBLOCK && waited < env->opts.lock_wait_ms; waited += LOCK_POLL_MS) {
		usleep(LOCK_POLL_MS * 1000);
		result = env->sys->flock(env->sys, root->lock_fd, LOCK_EX | LOCK_NB);
	}
	return result;
}

static int refuse_locked(const struct root *root, struct wal_error *err)
{
	char text[LOCK_BYTES + 1];
	pid_t pid = read_lock(root->env, text) == 0 ? (pid_t)strtol(text, NULL, 10) : 0;

	error_set(err, -EBUSY, NAME_LOCK, "'%s' is open for writing by process %ld", root->path, (long)pid);
	if (err)
		err->pid = pid;
	return -EBUSY;
}

/* The lines are always of the same length, so that they need no room when the disk is full, and the third stays when the first is written. */
static size_t format_lock(char text[LOCK_BYTES + 1])
{
	return (size_t)snprintf(text, LOCK_BYTES + 1, "%-10ld\n%s", (long)getpid(), LOCK_TEXT);
}

/* With a checksum: one flipped bit must not keep the store from being opened. */
static int format_shards(char text[LOCK_BYTES + 1], uint32_t shards)
{
	int n = snprintf(text, LOCK_BYTES + 1, LOCK_SHARDS "%" PRIu32, shards);

	return snprintf(text, LOCK_BYTES + 1, LOCK_SHARDS "%-5" PRIu32 " %08" PRIx32 "\n", shards, crc32_update(0, text, (size_t)n));
}

int root_record_shards(struct root *root, uint32_t shards)
{
	struct env *env = root->env;
	char text[LOCK_BYTES + 1];
	size_t offset = format_lock(text);
	int n = format_shards(text, shards);
	int result = sys_pwrite_full(env->sys, root->lock_fd, text, (size_t)n, offset);

	if (result == 0)
		result = env->sys->fdatasync(env->sys, root->lock_fd);
	if (result == 0)
		root->shards = shards;
	return result;
}

static void read_shards(struct root *root)
{
	char text[LOCK_BYTES + 1], again[LOCK_BYTES + 1];
	const char *line;

	if (read_lock(root->env, text) != 0 || !(line = strstr(text, LOCK_TEXT LOCK_SHARDS)))
		return;
	line += strlen(LOCK_TEXT);
	unsigned long shards = strtoul(line + strlen(LOCK_SHARDS), NULL, 10);
	if (shards <= UINT16_MAX) {
		int n = format_shards(again, (uint32_t)shards);

		if (strncmp(line, again, (size_t)n) == 0)
			root->shards = (uint32_t)shards;
	}
}

/* Or, where nothing can be written, makes it read-only. */
static int take_lock(struct root *root, enum root_kind kind, struct wal_error *err)
{
	struct env *env = root->env;
	char text[LOCK_BYTES + 1];

	int fd = sys_open_regular(env->sys, env->root_fd, NAME_LOCK, O_RDWR | O_CREAT, 0600);
	if (kind == ROOT_STORE && (fd == -EROFS || fd == -EACCES || fd == -EPERM)) {
		log_write(&env->log, WAL_LOG_WARNING, "'%s' is opened for reading only: %s", root->path, wal_strerror(fd));
		env->opts.ro = true;
		return 0;
	}
	if (fd < 0)
		return error_set(err, fd, NAME_LOCK, "'%s': cannot open its LOCK file for writing: %s", root->path, wal_strerror(fd));
	root->lock_fd = fd;
	int result = lock(root);
	if (result == -EWOULDBLOCK)
		return refuse_locked(root, err);
	if (result < 0)
		return error_set(err, result, NAME_LOCK, "'%s': cannot lock its LOCK file: %s", root->path, wal_strerror(result));
	result = sys_pwrite_full(env->sys, fd, text, format_lock(text), 0);
	if (result < 0) {
		/* Half of it would make the directory neither a store nor empty. */
		if (kind == ROOT_EMPTY)
			env->sys->ftruncate(env->sys, fd, 0);
		return error_set(err, result, NAME_LOCK, "'%s': cannot write its LOCK file: %s", root->path, wal_strerror(result));
	}
	return 0;
}

int root_open(struct root *root, struct env *env, const char *path, struct wal_error *err)
{
	struct survey survey;

	*root = (struct root){ .env = env, .path = path, .lock_fd = -1 };
	int result = open_directory(root, err);
	if (result == 0)
		result = list(&survey, root, err);
	if (result < 0)
		return result;
	enum root_kind kind = classify(&survey);
	root->fresh = kind == ROOT_EMPTY;
	read_shards(root);
	result = check_kind(root, kind, err);
	if (result < 0 || env->opts.ro)
		return result;
	result = take_lock(root, kind, err);
	/* What LOCK says makes the directory a store, so it must be there before anything else is. */
	if (result == 0 && root->fresh)
		result = env->sys->fsync(env->sys, root->lock_fd);
	if (result == 0 && root->fresh)
		result = env->sys->fsync(env->sys, env->root_fd);
	if (result < 0 && err && err->code != result)
		error_set(err, result, path, "'%s': cannot make the new store durable: %s", path, wal_strerror(result));
	/* What counts is what is there under the lock: someone may have made streams until then. */
	return result < 0 ? result : list(&survey, root, err);
}

void root_close(struct root *root)
{
	struct sys *sys = root->env->sys;

	root_forget_dirs(root);
	sys_close(sys, &root->env->root_fd);
	sys_close(sys, &root->lock_fd);
}
