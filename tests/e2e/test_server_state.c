/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program smp-server keeps: over stops and kills, with messages on disk and in memory,
 * from the reference's files, on a disk that fills up, with damaged files. The agents' and the load
 * tests kill it at random moments; here each thing is looked at once.
 */
#define _GNU_SOURCE /* prlimit */
#include "support/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/agents.h"
#include "support/blocking_client.h"
#include "support/certs.h"

struct queue {
    struct sx_keypair rcv, dh, ntf;
    uint8_t rcv_id[24], snd_id[24], ntf_id[24];
    struct sx_pub srv_dh;
};

static struct server_process server;
static struct smp_peer peer;

static void connect_peer(void)
{
    struct smp_peer_cfg cfg = { .port = sx_server_port(&server.parsed),
                                .key_hash = server.parsed.key_hash };

    assert_int_equal(smp_peer_open(&peer, &cfg), SIMPLEX_OK);
}

static void run(void)
{
    server_process_run(&server);
    connect_peer();
}

static void restart(int signal_no)
{
    smp_peer_close(&peer);
    if (signal_no == SIGKILL)
        server_process_kill(&server);
    else
        server_process_stop(&server, signal_no);
    run();
}

static int set_up(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    tmp_make(server.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tmp_remove(server.dir);
    return 0;
}

static void finish(void)
{
    smp_peer_close(&peer);
    server_process_stop(&server, SIGTERM);
}

static const char *state_file(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/state/%s", server.dir, name);
    return path;
}

/* ---- commands ---- */

static const struct sx_rsp *cmd(const struct sx_keypair *key, const uint8_t *id,
                                const struct sx_cmd *c)
{
    const struct sx_rsp *r = smp_peer_cmd(&peer, key, sx_bytes(id, id == NULL ? 0 : 24), c);

    assert_non_null(r);
    return r;
}

static const struct sx_rsp *create(struct queue *q)
{
    struct sx_cmd c = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    c.new_.auth = q->rcv.pub;
    c.new_.dh = q->dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    return cmd(&q->rcv, NULL, &c);
}

static void make_queue(struct queue *q)
{
    const struct sx_rsp *r = create(q);

    assert_int_equal(r->tag, SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    q->srv_dh = r->ids.srv_dh;
}

static const struct sx_rsp *say(struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text), .notify = true } };

    return cmd(NULL, q->snd_id, &c);
}

static void assert_ok(const struct sx_rsp *r)
{
    if (r->tag == SX_R_ERR)
        fail_msg("error %d instead of OK", r->err.err);
    assert_int_equal(r->tag, SX_R_OK);
}

static void assert_err(const struct sx_rsp *r, enum sx_err err)
{
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, err);
}

static const struct sx_rsp *get(struct queue *q)
{
    struct sx_cmd c = { .tag = SX_GET };

    return cmd(&q->rcv, q->rcv_id, &c);
}

