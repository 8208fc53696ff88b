/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pair of Signal sessions (libsignal-protocol-c): Curve25519, AES-256-CBC, HMAC-SHA-256, the
 * primitives from OpenSSL. Its interface loads and stores the session record with every message;
 * the store here is a copy in memory.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <key_helper.h>
#include <protocol.h>
#include <session_builder.h>
#include <session_cipher.h>
#include <session_pre_key.h>
#include <signal_protocol.h>

#include "crypto/crypto.h"
#include "ratchet_peers.h"

/* ---- primitives ---- */

static int random_bytes(uint8_t *data, size_t len, void *user)
{
    (void)user;
    sx_random(data, len);
    return 0;
}

static int mac_init(void **ctx, const uint8_t *key, size_t len, void *user)
{
    static EVP_MAC *mac;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                            OSSL_PARAM_construct_end() };

    (void)user;
    if (mac == NULL)
        mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *c = EVP_MAC_CTX_new(mac);
    *ctx = c;
    return c != NULL && EVP_MAC_init(c, key, len, params) == 1 ? 0 : -1;
}

static int mac_update(void *ctx, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    return EVP_MAC_update(ctx, data, len) == 1 ? 0 : -1;
}

static int mac_final(void *ctx, signal_buffer **out, void *user)
{
    uint8_t md[32];
    size_t len = 0;

    (void)user;
    if (EVP_MAC_final(ctx, md, &len, sizeof md) != 1)
        return -1;
    *out = signal_buffer_create(md, len);
    return *out != NULL ? 0 : -1;
}

static void mac_free(void *ctx, void *user)
{
    (void)user;
    EVP_MAC_CTX_free(ctx);
}

static int sha512_init(void **ctx, void *user)
{
    (void)user;
    *ctx = EVP_MD_CTX_new();
    return *ctx != NULL && EVP_DigestInit_ex(*ctx, EVP_sha512(), NULL) == 1 ? 0 : -1;
}

static int sha512_update(void *ctx, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    return EVP_DigestUpdate(ctx, data, len) == 1 ? 0 : -1;
}

static int sha512_final(void *ctx, signal_buffer **out, void *user)
{
    uint8_t md[64];
    unsigned len = 0;

    (void)user;
    if (EVP_DigestFinal_ex(ctx, md, &len) != 1 || EVP_DigestInit_ex(ctx, EVP_sha512(), NULL) != 1)
        return -1;
    *out = signal_buffer_create(md, len);
    return *out != NULL ? 0 : -1;
}

static void sha512_free(void *ctx, void *user)
{
    (void)user;
    EVP_MD_CTX_free(ctx);
}

static int aes(int encrypt, signal_buffer **out, int cipher, const uint8_t *key, size_t key_len,
               const uint8_t *iv, const uint8_t *in, size_t len)
{
    static EVP_CIPHER *cbc, *ctr;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    signal_buffer *b = signal_buffer_alloc(len + 32);
    int n = 0, rest = 0, rc = -1;

    if (cbc == NULL)
        cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (ctr == NULL)
        ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    if (c != NULL && b != NULL && key_len == 32 &&
        EVP_CipherInit_ex2(c, cipher == SG_CIPHER_AES_CBC_PKCS5 ? cbc : ctr, key, iv, encrypt,
                           NULL) == 1 &&
        EVP_CipherUpdate(c, signal_buffer_data(b), &n, in, (int)len) == 1 &&
        EVP_CipherFinal_ex(c, signal_buffer_data(b) + n, &rest) == 1) {
        *out = signal_buffer_create(signal_buffer_data(b), (size_t)(n + rest));
        rc = *out != NULL ? 0 : -1;
    }
    signal_buffer_free(b);
    EVP_CIPHER_CTX_free(c);
    return rc;
}

static int encrypt(signal_buffer **out, int cipher, const uint8_t *key, size_t key_len,
                   const uint8_t *iv, size_t iv_len, const uint8_t *in, size_t len, void *user)
{
    (void)iv_len;
    (void)user;
    return aes(1, out, cipher, key, key_len, iv, in, len);
}

static int decrypt(signal_buffer **out, int cipher, const uint8_t *key, size_t key_len,
                   const uint8_t *iv, size_t iv_len, const uint8_t *in, size_t len, void *user)
{
    (void)iv_len;
    (void)user;
    return aes(0, out, cipher, key, key_len, iv, in, len);
}

/* ---- a store for one session and its keys ---- */

struct side {
    signal_protocol_store_context *store;
    session_cipher *cipher;
    signal_buffer *record, *pre_key, *signed_pre_key;
    ratchet_identity_key_pair *identity;
    uint32_t registration;
};

