/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "key.h"
#include "lines.h"
#include "text.h"

enum { OPT_LINES, OPT_BATCH, OPT_CREATE, OPT_DURABLE, OPT_KEY, OPT_HEX };

static const struct verb_option options[] = {
	[OPT_LINES] = { "lines", 0, NULL, "each line is an entry, without its newline" },
	[OPT_BATCH] = { "batch", 0, NULL, "likewise, and all of them are one batch: all or none" },
	[OPT_CREATE] = { "create", 0, NULL, "make the stream if there is none" },
	[OPT_DURABLE] = { "durable", 0, NULL, "durable before it returns, in any sync mode" },
	[OPT_KEY] = { "key", 0, "KEY", "to the shard of this key, instead of STREAM; its name is printed before the id" },
	[OPT_HEX] = { "hex", 0, NULL, "KEY is given in hexadecimal digits" },
	{ 0 },
};

enum {
	READ_BYTES = 256 << 10,
	WAVE_COUNT = 1024, /* lines that are under way together and share their syncs */
};

struct append {
	const struct command *command;
	struct wal_stream *stream;
	const char *input_name;
	int fd;
	unsigned flags;
};

static enum exit_code fail_input(const struct append *append, int result)
{
	return command_fail(append->command, result, "reading '%s'", append->input_name);
}

/* What is printed for the entries from `first_id` on. With a key the stream's name comes first, as walctl cat takes it. */
static void put_ids(const struct append *append, uint64_t first_id, uint64_t last_id, bool range)
{
	FILE *out = append->command->out;

	if (append->command->given[OPT_KEY])
		fprintf(out, "%s ", wal_stream_name(append->stream));
	if (range)
		fprintf(out, "%" PRIu64 "..%" PRIu64 "\n", first_id, last_id);
	else
		fprintf(out, "%" PRIu64 "\n", first_id);
}

/* ---- One entry ---- */

static enum exit_code fill_draft(const struct append *append, struct wal_draft *draft, void *piece)
{
	for (;;) {
		ssize_t got = read(append->fd, piece, READ_BYTES);
		int r;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_input(append, -errno);
		if (!got)
			return EXIT_OK;
		r = wal_draft_write(draft, piece, (size_t)got, wal_draft_size(draft));
		if (r < 0)
			return command_fail_stream(append->command, r, append->stream, "appending");
	}
}

static enum exit_code append_whole(const struct append *append)
{
	void *piece = malloc(READ_BYTES);
	struct wal_draft *draft;
	enum exit_code code;
	uint64_t id;
	int r = piece ? wal_draft_new(append->stream, &draft) : -ENOMEM;

	if (r < 0) {
		free(piece);
		return command_fail_stream(append->command, r, append->stream, "appending");
	}
	code = fill_draft(append, draft, piece);
	free(piece);
	if (code) {
		wal_draft_free(draft);
		return code;
	}
	r = wal_draft_commit(draft, append->flags, &id);
	if (r < 0)
		return command_fail_stream(append->command, r, append->stream, "appending");
	put_ids(append, id, id, false);
	return EXIT_OK;
}

/* ---- One batch ---- */

/* The beginning of a line that is longer than the buffer it is read into. */
struct head {
	char *data;
	size_t size, capacity;
};

/* -EFBIG as soon as it is over `bytes_max`: input without a newline is not to be kept until there is no more memory. */
static int head_add(struct head *head, const char *piece, size_t size, uint64_t bytes_max)
{
	if (size > bytes_max || head->size > bytes_max - size)
		return -EFBIG;
	if (size > head->capacity - head->size) {
		size_t capacity = head->size + size < bytes_max / 2 ? 2 * (head->size + size) : bytes_max;
		char *data = realloc(head->data, capacity);

		if (!data)
			return -ENOMEM;
		head->data = data;
		head->capacity = capacity;
	}
	memcpy(head->data + head->size, piece, size);
	head->size += size;
	return 0;
}

/* What is in the buffer goes into the transaction, and the beginning of a line that fills it into `head`. */
static int add_buffered(struct wal_txn *txn, struct lines *lines, struct head *head)
{
	const char *line;
	size_t size;
	int r = 0;

	while (r == 0 && lines_next(lines, &line, &size)) {
		if (!head->size) {
			r = wal_txn_add(txn, line, size);
			continue;
		}
		r = head_add(head, line, size, WAL_ENTRY_SIZE_MAX);
		if (r == 0)
			r = wal_txn_add(txn, head->data, head->size);
		head->size = 0;
	}
	if (r == 0 && lines_is_full(lines)) {
		lines_take_rest(lines, &line, &size);
		r = head_add(head, line, size, WAL_ENTRY_SIZE_MAX);
	}
	/* At the end the last line needs no newline, also where the buffer ended with it. */
	if (r == 0 && lines->end && head->size)
		r = wal_txn_add(txn, head->data, head->size);
	return r;
}

static enum exit_code fill_txn(const struct append *append, struct wal_txn *txn)
{
	struct lines lines;
	struct head head = { 0 };
	enum exit_code code = EXIT_OK;
	int r = lines_init(&lines, append->fd);

