/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written in [LIMITS] of smp-server.ini, as clients of the real program meet it. How each
 * limit behaves in detail is tested where it is implemented.
 */
#include "support/running_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/free_port.h"
#include "support/program.h"
#include "support/server_dirs.h"

#define NONE sx_bytes(NULL, 0)

struct stage {
    struct program p;
    struct sx_server address;
    struct smp_peer_cfg cfg;
};

/* Nobody accepts there, but clients are connected. */
static uint16_t silent_port(int *listening)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(fd, 8), 0);
    *listening = fd;
    return ntohs(at.sin_port);
}

/* A server with an ini that has these lines in [STORE_LOG] and in [LIMITS]. */
static void start(struct stage *s, const char *store, const char *limits)
{
    char ini[160], *line;

    snprintf(ini, sizeof(ini), "%s/smp-server.ini", config_dir);
    if (access(ini, F_OK) != 0) {
        program_expect(SMP_SERVER,
                       ARG("init", "-y", "--no-password", "--disable-web", "-n", "localhost"), NULL,
                       0, "Server initialized");
    }
    uint16_t port = free_port();
    FILE *f = fopen(ini, "w");
    assert_non_null(f);
    fprintf(f, "[STORE_LOG]\nenable: on\n%s\n[TRANSPORT]\nhost: localhost\nport: %u\n", store,
            port);
    fprintf(f, "[LIMITS]\n%s\n", limits);
    assert_int_equal(fclose(f), 0);
    program_run(&s->p, SMP_SERVER, ARG("start"), NULL);
    if (!program_read(&s->p, "creating new queues") || strstr(s->p.text, "Warning: smp-server.ini"))
        fail_msg("%s", s->p.text);
    line = strstr(s->p.text, "smp://");
    assert_non_null(line);
    assert_int_equal(sx_server_parse(sx_bytes(line, strcspn(line, "\n")), &s->address, NULL),
                     SIMPLEX_OK);
    s->cfg = (struct smp_peer_cfg){ .port = port, .key_hash = s->address.key_hash };
}

static void stop(struct stage *s)
{
    assert_int_equal(kill(s->p.pid, SIGTERM), 0);
    int status = program_end(&s->p);
    if (status != 0)
        fail_msg("exit %d: %s", status, s->p.text);
}

static void open_client(const struct stage *s, struct smp_peer *c)
{
    assert_int_equal(smp_peer_open(c, &s->cfg), SIMPLEX_OK);
}

/* ---- commands ---- */

static simplex_bytes rcv_id(const struct queue *q)
{
    return sx_bytes(q->rcv_id, sizeof(q->rcv_id));
}

static void assert_err(const struct sx_rsp *r, enum sx_err wanted)
{
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, wanted);
}

static const struct sx_rsp *of_rcv(struct smp_peer *c, const struct queue *q, enum sx_cmd_tag tag)
{
    struct sx_cmd cmd = { .tag = tag };

    const struct sx_rsp *r = smp_peer_cmd(c, &q->rcv, rcv_id(q), &cmd);
    assert_non_null(r);
    return r;
}

static const struct sx_rsp *send_to(struct smp_peer *c, const struct queue *q, size_t len,
                                    bool notify)
{
    static uint8_t body[16000];
    struct sx_cmd cmd = { .tag = SX_SEND };

    cmd.send.body = sx_bytes(body, len);
    cmd.send.notify = notify;
    const struct sx_rsp *r = smp_peer_cmd(c, NULL, sx_bytes(q->snd_id, sizeof(q->snd_id)), &cmd);
    assert_non_null(r);
    return r;
}

static const struct sx_rsp *ask_for_queue(struct smp_peer *c)
{
    struct sx_keypair rcv, dh;
    struct sx_cmd cmd = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    cmd.new_.auth = rcv.pub;
    cmd.new_.dh = dh.pub;
    cmd.new_.mode = SX_MODE_MESSAGING;
    const struct sx_rsp *r = smp_peer_cmd(c, &rcv, NONE, &cmd);
    assert_non_null(r);
    return r;
}

