/* SPDX-License-Identifier: Apache-2.0 */
/* Two ratchets in memory, in every mode. */
#ifndef RATCHET_PEERS_H
#define RATCHET_PEERS_H

#include "ratchet/internal.h"
#include "support/vec.h"

#define PADDED 200
#define MSG_MAX 20000

struct peers {
    struct sx_ratchet i, j;
};

struct msg {
    size_t len;
    uint8_t b[MSG_MAX];
};

struct mode { /* who uses the KEM */
    const char *name;
    uint16_t version;
    bool link_kem, i_pq, j_pq;
    size_t overhead_i, overhead_j; /* of messages */
};

static const struct mode modes[] = {
    { "version 2", 2, false, false, false, 140, 140 },
    { "version 3", 3, false, false, false, 142, 142 },
    { "accepted", 3, true, true, true, 2364, 2364 },
    { "proposed in the reply", 3, false, true, true, 2364, 2364 },
    { "not used by the joiner", 3, true, true, false, 2364, 142 },
    { "not supported by the initiator", 3, false, false, true, 142, 2364 },
};
#define V2 (&modes[0])
#define V3 (&modes[1])
#define PQ (&modes[2])

/* The same choices in every run. */
static inline unsigned pick(unsigned limit)
{
    static uint32_t x = 20261122;

    x = x * 1664525u + 1013904223u;
    return (x >> 8) % limit;
}

static inline bool usable(const struct mode *m)
{
    return sx_kem_available() || (!m->i_pq && !m->j_pq);
}

static inline void start(struct peers *p, const struct mode *m)
{
    struct sx_x3dh_keys own, joiner;
    struct sx_e2e_params link, reply;
    struct sx_range v = { m->version, m->version };

    assert_int_equal(sx_x3dh_keys_new(m->link_kem, &own), SIMPLEX_OK);
    sx_x3dh_params(&own, v, &link);
    assert_int_equal(sx_ratchet_init_send(&p->j, &link, m->version, m->j_pq, &joiner, &reply, NULL),
                     SIMPLEX_OK);
    assert_int_equal(sx_ratchet_init_receive(&p->i, &own, &reply, m->i_pq), SIMPLEX_OK);
    assert_memory_equal(p->i.ad, p->j.ad, SX_RATCHET_AD);
    p->i.max_supported = p->j.max_supported = m->version;
    sx_x3dh_keys_wipe(&own);
    sx_x3dh_keys_wipe(&joiner);
}

static inline void stop(struct peers *p)
{
    static const struct sx_ratchet zero;

    sx_ratchet_wipe(&p->i);
    sx_ratchet_wipe(&p->j);
    assert_memory_equal(&p->i, &zero, sizeof zero);
}

static inline void send_pq(struct sx_ratchet *from, enum sx_pq_flag pq, const char *text,
                           struct msg *m)
{
    struct sx_msg_key key;
    struct sx_wr w;

    size_t expected = sx_ratchet_next_msg_len(from, pq, PADDED);
    assert_int_equal(sx_ratchet_encrypt_header_as(from, pq, from->max_supported, &key), SIMPLEX_OK);
    sx_wr_fixed(&w, m->b, sizeof m->b);
    assert_int_equal(sx_ratchet_encrypt_body(&key, sx_str(text), PADDED, &w), SIMPLEX_OK);
    m->len = w.len;
    assert_int_equal(m->len, expected);
    assert_int_equal(m->len, sx_ratchet_msg_len(&key, PADDED));
    sx_msg_key_wipe(&key);
}

static inline void send_to(struct sx_ratchet *from, const char *text, struct msg *m)
{
    send_pq(from, SX_PQ_KEEP, text, m);
}

static inline simplex_rc get(struct sx_ratchet *r, const struct msg *m, struct sx_ratchet_in *res)
{
    static uint8_t plain[MSG_MAX];

    return sx_ratchet_decrypt(r, sx_bytes(m->b, m->len), plain, res, NULL);
}

static inline void expect_text(struct sx_ratchet *r, const struct msg *m, const char *text)
{
    struct sx_ratchet_in res;

    assert_int_equal(get(r, m, &res), SIMPLEX_OK);
    assert_true(sx_bytes_eq(res.text, sx_str(text)));
    assert_true(res.saved);
}

/* Everything that a store would keep. */
static inline void snapshot(const struct sx_ratchet *r, struct sx_wr *w)
{
    sx_wr_init(w, 1 << 20);
    sx_ratchet_encode(w, r);
    for (size_t i = 0; i < r->n_skipped; i++)
        sx_wr_raw(w, sx_bytes(&r->skipped[i], sizeof r->skipped[i]));
    assert_false(w->bad);
}

static inline void expect_unchanged(const struct sx_ratchet *r, struct sx_wr *before)
{
    struct sx_wr now;

    snapshot(r, &now);
    vec_assert_eq(sx_wr_bytes(&now), sx_wr_bytes(before), "state");
    sx_wr_free(&now);
    sx_wr_free(before);
}

static inline void expect_failure(struct sx_ratchet *r, const struct msg *m, simplex_rc want,
                                  bool saved)
{
    struct sx_ratchet_in res;
    struct sx_wr before;

    snapshot(r, &before);
    assert_int_equal(get(r, m, &res), want);
    assert_int_equal(res.saved, saved);
    assert_int_equal(res.text.len, 0);
    if (saved)
        sx_wr_free(&before);
    else
        expect_unchanged(r, &before);
}

static inline void one_round(struct peers *p)
{
    static struct msg m;

    for (int n = 0; n < 3; n++) {
        send_to(&p->j, "from the joiner", &m);
        expect_text(&p->i, &m, "from the joiner");
    }
    for (int n = 0; n < 2; n++) {
        send_to(&p->i, "from the initiator", &m);
        expect_text(&p->j, &m, "from the initiator");
    }
}

static inline int setup(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

static inline int teardown(void **state)
{
    (void)state;
    vec_free_all();
    return 0;
}

#endif
