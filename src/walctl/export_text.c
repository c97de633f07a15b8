/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "table.h"
#include "text.h"

enum exit_code export_entries(const struct exporter *exporter, size_t i, const struct entries_user *user)
{
	const struct manifest_stream *what = &exporter->what.streams[i];
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(exporter->command, exporter->store, what->name, 0, &stream);

	if (code)
		return code;
	code = entries_walk(exporter->command, stream, what->from, what->next, user);
	wal_stream_close(stream);
	return code;
}

struct text_export {
	struct exporter *exporter;
	const char *stream;
	/* of the entry that is being written */
	bool broken; /* lines: a newline stands in it */
	char last;
	/* of all */
	uint64_t broken_first, broken_count;
	/* jsonl */
	unsigned need;		/* bytes that the character which has begun still needs, */
	unsigned low, high;	/* and which the next of them can be */
	bool utf8;
	unsigned char rest[3];	/* base64: what isn't written yet */
	size_t rest_count;
};

/* When standard output fails there is nothing more to do, and main() tells. */
static enum exit_code after(const struct text_export *export, const struct entry_view *view, int unread)
{
	char name[TEXT_NAME_MAX];

	if (unread)
		return exit_code_worse(EXIT_SYSTEM, command_fail(export->exporter->command, unread, "stream '%s': entry %" PRIu64 ": it could not be read to its end",
								 text_escape(name, export->stream), view->id));
	return ferror(export->exporter->file) ? EXIT_SYSTEM : EXIT_OK;
}

/* ---- Lines ---- */

static bool put_line_piece(void *arg, const void *data, size_t size)
{
	struct text_export *export = arg;
	const char *newline;

	if (!size)
		return true;
	if (export->last == '\n')
		export->broken = true;
	newline = memchr(data, '\n', size);
	if (newline && newline != (const char *)data + size - 1)
		export->broken = true;
	export->last = ((const char *)data)[size - 1];
	return fwrite(data, 1, size, export->exporter->file) == size;
}

/* What ends with a newline, as `echo` writes it, gets no second one. */
static enum exit_code put_line(void *arg, const struct entry_view *view)
{
	struct text_export *export = arg;
	int unread;

	export->broken = false;
	export->last = '\0';
	unread = entry_pieces(view, put_line_piece, export);
	if (!unread && export->last != '\n')
		putc('\n', export->exporter->file);
	if (export->broken && !export->broken_count++)
		export->broken_first = view->id;
	return after(export, view, unread);
}

enum exit_code export_lines(struct exporter *exporter)
{
	struct text_export export = { .exporter = exporter, .stream = exporter->what.streams[0].name };
	const struct entries_user user = { put_line, NULL, &export };
	enum exit_code code = export_entries(exporter, 0, &user);
	char name[TEXT_NAME_MAX];

	if (!export.broken_count)
		return code;
	command_say(exporter->command, "stream '%s': %" PRIu64 " %s several lines, the first one is %" PRIu64 ": as lines they can't be told apart",
		    text_escape(name, export.stream), export.broken_count, export.broken_count == 1 ? "entry is" : "entries are", export.broken_first);
	return exit_code_worse(code, EXIT_LACKING);
}

/* ---- JSON lines ---- */

/* One byte of UTF-8, by table 3-7 of the Unicode standard. */
static bool check_byte(struct text_export *export, unsigned char c)
{
	if (export->need) {
		if (c < export->low || c > export->high)
			return false;
		export->need--;
		export->low = 0x80;
		export->high = 0xbf;
		return true;
	}
	if (c < 0x80)
		return true;
	if (c < 0xc2 || c > 0xf4)
		return false;
	export->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	export->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	export->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	return true;
}

static bool check_piece(void *arg, const void *data, size_t size)
{
	struct text_export *export = arg;

	for (size_t i = 0; i < size && export->utf8; i++)
		export->utf8 = check_byte(export, ((const unsigned char *)data)[i]);
	return export->utf8;
}

