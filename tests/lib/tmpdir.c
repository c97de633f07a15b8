/* SPDX-License-Identifier: Apache-2.0 */
#include "tmpdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

void tmpdir_make(struct tmpdir *dir, const char *name)
{
	const char *parent = getenv("TMPDIR");
	int n = snprintf(dir->path, sizeof(dir->path), "%s/walfs-%s-XXXXXX", parent && *parent ? parent : "/tmp", name);

	assert_true(n > 0 && (size_t)n < sizeof(dir->path));
	assert_non_null(mkdtemp(dir->path));
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir->fd >= 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void tmpdir_remove(struct tmpdir *dir)
{
	close(dir->fd);
	dir->fd = -1;
	assert_int_equal(nftw(dir->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

char *tmpdir_path(const struct tmpdir *dir, const char *name, char *buf)
{
	int n = snprintf(buf, PATH_MAX, "%s/%s", dir->path, name);

	assert_true(n > 0 && n < PATH_MAX);
	return buf;
}

size_t open_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
