/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference's tests of what outlives a restart and of what expires (protocol/smp.md section
 * 11): testWithStoreLog, testBlockMessageQueue, testRestoreMessages, testRestoreExpireMessages,
 * testMsgExpireOnInterval, testMsgNOTExpireOnInterval; with messages on disk and in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ops_stage.h"

static void open_keeper(struct server *t, bool in_memory)
{
    make_server(t);
    t->cfg.quota = 4;
    t->cfg.state_dir = t->cfg.stats_dir = t->dir;
    t->cfg.messages_in_memory = in_memory;
    start(t);
}

static size_t messages(const struct server *t)
{
    return server_counters(t->s).messages;
}

/* The file whole, NUL-terminated; freed by the caller. */
static char *read_file(const struct server *t, const char *name)
{
    char path[200];
    char *text = calloc(1, 1 << 20);

    assert_non_null(text);
    snprintf(path, sizeof(path), "%s/%s", t->dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    assert_true(n < (1 << 20) - 1);
    assert_int_equal(fclose(f), 0);
    return text;
}

static unsigned count_lines(const struct server *t, const char *name)
{
    char *text = read_file(t, name);
    unsigned n = 0;

    for (const char *p = text; *p != 0; p++)
        n += *p == '\n';
    free(text);
    return n;
}

/* ---- commands: each over a connection of its own, so that none of them waits for another ---- */

static struct smp_peer peer;

static const struct sx_rsp *cmd(const struct sx_keypair *key, const uint8_t *id,
                                const struct sx_cmd *c)
{
    const struct sx_rsp *r = smp_peer_cmd(&peer, key, sx_bytes(id, id == NULL ? 0 : 24), c);

    assert_non_null(r);
    return r;
}

static void start_with_peer(struct server *t)
{
    start(t);
    open_peer(t, &peer);
}

static void stop_with_peer(struct server *t)
{
    smp_peer_close(&peer);
    simplex_server_stop(t->s);
}

static void restart_with_peer(struct server *t)
{
    stop_with_peer(t);
    start_with_peer(t);
}

static void close_with_peer(struct server *t)
{
    smp_peer_close(&peer);
    close_server(t);
}

static void make_queue(struct queue *q)
{
    struct sx_cmd c = { .tag = SX_SKEY };

    (void)new_queue(&peer, q, SX_ED25519, false);
    c.key.key = q->snd.pub;
    assert_int_equal(cmd(&q->snd, q->snd_id, &c)->tag, SX_R_OK);
}

/* A server with a queue. */
static void open_with_queue(struct server *t, bool in_memory, struct queue *q)
{
    open_keeper(t, in_memory);
    open_peer(t, &peer);
    make_queue(q);
}

static const struct sx_rsp *say(const struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text), .notify = true } };

    return cmd(&q->snd, q->snd_id, &c);
}

static void said(const struct queue *q, const char *text)
{
    assert_int_equal(say(q, text)->tag, SX_R_OK);
}

static void full(const struct queue *q)
{
    const struct sx_rsp *r = say(q, "too many");

    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, SX_ERR_QUOTA);
}

/* text NULL: the quota marker. Its id: until the peer is closed. */
static simplex_bytes assert_msg(const struct queue *q, const struct sx_rsp *r, const char *text)
{
    struct sx_rcv_msg m;

    assert_int_equal(r->tag, SX_R_MSG);
    simplex_bytes id = r->msg.msg_id;
    assert_int_equal(smp_open_msg(r, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    assert_int_equal(m.quota, text == NULL);
    if (text != NULL)
        vec_assert_eq(m.body, sx_str(text), "message");
    return id;
}

/* SUB: the message that waits. */
static simplex_bytes subscribed_with(const struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SUB };

    assert_int_equal(cmd(&q->rcv, q->rcv_id, &c)->tag, SX_R_SOK);
    const struct smp_item *event = smp_peer_event(&peer, 20000);
    assert_non_null(event);
    return assert_msg(q, &event->rsp, text);
}

static const struct sx_rsp *ack(const struct queue *q, simplex_bytes id)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = id } };

    return cmd(&q->rcv, q->rcv_id, &c);
}

/* ---- testWithStoreLog ---- */

