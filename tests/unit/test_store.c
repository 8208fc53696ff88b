/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the store: what goes in comes out, in order, and goes with its connection. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store_util.h"

static int with_store(void **state)
{
    static struct sx_store *s;
    void *t;

    if (tmp_setup(&t) != 0)
        return -1;
    s = tmp_open(t);
    void **both = calloc(2, sizeof *both);
    both[0] = s;
    both[1] = t;
    *state = both;
    return 0;
}

static int without_store(void **state)
{
    void **both = *state;

    sx_store_close(both[0]);
    int rc = tmp_teardown(&both[1]);
    free(both);
    return rc;
}

static struct sx_store *store_of(void **state)
{
    return ((struct sx_store **)*state)[0];
}

/* ---- connections ---- */

static void assert_conn_equal(const struct sx_conn *a, const struct sx_conn *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->role, b->role);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->agent_version, b->agent_version);
    assert_int_equal(a->pq_support, b->pq_support);
    assert_int_equal(a->deleted, b->deleted);
    assert_int_equal(a->subscribe, b->subscribe);
    assert_int_equal(a->last_id, b->last_id);
    assert_int_equal(a->last_snd_id, b->last_snd_id);
    assert_int_equal(a->last_rcv_ext_id, b->last_rcv_ext_id);
    assert_int_equal(a->received, b->received);
    assert_int_equal(a->has_snd_hash, b->has_snd_hash);
    assert_int_equal(a->has_rcv_hash, b->has_rcv_hash);
    assert_memory_equal(a->last_snd_hash, b->last_snd_hash, 32);
    assert_memory_equal(a->last_rcv_hash, b->last_rcv_hash, 32);
    assert_int_equal(a->created_at, b->created_at);
    assert_int_equal(a->sync_state, b->sync_state);
    assert_int_equal(a->rcv_queues, b->rcv_queues);
    assert_int_equal(a->peer_several, b->peer_several);
    assert_int_equal(a->rcv_others, b->rcv_others);
    assert_int_equal(a->gap_first, b->gap_first);
    assert_int_equal(a->gap_last, b->gap_last);
}

static void connections_come_back_as_stored_and_updated(void **state)
{
    struct sx_store *s = store_of(state);
    struct sx_conn c = make_conn(), got;

    ok(sx_store_conn_add(s, &c));
    assert_true(c.id > 0);
    ok(sx_store_conn_get(s, c.id, &got));
    assert_conn_equal(&got, &c);
    for (uint8_t st = SX_CONN_NEW; st <= SX_CONN_READY; st++) {
        c.state = st;
        c.role = st % 2 ? SX_JOINER : SX_INITIATOR;
        c.has_snd_hash = false;
        memset(c.last_snd_hash, 0, 32);
        c.has_rcv_hash = true;
        memset(c.last_rcv_hash, st, 32);
        c.deleted = !c.deleted;
        c.last_id = INT64_MAX - st;
        c.agent_version = 0xffff;
        c.rcv_others = st;
        c.gap_first = INT64_MIN + st;
        c.gap_last = INT64_MAX - st;
        ok(sx_store_conn_update(s, &c));
        ok(sx_store_conn_get(s, c.id, &got));
        assert_conn_equal(&got, &c);
    }
    assert_int_equal(sx_store_conn_get(s, c.id + 1, &got), SIMPLEX_E_NOT_FOUND);
    c.id++;
    assert_int_equal(sx_store_conn_update(s, &c), SIMPLEX_E_NOT_FOUND);
    c.state = 99;
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_ARG);
    c.state = 0;
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_ARG);
}

static void ids_of_connections_are_listed_and_never_reused(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t id[5], got[3];
    size_t n = 3;

    for (size_t i = 0; i < 5; i++)
        id[i] = add_conn(s);
    ok(sx_store_conn_list(s, 0, got, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(got, id, sizeof got);
    ok(sx_store_conn_list(s, id[2], got, &n));
    assert_int_equal(n, 2);
    assert_memory_equal(got, id + 3, 2 * sizeof got[0]);
    n = 3;
    ok(sx_store_conn_list(s, id[4], got, &n));
    assert_int_equal(n, 0);
    ok(sx_store_conn_delete(s, id[4]));
    ok(sx_store_conn_delete(s, id[4])); /* is gone: nothing to do */
    assert_true(add_conn(s) > id[4]);
}

/* ---- queues ---- */

static void assert_pair_equal(const struct sx_keypair *a, const struct sx_keypair *b)
{
    assert_true(sx_pub_eq(&a->pub, &b->pub));
    assert_int_equal(a->priv.alg, b->priv.alg);
    assert_memory_equal(a->priv.b, b->priv.b, sx_key_len(a->priv.alg));
}

static void assert_rcvq_equal(const struct sx_rcv_queue *a, const struct sx_rcv_queue *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->conn_id, b->conn_id);
    assert_true(sx_server_eq(&a->server, &b->server));
    assert_true(sx_bytes_eq(sx_id_bytes(&a->rcv_id), sx_id_bytes(&b->rcv_id)));
    assert_true(sx_bytes_eq(sx_id_bytes(&a->snd_id), sx_id_bytes(&b->snd_id)));
    assert_pair_equal(&a->auth, &b->auth);
    assert_pair_equal(&a->dh, &b->dh);
    assert_pair_equal(&a->e2e, &b->e2e);
    assert_int_equal(a->has_srv_secret, b->has_srv_secret);
    assert_int_equal(a->has_e2e_secret, b->has_e2e_secret);
    assert_memory_equal(a->srv_secret, b->srv_secret, 32);
    assert_memory_equal(a->e2e_secret, b->e2e_secret, 32);
    assert_true(sx_pub_eq(&a->sender_key, &b->sender_key));
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->client_version, b->client_version);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->primary, b->primary);
    assert_int_equal(a->deleted, b->deleted);
    assert_int_equal(a->delete_errors, b->delete_errors);
}

static void receiving_queues_come_back_as_stored_and_updated(void **state)
{
    struct sx_store *s = store_of(state);
    struct sx_rcv_queue q = make_rcvq(add_conn(s), 1), got;

    ok(sx_store_rcvq_add(s, &q));
    ok(sx_store_rcvq_get(s, q.id, &got));
    assert_rcvq_equal(&got, &q);
    for (uint8_t status = SX_Q_NEW; status <= SX_Q_DISABLED; status++) {
        q.status = status;
        q.rcv_id.len = (uint8_t)(255 - status);
        q.sender_key = status % 2 ? q.auth.pub : (struct sx_pub){ 0 };
        q.has_e2e_secret = true;
        q.e2e_secret[0] = status;
        q.primary = status % 2;
        q.deleted = !q.primary;
        q.mode = status % 2 ? SX_MODE_NONE : SX_MODE_CONTACT;
        q.server = make_server(status % 2 ? "[2001:db8::1]:5223" : "10.0.0.1");
        ok(sx_store_rcvq_update(s, &q));
        ok(sx_store_rcvq_get(s, q.id, &got));
        assert_rcvq_equal(&got, &q);
    }
    q.status = 0;
    assert_int_equal(sx_store_rcvq_update(s, &q), SIMPLEX_E_ARG);
    q.status = SX_Q_NEW;
    q.id += 9;
    assert_int_equal(sx_store_rcvq_update(s, &q), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_rcvq_get(s, q.id, &got), SIMPLEX_E_NOT_FOUND);
    q.conn_id += 9;
    q.rcv_id.b[0]++;
    assert_int_equal(sx_store_rcvq_add(s, &q), SIMPLEX_E_NOT_FOUND);
}

static void a_receiving_queue_is_found_by_address_without_key_hash(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_rcv_queue q = make_rcvq(conn, 1), other = make_rcvq(conn, 2), got;
    struct sx_rcv_queue waiting = make_rcvq(conn, 0), waiting2 = make_rcvq(conn, 0);

    waiting.rcv_id.len = waiting2.rcv_id.len = 0; /* IDS is due: any number of them */
    ok(sx_store_rcvq_add(s, &waiting));
    ok(sx_store_rcvq_add(s, &waiting2));
    ok(sx_store_rcvq_add(s, &q));
    ok(sx_store_rcvq_add(s, &other));
    struct sx_server server = q.server;
    memset(server.key_hash, 0, 32);
    ok(sx_store_rcvq_find(s, &server, sx_id_bytes(&other.rcv_id), &got));
    assert_rcvq_equal(&got, &other);
    assert_int_equal(sx_store_rcvq_find(s, &server, sx_bytes("xyz", 3), &got), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_rcvq_find(s, &server, sx_bytes("", 0), &got), SIMPLEX_E_NOT_FOUND);
    server = make_server("a.example,b.onion:7002");
    assert_int_equal(sx_store_rcvq_find(s, &server, sx_id_bytes(&q.rcv_id), &got),
                     SIMPLEX_E_NOT_FOUND);
    server = make_server("a.example:7001");
    assert_int_equal(sx_store_rcvq_find(s, &server, sx_id_bytes(&q.rcv_id), &got),
                     SIMPLEX_E_NOT_FOUND);
    struct sx_rcv_queue twice = q;
    assert_int_equal(sx_store_rcvq_add(s, &twice), SIMPLEX_E_PROHIBITED);
}

