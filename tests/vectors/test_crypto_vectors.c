/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of crypto.json, and the vectors printed in smp.md section 12 and agent.md section 0. */
#include "support/vec.h"

#include "crypto/x509.h"

#define RECORDED_AT 1795392000 /* 2026-11-23, the day after */
#define YEAR_4700 INT64_C(86150000000)

static cJSON *json;

static int load(void **state)
{
    (void)state;
    json = vec_load("crypto.json");
    return sx_crypto_init();
}

static int unload(void **state)
{
    (void)state;
    cJSON_Delete(json);
    vec_free_all();
    return 0;
}

/* The array at obj.key, which has exactly `count` rows: none may vanish. */
static const cJSON *rows(const cJSON *obj, const char *key, int count)
{
    const cJSON *a = vec_get(obj, key);

    assert_int_equal(cJSON_GetArraySize(a), count);
    return a;
}

static uint8_t *buffer(size_t n)
{
    return vec_keep(n);
}

static bool wants_error(const cJSON *row, const char *error)
{
    if (vec_opt(row, "error") == NULL)
        return false;
    assert_string_equal(vec_text(row, "error"), error);
    return true;
}

static struct sx_priv priv_of(enum sx_alg alg, simplex_bytes raw)
{
    struct sx_priv k = { .alg = (uint8_t)alg };

    assert_int_equal(raw.len, sx_key_len(alg));
    memcpy(k.b, raw.ptr, raw.len);
    return k;
}

static struct sx_pub pub_of(enum sx_alg alg, simplex_bytes raw)
{
    struct sx_pub k;

    assert_int_equal(sx_pub_from_raw(alg, raw, &k), SIMPLEX_OK);
    return k;
}

static enum sx_alg alg_of(const char *name)
{
    static const char *const names[] = { "none", "ed25519", "ed448", "x25519", "x448" };

    for (size_t i = 1; i < SX_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum sx_alg)i;
    }
    fail_msg("unknown algorithm %s", name);
    return SX_NO_KEY;
}

/* ---- padding ---- */

static void pads_as_recorded(void **state)
{
    const cJSON *row;
    uint8_t hash[32];

    (void)state;
    vec_each(row, rows(json, "pad", 14))
    {
        size_t n = (size_t)vec_int(row, "padded_len");
        uint8_t *out = buffer(n);
        simplex_bytes msg = vec_hex_opt(row, "msg");

        if (vec_opt(row, "msg_fill") != NULL) {
            msg.len = (size_t)vec_int(row, "msg_len");
            msg.ptr = memset(buffer(msg.len), vec_hex(row, "msg_fill").ptr[0], msg.len);
        }
        simplex_rc rc = sx_pad(msg, out, n);
        if (wants_error(row, "too large")) {
            assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
            continue;
        }
        assert_int_equal(rc, SIMPLEX_OK);
        if (vec_opt(row, "result") != NULL) {
            vec_assert_eq(sx_bytes(out, n), vec_hex(row, "result"), "pad");
            continue;
        }
        assert_int_equal(vec_int(row, "result_len"), n);
        sx_sha256(sx_bytes(out, n), hash);
        vec_assert_eq(sx_bytes(hash, 32), vec_hex(row, "result_sha256"), "pad hash");
        vec_assert_eq(sx_bytes(out, 4), vec_hex(row, "result_prefix"), "pad prefix");
        vec_assert_eq(sx_bytes(out + n - 4, 4), vec_hex(row, "result_suffix"), "pad suffix");
    }
}

static void unpads_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "unpad", 11))
    {
        simplex_bytes m;
        simplex_rc rc = sx_unpad(vec_hex(row, "padded"), &m);

        if (wants_error(row, "bad padding")) {
            assert_int_equal(rc, SIMPLEX_E_PADDING);
            continue;
        }
        assert_int_equal(rc, SIMPLEX_OK);
        vec_assert_eq(m, vec_hex(row, "result"), "unpad");
    }
}

static void knows_what_can_be_padded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "can_pad", 8))
    {
        size_t len = (size_t)vec_int(row, "len"), n = (size_t)vec_int(row, "padded_len");
        simplex_rc rc = sx_pad(sx_bytes(buffer(len), len), buffer(n), n);

        assert_int_equal(rc, vec_bool(row, "result") ? SIMPLEX_OK : SIMPLEX_E_TOO_LARGE);
    }
}

/* ---- keys ---- */

