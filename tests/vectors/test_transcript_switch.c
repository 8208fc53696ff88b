/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded rotation of a queue, step by step against the state machines of both sides: what
 * they write in answer to the recorded messages is what the reference wrote, byte by byte, except
 * for the keys that are made anew.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "agent/handshake.h"
#include "agent/switch.h"
#include "agent/work.h"
#include "support/agents.h"
#include "support/transcript.h"

enum { QADD = 4, QKEY = 5, QUSE = 6, QTEST = 7 }; /* of ratchet_messages */

static struct {
    struct transcript t;
    char dir[256], path[300];
    struct simplex_agent *a;
    struct sx_conn c;
} p;

static simplex_bytes plain_of(int n)
{
    const cJSON *m = cJSON_GetArrayItem(vec_get(p.t.json, "ratchet_messages"), n);

    return vec_hex(m, "plain");
}

static struct sx_agent_msg message(int n)
{
    struct sx_agent_msg m;

    must(sx_agent_msg_decode(plain_of(n), &m));
    return m;
}

static struct sx_qadd recorded_qadd(void)
{
    struct sx_agent_msg m = message(QADD);
    struct sx_rd r = sx_rd_init(m.list.items);
    struct sx_qadd x;

    sx_qadd_next(&r, &x);
    assert_true(sx_rd_done(&r));
    return x;
}

static void sends_after(int n, int64_t snd_id)
{
    p.c.last_snd_id = snd_id;
    p.c.has_snd_hash = true;
    sx_sha256(plain_of(n), p.c.last_snd_hash);
    must(sx_store_conn_update(p.a->store, &p.c));
}

/* A connection that can send; its ratchet is of no interest here. */
static int open_agent(void **state)
{
    static const char *servers[] = {
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.0.1:1"
    };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = p.path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .servers = servers,
                                 .n_servers = 1 };
    struct sx_x3dh_keys theirs, ours;
    struct sx_e2e_params params, own;
    struct sx_ratchet r;

    (void)state;
    must(sx_crypto_init());
    tr_open(&p.t, "transcript-switch.json");
    tmp_make(p.dir);
    (void)snprintf(p.path, sizeof p.path, "%s/agent.db", p.dir);
    must(sx_agent_prepare(&cfg, &p.a));
    p.c = (struct sx_conn){ .role = SX_INITIATOR,
                            .state = SX_CONN_READY,
                            .agent_version = 7,
                            .last_id = 3,
                            .created_at = 1 };
    must(sx_store_conn_add(p.a->store, &p.c));
    memset(&r, 0, sizeof r);
    must(sx_x3dh_keys_new(false, &theirs));
    sx_x3dh_params(&theirs, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX }, &params);
    must(sx_ratchet_init_send(&r, &params, SX_E2E_MAX, false, &ours, &own, NULL));
    must(sx_store_ratchet_put(p.a->store, p.c.id, &r, NULL));
    sx_ratchet_wipe(&r);
    return 0;
}

static int close_agent(void **state)
{
    (void)state;
    must(simplex_agent_close(p.a));
    tmp_remove(p.dir);
    tr_close(&p.t);
    vec_free_all();
    return 0;
}

static struct sx_snd_queue add_snd(const struct sx_queue_ref *at)
{
    struct sx_snd_queue q = { .conn_id = p.c.id,
                              .server = at->server,
                              .snd_id = at->snd_id,
                              .mode = SX_MODE_MESSAGING,
                              .client_version = 4,
                              .status = SX_Q_ACTIVE,
                              .primary = true };

    must(sx_keypair_new(SX_ED25519, &q.auth));
    q.e2e_pub = recorded_qadd().queue.dh;
    must(sx_store_sndq_add(p.a->store, &q));
    return q;
}

static simplex_bytes written(int64_t queue)
{
    struct sx_snd_msg m;
    int64_t after = 0;

    while (sx_store_delivery_next(p.a->store, queue, after, &m) == SIMPLEX_OK)
        after = m.id;
    assert_true(after > 0);
    must(sx_store_delivery_next(p.a->store, queue, after - 1, &m));
    return m.plain;
}

static struct sx_rcv_queue add_rcv(const struct sx_server *server, const struct sx_id *snd_id,
                                   uint8_t first, int64_t replaces)
{
    struct sx_rcv_queue q = { .conn_id = p.c.id,
                              .server = *server,
                              .snd_id = *snd_id,
                              .rcv_id = { 1, { first } },
                              .mode = SX_MODE_MESSAGING,
                              .client_version = 4,
                              .status = SX_Q_NEW,
                              .primary = replaces == 0,
                              .replaces = replaces };

    must(sx_rcv_queue_keys(&q));
    must(sx_keypair_new(SX_X25519, &q.e2e));
    must(sx_store_rcvq_add(p.a->store, &q));
    return q;
}

