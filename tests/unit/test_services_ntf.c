/* SPDX-License-Identifier: Apache-2.0 */
/* Notifiers, of services and of ordinary connections (protocol/smp.md sections 6.3, 7, 11, 14). */
#include "support/mem_service.h"

struct world { /* s, s2: connections of the same service; n, n2: ordinary notifiers */
    struct mem_server m;
    struct mem_service service;
    struct mem_client a, b, n, n2, s, s2;
};

static void open_world(struct world *w)
{
    mem_open(&w->m, NULL);
    mem_service_make(&w->service, 'N', 1);
    mem_connect(&w->m, &w->a, 0, 0);
    mem_connect(&w->m, &w->b, 1, 0);
    mem_connect(&w->m, &w->n, 1, 0);
    mem_connect(&w->m, &w->n2, 0, 0);
    mem_connect_service(&w->m, &w->s, 0, 0, &w->service.cert);
    mem_connect_service(&w->m, &w->s2, 1, 0, &w->service.cert);
}

static void close_world(struct world *w)
{
    struct mem_client *all[] = { &w->a, &w->b, &w->n, &w->n2, &w->s, &w->s2 };

    for (size_t i = 0; i < SX_COUNT(all); i++)
        mem_disconnect(all[i]);
    mem_service_free(&w->service);
    mem_close(&w->m);
}

/* A message that notifies. */
static void notify(struct world *w, const struct mem_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .notify = true, .body = sx_str("ring") } };

    mem_assert_tag(mem_cmd(&w->b, NULL, mem_snd_id(q), &cmd), SX_R_OK);
}

static const struct sx_rsp *event(struct mem_client *c, enum sx_rsp_tag tag, simplex_bytes entity)
{
    sx_peer_flush_ntfs(&c->peer);
    return mem_expect_ended(c, tag, entity);
}

static void expect_nmsg(struct mem_client *c, const struct mem_ntf *n)
{
    mem_assert_nmsg(event(c, SX_R_NMSG, mem_ntf_id(n)), n);
}

static void expect_quiet(struct mem_client *c)
{
    sx_peer_flush_ntfs(&c->peer);
    mem_assert_not_ended(c);
}

static void make(struct world *w, struct mem_queue *q, struct mem_ntf *n)
{
    mem_new(&w->a, q, SX_MODE_MESSAGING, false);
    mem_nkey(&w->a, q, n);
}

/* testMessageNotifications */
static void notifiers_get_nmsg_end_and_deld(void **state)
{
    struct world w;
    struct mem_queue q;
    struct mem_ntf first, n;

    (void)state;
    open_world(&w);
    make(&w, &q, &first);
    mem_nkey(&w.a, &q, &n);
    assert_memory_not_equal(first.id, n.id, 24);
    mem_assert_err(mem_nsub(&w.n, &first), SX_ERR_AUTH);
    w.n.client.service = w.s.client.service; /* a signature of a service where there is none */
    mem_assert_err(mem_nsub(&w.n, &n), SX_ERR_SERVICE);
    w.n.client.service.role = 0;
    mem_assert_sok(mem_nsub(&w.n, &n), NULL);
    notify(&w, &q);
    expect_nmsg(&w.n, &n);
    mem_assert_sok(mem_nsub(&w.n2, &n), NULL);
    event(&w.n, SX_R_END, mem_ntf_id(&n));
    notify(&w, &q);
    expect_nmsg(&w.n2, &n);
    mem_assert_tag(mem_rcv(&w.a, &q, SX_NDEL), SX_R_OK);
    event(&w.n2, SX_R_DELD, mem_ntf_id(&n));
    notify(&w, &q);
    expect_quiet(&w.n2);
    mem_nkey(&w.a, &q, &n);
    mem_assert_sok(mem_nsub(&w.n, &n), NULL);
    notify(&w, &q);
    expect_nmsg(&w.n, &n);
    expect_quiet(&w.n);
    close_world(&w);
}

/* testMessageServiceNotifications */
static void a_service_is_notified_for_its_queues(void **state)
{
    struct world w;
    struct mem_queue q, q2;
    struct mem_ntf n, n2;
    struct sx_cmd nsub = { .tag = SX_NSUB };

    (void)state;
    open_world(&w);
    make(&w, &q, &n);
    mem_assert_err(mem_unbound(&w.s, &n.key, mem_ntf_id(&n), &nsub), SX_ERR_SERVICE);
    mem_assert_sok(mem_nsub(&w.s, &n), &w.s);
    mem_assert_sok(mem_nsub(&w.s, &n), &w.s);
    notify(&w, &q);
    expect_nmsg(&w.s, &n);
    /* another connection of the service */
    mem_assert_sok(mem_nsub(&w.s2, &n), &w.s2);
    mem_assert_total(event(&w.s, SX_R_ENDS, mem_service_id(&w.s)), SX_R_ENDS, 1, n.id);
    notify(&w, &q);
    expect_nmsg(&w.s2, &n);
    mem_assert_tag(mem_rcv(&w.a, &q, SX_NDEL), SX_R_OK);
    event(&w.s2, SX_R_DELD, mem_ntf_id(&n));
    /* new notifiers of two queues */
    mem_nkey(&w.a, &q, &n);
    make(&w, &q2, &n2);
    mem_assert_sok(mem_nsub(&w.s2, &n), &w.s2);
    mem_assert_sok(mem_nsub(&w.s2, &n2), &w.s2);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 2, n.id, n2.id);
    mem_assert_total(event(&w.s2, SX_R_ENDS, mem_service_id(&w.s)), SX_R_ENDS, 2, n.id, n2.id);
    notify(&w, &q);
    expect_nmsg(&w.s, &n);
    notify(&w, &q2);
    expect_nmsg(&w.s, &n2);
    expect_quiet(&w.s); /* no ALLS: that is for messages */
    expect_quiet(&w.s2);
    close_world(&w);
}

