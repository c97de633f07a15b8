/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "faultsys.h"
#include "test.h"
#include "tmpdir.h"

static void root_path_may_be_a_symlink_and_others_not(void **state)
{
	struct sys *sys = sys_real();
	struct tmpdir dir;
	char path[PATH_MAX];
	int fd;

	(void)state;
	tmpdir_make(&dir, "sys");
	assert_int_equal(symlinkat(".", dir.fd, "link"), 0);
	fd = sys->openat(sys, AT_FDCWD, tmpdir_path(&dir, "link", path), O_RDONLY | O_DIRECTORY, 0);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(sys->close(sys, fd), 0);
	/* With O_DIRECTORY the kernel says ENOTDIR for a symlink that it does not follow. */
	assert_int_equal(sys->openat(sys, dir.fd, "link", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
	assert_int_equal(sys->openat(sys, dir.fd, "link", O_RDONLY, 0), -ELOOP);
	tmpdir_remove(&dir);
}

/* Results are negative errnos for every call of the table. */
static void errors_are_forwarded(void **state)
{
	struct sys *sys = sys_real();
	struct statvfs vfs;
	struct stat st;
	struct tmpdir dir;
	struct iovec iov = { .iov_base = &st, .iov_len = 1 };
	char buf[64];
	void *map;

	(void)state;
	tmpdir_make(&dir, "sys");
	assert_int_equal(sys->openat(sys, dir.fd, "missing", O_RDONLY, 0), -ENOENT);
	assert_int_equal(sys->close(sys, -1), -EBADF);
	assert_int_equal(sys->pread(sys, -1, buf, 1, 0), -EBADF);
	assert_int_equal(sys->pread(sys, dir.fd, buf, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(sys->pwritev(sys, -1, &iov, 1, 0), -EBADF);
	assert_int_equal(sys->fallocate(sys, -1, 0, 1), -EBADF);
	assert_int_equal(sys->ftruncate(sys, -1, 0), -EBADF);
	assert_int_equal(sys->fsync(sys, -1), -EBADF);
	assert_int_equal(sys->fdatasync(sys, -1), -EBADF);
	assert_int_equal(sys->renameat(sys, dir.fd, "missing", "other"), -ENOENT);
	assert_int_equal(sys->unlinkat(sys, dir.fd, "missing", 0), -ENOENT);
	assert_int_equal(sys->mkdirat(sys, dir.fd, ".", 0755), -EEXIST);
	assert_int_equal(sys->fstat(sys, -1, &st), -EBADF);
	assert_int_equal(sys->fstatat(sys, dir.fd, "missing", &st), -ENOENT);
	assert_int_equal(sys->fstatvfs(sys, -1, &vfs), -EBADF);
	assert_int_equal(sys->flock(sys, -1, LOCK_EX), -EBADF);
	assert_int_equal(sys->getdents(sys, -1, buf, sizeof(buf)), -EBADF);
	assert_int_equal(sys->mmap(sys, -1, 4096, &map), -EBADF);
	assert_int_equal(sys->munmap(sys, (void *)1, 4096), -EINVAL);
	assert_int_equal(sys->tmpfile(sys, INT_MAX), -EBADF);
	tmpdir_remove(&dir);
}

static void lock_of_another_handle(void **state)
{
	struct sys *sys = sys_real();
	struct tmpdir dir;
	int a, b;

	(void)state;
	tmpdir_make(&dir, "sys");
	a = sys_open_regular(sys, dir.fd, "LOCK", O_RDWR | O_CREAT, 0644);
	b = sys_open_regular(sys, dir.fd, "LOCK", O_RDWR, 0);
	assert_int_equal(sys->flock(sys, a, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(sys->flock(sys, b, LOCK_EX | LOCK_NB), -EWOULDBLOCK);
	sys_close(sys, &a);
	assert_int_equal(a, -1);
	assert_int_equal(sys->flock(sys, b, LOCK_EX | LOCK_NB), 0);
	sys_close(sys, &b);
	sys_close(sys, &b);
	tmpdir_remove(&dir);
}

static void mapping_shows_the_file(void **state)
{
	struct sys *sys = sys_real();
	struct tmpdir dir;
	char path[PATH_MAX];
	void *map;
	int fd;

	(void)state;
	tmpdir_make(&dir, "sys");
	file_write(tmpdir_path(&dir, "f", path), "abc", 3);
	fd = sys_open_regular(sys, dir.fd, "f", O_RDONLY, 0);
	assert_int_equal(sys->mmap(sys, fd, 3, &map), 0);
	assert_memory_equal(map, "abc", 3);
	damage_set_byte(path, 1, 'X');
	assert_memory_equal(map, "aXc", 3);
	assert_int_equal(sys->munmap(sys, map, 3), 0);
	sys_close(sys, &fd);
	tmpdir_remove(&dir);
}

static void expect_usable_and_unnamed(int fd)
{
	struct sys *sys = sys_real();
	char back[3];
	struct stat st;

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(sys_pwrite_full(sys, fd, "abc", 3, 0), 0);
	assert_int_equal(sys_pread_full(sys, fd, back, 3, 0), 3);
	assert_memory_equal(back, "abc", 3);
	assert_int_equal(sys->fstat(sys, fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(sys->close(sys, fd), 0);
}

static int count_name(void *arg, const char *name, unsigned char type)
{
	(void)name;
	(void)type;
	++*(size_t *)arg;
	return 0;
}

static void tmpfile_leaves_no_name(void **state)
{
	struct sys *sys = sys_real();
	struct tmpdir dir;
	size_t names = 0;

	(void)state;
	tmpdir_make(&dir, "sys");
	expect_usable_and_unnamed(sys->tmpfile(sys, dir.fd));
	assert_int_equal(sys_list(sys, dir.fd, count_name, &names), 0);
	assert_int_equal(names, 0);
	tmpdir_remove(&dir);
}

/* A read-only store may not be written to, and $TMPDIR may not be there. */
static void tmpfile_outside_of_any_store(void **state)
{
	struct sys *sys = sys_real();
	const char *tmpdir = getenv("TMPDIR");
	char *saved = tmpdir ? strdup(tmpdir) : NULL;

	(void)state;
	expect_usable_and_unnamed(sys->tmpfile(sys, -1));
	setenv("TMPDIR", "/nonexistent", 1);
	expect_usable_and_unnamed(sys->tmpfile(sys, -1));
	unsetenv("TMPDIR");
	expect_usable_and_unnamed(sys->tmpfile(sys, -1));
	if (saved)
		setenv("TMPDIR", saved, 1);
	free(saved);
}

static void now_is_unix_time(void **state)
{
	struct sys *sys = sys_real();
	struct timespec before, after;
	int64_t now;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);
	now = sys->now(sys);
	clock_gettime(CLOCK_REALTIME, &after);
	assert_true(now >= (int64_t)before.tv_sec * 1000000000 + before.tv_nsec);
	assert_true(now <= (int64_t)after.tv_sec * 1000000000 + after.tv_nsec);
}

/* A table whose reads and writes do one byte at a time; `stuck` writes then do nothing. */
struct slowsys {
	struct sys sys;
	bool stuck;
	int count_max;
};

static ssize_t slow_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	(void)sys;
	return sys_real()->pread(sys_real(), fd, data, size > 1 ? 1 : size, offset);
}

static ssize_t slow_pwritev(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	struct slowsys *slow = container_of(sys, struct slowsys, sys);
	struct iovec one = { .iov_base = iov[0].iov_base, .iov_len = 1 };

	if (count > slow->count_max)
		slow->count_max = count;
	assert_true(iov[0].iov_len > 0);
	return slow->stuck ? 0 : sys_real()->pwritev(sys_real(), fd, &one, 1, offset);
}

static void slowsys_init(struct slowsys *slow)
{
	*slow = (struct slowsys){ .sys = *sys_real() };
	slow->sys.pread = slow_pread;
	slow->sys.pwritev = slow_pwritev;
}

static void short_reads_and_writes_go_on(void **state)
{
	struct slowsys slow;
	struct tmpdir dir;
	char abc[] = "abc", de[] = "de";
	struct iovec iov[] = { { abc, 0 }, { abc, 3 }, { de, 0 }, { de, 2 }, { NULL, 0 } };
	char back[16];
	int fd;

	(void)state;
	tmpdir_make(&dir, "sys");
	slowsys_init(&slow);
	fd = sys_open_regular(&slow.sys, dir.fd, "f", O_RDWR | O_CREAT, 0644);
	assert_int_equal(sys_pwritev_full(&slow.sys, fd, iov, 5, 2), 0);
	assert_int_equal(sys_pread_full(&slow.sys, fd, back, sizeof(back), 0), 7);
	assert_memory_equal(back, "\0\0abcde", 7);
	assert_int_equal(sys_pread_full(&slow.sys, fd, back, 3, 4), 3);
	assert_memory_equal(back, "cde", 3);
	assert_int_equal(sys_pread_full(&slow.sys, fd, back, 3, 7), 0);
	assert_int_equal(sys_pwritev_full(&slow.sys, fd, NULL, 0, 0), 0);
	assert_int_equal(sys_pwrite_full(&slow.sys, fd, NULL, 0, 0), 0);
	slow.stuck = true;
	assert_int_equal(sys_pwrite_full(&slow.sys, fd, "x", 1, 0), -EIO);
	sys_close(&slow.sys, &fd);
	tmpdir_remove(&dir);
}

/* The kernel takes 1024 pieces at a time. */
static void vectors_of_any_length(void **state)
{
	enum { PIECES = 5000 };
	struct tmpdir dir;
	struct iovec *iov = calloc(PIECES, sizeof(*iov));
	char *back = calloc(1, PIECES);
	int fd;

	(void)state;
	tmpdir_make(&dir, "sys");
	fd = sys_open_regular(sys_real(), dir.fd, "f", O_RDWR | O_CREAT, 0644);
	for (int i = 0; i < PIECES; i++)
		iov[i] = (struct iovec){ (void *)&"0123456789"[i % 10], 1 };
	assert_int_equal(sys_pwritev_full(sys_real(), fd, iov, PIECES, 0), 0);
	assert_int_equal(sys_pread_full(sys_real(), fd, back, PIECES, 0), PIECES);
	for (int i = 0; i < PIECES; i++)
		assert_int_equal(back[i], '0' + i % 10);
	sys_close(sys_real(), &fd);
	tmpdir_remove(&dir);
	free(iov);
	free(back);
}

struct seen {
	size_t files, dirs, other;
	size_t stop_after;
};

static int count_types(void *arg, const char *name, unsigned char type)
{
	struct seen *seen = arg;

	assert_string_not_equal(name, ".");
	assert_string_not_equal(name, "..");
	seen->files += type == DT_REG;
	seen->dirs += type == DT_DIR;
	seen->other += type != DT_REG && type != DT_DIR;
	return seen->stop_after && seen->files + seen->dirs + seen->other == seen->stop_after ? 42 : 0;
}

/* More names than one buffer holds; listed twice, because the position of the descriptor must not matter. */
static void listing_a_large_directory(void **state)
{
	enum { FILES = 1500 };
	struct seen stopped = { .stop_after = 3 };
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "sys");
	faultsys_init(&f);
	for (int i = 0; i < FILES; i++) {
		char name[64];
		snprintf(name, sizeof(name), "a-rather-long-name-of-a-file-%d", i);
		assert_int_equal(close(openat(dir.fd, name, O_WRONLY | O_CREAT, 0644)), 0);
	}
	assert_int_equal(mkdirat(dir.fd, "d", 0755), 0);
	assert_int_equal(symlinkat("x", dir.fd, "l"), 0);
	for (int i = 0; i < 2; i++) {
		struct seen seen = { 0 };
		assert_int_equal(sys_list(&f.sys, dir.fd, count_types, &seen), 0);
		assert_int_equal(seen.files, FILES);
		assert_int_equal(seen.dirs, 1);
		assert_int_equal(seen.other, 1);
	}
	assert_true(faultsys_count(&f, FAULT_GETDENTS) >= 4);
	assert_int_equal(sys_list(&f.sys, dir.fd, count_types, &stopped), 42);
	faultsys_fail(&f, FAULT_GETDENTS, 2, EIO);
	assert_int_equal(sys_list(&f.sys, dir.fd, count_types, &(struct seen){ 0 }), -EIO);
	faultsys_fail(&f, FAULT_OPENAT, 1, EMFILE);
	assert_int_equal(sys_list(&f.sys, dir.fd, count_types, &(struct seen){ 0 }), -EMFILE);
	assert_int_equal(f.open_fds, 0);
	tmpdir_remove(&dir);
}

static void make_socket(const struct tmpdir *dir, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir->fd, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

/* None of them may be followed, waited for or taken for a file. */
static void only_regular_files_are_opened(void **state)
{
	static const struct {
		const char *name;
		int error_reading, error_writing;
	} cases[] = {
		{ "directory", -EISDIR, -EISDIR }, { "symlink", -ELOOP, -ELOOP }, { "dangling", -ELOOP, -ELOOP },
		{ "fifo", -EINVAL, -EINVAL },	   { "socket", -EINVAL, -EINVAL }, { "missing", -ENOENT, -ENOENT },
	};
	struct faultsys f;
	struct tmpdir dir;
	char path[PATH_MAX], data[4];
	size_t size;

	(void)state;
	tmpdir_make(&dir, "sys");
	faultsys_init(&f);
	file_write(tmpdir_path(&dir, "file", path), "abc", 3);
	assert_int_equal(mkdirat(dir.fd, "directory", 0755), 0);
	assert_int_equal(symlinkat("file", dir.fd, "symlink"), 0);
	assert_int_equal(symlinkat("nowhere", dir.fd, "dangling"), 0);
	assert_int_equal(mkfifoat(dir.fd, "fifo", 0644), 0);
	make_socket(&dir, "socket");
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		assert_int_equal(sys_open_regular(&f.sys, dir.fd, cases[i].name, O_RDONLY, 0), cases[i].error_reading);
		assert_int_equal(sys_open_regular(&f.sys, dir.fd, cases[i].name, O_WRONLY, 0), cases[i].error_writing);
		assert_int_equal(sys_read_file(&f.sys, dir.fd, cases[i].name, data, sizeof(data), &size), cases[i].error_reading);
	}
	assert_int_equal(sys_open_regular(&f.sys, dir.fd, "symlink", O_WRONLY | O_CREAT, 0644), -ELOOP);
	faultsys_fail(&f, FAULT_FSTAT, 1, EIO);
	assert_int_equal(sys_open_regular(&f.sys, dir.fd, "file", O_RDONLY, 0), -EIO);
	assert_int_equal(f.open_fds, 0);
	tmpdir_remove(&dir);
}

static void reading_a_small_file(void **state)
{
	struct faultsys f;
	struct tmpdir dir;
	char path[PATH_MAX], data[4] = "....";
	size_t size = 4711;

	(void)state;
	tmpdir_make(&dir, "sys");
	faultsys_init(&f);
	file_write(tmpdir_path(&dir, "f", path), "abcd", 4);
	assert_int_equal(sys_read_file(&f.sys, dir.fd, "f", data, 3, &size), -EFBIG);
	assert_int_equal(size, 4711);
	assert_int_equal(sys_read_file(&f.sys, dir.fd, "f", data, 4, &size), 0);
	assert_int_equal(size, 4);
	assert_memory_equal(data, "abcd", 4);
	file_write(path, "", 0);
	assert_int_equal(sys_read_file(&f.sys, dir.fd, "f", data, 4, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(sys_read_file(&f.sys, dir.fd, "f", data, 0, &size), 0);
	for (unsigned n = 1;; n++) {
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		int r = sys_read_file(&f.sys, dir.fd, "f", data, 4, &size);
		assert_int_equal(f.open_fds, 0);
		if (!faultsys_hit(&f))
			break;
		/* A failing close of a file that was only read loses nothing. */
		assert_true(r == -EIO || (r == 0 && size == 0));
	}
	tmpdir_remove(&dir);
}

static void expect_content(const struct tmpdir *dir, const char *name, const char *content)
{
	char path[PATH_MAX];
	size_t size;
	uint8_t *data = file_read(tmpdir_path(dir, name, path), &size);

	assert_string_equal((char *)data, content);
	assert_int_equal(size, strlen(content));
	free(data);
}

static void replacing_a_file(void **state)
{
	struct sys *sys = sys_real();
	struct tmpdir dir;
	char path[PATH_MAX], name[NAME_MAX + 1];

	(void)state;
	tmpdir_make(&dir, "sys");
	assert_int_equal(sys_replace_file(sys, dir.fd, "f", 0600, "first", 5), 0);
	expect_content(&dir, "f", "first");
	/* What a crash left of an earlier, longer try */
	file_write(tmpdir_path(&dir, "f.tmp", path), "garbage garbage", 15);
	assert_int_equal(sys_replace_file(sys, dir.fd, "f", 0600, "second", 6), 0);
	expect_content(&dir, "f", "second");
	assert_int_equal(faccessat(dir.fd, "f.tmp", F_OK, 0), -1);
	assert_int_equal(sys_replace_file(sys, dir.fd, "f", 0600, NULL, 0), 0);
	expect_content(&dir, "f", "");
	memset(name, 'x', NAME_MAX);
	name[NAME_MAX] = '\0';
	assert_int_equal(sys_replace_file(sys, dir.fd, name, 0600, "a", 1), -ENAMETOOLONG);
	tmpdir_remove(&dir);
}

/* The data must be on the disk before the new name, and the name before success is reported. */
static void replacing_syncs_file_and_directory(void **state)
{
	struct faultsys f;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "sys");
	faultsys_init(&f);
	assert_int_equal(sys_replace_file(&f.sys, dir.fd, "f", 0600, "data", 4), 0);
	assert_int_equal(faultsys_count(&f, FAULT_FSYNC), 2);
	assert_int_equal(faultsys_count(&f, FAULT_RENAMEAT), 1);
	faultsys_fail(&f, FAULT_FSYNC, 1, EIO);
	assert_int_equal(sys_replace_file(&f.sys, dir.fd, "f", 0600, "other", 5), -EIO);
	assert_int_equal(faultsys_count(&f, FAULT_RENAMEAT), 1);
	expect_content(&dir, "f", "data");
	faultsys_fail(&f, FAULT_FSYNC, 2, EIO);
	assert_int_equal(sys_replace_file(&f.sys, dir.fd, "f", 0600, "other", 5), -EIO);
	expect_content(&dir, "f", "other");
	tmpdir_remove(&dir);
}

static void replace_sweep(bool short_write)
{
	struct faultsys f;
	struct tmpdir dir;
	char path[PATH_MAX];
	unsigned n = 1;

	tmpdir_make(&dir, "sys");
	faultsys_init(&f);
	for (;; n++) {
		size_t fds = open_fd_count(), size;
		uint8_t *data;
		int r;

		file_write(tmpdir_path(&dir, "f", path), "old", 3);
		faultsys_fail(&f, FAULT_ANY, n, ENOSPC);
		f.short_write = short_write;
		r = sys_replace_file(&f.sys, dir.fd, "f", 0600, "brandnew", 8);
		assert_int_equal(open_fd_count(), fds);
		assert_int_equal(f.open_fds, 0);
		data = file_read(path, &size);
		assert_true(strcmp((char *)data, "old") == 0 || strcmp((char *)data, "brandnew") == 0);
		if (r == 0)
			assert_string_equal((char *)data, "brandnew");
		free(data);
		/* Only the failing directory sync comes after the rename; nothing else may leave the temporary file. */
		assert_int_equal(faccessat(dir.fd, "f.tmp", F_OK, 0), -1);
		if (!faultsys_hit(&f))
			break;
		assert_int_equal(r, -ENOSPC);
	}
	assert_int_equal(n, 8);
	tmpdir_remove(&dir);
}

static void replacing_with_every_call_failing(void **state)
{
	(void)state;
	replace_sweep(false);
}

static void replacing_with_short_writes(void **state)
{
	(void)state;
	replace_sweep(true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_path_may_be_a_symlink_and_others_not),
		cmocka_unit_test(errors_are_forwarded),
		cmocka_unit_test(lock_of_another_handle),
		cmocka_unit_test(mapping_shows_the_file),
		cmocka_unit_test(tmpfile_leaves_no_name),
		cmocka_unit_test(tmpfile_outside_of_any_store),
		cmocka_unit_test(now_is_unix_time),
		cmocka_unit_test(short_reads_and_writes_go_on),
		cmocka_unit_test(vectors_of_any_length),
		cmocka_unit_test(listing_a_large_directory),
		cmocka_unit_test(only_regular_files_are_opened),
		cmocka_unit_test(reading_a_small_file),
		cmocka_unit_test(replacing_a_file),
		cmocka_unit_test(replacing_syncs_file_and_directory),
		cmocka_unit_test(replacing_with_every_call_failing),
		cmocka_unit_test(replacing_with_short_writes),
	};

	return TEST_RUN(tests);
}
