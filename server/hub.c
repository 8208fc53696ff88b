/* SPDX-License-Identifier: Apache-2.0 */
/* The shared state of a server, and the inbox of a hub. */
#include "commands.h"
#include "errand.h"
#include "persist.h"

#define RUN_MAX 1024 /* subscriptions handled before the loop looks at its sockets again */
#define COMPACT_GROWTH 4
#define COMPACT_BYTES (64u << 20)
#define SERVICE_COST 32 /* of them: what a look at some queues of a service takes */

/* A commit was made, or failed: those who wait for one look again. By the committing thread. */
static void committed(void *user)
{
    struct sx_srv *s = user;

    pthread_mutex_lock(&s->lock);
    for (struct sx_hub *h = s->hubs; h != NULL; h = h->next_hub) {
        if (atomic_load(&h->awaits) && h->wake != NULL)
            h->wake(h->wake_user);
    }
    pthread_mutex_unlock(&s->lock);
}

static simplex_rc open_state(struct sx_srv *s, const struct sx_srv_cfg *cfg)
{
    struct sx_errtext none = { NULL, 0 };
    struct sx_persist_cfg p = {
        .dir = cfg->state_dir,
        .messages = !cfg->messages_in_memory  ? SX_KEEP_DISK
                    : cfg->messages_not_saved ? SX_KEEP_NOT
                                              : SX_KEEP_MEMORY,
        .offline = cfg->offline,
        .skip_damage = cfg->skip_damage,
        .compact_factor = cfg->compact_growth == 0 ? COMPACT_GROWTH : cfg->compact_growth,
        .compact_min = cfg->compact_bytes == 0 ? COMPACT_BYTES : cfg->compact_bytes,
        .done = committed,
        .user = s,
    };

    simplex_rc rc = sx_qstore_open(&cfg->store, &s->store);
    if (rc == SIMPLEX_OK && cfg->state_dir != NULL)
        rc = sx_persist_open(&p, s->store, cfg->err == NULL ? &none : cfg->err);
    return rc;
}

simplex_rc sx_srv_open(const struct sx_srv_cfg *cfg, struct sx_srv **out)
{
    struct sx_srv *s = sx_calloc(1, sizeof(*s));
    struct sx_persist_figures figures;
    simplex_rc rc = SIMPLEX_E_NOMEM;

    *out = NULL;
    if (s == NULL)
        return rc;
    if (pthread_mutex_init(&s->policy_lock, NULL) != 0) {
        sx_free(s);
        return SIMPLEX_E_SYSTEM;
    }
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        pthread_mutex_destroy(&s->policy_lock);
        sx_free(s);
        return SIMPLEX_E_SYSTEM;
    }
    sx_srv_set_policy(s, cfg->new_queues, cfg->password);
    s->concurrency = cfg->client_concurrency == 0 ? SX_PEER_ERRANDS : cfg->client_concurrency;
    s->limits = cfg->limits;
    sx_limits_set(&s->limits);
    s->now = cfg->now;
    s->now_user = cfg->now_user;
    if ((rc = open_state(s, cfg)) != SIMPLEX_OK)
        goto fail;
    if ((rc = sx_stats_open(sx_srv_now(s), &s->stats)) != SIMPLEX_OK)
        goto fail;
    if (sx_persist_figures(s->store, &figures))
        sx_stats_add(s->stats, SX_STAT_NTF_COUNT, (int64_t)figures.loaded_ntfs);
    *out = s;
    return SIMPLEX_OK;
fail:
    (void)sx_srv_close(s);
    return rc;
}

simplex_rc sx_srv_close(struct sx_srv *s)
{
    if (s == NULL)
        return SIMPLEX_OK;
    simplex_rc rc = sx_qstore_close(s->store);
    sx_stats_close(s->stats);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->policy_lock);
    sx_free_secret(s, sizeof(*s));
    return rc;
}

void sx_srv_set_policy(struct sx_srv *s, bool new_queues, simplex_bytes password)
{
    pthread_mutex_lock(&s->policy_lock);
    s->new_queues = new_queues;
    s->has_password = password.len > 0;
    sx_sha256(password, s->password_hash);
    pthread_mutex_unlock(&s->policy_lock);
}

/* With the lock held. */
static bool password_matches(const struct sx_srv *s, bool has_password, const uint8_t given[32])
{
    return !s->has_password || (has_password && sx_equal_ct(given, s->password_hash, 32));
}

