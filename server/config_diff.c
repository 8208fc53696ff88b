/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two readings of smp-server.ini. */
#include "config_keys.h"

#define TEXT_MAX 1536 /* a name and two values, the longest of which are cut */
#define VALUE_MAX 640

static void put_value(struct sx_wr *w, const struct sx_key *k, const void *field)
{
    struct sx_wr value;

    sx_wr_init(&value, SX_CONFIG_FILE_MAX);
    sx_key_show(k, field, &value);
    simplex_bytes text = sx_wr_bytes(&value);
    bool cut = text.len > VALUE_MAX;
    sx_wr_raw(w, sx_bytes(text.ptr, cut ? VALUE_MAX : text.len));
    sx_wr_text(w, cut || value.bad ? "..." : "");
    sx_wr_free(&value);
}

static void put_password(struct sx_wr *w, const char *old, const char *new)
{
    sx_wr_text(w, old == NULL ? "set" : new == NULL ? "removed" : "changed");
}

static bool same_proxy_host(const struct sx_config_proxy *a, const struct sx_config_proxy *b)
{
    return a->host != NULL && b->host != NULL && strcmp(a->host, b->host) == 0 &&
           a->port == b->port;
}

static void put_change(struct sx_wr *w, const struct sx_key *k, const void *old, const void *new)
{
    sx_wr_text(w, k->name);
    sx_wr_text(w, ": ");
    if (k->type == SX_KEY_PASSWORD) {
        put_password(w, *(char *const *)old, *(char *const *)new);
        return;
    }
    if (k->type == SX_KEY_PROXY && same_proxy_host(old, new)) {
        sx_wr_text(w, "credentials changed");
        return;
    }
    put_value(w, k, old);
    sx_wr_text(w, " -> ");
    put_value(w, k, new);
}

void sx_config_diff(const struct sx_config *old, const struct sx_config *new, sx_config_diff_fn *fn,
                    void *user)
{
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        char text[TEXT_MAX] = { 0 };
        struct sx_wr w;

        if (k->offset == SX_KEY_NO_FIELD || k->group != SX_GROUP_NONE ||
            sx_key_equal(k, sx_key_field_of(k, old), sx_key_field_of(k, new)))
            continue;
        sx_wr_fixed(&w, text, sizeof text - 1);
        put_change(&w, k, sx_key_field_of(k, old), sx_key_field_of(k, new));
        fn(user, k->live, text);
    }
}

void sx_config_take_live(struct sx_config *c, struct sx_config *from)
{
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        uint8_t tmp[sizeof(struct sx_config_domains) + sizeof(struct sx_config_proxy)];
        size_t n = sx_key_size(k);

        if (!k->live || n == 0 || n > sizeof tmp)
            continue;
        memcpy(tmp, sx_key_field(k, c), n);
        memcpy(sx_key_field(k, c), sx_key_field(k, from), n);
        memcpy(sx_key_field(k, from), tmp, n);
    }
}