static void check_encodings(const cJSON *row, const struct sx_keypair *k)
{
    uint8_t buf[256];
    struct sx_wr w;
    struct sx_pub pub;
    struct sx_priv priv;

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_spki_encode(&k->pub, &w);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "pub_spki"), "SPKI");
    assert_int_equal(sx_spki_decode(sx_wr_bytes(&w), &pub), SIMPLEX_OK);
    assert_memory_equal(&pub, &k->pub, sizeof pub);

    sx_wr_reset(&w);
    sx_pkcs8_encode(&k->priv, &w);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "priv_pkcs8"), "PKCS8");
    assert_int_equal(sx_pkcs8_decode(sx_wr_bytes(&w), &priv), SIMPLEX_OK);
    assert_memory_equal(&priv, &k->priv, sizeof priv);

    sx_wr_reset(&w);
    sx_wr_key(&w, &k->pub);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "pub_wire"), "wire");
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
    sx_rd_key_of(&r, k->pub.alg, &pub);
    assert_true(sx_rd_done(&r) && sx_pub_eq(&pub, &k->pub));
}

static void check_text(const cJSON *row)
{
    uint8_t buf[256], der[SX_SPKI_MAX];
    size_t len = sizeof der;
    struct sx_wr w;
    simplex_bytes text = sx_str(vec_text(row, "pub_text"));

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_b64url_encode(&w, vec_hex(row, "pub_spki"));
    vec_assert_eq(sx_wr_bytes(&w), text, "text");
    assert_int_equal(sx_b64url_decode(text, der, &len), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(der, len), vec_hex(row, "pub_spki"), "text decoded");
}

static void keys_have_the_recorded_forms(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "keys", 7))
    {
        struct sx_priv priv = priv_of(alg_of(vec_text(row, "alg")), vec_hex(row, "priv_raw"));
        struct sx_keypair k;

        assert_int_equal(sx_keypair_from_priv(&priv, &k), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(k.pub.b, sx_key_len(k.pub.alg)), vec_hex(row, "pub_raw"), "public");
        check_encodings(row, &k);
        check_text(row);
    }
}

/* Rows where the reference is lax by accident (vectors/README.md, smp.md section 14): refused. */
static bool stricter_here(const cJSON *row)
{
    return strstr(vec_text(row, "what"), "unused bits") != NULL ||
           strcmp(vec_text(row, "what"), "version 1 with public key") == 0;
}

static void keys_are_accepted_as_recorded(void **state)
{
    const cJSON *row;
    int strict = 0;

    (void)state;
    vec_each(row, rows(json, "key_decode", 19))
    {
        bool accept = strcmp(vec_text(row, "accepted_as_auth_key"), "accepted") == 0;
        simplex_bytes der = vec_hex(row, "der");
        struct sx_pub pub;
        struct sx_priv priv;

        if (stricter_here(row)) {
            strict++;
            accept = false;
        }
        bool spki = strcmp(vec_text(row, "kind"), "spki") == 0;
        simplex_rc rc = spki ? sx_spki_decode(der, &pub) : sx_pkcs8_decode(der, &priv);
        if (rc != (accept ? SIMPLEX_OK : SIMPLEX_E_KEY))
            fail_msg("%s: %d", vec_text(row, "what"), rc);
        if (!spki)
            continue;
        bool dh = strcmp(vec_text(row, "accepted_as_dh_key"), "accepted") == 0;
        assert_true((rc == SIMPLEX_OK && pub.alg == SX_X25519) == dh);
    }
    assert_int_equal(strict, 2);
}

/* ---- Diffie-Hellman ---- */

static void agree(enum sx_alg alg, const cJSON *list)
{
    const cJSON *row;

    vec_each(row, list)
    {
        struct sx_priv priv = priv_of(alg, vec_hex(row, "priv"));
        struct sx_pub pub = pub_of(alg, vec_hex(row, "peer_pub"));
        simplex_bytes want = vec_hex(row, "secret");
        uint8_t got[SX_DH_MAX], zeros[SX_DH_MAX] = { 0 };

        simplex_rc rc = sx_dh(&priv, &pub, got);
        bool weak = memcmp(want.ptr, zeros, want.len) == 0;
        assert_int_equal(rc, weak ? SIMPLEX_E_KEY : SIMPLEX_OK);
        vec_assert_eq(sx_bytes(got, want.len), want, "secret");
    }
}

static void agrees_on_the_recorded_secrets(void **state)
{
    (void)state;
    agree(SX_X25519, rows(vec_get(json, "dh"), "x25519", 5));
    agree(SX_X448, rows(vec_get(json, "dh"), "x448", 4));
}

/* ---- boxes ---- */

static struct sx_box_key box_key(const cJSON *row, const char *member)
{
    simplex_bytes secret = vec_hex(row, member);
    struct sx_box_key k;

    assert_int_equal(secret.len, 32);
    sx_box_key_init(&k, secret.ptr);
    return k;
}

