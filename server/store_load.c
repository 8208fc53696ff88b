/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of the store log, record by record, through the functions that commands use. Like the
 * reference, a record that does not fit what is there (a queue deleted before, an id known
 * already) is left out and the rest is read on.
 */
#include "store_load.h"

#include "services.h"
#include "store_index.h"

#define WALK 64

/* ---- records to memory ---- */

static simplex_rc rc_of(enum sx_err e)
{
    if (e == SX_ERR_NONE)
        return SIMPLEX_OK;
    return e == SX_ERR_INTERNAL ? SIMPLEX_E_NOMEM : SIMPLEX_E_PROHIBITED;
}

static simplex_rc join(struct sx_store *st, struct sx_queue *q, bool ntf, const uint8_t *id)
{
    struct sx_service *svc = NULL;

    if (ntf && q->ntf == NULL)
        return SIMPLEX_E_PROHIBITED;
    if (id != NULL && (svc = sx_service_find(st, sx_bytes(id, SX_ID_LEN))) == NULL)
        return SIMPLEX_E_NOT_FOUND;
    if (svc == NULL) {
        sx_queue_leave_service(q, ntf);
        return SIMPLEX_OK;
    }
    simplex_rc rc = sx_queue_load_service(q, ntf, svc);
    return rc == SIMPLEX_E_ARG ? SIMPLEX_E_PROHIBITED : rc;
}

static simplex_rc block(struct sx_store *st, struct sx_queue *q, const struct sx_slog_record *r)
{
    struct sx_smp_err why = {
        .blocked = r->reason, .has_notice = r->has_notice, .has_ttl = r->has_ttl, .ttl = r->ttl
    };

    return rc_of(sx_queue_block(st, q, &why));
}

/* What CREATE says beyond what a new queue has. */
static simplex_rc complete(struct sx_store *st, struct sx_queue *q, const struct sx_slog_record *r)
{
    simplex_rc rc = rc_of(sx_queue_load_keys(q, r->rk, r->rk_count));

    q->snd_key = r->sk;
    q->used_day = r->day;
    if (rc == SIMPLEX_OK && r->status == SX_Q_OFF)
        rc = rc_of(sx_queue_set_status(st, q, SX_Q_OFF, 0));
    if (rc == SIMPLEX_OK && r->status == SX_Q_BLOCKED)
        rc = block(st, q, r);
    if (rc == SIMPLEX_OK && r->has_nsrv)
        rc = join(st, q, true, r->nsrv);
    if (rc != SIMPLEX_E_NOMEM && r->has_rsrv) {
        simplex_rc joined = join(st, q, false, r->rsrv);
        rc = rc == SIMPLEX_OK ? joined : rc;
    }
    return rc;
}

static simplex_rc create(struct sx_store *st, const struct sx_slog_record *r)
{
    struct sx_queue_new n = { .mode = r->queue_mode,
                              .rcv_key = r->rk[0],
                              .rcv_id = r->rid,
                              .snd_id = r->sid,
                              .has_link = r->has_link,
                              .link_id = r->link_id,
                              .fixed = r->fixed,
                              .user = r->user,
                              .has_ntf = r->has_notifier,
                              .ntf_id = r->ntf_id,
                              .ntf_key = r->ntf_key };
    struct sx_queue *q;

    memcpy(n.secret, r->rdh, sizeof(n.secret));
    memcpy(n.ntf_secret, r->ntf_secret, sizeof(n.ntf_secret));
    simplex_rc rc = rc_of(sx_qstore_create(st, &n, &q));
    if (rc == SIMPLEX_OK) {
        rc = complete(st, q, r);
        sx_queue_unref(q);
    }
    sx_wipe(n.secret, sizeof(n.secret));
    sx_wipe(n.ntf_secret, sizeof(n.ntf_secret));
    return rc;
}

static simplex_rc add_service(struct sx_store *st, const struct sx_slog_record *r)
{
    struct sx_service_rec rec = { .role = r->role, .created_s = r->created_at };

    if (r->cert_count > SX_CHAIN_MAX)
        return SIMPLEX_E_PROHIBITED;
    memcpy(rec.id, r->service_id, sizeof(rec.id));
    memcpy(rec.cert_hash, r->cert_hash, sizeof(rec.cert_hash));
    rec.chain.count = r->cert_count;
    memcpy(rec.chain.cert, r->cert, r->cert_count * sizeof(r->cert[0]));
    simplex_rc rc = sx_service_load(st, &rec);
    return rc == SIMPLEX_E_ARG ? SIMPLEX_E_PROHIBITED : rc;
}

static simplex_rc notify(struct sx_store *st, struct sx_queue *q, const struct sx_slog_record *r)
{
    simplex_rc rc = rc_of(sx_queue_load_notifier(st, q, r->ntf_id, &r->ntf_key, r->ntf_secret));

    return rc == SIMPLEX_OK && r->has_nsrv ? join(st, q, true, r->nsrv) : rc;
}

