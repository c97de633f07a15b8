/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs that the original oxirs-vec wrote, each in oxirs/NAME with a MANIFEST.txt, beside those of fixtures.h. One record of a file is: sequence
 * number (8 bytes), length (4), payload.
 */
#ifndef OXIRS_H
#define OXIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line of a manifest. */
struct oxirs_line {
	char file[64];
	uint64_t offset;
	char type[32]; /* "Insert" …; "UNDECODABLE", "TORN", "FILE-HEADER" … */
	size_t size;   /* of the payload */
	uint32_t crc;  /* of the payload */
	bool readable;	/* it is a record that decodes */
	bool recovered; /* and that recovery by the original gives */
	char json[1024];
};

/*
 * For main(), before it runs anything: false if there are none, after printing the TAP line that skips the whole program.
 */
bool oxirs_or_skip(void);

/* The names of all of them, a NULL after the last, as one allocation with the strings. */
char **oxirs_names(void);

/* The lines of NAME's manifest; the caller frees them. */
struct oxirs_line *oxirs_manifest(const char *name, size_t *ret_count);

/* The payload that a line speaks of; the caller frees it. As much of it as is there. */
uint8_t *oxirs_payload(const char *name, const struct oxirs_line *line, size_t *ret_size);

struct wal_record;

/* A record as the manifests show it. The caller frees it. */
char *oxirs_json(const struct wal_record *record);

#endif
