/* SPDX-License-Identifier: Apache-2.0 */
/* The per-queue layer around every agent envelope (agent.md section 2). */
#include "agent/agent.h"
#include "agent/envelope.h"
#include "agent/resync.h"

#define SEND_CAP (SX_BLOCK + 512)

/* Around len bytes that stand behind room for their length. */
static void pad_inner(uint8_t *inner, size_t len, size_t n)
{
    inner[0] = (uint8_t)(len >> 8);
    inner[1] = (uint8_t)len;
    memset(inner + 2 + len, '#', n - 2 - len);
}

/* n bytes behind the room for the tag. */
static void seal_in_place(const uint8_t secret[32], const uint8_t nonce[24], uint8_t *at, size_t n)
{
    struct sx_box_key box;

    sx_box_key_init(&box, secret);
    sx_box_seal(&box, nonce, sx_bytes(at + SX_BOX_TAG, n), at);
    sx_wipe(&box, sizeof box);
}

static simplex_rc stored_params(simplex_bytes e2e, struct sx_e2e_params *p)
{
    struct sx_rd r = sx_rd_init(e2e);

    sx_e2e_params_decode(&r, p);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
}

/* What carries m: the ratchet message, when there is one, is appended. */
static simplex_rc envelope_of(const struct sx_conn *c, const struct sx_snd_msg *m,
                              struct sx_envelope *env)
{
    switch (m->type) {
    case 0:
        env->tag = SX_ENV_CONFIRMATION;
        env->version = c->agent_version;
        env->has_e2e = m->e2e.len > 0;
        break;
    case SX_ROW_RATCHET_KEY: /* section 6.6: outside any ratchet */
        env->tag = SX_ENV_RATCHET_KEY;
        env->has_e2e = true;
        env->body = m->plain;
        break;
    default:
        break;
    }
    return env->has_e2e ? stored_params(m->e2e, &env->e2e) : SIMPLEX_OK;
}

static simplex_rc encrypt(const struct sx_msg_key *key, const struct sx_snd_msg *m, struct sx_wr *w)
{
    struct sx_wr whole;
    simplex_rc rc;

    if (m->shared.len == 0)
        return sx_ratchet_encrypt_body(key, m->plain, m->padded, w);
    sx_wr_init(&whole, m->plain.len + m->shared.len);
    sx_wr_raw(&whole, m->plain);
    sx_wr_raw(&whole, m->shared);
    rc = whole.bad ? SIMPLEX_E_NOMEM
                   : sx_ratchet_encrypt_body(key, sx_wr_bytes(&whole), m->padded, w);
    sx_wr_free(&whole);
    return rc;
}

simplex_rc sx_ratchet_message_of(const struct sx_snd_msg *m, struct sx_wr *w)
{
    struct sx_msg_key key;
    simplex_rc rc;

    if (m->type == SX_ROW_RATCHET_KEY)
        return SIMPLEX_OK;
    if (sx_msg_key_decode(m->key, &key) != SIMPLEX_OK)
        return SIMPLEX_E_DB_DAMAGED;
    rc = encrypt(&key, m, w);
    sx_msg_key_wipe(&key);
    return rc;
}

/* Everything behind the box tag, built in place: length, private header, envelope, ratchet
 * message, padding. */
static simplex_rc fill_inner(uint16_t agent_max, const struct sx_conn *c,
                             const struct sx_snd_queue *q, const struct sx_snd_msg *m,
                             uint8_t *inner, size_t n)
{
    struct sx_private_msg priv = { 0 };
    struct sx_envelope env = { .version = agent_max, .tag = SX_ENV_MESSAGE };
    struct sx_wr w;
    simplex_rc rc = envelope_of(c, m, &env);

    if (rc != SIMPLEX_OK)
        return rc;
    if (m->type == 0 && q->mode != SX_MODE_MESSAGING) {
        priv.has_key = true;
        priv.key = q->auth.pub;
    }
    sx_wr_fixed(&w, inner + 2, n - 2);
    sx_private_msg_encode(&w, &priv);
    sx_envelope_encode(&w, &env);
    rc = sx_ratchet_message_of(m, &w);
    if (rc != SIMPLEX_OK || w.bad)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_TOO_LARGE;
    pad_inner(inner, w.len, n);
    return SIMPLEX_OK;
}

