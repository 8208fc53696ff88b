/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of short links, our own and those of others. */
#ifndef SX_STORE_LINK_H
#define SX_STORE_LINK_H

#include "store/database.h"

enum sx_link_state {
    SX_LINK_MADE = 1, /* with NEW or LSET, on its way to the server */
    SX_LINK_TOLD,     /* the same, but the application has the link: it must not change */
    SX_LINK_SET,      /* the server has it */
    SX_LINK_DROPPED,  /* LDEL is due */
};

struct sx_link_row { /* behind a short link of our own */
    int64_t queue_id;        /* of the receiving queue */
    uint8_t type;            /* enum sx_short_type */
    uint8_t state;           /* enum sx_link_state */
    bool kem_in_full;        /* the full link has the KEM key too */
    uint8_t corr_id[24];     /* of NEW: the sender id follows from it; zeros: made afterwards */
    bool has_link_id;
    uint8_t link_id[24];     /* of a 1-time link from the server's answer */
    uint8_t link_key[32];
    struct sx_keypair root;  /* Ed25519 */
    simplex_bytes fixed;     /* both as the server keeps them; get: borrowed until the next call */
    simplex_bytes user;      /* on the store */
};
/* Inserts or replaces. E_NOT_FOUND: there is no such queue. */
simplex_rc sx_store_link_put(struct sx_store *s, const struct sx_link_row *l) SIMPLEX_CHECK;
simplex_rc sx_store_link_get(struct sx_store *s, int64_t queue_id,
                             struct sx_link_row *l) SIMPLEX_CHECK;
simplex_rc sx_store_link_delete(struct sx_store *s, int64_t queue_id) SIMPLEX_CHECK;

struct sx_look { /* a short link of somebody else, which a connection was begun with */
    int64_t conn_id;
    uint8_t hash[32];       /* of what tells links apart; one connection has it at a time */
    simplex_bytes link;     /* binary; get: borrowed until the next call on the store */
    struct sx_keypair auth; /* 1-time: the key that LKEY sets */
    simplex_bytes request;  /* binary full link; empty until it was read; get: borrowed */
};
simplex_rc sx_store_look_add(struct sx_store *s, const struct sx_look *l) SIMPLEX_CHECK;
simplex_rc sx_store_look_get(struct sx_store *s, int64_t conn_id,
                             struct sx_look *l) SIMPLEX_CHECK; /* not hash */
simplex_rc sx_store_look_find(struct sx_store *s, const uint8_t hash[32],
                              int64_t *conn_id) SIMPLEX_CHECK; /* E_NOT_FOUND */
simplex_rc sx_store_look_request(struct sx_store *s, int64_t conn_id,
                                 simplex_bytes request) SIMPLEX_CHECK;
simplex_rc sx_store_look_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

#endif
