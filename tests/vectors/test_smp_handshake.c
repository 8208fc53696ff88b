/* SPDX-License-Identifier: Apache-2.0 */
/* Replays the handshake and the bodies of encodings.json and the addresses of links.json. */
#include "smp_fields.h"

static cJSON *enc;
static cJSON *links;

static int setup(void **state)
{
    (void)state;
    if (sx_crypto_init() != SIMPLEX_OK)
        return -1;
    enc = vec_load("encodings.json");
    links = vec_load("links.json");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cJSON_Delete(enc);
    cJSON_Delete(links);
    vec_free_all();
    return 0;
}

/* ---- handshake ---- */

static const cJSON *handshake(const char *key)
{
    return vec_get(vec_get(enc, "handshake"), key);
}

static void set_certs(simplex_bytes both, simplex_bytes *certs, size_t *n,
                      simplex_bytes *signed_key)
{
    simplex_bytes chain;

    split_chain(both, &chain, signed_key);
    assert_int_equal(sx_chain_decode(chain, certs, n), SIMPLEX_OK);
    assert_int_equal(*n, 2);
}

/* A peer of a later version may say more. */
static simplex_bytes with_trailer(simplex_bytes content)
{
    struct sx_wr w = writer();

    sx_wr_raw(&w, content);
    sx_wr_text(&w, "more");
    return keep(&w);
}

static simplex_bytes server_hello_bytes(const struct sx_server_hello *h)
{
    struct sx_wr w = writer();

    sx_server_hello_encode(&w, h);
    return keep(&w);
}

static void says_hello_as_a_server(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, handshake("server_hello"))
    {
        simplex_bytes want = vec_hex(row, "content");
        struct sx_server_hello got,
            h = { .min = (uint16_t)vec_int(row, "min"), .max = (uint16_t)vec_int(row, "max") };

        h.session_id = vec_hex(vec_get(enc, "handshake"), "session_id");
        h.has_key = h.max >= 7;
        if (h.has_key)
            set_certs(vec_hex(vec_get(enc, "handshake"), "server_chain_and_signed_key"), h.certs,
                      &h.n_certs, &h.signed_key);
        vec_assert_eq(server_hello_bytes(&h), want, "server hello");
        assert_int_equal(sx_server_hello_decode(want, &got), SIMPLEX_OK);
        vec_assert_eq(server_hello_bytes(&got), want, "server hello again");
        assert_int_equal(sx_server_hello_decode(with_trailer(want), &got), SIMPLEX_OK);
        vec_assert_eq(server_hello_bytes(&got), want, "server hello with a trailer");
        rows++;
    }
    assert_int_equal(rows, 3);
}

static simplex_bytes client_hello_bytes(const struct sx_client_hello *h)
{
    struct sx_wr w = writer();

    sx_client_hello_encode(&w, h);
    return keep(&w);
}

static void check_client_hello(const cJSON *row)
{
    simplex_bytes want = vec_hex(row, "content");
    const cJSON *service = vec_opt(row, "service");
    struct sx_client_hello got, h = { .version = (uint16_t)vec_int(row, "version") };

    h.key_hash = vec_hex(vec_get(enc, "handshake"), "key_hash");
    h.has_key = has(row, "key");
    if (h.has_key)
        h.key = key_field(row, "key");
    h.proxy = vec_bool(row, "proxy");
    h.has_service = service != NULL;
    if (service != NULL) {
        h.service_role = (uint8_t)vec_text(service, "role")[0];
        set_certs(vec_hex(service, "chain_and_signed_key"), h.certs, &h.n_certs, &h.signed_key);
    }
    vec_assert_eq(client_hello_bytes(&h), want, "client hello");
    assert_int_equal(sx_client_hello_decode(want, &got), SIMPLEX_OK);
    assert_int_equal(got.has_key, h.has_key && h.version >= 7);
    vec_assert_eq(client_hello_bytes(&got), want, "client hello again");
    assert_int_equal(sx_client_hello_decode(with_trailer(want), &got), SIMPLEX_OK);
    vec_assert_eq(client_hello_bytes(&got), want, "client hello with a trailer");
}

static void says_hello_as_a_client(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, handshake("client_hello"))
    {
        check_client_hello(row);
        rows++;
    }
    assert_int_equal(rows, 36);
}

static void answers_services_in_the_handshake(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, handshake("server_response"))
    {
        simplex_bytes want = vec_hex(row, "content");
        struct sx_service_reply m, got;
        struct sx_wr w = writer();

        assert_int_equal(sx_service_reply_decode(want, &m), SIMPLEX_OK);
        assert_int_equal(m.ok, has(row, "service_id"));
        if (m.ok)
            vec_assert_eq(m.service_id, vec_hex(row, "service_id"), "service_id");
        else
            vec_assert_eq(sx_bytes(want.ptr + 1, want.len - 1), sx_str(vec_text(row, "error")),
                          "the text after E");
        sx_service_reply_encode(&w, &m);
        vec_assert_eq(keep(&w), want, "service reply");
        if (m.ok)
            assert_int_equal(sx_service_reply_decode(with_trailer(want), &got), SIMPLEX_OK);
        rows++;
    }
    assert_int_equal(rows, 4);
}

