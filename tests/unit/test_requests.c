/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cmd_copy.h"
#include "client/outbox.h"
#include "client/requests.h"
#include "support/vec.h"

#include <stdio.h>
#include <stdlib.h>

#define MANY 3000

static struct sx_req *req_numbered(uint32_t n, simplex_bytes entity, enum sx_cmd_tag tag)
{
    uint8_t corr_id[SX_ID_LEN] = { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16) };
    struct sx_req *r;

    assert_int_equal(sx_req_new(corr_id, entity, tag, &r), SIMPLEX_OK);
    return r;
}

static struct sx_req *req_new(uint32_t n)
{
    return req_numbered(n, sx_str("entity"), SX_SUB);
}

/* ---- table ---- */

static void finds_what_was_added_until_it_is_removed(void **state)
{
    struct sx_requests t = { 0 };
    static struct sx_req *r[MANY];

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        r[i] = req_new(i);
        assert_null(sx_requests_find(&t, sx_bytes(r[i]->corr_id, SX_ID_LEN)));
        assert_int_equal(sx_requests_add(&t, r[i]), SIMPLEX_OK);
    }
    for (uint32_t i = 0; i < MANY; i++)
        assert_ptr_equal(sx_requests_find(&t, sx_bytes(r[i]->corr_id, SX_ID_LEN)), r[i]);
    assert_null(sx_requests_find(&t, sx_bytes(r[0]->corr_id, SX_ID_LEN - 1)));
    assert_null(sx_requests_find(&t, sx_bytes(NULL, 0)));
    for (uint32_t i = 0; i < MANY; i++) {
        sx_requests_remove(&t, r[i]);
        assert_null(sx_requests_find(&t, sx_bytes(r[i]->corr_id, SX_ID_LEN)));
        sx_req_free(r[i]);
    }
    assert_int_equal(t.count, 0);
    assert_null(t.bucket); /* nothing is kept for an idle connection */
    assert_null(t.heap);
}

static void refuses_a_correlation_id_that_is_in_use(void **state)
{
    struct sx_requests t = { 0 };
    struct sx_req *a = req_new(1), *b = req_new(1);

    (void)state;
    assert_int_equal(sx_requests_add(&t, a), SIMPLEX_OK);
    assert_int_equal(sx_requests_add(&t, b), SIMPLEX_E_PROHIBITED);
    sx_requests_remove(&t, a);
    assert_int_equal(sx_requests_add(&t, b), SIMPLEX_OK);
    sx_requests_remove(&t, b);
    sx_req_free(a);
    sx_req_free(b);
}

static void expires_in_the_order_of_deadlines(void **state)
{
    struct sx_requests t = { 0 };
    int64_t last = 0;
    size_t expired = 0;

    (void)state;
    srand(7);
    for (uint32_t i = 0; i < MANY; i++) {
        struct sx_req *r = req_new(i);
        assert_int_equal(sx_requests_add(&t, r), SIMPLEX_OK);
        if (i % 10 != 0) /* the others have no deadline */
            sx_requests_set_deadline(&t, r, 1000 + rand() % 500);
        if (i % 3 == 0) /* moved */
            sx_requests_set_deadline(&t, r, 1000 + rand() % 500);
    }
    assert_null(sx_requests_expired(&t, 999));
    for (struct sx_req *r; (r = sx_requests_expired(&t, 2000)) != NULL; expired++) {
        assert_int_equal(r->deadline, sx_requests_next(&t));
        assert_true(r->deadline >= last);
        last = r->deadline;
        sx_requests_remove(&t, r);
        sx_req_free(r);
    }
    assert_int_equal(sx_requests_next(&t), SX_NO_DEADLINE);
    assert_int_equal(t.count, MANY - expired);
    assert_int_equal(expired, MANY - MANY / 10 + MANY / 30);
    for (uint32_t i = 0; i < MANY; i++) {
        uint8_t id[SX_ID_LEN] = { (uint8_t)i, (uint8_t)(i >> 8) };
        struct sx_req *r = sx_requests_find(&t, sx_bytes(id, sizeof(id)));
        if (r == NULL)
            continue;
        sx_requests_remove(&t, r);
        sx_req_free(r);
    }
    assert_int_equal(t.count, 0);
}

