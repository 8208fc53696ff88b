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

const struct sx_rsp *mem_subs(struct mem_client *c)
{
    const struct sx_session_service *svc = &c->client.service;
    struct sx_cmd cmd = { .tag = svc->role == 'N' ? SX_NSUBS : SX_SUBS,
                          .subs = { .has_hash = true } };

    return mem_cmd(c, &svc->key, sx_bytes(svc->id, sizeof(svc->id)), &cmd);
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

void mem_assert_total(const struct sx_rsp *r, enum sx_rsp_tag tag, size_t n, ...)
{
    uint8_t hash[16] = { 0 }, md5[16];
    va_list ids;

    mem_assert_tag(r, tag);
    assert_int_equal(r->soks.count, n);
    assert_true(r->soks.has_hash);
    va_start(ids, n);
    for (size_t i = 0; i < n; i++) {
        sx_md5(sx_bytes(va_arg(ids, const uint8_t *), 24), md5);
        for (size_t k = 0; k < sizeof(hash); k++)
            hash[k] ^= md5[k];
    }
    va_end(ids);
    vec_assert_eq(sx_bytes(r->soks.hash, 16), sx_bytes(hash, 16), "hash of ids");
}

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

    return mem_cmd(c, &n->key, sx_bytes(n->id, 24), &cmd);
}

void mem_assert_nmsg(const struct sx_rsp *r, const struct mem_ntf *n)
{
    uint8_t secret[SX_DH_MAX], box[SX_NMSG_PADDED + SX_BOX_TAG];
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
}
