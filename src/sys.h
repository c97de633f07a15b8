/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of the engine, in one table, so that a test can fail, tear, delay, record or forget each of them.
 *
 * A call returns its result, or a negative errno; EINTR is retried below the table. Tests embed struct sys in a struct of their own, and find it again by
 * container_of(). Paths are always relative to a directory's descriptor and one component long (save the root's own), opened with O_NOFOLLOW | O_CLOEXEC.
 */
#ifndef WAL_SYS_H
#define WAL_SYS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sys {
	int (*openat)(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode);
	int (*close)(struct sys *sys, int fd);
	ssize_t (*pread)(struct sys *sys, int fd, void *data, size_t size, uint64_t offset);
	ssize_t (*pwritev)(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset);
	int (*fallocate)(struct sys *sys, int fd, uint64_t offset, uint64_t size);
	int (*ftruncate)(struct sys *sys, int fd, uint64_t size);
	int (*fsync)(struct sys *sys, int fd);
	int (*fdatasync)(struct sys *sys, int fd);
	int (*renameat)(struct sys *sys, int dirfd, const char *from, const char *to); /* within one directory */
	int (*unlinkat)(struct sys *sys, int dirfd, const char *name, int flags);
	int (*mkdirat)(struct sys *sys, int dirfd, const char *name, mode_t mode);
	int (*fstat)(struct sys *sys, int fd, struct stat *ret);
	int (*fstatat)(struct sys *sys, int dirfd, const char *name, struct stat *ret); /* does not follow a symlink */
	int (*fstatvfs)(struct sys *sys, int fd, struct statvfs *ret);
	int (*flock)(struct sys *sys, int fd, int operation);
	ssize_t (*getdents)(struct sys *sys, int fd, void *buf, size_t size); /* getdents64(2) */
	int (*mmap)(struct sys *sys, int fd, size_t size, void **ret);	      /* from offset 0, shared, read-only */
	int (*munmap)(struct sys *sys, void *addr, size_t size);
	void (*unload)(struct sys *sys, void *addr, size_t size); /* the pages of a map leave the process until they are looked at again; NULL: they can't */
	int (*tmpfile)(struct sys *sys, int dirfd); /* an unlinked file for reading and writing in `dirfd`; -1 for dirfd: anywhere but in a store */
	int64_t (*now)(struct sys *sys);	    /* nanoseconds of Unix time */
	void (*forget)(struct sys *sys, int fd, uint64_t offset); /* what is cached of the file from there on and not dirty is read anew; NULL: no cache */
};

/* The real ones. The table is constant and shared. */
struct sys *sys_real(void);

/* Reads until `size` bytes or the end of the file; returns how many. */
ssize_t sys_pread_full(struct sys *sys, int fd, void *data, size_t size, uint64_t offset);

/* Writes all of `iov` (which it changes), going on after short writes. On failure some of it may be in the file. */
int sys_pwritev_full(struct sys *sys, int fd, struct iovec *iov, int count, uint64_t offset);

/* Goes on with a write of which `done` (perhaps a negative errno) is known. */
int sys_pwrite_rest(struct sys *sys, int fd, const void *data, size_t size, uint64_t offset, ssize_t done);

/* The same of one piece. Mostly the first call writes all, so that is inline: each function less to return through counts when the kernel has just emptied the processor's return stack. */
static inline int sys_pwrite_full(struct sys *sys, int fd, const void *data, size_t size, uint64_t offset)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
	ssize_t done = size > 0 ? sys->pwritev(sys, fd, &iov, 1, offset) : 0;

	return done == (ssize_t)size ? 0 : sys_pwrite_rest(sys, fd, data, size, offset, done);
}

/* Calls `visit` with each name in the directory but "." and "..", and its d_type (DT_UNKNOWN is possible); a non-zero result ends it and is returned. */
int sys_list(struct sys *sys, int dirfd, int (*visit)(void *arg, const char *name, unsigned char type), void *arg);

/* The same through a descriptor that nobody has listed the directory by yet: once, for a system call or two less. */
int sys_list_once(struct sys *sys, int dirfd, int (*visit)(void *arg, const char *name, unsigned char type), void *arg);

/*
 * The whole of a small regular file: up to `size_max` bytes into `data`, *ret_size of them. -ENOENT; -EFBIG if it is larger; -EISDIR, -ELOOP or -EINVAL if it is not a
 * regular file.
 */
int sys_read_file(struct sys *sys, int dirfd, const char *name, void *data, size_t size_max, size_t *ret_size);

/*
 * Puts `size` bytes in place of file `name`, durably: NAME.tmp is written and fsynced, renamed over NAME, the directory fsynced. A crash leaves the old or
 * the new content, and perhaps a NAME.tmp. A failure before the rename removes NAME.tmp and leaves the old content.
 */
int sys_replace_file(struct sys *sys, int dirfd, const char *name, mode_t mode, const void *data, size_t size);

/* Opens a regular file with O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK and `flags`; -EINVAL (-ELOOP, -EISDIR) if it is anything else. */
int sys_open_regular(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode);

/* The same, and what fstat(2) says of it. */
int sys_open_regular_stat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode, struct stat *ret);

/* st_mtim in nanoseconds of Unix time, held between 0 and half of what fits: a file's time can be set to anything. */
int64_t sys_mtime_ns(const struct stat *st);

/* Closes *fd unless it is < 0, and makes it -1. */
void sys_close(struct sys *sys, int *fd);

#endif
