/* SPDX-License-Identifier: Apache-2.0 */
/* simplex/client.h against simplex/server.h over loopback. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "simplex/client.h"
#include "simplex/server.h"
#include "support/vec.h"

#define WAIT_MS 20000
#define KEY_ROOM SIMPLEX_PRIVATE_KEY_MAX
#define LIT(s) ((simplex_bytes){ (const uint8_t *)(s), sizeof(s) - 1 })

static simplex_server *server;
static char address[256];

static void start_server(const simplex_server_config *cfg)
{
    size_t len = sizeof(address);

    assert_int_equal(simplex_server_start(cfg, &server), SIMPLEX_OK);
    assert_int_equal(simplex_server_address(server, address, &len), SIMPLEX_OK);
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    (void)state;
    simplex_server_stop(server);
    server = NULL;
    return 0;
}

/* ---- keys ---- */

struct keys {
    uint8_t priv[SIMPLEX_PRIVATE_KEY_MAX], pub[SIMPLEX_PUBLIC_KEY_MAX];
    size_t priv_len, pub_len;
};

static struct keys keys_new(int32_t alg)
{
    struct keys k = { .priv_len = sizeof(k.priv), .pub_len = sizeof(k.pub) };

    assert_int_equal(simplex_client_keypair(alg, k.priv, &k.priv_len, k.pub, &k.pub_len),
                     SIMPLEX_OK);
    return k;
}

static simplex_bytes priv(const struct keys *k)
{
    return sx_bytes(k->priv, k->priv_len);
}

static simplex_bytes pub(const struct keys *k)
{
    return sx_bytes(k->pub, k->pub_len);
}

/* ---- clients that pull ---- */

static simplex_client *client_with(simplex_client_config cfg)
{
    simplex_client *c;

    cfg.size = sizeof(cfg);
    cfg.server = address;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_OK);
    return c;
}

static simplex_client *client_new(void)
{
    return client_with((simplex_client_config){ .reconnect_first = 20 });
}

static simplex_client_event *next_event(simplex_client *c)
{
    simplex_client_event *ev;

    assert_int_equal(simplex_client_next_event(c, WAIT_MS, &ev), SIMPLEX_OK);
    return ev;
}

/* The next event of this kind; others of the kinds UP and DOWN are skipped. */
static simplex_client_event *next_of(simplex_client *c, int32_t kind)
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

static uint64_t post(simplex_client *c, simplex_command cmd)
{
    uint64_t request = 0;

    cmd.size = sizeof(cmd);
    assert_int_equal(simplex_client_send(c, &cmd, &request), SIMPLEX_OK);
    assert_true(request > 0);
    return request;
}

static simplex_client_event *ask(simplex_client *c, simplex_command cmd)
{
    uint64_t request = post(c, cmd);
    simplex_client_event *ev = next_of(c, SIMPLEX_CLIENT_RESPONSE);

    assert_int_equal(ev->request, request);
    return ev;
}

static void ask_for(simplex_client *c, simplex_command cmd, int32_t response)
{
    simplex_client_event *ev = ask(c, cmd);

    if (ev->response != response)
        fail_msg("command %d: rc %d, response %d, %.*s", cmd.command, ev->rc, ev->response,
                 (int)ev->error.len, (const char *)ev->error.ptr);
    assert_true(sx_bytes_eq(ev->entity, cmd.entity));
    simplex_client_event_free(ev);
}

static void ask_refused(simplex_client *c, simplex_command cmd, const char *error)
{
    simplex_client_event *ev = ask(c, cmd);

    assert_int_equal(ev->rc, SIMPLEX_E_SERVER);
    assert_int_equal(ev->response, SIMPLEX_SMP_ERR);
    vec_assert_eq(ev->error, sx_str(error), "error");
    simplex_client_event_free(ev);
}

static void close_client(simplex_client *c)
{
    assert_int_equal(simplex_client_close(c), SIMPLEX_OK);
}

/* ---- queues ---- */

struct queue {
    struct keys auth, dh;
    simplex_client_event *ids;
};

static struct queue queue_with(simplex_client *c, int32_t alg, simplex_command more)
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

static struct queue queue_new(simplex_client *c)
{
    return queue_with(
        c, SIMPLEX_ED25519,
        (simplex_command){ .queue_mode = SIMPLEX_QUEUE_MESSAGING, .subscribe = true });
}

static void queue_free(struct queue *q)
{
    simplex_client_event_free(q->ids);
}

/* A command of the recipient. */
static simplex_command rcv(const struct queue *q, int32_t command)
{
    return (simplex_command){ .command = command,
                              .entity = q->ids->rcv_id,
                              .auth_key = priv(&q->auth) };
}

