/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in the queues of a service is delivered after SUBS: many queues, a slow client; and
 * nothing gets lost where there is no memory (protocol/smp.md section 7). */
#include "support/mem_service.h"

/* A queue with a message in it, which nobody is subscribed to. */
static void make_waiting(struct mem_world *w, struct mem_queue *q, const char *text)
{
    mem_new(&w->a, q, SX_MODE_MESSAGING, false);
    mem_put(&w->b, q, text);
}

/* ---- the walk ---- */

static void delivers_what_waits_in_many_queues(void **state)
{
    enum { N = 700 };
    static struct mem_queue q[N];
    static bool seen[N];
    struct mem_world w;

    (void)state;
    mem_open_world(&w, NULL);
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < N; i++) {
        make_waiting(&w, &q[i], "waits");
        mem_assert_sok(mem_rcv(&w.s, &q[i], SX_SUB), &w.s);
        mem_next(&w.s);
    }
    mem_disconnect(&w.s);
    mem_assert_tag(mem_rcv(&w.a, &q[N / 2], SX_DEL), SX_R_OK);
    const struct sx_rsp *soks = mem_subs(&w.s2);
    mem_assert_tag(soks, SX_R_SOKS);
    assert_int_equal(soks->soks.count, N - 1);
    size_t n = 0;
    const struct mem_item *i;
    for (;; n++) {
        while ((i = mem_next(&w.s2)) == NULL)
            mem_settle(&w.m); /* its output was full: it goes on now */
        if (i->rsp.tag == SX_R_ALLS)
            break;
        mem_assert_tag(&i->rsp, SX_R_MSG);
        size_t k = 0;
        while (k < N && !sx_bytes_eq(i->t.entity_id, mem_rcv_id(&q[k])))
            k++;
        assert_true(k < N && !seen[k]);
        seen[k] = true;
    }
    assert_int_equal(n, N - 1);
    assert_null(mem_next(&w.s2));
    mem_close_world(&w);
}

static void the_walk_waits_for_the_client(void **state)
{
    enum { N = 500 };
    static struct mem_queue q[N];
    struct mem_world w;

    (void)state;
    mem_open_world(&w, NULL);
    for (size_t i = 0; i < N; i++) {
        make_waiting(&w, &q[i], "waits");
        mem_assert_tag(mem_rcv(&w.s, &q[i], SX_SUB), SX_R_SOK);
    }
    mem_subs_ahead(&w.s2);
    for (int i = 0; i < 20; i++)
        mem_settle(&w.m);
    assert_in_range(w.s2.peer.n_out, SX_PEER_OUT_PAUSE, 100);
    /* Deleted, sent to and subscribed while the walk is not over. */
    mem_assert_tag(mem_rcv(&w.a, &q[0], SX_DEL), SX_R_OK);
    mem_put(&w.b, &q[1], "behind");
    mem_assert_tag(mem_rcv(&w.s2, &q[2], SX_SUB), SX_R_SOK);
    mem_assert_tag(mem_rcv(&w.a, &q[3], SX_SUB), SX_R_SOK);
    unsigned msgs = 0, alls = 0;
    for (int i = 0; i < 100; i++) {
        const struct mem_item *item;
        while ((item = mem_next(&w.s2)) != NULL) {
            msgs += item->rsp.tag == SX_R_MSG;
            alls += item->rsp.tag == SX_R_ALLS;
        }
        mem_settle(&w.m);
    }
    assert_int_equal(alls, 1);
    assert_int_equal(msgs, N - 2); /* all but the deleted one and the one taken back */
    mem_close_world(&w);
}

/* ---- faults ---- */

static void a_message_finds_its_service_without_memory(void **state)
{
    struct mem_world w;
    struct mem_queue q;
    bool fired = true;

    (void)state;
    mem_open_served(&w, &q, 1);
    for (unsigned nth = 0; fired; nth++) {
        struct mem_batch b;
        struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str("kept") } };
        mem_reconnect(&w, &w.s);
        mem_subscribe_all(&w.s, &q, 1);
        mem_batch_open(&b, &w.b);
        mem_batch_add(&b, NULL, mem_snd_id(&q), &cmd);
        sx_fault_malloc(nth);
        sx_peer_block(&w.b.peer, sx_wr_bytes(&b.w));
        fired = sx_fault_disarm();
        mem_settle(&w.m);
        bool failed = w.b.peer.failed;
        const struct mem_item *i = failed ? NULL : mem_next(&w.b);
        if (i == NULL || i->rsp.tag == SX_R_OK) { /* taken: then it is delivered, whatever failed */
            mem_take_msg(&w.s, &q, "kept");
        } else {
            mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
            mem_assert_quiet(&w.s);
        }
        if (failed) {
            mem_disconnect(&w.b);
            mem_connect(&w.m, &w.b, 1, 0);
        }
    }
    mem_close_world(&w);
}