bool sx_srv_may_create(struct sx_srv *s, bool has_password, simplex_bytes password)
{
    uint8_t given[32];

    sx_sha256(password, given); /* equal lengths for the comparison */
    pthread_mutex_lock(&s->policy_lock);
    bool ok = s->new_queues && password_matches(s, has_password, given);
    pthread_mutex_unlock(&s->policy_lock);
    sx_wipe(given, sizeof(given));
    return ok;
}

bool sx_srv_may_proxy(struct sx_srv *s, bool has_password, simplex_bytes password)
{
    uint8_t given[32];

    sx_sha256(password, given);
    pthread_mutex_lock(&s->policy_lock);
    bool ok = password_matches(s, has_password, given);
    pthread_mutex_unlock(&s->policy_lock);
    sx_wipe(given, sizeof(given));
    return ok;
}

int64_t sx_srv_now(const struct sx_srv *s)
{
    return s->now == NULL ? sx_now_ms() : s->now(s->now_user);
}

void sx_srv_expire_shard(struct sx_srv *s, unsigned shard)
{
    struct sx_queue *found[64];
    int64_t now = sx_srv_now(s), expired = 0, ntfs = 0;
    size_t cursor = 0;

    do {
        size_t n = sx_qstore_walk(s->store, shard, &cursor, found, SX_COUNT(found));
        for (size_t i = 0; i < n; i++) {
            struct sx_queue *q = found[i];
            sx_queue_lock(s->store, q);
            unsigned had = q->count;
            if (!q->deleted) /* or not yet complete: who makes it holds no lock */
                sx_queue_expire(s->store, q, now);
            expired += had - q->count;
            if (!q->deleted && q->ntf != NULL) /* nobody may ever come for them */
                ntfs += sx_notifier_expire(s->store, q->ntf, now);
            sx_queue_unlock(s->store, q);
            sx_queue_unref(q);
        }
    } while (cursor != 0);
    sx_stats_add(s->stats, SX_STAT_MSG_EXPIRED, expired);
    sx_stats_add(s->stats, SX_STAT_MSG_NTF_EXPIRED, ntfs);
    sx_stats_add(s->stats, SX_STAT_NTF_COUNT, -ntfs);
}

void sx_srv_expire(struct sx_srv *s)
{
    for (unsigned shard = 0; shard < SX_STORE_SHARDS; shard++)
        sx_srv_expire_shard(s, shard);
}

simplex_rc sx_hub_open(struct sx_hub *h, struct sx_srv *srv, void (*wake)(void *user),
                       void *wake_user)
{
    memset(h, 0, sizeof(*h));
    h->srv = srv;
    h->wake = wake;
    h->wake_user = wake_user;
    h->stats = sx_stats_counters(srv->stats);
    h->block = h->stats == NULL ? NULL : sx_block_new();
    if (h->block == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        sx_block_free(h->block);
        h->block = NULL;
        return SIMPLEX_E_SYSTEM;
    }
    pthread_mutex_lock(&srv->lock);
    h->next_hub = srv->hubs;
    srv->hubs = h;
    pthread_mutex_unlock(&srv->lock);
    return SIMPLEX_OK;
}

void sx_hub_close(struct sx_hub *h)
{
    if (h->block == NULL)
        return;
    struct sx_hub **at = &h->srv->hubs;

    sx_hub_drop_errands(h);
    pthread_mutex_lock(&h->srv->lock);
    while (*at != h)
        at = &(*at)->next_hub;
    *at = h->next_hub;
    pthread_mutex_unlock(&h->srv->lock);
    sx_block_free(h->block);
    h->block = NULL;
    pthread_mutex_destroy(&h->lock);
}

/* The committing thread looks at `awaits` with the lock held: it wakes us before this, or never. */
void sx_hub_rest(struct sx_hub *h)
{
    pthread_mutex_lock(&h->srv->lock);
    atomic_store(&h->awaits, false);
    pthread_mutex_unlock(&h->srv->lock);
}

