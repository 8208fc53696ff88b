/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short links on a server that lies, played by tests/support/smp_peer.c: it keeps what NEW brought
 * and gives back something else. Nothing of what does not fit the link is used, and the agent goes
 * on.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "support/odd_server.h"
#include "wire/short_link.h"

struct lie {
    const char *what;
    void (*change)(struct sx_rsp *rsp);
    simplex_rc want;
    const char *detail; /* NULL: any */
};

static struct scene {
    struct odd_server server;
    char dir[256];
    struct test_agent t;
    struct sx_keypair dh;
    uint8_t rcv_id[24], link_id[24];
    uint8_t snd_id[24], first_snd_id[24];
    uint8_t fixed[SX_LINK_FIXED_STORED], user[SX_LINK_USER_STORED];
    uint8_t changed_fixed[SX_LINK_FIXED_STORED], changed_user[SX_LINK_USER_STORED];
    unsigned news, drop_news;
    void (*change_ids)(struct sx_rsp *rsp);
    const struct lie *lie;
    char link[2048];
    int64_t conn;
} s;

/* ---- the server ---- */

static void keep_new(const struct sx_cmd *cmd)
{
    assert_true(cmd->new_.has_link);
    assert_int_equal(cmd->new_.snd_id.len, 24);
    assert_int_equal(cmd->new_.fixed.len, sizeof s.fixed);
    assert_int_equal(cmd->new_.user.len, sizeof s.user);
    memcpy(s.snd_id, cmd->new_.snd_id.ptr, 24);
    if (cmd->new_.mode == SX_MODE_CONTACT)
        memcpy(s.link_id, cmd->new_.link_id.ptr, 24);
    memcpy(s.fixed, cmd->new_.fixed.ptr, sizeof s.fixed);
    memcpy(s.user, cmd->new_.user.ptr, sizeof s.user);
    if (s.news == 1)
        memcpy(s.first_snd_id, s.snd_id, 24);
}

static bool answer(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    if (cmd->tag == SX_NEW) {
        s.news++;
        keep_new(cmd);
        if (s.drop_news > 0) {
            s.drop_news--;
            peer_drop(p);
            return false;
        }
        *rsp = (struct sx_rsp){ .tag = SX_R_IDS };
        s.rcv_id[0] = (uint8_t)s.news;
        rsp->ids.rcv_id = sx_bytes(s.rcv_id, 24);
        rsp->ids.snd_id = sx_bytes(s.snd_id, 24);
        rsp->ids.srv_dh = s.dh.pub;
        rsp->ids.mode = cmd->new_.mode;
        rsp->ids.has_link_id = true;
        rsp->ids.link_id = sx_bytes(s.link_id, 24);
        if (s.change_ids != NULL)
            s.change_ids(rsp);
        return true;
    }
    if (cmd->tag != SX_LGET && cmd->tag != SX_LKEY)
        return peer_answer(p, c, cmd, t, rsp);
    *rsp = (struct sx_rsp){ .tag = SX_R_LNK };
    memcpy(s.changed_fixed, s.fixed, sizeof s.fixed);
    memcpy(s.changed_user, s.user, sizeof s.user);
    rsp->lnk.snd_id = sx_bytes(s.snd_id, 24);
    rsp->lnk.fixed = sx_bytes(s.changed_fixed, sizeof s.fixed);
    rsp->lnk.user = sx_bytes(s.changed_user, sizeof s.user);
    if (s.lie != NULL)
        s.lie->change(rsp);
    return true;
}

static int set_up(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    tmp_make(s.dir);
    odd_server_open(&s.server);
    s.server.peer.answer = answer;
    must(sx_keypair_new(SX_X25519, &s.dh));
    agent_open(&s.t, s.dir, "a", s.server.address);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_close(&s.t);
    odd_server_close(&s.server);
    tmp_remove(s.dir);
    return 0;
}

static simplex_event *hear(int32_t kind, int64_t conn)
{
    return odd_server_hear(&s.server, &s.t, kind, conn);
}

