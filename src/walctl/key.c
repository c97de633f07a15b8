/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum exit_code key_read(const struct command *command, const char *text, bool hex, struct bytes *ret)
{
	int r = 0;

	if (hex) {
		r = coding_read_hex(text, ret);
	} else {
		char *copy = strdup(text);

		if (copy)
			*ret = (struct bytes){ copy, strlen(text) };
		else
			r = -ENOMEM;
	}
	if (r == -EINVAL)
		return command_usage(command->verb, "--hex: expected an even number of hexadecimal digits as a key, found '%s'", text);
	return r < 0 ? command_fail(command, r, "reading a key") : EXIT_OK;
}

enum exit_code key_open_shard(const struct command *command, struct wal_store *store, const struct bytes *key, uint32_t *ret_shard,
			      struct wal_stream **ret_stream)
{
	uint32_t shards = wal_store_shards(store), shard;
	int r;

	if (!shards) {
		command_say(command, "is not sharded: expected a store made with --shards=N, found one with named streams");
		return EXIT_LACKING;
	}
	shard = wal_shard_of(key->data, key->size, shards);
	r = wal_shard_open(store, shard, ret_stream);
	if (r < 0)
		return command_fail(command, r, "opening shard %" PRIu32 " of %" PRIu32, shard, shards);
	*ret_shard = shard;
	return EXIT_OK;
}
