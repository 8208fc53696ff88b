/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include "forward.h"
#include "proxy.h"

/* PKEY is a transmission in a block like the hello it is made of, which may fill one. */
#define PKEY_MAX (SX_BATCH_CONTENT - 1024)

/* ---- errors (section 8, the last paragraph) ---- */

static struct sx_smp_err broker(enum sx_err_broker b)
{
    return (
        struct sx_smp_err){ .err = SX_ERR_PROXY, .proxy = SX_PROXY_BROKER, .broker = (uint8_t)b };
}

static struct sx_smp_err transport(enum sx_err_transport t, enum sx_err_handshake h)
{
    struct sx_smp_err e = broker(SX_BROKER_TRANSPORT);

    e.transport = (uint8_t)t;
    e.handshake = (uint8_t)h;
    return e;
}

static struct sx_smp_err plain(enum sx_err err)
{
    return (struct sx_smp_err){ .err = (uint8_t)err };
}

static struct sx_smp_err with_text(struct sx_smp_err e, const char *text)
{
    e.text = sx_str(text);
    return e;
}

static struct sx_smp_err error_of(simplex_rc rc)
{
    switch (rc) {
    case SIMPLEX_E_DECODE:
        return with_text(broker(SX_BROKER_RESPONSE), "the answer cannot be read");
    case SIMPLEX_E_RESPONSE:
        return with_text(broker(SX_BROKER_UNEXPECTED), "not an answer to RFWD");
    case SIMPLEX_E_TIMEOUT:
        return broker(SX_BROKER_TIMEOUT);
    case SIMPLEX_E_HOST:
        return broker(SX_BROKER_HOST);
    case SIMPLEX_E_CONNECT:
    case SIMPLEX_E_DISCONNECTED:
    case SIMPLEX_E_CLOSED:
    case SIMPLEX_E_PROXY:
    case SIMPLEX_E_TLS:
    case SIMPLEX_E_CERT:
    case SIMPLEX_E_FINGERPRINT:
        return broker(SX_BROKER_NETWORK);
    case SIMPLEX_E_BLOCK:
        return transport(SX_TRANSPORT_BLOCK, 0);
    case SIMPLEX_E_VERSION:
        return transport(SX_TRANSPORT_VERSION, 0);
    case SIMPLEX_E_SESSION:
        return transport(SX_TRANSPORT_SESSION, 0);
    case SIMPLEX_E_TOO_LARGE:
        return transport(SX_TRANSPORT_LARGE_MSG, 0);
    case SIMPLEX_E_HANDSHAKE:
        return transport(SX_TRANSPORT_HANDSHAKE, SX_HS_PARSE);
    case SIMPLEX_E_SIGNATURE:
        return transport(SX_TRANSPORT_HANDSHAKE, SX_HS_BAD_AUTH);
    case SIMPLEX_E_CRYPTO:
        return plain(SX_ERR_CRYPTO);
    default:
        return plain(SX_ERR_INTERNAL);
    }
}

void sx_relay_fail(struct sx_errand *e, simplex_rc rc)
{
    struct sx_smp_err err = error_of(rc);
    bool temporary = err.broker == SX_BROKER_NETWORK || err.broker == SX_BROKER_TIMEOUT;
    enum sx_errand_result result = SX_ERRAND_OTHER;

    if (e->tag == SX_PRXY && temporary)
        result = SX_ERRAND_CONNECT;
    sx_errand_fail(e, &err, result);
}

/*
 * ERR of the relay becomes PROXY PROTOCOL. What it says about proxies is about us: BROKER (no key
 * in our hello) is passed on without nesting, which clients could not read; the rest no relay
 * answers to RFWD.
 */
static void relay_error(struct sx_errand *e, const struct sx_smp_err *said)
{
    struct sx_smp_err err = *said;

    if (said->err != SX_ERR_PROXY) {
        err.err = SX_ERR_PROXY;
        err.proxy = SX_PROXY_PROTOCOL;
        err.relay = said->err;
    } else if (said->proxy != SX_PROXY_BROKER) {
        err = with_text(broker(SX_BROKER_UNEXPECTED), "not an answer to RFWD");
    }
    sx_errand_fail(e, &err, err.proxy == SX_PROXY_PROTOCOL ? SX_ERRAND_SUCCESS : SX_ERRAND_OTHER);
}

/* ---- PRXY ---- */

