/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <stdarg.h>
#include <stdio.h>

const char *const finding_names[FINDING_KINDS] = {
	[FINDING_LEFT_OUT] = "left out", [FINDING_NOTE] = "note", [FINDING_DUPLICATE] = "duplicate", [FINDING_RESTART] = "restart",
	[FINDING_ORDER] = "order",	 [FINDING_GAP] = "gap",	  [FINDING_TORN] = "torn",	     [FINDING_DAMAGE] = "damage",
};

void finding_set(struct item *item, enum finding_kind kind, const char *expected, const char *found, ...)
{
	va_list arguments;

	item->kind = ITEM_FINDING;
	item->finding = kind;
	item->ends_prefix = kind == FINDING_GAP || kind == FINDING_TORN || kind == FINDING_DAMAGE;
	item->fails_strict = item->ends_prefix || kind == FINDING_ORDER;
	item->lost = kind == FINDING_GAP || kind == FINDING_DAMAGE;
	snprintf(item->expected, sizeof(item->expected), "%s", expected);
	va_start(arguments, found);
	vsnprintf(item->found, sizeof(item->found), found, arguments);
	va_end(arguments);
}

int source_fail(struct wal_error *err, int result, const char *format, ...)
{
	va_list arguments;

	err->code = result;
	va_start(arguments, format);
	vsnprintf(err->message, sizeof(err->message), format, arguments);
	va_end(arguments);
	return result;
}
