/* SPDX-License-Identifier: Apache-2.0 */
/* simplex/ratchet.h as an application uses it. */
#include "simplex/ratchet.h"
#include "support/vec.h"

#define PADDED 1000
#define MSG_MAX (PADDED + SIMPLEX_RATCHET_OVERHEAD_MAX)

struct talk {
    simplex_ratchet *i, *j;
};

static void start(struct talk *t, bool pq)
{
    simplex_ratchet_keys *keys, *stored;
    uint8_t link[SIMPLEX_RATCHET_PARAMS_MAX], reply[SIMPLEX_RATCHET_PARAMS_MAX], bytes[8192];
    size_t link_len = sizeof link, reply_len = sizeof reply, len = sizeof bytes;
    uint8_t a[32], b[32];

    assert_int_equal(simplex_ratchet_keys_new(pq, &keys), SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_keys_params(keys, link, &link_len), SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_keys_export(keys, bytes, &len), SIMPLEX_OK);
    simplex_ratchet_keys_free(keys);
    assert_int_equal(simplex_ratchet_join(sx_bytes(link, link_len), pq, reply, &reply_len, &t->j),
                     SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_keys_import(sx_bytes(bytes, len), &stored), SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_accept(stored, sx_bytes(reply, reply_len), pq, &t->i),
                     SIMPLEX_OK);
    simplex_ratchet_keys_free(stored);
    assert_int_equal(simplex_ratchet_ad_hash(t->i, a), SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_ad_hash(t->j, b), SIMPLEX_OK);
    assert_memory_equal(a, b, 32);
}

static void stop(struct talk *t)
{
    simplex_ratchet_free(t->i);
    simplex_ratchet_free(t->j);
}

static simplex_bytes say(simplex_ratchet *r, simplex_pq pq, const char *text, uint8_t *buf)
{
    size_t len = MSG_MAX, expected = simplex_ratchet_message_len(r, pq, PADDED);

    assert_int_equal(simplex_ratchet_encrypt(r, pq, sx_str(text), PADDED, buf, &len), SIMPLEX_OK);
    assert_int_equal(len, expected);
    return sx_bytes(buf, len);
}

static void hear(simplex_ratchet *r, simplex_bytes msg, const char *text)
{
    uint8_t plain[MSG_MAX];
    size_t len = sizeof plain;
    bool changed = false;
    uint32_t count = 7;

    assert_int_equal(simplex_ratchet_decrypt(r, msg, plain, &len, &changed, &count), SIMPLEX_OK);
    assert_true(sx_bytes_eq(sx_bytes(plain, len), sx_str(text)));
    assert_true(changed);
    assert_int_equal(count, 0);
}

static void store_and_load(simplex_ratchet **r)
{
    size_t len = 0, again;

    assert_int_equal(simplex_ratchet_export(*r, NULL, &len), SIMPLEX_E_BUFFER);
    assert_true(len > 300);
    uint8_t *bytes = vec_keep(len);
    again = len - 1;
    assert_int_equal(simplex_ratchet_export(*r, bytes, &again), SIMPLEX_E_BUFFER);
    assert_int_equal(again, len);
    assert_int_equal(simplex_ratchet_export(*r, bytes, &again), SIMPLEX_OK);
    simplex_ratchet_free(*r);
    assert_int_equal(simplex_ratchet_import(sx_bytes(bytes, len), r), SIMPLEX_OK);
    for (size_t n = 0; n < len; n++) {
        simplex_ratchet *bad;
        assert_int_equal(simplex_ratchet_import(sx_bytes(bytes, n), &bad), SIMPLEX_E_DECODE);
        assert_null(bad);
    }
}