static int give(signal_buffer **out, const signal_buffer *b)
{
    if (b == NULL)
        return 0;
    *out = signal_buffer_copy(b);
    return *out != NULL ? 1 : -1;
}

static int keep(signal_buffer **to, const uint8_t *data, size_t len)
{
    signal_buffer_free(*to);
    *to = signal_buffer_create(data, len);
    return *to != NULL ? 0 : -1;
}

static int load_session(signal_buffer **record, signal_buffer **extra,
                        const signal_protocol_address *address, void *user)
{
    (void)extra;
    (void)address;
    return give(record, ((struct side *)user)->record);
}

static int store_session(const signal_protocol_address *address, uint8_t *record, size_t len,
                         uint8_t *extra, size_t extra_len, void *user)
{
    (void)address;
    (void)extra;
    (void)extra_len;
    return keep(&((struct side *)user)->record, record, len);
}

static int has_session(const signal_protocol_address *address, void *user)
{
    (void)address;
    return ((struct side *)user)->record != NULL;
}

static int load_pre_key(signal_buffer **record, uint32_t id, void *user)
{
    (void)id;
    return give(record, ((struct side *)user)->pre_key) == 1 ? SG_SUCCESS : SG_ERR_INVALID_KEY_ID;
}

static int store_pre_key(uint32_t id, uint8_t *record, size_t len, void *user)
{
    (void)id;
    return keep(&((struct side *)user)->pre_key, record, len);
}

static int has_pre_key(uint32_t id, void *user)
{
    (void)id;
    return ((struct side *)user)->pre_key != NULL;
}

static int remove_pre_key(uint32_t id, void *user)
{
    (void)id;
    (void)user;
    return 0;
}

static int load_signed(signal_buffer **record, uint32_t id, void *user)
{
    (void)id;
    return give(record, ((struct side *)user)->signed_pre_key) == 1 ? SG_SUCCESS
                                                                    : SG_ERR_INVALID_KEY_ID;
}

static int store_signed(uint32_t id, uint8_t *record, size_t len, void *user)
{
    (void)id;
    return keep(&((struct side *)user)->signed_pre_key, record, len);
}

static int identity_pair(signal_buffer **pub, signal_buffer **priv, void *user)
{
    const struct side *s = user;

    if (ec_public_key_serialize(pub, ratchet_identity_key_pair_get_public(s->identity)) < 0)
        return -1;
    return ec_private_key_serialize(priv, ratchet_identity_key_pair_get_private(s->identity));
}

static int registration(void *user, uint32_t *id)
{
    *id = ((struct side *)user)->registration;
    return 0;
}

static int save_identity(const signal_protocol_address *address, uint8_t *key, size_t len,
                         void *user)
{
    (void)address;
    (void)key;
    (void)len;
    (void)user;
    return 0;
}

static int trust(const signal_protocol_address *address, uint8_t *key, size_t len, void *user)
{
    (void)address;
    (void)key;
    (void)len;
    (void)user;
    return 1;
}

static const signal_protocol_address address = { "peer", 4, 1 };

static bool side_open(struct side *s, signal_context *ctx)
{
    const signal_protocol_session_store sessions = { .load_session_func = load_session,
                                                     .store_session_func = store_session,
                                                     .contains_session_func = has_session,
                                                     .user_data = s };
    const signal_protocol_pre_key_store pre = { .load_pre_key = load_pre_key,
                                                .store_pre_key = store_pre_key,
                                                .contains_pre_key = has_pre_key,
                                                .remove_pre_key = remove_pre_key,
                                                .user_data = s };
    const signal_protocol_signed_pre_key_store sp = { .load_signed_pre_key = load_signed,
                                                      .store_signed_pre_key = store_signed,
                                                      .user_data = s };
    const signal_protocol_identity_key_store ids = { .get_identity_key_pair = identity_pair,
                                                     .get_local_registration_id = registration,
                                                     .save_identity = save_identity,
                                                     .is_trusted_identity = trust,
                                                     .user_data = s };

    return signal_protocol_key_helper_generate_identity_key_pair(&s->identity, ctx) == 0 &&
           signal_protocol_key_helper_generate_registration_id(&s->registration, 0, ctx) == 0 &&
           signal_protocol_store_context_create(&s->store, ctx) == 0 &&
           signal_protocol_store_context_set_session_store(s->store, &sessions) == 0 &&
           signal_protocol_store_context_set_pre_key_store(s->store, &pre) == 0 &&
           signal_protocol_store_context_set_signed_pre_key_store(s->store, &sp) == 0 &&
           signal_protocol_store_context_set_identity_key_store(s->store, &ids) == 0 &&
           session_cipher_create(&s->cipher, s->store, &address, ctx) == 0;
}

