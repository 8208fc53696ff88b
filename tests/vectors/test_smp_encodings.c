/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays commands, responses, errors, transmissions and blocks of encodings.json: every row is
 * built from its fields, compared, decoded and written again, at every version listed for it.
 * Handshakes, bodies and addresses are in test_smp_handshake.c.
 */
#include "smp_fields.h"

#include <stdio.h>

static cJSON *enc;

static int setup(void **state)
{
    (void)state;
    if (sx_crypto_init() != SIMPLEX_OK)
        return -1;
    enc = vec_load("encodings.json");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cJSON_Delete(enc);
    vec_free_all();
    return 0;
}

/* ---- reading fields ---- */

static uint8_t mode_field(const cJSON *f, uint8_t absent)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(f, "mode");

    if (m == NULL)
        return absent;
    return cJSON_IsNull(m) ? SX_MODE_NONE : (uint8_t)m->valuestring[0];
}

static struct sx_keypair keypair(const char *name)
{
    const cJSON *k = vec_get(vec_get(enc, "keys"), name);
    struct sx_pub pub = key_field(k, "pub_spki");
    simplex_bytes raw = vec_hex(k, "priv");
    struct sx_priv priv = { .alg = pub.alg };
    struct sx_keypair pair;

    assert_int_equal(raw.len, sx_key_len(pub.alg));
    memcpy(priv.b, raw.ptr, raw.len);
    assert_int_equal(sx_keypair_from_priv(&priv, &pair), SIMPLEX_OK);
    assert_true(sx_pub_eq(&pair.pub, &pub));
    return pair;
}

/* The first word of a row's name, looked up in the names of the codec. */
static int tag_of(const char *name, const char *(*name_of)(int), int n)
{
    size_t len = strcspn(name, " ");

    for (int i = 0; i < n; i++) {
        if (strlen(name_of(i)) == len && memcmp(name_of(i), name, len) == 0)
            return i;
    }
    fail_msg("no tag for %s", name);
    return -1;
}

static const char *cmd_name(int i)
{
    return sx_cmd_name((enum sx_cmd_tag)i);
}

static const char *rsp_name(int i)
{
    return sx_rsp_name((enum sx_rsp_tag)i);
}

/* ---- commands ---- */

static void fill_new(struct sx_cmd *c, const cJSON *f)
{
    c->new_.auth = key_field(f, "rcv_auth_key");
    c->new_.dh = key_field(f, "rcv_dh_key");
    c->new_.has_password = has(f, "password");
    c->new_.password = vec_hex_opt(f, "password");
    c->new_.subscribe = !has(f, "subscribe") || vec_bool(f, "subscribe");
    c->new_.mode = mode_field(f, SX_MODE_MESSAGING);
    c->new_.has_link = has(f, "fixed_data");
    c->new_.link_id = vec_hex_opt(f, "link_id");
    c->new_.snd_id = vec_hex_opt(f, "snd_id");
    c->new_.fixed = vec_hex_opt(f, "fixed_data");
    c->new_.user = vec_hex_opt(f, "user_data");
    c->new_.has_ntf = has(f, "ntf_auth_key");
    if (c->new_.has_ntf) {
        c->new_.ntf_auth = key_field(f, "ntf_auth_key");
        c->new_.ntf_dh = key_field(f, "ntf_dh_key");
    }
}

static void fill_rkey(struct sx_cmd *c, const cJSON *f)
{
    struct sx_wr w = writer();
    const cJSON *k;

    vec_each(k, vec_get(f, "keys"))
    {
        sx_wr_short(&w, vec_unhex(k->valuestring));
        c->rkey.count++;
    }
    c->rkey.keys = keep(&w);
}

static void fill_prxy(struct sx_cmd *c, const cJSON *f)
{
    struct sx_server *s = &c->prxy.server;
    const cJSON *h;

    vec_each(h, vec_get(f, "hosts")) assert_int_equal(
        sx_host_parse(sx_str(h->valuestring), &s->hosts[s->n_hosts++]), SIMPLEX_OK);
    (void)snprintf(s->port, sizeof s->port, "%s", vec_text(f, "port"));
    memcpy(s->key_hash, vec_hex(f, "key_hash").ptr, sizeof s->key_hash);
    c->prxy.has_password = has(f, "password");
    c->prxy.password = vec_hex_opt(f, "password");
}

static struct sx_cmd build_cmd(const cJSON *row)
{
    struct sx_cmd c = { 0 };
    const cJSON *f = vec_get(row, "fields");

