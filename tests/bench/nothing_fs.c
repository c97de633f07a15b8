/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: a filesystem that looks like walfs with one stream `s` and keeps nothing. What it costs, kernel, libfuse and the way to and fro cost;
 * nothing that is mounted by FUSE can be faster. It says the same to the kernel as walfs does: timeouts, flags, one thread.
 *
 *	nothing_fs MOUNTPOINT [OPTION=VALUE]…
 *		entries=N	names 0 … N-1, of 20 digits (0)
 *		size=N		bytes of each (128)
 *		plus=0|1|2	READDIRPLUS: never; always; always too, but with attributes from the moment on that lookups come, as walfs does it (2)
 *		blksize=N	of the directory: what readdir(3) takes at once (as walfs has it: 262144 when there are many entries)
 *		log=FILE	what is written to `new` goes to FILE, and fsync(2) syncs that (nowhere, and there is nothing to sync)
 *		file=FILE	it is seen as `file` in the root, as libfuse's passthrough_ll shows files; several threads then, as there
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	INO_STREAM = 2,
	INO_NEW = 3,
	INO_FILE = 4,
	INO_ENTRY = 16,
	COOKIE_ENTRY = 16,
	NAME_BYTES = 21, /* of an entry's name, with the NUL */
	LOG_BYTES = 64 << 20,
	MANY_ENTRIES = 1000,
	LISTING_BYTES = 256 << 10,
};

static const double for_long = 365.0 * 24 * 3600;

struct nothing {
	uint64_t entries;
	uint64_t size;
	unsigned plus;
	long blksize;
	const char *log_path, *file_path;
	int log_fd, file_fd;
	off_t log_end;
	char *bytes; /* of every entry */
	uint64_t lookups;
};

/* An open directory. */
struct listing {
	uint64_t lookups_seen, chunk_names;
	bool full;
};

static struct nothing *nothing_from(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ---- Attributes ---- */

static double attr_timeout(fuse_ino_t ino)
{
	return ino >= INO_ENTRY || ino == INO_FILE ? for_long : 0;
}

static int get_stat(const struct nothing *fs, fuse_ino_t ino, struct stat *ret)
{
	struct stat st = { .st_ino = ino, .st_nlink = 1, .st_blksize = 4096, .st_mode = S_IFREG | 0444 };

	if (ino == FUSE_ROOT_ID || ino == INO_STREAM) {
		st.st_mode = S_IFDIR | 0755;
		st.st_nlink = 2;
		st.st_size = 4096;
		if (fs->blksize && ino == INO_STREAM)
			st.st_blksize = fs->blksize;
	} else if (ino == INO_NEW) {
		st.st_mode = S_IFREG | 0666;
	} else if (ino == INO_FILE && fs->file_fd >= 0) {
		if (fstat(fs->file_fd, &st) < 0)
			return -errno;
		st.st_ino = ino;
	} else if (ino >= INO_ENTRY && ino - INO_ENTRY < fs->entries) {
		st.st_size = (off_t)fs->size;
		st.st_mtim = (struct timespec){ .tv_sec = 946684800 + (time_t)(ino / 1000), .tv_nsec = (long)(ino % 1000) };
	} else {
		return -ENOENT;
	}
	st.st_blocks = (st.st_size + 511) / 512;
	*ret = st;
	return 0;
}

static int get_entry(const struct nothing *fs, fuse_ino_t ino, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){ .ino = ino, .generation = 1, .attr_timeout = attr_timeout(ino), .entry_timeout = for_long };
	return get_stat(fs, ino, &ret->attr);
}

static fuse_ino_t find(const struct nothing *fs, fuse_ino_t parent, const char *name)
{
	char *end;
	uint64_t id;

	if (parent == FUSE_ROOT_ID)
		return !strcmp(name, "s") ? INO_STREAM : !strcmp(name, "file") ? INO_FILE : 0;
	if (!strcmp(name, "new"))
		return INO_NEW;
	id = strtoull(name, &end, 10);
	return end == name || *end || id >= fs->entries ? 0 : INO_ENTRY + id;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct nothing *fs = nothing_from(req);
	struct fuse_entry_param entry;
	fuse_ino_t ino = find(fs, parent, name);

	fs->lookups++;
	if (!ino || get_entry(fs, ino, &entry) < 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = get_stat(nothing_from(req), ino, &st);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, attr_timeout(ino));
}

