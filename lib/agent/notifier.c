/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifiers: for each receiving queue of a connection with notifications, the keys that a
 * notification server subscribes with (smp.md section 7). They are in the database before a server
 * sees them: with NEW where it takes them (SMP 17), with NKEY otherwise. NDEL takes them away.
 * A connection is one with notifications when one of its queues has a notifier.
 */
#include "agent/event.h"
#include "agent/push.h"
#include "agent/route.h"
#include "agent/work.h"

static void mark(struct simplex_agent *a, int64_t queue, bool has)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt != NULL)
        rt->notifier = has;
}

simplex_rc sx_notifiers_load(struct simplex_agent *a)
{
    int64_t ids[64], after = 0;
    simplex_rc rc;
    size_t n;

    do {
        n = SX_COUNT(ids);
        rc = sx_store_notifier_queues(a->store, after, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
            mark(a, ids[i], true);
            after = ids[i];
        }
    } while (rc == SIMPLEX_OK && n == SX_COUNT(ids));
    return rc;
}

/* E_NOT_FOUND: there is none. */
static simplex_rc put(struct simplex_agent *a, const struct sx_notifier *n)
{
    simplex_rc rc = sx_store_notifier_put(a->store, n);

    if (rc == SIMPLEX_OK)
        mark(a, n->queue_id, true);
    return rc;
}

static simplex_rc drop(struct simplex_agent *a, int64_t queue)
{
    mark(a, queue, false);
    return sx_store_notifier_delete(a->store, queue);
}

static simplex_rc fresh_keys(struct sx_notifier *n)
{
    simplex_rc rc = sx_keypair_new(SX_ED25519, &n->auth);

    return rc == SIMPLEX_OK ? sx_keypair_new(SX_X25519, &n->dh) : rc;
}

/* Those that a queue has been given before stay known to one server only. */
static simplex_rc make(struct simplex_agent *a, int64_t queue)
{
    struct sx_notifier n;
    simplex_rc rc;

    memset(&n, 0, sizeof n);
    n.queue_id = queue;
    n.state = SX_NTF_WANTED;
    rc = fresh_keys(&n);
    if (rc == SIMPLEX_OK)
        rc = put(a, &n);
    sx_wipe(&n, sizeof n);
    return rc;
}

/* The data of NKEY says for which keys it is. */
static simplex_rc command(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                          const struct sx_notifier *n)
{
    return sx_command_add(a, conn, tag, n->queue_id, sx_bytes(n->auth.pub.b, 32));
}

static simplex_rc tell(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_bytes ntf_id,
                       simplex_rc why, const char *detail)
{
    struct simplex_event ev;

    sx_event_init(&ev, SIMPLEX_EV_NOTIFIER, q->conn_id);
    sx_event_set_server(&ev, &q->server);
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    sx_wr_raw(&ev.data, ntf_id);
    return sx_emit(a, &ev);
}

/* ---- on and off ---- */

static simplex_rc switch_on(struct simplex_agent *a, const struct sx_rcv_queue *q,
                            struct sx_notifier *n, bool there)
{
    bool renew = q->rcv_id.len > 0; /* before there is a queue nobody has seen the keys */
    simplex_rc rc = SIMPLEX_OK;

    if (there && n->state != SX_NTF_DROPPED)
        return SIMPLEX_OK;
    if (!there) {
        memset(n, 0, sizeof *n);
        n->queue_id = q->id;
    }
    if (!there || renew) {
        n->has_secret = false;
        n->ntf_id.len = 0;
        sx_wipe(n->secret, sizeof n->secret);
        rc = fresh_keys(n);
    }
    n->state = SX_NTF_WANTED;
    if (rc == SIMPLEX_OK)
        rc = put(a, n);
    if (rc == SIMPLEX_OK && renew)
        rc = command(a, q->conn_id, SX_C_NKEY, n);
    return rc;
}

static simplex_rc switch_off(struct simplex_agent *a, const struct sx_rcv_queue *q,
                             struct sx_notifier *n, bool there)
{
    simplex_rc rc;

