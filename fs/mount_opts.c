/* SPDX-License-Identifier: Apache-2.0 */
#include "mount_opts.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parse {
	struct mount_opts *opts;
	struct wal_error *err;
	bool out_of_memory;
};

enum {
	KEY_FOREGROUND,
	KEY_DEBUG,
	KEY_SINGLE,
	KEY_HELP,
	KEY_VERSION,
	KEY_IGNORE,
	KEY_SYNC,
	KEY_REMOUNT,
	KEY_READ_MAX,
};

/* What fstab and mount(8) hand on although it is not for a filesystem, or says what is so anyway: no time in the mount depends on reading. */
#define IGNORED(name) FUSE_OPT_KEY(name, KEY_IGNORE)

static const struct fuse_opt option_table[] = {
	FUSE_OPT_KEY("-f", KEY_FOREGROUND),
	FUSE_OPT_KEY("-d", KEY_DEBUG),
	FUSE_OPT_KEY("debug", KEY_DEBUG),
	FUSE_OPT_KEY("-s", KEY_SINGLE),
	FUSE_OPT_KEY("-h", KEY_HELP),
	FUSE_OPT_KEY("--help", KEY_HELP),
	FUSE_OPT_KEY("-V", KEY_VERSION),
	FUSE_OPT_KEY("--version", KEY_VERSION),
	FUSE_OPT_KEY("max_read=", KEY_READ_MAX),
	IGNORED("defaults"),
	IGNORED("auto"),
	IGNORED("noauto"),
	IGNORED("user"),
	IGNORED("nouser"),
	IGNORED("users"),
	IGNORED("nousers"),
	IGNORED("user="),
	IGNORED("owner"),
	IGNORED("noowner"),
	IGNORED("group"),
	IGNORED("nogroup"),
	IGNORED("nofail"),
	IGNORED("_netdev"),
	IGNORED("async"),
	IGNORED("relatime"),
	IGNORED("norelatime"),
	IGNORED("strictatime"),
	IGNORED("nostrictatime"),
	IGNORED("diratime"),
	IGNORED("nodiratime"),
	IGNORED("lazytime"),
	IGNORED("nolazytime"),
	IGNORED("iversion"),
	IGNORED("noiversion"),
	IGNORED("mand"),
	IGNORED("nomand"),
	IGNORED("silent"),
	IGNORED("loud"),
	IGNORED("comment="),
	IGNORED("helper="),
	IGNORED("uhelper="),
	FUSE_OPT_KEY("sync", KEY_SYNC),
	FUSE_OPT_KEY("remount", KEY_REMOUNT),
	FUSE_OPT_END,
};

static const struct wal_option_help own_options[] = {
	{ "uid", "N", "owner of everything in the mount (default: who mounts)" },
	{ "gid", "N", "its group (default: who mounts)" },
	{ "umask", "OCTAL", "permission bits to take away from 0777, 0666 (new) and 0444 (entries) (default: 022)" },
	{ "nonempty", NULL, "allow a mount point that is not empty" },
};

static const struct wal_option_help libfuse_options[] = {
	{ "allow_other", NULL, "let other users in, as far as the permission bits do (implies default_permissions)" },
	{ "auto_unmount", NULL, "unmount when the program dies" },
	{ "fsname", "NAME", "what mount(8) shows as the source (default: the store's path)" },
};

static int invalid(struct parse *parse, const char *what, const char *text)
{
	snprintf(parse->err->message, sizeof(parse->err->message), "%s '%s'", what, text);
	parse->err->code = -EINVAL;
	return -1;
}

static bool parse_number(const char *text, int base, unsigned long max, unsigned long *ret)
{
	char *end;
	unsigned long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoul(text, &end, base);
	if (errno || *end || number > max)
		return false;
	*ret = number;
	return true;
}

