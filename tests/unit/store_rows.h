/* SPDX-License-Identifier: Apache-2.0 */
/* An open store for each test, and rows of messages to put into it. */
#ifndef STORE_ROWS_H
#define STORE_ROWS_H

#include "store_util.h"

#define WITH_STORE(f) cmocka_unit_test_setup_teardown(f, with_store, without_store)

static inline int with_store(void **state)
{
    static struct sx_store *s;
    void *t;

    if (tmp_setup(&t) != 0)
        return -1;
    s = tmp_open(t);
    void **both = calloc(2, sizeof *both);
    both[0] = s;
    both[1] = t;
    *state = both;
    return 0;
}

static inline int without_store(void **state)
{
    void **both = *state;

    sx_store_close(both[0]);
    int rc = tmp_teardown(&both[1]);
    free(both);
    return rc;
}

static inline struct sx_store *store_of(void **state)
{
    return ((struct sx_store **)*state)[0];
}

static inline void assert_pair_equal(const struct sx_keypair *a, const struct sx_keypair *b)
{
    assert_true(sx_pub_eq(&a->pub, &b->pub));
    assert_int_equal(a->priv.alg, b->priv.alg);
    assert_memory_equal(a->priv.b, b->priv.b, sx_key_len(a->priv.alg));
}

static inline void add_key(struct sx_ratchet *r, uint8_t hk, uint32_t n)
{
    struct sx_skipped k = make_skipped(hk, n);

    ok(sx_ratchet_add_skipped(r, &k));
}

static uint8_t body[16000]; /* of messages */

static inline struct sx_snd_msg make_snd(int64_t conn, int64_t id)
{
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7);
    return (struct sx_snd_msg){ .conn_id = conn,
                                .id = id,
                                .snd_id = id - 1,
                                .type = SX_M_MSG,
                                .notify = true,
                                .padded = 65535,
                                .plain = { body, sizeof body - (size_t)id },
                                .key = { body, 300 },
                                .e2e = { body, id % 2 ? 0 : 30 },
                                .created_at = 123456789012,
                                .retry_delay = 0 };
}

static inline struct sx_rcv_msg_row make_rcv(int64_t conn, int64_t id)
{
    struct sx_rcv_msg_row m = { .conn_id = conn,
                                .id = id,
                                .rcv_queue_id = 4,
                                .ext_id = 20 + id,
                                .srv_ts = 1,
                                .rcv_ts = INT64_MAX,
                                .type = SX_M_MSG,
                                .integrity = 2,
                                .gap_first = 3,
                                .gap_last = 9,
                                .notify = true,
                                .pq = true,
                                .body = { body, 15000 } };

    m.srv_msg_id.len = 24;
    memset(m.srv_msg_id.b, (int)id, 24);
    memset(m.hash, 0xcd, 32);
    return m;
}

static inline void assert_rcv_equal(const struct sx_rcv_msg_row *a, const struct sx_rcv_msg_row *b)
{
    assert_int_equal(a->conn_id, b->conn_id);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->rcv_queue_id, b->rcv_queue_id);
    assert_int_equal(a->ext_id, b->ext_id);
    assert_true(sx_bytes_eq(sx_id_bytes(&a->srv_msg_id), sx_id_bytes(&b->srv_msg_id)));
    assert_int_equal(a->srv_ts, b->srv_ts);
    assert_int_equal(a->rcv_ts, b->rcv_ts);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->integrity, b->integrity);
    assert_int_equal(a->gap_first, b->gap_first);
    assert_int_equal(a->gap_last, b->gap_last);
    assert_int_equal(a->notify, b->notify);
    assert_int_equal(a->pq, b->pq);
    assert_true(sx_bytes_eq(a->body, b->body));
    assert_memory_equal(a->hash, b->hash, 32);
    assert_int_equal(a->attempts, b->attempts);
}

#endif