    c.tag = (enum sx_cmd_tag)tag_of(vec_text(row, "name"), cmd_name, SX_CMD_TAGS);
    switch (c.tag) {
    case SX_NEW:
        fill_new(&c, f);
        break;
    case SX_KEY:
    case SX_SKEY:
    case SX_LKEY:
        c.key.key = key_field(f, "key");
        break;
    case SX_RKEY:
        fill_rkey(&c, f);
        break;
    case SX_LSET:
        c.lset.link_id = vec_hex(f, "link_id");
        c.lset.fixed = vec_hex(f, "fixed_data");
        c.lset.user = vec_hex(f, "user_data");
        break;
    case SX_NKEY:
        c.nkey.auth = key_field(f, "ntf_auth_key");
        c.nkey.dh = key_field(f, "ntf_dh_key");
        break;
    case SX_ACK:
        c.ack.msg_id = vec_hex(f, "msg_id");
        break;
    case SX_SEND:
        c.send.notify = vec_bool(f, "notification");
        c.send.body = vec_hex(f, "body");
        break;
    case SX_PRXY:
        fill_prxy(&c, f);
        break;
    case SX_PFWD:
        c.pfwd.version = (uint16_t)vec_int(f, "version");
        c.pfwd.key = key_field(f, "command_key");
        c.pfwd.body = vec_hex(f, "encrypted");
        break;
    case SX_RFWD:
        c.rfwd.body = vec_hex(f, "encrypted");
        break;
    default:
        assert_int_equal(cJSON_GetArraySize(f), 0);
    }
    return c;
}

static simplex_bytes cmd_bytes(const struct sx_cmd *c, uint16_t v)
{
    struct sx_wr w = writer();

    sx_cmd_encode(&w, c, v);
    return keep(&w);
}

static void check_cmd(const struct sx_cmd *c, uint16_t v, simplex_bytes want, const char *name)
{
    struct sx_cmd got;
    struct sx_smp_err err;

    vec_assert_eq(cmd_bytes(c, v), want, name);
    if (sx_cmd_decode(want, v, &got, &err) != SIMPLEX_OK)
        fail_msg("%s is refused at version %u", name, v);
    assert_int_equal(err.err, SX_ERR_NONE);
    assert_int_equal(got.tag, c->tag);
    vec_assert_eq(cmd_bytes(&got, v), want, name);
}

static void writes_and_reads_commands_of_every_version(void **state)
{
    const cJSON *row, *group, *v;
    int rows = 0, forms = 0;

    (void)state;
    vec_each(row, vec_get(enc, "commands"))
    {
        struct sx_cmd c = build_cmd(row);

        rows++;
        vec_each(group, vec_get(row, "encoded"))
        {
            simplex_bytes want = vec_hex(group, "bytes");
            vec_each(v, vec_get(group, "versions"))
            {
                check_cmd(&c, (uint16_t)v->valueint, want, vec_text(row, "name"));
                forms++;
            }
        }
    }
    assert_int_equal(rows, 34);
    assert_int_equal(forms, 408);
}

/* ---- responses ---- */

static void fill_ids(struct sx_rsp *m, const cJSON *f)
{
    m->ids.rcv_id = vec_hex(f, "rcv_id");
    m->ids.snd_id = vec_hex(f, "snd_id");
    m->ids.srv_dh = key_field(f, "srv_dh_key");
    m->ids.mode = mode_field(f, SX_MODE_NONE);
    m->ids.has_link_id = has(f, "link_id");
    m->ids.link_id = vec_hex_opt(f, "link_id");
    m->ids.has_service_id = has(f, "service_id");
    m->ids.service_id = vec_hex_opt(f, "service_id");
    m->ids.has_ntf = has(f, "ntf_id");
    m->ids.ntf_id = vec_hex_opt(f, "ntf_id");
    if (m->ids.has_ntf)
        m->ids.ntf_srv_dh = key_field(f, "ntf_dh_key");
}

static void fill_pkey(struct sx_rsp *m, const cJSON *f)
{
    m->pkey.session_id = vec_hex(f, "session_id");
    m->pkey.min = (uint16_t)vec_int(f, "min_version");
    m->pkey.max = (uint16_t)vec_int(f, "max_version");
    split_chain(vec_hex(f, "chain_and_signed_key"), &m->pkey.chain, &m->pkey.signed_key);
}

static struct sx_rsp build_rsp(const cJSON *row, simplex_bytes newest)
{
    struct sx_rsp m = { 0 };
    const cJSON *f = vec_get(row, "fields");

