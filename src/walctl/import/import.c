/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "text.h"

/* ---- What is said ---- */

static const char *stream_told(const struct import *import)
{
	return import->format->has_streams && import->in_stream ? import->sink->name : NULL;
}

static void tell(struct import *import, const struct item *item)
{
	bool is_wrong = item->finding > FINDING_NOTE;

	import->counts[item->finding]++;
	import->lost |= item->lost;
	if (import->report)
		report_finding_line(import->report, stream_told(import), item);
	if (item->finding == FINDING_LEFT_OUT || (!is_wrong && import->quiet))
		return;
	progress_clear(&import->progress);
	if (!import->json) {
		report_tell(import->out, stream_told(import), item);
		return;
	}
	json_open(import->json, NULL, '{');
	json_text(import->json, "kind", finding_names[item->finding]);
	if (stream_told(import))
		json_name(import->json, "stream", stream_told(import));
	report_finding(import->json, item);
	json_close(import->json, '}');
}

static void tell_stream(struct import *import)
{
	const struct sink *sink = import->sink;
	uint64_t appended = sink->appended - import->appended_before, present = sink->present - import->present_before, bytes = sink->bytes - import->bytes_before;
	char name[TEXT_NAME_MAX];

	json_open(&import->streams, NULL, '{');
	json_name(&import->streams, "stream", sink->name);
	json_uint(&import->streams, "entries", appended);
	json_uint(&import->streams, "present", present);
	json_uint(&import->streams, "bytes", bytes);
	json_uint(&import->streams, "first_id", import->begin);
	json_uint(&import->streams, "next_id", sink->position);
	json_close(&import->streams, '}');
	if (import->json || import->quiet)
		return;
	progress_clear(&import->progress);
	fprintf(import->out, "%s: %" PRIu64 " entries %s", text_escape(name, sink->name), appended,
		import->refused ? "not imported" : import->dry ? "would be imported" : "imported");
	if (present)
		fprintf(import->out, ", %" PRIu64 " were there already", present);
	if (sink->position > import->begin)
		fprintf(import->out, ": ids %" PRIu64 " to %" PRIu64 ", %" PRIu64 " bytes", import->begin, sink->position - 1, bytes);
	putc('\n', import->out);
}

/* ---- Streams ---- */

/* Where entries go that are appended behind others. */
static int find_base(struct import *import, struct import_state *state, struct wal_error *err)
{
	const char *path = import->append;
	struct wal_stream *stream;
	uint64_t next = 0;
	int r = state_load(path, state, err);

	if (r < 0)
		return r;
	bool known = r == 0;
	if (import->store) {
		r = wal_stream_open(import->store, import->stream, 0, &stream, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0) {
			wal_stream_bounds(stream, NULL, &next, NULL);
			wal_stream_close(stream);
		}
	}
	if (known && state->base > next)
		return source_fail(err, -EEXIST, "'%s' says the import began at id %" PRIu64 ", but the stream ends at %" PRIu64, path, state->base, next);
	if (known)
		return 0;
	state->base = next;
	return import->dry ? 0 : state_save(path, state, err);
}

static int begin_stream(struct import *import, const char *name, const uint64_t *first_id, struct wal_error *err)
{
	struct import_state state = { .from = import->format->name, .source = import->source_path, .stream = name };
		int r = import->append ? find_base(import, &state, err) : 0;

	if (r < 0)
		return r;
	r = sink_begin(import->sink, name, import->append ? &state.base : NULL, first_id, err);
	if (r < 0)
		return r;
	import->in_stream = true;
	import->cut = false;
	import->begin = import->sink->position;
	import->appended_before = import->sink->appended;
	import->present_before = import->sink->present;
	import->bytes_before = import->sink->bytes;
	return 0;
}

/* The stream's line comes when it is durable. */
static int end_stream(struct import *import, struct wal_error *err)
{
	int r;

	if (!import->in_stream)
		return 0;
	r = sink_finish(import->sink, err);
	if (r < 0)
		return r;
	tell_stream(import);
	import->in_stream = false;
	sink_leave(import->sink);
	return 0;
}