static void queues_of_a_connection_come_primary_first(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), stranger = add_conn(s);
    struct sx_rcv_queue q[3], got, foreign = make_rcvq(stranger, 9);
    struct sx_snd_queue sq[2], sgot;

    ok(sx_store_rcvq_add(s, &foreign));
    for (uint8_t i = 0; i < 3; i++) {
        q[i] = make_rcvq(conn, i);
        q[i].primary = i == 1;
        ok(sx_store_rcvq_add(s, &q[i]));
    }
    static const int expected[] = { 1, 0, 2 };
    for (unsigned i = 0; i < 3; i++) {
        ok(sx_store_rcvq_of(s, conn, i, &got));
        assert_rcvq_equal(&got, &q[expected[i]]);
    }
    assert_int_equal(sx_store_rcvq_of(s, conn, 3, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_rcvq_next(s, 0, &got));
    assert_int_equal(got.id, foreign.id);
    ok(sx_store_rcvq_next(s, got.id, &got));
    assert_int_equal(got.id, q[0].id);
    assert_int_equal(sx_store_rcvq_next(s, q[2].id, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_rcvq_delete(s, q[0].id));
    assert_int_equal(sx_store_rcvq_get(s, q[0].id, &got), SIMPLEX_E_NOT_FOUND);

    for (unsigned i = 0; i < 2; i++) {
        sq[i] = make_sndq(conn);
        sq[i].primary = i == 1;
        ok(sx_store_sndq_add(s, &sq[i]));
    }
    ok(sx_store_sndq_of(s, conn, 0, &sgot));
    assert_int_equal(sgot.id, sq[1].id);
    ok(sx_store_sndq_of(s, conn, 1, &sgot));
    assert_int_equal(sgot.id, sq[0].id);
    assert_int_equal(sx_store_sndq_of(s, conn, 2, &sgot), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_sndq_next(s, sq[0].id, &sgot));
    assert_int_equal(sgot.id, sq[1].id);
    assert_int_equal(sx_store_sndq_next(s, sq[1].id, &sgot), SIMPLEX_E_NOT_FOUND);
}

static void the_rotation_of_a_queue_comes_back_as_stored(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_rcv_queue q = make_rcvq(conn, 1), got;
    struct sx_snd_queue sq = make_sndq(conn), sgot;

    ok(sx_store_rcvq_add(s, &q));
    ok(sx_store_sndq_add(s, &sq));
    for (uint8_t at = SX_SW_NONE; at <= SX_SW_REMOVE; at++) {
        q.switch_state = sq.switch_state = at;
        q.replaces = sq.replaces = at == SX_SW_NONE ? 0 : 77;
        ok(sx_store_rcvq_update(s, &q));
        ok(sx_store_sndq_update(s, &sq));
        ok(sx_store_rcvq_get(s, q.id, &got));
        ok(sx_store_sndq_get(s, sq.id, &sgot));
        assert_int_equal(got.switch_state, at);
        assert_int_equal(sgot.switch_state, at);
        assert_int_equal(got.replaces, q.replaces);
        assert_int_equal(sgot.replaces, q.replaces);
    }
    q.switch_state = sq.switch_state = SX_SW_REMOVE + 1;
    assert_int_equal(sx_store_rcvq_update(s, &q), SIMPLEX_E_ARG);
    assert_int_equal(sx_store_sndq_update(s, &sq), SIMPLEX_E_ARG);
    ok(sx_store_exec(s, "UPDATE rcv_queues SET switch_status = 'x'"));
    ok(sx_store_exec(s, "UPDATE snd_queues SET switch_status = 'x'"));
    assert_int_equal(sx_store_rcvq_get(s, q.id, &got), SIMPLEX_E_DB_DAMAGED);
    assert_int_equal(sx_store_sndq_get(s, sq.id, &sgot), SIMPLEX_E_DB_DAMAGED);
}

static void sending_queues_come_back_as_stored_and_updated(void **state)
{
    struct sx_store *s = store_of(state);
    struct sx_snd_queue q = make_sndq(add_conn(s)), got;

    ok(sx_store_sndq_add(s, &q));
    for (int round = 0; round < 2; round++) {
        ok(sx_store_sndq_get(s, q.id, &got));
        assert_int_equal(got.conn_id, q.conn_id);
        assert_true(sx_server_eq(&got.server, &q.server));
        assert_true(sx_bytes_eq(sx_id_bytes(&got.snd_id), sx_id_bytes(&q.snd_id)));
        assert_pair_equal(&got.auth, &q.auth);
        assert_true(sx_pub_eq(&got.e2e_pub, &q.e2e_pub));
        assert_memory_equal(got.e2e_secret, q.e2e_secret, 32);
        assert_int_equal(got.mode, q.mode);
        assert_int_equal(got.client_version, q.client_version);
        assert_int_equal(got.status, q.status);
        assert_int_equal(got.primary, q.primary);
        q.status = SX_Q_ACTIVE;
        q.primary = true;
        q.mode = SX_MODE_NONE;
        q.e2e_secret[3] = 1;
        q.server = make_server("d.example,e.example:443");
        ok(sx_store_sndq_update(s, &q));
    }
    q.id++;
    assert_int_equal(sx_store_sndq_update(s, &q), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_sndq_get(s, q.id, &got), SIMPLEX_E_NOT_FOUND);
}

/* ---- ratchets ---- */

static void assert_ratchet_in_store(struct sx_store *s, int64_t conn, const struct sx_ratchet *r)
{
    struct sx_ratchet got;
    uint8_t a[16384], b[16384];
    struct sx_wr wa, wb;

    ok(sx_store_ratchet_get(s, conn, &got));
    sx_wr_fixed(&wa, a, sizeof a);
    sx_wr_fixed(&wb, b, sizeof b);
    sx_ratchet_encode(&wa, r);
    sx_ratchet_encode(&wb, &got);
    assert_false(wa.bad);
    assert_true(sx_bytes_eq(sx_wr_bytes(&wa), sx_wr_bytes(&wb)));
    assert_int_equal(got.n_skipped, r->n_skipped);
    for (size_t i = 0; i < got.n_skipped; i++) {
        assert_int_equal(got.skipped[i].n, r->skipped[i].n);
        assert_memory_equal(got.skipped[i].hk, r->skipped[i].hk, 32);
        assert_memory_equal(got.skipped[i].mk, r->skipped[i].mk, 32);
        assert_memory_equal(got.skipped[i].iv, r->skipped[i].iv, 16);
    }
    sx_ratchet_wipe(&got);
}

static void add_key(struct sx_ratchet *r, uint8_t hk, uint32_t n)
{
    struct sx_skipped k = make_skipped(hk, n);

    ok(sx_ratchet_add_skipped(r, &k));
}

static void ratchets_are_stored_with_what_changed_in_skipped_keys(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s);
    struct sx_ratchet r = make_ratchet(), none;
    struct sx_skipped_diff diff = { 0 };

    assert_int_equal(sx_store_ratchet_get(s, conn, &none), SIMPLEX_E_NOT_FOUND);
    add_key(&r, 3, UINT32_MAX);
    add_key(&r, 3, 1);
    ok(sx_store_ratchet_put(s, conn, &r, NULL));
    ok(sx_store_ratchet_put(s, other, &r, NULL));
    assert_ratchet_in_store(s, conn, &r);

    add_key(&r, 1, 7);
    add_key(&r, 1, 8);
    r.nr = 77;
    diff.added = 2;
    ok(sx_store_ratchet_put(s, conn, &r, &diff));
    assert_ratchet_in_store(s, conn, &r);

    diff = (struct sx_skipped_diff){ .removed = true, .gone = r.skipped[0] };
    memmove(r.skipped, r.skipped + 1, (--r.n_skipped) * sizeof *r.skipped);
    ok(sx_store_ratchet_put(s, conn, &r, &diff));
    assert_ratchet_in_store(s, conn, &r);

    ok(sx_store_ratchet_get_snd(s, conn, &none));
    assert_int_equal(none.nr, 77);
    assert_int_equal(none.n_skipped, 0);
    none.nr = r.nr = 78;
    ok(sx_store_ratchet_put(s, conn, &none, &(struct sx_skipped_diff){ 0 }));
    sx_ratchet_wipe(&none);
    assert_ratchet_in_store(s, conn, &r); /* the skipped keys stayed */

    r.n_skipped = 1;
    ok(sx_store_ratchet_put(s, conn, &r, NULL)); /* replaced by what r has */
    assert_ratchet_in_store(s, conn, &r);
    diff.added = 2;
    assert_int_equal(sx_store_ratchet_put(s, conn, &r, &diff), SIMPLEX_E_ARG);
    assert_int_equal(sx_store_ratchet_put(s, 99, &r, NULL), SIMPLEX_E_NOT_FOUND);

    ok(sx_store_ratchet_get(s, other, &none));
    assert_int_equal(none.n_skipped, 2); /* the other connection's are untouched */
    sx_ratchet_wipe(&none);
    sx_ratchet_wipe(&r);
}

