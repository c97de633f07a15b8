/* SPDX-License-Identifier: Apache-2.0 */
#include "txns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool find(const struct txns *txns, uint64_t number, size_t *ret_index)
{
	for (size_t i = txns->count; i-- > 0;) {
		if (txns->txns[i].number == number) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

struct open_txn txns_take(struct txns *txns, size_t index)
{
	struct open_txn taken = txns->txns[index];

	txns->count--;
	memmove(&txns->txns[index], &txns->txns[index + 1], (txns->count - index) * sizeof(taken));
	return taken;
}

int txns_begin(struct txns *txns, uint64_t number, uint64_t begin, struct open_txn *ret_dropped, size_t *ret_drops)
{
	bool drops = txns->count == TXNS_OPEN_MAX;
	size_t index = 0;

	if (txns->count == txns->capacity && !drops) {
		size_t capacity = txns->capacity ? 2 * txns->capacity : 8;
		struct open_txn *grown = reallocarray(txns->txns, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		txns->txns = grown;
		txns->capacity = capacity;
	}
	/* Who begins the same again knows nothing of the first. */
	drops |= find(txns, number, &index);
	if (drops)
		*ret_dropped = txns_take(txns, index);
	*ret_drops = drops;
	txns->txns[txns->count++] = (struct open_txn){ .number = number, .begin = begin };
	return 0;
}

bool txns_end(struct txns *txns, uint64_t number, struct open_txn *ret)
{
	size_t index;

	if (!find(txns, number, &index))
		return false;
	*ret = txns_take(txns, index);
	return true;
}

struct open_txn *txns_top(struct txns *txns)
{
	return txns->count ? &txns->txns[txns->count - 1] : NULL;
}

void txns_release(struct txns *txns)
{
	free(txns->txns);
	*txns = (struct txns){ 0 };
}