static void applications_talk_and_store_their_state(void **state)
{
    uint8_t a[MSG_MAX], b[MSG_MAX];
    struct talk t;

    (void)state;
    for (int pq = 0; pq < 2; pq++) {
        bool sending, receiving;

        start(&t, pq);
        simplex_bytes late = say(t.j, SIMPLEX_PQ_KEEP, "late", a);
        for (int n = 0; n < 4; n++) {
            hear(t.i, say(t.j, SIMPLEX_PQ_KEEP, "from j", b), "from j");
            store_and_load(&t.i);
            hear(t.j, say(t.i, SIMPLEX_PQ_KEEP, "from i", b), "from i");
            store_and_load(&t.j);
        }
        assert_int_equal(simplex_ratchet_missing(t.i), 1);
        hear(t.i, late, "late");
        assert_int_equal(simplex_ratchet_missing(t.i), 0);
        assert_int_equal(simplex_ratchet_pq_state(t.i, &sending, &receiving), SIMPLEX_OK);
        assert_int_equal(sending && receiving, pq && simplex_ratchet_pq_available());
        stop(&t);
    }
}

static void pq_flag_of_a_message_starts_pq(void **state)
{
    uint8_t b[MSG_MAX];
    struct talk t;
    bool sending = false;

    (void)state;
    if (!simplex_ratchet_pq_available())
        skip();
    start(&t, false);
    for (int n = 0; n < 3; n++) {
        hear(t.i, say(t.j, SIMPLEX_PQ_ON, "on", b), "on");
        hear(t.j, say(t.i, SIMPLEX_PQ_ON, "on", b), "on");
    }
    assert_int_equal(simplex_ratchet_pq_state(t.i, &sending, NULL), SIMPLEX_OK);
    assert_true(sending);
    stop(&t);
}

static void short_buffers_change_nothing(void **state)
{
    uint8_t b[MSG_MAX], plain[MSG_MAX], link[SIMPLEX_RATCHET_PARAMS_MAX];
    struct talk t;
    size_t len = 10, need;

    (void)state;
    start(&t, false);
    need = simplex_ratchet_message_len(t.j, SIMPLEX_PQ_KEEP, PADDED);
    assert_int_equal(simplex_ratchet_encrypt(t.j, SIMPLEX_PQ_KEEP, sx_str("x"), PADDED, b, &len),
                     SIMPLEX_E_BUFFER);
    assert_int_equal(len, need);
    simplex_bytes m = say(t.j, SIMPLEX_PQ_KEEP, "first", b);
    len = m.len - 1;
    assert_int_equal(simplex_ratchet_decrypt(t.i, m, plain, &len, NULL, NULL), SIMPLEX_E_BUFFER);
    assert_int_equal(len, m.len);
    hear(t.i, m, "first");
    assert_int_equal(simplex_ratchet_missing(t.i), 0); /* the short call used no number */
    stop(&t);

    simplex_ratchet_keys *keys;
    assert_int_equal(simplex_ratchet_keys_new(false, &keys), SIMPLEX_OK);
    len = 5;
    assert_int_equal(simplex_ratchet_keys_params(keys, link, &len), SIMPLEX_E_BUFFER);
    assert_int_equal(simplex_ratchet_keys_params(keys, link, &len), SIMPLEX_OK);
    need = 100;
    assert_int_equal(simplex_ratchet_join(sx_bytes(link, len), false, b, &need, &t.j),
                     SIMPLEX_E_BUFFER);
    assert_int_equal(need, SIMPLEX_RATCHET_PARAMS_MAX);
    simplex_ratchet_keys_free(keys);
}

