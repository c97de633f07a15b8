/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/*
 * A file of the store that was opened as descriptor 1 or 2 would get what is printed, and lose its lock when the terminal is left. So a
 * missing one is taken, in the direction in which using it fails.
 */
static int keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
			return -errno;
	return 0;
}

/* Segments that are open, one draft for each writer: the usual 1024 is little, and nothing here uses select(2). */
static int raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur == limit.rlim_max)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

int process_init(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int r = keep_standard_descriptors();

	if (r < 0)
		return r;
	if (sigaction(SIGXFSZ, &ignore, NULL) < 0)
		return -errno;
	return raise_open_files();
}
