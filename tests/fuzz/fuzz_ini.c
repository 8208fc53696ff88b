/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server.ini: the reader of ini text, and what the table of keys makes of it. */
#include "fuzz.h"

#include "config_keys.h"
#include "ini.h"

static bool inside(simplex_bytes part, const uint8_t *data, size_t size)
{
    return part.len == 0 || (part.ptr >= data && part.len <= size - (size_t)(part.ptr - data));
}

static void lines(const uint8_t *data, size_t size)
{
    struct sx_ini ini;
    struct sx_ini_item item;
    unsigned last = 0;

    for (sx_ini_start(&ini, sx_bytes(data, size));;) {
        sx_ini_next(&ini, &item);
        if (item.kind == SX_INI_END)
            break;
        CHECK(item.line > last);
        last = item.line;
        CHECK(inside(item.section, data, size) && inside(item.key, data, size) &&
              inside(item.value, data, size));
        CHECK(item.kind == SX_INI_SECTION || (item.kind == SX_INI_VALUE) == (item.problem == NULL));
        CHECK(item.kind != SX_INI_VALUE || item.key.len > 0);
        CHECK(item.kind != SX_INI_SECTION || item.section.len > 0);
        CHECK(item.key.len + item.value.len < SX_INI_LINE_MAX);
        for (size_t i = 0; i < item.value.len; i++)
            CHECK(item.value.ptr[i] >= ' ' || item.value.ptr[i] == '\t');
    }
    sx_ini_next(&ini, &item);
    CHECK(item.kind == SX_INI_END);
}

struct said {
    unsigned errors, warnings;
};

static void report(void *user, enum sx_config_severity severity, unsigned line, const char *text)
{
    struct said *s = user;

    (void)line;
    CHECK(strncmp(text, "smp-server.ini:", 15) == 0);
    for (const char *p = text; *p != 0; p++)
        CHECK(*p >= ' ' && *p <= '~');
    if (severity == SX_CONFIG_ERROR)
        s->errors++;
    else
        s->warnings++;
}

static void no_change(void *user, bool live, const char *text)
{
    (void)user;
    (void)live;
    (void)text;
    abort();
}

static void count_changes(void *user, bool live, const char *text)
{
    (void)live;
    CHECK(strstr(text, ": ") != NULL);
    ++*(unsigned *)user;
}

static void ranges(const struct sx_config *c)
{
    CHECK(c->transport.port.count >= 1 && c->transport.port.count <= SX_CONFIG_PORTS_MAX);
    CHECK(c->proxy.own_server_domains.count <= SX_CONFIG_DOMAINS_MAX);
    CHECK(c->limits.smp_min_version <= c->limits.smp_max_version);
    CHECK(!c->inactive.disconnect || (c->inactive.ttl_ms > 0 && c->inactive.check_interval_ms > 0));
    CHECK(c->store.enable || c->store.store_messages == SX_MESSAGES_MEMORY);
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (k->type != SX_KEY_NUMBER || k->offset == SX_KEY_NO_FIELD)
            continue;
        int64_t n = *(const int64_t *)sx_key_field_of(k, c) / (k->unit == 0 ? 1 : k->unit);
        CHECK((n >= k->min && n <= k->max) || (n == 0 && k->absent == NULL));
    }
}

static void configuration(simplex_bytes text)
{
    struct sx_config c, other;
    struct said s = { 0 };
    unsigned changes = 0;
    simplex_rc rc = sx_config_parse("smp-server.ini", text, report, &s, &c);

    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_ARG);
    CHECK((rc == SIMPLEX_OK) == (s.errors == 0));
    if (rc == SIMPLEX_OK) {
        ranges(&c);
        CHECK(sx_config_parse("smp-server.ini", text, NULL, NULL, &other) == SIMPLEX_OK);
        sx_config_diff(&c, &other, no_change, NULL);
        sx_config_free(&other);
        sx_config_init(&other);
        sx_config_diff(&c, &other, count_changes, &changes);
        CHECK(changes > 0); /* a port is never absent */
        sx_config_take_live(&other, &c);
        sx_config_free(&other);
    }
    sx_config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lines(data, size);
    configuration(sx_bytes(data, size));
    return 0;
}
