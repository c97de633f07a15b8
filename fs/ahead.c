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
	free(ahead->next.data);
	free(ahead->spare.data);
	pthread_mutex_destroy(&ahead->lock);
}

bool ahead_take(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret)
{
	bool there;

	pthread_mutex_lock(&ahead->lock);
	if (!ahead->ready.data) {
		ahead->ready = ahead->next;
		ahead->next = (struct ahead_bytes){ 0 };
	}
	there = ahead->ready.data && ahead->ready.offset == offset && ahead->ready.size >= size;
	if (there) {
		*ret = ahead->ready;
		ahead->ready = (struct ahead_bytes){ 0 };
	}
	pthread_mutex_unlock(&ahead->lock);
	return there;
}

/* The lock is held. Returns one to be freed. */
static char *set_aside(struct ahead *ahead, struct ahead_bytes *bytes)
{
	char *surplus = bytes->data;

	if (!ahead->spare.data) {
		ahead->spare = *bytes;
		surplus = NULL;
	}
	*bytes = (struct ahead_bytes){ 0 };
	return surplus;
}

bool ahead_take_room(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret)
{
	struct ahead_bytes bytes = { 0 };
	const struct ahead_bytes *last;
	bool needed;

	pthread_mutex_lock(&ahead->lock);
	last = ahead->next.data ? &ahead->next : &ahead->ready;
	needed = !last->data || last->start || last->offset + last->size != offset;
	if (needed) {
		bytes = ahead->spare;
		ahead->spare = (struct ahead_bytes){ 0 };
	}
	pthread_mutex_unlock(&ahead->lock);
	if (!needed)
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
	char *surplus[2] = { NULL };

	pthread_mutex_lock(&ahead->lock);
	if (!bytes->size) {
		surplus[0] = set_aside(ahead, bytes);
	} else if (ahead->ready.data && ahead->ready.offset + ahead->ready.size == bytes->offset) {
		surplus[0] = set_aside(ahead, &ahead->next);
		ahead->next = *bytes;
	} else {
		surplus[0] = set_aside(ahead, &ahead->next);
		if (ahead->ready.data && bytes->offset + bytes->size == ahead->ready.offset)
			ahead->next = ahead->ready;
		else
			surplus[1] = set_aside(ahead, &ahead->ready);
		ahead->ready = *bytes;
	}
	pthread_mutex_unlock(&ahead->lock);
	free(surplus[0]);
	free(surplus[1]);
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