/* `> new` */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	(void)attr, (void)to_set;
	op_getattr(req, ino, fi);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	(void)ino, (void)mask;
	fuse_reply_err(req, 0);
}

/* ---- Files ---- */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | 1 << 6 }; /* FOPEN_PARALLEL_DIRECT_WRITES, which libfuse 3.14 knows no field for */

	if (ino == INO_NEW) {
		fuse_reply_buf(req, (const char *)&out, sizeof(out));
		return;
	}
	fi->keep_cache = ino >= INO_ENTRY;
	fi->noflush = ino >= INO_ENTRY;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct nothing *fs = nothing_from(req);
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);
	size_t at = (size_t)offset < fs->size ? (size_t)offset : fs->size;

	(void)fi;
	if (ino == INO_FILE) {
		data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		data.buf[0].fd = fs->file_fd;
		data.buf[0].pos = offset;
		fuse_reply_data(req, &data, FUSE_BUF_SPLICE_MOVE);
		return;
	}
	fuse_reply_buf(req, fs->bytes + at, size < fs->size - at ? size : fs->size - at);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct nothing *fs = nothing_from(req);

	(void)ino, (void)offset, (void)fi;
	if (fs->log_fd >= 0 && pwrite(fs->log_fd, data, size, fs->log_end) != (ssize_t)size) {
		fuse_reply_err(req, EIO);
		return;
	}
	fs->log_end = (fs->log_end + (off_t)size) % (LOG_BYTES - (1 << 20));
	fuse_reply_write(req, size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fi;
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct nothing *fs = nothing_from(req);

	(void)ino, (void)datasync, (void)fi;
	fuse_reply_err(req, fs->log_fd >= 0 && fdatasync(fs->log_fd) < 0 ? errno : 0);
}

