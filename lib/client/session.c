/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of a session, and the authorisation of transmissions (protocol/smp.md section 5). */
#include "client/session_internal.h"

/* S(session id) S(corr id) S(entity id) in front of a command that fills a block. */
#define AUTHORIZED_MAX (3 * 256 + SX_BLOCK)
#define CERT_HASH_LEN 32

static simplex_rc fail(struct sx_session *s, simplex_rc rc)
{
    sx_session_wipe(s);
    return rc;
}

simplex_rc sx_session_input(struct sx_session *s, uint8_t block[SX_BLOCK], uint8_t reply[SX_BLOCK],
                            bool *has_reply, simplex_bytes *content)
{
    simplex_bytes got;

    *has_reply = false;
    *content = sx_bytes(NULL, 0);
    if (s->state != SX_S_WAIT_HELLO && s->state != SX_S_WAIT_SERVICE && s->state != SX_S_READY)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = sx_block_open(s, block, &got);
    if (rc != SIMPLEX_OK)
        return fail(s, rc);
    if (s->state == SX_S_READY) {
        *content = got;
        return SIMPLEX_OK;
    }
    if (s->state == SX_S_WAIT_SERVICE) {
        rc = sx_handshake_service(s, got);
        return rc == SIMPLEX_OK ? SIMPLEX_OK : fail(s, rc);
    }
    if (reply == NULL)
        return SIMPLEX_E_ARG;
    rc = s->is_server ? sx_handshake_server(s, got, reply, has_reply)
                      : sx_handshake_client(s, got, reply, has_reply);
    return rc == SIMPLEX_OK ? SIMPLEX_OK : fail(s, rc);
}

size_t sx_session_room(const struct sx_session *s)
{
    return s->encrypted ? SX_BLOCK_CONTENT_ENC : SX_BLOCK_CONTENT;
}

simplex_rc sx_session_seal(struct sx_session *s, simplex_bytes content, uint8_t block[SX_BLOCK])
{
    if (s->state != SX_S_READY)
        return SIMPLEX_E_PROHIBITED;
    if (content.len > sx_session_room(s))
        return SIMPLEX_E_TOO_LARGE;
    simplex_rc rc = sx_block_seal(s, content, block);
    return rc == SIMPLEX_OK ? SIMPLEX_OK : fail(s, rc);
}

void sx_session_wipe(struct sx_session *s)
{
    sx_wipe(s, sizeof *s);
    s->state = SX_S_FAILED;
}

simplex_rc sx_session_relay(struct sx_session *s, uint16_t version, simplex_bytes session_id,
                            const struct sx_pub *relay_key)
{
    *s = (struct sx_session){ .state = SX_S_FAILED };
    if (session_id.len > sizeof s->id || relay_key->alg != SX_X25519)
        return SIMPLEX_E_ARG;
    memcpy(s->id, session_id.ptr, session_id.len);
    s->id_len = (uint8_t)session_id.len;
    s->peer_key = *relay_key;
    s->version = version;
    s->state = SX_S_RELAY;
    return SIMPLEX_OK;
}

/* ---- authorisation ---- */

static simplex_rc authenticate(const struct sx_priv *priv, const struct sx_pub *pub,
                               simplex_bytes corr_id, simplex_bytes authorized,
                               uint8_t auth[SX_AUTHENTICATOR_LEN])
{
    uint8_t secret[SX_DH_MAX], nonce[SX_NONCE_LEN];
    struct sx_box_key box;

    if (priv->alg != SX_X25519 || pub->alg != SX_X25519)
        return SIMPLEX_E_KEY;
    simplex_rc rc = sx_dh(priv, pub, secret);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_box_key_init(&box, secret);
    sx_nonce_from(corr_id, nonce);
    sx_authenticate(&box, nonce, authorized, auth);
    sx_wipe(&box, sizeof box);
    sx_wipe(secret, sizeof secret);
    return SIMPLEX_OK;
}

