/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoints.h"

#include <errno.h>
#include <stdlib.h>

#include "text.h"

enum exit_code checkpoint_read_name(const struct command *command, const char *name, struct bytes *ret)
{
	struct bytes id;
	int r = coding_read_word(name, &id);

	if (r < 0)
		return command_fail(command, r, "reading the name of a checkpoint");
	if (id.size == 0 || id.size > WAL_CHECKPOINT_ID_MAX) {
		free(id.data);
		return command_usage(command->verb, "the name of a checkpoint: expected 1 to %d bytes, found %zu", WAL_CHECKPOINT_ID_MAX, id.size);
	}
	*ret = id;
	return EXIT_OK;
}

enum exit_code checkpoint_is_missing(const struct command *command, const char *name)
{
	command_say(command, "there is no checkpoint '%s'", name);
	return EXIT_LACKING;
}

int checkpoint_json(struct json *json, const struct wal_checkpoint *checkpoint)
{
	char *word = coding_id_word(checkpoint->id, checkpoint->id_size), time[TEXT_TIME_MAX];

	if (!word)
		return -ENOMEM;
	json_text(json, "id", word);
	free(word);
	json_hex(json, "id_hex", checkpoint->id, checkpoint->id_size);
	json_text(json, "created", text_time(time, checkpoint->time_ns, 9));
	json_int(json, "created_ns", checkpoint->time_ns);
	return 0;
}
