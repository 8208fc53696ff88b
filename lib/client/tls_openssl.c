/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS connections over OpenSSL. A server holds thousands that are idle, so an idle one keeps no
 * buffer at all: OpenSSL releases its records, and ours live only while they hold bytes. That is
 * why the BIO below exists: a memory BIO would keep its largest size for ever.
 */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "client/tls_internal.h"

#define RECORD_PLAIN 16384
#define RECORD_OVERHEAD 64 /* header, type, tag and more: an upper bound */
/* Requests for new keys, and renegotiations that are refused, are answered, at 30 bytes each. A
 * peer that reads none of thousands is after our memory. */
#define ANSWERED_MAX 65536

/* ---- buffers ---- */

static void buf_free(struct tls_buf *b)
{
    sx_free(b->p);
    *b = (struct tls_buf){ 0 };
}

static size_t buf_left(const struct tls_buf *b)
{
    return b->len - b->off;
}

/* Makes room for n more bytes; cap is checked by the callers. Ciphertext: nothing to wipe. */
static bool buf_reserve(struct tls_buf *b, size_t n)
{
    size_t left = buf_left(b);

    if (n <= b->size - b->len)
        return true;
    size_t size = left + n > 2 * b->size ? left + n : 2 * b->size;
    uint8_t *p = sx_malloc(size);
    if (p == NULL)
        return false;
    if (left > 0)
        memcpy(p, b->p + b->off, left);
    sx_free(b->p);
    *b = (struct tls_buf){ p, 0, left, size };
    return true;
}

static bool buf_add(struct tls_buf *b, simplex_bytes s)
{
    if (s.len == 0)
        return true;
    if (!buf_reserve(b, s.len))
        return false;
    memcpy(b->p + b->len, s.ptr, s.len);
    b->len += s.len;
    return true;
}

static void buf_drop(struct tls_buf *b, size_t n)
{
    b->off += n;
    if (b->off >= b->len)
        buf_free(b);
}

/* ---- the BIO ---- */

/* What was kept from earlier calls comes before what is lent now. */
static int bio_read(BIO *bio, char *to, size_t n, size_t *got)
{
    struct sx_tls *t = BIO_get_data(bio);
    size_t kept = buf_left(&t->kept);

    BIO_clear_retry_flags(bio);
    if (kept > 0) {
        *got = n < kept ? n : kept;
        memcpy(to, t->kept.p + t->kept.off, *got);
        buf_drop(&t->kept, *got);
        return 1;
    }
    if (t->in.len > 0) {
        *got = n < t->in.len ? n : t->in.len;
        memcpy(to, t->in.ptr, *got);
        t->in = sx_bytes(t->in.ptr + *got, t->in.len - *got);
        return 1;
    }
    *got = 0;
    BIO_set_retry_read(bio);
    return 0;
}

