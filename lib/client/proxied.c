/* SPDX-License-Identifier: Apache-2.0 */
#include "client/proxied.h"

#define HEAD 3 /* count and length in front of the one transmission */

/* ---- PKEY ---- */

static simplex_rc read_chain(simplex_bytes in, struct sx_chain *chain)
{
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    size_t n;
    simplex_rc rc = sx_chain_decode(in, certs, &n);

    if (rc != SIMPLEX_OK)
        return rc;
    if (n > SX_COUNT(chain->cert))
        return SIMPLEX_E_CERT;
    chain->count = n;
    for (size_t i = 0; i < n; i++)
        chain->cert[i] = certs[i];
    return SIMPLEX_OK;
}

simplex_rc sx_proxied_open(struct sx_proxied *p, const struct sx_rsp *pkey,
                           const uint8_t key_hash[32], uint16_t max, int64_t now_s)
{
    uint16_t version = max < pkey->pkey.max ? max : pkey->pkey.max;
    struct sx_chain chain = { .count = 0 };
    struct sx_pub leaf, key;

    sx_proxied_wipe(p);
    simplex_rc rc = read_chain(pkey->pkey.chain, &chain);
    if (rc == SIMPLEX_OK)
        rc = sx_chain_verify(&chain, key_hash, now_s);
    if (rc == SIMPLEX_OK)
        rc = sx_chain_leaf_key(&chain, &leaf);
    if (rc == SIMPLEX_OK)
        rc = sx_signed_key_verify(pkey->pkey.signed_key, &leaf, &key);
    if (rc == SIMPLEX_OK && (version < SX_PROXIED_MIN || version < pkey->pkey.min))
        rc = SIMPLEX_E_VERSION;
    if (rc == SIMPLEX_OK && key.alg != SX_X25519)
        rc = SIMPLEX_E_KEY;
    if (rc == SIMPLEX_OK && pkey->pkey.session_id.len == 0)
        rc = SIMPLEX_E_DECODE;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_session_relay(&p->s, version, pkey->pkey.session_id, &key);
    return rc == SIMPLEX_E_ARG ? SIMPLEX_E_DECODE : rc; /* too long an id */
}

void sx_proxied_wipe(struct sx_proxied *p)
{
    sx_session_wipe(&p->s);
}

/* ---- commands ---- */

static simplex_rc agree(const struct sx_proxied *p, const struct sx_keypair *key,
                        struct sx_box_key *box)
{
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc = sx_dh(&key->priv, &p->s.peer_key, secret);

    if (rc == SIMPLEX_OK)
        sx_box_key_init(box, secret);
    sx_wipe(secret, sizeof secret);
    return rc;
}

/* A batch of one, as in a block; `one` has room in front of the transmission. */
static simplex_rc seal_batch(const struct sx_proxied_cmd *c, uint8_t *one, size_t len,
                             uint8_t body[SX_PROXIED_BOX])
{
    if (len + HEAD > SX_PROXIED_PADDED - 2)
        return SIMPLEX_E_TOO_LARGE;
    one[0] = 1;
    one[1] = (uint8_t)(len >> 8);
    one[2] = (uint8_t)len;
    return sx_box_seal_padded(&c->box, c->corr_id, sx_bytes(one, len + HEAD), SX_PROXIED_PADDED,
                              body);
}

/* c has its key and its correlation id. */
static simplex_rc seal(const struct sx_proxied *p, const struct sx_keypair *key,
                       simplex_bytes entity, const struct sx_cmd *cmd,
                       const struct sx_proxied_cmd *c, uint8_t body[SX_PROXIED_BOX])
{
    uint8_t plain[HEAD + 2 * SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, plain + HEAD, sizeof plain - HEAD);
    simplex_rc rc = sx_session_encode(&p->s, key, c->corr_id, entity, cmd, &w);
    if (rc == SIMPLEX_OK)
        rc = seal_batch(c, plain, w.len, body);
    sx_wipe(plain, HEAD + w.len);
    return rc;
}

simplex_rc sx_proxied_seal(const struct sx_proxied *p, const struct sx_keypair *key,
                           simplex_bytes entity, const struct sx_cmd *cmd, const uint8_t *corr_id,
                           const struct sx_keypair *command_key, struct sx_proxied_cmd *c,
                           uint8_t body[SX_PROXIED_BOX], struct sx_cmd *pfwd)
{
    struct sx_keypair own;
    simplex_rc rc = SIMPLEX_OK;

    if (corr_id != NULL)
        memcpy(c->corr_id, corr_id, sizeof c->corr_id);
    else
        sx_random(c->corr_id, sizeof c->corr_id);
    c->version = p->s.version;
    if (command_key != NULL)
        own = *command_key;
    else
        rc = sx_keypair_new(SX_X25519, &own);
    if (rc == SIMPLEX_OK)
        rc = agree(p, &own, &c->box);
    if (rc == SIMPLEX_OK)
        rc = seal(p, key, entity, cmd, c, body);
    *pfwd = (struct sx_cmd){ .tag = SX_PFWD };
    pfwd->pfwd.version = c->version;
    pfwd->pfwd.key = own.pub;
    pfwd->pfwd.body = sx_bytes(body, SX_PROXIED_BOX);
    sx_keypair_wipe(&own);
    return rc;
}

/* ---- answers ---- */

simplex_rc sx_proxied_answer(const struct sx_proxied_cmd *c, simplex_bytes body,
                             uint8_t plain[SX_PROXIED_BOX], struct sx_transmission *t,
                             struct sx_rsp *rsp)
{
    uint8_t nonce[SX_NONCE_LEN];
    struct sx_batch_rd batch;
    simplex_bytes content, one, more;

    if (body.len != SX_PROXIED_BOX)
        return SIMPLEX_E_CRYPTO;
    memcpy(plain, body.ptr, body.len);
    sx_nonce_reverse(c->corr_id, nonce);
    simplex_rc rc = sx_box_open_padded(&c->box, nonce, plain, body.len, &content);
    if (rc == SIMPLEX_OK)
        rc = sx_batch_open(content, &batch);
    if (rc != SIMPLEX_OK)
        return rc;
    if (!sx_batch_next(&batch, &one) || sx_batch_next(&batch, &more))
        return SIMPLEX_E_BLOCK;
    rc = sx_transmission_decode(one, c->version, t);
    if (rc == SIMPLEX_OK && !sx_bytes_eq(t->corr_id, sx_bytes(c->corr_id, sizeof c->corr_id)))
        return SIMPLEX_E_RESPONSE;
    return rc == SIMPLEX_OK ? sx_rsp_decode(t->command, c->version, rsp) : rc;
}
