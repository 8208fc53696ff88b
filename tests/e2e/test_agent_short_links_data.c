/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind short links: their data is replaced and deleted, owners sign it, and a link may
 * leave out its server. */
#include <stdio.h>

#include "short_links_stage.h"

/* Looks until the server has this. */
static void expect_data_later(struct test_agent *t, const char *text)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    for (bool there = false; !there;) {
        if (sx_mono_ms() > until)
            fail_msg("the data is not \"%s\"", text);
        look(t, &s.jc);
        simplex_event *ev = ldata(t, s.jc);
        there = sx_bytes_eq(simplex_event_data(ev), sx_str(text));
        simplex_event_free(ev);
    }
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
    expect_data_later(&s.d.j, "third"); /* the link may be told for each of the two */
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

static void take_new_link(void)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);

    keep(s.link, sizeof s.link, simplex_event_data(ev));
    simplex_event_free(ev);
}

/* The server keeps a link until its owner deletes it, which takes no key of the link. */
static void an_old_copy_of_before_the_link_deletes_it_and_makes_another(void **state)
{
    simplex_link_data d = data_of("known"), other = data_of("of the old copy");
    char copy[320], old[2048];
    int64_t conn;

    (void)state;
    must(simplex_agent_create_address(s.d.i.a, &s.ic));
    expect(&s.d.i, SIMPLEX_EV_INV, s.ic);
    agent_close(&s.d.i);
    (void)snprintf(copy, sizeof copy, "%.300s.copy", s.d.i.db);
    copy_file(s.d.i.db, copy);
    agent_reopen(&s.d.i);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    take_new_link();
    memcpy(old, s.link, sizeof old);
    agent_close(&s.d.i);
    copy_file(copy, s.d.i.db);
    agent_reopen(&s.d.i);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &other));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_SERVER, "AUTH");
    /* away: what is not deleted yet is not made anew, and survives a restart */
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    forwarder_drop(&s.d.fi);
    must(simplex_agent_delete_link_data(s.d.i.a, s.ic));
    must(simplex_agent_delete_link_data(s.d.i.a, s.ic));
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &other), SIMPLEX_E_PROHIBITED);
    agent_reopen(&s.d.i);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &other), SIMPLEX_E_PROHIBITED);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    assert_int_equal(simplex_event_data(ev).len, 0);
    simplex_event_free(ev);
    look(&s.d.j, &conn); /* who has the old link finds nothing */
    expect_error(&s.d.j, conn, SIMPLEX_E_SERVER, "AUTH");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &other));
    take_new_link();
    assert_string_not_equal(s.link, old);
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "of the old copy");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_story, close_story)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(data_is_replaced_while_the_link_stays),
        TEST(deleted_data_is_gone_and_the_full_link_is_not),
        TEST(an_old_copy_of_before_the_link_deletes_it_and_makes_another),
        TEST(data_as_long_as_it_may_be_arrives),
        TEST(owners_may_sign_the_data),
        TEST(links_to_preset_servers_are_shorter),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
