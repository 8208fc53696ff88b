/* SPDX-License-Identifier: Apache-2.0 */
/* Queue addresses, envelopes and agent messages: what must be refused. */
#include "support/vec.h"

#include <stdio.h>

#include "wire/agent_msg.h"
#include "wire/url.h"

static uint8_t kem_bytes[2000];

static void make_key(enum sx_alg alg, struct sx_pub *out)
{
    uint8_t raw[SX_KEY_MAX];

    memset(raw, 0x11, sizeof raw);
    assert_int_equal(sx_pub_from_raw(alg, sx_bytes(raw, sx_key_len(alg)), out), SIMPLEX_OK);
}

static void make_queue(struct sx_queue_addr *q)
{
    memset(q, 0, sizeof *q);
    q->v = (struct sx_range){ 1, 4 };
    assert_int_equal(sx_host_parse(sx_str("smp.example.org"), &q->server.hosts[0]), SIMPLEX_OK);
    q->server.n_hosts = 1;
    memcpy(q->server.port, "5223", 5);
    q->snd_id.len = 24;
    memset(q->snd_id.b, 7, 24);
    make_key(SX_X25519, &q->dh);
    q->mode = SX_MODE_MESSAGING;
}

static void make_e2e(struct sx_e2e_params *p, uint8_t kem, size_t pk_len, size_t ct_len)
{
    memset(p, 0, sizeof *p);
    p->v = (struct sx_range){ 3, 3 };
    make_key(SX_X448, &p->k1);
    make_key(SX_X448, &p->k2);
    p->kem.kind = kem;
    p->kem.pk = sx_bytes(kem_bytes, pk_len);
    p->kem.ct = sx_bytes(kem_bytes, ct_len);
}

/* Parameters with a KEM part of any size, as a peer could send them. */
static simplex_bytes raw_e2e(uint8_t kind, size_t pk_len, size_t ct_len)
{
    struct sx_e2e_params p;
    struct sx_wr w;

    make_e2e(&p, SX_KEM_NONE, 0, 0);
    sx_wr_fixed(&w, vec_keep(4000), 4000);
    sx_wr_u16(&w, 3);
    sx_wr_key(&w, &p.k1);
    sx_wr_key(&w, &p.k2);
    sx_wr_maybe(&w, true);
    sx_wr_u8(&w, kind);
    if (kind == SX_KEM_ACCEPTED)
        sx_wr_large(&w, sx_bytes(kem_bytes, ct_len));
    sx_wr_large(&w, sx_bytes(kem_bytes, pk_len));
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static bool decodes_e2e(simplex_bytes in)
{
    struct sx_rd r = sx_rd_init(in);
    struct sx_e2e_params p;

    sx_e2e_params_decode(&r, &p);
    return sx_rd_done(&r);
}

static void kem_parts_of_wrong_sizes_are_refused(void **state)
{
    struct sx_e2e_params p;
    struct sx_wr w;

    (void)state;
    assert_true(decodes_e2e(raw_e2e(SX_KEM_PROPOSED, SX_KEM_PK, 0)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_PROPOSED, SX_KEM_PK - 1, 0)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_PROPOSED, SX_KEM_PK + 1, 0)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_PROPOSED, 0, 0)));
    assert_true(decodes_e2e(raw_e2e(SX_KEM_ACCEPTED, SX_KEM_PK, SX_KEM_CT)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_ACCEPTED, SX_KEM_PK, SX_KEM_CT - 1)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_ACCEPTED, SX_KEM_PK, SX_KEM_CT + 1)));
    assert_false(decodes_e2e(raw_e2e(SX_KEM_ACCEPTED, 10, SX_KEM_CT)));
    assert_false(decodes_e2e(raw_e2e('X', SX_KEM_PK, 0)));

    sx_wr_init(&w, 4000);
    make_e2e(&p, SX_KEM_PROPOSED, 10, 0);
    sx_e2e_params_encode(&w, &p);
    assert_true(w.bad);
    sx_wr_reset(&w);
    make_e2e(&p, SX_KEM_ACCEPTED, SX_KEM_PK, SX_KEM_CT - 1);
    sx_e2e_params_encode(&w, &p);
    assert_true(w.bad);
    sx_wr_free(&w);
}

