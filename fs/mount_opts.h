/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: libwal's options by libwal's own table, a few of the mount's, and the rest left for libfuse. */
#ifndef WALFS_MOUNT_OPTS_H
#define WALFS_MOUNT_OPTS_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <stdio.h>
#include <sys/types.h>

#include "wal.h"

struct mount_opts {
	struct wal_options wal;
	uid_t uid; /* owner of every node */
	gid_t gid;
	mode_t umask; /* taken off the modes of every node */
	int foreground;
	int debug;
	int single_thread;
	int help;
	int version;
	bool nonempty;
	bool allow_other;
	unsigned read_max; /* bytes; 0: as libfuse and the kernel like */
	char *store; /* as given; NULL if absent */
	char *mountpoint;
	struct fuse_args args;		     /* what is libfuse's */
	struct fuse_conn_info_opts *conn_opts;
};

/* Fills `opts`. -EINVAL with a message in `err`, -ENOMEM. Release it in either case. */
int mount_opts_parse(struct mount_opts *opts, int argc, char **argv, struct wal_error *err);

/* Once the store's real path is known: fsname (unless given), subtype, ro, and what goes with allow_other. -ENOMEM. */
int mount_opts_complete(struct mount_opts *opts, const char *store_path);

void mount_opts_release(struct mount_opts *opts);

void mount_opts_usage(FILE *out);
void mount_opts_help(FILE *out);

#endif
