/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

static const char *const status_words[] = {
    [SX_Q_NEW] = "new",       [SX_Q_CONFIRMED] = "confirmed", [SX_Q_SECURED] = "secured",
    [SX_Q_ACTIVE] = "active", [SX_Q_DISABLED] = "disabled",
};

static const char *status_word(struct sx_q *q, uint8_t status)
{
    if (status < SX_COUNT(status_words) && status_words[status] != NULL)
        return status_words[status];
    q->rc = SIMPLEX_E_ARG;
    return "";
}

/* The first one is for sx_q_word, which never finds it. */
static const char *const switch_words[] = {
    NULL,           "none",          "switch_started",
    "sending_qadd", "sending_quse",  "received_message",
    "sending_qkey", "sending_qtest", "adding_new",
    "adding_ask",   "adding_qadd",   "adding_quse",
    "adding_qkey",  "removing",
};

static void put_switch(struct sx_q *q, uint8_t state, int64_t replaces)
{
    if (state + 1u < SX_COUNT(switch_words))
        sx_q_put_text(q, switch_words[state + 1]);
    else
        q->rc = SIMPLEX_E_ARG;
    sx_q_put_i64(q, replaces);
}

static void get_switch(struct sx_q *q, uint8_t *state, int64_t *replaces)
{
    uint8_t word = sx_q_word(q, switch_words, SX_COUNT(switch_words));

    *state = word > 0 ? (uint8_t)(word - 1) : 0;
    *replaces = sx_q_i64(q);
}

static uint8_t get_mode(struct sx_q *q)
{
    uint8_t mode = (uint8_t)sx_q_uint(q, UINT8_MAX);

    if (mode != SX_MODE_NONE && mode != SX_MODE_MESSAGING && mode != SX_MODE_CONTACT)
        q->bad = true;
    return mode;
}

/* The encoding stays in the scratch buffer until the statement ran. */
static void put_server(struct sx_q *q, const struct sx_server *server)
{
    struct sx_wr *w = &q->s->scratch;
    size_t start = w->len;

    sx_server_encode(w, server);
    if (w->bad)
        q->rc = SIMPLEX_E_ENCODE;
    else
        sx_q_put_blob(q, sx_bytes(w->p + start, w->len - start));
}

/* What finds the queue of a MSG: the key hash is left out (agent.md section 5.2). */
static void put_host(struct sx_q *q, const struct sx_server *server)
{
    struct sx_wr *w = &q->s->scratch;
    size_t start = w->len;

    for (size_t i = 0; i < server->n_hosts && i < SX_HOSTS_MAX; i++) {
        if (i > 0)
            sx_wr_u8(w, ',');
        sx_wr_text(w, server->hosts[i].text);
    }
    sx_wr_u8(w, 0);
    if (w->bad)
        q->rc = SIMPLEX_E_ENCODE;
    else
        sx_q_put_text(q, (const char *)w->p + start);
}

static void get_server(struct sx_q *q, struct sx_server *server)
{
    struct sx_rd r = sx_rd_init(sx_q_blob(q));

    sx_server_decode(&r, server);
    if (!sx_rd_done(&r))
        q->bad = true;
}

/* ---- queues to receive from ---- */

/* In the order of RCVQ in sql.c; keys: room for the encoded ones. */
struct rcv_keys {
    uint8_t auth[SX_Q_PAIR], dh[SX_Q_PAIR], e2e[SX_Q_PAIR], sender[SX_Q_PUB];
};

static void put_rcv(struct sx_q *q, const struct sx_rcv_queue *rq, struct rcv_keys *k)
{
    sx_q_put_i64(q, rq->conn_id);
    put_server(q, &rq->server);
    sx_q_put_some(q, sx_id_bytes(&rq->rcv_id));
    sx_q_put_some(q, sx_id_bytes(&rq->snd_id));
    sx_q_put_pair(q, &rq->auth, k->auth);
    sx_q_put_pair(q, &rq->dh, k->dh);
    sx_q_put_some(q, sx_bytes(rq->srv_secret, rq->has_srv_secret ? 32 : 0));
    sx_q_put_pair(q, &rq->e2e, k->e2e);
    sx_q_put_some(q, sx_bytes(rq->e2e_secret, rq->has_e2e_secret ? 32 : 0));
    sx_q_put_pub(q, &rq->sender_key, k->sender);
    sx_q_put_i64(q, rq->mode);
    sx_q_put_i64(q, rq->client_version);
    sx_q_put_text(q, status_word(q, rq->status));
    sx_q_put_i64(q, rq->primary);
    sx_q_put_i64(q, rq->deleted);
    sx_q_put_i64(q, rq->delete_errors);
    put_switch(q, rq->switch_state, rq->replaces);
    sx_q_put_i64(q, rq->suspended);
    put_host(q, &rq->server);
    sx_q_put_i64(q, sx_server_port(&rq->server));
}

