/* SPDX-License-Identifier: Apache-2.0 */
/* The error texts of SMP (protocol/smp.md section 6.2): words, each from one table. */
#include "wire/smp_parts.h"

static const char *const err_words[] = {
    [SX_ERR_BLOCK] = "BLOCK",
    [SX_ERR_SESSION] = "SESSION",
    [SX_ERR_AUTH] = "AUTH",
    [SX_ERR_SERVICE] = "SERVICE",
    [SX_ERR_CRYPTO] = "CRYPTO",
    [SX_ERR_QUOTA] = "QUOTA",
    [SX_ERR_EXPIRED] = "EXPIRED",
    [SX_ERR_NO_MSG] = "NO_MSG",
    [SX_ERR_LARGE_MSG] = "LARGE_MSG",
    [SX_ERR_INTERNAL] = "INTERNAL",
    [SX_ERR_DUPLICATE] = "DUPLICATE_",
    [SX_ERR_CMD] = "CMD",
    [SX_ERR_BLOCKED] = "BLOCKED",
    [SX_ERR_STORE] = "STORE",
    [SX_ERR_NAME] = "NAME",
    [SX_ERR_PROXY] = "PROXY",
};
static const char *const cmd_words[] = {
    [SX_CMD_UNKNOWN] = "UNKNOWN",       [SX_CMD_SYNTAX] = "SYNTAX",
    [SX_CMD_PROHIBITED] = "PROHIBITED", [SX_CMD_NO_AUTH] = "NO_AUTH",
    [SX_CMD_HAS_AUTH] = "HAS_AUTH",     [SX_CMD_NO_ENTITY] = "NO_ENTITY",
};
static const char *const name_words[] = {
    [SX_NAME_NO_RESOLVER] = "NO_RESOLVER",
    [SX_NAME_NOT_FOUND] = "NOT_FOUND",
    [SX_NAME_RESOLVER] = "RESOLVER",
};
static const char *const proxy_words[] = {
    [SX_PROXY_PROTOCOL] = "PROTOCOL",
    [SX_PROXY_BROKER] = "BROKER",
    [SX_PROXY_BASIC_AUTH] = "BASIC_AUTH",
    [SX_PROXY_NO_SESSION] = "NO_SESSION",
};
static const char *const broker_words[] = {
    [SX_BROKER_RESPONSE] = "RESPONSE",   [SX_BROKER_UNEXPECTED] = "UNEXPECTED",
    [SX_BROKER_NETWORK] = "NETWORK",     [SX_BROKER_TIMEOUT] = "TIMEOUT",
    [SX_BROKER_HOST] = "HOST",           [SX_BROKER_NO_SERVICE] = "NO_SERVICE",
    [SX_BROKER_TRANSPORT] = "TRANSPORT",
};
static const char *const transport_words[] = {
    [SX_TRANSPORT_BLOCK] = "BLOCK",         [SX_TRANSPORT_VERSION] = "VERSION",
    [SX_TRANSPORT_LARGE_MSG] = "LARGE_MSG", [SX_TRANSPORT_SESSION] = "SESSION",
    [SX_TRANSPORT_NO_AUTH] = "NO_AUTH",     [SX_TRANSPORT_HANDSHAKE] = "HANDSHAKE",
};
static const char *const handshake_words[] = {
    [SX_HS_PARSE] = "PARSE",
    [SX_HS_IDENTITY] = "IDENTITY",
    [SX_HS_BAD_AUTH] = "BAD_AUTH",
    [SX_HS_BAD_SERVICE] = "BAD_SERVICE",
};
static const char *const reason_words[] = {
    [SX_BLOCKED_SPAM] = "spam",
    [SX_BLOCKED_CONTENT] = "content",
};
/* What may stand behind NETWORK; the first three carry a text. */
static const char *const network_words[] = {
    [1] = "CONNECT",   [2] = "TLS",    [3] = "SUBSCRIBE",
    [4] = "UNKNOWNCA", [5] = "FAILED", [6] = "TIMEOUT",
};
#define NETWORK_WITH_TEXT 3

#define PUT(w, words, i) put_word(w, words, SX_COUNT(words), i)
#define GET(r, words) get_word(r, words, SX_COUNT(words))

