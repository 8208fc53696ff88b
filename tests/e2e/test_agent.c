/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents through a real server: both handshakes, sizes, post-quantum, what can be looked up. */
#include <stdio.h>

#include "crypto/crypto.h"
#include "support/agents.h"

#define BODY_MAX 15795
#define BODY_MAX_PQ 13573

/* Two agents, each with a server of its own; often the same. */
struct pair {
    char dir[256];
    struct test_server srv, old;
    struct test_agent i, j;
    int64_t ic, jc;
};

enum { CURRENT, OLD }; /* a server before sender-secured queues: SMP 8 */

static void pair_open(struct pair *d, int i_server, int j_server)
{
    simplex_server_config cfg;

    memset(d, 0, sizeof *d);
    tmp_make(d->dir);
    server_start(&d->srv, NULL);
    simplex_server_config_init(&cfg);
    cfg.max_version = 8;
    cfg.end_flush_ms = 0;
    server_start(&d->old, &cfg);
    agent_open(&d->i, d->dir, "i", i_server == OLD ? d->old.address : d->srv.address);
    agent_open(&d->j, d->dir, "j", j_server == OLD ? d->old.address : d->srv.address);
}

static void pair_connect(struct pair *d, int32_t pq)
{
    connect_agents(&d->i, &d->j, pq, &d->ic, &d->jc);
}

static void pair_close(struct pair *d)
{
    agent_close(&d->i);
    agent_close(&d->j);
    server_stop(&d->srv);
    server_stop(&d->old);
    tmp_remove(d->dir);
}

static void talk_both_ways(struct pair *d, int rounds)
{
    for (int n = 0; n < rounds; n++) {
        talk(&d->i, d->ic, &d->j, d->jc, "hello from I");
        talk(&d->j, d->jc, &d->i, d->ic, "hello from J");
    }
}

/* ---- handshakes ---- */

/* The ids count what the handshake sent and received: they tell which one it was. */
static void assert_first_id(struct pair *d, int64_t first)
{
    int64_t id = send_text(&d->i, d->ic, "first");

    assert_int_equal(id, first);
    assert_int_equal(receive_text(&d->j, d->jc, "first"), first);
    assert_int_equal(send_text(&d->j, d->jc, "second"), first + 1);
    assert_int_equal(receive_text(&d->i, d->ic, "second"), first + 1);
    expect(&d->i, SIMPLEX_EV_SENT, d->ic);
    expect(&d->j, SIMPLEX_EV_SENT, d->jc);
    talk_both_ways(d, 5);
}

static void connects_fast(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    assert_first_id(&d, 2);
    pair_close(&d);
}

static void connects_with_key_and_hello_on_old_servers(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, OLD, OLD);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    assert_first_id(&d, 4);
    pair_close(&d);
}

static void connects_when_only_the_initiators_server_is_old(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, OLD, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    assert_first_id(&d, 2);
    pair_close(&d);
}

static void connects_when_only_the_joiners_server_is_old(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, OLD);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    assert_first_id(&d, 4);
    pair_close(&d);
}

static int64_t invite_and_join(struct pair *d, int32_t pq)
{
    simplex_event *inv;

    assert_int_equal(simplex_agent_create(d->i.a, pq, &d->ic), SIMPLEX_OK);
    inv = wait_event(&d->i, SIMPLEX_EV_INV, d->ic);
    assert_int_equal(simplex_agent_join(d->j.a, simplex_event_data(inv), sx_str("J"), pq, &d->jc),
                     SIMPLEX_OK);
    simplex_event_free(inv);
    expect(&d->j, SIMPLEX_EV_JOINED, d->jc);
    simplex_event *conf = wait_event(&d->i, SIMPLEX_EV_CONF, d->ic);
    int64_t id = simplex_event_conf(conf);
    simplex_event_free(conf);
    return id;
}

