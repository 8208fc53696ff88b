/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short links of our own (agent.md section 5.3): made with NEW, or with LSET for an address that
 * had none; the user part is replaced with LSET and all is dropped with LDEL. A command sends what
 * the row holds at that moment, so a repeat after a lost answer says the latest.
 */
#include "agent/delete.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/notice.h"
#include "agent/several.h"
#include "agent/work.h"

/* ---- making ---- */

static simplex_rc add_row(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                          struct sx_link_row *l, const simplex_link_data *d)
{
    struct sx_wr user;
    simplex_rc rc = sx_keypair_new(SX_ED25519, &l->root);

    sx_wr_init(&user, SX_LINK_USER_PADDED);
    if (rc == SIMPLEX_OK)
        rc = sx_link_user(l, d, &user);
    if (rc == SIMPLEX_OK)
        rc = sx_link_make(a, c, q, l, sx_wr_bytes(&user));
    sx_wr_free(&user);
    return rc;
}

static simplex_rc make_keys(struct simplex_agent *a, const struct sx_conn *c)
{
    struct sx_x3dh_keys keys;
    simplex_rc rc = sx_x3dh_keys_new(c->pq_support, &keys); /* there is room for the KEM key */

    if (rc == SIMPLEX_OK)
        rc = sx_store_x3dh_put(a->store, c->id, &keys);
    sx_x3dh_keys_wipe(&keys);
    return rc;
}