/* The next message has this text; it is acknowledged. */
static void takes(struct queue *q, const char *text)
{
    const struct sx_rsp *r = get(q);
    struct sx_cmd c = { .tag = SX_ACK };
    struct sx_rcv_msg m;

    assert_int_equal(r->tag, SX_R_MSG);
    assert_int_equal(smp_open_msg(r, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str(text), "message");
    c.ack.msg_id = r->msg.msg_id;
    assert_ok(cmd(&q->rcv, q->rcv_id, &c));
}

/* ---- stops and kills ---- */

static void all_is_there_after(int signal_no)
{
    struct sx_cmd nkey = { .tag = SX_NKEY }, off = { .tag = SX_OFF }, del = { .tag = SX_DEL };
    struct sx_cmd nsub = { .tag = SX_NSUB };
    struct queue q, suspended, deleted;

    run();
    make_queue(&q);
    make_queue(&suspended);
    make_queue(&deleted);
    assert_int_equal(sx_keypair_new(SX_ED25519, &q.ntf), SIMPLEX_OK);
    nkey.nkey.auth = q.ntf.pub;
    nkey.nkey.dh = q.dh.pub;
    const struct sx_rsp *r = cmd(&q.rcv, q.rcv_id, &nkey);
    assert_int_equal(r->tag, SX_R_NID);
    memcpy(q.ntf_id, r->nid.ntf_id.ptr, 24);
    assert_ok(say(&q, "one"));
    assert_ok(say(&q, "two"));
    assert_ok(say(&q, "three"));
    takes(&q, "one");
    assert_ok(say(&suspended, "before"));
    assert_ok(cmd(&suspended.rcv, suspended.rcv_id, &off));
    assert_ok(say(&deleted, "gone with its queue"));
    assert_ok(cmd(&deleted.rcv, deleted.rcv_id, &del));
    for (int i = 0; i < 2; i++) { /* the second start reads what the first has written anew */
        restart(signal_no);
        assert_err(get(&deleted), SX_ERR_AUTH);
        assert_err(say(&suspended, "after"), SX_ERR_AUTH);
    }
    takes(&suspended, "before");
    takes(&q, "two");
    takes(&q, "three");
    assert_ok(get(&q));
    assert_int_equal(cmd(&q.ntf, q.ntf_id, &nsub)->tag, SX_R_SOK);
    finish();
}

static void all_is_there_after_a_stop(void **state)
{
    (void)state;
    all_is_there_after(SIGTERM);
}

static void all_is_there_after_a_kill(void **state)
{
    (void)state;
    all_is_there_after(SIGKILL);
}

static void with_messages_in_memory_a_stop_saves_them(void **state)
{
    struct queue q;

    (void)state;
    server.option[0] = "--messages-in-memory";
    all_is_there_after(SIGTERM);
    all_is_there_after(SIGINT);

    run(); /* a kill loses them, not the queue */
    make_queue(&q);
    assert_ok(say(&q, "lost"));
    restart(SIGKILL);
    assert_ok(get(&q));
    assert_ok(say(&q, "kept"));
    restart(SIGTERM);
    takes(&q, "kept");
    finish();
}

/* The stop of a server that cannot save them must be seen by whoever looks at it. */
static void a_failed_save_is_an_exit_status_and_leaves_older_files(void **state)
{
    struct queue q;
    int status;

    (void)state;
    server.option[0] = "--messages-in-memory";
    run();
    make_queue(&q);
    assert_ok(say(&q, "older"));
    restart(SIGTERM);
    assert_ok(say(&q, "newer"));
    struct stat before, after;
    assert_int_equal(stat(state_file("smp-server-messages.log.bak"), &before), 0);
    assert_int_equal(mkdir(state_file("smp-server-messages.log.tmp"), 0700), 0); /* in the way */
    smp_peer_close(&peer);
    assert_int_equal(kill(server.pid, SIGTERM), 0);
    assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(stat(state_file("smp-server-messages.log.bak"), &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(rmdir(state_file("smp-server-messages.log.tmp")), 0);
    run(); /* the queues are there, in the store log */
    assert_ok(say(&q, "newest"));
    finish();
}

static void messages_move_from_memory_to_disk_and_back(void **state)
{
    struct queue q;

    (void)state;
    server.option[0] = "--messages-in-memory";
    run();
    make_queue(&q);
    assert_ok(say(&q, "one"));
    assert_ok(say(&q, "two"));
    smp_peer_close(&peer);
    server_process_stop(&server, SIGTERM);
    assert_int_equal(access(state_file("smp-server-messages.log"), F_OK), 0);
    server.option[0] = NULL; /* taken over into the journal, also when it is killed next */
    run();
    assert_int_equal(access(state_file("smp-server-messages.log.bak"), F_OK), 0);
    restart(SIGKILL);
    takes(&q, "one");
    assert_ok(say(&q, "three"));
    smp_peer_close(&peer);
    server_process_stop(&server, SIGTERM);
    server.option[0] = "--messages-in-memory";
    run();
    takes(&q, "two");
    restart(SIGTERM);
    takes(&q, "three");
    assert_ok(get(&q));
    finish();
}

/* ---- services ---- */

static void hello_of(const struct test_certs *certs, uint8_t id[24])
{
    struct sx_service_cert cert = { .role = 'M', .chain = certs->chain, .leaf = certs->leaf };
    struct smp_peer_cfg cfg = { .port = sx_server_port(&server.parsed),
                                .key_hash = server.parsed.key_hash,
                                .cert_pem = sx_wr_bytes(&certs->chain_pem),
                                .cert_key_pem = sx_wr_bytes(&certs->key_pem),
                                .service = &cert };
    struct smp_peer p;

    assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_OK);
    assert_int_equal(p.session.service.role, 'M');
    memcpy(id, p.session.service.id, 24);
    smp_peer_close(&p);
}

static void the_id_told_to_a_new_service_outlives_a_kill(void **state)
{
    struct test_certs certs;
    uint8_t first[24], again[24];

    (void)state;
    test_certs_make(SX_ED25519, 2, &certs);
    run();
    hello_of(&certs, first);
    restart(SIGKILL);
    hello_of(&certs, again);
    assert_memory_equal(first, again, 24);
    test_certs_free(&certs);
    finish();
}

/* ---- a disk that refuses ---- */

/* Files of the server cannot be written beyond this. */
static void limit_files(rlim_t max)
{
    struct rlimit r = { max, RLIM_INFINITY };

    assert_int_equal(prlimit(server.pid, RLIMIT_FSIZE, &r, NULL), 0);
}

/* SX_R_OK, SX_R_ERR with INTERNAL; or 0: the server closed the connection, nobody knows. */
static int try_say(struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text) } };
    const struct sx_rsp *r = smp_peer_cmd(&peer, NULL, sx_bytes(q->snd_id, 24), &c);

    if (r == NULL) {
        assert_true(peer.closed);
        smp_peer_close(&peer);
        connect_peer();
        return 0;
    }
    if (r->tag == SX_R_ERR)
        assert_int_equal(r->err.err, SX_ERR_INTERNAL);
    return (int)r->tag;
}