static void seal_padded(const cJSON *row, const struct sx_box_key *k, size_t n)
{
    simplex_bytes msg = vec_hex(row, "msg"), m;
    const uint8_t *nonce = vec_hex(row, "nonce").ptr;
    uint8_t *out = buffer(n + SX_BOX_TAG);
    simplex_rc rc = sx_box_seal_padded(k, nonce, msg, n, out);

    if (wants_error(row, "too large")) {
        assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
        return;
    }
    assert_int_equal(rc, SIMPLEX_OK);
    vec_assert_eq(sx_bytes(out, n + SX_BOX_TAG), vec_hex(row, "result"), vec_text(row, "what"));
    assert_int_equal(sx_box_open_padded(k, nonce, out, n + SX_BOX_TAG, &m), SIMPLEX_OK);
    vec_assert_eq(m, msg, "opened");
}

static void seal(const cJSON *row, const struct sx_box_key *k)
{
    simplex_bytes msg = vec_hex(row, "msg");
    const uint8_t *nonce = vec_hex(row, "nonce").ptr;
    uint8_t *out = buffer(msg.len + SX_BOX_TAG);

    sx_box_seal(k, nonce, msg, out);
    simplex_bytes box = sx_bytes(out, msg.len + SX_BOX_TAG);
    vec_assert_eq(box, vec_hex(row, "result"), vec_text(row, "what"));
    assert_int_equal(sx_box_open(k, nonce, box, out + SX_BOX_TAG), SIMPLEX_OK); /* in place */
    vec_assert_eq(sx_bytes(out + SX_BOX_TAG, msg.len), msg, "opened");
}

static void seals_boxes_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(vec_get(json, "nacl"), "encrypt", 23))
    {
        struct sx_box_key k = box_key(row, "key");
        const char *what = vec_text(row, "what");

        if (vec_opt(row, "padded_len") != NULL)
            seal_padded(row, &k, (size_t)vec_int(row, "padded_len"));
        else if (strncmp(what, "cbEncryptMaxLenBS with maximum length 30", 40) == 0)
            seal_padded(row, &k, 32);
        else
            seal(row, &k);
    }
}

static void opens_boxes_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(vec_get(json, "nacl"), "decrypt", 10))
    {
        struct sx_box_key k = box_key(row, "key");
        const uint8_t *nonce = vec_hex(row, "nonce").ptr;
        simplex_bytes packet = vec_hex(row, "packet"), m;
        uint8_t *copy = memcpy(buffer(packet.len), packet.ptr, packet.len);
        simplex_rc rc;

        if (strncmp(vec_text(row, "what"), "no unpadding", 12) == 0) {
            rc = sx_box_open(&k, nonce, packet, copy);
            m = sx_bytes(copy, packet.len - SX_BOX_TAG);
        } else {
            rc = sx_box_open_padded(&k, nonce, copy, packet.len, &m);
        }
        if (vec_opt(row, "error") == NULL) {
            assert_int_equal(rc, SIMPLEX_OK);
            vec_assert_eq(m, vec_hex(row, "result"), vec_text(row, "what"));
        } else {
            bool padding = strcmp(vec_text(row, "error"), "bad padding") == 0;
            assert_true(padding || wants_error(row, "decrypt"));
            assert_int_equal(rc, padding ? SIMPLEX_E_PADDING : SIMPLEX_E_CRYPTO);
        }
    }
}

static void makes_nonces_as_recorded(void **state)
{
    const cJSON *nacl = vec_get(json, "nacl"), *row;
    uint8_t nonce[SX_NONCE_LEN];

    (void)state;
    vec_each(row, rows(nacl, "cbNonce", 6))
    {
        sx_nonce_from(vec_hex(row, "bytes"), nonce);
        vec_assert_eq(sx_bytes(nonce, sizeof nonce), vec_hex(row, "nonce"), "nonce");
    }
    vec_each(row, rows(nacl, "reverseNonce", 2))
    {
        sx_nonce_reverse(vec_hex(row, "nonce").ptr, nonce);
        vec_assert_eq(sx_bytes(nonce, sizeof nonce), vec_hex(row, "reversed"), "reversed");
        sx_nonce_reverse(nonce, nonce);
        vec_assert_eq(sx_bytes(nonce, sizeof nonce), vec_hex(row, "nonce"), "reversed twice");
    }
}

static void authenticates_as_recorded(void **state)
{
    const cJSON *all = vec_get(json, "cb_authenticate"), *row;
    struct sx_box_key k = box_key(all, "secret");
    struct sx_priv priv = priv_of(SX_X25519, vec_hex(all, "priv"));
    struct sx_pub pub = pub_of(SX_X25519, vec_hex(all, "peer_pub"));
    uint8_t secret[SX_DH_MAX], nonce[SX_NONCE_LEN], out[SX_AUTHENTICATOR_LEN];

    (void)state;
    assert_int_equal(sx_dh(&priv, &pub, secret), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(secret, 32), vec_hex(all, "secret"), "secret");
    vec_each(row, rows(all, "cases", 4))
    {
        simplex_bytes want = vec_hex(row, "authenticator"), msg = vec_hex(row, "msg");

        sx_nonce_from(vec_hex(row, "corr_id"), nonce);
        vec_assert_eq(sx_bytes(nonce, sizeof nonce), vec_hex(row, "nonce"), "nonce");
        sx_authenticate(&k, nonce, msg, out);
        vec_assert_eq(sx_bytes(out, sizeof out), want, "authenticator");
        assert_true(sx_authenticated(&k, nonce, msg, want));
        out[40] ^= 1;
        assert_false(sx_authenticated(&k, nonce, msg, sx_bytes(out, sizeof out)));
    }
}