static void adding_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    size_t live = sx_fault_live_blocks();
    for (unsigned nth = 0; fired; nth++) {
        struct sx_requests t = { 0 };
        struct sx_req *r[20] = { 0 };
        uint8_t id[SX_ID_LEN] = { 0 };
        size_t n = 0;
        simplex_rc rc = SIMPLEX_OK;
        sx_fault_malloc(nth);
        for (size_t i = 0; i < SX_COUNT(r) && rc == SIMPLEX_OK; i++) {
            id[0] = (uint8_t)i;
            rc = sx_req_new(id, sx_str("e"), SX_SUB, &r[i]);
            if (rc == SIMPLEX_OK)
                rc = sx_requests_add(&t, r[i]);
            n += rc == SIMPLEX_OK;
        }
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(t.count, n);
        for (size_t i = 0; i < n; i++)
            sx_requests_remove(&t, r[i]);
        for (size_t i = 0; i < SX_COUNT(r); i++)
            sx_req_free(r[i]);
        sx_requests_free(&t);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

/* ---- answers ---- */

static void an_answer_must_name_the_entity_and_fit_the_command(void **state)
{
    static const struct {
        enum sx_cmd_tag cmd;
        enum sx_rsp_tag rsp;
        const char *entity;
        simplex_rc rc;
    } rows[] = {
        { SX_SUB, SX_R_OK, "entity", SIMPLEX_OK },
        { SX_SUB, SX_R_SOK, "entity", SIMPLEX_OK },
        { SX_SUB, SX_R_MSG, "entity", SIMPLEX_OK },
        { SX_SUB, SX_R_ERR, "entity", SIMPLEX_E_SERVER },
        { SX_SUB, SX_R_ERR, "", SIMPLEX_E_RESPONSE },
        { SX_SUB, SX_R_OK, "entitz", SIMPLEX_E_RESPONSE },
        { SX_SUB, SX_R_OK, "", SIMPLEX_E_RESPONSE },
        { SX_SUB, SX_R_PONG, "entity", SIMPLEX_E_RESPONSE },
        { SX_SEND, SX_R_MSG, "entity", SIMPLEX_E_RESPONSE },
        { SX_ACK, SX_R_MSG, "entity", SIMPLEX_OK },
        { SX_GET, SX_R_MSG, "entity", SIMPLEX_OK },
        { SX_NEW, SX_R_OK, "entity", SIMPLEX_E_RESPONSE },
        { SX_NEW, SX_R_IDS, "entity", SIMPLEX_OK },
        { SX_RSLV, SX_R_RNAME, "entity", SIMPLEX_OK },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_req *r = req_numbered(1, sx_str("entity"), rows[i].cmd);
        struct sx_transmission t = { .entity_id = sx_str(rows[i].entity) };
        struct sx_rsp rsp = { .tag = rows[i].rsp };
        assert_int_equal(sx_req_check(r, &t, &rsp), rows[i].rc);
        sx_req_free(r);
    }
}

static void every_command_has_an_answer(void **state)
{
    (void)state;
    for (int cmd = 0; cmd < SX_CMD_TAGS; cmd++) {
        struct sx_req *r = req_numbered(1, sx_str("entity"), (enum sx_cmd_tag)cmd);
        struct sx_transmission t = { .entity_id = sx_str("entity") };
        int accepted = 0;
        for (int tag = 0; tag < SX_RSP_TAGS; tag++) {
            struct sx_rsp rsp = { .tag = (enum sx_rsp_tag)tag };
            accepted += sx_req_check(r, &t, &rsp) == SIMPLEX_OK;
        }
        assert_in_range(accepted, 1, 3);
        sx_req_free(r);
    }
}

static void entities_have_at_most_255_bytes(void **state)
{
    static const uint8_t corr_id[SX_ID_LEN], entity[256];
    struct sx_req *r;

    (void)state;
    assert_int_equal(sx_req_new(corr_id, sx_bytes(entity, 256), SX_SUB, &r), SIMPLEX_E_ARG);
    assert_null(r);
    assert_int_equal(sx_req_new(corr_id, sx_bytes(entity, 255), SX_SUB, &r), SIMPLEX_OK);
    assert_int_equal(sx_req_entity(r).len, 255);
    sx_req_free(r);
}

/* ---- copies of commands ---- */

/* Copies, overwrites the original's memory and compares the encodings. */
static void assert_copied(struct sx_cmd *cmd, uint8_t *text, size_t text_len)
{
    uint8_t before[2048], after[2048];
    struct sx_keypair key = { .pub = { .alg = SX_ED25519, .b = { 1 } },
                              .priv = { .alg = SX_ED25519, .b = { 2 } } };
    const struct sx_keypair *got_key;
    struct sx_cmd_copy *copy;
    struct sx_cmd got;
    struct sx_wr a, b;

    assert_true(sx_cmd_fits(cmd));
    sx_wr_fixed(&a, before, sizeof(before));
    sx_cmd_encode(&a, cmd, SX_SMP_MAX);
    assert_int_equal(sx_cmd_copy_new(cmd, &key, &copy), SIMPLEX_OK);
    memset(cmd, 0xff, sizeof(*cmd));
    memset(text, 0xff, text_len);
    sx_cmd_copy_get(copy, &got, &got_key);
    sx_wr_fixed(&b, after, sizeof(after));
    sx_cmd_encode(&b, &got, SX_SMP_MAX);
    assert_false(a.bad);
    vec_assert_eq(sx_wr_bytes(&b), sx_wr_bytes(&a), "command");
    assert_memory_equal(got_key, &key, sizeof(key));
    sx_cmd_copy_free(copy);
}

static void copies_keep_everything_a_command_points_to(void **state)
{
    struct sx_pub x = { .alg = SX_X25519, .b = { 9 } }, e = { .alg = SX_ED25519, .b = { 8 } };
    uint8_t text[512];
    simplex_bytes p1 = { text, 24 }, p2 = { text + 24, 200 }, p3 = { text + 224, 31 };

    (void)state;
    for (int tag = 0; tag < SX_CMD_TAGS; tag++) {
        struct sx_cmd c = { .tag = (enum sx_cmd_tag)tag };
        struct sx_wr keys;
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = (uint8_t)('a' + i % 26);
        switch (c.tag) {
        case SX_NEW:
            c.new_.auth = e;
            c.new_.dh = x;
            c.new_.has_password = true;
            c.new_.password = p3;
            c.new_.subscribe = true;
            c.new_.mode = SX_MODE_CONTACT;
            c.new_.has_link = true;
            c.new_.link_id = c.new_.snd_id = p1;
            c.new_.fixed = p2;
            c.new_.user = p3;
            c.new_.has_ntf = true;
            c.new_.ntf_auth = e;
            c.new_.ntf_dh = x;
            break;
        case SX_SUBS:
        case SX_NSUBS:
            c.subs.has_hash = true;
            c.subs.count = 7;
            c.subs.hash[3] = 4;
            break;
        case SX_KEY:
        case SX_SKEY:
        case SX_LKEY:
            c.key.key = e;
            break;
        case SX_RKEY:
            sx_wr_fixed(&keys, text, sizeof(text));
            sx_wr_key(&keys, &e);
            sx_wr_key(&keys, &e);
            c.rkey.keys = sx_wr_bytes(&keys);
            c.rkey.count = 2;
            break;
        case SX_LSET:
            c.lset.link_id = p1;
            c.lset.fixed = p2;
            c.lset.user = p3;
            break;
        case SX_NKEY:
            c.nkey.auth = e;
            c.nkey.dh = x;
            break;
        case SX_ACK:
            c.ack.msg_id = p1;
            break;
        case SX_SEND:
            c.send.notify = true;
            c.send.body = p2;
            break;
        case SX_PRXY:
            c.prxy.server.n_hosts = 1;
            c.prxy.server.hosts[0].kind = SX_HOST_NAME;
            strcpy(c.prxy.server.hosts[0].text, "a.example");
            c.prxy.has_password = true;
            c.prxy.password = p3;
            break;
        case SX_PFWD:
            c.pfwd.version = 9;
            c.pfwd.key = x;
            c.pfwd.body = p2;
            break;
        case SX_RFWD:
            c.rfwd.body = p2;
            break;
        case SX_RSLV:
            text[224 + 9] = '.'; /* of p3 */
            c.rslv.name = p3;
            break;
        default:
            break;
        }
        assert_copied(&c, text, sizeof(text));
    }
}

static void copies_of_small_commands_are_small(void **state)
{
    struct sx_cmd c = { .tag = SX_SUB };
    struct sx_cmd_copy *copy;
    const struct sx_keypair *key;

    (void)state;
    assert_int_equal(sx_cmd_copy_new(&c, NULL, &copy), SIMPLEX_OK);
    assert_true(sx_cmd_copy_size(copy) < 320);
    sx_cmd_copy_get(copy, &c, &key);
    assert_null(key);
    sx_cmd_copy_free(copy);
    sx_fault_malloc(0);
    assert_int_equal(sx_cmd_copy_new(&c, NULL, &copy), SIMPLEX_E_NOMEM);
    assert_true(sx_fault_disarm());
    assert_null(copy);
}

static void commands_beyond_a_block_do_not_fit(void **state)
{
    static const uint8_t big[SX_BLOCK + 1];
    struct sx_cmd c = { .tag = SX_SEND, .send.body = { big, SX_BLOCK } };
    struct sx_cmd l = { .tag = SX_LSET,
                        .lset = { .fixed = { big, SX_BLOCK / 2 + 1 },
                                  .user = { big, SX_BLOCK / 2 } } };

    (void)state;
    assert_true(sx_cmd_fits(&c));
    c.send.body.len++;
    assert_false(sx_cmd_fits(&c));
    c.send.body.len = SIZE_MAX;
    assert_false(sx_cmd_fits(&c));
    assert_false(sx_cmd_fits(&l));
    l.lset.user.len--;
    assert_true(sx_cmd_fits(&l));
}

/* ---- blocks ---- */

static struct sx_outbox outbox;

static void enqueue(struct sx_req_list *l, const char *entity, size_t len)
{
    static uint32_t n;
    struct sx_req *r = req_numbered(n++, sx_str(entity), SX_SUB);

    r->out = sx_calloc(1, len);
    assert_non_null(r->out);
    r->out_len = len;
    sx_req_append(l, r);
}

static void drop(struct sx_req_list *l, size_t n)
{
    while (n-- > 0) {
        struct sx_req *r = l->first;
        sx_req_unlink(l, r);
        sx_req_free(r);
    }
}

/* Plans group after group; `got` becomes the counts of the blocks, groups divided by '|'. */
static void plan_all(struct sx_req_list *l, char *got, size_t size)
{
    static uint8_t buf[2 * SX_BLOCK];

    got[0] = 0;
    while (l->first != NULL) {
        assert_int_equal(sx_outbox_plan(&outbox, l), SIMPLEX_OK);
        assert_true(outbox.n > 0);
        if (got[0] != 0)
            strncat(got, "|", size - strlen(got) - 1);
        size_t next = 0;
        for (size_t i = 0; i < outbox.blocks; i++) {
            char text[16];
            size_t from, to;
            struct sx_wr content;
            struct sx_batch_rd batch;
            simplex_bytes t;
            sx_outbox_range(&outbox, i, &from, &to);
            assert_int_equal(from, next); /* order is kept, nothing is left out */
            next = to;
            snprintf(text, sizeof(text), "%s%zu", i > 0 ? " " : "", to - from);
            strncat(got, text, size - strlen(got) - 1);
            sx_wr_fixed(&content, buf, sizeof(buf));
            sx_outbox_content(&outbox, i, &content);
            assert_int_equal(sx_batch_open(sx_wr_bytes(&content), &batch), SIMPLEX_OK);
            assert_int_equal(batch.left, to - from);
            for (; from < to; from++) {
                assert_true(sx_batch_next(&batch, &t));
                assert_int_equal(t.len, outbox.req[from]->out_len);
            }
        }
        assert_int_equal(next, outbox.n);
        drop(l, outbox.n);
    }
}

static void subscriptions_fill_blocks_from_the_end(void **state)
{
    struct sx_req_list l = { 0 };
    char got[256], entity[24];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(entity, sizeof(entity), "queue %d", i);
        enqueue(&l, entity, 119); /* SUB with Ed25519 at version 16 */
    }
    plan_all(&l, got, sizeof(got));
    assert_string_equal(got, "30 135 135");
}

