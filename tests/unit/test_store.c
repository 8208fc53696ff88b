/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the store: what goes in comes out, in order: connections, queues, keys, links. */
#include "store_rows.h"

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
    assert_int_equal(a->old_copy, b->old_copy);
    assert_int_equal(a->crossed, b->crossed);
    assert_int_equal(a->suspended, b->suspended);
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
        c.old_copy = !c.old_copy;
        c.crossed = st % 2 != 0;
        c.suspended = st % 3 != 0;
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
        q.suspended = at % 2 != 0;
        ok(sx_store_rcvq_update(s, &q));
        ok(sx_store_sndq_update(s, &sq));
        ok(sx_store_rcvq_get(s, q.id, &got));
        ok(sx_store_sndq_get(s, sq.id, &sgot));
        assert_int_equal(got.switch_state, at);
        assert_int_equal(sgot.switch_state, at);
        assert_int_equal(got.replaces, q.replaces);
        assert_int_equal(got.suspended, q.suspended);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(connections_come_back_as_stored_and_updated),
        WITH_STORE(ids_of_connections_are_listed_and_never_reused),
        WITH_STORE(receiving_queues_come_back_as_stored_and_updated),
        WITH_STORE(a_receiving_queue_is_found_by_address_without_key_hash),
        WITH_STORE(queues_of_a_connection_come_primary_first),
        WITH_STORE(sending_queues_come_back_as_stored_and_updated),
        WITH_STORE(ratchets_are_stored_with_what_changed_in_skipped_keys),
        WITH_STORE(x3dh_keys_wait_for_the_answer),
        WITH_STORE(the_rotation_of_a_queue_comes_back_as_stored),
        WITH_STORE(links_of_our_own_are_kept_with_their_queue),
        WITH_STORE(links_of_others_are_found_by_their_hash),
        WITH_STORE(changed_rows_are_reported_as_damage),
        WITH_STORE(rows_beyond_the_limit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
