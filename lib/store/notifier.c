/* SPDX-License-Identifier: Apache-2.0 */
#include "store/notifier.h"

#include "store/db.h"

simplex_rc sx_store_notifier_put(struct sx_store *s, const struct sx_notifier *n)
{
    uint8_t auth[SX_Q_PAIR], dh[SX_Q_PAIR];
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_PUT);
    sx_q_put_i64(&q, n->queue_id);
    sx_q_put_i64(&q, n->state);
    sx_q_put_pair(&q, &n->auth, auth);
    sx_q_put_pair(&q, &n->dh, dh);
    sx_q_put_some(&q, sx_id_bytes(&n->ntf_id));
    sx_q_put_some(&q, sx_bytes(n->secret, n->has_secret ? sizeof n->secret : 0));
    sx_q_put_some(&q, sx_id_bytes(&n->last_id));
    sx_q_put_i64(&q, n->last_ts);
    simplex_rc rc = sx_q_run(&q);
    sx_wipe(auth, sizeof auth);
    sx_wipe(dh, sizeof dh);
    return rc;
}

static simplex_rc get(struct sx_q *q, struct sx_notifier *n)
{
    simplex_rc rc = sx_q_row(q);

    if (rc != SIMPLEX_OK)
        return rc;
    n->queue_id = sx_q_i64(q);
    n->state = (uint8_t)sx_q_uint(q, SX_NTF_DROPPED);
    sx_q_pair(q, &n->auth);
    sx_q_pair(q, &n->dh);
    sx_q_id(q, &n->ntf_id);
    n->has_secret = sx_q_maybe_copy(q, n->secret, sizeof n->secret);
    sx_q_id(q, &n->last_id);
    n->last_ts = sx_q_i64(q);
    if (n->auth.pub.alg != SX_ED25519 || (n->dh.pub.alg != SX_X25519 && !n->has_secret))
        q->bad = true;
    if ((rc = sx_q_done(q)) != SIMPLEX_OK)
        sx_wipe(n, sizeof *n);
    return rc;
}

simplex_rc sx_store_notifier_get(struct sx_store *s, int64_t queue_id, struct sx_notifier *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_GET);
    sx_q_put_i64(&q, queue_id);
    return get(&q, n);
}

simplex_rc sx_store_notifier_find(struct sx_store *s, simplex_bytes ntf_id, int64_t after,
                                  struct sx_notifier *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_FIND);
    sx_q_put_blob(&q, ntf_id);
    sx_q_put_i64(&q, after);
    return get(&q, n);
}

simplex_rc sx_store_notifier_queues(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_QUEUES);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}

simplex_rc sx_store_notifier_seen(struct sx_store *s, int64_t queue_id, simplex_bytes msg_id,
                                  int64_t ts)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_SEEN);
    sx_q_put_some(&q, msg_id);
    sx_q_put_i64(&q, ts);
    sx_q_put_i64(&q, queue_id);
    return sx_q_run(&q);
}

simplex_rc sx_store_notifier_delete(struct sx_store *s, int64_t queue_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTIFIER_DELETE);
    sx_q_put_i64(&q, queue_id);
    return sx_q_run(&q);
}
