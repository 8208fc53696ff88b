/* SPDX-License-Identifier: Apache-2.0 */
/* What the recorded vectors do not show: refusals, tampering, limits, concurrent use. */
#include "support/vec.h"

#include <pthread.h>

#include <openssl/err.h>

#include "crypto/crypto.h"

static int start(void **state)
{
    (void)state;
    return sx_crypto_init();
}

/* Nothing may be left for the host's own use of OpenSSL to trip over. */
static int error_queue_is_clean(void **state)
{
    (void)state;
    vec_free_all();
    return ERR_peek_error() == 0 ? 0 : -1;
}

static simplex_bytes none(void)
{
    return sx_bytes(NULL, 0);
}

/* ---- keys ---- */

static const enum sx_alg algs[] = { SX_ED25519, SX_ED448, SX_X25519, SX_X448 };

static void generated_keys_survive_their_encodings(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct sx_keypair k, again;
        struct sx_priv priv;
        struct sx_pub pub;
        uint8_t buf[256];
        struct sx_wr w;

        assert_int_equal(sx_keypair_new(algs[i], &k), SIMPLEX_OK);
        sx_wr_fixed(&w, buf, sizeof buf);
        sx_pkcs8_encode(&k.priv, &w);
        assert_int_equal(sx_pkcs8_decode(sx_wr_bytes(&w), &priv), SIMPLEX_OK);
        assert_int_equal(sx_keypair_from_priv(&priv, &again), SIMPLEX_OK);
        assert_memory_equal(&again, &k, sizeof k);
        sx_wr_reset(&w);
        sx_wr_key(&w, &k.pub);
        sx_wr_u8(&w, 7);
        struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
        sx_rd_key(&r, &pub);
        assert_true(sx_pub_eq(&pub, &k.pub));
        assert_int_equal(sx_rd_u8(&r), 7);
        assert_true(sx_rd_done(&r));
        sx_keypair_wipe(&again);
        assert_int_equal(again.priv.alg, SX_NO_KEY);
    }
}

static void keys_of_unknown_kinds_are_refused(void **state)
{
    const enum sx_alg bad[] = { SX_NO_KEY, (enum sx_alg)5, (enum sx_alg)255 };
    uint8_t raw[SX_KEY_MAX] = { 1 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        struct sx_keypair k;
        struct sx_priv priv = { .alg = (uint8_t)bad[i] };
        struct sx_pub pub = { .alg = (uint8_t)bad[i] };
        uint8_t buf[256];
        struct sx_wr w;

        assert_int_equal(sx_key_len(bad[i]), 0);
        assert_int_equal(sx_sig_len(bad[i]), 0);
        assert_int_equal(sx_keypair_new(bad[i], &k), SIMPLEX_E_KEY);
        assert_int_equal(sx_keypair_from_priv(&priv, &k), SIMPLEX_E_KEY);
        sx_wr_fixed(&w, buf, sizeof buf);
        sx_spki_encode(&pub, &w);
        assert_true(w.bad);
        sx_wr_reset(&w);
        sx_pkcs8_encode(&priv, &w);
        assert_true(w.bad);
        sx_wr_reset(&w);
        sx_wr_key(&w, &pub);
        assert_true(w.bad);
        assert_int_equal(sx_pub_from_raw(bad[i], none(), &pub), SIMPLEX_E_KEY);
    }
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct sx_pub pub;
        size_t n = sx_key_len(algs[i]);

        assert_int_equal(sx_pub_from_raw(algs[i], sx_bytes(raw, n - 1), &pub), SIMPLEX_E_KEY);
        assert_int_equal(sx_pub_from_raw(algs[i], none(), &pub), SIMPLEX_E_KEY);
        assert_int_equal(sx_pub_from_raw(algs[i], sx_bytes(raw, n), &pub), SIMPLEX_OK);
    }
}

