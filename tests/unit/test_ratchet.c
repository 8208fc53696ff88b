/* SPDX-License-Identifier: Apache-2.0 */
/* Two ratchets: order, loss, versions, PQ, storage, lack of memory (agent.md section 3). */
#include "ratchet_peers.h"

/* ---- order ---- */

static void both_sides_talk_in_every_mode(void **state)
{
    struct peers p;
    static struct msg m;

    (void)state;
    for (size_t k = 0; k < SX_COUNT(modes); k++) {
        if (!usable(&modes[k]))
            continue;
        start(&p, &modes[k]);
        for (int n = 0; n < 5; n++)
            one_round(&p);
        send_to(&p.i, "length", &m);
        assert_int_equal(m.len, PADDED + modes[k].overhead_i);
        send_to(&p.j, "length", &m);
        assert_int_equal(m.len, PADDED + modes[k].overhead_j);
        assert_int_equal(p.i.n_skipped + p.j.n_skipped, 0);
        stop(&p);
    }
}

static void initiator_waits_for_the_first_message(void **state)
{
    struct peers p;
    struct sx_msg_key key;
    struct sx_wr before;

    (void)state;
    start(&p, V3);
    snapshot(&p.i, &before);
    assert_int_equal(sx_ratchet_encrypt_header(&p.i, SX_PQ_KEEP, &key), SIMPLEX_E_RATCHET_NO_CHAIN);
    expect_unchanged(&p.i, &before);
    stop(&p);
}

static void decrypts_messages_out_of_order_across_steps(void **state)
{
    enum { N = 24 };
    static struct msg m[N];
    struct peers p;
    static char text[N][16];

    (void)state;
    for (size_t k = 0; k < SX_COUNT(modes); k++) {
        unsigned order[N], done = 0;

        if (!usable(&modes[k]))
            continue;
        start(&p, &modes[k]);
        one_round(&p);
        for (unsigned n = 0; n < N; n++) { /* four chains of j, a step of both after each */
            static struct msg reply;
            order[n] = n;
            text[n][0] = (char)('a' + n);
            send_to(&p.j, text[n], &m[n]);
            if (n % 6 != 5)
                continue;
            unsigned at = n - pick(6); /* one of the chain arrives, and is answered */
            expect_text(&p.i, &m[at], text[at]);
            order[at] = N;
            done++;
            send_to(&p.i, "answer", &reply);
            expect_text(&p.j, &reply, "answer");
        }
        for (unsigned n = N - 1; n > 0; n--) {
            unsigned other = pick(n + 1), t = order[n];
            order[n] = order[other];
            order[other] = t;
        }
        for (unsigned n = 0; n < N; n++) {
            if (order[n] == N)
                continue;
            expect_text(&p.i, &m[order[n]], text[order[n]]);
            done++;
        }
        assert_int_equal(done, N);
        assert_int_equal(p.i.n_skipped, 0);
        one_round(&p);
        stop(&p);
    }
}

static void skips_512_messages_and_not_513(void **state)
{
    static struct msg m, late;
    struct peers p;
    struct sx_msg_key key;
    struct sx_ratchet_in res;
    struct sx_wr before;

    (void)state;
    start(&p, V3);
    one_round(&p);
    send_to(&p.j, "first", &m);
    expect_text(&p.i, &m, "first");
    for (int n = 0; n < 512; n++)
        assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    send_to(&p.j, "behind 512", &m);
    assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    send_to(&p.j, "behind 513 and one", &late);

    snapshot(&p.i, &before);
    assert_int_equal(get(&p.i, &late, &res), SIMPLEX_E_RATCHET_SKIPPED);
    assert_int_equal(res.count, 515); /* as the reference counts: until + 1 - Nr */
    assert_true(res.saved);           /* unchanged, and saved (section 13) */
    expect_unchanged(&p.i, &before);

    assert_int_equal(get(&p.i, &m, &res), SIMPLEX_OK);
    assert_int_equal(res.diff.added, 512);
    assert_int_equal(p.i.n_skipped, 512);
    expect_text(&p.i, &late, "behind 513 and one");
    assert_int_equal(p.i.n_skipped, 513);
    stop(&p);
}

