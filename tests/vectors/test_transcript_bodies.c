/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every body of the recorded transcripts: rebuilt from its plaintext (support/transcript.c compares
 * length and digest), opened again, decoded and encoded again; its key is the DH of the two keys
 * named.
 */
#include "support/transcript.h"

#include "wire/agent_msg.h"
#include "wire/queue.h"

struct counts {
    size_t bodies, boxes, dh, send, msg, nmsg, forwarded, proxied, link, ratchet;
};

static struct sx_wr writer(void)
{
    struct sx_wr w;

    sx_wr_fixed(&w, vec_keep(2 * SX_BLOCK), 2 * SX_BLOCK);
    return w;
}

static void assert_written(const struct sx_wr *w, simplex_bytes want, const char *what)
{
    assert_false(w->bad);
    vec_assert_eq(sx_wr_bytes(w), want, what);
}

static void check_dh(const struct transcript *t, const cJSON *box, struct counts *n)
{
    const cJSON *of = vec_opt(box, "dh_of");
    bool found = false;

    if (of == NULL)
        return;
    simplex_bytes spki[2] = { vec_unhex(cJSON_GetArrayItem(of, 0)->valuestring),
                              vec_unhex(cJSON_GetArrayItem(of, 1)->valuestring) };
    for (int i = 0; i < 2; i++) {
        const struct sx_keypair *k = tr_key(t, spki[i]);
        struct sx_pub other;
        uint8_t secret[SX_DH_MAX];
        if (k == NULL)
            continue;
        found = true;
        assert_int_equal(sx_spki_decode(spki[1 - i], &other), SIMPLEX_OK);
        assert_int_equal(sx_dh(&k->priv, &other, secret), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(secret, 32), vec_hex(box, "key"), "box key");
    }
    assert_true(found);
    n->dh++;
}

/* Opens a copy of `sealed`; padded boxes are unpadded. */
static simplex_bytes open_box(const cJSON *box, simplex_bytes sealed)
{
    struct sx_box_key k;
    uint8_t *copy = vec_keep(sealed.len);
    simplex_bytes m;

    memcpy(copy, sealed.ptr, sealed.len);
    sx_box_key_init(&k, vec_hex(box, "key").ptr);
    const uint8_t *nonce = vec_hex(box, "nonce").ptr;
    if (vec_opt(box, "padded_len") != NULL) {
        assert_int_equal(vec_int(box, "padded_len") + SX_BOX_TAG, sealed.len);
        assert_int_equal(sx_box_open_padded(&k, nonce, copy, sealed.len, &m), SIMPLEX_OK);
        return m;
    }
    assert_int_equal(sx_box_open(&k, nonce, sealed, copy), SIMPLEX_OK);
    return sx_bytes(copy, sealed.len - SX_BOX_TAG);
}

static void check_envelope(simplex_bytes envelope, const char *tag)
{
    struct sx_envelope e;
    struct sx_wr w = writer();

    assert_int_equal(sx_envelope_decode(envelope, &e), SIMPLEX_OK);
    assert_int_equal(e.tag, tag[0]);
    sx_envelope_encode(&w, &e);
    assert_written(&w, envelope, "envelope");
}

static void check_send(const cJSON *body, simplex_bytes bytes)
{
    const cJSON *box = vec_opt(body, "box");
    struct sx_client_msg m;
    struct sx_private_msg p;
    struct sx_wr w = writer(), w2 = writer();

    if (box == NULL)
        return; /* `fill`: not made by an agent */
    assert_int_equal(sx_client_msg_decode(bytes, &m), SIMPLEX_OK);
    assert_int_equal(m.version, vec_int(body, "client_version"));
    assert_int_equal(m.has_key, vec_opt(body, "header_key") != NULL);
    vec_assert_eq(sx_bytes(m.nonce, 24), vec_hex(box, "nonce"), "nonce");
    sx_client_msg_encode(&w, &m);
    assert_written(&w, bytes, "SEND body");
    simplex_bytes plain = open_box(box, m.box);
    assert_int_equal(sx_private_msg_decode(plain, &p), SIMPLEX_OK);
    assert_int_equal(p.has_key, vec_opt(body, "private_header_key") != NULL);
    sx_private_msg_encode(&w2, &p);
    assert_written(&w2, plain, "private message");
    check_envelope(p.envelope, vec_text(body, "envelope_tag"));
}