/* ---- chain keys of encrypted blocks ---- */

static void walk_chain(const cJSON *steps, const uint8_t first[32])
{
    uint8_t ck[32], okm[88];
    const cJSON *row;

    memcpy(ck, first, 32);
    vec_each(row, steps)
    {
        vec_assert_eq(sx_bytes(ck, 32), vec_hex(row, "chain_key"), "chain key");
        assert_int_equal(
            sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, 32), "SimpleXSbChain", okm, sizeof okm),
            SIMPLEX_OK);
        vec_assert_eq(sx_bytes(okm + 32, 32), vec_hex(row, "sb_key"), "key");
        vec_assert_eq(sx_bytes(okm + 64, 24), vec_hex(row, "sb_nonce"), "nonce");
        memcpy(ck, okm, 32);
        vec_assert_eq(sx_bytes(ck, 32), vec_hex(row, "next_chain_key"), "next chain key");
    }
}

/* A block under the first key of the server's chain. */
static void check_block(const cJSON *chain)
{
    const cJSON *row = vec_get(chain, "block_example");
    const cJSON *step = cJSON_GetArrayItem(vec_get(chain, "steps_ck1"), 0);
    struct sx_box_key k = box_key(step, "sb_key");
    size_t n = (size_t)vec_int(row, "block_len");
    uint8_t *block = buffer(n), hash[32];

    assert_int_equal(vec_int(row, "padded_len") + SX_BOX_TAG, n);
    assert_int_equal(sx_box_seal_padded(&k, vec_hex(step, "sb_nonce").ptr, vec_hex(row, "content"),
                                        n - SX_BOX_TAG, block),
                     SIMPLEX_OK);
    sx_sha256(sx_bytes(block, n), hash);
    vec_assert_eq(sx_bytes(block, 64), vec_hex(row, "block_prefix_64"), "block");
    vec_assert_eq(sx_bytes(hash, 32), vec_hex(row, "block_sha256"), "block hash");
}

static void block_chains_are_as_recorded(void **state)
{
    const cJSON *chain = vec_get(json, "secretbox_chain");
    uint8_t okm[64];

    (void)state;
    assert_int_equal(sx_hkdf_sha512(vec_hex(chain, "salt"), vec_hex(chain, "secret"),
                                    "SimpleXSbChainInit", okm, sizeof okm),
                     SIMPLEX_OK);
    vec_assert_eq(sx_bytes(okm, 32), vec_hex(chain, "ck1_server_to_client"), "ck1");
    vec_assert_eq(sx_bytes(okm + 32, 32), vec_hex(chain, "ck2_client_to_server"), "ck2");
    walk_chain(rows(chain, "steps_ck1", 5), okm);
    walk_chain(rows(chain, "steps_ck2", 5), okm + 32);
    check_block(chain);
}

/* ---- signatures, hashes, HKDF ---- */

static void signs_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(vec_get(json, "sign"), "cases", 6))
    {
        struct sx_priv priv = priv_of(alg_of(vec_text(row, "alg")), vec_hex(row, "priv"));
        simplex_bytes msg = vec_hex(row, "msg");
        struct sx_keypair k;
        uint8_t sig[SX_SIG_MAX];
        size_t n;

        assert_int_equal(sx_keypair_from_priv(&priv, &k), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(k.pub.b, sx_key_len(k.pub.alg)), vec_hex(row, "pub"), "public key");
        assert_int_equal(sx_sign(&k, msg, sig, &n), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(sig, n), vec_hex(row, "sig"), "signature");
        assert_true(sx_verify(&k.pub, msg, sx_bytes(sig, n)));
        sig[n / 3] ^= 1;
        assert_false(sx_verify(&k.pub, msg, sx_bytes(sig, n)));
    }
}

static void hashes_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "hash", 6))
    {
        simplex_bytes m = vec_hex(row, "msg");
        uint8_t h[64];

        sx_sha256(m, h);
        vec_assert_eq(sx_bytes(h, 32), vec_hex(row, "sha256"), "SHA-256");
        sx_sha512(m, h);
        vec_assert_eq(sx_bytes(h, 64), vec_hex(row, "sha512"), "SHA-512");
        sx_sha3_256(m, h);
        vec_assert_eq(sx_bytes(h, 32), vec_hex(row, "sha3_256"), "SHA3-256");
        sx_sha3_384(m, h);
        vec_assert_eq(sx_bytes(h, 48), vec_hex(row, "sha3_384"), "SHA3-384");
        vec_assert_eq(sx_bytes(h, 24), vec_hex(row, "sender_id_from_corr_id"), "sender id");
    }
}

