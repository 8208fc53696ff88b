/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data behind a short link of our own (agent.md section 5.3): what the application says is
 * signed with the root key of the link, the link key is the hash of the fixed part, and both parts
 * are kept as the server will keep them. All of it is in the database before the server has it.
 */
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/several.h"

#define OWNER_KEY 32
#define OWNER_SIG 64

/* ---- what the application says ---- */

static simplex_rc write_owner(struct sx_wr *w, const simplex_link_owner *from,
                              const struct sx_keypair *root)
{
    struct sx_link_owner o = { .id = from->id };
    simplex_rc rc = sx_pub_from_raw(SX_ED25519, from->key, &o.key);

    if (rc != SIMPLEX_OK || from->id.len == 0)
        return SIMPLEX_E_ARG;
    if (from->signature.len == 0)
        rc = sx_link_owner_sign(&o, root);
    else if (from->signature.len == OWNER_SIG)
        memcpy(o.sig, from->signature.ptr, OWNER_SIG);
    else
        return SIMPLEX_E_ARG;
    if (rc != SIMPLEX_OK)
        return rc;
    sx_link_owner_encode(w, &o);
    return SIMPLEX_OK;
}

static simplex_rc write_owners(struct sx_wr *w, const simplex_link_data *d,
                               const struct sx_keypair *root)
{
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; rc == SIMPLEX_OK && i < d->n_owners; i++)
        rc = write_owner(w, &d->owners[i], root);
    return rc;
}

static simplex_rc write_relays(struct sx_wr *w, const simplex_link_data *d)
{
    struct sx_short_link s;

    for (size_t i = 0; i < d->n_relays; i++) {
        simplex_rc rc =
            d->relays[i] != NULL ? sx_short_link_parse(sx_str(d->relays[i]), &s) : SIMPLEX_E_ARG;
        if (rc == SIMPLEX_OK && sx_short_link_kind(&s) != SX_LINK_CONTACT)
            rc = SIMPLEX_E_LINK;
        if (rc != SIMPLEX_OK)
            return rc;
        sx_link_relay_encode(w, &s);
    }
    return SIMPLEX_OK;
}

/* The key of an owner, when the application hands it over, or the root key. */
static simplex_rc signer_of(const struct sx_link_row *l, const simplex_link_data *d,
                            struct sx_keypair *signer)
{
    struct sx_priv priv = { .alg = SX_ED25519 };
    simplex_rc rc;

    *signer = l->root;
    if (d->signer.len == 0)
        return SIMPLEX_OK;
    if (d->signer.len != OWNER_KEY)
        return SIMPLEX_E_ARG;
    memcpy(priv.b, d->signer.ptr, OWNER_KEY);
    rc = sx_keypair_from_priv(&priv, signer);
    sx_wipe(&priv, sizeof priv);
    return rc;
}

/* Room of its own for each part: what does not fit there is too large, whatever else there is. */
static simplex_rc sign_user(const struct sx_link_row *l, const simplex_link_data *d, uint8_t *room,
                            struct sx_wr *user_signed)
{
    struct sx_link_user u = { .agent_v = { SX_AGENT_MIN, SX_AGENT_MAX },
                              .direct = !d->no_direct,
                              .data = d->data };
    enum sx_link_fault fault;
    struct sx_keypair signer;
    struct sx_wr owners, relays, whole;
    simplex_rc rc;

