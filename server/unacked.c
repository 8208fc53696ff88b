/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries that wait for their ACK, by age. */
#include "unacked.h"

#include "hub.h"

#define MOVES_MAX 8192 /* in one tick, so that clients do not wait; the rest is moved by the next \
                        */

const uint32_t sx_unacked_ages[SX_UNACKED_AGES - 1] = { 60, 300, 1200, 3600 };

static void join(struct sx_hub *h, struct sx_sub *sub, unsigned age)
{
    struct sx_line *line = &h->unacked.line[age];

    sub->line = (uint8_t)(age + 1);
    sub->line_next = NULL;
    sub->line_prev = line->last;
    if (line->last == NULL)
        line->first = sub;
    else
        line->last->line_next = sub;
    line->last = sub;
    sx_count(h->stats, SX_STAT_UNACKED + age, 1);
}

static void leave(struct sx_hub *h, struct sx_sub *sub)
{
    unsigned age = sub->line - 1u;
    struct sx_line *line = &h->unacked.line[age];

    if (sub->line_prev == NULL)
        line->first = sub->line_next;
    else
        sub->line_prev->line_next = sub->line_next;
    if (sub->line_next == NULL)
        line->last = sub->line_prev;
    else
        sub->line_next->line_prev = sub->line_prev;
    sub->line = 0;
    sx_count(h->stats, SX_STAT_UNACKED + age, -1);
}

void sx_unacked_add(struct sx_hub *h, struct sx_sub *sub)
{
    join(h, sub, 0);
    sx_count(h->stats, SX_STAT_UNACKED_SINCE, sub->delivered_s);
}

void sx_unacked_remove(struct sx_hub *h, struct sx_sub *sub)
{
    if (sub->line == 0)
        return;
    leave(h, sub);
    sx_count(h->stats, SX_STAT_UNACKED_SINCE, -(int64_t)sub->delivered_s);
}

/* The head of the last line that has one; 0: nothing waits. */
static uint32_t oldest(const struct sx_unacked *u)
{
    for (unsigned age = SX_UNACKED_AGES; age-- > 0;) {
        if (u->line[age].first != NULL)
            return u->line[age].first->delivered_s;
    }
    return 0;
}

void sx_unacked_tick(struct sx_hub *h)
{
    int64_t now_s = sx_srv_now(h->srv) / 1000;
    unsigned moves = 0;

    for (unsigned age = 0; age < SX_UNACKED_AGES - 1; age++) {
        struct sx_sub *sub;
        while ((sub = h->unacked.line[age].first) != NULL && moves < MOVES_MAX &&
               now_s - sub->delivered_s >= sx_unacked_ages[age]) {
            leave(h, sub);
            join(h, sub, age + 1);
            moves++;
        }
    }
    atomic_store_explicit(&h->stats->oldest_unacked_s, oldest(&h->unacked), memory_order_relaxed);
}
