/* SPDX-License-Identifier: Apache-2.0 */
/* Queues that loops of noise go through (lib/agent/noise_loop.c). */
#include "store/db.h"

#define SERVER_MAX (2 + SX_HOSTS_MAX * (SX_HOST_MAX + 1) + 64)

simplex_rc sx_store_noise_add(struct sx_store *s, struct sx_noise_row *r)
{
    uint8_t server[SERVER_MAX], auth[SX_Q_PAIR], dh[SX_Q_PAIR], snd[SX_Q_PAIR];
    struct sx_wr w;
    struct sx_q q;

    sx_wr_fixed(&w, server, sizeof server);
    sx_server_encode(&w, &r->server);
    if (w.bad)
        return SIMPLEX_E_ENCODE;
    sx_q_start(&q, s, SQL_NOISE_ADD);
    sx_q_put_i64(&q, r->user_id);
    sx_q_put_i64(&q, r->state);
    sx_q_put_blob(&q, sx_wr_bytes(&w));
    sx_q_put_pair(&q, &r->auth, auth);
    sx_q_put_pair(&q, &r->dh, dh);
    sx_q_put_pair(&q, &r->snd_auth, snd);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        r->id = sqlite3_last_insert_rowid(s->db);
    sx_wipe(auth, sizeof auth);
    sx_wipe(dh, sizeof dh);
    sx_wipe(snd, sizeof snd);
    return rc;
}

simplex_rc sx_store_noise_update(struct sx_store *s, const struct sx_noise_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOISE_UPDATE);
    sx_q_put_i64(&q, r->state);
    sx_q_put_some(&q, sx_id_bytes(&r->rcv_id));
    sx_q_put_some(&q, sx_id_bytes(&r->snd_id));
    sx_q_put_i64(&q, r->id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_noise_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_NOISE_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_noise_next(struct sx_store *s, int64_t after, struct sx_noise_row *r)
{
    struct sx_q q;
    struct sx_rd server;

    sx_q_start(&q, s, SQL_NOISE_NEXT);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    memset(r, 0, sizeof *r);
    r->id = sx_q_i64(&q);
    r->user_id = sx_q_i64(&q);
    r->state = (uint8_t)sx_q_uint(&q, SX_NOISE_GOING);
    server = sx_rd_init(sx_q_blob(&q));
    sx_server_decode(&server, &r->server);
    sx_q_id(&q, &r->rcv_id);
    sx_q_id(&q, &r->snd_id);
    sx_q_pair(&q, &r->auth);
    sx_q_pair(&q, &r->dh);
    sx_q_pair(&q, &r->snd_auth);
    q.bad = q.bad || !sx_rd_done(&server) || r->state < SX_NOISE_NEW ||
            ((r->state == SX_NOISE_MADE || r->state == SX_NOISE_READY) &&
             (r->rcv_id.len == 0 || r->snd_id.len == 0));
    rc = sx_q_done(&q);
    if (rc != SIMPLEX_OK)
        sx_wipe(r, sizeof *r);
    return rc;
}
