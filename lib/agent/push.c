/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a push says: the server's word to the notifier that a message waits, encrypted for the
 * recipient (smp.md section 7). Reads only, so that an extension can do it with a database that is
 * open for reading.
 */
#include "agent/push.h"

simplex_rc sx_push_open(const uint8_t secret[32], simplex_bytes nonce, simplex_bytes meta,
                        struct sx_push *out)
{
    uint8_t box[SX_NMSG_PADDED + SX_BOX_TAG];
    struct sx_box_key key;
    struct sx_ntf_meta m;
    simplex_bytes plain;
    simplex_rc rc;

    memset(out, 0, sizeof *out);
    if (nonce.len != SX_NONCE_LEN || meta.len != sizeof box)
        return SIMPLEX_E_DECODE;
    memcpy(box, meta.ptr, sizeof box);
    sx_box_key_init(&key, secret);
    rc = sx_box_open_padded(&key, nonce.ptr, box, sizeof box, &plain);
    sx_wipe(&key, sizeof key);
    if (rc == SIMPLEX_OK)
        rc = sx_ntf_meta_decode(plain, &m);
    if (rc == SIMPLEX_OK) {
        out->msg_id.len = (uint8_t)m.msg_id.len; /* behind a length byte */
        memcpy(out->msg_id.b, m.msg_id.ptr, m.msg_id.len);
        out->ts = m.ts_s >= 0 && m.ts_s <= INT64_MAX / 1000 ? m.ts_s * 1000 : 0;
    }
    sx_wipe(box, sizeof box);
    return rc;
}

struct args {
    simplex_bytes notifier, nonce, meta;
    simplex_push *out;
};

/* Several queues can have the same id when their servers wanted that: the secret decides. */
static simplex_rc find(struct simplex_agent *a, const struct args *x, struct sx_notifier *n,
                       struct sx_push *push)
{
    simplex_rc opened = SIMPLEX_E_NOT_FOUND;

    for (int64_t after = 0;; after = n->queue_id) {
        simplex_rc rc = sx_store_notifier_find(a->store, x->notifier, after, n);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? opened : rc;
        opened =
            n->has_secret ? sx_push_open(n->secret, x->nonce, x->meta, push) : SIMPLEX_E_NOT_FOUND;
        if (opened == SIMPLEX_OK)
            return SIMPLEX_OK;
    }
}

/* A queue delivers in the order of its server's clock. */
static bool was_received(const struct sx_notifier *n, const struct sx_push *push)
{
    return push->ts < n->last_ts || (n->last_id.len > 0 && sx_bytes_eq(sx_id_bytes(&n->last_id),
                                                                       sx_id_bytes(&push->msg_id)));
}

static simplex_rc describe(struct simplex_agent *a, const struct sx_notifier *n,
                           const struct sx_push *push, simplex_push *out)
{
    struct sx_rcv_msg_row m;
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, n->queue_id, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    out->conn = q.conn_id;
    out->server_time = push->ts;
    out->msg_id_len = push->msg_id.len;
    memcpy(out->msg_id, push->msg_id.b, push->msg_id.len);
    out->received = was_received(n, push);
    sx_wipe(&q, sizeof q);
    rc = sx_store_rcv_msg_find(a->store, out->conn, n->queue_id, sx_id_bytes(&push->msg_id), &m);
    if (rc == SIMPLEX_OK) { /* waits for the application's acknowledgement */
        out->received = true;
        out->waiting = m.id;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc do_open(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_notifier n;
    struct sx_push push;
    simplex_rc rc;

    memset(&n, 0, sizeof n);
    rc = find(a, x, &n, &push);
    if (rc == SIMPLEX_OK)
        rc = describe(a, &n, &push, x->out);
    sx_wipe(&n, sizeof n);
    return rc;
}

simplex_rc simplex_agent_open_push(simplex_agent *a, simplex_bytes notifier, simplex_bytes nonce,
                                   simplex_bytes meta, simplex_push *out)
{
    struct args x = { notifier, nonce, meta, out };

    if (a == NULL || out == NULL || out->size < sizeof *out || notifier.ptr == NULL ||
        notifier.len == 0 || nonce.ptr == NULL || meta.ptr == NULL)
        return SIMPLEX_E_ARG;
    size_t size = out->size;
    memset(out, 0, sizeof *out);
    out->size = size;
    return sx_agent_run(a, do_open, &x, false);
}
