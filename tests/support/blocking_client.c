/* SPDX-License-Identifier: Apache-2.0 */
#include "support/blocking_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_MS 20000
#define ANSWER_MS 20000

/* ---- bytes ---- */

static simplex_rc write_out(struct smp_peer *p)
{
    for (;;) {
        simplex_bytes out = sx_tls_pending(p->tls);
        if (out.len == 0)
            return SIMPLEX_OK;
        ssize_t n = send(p->fd, out.ptr, out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            p->closed = true;
            return SIMPLEX_E_DISCONNECTED;
        }
        sx_tls_consume(p->tls, (size_t)n);
    }
}

/* Waits for ciphertext and feeds it. E_TIMEOUT, E_DISCONNECTED, errors of TLS. */
static simplex_rc read_in(struct smp_peer *p, int64_t until)
{
    uint8_t buf[32768];
    struct pollfd fd = { .fd = p->fd, .events = POLLIN };
    int64_t left = until - sx_mono_ms();

    if (poll(&fd, 1, left < 0 ? 0 : (int)left) <= 0)
        return SIMPLEX_E_TIMEOUT;
    ssize_t n = recv(p->fd, buf, sizeof(buf), 0);
    if (n <= 0) {
        p->closed = true;
        return SIMPLEX_E_DISCONNECTED;
    }
    simplex_rc rc = sx_tls_feed(p->tls, sx_bytes(buf, (size_t)n));
    return rc == SIMPLEX_OK ? write_out(p) : rc;
}

/* A block that has begun is waited for beyond `until`. */
static simplex_rc read_block(struct smp_peer *p, uint8_t block[SX_BLOCK], int64_t until)
{
    size_t have = 0;

    while (have < SX_BLOCK) {
        size_t got = 0;
        simplex_rc rc = sx_tls_read(p->tls, block + have, SX_BLOCK - have, &got);
        if (rc == SIMPLEX_E_DISCONNECTED)
            p->closed = true;
        if (rc == SIMPLEX_OK && got == 0)
            rc = read_in(p, have == 0 ? until : until + ANSWER_MS);
        if (rc != SIMPLEX_OK)
            return rc;
        have += got;
    }
    return SIMPLEX_OK;
}

/* ---- opening ---- */

