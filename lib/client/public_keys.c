/* SPDX-License-Identifier: Apache-2.0 */
/* The helpers of simplex/client.h: keys, and what the server encrypted for a queue. */
#include "client/public.h"
#include "crypto/x509.h"

static simplex_rc give(simplex_bytes what, uint8_t *to, size_t *len)
{
    size_t room = *len;

    *len = what.len;
    if (what.len > room)
        return SIMPLEX_E_BUFFER;
    if (what.len > 0)
        memcpy(to, what.ptr, what.len);
    return SIMPLEX_OK;
}

simplex_rc simplex_client_keypair(int32_t alg, uint8_t *private_key, size_t *private_len,
                                  uint8_t *public_key, size_t *public_len)
{
    static const enum sx_alg algs[] = {
        [SIMPLEX_ED25519] = SX_ED25519,
        [SIMPLEX_ED448] = SX_ED448,
        [SIMPLEX_X25519] = SX_X25519,
    };
    uint8_t priv[SIMPLEX_PRIVATE_KEY_MAX], pub[SIMPLEX_PUBLIC_KEY_MAX];
    struct sx_wr w_priv, w_pub;
    struct sx_keypair k;

    if (alg < 1 || (size_t)alg >= SX_COUNT(algs) || private_key == NULL || private_len == NULL ||
        public_key == NULL || public_len == NULL)
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(algs[alg], &k);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w_priv, priv, sizeof(priv));
    sx_pkcs8_encode(&k.priv, &w_priv);
    sx_wr_fixed(&w_pub, pub, sizeof(pub));
    sx_spki_encode(&k.pub, &w_pub);
    if (w_priv.len > *private_len || w_pub.len > *public_len) {
        *private_len = w_priv.len;
        *public_len = w_pub.len;
        rc = SIMPLEX_E_BUFFER;
    } else {
        rc = give(sx_wr_bytes(&w_priv), private_key, private_len);
        if (rc == SIMPLEX_OK)
            rc = give(sx_wr_bytes(&w_pub), public_key, public_len);
    }
    sx_wipe(priv, sizeof(priv));
    sx_keypair_wipe(&k);
    return rc;
}

static simplex_rc box_of(simplex_bytes dh_key, simplex_bytes server_key, struct sx_box_key *box)
{
    uint8_t secret[SX_DH_MAX];
    struct sx_priv priv;
    struct sx_pub pub;

    simplex_rc rc = sx_crypto_init();
    if (rc == SIMPLEX_OK)
        rc = sx_spki_decode(server_key, &pub);
    if (rc == SIMPLEX_OK)
        rc = sx_pkcs8_decode(dh_key, &priv);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = priv.alg == SX_X25519 ? sx_dh(&priv, &pub, secret) : SIMPLEX_E_KEY;
    if (rc == SIMPLEX_OK)
        sx_box_key_init(box, secret);
    sx_wipe(&priv, sizeof(priv));
    sx_wipe(secret, sizeof(secret));
    return rc;
}

/* The plaintext in *plain points into *copy, which the caller wipes and frees. */
static simplex_rc open_box(simplex_bytes dh_key, simplex_bytes server_key, simplex_bytes nonce,
                           simplex_bytes body, uint8_t **copy, simplex_bytes *plain)
{
    struct sx_box_key box;
    uint8_t n[SX_NONCE_LEN];

    *copy = NULL;
    simplex_rc rc = box_of(dh_key, server_key, &box);
    if (rc != SIMPLEX_OK)
        return rc;
    *copy = sx_memdup(body);
    if (*copy == NULL) {
        rc = SIMPLEX_E_NOMEM;
    } else {
        sx_nonce_from(nonce, n);
        rc = sx_box_open_padded(&box, n, *copy, body.len, plain);
    }
    sx_wipe(&box, sizeof(box));
    return rc;
}

static void drop(uint8_t *copy, size_t n)
{
    if (copy != NULL)
        sx_free_secret(copy, n);
}

