/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that waits for something of its own, and those that wake it. A condition variable would make it take a lock again, only to see what it was woken for; of many that are woken together
 * each would wait for that lock.
 */
#ifndef WAL_SLEEPER_H
#define WAL_SLEEPER_H

#include <stdatomic.h>
#include <stdint.h>

struct sleeper {
	atomic_uint word;
};

enum sleeper_news {
	SLEEPER_TOLD,	 /* there is something to look at */
	SLEEPER_ENDED,	 /* nobody else knows the sleeper any more */
	SLEEPER_TIMEOUT,
};

void sleeper_init(struct sleeper *s);

/* Wakes it, once for all that it has been told since it last looked. */
void sleeper_tell(struct sleeper *s);

/* Wakes it for the last time. It may be gone when this returns: whoever calls it has read before what it wanted of what is around it. */
void sleeper_end(struct sleeper *s);

/* Waits until it is told something, or ended, or the clock of stats_clock() says `until_ns`; 0: for as long as that takes. */
enum sleeper_news sleeper_wait(struct sleeper *s, uint64_t until_ns);

#endif
