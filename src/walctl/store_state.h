/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WALCTL_STORE_STATE_H
#define WALCTL_STORE_STATE_H

#include "walctl.h"

/* Prints what the store of the command has, as manifest.h says. A store that isn't there has nothing: so the first copy is like all others. */
enum exit_code store_state_put(struct command *command);

#endif