    m.tag = (enum sx_rsp_tag)tag_of(vec_text(row, "name"), rsp_name, SX_RSP_TAGS);
    switch (m.tag) {
    case SX_R_IDS:
        fill_ids(&m, f);
        break;
    case SX_R_LNK:
        m.lnk.snd_id = vec_hex(f, "snd_id");
        m.lnk.fixed = vec_hex(f, "fixed_data");
        m.lnk.user = vec_hex(f, "user_data");
        break;
    case SX_R_SOK:
        m.sok.has_service_id = has(f, "service_id");
        m.sok.service_id = vec_hex_opt(f, "service_id");
        break;
    case SX_R_SOKS:
    case SX_R_ENDS:
        m.soks.count = vec_int(f, "count");
        break;
    case SX_R_MSG:
        m.msg.msg_id = vec_hex(f, "msg_id");
        m.msg.body = vec_hex(f, "body");
        break;
    case SX_R_NID:
        m.nid.ntf_id = vec_hex(f, "ntf_id");
        m.nid.srv_dh = key_field(f, "ntf_dh_key");
        break;
    case SX_R_NMSG:
        memcpy(m.nmsg.nonce, vec_hex(f, "nonce").ptr, sizeof m.nmsg.nonce);
        m.nmsg.meta = vec_hex(f, "encrypted_meta");
        break;
    case SX_R_PKEY:
        fill_pkey(&m, f);
        break;
    case SX_R_RRES:
    case SX_R_PRES:
        m.enc.body = vec_hex(f, "encrypted");
        break;
    case SX_R_INFO: /* the row has no fields: the JSON is the server's to make */
        m.info.json = sx_bytes(newest.ptr + 5, newest.len - 5);
        break;
    default:
        assert_int_equal(cJSON_GetArraySize(f), 0);
    }
    return m;
}

static simplex_bytes rsp_bytes(const struct sx_rsp *m, uint16_t v)
{
    struct sx_wr w = writer();

    sx_rsp_encode(&w, m, v);
    return keep(&w);
}

static enum sx_rsp_tag sent_tag(enum sx_rsp_tag tag, uint16_t v)
{
    if (tag == SX_R_SOK && v < 16)
        return SX_R_OK;
    return tag == SX_R_DELD && v < 10 ? SX_R_END : tag;
}

static void check_rsp(const struct sx_rsp *m, uint16_t v, simplex_bytes want, const char *name)
{
    struct sx_rsp got;

    vec_assert_eq(rsp_bytes(m, v), want, name);
    if (sx_rsp_decode(want, v, &got) != SIMPLEX_OK)
        fail_msg("%s is refused at version %u", name, v);
    assert_int_equal(got.tag, sent_tag(m->tag, v));
    vec_assert_eq(rsp_bytes(&got, v), want, name);
}

static void writes_and_reads_responses_of_every_version(void **state)
{
    const cJSON *row, *group, *v;
    int rows = 0, forms = 0;

    (void)state;
    vec_each(row, vec_get(enc, "responses"))
    {
        const cJSON *groups = vec_get(row, "encoded");
        int last = cJSON_GetArraySize(groups) - 1;
        struct sx_rsp m = build_rsp(row, vec_hex(cJSON_GetArrayItem(groups, last), "bytes"));

        rows++;
        vec_each(group, groups)
        {
            simplex_bytes want = vec_hex(group, "bytes");
            vec_each(v, vec_get(group, "versions"))
            {
                check_rsp(&m, (uint16_t)v->valueint, want, vec_text(row, "name"));
                forms++;
            }
        }
    }
    assert_int_equal(rows, 21);
    assert_int_equal(forms, 252);
}

/* ---- errors ---- */

static simplex_bytes err_bytes(const struct sx_smp_err *e, uint16_t v)
{
    struct sx_rsp m = { .tag = SX_R_ERR, .err = *e };

    return rsp_bytes(&m, v);
}

/* The text of a row is the newest form of the error, but for the two details of NETWORK. */
static struct sx_smp_err build_err(const char *text, bool same)
{
    struct sx_smp_err e;

    if (same) {
        assert_int_equal(sx_smp_err_decode(sx_str(text), &e), SIMPLEX_OK);
        return e;
    }
    size_t detail = strcspn(text, "[");
    assert_memory_equal(text, "PROXY BROKER NETWORK [", detail + 1);
    return (struct sx_smp_err){ .err = SX_ERR_PROXY,
                                .proxy = SX_PROXY_BROKER,
                                .broker = SX_BROKER_NETWORK,
                                .text = sx_str(text + detail) };
}

