/* SPDX-License-Identifier: Apache-2.0 */
/* `walctl stat --watch`: figures of streams as rates, again and again. */
#ifndef WALCTL_WATCH_H
#define WALCTL_WATCH_H

#include "walctl.h"

struct watch_options {
	const char *interval; /* as given, in seconds; "" for the usual one */
	const char *count;    /* how many times; NULL: until it is told to end */
	bool json;
	bool human;
};

/* Until SIGINT or SIGTERM, which are no failure, or as often as asked for. The command's operands are the streams to show; none: all. */
enum exit_code watch_run(struct command *command, const struct watch_options *options);

#endif
