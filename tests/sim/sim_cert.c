/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, wrapped at link time: a stand-in is a name and the public key, and is signed by
 * nobody. What is shown in a handshake, compared and proved with the key is as in the product.
 */
#include "crypto/pem.h"
#include "sim/sim_cert.h"

#define NAME "certificate"

simplex_rc __wrap_sx_cert_make_service(struct sx_wr *cert, struct sx_wr *key);
simplex_rc __wrap_sx_chain_leaf_key(const struct sx_chain *chain, struct sx_pub *out);
simplex_rc __wrap_sx_chain_verify(const struct sx_chain *chain, const uint8_t *fingerprint,
                                  int64_t now_s);
simplex_rc __wrap_sx_chain_verify_service(const struct sx_chain *chain, int64_t now_s,
                                          uint8_t cert_hash[32]);

static simplex_bytes put(struct sx_wr *w, const struct sx_pub *key)
{
    size_t at = w->len;

    sx_wr_text(w, NAME);
    sx_spki_encode(key, w);
    return sx_bytes(w->p + at, w->len - at);
}

static simplex_rc key_of(simplex_bytes cert, struct sx_pub *out)
{
    struct sx_rd r = sx_rd_init(cert);

    if (!sx_rd_lit(&r, NAME))
        return SIMPLEX_E_CERT;
    return sx_spki_decode(sx_rd_take(&r, r.left), out);
}

simplex_rc __wrap_sx_cert_make_service(struct sx_wr *cert, struct sx_wr *key)
{
    uint8_t room[128];
    struct sx_keypair pair;
    struct sx_wr w;
    simplex_rc rc = sx_keypair_new(SX_ED25519, &pair);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, room, sizeof room);
    sx_pem_write(cert, "CERTIFICATE", put(&w, &pair.pub));
    sx_wr_reset(&w);
    sx_pkcs8_encode(&pair.priv, &w);
    sx_pem_write(key, "PRIVATE KEY", sx_wr_bytes(&w));
    return cert->bad || key->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

simplex_rc __wrap_sx_chain_leaf_key(const struct sx_chain *chain, struct sx_pub *out)
{
    return chain->count > 0 ? key_of(chain->cert[0], out) : SIMPLEX_E_CERT;
}

simplex_rc __wrap_sx_chain_verify(const struct sx_chain *chain, const uint8_t *fingerprint,
                                  int64_t now_s)
{
    struct sx_pub key;
    uint8_t hash[32];
    simplex_rc rc = sx_chain_fingerprint(chain, hash);

    (void)now_s;
    for (size_t i = 0; rc == SIMPLEX_OK && i < chain->count; i++)
        rc = key_of(chain->cert[i], &key);
    if (rc == SIMPLEX_OK && fingerprint != NULL && memcmp(hash, fingerprint, sizeof hash) != 0)
        rc = SIMPLEX_E_FINGERPRINT;
    return rc;
}

simplex_rc __wrap_sx_chain_verify_service(const struct sx_chain *chain, int64_t now_s,
                                          uint8_t cert_hash[32])
{
    struct sx_pub key;

    (void)now_s;
    sx_sha256(chain->cert[chain->count > 1], cert_hash);
    return key_of(chain->cert[0], &key);
}

void sim_cert_make(struct sim_cert *c)
{
    struct sx_wr w;
    struct sx_keypair ca;

    sx_wr_fixed(&w, c->room, sizeof c->room);
    SIM_CHECK(sx_keypair_new(SX_ED25519, &c->leaf) == SIMPLEX_OK);
    SIM_CHECK(sx_keypair_new(SX_ED25519, &ca) == SIMPLEX_OK);
    c->chain = (struct sx_chain){ .count = 2 };
    c->chain.cert[0] = put(&w, &c->leaf.pub);
    c->chain.cert[1] = put(&w, &ca.pub);
    SIM_CHECK(!w.bad && sx_chain_fingerprint(&c->chain, c->fingerprint) == SIMPLEX_OK);
}