static void links_and_ratchet_keys_accept_no_kem_answer(void **state)
{
    struct sx_envelope e = { .version = 7, .tag = SX_ENV_RATCHET_KEY, .has_e2e = true };
    struct sx_envelope got;
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 8000);
    make_e2e(&e.e2e, SX_KEM_ACCEPTED, SX_KEM_PK, SX_KEM_CT);
    sx_envelope_encode(&w, &e);
    assert_int_equal(sx_envelope_decode(sx_wr_bytes(&w), &got), SIMPLEX_E_DECODE);
    sx_wr_reset(&w);
    e.tag = SX_ENV_CONFIRMATION;
    sx_envelope_encode(&w, &e);
    assert_int_equal(sx_envelope_decode(sx_wr_bytes(&w), &got), SIMPLEX_OK);
    sx_wr_reset(&w);
    sx_e2e_uri_encode(&w, &e.e2e);
    assert_true(w.bad);
    w.bad = false; /* what a peer could send nevertheless */
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));
    struct sx_e2e_params p;
    sx_e2e_uri_decode(&r, &p);
    assert_true(r.bad);
    sx_wr_free(&w);
}

static void version_ranges_agree_on_the_lower_maximum(void **state)
{
    struct sx_rd r = sx_rd_init(vec_unhex("00030002"));
    struct sx_range v;

    (void)state;
    assert_int_equal(sx_range_agree((struct sx_range){ 2, 7 }, (struct sx_range){ 5, 9 }), 7);
    assert_int_equal(sx_range_agree((struct sx_range){ 5, 9 }, (struct sx_range){ 2, 7 }), 7);
    assert_int_equal(sx_range_agree((struct sx_range){ 2, 4 }, (struct sx_range){ 4, 9 }), 4);
    assert_int_equal(sx_range_agree((struct sx_range){ 2, 4 }, (struct sx_range){ 5, 9 }), 0);
    assert_int_equal(sx_range_agree((struct sx_range){ 5, 9 }, (struct sx_range){ 2, 4 }), 0);
    sx_range_decode(&r, &v);
    assert_true(r.bad);
    assert_true(sx_range_parse(sx_str("2-7"), &v) && v.min == 2 && v.max == 7);
    assert_true(sx_range_parse(sx_str("65535"), &v) && v.min == 65535 && v.max == 65535);
    assert_false(sx_range_parse(sx_str("7-2"), &v));
    assert_false(sx_range_parse(sx_str("65536"), &v));
    assert_false(sx_range_parse(sx_str("2-"), &v));
    assert_false(sx_range_parse(sx_str("-2"), &v));
    assert_false(sx_range_parse(sx_str("2-3-4"), &v));
    assert_false(sx_range_parse(sx_str(""), &v));
    assert_false(sx_range_parse(sx_str("+2"), &v));
}

/* Every shorter prefix must fail; `decode` returns whether all was consumed and good. */
static void assert_all_prefixes_fail(simplex_bytes whole, bool (*decode)(simplex_bytes))
{
    assert_true(decode(whole));
    for (size_t n = 0; n < whole.len; n++) {
        uint8_t *copy = test_malloc(n + 1); /* so that a sanitizer sees reads behind the end */
        memcpy(copy, whole.ptr, n);
        if (decode(sx_bytes(copy, n)))
            fail_msg("%zu of %zu bytes decode", n, whole.len);
        test_free(copy);
    }
}

static bool decode_info_v2(simplex_bytes in)
{
    struct sx_rd r = sx_rd_init(in);
    struct sx_queue_addr q;

    sx_queue_info_decode(&r, &q);
    return sx_rd_done(&r);
}

static bool decode_uri(simplex_bytes in)
{
    struct sx_rd r = sx_rd_init(in);
    struct sx_queue_addr q;

    sx_queue_uri_decode(&r, &q);
    return sx_rd_done(&r);
}

static bool decode_message(simplex_bytes in)
{
    struct sx_agent_msg m;

    return sx_agent_msg_decode(in, &m) == SIMPLEX_OK;
}

static void truncated_addresses_are_refused(void **state)
{
    struct sx_queue_addr q;
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 1000);
    make_queue(&q);
    q.v = (struct sx_range){ 2, 2 };
    sx_queue_info_encode(&w, &q);
    assert_all_prefixes_fail(sx_wr_bytes(&w), decode_info_v2);
    sx_wr_reset(&w);
    q.v = (struct sx_range){ 1, 1 };
    sx_queue_info_encode(&w, &q);
    assert_all_prefixes_fail(sx_wr_bytes(&w), decode_info_v2);
    sx_wr_reset(&w);
    sx_queue_uri_encode(&w, &q);
    assert_all_prefixes_fail(sx_wr_bytes(&w), decode_uri);
    sx_wr_free(&w);
}

