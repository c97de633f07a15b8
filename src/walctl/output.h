/* SPDX-License-Identifier: Apache-2.0 */
/* Standard output as a stream that remembers why it failed: stdio alone loses the errno of a write that it does for another call. */
#ifndef WALCTL_OUTPUT_H
#define WALCTL_OUTPUT_H

#include <stdio.h>

struct output {
	FILE *file; /* buffered; ferror() once something could not be written */
	int error;  /* the errno of the first write that failed; nothing is written after it */
};

/* -ENOMEM. `output` stays where it is until output_close(). */
int output_open(struct output *output);

/* Writes what is left. 0, or the negative errno of the first failure. Descriptor 1 stays open. */
int output_close(struct output *output);

#endif
