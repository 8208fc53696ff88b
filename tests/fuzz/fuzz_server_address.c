/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses between a host, the text of a server address and its binary form. */
#include "fuzz_smp.h"

static void check_server(const struct sx_server *s, simplex_bytes password)
{
    struct sx_server again;
    simplex_bytes p;
    struct sx_wr w;

    CHECK(s->n_hosts >= 1 && s->n_hosts <= SX_HOSTS_MAX);
    sx_wr_init(&w, FUZZ_CAP);
    sx_server_print(&w, s, password);
    CHECK(!w.bad && sx_server_parse(sx_wr_bytes(&w), &again, &p) == SIMPLEX_OK);
    CHECK(sx_server_eq(s, &again) && sx_bytes_eq(p, password));
    CHECK(sx_server_port(s) == sx_server_port(&again));
    CHECK((sx_server_parse(sx_wr_bytes(&w), &again, NULL) == SIMPLEX_OK) == (password.len == 0));
    sx_wr_reset(&w);
    sx_server_encode(&w, s);
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
    sx_server_decode(&r, &again);
    CHECK(!w.bad && sx_rd_done(&r) && sx_server_eq(s, &again));
    sx_wr_free(&w);
}

static void host(simplex_bytes in)
{
    struct sx_host h, again;

    if (sx_host_parse(in, &h) != SIMPLEX_OK)
        return;
    CHECK(h.text[0] != 0 && sx_host_parse(sx_str(h.text), &again) == SIMPLEX_OK);
    CHECK(again.kind == h.kind && strcmp(again.text, h.text) == 0);
}

static void text(simplex_bytes in)
{
    struct sx_server s;
    simplex_bytes password;

    if (sx_server_parse(in, &s, &password) == SIMPLEX_OK)
        check_server(&s, password);
}

static void binary(simplex_bytes in)
{
    struct sx_rd r = sx_rd_init(in);
    struct sx_server s;

    sx_server_decode(&r, &s);
    if (!r.bad)
        check_server(&s, sx_bytes(NULL, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(simplex_bytes in) = { host, text, binary };

    if (size > 0)
        readers[data[0] % SX_COUNT(readers)](sx_bytes(data + 1, size - 1));
    return 0;
}
