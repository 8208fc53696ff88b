/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SMP handshake (protocol/smp.md section 4): the server's hello, the client's answer, and the
 * keys that follow from them.
 */
#include "client/session_internal.h"

#define SIGNED_KEY_MAX 256
#define V_SERVICE 16
#define V_MESSAGING_SERVICE 19

/* Without ALPN both sides fall back to the version that older peers have (section 3). */
static simplex_rc set_range(struct sx_session *s, uint16_t min, uint16_t max, bool alpn)
{
    s->min = min != 0 ? min : SX_SMP_MIN;
    s->max = max != 0 ? max : SX_SMP_MAX;
    if (!alpn && s->max > SX_SMP_MIN)
        s->max = SX_SMP_MIN;
    return s->min <= s->max ? SIMPLEX_OK : SIMPLEX_E_VERSION;
}

static simplex_rc init(struct sx_session *s, simplex_bytes session_id, const uint8_t *key_hash)
{
    *s = (struct sx_session){ .state = SX_S_FAILED };
    if (session_id.len == 0 || session_id.len > sizeof s->id || key_hash == NULL)
        return SIMPLEX_E_ARG;
    memcpy(s->id, session_id.ptr, session_id.len);
    s->id_len = (uint8_t)session_id.len;
    memcpy(s->key_hash, key_hash, sizeof s->key_hash);
    return SIMPLEX_OK;
}

/* The shared secret of both session keys, and what hangs on it. */
static simplex_rc agree(struct sx_session *s)
{
    uint8_t secret[SX_DH_MAX];

    if (s->own.pub.alg == SX_NO_KEY || s->peer_key.alg == SX_NO_KEY)
        return SIMPLEX_OK;
    simplex_rc rc = sx_dh(&s->own.priv, &s->peer_key, secret);
    if (rc == SIMPLEX_OK) {
        sx_box_key_init(&s->shared, secret);
        s->has_shared = true;
        if (s->version >= 11 && !s->proxy)
            rc = sx_block_start(s, secret);
    }
    sx_wipe(secret, sizeof secret);
    return rc == SIMPLEX_E_KEY ? SIMPLEX_E_HANDSHAKE : rc;
}

static void ready(struct sx_session *s)
{
    s->leaf = (struct sx_pub){ 0 };
    s->cert = NULL;
    s->peer_chain = NULL;
    s->accept = NULL;
    s->accept_user = NULL;
    s->state = SX_S_READY;
}

static simplex_rc put_block(const struct sx_wr *w, uint8_t block[SX_BLOCK])
{
    if (w->bad)
        return SIMPLEX_E_ENCODE;
    return sx_pad(sx_wr_bytes(w), block, SX_BLOCK);
}

/* ---- server ---- */

static simplex_rc server_hello(struct sx_session *s, const struct sx_session_server_cfg *cfg,
                               uint8_t block[SX_BLOCK])
{
    struct sx_server_hello h = { .min = s->min, .max = s->max, .session_id = sx_session_id(s) };
    uint8_t content[SX_BLOCK_CONTENT], signed_key[SIGNED_KEY_MAX];
    struct sx_wr w, key;

    sx_wr_fixed(&key, signed_key, sizeof signed_key);
    h.has_key = s->max >= 7;
    if (h.has_key) {
        simplex_rc rc = sx_keypair_new(SX_X25519, &s->own);
        if (rc == SIMPLEX_OK)
            rc = sx_signed_key_encode(&key, &s->own.pub, cfg->leaf);
        if (rc != SIMPLEX_OK)
            return rc;
        if (key.bad)
            return SIMPLEX_E_ENCODE;
        h.signed_key = sx_wr_bytes(&key);
        h.n_certs = cfg->chain->count;
        for (size_t i = 0; i < h.n_certs; i++)
            h.certs[i] = cfg->chain->cert[i];
    }
    sx_wr_fixed(&w, content, sizeof content);
    sx_server_hello_encode(&w, &h);
    return put_block(&w, block);
}

simplex_rc sx_session_server(struct sx_session *s, const struct sx_session_server_cfg *cfg,
                             uint8_t hello[SX_BLOCK])
{
    simplex_rc rc = init(s, cfg->session_id, cfg->key_hash);

    s->is_server = true;
    s->peer_chain = cfg->peer_chain;
    s->accept = cfg->accept;
    s->accept_user = cfg->accept_user;
    if (rc == SIMPLEX_OK)
        rc = set_range(s, cfg->min, cfg->max, cfg->alpn);
    if (rc == SIMPLEX_OK && s->max >= 7 &&
        (cfg->chain == NULL || cfg->leaf == NULL || cfg->chain->count < 2 ||
         cfg->chain->count > SX_COUNT(cfg->chain->cert)))
        rc = SIMPLEX_E_ARG;
    if (rc == SIMPLEX_OK)
        rc = server_hello(s, cfg, hello);
    if (rc == SIMPLEX_OK)
        s->state = SX_S_WAIT_HELLO;
    else
        sx_session_wipe(s);
    return rc;
}

