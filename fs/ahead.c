/* SPDX-License-Identifier: Apache-2.0 */
#include "ahead.h"

#include <stdlib.h>

void ahead_init(struct ahead *ahead, struct ahead_memory *memory)
{
	*ahead = (struct ahead){ .memory = memory };
	pthread_mutex_init(&ahead->lock, NULL);
}

static void drop(struct ahead *ahead, const struct ahead_bytes *bytes)
{
	if (bytes->data)
		atomic_fetch_sub(&ahead->memory->bytes, bytes->room);
	free(bytes->data);
}

/* *ret->data stays NULL if there is no memory for it. */
static void get_room(struct ahead *ahead, size_t size, struct ahead_bytes *ret)
{
	*ret = (struct ahead_bytes){ .room = size };
	if (atomic_fetch_add(&ahead->memory->bytes, size) + size <= AHEAD_ALL_MAX)
		ret->data = malloc(size);
	if (!ret->data)
		atomic_fetch_sub(&ahead->memory->bytes, size);
}

void ahead_release(struct ahead *ahead)
{
	drop(ahead, &ahead->ready);
	drop(ahead, &ahead->next);
	drop(ahead, &ahead->spare);
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

/* The lock is held. Returns one to be dropped. */
static struct ahead_bytes set_aside(struct ahead *ahead, struct ahead_bytes *bytes)
{
	struct ahead_bytes surplus = *bytes;

	if (!ahead->spare.data) {
		ahead->spare = surplus;
		surplus = (struct ahead_bytes){ 0 };
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
		drop(ahead, &bytes);
		get_room(ahead, size, &bytes);
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
	struct ahead_bytes surplus[2] = { 0 };

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
	drop(ahead, &surplus[0]);
	drop(ahead, &surplus[1]);
}

void ahead_rest(struct ahead *ahead)
{
	struct ahead_bytes spare;

	pthread_mutex_lock(&ahead->lock);
	spare = ahead->spare;
	ahead->spare = (struct ahead_bytes){ 0 };
	pthread_mutex_unlock(&ahead->lock);
	drop(ahead, &spare);
}
