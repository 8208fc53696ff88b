/* SPDX-License-Identifier: Apache-2.0 */
/* States of ratchets in the recorded transcripts: the field names are the reference library's. */
#ifndef TESTS_RATCHET_FIELDS_H
#define TESTS_RATCHET_FIELDS_H

#include "ratchet/ratchet.h"
#include "support/vec.h"

static inline void to(void *out, simplex_bytes b, size_t n)
{
    assert_int_equal(b.len, n);
    memcpy(out, b.ptr, n);
}

static inline void load_pair(const cJSON *s, struct sx_keypair *k)
{
    struct sx_priv priv;

    assert_int_equal(sx_pkcs8_decode(vec_hex(s, "rcDHRs"), &priv), SIMPLEX_OK);
    assert_int_equal(priv.alg, SX_X448);
    assert_int_equal(sx_keypair_from_priv(&priv, k), SIMPLEX_OK);
}

static inline void load_kem(const cJSON *s, struct sx_ratchet *r)
{
    const cJSON *kem = vec_opt(s, "rcKEM");

    if (kem == NULL)
        return;
    const cJSON *pair = vec_get(kem, "rcPQRs"), *accepted = vec_opt(kem, "rcKEMs");
    to(r->kem.pk, vec_unhex(cJSON_GetArrayItem(pair, 0)->valuestring), SX_KEM_PK);
    to(r->kem.sk, vec_unhex(cJSON_GetArrayItem(pair, 1)->valuestring), SX_KEM_SK);
    r->has_kem = true;
    if (accepted == NULL)
        return;
    to(r->accepted.pk, vec_hex(accepted, "rcPQRr"), SX_KEM_PK);
    to(r->accepted.ct, vec_hex(accepted, "rcPQRct"), SX_KEM_CT);
    to(r->accepted.ss, vec_hex(accepted, "rcPQRss"), SX_KEM_SS);
    r->has_accepted = true;
}

static inline void load_chains(const cJSON *s, struct sx_ratchet *r)
{
    const cJSON *snd = vec_opt(s, "rcSnd"), *rcv = vec_opt(s, "rcRcv");

    if ((r->has_snd = snd != NULL)) {
        to(r->cks, vec_hex(snd, "rcCKs"), 32);
        to(r->hks, vec_hex(snd, "rcHKs"), 32);
    }
    if ((r->has_rcv = rcv != NULL)) {
        to(r->ckr, vec_hex(rcv, "rcCKr"), 32);
        to(r->hkr, vec_hex(rcv, "rcHKr"), 32);
    }
}

static inline void load(const cJSON *s, struct sx_ratchet *r)
{
    const cJSON *v = vec_get(s, "rcVersion");

    memset(r, 0, sizeof *r);
    r->current = (uint16_t)cJSON_GetArrayItem(v, 0)->valueint;
    r->max_supported = (uint16_t)cJSON_GetArrayItem(v, 1)->valueint;
    to(r->ad, vec_hex(s, "rcAD"), SX_RATCHET_AD);
    load_pair(s, &r->dhs);
    r->support_kem = vec_bool(s, "rcSupportKEM");
    r->enable_kem = vec_bool(s, "rcEnableKEM");
    r->snd_kem = vec_bool(s, "rcSndKEM");
    r->rcv_kem = vec_bool(s, "rcRcvKEM");
    to(r->rk, vec_hex(s, "rcRK"), 32);
    to(r->nhks, vec_hex(s, "rcNHKs"), 32);
    to(r->nhkr, vec_hex(s, "rcNHKr"), 32);
    r->ns = (uint32_t)vec_int(s, "rcNs");
    r->nr = (uint32_t)vec_int(s, "rcNr");
    r->pn = (uint32_t)vec_int(s, "rcPN");
    load_kem(s, r);
    load_chains(s, r);
}

/* What an operation changed. */
static inline void merge(cJSON *state, const cJSON *changed)
{
    const cJSON *c;

    vec_each(c, changed) {
        cJSON_DeleteItemFromObjectCaseSensitive(state, c->string);
        assert_true(cJSON_AddItemToObject(state, c->string, cJSON_Duplicate(c, 1)));
    }
}

#endif
