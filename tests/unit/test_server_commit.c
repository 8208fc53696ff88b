/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that wait until what they tell is on disk, seen from the peer they are for. */
#include "support/server_mem.h"

#include <stdlib.h>
#include <unistd.h>

#include "peer.h"
#include "persist.h"

struct kept {
    struct mem_server m;
    struct mem_client c;
    char dir[64];
};

static void open_kept(struct kept *t)
{
    (void)snprintf(t->dir, sizeof(t->dir), "/tmp/sx-commit-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    struct sx_srv_cfg cfg = { .new_queues = true, .state_dir = t->dir };
    mem_open(&t->m, &cfg);
    mem_connect(&t->m, &t->c, 0, 0);
}

static void close_kept(struct kept *t)
{
    char command[128];

    mem_disconnect(&t->c);
    mem_close(&t->m);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", t->dir);
    assert_int_equal(system(command), 0);
}

static void send_new(struct kept *t)
{
    struct mem_queue q;
    struct mem_batch b;

    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
    mem_batch_open(&b, &t->c);
    mem_batch_add(&b, &q.rcv, sx_bytes(NULL, 0), &cmd);
    mem_batch_run(&b);
}

/* Whether there was a commit since then, as there is one every second without being asked for. */
static bool committed_since(struct kept *t, uint64_t stamp)
{
    return sx_persist_state(t->m.srv->store, stamp) == SX_COMMIT_DURABLE;
}

/* Sends NEW; its answer is not here yet. */
static void begin_new(struct kept *t)
{
    for (;;) {
        uint64_t before = sx_persist_stamp(t->m.srv->store);
        send_new(t);
        if (mem_next(&t->c) == NULL)
            return;
        assert_true(committed_since(t, before)); /* just then: once more */
    }
}

static void wait_durable(struct kept *t)
{
    struct sx_store *st = t->m.srv->store;
    uint64_t stamp = sx_persist_stamp(st);

    sx_persist_request(st);
    for (int i = 0; i < 60000 && sx_persist_state(st, stamp) == SX_COMMIT_WAIT; i++)
        usleep(1000);
    assert_int_equal(sx_persist_state(st, stamp), SX_COMMIT_DURABLE);
}

static void an_answer_waits_for_the_disk(void **state)
{
    struct kept t;

    (void)state;
    open_kept(&t);
    begin_new(&t);
    assert_true(t.c.peer.waiting);
    wait_durable(&t);
    mem_settle(&t.m);
    const struct mem_item *i = mem_next(&t.c);
    assert_non_null(i);
    assert_int_equal(i->rsp.tag, SX_R_IDS);
    close_kept(&t);
}

/* The socket has room and asks for the next block before the hub hears of the commit. */
static void a_block_that_left_early_is_not_waited_for(void **state)
{
    struct kept t;

    (void)state;
    open_kept(&t);
    begin_new(&t);
    assert_ptr_equal(t.m.hub[0].waiting, &t.c.peer);
    wait_durable(&t);
    const struct mem_item *i = mem_next(&t.c);
    assert_non_null(i);
    assert_int_equal(i->rsp.tag, SX_R_IDS);
    assert_false(t.c.peer.waiting);
    assert_null(t.m.hub[0].waiting);
    mem_settle(&t.m); /* the hub hears of it */
    begin_new(&t);    /* and the next one waits again */
    wait_durable(&t);
    mem_settle(&t.m);
    assert_non_null(mem_next(&t.c));
    close_kept(&t);
}

#define ANY_BLOCK 0

static void expect_ids(struct kept *t, unsigned block)
{
    const struct mem_item *i = mem_next(&t->c);

    assert_non_null(i);
    assert_int_equal(i->rsp.tag, SX_R_IDS);
    if (block != ANY_BLOCK)
        assert_int_equal(i->block, block);
}

/* What is on disk leaves in one block, and does not wait for what is not. */
static void answers_of_a_commit_share_a_block(void **state)
{
    struct kept t;

    (void)state;
    open_kept(&t);
    send_new(&t);
    send_new(&t);
    wait_durable(&t);
    uint64_t before = sx_persist_stamp(t.m.srv->store);
    send_new(&t);
    expect_ids(&t, 1);
    expect_ids(&t, 1);
    bool early = committed_since(&t, before);
    wait_durable(&t);
    expect_ids(&t, early ? ANY_BLOCK : 2);
    close_kept(&t);
}

static void take_new(struct kept *t, struct mem_queue *q)
{
    struct mem_batch b;

    memset(q, 0, sizeof(*q));
    mem_keys(q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(q, SX_MODE_MESSAGING, true);
    mem_batch_open(&b, &t->c);
    mem_batch_add(&b, &q->rcv, sx_bytes(NULL, 0), &cmd);
    mem_batch_run(&b);
    wait_durable(t);
    mem_take_ids(q, &mem_next(&t->c)->rsp);
}

static void ack(struct mem_client *c, const struct mem_queue *q, simplex_bytes id)
{
    struct sx_cmd cmd = { .tag = SX_ACK, .ack = { .msg_id = id } };

    mem_run_ahead(c, &q->rcv, mem_rcv_id(q), &cmd);
}

/* Puts a message that both have and nobody has acknowledged: the one by SUB, the other by GET. */
static simplex_bytes put_for_both(struct kept *t, struct mem_client *other,
                                  const struct mem_queue *q)
{
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("text") } };

    mem_run_ahead(other, NULL, mem_snd_id(q), &send);
    wait_durable(t);
    mem_assert_tag(&mem_next(other)->rsp, SX_R_OK);
    mem_settle(&t->m);
    simplex_bytes id = mem_expect_msg(&t->c, q, "text");
    mem_assert_msg(q, mem_rcv(other, q, SX_GET), "text");
    return id;
}

