/* SPDX-License-Identifier: Apache-2.0 */
#include "oxirs.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"
#include "wal_journal.h"

enum { RECORD_HEADER_BYTES = 12, NAMES_MAX = 64 };

static const char *oxirs_path(const char *name, const char *rest, char buf[PATH_MAX])
{
	const char *root = getenv("WALFS_FIXTURES");
	int n = snprintf(buf, PATH_MAX, "%s/oxirs/%s%s%s", root && *root ? root : WALFS_FIXTURES_DEFAULT, name, rest ? "/" : "", rest ? rest : "");

	assert_true(n > 0 && n < PATH_MAX);
	return buf;
}

bool oxirs_or_skip(void)
{
	char path[PATH_MAX];

	if (access(oxirs_path("", NULL, path), F_OK) == 0)
		return true;
	printf("1..0 # SKIP no stores of the original (logs of oxirs-vec) in '%s' (see WALFS_FIXTURES)\n", path);
	return false;
}

static int is_name(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

char **oxirs_names(void)
{
	char path[PATH_MAX], **names;
	struct dirent **found;
	char *text;
	int count = scandir(oxirs_path("", NULL, path), &found, is_name, alphasort);

	if (count <= 0)
		fail_msg("nothing in '%s'", path);
	names = calloc(1, (size_t)(count + 1) * sizeof(*names) + (size_t)count * sizeof(found[0]->d_name));
	assert_non_null(names);
	text = (char *)(names + count + 1);
	for (int i = 0; i < count; i++) {
		names[i] = strcpy(text, found[i]->d_name);
		text += strlen(text) + 1;
		free(found[i]);
	}
	free(found);
	return names;
}

static void parse_line(const char *path, char *text, struct oxirs_line *ret)
{
	char *fields[8] = { text }, *end;
	size_t count = 1;

	for (char *p = text; *p && count < TEST_COUNT(fields); p++) {
		if (*p == '\t') {
			*p = 0;
			fields[count++] = p + 1;
		}
	}
	if (count < TEST_COUNT(fields))
		fail_msg("'%s' has a line with %zu columns: '%s'", path, count, text);
	fields[7][strcspn(fields[7], "\n")] = 0;
	*ret = (struct oxirs_line){ .offset = strtoull(fields[1], &end, 10) };
	assert_true(*end == 0 && strlen(fields[0]) < sizeof(ret->file) && strlen(fields[3]) < sizeof(ret->type) && strlen(fields[7]) < sizeof(ret->json));
	strcpy(ret->file, fields[0]);
	strcpy(ret->type, fields[3]);
	ret->size = strtoull(fields[4], NULL, 10);
	ret->crc = (uint32_t)strtoul(fields[5], NULL, 16);
	strcpy(ret->json, fields[7]);
	ret->recovered = strcmp(fields[6], "recovered") == 0;
	ret->readable = strncmp(ret->json, "{\"type\":", 8) == 0 && strcmp(fields[6], "damaged") != 0;
}

struct oxirs_line *oxirs_manifest(const char *name, size_t *ret_count)
{
	char path[PATH_MAX], text[4096];
	FILE *file = fopen(oxirs_path(name, "MANIFEST.txt", path), "re");
	struct oxirs_line *lines = NULL;
	size_t count = 0;

	if (!file)
		fail_msg("cannot open '%s': %m", path);
	while (fgets(text, sizeof(text), file)) {
		if (text[0] == '#')
			continue;
		lines = reallocarray(lines, count + 1, sizeof(*lines));
		assert_non_null(lines);
		parse_line(path, text, &lines[count++]);
	}
	fclose(file);
	assert_true(count > 0);
	*ret_count = count;
	return lines;
}

uint8_t *oxirs_payload(const char *name, const struct oxirs_line *line, size_t *ret_size)
{
	char path[PATH_MAX];
	FILE *file = fopen(oxirs_path(name, line->file, path), "rbe");
	uint8_t *data = malloc(line->size + 1);

	if (!file || !data)
		fail_msg("cannot open '%s': %m", path);
	assert_int_equal(fseek(file, (long)line->offset + RECORD_HEADER_BYTES, SEEK_SET), 0);
	*ret_size = fread(data, 1, line->size, file);
	fclose(file);
	return data;
}

static void put_text(FILE *out, const char *text, size_t size)
{
	putc('"', out);
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '"' || text[i] == '\\')
			putc('\\', out);
		putc(text[i], out);
	}
	putc('"', out);
}

static void put_vector(FILE *out, const struct wal_record_vector *vector)
{
	uint32_t bits;

	fputs(",\"vector\":[", out);
	for (size_t i = 0; i < vector->count; i++) {
		memcpy(&bits, &vector->values[i], sizeof(bits));
		fprintf(out, "%s\"%08" PRIx32 "\"", i ? "," : "", bits);
	}
	putc(']', out);
}

static void put_metadata(FILE *out, const struct wal_record_metadata *metadata)
{
	fputs(",\"metadata\":", out);
	if (!metadata->present) {
		fputs("null", out);
		return;
	}
	putc('[', out);
	for (size_t i = 0; i < metadata->count; i++) {
		fputs(i ? ",[" : "[", out);
		put_text(out, metadata->pairs[i].key, metadata->pairs[i].key_size);
		putc(',', out);
		put_text(out, metadata->pairs[i].value, metadata->pairs[i].value_size);
		putc(']', out);
	}
	putc(']', out);
}

static void put_record(FILE *out, const struct wal_record *record)
{
	static const char *const names[] = { "Insert", "Update", "Delete", "Batch", "Checkpoint", "BeginTransaction", "CommitTransaction", "AbortTransaction" };

	assert_true((size_t)record->type < TEST_COUNT(names));
	fprintf(out, "{\"type\":\"%s\"", names[record->type]);
	if (record->type <= WAL_RECORD_DELETE) {
		fputs(",\"id\":", out);
		put_text(out, record->id, record->id_size);
	}
	if (record->type <= WAL_RECORD_UPDATE) {
		put_vector(out, &record->vector);
		put_metadata(out, &record->metadata);
	}
	if (record->type == WAL_RECORD_BATCH) {
		fputs(",\"entries\":[", out);
		for (size_t i = 0; i < record->record_count; i++) {
			if (i)
				putc(',', out);
			put_record(out, &record->records[i]);
		}
		putc(']', out);
	}
	if (record->type == WAL_RECORD_CHECKPOINT)
		fprintf(out, ",\"sequence_number\":%" PRIu64, record->sequence);
	if (record->type > WAL_RECORD_CHECKPOINT)
		fprintf(out, ",\"transaction_id\":%" PRIu64, record->transaction);
	fprintf(out, ",\"timestamp\":%" PRIu64 "}", record->time);
}

char *oxirs_json(const struct wal_record *record)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	put_record(out, record);
	assert_int_equal(fclose(out), 0);
	return text;
}
