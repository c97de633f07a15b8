/* SPDX-License-Identifier: Apache-2.0 */
/* Output in columns for people, and as JSON for programs. */
#ifndef WALCTL_TABLE_H
#define WALCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct column {
	const char *title;
	bool right; /* aligned to the right, as numbers are */
};

/* Rows of text, kept until they are printed, because the widths depend on all of them. Begin with the first two fields set and zeros. */
struct table {
	const struct column *columns;
	size_t column_count;
	char **cells; /* row after row */
	size_t cell_count;
	size_t cell_capacity;
};

/* Copies a row of column_count cells. -ENOMEM: the table is as before. */
int table_add(struct table *table, const char *const *cells);

void table_print(const struct table *table, FILE *file);

void table_release(struct table *table);

/*
 * Writes one JSON document. `name` is the member's name inside an object, NULL inside an array and for the whole. Write errors are
 * the stream's: see ferror(3).
 */
struct json {
	FILE *file;
	bool one_line;
	unsigned depth;
	bool comma; /* something stands before, in what is open now */
};

void json_open(struct json *json, const char *name, char bracket);
void json_close(struct json *json, char bracket);
void json_uint(struct json *json, const char *name, uint64_t value);
void json_int(struct json *json, const char *name, int64_t value);
/* Finite. */
void json_real(struct json *json, const char *name, double value);
void json_bool(struct json *json, const char *name, bool value);
void json_text(struct json *json, const char *name, const char *text);

/* Likewise, with NULs in them; a NUL that does not count follows each. */
void json_sized(struct json *json, const char *name, size_t name_size, const char *text, size_t size);

/*
 * The shortest number that is read as the same float again. What is no number in JSON is a text: "NaN" (with its bits, if they are not the usual ones),
 * "Infinity", "-Infinity".
 */
void json_float(struct json *json, float value);

/* An array whose elements, with the commas between them, were put together elsewhere. */
void json_raw(struct json *json, const char *name, const char *elements);

/* Any bytes, in hexadecimal. */
void json_hex(struct json *json, const char *name, const void *bytes, size_t size);

/*
 * A name of any bytes. As it is if it is UTF-8. Otherwise each byte that is not part of UTF-8 becomes the four characters \xHH, and a second member NAME_hex
 * holds all the bytes in hexadecimal: so the text is always valid, and where it is not exact, the second member is.
 */
void json_name(struct json *json, const char *name, const char *bytes);

#endif
