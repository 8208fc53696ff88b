/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SignedKey (smp.md section 4):
 *   SEQUENCE { SEQUENCE { SPKI }, AlgorithmIdentifier, BIT STRING signature }
 * The SEQUENCE around the SPKI is what the reference writes; the signature covers it whole.
 */
#include "crypto/x509.h"

#define INNER_LEN 46
#define SPKI_LEN 44

static const uint8_t inner_head[] = { 0x30, 0x2c };

static const struct layout {
    uint8_t head_len;
    const char *head;
    const char *middle; /* algorithm, then tag, length and unused bits of the signature */
} layouts[] = {
    [SX_ED25519] = { 2, "\x30\x78", "\x30\x05\x06\x03\x2b\x65\x70\x03\x41\x00" },
    [SX_ED448] = { 3, "\x30\x81\xaa", "\x30\x05\x06\x03\x2b\x65\x71\x03\x73\x00" },
};
#define MIDDLE_LEN 10

static bool signable(unsigned alg)
{
    return alg == SX_X25519 || alg == SX_ED25519;
}

static const struct layout *layout_of(unsigned leaf_alg)
{
    return leaf_alg == SX_ED25519 || leaf_alg == SX_ED448 ? &layouts[leaf_alg] : NULL;
}

simplex_rc sx_signed_key_encode(struct sx_wr *w, const struct sx_pub *key,
                                const struct sx_keypair *leaf)
{
    const struct layout *l = layout_of(leaf->pub.alg);
    uint8_t inner[INNER_LEN], sig[SX_SIG_MAX];
    size_t sig_len;
    struct sx_wr in;

    if (l == NULL || !signable(key->alg))
        return SIMPLEX_E_KEY;
    sx_wr_fixed(&in, inner, sizeof inner);
    sx_wr_raw(&in, sx_bytes(inner_head, sizeof inner_head));
    sx_spki_encode(key, &in);
    simplex_rc rc = sx_sign(leaf, sx_wr_bytes(&in), sig, &sig_len);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_raw(w, sx_bytes(l->head, l->head_len));
    sx_wr_raw(w, sx_wr_bytes(&in));
    sx_wr_raw(w, sx_bytes(l->middle, MIDDLE_LEN));
    sx_wr_raw(w, sx_bytes(sig, sig_len));
    return SIMPLEX_OK;
}

static bool takes(struct sx_rd *r, const char *want, size_t n)
{
    return sx_bytes_eq(sx_rd_take(r, n), sx_bytes(want, n));
}

simplex_rc sx_signed_key_verify(simplex_bytes der, const struct sx_pub *leaf, struct sx_pub *key)
{
    const struct layout *l = layout_of(leaf->alg);
    struct sx_rd r = sx_rd_init(der);
    struct sx_pub k;

    memset(key, 0, sizeof *key);
    if (l == NULL)
        return SIMPLEX_E_KEY;
    bool ok = takes(&r, l->head, l->head_len);
    simplex_bytes inner = sx_rd_take(&r, INNER_LEN);
    ok = takes(&r, l->middle, MIDDLE_LEN) && ok;
    simplex_bytes sig = sx_rd_take(&r, sx_sig_len(leaf->alg));
    if (!ok || !sx_rd_done(&r) || memcmp(inner.ptr, inner_head, sizeof inner_head) != 0)
        return SIMPLEX_E_DECODE;
    if (sx_spki_decode(sx_bytes(inner.ptr + sizeof inner_head, SPKI_LEN), &k) != SIMPLEX_OK ||
        !signable(k.alg))
        return SIMPLEX_E_DECODE;
    if (!sx_verify(leaf, inner, sig))
        return SIMPLEX_E_SIGNATURE;
    *key = k;
    return SIMPLEX_OK;
}