static void nsubs_brings_what_was_missed(void **state)
{
    struct world w;
    struct mem_queue q[100];
    struct mem_ntf n[100];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < SX_COUNT(q); i++) {
        make(&w, &q[i], &n[i]);
        mem_assert_sok(mem_nsub(&w.s, &n[i]), &w.s);
    }
    mem_disconnect(&w.s);
    for (size_t i = 0; i < SX_COUNT(q); i += 2)
        notify(&w, &q[i]);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    const struct sx_rsp *r = mem_subs(&w.s);
    mem_assert_tag(r, SX_R_SOKS);
    assert_int_equal(r->soks.count, SX_COUNT(q));
    mem_settle(&w.m);
    sx_peer_flush_ntfs(&w.s.peer);
    const struct mem_item *i;
    size_t got = 0;
    for (; (i = mem_next(&w.s)) != NULL; got++) {
        size_t k = 0;
        while (k < SX_COUNT(n) && !sx_bytes_eq(i->t.entity_id, mem_ntf_id(&n[k])))
            k++;
        assert_true(k < SX_COUNT(n) && k % 2 == 0);
        mem_assert_nmsg(&i->rsp, &n[k]);
    }
    assert_int_equal(got, SX_COUNT(q) / 2);
    notify(&w, &q[1]);
    expect_nmsg(&w.s, &n[1]);
    close_world(&w);
}

/* What waits for the flush of a connection that loses the service goes to the one that has it. */
static void notifications_go_to_the_connection_that_took_over(void **state)
{
    struct world w;
    struct mem_queue q[2];
    struct mem_ntf n[2];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < 2; i++) {
        make(&w, &q[i], &n[i]);
        mem_assert_sok(mem_nsub(&w.s, &n[i]), &w.s);
    }
    notify(&w, &q[1]);
    mem_assert_sok(mem_nsub(&w.s2, &n[0]), &w.s2);
    expect_nmsg(&w.s2, &n[1]);
    close_world(&w);
}

/* Section 14, item 5: END, not ENDS. */
static void a_plain_notifier_takes_a_queue_back(void **state)
{
    struct world w;
    struct mem_queue q, q2;
    struct mem_ntf n, n2;

    (void)state;
    open_world(&w);
    make(&w, &q, &n);
    make(&w, &q2, &n2);
    mem_assert_sok(mem_nsub(&w.s, &n), &w.s);
    mem_assert_sok(mem_nsub(&w.s, &n2), &w.s);
    mem_disconnect(&w.s);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 2, n.id, n2.id);
    mem_assert_sok(mem_nsub(&w.n, &n), NULL);
    event(&w.s, SX_R_END, mem_ntf_id(&n));
    notify(&w, &q);
    expect_nmsg(&w.n, &n);
    expect_quiet(&w.s);
    /* a queue that goes takes its notifier along */
    mem_assert_tag(mem_rcv(&w.a, &q2, SX_DEL), SX_R_OK);
    event(&w.s, SX_R_DELD, mem_ntf_id(&n2));
    mem_assert_total(mem_subs(&w.s2), SX_R_SOKS, 0);
    close_world(&w);
}

static void a_new_notifier_belongs_to_nobody(void **state)
{
    struct world w;
    struct mem_queue q;
    struct mem_ntf n, n2;

    (void)state;
    open_world(&w);
    make(&w, &q, &n);
    mem_assert_sok(mem_nsub(&w.s, &n), &w.s);
    mem_disconnect(&w.s);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 1, n.id);
    mem_nkey(&w.a, &q, &n2);
    event(&w.s, SX_R_DELD, mem_ntf_id(&n));
    mem_assert_total(mem_subs(&w.s2), SX_R_SOKS, 0);
    notify(&w, &q);
    expect_quiet(&w.s2);
    close_world(&w);
}

static uint32_t used_day(const struct world *w, const struct mem_queue *q)
{
    struct sx_queue *found = sx_qstore_find(w->m.srv->store, SX_BY_RCV, mem_rcv_id(q));

    assert_non_null(found);
    uint32_t day = found->used_day;
    sx_queue_unref(found);
    return day;
}

/* A notification server that subscribes to all it knows does not make dead queues look used. */
static void a_subscribed_notifier_is_no_use_of_a_queue(void **state)
{
    struct world w;
    struct mem_queue q;
    struct mem_ntf n;

    (void)state;
    open_world(&w);
    mem_new(&w.a, &q, SX_MODE_MESSAGING, false);
    mem_nkey(&w.a, &q, &n);
    uint32_t day = used_day(&w, &q);
    assert_int_equal(day, sx_day_of(w.m.now));
    w.m.now += INT64_C(86400000);
    mem_assert_sok(mem_nsub(&w.n, &n), NULL);
    assert_int_equal(used_day(&w, &q), day);
    mem_assert_tag(mem_rcv(&w.a, &q, SX_OFF), SX_R_OK);
    assert_int_equal(used_day(&w, &q), day);
    mem_assert_tag(mem_rcv(&w.a, &q, SX_SUB), SX_R_SOK);
    assert_int_equal(used_day(&w, &q), day + 1);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notifiers_get_nmsg_end_and_deld),
        cmocka_unit_test(a_service_is_notified_for_its_queues),
        cmocka_unit_test(nsubs_brings_what_was_missed),
        cmocka_unit_test(notifications_go_to_the_connection_that_took_over),
        cmocka_unit_test(a_plain_notifier_takes_a_queue_back),
        cmocka_unit_test(a_new_notifier_belongs_to_nobody),
        cmocka_unit_test(a_subscribed_notifier_is_no_use_of_a_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