static bool put_string_piece(void *arg, const void *data, size_t size)
{
	FILE *file = ((struct text_export *)arg)->exporter->file;
	const unsigned char *p = data, *end = p + size;

	while (p < end) {
		const unsigned char *plain = p;

		while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f)
			p++;
		fwrite(plain, 1, (size_t)(p - plain), file);
		if (p == end)
			break;
		if (*p == '"' || *p == '\\')
			fprintf(file, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", file);
		else if (*p == '\t')
			fputs("\\t", file);
		else
			fprintf(file, "\\u%04x", *p);
		p++;
	}
	return !ferror(file);
}

static void put_base64(const unsigned char group[3], size_t count, FILE *file)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	putc(digits[group[0] >> 2], file);
	putc(digits[(group[0] & 3) << 4 | group[1] >> 4], file);
	putc(count > 1 ? digits[(group[1] & 15) << 2 | group[2] >> 6] : '=', file);
	putc(count > 2 ? digits[group[2] & 63] : '=', file);
}

static bool put_base64_piece(void *arg, const void *data, size_t size)
{
	struct text_export *export = arg;

	for (size_t i = 0; i < size; i++) {
		export->rest[export->rest_count++] = ((const unsigned char *)data)[i];
		if (export->rest_count < 3)
			continue;
		put_base64(export->rest, 3, export->exporter->file);
		export->rest_count = 0;
	}
	return !ferror(export->exporter->file);
}

static void end_base64(struct text_export *export)
{
	for (size_t i = export->rest_count; i < 3; i++)
		export->rest[i] = 0;
	if (export->rest_count)
		put_base64(export->rest, export->rest_count, export->exporter->file);
	export->rest_count = 0;
}

static void put_json_string(struct text_export *export, const char *text)
{
	putc('"', export->exporter->file);
	put_string_piece(export, text, strlen(text));
	putc('"', export->exporter->file);
}

/* As table.h has names: as they are if they are UTF-8, otherwise escaped, with all bytes in hexadecimal beside. */
static void put_json_name(struct text_export *export)
{
	char name[TEXT_NAME_MAX], *to = name;
	FILE *file = export->exporter->file;

	if (text_is_utf8(export->stream)) {
		put_json_string(export, export->stream);
		return;
	}
	for (const char *p = export->stream; *p;) {
		size_t length = text_utf8_length(p);

		if (length)
			to = mempcpy(to, p, length);
		else
			to += sprintf(to, "\\x%02x", (unsigned char)*p);
		p += length ? length : 1;
	}
	*to = '\0';
	put_json_string(export, name);
	fputs(",\"stream_hex\":\"", file);
	for (const char *p = export->stream; *p; p++)
		fprintf(file, "%02x", (unsigned char)*p);
	putc('"', file);
}

static enum exit_code put_object(void *arg, const struct entry_view *view)
{
	struct text_export *export = arg;
	FILE *file = export->exporter->file;
	char time[TEXT_TIME_MAX];
	int unread;

	export->utf8 = true;
	export->need = 0;
	unread = entry_pieces(view, check_piece, export);
	if (unread)
		return after(export, view, unread);
	export->utf8 &= !export->need;
	fputs("{\"stream\":", file);
	put_json_name(export);
	fprintf(file, ",\"id\":%" PRIu64 ",\"time\":\"%s\",\"time_ns\":%" PRId64 ",\"%s\":\"", view->id, text_time(time, view->time_ns, 9), view->time_ns,
		export->utf8 ? "data" : "data_base64");
	unread = entry_pieces(view, export->utf8 ? put_string_piece : put_base64_piece, export);
	end_base64(export);
	fputs("\"}\n", file);
	return after(export, view, unread);
}

enum exit_code export_jsonl(struct exporter *exporter)
{
	struct text_export export = { .exporter = exporter };
	const struct entries_user user = { put_object, NULL, &export };
	enum exit_code code = EXIT_OK;

	for (size_t i = 0; i < exporter->what.stream_count && code <= EXIT_LACKING; i++) {
		export.stream = exporter->what.streams[i].name;
		code = exit_code_worse(code, export_entries(exporter, i, &user));
	}
	return code;
}
