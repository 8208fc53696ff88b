/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, and the days on which queues were active. */
#include "stats.h"

#include <time.h>

#include "store_index.h"

#define DAY_MS (24 * 3600 * INT64_C(1000))
#define DAY_S (24 * 3600)

/* ---- days ---- */

uint32_t sx_day_of(int64_t ms)
{
    return ms < 0 ? 0 : (uint32_t)(ms / DAY_MS);
}

uint32_t sx_week_begin(uint32_t day)
{
    return day < 4 ? 0 : day - (day + 3) % 7; /* day 4, 1970-01-05, was a Monday */
}

uint32_t sx_month_begin(uint32_t day)
{
    time_t t = (time_t)day * DAY_S;
    struct tm tm;

    return gmtime_r(&t, &tm) == NULL ? day : day - (uint32_t)(tm.tm_mday - 1);
}

/* ---- life ---- */

simplex_rc sx_stats_open(int64_t now_ms, struct sx_stats **out)
{
    struct sx_stats *st = sx_calloc(1, sizeof(*st));

    *out = NULL;
    if (st == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&st->lock, NULL) != 0) {
        sx_free(st);
        return SIMPLEX_E_SYSTEM;
    }
    st->from_ms = now_ms;
    atomic_init(&st->day, sx_day_of(now_ms));
    *out = st;
    return SIMPLEX_OK;
}

void sx_stats_close(struct sx_stats *st)
{
    if (st == NULL)
        return;
    while (st->all != NULL) {
        struct sx_counters *c = st->all;
        st->all = c->next;
        sx_free(c);
    }
    pthread_mutex_destroy(&st->lock);
    sx_free(st);
}

struct sx_counters *sx_stats_counters(struct sx_stats *st)
{
    struct sx_counters *c = sx_calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    pthread_mutex_lock(&st->lock);
    c->next = st->all;
    st->all = c;
    pthread_mutex_unlock(&st->lock);
    return c;
}

void sx_stats_add(struct sx_stats *st, enum sx_stat s, int64_t n)
{
    atomic_fetch_add_explicit(&st->shared.v[s], (uint_least64_t)n, memory_order_relaxed);
}

/* ---- active queues ---- */

/*
 * A stamp holds days up to the year 2149. One of the future (the clock was set back) counts as a
 * day long over: at worst the queue is counted once more.
 */
static void note_day(struct sx_counters *c, uint16_t *stamp, uint32_t today, enum sx_stat day,
                     enum sx_stat week, enum sx_stat month)
{
    uint32_t last = *stamp;

    if (last == today)
        return;
    *stamp = (uint16_t)today;
    sx_count(c, day, 1);
    if (last < sx_week_begin(today) || last > today)
        sx_count(c, week, 1);
    if (last < sx_month_begin(today) || last > today)
        sx_count(c, month, 1);
}

void sx_stats_active(const struct sx_stats *st, struct sx_counters *c, struct sx_queue *q, bool ntf)
{
    uint32_t today = (uint32_t)atomic_load_explicit(&st->day, memory_order_relaxed);

    note_day(c, &q->active_day, today, SX_STAT_DAY_QUEUES, SX_STAT_WEEK_QUEUES,
             SX_STAT_MONTH_QUEUES);
    if (ntf)
        note_day(c, &q->ntf_day, today, SX_STAT_DAY_NTFS, SX_STAT_WEEK_NTFS, SX_STAT_MONTH_NTFS);
}

/* ---- acknowledgement ---- */

const uint32_t sx_ack_times[SX_ACK_TIMES - 1] = { 1, 5, 10, 30, 60, 300, 1200, 3600 };

void sx_stats_acked(struct sx_counters *c, uint32_t seconds)
{
    unsigned i = 0;

    while (i < SX_ACK_TIMES - 1 && seconds > sx_ack_times[i])
        i++;
    sx_count(c, SX_STAT_ACK_TIME + i, 1);
    sx_count(c, SX_STAT_ACK_TIME_SUM, seconds);
}

/* ---- reading ---- */

