/* SPDX-License-Identifier: Apache-2.0 */
#include "shards.h"

#include <errno.h>
#include <string.h>

#include "namespace.h"
#include "percent.h"

int shards_lookup(struct walfs *fs, const char *name, struct node *ret_node)
{
	char key[WAL_STREAM_NAME_MAX];
	size_t key_size = percent_decode(name, strlen(name), key); /* the caller has seen to its length */

	*ret_node = (struct node){ .kind = NODE_SHARD, .number = wal_shard_of(key, key_size, wal_store_shards(fs->store)) };
	return 0;
}

int shards_readlink(struct walfs *fs, const struct node *node, char *target)
{
	struct wal_stream *stream;
	int r;

	if (node->number >= wal_store_shards(fs->store))
		return WAL_NOT_FOUND;
	r = wal_shard_open(fs->store, (uint32_t)node->number, &stream);
	if (r)
		return r;
	strcpy(stpcpy(target, "../"), wal_stream_name(stream));
	wal_stream_close(stream);
	return 0;
}

int shards_stat(struct walfs *fs, const struct node *node, struct stat *st)
{
	char target[NAMESPACE_LINK_MAX];
	int r;

	namespace_set_times(st, NAMESPACE_TIME_NS);
	if (node->kind == NODE_SHARDS) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		st->st_size = 4096;
		return 0;
	}
	r = shards_readlink(fs, node, target);
	if (r)
		return r;
	st->st_mode = S_IFLNK | 0777;
	st->st_size = (off_t)strlen(target);
	return 0;
}
