/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push notifications: I's connections have notifiers, a plain client plays the notification
 * server, and messages are fetched one by one without a subscription.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/push.h"
#include "support/agents.h"
#include "support/blocking_client.h"

static struct duo d;
static struct smp_peer ntf; /* the notification server's session */

static void begin(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = cfg.ntf_flush_ms = 0;
    duo_open(&d, &cfg);
}

static void end(void)
{
    smp_peer_close(&ntf);
    memset(&ntf, 0, sizeof ntf);
    duo_close(&d);
}

static void reopen(bool fetch_only, bool notifications)
{
    d.i.cfg.fetch_only = fetch_only;
    d.i.cfg.notifications = notifications;
    agent_reopen(&d.i);
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

/* Its message id. */
static int64_t fetched(int64_t conn, int64_t count, simplex_rc rc)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, conn);
    int64_t id = simplex_event_msg_id(ev);

    assert_int_equal(simplex_event_error(ev), rc);
    assert_int_equal(simplex_event_count(ev), count);
    simplex_event_free(ev);
    return id;
}

static void fetch(int64_t conn)
{
    assert_int_equal(simplex_agent_fetch(d.i.a, &conn, 1), SIMPLEX_OK);
}

/* MSGNTF; the server's id of the message. */
static void acked(int64_t conn, uint8_t id[24])
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MSGNTF, conn);

    assert_int_equal(simplex_event_data(ev).len, 24);
    if (id != NULL)
        memcpy(id, simplex_event_data(ev).ptr, 24);
    simplex_event_free(ev);
}

static void fetch_text(int64_t conn, const char *text)
{
    fetch(conn);
    int64_t id = fetched(conn, 1, SIMPLEX_OK);
    assert_int_equal(receive_text(&d.i, conn, text), id);
    acked(conn, NULL);
}

static void nothing_waits(int64_t conn)
{
    fetch(conn);
    assert_int_equal(fetched(conn, 0, SIMPLEX_OK), 0);
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
    assert_int_equal(push.conn, d.ic);
    assert_int_equal(push.msg_id_len, 24);
    assert_true(push.server_time > 1600000000000);
    assert_false(push.received);
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
    end();
}

/* What peeking shows: its text, or NULL for nothing. */
static int64_t peeked(int64_t conn, const char *text)
{
    simplex_event *ev;
    int64_t id;

    assert_int_equal(simplex_agent_peek(d.i.a, conn), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_PEEKED, conn);
    id = simplex_event_msg_id(ev);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_count(ev), text != NULL);
    vec_assert_eq(simplex_event_data(ev), text != NULL ? sx_str(text) : sx_bytes(NULL, 0), "peek");
    assert_non_null(strstr(simplex_event_json(ev), "\"PEEKED\""));
    assert_int_equal(strstr(simplex_event_json(ev), "\"notify\":") != NULL, text != NULL);
    assert_int_equal(strstr(simplex_event_json(ev), "\"pq\":") != NULL, text != NULL);
    simplex_event_free(ev);
    return id;
}

static void reopen_to_look(bool only_look)
{
    d.i.cfg.read_only = only_look;
    agent_reopen(&d.i);
}

static void an_extension_reads_the_message_without_taking_it(void **state)
{
    int64_t id;

    (void)state;
    begin();
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "a step of the ratchet to come");
    assert_int_equal(simplex_agent_peek(d.i.a, d.ic), SIMPLEX_E_PROHIBITED);
    reopen_to_look(true);
    assert_int_equal(simplex_agent_peek(d.i.a, 99), SIMPLEX_E_NOT_FOUND);
    peeked(d.ic, NULL);
    send_text(&d.j, d.jc, "look at me");
    send_text(&d.j, d.jc, "and me");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    for (int n = 0; n < 3; n++)
        assert_int_equal(peeked(d.ic, "look at me"), 0);
    agent_reopen(&d.i);
    peeked(d.ic, "look at me");
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_E_PROHIBITED);
    /* received, not acknowledged */
    reopen_to_look(false);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
    vec_assert_eq(simplex_event_data(ev), sx_str("look at me"), "the same message");
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    id = simplex_event_msg_id(ev);
    simplex_event_free(ev);
    reopen_to_look(true);
    assert_int_equal(peeked(d.ic, "look at me"), id);
    reopen_to_look(false);
    receive_text(&d.i, d.ic, "look at me");
    receive_text(&d.i, d.ic, "and me");
    /* the server is away */
    reopen_to_look(true);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(simplex_agent_peek(d.i.a, d.ic), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_PEEKED, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    simplex_event_free(ev);
    end();
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
    end();
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
        end();
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
    end();
}

