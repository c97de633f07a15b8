/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <zlib.h>

#include "text.h"

/* Deeper than where members get lines of their own. */
enum { LINE_DEPTH = 3 };

void report_open_line(struct json *json, FILE *file, const char *kind)
{
	*json = (struct json){ .file = file, .depth = LINE_DEPTH };
	json_open(json, NULL, '{');
	json_text(json, "kind", kind);
}

void report_close_line(struct json *json)
{
	json_close(json, '}');
	putc('\n', json->file);
}

static void put_place(struct json *json, const struct item *item)
{
	if (item->file)
		json_name(json, "file", item->file);
	json_uint(json, "offset", item->offset);
}

void report_finding(struct json *json, const struct item *item)
{
	put_place(json, item);
	json_uint(json, "bytes", item->bytes);
	if (item->has_sequence)
		json_uint(json, "sequence", item->sequence);
	if (item->has_id)
		json_uint(json, "first_id", item->id);
	if (item->count)
		json_uint(json, "count", item->count);
	json_text(json, "expected", item->expected);
	json_text(json, "found", item->found);
}

void report_entry_line(FILE *file, const char *stream, const struct item *item, uint64_t id, bool present)
{
	char crc[16];
	struct json json;

	report_open_line(&json, file, "entry");
	json_name(&json, "stream", stream);
	json_uint(&json, "id", id);
	put_place(&json, item);
	if (item->has_sequence)
		json_uint(&json, "sequence", item->sequence);
	if (item->type)
		json_text(&json, "type", item->type);
	json_int(&json, "time_ns", item->time_ns);
	json_uint(&json, "size", item->size);
	snprintf(crc, sizeof(crc), "%08lx", crc32_z(0, item->size ? item->data : (const void *)"", item->size));
	json_text(&json, "crc32", crc);
	json_bool(&json, "present", present);
	report_close_line(&json);
}

void report_finding_line(FILE *file, const char *stream, const struct item *item)
{
	struct json json;

	report_open_line(&json, file, finding_names[item->finding]);
	if (stream)
		json_name(&json, "stream", stream);
	report_finding(&json, item);
	report_close_line(&json);
}

static void tell_range(FILE *out, const char *one, uint64_t first, uint64_t count)
{
	if (count > 1)
		fprintf(out, ", %ss %" PRIu64 " to %" PRIu64, one, first, first + count - 1);
	else
		fprintf(out, ", %s %" PRIu64, one, first);
}

void report_tell(FILE *out, const char *stream, const struct item *item)
{
	char name[TEXT_NAME_MAX];
	bool has_place = item->file && item->file != stream;

	fprintf(out, "%s: ", finding_names[item->finding]);
	if (stream)
		fprintf(out, "%s%s", text_escape(name, stream), has_place ? "/" : "");
	if (has_place)
		fprintf(out, "%s", text_escape(name, item->file));
	if (item->bytes)
		fprintf(out, ": offset %" PRIu64 ", %" PRIu64 " bytes", item->offset, item->bytes);
	else if (has_place)
		fprintf(out, ": offset %" PRIu64, item->offset);
	if (item->has_sequence)
		tell_range(out, "number", item->sequence, item->count);
	if (item->has_id)
		tell_range(out, "id", item->id, item->count);
	if (item->file || stream)
		fputs(": ", out);
	fprintf(out, "expected %s, found ", item->expected);
	/* it may quote names and messages */
	for (const char *p = item->found; *p; p++)
		putc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
	putc('\n', out);
}
