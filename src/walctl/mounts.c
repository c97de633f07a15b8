/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is looked at of a line of /proc/self/mountinfo, see proc(5). They point into the line. */
struct mount {
	const char *root, *point, *options, *type, *source, *super_options;
};

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* White space and backslashes in a field are written as \ and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && is_octal(text[2]) && is_octal(text[3])) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

static const char *next_field(char **line)
{
	char *field = strsep(line, " \n");

	if (field)
		unescape(field);
	return field;
}

/* False if a field is missing. Between the mount's options and the type are any number of others, then "-". */
static bool parse_line(char *line, struct mount *ret)
{
	const char *field;

	for (int i = 0; i < 3; i++)
		next_field(&line);
	ret->root = next_field(&line);
	ret->point = next_field(&line);
	ret->options = next_field(&line);
	do {
		field = next_field(&line);
	} while (field && strcmp(field, "-"));
	ret->type = next_field(&line);
	ret->source = next_field(&line);
	ret->super_options = next_field(&line);
	return ret->super_options;
}

static bool has_option(const char *options, const char *option)
{
	size_t length = strlen(option);

	while (options) {
		if (!strncmp(options, option, length) && (!options[length] || options[length] == ','))
			return true;
		options = strchr(options, ',');
		options += options ? 1 : 0;
	}
	return false;
}

static const char *point_of(const struct mount *mount)
{
	return mount->point;
}

static const char *source_of(const struct mount *mount)
{
	return mount->source;
}

/* What is asked for of the first mount that `fits`, or NULL. */
static char *find(bool (*fits)(const struct mount *mount, const char *path), const char *path, const char *(*asked)(const struct mount *mount))
{
	char *real_path = realpath(path, NULL), *line = NULL, *found = NULL;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	struct mount mount;
	size_t capacity = 0;

	while (real_path && mounts && !found && getline(&line, &capacity, mounts) >= 0) {
		if (parse_line(line, &mount) && !strcmp(mount.type, "fuse.walfs") && fits(&mount, real_path))
			found = strdup(asked(&mount));
	}
	if (mounts)
		fclose(mounts);
	free(line);
	free(real_path);
	return found;
}

static bool is_mount_of(const struct mount *mount, const char *path)
{
	return !strcmp(mount->source, path) && !strcmp(mount->root, "/") && !has_option(mount->options, "ro") && !has_option(mount->super_options, "ro");
}

static bool is_mount_at(const struct mount *mount, const char *path)
{
	return !strcmp(mount->point, path) && !strcmp(mount->root, "/");
}

char *mounts_find(const char *store_path)
{
	return find(is_mount_of, store_path, point_of);
}

bool mounts_is_mountpoint(const char *path)
{
	char *point = find(is_mount_at, path, point_of);

	free(point);
	return point;
}

char *mounts_store_at(const char *path)
{
	return find(is_mount_at, path, source_of);
}