static void check_msg(simplex_bytes plain)
{
    struct sx_rcv_msg m;
    struct sx_wr w = writer();

    assert_int_equal(sx_rcv_msg_decode(plain, &m), SIMPLEX_OK);
    sx_rcv_msg_encode(&w, &m);
    assert_written(&w, plain, "MSG");
}

static void check_nmsg(simplex_bytes plain)
{
    struct sx_ntf_meta m;
    struct sx_wr w = writer();

    assert_int_equal(sx_ntf_meta_decode(plain, &m), SIMPLEX_OK);
    sx_ntf_meta_encode(&w, &m);
    assert_written(&w, plain, "NMSG");
}

static void check_rfwd(simplex_bytes plain)
{
    struct sx_fwd_transmission f;
    struct sx_wr w = writer();

    assert_int_equal(sx_fwd_transmission_decode(plain, &f), SIMPLEX_OK);
    sx_fwd_transmission_encode(&w, &f);
    assert_written(&w, plain, "RFWD");
}

static void check_rres(simplex_bytes plain)
{
    struct sx_fwd_response f;
    struct sx_wr w = writer();

    assert_int_equal(sx_fwd_response_decode(plain, &f), SIMPLEX_OK);
    sx_fwd_response_encode(&w, &f);
    assert_written(&w, plain, "RRES");
}

/* One transmission in a batch of its own, a command or a response. */
static void check_proxied(simplex_bytes plain, bool response)
{
    enum { VERSION = 17 }; /* of the PFWDs recorded */
    struct sx_batch_rd b;
    struct sx_transmission t;
    struct sx_cmd cmd;
    struct sx_rsp rsp;
    struct sx_smp_err err;
    simplex_bytes one;
    struct sx_wr w = writer();

    assert_int_equal(sx_batch_open(plain, &b), SIMPLEX_OK);
    assert_true(sx_batch_next(&b, &one));
    assert_int_equal(sx_transmission_decode(one, VERSION, &t), SIMPLEX_OK);
    if (response) {
        assert_int_equal(sx_rsp_decode(t.command, VERSION, &rsp), SIMPLEX_OK);
        sx_rsp_encode(&w, &rsp, VERSION);
    } else {
        assert_int_equal(sx_cmd_decode(t.command, VERSION, &cmd, &err), SIMPLEX_OK);
        sx_cmd_encode(&w, &cmd, VERSION);
    }
    assert_written(&w, t.command, "proxied");
    assert_false(sx_batch_next(&b, &one));
}

static void check_body(struct transcript *t, const cJSON *body, struct counts *n)
{
    const char *kind = vec_text(body, "kind");
    const cJSON *box = vec_opt(body, "box");
    simplex_bytes bytes = tr_body(t, body), plain = { NULL, 0 };

    n->bodies++;
    if (box != NULL) {
        check_dh(t, box, n);
        n->boxes++;
    }
    if (box != NULL && vec_opt(box, "plain") != NULL) {
        size_t skip = vec_hex_opt(body, "nonce_prefix").len;
        plain = open_box(box, sx_bytes(bytes.ptr + skip, bytes.len - skip));
        vec_assert_eq(plain, tr_parts(t, vec_get(box, "plain")), kind);
    }
    if (strcmp(kind, "send") == 0) {
        check_send(body, bytes);
        n->send++;
    } else if (strcmp(kind, "msg") == 0) {
        check_msg(plain);
        n->msg++;
    } else if (strcmp(kind, "nmsg") == 0) {
        check_nmsg(plain);
        n->nmsg++;
    } else if (strcmp(kind, "rfwd") == 0) {
        check_rfwd(plain);
        n->forwarded++;
    } else if (strcmp(kind, "rres") == 0) {
        check_rres(plain);
        n->forwarded++;
    } else if (strcmp(kind, "pfwd") == 0 || strcmp(kind, "pres") == 0) {
        check_proxied(plain, kind[1] == 'r');
        n->proxied++;
    } else {
        assert_string_equal(kind, "link");
        n->link++;
    }
}

