/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers do to agents that have their queues there: they restart and keep or lose what they
 * had, want passwords, are older, or answer under another identity.
 */
#include <stdio.h>

#include "support/agents.h"
#include "support/free_port.h"

static struct place {
    char dir[256], server_dir[256];
    simplex_server_config cfg;
    struct test_server srv;
    struct test_agent i, j;
    int64_t ic, jc;
} p;

/* Ready for changes of the configuration. */
static void prepare_place(void)
{
    memset(&p, 0, sizeof p);
    tmp_make(p.dir);
    tmp_make(p.server_dir);
    simplex_server_config_init(&p.cfg);
    p.cfg.end_flush_ms = 0;
    p.cfg.dir = p.cfg.state_dir = p.server_dir;
    p.cfg.port = free_port();
    p.cfg.messages_in_memory = true;
}

static void start_server(void)
{
    server_start(&p.srv, &p.cfg);
}

static void restart_server(void)
{
    server_stop(&p.srv);
    start_server();
}

static void open_place(void)
{
    prepare_place();
    start_server();
    agent_open(&p.i, p.dir, "i", p.srv.address);
    agent_open(&p.j, p.dir, "j", p.srv.address);
}

static void close_place(void)
{
    agent_close(&p.i);
    agent_close(&p.j);
    server_stop(&p.srv);
    tmp_remove(p.dir);
    tmp_remove(p.server_dir);
}

static void keep(char *to, size_t size, struct test_agent *t, int32_t kind, int64_t conn)
{
    simplex_event *ev = wait_event(t, kind, conn);
    simplex_bytes text = simplex_event_data(ev);

    assert_true(text.len > 0 && text.len < size);
    memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
    simplex_event_free(ev);
}

static void expect_refusal(struct test_agent *t, int64_t conn, const char *detail)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_ERR, conn);

    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

/* ---- restarts ---- */

static void expect_link_data(struct test_agent *t, int64_t conn, const char *text)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_LDATA, conn);

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "data of the link");
    simplex_event_free(ev);
}

static void allow_and_talk(struct test_agent *i, int64_t ic, struct test_agent *j, int64_t jc)
{
    simplex_event *ev = wait_event(i, SIMPLEX_EV_CONF, ic);

    must(simplex_agent_allow(i->a, ic, simplex_event_conf(ev), sx_str("I")));
    simplex_event_free(ev);
    expect(j, SIMPLEX_EV_CON, jc);
    expect(i, SIMPLEX_EV_CON, ic);
    talk(i, ic, j, jc, "hello");
    talk(j, jc, i, ic, "hello yourself");
}

static void a_short_invitation_outlives_a_restart_of_the_server(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("my profile") };
    char link[2048];

    (void)state;
    open_place();
    must(simplex_agent_create_short(p.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_ON, &d, &p.ic));
    keep(link, sizeof link, &p.i, SIMPLEX_EV_LINK, p.ic);
    restart_server();
    must(simplex_agent_look(p.j.a, sx_str(link), &p.jc));
    expect_link_data(&p.j, p.jc, "my profile");
    restart_server(); /* who looked has it still */
    must(simplex_agent_join(p.j.a, sx_str(link), sx_str("J"), SIMPLEX_PQ_ON, &p.jc));
    allow_and_talk(&p.i, p.ic, &p.j, p.jc);
    close_place();
}

