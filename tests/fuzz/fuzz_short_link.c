/* SPDX-License-Identifier: Apache-2.0 */
/* Short links, text and binary: both are stable and agree. */
#include "fuzz.h"

#include "wire/short_link.h"
#include "wire/url.h"

static void check_same(const struct sx_short_link *a, const struct sx_short_link *b)
{
    CHECK(a->type == b->type && a->has_key_hash == b->has_key_hash);
    CHECK(sx_server_eq(&a->server, &b->server));
    CHECK(memcmp(a->link_id, b->link_id, sizeof a->link_id) == 0);
    CHECK(memcmp(a->link_key, b->link_key, sizeof a->link_key) == 0);
}

static bool printable(const struct sx_server *s)
{
    return s->n_hosts > 0 && sx_text_is_solid(sx_str(s->hosts[0].text));
}

/* As text in both schemes and as binary. */
static void check_round_trips(struct sx_short_link s)
{
    struct sx_short_link again;
    struct sx_wr w;

    sx_wr_init(&w, 65536);
    for (uint8_t scheme = SX_SHORT_HTTPS; scheme <= SX_SHORT_SIMPLEX; scheme++) {
        s.scheme = scheme;
        sx_short_link_print(&w, &s);
        CHECK(!w.bad);
        if (printable(&s.server)) {
            CHECK(sx_short_link_parse(sx_wr_bytes(&w), &again) == SIMPLEX_OK);
            CHECK(again.scheme == scheme);
            check_same(&s, &again);
        }
        sx_wr_reset(&w);
    }
    sx_short_link_encode(&w, &s);
    CHECK(!w.bad);
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
    sx_short_link_read(&r, &again);
    CHECK(sx_rd_done(&r));
    check_same(&s, &again);
    sx_wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct sx_short_link s;

    if (sx_short_link_parse(sx_bytes(data, size), &s) == SIMPLEX_OK)
        check_round_trips(s);
    sx_short_link_read(&r, &s);
    if (!r.bad)
        check_round_trips(s);
    return 0;
}
