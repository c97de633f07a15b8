/* SPDX-License-Identifier: Apache-2.0 */
/* walctl: looks into a store and changes it without mounting it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "walctl.h"

static const struct verb *const verbs[] = {
	&verb_init,
	&verb_ls,
	&verb_stat,
	&verb_append,
	&verb_cat,
	&verb_rotate,
	&verb_sync,
	&verb_prune,
	&verb_checkpoint_create,
	&verb_checkpoint_show,
	&verb_checkpoint_list,
	&verb_checkpoint_rm,
	&verb_checkpoint_compact,
	&verb_route,
	&verb_verify,
	&verb_repair,
	&verb_import,
	&verb_export,
	&verb_restore,
	&verb_copy,
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

/* How many of the words in argv[1] … are the name of the verb; 0 if they are not. */
static int match_verb(const struct verb *verb, int argc, char **argv)
{
	const char *name = verb->name;
	int i = 1;

	for (; i < argc && *name; i++) {
		size_t length = strcspn(name, " ");

		if (strlen(argv[i]) != length || strncmp(argv[i], name, length))
			return 0;
		name += length + (name[length] == ' ');
	}
	return *name ? 0 : i - 1;
}

/* `group`: the first word of the verbs that are shown; NULL: all. False if there is none. */
static bool put_verbs(FILE *out, const char *group)
{
	bool any = false;

	for (size_t i = 0; i < VERB_COUNT; i++) {
		size_t length = strcspn(verbs[i]->name, " ");

		if (group && (strlen(group) != length || strncmp(group, verbs[i]->name, length)))
			continue;
		if (out)
			fprintf(out, "  %s %s\n      %s\n", verbs[i]->name, verbs[i]->operands, verbs[i]->summary);
		any = true;
	}
	return any;
}

static enum exit_code put_help(FILE *out, const char *group)
{
	fputs("Usage: walctl VERB [OPTION]... STORE [ARGUMENT]...\n"
	      "Looks into a store of streams and changes it, without mounting it.\n\nVerbs:\n",
	      out);
	put_verbs(out, group);
	fputs("\n'walctl VERB --help' or 'walctl help VERB' shows the options of a verb. --version shows the version.\n"
	      "Exit status: 0 done, 1 damage or not found, 2 usage, 3 system error. See walctl(1).\n",
	      out);
	return EXIT_OK;
}

/* argv[1] … are no verb, but may begin one of two words. */
static enum exit_code refuse_verb(int argc, char **argv, FILE *out)
{
	if (!put_verbs(NULL, argv[1]))
		return command_usage(NULL, "no such verb: '%s'", argv[1]);
	if (argc > 2 && !strcmp(argv[2], "--help"))
		return put_help(out, argv[1]);
	if (argc > 2)
		return command_usage(NULL, "no such verb: '%s %s'", argv[1], argv[2]);
	return command_usage(NULL, "'%s' is the first word of a verb: the second is missing", argv[1]);
}

/* argv[0] is "help", or nothing of interest. */
static enum exit_code dispatch_help(int argc, char **argv, FILE *out)
{
	char option[] = "--help";

	if (argc < 2)
		return put_help(out, NULL);
	for (size_t i = 0; i < VERB_COUNT; i++) {
		if (match_verb(verbs[i], argc, argv))
			return command_run(verbs[i], 2, (char *[]){ argv[1], option, NULL }, out);
	}
	if (argc == 2 && put_verbs(NULL, argv[1]))
		return put_help(out, argv[1]);
	return refuse_verb(argc, argv, out);
}

static enum exit_code dispatch(int argc, char **argv, FILE *out)
{
	if (argc < 2)
		return command_usage(NULL, "no verb: expected init, ls, stat, append, cat, rotate, sync, prune, checkpoint, route, verify, repair, import, export, restore or copy");
	if (!strcmp(argv[1], "--help"))
		return put_help(out, NULL);
	if (!strcmp(argv[1], "help"))
		return dispatch_help(argc - 1, argv + 1, out);
	if (!strcmp(argv[1], "--version")) {
		fputs("walctl " WAL_VERSION "\n", out);
		return EXIT_OK;
	}
	for (size_t i = 0; i < VERB_COUNT; i++) {
		int words = match_verb(verbs[i], argc, argv);

		if (words)
			return command_run(verbs[i], argc - words, argv + words, out);
	}
	return refuse_verb(argc, argv, out);
}

/*
 * A file of the store that was opened as descriptor 1 or 2 would get what is printed. So a missing one is taken, in the direction in which using
 * it fails.
 */
static int keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
			return -errno;
	}
	return 0;
}

/* A reader that has seen enough (EPIPE) is no failure and not worth a word. */
static enum exit_code finish_output(struct output *output, enum exit_code code)
{
	int r = output_close(output);

	if (r == 0 || r == -EPIPE)
		return code;
	fprintf(stderr, "walctl: writing to standard output: %s\n", strerror(-r));
	return EXIT_SYSTEM;
}

int main(int argc, char **argv)
{
	struct output output;

	if (keep_standard_descriptors() < 0)
		return EXIT_SYSTEM;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file over the limit of its size then fails with EFBIG */
	if (output_open(&output) < 0) {
		fputs("walctl: out of memory\n", stderr);
		return EXIT_SYSTEM;
	}
	return finish_output(&output, dispatch(argc, argv, output.file));
}
