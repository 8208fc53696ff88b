/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions when everything works, when the disk is full, and when the process is killed. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store_util.h"

static size_t count_conns(struct sx_store *s)
{
    static int64_t ids[10000];
    size_t n = SX_COUNT(ids);

    ok(sx_store_conn_list(s, 0, ids, &n));
    return n;
}

static size_t count_events(struct sx_store *s)
{
    struct sx_event_row e = { .id = 0 };
    size_t n = 0;
    simplex_rc rc;

    while ((rc = sx_store_event_next(s, e.id, &e)) == SIMPLEX_OK)
        n++;
    assert_int_equal(rc, SIMPLEX_E_NOT_FOUND);
    return n;
}

/* ---- transactions ---- */

static void a_transaction_is_seen_inside_and_goes_with_rollback(void **state)
{
    struct sx_store *s = tmp_open(*state);

    assert_false(sx_store_in_transaction(s));
    assert_int_equal(sx_store_commit(s), SIMPLEX_E_PROHIBITED);
    ok(sx_store_begin(s));
    ok(sx_store_begin(s)); /* is open */
    assert_true(sx_store_in_transaction(s));
    assert_int_equal(count_conns(s), 0);
    assert_false(sx_store_dirty(s)); /* only read */
    (void)add_conn(s);
    assert_true(sx_store_dirty(s));
    assert_int_equal(count_conns(s), 1);
    sx_store_rollback(s);
    assert_false(sx_store_in_transaction(s));
    assert_false(sx_store_dirty(s));
    assert_int_equal(count_conns(s), 0);
    ok(sx_store_begin(s));
    ok(sx_store_commit(s)); /* of nothing */
    ok(sx_store_begin(s));
    (void)add_conn(s);
    ok(sx_store_commit(s));
    ok(sx_store_begin(s));
    (void)add_conn(s);
    sx_store_close(s); /* rolls back what is open */
    s = tmp_open(*state);
    assert_int_equal(count_conns(s), 1);
    sx_store_close(s);
}

static void a_savepoint_undoes_a_part(void **state)
{
    struct sx_store *s = tmp_open(*state);

    assert_int_equal(sx_store_savepoint(s), SIMPLEX_E_PROHIBITED);
    ok(sx_store_begin(s));
    ok(sx_store_savepoint(s));
    assert_int_equal(sx_store_savepoint(s), SIMPLEX_E_PROHIBITED); /* one level */
    (void)add_conn(s);
    ok(sx_store_undo(s));
    assert_false(sx_store_dirty(s));
    assert_int_equal(sx_store_undo(s), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_store_release(s), SIMPLEX_E_PROHIBITED);
    (void)add_conn(s);
    ok(sx_store_savepoint(s));
    (void)add_conn(s);
    (void)add_conn(s);
    ok(sx_store_undo(s));
    assert_true(sx_store_dirty(s));
    ok(sx_store_savepoint(s));
    (void)add_conn(s);
    ok(sx_store_release(s));
    ok(sx_store_commit(s));
    assert_int_equal(count_conns(s), 2);
    ok(sx_store_begin(s));
    ok(sx_store_savepoint(s));
    (void)add_conn(s);
    ok(sx_store_commit(s)); /* with the savepoint open: it counts */
    assert_int_equal(count_conns(s), 3);
    sx_store_close(s);
}

static void a_part_of_a_savepoint_is_undone_by_itself(void **state)
{
    struct sx_store *s = tmp_open(*state);

    ok(sx_store_begin(s));
    assert_int_equal(sx_store_part(s), SIMPLEX_E_PROHIBITED);
    ok(sx_store_savepoint(s));
    assert_int_equal(sx_store_part_end(s, true), SIMPLEX_E_PROHIBITED);
    (void)add_conn(s);
    ok(sx_store_part(s));
    assert_int_equal(sx_store_part(s), SIMPLEX_E_PROHIBITED);
    (void)add_conn(s);
    ok(sx_store_part_end(s, false));
    ok(sx_store_part(s));
    (void)add_conn(s);
    ok(sx_store_part_end(s, true));
    ok(sx_store_release(s));
    ok(sx_store_savepoint(s));
    ok(sx_store_part(s));
    (void)add_conn(s);
    ok(sx_store_part_end(s, true));
    ok(sx_store_part(s));
    (void)add_conn(s);
    ok(sx_store_undo(s)); /* with what was kept of it */
    ok(sx_store_commit(s));
    assert_int_equal(count_conns(s), 2);
    sx_store_close(s);
}

