/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joiner of a connection made by hand: every layer of what it sends can be wrong. Its keys,
 * ratchet and numbers are plain fields.
 */
#ifndef TESTS_CONTACT_H
#define TESTS_CONTACT_H

#include "agent/agent.h"
#include "support/blocking_client.h"
#include "wire/link.h"

struct contact {
    struct smp_peer net;
    struct sx_queue_addr to;    /* the initiator's queue */
    struct sx_keypair auth, e2e; /* for that queue */
    uint8_t e2e_secret[32];
    struct sx_queue_addr reply; /* our own */
    struct sx_keypair rcv_auth, rcv_dh, rcv_e2e;
    struct sx_ratchet r;
    struct sx_e2e_params params;
    int64_t snd_id;             /* the last one used */
    uint8_t last_hash[32];
};

/* Connects to the server at this port of this machine, secures the queue of the link with SKEY and
 * makes the reply queue. */
void contact_open(struct contact *c, simplex_bytes link, uint16_t port);
void contact_close(struct contact *c);

/* What goes around an envelope; all right when zero. */
struct contact_how {
    bool confirmation;  /* with our key in the header, padded as one */
    bool other_secret;
    bool has_auth;      /* `K` and our key inside, as in the standard handshake */
    uint16_t version;   /* of the SMP client; 0: the right one */
};

/* Layers, from the inside. Writers are the caller's. */
void contact_ratchet(struct contact *c, simplex_bytes plain, struct sx_wr *out);
void contact_envelope(struct contact *c, struct sx_envelope *e, simplex_bytes plain,
                      struct sx_wr *out); /* e->body is made here */
void contact_box(const struct contact *c, const struct contact_how *how, simplex_bytes envelope,
                 struct sx_wr *out);
/* Signed SEND; fails the test unless the answer is OK. Waits while the queue is full. */
void contact_send(struct contact *c, simplex_bytes body);

/* The usual contents. */
void contact_info_plain(const struct contact *c, const char *info, struct sx_wr *out);
void contact_message_plain(struct contact *c, const char *text, struct sx_wr *out); /* counts */
void contact_plain_to_body(struct contact *c, simplex_bytes plain, struct sx_wr *body);
/* All of it, done right. */
void contact_confirm(struct contact *c, const char *info);
void contact_say(struct contact *c, const char *text);

#endif
