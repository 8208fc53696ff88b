/* SPDX-License-Identifier: Apache-2.0 */
/* Queues for noise: rows that no connection has. */
#include "store_util.h"

static struct sx_noise_row make_row(void)
{
    static const char text[] =
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@a.example,b.example:99";
    struct sx_noise_row r = { .user_id = 3, .state = SX_NOISE_NEW };
    simplex_bytes password;

    ok(sx_server_parse(sx_str(text), &r.server, &password));
    ok(sx_keypair_new(SX_ED25519, &r.auth));
    ok(sx_keypair_new(SX_X25519, &r.dh));
    ok(sx_keypair_new(SX_ED25519, &r.snd_auth));
    return r;
}

static void assert_same(const struct sx_noise_row *a, const struct sx_noise_row *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->user_id, b->user_id);
    assert_int_equal(a->state, b->state);
    assert_true(sx_server_eq(&a->server, &b->server));
    assert_true(sx_bytes_eq(sx_id_bytes(&a->rcv_id), sx_id_bytes(&b->rcv_id)));
    assert_true(sx_bytes_eq(sx_id_bytes(&a->snd_id), sx_id_bytes(&b->snd_id)));
    assert_memory_equal(&a->auth, &b->auth, sizeof a->auth);
    assert_memory_equal(&a->dh, &b->dh, sizeof a->dh);
    assert_memory_equal(&a->snd_auth, &b->snd_auth, sizeof a->snd_auth);
}

static void rows_are_found_again_as_they_were(void **state)
{
    struct sx_store *s = tmp_open(*state);
    struct sx_noise_row a = make_row(), b = make_row(), got;

    assert_int_equal(sx_store_noise_next(s, 0, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_noise_add(s, &a));
    ok(sx_store_noise_add(s, &b));
    assert_true(b.id > a.id && a.id > 0);
    a.state = SX_NOISE_MADE;
    a.rcv_id = (struct sx_id){ .len = 24, .b = { 1, 2 } };
    a.snd_id = (struct sx_id){ .len = 24, .b = { 3, 4 } };
    ok(sx_store_noise_update(s, &a));
    sx_store_close(s);
    s = tmp_open(*state);
    ok(sx_store_noise_next(s, 0, &got));
    assert_same(&a, &got);
    ok(sx_store_noise_next(s, a.id, &got));
    assert_same(&b, &got);
    assert_int_equal(sx_store_noise_next(s, b.id, &got), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_noise_delete(s, a.id));
    ok(sx_store_noise_delete(s, a.id));
    assert_int_equal(sx_store_noise_update(s, &a), SIMPLEX_E_NOT_FOUND);
    ok(sx_store_noise_next(s, 0, &got));
    assert_same(&b, &got);
    ok(sx_store_noise_delete(s, b.id));
    struct sx_noise_row c = make_row();
    ok(sx_store_noise_add(s, &c)); /* numbers do not come again */
    assert_true(c.id > b.id);
    sx_store_close(s);
}

static void rows_that_make_no_sense_are_refused(void **state)
{
    static const char *const damage[] = {
        "UPDATE noise_queues SET noise_state = 9",        "UPDATE noise_queues SET noise_state = 0",
        "UPDATE noise_queues SET noise_state = 3",        "UPDATE noise_queues SET server = x'01'",
        "UPDATE noise_queues SET rcv_auth_key = x'0102'",
    };
    struct sx_store *s = tmp_open(*state);

    for (size_t i = 0; i < SX_COUNT(damage); i++) {
        struct sx_noise_row r = make_row(), got;
        ok(sx_store_noise_add(s, &r));
        ok(sx_store_exec(s, damage[i]));
        assert_int_equal(sx_store_noise_next(s, 0, &got), SIMPLEX_E_DB_DAMAGED);
        ok(sx_store_noise_delete(s, r.id));
    }
    sx_store_close(s);
}

static void each_failure_leaves_the_rows_as_they_were(void **state)
{
    struct sx_store *s = tmp_open(*state);
    bool fired = true;

    for (unsigned nth = 0; fired; nth++) {
        struct sx_noise_row r = make_row(), got;
        ok(sx_store_begin(s));
        sx_store_fault(s, nth, SIMPLEX_E_DB_FULL);
        simplex_rc rc = sx_store_noise_add(s, &r);
        r.state = SX_NOISE_GOING;
        if (rc == SIMPLEX_OK)
            rc = sx_store_noise_update(s, &r);
        if (rc == SIMPLEX_OK)
            rc = sx_store_noise_next(s, 0, &got);
        if (rc == SIMPLEX_OK)
            rc = sx_store_noise_delete(s, r.id);
        if (rc == SIMPLEX_OK)
            rc = sx_store_commit(s);
        fired = sx_store_fault_disarm(s);
        assert_int_equal(rc, fired ? SIMPLEX_E_DB_FULL : SIMPLEX_OK);
        sx_store_rollback(s);
        assert_int_equal(sx_store_noise_next(s, 0, &got), SIMPLEX_E_NOT_FOUND);
    }
    sx_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_found_again_as_they_were, tmp_setup, tmp_teardown),
        cmocka_unit_test_setup_teardown(rows_that_make_no_sense_are_refused, tmp_setup,
                                        tmp_teardown),
        cmocka_unit_test_setup_teardown(each_failure_leaves_the_rows_as_they_were, tmp_setup,
                                        tmp_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
