/* SPDX-License-Identifier: Apache-2.0 */
#include "support/odd_server.h"

void odd_server_open(struct odd_server *o)
{
    struct sx_server server;
    struct sx_wr w;

    memset(o, 0, sizeof *o);
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    assert_int_equal(uv_loop_init(&o->loop), 0);
    peer_start(&o->peer, &o->loop, 0);
    peer_server(&o->peer, "127.0.0.1", &server);
    sx_wr_fixed(&w, o->address, sizeof o->address - 1);
    sx_server_print(&w, &server, sx_bytes(NULL, 0));
}

void odd_server_close(struct odd_server *o)
{
    peer_stop(&o->peer);
    (void)uv_run(&o->loop, UV_RUN_DEFAULT);
    peer_free(&o->peer);
    assert_int_equal(uv_loop_close(&o->loop), 0);
}

simplex_event *odd_server_hear_within(struct odd_server *o, struct test_agent *t, int32_t kind,
                                      int64_t conn, int64_t ms)
{
    int64_t until = sx_mono_ms() + ms;
    simplex_event *ev;

    while (sx_mono_ms() < until) {
        (void)uv_run(&o->loop, UV_RUN_NOWAIT);
        if (simplex_agent_next_event(t->a, 1, &ev) != SIMPLEX_OK)
            continue;
        if (simplex_event_kind(ev) == kind && (conn == 0 || simplex_event_conn(ev) == conn))
            return ev;
        simplex_event_free(ev);
    }
    return NULL;
}

simplex_event *odd_server_hear(struct odd_server *o, struct test_agent *t, int32_t kind,
                               int64_t conn)
{
    simplex_event *ev = odd_server_hear_within(o, t, kind, conn, WAIT_MS);

    if (ev == NULL)
        fail_msg("no event of kind %d", kind);
    return ev;
}