/* NEW that is refused, unless the answer comes later: a machine may be so slow. */
static void assert_no_new_queue(struct smp_peer *c, int64_t until)
{
    const struct sx_rsp *r = ask_for_queue(c);

    if (sx_mono_ms() < until)
        assert_err(r, SX_ERR_QUOTA);
}

/* When the interval is over; on a slow machine a later one than that of the first queue. */
static void await_new_queue(struct smp_peer *c)
{
    int64_t until = sx_mono_ms() + 30000;

    while (ask_for_queue(c)->tag != SX_R_IDS) {
        assert_true(sx_mono_ms() < until);
        usleep(50000);
    }
}

static const struct sx_rsp *ask_for_relay_at(struct smp_peer *c, const char *host, uint16_t port)
{
    struct sx_cmd cmd = { .tag = SX_PRXY, .prxy = { .server = { .n_hosts = 1 } } };

    snprintf(cmd.prxy.server.port, sizeof(cmd.prxy.server.port), "%u", port);
    assert_int_equal(sx_host_parse(sx_str(host), &cmd.prxy.server.hosts[0]), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(c, NULL, NONE, &cmd);
    assert_err(r, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, SX_PROXY_BROKER);
    return r;
}

static const struct sx_rsp *ask_for_relay(struct smp_peer *c, uint16_t port)
{
    return ask_for_relay_at(c, "127.0.0.1", port);
}

/* ---- a connection and its queues ---- */

/* messages_per_queue, queues_per_client, queues_interval_seconds, subscriptions_per_client,
 * commands_per_block, max_connections, smp_min_version, smp_max_version */
static void a_connection_has_the_limits_of_the_ini(void **state)
{
    struct sx_cmd ping = { .tag = SX_PING };
    struct smp_peer a, b, refused;
    struct smp_batch batch;
    struct queue q[3];
    struct stage s;

    (void)state;
    start(&s, "",
          "messages_per_queue: 2\nqueues_per_client: 3\nqueues_interval_seconds: 5\n"
          "subscriptions_per_client: 2\ncommands_per_block: 2\nmax_connections: 2\n"
          "smp_min_version: 9\nsmp_max_version: 17");
    struct smp_peer_cfg old = s.cfg;
    old.max = 8;
    assert_int_not_equal(smp_peer_open(&refused, &old), SIMPLEX_OK);
    open_client(&s, &a);
    assert_int_equal(a.session.version, 17);
    int64_t before = sx_mono_ms(); /* the interval begins later */
    for (size_t i = 0; i < SX_COUNT(q); i++)
        new_queue(&a, &q[i], SX_ED25519, false);
    assert_no_new_queue(&a, before + 5000);
    assert_int_equal(of_rcv(&a, &q[0], SX_SUB)->tag, SX_R_SOK);
    assert_int_equal(of_rcv(&a, &q[1], SX_SUB)->tag, SX_R_SOK);
    assert_err(of_rcv(&a, &q[2], SX_SUB), SX_ERR_INTERNAL);
    assert_int_equal(send_to(&a, &q[2], 10, false)->tag, SX_R_OK);
    assert_int_equal(send_to(&a, &q[2], 10, false)->tag, SX_R_OK);
    assert_err(send_to(&a, &q[2], 10, false), SX_ERR_QUOTA);

    smp_batch_init(&batch);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(smp_batch_add(&batch, &a, NULL, NULL, NONE, &ping), SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&batch, &a), SIMPLEX_OK);
    for (unsigned i = 0; i < 3; i++) {
        const struct smp_item *item = smp_peer_wait(&a, sx_bytes(batch.corr[i], SX_ID_LEN), 20000);
        assert_non_null(item);
        if (i < 2)
            assert_int_equal(item->rsp.tag, SX_R_PONG);
        else
            assert_err(&item->rsp, SX_ERR_INTERNAL);
    }

    for (int64_t until = sx_mono_ms() + 30000; smp_peer_open(&b, &s.cfg) != SIMPLEX_OK;) {
        assert_true(sx_mono_ms() < until); /* the old one's place */
        usleep(50000);
    }
    assert_int_not_equal(smp_peer_open(&refused, &s.cfg), SIMPLEX_OK);
    await_new_queue(&a);
    smp_peer_close(&a);
    smp_peer_close(&b);
    stop(&s);
}

