/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* The call's result or -errno, and again after a signal. */
#define RETRY(call)                                         \
	({                                                  \
		__typeof__(call) r_;                        \
		do                                          \
			r_ = (call);                        \
		while (r_ < 0 && errno == EINTR);           \
		r_ < 0 ? (__typeof__(call))-errno : r_;     \
	})

static int real_openat(struct sys *sys UNUSED, int dirfd, const char *name, int flags, mode_t mode)
{
	/* The root's own path is the user's and may lead over symlinks; below it none is followed. */
	if (dirfd != AT_FDCWD)
		flags |= O_NOFOLLOW;
	return RETRY(openat(dirfd, name, flags | O_CLOEXEC, mode));
}

static int real_close(struct sys *sys UNUSED, int fd)
{
	/* Not retried: after EINTR the descriptor is gone, and its number may already be another thread's. */
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t real_pread(struct sys *sys UNUSED, int fd, void *data, size_t size, uint64_t offset)
{
	return RETRY(pread(fd, data, size, (off_t)offset));
}

static ssize_t real_pwritev(struct sys *sys UNUSED, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	/* One piece is what the kernel takes fastest this way. */
	if (count == 1)
		return RETRY(pwrite(fd, iov->iov_base, iov->iov_len, (off_t)offset));
	return RETRY(pwritev(fd, iov, count, (off_t)offset));
}

static int real_fallocate(struct sys *sys UNUSED, int fd, uint64_t offset, uint64_t size)
{
	return RETRY(fallocate(fd, 0, (off_t)offset, (off_t)size));
}

static int real_ftruncate(struct sys *sys UNUSED, int fd, uint64_t size)
{
	return RETRY(ftruncate(fd, (off_t)size));
}

static int real_fsync(struct sys *sys UNUSED, int fd)
{
	return RETRY(fsync(fd));
}

static int real_fdatasync(struct sys *sys UNUSED, int fd)
{
	return RETRY(fdatasync(fd));
}

static int real_renameat(struct sys *sys UNUSED, int dirfd, const char *from, const char *to)
{
	return RETRY(renameat(dirfd, from, dirfd, to));
}

static int real_unlinkat(struct sys *sys UNUSED, int dirfd, const char *name, int flags)
{
	return RETRY(unlinkat(dirfd, name, flags));
}

static int real_mkdirat(struct sys *sys UNUSED, int dirfd, const char *name, mode_t mode)
{
	return RETRY(mkdirat(dirfd, name, mode));
}

static int real_fstat(struct sys *sys UNUSED, int fd, struct stat *ret)
{
	return RETRY(fstat(fd, ret));
}

static int real_fstatat(struct sys *sys UNUSED, int dirfd, const char *name, struct stat *ret)
{
	return RETRY(fstatat(dirfd, name, ret, AT_SYMLINK_NOFOLLOW));
}

static int real_fstatvfs(struct sys *sys UNUSED, int fd, struct statvfs *ret)
{
	return RETRY(fstatvfs(fd, ret));
}

static int real_flock(struct sys *sys UNUSED, int fd, int operation)
{
	return RETRY(flock(fd, operation));
}

static ssize_t real_getdents(struct sys *sys UNUSED, int fd, void *buf, size_t size)
{
	return RETRY(syscall(SYS_getdents64, fd, buf, size));
}

static int real_mmap(struct sys *sys UNUSED, int fd, size_t size, void **ret)
{
	void *addr = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (addr == MAP_FAILED)
		return -errno;
	*ret = addr;
	return 0;
}

static int real_munmap(struct sys *sys UNUSED, void *addr, size_t size)
{
	return munmap(addr, size) < 0 ? -errno : 0;
}

static void real_unload(struct sys *sys UNUSED, void *addr, size_t size)
{
	/* Only advice: else they stay. */
	(void)madvise(addr, size, MADV_DONTNEED);
}

/* For file systems without O_TMPFILE: a name for as long as it takes to unlink it. */
static int tmpfile_named(int dirfd)
{
	enum { TRIES_MAX = 1000 };
	char name[64];
	int fd = -EEXIST;

	for (int i = 0; i < TRIES_MAX && fd == -EEXIST; i++) {
		snprintf(name, sizeof(name), ".walfs-spill-%ld-%d", (long)getpid(), i);
		fd = RETRY(openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
	}
	if (fd < 0)
		return fd;
	if (unlinkat(dirfd, name, 0) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int tmpfile_anywhere(void)
{
	const char *dir = secure_getenv("TMPDIR");
	int fd = RETRY(open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));

	return fd >= 0 ? fd : RETRY(memfd_create("walfs-spill", MFD_CLOEXEC));
}

static int real_tmpfile(struct sys *sys UNUSED, int dirfd)
{
	int fd;

	if (dirfd == -1)
		return tmpfile_anywhere();
	fd = RETRY(openat(dirfd, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
	/* EISDIR and ENOENT come from kernels and file systems that do not know the flag. */
	return fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT ? tmpfile_named(dirfd) : fd;
}

static void real_forget(struct sys *sys UNUSED, int fd, uint64_t offset)
{
	/* Only advice: where it is not taken, what was in memory is believed. */
	(void)posix_fadvise(fd, (off_t)offset, 0, POSIX_FADV_DONTNEED);
}

static int64_t real_now(struct sys *sys UNUSED)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct sys *sys_real(void)
{
	/* Not const only because callers may pass tables of their own that are not. */
	static struct sys real = {
		.openat = real_openat,
		.close = real_close,
		.pread = real_pread,
		.pwritev = real_pwritev,
		.fallocate = real_fallocate,
		.ftruncate = real_ftruncate,
		.fsync = real_fsync,
		.fdatasync = real_fdatasync,
		.renameat = real_renameat,
		.unlinkat = real_unlinkat,
		.mkdirat = real_mkdirat,
		.fstat = real_fstat,
		.fstatat = real_fstatat,
		.fstatvfs = real_fstatvfs,
		.flock = real_flock,
		.getdents = real_getdents,
		.mmap = real_mmap,
		.munmap = real_munmap,
		.unload = real_unload,
		.tmpfile = real_tmpfile,
		.now = real_now,
		.forget = real_forget,
	};

	return &real;
}

ssize_t sys_pread_full(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = sys->pread(sys, fd, (uint8_t *)data + done, size - done, offset + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Takes `n` written bytes, and what is empty then, off the front of the vector. */
static void iov_advance(struct iovec **iov, int *count, size_t n)
{
	while (*count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

int sys_pwritev_full(struct sys *sys, int fd, struct iovec *iov, int count, uint64_t offset)
{
	iov_advance(&iov, &count, 0);
	while (count > 0) {
		ssize_t n = sys->pwritev(sys, fd, iov, count < IOV_MAX ? count : IOV_MAX, offset);
		if (n < 0)
			return (int)n;
		/* Nothing written and no reason given: going on could go on for ever. */
		if (n == 0)
			return -EIO;
		offset += (uint64_t)n;
		iov_advance(&iov, &count, (size_t)n);
	}
	return 0;
}

int sys_pwrite_rest(struct sys *sys, int fd, const void *data, size_t size, uint64_t offset, ssize_t done)
{
	if (done <= 0)
		return done < 0 ? (int)done : -EIO;
	struct iovec iov = { .iov_base = (uint8_t *)data + done, .iov_len = size - (size_t)done };

	return sys_pwritev_full(sys, fd, &iov, 1, offset + (uint64_t)done);
}

/* The entries of one getdents buffer. */
static int visit_buffer(const uint8_t *buf, size_t size, int (*visit)(void *, const char *, unsigned char), void *arg)
{
	for (size_t at = 0; at < size;) {
		const struct dirent64 *entry = (const struct dirent64 *)(buf + at);
		const char *name = entry->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			int r = visit(arg, name, entry->d_type);
			if (r != 0)
				return r;
		}
		at += entry->d_reclen;
	}
	return 0;
}

int sys_list_once(struct sys *sys, int dirfd, int (*visit)(void *arg, const char *name, unsigned char type), void *arg)
{
	_Alignas(struct dirent64) uint8_t buf[32 * 1024];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = sys->getdents(sys, dirfd, buf, sizeof(buf))) != 0)
		r = n < 0 ? (int)n : visit_buffer(buf, (size_t)n, visit, arg);
	return r;
}

int sys_list(struct sys *sys, int dirfd, int (*visit)(void *arg, const char *name, unsigned char type), void *arg)
{
	int r;
	/* A descriptor of its own: the position of `dirfd` belongs to all its users and may be at the end. */
	int fd = sys->openat(sys, dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd;
	r = sys_list_once(sys, fd, visit, arg);
	sys_close(sys, &fd);
	return r;
}

int sys_open_regular(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	struct stat st;

	return sys_open_regular_stat(sys, dirfd, name, flags, mode, &st);
}

int sys_open_regular_stat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode, struct stat *ret)
{
	/* O_NONBLOCK: the open of a FIFO must not wait for its other end. */
	int fd = sys->openat(sys, dirfd, name, flags | O_NOFOLLOW | O_NONBLOCK, mode);
	int r;

	if (fd < 0)
		return fd == -ENXIO ? -EINVAL : fd;
	r = sys->fstat(sys, fd, ret);
	if (r == 0 && !S_ISREG(ret->st_mode))
		r = S_ISDIR(ret->st_mode) ? -EISDIR : -EINVAL;
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	return fd;
}

int sys_read_file(struct sys *sys, int dirfd, const char *name, void *data, size_t size_max, size_t *ret_size)
{
	uint8_t beyond;
	ssize_t n, more = 0;
	int fd = sys_open_regular(sys, dirfd, name, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	n = sys_pread_full(sys, fd, data, size_max, 0);
	if (n == (ssize_t)size_max)
		more = sys_pread_full(sys, fd, &beyond, 1, size_max);
	sys_close(sys, &fd);
	if (n < 0 || more < 0)
		return (int)(n < 0 ? n : more);
	if (more > 0)
		return -EFBIG;
	*ret_size = (size_t)n;
	return 0;
}

/* A file `name` with just these bytes, on stable storage. */
static int write_synced(struct sys *sys, int dirfd, const char *name, mode_t mode, const void *data, size_t size)
{
	int fd = sys_open_regular(sys, dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, mode);
	int r, r_close;

	if (fd < 0)
		return fd;
	r = sys_pwrite_full(sys, fd, data, size, 0);
	if (r == 0)
		r = sys->fsync(sys, fd);
	r_close = sys->close(sys, fd);
	return r < 0 ? r : r_close;
}

int sys_replace_file(struct sys *sys, int dirfd, const char *name, mode_t mode, const void *data, size_t size)
{
	char tmp[NAME_MAX + 1];
	int n = snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	int r;

	if (n < 0 || (size_t)n >= sizeof(tmp))
		return -ENAMETOOLONG;
	r = write_synced(sys, dirfd, tmp, mode, data, size);
	if (r == 0)
		r = sys->renameat(sys, dirfd, tmp, name);
	if (r < 0) {
		/* One that stays is only litter: the next replacement truncates it. */
		(void)sys->unlinkat(sys, dirfd, tmp, 0);
		return r;
	}
	return sys->fsync(sys, dirfd);
}

void sys_close(struct sys *sys, int *fd)
{
	if (*fd >= 0)
		(void)sys->close(sys, *fd);
	*fd = -1;
}

int64_t sys_mtime_ns(const struct stat *st)
{
	const int64_t second = 1000000000;

	if (st->st_mtim.tv_sec < 0)
		return 0;
	if (st->st_mtim.tv_sec >= INT64_MAX / 2 / second)
		return INT64_MAX / 2;
	return (int64_t)st->st_mtim.tv_sec * second + st->st_mtim.tv_nsec;
}
