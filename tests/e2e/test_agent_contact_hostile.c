/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact address is open to everybody. Requests made by hand: malformed, repeated, too many; and
 * a full queue, a full disk and lost answers in between. The address goes on working.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/envelope.h"
#include "support/contact.h"
#include "support/full_disk.h"

static struct story {
    struct duo d;
    char link[4096];
    int64_t address;
    struct sx_queue_addr to;   /* the queue of the address */
    struct smp_peer net;       /* who writes there */
    struct sx_link invitation; /* a good one, of nobody who is there */
} s;

static void copy_link(const simplex_event *ev, char to[4096])
{
    simplex_bytes text = simplex_event_data(ev);

    assert_in_range(text.len, 1, 4095);
    memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
}

static void connect_writer(void)
{
    struct smp_peer_cfg cfg = { .port = simplex_server_port(s.d.srv.s),
                                .key_hash = s.to.server.key_hash };

    must(smp_peer_open(&s.net, &cfg));
}

/* A link as another agent would make it. */
static void make_invitation(void)
{
    struct sx_x3dh_keys keys;
    struct sx_keypair e2e;
    static struct sx_queue_addr queue;

    queue = s.to;
    must(sx_keypair_new(SX_X25519, &e2e));
    must(sx_x3dh_keys_new(false, &keys));
    queue.dh = e2e.pub;
    queue.mode = SX_MODE_MESSAGING;
    s.invitation = (struct sx_link){ .kind = SX_LINK_INVITATION,
                                     .agent_v = { SX_AGENT_MIN, SX_AGENT_MAX },
                                     .queues = &queue,
                                     .n_queues = 1 };
    sx_x3dh_params(&keys, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX }, &s.invitation.e2e);
    sx_x3dh_keys_wipe(&keys);
}

static void open_with(const simplex_server_config *cfg)
{
    struct sx_link l;

    memset(&s, 0, sizeof s);
    memset(&l, 0, sizeof l);
    duo_open(&s.d, cfg);
    must(simplex_agent_create_address(s.d.i.a, &s.address));
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.address);
    copy_link(ev, s.link);
    simplex_event_free(ev);
    must(sx_link_parse(sx_str(s.link), &l));
    s.to = l.queues[0];
    s.to.v = (struct sx_range){ SX_CLIENT_MAX, SX_CLIENT_MAX };
    sx_link_free(&l);
    connect_writer();
    make_invitation();
}

static int open_story(void **state)
{
    (void)state;
    open_with(NULL);
    return 0;
}

static int close_story(void **state)
{
    (void)state;
    smp_peer_close(&s.net);
    duo_close(&s.d);
    return 0;
}

/* ---- writing ---- */

static bool send_body(simplex_bytes body)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = body };
    const struct sx_rsp *rsp = smp_peer_cmd(&s.net, NULL, sx_id_bytes(&s.to.snd_id), &cmd);
    bool ok;

    assert_non_null(rsp);
    ok = rsp->tag == SX_R_OK;
    if (!ok)
        assert_true(rsp->tag == SX_R_ERR && rsp->err.err == SX_ERR_QUOTA);
    smp_peer_forget(&s.net);
    return ok;
}

static void send_envelope(const struct sx_envelope *env)
{
    struct sx_wr body;

    must(sx_seal_once(&s.to, env, &body));
    assert_true(send_body(sx_wr_bytes(&body)));
    sx_wr_free(&body);
}

static void request(simplex_bytes link, simplex_bytes info)
{
    struct sx_envelope env = {
        .version = SX_AGENT_MAX, .tag = SX_ENV_INVITATION, .link = link, .body = info
    };

    send_envelope(&env);
}

/* Different links of one person: the number is in the application's text. */
static void print_invitation(unsigned n, struct sx_wr *w)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%u", n);
    sx_wr_init(&s.invitation.data, sizeof text);
    must(sx_link_set_data(&s.invitation, sx_str(text)));
    sx_wr_init(w, SX_LINK_TEXT_MAX);
    sx_link_print(w, &s.invitation, "simplex:");
    assert_false(w->bad);
    sx_wr_free(&s.invitation.data);
}

