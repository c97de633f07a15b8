/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test begins with: cmocka, and a main() that speaks TAP. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The last statement of main(): runs the array of struct CMUnitTest and returns how many failed. */
#define TEST_RUN(tests) (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests((tests), NULL, NULL))

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
