/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ready, or gone without having become so. */
static int wait_for_child(pid_t child, int fd)
{
	int status;
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		fprintf(stderr, "walfs: ended by signal %d before the mount was there\n", WTERMSIG(status));
	else
		fprintf(stderr, "walfs: ended before the mount was there\n");
	return 1;
}

int daemon_fork(struct daemon *daemon, int *ret_status)
{
	int fds[2];
	pid_t child;

	closefrom(STDERR_FILENO + 1);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (child) {
		close(fds[1]);
		*ret_status = wait_for_child(child, fds[0]);
		close(fds[0]);
		return 1;
	}
	close(fds[0]);
	daemon->ready_fd = fds[1];
	setsid();
	return chdir("/") < 0 ? -errno : 0; /* no directory is to be kept busy */
}

bool daemon_is_abandoned(const struct daemon *daemon)
{
	struct pollfd ready = { .fd = daemon->ready_fd };

	return daemon->ready_fd >= 0 && poll(&ready, 1, 0) > 0 && ready.revents & POLLERR;
}

int daemon_ready(struct daemon *daemon, struct report *report)
{
	int fd, r;

	if (daemon->ready_fd < 0)
		return 0;
	report_to_syslog(report);
	r = write(daemon->ready_fd, "", 1) < 0 ? -errno : 0;
	close(daemon->ready_fd);
	daemon->ready_fd = -1;
	if (r < 0)
		return r;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}
