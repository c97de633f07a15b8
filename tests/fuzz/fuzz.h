/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. A target is a function that gets bytes and aborts if something is wrong with what the library makes of them; libFuzzer calls
 * it, or, where the compiler has none, main() in standalone.c with each file of the corpus.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* As assert(), in every build, with what was found. */
#define CHECK(condition, ...) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition, " " __VA_ARGS__))
__attribute__((noreturn, format(printf, 4, 5))) void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...);

/*
 * The reference: whether a valid frame stands at `at`, judged over memory. *ret_raw is its payload, decompressed if need be, *ret_raw_size bytes to be freed by
 * the caller.
 */
bool fuzz_frame_at(const uint8_t *data, size_t size, size_t at, struct frame_header *ret_header, uint8_t **ret_raw, uint64_t *ret_raw_size);

/*
 * Makes the checksums hold of what looks like frames of the segment with that first id, and of what looks like a sidecar's blocks: so that a fuzzer gets behind
 * them. Most frames get a mark that holds too.
 */
void fuzz_fix_frames(uint8_t *data, size_t size, uint64_t segment_id, unsigned seed);
void fuzz_fix_meta(uint8_t *data, size_t size);

/* A file in memory with these bytes. */
int fuzz_memfd(const uint8_t *data, size_t size);

#endif