/* Nothing was deleted by it: but what it says is deleted may be there again after a crash. */
static void an_ack_waits_for_the_one_that_deleted_its_message(void **state)
{
    struct mem_client other;
    struct mem_queue q;
    struct kept t;
    bool early = true;

    (void)state;
    open_kept(&t);
    mem_connect(&t.m, &other, 1, 0);
    take_new(&t, &q);
    while (early) {
        simplex_bytes id = put_for_both(&t, &other, &q);
        uint64_t before = sx_persist_stamp(t.m.srv->store);
        ack(&other, &q, id);
        ack(&t.c, &q, id);
        const struct mem_item *i = mem_next(&t.c);
        early = committed_since(&t, before); /* just then: once more */
        if (!early)
            assert_null(i);
        wait_durable(&t);
        mem_assert_tag(&mem_next(&other)->rsp, SX_R_OK);
        mem_assert_tag(&(i == NULL ? mem_next(&t.c) : i)->rsp, SX_R_OK);
    }
    mem_disconnect(&other);
    close_kept(&t);
}

static atomic_int woken;

static void count_wake(void *user)
{
    (void)user;
    atomic_fetch_add(&woken, 1);
}

/* Its loop is closed behind that: a commit that wakes it would find no handle any more. */
static void a_hub_that_rests_is_not_woken_by_commits(void **state)
{
    struct sx_hub *h;
    struct kept t;

    (void)state;
    open_kept(&t);
    h = &t.m.hub[0];
    h->wake = count_wake;
    begin_new(&t);
    wait_durable(&t);
    wait_durable(&t); /* the first of them is told now as well */
    assert_true(atomic_load(&woken) > 0);
    sx_peer_close(&t.c.peer); /* while it waits, as at the stop of a server */
    sx_hub_rest(h);
    atomic_store(&woken, 0);
    wait_durable(&t);
    wait_durable(&t);
    assert_int_equal(atomic_load(&woken), 0);
    close_kept(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_waits_for_the_disk),
        cmocka_unit_test(a_block_that_left_early_is_not_waited_for),
        cmocka_unit_test(answers_of_a_commit_share_a_block),
        cmocka_unit_test(an_ack_waits_for_the_one_that_deleted_its_message),
        cmocka_unit_test(a_hub_that_rests_is_not_woken_by_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