static void failures_are_reported_with_their_number(void **state)
{
    uint8_t b[3][MSG_MAX], plain[MSG_MAX];
    simplex_bytes m[3];
    struct talk t;
    size_t len = sizeof plain;
    bool changed = false;
    uint32_t count = 0;

    (void)state;
    start(&t, false);
    assert_int_equal(
        simplex_ratchet_encrypt(t.i, SIMPLEX_PQ_KEEP, sx_str("x"), PADDED, plain, &len),
        SIMPLEX_E_RATCHET_NO_CHAIN);
    for (int n = 0; n < 3; n++)
        m[n] = say(t.j, SIMPLEX_PQ_KEEP, "text", b[n]);
    for (int n = 0; n < 3; n++)
        hear(t.i, m[n], "text");
    len = sizeof plain;
    assert_int_equal(simplex_ratchet_decrypt(t.i, m[0], plain, &len, &changed, &count),
                     SIMPLEX_E_RATCHET_EARLIER);
    assert_int_equal(count, 2);
    assert_true(changed);
    assert_int_equal(len, 0);
    len = sizeof plain;
    assert_int_equal(simplex_ratchet_decrypt(t.j, m[0], plain, &len, &changed, &count),
                     SIMPLEX_E_RATCHET_HEADER);
    assert_false(changed);
    len = sizeof plain;
    assert_int_equal(simplex_ratchet_decrypt(t.i, sx_str("hi"), plain, &len, NULL, NULL),
                     SIMPLEX_E_DECODE);
    stop(&t);
}

static void forgotten_messages_stay_unreadable(void **state)
{
    uint8_t a[MSG_MAX], b[MSG_MAX], plain[MSG_MAX];
    struct talk t;
    size_t len = sizeof plain;

    (void)state;
    start(&t, false);
    simplex_bytes lost = say(t.j, SIMPLEX_PQ_KEEP, "lost", a);
    hear(t.i, say(t.j, SIMPLEX_PQ_KEEP, "read", b), "read");
    assert_int_equal(simplex_ratchet_missing(t.i), 1);
    assert_int_equal(simplex_ratchet_forget_missing(t.i), SIMPLEX_OK);
    assert_int_equal(simplex_ratchet_missing(t.i), 0);
    assert_int_equal(simplex_ratchet_decrypt(t.i, lost, plain, &len, NULL, NULL),
                     SIMPLEX_E_RATCHET_EARLIER);
    stop(&t);
}