static void the_joiner_may_send_before_it_is_allowed(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    int64_t conf = invite_and_join(&d, SIMPLEX_PQ_OFF);
    assert_int_equal(send_text(&d.j, d.jc, "early"), 2);
    assert_int_equal(send_text(&d.j, d.jc, "bird"), 3);
    assert_int_equal(receive_text(&d.i, d.ic, "early"), 1);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    receive_text(&d.i, d.ic, "bird");
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    expect(&d.j, SIMPLEX_EV_CON, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    talk_both_ways(&d, 3);
    pair_close(&d);
}

static void the_joiner_of_an_old_queue_may_not_send_before_it_is_connected(void **state)
{
    struct pair d;
    int64_t id;

    (void)state;
    pair_open(&d, OLD, OLD);
    int64_t conf = invite_and_join(&d, SIMPLEX_PQ_OFF);
    assert_int_equal(simplex_agent_send(d.j.a, d.jc, sx_str("early"), 0, &id),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_send(d.i.a, d.ic, sx_str("early"), 0, &id),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    expect(&d.j, SIMPLEX_EV_CON, d.jc);
    talk_both_ways(&d, 3);
    pair_close(&d);
}

static void allow_may_be_repeated_and_knows_its_confirmation(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    int64_t conf = invite_and_join(&d, SIMPLEX_PQ_OFF);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf + 1, sx_str("I")), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic + 1, conf, sx_str("I")), SIMPLEX_E_NOT_FOUND);
    static uint8_t info[20000];
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_bytes(info, sizeof info)),
                     SIMPLEX_E_TOO_LARGE);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    expect(&d.j, SIMPLEX_EV_CON, d.jc);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_CON, 100));
    talk_both_ways(&d, 1);
    pair_close(&d);
}

static void what_is_no_link_is_refused_at_once(void **state)
{
    static const struct {
        const char *text;
        simplex_rc rc;
    } links[] = {
        { "", SIMPLEX_E_LINK },
        { "hello", SIMPLEX_E_LINK },
        { "simplex:/invitation", SIMPLEX_E_LINK },
        { "https://example.com/invitation#/?v=2-7&smp=&e2e=", SIMPLEX_E_LINK },
    };
    struct pair d;
    int64_t id;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    for (size_t n = 0; n < SX_COUNT(links); n++)
        assert_int_equal(simplex_agent_join(d.j.a, sx_str(links[n].text), sx_str("J"), 0, &id),
                         links[n].rc);
    id = 0;
    size_t n = 1;
    assert_int_equal(simplex_agent_connections(d.j.a, 0, &id, &n), SIMPLEX_OK);
    assert_int_equal(n, 0); /* nothing is left behind */
    pair_close(&d);
}

static void an_agent_without_servers_cannot_make_queues(void **state)
{
    struct pair d;
    int64_t id;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    d.j.n_servers = 0;
    agent_reopen(&d.j);
    assert_int_equal(simplex_agent_create(d.j.a, 0, &id), SIMPLEX_E_NO_SERVERS);
    assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
    simplex_event *inv = wait_event(&d.i, SIMPLEX_EV_INV, d.ic);
    assert_int_equal(simplex_agent_join(d.j.a, simplex_event_data(inv), sx_str("J"), 0, &id),
                     SIMPLEX_E_NO_SERVERS);
    simplex_event_free(inv);
    pair_close(&d);
}

/* ---- messages ---- */

static void both_directions_interleave(void **state)
{
    enum { N = 40 };
    struct pair d;
    char text[32];

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    for (int n = 0; n < N; n++) {
        (void)snprintf(text, sizeof text, "I %d", n);
        send_text(&d.i, d.ic, text);
        (void)snprintf(text, sizeof text, "J %d", n);
        send_text(&d.j, d.jc, text);
    }
    for (int n = 0; n < N; n++) {
        (void)snprintf(text, sizeof text, "J %d", n);
        receive_text(&d.i, d.ic, text);
        (void)snprintf(text, sizeof text, "I %d", n);
        receive_text(&d.j, d.jc, text);
    }
    for (int n = 0; n < N; n++) {
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    }
    pair_close(&d);
}

