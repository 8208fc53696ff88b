/* SPDX-License-Identifier: Apache-2.0 */
/* Short links between two agents and a real server: the duo's i makes them, j looks and joins. */
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "support/agents.h"

static struct story {
    struct duo d;
    char full[4096], link[2048];
    int64_t ic, jc;
} s;

static void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_msg("%s", simplex_rc_name(rc));
}

static int open_story(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    duo_open(&s.d, NULL);
    return 0;
}

static int close_story(void **state)
{
    (void)state;
    duo_close(&s.d);
    return 0;
}

/* ---- steps ---- */

static simplex_link_data data_of(const char *text)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str(text) };

    return d;
}

static void keep(char *to, size_t size, simplex_bytes text)
{
    assert_true(text.len > 0 && text.len < size);
    memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
}

static void take_links(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_INV, conn);

    keep(s.full, sizeof s.full, simplex_event_data(ev));
    simplex_event_free(ev);
    ev = wait_event(t, SIMPLEX_EV_LINK, conn);
    keep(s.link, sizeof s.link, simplex_event_data(ev));
    assert_non_null(strstr(simplex_event_json(ev), "\"shortLink\":\"https://"));
    simplex_event_free(ev);
}

static void make(int32_t type, int32_t pq, const char *text)
{
    simplex_link_data d = data_of(text);

    must(simplex_agent_create_short(s.d.i.a, type, pq, &d, &s.ic));
    take_links(&s.d.i, s.ic);
}

static void look(struct test_agent *t, int64_t *conn)
{
    must(simplex_agent_look(t->a, sx_str(s.link), conn));
}

static simplex_event *ldata(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_LDATA, conn);

    assert_non_null(simplex_event_server(ev));
    return ev;
}

static void expect_data(struct test_agent *t, int64_t conn, const char *text)
{
    simplex_event *ev = ldata(t, conn);

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "data of the link");
    simplex_event_free(ev);
}

static void expect_error(struct test_agent *t, int64_t conn, simplex_rc rc, const char *detail)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_ERR, conn);

    assert_int_equal(simplex_event_error(ev), rc);
    if (detail != NULL)
        assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

static int32_t state_of(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    must(simplex_agent_connection(t->a, conn, &info));
    return info.state;
}

/* What follows JOINED of an invitation. */
static void finish(struct test_agent *j, int64_t jc, bool pq)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_CONF, s.ic);

    vec_assert_eq(simplex_event_data(ev), sx_str("I am J"), "CONF");
    must(simplex_agent_allow(s.d.i.a, s.ic, simplex_event_conf(ev), sx_str("I am I")));
    simplex_event_free(ev);
    expect(j, SIMPLEX_EV_INFO, jc);
    ev = wait_event(j, SIMPLEX_EV_CON, jc);
    assert_int_equal(simplex_event_pq(ev), pq);
    simplex_event_free(ev);
    expect(&s.d.i, SIMPLEX_EV_CON, s.ic);
    talk(&s.d.i, s.ic, j, jc, "over a short link");
    talk(j, jc, &s.d.i, s.ic, "and back");
}

static void join(struct test_agent *t, const char *link, int32_t pq, int64_t *conn)
{
    must(simplex_agent_join(t->a, sx_str(link), sx_str("I am J"), pq, conn));
}

/* ---- invitations ---- */

