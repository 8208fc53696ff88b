/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of messages that were skipped: kept until used, in the order they were made. */
#include "ratchet/internal.h"

void sx_ratchet_wipe(struct sx_ratchet *r)
{
    sx_free_secret(r->skipped, r->cap_skipped * sizeof *r->skipped);
    sx_wipe(r, sizeof *r);
}

/* By copy and wipe, never by realloc: freed memory must not hold keys. */
static bool reserve(struct sx_ratchet *r, size_t total)
{
    size_t cap = r->cap_skipped < 8 ? 8 : r->cap_skipped;

    if (total <= r->cap_skipped)
        return true;
    while (cap < total)
        cap *= 2;
    struct sx_skipped *v = sx_calloc(cap, sizeof *v);
    if (v == NULL)
        return false;
    if (r->cap_skipped > 0)
        memcpy(v, r->skipped, r->cap_skipped * sizeof *v); /* staged keys lie behind n_skipped */
    sx_free_secret(r->skipped, r->cap_skipped * sizeof *v);
    r->skipped = v;
    r->cap_skipped = cap;
    return true;
}

simplex_rc sx_ratchet_add_skipped(struct sx_ratchet *r, const struct sx_skipped *s)
{
    if (!reserve(r, r->n_skipped + 1))
        return SIMPLEX_E_NOMEM;
    r->skipped[r->n_skipped++] = *s;
    return SIMPLEX_OK;
}

/* The refusals of skip(until) in section 3.5; 64 bits, so that until + 1 cannot wrap. */
static simplex_rc check_until(uint64_t nr, uint64_t until, uint32_t *count)
{
    if (nr > until + 1) {
        *count = (uint32_t)(nr - until - 1);
        return SIMPLEX_E_RATCHET_EARLIER;
    }
    if (nr == until + 1)
        return SIMPLEX_E_RATCHET_DUPLICATE;
    if (until - nr > SX_RATCHET_MAX_SKIP) {
        uint64_t n = until + 1 - nr;
        *count = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
        return SIMPLEX_E_RATCHET_SKIPPED;
    }
    return SIMPLEX_OK;
}

simplex_rc sx_skip(struct sx_ratchet *r, struct sx_ratchet *next, uint32_t until, size_t *staged,
                   uint32_t *count)
{
    struct sx_chain_keys k;

    if (!next->has_rcv)
        return SIMPLEX_OK;
    simplex_rc rc = check_until(next->nr, until, count);
    if (rc != SIMPLEX_OK)
        return rc;
    if (!reserve(r, r->n_skipped + *staged + (until - next->nr)))
        return SIMPLEX_E_NOMEM;
    while (next->nr < until && (rc = sx_chain_kdf(next->ckr, &k)) == SIMPLEX_OK) {
        struct sx_skipped *s = &r->skipped[r->n_skipped + (*staged)++];

        memcpy(next->ckr, k.ck, 32);
        memcpy(s->hk, next->hkr, 32);
        memcpy(s->mk, k.mk, 32);
        memcpy(s->iv, k.iv, 16);
        s->n = next->nr++;
    }
    sx_wipe(&k, sizeof k);
    return rc;
}

void sx_skip_commit(struct sx_ratchet *r, size_t staged)
{
    r->n_skipped += staged;
}

void sx_skip_drop(struct sx_ratchet *r, size_t staged)
{
    if (staged > 0)
        sx_wipe(r->skipped + r->n_skipped, staged * sizeof *r->skipped);
}

size_t sx_skipped_find(const struct sx_ratchet *r, const uint8_t hk[32], uint32_t n)
{
    size_t i = 0;

    while (i < r->n_skipped &&
           (r->skipped[i].n != n || !sx_equal_ct(r->skipped[i].hk, hk, sizeof r->skipped[i].hk)))
        i++;
    return i;
}

void sx_skipped_remove(struct sx_ratchet *r, size_t at)
{
    r->n_skipped--;
    memmove(r->skipped + at, r->skipped + at + 1, (r->n_skipped - at) * sizeof *r->skipped);
    sx_wipe(r->skipped + r->n_skipped, sizeof *r->skipped);
}