static void put_word(struct sx_wr *w, const char *const *words, size_t n, size_t i)
{
    if (i == 0 || i >= n)
        w->bad = true;
    else
        sx_wr_text(w, words[i]);
}

/* Takes the next word, up to a space or the end, and finds it in the table. */
static uint8_t get_word(struct sx_rd *r, const char *const *words, size_t n)
{
    size_t len = 0;

    while (len < r->left && r->p[len] != ' ')
        len++;
    simplex_bytes word = sx_rd_take(r, len);
    for (size_t i = 1; i < n && !r->bad; i++) {
        if (sx_bytes_eq(word, sx_str(words[i])))
            return (uint8_t)i;
    }
    r->bad = true;
    return 0;
}

static void take_space(struct sx_rd *r)
{
    if (!sx_rd_lit(r, " "))
        r->bad = true;
}

/* ---- transport errors: inside PROXY BROKER and in the handshake ---- */

void sx_wr_transport_error(struct sx_wr *w, const struct sx_smp_err *e)
{
    PUT(w, transport_words, e->transport);
    if (e->transport == SX_TRANSPORT_HANDSHAKE) {
        sx_wr_u8(w, ' ');
        PUT(w, handshake_words, e->handshake);
    }
}

void sx_rd_transport_error(struct sx_rd *r, struct sx_smp_err *e)
{
    e->transport = GET(r, transport_words);
    if (e->transport == SX_TRANSPORT_HANDSHAKE) {
        take_space(r);
        e->handshake = GET(r, handshake_words);
    }
}

/* ---- PROXY BROKER ---- */

static void put_broker(struct sx_wr *w, const struct sx_smp_err *e)
{
    PUT(w, broker_words, e->broker);
    switch (e->broker) {
    case SX_BROKER_RESPONSE:
    case SX_BROKER_UNEXPECTED:
        sx_wr_u8(w, ' ');
        sx_wr_short(w, e->text);
        break;
    case SX_BROKER_TRANSPORT:
        sx_wr_u8(w, ' ');
        sx_wr_transport_error(w, e);
        break;
    default: /* the detail of NETWORK is never sent */
        break;
    }
}

static void get_network_detail(struct sx_rd *r, struct sx_smp_err *e)
{
    if (!sx_rd_lit(r, " "))
        return;
    struct sx_rd detail = *r;
    uint8_t kind = GET(r, network_words);
    if (kind >= 1 && kind <= NETWORK_WITH_TEXT) {
        take_space(r);
        (void)sx_rd_short(r);
    }
    if (!r->bad)
        e->text = sx_rd_take(&detail, detail.left - r->left);
}

static void get_broker(struct sx_rd *r, struct sx_smp_err *e)
{
    e->broker = GET(r, broker_words);
    switch (e->broker) {
    case SX_BROKER_RESPONSE:
    case SX_BROKER_UNEXPECTED:
        take_space(r);
        e->text = sx_rd_short(r);
        break;
    case SX_BROKER_NETWORK:
        get_network_detail(r, e);
        break;
    case SX_BROKER_TRANSPORT:
        take_space(r);
        sx_rd_transport_error(r, e);
        break;
    default:
        break;
    }
}

/* ---- the rest ---- */

#define NOTICE_SINCE 18
#define BLOCKED_SINCE 12

void sx_wr_block_info(struct sx_wr *w, const struct sx_smp_err *e, uint16_t version)
{
    sx_wr_text(w, "reason=");
    PUT(w, reason_words, e->blocked);
    if (e->has_notice && version >= NOTICE_SINCE) {
        sx_wr_text(w, ",notice=");
        sx_wr_notice(w, e->has_ttl, e->ttl);
    }
}

void sx_rd_block_info(struct sx_rd *r, struct sx_smp_err *e)
{
    if (!sx_rd_lit(r, "reason="))
        r->bad = true;
    for (size_t i = 1; i < SX_COUNT(reason_words) && e->blocked == 0; i++) {
        if (sx_rd_lit(r, reason_words[i]))
            e->blocked = (uint8_t)i;
    }
    if (e->blocked == 0)
        r->bad = true;
    e->has_notice = sx_rd_lit(r, ",notice=");
    if (e->has_notice)
        sx_rd_notice(r, &e->has_ttl, &e->ttl);
}