    if (!there || n->state == SX_NTF_DROPPED)
        return SIMPLEX_OK;
    n->state = SX_NTF_DROPPED;
    rc = put(a, n);
    if (rc == SIMPLEX_OK && q->rcv_id.len > 0)
        rc = command(a, q->conn_id, SX_C_NDEL, n);
    return rc;
}

/* Of a queue that is about to be deleted the server drops the notifier as well. */
static bool ends(const struct sx_rcv_queue *q)
{
    return q->deleted || q->switch_state == SX_SW_RECEIVED;
}

static simplex_rc switch_queue(struct simplex_agent *a, const struct sx_rcv_queue *q, bool on)
{
    struct sx_notifier n;
    simplex_rc rc = sx_store_notifier_get(a->store, q->id, &n);
    bool there = rc == SIMPLEX_OK;

    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = on ? switch_on(a, q, &n, there) : switch_off(a, q, &n, there);
    sx_wipe(&n, sizeof n);
    return rc;
}

simplex_rc sx_notify_conn(struct simplex_agent *a, int64_t conn, bool on)
{
    struct sx_rcv_queue q;
    struct sx_conn c;
    unsigned queues = 0;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && on && c.suspended)
        rc = SIMPLEX_E_PROHIBITED; /* there will be nothing to notify of */
    if (rc != SIMPLEX_OK)
        return rc;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc != SIMPLEX_OK || ends(&q))
            continue;
        queues++;
        rc = switch_queue(a, &q, on);
    }
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    return queues > 0 ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
}

/* ---- queues that are being made ---- */

