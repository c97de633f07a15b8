/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test begins with: cmocka, and a main() that speaks TAP. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The last statement of main(): runs the array of struct CMUnitTest and returns how many failed. */
#define TEST_RUN(tests) (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests((tests), NULL, NULL))

/* Of what a sweep goes through one in so many is tried: all of it, where nothing slows the program down. */
static inline unsigned test_thinning(void)
{
	const char *text = getenv("WALFS_TEST_THIN");
	unsigned long n = text ? strtoul(text, NULL, 10) : 1;

	return n > 0 && n < 1000 ? (unsigned)n : 1;
}

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
