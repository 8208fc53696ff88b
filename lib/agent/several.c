/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of a new connection: as many as are wanted and servers allow, each made for itself;
 * the command MADE waits for them and goes on with the link or the confirmation. A server that is
 * away holds nothing up: its queue moves, or is left out when another one is there.
 */
#include "agent/command.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

#define AWAY_MAX 1 /* moves of a queue while another one is there already */

uint8_t sx_queues_wanted(const struct simplex_agent *a)
{
    int32_t n = a->queues_of_call > 0 ? a->queues_of_call : a->cfg.queues;

    return n > 1 ? (uint8_t)n : 0;
}

/* ---- servers ---- */

struct in_use {
    struct sx_server server[SX_CHOICE_USED];
    size_t n;
};

static simplex_rc servers_in_use(struct simplex_agent *a, int64_t conn, struct in_use *u)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK && u->n < SX_COUNT(u->server); n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc == SIMPLEX_OK && !q.deleted)
            u->server[u->n++] = q.server;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc choose_apart(struct simplex_agent *a, const struct in_use *u,
                               struct sx_choice *choice, const struct sx_server *rather_not,
                               struct sx_server *out)
{
    const struct sx_user_server *chosen;
    simplex_rc rc;

    for (size_t i = 0; i < u->n; i++)
        choice->used[choice->n_used++] = &u->server[i];
    if (rather_not != NULL && choice->n_used < SX_CHOICE_USED)
        choice->used[choice->n_used++] = rather_not;
    rc = sx_choose(a, choice, &chosen);
    for (size_t i = 0; rc == SIMPLEX_OK && i < u->n; i++) {
        if (sx_shares_host(&chosen->server, &u->server[i]))
            rc = SIMPLEX_E_NO_SERVERS; /* the best there is is no other one */
    }
    if (rc == SIMPLEX_OK)
        *out = chosen->server;
    return rc;
}

simplex_rc sx_choose_server_apart(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_server *rather_not,
                                  const struct sx_server *failed, struct sx_server *out)
{
    struct sx_choice choice = { .user = c->user, .role = SX_SRV_STORAGE, .failed = failed };
    struct in_use *u = sx_calloc(1, sizeof *u);
    simplex_rc rc;

    if (u == NULL)
        return SIMPLEX_E_NOMEM;
    rc = servers_in_use(a, c->id, u);
    if (rc == SIMPLEX_OK)
        rc = choose_apart(a, u, &choice, rather_not, out);
    choice.n_used = 0;
    if (rc == SIMPLEX_E_NO_SERVERS && rather_not != NULL) /* then there, if it must be */
        rc = choose_apart(a, u, &choice, NULL, out);
    sx_free(u);
    return rc;
}

/* ---- making them ---- */

static simplex_rc make_spare(struct simplex_agent *a, const struct sx_conn *c,
                             const struct sx_server *rather_not, uint16_t version)
{
    struct sx_rcv_queue q;
    struct sx_server server;
    simplex_rc rc = sx_choose_server_apart(a, c, rather_not, NULL, &server);

    memset(&q, 0, sizeof q);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue_on(a, c->id, &server, version, 0, &q);
    q.primary = false;
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, c->id, SX_C_NEW, q.id, sx_bytes(NULL, 0));
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc make_spares(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_server *rather_not, uint16_t version, unsigned *n)
{
    simplex_rc rc = SIMPLEX_OK;

    for (*n = 0; rc == SIMPLEX_OK && *n + 1 < c->rcv_queues; *n += rc == SIMPLEX_OK)
        rc = make_spare(a, c, rather_not, version);
    return rc == SIMPLEX_E_NO_SERVERS ? SIMPLEX_OK : rc;
}

simplex_rc sx_make_linked(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q)
{
    unsigned spares;
    simplex_rc rc = make_spares(a, c, NULL, q->client_version, &spares);

    if (rc != SIMPLEX_OK)
        return rc;
    if (spares == 0)
        return sx_command_add(a, c->id, SX_C_NEW, q->id, sx_bytes(NULL, 0));
    return sx_command_add(a, c->id, SX_C_MADE, q->id, sx_bytes(NULL, 0));
}

simplex_rc sx_make_queues(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q, const struct sx_server *rather_not,
                          simplex_bytes data)
{
    unsigned spares;
    simplex_rc rc = make_spares(a, c, rather_not, q->client_version, &spares);

    if (rc != SIMPLEX_OK)
        return rc;
    if (spares == 0)
        return sx_command_add(a, c->id, SX_C_NEW, q->id, data);
    rc = sx_command_add(a, c->id, SX_C_NEW, q->id, sx_bytes(NULL, 0));
    return rc == SIMPLEX_OK ? sx_command_add(a, c->id, SX_C_MADE, 0, data) : rc;
}

struct tally {
    unsigned made, unmade;
};

