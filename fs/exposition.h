/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text exposition format of Prometheus, version 0.0.4.
 *
 * All samples of a metric stand together, behind one line of HELP and one of TYPE. Label values are UTF-8, with backslash, quote and newline escaped.
 */
#ifndef WALFS_EXPOSITION_H
#define WALFS_EXPOSITION_H

#include <stdint.h>
#include <stdio.h>

#include "wal.h"

/* `type`: "counter", "gauge" or "histogram". */
void exposition_family(FILE *out, const char *name, const char *type, const char *help);

/*
 * `key`="`value`", for free(3); NULL: out of memory. In the value, bytes that are not UTF-8, control characters but the newline, and a '%' that two hexadecimal digits
 * follow are written as %XX: so the text is always valid, no two values become the same, and decoding every %XX gives the value back.
 */
char *exposition_label(const char *key, const char *value);

/* One sample. `labels` are what goes between the braces, `more` further ones behind them; either may be NULL. */
void exposition_uint(FILE *out, const char *name, const char *labels, const char *more, uint64_t value);

/* The same, of a value in nanoseconds given in seconds. */
void exposition_seconds(FILE *out, const char *name, const char *labels, int64_t ns);

/* All samples of a histogram in seconds with these labels. */
void exposition_histogram(FILE *out, const char *name, const char *labels, const struct wal_histogram *histogram);

#endif