static simplex_rc get_rcv(struct sx_q *q, struct sx_rcv_queue *rq)
{
    simplex_rc rc = sx_q_row(q);

    if (rc != SIMPLEX_OK)
        return rc;
    rq->id = sx_q_i64(q);
    rq->conn_id = sx_q_i64(q);
    get_server(q, &rq->server);
    sx_q_id(q, &rq->rcv_id);
    sx_q_id(q, &rq->snd_id);
    sx_q_pair(q, &rq->auth);
    sx_q_pair(q, &rq->dh);
    rq->has_srv_secret = sx_q_maybe_copy(q, rq->srv_secret, 32);
    sx_q_pair(q, &rq->e2e);
    rq->has_e2e_secret = sx_q_maybe_copy(q, rq->e2e_secret, 32);
    sx_q_pub(q, &rq->sender_key);
    rq->mode = get_mode(q);
    rq->client_version = (uint16_t)sx_q_uint(q, UINT16_MAX);
    rq->status = sx_q_word(q, status_words, SX_COUNT(status_words));
    rq->primary = sx_q_bool(q);
    rq->deleted = sx_q_bool(q);
    rq->delete_errors = sx_q_uint(q, UINT32_MAX);
    get_switch(q, &rq->switch_state, &rq->replaces);
    rq->suspended = sx_q_bool(q);
    if ((rc = sx_q_done(q)) != SIMPLEX_OK)
        sx_wipe(rq, sizeof *rq);
    return rc;
}

simplex_rc sx_store_rcvq_add(struct sx_store *s, struct sx_rcv_queue *rq)
{
    struct rcv_keys keys;
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_ADD);
    put_rcv(&q, rq, &keys);
    simplex_rc rc = sx_q_run(&q);
    sx_wipe(&keys, sizeof keys);
    sx_db_scratch_wipe(s);
    if (rc == SIMPLEX_OK)
        rq->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_rcvq_update(struct sx_store *s, const struct sx_rcv_queue *rq)
{
    struct rcv_keys keys;
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_UPDATE);
    put_rcv(&q, rq, &keys);
    sx_q_put_i64(&q, rq->id);
    simplex_rc rc = sx_q_run_one(&q);
    sx_wipe(&keys, sizeof keys);
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_rcvq_get(struct sx_store *s, int64_t id, struct sx_rcv_queue *rq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_GET);
    sx_q_put_i64(&q, id);
    return get_rcv(&q, rq);
}

simplex_rc sx_store_rcvq_find(struct sx_store *s, const struct sx_server *server,
                              simplex_bytes rcv_id, struct sx_rcv_queue *rq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_FIND);
    sx_q_put_blob(&q, rcv_id);
    sx_q_put_i64(&q, sx_server_port(server));
    put_host(&q, server);
    simplex_rc rc = get_rcv(&q, rq);
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_rcvq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_rcv_queue *rq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_OF);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, nth);
    return get_rcv(&q, rq);
}

simplex_rc sx_store_rcvq_next(struct sx_store *s, int64_t after, struct sx_rcv_queue *rq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_NEXT);
    sx_q_put_i64(&q, after);
    return get_rcv(&q, rq);
}

simplex_rc sx_store_rcvq_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCVQ_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

/* ---- what came through queues of connections with several ---- */

simplex_rc sx_store_counts_get(struct sx_store *s, int64_t rcv_queue_id, struct sx_queue_counts *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COUNTS_GET);
    sx_q_put_i64(&q, rcv_queue_id);
    simplex_rc rc = sx_q_row(&q);
    memset(c, 0, sizeof *c);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    c->last_ext_id = sx_q_i64(&q);
    c->received = sx_q_i64(&q);
    c->missed = sx_q_i64(&q);
    c->missed_told = sx_q_i64(&q);
    c->behind_told = sx_q_bool(&q);
    c->first_ts = sx_q_i64(&q);
    c->last_ts = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_counts_put(struct sx_store *s, int64_t rcv_queue_id,
                               const struct sx_queue_counts *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COUNTS_PUT);
    sx_q_put_i64(&q, rcv_queue_id);
    sx_q_put_i64(&q, c->last_ext_id);
    sx_q_put_i64(&q, c->received);
    sx_q_put_i64(&q, c->missed);
    sx_q_put_i64(&q, c->missed_told);
    sx_q_put_i64(&q, c->behind_told);
    sx_q_put_i64(&q, c->first_ts);
    sx_q_put_i64(&q, c->last_ts);
    return sx_q_run(&q);
}

