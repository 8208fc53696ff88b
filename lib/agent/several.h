/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several receiving queues in one connection, on different servers. Whoever sends puts each message
 * into all of them: the same bytes of the ratchet, each time under the queue's own secret. What
 * comes first is shown, the rest is known by its hash.
 *
 * The queues of a new connection are listed in the link and in the joiner's confirmation; later
 * ones are told with QADD that replaces nothing. A reference peer uses the first queue of a list
 * alone. `peer_several` of a connection says that its peer is known to use them all
 * (docs/protocol-notes.md has the rule).
 */
#ifndef SX_AGENT_SEVERAL_H
#define SX_AGENT_SEVERAL_H

#include "agent/receive.h"

#define SX_QUEUES_MAX SIMPLEX_QUEUES_MAX

/* ---- several.c: the queues of a new connection ---- */

/* What a connection that begins now is to have: of this call, or as configured. */
uint8_t sx_queues_wanted(const struct simplex_agent *a);
/* On another host than every queue of the connection, and than `rather_not` (may be NULL) if that
 * is possible. failed: just now, may be NULL. E_NO_SERVERS: none is left. */
simplex_rc sx_choose_server_apart(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_server *rather_not,
                                  const struct sx_server *failed,
                                  struct sx_server *out) SIMPLEX_CHECK;
/* NEW of the first queue q and of as many more as c wants and servers allow. data: what NEW of a
 * connection with one queue carries. */
simplex_rc sx_make_queues(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q, const struct sx_server *rather_not,
                          simplex_bytes data) SIMPLEX_CHECK;
