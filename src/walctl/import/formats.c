/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "source.h"

static const struct source_format formats[] = {
	{ .name = "walogs", .open = walogs_open },
	{ .name = "oxirs", .open = oxirs_open, .remark = "its records have no checksums: a changed byte that still makes a record is not noticed" },
	{ .name = "ironwal", .open = ironwal_open, .has_streams = true },
	{ .name = "files", .open = files_open },
	{ .name = "lines", .open = lines_open, .from_stdin = true },
	{ .name = "tar", .open = tar_open, .from_stdin = true },
};

const struct source_format *source_format_find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (!strcmp(formats[i].name, name))
			return &formats[i];
	}
	return NULL;
}