/* Any change of the prefix, and any other length, must be refused. */
static void der_prefixes_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct sx_keypair k;
        struct sx_pub pub;
        struct sx_priv priv;
        uint8_t spki[128] = { 0 }, pkcs8[128] = { 0 };
        struct sx_wr w, v;

        assert_int_equal(sx_keypair_new(algs[i], &k), SIMPLEX_OK);
        sx_wr_fixed(&w, spki, sizeof spki);
        sx_wr_fixed(&v, pkcs8, sizeof pkcs8);
        sx_spki_encode(&k.pub, &w);
        sx_pkcs8_encode(&k.priv, &v);
        for (size_t bit = 0; bit < 12 * 8; bit++) {
            spki[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(sx_spki_decode(sx_wr_bytes(&w), &pub), SIMPLEX_E_KEY);
            assert_int_equal(pub.alg, SX_NO_KEY);
            spki[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t bit = 0; bit < 16 * 8; bit++) {
            pkcs8[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(sx_pkcs8_decode(sx_wr_bytes(&v), &priv), SIMPLEX_E_KEY);
            pkcs8[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t n = 0; n < sizeof spki; n++) {
            assert_true((sx_spki_decode(sx_bytes(spki, n), &pub) == SIMPLEX_OK) == (n == w.len));
            assert_true((sx_pkcs8_decode(sx_bytes(pkcs8, n), &priv) == SIMPLEX_OK) == (n == v.len));
        }
    }
}

static void the_cursor_takes_only_the_kind_asked_for(void **state)
{
    struct sx_keypair k;
    struct sx_pub pub;
    uint8_t buf[256];
    struct sx_wr w;

    (void)state;
    assert_int_equal(sx_keypair_new(SX_X448, &k), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_wr_key(&w, &k.pub);
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
    sx_rd_key_of(&r, SX_X25519, &pub);
    assert_true(r.bad);
    assert_int_equal(pub.alg, SX_NO_KEY);
    r = sx_rd_init(sx_bytes(buf, w.len - 1));
    sx_rd_key(&r, &pub);
    assert_true(r.bad);
    r = sx_rd_init(none());
    sx_rd_key_of(&r, SX_NO_KEY, &pub);
    assert_true(r.bad);
}

static void keys_are_equal_only_to_themselves(void **state)
{
    struct sx_pub a = { .alg = SX_X25519 }, b;

    (void)state;
    sx_random(a.b, 32);
    b = a;
    assert_true(sx_pub_eq(&a, &b));
    b.b[40] = 9; /* behind the key */
    assert_true(sx_pub_eq(&a, &b));
    b.alg = SX_ED25519;
    assert_false(sx_pub_eq(&a, &b));
    b = a;
    b.b[31] ^= 0x80;
    assert_false(sx_pub_eq(&a, &b));
}

/* ---- signatures and agreement ---- */

static void signatures_do_not_survive_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sx_keypair k, other;
        uint8_t msg[50], sig[SX_SIG_MAX];
        size_t n;

        sx_random(msg, sizeof msg);
        simplex_bytes m = sx_bytes(msg, sizeof msg);
        assert_int_equal(sx_keypair_new(algs[i], &k), SIMPLEX_OK);
        assert_int_equal(sx_keypair_new(algs[i], &other), SIMPLEX_OK);
        assert_int_equal(sx_sign(&k, m, sig, &n), SIMPLEX_OK);
        assert_int_equal(n, sx_sig_len(algs[i]));
        assert_true(sx_verify(&k.pub, m, sx_bytes(sig, n)));
        assert_false(sx_verify(&other.pub, m, sx_bytes(sig, n)));
        assert_false(sx_verify(&k.pub, sx_bytes(msg, 49), sx_bytes(sig, n)));
        assert_false(sx_verify(&k.pub, none(), sx_bytes(sig, n)));
        for (size_t len = 0; len < n; len++)
            assert_false(sx_verify(&k.pub, m, sx_bytes(sig, len)));
        for (size_t byte = 0; byte < n; byte++) {
            sig[byte] ^= 1;
            assert_false(sx_verify(&k.pub, m, sx_bytes(sig, n)));
            sig[byte] ^= 1;
        }
        msg[7] ^= 1;
        assert_false(sx_verify(&k.pub, m, sx_bytes(sig, n)));
    }
}

static void only_signing_keys_sign(void **state)
{
    struct sx_keypair k, ed;
    uint8_t sig[SX_SIG_MAX] = { 0 };
    size_t n = 1;

    (void)state;
    assert_int_equal(sx_keypair_new(SX_ED25519, &ed), SIMPLEX_OK);
    for (size_t i = 2; i < 4; i++) {
        assert_int_equal(sx_keypair_new(algs[i], &k), SIMPLEX_OK);
        assert_int_equal(sx_sign(&k, none(), sig, &n), SIMPLEX_E_KEY);
        assert_int_equal(n, 0);
        assert_false(sx_verify(&k.pub, none(), none()));
        assert_false(sx_verify(&k.pub, none(), sx_bytes(sig, 64)));
        k.priv = ed.priv; /* halves of different kinds */
        assert_int_equal(sx_sign(&k, none(), sig, &n), SIMPLEX_E_KEY);
    }
}

static void both_sides_agree_and_mixed_kinds_do_not(void **state)
{
    struct sx_keypair a, b, ed;
    uint8_t x[SX_DH_MAX], y[SX_DH_MAX], zeros[SX_DH_MAX] = { 0 };

    (void)state;
    assert_int_equal(sx_keypair_new(SX_ED25519, &ed), SIMPLEX_OK);
    for (size_t i = 2; i < 4; i++) {
        struct sx_pub wrong;

        assert_int_equal(sx_keypair_new(algs[i], &a), SIMPLEX_OK);
        assert_int_equal(sx_keypair_new(algs[i], &b), SIMPLEX_OK);
        assert_int_equal(sx_dh(&a.priv, &b.pub, x), SIMPLEX_OK);
        assert_int_equal(sx_dh(&b.priv, &a.pub, y), SIMPLEX_OK);
        assert_memory_equal(x, y, sx_key_len(algs[i]));
        wrong = b.pub;
        wrong.alg = (uint8_t)(algs[i] == SX_X448 ? SX_X25519 : SX_X448);
        assert_int_equal(sx_dh(&a.priv, &wrong, x), SIMPLEX_E_KEY);
        assert_memory_equal(x, zeros, sizeof x);
        assert_int_equal(sx_dh(&a.priv, &ed.pub, x), SIMPLEX_E_KEY);
    }
    assert_int_equal(sx_dh(&ed.priv, &ed.pub, x), SIMPLEX_E_KEY);
}

/* ---- boxes ---- */

static void boxes_do_not_survive_changes(void **state)
{
    struct sx_box_key k, other;
    uint8_t secret[32], nonce[24], m[40], box[56], out[40];

    (void)state;
    sx_random(secret, sizeof secret);
    sx_random(nonce, sizeof nonce);
    sx_random(m, sizeof m);
    sx_box_key_init(&k, secret);
    secret[0] ^= 1;
    sx_box_key_init(&other, secret);
    sx_box_seal(&k, nonce, sx_bytes(m, sizeof m), box);
    simplex_bytes b = sx_bytes(box, sizeof box);
    for (size_t bit = 0; bit < sizeof box * 8; bit++) {
        box[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sx_box_open(&k, nonce, b, out), SIMPLEX_E_CRYPTO);
        box[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < sizeof box; n++)
        assert_int_equal(sx_box_open(&k, nonce, sx_bytes(box, n), out), SIMPLEX_E_CRYPTO);
    assert_int_equal(sx_box_open(&other, nonce, b, out), SIMPLEX_E_CRYPTO);
    assert_int_equal(sx_box_open(&k, nonce, b, out), SIMPLEX_OK);
    assert_memory_equal(out, m, sizeof m);
    nonce[23] ^= 1;
    assert_int_equal(sx_box_open(&k, nonce, b, out), SIMPLEX_E_CRYPTO);
}

static void boxes_work_in_place(void **state)
{
    struct sx_box_key k;
    uint8_t secret[32], nonce[24], a[1016], b[1016];
    simplex_bytes m;

    (void)state;
    sx_random(secret, sizeof secret);
    sx_random(nonce, sizeof nonce);
    sx_random(a, sizeof a);
    sx_box_key_init(&k, secret);
    sx_box_seal(&k, nonce, sx_bytes(a + 16, 1000), b);
    sx_box_seal(&k, nonce, sx_bytes(a + 16, 1000), a);
    assert_memory_equal(a, b, sizeof a);

    assert_int_equal(sx_box_seal_padded(&k, nonce, sx_str("twelve bytes"), 1000, a), SIMPLEX_OK);
    assert_int_equal(sx_box_open_padded(&k, nonce, a, sizeof a, &m), SIMPLEX_OK);
    assert_true(sx_bytes_eq(m, sx_str("twelve bytes")));
    assert_int_equal(sx_box_open_padded(&k, nonce, a, 15, &m), SIMPLEX_E_CRYPTO);
    assert_int_equal(m.len, 0);
    assert_int_equal(sx_box_seal_padded(&k, nonce, sx_bytes(b, 999), 1000, a), SIMPLEX_E_TOO_LARGE);
}

static void authenticators_do_not_survive_changes(void **state)
{
    struct sx_box_key k;
    uint8_t secret[32] = { 5 }, nonce[24] = { 6 }, a[SX_AUTHENTICATOR_LEN];

    (void)state;
    sx_box_key_init(&k, secret);
    sx_authenticate(&k, nonce, sx_str("command"), a);
    assert_true(sx_authenticated(&k, nonce, sx_str("command"), sx_bytes(a, sizeof a)));
    assert_false(sx_authenticated(&k, nonce, sx_str("commanD"), sx_bytes(a, sizeof a)));
    assert_false(sx_authenticated(&k, nonce, sx_str("command"), sx_bytes(a, 79)));
    assert_false(sx_authenticated(&k, nonce, sx_str("command"), none()));
    for (size_t i = 0; i < sizeof a; i++) {
        a[i] ^= 0x10;
        assert_false(sx_authenticated(&k, nonce, sx_str("command"), sx_bytes(a, sizeof a)));
        a[i] ^= 0x10;
    }
    nonce[0] ^= 1;
    assert_false(sx_authenticated(&k, nonce, sx_str("command"), sx_bytes(a, sizeof a)));
}

static void padding_may_move_data_inside_its_buffer(void **state)
{
    uint8_t buf[16] = "..abc...........";
    simplex_bytes m;

    (void)state;
    assert_int_equal(sx_pad(sx_bytes(buf + 2, 3), buf, sizeof buf), SIMPLEX_OK);
    assert_memory_equal(buf, "\0\3abc###########", 16);
    assert_int_equal(sx_pad(sx_bytes(buf, 14), buf, sizeof buf), SIMPLEX_OK);
    assert_int_equal(sx_unpad(sx_bytes(buf, sizeof buf), &m), SIMPLEX_OK);
    assert_memory_equal(m.ptr, "\0\3abc#########", 14);
    assert_int_equal(sx_pad(sx_bytes(buf, SIZE_MAX), buf, SIZE_MAX), SIMPLEX_E_TOO_LARGE);
}

/* ---- AES-GCM ---- */

struct gcm {
    uint8_t key[32], iv[16], text[33], cipher[33], tag[16];
};

static void gcm_setup(struct gcm *g, size_t iv_len)
{
    sx_random(g, sizeof *g);
    assert_int_equal(sx_gcm_encrypt(g->key, g->iv, iv_len, sx_str("a"), sx_str("bc"),
                                    sx_bytes(g->text, sizeof g->text), g->cipher, g->tag),
                     SIMPLEX_OK);
}

static simplex_rc gcm_open(const struct gcm *g, size_t iv_len, const char *ad1, const char *ad2,
                           uint8_t *out)
{
    return sx_gcm_decrypt(g->key, g->iv, iv_len, sx_str(ad1), sx_str(ad2),
                          sx_bytes(g->cipher, sizeof g->cipher), g->tag, out);
}

static void flip_each(struct gcm *g, size_t iv_len, uint8_t *at, size_t n)
{
    uint8_t out[33];

    for (size_t i = 0; i < n; i++) {
        at[i] ^= 4;
        assert_int_equal(gcm_open(g, iv_len, "a", "bc", out), SIMPLEX_E_CRYPTO);
        at[i] ^= 4;
    }
}

static void gcm_does_not_survive_changes(void **state)
{
    const size_t iv_lens[] = { 12, 16 };
    struct gcm g;
    uint8_t out[33];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t n = iv_lens[i];

        gcm_setup(&g, n);
        assert_int_equal(gcm_open(&g, n, "ab", "c", out), SIMPLEX_OK);
        assert_memory_equal(out, g.text, sizeof out);
        assert_int_equal(gcm_open(&g, n, "ab", "", out), SIMPLEX_E_CRYPTO);
        assert_int_equal(gcm_open(&g, n, "", "bc", out), SIMPLEX_E_CRYPTO);
        assert_int_equal(gcm_open(&g, 28 - n, "a", "bc", out), SIMPLEX_E_CRYPTO);
        flip_each(&g, n, g.key, sizeof g.key);
        flip_each(&g, n, g.iv, n);
        flip_each(&g, n, g.cipher, sizeof g.cipher);
        flip_each(&g, n, g.tag, sizeof g.tag);
        assert_int_equal(gcm_open(&g, n, "a", "bc", g.cipher), SIMPLEX_OK); /* in place */
        assert_memory_equal(g.cipher, g.text, sizeof g.text);
    }
}

static void gcm_refuses_other_lengths(void **state)
{
    const size_t bad[] = { 0, 8, 11, 13, 15, 17, 32 };
    uint8_t key[32] = { 0 }, iv[32] = { 0 }, tag[16], out[1];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++)
        assert_int_equal(sx_gcm_encrypt(key, iv, bad[i], none(), none(), none(), out, tag),
                         SIMPLEX_E_ARG);
    assert_int_equal(
        sx_gcm_encrypt(key, iv, 16, none(), none(), sx_bytes(out, (size_t)1 << 31), out, tag),
        SIMPLEX_E_ARG);
    /* nothing at all still has a tag */
    assert_int_equal(sx_gcm_encrypt(key, iv, 16, none(), none(), none(), NULL, tag), SIMPLEX_OK);
    assert_int_equal(sx_gcm_decrypt(key, iv, 16, none(), none(), none(), tag, NULL), SIMPLEX_OK);
    tag[15] ^= 1;
    assert_int_equal(sx_gcm_decrypt(key, iv, 16, none(), none(), none(), tag, NULL),
                     SIMPLEX_E_CRYPTO);
}

