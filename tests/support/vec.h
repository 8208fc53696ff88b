/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the recorded vectors of tests/vectors (JSON; byte strings are lower-case hex). */
#ifndef TESTS_VEC_H
#define TESTS_VEC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "base/base.h"

/* Parses VECTORS_DIR/<name>; fails the test when it cannot. Free with cJSON_Delete. */
cJSON *vec_load(const char *name);

/* Member `key` of obj; vec_get fails the test when it is missing, vec_opt returns NULL (also for
 * JSON null). */
const cJSON *vec_get(const cJSON *obj, const char *key);
const cJSON *vec_opt(const cJSON *obj, const char *key);
const char *vec_text(const cJSON *obj, const char *key);
int64_t vec_int(const cJSON *obj, const char *key);
bool vec_bool(const cJSON *obj, const char *key);

/* Hex member to bytes. All bytes of all calls live until vec_free_all (call it in teardown). */
simplex_bytes vec_hex(const cJSON *obj, const char *key);
simplex_bytes vec_hex_opt(const cJSON *obj, const char *key); /* empty when missing or null */
simplex_bytes vec_unhex(const char *hex);
void *vec_keep(size_t n); /* memory with the same lifetime */
void vec_free_all(void);
int vec_teardown(void **state); /* the same, for cmocka */

/* assert that two byte strings are equal, printing `what` and the first difference. */
void vec_assert_eq(simplex_bytes got, simplex_bytes want, const char *what);

#define vec_each(item, array) cJSON_ArrayForEach(item, array)

#endif
