/* SPDX-License-Identifier: Apache-2.0 */
/* What the sequence numbers of an oxirs log say: sessions, what is missing, what comes late. A part of oxirs_log.c. */
#ifndef IMPORT_OXIRS_NUMBERS_H
#define IMPORT_OXIRS_NUMBERS_H

#include "oxirs_log.h"

/* Makes an item of what stands at log->offset: `bytes` of them. */
void oxirs_place(const struct oxirs_log *log, struct item *item, uint64_t bytes);

/* Takes in the number of the record at log->offset. True: there is something to tell before the record comes. */
bool oxirs_judge_number(struct oxirs_log *log, uint64_t number, struct item *item);

/* Tells of the oldest numbers that are missing, and forgets them. There are some. */
void oxirs_tell_missing(struct oxirs_log *log, struct item *item);

#endif