/* False: the nth allocation was not asked for. */
static bool run_without_memory(struct mem_batch *b, unsigned nth)
{
    sx_fault_malloc(nth);
    mem_batch_run(b);
    return sx_fault_disarm();
}

static void every_failed_allocation_of_a_service_is_answered(void **state)
{
    static const enum sx_cmd_tag tags[] = { SX_SUB, SX_SUBS, SX_DEL };
    struct mem_world w;

    (void)state;
    mem_open_world(&w, NULL);
    for (size_t k = 0; k < SX_COUNT(tags); k++) {
        bool fired = true;
        for (unsigned nth = 0; fired; nth++) {
            struct mem_queue q;
            struct mem_batch b;
            struct sx_cmd cmd = { .tag = tags[k], .subs = { .has_hash = tags[k] == SX_SUBS } };
            make_waiting(&w, &q, "here");
            mem_reconnect(&w, &w.s);
            mem_batch_open(&b, &w.s);
            if (tags[k] == SX_SUBS)
                mem_batch_add(&b, &w.s.client.service.key, mem_service_id(&w.s), &cmd);
            else
                mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &cmd);
            fired = run_without_memory(&b, nth);
            if (w.s.peer.failed)
                continue; /* the connection would be closed */
            const struct mem_item *i = mem_next(&w.s);
            assert_non_null(i);
            if (i->rsp.tag == SX_R_ERR)
                mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
            if (tags[k] != SX_DEL || i->rsp.tag == SX_R_ERR)
                mem_assert_tag(mem_rcv(&w.a, &q, SX_DEL), SX_R_OK);
        }
    }
    mem_close_world(&w);
}

/* The same; *refused: SUB was answered with an error. */
static bool sub_without_memory(struct mem_client *c, const struct mem_queue *q, unsigned nth,
                               bool *refused)
{
    struct sx_cmd cmd = { .tag = SX_SUB };
    struct mem_batch b;

    mem_batch_open(&b, c);
    mem_batch_add(&b, &q->rcv, mem_rcv_id(q), &cmd);
    bool fired = run_without_memory(&b, nth);
    const struct mem_item *i = c->peer.failed ? NULL : mem_next(c); /* failed: it would be closed */
    *refused = i != NULL && i->rsp.tag == SX_R_ERR;
    if (*refused)
        mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
    return fired;
}

static void assert_still_has(struct mem_world *w, struct mem_client *c, const struct mem_queue *q)
{
    mem_deliver(&w->b, c, q, "still here");
    mem_assert_not_ended(c);
}

/* Neither the queue moves, nor the service to the connection that asked. */
static void a_sub_that_finds_no_memory_changes_nothing(void **state)
{
    struct mem_world w;
    unsigned refusals = 0;

    (void)state;
    mem_open_world(&w, NULL);
    for (unsigned nth = 0, fired = 1; fired != 0; nth++) {
        struct mem_queue plain, served;
        bool refused;
        mem_new(&w.a, &plain, SX_MODE_MESSAGING, true);
        mem_new(&w.s2, &served, SX_MODE_MESSAGING, true);
        fired = sub_without_memory(&w.s, &plain, nth, &refused);
        if (refused) {
            assert_still_has(&w, &w.a, &plain);
            assert_still_has(&w, &w.s2, &served);
        }
        refusals += refused;
        mem_reconnect(&w, &w.s);
        mem_reconnect(&w, &w.s2);
        mem_assert_tag(mem_subs(&w.s2), SX_R_SOKS);
        mem_expect_alls(&w.s2);
        fired |= sub_without_memory(&w.a, &served, nth, &refused);
        if (refused)
            assert_still_has(&w, &w.s2, &served);
        refusals += refused;
        mem_disconnect(&w.a);
        mem_connect(&w.m, &w.a, 0, 0);
        mem_reconnect(&w, &w.s2);
    }
    assert_in_range(refusals, 4, 40);
    mem_close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_what_waits_in_many_queues),
        cmocka_unit_test(the_walk_waits_for_the_client),
        cmocka_unit_test(a_message_finds_its_service_without_memory),
        cmocka_unit_test(every_failed_allocation_of_a_service_is_answered),
        cmocka_unit_test(a_sub_that_finds_no_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