/* ---- Directories ---- */

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	(void)ino;
	if (!listing) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)listing;
	fuse_reply_open(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	free((struct listing *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

struct chunk {
	fuse_req_t req;
	char *data;
	size_t size, used;
	bool plus, full;
};

static bool add(struct chunk *chunk, const char *name, fuse_ino_t ino, mode_t type, uint64_t next)
{
	struct fuse_entry_param entry = { .attr = { .st_ino = ino, .st_mode = type } };
	char *at = chunk->data + chunk->used;
	size_t room = chunk->size - chunk->used, bytes;

	if (chunk->full)
		get_entry(nothing_from(chunk->req), ino, &entry);
	bytes = chunk->plus ? fuse_add_direntry_plus(chunk->req, at, room, name, &entry, (off_t)next) :
			      fuse_add_direntry(chunk->req, at, room, name, &entry.attr, (off_t)next);
	if (bytes > room)
		return false;
	chunk->used += bytes;
	return true;
}

static void write_name(uint64_t id, char *ret_name)
{
	ret_name[NAME_BYTES - 1] = '\0';
	for (int i = NAME_BYTES - 2; i >= 0; i--, id /= 10)
		ret_name[i] = (char)('0' + id % 10);
}

static uint64_t list(const struct nothing *fs, fuse_ino_t ino, struct chunk *chunk, uint64_t cookie)
{
	char name[NAME_BYTES];
	uint64_t names = 0;

	if (ino == FUSE_ROOT_ID) {
		if (!cookie)
			add(chunk, "s", INO_STREAM, S_IFDIR, 1);
		return 1;
	}
	if (cookie < COOKIE_ENTRY) {
		if (!add(chunk, "new", INO_NEW, S_IFREG, COOKIE_ENTRY))
			return 0;
		cookie = COOKIE_ENTRY;
	}
	for (uint64_t id = cookie - COOKIE_ENTRY; id < fs->entries; id++, names++) {
		write_name(id, name);
		if (!add(chunk, name, INO_ENTRY + id, S_IFREG, COOKIE_ENTRY + id + 1))
			break;
	}
	return names;
}

static void readdir_any(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
	struct nothing *fs = nothing_from(req);
	struct listing *listing = (struct listing *)(uintptr_t)fi->fh;
	struct chunk chunk = { .req = req, .size = size, .plus = plus, .data = malloc(size) };

	if (!chunk.data) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (listing->chunk_names && fs->lookups - listing->lookups_seen >= listing->chunk_names / 2)
		listing->full = true;
	listing->lookups_seen = fs->lookups;
	chunk.full = plus && (fs->plus == 1 || listing->full);
	listing->chunk_names = list(fs, ino, &chunk, (uint64_t)offset);
	fuse_reply_buf(req, chunk.data, chunk.used);
	free(chunk.data);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, offset, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, offset, fi, true);
}

/* ---- All ---- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct nothing *fs = userdata;

	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	if (fs->plus)
		conn->want |= FUSE_CAP_READDIRPLUS;
	conn->time_gran = 1;
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.access = op_access,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.releasedir = op_releasedir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
};

static void set_option(struct nothing *fs, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals)
		errx(2, "'%s': expected OPTION=VALUE", text);
	if (!strncmp(text, "entries=", 8))
		fs->entries = strtoull(equals + 1, NULL, 10);
	else if (!strncmp(text, "size=", 5))
		fs->size = strtoull(equals + 1, NULL, 10);
	else if (!strncmp(text, "plus=", 5))
		fs->plus = (unsigned)strtoul(equals + 1, NULL, 10);
	else if (!strncmp(text, "blksize=", 8))
		fs->blksize = strtol(equals + 1, NULL, 10);
	else if (!strncmp(text, "log=", 4))
		fs->log_path = equals + 1;
	else if (!strncmp(text, "file=", 5))
		fs->file_path = equals + 1;
	else
		errx(2, "'%s': no such option", text);
}

static void open_files(struct nothing *fs)
{
	fs->bytes = malloc(fs->size + 1);
	if (!fs->bytes)
		err(1, "%" PRIu64 " bytes", fs->size);
	memset(fs->bytes, 'x', fs->size);
	if (fs->log_path) {
		fs->log_fd = open(fs->log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (fs->log_fd < 0 || fallocate(fs->log_fd, 0, 0, LOG_BYTES) < 0)
			err(1, "%s", fs->log_path);
	}
	if (fs->file_path) {
		fs->file_fd = open(fs->file_path, O_RDONLY | O_CLOEXEC);
		if (fs->file_fd < 0)
			err(1, "%s", fs->file_path);
	}
}

int main(int argc, char **argv)
{
	char name[] = "nothing_fs", subtype[] = "-osubtype=nothing", source[] = "-ofsname=nothing";
	char *fuse_argv[] = { name, subtype, source };
	struct fuse_args args = FUSE_ARGS_INIT(3, fuse_argv);
	struct nothing fs = { .size = 128, .plus = 2, .log_fd = -1, .file_fd = -1 };
	struct fuse_session *session;
	int r;

	if (argc < 2)
		errx(2, "MOUNTPOINT is missing");
	for (int i = 2; i < argc; i++)
		set_option(&fs, argv[i]);
	if (!fs.blksize && fs.entries >= MANY_ENTRIES)
		fs.blksize = LISTING_BYTES;
	open_files(&fs);
	session = fuse_session_new(&args, &operations, sizeof(operations), &fs);
	if (!session || fuse_set_signal_handlers(session) < 0 || fuse_session_mount(session, argv[1]) < 0)
		errx(1, "cannot mount at '%s'", argv[1]);
	if (fs.file_path) {
		struct fuse_loop_config *config = fuse_loop_cfg_create();

		r = fuse_session_loop_mt(session, config);
		fuse_loop_cfg_destroy(config);
	} else {
		r = fuse_session_loop(session);
	}
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	free(fs.bytes);
	return r < 0;
}
