/* SPDX-License-Identifier: Apache-2.0 */
#include "slurp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_all(int fd, uint64_t bytes_max, char **text, size_t *size)
{
	size_t capacity = 0;

	for (;;) {
		ssize_t got;

		if (capacity - *size < 2) {
			char *larger = realloc(*text, capacity = 2 * capacity + 4096);

			if (!larger)
				return -ENOMEM;
			*text = larger;
		}
		got = read(fd, *text + *size, capacity - *size - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		*size += (size_t)got;
		(*text)[*size] = '\0';
		if (*size > bytes_max)
			return -EFBIG;
		if (!got)
			return 0;
	}
}

int slurp(const char *path, uint64_t bytes_max, char **ret_text, size_t *ret_size)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO, r;
	char *text = NULL;
	size_t size = 0;

	if (fd < 0)
		return -errno;
	r = read_all(fd, bytes_max, &text, &size);
	if (fd != STDIN_FILENO)
		close(fd);
	if (r < 0) {
		free(text);
		return r;
	}
	*ret_text = text;
	*ret_size = size;
	return 0;
}