static void the_log_has_six_lines_and_then_one(void **state)
{
    struct sx_cmd del = { .tag = SX_DEL }, nsub = { .tag = SX_NSUB };
    struct server t;
    struct queue q, gone;

    (void)state;
    open_with_queue(&t, true, &q);
    make_notifier(&peer, &q);
    make_queue(&gone);
    said(&q, "hello");
    said(&gone, "hello");
    assert_int_equal(cmd(&gone.rcv, gone.rcv_id, &del)->tag, SX_R_OK);
    stop_with_peer(&t);
    assert_int_equal(count_lines(&t, "smp-server-store.log"), 6);

    t.cfg.state_dir = NULL; /* without it nothing is known */
    start_with_peer(&t);
    assert_int_equal(say(&q, "nobody")->err.err, SX_ERR_AUTH);
    stop_with_peer(&t);

    t.cfg.state_dir = t.dir;
    start_with_peer(&t);
    assert_int_equal(cmd(&q.ntf, q.ntf_id, &nsub)->tag, SX_R_SOK);
    said(&q, "again");
    simplex_bytes id = subscribed_with(&q, "hello");
    assert_msg(&q, ack(&q, id), "again");
    assert_int_equal(say(&gone, "nobody")->err.err, SX_ERR_AUTH);
    stop_with_peer(&t);
    assert_int_equal(count_lines(&t, "smp-server-store.log"), 1);
    start(&t);
    close_server(&t);
}

/* ---- testBlockMessageQueue: the line is the operator's ---- */

static void a_line_in_the_log_blocks_a_queue(void **state)
{
    struct sx_cmd skey = { .tag = SX_SKEY };
    struct server t;
    struct queue q;
    char path[200], id[40] = "";
    struct sx_wr w;

    (void)state;
    open_with_queue(&t, false, &q);
    stop_with_peer(&t);
    sx_wr_fixed(&w, id, sizeof(id) - 1);
    sx_b64url_encode(&w, sx_bytes(q.rcv_id, 24));
    snprintf(path, sizeof(path), "%s/smp-server-store.log", t.dir);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    assert_true(fprintf(f, "BLOCK %s reason=content\n", id) > 0);
    assert_int_equal(fclose(f), 0);
    for (int i = 0; i < 2; i++) { /* also when it was compacted */
        start_with_peer(&t);
        skey.key.key = q.snd.pub;
        const struct sx_rsp *r = cmd(&q.snd, q.snd_id, &skey);
        assert_int_equal(r->tag, SX_R_ERR);
        assert_int_equal(r->err.err, SX_ERR_BLOCKED);
        assert_int_equal(r->err.blocked, SX_BLOCKED_CONTENT);
        stop_with_peer(&t);
    }
    start(&t);
    close_server(&t);
}

/* ---- testRestoreMessages ---- */

static void messages_and_the_marker_are_restored(bool in_memory)
{
    struct server t;
    struct queue q;

    open_with_queue(&t, in_memory, &q);
    said(&q, "message 1");
    subscribed_with(&q, "message 1");
    said(&q, "message 2");
    said(&q, "message 3");
    said(&q, "message 4");
    full(&q);
    stop_with_peer(&t);
    assert_int_equal(count_lines(&t, "smp-server-stats.log"), 101);
    if (in_memory)
        assert_int_equal(count_lines(&t, "smp-server-messages.log"), 5);
    start_with_peer(&t);
    full(&q);                                            /* still */
    simplex_bytes id = subscribed_with(&q, "message 1"); /* was not acknowledged */
    assert_msg(&q, ack(&q, id), "message 2");
    restart_with_peer(&t);
    id = subscribed_with(&q, "message 2");
    id = assert_msg(&q, ack(&q, id), "message 3");
    id = assert_msg(&q, ack(&q, id), "message 4");
    full(&q);
    assert_msg(&q, ack(&q, id), NULL);
    restart_with_peer(&t);
    full(&q);
    id = subscribed_with(&q, NULL);
    assert_int_equal(ack(&q, id)->tag, SX_R_OK);
    restart_with_peer(&t);
    said(&q, "message 5");
    subscribed_with(&q, "message 5");
    close_with_peer(&t);
}

static void messages_and_the_marker_are_restored_from_disk(void **state)
{
    (void)state;
    messages_and_the_marker_are_restored(false);
}

static void messages_and_the_marker_are_restored_from_the_file(void **state)
{
    (void)state;
    messages_and_the_marker_are_restored(true);
}

