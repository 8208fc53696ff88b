/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in the store for its turn, and all records of a connection together. */
#include "store_rows.h"

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

static void events_that_a_peer_causes_are_counted(void **state)
{
    struct sx_store *s = store_of(state);
    int64_t conn = add_conn(s), other = add_conn(s), n;
    struct sx_rcv_msg_row m = make_rcv(conn, 7);

    /* of every three: two of conn, of which one is the peer's doing */
    for (int i = 0; i < 9; i++) {
        struct sx_event_row e = { .conn_id = i % 3 < 2 ? conn : other,
                                  .of_peer = i % 3 != 0,
                                  .data = sx_str("x") };
        ok(sx_store_event_add(s, &e));
    }
    ok(sx_store_event_count(s, conn, 100, &n));
    assert_int_equal(n, 3);
    ok(sx_store_rcv_msg_add(s, &m)); /* nor was this acknowledged */
    ok(sx_store_event_count(s, conn, 100, &n));
    assert_int_equal(n, 4);
    ok(sx_store_event_count(s, conn, 2, &n));
    assert_int_equal(n, 3); /* 2 and 1 */
    ok(sx_store_event_delete(s, 2));
    ok(sx_store_rcv_msg_delete(s, conn, 7));
    ok(sx_store_event_count(s, conn, 100, &n));
    assert_int_equal(n, 2);
    ok(sx_store_event_count(s, other, 100, &n));
    assert_int_equal(n, 3);
    ok(sx_store_event_count(s, 99, 100, &n));
    assert_int_equal(n, 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(requests_are_remembered_after_their_answer),
        WITH_STORE(answered_requests_are_forgotten_in_the_end),
        WITH_STORE(confirmations_are_kept_until_the_connection_has_one),
        WITH_STORE(commands_run_oldest_first_per_connection),
        WITH_STORE(events_come_in_order_and_may_outlive_their_connection),
        WITH_STORE(events_that_a_peer_causes_are_counted),
        WITH_STORE(deleting_a_connection_takes_everything_along_and_nothing_else),
        WITH_STORE(records_are_there_after_reopening),
        WITH_STORE(messages_and_events_are_one_sequence_over_restarts),
        WITH_STORE(numbers_of_events_grow_over_what_was_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
