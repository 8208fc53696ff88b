/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's part of private routing: commands that are answered later, by relays the test plays
 * or by a proxy whose relays say nothing (protocol/smp.md section 8).
 */
#include "support/server_mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errand.h"
#include "peer.h"
#include "proxy.h"

#define SLOTS 300

static struct { /* what was submitted */
    struct sx_errand *e[SLOTS];
    size_t n;
    bool refuse;
} relays;

static bool submit(void *user, struct sx_errand *e)
{
    assert_ptr_equal(user, &relays);
    if (relays.refuse)
        return false;
    assert_true(relays.n < SLOTS);
    relays.e[relays.n++] = e;
    return true;
}

struct proxy {
    struct mem_server m;
    struct mem_client a, b;
    struct sx_cmd prxy, pfwd;
    struct sx_keypair key;
};

static void open_proxy(struct proxy *t, const char *password, unsigned concurrency)
{
    struct sx_srv_cfg cfg = { .password = sx_str(password), .client_concurrency = concurrency };

    memset(t, 0, sizeof(*t));
    memset(&relays, 0, sizeof(relays));
    mem_open(&t->m, &cfg);
    t->m.srv->relays = (struct sx_relays){ submit, &relays };
    mem_connect(&t->m, &t->a, 0, 0);
    mem_connect(&t->m, &t->b, 1, 0);
    t->prxy.tag = SX_PRXY;
    t->prxy.prxy.server.n_hosts = 1;
    assert_int_equal(sx_host_parse(sx_str("relay.example"), &t->prxy.prxy.server.hosts[0]),
                     SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &t->key), SIMPLEX_OK);
    t->pfwd.tag = SX_PFWD;
    t->pfwd.pfwd.version = 17;
    t->pfwd.pfwd.key = t->key.pub;
    t->pfwd.pfwd.body = sx_str("boxed");
}

static void close_proxy(struct proxy *t)
{
    mem_disconnect(&t->a);
    mem_disconnect(&t->b);
    mem_close(&t->m);
    vec_free_all();
}

static void send_cmds(struct mem_client *c, const struct sx_cmd *cmd, simplex_bytes entity,
                      size_t n)
{
    struct mem_batch b;

    mem_batch_open(&b, c);
    for (size_t i = 0; i < n; i++)
        mem_batch_add(&b, NULL, entity, cmd);
    mem_batch_run(&b);
}

/* Answers PRES with this text. */
static void finish(struct proxy *t, struct sx_errand *e, const char *text)
{
    e->rsp = (struct sx_rsp){ .tag = SX_R_PRES };
    e->rsp.enc.body = sx_str(text);
    e->result = SX_ERRAND_SUCCESS;
    sx_errand_done(e);
    mem_settle(&t->m);
}

static void finish_all(struct proxy *t)
{
    for (size_t i = 0; i < relays.n; i++) /* more come meanwhile */
        finish(t, relays.e[i], "done");
    relays.n = 0;
}

static uint64_t counted(const struct proxy *t, unsigned hub, enum sx_stat s)
{
    return atomic_load(&t->m.hub[hub].stats->v[s]);
}

/* ---- on the way ---- */

