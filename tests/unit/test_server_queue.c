/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, securing, changing and deleting queues (protocol/smp.md sections 6.3 and 11). */
#include "support/server_mem.h"

static struct sx_cmd key_cmd(enum sx_cmd_tag tag, const struct sx_pub *key)
{
    struct sx_cmd c = { .tag = tag };

    c.key.key = *key;
    return c;
}

/* testCreateSecure, for recipient and sender keys of one kind */
static void create_and_secure(enum sx_alg alg)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_keypair other;

    mem_open_two(&t, NULL);
    mem_keys(&q, alg);
    assert_int_equal(sx_keypair_new(alg, &other), SIMPLEX_OK);
    struct sx_cmd new = mem_new_cmd(&q, SX_MODE_NONE, true);
    const struct sx_rsp *r = mem_cmd(&t.a, &q.rcv, sx_bytes(NULL, 0), &new);
    mem_assert_tag(r, SX_R_IDS);
    memcpy(q.rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q.snd_id, r->ids.snd_id.ptr, 24);
    q.srv_dh = r->ids.srv_dh;

    mem_assert_tag(mem_send(&t.b, &q, false, "hello"), SX_R_OK);
    simplex_bytes id = mem_assert_msg(&q, mem_event(&t.a), "hello");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    mem_assert_err(mem_ack(&t.a, &q, id), SX_ERR_NO_MSG);
    mem_assert_err(mem_send(&t.b, &q, true, "signed too early"), SX_ERR_AUTH);

    struct sx_cmd key = key_cmd(SX_KEY, &q.snd.pub), second = key_cmd(SX_KEY, &other.pub);
    mem_assert_err(mem_cmd(&t.a, &other, mem_rcv_id(&q), &key), SX_ERR_AUTH);
    mem_assert_err(mem_cmd(&t.a, &q.rcv, mem_snd_id(&q), &key), SX_ERR_AUTH);
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &key), SX_R_OK);
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &key), SX_R_OK);
    mem_assert_err(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &second), SX_ERR_AUTH);

    mem_assert_tag(mem_send(&t.b, &q, true, "signed"), SX_R_OK);
    id = mem_assert_msg(&q, mem_event(&t.a), "signed");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    mem_assert_err(mem_send(&t.b, &q, false, "unsigned"), SX_ERR_AUTH);
    mem_assert_quiet(&t.a);
    mem_close_two(&t);
}

static void secures_a_queue_by_key(void **state)
{
    (void)state;
    create_and_secure(SX_ED25519);
    create_and_secure(SX_ED448);
    create_and_secure(SX_X25519);
}

static void limits_the_body_by_version(void **state)
{
    static const struct {
        uint16_t version;
        size_t max;
    } rows[] = { { 6, 16088 },  { 7, 16088 },  { 8, 16064 },
                 { 10, 16064 }, { 11, 16048 }, { 19, 16048 } };
    struct mem_two t;
    struct mem_queue q;
    static char body[16200];

    (void)state;
    memset(body, 'x', sizeof(body));
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_NONE, true);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct mem_client c;
        struct sx_cmd cmd = { .tag = SX_SEND };
        mem_connect(&t.m, &c, 1, rows[i].version);
        cmd.send.body = sx_bytes(body, rows[i].max + 1);
        mem_assert_err(mem_cmd(&c, NULL, mem_snd_id(&q), &cmd), SX_ERR_LARGE_MSG);
        body[rows[i].max] = 0;
        mem_assert_tag(mem_send(&c, &q, false, body), SX_R_OK);
        simplex_bytes id = mem_assert_msg(&q, mem_event(&t.a), body);
        mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
        body[rows[i].max] = 'x';
        mem_disconnect(&c);
    }
    mem_close_two(&t);
}

/* testCreateSndSecure */
static void secures_a_messaging_queue_by_skey(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct sx_keypair other;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    assert_int_equal(sx_keypair_new(SX_ED25519, &other), SIMPLEX_OK);
    struct sx_cmd skey = key_cmd(SX_SKEY, &q.snd.pub), second = key_cmd(SX_SKEY, &other.pub);
    mem_assert_err(mem_cmd(&t.b, &other, mem_snd_id(&q), &skey), SX_ERR_AUTH);
    mem_assert_err(mem_cmd(&t.b, &q.snd, mem_rcv_id(&q), &skey), SX_ERR_AUTH);
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_assert_err(mem_cmd(&t.b, &other, mem_snd_id(&q), &second), SX_ERR_AUTH);
    mem_assert_tag(mem_send(&t.b, &q, true, "one"), SX_R_OK);
    mem_assert_err(mem_send(&t.b, &q, false, "two"), SX_ERR_AUTH);
    mem_assert_msg(&q, mem_event(&t.a), "one");
    mem_close_two(&t);
}

