/* SPDX-License-Identifier: Apache-2.0 */
/* Ratchets that are sent what was damaged or made to do harm (agent.md section 3). */
#include "ratchet_peers.h"

/* ---- damage ---- */

static void flip_every_byte(const struct mode *mode)
{
    static struct msg m, bad;
    struct peers p;

    start(&p, mode);
    one_round(&p);
    one_round(&p);
    send_to(&p.j, "text", &m);
    size_t body = m.len - PADDED - SX_GCM_TAG;
    for (size_t n = 0; n < m.len; n += mode == PQ ? 7 : 1) {
        struct sx_ratchet copy = p.i; /* no skipped keys: nothing is shared but a buffer */
        struct sx_ratchet_in res;
        struct sx_wr before;

        copy.skipped = NULL;
        copy.n_skipped = copy.cap_skipped = 0;
        bad = m;
        bad.b[n] ^= (uint8_t)(1u << pick(8));
        snapshot(&copy, &before);
        simplex_rc rc = get(&copy, &bad, &res);
        assert_int_not_equal(rc, SIMPLEX_OK);
        if (n >= body) {
            assert_int_equal(rc, SIMPLEX_E_RATCHET_AES);
            assert_true(res.saved);
        }
        if (res.saved)
            sx_wr_free(&before);
        else
            expect_unchanged(&copy, &before);
        sx_ratchet_wipe(&copy);
    }
    expect_text(&p.i, &m, "text");
    stop(&p);
}

static void a_changed_byte_anywhere_is_noticed(void **state)
{
    (void)state;
    flip_every_byte(V2);
    flip_every_byte(V3);
    if (sx_kem_available())
        flip_every_byte(PQ);
}

static void truncated_messages_fail_at_every_length(void **state)
{
    static struct msg m, cut;
    struct peers p;

    (void)state;
    for (const struct mode *mode = V2; mode <= V3; mode++) {
        start(&p, mode);
        one_round(&p);
        send_to(&p.j, "text", &m);
        size_t body = m.len - PADDED - SX_GCM_TAG;
        for (size_t n = 0; n < m.len; n++) {
            struct sx_ratchet copy = p.i;

            copy.skipped = NULL;
            copy.n_skipped = copy.cap_skipped = 0;
            cut = m;
            cut.len = n;
            if (n < body + SX_GCM_TAG)
                expect_failure(&copy, &cut, SIMPLEX_E_DECODE, false);
            else
                expect_failure(&copy, &cut, SIMPLEX_E_RATCHET_AES, true);
            sx_ratchet_wipe(&copy);
        }
        expect_text(&p.i, &m, "text");
        stop(&p);
    }
}

static void damaged_skipped_message_uses_up_its_key(void **state)
{
    static struct msg a, b, bad;
    struct peers p;
    struct sx_ratchet_in res;

    (void)state;
    start(&p, V3);
    one_round(&p);
    send_to(&p.j, "a", &a);
    send_to(&p.j, "b", &b);
    expect_text(&p.i, &b, "b");
    bad = a;
    bad.b[bad.len - 1] ^= 1;
    assert_int_equal(get(&p.i, &bad, &res), SIMPLEX_E_RATCHET_AES);
    assert_true(res.saved && res.diff.removed);
    assert_int_equal(res.diff.gone.n, p.i.nr - 2);
    assert_int_equal(p.i.n_skipped, 0);
    assert_int_equal(get(&p.i, &a, &res), SIMPLEX_E_RATCHET_EARLIER);
    assert_int_equal(res.count, 1);
    stop(&p);
}

static void badly_padded_body_uses_up_its_number(void **state)
{
    static struct msg m;
    struct peers p;
    struct sx_msg_key key;
    struct sx_wr w;

    (void)state;
    start(&p, V3);
    one_round(&p);
    assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    for (size_t len = 0; len < 10; len++) { /* sealed well, but the length inside is too large */
        struct sx_ratchet copy = p.i;
        uint8_t body[10] = { 0xff, 0xff };

        copy.skipped = NULL;
        copy.n_skipped = copy.cap_skipped = 0;
        sx_wr_fixed(&w, m.b, sizeof m.b);
        sx_wr_large(&w, sx_bytes(key.emh, key.emh_len));
        uint8_t *tag = sx_wr_space(&w, SX_GCM_TAG), *at = sx_wr_space(&w, len);
        assert_int_equal(sx_gcm_encrypt(key.mk, key.iv, 16, sx_bytes(key.ad, sizeof key.ad),
                                        sx_bytes(key.emh, key.emh_len), sx_bytes(body, len), at,
                                        tag),
                         SIMPLEX_OK);
        m.len = w.len;
        expect_failure(&copy, &m, SIMPLEX_E_PADDING, true);
        expect_failure(&copy, &m, SIMPLEX_E_RATCHET_DUPLICATE, true);
        sx_ratchet_wipe(&copy);
    }
    stop(&p);
}

