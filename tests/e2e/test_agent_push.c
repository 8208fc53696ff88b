/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push notifications: I's connections have notifiers, and a plain client plays the notification
 * server. They are made, given up and moved with their queues; what a push says is read and
 * checked.
 */
#include "push_stage.h"
#include "support/blocking_client.h"

static struct smp_peer ntf; /* the notification server's session */

static void end_both(void)
{
    smp_peer_close(&ntf);
    memset(&ntf, 0, sizeof ntf);
    end();
}

/* ---- the notification server ---- */

static void ntf_connect(void)
{
    struct sx_server s;
    simplex_bytes password;
    struct smp_peer_cfg cfg = { .port = simplex_server_port(d.srv.s), .key_hash = s.key_hash };

    assert_int_equal(sx_server_parse(sx_str(d.srv.address), &s, &password), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&ntf, &cfg), SIMPLEX_OK);
}

static void get_notifier(int64_t conn, unsigned nth, simplex_notifier *n)
{
    *n = (simplex_notifier){ .size = sizeof *n };
    assert_int_equal(simplex_agent_notifier(d.i.a, conn, nth, n), SIMPLEX_OK);
}

/* NSUB with what the application hands over. */
static void ntf_subscribe(const simplex_notifier *n, enum sx_rsp_tag expected)
{
    static const struct sx_cmd nsub = { .tag = SX_NSUB };
    struct sx_keypair key;
    struct sx_priv priv;
    const struct sx_rsp *rsp;

    if (ntf.ctx == NULL)
        ntf_connect();
    assert_int_equal(sx_pkcs8_decode(sx_bytes(n->private_key, sizeof n->private_key), &priv),
                     SIMPLEX_OK);
    assert_int_equal(sx_keypair_from_priv(&priv, &key), SIMPLEX_OK);
    rsp = smp_peer_cmd(&ntf, &key, sx_bytes(n->id, n->id_len), &nsub);
    assert_non_null(rsp);
    assert_int_equal(rsp->tag, expected);
}

struct payload {
    uint8_t id[255], nonce[24], meta[144];
    size_t id_len;
};

static void ntf_wait(struct payload *p)
{
    const struct smp_item *it = smp_peer_event(&ntf, WAIT_MS);

    assert_non_null(it);
    assert_int_equal(it->rc, SIMPLEX_OK);
    assert_int_equal(it->rsp.tag, SX_R_NMSG);
    assert_int_equal(it->rsp.nmsg.meta.len, sizeof p->meta);
    p->id_len = it->t.entity_id.len;
    memcpy(p->id, it->t.entity_id.ptr, p->id_len);
    memcpy(p->nonce, it->rsp.nmsg.nonce, sizeof p->nonce);
    memcpy(p->meta, it->rsp.nmsg.meta.ptr, sizeof p->meta);
}

/* Steps of the connection are notified too, and kept until somebody subscribes. */
static void ntf_forget(void)
{
    while (smp_peer_event(&ntf, 200) != NULL)
        continue;
}

static simplex_rc open_push(const struct payload *p, simplex_push *out)
{
    *out = (simplex_push){ .size = sizeof *out };
    return simplex_agent_open_push(d.i.a, sx_bytes(p->id, p->id_len),
                                   sx_bytes(p->nonce, sizeof p->nonce),
                                   sx_bytes(p->meta, sizeof p->meta), out);
}

/* ---- the recipient ---- */

static void notifier_made(int64_t conn)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, conn);

    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_data(ev).len, 24);
    simplex_event_free(ev);
}

static void notifier_gone(int64_t conn)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, conn);

    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_data(ev).len, 0);
    simplex_event_free(ev);
}

/* Until it is on, and the notification server takes it, or off. */
static void notifier_switched(bool on)
{
    simplex_notifier n = { .size = sizeof n };

    for (bool done = false; !done;) {
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, d.ic);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
        done = (simplex_event_data(ev).len > 0) == on;
        simplex_event_free(ev);
    }
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 0, &n),
                     on ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND);
    if (on)
        ntf_subscribe(&n, SX_R_SOK);
}

static void send_notified(const char *text)
{
    int64_t id;

    assert_int_equal(simplex_agent_send(d.j.a, d.jc, sx_str(text), SIMPLEX_SEND_NOTIFY, &id),
                     SIMPLEX_OK);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
}

/* ---- tests ---- */

