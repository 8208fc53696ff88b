/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short links of others (agent.md section 5.3). A connection begins with the look at its link: the
 * row has the link and, for an invitation, the key that LKEY sets in the queue. It is on disk
 * before LKEY is sent and is the sender's key when the link is joined, today or after a restart:
 * whoever is read an invitation once can join it, nobody else can.
 */
#include "agent/address.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/users.h"
#include "agent/work.h"

/* ---- the wish that waits for the data ---- */

static void encode_wish(struct sx_wr *w, const struct sx_wish *wish)
{
    sx_wr_bool(w, wish->join);
    sx_wr_u8(w, (uint8_t)wish->pq);
    sx_wr_large(w, wish->info);
}

static simplex_rc decode_wish(simplex_bytes in, struct sx_wish *wish)
{
    struct sx_rd r = sx_rd_init(in);

    wish->join = sx_rd_bool(&r);
    wish->pq = sx_rd_u8(&r);
    wish->info = sx_rd_large(&r);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
}

/* ---- looking ---- */

/* What tells links apart; their servers may be written in several ways. Another user who looks is
 * somebody else. */
static simplex_rc hash_link(const struct sx_short_link *s, int64_t user, uint8_t hash[32])
{
    uint8_t buf[8 + 1 + SX_HOST_MAX + 1 + SX_LINK_ID_LEN + SX_LINK_KEY_LEN];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof buf);
    if (user != SX_USER_DEFAULT)
        sx_wr_i64(&w, user);
    sx_wr_u8(&w, sx_short_link_kind(s));
    sx_wr_text(&w, s->server.hosts[0].text);
    sx_wr_u8(&w, 0);
    sx_wr_raw(&w, sx_bytes(s->link_id, sizeof s->link_id));
    sx_wr_raw(&w, sx_bytes(s->link_key, sizeof s->link_key));
    sx_sha256(sx_wr_bytes(&w), hash);
    sx_wipe(buf, sizeof buf);
    return w.bad ? SIMPLEX_E_LINK : SIMPLEX_OK;
}

static simplex_rc parse(struct simplex_agent *a, int64_t user, simplex_bytes text,
                        struct sx_short_link *s)
{
    const struct sx_server_list *l = sx_user_servers(a, user);
    simplex_rc rc = sx_short_link_parse(text, s);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_short_link_restore(s, a->presets, a->n_presets);
    for (size_t i = 0; i < l->n; i++)
        sx_short_link_restore(s, &l->v[i].server, 1);
    return s->has_key_hash ? SIMPLEX_OK : SIMPLEX_E_LINK; /* of a server that we do not know */
}

static simplex_rc add_command(struct simplex_agent *a, int64_t conn, const struct sx_wish *wish)
{
    struct sx_wr w;
    simplex_rc rc;

    sx_wr_init(&w, 32768);
    encode_wish(&w, wish);
    rc = w.bad ? SIMPLEX_E_NOMEM : sx_command_add(a, conn, SX_C_LOOK, 0, sx_wr_bytes(&w));
    sx_wr_free(&w);
    return rc;
}

static simplex_rc begin(struct simplex_agent *a, int64_t user, const struct sx_short_link *s,
                        const uint8_t hash[32], const struct sx_wish *wish, int64_t *conn)
{
    struct sx_conn c = { .user = user,
                         .role = SX_JOINER,
                         .state = SX_CONN_LOOKING,
                         .subscribe = !a->only_create,
                         .created_at = sx_now_ms() };
    struct sx_look l;
    struct sx_wr link;
    simplex_rc rc;

    c.rcv_queues = sx_queues_wanted(a);
    memset(&l, 0, sizeof l);
    memcpy(l.hash, hash, sizeof l.hash);
    sx_wr_init(&link, 4096);
    sx_short_link_encode(&link, s);
    rc = link.bad ? SIMPLEX_E_NOMEM : sx_conn_begin(a, &c);
    l.conn_id = c.id;
    l.link = sx_wr_bytes(&link);
    if (rc == SIMPLEX_OK && s->type == SX_SHORT_INVITATION)
        rc = sx_keypair_new(SX_ED25519, &l.auth);
    if (rc == SIMPLEX_OK)
        rc = sx_store_look_add(a->store, &l);
    if (rc == SIMPLEX_OK)
        rc = add_command(a, c.id, wish);
    sx_wr_free(&link);
    sx_wipe(&l, sizeof l);
    *conn = c.id;
    return rc;
}

/* ---- joining what was read ---- */