simplex_rc simplex_client_open_message(simplex_bytes dh_key, simplex_bytes server_key,
                                       simplex_bytes msg_id, simplex_bytes body,
                                       simplex_client_message *out, uint8_t *to, size_t *len)
{
    struct sx_rcv_msg m;
    simplex_bytes plain;
    uint8_t *copy;

    if (out == NULL || len == NULL || (to == NULL && *len > 0))
        return SIMPLEX_E_ARG;
    if (body.len != SX_MSG_BODY)
        return SIMPLEX_E_CRYPTO;
    simplex_rc rc = open_box(dh_key, server_key, msg_id, body, &copy, &plain);
    if (rc == SIMPLEX_OK)
        rc = sx_rcv_msg_decode(plain, &m);
    if (rc == SIMPLEX_OK)
        rc = give(m.quota ? sx_bytes(NULL, 0) : m.body, to, len);
    if (rc == SIMPLEX_OK)
        *out = (simplex_client_message){ .quota = m.quota,
                                         .notify = !m.quota && m.notify,
                                         .server_time = m.ts_s };
    drop(copy, body.len);
    return rc;
}

simplex_rc simplex_client_open_notification(simplex_bytes dh_key, simplex_bytes server_key,
                                            simplex_bytes nonce, simplex_bytes meta,
                                            uint8_t *msg_id, size_t *id_len, int64_t *server_time)
{
    struct sx_ntf_meta m;
    simplex_bytes plain;
    uint8_t *copy;

    if (msg_id == NULL || id_len == NULL || server_time == NULL)
        return SIMPLEX_E_ARG;
    if (meta.len != SX_NMSG_PADDED + SX_BOX_TAG || nonce.len != SX_NONCE_LEN)
        return SIMPLEX_E_CRYPTO;
    simplex_rc rc = open_box(dh_key, server_key, nonce, meta, &copy, &plain);
    if (rc == SIMPLEX_OK)
        rc = sx_ntf_meta_decode(plain, &m);
    if (rc == SIMPLEX_OK)
        rc = give(m.msg_id, msg_id, id_len);
    if (rc == SIMPLEX_OK)
        *server_time = m.ts_s;
    drop(copy, meta.len);
    return rc;
}

simplex_rc simplex_client_sender_id(simplex_bytes corr_id, uint8_t snd_id[24])
{
    uint8_t digest[48];

    if (corr_id.len != SX_ID_LEN || corr_id.ptr == NULL || snd_id == NULL)
        return SIMPLEX_E_ARG;
    sx_sha3_384(corr_id, digest);
    memcpy(snd_id, digest, SX_ID_LEN);
    return SIMPLEX_OK;
}

/* ---- services ---- */

static simplex_rc give_text(const struct sx_wr *w, char *to, size_t *len)
{
    bool fits = w->len <= *len;

    if (fits && w->len > 0)
        memcpy(to, w->p, w->len);
    *len = w->len;
    return fits ? SIMPLEX_OK : SIMPLEX_E_BUFFER;
}

simplex_rc simplex_client_service_cert(char *cert, size_t *cert_len, char *key, size_t *key_len)
{
    struct sx_wr c, k;

    if (cert_len == NULL || key_len == NULL || (cert == NULL && *cert_len > 0) ||
        (key == NULL && *key_len > 0))
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_init(&c, SIMPLEX_SERVICE_PEM_MAX);
    sx_wr_init(&k, SIMPLEX_SERVICE_PEM_MAX);
    rc = sx_cert_make_service(&c, &k);
    if (rc == SIMPLEX_OK) {
        simplex_rc given = give_text(&k, key, key_len);
        rc = give_text(&c, cert, cert_len);
        rc = rc == SIMPLEX_OK ? given : rc;
    }
    sx_wr_free(&c);
    sx_wr_free(&k);
    return rc;
}

simplex_rc simplex_client_ids_hash(uint8_t hash[16], simplex_bytes id)
{
    uint8_t md5[16];

    if (hash == NULL || id.ptr == NULL || id.len == 0 || id.len > UINT8_MAX)
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    sx_md5(id, md5);
    for (size_t i = 0; i < sizeof(md5); i++)
        hash[i] ^= md5[i];
    return SIMPLEX_OK;
}