/* The same for q with a short link: it is made last, so that the link can name the others. */
simplex_rc sx_make_linked(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* Is MADE still to come, and some queue of it not there yet? */
simplex_rc sx_queues_unmade(struct simplex_agent *a, int64_t conn, bool *yes) SIMPLEX_CHECK;
/* MADE: all queues that there will be are there. */
simplex_rc sx_queues_made(struct simplex_agent *a, struct sx_conn *c,
                          simplex_bytes data) SIMPLEX_CHECK;
/* NEW failed and will be tried again: the queue moves to another server, or is left out, with its
 * command. */
simplex_rc sx_queue_away(struct simplex_agent *a, struct sx_conn *c,
                         const struct sx_command *cmd) SIMPLEX_CHECK;
/* A command failed for good, or for too long. *handled: the connection does without that queue. */
simplex_rc sx_several_failed(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_command *cmd, simplex_rc why, const char *detail,
                             bool *handled) SIMPLEX_CHECK;
/* Queues that can be listed beside `first` (its address in list[0] already): n in all. */
simplex_rc sx_list_queues(struct simplex_agent *a, const struct sx_conn *c, int64_t first,
                          struct sx_range v, struct sx_queue_addr list[SX_QUEUES_MAX], size_t most,
                          size_t *n) SIMPLEX_CHECK;
simplex_rc sx_has_link(struct simplex_agent *a, int64_t queue,
                       bool *yes) SIMPLEX_CHECK; /* a short one */
/* How many of the peer's queues are used: all that are good for it, or the first. */
size_t sx_usable_queues(const struct sx_queue_addr *list, size_t n);
/* Sending queues to list[1] and on, as they come with a link or a confirmation. */
simplex_rc sx_more_snd_queues(struct simplex_agent *a, int64_t conn,
                              const struct sx_queue_addr *list, size_t n,
                              uint16_t version) SIMPLEX_CHECK;
/* A confirmation that came before, through another queue. */
simplex_rc sx_confirmed_again(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              const struct sx_opened *o) SIMPLEX_CHECK;
simplex_rc sx_emit_queue(struct simplex_agent *a, int64_t conn, int64_t queue, int32_t direction,
                         int32_t phase, const struct sx_server *server, simplex_rc why,
                         const char *detail) SIMPLEX_CHECK;

/* ---- several_rcv.c: queues that come and go later, the side that receives ---- */

simplex_rc sx_queue_add(struct simplex_agent *a, int64_t conn, simplex_bytes server,
                        int64_t *queue) SIMPLEX_CHECK;
simplex_rc sx_queue_remove(struct simplex_agent *a, int64_t conn, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_add_created(struct simplex_agent *a, struct sx_conn *c,
                          struct sx_rcv_queue *q) SIMPLEX_CHECK; /* IDS */
simplex_rc sx_add_secured(struct simplex_agent *a, struct sx_conn *c,
                          struct sx_rcv_queue *q) SIMPLEX_CHECK; /* KEY was answered */
/* *handled: it is about a queue that is being added. */
simplex_rc sx_add_on_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_qkey *x,
                          bool *handled) SIMPLEX_CHECK;
simplex_rc sx_on_qtest(struct simplex_agent *a, struct sx_conn *c,
                       const struct sx_agent_msg *m) SIMPLEX_CHECK;
/* The peer is known to use several from now on: what waited for that goes on. */
simplex_rc sx_peer_is_several(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
/* The queue goes, at once: from the server too. Another one becomes the first. */
simplex_rc sx_queue_drop(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         simplex_rc why, const char *detail) SIMPLEX_CHECK;
/* It was read to its end and deleted. */
simplex_rc sx_queue_gone(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_rc why,
                         const char *detail) SIMPLEX_CHECK;
/* The peer does not use the queues beside the first. */
simplex_rc sx_fall_back(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
/* What was said about queues that are being added is lost: they go. */
simplex_rc sx_add_end(struct simplex_agent *a, struct sx_conn *c, simplex_rc why,
                      const char *detail) SIMPLEX_CHECK;
/* QADD or QUSE did not reach the peer. */
simplex_rc sx_add_undelivered(struct simplex_agent *a, int64_t conn, simplex_rc why,
                              const char *detail) SIMPLEX_CHECK;
bool sx_is_added(const struct sx_rcv_queue *q); /* and not in use yet */

/* ---- several_snd.c: the same, the side that sends ---- */

simplex_rc sx_add_on_qadd(struct simplex_agent *a, struct sx_conn *c, const struct sx_qadd *x,
                          uint16_t version) SIMPLEX_CHECK;
simplex_rc sx_add_on_quse(struct simplex_agent *a, struct sx_conn *c,
                          struct sx_snd_queue *q) SIMPLEX_CHECK;
/* The server refuses a sending queue for good. *others: there are more, it is used no longer; its
 * worker gives up what it was to deliver (sx_deliver_nothing) and removes it. */
simplex_rc sx_snd_lost(struct simplex_agent *a, struct sx_snd_queue *q, simplex_rc why,
                       const char *detail, bool *others) SIMPLEX_CHECK;
/* The only one was never there: what waits for it is given up. */
simplex_rc sx_snd_end(struct simplex_agent *a, struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_snd_secured(struct simplex_agent *a,
                          const struct sx_snd_queue *q) SIMPLEX_CHECK; /* SKEY was answered */

/* ---- several_count.c: what comes through which ---- */

/* Message number ext_id came through q; fresh: through no other before, when c's last number was
 * `before`. */
simplex_rc sx_came(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                   int64_t ext_id, bool fresh, int64_t before) SIMPLEX_CHECK;
/* Keys of a synchronisation take a number too. */
simplex_rc sx_keys_came(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* One more queue is made: counting begins, or for a peer that is not known it begins anew. */
simplex_rc sx_counts_begin(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;
/* Others have brought more than q. */
simplex_rc sx_is_behind(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q, bool *yes) SIMPLEX_CHECK;
void sx_misses_check(struct simplex_agent *a); /* is a queue behind for too long? */

/* ---- hold.c: order between several queues ---- */

simplex_rc sx_hold(struct simplex_agent *a, const struct sx_conn *c, const struct sx_rcv_queue *q,
                   const struct sx_agent_msg *m, bool *hold) SIMPLEX_CHECK;
/* New keys of the peer: in->hold, in->ext_id. */
simplex_rc sx_hold_keys(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        struct sx_incoming *in) SIMPLEX_CHECK;
void sx_held(struct simplex_agent *a, int64_t queue, int64_t ext_id); /* left on the server */
void sx_held_release(struct simplex_agent *a, int64_t conn);  /* it may be its turn */
void sx_held_check(struct simplex_agent *a);                  /* it has waited long enough */
/* A message that cannot be read yet: may others bring what comes before it? */
simplex_rc sx_hold_unread(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q, simplex_rc why, bool *hold) SIMPLEX_CHECK;

#endif