/* 0: taken. 1: not one of ours. -1: error. `value` is NULL without '='. */
static int set_own_option(struct parse *parse, const char *name, const char *value)
{
	struct mount_opts *opts = parse->opts;
	unsigned long number;

	if (!strcmp(name, "nonempty") && !value) {
		opts->nonempty = true;
		return 0;
	}
	if (!strcmp(name, "uid")) {
		if (!value || !parse_number(value, 10, UINT32_MAX - 1, &number))
			return invalid(parse, "option uid: expected a number, found", value ? value : "");
		opts->uid = number;
		return 0;
	}
	if (!strcmp(name, "gid")) {
		if (!value || !parse_number(value, 10, UINT32_MAX - 1, &number))
			return invalid(parse, "option gid: expected a number, found", value ? value : "");
		opts->gid = number;
		return 0;
	}
	if (!strcmp(name, "umask")) {
		if (!value || !parse_number(value, 8, 0777, &number))
			return invalid(parse, "option umask: expected an octal number up to 0777, found", value ? value : "");
		opts->umask = number;
		return 0;
	}
	return 1;
}

/* An -o option as `name` or `name=value`. Returns as a fuse_opt_proc_t does: 1 leaves it to libfuse. */
static int set_option(struct parse *parse, const char *arg)
{
	const char *equals = strchr(arg, '=');
	char name[64];
	size_t name_size = equals ? (size_t)(equals - arg) : strlen(arg);
	int r;

	if (!strncasecmp(arg, "x-", 2)) /* for mount(8), systemd and the like */
		return 0;
	if (name_size >= sizeof(name))
		return 1;
	memcpy(name, arg, name_size);
	name[name_size] = '\0';
	r = wal_options_set(&parse->opts->wal, name, equals ? equals + 1 : NULL, parse->err);
	if (r < 0)
		return -1;
	if (r == 0)
		return 0;
	if (!strcmp(arg, "rw")) {
		parse->opts->wal.ro = false;
		return 0;
	}
	if (!strcmp(arg, "allow_other"))
		parse->opts->allow_other = true;
	return set_own_option(parse, name, equals ? equals + 1 : NULL);
}

static int set_operand(struct parse *parse, const char *arg)
{
	char **operand = !parse->opts->store ? &parse->opts->store : &parse->opts->mountpoint;

	if (*operand)
		return invalid(parse, "one STORE and one MOUNTPOINT are expected, found also", arg);
	*operand = strdup(arg);
	parse->out_of_memory = !*operand;
	return *operand ? 0 : -1;
}

static int process(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct parse *parse = data;

	(void)outargs;
	switch (key) {
	case KEY_FOREGROUND:
		parse->opts->foreground = 1;
		return 0;
	case KEY_DEBUG:
		parse->opts->debug = 1;
		return 1;
	case KEY_SINGLE:
		parse->opts->single_thread = 1;
		return 0;
	case KEY_HELP:
		parse->opts->help = 1;
		return 0;
	case KEY_VERSION:
		parse->opts->version = 1;
		return 0;
	case KEY_IGNORE:
		return 0;
	case KEY_SYNC: /* mount(8)'s word, not libwal's option */
		parse->opts->wal.sync = WAL_SYNC_STRICT;
		return 0;
	case KEY_REMOUNT:
		return invalid(parse, "a mounted store takes no other options: unmount it and mount it with them; found", arg);
	case KEY_READ_MAX:
		parse->opts->read_max = (unsigned)strtoul(strchr(arg, '=') + 1, NULL, 10);
		return 1; /* libfuse reads it too, and wants to be told the same */
	case FUSE_OPT_KEY_NONOPT:
		return set_operand(parse, arg);
	default:
		return arg[0] == '-' ? invalid(parse, "unknown option", arg) : set_option(parse, arg);
	}
}

