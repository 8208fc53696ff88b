/* SPDX-License-Identifier: Apache-2.0 */
/* Our own encodings of secrets for the database: a format number, then fixed fields. */
#include "ratchet/internal.h"

#define FORMAT 1

enum { /* flags of a ratchet */
       SUPPORT_KEM = 1,
       ENABLE_KEM = 2,
       SND_KEM = 4,
       RCV_KEM = 8,
       HAS_KEM = 16,
       HAS_ACCEPTED = 32,
       HAS_SND = 64,
       HAS_RCV = 128
};

static void put_pair(struct sx_wr *w, const struct sx_keypair *k)
{
    sx_wr_raw(w, sx_bytes(k->priv.b, SX_X448_LEN));
    sx_wr_raw(w, sx_bytes(k->pub.b, SX_X448_LEN));
}

static void get_pair(struct sx_rd *r, struct sx_keypair *k)
{
    k->priv.alg = k->pub.alg = SX_X448;
    sx_rd_copy(r, k->priv.b, SX_X448_LEN);
    sx_rd_copy(r, k->pub.b, SX_X448_LEN);
}

static void put_kem(struct sx_wr *w, const struct sx_kem_pair *k)
{
    sx_wr_raw(w, sx_bytes(k->pk, sizeof k->pk));
    sx_wr_raw(w, sx_bytes(k->sk, sizeof k->sk));
}

static void get_kem(struct sx_rd *r, struct sx_kem_pair *k)
{
    sx_rd_copy(r, k->pk, sizeof k->pk);
    sx_rd_copy(r, k->sk, sizeof k->sk);
}

static uint8_t flags_of(const struct sx_ratchet *r)
{
    return (uint8_t)((r->support_kem ? SUPPORT_KEM : 0) | (r->enable_kem ? ENABLE_KEM : 0) |
                     (r->snd_kem ? SND_KEM : 0) | (r->rcv_kem ? RCV_KEM : 0) |
                     (r->has_kem ? HAS_KEM : 0) | (r->has_accepted ? HAS_ACCEPTED : 0) |
                     (r->has_snd ? HAS_SND : 0) | (r->has_rcv ? HAS_RCV : 0));
}

static void set_flags(struct sx_ratchet *r, uint8_t f)
{
    r->support_kem = (f & SUPPORT_KEM) != 0;
    r->enable_kem = (f & ENABLE_KEM) != 0;
    r->snd_kem = (f & SND_KEM) != 0;
    r->rcv_kem = (f & RCV_KEM) != 0;
    r->has_kem = (f & HAS_KEM) != 0;
    r->has_accepted = (f & HAS_ACCEPTED) != 0;
    r->has_snd = (f & HAS_SND) != 0;
    r->has_rcv = (f & HAS_RCV) != 0;
}

void sx_ratchet_encode(struct sx_wr *w, const struct sx_ratchet *r)
{
    sx_wr_u8(w, FORMAT);
    sx_wr_u16(w, r->current);
    sx_wr_u16(w, r->max_supported);
    sx_wr_u8(w, flags_of(r));
    sx_wr_raw(w, sx_bytes(r->ad, sizeof r->ad));
    put_pair(w, &r->dhs);
    sx_wr_u32(w, r->ns);
    sx_wr_u32(w, r->nr);
    sx_wr_u32(w, r->pn);
    sx_wr_raw(w, sx_bytes(r->rk, 32));
    sx_wr_raw(w, sx_bytes(r->nhks, 32));
    sx_wr_raw(w, sx_bytes(r->nhkr, 32));
    if (r->has_snd) {
        sx_wr_raw(w, sx_bytes(r->cks, 32));
        sx_wr_raw(w, sx_bytes(r->hks, 32));
    }
    if (r->has_rcv) {
        sx_wr_raw(w, sx_bytes(r->ckr, 32));
        sx_wr_raw(w, sx_bytes(r->hkr, 32));
    }
    if (r->has_kem)
        put_kem(w, &r->kem);
    if (r->has_accepted) {
        sx_wr_raw(w, sx_bytes(r->accepted.pk, SX_KEM_PK));
        sx_wr_raw(w, sx_bytes(r->accepted.ct, SX_KEM_CT));
        sx_wr_raw(w, sx_bytes(r->accepted.ss, SX_KEM_SS));
    }
}

static void get_chains(struct sx_rd *in, struct sx_ratchet *r)
{
    sx_rd_copy(in, r->rk, 32);
    sx_rd_copy(in, r->nhks, 32);
    sx_rd_copy(in, r->nhkr, 32);
    if (r->has_snd) {
        sx_rd_copy(in, r->cks, 32);
        sx_rd_copy(in, r->hks, 32);
    }
    if (r->has_rcv) {
        sx_rd_copy(in, r->ckr, 32);
        sx_rd_copy(in, r->hkr, 32);
    }
}