static simplex_rc authorize(const struct sx_session *s, const struct sx_keypair *key,
                            simplex_bytes corr_id, simplex_bytes authorized,
                            uint8_t auth[SX_AUTH_MAX], size_t *len)
{
    *len = 0;
    if (key == NULL)
        return SIMPLEX_OK;
    if (sx_sig_len(key->priv.alg) > 0)
        return sx_sign(key, authorized, auth, len);
    *len = SX_AUTHENTICATOR_LEN;
    return authenticate(&key->priv, &s->peer_key, corr_id, authorized, auth);
}

/* Puts the transmission behind what out has; authorized ends with its command. */
static simplex_rc put_transmission(const struct sx_session *s, struct sx_transmission *t,
                                   struct sx_wr *out)
{
    size_t before = out->len;

    if (out->bad)
        return SIMPLEX_E_ENCODE;
    sx_transmission_encode(out, t, s->version);
    if (out->bad) {
        out->len = before;
        out->bad = false;
        return SIMPLEX_E_NOMEM;
    }
    if (out->len - before > sx_session_room(s) - 3) { /* count, length */
        out->len = before;
        return SIMPLEX_E_TOO_LARGE;
    }
    return SIMPLEX_OK;
}

/* Commands that bind a queue to the service whose session it is (section 5). */
static bool binds_service(const struct sx_session *s, enum sx_cmd_tag tag)
{
    return s->service.role != 0 && (tag == SX_NEW || tag == SX_SUB || tag == SX_NSUB);
}

/*
 * buf: room for a certificate hash, then what is authorized. With a service the key of the entity
 * signs both, so that nobody can put another service into the place of this one.
 */
static simplex_rc authorize_both(const struct sx_session *s, const struct sx_keypair *key,
                                 const struct sx_cmd *cmd, uint8_t *buf, size_t len,
                                 struct sx_transmission *t, uint8_t auth[SX_AUTH_MAX],
                                 uint8_t service_sig[SX_SIG_MAX])
{
    simplex_bytes authorized = sx_bytes(buf + CERT_HASH_LEN, len);
    simplex_rc rc = SIMPLEX_OK;

    t->auth.ptr = auth;
    t->has_service_sig = key != NULL && binds_service(s, cmd->tag);
    if (t->has_service_sig) {
        t->service_sig.ptr = service_sig;
        rc = sx_sign(&s->service.key, authorized, service_sig, &t->service_sig.len);
        memcpy(buf, s->service.cert_hash, CERT_HASH_LEN);
        authorized = sx_bytes(buf, CERT_HASH_LEN + len);
    }
    return rc == SIMPLEX_OK ? authorize(s, key, t->corr_id, authorized, auth, &t->auth.len) : rc;
}

simplex_rc sx_session_encode(const struct sx_session *s, const struct sx_keypair *key,
                             const uint8_t corr_id[SX_ID_LEN], simplex_bytes entity,
                             const struct sx_cmd *cmd, struct sx_wr *out)
{
    uint8_t buf[CERT_HASH_LEN + AUTHORIZED_MAX], auth[SX_AUTH_MAX], service_sig[SX_SIG_MAX];
    struct sx_transmission t = { .session_id = sx_session_id(s),
                                 .corr_id = sx_bytes(corr_id, SX_ID_LEN),
                                 .entity_id = entity };
    struct sx_wr w;

    if (s->state != SX_S_READY && s->state != SX_S_RELAY)
        return SIMPLEX_E_PROHIBITED;
    sx_wr_fixed(&w, buf + CERT_HASH_LEN, AUTHORIZED_MAX);
    sx_authorized_encode(&w, t.session_id, t.corr_id, entity, sx_bytes(NULL, 0));
    size_t head = w.len;
    sx_cmd_encode(&w, cmd, s->version);
    t.command = sx_bytes(buf + CERT_HASH_LEN + head, w.len - head);
    simplex_rc rc =
        w.bad ? SIMPLEX_E_ENCODE : authorize_both(s, key, cmd, buf, w.len, &t, auth, service_sig);
    if (rc == SIMPLEX_OK)
        rc = put_transmission(s, &t, out);
    sx_wipe(buf, CERT_HASH_LEN + w.len);
    return rc;
}