static void an_invitation_is_looked_at_and_joined(void **state)
{
    simplex_link_info info = { .size = sizeof info };
    simplex_event *ev;
    char again[2048];
    size_t len = sizeof again;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "come in");
    assert_non_null(strstr(s.link, "/i#"));
    must(simplex_agent_short_link(s.d.i.a, s.ic, again, &len));
    vec_assert_eq(sx_bytes((uint8_t *)again, len), sx_str(s.link), "the link again");
    look(&s.d.j, &s.jc);
    ev = ldata(&s.d.j, s.jc);
    vec_assert_eq(simplex_event_data(ev), sx_str("come in"), "data");
    must(simplex_event_link_info(ev, &info));
    assert_int_equal(info.type, SIMPLEX_LINK_INVITATION);
    assert_int_equal(info.root_key.len, 32);
    vec_assert_eq(info.link, sx_str(s.full), "the full link");
    assert_non_null(strstr(simplex_event_json(ev), "\"type\":\"i\""));
    assert_non_null(strstr(simplex_event_json(ev), "\"data\":\"Y29tZSBpbg==\""));
    simplex_event_free(ev);
    assert_int_equal(state_of(&s.d.j, s.jc), SIMPLEX_CONN_LOOKED);
    look(&s.d.j, &conn); /* the same again */
    assert_int_equal(conn, s.jc);
    expect_data(&s.d.j, s.jc, "come in");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn); /* a repeat */
    assert_int_equal(conn, s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str(s.link), &conn), SIMPLEX_E_PROHIBITED);
    len = sizeof again;
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, again, &len), SIMPLEX_E_PROHIBITED);
}

static void an_invitation_is_joined_without_looking(void **state)
{
    bool pq = sx_kem_available();

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_ON, "");
    assert_null(strstr(s.full, "kem_key"));
    join(&s.d.j, s.link, SIMPLEX_PQ_ON, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, pq); /* from the start: the KEM key is in the data */
}

static void the_full_link_of_an_invitation_works_as_well(void **state)
{
    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_ON, "x");
    join(&s.d.j, s.full, SIMPLEX_PQ_ON, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, sx_kem_available());
}

static void the_full_link_carries_the_kem_key_when_asked(void **state)
{
    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_IN_LINK, "x");
    assert_int_equal(strstr(s.full, "kem_key") != NULL, sx_kem_available());
}

static void an_invitation_belongs_to_who_looks_first(void **state)
{
    struct test_agent other;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "for one");
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "for one");
    agent_open(&other, s.d.dir, "k", s.d.j_address);
    look(&other, &conn);
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    join(&other, s.link, SIMPLEX_PQ_OFF, &conn);
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    must(simplex_agent_delete(other.a, conn));
    expect(&other, SIMPLEX_EV_DEL_CONN, conn);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    look(&other, &conn); /* the server has dropped the data */
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    finish(&s.d.j, s.jc, false);
    agent_close(&other);
}

static void a_restart_between_looking_and_joining_keeps_the_key(void **state)
{
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "later");
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "later");
    agent_reopen(&s.d.j);
    agent_reopen(&s.d.i);
    look(&s.d.j, &conn);
    assert_int_equal(conn, s.jc);
    expect_data(&s.d.j, s.jc, "later");
    agent_reopen(&s.d.j);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    agent_reopen(&s.d.j);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
}

/* The agent is closed before and after each answer: at one of them LKEY was executed and its answer
 * lost. */
static void a_restart_at_any_time_while_joining_continues(void **state)
{
    (void)state;
    for (useconds_t us = 0; us < 40000; us += 4000) {
        make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "now");
        join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
        usleep(us);
        agent_reopen(&s.d.j);
        expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
        finish(&s.d.j, s.jc, false);
    }
}

static void a_restart_at_any_time_while_making_continues(void **state)
{
    simplex_link_data d = data_of("made");

    (void)state;
    for (useconds_t us = 0; us < 40000; us += 4000) {
        must(simplex_agent_create_short(s.d.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &d,
                                        &s.ic));
        usleep(us);
        forwarder_drop(&s.d.fi);
        usleep(1000);
        agent_reopen(&s.d.i);
        s.d.i.errors_ok = true; /* NEW may have been executed, and be refused once */
        take_links(&s.d.i, s.ic);
        look(&s.d.j, &s.jc);
        expect_data(&s.d.j, s.jc, "made");
    }
}

/* ---- contact addresses ---- */

