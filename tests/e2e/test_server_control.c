/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks of a running server at its control port. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ops_stage.h"
#include "stats_file.h"

/* A server with a queue, its recipient and a sender. */
static void open_pair(struct server *t, struct smp_peer *rcv, struct smp_peer *snd, struct queue *q)
{
    open_server(t);
    open_peer(t, rcv);
    open_peer(t, snd);
    new_queue(rcv, q, SX_ED25519, true);
}

/* A server that keeps its state, and a queue with a message. */
static void open_with_message(struct server *t, bool messages_in_memory, struct smp_peer *p,
                              struct queue *q)
{
    open_kept_server(t, messages_in_memory);
    open_peer(t, p);
    new_queue(p, q, SX_ED25519, true);
    assert_int_equal(send_text(p, q, "kept")->tag, SX_R_OK);
}

static void gives_roles_for_passwords(void **state)
{
    static const struct exchange nobody[] = {
        { "stats", "AUTH" },
        { "clients", "AUTH" },
        { "save", "AUTH" },
        { "status AAAA", "AUTH" },
        { "help", "commands: auth, stats, *" },
        { "stats-rts", "there is no run-time system*" },
    };
    static const struct exchange user[] = {
        { "auth " USER_PASSWORD, "Current role is CPRUser" },
        { "auth " ADMIN_PASSWORD, "Current role is CPRUser" }, /* it is fixed */
        { "stats", "fromTime: 20*" },
    };
    static const struct exchange user_not[] = {
        { "clients", "AUTH" },
        { "threads", "AUTH" },
        { "delete AAAA", "AUTH" },
    };
    struct server t;

    (void)state;
    open_server(&t);
    struct text_client *c = control(&t, NULL);
    assert_answers(c, nobody, SX_COUNT(nobody));
    skip_to(c, "memory: ");
    int64_t before = sx_mono_ms();
    assert_string_equal(ask(c, "auth %s", "wrong"), "Current role is CPRNone");
    assert_true(sx_mono_ms() - before >= 1900);
    assert_answers(c, user, SX_COUNT(user));
    skip_to(c, "ntfServiceQueuesCount: 0");
    assert_starts(ask(c, "sockets", ""), "Sockets for port ");
    skip_to(c, "active: 0");
    assert_string_equal(ask(c, "server-info", ""), "Threads: 4");
    skip_to(c, "Ntf subscribed services: 0");
    assert_answers(c, user_not, SX_COUNT(user_not));
    text_close(c);
    c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "threads\r", ""), "Threads: 4");
    skip_to(c, "operator: ");
    assert_string_equal(ask(c, "save", ""), "saving server state...");
    assert_string_equal(text_line(c), "server state saved!");
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_starts(ask(c, "socket-threads", ""), "");
    text_line(c);
    assert_starts(ask(c, "suspend", ""), "error: not offered");
    assert_starts(ask(c, "resume", ""), "error: not offered");
    text_send(c, "quit\n");
    assert_true(text_closed(c, 20000));
    text_close(c);
    close_server(&t);
}

static void assert_pong(struct smp_peer *p)
{
    struct sx_cmd ping = { .tag = SX_PING };

    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(NULL, 0), &ping);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
}

static void lists_clients(void **state)
{
    struct server t;
    struct smp_peer p[3];
    struct queue q;

    (void)state;
    open_server(&t);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        open_peer(&t, &p[i]);
    new_queue(&p[1], &q, SX_ED25519, true);
    for (size_t i = 0; i < SX_COUNT(p); i++) /* who is answered is connected for the server, too */
        assert_pong(&p[i]);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "clients", ""),
                        "clientId,sessionId,connected,age,idle,subscriptions");
    unsigned subscribed = 0;
    for (unsigned i = 1; i <= SX_COUNT(p); i++) {
        char number[8];
        const char *line = text_line(c);
        snprintf(number, sizeof(number), "%u,", i);
        assert_starts(line, number);
        assert_non_null(strstr(line, ",True,"));
        subscribed += (unsigned)atoi(strrchr(line, ',') + 1);
    }
    assert_int_equal(subscribed, 1);
    text_close(c);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        smp_peer_close(&p[i]);
    close_server(&t);
}

