/* SPDX-License-Identifier: Apache-2.0 */
/* What the protocol makes a server and its clients compute for one SEND -> MSG -> ACK cycle. */
#ifndef BENCH_CYCLE_FLOOR_H
#define BENCH_CYCLE_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

struct cycle_costs { /* us */
    double tls, box, hkdf, sign, verify, msg;
};

/* On so many cores at a time, because a core that has the machine to itself is faster: it is the
 * cores that are all busy that a server and its clients share. */
struct cycle_costs cycle_costs_measure(size_t cores);

/*
 * The same while something else runs: one cycle on each core now and then, as long as it is
 * switched on. The speed of a machine changes from second to second, of one that others share a
 * lot; so what is measured and its bound see the same machine.
 */
struct cycle_sampler;
struct cycle_sampler *cycle_sampler_start(size_t cores);
void cycle_sampler_set(struct cycle_sampler *s, bool on);
/* used_us: processor time that the sampler itself took. All zero when it was never on. */
struct cycle_costs cycle_sampler_stop(struct cycle_sampler *s, double *used_us);

/* us of one cycle, both sides. blocks: that a cycle takes; 5 unless commands or answers share one
 */
double cycle_floor(const struct cycle_costs *c, double blocks);
void cycle_costs_print(const struct cycle_costs *c);

#endif