static simplex_rc change(struct sx_store *st, struct sx_queue *q, const struct sx_slog_record *r)
{
    switch (r->tag) {
    case SX_SLOG_LINK:
        return rc_of(sx_queue_set_link(st, q, sx_bytes(r->link_id, SX_ID_LEN), r->fixed, r->user));
    case SX_SLOG_LDELETE:
        return rc_of(sx_queue_del_link(st, q));
    case SX_SLOG_SECURE:
        return rc_of(sx_queue_secure(st, q, &r->sk));
    case SX_SLOG_SET_KEYS:
        return rc_of(sx_queue_load_keys(q, r->rk, r->rk_count));
    case SX_SLOG_NOTIFIER:
        return notify(st, q, r);
    case SX_SLOG_NDELETE:
        sx_queue_del_notifier(st, q);
        return SIMPLEX_OK;
    case SX_SLOG_SUSPEND:
        return rc_of(sx_queue_set_status(st, q, SX_Q_OFF, 0));
    case SX_SLOG_BLOCK:
        return block(st, q, r);
    case SX_SLOG_UNBLOCK:
        return rc_of(sx_queue_set_status(st, q, SX_Q_ACTIVE, 0));
    case SX_SLOG_DELETE:
        sx_queue_delete(st, q);
        return SIMPLEX_OK;
    case SX_SLOG_TIME:
        q->used_day = r->day;
        return SIMPLEX_OK;
    case SX_SLOG_QUEUE_SERVICE:
        return join(st, q, r->ntf, r->has_rsrv ? r->rsrv : NULL);
    case SX_SLOG_CREATE:
    case SX_SLOG_NEW_SERVICE:
        break;
    }
    return SIMPLEX_E_ARG;
}

simplex_rc sx_load_record(struct sx_store *st, const struct sx_slog_record *r)
{
    if (r->tag == SX_SLOG_CREATE)
        return create(st, r);
    if (r->tag == SX_SLOG_NEW_SERVICE)
        return add_service(st, r);
    struct sx_queue *q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(r->rid, SX_ID_LEN));
    if (q == NULL)
        return SIMPLEX_E_NOT_FOUND;
    sx_queue_lock(st, q);
    simplex_rc rc = change(st, q, r);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    return rc;
}

/* ---- memory to records ---- */

void sx_load_service_record(const struct sx_service *svc, struct sx_slog_record *r)
{
    memset(r, 0, sizeof(*r));
    r->tag = SX_SLOG_NEW_SERVICE;
    memcpy(r->service_id, svc->id, sizeof(r->service_id));
    r->role = svc->role;
    r->cert_count = (unsigned)svc->chain.count;
    memcpy(r->cert, svc->chain.cert, svc->chain.count * sizeof(r->cert[0]));
    memcpy(r->cert_hash, svc->cert_hash, sizeof(r->cert_hash));
    r->created_at = svc->created_s;
}

static void notifier_record(const struct sx_queue *q, struct sx_slog_record *r)
{
    const struct sx_service *svc = sx_queue_service(q, true);

    r->has_notifier = true;
    memcpy(r->ntf_id, q->ntf->node.id, sizeof(r->ntf_id));
    r->ntf_key = q->ntf->key;
    memcpy(r->ntf_secret, q->ntf->secret, sizeof(r->ntf_secret));
    r->has_nsrv = svc != NULL;
    if (svc != NULL)
        memcpy(r->nsrv, svc->id, sizeof(r->nsrv));
}

static void link_record(const struct sx_link *l, struct sx_slog_record *r)
{
    r->has_link = true;
    memcpy(r->link_id, l->node.id, sizeof(r->link_id));
    r->fixed = sx_bytes(l->data, l->fixed_len);
    r->user = sx_bytes(l->data + l->fixed_len, l->user_len);
}

void sx_load_create_record(const struct sx_queue *q, struct sx_slog_record *r)
{
    const struct sx_service *svc = sx_queue_service(q, false);

    memset(r, 0, sizeof(*r));
    r->tag = SX_SLOG_CREATE;
    memcpy(r->rid, q->rcv.id, sizeof(r->rid));
    r->rk = q->keys == NULL ? &q->rcv_key : q->keys->key;
    r->rk_count = q->keys == NULL ? 1 : q->keys->count;
    memcpy(r->rdh, q->secret, sizeof(r->rdh));
    memcpy(r->sid, q->snd.id, sizeof(r->sid));
    r->sk = q->snd_key;
    r->queue_mode = q->mode;
    if (q->link != NULL)
        link_record(q->link, r);
    if (q->ntf != NULL)
        notifier_record(q, r);
    r->has_updated_at = q->used_day != 0;
    r->day = q->used_day;
    r->status = q->status;
    struct sx_smp_err why = sx_queue_blocked(q);
    r->reason = why.blocked;
    r->has_notice = why.has_notice;
    r->has_ttl = why.has_ttl;
    r->ttl = why.ttl;
    r->has_rsrv = svc != NULL;
    if (svc != NULL)
        memcpy(r->rsrv, svc->id, sizeof(r->rsrv));
}