	if (r < 0)
		return command_fail(append->command, r, "appending");
	while (!code && !lines.end) {
		r = lines_fill(&lines);
		if (r < 0) {
			code = fail_input(append, r);
			break;
		}
		r = add_buffered(txn, &lines, &head);
		if (r < 0)
			code = command_fail(append->command, r, "line %zu of '%s'; nothing was appended", wal_txn_count(txn) + 1,
					    append->input_name);
	}
	free(head.data);
	lines_release(&lines);
	return code;
}

static enum exit_code append_batch(const struct append *append)
{
	struct wal_txn *txn;
	enum exit_code code;
	uint64_t first_id;
	size_t count;
	int r = wal_txn_new(append->stream, &txn);

	if (r < 0)
		return command_fail_stream(append->command, r, append->stream, "appending");
	code = fill_txn(append, txn);
	if (code) {
		wal_txn_abort(txn);
		return code;
	}
	r = wal_txn_commit(txn, append->flags, &first_id, &count);
	if (r < 0)
		return command_fail_stream(append->command, r, append->stream, "appending");
	if (count)
		put_ids(append, first_id, first_id + count - 1, true);
	return EXIT_OK;
}

/* ---- Lines ---- */

/* The lines of one buffer go to the stream together, so that they share their syncs, and are waited for together. */
struct wave {
	struct wal_op ops[WAVE_COUNT];
	struct iovec lines[WAVE_COUNT];
	size_t count;
	uint64_t line_number; /* of ops[0] */
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t waiting; /* protected by lock */
};

static void wave_op_done(struct wal_op *op)
{
	struct wave *wave = op->arg;

	pthread_mutex_lock(&wave->lock);
	if (!--wave->waiting)
		pthread_cond_signal(&wave->done);
	pthread_mutex_unlock(&wave->lock);
}

/* How many ops from number `i` on ended with the same result. */
static size_t same_results(const struct wave *wave, size_t i)
{
	size_t count = 1;

	while (i + count < wave->count && wave->ops[i + count].result == wave->ops[i].result)
		count++;
	return count;
}

static enum exit_code report_wave(const struct append *append, const struct wave *wave)
{
	enum exit_code code = EXIT_OK;
	size_t count;

	for (size_t i = 0; i < wave->count; i += count) {
		uint64_t line = wave->line_number + i;
		int result = wave->ops[i].result;
		char what[96];

		count = same_results(wave, i);
		if (result < 0) {
			snprintf(what, sizeof(what), "lines %" PRIu64 " to %" PRIu64 " not appended", line, line + count - 1);
			code = exit_code_worse(code, command_fail_stream(append->command, result, append->stream, what));
			continue;
		}
		for (size_t k = i; k < i + count; k++)
			put_ids(append, wave->ops[k].first_id, wave->ops[k].first_id, false);
	}
	/* Who feeds lines through a pipe wants each id when it is known. That it fails shows at the end: what can be appended still is. */
	fflush(append->command->out);
	return code;
}

static enum exit_code append_wave(const struct append *append, struct wave *wave)
{
	wave->waiting = wave->count;
	for (size_t i = 0; i < wave->count; i++) {
		wave->ops[i] = (struct wal_op){ .done = wave_op_done, .arg = wave, .entries = &wave->lines[i], .count = 1,
						.flags = append->flags };
		wal_stream_submit(append->stream, &wave->ops[i]);
	}
	pthread_mutex_lock(&wave->lock);
	while (wave->waiting)
		pthread_cond_wait(&wave->done, &wave->lock);
	pthread_mutex_unlock(&wave->lock);
	return report_wave(append, wave);
}

/* All whole lines that are in the buffer. */
static enum exit_code append_buffered(const struct append *append, struct wave *wave, struct lines *lines)
{
	enum exit_code code = EXIT_OK;
	const char *line;
	size_t size;

	do {
		wave->line_number += wave->count;
		wave->count = 0;
		while (wave->count < WAVE_COUNT && lines_next(lines, &line, &size))
			wave->lines[wave->count++] = (struct iovec){ (void *)line, size };
		if (wave->count)
			code = append_wave(append, wave);
	} while (!code && wave->count == WAVE_COUNT);
	return code;
}

/* A line that fills the buffer is put together as a draft, which keeps it out of memory. */
static enum exit_code fill_draft_with_line(const struct append *append, struct wal_draft *draft, struct lines *lines)
{
	const char *piece;
	size_t size;
	bool whole;
	int r;

	do {
		whole = lines_next(lines, &piece, &size);
		if (!whole)
			lines_take_rest(lines, &piece, &size);
		r = wal_draft_write(draft, piece, size, wal_draft_size(draft));
		if (r < 0)
			return command_fail_stream(append->command, r, append->stream, "appending a long line");
		if (!whole && !lines->end) {
			r = lines_fill(lines);
			if (r < 0)
				return fail_input(append, r);
		}
	} while (!whole && !(lines->end && lines->start == lines->size));
	return EXIT_OK;
}

static enum exit_code append_long_line(const struct append *append, struct lines *lines)
{
	struct wal_draft *draft;
	enum exit_code code;
	uint64_t id;
	int r = wal_draft_new(append->stream, &draft);