static void a_second_command_of_one_queue_starts_a_block(void **state)
{
    struct sx_req_list l = { 0 };
    char got[256];

    (void)state;
    enqueue(&l, "a", 100);
    enqueue(&l, "b", 100);
    enqueue(&l, "a", 100);
    enqueue(&l, "c", 100);
    enqueue(&l, "c", 100);
    enqueue(&l, "c", 100);
    enqueue(&l, "d", 100);
    plan_all(&l, got, sizeof(got));
    assert_string_equal(got, "2|2|1|2");
}

static void commands_without_entity_share_blocks(void **state)
{
    struct sx_req_list l = { 0 };
    char got[256];

    (void)state;
    for (int i = 0; i < 5; i++)
        enqueue(&l, "", 200); /* NEW, PING */
    enqueue(&l, "a", 100);
    plan_all(&l, got, sizeof(got));
    assert_string_equal(got, "6");
}

static void a_command_too_long_for_a_batch_goes_alone(void **state)
{
    struct sx_req_list l = { 0 };
    char got[256];

    (void)state;
    enqueue(&l, "a", 100);
    enqueue(&l, "b", SX_BATCH_CONTENT - 1);
    enqueue(&l, "c", 100);
    enqueue(&l, "d", SX_BATCH_CONTENT - 2);
    plan_all(&l, got, sizeof(got));
    assert_string_equal(got, "1|1|1 1");
}

