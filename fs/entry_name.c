/* SPDX-License-Identifier: Apache-2.0 */
#include "entry_name.h"

#include <stddef.h>

void entry_name(uint64_t id, char *name)
{
	for (int i = ENTRY_NAME_MAX - 2; i >= 0; i--) {
		name[i] = (char)('0' + id % 10);
		id /= 10;
	}
	name[ENTRY_NAME_MAX - 1] = '\0';
}

void entry_name_next(char *name)
{
	int i = ENTRY_NAME_MAX - 2;

	while (i > 0 && name[i] == '9')
		name[i--] = '0';
	name[i]++;
}

bool entry_parse_id(const char *name, uint64_t *ret_id)
{
	uint64_t id = 0;
	size_t i;

	for (i = 0; name[i] >= '0' && name[i] <= '9' && i < ENTRY_NAME_MAX; i++)
		if (__builtin_mul_overflow(id, 10, &id) || __builtin_add_overflow(id, (uint64_t)(name[i] - '0'), &id))
			return false;
	if (!i || name[i] || i == ENTRY_NAME_MAX)
		return false;
	*ret_id = id;
	return true;
}