static simplex_rc join(struct simplex_agent *a, int64_t conn, struct sx_link *request,
                       const struct sx_wish *wish)
{
    bool invitation = request->kind == SX_LINK_INVITATION;
    simplex_rc rc;

    /* the binary address may not tell */
    request->queues[0].mode = invitation ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
    rc = sx_command_drop(a, conn, SX_C_LOOK);
    if (rc == SIMPLEX_OK)
        rc = invitation ? sx_join_link(a, 0, request, wish->info, wish->pq, &conn)
                        : sx_request(a, 0, request, wish->info, wish->pq, &conn);
    /* the next one who is sent to an address asks anew; an invitation is joined once */
    if (rc == SIMPLEX_OK)
        rc = invitation ? sx_store_look_request(a->store, conn, sx_bytes(NULL, 0))
                        : sx_store_look_delete(a->store, conn);
    return rc;
}

static simplex_rc join_read(struct simplex_agent *a, int64_t conn, const struct sx_wish *wish)
{
    struct sx_look l;
    struct sx_link request;
    simplex_rc rc = sx_store_look_get(a->store, conn, &l);

    if (rc != SIMPLEX_OK)
        return rc;
    memset(&request, 0, sizeof request);
    rc = sx_link_decode(l.request, &request);
    if (rc == SIMPLEX_OK)
        rc = join(a, conn, &request, wish);
    sx_link_free(&request);
    sx_wipe(&l, sizeof l);
    return rc;
}

/* Another look at the same link, or the step behind it. */
static simplex_rc again(struct simplex_agent *a, int64_t conn, const struct sx_wish *wish)
{
    struct sx_conn c;
    bool waits;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc != SIMPLEX_OK)
        return rc;
    if (c.state != SX_CONN_LOOKING && c.state != SX_CONN_LOOKED)
        return wish->join ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED; /* joined before: a repeat */
    if (wish->join && c.state == SX_CONN_LOOKED)
        return join_read(a, conn, wish);
    rc = sx_command_waits(a, conn, SX_C_LOOK, &waits);
    if (rc == SIMPLEX_OK && waits && wish->join) { /* one answer will do for both */
        rc = sx_command_drop(a, conn, SX_C_LOOK);
        waits = false;
    }
    return rc == SIMPLEX_OK && !waits ? add_command(a, conn, wish) : rc;
}

simplex_rc sx_look(struct simplex_agent *a, int64_t user, simplex_bytes link,
                   const struct sx_wish *wish, int64_t *conn)
{
    bool pq = wish->pq != SIMPLEX_PQ_OFF && sx_kem_available();
    uint8_t hash[32];
    struct sx_short_link s;
    simplex_rc rc = parse(a, user, link, &s);

    if (rc == SIMPLEX_OK && wish->join && wish->info.len > sx_info_max(a->speaks.agent.max, pq))
        rc = SIMPLEX_E_TOO_LARGE;
    if (rc == SIMPLEX_OK && wish->join && sx_user_servers(a, user)->n == 0)
        rc = SIMPLEX_E_NO_SERVERS;
    if (rc == SIMPLEX_OK)
        rc = hash_link(&s, user, hash);
    if (rc == SIMPLEX_OK) {
        rc = sx_store_look_find(a->store, hash, conn);
        if (rc == SIMPLEX_OK)
            rc = again(a, *conn, wish);
        else if (rc == SIMPLEX_E_NOT_FOUND)
            rc = begin(a, user, &s, hash, wish, conn);
    }
    sx_wipe(&s, sizeof s);
    return rc;
}

/* ---- the command ---- */

static simplex_rc read_link(const struct sx_look *l, struct sx_short_link *s)
{
    struct sx_rd r = sx_rd_init(l->link);

    sx_short_link_read(&r, s);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
}

simplex_rc sx_look_send(struct simplex_agent *a, int64_t conn, struct sx_look *l,
                        struct sx_short_link *s, struct sx_cmd *cmd, struct sx_request *req)
{
    struct sx_link_keys keys;
    simplex_rc rc = sx_store_look_get(a->store, conn, l);

    if (rc == SIMPLEX_OK)
        rc = read_link(l, s);
    if (rc != SIMPLEX_OK)
        return rc;
    if (s->type == SX_SHORT_INVITATION) {
        *cmd = (struct sx_cmd){ .tag = SX_LKEY };
        cmd->key.key = l->auth.pub;
        req->key = &l->auth;
    } else {
        *cmd = (struct sx_cmd){ .tag = SX_LGET };
        rc = sx_link_keys_derive(SX_LINK_CONTACT, s->link_key, &keys);
        memcpy(s->link_id, keys.id, sizeof s->link_id);
        sx_wipe(&keys, sizeof keys);
    }
    req->entity = sx_bytes(s->link_id, sizeof s->link_id);
    return rc;
}

/* ---- the answer ---- */

static simplex_rc open_data(struct simplex_agent *a, int64_t conn, const struct sx_rsp *rsp,
                            uint8_t *fixed, uint8_t *user, uint8_t *type, struct sx_link_data *d,
                            enum sx_link_fault *fault)
{
    struct sx_short_link s;
    struct sx_look l;
    simplex_rc rc = sx_store_look_get(a->store, conn, &l);

