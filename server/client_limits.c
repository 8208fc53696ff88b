/* SPDX-License-Identifier: Apache-2.0 */
#include "client_limits.h"

#include "loop.h"

#define SUBS_DEFAULT (1u << 20)
#define PRXYS_DEFAULT 8
#define FAILED_RELAYS_DEFAULT 60

/*
 * What a connection holds however it behaves: TLS and session, what is read and written at a time,
 * a block that is incomplete, and the answers that wait before nothing more is read from it.
 */
#define FIXED                                                                 \
    ((size_t)32 * 1024 + SX_READ_BUF + SX_WRITE_HIGH + 2 * (size_t)SX_BLOCK + \
     (size_t)SX_PEER_OUT_PAUSE * SX_BLOCK)

/*
 * A subscription with all that may wait for it: a message in its block (without the body, which is
 * the queue's), and the event that tells its end. So the memory of a client that never reads is
 * bounded by what it has subscribed to, and nothing has to be counted while messages pass.
 */
#define PER_SUB (sizeof(struct sx_sub) + sizeof(struct sx_ended) + 320)

void sx_limits_set(struct sx_limits *l)
{
    if (l->queues_ms <= 0)
        l->queues_ms = 3600 * 1000;
    if (l->commands == 0 || l->commands > SX_BATCH_MAX)
        l->commands = SX_BATCH_MAX;
    if (l->subs == 0)
        l->subs = SUBS_DEFAULT;
    if (l->prxys == 0)
        l->prxys = PRXYS_DEFAULT;
    if (l->failed_relays == 0)
        l->failed_relays = FAILED_RELAYS_DEFAULT;
    if (l->memory == 0)
        return;
    size_t fit = l->memory > FIXED ? (l->memory - FIXED) / PER_SUB : 0;
    if (fit < 1)
        fit = 1;
    if (fit < l->subs)
        l->subs = (unsigned)fit;
}

bool sx_limits_new_queue(const struct sx_limits *l, struct sx_peer *p, int64_t now)
{
    if (l->queues == 0)
        return true;
    if (now - p->made_since_ms >= l->queues_ms || now < p->made_since_ms) {
        p->made_since_ms = now;
        p->n_made = 0;
    }
    if (p->n_made >= l->queues)
        return false;
    p->n_made++;
    return true;
}

static bool is_over(const struct sx_peer *p, int64_t now)
{
    return now - p->failed_since_ms >= SX_FAILED_RELAYS_MS || now < p->failed_since_ms;
}

void sx_limits_failed_relay(struct sx_peer *p, int64_t now)
{
    if (is_over(p, now)) {
        p->failed_since_ms = now;
        p->n_failed = 0;
    }
    p->n_failed++;
}

bool sx_limits_may_try_relay(const struct sx_limits *l, const struct sx_peer *p, int64_t now)
{
    return is_over(p, now) || p->n_failed < l->failed_relays;
}