/* ---- HKDF, randomness, KEM ---- */

/* RFC 5869 defines every output as a prefix of the longer ones, up to 255 blocks. */
static void hkdf_has_its_limits(void **state)
{
    static uint8_t all[255 * 64 + 1], some[255 * 64];
    const size_t lens[] = { 0, 1, 63, 64, 65, 128, 255 * 64 };

    (void)state;
    assert_int_equal(sx_hkdf_sha512(none(), sx_str("ikm"), "info", all, sizeof all), SIMPLEX_E_ARG);
    assert_int_equal(sx_hkdf_sha512(none(), sx_str("ikm"), "info", all, 255 * 64), SIMPLEX_OK);
    for (size_t i = 0; i < SX_COUNT(lens); i++) {
        memset(some, 0xee, sizeof some);
        assert_int_equal(sx_hkdf_sha512(none(), sx_str("ikm"), "info", some, lens[i]), SIMPLEX_OK);
        if (lens[i] > 0)
            assert_memory_equal(some, all, lens[i]);
        if (lens[i] < sizeof some)
            assert_int_equal(some[lens[i]], 0xee);
    }
    assert_int_equal(sx_hkdf_sha512(none(), sx_str("ikm"), "Info", some, 64), SIMPLEX_OK);
    assert_memory_not_equal(some, all, 64);
    assert_int_equal(sx_hkdf_sha512(sx_str("s"), sx_str("ikm"), "info", some, 64), SIMPLEX_OK);
    assert_memory_not_equal(some, all, 64);
}