static int bio_write(BIO *bio, const char *from, size_t n, size_t *put)
{
    struct sx_tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *put = 0;
    t->answered += t->reading ? n : 0;
    if (t->answered > ANSWERED_MAX) {
        t->failed = SIMPLEX_E_TLS;
        return 0;
    }
    if (n > SX_TLS_OUT_MAX - buf_left(&t->out) || !buf_add(&t->out, sx_bytes(from, n))) {
        t->failed = SIMPLEX_E_NOMEM;
        return 0;
    }
    *put = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *sx_tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "simplex");

    if (m != NULL && BIO_meth_set_read_ex(m, bio_read) == 1 &&
        BIO_meth_set_write_ex(m, bio_write) == 1 && BIO_meth_set_ctrl(m, bio_ctrl) == 1 &&
        BIO_meth_set_create(m, bio_create) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* ---- the peer's certificates ---- */

static simplex_rc copy_chain(STACK_OF(X509) * certs, struct peer_chain **out)
{
    int count = sk_X509_num(certs);
    int len[SX_CHAIN_MAX];
    size_t total = 0;

    *out = NULL;
    if (count < 1 || count > SX_CHAIN_MAX)
        return SIMPLEX_E_CERT;
    for (int i = 0; i < count; i++) {
        len[i] = i2d_X509(sk_X509_value(certs, i), NULL);
        if (len[i] <= 0)
            return SIMPLEX_E_CERT;
        total += (size_t)len[i];
    }
    struct peer_chain *peer = sx_malloc(sizeof *peer + total);
    if (peer == NULL)
        return SIMPLEX_E_NOMEM;
    peer->chain = (struct sx_chain){ .count = (size_t)count };
    uint8_t *p = peer->der;
    for (int i = 0; i < count; i++) {
        peer->chain.cert[i] = sx_bytes(p, (size_t)len[i]);
        if (i2d_X509(sk_X509_value(certs, i), &p) != len[i]) {
            sx_free(peer);
            return SIMPLEX_E_CERT;
        }
    }
    *out = peer;
    return SIMPLEX_OK;
}

/* OpenSSL makes the alert from this. */
static int verify_result(simplex_rc rc)
{
    switch (rc) {
    case SIMPLEX_OK:
        return X509_V_OK;
    case SIMPLEX_E_FINGERPRINT:
        return X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN; /* unknown_ca */
    case SIMPLEX_E_NOMEM:
        return X509_V_ERR_OUT_OF_MEM;
    default:
        return X509_V_ERR_CERT_REJECTED; /* bad_certificate */
    }
}

/*
 * A server keeps what a service presents and judges it when the service says hello; the proof of
 * possession is TLS's own. Called once a handshake at most: there is no renegotiation.
 */
int sx_tls_verify_peer(X509_STORE_CTX *store, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct sx_tls *t = BIO_get_data(SSL_get_rbio(ssl));

    (void)arg;
    sx_tls_forget_peer_chain(t);
    simplex_rc rc = copy_chain(X509_STORE_CTX_get0_untrusted(store), &t->peer);
    if (rc == SIMPLEX_OK && !t->is_server)
        rc = sx_chain_verify(&t->peer->chain, t->key_hash, sx_now_ms() / 1000);
    t->cert_error = rc;
    X509_STORE_CTX_set_error(store, verify_result(rc));
    return rc == SIMPLEX_OK;
}

int sx_tls_asked(SSL *ssl, void *arg)
{
    struct sx_tls *t = BIO_get_data(SSL_get_rbio(ssl));

    (void)arg;
    t->presented = true;
    return 1;
}

bool sx_tls_presented(const struct sx_tls *t)
{
    return t->presented;
}

const struct sx_chain *sx_tls_peer_chain(const struct sx_tls *t)
{
    static const struct sx_chain none;

    return t->peer != NULL ? &t->peer->chain : &none;
}

void sx_tls_forget_peer_chain(struct sx_tls *t)
{
    sx_free(t->peer);
    t->peer = NULL;
}

/* ---- connections ---- */

simplex_rc sx_tls_new(struct sx_tls_ctx *ctx, const uint8_t *key_hash, struct sx_tls **out)
{
    struct sx_tls *t;

    *out = NULL;
    if (ctx->is_server != (key_hash == NULL))
        return SIMPLEX_E_ARG;
    t = sx_calloc(1, sizeof *t);
    if (t == NULL)
        return SIMPLEX_E_NOMEM;
    t->is_server = ctx->is_server;
    if (key_hash != NULL)
        memcpy(t->key_hash, key_hash, sizeof t->key_hash);
    t->ssl = SSL_new(ctx->ssl);
    BIO *bio = t->ssl != NULL ? BIO_new(ctx->bio) : NULL;
    if (bio == NULL) {
        ERR_clear_error();
        sx_tls_free(t);
        return SIMPLEX_E_NOMEM;
    }
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio); /* one reference for both directions */
    if (t->is_server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    *out = t;
    return SIMPLEX_OK;
}

void sx_tls_free(struct sx_tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    buf_free(&t->out);
    buf_free(&t->kept);
    sx_tls_forget_peer_chain(t);
    sx_free(t);
}

/* What the last call on t->ssl means; `ret` is its result, not positive. */
static simplex_rc judge(struct sx_tls *t, int ret)
{
    int err = SSL_get_error(t->ssl, ret);

    ERR_clear_error();
    if (t->failed != SIMPLEX_OK)
        return t->failed;
    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_CLIENT_HELLO_CB)
        return SIMPLEX_OK;
    if (err == SSL_ERROR_ZERO_RETURN)
        t->failed = SIMPLEX_E_DISCONNECTED;
    else
        t->failed = t->cert_error != SIMPLEX_OK ? t->cert_error : SIMPLEX_E_TLS;
    buf_free(&t->kept);
    return t->failed;
}

static simplex_rc handshake(struct sx_tls *t)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(t->ssl);

    if (ret != 1)
        return judge(t, ret);
    t->ready = t->failed == SIMPLEX_OK;
    return t->failed;
}

simplex_rc sx_tls_start(struct sx_tls *t)
{
    if (t->failed != SIMPLEX_OK)
        return t->failed;
    return t->ready || t->is_server ? SIMPLEX_OK : handshake(t);
}

/* Something of what came before is not read yet. */
static bool has_input(const struct sx_tls *t)
{
    return buf_left(&t->kept) > 0 || SSL_has_pending(t->ssl) == 1;
}

static simplex_rc keep(struct sx_tls *t, simplex_bytes in)
{
    if (in.len > SX_TLS_KEPT_MAX - buf_left(&t->kept))
        t->failed = SIMPLEX_E_TOO_LARGE;
    else if (!buf_add(&t->kept, in))
        t->failed = SIMPLEX_E_NOMEM;
    return t->failed;
}