/* ---- testRestoreExpireMessages ---- */

static void assert_stat(const struct server *t, const char *line)
{
    char *text = read_file(t, "smp-server-stats.log");

    assert_non_null(strstr(text, line));
    free(text);
}

#define OLDER_S 8 /* the first two messages, by so much; files have whole seconds */

/* Between the ages of the two pairs, however slow this machine is. */
static void start_between(struct server *t, int64_t young_since)
{
    t->cfg.message_ttl_ms = sx_now_ms() - young_since + OLDER_S * 1000 / 2;
    start(t);
}

static void assert_kept_with_a_day(struct server *t, bool in_memory)
{
    char *before = NULL, *after = NULL;

    t->cfg.message_ttl_ms = 86400000;
    if (in_memory)
        before = read_file(t, "smp-server-messages.log");
    start(t);
    assert_int_equal(messages(t), 4);
    simplex_server_stop(t->s);
    assert_stat(t, "\nmsgExpired=0\n");
    if (in_memory) {
        after = read_file(t, "smp-server-messages.log");
        assert_string_equal(after, before);
    }
    free(before);
    free(after);
}

static void old_messages_expire_at_the_start(bool in_memory)
{
    const struct timespec older = { OLDER_S, 0 };
    struct server t;
    struct queue q;

    open_with_queue(&t, in_memory, &q);
    said(&q, "message 1");
    said(&q, "message 2");
    nanosleep(&older, NULL);
    int64_t young_since = sx_now_ms();
    said(&q, "message 3");
    said(&q, "message 4");
    stop_with_peer(&t);
    assert_kept_with_a_day(&t, in_memory);
    t.cfg.expire_on_start = false;
    start_between(&t, young_since);
    assert_int_equal(messages(&t), 4);
    simplex_server_stop(t.s);
    t.cfg.expire_on_start = true;
    start_between(&t, young_since);
    assert_int_equal(messages(&t), 2);
    simplex_server_stop(t.s);
    if (in_memory)
        assert_int_equal(count_lines(&t, "smp-server-messages.log"), 2);
    assert_stat(&t, "\nmsgExpired=2\n");
    start_between(&t, young_since);
    assert_int_equal(messages(&t), 2);
    open_peer(&t, &peer);
    subscribed_with(&q, "message 3");
    close_with_peer(&t);
}

static void old_messages_on_disk_expire_at_the_start(void **state)
{
    (void)state;
    old_messages_expire_at_the_start(false);
}

static void old_messages_in_the_file_expire_at_the_start(void **state)
{
    (void)state;
    old_messages_expire_at_the_start(true);
}

/* ---- testMsgExpireOnInterval, testMsgNOTExpireOnInterval ---- */

#define QUEUES \
    40 /* in many shards: the pass over all of them is whole, however short the interval */

static void messages_expire_by_timer(void **state)
{
    static struct queue q[QUEUES];
    const struct timespec age = { 0, 20000000 };
    struct server t;

    (void)state;
    open_keeper(&t, true);
    simplex_server_stop(t.s);
    t.cfg.expire_on_send = false;
    t.cfg.message_ttl_ms = 1;
    t.cfg.expire_interval_ms = 600000;
    start_with_peer(&t);
    for (int i = 0; i < QUEUES; i++) {
        make_queue(&q[i]);
        said(&q[i], "old");
    }
    nanosleep(&age, NULL);
    said(&q[0], "another"); /* not at SEND, and not before the time */
    assert_int_equal(messages(&t), QUEUES + 1);
    stop_with_peer(&t);
    t.cfg.expire_on_start = false;
    t.cfg.expire_interval_ms = 500;
    start(&t);
    for (int i = 0; i < 1500 && messages(&t) > 0; i++)
        nanosleep(&age, NULL);
    assert_int_equal(messages(&t), 0);
    close_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_has_six_lines_and_then_one),
        cmocka_unit_test(a_line_in_the_log_blocks_a_queue),
        cmocka_unit_test(messages_and_the_marker_are_restored_from_disk),
        cmocka_unit_test(messages_and_the_marker_are_restored_from_the_file),
        cmocka_unit_test(old_messages_on_disk_expire_at_the_start),
        cmocka_unit_test(old_messages_in_the_file_expire_at_the_start),
        cmocka_unit_test(messages_expire_by_timer),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
