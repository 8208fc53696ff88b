/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decryption (section 3.5). A step works on a copy of the state; what the caller sees changes in
 * one place, commit(), once it is known whether the protocol wants the new state kept.
 */
#include "ratchet/internal.h"

enum chain { CHAIN_SAME, CHAIN_ADVANCE, CHAIN_SKIPPED };

struct opened { /* which key opened the header, and what is in it */
    enum chain chain;
    size_t skipped; /* CHAIN_SKIPPED: index of the key */
    struct sx_header h;
};

/* E_CRYPTO: not this key. The plain header is written to `room`; o->h borrows from there. */
static simplex_rc try_header(const struct sx_ratchet *r, const uint8_t hk[32],
                             const struct sx_ratchet_parts *p, uint8_t *room, struct sx_header *h)
{
    simplex_bytes plain;
    simplex_rc rc = sx_gcm_decrypt(hk, p->header_iv, 16, sx_bytes(r->ad, sizeof r->ad),
                                   sx_bytes(NULL, 0), p->header, p->header_tag, room);

    if (rc == SIMPLEX_OK && sx_unpad(sx_bytes(room, p->header.len), &plain) != SIMPLEX_OK)
        rc = SIMPLEX_E_CRYPTO; /* a header that is not padded counts as one that does not open */
    return rc == SIMPLEX_OK ? sx_header_decode(plain, p->version, h) : rc;
}

/* A key of a skipped message opened the header: the message is that one or a later one. */
static simplex_rc place_skipped(const struct sx_ratchet *r, const uint8_t hk[32], struct opened *o)
{
    o->skipped = sx_skipped_find(r, hk, o->h.n);
    if (o->skipped < r->n_skipped)
        o->chain = CHAIN_SKIPPED;
    else if (r->has_rcv && sx_equal_ct(hk, r->hkr, sizeof r->hkr))
        o->chain = CHAIN_SAME;
    else if (sx_equal_ct(hk, r->nhkr, sizeof r->nhkr))
        o->chain = CHAIN_ADVANCE;
    else
        return SIMPLEX_E_RATCHET_HEADER;
    return SIMPLEX_OK;
}

static simplex_rc open_header(const struct sx_ratchet *r, const struct sx_ratchet_parts *p,
                              uint8_t *room, struct opened *o)
{
    simplex_rc rc;

    /* One try a header key: the keys of a chain are made, and kept, side by side. At most one key
     * opens a header, so the order among them cannot be seen from outside. */
    for (size_t i = 0; i < r->n_skipped; i++) {
        const uint8_t *hk = r->skipped[i].hk;

        if (i > 0 && sx_equal_ct(hk, r->skipped[i - 1].hk, 32))
            continue;
        if ((rc = try_header(r, hk, p, room, &o->h)) == SIMPLEX_OK)
            return place_skipped(r, hk, o);
        if (rc != SIMPLEX_E_CRYPTO)
            return rc;
    }
    o->chain = CHAIN_SAME;
    if (r->has_rcv && (rc = try_header(r, r->hkr, p, room, &o->h)) != SIMPLEX_E_CRYPTO)
        return rc;
    o->chain = CHAIN_ADVANCE;
    rc = try_header(r, r->nhkr, p, room, &o->h);
    return rc == SIMPLEX_E_CRYPTO ? SIMPLEX_E_RATCHET_HEADER : rc;
}

static simplex_rc open_body(const struct sx_ratchet *r, const struct sx_ratchet_parts *p,
                            const uint8_t mk[32], const uint8_t iv[16], uint8_t *plain,
                            simplex_bytes *text)
{
    simplex_rc rc =
        sx_gcm_decrypt(mk, iv, 16, sx_bytes(r->ad, sizeof r->ad), p->emh, p->body, p->tag, plain);

    if (p->header.len > p->body.len) /* the plain header was longer than the message */
        sx_wipe(plain + p->body.len, p->header.len - p->body.len);
    if (rc == SIMPLEX_E_CRYPTO)
        return SIMPLEX_E_RATCHET_AES;
    return rc == SIMPLEX_OK ? sx_unpad(sx_bytes(plain, p->body.len), text) : rc;
}

/* Failures of a message that was found: its key is spent whatever comes of it (section 13). */
static bool keeps_state(simplex_rc rc)
{
    switch (rc) {
    case SIMPLEX_OK:
    case SIMPLEX_E_PADDING:
    case SIMPLEX_E_RATCHET_AES:
    case SIMPLEX_E_RATCHET_EARLIER:
    case SIMPLEX_E_RATCHET_SKIPPED:
    case SIMPLEX_E_RATCHET_DUPLICATE:
        return true;
    default:
        return false;
    }
}

static simplex_rc use_skipped(struct sx_ratchet *r, const struct sx_ratchet_parts *p, size_t at,
                              uint8_t *plain, struct sx_ratchet_in *res)
{
    const struct sx_skipped *s = &r->skipped[at];
    simplex_rc rc = open_body(r, p, s->mk, s->iv, plain, &res->text);

    if (!keeps_state(rc))
        return rc;
    res->saved = res->diff.removed = true;
    res->diff.gone = *s;
    sx_skipped_remove(r, at);
    return rc;
}

