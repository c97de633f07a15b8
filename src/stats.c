/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <time.h>

enum { FIRST_BOUND_NS = 1000 };

uint64_t wal_histogram_bound_ns(unsigned class)
{
	return class + 1 < WAL_HISTOGRAM_CLASSES ? (uint64_t)FIRST_BOUND_NS << class : UINT64_MAX;
}

uint64_t stats_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void stats_took(struct stats_histogram *h, uint64_t begin_ns)
{
	uint64_t took = stats_clock() - begin_ns;
	unsigned class = 0;

	while (took > wal_histogram_bound_ns(class))
		class++;
	stats_add(&h->classes[class], 1);
	stats_add(&h->sum_ns, took);
}

void stats_read_histogram(const struct stats_histogram *h, struct wal_histogram *ret)
{
	for (unsigned i = 0; i < WAL_HISTOGRAM_CLASSES; i++)
		ret->classes[i] = stats_get(&h->classes[i]);
	ret->sum_ns = stats_get(&h->sum_ns);
}
