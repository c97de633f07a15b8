/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	MESSAGE_BYTES = 1024, /* a longer status is cut */
};

/* A path, or with '@' a name that is in no directory. */
static int find_socket(const char *name, struct sockaddr_un *ret, socklen_t *ret_size)
{
	size_t size = strlen(name);

	if (*name != '/' && *name != '@')
		return -EAFNOSUPPORT;
	if (size >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, name, size);
	if (*name == '@')
		ret->sun_path[0] = '\0';
	*ret_size = offsetof(struct sockaddr_un, sun_path) + size;
	return 0;
}

/* Never waits: a manager that does not read must not hold up the mount. */
static int send_to(const struct sockaddr_un *address, socklen_t address_size, const char *message)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)address, address_size) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int notify(const char *state, const char *status)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t address_size;
	char message[MESSAGE_BYTES];
	int r;

	if (!name || !*name)
		return 0;
	r = find_socket(name, &address, &address_size);
	if (r < 0)
		return r;
	r = snprintf(message, sizeof(message), "%s\nSTATUS=", state);
	snprintf(message + r, sizeof(message) - r, "%s", status);
	/* A newline in the name of a directory would begin another assignment. */
	for (char *p = message + r; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return send_to(&address, address_size, message);
}

int notify_ready(const char *status)
{
	return notify("READY=1", status);
}

void notify_stopping(const char *status)
{
	notify("STOPPING=1", status);
}