static void the_receiver_writes_what_the_reference_wrote(void **state)
{
    struct sx_qadd x = recorded_qadd();
    struct sx_queue_ref peer = { x.queue.server, { 3, "abc" } };
    struct sx_rcv_queue old, q, got;
    struct sx_agent_msg m;
    struct sx_command cmd;

    (void)state;
    int64_t to = add_snd(&peer).id;
    old = add_rcv(&x.replaced.server, &x.replaced.snd_id, 1, 0);
    q = add_rcv(&x.queue.server, &x.queue.snd_id, 2, old.id);
    struct sx_wr spki;
    sx_wr_fixed(&spki, vec_keep(128), 128);
    sx_spki_encode(&x.queue.dh, &spki);
    const struct sx_keypair *e2e = tr_key(&p.t, sx_wr_bytes(&spki));
    assert_non_null(e2e);
    q.e2e = *e2e;
    must(sx_store_rcvq_update(p.a->store, &q));
    sends_after(2, 2);
    must(sx_switch_created(p.a, &p.c, &q));
    vec_assert_eq(written(to), plain_of(QADD), "QADD");

    must(sx_store_rcvq_get(p.a->store, old.id, &old));
    m = message(QKEY);
    must(sx_on_qkey(p.a, &p.c, &old, &m));
    must(sx_store_rcvq_get(p.a->store, q.id, &q));
    assert_int_equal(q.status, SX_Q_CONFIRMED);
    must(sx_store_command_next(p.a->store, p.c.id, 0, &cmd));
    assert_int_equal(cmd.tag, SX_C_KEY);
    const cJSON *b, *box = NULL; /* what the sender put into the new queue opens with its secret */
    vec_each(b, vec_get(p.t.json, "bodies")) if (strcmp(vec_text(b, "id"), "b14") == 0) box =
        vec_get(b, "box");
    vec_assert_eq(sx_bytes(q.e2e_secret, 32), vec_hex(box, "key"), "secret");

    must(sx_switch_secured(p.a, &p.c, &q));
    vec_assert_eq(written(to), plain_of(QUSE), "QUSE");
    must(sx_switch_used(p.a, &q));
    must(sx_store_rcvq_of(p.a->store, p.c.id, 0, &got));
    assert_int_equal(got.id, q.id);
    must(sx_store_rcvq_get(p.a->store, old.id, &old));
    assert_int_equal(old.switch_state, SX_SW_RECEIVED);
    must(sx_drain_done(p.a, old.id));
    must(sx_switch_deleted(p.a, &old, SIMPLEX_OK, NULL));
    assert_int_equal(sx_store_rcvq_of(p.a->store, p.c.id, 1, &got), SIMPLEX_E_NOT_FOUND);
}

static void the_sender_writes_what_the_reference_wrote(void **state)
{
    struct sx_qadd x = recorded_qadd();
    struct sx_snd_queue old = add_snd(&x.replaced), q;
    struct sx_agent_msg m = message(QADD), got, want = message(QKEY);
    struct sx_qkey own, recorded;

    (void)state;
    sends_after(3, 2);
    must(sx_on_qadd(p.a, &p.c, &m));
    must(sx_agent_msg_decode(written(old.id), &got));
    assert_int_equal(got.snd_msg_id, want.snd_msg_id);
    vec_assert_eq(got.prev_hash, want.prev_hash, "hash");
    assert_int_equal(got.list.count, want.list.count);
    assert_int_equal(got.list.items.len, want.list.items.len);
    struct sx_rd r = sx_rd_init(got.list.items), w = sx_rd_init(want.list.items);
    sx_qkey_next(&r, &own);
    sx_qkey_next(&w, &recorded);
    assert_true(sx_rd_done(&r) && sx_rd_done(&w));
    own.queue.dh = recorded.queue.dh; /* made anew */
    own.key = recorded.key;
    assert_memory_equal(&own, &recorded, sizeof own);

    must(sx_find_snd_queue(p.a, p.c.id, &(struct sx_queue_ref){ x.queue.server, x.queue.snd_id },
                           &q));
    assert_int_equal(q.status, SX_Q_NEW);
    sends_after(QKEY, 3);
    m = message(QUSE);
    must(sx_on_quse(p.a, &p.c, &m));
    vec_assert_eq(written(q.id), plain_of(QTEST), "QTEST");
    must(sx_store_sndq_get(p.a->store, q.id, &q));
    must(sx_switch_sent(p.a, &q, SX_M_QTEST));
    assert_int_equal(sx_store_sndq_get(p.a->store, old.id, &old), SIMPLEX_E_NOT_FOUND);
    must(sx_store_sndq_of(p.a->store, p.c.id, 0, &q));
    assert_true(q.primary);
    assert_int_equal(q.replaces, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_receiver_writes_what_the_reference_wrote, open_agent,
                                        close_agent),
        cmocka_unit_test_setup_teardown(the_sender_writes_what_the_reference_wrote, open_agent,
                                        close_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
