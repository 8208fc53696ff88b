/* SPDX-License-Identifier: Apache-2.0 */
/* Replays the agent's part of encodings.json: envelopes, messages, queue addresses. */
#include "support/vec.h"

#include "wire/agent_msg.h"

#define SND_ID "303132333435363738393a3b3c3d3e3f4041424344454647"

static void assert_written(struct sx_wr *w, simplex_bytes want, const char *what)
{
    assert_false(w->bad);
    vec_assert_eq(sx_wr_bytes(w), want, what);
    sx_wr_free(w);
}

/* ---- the body of SEND ---- */

static void replay_client_msg(const cJSON *row)
{
    simplex_bytes bytes = vec_hex(row, "bytes"), key = vec_hex_opt(row, "e2e_key");
    struct sx_client_msg m = { .version = (uint16_t)vec_int(row, "version"),
                               .has_key = key.len > 0,
                               .box = vec_hex(row, "encrypted") };
    struct sx_client_msg got;
    struct sx_wr w;

    if (m.has_key)
        assert_int_equal(sx_spki_decode(key, &m.key), SIMPLEX_OK);
    memcpy(m.nonce, vec_hex(row, "nonce").ptr, sizeof m.nonce);
    sx_wr_init(&w, 1000);
    sx_client_msg_encode(&w, &m);
    assert_written(&w, bytes, "client message");

    assert_int_equal(sx_client_msg_decode(bytes, &got), SIMPLEX_OK);
    assert_int_equal(got.version, m.version);
    assert_int_equal(got.has_key, m.has_key);
    assert_true(sx_pub_eq(&got.key, &m.key));
    assert_memory_equal(got.nonce, m.nonce, sizeof m.nonce);
    vec_assert_eq(got.box, m.box, "box");
}

static void replay_private_msg(const cJSON *row)
{
    simplex_bytes bytes = vec_hex(row, "bytes"), key = vec_hex_opt(row, "private_header_key");
    struct sx_private_msg m = { .has_key = key.len > 0, .envelope = vec_hex(row, "body") };
    struct sx_private_msg got;
    struct sx_wr w;

    if (m.has_key)
        assert_int_equal(sx_spki_decode(key, &m.key), SIMPLEX_OK);
    sx_wr_init(&w, 1000);
    sx_private_msg_encode(&w, &m);
    assert_written(&w, bytes, "private message");

    assert_int_equal(sx_private_msg_decode(bytes, &got), SIMPLEX_OK);
    assert_int_equal(got.has_key, m.has_key);
    assert_true(sx_pub_eq(&got.key, &m.key));
    vec_assert_eq(got.envelope, m.envelope, "envelope");
}

static void client_messages_round_trip(void **state)
{
    cJSON *json = vec_load("encodings.json");
    const cJSON *row;
    unsigned outer = 0, inner = 0;

    (void)state;
    vec_each(row, vec_get(json, "client_message"))
    {
        if (vec_opt(row, "version") != NULL) {
            replay_client_msg(row);
            outer++;
        } else {
            replay_private_msg(row);
            inner++;
        }
    }
    assert_int_equal(outer, 2);
    assert_int_equal(inner, 2);
    cJSON_Delete(json);
}

/* ---- envelopes ---- */

static simplex_bytes filled(int byte, size_t n)
{
    return sx_bytes(memset(vec_keep(n), byte, n), n);
}

/* The rows describe their parameters in words. */
static const struct {
    const char *words;
    uint16_t version;
    uint8_t kem;
} e2e_kinds[] = {
    { "version 2 parameters", 2, SX_KEM_NONE },
    { "version 3 parameters, no KEM", 3, SX_KEM_NONE },
    { "version 3, KEM proposed; key is 1158 bytes 4b", 3, SX_KEM_PROPOSED },
    { "version 3, KEM accepted; ciphertext is 1039 bytes 43, key 1158 bytes 4b", 3,
      SX_KEM_ACCEPTED },
};

static void e2e_from(const char *words, const cJSON *keys, struct sx_e2e_params *p)
{
    size_t i = 0;

    memset(p, 0, sizeof *p);
    while (i < SX_COUNT(e2e_kinds) && strcmp(e2e_kinds[i].words, words) != 0)
        i++;
    assert_true(i < SX_COUNT(e2e_kinds));
    p->v.min = p->v.max = e2e_kinds[i].version;
    p->kem.kind = e2e_kinds[i].kem;
    if (p->kem.kind != SX_KEM_NONE)
        p->kem.pk = filled(0x4b, SX_KEM_PK);
    if (p->kem.kind == SX_KEM_ACCEPTED)
        p->kem.ct = filled(0x43, SX_KEM_CT);
    assert_int_equal(sx_pub_from_raw(SX_X448, vec_hex(keys, "k1"), &p->k1), SIMPLEX_OK);
    assert_int_equal(sx_pub_from_raw(SX_X448, vec_hex(keys, "k2"), &p->k2), SIMPLEX_OK);
}