simplex_rc sx_create_short(struct simplex_agent *a, int64_t user, uint8_t type, int32_t pq,
                           const simplex_link_data *d, bool told, int64_t *conn)
{
    bool invitation = type == SX_SHORT_INVITATION;
    struct sx_conn c = { .user = user,
                         .role = invitation ? SX_INITIATOR : SX_ADDRESS,
                         .state = SX_CONN_NEW,
                         .subscribe = !a->only_create,
                         .pq_support = invitation && pq != SIMPLEX_PQ_OFF && sx_kem_available(),
                         .created_at = sx_now_ms() };
    struct sx_link_row l = { .type = type,
                             .state = told ? SX_LINK_TOLD : SX_LINK_MADE,
                             .kem_in_full = pq == SIMPLEX_PQ_IN_LINK };
    struct sx_rcv_queue q;
    simplex_rc rc = sx_conn_begin(a, &c);

    memset(&q, 0, sizeof q);
    if (rc == SIMPLEX_OK && told && c.rcv_queues > 1) { /* known before any server was asked */
        c.rcv_queues = 0;
        rc = sx_store_conn_update(a->store, &c);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue(a, &c, NULL, a->speaks.client.max, &q);
    if (rc == SIMPLEX_OK && !invitation)
        rc = sx_notice_check(a, &q.server);
    q.mode = invitation ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
    if (rc == SIMPLEX_OK && invitation)
        rc = make_keys(a, &c);
    if (rc == SIMPLEX_OK)
        rc = add_row(a, &c, &q, &l, d);
    if (rc == SIMPLEX_OK && !told)
        rc = sx_make_linked(a, &c, &q);
    sx_wipe(&l, sizeof l);
    sx_wipe(&q, sizeof q);
    *conn = c.id;
    return rc;
}

simplex_rc sx_link_told(struct simplex_agent *a, int64_t queue, bool *yes)
{
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, queue, &l);

    *yes = rc == SIMPLEX_OK && l.state == SX_LINK_TOLD;
    sx_wipe(&l, sizeof l);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_link_queue(struct simplex_agent *a, int64_t conn, struct sx_conn *c,
                         struct sx_rcv_queue *q)
{
    bool is_there = true;
    simplex_rc rc = sx_store_conn_get(a->store, conn, c);

    if (rc == SIMPLEX_OK && c->deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && c->state != SX_CONN_INVITED && c->state != SX_CONN_NEW)
        rc = SIMPLEX_E_PROHIBITED;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_rcvq_of(a->store, conn, 0, q);
    if (rc == SIMPLEX_OK && c->state == SX_CONN_NEW)
        rc = sx_link_told(a, q->id, &is_there);
    if (rc == SIMPLEX_OK && !is_there)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        sx_wipe(q, sizeof *q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
}

simplex_rc sx_publish(struct simplex_agent *a, int64_t conn)
{
    struct sx_command cmd;
    struct sx_conn c;
    struct sx_rcv_queue q;
    simplex_rc rc = sx_link_queue(a, conn, &c, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    if (c.state == SX_CONN_NEW) {
        rc = sx_store_command_next(a->store, conn, 0, &cmd);
        if (rc == SIMPLEX_E_NOT_FOUND) { /* not under way yet, or refused */
            rc = c.role == SX_ADDRESS ? sx_notice_check(a, &q.server) : SIMPLEX_OK;
            if (rc == SIMPLEX_OK)
                rc = sx_command_add(a, conn, SX_C_NEW, q.id, sx_bytes(NULL, 0));
        }
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- with NEW ---- */

simplex_rc sx_link_new(struct simplex_agent *a, const struct sx_rcv_queue *q, struct sx_link_row *l,
                       struct sx_cmd *cmd)
{
    simplex_rc rc = sx_store_link_get(a->store, q->id, l);

    if (rc != SIMPLEX_OK) {
        memset(l, 0, sizeof *l);
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    }
    cmd->new_.has_link = true;
    if (l->has_link_id)
        cmd->new_.link_id = sx_bytes(l->link_id, sizeof l->link_id);
    cmd->new_.snd_id = sx_id_bytes(&q->snd_id);
    cmd->new_.fixed = l->fixed;
    cmd->new_.user = l->user;
    return SIMPLEX_OK;
}

static simplex_rc make_again(struct simplex_agent *a, int64_t queue, struct sx_link_row *l)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_wr user;
    simplex_rc rc;

    sx_wr_init(&user, SX_LINK_USER_PADDED);
    rc = sx_link_open_user(l, &user);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, queue, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, q.conn_id, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_link_make(a, &c, &q, l, sx_wr_bytes(&user));
    sx_wipe(&q, sizeof q);
    sx_wr_free(&user);
    return rc;
}

/* A server that has these ids already refuses them (section 6.3), and does not say whose they are:
 * what nobody has seen yet is made anew. A link that was told can only be tried again. */
simplex_rc sx_link_renew(struct simplex_agent *a, int64_t queue)
{
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, queue, &l);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (l.state == SX_LINK_MADE)
        rc = make_again(a, queue, &l);
    sx_wipe(&l, sizeof l);
    return rc;
}

/* The slices that were borrowed with the row, for putting it back. */
static simplex_rc put_again(struct simplex_agent *a, struct sx_link_row *l)
{
    uint8_t *fixed = sx_memdup(l->fixed), *user = sx_memdup(l->user);
    simplex_rc rc = SIMPLEX_E_NOMEM;

    l->fixed.ptr = fixed;
    l->user.ptr = user;
    if (fixed != NULL && user != NULL)
        rc = sx_store_link_put(a->store, l);
    sx_free(fixed);
    sx_free(user);
    return rc;
}

static bool ids_fit(const struct sx_link_row *l, const struct sx_rsp *rsp)
{
    struct sx_id snd_id;

    sx_link_sender_id(l->corr_id, &snd_id);
    if (!sx_bytes_eq(rsp->ids.snd_id, sx_id_bytes(&snd_id)) ||
        rsp->ids.link_id.len != sizeof l->link_id)
        return false;
    return !l->has_link_id ||
           sx_bytes_eq(rsp->ids.link_id, sx_bytes(l->link_id, sizeof l->link_id));
}

/* The server is older than short links: the connection has a full link only. */
static simplex_rc without_link(struct simplex_agent *a, struct sx_conn *c,
                               const struct sx_link_row *l, bool *on)
{
    simplex_rc rc = sx_emit_err(a, c->id, SIMPLEX_E_VERSION, "the server keeps no short links");

    *on = l->state != SX_LINK_TOLD; /* the link that was told leads nowhere */
    if (rc == SIMPLEX_OK)
        rc = sx_store_link_delete(a->store, l->queue_id);
    return rc == SIMPLEX_OK && !*on ? sx_delete(a, c->id) : rc;
}

simplex_rc sx_link_made(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        const struct sx_rsp *rsp, bool *on)
{
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, q->id, &l);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (!rsp->ids.has_link_id) {
        rc = without_link(a, c, &l, on);
    } else if (!ids_fit(&l, rsp) || (c->role != SX_ADDRESS && rsp->ids.mode != SX_MODE_MESSAGING)) {
        rc = SIMPLEX_E_RESPONSE; /* the link says otherwise */
    } else {
        l.has_link_id = true;
        memcpy(l.link_id, rsp->ids.link_id.ptr, sizeof l.link_id);
        l.state = SX_LINK_SET;
        rc = put_again(a, &l);
    }
    sx_wipe(&l, sizeof l);
    return rc;
}

/* ---- showing ---- */

static void print_short(struct simplex_agent *a, const struct sx_rcv_queue *q,
                        const struct sx_link_row *l, struct sx_wr *w)
{
    struct sx_short_link s = { .type = l->type, .has_key_hash = true, .server = q->server };

    memcpy(s.link_id, l->link_id, sizeof s.link_id);
    memcpy(s.link_key, l->link_key, sizeof s.link_key);
    sx_short_link_shorten(&s, a->presets, a->n_presets);
    sx_short_link_print(w, &s);
    sx_wipe(&s, sizeof s);
}

simplex_rc sx_link_show(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q)
{
    struct simplex_event ev;
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, q->id, &l);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    sx_event_init(&ev, SIMPLEX_EV_LINK, c->id);
    print_short(a, q, &l, &ev.data);
    sx_wipe(&l, sizeof l);
    return sx_emit(a, &ev);
}

simplex_rc sx_short_text(struct simplex_agent *a, int64_t conn, struct sx_wr *w)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_link_row l;
    simplex_rc rc = sx_link_queue(a, conn, &c, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_link_get(a->store, q.id, &l);
    /* not told before: it may still change, or its id is not known */
    if (rc == SIMPLEX_OK && l.state != SX_LINK_SET && !(l.state == SX_LINK_TOLD && l.has_link_id))
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK) {
        print_short(a, &q, &l, w);
        rc = w->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    }
    sx_wipe(&l, sizeof l);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
}

