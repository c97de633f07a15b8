/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		fail_msg("cannot open '%s': %m", path);
	return fd;
}

static void write_at(int fd, const void *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);
		assert_true(n > 0);
		data = (const uint8_t *)data + n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
}

uint8_t *file_read(const char *path, size_t *ret_size)
{
	size_t size = file_size(path), done = 0;
	uint8_t *data = malloc(size + 1);
	int fd = open_or_fail(path, O_RDONLY);

	assert_non_null(data);
	while (done < size) {
		ssize_t n = pread(fd, data + done, size - done, (off_t)done);
		assert_true(n > 0);
		done += (size_t)n;
	}
	close(fd);
	data[size] = 0;
	*ret_size = size;
	return data;
}

void file_write(const char *path, const void *data, size_t size)
{
	int fd = open_or_fail(path, O_WRONLY | O_CREAT | O_TRUNC);

	write_at(fd, data, size, 0);
	close(fd);
}

uint64_t file_size(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		fail_msg("cannot stat '%s': %m", path);
	return (uint64_t)st.st_size;
}

static uint8_t byte_at(const char *path, uint64_t offset)
{
	int fd = open_or_fail(path, O_RDONLY);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
	return byte;
}

void damage_flip_bit(const char *path, uint64_t offset, unsigned bit)
{
	damage_set_byte(path, offset, (uint8_t)(byte_at(path, offset) ^ 1u << bit));
}

void damage_set_byte(const char *path, uint64_t offset, uint8_t value)
{
	int fd = open_or_fail(path, O_WRONLY);

	write_at(fd, &value, 1, offset);
	close(fd);
}

static void set_size(const char *path, uint64_t size)
{
	assert_int_equal(truncate(path, (off_t)size), 0);
}

void damage_shrink(const char *path, uint64_t size)
{
	uint64_t old = file_size(path);

	assert_true(size <= old);
	set_size(path, old - size);
}

void damage_grow_zeros(const char *path, uint64_t size)
{
	set_size(path, file_size(path) + size);
}

void damage_append(const char *path, const void *data, size_t size)
{
	uint64_t end = file_size(path);
	int fd = open_or_fail(path, O_WRONLY);

	write_at(fd, data, size, end);
	close(fd);
}

static void copy_directory(const char *from, const char *to)
{
	DIR *dir = opendir(from);
	struct dirent *entry;

	assert_non_null(dir);
	assert_int_equal(mkdir(to, 0755), 0);
	while ((entry = readdir(dir))) {
		char from_path[PATH_MAX], to_path[PATH_MAX];
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		assert_true(snprintf(from_path, PATH_MAX, "%s/%s", from, entry->d_name) < PATH_MAX);
		assert_true(snprintf(to_path, PATH_MAX, "%s/%s", to, entry->d_name) < PATH_MAX);
		copy_tree(from_path, to_path);
	}
	closedir(dir);
}

void copy_tree(const char *from, const char *to)
{
	struct stat st;
	uint8_t *data;
	size_t size;

	if (stat(from, &st) < 0)
		fail_msg("cannot stat '%s': %m", from);
	if (S_ISDIR(st.st_mode)) {
		copy_directory(from, to);
		return;
	}
	data = file_read(from, &size);
	file_write(to, data, size);
	free(data);
}
