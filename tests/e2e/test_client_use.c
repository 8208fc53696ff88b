/* SPDX-License-Identifier: Apache-2.0 */
/* simplex/client.h as a host uses and misuses it: services, callbacks, failures, arguments. */
#include "public_client.h"

#include <stdatomic.h>
#include <unistd.h>

#include "support/free_port.h"

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
    stop_server();
    assert_non_null(mkdtemp(dir));
    simplex_server_config_init(&cfg);
    cfg.dir = dir;
    cfg.threads = 1;
    cfg.port = free_port();
    start_server(&cfg);
    simplex_client *c = client_with((simplex_client_config){
        .stay_connected = true, .reconnect_first = 20, .reconnect_max = 50 });
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_UP);
    simplex_client_event_free(ev);
    stop_server();
    ev = next_event(c);
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
    assert_int_equal(ev->rc, SIMPLEX_E_DISCONNECTED);
    simplex_client_event_free(ev);
    /* It tries, and fails; at first perhaps at a server that is about to close its port. */
    while ((ev = next_event(c))->rc != SIMPLEX_E_CONNECT) {
        assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
        simplex_client_event_free(ev);
    }
    assert_int_equal(ev->kind, SIMPLEX_CLIENT_DOWN);
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
    stop_server();
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
    stop_server(); /* whose memory is counted too */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