/* later: the address was made without a short link. old: by an agent that knew none of them. */
static void address_outlives(bool later, bool old)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("my profile") };
    simplex_event *req;
    char link[2048];
    int64_t oc;

    open_place();
    p.i.cfg.smp_max = old ? 14 : 0;
    agent_reopen(&p.i);
    if (later) {
        must(simplex_agent_create_address(p.i.a, &p.ic));
        expect(&p.i, SIMPLEX_EV_INV, p.ic);
        restart_server();
        p.i.cfg.smp_max = 0;
        agent_reopen(&p.i);
        must(simplex_agent_set_link_data(p.i.a, p.ic, &d));
    } else {
        must(simplex_agent_create_short(p.i.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_ON, &d, &p.ic));
    }
    keep(link, sizeof link, &p.i, SIMPLEX_EV_LINK, p.ic);
    restart_server();
    must(simplex_agent_look(p.j.a, sx_str(link), &p.jc));
    expect_link_data(&p.j, p.jc, "my profile");
    d.data = sx_str("my new profile");
    must(simplex_agent_set_link_data(p.i.a, p.ic, &d));
    expect(&p.i, SIMPLEX_EV_LINK, p.ic);
    restart_server();
    must(simplex_agent_look(p.j.a, sx_str(link), &p.jc));
    expect_link_data(&p.j, p.jc, "my new profile");
    must(simplex_agent_join(p.j.a, sx_str(link), sx_str("R"), SIMPLEX_PQ_ON, &p.jc));
    req = wait_event(&p.i, SIMPLEX_EV_REQ, p.ic);
    must(simplex_agent_accept(p.i.a, simplex_event_request(req), sx_str("O"), SIMPLEX_PQ_ON, &oc));
    simplex_event_free(req);
    allow_and_talk(&p.j, p.jc, &p.i, oc);
    close_place();
}

static void the_short_link_of_an_address_outlives_restarts_of_the_server(void **state)
{
    (void)state;
    address_outlives(false, false);
}

static void so_does_one_that_an_address_got_later(void **state)
{
    (void)state;
    address_outlives(true, false);
}

static void an_address_from_before_short_links_gets_one(void **state)
{
    (void)state;
    address_outlives(true, true);
}