static void x3dh_keys_wait_for_the_answer(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_x3dh_keys k, got;

    for (int round = 0; round < 2; round++) {
        ok(sx_x3dh_keys_new(round == 1 && sx_kem_available(), &k));
        ok(sx_store_x3dh_put(s, conn, &k));
        ok(sx_store_x3dh_get(s, conn, &got));
        assert_pair_equal(&got.k1, &k.k1);
        assert_pair_equal(&got.k2, &k.k2);
        assert_int_equal(got.has_kem, k.has_kem);
        if (k.has_kem)
            assert_memory_equal(&got.kem, &k.kem, sizeof k.kem);
    }
    ok(sx_store_x3dh_delete(s, conn));
    assert_int_equal(sx_store_x3dh_get(s, conn, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_x3dh_delete(s, conn));
    sx_x3dh_keys_wipe(&k);
}

/* ---- messages to send ---- */

static uint8_t body[16000];

static struct sx_snd_msg make_snd(int64_t conn, int64_t id)
{
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7);
    return (struct sx_snd_msg){ .conn_id = conn,
                                .id = id,
                                .snd_id = id - 1,
                                .type = SX_M_MSG,
                                .notify = true,
                                .padded = 65535,
                                .plain = { body, sizeof body - (size_t)id },
                                .key = { body, 300 },
                                .e2e = { body, id % 2 ? 0 : 30 },
                                .created_at = 123456789012,
                                .retry_delay = 0 };
}

static void assert_snd_equal(const struct sx_snd_msg *a, const struct sx_snd_msg *b)
{
    assert_int_equal(a->conn_id, b->conn_id);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->snd_id, b->snd_id);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->notify, b->notify);
    assert_int_equal(a->padded, b->padded);
    assert_true(sx_bytes_eq(a->plain, b->plain));
    assert_true(sx_bytes_eq(a->key, b->key));
    assert_true(sx_bytes_eq(a->e2e, b->e2e));
    assert_int_equal(a->created_at, b->created_at);
    assert_int_equal(a->retry_delay, b->retry_delay);
    assert_int_equal(a->quota_seen, b->quota_seen);
}

/* Readable only through a message: what is left over is seen as the id that comes next. */
static int64_t next_body(struct sx_store *s)
{
    int64_t id;

    ok(sx_store_snd_body_add(s, sx_str("probe"), &id));
    ok(sx_store_snd_body_trim(s, id));
    return id;
}

static void a_shared_body_goes_with_the_last_message_that_has_it(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s), id;
    struct sx_snd_queue q = make_sndq(conn), q2 = make_sndq(other);
    struct sx_snd_msg m, got;
    bool last;

    ok(sx_store_sndq_add(s, &q));
    ok(sx_store_sndq_add(s, &q2));
    ok(sx_store_snd_body_add(s, sx_str("the same for all"), &id));
    m = make_snd(conn, 10);
    m.body_id = id;
    ok(sx_store_snd_msg_add(s, &m));
    ok(sx_store_delivery_add(s, q.id, conn, 10));
    m = make_snd(other, 10);
    m.body_id = id;
    ok(sx_store_snd_msg_add(s, &m));
    ok(sx_store_delivery_add(s, q2.id, other, 10));
    ok(sx_store_snd_body_trim(s, id)); /* it is needed */
    ok(sx_store_delivery_next(s, q.id, 0, &got));
    assert_true(sx_bytes_eq(got.shared, sx_str("the same for all")));
    ok(sx_store_delivery_done(s, q.id, conn, 10, &last));
    assert_true(next_body(s) > id);
    ok(sx_store_delivery_next(s, q2.id, 0, &got));
    assert_true(sx_bytes_eq(got.shared, sx_str("the same for all")));
    ok(sx_store_conn_delete(s, other));
    assert_int_equal(next_body(s), id); /* it is gone, and so its number is free */
}

static void a_message_whose_body_is_missing_is_damaged(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_snd_queue q = make_sndq(conn);
    struct sx_snd_msg m = make_snd(conn, 10), got;

    ok(sx_store_sndq_add(s, &q));
    m.body_id = 77;
    ok(sx_store_snd_msg_add(s, &m));
    ok(sx_store_delivery_add(s, q.id, conn, 10));
    assert_int_equal(sx_store_delivery_next(s, q.id, 0, &got), SIMPLEX_E_DB_DAMAGED);
}

static void deliveries_come_oldest_first_and_end_with_the_last_queue(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), n = 0;
    struct sx_snd_queue q = make_sndq(conn), q2 = make_sndq(conn);
    struct sx_snd_msg got, m;
    bool last = true;

    ok(sx_store_sndq_add(s, &q));
    ok(sx_store_sndq_add(s, &q2));
    assert_int_equal(sx_store_delivery_next(s, q.id, 0, &got), SIMPLEX_E_NOT_FOUND);
    for (int64_t id = 10; id <= 12; id++) {
        m = make_snd(conn, id);
        ok(sx_store_snd_msg_add(s, &m));
    }
    ok(sx_store_delivery_add(s, q.id, conn, 12));
    ok(sx_store_delivery_add(s, q.id, conn, 10));
    ok(sx_store_delivery_add(s, q.id, conn, 11));
    ok(sx_store_delivery_add(s, q2.id, conn, 10));
    assert_int_equal(sx_store_delivery_add(s, q2.id, conn, 10), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_store_delivery_add(s, q2.id, conn, 99), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_delivery_add(s, 99, conn, 10), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_count(s, conn, &n));
    assert_int_equal(n, 3);
    ok(sx_store_delivery_count(s, conn + 1, &n));
    assert_int_equal(n, 0);

    for (int64_t id = 10; id <= 12; id++) {
        ok(sx_store_delivery_next(s, q.id, id - 1, &got));
        m = make_snd(conn, id);
        assert_snd_equal(&got, &m);
    }
    assert_int_equal(sx_store_delivery_next(s, q.id, 12, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_retry(s, q.id, 10, 6 * 3600 * 1000, true));
    ok(sx_store_delivery_next(s, q.id, 0, &got));
    assert_int_equal(got.retry_delay, 6 * 3600 * 1000);
    assert_true(got.quota_seen);
    ok(sx_store_delivery_next(s, q2.id, 0, &got)); /* each queue has its own */
    assert_int_equal(got.id, 10);
    assert_int_equal(got.retry_delay, 0);
    assert_false(got.quota_seen);
    ok(sx_store_delivery_count_of(s, q.id, &n));
    assert_int_equal(n, 3);
    ok(sx_store_delivery_count_of(s, q2.id, &n));
    assert_int_equal(n, 1);
    assert_int_equal(sx_store_delivery_retry(s, q.id, 99, 1, false), SIMPLEX_E_NOT_FOUND);

    ok(sx_store_delivery_done(s, q.id, conn, 10, &last));
    assert_false(last);
    assert_int_equal(sx_store_delivery_done(s, q.id, conn, 10, &last), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_done(s, q2.id, conn, 10, &last));
    assert_true(last);
    assert_int_equal(sx_store_delivery_retry(s, q.id, 10, 1, false), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_next(s, q.id, 0, &got));
    assert_int_equal(got.id, 11);
    ok(sx_store_delivery_done(s, q.id, conn, 11, NULL));
}