static void too_many_missing_in_the_previous_chain_save_nothing(void **state)
{
    static struct msg m;
    struct peers p;
    struct sx_msg_key key;

    (void)state;
    start(&p, V3);
    one_round(&p);
    send_to(&p.j, "read", &m);
    expect_text(&p.i, &m, "read");
    for (int n = 0; n < 513; n++)
        assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    send_to(&p.i, "answer", &m);
    expect_text(&p.j, &m, "answer");
    send_to(&p.j, "next chain", &m);
    expect_failure(&p.i, &m, SIMPLEX_E_RATCHET_SKIPPED, false);
    stop(&p);
}

static void duplicates_and_old_messages_are_told_apart(void **state)
{
    static struct msg a, b, c, d;
    struct peers p;
    struct sx_ratchet_in res;

    (void)state;
    start(&p, V3);
    one_round(&p);
    send_to(&p.j, "a", &a);
    send_to(&p.j, "b", &b);
    send_to(&p.j, "c", &c);
    send_to(&p.j, "d", &d);
    expect_text(&p.i, &a, "a");
    expect_failure(&p.i, &a, SIMPLEX_E_RATCHET_DUPLICATE, true);
    expect_text(&p.i, &c, "c"); /* b is skipped */
    assert_int_equal(get(&p.i, &a, &res), SIMPLEX_E_RATCHET_EARLIER);
    assert_int_equal(res.count, 2);
    assert_true(res.saved);
    expect_text(&p.i, &d, "d");
    expect_text(&p.i, &b, "b");
    assert_int_equal(get(&p.i, &b, &res), SIMPLEX_E_RATCHET_EARLIER);
    one_round(&p); /* the chain is over: nothing opens these headers any more */
    one_round(&p);
    expect_failure(&p.i, &b, SIMPLEX_E_RATCHET_HEADER, false);
    stop(&p);
}

/* ---- versions and PQ ---- */

static void version_rises_when_both_sides_know_a_higher_one(void **state)
{
    static struct msg m;
    struct peers p;

    (void)state;
    start(&p, V2);
    one_round(&p);
    p.j.max_supported = 3;
    one_round(&p);
    assert_int_equal(p.i.current, 2);
    p.i.max_supported = 3; /* as an update of the application does with the first message sent */
    one_round(&p);
    assert_int_equal(p.i.current, 3);
    assert_int_equal(p.j.current, 3);
    send_to(&p.j, "two length bytes", &m);
    assert_int_equal(m.len, PADDED + 142);
    expect_text(&p.i, &m, "two length bytes");
    stop(&p);
}

static void turn(struct sx_ratchet *from, struct sx_ratchet *to, enum sx_pq_flag pq, bool snd,
                 bool rcv)
{
    static struct msg m;

    send_pq(from, pq, "turn", &m);
    expect_text(to, &m, "turn");
    assert_int_equal(from->snd_kem, snd);
    assert_int_equal(from->rcv_kem, rcv);
}

static void pq_is_switched_on_and_off_in_band(void **state)
{
    struct peers p;

    (void)state;
    if (!sx_kem_available())
        skip();
    start(&p, V3);
    turn(&p.j, &p.i, SX_PQ_KEEP, false, false);
    turn(&p.i, &p.j, SX_PQ_KEEP, false, false);
    turn(&p.j, &p.i, SX_PQ_ON, false, false); /* j will propose with its next chain */
    turn(&p.i, &p.j, SX_PQ_ON, false, false);
    turn(&p.j, &p.i, SX_PQ_ON, false, false); /* P */
    turn(&p.i, &p.j, SX_PQ_ON, true, false);  /* A */
    turn(&p.j, &p.i, SX_PQ_ON, true, true);   /* A */
    turn(&p.i, &p.j, SX_PQ_KEEP, true, true);
    turn(&p.j, &p.i, SX_PQ_OFF, true, true); /* j's wish counts from its next step on */
    turn(&p.i, &p.j, SX_PQ_KEEP, true, true);
    turn(&p.j, &p.i, SX_PQ_OFF, false, true);
    turn(&p.i, &p.j, SX_PQ_OFF, false, false);
    turn(&p.j, &p.i, SX_PQ_OFF, false, false);
    assert_false(p.i.has_kem || p.j.has_kem);
    assert_true(p.i.support_kem && p.j.support_kem); /* header length does not go back */
    stop(&p);
}