static void derives_keys_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "hkdf", 10))
    {
        const char *info = vec_text(row, "info_ascii");
        size_t n = (size_t)vec_int(row, "len");
        uint8_t *okm = buffer(n);

        vec_assert_eq(sx_str(info), vec_hex(row, "info"), "info");
        assert_int_equal(sx_hkdf_sha512(vec_hex(row, "salt"), vec_hex(row, "ikm"), info, okm, n),
                         SIMPLEX_OK);
        vec_assert_eq(sx_bytes(okm, n), vec_hex(row, "okm"), info);
    }
}

/* ---- AES-GCM ---- */

/* Additional data given whole and split in two: the parts are joined. */
static void encrypt_both_ways(const cJSON *row, simplex_bytes plain, simplex_bytes ad)
{
    simplex_bytes key = vec_hex(row, "key"), iv = vec_hex(row, "iv"), ct = vec_hex(row, "ct");
    uint8_t *out = buffer(plain.len), tag[SX_GCM_TAG];
    const size_t cuts[] = { 0, ad.len / 2, ad.len };

    assert_int_equal(key.len, 32);
    for (size_t i = 0; i < SX_COUNT(cuts); i++) {
        simplex_bytes a = sx_bytes(ad.ptr, cuts[i]),
                      b = sx_bytes(ad.ptr + cuts[i], ad.len - cuts[i]);

        assert_int_equal(sx_gcm_encrypt(key.ptr, iv.ptr, iv.len, a, b, plain, out, tag),
                         SIMPLEX_OK);
        vec_assert_eq(sx_bytes(out, plain.len), ct, "ciphertext");
        vec_assert_eq(sx_bytes(tag, sizeof tag), vec_hex(row, "tag"), "tag");
        assert_int_equal(sx_gcm_decrypt(key.ptr, iv.ptr, iv.len, a, b, ct, tag, out), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(out, plain.len), plain, "decrypted");
    }
}

static void encrypts_with_aes_gcm_as_recorded(void **state)
{
    const cJSON *gcm = vec_get(json, "aes_gcm"), *row;

    (void)state;
    vec_each(row, rows(gcm, "iv_16_padded", 6))
    {
        size_t n = (size_t)vec_int(row, "padded_len");
        uint8_t *plain = buffer(n);
        simplex_rc rc = sx_pad(vec_hex(row, "msg"), plain, n);

        if (wants_error(row, "too large")) {
            assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
            continue;
        }
        assert_int_equal(rc, SIMPLEX_OK);
        encrypt_both_ways(row, sx_bytes(plain, n), vec_hex(row, "ad"));
    }
    row = vec_get(gcm, "iv_12_unpadded_no_ad");
    encrypt_both_ways(row, vec_hex(row, "msg"), sx_str(""));
}

static void decrypts_with_aes_gcm_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(vec_get(json, "aes_gcm"), "iv_16_decrypt", 4))
    {
        simplex_bytes ct = vec_hex(row, "ct"), iv = vec_hex(row, "iv"), m;
        uint8_t *out = buffer(ct.len);
        simplex_rc rc = sx_gcm_decrypt(vec_hex(row, "key").ptr, iv.ptr, iv.len, vec_hex(row, "ad"),
                                       sx_bytes(NULL, 0), ct, vec_hex(row, "tag").ptr, out);

        if (wants_error(row, "decrypt")) {
            assert_int_equal(rc, SIMPLEX_E_CRYPTO);
            vec_assert_eq(sx_bytes(out, ct.len), sx_bytes(buffer(ct.len), ct.len), "wiped");
            continue;
        }
        assert_int_equal(rc, SIMPLEX_OK);
        assert_int_equal(sx_unpad(sx_bytes(out, ct.len), &m), SIMPLEX_OK);
        vec_assert_eq(m, vec_hex(row, "result"), "plaintext");
    }
}

/* ---- sntrup761 ---- */

static void decaps_invalid(const cJSON *row, simplex_bytes good, simplex_bytes sk)
{
    uint8_t ct[SX_KEM_CT], ss[SX_KEM_SS], hash[32];

    memcpy(ct, good.ptr, sizeof ct);
    if (vec_opt(row, "ct_fill") != NULL)
        memset(ct, vec_hex(row, "ct_fill").ptr[0], sizeof ct);
    else
        ct[vec_int(row, "ct_xor_first_difference")] ^= 1;
    sx_sha256(sx_bytes(ct, sizeof ct), hash);
    vec_assert_eq(sx_bytes(hash, 32), vec_hex(row, "ct_sha256"), "changed ciphertext");
    assert_int_equal(sx_kem_decaps(ct, sk.ptr, ss), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(ss, sizeof ss), vec_hex(row, "ss"), vec_text(row, "what"));
}

