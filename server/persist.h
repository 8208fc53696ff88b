/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The narrow interface between the queue store and what keeps it: every change of a queue, a
 * message or a service that must outlive the process is recorded by one function here, before the
 * memory is changed, with the lock of the queue's stripe held. Today it is the store log
 * (store_log.h, the reference's format) for queues and services, and the journal (journal.h) for
 * messages; a database would implement the same functions.
 *
 * A record is staged, not yet on disk: commit.h says when it is, and the answer of the command
 * waits for that. When a function returns false nothing was recorded, the command changes nothing
 * and answers INTERNAL: the disk is full, an earlier write failed and has not recovered, or there
 * is no memory. Without persistence (st->persist NULL) all of them answer true.
 */
#ifndef SX_PERSIST_H
#define SX_PERSIST_H

#include "queue_store.h"

struct sx_service;

bool sx_persist_create(struct sx_store *st, const struct sx_queue *q) SIMPLEX_CHECK;
bool sx_persist_secure(struct sx_store *st, const struct sx_queue *q,
                       const struct sx_pub *key) SIMPLEX_CHECK;
bool sx_persist_keys(struct sx_store *st, const struct sx_queue *q, const struct sx_pub *key,
                     unsigned count) SIMPLEX_CHECK;
bool sx_persist_link(struct sx_store *st, const struct sx_queue *q,
                     const struct sx_link *l) SIMPLEX_CHECK;
bool sx_persist_del_link(struct sx_store *st, const struct sx_queue *q) SIMPLEX_CHECK;
bool sx_persist_notifier(struct sx_store *st, const struct sx_queue *q,
                         const struct sx_notifier *n) SIMPLEX_CHECK;
bool sx_persist_del_notifier(struct sx_store *st, const struct sx_queue *q) SIMPLEX_CHECK;
bool sx_persist_status(struct sx_store *st, const struct sx_queue *q, enum sx_q_status status,
                       enum sx_block_reason why) SIMPLEX_CHECK;
bool sx_persist_delete(struct sx_store *st, const struct sx_queue *q) SIMPLEX_CHECK;
/* The queue was used: recorded at most once a day. Never fails a command. */
void sx_persist_used(struct sx_store *st, struct sx_queue *q, int64_t now_ms);

/* A new service; the queue (its notifier when ntf) is associated with svc, or with none: NULL. */
bool sx_persist_service(struct sx_store *st, const struct sx_service *svc) SIMPLEX_CHECK;
bool sx_persist_queue_service(struct sx_store *st, const struct sx_queue *q, bool ntf,
                              const struct sx_service *svc) SIMPLEX_CHECK;

bool sx_persist_push(struct sx_store *st, const struct sx_queue *q, struct sx_msg *m) SIMPLEX_CHECK;
bool sx_persist_pop(struct sx_store *st, const struct sx_queue *q, struct sx_msg *m) SIMPLEX_CHECK;
void sx_persist_forget(struct sx_store *st, const struct sx_queue *q, struct sx_msg *m);

#endif