static void delivered_messages_are_kept_for_another_queue(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), n = -1;
    struct sx_snd_queue q = make_sndq(conn), q2 = make_sndq(conn);
    struct sx_snd_msg got;
    bool last;

    ok(sx_store_sndq_add(s, &q));
    ok(sx_store_sndq_add(s, &q2));
    for (int64_t id = 1; id <= 6; id++) {
        struct sx_snd_msg m = make_snd(conn, id);
        ok(sx_store_snd_msg_add(s, &m));
        ok(sx_store_delivery_add(s, q.id, conn, id));
    }
    for (int64_t id = 1; id <= 4; id++) {
        ok(sx_store_msg_sent(s, conn, id));
        ok(sx_store_delivery_move(s, q.id, q2.id, id, 3));
    }
    assert_int_equal(sx_store_delivery_move(s, q.id, q2.id, 1, 3), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_msg_sent(s, conn, 99), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_count(s, conn, &n));
    assert_int_equal(n, 2); /* not sent: 5 and 6 */
    ok(sx_store_delivery_next(s, q2.id, 0, &got));
    assert_int_equal(got.id, 2); /* of four the newest three */
    assert_true(got.sent);
    ok(sx_store_delivery_next(s, q.id, 0, &got));
    assert_int_equal(got.id, 5);
    assert_false(got.sent);
    ok(sx_store_delivery_copy(s, q.id, q2.id));
    ok(sx_store_delivery_copy(s, q.id, q2.id)); /* what is there stays */
    ok(sx_store_delivery_move(s, q.id, q2.id, 5, 3));
    ok(sx_store_delivery_done(s, q2.id, conn, 5, &last));
    assert_true(last);
    ok(sx_store_delivery_done(s, q2.id, conn, 6, &last));
    assert_false(last);
    ok(sx_store_delivery_next(s, q.id, 0, &got));
    assert_int_equal(got.id, 6);
    assert_int_equal(sx_store_delivery_next(s, q.id, 6, &got), SIMPLEX_E_NOT_FOUND);
}

static void a_removed_sending_queue_takes_the_messages_only_it_had(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), n = -1;
    struct sx_snd_queue q = make_sndq(conn), q2 = make_sndq(conn);
    struct sx_snd_msg got;

    ok(sx_store_sndq_add(s, &q));
    ok(sx_store_sndq_add(s, &q2));
    for (int64_t id = 1; id <= 3; id++) { /* 3 waits for a queue */
        struct sx_snd_msg m = make_snd(conn, id);
        ok(sx_store_snd_msg_add(s, &m));
    }
    ok(sx_store_delivery_add(s, q.id, conn, 1));
    ok(sx_store_delivery_add(s, q.id, conn, 2));
    ok(sx_store_delivery_add(s, q2.id, conn, 2));
    ok(sx_store_sndq_delete(s, q.id));
    ok(sx_store_delivery_count(s, conn, &n));
    assert_int_equal(n, 1);
    assert_int_equal(sx_store_delivery_add(s, q2.id, conn, 1), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_delivery_add(s, q2.id, conn, 3));
    ok(sx_store_delivery_next(s, q2.id, 0, &got));
    assert_int_equal(got.id, 2);
}

/* ---- messages received ---- */

static struct sx_rcv_msg_row make_rcv(int64_t conn, int64_t id)
{
    struct sx_rcv_msg_row m = { .conn_id = conn,
                                .id = id,
                                .rcv_queue_id = 4,
                                .ext_id = 20 + id,
                                .srv_ts = 1,
                                .rcv_ts = INT64_MAX,
                                .type = SX_M_MSG,
                                .integrity = 2,
                                .gap_first = 3,
                                .gap_last = 9,
                                .notify = true,
                                .pq = true,
                                .body = { body, 15000 } };

    m.srv_msg_id.len = 24;
    memset(m.srv_msg_id.b, (int)id, 24);
    memset(m.hash, 0xcd, 32);
    return m;
}

static void assert_rcv_equal(const struct sx_rcv_msg_row *a, const struct sx_rcv_msg_row *b)
{
    assert_int_equal(a->conn_id, b->conn_id);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->rcv_queue_id, b->rcv_queue_id);
    assert_int_equal(a->ext_id, b->ext_id);
    assert_true(sx_bytes_eq(sx_id_bytes(&a->srv_msg_id), sx_id_bytes(&b->srv_msg_id)));
    assert_int_equal(a->srv_ts, b->srv_ts);
    assert_int_equal(a->rcv_ts, b->rcv_ts);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->integrity, b->integrity);
    assert_int_equal(a->gap_first, b->gap_first);
    assert_int_equal(a->gap_last, b->gap_last);
    assert_int_equal(a->notify, b->notify);
    assert_int_equal(a->pq, b->pq);
    assert_true(sx_bytes_eq(a->body, b->body));
    assert_memory_equal(a->hash, b->hash, 32);
    assert_int_equal(a->attempts, b->attempts);
}

static void received_messages_stay_until_they_are_deleted(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_rcv_msg_row m = make_rcv(conn, 1), empty = make_rcv(conn, 2), got;

    empty.body.len = 0;
    ok(sx_store_rcv_msg_add(s, &m));
    ok(sx_store_rcv_msg_add(s, &empty));
    assert_int_equal(sx_store_rcv_msg_add(s, &m), SIMPLEX_E_PROHIBITED);
    ok(sx_store_rcv_msg_get(s, conn, 1, &got));
    assert_rcv_equal(&got, &m);
    ok(sx_store_rcv_msg_get(s, conn, 2, &got));
    assert_rcv_equal(&got, &empty);
    ok(sx_store_rcv_msg_attempt(s, conn, 1));
    ok(sx_store_rcv_msg_attempt(s, conn, 1));
    m.attempts = 2;
    bool other;
    ok(sx_store_rcv_msg_other(s, conn, 4, &other));
    assert_false(other);
    ok(sx_store_rcv_msg_other(s, conn, 5, &other));
    assert_true(other);
    ok(sx_store_rcv_msg_find(s, conn, 4, sx_id_bytes(&m.srv_msg_id), &got));
    assert_rcv_equal(&got, &m);
    assert_int_equal(sx_store_rcv_msg_find(s, conn, 5, sx_id_bytes(&m.srv_msg_id), &got),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_rcv_msg_find(s, conn + 1, 4, sx_id_bytes(&m.srv_msg_id), &got),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_rcv_msg_attempt(s, conn, 3), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_rcv_msg_delete(s, conn, 1));
    assert_int_equal(sx_store_rcv_msg_get(s, conn, 1, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_rcv_msg_get(s, conn, 2, &got));
}

static void hashes_are_known_until_they_are_old(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s);
    uint8_t hash[32] = { 0 };
    bool known = true;
    unsigned n = 9;

    ok(sx_store_rcv_hash_known(s, conn, hash, &known, NULL));
    assert_false(known);
    for (uint8_t i = 0; i < 10; i++) {
        hash[0] = i;
        ok(sx_store_rcv_hash_add(s, conn, hash, 1, 1000 + i));
    }
    ok(sx_store_rcv_hash_known(s, conn, hash, &known, NULL));
    assert_true(known);
    ok(sx_store_rcv_hash_known(s, other, hash, &known, NULL));
    assert_false(known);
    ok(sx_store_cleanup(s, 1000, 100, &n));
    assert_int_equal(n, 0);
    ok(sx_store_cleanup(s, 1005, 3, &n));
    assert_int_equal(n, 3);
    ok(sx_store_cleanup(s, 1005, 100, &n));
    assert_int_equal(n, 2);
    ok(sx_store_cleanup(s, 1005, 100, NULL));
    hash[0] = 4;
    ok(sx_store_rcv_hash_known(s, conn, hash, &known, NULL));
    assert_false(known);
    hash[0] = 5;
    ok(sx_store_rcv_hash_known(s, conn, hash, &known, NULL));
    assert_true(known);
}