static void assert_message(const struct queue *q, const simplex_client_event *ev,
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

static void ack(simplex_client *c, const struct queue *q, const simplex_client_event *msg,
                int32_t response)
{
    simplex_command cmd = rcv(q, SIMPLEX_SMP_ACK);

    cmd.msg_id = msg->msg_id;
    ask_for(c, cmd, response);
}

/* ---- tests ---- */

static void sends_and_receives_at_every_version_with_every_key(void **state)
{
    static const int32_t algs[] = { SIMPLEX_ED25519, SIMPLEX_ED448, SIMPLEX_X25519 };

    (void)state;
    for (uint16_t v = 6; v <= 19; v++) {
        for (size_t i = 0; i < SX_COUNT(algs); i++) {
            if (v < 7 && algs[i] == SIMPLEX_X25519) /* no session key yet */
                continue;
            simplex_client_config cfg = { .min_version = v, .max_version = v };
            simplex_client *r = client_with(cfg), *s = client_with(cfg);
            struct queue q =
                queue_with(r, algs[i],
                           (simplex_command){ .queue_mode = v < 9 ? 0 : SIMPLEX_QUEUE_MESSAGING,
                                              .subscribe = true });
            struct keys snd = keys_new(algs[i]);
            simplex_command secure = { .command = SIMPLEX_SMP_SKEY,
                                       .entity = q.ids->snd_id,
                                       .auth_key = priv(&snd) };
            if (v < 9) { /* the recipient does it */
                secure = rcv(&q, SIMPLEX_SMP_KEY);
                secure.key = pub(&snd);
            }
            ask_for(v < 9 ? r : s, secure, SIMPLEX_SMP_OK);
            ask_for(s,
                    (simplex_command){ .command = SIMPLEX_SMP_SEND,
                                       .entity = q.ids->snd_id,
                                       .auth_key = priv(&snd),
                                       .body = LIT("hello") },
                    SIMPLEX_SMP_OK);
            simplex_client_event *msg = next_of(r, SIMPLEX_CLIENT_PUSH);
            assert_message(&q, msg, LIT("hello"));
            ack(r, &q, msg, SIMPLEX_SMP_OK);
            simplex_client_event_free(msg);
            queue_free(&q);
            close_client(r);
            close_client(s);
        }
    }
}

static void reports_the_session(void **state)
{
    simplex_client *c = client_with((simplex_client_config){ .stay_connected = true });
    simplex_client_event *ev = next_event(c);

    (void)state;
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_UP);
    assert_int_equal(ev->version, 19);
    simplex_client_event_free(ev);
    ask_for(c, (simplex_command){ .command = SIMPLEX_SMP_PING }, SIMPLEX_SMP_PONG);
    assert_int_equal(simplex_client_next_event(c, 0, &ev), SIMPLEX_E_NO_EVENT);
    int64_t begin = sx_mono_ms();
    assert_int_equal(simplex_client_next_event(c, 50, &ev), SIMPLEX_E_NO_EVENT);
    assert_in_range(sx_mono_ms() - begin, 49, 5000);
    assert_null(ev);
    close_client(c);
}

static void the_largest_message_arrives_and_a_larger_one_is_refused(void **state)
{
    static uint8_t body[16400];
    simplex_client *c = client_new();
    struct queue q = queue_new(c);
    simplex_command send = { .command = SIMPLEX_SMP_SEND,
                             .entity = q.ids->snd_id,
                             .body = sx_bytes(body, 16048) };

    (void)state;
    memset(body, 'x', sizeof(body));
    post(c, send);
    bool answered = false;
    simplex_client_event *msg = NULL;
    while (!answered || msg == NULL) { /* on one connection either may be first */
        simplex_client_event *ev = next_event(c);
        if (ev->kind == SIMPLEX_CLIENT_PUSH) {
            msg = ev;
            continue;
        }
        answered |= ev->kind == SIMPLEX_CLIENT_RESPONSE && ev->response == SIMPLEX_SMP_OK;
        simplex_client_event_free(ev);
    }
    assert_message(&q, msg, send.body);
    simplex_client_event_free(msg);
    send.body.len = 16049;
    ask_refused(c, send, "LARGE_MSG");
    send.body.len = 16384;
    simplex_client_event *ev = ask(c, send);
    assert_int_equal(ev->rc, SIMPLEX_E_TOO_LARGE);
    simplex_client_event_free(ev);
    send.size = sizeof(send);
    send.body.len = 16385;
    assert_int_equal(simplex_client_send(c, &send, NULL), SIMPLEX_E_TOO_LARGE);
    queue_free(&q);
    close_client(c);
}

