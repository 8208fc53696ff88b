/* SPDX-License-Identifier: Apache-2.0 */
#include "resync_stage.h"

#include <stdio.h>
#include <unistd.h>

void assert_blocked(struct test_agent *t, int64_t conn)
{
    int64_t id;

    assert_int_equal(simplex_agent_send(t->a, conn, sx_str("no"), 0, &id), SIMPLEX_E_PROHIBITED);
}

void sync_ok(struct test_agent *t, int64_t conn, bool force)
{
    assert_int_equal(simplex_agent_sync_ratchet(t->a, conn, force), SIMPLEX_OK);
}

void await_delivery(struct test_agent *t, int64_t conn)
{
    while (connection_info(t, conn).pending > 0)
        usleep(1000);
}

void both_agree(struct duo *d)
{
    expect_sync(&d->i, d->ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    expect_sync(&d->j, d->jc, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    expect_sync(&d->i, d->ic, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    expect_sync(&d->j, d->jc, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    assert_int_equal(connection_info(&d->i, d->ic).sync_state, SIMPLEX_SYNC_OK);
    assert_int_equal(connection_info(&d->j, d->jc).sync_state, SIMPLEX_SYNC_OK);
}

void converse(struct duo *d)
{
    for (int n = 0; n < 3; n++) {
        talk(&d->i, d->ic, &d->j, d->jc, "from I");
        talk(&d->j, d->jc, &d->i, d->ic, "from J");
    }
}

void usable_again(struct duo *d)
{
    first_words(&d->i, d->ic, &d->j, d->jc, "first from I");
    first_words(&d->j, d->jc, &d->i, d->ic, "first from J");
    converse(d);
    assert_true(quiet(&d->i, SIMPLEX_EV_MSG, 20)); /* nothing is shown twice */
    assert_true(quiet(&d->j, SIMPLEX_EV_MSG, 20));
    assert_true(quiet(&d->i, SIMPLEX_EV_RSYNC, 1));
    assert_true(quiet(&d->j, SIMPLEX_EV_RSYNC, 1));
}

void both_recover(struct duo *d)
{
    both_agree(d);
    usable_again(d);
}

/* Neither has anything to send, and the server holds nothing: what was on its way has been read,
 * unless something was sent meanwhile, which takes a number. */
static bool at_rest(struct duo *d)
{
    simplex_server_counters n = { .size = sizeof n };
    simplex_connection_info i = connection_info(&d->i, d->ic), j = connection_info(&d->j, d->jc);

    assert_int_equal(simplex_server_count(d->srv.s, &n), SIMPLEX_OK);
    return i.pending == 0 && j.pending == 0 && n.messages == 0 &&
           i.last_msg_id == connection_info(&d->i, d->ic).last_msg_id &&
           j.last_msg_id == connection_info(&d->j, d->jc).last_msg_id;
}

void agreed_at_rest(struct duo *d)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (!at_rest(d)) {
        assert_true(sx_mono_ms() < until);
        usleep(5000);
    }
    assert_int_equal(connection_info(&d->i, d->ic).sync_state, SIMPLEX_SYNC_OK);
    assert_int_equal(connection_info(&d->j, d->jc).sync_state, SIMPLEX_SYNC_OK);
    forget_events(&d->i, SIMPLEX_EV_RSYNC);
    forget_events(&d->j, SIMPLEX_EV_RSYNC);
}

void save_copy(struct test_agent *t)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s.old", t->db);
    agent_close(t);
    copy_file(t->db, path);
    agent_reopen(t);
}

void put_back(struct test_agent *t)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s.old", t->db);
    agent_close(t);
    copy_file(path, t->db);
}

void restore_copy(struct test_agent *t)
{
    char path[320];

    put_back(t);
    (void)snprintf(path, sizeof path, "%s-age", t->db);
    assert_int_equal(unlink(path), 0);
    agent_reopen(t);
}

void open_restored(struct duo *d, int32_t pq)
{
    duo_open(d, NULL);
    connect_agents(&d->i, &d->j, pq, &d->ic, &d->jc);
    talk(&d->i, d->ic, &d->j, d->jc, "before");
    save_copy(&d->j);
    converse(d);
    expect_server_empty(&d->srv); /* or the copy would read the last one again */
    restore_copy(&d->j);
}
