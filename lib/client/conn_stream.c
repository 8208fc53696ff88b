/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes and blocks of a connection: the socket's queue, TLS, the session's blocks. */
#include "client/conn_internal.h"

#define WRITE_HIGH (16u * SX_BLOCK) /* bytes in the socket's queue: congested above ... */
#define WRITE_LOW (4u * SX_BLOCK)   /* ... until below this */

struct write {
    uv_write_t req;
    struct sx_conn *conn;
    uint8_t *bytes;
};

void sx_conn_drop_stream(struct sx_conn *c)
{
    sx_tls_free(c->tls);
    c->tls = NULL;
    sx_identity_unref(c->identity); /* of that TLS: after it */
    c->identity = NULL;
    sx_session_wipe(&c->session);
    sx_free(c->partial);
    c->partial = NULL;
    c->partial_len = 0;
    sx_free(c->hello);
    c->hello = NULL;
    c->hello_len = 0;
    c->congested = false;
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;
    struct sx_conn *c = w->conn;

    sx_free(w->bytes);
    sx_free(w);
    if (c->dead || status == UV_ECANCELED)
        return;
    if (status != 0) {
        sx_conn_fail(c, SIMPLEX_E_DISCONNECTED);
    } else if (c->congested &&
               uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) <= WRITE_LOW) {
        c->congested = false;
        simplex_rc rc = sx_conn_push(c); /* what TLS had to say meanwhile */
        if (rc != SIMPLEX_OK)
            sx_conn_fail(c, rc);
        else
            c->ops->drained(c->owner);
    }
}

/* Takes bytes, also when it fails. */
static simplex_rc write_owned(struct sx_conn *c, uint8_t *bytes, size_t len)
{
    struct write *w = bytes == NULL ? NULL : sx_malloc(sizeof(*w));

    if (w == NULL) {
        sx_free(bytes);
        return SIMPLEX_E_NOMEM;
    }
    w->conn = c;
    w->bytes = bytes;
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        sx_free(bytes);
        sx_free(w);
        return SIMPLEX_E_DISCONNECTED;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > WRITE_HIGH)
        c->congested = true;
    return SIMPLEX_OK;
}

simplex_rc sx_conn_send_plain(struct sx_conn *c, simplex_bytes out)
{
    if (out.len == 0)
        return SIMPLEX_OK;
    return write_owned(c, sx_memdup(out), out.len);
}

/* How much the socket took at once; -1 when it is broken. */
static ssize_t try_write(struct sx_conn *c, simplex_bytes out)
{
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > 0)
        return 0;
    uv_buf_t buf = uv_buf_init((char *)out.ptr, (unsigned)out.len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == UV_EAGAIN)
        return 0;
    return n < 0 ? -1 : n;
}

simplex_rc sx_conn_push(struct sx_conn *c)
{
    simplex_bytes out = sx_tls_pending(c->tls);

    if (out.len == 0)
        return SIMPLEX_OK;
    ssize_t n = try_write(c, out);
    if (n < 0)
        return SIMPLEX_E_DISCONNECTED;
    sx_tls_consume(c->tls, (size_t)n);
    if ((size_t)n == out.len)
        return SIMPLEX_OK;
    size_t len;
    uint8_t *rest = sx_tls_take(c->tls, &len);
    return write_owned(c, rest, len);
}

void sx_conn_farewell(struct sx_conn *c)
{
    sx_tls_shutdown(c->tls);
    if (sx_conn_push(c) != SIMPLEX_OK)
        sx_log(SX_LOG_DEBUG, "the connection was closed without a farewell");
}

simplex_rc sx_conn_write(struct sx_conn *c, simplex_bytes content)
{
    simplex_rc rc = sx_session_seal(&c->session, content, c->net->out_block);

    if (rc != SIMPLEX_OK)
        return rc;
    return sx_tls_write(c->tls, sx_bytes(c->net->out_block, SX_BLOCK));
}

bool sx_conn_congested(const struct sx_conn *c)
{
    return c->congested;
}

const struct sx_session *sx_conn_session(const struct sx_conn *c)
{
    return &c->session;
}

simplex_bytes sx_conn_hello(const struct sx_conn *c)
{
    return sx_bytes(c->hello, c->hello_len);
}

/* ---- SMP ---- */

static simplex_rc begin_session(struct sx_conn *c)
{
    uint8_t unique[64];
    struct sx_session_client_cfg cfg = {
        .min = c->net->cfg.min_version,
        .max = c->net->cfg.max_version,
        .key_hash = c->attempt->server.key_hash,
        .chain = sx_tls_peer_chain(c->tls),
        .alpn = sx_tls_alpn(c->tls),
        .proxy = c->net->cfg.proxy,
        .service = c->identity != NULL && sx_tls_presented(c->tls) ? &c->identity->cert : NULL,
    };

    cfg.session_id = sx_bytes(unique, sx_tls_unique(c->tls, unique));
    c->stage = STAGE_HELLO;
    return sx_session_client(&c->session, &cfg);
}

