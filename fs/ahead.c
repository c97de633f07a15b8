/* SPDX-License-Identifier: Apache-2.0 */
#include "ahead.h"

#include <stdlib.h>

void ahead_init(struct ahead *ahead)
{
	*ahead = (struct ahead){ 0 };
	pthread_mutex_init(&ahead->lock, NULL);
}

void ahead_release(struct ahead *ahead)
{
	free(ahead->ready.data);
	free(ahead->spare.data);
	pthread_mutex_destroy(&ahead->lock);
}

bool ahead_take(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret)
{
	bool there;

	pthread_mutex_lock(&ahead->lock);
	there = ahead->ready.data && ahead->ready.offset == offset && ahead->ready.size >= size;
	if (there) {
		*ret = ahead->ready;
		ahead->ready = (struct ahead_bytes){ 0 };
	}
	pthread_mutex_unlock(&ahead->lock);
	return there;
}

bool ahead_take_room(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret)
{
	struct ahead_bytes bytes = { 0 };
	bool there;

	pthread_mutex_lock(&ahead->lock);
	there = ahead->ready.data && ahead->ready.offset == offset;
	if (!there) {
		struct ahead_bytes *from = ahead->spare.data ? &ahead->spare : &ahead->ready;

		bytes = *from;
		*from = (struct ahead_bytes){ 0 };
	}
	pthread_mutex_unlock(&ahead->lock);
	if (there)
		return false;
	if (bytes.room < size) {
		free(bytes.data);
		bytes = (struct ahead_bytes){ .data = malloc(size), .room = size };
		if (!bytes.data)
			return false;
	}
	bytes.start = bytes.size = 0;
	bytes.offset = offset;
	*ret = bytes;
	return true;
}

void ahead_skip(struct ahead_bytes *bytes, size_t size)
{
	bytes->start += size;
	bytes->size -= size;
	bytes->offset += size;
}

void ahead_give(struct ahead *ahead, struct ahead_bytes *bytes)
{
	struct ahead_bytes surplus = *bytes;

	pthread_mutex_lock(&ahead->lock);
	if (surplus.size) {
		struct ahead_bytes was = ahead->ready;

		ahead->ready = surplus;
		surplus = was;
	}
	if (!ahead->spare.data) {
		ahead->spare = surplus;
		surplus.data = NULL;
	}
	pthread_mutex_unlock(&ahead->lock);
	free(surplus.data);
}

void ahead_rest(struct ahead *ahead)
{
	struct ahead_bytes spare;

	pthread_mutex_lock(&ahead->lock);
	spare = ahead->spare;
	ahead->spare = (struct ahead_bytes){ 0 };
	pthread_mutex_unlock(&ahead->lock);
	free(spare.data);
}