simplex_rc sx_has_link(struct simplex_agent *a, int64_t queue, bool *yes)
{
    struct sx_link_row l;
    simplex_rc rc = sx_store_link_get(a->store, queue, &l);

    sx_wipe(&l, sizeof l);
    *yes = rc == SIMPLEX_OK;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* One with a short link is not waited for: it waits for the others. */
static simplex_rc count_queues(struct simplex_agent *a, int64_t conn, struct tally *t)
{
    struct sx_rcv_queue q;
    bool linked;
    simplex_rc rc = SIMPLEX_OK;

    *t = (struct tally){ 0 };
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.replaces != 0)
            continue;
        if (q.rcv_id.len > 0) {
            t->made++;
            continue;
        }
        rc = sx_has_link(a, q.id, &linked);
        t->unmade += rc == SIMPLEX_OK && !linked;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_queues_unmade(struct simplex_agent *a, int64_t conn, bool *yes)
{
    struct tally t;
    simplex_rc rc = sx_command_waits(a, conn, SX_C_MADE, yes);

    if (rc != SIMPLEX_OK || !*yes)
        return rc;
    rc = count_queues(a, conn, &t);
    *yes = t.unmade > 0;
    return rc;
}

/* One of the others takes the first place. */
static simplex_rc promote(struct simplex_agent *a, int64_t conn, int64_t but)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.id == but || q.replaces != 0)
            continue;
        q.primary = true;
        rc = sx_store_rcvq_update(a->store, &q);
        break;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* No server has it, and none is asked any more. */
static simplex_rc leave_out(struct simplex_agent *a, const struct sx_command *cmd,
                            const struct sx_rcv_queue *q)
{
    simplex_rc rc = sx_store_command_delete(a->store, cmd->id);

    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_delete(a->store, q->id);
    return rc == SIMPLEX_OK && q->primary ? promote(a, q->conn_id, q->id) : rc;
}

static simplex_rc move(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                       bool *moved)
{
    struct sx_server server;
    simplex_rc rc = sx_choose_server_apart(a, c, NULL, &q->server, &server);

    *moved = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NO_SERVERS ? SIMPLEX_OK : rc;
    q->delete_errors++; /* it has no other use before there is something to delete */
    return sx_new_elsewhere(a, q, &server);
}

simplex_rc sx_queue_away(struct simplex_agent *a, struct sx_conn *c, const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct tally t;
    bool told, moved = false;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK)
        rc = count_queues(a, c->id, &t);
    if (rc == SIMPLEX_OK)
        rc = sx_link_told(a, q.id, &told);
    if (rc == SIMPLEX_OK && sx_new_may_move(&q, cmd->data) && !told &&
        (t.made == 0 || q.delete_errors < AWAY_MAX || sx_is_added(&q)))
        rc = move(a, c, &q, &moved);
    if (rc == SIMPLEX_OK && !moved && t.made > 0 && !sx_is_added(&q))
        rc = leave_out(a, cmd, &q);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* The command that no sender needs: queues that the sender cannot secure by itself would each take
 * part in the handshake, which has a place for one. */
