/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sides.h"

/* ---- handshakes ---- */

static bool pq_of(struct side *x, int32_t kind)
{
    simplex_event *ev = wait_event(x->t, kind, x->conn);
    bool pq = simplex_event_pq(ev);

    simplex_event_free(ev);
    return pq;
}

/* From CONF on: i has the link that j joined. */
static void finish(struct side *i, struct side *j)
{
    simplex_event *ev = wait_event(i->t, SIMPLEX_EV_CONF, i->conn);

    vec_assert_eq(simplex_event_data(ev), sx_str("J"), "CONF");
    i->supports = simplex_event_pq(ev);
    must(simplex_agent_allow(i->t->a, i->conn, simplex_event_conf(ev), sx_str("I")));
    simplex_event_free(ev);
    j->supports = pq_of(j, SIMPLEX_EV_INFO);
    j->con = pq_of(j, SIMPLEX_EV_CON);
    i->con = pq_of(i, SIMPLEX_EV_CON);
}

void by_invitation(struct side *i, struct side *j)
{
    simplex_event *inv;

    must(simplex_agent_create(i->t->a, i->pq, &i->conn));
    inv = wait_event(i->t, SIMPLEX_EV_INV, i->conn);
    must(simplex_agent_join(j->t->a, simplex_event_data(inv), sx_str("J"), j->pq, &j->conn));
    simplex_event_free(inv);
    finish(i, j);
}

void by_short_link(struct side *i, struct side *j)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("about me") };
    simplex_event *link;

    must(simplex_agent_create_short(i->t->a, SIMPLEX_LINK_INVITATION, i->pq, &d, &i->conn));
    link = wait_event(i->t, SIMPLEX_EV_LINK, i->conn);
    must(simplex_agent_join(j->t->a, simplex_event_data(link), sx_str("J"), j->pq, &j->conn));
    simplex_event_free(link);
    finish(i, j);
}

void make_address(struct address *a, struct test_agent *t)
{
    a->t = t;
    must(simplex_agent_create_address(t->a, &a->conn));
    a->inv = wait_event(t, SIMPLEX_EV_INV, a->conn);
}

void drop_address(struct address *a)
{
    simplex_event_free(a->inv);
    must(simplex_agent_delete(a->t->a, a->conn));
}

void by_address(const struct address *at, struct side *r, struct side *o)
{
    simplex_event *req;

    must(simplex_agent_join(r->t->a, simplex_event_data(at->inv), sx_str("may I?"), r->pq,
                            &r->conn));
    req = wait_event(at->t, SIMPLEX_EV_REQ, at->conn);
    vec_assert_eq(simplex_event_data(req), sx_str("may I?"), "REQ");
    o->t = at->t;
    must(simplex_agent_accept(o->t->a, simplex_event_request(req), sx_str("J"), o->pq, &o->conn));
    simplex_event_free(req);
    finish(r, o);
}

/* ---- conversation ---- */

void say(struct side *from, struct side *to, bool pq)
{
    int64_t id = send_text(from->t, from->conn, "hello");
    simplex_event *ev = wait_event(to->t, SIMPLEX_EV_MSG, to->conn);

    vec_assert_eq(simplex_event_data(ev), sx_str("hello"), "message");
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    assert_int_equal(simplex_event_pq(ev), pq);
    must(simplex_agent_ack(to->t->a, to->conn, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
    ev = wait_event(from->t, SIMPLEX_EV_SENT, from->conn);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_server(ev) != NULL, from->t->cfg.proxy_mode != 0);
    simplex_event_free(ev);
}

void both_say(struct side *i, struct side *j, int rounds, bool pq)
{
    for (int n = 0; n < rounds; n++) {
        say(i, j, pq);
        say(j, i, pq);
    }
}

void part(struct side *i, struct side *j)
{
    must(simplex_agent_delete(i->t->a, i->conn));
    expect(i->t, SIMPLEX_EV_DEL_CONN, i->conn);
    expect_gone(j->t, j->conn);
    must(simplex_agent_delete(j->t->a, j->conn));
    expect(j->t, SIMPLEX_EV_DEL_CONN, j->conn);
    forget_held(i->t);
    forget_held(j->t);
}