static void secrets_are_mixed_in_only_with_pq(void **state)
{
    static struct msg m;
    struct peers p;

    (void)state;
    if (!sx_kem_available())
        skip();
    start(&p, PQ);
    one_round(&p);
    assert_true(p.i.snd_kem && p.i.rcv_kem && p.j.snd_kem && p.j.rcv_kem);
    memset(p.i.kem.sk, 0x55, sizeof p.i.kem.sk); /* i cannot answer j's next ciphertext */
    send_to(&p.j, "text", &m);
    expect_failure(&p.i, &m, SIMPLEX_E_RATCHET_AES, true);
    stop(&p);
}

static void resynchronised_ratchets_talk_and_return_to_pq(void **state)
{
    struct sx_x3dh_keys a, b;
    struct sx_e2e_params pa, pb;
    struct peers p;
    const struct sx_range v = { 3, 3 };

    (void)state;
    for (int kem = 0; kem <= (sx_kem_available() ? 1 : 0); kem++) {
        assert_int_equal(sx_x3dh_keys_new(kem, &a), SIMPLEX_OK);
        assert_int_equal(sx_x3dh_keys_new(kem, &b), SIMPLEX_OK);
        sx_x3dh_params(&a, v, &pa);
        sx_x3dh_params(&b, v, &pb);
        assert_int_equal(sx_ratchet_init_receive(&p.i, &a, &pb, kem), SIMPLEX_OK);
        assert_int_equal(sx_ratchet_init_send_with(&p.j, &pa, 3, &b, NULL), SIMPLEX_OK);
        assert_false(p.j.snd_kem);
        one_round(&p);
        one_round(&p);
        assert_int_equal(p.i.snd_kem && p.i.rcv_kem && p.j.snd_kem && p.j.rcv_kem, kem);
        sx_x3dh_keys_wipe(&a);
        sx_x3dh_keys_wipe(&b);
        stop(&p);
    }
}

/* ---- storage ---- */

static void store_and_load(struct sx_ratchet *r)
{
    struct sx_ratchet loaded;
    struct sx_wr w;

    sx_wr_init(&w, 8192);
    sx_ratchet_encode(&w, r);
    assert_false(w.bad);
    for (size_t n = 0; n < w.len; n += n < 400 ? 1 : 97) /* cut short: refused */
        assert_int_equal(sx_ratchet_decode(sx_bytes(w.p, n), &loaded), SIMPLEX_E_DECODE);
    assert_int_equal(sx_ratchet_decode(sx_wr_bytes(&w), &loaded), SIMPLEX_OK);
    for (size_t n = 0; n < r->n_skipped; n++)
        assert_int_equal(sx_ratchet_add_skipped(&loaded, &r->skipped[n]), SIMPLEX_OK);
    sx_ratchet_wipe(r);
    *r = loaded;
    sx_wr_free(&w);
}

static void conversation_survives_storage_at_every_message(void **state)
{
    static struct msg lost, m;
    struct peers p;

    (void)state;
    for (size_t k = 0; k < SX_COUNT(modes); k++) {
        if (!usable(&modes[k]))
            continue;
        start(&p, &modes[k]);
        store_and_load(&p.i);
        store_and_load(&p.j);
        send_to(&p.j, "lost", &lost);
        for (int n = 0; n < 6; n++) {
            send_to(&p.j, "from j", &m);
            store_and_load(&p.j);
            expect_text(&p.i, &m, "from j");
            store_and_load(&p.i);
            send_to(&p.i, "from i", &m);
            store_and_load(&p.i);
            expect_text(&p.j, &m, "from i");
            store_and_load(&p.j);
        }
        expect_text(&p.i, &lost, "lost");
        stop(&p);
    }
}

