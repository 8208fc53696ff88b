/* SPDX-License-Identifier: Apache-2.0 */
#include "support/vec.h"

#include <stdio.h>
#include <stdlib.h>

static struct kept {
    struct kept *next;
} * kept;

void *vec_keep(size_t n)
{
    struct kept *k = calloc(1, sizeof *k + n + 1);

    assert_non_null(k);
    k->next = kept;
    kept = k;
    return k + 1;
}

void vec_free_all(void)
{
    while (kept != NULL) {
        struct kept *next = kept->next;
        free(kept);
        kept = next;
    }
}

int vec_teardown(void **state)
{
    (void)state;
    vec_free_all();
    return 0;
}

cJSON *vec_load(const char *name)
{
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/%s", VECTORS_DIR, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    (void)fseek(f, 0, SEEK_END);
    long size = ftell(f);
    (void)fseek(f, 0, SEEK_SET);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), (size_t)size);
    (void)fclose(f);
    text[size] = 0;
    cJSON *json = cJSON_Parse(text);
    free(text);
    if (json == NULL)
        fail_msg("%s is not JSON", path);
    return json;
}

const cJSON *vec_opt(const cJSON *obj, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);

    return cJSON_IsNull(v) ? NULL : v;
}

const cJSON *vec_get(const cJSON *obj, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);

    if (v == NULL)
        fail_msg("vector has no member %s", key);
    return v;
}

const char *vec_text(const cJSON *obj, const char *key)
{
    const cJSON *v = vec_get(obj, key);

    if (!cJSON_IsString(v))
        fail_msg("member %s is not a string", key);
    return v->valuestring;
}

int64_t vec_int(const cJSON *obj, const char *key)
{
    const cJSON *v = vec_get(obj, key);

    if (!cJSON_IsNumber(v))
        fail_msg("member %s is not a number", key);
    return (int64_t)v->valuedouble;
}

bool vec_bool(const cJSON *obj, const char *key)
{
    const cJSON *v = vec_get(obj, key);

    if (!cJSON_IsBool(v))
        fail_msg("member %s is not a boolean", key);
    return cJSON_IsTrue(v);
}

static unsigned nibble(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a' + 10);
    fail_msg("not a hex digit: %c", c);
    return 0;
}

simplex_bytes vec_unhex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *b = vec_keep(n);

    assert_int_equal(strlen(hex) % 2, 0);
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return sx_bytes(b, n);
}

simplex_bytes vec_hex(const cJSON *obj, const char *key)
{
    return vec_unhex(vec_text(obj, key));
}

simplex_bytes vec_hex_opt(const cJSON *obj, const char *key)
{
    return vec_opt(obj, key) != NULL ? vec_hex(obj, key) : sx_bytes(NULL, 0);
}

void vec_assert_eq(simplex_bytes got, simplex_bytes want, const char *what)
{
    size_t n = got.len < want.len ? got.len : want.len;

    for (size_t i = 0; i < n; i++) {
        if (got.ptr[i] != want.ptr[i])
            fail_msg("%s: byte %zu is %02x, want %02x (lengths %zu and %zu)", what, i, got.ptr[i],
                     want.ptr[i], got.len, want.len);
    }
    if (got.len != want.len)
        fail_msg("%s: length %zu, want %zu", what, got.len, want.len);
}