static void a_disk_that_refuses_fails_commands_and_loses_nothing(void **state)
{
    struct sx_cmd info = { .tag = SX_QUE };
    struct queue q, other;
    char text[16];
    int n = 0, answer = SX_R_OK;

    (void)state;
    run();
    make_queue(&q);
    assert_ok(say(&q, "0"));
    limit_files(1);
    for (int i = 0; i < 100 && answer != SX_R_ERR; i++) {
        answer = try_say(&q, "refused");
        assert_int_not_equal(answer, SX_R_OK);
    }
    assert_int_equal(answer, SX_R_ERR);
    assert_err(create(&other), SX_ERR_INTERNAL);
    assert_int_equal(cmd(&q.rcv, q.rcv_id, &info)->tag, SX_R_INFO); /* what changes nothing works */
    limit_files(RLIM_INFINITY);
    for (int i = 0; i < 300 && answer != SX_R_OK; i++) { /* recovers by itself */
        usleep(100000);
        answer = try_say(&q, "1");
    }
    assert_int_equal(answer, SX_R_OK);
    make_queue(&other);
    restart(SIGKILL);
    takes(&q, "0");
    const struct sx_rsp *r;
    while ((r = get(&q))->tag == SX_R_MSG) { /* the refused one may have been taken; 1 was */
        struct sx_cmd c = { .tag = SX_ACK };
        struct sx_rcv_msg m;
        assert_int_equal(smp_open_msg(r, &q.dh, &q.srv_dh, &m), SIMPLEX_OK);
        (void)snprintf(text, sizeof(text), "%.*s", (int)m.body.len, (const char *)m.body.ptr);
        n += strcmp(text, "1") == 0;
        assert_true(strcmp(text, "1") == 0 || strcmp(text, "refused") == 0);
        c.ack.msg_id = r->msg.msg_id;
        assert_ok(cmd(&q.rcv, q.rcv_id, &c));
    }
    assert_int_equal(n, 1);
    assert_ok(get(&other));
    finish();
}