static void envelope_from(const cJSON *row, const cJSON *keys, struct sx_envelope *e)
{
    static const struct {
        const char *kind;
        uint8_t tag;
    } kinds[] = { { "confirmation", SX_ENV_CONFIRMATION },
                  { "message", SX_ENV_MESSAGE },
                  { "invitation", SX_ENV_INVITATION },
                  { "ratchet key", SX_ENV_RATCHET_KEY } };

    memset(e, 0, sizeof *e);
    for (size_t i = 0; i < SX_COUNT(kinds); i++) {
        if (strcmp(kinds[i].kind, vec_text(row, "kind")) == 0)
            e->tag = kinds[i].tag;
    }
    e->version = (uint16_t)vec_int(row, "agent_version");
    e->body = vec_hex(row, "body");
    e->has_e2e = vec_opt(row, "e2e") != NULL;
    if (e->has_e2e)
        e2e_from(vec_text(row, "e2e"), keys, &e->e2e);
    if (vec_opt(row, "conn_req") != NULL)
        e->link = sx_str(vec_text(row, "conn_req"));
}

static void assert_envelope_eq(const struct sx_envelope *a, const struct sx_envelope *b)
{
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->tag, b->tag);
    assert_int_equal(a->has_e2e, b->has_e2e);
    assert_int_equal(a->e2e.v.min, b->e2e.v.min);
    assert_int_equal(a->e2e.v.max, b->e2e.v.max);
    assert_true(sx_pub_eq(&a->e2e.k1, &b->e2e.k1));
    assert_true(sx_pub_eq(&a->e2e.k2, &b->e2e.k2));
    assert_int_equal(a->e2e.kem.kind, b->e2e.kem.kind);
    vec_assert_eq(a->e2e.kem.pk, b->e2e.kem.pk, "KEM key");
    vec_assert_eq(a->e2e.kem.ct, b->e2e.kem.ct, "KEM ciphertext");
    vec_assert_eq(a->link, b->link, "link");
    vec_assert_eq(a->body, b->body, "body");
}

static void envelopes_round_trip(void **state)
{
    cJSON *json = vec_load("encodings.json");
    const cJSON *rows = vec_get(json, "agent_envelope"), *row, *keys = NULL;
    unsigned n = 0;

    (void)state;
    vec_each(row, rows)
    {
        if (strcmp(vec_text(row, "kind"), "x448_keys_used") == 0)
            keys = row;
    }
    assert_non_null(keys);
    vec_each(row, rows)
    {
        struct sx_envelope e, got;
        struct sx_wr w;

        if (row == keys)
            continue;
        envelope_from(row, keys, &e);
        sx_wr_init(&w, 16000);
        sx_envelope_encode(&w, &e);
        assert_written(&w, vec_hex(row, "bytes"), vec_text(row, "kind"));
        assert_int_equal(sx_envelope_decode(vec_hex(row, "bytes"), &got), SIMPLEX_OK);
        assert_envelope_eq(&got, &e);
        n++;
    }
    assert_int_equal(n, 9);
    cJSON_Delete(json);
}

/* ---- agent messages ---- */

static void assert_test_server(const struct sx_server *s)
{
    assert_int_equal(s->n_hosts, 1);
    assert_string_equal(s->hosts[0].text, "127.0.0.1");
    assert_string_equal(s->port, "5223");
}

static void assert_test_ref(const struct sx_queue_ref *q)
{
    assert_test_server(&q->server);
    vec_assert_eq(sx_id_bytes(&q->snd_id), vec_unhex(SND_ID), "sender id");
}

/* Each list function reads all items, checks what is known of them and writes them again. */
static void again_receipts(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    const cJSON *want;

    vec_each(want, vec_get(row, "receipts"))
    {
        struct sx_receipt x;

        sx_receipt_next(r, &x);
        assert_int_equal(x.id, vec_int(want, "id"));
        vec_assert_eq(x.hash, vec_hex(want, "hash"), "receipt hash");
        vec_assert_eq(x.info, vec_hex(want, "info"), "receipt info");
        sx_receipt_encode(w, &x);
    }
}

static void again_qadd(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    struct sx_qadd x;

    sx_qadd_next(r, &x);
    assert_int_equal(x.queue.v.min, 1);
    assert_int_equal(x.queue.v.max, 4);
    assert_test_server(&x.queue.server);
    assert_int_equal(x.queue.mode, SX_MODE_MESSAGING);
    assert_int_equal(x.has_replaced, strstr(vec_text(row, "kind"), "replacing") != NULL);
    if (x.has_replaced)
        assert_test_server(&x.replaced.server);
    sx_qadd_encode(w, &x);
}

