/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coding.h"
#include "source.h"

enum { STATE_BYTES_MAX = 64 << 10 };

/* The file without its last number. For free(3). */
static char *head_of(const struct import_state *state)
{
	char *source = coding_name_word(state->source), *stream = coding_name_word(state->stream), *head = NULL;

	if (source && stream && asprintf(&head, "walctl import --append\nfrom %s\nsource %s\nstream %s\nbase ", state->from, source, stream) < 0)
		head = NULL;
	free(source);
	free(stream);
	return head;
}

static int fail(struct wal_error *err, int result, const char *path, const char *what)
{
	return source_fail(err, result, "%s '%s': %s", what, path, strerror(-result));
}

static int read_all(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t got = 0;
	size_t used = 0;

	if (fd < 0)
		return -errno;
	while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	int r = got < 0 ? -errno : 0;
	close(fd);
	return r;
}

int state_load(const char *path, struct import_state *state, struct wal_error *err)
{
	char *text = malloc(STATE_BYTES_MAX), *head = head_of(state), *end;
	int r = text && head ? read_all(path, text, STATE_BYTES_MAX) : -ENOMEM;

	if (r == -ENOENT) {
		r = WAL_NOT_FOUND;
	} else if (r < 0) {
		fail(err, r, path, "reading");
	} else if (strncmp(text, head, strlen(head))) {
		r = source_fail(err, -EINVAL, "'%s' does not tell of this import: expected the format, source and stream given", path);
	} else {
		errno = 0;
		state->base = strtoull(text + strlen(head), &end, 10);
		if (errno || strcmp(end, "\n"))
			r = source_fail(err, -EINVAL, "'%s' does not tell where the import began: expected a line 'base ID'", path);
	}
	free(text);
	free(head);
	return r;
}

static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, r = 0;

	if (fd < 0)
		r = parent ? -errno : -ENOMEM;
	else if (fsync(fd) < 0)
		r = -errno;
	free(parent);
	if (fd >= 0)
		close(fd);
	return r;
}

static int write_file(const char *path, const char *head, uint64_t base)
{
	FILE *file = fopen(path, "we");
	int r = 0;

	if (!file)
		return -errno;
	if (fprintf(file, "%s%" PRIu64 "\n", head, base) < 0 || fflush(file) || fsync(fileno(file)) < 0)
		r = -errno;
	if (fclose(file) && r == 0)
		r = -errno;
	return r;
}

int state_save(const char *path, const struct import_state *state, struct wal_error *err)
{
	char *head = head_of(state), *tmp = NULL;
	int r = head && asprintf(&tmp, "%s.tmp", path) >= 0 ? 0 : -ENOMEM;

	if (r == 0)
		r = write_file(tmp, head, state->base);
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r == 0)
		r = sync_parent(path);
	free(head);
	free(tmp);
	return r < 0 ? fail(err, r, path, "writing") : 0;
}