static void groups_are_bounded(void **state)
{
    struct sx_req_list l = { 0 };
    char got[512], entity[24];

    (void)state;
    for (int i = 0; i < 25; i++) {
        snprintf(entity, sizeof(entity), "queue %d", i);
        enqueue(&l, entity, 16000);
    }
    assert_int_equal(sx_outbox_plan(&outbox, &l), SIMPLEX_OK);
    assert_int_equal(outbox.blocks, 10);
    drop(&l, 25);
    for (int i = 0; i < 2 * SX_OUTBOX_REQUESTS; i++) {
        snprintf(entity, sizeof(entity), "queue %d", i);
        enqueue(&l, entity, 119);
    }
    plan_all(&l, got, sizeof(got));
    assert_string_equal(got, "135 135 135 135 135 135 135 135 135 135"
                             "|135 135 135 135 135 135 135 135 135 135");
    assert_int_equal(sx_outbox_plan(&outbox, &l), SIMPLEX_OK); /* nothing queued */
    assert_int_equal(outbox.n, 0);
    assert_int_equal(outbox.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added_until_it_is_removed),
        cmocka_unit_test(refuses_a_correlation_id_that_is_in_use),
        cmocka_unit_test(expires_in_the_order_of_deadlines),
        cmocka_unit_test(adding_survives_each_failed_malloc),
        cmocka_unit_test(an_answer_must_name_the_entity_and_fit_the_command),
        cmocka_unit_test(every_command_has_an_answer),
        cmocka_unit_test(entities_have_at_most_255_bytes),
        cmocka_unit_test(copies_keep_everything_a_command_points_to),
        cmocka_unit_test(copies_of_small_commands_are_small),
        cmocka_unit_test(commands_beyond_a_block_do_not_fit),
        cmocka_unit_test(subscriptions_fill_blocks_from_the_end),
        cmocka_unit_test(a_second_command_of_one_queue_starts_a_block),
        cmocka_unit_test(commands_without_entity_share_blocks),
        cmocka_unit_test(a_command_too_long_for_a_batch_goes_alone),
        cmocka_unit_test(groups_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