static void a_push_wakes_and_one_message_is_fetched(void **state)
{
    simplex_notifier n;
    simplex_push push;
    struct payload p;
    uint8_t id[24];

    (void)state;
    begin();
    reopen(false, true);
    duo_connect(&d);
    notifier_made(d.ic);
    n.size = sizeof n;
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 1, &n), SIMPLEX_E_NOT_FOUND);
    get_notifier(d.ic, 0, &n);
    assert_int_equal(strncmp(n.server, "smp://", 6), 0);
    ntf_subscribe(&n, SX_R_SOK);
    ntf_wait(&p);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    assert_true(push.received); /* the confirmation */
    ntf_forget();
    agent_close(&d.i);
    send_notified("wake up");
    ntf_wait(&p);

    /* an extension: only looks */
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    while (push.received) { /* a step that was notified late */
        ntf_wait(&p);
        assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    }
    assert_int_equal(push.conn, d.ic);
    assert_int_equal(push.msg_id_len, 24);
    assert_true(push.server_time > 1600000000000);
    assert_int_equal(push.waiting, 0);
    d.i.cfg.read_only = false;

    /* a short run in the background */
    reopen(true, true);
    assert_true(quiet(&d.i, SIMPLEX_EV_UP, 300));
    fetch(push.conn);
    int64_t msg = fetched(d.ic, 1, SIMPLEX_OK);
    assert_true(msg > 0);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    assert_true(push.received);
    assert_int_equal(push.waiting, msg);
    assert_int_equal(receive_text(&d.i, d.ic, "wake up"), msg);
    acked(d.ic, id);
    assert_memory_equal(id, push.msg_id, 24);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    assert_true(push.received);
    assert_int_equal(push.waiting, 0);
    nothing_waits(d.ic);

    /* and the application itself */
    reopen(false, true);
    talk(&d.j, d.jc, &d.i, d.ic, "pushed by the server");
    end_both();
}

static void notifiers_are_switched_on_and_off(void **state)
{
    simplex_notifier first, second;

    (void)state;
    begin();
    duo_connect(&d);
    first = (simplex_notifier){ .size = sizeof first };
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 0, &first), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_notify(d.i.a, 77, true), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, false), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_OK);
    notifier_made(d.ic);
    get_notifier(d.ic, 0, &first);
    ntf_subscribe(&first, SX_R_SOK);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, false), SIMPLEX_OK);
    notifier_gone(d.ic);
    ntf_subscribe(&first, SX_R_ERR);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, false), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_OK);
    do { /* what happened to those in between may be told or not */
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, d.ic);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
        simplex_event_free(ev);
        second = (simplex_notifier){ .size = sizeof second };
    } while (simplex_agent_notifier(d.i.a, d.ic, 0, &second) != SIMPLEX_OK);
    assert_memory_not_equal(first.id, second.id, 24);
    assert_memory_not_equal(first.private_key, second.private_key, 48);
    assert_memory_not_equal(first.secret, second.secret, 32);
    smp_peer_close(&ntf);
    memset(&ntf, 0, sizeof ntf);
    ntf_subscribe(&second, SX_R_SOK);
    talk(&d.j, d.jc, &d.i, d.ic, "goes on");
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 0, &second), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_E_NOT_FOUND);
    end_both();
}

static void older_servers_are_asked_with_nkey(void **state)
{
    simplex_notifier n;

    (void)state;
    for (uint16_t v = 6; v <= 16; v += 10) {
        begin();
        d.i.cfg.smp_max = v;
        reopen(false, true);
        duo_connect(&d);
        notifier_made(d.ic);
        get_notifier(d.ic, 0, &n);
        ntf_subscribe(&n, SX_R_SOK);
        end_both();
    }
}

static void wanted_before_there_is_a_queue(void **state)
{
    simplex_notifier n;
    int64_t conn;

    (void)state;
    begin();
    forwarder_set(&d.fi, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, conn, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, conn, false), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, conn, true), SIMPLEX_OK);
    agent_reopen(&d.i);
    forwarder_set(&d.fi, FORWARD);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    notifier_made(conn);
    get_notifier(conn, 0, &n);
    ntf_subscribe(&n, SX_R_SOK);
    /* an address has one too */
    assert_int_equal(simplex_agent_create_address(d.i.a, &conn), SIMPLEX_OK);
    assert_int_equal(simplex_agent_notify(d.i.a, conn, true), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    notifier_made(conn);
    end_both();
}

static void lost_answers_and_restarts_leave_one_notifier(void **state)
{
    unsigned made = 0;

    (void)state;
    begin();
    duo_connect(&d);
    d.i.cfg.command_timeout = 500;
    agent_reopen(&d.i);
    for (int round = 0; round < 6; round++) {
        bool on = round % 2 == 0;
        assert_int_equal(simplex_agent_notify(d.i.a, d.ic, on), SIMPLEX_OK);
        if (round < 2)
            forwarder_drop(&d.fi);
        else if (round < 4)
            agent_reopen(&d.i);
        notifier_switched(on);
        made += on;
    }
    assert_int_equal(made, 3);
    end_both();
}

static void a_rotation_moves_the_notifier_along(void **state)
{
    simplex_notifier before, after;

    (void)state;
    begin();
    reopen(false, true);
    duo_connect(&d);
    notifier_made(d.ic);
    get_notifier(d.ic, 0, &before);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str(d.j_address)), SIMPLEX_OK);
    notifier_made(d.ic);
    wait_moved(&d.i, d.ic);
    get_notifier(d.ic, 0, &after);
    assert_memory_not_equal(before.id, after.id, 24);
    assert_string_not_equal(before.server, after.server);
    after.id_len = 24;
    ntf_subscribe(&before, SX_R_ERR);
    ntf_subscribe(&after, SX_R_SOK);
    send_notified("through the new queue");
    struct payload p;
    simplex_push push;
    ntf_wait(&p);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    assert_int_equal(push.conn, d.ic);
    receive_text(&d.i, d.ic, "through the new queue");
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 1, &after), SIMPLEX_E_NOT_FOUND);
    end_both();
}