static void memory_of_a_connection_limits_its_subscriptions(void **state)
{
    struct smp_peer a;
    struct queue q[2];
    struct stage s;

    (void)state;
    start(&s, "", "memory_per_client_kib: 64"); /* less than it needs: one subscription is left */
    open_client(&s, &a);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        new_queue(&a, &q[i], SX_ED25519, false);
    assert_int_equal(of_rcv(&a, &q[0], SX_SUB)->tag, SX_R_SOK);
    assert_err(of_rcv(&a, &q[1], SX_SUB), SX_ERR_INTERNAL);
    smp_peer_close(&a);
    stop(&s);
}

static void messages_of_all_queues_take_so_much_memory(void **state)
{
    struct smp_peer a;
    struct queue q[2];
    struct stage s;
    unsigned sent = 0;

    (void)state;
    start(&s, "store_messages: memory", "max_message_memory_mib: 1");
    open_client(&s, &a);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        new_queue(&a, &q[i], SX_ED25519, false);
    while (send_to(&a, &q[sent % 2], 16000, false)->tag == SX_R_OK)
        sent++;
    assert_in_range(sent, 30, 70); /* 128 would go into each queue */
    smp_peer_close(&a);
    stop(&s);
}

/* ---- time ---- */

static void assert_closed_soon(int fd)
{
    int64_t begun = sx_mono_ms();
    uint8_t buf[4096];
    ssize_t n;

    assert_true(fd >= 0);
    do /* the hello, perhaps, and what TLS says before it ends */
        n = read(fd, buf, sizeof(buf));
    while (n > 0);
    assert_in_range(sx_mono_ms() - begun, 0, 30000);
    close(fd);
}

/* Its socket when TLS is up; the SMP hello never comes. */
static int socket_with_tls(const struct stage *s)
{
    int fd = smp_peer_socket(&s->cfg);
    struct sx_tls_ctx *ctx;
    struct sx_tls *tls;
    uint8_t buf[32768];

    assert_true(fd >= 0);
    assert_int_equal(sx_tls_ctx_client(&ctx), SIMPLEX_OK);
    assert_int_equal(sx_tls_new(ctx, s->address.key_hash, &tls), SIMPLEX_OK);
    assert_int_equal(sx_tls_start(tls), SIMPLEX_OK);
    for (;;) {
        simplex_bytes out = sx_tls_pending(tls);
        assert_int_equal(send(fd, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
        sx_tls_consume(tls, out.len);
        if (sx_tls_ready(tls))
            break;
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        assert_true(n > 0);
        assert_int_equal(sx_tls_feed(tls, sx_bytes(buf, (size_t)n)), SIMPLEX_OK);
    }
    sx_tls_free(tls);
    sx_tls_ctx_free(ctx);
    return fd;
}

/* tls_timeout_seconds, handshake_timeout_seconds, stall_timeout_seconds: one minute and two else */
static void who_is_silent_is_closed_after_the_time_of_the_ini(void **state)
{
    static const uint8_t some[100];
    struct smp_peer a;
    struct stage s;

    (void)state;
    start(&s, "", "tls_timeout_seconds: 0.5");
    assert_closed_soon(smp_peer_socket(&s.cfg));
    stop(&s);
    start(&s, "", "tls_timeout_seconds: 6\nhandshake_timeout_seconds: 6");
    assert_closed_soon(socket_with_tls(&s));
    stop(&s);
    start(&s, "", "stall_timeout_seconds: 3"); /* the hello comes in less */
    open_client(&s, &a);
    assert_int_equal(smp_peer_send_raw(&a, sx_bytes(some, sizeof(some))), SIMPLEX_OK);
    assert_true(smp_peer_wait_closed(&a, 30000));
    smp_peer_close(&a);
    stop(&s);
}

static void make_notifier(struct smp_peer *c, struct queue *q)
{
    struct sx_cmd nkey = { .tag = SX_NKEY }, nsub = { .tag = SX_NSUB };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->ntf), SIMPLEX_OK);
    nkey.nkey.auth = q->ntf.pub;
    nkey.nkey.dh = q->dh.pub;
    const struct sx_rsp *r = smp_peer_cmd(c, &q->rcv, rcv_id(q), &nkey);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_NID);
    memcpy(q->ntf_id, r->nid.ntf_id.ptr, sizeof(q->ntf_id));
    r = smp_peer_cmd(c, &q->ntf, sx_bytes(q->ntf_id, sizeof(q->ntf_id)), &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
}

