/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for the network: the commands of connections and the deliveries of sending queues,
 * each with a worker while there are some, and their retries.
 */
#ifndef SX_AGENT_WORK_H
#define SX_AGENT_WORK_H

#include "agent/agent.h"

/* ---- work.c: command and delivery workers, their retries ---- */

void sx_wake_commands(struct simplex_agent *a, int64_t conn);
void sx_wake_delivery(struct simplex_agent *a, int64_t snd_queue, int64_t conn);
void sx_wake_server(struct simplex_agent *a, const struct sx_rt_server *s); /* it is up */
void sx_wake_all(struct simplex_agent *a);
/* A message of the peer came: it is there and reading, so its full queue may have emptied. `now`:
 * do not wait even a second since the last attempt. */
void sx_wake_quota(struct simplex_agent *a, int64_t conn, bool now);
/* The marker of a full queue of ours was read; A_QCONT is stored, and leaves when the server has
 * dropped the marker: a sender that is quicker would find the queue still full, and nobody would
 * tell it a second time. */
void sx_qcont_waits(struct simplex_agent *a, struct sx_rt_rcvq *q);
void sx_qcont_goes(struct simplex_agent *a, struct sx_rt_rcvq *q); /* q may be NULL */
void sx_run_work(struct simplex_agent *a);       /* at the end of a turn, after the commit */
void sx_retry_at(struct simplex_agent *a, int64_t at); /* a worker waits until then */
int64_t sx_work_alarm(struct simplex_agent *a);  /* mono ms of the next retry; INT64_MAX: none */
simplex_rc sx_load_work(struct simplex_agent *a) SIMPLEX_CHECK; /* at start: who has work */
/* The next delay of a retry (section 8.1: x 3/2 once `grow` ms have passed). */
int64_t sx_next_delay(int64_t *delay, int64_t *elapsed, int64_t first, int64_t grow, int64_t max);

/* ---- command.c, command_send.c, command_answer.c, command_new.c ---- */

enum sx_command_tag {
    SX_C_NEW = 1, /* NEW for rcv queue; data: of a joiner, e2e parameters and information; of a
                   * requester, the queue of the address and information */
    SX_C_KEY,     /* KEY with the sender's key on rcv queue */
    SX_C_SKEY,    /* SKEY on snd queue */
    SX_C_DEL,     /* DEL on rcv queue */
    SX_C_DRAIN,   /* SUB on a replaced rcv queue until nothing comes; then DEL */
    SX_C_INVITATION, /* the link to rcv queue goes to a contact address; data: as of NEW */
    SX_C_LSET,    /* the link data of rcv queue as it is in its row then */
    SX_C_LDEL,    /* the link data of rcv queue */
    SX_C_LOOK,    /* LKEY or LGET of the link that the connection looks at; data: look.c */
    SX_C_NKEY,    /* a notifier for rcv queue; data: its public key (notifier.c) */
    SX_C_NDEL,    /* takes it away */
    SX_C_MADE,    /* nothing is sent: all NEW of a new connection are behind it; data: as of NEW */
    SX_C_OFF,     /* OFF on rcv queue: its server takes nothing more */
};
simplex_rc sx_command_add(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                          int64_t queue, simplex_bytes data) SIMPLEX_CHECK;
simplex_rc sx_command_drop(struct simplex_agent *a, int64_t conn,
                           enum sx_command_tag tag) SIMPLEX_CHECK; /* all of this kind */
simplex_rc sx_command_waits(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                            bool *yes) SIMPLEX_CHECK; /* one that is not being sent */
void sx_run_command(struct simplex_agent *a, struct sx_rt_conn *w); /* sends the oldest */
/* At the start: what may have been sent before is made fit for a repeat. */
simplex_rc sx_commands_again(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* IDS that no request waits for: deletes the queue if it was ours. */
void sx_late_ids(struct simplex_agent *a, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp);
void sx_lost_drop(struct simplex_agent *a, const struct sx_client *c); /* NULL: all */
/* A NEW to c timed out: should it have made a queue after all, that goes when its IDS comes. */
void sx_lost_add(struct simplex_agent *a, const struct sx_client *c,
                 const uint8_t corr_id[SX_ID_LEN], const struct sx_keypair *auth);

/* ---- deliver.c ---- */

void sx_deliver(struct simplex_agent *a, struct sx_rt_sndq *w); /* sends the oldest pending */

#endif