static void damaged_states_are_refused(void **state)
{
    struct peers p;
    struct sx_ratchet r;
    struct sx_wr w;

    (void)state;
    start(&p, V3);
    sx_wr_init(&w, 8192);
    sx_ratchet_encode(&w, &p.j);
    w.p[0] ^= 2; /* format */
    assert_int_equal(sx_ratchet_decode(sx_wr_bytes(&w), &r), SIMPLEX_E_DECODE);
    w.p[0] ^= 2;
    for (unsigned v = 0; v < 8; v++) { /* current version */
        w.p[2] = (uint8_t)v;
        assert_int_equal(sx_ratchet_decode(sx_wr_bytes(&w), &r),
                         v == 2 || v == 3 ? SIMPLEX_OK : SIMPLEX_E_DECODE);
    }
    w.p[2] = 3;
    for (unsigned bit = 4; bit < 8; bit++) { /* flags that announce fields */
        w.p[5] ^= (uint8_t)(1u << bit);
        assert_int_equal(sx_ratchet_decode(sx_wr_bytes(&w), &r), SIMPLEX_E_DECODE);
        w.p[5] ^= (uint8_t)(1u << bit);
    }
    sx_wr_u8(&w, 0); /* one byte too many */
    assert_int_equal(sx_ratchet_decode(sx_wr_bytes(&w), &r), SIMPLEX_E_DECODE);
    sx_wr_free(&w);
    stop(&p);
}

static void keys_and_message_keys_survive_storage(void **state)
{
    struct sx_x3dh_keys k, k2;
    struct sx_msg_key mk, mk2;
    struct peers p;
    struct sx_wr w;

    (void)state;
    assert_int_equal(sx_x3dh_keys_new(sx_kem_available(), &k), SIMPLEX_OK);
    sx_wr_init(&w, 8192);
    sx_x3dh_keys_encode(&w, &k);
    assert_int_equal(sx_x3dh_keys_decode(sx_wr_bytes(&w), &k2), SIMPLEX_OK);
    assert_memory_equal(&k.k1.priv.b, &k2.k1.priv.b, SX_X448_LEN);
    assert_memory_equal(&k.k2.pub.b, &k2.k2.pub.b, SX_X448_LEN);
    assert_memory_equal(&k.kem, &k2.kem, sizeof k.kem);
    for (size_t n = 0; n < w.len; n += 13)
        assert_int_equal(sx_x3dh_keys_decode(sx_bytes(w.p, n), &k2), SIMPLEX_E_DECODE);

    for (const struct mode *mode = V2; mode <= V3; mode++) {
        start(&p, mode);
        assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &mk), SIMPLEX_OK);
        sx_wr_reset(&w);
        sx_msg_key_encode(&w, &mk);
        assert_int_equal(sx_msg_key_decode(sx_wr_bytes(&w), &mk2), SIMPLEX_OK);
        assert_int_equal(mk.version, mk2.version);
        assert_memory_equal(mk.ad, mk2.ad, sizeof mk.ad);
        assert_memory_equal(mk.mk, mk2.mk, sizeof mk.mk);
        assert_memory_equal(mk.iv, mk2.iv, sizeof mk.iv);
        assert_int_equal(mk.emh_len, mk2.emh_len);
        assert_memory_equal(mk.emh, mk2.emh, mk.emh_len);
        for (size_t n = 0; n < w.len; n++)
            assert_int_equal(sx_msg_key_decode(sx_bytes(w.p, n), &mk2), SIMPLEX_E_DECODE);
        stop(&p);
    }
    sx_wr_free(&w);
    sx_x3dh_keys_wipe(&k);
    sx_x3dh_keys_wipe(&k2);
}