/* testSndSecureProhibited */
static void refuses_skey_unless_messaging(void **state)
{
    struct mem_two t;
    struct mem_queue contact, unknown;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &contact, SX_MODE_CONTACT, true);
    mem_new(&t.a, &unknown, SX_MODE_NONE, true);
    mem_assert_err(mem_skey(&t.b, &contact), SX_ERR_AUTH);
    mem_assert_err(mem_skey(&t.b, &unknown), SX_ERR_AUTH);
    mem_close_two(&t);
}

static struct sx_cmd rkey_cmd(struct sx_wr *w, const struct sx_keypair *k, unsigned n)
{
    sx_wr_reset(w);
    for (unsigned i = 0; i < n; i++)
        sx_wr_key(w, &k[i].pub);
    return (struct sx_cmd){ .tag = SX_RKEY,
                            .rkey = { .keys = sx_wr_bytes(w), .count = (uint8_t)n } };
}

/* testCreateUpdateKeys */
static void replaces_recipient_keys(void **state)
{
    struct mem_two t;
    struct mem_queue q, inv;
    struct sx_keypair k[3];
    struct sx_wr w;
    struct sx_cmd que = { .tag = SX_QUE }, cmd;

    (void)state;
    mem_open_two(&t, NULL);
    sx_wr_init(&w, SX_BLOCK);
    mem_new(&t.a, &q, SX_MODE_CONTACT, true);
    k[0] = q.rcv;
    assert_int_equal(sx_keypair_new(SX_X25519, &k[1]), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED448, &k[2]), SIMPLEX_OK);
    cmd = rkey_cmd(&w, k, 3);
    mem_assert_tag(mem_cmd(&t.a, &k[0], mem_rcv_id(&q), &cmd), SX_R_OK);
    for (int i = 0; i < 3; i++)
        mem_assert_tag(mem_cmd(&t.a, &k[i], mem_rcv_id(&q), &que), SX_R_INFO);
    cmd = rkey_cmd(&w, k + 1, 1); /* by the key that is removed */
    mem_assert_tag(mem_cmd(&t.a, &k[0], mem_rcv_id(&q), &cmd), SX_R_OK);
    mem_assert_err(mem_cmd(&t.a, &k[0], mem_rcv_id(&q), &que), SX_ERR_AUTH);
    mem_assert_err(mem_cmd(&t.a, &k[2], mem_rcv_id(&q), &que), SX_ERR_AUTH);
    mem_assert_tag(mem_cmd(&t.a, &k[1], mem_rcv_id(&q), &que), SX_R_INFO);
    cmd = rkey_cmd(&w, k, 2);
    mem_assert_tag(mem_cmd(&t.a, &k[1], mem_rcv_id(&q), &cmd), SX_R_OK);
    mem_assert_tag(mem_cmd(&t.a, &k[0], mem_rcv_id(&q), &que), SX_R_INFO);

    mem_new(&t.a, &inv, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_cmd(&t.a, &inv.rcv, mem_rcv_id(&inv), &cmd), SX_ERR_AUTH);
    sx_wr_free(&w);
    mem_close_two(&t);
}

/* Lists of keys must not make a block of 16 KB a matter of seconds. */
static void limits_what_a_block_costs_to_verify(void **state)
{
    static struct sx_keypair k[SX_RKEYS_MAX];
    enum { COMMANDS = 5, VERIFIED = SX_BLOCK_LIST_KEYS_MAX / SX_RKEYS_MAX };
    struct mem_two t;
    struct mem_queue q;
    struct mem_batch b;
    struct sx_wr w;
    struct sx_cmd que = { .tag = SX_QUE };

    (void)state;
    mem_open_two(&t, NULL);
    sx_wr_init(&w, SX_BLOCK);
    mem_new(&t.a, &q, SX_MODE_CONTACT, true);
    for (size_t i = 0; i < SX_RKEYS_MAX; i++)
        assert_int_equal(sx_keypair_new(SX_ED25519, &k[i]), SIMPLEX_OK);
    struct sx_cmd cmd = rkey_cmd(&w, k, SX_RKEYS_MAX);
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &cmd), SX_R_OK);
    for (int round = 0; round < 2; round++) {
        unsigned answered = 0, refused = 0;
        mem_batch_open(&b, &t.a);
        for (int i = 0; i < COMMANDS; i++)
            mem_batch_add(&b, &k[SX_RKEYS_MAX - 1], mem_rcv_id(&q), &que);
        mem_batch_run(&b);
        for (int i = 0; i < COMMANDS; i++) {
            const struct sx_rsp *r = &mem_next(&t.a)->rsp;
            if (r->tag == SX_R_INFO) {
                answered++;
            } else {
                mem_assert_err(r, SX_ERR_INTERNAL);
                refused++;
            }
        }
        assert_int_equal(answered, VERIFIED);
        assert_int_equal(refused, COMMANDS - VERIFIED);
    }
    sx_wr_free(&w);
    mem_close_two(&t);
}

