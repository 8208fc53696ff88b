/* SPDX-License-Identifier: Apache-2.0 */
/* What arrived: one ledger for each direction. */
#ifndef DEMO_LEDGER_H
#define DEMO_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry {              /* of the message with this number */
    int64_t msg_id;         /* as the receiving agent knows it; 0: has not arrived */
    int64_t sent, received; /* microseconds */
};

struct ledger {
    struct entry *of; /* [1..count] */
    long count, arrived, last;
    long
        shown_again; /* same message, same id: the receiver was killed before its acknowledgement */
    long duplicates; /* same message, another id: must not happen */
    long misplaced;  /* not the one after the last: must not happen */
    long strange;    /* unreadable, or with an integrity other than ok: must not happen */
};

struct latency {
    double p50, p90, p99, max; /* milliseconds */
    long n;
};

bool ledger_open(struct ledger *l, long count);
void ledger_close(struct ledger *l);
/* A message arrived; text: what the agent wrote after MSG. */
void ledger_take(struct ledger *l, const char *text);
bool ledger_good(const struct ledger *l);
/* Of messages that were on their way at one of the instants `kills`, or of all the others. */
struct latency ledger_latency(const struct ledger *l, const int64_t *kills, size_t n_kills,
                              bool waited);

#endif