static void assert_sockets(struct text_client *c, unsigned port, const char *header)
{
    char want[40];

    snprintf(want, sizeof(want), "Sockets for port %u:", port);
    assert_string_equal(header, want);
    assert_string_equal(text_line(c), "accepted: 1");
    assert_string_equal(text_line(c), "closed: 0");
    assert_string_equal(text_line(c), "active: 1");
}

static void tells_of_the_sockets_of_each_port(void **state)
{
    static const uint16_t any = 0;
    struct server t;
    struct smp_peer p[2];
    unsigned port;
    char sample[60];

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    t.cfg.more_ports = &any;
    t.cfg.n_more_ports = 1;
    start(&t);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_starts(ask(c, "sockets", ""), "Sockets for port ");
    skip_to(c, "active: 0");
    assert_int_equal(sscanf(text_line(c), "Sockets for port %u:", &port), 1);
    skip_to(c, "active: 0");
    struct smp_peer_cfg second = t.peer;
    second.port = (uint16_t)port;
    assert_int_equal(smp_peer_open(&p[0], &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&p[1], &second), SIMPLEX_OK);
    assert_sockets(c, t.peer.port, ask(c, "sockets", ""));
    assert_sockets(c, port, text_line(c));
    char *metrics = metrics_get(&t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    snprintf(sample, sizeof(sample), "\nsimplex_smp_sockets_active{port=\"%u\"} 1\n", port);
    assert_non_null(strstr(metrics, sample));
    free(metrics);
    text_close(c);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        smp_peer_close(&p[i]);
    close_server(&t);
}

static void blocks_and_unblocks_a_queue(void **state)
{
    struct server t;
    struct smp_peer rcv, snd;
    struct queue q, r;
    char id[40];

    (void)state;
    open_pair(&t, &rcv, &snd, &q);
    new_queue(&rcv, &r, SX_ED25519, true);
    struct text_client *user = control(&t, USER_PASSWORD), *admin = control(&t, ADMIN_PASSWORD);
    assert_starts(ask(user, "status %s", id_text(q.snd_id, id)), "status: active, updatedAt: ");
    assert_string_equal(ask(user, "unblock %s", id), "error: the queue is not blocked");
    assert_string_equal(ask(user, "block %s reason=fun", id),
                        "error: write reason=spam or reason=content");
    assert_string_equal(ask(user, "block %s reason=content", id), "ok, queue blocked");
    const struct smp_item *event = smp_peer_event(&rcv, 20000); /* the recipient is told */
    assert_non_null(event);
    assert_true(sx_bytes_eq(event->t.entity_id, sx_bytes(q.rcv_id, 24)));
    assert_int_equal(event->rsp.tag, SX_R_ERR);
    assert_int_equal(event->rsp.err.err, SX_ERR_BLOCKED);
    assert_int_equal(event->rsp.err.blocked, SX_BLOCKED_CONTENT);
    assert_int_equal(send_text(&snd, &q, "x")->err.err, SX_ERR_BLOCKED);
    assert_starts(ask(user, "status %s", id), "status: blocked,reason=content, ");
    assert_string_equal(ask(user, "block %s reason=content", id), "ok, it was blocked before");
    assert_starts(ask(user, "block %s reason=spam", id_text(r.snd_id, id)),
                  "error: daily_block_queue_quota is used up");
    assert_string_equal(ask(admin, "block %s reason=spam", id), "ok, queue blocked");
    assert_string_equal(ask(user, "unblock %s", id), "ok, queue unblocked");
    assert_string_equal(ask(user, "unblock %s", id_text(q.snd_id, id)), "ok, queue unblocked");
    assert_int_equal(send_text(&snd, &q, "again")->tag, SX_R_OK);
    char *text = metrics_get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_queues_blocked 2\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent_errors{type=\"block\"} 1\n"));
    free(text);
    text_close(user);
    text_close(admin);
    smp_peer_close(&rcv);
    smp_peer_close(&snd);
    close_server(&t);
}

