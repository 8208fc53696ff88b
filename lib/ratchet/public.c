/* SPDX-License-Identifier: Apache-2.0 */
/* simplex/ratchet.h: the ratchet for applications with a transport of their own. */
#include <assert.h>

#include "ratchet/internal.h"
#include "simplex/ratchet.h"

#define SKIPPED_LEN (32 + 4 + 32 + 16)
#define STATE_MAX 8192 /* more than the longest encoding of sx_ratchet_encode */

static_assert((int)SIMPLEX_PQ_KEEP == (int)SX_PQ_KEEP && (int)SIMPLEX_PQ_ON == (int)SX_PQ_ON &&
                  (int)SIMPLEX_PQ_OFF == (int)SX_PQ_OFF,
              "the public flag is passed on as it is");
static_assert(SIMPLEX_RATCHET_SKIP_MAX == SX_RATCHET_MAX_SKIP, "as documented");

struct simplex_ratchet {
    struct sx_ratchet state;
};

struct simplex_ratchet_keys {
    struct sx_x3dh_keys x;
};

static bool bytes_ok(simplex_bytes b)
{
    return b.ptr != NULL || b.len == 0;
}

static bool pq_ok(simplex_pq pq)
{
    return pq == SIMPLEX_PQ_KEEP || pq == SIMPLEX_PQ_ON || pq == SIMPLEX_PQ_OFF;
}

/* Hands what w holds to the caller, and frees w. */
static simplex_rc hand_out(struct sx_wr *w, uint8_t *buf, size_t *len)
{
    simplex_rc rc = w->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;

    if (rc == SIMPLEX_OK) {
        if (w->len > *len)
            rc = SIMPLEX_E_BUFFER;
        else
            memcpy(buf, w->p, w->len);
        *len = w->len;
    }
    sx_wr_free(w);
    return rc;
}

bool simplex_ratchet_pq_available(void)
{
    return sx_kem_available();
}

/* ---- keys ---- */

simplex_rc simplex_ratchet_keys_new(bool pq, simplex_ratchet_keys **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    simplex_ratchet_keys *k = sx_calloc(1, sizeof *k);
    if (k == NULL)
        return SIMPLEX_E_NOMEM;
    if ((rc = sx_x3dh_keys_new(pq && sx_kem_available(), &k->x)) != SIMPLEX_OK)
        simplex_ratchet_keys_free(k);
    else
        *out = k;
    return rc;
}

void simplex_ratchet_keys_free(simplex_ratchet_keys *keys)
{
    sx_free_secret(keys, sizeof *keys);
}

simplex_rc simplex_ratchet_keys_params(const simplex_ratchet_keys *keys, uint8_t *buf, size_t *len)
{
    struct sx_e2e_params p;
    struct sx_wr w;

    if (keys == NULL || len == NULL || (buf == NULL && *len > 0))
        return SIMPLEX_E_ARG;
    sx_x3dh_params(&keys->x, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX }, &p);
    sx_wr_init(&w, SIMPLEX_RATCHET_PARAMS_MAX);
    sx_e2e_uri_encode(&w, &p);
    return hand_out(&w, buf, len);
}

simplex_rc simplex_ratchet_keys_export(const simplex_ratchet_keys *keys, uint8_t *buf, size_t *len)
{
    struct sx_wr w;

    if (keys == NULL || len == NULL || (buf == NULL && *len > 0))
        return SIMPLEX_E_ARG;
    sx_wr_init(&w, STATE_MAX);
    sx_x3dh_keys_encode(&w, &keys->x);
    return hand_out(&w, buf, len);
}

simplex_rc simplex_ratchet_keys_import(simplex_bytes in, simplex_ratchet_keys **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (!bytes_ok(in))
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    simplex_ratchet_keys *k = sx_calloc(1, sizeof *k);
    if (k == NULL)
        return SIMPLEX_E_NOMEM;
    if ((rc = sx_x3dh_keys_decode(in, &k->x)) != SIMPLEX_OK)
        simplex_ratchet_keys_free(k);
    else
        *out = k;
    return rc;
}

/* ---- starting ---- */

/* Parameters with the version both sides use in *version. */
static simplex_rc read_initiator(simplex_bytes in, struct sx_e2e_params *p, uint16_t *version)
{
    struct sx_rd r = sx_rd_init(in);

    sx_e2e_uri_decode(&r, p);
    if (!sx_rd_done(&r))
        return SIMPLEX_E_DECODE;
    *version = sx_range_agree(p->v, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX });
    return *version == 0 ? SIMPLEX_E_VERSION : SIMPLEX_OK;
}