static void addresses_without_an_id_or_with_another_key_are_refused(void **state)
{
    struct sx_queue_addr q;
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 1000);
    make_queue(&q);
    q.snd_id.len = 0;
    sx_queue_info_encode(&w, &q);
    assert_false(decode_info_v2(sx_wr_bytes(&w)));
    sx_wr_reset(&w);
    make_queue(&q);
    make_key(SX_X448, &q.dh);
    sx_queue_info_encode(&w, &q);
    assert_false(decode_info_v2(sx_wr_bytes(&w)));
    sx_wr_free(&w);
}

static void six_known_servers_of_version_1_get_their_onion_host(void **state)
{
    static const char *const names[] = { "smp4.simplex.im", "smp5.simplex.im", "smp6.simplex.im",
                                         "smp8.simplex.im", "smp9.simplex.im", "smp10.simplex.im" };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        struct sx_queue_addr q;
        struct sx_wr w;

        make_queue(&q);
        q.v = (struct sx_range){ 1, 1 };
        assert_int_equal(sx_host_parse(sx_str(names[i]), &q.server.hosts[0]), SIMPLEX_OK);
        sx_wr_init(&w, 1000);
        sx_queue_uri_print(&w, &q);
        assert_int_equal(sx_queue_uri_parse(sx_wr_bytes(&w), &q), SIMPLEX_OK);
        assert_int_equal(q.server.n_hosts, 2);
        assert_int_equal(q.server.hosts[1].kind, SX_HOST_ONION);
        sx_wr_reset(&w);
        sx_queue_uri_print(&w, &q); /* with srv now: nothing is added again */
        assert_int_equal(sx_queue_uri_parse(sx_wr_bytes(&w), &q), SIMPLEX_OK);
        assert_int_equal(q.server.n_hosts, 2);
        sx_wr_free(&w);
    }
}

static void body_keys_must_be_of_their_kind(void **state)
{
    struct sx_client_msg m = { .version = 4, .has_key = true }, got;
    struct sx_private_msg p = { .has_key = true }, got_p;
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 1000);
    make_key(SX_ED25519, &m.key);
    sx_client_msg_encode(&w, &m);
    assert_int_equal(sx_client_msg_decode(sx_wr_bytes(&w), &got), SIMPLEX_E_DECODE);
    sx_wr_reset(&w);
    make_key(SX_X448, &p.key);
    sx_private_msg_encode(&w, &p);
    assert_int_equal(sx_private_msg_decode(sx_wr_bytes(&w), &got_p), SIMPLEX_E_DECODE);
    sx_wr_reset(&w);
    make_key(SX_X25519, &p.key);
    sx_private_msg_encode(&w, &p);
    assert_int_equal(sx_private_msg_decode(sx_wr_bytes(&w), &got_p), SIMPLEX_OK);
    assert_int_equal(sx_private_msg_decode(sx_str("Xenvelope"), &got_p), SIMPLEX_E_DECODE);
    assert_int_equal(sx_private_msg_decode(sx_str(""), &got_p), SIMPLEX_E_DECODE);
    assert_int_equal(sx_client_msg_decode(vec_unhex("000430"), &got), SIMPLEX_E_DECODE);
    assert_int_equal(sx_client_msg_decode(vec_unhex("000432"), &got), SIMPLEX_E_DECODE);
    sx_wr_free(&w);
}

/* M, id 5, an empty previous hash, then the message in hex. */
static simplex_bytes message(const char *hex)
{
    char text[512];

    (void)snprintf(text, sizeof text, "4d000000000000000500%s", hex);
    return vec_unhex(text);
}

static void malformed_messages_are_refused(void **state)
{
    (void)state;
    assert_true(decode_message(message("48")));      /* HELLO */
    assert_false(decode_message(message("4848")));   /* with more behind it */
    assert_false(decode_message(message("")));       /* no tag */
    assert_false(decode_message(message("51")));     /* half a tag */
    assert_false(decode_message(message("515a")));   /* QZ */
    assert_false(decode_message(message("5600")));   /* an empty list of receipts */
    assert_false(decode_message(message("515400"))); /* of queues to test */
    assert_false(decode_message(message("450000"))); /* EREADY cut short */
    assert_true(decode_message(message("56010000000000000003000000")));
    assert_false(decode_message(message("56020000000000000003000000")));   /* one item of two */
    assert_false(decode_message(message("5601000000000000000300000000"))); /* left-overs */
    assert_false(decode_message(sx_str("")));
    assert_false(decode_message(sx_str("X")));
    assert_false(decode_message(vec_unhex("4400"))); /* no reply queue */
    assert_false(decode_message(sx_str("M")));
}