static void good_request(unsigned n, const char *info)
{
    struct sx_wr link;

    print_invitation(n, &link);
    request(sx_wr_bytes(&link), sx_str(info));
    sx_wr_free(&link);
}

static int64_t take_request(const char *info)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    int64_t id = simplex_event_request(ev);

    vec_assert_eq(simplex_event_data(ev), sx_str(info), "information in REQ");
    simplex_event_free(ev);
    return id;
}

static void expect_err(simplex_rc rc)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.address);

    if (simplex_event_error(ev) != rc)
        fail_msg("%s", simplex_event_json(ev));
    simplex_event_free(ev);
}

static void assert_usable(void)
{
    static unsigned n = 1000;
    char info[32];

    (void)snprintf(info, sizeof info, "number %u", ++n);
    good_request(n, info);
    take_request(info);
}

static size_t waiting(void)
{
    static int64_t ids[2000];
    size_t n = SX_COUNT(ids);

    must(simplex_agent_requests(s.d.i.a, 0, ids, &n));
    return n;
}

/* ---- malformed ---- */

static void links_that_are_none_are_refused(void **state)
{
    static const char *const links[] = {
        "",
        "hello",
        "simplex:/invitation#/?",
        "simplex:/invitation#/?v=2-7&smp=&e2e=",
        "https://example.org/invitation#/?v=7-2&smp=x&e2e=y",
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost",
    };
    static char longest[15800];

    (void)state;
    for (size_t n = 0; n < SX_COUNT(links); n++) {
        request(sx_str(links[n]), sx_str("let me in"));
        expect_err(SIMPLEX_E_LINK);
    }
    memset(longest, 'a', sizeof longest - 1);
    request(sx_str(longest), sx_bytes(NULL, 0));
    expect_err(SIMPLEX_E_LINK);
    request(sx_str(s.link), sx_str("an address is no invitation"));
    expect_err(SIMPLEX_E_LINK);
    assert_usable();
}

static void only_requests_are_taken(void **state)
{
    struct sx_envelope message = { .version = 7, .tag = SX_ENV_MESSAGE, .body = sx_str("x") };
    struct sx_envelope confirmation = { .version = 7,
                                        .tag = SX_ENV_CONFIRMATION,
                                        .has_e2e = true,
                                        .e2e = s.invitation.e2e,
                                        .body = sx_str("not a ratchet message") };
    struct sx_envelope ratchet_key = { .version = 7,
                                       .tag = SX_ENV_RATCHET_KEY,
                                       .has_e2e = true,
                                       .e2e = s.invitation.e2e,
                                       .body = sx_str("R") };

    (void)state;
    confirmation.e2e.v = ratchet_key.e2e.v = (struct sx_range){ 3, 3 };
    send_envelope(&message);
    expect_err(SIMPLEX_E_PROHIBITED);
    send_envelope(&confirmation);
    expect_err(SIMPLEX_E_PROHIBITED);
    send_envelope(&ratchet_key);
    expect_err(SIMPLEX_E_PROHIBITED);
    assert_usable();
}

static void bodies_that_are_none_are_refused(void **state)
{
    static uint8_t junk[16048];
    struct sx_envelope env = { .version = 7, .tag = SX_ENV_INVITATION, .link = sx_str("x") };
    struct sx_wr body;

    (void)state;
    send_body(sx_str(""));
    expect_err(SIMPLEX_E_DECODE);
    send_body(sx_bytes(junk, sizeof junk));
    expect_err(SIMPLEX_E_DECODE);
    must(sx_seal_once(&s.to, &env, &body));
    body.p[1] = 9; /* client version */
    assert_true(send_body(sx_wr_bytes(&body)));
    expect_err(SIMPLEX_E_VERSION);
    body.p[1] = SX_CLIENT_MAX;
    body.p[body.len - 1] ^= 1;
    assert_true(send_body(sx_wr_bytes(&body)));
    expect_err(SIMPLEX_E_CRYPTO);
    body.p[2] = '0'; /* as if its key were known here */
    assert_true(send_body(sx_wr_bytes(&body)));
    expect_err(SIMPLEX_E_PROHIBITED);
    sx_wr_free(&body);
    assert_usable();
}

