/* SPDX-License-Identifier: Apache-2.0 */
/* X3DH parameters, binary (protocol/agent.md sections 3.1 and 5.2). */
#include "wire/agent_msg.h"

void sx_kem_params_encode(struct sx_wr *w, const struct sx_kem_params *k)
{
    sx_wr_maybe(w, k->kind != SX_KEM_NONE);
    if (k->kind == SX_KEM_NONE)
        return;
    if (k->pk.len != SX_KEM_PK || (k->kind == SX_KEM_ACCEPTED && k->ct.len != SX_KEM_CT))
        w->bad = true;
    sx_wr_u8(w, k->kind);
    if (k->kind == SX_KEM_ACCEPTED)
        sx_wr_large(w, k->ct);
    sx_wr_large(w, k->pk);
}

void sx_kem_params_decode(struct sx_rd *r, struct sx_kem_params *k)
{
    *k = (struct sx_kem_params){ SX_KEM_NONE };
    if (!sx_rd_maybe(r))
        return;
    k->kind = sx_rd_u8(r);
    if (k->kind == SX_KEM_ACCEPTED) {
        k->ct = sx_rd_large(r);
        if (k->ct.len != SX_KEM_CT)
            r->bad = true;
    } else if (k->kind != SX_KEM_PROPOSED) {
        r->bad = true;
    }
    k->pk = sx_rd_large(r);
    if (k->pk.len != SX_KEM_PK)
        r->bad = true;
}

void sx_e2e_params_encode(struct sx_wr *w, const struct sx_e2e_params *p)
{
    sx_wr_u16(w, p->v.max);
    sx_wr_key(w, &p->k1);
    sx_wr_key(w, &p->k2);
    if (p->v.max >= 3)
        sx_kem_params_encode(w, &p->kem);
}

void sx_e2e_params_decode(struct sx_rd *r, struct sx_e2e_params *p)
{
    memset(p, 0, sizeof *p);
    p->v.min = p->v.max = sx_rd_u16(r);
    sx_rd_key_of(r, SX_X448, &p->k1);
    sx_rd_key_of(r, SX_X448, &p->k2);
    if (p->v.max >= 3)
        sx_kem_params_decode(r, &p->kem);
}

void sx_e2e_uri_encode(struct sx_wr *w, const struct sx_e2e_params *p)
{
    if (p->kem.kind == SX_KEM_ACCEPTED) /* there is nothing yet that a link could accept */
        w->bad = true;
    sx_range_encode(w, p->v);
    sx_wr_key(w, &p->k1);
    sx_wr_key(w, &p->k2);
    sx_kem_params_encode(w, &p->kem);
}

void sx_e2e_uri_decode(struct sx_rd *r, struct sx_e2e_params *p)
{
    memset(p, 0, sizeof *p);
    sx_range_decode(r, &p->v);
    sx_rd_key_of(r, SX_X448, &p->k1);
    sx_rd_key_of(r, SX_X448, &p->k2);
    sx_kem_params_decode(r, &p->kem);
    if (p->kem.kind == SX_KEM_ACCEPTED)
        r->bad = true;
}
