/* SPDX-License-Identifier: Apache-2.0 */
/* A server in this process and clients of simplex/client.h that pull their events. */
#ifndef PUBLIC_CLIENT_H
#define PUBLIC_CLIENT_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "simplex/client.h"
#include "simplex/server.h"
#include "support/vec.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define WAIT_MS 20000
#define KEY_ROOM SIMPLEX_PRIVATE_KEY_MAX
#define LIT(s) ((simplex_bytes){ (const uint8_t *)(s), sizeof(s) - 1 })

static simplex_server *server;
static char address[256];

static inline void start_server(const simplex_server_config *cfg)
{
    size_t len = sizeof(address);

    assert_int_equal(simplex_server_start(cfg, &server), SIMPLEX_OK);
    assert_int_equal(simplex_server_address(server, address, &len), SIMPLEX_OK);
}

static inline int set_up(void **state)
{
    simplex_server_config cfg;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.threads = 1;
    cfg.end_flush_ms = 0;
    cfg.ntf_flush_ms = 0;
    cfg.password = "letmein";
    start_server(&cfg);
    return 0;
}

static inline void stop_server(void)
{
    simplex_server_stop(server);
    server = NULL;
}

static inline int tear_down(void **state)
{
    (void)state;
    stop_server();
    return 0;
}

/* ---- keys ---- */

struct keys {
    uint8_t priv[SIMPLEX_PRIVATE_KEY_MAX], pub[SIMPLEX_PUBLIC_KEY_MAX];
    size_t priv_len, pub_len;
};

static inline struct keys keys_new(int32_t alg)
{
    struct keys k = { .priv_len = sizeof(k.priv), .pub_len = sizeof(k.pub) };

    assert_int_equal(simplex_client_keypair(alg, k.priv, &k.priv_len, k.pub, &k.pub_len),
                     SIMPLEX_OK);
    return k;
}

static inline simplex_bytes priv(const struct keys *k)
{
    return sx_bytes(k->priv, k->priv_len);
}

static inline simplex_bytes pub(const struct keys *k)
{
    return sx_bytes(k->pub, k->pub_len);
}

/* ---- clients that pull ---- */

static inline simplex_client *client_with(simplex_client_config cfg)
{
    simplex_client *c;

    cfg.size = sizeof(cfg);
    cfg.server = address;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_OK);
    return c;
}

static inline simplex_client *client_new(void)
{
    return client_with((simplex_client_config){ .reconnect_first = 20 });
}

static inline simplex_client_event *next_event(simplex_client *c)
{
    simplex_client_event *ev;

    assert_int_equal(simplex_client_next_event(c, WAIT_MS, &ev), SIMPLEX_OK);
    return ev;
}

/* The next event of this kind; others of the kinds UP and DOWN are skipped. */
static inline simplex_client_event *next_of(simplex_client *c, int32_t kind)
{
    for (;;) {
        simplex_client_event *ev = next_event(c);
        if (ev->kind == kind)
            return ev;
        if (ev->kind != SIMPLEX_CLIENT_UP && ev->kind != SIMPLEX_CLIENT_DOWN)
            fail_msg("event %d instead of %d (response %d)", ev->kind, kind, ev->response);
        simplex_client_event_free(ev);
    }
}

static inline uint64_t post(simplex_client *c, simplex_command cmd)
{
    uint64_t request = 0;

    cmd.size = sizeof(cmd);
    assert_int_equal(simplex_client_send(c, &cmd, &request), SIMPLEX_OK);
    assert_true(request > 0);
    return request;
}

static inline simplex_client_event *ask(simplex_client *c, simplex_command cmd)
{
    uint64_t request = post(c, cmd);
    simplex_client_event *ev = next_of(c, SIMPLEX_CLIENT_RESPONSE);

    assert_int_equal(ev->request, request);
    return ev;
}

static inline void ask_for(simplex_client *c, simplex_command cmd, int32_t response)
{
    simplex_client_event *ev = ask(c, cmd);

    if (ev->response != response)
        fail_msg("command %d: rc %d, response %d, %.*s", cmd.command, ev->rc, ev->response,
                 (int)ev->error.len, (const char *)ev->error.ptr);
    assert_true(sx_bytes_eq(ev->entity, cmd.entity));
    simplex_client_event_free(ev);
}

static inline void ask_refused(simplex_client *c, simplex_command cmd, const char *error)
{
    simplex_client_event *ev = ask(c, cmd);

    assert_int_equal(ev->rc, SIMPLEX_E_SERVER);
    assert_int_equal(ev->response, SIMPLEX_SMP_ERR);
    vec_assert_eq(ev->error, sx_str(error), "error");
    simplex_client_event_free(ev);
}

static inline void close_client(simplex_client *c)
{
    assert_int_equal(simplex_client_close(c), SIMPLEX_OK);
}

/* ---- queues ---- */

struct queue {
    struct keys auth, dh;
    simplex_client_event *ids;
};

static inline struct queue queue_with(simplex_client *c, int32_t alg, simplex_command more)
{
    struct queue q = { .auth = keys_new(alg), .dh = keys_new(SIMPLEX_X25519) };

    more.command = SIMPLEX_SMP_NEW;
    more.auth_key = priv(&q.auth);
    more.dh_key = pub(&q.dh);
    q.ids = ask(c, more);
    assert_int_equal(q.ids->rc, SIMPLEX_OK);
    assert_int_equal(q.ids->response, SIMPLEX_SMP_IDS);
    assert_int_equal(q.ids->rcv_id.len, 24);
    assert_int_equal(q.ids->snd_id.len, 24);
    assert_int_equal(q.ids->server_key.len, 44);
    return q;
}

static inline struct queue queue_new(simplex_client *c)
{
    return queue_with(
        c, SIMPLEX_ED25519,
        (simplex_command){ .queue_mode = SIMPLEX_QUEUE_MESSAGING, .subscribe = true });
}

static inline void queue_free(struct queue *q)
{
    simplex_client_event_free(q->ids);
}

/* A command of the recipient. */
static inline simplex_command rcv(const struct queue *q, int32_t command)
{
    return (simplex_command){ .command = command,
                              .entity = q->ids->rcv_id,
                              .auth_key = priv(&q->auth) };
}

static inline void assert_message(const struct queue *q, const simplex_client_event *ev,
                                  simplex_bytes body)
{
    static uint8_t got[SIMPLEX_MESSAGE_MAX];
    size_t len = sizeof(got);
    simplex_client_message m;

    assert_int_equal(ev->response, SIMPLEX_SMP_MSG);
    assert_true(sx_bytes_eq(ev->entity, q->ids->rcv_id));
    assert_int_equal(simplex_client_open_message(priv(&q->dh), q->ids->server_key, ev->msg_id,
                                                 ev->body, &m, got, &len),
                     SIMPLEX_OK);
    vec_assert_eq(sx_bytes(got, len), body, "message");
    assert_false(m.quota);
    assert_in_range(m.server_time, time(NULL) - 60, time(NULL) + 60);
}

static inline void ack(simplex_client *c, const struct queue *q, const simplex_client_event *msg,
                       int32_t response)
{
    simplex_command cmd = rcv(q, SIMPLEX_SMP_ACK);

    cmd.msg_id = msg->msg_id;
    ask_for(c, cmd, response);
}

#endif
