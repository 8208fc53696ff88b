/* SPDX-License-Identifier: Apache-2.0 */
#include "store/notice.h"

#include "store/db.h"

static simplex_bytes name(const char *server)
{
    return sx_bytes((const uint8_t *)server, strlen(server));
}

simplex_rc sx_store_notice_put(struct sx_store *s, const char *server, simplex_bytes rcv_id,
                               const struct sx_notice *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTICE_PUT);
    sx_q_put_blob(&q, name(server));
    sx_q_put_blob(&q, rcv_id);
    sx_q_put_i64(&q, n->has_ttl);
    sx_q_put_i64(&q, n->ttl);
    sx_q_put_i64(&q, n->at);
    return sx_q_run(&q);
}

simplex_rc sx_store_notice_delete(struct sx_store *s, const char *server, simplex_bytes rcv_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOTICE_DELETE);
    sx_q_put_blob(&q, name(server));
    sx_q_put_blob(&q, rcv_id);
    return sx_q_run(&q);
}

simplex_rc sx_store_notices_next(struct sx_store *s, struct sx_notices *n)
{
    struct sx_q q;
    simplex_bytes server;

    sx_q_start(&q, s, SQL_NOTICES_NEXT);
    sx_q_put_blob(&q, name(n->server));
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    memset(n, 0, sizeof *n);
    server = sx_q_blob(&q);
    n->at = sx_q_i64(&q);
    n->ttl = sx_q_i64(&q);
    n->endless = !sx_q_bool(&q); /* the least of the flags */
    q.bad = q.bad || server.len == 0 || server.len >= sizeof n->server;
    if (!q.bad)
        memcpy(n->server, server.ptr, server.len);
    return sx_q_done(&q);
}
