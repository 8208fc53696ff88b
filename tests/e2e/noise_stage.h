/* SPDX-License-Identifier: Apache-2.0 */
/* Agents that make noise, and how much of it. */
#ifndef NOISE_STAGE_H
#define NOISE_STAGE_H

#include "agent/noise.h"
#include "support/agents.h"

#define PLENTY (INT64_C(1) << 33) /* bytes an hour: some noise every 100 ms */

/* As good as none; what can be repeated is kept. */
#define HARDLY SX_NOISE_BUDGET_MIN

int init(void **state); /* of the program, for cmocka */

simplex_noise noise_of(uint32_t kinds); /* with PLENTY */
void set_noise(struct test_agent *t, uint32_t kinds);
void set_noise_to(struct test_agent *t, uint32_t kinds, int64_t budget);
simplex_noise_stats stats_of(struct test_agent *t);
int64_t sent_of(struct test_agent *t, uint32_t kind);
/* Until so many were sent in all; nothing of it is an event. Of repeats there are only so many
 * (SX_NOISE_UNANSWERED_MAX) until the peer is heard. */
void wait_sent(struct test_agent *t, uint32_t kind, int64_t all);
/* Until so many more were. */
void wait_noise(struct test_agent *t, uint32_t kind, int64_t more);

#endif