static simplex_rc service_reply(const struct sx_service_reply *r, uint8_t reply[SX_BLOCK],
                                bool *has_reply)
{
    uint8_t content[256];
    struct sx_wr w;

    sx_wr_fixed(&w, content, sizeof content);
    sx_service_reply_encode(&w, r);
    simplex_rc rc = put_block(&w, reply);
    *has_reply = rc == SIMPLEX_OK;
    return rc;
}

/* TLS has proved that the client holds the key of this chain, and of no other. */
static bool is_chain_of_tls(const struct sx_session *s, const struct sx_client_hello *h)
{
    const struct sx_chain *tls = s->peer_chain;

    if (tls == NULL || tls->count != h->n_certs)
        return false;
    for (size_t i = 0; i < h->n_certs; i++) {
        if (!sx_bytes_eq(tls->cert[i], h->certs[i]))
            return false;
    }
    return true;
}

/* The claims of a service, from the cheapest to check on. Sets s->service but for its id. */
static enum sx_err_handshake check_service(struct sx_session *s, const struct sx_client_hello *h)
{
    struct sx_session_service *svc = &s->service;
    struct sx_pub leaf;

    if (s->accept == NULL)
        return SX_HS_BAD_SERVICE;
    if (!is_chain_of_tls(s, h) || sx_chain_leaf_key(s->peer_chain, &leaf) != SIMPLEX_OK ||
        sx_signed_key_verify(h->signed_key, &leaf, &svc->key.pub) != SIMPLEX_OK ||
        svc->key.pub.alg != SX_ED25519 ||
        sx_chain_verify_service(s->peer_chain, sx_now_ms() / 1000, svc->cert_hash) != SIMPLEX_OK)
        return SX_HS_BAD_AUTH;
    svc->role = h->service_role;
    struct sx_service_hello hello = { .role = svc->role, .chain = s->peer_chain };
    memcpy(hello.cert_hash, svc->cert_hash, sizeof hello.cert_hash);
    return s->accept(s->accept_user, &hello, svc->id) ? 0 : SX_HS_BAD_SERVICE;
}

/* The third message: the service's id, or why it is refused (section 4). */
static simplex_rc answer_service(struct sx_session *s, const struct sx_client_hello *h,
                                 uint8_t reply[SX_BLOCK], bool *has_reply)
{
    enum sx_err_handshake error = check_service(s, h);
    struct sx_service_reply r = {
        .ok = error == 0,
        .service_id = sx_bytes(s->service.id, sizeof s->service.id),
        .error = { .transport = SX_TRANSPORT_HANDSHAKE, .handshake = (uint8_t)error },
    };

    simplex_rc rc = service_reply(&r, reply, has_reply);
    return rc == SIMPLEX_OK && error != 0 ? SIMPLEX_E_HANDSHAKE : rc;
}

simplex_rc sx_handshake_server(struct sx_session *s, simplex_bytes hello, uint8_t reply[SX_BLOCK],
                               bool *has_reply)
{
    struct sx_client_hello h;

    if (sx_client_hello_decode(hello, &h) != SIMPLEX_OK)
        return SIMPLEX_E_HANDSHAKE;
    if (!sx_bytes_eq(h.key_hash, sx_bytes(s->key_hash, sizeof s->key_hash)))
        return SIMPLEX_E_FINGERPRINT;
    if (h.version < s->min || h.version > s->max)
        return SIMPLEX_E_VERSION;
    s->version = h.version;
    s->proxy = h.proxy;
    if (h.has_key)
        s->peer_key = h.key;
    simplex_rc rc = agree(s);
    if (rc == SIMPLEX_OK && h.has_service)
        rc = answer_service(s, &h, reply, has_reply); /* a plain block, like the others */
    if (rc == SIMPLEX_OK)
        ready(s);
    return rc;
}

/* ---- client ---- */

simplex_rc sx_session_client(struct sx_session *s, const struct sx_session_client_cfg *cfg)
{
    simplex_rc rc = init(s, cfg->session_id, cfg->key_hash);

    if (rc == SIMPLEX_OK)
        rc = cfg->chain != NULL ? sx_chain_leaf_key(cfg->chain, &s->leaf) : SIMPLEX_E_ARG;
    if (rc == SIMPLEX_OK)
        rc = set_range(s, cfg->min, cfg->max, cfg->alpn);
    s->proxy = cfg->proxy;
    s->no_key = cfg->no_key;
    s->cert = cfg->service;
    s->state = rc == SIMPLEX_OK ? SX_S_WAIT_HELLO : SX_S_FAILED;
    return rc;
}

/*
 * A proxy speaks 10 at most to servers that cannot be told that it is one (section 4): block
 * encryption between proxy and relay would only cost time.
 */
static simplex_rc choose_version(struct sx_session *s, const struct sx_server_hello *h)
{
    uint16_t max = s->proxy && h->max < 14 && s->max > 10 ? 10 : s->max;
    uint16_t v = max < h->max ? max : h->max;

    if (v < s->min || v < h->min)
        return SIMPLEX_E_VERSION;
    s->version = v;
    return SIMPLEX_OK;
}