static void writes_and_reads_errors_of_every_version(void **state)
{
    const cJSON *row, *group, *v;
    int rows = 0, forms = 0;

    (void)state;
    vec_each(row, vec_get(enc, "errors"))
    {
        const char *text = vec_text(row, "error");
        struct sx_smp_err e = build_err(text, vec_bool(row, "decodes_to_same"));

        rows++;
        vec_each(group, vec_get(row, "encoded"))
        {
            simplex_bytes want = vec_hex(group, "bytes");
            vec_each(v, vec_get(group, "versions"))
            {
                struct sx_rsp got;
                uint16_t version = (uint16_t)v->valueint;

                vec_assert_eq(err_bytes(&e, version), want, text);
                assert_int_equal(sx_rsp_decode(want, version, &got), SIMPLEX_OK);
                assert_int_equal(got.tag, SX_R_ERR);
                vec_assert_eq(err_bytes(&got.err, version), want, text);
                forms++;
            }
        }
    }
    assert_int_equal(rows, 43);
    assert_int_equal(forms, 516);
}

static void reads_error_texts_as_the_reference(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(enc, "error_decode"))
    {
        simplex_bytes text = vec_hex(row, "bytes");
        bool rejected = strcmp(vec_text(row, "result"), "rejected") == 0;
        struct sx_smp_err e;
        struct sx_wr w = writer();

        rows++;
        if ((sx_smp_err_decode(text, &e) != SIMPLEX_OK) != rejected)
            fail_msg("row %d: \"%s\"", rows, (const char *)text.ptr);
        if (rejected)
            continue;
        sx_smp_err_encode(&w, &e, SX_SMP_MAX);
        vec_assert_eq(keep(&w), vec_hex(row, "result"), "error");
    }
    assert_int_equal(rows, 24);
}

/* ---- transmissions ---- */

static simplex_bytes session_id(void)
{
    return vec_hex(enc, "session_id");
}

static void box_key(const char *queue_key, struct sx_box_key *k)
{
    struct sx_keypair queue = keypair(queue_key);
    struct sx_keypair server = keypair("server_session");
    uint8_t secret[SX_DH_MAX];

    assert_int_equal(sx_dh(&queue.priv, &server.pub, secret), SIMPLEX_OK);
    sx_box_key_init(k, secret);
}

static void check_signature(const char *key, simplex_bytes signed_bytes, simplex_bytes sig)
{
    struct sx_keypair k = keypair(key);
    uint8_t again[SX_SIG_MAX];
    size_t len;

    assert_true(sx_verify(&k.pub, signed_bytes, sig));
    assert_int_equal(sx_sign(&k, signed_bytes, again, &len), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(again, len), sig, key);
}

static void check_authenticator(simplex_bytes corr_id, simplex_bytes signed_bytes,
                                simplex_bytes auth)
{
    struct sx_box_key k;
    uint8_t nonce[SX_NONCE_LEN], again[SX_AUTHENTICATOR_LEN];

    box_key("rcv_x25519", &k);
    sx_nonce_from(corr_id, nonce);
    assert_true(sx_authenticated(&k, nonce, signed_bytes, auth));
    sx_authenticate(&k, nonce, signed_bytes, again);
    vec_assert_eq(sx_bytes(again, sizeof again), auth, "authenticator");
}

/* In a service session the queue key signs the hash of the service certificate as well. */
static simplex_bytes with_cert_hash(simplex_bytes authorized)
{
    struct sx_wr w = writer();

    sx_wr_raw(&w, vec_hex(vec_get(enc, "service"), "cert_hash"));
    sx_wr_raw(&w, authorized);
    return keep(&w);
}

static void check_auth(const char *name, const struct sx_transmission *t, simplex_bytes authorized)
{
    bool service = strstr(name, "service signature") != NULL && strstr(name, "(no") == NULL;
    simplex_bytes signed_bytes = service ? with_cert_hash(authorized) : authorized;

    assert_true(sx_auth_len_valid(t->auth.len));
    assert_int_equal(t->has_service_sig, service);
    if (service)
        check_signature("service", authorized, t->service_sig);
    if (strncmp(name, "unsigned", 8) == 0)
        assert_int_equal(t->auth.len, 0);
    else if (strstr(name, "X25519") != NULL)
        check_authenticator(t->corr_id, signed_bytes, t->auth);
    else
        check_signature(strstr(name, "Ed448") != NULL ? "rcv_ed448" : "rcv", signed_bytes, t->auth);
}

