/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and verifying the data behind short links (protocol/agent.md sections 5.3 and 13.5). */
#include "wire/short_link.h"

#define SIG_LEN 64

const char *sx_link_fault_text(enum sx_link_fault f)
{
    static const char *const text[] = {
        [SX_LINK_GOOD] = "link data is good",
        [SX_LINK_FAULT_BOX] = "link data does not decrypt",
        [SX_LINK_FAULT_SYNTAX] = "link data is malformed",
        [SX_LINK_FAULT_HASH] = "link data hash differs",
        [SX_LINK_FAULT_SIGNATURE] = "link data signature is wrong",
        [SX_LINK_FAULT_OWNER_ROOT] = "owner key is the root key",
        [SX_LINK_FAULT_OWNER_DUPLICATE] = "owner id or key appears twice",
        [SX_LINK_FAULT_OWNER_SIGNATURE] = "owner is not authorised",
        [SX_LINK_FAULT_USER_SIGNATURE] = "user data signature is wrong",
        [SX_LINK_FAULT_ADDRESS] = "link data is about a different address",
    };
    size_t i = (size_t)f;

    return i < SX_COUNT(text) ? text[i] : "?";
}

void sx_link_data_free(struct sx_link_data *d)
{
    sx_link_free(&d->fixed.request);
    memset(d, 0, sizeof *d);
}

/* ---- parsing ---- */

struct part { /* a signed part */
    simplex_bytes sig, body;
};

static bool split(simplex_bytes in, struct part *p)
{
    struct sx_rd r = sx_rd_init(in);

    p->sig = sx_rd_short(&r);
    p->body = sx_rd_rest(&r);
    return !r.bad && p->sig.len == SIG_LEN;
}

static simplex_rc read_fixed(simplex_bytes body, uint8_t kind, struct sx_link_fixed *f)
{
    struct sx_rd r = sx_rd_init(body);

    sx_range_decode(&r, &f->agent_v);
    sx_rd_key_of(&r, SX_ED25519, &f->root);
    if (r.bad)
        return SIMPLEX_E_DECODE;
    simplex_rc rc = sx_link_read(&r, &f->request);
    if (rc != SIMPLEX_OK)
        return rc;
    /* what is not an entity id belongs to a version to come */
    f->entity = sx_rd_short(&r);
    f->has_entity = !r.bad;
    return f->request.kind == kind ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}

void sx_link_owner_next(struct sx_rd *r, struct sx_link_owner *o)
{
    struct sx_rd in = sx_rd_init(sx_rd_short(r));

    memset(o, 0, sizeof *o);
    o->id = sx_rd_short(&in);
    sx_rd_key_of(&in, SX_ED25519, &o->key);
    simplex_bytes sig = sx_rd_short(&in);
    if (sig.len == SIG_LEN)
        memcpy(o->sig, sig.ptr, SIG_LEN);
    else
        in.bad = true;
    if (in.bad) /* left-overs are allowed: fields of a version to come */
        r->bad = true;
}

static void read_owners(struct sx_rd *r, struct sx_list *l)
{
    struct sx_link_owner o;

    l->count = sx_rd_u8(r);
    const uint8_t *start = r->p;
    for (unsigned i = 0; i < l->count && !r->bad; i++)
        sx_link_owner_next(r, &o);
    l->items = sx_bytes(start, r->bad ? 0 : (size_t)(r->p - start));
}

static void read_relays(struct sx_rd *r, struct sx_list *l)
{
    struct sx_short_link s;

    l->count = sx_rd_u8(r);
    const uint8_t *start = r->p;
    for (unsigned i = 0; i < l->count && !r->bad; i++) {
        sx_short_link_read(r, &s);
        if (s.type == SX_SHORT_INVITATION)
            r->bad = true;
    }
    l->items = sx_bytes(start, r->bad ? 0 : (size_t)(r->p - start));
}

