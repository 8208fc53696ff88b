/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices to clients: an operator blocks an address and asks its owner to make no other one for a
 * time (testClientNotice of the reference). The server's log of queues is written by hand while it
 * is stopped, as the reference's test does.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "store/notice.h"
#include "support/agents.h"
#include "support/free_port.h"

#define HOUR_S 3600

static struct place {
    char dir[256], server_dir[256];
    simplex_server_config cfg;
    struct test_server srv;
    struct test_agent t;
} p;

static int open_place(void **state)
{
    (void)state;
    memset(&p, 0, sizeof p);
    tmp_make(p.dir);
    tmp_make(p.server_dir);
    simplex_server_config_init(&p.cfg);
    p.cfg.dir = p.cfg.state_dir = p.server_dir;
    p.cfg.port = free_port();
    p.cfg.messages_in_memory = true;
    server_start(&p.srv, &p.cfg);
    agent_open(&p.t, p.dir, "t", p.srv.address);
    return 0;
}

static int close_place(void **state)
{
    (void)state;
    agent_close(&p.t);
    server_stop(&p.srv);
    tmp_remove(p.dir);
    tmp_remove(p.server_dir);
    return 0;
}

static int64_t make_address(void)
{
    int64_t conn;

    must(simplex_agent_create_address(p.t.a, &conn));
    expect(&p.t, SIMPLEX_EV_INV, conn);
    return conn;
}

/* ---- the operator ---- */

struct id {
    int64_t conn;
    char text[64];
};

static simplex_rc find_id(struct simplex_agent *a, void *arg)
{
    struct id *x = arg;
    struct sx_rcv_queue q;
    struct sx_wr w;
    simplex_rc rc = sx_store_rcvq_of(a->store, x->conn, 0, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, (uint8_t *)x->text, sizeof x->text - 1);
    sx_b64url_encode(&w, sx_id_bytes(&q.rcv_id));
    x->text[w.len] = 0;
    sx_wipe(&q, sizeof q);
    return SIMPLEX_OK;
}

/* A line for this queue, and the server is there again; the agent asks anew. */
static void operator_says(const char *what, int64_t conn, const char *how)
{
    struct id id = { .conn = conn };
    char path[300];
    FILE *f;

    must(sx_agent_run(p.t.a, find_id, &id, true));
    agent_close(&p.t);
    server_stop(&p.srv);
    (void)snprintf(path, sizeof path, "%s/smp-server-store.log", p.server_dir);
    f = fopen(path, "a");
    assert_non_null(f);
    assert_true(fprintf(f, "%s %s%s\n", what, id.text, how) > 0);
    assert_int_equal(fclose(f), 0);
    server_start(&p.srv, &p.cfg);
    agent_reopen(&p.t);
}