static void recipients_manage_their_queues(void **state)
{
    simplex_client *c = client_new();
    struct queue q =
        queue_with(c, SIMPLEX_ED25519, (simplex_command){ .queue_mode = SIMPLEX_QUEUE_MESSAGING });
    simplex_command send = { .command = SIMPLEX_SMP_SEND,
                             .entity = q.ids->snd_id,
                             .body = LIT("one") };

    (void)state;
    assert_int_equal(q.ids->queue_mode, SIMPLEX_QUEUE_MESSAGING);
    ask_for(c, rcv(&q, SIMPLEX_SMP_GET), SIMPLEX_SMP_OK); /* nothing there */
    ask_for(c, send, SIMPLEX_SMP_OK);
    send.body = LIT("two");
    ask_for(c, send, SIMPLEX_SMP_OK);
    simplex_client_event *msg = ask(c, rcv(&q, SIMPLEX_SMP_GET));
    assert_message(&q, msg, LIT("one"));
    simplex_client_event *info = ask(c, rcv(&q, SIMPLEX_SMP_QUE));
    assert_int_equal(info->response, SIMPLEX_SMP_INFO);
    char *text = (char *)sx_memdup(info->json);
    cJSON *json = cJSON_Parse(text);
    assert_int_equal(vec_int(json, "qiSize"), 2);
    cJSON_Delete(json);
    sx_free(text);
    simplex_client_event_free(info);
    ack(c, &q, msg, SIMPLEX_SMP_OK);
    simplex_client_event_free(msg);
    ask_refused(c,
                (simplex_command){
                    .command = SIMPLEX_SMP_SUB, .entity = q.ids->rcv_id, .auth_key = priv(&q.dh) },
                "AUTH"); /* a wrong key; and not an answer of another kind */
    ask_for(c, rcv(&q, SIMPLEX_SMP_OFF), SIMPLEX_SMP_OK);
    ask_refused(c, send, "AUTH");
    ask_for(c, rcv(&q, SIMPLEX_SMP_DEL), SIMPLEX_SMP_OK);
    ask_refused(c, rcv(&q, SIMPLEX_SMP_SUB), "AUTH");
    queue_free(&q);
    close_client(c);
}

static void link_data_is_stored_and_read(void **state)
{
    static const uint8_t corr_id[24] = "twenty-four random bytes", link_id[24] = "link";
    uint8_t snd_id[24];
    simplex_client *c = client_new(), *reader = client_new();
    struct keys other = keys_new(SIMPLEX_ED25519);

    (void)state;
    assert_int_equal(simplex_client_sender_id(sx_bytes(corr_id, 24), snd_id), SIMPLEX_OK);
    assert_int_equal(simplex_client_sender_id(sx_bytes(corr_id, 23), snd_id), SIMPLEX_E_ARG);
    struct queue q = queue_with(c, SIMPLEX_ED25519,
                                (simplex_command){
                                    .queue_mode = SIMPLEX_QUEUE_CONTACT,
                                    .corr_id = sx_bytes(corr_id, 24),
                                    .snd_id = sx_bytes(snd_id, 24),
                                    .link_id = sx_bytes(link_id, 24),
                                    .fixed_data = LIT("fixed"),
                                    .user_data = LIT("user"),
                                });
    vec_assert_eq(q.ids->snd_id, sx_bytes(snd_id, 24), "snd_id");
    vec_assert_eq(q.ids->link_id, sx_bytes(link_id, 24), "link_id");
    simplex_command lget = { .command = SIMPLEX_SMP_LGET, .entity = q.ids->link_id };
    simplex_client_event *lnk = ask(reader, lget);
    assert_int_equal(lnk->response, SIMPLEX_SMP_LNK);
    vec_assert_eq(lnk->snd_id, sx_bytes(snd_id, 24), "snd_id");
    vec_assert_eq(lnk->fixed_data, LIT("fixed"), "fixed");
    vec_assert_eq(lnk->user_data, LIT("user"), "user");
    simplex_client_event_free(lnk);

    simplex_command lset = rcv(&q, SIMPLEX_SMP_LSET);
    lset.link_id = q.ids->link_id;
    lset.fixed_data = LIT("fixed");
    lset.user_data = LIT("changed");
    ask_for(c, lset, SIMPLEX_SMP_OK);
    lnk = ask(reader, lget);
    vec_assert_eq(lnk->user_data, LIT("changed"), "user");
    simplex_client_event_free(lnk);
    ask_for(c, rcv(&q, SIMPLEX_SMP_LDEL), SIMPLEX_SMP_OK);
    ask_refused(reader, lget, "AUTH");

    /* RKEY: the other key takes over */
    simplex_bytes keys[] = { pub(&other) };
    simplex_command rkey = rcv(&q, SIMPLEX_SMP_RKEY);
    rkey.keys = keys;
    rkey.n_keys = 1;
    ask_for(c, rkey, SIMPLEX_SMP_OK);
    ask_refused(c, rcv(&q, SIMPLEX_SMP_SUB), "AUTH");
    q.auth = other;
    ask_for(c, rcv(&q, SIMPLEX_SMP_SUB), SIMPLEX_SMP_OK);
    queue_free(&q);
    close_client(c);
    close_client(reader);
}