/* ---- the pair ---- */

struct signal_pair {
    signal_context *ctx;
    struct side side[2];
    unsigned last;
    size_t payload;
    uint8_t plain[65536];
};

static bool open_message(struct signal_pair *p, struct side *s, ciphertext_message *m,
                         size_t payload)
{
    signal_buffer *wire = ciphertext_message_get_serialized(m), *out = NULL;
    pre_key_signal_message *first = NULL;
    signal_message *msg = NULL;
    bool good = false;

    if (ciphertext_message_get_type(m) == CIPHERTEXT_PREKEY_TYPE)
        good = pre_key_signal_message_deserialize(&first, signal_buffer_data(wire),
                                                  signal_buffer_len(wire), p->ctx) == 0 &&
               session_cipher_decrypt_pre_key_signal_message(s->cipher, first, NULL, &out) == 0;
    else
        good = signal_message_deserialize(&msg, signal_buffer_data(wire), signal_buffer_len(wire),
                                          p->ctx) == 0 &&
               session_cipher_decrypt_signal_message(s->cipher, msg, NULL, &out) == 0;
    good = good && signal_buffer_len(out) == payload;
    SIGNAL_UNREF(first);
    SIGNAL_UNREF(msg);
    signal_buffer_free(out);
    return good;
}

static bool move(struct signal_pair *p, unsigned from, size_t payload)
{
    ciphertext_message *m = NULL;

    p->last = from;
    bool good = session_cipher_encrypt(p->side[from].cipher, p->plain, payload, &m) == 0 &&
                open_message(p, &p->side[1 - from], m, payload);
    SIGNAL_UNREF(m);
    return good;
}

static bool same_chain(void *pair)
{
    struct signal_pair *p = pair;

    return move(p, 0, p->payload);
}

static bool turn(void *pair)
{
    struct signal_pair *p = pair;

    return move(p, 1 - p->last, TURN_PAYLOAD);
}

/* Side 1 publishes its keys, side 0 builds its session from them. */
static bool connect_sides(struct signal_pair *p)
{
    struct side *b = &p->side[1];
    signal_protocol_key_helper_pre_key_list_node *list = NULL;
    session_signed_pre_key *sp = NULL;
    session_pre_key_bundle *bundle = NULL;
    session_builder *builder = NULL;

    if (signal_protocol_key_helper_generate_pre_keys(&list, 1, 1, p->ctx) != 0 ||
        signal_protocol_key_helper_generate_signed_pre_key(&sp, b->identity, 1, 0, p->ctx) != 0)
        return false;
    session_pre_key *pre = signal_protocol_key_helper_key_list_element(list);
    bool good =
        signal_protocol_pre_key_store_key(b->store, pre) == 0 &&
        signal_protocol_signed_pre_key_store_key(b->store, sp) == 0 &&
        session_pre_key_bundle_create(
            &bundle, b->registration, 1, session_pre_key_get_id(pre),
            ec_key_pair_get_public(session_pre_key_get_key_pair(pre)),
            session_signed_pre_key_get_id(sp),
            ec_key_pair_get_public(session_signed_pre_key_get_key_pair(sp)),
            session_signed_pre_key_get_signature(sp), session_signed_pre_key_get_signature_len(sp),
            ratchet_identity_key_pair_get_public(b->identity)) == 0 &&
        session_builder_create(&builder, p->side[0].store, &address, p->ctx) == 0 &&
        session_builder_process_pre_key_bundle(builder, bundle) == 0;
    session_builder_free(builder);
    SIGNAL_UNREF(bundle);
    SIGNAL_UNREF(sp);
    signal_protocol_key_helper_key_list_free(list);
    p->last = 1;
    return good && turn(p) && turn(p) && turn(p);
}

bool ratchet_peer_signal(struct ratchet_peer *out, size_t payload)
{
    static const signal_crypto_provider provider = {
        random_bytes,  mac_init,     mac_update,  mac_final, mac_free, sha512_init,
        sha512_update, sha512_final, sha512_free, encrypt,   decrypt,  NULL,
    };
    struct signal_pair *p = calloc(1, sizeof *p);

    if (p == NULL || signal_context_create(&p->ctx, NULL) != 0 ||
        signal_context_set_crypto_provider(p->ctx, &provider) != 0)
        return false;
    p->payload = payload;
    *out = (struct ratchet_peer){ "libsignal-protocol-c", p, same_chain, turn };
    return side_open(&p->side[0], p->ctx) && side_open(&p->side[1], p->ctx) && connect_sides(p);
}
