/* SPDX-License-Identifier: Apache-2.0 */
/* What one connection may take: queues in an interval, subscriptions, memory, commands a block. */
#include "support/server_mem.h"

#include "open_files.h"
#include "peer.h"

struct one {
    struct mem_server m;
    struct mem_client c;
};

static void open_one(struct one *t, struct sx_limits limits)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .limits = limits };

    mem_open(&t->m, &cfg);
    mem_connect(&t->m, &t->c, 0, 0);
}

static void close_one(struct one *t)
{
    mem_disconnect(&t->c);
    mem_close(&t->m);
}

static const struct sx_rsp *try_new(struct mem_client *c, struct mem_queue *q)
{
    mem_keys(q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(q, SX_MODE_MESSAGING, false);
    return mem_cmd(c, &q->rcv, sx_bytes(NULL, 0), &cmd);
}

static void refuses_queues_beyond_the_share_of_an_interval(void **state)
{
    struct one t;
    struct mem_queue q;
    struct mem_client other;

    (void)state;
    open_one(&t, (struct sx_limits){ .queues = 3, .queues_ms = 60000 });
    for (int interval = 0; interval < 3; interval++) {
        for (int i = 0; i < 3; i++)
            mem_assert_tag(try_new(&t.c, &q), SX_R_IDS);
        mem_assert_err(try_new(&t.c, &q), SX_ERR_QUOTA);
        t.m.now += 59999;
        mem_assert_err(try_new(&t.c, &q), SX_ERR_QUOTA);
        t.m.now += 1;
    }
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 9);
    /* Each connection has its own share. */
    mem_assert_tag(try_new(&t.c, &q), SX_R_IDS);
    mem_connect(&t.m, &other, 1, 0);
    for (int i = 0; i < 3; i++)
        mem_assert_tag(try_new(&other, &q), SX_R_IDS);
    mem_assert_err(try_new(&other, &q), SX_ERR_QUOTA);
    mem_disconnect(&other);
    close_one(&t);
}

static void counts_only_queues_that_may_be_created(void **state)
{
    struct one t;
    struct mem_queue q;

    (void)state;
    open_one(&t, (struct sx_limits){ .queues = 1 });
    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
    struct sx_keypair wrong;
    assert_int_equal(sx_keypair_new(SX_ED25519, &wrong), SIMPLEX_OK);
    mem_assert_err(mem_cmd(&t.c, &wrong, sx_bytes(NULL, 0), &cmd), SX_ERR_AUTH);
    mem_assert_tag(mem_cmd(&t.c, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_R_IDS);
    mem_assert_err(mem_cmd(&t.c, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_ERR_QUOTA);
    t.m.now -= 10LL * 3600 * 1000; /* a clock that was set back does not lock anybody out */
    mem_assert_tag(mem_cmd(&t.c, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_R_IDS);
    close_one(&t);
}

static void subscribe_all(struct one *t, unsigned limit)
{
    struct mem_queue q[8];

    assert_true(limit + 1 < SX_COUNT(q));
    for (unsigned i = 0; i <= limit; i++)
        mem_new(&t->c, &q[i], SX_MODE_MESSAGING, false);
    for (unsigned i = 0; i < limit; i++)
        mem_assert_tag(mem_rcv(&t->c, &q[i], SX_SUB), SX_R_SOK);
    mem_assert_err(mem_rcv(&t->c, &q[limit], SX_SUB), SX_ERR_INTERNAL);
    mem_assert_tag(mem_rcv(&t->c, &q[0], SX_SUB), SX_R_SOK); /* it has this one */
    mem_assert_tag(mem_rcv(&t->c, &q[0], SX_DEL), SX_R_OK);  /* makes room */
    mem_assert_tag(mem_rcv(&t->c, &q[limit], SX_SUB), SX_R_SOK);
}

static void refuses_subscriptions_beyond_the_limit(void **state)
{
    struct one t;

    (void)state;
    open_one(&t, (struct sx_limits){ .subs = 5 });
    subscribe_all(&t, 5);
    close_one(&t);
}

static void creates_no_queue_whose_subscription_is_refused(void **state)
{
    struct one t;
    struct mem_queue q;

    (void)state;
    open_one(&t, (struct sx_limits){ .subs = 1 });
    mem_new(&t.c, &q, SX_MODE_MESSAGING, true);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_cmd(&t.c, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_ERR_INTERNAL);
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 1);
    close_one(&t);
}

/* What GET keeps for its ACK goes with the queue, not only with the connection. */
static void a_deleted_queue_leaves_nothing_to_who_used_get(void **state)
{
    struct one t;
    struct mem_client other;
    struct mem_queue q;

    (void)state;
    open_one(&t, (struct sx_limits){ .subs = 3 });
    mem_connect(&t.m, &other, 1, 0);
    for (int i = 0; i < 10; i++) {
        mem_new(&t.c, &q, SX_MODE_MESSAGING, true);
        mem_assert_tag(mem_send(&t.c, &q, false, "here"), SX_R_OK);
        simplex_bytes id = mem_assert_msg(&q, mem_rcv(&other, &q, SX_GET), "here");
        mem_assert_tag(mem_rcv(&t.c, &q, SX_DEL), SX_R_OK);
        mem_assert_err(mem_ack(&other, &q, id), SX_ERR_AUTH);
        assert_int_equal(other.peer.n_subs, 0);
    }
    mem_disconnect(&other);
    close_one(&t);
}

/* Two connections that take a subscription from each other: what is to be told of it is bounded. */
static void ended_subscriptions_take_no_more_than_the_limit(void **state)
{
    struct one t;
    struct mem_client other;
    struct mem_queue q;

    (void)state;
    open_one(&t, (struct sx_limits){ .subs = 5 });
    mem_connect(&t.m, &other, 1, 0);
    mem_new(&t.c, &q, SX_MODE_MESSAGING, false);
    for (int i = 0; i < 50; i++) {
        mem_assert_tag(mem_rcv(&t.c, &q, SX_SUB), SX_R_SOK);
        mem_assert_tag(mem_rcv(&other, &q, SX_SUB), SX_R_SOK);
        assert_in_range(t.c.peer.n_ended, 0, 5);
        assert_in_range(other.peer.n_ended, 0, 5);
    }
    mem_disconnect(&other);
    close_one(&t);
}

static void derives_subscriptions_from_a_limit_of_memory(void **state)
{
    struct sx_limits none = { .memory = 0 }, small = { .memory = 1 },
                     one_mib = { .memory = 1 << 20 }, low = { .memory = 1 << 20, .subs = 7 };
    struct one t;

    (void)state;
    sx_limits_set(&none);
    assert_int_equal(none.subs, 1 << 20);
    assert_int_equal(none.commands, 255);
    assert_int_equal(none.queues, 0);
    sx_limits_set(&small); /* nobody is shut out altogether */
    assert_int_equal(small.subs, 1);
    sx_limits_set(&one_mib);
    assert_in_range(one_mib.subs, 800, 2000);
    sx_limits_set(&low);
    assert_int_equal(low.subs, 7);
    open_one(&t, (struct sx_limits){ .memory = 1 });
    subscribe_all(&t, 1);
    close_one(&t);
}

static void takes_so_many_commands_of_a_block(void **state)
{
    struct one t;
    struct mem_queue q;
    struct mem_batch b;
    struct sx_cmd ping = { .tag = SX_PING }, del = { .tag = SX_DEL };
    const struct mem_item *i;
    unsigned pongs = 0, refused = 0;

    (void)state;
    open_one(&t, (struct sx_limits){ .commands = 4 });
    mem_new(&t.c, &q, SX_MODE_MESSAGING, false);
    mem_batch_open(&b, &t.c);
    for (int k = 0; k < 4; k++)
        mem_batch_add(&b, NULL, sx_bytes(NULL, 0), &ping);
    for (int k = 0; k < 3; k++)
        mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &del);
    mem_batch_run(&b);
    while ((i = mem_next(&t.c)) != NULL) {
        pongs += i->rsp.tag == SX_R_PONG;
        refused += i->rsp.tag == SX_R_ERR && i->rsp.err.err == SX_ERR_INTERNAL;
        assert_int_equal(i->t.corr_id.len, 24);
    }
    assert_int_equal(pongs, 4);
    assert_int_equal(refused, 3);
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 1); /* no DEL was run */
    close_one(&t);
}

