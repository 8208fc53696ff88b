/* SPDX-License-Identifier: Apache-2.0 */
/* What an application asks about a connection: the state of its queues, its security code. */
#ifndef SX_AGENT_STATUS_H
#define SX_AGENT_STATUS_H

#include "agent/agent.h"

/* ---- status.c ---- */

/* INFO of a server; E_RESPONSE when it is not what section 6.3 of smp.md says. */
simplex_rc sx_queue_status_parse(simplex_bytes json, simplex_queue_status *out) SIMPLEX_CHECK;
extern const char *const sx_subscription_names[5];

/* ---- verify.c ---- */

void sx_code_text(const uint8_t code[32], char text[SIMPLEX_CODE_TEXT]);

#endif