/* ---- queues to send to ---- */

struct snd_keys {
    uint8_t auth[SX_Q_PAIR], e2e[SX_Q_PUB];
};

static void put_snd(struct sx_q *q, const struct sx_snd_queue *sq, struct snd_keys *k)
{
    sx_q_put_i64(q, sq->conn_id);
    put_server(q, &sq->server);
    sx_q_put_some(q, sx_id_bytes(&sq->snd_id));
    sx_q_put_pair(q, &sq->auth, k->auth);
    sx_q_put_pub(q, &sq->e2e_pub, k->e2e);
    sx_q_put_blob(q, sx_bytes(sq->e2e_secret, 32));
    sx_q_put_i64(q, sq->mode);
    sx_q_put_i64(q, sq->client_version);
    sx_q_put_text(q, status_word(q, sq->status));
    sx_q_put_i64(q, sq->primary);
    put_switch(q, sq->switch_state, sq->replaces);
}

static simplex_rc get_snd(struct sx_q *q, struct sx_snd_queue *sq)
{
    simplex_rc rc = sx_q_row(q);

    if (rc != SIMPLEX_OK)
        return rc;
    sq->id = sx_q_i64(q);
    sq->conn_id = sx_q_i64(q);
    get_server(q, &sq->server);
    sx_q_id(q, &sq->snd_id);
    sx_q_pair(q, &sq->auth);
    sx_q_pub(q, &sq->e2e_pub);
    sx_q_copy(q, sq->e2e_secret, 32);
    sq->mode = get_mode(q);
    sq->client_version = (uint16_t)sx_q_uint(q, UINT16_MAX);
    sq->status = sx_q_word(q, status_words, SX_COUNT(status_words));
    sq->primary = sx_q_bool(q);
    get_switch(q, &sq->switch_state, &sq->replaces);
    if ((rc = sx_q_done(q)) != SIMPLEX_OK)
        sx_wipe(sq, sizeof *sq);
    return rc;
}

simplex_rc sx_store_sndq_add(struct sx_store *s, struct sx_snd_queue *sq)
{
    struct snd_keys keys;
    struct sx_q q;

    sx_q_start(&q, s, SQL_SNDQ_ADD);
    put_snd(&q, sq, &keys);
    simplex_rc rc = sx_q_run(&q);
    sx_wipe(&keys, sizeof keys);
    sx_db_scratch_wipe(s);
    if (rc == SIMPLEX_OK)
        sq->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_sndq_update(struct sx_store *s, const struct sx_snd_queue *sq)
{
    struct snd_keys keys;
    struct sx_q q;

    sx_q_start(&q, s, SQL_SNDQ_UPDATE);
    put_snd(&q, sq, &keys);
    sx_q_put_i64(&q, sq->id);
    simplex_rc rc = sx_q_run_one(&q);
    sx_wipe(&keys, sizeof keys);
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_sndq_get(struct sx_store *s, int64_t id, struct sx_snd_queue *sq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SNDQ_GET);
    sx_q_put_i64(&q, id);
    return get_snd(&q, sq);
}

simplex_rc sx_store_sndq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_snd_queue *sq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SNDQ_OF);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, nth);
    return get_snd(&q, sq);
}

simplex_rc sx_store_sndq_next(struct sx_store *s, int64_t after, struct sx_snd_queue *sq)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SNDQ_NEXT);
    sx_q_put_i64(&q, after);
    return get_snd(&q, sq);
}

simplex_rc sx_store_sndq_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;
    bool own;
    simplex_rc rc = sx_db_group(s, &own);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_SNDQ_DELETE_MSGS);
    sx_q_put_i64(&q, id);
    rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK) {
        sx_q_start(&q, s, SQL_SNDQ_DELETE);
        sx_q_put_i64(&q, id);
        rc = sx_q_run(&q);
    }
    return sx_db_group_end(s, own, rc);
}
