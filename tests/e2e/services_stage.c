/* SPDX-License-Identifier: Apache-2.0 */
#include "services_stage.h"

void open_threaded(struct server *t, bool kept)
{
    make_server(t);
    prompt_config(&t->cfg, 3);
    if (kept)
        t->cfg.dir = t->cfg.state_dir = t->dir;
    start(t);
}

void make_service(struct service *s, uint8_t role, enum sx_alg alg, size_t n_certs)
{
    test_certs_make(alg, n_certs, &s->certs);
    s->cert =
        (struct sx_service_cert){ .role = role, .chain = s->certs.chain, .leaf = s->certs.leaf };
}

void free_service(struct service *s)
{
    test_certs_free(&s->certs);
}

simplex_rc open_service(const struct server *t, struct smp_peer *p, const struct service *tls,
                        const struct sx_service_cert *hello)
{
    struct smp_peer_cfg cfg = t->peer;

    if (tls != NULL) {
        cfg.cert_pem = sx_wr_bytes(&tls->certs.chain_pem);
        cfg.cert_key_pem = sx_wr_bytes(&tls->certs.key_pem);
    }
    cfg.service = hello;
    return smp_peer_open(p, &cfg);
}

void connect_service(const struct server *t, struct smp_peer *p, const struct service *s)
{
    assert_int_equal(open_service(t, p, s, &s->cert), SIMPLEX_OK);
    assert_int_equal(p->session.service.role, s->cert.role);
}

void make_queue(struct smp_peer *p, struct queue *q)
{
    const struct sx_rsp *r = new_queue(p, q, SX_ED25519, true);

    assert_int_equal(r->ids.has_service_id, p->session.service.role != 0);
}

void send_to(struct smp_peer *p, const struct queue *q, const char *text)
{
    assert_int_equal(send_text(p, q, text)->tag, SX_R_OK);
}

const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q, simplex_bytes id)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = id } };

    return smp_peer_cmd(p, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
}

const struct sx_rsp *subs(struct smp_peer *p)
{
    struct sx_cmd c = { .tag = p->session.service.role == 'N' ? SX_NSUBS : SX_SUBS,
                        .subs = { .has_hash = true } };
    const struct sx_session_service *s = &p->session.service;

    return smp_peer_cmd(p, &s->key, sx_bytes(s->id, sizeof(s->id)), &c);
}

const struct sx_rsp *subscribe(struct smp_peer *p)
{
    const struct sx_rsp *r = subs(p);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOKS);
    return r;
}

const struct smp_item *expect_event(struct smp_peer *p, enum sx_rsp_tag tag)
{
    const struct smp_item *i = smp_peer_event(p, 20000);

    assert_non_null(i);
    assert_int_equal(i->rc, SIMPLEX_OK);
    if (i->rsp.tag != tag)
        fail_msg("%s instead of %s", sx_rsp_name(i->rsp.tag), sx_rsp_name(tag));
    return i;
}

void expect_msg(struct smp_peer *p, const struct queue *q, const char *text)
{
    const struct smp_item *i = expect_event(p, SX_R_MSG);
    struct sx_rcv_msg m;
    uint8_t id[24];

    memcpy(id, i->rsp.msg.msg_id.ptr, sizeof(id));
    assert_int_equal(smp_open_msg(&i->rsp, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str(text), "message");
    const struct sx_rsp *r = ack(p, q, sx_bytes(id, sizeof(id)));
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
}
