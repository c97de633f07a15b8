/* SPDX-License-Identifier: Apache-2.0 */
#include "sleeper.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Bits of the word. */
enum {
	TOLD = 1,
	ENDED = 2,
	ASLEEP = 4, /* in the kernel, or on the way there: only then it costs a system call to wake it */
};

void sleeper_init(struct sleeper *s)
{
	atomic_init(&s->word, 0);
}

/* Only the address counts: there may be something else by now, which is woken for nothing then, as anyone who waits has to expect. */
static void wake(struct sleeper *s)
{
	syscall(SYS_futex, &s->word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

void sleeper_tell(struct sleeper *s)
{
	/* Who told it first wakes it. */
	if (atomic_fetch_or_explicit(&s->word, TOLD, memory_order_release) == ASLEEP)
		wake(s);
}

void sleeper_end(struct sleeper *s)
{
	if (atomic_exchange_explicit(&s->word, ENDED, memory_order_acq_rel) & ASLEEP)
		wake(s);
}

/* Until the word is not ASLEEP any more, or the time has come. */
static int sleep_until(struct sleeper *s, uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u) };

	/* This one takes the time as such, of CLOCK_MONOTONIC. */
	if (syscall(SYS_futex, &s->word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, ASLEEP, until_ns ? &until : NULL, NULL, FUTEX_BITSET_MATCH_ANY) < 0)
		return errno;
	return 0;
}

enum sleeper_news sleeper_wait(struct sleeper *s, uint64_t until_ns)
{
	unsigned word = 0;

	if (atomic_compare_exchange_strong_explicit(&s->word, &word, ASLEEP, memory_order_acquire, memory_order_acquire)) {
		int error;

		do {
			error = sleep_until(s, until_ns);
			word = atomic_load_explicit(&s->word, memory_order_acquire);
		} while (word == ASLEEP && error != ETIMEDOUT);
	}
	if (word & ENDED)
		return SLEEPER_ENDED;
	/* What it was told until now, it is told by this. */
	word = atomic_fetch_and_explicit(&s->word, ~(unsigned)(TOLD | ASLEEP), memory_order_acquire);
	return word & ENDED ? SLEEPER_ENDED : word & TOLD ? SLEEPER_TOLD : SLEEPER_TIMEOUT;
}