static void a_contact_address_is_looked_at_and_asked(void **state)
{
    simplex_link_info info = { .size = sizeof info };
    simplex_event *ev;
    int64_t conn, oc;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "my address");
    assert_non_null(strstr(s.link, "/a#"));
    look(&s.d.j, &s.jc);
    ev = ldata(&s.d.j, s.jc);
    must(simplex_event_link_info(ev, &info));
    assert_true(info.direct);
    assert_int_equal(info.type, SIMPLEX_LINK_CONTACT);
    vec_assert_eq(info.link, sx_str(s.full), "the full link");
    simplex_event_free(ev);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    must(simplex_agent_accept(s.d.i.a, simplex_event_request(ev), sx_str("hi"), SIMPLEX_PQ_OFF,
                              &oc));
    simplex_event_free(ev);
    agent_allow(&s.d.j, s.jc, "ok");
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    expect(&s.d.j, SIMPLEX_EV_CON, s.jc);
    talk(&s.d.i, oc, &s.d.j, s.jc, "through an address");
    /* it may be looked at and asked again */
    look(&s.d.j, &conn);
    assert_int_not_equal(conn, s.jc);
    expect_data(&s.d.j, conn, "my address");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.j, SIMPLEX_EV_JOINED, conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
}

static void an_address_gets_a_short_link_later(void **state)
{
    simplex_link_data d = data_of("added");
    simplex_event *ev;
    char text[2048];
    size_t len = sizeof text;

    (void)state;
    must(simplex_agent_create_address(s.d.i.a, &s.ic));
    expect(&s.d.i, SIMPLEX_EV_INV, s.ic);
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, text, &len), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_delete_link_data(s.d.i.a, s.ic), SIMPLEX_E_PROHIBITED);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    keep(s.link, sizeof s.link, simplex_event_data(ev));
    simplex_event_free(ev);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "added");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
}

static void an_invitation_without_short_link_gets_none(void **state)
{
    simplex_link_data d = data_of("too late");

    (void)state;
    must(simplex_agent_create(s.d.i.a, SIMPLEX_PQ_OFF, &s.ic));
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_PROHIBITED);
    expect(&s.d.i, SIMPLEX_EV_INV, s.ic);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_PROHIBITED);
}

/* ---- changing ---- */

static void data_is_replaced_while_the_link_stays(void **state)
{
    simplex_link_data d = data_of("second");
    char before[2048];

    (void)state;
    make(SIMPLEX_LINK_GROUP, SIMPLEX_PQ_OFF, "first");
    assert_non_null(strstr(s.link, "/g#"));
    memcpy(before, s.link, sizeof before);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "first");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    d = data_of("third");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    agent_reopen(&s.d.i);
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    vec_assert_eq(simplex_event_data(ev), sx_str(before), "the link after the change");
    simplex_event_free(ev);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "third");
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "one");
    d = data_of("two");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    expect(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "two");
    d = data_of("three"); /* it is taken: the server changes no more */
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_SERVER, "AUTH");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
    finish(&s.d.j, s.jc, false);
}

static void deleted_data_is_gone_and_the_full_link_is_not(void **state)
{
    simplex_link_data d = data_of("new data");
    char old[2048];
    simplex_event *ev;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "bye");
    memcpy(old, s.link, sizeof old);
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_delete_link_data(s.d.i.a, s.ic));
    must(simplex_agent_delete_link_data(s.d.i.a, s.ic));
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_PROHIBITED);
    agent_reopen(&s.d.i);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    assert_int_equal(simplex_event_data(ev).len, 0);
    assert_non_null(strstr(simplex_event_json(ev), "\"shortLink\":\"\""));
    simplex_event_free(ev);
    look(&s.d.j, &conn);
    expect_error(&s.d.j, conn, SIMPLEX_E_SERVER, "AUTH");
    join(&s.d.j, s.full, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    keep(s.link, sizeof s.link, simplex_event_data(ev));
    simplex_event_free(ev);
    assert_string_not_equal(s.link, old);
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "new data");
}