static void slices_are_valid_until_the_next_call(void **state)
{
    struct sx_store *s = tmp_open(*state);
    struct sx_event_row e = { .data = sx_str("first") }, a, b;

    ok(sx_store_event_add(s, &e));
    e.data = sx_str("second");
    ok(sx_store_event_add(s, &e));
    ok(sx_store_begin(s));
    ok(sx_store_event_next(s, 0, &a));
    assert_true(sx_bytes_eq(a.data, sx_str("first")));
    ok(sx_store_commit(s)); /* with a row on loan */
    ok(sx_store_event_next(s, 0, &a));
    ok(sx_store_begin(s));
    ok(sx_store_event_next(s, a.id, &b));
    assert_true(sx_bytes_eq(b.data, sx_str("second")));
    sx_store_rollback(s);
    ok(sx_store_event_next(s, 0, &a));
    ok(sx_store_rekey(s, sx_str("k"), false));
    ok(sx_store_event_next(s, 0, &a));
    assert_true(sx_bytes_eq(a.data, sx_str("first")));
    sx_store_close(s);
}

/* ---- faults ---- */

static simplex_rc two_events(struct sx_store *s, int64_t conn)
{
    struct sx_event_row e = { .conn_id = conn, .data = sx_str("event") };
    simplex_rc rc = sx_store_event_add(s, &e);

    return rc == SIMPLEX_OK ? sx_store_event_add(s, &e) : rc;
}

/* A handler as the agent writes them; undoes its part when it fails. */
static simplex_rc handler(struct sx_store *s)
{
    struct sx_conn c = make_conn();
    simplex_rc rc = sx_store_savepoint(s);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_conn_add(s, &c);
    if (rc == SIMPLEX_OK)
        rc = two_events(s, c.id);
    if (rc == SIMPLEX_OK)
        return sx_store_release(s);
    simplex_rc undone = sx_store_undo(s);
    return undone == SIMPLEX_OK ? rc : undone;
}

static simplex_rc turn(struct sx_store *s)
{
    simplex_rc rc = sx_store_begin(s);

    for (int i = 0; rc == SIMPLEX_OK && i < 3; i++)
        rc = handler(s);
    if (rc == SIMPLEX_OK)
        return sx_store_commit(s);
    sx_store_rollback(s);
    return rc;
}

static void a_fault_at_any_statement_leaves_all_or_nothing(void **state)
{
    static const simplex_rc kinds[] = { SIMPLEX_E_DB_FULL, SIMPLEX_E_DB_IO, SIMPLEX_E_NOMEM,
                                        SIMPLEX_E_DB_DAMAGED };
    struct sx_store *s = tmp_open(*state);
    size_t conns = 0;

    for (size_t k = 0; k < SX_COUNT(kinds); k++) {
        bool fired = true;
        unsigned nth;
        for (nth = 0; fired; nth++) {
            sx_store_fault(s, nth, kinds[k]);
            simplex_rc rc = turn(s);
            fired = sx_store_fault_disarm(s);
            assert_int_equal(rc, fired ? kinds[k] : SIMPLEX_OK);
            conns += fired ? 0 : 3;
            assert_false(sx_store_in_transaction(s));
            assert_int_equal(count_conns(s), conns);
            assert_int_equal(count_events(s), conns * 2);
        }
        assert_int_equal(nth,
                         16); /* begin, 3 * 3 rows, 2 * (savepoint, release), commit; then none */
    }
    sx_store_close(s);
    s = tmp_open(*state);
    assert_int_equal(count_conns(s), conns);
    sx_store_close(s);
}