static void a_one_time_link_is_taken_with_a_key(void **state)
{
    static const uint8_t corr_id[24] = "another id, of 24 bytes!";
    uint8_t snd_id[24];
    simplex_client *c = client_new(), *joiner = client_new();
    struct keys snd = keys_new(SIMPLEX_ED25519);

    (void)state;
    assert_int_equal(simplex_client_sender_id(sx_bytes(corr_id, 24), snd_id), SIMPLEX_OK);
    struct queue q = queue_with(c, SIMPLEX_ED25519,
                                (simplex_command){ .queue_mode = SIMPLEX_QUEUE_MESSAGING,
                                                   .corr_id = sx_bytes(corr_id, 24),
                                                   .snd_id = sx_bytes(snd_id, 24),
                                                   .fixed_data = LIT("f"),
                                                   .user_data = LIT("u") });
    ask_for(joiner,
            (simplex_command){
                .command = SIMPLEX_SMP_LKEY, .entity = q.ids->link_id, .auth_key = priv(&snd) },
            SIMPLEX_SMP_LNK);
    ask_for(joiner,
            (simplex_command){ .command = SIMPLEX_SMP_SEND,
                               .entity = q.ids->snd_id,
                               .auth_key = priv(&snd),
                               .body = LIT("x") },
            SIMPLEX_SMP_OK);
    queue_free(&q);
    close_client(c);
    close_client(joiner);
}

static void notifiers_learn_of_messages(void **state)
{
    simplex_client *c = client_new(), *n = client_new();
    struct queue q =
        queue_with(c, SIMPLEX_ED25519, (simplex_command){ .queue_mode = SIMPLEX_QUEUE_CONTACT });
    struct keys auth = keys_new(SIMPLEX_ED25519), dh = keys_new(SIMPLEX_X25519);
    uint8_t msg_id[255];
    size_t len = sizeof(msg_id);
    int64_t when;

    (void)state;
    simplex_command nkey = rcv(&q, SIMPLEX_SMP_NKEY);
    nkey.key = pub(&auth);
    nkey.dh_key = pub(&dh);
    simplex_client_event *nid = ask(c, nkey);
    assert_int_equal(nid->response, SIMPLEX_SMP_NID);
    ask_for(n,
            (simplex_command){
                .command = SIMPLEX_SMP_NSUB, .entity = nid->ntf_id, .auth_key = priv(&auth) },
            SIMPLEX_SMP_OK);
    ask_for(c,
            (simplex_command){ .command = SIMPLEX_SMP_SEND,
                               .entity = q.ids->snd_id,
                               .body = LIT("wake up"),
                               .notify = true },
            SIMPLEX_SMP_OK);
    simplex_client_event *nmsg = next_of(n, SIMPLEX_CLIENT_PUSH);
    assert_int_equal(nmsg->response, SIMPLEX_SMP_NMSG);
    assert_true(sx_bytes_eq(nmsg->entity, nid->ntf_id));
    assert_int_equal(simplex_client_open_notification(priv(&dh), nid->server_key, nmsg->nonce,
                                                      nmsg->meta, msg_id, &len, &when),
                     SIMPLEX_OK);
    simplex_client_event *msg = ask(c, rcv(&q, SIMPLEX_SMP_GET));
    assert_message(&q, msg, LIT("wake up"));
    vec_assert_eq(sx_bytes(msg_id, len), msg->msg_id, "message id");
    assert_in_range(when, time(NULL) - 60, time(NULL) + 60);
    len = 23;
    assert_int_equal(simplex_client_open_notification(priv(&dh), nid->server_key, nmsg->nonce,
                                                      nmsg->meta, msg_id, &len, &when),
                     SIMPLEX_E_BUFFER);
    assert_int_equal(len, 24);
    assert_int_equal(simplex_client_open_notification(priv(&q.dh), nid->server_key, nmsg->nonce,
                                                      nmsg->meta, msg_id, &len, &when),
                     SIMPLEX_E_CRYPTO);
    ask_for(c, rcv(&q, SIMPLEX_SMP_NDEL), SIMPLEX_SMP_OK);
    simplex_client_event *deld = next_of(n, SIMPLEX_CLIENT_PUSH);
    assert_int_equal(deld->response, SIMPLEX_SMP_DELD);
    simplex_client_event_free(deld);
    simplex_client_event_free(msg);
    simplex_client_event_free(nmsg);
    simplex_client_event_free(nid);
    queue_free(&q);
    close_client(c);
    close_client(n);
}

