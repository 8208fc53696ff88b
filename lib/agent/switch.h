/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of queues (agent.md section 6.5): switch_rcv.c moves one of ours, switch_snd.c follows
 * the peer that moves its own.
 */
#ifndef SX_AGENT_SWITCH_H
#define SX_AGENT_SWITCH_H

#include "agent/agent.h"

union sx_switch_item {
    struct sx_qadd add;
    struct sx_qkey key;
    struct sx_quse use;
    struct sx_queue_ref test;
};
/* QADD, QKEY, QUSE or QTEST with one item. */
simplex_rc sx_send_switch(struct simplex_agent *a, struct sx_conn *c, enum sx_msg_tag tag,
                          const union sx_switch_item *x) SIMPLEX_CHECK;
simplex_rc sx_emit_switch(struct simplex_agent *a, int64_t conn, int32_t direction, int32_t phase,
                          const struct sx_server *server, simplex_rc why,
                          const char *detail) SIMPLEX_CHECK;
/* A message of the rotation that makes no sense now: ERR; it counts as received. */
simplex_rc sx_switch_refuse(struct simplex_agent *a, int64_t conn, enum sx_msg_tag msg,
                            simplex_rc why) SIMPLEX_CHECK;
bool sx_switch_possible(const struct sx_conn *c);
/* Phase reached; 0: none. */
simplex_rc sx_rcv_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase) SIMPLEX_CHECK;
simplex_rc sx_snd_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase) SIMPLEX_CHECK;

simplex_rc sx_switch_start(struct simplex_agent *a, int64_t conn, int64_t queue,
                           simplex_bytes server) SIMPLEX_CHECK; /* 0: the first; empty: any */
simplex_rc sx_switch_abort(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* It cannot go on before the sender uses the new queue: the old one stays. */
simplex_rc sx_switch_failed(struct simplex_agent *a, int64_t conn, simplex_rc why,
                            const char *detail) SIMPLEX_CHECK;
/* The queue that takes the place of old. E_NOT_FOUND. */
simplex_rc sx_rcv_replacement(struct simplex_agent *a, const struct sx_rcv_queue *old,
                              struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* By the data of a NEW: may another server be tried, and the password. */
#define SX_NEW_DATA_MAX 256
void sx_new_data_any(struct sx_wr *data);
simplex_rc sx_new_data_named(simplex_bytes wanted, struct sx_server *server,
                             struct sx_wr *data) SIMPLEX_CHECK;
bool sx_new_may_move(const struct sx_rcv_queue *q, simplex_bytes data);
/* The sender's keys for q, which is secured next. */
simplex_rc sx_take_sender(struct simplex_agent *a, const struct sx_qkey *x,
                          struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* q goes from here and from its server; a NEW that is out is waited for: its queue would be left
 * behind. */
simplex_rc sx_rcv_queue_end(struct simplex_agent *a, struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_bytes sx_new_password(struct simplex_agent *a, int64_t user, const struct sx_rcv_queue *q,
                              simplex_bytes data);
simplex_rc sx_switch_created(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q) SIMPLEX_CHECK; /* IDS */
simplex_rc sx_switch_secured(struct simplex_agent *a, struct sx_conn *c,
                             struct sx_rcv_queue *q) SIMPLEX_CHECK; /* KEY was answered */
/* A message of the peer came through q. E_PROHIBITED: it was not told to use it. */
simplex_rc sx_switch_used(struct simplex_agent *a, struct sx_rcv_queue *q) SIMPLEX_CHECK;
bool sx_drain_waits(struct simplex_agent *a, int64_t queue);
bool sx_drained(struct simplex_agent *a, int64_t queue);
simplex_rc sx_drain_done(struct simplex_agent *a, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_switch_deleted(struct simplex_agent *a, const struct sx_rcv_queue *gone,
                             simplex_rc why, const char *detail) SIMPLEX_CHECK;
simplex_rc sx_switch_sub_refused(struct simplex_agent *a, int64_t queue, simplex_rc why,
                                 const char *detail, bool *expected) SIMPLEX_CHECK;
simplex_rc sx_on_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *from,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;

simplex_rc sx_on_qadd(struct simplex_agent *a, struct sx_conn *c,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;
simplex_rc sx_on_quse(struct simplex_agent *a, struct sx_conn *c,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;
simplex_rc sx_find_snd_queue(struct simplex_agent *a, int64_t conn, const struct sx_queue_ref *ref,
                             struct sx_snd_queue *q) SIMPLEX_CHECK;
bool sx_takes_messages(const struct sx_snd_queue *q, unsigned nth);
simplex_rc sx_keep_sent(struct simplex_agent *a, const struct sx_snd_queue *old, int64_t msg_id,
                        uint8_t type, bool *kept) SIMPLEX_CHECK;
simplex_rc sx_switch_sent(struct simplex_agent *a, struct sx_snd_queue *q,
                          uint8_t type) SIMPLEX_CHECK;
simplex_rc sx_switch_detour(struct simplex_agent *a, const struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_switch_snd_failed(struct simplex_agent *a, const struct sx_snd_queue *q,
                                simplex_rc why, const char *detail) SIMPLEX_CHECK;
simplex_rc sx_switch_undelivered(struct simplex_agent *a, const struct sx_snd_queue *q,
                                 uint8_t type, simplex_rc why, const char *detail) SIMPLEX_CHECK;

#endif
