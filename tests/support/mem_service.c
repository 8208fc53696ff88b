/* SPDX-License-Identifier: Apache-2.0 */
#include "support/mem_service.h"

#include <stdarg.h>

void mem_service_make(struct mem_service *s, uint8_t role, size_t n_certs)
{
    test_certs_make(SX_ED25519, n_certs, &s->certs);
    s->cert =
        (struct sx_service_cert){ .role = role, .chain = s->certs.chain, .leaf = s->certs.leaf };
}

void mem_service_free(struct mem_service *s)
{
    test_certs_free(&s->certs);
}

void mem_open_world(struct mem_world *w, const struct sx_srv_cfg *cfg)
{
    mem_open(&w->m, cfg);
    mem_service_make(&w->service, 'M', 2);
    mem_connect(&w->m, &w->a, 0, 0);
    mem_connect(&w->m, &w->b, 1, 0);
    mem_connect_service(&w->m, &w->s, 0, 0, &w->service.cert);
    mem_connect_service(&w->m, &w->s2, 1, 0, &w->service.cert);
}

void mem_open_served(struct mem_world *w, struct mem_queue *q, size_t n)
{
    mem_open_world(w, NULL);
    mem_new_all(&w->s, q, n);
}

void mem_close_world(struct mem_world *w)
{
    mem_disconnect(&w->a);
    mem_disconnect(&w->b);
    mem_disconnect(&w->s);
    mem_disconnect(&w->s2);
    mem_service_free(&w->service);
    mem_close(&w->m);
}

void mem_reconnect(struct mem_world *w, struct mem_client *c)
{
    mem_disconnect(c);
    mem_connect_service(&w->m, c, c == &w->s ? 0 : 1, 0, &w->service.cert);
}

static struct sx_cmd subs_cmd(const struct mem_client *c)
{
    return (struct sx_cmd){ .tag = c->client.service.role == 'N' ? SX_NSUBS : SX_SUBS,
                            .subs = { .has_hash = true } };
}

const struct sx_rsp *mem_subs(struct mem_client *c)
{
    struct sx_cmd cmd = subs_cmd(c);

    return mem_cmd(c, &c->client.service.key, mem_service_id(c), &cmd);
}

void mem_subs_ahead(struct mem_client *c)
{
    struct sx_cmd cmd = subs_cmd(c);

    mem_run_ahead(c, &c->client.service.key, mem_service_id(c), &cmd);
}

const struct sx_rsp *mem_unbound(struct mem_client *c, const struct sx_keypair *key,
                                 simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t role = c->client.service.role;

    c->client.service.role = 0;
    const struct sx_rsp *r = mem_cmd(c, key, entity, cmd);
    c->client.service.role = role;
    return r;
}

/* ---- totals: a count, and the XOR of the hashes of the ids ---- */

static void add_id(uint8_t hash[SX_SERVICE_HASH], const uint8_t *id)
{
    uint8_t md5[SX_SERVICE_HASH];

    sx_md5(sx_bytes(id, 24), md5);
    for (size_t k = 0; k < sizeof(md5); k++)
        hash[k] ^= md5[k];
}

static void assert_total(const struct sx_rsp *r, enum sx_rsp_tag tag, size_t n,
                         const uint8_t hash[SX_SERVICE_HASH])
{
    mem_assert_tag(r, tag);
    assert_int_equal(r->soks.count, n);
    assert_true(r->soks.has_hash);
    vec_assert_eq(sx_bytes(r->soks.hash, SX_SERVICE_HASH), sx_bytes(hash, SX_SERVICE_HASH),
                  "hash of ids");
}

void mem_assert_total(const struct sx_rsp *r, enum sx_rsp_tag tag, size_t n, ...)
{
    uint8_t hash[SX_SERVICE_HASH] = { 0 };
    va_list ids;

    va_start(ids, n);
    for (size_t i = 0; i < n; i++)
        add_id(hash, va_arg(ids, const uint8_t *));
    va_end(ids);
    assert_total(r, tag, n, hash);
}

void mem_assert_queues(const struct sx_rsp *r, enum sx_rsp_tag tag, const struct mem_queue *q,
                       size_t n)
{
    uint8_t hash[SX_SERVICE_HASH] = { 0 };

    for (size_t i = 0; i < n; i++)
        add_id(hash, q[i].rcv_id);
    assert_total(r, tag, n, hash);
}

/* ---- what a service is told ---- */

void mem_assert_sok(const struct sx_rsp *r, const struct mem_client *service)
{
    mem_assert_tag(r, SX_R_SOK);
    assert_int_equal(r->sok.has_service_id, service != NULL);
    if (service != NULL)
        vec_assert_eq(r->sok.service_id, mem_service_id(service), "service of the queue");
}

void mem_expect_alls(struct mem_client *c)
{
    mem_expect(c, SX_R_ALLS, sx_bytes(NULL, 0));
}

void mem_subscribe_all(struct mem_client *c, const struct mem_queue *q, size_t n)
{
    mem_assert_queues(mem_subs(c), SX_R_SOKS, q, n);
    mem_expect_alls(c);
}

/* ---- notifiers ---- */

void mem_nkey(struct mem_client *c, const struct mem_queue *q, struct mem_ntf *n)
{
    struct sx_cmd cmd = { .tag = SX_NKEY };

    assert_int_equal(sx_keypair_new(SX_ED25519, &n->key), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &n->dh), SIMPLEX_OK);
    cmd.nkey.auth = n->key.pub;
    cmd.nkey.dh = n->dh.pub;
    const struct sx_rsp *r = mem_cmd(c, &q->rcv, mem_rcv_id(q), &cmd);
    mem_assert_tag(r, SX_R_NID);
    memcpy(n->id, r->nid.ntf_id.ptr, 24);
    n->srv_dh = r->nid.srv_dh;
}

const struct sx_rsp *mem_nsub(struct mem_client *c, const struct mem_ntf *n)
{
    struct sx_cmd cmd = { .tag = SX_NSUB };

    return mem_cmd(c, &n->key, mem_ntf_id(n), &cmd);
}

struct sx_ntf_meta mem_assert_nmsg(const struct sx_rsp *r, const struct mem_ntf *n)
{
    static uint8_t box[SX_NMSG_PADDED + SX_BOX_TAG];
    uint8_t secret[SX_DH_MAX];
    struct sx_box_key key;
    struct sx_ntf_meta m;
    simplex_bytes plain;

    mem_assert_tag(r, SX_R_NMSG);
    assert_int_equal(r->nmsg.meta.len, sizeof(box));
    assert_int_equal(sx_dh(&n->dh.priv, &n->srv_dh, secret), SIMPLEX_OK);
    sx_box_key_init(&key, secret);
    memcpy(box, r->nmsg.meta.ptr, sizeof(box));
    assert_int_equal(sx_box_open_padded(&key, r->nmsg.nonce, box, sizeof(box), &plain), SIMPLEX_OK);
    assert_int_equal(sx_ntf_meta_decode(plain, &m), SIMPLEX_OK);
    assert_int_equal(m.msg_id.len, 24);
    return m;
}
