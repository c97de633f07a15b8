/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MOUNTS_LINE_BYTES = 16384, /* two paths, each byte perhaps as four */
};

__attribute__((format(printf, 3, 4))) static int fail(struct wal_error *err, int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err->message, sizeof(err->message), format, ap);
	va_end(ap);
	err->code = code;
	return code;
}

/* The path of something that does not exist yet: that of its parent, and its name. */
static int resolve_missing(const char *path, char *ret)
{
	char copy[PATH_MAX], *slash, *name;
	size_t size = strlen(path);

	if (!size || size >= sizeof(copy))
		return size ? -ENAMETOOLONG : -ENOENT;
	memcpy(copy, path, size + 1);
	while (size > 1 && copy[size - 1] == '/')
		copy[--size] = '\0';
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return -ENOENT;
	if (slash)
		*slash = '\0';
	if (!realpath(!slash ? "." : *copy ? copy : "/", ret))
		return -errno;
	if (strlen(ret) + 1 + strlen(name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (strcmp(ret, "/"))
		strcat(ret, "/");
	strcat(ret, name);
	return 0;
}

int place_find_store(struct place *place, const char *store, struct wal_error *err)
{
	int r;

	if (realpath(store, place->store))
		return 0;
	if (errno != ENOENT)
		return fail(err, -errno, "store '%s': %s", store, strerror(errno));
	r = resolve_missing(store, place->store);
	return r < 0 ? fail(err, r, "store '%s' does not exist and cannot be created there: %s", store, strerror(-r)) : 0;
}

static bool is_inside(const char *path, const char *directory)
{
	size_t size = strlen(directory);

	if (!strcmp(directory, "/"))
		return true;
	return !strncmp(path, directory, size) && (path[size] == '/' || !path[size]);
}

static int check_empty(const char *path, struct wal_error *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return fail(err, -errno, "mount point '%s' cannot be read: %s", path, strerror(errno));
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = fail(err, -ENOTEMPTY, "mount point '%s' is not empty (it holds '%s'); -o nonempty mounts over it", path,
				 entry->d_name);
	closedir(dir);
	return r;
}

/*
 * Mounting over a walfs is a mistake even where that is empty: the one below could not be reached, and would keep its store locked.
 * The mounts are listed in the order they were made, so the last one at a path is what is seen there.
 */
static int check_not_mounted(const char *path, struct wal_error *err)
{
	char *line = malloc(MOUNTS_LINE_BYTES);
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	int r = 0;

	/* Without /proc there is nothing to say against it. */
	while (line && mounts && getmntent_r(mounts, &entry, line, MOUNTS_LINE_BYTES)) {
		if (strcmp(entry.mnt_dir, path))
			continue;
		r = strcmp(entry.mnt_type, "fuse.walfs") ? 0 :
			fail(err, -EBUSY, "mount point '%s' is already a mount of '%s': unmount it with 'fusermount3 -u %s'", path,
			     entry.mnt_fsname, path);
	}
	if (mounts)
		endmntent(mounts);
	free(line);
	return r;
}

/* Whether something is mounted at `path`, whose attributes are `st`. */
static bool is_mounted(const char *path, const struct stat *st)
{
	char parent[PATH_MAX + sizeof("/..")];
	struct stat parent_st;

	snprintf(parent, sizeof(parent), "%s/..", path);
	return !stat(parent, &parent_st) && parent_st.st_dev != st->st_dev;
}

static int check_device(struct wal_error *err)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return fail(err, -errno, "no /dev/fuse here: load the kernel module 'fuse', or give the container that device");
	return fail(err, -errno, "/dev/fuse cannot be opened: %s", strerror(errno));
}

int place_find_mountpoint(struct place *place, const char *mountpoint, bool nonempty, struct wal_error *err)
{
	struct stat st;
	int r;

	if (!realpath(mountpoint, place->mountpoint) || stat(place->mountpoint, &st)) {
		if (errno == ENOENT)
			return fail(err, -ENOENT, "mount point '%s' does not exist", mountpoint);
		if (errno == ENOTCONN)
			return fail(err, -ENOTCONN,
				    "mount point '%s' is the remains of a mount whose program died: clear it by 'fusermount3 -u %s'",
				    mountpoint, mountpoint);
		return fail(err, -errno, "mount point '%s': %s", mountpoint, strerror(errno));
	}
	if (!S_ISDIR(st.st_mode))
		return fail(err, -ENOTDIR, "mount point '%s' is not a directory", mountpoint);
	if (is_inside(place->mountpoint, place->store) || is_inside(place->store, place->mountpoint))
		return fail(err, -EINVAL, "mount point '%s' and store '%s' must not be one inside the other", place->mountpoint,
			    place->store);
	if (is_mounted(place->mountpoint, &st) && (r = check_not_mounted(place->mountpoint, err)) < 0)
		return r;
	if (!nonempty && (r = check_empty(place->mountpoint, err)) < 0)
		return r;
	return check_device(err);
}