/* testCreateDelete */
static void suspends_and_deletes_a_queue(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct sx_cmd off = { .tag = SX_OFF };

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &q, true, "one"), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &q, true, "two"), SX_R_OK);
    simplex_bytes one = mem_assert_msg(&q, mem_event(&t.a), "one");
    mem_assert_quiet(&t.a); /* one message in flight */
    mem_assert_err(mem_cmd(&t.a, &q.snd, mem_rcv_id(&q), &off), SX_ERR_AUTH);
    mem_assert_err(mem_cmd(&t.a, &q.rcv, mem_snd_id(&q), &off), SX_ERR_AUTH);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_OFF), SX_R_OK);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_OFF), SX_R_OK);
    mem_assert_err(mem_send(&t.b, &q, true, "three"), SX_ERR_AUTH);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_SUB), SX_R_SOK);
    assert_memory_equal(mem_assert_msg(&q, mem_event(&t.a), "one").ptr, one.ptr, 24);
    simplex_bytes two = mem_assert_msg(&q, mem_ack(&t.a, &q, one), "two");
    mem_assert_tag(mem_rcv(&t.a, &q, SX_DEL), SX_R_OK);
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 0);
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 0);
    mem_assert_err(mem_send(&t.b, &q, true, "four"), SX_ERR_AUTH);
    mem_assert_err(mem_ack(&t.a, &q, two), SX_ERR_AUTH);
    mem_assert_err(mem_rcv(&t.a, &q, SX_OFF), SX_ERR_AUTH);
    mem_assert_err(mem_rcv(&t.a, &q, SX_SUB), SX_ERR_AUTH);
    mem_assert_quiet(&t.a);
    mem_close_two(&t);
}

/* testAllowNewQueues, and the password */
static void creates_queues_only_when_allowed(void **state)
{
    struct sx_srv_cfg off = { .new_queues = false };
    struct sx_srv_cfg secret = { .new_queues = true, .password = sx_str("secret") };
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    simplex_bytes none = sx_bytes(NULL, 0);

    (void)state;
    mem_open(&t.m, NULL); /* for the crypto library */
    mem_close(&t.m);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    mem_open_two(&t, &off);
    mem_assert_err(mem_cmd(&t.a, &q.rcv, none, &cmd), SX_ERR_AUTH);
    mem_close_two(&t);

    mem_open_two(&t, &secret);
    mem_assert_err(mem_cmd(&t.a, &q.rcv, none, &cmd), SX_ERR_AUTH);
    cmd.new_.has_password = true;
    cmd.new_.password = sx_str("secres");
    mem_assert_err(mem_cmd(&t.a, &q.rcv, none, &cmd), SX_ERR_AUTH);
    cmd.new_.password = sx_str("secret");
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, none, &cmd), SX_R_IDS);
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 1);
    mem_close_two(&t);
}

