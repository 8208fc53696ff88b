/* SPDX-License-Identifier: Apache-2.0 */
/* What an unknown name in smp-server.ini may have meant. */
#include <stdio.h>

#include "config_keys.h"

#define NAME_MAX_LEN 48 /* longer names are near to none of ours */

static char lower(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Letters to insert, delete or change; case does not count. `to` is one of ours and short. */
static size_t distance(simplex_bytes from, const char *to)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t n = strlen(to);

    if (from.len > NAME_MAX_LEN || n > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= from.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            bool same = lower(from.ptr[i - 1]) == lower((uint8_t)to[j - 1]);
            size_t best = diagonal + (same ? 0 : 1);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static size_t near_enough(size_t len)
{
    return 1 + len / 3;
}

void sx_config_hint_key(simplex_bytes section, simplex_bytes key, char out[SX_CONFIG_HINT])
{
    size_t best = near_enough(key.len) + 1;

    out[0] = 0;
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (sx_bytes_eq(key, sx_str(k->key))) {
            snprintf(out, SX_CONFIG_HINT, "; it belongs to [%s]", k->section);
            return;
        }
    }
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        size_t d = distance(key, k->key);
        if (d < best && sx_bytes_eq(section, sx_str(k->section))) {
            best = d;
            snprintf(out, SX_CONFIG_HINT, "; did you mean %s?", k->key);
        }
    }
}

void sx_config_hint_section(simplex_bytes section, char out[SX_CONFIG_HINT])
{
    size_t best = near_enough(section.len) + 1;

    out[0] = 0;
    for (size_t i = 0; i < sx_keys_count; i++) {
        size_t d = distance(section, sx_keys[i].section);
        if (d < best) {
            best = d;
            snprintf(out, SX_CONFIG_HINT, "; did you mean [%s]?", sx_keys[i].section);
        }
    }
}