simplex_rc sx_seal_send(const struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_snd_queue *q, const struct sx_snd_msg *m,
                        struct sx_wr *body)
{
    size_t n = m->type == 0 ? SX_PAD_CONFIRMATION : SX_PAD_MESSAGE;
    struct sx_client_msg head = { .version = q->client_version,
                                  .has_key = m->type == 0,
                                  .key = q->e2e_pub };
    uint8_t *at;
    simplex_rc rc;

    sx_wr_init(body, SEND_CAP);
    sx_random(head.nonce, sizeof head.nonce); /* a new one for each attempt */
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, SX_BOX_TAG + n);
    if (at == NULL)
        return SIMPLEX_E_NOMEM;
    rc = fill_inner(a->speaks.agent.max, c, q, m, at + SX_BOX_TAG, n);
    if (rc != SIMPLEX_OK)
        return rc;
    seal_in_place(q->e2e_secret, head.nonce, at, n);
    return SIMPLEX_OK;
}

simplex_rc sx_seal_again(const struct sx_snd_queue *q, simplex_bytes ratchet_message,
                         struct sx_wr *body)
{
    struct sx_client_msg head = { .version = q->client_version };
    struct sx_private_msg priv = { 0 };
    struct sx_envelope env = { .version = SX_AGENT_MAX,
                               .tag = SX_ENV_MESSAGE,
                               .body = ratchet_message };
    struct sx_wr w;
    uint8_t *at;

    sx_wr_init(body, SEND_CAP);
    sx_random(head.nonce, sizeof head.nonce);
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, SX_BOX_TAG + SX_PAD_MESSAGE);
    if (at == NULL)
        return SIMPLEX_E_NOMEM;
    sx_wr_fixed(&w, at + SX_BOX_TAG + 2, SX_PAD_MESSAGE - 2);
    sx_private_msg_encode(&w, &priv);
    sx_envelope_encode(&w, &env);
    if (w.bad)
        return SIMPLEX_E_TOO_LARGE;
    pad_inner(at + SX_BOX_TAG, w.len, SX_PAD_MESSAGE);
    seal_in_place(q->e2e_secret, head.nonce, at, SX_PAD_MESSAGE);
    return SIMPLEX_OK;
}

/* Nobody has a key to it, and none is needed: it is read by its sender. */
simplex_rc sx_seal_nothing(struct sx_wr *body)
{
    struct sx_client_msg head = { .version = SX_CLIENT_MAX };
    uint8_t *at;

    sx_wr_init(body, SEND_CAP);
    sx_random(head.nonce, sizeof head.nonce);
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, SX_BOX_TAG + SX_PAD_MESSAGE);
    if (at == NULL)
        return SIMPLEX_E_NOMEM;
    sx_random(at, SX_BOX_TAG + SX_PAD_MESSAGE);
    return SIMPLEX_OK;
}

simplex_rc sx_seal_once(const struct sx_queue_addr *to, const struct sx_envelope *env,
                        struct sx_wr *body)
{
    struct sx_private_msg priv = { 0 };
    struct sx_client_msg head = { .version = to->v.max, .has_key = true };
    struct sx_keypair once;
    uint8_t secret[SX_DH_MAX];
    struct sx_wr w;
    uint8_t *at;
    simplex_rc rc = sx_keypair_new(SX_X25519, &once);

