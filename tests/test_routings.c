/* SPDX-License-Identifier: Apache-2.0 */
/* Which shard the original has put each key into. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "fixtures.h"
#include "keyhash.h"
#include "test.h"

static size_t unhex(const char *text, uint8_t *ret)
{
	size_t n = strlen(text) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned byte;

		assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
		ret[i] = (uint8_t)byte;
	}
	return n;
}

/* "KEY SHARD ID", the key as it is or as "hex:…". */
static void all_routings_of_the_fixture(void **state)
{
	char path[PATH_MAX], *save = NULL;
	size_t size, routings = 0;
	uint8_t *text;

	(void)state;
	fixture_path("sharded", "KEYS.txt", path);
	text = file_read(path, &size);
	for (char *line = strtok_r((char *)text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char key[1024];
		unsigned shard;

		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%1023s %u", key, &shard), 2);
		if (strncmp(key, "hex:", 4) == 0) {
			uint8_t bytes[512];
			size_t n = unhex(key + 4, bytes);

			assert_int_equal(keyhash(bytes, n) % 8, shard);
		} else {
			assert_int_equal(keyhash(key, strlen(key)) % 8, shard);
		}
		routings++;
	}
	assert_int_equal(routings, 2000);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_routings_of_the_fixture),
	};

	return fixtures_or_skip() ? TEST_RUN(tests) : 0;
}