static void again_qkey(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    struct sx_qkey x;

    (void)row;
    sx_qkey_next(r, &x);
    assert_int_equal(x.queue.v.max, 4);
    assert_test_server(&x.queue.server);
    assert_int_equal(x.key.alg, SX_ED25519);
    sx_qkey_encode(w, &x);
}

static void again_quse(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    struct sx_quse x;

    sx_quse_next(r, &x);
    assert_test_ref(&x.queue);
    assert_int_equal(x.primary, strcmp(vec_text(row, "kind"), "QUSE primary") == 0);
    sx_quse_encode(w, &x);
}

static void again_qtest(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    struct sx_queue_ref x;

    (void)row;
    sx_queue_ref_decode(r, &x);
    assert_test_ref(&x);
    sx_queue_ref_encode(w, &x);
}

static void again_reply_queue(const cJSON *row, struct sx_rd *r, struct sx_wr *w)
{
    struct sx_queue_addr x;
    const char *words = strstr(vec_text(row, "kind"), "version ");

    assert_non_null(words);
    sx_queue_info_decode(r, &x);
    assert_int_equal(x.v.min, words[8] - '0');
    assert_int_equal(x.v.max, words[8] - '0');
    assert_test_server(&x.server);
    assert_int_equal(x.mode, x.v.max >= 3 ? SX_MODE_MESSAGING : SX_MODE_NONE);
    sx_queue_info_encode(w, &x);
}

typedef void again_fn(const cJSON *row, struct sx_rd *r, struct sx_wr *w);

static const struct {
    const char *prefix; /* of the row's kind */
    uint8_t tag, msg;
    const char *name;
    again_fn *again;
} kinds[] = {
    { "conn info with reply queue", SX_AM_INFO_REPLY, 0, "?", again_reply_queue },
    { "conn info", SX_AM_INFO, 0, "?", NULL },
    { "ratchet info", SX_AM_RATCHET_INFO, 0, "?", NULL },
    { "HELLO", SX_AM_MESSAGE, SX_M_HELLO, "H", NULL },
    { "A_MSG", SX_AM_MESSAGE, SX_M_MSG, "M", NULL },
    { "A_RCVD", SX_AM_MESSAGE, SX_M_RCVD, "V", again_receipts },
    { "A_QCONT", SX_AM_MESSAGE, SX_M_QCONT, "QC", NULL },
    { "QADD", SX_AM_MESSAGE, SX_M_QADD, "QA", again_qadd },
    { "QKEY", SX_AM_MESSAGE, SX_M_QKEY, "QK", again_qkey },
    { "QUSE", SX_AM_MESSAGE, SX_M_QUSE, "QU", again_quse },
    { "QTEST", SX_AM_MESSAGE, SX_M_QTEST, "QT", again_qtest },
    { "EREADY", SX_AM_MESSAGE, SX_M_EREADY, "E", NULL },
};