static simplex_rc read_user(simplex_bytes body, uint8_t kind, struct sx_link_user *u)
{
    struct sx_rd r = sx_rd_init(body);

    u->kind = sx_rd_u8(&r);
    if (u->kind != kind)
        return SIMPLEX_E_DECODE;
    sx_range_decode(&r, &u->agent_v);
    if (kind == SX_LINK_CONTACT) {
        u->direct = sx_rd_bool(&r);
        read_owners(&r, &u->owners);
        read_relays(&r, &u->relays);
    }
    u->data = sx_rd_lit(&r, "\xff") ? sx_rd_large(&r) : sx_rd_short(&r);
    return r.bad ? SIMPLEX_E_DECODE : SIMPLEX_OK;
}

/* ---- owners ---- */

static bool owner_signed_by(const struct sx_link_owner *o, const struct sx_pub *signer)
{
    uint8_t buf[UINT8_MAX + SX_SPKI_MAX];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_wr_raw(&w, o->id);
    sx_spki_encode(&o->key, &w);
    return !w.bad && sx_verify(signer, sx_wr_bytes(&w), sx_bytes(o->sig, SIG_LEN));
}

/* Owner number n against the root key and the owners in front of it. */
static enum sx_link_fault check_owner(const struct sx_link_data *d, unsigned n,
                                      const struct sx_link_owner *o)
{
    struct sx_rd r = sx_rd_init(d->user.owners.items);
    struct sx_link_owner earlier;

    if (sx_pub_eq(&o->key, &d->fixed.root))
        return SX_LINK_FAULT_OWNER_ROOT;
    for (unsigned i = 0; i < n; i++) {
        sx_link_owner_next(&r, &earlier);
        if (sx_bytes_eq(o->id, earlier.id) || sx_pub_eq(&o->key, &earlier.key))
            return SX_LINK_FAULT_OWNER_DUPLICATE;
    }
    if (owner_signed_by(o, &d->fixed.root))
        return SX_LINK_GOOD;
    r = sx_rd_init(d->user.owners.items);
    for (unsigned i = 0; i < n; i++) {
        sx_link_owner_next(&r, &earlier);
        if (owner_signed_by(o, &earlier.key))
            return SX_LINK_GOOD;
    }
    return SX_LINK_FAULT_OWNER_SIGNATURE;
}

static enum sx_link_fault check_owners(const struct sx_link_data *d)
{
    struct sx_rd r = sx_rd_init(d->user.owners.items);
    struct sx_link_owner o;

    for (unsigned i = 0; i < d->user.owners.count; i++) {
        sx_link_owner_next(&r, &o);
        enum sx_link_fault f = check_owner(d, i, &o);
        if (f != SX_LINK_GOOD)
            return f;
    }
    return SX_LINK_GOOD;
}

static bool signed_by_any(const struct sx_link_data *d, const struct part *user)
{
    struct sx_rd r = sx_rd_init(d->user.owners.items);
    struct sx_link_owner o;

    if (sx_verify(&d->fixed.root, user->body, user->sig))
        return true;
    for (unsigned i = 0; i < d->user.owners.count; i++) {
        sx_link_owner_next(&r, &o);
        if (sx_verify(&o.key, user->body, user->sig))
            return true;
    }
    return false;
}

/* ---- verification ---- */

static enum sx_link_fault verify(const struct sx_link_data *d,
                                 const uint8_t link_key[SX_LINK_KEY_LEN], const struct part *fixed,
                                 const struct part *user)
{
    uint8_t hash[SX_LINK_KEY_LEN];
    enum sx_link_fault f;

    sx_sha3_256(fixed->body, hash);
    if (!sx_equal_ct(hash, link_key, sizeof hash))
        return SX_LINK_FAULT_HASH;
    if (!sx_verify(&d->fixed.root, fixed->body, fixed->sig))
        return SX_LINK_FAULT_SIGNATURE;
    if ((f = check_owners(d)) != SX_LINK_GOOD)
        return f;
    return signed_by_any(d, user) ? SX_LINK_GOOD : SX_LINK_FAULT_USER_SIGNATURE;
}