static void three_hundred_queues_are_subscribed_after_a_reconnection(void **state)
{
    enum { N = 300 };
    static struct queue q[N];
    simplex_client *c =
        client_with((simplex_client_config){ .stay_connected = true, .reconnect_first = 20 });
    simplex_client *s = client_new();
    int ok = 0, messages = 0, downs = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        q[i] = queue_with(c, SIMPLEX_ED25519,
                          (simplex_command){ .queue_mode = SIMPLEX_QUEUE_MESSAGING });
    simplex_server_drop_connections(server);
    simplex_client_event *ev;
    do {
        ev = next_event(c);
        downs += ev->kind == SIMPLEX_CLIENT_DOWN;
        bool up = ev->kind == SIMPLEX_CLIENT_UP;
        simplex_client_event_free(ev);
        if (up && downs > 0)
            break;
    } while (true);
    for (int i = 0; i < N; i++)
        post(c, rcv(&q[i], SIMPLEX_SMP_SUB));
    while (ok < N) {
        ev = next_of(c, SIMPLEX_CLIENT_RESPONSE);
        assert_int_equal(ev->response, SIMPLEX_SMP_OK);
        assert_true(sx_bytes_eq(ev->entity, q[ok].ids->rcv_id)); /* in order */
        ok++;
        simplex_client_event_free(ev);
    }
    for (int i = 0; i < N; i++)
        ask_for(s,
                (simplex_command){
                    .command = SIMPLEX_SMP_SEND, .entity = q[i].ids->snd_id, .body = LIT("m") },
                SIMPLEX_SMP_OK);
    while (messages < N) {
        ev = next_of(c, SIMPLEX_CLIENT_PUSH);
        assert_int_equal(ev->response, SIMPLEX_SMP_MSG);
        messages++;
        simplex_client_event_free(ev);
    }
    for (int i = 0; i < N; i++)
        queue_free(&q[i]);
    close_client(c);
    close_client(s);
}

static void a_second_subscription_ends_the_first(void **state)
{
    simplex_client *a = client_new(), *b = client_new();
    struct queue q = queue_new(a);

    (void)state;
    ask_for(b, rcv(&q, SIMPLEX_SMP_SUB), SIMPLEX_SMP_OK);
    simplex_client_event *end = next_of(a, SIMPLEX_CLIENT_PUSH);
    assert_int_equal(end->response, SIMPLEX_SMP_END);
    assert_true(sx_bytes_eq(end->entity, q.ids->rcv_id));
    simplex_client_event_free(end);
    queue_free(&q);
    close_client(a);
    close_client(b);
}

/* ---- services ---- */

struct service {
    char cert[SIMPLEX_SERVICE_PEM_MAX], key[SIMPLEX_SERVICE_PEM_MAX];
    size_t cert_len, key_len;
};

static simplex_client *service_client(const struct service *s, int32_t role, uint16_t max)
{
    return client_with(
        (simplex_client_config){ .reconnect_first = 20,
                                 .max_version = max,
                                 .service_role = role,
                                 .service_cert = sx_bytes((const uint8_t *)s->cert, s->cert_len),
                                 .service_key = sx_bytes((const uint8_t *)s->key, s->key_len) });
}

static simplex_client_event *next_push(simplex_client *c, int32_t response)
{
    simplex_client_event *ev = next_of(c, SIMPLEX_CLIENT_PUSH);

    assert_int_equal(ev->response, response);
    return ev;
}

static simplex_command subs(int32_t command, int64_t count, const uint8_t hash[16])
{
    return (simplex_command){ .command = command, .count = count, .ids_hash = { hash, 16 } };
}

static void a_service_subscribes_all_its_queues_at_once(void **state)
{
    struct service s = { .cert_len = sizeof(s.cert), .key_len = sizeof(s.key) };
    struct queue q[3];
    uint8_t hash[16] = { 0 }, id[24];
    simplex_client_event *ev;

    (void)state;
    assert_int_equal(simplex_client_service_cert(s.cert, &s.cert_len, s.key, &s.key_len),
                     SIMPLEX_OK);
    simplex_client *c = service_client(&s, SIMPLEX_SERVICE_MESSAGES, 0);
    for (size_t i = 0; i < 3; i++) {
        q[i] = queue_new(c);
        assert_int_equal(q[i].ids->service_id.len, 24);
        memcpy(id, q[i].ids->service_id.ptr, 24);
        assert_int_equal(simplex_client_ids_hash(hash, q[i].ids->rcv_id), SIMPLEX_OK);
    }
    close_client(c);
    simplex_client *sender = client_new();
    ask_for(sender,
            (simplex_command){ .command = SIMPLEX_SMP_SEND,
                               .entity = q[1].ids->snd_id,
                               .body = LIT("while away") },
            SIMPLEX_SMP_OK);
    c = service_client(&s, SIMPLEX_SERVICE_MESSAGES, 0);
    ask_for(c, (simplex_command){ .command = SIMPLEX_SMP_PING }, SIMPLEX_SMP_PONG);
    ev = ask(c, subs(SIMPLEX_SMP_SUBS, 3, hash));
    assert_int_equal(ev->response, SIMPLEX_SMP_SOKS);
    assert_int_equal(ev->count, 3);
    vec_assert_eq(ev->ids_hash, sx_bytes(hash, 16), "hash");
    simplex_client_event_free(ev);
    ev = next_push(c, SIMPLEX_SMP_MSG);
    vec_assert_eq(ev->entity, q[1].ids->rcv_id, "queue");
    simplex_client_event_free(ev);
    simplex_client_event_free(next_push(c, SIMPLEX_SMP_ALLS));
    /* another connection of the service */
    simplex_client *twin = service_client(&s, SIMPLEX_SERVICE_MESSAGES, 0);
    ask_for(twin, (simplex_command){ .command = SIMPLEX_SMP_PING }, SIMPLEX_SMP_PONG);
    simplex_client_event_free(ask(twin, subs(SIMPLEX_SMP_SUBS, 3, hash)));
    ev = next_push(c, SIMPLEX_SMP_ENDS);
    assert_int_equal(ev->count, 3);
    vec_assert_eq(ev->entity, sx_bytes(id, 24), "service");
    simplex_client_event_free(ev);
    close_client(twin);
    close_client(c);
    /* the certificate is for one role */
    c = service_client(&s, SIMPLEX_SERVICE_NOTIFICATIONS, 0);
    post(c, (simplex_command){ .command = SIMPLEX_SMP_PING });
    ev = next_of(c, SIMPLEX_CLIENT_RESPONSE);
    assert_int_equal(ev->rc, SIMPLEX_E_HANDSHAKE);
    simplex_client_event_free(ev);
    close_client(c);
    for (size_t i = 0; i < 3; i++)
        queue_free(&q[i]);
    close_client(sender);
}