static bool versions_ok(const struct sx_ratchet *r)
{
    return r->current >= SX_E2E_MIN && r->current <= SX_E2E_MAX && r->max_supported >= SX_E2E_MIN &&
           r->max_supported <= SX_E2E_MAX;
}

simplex_rc sx_ratchet_decode(simplex_bytes in, struct sx_ratchet *r)
{
    struct sx_rd rd = sx_rd_init(in);

    memset(r, 0, sizeof *r);
    if (sx_rd_u8(&rd) != FORMAT)
        return SIMPLEX_E_DECODE;
    r->current = sx_rd_u16(&rd);
    r->max_supported = sx_rd_u16(&rd);
    set_flags(r, sx_rd_u8(&rd));
    sx_rd_copy(&rd, r->ad, sizeof r->ad);
    get_pair(&rd, &r->dhs);
    r->ns = sx_rd_u32(&rd);
    r->nr = sx_rd_u32(&rd);
    r->pn = sx_rd_u32(&rd);
    get_chains(&rd, r);
    if (r->has_kem)
        get_kem(&rd, &r->kem);
    if (r->has_accepted) {
        sx_rd_copy(&rd, r->accepted.pk, SX_KEM_PK);
        sx_rd_copy(&rd, r->accepted.ct, SX_KEM_CT);
        sx_rd_copy(&rd, r->accepted.ss, SX_KEM_SS);
    }
    if (sx_rd_done(&rd) && versions_ok(r) && (r->has_kem || !r->has_accepted))
        return SIMPLEX_OK;
    sx_wipe(r, sizeof *r);
    return SIMPLEX_E_DECODE;
}

void sx_x3dh_keys_encode(struct sx_wr *w, const struct sx_x3dh_keys *k)
{
    sx_wr_u8(w, FORMAT);
    put_pair(w, &k->k1);
    put_pair(w, &k->k2);
    sx_wr_maybe(w, k->has_kem);
    if (k->has_kem)
        put_kem(w, &k->kem);
}

simplex_rc sx_x3dh_keys_decode(simplex_bytes in, struct sx_x3dh_keys *k)
{
    struct sx_rd rd = sx_rd_init(in);

    memset(k, 0, sizeof *k);
    if (sx_rd_u8(&rd) != FORMAT)
        return SIMPLEX_E_DECODE;
    get_pair(&rd, &k->k1);
    get_pair(&rd, &k->k2);
    k->has_kem = sx_rd_maybe(&rd);
    if (k->has_kem)
        get_kem(&rd, &k->kem);
    if (sx_rd_done(&rd))
        return SIMPLEX_OK;
    sx_x3dh_keys_wipe(k);
    return SIMPLEX_E_DECODE;
}

void sx_msg_key_encode(struct sx_wr *w, const struct sx_msg_key *k)
{
    sx_wr_u8(w, FORMAT);
    sx_wr_u16(w, k->version);
    sx_wr_raw(w, sx_bytes(k->ad, sizeof k->ad));
    sx_wr_raw(w, sx_bytes(k->mk, sizeof k->mk));
    sx_wr_raw(w, sx_bytes(k->iv, sizeof k->iv));
    sx_wr_large(w, sx_bytes(k->emh, k->emh_len));
}

simplex_rc sx_msg_key_decode(simplex_bytes in, struct sx_msg_key *k)
{
    struct sx_rd rd = sx_rd_init(in);

    memset(k, 0, sizeof *k);
    if (sx_rd_u8(&rd) != FORMAT)
        return SIMPLEX_E_DECODE;
    k->version = sx_rd_u16(&rd);
    sx_rd_copy(&rd, k->ad, sizeof k->ad);
    sx_rd_copy(&rd, k->mk, sizeof k->mk);
    sx_rd_copy(&rd, k->iv, sizeof k->iv);
    simplex_bytes emh = sx_rd_large(&rd);
    /* A version 2 message has a length byte in front of its header (section 3.4). */
    bool fits = emh.len <= sizeof k->emh && (k->version >= 3 || emh.len <= UINT8_MAX);
    if (!sx_rd_done(&rd) || !fits) {
        sx_msg_key_wipe(k);
        return SIMPLEX_E_DECODE;
    }
    if (emh.len > 0)
        memcpy(k->emh, emh.ptr, emh.len);
    k->emh_len = (uint16_t)emh.len;
    return SIMPLEX_OK;
}