static void data_as_long_as_it_may_be_arrives(void **state)
{
    static char text[14000];
    simplex_link_data d;

    (void)state;
    memset(text, 'x', 13700);
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, text);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, text);
    memset(text, 'y', 13707); /* more than what the box, the signature and the fields leave */
    d = data_of(text);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_TOO_LARGE);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 0, &d, &s.ic), SIMPLEX_E_TOO_LARGE);
}

/* ---- owners ---- */

static simplex_link_owner owner_of(const struct sx_keypair *k, const char *id)
{
    return (simplex_link_owner){ .id = sx_str(id), .key = sx_bytes(k->pub.b, 32) };
}

static void owners_may_sign_the_data(void **state)
{
    struct sx_keypair k[2], stranger;
    simplex_link_owner list[2], got;
    simplex_link_data d = data_of("by the maker");
    simplex_link_info info = { .size = sizeof info };
    static const char *relays[1];
    char relay[2048], text[4096];
    size_t len;
    simplex_event *ev;

    (void)state;
    must(sx_keypair_new(SX_ED25519, &k[0]));
    must(sx_keypair_new(SX_ED25519, &k[1]));
    must(sx_keypair_new(SX_ED25519, &stranger));
    make(SIMPLEX_LINK_RELAY, SIMPLEX_PQ_OFF, "a relay");
    memcpy(relay, s.link, sizeof relay);
    relays[0] = relay;
    list[0] = owner_of(&k[0], "alice");
    list[1] = owner_of(&k[1], "bob");
    d.owners = list;
    d.n_owners = 2;
    d.relays = relays;
    d.n_relays = 1;
    d.no_direct = true;
    must(simplex_agent_create_short(s.d.i.a, SIMPLEX_LINK_CHANNEL, 0, &d, &s.ic));
    take_links(&s.d.i, s.ic);
    look(&s.d.j, &s.jc);
    ev = ldata(&s.d.j, s.jc);
    must(simplex_event_link_info(ev, &info));
    assert_false(info.direct);
    assert_int_equal(info.n_owners, 2);
    assert_int_equal(info.n_relays, 1);
    must(simplex_event_link_owner(ev, 1, &got));
    vec_assert_eq(got.id, sx_str("bob"), "id");
    vec_assert_eq(got.key, list[1].key, "key");
    assert_int_equal(got.signature.len, 64);
    assert_int_equal(simplex_event_link_owner(ev, 2, &got), SIMPLEX_E_NOT_FOUND);
    len = sizeof text;
    must(simplex_event_link_relay(ev, 0, text, &len));
    vec_assert_eq(sx_bytes((uint8_t *)text, len), sx_str(relay), "relay");
    len = 3;
    assert_int_equal(simplex_event_link_relay(ev, 0, text, &len), SIMPLEX_E_BUFFER);
    assert_int_equal(len, strlen(relay));
    assert_int_equal(simplex_event_link_relay(ev, 1, text, &len), SIMPLEX_E_NOT_FOUND);
    assert_non_null(strstr(simplex_event_json(ev), "\"owners\":[{\"id\":\"YWxpY2U=\""));
    assert_non_null(strstr(simplex_event_json(ev), "\"relays\":[\"https://"));
    simplex_event_free(ev);
    d.data = sx_str("by bob");
    d.signer = sx_bytes(k[1].priv.b, 32);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    expect(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "by bob");
    /* what readers would refuse is refused here */
    d.signer = sx_bytes(stranger.priv.b, 32);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_SIGNATURE);
    d.signer = sx_bytes(NULL, 0);
    list[1].id = list[0].id;
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_SIGNATURE);
    list[1] = owner_of(&k[1], "bob");
    list[1].signature = sx_bytes((const uint8_t *)text, 64);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_SIGNATURE);
    list[1].signature.len = 63;
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_ARG);
    d.n_owners = 1;
    relays[0] = "https://nowhere";
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_LINK);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "by bob");
}

/* ---- preset servers ---- */

