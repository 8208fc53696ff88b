/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent asks its database before it does something: when the disk fails to answer, that is
 * no "no". The questions here are whether a queue has a short link, and whether that was told to
 * somebody: such a queue stays where it is, and is not left out for another one.
 */
#include "lone_agent.h"

#include "agent/command.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/several.h"
#include "agent/subscribe.h"
#include "agent/unread.h"
#include "agent/users.h"
#include "agent/work.h"

static char dir[256];
static struct simplex_agent *a;
static struct sx_conn c;
static struct sx_rcv_queue q; /* with the short link, on a server that is away */
static struct sx_command cmd; /* its NEW */
static struct sx_rt_conn *worker;

static int setup(void **state)
{
    (void)state;
    a = lone_agent_open(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lone_agent_close(a, dir);
    return 0;
}

static struct sx_server server_of(const char *text)
{
    struct sx_server server;
    simplex_bytes password;

    must(sx_server_parse(sx_str(text), &server, &password));
    return server;
}

/* The server of the configuration is another one: there it could move to. */
static void make_link(bool told)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("data") };
    int64_t conn;

    must(sx_create_short(a, SIMPLEX_USER_DEFAULT, SIMPLEX_LINK_CONTACT, 0, &d, told, &conn));
    must(sx_store_conn_get(a->store, conn, &c));
    must(sx_store_rcvq_of(a->store, conn, 0, &q));
    q.server = server_of("smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@away.test");
    must(sx_store_rcvq_update(a->store, &q));
    if (told)
        must(sx_command_add(a, conn, SX_C_NEW, q.id, sx_bytes(NULL, 0)));
    must(sx_store_command_next(a->store, conn, 0, &cmd));
    cmd.data = sx_bytes(NULL, 0);
    worker = sx_rt_conn_get(a, conn, true);
    assert_non_null(worker);
}

static void add_made_queue(void)
{
    struct sx_server server = a->servers.v[0].server;
    struct sx_rcv_queue spare;

    must(sx_new_rcv_queue_on(a, c.id, &server, SX_CLIENT_MAX, 0, &spare));
    spare.primary = false;
    spare.rcv_id.len = 24;
    sx_random(spare.rcv_id.b, 24);
    must(sx_store_rcvq_update(a->store, &spare));
}

static void queue_stays(void)
{
    struct sx_rcv_queue now;

    must(sx_store_rcvq_get(a->store, q.id, &now));
    assert_true(sx_server_eq(&now.server, &q.server));
    assert_false(now.deleted);
}

/* Without a transaction around: what a step would write on a wrong answer stays. */
static void fail_each_statement(simplex_rc (*step)(void), simplex_rc otherwise, unsigned least)
{
    bool fired = true;
    unsigned nth;

    for (nth = 0; fired; nth++) {
        sx_store_fault(a->store, nth, SIMPLEX_E_DB_IO);
        simplex_rc rc = step();
        fired = sx_store_fault_disarm(a->store);
        assert_int_equal(rc, fired ? SIMPLEX_E_DB_IO : otherwise);
        queue_stays();
    }
    assert_true(nth > least);
}

static simplex_rc move_elsewhere(void)
{
    return sx_new_move(a, worker, &c, &cmd);
}

static void a_link_that_was_told_is_not_moved_when_the_disk_fails(void **state)
{
    struct sx_rcv_queue now;

    (void)state;
    make_link(true);
    fail_each_statement(move_elsewhere, SIMPLEX_OK, 1);
    make_link(false); /* nobody has it yet */
    must(move_elsewhere());
    must(sx_store_rcvq_get(a->store, q.id, &now));
    assert_true(sx_server_eq(&now.server, &a->servers.v[0].server));
}

static simplex_rc away(void)
{
    return sx_queue_away(a, &c, &cmd);
}

static void nor_as_one_of_several(void **state)
{
    (void)state;
    make_link(true);
    fail_each_statement(away, SIMPLEX_OK, 3);
}

static simplex_rc fail_for_good(void)
{
    bool handled;
    simplex_rc rc = sx_several_failed(a, &c, &cmd, SIMPLEX_E_SERVER, NULL, &handled);

    assert_false(handled);
    return rc;
}

static void a_queue_with_a_link_is_not_left_out_when_the_disk_fails(void **state)
{
    (void)state;
    make_link(false);
    add_made_queue();
    add_made_queue();
    fail_each_statement(fail_for_good, SIMPLEX_OK, 4);
}

/* No statement fails here, but the row says what it cannot say. */
static void nor_when_its_row_is_damaged(void **state)
{
    (void)state;
    make_link(true);
    c.rcv_queues = 2;
    must(sx_store_conn_update(a->store, &c));
    add_made_queue();
    must(sx_store_exec(a->store, "UPDATE link_data SET link_state = 99"));
    worker->command = cmd.id;
    assert_int_equal(sx_command_try_answer(a, worker, SIMPLEX_E_DISCONNECTED, NULL),
                     SIMPLEX_E_DB_DAMAGED);
    queue_stays();
}

static simplex_rc print_link(void)
{
    struct sx_rcv_queue found;
    struct sx_conn of;

    return sx_link_queue(a, c.id, &of, &found);
}

static void a_prepared_link_is_not_called_missing_when_the_disk_fails(void **state)
{
    (void)state;
    make_link(true);
    fail_each_statement(print_link, SIMPLEX_OK, 3);
    make_link(false);
    fail_each_statement(print_link, SIMPLEX_E_PROHIBITED, 3);
}

/* ---- messages that were left on their server ---- */

static struct sx_rt_rcvq *add_left_queue(void)
{
    must(sx_load_queues(a)); /* as they are after a failure */
    for (size_t b = 0; b < SX_TABLE; b++) {
        if (a->rcvqs_by_id[b] != NULL) {
            sx_unread_left(a, a->rcvqs_by_id[b]->id);
            return a->rcvqs_by_id[b];
        }
    }
    return NULL;
}

static void messages_left_on_a_server_are_not_forgotten_when_the_disk_fails(void **state)
{
    bool fired = true;
    unsigned nth;

    (void)state;
    make_link(false);
    add_made_queue();
    for (nth = 0; fired; nth++) {
        const struct sx_rt_rcvq *rt = add_left_queue();
        assert_non_null(rt);
        sx_store_fault(a->store, nth, SIMPLEX_E_DB_IO);
        simplex_rc rc = sx_unread_less(a, c.id);
        fired = sx_store_fault_disarm(a->store);
        assert_int_equal(rc, fired ? SIMPLEX_E_DB_IO : SIMPLEX_OK);
        if (!fired)
            assert_false(rt->left);
        lone_agent_undo(a);
    }
    assert_true(nth > 3);
}

int main(void)
{
#define ALONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ALONE(a_link_that_was_told_is_not_moved_when_the_disk_fails),
        ALONE(nor_as_one_of_several),
        ALONE(a_queue_with_a_link_is_not_left_out_when_the_disk_fails),
        ALONE(nor_when_its_row_is_damaged),
        ALONE(a_prepared_link_is_not_called_missing_when_the_disk_fails),
        ALONE(messages_left_on_a_server_are_not_forgotten_when_the_disk_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