static void the_age_stands_in_the_database_and_beside_it(void **state)
{
    struct sx_store *s = store_of(state);
    char dir[] = "/tmp/sx-age-XXXXXX", path[64], file[80], part[96];
    struct sx_age a, b;

    ok(sx_store_age_get(s, &a));
    assert_int_equal(a.n, 0);
    ok(sx_store_age_get(s, &b)); /* not kept yet: another id */
    assert_memory_not_equal(a.id, b.id, sizeof a.id);
    a.n = 41;
    ok(sx_store_age_put(s, &b));
    ok(sx_store_age_put(s, &a)); /* one row */
    ok(sx_store_age_get(s, &b));
    assert_memory_equal(a.id, b.id, sizeof a.id);
    assert_int_equal(b.n, 41);

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    (void)snprintf(file, sizeof file, "%s-age", path);
    (void)snprintf(part, sizeof part, "%s.part", file);
    assert_false(sx_age_read(path, &b));
    for (a.n = 0; a.n < 3; a.n++) {
        assert_true(sx_age_write(path, &a));
        memset(&b, 0, sizeof b);
        assert_true(sx_age_read(path, &b));
        assert_memory_equal(a.id, b.id, sizeof a.id);
        assert_int_equal(b.n, a.n);
        assert_int_equal(access(part, F_OK), -1);
    }
    a.n = -1;
    assert_true(sx_age_write(path, &a));
    assert_false(sx_age_read(path, &b));
    assert_int_equal(truncate(file, 23), 0);
    assert_false(sx_age_read(path, &b));
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_false(sx_age_write(path, &a)); /* the folder is gone */
}

static void keys_of_the_peer_are_remembered_for_a_time(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s), n;
    uint8_t hash[32] = { 0 };
    bool known = true;

    ok(sx_store_key_hash_known(s, conn, hash, &known));
    assert_false(known);
    for (uint8_t i = 0; i < 10; i++) {
        hash[31] = i;
        ok(sx_store_key_hash_add(s, conn, hash, 1000 + i, 0));
    }
    assert_int_equal(sx_store_key_hash_add(s, conn, hash, 2000, 0), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_store_key_hash_add(s, 12345, hash, 2000, 0), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_key_hash_known(s, conn, hash, &known));
    assert_true(known);
    ok(sx_store_key_hash_known(s, other, hash, &known));
    assert_false(known);
    ok(sx_store_key_hash_count(s, conn, 1003, 1007, &n));
    assert_int_equal(n, 5);
    ok(sx_store_key_hash_count(s, other, 0, 5000, &n));
    assert_int_equal(n, 0);
    ok(sx_store_key_hash_add(s, other, hash, 1000, 1005)); /* forgets its own only */
    hash[31] = 77;
    ok(sx_store_key_hash_add(s, conn, hash, 2000, 1005));
    ok(sx_store_key_hash_count(s, conn, 0, 5000, &n));
    assert_int_equal(n, 6);
    hash[31] = 4;
    ok(sx_store_key_hash_known(s, conn, hash, &known));
    assert_false(known);
    ok(sx_store_conn_delete(s, conn));
    ok(sx_store_key_hash_count(s, conn, 0, 5000, &n));
    assert_int_equal(n, 0);
}

static void repeats_are_looked_for_in_the_last_200000_hashes(void **state)
{
    struct sx_store *s = store_of(state);
    uint8_t first[32] = { 1 }, second[32] = { 2 }, last[32] = { 3 };
    unsigned n = 0;
    bool known;

    ok(sx_store_rcv_hash_add(s, 1, first, 1, 5000)); /* the clock may have been wrong */
    ok(sx_store_rcv_hash_add(s, 1, second, 1, 5000));
    ok(sx_store_exec(s, "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 199998)"
                        " INSERT INTO rcv_message_hashes (conn_id, hash, created_at)"
                        " SELECT 1, randomblob(16), 1000 FROM n"));
    ok(sx_store_rcv_hash_known(s, 1, first, &known, NULL));
    assert_true(known);
    ok(sx_store_rcv_hash_add(s, 1, last, 1, 1000));
    ok(sx_store_rcv_hash_known(s, 1, first, &known, NULL));
    assert_false(known);
    ok(sx_store_rcv_hash_known(s, 1, second, &known, NULL));
    assert_true(known);
    ok(sx_store_rcv_hash_known(s, 1, last, &known, NULL));
    assert_true(known);
    ok(sx_store_cleanup(s, 1000, 100, &n));
    assert_int_equal(n, 1);
    ok(sx_store_cleanup(s, 1000, 100, &n));
    assert_int_equal(n, 0);
}

static void hashes_differ_by_their_first_half_already(void **state)
{
    struct sx_store *s = store_of(state);
    uint8_t hash[32] = { 0 };
    bool known;

    ok(sx_store_rcv_hash_add(s, 1, hash, 1, 1));
    hash[15] = 1;
    ok(sx_store_rcv_hash_known(s, 1, hash, &known, NULL));
    assert_false(known);
}

/* ---- confirmations, commands, events ---- */

static void requests_are_remembered_after_their_answer(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s), ids[4], n;
    struct sx_invitation i = { .conn_id = conn, .link = sx_str("link"), .info = sx_str("who") };
    struct sx_invitation bare = { .conn_id = conn, .link = sx_str("another link") }, got;
    size_t count = 4;
    bool known;

    ok(sx_store_inv_add(s, &i, 1));
    assert_int_equal(sx_store_inv_add(s, &i, 2), SIMPLEX_E_PROHIBITED);
    ok(sx_store_inv_add(s, &bare, 2));
    ok(sx_store_inv_known(s, conn, sx_str("link"), &known));
    assert_true(known);
    ok(sx_store_inv_known(s, other, sx_str("link"), &known));
    assert_false(known);
    ok(sx_store_inv_get(s, i.id, &got));
    assert_true(got.pending && got.conn_id == conn && got.accepted == 0);
    assert_true(sx_bytes_eq(got.link, i.link) && sx_bytes_eq(got.info, i.info));
    ok(sx_store_inv_get(s, bare.id, &got));
    assert_int_equal(got.info.len, 0);
    ok(sx_store_inv_count(s, conn, &n));
    assert_int_equal(n, 2);
    ok(sx_store_inv_list(s, 0, ids, &count));
    assert_int_equal(count, 2);
    ok(sx_store_inv_close(s, i.id, other));
    ok(sx_store_inv_close(s, bare.id, 0));
    ok(sx_store_inv_get(s, i.id, &got));
    assert_true(!got.pending && got.accepted == other && got.link.len == 0 && got.info.len == 0);
    ok(sx_store_inv_known(s, conn, sx_str("link"), &known));
    assert_true(known);
    ok(sx_store_inv_count(s, conn, &n));
    assert_int_equal(n, 0);
    count = 4;
    ok(sx_store_inv_list(s, 0, ids, &count));
    assert_int_equal(count, 0);
    assert_int_equal(sx_store_inv_close(s, 99, 0), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_inv_get(s, 99, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_inv_delete_all(s, conn));
    assert_int_equal(sx_store_inv_get(s, i.id, &got), SIMPLEX_E_NOT_FOUND);
    i.conn_id = 99;
    assert_int_equal(sx_store_inv_add(s, &i, 1), SIMPLEX_E_NOT_FOUND);
}

/* Those that wait are never forgotten; of the others only the newest are remembered. */
static void answered_requests_are_forgotten_in_the_end(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), first = 0, waits = 0, n;
    struct sx_invitation got;
    char link[32];

    ok(sx_store_begin(s));
    for (int k = 0; k < SX_INV_REMEMBERED + 5; k++) {
        struct sx_invitation i = { .conn_id = conn };
        (void)snprintf(link, sizeof link, "link %d", k);
        i.link = sx_str(link);
        ok(sx_store_inv_add(s, &i, k));
        if (k == 0)
            waits = i.id;
        else
            ok(sx_store_inv_close(s, i.id, 0));
        if (k == 4)
            first = i.id;
    }
    ok(sx_store_commit(s));
    assert_int_equal(sx_store_inv_get(s, first, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_inv_get(s, first + 1, &got));
    ok(sx_store_inv_get(s, waits, &got));
    assert_true(got.pending);
    ok(sx_store_inv_count(s, conn, &n));
    assert_int_equal(n, 1);
}

static void confirmations_are_kept_until_the_connection_has_one(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_confirmation c = { .conn_id = conn,
                                 .info = sx_str("who"),
                                 .reply_queue = sx_str("queue") },
                           got;
    struct sx_confirmation bare = { .conn_id = conn };

    ok(sx_store_conf_add(s, &c));
    ok(sx_store_conf_add(s, &bare));
    ok(sx_store_conf_get(s, c.id, &got));
    assert_int_equal(got.conn_id, conn);
    assert_true(sx_bytes_eq(got.info, c.info));
    assert_true(sx_bytes_eq(got.reply_queue, c.reply_queue));
    assert_false(got.accepted);
    assert_int_equal(got.own_info.len, 0);
    ok(sx_store_conf_accept(s, c.id, sx_str("me")));
    ok(sx_store_conf_get(s, c.id, &got));
    assert_true(got.accepted);
    assert_true(sx_bytes_eq(got.own_info, sx_str("me")));
    ok(sx_store_conf_get(s, bare.id, &got));
    assert_false(got.accepted);
    assert_int_equal(got.info.len, 0);
    assert_int_equal(sx_store_conf_accept(s, 99, sx_str("me")), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_conf_delete_all(s, conn));
    assert_int_equal(sx_store_conf_get(s, c.id, &got), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_conf_get(s, bare.id, &got), SIMPLEX_E_NOT_FOUND);
}