/* A confirmation of the standard handshake carries the sender's key; a request never does. */
static void a_request_with_a_key_inside_is_refused(void **state)
{
    struct contact c;
    struct contact_how how = { .confirmation = true, .has_auth = true };
    struct sx_envelope env = { .version = 7, .tag = SX_ENV_INVITATION };
    struct sx_wr link, envelope, body;
    uint8_t secret[SX_DH_MAX];

    (void)state;
    memset(&c, 0, sizeof c);
    must(sx_keypair_new(SX_X25519, &c.e2e));
    must(sx_keypair_new(SX_ED25519, &c.auth));
    must(sx_dh(&c.e2e.priv, &s.to.dh, secret));
    memcpy(c.e2e_secret, secret, sizeof c.e2e_secret);
    print_invitation(1, &link);
    env.link = sx_wr_bytes(&link);
    sx_wr_init(&envelope, 20000);
    sx_wr_init(&body, 20000);
    sx_envelope_encode(&envelope, &env);
    contact_box(&c, &how, sx_wr_bytes(&envelope), &body);
    assert_true(send_body(sx_wr_bytes(&body)));
    expect_err(SIMPLEX_E_PROHIBITED);
    how.has_auth = false; /* without it the same is a request */
    sx_wr_free(&body);
    sx_wr_init(&body, 20000);
    contact_box(&c, &how, sx_wr_bytes(&envelope), &body);
    assert_true(send_body(sx_wr_bytes(&body)));
    take_request("");
    sx_wr_free(&link);
    sx_wr_free(&envelope);
    sx_wr_free(&body);
    assert_usable();
}

static void a_request_of_unknown_versions_is_shown_but_cannot_be_accepted(void **state)
{
    int64_t id, conn;

    (void)state;
    s.invitation.agent_v = (struct sx_range){ 90, 99 };
    good_request(1, "from the future");
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    assert_false(simplex_event_pq(ev));
    id = simplex_event_request(ev);
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_accept(s.d.i.a, id, sx_str("x"), 0, &conn), SIMPLEX_E_VERSION);
    assert_int_equal(waiting(), 1);
    must(simplex_agent_reject(s.d.i.a, id));
    assert_int_equal(waiting(), 0);
}

/* An invitation is for its requester: nobody can put an invitation into a connection. */
static void a_connection_takes_no_requests(void **state)
{
    struct sx_link l;
    struct sx_queue_addr address = s.to;
    simplex_event *ev;

    (void)state;
    memset(&l, 0, sizeof l);
    must(simplex_agent_create(s.d.i.a, 0, &s.d.ic));
    ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.d.ic);
    must(sx_link_parse(simplex_event_data(ev), &l));
    simplex_event_free(ev);
    s.to = l.queues[0];
    s.to.v = address.v;
    sx_link_free(&l);
    good_request(1, "let me in");
    ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.d.ic);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_PROHIBITED);
    simplex_event_free(ev);
    s.to = address;
    assert_usable();
}

/* ---- repeated ---- */

static void a_repeated_request_is_shown_once(void **state)
{
    int64_t first, second, conn;

    (void)state;
    good_request(1, "one");
    good_request(1, "one, again");
    good_request(2, "two");
    first = take_request("one");
    second = take_request("two");
    s.d.i.errors_ok = true; /* nobody is at the link that is accepted */
    must(simplex_agent_accept(s.d.i.a, first, sx_str("yes"), 0, &conn));
    must(simplex_agent_reject(s.d.i.a, second));
    agent_reopen(&s.d.i);
    good_request(1, "one");
    good_request(2, "two");
    good_request(3, "three");
    take_request("three");
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 50));
}

/* ---- too many ---- */