int smp_peer_socket(const struct smp_peer_cfg *cfg)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(cfg->port) };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    if (cfg->rcvbuf > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &cfg->rcvbuf, sizeof(cfg->rcvbuf));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (inet_pton(AF_INET, cfg->host == NULL ? "127.0.0.1" : cfg->host, &at.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static simplex_rc handshake(struct smp_peer *p, const struct smp_peer_cfg *cfg, int64_t until)
{
    uint8_t unique[SX_TLS_UNIQUE_MAX], block[SX_BLOCK], reply[SX_BLOCK];
    struct sx_session_client_cfg c = {
        .min = cfg->min,
        .max = cfg->max,
        .session_id = sx_bytes(unique, sx_tls_unique(p->tls, unique)),
        .key_hash = cfg->key_hash,
        .chain = sx_tls_peer_chain(p->tls),
        .no_key = cfg->no_key,
        .alpn = sx_tls_alpn(p->tls),
        .service = cfg->service,
    };
    simplex_bytes content;
    bool has_reply = false;

    simplex_rc rc = sx_session_client(&p->session, &c);
    if (rc == SIMPLEX_OK)
        rc = read_block(p, block, until);
    if (rc == SIMPLEX_OK)
        rc = sx_session_input(&p->session, block, reply, &has_reply, &content);
    if (rc == SIMPLEX_OK && has_reply)
        rc = smp_peer_send_raw(p, sx_bytes(reply, sizeof(reply)));
    if (rc == SIMPLEX_OK && p->session.state == SX_S_WAIT_SERVICE) {
        rc = read_block(p, block, until);
        if (rc == SIMPLEX_OK)
            rc = sx_session_input(&p->session, block, NULL, &has_reply, &content);
    }
    return rc;
}

static simplex_rc open_peer(struct smp_peer *p, const struct smp_peer_cfg *cfg)
{
    int64_t until = sx_mono_ms() + HANDSHAKE_MS;
    simplex_rc rc = sx_tls_ctx_client(&p->ctx);

    if (rc == SIMPLEX_OK && cfg->no_alpn)
        rc = sx_tls_ctx_alpn(p->ctx, sx_bytes(NULL, 0));
    if (rc == SIMPLEX_OK && cfg->cert_pem.len > 0)
        rc = sx_tls_ctx_present(p->ctx, cfg->cert_pem, cfg->cert_key_pem);
    if (rc == SIMPLEX_OK)
        rc = sx_tls_new(p->ctx, cfg->key_hash, &p->tls);
    if (rc == SIMPLEX_OK)
        rc = sx_tls_start(p->tls);
    if (rc == SIMPLEX_OK)
        rc = write_out(p);
    while (rc == SIMPLEX_OK && !sx_tls_ready(p->tls))
        rc = read_in(p, until);
    if (rc == SIMPLEX_OK)
        rc = handshake(p, cfg, until);
    return rc;
}

simplex_rc smp_peer_open(struct smp_peer *p, const struct smp_peer_cfg *cfg)
{
    memset(p, 0, sizeof(*p));
    p->fd = smp_peer_socket(cfg);
    if (p->fd < 0)
        return SIMPLEX_E_CONNECT;
    simplex_rc rc = open_peer(p, cfg);
    if (rc != SIMPLEX_OK)
        smp_peer_close(p);
    return rc;
}

static bool in_use(const struct smp_peer *p, const struct smp_block *b)
{
    for (const struct smp_item *i = p->first; i != NULL; i = i->next)
        if (i >= b->item && i < b->item + b->n)
            return true;
    return false;
}

void smp_peer_forget(struct smp_peer *p)
{
    struct smp_block **place = &p->blocks;

    while (*place != NULL) {
        struct smp_block *b = *place;
        if (in_use(p, b)) {
            place = &b->next;
            continue;
        }
        *place = b->next;
        sx_free(b->item);
        sx_free(b);
    }
}

void smp_peer_close(struct smp_peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    p->first = p->last = NULL;
    smp_peer_forget(p);
    sx_tls_free(p->tls);
    sx_tls_ctx_free(p->ctx);
    sx_session_wipe(&p->session);
    p->tls = NULL;
    p->ctx = NULL;
    p->closed = true;
}

/* ---- sending ---- */

simplex_rc smp_peer_send_raw(struct smp_peer *p, simplex_bytes bytes)
{
    simplex_rc rc = sx_tls_write(p->tls, bytes);

    return rc == SIMPLEX_OK ? write_out(p) : rc;
}

simplex_rc smp_peer_send_content(struct smp_peer *p, simplex_bytes content)
{
    uint8_t block[SX_BLOCK];
    simplex_rc rc = sx_session_seal(&p->session, content, block);

    return rc == SIMPLEX_OK ? smp_peer_send_raw(p, sx_bytes(block, sizeof(block))) : rc;
}

void smp_batch_init(struct smp_batch *b)
{
    sx_wr_fixed(&b->w, b->buf, sizeof(b->buf));
    sx_wr_u8(&b->w, 0);
    b->n = 0;
}

simplex_rc smp_batch_add(struct smp_batch *b, struct smp_peer *p, const struct sx_keypair *key,
                         const uint8_t *corr, simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;

    if (corr == NULL)
        sx_random(b->corr[b->n], SX_ID_LEN);
    else
        memcpy(b->corr[b->n], corr, SX_ID_LEN);
    sx_wr_fixed(&w, buf, sizeof(buf));
    simplex_rc rc = sx_session_encode(&p->session, key, b->corr[b->n], entity, cmd, &w);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_large(&b->w, sx_wr_bytes(&w));
    b->buf[0] = (uint8_t)++b->n;
    return b->w.bad ? SIMPLEX_E_TOO_LARGE : SIMPLEX_OK;
}

simplex_rc smp_batch_send(struct smp_batch *b, struct smp_peer *p)
{
    return smp_peer_send_content(p, sx_wr_bytes(&b->w));
}

/* ---- receiving ---- */

static void append(struct smp_peer *p, struct smp_item *i)
{
    if (p->last == NULL)
        p->first = i;
    else
        p->last->next = i;
    p->last = i;
}

static simplex_rc split(struct smp_peer *p, struct smp_block *b, simplex_bytes content)
{
    struct sx_batch_rd rd;
    simplex_bytes in;

    simplex_rc rc = sx_batch_open(content, &rd);
    if (rc != SIMPLEX_OK)
        return rc;
    b->item = sx_calloc(rd.left, sizeof(*b->item));
    if (b->item == NULL)
        return SIMPLEX_E_NOMEM;
    while (sx_batch_next(&rd, &in)) {
        struct smp_item *i = &b->item[b->n++];
        i->rc = sx_transmission_decode(in, p->session.version, &i->t);
        if (i->rc == SIMPLEX_OK)
            i->rc = sx_rsp_decode(i->t.command, p->session.version, &i->rsp);
        append(p, i);
    }
    b->next = p->blocks;
    p->blocks = b;
    p->n_blocks++;
    return SIMPLEX_OK;
}

static simplex_rc receive(struct smp_peer *p, int64_t until)
{
    simplex_bytes content;
    bool has_reply;
    struct smp_block *b = sx_calloc(1, sizeof(*b));

    if (b == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = read_block(p, b->block, until);
    if (rc == SIMPLEX_OK)
        rc = sx_session_input(&p->session, b->block, NULL, &has_reply, &content);
    if (rc == SIMPLEX_OK)
        rc = split(p, b, content);
    if (rc != SIMPLEX_OK)
        sx_free(b);
    return rc;
}

static const struct smp_item *take(struct smp_peer *p, const simplex_bytes *corr)
{
    struct smp_item *before = NULL;

    for (struct smp_item *i = p->first; i != NULL; before = i, i = i->next) {
        if (corr != NULL && !sx_bytes_eq(i->t.corr_id, *corr))
            continue;
        if (before == NULL)
            p->first = i->next;
        else
            before->next = i->next;
        if (p->last == i)
            p->last = before;
        return i;
    }
    return NULL;
}

static const struct smp_item *wait_for(struct smp_peer *p, const simplex_bytes *corr,
                                       int timeout_ms)
{
    int64_t until = sx_mono_ms() + timeout_ms;
    const struct smp_item *i;

    while ((i = take(p, corr)) == NULL)
        if (receive(p, until) != SIMPLEX_OK)
            return NULL;
    return i;
}

const struct smp_item *smp_peer_wait(struct smp_peer *p, simplex_bytes corr, int timeout_ms)
{
    return wait_for(p, &corr, timeout_ms);
}

const struct smp_item *smp_peer_next(struct smp_peer *p, int timeout_ms)
{
    return wait_for(p, NULL, timeout_ms);
}

bool smp_peer_wait_closed(struct smp_peer *p, int timeout_ms)
{
    int64_t until = sx_mono_ms() + timeout_ms;
    simplex_rc rc = SIMPLEX_OK;

    while (!p->closed && rc == SIMPLEX_OK)
        rc = receive(p, until);
    return p->closed || rc != SIMPLEX_E_TIMEOUT;
}

const struct sx_rsp *smp_peer_cmd_corr(struct smp_peer *p, const struct sx_keypair *key,
                                       const uint8_t corr[SX_ID_LEN], simplex_bytes entity,
                                       const struct sx_cmd *cmd)
{
    struct smp_batch b;

    smp_batch_init(&b);
    if (smp_batch_add(&b, p, key, corr, entity, cmd) != SIMPLEX_OK ||
        smp_batch_send(&b, p) != SIMPLEX_OK)
        return NULL;
    const struct smp_item *i = smp_peer_wait(p, sx_bytes(corr, SX_ID_LEN), ANSWER_MS);
    return i == NULL || i->rc != SIMPLEX_OK ? NULL : &i->rsp;
}

const struct sx_rsp *smp_peer_cmd(struct smp_peer *p, const struct sx_keypair *key,
                                  simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t corr[SX_ID_LEN];

    sx_random(corr, sizeof(corr));
    return smp_peer_cmd_corr(p, key, corr, entity, cmd);
}

simplex_rc smp_open_msg(const struct sx_rsp *msg, const struct sx_keypair *dh,
                        const struct sx_pub *srv_dh, struct sx_rcv_msg *out)
{
    uint8_t secret[SX_DH_MAX];
    struct sx_box_key key;
    simplex_bytes plain;

    if (msg->tag != SX_R_MSG || msg->msg.msg_id.len != SX_ID_LEN)
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_dh(&dh->priv, srv_dh, secret);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_box_key_init(&key, secret);
    /* The body lies in a block of ours. */
    rc = sx_box_open_padded(&key, msg->msg.msg_id.ptr, (uint8_t *)(uintptr_t)msg->msg.body.ptr,
                            msg->msg.body.len, &plain);
    sx_wipe(secret, sizeof(secret));
    sx_wipe(&key, sizeof(key));
    return rc == SIMPLEX_OK ? sx_rcv_msg_decode(plain, out) : rc;
}