static simplex_rc is_wanted(struct simplex_agent *a, const struct sx_rcv_queue *q, bool *yes)
{
    struct sx_rcv_queue other;
    struct sx_notifier n;
    bool first = true;
    simplex_rc rc = SIMPLEX_OK;

    *yes = false;
    for (unsigned i = 0; rc == SIMPLEX_OK && !*yes; i++) {
        rc = sx_store_rcvq_of(a->store, q->conn_id, i, &other);
        if (rc != SIMPLEX_OK || other.id == q->id)
            continue;
        first = false;
        rc = sx_store_notifier_get(a->store, other.id, &n);
        *yes = rc == SIMPLEX_OK && n.state != SX_NTF_DROPPED;
        sx_wipe(&n, sizeof n);
        if (rc == SIMPLEX_E_NOT_FOUND)
            rc = SIMPLEX_OK;
    }
    sx_wipe(&other, sizeof other);
    *yes = *yes || (first && a->cfg.notifications);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_notifier_for_queue(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    bool wanted;
    simplex_rc rc = is_wanted(a, q, &wanted);

    return rc == SIMPLEX_OK && wanted ? make(a, q->id) : rc;
}

simplex_rc sx_notifier_renew(struct simplex_agent *a, int64_t queue)
{
    struct sx_notifier n;
    simplex_rc rc = sx_store_notifier_get(a->store, queue, &n);

    if (rc == SIMPLEX_OK)
        rc = fresh_keys(&n);
    if (rc == SIMPLEX_OK)
        rc = put(a, &n);
    sx_wipe(&n, sizeof n);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_notifier_new(struct simplex_agent *a, int64_t queue, struct sx_cmd *cmd)
{
    struct sx_notifier n;
    simplex_rc rc = sx_store_notifier_get(a->store, queue, &n);

    if (rc == SIMPLEX_OK && n.state == SX_NTF_WANTED) {
        cmd->new_.has_ntf = true; /* older servers are not shown it */
        cmd->new_.ntf_auth = n.auth.pub;
        cmd->new_.ntf_dh = n.dh.pub;
    }
    sx_wipe(&n, sizeof n);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* The server has the keys. */
static simplex_rc is_set(struct simplex_agent *a, const struct sx_rcv_queue *q,
                         struct sx_notifier *n, simplex_bytes ntf_id, const struct sx_pub *srv_dh)
{
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc;

    if (!sx_id_take(&n->ntf_id, ntf_id))
        return SIMPLEX_E_RESPONSE;
    rc = sx_dh(&n->dh.priv, srv_dh, secret);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_KEY ? SIMPLEX_E_RESPONSE : rc;
    memcpy(n->secret, secret, sizeof n->secret);
    sx_wipe(secret, sizeof secret);
    n->has_secret = true;
    sx_keypair_wipe(&n->dh);
    n->dh.pub.alg = SX_NO_KEY;
    n->state = SX_NTF_SET;
    rc = put(a, n);
    return rc == SIMPLEX_OK ? tell(a, q, ntf_id, SIMPLEX_OK, NULL) : rc;
}

static simplex_rc made(struct simplex_agent *a, const struct sx_rcv_queue *q, struct sx_notifier *n,
                       const struct sx_rsp *rsp)
{
    if (n->state == SX_NTF_WANTED) {
        if (!rsp->ids.has_ntf)
            return command(a, q->conn_id, SX_C_NKEY, n);
        return is_set(a, q, n, rsp->ids.ntf_id, &rsp->ids.ntf_srv_dh);
    }
    return rsp->ids.has_ntf ? command(a, q->conn_id, SX_C_NDEL, n) : drop(a, q->id);
}

simplex_rc sx_notifier_made(struct simplex_agent *a, const struct sx_rcv_queue *q,
                            const struct sx_rsp *rsp)
{
    struct sx_notifier n;
    simplex_rc rc = sx_store_notifier_get(a->store, q->id, &n);

    if (rc == SIMPLEX_OK) {
        mark(a, q->id, true); /* it is in the tables from now on */
        rc = made(a, q, &n, rsp);
    }
    sx_wipe(&n, sizeof n);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- NKEY and NDEL ---- */

/* What a command is for, as long as it still is. E_NOT_FOUND: it has no purpose any more. */
static simplex_rc purpose(struct simplex_agent *a, const struct sx_command *c,
                          struct sx_notifier *n)
{
    uint8_t keys[32] = { 0 }; /* c->data lives until the next call on the store */
    simplex_rc rc;

    if (c->data.len == sizeof keys)
        memcpy(keys, c->data.ptr, sizeof keys);
    rc = sx_store_notifier_get(a->store, c->queue_id, n);
    if (rc != SIMPLEX_OK)
        return rc;
    if (n->state != (c->tag == SX_C_NKEY ? SX_NTF_WANTED : SX_NTF_DROPPED) ||
        memcmp(n->auth.pub.b, keys, sizeof keys) != 0)
        rc = SIMPLEX_E_NOT_FOUND;
    return rc;
}

simplex_rc sx_notifier_cmd(struct simplex_agent *a, const struct sx_command *c, struct sx_cmd *cmd,
                           bool *moot)
{
    struct sx_notifier n;
    simplex_rc rc;

    memset(&n, 0, sizeof n);
    rc = purpose(a, c, &n);
    *moot = rc == SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && c->tag == SX_C_NKEY) {
        cmd->tag = SX_NKEY;
        cmd->nkey.auth = n.auth.pub;
        cmd->nkey.dh = n.dh.pub;
    } else {
        cmd->tag = SX_NDEL;
    }
    sx_wipe(&n, sizeof n);
    return *moot ? SIMPLEX_OK : rc;
}

simplex_rc sx_notifier_answered(struct simplex_agent *a, const struct sx_command *c,
                                const struct sx_rsp *rsp)
{
    struct sx_rcv_queue q;
    struct sx_notifier n;
    simplex_rc rc;

    memset(&n, 0, sizeof n);
    memset(&q, 0, sizeof q);
    rc = purpose(a, c, &n);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, c->queue_id, &q);
    if (rc == SIMPLEX_OK && c->tag == SX_C_NKEY) {
        rc = is_set(a, &q, &n, rsp->nid.ntf_id, &rsp->nid.srv_dh);
    } else if (rc == SIMPLEX_OK) {
        rc = drop(a, q.id);
        if (rc == SIMPLEX_OK)
            rc = tell(a, &q, sx_bytes(NULL, 0), SIMPLEX_OK, NULL);
    }
    sx_wipe(&n, sizeof n);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_notifier_refused(struct simplex_agent *a, const struct sx_command *c, simplex_rc why,
                               const char *detail)
{
    struct sx_rcv_queue q;
    struct sx_notifier n;
    simplex_rc rc;

    memset(&n, 0, sizeof n);
    memset(&q, 0, sizeof q);
    rc = purpose(a, c, &n);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, c->queue_id, &q);
    if (rc == SIMPLEX_OK) /* refused for good: the queue has none, whatever was wanted */
        rc = drop(a, q.id);
    if (rc == SIMPLEX_OK)
        rc = tell(a, &q, sx_bytes(NULL, 0), why, detail);
    sx_wipe(&n, sizeof n);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_notifier_seen(struct simplex_agent *a, int64_t queue, simplex_bytes msg_id,
                            int64_t ts)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt == NULL || !rt->notifier)
        return SIMPLEX_OK;
    return sx_store_notifier_seen(a->store, queue, msg_id, ts);
}

/* ---- the public functions ---- */

struct args {
    int64_t conn;
    bool on;
    unsigned nth;
    simplex_notifier *out;
};

static simplex_rc do_notify(struct simplex_agent *a, void *p)
{
    const struct args *x = p;

    return sx_notify_conn(a, x->conn, x->on);
}

simplex_rc simplex_agent_notify(simplex_agent *a, int64_t conn, bool on)
{
    struct args x = { .conn = conn, .on = on };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_run(a, do_notify, &x, true);
}

static simplex_rc fill(const struct sx_rcv_queue *q, const struct sx_notifier *n,
                       simplex_notifier *out)
{
    struct sx_wr w;

    sx_wr_fixed(&w, out->server, sizeof out->server - 1);
    sx_server_print(&w, &q->server, sx_bytes(NULL, 0));
    if (w.bad)
        return SIMPLEX_E_TOO_LARGE;
    out->server[w.len] = 0;
    out->id_len = n->ntf_id.len;
    memcpy(out->id, n->ntf_id.b, n->ntf_id.len);
    sx_wr_fixed(&w, out->private_key, sizeof out->private_key);
    sx_pkcs8_encode(&n->auth.priv, &w);
    memcpy(out->secret, n->secret, sizeof out->secret);
    return w.bad || w.len != sizeof out->private_key ? SIMPLEX_E_INTERNAL : SIMPLEX_OK;
}

static simplex_rc do_notifier(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_rcv_queue q;
    struct sx_notifier n;
    struct sx_conn c;
    unsigned left = x->nth;
    simplex_rc rc = sx_store_conn_get(a->store, x->conn, &c);

    memset(&n, 0, sizeof n);
    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    for (unsigned i = 0; rc == SIMPLEX_OK; i++) {
        rc = sx_store_rcvq_of(a->store, c.id, i, &q);
        if (rc != SIMPLEX_OK || ends(&q))
            continue;
        rc = sx_store_notifier_get(a->store, q.id, &n);
        if (rc == SIMPLEX_OK && n.state == SX_NTF_SET && left-- == 0) {
            rc = fill(&q, &n, x->out);
            break;
        }
        if (rc == SIMPLEX_E_NOT_FOUND)
            rc = SIMPLEX_OK;
    }
    sx_wipe(&n, sizeof n);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc simplex_agent_notifier(simplex_agent *a, int64_t conn, unsigned nth,
                                  simplex_notifier *out)
{
    struct args x = { .conn = conn, .nth = nth, .out = out };

    if (a == NULL || out == NULL || out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    size_t size = out->size;
    memset(out, 0, sizeof *out);
    out->size = size;
    return sx_agent_run(a, do_notifier, &x, false);
}
