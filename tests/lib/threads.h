/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of many threads. Header only. */
#ifndef THREADS_H
#define THREADS_H

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

/* cmocka's checks jump out of the running test, which a thread can't: what fails there ends the process. */
#define THREAD_CHECK(condition)                                                                         \
	do {                                                                                            \
		if (!(condition)) {                                                                     \
			fprintf(stderr, "%s:%d: '%s' does not hold\n", __FILE__, __LINE__, #condition); \
			abort();                                                                        \
		}                                                                                       \
	} while (0)

/* The same for what returns 0, and says what it returned. */
#define THREAD_CHECK_OK(call)                                                                                   \
	do {                                                                                                    \
		int thread_check_result = (call);                                                               \
		if (thread_check_result != 0) {                                                                 \
			fprintf(stderr, "%s:%d: %s: %d (%s)\n", __FILE__, __LINE__, #call, thread_check_result, \
				wal_strerror(thread_check_result));                                             \
			abort();                                                                                \
		}                                                                                               \
	} while (0)

/* $WALFS_TEST_SEED, or `otherwise`; printed, so that a run can be repeated as far as threads allow. */
static inline uint64_t test_seed(uint64_t otherwise)
{
	const char *value = getenv("WALFS_TEST_SEED");
	uint64_t seed = value && *value ? strtoull(value, NULL, 0) : otherwise;

	print_message("# seed %" PRIu64 "\n", seed);
	return seed;
}

/* Under the thread sanitizer everything takes ten times as long and more. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif
#endif

#endif