static void wrong_arguments_are_refused(void **state)
{
    uint8_t b[MSG_MAX];
    struct talk t;
    simplex_ratchet *r;
    simplex_ratchet_keys *k;
    size_t len = sizeof b;

    (void)state;
    start(&t, false);
    assert_int_equal(simplex_ratchet_keys_new(false, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_keys_params(NULL, b, &len), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_keys_export(NULL, b, &len), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_keys_import(sx_bytes(NULL, 4), &k), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_keys_import(sx_str("keys"), &k), SIMPLEX_E_DECODE);
    assert_int_equal(simplex_ratchet_join(sx_str("link"), false, b, &len, &r), SIMPLEX_E_DECODE);
    assert_null(r);
    assert_int_equal(simplex_ratchet_accept(NULL, sx_str("x"), false, &r), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_encrypt(t.j, SIMPLEX_PQ_KEEP, sx_str("x"), PADDED, b, NULL),
                     SIMPLEX_E_ARG);
    len = sizeof b;
    assert_int_equal(simplex_ratchet_encrypt(t.j, (simplex_pq)9, sx_str("x"), PADDED, b, &len),
                     SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_encrypt(t.j, SIMPLEX_PQ_KEEP, sx_str("x"), 2, b, &len),
                     SIMPLEX_E_TOO_LARGE);
    assert_int_equal(simplex_ratchet_encrypt(t.j, SIMPLEX_PQ_KEEP, sx_str("x"), 65536, b, &len),
                     SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_decrypt(NULL, sx_str("x"), b, &len, NULL, NULL),
                     SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_export(t.j, NULL, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_import(sx_bytes(NULL, 0), &r), SIMPLEX_E_DECODE);
    assert_int_equal(simplex_ratchet_ad_hash(t.j, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_ratchet_missing(NULL), 0);
    assert_int_equal(simplex_ratchet_message_len(NULL, SIMPLEX_PQ_KEEP, 5), 0);
    simplex_ratchet_free(NULL);
    simplex_ratchet_keys_free(NULL);
    stop(&t);
}

static void largest_message_passes(void **state)
{
    static uint8_t plain[65533], out[65535 + SIMPLEX_RATCHET_OVERHEAD_MAX], back[sizeof out];
    struct talk t;
    size_t len = sizeof out, back_len = sizeof back;

    (void)state;
    start(&t, true);
    memset(plain, 'z', sizeof plain);
    assert_int_equal(simplex_ratchet_encrypt(t.j, SIMPLEX_PQ_KEEP, sx_bytes(plain, sizeof plain),
                                             SIMPLEX_RATCHET_PADDED_MAX, out, &len),
                     SIMPLEX_OK);
    assert_true(len <= SIMPLEX_RATCHET_PADDED_MAX + SIMPLEX_RATCHET_OVERHEAD_MAX);
    assert_int_equal(simplex_ratchet_decrypt(t.i, sx_bytes(out, len), back, &back_len, NULL, NULL),
                     SIMPLEX_OK);
    vec_assert_eq(sx_bytes(back, back_len), sx_bytes(plain, sizeof plain), "largest");
    stop(&t);
}

/* The whole life of a conversation, with allocation number nth failing. */
static simplex_rc life(unsigned nth, bool *fired)
{
    static uint8_t link[SIMPLEX_RATCHET_PARAMS_MAX], reply[SIMPLEX_RATCHET_PARAMS_MAX];
    static uint8_t msg[3][MSG_MAX], plain[MSG_MAX], bytes[20000];
    size_t link_len = sizeof link, reply_len = sizeof reply, len = sizeof bytes;
    size_t msg_len = MSG_MAX, plain_len = MSG_MAX;
    simplex_ratchet_keys *k = NULL;
    simplex_ratchet *i = NULL, *j = NULL, *loaded = NULL;

    sx_fault_malloc(nth);
    simplex_rc rc = simplex_ratchet_keys_new(true, &k);
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_keys_params(k, link, &link_len);
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_join(sx_bytes(link, link_len), true, reply, &reply_len, &j);
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_accept(k, sx_bytes(reply, reply_len), true, &i);
    for (int n = 0; n < 3 && rc == SIMPLEX_OK; n++) {
        msg_len = MSG_MAX;
        rc = simplex_ratchet_encrypt(j, SIMPLEX_PQ_KEEP, sx_str("x"), PADDED, msg[n], &msg_len);
    }
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_decrypt(i, sx_bytes(msg[0], msg_len), plain, &plain_len, NULL, NULL);
    if (rc == SIMPLEX_OK) {
        plain_len = MSG_MAX;
        rc = simplex_ratchet_decrypt(i, sx_bytes(msg[2], msg_len), plain, &plain_len, NULL, NULL);
    }
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_export(i, bytes, &len);
    if (rc == SIMPLEX_OK)
        rc = simplex_ratchet_import(sx_bytes(bytes, len), &loaded);
    *fired = sx_fault_disarm();
    simplex_ratchet_free(i);
    simplex_ratchet_free(j);
    simplex_ratchet_free(loaded);
    simplex_ratchet_keys_free(k);
    return rc;
}

static void every_call_survives_each_failed_malloc(void **state)
{
    size_t live = sx_fault_live_blocks();
    bool fired = true;
    unsigned nth = 0;

    (void)state;
    for (; fired; nth++) {
        simplex_rc rc = life(nth, &fired);
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
    assert_true(nth > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(applications_talk_and_store_their_state, vec_teardown),
        cmocka_unit_test(pq_flag_of_a_message_starts_pq),
        cmocka_unit_test(short_buffers_change_nothing),
        cmocka_unit_test(failures_are_reported_with_their_number),
        cmocka_unit_test(forgotten_messages_stay_unreadable),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(largest_message_passes),
        cmocka_unit_test(every_call_survives_each_failed_malloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