static simplex_rc drop_unfit(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *first)
{
    struct sx_rcv_queue q;
    unsigned n = 0;
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK) {
        rc = sx_store_rcvq_of(a->store, c->id, n++, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.id == first->id ||
            (q.mode == SX_MODE_MESSAGING && first->mode == SX_MODE_MESSAGING))
            continue;
        rc = sx_queue_drop(a, c, &q, SIMPLEX_E_VERSION, NULL);
        n = 0; /* the row may be gone */
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_queues_made(struct simplex_agent *a, struct sx_conn *c, simplex_bytes data)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_of(a->store, c->id, 0, &q);

    if (rc == SIMPLEX_OK && q.rcv_id.len == 0) { /* its link is made anew, with the others in it */
        rc = sx_link_renew(a, q.id);
        if (rc == SIMPLEX_OK)
            rc = sx_command_add(a, c->id, SX_C_NEW, q.id, sx_bytes(NULL, 0));
        sx_wipe(&q, sizeof q);
        return rc;
    }
    if (rc == SIMPLEX_OK)
        rc = drop_unfit(a, c, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_conn_ready(a, c, &q, data);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- lists of queues ---- */

simplex_rc sx_list_queues(struct simplex_agent *a, const struct sx_conn *c, int64_t first,
                          struct sx_range v, struct sx_queue_addr list[SX_QUEUES_MAX], size_t most,
                          size_t *n)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *n = 1;
    if (c->rcv_queues <= 1)
        return SIMPLEX_OK;
    for (unsigned k = 0; rc == SIMPLEX_OK && *n < most && *n < SX_QUEUES_MAX; k++) {
        rc = sx_store_rcvq_of(a->store, c->id, k, &q);
        if (rc != SIMPLEX_OK || q.id == first || q.deleted || q.rcv_id.len == 0 ||
            q.mode != SX_MODE_MESSAGING || q.replaces != 0 || sx_is_added(&q))
            continue;
        sx_queue_info_of(&q, &list[*n]);
        list[*n].v = v;
        ++*n;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static bool same_queue(const struct sx_queue_addr *a, const struct sx_queue_addr *b)
{
    return sx_server_same_address(&a->server, &b->server) &&
           sx_bytes_eq(sx_id_bytes(&a->snd_id), sx_id_bytes(&b->snd_id));
}

/* Each must be one that we can secure ourselves, and none there twice: a list that is not so was
 * made by nobody who uses several. */
size_t sx_usable_queues(const struct sx_queue_addr *list, size_t n)
{
    if (n > SX_QUEUES_MAX)
        n = SX_QUEUES_MAX;
    for (size_t i = 0; i < n; i++) {
        if (list[i].mode != SX_MODE_MESSAGING ||
            sx_range_agree(list[i].v, (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX }) == 0)
            return 1;
        for (size_t j = 0; j < i; j++) {
            if (same_queue(&list[i], &list[j]))
                return 1;
        }
    }
    return n;
}

simplex_rc sx_more_snd_queues(struct simplex_agent *a, int64_t conn,
                              const struct sx_queue_addr *list, size_t n, uint16_t version)
{
    struct sx_snd_queue q;
    simplex_rc rc = SIMPLEX_OK;

    memset(&q, 0, sizeof q);
    for (size_t i = 1; rc == SIMPLEX_OK && i < n; i++) {
        uint16_t v = list[i].v.max < version ? list[i].v.max : version;
        rc = sx_new_snd_queue(a, conn, &list[i], v, &q);
        if (rc != SIMPLEX_OK && !sx_rc_is_store(rc)) { /* a key that is none */
            rc = SIMPLEX_OK;
            continue;
        }
        q.primary = false;
        if (rc == SIMPLEX_OK)
            rc = sx_store_sndq_update(a->store, &q);
        if (rc == SIMPLEX_OK)
            rc = sx_command_add(a, conn, SX_C_SKEY, q.id, sx_bytes(NULL, 0));
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- the handshake ---- */

/* The same ratchet message gives the secret of one more queue. That it is the same is what proves
 * who sent it: nobody else has its bytes, which were under the secret of another queue. */
simplex_rc sx_confirmed_again(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              const struct sx_opened *o)
{
    uint8_t hash[32];
    bool known;
    simplex_rc rc;

    sx_sha256(o->env.body, hash);
    rc = sx_store_rcv_hash_known(a->store, c->id, hash, &known, NULL);
    if (rc != SIMPLEX_OK || !known || !o->first || o->inner.has_key)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_PROHIBITED;
    memcpy(q->e2e_secret, o->secret, sizeof q->e2e_secret);
    q->has_e2e_secret = true;
    if (q->status < SX_Q_CONFIRMED)
        q->status = SX_Q_CONFIRMED;
    if (o->outer.version < q->client_version)
        q->client_version = o->outer.version;
    rc = sx_store_rcvq_update(a->store, q);
    return rc == SIMPLEX_OK ? sx_came(a, c, q, 1, false, c->last_rcv_ext_id) : rc;
}

/* ---- events, failures ---- */

simplex_rc sx_emit_queue(struct simplex_agent *a, int64_t conn, int64_t queue, int32_t direction,
                         int32_t phase, const struct sx_server *server, simplex_rc why,
                         const char *detail)
{
    struct simplex_event ev;

    sx_event_init(&ev, SIMPLEX_EV_QUEUE, conn);
    ev.conf = queue;
    ev.direction = direction;
    ev.phase = phase;
    sx_event_set_server(&ev, server);
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    return sx_emit(a, &ev);
}

static simplex_rc rcv_failed(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_command *cmd, simplex_rc why, const char *detail,
                             bool *handled)
{
    struct sx_rcv_queue q;
    struct tally t;
    bool linked;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK)
        rc = count_queues(a, c->id, &t);
    if (rc == SIMPLEX_OK)
        rc = sx_has_link(a, q.id, &linked);
    if (rc == SIMPLEX_OK && q.replaces == 0 && !q.deleted &&
        (sx_is_added(&q) || (cmd->tag == SX_C_NEW && t.made + t.unmade > 1 && !linked))) {
        *handled = true;
        rc = sx_queue_drop(a, c, &q, why, detail);
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_several_failed(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_command *cmd, simplex_rc why, const char *detail,
                             bool *handled)
{
    struct sx_snd_queue q;
    simplex_rc rc;

    *handled = false;
    if (cmd->tag == SX_C_NEW || cmd->tag == SX_C_KEY)
        return rcv_failed(a, c, cmd, why, detail, handled);
    if (cmd->tag != SX_C_SKEY)
        return SIMPLEX_OK;
    rc = sx_store_sndq_get(a->store, cmd->queue_id, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_snd_lost(a, &q, why, detail, handled);
    if (rc == SIMPLEX_OK && !*handled && (c->peer_several || c->rcv_queues > 1))
        rc = sx_snd_end(a, &q);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}
