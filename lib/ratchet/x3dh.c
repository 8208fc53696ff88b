/* SPDX-License-Identifier: Apache-2.0 */
/* X3DH parameters and the first state of both sides (sections 3.1-3.3). */
#include "ratchet/internal.h"

void sx_x3dh_keys_wipe(struct sx_x3dh_keys *k)
{
    sx_wipe(k, sizeof *k);
}

simplex_rc sx_dh_pair_new(const struct sx_keypair *fresh, struct sx_keypair *out)
{
    if (fresh == NULL)
        return sx_keypair_new(SX_X448, out);
    *out = *fresh;
    return SIMPLEX_OK;
}

static simplex_rc dh_keys_new(const struct sx_ratchet_fresh *fresh, struct sx_x3dh_keys *out)
{
    simplex_rc rc = sx_dh_pair_new(fresh != NULL ? fresh->k1 : NULL, &out->k1);

    if (rc == SIMPLEX_OK)
        rc = sx_dh_pair_new(fresh != NULL ? fresh->k2 : NULL, &out->k2);
    return rc;
}

simplex_rc sx_x3dh_keys_new(bool with_kem, struct sx_x3dh_keys *out)
{
    memset(out, 0, sizeof *out);
    simplex_rc rc = dh_keys_new(NULL, out);
    if (rc == SIMPLEX_OK && with_kem)
        rc = sx_kem_pair_new(NULL, &out->kem);
    if (rc != SIMPLEX_OK)
        sx_x3dh_keys_wipe(out);
    else
        out->has_kem = with_kem;
    return rc;
}

void sx_x3dh_params(const struct sx_x3dh_keys *k, struct sx_range v, struct sx_e2e_params *out)
{
    *out = (struct sx_e2e_params){ .v = v, .k1 = k->k1.pub, .k2 = k->k2.pub };
    if (k->has_kem && v.max >= 3)
        out->kem = (struct sx_kem_params){ SX_KEM_PROPOSED, sx_bytes(k->kem.pk, SX_KEM_PK),
                                           sx_bytes(NULL, 0) };
}

static bool version_ok(uint16_t v)
{
    return v >= SX_E2E_MIN && v <= SX_E2E_MAX;
}

static bool peer_keys_ok(const struct sx_e2e_params *p)
{
    return p->k1.alg == SX_X448 && p->k2.alg == SX_X448 &&
           (p->kem.kind == SX_KEM_NONE || p->kem.pk.len == SX_KEM_PK) &&
           (p->kem.kind != SX_KEM_ACCEPTED || p->kem.ct.len == SX_KEM_CT);
}

static void set_common(struct sx_ratchet *r, uint16_t version, const struct sx_pub *joiner,
                       const struct sx_pub *initiator)
{
    r->current = version;
    r->max_supported = SX_E2E_MAX;
    memcpy(r->ad, joiner->b, SX_X448_LEN);
    memcpy(r->ad + SX_X448_LEN, initiator->b, SX_X448_LEN);
}

/* J: the KEM part of r is in place, everything else follows from it. */
static simplex_rc start_sending(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                                const struct sx_x3dh_keys *own,
                                const struct sx_ratchet_fresh *fresh)
{
    const struct sx_priv *const priv[3] = { &own->k2.priv, &own->k1.priv, &own->k2.priv };
    const struct sx_pub *const pub[3] = { &peer->k1, &peer->k2, &peer->k2 };
    const uint8_t *ss = r->has_accepted ? r->accepted.ss : NULL;
    struct sx_x3dh_secret s;
    struct sx_root_keys root = { { 0 }, { 0 }, { 0 } };

    simplex_rc rc = sx_dh_pair_new(fresh != NULL ? fresh->dh : NULL, &r->dhs);
    if (rc == SIMPLEX_OK)
        rc = sx_x3dh_agree(priv, pub, ss, &s);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_root_kdf(s.sk, &r->dhs.priv, &peer->k2, ss, &root);
    r->support_kem = r->enable_kem = r->has_kem;
    r->snd_kem = r->has_accepted;
    r->has_snd = true;
    memcpy(r->rk, root.rk, 32);
    memcpy(r->cks, root.ck, 32);
    memcpy(r->nhks, root.nhk, 32);
    memcpy(r->hks, s.hk, 32);
    memcpy(r->nhkr, s.nhk, 32);
    sx_wipe(&s, sizeof s);
    sx_wipe(&root, sizeof root);
    return rc;
}

static simplex_rc check_send(const struct sx_e2e_params *peer, uint16_t version)
{
    if (!version_ok(version))
        return SIMPLEX_E_VERSION;
    if (!peer_keys_ok(peer))
        return SIMPLEX_E_KEY;
    /* Links and AgentRatchetKey allow only a proposal (section 3.1). */
    return peer->kem.kind == SX_KEM_ACCEPTED ? SIMPLEX_E_RATCHET_KEM : SIMPLEX_OK;
}

/* replyKEM of section 3.2: answer the proposal of the link, or propose. */
static simplex_rc reply_kem(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                            struct sx_x3dh_keys *own, const struct sx_ratchet_fresh *fresh)
{
    simplex_rc rc = sx_kem_pair_new(fresh, &own->kem);

    if (rc != SIMPLEX_OK)
        return rc;
    own->has_kem = r->has_kem = true;
    r->kem = own->kem;
    return peer->kem.kind == SX_KEM_PROPOSED ? sx_kem_accept(r, peer->kem.pk, fresh) : SIMPLEX_OK;
}