static void lost_answers_and_restarts_leave_one_notifier(void **state)
{
    simplex_notifier n;
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
        for (bool done = false; !done;) {
            simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, d.ic);
            assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
            done = (simplex_event_data(ev).len > 0) == on;
            simplex_event_free(ev);
        }
        n = (simplex_notifier){ .size = sizeof n };
        simplex_rc rc = simplex_agent_notifier(d.i.a, d.ic, 0, &n);
        assert_int_equal(rc, on ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND);
        if (on)
            ntf_subscribe(&n, SX_R_SOK);
        made += on;
    }
    assert_int_equal(made, 3);
    end();
}

static void a_rotation_moves_the_notifier_along(void **state)
{
    simplex_notifier before, after;
    simplex_event *ev;

    (void)state;
    begin();
    reopen(false, true);
    duo_connect(&d);
    notifier_made(d.ic);
    get_notifier(d.ic, 0, &before);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str(d.j_address)), SIMPLEX_OK);
    notifier_made(d.ic);
    do {
        ev = wait_event(&d.i, SIMPLEX_EV_SWITCH, d.ic);
        int32_t phase = simplex_event_switch(ev, NULL);
        simplex_event_free(ev);
        if (phase == SIMPLEX_SWITCH_COMPLETED)
            break;
    } while (true);
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
    end();
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
    end();
}

/* agent.md section 11: "only-create, v8 and current: delivery only by GET; MSGNTF each" */
static void only_created_connections_are_fetched(void **state)
{
    simplex_event *ev;

    (void)state;
    for (uint16_t v = 8; v <= 19; v += 11) {
        begin();
        d.i.cfg.smp_max = d.j.cfg.smp_max = v;
        agent_reopen(&d.i);
        agent_reopen(&d.j);
        assert_int_equal(simplex_agent_only_create(d.i.a, true), SIMPLEX_OK);
        assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &d.ic), SIMPLEX_OK);
        agent_join(&d.i, d.ic, &d.j, "J", &d.jc);
        expect(&d.j, SIMPLEX_EV_JOINED, d.jc);
        assert_true(quiet(&d.i, SIMPLEX_EV_CONF, 300));
        do
            fetch(d.ic);
        while (simplex_event_count(ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic)) == 0 &&
               (simplex_event_free(ev), true));
        simplex_event_free(ev);
        acked(d.ic, NULL);
        agent_allow(&d.i, d.ic, "I");
        if (v < 9) { /* the standard handshake needs J's HELLO, which waits to be fetched */
            expect(&d.j, SIMPLEX_EV_INFO, d.jc);
            while (true) {
                fetch(d.ic);
                ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
                bool came = simplex_event_count(ev) > 0;
                simplex_event_free(ev);
                if (came)
                    break;
            }
            acked(d.ic, NULL);
        }
        expect(&d.i, SIMPLEX_EV_CON, d.ic);
        expect(&d.j, SIMPLEX_EV_CON, d.jc);
        send_text(&d.j, d.jc, "one");
        send_text(&d.j, d.jc, "two");
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 300));
        fetch_text(d.ic, "one");
        fetch_text(d.ic, "two");
        nothing_waits(d.ic);
        talk(&d.i, d.ic, &d.j, d.jc, "back");
        /* from now on like any other, although GET was used in this session */
        assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
        talk(&d.j, d.jc, &d.i, d.ic, "three");
        end();
    }
}

static void what_cannot_be_fetched_is_said(void **state)
{
    int64_t conns[3], unmade;

    (void)state;
    begin();
    duo_connect(&d);
    conns[0] = d.ic;
    conns[1] = 4711;
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 2), SIMPLEX_OK);
    fetched(d.ic, 0, SIMPLEX_E_PROHIBITED);
    fetched(4711, 0, SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_fetch(d.i.a, NULL, 2), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_fetch(NULL, conns, 1), SIMPLEX_E_ARG);
    reopen(true, false);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &unmade), SIMPLEX_OK);
    conns[1] = unmade;
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 2), SIMPLEX_OK);
    fetched(unmade, 0, SIMPLEX_E_PROHIBITED);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_non_null(strstr(simplex_event_json(ev), "\"FETCHED\""));
    simplex_event_free(ev);
    forwarder_set(&d.fi, FORWARD);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    send_text(&d.j, d.jc, "later");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch_text(d.ic, "later");
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 1), SIMPLEX_E_PROHIBITED);
    end();
}

