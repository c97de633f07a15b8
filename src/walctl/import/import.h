/* SPDX-License-Identifier: Apache-2.0 */
/* The way of everything in a source: into a stream, into the report, onto the screen. */
#ifndef IMPORT_IMPORT_H
#define IMPORT_IMPORT_H

#include "progress.h"
#include "report.h"
#include "sink.h"
#include "source.h"

struct import {
	FILE *out;
	bool quiet;
	const char *append; /* the file that says where an import behind other entries began, or NULL */
	const struct source_format *format;
	const char *source_path;
	char *stream; /* NULL: as the source names them */
	struct source_options options;
	struct source *source;
	struct wal_store *store;
	struct sink *sink;
	bool dry;
	bool refused; /* strict: it is not just as it should be, so nothing is imported */
	bool cut;     /* prefix: what comes is not taken any more, up to the next stream, */
	bool ever_cut; /* and so something was left behind a break */
	bool lost;    /* something that was there is not */
	bool in_stream;
	FILE *report;
	struct json *json; /* NULL: lines */
	struct json streams; /* the member of that name, put together meanwhile */
	char *streams_text;
	size_t streams_size;
	struct progress progress;
	uint64_t counts[FINDING_KINDS];
	uint64_t checkpoints;
	uint64_t moved_checkpoints; /* records that are checkpoints, and do not have their sequence number as id */
	/* of the stream that is imported */
	uint64_t appended_before, present_before, bytes_before, begin;
};

/* Takes all of import->source. What fails is said in `err`; what came before it stays. */
int import_all(struct import *import, struct wal_error *err);

/* Opens the source once more and reads it for nothing but whether it is just as it should be: import->refused says that it is not. */
int import_look_through(struct import *import, struct wal_error *err);

#endif
