/* SPDX-License-Identifier: Apache-2.0 */
#include "short_links_stage.h"

struct story s;

int start(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

int open_story(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    duo_open(&s.d, NULL);
    return 0;
}

int close_story(void **state)
{
    (void)state;
    duo_close(&s.d);
    return 0;
}

simplex_link_data data_of(const char *text)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str(text) };

    return d;
}

void keep(char *to, size_t size, simplex_bytes text)
{
    assert_true(text.len > 0 && text.len < size);
    memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
}

void take_links(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_INV, conn);

    keep(s.full, sizeof s.full, simplex_event_data(ev));
    simplex_event_free(ev);
    ev = wait_event(t, SIMPLEX_EV_LINK, conn);
    keep(s.link, sizeof s.link, simplex_event_data(ev));
    assert_non_null(strstr(simplex_event_json(ev), "\"shortLink\":\"https://"));
    simplex_event_free(ev);
}

void make(int32_t type, int32_t pq, const char *text)
{
    simplex_link_data d = data_of(text);

    must(simplex_agent_create_short(s.d.i.a, type, pq, &d, &s.ic));
    take_links(&s.d.i, s.ic);
}

void look(struct test_agent *t, int64_t *conn)
{
    must(simplex_agent_look(t->a, sx_str(s.link), conn));
}

simplex_event *ldata(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_LDATA, conn);

    assert_non_null(simplex_event_server(ev));
    return ev;
}

void expect_data(struct test_agent *t, int64_t conn, const char *text)
{
    simplex_event *ev = ldata(t, conn);

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "data of the link");
    simplex_event_free(ev);
}

void expect_error(struct test_agent *t, int64_t conn, simplex_rc rc, const char *detail)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_ERR, conn);

    assert_int_equal(simplex_event_error(ev), rc);
    if (detail != NULL)
        assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

void finish(struct test_agent *j, int64_t jc, bool pq)
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

void join(struct test_agent *t, const char *link, int32_t pq, int64_t *conn)
{
    must(simplex_agent_join(t->a, sx_str(link), sx_str("I am J"), pq, conn));
}
