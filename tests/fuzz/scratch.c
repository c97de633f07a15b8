/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

void scratch_make(struct scratch *s)
{
	const char *tmp = getenv("TMPDIR");

	if (!tmp)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(s->path, sizeof s->path, "%s/walfs-fuzz.XXXXXX", tmp);
	CHECK(mkdtemp(s->path), "%s", s->path);
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(s->fd >= 0);
}

void scratch_write(const struct scratch *s, const char *name, const void *data, size_t size)
{
	int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return; /* the input made something else of that name before */
	CHECK(write(fd, data, size) == (ssize_t)size, "%s", name);
	close(fd);
}

static void remove_below(int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	CHECK(dir);
	while ((d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, d->d_name, 0) == 0)
			continue;
		int below = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		CHECK(below >= 0, "%s", d->d_name);
		remove_below(below);
		CHECK(unlinkat(fd, d->d_name, AT_REMOVEDIR) == 0, "%s", d->d_name);
	}
	closedir(dir);
}

void scratch_remove(struct scratch *s)
{
	remove_below(s->fd);
	CHECK(rmdir(s->path) == 0);
}