/* end_flush_seconds, ntf_flush_seconds: at once, and hardly ever; 15 and 1.5 seconds else */
static void ends_and_notifications_leave_when_the_ini_says(void **state)
{
    struct smp_peer a, b;
    struct queue q;
    struct stage s;

    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        start(&s, "",
              at_once ? "end_flush_seconds: 0\nntf_flush_seconds: 0"
                      : "end_flush_seconds: 0\nntf_flush_seconds: 3600");
        open_client(&s, &a);
        open_client(&s, &b);
        new_queue(&a, &q, SX_ED25519, false);
        make_notifier(&b, &q);
        assert_int_equal(send_to(&a, &q, 10, true)->tag, SX_R_OK);
        const struct smp_item *nmsg = smp_peer_event(&b, at_once ? 20000 : 3000);
        assert_int_equal(nmsg != NULL, at_once);
        assert_int_equal(of_rcv(&a, &q, SX_SUB)->tag, SX_R_SOK);
        const struct smp_item *msg = smp_peer_event(&a, 20000);
        assert_non_null(msg);
        assert_int_equal(msg->rsp.tag, SX_R_MSG);
        int64_t begun = sx_mono_ms();
        assert_int_equal(of_rcv(&b, &q, SX_SUB)->tag, SX_R_SOK);
        const struct smp_item *end = smp_peer_event(&a, 20000);
        assert_non_null(end);
        assert_int_equal(end->rsp.tag, SX_R_END);
        assert_in_range(sx_mono_ms() - begun, 0, 12000);
        smp_peer_close(&a);
        smp_peer_close(&b);
        stop(&s);
    }
}

/* Makes the only message of the file two days older. */
static void age_message(void)
{
    char path[160], id[64], msg[64], rest[512];
    long long seconds;

    snprintf(path, sizeof(path), "%s/smp-server-messages.log", state_dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "v3 %63s %63s %lld %511[^\n]", id, msg, &seconds, rest), 4);
    fclose(f);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "v3 %s %s %lld %s\n", id, msg, seconds - 2 * 86400, rest);
    assert_int_equal(fclose(f), 0);
}

/* Whether the message is there a second later. */
static bool outlives_a_second(const struct queue *q, const char *limits)
{
    struct smp_peer a;
    struct stage s;

    start(&s, "store_messages: memory\nexpire_messages_days: 1\nexpire_messages_on_start: off",
          limits);
    sleep(1);
    open_client(&s, &a);
    bool there = false;
    for (int i = 0; i < 600; i++) {
        there = of_rcv(&a, q, SX_GET)->tag == SX_R_MSG;
        if (!there || *limits == 0)
            break;
        usleep(50000); /* a slow machine */
    }
    smp_peer_close(&a);
    stop(&s);
    return there;
}

static void old_messages_are_looked_for_as_often_as_the_ini_says(void **state)
{
    struct smp_peer a;
    struct stage s;
    struct queue q;

    (void)state;
    start(&s, "store_messages: memory", "");
    open_client(&s, &a);
    new_queue(&a, &q, SX_ED25519, false);
    assert_int_equal(send_to(&a, &q, 10, false)->tag, SX_R_OK);
    smp_peer_close(&a);
    stop(&s);
    age_message();
    assert_true(outlives_a_second(&q, "")); /* every two hours */
    assert_false(outlives_a_second(&q, "expire_interval_seconds: 0.2"));
}