static void failed_decryption_leaves_no_plaintext(void **state)
{
    static struct msg m;
    static uint8_t plain[MSG_MAX], zero[MSG_MAX];
    struct peers p;
    struct sx_ratchet_in res;

    (void)state;
    start(&p, V3);
    send_to(&p.j, "text", &m);
    m.b[m.len - 1] ^= 1;
    memset(plain, 0xaa, sizeof plain);
    assert_int_equal(sx_ratchet_decrypt(&p.i, sx_bytes(m.b, m.len), plain, &res, NULL),
                     SIMPLEX_E_RATCHET_AES);
    assert_memory_equal(plain, zero, m.len);
    stop(&p);
}

/* ---- headers that only a hostile peer makes ---- */

/* Seals `header` as the next message of r would be, with a body that opens. */
static void craft(struct sx_ratchet *r, uint16_t version, simplex_bytes header, struct msg *m)
{
    struct sx_chain_keys k;
    struct sx_msg_key key = { .version = version };
    struct sx_wr w;

    assert_int_equal(sx_chain_kdf(r->cks, &k), SIMPLEX_OK);
    sx_wr_fixed(&w, key.emh, sizeof key.emh);
    sx_wr_u16(&w, version);
    sx_wr_raw(&w, sx_bytes(k.iv_header, 16));
    uint8_t *tag = sx_wr_space(&w, 16);
    sx_wr_u16(&w, SX_HEADER_PAD_PQ);
    uint8_t *body = sx_wr_space(&w, SX_HEADER_PAD_PQ);
    assert_false(w.bad);
    assert_int_equal(sx_pad(header, body, SX_HEADER_PAD_PQ), SIMPLEX_OK);
    assert_int_equal(sx_gcm_encrypt(r->hks, k.iv_header, 16, sx_bytes(r->ad, sizeof r->ad),
                                    sx_bytes(NULL, 0), sx_bytes(body, SX_HEADER_PAD_PQ), body, tag),
                     SIMPLEX_OK);
    key.emh_len = (uint16_t)w.len;
    memcpy(key.ad, r->ad, sizeof key.ad);
    memcpy(key.mk, k.mk, sizeof key.mk);
    memcpy(key.iv, k.iv, sizeof key.iv);
    sx_wr_fixed(&w, m->b, sizeof m->b);
    assert_int_equal(sx_ratchet_encrypt_body(&key, sx_str("crafted"), PADDED, &w), SIMPLEX_OK);
    m->len = w.len;
}

struct crafted {
    const char *name;
    uint32_t pn, n;
    uint16_t version, max_version;
    const char *kem; /* of the header, hex, without key bytes */
    size_t kem_bytes, tail;
    bool zero_dh;
    simplex_rc rc;
    bool saved;
};

static void build_header(const struct sx_ratchet *r, const struct crafted *c, struct sx_wr *w)
{
    struct sx_pub dh = r->dhs.pub;

    if (c->zero_dh)
        memset(dh.b, 0, sizeof dh.b);
    sx_wr_u16(w, c->max_version);
    sx_wr_key(w, &dh);
    sx_wr_raw(w, vec_unhex(c->kem));
    for (size_t i = 0; i < c->kem_bytes; i++)
        sx_wr_u8(w, (uint8_t)i);
    sx_wr_u32(w, c->pn);
    sx_wr_u32(w, c->n);
    for (size_t i = 0; i < c->tail; i++)
        sx_wr_u8(w, 7);
    assert_false(w->bad);
}