static void nothing_is_written_piece_by_piece_after_a_lost_transaction(void **state)
{
    struct sx_store *s = tmp_open(*state);
    struct sx_conn c = make_conn();

    ok(sx_store_begin(s));
    (void)add_conn(s);
    sx_store_fault(s, 0, SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_DB_FULL);
    assert_true(sx_store_in_transaction(s));
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_conn_get(s, 1, &c), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_begin(s), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_savepoint(s), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_commit(s), SIMPLEX_E_DB_FULL);
    assert_false(sx_store_in_transaction(s));
    assert_int_equal(count_conns(s), 0);
    (void)add_conn(s); /* and everything goes on */
    assert_int_equal(count_conns(s), 1);
    sx_store_close(s);
}

static void a_transaction_that_cannot_start_over_is_lost(void **state)
{
    struct sx_store *s = tmp_open(*state);
    struct sx_conn c = make_conn();

    ok(sx_store_begin(s));
    ok(sx_store_savepoint(s));
    (void)add_conn(s);
    sx_store_fault(s, 0, SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_undo(s), SIMPLEX_E_NOMEM);
    assert_true(sx_store_fault_disarm(s));
    assert_true(sx_store_in_transaction(s));
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_event_next(s, 0, &(struct sx_event_row){ 0 }), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_savepoint(s), SIMPLEX_E_NOMEM);
    assert_int_equal(sx_store_commit(s), SIMPLEX_E_NOMEM);
    assert_int_equal(count_conns(s), 0);
    (void)add_conn(s);
    assert_int_equal(count_conns(s), 1);

    ok(sx_store_begin(s)); /* lost before the savepoint ends */
    ok(sx_store_savepoint(s));
    sx_store_fault(s, 0, SIMPLEX_E_DB_IO);
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_DB_IO);
    assert_int_equal(sx_store_release(s), SIMPLEX_E_DB_IO);
    assert_int_equal(sx_store_undo(s), SIMPLEX_E_DB_IO);
    sx_store_rollback(s);
    assert_int_equal(count_conns(s), 1);
    sx_store_close(s);
}

static void a_failed_commit_rolls_back(void **state)
{
    struct sx_store *s = tmp_open(*state);

    ok(sx_store_begin(s));
    (void)add_conn(s);
    sx_store_fault(s, 0, SIMPLEX_E_DB_IO);
    assert_int_equal(sx_store_commit(s), SIMPLEX_E_DB_IO);
    assert_false(sx_store_in_transaction(s));
    assert_int_equal(count_conns(s), 0);
    sx_store_close(s);
}

#define FAILS(call)                                            \
    do {                                                       \
        sx_store_fault(s, 0, SIMPLEX_E_DB_IO);                 \
        assert_string_equal(simplex_rc_name(call), "E_DB_IO"); \
        assert_true(sx_store_fault_disarm(s));                 \
        assert_false(sx_store_in_transaction(s));              \
    } while (0)

static void faults_of_connections(struct sx_store *s, int64_t conn)
{
    struct sx_conn c = make_conn();
    int64_t ids[3];
    size_t count = 3;

    FAILS(sx_store_conn_add(s, &c));
    c.id = conn;
    FAILS(sx_store_conn_get(s, conn, &c));
    FAILS(sx_store_conn_update(s, &c));
    FAILS(sx_store_conn_delete(s, conn));
    FAILS(sx_store_conn_list(s, 0, ids, &count));
}

/* Returns the sending queue, which stays. */
static int64_t faults_of_queues(struct sx_store *s, int64_t conn)
{
    struct sx_rcv_queue rq = make_rcvq(conn, 1);
    struct sx_snd_queue sq = make_sndq(conn);
    struct sx_queue_counts counts = { 0 };

    FAILS(sx_store_rcvq_add(s, &rq));
    ok(sx_store_rcvq_add(s, &rq));
    FAILS(sx_store_rcvq_get(s, rq.id, &rq));
    FAILS(sx_store_rcvq_find(s, &rq.server, sx_id_bytes(&rq.rcv_id), &rq));
    FAILS(sx_store_rcvq_of(s, conn, 0, &rq));
    FAILS(sx_store_rcvq_update(s, &rq));
    FAILS(sx_store_rcvq_next(s, 0, &rq));
    FAILS(sx_store_counts_put(s, rq.id, &counts));
    FAILS(sx_store_counts_get(s, rq.id, &counts));
    FAILS(sx_store_rcvq_delete(s, rq.id));
    FAILS(sx_store_sndq_add(s, &sq));
    ok(sx_store_sndq_add(s, &sq));
    FAILS(sx_store_sndq_get(s, sq.id, &sq));
    FAILS(sx_store_sndq_of(s, conn, 0, &sq));
    FAILS(sx_store_sndq_update(s, &sq));
    FAILS(sx_store_sndq_next(s, 0, &sq));
    FAILS(sx_store_sndq_delete(s, sq.id));
    return sq.id;
}

