/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release of locks and memory, and container_of. */
#ifndef WAL_CLEANUP_H
#define WAL_CLEANUP_H

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Freed when the variable goes out of scope; hand it on with steal_ptr(). */
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))

#define steal_ptr(var)                      \
	({                                  \
		__typeof__(var) p_ = (var); \
		(var) = NULL;               \
		p_;                         \
	})

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	return mutex;
}

static inline void cleanup_unlock(pthread_mutex_t **mutex)
{
	pthread_mutex_unlock(*mutex);
}

/* Holds `mutex` from here to the end of the enclosing scope. */
#define LOCKED_SCOPE(mutex) __attribute__((cleanup(cleanup_unlock), unused)) pthread_mutex_t *scope_lock_ = cleanup_lock(mutex)

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
