/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of libFuzzer: the target gets each file of the directories that are named once, as it is. Options are passed over. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static unsigned run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size;

	CHECK(file, "%s", path);
	CHECK(fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0, "%s", path);
	rewind(file);
	uint8_t *data = malloc((size_t)size + 1);
	CHECK(data && fread(data, 1, (size_t)size, file) == (size_t)size, "%s", path);
	/* An allocation of just its size, so that a sanitizer sees a read beyond it. */
	data = realloc(data, (size_t)size + !size);
	CHECK(data);
	fclose(file);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 1;
}

static unsigned run_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	unsigned count = 0;

	if (!dir)
		return run_file(path);
	while ((d = readdir(dir))) {
		char file[4096];

		if (d->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s/%s", path, d->d_name);
		count += run_file(file);
	}
	closedir(dir);
	return count;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	(void)data;
	(void)max_size;
	return size;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++)
		if (argv[i][0] != '-')
			count += run_dir(argv[i]);
	printf("%u inputs\n", count);
	return count > 0 ? 0 : 1;
}