static void commands_run_oldest_first_per_connection(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn[3] = { add_conn(s), add_conn(s), add_conn(s) }, ids[4];
    struct sx_command c[6], got;
    size_t n = 4;

    for (int i = 0; i < 6; i++) {
        c[i] = (struct sx_command){ .conn_id = conn[i % 2 * 2],
                                    .tag = (uint8_t)(i + 1),
                                    .queue_id = i,
                                    .data = { body, (size_t)i },
                                    .created_at = i };
        ok(sx_store_command_add(s, &c[i]));
    }
    ok(sx_store_command_conns(s, 0, ids, &n));
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], conn[0]);
    assert_int_equal(ids[1], conn[2]);
    n = 4;
    ok(sx_store_command_conns(s, conn[0], ids, &n));
    assert_int_equal(n, 1);
    int64_t after = 0;
    for (int i = 1; i < 6; i += 2) {
        ok(sx_store_command_next(s, conn[2], after, &got));
        assert_int_equal(got.id, c[i].id);
        assert_int_equal(got.conn_id, conn[2]);
        assert_int_equal(got.tag, c[i].tag);
        assert_int_equal(got.queue_id, c[i].queue_id);
        assert_int_equal(got.created_at, c[i].created_at);
        assert_true(sx_bytes_eq(got.data, c[i].data));
        after = got.id;
    }
    assert_int_equal(sx_store_command_next(s, conn[2], after, &got), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_command_next(s, conn[1], 0, &got), SIMPLEX_E_NOT_FOUND);
    for (int i = 0; i < 6; i++)
        ok(sx_store_command_delete(s, c[i].id));
    n = 4;
    ok(sx_store_command_conns(s, 0, ids, &n));
    assert_int_equal(n, 0);
    ok(sx_store_command_add(s, &c[0])); /* an iteration that stands behind the others finds it */
    assert_true(c[0].id > after);
}

static void events_come_in_order_and_may_outlive_their_connection(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s);
    struct sx_event_row e[4], got;

    for (int i = 0; i < 4; i++) {
        e[i] = (struct sx_event_row){ .conn_id = i % 2 ? other : conn,
                                      .data = { body, (size_t)i * 100 } };
        ok(sx_store_event_add(s, &e[i]));
    }
    int64_t after = 0;
    for (int i = 0; i < 4; i++) {
        ok(sx_store_event_next(s, after, &got));
        assert_int_equal(got.id, e[i].id);
        assert_int_equal(got.conn_id, e[i].conn_id);
        assert_int_equal(got.msg_id, 0);
        assert_true(sx_bytes_eq(got.data, e[i].data));
        after = got.id;
    }
    assert_int_equal(sx_store_event_next(s, after, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_event_delete(s, e[0].id));
    ok(sx_store_event_delete(s, e[1].id));
    ok(sx_store_event_delete(s, 99));
    ok(sx_store_event_next(s, 0, &got));
    assert_int_equal(got.id, e[2].id);
    ok(sx_store_conn_delete(s, conn));
    ok(sx_store_event_next(s, 0, &got));
    assert_int_equal(got.id, e[3].id);
    struct sx_event_row bye = { .conn_id = conn, .data = sx_str("deleted") };
    ok(sx_store_event_add(s, &bye));
    ok(sx_store_event_next(s, e[3].id, &got));
    assert_int_equal(got.conn_id, conn);
    ok(sx_store_event_delete(s, e[3].id));
    ok(sx_store_event_delete(s, bye.id));
    ok(sx_store_event_add(s, &e[0]));
    assert_true(e[0].id > bye.id);
}

/* ---- short links ---- */

static void links_of_our_own_are_kept_with_their_queue(void **state)
{
    struct sx_store *s = store_of(state);
    struct sx_rcv_queue rq = make_rcvq(add_conn(s), 0);
    struct sx_link_row l = { .queue_id = 12345,
                             .type = 'a',
                             .state = SX_LINK_TOLD,
                             .kem_in_full = true,
                             .corr_id = { 1 },
                             .link_key = { 2 },
                             .fixed = sx_str("fixed"),
                             .user = sx_str("user") };
    struct sx_link_row got;

    ok(sx_keypair_new(SX_ED25519, &l.root));
    assert_int_equal(sx_store_link_put(s, &l), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_rcvq_add(s, &rq));
    assert_int_equal(sx_store_link_get(s, rq.id, &got), SIMPLEX_E_NOT_FOUND);
    l.queue_id = rq.id;
    ok(sx_store_link_put(s, &l));
    ok(sx_store_link_get(s, rq.id, &got));
    assert_int_equal(got.type, 'a');
    assert_int_equal(got.state, SX_LINK_TOLD);
    assert_true(got.kem_in_full && !got.has_link_id);
    assert_memory_equal(got.corr_id, l.corr_id, 24);
    assert_memory_equal(got.link_key, l.link_key, 32);
    assert_memory_equal(&got.root, &l.root, sizeof l.root);
    vec_assert_eq(got.fixed, l.fixed, "fixed part");
    vec_assert_eq(got.user, l.user, "user part");
    l.has_link_id = true;
    memset(l.link_id, 3, sizeof l.link_id);
    l.state = SX_LINK_SET;
    l.user = sx_str("other");
    ok(sx_store_link_put(s, &l)); /* replaces */
    ok(sx_store_link_get(s, rq.id, &got));
    assert_true(got.has_link_id);
    assert_memory_equal(got.link_id, l.link_id, 24);
    vec_assert_eq(got.user, l.user, "user part");
    ok(sx_store_link_delete(s, rq.id));
    ok(sx_store_link_delete(s, rq.id));
    assert_int_equal(sx_store_link_get(s, rq.id, &got), SIMPLEX_E_NOT_FOUND);
}

static void links_of_others_are_found_by_their_hash(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t first = add_conn(s), second = add_conn(s), found;
    struct sx_look l = { .conn_id = first, .hash = { 9 }, .link = sx_str("link") }, got;

    ok(sx_keypair_new(SX_ED25519, &l.auth));
    assert_int_equal(sx_store_look_find(s, l.hash, &found), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_look_request(s, first, sx_str("x")), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_look_add(s, &l));
    ok(sx_store_look_find(s, l.hash, &found));
    assert_int_equal(found, first);
    l.conn_id = second; /* one connection at a time */
    assert_int_equal(sx_store_look_add(s, &l), SIMPLEX_E_PROHIBITED);
    ok(sx_store_look_get(s, first, &got));
    vec_assert_eq(got.link, sx_str("link"), "link");
    assert_memory_equal(&got.auth, &l.auth, sizeof l.auth);
    assert_int_equal(got.request.len, 0);
    ok(sx_store_look_request(s, first, sx_str("full")));
    ok(sx_store_look_get(s, first, &got));
    vec_assert_eq(got.request, sx_str("full"), "request");
    ok(sx_store_look_delete(s, first));
    ok(sx_store_look_add(s, &l));
    ok(sx_store_look_find(s, l.hash, &found));
    assert_int_equal(found, second);
}

/* ---- all together ---- */

