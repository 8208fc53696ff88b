/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of queues for noise: no connection has them. */
#ifndef SX_STORE_NOISE_H
#define SX_STORE_NOISE_H

#include "store/database.h"

enum sx_noise_state {
    SX_NOISE_NEW = 1, /* NEW is due */
    SX_NOISE_MADE,    /* SKEY is due */
    SX_NOISE_READY,
    SX_NOISE_GOING,   /* DEL is due */
};

struct sx_noise_row {
    int64_t id;
    int64_t user_id;
    uint8_t state;              /* enum sx_noise_state */
    struct sx_server server;
    struct sx_id rcv_id, snd_id; /* empty until IDS arrived */
    struct sx_keypair auth, dh; /* Ed25519, X25519: of the recipient */
    struct sx_keypair snd_auth; /* Ed25519: of the sender */
};
/* Sets id. */
simplex_rc sx_store_noise_add(struct sx_store *s, struct sx_noise_row *r) SIMPLEX_CHECK;
simplex_rc sx_store_noise_update(struct sx_store *s, const struct sx_noise_row *r)
    SIMPLEX_CHECK; /* state and ids */
simplex_rc sx_store_noise_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* The first with an id above `after`. E_NOT_FOUND. */
simplex_rc sx_store_noise_next(struct sx_store *s, int64_t after,
                               struct sx_noise_row *r) SIMPLEX_CHECK;

#endif
