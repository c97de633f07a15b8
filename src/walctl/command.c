/* SPDX-License-Identifier: Apache-2.0 */
/* From arguments to a verb's run: options by table, help texts, opening and closing the store, and what is said when something fails. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mounts.h"
#include "text.h"
#include "walctl.h"

/* What getopt_long() returns: a letter, or where an option stands in one of the tables. */
enum {
	KEY_VERB = 256,
	KEY_ENGINE = 512,
	KEY_HELP = 1024,
};

/* One line whatever is in the message: messages of the library may quote names. */
static void put_line(FILE *file, const char *text)
{
	for (; *text; text++)
		putc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, file);
}

__attribute__((format(printf, 3, 0))) static void say(const char *store_path, const char *tail, const char *format, va_list arguments)
{
	char message[2048];

	vsnprintf(message, sizeof(message), format, arguments);
	flockfile(stderr);
	fputs("walctl: ", stderr);
	if (store_path) {
		put_line(stderr, store_path);
		fputs(": ", stderr);
	}
	put_line(stderr, message);
	if (tail) {
		fputs(": ", stderr);
		put_line(stderr, tail);
	}
	putc('\n', stderr);
	funlockfile(stderr);
}

void command_say(const struct command *command, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(command->store_path, NULL, format, arguments);
	va_end(arguments);
}

enum exit_code command_fail(const struct command *command, int result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(command->store_path, wal_strerror(result), format, arguments);
	va_end(arguments);
	return exit_code_of(result);
}