static void deleting_a_connection_takes_everything_along_and_nothing_else(void **state)
{
    struct sx_store *s = store_of(state);
    static const char *const tables[] = {
        "rcv_queues",
        "snd_queues",
        "skipped_message_keys",
        "x3dh_keys",
        "snd_messages",
        "(SELECT snd_queue_id AS conn_id FROM snd_message_deliveries)", /* they count alike */
        "rcv_messages",
        "conn_confirmations",
        "conn_invitations",
        "(SELECT q.conn_id FROM link_data JOIN rcv_queues q USING (rcv_queue_id))",
        "looked_links",
        "commands",
        "events",
        "connections",
    };
    int64_t conn[2];

    for (uint8_t i = 0; i < 2; i++) {
        conn[i] = add_conn(s);
        struct sx_rcv_queue rq = make_rcvq(conn[i], i);
        struct sx_snd_queue sq = make_sndq(conn[i]);
        struct sx_ratchet r = make_ratchet();
        struct sx_x3dh_keys k;
        struct sx_snd_msg sm = make_snd(conn[i], 1);
        struct sx_rcv_msg_row rm = make_rcv(conn[i], 2);
        struct sx_confirmation c = { .conn_id = conn[i] };
        struct sx_invitation inv = { .conn_id = conn[i], .link = sx_str("link") };
        struct sx_command cmd = { .conn_id = conn[i] };
        struct sx_event_row e = { .conn_id = conn[i] };
        ok(sx_store_rcvq_add(s, &rq));
        ok(sx_store_sndq_add(s, &sq));
        add_key(&r, 1, 1);
        ok(sx_store_ratchet_put(s, conn[i], &r, NULL));
        ok(sx_x3dh_keys_new(false, &k));
        ok(sx_store_x3dh_put(s, conn[i], &k));
        ok(sx_store_snd_msg_add(s, &sm));
        ok(sx_store_delivery_add(s, sq.id, conn[i], 1));
        ok(sx_store_rcv_msg_add(s, &rm));
        ok(sx_store_conf_add(s, &c));
        ok(sx_store_inv_add(s, &inv, 1));
        struct sx_link_row link = { .queue_id = rq.id, .type = 'i', .state = SX_LINK_MADE };
        struct sx_look look = { .conn_id = conn[i], .hash = { i }, .link = sx_str("link") };
        ok(sx_keypair_new(SX_ED25519, &link.root));
        ok(sx_store_link_put(s, &link));
        ok(sx_store_look_add(s, &look));
        ok(sx_store_command_add(s, &cmd));
        ok(sx_store_event_add(s, &e));
        sx_ratchet_wipe(&r);
    }
    ok(sx_store_conn_delete(s, conn[0]));
    /* each table has one row left, the second connection's, or the check of the insert fails */
    for (size_t i = 0; i < SX_COUNT(tables); i++) {
        char sql[300];
        snprintf(sql, sizeof sql,
                 "CREATE TEMP TABLE t%zu (ok INTEGER CHECK (ok = 1)); INSERT INTO t%zu"
                 " SELECT count(*) = 1 AND max(conn_id) = %d FROM %s",
                 i, i, (int)conn[1], tables[i]);
        ok(sx_store_exec(s, sql));
    }
    ok(sx_store_conn_delete(s, conn[1]));
    for (size_t i = 0; i < SX_COUNT(tables); i++) {
        char sql[300];
        snprintf(sql, sizeof sql, "INSERT INTO t%zu SELECT count(*) = 0 FROM %s", i, tables[i]);
        ok(sx_store_exec(s, sql));
    }
}

static void records_are_there_after_reopening(void **state)
{
    void **both = *state;
    struct sx_store *s = both[0];
    int64_t conn = add_conn(s), second = add_conn(s);
    struct sx_event_row e = { .conn_id = conn, .data = sx_str("x") }, got;
    struct sx_rcv_msg_row m = make_rcv(conn, 1), mgot;
    struct sx_conn c;

    ok(sx_store_event_add(s, &e));
    ok(sx_store_rcv_msg_add(s, &m));
    ok(sx_store_conn_delete(s, second));
    sx_store_close(s);
    both[0] = s = tmp_open(both[1]);
    ok(sx_store_conn_get(s, conn, &c));
    ok(sx_store_rcv_msg_get(s, conn, 1, &mgot));
    assert_rcv_equal(&mgot, &m);
    assert_true(add_conn(s) > second);
    ok(sx_store_event_add(s, &e));
    ok(sx_store_event_next(s, m.seq, &got));
    assert_int_equal(got.id, e.id);
}

/* `expected`: positive an event's id, negative a message's number. */
static void assert_events(struct sx_store *s, const int64_t *expected, size_t n)
{
    struct sx_event_row got = { .id = 0 };

    for (size_t i = 0; i < n; i++) {
        ok(sx_store_event_next(s, got.id, &got));
        assert_int_equal(got.id, expected[i] < 0 ? -expected[i] : expected[i]);
        assert_int_equal(got.msg_id != 0, expected[i] < 0);
        assert_int_equal(got.data.len != 0, expected[i] > 0);
    }
    assert_int_equal(sx_store_event_next(s, got.id, &got), SIMPLEX_E_NOT_FOUND);
}

static void messages_and_events_are_one_sequence_over_restarts(void **state)
{
    void **both = *state;
    struct sx_store *s = both[0];
    int64_t conn = add_conn(s), other = add_conn(s);
    struct sx_event_row e = { .conn_id = conn, .data = sx_str("x") }, got;
    struct sx_rcv_msg_row m = make_rcv(conn, 7), m2 = make_rcv(other, 7);

    assert_events(s, NULL, 0);
    ok(sx_store_rcv_msg_add(s, &m2));
    ok(sx_store_event_add(s, &e));
    ok(sx_store_rcv_msg_add(s, &m));
    assert_events(s, (int64_t[]){ -1, 2, -3 }, 3);
    ok(sx_store_event_next(s, 2, &got));
    assert_int_equal(got.conn_id, conn);
    assert_int_equal(got.msg_id, 7);
    for (int round = 0; round < 2; round++) { /* the last one is a message, then an event */
        sx_store_close(s);
        both[0] = s = tmp_open(both[1]);
        assert_events(s, (int64_t[]){ -1, 2, -3, 4, -5 }, round == 0 ? 3 : 5);
        ok(sx_store_event_add(s, &e));
        assert_int_equal(e.id, 4 + 2 * round);
        m = make_rcv(conn, 8 + round);
        ok(sx_store_rcv_msg_add(s, &m));
        assert_int_equal(m.seq, 5 + 2 * round);
    }
    ok(sx_store_rcv_msg_delete(s, other, 7));
    ok(sx_store_event_delete(s, 2));
    ok(sx_store_rcv_msg_delete(s, conn, 9));
    assert_events(s, (int64_t[]){ -3, 4, -5, 6 }, 4);
    sx_store_close(s);
    both[0] = s = tmp_open(both[1]);
    ok(sx_store_event_add(s, &e));
    assert_int_equal(e.id, 7); /* behind the last event, and the numbers stay different */
    assert_events(s, (int64_t[]){ -3, 4, -5, 6, 7 }, 5);
    ok(sx_store_conn_delete(s, conn));
    assert_events(s, NULL, 0);
}

static void numbers_of_events_grow_over_what_was_undone(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    struct sx_event_row e = { .conn_id = conn, .data = sx_str("x") };
    struct sx_rcv_msg_row m = make_rcv(conn, 1);

    ok(sx_store_begin(s));
    ok(sx_store_savepoint(s));
    ok(sx_store_rcv_msg_add(s, &m));
    ok(sx_store_undo(s));
    ok(sx_store_event_add(s, &e));
    assert_true(e.id > m.seq);
    sx_store_rollback(s);
    ok(sx_store_rcv_msg_add(s, &m));
    assert_true(m.seq > e.id);
    assert_events(s, (int64_t[]){ -m.seq }, 1);
    assert_int_equal(sx_store_rcv_msg_add(s, &m), SIMPLEX_E_PROHIBITED);
    ok(sx_store_event_add(s, &e));
    assert_int_equal(e.id, m.seq + 1);
}

/* ---- rows that somebody changed ---- */

struct subject {
    int64_t conn, rcvq, sndq, conf;
};

static simplex_rc read_all(struct sx_store *s, const struct subject *o)
{
    struct sx_conn c;
    struct sx_rcv_queue rq;
    struct sx_snd_queue sq;
    struct sx_ratchet r;
    struct sx_x3dh_keys k;
    struct sx_snd_msg sm;
    struct sx_rcv_msg_row rm;
    struct sx_confirmation conf;
    struct sx_command cmd;
    struct sx_event_row e;
    simplex_rc rc;

    if ((rc = sx_store_conn_get(s, o->conn, &c)) != SIMPLEX_OK ||
        (rc = sx_store_rcvq_get(s, o->rcvq, &rq)) != SIMPLEX_OK ||
        (rc = sx_store_sndq_get(s, o->sndq, &sq)) != SIMPLEX_OK ||
        (rc = sx_store_ratchet_get(s, o->conn, &r)) != SIMPLEX_OK)
        return rc;
    sx_ratchet_wipe(&r);
    if ((rc = sx_store_x3dh_get(s, o->conn, &k)) != SIMPLEX_OK ||
        (rc = sx_store_delivery_next(s, o->sndq, 0, &sm)) != SIMPLEX_OK ||
        (rc = sx_store_rcv_msg_get(s, o->conn, 2, &rm)) != SIMPLEX_OK ||
        (rc = sx_store_conf_get(s, o->conf, &conf)) != SIMPLEX_OK ||
        (rc = sx_store_command_next(s, o->conn, 0, &cmd)) != SIMPLEX_OK)
        return rc;
    rc = sx_store_event_next(s, 0, &e); /* the message */
    return rc == SIMPLEX_OK ? sx_store_event_next(s, e.id, &e) : rc;
}

