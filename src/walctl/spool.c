/* SPDX-License-Identifier: Apache-2.0 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int spool_begin(struct spool *spool, const char *path)
{
	const char *tmp = getenv("TMPDIR");
	char name[4096];

	*spool = (struct spool){ .fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) };
	if (spool->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
		return -errno;
	if (snprintf(name, sizeof(name), "%s/walctl.XXXXXX", tmp && *tmp ? tmp : "/var/tmp") >= (int)sizeof(name))
		return -ENAMETOOLONG;
	spool->fd = mkostemp(name, O_CLOEXEC);
	if (spool->fd < 0)
		return -errno;
	unlink(name);
	return 0;
}

int spool_add(struct spool *spool, const void *data, size_t size)
{
	const char *bytes = data;

	while (size) {
		ssize_t written = write(spool->fd, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		size -= (size_t)written;
	}
	return 0;
}

int spool_map(struct spool *spool, size_t size, const void **ret_data)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, spool->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	spool->map = map;
	spool->map_size = size;
	*ret_data = map;
	return 0;
}

void spool_end(struct spool *spool)
{
	if (spool->map)
		munmap(spool->map, spool->map_size);
	if (spool->fd >= 0)
		close(spool->fd);
	*spool = (struct spool){ .fd = -1 };
}
