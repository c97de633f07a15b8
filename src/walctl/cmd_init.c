/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "walctl.h"

static enum exit_code say_existing(const struct command *command, struct wal_store *store)
{
	char **names;
	size_t count;
	int r = wal_store_list(store, &names, &count);

	if (r < 0)
		return command_fail(command, r, "listing streams");
	free(names);
	command_say(command, "is a store already, with %zu %s%s", count, wal_store_shards(store) ? "shard" : "stream", count == 1 ? "" : "s");
	return EXIT_OK;
}

/* Looks read-only first: that tells an existing store from a place for a new one, also while it is mounted. */
static enum exit_code run_init(struct command *command)
{
	struct wal_error error = { 0 };
	struct wal_store *store;
	enum exit_code code = EXIT_OK;
	int r;

	command->options.ro = command->options.no_create = true;
	r = wal_store_open(command->store_path, &command->options, &store, &error);
	if (r == 0) {
		code = say_existing(command, store);
		return command_close_store(command, store, code);
	}
	if (r == -ENOENT) {
		command->options.ro = command->options.no_create = false;
		r = wal_store_open(command->store_path, &command->options, &store, &error);
		if (r == 0)
			return command_close_store(command, store, code);
	}
	if (r == -EBUSY || r == -ENOTEMPTY)
		return command_fail_open(command, r, &error);
	command_say(command, "%s", error.message);
	return r == -EINVAL ? EXIT_USAGE : r == -EBADMSG ? EXIT_LACKING : EXIT_SYSTEM;
}

const struct verb verb_init = {
	.name = "init",
	.operands = "STORE",
	.summary = "Makes an empty store of a missing or empty directory. With --shards=N it gets the streams shard_00 and so on.",
	.operands_min = 1,
	.operands_max = 1,
	.writes = true,
	.run = run_init,
};
