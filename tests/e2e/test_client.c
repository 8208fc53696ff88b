/* SPDX-License-Identifier: Apache-2.0 */
/* simplex/client.h against simplex/server.h over loopback: what clients of queues do. */
#include "public_client.h"

#include <unistd.h>

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
    assert_in_range(sx_mono_ms() - begin, 49, WAIT_MS);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