static void truncated_lists_are_refused(void **state)
{
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE, .snd_msg_id = 3, .msg = SX_M_QADD };
    struct sx_qadd add = { .has_replaced = true };
    struct sx_qkey key;
    struct sx_wr items, w;

    (void)state;
    sx_wr_init(&items, 4000);
    sx_wr_init(&w, 4000);
    make_queue(&add.queue);
    add.replaced.server = add.queue.server;
    add.replaced.snd_id = add.queue.snd_id;
    sx_qadd_encode(&items, &add);
    sx_qadd_encode(&items, &add);
    m.list = (struct sx_list){ 2, sx_wr_bytes(&items) };
    sx_agent_msg_encode(&w, &m);
    assert_all_prefixes_fail(sx_wr_bytes(&w), decode_message);
    sx_wr_reset(&items);
    sx_wr_reset(&w);
    make_queue(&key.queue);
    make_key(SX_ED448, &key.key);
    sx_qkey_encode(&items, &key);
    m.msg = SX_M_QKEY;
    m.list = (struct sx_list){ 1, sx_wr_bytes(&items) };
    sx_agent_msg_encode(&w, &m);
    assert_all_prefixes_fail(sx_wr_bytes(&w), decode_message);
    sx_wr_free(&items);
    sx_wr_free(&w);
}

static void what_does_not_fit_is_not_encoded(void **state)
{
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE, .msg = SX_M_QTEST };
    struct sx_envelope e = { .version = 7, .tag = 'Z' };
    uint8_t long_hash[256] = { 0 };
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 100000);
    sx_agent_msg_encode(&w, &m); /* an empty list */
    assert_true(w.bad);
    sx_wr_reset(&w);
    m.list.count = 256;
    sx_agent_msg_encode(&w, &m);
    assert_true(w.bad);
    sx_wr_reset(&w);
    m = (struct sx_agent_msg){ .tag = SX_AM_MESSAGE, .msg = SX_M_HELLO };
    m.prev_hash = sx_bytes(long_hash, sizeof long_hash);
    sx_agent_msg_encode(&w, &m);
    assert_true(w.bad);
    sx_wr_reset(&w);
    m = (struct sx_agent_msg){ .tag = SX_AM_MESSAGE };
    sx_agent_msg_encode(&w, &m); /* no message tag */
    assert_true(w.bad);
    sx_wr_reset(&w);
    sx_envelope_encode(&w, &e);
    assert_true(w.bad);
    sx_wr_free(&w);
    assert_string_equal(sx_msg_name(SX_M_QCONT), "QC");
    assert_string_equal(sx_msg_name((enum sx_msg_tag)99), "?");
}

static void query_parameters_are_found_and_decoded(void **state)
{
    static const struct {
        const char *query, *name, *value; /* NULL: not there */
    } rows[] = {
        { "a=1&b=2", "b", "2" },     { "a=1;b=2", "b", "2" }, { "a=1&a=2", "a", "1" },
        { "aa=1&a=2", "a", "2" },    { "a=b=c", "a", "b=c" }, { "a", "a", "" },
        { "a=", "a", "" },           { "&&a=1&", "a", "1" },  { "a=x+y%20z", "a", "x y z" },
        { "a=%zz%4", "a", "%zz%4" }, { "%61=1", "a", "1" },   { "a=%C3%bc", "a", "\xc3\xbc" },
        { "ab=1", "a", NULL },       { "", "a", NULL },       { "=1", "a", NULL },
        { "A=1", "a", NULL },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_wr w;
        sx_wr_init(&w, 100);
        bool found = sx_query_get(sx_str(rows[i].query), rows[i].name, &w);
        if (found != (rows[i].value != NULL))
            fail_msg("%s in %s", rows[i].name, rows[i].query);
        if (found)
            vec_assert_eq(sx_wr_bytes(&w), sx_str(rows[i].value), rows[i].query);
        sx_wr_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kem_parts_of_wrong_sizes_are_refused),
        cmocka_unit_test(links_and_ratchet_keys_accept_no_kem_answer),
        cmocka_unit_test(version_ranges_agree_on_the_lower_maximum),
        cmocka_unit_test(truncated_addresses_are_refused),
        cmocka_unit_test(addresses_without_an_id_or_with_another_key_are_refused),
        cmocka_unit_test(six_known_servers_of_version_1_get_their_onion_host),
        cmocka_unit_test(body_keys_must_be_of_their_kind),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(truncated_lists_are_refused),
        cmocka_unit_test(what_does_not_fit_is_not_encoded),
        cmocka_unit_test(query_parameters_are_found_and_decoded),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, vec_teardown);
}