static void decapsulates_as_recorded(void **state)
{
    const cJSON *kem = vec_get(json, "sntrup761"), *row, *bad;
    const cJSON *sizes = vec_get(kem, "sizes");
    const int invalid[] = { 5, 1 };
    size_t i = 0;

    (void)state;
    assert_int_equal(vec_int(sizes, "pk"), SX_KEM_PK);
    assert_int_equal(vec_int(sizes, "sk"), SX_KEM_SK);
    assert_int_equal(vec_int(sizes, "ct"), SX_KEM_CT);
    assert_int_equal(vec_int(sizes, "ss"), SX_KEM_SS);
    if (!sx_kem_available())
        skip();
    vec_each(row, rows(kem, "cases", 2))
    {
        simplex_bytes ct = vec_hex(row, "ct"), sk = vec_hex(row, "sk"), pk = vec_hex(row, "pk");
        uint8_t ss[SX_KEM_SS], made[SX_KEM_CT], ours[SX_KEM_SS];

        assert_int_equal(ct.len, SX_KEM_CT);
        assert_int_equal(sk.len, SX_KEM_SK);
        assert_int_equal(sx_kem_decaps(ct.ptr, sk.ptr, ss), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(ss, sizeof ss), vec_hex(row, "ss"), "shared secret");
        vec_assert_eq(sx_bytes(ss, sizeof ss), vec_hex(row, "decapsulated"), "decapsulated");
        assert_memory_equal(sk.ptr + 382, pk.ptr, SX_KEM_PK);
        assert_int_equal(sx_kem_encaps(pk.ptr, made, ours), SIMPLEX_OK);
        assert_int_equal(sx_kem_decaps(made, sk.ptr, ss), SIMPLEX_OK);
        assert_memory_equal(ss, ours, sizeof ss);
        vec_each(bad, rows(row, "invalid_ct", invalid[i])) decaps_invalid(bad, ct, sk);
        i++;
    }
}

/* ---- certificates ---- */

/* n*L(certificate), then L(signed key). */
static void read_wire(const cJSON *row, struct sx_chain *chain, simplex_bytes *signed_key)
{
    struct sx_rd r = sx_rd_init(vec_hex(row, "chain_and_signed_key_wire"));
    simplex_bytes chain_wire = vec_hex(row, "chain_wire");

    assert_memory_equal(r.p, chain_wire.ptr, chain_wire.len);
    chain->count = sx_rd_u8(&r);
    assert_int_equal(chain->count, 2);
    for (size_t i = 0; i < chain->count; i++)
        chain->cert[i] = sx_rd_large(&r);
    *signed_key = sx_rd_large(&r);
    assert_true(sx_rd_done(&r));
    vec_assert_eq(chain->cert[0], vec_hex(row, "leaf_cert_der"), "leaf");
    vec_assert_eq(chain->cert[1], vec_hex(row, "identity_cert_der"), "identity");
    vec_assert_eq(*signed_key, vec_hex(row, "signed_key_der"), "signed key");
}

static void check_chain(const cJSON *row, const struct sx_chain *chain)
{
    uint8_t fp[32], text[64];
    struct sx_wr w;

    assert_int_equal(sx_chain_fingerprint(chain, fp), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(fp, 32), vec_hex(row, "identity_fingerprint"), "fingerprint");
    sx_wr_fixed(&w, text, sizeof text);
    sx_b64url_encode(&w, sx_bytes(fp, 32));
    vec_assert_eq(sx_wr_bytes(&w), sx_str(vec_text(row, "identity_fingerprint_text")), "text");
    assert_int_equal(sx_chain_verify(chain, fp, RECORDED_AT), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(chain, NULL, YEAR_4700), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(chain, fp, RECORDED_AT - 86400 * 365), SIMPLEX_E_CERT);
    fp[31] ^= 1;
    assert_int_equal(sx_chain_verify(chain, fp, RECORDED_AT), SIMPLEX_E_FINGERPRINT);
}

static void check_signed_key(const cJSON *row, const struct sx_chain *chain, simplex_bytes der)
{
    struct sx_pub leaf, key;
    struct sx_keypair pair;
    struct sx_priv priv, session = priv_of(SX_X25519, vec_hex(row, "session_priv"));
    uint8_t buf[256];
    struct sx_wr w;

    assert_true(vec_bool(row, "verify_ok"));
    assert_int_equal(sx_chain_leaf_key(chain, &leaf), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_spki_encode(&leaf, &w);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "leaf_pub_spki"), "leaf key");
    assert_true(sx_verify(&leaf, vec_hex(row, "signed_part"), vec_hex(row, "signature")));
    assert_int_equal(sx_signed_key_verify(der, &leaf, &key), SIMPLEX_OK);

    assert_int_equal(sx_keypair_from_priv(&session, &pair), SIMPLEX_OK);
    assert_true(sx_pub_eq(&pair.pub, &key));
    assert_int_equal(sx_pkcs8_decode(vec_hex(row, "leaf_priv_pkcs8"), &priv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_from_priv(&priv, &pair), SIMPLEX_OK);
    assert_true(sx_pub_eq(&pair.pub, &leaf));
    sx_wr_reset(&w);
    assert_int_equal(sx_signed_key_encode(&w, &key, &pair), SIMPLEX_OK);
    vec_assert_eq(sx_wr_bytes(&w), der, "signed key made here");
}