static void become_ready(struct sx_conn *c)
{
    c->stage = STAGE_READY;
    sx_conn_end_attempt(c);
    sx_tls_forget_peer_chain(c->tls);
    c->ops->ready(c->owner);
}

/* Before the session reads it; what is wrong with it the session will tell. */
static simplex_rc keep_hello(struct sx_conn *c, const uint8_t block[SX_BLOCK])
{
    simplex_bytes hello;

    if (sx_unpad(sx_bytes(block, SX_BLOCK), &hello) != SIMPLEX_OK)
        return SIMPLEX_E_HANDSHAKE;
    c->hello = sx_memdup(hello);
    c->hello_len = hello.len;
    return c->hello != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc on_block(struct sx_conn *c, uint8_t block[SX_BLOCK])
{
    bool was_ready = c->session.state == SX_S_READY;
    bool has_reply = false;
    simplex_bytes content;
    simplex_rc rc = SIMPLEX_OK;

    if (!was_ready && c->net->cfg.proxy && c->hello == NULL)
        rc = keep_hello(c, block);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_session_input(&c->session, block, c->net->out_block, &has_reply, &content);

    if (rc == SIMPLEX_OK && has_reply) {
        rc = sx_tls_write(c->tls, sx_bytes(c->net->out_block, SX_BLOCK));
        if (rc == SIMPLEX_OK)
            rc = sx_conn_push(c);
    }
    if (rc != SIMPLEX_OK)
        return rc;
    if (was_ready)
        c->ops->content(c->owner, content);
    else if (c->session.state == SX_S_READY)
        become_ready(c);
    return SIMPLEX_OK;
}

/* Keeps what came of a block that is not complete. */
static simplex_rc keep_partial(struct sx_conn *c, const uint8_t *p, size_t n)
{
    if (n == 0)
        return SIMPLEX_OK;
    if (c->partial == NULL) {
        c->partial = sx_malloc(SX_BLOCK);
        if (c->partial == NULL)
            return SIMPLEX_E_NOMEM;
        memcpy(c->partial, p, n);
    }
    c->partial_len = n;
    return SIMPLEX_OK;
}

/* Takes plaintext until `block` is full or there is no more; E_* also after the peer's farewell. */
static simplex_rc fill_block(struct sx_conn *c, simplex_bytes *in, uint8_t *block, size_t *have)
{
    while (*have < SX_BLOCK) {
        size_t got = 0;
        simplex_rc rc = sx_tls_receive(c->tls, in, block + *have, SX_BLOCK - *have, &got);
        if (rc == SIMPLEX_OK && c->stage == STAGE_TLS && sx_tls_ready(c->tls))
            rc = begin_session(c);
        if (rc != SIMPLEX_OK || got == 0)
            return rc;
        *have += got;
    }
    return SIMPLEX_OK;
}

static simplex_rc read_blocks(struct sx_conn *c, simplex_bytes *in)
{
    for (;;) {
        /* Whole blocks, the usual case, never touch the heap. */
        uint8_t *block = c->partial != NULL ? c->partial : c->net->in_block;
        size_t have = c->partial_len;
        simplex_rc rc = fill_block(c, in, block, &have);
        if (rc != SIMPLEX_OK)
            return rc;
        if (have < SX_BLOCK)
            return keep_partial(c, block, have);
        uint8_t *mine = c->partial;
        c->partial = NULL;
        c->partial_len = 0;
        rc = on_block(c, block);
        sx_free(mine);
        if (rc != SIMPLEX_OK || c->dead)
            return rc;
    }
}

/* ---- TLS ---- */

simplex_rc sx_conn_begin_tls(struct sx_conn *c)
{
    c->identity = c->ops->identity != NULL ? sx_identity_ref(c->ops->identity(c->owner)) : NULL;
    simplex_rc rc = sx_tls_new(c->identity != NULL ? c->identity->tls : c->net->tls,
                               c->attempt->server.key_hash, &c->tls);

    c->stage = STAGE_TLS;
    if (rc == SIMPLEX_OK)
        rc = sx_tls_start(c->tls);
    return rc == SIMPLEX_OK ? sx_conn_push(c) : rc;
}

simplex_rc sx_conn_on_cipher(struct sx_conn *c, simplex_bytes in)
{
    simplex_rc rc = read_blocks(c, &in);
    /* What TLS itself has to say: the end of the handshake, alerts, new keys. TLS keeps it for a
     * peer that does not read, and gives up when it becomes too much. */
    simplex_rc sent = c->dead || c->congested ? SIMPLEX_OK : sx_conn_push(c);

    return rc != SIMPLEX_OK ? rc : sent;
}