int mount_opts_parse(struct mount_opts *opts, int argc, char **argv, struct wal_error *err)
{
	struct parse parse = { .opts = opts, .err = err };

	*opts = (struct mount_opts){ .uid = getuid(), .gid = getgid(), .umask = 022, .args = FUSE_ARGS_INIT(argc, argv) };
	err->code = 0;
	if (fuse_opt_parse(&opts->args, &parse, option_table, process) < 0) {
		if (!parse.out_of_memory && err->code)
			return err->code;
		/* libfuse has printed why: an -o without its argument, or no memory. */
		snprintf(err->message, sizeof(err->message), "the command line cannot be read");
		return -EINVAL;
	}
	if (opts->help || opts->version)
		return 0;
	if (!opts->mountpoint) {
		snprintf(err->message, sizeof(err->message), "%s",
			 !opts->store ? "STORE and MOUNTPOINT are missing" : "MOUNTPOINT is missing");
		return -EINVAL;
	}
	if (wal_options_validate(&opts->wal, err) < 0)
		return -EINVAL;
	opts->conn_opts = fuse_parse_conn_info_opts(&opts->args);
	if (!opts->conn_opts) {
		snprintf(err->message, sizeof(err->message), "a connection option cannot be read");
		return -EINVAL;
	}
	return 0;
}

int mount_opts_complete(struct mount_opts *opts, const char *store_path)
{
	static const char fsname[] = "fsname=";
	char *assignment = malloc(sizeof(fsname) + strlen(store_path));
	char *quoted = NULL;
	int failed;

	if (!assignment)
		return -ENOMEM;
	strcpy(stpcpy(assignment, fsname), store_path);
	failed = fuse_opt_add_opt_escaped(&quoted, assignment);
	/* Right after the program's name, so that an fsname or subtype of the user comes later and is the one that counts. */
	failed = failed || fuse_opt_insert_arg(&opts->args, 1, "-osubtype=walfs");
	failed = failed || fuse_opt_insert_arg(&opts->args, 1, quoted);
	failed = failed || fuse_opt_insert_arg(&opts->args, 1, "-o");
	/* Without it nobody would check the permission bits: everyone let in could append and make streams. */
	failed = failed || (opts->allow_other && fuse_opt_add_arg(&opts->args, "-odefault_permissions"));
	/* The kernel has to know it too; as a plain word, however it was said. */
	failed = failed || (opts->wal.ro && fuse_opt_add_arg(&opts->args, "-oro"));
	free(quoted);
	free(assignment);
	return failed ? -ENOMEM : 0;
}

void mount_opts_release(struct mount_opts *opts)
{
	free(opts->store);
	free(opts->mountpoint);
	free(opts->conn_opts);
	fuse_opt_free_args(&opts->args);
}

void mount_opts_usage(FILE *out)
{
	fputs("usage: walfs STORE MOUNTPOINT [-o OPTION[=VALUE][,…]] [-f] [-d] [-s]\n"
	      "       walfs -h | -V\n",
	      out);
}

static void print_options(FILE *out, const struct wal_option_help *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char form[64];

		snprintf(form, sizeof(form), "%s%s%s", table[i].name, table[i].value ? "=" : "", table[i].value ? table[i].value : "");
		fprintf(out, "    -o %-40s %s\n", form, table[i].help);
	}
}

void mount_opts_help(FILE *out)
{
	size_t count;
	const struct wal_option_help *table = wal_options_help(&count);

	mount_opts_usage(out);
	fputs("\n"
	      "Mounts the write-ahead log in directory STORE, which is created if it is missing, at the empty directory MOUNTPOINT.\n"
	      "Unmount with: fusermount3 -u MOUNTPOINT\n"
	      "\n"
	      "    -f     stay in the foreground, log to stderr (else: to syslog)\n"
	      "    -d     the same, and show each request\n"
	      "    -s     one thread: long reads hold up everything else\n"
	      "    -h     show this\n"
	      "    -V     show versions\n"
	      "\n"
	      "Log:\n",
	      out);
	print_options(out, table, count);
	fputs("\nMount:\n", out);
	print_options(out, own_options, sizeof(own_options) / sizeof(*own_options));
	print_options(out, libfuse_options, sizeof(libfuse_options) / sizeof(*libfuse_options));
	fputs("    and the others of mount.fuse3(8)\n"
	      "\n"
	      "Exit status: 0 after a clean stop, 1 for a store that cannot be opened or closed, 2 for a wrong command line,\n"
	      "32 if it cannot be mounted. It is known before the program goes to the background.\n",
	      out);
}