static void links_to_preset_servers_are_shorter(void **state)
{
    const char *presets[] = { "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@smp.example",
                              NULL };
    char bare[2048];
    int64_t conn;

    (void)state;
    presets[1] = s.d.i_address;
    s.d.i.cfg.preset_servers = presets;
    s.d.i.cfg.n_preset_servers = 2;
    agent_reopen(&s.d.i);
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "short");
    assert_null(strchr(s.link, '?'));
    assert_int_equal(simplex_agent_look(s.d.j.a,
                                        sx_str("https://smp.example/a#AAAAAAAAAAAAAAAAAAA"
                                               "AAAAAAAAAAAAAAAAAAAAAAAA"),
                                        &conn),
                     SIMPLEX_E_LINK); /* whose server is that? */
    s.d.j.cfg.preset_servers = presets;
    s.d.j.cfg.n_preset_servers = 2;
    agent_reopen(&s.d.j);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "short");
    /* the other scheme, white space and an upper-case letter make no other link */
    (void)snprintf(bare, sizeof bare, " simplex:/A#%s?h=127.0.0.1\n", strchr(s.link, '#') + 1);
    must(simplex_agent_look(s.d.j.a, sx_str(bare), &conn));
    assert_int_equal(conn, s.jc);
    expect_data(&s.d.j, s.jc, "short");
}

/* ---- prepared ---- */

static void a_prepared_link_is_known_before_its_queue(void **state)
{
    simplex_link_data d = data_of("prepared");
    char full[4096], link[2048];
    size_t n = sizeof full - 1, m = sizeof link - 1;
    int64_t conn;

    (void)state;
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_link(s.d.i.a, s.ic, full, &n));
    must(simplex_agent_short_link(s.d.i.a, s.ic, link, &m));
    full[n] = link[m] = 0;
    agent_reopen(&s.d.i);
    assert_int_equal(state_of(&s.d.i, s.ic), SIMPLEX_CONN_NEW);
    d = data_of("before it is published");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    agent_reopen(&s.d.i);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    take_links(&s.d.i, s.ic);
    assert_string_equal(s.full, full);
    assert_string_equal(s.link, link);
    must(simplex_agent_publish(s.d.i.a, s.ic));
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "before it is published");
    join(&s.d.j, full, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_LINK, 50));
}

static void a_prepared_invitation_has_its_full_link(void **state)
{
    simplex_link_data d = data_of("prepared");
    char full[4096];
    size_t n = sizeof full - 1, m = sizeof s.link;

    (void)state;
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_INVITATION, 0, &d, &s.ic));
    must(simplex_agent_link(s.d.i.a, s.ic, full, &n));
    full[n] = 0;
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, s.link, &m), SIMPLEX_E_PROHIBITED);
    must(simplex_agent_publish(s.d.i.a, s.ic));
    take_links(&s.d.i, s.ic);
    assert_string_equal(s.full, full);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    assert_int_equal(simplex_agent_publish(s.d.i.a, s.ic), SIMPLEX_E_PROHIBITED);
}

static void a_prepared_link_can_be_forgotten(void **state)
{
    simplex_link_data d = data_of("never");

    (void)state;
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_delete(s.d.i.a, s.ic));
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.ic);
    assert_int_equal(simplex_agent_publish(s.d.i.a, s.ic), SIMPLEX_E_NOT_FOUND);
}

/* ---- without network, with an old server, misused ---- */

static void everything_waits_for_the_network(void **state)
{
    simplex_link_data d = data_of("offline");
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "online");
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    agent_reopen(&s.d.i);
    look(&s.d.j, &s.jc); /* the way to i's server is the link's */
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    agent_reopen(&s.d.j);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 100));
    assert_int_equal(state_of(&s.d.j, s.jc), SIMPLEX_CONN_LOOKING);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    must(simplex_agent_reconnect(s.d.j.a));
    expect(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "offline");
}