static void faults_of_keys(struct sx_store *s, int64_t conn)
{
    struct sx_ratchet r = make_ratchet(), got = { 0 };
    struct sx_skipped_diff no_diff = { 0 };
    struct sx_skipped k = make_skipped(1, 2);
    struct sx_x3dh_keys x;

    ok(sx_ratchet_add_skipped(&r, &k));
    FAILS(sx_store_ratchet_put(s, conn, &r, NULL));
    FAILS(sx_store_ratchet_put(s, conn, &r, &no_diff));
    ok(sx_store_ratchet_put(s, conn, &r, NULL));
    FAILS(sx_store_ratchet_get(s, conn, &got));
    FAILS(sx_store_ratchet_get_snd(s, conn, &got));
    sx_store_fault(s, 1, SIMPLEX_E_DB_IO); /* while reading the skipped keys */
    assert_int_equal(sx_store_ratchet_get(s, conn, &got), SIMPLEX_E_DB_IO);
    assert_null(got.skipped);
    ok(sx_x3dh_keys_new(false, &x));
    FAILS(sx_store_x3dh_put(s, conn, &x));
    FAILS(sx_store_x3dh_get(s, conn, &x));
    FAILS(sx_store_x3dh_delete(s, conn));
    sx_ratchet_wipe(&r);
    sx_x3dh_keys_wipe(&x);
}

static void faults_of_sending(struct sx_store *s, int64_t conn, int64_t queue)
{
    struct sx_snd_msg sm = { .conn_id = conn, .id = 1 };
    int64_t n;
    bool flag;

    FAILS(sx_store_snd_msg_add(s, &sm));
    ok(sx_store_snd_msg_add(s, &sm));
    FAILS(sx_store_delivery_add(s, queue, conn, 1));
    ok(sx_store_delivery_add(s, queue, conn, 1));
    FAILS(sx_store_delivery_next(s, queue, 0, &sm));
    FAILS(sx_store_delivery_retry(s, queue, 1, 1, false));
    FAILS(sx_store_delivery_count_of(s, queue, &n));
    FAILS(sx_store_delivery_count(s, conn, &n));
    FAILS(sx_store_msg_sent(s, conn, 1));
    FAILS(sx_store_delivery_copy(s, queue, queue));
    for (unsigned nth = 0; nth < 5; nth++) { /* begin, three statements, commit */
        sx_store_fault(s, nth, SIMPLEX_E_DB_FULL);
        assert_int_equal(sx_store_delivery_move(s, queue, queue, 1, 9), SIMPLEX_E_DB_FULL);
        ok(sx_store_delivery_next(s, queue, 0, &sm));
    }
    for (unsigned nth = 0; nth < 4; nth++) { /* begin, two statements, commit */
        sx_store_fault(s, nth, SIMPLEX_E_DB_FULL);
        assert_int_equal(sx_store_delivery_done(s, queue, conn, 1, &flag), SIMPLEX_E_DB_FULL);
        assert_false(flag);
        ok(sx_store_delivery_next(s, queue, 0, &sm));
    }
}

static void faults_of_receiving(struct sx_store *s, int64_t conn)
{
    struct sx_rcv_msg_row rm = { .conn_id = conn, .id = 2 };
    struct sx_age age = { .n = 1 };
    int64_t n;
    bool flag;
    unsigned u;

    FAILS(sx_store_rcv_msg_add(s, &rm));
    FAILS(sx_store_rcv_msg_get(s, conn, 2, &rm));
    FAILS(sx_store_rcv_msg_find(s, conn, 1, sx_str("x"), &rm));
    FAILS(sx_store_rcv_msg_other(s, conn, 1, &flag));
    FAILS(sx_store_rcv_msg_attempt(s, conn, 2));
    FAILS(sx_store_rcv_msg_delete(s, conn, 2));
    FAILS(sx_store_rcv_hash_add(s, conn, rm.hash, 1, 1));
    FAILS(sx_store_rcv_hash_known(s, conn, rm.hash, &flag, NULL));
    FAILS(sx_store_cleanup(s, 1, 1, &u));
    FAILS(sx_store_key_hash_add(s, conn, rm.hash, 1, 0));
    FAILS(sx_store_key_hash_known(s, conn, rm.hash, &flag));
    FAILS(sx_store_key_hash_count(s, conn, 0, 9, &n));
    FAILS(sx_store_age_put(s, &age));
    FAILS(sx_store_age_get(s, &age));
}