/* ---- bodies ---- */

static void writes_and_reads_the_plaintext_of_messages(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(enc, "rcv_message"))
    {
        simplex_bytes want = vec_hex(row, "plain");
        struct sx_rcv_msg got, m = { .ts_s = vec_int(row, "ts"), .quota = has(row, "quota") };
        struct sx_wr w = writer();

        if (!m.quota) {
            m.notify = vec_bool(row, "notification");
            m.body = vec_hex(row, "body");
        }
        sx_rcv_msg_encode(&w, &m);
        vec_assert_eq(keep(&w), want, "message");
        assert_int_equal(sx_rcv_msg_decode(want, &got), SIMPLEX_OK);
        assert_int_equal(got.quota, m.quota);
        assert_int_equal(got.ts_s, m.ts_s);
        assert_int_equal(got.notify, m.notify);
        vec_assert_eq(got.body, m.body, "body");
        rows++;
    }
    assert_int_equal(rows, 2);
}

static void encrypts_messages_as_the_server(void **state)
{
    const cJSON *row = vec_get(enc, "rcv_message_encrypted");
    struct sx_pub srv = key_field(row, "srv_dh_pub");
    struct sx_priv rcv = { .alg = SX_X25519 };
    simplex_bytes nonce = vec_hex(row, "msg_id_is_nonce"), plain;
    uint8_t secret[SX_DH_MAX], hash[32], *box = vec_keep(SX_MSG_BODY);
    struct sx_box_key k;
    struct sx_rcv_msg m;

    (void)state;
    memcpy(rcv.b, vec_hex(row, "rcv_dh_priv").ptr, 32);
    assert_int_equal(sx_dh(&rcv, &srv, secret), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(secret, 32), vec_hex(row, "secret"), "secret");
    sx_box_key_init(&k, secret);
    assert_int_equal(nonce.len, SX_NONCE_LEN);
    assert_int_equal(sx_box_seal_padded(&k, nonce.ptr, vec_hex(row, "plain"), SX_MSG_PADDED, box),
                     SIMPLEX_OK);
    assert_int_equal(vec_int(row, "encrypted_len"), SX_MSG_BODY);
    sx_sha256(sx_bytes(box, SX_MSG_BODY), hash);
    vec_assert_eq(sx_bytes(hash, 32), vec_hex(row, "encrypted_sha256"), "encrypted_sha256");
    vec_assert_eq(sx_bytes(box, 64), vec_hex(row, "encrypted_first_64"), "encrypted_first_64");
    assert_int_equal(sx_box_open_padded(&k, nonce.ptr, box, SX_MSG_BODY, &plain), SIMPLEX_OK);
    assert_int_equal(sx_rcv_msg_decode(plain, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str("sent body"), "body");
}

static void encrypts_notifications_as_the_server(void **state)
{
    const cJSON *row = vec_get(enc, "ntf_meta");
    struct sx_ntf_meta got, m = { .msg_id = vec_hex(row, "msg_id"), .ts_s = vec_int(row, "ts") };
    uint8_t box[SX_NMSG_PADDED + SX_BOX_TAG];
    struct sx_wr w = writer();
    struct sx_box_key k;
    simplex_bytes opened;

    (void)state;
    sx_ntf_meta_encode(&w, &m);
    simplex_bytes plain = keep(&w);
    vec_assert_eq(plain, vec_hex(row, "plain"), "plain");
    sx_box_key_init(&k, vec_hex(row, "secret").ptr);
    assert_int_equal(sx_box_seal_padded(&k, vec_hex(row, "nonce").ptr, plain, SX_NMSG_PADDED, box),
                     SIMPLEX_OK);
    vec_assert_eq(sx_bytes(box, sizeof box), vec_hex(row, "encrypted"), "encrypted");
    assert_int_equal(sx_box_open_padded(&k, vec_hex(row, "nonce").ptr, box, sizeof box, &opened),
                     SIMPLEX_OK);
    assert_int_equal(sx_ntf_meta_decode(with_trailer(opened), &got), SIMPLEX_OK);
    vec_assert_eq(got.msg_id, m.msg_id, "msg_id");
    assert_int_equal(got.ts_s, m.ts_s);
}

static void wraps_forwarded_transmissions(void **state)
{
    const cJSON *t = vec_get(vec_get(enc, "fwd"), "fwd_transmission");
    const cJSON *r = vec_get(vec_get(enc, "fwd"), "fwd_response");
    struct sx_fwd_transmission gt, ft = { .corr_id = vec_hex(t, "corr_id"),
                                          .version = (uint16_t)vec_int(t, "version"),
                                          .key = key_field(t, "key"),
                                          .encrypted = vec_hex(t, "encrypted") };
    struct sx_fwd_response gr,
        fr = { .corr_id = vec_hex(r, "corr_id"), .encrypted = vec_hex(r, "encrypted") };
    struct sx_wr w = writer();

    (void)state;
    sx_fwd_transmission_encode(&w, &ft);
    vec_assert_eq(keep(&w), vec_hex(t, "bytes"), "transmission");
    assert_int_equal(sx_fwd_transmission_decode(vec_hex(t, "bytes"), &gt), SIMPLEX_OK);
    vec_assert_eq(gt.corr_id, ft.corr_id, "corr_id");
    assert_int_equal(gt.version, ft.version);
    assert_true(sx_pub_eq(&gt.key, &ft.key));
    vec_assert_eq(gt.encrypted, ft.encrypted, "encrypted");

    w = writer();
    sx_fwd_response_encode(&w, &fr);
    vec_assert_eq(keep(&w), vec_hex(r, "bytes"), "response");
    assert_int_equal(sx_fwd_response_decode(vec_hex(r, "bytes"), &gr), SIMPLEX_OK);
    vec_assert_eq(gr.corr_id, fr.corr_id, "corr_id");
    vec_assert_eq(gr.encrypted, fr.encrypted, "encrypted");
}

/* ---- addresses ---- */

static bool is_rejected(const cJSON *result)
{
    return cJSON_IsString(result) && strcmp(result->valuestring, "rejected") == 0;
}

static const char *const kinds[] = {
    [SX_HOST_NAME] = "THDomainName",
    [SX_HOST_IPV4] = "THIPv4",
    [SX_HOST_IPV6] = "THIPv6",
    [SX_HOST_ONION] = "THOnionHost",
};

/* Traps of vectors/README.md: the reference takes the last octet modulo 256, we refuse it. */
static bool is_octet_trap(const char *text)
{
    return strcmp(text, "127.0.0.256") == 0 || strcmp(text, "1.2.3.999") == 0;
}

static void reads_host_names(void **state)
{
    const cJSON *row;
    int rows = 0, traps = 0;

    (void)state;
    vec_each(row, vec_get(links, "hosts"))
    {
        const char *text = vec_text(row, "text");
        const cJSON *want = vec_get(row, "result");
        struct sx_host h;
        simplex_rc rc = sx_host_parse(sx_str(text), &h);

        rows++;
        if (is_octet_trap(text)) {
            assert_int_equal(rc, SIMPLEX_E_ADDRESS);
            traps++;
        } else if (is_rejected(want)) {
            if (rc != SIMPLEX_E_ADDRESS)
                fail_msg("accepted: %s", text);
        } else {
            if (rc != SIMPLEX_OK)
                fail_msg("refused: %s", text);
            assert_string_equal(h.text, vec_text(want, "text"));
            assert_string_equal(kinds[h.kind], vec_text(want, "kind"));
        }
    }
    assert_int_equal(rows, 19);
    assert_int_equal(traps, 2);
}

static void check_server(const struct sx_server *s, const cJSON *want)
{
    struct sx_server again;
    const cJSON *host;
    unsigned n = 0;
    struct sx_wr w = writer();

    vec_each(host, vec_get(want, "hosts"))
        assert_string_equal(s->hosts[n++].text, host->valuestring);
    assert_int_equal(s->n_hosts, n);
    assert_string_equal(s->port, vec_text(want, "port"));
    vec_assert_eq(sx_bytes(s->key_hash, 32), vec_hex(want, "key_hash"), "key_hash");

    sx_server_print(&w, s, sx_bytes(NULL, 0));
    assert_int_equal(sx_server_parse(keep(&w), &again, NULL), SIMPLEX_OK);
    assert_true(sx_server_eq(s, &again));

    w = writer();
    sx_server_encode(&w, s);
    struct sx_rd r = sx_rd_init(keep(&w));
    sx_server_decode(&r, &again);
    assert_true(sx_rd_done(&r));
    assert_true(sx_server_eq(s, &again));
}

static void reads_server_addresses(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(links, "servers"))
    {
        const char *text = vec_text(row, "text");
        const cJSON *want = vec_get(row, "result");
        struct sx_server s;
        simplex_rc rc = sx_server_parse(sx_str(text), &s, NULL);

        if ((rc != SIMPLEX_OK) != is_rejected(want))
            fail_msg("%s: %d", text, rc);
        if (rc == SIMPLEX_OK)
            check_server(&s, want);
        rows++;
    }
    assert_int_equal(rows, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_hello_as_a_server),
        cmocka_unit_test(says_hello_as_a_client),
        cmocka_unit_test(answers_services_in_the_handshake),
        cmocka_unit_test(writes_and_reads_the_plaintext_of_messages),
        cmocka_unit_test(encrypts_messages_as_the_server),
        cmocka_unit_test(encrypts_notifications_as_the_server),
        cmocka_unit_test(wraps_forwarded_transmissions),
        cmocka_unit_test(reads_host_names),
        cmocka_unit_test(reads_server_addresses),
    };

    return cmocka_run_group_tests_name("smp_handshake", tests, setup, teardown);
}