    memset(&s, 0, sizeof s);
    if (rc == SIMPLEX_OK)
        rc = read_link(&l, &s);
    if (rc == SIMPLEX_OK)
        rc = sx_short_link_open(&s, rsp->lnk.snd_id, fixed, rsp->lnk.fixed.len, user,
                                rsp->lnk.user.len, d, fault);
    *type = s.type;
    sx_wipe(&l, sizeof l);
    sx_wipe(&s, sizeof s);
    return rc;
}

static simplex_rc keep_request(struct simplex_agent *a, struct sx_conn *c,
                               const struct sx_link *request)
{
    struct sx_wr w;
    simplex_rc rc;

    sx_wr_init(&w, 8192);
    sx_link_encode(&w, request);
    rc = w.bad ? SIMPLEX_E_NOMEM : sx_store_look_request(a->store, c->id, sx_wr_bytes(&w));
    sx_wr_free(&w);
    c->state = SX_CONN_LOOKED;
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, c) : rc;
}

static simplex_rc show(struct simplex_agent *a, const struct sx_conn *c, uint8_t type,
                       const struct sx_link_data *d)
{
    struct sx_ldata out = { .type = type,
                            .direct = type == SX_SHORT_INVITATION || d->user.direct,
                            .root = sx_bytes(d->fixed.root.b, sx_key_len(SX_ED25519)),
                            .entity = d->fixed.entity,
                            .data = d->user.data,
                            .owners = d->user.owners,
                            .relays = d->user.relays };
    struct simplex_event ev;
    struct sx_wr link;

    sx_wr_init(&link, SX_LINK_TEXT_MAX);
    sx_link_print(&link, &d->fixed.request, "simplex:");
    out.link = sx_wr_bytes(&link);
    sx_event_init(&ev, SIMPLEX_EV_LDATA, c->id);
    sx_event_set_server(&ev, &d->fixed.request.queues[0].server);
    sx_ldata_encode(&ev.data, &out);
    if (link.bad)
        ev.data.bad = true;
    sx_wr_free(&link);
    return sx_emit(a, &ev);
}

/* Somebody gave us a link that is not what its server keeps: neither is used. */
static simplex_rc bad_data(struct simplex_agent *a, const struct sx_conn *c, simplex_rc why,
                           enum sx_link_fault fault)
{
    return fault == SX_LINK_GOOD ? why : sx_emit_err(a, c->id, why, sx_link_fault_text(fault));
}

simplex_rc sx_look_answered(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_command *cmd, const struct sx_rsp *rsp)
{
    enum sx_link_fault fault = SX_LINK_GOOD;
    struct sx_link_data d;
    struct sx_wish wish;
    uint8_t type, *fixed, *user;
    simplex_rc rc;

    if (c->state != SX_CONN_LOOKING && c->state != SX_CONN_LOOKED)
        return SIMPLEX_OK;
    if (rsp->tag != SX_R_LNK)
        return SIMPLEX_E_RESPONSE;
    memset(&d, 0, sizeof d);
    fixed = sx_memdup(rsp->lnk.fixed);
    user = sx_memdup(rsp->lnk.user);
    rc = fixed == NULL || user == NULL ? SIMPLEX_E_NOMEM : decode_wish(cmd->data, &wish);
    if (rc == SIMPLEX_OK) {
        rc = open_data(a, c->id, rsp, fixed, user, &type, &d, &fault);
        if (rc != SIMPLEX_OK)
            rc = bad_data(a, c, rc, fault);
        else if ((rc = keep_request(a, c, &d.fixed.request)) == SIMPLEX_OK)
            rc = wish.join ? join(a, c->id, &d.fixed.request, &wish) : show(a, c, type, &d);
    }
    sx_link_data_free(&d);
    sx_free(fixed);
    sx_free(user);
    return rc;
}

/* ---- LDATA ---- */

void sx_ldata_encode(struct sx_wr *w, const struct sx_ldata *d)
{
    sx_wr_u8(w, d->type);
    sx_wr_bool(w, d->direct);
    sx_wr_short(w, d->root);
    sx_wr_large(w, d->link);
    sx_wr_short(w, d->entity);
    sx_wr_large(w, d->data);
    sx_wr_u8(w, (uint8_t)d->owners.count);
    sx_wr_large(w, d->owners.items);
    sx_wr_u8(w, (uint8_t)d->relays.count);
    sx_wr_large(w, d->relays.items);
}

simplex_rc sx_ldata_decode(simplex_bytes in, struct sx_ldata *d)
{
    struct sx_rd r = sx_rd_init(in);

    d->type = sx_rd_u8(&r);
    d->direct = sx_rd_bool(&r);
    d->root = sx_rd_short(&r);
    d->link = sx_rd_large(&r);
    d->entity = sx_rd_short(&r);
    d->data = sx_rd_large(&r);
    d->owners.count = sx_rd_u8(&r);
    d->owners.items = sx_rd_large(&r);
    d->relays.count = sx_rd_u8(&r);
    d->relays.items = sx_rd_large(&r);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
}