static void certificates_verify_as_recorded(void **state)
{
    const cJSON *row;

    (void)state;
    vec_each(row, rows(json, "certificates", 2))
    {
        struct sx_chain chain;
        simplex_bytes signed_key;

        read_wire(row, &chain, &signed_key);
        check_chain(row, &chain);
        check_signed_key(row, &chain, signed_key);
    }
}

/* ---- printed in the digests ---- */

static void fill_priv(struct sx_keypair *k, enum sx_alg alg, uint8_t byte)
{
    struct sx_priv priv = { .alg = (uint8_t)alg };

    memset(priv.b, byte, 32);
    assert_int_equal(sx_keypair_from_priv(&priv, k), SIMPLEX_OK);
}

#define HEX(bytes, n, hex) vec_assert_eq(sx_bytes(bytes, n), vec_unhex(hex), hex)

static const char dh_ab[] = "9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056";

static void boxes_of_smp_section_12(void **state)
{
    struct sx_keypair a, b;
    struct sx_box_key k;
    uint8_t dh[SX_DH_MAX], n[24], out[SX_AUTHENTICATOR_LEN], key[32];

    (void)state;
    for (uint8_t i = 0; i < sizeof n; i++)
        n[i] = i;
    fill_priv(&a, SX_X25519, 0x11);
    fill_priv(&b, SX_X25519, 0x22);
    HEX(a.pub.b, 32, "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13");
    assert_int_equal(sx_dh(&a.priv, &b.pub, dh), SIMPLEX_OK);
    HEX(dh, 32, dh_ab);
    assert_int_equal(sx_dh(&b.priv, &a.pub, dh), SIMPLEX_OK);
    HEX(dh, 32, dh_ab);
    sx_box_key_init(&k, dh);
    sx_box_seal(&k, n, sx_str("hello"), out);
    HEX(out, 21, "8d7163e1fe1024619e7b094b590adfba33e975fa31");
    sx_authenticate(&k, n, sx_str("hello"), out);
    HEX(out, 80,
        "ef77ab555d9054727d76774c2dcadb29c0fdcbb2e3f109b0673be1c602bb4fc9d44ee9b63d31aba3412af54376"
        "8"
        "6f2396b6ef759312b9156fcd190a837924c618c06d8ef60bef699163d81a8fdab5348");
    memset(key, 0x66, sizeof key);
    sx_box_key_init(&k, key);
    sx_box_seal(&k, n, sx_str("hello"), out);
    HEX(out, 21, "35d89cc14f9fa989f8907028a2ef9b7061bf88d47b");
}

static void chain_and_hashes_of_smp_section_12(void **state)
{
    uint8_t salt[32], okm[88], n[24], h[48], zeros[24] = { 0 };
    simplex_bytes dh = vec_unhex(dh_ab);

    (void)state;
    memset(salt, 0x77, sizeof salt);
    assert_int_equal(sx_hkdf_sha512(sx_bytes(salt, 32), dh, "SimpleXSbChainInit", okm, 64),
                     SIMPLEX_OK);
    HEX(okm, 64,
        "d8a34bd19a72a79be715f68c1e39f43ad1325ab35fe7940ec863c38c9b77c210"
        "dc425135076615eb00b28dac8ba1b65a90efb4663400668b6c6ae13a7219c475");
    assert_int_equal(sx_hkdf_sha512(sx_str(""), sx_bytes(okm, 32), "SimpleXSbChain", okm, 88),
                     SIMPLEX_OK); /* in place */
    HEX(okm, 88,
        "7a68c01699b84fd0b24f33600bca4e4ba67e2f5974211b28052dde4d60bab8ad"
        "3cd51ddf69f86f9b5992e92d88df67e2fb87d471c25b6bf9864e5da1e7890f5c"
        "ed5d95de75b61ca3caa04506c20d3b6d8713827526c36de6");
    for (uint8_t i = 0; i < sizeof n; i++)
        n[i] = i;
    sx_sha3_384(sx_bytes(n, sizeof n), h);
    HEX(h, 24, "3ae1a7e6f8e0007f53167b85c478203b8445ac2b7b092da2");
    sx_md5(sx_bytes(zeros, sizeof zeros), h);
    HEX(h, 16, "1681ffc6e046c7af98c9e6c232a3fe0a");
}

