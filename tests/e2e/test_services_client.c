/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the library as a service of a real server. */
#include <stdlib.h>

#include "client/smp_client.h"
#include "services_stage.h"

struct running {
    uv_loop_t loop;
    struct sx_net *net;
    struct sx_client *client;
    struct queue q;
    bool downs, closed;
    unsigned steps;
};

static void on_up(void *user, struct sx_client *c)
{
    (void)user;
    assert_int_equal(sx_client_session(c)->service.role, 'M');
}

static void on_down(void *user, struct sx_client *c, simplex_rc rc)
{
    struct running *r = user;

    (void)c;
    (void)rc;
    r->downs = true;
}

static void on_event(void *user, struct sx_client *c, const struct sx_transmission *t,
                     const struct sx_rsp *rsp)
{
    struct running *r = user;

    (void)c;
    assert_int_equal(t->corr_id.len, 0);
    assert_int_equal(rsp->tag, SX_R_ALLS);
    r->steps++;
    uv_stop(&r->loop);
}

static void request(struct running *r, enum sx_cmd_tag tag, const struct sx_keypair *key,
                    simplex_bytes entity, sx_response_fn *done)
{
    struct sx_cmd cmd = { .tag = tag };
    struct sx_request req = { .cmd = &cmd, .key = key, .entity = entity, .done = done, .ctx = r };

    if (tag == SX_NEW) {
        cmd.new_.auth = r->q.rcv.pub;
        cmd.new_.dh = r->q.dh.pub;
        cmd.new_.subscribe = true;
        cmd.new_.mode = SX_MODE_MESSAGING;
    } else {
        cmd.subs.has_hash = true;
    }
    assert_int_equal(sx_client_send(r->client, &req), SIMPLEX_OK);
}

static void on_soks(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct running *r = user;

    (void)ctx;
    assert_int_equal(rc, SIMPLEX_OK);
    assert_int_equal(rsp->soks.count, 1);
    r->steps++;
}

static void on_ids(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct running *r = user;
    const struct sx_session_service *svc = &sx_client_session(r->client)->service;

    (void)ctx;
    assert_int_equal(rc, SIMPLEX_OK);
    assert_true(rsp->ids.has_service_id);
    vec_assert_eq(rsp->ids.service_id, sx_bytes(svc->id, sizeof(svc->id)), "service id");
    r->steps++;
    request(r, SX_SUBS, &svc->key, sx_bytes(svc->id, sizeof(svc->id)), on_soks);
}

static void on_net_closed(void *user)
{
    ((struct running *)user)->closed = true;
}

static simplex_rc open_net(struct running *r, const struct sx_net_cfg *cfg)
{
    static const struct sx_net_callbacks callbacks = { on_up, on_down, on_event };

    return sx_net_open(&r->loop, cfg, &callbacks, r, "", &r->net);
}

static void make_client(struct running *r, const struct server *t)
{
    struct sx_server at;
    char address[256];
    size_t len = sizeof(address);

    assert_int_equal(simplex_server_address(t->s, address, &len), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(address), &at, NULL), SIMPLEX_OK);
    assert_int_equal(sx_net_client(r->net, &at, &r->client), SIMPLEX_OK);
}

/* Until it has a queue and has subscribed to it. */
static void run_client(struct running *r)
{
    assert_int_equal(sx_keypair_new(SX_ED25519, &r->q.rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &r->q.dh), SIMPLEX_OK);
    request(r, SX_NEW, &r->q.rcv, sx_bytes(NULL, 0), on_ids);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(r->steps, 3); /* IDS, SOKS, ALLS */
    assert_false(r->downs);
}

static void close_net(struct running *r)
{
    sx_net_close(r->net, on_net_closed, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(r->closed);
    assert_int_equal(uv_loop_close(&r->loop), 0);
}

static void the_client_of_the_library_can_be_a_service(void **state)
{
    struct server t;
    struct service svc;
    struct running r = { .steps = 0 };

    (void)state;
    open_threaded(&t, false);
    make_service(&svc, 'M', SX_ED448, 2);
    struct sx_net_cfg cfg = { .service_role = 'M',
                              .service_chain_pem = sx_wr_bytes(&svc.certs.chain_pem),
                              .service_key_pem = sx_str("no key") };
    assert_int_equal(uv_loop_init(&r.loop), 0);
    assert_int_not_equal(open_net(&r, &cfg), SIMPLEX_OK);
    cfg.service_key_pem = sx_wr_bytes(&svc.certs.key_pem);
    assert_int_equal(open_net(&r, &cfg), SIMPLEX_OK);
    make_client(&r, &t);
    run_client(&r);
    close_net(&r);
    free_service(&svc);
    close_server(&t);
}

/* Takes what was freed a moment ago, so that who still uses it meets nonsense. */
static void reuse_memory(void **block, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = 16 + 16 * (i % 32);
        block[i] = malloc(size);
        assert_non_null(block[i]);
        memset(block[i], 0x5a, size);
    }
}

static void give_up_service(struct running *r)
{
    assert_int_equal(sx_client_service(r->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0)),
                     SIMPLEX_OK);
}

static void drop_client(struct running *r)
{
    sx_client_drop(r->client);
}

/* Its TLS is closed only when the loop comes round again. */
static void leave_service(void (*leave)(struct running *r))
{
    static void *block[4096];
    const struct sx_net_cfg cfg = { 0 };
    struct server t;
    struct service svc;
    struct running r = { .steps = 0 };

    open_threaded(&t, false);
    make_service(&svc, 'M', SX_ED25519, 1);
    assert_int_equal(uv_loop_init(&r.loop), 0);
    assert_int_equal(open_net(&r, &cfg), SIMPLEX_OK);
    make_client(&r, &t);
    assert_int_equal(sx_client_service(r.client, 'M', sx_wr_bytes(&svc.certs.chain_pem),
                                       sx_wr_bytes(&svc.certs.key_pem)),
                     SIMPLEX_OK);
    run_client(&r);
    leave(&r);
    for (int i = 0; i < 8; i++) {
        reuse_memory(block + 512 * i, 512);
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    close_net(&r);
    for (size_t i = 0; i < SX_COUNT(block); i++)
        free(block[i]);
    free_service(&svc);
    close_server(&t);
}

static void a_connection_keeps_the_certificate_it_was_made_with(void **state)
{
    (void)state;
    leave_service(give_up_service);
    leave_service(drop_client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_of_the_library_can_be_a_service),
        cmocka_unit_test(a_connection_keeps_the_certificate_it_was_made_with),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
