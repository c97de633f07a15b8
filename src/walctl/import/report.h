/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of everything in the source: JSON, a line for each thing. First one that says what is imported, then one for each entry, with where it was, the number it had and the id it has, and one for each finding; at last
 * what came of it.
 */
#ifndef IMPORT_REPORT_H
#define IMPORT_REPORT_H

#include <stdio.h>

#include "source.h"
#include "table.h"

/* Members of the object that is open: where the item stands, and what it is. */
void report_finding(struct json *json, const struct item *item);

/* One line of the report; `stream` is where the entry went. */
void report_entry_line(FILE *file, const char *stream, const struct item *item, uint64_t id, bool present);
void report_finding_line(FILE *file, const char *stream, const struct item *item);

/* An object on a line of its own: open, put members, close. */
void report_open_line(struct json *json, FILE *file, const char *kind);
void report_close_line(struct json *json);

/* A finding as a line for people. */
void report_tell(FILE *out, const char *stream, const struct item *item);

#endif
