/* SPDX-License-Identifier: Apache-2.0 */
#include "walctl.h"

static enum exit_code sync_stream(struct command *command, struct wal_store *store)
{
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(command, store, command->operands[0], 0, &stream);
	int r;

	if (code)
		return code;
	r = wal_stream_sync(stream);
	if (r < 0)
		code = command_fail_stream(command, r, stream, "syncing");
	wal_stream_close(stream);
	return code;
}

static enum exit_code run_sync(struct command *command)
{
	struct wal_store *store;
	enum exit_code code;
	int r;

	if (command->operand_count)
		command->on_mount.path = "STREAM";
	code = command_open_store(command, &store);
	if (code)
		return code;
	if (command->operand_count) {
		code = sync_stream(command, store);
	} else {
		r = wal_store_sync(store);
		if (r < 0)
			code = command_fail(command, r, "syncing");
	}
	return command_close_store(command, store, code);
}

const struct verb verb_sync = {
	.name = "sync",
	.operands = "STORE [STREAM]",
	.summary = "Makes every entry of the stream, or of all streams, durable.",
	.on_mount = { "sync", "" },
	.operands_min = 1,
	.operands_max = 2,
	.writes = true,
	.run = run_sync,
};