/* ---- changing ---- */

static simplex_rc send_data(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    struct sx_command cmd;
    bool waits;
    simplex_rc rc;

    if (c->state == SX_CONN_NEW) { /* a link that was told goes with NEW, when that is due */
        rc = sx_store_command_next(a->store, c->id, 0, &cmd);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    }
    rc = sx_command_waits(a, c->id, SX_C_LSET, &waits);
    return rc == SIMPLEX_OK && !waits
               ? sx_command_add(a, c->id, SX_C_LSET, queue, sx_bytes(NULL, 0))
               : rc;
}

static simplex_rc change_row(struct simplex_agent *a, struct sx_link_row *l,
                             const simplex_link_data *d)
{
    struct sx_wr user;
    uint8_t *fixed;
    simplex_rc rc;

    if (l->state == SX_LINK_DROPPED)
        return SIMPLEX_E_PROHIBITED;
    fixed = sx_memdup(l->fixed); /* borrowed from the row that is replaced */
    if (fixed == NULL)
        return SIMPLEX_E_NOMEM;
    l->fixed.ptr = fixed;
    sx_wr_init(&user, SX_LINK_USER_PADDED);
    rc = sx_link_user(l, d, &user);
    if (rc == SIMPLEX_OK)
        rc = sx_link_update(a, l, sx_wr_bytes(&user));
    sx_wr_free(&user);
    sx_free(fixed);
    return rc;
}

