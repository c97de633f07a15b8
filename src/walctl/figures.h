/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of a stream as walctl shows them. */
#ifndef WALCTL_FIGURES_H
#define WALCTL_FIGURES_H

#include "table.h"
#include "walctl.h"

/* Damage was found in it, or it takes no appends: shown, it makes the exit code EXIT_LACKING. */
bool stat_is_damaged(const struct wal_stream_stat *stat);

/* One word: "ok", "truncated", "damaged", "read-only" or "stopped". */
const char *stat_state(const struct wal_stream_stat *stat);

/* "clean", "truncated" or "damaged"; "healthy", "read-only" or "stopped". */
const char *stat_tail(const struct wal_stream_stat *stat);
const char *stat_health(const struct wal_stream_stat *stat);

/* All of it as members of the object that is open. */
void stat_json(struct json *json, const char *name, const struct wal_stream_stat *stat);

#endif