/* ---- the whole server ---- */

static unsigned count_threads(pid_t pid)
{
    char path[64];
    unsigned n = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (d == NULL)
        skip(); /* not on this system */
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void it_has_as_many_threads_as_the_ini_says(void **state)
{
    struct stage s;
    unsigned n[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        start(&s, "", i == 0 ? "threads: 1" : "threads: 5");
        n[i] = count_threads(s.p.pid);
        stop(&s);
    }
    assert_int_equal(n[1], n[0] + 4);
}

/* store_log_growth, store_log_compact_kib */
static void the_store_log_is_compacted_as_the_ini_says(void **state)
{
    struct sx_cmd nkey = { .tag = SX_NKEY };
    char path[160];
    struct smp_peer a;
    struct stage s;
    struct queue q;
    long size[2];

    (void)state;
    snprintf(path, sizeof(path), "%s/smp-server-store.log", state_dir);
    for (int small = 0; small < 2; small++) {
        start(&s, "", small ? "store_log_growth: 2\nstore_log_compact_kib: 16" : "");
        open_client(&s, &a);
        new_queue(&a, &q, SX_ED25519, false);
        for (int i = 0; i < 400; i++) { /* 200 bytes each */
            nkey.nkey.auth = q.rcv.pub;
            nkey.nkey.dh = q.dh.pub;
            const struct sx_rsp *r = smp_peer_cmd(&a, &q.rcv, rcv_id(&q), &nkey);
            assert_non_null(r);
            assert_int_equal(r->tag, SX_R_NID);
            smp_peer_forget(&a);
        }
        smp_peer_close(&a);
        stop(&s); /* cuts off the room that was reserved */
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        size[small] = ftell(f);
        fclose(f);
    }
    assert_true(size[0] > 60000);
    assert_true(size[1] < size[0] / 2);
}

/* failed_relays_per_client, proxy_connect_timeout_seconds: 60, and 45 seconds, else */
static void relays_are_tried_as_the_ini_says(void **state)
{
    struct smp_peer a;
    struct stage s;
    int silent;

    (void)state;
    start(&s, "", "failed_relays_per_client: 2\nproxy_connect_timeout_seconds: 5");
    open_client(&s, &a);
    uint16_t port = silent_port(&silent);
    int64_t begun = sx_mono_ms();
    assert_int_equal(ask_for_relay(&a, port)->err.broker, SX_BROKER_TIMEOUT);
    assert_in_range(sx_mono_ms() - begun, 4500, 19900);
    assert_int_equal(ask_for_relay(&a, free_port())->err.broker, SX_BROKER_NETWORK);
    assert_int_equal(ask_for_relay(&a, free_port())->err.broker, SX_BROKER_TIMEOUT);
    close(silent);
    smp_peer_close(&a);
    stop(&s);
}

/* A few names whose servers do not answer do not hold up the others: half of libuv's threads wait
 * for names at most, and by default there are four. */
static void many_names_of_relays_are_resolved_at_a_time(void **state)
{
    struct smp_peer a;
    struct stage s;

    (void)state;
    start(&s, "", "");
    open_client(&s, &a);
    ask_for_relay(&a, free_port());
    unsigned before = count_threads(s.p.pid);
    ask_for_relay_at(&a, "localhost", free_port());
    assert_in_range(count_threads(s.p.pid), before + 32, before + 100);
    smp_peer_close(&a);
    stop(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_has_the_limits_of_the_ini),
        TEST(memory_of_a_connection_limits_its_subscriptions),
        TEST(messages_of_all_queues_take_so_much_memory),
        TEST(who_is_silent_is_closed_after_the_time_of_the_ini),
        TEST(ends_and_notifications_leave_when_the_ini_says),
        TEST(old_messages_are_looked_for_as_often_as_the_ini_says),
        TEST(it_has_as_many_threads_as_the_ini_says),
        TEST(the_store_log_is_compacted_as_the_ini_says),
        TEST(relays_are_tried_as_the_ini_says),
        TEST(many_names_of_relays_are_resolved_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