static void deletes_a_queue(void **state)
{
    struct server t;
    struct smp_peer rcv, snd;
    struct queue q;
    char id[40];

    (void)state;
    open_pair(&t, &rcv, &snd, &q);
    assert_int_equal(send_text(&snd, &q, "one")->tag, SX_R_OK);
    assert_int_equal(send_text(&snd, &q, "two")->tag, SX_R_OK);
    assert_int_equal(smp_peer_event(&rcv, 20000)->rsp.tag, SX_R_MSG);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "delete %s", id_text(q.snd_id, id)), "ok, 2 messages deleted");
    const struct smp_item *event = smp_peer_event(&rcv, 20000);
    assert_non_null(event);
    assert_int_equal(event->rsp.tag, SX_R_DELD);
    assert_int_equal(send_text(&snd, &q, "x")->err.err, SX_ERR_AUTH);
    assert_string_equal(ask(c, "delete %s", id), "error: AUTH");
    text_close(c);
    smp_peer_close(&rcv);
    smp_peer_close(&snd);
    close_server(&t);
}

/* With the state on disk: "ok" means that it is there. */
static enum sx_err seen(const struct server *t, uint16_t version, const struct queue *q,
                        struct sx_smp_err *err)
{
    struct smp_peer_cfg cfg = t->peer;
    struct smp_peer p;

    cfg.max = version;
    assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = send_text(&p, q, "x");
    assert_int_equal(r->tag, SX_R_ERR);
    *err = r->err;
    smp_peer_close(&p);
    return (enum sx_err)err->err;
}

static void blocks_with_a_notice(void **state)
{
    static const char *const wrong[] = {
        "spam",
        "reason=",
        "reason=spamx",
        "reason=spam,",
        "reason=spam,x",
        "Reason=spam",
        "reason=spam,notice=",
        "reason=spam,notice={",
        "reason=spam,notice={\"ttl\":}",
        "reason=spam,notice={\"ttl\":\"1\"}",
        "reason=spam,notice={\"ttl\":1}}",
        "reason=spam,notice={\"ttl\":99999999999999999999}",
        "reason=spam,notice=[1]",
        "reason=spam,notice={\"ttl\":1}reason=spam",
    };
    struct server t;
    struct smp_peer rcv;
    struct sx_smp_err err;
    struct queue q;
    char id[40];

    (void)state;
    open_kept_server(&t, false);
    open_peer(&t, &rcv);
    new_queue(&rcv, &q, SX_ED25519, true);
    struct text_client *admin = control(&t, ADMIN_PASSWORD);
    id_text(q.snd_id, id);
    for (size_t i = 0; i < SX_COUNT(wrong); i++) {
        char line[128];
        snprintf(line, sizeof(line), "block %s %s", id, wrong[i]);
        assert_starts(ask(admin, "%s", line), "error: write reason=spam");
    }
    assert_starts(ask(admin, "status %s", id), "status: active, ");
    assert_string_equal(ask(admin, "block %s reason=spam,notice={\"ttl\":86400}", id),
                        "ok, queue blocked");
    const struct smp_item *event = smp_peer_event(&rcv, 20000);
    assert_non_null(event);
    assert_int_equal(event->rsp.err.err, SX_ERR_BLOCKED);
    assert_true(event->rsp.err.has_notice && event->rsp.err.has_ttl);
    assert_int_equal(event->rsp.err.ttl, 86400);
    smp_peer_close(&rcv);
    assert_starts(ask(admin, "status %s", id),
                  "status: blocked,reason=spam,notice={\"ttl\":86400}, ");
    assert_string_equal(ask(admin, "block %s reason=spam,notice={\"ttl\":86400}", id),
                        "ok, it was blocked before");
    assert_string_equal(ask(admin, "block %s reason=content,notice={}", id), "ok, queue blocked");
    text_close(admin);
    restart(&t); /* the store log has the notice */
    assert_int_equal(seen(&t, 19, &q, &err), SX_ERR_BLOCKED);
    assert_int_equal(err.blocked, SX_BLOCKED_CONTENT);
    assert_true(err.has_notice && !err.has_ttl);
    assert_int_equal(seen(&t, 17, &q, &err), SX_ERR_BLOCKED);
    assert_int_equal(err.blocked, SX_BLOCKED_CONTENT);
    assert_false(err.has_notice);
    assert_int_equal(seen(&t, 11, &q, &err), SX_ERR_AUTH);
    admin = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(admin, "unblock %s", id), "ok, queue unblocked");
    text_close(admin);
    close_server(&t);
}

