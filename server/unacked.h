/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries that wait for their ACK, by age, for the metrics: without a walk over subscriptions,
 * and with hardly any work on the way of a message.
 *
 * A hub has a line for each age. A delivery joins the line of the young ones at its end, so a line
 * is in the order of time, and a tick moves what has become too old for a line from its head to the
 * end of the next. By the thread of the hub alone; others read its counters (stats.h).
 */
#ifndef SX_UNACKED_H
#define SX_UNACKED_H

#include <stdint.h>

#define SX_UNACKED_AGES 5
extern const uint32_t sx_unacked_ages[SX_UNACKED_AGES - 1]; /* seconds: where an age ends */

struct sx_hub;
struct sx_sub;

struct sx_unacked {
    struct sx_line {
        struct sx_sub *first, *last;
    } line[SX_UNACKED_AGES];
};

/* sub->delivered_s is set, and sub is in no line. */
void sx_unacked_add(struct sx_hub *h, struct sx_sub *sub);
/* No effect when it is in no line. */
void sx_unacked_remove(struct sx_hub *h, struct sx_sub *sub);
/* Time has passed: a few times a second. */
void sx_unacked_tick(struct sx_hub *h);

#endif
