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

void handle_free_all(struct walfs *fs)
{
	while (fs->handles)
		handle_free(fs->handles);
}
