/* SPDX-License-Identifier: Apache-2.0 */
/* Making and encrypting the data behind short links (protocol/agent.md section 5.3). */
#include "wire/short_link.h"

#define SIG_LEN 64

/* ---- owners ---- */

/* What the signature of an owner covers. */
static void write_owner_signed(struct sx_wr *w, const struct sx_link_owner *o)
{
    sx_wr_raw(w, o->id);
    sx_spki_encode(&o->key, w);
}

simplex_rc sx_link_owner_sign(struct sx_link_owner *o, const struct sx_keypair *signer)
{
    uint8_t buf[UINT8_MAX + SX_SPKI_MAX];
    uint8_t sig[SX_SIG_MAX];
    size_t n = sizeof sig;
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof buf);
    write_owner_signed(&w, o);
    if (w.bad || o->key.alg != SX_ED25519 || signer->pub.alg != SX_ED25519)
        return SIMPLEX_E_ENCODE;
    simplex_rc rc = sx_sign(signer, sx_wr_bytes(&w), sig, &n);
    if (rc == SIMPLEX_OK)
        memcpy(o->sig, sig, SIG_LEN);
    return rc;
}

void sx_link_owner_encode(struct sx_wr *w, const struct sx_link_owner *o)
{
    uint8_t buf[UINT8_MAX];
    struct sx_wr inner;

    sx_wr_fixed(&inner, buf, sizeof buf);
    sx_wr_short(&inner, o->id);
    sx_wr_key(&inner, &o->key);
    sx_wr_short(&inner, sx_bytes(o->sig, sizeof o->sig));
    if (inner.bad)
        w->bad = true;
    sx_wr_short(w, sx_wr_bytes(&inner));
}

/* ---- the two parts ---- */

static void write_fixed(struct sx_wr *w, const struct sx_link_fixed *f)
{
    sx_range_encode(w, f->agent_v);
    sx_wr_key(w, &f->root);
    sx_link_encode(w, &f->request);
    if (f->has_entity)
        sx_wr_short(w, f->entity);
}

static void write_counted(struct sx_wr *w, const struct sx_list *l)
{
    if (l->count > UINT8_MAX)
        w->bad = true;
    sx_wr_u8(w, (uint8_t)l->count);
    sx_wr_raw(w, l->items);
}

static void write_user(struct sx_wr *w, const struct sx_link_user *u)
{
    sx_wr_u8(w, u->kind);
    sx_range_encode(w, u->agent_v);
    if (u->kind == SX_LINK_CONTACT) {
        sx_wr_bool(w, u->direct);
        write_counted(w, &u->owners);
        write_counted(w, &u->relays);
    }
    if (u->data.len < UINT8_MAX) {
        sx_wr_short(w, u->data);
    } else { /* the length byte 255 says that a longer one follows */
        sx_wr_u8(w, UINT8_MAX);
        sx_wr_large(w, u->data);
    }
}

/* Signature and body. The body must be known before the signature that stands in front of it. */
static simplex_rc write_signed(struct sx_wr *w, const struct sx_wr *body,
                               const struct sx_keypair *signer)
{
    uint8_t sig[SX_SIG_MAX];
    size_t n = sizeof sig;

    if (body->bad || signer->pub.alg != SX_ED25519)
        return SIMPLEX_E_ENCODE;
    simplex_rc rc = sx_sign(signer, sx_wr_bytes(body), sig, &n);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_short(w, sx_bytes(sig, n));
    sx_wr_raw(w, sx_wr_bytes(body));
    return w->bad ? SIMPLEX_E_ENCODE : SIMPLEX_OK;
}

simplex_rc sx_link_fixed_sign(struct sx_wr *w, const struct sx_link_fixed *f,
                              const struct sx_keypair *root, uint8_t link_key[SX_LINK_KEY_LEN])
{
    uint8_t buf[SX_LINK_FIXED_PADDED];
    struct sx_wr body;

    if (!sx_pub_eq(&f->root, &root->pub))
        return SIMPLEX_E_KEY;
    sx_wr_fixed(&body, buf, sizeof buf);
    write_fixed(&body, f);
    simplex_rc rc = write_signed(w, &body, root);
    if (rc == SIMPLEX_OK)
        sx_sha3_256(sx_wr_bytes(&body), link_key);
    return rc;
}

simplex_rc sx_link_user_sign(struct sx_wr *w, const struct sx_link_user *u,
                             const struct sx_keypair *signer)
{
    uint8_t buf[SX_LINK_USER_PADDED];
    struct sx_wr body;

    sx_wr_fixed(&body, buf, sizeof buf);
    write_user(&body, u);
    return write_signed(w, &body, signer);
}

/* ---- the boxes ---- */

simplex_rc sx_link_data_seal(const uint8_t key[32], const uint8_t nonce[SX_NONCE_LEN],
                             simplex_bytes signed_part, size_t padded, uint8_t *out)
{
    struct sx_box_key k;

    sx_box_key_init(&k, key);
    memcpy(out, nonce, SX_NONCE_LEN);
    simplex_rc rc = sx_box_seal_padded(&k, nonce, signed_part, padded, out + SX_NONCE_LEN);
    sx_wipe(&k, sizeof k);
    return rc;
}

simplex_rc sx_link_data_open(const uint8_t key[32], uint8_t *stored, size_t len, size_t padded,
                             simplex_bytes *signed_part)
{
    struct sx_box_key k;

    *signed_part = sx_bytes(NULL, 0);
    if (len != SX_LINK_STORED(padded))
        return SIMPLEX_E_CRYPTO;
    sx_box_key_init(&k, key);
    simplex_rc rc =
        sx_box_open_padded(&k, stored, stored + SX_NONCE_LEN, len - SX_NONCE_LEN, signed_part);
    sx_wipe(&k, sizeof k);
    return rc;
}