static void blocked_for_the_recipient(struct mem_two *t, const struct mem_queue *q)
{
    static const enum sx_cmd_tag plain[] = { SX_SUB, SX_GET, SX_QUE, SX_LDEL, SX_NDEL };
    struct sx_wr w;

    for (size_t i = 0; i < SX_COUNT(plain); i++)
        mem_assert_err(mem_rcv(&t->a, q, plain[i]), SX_ERR_BLOCKED);
    mem_assert_err(mem_ack(&t->a, q, sx_bytes(NULL, 0)), SX_ERR_BLOCKED);
    struct sx_cmd key = key_cmd(SX_KEY, &q->snd.pub);
    mem_assert_err(mem_cmd(&t->a, &q->rcv, mem_rcv_id(q), &key), SX_ERR_BLOCKED);
    struct sx_cmd nkey = { .tag = SX_NKEY, .nkey = { .auth = q->snd.pub, .dh = q->dh.pub } };
    mem_assert_err(mem_cmd(&t->a, &q->rcv, mem_rcv_id(q), &nkey), SX_ERR_BLOCKED);
    struct sx_cmd lset = { .tag = SX_LSET, .lset = { .link_id = mem_snd_id(q) } };
    mem_assert_err(mem_cmd(&t->a, &q->rcv, mem_rcv_id(q), &lset), SX_ERR_BLOCKED);
    sx_wr_init(&w, SX_BLOCK);
    struct sx_cmd rkey = rkey_cmd(&w, &q->rcv, 1);
    mem_assert_err(mem_cmd(&t->a, &q->rcv, mem_rcv_id(q), &rkey), SX_ERR_BLOCKED);
    sx_wr_free(&w);
}

static void blocked_queues_allow_off_and_del_alone(void **state)
{
    struct mem_two t;
    struct mem_queue q;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    struct sx_queue *found = sx_qstore_find(t.m.srv->store, SX_BY_SND, mem_snd_id(&q));
    assert_non_null(found);
    sx_queue_lock(t.m.srv->store, found);
    assert_int_equal(sx_queue_set_status(t.m.srv->store, found, SX_Q_BLOCKED, SX_BLOCKED_CONTENT),
                     SX_ERR_NONE);
    sx_queue_unlock(t.m.srv->store, found);
    const struct sx_rsp *r = mem_send(&t.b, &q, false, "x");
    mem_assert_err(r, SX_ERR_BLOCKED);
    assert_int_equal(r->err.blocked, SX_BLOCKED_CONTENT);
    assert_false(r->err.has_notice);
    struct sx_smp_err why = {
        .blocked = SX_BLOCKED_SPAM, .has_notice = true, .has_ttl = true, .ttl = 60
    };
    sx_queue_lock(t.m.srv->store, found);
    assert_int_equal(sx_queue_block(t.m.srv->store, found, &why), SX_ERR_NONE);
    sx_queue_unlock(t.m.srv->store, found);
    sx_queue_unref(found);
    r = mem_send(&t.b, &q, false, "x");
    mem_assert_err(r, SX_ERR_BLOCKED);
    assert_int_equal(r->err.blocked, SX_BLOCKED_SPAM);
    assert_true(r->err.has_notice && r->err.has_ttl && r->err.ttl == 60);
    mem_assert_err(mem_skey(&t.b, &q), SX_ERR_BLOCKED);
    blocked_for_the_recipient(&t, &q);
    static char body[16200];
    struct sx_cmd large = { .tag = SX_SEND, .send = { .body = sx_bytes(body, 16049) } };
    mem_assert_err(mem_cmd(&t.b, NULL, mem_snd_id(&q), &large), SX_ERR_LARGE_MSG); /* is first */
    mem_assert_tag(mem_rcv(&t.a, &q, SX_OFF), SX_R_OK);
    mem_assert_err(mem_rcv(&t.a, &q, SX_QUE), SX_ERR_BLOCKED);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_DEL), SX_R_OK);
    mem_close_two(&t);
}

static bool contains(simplex_bytes json, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i + n <= json.len; i++)
        if (memcmp(json.ptr + i, text, n) == 0)
            return true;
    return false;
}

