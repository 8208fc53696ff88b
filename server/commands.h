/* SPDX-License-Identifier: Apache-2.0 */
/* Processing of a block of commands (protocol/smp.md sections 5 and 6.3). */
#ifndef SX_COMMANDS_H
#define SX_COMMANDS_H

#include "peer.h"

struct sx_block;

struct sx_block *sx_block_new(void);
void sx_block_free(struct sx_block *b);
struct sx_answers *sx_block_events(struct sx_block *b); /* for events between two blocks */

/*
 * One command that is being run. The lock of q is held when the command has a queue, which is
 * not deleted. A handler fills rsp (initially OK) or calls sx_run_fail.
 */
struct sx_run {
    struct sx_peer *p;
    struct sx_srv *srv;
    const struct sx_transmission *t;
    const struct sx_cmd *cmd;
    struct sx_queue *q;
    uint16_t version;         /* of the command: for a forwarded one the client's */
    struct sx_answer answer;  /* corr_id and entity_id are set */
    bool later;               /* another thread will answer: errand.h */
    struct sx_answer message; /* SUB: the head, sent behind the answers of the block */
    struct sx_queue *made;    /* NEW: the queue, referenced until the answer is encoded */
    uint8_t text[512];        /* QUE: the JSON, two ids and a time at most. NEW: the link id */
};

void sx_run_fail(struct sx_run *r, enum sx_err err);
void sx_run_fail_cmd(struct sx_run *r, enum sx_err_cmd err);

/* Secures the queue with the key of the command: KEY, SKEY, LKEY. */
enum sx_err sx_run_secure(struct sx_run *r) SIMPLEX_CHECK;
/* Before the queue, whose lock is held, is deleted, or its notifier replaced or deleted: counts
 * what goes with it. By the thread of the counters. */
void sx_count_queue_deleted(struct sx_counters *c, const struct sx_queue *q);
void sx_count_ntfs_dropped(struct sx_counters *c, const struct sx_queue *q);

/* service_sub.c */
void sx_run_subs(struct sx_run *r); /* and NSUBS */
/* SUB, NSUB, NEW: subscribes, and associates q (locked) with the service whose session this is, or
 * with none. Unless it succeeds nothing has changed. */
enum sx_err sx_run_subscribe(struct sx_run *r, struct sx_queue *q, enum sx_sub_kind kind,
                             struct sx_sub **out) SIMPLEX_CHECK;
void sx_run_answer_sok(struct sx_run *r);

/* recipient.c */
void sx_run_new(struct sx_run *r);
void sx_run_sub(struct sx_run *r);
void sx_run_key(struct sx_run *r);
void sx_run_rkey(struct sx_run *r);
void sx_run_get(struct sx_run *r);
void sx_run_ack(struct sx_run *r);
void sx_run_off(struct sx_run *r);
void sx_run_del(struct sx_run *r);
/* info.c */
void sx_run_que(struct sx_run *r);
/* sender.c */
void sx_run_skey(struct sx_run *r);
void sx_run_send(struct sx_run *r);
/* links.c */
void sx_run_lset(struct sx_run *r);
void sx_run_ldel(struct sx_run *r);
void sx_run_lkey(struct sx_run *r);
void sx_run_lget(struct sx_run *r);
/* errand.c */
void sx_run_prxy(struct sx_run *r);
void sx_run_pfwd(struct sx_run *r);
/* notifier.c */
void sx_run_nkey(struct sx_run *r);
void sx_run_ndel(struct sx_run *r);
void sx_run_nsub(struct sx_run *r);
/* A message with the notify flag arrived. */
void sx_notify(struct sx_run *r, const struct sx_msg *m);

/* DH of a fresh key of the server with the client's: secret and the server's public key. */
enum sx_err sx_queue_dh(const struct sx_pub *theirs, uint8_t secret[32],
                        struct sx_pub *ours) SIMPLEX_CHECK;

#endif
