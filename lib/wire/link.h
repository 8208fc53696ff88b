/* SPDX-License-Identifier: Apache-2.0 */
/* Connection links, full and short, and link data (protocol/agent.md section 5). */
#ifndef SX_WIRE_LINK_H
#define SX_WIRE_LINK_H

#include "wire/agent_msg.h"

#define SX_LINK_QUEUES_MAX 8
#define SX_LINK_TEXT_MAX 20000 /* characters of a link that is worth parsing */

enum sx_link_kind { SX_LINK_INVITATION = 'I', SX_LINK_CONTACT = 'C' };

/* A full link: ConnectionRequest. Owned: free with sx_link_free. */
struct sx_link {
    uint8_t kind;
    struct sx_range agent_v;
    struct sx_queue_addr *queues; /* at least one */
    size_t n_queues;
    bool has_data;
    struct sx_wr data;            /* application text, UTF-8 */
    struct sx_e2e_params e2e;     /* INVITATION only; kem.pk points into kem_pk */
    struct sx_wr kem_pk;
};
void sx_link_free(struct sx_link *l);
/* Copies pk (SX_KEM_PK bytes) and proposes it in l->e2e; an empty pk removes the proposal. */
simplex_rc sx_link_set_kem(struct sx_link *l, simplex_bytes pk) SIMPLEX_CHECK;
/* Copies the application text; what is not UTF-8 becomes '?'. */
simplex_rc sx_link_set_data(struct sx_link *l, simplex_bytes text) SIMPLEX_CHECK;
/* Text in either scheme, as pasted: surrounding white space is ignored. E_LINK, E_NOMEM. */
simplex_rc sx_link_parse(simplex_bytes text, struct sx_link *l) SIMPLEX_CHECK;
/* scheme: "simplex:" or "https://host" */
void sx_link_print(struct sx_wr *w, const struct sx_link *l, const char *scheme);
/* Binary ConnectionRequest, as inside link data. */
void sx_link_encode(struct sx_wr *w, const struct sx_link *l);
simplex_rc sx_link_decode(simplex_bytes in, struct sx_link *l) SIMPLEX_CHECK;
/* The same off a cursor, for a request with more behind it: E_DECODE (r is bad), E_NOMEM. */
simplex_rc sx_link_read(struct sx_rd *r, struct sx_link *l) SIMPLEX_CHECK;

/* Short links, their data and the verification of it: wire/short_link.h. */

#endif