static void expect_error(int64_t conn, simplex_rc rc, const char *detail, const char *what)
{
    simplex_event *ev = hear(SIMPLEX_EV_ERR, conn);

    if (simplex_event_error(ev) != rc)
        fail_msg("%s: %s", what, simplex_event_json(ev));
    if (detail != NULL)
        assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

static void make(int32_t type)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("data") };
    simplex_event *ev;

    must(simplex_agent_create_short(s.t.a, type, SIMPLEX_PQ_OFF, &d, &s.conn));
    ev = hear(SIMPLEX_EV_LINK, s.conn);
    simplex_bytes text = simplex_event_data(ev);
    assert_true(text.len < sizeof s.link);
    memcpy(s.link, text.ptr, text.len);
    s.link[text.len] = 0;
    simplex_event_free(ev);
}

/* ---- lies ---- */

static void damage_fixed(struct sx_rsp *rsp)
{
    (void)rsp;
    s.changed_fixed[100] ^= 1;
}

static void damage_user(struct sx_rsp *rsp)
{
    (void)rsp;
    s.changed_user[sizeof s.user - 1] ^= 1;
}

static void cut_user(struct sx_rsp *rsp)
{
    rsp->lnk.user.len--;
}

static void send_nothing(struct sx_rsp *rsp)
{
    rsp->lnk.fixed.len = rsp->lnk.user.len = 0;
}

static void send_noise(struct sx_rsp *rsp)
{
    (void)rsp;
    sx_random(s.changed_fixed, sizeof s.changed_fixed);
    sx_random(s.changed_user, sizeof s.changed_user);
}

static void name_another_queue(struct sx_rsp *rsp)
{
    static const uint8_t other[24] = { 1 };

    rsp->lnk.snd_id = sx_bytes(other, sizeof other);
}

static void answer_ok(struct sx_rsp *rsp)
{
    *rsp = (struct sx_rsp){ .tag = SX_R_OK };
}

static void answer_ids(struct sx_rsp *rsp)
{
    *rsp = (struct sx_rsp){ .tag = SX_R_PONG };
}

/* Whoever has the link can seal data for it, but not sign it. */
static void sign_as_a_stranger(struct sx_rsp *rsp)
{
    struct sx_link_user u = { .kind = SX_LINK_CONTACT,
                              .agent_v = { SX_AGENT_MIN, SX_AGENT_MAX },
                              .direct = true,
                              .data = sx_str("forged") };
    struct sx_keypair stranger;
    struct sx_short_link link;
    struct sx_link_keys keys;
    uint8_t nonce[SX_NONCE_LEN] = { 0 };
    struct sx_wr w;

    (void)rsp;
    must(sx_short_link_parse(sx_str(s.link), &link));
    must(sx_link_keys_derive(SX_LINK_CONTACT, link.link_key, &keys));
    must(sx_keypair_new(SX_ED25519, &stranger));
    sx_wr_init(&w, SX_LINK_USER_PADDED);
    must(sx_link_user_sign(&w, &u, &stranger));
    must(sx_link_data_seal(keys.key, nonce, sx_wr_bytes(&w), SX_LINK_USER_PADDED, s.changed_user));
    sx_wr_free(&w);
}

static const struct lie lies[] = {
    { "damaged fixed part", damage_fixed, SIMPLEX_E_CRYPTO, NULL },
    { "damaged user part", damage_user, SIMPLEX_E_CRYPTO, NULL },
    { "short user part", cut_user, SIMPLEX_E_CRYPTO, NULL },
    { "no data", send_nothing, SIMPLEX_E_CRYPTO, NULL },
    { "noise", send_noise, SIMPLEX_E_CRYPTO, NULL },
    { "another queue", name_another_queue, SIMPLEX_E_SIGNATURE, NULL },
    { "a stranger's signature", sign_as_a_stranger, SIMPLEX_E_SIGNATURE, NULL },
    { "OK", answer_ok, SIMPLEX_E_RESPONSE, NULL },
    { "PONG", answer_ids, SIMPLEX_E_RESPONSE, NULL },
};