/* The longest body arrives; one byte more is refused and leaves no trace at the receiver. */
static void sends_up_to(struct pair *d, size_t max)
{
    static uint8_t body[BODY_MAX + 1];
    int64_t id;

    for (size_t n = 0; n < sizeof body; n++)
        body[n] = (uint8_t)(n * 31);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(simplex_agent_send(d->i.a, d->ic, sx_bytes(body, max + 1), 0, &id),
                         SIMPLEX_E_TOO_LARGE);
        assert_int_equal(id, 0);
        assert_int_equal(simplex_agent_send(d->i.a, d->ic, sx_bytes(body, max), 0, &id),
                         SIMPLEX_OK);
        simplex_event *ev = wait_event(&d->j, SIMPLEX_EV_MSG, d->jc);
        vec_assert_eq(simplex_event_data(ev), sx_bytes(body, max), "the longest body");
        assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
        assert_int_equal(simplex_agent_ack(d->j.a, d->jc, simplex_event_msg_id(ev)), SIMPLEX_OK);
        simplex_event_free(ev);
        expect(&d->i, SIMPLEX_EV_SENT, d->ic);
    }
    talk_both_ways(d, 1);
}

static void the_longest_body_arrives(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    sends_up_to(&d, BODY_MAX);
    assert_int_equal(send_text(&d.i, d.ic, ""), 6); /* and the shortest */
    receive_text(&d.j, d.jc, "");
    pair_close(&d);
}

static void the_longest_body_with_pq_arrives(void **state)
{
    struct pair d;

    (void)state;
    if (!sx_kem_available())
        skip();
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_ON);
    talk_both_ways(&d, 2);
    sends_up_to(&d, BODY_MAX_PQ);
    pair_close(&d);
}

/* ---- post-quantum ---- */

static void assert_pq(struct test_agent *t, int64_t conn, bool on)
{
    simplex_connection_info info = { .size = sizeof info };

    assert_int_equal(simplex_agent_connection(t->a, conn, &info), SIMPLEX_OK);
    assert_int_equal(info.pq_snd, on);
    assert_int_equal(info.pq_rcv, on);
}

static bool pq_of_next(struct test_agent *from, int64_t fc, struct test_agent *to, int64_t tc,
                       uint32_t flags)
{
    int64_t id;

    assert_int_equal(simplex_agent_send(from->a, fc, sx_str("x"), flags, &id), SIMPLEX_OK);
    simplex_event *ev = wait_event(to, SIMPLEX_EV_MSG, tc);
    bool pq = simplex_event_pq(ev);
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    assert_int_equal(simplex_agent_ack(to->a, tc, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(from, SIMPLEX_EV_SENT, fc);
    return pq;
}

static void both_say(struct pair *d, uint32_t flags, int rounds)
{
    for (int n = 0; n < rounds; n++) {
        (void)pq_of_next(&d->i, d->ic, &d->j, d->jc, flags);
        (void)pq_of_next(&d->j, d->jc, &d->i, d->ic, flags);
    }
}

static void pq_starts_with_the_first_messages(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_ON);
    both_say(&d, 0, 3);
    assert_int_equal(pq_of_next(&d.i, d.ic, &d.j, d.jc, 0), sx_kem_available());
    assert_int_equal(pq_of_next(&d.j, d.jc, &d.i, d.ic, 0), sx_kem_available());
    assert_pq(&d.i, d.ic, sx_kem_available());
    assert_pq(&d.j, d.jc, sx_kem_available());
    pair_close(&d);
}

static void pq_in_the_link_protects_from_the_start(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_IN_LINK);
    assert_pq(&d.j, d.jc, sx_kem_available());
    assert_int_equal(pq_of_next(&d.i, d.ic, &d.j, d.jc, 0), sx_kem_available());
    assert_int_equal(pq_of_next(&d.j, d.jc, &d.i, d.ic, 0), sx_kem_available());
    pair_close(&d);
}

static void pq_needs_both_sides(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_IN_LINK, &d.ic), SIMPLEX_OK);
    agent_join(&d.i, d.ic, &d.j, "J", &d.jc);
    agent_allow(&d.i, d.ic, "I");
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    expect(&d.j, SIMPLEX_EV_CON, d.jc);
    both_say(&d, 0, 3);
    assert_pq(&d.i, d.ic, false);
    assert_pq(&d.j, d.jc, false);
    pair_close(&d);
}

