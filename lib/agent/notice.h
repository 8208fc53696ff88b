/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SX_AGENT_NOTICE_H
#define SX_AGENT_NOTICE_H

#include "agent/agent.h"

simplex_rc sx_notices_load(struct simplex_agent *a) SIMPLEX_CHECK; /* are there any? */
/* SUB of the queue was answered: rsp NULL, or not ERR BLOCKED with a notice: it has none any more.
 */
simplex_rc sx_notice_answer(struct simplex_agent *a, int64_t queue,
                            const struct sx_rsp *rsp) SIMPLEX_CHECK;
/* A contact address is to be made there. E_NOTICE: the server asked not to. */
simplex_rc sx_notice_check(struct simplex_agent *a, const struct sx_server *server) SIMPLEX_CHECK;

#endif
