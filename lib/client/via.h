/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay reached through a proxy (protocol/smp.md section 8): asks the proxy for the session of
 * the relay (PRXY) when there is something to send, forwards commands (PFWD) and opens the answers.
 * The session is asked for again when the connection to the proxy was a new one meanwhile, and,
 * once for each command, when the proxy does not know it any more. On the loop of the net.
 */
#ifndef SX_VIA_H
#define SX_VIA_H

#include "client/smp_client.h"

struct sx_via;

struct sx_via_answer {
    /* Whose word it is. false: of the relay, or of this side (E_TOO_LARGE ...); as a sx_response_fn
     * has it. true: of the proxy, or nobody's: what became of the command is not known. rsp is then
     * what the proxy answered to PRXY or PFWD when rc is E_SERVER. */
    bool proxy_failed;
    simplex_rc rc;
    const struct sx_rsp *rsp;
    const struct sx_request *req; /* as it was given, to be sent another way */
};

/* Called from the loop for each request, once; req->done is left to it. The via may be closed. */
typedef void sx_via_answered(void *owner, const struct sx_via_answer *a);

/* proxy: must not be dropped. relay and password (may be empty) are copied. */
simplex_rc sx_via_open(struct sx_client *proxy, const struct sx_server *relay,
                       simplex_bytes password, sx_via_answered *answered, void *owner,
                       struct sx_via **out) SIMPLEX_CHECK;
/* SEND, SKEY, LKEY, LGET or RSLV; corr_id and timeout are not used. What req points to is copied.
 * E_ARG, E_NOMEM, E_CLOSED, E_TOO_LARGE, E_ENCODE, E_KEY. */
simplex_rc sx_via_send(struct sx_via *v, const struct sx_request *req) SIMPLEX_CHECK;
/* Requests are dropped, their answers when they come. NULL is fine. */
void sx_via_close(struct sx_via *v);

#endif
