/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of messages sent, for as long as the peer may send a receipt. */
#ifndef SX_STORE_SENT_H
#define SX_STORE_SENT_H

#include "store/database.h"

struct sx_sent {
    int64_t conn_id;
    int64_t snd_id;       /* external id: what a receipt names */
    int64_t id;           /* internal id */
    uint8_t status;       /* enum of simplex/agent.h; 0: no receipt yet */
    int64_t created_at;   /* ms */
    uint8_t hash[32];     /* SHA-256 of the plaintext */
};
simplex_rc sx_store_sent_add(struct sx_store *s, const struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_get(struct sx_store *s, int64_t conn_id, int64_t snd_id,
                             struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_status(struct sx_store *s, const struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_delete(struct sx_store *s, int64_t conn_id, int64_t snd_id) SIMPLEX_CHECK;

#endif
