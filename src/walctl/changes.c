/* SPDX-License-Identifier: Apache-2.0 */
#include "changes.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What others change over a network isn't told: it is looked for so often. */
#define UNTOLD_SECONDS 10.0

int changes_init(struct changes *changes, const char *path)
{
	sigset_t signals;

	*changes = (struct changes){ .path = path, .inotify_fd = -1 };
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	changes->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (changes->signal_fd < 0)
		return -errno;
	changes->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return 0;
}

void changes_release(struct changes *changes)
{
	if (changes->inotify_fd >= 0)
		close(changes->inotify_fd);
	close(changes->signal_fd);
}

static bool watch_dir(struct changes *changes, const char *path)
{
	return inotify_add_watch(changes->inotify_fd, path, IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) >= 0;
}

static void drain(struct changes *changes)
{
	char events[4096];

	while (read(changes->inotify_fd, events, sizeof(events)) > 0)
		;
}

/* What was told so far is in the store as it is opened next. A directory that is watched already stays so. */
void changes_watch(struct changes *changes)
{
	struct dirent *entry;
	char path[4096];
	DIR *dir;

	changes->complete = false;
	if (changes->inotify_fd < 0)
		return;
	drain(changes);
	changes->complete = watch_dir(changes, changes->path);
	dir = opendir(changes->path);
	if (!dir) {
		changes->complete = false;
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", changes->path, entry->d_name) >= (int)sizeof(path) ||
		    (!watch_dir(changes, path) && errno != ENOENT))
			changes->complete = false;
	}
	closedir(dir);
}

bool changes_wait(struct changes *changes, double interval)
{
	struct pollfd fds[2] = { { .fd = changes->signal_fd, .events = POLLIN }, { .fd = changes->inotify_fd, .events = POLLIN } };
	double longest = interval > UNTOLD_SECONDS ? interval : UNTOLD_SECONDS;

	if (poll(fds, 1, (int)(interval * 1000)) != 0)
		return false;
	if (!changes->complete)
		return true;
	poll(fds, 2, (int)(longest * 1000));
	return !(fds[0].revents & POLLIN);
}

bool changes_pause(struct changes *changes, int ms)
{
	struct pollfd fd = { .fd = changes->signal_fd, .events = POLLIN };

	return poll(&fd, 1, ms) == 0;
}