static void several_connections_are_fetched_at_once(void **state)
{
    int64_t ic[3], jc[3];

    (void)state;
    begin();
    for (int n = 0; n < 3; n++)
        connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &ic[n], &jc[n]);
    reopen(true, false);
    send_text(&d.j, jc[0], "to the first");
    send_text(&d.j, jc[2], "to the third");
    expect(&d.j, SIMPLEX_EV_SENT, jc[0]);
    expect(&d.j, SIMPLEX_EV_SENT, jc[2]);
    assert_int_equal(simplex_agent_fetch(d.i.a, ic, 3), SIMPLEX_OK);
    assert_true(fetched(ic[0], 1, SIMPLEX_OK) > 0);
    assert_int_equal(fetched(ic[1], 0, SIMPLEX_OK), 0);
    assert_true(fetched(ic[2], 1, SIMPLEX_OK) > 0);
    receive_text(&d.i, ic[0], "to the first");
    receive_text(&d.i, ic[2], "to the third");
    end();
}

/* The server still pushes to this session: SUB again is how the message is had. */
static void what_was_subscribed_here_is_fetched_too(void **state)
{
    (void)state;
    begin();
    duo_connect(&d);
    talk(&d.j, d.jc, &d.i, d.ic, "subscribed");
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, false), SIMPLEX_OK);
    nothing_waits(d.ic);
    send_text(&d.j, d.jc, "one");
    send_text(&d.j, d.jc, "two");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    fetch_text(d.ic, "one");
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    fetch_text(d.ic, "two");
    nothing_waits(d.ic);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
    talk(&d.j, d.jc, &d.i, d.ic, "three");
    end();
}

/* Such a GET was never sent, and the session that comes later knows nothing of it. */
static void subscribing_works_after_a_server_could_not_be_asked(void **state)
{
    (void)state;
    begin();
    duo_connect(&d);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, false), SIMPLEX_OK);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    for (unsigned n = 0; n < 3; n++) { /* the first is tried, the others fail at once */
        fetch(d.ic);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
        simplex_event_free(ev);
    }
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
    forwarder_set(&d.fi, FORWARD);
    talk(&d.j, d.jc, &d.i, d.ic, "again");
    end();
}

static void a_message_fetched_twice_is_shown_once(void **state)
{
    simplex_event *ev;
    uint8_t first[24], again[24];
    int64_t id;

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    send_text(&d.j, d.jc, "once");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch(d.ic);
    id = fetched(d.ic, 1, SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
    simplex_event_free(ev);
    /* again, before it was acknowledged */
    fetch(d.ic);
    assert_int_equal(fetched(d.ic, 1, SIMPLEX_OK), id);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    /* the way breaks, so the ACK is lost */
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    (void)quiet(&d.i, SIMPLEX_EV_DISCONNECT, 300);
    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, id), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSGNTF, 200));
    forwarder_set(&d.fi, FORWARD);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    fetch(d.ic);
    acked(d.ic, first); /* it was received and acknowledged before */
    assert_int_equal(fetched(d.ic, 1, SIMPLEX_OK), 0);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    send_text(&d.j, d.jc, "next");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch(d.ic);
    fetched(d.ic, 1, SIMPLEX_OK);
    receive_text(&d.i, d.ic, "next");
    acked(d.ic, again);
    assert_memory_not_equal(first, again, 24);
    end();
}

/* The next event, or one that another wait has put aside. NULL: none for a moment. */
static simplex_event *any_event(void)
{
    simplex_event *ev = NULL;

    if (d.i.n_held > 0)
        return d.i.held[--d.i.n_held];
    return simplex_agent_next_event(d.i.a, 50, &ev) == SIMPLEX_OK ? ev : NULL;
}

static void a_rotation_goes_on_by_fetching_alone(void **state)
{
    bool completed = false;

    (void)state;
    begin();
    duo_connect(&d);
    d.i.servers[1] = d.j_address;
    d.i.n_servers = 2;
    reopen(true, true);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str(d.j_address)), SIMPLEX_OK);
    for (int n = 0; n < 100 && !completed; n++) {
        simplex_event *ev;
        if (n == 2)
            send_text(&d.j, d.jc, "meanwhile");
        fetch(d.ic);
        simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
        while ((ev = any_event()) != NULL) {
            completed = completed || (simplex_event_kind(ev) == SIMPLEX_EV_SWITCH &&
                                      simplex_event_switch(ev, NULL) == SIMPLEX_SWITCH_COMPLETED);
            assert_int_not_equal(simplex_event_kind(ev), SIMPLEX_EV_ERR);
            if (simplex_event_kind(ev) == SIMPLEX_EV_MSG)
                assert_int_equal(simplex_agent_ack(d.i.a, d.ic, simplex_event_msg_id(ev)),
                                 SIMPLEX_OK);
            simplex_event_free(ev);
        }
    }
    assert_true(completed);
    send_text(&d.j, d.jc, "moved");
    fetch(d.ic);
    simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
    end();
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
    end();
}