simplex_rc sx_link_data_verify(uint8_t kind, const uint8_t link_key[SX_LINK_KEY_LEN],
                               simplex_bytes fixed_signed, simplex_bytes user_signed,
                               struct sx_link_data *d, enum sx_link_fault *fault)
{
    struct part fixed, user;
    simplex_rc rc = SIMPLEX_E_DECODE;

    memset(d, 0, sizeof *d);
    *fault = SX_LINK_GOOD;
    /* both are parsed before the first check (section 13.5) */
    if (split(fixed_signed, &fixed) && split(user_signed, &user))
        rc = read_fixed(fixed.body, kind, &d->fixed);
    if (rc == SIMPLEX_OK)
        rc = read_user(user.body, kind, &d->user);
    if (rc == SIMPLEX_E_DECODE)
        *fault = SX_LINK_FAULT_SYNTAX;
    if (rc == SIMPLEX_OK) {
        *fault = verify(d, link_key, &fixed, &user);
        if (*fault != SX_LINK_GOOD)
            rc = SIMPLEX_E_SIGNATURE;
    }
    if (rc != SIMPLEX_OK)
        sx_link_data_free(d);
    return rc;
}

simplex_rc sx_link_user_verify(uint8_t kind, const struct sx_pub *root, simplex_bytes user_signed,
                               enum sx_link_fault *fault)
{
    struct sx_link_data d = { .fixed = { .root = *root } };
    struct part user;
    simplex_rc rc = split(user_signed, &user) ? read_user(user.body, kind, &d.user)
                                              : SIMPLEX_E_DECODE;

    *fault = rc == SIMPLEX_OK ? check_owners(&d) : SX_LINK_FAULT_SYNTAX;
    if (*fault == SX_LINK_GOOD && !signed_by_any(&d, &user))
        *fault = SX_LINK_FAULT_USER_SIGNATURE;
    return rc == SIMPLEX_OK && *fault != SX_LINK_GOOD ? SIMPLEX_E_SIGNATURE : rc;
}

/* The server of the link must be one of the request's, and its queue the one answered for. */
static bool check_address(const struct sx_short_link *s, simplex_bytes snd_id,
                          struct sx_queue_addr *q)
{
    bool known = false;

    for (unsigned i = 0; i < q->server.n_hosts && !known; i++)
        known = strcmp(q->server.hosts[i].text, s->server.hosts[0].text) == 0;
    if (!known || !sx_bytes_eq(sx_id_bytes(&q->snd_id), snd_id))
        return false;
    /* an unrestored link has no record of the server to prefer */
    if (s->has_key_hash && !sx_server_eq(&s->server, &q->server))
        q->server = s->server;
    return true;
}

simplex_rc sx_short_link_open(const struct sx_short_link *s, simplex_bytes snd_id, uint8_t *fixed,
                              size_t fixed_len, uint8_t *user, size_t user_len,
                              struct sx_link_data *d, enum sx_link_fault *fault)
{
    uint8_t kind = sx_short_link_kind(s);
    struct sx_link_keys keys;
    simplex_bytes fixed_signed, user_signed;

    memset(d, 0, sizeof *d);
    *fault = SX_LINK_GOOD;
    simplex_rc rc = sx_link_keys_derive(kind, s->link_key, &keys);
    if (rc == SIMPLEX_OK) {
        rc = sx_link_data_open(keys.key, fixed, fixed_len, SX_LINK_FIXED_PADDED, &fixed_signed);
        if (rc == SIMPLEX_OK)
            rc = sx_link_data_open(keys.key, user, user_len, SX_LINK_USER_PADDED, &user_signed);
        if (rc != SIMPLEX_OK)
            *fault = SX_LINK_FAULT_BOX;
    }
    sx_wipe(&keys, sizeof keys);
    if (rc == SIMPLEX_OK)
        rc = sx_link_data_verify(kind, s->link_key, fixed_signed, user_signed, d, fault);
    if (rc == SIMPLEX_OK && !check_address(s, snd_id, &d->fixed.request.queues[0])) {
        sx_link_data_free(d);
        *fault = SX_LINK_FAULT_ADDRESS;
        rc = SIMPLEX_E_SIGNATURE;
    }
    return rc;
}