static void expect_blocked(int64_t conn, const char *detail)
{
    simplex_event *ev = wait_event(&p.t, SIMPLEX_EV_ERR, conn);

    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

/* ---- the application ---- */

/* The time that is left in seconds; 0: no end. */
static int64_t noticed(void)
{
    simplex_notice n = { .size = sizeof n };
    simplex_link_data d = { .size = sizeof d, .data = sx_str("x") };
    int64_t conn;

    assert_int_equal(simplex_agent_create_address(p.t.a, &conn), SIMPLEX_E_NOTICE);
    assert_int_equal(
        simplex_agent_create_short(p.t.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &d, &conn),
        SIMPLEX_E_NOTICE);
    must(simplex_agent_create(p.t.a, SIMPLEX_PQ_OFF, &conn)); /* for one contact: as ever */
    expect(&p.t, SIMPLEX_EV_INV, conn);
    must(simplex_agent_notice(p.t.a, 0, &n));
    assert_non_null(strstr(p.srv.address, n.server));
    assert_int_equal(simplex_agent_notice(p.t.a, 1, &n), SIMPLEX_E_NOT_FOUND);
    n.size = 1;
    assert_int_equal(simplex_agent_notice(p.t.a, 0, &n), SIMPLEX_E_ARG);
    n.size = sizeof n;
    must(simplex_agent_notice(p.t.a, 0, &n));
    return n.until == 0 ? 0 : (n.until - sx_now_ms() + 999) / 1000;
}

static void not_noticed(void)
{
    simplex_notice n = { .size = sizeof n };

    assert_int_equal(simplex_agent_notice(p.t.a, 0, &n), SIMPLEX_E_NOT_FOUND);
    (void)make_address();
}

/* Makes what was seen earlier: waiting takes as long as it says. */
static simplex_rc go_back(struct simplex_agent *a, void *arg)
{
    struct sx_notices n = { .server = "" };
    struct sx_rcv_queue q;
    const struct id *x = arg;
    struct sx_notice old = { .has_ttl = true, .ttl = HOUR_S };
    simplex_rc rc = sx_store_notices_next(a->store, &n);

    if (rc != SIMPLEX_OK)
        return rc;
    old.at = n.at - HOUR_S * 1000LL;
    rc = sx_store_rcvq_of(a->store, x->conn, 0, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_notice_delete(a->store, n.server, sx_id_bytes(&q.rcv_id));
    if (rc == SIMPLEX_OK)
        rc = sx_store_notice_put(a->store, n.server, sx_id_bytes(&q.rcv_id), &old);
    sx_wipe(&q, sizeof q);
    return rc;
}

static void an_hour_passes_since(int64_t conn)
{
    struct id id = { .conn = conn };

    must(sx_agent_run(p.t.a, go_back, &id, true));
}

/* ---- tests ---- */

static void a_notice_holds_for_its_time_and_notices_add_up(void **state)
{
    static const char blocked[] = "BLOCKED reason=content,notice={\"ttl\":3600}";
    int64_t one, two;

    (void)state;
    one = make_address();
    not_noticed();
    operator_says("BLOCK", one, " reason=content,notice={\"ttl\":3600}");
    expect_blocked(one, blocked);
    assert_in_range(noticed(), HOUR_S - 60, HOUR_S);
    agent_reopen(&p.t);
    expect_blocked(one, blocked); /* said again, which begins nothing anew */
    assert_in_range(noticed(), HOUR_S - 60, HOUR_S);
    an_hour_passes_since(one);
    not_noticed();
    two = make_address();
    operator_says("BLOCK", two, " reason=content,notice={\"ttl\":3600}");
    expect_blocked(two, blocked);
    expect_blocked(one, blocked);
    assert_in_range(noticed(), 2 * HOUR_S - 60, 2 * HOUR_S);
    must(simplex_agent_delete(p.t.a, two)); /* the address goes, what the server asked for stays */
    expect(&p.t, SIMPLEX_EV_DEL_CONN, two);
    assert_in_range(noticed(), 2 * HOUR_S - 60, 2 * HOUR_S);
}

static void a_notice_without_an_end_holds_until_it_is_taken_back(void **state)
{
    int64_t one;

    (void)state;
    one = make_address();
    operator_says("BLOCK", one, " reason=spam,notice={}");
    expect_blocked(one, "BLOCKED reason=spam,notice={}");
    assert_int_equal(noticed(), 0);
    operator_says("BLOCK", one, " reason=spam");
    expect_blocked(one, "BLOCKED reason=spam");
    not_noticed();
    operator_says("BLOCK", one, " reason=spam,notice={\"ttl\":3600}");
    expect_blocked(one, "BLOCKED reason=spam,notice={\"ttl\":3600}");
    assert_in_range(noticed(), HOUR_S - 60, HOUR_S);
    operator_says("UNBLOCK", one, "");
    expect(&p.t, SIMPLEX_EV_UP, 0);
    not_noticed();
}

static void absurd_times_are_bounded(void **state)
{
    int64_t one;

    (void)state;
    one = make_address();
    operator_says("BLOCK", one, " reason=spam,notice={\"ttl\":9000000000000000000}");
    expect(&p.t, SIMPLEX_EV_ERR, one);
    assert_true(noticed() > HOUR_S);
    operator_says("BLOCK", one, " reason=spam,notice={\"ttl\":-5}");
    expect(&p.t, SIMPLEX_EV_ERR, one);
    not_noticed();
}

static void what_cannot_be_written_is_not_half_done(void **state)
{
    struct sx_notice n = { .at = 1 };
    struct sx_store_cfg cfg = { .key = sx_str(AGENT_KEY), .raw_key = true };
    struct sx_store *store;
    char path[300];
    bool fired = true;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/faults.db", p.dir);
    cfg.path = path;
    must(sx_store_open(&cfg, &store));
    for (unsigned nth = 0; fired; nth++) {
        struct sx_notices got = { .server = "" };
        must(sx_store_begin(store));
        sx_store_fault(store, nth, SIMPLEX_E_DB_FULL);
        simplex_rc rc = sx_store_notice_put(store, "host:1", sx_str("a"), &n);
        if (rc == SIMPLEX_OK)
            rc = sx_store_notices_next(store, &got);
        if (rc == SIMPLEX_OK)
            rc = sx_store_notice_delete(store, "host:1", sx_str("a"));
        if (rc == SIMPLEX_OK)
            rc = sx_store_commit(store);
        fired = sx_store_fault_disarm(store);
        assert_int_equal(rc, fired ? SIMPLEX_E_DB_FULL : SIMPLEX_OK);
        sx_store_rollback(store);
        got.server[0] = 0;
        assert_int_equal(sx_store_notices_next(store, &got), SIMPLEX_E_NOT_FOUND);
    }
    sx_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_notice_holds_for_its_time_and_notices_add_up, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(a_notice_without_an_end_holds_until_it_is_taken_back,
                                        open_place, close_place),
        cmocka_unit_test_setup_teardown(absurd_times_are_bounded, open_place, close_place),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_not_half_done, open_place,
                                        close_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
