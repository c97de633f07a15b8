/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of a sharded store, as they are typed, and the shard they belong to. */
#ifndef WALCTL_KEY_H
#define WALCTL_KEY_H

#include "coding.h"
#include "walctl.h"

/* `text` as it is, or with `hex` the bytes that its digits stand for. ret->data is for free(3). */
enum exit_code key_read(const struct command *command, const char *text, bool hex, struct bytes *ret);

/* The stream of the key's shard, for wal_stream_close(). A store without shards is EXIT_LACKING. */
enum exit_code key_open_shard(const struct command *command, struct wal_store *store, const struct bytes *key, uint32_t *ret_shard,
			      struct wal_stream **ret_stream);

#endif