    u.kind = l->type != SX_SHORT_INVITATION ? SX_LINK_CONTACT : SX_LINK_INVITATION;
    sx_wr_fixed(&whole, room, SX_LINK_USER_PADDED);
    sx_wr_fixed(&owners, room + SX_LINK_USER_PADDED, SX_LINK_USER_PADDED);
    sx_wr_fixed(&relays, room + 2 * SX_LINK_USER_PADDED, SX_LINK_USER_PADDED);
    rc = write_owners(&owners, d, &l->root);
    if (rc == SIMPLEX_OK)
        rc = write_relays(&relays, d);
    if (rc == SIMPLEX_OK && (owners.bad || relays.bad))
        rc = SIMPLEX_E_TOO_LARGE;
    if (rc == SIMPLEX_OK)
        rc = signer_of(l, d, &signer);
    if (rc != SIMPLEX_OK)
        return rc;
    u.owners = (struct sx_list){ (unsigned)d->n_owners, sx_wr_bytes(&owners) };
    u.relays = (struct sx_list){ (unsigned)d->n_relays, sx_wr_bytes(&relays) };
    rc = sx_link_user_sign(&whole, &u, &signer);
    sx_keypair_wipe(&signer);
    /* readers refuse data with bad owners or signed by nobody they know: so do we, beforehand */
    if (rc == SIMPLEX_OK)
        rc = sx_link_user_verify(u.kind, &l->root.pub, sx_wr_bytes(&whole), &fault);
    sx_wr_raw(user_signed, sx_wr_bytes(&whole));
    return rc;
}

simplex_rc sx_link_user(const struct sx_link_row *l, const simplex_link_data *d,
                        struct sx_wr *user_signed)
{
    bool more = d->no_direct || d->n_owners > 0 || d->n_relays > 0 || d->signer.len > 0;
    uint8_t *room;
    simplex_rc rc;

    if (l->type == SX_SHORT_INVITATION && more) /* an invitation has none of these */
        return SIMPLEX_E_ARG;
    if (d->n_owners > UINT8_MAX || d->n_relays > UINT8_MAX)
        return SIMPLEX_E_TOO_LARGE;
    room = sx_malloc(3 * SX_LINK_USER_PADDED);
    if (room == NULL)
        return SIMPLEX_E_NOMEM;
    rc = sign_user(l, d, room, user_signed);
    sx_free(room);
    if (rc == SIMPLEX_E_ENCODE)
        return SIMPLEX_E_TOO_LARGE;
    return rc == SIMPLEX_OK && user_signed->bad ? SIMPLEX_E_NOMEM : rc;
}

/* ---- what the server keeps ---- */

static simplex_rc seal(const uint8_t key[32], simplex_bytes part, size_t padded, uint8_t *out)
{
    uint8_t nonce[SX_NONCE_LEN];

    sx_random(nonce, sizeof nonce);
    return sx_link_data_seal(key, nonce, part, padded, out);
}

static uint8_t kind_of(const struct sx_link_row *l)
{
    return l->type == SX_SHORT_INVITATION ? SX_LINK_INVITATION : SX_LINK_CONTACT;
}

/* The fixed part for this queue: gives the link key, and to contact links their id. */
static simplex_rc sign_fixed(struct simplex_agent *a, const struct sx_conn *c,
                             const struct sx_rcv_queue *q, struct sx_link_row *l,
                             struct sx_wr *fixed)
{
    struct sx_link_fixed f = { .agent_v = a->speaks.agent, .root = l->root.pub };
    struct sx_x3dh_keys keys;
    struct sx_queue_addr list[SX_QUEUES_MAX];
    simplex_rc rc = sx_queue_link(a, c, q, &keys, list, SX_QUEUES_MAX, &f.request);

    if (rc == SIMPLEX_OK)
        rc = sx_link_fixed_sign(fixed, &f, &l->root, l->link_key);
    while (rc == SIMPLEX_E_ENCODE && f.request.n_queues > 1) { /* no room for as many */
        f.request.n_queues--;
        fixed->len = 0;
        fixed->bad = false;
        rc = sx_link_fixed_sign(fixed, &f, &l->root, l->link_key);
    }
    sx_x3dh_keys_wipe(&keys);
    return rc;
}