static void send_many(unsigned from, unsigned n)
{
    struct sx_wr link, body;
    struct sx_envelope env = { .version = SX_AGENT_MAX,
                               .tag = SX_ENV_INVITATION,
                               .body = sx_str("one of many") };

    for (unsigned k = from; k < from + n; k++) {
        print_invitation(k, &link);
        env.link = sx_wr_bytes(&link);
        must(sx_seal_once(&s.to, &env, &body));
        while (!send_body(sx_wr_bytes(&body)))
            usleep(2000);
        sx_wr_free(&body);
        sx_wr_free(&link);
    }
}

static void a_flood_of_requests_stays_on_the_server(void **state)
{
    enum { MORE = 40 };
    static int64_t ids[SX_REQUESTS_MAX + MORE];
    size_t n = 0;

    (void)state;
    for (unsigned k = 0; k < SX_REQUESTS_MAX + MORE; k += 20) { /* events are read meanwhile */
        send_many(k, 20);
        for (unsigned e = 0; e < 20 && n < SX_REQUESTS_MAX; e++)
            ids[n++] = take_request("one of many");
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 200));
    assert_int_equal(waiting(), SX_REQUESTS_MAX);
    must(simplex_agent_reject(s.d.i.a, ids[0])); /* room for one */
    ids[0] = take_request("one of many");
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 100));
    agent_reopen(&s.d.i); /* it is full again after a restart */
    expect(&s.d.i, SIMPLEX_EV_UP, 0);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 200));
    assert_int_equal(waiting(), SX_REQUESTS_MAX);
    for (size_t k = 1; k <= MORE - 1; k++) {
        must(simplex_agent_reject(s.d.i.a, ids[k]));
        ids[k] = take_request("one of many");
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 100));
    must(simplex_agent_reject(s.d.i.a, ids[0]));
    assert_int_equal(waiting(), SX_REQUESTS_MAX - 1);
    assert_usable();
}

static void a_full_address_can_be_deleted(void **state)
{
    (void)state;
    for (unsigned k = 0; k < SX_REQUESTS_MAX; k += 20) {
        send_many(k, 20);
        for (unsigned e = 0; e < 20; e++)
            take_request("one of many");
    }
    must(simplex_agent_delete(s.d.i.a, s.address));
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.address);
    assert_int_equal(waiting(), 0);
}

static void requesters_wait_while_the_queue_of_the_address_is_full(void **state)
{
    enum { N = 12 };
    simplex_server_config cfg;
    int64_t conns[N], oc;
    char info[32];

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.quota = 3;
    open_with(&cfg);
    agent_close(&s.d.i);
    for (int n = 0; n < N; n++) {
        (void)snprintf(info, sizeof info, "%d", n);
        must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_str(info), 0, &conns[n]));
    }
    for (int n = 0; n < 3; n++)
        expect(&s.d.j, SIMPLEX_EV_JOINED, 0);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 500));
    agent_reopen(&s.d.j);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 100));
    agent_reopen(&s.d.i);
    for (int n = 0; n < N; n++) {
        simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
        must(simplex_agent_accept(s.d.i.a, simplex_event_request(ev), sx_str("O"), 0, &oc));
        simplex_event_free(ev);
    }
    for (int n = 0; n < N; n++) {
        simplex_event *ev = wait_event(&s.d.j, SIMPLEX_EV_CONF, conns[n]);
        must(simplex_agent_allow(s.d.j.a, conns[n], simplex_event_conf(ev), sx_str("R")));
        simplex_event_free(ev);
        expect(&s.d.j, SIMPLEX_EV_CON, conns[n]);
    }
    close_story(NULL);
}

static void a_request_that_finds_no_room_for_long_is_given_up(void **state)
{
    simplex_server_config cfg;
    int64_t conn;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.quota = 1;
    open_with(&cfg);
    agent_close(&s.d.i);
    good_request(1, "the only one");
    s.d.j.errors_ok = true;
    s.d.j.cfg.quota_timeout = 500;
    agent_reopen(&s.d.j);
    must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_str("x"), 0, &conn));
    simplex_event *ev = wait_event(&s.d.j, SIMPLEX_EV_ERR, conn);
    assert_string_equal(simplex_event_detail(ev), "QUOTA");
    simplex_event_free(ev);
    must(simplex_agent_delete(s.d.j.a, conn));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, conn);
    agent_reopen(&s.d.i);
    take_request("the only one");
    close_story(NULL);
}

