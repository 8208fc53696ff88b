/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of connections. */
#ifndef SX_STORE_CONN_H
#define SX_STORE_CONN_H

#include "store/database.h"

enum sx_conn_state {       /* where the handshake is (agent.md section 6.1) */
    SX_CONN_NEW = 1,       /* row only: NEW or JOIN is queued */
    SX_CONN_INVITED,       /* I: link given out, waiting for a confirmation */
    SX_CONN_JOINING,       /* J: confirmation stored, being delivered */
    SX_CONN_CONFIRMED,     /* I: CONF shown, waiting for allow */
    SX_CONN_ACCEPTED,      /* I: allowed, reply confirmation being delivered */
    SX_CONN_READY,         /* CON was shown */
    SX_CONN_REQUESTED,     /* I: the link goes to a contact address, waiting for a confirmation */
    SX_CONN_LOOKING,       /* J: the data behind a short link is fetched */
    SX_CONN_LOOKED,        /* J: it was read; joining comes next */
};
enum sx_conn_role {
    SX_INITIATOR = 'I',
    SX_JOINER = 'J',
    SX_ADDRESS = 'A', /* a contact address: only requests arrive there */
};

enum sx_sync_state { /* of the ratchet with the peer's (section 6.6) */
    SX_SYNC_OK,
    SX_SYNC_ALLOWED,  /* a message could not be read: a new ratchet may be wanted */
    SX_SYNC_REQUIRED, /* nothing can be read until there is a new one */
    SX_SYNC_STARTED,  /* our new keys are on their way to the peer */
    SX_SYNC_AGREED,   /* both have the keys of the other: no message came yet */
};

struct sx_conn {
    int64_t id;
    int64_t user;             /* id; 0 is written as SX_USER_DEFAULT */
    uint8_t role;             /* enum sx_conn_role */
    uint8_t state;            /* enum sx_conn_state */
    uint16_t agent_version;   /* 0: not agreed yet */
    bool pq_support;
    bool deleted;
    bool subscribe;           /* the application wants messages pushed */
    int64_t last_id;          /* internal ids, both directions */
    int64_t last_snd_id;      /* own external ids */
    int64_t last_rcv_ext_id;  /* the peer's external id received last */
    int64_t received;         /* messages that came, whatever their ids */
    int64_t rcv_others;       /* new keys and the like, whose ids were not left out yet */
    int64_t gap_first, gap_last; /* ids left out that the application was not told of; 0: none */
    uint8_t last_snd_hash[32];
    uint8_t last_rcv_hash[32];
    bool has_snd_hash, has_rcv_hash;
    int64_t created_at;       /* ms */
    uint8_t sync_state;       /* enum sx_sync_state */
    bool crossed;             /* the peer uses a ratchet that we do not have */
    bool old_copy; /* until there is a new ratchet: keys of this one may have been used */
    uint8_t rcv_queues;       /* how many receiving queues the application wants; 0: one */
    bool peer_several;        /* the peer is known to use several queues */
    bool suspended;           /* its receiving queues are to take nothing more (suspend_queues.c) */
};
simplex_rc sx_store_conn_add(struct sx_store *s, struct sx_conn *c) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_conn_get(struct sx_store *s, int64_t id, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_store_conn_update(struct sx_store *s, const struct sx_conn *c) SIMPLEX_CHECK;
/* Cascades; its events go too, but one added afterwards stays: for telling of the deletion. */
simplex_rc sx_store_conn_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* ids in ascending order after `after`; fills up to *n, sets *n. */
simplex_rc sx_store_conn_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;

/* The same of one user. */
simplex_rc sx_store_conn_list_user(struct sx_store *s, int64_t user, int64_t after, int64_t *ids,
                                   size_t *n) SIMPLEX_CHECK;
/* Not one of the calls that end the life of slices. */
simplex_rc sx_store_conn_user(struct sx_store *s, int64_t id, int64_t *user) SIMPLEX_CHECK;

/* Deleted connections that deliver what was sent before (lib/agent/farewell.c). end_by: ms. */
simplex_rc sx_store_farewell_add(struct sx_store *s, int64_t conn, int64_t end_by) SIMPLEX_CHECK;
simplex_rc sx_store_farewell_has(struct sx_store *s, int64_t conn) SIMPLEX_CHECK; /* E_NOT_FOUND */
simplex_rc sx_store_farewell_delete(struct sx_store *s, int64_t conn) SIMPLEX_CHECK;
/* The one that ends first. E_NOT_FOUND: there is none. */
simplex_rc sx_store_farewell_first(struct sx_store *s, int64_t *conn,
                                   int64_t *end_by) SIMPLEX_CHECK;

#endif
