/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ratchet layer of the recorded conversations between agents: each message from its recorded
 * keys, and each operation of both ratchets from its recorded state. The field names are those of
 * the reference library (rcSnd, rcKEM ...).
 */
#include "ratchet/internal.h"
#include "ratchet_fields.h"

struct counts {
    unsigned messages, inits, encrypt, decrypt, failed;
};

/* ---- messages ---- */

/* Rebuilds the message from its recorded keys; the caller frees w. */
static void rebuild(const cJSON *m, struct sx_wr *w)
{
    struct sx_msg_key key = { .version = 3 };
    simplex_bytes emh = vec_hex(m, "header");
    size_t padded = (size_t)vec_int(m, "padded_len");
    uint8_t h[32];

    to(key.ad, vec_hex(m, "ad"), sizeof key.ad);
    to(key.mk, vec_hex(m, "msg_key"), sizeof key.mk);
    to(key.iv, vec_hex(m, "msg_iv"), sizeof key.iv);
    key.emh_len = (uint16_t)emh.len;
    to(key.emh, emh, emh.len);
    sx_wr_init(w, 32768);
    assert_int_equal(sx_ratchet_encrypt_body(&key, vec_hex(m, "plain"), padded, w), SIMPLEX_OK);
    assert_int_equal(w->len, vec_int(m, "len"));
    sx_sha256(sx_wr_bytes(w), h);
    vec_assert_eq(sx_bytes(h, 32), vec_hex(m, "sha256"), "message");
}

/* Both layers with the recorded keys alone, and the plain header both ways. */
static void check_message(const cJSON *m)
{
    struct sx_ratchet_parts p;
    struct sx_header h;
    struct sx_wr w, hw;
    simplex_bytes plain, ad = vec_hex(m, "ad"), want = vec_hex(m, "header_plain");
    uint8_t *room = vec_keep((size_t)vec_int(m, "len"));

    rebuild(m, &w);
    assert_int_equal(sx_ratchet_parts_decode(sx_wr_bytes(&w), &p), SIMPLEX_OK);
    vec_assert_eq(p.emh, vec_hex(m, "header"), "header");
    assert_int_equal(p.header.len, vec_int(m, "header_padded_len"));
    assert_int_equal(sx_gcm_decrypt(vec_hex(m, "header_key").ptr, p.header_iv, 16, ad,
                                    sx_bytes(NULL, 0), p.header, p.header_tag, room),
                     SIMPLEX_OK);
    assert_int_equal(sx_unpad(sx_bytes(room, p.header.len), &plain), SIMPLEX_OK);
    vec_assert_eq(plain, want, "header_plain");
    assert_int_equal(sx_header_decode(plain, p.version, &h), SIMPLEX_OK);
    sx_wr_init(&hw, 4096);
    sx_header_encode(&hw, &h, p.version);
    vec_assert_eq(sx_wr_bytes(&hw), want, "header encoded");
    sx_wr_free(&hw);
    assert_int_equal(sx_gcm_decrypt(vec_hex(m, "msg_key").ptr, vec_hex(m, "msg_iv").ptr, 16, ad,
                                    p.emh, p.body, p.tag, room),
                     SIMPLEX_OK);
    assert_int_equal(sx_unpad(sx_bytes(room, p.body.len), &plain), SIMPLEX_OK);
    vec_assert_eq(plain, vec_hex(m, "plain"), "plain");
    sx_wr_free(&w);
}

/* ---- states ---- */

static void assert_state(const struct sx_ratchet *got, const cJSON *state)
{
    struct sx_ratchet want;
    struct sx_wr a, b;

    load(state, &want);
    sx_wr_init(&a, 16384);
    sx_wr_init(&b, 16384);
    sx_ratchet_encode(&a, got);
    sx_ratchet_encode(&b, &want);
    vec_assert_eq(sx_wr_bytes(&a), sx_wr_bytes(&b), "state");
    assert_int_equal(got->n_skipped, 0);
    sx_wr_free(&a);
    sx_wr_free(&b);
}

/* ---- operations ---- */

static const cJSON *message_by_id(const cJSON *doc, const char *id)
{
    const cJSON *m;

    vec_each(m, vec_get(doc, "ratchet_messages")) if (strcmp(vec_text(m, "id"), id) == 0) return m;
    fail_msg("no message %s", id);
    return NULL;
}

static void op_encrypt(const cJSON *doc, const cJSON *op, struct sx_ratchet *r)
{
    const char *pq = vec_text(op, "pq");
    struct sx_msg_key key;
    const cJSON *m;
    uint8_t h[32];
    unsigned sent = 0;

    assert_int_equal(sx_ratchet_encrypt_header(r,
                                               strcmp(pq, "on") == 0    ? SX_PQ_ON
                                               : strcmp(pq, "off") == 0 ? SX_PQ_OFF
                                                                        : SX_PQ_KEEP,
                                               &key),
                     SIMPLEX_OK);
    sx_sha256(sx_bytes(key.emh, key.emh_len), h);
    vec_assert_eq(sx_bytes(h, 32), vec_hex(op, "header_sha256"), "header_sha256");
    vec_each(m, vec_get(doc, "ratchet_messages"))
    {
        if (!sx_bytes_eq(vec_hex(m, "header"), sx_bytes(key.emh, key.emh_len)))
            continue;
        vec_assert_eq(sx_bytes(key.mk, 32), vec_hex(m, "msg_key"), "msg_key");
        vec_assert_eq(sx_bytes(key.iv, 16), vec_hex(m, "msg_iv"), "msg_iv");
        sent++;
    }
    assert_int_equal(sent, 1);
}

