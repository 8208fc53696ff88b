/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* nftw */
#include "support/agents.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_msg("%s", simplex_rc_name(rc));
}

void tmp_make(char path[256])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(path, 256, "%s/simplex-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st;
    (void)what;
    (void)at;
    return remove(path);
}

void tmp_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void copy_file(const char *from, const char *to)
{
    char buf[65536];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

void server_start(struct test_server *t, const simplex_server_config *cfg)
{
    simplex_server_config def;
    size_t len = sizeof t->address;

    simplex_server_config_init(&def);
    def.end_flush_ms = 0;
    assert_int_equal(simplex_server_start(cfg != NULL ? cfg : &def, &t->s), SIMPLEX_OK);
    assert_int_equal(simplex_server_address(t->s, t->address, &len), SIMPLEX_OK);
}

size_t server_queues(const struct test_server *t)
{
    simplex_server_counters c = { .size = sizeof c };

    must(simplex_server_count(t->s, &c));
    return c.queues;
}

void expect_server_queues(const struct test_server *t, size_t n)
{
    for (int ms = 0; ms < WAIT_MS && server_queues(t) != n; ms += 10)
        (void)usleep(10000);
    assert_int_equal(server_queues(t), n);
}

void expect_server_connections(const struct test_server *t, size_t n)
{
    simplex_server_counters c = { .size = sizeof c };

    must(simplex_server_count(t->s, &c));
    for (int ms = 0; ms < WAIT_MS && c.connections != n; ms += 10) {
        (void)usleep(10000);
        must(simplex_server_count(t->s, &c));
    }
    assert_int_equal(c.connections, n);
}

void expect_server_empty(const struct test_server *t)
{
    simplex_server_counters c = { .size = sizeof c, .messages = 1 };

    for (int ms = 0; ms < WAIT_MS && c.messages > 0; ms += 10) {
        (void)usleep(10000);
        must(simplex_server_count(t->s, &c));
    }
    assert_int_equal(c.messages, 0);
}

void server_stop(struct test_server *t)
{
    simplex_server_stop(t->s);
    t->s = NULL;
}

void agent_open(struct test_agent *t, const char *dir, const char *name, const char *server)
{
    memset(t, 0, sizeof *t);
    (void)snprintf(t->db, sizeof t->db, "%s/%s.db", dir, name);
    t->servers[0] = server;
    t->n_servers = server != NULL;
    t->cfg = (simplex_agent_config){ .size = sizeof t->cfg,
                                     .db_key = sx_str(AGENT_KEY),
                                     .db_raw_key = true,
                                     .retry_first = 100,
                                     .retry_max = 500,
                                     .quota_retry_first = 300,
                                     .reconnect_first = 100,
                                     .reconnect_max = 500 };
    agent_reopen(t);
}

void agent_reopen(struct test_agent *t)
{
    agent_close(t);
    t->cfg.db_path = t->db;
    t->cfg.servers = t->servers;
    t->cfg.n_servers = t->n_servers;
    simplex_rc rc = simplex_agent_open(&t->cfg, &t->a);
    if (rc != SIMPLEX_OK)
        fail_msg("open: %s", simplex_rc_text(rc));
}

void agent_close(struct test_agent *t)
{
    forget_held(t);
    assert_int_equal(simplex_agent_close(t->a), SIMPLEX_OK);
    t->a = NULL;
}

static bool matches(const simplex_event *ev, int32_t kind, int64_t conn)
{
    return simplex_event_kind(ev) == kind && (conn == 0 || simplex_event_conn(ev) == conn);
}

static simplex_event *from_held(struct test_agent *t, int32_t kind, int64_t conn)
{
    for (size_t i = 0; i < t->n_held; i++) {
        simplex_event *ev = t->held[i];
        if (!matches(ev, kind, conn))
            continue;
        memmove(t->held + i, t->held + i + 1, (t->n_held - i - 1) * sizeof *t->held);
        t->n_held--;
        return ev;
    }
    return NULL;
}

static void hold(struct test_agent *t, simplex_event *ev)
{
    int32_t kind = simplex_event_kind(ev);

    /* Only what the story is about; the state of sessions fills the list otherwise. */
    if ((kind >= SIMPLEX_EV_MWARN && kind != SIMPLEX_EV_MERR && kind < SIMPLEX_EV_END) ||
        (kind == SIMPLEX_EV_ERR && t->errors_ok)) {
        simplex_event_free(ev);
        return;
    }
    if (t->n_held == SX_COUNT(t->held))
        fail_msg("too many events that nobody waits for");
    t->held[t->n_held++] = ev;
}

simplex_event *wait_event(struct test_agent *t, int32_t kind, int64_t conn)
{
    int64_t until = sx_mono_ms() + WAIT_MS;
    simplex_event *ev = from_held(t, kind, conn);

    while (ev == NULL) {
        int64_t left = until - sx_mono_ms();
        simplex_rc rc = simplex_agent_next_event(t->a, left > 0 ? left : 0, &ev);
        if (rc != SIMPLEX_OK)
            fail_msg("%s: no event of kind %d within %d ms (%s)", t->db, kind, WAIT_MS,
                     simplex_rc_name(rc));
        if (matches(ev, kind, conn))
            break;
        if (simplex_event_kind(ev) == SIMPLEX_EV_ERR && !t->errors_ok)
            fail_msg("%s: unexpected %s", t->db, simplex_event_json(ev));
        hold(t, ev);
        ev = NULL;
    }
    return ev;
}

void forget_events(struct test_agent *t, int32_t kind)
{
    simplex_event *ev;

    while (simplex_agent_next_event(t->a, 10, &ev) == SIMPLEX_OK)
        hold(t, ev);
    while ((ev = from_held(t, kind, 0)) != NULL)
        simplex_event_free(ev);
}

void forget_held(struct test_agent *t)
{
    while (t->n_held > 0)
        simplex_event_free(t->held[--t->n_held]);
}

void expect(struct test_agent *t, int32_t kind, int64_t conn)
{
    simplex_event_free(wait_event(t, kind, conn));
}

bool quiet(struct test_agent *t, int32_t kind, int ms)
{
    int64_t until = sx_mono_ms() + ms;
    simplex_event *ev = from_held(t, kind, 0);

    while (ev == NULL) { /* what is there already counts, however short the time */
        int64_t left = until - sx_mono_ms();
        if (simplex_agent_next_event(t->a, left > 0 ? left : 0, &ev) != SIMPLEX_OK)
            return true;
        if (simplex_event_kind(ev) == kind)
            break;
        hold(t, ev);
        ev = NULL;
    }
    simplex_event_free(ev);
    return ev == NULL;
}

void agent_join(struct test_agent *i, int64_t ic, struct test_agent *j, const char *info,
                int64_t *jc)
{
    simplex_event *ev = wait_event(i, SIMPLEX_EV_INV, ic);

    assert_int_equal(
        simplex_agent_join(j->a, simplex_event_data(ev), sx_str(info), SIMPLEX_PQ_OFF, jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
}

void agent_allow(struct test_agent *t, int64_t conn, const char *info)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_CONF, conn);

    assert_int_equal(simplex_agent_allow(t->a, conn, simplex_event_conf(ev), sx_str(info)),
                     SIMPLEX_OK);
    simplex_event_free(ev);
}

void connect_agents(struct test_agent *ia, struct test_agent *ja, int32_t pq, int64_t *i,
                    int64_t *j)
{
    simplex_event *ev;

    assert_int_equal(simplex_agent_create(ia->a, pq, i), SIMPLEX_OK);
    ev = wait_event(ia, SIMPLEX_EV_INV, *i);
    assert_int_equal(simplex_agent_join(ja->a, simplex_event_data(ev), sx_str("I am J"), pq, j),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    ev = wait_event(ia, SIMPLEX_EV_CONF, *i);
    vec_assert_eq(simplex_event_data(ev), sx_str("I am J"), "info in CONF");
    assert_int_equal(simplex_agent_allow(ia->a, *i, simplex_event_conf(ev), sx_str("I am I")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    ev = wait_event(ja, SIMPLEX_EV_INFO, *j);
    vec_assert_eq(simplex_event_data(ev), sx_str("I am I"), "info in INFO");
    simplex_event_free(ev);
    expect(ja, SIMPLEX_EV_CON, *j);
    expect(ia, SIMPLEX_EV_CON, *i);
}

void connect_agents_as(struct test_agent *ia, int64_t user, struct test_agent *ja, int64_t *i,
                       int64_t *j)
{
    must(simplex_agent_create_as(ia->a, user, SIMPLEX_PQ_OFF, i));
    agent_join(ia, *i, ja, "I am J", j);
    agent_allow(ia, *i, "I am I");
    expect(ja, SIMPLEX_EV_CON, *j);
    expect(ia, SIMPLEX_EV_CON, *i);
}

simplex_connection_info connection_info(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    must(simplex_agent_connection(t->a, conn, &info));
    assert_int_equal(info.size, sizeof info);
    return info;
}

int64_t last_id(struct test_agent *t, int64_t conn)
{
    return connection_info(t, conn).last_msg_id;
}

void expect_sync(struct test_agent *t, int64_t conn, int32_t state, simplex_rc why)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_RSYNC, conn);

    if (simplex_event_sync_state(ev) != state || simplex_event_error(ev) != why)
        fail_msg("%s: %s instead of state %d with %s", t->db, simplex_event_json(ev), state,
                 simplex_rc_name(why));
    simplex_event_free(ev);
}

void expect_switch(struct test_agent *t, int64_t conn, int32_t direction, int32_t phase)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
    int32_t got_direction, got_phase = simplex_event_switch(ev, &got_direction);

    if (got_direction != direction || got_phase != phase)
        fail_msg("%s instead of direction %d phase %d", simplex_event_json(ev), direction, phase);
    assert_non_null(simplex_event_server(ev));
    simplex_event_free(ev);
}

void expect_moved(struct test_agent *t, int64_t conn, int32_t direction)
{
    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++)
        expect_switch(t, conn, direction, phase);
}