static void hands_on_what_a_client_wants(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 0);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
    send_cmds(&t.b, &t.pfwd, sx_str("session"), 1);
    assert_int_equal(relays.n, 2);
    assert_int_equal(relays.e[0]->tag, SX_PRXY);
    struct sx_rd rd = sx_rd_init(sx_bytes(relays.e[0]->body, relays.e[0]->body_len));
    struct sx_server server;
    sx_server_decode(&rd, &server);
    assert_true(sx_rd_done(&rd));
    assert_true(sx_server_eq(&server, &t.prxy.prxy.server));
    assert_int_equal(relays.e[1]->tag, SX_PFWD);
    assert_int_equal(relays.e[1]->version, 17);
    vec_assert_eq(sx_errand_entity(relays.e[1]), sx_str("session"), "session");
    vec_assert_eq(sx_bytes(relays.e[1]->body, relays.e[1]->body_len), sx_str("boxed"), "body");
    mem_assert_quiet(&t.a);
    mem_assert_quiet(&t.b);
    finish(&t, relays.e[1], "inside");
    const struct mem_item *i = mem_next(&t.b);
    assert_non_null(i);
    mem_assert_tag(&i->rsp, SX_R_PRES);
    assert_int_equal(i->t.corr_id.len, 24);
    vec_assert_eq(i->t.entity_id, sx_str("session"), "entity");
    vec_assert_eq(i->rsp.enc.body, sx_str("inside"), "answer");
    mem_assert_quiet(&t.a);
    struct sx_smp_err e = { .err = SX_ERR_PROXY,
                            .proxy = SX_PROXY_BROKER,
                            .broker = SX_BROKER_HOST };
    sx_errand_fail(relays.e[0], &e, SX_ERRAND_OTHER);
    sx_errand_done(relays.e[0]);
    mem_settle(&t.m);
    i = mem_next(&t.a);
    assert_non_null(i);
    mem_assert_err(&i->rsp, SX_ERR_PROXY);
    assert_int_equal(i->rsp.err.broker, SX_BROKER_HOST);
    assert_int_equal(i->t.entity_id.len, 0);
    close_proxy(&t);
}

static void counts_what_became_of_it(void **state)
{
    struct proxy t;
    static const struct sx_smp_err lost = { .err = SX_ERR_PROXY, .proxy = SX_PROXY_NO_SESSION };

    (void)state;
    open_proxy(&t, "", 0);
    send_cmds(&t.a, &t.pfwd, sx_str("session"), 2);
    relays.e[0]->own = true;
    finish(&t, relays.e[0], "x");
    sx_errand_fail(relays.e[1], &lost, SX_ERRAND_CONNECT);
    sx_errand_done(relays.e[1]);
    mem_settle(&t.m);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_REQUESTS), 2);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_SUCCESSES), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_CONNECT), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_OWN_REQUESTS), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_OWN_SUCCESSES), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_FWDS_OWN_CONNECT), 0);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
    finish(&t, relays.e[2], "x");
    assert_int_equal(counted(&t, 0, SX_STAT_P_RELAYS_REQUESTS), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_RELAYS_SUCCESSES), 1);
    assert_int_equal(counted(&t, 0, SX_STAT_P_RELAYS_OWN_REQUESTS), 0);
    close_proxy(&t);
}

static void asks_for_the_password(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "secret", 0);
    const struct sx_rsp *r = mem_cmd(&t.a, NULL, sx_bytes(NULL, 0), &t.prxy);
    mem_assert_err(r, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, SX_PROXY_BASIC_AUTH);
    t.prxy.prxy.has_password = true;
    t.prxy.prxy.password = sx_str("secre");
    r = mem_cmd(&t.a, NULL, sx_bytes(NULL, 0), &t.prxy);
    assert_int_equal(r->err.proxy, SX_PROXY_BASIC_AUTH);
    assert_int_equal(relays.n, 0);
    t.prxy.prxy.password = sx_str("secret"); /* although new_queues is off */
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
    assert_int_equal(relays.n, 1);
    finish_all(&t);
    close_proxy(&t);
}

static void answers_in_the_order_of_the_relays(void **state)
{
    struct proxy t;
    struct sx_cmd ping = { .tag = SX_PING };

    (void)state;
    open_proxy(&t, "", 0);
    send_cmds(&t.a, &t.pfwd, sx_str("session"), 3);
    mem_assert_tag(mem_cmd(&t.a, NULL, sx_bytes(NULL, 0), &ping), SX_R_PONG);
    finish(&t, relays.e[2], "third");
    finish(&t, relays.e[0], "first");
    finish(&t, relays.e[1], "second");
    vec_assert_eq(mem_next(&t.a)->rsp.enc.body, sx_str("third"), "answer");
    vec_assert_eq(mem_next(&t.a)->rsp.enc.body, sx_str("first"), "answer");
    vec_assert_eq(mem_next(&t.a)->rsp.enc.body, sx_str("second"), "answer");
    close_proxy(&t);
}

