/* SPDX-License-Identifier: Apache-2.0 */
#include "store_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "entries.h"
#include "manifest.h"
#include "text.h"

static enum exit_code add_state(const struct command *command, struct wal_store *store, const char *name, struct manifest *state)
{
	struct manifest_stream item = { .name = (char *)name };
	char escaped[TEXT_NAME_MAX];
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(command, store, name, 0, &stream);
	int r = 0;

	if (code)
		return code;
	wal_stream_bounds(stream, &item.first, &item.next, NULL);
	if (item.first < item.next)
		r = entries_digest(stream, item.next - 1, &item.last_size, &item.last_crc);
	wal_stream_close(stream);
	if (r)
		return command_fail(command, r, "stream '%s': entry %" PRIu64, text_escape(escaped, name), item.next - 1);
	return manifest_add_stream(state, &item) < 0 ? command_fail(command, -ENOMEM, "listing") : EXIT_OK;
}

static enum exit_code add_checkpoints(const struct command *command, struct wal_store *store, struct manifest *state)
{
	struct wal_checkpoint *list;
	size_t count;
	int r = wal_checkpoint_list(store, &list, &count);

	if (r < 0)
		return command_fail(command, r, "listing checkpoints");
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct manifest_checkpoint item = { NULL, list[i].time_ns, { (void *)list[i].id, list[i].id_size } };

		r = manifest_add_checkpoint(state, &item);
	}
	free(list);
	return r < 0 ? command_fail(command, r, "listing checkpoints") : EXIT_OK;
}

enum exit_code store_state_put(struct command *command)
{
	struct manifest state = { 0 };
	struct wal_error error = { 0 };
	struct wal_store *store = NULL;
	char **names = NULL;
	size_t count = 0;
	enum exit_code code = EXIT_OK;
	int r;

	command->options.ro = command->options.no_create = true;
	command_prepare(command);
	r = wal_store_open(command->store_path, &command->options, &store, &error);
	if (r < 0 && r != -ENOENT)
		return command_fail_open(command, r, &error);
	if (r == 0)
		r = wal_store_list(store, &names, &count);
	if (r < 0 && r != -ENOENT)
		code = command_fail(command, r, "listing streams");
	for (size_t i = 0; i < count && !code; i++)
		code = add_state(command, store, names[i], &state);
	if (store && !code)
		code = add_checkpoints(command, store, &state);
	if (!code)
		manifest_write(&state, true, command->out);
	free(names);
	manifest_release(&state);
	return command_close_store(command, store, code);
}
