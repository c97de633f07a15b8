/* SPDX-License-Identifier: Apache-2.0 */
#include "walctl.h"

static enum exit_code rotate(struct command *command, struct wal_store *store)
{
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(command, store, command->operands[0], 0, &stream);
	int r;

	if (code)
		return code;
	r = wal_stream_rotate(stream);
	if (r < 0)
		code = command_fail_stream(command, r, stream, "rotating");
	wal_stream_close(stream);
	return code;
}

static enum exit_code run_rotate(struct command *command)
{
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	return code ? code : command_close_store(command, store, rotate(command, store));
}

const struct verb verb_rotate = {
	.name = "rotate",
	.operands = "STORE STREAM",
	.summary = "Seals the stream's active segment and starts the next. Nothing happens if it is empty.",
	.on_mount = { "echo >", "STREAM/.rotate" },
	.operands_min = 2,
	.operands_max = 2,
	.writes = true,
	.run = run_rotate,
};
