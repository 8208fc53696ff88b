/* SPDX-License-Identifier: Apache-2.0 */
/* The three messages of the SMP handshake (protocol/smp.md section 4). Trailing bytes are ignored.
 */
#include "wire/smp_parts.h"

#define V_SESSION_KEY 7
#define V_PROXY_FLAG 14
#define V_SERVICE 16
#define KEY_HASH_LEN 32
#define X25519_SPKI_LEN 44

/* ---- chains ---- */

simplex_bytes sx_rd_chain(struct sx_rd *r, simplex_bytes *certs, size_t *n)
{
    struct sx_rd whole = *r;

    *n = sx_rd_u8(r);
    if (*n == 0 || *n > SX_HELLO_CERTS_MAX) {
        r->bad = true;
        *n = 0;
    }
    for (size_t i = 0; i < *n; i++) {
        simplex_bytes cert = sx_rd_large(r);
        if (certs != NULL)
            certs[i] = cert;
    }
    return r->bad ? sx_bytes(NULL, 0) : sx_rd_take(&whole, whole.left - r->left);
}

void sx_wr_chain(struct sx_wr *w, const simplex_bytes *certs, size_t n)
{
    if (n == 0 || n > SX_HELLO_CERTS_MAX) {
        w->bad = true;
        return;
    }
    sx_wr_u8(w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        sx_wr_large(w, certs[i]);
}

simplex_rc sx_chain_decode(simplex_bytes chain, simplex_bytes certs[SX_HELLO_CERTS_MAX], size_t *n)
{
    struct sx_rd r = sx_rd_init(chain);

    (void)sx_rd_chain(&r, certs, n);
    if (sx_rd_done(&r))
        return SIMPLEX_OK;
    *n = 0;
    return SIMPLEX_E_DECODE;
}

/* ---- server hello ---- */

void sx_server_hello_encode(struct sx_wr *w, const struct sx_server_hello *h)
{
    if (h->min > h->max || h->has_key != (h->max >= V_SESSION_KEY))
        w->bad = true;
    sx_wr_u16(w, h->min);
    sx_wr_u16(w, h->max);
    sx_wr_short(w, h->session_id);
    if (h->has_key) {
        sx_wr_chain(w, h->certs, h->n_certs);
        sx_wr_large(w, h->signed_key);
    }
}

simplex_rc sx_server_hello_decode(simplex_bytes in, struct sx_server_hello *h)
{
    struct sx_rd r = sx_rd_init(in);

    *h = (struct sx_server_hello){ 0 };
    h->min = sx_rd_u16(&r);
    h->max = sx_rd_u16(&r);
    h->session_id = sx_rd_short(&r);
    h->has_key = h->max >= V_SESSION_KEY;
    if (h->has_key) {
        (void)sx_rd_chain(&r, h->certs, &h->n_certs);
        h->signed_key = sx_rd_large(&r);
    }
    if (!r.bad && h->min <= h->max)
        return SIMPLEX_OK;
    *h = (struct sx_server_hello){ 0 };
    return SIMPLEX_E_DECODE;
}

/* ---- client hello ---- */

static bool is_role(uint8_t role)
{
    return role == 'M' || role == 'N' || role == 'P';
}

static void put_service(struct sx_wr *w, const struct sx_client_hello *h)
{
    sx_wr_maybe(w, h->has_service);
    if (!h->has_service)
        return;
    if (!is_role(h->service_role))
        w->bad = true;
    sx_wr_u8(w, h->service_role);
    sx_wr_chain(w, h->certs, h->n_certs);
    sx_wr_large(w, h->signed_key);
}

static void get_service(struct sx_rd *r, struct sx_client_hello *h)
{
    h->has_service = sx_rd_maybe(r);
    if (!h->has_service)
        return;
    h->service_role = sx_rd_u8(r);
    if (!is_role(h->service_role))
        r->bad = true;
    (void)sx_rd_chain(r, h->certs, &h->n_certs);
    h->signed_key = sx_rd_large(r);
}

void sx_client_hello_encode(struct sx_wr *w, const struct sx_client_hello *h)
{
    if (h->key_hash.len != KEY_HASH_LEN || (h->has_key && h->key.alg != SX_X25519))
        w->bad = true;
    sx_wr_u16(w, h->version);
    sx_wr_short(w, h->key_hash);
    if (h->version >= V_SESSION_KEY && h->has_key)
        sx_wr_key(w, &h->key);
    if (h->version >= V_PROXY_FLAG)
        sx_wr_bool(w, h->proxy);
    if (h->version >= V_SERVICE)
        put_service(w, h);
}

/* No tag says whether the key is there: its length byte is neither `T` nor `F`. */
static void get_session_key(struct sx_rd *r, struct sx_client_hello *h)
{
    h->has_key = sx_rd_peek(r) == X25519_SPKI_LEN;
    if (h->has_key)
        sx_rd_key_of(r, SX_X25519, &h->key);
}

simplex_rc sx_client_hello_decode(simplex_bytes in, struct sx_client_hello *h)
{
    struct sx_rd r = sx_rd_init(in);

    *h = (struct sx_client_hello){ 0 };
    h->version = sx_rd_u16(&r);
    h->key_hash = sx_rd_short(&r);
    if (h->version >= V_SESSION_KEY)
        get_session_key(&r, h);
    if (h->version >= V_PROXY_FLAG)
        h->proxy = sx_rd_bool(&r);
    if (h->version >= V_SERVICE)
        get_service(&r, h);
    if (!r.bad && h->key_hash.len == KEY_HASH_LEN)
        return SIMPLEX_OK;
    *h = (struct sx_client_hello){ 0 };
    return SIMPLEX_E_DECODE;
}

/* ---- the answer to a service ---- */

void sx_service_reply_encode(struct sx_wr *w, const struct sx_service_reply *m)
{
    sx_wr_u8(w, m->ok ? 'R' : 'E');
    if (m->ok)
        sx_wr_short(w, m->service_id);
    else
        sx_wr_transport_error(w, &m->error);
}

simplex_rc sx_service_reply_decode(simplex_bytes in, struct sx_service_reply *m)
{
    struct sx_rd r = sx_rd_init(in);
    uint8_t kind = sx_rd_u8(&r);

    *m = (struct sx_service_reply){ .ok = kind == 'R' };
    if (m->ok)
        m->service_id = sx_rd_short(&r);
    else if (kind == 'E')
        sx_rd_transport_error(&r, &m->error);
    else
        r.bad = true;
    if (!r.bad)
        return SIMPLEX_OK;
    *m = (struct sx_service_reply){ 0 };
    return SIMPLEX_E_DECODE;
}
