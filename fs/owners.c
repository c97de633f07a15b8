/* SPDX-License-Identifier: Apache-2.0 */
#include "owners.h"

#include <errno.h>
#include <stdlib.h>

bool owners_has(const struct owners *owners, uint64_t owner)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->list[i] == owner)
			return true;
	return false;
}

int owners_reserve(struct owners *owners)
{
	size_t room = owners->room ? owners->room * 2 : 4;
	uint64_t *list;

	if (owners->count < owners->room)
		return 0;
	list = realloc(owners->list, room * sizeof(*list));
	if (!list)
		return -ENOMEM;
	owners->list = list;
	owners->room = room;
	return 0;
}

void owners_add(struct owners *owners, uint64_t owner)
{
	if (!owners_has(owners, owner))
		owners->list[owners->count++] = owner;
}