static void faults_of_what_waits(struct sx_store *s, int64_t conn)
{
    struct sx_invitation inv = { .conn_id = conn, .link = sx_str("link") };
    struct sx_confirmation cf = { .conn_id = conn };
    struct sx_command cmd = { .conn_id = conn };
    struct sx_event_row e = { .conn_id = conn };
    int64_t ids[3], n;
    size_t count;
    bool flag;

    FAILS(sx_store_conf_add(s, &cf));
    FAILS(sx_store_conf_get(s, 1, &cf));
    FAILS(sx_store_conf_accept(s, 1, sx_str("x")));
    FAILS(sx_store_conf_delete_all(s, conn));
    FAILS(sx_store_inv_add(s, &inv, 1));
    FAILS(sx_store_inv_known(s, conn, inv.link, &flag));
    FAILS(sx_store_inv_get(s, 1, &inv));
    FAILS(sx_store_inv_close(s, 1, 0));
    FAILS(sx_store_inv_count(s, conn, &n));
    count = 3;
    FAILS(sx_store_inv_list(s, 0, ids, &count));
    FAILS(sx_store_inv_delete_all(s, conn));
    FAILS(sx_store_command_add(s, &cmd));
    FAILS(sx_store_command_next(s, conn, 0, &cmd));
    FAILS(sx_store_command_delete(s, 1));
    count = 3;
    FAILS(sx_store_command_conns(s, 0, ids, &count));
    FAILS(sx_store_event_add(s, &e));
    ok(sx_store_event_add(s, &e));
    FAILS(sx_store_event_next(s, 0, &e));
    sx_store_fault(s, 1, SIMPLEX_E_DB_IO); /* behind the messages */
    assert_int_equal(sx_store_event_next(s, 0, &e), SIMPLEX_E_DB_IO);
    FAILS(sx_store_event_delete(s, 1));
}

static void each_function_reports_a_fault(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn = add_conn(s);

    faults_of_connections(s, conn);
    int64_t queue = faults_of_queues(s, conn);
    faults_of_keys(s, conn);
    faults_of_sending(s, conn, queue);
    faults_of_receiving(s, conn);
    faults_of_what_waits(s, conn);
    assert_int_equal(count_conns(s), 1);
    sx_store_close(s);
}

/* ---- memory ---- */

/* The database's own allocations too. Not while opening: SQLCipher 4.6 itself does not look at the
 * result of some allocations when it sets up its providers. */
static void statements_survive_each_failed_malloc(void **state)
{
    struct sx_store *s = tmp_open(*state);
    bool fired = true;
    unsigned failed = 0;
    size_t conns;

    ok(turn(s));
    conns = 3;
    sx_store_fault_memory(true);
    for (unsigned nth = 0; fired; nth++) {
        sx_fault_malloc(nth);
        simplex_rc rc = turn(s);
        fired = sx_fault_disarm();
        if (rc != SIMPLEX_OK)
            assert_string_equal(simplex_rc_name(rc), "E_NOMEM");
        failed += rc != SIMPLEX_OK;
        conns += rc == SIMPLEX_OK ? 3 : 0;
        assert_int_equal(count_conns(s), conns);
        assert_int_equal(count_events(s), conns * 2);
    }
    sx_store_fault_memory(false);
    assert_true(failed > 3);
    sx_store_close(s);
}

