/* SPDX-License-Identifier: Apache-2.0 */
/* Messages in the store, to send and received, and what is remembered of those that came. */
#include "store_rows.h"

/* ---- messages to send ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(deliveries_come_oldest_first_and_end_with_the_last_queue),
        WITH_STORE(a_shared_body_goes_with_the_last_message_that_has_it),
        WITH_STORE(a_message_whose_body_is_missing_is_damaged),
        WITH_STORE(delivered_messages_are_kept_for_another_queue),
        WITH_STORE(a_removed_sending_queue_takes_the_messages_only_it_had),
        WITH_STORE(received_messages_stay_until_they_are_deleted),
        WITH_STORE(hashes_are_known_until_they_are_old),
        WITH_STORE(the_age_stands_in_the_database_and_beside_it),
        WITH_STORE(keys_of_the_peer_are_remembered_for_a_time),
        WITH_STORE(repeats_are_looked_for_in_the_last_200000_hashes),
        WITH_STORE(hashes_differ_by_their_first_half_already),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