static void check_alone(const cJSON *row, simplex_bytes transmission)
{
    struct sx_batch_rd b;
    simplex_bytes one;
    struct sx_wr w = writer();

    assert_int_equal(sx_batch_open(vec_hex(row, "block_content_alone"), &b), SIMPLEX_OK);
    assert_true(sx_batch_next(&b, &one));
    vec_assert_eq(one, transmission, "alone");
    assert_false(sx_batch_next(&b, &one));
    sx_wr_u8(&w, 1);
    sx_wr_large(&w, transmission);
    vec_assert_eq(keep(&w), vec_hex(row, "block_content_alone"), "alone");
}

static void check_transmission(const cJSON *row)
{
    uint16_t version = (uint16_t)vec_int(row, "version");
    simplex_bytes want = vec_hex(row, "transmission");
    struct sx_transmission t;
    struct sx_wr w = writer();

    assert_int_equal(sx_transmission_decode(want, version, &t), SIMPLEX_OK);
    vec_assert_eq(t.corr_id, vec_hex(row, "corr_id"), "corr_id");
    vec_assert_eq(t.entity_id, vec_hex(row, "entity_id"), "entity_id");
    vec_assert_eq(t.command, vec_hex(row, "command"), "command");
    if (version == 6)
        vec_assert_eq(t.session_id, session_id(), "session_id");
    else
        assert_int_equal(t.session_id.len, 0);
    sx_transmission_encode(&w, &t, version);
    vec_assert_eq(keep(&w), want, "transmission");

    w = writer();
    sx_authorized_encode(&w, session_id(), t.corr_id, t.entity_id, t.command);
    simplex_bytes authorized = keep(&w);
    vec_assert_eq(authorized, vec_hex(row, "authorized"), "authorized");
    check_auth(vec_text(row, "name"), &t, authorized);
    check_alone(row, want);
}

static void authorises_transmissions_of_every_kind(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(enc, "transmissions"))
    {
        check_transmission(row);
        rows++;
    }
    assert_int_equal(rows, 24);
}

/* ---- blocks ---- */

static simplex_bytes id_of(uint32_t i)
{
    uint8_t *id = vec_keep(24);

    for (size_t at = 24; at > 20; at--, i >>= 8)
        id[at - 1] = (uint8_t)i;
    return sx_bytes(id, 24);
}

static simplex_bytes signed_sub(const struct sx_keypair *rcv, uint32_t i, uint16_t version)
{
    uint8_t sig[SX_SIG_MAX];
    size_t sig_len;
    struct sx_transmission t = { .session_id = session_id(),
                                 .corr_id = id_of(i),
                                 .entity_id = id_of(i + 1000),
                                 .command = sx_str("SUB") };
    struct sx_wr w = writer();

    sx_authorized_encode(&w, t.session_id, t.corr_id, t.entity_id, t.command);
    assert_int_equal(sx_sign(rcv, keep(&w), sig, &sig_len), SIMPLEX_OK);
    t.auth = sx_bytes(sig, sig_len);
    w = writer();
    sx_transmission_encode(&w, &t, version);
    return keep(&w);
}

static void check_block(const cJSON *want, const simplex_bytes *t, size_t n)
{
    struct sx_wr w = writer();
    struct sx_batch_rd b;
    simplex_bytes one;
    uint8_t hash[32];

    assert_int_equal(n, vec_int(want, "count"));
    sx_wr_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        sx_wr_large(&w, t[i]);
    simplex_bytes content = keep(&w);
    assert_int_equal(content.len, vec_int(want, "content_len"));
    assert_int_equal(content.ptr[0], vec_hex(want, "first_byte").ptr[0]);
    sx_sha256(content, hash);
    vec_assert_eq(sx_bytes(hash, sizeof hash), vec_hex(want, "content_sha256"), "content_sha256");
    if (has(want, "content"))
        vec_assert_eq(content, vec_hex(want, "content"), "content");

    assert_int_equal(sx_batch_open(content, &b), SIMPLEX_OK);
    for (size_t i = 0; i < n; i++) {
        assert_true(sx_batch_next(&b, &one));
        vec_assert_eq(one, t[i], "read from the block");
    }
    assert_false(sx_batch_next(&b, &one));
}

