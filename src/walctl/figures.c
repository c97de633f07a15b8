/* SPDX-License-Identifier: Apache-2.0 */
#include "figures.h"
#include "text.h"

bool stat_is_damaged(const struct wal_stream_stat *stat)
{
	return stat->tail == WAL_TAIL_DAMAGED || stat->health != WAL_HEALTHY;
}

const char *stat_tail(const struct wal_stream_stat *stat)
{
	switch (stat->tail) {
	case WAL_TAIL_CLEAN:
		return "clean";
	case WAL_TAIL_TRUNCATED:
		return "truncated";
	case WAL_TAIL_DAMAGED:
		return "damaged";
	}
	return "unknown";
}

const char *stat_health(const struct wal_stream_stat *stat)
{
	switch (stat->health) {
	case WAL_HEALTHY:
		return "healthy";
	case WAL_READONLY:
		return "read-only";
	case WAL_STOPPED:
		return "stopped";
	}
	return "unknown";
}

const char *stat_state(const struct wal_stream_stat *stat)
{
	if (stat->tail == WAL_TAIL_DAMAGED)
		return "damaged";
	if (stat->health != WAL_HEALTHY)
		return stat_health(stat);
	return stat->tail == WAL_TAIL_TRUNCATED ? "truncated" : "ok";
}

void stat_json(struct json *json, const char *name, const struct wal_stream_stat *stat)
{
	char time[TEXT_TIME_MAX];

	json_name(json, "stream", name);
	json_uint(json, "first_id", stat->first_id);
	json_uint(json, "next_id", stat->next_id);
	json_uint(json, "durable_id", stat->durable_id);
	json_uint(json, "entries", stat->entries);
	json_uint(json, "payload_bytes", stat->payload_bytes);
	json_uint(json, "disk_bytes", stat->disk_bytes);
	json_uint(json, "segments", stat->segments);
	json_uint(json, "active_segment_id", stat->active_segment_id);
	json_text(json, "last_append", text_time(time, stat->last_append_ns, 9));
	json_int(json, "last_append_ns", stat->last_append_ns);
	json_text(json, "tail", stat_tail(stat));
	if (stat->tail != WAL_TAIL_CLEAN) {
		json_uint(json, "tail_offset", stat->tail_offset);
		json_uint(json, "tail_bytes", stat->tail_bytes);
	}
	json_text(json, "health", stat_health(stat));
	if (stat->health != WAL_HEALTHY)
		json_name(json, "reason", stat->reason);
}
