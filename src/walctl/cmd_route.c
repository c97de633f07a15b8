/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "key.h"
#include "table.h"

enum { OPT_HEX, OPT_JSON };

static const struct verb_option options[] = {
	[OPT_HEX] = { "hex", 0, NULL, "each KEY is given in hexadecimal digits" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	{ 0 },
};

static enum exit_code route_key(const struct command *command, struct wal_store *store, const char *text, struct json *json)
{
	struct wal_stream *stream;
	struct bytes key;
	uint32_t shard;
	enum exit_code code = key_read(command, text, command->given[OPT_HEX], &key);

	if (code)
		return code;
	code = key_open_shard(command, store, &key, &shard, &stream);
	if (!code && json) {
		json_open(json, NULL, '{');
		if (!command->given[OPT_HEX])
			json_text(json, "key", text);
		json_hex(json, "key_hex", key.data, key.size);
		json_uint(json, "shard", shard);
		json_name(json, "stream", wal_stream_name(stream));
		json_close(json, '}');
	} else if (!code) {
		fprintf(command->out, "%" PRIu32 " %s\n", shard, wal_stream_name(stream));
	}
	if (!code)
		wal_stream_close(stream);
	free(key.data);
	return code;
}

static enum exit_code route_keys(const struct command *command, struct wal_store *store)
{
	struct json json = { .file = command->out };
	bool as_json = command->given[OPT_JSON];
	enum exit_code code = EXIT_OK;

	if (as_json) {
		json_open(&json, NULL, '{');
		json_name(&json, "store", command->store_path);
		json_uint(&json, "shards", wal_store_shards(store));
		json_open(&json, "keys", '[');
	}
	for (int i = 0; i < command->operand_count && !code; i++)
		code = route_key(command, store, command->operands[i], as_json ? &json : NULL);
	if (as_json) {
		json_close(&json, ']');
		json_close(&json, '}');
	}
	return code;
}

static enum exit_code run_route(struct command *command)
{
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	return code ? code : command_close_store(command, store, route_keys(command, store));
}

const struct verb verb_route = {
	.name = "route",
	.operands = "STORE KEY...",
	.summary = "Says which shard of a sharded store each key belongs to: a line with its number and its stream.",
	.options = options,
	.operands_min = 2,
	.operands_max = -1,
	.run = run_route,
};