static void check_blocks(const cJSON *row)
{
    uint16_t version = (uint16_t)vec_int(row, "version");
    size_t n = (size_t)vec_int(row, "transmissions");
    struct sx_keypair rcv = keypair("rcv");
    simplex_bytes t[300];
    size_t len[300], first[301], blocks;

    assert_in_range(n, 1, 300);
    for (size_t i = 0; i < n; i++) {
        t[i] = signed_sub(&rcv, (uint32_t)i + 1, version);
        len[i] = t[i].len;
    }
    assert_int_equal(sx_batch_plan(len, n, first, &blocks), SIMPLEX_OK);
    assert_int_equal(blocks, cJSON_GetArraySize(vec_get(row, "blocks")));
    first[blocks] = n;
    for (size_t i = 0; i < blocks; i++)
        check_block(cJSON_GetArrayItem(vec_get(row, "blocks"), (int)i), t + first[i],
                    first[i + 1] - first[i]);
}

static void packs_batches_into_the_recorded_blocks(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(enc, "blocks"))
    {
        check_blocks(row);
        rows++;
    }
    assert_int_equal(rows, 9);
}

/* ---- what a server's parser answers ---- */

/* Parser and credentials table decide every recorded row; no row needs the state of queues. */
static void serve(simplex_bytes in, uint16_t version, struct sx_transmission *t,
                  struct sx_smp_err *err, struct sx_cmd *cmd)
{
    *err = (struct sx_smp_err){ .err = SX_ERR_BLOCK };
    if (sx_transmission_decode(in, version, t) != SIMPLEX_OK)
        return;
    if (!sx_auth_len_valid(t->auth.len)) {
        t->entity_id = sx_bytes(NULL, 0);
        return;
    }
    err->err = SX_ERR_SESSION;
    if (version == 6 && !sx_bytes_eq(t->session_id, session_id()))
        return;
    if (sx_cmd_decode(t->command, version, cmd, err) == SIMPLEX_OK)
        *err = sx_cmd_check_credentials(cmd, t->auth.len > 0, t->entity_id.len > 0);
}

static void check_answer(const char *name, uint16_t version, const cJSON *want,
                         const struct sx_transmission *t, const struct sx_smp_err *err,
                         const struct sx_cmd *cmd)
{
    struct sx_wr w = writer();

    vec_assert_eq(t->corr_id, vec_hex(want, "corr_id"), name);
    vec_assert_eq(t->entity_id, vec_hex(want, "entity_id"), name);
    if (err->err == SX_ERR_NONE) {
        sx_cmd_encode(&w, cmd, version);
        vec_assert_eq(keep(&w), vec_hex(want, "accepted"), name);
    } else {
        sx_smp_err_encode(&w, err, version);
        vec_assert_eq(keep(&w), vec_hex(want, "error"), name);
    }
}

static void check_served(const cJSON *row)
{
    const cJSON *results = vec_get(row, "results");
    const char *name = vec_text(row, "name");
    uint16_t version = (uint16_t)vec_int(row, "version");
    struct sx_transmission t = { 0 };
    struct sx_smp_err err = { .err = SX_ERR_BLOCK };
    struct sx_cmd cmd = { 0 };
    struct sx_batch_rd b;
    simplex_bytes one;
    int answers = 0;

    if (sx_batch_open(vec_hex(row, "block_content"), &b) != SIMPLEX_OK) {
        check_answer(name, version, cJSON_GetArrayItem(results, answers++), &t, &err, &cmd);
    } else {
        while (sx_batch_next(&b, &one)) {
            serve(one, version, &t, &err, &cmd);
            check_answer(name, version, cJSON_GetArrayItem(results, answers++), &t, &err, &cmd);
        }
    }
    assert_int_equal(answers, cJSON_GetArraySize(results));
}

static void answers_bad_blocks_as_the_reference_server(void **state)
{
    const cJSON *row;
    int rows = 0;

    (void)state;
    vec_each(row, vec_get(enc, "server_parse"))
    {
        check_served(row);
        rows++;
    }
    assert_int_equal(rows, 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads_commands_of_every_version),
        cmocka_unit_test(writes_and_reads_responses_of_every_version),
        cmocka_unit_test(writes_and_reads_errors_of_every_version),
        cmocka_unit_test(reads_error_texts_as_the_reference),
        cmocka_unit_test(authorises_transmissions_of_every_kind),
        cmocka_unit_test(packs_batches_into_the_recorded_blocks),
        cmocka_unit_test(answers_bad_blocks_as_the_reference_server),
    };

    return cmocka_run_group_tests_name("smp_encodings", tests, setup, teardown);
}