static void reading_a_ratchet_survives_each_failed_malloc(void **state)
{
    struct sx_store *s = tmp_open(*state);
    int64_t conn = add_conn(s);
    struct sx_ratchet r = make_ratchet(), got;
    bool fired = true;

    for (uint32_t n = 0; n < 100; n++) {
        struct sx_skipped k = make_skipped(1, n);
        ok(sx_ratchet_add_skipped(&r, &k));
    }
    ok(sx_store_ratchet_put(s, conn, &r, NULL));
    sx_ratchet_wipe(&r);
    size_t live = sx_fault_live_blocks();
    for (unsigned nth = 0; fired; nth++) {
        sx_fault_malloc(nth);
        simplex_rc rc = sx_store_ratchet_get(s, conn, &got);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        if (rc == SIMPLEX_OK) {
            assert_int_equal(got.n_skipped, 100);
            sx_ratchet_wipe(&got);
        }
        assert_int_equal(sx_fault_live_blocks(), live);
    }
    sx_store_close(s);
}

/* ---- a full disk ---- */

static simplex_rc fill(struct sx_store *s, unsigned *committed)
{
    static uint8_t body[16000];
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned i = 0; rc == SIMPLEX_OK && i < 500; i++) {
        struct sx_conn c = make_conn();
        struct sx_event_row e = { .data = { body, sizeof body } };
        rc = sx_store_begin(s);
        if (rc == SIMPLEX_OK)
            rc = sx_store_conn_add(s, &c);
        for (int k = 0; rc == SIMPLEX_OK && k < 3; k++)
            rc = sx_store_event_add(s, &e);
        if (rc == SIMPLEX_OK)
            rc = sx_store_commit(s);
        else
            sx_store_rollback(s);
        *committed += rc == SIMPLEX_OK;
    }
    return rc;
}

static void a_full_database_keeps_what_was_committed(void **state)
{
    struct sx_store *s = tmp_open(*state);
    unsigned committed = 0;

    ok(sx_store_exec(s, "PRAGMA max_page_count = 200"));
    assert_string_equal(simplex_rc_name(fill(s, &committed)), "E_DB_FULL");
    assert_true(committed > 3);
    assert_int_equal(count_conns(s), committed);
    assert_int_equal(count_events(s), 3 * committed);
    ok(sx_store_exec(s, "PRAGMA max_page_count = 100000"));
    ok(turn(s)); /* goes on when there is room */
    sx_store_close(s);
}

/* The limit of the file size hits the log like a full disk: a write is cut short or refused. */
static void a_full_disk_keeps_what_was_committed(void **state)
{
    const struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    unsigned shared[2] = { 0, 0 };
    int out[2];

    assert_int_equal(pipe(out), 0);
    sx_store_close(tmp_open(t));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit limit = { 500000, 500000 };
        struct sx_store *s = NULL;
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || sx_store_open(&cfg, &s) != SIMPLEX_OK)
            _exit(1);
        bool full = fill(s, &shared[0]) == SIMPLEX_E_DB_FULL;
        shared[1] = full && count_conns(s) == shared[0]; /* still readable */
        if (write(out[1], shared, sizeof shared) != sizeof shared)
            _exit(2);
        sx_store_close(s);
        _exit(0);
    }
    close(out[1]);
    assert_int_equal(read(out[0], shared, sizeof shared), sizeof shared);
    close(out[0]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(shared[1], 1);
    assert_true(shared[0] > 0);
    struct sx_store *s = tmp_open(t);
    assert_int_equal(count_conns(s), shared[0]);
    assert_int_equal(count_events(s), 3 * shared[0]);
    ok(turn(s));
    sx_store_close(s);
}

