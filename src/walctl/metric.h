/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one line of a mount's `.stats`: the text format of Prometheus, as walfs writes it. */
#ifndef WALCTL_METRIC_H
#define WALCTL_METRIC_H

#include <stdbool.h>

/* They point into the line. NULL: it has no such label. */
struct metric {
	const char *name;
	char *stream; /* decoded: the stream's name */
	const char *state, *le;
	const char *value;
};

/* Takes a line apart, in place. False: it is no sample, but a comment. What it does not know of labels is passed over. */
bool metric_parse(char *line, struct metric *ret);

#endif
