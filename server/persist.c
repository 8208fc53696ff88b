/* SPDX-License-Identifier: Apache-2.0 */
/* Recording of changes: the store log for queues and services, the journal for messages. */
#include "persist.h"

#include "persist_files.h"
#include "services.h"
#include "store_index.h"
#include "store_load.h"
#include "store_log_compact.h"

#define DAY_MS (24 * 3600 * INT64_C(1000))

/* ---- when an answer may leave ---- */

uint64_t sx_persist_stamp(struct sx_store *st)
{
    return st->persist == NULL ? 0 : sx_commit_stamp(st->persist->commit);
}

enum sx_commit_state sx_persist_state(struct sx_store *st, uint64_t stamp)
{
    if (stamp == 0 || st->persist == NULL)
        return SX_COMMIT_DURABLE;
    return sx_commit_state(st->persist->commit, stamp);
}

uint64_t sx_persist_settled(struct sx_store *st)
{
    return st->persist == NULL ? 0 : sx_commit_settled(st->persist->commit);
}

void sx_persist_request(struct sx_store *st)
{
    if (st->persist != NULL)
        sx_commit_request(st->persist->commit);
}

/* ---- queues ---- */

static struct sx_slog_record start(enum sx_slog_tag tag, const struct sx_queue *q)
{
    struct sx_slog_record r = { .tag = tag };

    memcpy(r.rid, q->rcv.id, sizeof(r.rid));
    return r;
}

/* While the state is loaded there is no committing thread yet. */
static bool works(const struct sx_persist *p)
{
    return p->commit == NULL || sx_commit_works(p->commit);
}

static bool record(struct sx_store *st, struct sx_queue *q, const struct sx_slog_record *r)
{
    if (!works(st->persist) || !sx_slog_write_marked(st->persist->log, r, &q->logged))
        return false;
    q->staged = true;
    return true;
}

bool sx_persist_create(struct sx_store *st, struct sx_queue *q)
{
    struct sx_slog_record r;

    if (st->persist == NULL)
        return true;
    sx_load_create_record(q, &r);
    bool ok = record(st, q, &r);
    sx_wipe(&r, sizeof(r));
    return ok;
}