static void false_data_is_not_used(void **state)
{
    int64_t conn;
    simplex_event *ev;

    (void)state;
    make(SIMPLEX_LINK_CONTACT);
    for (size_t n = 0; n < SX_COUNT(lies); n++) {
        s.lie = &lies[n];
        must(simplex_agent_look(s.t.a, sx_str(s.link), &conn));
        expect_error(conn, s.lie->want, s.lie->detail, s.lie->what);
        must(simplex_agent_join(s.t.a, sx_str(s.link), sx_str("info"), SIMPLEX_PQ_OFF, &conn));
        expect_error(conn, s.lie->want, s.lie->detail, s.lie->what);
    }
    s.lie = NULL; /* the same look, when the server has come to its senses */
    must(simplex_agent_look(s.t.a, sx_str(s.link), &conn));
    ev = hear(SIMPLEX_EV_LDATA, conn);
    vec_assert_eq(simplex_event_data(ev), sx_str("data"), "data");
    simplex_event_free(ev);
}

/* The id of another link finds its data, which the key does not open. */
static void a_wrong_link_key_opens_nothing(void **state)
{
    struct sx_short_link link;
    char text[2048];
    struct sx_wr w;
    int64_t conn;

    (void)state;
    for (int n = 0; n < 2; n++) {
        make(n == 0 ? SIMPLEX_LINK_CONTACT : SIMPLEX_LINK_INVITATION);
        must(sx_short_link_parse(sx_str(s.link), &link));
        link.link_key[5] ^= 4;
        sx_wr_fixed(&w, text, sizeof text);
        sx_short_link_print(&w, &link);
        must(simplex_agent_look(s.t.a, sx_wr_bytes(&w), &conn));
        expect_error(conn, SIMPLEX_E_CRYPTO, NULL, "wrong key");
    }
}

/* ---- making ---- */

static void other_snd_id(struct sx_rsp *rsp)
{
    static const uint8_t other[24] = { 7 };

    rsp->ids.snd_id = sx_bytes(other, sizeof other);
}

static void other_link_id(struct sx_rsp *rsp)
{
    rsp->ids.link_id = sx_bytes(s.rcv_id, 24);
}

static void short_link_id(struct sx_rsp *rsp)
{
    rsp->ids.link_id.len = 3;
}

static void ids_that_do_not_fit_the_link_are_refused(void **state)
{
    static void (*const changes[])(struct sx_rsp *) = { other_snd_id, other_link_id,
                                                        short_link_id };
    simplex_link_data d = { .size = sizeof d, .data = sx_str("data") };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(changes); n++) {
        s.change_ids = changes[n];
        must(simplex_agent_create_short(s.t.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &d, &s.conn));
        expect_error(s.conn, SIMPLEX_E_RESPONSE, NULL, "IDS");
    }
    s.change_ids = NULL;
    make(SIMPLEX_LINK_CONTACT);
}

/* The server may have executed it, and would refuse the same ids. */
static void a_lost_answer_to_new_makes_the_link_anew(void **state)
{
    simplex_event *ev;
    int64_t conn;

    (void)state;
    s.drop_news = 1;
    make(SIMPLEX_LINK_CONTACT);
    assert_int_equal(s.news, 2);
    assert_memory_not_equal(s.first_snd_id, s.snd_id, 24);
    must(simplex_agent_look(s.t.a, sx_str(s.link), &conn));
    ev = hear(SIMPLEX_EV_LDATA, conn);
    vec_assert_eq(simplex_event_data(ev), sx_str("data"), "data");
    simplex_event_free(ev);
}

static void a_lost_answer_to_a_prepared_link_changes_nothing(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("data") };
    char before[2048];
    size_t len = sizeof before;

    (void)state;
    s.drop_news = 1;
    must(simplex_agent_prepare_short(s.t.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &d, &s.conn));
    must(simplex_agent_short_link(s.t.a, s.conn, before, &len));
    must(simplex_agent_publish(s.t.a, s.conn));
    simplex_event *ev = hear(SIMPLEX_EV_LINK, s.conn);
    vec_assert_eq(simplex_event_data(ev), sx_bytes((uint8_t *)before, len), "link");
    simplex_event_free(ev);
    assert_int_equal(s.news, 2);
    assert_memory_equal(s.first_snd_id, s.snd_id, 24);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(false_data_is_not_used),
        TEST(a_wrong_link_key_opens_nothing),
        TEST(ids_that_do_not_fit_the_link_are_refused),
        TEST(a_lost_answer_to_new_makes_the_link_anew),
        TEST(a_lost_answer_to_a_prepared_link_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
