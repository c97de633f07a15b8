/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats of `walctl export` share: what is to be exported, and how it comes. */
#ifndef WALCTL_EXPORT_H
#define WALCTL_EXPORT_H

#include "entries.h"
#include "manifest.h"

struct exporter {
	const struct command *command;
	struct wal_store *store;
	struct manifest what; /* the streams, and which of their entries: `from` to `next` - 1 */
	struct manifest known; /* the checkpoints that needn't come: those of the state that was given */
	const char *path;      /* where it goes, a file or a directory; NULL: standard output */
	FILE *file;	       /* unless it is a directory */
};

/* As files: STREAM/ID, .checkpoints/NAME and the manifest. They say why they fail. */
enum exit_code export_tar(struct exporter *exporter);
enum exit_code export_files(struct exporter *exporter);

/* The entries of one stream, each ended by a newline. */
enum exit_code export_lines(struct exporter *exporter);

/* An object for each entry. */
enum exit_code export_jsonl(struct exporter *exporter);

/* Calls user->put for each entry of stream number `i` of `what`. `user` as in entries_walk(). */
enum exit_code export_entries(const struct exporter *exporter, size_t i, const struct entries_user *user);

#endif
