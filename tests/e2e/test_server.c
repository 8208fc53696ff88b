/* SPDX-License-Identifier: Apache-2.0 */
/* The server over real TLS sockets: normal use, several loops, hostile and slow clients. */
#include "support/vec.h"

#include <sys/socket.h>
#include <unistd.h>

#include "simplex/server.h"
#include "support/blocking_client.h"

/* ---- fixture ---- */

static simplex_server_config config(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.ntf_flush_ms = 0;
    cfg.threads = 3;
    return cfg;
}

struct server {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static void start_with(struct server *t, simplex_server_config *cfg)
{
    char error[300] = "";

    cfg->error = error;
    cfg->error_size = sizeof(error);
    if (simplex_server_start(cfg, &t->s) != SIMPLEX_OK)
        fail_msg("%s", error);
    simplex_server_fingerprint(t->s, t->key_hash);
    t->peer = (struct smp_peer_cfg){ .port = simplex_server_port(t->s), .key_hash = t->key_hash };
}

static void start(struct server *t)
{
    simplex_server_config cfg = config();

    start_with(t, &cfg);
}

static void open_peer(struct server *t, struct smp_peer *p)
{
    assert_int_equal(smp_peer_open(p, &t->peer), SIMPLEX_OK);
}

static simplex_server_counters count(const struct server *t)
{
    simplex_server_counters c = { .size = sizeof(c) };

    assert_int_equal(simplex_server_count(t->s, &c), SIMPLEX_OK);
    return c;
}

/* The server sees a closed socket a moment later. */
static void wait_connections(const struct server *t, size_t n)
{
    for (int i = 0; i < 500 && count(t).connections != n; i++)
        usleep(10000);
    assert_int_equal(count(t).connections, n);
}

struct queue { /* as its recipient and its sender know it */
    struct sx_keypair rcv, dh, snd;
    uint8_t rcv_id[24], snd_id[24];
    struct sx_pub srv_dh;
};

static simplex_bytes rcv_id(const struct queue *q)
{
    return sx_bytes(q->rcv_id, 24);
}

static simplex_bytes snd_id(const struct queue *q)
{
    return sx_bytes(q->snd_id, 24);
}

static void make_queue(struct smp_peer *p, struct queue *q, bool subscribe)
{
    struct sx_cmd c = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &q->snd), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    c.new_.auth = q->rcv.pub;
    c.new_.dh = q->dh.pub;
    c.new_.subscribe = subscribe;
    c.new_.mode = SX_MODE_MESSAGING;
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    q->srv_dh = r->ids.srv_dh;
}

static struct sx_cmd send_cmd(const char *text)
{
    return (struct sx_cmd){ .tag = SX_SEND, .send = { .body = sx_str(text) } };
}

static void assert_ok(const struct sx_rsp *r)
{
    assert_non_null(r);
    if (r->tag != SX_R_OK)
        fail_msg("%s instead of OK", sx_rsp_name(r->tag));
}

static void assert_err(const struct sx_rsp *r, enum sx_err err)
{
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, err);
}

static void assert_msg(const struct queue *q, const struct sx_rsp *r, const char *text)
{
    struct sx_rcv_msg m;

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_MSG);
    assert_int_equal(smp_open_msg(r, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str(text), "message");
}

static const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q,
                                const struct sx_rsp *msg)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = msg->msg.msg_id } };

    return smp_peer_cmd(p, &q->rcv, rcv_id(q), &c);
}

static const struct sx_rsp *event(struct smp_peer *p, enum sx_rsp_tag tag)
{
    const struct smp_item *i = smp_peer_event(p, 20000);

    assert_non_null(i);
    assert_int_equal(i->rc, SIMPLEX_OK);
    if (i->rsp.tag != tag)
        fail_msg("%s instead of %s", sx_rsp_name(i->rsp.tag), sx_rsp_name(tag));
    return &i->rsp;
}

/* ---- use ---- */

static void delivers_a_message_between_two_connections(void **state)
{
    struct server t;
    struct smp_peer a, b;
    struct queue q;
    struct sx_cmd skey = { .tag = SX_SKEY }, hello = send_cmd("hello");

    (void)state;
    start(&t);
    open_peer(&t, &a);
    open_peer(&t, &b);
    assert_int_equal(a.session.version, SX_SMP_MAX);
    assert_true(a.session.encrypted);
    make_queue(&a, &q, true);
    skey.key.key = q.snd.pub;
    assert_ok(smp_peer_cmd(&b, &q.snd, snd_id(&q), &skey));
    assert_err(smp_peer_cmd(&b, NULL, snd_id(&q), &hello), SX_ERR_AUTH);
    assert_ok(smp_peer_cmd(&b, &q.snd, snd_id(&q), &hello));
    const struct sx_rsp *msg = event(&a, SX_R_MSG);
    struct sx_rsp copy = *msg;
    assert_msg(&q, msg, "hello");
    assert_ok(ack(&a, &q, &copy));
    simplex_server_counters c = count(&t);
    assert_int_equal(c.connections, 2);
    assert_int_equal(c.accepted, 2);
    assert_int_equal(c.queues, 1);
    assert_int_equal(c.messages, 0);
    smp_peer_close(&a);
    wait_connections(&t, 1);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_a_message_between_two_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
