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
	&verb_init, &verb_ls, &verb_stat, &verb_append, &verb_cat, &verb_rotate, &verb_sync, &verb_verify, &verb_repair,
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static void put_help(FILE *out)
{
	fputs("Usage: walctl VERB [OPTION]... STORE [ARGUMENT]...\n"
	      "Looks into a store of streams and changes it, without mounting it.\n\nVerbs:\n",
	      out);
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(out, "  %s %s\n      %s\n", verbs[i]->name, verbs[i]->operands, verbs[i]->summary);
	fputs("\n'walctl VERB --help' shows the options of a verb. --version shows the version.\n"
	      "Exit status: 0 done, 1 damage or not found, 2 usage, 3 system error. See walctl(1).\n",
	      out);
}

static enum exit_code dispatch(int argc, char **argv, FILE *out)
{
	if (argc < 2)
		return command_usage(NULL, "no verb: expected init, ls, stat, append, cat, rotate, sync, verify or repair");
	if (!strcmp(argv[1], "--help")) {
		put_help(out);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		fputs("walctl " WAL_VERSION "\n", out);
		return EXIT_OK;
	}
	for (size_t i = 0; i < VERB_COUNT; i++) {
		if (!strcmp(argv[1], verbs[i]->name))
			return command_run(verbs[i], argc - 1, argv + 1, out);
	}
	return command_usage(NULL, "no such verb: '%s'", argv[1]);
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