bool sx_load_put_queue(struct sx_store *st, struct sx_queue *q, sx_slog_mark_put *put, void *to)
{
    struct sx_slog_record r;
    bool ok = true;

    sx_queue_lock(st, q);
    if (!q->deleted) {
        sx_load_create_record(q, &r);
        ok = put(to, &r, &q->logged);
        sx_wipe(r.rdh, sizeof(r.rdh));
        sx_wipe(r.ntf_secret, sizeof(r.ntf_secret));
    }
    sx_queue_unlock(st, q);
    return ok;
}

static bool put_shard(struct sx_store *st, unsigned shard, sx_slog_mark_put *put, void *to)
{
    struct sx_queue *found[WALK];
    size_t cursor = 0;
    bool ok = true;

    do {
        size_t n = sx_qstore_walk(st, shard, &cursor, found, WALK);
        for (size_t i = 0; i < n; i++) {
            ok = ok && sx_load_put_queue(st, found[i], put, to);
            sx_queue_unref(found[i]);
        }
        ok = ok && (cursor & SX_WALK_SHORT) == 0;
    } while (cursor != 0 && ok);
    return ok;
}

struct plain { /* who does not look at marks */
    sx_slog_put *put;
    void *to;
};

static bool put_plain(void *to, const struct sx_slog_record *r, uint16_t *mark)
{
    const struct plain *p = to;

    (void)mark;
    return p->put(p->to, r);
}

bool sx_load_rewrite(struct sx_store *st, sx_slog_put *put, void *to)
{
    struct plain p = { put, to };
    size_t at = 0;
    bool ok;

    do {
        ok = sx_services_put(st, &at, put_plain, &p);
    } while (ok && at != 0);
    for (unsigned shard = 0; ok && shard < SX_STORE_SHARDS; shard++)
        ok = put_shard(st, shard, put_plain, &p);
    return ok;
}

/* ---- the start ---- */

struct load {
    struct sx_store *st;
    const struct sx_load_cfg *cfg;
    struct sx_load_counts counts;
};

static simplex_rc on_record(void *user, const struct sx_slog_record *r, uint64_t line)
{
    struct load *l = user;
    simplex_rc rc = sx_load_record(l->st, r);

    l->counts.records++;
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOMEM)
        return rc;
    if (rc == SIMPLEX_E_NOT_FOUND)
        l->counts.unknown++;
    else
        l->counts.refused++;
    if (l->counts.first_odd == 0)
        l->counts.first_odd = line;
    return SIMPLEX_OK;
}

static bool on_rewrite(void *user, sx_slog_put *put, void *to)
{
    const struct load *l = user;

    sx_services_trim(l->st);
    return sx_load_rewrite(l->st, put, to);
}

static void on_progress(void *user, uint64_t bytes, uint64_t total)
{
    const struct load *l = user;

    l->cfg->progress(l->cfg->user, bytes, total);
}

static void on_warn(void *user, const char *text)
{
    const struct load *l = user;

    l->cfg->warn(l->cfg->user, text);
}

static void warn_odd(const struct load *l)
{
    char text[SX_PATH_MAX + 256];

    if (l->counts.first_odd == 0 || l->cfg->warn == NULL)
        return;
    (void)snprintf(text, sizeof(text),
                   "%s: %" PRIu64 " records are about queues or services that are not there, "
                   "%" PRIu64 " do not fit what is there; left out, the first in line %" PRIu64,
                   l->cfg->path, l->counts.unknown, l->counts.refused, l->counts.first_odd);
    l->cfg->warn(l->cfg->user, text);
}

simplex_rc sx_store_load(struct sx_store *st, const struct sx_load_cfg *cfg,
                         struct sx_load_counts *counts, struct sx_errtext *err,
                         struct sx_slog **out)
{
    struct load l = { .st = st, .cfg = cfg };
    struct sx_slog_cfg log = { .path = cfg->path,
                               .skip_damage = cfg->skip_damage,
                               .sys = cfg->sys,
                               .user = &l,
                               .record = on_record,
                               .rewrite = on_rewrite,
                               .progress = cfg->progress == NULL ? NULL : on_progress,
                               .warn = cfg->warn == NULL ? NULL : on_warn };

    simplex_rc rc = sx_slog_open(&log, err, out);
    if (rc == SIMPLEX_OK)
        warn_odd(&l);
    if (counts != NULL)
        *counts = l.counts;
    return rc;
}
