/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simplex/agent.h: noise traffic, how it is configured and what it costs. */
#ifndef SIMPLEX_AGENT_NOISE_H
#define SIMPLEX_AGENT_NOISE_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { /* kinds of noise: what they hide from whom is in docs/threat-model.md */
    SIMPLEX_NOISE_PING = 1,   /* PINGs on sessions with servers */
    SIMPLEX_NOISE_LOOP = 2,   /* messages to ourselves through queues made for it */
    SIMPLEX_NOISE_REPEAT = 4, /* messages that a contact has already, which its agent drops */
};

/* Noise traffic: commands without a meaning, at random times, among which messages are less
 * easily told apart. */
typedef struct simplex_noise {
    size_t size;         /* sizeof(simplex_noise) */
    int64_t budget;      /* bytes an hour, of both directions, that are never exceeded; on average
                          * half of it is used. 0: no noise. At least 327,680, at most 2^40 */
    uint32_t kinds;      /* sum of SIMPLEX_NOISE_...; 0: no noise */
    int64_t budget_metered; /* the same where the network is metered (cellular); 0: none there */
    int64_t wait;           /* ms that a message may wait to leave in the place of noise, so that
                             * its time tells less; at most 600,000; 0: it leaves at once. 64
                             * connections at a time have one that waits */
} simplex_noise;

/* ---- noise traffic ---- */

/*
 * From now on, until it is set again or the agent is closed; what was configured counts again at
 * the next start. When loops are turned off their queues are deleted on the servers, as soon as
 * these can be reached. noise: copied; NULL: none. Errors: ARG (a budget below the least, unknown
 * kinds).
 */
SIMPLEX_API simplex_rc simplex_agent_set_noise(simplex_agent *a,
                                               const simplex_noise *noise) SIMPLEX_CHECK;

typedef struct simplex_noise_count {
    int64_t bytes;     /* of noise: what its commands and their answers take on the wire */
    int64_t pings, loops, repeats; /* sent; of loops also what makes and deletes their queues */
    int64_t messages;  /* of the application and of the protocol, sent meanwhile */
    int64_t replaced;  /* noise that was left out for them */
} simplex_noise_count;

typedef struct simplex_noise_stats {
    size_t size;               /* set by the caller: sizeof(simplex_noise_stats) */
    simplex_noise_count hour;  /* the last 60 minutes */
    simplex_noise_count total; /* since the agent was opened */
    int64_t queues;            /* that loops go through at present */
} simplex_noise_stats;

/* Errors: ARG. */
SIMPLEX_API simplex_rc simplex_agent_noise_stats(simplex_agent *a,
                                                 simplex_noise_stats *stats) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