static void holds_what_is_too_much_at_a_time(void **state)
{
    enum { ALL = 120, AT_ONCE = 4 };
    struct proxy t;

    (void)state;
    open_proxy(&t, "", AT_ONCE);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), AT_ONCE - 1);
    assert_false(sx_peer_paused(&t.a.peer));
    relays.n = 0;
    for (size_t i = 0; i + 1 < AT_ONCE; i++)
        finish(&t, relays.e[i], "x");
    while (mem_next(&t.a) != NULL)
        ;
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), ALL);
    assert_int_equal(relays.n, AT_ONCE);
    assert_true(sx_peer_paused(&t.a.peer));
    assert_false(sx_peer_paused(&t.b.peer));
    finish(&t, relays.e[1], "x");
    assert_int_equal(relays.n, AT_ONCE + 1);
    assert_true(sx_peer_paused(&t.a.peer));
    relays.e[1] = relays.e[--relays.n];
    size_t answered = 1;
    for (size_t i = 0; i < relays.n; i++, answered++)
        finish(&t, relays.e[i], "x");
    assert_int_equal(answered, ALL);
    for (size_t i = 0; i < ALL; i++)
        assert_non_null(mem_next(&t.a));
    mem_assert_quiet(&t.a);
    assert_false(sx_peer_paused(&t.a.peer));
    assert_null(t.a.peer.errands);
    assert_null(t.a.peer.held_first);
    close_proxy(&t);
}

static void says_so_when_nobody_takes_it(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 2);
    relays.refuse = true;
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 5);
    for (int i = 0; i < 20; i++)
        mem_settle(&t.m);
    for (int i = 0; i < 5; i++) {
        const struct mem_item *item = mem_next(&t.a);
        assert_non_null(item);
        mem_assert_err(&item->rsp, SX_ERR_PROXY);
        assert_int_equal(item->rsp.err.broker, SX_BROKER_TIMEOUT);
    }
    assert_int_equal(t.a.peer.n_errands, 0);
    close_proxy(&t);
}

static void forgets_a_client_that_left(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 2);
    send_cmds(&t.a, &t.pfwd, sx_str("session"), 5); /* two under way, three held */
    assert_int_equal(relays.n, 2);
    struct sx_errand *first = relays.e[0], *second = relays.e[1];
    mem_disconnect(&t.a);
    finish(&t, first, "x");
    assert_int_equal(relays.n, 2);
    sx_errand_done(second); /* nobody runs the hub any more */
    mem_connect(&t.m, &t.a, 0, 0);
    close_proxy(&t);
}

static void lives_without_memory(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 0);
    const struct sx_cmd *cmds[] = { &t.prxy, &t.pfwd };
    for (size_t c = 0; c < 2; c++) {
        bool fired = true;
        for (unsigned nth = 0; fired && nth < 50; nth++) {
            struct mem_client x;
            mem_connect(&t.m, &x, 0, 0);
            relays.n = 0;
            sx_fault_malloc(nth);
            send_cmds(&x, cmds[c], c == 0 ? sx_bytes(NULL, 0) : sx_str("session"), 1);
            fired = sx_fault_disarm();
            assert_true(x.peer.failed || relays.n == 1 || mem_next(&x) != NULL);
            for (size_t i = 0; i < relays.n; i++)
                sx_errand_done(relays.e[i]);
            mem_settle(&t.m);
            x.peer.failed = false;
            mem_disconnect(&x);
        }
        assert_false(fired);
    }
    close_proxy(&t);
}

/* ---- the thread of the proxy ---- */

