/* SPDX-License-Identifier: Apache-2.0 */
/* The frames in a segment file: where they are, and making them say what is not so with a checksum that holds. Functions fail the running test. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"

struct frame_place {
	uint64_t offset;
	uint64_t bytes; /* header and payload */
	struct frame_header h;
};

/* The frames one after the other from the file's beginning, up to the first that is none, at most `max`. Returns how many. */
size_t frames_in(const char *path, struct frame_place *frames, size_t max);

/* The frame of entry `id`, which must be there. */
struct frame_place frame_of(const char *path, uint64_t id);

/* Behind the last frame. */
uint64_t frames_end(const char *path);

/* Writes the header `h` at `offset`, over which no check is made, with the checksum and the mark that fit it and the payload that stands there. */
void frame_forge(const char *path, uint64_t offset, struct frame_header h);

#endif