void wait_moved(struct test_agent *t, int64_t conn)
{
    for (int32_t phase = 0; phase != SIMPLEX_SWITCH_COMPLETED;) {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
        phase = simplex_event_switch(ev, NULL);
        if (phase == SIMPLEX_SWITCH_ABORTED)
            fail_msg("%s: %s", t->db, simplex_event_json(ev));
        simplex_event_free(ev);
    }
}

void wait_synced(struct test_agent *t, int64_t conn)
{
    for (int32_t state = SIMPLEX_SYNC_REQUIRED; state != SIMPLEX_SYNC_OK;) {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_RSYNC, conn);
        state = simplex_event_sync_state(ev);
        simplex_event_free(ev);
    }
}

int64_t send_text(struct test_agent *t, int64_t conn, const char *text)
{
    int64_t id;
    simplex_rc rc = simplex_agent_send(t->a, conn, sx_str(text), 0, &id);

    if (rc != SIMPLEX_OK)
        fail_msg("send: %s", simplex_rc_name(rc));
    return id;
}

int64_t see_text(struct test_agent *t, int64_t conn, const char *text)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_MSG, conn);
    int64_t id = simplex_event_msg_id(ev);

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    simplex_event_free(ev);
    return id;
}

int64_t receive_text(struct test_agent *t, int64_t conn, const char *text)
{
    int64_t id = see_text(t, conn, text);

    assert_int_equal(simplex_agent_ack(t->a, conn, id), SIMPLEX_OK);
    return id;
}