	if (r == 0) {
		code = fill_draft_with_line(append, draft, lines);
		if (code) {
			wal_draft_free(draft);
			return code;
		}
		r = wal_draft_commit(draft, append->flags, &id);
	}
	if (r < 0)
		return command_fail_stream(append->command, r, append->stream, "appending a long line");
	put_ids(append, id, id, false);
	return EXIT_OK;
}

static enum exit_code append_all_lines(const struct append *append, struct wave *wave, struct lines *lines)
{
	enum exit_code code = EXIT_OK;

	while (!code && !lines->end) {
		int r = lines_fill(lines);
		if (r < 0)
			return fail_input(append, r);
		code = append_buffered(append, wave, lines);
		wave->line_number += wave->count;
		wave->count = 0;
		if (!code && lines_is_full(lines)) {
			code = append_long_line(append, lines);
			wave->line_number++;
			if (!code)
				code = append_buffered(append, wave, lines);
		}
	}
	return code;
}

static enum exit_code append_lines(const struct append *append)
{
	struct wave *wave = calloc(1, sizeof(*wave));
	struct lines lines = { 0 };
	enum exit_code code;

	if (!wave || lines_init(&lines, append->fd) < 0) {
		free(wave);
		return command_fail(append->command, -ENOMEM, "appending");
	}
	pthread_mutex_init(&wave->lock, NULL);
	pthread_cond_init(&wave->done, NULL);
	wave->line_number = 1;
	code = append_all_lines(append, wave, &lines);
	pthread_cond_destroy(&wave->done);
	pthread_mutex_destroy(&wave->lock);
	lines_release(&lines);
	free(wave);
	return code;
}

/* ---- The verb ---- */

static enum exit_code open_shard(const struct command *command, struct wal_store *store, struct wal_stream **ret_stream)
{
	struct bytes key;
	uint32_t shard;
	enum exit_code code = key_read(command, command->given[OPT_KEY], command->given[OPT_HEX], &key);

	if (code)
		return code;
	code = key_open_shard(command, store, &key, &shard, ret_stream);
	free(key.data);
	return code;
}

static enum exit_code append_input(struct command *command, struct wal_store *store, const char *input_name, int fd)
{
	struct append append = { .command = command, .input_name = input_name, .fd = fd };
	enum exit_code code;

	append.flags = command->given[OPT_DURABLE] ? WAL_DURABLE : 0;
	if (command->given[OPT_KEY])
		code = open_shard(command, store, &append.stream);
	else
		code = command_open_stream(command, store, command->operands[0], command->given[OPT_CREATE] ? WAL_CREATE : 0, &append.stream);
	if (code)
		return code;
	if (command->given[OPT_LINES])
		code = append_lines(&append);
	else if (command->given[OPT_BATCH])
		code = append_batch(&append);
	else
		code = append_whole(&append);
	wal_stream_close(append.stream);
	return code;
}

static enum exit_code check_usage(const struct command *command, int stream_operands)
{
	if (command->operand_count < stream_operands)
		return command_usage(command->verb, "too few arguments: expected %s", command->verb->operands);
	if (command->operand_count > stream_operands + 1)
		return command_usage(command->verb, "too many arguments from '%s' on: with --key expected STORE and FILE",
				     command->operands[stream_operands + 1]);
	if (command->given[OPT_LINES] && command->given[OPT_BATCH])
		return command_usage(command->verb, "--lines and --batch exclude each other");
	if (command->given[OPT_KEY] && command->given[OPT_CREATE])
		return command_usage(command->verb, "--key and --create exclude each other: shards are made with the store");
	if (command->given[OPT_HEX] && !command->given[OPT_KEY])
		return command_usage(command->verb, "--hex needs --key");
	return EXIT_OK;
}

static enum exit_code run_append(struct command *command)
{
	int stream_operands = command->given[OPT_KEY] ? 0 : 1;
	const char *input_name = command->operand_count > stream_operands ? command->operands[stream_operands] : "-";
	bool is_stdin = !strcmp(input_name, "-");
	struct wal_store *store;
	enum exit_code code;
	int fd = STDIN_FILENO;

	code = check_usage(command, stream_operands);
	if (code)
		return code;
	if (command->given[OPT_KEY])
		command->on_mount.path = ".shard/KEY/new";
	if (!is_stdin)
		fd = open(input_name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "walctl: %s: %s\n", input_name, strerror(errno));
		return exit_code_of(-errno);
	}
	code = command_open_store(command, &store);
	if (!code)
		code = command_close_store(command, store, append_input(command, store, is_stdin ? "standard input" : input_name, fd));
	if (!is_stdin)
		close(fd);
	return code;
}

const struct verb verb_append = {
	.name = "append",
	.operands = "STORE {STREAM | --key=KEY} [FILE|-]",
	.summary = "Appends a file, or standard input, as one entry, and prints its id.",
	.options = options,
	.on_mount = { "cat FILE >", "STREAM/new" },
	.operands_min = 1,
	.operands_max = 3,
	.writes = true,
	.run = run_append,
};
