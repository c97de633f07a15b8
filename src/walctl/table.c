/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "text.h"

static int table_reserve(struct table *table)
{
	size_t capacity = table->cell_capacity ? 2 * table->cell_capacity : 64 * table->column_count;
	char **cells;

	if (table->cell_count + table->column_count <= table->cell_capacity)
		return 0;
	cells = reallocarray(table->cells, capacity, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	table->cells = cells;
	table->cell_capacity = capacity;
	return 0;
}

int table_add(struct table *table, const char *const *cells)
{
	int r = table_reserve(table);

	if (r < 0)
		return r;
	for (size_t i = 0; i < table->column_count; i++) {
		char *copy = strdup(cells[i]);
		if (!copy) {
			while (i--)
				free(table->cells[table->cell_count + i]);
			return -ENOMEM;
		}
		table->cells[table->cell_count + i] = copy;
	}
	table->cell_count += table->column_count;
	return 0;
}

static size_t column_width(const struct table *table, size_t column)
{
	size_t width = text_width(table->columns[column].title);

	for (size_t i = column; i < table->cell_count; i += table->column_count) {
		size_t cell = text_width(table->cells[i]);
		if (cell > width)
			width = cell;
	}
	return width;
}

/* No blanks behind the last column. */
static void print_cell(const struct table *table, FILE *file, size_t column, size_t width, const char *text)
{
	bool last = column + 1 == table->column_count;
	int pad = (int)(width - text_width(text));

	if (table->columns[column].right)
		fprintf(file, "%*s%s%s", pad, "", text, last ? "\n" : "  ");
	else if (last)
		fprintf(file, "%s\n", text);
	else
		fprintf(file, "%s%*s  ", text, pad, "");
}

void table_print(const struct table *table, FILE *file)
{
	size_t widths[16];

	for (size_t i = 0; i < table->column_count; i++)
		widths[i] = column_width(table, i);
	for (size_t i = 0; i < table->column_count; i++)
		print_cell(table, file, i, widths[i], table->columns[i].title);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t column = i % table->column_count;
		print_cell(table, file, column, widths[column], table->cells[i]);
	}
}

void table_release(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_capacity = 0;
}

static void put_sized(FILE *file, const char *text, size_t size)
{
	const char *end = text + size;

	putc('"', file);
	while (text < end) {
		size_t length = text_utf8_length(text);
		unsigned char byte = (unsigned char)*text;

		if (!length)
			fprintf(file, "\\\\x%02x", byte);
		else if (byte == '"' || byte == '\\')
			fprintf(file, "\\%c", byte);
		else if (byte < 0x20 || byte == 0x7f)
			fprintf(file, "\\u%04x", byte);
		else
			fwrite(text, 1, length, file);
		text += length ? length : 1;
	}
	putc('"', file);
}

static void put_string(FILE *file, const char *text)
{
	put_sized(file, text, strlen(text));
}

/* Containers down to the second level have their members on lines of their own; what is deeper, a list's element, is one line. */
static void begin_member(struct json *json)
{
	if (json->comma)
		putc(',', json->file);
	if (json->depth && json->depth <= 2 && !json->one_line)
		fprintf(json->file, "\n%*s", (int)(2 * json->depth), "");
	else if (json->comma)
		putc(' ', json->file);
	json->comma = true;
}

static void begin_value(struct json *json, const char *name)
{
	begin_member(json);
	if (name) {
		put_string(json->file, name);
		fputs(": ", json->file);
	}
}

void json_open(struct json *json, const char *name, char bracket)
{
	begin_value(json, name);
	putc(bracket, json->file);
	json->depth++;
	json->comma = false;
}

void json_close(struct json *json, char bracket)
{
	bool empty = !json->comma;

	json->depth--;
	json->comma = true;
	if (!empty && json->depth < 2 && !json->one_line)
		fprintf(json->file, "\n%*s", (int)(2 * json->depth), "");
	putc(bracket, json->file);
	if (!json->depth)
		putc('\n', json->file);
}

void json_uint(struct json *json, const char *name, uint64_t value)
{
	begin_value(json, name);
	fprintf(json->file, "%" PRIu64, value);
}

void json_int(struct json *json, const char *name, int64_t value)
{
	begin_value(json, name);
	fprintf(json->file, "%" PRId64, value);
}

void json_real(struct json *json, const char *name, double value)
{
	begin_value(json, name);
	fprintf(json->file, "%.9g", value);
}

void json_bool(struct json *json, const char *name, bool value)
{
	begin_value(json, name);
	fputs(value ? "true" : "false", json->file);
}

void json_text(struct json *json, const char *name, const char *text)
{
	begin_value(json, name);
	put_string(json->file, text);
}

void json_sized(struct json *json, const char *name, size_t name_size, const char *text, size_t size)
{
	begin_member(json);
	if (name) {
		put_sized(json->file, name, name_size);
		fputs(": ", json->file);
	}
	put_sized(json->file, text, size);
}

void json_float(struct json *json, float value)
{
	char text[32];
	uint32_t bits;
	int digits = 6;

	begin_value(json, NULL);
	memcpy(&bits, &value, sizeof(bits));
	if ((bits & 0x7fffffff) > 0x7f800000) {
		fprintf(json->file, bits == 0x7fc00000 ? "\"NaN\"" : "\"NaN(0x%08" PRIx32 ")\"", bits);
	} else if ((bits & 0x7fffffff) == 0x7f800000) {
		fputs(bits >> 31 ? "\"-Infinity\"" : "\"Infinity\"", json->file);
	} else if (bits == 0x80000000) {
		fputs("-0.0", json->file); /* readers take "-0" for the integer, which has no sign */
	} else {
		do
			snprintf(text, sizeof(text), "%.*g", digits, (double)value);
		while (strtof(text, NULL) != value && digits++ < 9);
		fputs(text, json->file);
	}
}

void json_hex(struct json *json, const char *name, const void *bytes, size_t size)
{
	const unsigned char *p = bytes;

	begin_value(json, name);
	putc('"', json->file);
	for (size_t i = 0; i < size; i++)
		fprintf(json->file, "%02x", p[i]);
	putc('"', json->file);
}

void json_raw(struct json *json, const char *name, const char *elements)
{
	begin_value(json, name);
	fprintf(json->file, "[%s]", elements);
}

void json_name(struct json *json, const char *name, const char *bytes)
{
	char name_hex[64];

	json_text(json, name, bytes);
	if (text_is_utf8(bytes))
		return;
	snprintf(name_hex, sizeof(name_hex), "%s_hex", name);
	json_hex(json, name_hex, bytes, strlen(bytes));
}
