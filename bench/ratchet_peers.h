/* SPDX-License-Identifier: Apache-2.0 */
/* Other double ratchets, measured in the same way as ours (bench_ratchet.c). */
#ifndef BENCH_RATCHET_PEERS_H
#define BENCH_RATCHET_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A pair of sessions. Both functions move one message and return false on any failure. */
struct ratchet_peer {
    const char *name;
    void *pair;
    bool (*same_chain)(void *pair); /* A to B; repeated calls stay in one chain */
    bool (*turn)(void *pair);       /* from the one who received last: a ratchet step */
};

/* payload: bytes of a message of same_chain; turn sends 98 bytes. false when it cannot be set up.
 * Defined when the library was found at build time. */
bool ratchet_peer_signal(struct ratchet_peer *p, size_t payload);
bool ratchet_peer_olm(struct ratchet_peer *p, size_t payload);

#define TURN_PAYLOAD 98

#endif