static simplex_rc join(simplex_ratchet *r, simplex_bytes initiator, bool pq, uint8_t *params,
                       size_t *params_len)
{
    struct sx_e2e_params peer, reply;
    struct sx_x3dh_keys own;
    struct sx_wr w;
    uint16_t version;
    simplex_rc rc = read_initiator(initiator, &peer, &version);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_ratchet_init_send(&r->state, &peer, version, pq, &own, &reply, NULL);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, params, *params_len);
    sx_e2e_params_encode(&w, &reply);
    *params_len = w.len;
    sx_x3dh_keys_wipe(&own);
    return w.bad ? SIMPLEX_E_INTERNAL : SIMPLEX_OK;
}

simplex_rc simplex_ratchet_join(simplex_bytes initiator, bool pq, uint8_t *params,
                                size_t *params_len, simplex_ratchet **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (!bytes_ok(initiator) || params_len == NULL || (params == NULL && *params_len > 0))
        return SIMPLEX_E_ARG;
    if (*params_len < SIMPLEX_RATCHET_PARAMS_MAX) {
        *params_len = SIMPLEX_RATCHET_PARAMS_MAX;
        return SIMPLEX_E_BUFFER;
    }
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    simplex_ratchet *r = sx_calloc(1, sizeof *r);
    if (r == NULL)
        return SIMPLEX_E_NOMEM;
    if ((rc = join(r, initiator, pq, params, params_len)) != SIMPLEX_OK)
        simplex_ratchet_free(r);
    else
        *out = r;
    return rc;
}

static simplex_rc accept_joiner(simplex_ratchet *r, const struct sx_x3dh_keys *own,
                                simplex_bytes joiner, bool pq)
{
    struct sx_rd rd = sx_rd_init(joiner);
    struct sx_e2e_params peer;

    sx_e2e_params_decode(&rd, &peer);
    if (!sx_rd_done(&rd))
        return SIMPLEX_E_DECODE;
    return sx_ratchet_init_receive(&r->state, own, &peer, pq);
}

