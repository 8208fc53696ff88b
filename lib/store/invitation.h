/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of requests to a contact address. */
#ifndef SX_STORE_INVITATION_H
#define SX_STORE_INVITATION_H

#include "store/database.h"

struct sx_invitation {
    int64_t id, conn_id;       /* conn_id: of the address */
    bool pending;              /* neither accepted nor rejected */
    int64_t accepted;          /* the connection that was made for it; 0: none */
    simplex_bytes link;        /* pending: text of the requester's link; get: borrowed until the */
    simplex_bytes info;        /* next call on the store */
};
/* E_PROHIBITED: this address has or had the same link. */
simplex_rc sx_store_inv_add(struct sx_store *s, struct sx_invitation *i,
                            int64_t now) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_inv_known(struct sx_store *s, int64_t conn_id, simplex_bytes link,
                              bool *known) SIMPLEX_CHECK;
simplex_rc sx_store_inv_get(struct sx_store *s, int64_t id, struct sx_invitation *i)
    SIMPLEX_CHECK;
/* Accepted by a connection or (0) rejected. The newest so many of an address are remembered. */
#define SX_INV_REMEMBERED 1000
simplex_rc sx_store_inv_close(struct sx_store *s, int64_t id, int64_t accepted) SIMPLEX_CHECK;
simplex_rc sx_store_inv_count(struct sx_store *s, int64_t conn_id, int64_t *n)
    SIMPLEX_CHECK; /* pending ones of the address */
/* Pending ones of all addresses, ascending after `after`. */
simplex_rc sx_store_inv_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;
simplex_rc sx_store_inv_delete_all(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

#endif