static void starts_or_leaves_nothing_behind(void **state)
{
    static const char *const own[] = { "example.org", "example.net" };
    struct sx_proxy_cfg cfg = { .own_domains = own, .n_own_domains = 2 };
    size_t live = sx_fault_live_blocks();
    bool fired = true;

    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    for (unsigned nth = 0; fired && nth < 50; nth++) {
        struct sx_proxy *p;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_proxy_start(&cfg, &p);
        fired = sx_fault_disarm();
        assert_int_equal(rc == SIMPLEX_OK, p != NULL);
        if (fired)
            assert_int_equal(rc, SIMPLEX_E_NOMEM);
        if (p != NULL)
            assert_int_equal(sx_proxy_relays(p), 0);
        sx_proxy_free(p);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
    assert_false(fired);
}

/* Commands of a connection that take long do not hold up the others. */
static void a_client_has_few_prxy_under_way_and_pfwd_do_not_wait_behind_them(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 0);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 20);
    assert_int_equal(relays.n, 8);
    assert_false(sx_peer_paused(&t.a.peer));
    send_cmds(&t.a, &t.pfwd, sx_str("session"), 2);
    assert_int_equal(relays.n, 10);
    assert_int_equal(relays.e[9]->tag, SX_PFWD);
    send_cmds(&t.b, &t.prxy, sx_bytes(NULL, 0), 1);
    assert_int_equal(relays.n, 11);
    finish(&t, relays.e[8], "forwarded");
    vec_assert_eq(mem_next(&t.a)->rsp.enc.body, sx_str("forwarded"), "answer");
    assert_int_equal(relays.n, 11); /* still eight of them */
    finish(&t, relays.e[3], "found");
    assert_int_equal(relays.n, 12);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 12);
    assert_int_equal(relays.n, 12);
    assert_true(sx_peer_paused(&t.a.peer)); /* those that wait are counted */
    struct sx_errand *left[] = { relays.e[9], relays.e[10] };
    mem_disconnect(&t.a);
    assert_int_equal(relays.n, 12);
    for (size_t i = 0; i < SX_COUNT(left); i++)
        finish(&t, left[i], "late");
    for (size_t i = 0; i < 12; i++) {
        if (i != 3 && i < 8)
            finish(&t, relays.e[i], "late");
    }
    finish(&t, relays.e[11], "late");
    mem_connect(&t.m, &t.a, 0, 0);
    close_proxy(&t);
}

static void fail_relay(struct proxy *t, struct sx_errand *e, bool tried)
{
    struct sx_smp_err err = { .err = SX_ERR_PROXY,
                              .proxy = SX_PROXY_BROKER,
                              .broker = SX_BROKER_NETWORK };

    e->tried = tried;
    sx_errand_fail(e, &err, SX_ERRAND_CONNECT);
    sx_errand_done(e);
    mem_settle(&t->m);
    assert_int_equal(mem_next(&t->a)->rsp.err.broker, SX_BROKER_NETWORK);
    relays.n = 0;
}

static void a_client_gets_only_so_many_dead_relays_tried(void **state)
{
    struct proxy t;

    (void)state;
    open_proxy(&t, "", 0);
    t.m.srv->limits.failed_relays = 3;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10; i++) { /* failures that are only remembered cost nothing */
            send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
            fail_relay(&t, relays.e[0], false);
        }
        for (int i = 0; i < 3; i++) {
            send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
            fail_relay(&t, relays.e[0], true);
        }
        send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
        assert_int_equal(relays.n, 0);
        mem_settle(&t.m);
        const struct mem_item *item = mem_next(&t.a);
        assert_non_null(item);
        assert_int_equal(item->rsp.err.broker, SX_BROKER_TIMEOUT); /* a failure that passes */
        send_cmds(&t.a, &t.pfwd, sx_str("session"), 1);            /* what is up goes on */
        assert_int_equal(relays.n, 1);
        send_cmds(&t.b, &t.prxy, sx_bytes(NULL, 0), 1); /* and so do others */
        assert_int_equal(relays.n, 2);
        finish_all(&t);
        assert_non_null(mem_next(&t.a));
        assert_non_null(mem_next(&t.b));
        t.m.now += SX_FAILED_RELAYS_MS;
    }
    close_proxy(&t);
}