static void services_need_their_version_and_session(void **state)
{
    struct service s = { .cert_len = sizeof(s.cert), .key_len = sizeof(s.key) };
    uint8_t hash[16] = { 0 };
    simplex_client_event *ev;
    simplex_client *c;
    size_t none = 0, also_none = 0;

    (void)state;
    assert_int_equal(simplex_client_service_cert(NULL, &none, NULL, &also_none), SIMPLEX_E_BUFFER);
    assert_true(none > 100 && none <= SIMPLEX_SERVICE_PEM_MAX);
    assert_true(also_none > 50);
    assert_int_equal(simplex_client_service_cert(s.cert, NULL, s.key, &s.key_len), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_ids_hash(hash, sx_bytes(NULL, 0)), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_service_cert(s.cert, &s.cert_len, s.key, &s.key_len),
                     SIMPLEX_OK);
    /* nobody connects for SUBS alone: it must know whose it is */
    c = service_client(&s, SIMPLEX_SERVICE_MESSAGES, 0);
    ev = ask(c, subs(SIMPLEX_SMP_SUBS, 0, hash));
    assert_int_equal(ev->rc, SIMPLEX_E_DISCONNECTED);
    simplex_client_event_free(ev);
    simplex_command bad = subs(SIMPLEX_SMP_SUBS, 0, hash);
    bad.size = sizeof(bad);
    bad.ids_hash.len = 15;
    assert_int_equal(simplex_client_send(c, &bad, NULL), SIMPLEX_E_ARG);
    close_client(c);
    c = service_client(&s, SIMPLEX_SERVICE_MESSAGES, 18); /* an ordinary client there */
    ask_for(c, (simplex_command){ .command = SIMPLEX_SMP_PING }, SIMPLEX_SMP_PONG);
    ev = ask(c, subs(SIMPLEX_SMP_SUBS, 0, hash));
    assert_int_equal(ev->rc, SIMPLEX_E_PROHIBITED);
    simplex_client_event_free(ev);
    close_client(c);
    simplex_client_config cfg = { .size = sizeof(cfg), .server = address, .service_role = 'X' };
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ARG);
    cfg.service_role = SIMPLEX_SERVICE_MESSAGES; /* without a certificate */
    assert_int_not_equal(simplex_client_open(&cfg, &c), SIMPLEX_OK);
    assert_null(c);
}

static void a_restarted_server_is_found_again(void **state)
{
    char dir[] = "/tmp/sx-client-XXXXXX", path[64];
    static const char *const files[] = { "ca.key", "ca.crt", "server.key", "server.crt",
                                         "fingerprint" };
    simplex_server_config cfg;
    simplex_client_event *ev;

    (void)state;
    simplex_server_stop(server);
    assert_non_null(mkdtemp(dir));
    simplex_server_config_init(&cfg);
    cfg.dir = dir;
    cfg.threads = 1;
    start_server(&cfg);
    cfg.port = simplex_server_port(server);
    simplex_client *c = client_with((simplex_client_config){
        .stay_connected = true, .reconnect_first = 20, .reconnect_max = 50 });
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_UP);
    simplex_client_event_free(ev);
    simplex_server_stop(server);
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
    assert_int_equal(ev->rc, SIMPLEX_E_DISCONNECTED);
    simplex_client_event_free(ev);
    ev = next_event(c); /* it tries, and fails */
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
    assert_int_equal(ev->rc, SIMPLEX_E_CONNECT);
    simplex_client_event_free(ev);
    start_server(&cfg);
    while ((ev = next_event(c))->kind == SIMPLEX_CLIENT_DOWN)
        simplex_client_event_free(ev);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_UP);
    simplex_client_event_free(ev);
    ask_for(c, (simplex_command){ .command = SIMPLEX_SMP_PING }, SIMPLEX_SMP_PONG);
    close_client(c);
    for (size_t i = 0; i < SX_COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void another_server_at_the_address_is_refused(void **state)
{
    simplex_client_event *ev;

    (void)state;
    address[10] = address[10] == 'A' ? 'B' : 'A'; /* in the fingerprint */
    simplex_client *c = client_new();
    post(c, (simplex_command){ .command = SIMPLEX_SMP_PING });
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_RESPONSE);
    assert_int_equal(ev->rc, SIMPLEX_E_FINGERPRINT);
    simplex_client_event_free(ev);
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
    assert_int_equal(ev->rc, SIMPLEX_E_FINGERPRINT);
    simplex_client_event_free(ev);
    close_client(c);
}