/* ---- power loss ---- */

static void copy_file(const char *from, const char *to)
{
    char buf[4096];
    size_t n;
    FILE *in = fopen(from, "rb"), *out;

    (void)unlink(to);
    if (in == NULL)
        return;
    out = fopen(to, "wb");
    assert_non_null(out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
    (void)fclose(in);
}

/* I goes on from its files as they are at this moment: as after kill -9. */
static void crash(void)
{
    static const char *const parts[] = { "", "-wal", "-age" };
    static unsigned times;
    char from[320], to[320], name[300];

    (void)snprintf(name, sizeof name, "%.200s/crash%u.db", d.dir, times++);
    for (size_t n = 0; n < SX_COUNT(parts); n++) {
        (void)snprintf(from, sizeof from, "%s%s", d.i.db, parts[n]);
        (void)snprintf(to, sizeof to, "%s%s", name, parts[n]);
        copy_file(from, to);
    }
    agent_close(&d.i); /* what it writes now is not in the copy */
    (void)snprintf(d.i.db, sizeof d.i.db, "%s", name);
    agent_reopen(&d.i);
}

static void a_crash_after_any_step_leaves_one_notifier(void **state)
{
    simplex_notifier n;

    (void)state;
    begin();
    duo_connect(&d);
    for (int round = 0; round < 8; round++) {
        bool on = round % 2 == 0;
        assert_int_equal(simplex_agent_notify(d.i.a, d.ic, on), SIMPLEX_OK);
        if (round % 4 >= 2)
            (void)quiet(&d.i, SIMPLEX_EV_END, round * 3);
        crash();
        for (bool done = false; !done;) {
            simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_NOTIFIER, d.ic);
            assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
            done = (simplex_event_data(ev).len > 0) == on;
            simplex_event_free(ev);
        }
        n = (simplex_notifier){ .size = sizeof n };
        assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 0, &n),
                         on ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND);
        if (on)
            ntf_subscribe(&n, SX_R_SOK);
    }
    end();
}

static int64_t wait_empty(void)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    int64_t count = simplex_event_count(ev);

    simplex_event_free(ev);
    return count;
}

/* Shown again with the same id until it was acknowledged, never afterwards with another. */
static void a_crash_while_fetching_repeats_and_loses_nothing(void **state)
{
    int64_t last = 0;
    char text[32];

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, true);
    for (int round = 0; round < 6; round++) {
        (void)snprintf(text, sizeof text, "message %d", round);
        send_text(&d.j, d.jc, text);
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        fetch(d.ic);
        if (round % 3 == 0) /* GET is on its way, or answered, or shown */
            crash();
        for (bool seen = false; !seen;) {
            simplex_event *ev;
            fetch(d.ic);
            simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
            while ((ev = any_event()) != NULL) {
                if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
                    int64_t id = simplex_event_msg_id(ev);
                    if (id != last)
                        vec_assert_eq(simplex_event_data(ev), sx_str(text), "the next one");
                    seen = seen || id != last;
                    assert_true(id >= last);
                    last = id;
                    if (round % 3 == 1) { /* shown, not acknowledged */
                        simplex_event_free(ev);
                        crash();
                        ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
                        assert_int_equal(simplex_event_msg_id(ev), id);
                    }
                    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, id), SIMPLEX_OK);
                    if (round % 3 == 2) { /* acknowledged, perhaps not on the server */
                        simplex_event_free(ev);
                        crash();
                        continue;
                    }
                }
                simplex_event_free(ev);
            }
        }
    }
    do
        fetch(d.ic);
    while (wait_empty() > 0);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 100));
    end();
}

struct starved {
    unsigned nth;
    bool fired;
};