static void leaves_files_for_the_journal_whatever_clients_and_relays_take(void **state)
{
    static const uint64_t limits[] = { 0, 1, 3, 16, 64, 256, 1024, 1100, 20000, 65536 };
    struct sx_open_files wanted = { .clients = 100000, .relays = 1000 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(limits); i++) {
        struct sx_open_files s = sx_open_files_share(limits[i], 2, &wanted);
        assert_true(s.clients >= 1 && s.relays >= 1);
        assert_true(s.clients <= wanted.clients && s.relays <= wanted.relays);
        if (limits[i] < 64)
            continue;
        assert_true(s.clients + s.relays + 32 <= limits[i]);
        assert_true(s.clients >= limits[i] / 4);
    }
    uint64_t needed = sx_open_files_needed(2, &wanted);
    assert_int_equal(sx_open_files_share(needed, 2, &wanted).clients, wanted.clients);
    assert_int_equal(sx_open_files_share(needed, 2, &wanted).relays, wanted.relays);
    wanted.relays = 0; /* no proxy */
    assert_int_equal(sx_open_files_share(64, 2, &wanted).relays, 0);
}

static void a_browser_may_have_a_file_beside_its_socket(void **state)
{
    static const uint64_t limits[] = { 256, 1024, 4096, 20000, 65536 };
    struct sx_open_files wanted = { .clients = 100000, .relays = 1000, .web = 1000 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(limits); i++) {
        struct sx_open_files s = sx_open_files_share(limits[i], 2, &wanted);
        assert_true(s.web >= 1 && s.web <= wanted.web);
        assert_true(s.clients + s.relays + 2 * s.web + 32 <= limits[i]);
    }
    struct sx_open_files s = sx_open_files_share(sx_open_files_needed(2, &wanted), 2, &wanted);
    assert_int_equal(s.clients, wanted.clients);
    assert_int_equal(s.web, wanted.web);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_files_for_the_journal_whatever_clients_and_relays_take),
        cmocka_unit_test(a_browser_may_have_a_file_beside_its_socket),
        cmocka_unit_test(refuses_queues_beyond_the_share_of_an_interval),
        cmocka_unit_test(counts_only_queues_that_may_be_created),
        cmocka_unit_test(refuses_subscriptions_beyond_the_limit),
        cmocka_unit_test(creates_no_queue_whose_subscription_is_refused),
        cmocka_unit_test(a_deleted_queue_leaves_nothing_to_who_used_get),
        cmocka_unit_test(ended_subscriptions_take_no_more_than_the_limit),
        cmocka_unit_test(derives_subscriptions_from_a_limit_of_memory),
        cmocka_unit_test(takes_so_many_commands_of_a_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