static void hostile_headers_are_refused(void **state)
{
    static const struct crafted rows[] = {
        { "plain", 3, 0, 3, 3, "30", 0, 0, false, SIMPLEX_OK, true },
        { "with an extension", 3, 0, 3, 3, "30", 0, 50, false, SIMPLEX_OK, true },
        { "of a newer version", 3, 0, 9, 9, "30", 0, 50, false, SIMPLEX_OK, true },
        { "no KEM field", 3, 0, 3, 3, "", 0, 0, false, SIMPLEX_E_DECODE, false },
        { "unknown KEM", 3, 0, 3, 3, "3142", 0, 0, false, SIMPLEX_E_DECODE, false },
        { "short KEM key", 3, 0, 3, 3, "3150000a", 10, 0, false, SIMPLEX_E_DECODE, false },
        { "huge KEM key", 3, 0, 3, 3, "3150ffff", 100, 0, false, SIMPLEX_E_DECODE, false },
        { "zero key", 3, 0, 3, 3, "30", 0, 0, true, SIMPLEX_E_KEY, false },
        { "PN beyond all", UINT32_MAX, 0, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_SKIPPED,
          false },
        { "PN 513 ahead", 516, 0, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_SKIPPED, false },
        { "PN behind", 1, 0, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_EARLIER, false },
        { "PN just behind", 2, 0, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_DUPLICATE, false },
        { "n beyond all", 3, UINT32_MAX, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_SKIPPED, true },
        { "n 513 ahead", 515, 513, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_SKIPPED, true },
        /* number and key do not match, so the body cannot open */
        { "n 512 ahead", 515, 512, 3, 3, "30", 0, 0, false, SIMPLEX_E_RATCHET_AES, true },
    };
    static struct msg m;

    (void)state;
    for (size_t k = 0; k < SX_COUNT(rows); k++) {
        const struct crafted *c = &rows[k];
        struct peers p;
        struct sx_ratchet_in res;
        struct sx_wr w, before;

        start(&p, V3);
        one_round(&p); /* i has read 3 of the last chain; j has stepped since */
        sx_wr_init(&w, 4096);
        build_header(&p.j, c, &w);
        craft(&p.j, c->version, sx_wr_bytes(&w), &m);
        snapshot(&p.i, &before);
        simplex_rc rc = get(&p.i, &m, &res);
        if (rc != c->rc || res.saved != c->saved)
            fail_msg("%s: %s, saved %d", c->name, simplex_rc_name(rc), res.saved);
        if (c->saved)
            sx_wr_free(&before);
        else
            expect_unchanged(&p.i, &before);
        if (c->saved && c->pn == 515)
            assert_int_equal(res.diff.added, rc == SIMPLEX_E_RATCHET_AES ? 1024 : 512);
        sx_wr_free(&w);
        stop(&p);
    }
}

static void an_answer_without_a_proposal_changes_nothing(void **state)
{
    static struct msg m;
    struct peers p;

    (void)state;
    if (!sx_kem_available())
        skip();
    start(&p, V3);
    one_round(&p);
    /* j answers a key that i never sent */
    p.j.has_kem = p.j.has_accepted = p.j.support_kem = true;
    assert_int_equal(sx_kem_keypair(p.j.kem.pk, p.j.kem.sk), SIMPLEX_OK);
    send_to(&p.j, "text", &m);
    expect_failure(&p.i, &m, SIMPLEX_E_RATCHET_KEM, false);
    stop(&p);
}

static void wrong_parameters_are_refused(void **state)
{
    struct sx_x3dh_keys own, joiner;
    struct sx_e2e_params link, reply, bad;
    struct sx_ratchet r;
    uint8_t ct[SX_KEM_CT] = { 0 }, pk[SX_KEM_PK] = { 0 };

    (void)state;
    assert_int_equal(sx_x3dh_keys_new(false, &own), SIMPLEX_OK);
    sx_x3dh_params(&own, (struct sx_range){ 3, 3 }, &link);
    for (uint16_t v = 0; v < 6; v++) {
        simplex_rc want = v == 2 || v == 3 ? SIMPLEX_OK : SIMPLEX_E_VERSION;
        assert_int_equal(sx_ratchet_init_send(&r, &link, v, false, &joiner, &reply, NULL), want);
        bad = reply;
        bad.v = (struct sx_range){ v, v };
        sx_ratchet_wipe(&r);
        assert_int_equal(sx_ratchet_init_receive(&r, &own, &bad, false), want);
        sx_ratchet_wipe(&r);
    }
    bad = reply;
    memset(bad.k2.b, 0, sizeof bad.k2.b);
    assert_int_equal(sx_ratchet_init_send(&r, &bad, 3, false, &joiner, &reply, NULL),
                     SIMPLEX_E_KEY);
    assert_int_equal(sx_ratchet_init_receive(&r, &own, &bad, false), SIMPLEX_E_KEY);
    bad = link;
    bad.kem =
        (struct sx_kem_params){ SX_KEM_ACCEPTED, sx_bytes(pk, sizeof pk), sx_bytes(ct, sizeof ct) };
    assert_int_equal(sx_ratchet_init_send(&r, &bad, 3, true, &joiner, &reply, NULL),
                     SIMPLEX_E_RATCHET_KEM);
    assert_int_equal(sx_ratchet_init_send_with(&r, &bad, 3, &own, NULL), SIMPLEX_E_RATCHET_KEM);
    assert_int_equal(sx_ratchet_init_receive(&r, &own, &bad, true), SIMPLEX_E_RATCHET_KEM);
    sx_x3dh_keys_wipe(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_byte_anywhere_is_noticed),
        cmocka_unit_test(truncated_messages_fail_at_every_length),
        cmocka_unit_test(damaged_skipped_message_uses_up_its_key),
        cmocka_unit_test(badly_padded_body_uses_up_its_number),
        cmocka_unit_test(failed_decryption_leaves_no_plaintext),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(an_answer_without_a_proposal_changes_nothing),
        cmocka_unit_test(wrong_parameters_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