static void a_push_that_is_not_ours_is_refused(void **state)
{
    struct payload p, bad;
    simplex_notifier n;
    simplex_push push;

    (void)state;
    begin();
    reopen(false, true);
    duo_connect(&d);
    notifier_made(d.ic);
    get_notifier(d.ic, 0, &n);
    ntf_subscribe(&n, SX_R_SOK);
    ntf_forget();
    send_notified("x");
    ntf_wait(&p);
    assert_int_equal(open_push(&p, &push), SIMPLEX_OK);
    for (size_t i = 0; i < sizeof p.meta; i += 13) {
        bad = p;
        bad.meta[i] ^= 1;
        assert_int_equal(open_push(&bad, &push), SIMPLEX_E_CRYPTO);
        assert_int_equal(push.conn, 0);
    }
    bad = p;
    bad.nonce[5] ^= 1;
    assert_int_equal(open_push(&bad, &push), SIMPLEX_E_CRYPTO);
    bad = p;
    bad.id[3] ^= 1;
    assert_int_equal(open_push(&bad, &push), SIMPLEX_E_NOT_FOUND);
    push.size = sizeof push;
    assert_int_equal(simplex_agent_open_push(d.i.a, sx_bytes(p.id, 24), sx_bytes(p.nonce, 23),
                                             sx_bytes(p.meta, 144), &push),
                     SIMPLEX_E_DECODE);
    assert_int_equal(simplex_agent_open_push(d.i.a, sx_bytes(p.id, 24), sx_bytes(p.nonce, 24),
                                             sx_bytes(p.meta, 143), &push),
                     SIMPLEX_E_DECODE);
    push.size = 8;
    assert_int_equal(simplex_agent_open_push(d.i.a, sx_bytes(p.id, 24), sx_bytes(p.nonce, 24),
                                             sx_bytes(p.meta, 144), &push),
                     SIMPLEX_E_ARG);
    receive_text(&d.i, d.ic, "x");
    end_both();
}

/* Two libsimplex agents may use several queues for a connection: each has a notifier, a fetch asks
 * all of them, and a message that waits in both is shown once. */
static void each_of_several_queues_is_notified_and_fetched(void **state)
{
    simplex_notifier n[2];
    simplex_event *ev;

    (void)state;
    begin();
    d.i.servers[1] = d.j.servers[1] = d.j_address;
    d.j.servers[0] = d.i_address;
    d.i.n_servers = d.j.n_servers = 2;
    d.i.cfg.queues = d.j.cfg.queues = 2;
    agent_reopen(&d.j);
    reopen(false, true);
    duo_connect(&d);
    notifier_made(d.ic);
    notifier_made(d.ic);
    for (unsigned k = 0; k < 2; k++)
        get_notifier(d.ic, k, &n[k]);
    assert_memory_not_equal(n[0].id, n[1].id, 24);
    assert_string_not_equal(n[0].server, n[1].server);
    talk(&d.i, d.ic, &d.j, d.jc, "both know each other's queues");
    reopen(true, true);
    for (int round = 0; round < 3; round++) {
        send_text(&d.j, d.jc, "once");
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        int shown = 0;
        for (int64_t count = 1; count > 0 || shown == 0;) {
            fetch(d.ic);
            ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
            assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
            count = simplex_event_count(ev);
            simplex_event_free(ev);
            while ((ev = any_event()) != NULL) {
                if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
                    shown++;
                    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, simplex_event_msg_id(ev)),
                                     SIMPLEX_OK);
                }
                simplex_event_free(ev);
            }
        }
        assert_int_equal(shown, 1);
    }
    end_both();
}

static void a_crash_after_any_step_leaves_one_notifier(void **state)
{
    (void)state;
    begin();
    duo_connect(&d);
    for (int round = 0; round < 8; round++) {
        bool on = round % 2 == 0;
        assert_int_equal(simplex_agent_notify(d.i.a, d.ic, on), SIMPLEX_OK);
        if (round % 4 >= 2)
            (void)quiet(&d.i, SIMPLEX_EV_END, round * 3);
        crash();
        notifier_switched(on);
    }
    end_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_push_wakes_and_one_message_is_fetched),
        cmocka_unit_test(notifiers_are_switched_on_and_off),
        cmocka_unit_test(older_servers_are_asked_with_nkey),
        cmocka_unit_test(wanted_before_there_is_a_queue),
        cmocka_unit_test(lost_answers_and_restarts_leave_one_notifier),
        cmocka_unit_test(a_rotation_moves_the_notifier_along),
        cmocka_unit_test(a_push_that_is_not_ours_is_refused),
        cmocka_unit_test(each_of_several_queues_is_notified_and_fetched),
        cmocka_unit_test(a_crash_after_any_step_leaves_one_notifier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