/* What is reported is often a link: its id is as good as the sender's. */
static void finds_a_queue_by_its_link(void **state)
{
    struct server t;
    struct smp_peer p;
    uint8_t corr[24] = { 7 }, hash[48], link[24] = { 9 };
    struct sx_keypair rcv, dh;
    struct sx_cmd c = { .tag = SX_NEW }, lget = { .tag = SX_LGET };
    char id[40];

    (void)state;
    open_server(&t);
    open_peer(&t, &p);
    assert_int_equal(sx_keypair_new(SX_ED25519, &rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    sx_sha3_384(sx_bytes(corr, sizeof(corr)), hash);
    c.new_.auth = rcv.pub;
    c.new_.dh = dh.pub;
    c.new_.mode = SX_MODE_CONTACT;
    c.new_.has_link = true;
    c.new_.snd_id = sx_bytes(hash, 24);
    c.new_.link_id = sx_bytes(link, 24);
    const struct sx_rsp *r = smp_peer_cmd_corr(&p, &rcv, corr, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    uint8_t rcv_id[24];
    memcpy(rcv_id, r->ids.rcv_id.ptr, 24);
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->tag, SX_R_LNK);
    struct text_client *admin = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(admin, "block %s reason=spam", id_text(link, id)), "ok, queue blocked");
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->err.err, SX_ERR_BLOCKED);
    assert_string_equal(ask(admin, "status %s", id_text(rcv_id, id)), "error: AUTH");
    assert_string_equal(ask(admin, "delete %s", id_text(link, id)), "ok, 0 messages deleted");
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->err.err, SX_ERR_AUTH);
    text_close(admin);
    smp_peer_close(&p);
    close_server(&t);
}

static void saves_messages_in_memory_when_told_to(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_with_message(&t, true, &p, &q);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "save", ""), "saving server state...");
    assert_string_equal(text_line(c), "server state saved!");
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_true(sx_file_exists(t.dir, "smp-server-messages.log"));
    text_close(c);
    smp_peer_close(&p);
    close_server(&t);
}

static void blocks_for_good_when_the_state_is_kept(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;
    char id[40];

    (void)state;
    open_with_message(&t, false, &p, &q);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "block %s reason=spam", id_text(q.snd_id, id)), "ok, queue blocked");
    char *text = metrics_get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_null(strstr(text, "\nsimplex_smp_commits_total 0\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_commit_failures_total 0\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_journal_bytes{state=\"live\"} "));
    assert_null(strstr(text, "\nsimplex_smp_journal_bytes{state=\"live\"} 0\n"));
    free(text);
    text_close(c);
    smp_peer_close(&p);
    restart(&t);
    c = control(&t, USER_PASSWORD);
    assert_starts(ask(c, "status %s", id), "status: blocked,reason=spam, updatedAt: 20");
    text_close(c);
    c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "delete %s", id), "ok, 1 messages deleted");
    text_close(c);
    restart(&t);
    c = control(&t, USER_PASSWORD);
    assert_string_equal(ask(c, "status %s", id), "error: AUTH");
    text_close(c);
    close_server(&t);
}