static void a_look_can_be_called_off(void **state)
{
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "x");
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    look(&s.d.j, &s.jc);
    must(simplex_agent_delete(s.d.j.a, s.jc));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, s.jc);
    forwarder_set(&s.d.fi, FORWARD);
    look(&s.d.j, &conn);
    assert_int_not_equal(conn, s.jc);
    expect_data(&s.d.j, conn, "x");
}

static void an_old_server_gives_a_full_link_only(void **state)
{
    simplex_link_data d = data_of("x");
    char text[4096];
    size_t len = sizeof text;

    (void)state;
    s.d.i.cfg.smp_max = 14;
    agent_reopen(&s.d.i);
    s.d.i.errors_ok = false;
    must(simplex_agent_create_short(s.d.i.a, SIMPLEX_LINK_INVITATION, 0, &d, &s.ic));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_VERSION, NULL);
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.ic);
    keep(s.full, sizeof s.full, simplex_event_data(ev));
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, text, &len), SIMPLEX_E_PROHIBITED);
    join(&s.d.j, s.full, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_VERSION, NULL);
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.ic); /* the link that was told leads nowhere */
}

static void misuse_is_refused(void **state)
{
    simplex_link_data d = data_of("x"), bad = d;
    simplex_link_info info = { .size = sizeof info };
    static uint8_t big[20000];
    simplex_event *ev;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "x");
    bad.size = 8;
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 0, &bad, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'x', 0, &d, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 9, &d, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 0, NULL, &conn), SIMPLEX_E_ARG);
    bad = d;
    bad.no_direct = true;
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'i', 0, &bad, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str(s.full), &conn), SIMPLEX_E_LINK);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str("https://x/a#short"), &conn),
                     SIMPLEX_E_LINK);
    assert_int_equal(simplex_agent_publish(s.d.j.a, 12345), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_set_link_data(s.d.j.a, 12345, &d), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_link_data(s.d.j.a, 12345), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(
        simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(big, sizeof big), 0, &conn),
        SIMPLEX_E_TOO_LARGE);
    look(&s.d.j, &s.jc);
    assert_int_equal(simplex_agent_set_link_data(s.d.j.a, s.jc, &d), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_publish(s.d.j.a, s.jc), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_send(s.d.j.a, s.jc, sx_str("x"), 0, &conn),
                     SIMPLEX_E_PROHIBITED);
    expect_data(&s.d.j, s.jc, "x");
    must(simplex_agent_create_address(s.d.j.a, &conn));
    ev = wait_event(&s.d.j, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_event_link_info(ev, &info), SIMPLEX_E_PROHIBITED);
    simplex_event_free(ev);
}

static int start(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_story, close_story)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_invitation_is_looked_at_and_joined),
        TEST(an_invitation_is_joined_without_looking),
        TEST(the_full_link_of_an_invitation_works_as_well),
        TEST(the_full_link_carries_the_kem_key_when_asked),
        TEST(an_invitation_belongs_to_who_looks_first),
        TEST(a_restart_between_looking_and_joining_keeps_the_key),
        TEST(a_restart_at_any_time_while_joining_continues),
        TEST(a_restart_at_any_time_while_making_continues),
        TEST(a_contact_address_is_looked_at_and_asked),
        TEST(an_address_gets_a_short_link_later),
        TEST(an_invitation_without_short_link_gets_none),
        TEST(data_is_replaced_while_the_link_stays),
        TEST(deleted_data_is_gone_and_the_full_link_is_not),
        TEST(data_as_long_as_it_may_be_arrives),
        TEST(owners_may_sign_the_data),
        TEST(links_to_preset_servers_are_shorter),
        TEST(a_prepared_link_is_known_before_its_queue),
        TEST(a_prepared_invitation_has_its_full_link),
        TEST(a_prepared_link_can_be_forgotten),
        TEST(everything_waits_for_the_network),
        TEST(a_look_can_be_called_off),
        TEST(an_old_server_gives_a_full_link_only),
        TEST(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
