/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrapped at link time (-Wl,--wrap). Key agreement, signatures and boxes are most of the time of a
 * run and none of its subject: they get stand-ins with the same algebra and no security. X448 (the
 * ratchet's) and X25519 become an exponentiation modulo a 61-bit prime, signatures a hash, boxes a
 * quick key stream and a quick hash; the KEM is an exponentiation too.
 *
 * Certificates are real, and so are keys that were not made here: a made one is marked.
 *
 * The use of AES keys is watched: a key and IV must never encrypt two different messages, their
 * headers included.
 */
#include <sodium.h>
#include <stdlib.h>

#include "crypto/crypto.h"
#include "sim/sim.h"
#include "wire/smp.h"

#define PRIME ((UINT64_C(1) << 61) - 1)

static uint64_t load(const uint8_t *b)
{
    uint64_t v;

    memcpy(&v, b, sizeof v);
    return v;
}

/* ---- a quick hash of 128 bits ---- */

struct digest {
    uint64_t a, b;
};

static uint64_t fold(uint64_t x, uint64_t y)
{
    __extension__ typedef unsigned __int128 wide;
    wide p = (wide)x * y;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static void digest_two(struct digest *d, uint64_t x, uint64_t y)
{
    uint64_t a = fold(d->a ^ x, UINT64_C(0xa0761d6478bd642f) ^ y);

    d->b = fold(d->b ^ y, UINT64_C(0xe7037ed1a0b428db) ^ x) + a;
    d->a = a ^ (d->b << 1);
}

static void digest_add(struct digest *d, simplex_bytes m)
{
    uint8_t last[16] = { 0 };
    size_t at = 0;

    for (; m.len - at >= 16; at += 16)
        digest_two(d, load(m.ptr + at), load(m.ptr + at + 8));
    if (m.len > at)
        memcpy(last, m.ptr + at, m.len - at);
    digest_two(d, load(last), load(last + 8));
    digest_two(d, m.len, UINT64_C(0x8ebc6af09c88c6e3));
}

static struct digest digest_of(simplex_bytes a, simplex_bytes b, simplex_bytes c)
{
    struct digest d = { UINT64_C(0x589965cc75374cc3), UINT64_C(0x1d8e4e27c47d124f) };

    digest_add(&d, a);
    digest_add(&d, b);
    digest_add(&d, c);
    return d;
}

/* ---- no ratchet key is used twice ---- */

struct use {
    struct use *next;
    struct digest key, text; /* of key and IV; of what was encrypted */
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

static bool same(struct digest x, struct digest y)
{
    return x.a == y.a && x.b == y.b;
}

static void watch(const uint8_t key[32], simplex_bytes iv, simplex_bytes ad1, simplex_bytes ad2,
                  simplex_bytes plain)
{
    struct use *u = calloc(1, sizeof *u);

    SIM_CHECK(u != NULL);
    u->key = digest_of(sx_bytes(key, 32), iv, sx_bytes(NULL, 0));
    u->text = digest_of(ad1, ad2, plain);
    struct use **bucket = &uses[u->key.a % BUCKETS];
    for (const struct use *x = *bucket; x != NULL; x = x->next) {
        if (!same(x->key, u->key))
            continue;
        if (!same(x->text, u->text))
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
    /* A header leaves the device as part of a message alone (ad2), whose key is used once with it:
     * one of a message that could not be stored was never seen. */
    if (ad2.len > 0)
        watch(key, sx_bytes(iv, iv_len), ad1, ad2, plain);
    return __real_sx_gcm_encrypt(key, iv, iv_len, ad1, ad2, plain, out, tag);
}

/* ---- boxes ---- */

/* XOR with a key stream, in place. */
static void stream(const struct digest *seed, uint8_t *p, size_t n)
{
    uint64_t s = seed->a ^ seed->b, v;
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        s = s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        v = load(p + i) ^ s;
        memcpy(p + i, &v, sizeof v);
    }
    for (; i < n; i++)
        p[i] ^= (uint8_t)(seed->a >> 8 * (i % 8));
}

static struct digest box_tag(struct digest seed, simplex_bytes cipher)
{
    digest_add(&seed, cipher);
    return seed;
}

int __wrap_crypto_secretbox_easy(unsigned char *c, const unsigned char *m, unsigned long long n,
                                 const unsigned char *nonce, const unsigned char *k);
int __wrap_crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c,
                                      unsigned long long n, const unsigned char *nonce,
                                      const unsigned char *k);

int __wrap_crypto_secretbox_easy(unsigned char *c, const unsigned char *m, unsigned long long n,
                                 const unsigned char *nonce, const unsigned char *k)
{
    struct digest seed = digest_of(sx_bytes(k, 32), sx_bytes(nonce, 24), sx_bytes(NULL, 0));

    if (n > 0)
        memmove(c + 16, m, n);
    stream(&seed, c + 16, n);
    struct digest tag = box_tag(seed, sx_bytes(c + 16, n));
    memcpy(c, &tag, 16);
    return 0;
}

int __wrap_crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c,
                                      unsigned long long n, const unsigned char *nonce,
                                      const unsigned char *k)
{
    struct digest seed = digest_of(sx_bytes(k, 32), sx_bytes(nonce, 24), sx_bytes(NULL, 0));

    if (n < 16)
        return -1;
    struct digest tag = box_tag(seed, sx_bytes(c + 16, n - 16));
    if (memcmp(c, &tag, 16) != 0)
        return -1;
    if (n > 16)
        memmove(m, c + 16, n - 16);
    stream(&seed, m, n - 16);
    return 0;
}

/* ---- key agreement ---- */

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
    return load(b) % PRIME;
}

simplex_rc __real_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out);
simplex_rc __wrap_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out);