/* The hello repeats the chain of TLS; the session key must be signed by the leaf TLS has seen. */
static simplex_rc check_server_key(struct sx_session *s, const struct sx_server_hello *h)
{
    struct sx_chain chain = { .count = h->n_certs };
    uint8_t identity[32];

    if (!h->has_key)
        return s->version >= 7 ? SIMPLEX_E_HANDSHAKE : SIMPLEX_OK;
    if (h->n_certs < 2 || h->n_certs > SX_COUNT(chain.cert))
        return SIMPLEX_E_FINGERPRINT;
    for (size_t i = 0; i < h->n_certs; i++)
        chain.cert[i] = h->certs[i];
    if (sx_chain_fingerprint(&chain, identity) != SIMPLEX_OK ||
        memcmp(identity, s->key_hash, sizeof identity) != 0)
        return SIMPLEX_E_FINGERPRINT;
    if (sx_signed_key_verify(h->signed_key, &s->leaf, &s->peer_key) != SIMPLEX_OK)
        return SIMPLEX_E_SIGNATURE;
    return s->peer_key.alg == SX_X25519 ? SIMPLEX_OK : SIMPLEX_E_HANDSHAKE;
}

/* A fresh key of the session, signed by the leaf; into h, which borrows from s and w. */
static simplex_rc say_service(struct sx_session *s, struct sx_client_hello *h, struct sx_wr *w)
{
    const struct sx_service_cert *cert = s->cert;
    struct sx_session_service *svc = &s->service;

    if (cert == NULL || s->version < (cert->role == 'M' ? V_MESSAGING_SERVICE : V_SERVICE))
        return SIMPLEX_OK;
    simplex_rc rc = sx_keypair_new(SX_ED25519, &svc->key);
    if (rc == SIMPLEX_OK)
        rc = sx_signed_key_encode(w, &svc->key.pub, &cert->leaf);
    if (rc != SIMPLEX_OK || w->bad)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_ENCODE;
    svc->role = cert->role;
    sx_sha256(cert->chain.cert[cert->chain.count > 1], svc->cert_hash);
    h->has_service = true;
    h->service_role = cert->role;
    h->n_certs = cert->chain.count;
    for (size_t i = 0; i < h->n_certs; i++)
        h->certs[i] = cert->chain.cert[i];
    h->signed_key = sx_wr_bytes(w);
    return SIMPLEX_OK;
}

static simplex_rc client_hello(struct sx_session *s, uint8_t block[SX_BLOCK])
{
    struct sx_client_hello h = {
        .version = s->version,
        .key_hash = sx_bytes(s->key_hash, sizeof s->key_hash),
        .has_key = s->version >= 7 && !s->no_key,
        .proxy = s->version >= 14 && s->proxy,
    };
    uint8_t content[SX_BLOCK_CONTENT], signed_key[SIGNED_KEY_MAX];
    struct sx_wr w, key;

    if (h.has_key) {
        simplex_rc rc = sx_keypair_new(SX_X25519, &s->own);
        if (rc != SIMPLEX_OK)
            return rc;
        h.key = s->own.pub;
    }
    sx_wr_fixed(&key, signed_key, sizeof signed_key);
    simplex_rc rc = say_service(s, &h, &key);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, content, sizeof content);
    sx_client_hello_encode(&w, &h);
    return put_block(&w, block);
}

simplex_rc sx_handshake_client(struct sx_session *s, simplex_bytes hello, uint8_t reply[SX_BLOCK],
                               bool *has_reply)
{
    struct sx_server_hello h;

    if (sx_server_hello_decode(hello, &h) != SIMPLEX_OK)
        return SIMPLEX_E_HANDSHAKE;
    if (!sx_bytes_eq(h.session_id, sx_session_id(s)))
        return SIMPLEX_E_SESSION;
    simplex_rc rc = choose_version(s, &h);
    if (rc == SIMPLEX_OK)
        rc = check_server_key(s, &h);
    if (rc == SIMPLEX_OK)
        rc = client_hello(s, reply);
    if (rc == SIMPLEX_OK && s->service.role == 0)
        rc = agree(s);
    if (rc != SIMPLEX_OK)
        return rc;
    if (s->service.role == 0)
        ready(s);
    else
        s->state = SX_S_WAIT_SERVICE; /* its answer is a plain block: the keys follow it */
    *has_reply = true;
    return SIMPLEX_OK;
}

simplex_rc sx_handshake_service(struct sx_session *s, simplex_bytes content)
{
    struct sx_service_reply r;

    if (sx_service_reply_decode(content, &r) != SIMPLEX_OK || !r.ok ||
        r.service_id.len != sizeof s->service.id)
        return SIMPLEX_E_HANDSHAKE;
    memcpy(s->service.id, r.service_id.ptr, sizeof s->service.id);
    simplex_rc rc = agree(s);
    if (rc == SIMPLEX_OK)
        ready(s);
    return rc;
}
