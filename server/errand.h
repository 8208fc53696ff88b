/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands whose answer another thread makes later: PRXY and PFWD (protocol/smp.md section 8). The
 * hub of the client makes an errand and submits it; whoever works on it fills the answer and hands
 * it back with sx_errand_done. Answers leave in the order in which they are ready, while other
 * commands of the client are answered at once.
 *
 * The client may be gone when the answer comes: errands of a closed peer lose it, on the thread of
 * its hub, the only one that looks at `peer`.
 *
 * A connection has as many errands under way as srv->concurrency says, and fewer of them PRXY,
 * which may take as long as a relay takes to be dead; of one block that brings more, the rest
 * waits, and nothing more is read from the client (sx_peer_paused). PFWD do not wait behind PRXY. A
 * client that had too many relays tried in vain gets no more of them tried for a while.
 */
#ifndef SX_ERRAND_H
#define SX_ERRAND_H

#include "hub.h"

enum sx_errand_result { /* for the statistics */
                        SX_ERRAND_SUCCESS,
                        SX_ERRAND_CONNECT,
                        SX_ERRAND_COMPAT,
                        SX_ERRAND_OTHER,
                        SX_ERRAND_RESULTS
};

struct sx_errand {
    /* of the hub and the peer */
    struct sx_hub *hub;
    struct sx_peer *peer;                    /* NULL: the client is gone */
    struct sx_errand *peer_prev, *peer_next; /* of those under way */
    uint8_t corr_len, entity_len;
    uint8_t corr_id[UINT8_MAX], entity_id[UINT8_MAX];

    struct sx_errand *next; /* of whoever has it: waiting, submitted, done */

    /* what is to be done */
    enum sx_cmd_tag tag; /* SX_PRXY, SX_PFWD */
    uint16_t version;    /* PFWD */
    struct sx_pub key;   /* PFWD */
    uint8_t *body;       /* PRXY: the address, encoded; PFWD. Later what rsp points into */
    size_t body_len;

    const void *client; /* which one it comes from; not to be looked into */

    /* of the worker */
    struct sx_errand *work_prev, *work_next;
    void *work;
    uint8_t nonce[SX_ID_LEN];

    /* the answer */
    struct sx_rsp rsp;
    uint8_t result; /* enum sx_errand_result */
    bool tried;     /* PRXY: a connection was made for it, or waited for */
    bool own;       /* the relay belongs to the operator of this server */
};

static inline simplex_bytes sx_errand_corr_id(const struct sx_errand *e)
{
    return (simplex_bytes){ e->corr_id, e->corr_len };
}
static inline simplex_bytes sx_errand_entity(const struct sx_errand *e)
{
    return (simplex_bytes){ e->entity_id, e->entity_len };
}

/* ---- for the worker, on any thread ---- */

/* The answer is ERR; what err->text has is copied (ERR INTERNAL without memory). */
void sx_errand_fail(struct sx_errand *e, const struct sx_smp_err *err,
                    enum sx_errand_result result);
/* Gives e back: its hub answers the client. */
void sx_errand_done(struct sx_errand *e);

/* ---- for the hub ---- */

void sx_hub_errands(struct sx_hub *h);      /* answers those that are done */
void sx_hub_drop_errands(struct sx_hub *h); /* frees them; the hub closes */
void sx_peer_drop_errands(struct sx_peer *p);

#endif
