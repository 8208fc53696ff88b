/* SPDX-License-Identifier: Apache-2.0 */
/* Delays between attempts to reconnect (protocol/smp.md section 9). Pure computation. */
#ifndef SX_BACKOFF_H
#define SX_BACKOFF_H

#include "base/base.h"

struct sx_backoff {
    int64_t first, grow_after, max; /* ms */
    int64_t delay, elapsed;
};

#define SX_BACKOFF_JITTER 401 /* sx_backoff_next takes a random number below this */

void sx_backoff_init(struct sx_backoff *b, int64_t first, int64_t grow_after, int64_t max);
void sx_backoff_reset(struct sx_backoff *b);
/*
 * The next delay: `first` until `grow_after` has passed in delays, then 3/2 of the one before, at
 * most `max`; moved by -20 % (random 0) to +20 % (random 400).
 */
int64_t sx_backoff_next(struct sx_backoff *b, uint32_t random);

#endif