static void signed_key_of_smp_section_12(void **state)
{
    struct sx_keypair leaf, session;
    uint8_t buf[128];
    struct sx_wr w;

    (void)state;
    fill_priv(&leaf, SX_ED25519, 0x33);
    fill_priv(&session, SX_X25519, 0x11);
    sx_wr_fixed(&w, buf, sizeof buf);
    assert_int_equal(sx_signed_key_encode(&w, &session.pub, &leaf), SIMPLEX_OK);
    assert_int_equal(w.len, 122);
    HEX(buf + 58, 64,
        "467d53d97da545dc057462f484b949c47c08f7f2951077a0426d5baf6220567b"
        "4d85cdd3cd0d056bb50aade90e46d356fbee67c87ba0c9130950a1b454d51902");
}

static void count_up(uint8_t *to, uint8_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(from + i);
}

static void boxes_of_agent_section_0(void **state)
{
    uint8_t k[32], nonce[24], iv[16], out[64], tag[16];
    struct sx_box_key box;
    simplex_bytes p = vec_unhex("000568656c6c6f232323");

    (void)state;
    count_up(k, 0, sizeof k);
    count_up(nonce, 0x40, sizeof nonce);
    count_up(iv, 0xa0, sizeof iv);
    sx_box_key_init(&box, k);
    sx_box_seal(&box, nonce, p, out);
    HEX(out, 26, "70557a7abdf0f57d9d546a00e9d6da485dcae57f073eafdfbfed");
    assert_int_equal(sx_gcm_encrypt(k, iv, 16, sx_str("ad"), sx_str(""), p, out, tag), SIMPLEX_OK);
    HEX(out, 10, "2aa64bd974a1a255e0bd");
    HEX(tag, 16, "82a8845d47cc1743fdd4a82a1ad90595");
}

static void hkdf_of_agent_section_0(void **state)
{
    static const struct {
        size_t salt, ikm; /* lengths of what counts up from 00 and from 01 (or 00 without a salt) */
        const char *info;
        size_t len;
        const char *start, *end;
    } t[] = {
        { 0, 32, "SimpleXChainRatchet", 96, "700adb2d724336ee01af878831816351",
          "bc018d49134b7b0ef0032f6b8e862037" },
        { 32, 56, "SimpleXRootRatchet", 96, "2cbe6340bf1c486ab19b2b8e7e370a57",
          "c949d259b8583ca3325218b04d5f3dab" },
        { 64, 168, "SimpleXX3DH", 96, "324e70e2e0c17228e697bf5e98a47985",
          "8aeec02511d5aeb76b140dbad3b6e549" },
        { 0, 32, "SimpleXContactLink", 56, "3232adb6fd5d0e30ab33495f6d245434",
          "861ce710afa58587a698fd4b85179d4a" },
        { 0, 32, "SimpleXInvLink", 32, "7f3160cc1a195495e752e2204b71508f", NULL },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(t); i++) {
        uint8_t salt[64] = { 0 }, ikm[168], okm[96];

        if (t[i].salt == 32)
            count_up(salt, 0, 32);
        count_up(ikm, t[i].salt == 0 ? 0 : 1, t[i].ikm);
        assert_int_equal(sx_hkdf_sha512(sx_bytes(salt, t[i].salt), sx_bytes(ikm, t[i].ikm),
                                        t[i].info, okm, t[i].len),
                         SIMPLEX_OK);
        HEX(okm, 16, t[i].start);
        if (t[i].end != NULL)
            HEX(okm + t[i].len - 16, 16, t[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pads_as_recorded),
        cmocka_unit_test(unpads_as_recorded),
        cmocka_unit_test(knows_what_can_be_padded),
        cmocka_unit_test(keys_have_the_recorded_forms),
        cmocka_unit_test(keys_are_accepted_as_recorded),
        cmocka_unit_test(agrees_on_the_recorded_secrets),
        cmocka_unit_test(seals_boxes_as_recorded),
        cmocka_unit_test(opens_boxes_as_recorded),
        cmocka_unit_test(makes_nonces_as_recorded),
        cmocka_unit_test(authenticates_as_recorded),
        cmocka_unit_test(block_chains_are_as_recorded),
        cmocka_unit_test(signs_as_recorded),
        cmocka_unit_test(hashes_as_recorded),
        cmocka_unit_test(derives_keys_as_recorded),
        cmocka_unit_test(encrypts_with_aes_gcm_as_recorded),
        cmocka_unit_test(decrypts_with_aes_gcm_as_recorded),
        cmocka_unit_test(decapsulates_as_recorded),
        cmocka_unit_test(certificates_verify_as_recorded),
        cmocka_unit_test(boxes_of_smp_section_12),
        cmocka_unit_test(chain_and_hashes_of_smp_section_12),
        cmocka_unit_test(signed_key_of_smp_section_12),
        cmocka_unit_test(boxes_of_agent_section_0),
        cmocka_unit_test(hkdf_of_agent_section_0),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
