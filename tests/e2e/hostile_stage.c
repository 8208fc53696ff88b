/* SPDX-License-Identifier: Apache-2.0 */
#include "hostile_stage.h"

const struct contact_how saying = { .confirmation = false };

struct hostile_stage s;

int set_up(void **state)
{
    simplex_event *ev;

    (void)state;
    duo_open(&s.d, NULL);
    duo_connect(&s.d);
    assert_int_equal(simplex_agent_create(s.d.i.a, SIMPLEX_PQ_OFF, &s.conn), SIMPLEX_OK);
    ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.conn);
    contact_open(&s.c, simplex_event_data(ev), simplex_server_port(s.d.srv.s));
    simplex_event_free(ev);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    contact_close(&s.c);
    duo_close(&s.d);
    return 0;
}

void others_go_on(void)
{
    talk(&s.d.i, s.d.ic, &s.d.j, s.d.jc, "not concerned");
    talk(&s.d.j, s.d.jc, &s.d.i, s.d.ic, "not at all");
}

void expect_err(simplex_rc why)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn);

    assert_string_equal(simplex_rc_name(simplex_event_error(ev)), simplex_rc_name(why));
    simplex_event_free(ev);
}

simplex_rc next_err(void)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn);
    simplex_rc rc = simplex_event_error(ev);

    simplex_event_free(ev);
    return rc;
}

void expect_msg(const char *text, int32_t integrity, int64_t first, int64_t last)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_MSG, s.conn);
    int64_t got_first, got_last;

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    assert_int_equal(simplex_event_integrity(ev, &got_first, &got_last), integrity);
    assert_int_equal(got_first, first);
    assert_int_equal(got_last, last);
    assert_int_equal(simplex_agent_ack(s.d.i.a, s.conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
}

void allow_contact(void)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_CONF, s.conn);

    assert_int_equal(simplex_agent_allow(s.d.i.a, s.conn, simplex_event_conf(ev), sx_str("I")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&s.d.i, SIMPLEX_EV_CON, s.conn);
}

void connect_contact(void)
{
    contact_confirm(&s.c, "a contact");
    allow_contact();
}

void assert_usable(void)
{
    contact_say(&s.c, "and now for something proper");
    expect_msg("and now for something proper", SIMPLEX_MSG_OK, 0, 0);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_ERR, 20));
    others_go_on();
}

void send_noise(size_t len)
{
    static uint8_t body[BODY_MAX];

    sx_random(body, len);
    contact_send(&s.c, sx_bytes(body, len));
}

void box_and_send(const struct contact_how *how, simplex_bytes envelope)
{
    struct sx_wr body;

    sx_wr_init(&body, BODY_MAX);
    contact_box(&s.c, how, envelope, &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&body);
}

void send_plain(simplex_bytes plain)
{
    struct sx_wr body;

    sx_wr_init(&body, BODY_MAX);
    contact_plain_to_body(&s.c, plain, &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&body);
}

struct sx_agent_msg next_msg(enum sx_msg_tag tag)
{
    return (struct sx_agent_msg){ .tag = SX_AM_MESSAGE,
                                  .msg = (uint8_t)tag,
                                  .snd_msg_id = ++s.c.snd_id,
                                  .prev_hash = sx_bytes(s.c.last_hash, 32) };
}

void say_msg(const struct sx_agent_msg *m)
{
    struct sx_wr plain;

    sx_wr_init(&plain, BODY_MAX);
    sx_agent_msg_encode(&plain, m);
    assert_false(plain.bad);
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    send_plain(sx_wr_bytes(&plain));
    sx_wr_free(&plain);
}