static simplex_rc put_sealed(struct simplex_agent *a, struct sx_link_row *l, simplex_bytes fixed,
                             simplex_bytes user)
{
    struct sx_link_keys keys;
    uint8_t *out = sx_malloc(SX_LINK_FIXED_STORED + SX_LINK_USER_STORED);
    simplex_rc rc;

    if (out == NULL)
        return SIMPLEX_E_NOMEM;
    rc = sx_link_keys_derive(kind_of(l), l->link_key, &keys);
    if (rc == SIMPLEX_OK)
        rc = seal(keys.key, fixed, SX_LINK_FIXED_PADDED, out);
    if (rc == SIMPLEX_OK)
        rc = seal(keys.key, user, SX_LINK_USER_PADDED, out + SX_LINK_FIXED_STORED);
    if (rc == SIMPLEX_OK) {
        l->has_link_id = kind_of(l) == SX_LINK_CONTACT;
        if (l->has_link_id)
            memcpy(l->link_id, keys.id, sizeof l->link_id);
        l->fixed = sx_bytes(out, SX_LINK_FIXED_STORED);
        l->user = sx_bytes(out + SX_LINK_FIXED_STORED, SX_LINK_USER_STORED);
        rc = sx_store_link_put(a->store, l);
        l->fixed = l->user = sx_bytes(NULL, 0);
    }
    sx_wipe(&keys, sizeof keys);
    sx_free(out);
    return rc;
}

simplex_rc sx_link_make(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                        struct sx_link_row *l, simplex_bytes user_signed)
{
    uint8_t buf[SX_LINK_FIXED_PADDED];
    struct sx_wr fixed;
    simplex_rc rc = SIMPLEX_OK;

    l->queue_id = q->id;
    if (q->rcv_id.len == 0) { /* the server checks that this sender id was made so */
        sx_random(l->corr_id, sizeof l->corr_id);
        sx_link_sender_id(l->corr_id, &q->snd_id);
        rc = sx_store_rcvq_update(a->store, q);
    }
    sx_wr_fixed(&fixed, buf, sizeof buf);
    if (rc == SIMPLEX_OK)
        rc = sign_fixed(a, c, q, l, &fixed);
    if (rc == SIMPLEX_OK)
        rc = put_sealed(a, l, sx_wr_bytes(&fixed), user_signed);
    return rc == SIMPLEX_E_ENCODE ? SIMPLEX_E_TOO_LARGE : rc;
}

simplex_rc sx_link_update(struct simplex_agent *a, struct sx_link_row *l, simplex_bytes user_signed)
{
    struct sx_link_keys keys;
    uint8_t *out = sx_malloc(SX_LINK_FIXED_STORED + SX_LINK_USER_STORED);
    simplex_rc rc;

    if (out == NULL)
        return SIMPLEX_E_NOMEM;
    if (l->fixed.len != SX_LINK_FIXED_STORED) {
        sx_free(out);
        return SIMPLEX_E_DB_DAMAGED;
    }
    memcpy(out, l->fixed.ptr, SX_LINK_FIXED_STORED); /* the server compares it with what it has */
    rc = sx_link_keys_derive(kind_of(l), l->link_key, &keys);
    if (rc == SIMPLEX_OK)
        rc = seal(keys.key, user_signed, SX_LINK_USER_PADDED, out + SX_LINK_FIXED_STORED);
    sx_wipe(&keys, sizeof keys);
    l->fixed = sx_bytes(out, SX_LINK_FIXED_STORED);
    l->user = sx_bytes(out + SX_LINK_FIXED_STORED, SX_LINK_USER_STORED);
    if (rc == SIMPLEX_OK)
        rc = sx_store_link_put(a->store, l);
    l->fixed = l->user = sx_bytes(NULL, 0);
    sx_free(out);
    return rc;
}

simplex_rc sx_link_open_user(const struct sx_link_row *l, struct sx_wr *user_signed)
{
    struct sx_link_keys keys;
    simplex_bytes part;
    uint8_t *copy = sx_memdup(l->user);
    simplex_rc rc;

    if (copy == NULL)
        return SIMPLEX_E_NOMEM;
    rc = sx_link_keys_derive(kind_of(l), l->link_key, &keys);
    if (rc == SIMPLEX_OK)
        rc = sx_link_data_open(keys.key, copy, l->user.len, SX_LINK_USER_PADDED, &part);
    if (rc == SIMPLEX_OK)
        sx_wr_raw(user_signed, part);
    sx_wipe(&keys, sizeof keys);
    sx_free_secret(copy, l->user.len);
    if (rc == SIMPLEX_E_CRYPTO)
        rc = SIMPLEX_E_DB_DAMAGED;
    return rc == SIMPLEX_OK && user_signed->bad ? SIMPLEX_E_NOMEM : rc;
}
