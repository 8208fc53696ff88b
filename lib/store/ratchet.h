/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of ratchets and their keys. */
#ifndef SX_STORE_RATCHET_H
#define SX_STORE_RATCHET_H

#include "store/database.h"

/* With all skipped keys. E_NOT_FOUND. Free with sx_ratchet_wipe. */
simplex_rc sx_store_ratchet_get(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
    SIMPLEX_CHECK;
/* Without the skipped keys: for sending, to be put back with an empty diff. */
simplex_rc sx_store_ratchet_get_snd(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
    SIMPLEX_CHECK;
/* Insert or replace the state; diff NULL: skipped keys are all replaced by r's. Of the skipped keys
 * of a connection the newest SX_SKIPPED_STORED_MAX are kept. */
#define SX_SKIPPED_STORED_MAX (4 * SX_RATCHET_MAX_SKIP)
simplex_rc sx_store_ratchet_put(struct sx_store *s, int64_t conn_id, const struct sx_ratchet *r,
                                const struct sx_skipped_diff *diff) SIMPLEX_CHECK;
/* E_NOT_FOUND: there was none. */
simplex_rc sx_store_ratchet_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;
/* X3DH private keys of a link not answered yet, or of a synchronisation that was started. */
simplex_rc sx_store_x3dh_put(struct sx_store *s, int64_t conn_id, const struct sx_x3dh_keys *k)
    SIMPLEX_CHECK;
simplex_rc sx_store_x3dh_get(struct sx_store *s, int64_t conn_id, struct sx_x3dh_keys *k)
    SIMPLEX_CHECK;
simplex_rc sx_store_x3dh_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;
/* Hashes of the peer's keys for a new ratchet, which count once. Those of before `before` (ms) are
 * forgotten with each _add. */
simplex_rc sx_store_key_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t now, int64_t before) SIMPLEX_CHECK;
simplex_rc sx_store_key_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known) SIMPLEX_CHECK;
simplex_rc sx_store_key_hash_count(struct sx_store *s, int64_t conn_id, int64_t since,
                                   int64_t until, int64_t *n) SIMPLEX_CHECK;

#endif
