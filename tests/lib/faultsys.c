/* SPDX-License-Identifier: Apache-2.0 */
#include "faultsys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

static struct faultsys *from_sys(struct sys *sys)
{
	return container_of(sys, struct faultsys, sys);
}

/* Counts the call; 0, or the negative errno that it shall return. */
static int visit(struct sys *sys, enum fault_call call)
{
	struct faultsys *f = from_sys(sys);
	LOCKED_SCOPE(&f->lock);

	f->counts[call]++;
	if (f->call != FAULT_ANY && f->call != call)
		return 0;
	if (f->hits && f->sticky) {
		f->hits++;
		return -f->error;
	}
	if (f->countdown == 0 || --f->countdown > 0)
		return 0;
	f->hits++;
	return -f->error;
}

static void account(struct sys *sys, long fds, long mappings)
{
	struct faultsys *f = from_sys(sys);
	LOCKED_SCOPE(&f->lock);

	f->open_fds += fds;
	f->mapped += mappings;
}

static int fault_openat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	int r = visit(sys, FAULT_OPENAT);

	if (r < 0)
		return r;
	r = from_sys(sys)->real->openat(from_sys(sys)->real, dirfd, name, flags, mode);
	if (r >= 0)
		account(sys, 1, 0);
	return r;
}

static int fault_fallocate(struct sys *sys, int fd, uint64_t offset, uint64_t size)
{
	int r = visit(sys, FAULT_FALLOCATE);

	return r < 0 ? r : from_sys(sys)->real->fallocate(from_sys(sys)->real, fd, offset, size);
}

static ssize_t fault_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	ssize_t r = visit(sys, FAULT_PREAD);

	return r < 0 ? r : from_sys(sys)->real->pread(from_sys(sys)->real, fd, data, size, offset);
}

static int fault_ftruncate(struct sys *sys, int fd, uint64_t size)
{
	int r = visit(sys, FAULT_FTRUNCATE);

	return r < 0 ? r : from_sys(sys)->real->ftruncate(from_sys(sys)->real, fd, size);
}

static int fault_fsync(struct sys *sys, int fd)
{
	int r = visit(sys, FAULT_FSYNC);

	return r < 0 ? r : from_sys(sys)->real->fsync(from_sys(sys)->real, fd);
}

static int fault_fdatasync(struct sys *sys, int fd)
{
	int r = visit(sys, FAULT_FDATASYNC);

	return r < 0 ? r : from_sys(sys)->real->fdatasync(from_sys(sys)->real, fd);
}

static int fault_renameat(struct sys *sys, int dirfd, const char *from, const char *to)
{
	int r = visit(sys, FAULT_RENAMEAT);

	return r < 0 ? r : from_sys(sys)->real->renameat(from_sys(sys)->real, dirfd, from, to);
}

static int fault_unlinkat(struct sys *sys, int dirfd, const char *name, int flags)
{
	int r = visit(sys, FAULT_UNLINKAT);

	return r < 0 ? r : from_sys(sys)->real->unlinkat(from_sys(sys)->real, dirfd, name, flags);
}

static int fault_mkdirat(struct sys *sys, int dirfd, const char *name, mode_t mode)
{
	int r = visit(sys, FAULT_MKDIRAT);

	return r < 0 ? r : from_sys(sys)->real->mkdirat(from_sys(sys)->real, dirfd, name, mode);
}

static int fault_fstat(struct sys *sys, int fd, struct stat *ret)
{
	int r = visit(sys, FAULT_FSTAT);

	return r < 0 ? r : from_sys(sys)->real->fstat(from_sys(sys)->real, fd, ret);
}

static int fault_fstatat(struct sys *sys, int dirfd, const char *name, struct stat *ret)
{
	int r = visit(sys, FAULT_FSTATAT);

	return r < 0 ? r : from_sys(sys)->real->fstatat(from_sys(sys)->real, dirfd, name, ret);
}

static int fault_fstatvfs(struct sys *sys, int fd, struct statvfs *ret)
{
	int r = visit(sys, FAULT_FSTATVFS);

	return r < 0 ? r : from_sys(sys)->real->fstatvfs(from_sys(sys)->real, fd, ret);
}

static int fault_flock(struct sys *sys, int fd, int operation)
{
	int r = visit(sys, FAULT_FLOCK);

	return r < 0 ? r : from_sys(sys)->real->flock(from_sys(sys)->real, fd, operation);
}

static ssize_t fault_getdents(struct sys *sys, int fd, void *buf, size_t size)
{
	ssize_t r = visit(sys, FAULT_GETDENTS);

	return r < 0 ? r : from_sys(sys)->real->getdents(from_sys(sys)->real, fd, buf, size);
}