/* On the agent's thread: nothing else meets the fault. */
static simplex_rc fetch_starved(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    simplex_rc rc;

    assert_int_equal(sx_agent_commit_now(a), SIMPLEX_OK); /* not what is none of its business */
    sx_store_fault(a->store, x->nth, SIMPLEX_E_DB_IO);
    rc = simplex_agent_fetch(a, &d.ic, 1);
    x->fired = sx_store_fault_disarm(a->store);
    return rc;
}

static void a_fetch_that_the_disk_fails_has_its_end(void **state)
{
    struct starved x = { .fired = true };

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 20);
        assert_int_equal(sx_agent_run(d.i.a, fetch_starved, &x, false), SIMPLEX_OK);
        expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    }
    assert_true(x.nth > 4);
    end();
}

static simplex_rc fetch_without_memory(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    int64_t conns[] = { d.ic, 4711 };

    sx_fault_malloc(x->nth);
    simplex_rc rc = simplex_agent_fetch(a, conns, 2);
    x->fired = sx_fault_disarm();
    return rc;
}

static void a_fetch_without_memory_is_refused_or_has_its_end(void **state)
{
    struct starved x = { .fired = true };
    unsigned refused = 0;

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 50);
        simplex_rc rc = sx_agent_run(d.i.a, fetch_without_memory, &x, false);
        assert_true(rc == SIMPLEX_OK || (x.fired && rc == SIMPLEX_E_NOMEM));
        refused += rc != SIMPLEX_OK;
        if (rc != SIMPLEX_OK)
            continue;
        expect(&d.i, SIMPLEX_EV_FETCHED, 4711);
        expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    }
    assert_int_equal(refused, 4); /* of each connection, its state and its event */
    end();
}

/* The fault waits for the answer, and for the commit of what it brings. */
static simplex_rc fetch_to_full_disk(struct simplex_agent *a, void *arg)
{
    const struct starved *x = arg;

    assert_int_equal(sx_agent_commit_now(a), SIMPLEX_OK);
    a->recover_after = 10;
    sx_store_fault(a->store, x->nth, SIMPLEX_E_DB_FULL);
    return simplex_agent_fetch(a, &d.ic, 1);
}

static simplex_rc is_full(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;

    x->fired = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

/* It fails with the commit that it waited for; it was run all the same. */
static void on_full_disk(simplex_rc (*fn)(struct simplex_agent *, void *), struct starved *x)
{
    simplex_rc rc = sx_agent_run(d.i.a, fn, x, false);

    assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_FULL);
}

static void a_fetch_whose_message_cannot_be_written_has_its_end(void **state)
{
    struct starved x = { .fired = true };
    int64_t id = 0;

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    d.i.errors_ok = true;
    send_text(&d.j, d.jc, "kept");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    for (; x.fired || id == 0; x.nth += x.fired) {
        assert_in_range(x.nth, 0, 100);
        on_full_disk(fetch_to_full_disk, &x);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        id = simplex_event_msg_id(ev);
        simplex_event_free(ev);
        on_full_disk(is_full, &x);
    }
    assert_true(x.nth > 10);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_push_wakes_and_one_message_is_fetched),
        cmocka_unit_test(an_extension_reads_the_message_without_taking_it),
        cmocka_unit_test(notifiers_are_switched_on_and_off),
        cmocka_unit_test(older_servers_are_asked_with_nkey),
        cmocka_unit_test(wanted_before_there_is_a_queue),
        cmocka_unit_test(lost_answers_and_restarts_leave_one_notifier),
        cmocka_unit_test(a_rotation_moves_the_notifier_along),
        cmocka_unit_test(a_push_that_is_not_ours_is_refused),
        cmocka_unit_test(only_created_connections_are_fetched),
        cmocka_unit_test(what_cannot_be_fetched_is_said),
        cmocka_unit_test(several_connections_are_fetched_at_once),
        cmocka_unit_test(what_was_subscribed_here_is_fetched_too),
        cmocka_unit_test(subscribing_works_after_a_server_could_not_be_asked),
        cmocka_unit_test(a_message_fetched_twice_is_shown_once),
        cmocka_unit_test(a_rotation_goes_on_by_fetching_alone),
        cmocka_unit_test(each_of_several_queues_is_notified_and_fetched),
        cmocka_unit_test(a_crash_after_any_step_leaves_one_notifier),
        cmocka_unit_test(a_crash_while_fetching_repeats_and_loses_nothing),
        cmocka_unit_test(a_fetch_that_the_disk_fails_has_its_end),
        cmocka_unit_test(a_fetch_without_memory_is_refused_or_has_its_end),
        cmocka_unit_test(a_fetch_whose_message_cannot_be_written_has_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
