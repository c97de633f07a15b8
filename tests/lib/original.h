/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of its own for what the original has to find on disk, to be able to go on with a store. It shares no code with the engine. Functions fail the running test if
 * the files are not as the original wants them.
 */
#ifndef ORIGINAL_H
#define ORIGINAL_H

#include <stddef.h>
#include <stdint.h>

/* The number in `count` bytes, the least first. */
uint64_t little_endian(const uint8_t *bytes, unsigned count);

/*
 * A stream's directory: segments.idx lists just the *.wal files there are, head.state names the last, every segment is whole frames from its first byte to its last whose
 * checksums hold, and ids follow each other from the first segment to the last. Returns the next id; *ret_first (may be NULL) is the first.
 */
uint64_t original_check_stream(const char *store, const char *stream, uint64_t *ret_first);

#endif