static simplex_rc is_being_deleted(struct simplex_agent *a, int64_t conn, bool *yes)
{
    struct sx_command cmd = { .id = 0 };
    simplex_rc rc = SIMPLEX_OK;

    *yes = false;
    while (!*yes && (rc = sx_store_command_next(a->store, conn, cmd.id, &cmd)) == SIMPLEX_OK)
        *yes = cmd.tag == SX_C_LDEL;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* Not while LDEL is on its way: it would take the new one. */
static simplex_rc add_link(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                           const simplex_link_data *d)
{
    struct sx_link_row l = { .type = SX_SHORT_CONTACT, .state = SX_LINK_MADE };
    bool waits;
    simplex_rc rc = is_being_deleted(a, c->id, &waits);

    if (rc == SIMPLEX_OK)
        rc = waits ? SIMPLEX_E_PROHIBITED : add_row(a, c, q, &l, d);
    sx_wipe(&l, sizeof l);
    return rc;
}

simplex_rc sx_set_link_data(struct simplex_agent *a, int64_t conn, const simplex_link_data *d)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_link_row l;
    simplex_rc rc = sx_link_queue(a, conn, &c, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    memset(&l, 0, sizeof l);
    rc = sx_store_link_get(a->store, q.id, &l);
    if (rc == SIMPLEX_OK) {
        rc = change_row(a, &l, d);
    } else if (rc == SIMPLEX_E_NOT_FOUND && c.role == SX_ADDRESS) {
        rc = add_link(a, &c, &q, d);
    } else if (rc == SIMPLEX_E_NOT_FOUND) {
        rc = SIMPLEX_E_PROHIBITED; /* the server chose no id for an invitation without data */
    }
    if (rc == SIMPLEX_OK)
        rc = send_data(a, &c, q.id);
    sx_wipe(&l, sizeof l);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* An old copy of the database may be from before the address got its link: the server would refuse
 * another one as long as it has that. Deleting needs no key of the link. */
static simplex_rc delete_unknown(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    bool waits;
    simplex_rc rc =
        c->role == SX_ADDRESS && c->state == SX_CONN_INVITED ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;

    if (rc == SIMPLEX_OK)
        rc = is_being_deleted(a, c->id, &waits);
    return rc == SIMPLEX_OK && !waits
               ? sx_command_add(a, c->id, SX_C_LDEL, queue, sx_bytes(NULL, 0))
               : rc;
}

simplex_rc sx_delete_link_data(struct simplex_agent *a, int64_t conn)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_link_row l;
    simplex_rc rc = sx_link_queue(a, conn, &c, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_link_get(a->store, q.id, &l);
    if (rc == SIMPLEX_E_NOT_FOUND) {
        rc = delete_unknown(a, &c, q.id);
    } else if (rc == SIMPLEX_OK && c.state == SX_CONN_NEW) {
        rc = SIMPLEX_E_PROHIBITED;
    } else if (rc == SIMPLEX_OK && l.state != SX_LINK_DROPPED) {
        l.state = SX_LINK_DROPPED;
        rc = put_again(a, &l);
        if (rc == SIMPLEX_OK)
            rc = sx_command_add(a, conn, SX_C_LDEL, q.id, sx_bytes(NULL, 0));
    }
    sx_wipe(&l, sizeof l);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- answers ---- */

simplex_rc sx_link_set(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    struct sx_rcv_queue q;
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, queue, &l);

    if (rc != SIMPLEX_OK)
        return rc;
    if (l.state != SX_LINK_DROPPED) {
        l.state = SX_LINK_SET;
        rc = put_again(a, &l);
        if (rc == SIMPLEX_OK)
            rc = sx_store_rcvq_get(a->store, queue, &q);
        if (rc == SIMPLEX_OK)
            rc = sx_link_show(a, c, &q);
        sx_wipe(&q, sizeof q);
    }
    sx_wipe(&l, sizeof l);
    return rc;
}

simplex_rc sx_link_deleted(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    simplex_rc rc = sx_store_link_delete(a->store, queue);

    return rc == SIMPLEX_OK ? sx_emit_simple(a, SIMPLEX_EV_LINK, c->id) : rc;
}

/* A link that the server never had goes again; what it would not delete is still there. */
simplex_rc sx_link_refused(struct simplex_agent *a, const struct sx_command *cmd)
{
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, cmd->queue_id, &l);

    if (rc == SIMPLEX_OK && cmd->tag == SX_C_LSET && l.state == SX_LINK_MADE) {
        rc = sx_store_link_delete(a->store, cmd->queue_id);
    } else if (rc == SIMPLEX_OK && cmd->tag == SX_C_LDEL) {
        l.state = SX_LINK_SET;
        rc = put_again(a, &l);
    }
    sx_wipe(&l, sizeof l);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_link_used(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    simplex_rc rc = sx_store_link_delete(a->store, queue);

    if (rc == SIMPLEX_OK)
        rc = sx_command_drop(a, c->id, SX_C_LSET);
    return rc == SIMPLEX_OK ? sx_command_drop(a, c->id, SX_C_LDEL) : rc;
}
