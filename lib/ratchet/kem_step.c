/* SPDX-License-Identifier: Apache-2.0 */
/* The KEM beside the DH: what a received header does to our pair and secrets (section 3.6). */
#include "ratchet/internal.h"

simplex_rc sx_kem_pair_new(const struct sx_ratchet_fresh *fresh, struct sx_kem_pair *out)
{
    if (fresh == NULL || fresh->kem == NULL)
        return sx_kem_keypair(out->pk, out->sk);
    *out = *fresh->kem;
    return SIMPLEX_OK;
}

simplex_rc sx_kem_accept(struct sx_ratchet *r, simplex_bytes pk,
                         const struct sx_ratchet_fresh *fresh)
{
    memcpy(r->accepted.pk, pk.ptr, SX_KEM_PK);
    r->has_accepted = true;
    if (fresh == NULL || fresh->ct == NULL || fresh->ss == NULL)
        return sx_kem_encaps(pk.ptr, r->accepted.ct, r->accepted.ss);
    memcpy(r->accepted.ct, fresh->ct, SX_KEM_CT);
    memcpy(r->accepted.ss, fresh->ss, SX_KEM_SS);
    return SIMPLEX_OK;
}

/* Whether the answer to a header with KEM field `in` has a key of ours in it. */
static bool offers_key(const struct sx_ratchet *r, const struct sx_kem_params *in)
{
    if (!r->enable_kem || r->current < 3 || !sx_kem_available())
        return false;
    return in->kind != SX_KEM_NONE || !r->has_kem;
}

simplex_rc sx_kem_step(struct sx_ratchet *r, const struct sx_kem_params *in,
                       const struct sx_ratchet_fresh *fresh, struct sx_kem_secrets *out)
{
    bool offer = offers_key(r, in);
    simplex_rc rc = SIMPLEX_OK;

    memset(out, 0, sizeof *out);
    if (in->kind == SX_KEM_ACCEPTED) {
        if (!r->has_kem)
            return SIMPLEX_E_RATCHET_KEM;
        if ((rc = sx_kem_decaps(in->ct.ptr, r->kem.sk, out->in)) != SIMPLEX_OK)
            return rc;
        out->has_in = true;
    }
    sx_wipe(&r->accepted, sizeof r->accepted);
    sx_wipe(&r->kem, sizeof r->kem);
    r->has_accepted = false;
    r->has_kem = offer;
    if (offer && in->kind != SX_KEM_NONE) {
        rc = sx_kem_accept(r, in->pk, fresh);
        memcpy(out->out, r->accepted.ss, SX_KEM_SS);
        out->has_out = true;
    }
    if (rc == SIMPLEX_OK && offer)
        rc = sx_kem_pair_new(fresh, &r->kem);
    r->rcv_kem = out->has_in;
    r->snd_kem = out->has_out;
    /* A proposal that is not answered switches the wish off: callers repeat their flag. */
    r->enable_kem = out->has_in || out->has_out || r->has_kem;
    return rc;
}
