/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions: which queues their servers push the messages of. */
#ifndef SX_AGENT_SUBSCRIBE_H
#define SX_AGENT_SUBSCRIBE_H

#include "agent/agent.h"

simplex_rc sx_load_queues(struct simplex_agent *a) SIMPLEX_CHECK; /* all rows into the tables */
void sx_check_subscriptions(struct simplex_agent *a); /* at the end of a turn */
void sx_subscribe_server(struct simplex_agent *a, struct sx_rt_server *s); /* what is pending */
/* Delivers again what was not acknowledged. */
void sx_subscribe_again(struct sx_rt_rcvq *q);
simplex_rc sx_set_subscribed(struct simplex_agent *a, int64_t conn, bool on) SIMPLEX_CHECK;
void sx_on_up(void *user, struct sx_client *c);
void sx_on_down(void *user, struct sx_client *c, simplex_rc rc);
void sx_on_event(void *user, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp);

#endif