static void random_bytes_fill_what_was_asked_for(void **state)
{
    uint8_t a[66] = { 0 }, seen = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        sx_random(a + 1, 64);
        for (size_t j = 1; j < 65; j++)
            seen |= a[j];
    }
    assert_int_equal(seen, 0xff);
    assert_int_equal(a[0], 0);
    assert_int_equal(a[65], 0);
    sx_random(NULL, 0);
    for (uint32_t limit = 1; limit < 100; limit++)
        assert_true(sx_random_below(limit) < limit);
    assert_int_equal(sx_random_below(1), 0);
}

static void constant_time_comparison_compares(void **state)
{
    uint8_t a[32] = { 1, 2, 3 }, b[32] = { 1, 2, 3 };

    (void)state;
    assert_true(sx_equal_ct(a, b, sizeof a));
    assert_true(sx_equal_ct(NULL, NULL, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x80;
        assert_false(sx_equal_ct(a, b, sizeof a));
        b[i] ^= 0x80;
    }
}

static void kem_agrees_or_says_it_is_missing(void **state)
{
    uint8_t pk[SX_KEM_PK], sk[SX_KEM_SK], ct[SX_KEM_CT], a[SX_KEM_SS], b[SX_KEM_SS];

    (void)state;
    if (!sx_kem_available()) {
        assert_int_equal(sx_kem_keypair(pk, sk), SIMPLEX_E_UNSUPPORTED);
        assert_int_equal(sx_kem_encaps(pk, ct, a), SIMPLEX_E_UNSUPPORTED);
        assert_int_equal(sx_kem_decaps(ct, sk, a), SIMPLEX_E_UNSUPPORTED);
        return;
    }
    assert_int_equal(sx_kem_keypair(pk, sk), SIMPLEX_OK);
    assert_int_equal(sx_kem_encaps(pk, ct, a), SIMPLEX_OK);
    assert_int_equal(sx_kem_decaps(ct, sk, b), SIMPLEX_OK);
    assert_memory_equal(a, b, sizeof a);
    ct[3] ^= 1;
    assert_int_equal(sx_kem_decaps(ct, sk, b), SIMPLEX_OK);
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- base64 ---- */

static void base64_round_trips_every_length(void **state)
{
    uint8_t in[600], out[600];
    struct sx_wr w, u, s;

    (void)state;
    sx_random(in, sizeof in);
    sx_wr_init(&w, 4096);
    sx_wr_init(&u, 4096);
    sx_wr_init(&s, 4096);
    for (size_t n = 0; n <= sizeof in; n++) {
        size_t len = n;

        sx_wr_reset(&w);
        sx_wr_reset(&u);
        sx_wr_reset(&s);
        sx_b64url_encode(&w, sx_bytes(in, n));
        sx_b64url_encode_unpadded(&u, sx_bytes(in, n));
        sx_b64_encode(&s, sx_bytes(in, n));
        assert_int_equal(w.len, (n + 2) / 3 * 4);
        assert_int_equal(u.len, (n * 4 + 2) / 3);
        assert_int_equal(s.len, w.len);
        assert_int_equal(sx_b64url_decode(sx_wr_bytes(&w), out, &len), SIMPLEX_OK);
        assert_true(sx_bytes_eq(sx_bytes(out, len), sx_bytes(in, n)));
        len = sizeof out;
        assert_int_equal(sx_b64url_decode(sx_wr_bytes(&u), out, &len), SIMPLEX_OK);
        assert_true(sx_bytes_eq(sx_bytes(out, len), sx_bytes(in, n)));
        for (size_t i = 0; i < w.len; i++) {
            uint8_t c = w.p[i];
            assert_int_equal(s.p[i], c == '-' ? '+' : c == '_' ? '/' : c);
        }
    }
    sx_wr_free(&w);
    sx_wr_free(&u);
    sx_wr_free(&s);
}

static void base64_is_read_strictly(void **state)
{
    static const char *const bad[] = {
        "A",
        "AAAAA",
        "====",
        "=",
        "A===",
        "AA=",
        "AAA==",
        "AAAA=",
        "AAAA==",
        "AB",
        "AAB",
        "AAB=",
        "AB==",
        "AA==AA",
        "A A=",
        "AAA\n",
        "AA+A",
        "AA/A",
        "AAAA\nAAA",
        "AA.A",
        ("\xc3\xa9"
         "AA"), /* apart: AA would belong to the hexadecimal number */
        "AA=A",
        "AA==\n",
        "AAAA====",
    };
    uint8_t out[32];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        size_t len = sizeof out;
        if (sx_b64url_decode(sx_str(bad[i]), out, &len) != SIMPLEX_E_DECODE || len != 0)
            fail_msg("accepted %s", bad[i]);
    }
    size_t len = sizeof out;
    assert_int_equal(sx_b64url_decode(sx_bytes("AA\0A", 4), out, &len), SIMPLEX_E_DECODE);
}

static void base64_tells_how_much_room_it_needs(void **state)
{
    uint8_t out[3] = { 9, 9, 9 };
    size_t len = 2;

    (void)state;
    assert_int_equal(sx_b64url_decode(sx_str("AAAA"), out, &len), SIMPLEX_E_BUFFER);
    assert_int_equal(len, 3);
    assert_int_equal(out[0], 9);
    len = 1;
    assert_int_equal(sx_b64url_decode(sx_str("AA=="), out, &len), SIMPLEX_OK);
    assert_int_equal(len, 1);
    len = 0;
    assert_int_equal(sx_b64url_decode(none(), NULL, &len), SIMPLEX_OK);
    assert_int_equal(len, 0);
}

static void base64_stops_at_the_cap_of_the_writer(void **state)
{
    uint8_t in[300] = { 0 }, buf[399];
    struct sx_wr w;

    (void)state;
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_b64url_encode(&w, sx_bytes(in, sizeof in));
    assert_true(w.bad);
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        sx_wr_init(&w, 1000);
        sx_fault_malloc(nth);
        sx_b64url_encode(&w, sx_bytes(in, sizeof in));
        fired = sx_fault_disarm();
        assert_true(w.bad == fired);
        sx_wr_free(&w);
    }
}

