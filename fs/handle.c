/* SPDX-License-Identifier: Apache-2.0 */
#include "handle.h"

void handle_init(struct handle *handle, const struct handle_ops *ops, struct walfs *fs, struct slot *slot)
{
	handle->ops = ops;
	handle->fs = fs;
	handle->slot = slot;
	atomic_init(&handle->refs, 1);
	pthread_mutex_lock(&fs->lock);
	handle->next = fs->handles;
	handle->link = &fs->handles;
	if (handle->next)
		handle->next->link = &handle->next;
	fs->handles = handle;
	pthread_mutex_unlock(&fs->lock);
}

void handle_ref(struct handle *handle)
{
	atomic_fetch_add(&handle->refs, 1);
}

static void handle_free(struct handle *handle)
{
	struct walfs *fs = handle->fs;
	struct slot *slot = handle->slot;

	pthread_mutex_lock(&fs->lock);
	*handle->link = handle->next;
	if (handle->next)
		handle->next->link = handle->link;
	pthread_mutex_unlock(&fs->lock);
	handle->ops->free(handle);
	if (slot)
		slot_put(fs, slot);
}

void handle_unref(struct handle *handle)
{
	if (atomic_fetch_sub(&handle->refs, 1) == 1)
		handle_free(handle);
}

void handle_count(struct walfs *fs, uint64_t ret_counts[HANDLE_KINDS])
{
	for (int kind = 0; kind < HANDLE_KINDS; kind++)
		ret_counts[kind] = 0;
	pthread_mutex_lock(&fs->lock);
	for (const struct handle *handle = fs->handles; handle; handle = handle->next)
		ret_counts[handle->ops->kind]++;
	pthread_mutex_unlock(&fs->lock);
}

const char *handle_kind_name(enum handle_kind kind)
{
	static const char *const names[HANDLE_KINDS] = {
		[HANDLE_OTHER] = "other",
		[HANDLE_ENTRY] = "entry",
		[HANDLE_NEW] = "new",
		[HANDLE_LINES] = "lines",
		[HANDLE_BATCH] = "batch",
		[HANDLE_LOG] = "log",
		[HANDLE_FOLLOW] = "follow",
		[HANDLE_DIRECTORY] = "directory",
		[HANDLE_CHECKPOINT] = "checkpoint",
		[HANDLE_CONTROL] = "control",
		[HANDLE_STATS] = "stats",
	};

	return names[kind];
}

void handle_free_all(struct walfs *fs)
{
	while (fs->handles)
		handle_free(fs->handles);
}