/* Header: u16 version, IV, tag, L(encrypted); the plaintext is one agent message. */
static void check_ratchet_message(struct transcript *t, const cJSON *m, struct counts *n)
{
    struct sx_rd r = sx_rd_init(vec_hex(m, "header"));
    struct sx_agent_msg msg;
    struct sx_wr w = writer();
    simplex_bytes plain;

    (void)tr_ratchet_message(t, m);
    (void)sx_rd_u16(&r);
    simplex_bytes iv = sx_rd_take(&r, 16), tag = sx_rd_take(&r, 16), enc = sx_rd_large(&r);
    assert_true(sx_rd_done(&r));
    uint8_t *out = vec_keep(enc.len);
    assert_int_equal(sx_gcm_decrypt(vec_hex(m, "header_key").ptr, iv.ptr, iv.len, vec_hex(m, "ad"),
                                    sx_bytes(NULL, 0), enc, tag.ptr, out),
                     SIMPLEX_OK);
    assert_int_equal(enc.len, vec_int(m, "header_padded_len"));
    assert_int_equal(sx_unpad(sx_bytes(out, enc.len), &plain), SIMPLEX_OK);
    vec_assert_eq(plain, vec_hex(m, "header_plain"), "ratchet header");
    plain = vec_hex(m, "plain");
    assert_int_equal(sx_agent_msg_decode(plain, &msg), SIMPLEX_OK);
    sx_agent_msg_encode(&w, &msg);
    assert_written(&w, plain, "agent message");
    n->ratchet++;
}

static void add_file(const char *name, struct counts *n)
{
    struct transcript t;
    const cJSON *x;

    tr_open(&t, name);
    vec_each(x, vec_get(t.json, "bodies")) check_body(&t, x, n);
    if (vec_opt(t.json, "ratchet_messages") != NULL) {
        vec_each(x, vec_get(t.json, "ratchet_messages")) check_ratchet_message(&t, x, n);
    }
    tr_close(&t);
}

static void bodies_of_raw_sessions(void **state)
{
    struct counts n = { 0 };

    (void)state;
    add_file("transcript-smp-v6.json", &n);
    add_file("transcript-smp-v9.json", &n);
    add_file("transcript-smp-v18.json", &n);
    add_file("transcript-smp-hello.json", &n);
    add_file("transcript-service.json", &n);
    assert_int_equal(n.bodies, 31);
    assert_int_equal(n.msg, 23);
    assert_int_equal(n.nmsg, 2);
    assert_int_equal(n.send, 6);
    assert_int_equal(n.dh, 25);
    assert_int_equal(n.boxes, 25);
}

static void bodies_of_agents(void **state)
{
    struct counts n = { 0 };

    (void)state;
    add_file("transcript-agents.json", &n);
    add_file("transcript-agents-standard.json", &n);
    add_file("transcript-contact.json", &n);
    add_file("transcript-switch.json", &n);
    add_file("transcript-resync.json", &n);
    add_file("transcript-short-links.json", &n);
    assert_int_equal(n.send, 50);
    assert_int_equal(n.msg, 50);
    assert_int_equal(n.link, 4);
    assert_int_equal(n.bodies, 104);
    assert_int_equal(n.boxes, 104);
    assert_int_equal(n.dh, 100);
    assert_int_equal(n.ratchet, 47);
}

static void bodies_of_private_routing(void **state)
{
    struct counts n = { 0 };

    (void)state;
    add_file("transcript-proxy.json", &n);
    assert_int_equal(n.bodies, 20);
    assert_int_equal(n.forwarded, 6);
    assert_int_equal(n.proxied, 6);
    assert_int_equal(n.send, 4);
    assert_int_equal(n.msg, 4);
    assert_int_equal(n.dh, 20);
    assert_int_equal(n.ratchet, 4);
}

static int set_up(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_raw_sessions),
        cmocka_unit_test(bodies_of_agents),
        cmocka_unit_test(bodies_of_private_routing),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