static void messages_that_a_server_lost_are_missed_with_the_next_one(void **state)
{
    int64_t first, last;
    simplex_event *ev;
    char text[16];

    (void)state;
    prepare_place();
    p.cfg.messages_not_saved = true;
    start_server();
    agent_open(&p.i, p.dir, "i", p.srv.address);
    agent_open(&p.j, p.dir, "j", p.srv.address);
    connect_agents(&p.i, &p.j, SIMPLEX_PQ_OFF, &p.ic, &p.jc);
    talk(&p.i, p.ic, &p.j, p.jc, "number 2 of I");
    agent_close(&p.j);
    for (int n = 3; n <= 5; n++) {
        (void)snprintf(text, sizeof text, "%d", n);
        send_text(&p.i, p.ic, text);
        expect(&p.i, SIMPLEX_EV_SENT, p.ic);
    }
    restart_server();
    agent_reopen(&p.j);
    send_text(&p.i, p.ic, "6");
    ev = wait_event(&p.j, SIMPLEX_EV_MSG, p.jc);
    vec_assert_eq(simplex_event_data(ev), sx_str("6"), "what was not lost");
    assert_int_equal(simplex_event_integrity(ev, &first, &last), SIMPLEX_MSG_SKIPPED);
    assert_int_equal(first, 3);
    assert_int_equal(last, 5);
    must(simplex_agent_ack(p.j.a, p.jc, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
    expect(&p.i, SIMPLEX_EV_SENT, p.ic);
    talk(&p.i, p.ic, &p.j, p.jc, "7");
    close_place();
}

static void an_agent_that_starts_before_its_server_subscribes_later(void **state)
{
    simplex_event *ev;

    (void)state;
    open_place();
    connect_agents(&p.i, &p.j, SIMPLEX_PQ_OFF, &p.ic, &p.jc);
    agent_close(&p.j);
    send_text(&p.i, p.ic, "for later");
    expect(&p.i, SIMPLEX_EV_SENT, p.ic);
    server_stop(&p.srv);
    agent_reopen(&p.j);
    ev = wait_event(&p.j, SIMPLEX_EV_DISCONNECT, 0);
    assert_true(simplex_event_error(ev) < 0);
    simplex_event_free(ev);
    start_server();
    expect(&p.j, SIMPLEX_EV_UP, 0);
    receive_text(&p.j, p.jc, "for later");
    talk(&p.j, p.jc, &p.i, p.ic, "got it");
    close_place();
}

/* J's own server is away while it joins: the queue for replies is made there when it is back. */
static void join_without_own_server(uint16_t smp_max)
{
    simplex_server_config cfg;
    struct test_server own;
    char dir[256];
    simplex_event *inv;

    open_place();
    tmp_make(dir);
    cfg = p.cfg;
    cfg.dir = cfg.state_dir = dir;
    cfg.port = free_port();
    cfg.max_version = smp_max;
    server_start(&own, &cfg);
    p.i.cfg.smp_max = p.j.cfg.smp_max = smp_max;
    p.j.servers[0] = own.address;
    agent_reopen(&p.i);
    agent_reopen(&p.j);
    server_stop(&own);
    must(simplex_agent_create(p.i.a, SIMPLEX_PQ_OFF, &p.ic));
    inv = wait_event(&p.i, SIMPLEX_EV_INV, p.ic);
    must(simplex_agent_join(p.j.a, simplex_event_data(inv), sx_str("J"), SIMPLEX_PQ_OFF, &p.jc));
    simplex_event_free(inv);
    expect(&p.j, SIMPLEX_EV_DISCONNECT, 0);
    agent_reopen(&p.j); /* and it is no matter that it was restarted meanwhile */
    expect(&p.j, SIMPLEX_EV_DISCONNECT, 0);
    assert_true(quiet(&p.i, SIMPLEX_EV_CONF, 1));
    server_start(&own, &cfg);
    must(simplex_agent_reconnect(p.j.a)); /* a failure is remembered for three seconds otherwise */
    allow_and_talk(&p.i, p.ic, &p.j, p.jc);
    close_place();
    server_stop(&own);
    tmp_remove(dir);
}

static void a_joiner_makes_its_queue_when_its_server_is_back(void **state)
{
    (void)state;
    join_without_own_server(0);
}

static void so_does_a_joiner_of_an_old_queue(void **state)
{
    (void)state;
    join_without_own_server(8);
}

/* ---- who may make queues ---- */

enum outcome { NO_LINK, NO_JOIN, CONNECTED };

static const struct membership {
    const char *server, *i, *j; /* passwords */
    bool closed;
    enum outcome outcome;
} memberships[] = {
    { "abcd", "abcd", "abcd", false, CONNECTED }, { "abcd", "abcd", "abcd", true, NO_LINK },
    { "abcd", NULL, "abcd", false, NO_LINK },     { "abcd", "wrong", "abcd", false, NO_LINK },
    { "abcd", "abcd", NULL, false, NO_JOIN },     { "abcd", "abcd", "wrong", false, NO_JOIN },
    { NULL, NULL, NULL, false, CONNECTED },       { NULL, NULL, NULL, true, NO_LINK },
    { NULL, "abcd", NULL, false, CONNECTED },     { NULL, NULL, "abcd", false, CONNECTED },
    { NULL, "abcd", "abcd", false, CONNECTED },   { NULL, "abcd", "abcd", true, NO_LINK },
};

/* The address as one who has this password writes it. */
static void with_password(char to[600], const char *address, const char *password)
{
    const char *at = strchr(address, '@');
    const char *end = strchr(address + strlen("smp://"), ':');

    assert_non_null(at);
    if (end == NULL || end > at)
        end = at;
    (void)snprintf(to, 600, "%.*s%s%s%s", (int)(end - address), address,
                   password != NULL ? ":" : "", password != NULL ? password : "", at);
}

static void try_membership(const struct membership *m, uint16_t version)
{
    char i_address[600], j_address[600];
    simplex_event *inv;

    prepare_place();
    p.cfg.state_dir = NULL;
    p.cfg.password = m->server;
    p.cfg.new_queues = !m->closed;
    p.cfg.max_version = version;
    start_server();
    with_password(i_address, p.srv.address, m->i);
    with_password(j_address, p.srv.address, m->j);
    agent_open(&p.i, p.dir, "i", i_address);
    agent_open(&p.j, p.dir, "j", j_address);
    must(simplex_agent_create(p.i.a, SIMPLEX_PQ_OFF, &p.ic));
    if (m->outcome == NO_LINK) {
        expect_refusal(&p.i, p.ic, "AUTH");
    } else {
        inv = wait_event(&p.i, SIMPLEX_EV_INV, p.ic);
        must(
            simplex_agent_join(p.j.a, simplex_event_data(inv), sx_str("J"), SIMPLEX_PQ_OFF, &p.jc));
        simplex_event_free(inv);
        if (m->outcome == NO_JOIN)
            expect_refusal(&p.j, p.jc, "AUTH");
        else
            allow_and_talk(&p.i, p.ic, &p.j, p.jc);
    }
    close_place();
}

static void passwords_decide_who_makes_queues(void **state)
{
    static const uint16_t versions[] = { 6, 7, 19 };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(memberships); n++)
        try_membership(&memberships[n], versions[n % 3]);
    try_membership(&memberships[0], 7);
    try_membership(&memberships[0], 19);
}

/* ---- two identities ---- */

/* The link, as if the server had another fingerprint. */
static void forge(char *link)
{
    char *fingerprint = strstr(link, "smp%3A%2F%2F");

    assert_non_null(fingerprint);
    fingerprint += strlen("smp%3A%2F%2F");
    *fingerprint = *fingerprint == 'A' ? 'B' : 'A';
}

static void a_server_known_under_two_identities_keeps_its_true_queues(void **state)
{
    char link[4096], forged[4096];
    simplex_event *ev;
    int64_t wrong;

    (void)state;
    open_place();
    must(simplex_agent_create(p.i.a, SIMPLEX_PQ_OFF, &p.ic));
    keep(link, sizeof link, &p.i, SIMPLEX_EV_INV, p.ic);
    memcpy(forged, link, sizeof forged);
    forge(forged);
    must(simplex_agent_join(p.j.a, sx_str(forged), sx_str("J"), SIMPLEX_PQ_OFF, &wrong));
    do {
        ev = wait_event(&p.j, SIMPLEX_EV_DISCONNECT, 0);
        bool told = simplex_event_error(ev) == SIMPLEX_E_FINGERPRINT;
        simplex_event_free(ev);
        if (told)
            break;
    } while (true);
    must(simplex_agent_join(p.j.a, sx_str(link), sx_str("J"), SIMPLEX_PQ_OFF, &p.jc));
    allow_and_talk(&p.i, p.ic, &p.j, p.jc);
    agent_reopen(&p.j);
    talk(&p.i, p.ic, &p.j, p.jc, "after a restart");
    must(simplex_agent_delete(p.j.a, wrong));
    expect(&p.j, SIMPLEX_EV_DEL_CONN, wrong);
    talk(&p.j, p.jc, &p.i, p.ic, "without the wrong one");
    close_place();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_invitation_outlives_a_restart_of_the_server),
        cmocka_unit_test(the_short_link_of_an_address_outlives_restarts_of_the_server),
        cmocka_unit_test(so_does_one_that_an_address_got_later),
        cmocka_unit_test(an_address_from_before_short_links_gets_one),
        cmocka_unit_test(messages_that_a_server_lost_are_missed_with_the_next_one),
        cmocka_unit_test(an_agent_that_starts_before_its_server_subscribes_later),
        cmocka_unit_test(a_joiner_makes_its_queue_when_its_server_is_back),
        cmocka_unit_test(so_does_a_joiner_of_an_old_queue),
        cmocka_unit_test(passwords_decide_who_makes_queues),
        cmocka_unit_test(a_server_known_under_two_identities_keeps_its_true_queues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
