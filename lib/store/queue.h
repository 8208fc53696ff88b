/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of receiving and sending queues. */
#ifndef SX_STORE_QUEUE_H
#define SX_STORE_QUEUE_H

#include "store/database.h"

enum sx_queue_status { SX_Q_NEW = 1, SX_Q_CONFIRMED, SX_Q_SECURED, SX_Q_ACTIVE, SX_Q_DISABLED };
/* stored as the reference's words: new, confirmed, secured, active, disabled */

/* Where the rotation of a queue is: kept with the queue that is being replaced (section 6.5). */
enum sx_switch_state {
    SX_SW_NONE,
    SX_SW_STARTED,  /* receiver: the new queue is being made */
    SX_SW_QADD,     /* its address is on the way to the sender, or the sender's key here */
    SX_SW_QUSE,     /* it is secured, the sender is told to use it */
    SX_SW_RECEIVED, /* a message came through it: this one is read to its end and deleted */
    SX_SW_QKEY,     /* sender: our key is on the way, or the word to use the new queue here */
    SX_SW_QTEST,    /* the new queue is in use, this one ends when it worked */
    SX_SW_ADD_NEW,  /* receiver: one more queue is being made; from here on not of a rotation */
    SX_SW_ADD_ASK,  /* it is there, the peer was asked whether it uses several */
    SX_SW_ADD_QADD, /* its address is on the way to the sender, or the sender's key here */
    SX_SW_ADD_QUSE, /* it is secured, the sender is told to use it */
    SX_SW_ADD_QKEY, /* sender: our key is on the way, or the word to use the queue here */
    SX_SW_REMOVE,   /* receiver: it is read to its end and deleted */
};
/* stored as the reference's words, "none" otherwise */

struct sx_rcv_queue {
    int64_t id, conn_id;
    struct sx_server server;
    struct sx_id rcv_id, snd_id;   /* empty until IDS arrived */
    struct sx_keypair auth;        /* Ed25519 */
    struct sx_keypair dh;          /* X25519 with the server */
    bool has_srv_secret;
    uint8_t srv_secret[32];        /* DH with the server's queue key: opens MSG bodies */
    struct sx_keypair e2e;         /* X25519: pub is in the link */
    bool has_e2e_secret;
    uint8_t e2e_secret[32];        /* DH with the sender */
    struct sx_pub sender_key;      /* to be set with KEY (standard handshake); SX_NO_KEY: none */
    uint8_t mode;                  /* enum sx_queue_mode */
    uint16_t client_version;
    uint8_t status;                /* enum sx_queue_status */
    bool primary;
    bool deleted;                  /* DEL is due */
    uint32_t delete_errors;
    uint8_t switch_state;          /* enum sx_switch_state */
    int64_t replaces;              /* id of the queue that this one takes the place of; 0: none */
    bool suspended;                /* its server takes nothing more for it */
};
/* Sets id. */
simplex_rc sx_store_rcvq_add(struct sx_store *s, struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_rcvq_get(struct sx_store *s, int64_t id, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* By the address of a MSG: server by hosts and port, and rcv_id. E_NOT_FOUND. */
simplex_rc sx_store_rcvq_find(struct sx_store *s, const struct sx_server *server,
                              simplex_bytes rcv_id, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* The nth queue of the connection, primary first. E_NOT_FOUND. */
simplex_rc sx_store_rcvq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_rcvq_update(struct sx_store *s, const struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_rcvq_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* Every queue with an id above `after`, ascending; E_NOT_FOUND behind the last. */
simplex_rc sx_store_rcvq_next(struct sx_store *s, int64_t after, struct sx_rcv_queue *q)
    SIMPLEX_CHECK;

/* What came through a queue of a connection that has several. */
struct sx_queue_counts {
    int64_t last_ext_id; /* the sender's number of the message that came last; 0: none did */
    int64_t received;    /* messages, whether or not another queue was faster */
    int64_t missed;      /* that came through others and will not through this one */
    int64_t missed_told; /* of these, how many the application was told of */
    bool behind_told;    /* it was told that the queue is behind the others */
    int64_t first_ts, last_ts; /* ms */
};
/* Zeros when there is no row yet. */
simplex_rc sx_store_counts_get(struct sx_store *s, int64_t rcv_queue_id,
                               struct sx_queue_counts *c) SIMPLEX_CHECK;
simplex_rc sx_store_counts_put(struct sx_store *s, int64_t rcv_queue_id,
                               const struct sx_queue_counts *c) SIMPLEX_CHECK;

struct sx_snd_queue {
    int64_t id, conn_id;
    struct sx_server server;
    struct sx_id snd_id;
    struct sx_keypair auth;        /* Ed25519: SKEY, or the `K` key of the confirmation */
    struct sx_pub e2e_pub;         /* own X25519 public key, in the confirmation's header */
    uint8_t e2e_secret[32];
    uint8_t mode;
    uint16_t client_version;
    uint8_t status;
    bool primary;
    uint8_t switch_state;          /* enum sx_switch_state */
    int64_t replaces;              /* as above */
};
simplex_rc sx_store_sndq_add(struct sx_store *s, struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_get(struct sx_store *s, int64_t id, struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_update(struct sx_store *s, const struct sx_snd_queue *q) SIMPLEX_CHECK;
/* With its deliveries, and the messages that were to be delivered to this queue only. */
simplex_rc sx_store_sndq_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_next(struct sx_store *s, int64_t after, struct sx_snd_queue *q)
    SIMPLEX_CHECK;

#endif