void talk(struct test_agent *from, int64_t from_conn, struct test_agent *to, int64_t to_conn,
          const char *text)
{
    int64_t id = send_text(from, from_conn, text);

    receive_text(to, to_conn, text);
    simplex_event *ev = wait_event(from, SIMPLEX_EV_SENT, from_conn);
    assert_int_equal(simplex_event_msg_id(ev), id);
    simplex_event_free(ev);
}

void first_words(struct test_agent *from, int64_t from_conn, struct test_agent *to, int64_t to_conn,
                 const char *text)
{
    (void)send_text(from, from_conn, text);
    simplex_event *ev = wait_event(to, SIMPLEX_EV_MSG, to_conn);
    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    assert_int_equal(simplex_agent_ack(to->a, to_conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(from, SIMPLEX_EV_SENT, from_conn);
}

int64_t send_number(struct test_agent *t, int64_t conn, int n)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", n);
    return send_text(t, conn, text);
}

void receive_number(struct test_agent *t, int64_t conn, int n)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", n);
    (void)receive_text(t, conn, text);
}

void expect_gone(struct test_agent *t, int64_t conn)
{
    int64_t id = send_text(t, conn, "is anybody there?");
    simplex_event *ev = wait_event(t, SIMPLEX_EV_MERR, conn);

    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
}

void choose_tests(void)
{
    const char *pattern = getenv("SIMPLEX_TEST");

    if (pattern != NULL)
        cmocka_set_test_filter(pattern);
}

void duo_open(struct duo *d, const simplex_server_config *cfg)
{
    uint16_t port;

    memset(d, 0, sizeof *d);
    tmp_make(d->dir);
    server_start(&d->srv, cfg);
    port = simplex_server_port(d->srv.s);
    forwarder_start(&d->fi, port);
    forwarder_start(&d->fj, port);
    forwarder_address(&d->fi, d->srv.address, d->i_address, sizeof d->i_address);
    forwarder_address(&d->fj, d->srv.address, d->j_address, sizeof d->j_address);
    agent_open(&d->i, d->dir, "i", d->i_address);
    agent_open(&d->j, d->dir, "j", d->j_address);
}

void duo_connect(struct duo *d)
{
    connect_agents(&d->i, &d->j, SIMPLEX_PQ_OFF, &d->ic, &d->jc);
}

void duo_talk(struct duo *d, const char *text)
{
    talk(&d->i, d->ic, &d->j, d->jc, text);
    talk(&d->j, d->jc, &d->i, d->ic, text);
}

void duo_ways(struct duo *d, enum forwarder_mode mode)
{
    forwarder_set(&d->fi, mode);
    forwarder_set(&d->fj, mode);
}

void duo_close(struct duo *d)
{
    agent_close(&d->i);
    agent_close(&d->j);
    forwarder_stop(&d->fi);
    forwarder_stop(&d->fj);
    server_stop(&d->srv);
    tmp_remove(d->dir);
}