static void pq_is_switched_by_messages(void **state)
{
    struct pair d;
    int64_t id;

    (void)state;
    if (!sx_kem_available())
        skip();
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    both_say(&d, 0, 2);
    assert_pq(&d.i, d.ic, false);
    both_say(&d, SIMPLEX_SEND_PQ_ON, 4);
    assert_true(pq_of_next(&d.i, d.ic, &d.j, d.jc, 0));
    assert_true(pq_of_next(&d.j, d.jc, &d.i, d.ic, 0));
    assert_pq(&d.i, d.ic, true);
    both_say(&d, SIMPLEX_SEND_PQ_OFF, 4);
    assert_false(pq_of_next(&d.i, d.ic, &d.j, d.jc, 0));
    assert_false(pq_of_next(&d.j, d.jc, &d.i, d.ic, 0));
    assert_pq(&d.j, d.jc, false);
    both_say(&d, SIMPLEX_SEND_PQ_ON, 4);
    assert_pq(&d.j, d.jc, true);
    assert_int_equal(
        simplex_agent_send(d.i.a, d.ic, sx_str("x"), SIMPLEX_SEND_PQ_ON | SIMPLEX_SEND_PQ_OFF, &id),
        SIMPLEX_E_ARG);
    pair_close(&d);
}

/* ---- looking ---- */

static void the_link_can_be_had_again_until_somebody_joins(void **state)
{
    struct pair d;
    char text[4096];
    size_t len = sizeof text, small = 10, none = 0;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_IN_LINK, &d.ic), SIMPLEX_OK);
    simplex_event *inv = wait_event(&d.i, SIMPLEX_EV_INV, d.ic);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, text, &len), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(text, len), simplex_event_data(inv), "the link");
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, text, &small), SIMPLEX_E_BUFFER);
    assert_int_equal(small, len);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, NULL, &none), SIMPLEX_E_BUFFER);
    assert_int_equal(none, len);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic + 1, text, &len), SIMPLEX_E_NOT_FOUND);
    simplex_event_free(inv); /* pulled events must go before their agent */
    agent_reopen(&d.i);
    len = sizeof text;
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, text, &len), SIMPLEX_OK);
    assert_int_equal(simplex_agent_join(d.j.a, sx_bytes(text, len), sx_str("J"), 0, &d.jc),
                     SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_CONF, d.ic);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, text, &len), SIMPLEX_E_PROHIBITED);
    len = sizeof text;
    assert_int_equal(simplex_agent_link(d.j.a, d.jc, text, &len), SIMPLEX_E_PROHIBITED);
    pair_close(&d);
}

static void connections_are_listed_in_pages(void **state)
{
    struct pair d;
    int64_t made[7], ids[8];
    size_t n;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    for (size_t k = 0; k < SX_COUNT(made); k++)
        assert_int_equal(simplex_agent_create(d.i.a, 0, &made[k]), SIMPLEX_OK);
    n = 3;
    assert_int_equal(simplex_agent_connections(d.i.a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(ids, made, 3 * sizeof *ids);
    n = SX_COUNT(ids);
    assert_int_equal(simplex_agent_connections(d.i.a, ids[2], ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(ids, made + 3, 4 * sizeof *ids);
    assert_int_equal(simplex_agent_delete(d.i.a, made[1]), SIMPLEX_OK);
    n = SX_COUNT(ids);
    assert_int_equal(simplex_agent_connections(d.i.a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 6);
    assert_int_equal(ids[1], made[2]);
    pair_close(&d);
}

static void a_connection_can_be_looked_at_in_every_state(void **state)
{
    simplex_connection_info x = { .size = sizeof x };
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    assert_int_equal(simplex_agent_connection(d.i.a, 1, &x), SIMPLEX_E_NOT_FOUND);
    int64_t conf = invite_and_join(&d, SIMPLEX_PQ_OFF);
    x = connection_info(&d.i, d.ic);
    assert_int_equal(x.state, SIMPLEX_CONN_CONFIRMED);
    assert_true(x.initiator && x.subscribed);
    assert_int_equal(x.agent_version, 7);
    x = connection_info(&d.j, d.jc);
    assert_int_equal(x.state, SIMPLEX_CONN_JOINING);
    assert_false(x.initiator);
    assert_int_equal(simplex_agent_allow(d.i.a, d.ic, conf, sx_str("I")), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    expect(&d.j, SIMPLEX_EV_CON, d.jc);
    x = connection_info(&d.i, d.ic);
    assert_int_equal(x.state, SIMPLEX_CONN_READY);
    assert_int_equal(x.last_msg_id, 1);
    assert_int_equal(x.pending, 0);
    talk(&d.i, d.ic, &d.j, d.jc, "count me");
    assert_int_equal(connection_info(&d.i, d.ic).last_msg_id, 2);
    assert_int_equal(connection_info(&d.j, d.jc).last_msg_id, 2);
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, false), SIMPLEX_OK);
    assert_false(connection_info(&d.j, d.jc).subscribed);
    pair_close(&d);
}

static void messages_stay_on_the_server_while_not_subscribed(void **state)
{
    struct pair d;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, false), SIMPLEX_OK);
    send_text(&d.i, d.ic, "one");
    send_text(&d.i, d.ic, "two");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 150));
    agent_reopen(&d.j); /* kept over restarts */
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 150));
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, true), SIMPLEX_OK);
    receive_text(&d.j, d.jc, "one");
    receive_text(&d.j, d.jc, "two");
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, false), SIMPLEX_OK);
    send_text(&d.i, d.ic, "three"); /* off and on without a restart */
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 150));
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, true), SIMPLEX_OK);
    receive_text(&d.j, d.jc, "three");
    pair_close(&d);
}