static void refuses_garbage_on_the_control_port(void **state)
{
    static const struct exchange garbage[] = {
        { "nonsense", "error: unknown command*" },
        { "stats now", "error: wrong number of words*" },
        { "block", "error: wrong number of words*" },
        { "auth", "error: wrong number of words*" },
        { "auth two words", "error: wrong number of words*" },
        { "quit now", "error: wrong number of words*" },
        { "status not*base64", "error: this is not the id*" },
        { "status QUJD", "error: this is not the id*" },
        { "status AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "error: AUTH" },
        { "a b c d e f g h i j k l", "error: unknown command*" },
    };
    static char line[5000];
    struct server t;

    (void)state;
    open_server(&t);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_answers(c, garbage, SX_COUNT(garbage));
    text_send(c, "\n\r\n  \n\x01\xff\n"); /* empty lines are no commands */
    assert_starts(text_line(c), "error: unknown command");
    memset(line, 'x', sizeof(line) - 1);
    send(c->fd, line, sizeof(line) - 1, MSG_NOSIGNAL);
    assert_true(text_closed(c, 20000)); /* a line too long */
    text_close(c);
    c = control(&t, NULL);
    for (int i = 0; i < 50; i++) /* many lines at once: one answer after the other */
        text_send(c, "help\n");
    for (int i = 0; i < 50; i++)
        assert_starts(text_line(c), "commands: ");
    text_close(c);
    close_server(&t);
}

static void limits_the_sessions_of_the_control_port(void **state)
{
    struct server t;
    struct text_client *c[9];

    (void)state;
    open_server(&t);
    for (size_t i = 0; i < 8; i++)
        c[i] = control(&t, NULL);
    c[8] = text_open(simplex_server_control_port(t.s));
    assert_true(text_closed(c[8], 20000));
    for (size_t i = 0; i < SX_COUNT(c); i++)
        text_close(c[i]);
    close_server(&t);
}

static void changes_passwords_while_running(void **state)
{
    struct server t;

    (void)state;
    open_server(&t);
    t.cfg.control_admin = "new";
    t.cfg.control_user = NULL;
    assert_int_equal(simplex_server_reload(t.s, &t.cfg), SIMPLEX_OK);
    struct text_client *c = control(&t, NULL);
    assert_string_equal(ask(c, "auth %s", USER_PASSWORD), "Current role is CPRNone");
    assert_string_equal(ask(c, "auth %s", "new"), "Current role is CPRAdmin");
    text_close(c);
    close_server(&t);
}

static void says_which_port_is_taken(void **state)
{
    struct server t;
    simplex_server *second;
    char error[300] = "";

    (void)state;
    open_server(&t);
    simplex_server_config cfg = t.cfg;
    cfg.stats_dir = NULL;
    cfg.control_port = simplex_server_control_port(t.s);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &second), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(error, "127.0.0.1 port"));
    assert_non_null(strstr(error, "another program has this port"));
    close_server(&t);
}

/* Sessions that hang about, and clients in the middle of something, do not keep it from ending. */
static void stops_with_everything_open(void **state)
{
    struct server t;
    struct smp_peer p;

    (void)state;
    open_server(&t);
    open_peer(&t, &p);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    struct text_client *wrong = control(&t, NULL);
    struct text_client *h = text_open(simplex_server_metrics_port(t.s));
    text_send(wrong, "auth wrong\n");
    text_send(h, "GET /metrics");
    text_send(c, "clients\nclients\nclients\n");
    usleep(20000);
    close_server(&t);
    text_close(c);
    text_close(wrong);
    text_close(h);
    smp_peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_roles_for_passwords),
        cmocka_unit_test(lists_clients),
        cmocka_unit_test(tells_of_the_sockets_of_each_port),
        cmocka_unit_test(blocks_and_unblocks_a_queue),
        cmocka_unit_test(deletes_a_queue),
        cmocka_unit_test(blocks_with_a_notice),
        cmocka_unit_test(finds_a_queue_by_its_link),
        cmocka_unit_test(saves_messages_in_memory_when_told_to),
        cmocka_unit_test(blocks_for_good_when_the_state_is_kept),
        cmocka_unit_test(refuses_garbage_on_the_control_port),
        cmocka_unit_test(limits_the_sessions_of_the_control_port),
        cmocka_unit_test(changes_passwords_while_running),
        cmocka_unit_test(says_which_port_is_taken),
        cmocka_unit_test(stops_with_everything_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