/*
 * Valid public keys that are nobody's: of the seeds and the scalar made of zeros. Verifying with
 * them takes as long as with a queue's key (section 5, timing).
 */
static const struct sx_pub dummies[] = {
    { SX_ED25519, { 0x3b, 0x6a, 0x27, 0xbc, 0xce, 0xb6, 0xa4, 0x2d, 0x62, 0xa3, 0xa8,
                    0xd0, 0x2a, 0x6f, 0x0d, 0x73, 0x65, 0x32, 0x15, 0x77, 0x1d, 0xe2,
                    0x43, 0xa6, 0x3a, 0xc0, 0x48, 0xa1, 0x8b, 0x59, 0xda, 0x29 } },
    { SX_ED448,
      { 0x5b, 0x3a, 0xfe, 0x03, 0x87, 0x8a, 0x49, 0xb2, 0x82, 0x32, 0xd4, 0xf1, 0xa4, 0x42, 0xae,
        0xbd, 0xe1, 0x09, 0xf8, 0x07, 0xac, 0xef, 0x7d, 0xfd, 0x9a, 0x7f, 0x65, 0xb9, 0x62, 0xfe,
        0x52, 0xd6, 0x54, 0x73, 0x12, 0xca, 0xce, 0xcf, 0xf0, 0x43, 0x37, 0x50, 0x8f, 0x9d, 0x25,
        0x29, 0xa8, 0xf1, 0x66, 0x91, 0x69, 0xb2, 0x1c, 0x32, 0xc4, 0x80, 0x00 } },
    { SX_X25519, { 0x2f, 0xe5, 0x7d, 0xa3, 0x47, 0xcd, 0x62, 0x43, 0x15, 0x28, 0xda,
                   0xac, 0x5f, 0xbb, 0x29, 0x07, 0x30, 0xff, 0xf6, 0x84, 0xaf, 0xc4,
                   0xcf, 0xc2, 0xed, 0x90, 0x99, 0x5f, 0x58, 0xcb, 0x3b, 0x74 } },
};

/* The kind of an authorisation is told by its length alone (section 1). */
static const struct sx_pub *dummy_for(size_t auth_len)
{
    switch (auth_len) {
    case 64:
        return &dummies[0];
    case 114:
        return &dummies[1];
    case SX_AUTHENTICATOR_LEN:
        return &dummies[2];
    default:
        return NULL;
    }
}

static bool verify(const struct sx_session *s, const struct sx_pub *key,
                   const struct sx_transmission *t, simplex_bytes authorized)
{
    uint8_t expected[SX_AUTHENTICATOR_LEN];

    if (key->alg != SX_X25519)
        return sx_verify(key, authorized, t->auth);
    /* The box is deterministic: the right authenticator is the one we make. */
    bool ok = authenticate(&s->own.priv, key, t->corr_id, authorized, expected) == SIMPLEX_OK &&
              sx_equal_ct(expected, t->auth.ptr, sizeof expected);
    sx_wipe(expected, sizeof expected);
    return ok;
}

bool sx_session_verify(const struct sx_session *s, const struct sx_pub *key,
                       const struct sx_transmission *t, simplex_bytes authorized)
{
    const struct sx_pub *dummy = dummy_for(t->auth.len);

    if (dummy == NULL)
        return false;
    bool real = key != NULL && key->alg == dummy->alg;
    bool ok = verify(s, real ? key : dummy, t, authorized);
    return real && ok;
}

bool sx_session_verify_service(const struct sx_session *s, const struct sx_transmission *t,
                               simplex_bytes authorized)
{
    return s->service.role != 0 && t->has_service_sig &&
           sx_verify(&s->service.key.pub, authorized, t->service_sig);
}
