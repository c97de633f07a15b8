/* SPDX-License-Identifier: Apache-2.0 */
/* From the members of a source to what an intake takes. */
#ifndef WALCTL_RESTORE_H
#define WALCTL_RESTORE_H

#include "intake.h"
#include "members.h"

/* What was done, for a summary; also after a failure. */
struct restore_result {
	uint64_t appended, compared, lost, checkpoints, checkpoints_there;
	uint64_t other_times; /* entries that were there, with other times */
	uint64_t foreign;    /* members that are no part of a store: the first few were named on stderr */
	bool whole_seconds;  /* no time had a fraction, as if the archive could not hold it */
};

/*
 * Brings what `source` has into the store of the command, which is made if it isn't there. `name` is the source's for messages. What can be read twice is read
 * through before, so that an archive that can't be restored changes nothing.
 */
enum exit_code restore_run(const struct command *command, struct source *source, const char *name, bool allow_gaps, struct restore_result *ret);

/* Says what is wrong with the source; NULL: it could not be opened. */
enum exit_code restore_fail_source(const struct command *command, const struct source *source, const char *name, int result);

#endif