static void no_common_version_is_reported(void **state)
{
    simplex_server_config cfg;

    (void)state;
    simplex_server_stop(server);
    simplex_server_config_init(&cfg);
    cfg.min_version = 15;
    start_server(&cfg);
    simplex_client *c = client_with((simplex_client_config){ .max_version = 14 });
    simplex_client_event *ev = ask(c, (simplex_command){ .command = SIMPLEX_SMP_PING });
    assert_int_equal(ev->rc, SIMPLEX_E_VERSION);
    simplex_client_event_free(ev);
    close_client(c);
}

/* ---- callback mode ---- */

struct calls {
    simplex_client *client;
    atomic_int pongs, closes_refused;
};

static void on_event(void *user, const simplex_client_event *ev)
{
    struct calls *calls = user;
    simplex_command ping = { .size = sizeof(ping), .command = SIMPLEX_SMP_PING };
    simplex_client_event *pulled;

    if (ev->kind != SIMPLEX_CLIENT_RESPONSE || ev->response != SIMPLEX_SMP_PONG)
        return;
    calls->closes_refused += simplex_client_close(calls->client) == SIMPLEX_E_CALLBACK;
    assert_int_equal(simplex_client_next_event(calls->client, 0, &pulled), SIMPLEX_E_PROHIBITED);
    if (++calls->pongs < 10)
        assert_int_equal(simplex_client_send(calls->client, &ping, NULL), SIMPLEX_OK);
}

static void callbacks_may_send(void **state)
{
    static struct calls calls;

    (void)state;
    calls.client = client_with((simplex_client_config){ .on_event = on_event, .user = &calls });
    post(calls.client, (simplex_command){ .command = SIMPLEX_SMP_PING });
    for (int64_t until = sx_mono_ms() + WAIT_MS; calls.pongs < 10 && sx_mono_ms() < until;)
        usleep(1000);
    close_client(calls.client);
    assert_int_equal(calls.pongs, 10);
    assert_int_equal(calls.closes_refused, 10);
}

static void closing_at_any_moment_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned us = 0; us < 20000; us += 400) {
        simplex_client *c = client_new();
        for (int i = 0; i < 20; i++)
            post(c, (simplex_command){ .command = SIMPLEX_SMP_PING });
        usleep(us);
        close_client(c);
    }
    simplex_server_stop(server); /* whose memory is counted too */
    server = NULL;
    assert_int_equal(sx_fault_live_blocks(), 0);
}