/* ---- Items ---- */

static int take_entry(struct import *import, const struct item *item, struct wal_error *err)
{
	bool present;
	uint64_t id;
	int r;

	if (import->cut)
		return 0;
	r = sink_put(import->sink, item, &id, &present, err);
	if (r < 0)
		return r;
	import->moved_checkpoints += item->type && !strcmp(item->type, "checkpoint") && id != item->sequence;
	if (import->report)
		report_entry_line(import->report, import->sink->name, item, id, present);
	return 0;
}

/* WAL_END: nothing that comes is wanted. */
static int take_finding(struct import *import, const struct item *item)
{
	if (import->cut)
		return 0;
	tell(import, item);
	if (item->has_id)
		sink_leave_free(import->sink, item->id, item->count);
	/* from standard input it comes too late to import nothing, but not to import no more */
	bool ends = import->options.policy == POLICY_PREFIX ? item->ends_prefix : import->options.policy == POLICY_STRICT && !import->refused && item->fails_strict;
	if (!ends)
		return 0;
	import->cut = import->ever_cut = true;
	return import->format->has_streams ? 0 : WAL_END;
}

static bool same_checkpoint(const struct wal_checkpoint *a, const struct wal_checkpoint *b)
{
	if (a->time_ns != b->time_ns || a->cut_count != b->cut_count)
		return false;
	for (size_t i = 0; i < a->cut_count; i++) {
		if (strcmp(a->cuts[i].stream, b->cuts[i].stream) || a->cuts[i].next_id != b->cuts[i].next_id)
			return false;
	}
	return true;
}

static int take_checkpoint(struct import *import, const struct item *item, struct wal_error *err)
{
	struct item finding = { .file = item->file };
	struct wal_checkpoint *there;
	int r;

	import->checkpoints++;
	if (import->dry)
		return 0;
	r = wal_checkpoint_restore(import->store, item->checkpoint, WAL_EXCL, err);
	if (r == -EEXIST) {
		r = wal_checkpoint_load(import->store, item->checkpoint->id, item->checkpoint->id_size, &there);
		if (r == 0) {
			bool same = same_checkpoint(there, item->checkpoint);

			free(there);
			if (same)
				return 0;
		}
		snprintf(err->message, sizeof(err->message), "the store has another one of its name");
		r = -EINVAL;
	}
	if (r != -EINVAL)
		return r;
	import->checkpoints--;
	finding_set(&finding, FINDING_GAP, "a checkpoint that the store can have", "%s", err->message);
	tell(import, &finding);
	return 0;
}

static int take(struct import *import, const struct item *item, struct wal_error *err)
{
	int r;

	switch (item->kind) {
	case ITEM_STREAM:
		r = end_stream(import, err);
		return r < 0 ? r : begin_stream(import, item->stream, &item->id, err);
	case ITEM_CHECKPOINT:
		r = end_stream(import, err);
		return r < 0 ? r : take_checkpoint(import, item, err);
	case ITEM_FINDING:
		return take_finding(import, item);
	case ITEM_ENTRY:
		break;
	}
	return take_entry(import, item, err);
}

int import_all(struct import *import, struct wal_error *err)
{
	struct item item;
	int r = import->format->has_streams ? 0 : begin_stream(import, import->stream, NULL, err);

	while (r == 0) {
		progress_show(&import->progress, import->source->done, import->source->total);
		r = import->source->ops->next(import->source, &item, err);
		if (r == 0)
			r = take(import, &item, err);
	}
	return r < 0 ? r : end_stream(import, err);
}

int import_look_through(struct import *import, struct wal_error *err)
{
	struct source *source;
	struct item item;
	int r = import->format->open(import->source_path, &import->options, &source, err);

	if (r < 0)
		return r;
	while (r == 0 && !import->refused) {
		progress_show(&import->progress, source->done, source->total);
		r = source->ops->next(source, &item, err);
		import->refused |= r == 0 && item.kind == ITEM_FINDING && item.fails_strict;
	}
	source->ops->free(source);
	return r < 0 ? r : 0;
}
