/* SPDX-License-Identifier: Apache-2.0 */
/* Where a restore reads from: the directories and files in a tar archive or below a directory, one after another. */
#ifndef WALCTL_MEMBERS_H
#define WALCTL_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum member_type {
	MEMBER_DIR,
	MEMBER_FILE,
	MEMBER_OTHER, /* a link, a device … */
};

struct member {
	enum member_type type;
	const char *path; /* as the source has it; valid until the next one */
	uint64_t size;	  /* of a file */
	int64_t time_ns;
};

/* A negative result is an errno, and `fault` says what is wrong, if it isn't empty. */
struct source {
	/* The next one, in any order in an archive; WAL_END after the last. */
	int (*next)(struct source *source, struct member *ret);
	/* The next bytes of the file; *ret_size is 0 at its end only. A file that ends before its size, or goes on, is an error. */
	int (*read)(struct source *source, void *data, size_t size, size_t *ret_size);
	/* Back to the beginning. NULL: it can be read once only. */
	int (*rewind)(struct source *source);
	void (*free)(struct source *source);
	bool is_archive;
	char fault[640];
};

/* A tar archive in file `path`, or in standard input ("-"). It may be compressed by gzip, xz or zstd. */
int source_tar_open(const char *path, struct source **ret_source);

/* What is below the directory: the manifest first, then streams by name, in each the entries by id, then .checkpoints. */
int source_dir_open(const char *path, struct source **ret_source);

#endif
