/* SPDX-License-Identifier: Apache-2.0 */
#include "client/backoff.h"

void sx_backoff_init(struct sx_backoff *b, int64_t first, int64_t grow_after, int64_t max)
{
    b->first = first;
    b->grow_after = grow_after;
    b->max = max < first ? first : max;
    sx_backoff_reset(b);
}

void sx_backoff_reset(struct sx_backoff *b)
{
    b->delay = b->first;
    b->elapsed = 0;
}

int64_t sx_backoff_next(struct sx_backoff *b, uint32_t random)
{
    if (b->elapsed >= b->grow_after) {
        b->delay += b->delay / 2;
        if (b->delay > b->max)
            b->delay = b->max;
    } else {
        b->elapsed += b->delay; /* stops growing once it is past grow_after: no overflow */
    }
    /* Clients that lost the same server at the same moment must not come back at one moment. */
    int64_t ms = b->delay / 1000 * (800 + random) + b->delay % 1000 * (800 + random) / 1000;
    return ms < 1 ? 1 : ms;
}