enum exit_code command_usage(const struct verb *verb, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(verb ? verb->name : NULL, NULL, format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try 'walctl %s%s--help'.\n", verb ? verb->name : "", verb ? " " : "");
	return EXIT_USAGE;
}

enum exit_code exit_code_of(int result)
{
	switch (result) {
	case 0:
		return EXIT_OK;
	case WAL_NOT_FOUND:
	case WAL_PRUNED:
	case WAL_GAP:
	case -ENOENT:
	case -EBADMSG:
		return EXIT_LACKING;
	case -EINVAL:
	case -ENAMETOOLONG:
		return EXIT_USAGE;
	default:
		return EXIT_SYSTEM;
	}
}

enum exit_code command_fail_stream(const struct command *command, int result, struct wal_stream *stream, const char *what)
{
	char name[TEXT_NAME_MAX];
	struct wal_stream_stat stat;

	text_escape(name, wal_stream_name(stream));
	if (result == -EIO && wal_stream_stat(stream, &stat) == 0 && stat.health != WAL_HEALTHY) {
		command_say(command, "stream '%s': %s: it takes no changes: %s", name, what, stat.reason);
		return stat.health == WAL_READONLY ? EXIT_LACKING : EXIT_SYSTEM;
	}
	return command_fail(command, result, "stream '%s': %s", name, what);
}

/* ---- Help ---- */

static void put_option(FILE *out, const char *letter_and_name, const char *value, bool value_optional, const char *help)
{
	char form[96];

	snprintf(form, sizeof(form), "%s%s%s%s", letter_and_name, value ? (value_optional ? "[=" : "=") : "", value ? value : "",
		 value && value_optional ? "]" : "");
	if (strlen(form) > 30)
		fprintf(out, "  %s\n  %-30s  %s\n", form, "", help);
	else
		fprintf(out, "  %-30s  %s\n", form, help);
}

/* The verb decides how the store is opened, not the user. */
static bool is_user_option(const struct wal_option_help *option)
{
	return strcmp(option->name, "ro") && strcmp(option->name, "no_create");
}

static char *dashed(char *name)
{
	for (char *p = name; *p; p++) {
		if (*p == '_')
			*p = '-';
	}
	return name;
}

static void put_engine_options(FILE *out)
{
	const struct wal_option_help *options;
	size_t count;

	options = wal_options_help(&count);
	fputs("\nOptions of the store, as the mount's -o options:\n", out);
	for (size_t i = 0; i < count; i++) {
		char form[64];

		if (!is_user_option(&options[i]))
			continue;
		snprintf(form, sizeof(form), "    --%s", options[i].name);
		put_option(out, dashed(form), options[i].value, false, options[i].help);
	}
}

static void put_help(FILE *out, const struct verb *verb)
{
	fprintf(out, "Usage: walctl %s [OPTION]... %s\n%s\n\nOptions:\n", verb->name, verb->operands, verb->summary);
	for (const struct verb_option *option = verb->options; option && option->name; option++) {
		char form[64], letter[] = { option->letter ? '-' : ' ', option->letter ? option->letter : ' ', option->letter ? ',' : ' ', 0 };

		snprintf(form, sizeof(form), "%s --%s", letter, option->name);
		put_option(out, form, option->value, option->value_optional, option->help);
	}
	put_option(out, "    --help", NULL, false, "show this and exit");
	put_engine_options(out);
	fputs("\nExit status: 0 done, 1 damage or not found, 2 usage, 3 system error. See walctl(1).\n", out);
}

/* ---- Options ---- */

/* What getopt_long() needs. The names with '-' are copies. */
struct option_table {
	struct option *options;
	size_t count;
	char letters[2 * VERB_OPTIONS_MAX + 2];
};

static void option_table_release(struct option_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free((char *)table->options[i].name);
	free(table->options);
}

static int option_table_add(struct option_table *table, const char *name, int has_arg, int key, bool with_dashes)
{
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	table->options[table->count++] = (struct option){ with_dashes ? dashed(copy) : copy, has_arg, NULL, key };
	return 0;
}

/* Every engine option in both spellings; equal keys keep abbreviations unambiguous. */
static int option_table_init(struct option_table *table, const struct verb *verb)
{
	const struct wal_option_help *engine;
	size_t engine_count;
	char *letter = table->letters;
	int r;

	engine = wal_options_help(&engine_count);
	*letter++ = ':';
	table->options = calloc(VERB_OPTIONS_MAX + 2 * engine_count + 2, sizeof(*table->options));
	if (!table->options)
		return -ENOMEM;
	r = option_table_add(table, "help", no_argument, KEY_HELP, false);
	for (int i = 0; !r && verb->options && verb->options[i].name; i++) {
		const struct verb_option *option = &verb->options[i];

		if (option->letter) {
			*letter++ = option->letter;
			if (option->value)
				*letter++ = ':';
		}
		r = option_table_add(table, option->name, !option->value ? no_argument : option->value_optional ? optional_argument : required_argument, KEY_VERB + i, false);
	}
	for (size_t i = 0; !r && i < engine_count; i++) {
		int has_arg = engine[i].value ? required_argument : optional_argument, key = KEY_ENGINE + (int)i;

		if (!is_user_option(&engine[i]))
			continue;
		r = option_table_add(table, engine[i].name, has_arg, key, true);
		if (!r && strchr(engine[i].name, '_'))
			r = option_table_add(table, engine[i].name, has_arg, key, false);
	}
	*letter = '\0';
	return r;
}

/* `argument` is where getopt_long() stood; of letters in a row it does not move on before the last. */
static enum exit_code refuse_option(const struct verb *verb, int key, const char *argument)
{
	const char *what = key == ':' ? "option needs a value" : "no such option, or it takes no value";

	if (optopt > 0 && optopt < KEY_VERB)
		return command_usage(verb, "%s: -%c", what, optopt);
	return command_usage(verb, "%s: %s", what, argument);
}

static enum exit_code take_option(struct command *command, int key, const char *value, const char *argument)
{
	const struct verb_option *options = command->verb->options;
	struct wal_error error = { 0 };

	if (key == '?' || key == ':')
		return refuse_option(command->verb, key, argument);
	if (key >= KEY_ENGINE) {
		size_t count;
		const char *name = wal_options_help(&count)[key - KEY_ENGINE].name;

		if (wal_options_set(&command->options, name, value, &error) != 0)
			return command_usage(command->verb, "%s", error.message);
		return EXIT_OK;
	}
	for (int i = 0; options && options[i].name; i++) {
		if (key == KEY_VERB + i || key == options[i].letter)
			command->given[i] = value ? value : "";
	}
	return EXIT_OK;
}

static enum exit_code read_options(struct command *command, const struct option_table *table, int argc, char **argv, bool *ret_help)
{
	bool help = false;
	int key;

	optind = 1;
	opterr = 0;
	while ((key = getopt_long(argc, argv, table->letters, table->options, NULL)) != -1) {
		if (key == KEY_HELP) {
			help = true;
			continue;
		}
		enum exit_code code = take_option(command, key, optarg, argv[optind - 1]);
		if (code)
			return code;
	}
	*ret_help = help;
	return EXIT_OK;
}

static enum exit_code take_operands(struct command *command, int count, char **operands)
{
	const struct verb *verb = command->verb;
	struct wal_error error = { 0 };

	if (count < verb->operands_min)
		return command_usage(verb, "too few arguments: expected %s", verb->operands);
	if (verb->operands_max >= 0 && count > verb->operands_max)
		return command_usage(verb, "too many arguments from '%s' on: expected %s", operands[verb->operands_max], verb->operands);
	if (wal_options_validate(&command->options, &error) < 0)
		return command_usage(verb, "%s", error.message);
	command->store_path = operands[0];
	command->operands = operands + 1;
	command->operand_count = count - 1;
	return EXIT_OK;
}

enum exit_code command_run(const struct verb *verb, int argc, char **argv, FILE *out)
{
	struct command command = { .verb = verb, .out = out, .on_mount = verb->on_mount };
	struct option_table table = { 0 };
	enum exit_code code = EXIT_SYSTEM;
	bool help = false;

	if (option_table_init(&table, verb) < 0) {
		fputs("walctl: out of memory\n", stderr);
		option_table_release(&table);
		return EXIT_SYSTEM;
	}
	code = read_options(&command, &table, argc, argv, &help);
	option_table_release(&table);
	if (code)
		return code;
	if (help) {
		put_help(out, verb);
		return EXIT_OK;
	}
	code = take_operands(&command, argc - optind, argv + optind);
	if (!code) {
		pthread_mutex_init(&command.log.lock, NULL);
		code = verb->run(&command);
		pthread_mutex_destroy(&command.log.lock);
	}
	return code;
}

/* ---- The store ---- */

static void print_log(void *arg, enum wal_log_level level, const char *message)
{
	struct command *command = arg;
	struct command_log *log = &command->log;

	if (level > WAL_LOG_WARNING)
		return;
	pthread_mutex_lock(&log->lock);
	if (strncmp(log->last, message, sizeof(log->last) - 1))
		command_say(command, "%s", message);
	snprintf(log->last, sizeof(log->last), "%s", message);
	log->damage |= level == WAL_LOG_ERROR;
	pthread_mutex_unlock(&log->lock);
}

bool command_met_damage(struct command *command)
{
	bool damage;

	pthread_mutex_lock(&command->log.lock);
	damage = command->log.damage;
	command->log.damage = false;
	pthread_mutex_unlock(&command->log.lock);
	return damage;
}

/* The name of a process, "" if it is not to be seen. */
static void read_process_name(pid_t pid, char name[64])
{
	char path[64];
	FILE *file;

	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(name, 64, file))
		name[0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	fclose(file);
}

static void say_open_by(const struct command *command, pid_t pid)
{
	char name[64];

	if (pid <= 0) {
		command_say(command, "open by another process");
		return;
	}
	read_process_name(pid, name);
	if (name[0])
		command_say(command, "open by pid %d (%s)", (int)pid, name);
	else
		command_say(command, "open by pid %d", (int)pid);
}

/* Who has the store, and what to do instead. */
static enum exit_code fail_busy(const struct command *command, pid_t pid)
{
	const struct mount_way *way = &command->on_mount;
	char *mountpoint = mounts_find(command->store_path), who[48] = "mounted";

	if (!mountpoint) {
		say_open_by(command, pid);
		return EXIT_SYSTEM;
	}
	if (pid > 0)
		snprintf(who, sizeof(who), "mounted by pid %d", (int)pid);
	if (way->command)
		command_say(command, "%s on %s: use '%s %s%s%s'", who, mountpoint, way->command, mountpoint, way->path[0] ? "/" : "", way->path);
	else
		command_say(command, "%s on %s: unmount it first with 'fusermount3 -u %s'", who, mountpoint, mountpoint);
	free(mountpoint);
	return EXIT_SYSTEM;
}

/* A mount was given instead of its store. False: it wasn't. */
static bool say_mount(const struct command *command)
{
	const struct mount_way *way = &command->on_mount;
	const char *point = command->store_path;
	char *store = mounts_store_at(point);

	if (!store)
		return false;
	if (!command->verb->writes)
		command_say(command, "it is a mount of the store '%s': name that instead", store);
	else if (way->command)
		command_say(command, "it is a mount of the store '%s': use '%s %s%s%s'", store, way->command, point, way->path[0] ? "/" : "", way->path);
	else
		command_say(command, "it is a mount of the store '%s': name that instead ('fusermount3 -u %s' unmounts it, for what is not done while it is mounted)", store, point);
	free(store);
	return true;
}

enum exit_code command_fail_open(const struct command *command, int result, const struct wal_error *error)
{
	if (result == -EBUSY)
		return fail_busy(command, error->pid);
	if (say_mount(command))
		return exit_code_of(result);
	if (result == -ENOENT)
		command_say(command, "%s ('walctl init' makes a store)", error->message);
	else
		command_say(command, "%s", error->message);
	return exit_code_of(result);
}

void command_prepare(struct command *command)
{
	command->options.log = print_log;
	command->options.log_arg = command;
	command->options.lock_wait_ms = 1000; /* for a mount that was just ended and is still closing */
}

enum exit_code command_open_store(struct command *command, struct wal_store **ret_store)
{
	struct wal_error error = { 0 };
	int r;

	command->options.ro = !command->verb->writes;
	command->options.no_create = true;
	command_prepare(command);
	r = wal_store_open(command->store_path, &command->options, ret_store, &error);
	if (r < 0)
		return command_fail_open(command, r, &error);
	command_met_damage(command); /* in streams that this may not be about */
	return EXIT_OK;
}

enum exit_code command_close_store(const struct command *command, struct wal_store *store, enum exit_code code)
{
	int r = wal_store_close(store);

	if (r < 0)
		return exit_code_worse(code, command_fail(command, r, "closing the store; what was not durable may be lost"));
	return code;
}

enum exit_code command_open_stream(const struct command *command, struct wal_store *store, const char *name, unsigned flags,
				   struct wal_stream **ret_stream)
{
	char escaped[TEXT_NAME_MAX];
	struct wal_error error = { 0 };
	int r = wal_stream_open(store, name, flags, ret_stream, &error);

	if (r < 0) {
		if (r == -ENOENT)
			command_say(command, "no stream '%s'%s", text_escape(escaped, name),
				    command->verb == &verb_append ? " (--create makes it)" : "");
		else
			command_say(command, "%s", error.message);
	}
	return exit_code_of(r);
}