static void opening_and_sending_survive_each_failed_malloc(void **state)
{
    struct keys auth = keys_new(SIMPLEX_ED25519), dh = keys_new(SIMPLEX_X25519);
    simplex_client_config cfg = { .size = sizeof(cfg), .server = address };
    simplex_command cmd = {
        .size = sizeof(cmd), .command = SIMPLEX_SMP_NEW, .auth_key = priv(&auth), .dh_key = pub(&dh)
    };
    bool fired = true;
    unsigned failed = 0;

    (void)state;
    size_t live = sx_fault_live_blocks();
    address[strlen(address) - 1] = 0; /* a port where nobody listens, or somebody else does */
    for (unsigned nth = 0; fired; nth++) {
        simplex_client *c;
        sx_fault_malloc(nth);
        simplex_rc rc = simplex_client_open(&cfg, &c);
        if (rc == SIMPLEX_OK)
            rc = simplex_client_send(c, &cmd, NULL);
        else
            assert_null(c);
        fired = sx_fault_disarm();
        if (rc != SIMPLEX_OK)
            assert_int_equal(rc, SIMPLEX_E_NOMEM);
        failed += rc != SIMPLEX_OK;
        close_client(c);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
    assert_in_range(failed, 5, 100);
}

/* ---- arguments ---- */

static void wrong_arguments_are_refused(void **state)
{
    static const uint8_t long_id[256];
    static char long_text[300];
    simplex_client_config cfg = { .size = sizeof(cfg) };
    simplex_client *c = NULL;
    struct keys ed = keys_new(SIMPLEX_ED25519), x = keys_new(SIMPLEX_X25519);

    (void)state;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_open(NULL, &c), SIMPLEX_E_ARG);
    cfg.server = "https://example.com";
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ADDRESS);
    cfg.server = address;
    cfg.size--;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ARG);
    cfg.size++;
    memset(long_text, 'h', sizeof(long_text) - 1);
    cfg.socks_host = long_text;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ARG);
    cfg.socks_host = NULL;
    cfg.min_version = 9;
    cfg.max_version = 8;
    assert_int_equal(simplex_client_open(&cfg, &c), SIMPLEX_E_ARG);
    assert_null(c);
    assert_int_equal(simplex_client_close(NULL), SIMPLEX_OK);

    c = client_new();
    const struct {
        simplex_command cmd;
        simplex_rc rc;
    } rows[] = {
        { { .command = 0 }, SIMPLEX_E_ARG },
        { { .command = -1 }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_PING + 1 }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_SUB, .entity = { long_id, 256 } }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_PING, .corr_id = { long_id, 23 } }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_NEW, .dh_key = pub(&x) }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_NEW, .auth_key = priv(&ed) }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_NEW, .auth_key = priv(&ed), .dh_key = pub(&ed) },
          SIMPLEX_E_KEY },
        { { .command = SIMPLEX_SMP_NEW,
            .auth_key = priv(&ed),
            .dh_key = pub(&x),
            .queue_mode = 'X' },
          SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_KEY, .auth_key = priv(&ed) }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_RKEY, .auth_key = priv(&ed) }, SIMPLEX_E_ARG },
        { { .command = SIMPLEX_SMP_SKEY }, SIMPLEX_E_ARG },
    };
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        simplex_command cmd = rows[i].cmd;
        cmd.size = sizeof(cmd);
        assert_int_equal(simplex_client_send(c, &cmd, NULL), rows[i].rc);
        cmd.size = 0;
        assert_int_equal(simplex_client_send(c, &cmd, NULL), SIMPLEX_E_ARG);
    }
    simplex_command cmd = { .size = sizeof(cmd), .command = SIMPLEX_SMP_SUB, .auth_key = pub(&ed) };
    assert_true(simplex_client_send(c, &cmd, NULL) < 0); /* not a private key */
    assert_int_equal(simplex_client_send(NULL, &cmd, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_send(c, NULL, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_reconnect(NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_reconnect(c), SIMPLEX_OK);
    close_client(c);
}

static void helpers_check_keys_and_room(void **state)
{
    uint8_t a[KEY_ROOM], b[KEY_ROOM], to[8];
    size_t la = 10, lb = 10, len = sizeof(to);
    struct keys ed = keys_new(SIMPLEX_ED25519), x = keys_new(SIMPLEX_X25519);
    static const uint8_t body[16122];
    simplex_client_message m;

    (void)state;
    assert_int_equal(simplex_client_keypair(SIMPLEX_ED448, a, &la, b, &lb), SIMPLEX_E_BUFFER);
    assert_int_equal(la, SIMPLEX_PRIVATE_KEY_MAX);
    assert_int_equal(lb, SIMPLEX_PUBLIC_KEY_MAX);
    assert_int_equal(simplex_client_keypair(SIMPLEX_ED448, a, &la, b, &lb), SIMPLEX_OK);
    assert_int_equal(simplex_client_keypair(0, a, &la, b, &lb), SIMPLEX_E_ARG);
    assert_int_equal(simplex_client_keypair(4, a, &la, b, &lb), SIMPLEX_E_ARG);
    simplex_bytes id = sx_bytes(body, 24), whole = sx_bytes(body, sizeof(body));
    assert_int_equal(simplex_client_open_message(priv(&x), pub(&x), id, whole, &m, to, &len),
                     SIMPLEX_E_CRYPTO);
    assert_int_equal(simplex_client_open_message(priv(&x), pub(&x), id, id, &m, to, &len),
                     SIMPLEX_E_CRYPTO);
    assert_int_equal(simplex_client_open_message(priv(&ed), pub(&x), id, whole, &m, to, &len),
                     SIMPLEX_E_KEY);
    assert_int_equal(simplex_client_open_message(priv(&x), pub(&ed), id, whole, &m, to, &len),
                     SIMPLEX_E_KEY);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sends_and_receives_at_every_version_with_every_key),
        CASE(reports_the_session),
        CASE(the_largest_message_arrives_and_a_larger_one_is_refused),
        CASE(recipients_manage_their_queues),
        CASE(link_data_is_stored_and_read),
        CASE(a_one_time_link_is_taken_with_a_key),
        CASE(notifiers_learn_of_messages),
        CASE(three_hundred_queues_are_subscribed_after_a_reconnection),
        CASE(a_second_subscription_ends_the_first),
        CASE(a_service_subscribes_all_its_queues_at_once),
        CASE(services_need_their_version_and_session),
        CASE(a_restarted_server_is_found_again),
        CASE(another_server_at_the_address_is_refused),
        CASE(no_common_version_is_reported),
        CASE(callbacks_may_send),
        CASE(closing_at_any_moment_leaves_nothing),
        CASE(opening_and_sending_survive_each_failed_malloc),
        CASE(wrong_arguments_are_refused),
        CASE(helpers_check_keys_and_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