static uint64_t value(const struct sx_stats *st, enum sx_stat s)
{
    uint64_t sum = atomic_load_explicit(&st->shared.v[s], memory_order_relaxed);

    for (const struct sx_counters *c = st->all; c != NULL; c = c->next)
        sum += atomic_load_explicit(&c->v[s], memory_order_relaxed);
    sum -= st->base[s];
    /* A gauge is read while others change it: an end may be seen before its beginning. */
    return s >= SX_STAT_SAVED && sum > INT64_MAX ? 0 : sum;
}

/* Others change the counters meanwhile: a sum of what does not fit together may be wrong by a
 * little, but is never less than nothing. */
static void read_unacked(const struct sx_stats *st, struct sx_snapshot *to)
{
    uint64_t now_s = to->at_ms < 0 ? 0 : (uint64_t)to->at_ms / 1000;
    uint64_t since = to->v[SX_STAT_UNACKED_SINCE];

    to->unacked = to->unacked_s = to->unacked_max_s = 0;
    for (unsigned i = 0; i < SX_UNACKED_AGES; i++)
        to->unacked += to->v[SX_STAT_UNACKED + i];
    if (to->unacked == 0)
        return;
    if (to->unacked * now_s > since)
        to->unacked_s = to->unacked * now_s - since;
    for (const struct sx_counters *c = st->all; c != NULL; c = c->next) {
        uint64_t s = atomic_load_explicit(&c->oldest_unacked_s, memory_order_relaxed);
        if (s != 0 && s < now_s && now_s - s > to->unacked_max_s)
            to->unacked_max_s = now_s - s;
    }
}

void sx_stats_read(struct sx_stats *st, struct sx_store *store, int64_t now_ms,
                   struct sx_snapshot *to)
{
    pthread_mutex_lock(&st->lock);
    for (unsigned s = 0; s < SX_STAT_COUNT; s++)
        to->v[s] = value(st, (enum sx_stat)s);
    to->from_ms = st->from_ms;
    to->at_ms = now_ms;
    read_unacked(st, to);
    pthread_mutex_unlock(&st->lock);
    to->queues = sx_qstore_queues(store);
    to->messages = sx_qstore_messages(store);
    sx_services_count(store, &to->services);
    to->notifiers = sx_index_count(store, SX_BY_NTF);
    to->v[SX_STAT_Q_COUNT] = to->queues; /* it is a gauge, though it is in the file */
}

static bool is_period(unsigned s)
{
    return s >= SX_STAT_DAY_QUEUES && s <= SX_STAT_MONTH_NTFS;
}

void sx_stats_reported(struct sx_stats *st, const struct sx_snapshot *s)
{
    pthread_mutex_lock(&st->lock);
    for (unsigned i = 0; i < SX_STAT_SAVED; i++) {
        if (!is_period(i) && i != SX_STAT_Q_COUNT)
            st->base[i] += s->v[i];
    }
    st->from_ms = s->at_ms;
    pthread_mutex_unlock(&st->lock);
}

struct sx_new_periods sx_stats_new_periods(const struct sx_stats *st, int64_t now_ms)
{
    uint32_t was = (uint32_t)atomic_load(&st->day), is = sx_day_of(now_ms);
    /* A clock that is set back around midnight begins no day again. One that was far ahead for a
     * while does, or no day would begin until that time has come. */
    bool day = is > was || is + 1 < was;

    return (struct sx_new_periods){
        .day = day,
        .week = day && sx_week_begin(is) != sx_week_begin(was),
        .month = day && sx_month_begin(is) != sx_month_begin(was),
    };
}

void sx_stats_begin_day(struct sx_stats *st, const struct sx_snapshot *s)
{
    struct sx_new_periods begun = sx_stats_new_periods(st, s->at_ms);
    const bool over[] = { begun.day, begun.week, begun.month, begun.day, begun.week, begun.month };

    if (!begun.day)
        return;
    pthread_mutex_lock(&st->lock);
    for (unsigned i = 0; i < SX_COUNT(over); i++) {
        if (over[i])
            st->base[SX_STAT_DAY_QUEUES + i] += s->v[SX_STAT_DAY_QUEUES + i];
    }
    pthread_mutex_unlock(&st->lock);
    atomic_store(&st->day, sx_day_of(s->at_ms));
}