/* ---- threads ---- */

#define THREADS 4

static uint8_t expected[64 * 6];
static struct sx_keypair shared_keys[4];

/* Everything that has a context of its own or shares one, chained so that any slip shows. */
static void work(uint8_t out[sizeof expected])
{
    uint8_t dh[SX_DH_MAX], sig[SX_SIG_MAX];
    size_t n;

    memset(out, 0, sizeof expected);
    sx_sha256(sx_str("m"), out);
    sx_sha512(sx_bytes(out, 32), out + 64);
    sx_sha3_384(sx_bytes(out + 64, 64), out + 128);
    sx_md5(sx_bytes(out + 128, 48), out + 176);
    assert_int_equal(sx_gcm_encrypt(out, out + 64, 16, sx_bytes(out + 64, 20), none(),
                                    sx_bytes(out + 128, 48), out + 192, out + 240),
                     SIMPLEX_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sx_sign(&shared_keys[i], sx_bytes(out, 256), sig, &n), SIMPLEX_OK);
        assert_true(sx_verify(&shared_keys[i].pub, sx_bytes(out, 256), sx_bytes(sig, n)));
        assert_int_equal(sx_dh(&shared_keys[2 + i].priv, &shared_keys[2 + i].pub, dh), SIMPLEX_OK);
        assert_int_equal(sx_hkdf_sha512(sx_bytes(sig, n), sx_bytes(dh, 32), "work", out + 256, 64),
                         SIMPLEX_OK);
        sx_sha3_256(sx_bytes(out + 256, 64), out + 320 + 32 * i);
    }
}