    if (rc == SIMPLEX_OK)
        rc = sx_dh(&once.priv, &to->dh, secret);
    if (rc != SIMPLEX_OK)
        return rc;
    head.key = once.pub;
    sx_keypair_wipe(&once);
    sx_random(head.nonce, sizeof head.nonce);
    sx_wr_init(body, SEND_CAP);
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, SX_BOX_TAG + SX_PAD_CONFIRMATION);
    if (at != NULL) {
        sx_wr_fixed(&w, at + SX_BOX_TAG + 2, SX_PAD_CONFIRMATION - 2);
        sx_private_msg_encode(&w, &priv);
        sx_envelope_encode(&w, env);
        pad_inner(at + SX_BOX_TAG, w.len, SX_PAD_CONFIRMATION);
        seal_in_place(secret, head.nonce, at, SX_PAD_CONFIRMATION);
        rc = w.bad ? SIMPLEX_E_TOO_LARGE : SIMPLEX_OK;
    } else {
        rc = SIMPLEX_E_NOMEM;
    }
    sx_wipe(secret, sizeof secret);
    return rc;
}

/* ---- receiving: the table of section 2 ---- */

static simplex_rc check_kind(const struct sx_rcv_queue *q, struct sx_opened *o)
{
    bool keyed = o->outer.has_key;

    if (o->first && o->env.tag == SX_ENV_INVITATION) /* whether it may come here: receive.c */
        return o->inner.has_key ? SIMPLEX_E_PROHIBITED : SIMPLEX_OK;
    if (o->first) { /* only a confirmation: with the sender's key, or none if it secured itself */
        if (o->env.tag != SX_ENV_CONFIRMATION)
            return SIMPLEX_E_PROHIBITED;
        return o->inner.has_key || q->mode == SX_MODE_MESSAGING ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
    }
    if (keyed) /* the confirmation again: its answer was lost */
        return o->env.tag == SX_ENV_CONFIRMATION ? SIMPLEX_E_RATCHET_DUPLICATE
                                                 : SIMPLEX_E_PROHIBITED;
    if (o->inner.has_key || (o->env.tag != SX_ENV_MESSAGE && o->env.tag != SX_ENV_RATCHET_KEY))
        return SIMPLEX_E_PROHIBITED;
    return SIMPLEX_OK;
}

static simplex_rc queue_secret(const struct sx_rcv_queue *q, struct sx_opened *o)
{
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc;

    o->first = !q->has_e2e_secret;
    if (!o->first) {
        memcpy(o->secret, q->e2e_secret, sizeof o->secret);
        return SIMPLEX_OK;
    }
    if (!o->outer.has_key)
        return SIMPLEX_E_PROHIBITED;
    rc = sx_dh(&q->e2e.priv, &o->outer.key, secret);
    memcpy(o->secret, secret, sizeof o->secret);
    sx_wipe(secret, sizeof secret);
    return rc;
}

simplex_rc sx_open_body(const struct sx_rcv_queue *q, uint8_t *body, size_t len,
                        struct sx_opened *o)
{
    struct sx_box_key box;
    simplex_bytes inner;
    simplex_rc rc = sx_client_msg_decode(sx_bytes(body, len), &o->outer);

    if (rc != SIMPLEX_OK)
        return rc;
    if (o->outer.version < SX_CLIENT_MIN ||
        (o->outer.version > SX_CLIENT_MAX && o->outer.version > q->client_version))
        return SIMPLEX_E_VERSION;
    rc = queue_secret(q, o);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_box_key_init(&box, o->secret);
    rc = sx_box_open_padded(&box, o->outer.nonce, body + (o->outer.box.ptr - body),
                            o->outer.box.len, &inner);
    sx_wipe(&box, sizeof box);
    if (rc == SIMPLEX_OK)
        rc = sx_private_msg_decode(inner, &o->inner);
    if (rc == SIMPLEX_OK)
        rc = sx_envelope_decode(o->inner.envelope, &o->env);
    return rc == SIMPLEX_OK ? check_kind(q, o) : rc;
}
