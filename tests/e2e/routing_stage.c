/* SPDX-License-Identifier: Apache-2.0 */
#include "routing_stage.h"

#include <stdio.h>
#include <stdlib.h>

struct net n;

simplex_server_config server_config(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.proxy_failed_ms = 100;
    cfg.proxy_connect_timeout_ms = 3000;
    cfg.proxy_command_timeout_ms = 3000;
    return cfg;
}

/* Through a forwarder, under another name for the same machine. */
static void place(struct test_server *s, const simplex_server_config *cfg, struct forwarder *f,
                  const char *host, char address[512])
{
    char text[512], *at, *colon;

    server_start(s, cfg);
    forwarder_start(f, simplex_server_port(s->s));
    forwarder_address(f, s->address, text, sizeof text);
    at = strrchr(text, '@');
    colon = strrchr(text, ':');
    assert_true(at != NULL && colon > at);
    (void)snprintf(address, 512, "%.*s%s%s", (int)(at + 1 - text), text, host, colon);
}

void open_net(const simplex_server_config *relay, const simplex_server_config *proxy)
{
    simplex_server_config def = server_config();

    memset(&n, 0, sizeof n);
    tmp_make(n.dir);
    place(&n.relay, relay != NULL ? relay : &def, &n.way, "localhost", n.relay_address);
    place(&n.proxy, proxy != NULL ? proxy : &def, &n.to_proxy, "127.0.0.1", n.proxy_address);
    place(&n.other, &def, &n.to_other, "127.0.0.1", n.other_address);
    agent_open(&n.i, n.dir, "i", n.relay_address);
    agent_open(&n.j, n.dir, "j", n.proxy_address);
    n.j.cfg.connect_timeout = 3000;
    n.j.cfg.command_timeout = 3000;
}

void close_net(void)
{
    agent_close(&n.i);
    agent_close(&n.j);
    forwarder_stop(&n.way);
    forwarder_stop(&n.to_proxy);
    forwarder_stop(&n.to_other);
    server_stop(&n.relay);
    server_stop(&n.proxy);
    server_stop(&n.other);
    tmp_remove(n.dir);
}

int set_up(void **state)
{
    (void)state;
    open_net(NULL, NULL);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    close_net();
    return 0;
}

void reopen_j(int32_t mode, int32_t fallback)
{
    n.j.cfg.proxy_mode = mode;
    n.j.cfg.proxy_fallback = fallback;
    agent_reopen(&n.j);
}

void connect_both(void)
{
    connect_agents(&n.i, &n.j, SIMPLEX_PQ_OFF, &n.ic, &n.jc);
}

unsigned sent_through(int64_t id)
{
    simplex_event *ev = wait_event(&n.j, SIMPLEX_EV_SENT, n.jc);
    const char *server = simplex_event_server(ev);
    unsigned port = 0;

    assert_int_equal(simplex_event_msg_id(ev), id);
    if (server != NULL) {
        port = (unsigned)strtoul(strrchr(server, ':') + 1, NULL, 10);
        assert_non_null(strstr(simplex_event_json(ev), server));
    } else {
        assert_null(strstr(simplex_event_json(ev), "\"server\""));
    }
    simplex_event_free(ev);
    return port;
}

unsigned send_through(const char *text)
{
    int64_t id = send_text(&n.j, n.jc, text);
    unsigned port = sent_through(id);

    receive_text(&n.i, n.ic, text);
    return port;
}

void assert_warned(int64_t id, simplex_rc rc, const char *detail)
{
    simplex_event *ev = wait_event(&n.j, SIMPLEX_EV_MWARN, n.jc);

    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_error(ev), rc);
    if (detail != NULL)
        assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}
