/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrapped at link time (-Wl,--wrap). Key agreement and signatures are most of the time of a run and
 * none of its subject: they get stand-ins with the same algebra and no security. X448 (the
 * ratchet's) becomes an exponentiation modulo a 61-bit prime, signatures a hash.
 *
 * The use of AES keys is watched: a key and IV must never encrypt two different things.
 */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "sim/sim.h"
#include "wire/smp.h"

/* ---- no ratchet key is used twice ---- */

struct use {
    struct use *next;
    uint8_t key[32], text[32]; /* hashes: of key and IV; of what was encrypted */
};

#define BUCKETS 4096
static struct use *uses[BUCKETS];
uint64_t sim_seals;

void sim_keys_clear(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (uses[i] != NULL) {
            struct use *u = uses[i];
            uses[i] = u->next;
            free(u);
        }
    }
    sim_seals = 0;
}

static void hash(simplex_bytes a, simplex_bytes b, simplex_bytes c, uint8_t out[32])
{
    static uint8_t all[3 * SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, all, sizeof all);
    sx_wr_large(&w, a);
    sx_wr_large(&w, b);
    sx_wr_large(&w, c);
    SIM_CHECK(!w.bad);
    sx_sha256(sx_wr_bytes(&w), out);
}

static void watch(const uint8_t key[32], simplex_bytes iv, simplex_bytes ad1, simplex_bytes ad2,
                  simplex_bytes plain)
{
    struct use *u = calloc(1, sizeof *u);

    SIM_CHECK(u != NULL);
    hash(sx_bytes(key, 32), iv, sx_bytes(NULL, 0), u->key);
    hash(ad1, ad2, plain, u->text);
    struct use **bucket = &uses[(u->key[0] | u->key[1] << 8) % BUCKETS];
    for (const struct use *x = *bucket; x != NULL; x = x->next) {
        if (memcmp(x->key, u->key, 32) != 0)
            continue;
        if (memcmp(x->text, u->text, 32) != 0)
            sim_fail("a key of a ratchet encrypts a second message");
        free(u); /* the same again: a repeat */
        return;
    }
    u->next = *bucket;
    *bucket = u;
    sim_seals++;
}

simplex_rc __real_sx_gcm_encrypt(const uint8_t *key, const uint8_t *iv, size_t iv_len,
                                 simplex_bytes ad1, simplex_bytes ad2, simplex_bytes plain,
                                 uint8_t *out, uint8_t *tag);
simplex_rc __wrap_sx_gcm_encrypt(const uint8_t *key, const uint8_t *iv, size_t iv_len,
                                 simplex_bytes ad1, simplex_bytes ad2, simplex_bytes plain,
                                 uint8_t *out, uint8_t *tag);

simplex_rc __wrap_sx_gcm_encrypt(const uint8_t *key, const uint8_t *iv, size_t iv_len,
                                 simplex_bytes ad1, simplex_bytes ad2, simplex_bytes plain,
                                 uint8_t *out, uint8_t *tag)
{
    watch(key, sx_bytes(iv, iv_len), ad1, ad2, plain);
    return __real_sx_gcm_encrypt(key, iv, iv_len, ad1, ad2, plain, out, tag);
}

/* ---- key agreement ---- */

#define PRIME ((UINT64_C(1) << 61) - 1)

static uint64_t mul(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide x = (wide)a * b;
    uint64_t r = (uint64_t)(x & PRIME) + (uint64_t)(x >> 61);

    return r >= PRIME ? r - PRIME : r;
}

static uint64_t power(uint64_t base, uint64_t e)
{
    uint64_t r = 1;

    for (base %= PRIME; e > 0; e >>= 1, base = mul(base, base)) {
        if (e & 1)
            r = mul(r, base);
    }
    return r;
}

static uint64_t number(const uint8_t *b)
{
    uint64_t v;

    memcpy(&v, b, sizeof v);
    return v % PRIME;
}

simplex_rc __real_sx_keypair_new(enum sx_alg alg, struct sx_keypair *out);
simplex_rc __wrap_sx_keypair_new(enum sx_alg alg, struct sx_keypair *out);
simplex_rc __real_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out);
simplex_rc __wrap_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out);

simplex_rc __wrap_sx_keypair_new(enum sx_alg alg, struct sx_keypair *out)
{
    if (alg != SX_X448)
        return __real_sx_keypair_new(alg, out);
    memset(out, 0, sizeof *out);
    out->pub.alg = out->priv.alg = SX_X448;
    sx_random(out->priv.b, 8);
    uint64_t pub = power(3, number(out->priv.b));
    memcpy(out->pub.b, &pub, sizeof pub);
    return SIMPLEX_OK;
}

simplex_rc __wrap_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out)
{
    if (priv->alg != SX_X448 || pub->alg != SX_X448)
        return __real_sx_dh(priv, pub, out);
    uint64_t secret = power(number(pub->b), number(priv->b));
    memset(out, 0, SX_DH_MAX);
    memcpy(out, &secret, sizeof secret);
    return secret > 1 ? SIMPLEX_OK : SIMPLEX_E_KEY;
}

/* ---- signatures ---- */

static void toy_signature(const struct sx_pub *k, simplex_bytes msg, uint8_t out[64])
{
    hash(sx_bytes(k->b, sx_key_len(k->alg)), msg, sx_bytes(NULL, 0), out);
    memcpy(out + 32, out, 32);
}

simplex_rc __real_sx_sign(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig,
                          size_t *sig_len);
simplex_rc __wrap_sx_sign(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig,
                          size_t *sig_len);
bool __real_sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig);
bool __wrap_sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig);

simplex_rc __wrap_sx_sign(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig,
                          size_t *sig_len)
{
    if (k->pub.alg != SX_ED25519 || msg.len > 2 * SX_BLOCK)
        return __real_sx_sign(k, msg, sig, sig_len);
    toy_signature(&k->pub, msg, sig);
    *sig_len = 64;
    return SIMPLEX_OK;
}

bool __wrap_sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig)
{
    uint8_t want[64];

    if (k->alg != SX_ED25519 || msg.len > 2 * SX_BLOCK)
        return __real_sx_verify(k, msg, sig);
    toy_signature(k, msg, want);
    return sig.len == sizeof want && memcmp(sig.ptr, want, sizeof want) == 0;
}