void sx_hub_post(struct sx_sub *sub, unsigned events, const struct sx_hub *from)
{
    struct sx_hub *h = sub->peer->hub;

    pthread_mutex_lock(&h->lock);
    bool was_empty = h->inbox_first == NULL;
    if (sub->events == 0) {
        sub->inbox_next = NULL;
        sub->inbox_prev = h->inbox_last;
        if (h->inbox_last == NULL)
            h->inbox_first = sub;
        else
            h->inbox_last->inbox_next = sub;
        h->inbox_last = sub;
    }
    sub->events |= (uint16_t)events;
    /* Under the lock: the hub takes it to free sub before it ends, so it can still be woken. */
    if (was_empty && h != from && h->wake != NULL)
        h->wake(h->wake_user);
    pthread_mutex_unlock(&h->lock);
}

/* With the lock of the inbox held. */
static void inbox_unlink(struct sx_hub *h, struct sx_sub *sub)
{
    if (sub->inbox_prev == NULL)
        h->inbox_first = sub->inbox_next;
    else
        sub->inbox_prev->inbox_next = sub->inbox_next;
    if (sub->inbox_next == NULL)
        h->inbox_last = sub->inbox_prev;
    else
        sub->inbox_next->inbox_prev = sub->inbox_prev;
    sub->events = 0;
}

void sx_hub_forget(struct sx_hub *h, struct sx_sub *sub)
{
    pthread_mutex_lock(&h->lock);
    if (sub->events != 0)
        inbox_unlink(h, sub);
    pthread_mutex_unlock(&h->lock);
}

static struct sx_sub *inbox_take(struct sx_hub *h, unsigned *events)
{
    pthread_mutex_lock(&h->lock);
    struct sx_sub *sub = h->inbox_first;
    if (sub != NULL) {
        *events = sub->events;
        inbox_unlink(h, sub);
    }
    pthread_mutex_unlock(&h->lock);
    return sub;
}

static void deliver(struct sx_sub *sub)
{
    struct sx_queue *q = sub->q;
    struct sx_store *st = sub->peer->hub->srv->store;
    struct sx_answer a = { .msg = NULL };

    sx_queue_lock(st, q);
    if (q->sub == sub && sub->pushed) {
        if (q->head != NULL) {
            sx_answer_head(&a, sub, q);
        } else { /* expired, or acknowledged after GET: the next message is to be delivered */
            sub->pushed = false;
            sx_sub_flight(sub, false, sub->peer->hub->stats);
        }
    }
    sx_queue_unlock(st, q);
    if (a.msg != NULL)
        sx_peer_send(sub->peer, &a);
}

/* The recipient learns why nothing arrives any more (section 10). */
static void tell_blocked(struct sx_sub *sub)
{
    struct sx_queue *q = sub->q;
    struct sx_store *st = sub->peer->hub->srv->store;
    struct sx_answer a = { .entity_id = sx_bytes(q->rcv.id, sizeof(q->rcv.id)),
                           .rsp = { .tag = SX_R_ERR } };

    sx_queue_lock(st, q);
    bool blocked = q->sub == sub && q->status == SX_Q_BLOCKED;
    a.rsp.err = sx_queue_blocked(q);
    sx_queue_unlock(st, q);
    if (blocked)
        sx_peer_send(sub->peer, &a);
}

void sx_hub_run(struct sx_hub *h)
{
    struct sx_sub *sub;
    unsigned events;

    sx_hub_committed(h);
    sx_hub_errands(h);
    for (unsigned n = 0; n < RUN_MAX; n++) {
        if ((sub = inbox_take(h, &events)) == NULL)
            return;
        if (sub->kind == SX_SUB_SERVICE) {
            sx_service_event(sub, events);
            n += SERVICE_COST;
            continue;
        }
        if (events & SX_EV_NEW)
            sx_service_adopt(sub);
        if (events & SX_EV_MSG)
            deliver(sub);
        if (events & SX_EV_NTF)
            sx_sub_queue_ntf(sub);
        if (events & SX_EV_BLOCKED)
            tell_blocked(sub);
        if (events & (SX_EV_END | SX_EV_DELD))
            sx_sub_ended(sub, (events & SX_EV_DELD) != 0);
        else if (events & SX_EV_DROP)
            sx_sub_drop(sub);
    }
    if (h->wake != NULL)
        h->wake(h->wake_user);
}

struct sx_peer *sx_hub_ready(struct sx_hub *h)
{
    struct sx_peer *p = h->ready;

    if (p != NULL) {
        h->ready = p->ready_next;
        p->ready = false;
    }
    return p;
}
