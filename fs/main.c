/* SPDX-License-Identifier: Apache-2.0 */
/* walfs STORE MOUNTPOINT: options, places, background, store, mount, loop; and all of it back. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "follow.h"
#include "mount_opts.h"
#include "notify.h"
#include "ops.h"
#include "place.h"
#include "process.h"
#include "report.h"
#include "stop.h"
#include "walfs.h"

enum {
	EXIT_STORE = 1,
	EXIT_USAGE = 2,
	EXIT_MOUNT = 32, /* as mount(8) */
};

static int complain(const struct wal_error *err, int status)
{
	fprintf(stderr, "walfs: %s\n", err->message);
	return status;
}

static void complain_about_store(struct report *report, const struct place *place, const struct wal_error *err)
{
	report_line(report, WAL_LOG_ERROR, "%s", err->message);
	if (err->code == -ENOENT)
		report_line(report, WAL_LOG_ERROR, "'walctl init %s' makes a store there, and so does mounting it without 'ro' and 'no_create'",
			    place->store);
	if (err->code == -EBUSY)
		report_line(report, WAL_LOG_ERROR,
			    "unmount it where it is mounted, or let that process end; '-o ro' mounts it for reading meanwhile");
}

/* The loop is about to leave. */
static void before_stop(void *arg)
{
	struct walfs *fs = arg;

	expire_stop(&fs->expire);
	follow_stop(fs);
}

static void kick(void *arg, int signal)
{
	struct walfs *fs = arg;

	loop_kick(&fs->loop, signal);
}

/*
 * An ordinary unmount that meets a request which the kernel is just handing over is told as ECONNABORTED too. What it says when it is asked once more, at once, tells
 * the end of the mount (ENODEV, which is 0 here) from a connection that was broken.
 */
static int loop(struct walfs *fs, struct fuse_session *session)
{
	int error = loop_run(&fs->loop, session);

	return error == -ECONNABORTED ? fuse_session_loop(session) : error;
}

static int run_loop(struct walfs *fs, struct stop *stop, struct fuse_session *session)
{
	int error, signal;

	error = stop_watch(stop, session, before_stop, kick, fs);
	if (error < 0) {
		report_line(fs->report, WAL_LOG_ERROR, "no thread for signals: %s", strerror(-error));
		return EXIT_MOUNT;
	}
	error = loop(fs, session);
	signal = stop_unwatch(stop);
	notify_stopping("writing what is left");
	expire_stop(&fs->expire); /* before the session's descriptor is closed */
	follow_stop(fs);
	/* While the mount is still there, so that whoever waits in close(2) or fsync(2) hears how it went. */
	walfs_drain(fs);
	if (error < 0 && !signal) {
		report_line(fs->report, WAL_LOG_ERROR, "the connection to the kernel broke: %s", strerror(-error));
		return EXIT_MOUNT;
	}
	report_line(fs->report, WAL_LOG_INFO, signal ? "stopped by signal %d" : "unmounted", signal);
	return 0;
}

static int abandoned(struct walfs *fs)
{
	report_line(fs->report, WAL_LOG_ERROR, "the process that started this one was ended before the mount was there: given up");
	return EXIT_MOUNT;
}

/* To the log, and to a service manager that waits for it. */
static void announce(struct walfs *fs, const struct place *place)
{
	char status[2 * PATH_MAX + 32];
	int r;

	snprintf(status, sizeof(status), "'%s' is mounted at '%s'", place->store, place->mountpoint);
	report_line(fs->report, WAL_LOG_INFO, "%s", status);
	r = notify_ready(status);
	if (r < 0)
		report_line(fs->report, WAL_LOG_WARNING, "the service manager at '%s' ($NOTIFY_SOCKET) cannot be told of it: %s", getenv("NOTIFY_SOCKET"), strerror(-r));
}

static int mount_and_run(struct walfs *fs, struct stop *stop, struct fuse_session *session, const struct place *place,
			 struct daemon *daemon)
{
	int status;

	if (fuse_session_mount(session, place->mountpoint)) {
		report_line(fs->report, WAL_LOG_ERROR, "'%s' cannot be mounted at '%s'", place->store, place->mountpoint);
		return EXIT_MOUNT;
	}
	if (daemon_ready(daemon, fs->report) < 0) {
		status = abandoned(fs);
		fuse_session_unmount(session);
		return status;
	}
	announce(fs, place);
	fs->session = session;
	status = run_loop(fs, stop, session);
	fuse_session_unmount(session);
	return status;
}

static int serve(const struct mount_opts *opts, struct walfs *fs, struct fuse_session *session, const struct place *place)
{
	struct daemon daemon = { .ready_fd = -1 };
	struct wal_error err = { 0 };
	struct stop stop;
	int r, status;

	if (!opts->foreground && !opts->debug) {
		r = daemon_fork(&daemon, &status);
		if (r > 0)
			return status;
		if (r < 0) {
			report_line(fs->report, WAL_LOG_ERROR, "cannot go to the background: %s", strerror(-r));
			return EXIT_STORE;
		}
	}
	stop_init(&stop);
	r = walfs_open(fs, place->store, &err);
	if (r < 0) {
		complain_about_store(fs->report, place, &err);
		return EXIT_STORE;
	}
	status = daemon_is_abandoned(&daemon) ? abandoned(fs) : mount_and_run(fs, &stop, session, place, &daemon);
	r = walfs_close(fs);
	if (r < 0) {
		report_line(fs->report, WAL_LOG_ERROR, "store '%s' was not closed cleanly, what was not yet durable may be lost: %s",
			    place->store, wal_strerror(r));
		status = status ? status : EXIT_STORE;
	}
	return status;
}

/* The session is made before anything is touched, because that is where libfuse finds an option it does not know. */
static int run(struct mount_opts *opts)
{
	struct report report;
	struct wal_error err = { 0 };
	struct fuse_session *session;
	struct place place;
	struct walfs fs;
	int status;

	report_init(&report);
	if (place_find_store(&place, opts->store, &err) < 0) {
		report_line(&report, WAL_LOG_ERROR, "%s", err.message);
		return EXIT_STORE;
	}
	if (mount_opts_complete(opts, place.store) < 0) {
		fputs("walfs: out of memory\n", stderr);
		return EXIT_STORE;
	}
	walfs_init(&fs, opts, &report);
	session = fuse_session_new(&opts->args, &walfs_ops, sizeof(walfs_ops), &fs);
	if (!session) {
		mount_opts_usage(stderr); /* libfuse has said why */
		return EXIT_USAGE;
	}
	if (place_find_mountpoint(&place, opts->mountpoint, opts->nonempty, &err) < 0) {
		report_line(&report, WAL_LOG_ERROR, "%s", err.message);
		status = EXIT_MOUNT;
	} else {
		status = serve(opts, &fs, session, &place);
	}
	fuse_session_destroy(session);
	return status;
}

int main(int argc, char **argv)
{
	struct wal_error err = { 0 };
	struct mount_opts opts;
	int status = 0;
	int r = process_init();

	if (r < 0) {
		fprintf(stderr, "walfs: cannot start: %s\n", strerror(-r));
		return EXIT_STORE;
	}
	if (mount_opts_parse(&opts, argc, argv, &err) < 0) {
		status = complain(&err, EXIT_USAGE);
		mount_opts_usage(stderr);
	} else if (opts.help) {
		mount_opts_help(stdout);
	} else if (opts.version) {
		printf("walfs %s\nlibfuse %s\n", WAL_VERSION, fuse_pkgversion());
	} else {
		status = run(&opts);
	}
	mount_opts_release(&opts);
	return status;
}
