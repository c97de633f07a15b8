/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of records beside their bytes. */
#include <string.h>

#include "wal_journal.h"

const char *wal_record_type_name(enum wal_record_type type)
{
	switch (type) {
	case WAL_RECORD_INSERT:
		return "insert";
	case WAL_RECORD_UPDATE:
		return "update";
	case WAL_RECORD_DELETE:
		return "delete";
	case WAL_RECORD_BATCH:
		return "batch";
	case WAL_RECORD_CHECKPOINT:
		return "checkpoint";
	case WAL_RECORD_BEGIN:
		return "begin";
	case WAL_RECORD_COMMIT:
		return "commit";
	case WAL_RECORD_ABORT:
		return "abort";
	case WAL_RECORD_OPAQUE:
		return "opaque";
	}
	return NULL;
}

const struct wal_record_pair *wal_record_find(const struct wal_record *record, const char *key)
{
	size_t size = strlen(key);

	if (record->type != WAL_RECORD_INSERT && record->type != WAL_RECORD_UPDATE)
		return NULL;
	for (size_t i = record->metadata.count; i-- > 0;) {
		const struct wal_record_pair *pair = &record->metadata.pairs[i];

		if (pair->key_size == size && memcmp(pair->key, key, size) == 0)
			return pair;
	}
	return NULL;
}
