/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one connection of a client may take. What it asks for beyond is refused, command by command;
 * the connection stays.
 */
#ifndef SX_CLIENT_LIMITS_H
#define SX_CLIENT_LIMITS_H

#include "base/base.h"

struct sx_peer;

struct sx_limits {          /* 0: the default */
    unsigned queues;        /* NEW in queues_ms; default: no limit */
    int64_t queues_ms;      /* 1 hour */
    size_t memory;          /* bytes of its buffers and subscriptions; default: no limit */
    unsigned commands;      /* run of one block; 255 */
    unsigned subs;          /* subscriptions; 2^20 */
    unsigned prxys;         /* PRXY under way; 8 */
    unsigned failed_relays; /* PRXY that connected in vain in SX_FAILED_RELAYS_MS; 60 */
};
#define SX_FAILED_RELAYS_MS 600000

/* Fills in the defaults; a limit of memory becomes one of subscriptions: see client_limits.c. */
void sx_limits_set(struct sx_limits *l);
/*
 * Counts a NEW at the time `now`. False: it is one too many; the answer is QUOTA. AUTH would tell
 * the client that it may not create queues here, and INTERNAL that the server is broken; QUOTA says
 * what is true, that it has had its share and may come back, in every version.
 */
bool sx_limits_new_queue(const struct sx_limits *l, struct sx_peer *p, int64_t now) SIMPLEX_CHECK;
/* A relay could not be reached for p; whether p may have another one tried. `now` as above. */
void sx_limits_failed_relay(struct sx_peer *p, int64_t now);
bool sx_limits_may_try_relay(const struct sx_limits *l, const struct sx_peer *p, int64_t now);

#endif