static void upgrade_version(struct sx_ratchet *r, uint16_t peer_max)
{
    uint16_t both = peer_max < r->max_supported ? peer_max : r->max_supported;

    if (both > r->current)
        r->current = both;
}

/* New chains in both directions from the peer's new key. */
static simplex_rc dh_step(struct sx_ratchet *n, const struct sx_header *h,
                          const struct sx_ratchet_fresh *fresh)
{
    struct sx_kem_secrets ss;
    struct sx_root_keys rcv = { { 0 }, { 0 }, { 0 } }, snd = { { 0 }, { 0 }, { 0 } };
    struct sx_keypair dhs = { { 0 }, { 0 } };

    simplex_rc rc = sx_kem_step(n, &h->kem, fresh, &ss);
    if (rc == SIMPLEX_OK)
        rc = sx_root_kdf(n->rk, &n->dhs.priv, &h->dh, ss.has_in ? ss.in : NULL, &rcv);
    if (rc == SIMPLEX_OK)
        rc = sx_dh_pair_new(fresh != NULL ? fresh->dh : NULL, &dhs);
    if (rc == SIMPLEX_OK)
        rc = sx_root_kdf(rcv.rk, &dhs.priv, &h->dh, ss.has_out ? ss.out : NULL, &snd);
    if (rc == SIMPLEX_OK) {
        n->dhs = dhs;
        memcpy(n->hks, n->nhks, 32);
        memcpy(n->hkr, n->nhkr, 32);
        memcpy(n->rk, snd.rk, 32);
        memcpy(n->cks, snd.ck, 32);
        memcpy(n->nhks, snd.nhk, 32);
        memcpy(n->ckr, rcv.ck, 32);
        memcpy(n->nhkr, rcv.nhk, 32);
        n->has_snd = n->has_rcv = true;
        n->pn = n->ns;
        n->ns = n->nr = 0;
    }
    sx_wipe(&ss, sizeof ss);
    sx_wipe(&rcv, sizeof rcv);
    sx_wipe(&snd, sizeof snd);
    sx_keypair_wipe(&dhs);
    return rc;
}

/* Message n.n of the receiving chain of `n`, which the caller moved there. */
static simplex_rc next_message(struct sx_ratchet *n, const struct sx_ratchet_parts *p,
                               uint8_t *plain, simplex_bytes *text)
{
    struct sx_chain_keys k;
    simplex_rc rc = sx_chain_kdf(n->ckr, &k);

    if (rc != SIMPLEX_OK)
        return rc;
    memcpy(n->ckr, k.ck, sizeof n->ckr);
    n->nr++;
    rc = open_body(n, p, k.mk, k.iv, plain, text);
    sx_wipe(&k, sizeof k);
    return rc;
}

static void commit(struct sx_ratchet *r, struct sx_ratchet *n, size_t staged,
                   struct sx_ratchet_in *res)
{
    sx_skip_commit(r, staged);
    n->skipped = r->skipped; /* may have grown since the copy was made */
    n->n_skipped = r->n_skipped;
    n->cap_skipped = r->cap_skipped;
    *r = *n;
    res->saved = true;
    res->diff.added = staged;
}

static simplex_rc follow_chain(struct sx_ratchet *r, const struct sx_ratchet_parts *p,
                               const struct opened *o, uint8_t *plain, struct sx_ratchet_in *res,
                               const struct sx_ratchet_fresh *fresh)
{
    struct sx_ratchet n = *r;
    size_t staged = 0;
    simplex_rc rc = SIMPLEX_OK;
    bool keep = false;

    upgrade_version(&n, o->h.max_version);
    if (o->chain == CHAIN_ADVANCE) { /* whatever fails here leaves the state alone */
        rc = sx_skip(r, &n, o->h.pn, &staged, &res->count);
        if (rc == SIMPLEX_OK)
            rc = dh_step(&n, &o->h, fresh);
    }
    if (rc == SIMPLEX_OK) {
        rc = sx_skip(r, &n, o->h.n, &staged, &res->count);
        if (rc == SIMPLEX_OK)
            rc = next_message(&n, p, plain, &res->text);
        keep = keeps_state(rc);
    }
    if (keep)
        commit(r, &n, staged, res);
    else
        sx_skip_drop(r, staged);
    sx_wipe(&n, sizeof n);
    return rc;
}

simplex_rc sx_ratchet_decrypt(struct sx_ratchet *r, simplex_bytes msg, uint8_t *plain,
                              struct sx_ratchet_in *res, const struct sx_ratchet_fresh *fresh)
{
    struct sx_ratchet_parts p;
    struct opened o = { .chain = CHAIN_SAME };

    memset(res, 0, sizeof *res);
    simplex_rc rc = sx_ratchet_parts_decode(msg, &p);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = open_header(r, &p, plain, &o);
    if (rc == SIMPLEX_OK && o.chain == CHAIN_SKIPPED)
        rc = use_skipped(r, &p, o.skipped, plain, res);
    else if (rc == SIMPLEX_OK)
        rc = follow_chain(r, &p, &o, plain, res, fresh);
    if (rc != SIMPLEX_OK) {
        sx_wipe(plain, msg.len);
        res->text = sx_bytes(NULL, 0);
    }
    return rc;
}