simplex_rc __wrap_sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out)
{
    if (priv->alg != pub->alg || (priv->alg != SX_X448 && priv->alg != SX_X25519))
        return __real_sx_dh(priv, pub, out);
    uint64_t secret = power(number(pub->b), number(priv->b));
    memset(out, 0, SX_DH_MAX);
    memcpy(out, &secret, sizeof secret);
    return secret > 1 ? SIMPLEX_OK : SIMPLEX_E_KEY;
}

/* ---- keys ---- */

#define MARK UINT64_C(0x5349534d4c554d4f) /* at the end of the seeds of Ed25519 that are ours */

simplex_rc __real_sx_keypair_from_priv(const struct sx_priv *priv, struct sx_keypair *out);
simplex_rc __wrap_sx_keypair_from_priv(const struct sx_priv *priv, struct sx_keypair *out);
simplex_rc __wrap_sx_keypair_new(enum sx_alg alg, struct sx_keypair *out);

static void toy_pair(const struct sx_priv *priv, struct sx_keypair *out)
{
    memset(out, 0, sizeof *out);
    out->priv = *priv;
    out->pub.alg = priv->alg;
    if (priv->alg == SX_ED25519) {
        struct digest d = digest_of(sx_bytes(priv->b, 32), sx_str("public"), sx_bytes(NULL, 0));
        memcpy(out->pub.b, &d, sizeof d);
    } else {
        uint64_t pub = power(3, number(priv->b));
        memcpy(out->pub.b, &pub, sizeof pub);
    }
}

static bool is_toy(const struct sx_priv *priv)
{
    switch (priv->alg) {
    case SX_X25519:
    case SX_X448:
        return true;
    case SX_ED25519:
        return load(priv->b + 24) == MARK;
    default:
        return false;
    }
}

simplex_rc __wrap_sx_keypair_from_priv(const struct sx_priv *priv, struct sx_keypair *out)
{
    if (!is_toy(priv))
        return __real_sx_keypair_from_priv(priv, out);
    toy_pair(priv, out);
    return SIMPLEX_OK;
}

simplex_rc __wrap_sx_keypair_new(enum sx_alg alg, struct sx_keypair *out)
{
    struct sx_priv priv = { .alg = (uint8_t)alg };
    const uint64_t mark = MARK;

    sx_random(priv.b, alg == SX_ED25519 || alg == SX_ED448 ? sx_key_len(alg) : 8);
    if (alg == SX_ED25519)
        memcpy(priv.b + 24, &mark, sizeof mark);
    return __wrap_sx_keypair_from_priv(&priv, out);
}

/* ---- signatures: whoever has the public key could make them ---- */

static void toy_signature(const struct sx_pub *k, simplex_bytes msg, uint8_t out[64])
{
    struct digest d = digest_of(sx_bytes(k->b, sx_key_len(k->alg)), msg, sx_bytes(NULL, 0));

    for (size_t i = 0; i < 64; i += sizeof d)
        memcpy(out + i, &d, sizeof d);
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
    if (k->pub.alg != SX_ED25519)
        return __real_sx_sign(k, msg, sig, sig_len);
    toy_signature(&k->pub, msg, sig);
    *sig_len = 64;
    return SIMPLEX_OK;
}

bool __wrap_sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig)
{
    uint8_t want[64];

    if (k->alg != SX_ED25519)
        return __real_sx_verify(k, msg, sig);
    toy_signature(k, msg, want);
    return sig.len == sizeof want && memcmp(sig.ptr, want, sizeof want) == 0;
}

/* ---- the KEM of the ratchet ---- */

static void kem_secret(uint64_t shared, uint8_t ss[SX_KEM_SS])
{
    struct digest d = digest_of(sx_bytes((const uint8_t *)&shared, sizeof shared), sx_str("kem"),
                                sx_bytes(NULL, 0));

    memcpy(ss, &d, sizeof d);
    memcpy(ss + sizeof d, &d, sizeof d);
}

simplex_rc __real_sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK]);
simplex_rc __wrap_sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK]);
simplex_rc __wrap_sx_kem_encaps(const uint8_t pk[SX_KEM_PK], uint8_t ct[SX_KEM_CT],
                                uint8_t ss[SX_KEM_SS]);
simplex_rc __wrap_sx_kem_decaps(const uint8_t ct[SX_KEM_CT], const uint8_t sk[SX_KEM_SK],
                                uint8_t ss[SX_KEM_SS]);

simplex_rc __wrap_sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK])
{
    if (!sx_kem_available())
        return __real_sx_kem_keypair(pk, sk);
    memset(pk, 0, SX_KEM_PK);
    memset(sk, 0, SX_KEM_SK);
    sx_random(sk, 8);
    uint64_t pub = power(3, number(sk));
    memcpy(pk, &pub, sizeof pub);
    return SIMPLEX_OK;
}

simplex_rc __wrap_sx_kem_encaps(const uint8_t pk[SX_KEM_PK], uint8_t ct[SX_KEM_CT],
                                uint8_t ss[SX_KEM_SS])
{
    uint8_t priv[8];

    sx_random(priv, sizeof priv);
    uint64_t pub = power(3, number(priv));
    memset(ct, 0, SX_KEM_CT);
    memcpy(ct, &pub, sizeof pub);
    kem_secret(power(number(pk), number(priv)), ss);
    return SIMPLEX_OK;
}

simplex_rc __wrap_sx_kem_decaps(const uint8_t ct[SX_KEM_CT], const uint8_t sk[SX_KEM_SK],
                                uint8_t ss[SX_KEM_SS])
{
    kem_secret(power(number(ct), number(sk)), ss);
    return SIMPLEX_OK;
}
