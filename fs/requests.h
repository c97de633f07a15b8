/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests the kernel has sent, and with which errors they were answered. Counted without a lock, by any thread. */
#ifndef WALFS_REQUESTS_H
#define WALFS_REQUESTS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

/* As they are called in struct fuse_lowlevel_ops; "forget" are messages, which may be about many nodes. */
#define REQUESTS(X) \
	X(LOOKUP, "lookup") \
	X(FORGET, "forget") \
	X(GETATTR, "getattr") \
	X(SETATTR, "setattr") \
	X(ACCESS, "access") \
	X(READLINK, "readlink") \
	X(MKDIR, "mkdir") \
	X(RMDIR, "rmdir") \
	X(MKNOD, "mknod") \
	X(CREATE, "create") \
	X(UNLINK, "unlink") \
	X(SYMLINK, "symlink") \
	X(LINK, "link") \
	X(RENAME, "rename") \
	X(OPEN, "open") \
	X(OPENDIR, "opendir") \
	X(READ, "read") \
	X(POLL, "poll") \
	X(WRITE, "write") \
	X(FLUSH, "flush") \
	X(FSYNC, "fsync") \
	X(READDIR, "readdir") \
	X(READDIRPLUS, "readdirplus") \
	X(RELEASE, "release") \
	X(STATFS, "statfs")

enum request {
#define REQUEST_NUMBER(constant, name) REQUEST_##constant,
	REQUESTS(REQUEST_NUMBER)
#undef REQUEST_NUMBER
	REQUEST_KINDS
};

enum {
	REQUEST_ERRORS = 134, /* errno values there are on Linux; larger ones count as the last */
};

struct requests {
	atomic_ullong counts[REQUEST_KINDS];
	atomic_ullong errors[REQUEST_ERRORS];
};

static inline void requests_count(struct requests *requests, enum request kind)
{
	atomic_fetch_add_explicit(&requests->counts[kind], 1, memory_order_relaxed);
}

/* `error` > 0. */
static inline void requests_count_error(struct requests *requests, int error)
{
	atomic_fetch_add_explicit(&requests->errors[error < REQUEST_ERRORS ? error : REQUEST_ERRORS - 1], 1, memory_order_relaxed);
}

/* As the text of two metrics. Errors that there were none of are not in it. */
void requests_put(struct requests *requests, FILE *out);

#endif
