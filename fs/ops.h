/* SPDX-License-Identifier: Apache-2.0 */
/* The table of requests: each is turned over to the node or handle that it names, or refused with the errno that fits. */
#ifndef WALFS_OPS_H
#define WALFS_OPS_H

#include "walfs.h"

/* For fuse_session_new(), with a struct walfs as userdata. */
extern const struct fuse_lowlevel_ops walfs_ops;

#endif