static void put_name(struct sx_wr *w, const struct sx_smp_err *e)
{
    PUT(w, name_words, e->name);
    if (e->name == SX_NAME_RESOLVER) {
        sx_wr_u8(w, ' ');
        sx_wr_raw(w, e->text);
    }
}

static void get_name(struct sx_rd *r, struct sx_smp_err *e)
{
    e->name = GET(r, name_words);
    if (e->name == SX_NAME_RESOLVER) {
        take_space(r);
        e->text = sx_rd_rest(r);
    }
}

static void get_cmd(struct sx_rd *r, struct sx_smp_err *e)
{
    if (sx_rd_lit(r, "NO_QUEUE")) /* its older name */
        e->cmd = SX_CMD_NO_ENTITY;
    else
        e->cmd = GET(r, cmd_words);
}

/* Every error but PROXY: of this server, or of a relay behind it. */
static void put_plain(struct sx_wr *w, uint8_t err, const struct sx_smp_err *e, uint16_t version)
{
    PUT(w, err_words, err);
    if (err < SX_ERR_CMD)
        return;
    sx_wr_u8(w, ' ');
    switch (err) {
    case SX_ERR_CMD:
        PUT(w, cmd_words, e->cmd);
        break;
    case SX_ERR_BLOCKED:
        sx_wr_block_info(w, e, version);
        break;
    case SX_ERR_STORE:
        sx_wr_raw(w, e->text);
        break;
    case SX_ERR_NAME:
        put_name(w, e);
        break;
    default:
        w->bad = true;
    }
}

static void get_plain(struct sx_rd *r, uint8_t err, struct sx_smp_err *e)
{
    if (err < SX_ERR_CMD)
        return;
    take_space(r);
    switch (err) {
    case SX_ERR_CMD:
        get_cmd(r, e);
        break;
    case SX_ERR_BLOCKED:
        sx_rd_block_info(r, e);
        break;
    case SX_ERR_STORE:
        e->text = sx_rd_rest(r);
        break;
    case SX_ERR_NAME:
        get_name(r, e);
        break;
    default: /* PROXY inside PROXY */
        r->bad = true;
    }
}

static void put_proxy(struct sx_wr *w, const struct sx_smp_err *e, uint16_t version)
{
    PUT(w, proxy_words, e->proxy);
    if (e->proxy == SX_PROXY_PROTOCOL) {
        sx_wr_u8(w, ' ');
        put_plain(w, e->relay, e, version);
    } else if (e->proxy == SX_PROXY_BROKER) {
        sx_wr_u8(w, ' ');
        put_broker(w, e);
    }
}

static void get_proxy(struct sx_rd *r, struct sx_smp_err *e)
{
    e->proxy = GET(r, proxy_words);
    if (e->proxy == SX_PROXY_PROTOCOL) {
        take_space(r);
        e->relay = GET(r, err_words);
        get_plain(r, e->relay, e);
    } else if (e->proxy == SX_PROXY_BROKER) {
        take_space(r);
        get_broker(r, e);
    }
}

/* Below v12 BLOCKED becomes AUTH, but not what a relay answered (section 14 item 3). */
void sx_smp_err_encode(struct sx_wr *w, const struct sx_smp_err *e, uint16_t version)
{
    if (e->err == SX_ERR_BLOCKED && version < BLOCKED_SINCE) {
        sx_wr_text(w, err_words[SX_ERR_AUTH]);
    } else if (e->err == SX_ERR_PROXY) {
        sx_wr_text(w, err_words[SX_ERR_PROXY]);
        sx_wr_u8(w, ' ');
        put_proxy(w, e, version);
    } else {
        put_plain(w, e->err, e, version);
    }
}

simplex_rc sx_smp_err_decode(simplex_bytes text, struct sx_smp_err *e)
{
    struct sx_rd r = sx_rd_init(text);

    *e = (struct sx_smp_err){ 0 };
    e->err = GET(&r, err_words);
    if (e->err == SX_ERR_PROXY) {
        take_space(&r);
        get_proxy(&r, e);
    } else {
        get_plain(&r, e->err, e);
    }
    if (sx_rd_done(&r))
        return SIMPLEX_OK;
    *e = (struct sx_smp_err){ 0 };
    return SIMPLEX_E_DECODE;
}
