/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client services (smp.md sections 4 to 7, agent.md section 8.3): to each server of its queues the
 * agent is a service with a certificate made for that user and server. The server remembers which
 * queues are the service's, and one SUBS subscribes them all.
 */
#ifndef SX_AGENT_SERVICES_H
#define SX_AGENT_SERVICES_H

#include "agent/agent.h"
#include "store/service.h"

simplex_rc sx_svc_load(struct simplex_agent *a) SIMPLEX_CHECK; /* marks queues in the tables */
/* A queue of ours is there, or will be: sessions with it are those of the service. */
simplex_rc sx_svc_use(struct simplex_agent *a, struct sx_rt_server *s) SIMPLEX_CHECK;
simplex_rc sx_svc_use_for(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                          bool *used) SIMPLEX_CHECK;
bool sx_svc_session(const struct sx_rt_server *s); /* this session is one of a service */
void sx_svc_up(struct simplex_agent *a, struct sx_rt_server *s); /* before anything is sent */
void sx_svc_down(struct simplex_agent *a, struct sx_rt_server *s, simplex_rc why);
/* Waits for the answer to SUBS: no SUB of its own. */
bool sx_svc_covers(const struct sx_rt_rcvq *q);
/* What SOK says about the queue; id empty: nothing. */
void sx_svc_answered(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_bytes id);
/* The same of IDS, inside a handler. */
simplex_rc sx_svc_made(struct simplex_agent *a, struct sx_rt_rcvq *q,
                       simplex_bytes id) SIMPLEX_CHECK;
void sx_svc_ended(struct simplex_agent *a, struct sx_rt_rcvq *q); /* END */
/* ENDS, ALLS; true: it was one. */
bool sx_svc_event(struct simplex_agent *a, struct sx_rt_server *s, const struct sx_transmission *t,
                  const struct sx_rsp *rsp);
void sx_svc_free(struct sx_rt_server *s);
/* Its rows decide anew who we are to it: what memory knows may never have reached the disk. */
void sx_svc_drop(struct sx_rt_server *s);

#endif
