/* SPDX-License-Identifier: Apache-2.0 */
/* The transactions that are open at one place of a journal, in the order of their begins. */
#ifndef WAL_JOURNAL_TXNS_H
#define WAL_JOURNAL_TXNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One more that is begun ends the oldest: so that a journal of nothing but begins takes no memory without bound. */
enum { TXNS_OPEN_MAX = 1024 };

struct open_txn {
	uint64_t number;
	uint64_t begin;	  /* the entry */
	uint64_t records; /* that belong to it so far */
	bool broken;	  /* something of it may be missing */
};

/* Begin with all-zero, end with txns_release(). */
struct txns {
	struct open_txn *txns; /* the last one begun is the last */
	size_t count;
	size_t capacity;
};

/* Begins one. One that ends by it without effect is put into *ret_dropped: *ret_drops is 1 then, else 0. -ENOMEM. */
int txns_begin(struct txns *txns, uint64_t number, uint64_t begin, struct open_txn *ret_dropped, size_t *ret_drops);

/* Takes the one of that number out. False if there is none. */
bool txns_end(struct txns *txns, uint64_t number, struct open_txn *ret);

/* Takes out the one at `index`. */
struct open_txn txns_take(struct txns *txns, size_t index);

/* The one that a record at this place belongs to; NULL: to none. */
struct open_txn *txns_top(struct txns *txns);

void txns_release(struct txns *txns);

#endif
