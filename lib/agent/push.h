/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push notifications: notifiers of receiving queues (notifier.c), what their notifications say
 * (push.c), and messages that are fetched one by one without a subscription (fetch.c).
 */
#ifndef SX_AGENT_PUSH_H
#define SX_AGENT_PUSH_H

#include "agent/agent.h"
#include "store/notifier.h"

/* ---- notifier.c ---- */

simplex_rc sx_notify_conn(struct simplex_agent *a, int64_t conn, bool on) SIMPLEX_CHECK;
simplex_rc sx_notifiers_load(struct simplex_agent *a)
    SIMPLEX_CHECK; /* marks queues in the tables */
/* A row of a receiving queue was added: it gets a notifier if its connection has one, or if it is
 * the first of it and new connections are to have one. */
simplex_rc sx_notifier_for_queue(struct simplex_agent *a,
                                 const struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* It moves to another server before it was made. */
simplex_rc sx_notifier_renew(struct simplex_agent *a, int64_t queue) SIMPLEX_CHECK;
/* For NEW: its keys, if there are any. */
simplex_rc sx_notifier_new(struct simplex_agent *a, int64_t queue,
                           struct sx_cmd *cmd) SIMPLEX_CHECK;
/* IDS, when the queue has been stored. */
simplex_rc sx_notifier_made(struct simplex_agent *a, const struct sx_rcv_queue *q,
                            const struct sx_rsp *rsp) SIMPLEX_CHECK;
/* NKEY and NDEL: what is sent, unless what they were for has changed meanwhile (*moot). */
simplex_rc sx_notifier_cmd(struct simplex_agent *a, const struct sx_command *c, struct sx_cmd *cmd,
                           bool *moot) SIMPLEX_CHECK;
simplex_rc sx_notifier_answered(struct simplex_agent *a, const struct sx_command *c,
                                const struct sx_rsp *rsp) SIMPLEX_CHECK;
simplex_rc sx_notifier_refused(struct simplex_agent *a, const struct sx_command *c, simplex_rc why,
                               const char *detail) SIMPLEX_CHECK;
/* A message came through the queue. */
simplex_rc sx_notifier_seen(struct simplex_agent *a, int64_t queue, simplex_bytes msg_id,
                            int64_t ts) SIMPLEX_CHECK;

/* ---- push.c ---- */

struct sx_push { /* what the metadata of a notification says */
    struct sx_id msg_id;
    int64_t ts; /* ms */
};
/* E_CRYPTO: not for this notifier, or changed; E_DECODE, E_PADDING. */
simplex_rc sx_push_open(const uint8_t secret[32], simplex_bytes nonce, simplex_bytes meta,
                        struct sx_push *out) SIMPLEX_CHECK;

/* ---- receive.c, for peek.c ---- */

/* Opens the server's layer of a MSG in a->scratch. */
simplex_rc sx_open_server_layer(struct simplex_agent *a, const struct sx_rcv_queue *q,
                                const struct sx_rsp *msg, struct sx_rcv_msg *out) SIMPLEX_CHECK;

/* ---- fetch.c ---- */

enum sx_fetch_state {
    SX_FETCH_NONE,
    SX_FETCH_ASKED,    /* GET, or SUB where GET is not allowed, is out */
    SX_FETCH_CLEARING, /* a message that is none of the application's is being acknowledged */
};

/* MSG of a queue that is not wanted: true when a fetch takes it. */
bool sx_fetch_takes(struct simplex_agent *a, struct sx_rt_rcvq *q, const struct sx_rsp *rsp);
/* ACK was answered, or (rsp NULL) will not be. */
void sx_fetch_acked(struct simplex_agent *a, const struct sx_ack *k, simplex_rc why,
                    const struct sx_rsp *rsp);
void sx_fetch_lost(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_rc why); /* session */
void sx_fetch_gone(struct simplex_agent *a, struct sx_rt_rcvq *q); /* leaves the tables */
/* A session came up: it will know no GET but those that still wait to be sent. */
void sx_fetch_up(struct sx_rt_server *s);
/* GET and SUB exclude each other in one session: to subscribe, a new one is needed. */
void sx_fetch_new_session(struct sx_rt_server *s);
/* All end now, with this unless they have failed before. */
void sx_fetches_fail(struct simplex_agent *a, simplex_rc why);
/* What was told in the transaction under way is on disk; or it was undone, because of this. */
void sx_fetches_written(struct simplex_agent *a);
void sx_fetches_undone(struct simplex_agent *a, simplex_rc why);
void sx_fetches_free(struct simplex_agent *a);

#endif