/* Less than a segment of the journal; not less than what a sanitizer writes when it starts. */
#define FULL (8u << 20)

static void limit_own_files(rlim_t max)
{
    struct rlimit r = { max, RLIM_INFINITY };

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void a_start_on_a_full_disk_delivers_and_recovers(void **state)
{
    struct queue q;
    int answer = SX_R_ERR;

    (void)state;
    run();
    make_queue(&q);
    assert_ok(say(&q, "0"));
    limit_own_files(FULL); /* the server inherits it */
    restart(SIGKILL);
    limit_own_files(RLIM_INFINITY);
    struct sx_rcv_msg m;
    const struct sx_rsp *r = get(&q);
    assert_int_equal(r->tag, SX_R_MSG);
    assert_int_equal(smp_open_msg(r, &q.dh, &q.srv_dh, &m), SIMPLEX_OK);
    assert_true(sx_bytes_eq(m.body, sx_str("0")));
    assert_int_not_equal(try_say(&q, "refused"), SX_R_OK);
    limit_files(RLIM_INFINITY);
    for (int i = 0; i < 300 && answer != SX_R_OK; i++) {
        usleep(100000);
        answer = try_say(&q, "1");
    }
    assert_int_equal(answer, SX_R_OK);
    restart(SIGKILL);
    takes(&q, "0");
    finish();
}

/* ---- files that are not as they should be ---- */

/* The program with the state of the test: its exit status, and what it wrote to stderr. */
static int start_fails(char *text, size_t size)
{
    char command[1200];

    (void)snprintf(command, sizeof(command),
                   "exec '%s' start --port 0 --dir '%s' --state '%s/state' 2>&1 >/dev/null "
                   "</dev/null",
                   SMP_SERVER, server.dir, server.dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = 0;
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void append_to(const char *name, const char *text)
{
    FILE *f = fopen(state_file(name), "a");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void a_second_server_on_the_same_state_is_refused(void **state)
{
    char text[600];
    struct queue q;

    (void)state;
    run();
    make_queue(&q);
    assert_int_equal(start_fails(text, sizeof(text)), 1);
    assert_non_null(strstr(text, "smp-server-store.log"));
    assert_ok(say(&q, "still here"));
    restart(SIGKILL); /* the lock goes with the process */
    takes(&q, "still here");
    finish();
}

static void a_torn_last_line_is_repaired_and_damage_elsewhere_stops_the_start(void **state)
{
    char text[600];
    struct queue q;

    (void)state;
    run();
    make_queue(&q);
    assert_ok(say(&q, "kept"));
    smp_peer_close(&peer);
    server_process_kill(&server);
    append_to("smp-server-store.log", "SECURE AAEC");
    run();
    restart(SIGTERM);
    smp_peer_close(&peer);
    server_process_stop(&server, SIGTERM);

    append_to("smp-server-store.log", "WHAT IS THIS\n");
    FILE *f = fopen(state_file("smp-server-store.log"), "a");
    assert_non_null(f);
    for (int i = 0; i < 20000; i++) /* lines that are records: the last use of nothing known */
        assert_true(fputs("TIME AAECAwQFBgcICQoLDA0ODxAREhMUFRYX 1700006400\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(start_fails(text, sizeof(text)), 1);
    assert_non_null(strstr(text, "smp-server-store.log"));
    assert_non_null(strstr(text, "2"));
    server.option[0] = "--skip-warnings";
    run();
    takes(&q, "kept");
    finish();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(all_is_there_after_a_stop),
        T(all_is_there_after_a_kill),
        T(with_messages_in_memory_a_stop_saves_them),
        T(a_failed_save_is_an_exit_status_and_leaves_older_files),
        T(messages_move_from_memory_to_disk_and_back),
        T(the_id_told_to_a_new_service_outlives_a_kill),
        T(a_disk_that_refuses_fails_commands_and_loses_nothing),
        T(a_start_on_a_full_disk_delivers_and_recovers),
        T(a_second_server_on_the_same_state_is_refused),
        T(a_torn_last_line_is_repaired_and_damage_elsewhere_stops_the_start),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