static size_t kind_index(const char *kind)
{
    for (size_t i = 0; i < SX_COUNT(kinds); i++) {
        if (strncmp(kind, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return i;
    }
    fail_msg("unknown kind %s", kind);
    return 0;
}

static void assert_scalars(const cJSON *row, const struct sx_agent_msg *m)
{
    if (vec_opt(row, "info") != NULL)
        vec_assert_eq(m->info, vec_hex(row, "info"), "info");
    if (vec_opt(row, "snd_msg_id") != NULL) {
        assert_int_equal(m->snd_msg_id, vec_int(row, "snd_msg_id"));
        vec_assert_eq(m->prev_hash, vec_hex(row, "prev_hash"), "previous hash");
    }
    if (vec_opt(row, "body") != NULL)
        vec_assert_eq(m->body, vec_hex(row, "body"), "body");
    if (vec_opt(row, "last_id") != NULL)
        assert_int_equal(m->eready, vec_int(row, "last_id"));
    if (m->msg == SX_M_QCONT)
        assert_test_ref(&m->qcont);
}

static void agent_messages_round_trip(void **state)
{
    cJSON *json = vec_load("encodings.json");
    const cJSON *row;
    unsigned n = 0, lists = 0;

    (void)state;
    vec_each(row, vec_get(json, "agent_message"))
    {
        size_t i = kind_index(vec_text(row, "kind"));
        simplex_bytes bytes = vec_hex(row, "bytes");
        struct sx_agent_msg m;
        struct sx_wr items, w;

        assert_int_equal(sx_agent_msg_decode(bytes, &m), SIMPLEX_OK);
        assert_int_equal(m.tag, kinds[i].tag);
        assert_int_equal(m.msg, kinds[i].msg);
        assert_string_equal(sx_msg_name((enum sx_msg_tag)m.msg), kinds[i].name);
        assert_scalars(row, &m);

        sx_wr_init(&items, 16000);
        if (kinds[i].again != NULL) {
            struct sx_list *l = m.tag == SX_AM_INFO_REPLY ? &m.queues : &m.list;
            struct sx_rd r = sx_rd_init(l->items);

            kinds[i].again(row, &r, &items);
            assert_true(sx_rd_done(&r));
            assert_false(items.bad);
            l->items = sx_wr_bytes(&items);
            lists++;
        }
        sx_wr_init(&w, 16000);
        sx_agent_msg_encode(&w, &m);
        assert_written(&w, bytes, vec_text(row, "kind"));
        sx_wr_free(&items);
        n++;
    }
    assert_int_equal(n, 18);
    assert_int_equal(lists, 11);
    cJSON_Delete(json);
}

/* ---- queue addresses ---- */

static void queue_from(const cJSON *j, const char *min, const char *max, struct sx_queue_addr *q)
{
    simplex_bytes id = vec_hex(j, "snd_id");
    const cJSON *mode = vec_opt(j, "mode");

    memset(q, 0, sizeof *q);
    q->v = (struct sx_range){ (uint16_t)vec_int(j, min), (uint16_t)vec_int(j, max) };
    assert_int_equal(sx_server_parse(sx_str(vec_text(j, "server")), &q->server, NULL), SIMPLEX_OK);
    q->snd_id.len = (uint8_t)id.len;
    memcpy(q->snd_id.b, id.ptr, id.len);
    assert_int_equal(sx_spki_decode(vec_hex(j, "dh_key"), &q->dh), SIMPLEX_OK);
    q->mode = mode != NULL ? (uint8_t)mode->valuestring[0] : SX_MODE_NONE;
}

static void assert_queue_eq(const struct sx_queue_addr *a, const struct sx_queue_addr *b)
{
    assert_int_equal(a->v.min, b->v.min);
    assert_int_equal(a->v.max, b->v.max);
    assert_true(sx_server_eq(&a->server, &b->server));
    vec_assert_eq(sx_id_bytes(&a->snd_id), sx_id_bytes(&b->snd_id), "sender id");
    assert_true(sx_pub_eq(&a->dh, &b->dh));
    assert_int_equal(a->mode, b->mode);
}

static void queue_infos_of_each_version_round_trip(void **state)
{
    cJSON *json = vec_load("encodings.json");
    const cJSON *row;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(json, "smp_queue_info"))
    {
        struct sx_queue_addr q, want;
        struct sx_rd r = sx_rd_init(vec_hex(row, "bytes"));
        struct sx_wr w;

        queue_from(row, "client_version", "client_version", &q);
        sx_wr_init(&w, 1000);
        sx_queue_info_encode(&w, &q);
        assert_written(&w, vec_hex(row, "bytes"), "queue info");

        queue_from(vec_get(row, "decoded"), "client_version", "client_version", &want);
        sx_queue_info_decode(&r, &q);
        assert_true(sx_rd_done(&r));
        assert_queue_eq(&q, &want);
        n++;
    }
    assert_int_equal(n, 16);
    cJSON_Delete(json);
}

static void queue_uris_of_each_range_round_trip_as_text_and_binary(void **state)
{
    cJSON *json = vec_load("encodings.json");
    const cJSON *row;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(json, "smp_queue_uri"))
    {
        struct sx_queue_addr q, want;
        struct sx_rd r = sx_rd_init(vec_hex(row, "bytes"));
        struct sx_wr w;

        queue_from(row, "min", "max", &q);
        sx_wr_init(&w, 1000);
        sx_queue_uri_encode(&w, &q);
        assert_written(&w, vec_hex(row, "bytes"), "queue URI");
        sx_wr_init(&w, 1000);
        sx_queue_uri_print(&w, &q);
        assert_written(&w, sx_str(vec_text(row, "text")), "queue URI text");

        queue_from(vec_get(row, "decoded"), "min", "max", &want);
        sx_queue_uri_decode(&r, &q);
        assert_true(sx_rd_done(&r));
        assert_queue_eq(&q, &want);

        queue_from(vec_get(row, "decoded_text"), "min", "max", &want);
        assert_int_equal(sx_queue_uri_parse(sx_str(vec_text(row, "text")), &q), SIMPLEX_OK);
        assert_queue_eq(&q, &want);
        n++;
    }
    assert_int_equal(n, 21);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_messages_round_trip),
        cmocka_unit_test(envelopes_round_trip),
        cmocka_unit_test(agent_messages_round_trip),
        cmocka_unit_test(queue_infos_of_each_version_round_trip),
        cmocka_unit_test(queue_uris_of_each_range_round_trip_as_text_and_binary),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, vec_teardown);
}