static int fault_mmap(struct sys *sys, int fd, size_t size, void **ret)
{
	int r = visit(sys, FAULT_MMAP);

	if (r < 0)
		return r;
	r = from_sys(sys)->real->mmap(from_sys(sys)->real, fd, size, ret);
	if (r == 0)
		account(sys, 0, 1);
	return r;
}

static int fault_tmpfile(struct sys *sys, int dirfd)
{
	int r = visit(sys, FAULT_TMPFILE);

	if (r < 0)
		return r;
	r = from_sys(sys)->real->tmpfile(from_sys(sys)->real, dirfd);
	if (r >= 0)
		account(sys, 1, 0);
	return r;
}

/* As on Linux, the descriptor is gone even if close fails. */
static int fault_close(struct sys *sys, int fd)
{
	int r = visit(sys, FAULT_CLOSE);
	int r_real = from_sys(sys)->real->close(from_sys(sys)->real, fd);

	account(sys, -1, 0);
	return r < 0 ? r : r_real;
}

/* It is gone too: so that a mapping that is left is one that was forgotten. */
static int fault_munmap(struct sys *sys, void *addr, size_t size)
{
	int r = visit(sys, FAULT_MUNMAP);
	int r_real = from_sys(sys)->real->munmap(from_sys(sys)->real, addr, size);

	account(sys, 0, -1);
	return r < 0 ? r : r_real;
}

/* The first half of what the vector holds; the length written, or a negative errno. */
static ssize_t write_half(struct sys *real, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	size_t size = 0, at = 0;
	struct iovec half;
	ssize_t n;
	char *data;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	data = malloc(size + 1);
	if (!data)
		return -ENOMEM;
	for (int i = 0; i < count; at += iov[i++].iov_len)
		memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
	half = (struct iovec){ .iov_base = data, .iov_len = size / 2 };
	n = real->pwritev(real, fd, &half, 1, offset);
	free(data);
	return n;
}

/* After a write that was cut short: the errno of the one that goes on with it. */
static int take_torn(struct faultsys *f)
{
	LOCKED_SCOPE(&f->lock);
	bool torn = f->tear_next;

	f->tear_next = false;
	return torn ? -f->error : 0;
}

static bool shall_tear(struct faultsys *f)
{
	LOCKED_SCOPE(&f->lock);

	f->tear_next = f->short_write;
	return f->short_write;
}

static ssize_t fault_pwritev(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	struct faultsys *f = from_sys(sys);
	int r_torn = take_torn(f);
	int r = visit(sys, FAULT_PWRITEV);

	if (r_torn < 0)
		return r_torn;
	if (r == 0)
		return f->real->pwritev(f->real, fd, iov, count, offset);
	return shall_tear(f) ? write_half(f->real, fd, iov, count, offset) : r;
}

static int64_t fault_now(struct sys *sys)
{
	return from_sys(sys)->real->now(from_sys(sys)->real);
}

void faultsys_init(struct faultsys *f)
{
	*f = (struct faultsys){
		.sys = {
			.openat = fault_openat,
			.close = fault_close,
			.pread = fault_pread,
			.pwritev = fault_pwritev,
			.fallocate = fault_fallocate,
			.ftruncate = fault_ftruncate,
			.fsync = fault_fsync,
			.fdatasync = fault_fdatasync,
			.renameat = fault_renameat,
			.unlinkat = fault_unlinkat,
			.mkdirat = fault_mkdirat,
			.fstat = fault_fstat,
			.fstatat = fault_fstatat,
			.fstatvfs = fault_fstatvfs,
			.flock = fault_flock,
			.getdents = fault_getdents,
			.mmap = fault_mmap,
			.munmap = fault_munmap,
			.tmpfile = fault_tmpfile,
			.now = fault_now,
		},
		.real = sys_real(),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.call = FAULT_ANY,
	};
}

void faultsys_fail(struct faultsys *f, enum fault_call call, unsigned nth, int error)
{
	LOCKED_SCOPE(&f->lock);

	f->call = call;
	f->countdown = nth;
	f->error = error;
	f->hits = 0;
	f->sticky = false;
	f->short_write = false;
	f->tear_next = false;
}

bool faultsys_hit(struct faultsys *f)
{
	LOCKED_SCOPE(&f->lock);

	return f->hits > 0;
}

unsigned faultsys_count(struct faultsys *f, enum fault_call call)
{
	LOCKED_SCOPE(&f->lock);
	unsigned n = 0;

	for (int i = 0; i < FAULT_CALLS; i++)
		n += call == FAULT_ANY || call == (enum fault_call)i ? f->counts[i] : 0;
	return n;
}
