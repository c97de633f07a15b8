/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount tells of itself, as text for Prometheus and for grep(1). The names are an interface: walfs(1) has the list, dashboards and alerts are made with them.
 */
#ifndef WALFS_METRICS_H
#define WALFS_METRICS_H

#include <stdio.h>

#include "namespace.h"

/*
 * Writes the figures of one stream, or with `slot` NULL those of the store and of all its streams. Memory goes with the number of streams, some hundred bytes each; the
 * text itself is written piece by piece. -ENOMEM. Reads the disk.
 */
int metrics_render(struct walfs *fs, struct slot *slot, FILE *out);

#endif