static void reply_params(const struct sx_ratchet *r, const struct sx_x3dh_keys *own,
                         struct sx_e2e_params *out)
{
    *out = (struct sx_e2e_params){ .v = { r->current, r->current },
                                   .k1 = own->k1.pub,
                                   .k2 = own->k2.pub };
    if (r->has_kem) {
        out->kem.kind = r->has_accepted ? SX_KEM_ACCEPTED : SX_KEM_PROPOSED;
        out->kem.pk = sx_bytes(r->kem.pk, SX_KEM_PK);
        if (r->has_accepted)
            out->kem.ct = sx_bytes(r->accepted.ct, SX_KEM_CT);
    }
}

simplex_rc sx_ratchet_init_send(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                                uint16_t version, bool pq, struct sx_x3dh_keys *own,
                                struct sx_e2e_params *params, const struct sx_ratchet_fresh *fresh)
{
    memset(r, 0, sizeof *r);
    memset(own, 0, sizeof *own);
    simplex_rc rc = check_send(peer, version);
    if (rc == SIMPLEX_OK)
        rc = dh_keys_new(fresh, own);
    if (rc == SIMPLEX_OK && pq && version >= 3 && sx_kem_available())
        rc = reply_kem(r, peer, own, fresh);
    if (rc == SIMPLEX_OK) {
        set_common(r, version, &own->k1.pub, &peer->k1);
        rc = start_sending(r, peer, own, fresh);
    }
    if (rc != SIMPLEX_OK) {
        sx_ratchet_wipe(r);
        sx_x3dh_keys_wipe(own);
        return rc;
    }
    reply_params(r, own, params);
    return SIMPLEX_OK;
}

simplex_rc sx_ratchet_init_send_with(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                                     uint16_t version, const struct sx_x3dh_keys *own,
                                     const struct sx_ratchet_fresh *fresh)
{
    memset(r, 0, sizeof *r);
    simplex_rc rc = check_send(peer, version);
    if (rc != SIMPLEX_OK)
        return rc;
    if (own->has_kem && version >= 3 && sx_kem_available()) {
        r->kem = own->kem;
        r->has_kem = true;
    }
    set_common(r, version, &own->k1.pub, &peer->k1);
    if ((rc = start_sending(r, peer, own, fresh)) != SIMPLEX_OK)
        sx_ratchet_wipe(r);
    return rc;
}

/* The peer accepted our key: keep the pair for the first step, and the secret they sent with it. */
static simplex_rc take_accepted(struct sx_ratchet *r, const struct sx_x3dh_keys *own,
                                const struct sx_kem_params *kem)
{
    if (!own->has_kem || r->current < 3)
        return SIMPLEX_E_RATCHET_KEM;
    r->kem = own->kem;
    r->has_kem = r->has_accepted = true;
    memcpy(r->accepted.pk, kem->pk.ptr, SX_KEM_PK);
    memcpy(r->accepted.ct, kem->ct.ptr, SX_KEM_CT);
    return sx_kem_decaps(kem->ct.ptr, own->kem.sk, r->accepted.ss);
}

static simplex_rc start_receiving(struct sx_ratchet *r, const struct sx_x3dh_keys *own,
                                  const struct sx_e2e_params *peer, bool pq)
{
    const struct sx_priv *const priv[3] = { &own->k1.priv, &own->k2.priv, &own->k2.priv };
    const struct sx_pub *const pub[3] = { &peer->k2, &peer->k1, &peer->k2 };
    struct sx_x3dh_secret s;
    simplex_rc rc = SIMPLEX_OK;

    set_common(r, peer->v.max, &peer->k1, &own->k1.pub);
    if (peer->kem.kind == SX_KEM_ACCEPTED)
        rc = take_accepted(r, own, &peer->kem);
    if (rc == SIMPLEX_OK)
        rc = sx_x3dh_agree(priv, pub, r->has_accepted ? r->accepted.ss : NULL, &s);
    if (rc != SIMPLEX_OK)
        return rc;
    r->dhs = own->k2;
    r->support_kem = r->enable_kem = pq && r->current >= 3 && sx_kem_available();
    memcpy(r->rk, s.sk, 32);
    memcpy(r->nhks, s.nhk, 32);
    memcpy(r->nhkr, s.hk, 32);
    sx_wipe(&s, sizeof s);
    return SIMPLEX_OK;
}

simplex_rc sx_ratchet_init_receive(struct sx_ratchet *r, const struct sx_x3dh_keys *own,
                                   const struct sx_e2e_params *peer, bool pq)
{
    memset(r, 0, sizeof *r);
    if (!version_ok(peer->v.max) || peer->v.min != peer->v.max)
        return SIMPLEX_E_VERSION;
    if (!peer_keys_ok(peer))
        return SIMPLEX_E_KEY;
    simplex_rc rc = start_receiving(r, own, peer, pq);
    if (rc != SIMPLEX_OK)
        sx_ratchet_wipe(r);
    return rc;
}