bool sx_persist_secure(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key)
{
    struct sx_slog_record r = start(SX_SLOG_SECURE, q);

    r.sk = *key;
    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_keys(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key,
                     unsigned count)
{
    struct sx_slog_record r = start(SX_SLOG_SET_KEYS, q);

    r.rk = key;
    r.rk_count = count;
    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_link(struct sx_store *st, struct sx_queue *q, const struct sx_link *l)
{
    struct sx_slog_record r = start(SX_SLOG_LINK, q);

    r.has_link = true;
    memcpy(r.link_id, l->node.id, sizeof(r.link_id));
    r.fixed = sx_bytes(l->data, l->fixed_len);
    r.user = sx_bytes(l->data + l->fixed_len, l->user_len);
    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_del_link(struct sx_store *st, struct sx_queue *q)
{
    struct sx_slog_record r = start(SX_SLOG_LDELETE, q);

    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_notifier(struct sx_store *st, struct sx_queue *q, const struct sx_notifier *n)
{
    struct sx_slog_record r = start(SX_SLOG_NOTIFIER, q);

    r.has_notifier = true;
    memcpy(r.ntf_id, n->node.id, sizeof(r.ntf_id));
    r.ntf_key = n->key;
    memcpy(r.ntf_secret, n->secret, sizeof(r.ntf_secret));
    bool ok = st->persist == NULL || record(st, q, &r);
    sx_wipe(&r, sizeof(r));
    return ok;
}

bool sx_persist_del_notifier(struct sx_store *st, struct sx_queue *q)
{
    struct sx_slog_record r = start(SX_SLOG_NDELETE, q);

    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                       const struct sx_smp_err *why)
{
    static const enum sx_slog_tag tag[] = {
        [SX_Q_ACTIVE] = SX_SLOG_UNBLOCK,
        [SX_Q_OFF] = SX_SLOG_SUSPEND,
        [SX_Q_BLOCKED] = SX_SLOG_BLOCK,
    };
    struct sx_slog_record r = start(tag[status], q);

    r.reason = why->blocked;
    r.has_notice = why->has_notice;
    r.has_ttl = why->has_ttl;
    r.ttl = why->ttl;
    return st->persist == NULL || record(st, q, &r);
}

bool sx_persist_delete(struct sx_store *st, struct sx_queue *q)
{
    struct sx_slog_record r = start(SX_SLOG_DELETE, q);

    return st->persist == NULL || record(st, q, &r);
}

void sx_persist_used(struct sx_store *st, struct sx_queue *q, int64_t now_ms)
{
    uint32_t day = (uint32_t)(now_ms / DAY_MS);

    if (q->used_day == day)
        return;
    if (st->persist == NULL) {
        q->used_day = day;
        return;
    }
    struct sx_slog_record r = start(SX_SLOG_TIME, q);
    r.has_updated_at = true;
    r.day = day;
    if (works(st->persist) && sx_slog_write_marked(st->persist->log, &r, &q->logged))
        q->used_day = day; /* no answer waits for it */
}

/* ---- services ---- */

bool sx_persist_service(struct sx_store *st, struct sx_service *svc)
{
    struct sx_slog_record r = { .tag = SX_SLOG_NEW_SERVICE };

    if (st->persist == NULL)
        return true;
    sx_load_service_record(svc, &r);
    return works(st->persist) && sx_slog_write_marked(st->persist->log, &r, &svc->logged);
}

bool sx_persist_queue_service(struct sx_store *st, struct sx_queue *q, bool ntf,
                              const struct sx_service *svc)
{
    struct sx_slog_record r = start(SX_SLOG_QUEUE_SERVICE, q);

    r.ntf = ntf;
    r.has_rsrv = svc != NULL;
    if (svc != NULL)
        memcpy(r.rsrv, svc->id, sizeof(r.rsrv));
    return st->persist == NULL || record(st, q, &r);
}

/* ---- messages ---- */

static struct sx_journal *journal(const struct sx_store *st)
{
    return st->persist == NULL ? NULL : st->persist->journal;
}

bool sx_persist_push(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    struct sx_journal *j = journal(st);

    if (j == NULL)
        return true;
    if (!works(st->persist) || !sx_journal_room(j, m->len) ||
        !sx_journal_add(j, q->stripe, q->rcv.id, m))
        return false;
    q->staged = true;
    return true;
}

bool sx_persist_write(struct sx_store *st)
{
    struct sx_journal *j = journal(st);

    return j == NULL || sx_journal_sync(j) == SIMPLEX_OK;
}

bool sx_persist_pop(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    struct sx_journal *j = journal(st);

    if (j == NULL)
        return true;
    if (!works(st->persist) || !sx_journal_del(j, q->stripe, m))
        return false;
    q->staged = true;
    return true;
}

void sx_persist_forget(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    struct sx_journal *j = journal(st);

    if (j != NULL)
        sx_journal_forget(j, q->stripe, m);
}

/* ---- for statistics ---- */

bool sx_persist_figures(struct sx_store *st, struct sx_persist_figures *out)
{
    memset(out, 0, sizeof(*out));
    if (st->persist == NULL)
        return false;
    sx_commit_figures(st->persist->commit, &out->commits);
    if (journal(st) != NULL)
        sx_journal_size(journal(st), &out->journal_bytes, &out->journal_live_bytes);
    out->loaded_ntfs = st->persist->loaded_ntfs;
    sx_slog_growth(st->persist->log, &out->log_bytes, &out->log_base_bytes);
    out->compactions = atomic_load(&st->persist->compact.done);
    out->compaction_failures = atomic_load(&st->persist->compact.failures);
    out->compaction_ms = atomic_load(&st->persist->compact.total_ms);
    return true;
}