/* ---- the disk ---- */

static void a_full_disk_while_a_request_arrives_loses_nothing(void **state)
{
    struct full_disk f = { .recover_after = 20, .fired = true };
    char info[32];

    (void)state;
    s.d.i.errors_ok = true; /* ERR tells of the disk */
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 100);
        full_disk_begin(&s.d.i, &f);
        (void)snprintf(info, sizeof info, "request %u", f.nth);
        good_request(f.nth, info);
        take_request(info);
        (void)quiet(&s.d.i, SIMPLEX_EV_SENT, 20);
        full_disk_end(&s.d.i, &f);
    }
    assert_true(f.nth > 5);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 100));
    assert_int_equal(waiting(), f.nth);
}

/* Both sides in turn: asking, being asked, accepting. Failing calls are repeated. */
static void connect_with_fault(struct test_agent *faulty, struct full_disk *f)
{
    int64_t rc = 0, oc = 0;
    simplex_event *ev;

    full_disk_begin(faulty, f);
    while (simplex_agent_join(s.d.j.a, sx_str(s.link), sx_str("may I?"), 0, &rc) != SIMPLEX_OK)
        usleep(5000);
    ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    while (simplex_agent_accept(s.d.i.a, simplex_event_request(ev), sx_str("yes"), 0, &oc) !=
           SIMPLEX_OK)
        usleep(5000);
    simplex_event_free(ev);
    ev = wait_event(&s.d.j, SIMPLEX_EV_CONF, rc);
    while (simplex_agent_allow(s.d.j.a, rc, simplex_event_conf(ev), sx_str("R")) != SIMPLEX_OK)
        usleep(5000);
    simplex_event_free(ev);
    expect(&s.d.j, SIMPLEX_EV_CON, rc);
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    full_disk_end(faulty, f);
    send_text(&s.d.i, oc, "hello");
    receive_text(&s.d.j, rc, "hello");
    send_text(&s.d.j, rc, "hello");
    receive_text(&s.d.i, oc, "hello");
}

static void a_full_disk_at_every_statement(struct test_agent *faulty)
{
    struct full_disk f = { .recover_after = 20, .fired = true };

    s.d.i.errors_ok = s.d.j.errors_ok = true;
    for (f.nth = 0; f.fired; f.nth += 3) { /* the connections of each run are different anyway */
        assert_in_range(f.nth, 0, 600);
        connect_with_fault(faulty, &f);
    }
    assert_true(f.nth > 30);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 50));
    assert_int_equal(waiting(), 0);
}

static void a_full_disk_of_the_owner_loses_nothing(void **state)
{
    (void)state;
    a_full_disk_at_every_statement(&s.d.i);
}

static void a_full_disk_of_the_requester_loses_nothing(void **state)
{
    (void)state;
    a_full_disk_at_every_statement(&s.d.j);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, open_story, close_story)
    const struct CMUnitTest tests[] = {
        STORY(links_that_are_none_are_refused),
        STORY(only_requests_are_taken),
        STORY(bodies_that_are_none_are_refused),
        STORY(a_request_with_a_key_inside_is_refused),
        STORY(a_request_of_unknown_versions_is_shown_but_cannot_be_accepted),
        STORY(a_connection_takes_no_requests),
        STORY(a_repeated_request_is_shown_once),
        STORY(a_flood_of_requests_stays_on_the_server),
        STORY(a_full_address_can_be_deleted),
        cmocka_unit_test(requesters_wait_while_the_queue_of_the_address_is_full),
        cmocka_unit_test(a_request_that_finds_no_room_for_long_is_given_up),
        STORY(a_full_disk_while_a_request_arrives_loses_nothing),
        STORY(a_full_disk_of_the_owner_loses_nothing),
        STORY(a_full_disk_of_the_requester_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
