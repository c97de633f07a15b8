/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that the original ironwal wrote, each in ironwal/NAME/store with ironwal/NAME/MANIFEST.txt beside it, under $WALFS_FIXTURES or where the
 * build was told. They are kept outside the source tree: where they are missing, the programs that want them are skipped.
 */
#ifndef FIXTURES_H
#define FIXTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manifest_entry {
	char stream[256];
	uint64_t id;
	uint64_t size;
	uint32_t crc; /* of the entry's bytes */
};

struct manifest {
	struct manifest_entry *entries; /* sorted by stream, then by id */
	size_t count;
};

/* The names of all of them, a NULL after the last. */
extern const char *const fixture_names[];

/*
 * For main(), before it runs anything: false if there are no fixtures, after printing the TAP line that skips the whole program. (cmocka's own skip()
 * comes out as a failure in TAP.)
 */
bool fixtures_or_skip(void);

/* "<fixtures>/ironwal/<name>/<rest>" in `buf` of PATH_MAX bytes, which is returned. */
char *fixture_path(const char *name, const char *rest, char *buf);

/* Fails the running test if a line makes no sense. The lines with @ (facts about the store) are left out. */
void manifest_load(const char *name, struct manifest *ret);
void manifest_release(struct manifest *manifest);

/* NULL if there is none. */
const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *stream, uint64_t id);

#endif
