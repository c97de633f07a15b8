/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints as walctl names and shows them. Their ids may be any bytes: see coding.h. */
#ifndef WALCTL_CHECKPOINTS_H
#define WALCTL_CHECKPOINTS_H

#include "coding.h"
#include "table.h"
#include "walctl.h"

/* The id that `name` stands for; ret->data is for free(3). EXIT_USAGE if no checkpoint can have it. */
enum exit_code checkpoint_read_name(const struct command *command, const char *name, struct bytes *ret);

/* Says that there is none of this name. Returns EXIT_LACKING. */
enum exit_code checkpoint_is_missing(const struct command *command, const char *name);

/* Id and time as members of the object that is open. -ENOMEM. */
int checkpoint_json(struct json *json, const struct wal_checkpoint *checkpoint);

#endif
