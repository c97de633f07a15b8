/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "figures.h"
#include "moment.h"
#include "screen.h"
#include "text.h"

#define INTERVAL_USUAL 2.0
#define INTERVAL_MIN 0.05
#define INTERVAL_MAX 86400.0

struct watch {
	struct command *command;
	const struct watch_options *options;
	double interval;
	uint64_t count; /* UINT64_MAX: for ever */
	int signal_fd;
	struct screen screen;
};

/* ---- What came between two moments ---- */

/* Numbers that are not known are NAN. */
struct rates {
	const struct moment_stream *now;
	double seconds;
	uint64_t appends, bytes, syncs;
	double group; /* entries a sync */
	double append_p50, append_p99, sync_p50, sync_p99; /* seconds */
};

/* A counter that is less than before began anew, as after a remount. */
static uint64_t since(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

/* The time that a part `q` of those between the two took at most; taken to be spread evenly in their class. */
static double quantile(const struct moment_histogram *now, const struct moment_histogram *before, double q)
{
	bool comparable = before && before->count == now->count && now->count && before->counts[now->count - 1] <= now->counts[now->count - 1];
	uint64_t total = now->count ? now->counts[now->count - 1] - (comparable ? before->counts[now->count - 1] : 0) : 0;
	double low = 0, below = 0;

	for (size_t i = 0; total && i < now->count; i++) {
		double upto = (double)(now->counts[i] - (comparable ? before->counts[i] : 0)), rank = q * (double)total;

		if (upto >= rank && upto > below)
			return isinf(now->bounds[i]) ? low : low + (now->bounds[i] - low) * (rank - below) / (upto - below);
		low = now->bounds[i];
		below = upto;
	}
	return NAN;
}

static struct rates rates_between(const struct moment_stream *now, const struct moment_stream *before, bool counted, double seconds)
{
	static const struct moment_stream nothing;
	const struct moment_stream *b = before ? before : &nothing;
	struct rates rates = { .now = now, .seconds = seconds, .group = NAN, .append_p50 = NAN, .append_p99 = NAN, .sync_p50 = NAN, .sync_p99 = NAN };
	uint64_t synced;

	if (!counted) {
		rates.appends = since(now->next_id, b->next_id);
		/* What was pruned meanwhile hides what was appended. */
		rates.bytes = now->payload_bytes > b->payload_bytes ? now->payload_bytes - b->payload_bytes : 0;
		return rates;
	}
	rates.appends = since(now->appends, b->appends);
	rates.bytes = since(now->append_bytes, b->append_bytes);
	rates.syncs = since(now->syncs, b->syncs);
	synced = since(now->synced_appends, b->synced_appends);
	if (rates.syncs)
		rates.group = (double)synced / (double)rates.syncs;
	rates.append_p50 = quantile(&now->append_time, &b->append_time, 0.5);
	rates.append_p99 = quantile(&now->append_time, &b->append_time, 0.99);
	rates.sync_p50 = quantile(&now->sync_time, &b->sync_time, 0.5);
	rates.sync_p99 = quantile(&now->sync_time, &b->sync_time, 0.99);
	return rates;
}

/* ---- As a table ---- */

enum { CELL_BYTES = 32, COLUMNS = 11 };

static const struct column columns[COLUMNS] = {
	{ "STREAM", false },	 { "NEXT ID", true },	 { "APPENDS/S", true }, { "BYTES/S", true }, { "SYNCS/S", true }, { "GROUP", true },
	{ "APPEND P50", true }, { "P99", true }, { "SYNC P50", true },	{ "P99", true },     { "STATE", false },
};

static void put_number(char cell[CELL_BYTES], double value)
{
	if (isnan(value))
		strcpy(cell, "-");
	else
		snprintf(cell, CELL_BYTES, value < 10 && value > 0 ? "%.2f" : "%.0f", value);
}

static void put_duration(char cell[CELL_BYTES], double seconds)
{
	static const char *const units[] = { "us", "ms", "s" };
	double value = seconds * 1e6;
	size_t unit = 0;

	if (isnan(seconds)) {
		strcpy(cell, "-");
		return;
	}
	for (; value >= 1000 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
		value /= 1000;
	snprintf(cell, CELL_BYTES, value < 10 ? "%.2f%s" : value < 100 ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static int add_row(struct table *table, const struct rates *rates, bool counted, bool human)
{
	char name[TEXT_NAME_MAX], size[TEXT_SIZE_MAX], cells[COLUMNS][CELL_BYTES];
	const char *row[COLUMNS];

	snprintf(cells[1], CELL_BYTES, "%" PRIu64, rates->now->next_id);
	put_number(cells[2], (double)rates->appends / rates->seconds);
	text_size(size, (uint64_t)((double)rates->bytes / rates->seconds + 0.5), human);
	put_number(cells[4], counted ? (double)rates->syncs / rates->seconds : NAN);
	put_number(cells[5], rates->group);
	put_duration(cells[6], rates->append_p50);
	put_duration(cells[7], rates->append_p99);
	put_duration(cells[8], rates->sync_p50);
	put_duration(cells[9], rates->sync_p99);
	for (size_t i = 0; i < COLUMNS; i++)
		row[i] = cells[i];
	row[0] = text_escape(name, rates->now->name);
	row[3] = size;
	row[10] = stat_state(&rates->now->stat);
	return table_add(table, row);
}

/* What table_print() prints, for free(3); NULL: out of memory. */
static char *table_text(const struct table *table)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return NULL;
	table_print(table, memory);
	if (fclose(memory) == 0)
		return text;
	free(text);
	return NULL;
}

/* One line of the table, marked for the screen: titles, and a stream that something is wrong with. */
static void put_marked(FILE *out, const char *line, size_t length, const char *state)
{
	if (!state)
		putc(SCREEN_HEADING, out);
	else if (strcmp(state, "ok") && strcmp(state, "truncated"))
		putc(SCREEN_ALARM, out);
	fwrite(line, 1, length, out);
}

static int draw(struct watch *watch, const struct table *table)
{
	char *text = table_text(table), *marked = NULL;
	size_t marked_size;
	FILE *out = text ? open_memstream(&marked, &marked_size) : NULL;
	int r = -ENOMEM;

	if (out) {
		const char *line = text;

		for (size_t row = 0; *line; row++) {
			size_t length = strcspn(line, "\n") + 1;

			put_marked(out, line, length, row ? table->cells[row * COLUMNS - 1] : NULL);
			line += length;
		}
		if (fclose(out) == 0 && marked)
			r = screen_draw(&watch->screen, marked) ? -EPIPE : 0;
	}
	free(marked);
	free(text);
	return r;
}

/* ---- As JSON ---- */

static void put_real(struct json *json, const char *name, double value)
{
	if (!isnan(value))
		json_real(json, name, value);
}

static void put_json(struct json *json, const struct rates *rates, bool counted)
{
	json_open(json, NULL, '{');
	json_name(json, "stream", rates->now->name);
	json_uint(json, "next_id", rates->now->next_id);
	json_uint(json, "appends", rates->appends);
	json_uint(json, "append_bytes", rates->bytes);
	json_real(json, "appends_per_second", (double)rates->appends / rates->seconds);
	json_real(json, "bytes_per_second", (double)rates->bytes / rates->seconds);
	if (counted) {
		json_uint(json, "syncs", rates->syncs);
		json_real(json, "syncs_per_second", (double)rates->syncs / rates->seconds);
	}
	put_real(json, "group_size", rates->group);
	put_real(json, "append_p50_seconds", rates->append_p50);
	put_real(json, "append_p99_seconds", rates->append_p99);
	put_real(json, "sync_p50_seconds", rates->sync_p50);
	put_real(json, "sync_p99_seconds", rates->sync_p99);
	json_text(json, "state", stat_state(&rates->now->stat));
	json_close(json, '}');
}

/* ---- Again and again ---- */

static bool is_wanted(const struct command *command, const char *name)
{
	for (int i = 0; i < command->operand_count; i++)
		if (!strcmp(command->operands[i], name))
			return true;
	return !command->operand_count;
}

static enum exit_code check_wanted(const struct command *command, struct moment *moment)
{
	enum exit_code code = EXIT_OK;

	for (int i = 0; i < command->operand_count; i++) {
		char escaped[TEXT_NAME_MAX];

		if (moment_find(moment, command->operands[i]))
			continue;
		command_say(command, "no stream '%s'", text_escape(escaped, command->operands[i]));
		code = EXIT_LACKING;
	}
	return code;
}

/* -EPIPE: nobody reads it any more, or it cannot be written, which main() tells. */
static int show(struct watch *watch, struct moment *now, struct moment *before)
{
	struct table table = { .columns = columns, .column_count = COLUMNS };
	struct json json = { .file = watch->command->out };
	double seconds = (double)(now->time_ns - before->time_ns) / 1e9;
	bool comparable = now->counted == before->counted;
	int r = 0;

	if (watch->options->json) {
		json_open(&json, NULL, '{');
		json_name(&json, "store", watch->command->store_path);
		json_bool(&json, "mounted", now->counted);
		json_real(&json, "seconds", seconds);
		json_open(&json, "streams", '[');
	}
	for (size_t i = 0; r == 0 && i < now->count; i++) {
		struct moment_stream *stream = &now->streams[i];
		/* What has just been mounted or unmounted cannot be compared: nothing has happened yet. */
		const struct moment_stream *then = comparable ? moment_find(before, stream->name) : stream;
		struct rates rates;

		if (!is_wanted(watch->command, stream->name))
			continue;
		rates = rates_between(stream, then, now->counted, seconds);
		if (watch->options->json)
			put_json(&json, &rates, now->counted);
		else
			r = add_row(&table, &rates, now->counted, watch->options->human);
	}
	if (watch->options->json) {
		json_close(&json, ']');
		json_close(&json, '}');
		r = fflush(watch->command->out) ? -EPIPE : r;
	} else if (r == 0) {
		r = draw(watch, &table);
	}
	table_release(&table);
	return r;
}

/* True: it is to end. */
static bool wait_for_signal(const struct watch *watch)
{
	struct pollfd fd = { .fd = watch->signal_fd, .events = POLLIN };

	return poll(&fd, 1, (int)(watch->interval * 1000)) != 0;
}

static enum exit_code run(struct watch *watch)
{
	struct moment before, now;
	enum exit_code code = moment_look(watch->command, false, &before);
	int r = 0;

	if (!code)
		code = check_wanted(watch->command, &before);
	for (uint64_t i = 0; !code && r == 0 && i < watch->count && !wait_for_signal(watch); i++) {
		code = moment_look(watch->command, true, &now);
		if (!code)
			r = show(watch, &now, &before);
		moment_release(&before);
		before = now;
	}
	moment_release(&before);
	return r == -ENOMEM ? command_fail(watch->command, r, "showing figures") : code;
}

static enum exit_code read_options(struct watch *watch)
{
	const struct watch_options *options = watch->options;
	char nothing[] = "", *end = nothing;

	watch->interval = *options->interval ? strtod(options->interval, &end) : INTERVAL_USUAL;
	if (*end || !(watch->interval >= INTERVAL_MIN && watch->interval <= INTERVAL_MAX))
		return command_usage(watch->command->verb, "--watch: expected a number of seconds from 0.05 to 86400, found '%s'", options->interval);
	watch->count = UINT64_MAX;
	if (options->count && (!text_parse_number(options->count, strlen(options->count), &watch->count) || !watch->count))
		return command_usage(watch->command->verb, "--count: expected a number from 1 on, found '%s'", options->count);
	return EXIT_OK;
}

enum exit_code watch_run(struct command *command, const struct watch_options *options)
{
	struct watch watch = { .command = command, .options = options };
	enum exit_code code = read_options(&watch);
	sigset_t signals;

	if (code)
		return code;
	screen_init(&watch.screen, command->out);
	/* Before the library starts threads, which inherit it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	watch.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (watch.signal_fd < 0)
		return command_fail(command, -errno, "waiting for signals");
	code = run(&watch);
	close(watch.signal_fd);
	return code;
}