static void describes_a_queue_as_json(void **state)
{
    struct mem_two t;
    struct mem_queue q;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    const struct sx_rsp *r = mem_rcv(&t.a, &q, SX_QUE);
    mem_assert_tag(r, SX_R_INFO);
    vec_assert_eq(r->info.json,
                  sx_str("{\"qiSnd\":false,\"qiNtf\":false,\"qiSub\":{\"qSubThread\":\"noSub\"},"
                         "\"qiSize\":0}"),
                  "empty queue");
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &q, true, "one"), SX_R_OK);
    r = mem_rcv(&t.a, &q, SX_QUE);
    mem_assert_tag(r, SX_R_INFO);
    cJSON *json = cJSON_ParseWithLength((const char *)r->info.json.ptr, r->info.json.len);
    assert_true(vec_bool(json, "qiSnd"));
    assert_int_equal(vec_int(json, "qiSize"), 1);
    assert_string_equal(vec_text(vec_get(json, "qiMsg"), "msgId"),
                        vec_text(vec_get(json, "qiSub"), "qDelivered"));
    assert_int_equal(strlen(vec_text(vec_get(json, "qiMsg"), "msgId")), 32);
    assert_string_equal(vec_text(vec_get(json, "qiMsg"), "msgTs"), "2023-11-14T22:13:20.123Z");
    cJSON_Delete(json);

    struct sx_cmd que = { .tag = SX_QUE }; /* another connection has no subscription */
    r = mem_cmd(&t.b, &q.rcv, mem_rcv_id(&q), &que);
    mem_assert_tag(r, SX_R_INFO);
    assert_false(contains(r->info.json, "qiSub"));
    mem_assert_tag(mem_rcv(&t.b, &q, SX_GET), SX_R_MSG);
    r = mem_cmd(&t.b, &q.rcv, mem_rcv_id(&q), &que);
    assert_true(contains(r->info.json, "\"qSubThread\":\"prohibitSub\""));
    mem_close_two(&t);
}

/* Every command of a block is verified before the first one runs, then they run in order. */
static void runs_a_block_in_order_after_verifying_all(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct mem_batch b;
    struct sx_cmd del = { .tag = SX_DEL }, que = { .tag = SX_QUE };
    struct sx_cmd bad = { .tag = SX_SUB };

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    struct sx_cmd skey = key_cmd(SX_SKEY, &q.snd.pub);
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("early") } };
    mem_batch_open(&b, &t.b); /* signed SEND: the queue has no key when it is verified */
    mem_batch_add(&b, &q.snd, mem_snd_id(&q), &skey);
    mem_batch_add(&b, &q.snd, mem_snd_id(&q), &send);
    mem_batch_run(&b);
    mem_assert_err(&mem_next(&t.b)->rsp, SX_ERR_AUTH); /* errors of verification come first */
    mem_assert_tag(&mem_next(&t.b)->rsp, SX_R_OK);

    mem_batch_open(&b, &t.a);
    mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &que);
    mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &del);
    mem_batch_add(&b, &q.snd, mem_rcv_id(&q), &bad);
    mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &que);
    mem_batch_run(&b);
    mem_assert_err(&mem_next(&t.a)->rsp, SX_ERR_AUTH);
    mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_INFO);
    mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_OK);
    mem_assert_err(&mem_next(&t.a)->rsp, SX_ERR_AUTH);
    assert_int_equal(t.a.n_blocks, 2); /* IDS, and one for all four */
    mem_close_two(&t);
}

static void every_failed_allocation_is_answered(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    bool fired = true;

    (void)state;
    mem_open_two(&t, NULL);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    for (unsigned nth = 0; fired && nth < 50; nth++) {
        struct mem_batch b;
        size_t before = sx_qstore_queues(t.m.srv->store);
        mem_batch_open(&b, &t.a);
        mem_batch_add(&b, &q.rcv, sx_bytes(NULL, 0), &cmd);
        sx_fault_malloc(nth);
        sx_peer_block(&t.a.peer, sx_wr_bytes(&b.w));
        fired = sx_fault_disarm();
        if (t.a.peer.failed) { /* the connection would be closed */
            mem_disconnect(&t.a);
            mem_connect(&t.m, &t.a, 0, 0);
            continue;
        }
        const struct mem_item *i = mem_next(&t.a);
        assert_non_null(i);
        if (i->rsp.tag == SX_R_ERR) {
            mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
            assert_int_equal(sx_qstore_queues(t.m.srv->store), before);
        } else {
            mem_assert_tag(&i->rsp, SX_R_IDS);
        }
    }
    assert_false(fired);
    mem_close_two(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secures_a_queue_by_key),
        cmocka_unit_test(limits_the_body_by_version),
        cmocka_unit_test(secures_a_messaging_queue_by_skey),
        cmocka_unit_test(refuses_skey_unless_messaging),
        cmocka_unit_test(replaces_recipient_keys),
        cmocka_unit_test(limits_what_a_block_costs_to_verify),
        cmocka_unit_test(suspends_and_deletes_a_queue),
        cmocka_unit_test(creates_queues_only_when_allowed),
        cmocka_unit_test(blocked_queues_allow_off_and_del_alone),
        cmocka_unit_test(describes_a_queue_as_json),
        cmocka_unit_test(runs_a_block_in_order_after_verifying_all),
        cmocka_unit_test(every_failed_allocation_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
