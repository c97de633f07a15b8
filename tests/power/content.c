/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "power.h"
#include "random.h"

/* At the beginning of each entry; no padding. */
struct stamp {
	uint32_t size, stream, round, writer;
	uint64_t seq;
	uint32_t count, part;
};

size_t content_make(const struct record *r, uint32_t part, uint8_t *out)
{
	struct random random = { (uint64_t)r->round << 40 ^ (uint64_t)r->writer << 32 ^ r->seq << 8 ^ part };
	size_t fill = random_size(&random, CONTENT_MAX - sizeof(struct stamp));
	struct stamp stamp = {
		.size = (uint32_t)(sizeof stamp + fill),
		.stream = r->stream,
		.round = r->round,
		.writer = r->writer,
		.seq = r->seq,
		.count = r->count,
		.part = part,
	};

	memcpy(out, &stamp, sizeof stamp);
	random_fill(random.state, out + sizeof stamp, fill);
	return stamp.size;
}

bool content_parse(const void *data, size_t size, struct record *ret)
{
	uint8_t expected[CONTENT_MAX];
	struct stamp stamp;

	if (size < sizeof stamp)
		return false;
	memcpy(&stamp, data, sizeof stamp);
	*ret = (struct record){
		.stream = stamp.stream,
		.round = stamp.round,
		.writer = stamp.writer,
		.seq = stamp.seq,
		.count = stamp.count,
		.part = stamp.part,
	};
	return stamp.part < stamp.count && content_make(ret, stamp.part, expected) == size && memcmp(expected, data, size) == 0;
}

void stream_name(char name[STREAM_NAME_MAX], uint32_t stream)
{
	snprintf(name, STREAM_NAME_MAX, "s%u", (unsigned)stream);
}

bool stream_number(const char *name, uint32_t *ret)
{
	char again[STREAM_NAME_MAX];

	if (name[0] != 's')
		return false;
	*ret = (uint32_t)strtoul(name + 1, NULL, 10);
	stream_name(again, *ret);
	return strcmp(name, again) == 0;
}