simplex_rc simplex_ratchet_accept(const simplex_ratchet_keys *keys, simplex_bytes joiner, bool pq,
                                  simplex_ratchet **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (keys == NULL || !bytes_ok(joiner))
        return SIMPLEX_E_ARG;
    simplex_ratchet *r = sx_calloc(1, sizeof *r);
    if (r == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = accept_joiner(r, &keys->x, joiner, pq);
    if (rc != SIMPLEX_OK)
        simplex_ratchet_free(r);
    else
        *out = r;
    return rc;
}

void simplex_ratchet_free(simplex_ratchet *r)
{
    if (r == NULL)
        return;
    sx_ratchet_wipe(&r->state);
    sx_free(r);
}

/* ---- messages ---- */

size_t simplex_ratchet_message_len(const simplex_ratchet *r, simplex_pq pq, size_t padded)
{
    return r == NULL ? 0 : sx_ratchet_next_msg_len(&r->state, (enum sx_pq_flag)pq, padded);
}

static simplex_rc encrypt(struct sx_ratchet *r, simplex_pq pq, simplex_bytes plain, size_t padded,
                          struct sx_wr *out)
{
    struct sx_ratchet before = *r;
    struct sx_msg_key key;
    simplex_rc rc = sx_ratchet_encrypt_header(r, (enum sx_pq_flag)pq, &key);

    if (rc == SIMPLEX_OK) {
        rc = sx_ratchet_encrypt_body(&key, plain, padded, out);
        if (rc != SIMPLEX_OK)
            *r = before;
        sx_msg_key_wipe(&key);
    }
    sx_wipe(&before, sizeof before);
    return rc;
}

simplex_rc simplex_ratchet_encrypt(simplex_ratchet *r, simplex_pq pq, simplex_bytes plain,
                                   size_t padded, uint8_t *out, size_t *out_len)
{
    struct sx_wr w;

    if (r == NULL || out_len == NULL || (out == NULL && *out_len > 0) || !bytes_ok(plain) ||
        !pq_ok(pq) || padded > SIMPLEX_RATCHET_PADDED_MAX)
        return SIMPLEX_E_ARG;
    if (!r->state.has_snd)
        return SIMPLEX_E_RATCHET_NO_CHAIN;
    if (padded < 2 || plain.len > padded - 2)
        return SIMPLEX_E_TOO_LARGE;
    size_t need = simplex_ratchet_message_len(r, pq, padded);
    if (*out_len < need) {
        *out_len = need;
        return SIMPLEX_E_BUFFER;
    }
    sx_wr_fixed(&w, out, *out_len);
    simplex_rc rc = encrypt(&r->state, pq, plain, padded, &w);
    if (rc == SIMPLEX_OK)
        *out_len = w.len;
    return rc;
}

simplex_rc simplex_ratchet_decrypt(simplex_ratchet *r, simplex_bytes msg, uint8_t *out,
                                   size_t *out_len, bool *changed, uint32_t *count)
{
    struct sx_ratchet_in res;

    if (r == NULL || out_len == NULL || (out == NULL && *out_len > 0) || !bytes_ok(msg))
        return SIMPLEX_E_ARG;
    if (*out_len < msg.len) {
        *out_len = msg.len;
        return SIMPLEX_E_BUFFER;
    }
    simplex_rc rc = sx_ratchet_decrypt(&r->state, msg, out, &res, NULL);
    if (rc == SIMPLEX_OK) /* the text lies behind its two length bytes */
        memmove(out, res.text.ptr, res.text.len);
    *out_len = res.text.len;
    if (changed != NULL)
        *changed = res.saved;
    if (count != NULL)
        *count = res.count;
    sx_wipe(&res.diff, sizeof res.diff);
    return rc;
}

simplex_rc simplex_ratchet_pq_state(const simplex_ratchet *r, bool *sending, bool *receiving)
{
    if (r == NULL)
        return SIMPLEX_E_ARG;
    if (sending != NULL)
        *sending = r->state.snd_kem;
    if (receiving != NULL)
        *receiving = r->state.rcv_kem;
    return SIMPLEX_OK;
}

simplex_rc simplex_ratchet_ad_hash(const simplex_ratchet *r, uint8_t hash[32])
{
    if (r == NULL || hash == NULL)
        return SIMPLEX_E_ARG;
    sx_sha256(sx_bytes(r->state.ad, sizeof r->state.ad), hash);
    return SIMPLEX_OK;
}

size_t simplex_ratchet_missing(const simplex_ratchet *r)
{
    return r == NULL ? 0 : r->state.n_skipped;
}

simplex_rc simplex_ratchet_forget_missing(simplex_ratchet *r)
{
    if (r == NULL)
        return SIMPLEX_E_ARG;
    sx_free_secret(r->state.skipped, r->state.cap_skipped * sizeof *r->state.skipped);
    r->state.skipped = NULL;
    r->state.n_skipped = r->state.cap_skipped = 0;
    return SIMPLEX_OK;
}

/* ---- the state: L16 ratchet, u32 count, keys of missing messages ---- */

static void put_state(struct sx_wr *w, const struct sx_ratchet *r)
{
    struct sx_wr state;

    sx_wr_init(&state, STATE_MAX);
    sx_ratchet_encode(&state, r);
    w->bad |= state.bad;
    sx_wr_large(w, sx_wr_bytes(&state));
    sx_wr_free(&state);
    sx_wr_u32(w, (uint32_t)r->n_skipped);
    for (size_t i = 0; i < r->n_skipped; i++) {
        const struct sx_skipped *s = &r->skipped[i];

        sx_wr_raw(w, sx_bytes(s->hk, sizeof s->hk));
        sx_wr_u32(w, s->n);
        sx_wr_raw(w, sx_bytes(s->mk, sizeof s->mk));
        sx_wr_raw(w, sx_bytes(s->iv, sizeof s->iv));
    }
}

simplex_rc simplex_ratchet_export(const simplex_ratchet *r, uint8_t *buf, size_t *len)
{
    struct sx_wr w;

    if (r == NULL || len == NULL || (buf == NULL && *len > 0))
        return SIMPLEX_E_ARG;
    sx_wr_init(&w, STATE_MAX + r->state.n_skipped * SKIPPED_LEN);
    put_state(&w, &r->state);
    return hand_out(&w, buf, len);
}

static simplex_rc get_state(simplex_bytes in, struct sx_ratchet *r)
{
    struct sx_rd rd = sx_rd_init(in);
    simplex_bytes state = sx_rd_large(&rd);
    uint32_t count = sx_rd_u32(&rd);

    if (rd.bad || rd.left / SKIPPED_LEN != count || rd.left % SKIPPED_LEN != 0)
        return SIMPLEX_E_DECODE;
    simplex_rc rc = sx_ratchet_decode(state, r);
    while (rc == SIMPLEX_OK && count-- > 0) {
        struct sx_skipped s;

        sx_rd_copy(&rd, s.hk, sizeof s.hk);
        s.n = sx_rd_u32(&rd);
        sx_rd_copy(&rd, s.mk, sizeof s.mk);
        sx_rd_copy(&rd, s.iv, sizeof s.iv);
        rc = sx_ratchet_add_skipped(r, &s);
        sx_wipe(&s, sizeof s);
    }
    return rc;
}

simplex_rc simplex_ratchet_import(simplex_bytes in, simplex_ratchet **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (!bytes_ok(in))
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    simplex_ratchet *r = sx_calloc(1, sizeof *r);
    if (r == NULL)
        return SIMPLEX_E_NOMEM;
    if ((rc = get_state(in, &r->state)) != SIMPLEX_OK)
        simplex_ratchet_free(r);
    else
        *out = r;
    return rc;
}