static void op_decrypt(const cJSON *doc, const cJSON *op, const cJSON *after, struct sx_ratchet *r,
                       struct counts *c)
{
    const cJSON *m = message_by_id(doc, vec_text(op, "ratchet_message"));
    struct sx_ratchet next;
    struct sx_ratchet_in res;
    struct sx_wr w;
    uint8_t *plain = vec_keep((size_t)vec_int(m, "len"));
    simplex_rc want = SIMPLEX_OK;

    if (vec_opt(op, "error") != NULL) { /* the message for the ratchet that was replaced */
        want = SIMPLEX_E_RATCHET_HEADER;
        c->failed++;
    }
    rebuild(m, &w);
    load(after, &next);
    const struct sx_ratchet_fresh fresh = { .dh = &next.dhs,
                                            .kem = next.has_kem ? &next.kem : NULL,
                                            .ct = next.has_accepted ? next.accepted.ct : NULL,
                                            .ss = next.has_accepted ? next.accepted.ss : NULL };
    assert_int_equal(sx_ratchet_decrypt(r, sx_wr_bytes(&w), plain, &res, &fresh), want);
    if (want == SIMPLEX_OK)
        vec_assert_eq(res.text, vec_hex(m, "plain"), "plain");
    assert_int_equal(res.saved, want == SIMPLEX_OK);
    sx_wr_free(&w);
}

/* A database copied at one time and put back at another (`t_ms` of `api`). */
struct restore {
    const char *side; /* NULL: never */
    int64_t copied, put_back;
};

static void follow_restore(struct restore *rs, int64_t now, cJSON **copy, cJSON **state)
{
    if (rs->side == NULL)
        return;
    if (*copy == NULL && now > rs->copied)
        *copy = cJSON_Duplicate(*state, 1);
    if (now > rs->put_back) {
        cJSON_Delete(*state);
        *state = *copy;
        *copy = NULL;
        rs->side = NULL;
    }
}

static void replay_side(const cJSON *doc, const cJSON *ops, struct restore rs, struct counts *c)
{
    cJSON *state = NULL, *copy = NULL;
    const cJSON *op;

    vec_each(op, ops)
    {
        const char *name = vec_text(op, "op");
        struct sx_ratchet r;

        follow_restore(&rs, vec_int(op, "t_ms"), &copy, &state);
        if (strncmp(name, "init_", 5) == 0) {
            cJSON_Delete(state);
            state = cJSON_Duplicate(vec_get(op, "state"), 1);
            c->inits++;
            continue;
        }
        load(state, &r);
        merge(state, vec_opt(op, "changed"));
        if (strcmp(name, "encrypt") == 0) {
            op_encrypt(doc, op, &r);
            c->encrypt++;
        } else {
            assert_string_equal(name, "decrypt");
            op_decrypt(doc, op, state, &r, c);
            c->decrypt++;
        }
        assert_state(&r, state);
        sx_ratchet_wipe(&r);
    }
    assert_null(rs.side);
    cJSON_Delete(state);
}

static void replay(const char *name, struct restore rs, struct counts want)
{
    cJSON *doc = vec_load(name);
    const cJSON *m, *side;
    const struct restore never = { NULL, 0, 0 };
    struct counts c = { 0 };

    vec_each(m, vec_get(doc, "ratchet_messages"))
    {
        check_message(m);
        c.messages++;
    }
    vec_each(side, vec_get(doc, "ratchets")) replay_side(
        doc, side, rs.side != NULL && strcmp(rs.side, side->string) == 0 ? rs : never, &c);
    cJSON_Delete(doc);
    assert_int_equal(c.messages, want.messages);
    assert_int_equal(c.inits, want.inits);
    assert_int_equal(c.encrypt, want.encrypt);
    assert_int_equal(c.decrypt, want.decrypt);
    assert_int_equal(c.failed, want.failed);
}

static void agents_with_pq_replay(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    replay("transcript-agents.json", (struct restore){ 0 }, (struct counts){ 10, 2, 10, 10, 0 });
    replay("transcript-short-links.json", (struct restore){ 0 }, (struct counts){ 4, 2, 4, 4, 0 });
}

static void agents_without_pq_replay(void **state)
{
    (void)state;
    replay("transcript-agents-standard.json", (struct restore){ 0 },
           (struct counts){ 6, 2, 6, 6, 0 });
    replay("transcript-contact.json", (struct restore){ 0 }, (struct counts){ 4, 2, 4, 4, 0 });
    replay("transcript-proxy.json", (struct restore){ 0 }, (struct counts){ 4, 2, 4, 4, 0 });
    replay("transcript-switch.json", (struct restore){ 0 }, (struct counts){ 10, 2, 10, 10, 0 });
}

static void resynchronisation_replays(void **state)
{
    (void)state;
    /* "database restored from the copy made after "one from B"": these two times of B */
    replay("transcript-resync.json", (struct restore){ "B", 862, 1323 },
           (struct counts){ 13, 4, 13, 13, 1 });
}

static int setup(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(agents_with_pq_replay, vec_teardown),
        cmocka_unit_test_teardown(agents_without_pq_replay, vec_teardown),
        cmocka_unit_test_teardown(resynchronisation_replays, vec_teardown),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
