/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real system calls behind a counter that lets a chosen one fail. A sweep fails the first call, then the second … until a run meets no fault:
 *
 *	for (unsigned n = 1; ; n++) {
 *		faultsys_fail(&f, FAULT_ANY, n, EIO);
 *		… the operation with &f.sys, and what must hold after it, failed or not …
 *		if (!faultsys_hit(&f))
 *			break;
 *	}
 *
 * Safe for several threads.
 */
#ifndef FAULTSYS_H
#define FAULTSYS_H

#include <pthread.h>
#include <stdbool.h>

#include "sys.h"

enum fault_call {
	FAULT_OPENAT,
	FAULT_CLOSE,
	FAULT_PREAD,
	FAULT_PWRITEV,
	FAULT_FALLOCATE,
	FAULT_FTRUNCATE,
	FAULT_FSYNC,
	FAULT_FDATASYNC,
	FAULT_RENAMEAT,
	FAULT_UNLINKAT,
	FAULT_MKDIRAT,
	FAULT_FSTAT,
	FAULT_FSTATAT,
	FAULT_FSTATVFS,
	FAULT_FLOCK,
	FAULT_GETDENTS,
	FAULT_MMAP,
	FAULT_MUNMAP,
	FAULT_TMPFILE,
	FAULT_CALLS,
	FAULT_ANY = FAULT_CALLS, /* now() is never failed nor counted: it cannot */
};

struct faultsys {
	struct sys sys; /* what the code under test gets */
	struct sys *real;
	pthread_mutex_t lock;
	/* protected by lock */
	unsigned counts[FAULT_CALLS];
	long open_fds; /* opened through the table and not closed */
	long mapped;   /* mappings likewise */
	enum fault_call call;
	unsigned countdown; /* 0: nothing armed */
	int error;
	unsigned hits;
	bool sticky;	  /* once hit, every further matching call fails too */
	bool short_write; /* a pwritev that is hit writes half of it and says so; the next one fails */
	bool tear_next;
};

void faultsys_init(struct faultsys *f);
/* Arms: the `nth` (1: next) call of kind `call` from now on fails with the errno `error`. 0 for nth disarms. Clears hits, sticky and short_write. */
void faultsys_fail(struct faultsys *f, enum fault_call call, unsigned nth, int error);
/* True if the armed fault has come up. */
bool faultsys_hit(struct faultsys *f);
/* Calls of that kind (FAULT_ANY: of all) so far. */
unsigned faultsys_count(struct faultsys *f, enum fault_call call);

#endif