static void *worker(void *arg)
{
    bool *same = arg;
    uint8_t out[sizeof expected];

    *same = sx_crypto_init() == SIMPLEX_OK;
    for (int i = 0; i < 20; i++) {
        work(out);
        *same = *same && memcmp(out, expected, sizeof out) == 0;
    }
    return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
    pthread_t t[THREADS];
    bool same[THREADS];

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(sx_keypair_new(algs[i], &shared_keys[i]), SIMPLEX_OK);
    work(expected);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, worker, &same[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_true(same[i]);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, error_queue_is_clean)
    const struct CMUnitTest tests[] = {
        TEST(generated_keys_survive_their_encodings),
        TEST(keys_of_unknown_kinds_are_refused),
        TEST(der_prefixes_are_exact),
        TEST(the_cursor_takes_only_the_kind_asked_for),
        TEST(keys_are_equal_only_to_themselves),
        TEST(signatures_do_not_survive_changes),
        TEST(only_signing_keys_sign),
        TEST(both_sides_agree_and_mixed_kinds_do_not),
        TEST(boxes_do_not_survive_changes),
        TEST(boxes_work_in_place),
        TEST(authenticators_do_not_survive_changes),
        TEST(padding_may_move_data_inside_its_buffer),
        TEST(gcm_does_not_survive_changes),
        TEST(gcm_refuses_other_lengths),
        TEST(hkdf_has_its_limits),
        TEST(random_bytes_fill_what_was_asked_for),
        TEST(constant_time_comparison_compares),
        TEST(kem_agrees_or_says_it_is_missing),
        TEST(base64_round_trips_every_length),
        TEST(base64_is_read_strictly),
        TEST(base64_tells_how_much_room_it_needs),
        TEST(base64_stops_at_the_cap_of_the_writer),
        TEST(threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