/* ---- a proxy, and relays that never answer ---- */

static int open_silent_port(struct sx_server *to)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(sx_host_parse(sx_str("127.0.0.1"), &to->hosts[0]), SIMPLEX_OK);
    snprintf(to->port, sizeof(to->port), "%u", ntohs(at.sin_port));
    return fd;
}

static void open_real(struct proxy *t, struct sx_proxy_cfg *cfg, struct sx_proxy **p, int *fd)
{
    open_proxy(t, "", 0);
    cfg->net.connect_timeout = 60000;
    assert_int_equal(sx_proxy_start(cfg, p), SIMPLEX_OK);
    t->m.srv->relays = (struct sx_relays){ sx_proxy_submit, *p };
    *fd = open_silent_port(&t->prxy.prxy.server);
}

static void close_real(struct proxy *t, struct sx_proxy *p, int fd)
{
    mem_disconnect(&t->a);
    mem_disconnect(&t->b);
    sx_proxy_stop(p);
    mem_close(&t->m);
    sx_proxy_free(p);
    close(fd);
    vec_free_all();
}

static const struct mem_item *next_soon(struct proxy *t, struct mem_client *c)
{
    const struct mem_item *item = NULL;

    for (int i = 0; i < 3000 && item == NULL; i++) {
        mem_settle(&t->m);
        if ((item = mem_next(c)) == NULL)
            usleep(10000);
    }
    assert_non_null(item);
    return item;
}

static void assert_refused_soon(struct proxy *t, struct mem_client *c, enum sx_err_broker why)
{
    const struct mem_item *item = next_soon(t, c);

    assert_int_equal(item->rsp.err.err, SX_ERR_PROXY);
    assert_int_equal(item->rsp.err.broker, why);
}

static struct sx_proxy_figures figures(struct sx_proxy *p)
{
    struct sx_proxy_figures f;

    sx_proxy_figures(p, &f);
    return f;
}

static void prxy_leave_room_for_pfwd(void **state)
{
    struct sx_proxy_cfg cfg = { .pending_max = 4 };
    struct sx_proxy *p;
    struct proxy t;
    int fd;

    (void)state;
    open_real(&t, &cfg, &p, &fd);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 4);
    for (int i = 0; i < 2; i++)
        assert_refused_soon(&t, &t.a, SX_BROKER_TIMEOUT);
    assert_int_equal(figures(p).pending, 2);
    assert_int_equal(figures(p).refused, 2);
    send_cmds(&t.b, &t.pfwd, sx_str("session"), 1); /* is looked at: there is no such session */
    assert_int_equal(next_soon(&t, &t.b)->rsp.err.proxy, SX_PROXY_NO_SESSION);
    close_real(&t, p, fd);
}

static void wait_connecting(struct sx_proxy *p, uint64_t n)
{
    for (int i = 0; i < 3000 && figures(p).connecting != n; i++)
        usleep(10000);
    assert_int_equal(figures(p).connecting, n);
}

/* Half of the places, and what remains is for a relay that is not asked yet. */
static void fill_half(struct proxy *t, struct sx_proxy *p)
{
    for (uint8_t i = 0; i < 2; i++) {
        t->prxy.prxy.server.key_hash[0] = i;
        send_cmds(&t->a, &t->prxy, sx_bytes(NULL, 0), 1);
    }
    wait_connecting(p, 2);
    t->prxy.prxy.server.key_hash[0] = 2;
}