static void refuse(struct sx_errand *e, enum sx_err_transport why)
{
    struct sx_smp_err err = transport(why, 0);

    sx_errand_fail(e, &err, SX_ERRAND_COMPAT);
}

static bool put_hello(struct sx_wr *w, const struct sx_server_hello *h, size_t *chain_len)
{
    sx_wr_u8(w, (uint8_t)h->n_certs);
    for (size_t i = 0; i < h->n_certs; i++)
        sx_wr_large(w, h->certs[i]);
    *chain_len = w->len;
    sx_wr_raw(w, h->signed_key);
    return !w->bad;
}

void sx_relay_pkey(struct sx_errand *e, const struct sx_session *s, simplex_bytes hello)
{
    struct sx_server_hello h;
    struct sx_rsp *r = &e->rsp;
    struct sx_wr w;
    size_t chain_len = 0;

    if (sx_server_hello_decode(hello, &h) != SIMPLEX_OK || s->version < SX_PROXY_MIN_VERSION ||
        h.max < SX_PROXY_MIN_VERSION || h.min > SX_SMP_MAX) {
        refuse(e, SX_TRANSPORT_VERSION);
        return;
    }
    if (!h.has_key || !s->has_shared) {
        refuse(e, SX_TRANSPORT_NO_AUTH);
        return;
    }
    sx_wr_init(&w, 2 * SX_BLOCK);
    sx_wr_raw(&w, sx_session_id(s)); /* the session may be gone when the answer is encoded */
    size_t id_len = w.len;
    if (!put_hello(&w, &h, &chain_len)) {
        sx_wr_free(&w);
        sx_relay_fail(e, SIMPLEX_E_NOMEM);
        return;
    }
    if (w.len > PKEY_MAX) {
        sx_wr_free(&w);
        refuse(e, SX_TRANSPORT_LARGE_MSG);
        return;
    }
    *r = (struct sx_rsp){ .tag = SX_R_PKEY };
    r->pkey.min = h.min > SX_PROXY_MIN_VERSION ? h.min : SX_PROXY_MIN_VERSION;
    r->pkey.max = h.max < SX_SMP_MAX ? h.max : SX_SMP_MAX;
    r->pkey.session_id = sx_bytes(w.p, id_len);
    r->pkey.chain = sx_bytes(w.p + id_len, chain_len - id_len);
    r->pkey.signed_key = sx_bytes(w.p + chain_len, w.len - chain_len);
    e->result = SX_ERRAND_SUCCESS;
    sx_free(e->body);
    e->body = w.p;
    e->body_len = w.len;
}

/* ---- PFWD ---- */

simplex_rc sx_relay_wrap(struct sx_errand *e, const struct sx_session *s, const uint8_t *nonce,
                         struct sx_wr *out)
{
    struct sx_fwd_transmission t = { .corr_id = sx_errand_corr_id(e),
                                     .version = e->version,
                                     .key = e->key,
                                     .encrypted = sx_bytes(e->body, e->body_len) };

    if (nonce == NULL)
        sx_random(e->nonce, sizeof(e->nonce));
    else
        memcpy(e->nonce, nonce, sizeof(e->nonce));
    return sx_forward_wrap(s, e->nonce, &t, out);
}

/* Leaves e as it is when it fails. */
static simplex_rc unwrap(struct sx_errand *e, const struct sx_session *s, simplex_bytes box)
{
    uint8_t *buf = sx_malloc(box.len + 1); /* of a body of any length */
    simplex_bytes inner;

    if (buf == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = sx_forward_unwrap(s, e->nonce, box, buf, &inner);
    if (rc != SIMPLEX_OK) {
        sx_free(buf);
        return rc;
    }
    sx_free(e->body);
    e->body = buf;
    e->body_len = box.len;
    e->rsp = (struct sx_rsp){ .tag = SX_R_PRES };
    e->rsp.enc.body = inner;
    e->result = SX_ERRAND_SUCCESS;
    return SIMPLEX_OK;
}

void sx_relay_answer(struct sx_errand *e, const struct sx_session *s, simplex_rc rc,
                     const struct sx_rsp *rsp)
{
    if (rc == SIMPLEX_E_SERVER) {
        relay_error(e, &rsp->err);
        return;
    }
    if (rc == SIMPLEX_OK)
        rc = s == NULL ? SIMPLEX_E_DISCONNECTED : unwrap(e, s, rsp->enc.body);
    if (rc != SIMPLEX_OK)
        sx_relay_fail(e, rc);
}
