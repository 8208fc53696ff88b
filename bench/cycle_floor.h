/* SPDX-License-Identifier: Apache-2.0 */
/* What the protocol makes a server and its clients compute for one SEND -> MSG -> ACK cycle. */
#ifndef BENCH_CYCLE_FLOOR_H
#define BENCH_CYCLE_FLOOR_H

#include <stddef.h>

struct cycle_costs { /* us */
    double tls, box, hkdf, sign, verify, msg;
};

/* On so many cores at a time, because a core that has the machine to itself is faster: it is the
 * cores that are all busy that a server and its clients share. */
struct cycle_costs cycle_costs_measure(size_t cores);
/* us of one cycle, both sides. blocks: that a cycle takes; 5 unless commands or answers share one */
double cycle_floor(const struct cycle_costs *c, double blocks);
void cycle_costs_print(const struct cycle_costs *c);

#endif
