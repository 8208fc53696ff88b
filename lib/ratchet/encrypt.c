/* SPDX-License-Identifier: Apache-2.0 */
/* Encryption in two steps (section 3.4): the header when a message is stored, the body when sent.
 */
#include "ratchet/internal.h"

void sx_msg_key_wipe(struct sx_msg_key *k)
{
    sx_wipe(k, sizeof *k);
}

/*
 * The ciphertext goes with every header until the next step, also after PQ was switched off: the
 * reference stops sending it then, and when the first message of the chain is lost both directions
 * break (sections 3.6 and 13). Receivers look at the KEM field of one header a chain.
 */
static void own_header(const struct sx_ratchet *r, uint16_t max_supported, struct sx_header *h)
{
    *h = (struct sx_header){
        .max_version = max_supported, .dh = r->dhs.pub, .pn = r->pn, .n = r->ns
    };
    if (r->has_kem) {
        h->kem.kind = r->has_accepted ? SX_KEM_ACCEPTED : SX_KEM_PROPOSED;
        h->kem.pk = sx_bytes(r->kem.pk, SX_KEM_PK);
        if (r->has_accepted)
            h->kem.ct = sx_bytes(r->accepted.ct, SX_KEM_CT);
    }
}

/* Builds the encrypted header in key->emh; the body of it is padded and encrypted in place. */
static simplex_rc seal_header(const struct sx_ratchet *r, const struct sx_header *h,
                              const uint8_t iv[16], size_t padded, struct sx_msg_key *key)
{
    uint8_t plain[SX_HEADER_PLAIN_MAX];
    struct sx_wr w, emh;

    sx_wr_fixed(&w, plain, sizeof plain);
    sx_header_encode(&w, h, key->version);
    sx_wr_fixed(&emh, key->emh, sizeof key->emh);
    sx_wr_u16(&emh, key->version);
    sx_wr_raw(&emh, sx_bytes(iv, 16));
    uint8_t *tag = sx_wr_space(&emh, SX_GCM_TAG);
    if (sx_len_size(key->version) == 2)
        sx_wr_u16(&emh, (uint16_t)padded);
    else
        sx_wr_u8(&emh, (uint8_t)padded);
    uint8_t *body = sx_wr_space(&emh, padded);
    if (w.bad || emh.bad)
        return SIMPLEX_E_INTERNAL;
    simplex_rc rc = sx_pad(sx_wr_bytes(&w), body, padded);
    if (rc == SIMPLEX_OK)
        rc = sx_gcm_encrypt(r->hks, iv, 16, sx_bytes(r->ad, sizeof r->ad), sx_bytes(NULL, 0),
                            sx_bytes(body, padded), body, tag);
    key->emh_len = (uint16_t)emh.len;
    sx_wipe(plain, w.len);
    return rc;
}

/* The wish after a message sent with this flag. */
static bool wish(const struct sx_ratchet *r, enum sx_pq_flag pq)
{
    if (pq == SX_PQ_ON)
        return r->enable_kem || sx_kem_available();
    return pq == SX_PQ_KEEP && r->enable_kem;
}

static size_t header_padded(const struct sx_ratchet *r, enum sx_pq_flag pq)
{
    return r->current >= 3 && (r->support_kem || wish(r, pq)) ? SX_HEADER_PAD_PQ : SX_HEADER_PAD;
}

simplex_rc sx_ratchet_encrypt_header_as(struct sx_ratchet *r, enum sx_pq_flag pq,
                                        uint16_t max_supported, struct sx_msg_key *key)
{
    struct sx_chain_keys k;
    struct sx_header h;

    key->emh_len = 0;
    if (!r->has_snd)
        return SIMPLEX_E_RATCHET_NO_CHAIN;
    if (r->ns == UINT32_MAX)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = sx_chain_kdf(r->cks, &k);
    if (rc != SIMPLEX_OK)
        return rc;
    key->version = r->current;
    own_header(r, max_supported, &h);
    rc = seal_header(r, &h, k.iv_header, header_padded(r, pq), key);
    if (rc == SIMPLEX_OK) {
        memcpy(key->ad, r->ad, sizeof key->ad);
        memcpy(key->mk, k.mk, sizeof key->mk);
        memcpy(key->iv, k.iv, sizeof key->iv);
        memcpy(r->cks, k.ck, sizeof r->cks);
        r->ns++;
        r->max_supported = max_supported;
        r->enable_kem = wish(r, pq);
        r->support_kem = r->support_kem || r->enable_kem;
    } else {
        sx_msg_key_wipe(key);
    }
    sx_wipe(&k, sizeof k);
    return rc;
}

simplex_rc sx_ratchet_encrypt_header(struct sx_ratchet *r, enum sx_pq_flag pq,
                                     struct sx_msg_key *key)
{
    return sx_ratchet_encrypt_header_as(r, pq, SX_E2E_MAX, key);
}

size_t sx_ratchet_msg_len(const struct sx_msg_key *key, size_t padded)
{
    return sx_len_size(key->version) + key->emh_len + SX_GCM_TAG + padded;
}

size_t sx_ratchet_next_msg_len(const struct sx_ratchet *r, enum sx_pq_flag pq, size_t padded)
{
    size_t len = sx_len_size(r->current);

    return len + 2 + 16 + SX_GCM_TAG + len + header_padded(r, pq) + SX_GCM_TAG + padded;
}

simplex_rc sx_ratchet_encrypt_body(const struct sx_msg_key *key, simplex_bytes plain, size_t padded,
                                   struct sx_wr *out)
{
    size_t start = out->len, total = sx_ratchet_msg_len(key, padded);

    if (plain.len > UINT16_MAX - 2 || plain.len + 2 > padded)
        return SIMPLEX_E_TOO_LARGE;
    uint8_t *at = sx_wr_space(out, total);
    if (at == NULL)
        return out->lent || total > out->cap - start ? SIMPLEX_E_BUFFER : SIMPLEX_E_NOMEM;
    if (sx_len_size(key->version) == 2)
        *at++ = (uint8_t)(key->emh_len >> 8);
    *at++ = (uint8_t)key->emh_len;
    memcpy(at, key->emh, key->emh_len);
    uint8_t *tag = at + key->emh_len, *body = tag + SX_GCM_TAG;
    simplex_rc rc = sx_pad(plain, body, padded);
    if (rc == SIMPLEX_OK)
        rc = sx_gcm_encrypt(key->mk, key->iv, sizeof key->iv, sx_bytes(key->ad, sizeof key->ad),
                            sx_bytes(key->emh, key->emh_len), sx_bytes(body, padded), body, tag);
    if (rc != SIMPLEX_OK) {
        sx_wipe(body, padded);
        out->len = start;
    }
    return rc;
}

size_t sx_ratchet_padded_info(uint16_t agent_version, bool pq)
{
    return agent_version >= 5 && pq ? 11106 : 14832;
}

size_t sx_ratchet_padded_message(uint16_t agent_version, bool pq)
{
    return agent_version >= 5 && pq ? 13618 : 15840;
}
