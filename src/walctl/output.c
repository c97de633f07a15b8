/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "output.h"

enum { OUTPUT_BUFFER_BYTES = 64 << 10 };

static ssize_t output_write(void *cookie, const char *data, size_t size)
{
	struct output *output = cookie;
	size_t done = 0;

	while (done < size && !output->error) {
		ssize_t written = write(STDOUT_FILENO, data + done, size - done);

		if (written >= 0)
			done += (size_t)written;
		else if (errno != EINTR)
			output->error = errno;
	}
	return output->error ? 0 : (ssize_t)size;
}

int output_open(struct output *output)
{
	output->error = 0;
	output->file = fopencookie(output, "w", (cookie_io_functions_t){ .write = output_write });
	if (!output->file || setvbuf(output->file, NULL, _IOFBF, OUTPUT_BUFFER_BYTES)) {
		if (output->file)
			fclose(output->file);
		return -ENOMEM;
	}
	return 0;
}

int output_close(struct output *output)
{
	fclose(output->file);
	output->file = NULL;
	return -output->error;
}
