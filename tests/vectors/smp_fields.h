/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the SMP vectors, for the two files that replay them. */
#ifndef TESTS_SMP_FIELDS_H
#define TESTS_SMP_FIELDS_H

#include "support/vec.h"
#include "wire/smp.h"

static inline simplex_bytes keep(struct sx_wr *w)
{
    assert_false(w->bad);
    uint8_t *p = vec_keep(w->len);
    if (w->len > 0)
        memcpy(p, w->p, w->len);
    simplex_bytes b = sx_bytes(p, w->len);
    sx_wr_free(w);
    return b;
}

static inline struct sx_wr writer(void)
{
    struct sx_wr w;

    sx_wr_init(&w, 1 << 20);
    return w;
}

static inline struct sx_pub key_field(const cJSON *f, const char *name)
{
    struct sx_pub k;

    assert_int_equal(sx_spki_decode(vec_hex(f, name), &k), SIMPLEX_OK);
    return k;
}

static inline bool has(const cJSON *f, const char *name)
{
    return vec_opt(f, name) != NULL;
}

/* The vectors hold the chain and the signed key in one piece, as they stand in hellos as well. */
static inline void split_chain(simplex_bytes both, simplex_bytes *chain, simplex_bytes *signed_key)
{
    struct sx_rd r = sx_rd_init(both);
    unsigned n = sx_rd_u8(&r);

    for (unsigned i = 0; i < n; i++)
        (void)sx_rd_large(&r);
    *chain = sx_bytes(both.ptr, both.len - r.left);
    *signed_key = sx_rd_large(&r);
    assert_true(sx_rd_done(&r));
}

#endif