static void relays_have_their_time_to_answer(void **state)
{
    struct sx_proxy_cfg cfg = { .relays_max = 4, .hurry_ms = 600000 };
    struct sx_proxy *p;
    struct proxy t;
    int fd;

    (void)state;
    open_real(&t, &cfg, &p, &fd);
    fill_half(&t, p);
    send_cmds(&t.b, &t.prxy, sx_bytes(NULL, 0), 1);
    assert_refused_soon(&t, &t.b, SX_BROKER_TIMEOUT);
    mem_settle(&t.m);
    assert_null(mem_next(&t.a));
    assert_int_equal(figures(p).hurried, 0);
    assert_int_equal(figures(p).connecting, 2);
    close_real(&t, p, fd);
}

static void dead_relays_make_room_for_others(void **state)
{
    struct sx_proxy_cfg cfg = { .relays_max = 4, .hurry_ms = 20 };
    struct sx_proxy *p;
    struct proxy t;
    int fd;

    (void)state;
    open_real(&t, &cfg, &p, &fd);
    fill_half(&t, p);
    usleep(30000); /* both have had their time */
    send_cmds(&t.b, &t.prxy, sx_bytes(NULL, 0), 1);
    assert_refused_soon(&t, &t.a, SX_BROKER_TIMEOUT); /* the first one */
    wait_connecting(p, 2);
    assert_int_equal(figures(p).hurried, 1);
    assert_int_equal(figures(p).pending, 2);
    assert_null(mem_next(&t.b)); /* it is being tried */
    t.prxy.prxy.server.key_hash[0] = 0;
    send_cmds(&t.b, &t.prxy, sx_bytes(NULL, 0), 1); /* and that failure is remembered */
    assert_refused_soon(&t, &t.b, SX_BROKER_TIMEOUT);
    assert_int_equal(figures(p).hurried, 1);
    close_real(&t, p, fd);
}

static void takes_no_more_than_its_limit_and_nothing_when_stopped(void **state)
{
    struct sx_proxy_cfg cfg = { .pending_max = 6 };
    struct sx_proxy *p;
    struct proxy t;
    int fd;

    (void)state;
    open_real(&t, &cfg, &p, &fd);
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 5);
    for (int i = 0; i < 2; i++) { /* those that were not taken */
        const struct mem_item *item = mem_next(&t.a);
        assert_non_null(item);
        assert_int_equal(item->rsp.err.broker, SX_BROKER_TIMEOUT);
    }
    mem_assert_quiet(&t.a);
    sx_proxy_stop(p);
    mem_settle(&t.m);
    for (int i = 0; i < 3; i++) {
        const struct mem_item *item = mem_next(&t.a);
        assert_non_null(item);
        assert_int_equal(item->rsp.err.broker, SX_BROKER_NETWORK);
    }
    send_cmds(&t.a, &t.prxy, sx_bytes(NULL, 0), 1);
    assert_int_equal(mem_next(&t.a)->rsp.err.broker, SX_BROKER_TIMEOUT);
    close_real(&t, p, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_on_what_a_client_wants),
        cmocka_unit_test(counts_what_became_of_it),
        cmocka_unit_test(asks_for_the_password),
        cmocka_unit_test(answers_in_the_order_of_the_relays),
        cmocka_unit_test(holds_what_is_too_much_at_a_time),
        cmocka_unit_test(says_so_when_nobody_takes_it),
        cmocka_unit_test(forgets_a_client_that_left),
        cmocka_unit_test(lives_without_memory),
        cmocka_unit_test(starts_or_leaves_nothing_behind),
        cmocka_unit_test(a_client_has_few_prxy_under_way_and_pfwd_do_not_wait_behind_them),
        cmocka_unit_test(a_client_gets_only_so_many_dead_relays_tried),
        cmocka_unit_test(prxy_leave_room_for_pfwd),
        cmocka_unit_test(relays_have_their_time_to_answer),
        cmocka_unit_test(dead_relays_make_room_for_others),
        cmocka_unit_test(takes_no_more_than_its_limit_and_nothing_when_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