simplex_rc sx_tls_feed(struct sx_tls *t, simplex_bytes in)
{
    if (t->failed != SIMPLEX_OK)
        return t->failed;
    if (!t->ready && !t->waits) {
        t->in = in;
        simplex_rc rc = handshake(t);
        in = t->in;
        t->in = sx_bytes(NULL, 0);
        if (rc != SIMPLEX_OK)
            return rc;
    }
    return keep(t, in);
}

bool sx_tls_ready(const struct sx_tls *t)
{
    return t->ready;
}

simplex_rc sx_tls_read(struct sx_tls *t, uint8_t *to, size_t n, size_t *got)
{
    *got = 0;
    if (t->failed != SIMPLEX_OK)
        return t->failed;
    if (!t->ready || n == 0)
        return SIMPLEX_OK;
    ERR_clear_error();
    t->reading = true;
    int ret = SSL_read_ex(t->ssl, to, n, got);
    t->reading = false;
    if (ret == 1)
        return SIMPLEX_OK;
    *got = 0;
    return judge(t, ret);
}

simplex_rc sx_tls_receive(struct sx_tls *t, simplex_bytes *in, uint8_t *to, size_t n, size_t *got)
{
    simplex_rc rc = t->failed;

    *got = 0;
    if (rc == SIMPLEX_OK && t->ready && in->len == 0 && !has_input(t))
        return SIMPLEX_OK; /* OpenSSL would take buffers for a record to find that out */
    t->in = *in;
    if (rc == SIMPLEX_OK && !t->ready && !t->waits)
        rc = handshake(t);
    if (rc == SIMPLEX_OK)
        rc = sx_tls_read(t, to, n, got);
    *in = t->in;
    t->in = sx_bytes(NULL, 0);
    return rc;
}

bool sx_tls_unfinished(const struct sx_tls *t)
{
    return SSL_has_pending(t->ssl) == 1;
}

simplex_rc sx_tls_write(struct sx_tls *t, simplex_bytes plain)
{
    if (t->failed != SIMPLEX_OK)
        return t->failed;
    if (!t->ready)
        return SIMPLEX_E_PROHIBITED;
    size_t room = SX_TLS_OUT_MAX - buf_left(&t->out);
    size_t overhead = (plain.len / RECORD_PLAIN + 1) * RECORD_OVERHEAD;
    if (plain.len > room || overhead > room - plain.len)
        return SIMPLEX_E_TOO_LARGE;
    if (plain.len == 0)
        return SIMPLEX_OK;
    if (!buf_reserve(&t->out, plain.len + overhead))
        return SIMPLEX_E_NOMEM;
    size_t put;
    ERR_clear_error();
    int ret = SSL_write_ex(t->ssl, plain.ptr, plain.len, &put);
    if (ret == 1)
        return SIMPLEX_OK;
    simplex_rc rc = judge(t, ret);
    if (rc == SIMPLEX_OK) /* it cannot wait for the socket: our BIO takes all */
        rc = t->failed = SIMPLEX_E_TLS;
    return rc;
}

simplex_bytes sx_tls_pending(struct sx_tls *t)
{
    return sx_bytes(t->out.p != NULL ? t->out.p + t->out.off : NULL, buf_left(&t->out));
}

void sx_tls_consume(struct sx_tls *t, size_t n)
{
    size_t left = buf_left(&t->out);

    buf_drop(&t->out, n < left ? n : left);
    if (n >= left)
        t->answered = 0;
}

uint8_t *sx_tls_take(struct sx_tls *t, size_t *len)
{
    uint8_t *p = t->out.p;

    t->answered = 0;
    *len = buf_left(&t->out);
    if (*len == 0) {
        buf_free(&t->out);
        return NULL;
    }
    if (t->out.off > 0)
        memmove(p, p + t->out.off, *len);
    t->out = (struct tls_buf){ 0 };
    return p;
}

void sx_tls_shutdown(struct sx_tls *t)
{
    if (!t->ready || (t->failed != SIMPLEX_OK && t->failed != SIMPLEX_E_DISCONNECTED))
        return;
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
}

size_t sx_tls_unique(const struct sx_tls *t, uint8_t out[SX_TLS_UNIQUE_MAX])
{
    if (!t->ready)
        return 0;
    return t->is_server ? SSL_get_peer_finished(t->ssl, out, SX_TLS_UNIQUE_MAX)
                        : SSL_get_finished(t->ssl, out, SX_TLS_UNIQUE_MAX);
}

simplex_rc sx_tls_resume(struct sx_tls *t)
{
    if (t->failed != SIMPLEX_OK || !t->waits)
        return t->failed;
    t->waits = false;
    return handshake(t); /* with what was kept */
}

bool sx_tls_web(const struct sx_tls *t)
{
    return t->web;
}

bool sx_tls_alpn(const struct sx_tls *t)
{
    const unsigned char *name;
    unsigned len;

    SSL_get0_alpn_selected(t->ssl, &name, &len);
    return len > 0;
}

int sx_tls_version(const struct sx_tls *t)
{
    return SSL_version(t->ssl);
}