static void body_takes_exactly_what_fits(void **state)
{
    static uint8_t plain[PADDED];
    struct peers p;
    struct sx_msg_key key;
    struct sx_wr w;
    uint8_t small[100];

    (void)state;
    start(&p, V3);
    assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    sx_wr_init(&w, 4096);
    assert_int_equal(sx_ratchet_encrypt_body(&key, sx_bytes(plain, PADDED - 1), PADDED, &w),
                     SIMPLEX_E_TOO_LARGE);
    assert_int_equal(w.len, 0);
    assert_int_equal(sx_ratchet_encrypt_body(&key, sx_bytes(plain, PADDED - 2), PADDED, &w),
                     SIMPLEX_OK);
    sx_wr_free(&w);
    sx_wr_fixed(&w, small, sizeof small);
    assert_int_equal(sx_ratchet_encrypt_body(&key, sx_bytes(plain, 10), PADDED, &w),
                     SIMPLEX_E_BUFFER);
    p.j.ns = UINT32_MAX; /* the last number of a chain is never used */
    assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_ratchet_padded_info(7, true), 11106);
    assert_int_equal(sx_ratchet_padded_info(4, true), 14832);
    assert_int_equal(sx_ratchet_padded_info(7, false), 14832);
    assert_int_equal(sx_ratchet_padded_message(5, true), 13618);
    assert_int_equal(sx_ratchet_padded_message(7, false), 15840);
    stop(&p);
}

/* ---- lack of memory ---- */

static void decryption_survives_each_failed_malloc(void **state)
{
    static struct msg a, b;
    struct peers p;
    struct sx_msg_key key;
    bool fired = true;
    size_t live = sx_fault_live_blocks();

    (void)state;
    start(&p, V3);
    one_round(&p);
    send_to(&p.j, "read", &a); /* one message read, four missing in this chain ... */
    expect_text(&p.i, &a, "read");
    for (int n = 0; n < 4; n++)
        assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    send_to(&p.i, "answer", &b);
    expect_text(&p.j, &b, "answer");
    for (int n = 0; n < 30; n++) /* ... and thirty in the next */
        assert_int_equal(sx_ratchet_encrypt_header(&p.j, SX_PQ_KEEP, &key), SIMPLEX_OK);
    send_to(&p.j, "text", &b);
    unsigned failures = 0;
    for (unsigned nth = 0; fired; nth++) {
        struct sx_ratchet_in res;
        struct sx_wr before;

        snapshot(&p.i, &before);
        sx_fault_malloc(nth);
        simplex_rc rc = get(&p.i, &b, &res);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(res.saved, !fired);
        if (fired) {
            expect_unchanged(&p.i, &before);
            failures++;
        } else {
            assert_int_equal(res.diff.added, 34);
            sx_wr_free(&before);
        }
    }
    assert_true(failures > 0);
    stop(&p);
    assert_int_equal(sx_fault_live_blocks(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_talk_in_every_mode),
        cmocka_unit_test(initiator_waits_for_the_first_message),
        cmocka_unit_test(decrypts_messages_out_of_order_across_steps),
        cmocka_unit_test(skips_512_messages_and_not_513),
        cmocka_unit_test(too_many_missing_in_the_previous_chain_save_nothing),
        cmocka_unit_test(duplicates_and_old_messages_are_told_apart),
        cmocka_unit_test(version_rises_when_both_sides_know_a_higher_one),
        cmocka_unit_test(pq_is_switched_on_and_off_in_band),
        cmocka_unit_test(secrets_are_mixed_in_only_with_pq),
        cmocka_unit_test(resynchronised_ratchets_talk_and_return_to_pq),
        cmocka_unit_test(conversation_survives_storage_at_every_message),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(keys_and_message_keys_survive_storage),
        cmocka_unit_test(body_takes_exactly_what_fits),
        cmocka_unit_test(decryption_survives_each_failed_malloc),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