static struct subject one_of_each(struct sx_store *s)
{
    struct subject o = { .conn = add_conn(s) };
    struct sx_rcv_queue rq = make_rcvq(o.conn, 1);
    struct sx_snd_queue sq = make_sndq(o.conn);
    struct sx_ratchet r = make_ratchet();
    struct sx_x3dh_keys k;
    struct sx_snd_msg sm = make_snd(o.conn, 1);
    struct sx_rcv_msg_row rm = make_rcv(o.conn, 2);
    struct sx_confirmation c = { .conn_id = o.conn };
    struct sx_command cmd = { .conn_id = o.conn };
    struct sx_event_row e = { .conn_id = o.conn };

    ok(sx_store_rcvq_add(s, &rq));
    ok(sx_store_sndq_add(s, &sq));
    add_key(&r, 1, 1);
    ok(sx_store_ratchet_put(s, o.conn, &r, NULL));
    ok(sx_x3dh_keys_new(false, &k));
    ok(sx_store_x3dh_put(s, o.conn, &k));
    ok(sx_store_snd_msg_add(s, &sm));
    ok(sx_store_delivery_add(s, sq.id, o.conn, 1));
    ok(sx_store_rcv_msg_add(s, &rm));
    ok(sx_store_conf_add(s, &c));
    ok(sx_store_command_add(s, &cmd));
    ok(sx_store_event_add(s, &e));
    sx_ratchet_wipe(&r);
    o.rcvq = rq.id;
    o.sndq = sq.id;
    o.conf = c.id;
    return o;
}

static void changed_rows_are_reported_as_damage(void **state)
{
    struct sx_store *s = store_of(state);
    struct subject o = one_of_each(s);
    static const char *const changes[] = {
        "UPDATE connections SET role = 'K'",
        "UPDATE connections SET state = 'renewed'",
        "UPDATE connections SET state = ''",
        "UPDATE connections SET agent_version = 65536",
        "UPDATE connections SET agent_version = -1",
        "UPDATE connections SET deleted = 2",
        "UPDATE connections SET last_snd_msg_hash = zeroblob(31)",
        "UPDATE connections SET last_rcv_msg_hash = zeroblob(33)",
        "UPDATE connections SET last_rcv_msg_hash = x''",
        "UPDATE connections SET ratchet_sync_state = 5",
        "UPDATE rcv_queues SET server = x''",
        "UPDATE rcv_queues SET server = zeroblob(100)",
        "UPDATE rcv_queues SET server = CAST(server || x'00' AS BLOB)",
        "UPDATE rcv_queues SET rcv_id = zeroblob(256)",
        "UPDATE rcv_queues SET snd_id = zeroblob(100000)",
        "UPDATE rcv_queues SET rcv_auth_key = x'01'",
        "UPDATE rcv_queues SET rcv_auth_key = CAST(x'ff' || zeroblob(64) AS BLOB)",
        "UPDATE rcv_queues SET rcv_dh_key = CAST(rcv_dh_key || x'00' AS BLOB)",
        "UPDATE rcv_queues SET rcv_dh_secret = zeroblob(1)",
        "UPDATE rcv_queues SET e2e_dh_secret = zeroblob(64)",
        "UPDATE rcv_queues SET sender_key = zeroblob(70000)",
        "UPDATE rcv_queues SET queue_mode = 1",
        "UPDATE rcv_queues SET status = 'NEW'",
        "UPDATE rcv_queues SET delete_errors = 4294967296",
        "UPDATE snd_queues SET e2e_dh_secret = zeroblob(0)",
        "UPDATE snd_queues SET e2e_pub_key = x'0100'",
        "UPDATE snd_queues SET status = 'x'",
        "UPDATE connections SET ratchet_state = x''",
        "UPDATE connections SET ratchet_state = zeroblob(900000)",
        "UPDATE connections SET ratchet_state = CAST(ratchet_state || x'00' AS BLOB)",
        "UPDATE connections SET ratchet_state = substr(ratchet_state, 1, 200)",
        "UPDATE skipped_message_keys SET header_key = zeroblob(31)",
        "UPDATE skipped_message_keys SET msg_n = 4294967296",
        "UPDATE skipped_message_keys SET msg_key = zeroblob(33)",
        "UPDATE skipped_message_keys SET msg_iv = zeroblob(0)",
        "UPDATE x3dh_keys SET keys = zeroblob(10)",
        "UPDATE snd_messages SET msg_type = 256",
        "UPDATE snd_messages SET padded_len = 65536",
        "UPDATE snd_message_deliveries SET quota_seen = -1",
        "UPDATE rcv_messages SET msg_hash = zeroblob(16)",
        "UPDATE rcv_messages SET broker_id = zeroblob(256)",
        "UPDATE rcv_messages SET attempts = -1",
        "UPDATE rcv_messages SET integrity = 1000",
        "UPDATE conn_confirmations SET accepted = 5",
        "UPDATE commands SET command_tag = 256",
    };

    ok(read_all(s, &o));
    for (size_t i = 0; i < SX_COUNT(changes); i++) {
        ok(sx_store_begin(s));
        if (sx_store_exec(s, changes[i]) != SIMPLEX_OK)
            fail_msg("refused: %s", changes[i]);
        if (read_all(s, &o) != SIMPLEX_E_DB_DAMAGED)
            fail_msg("not noticed: %s", changes[i]);
        sx_store_rollback(s);
        ok(read_all(s, &o));
    }
    assert_int_equal(sx_store_exec(s, "UPDATE connections SET last_internal_msg_id = 'a'"),
                     SIMPLEX_E_PROHIBITED); /* the tables are strict */
}

static void rows_beyond_the_limit_are_refused(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s);
    uint8_t *big = calloc(1, 1 << 21);
    struct sx_event_row e = { .conn_id = conn, .data = { big, 1 << 21 } };

    assert_int_equal(sx_store_event_add(s, &e), SIMPLEX_E_TOO_LARGE);
    e.data.len = 1000000;
    ok(sx_store_event_add(s, &e));
    free(big);
}

#define T(f) cmocka_unit_test_setup_teardown(f, with_store, without_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(connections_come_back_as_stored_and_updated),
        T(ids_of_connections_are_listed_and_never_reused),
        T(receiving_queues_come_back_as_stored_and_updated),
        T(a_receiving_queue_is_found_by_address_without_key_hash),
        T(queues_of_a_connection_come_primary_first),
        T(sending_queues_come_back_as_stored_and_updated),
        T(ratchets_are_stored_with_what_changed_in_skipped_keys),
        T(x3dh_keys_wait_for_the_answer),
        T(deliveries_come_oldest_first_and_end_with_the_last_queue),
        T(a_shared_body_goes_with_the_last_message_that_has_it),
        T(a_message_whose_body_is_missing_is_damaged),
        T(delivered_messages_are_kept_for_another_queue),
        T(a_removed_sending_queue_takes_the_messages_only_it_had),
        T(the_rotation_of_a_queue_comes_back_as_stored),
        T(received_messages_stay_until_they_are_deleted),
        T(hashes_are_known_until_they_are_old),
        T(the_age_stands_in_the_database_and_beside_it),
        T(keys_of_the_peer_are_remembered_for_a_time),
        T(repeats_are_looked_for_in_the_last_200000_hashes),
        T(hashes_differ_by_their_first_half_already),
        T(requests_are_remembered_after_their_answer),
        T(answered_requests_are_forgotten_in_the_end),
        T(confirmations_are_kept_until_the_connection_has_one),
        T(commands_run_oldest_first_per_connection),
        T(events_come_in_order_and_may_outlive_their_connection),
        T(links_of_our_own_are_kept_with_their_queue),
        T(links_of_others_are_found_by_their_hash),
        T(deleting_a_connection_takes_everything_along_and_nothing_else),
        T(records_are_there_after_reopening),
        T(messages_and_events_are_one_sequence_over_restarts),
        T(numbers_of_events_grow_over_what_was_undone),
        T(changed_rows_are_reported_as_damage),
        T(rows_beyond_the_limit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