/* All but the time of the server, which differs each time. */
static void assert_json(const simplex_event *ev, const char *want)
{
    cJSON *json = cJSON_Parse(simplex_event_json(ev));

    assert_non_null(json);
    if (cJSON_GetObjectItem(json, "serverTime") != NULL)
        cJSON_DeleteItemFromObject(json, "serverTime");
    char *text = cJSON_PrintUnformatted(json);
    assert_non_null(text);
    assert_string_equal(text, want);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void events_are_rendered_as_json(void **state)
{
    struct pair d;
    simplex_event *ev;

    (void)state;
    pair_open(&d, CURRENT, CURRENT);
    pair_connect(&d, SIMPLEX_PQ_OFF);
    send_text(&d.i, d.ic, "json");
    ev = wait_event(&d.j, SIMPLEX_EV_MSG, d.jc);
    assert_json(ev, "{\"event\":\"MSG\",\"conn\":1,\"msgId\":2,\"body\":\"anNvbg==\","
                    "\"integrity\":\"OK\",\"senderId\":2,\"notify\":false,\"pq\":false}");
    assert_string_equal(simplex_event_name(ev), "MSG");
    simplex_event_free(ev);
    ev = wait_event(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_json(ev, "{\"event\":\"SENT\",\"conn\":1,\"msgId\":2}");
    simplex_event_free(ev);
    pair_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_fast),
        cmocka_unit_test(connects_with_key_and_hello_on_old_servers),
        cmocka_unit_test(connects_when_only_the_initiators_server_is_old),
        cmocka_unit_test(connects_when_only_the_joiners_server_is_old),
        cmocka_unit_test(the_joiner_may_send_before_it_is_allowed),
        cmocka_unit_test(the_joiner_of_an_old_queue_may_not_send_before_it_is_connected),
        cmocka_unit_test(allow_may_be_repeated_and_knows_its_confirmation),
        cmocka_unit_test(what_is_no_link_is_refused_at_once),
        cmocka_unit_test(an_agent_without_servers_cannot_make_queues),
        cmocka_unit_test(both_directions_interleave),
        cmocka_unit_test(the_longest_body_arrives),
        cmocka_unit_test(the_longest_body_with_pq_arrives),
        cmocka_unit_test(pq_starts_with_the_first_messages),
        cmocka_unit_test(pq_in_the_link_protects_from_the_start),
        cmocka_unit_test(pq_needs_both_sides),
        cmocka_unit_test(pq_is_switched_by_messages),
        cmocka_unit_test(the_link_can_be_had_again_until_somebody_joins),
        cmocka_unit_test(connections_are_listed_in_pages),
        cmocka_unit_test(a_connection_can_be_looked_at_in_every_state),
        cmocka_unit_test(messages_stay_on_the_server_while_not_subscribed),
        cmocka_unit_test(events_are_rendered_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
