/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of the server (protocol/smp.md section 10): counters of events since the daily line
 * was written (or since the first start, when none is), and gauges of what there is now.
 *
 * Counting is cheap: every hub has an array of counters that its thread alone writes, on cache
 * lines of its own; they are added up when somebody reads them. Nothing is ever set to zero in
 * them: a reader subtracts what it has reported before (the base).
 *
 * Queues that were active in a day, a week, a month: each queue keeps the day it was last active
 * on. The first event of a day tells from that whether the queue was counted in this week and in
 * this month already, so no sets of ids are needed.
 */
#ifndef SX_STATS_H
#define SX_STATS_H

#include <pthread.h>

#include "services.h"
#include "unacked.h"

enum sx_stat {
#define X(id, key) SX_STAT_##id,
#define SECTION(name)
#include "stats_list.h"
#undef X
#undef SECTION
    /* Gauges: what was added less what was taken away; not in the file. */
    SX_STAT_NTF_COUNT,   /* notifications that wait */
    SX_STAT_SUBS,        /* subscriptions to messages */
    SX_STAT_SUB_CLIENTS, /* connections that have some */
    SX_STAT_NTF_SUBS,
    SX_STAT_NTF_SUB_CLIENTS,
    SX_STAT_RCV_SERVICE_SUBS, /* services subscribed */
    SX_STAT_NTF_SERVICE_SUBS,
    /* Since the start; not in the file either: messages by the time until they were acknowledged.
     */
    SX_STAT_ACK_TIME, /* first of SX_ACK_TIMES, each without those before it */
    SX_STAT_ACK_TIME_SUM = SX_STAT_ACK_TIME + 9, /* seconds */
    SX_STAT_DELIVERED,         /* gauges: subscriptions with a message that waits for its ACK, */
    SX_STAT_DELIVERED_CLIENTS, /* and connections that have some */
    /* Since the start; not in the file: what services believed to have when they subscribed, and
     * what they had: SX_SUBS_OK and so on. */
    SX_STAT_RCV_SUB_OK,
    SX_STAT_NTF_SRV_SUB_OK = SX_STAT_RCV_SUB_OK + 6,
    SX_STAT_NTF_SRV_SUB_LAST = SX_STAT_NTF_SRV_SUB_OK + 5,
    /* Gauges, not in the file: deliveries that wait for their ACK, by age, and the sum of the times
     * when they were made (seconds since 1970). */
    SX_STAT_UNACKED, /* first of SX_UNACKED_AGES */
    SX_STAT_UNACKED_SINCE = SX_STAT_UNACKED + SX_UNACKED_AGES,
    SX_STAT_COUNT
};
#define SX_ACK_TIMES 9 /* the last: longer than all of sx_ack_times */
extern const uint32_t sx_ack_times[SX_ACK_TIMES - 1]; /* seconds */
enum { /* behind SX_STAT_RCV_SUB_OK and SX_STAT_NTF_SRV_SUB_OK */
       SX_SUBS_OK,
       SX_SUBS_MORE, /* than the service believed */
       SX_SUBS_FEWER,
       SX_SUBS_DIFF,       /* as many, but others */
       SX_SUBS_MORE_TOTAL, /* by how many queues */
       SX_SUBS_FEWER_TOTAL,
};
#define SX_STAT_SAVED SX_STAT_NTF_COUNT /* those before are in the file, but the next three */

#define SX_CACHE_LINE 64

struct sx_counters { /* of one hub */
    struct sx_counters *next;
    uint8_t apart[SX_CACHE_LINE];
    atomic_uint_least64_t v[SX_STAT_COUNT];
    atomic_uint_least32_t oldest_unacked_s; /* since 1970, at the last tick; 0: nothing waits */
    uint8_t apart_too[SX_CACHE_LINE];
};

/* By the thread of the hub alone. `n` may be negative for a gauge. */
static inline void sx_count(struct sx_counters *c, enum sx_stat s, int64_t n)
{
    uint_least64_t now = atomic_load_explicit(&c->v[s], memory_order_relaxed);

    atomic_store_explicit(&c->v[s], now + (uint_least64_t)n, memory_order_relaxed);
}

struct sx_stats {
    pthread_mutex_t lock; /* of what follows, but not of what the counters hold */
    struct sx_counters *all;
    struct sx_counters shared;    /* of threads without a hub: sx_stats_add */
    uint64_t base[SX_STAT_COUNT]; /* reported before */
    int64_t from_ms;              /* the counters are of the time since then */
    atomic_uint_least32_t day;    /* of today in the statistics, since 1970 */
};

struct sx_snapshot {
    int64_t from_ms, at_ms;
    uint64_t v[SX_STAT_COUNT];
    uint64_t unacked, unacked_s; /* deliveries that wait for their ACK; for how long, added up */
    uint64_t unacked_max_s;      /* and the one that waits longest */
    uint64_t queues, messages, notifiers;
    struct sx_services_count services;
};

simplex_rc sx_stats_open(int64_t now_ms, struct sx_stats **out) SIMPLEX_CHECK;
void sx_stats_close(struct sx_stats *st);
/* Counters for one more hub; they live until sx_stats_close. NULL: no memory. */
struct sx_counters *sx_stats_counters(struct sx_stats *st);
/* From any thread. */
void sx_stats_add(struct sx_stats *st, enum sx_stat s, int64_t n);

/* The queue, whose lock is held, was active just now; `ntf`: with a message that notifies. */
void sx_stats_active(const struct sx_stats *st, struct sx_counters *c, struct sx_queue *q,
                     bool ntf);

/* A message was acknowledged so long after it was delivered. */
void sx_stats_acked(struct sx_counters *c, uint32_t seconds);

/* What the counters show now. */
void sx_stats_read(struct sx_stats *st, struct sx_store *store, int64_t now_ms,
                   struct sx_snapshot *to);
/* Begins to count anew what the snapshot has. */
void sx_stats_reported(struct sx_stats *st, const struct sx_snapshot *s);

/* ---- days ---- */

struct sx_new_periods {
    bool day, week, month; /* which have begun */
};
/* Which periods have begun since the last call of sx_stats_begin_day. */
struct sx_new_periods sx_stats_new_periods(const struct sx_stats *st, int64_t now_ms);
/* The day of now_ms begins: the counts of periods that are over, as the snapshot has them, are
 * taken off. */
void sx_stats_begin_day(struct sx_stats *st, const struct sx_snapshot *s);

/* Days since 1970; weeks begin on Mondays. */
uint32_t sx_day_of(int64_t ms);
uint32_t sx_week_begin(uint32_t day);
uint32_t sx_month_begin(uint32_t day);

#endif
