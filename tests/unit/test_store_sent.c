/* SPDX-License-Identifier: Apache-2.0 */
/* Messages sent, for as long as a receipt may come. */
#include "store_util.h"

static struct sx_sent make_sent(int64_t conn, int64_t snd_id, int64_t at)
{
    struct sx_sent m = { .conn_id = conn, .snd_id = snd_id, .id = snd_id + 100, .created_at = at };

    memset(m.hash, (int)snd_id, sizeof m.hash);
    return m;
}

static void add(struct sx_store *s, int64_t conn, int64_t snd_id, int64_t at)
{
    struct sx_sent m = make_sent(conn, snd_id, at);

    ok(sx_store_sent_add(s, &m));
}

static bool known(struct sx_store *s, int64_t conn, int64_t snd_id)
{
    struct sx_sent m;
    simplex_rc rc = sx_store_sent_get(s, conn, snd_id, &m);

    if (rc != SIMPLEX_E_NOT_FOUND)
        ok(rc);
    return rc == SIMPLEX_OK;
}

static void what_was_sent_is_found_by_its_number(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn = add_conn(s), other = add_conn(s);
    struct sx_sent m = make_sent(conn, 7, 1234), got;

    memset(&got, 0xff, sizeof got);
    ok(sx_store_sent_add(s, &m));
    ok(sx_store_sent_get(s, conn, 7, &got));
    assert_int_equal(got.conn_id, conn);
    assert_int_equal(got.snd_id, 7);
    assert_int_equal(got.id, 107);
    assert_int_equal(got.status, 0);
    assert_int_equal(got.created_at, 1234);
    assert_memory_equal(got.hash, m.hash, 32);
    assert_false(known(s, conn, 8));
    assert_false(known(s, other, 7));
    assert_int_equal(sx_store_sent_add(s, &m), SIMPLEX_E_PROHIBITED);
    m.conn_id = 99;
    assert_int_equal(sx_store_sent_add(s, &m), SIMPLEX_E_NOT_FOUND);
    sx_store_close(s);
}

static void the_status_is_kept_until_the_row_goes(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn = add_conn(s);
    struct sx_sent m = make_sent(conn, 7, 1), got;

    m.status = 2;
    assert_int_equal(sx_store_sent_status(s, &m), SIMPLEX_E_NOT_FOUND);
    add(s, conn, 7, 1);
    ok(sx_store_sent_status(s, &m));
    sx_store_close(s);
    s = tmp_open(*state);
    ok(sx_store_sent_get(s, conn, 7, &got));
    assert_int_equal(got.status, 2);
    ok(sx_store_sent_delete(s, conn, 7));
    assert_false(known(s, conn, 7));
    ok(sx_store_sent_delete(s, conn, 7));
    sx_store_close(s);
}

static void they_go_with_their_connection(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn = add_conn(s), other = add_conn(s);

    add(s, conn, 1, 1);
    add(s, conn, 2, 1);
    add(s, other, 1, 1);
    ok(sx_store_conn_delete(s, conn));
    assert_false(known(s, conn, 1));
    assert_false(known(s, conn, 2));
    assert_true(known(s, other, 1));
    sx_store_close(s);
}

/* Old and new ones alternate, over two connections. */
static void what_is_old_goes_piece_by_piece(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn[2] = { add_conn(s), add_conn(s) };
    unsigned n, gone = 0, calls = 0;

    for (int64_t i = 1; i <= 10; i++) {
        add(s, conn[0], i, i % 2 == 0 ? 1000 : 2000);
        add(s, conn[1], i, i % 2 == 0 ? 1000 : 2000);
    }
    do {
        ok(sx_store_cleanup(s, 2000, 3, &n));
        assert_true(n <= 2); /* of three that it looked at */
        gone += n;
        calls++;
    } while (calls < 7); /* 20 rows, and once behind the last */
    assert_int_equal(gone, 10);
    for (int64_t i = 1; i <= 10; i++) {
        assert_int_equal(known(s, conn[0], i), i % 2 == 1);
        assert_int_equal(known(s, conn[1], i), i % 2 == 1);
    }
    ok(sx_store_cleanup(s, 3000, 100, &n)); /* behind the last: begins again with the next */
    ok(sx_store_cleanup(s, 3000, 100, &n));
    assert_false(known(s, conn[0], 1));
    assert_false(known(s, conn[1], 9));
    sx_store_close(s);
}

/* ---- a transaction that somebody gave up in the middle ---- */

static void nothing_is_written_after_a_transaction_was_abandoned(void **state)
{
    struct sx_store *s = tmp_open(*state);
    struct sx_sent m;

    ok(sx_store_begin(s));
    int64_t conn = add_conn(s);
    ok(sx_store_commit(s));
    ok(sx_store_begin(s));
    ok(sx_store_savepoint(s));
    add(s, conn, 1, 1);
    sx_store_abandon(s, SIMPLEX_E_NOMEM);
    m = make_sent(conn, 2, 1);
    assert_int_equal(sx_store_sent_add(s, &m), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_sent_get(s, conn, 1, &m), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_undo(s), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_begin(s), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_commit(s), SIMPLEX_E_NOMEM);
    assert_false(known(s, conn, 1));
    assert_false(known(s, conn, 2));
    sx_store_abandon(s, SIMPLEX_E_NOMEM); /* none is open: nothing */
    add(s, conn, 2, 1);
    assert_true(known(s, conn, 2));
    sx_store_close(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmp_setup, tmp_teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_sent_is_found_by_its_number),
        T(the_status_is_kept_until_the_row_goes),
        T(they_go_with_their_connection),
        T(what_is_old_goes_piece_by_piece),
        T(nothing_is_written_after_a_transaction_was_abandoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