static void creating_on_a_full_disk_leaves_no_file(void **state)
{
    const struct tmp *t = *state;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit limit = { 30000, 30000 };
        struct sx_store_cfg cfg = tmp_cfg(t);
        struct sx_store *s = NULL;
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(1);
        _exit(sx_store_open(&cfg, &s) == SIMPLEX_E_DB_FULL && s == NULL ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(tmp_files(t, false), 0);
}

/* ---- sudden death ---- */

/* Commits connections with two events each, tells after each commit, and never stops. */
static void write_until_killed(const struct tmp *t, int tell)
{
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s = NULL;
    static uint8_t body[9000];

    if (sx_store_open(&cfg, &s) != SIMPLEX_OK)
        _exit(1);
    for (;;) {
        struct sx_conn c = make_conn();
        struct sx_event_row e = { .data = { body, sizeof body } };
        if (sx_store_begin(s) != SIMPLEX_OK || sx_store_conn_add(s, &c) != SIMPLEX_OK)
            _exit(2);
        e.conn_id = c.id;
        if (sx_store_event_add(s, &e) != SIMPLEX_OK || sx_store_event_add(s, &e) != SIMPLEX_OK ||
            sx_store_commit(s) != SIMPLEX_OK || write(tell, "c", 1) != 1)
            _exit(3);
    }
}

static void committed_rows_survive_kill_and_others_do_not(void **state)
{
    const struct tmp *t = *state;
    size_t before = 0, total = 0;

    for (unsigned round = 0; round < 20; round++) {
        int p[2];
        char byte;
        size_t told = 0, now;
        assert_int_equal(pipe(p), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(p[0]);
            write_until_killed(t, p[1]);
        }
        close(p[1]);
        while (told < round * 5 && read(p[0], &byte, 1) == 1)
            told++;
        (void)usleep(round * 137 % 1000); /* somewhere within the next one */
        assert_int_equal(kill(pid, SIGKILL), 0);
        while (read(p[0], &byte, 1) == 1)
            told++;
        close(p[0]);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); /* the child had no error of its own */
        struct sx_store *s = tmp_open(t);
        now = count_conns(s);
        assert_in_range(now - before, told, told + 1); /* it may die between commit and telling */
        assert_int_equal(count_events(s), 2 * now);
        sx_store_close(s);
        before = now;
        total += told;
    }
    assert_true(total > 500);
}

/* While the key is being changed: then one of the two opens it, and everything is there. */
static void a_killed_change_of_the_key_leaves_one_key(void **state)
{
    const struct tmp *t = *state;
    struct sx_store_cfg old = tmp_cfg(t), now = old;
    static const uint8_t other[32] = { 9 };
    unsigned changed = 0, kept = 0, committed = 0, us = 0;

    now.key = sx_bytes(other, 32);
    struct sx_store *s = tmp_open(t);
    (void)fill(s, &committed);
    sx_store_close(s);
    for (unsigned round = 0; round < 60 && (changed < 2 || kept < 2); round++) {
        struct sx_store_cfg swap = old;
        int p[2];
        assert_int_equal(pipe(p), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            if (sx_store_open(&old, &s) != SIMPLEX_OK || write(p[1], "o", 1) != 1)
                _exit(1);
            (void)!sx_store_rekey(s, now.key, true);
            for (;;)
                (void)pause();
        }
        char byte;
        assert_int_equal(read(p[0], &byte, 1), 1);
        close(p[0]);
        close(p[1]);
        (void)usleep(us);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        simplex_rc rc = sx_store_open(&now, &s);
        us = next_kill(us, rc == SIMPLEX_OK);
        if (rc == SIMPLEX_OK) {
            changed++;
            old = now;
            now = swap;
        } else {
            assert_string_equal(simplex_rc_name(rc), "E_DB_KEY");
            kept++;
            ok(sx_store_open(&old, &s));
        }
        assert_int_equal(count_conns(s), committed);
        assert_int_equal(count_events(s), 3 * committed);
        sx_store_close(s);
    }
    assert_true(changed > 0);
    assert_true(kept > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, tmp_setup, tmp_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_transaction_is_seen_inside_and_goes_with_rollback),
        T(a_savepoint_undoes_a_part),
        T(a_part_of_a_savepoint_is_undone_by_itself),
        T(slices_are_valid_until_the_next_call),
        T(a_fault_at_any_statement_leaves_all_or_nothing),
        T(nothing_is_written_piece_by_piece_after_a_lost_transaction),
        T(a_failed_commit_rolls_back),
        T(a_transaction_that_cannot_start_over_is_lost),
        T(each_function_reports_a_fault),
        T(statements_survive_each_failed_malloc),
        T(reading_a_ratchet_survives_each_failed_malloc),
        T(a_full_database_keeps_what_was_committed),
        T(a_full_disk_keeps_what_was_committed),
        T(creating_on_a_full_disk_leaves_no_file),
        T(committed_rows_survive_kill_and_others_do_not),
        T(a_killed_change_of_the_key_leaves_one_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
