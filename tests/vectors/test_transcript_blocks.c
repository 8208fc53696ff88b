/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded transcripts, block by block: both sides of every session are played by our code with
 * the recorded keys. Each block is sealed by one side, compared with the digest of what was on the
 * wire, opened by the other; transmissions are decoded, encoded and authorised again.
 */
#include "client/session_internal.h"

#include "support/transcript.h"

#define SESSIONS_MAX 8

struct link { /* one session, both sides */
    const cJSON *json;
    uint16_t version;
    struct sx_session c, s;
    unsigned handshakes;
    struct sx_pub service_key; /* of a service */
    struct sx_chain tls;       /* what it presented to TLS */
};

struct counts {
    size_t handshakes, blocks, encrypted, transmissions, commands, responses;
    size_t signatures, authenticators, service_signatures, forwarded;
};

struct replay {
    struct transcript t;
    struct link links[SESSIONS_MAX];
    size_t n_links;
    struct sx_chain chain; /* of the servers, from a hello that has it */
    struct counts n;
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

/* ---- handshake ---- */

static struct link *find_link(struct replay *r, const cJSON *block)
{
    const char *id = vec_text(block, "session");

    for (size_t i = 0; i < r->n_links; i++) {
        if (strcmp(vec_text(r->links[i].json, "session_id"), id) == 0)
            return &r->links[i];
    }
    assert_in_range(r->n_links, 0, SESSIONS_MAX - 1);
    struct link *l = &r->links[r->n_links++];
    l->json = tr_session(&r->t, id);
    l->version = (uint16_t)vec_int(l->json, "version");
    return l;
}

static void server_address(struct replay *r, const struct link *l, struct sx_server *out)
{
    const cJSON *s;
    simplex_bytes password;

    vec_each(s, vec_get(r->t.json, "servers"))
    {
        if (strcmp(vec_text(s, "name"), vec_text(l->json, "server")) == 0) {
            assert_int_equal(sx_server_parse(sx_str(vec_text(s, "address")), out, &password),
                             SIMPLEX_OK);
            return;
        }
    }
    fail_msg("no such server");
}

static struct sx_keypair session_key(const struct link *l, const char *name)
{
    struct sx_priv priv = { .alg = SX_X25519 };
    struct sx_keypair k = { 0 };
    simplex_bytes raw = vec_hex_opt(l->json, name);

    if (raw.len == 0)
        return k;
    memcpy(priv.b, raw.ptr, 32);
    assert_int_equal(sx_keypair_from_priv(&priv, &k), SIMPLEX_OK);
    return k;
}

static void assert_chains(const struct link *l, const struct sx_session *s)
{
    simplex_bytes s2c = vec_hex_opt(l->json, "ck1_s2c"), c2s = vec_hex_opt(l->json, "ck2_c2s");

    assert_int_equal(s->encrypted, s2c.len > 0);
    if (!s->encrypted)
        return;
    vec_assert_eq(sx_bytes(s->is_server ? s->snd_chain : s->rcv_chain, 32), s2c, "chain key 1");
    vec_assert_eq(sx_bytes(s->is_server ? s->rcv_chain : s->snd_chain, 32), c2s, "chain key 2");
}

/* The secret of both keys as recorded; afterwards s is what the handshake would have made of it. */
static void agree(const struct link *l, struct sx_session *s)
{
    uint8_t secret[SX_DH_MAX];

    s->encrypted = false;
    if (vec_opt(l->json, "secret") == NULL)
        return;
    assert_int_equal(sx_dh(&s->own.priv, &s->peer_key, secret), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(secret, 32), vec_hex(l->json, "secret"), "session secret");
    sx_box_key_init(&s->shared, secret);
    s->has_shared = true;
    if (vec_opt(l->json, "ck1_s2c") != NULL)
        assert_int_equal(sx_block_start(s, secret), SIMPLEX_OK);
}

/* TLS saw the same chain as the hellos carry; one without ALPN carries none. */
static void find_chain(struct replay *r)
{
    const cJSON *block;
    struct sx_server_hello h;

    vec_each(block, vec_get(r->t.json, "blocks"))
    {
        if (vec_opt(block, "handshake") == NULL || strcmp(vec_text(block, "from"), "server") != 0 ||
            sx_server_hello_decode(vec_hex(block, "handshake"), &h) != SIMPLEX_OK || !h.has_key)
            continue;
        assert_in_range(h.n_certs, 2, 4);
        r->chain.count = h.n_certs;
        for (size_t i = 0; i < h.n_certs; i++)
            r->chain.cert[i] = h.certs[i];
        return;
    }
    fail_msg("no hello with a chain");
}

/* Our server, without ALPN, says the same: nothing in that hello is random. */
static void assert_own_hello_without_alpn(const struct link *l, const uint8_t *key_hash,
                                          simplex_bytes hello)
{
    uint8_t *block = vec_keep(SX_BLOCK);
    struct sx_session s;
    struct sx_session_server_cfg cfg = { .session_id = vec_hex(l->json, "session_id"),
                                         .key_hash = key_hash };
    simplex_bytes content;

    assert_int_equal(sx_session_server(&s, &cfg, block), SIMPLEX_OK);
    assert_int_equal(sx_unpad(sx_bytes(block, SX_BLOCK), &content), SIMPLEX_OK);
    vec_assert_eq(content, hello, "hello without ALPN");
}

/* Plays the client: it must accept the hello and answer as the recorded client did. */
static void client_gets_hello(struct replay *r, struct link *l, simplex_bytes hello,
                              uint8_t block[SX_BLOCK])
{
    struct sx_server_hello h;
    struct sx_server server;
    uint8_t *reply = vec_keep(SX_BLOCK);
    bool has_reply;
    simplex_bytes content;

    assert_int_equal(sx_server_hello_decode(hello, &h), SIMPLEX_OK);
    server_address(r, l, &server);
    if (h.max == SX_SMP_MIN)
        assert_own_hello_without_alpn(l, server.key_hash, hello);
    struct sx_chain chain = r->chain;
    for (size_t i = 0; i < h.n_certs; i++)
        chain.cert[i] = h.certs[i];
    if (h.has_key)
        chain.count = h.n_certs;
    struct sx_session_client_cfg cfg = { .max = l->version,
                                         .session_id = vec_hex(l->json, "session_id"),
                                         .key_hash = server.key_hash,
                                         .chain = &chain,
                                         .proxy = vec_bool(l->json, "proxy"),
                                         .no_key = vec_opt(l->json, "client_pub") == NULL,
                                         .alpn = h.max > SX_SMP_MIN };
    assert_int_equal(sx_chain_verify(&chain, server.key_hash, sx_now_ms() / 1000), SIMPLEX_OK);
    assert_int_equal(sx_session_client(&l->c, &cfg), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&l->c, block, reply, &has_reply, &content), SIMPLEX_OK);
    assert_true(has_reply);
    assert_int_equal(l->c.state, SX_S_READY);
    assert_int_equal(l->c.version, l->version);
    assert_int_equal(content.len, 0);
    struct sx_keypair server_key = session_key(l, "server_priv");
    if (h.has_key)
        assert_true(sx_pub_eq(&l->c.peer_key, &server_key.pub));
    /* our ephemeral key gives way to the recorded one */
    if (vec_opt(l->json, "client_pub") != NULL)
        l->c.own = session_key(l, "client_priv");
    agree(l, &l->c);
    assert_chains(l, &l->c);
    l->s = (struct sx_session){ .state = SX_S_WAIT_HELLO,
                                .is_server = true,
                                .min = h.min,
                                .max = h.max,
                                .id_len = l->c.id_len };
    memcpy(l->s.id, l->c.id, l->c.id_len);
    memcpy(l->s.key_hash, server.key_hash, 32);
    if (h.has_key)
        l->s.own = server_key;
}

/* Gives the service the id it was given. */
static bool accept_service(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    const struct link *l = user;

    assert_int_equal(h->role, vec_text(l->json, "service_role")[0]);
    vec_assert_eq(sx_bytes(h->cert_hash, 32), vec_hex(l->json, "service_cert_hash"),
                  "certificate hash");
    memcpy(id, vec_hex(l->json, "service_id").ptr, SX_ID_LEN);
    return true;
}

/* TLS is not recorded: it has seen the chain of the hello. */
static void expect_service(struct link *l, const struct sx_client_hello *h)
{
    assert_in_range(h->n_certs, 1, SX_CHAIN_MAX);
    l->tls.count = h->n_certs;
    for (size_t i = 0; i < h->n_certs; i++)
        l->tls.cert[i] = h->certs[i];
    l->s.peer_chain = &l->tls;
    l->s.accept = accept_service;
    l->s.accept_user = l;
}

static void check_service(struct link *l, const uint8_t reply[SX_BLOCK])
{
    struct sx_service_reply r;
    simplex_bytes content;

    assert_int_equal(sx_unpad(sx_bytes(reply, SX_BLOCK), &content), SIMPLEX_OK);
    assert_int_equal(sx_service_reply_decode(content, &r), SIMPLEX_OK);
    assert_true(r.ok);
    vec_assert_eq(r.service_id, vec_hex(l->json, "service_id"), "service id");
    l->service_key = l->s.service.key.pub;
    assert_int_equal(l->service_key.alg, SX_ED25519);
}

static void server_gets_hello(struct link *l, simplex_bytes hello, uint8_t block[SX_BLOCK])
{
    struct sx_client_hello h;
    uint8_t *reply = vec_keep(SX_BLOCK);
    bool has_reply;
    simplex_bytes content;
    struct sx_wr w = writer();

    assert_int_equal(sx_client_hello_decode(hello, &h), SIMPLEX_OK);
    sx_client_hello_encode(&w, &h);
    assert_written(&w, hello, "client hello");
    assert_true(h.has_key == false || sx_pub_eq(&h.key, &l->c.own.pub));
    if (h.has_service)
        expect_service(l, &h);
    assert_int_equal(sx_session_input(&l->s, block, reply, &has_reply, &content), SIMPLEX_OK);
    assert_int_equal(has_reply, h.has_service);
    if (h.has_service)
        check_service(l, reply);
    assert_int_equal(l->s.state, SX_S_READY);
    assert_int_equal(l->s.version, l->version);
    assert_int_equal(l->s.proxy, vec_bool(l->json, "proxy"));
    assert_int_equal(l->s.has_shared, l->c.has_shared);
    assert_memory_equal(&l->s.shared, &l->c.shared, sizeof l->s.shared);
    assert_chains(l, &l->s);
}

static void check_service_reply(const struct link *l, simplex_bytes content)
{
    struct sx_service_reply reply;
    struct sx_wr w = writer();

    assert_int_equal(sx_service_reply_decode(content, &reply), SIMPLEX_OK);
    assert_true(reply.ok);
    vec_assert_eq(reply.service_id, vec_hex(l->json, "service_id"), "service id");
    sx_service_reply_encode(&w, &reply);
    assert_written(&w, content, "service reply");
}

static void assert_wire(const uint8_t block[SX_BLOCK], const cJSON *json)
{
    tr_assert_sha256(sx_bytes(block, SX_BLOCK), json, "wire_sha256");
    if (vec_opt(json, "wire") != NULL)
        vec_assert_eq(sx_bytes(block, SX_BLOCK), vec_hex(json, "wire"), "wire");
}

static void replay_handshake(struct replay *r, const cJSON *json)
{
    struct link *l = find_link(r, json);
    simplex_bytes content = vec_hex(json, "handshake");
    uint8_t *block = vec_keep(SX_BLOCK);
    struct sx_server_hello h;
    struct sx_wr w = writer();

    assert_int_equal(content.len, vec_int(json, "content_len"));
    assert_int_equal(sx_pad(content, block, SX_BLOCK), SIMPLEX_OK);
    assert_wire(block, json);
    switch (l->handshakes++) {
    case 0:
        assert_string_equal(vec_text(json, "from"), "server");
        assert_int_equal(sx_server_hello_decode(content, &h), SIMPLEX_OK);
        sx_server_hello_encode(&w, &h);
        assert_written(&w, content, "server hello");
        client_gets_hello(r, l, content, block);
        break;
    case 1:
        assert_string_equal(vec_text(json, "from"), "client");
        server_gets_hello(l, content, block);
        break;
    default:
        assert_string_equal(vec_text(json, "from"), "server");
        check_service_reply(l, content);
    }
    r->n.handshakes++;
}

/* ---- transmissions ---- */

static simplex_bytes authorized_by(simplex_bytes session_id, const struct sx_transmission *t)
{
    struct sx_wr w = writer();

    sx_authorized_encode(&w, session_id, t->corr_id, t->entity_id, t->command);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static simplex_bytes joined(simplex_bytes a, simplex_bytes b)
{
    struct sx_wr w = writer();

    sx_wr_raw(&w, a);
    sx_wr_raw(&w, b);
    return sx_wr_bytes(&w);
}

/* The recorded key that authorises t; a changed authorisation is worth nothing. */
static const struct sx_keypair *find_signer(struct replay *r, const struct sx_session *server,
                                            const struct sx_transmission *t,
                                            simplex_bytes authorized)
{
    const struct sx_keypair *found = NULL;
    uint8_t auth[SX_AUTH_MAX];
    struct sx_transmission changed = *t;

    for (size_t i = 0; i < r->t.n_keys && found == NULL; i++) {
        if (sx_session_verify(server, &r->t.keys[i].pub, t, authorized))
            found = &r->t.keys[i];
    }
    assert_non_null(found);
    memcpy(auth, t->auth.ptr, t->auth.len);
    auth[t->auth.len / 2] ^= 4;
    changed.auth = sx_bytes(auth, t->auth.len);
    assert_false(sx_session_verify(server, &found->pub, &changed, authorized));
    assert_false(sx_session_verify(server, NULL, t, authorized));
    if (t->auth.len == SX_AUTHENTICATOR_LEN)
        r->n.authenticators++;
    else
        r->n.signatures++;
    return found;
}

static const struct sx_keypair *check_auth(struct replay *r, const struct link *l,
                                           const struct sx_transmission *t)
{
    simplex_bytes authorized = authorized_by(sx_session_id(&l->s), t);

    if (t->auth.len == 0) {
        assert_false(sx_session_verify(&l->s, &r->t.keys[0].pub, t, authorized));
        return NULL;
    }
    if (t->has_service_sig) {
        assert_true(sx_verify(&l->service_key, authorized, t->service_sig));
        r->n.service_signatures++;
        authorized = joined(vec_hex(l->json, "service_cert_hash"), authorized);
    }
    return find_signer(r, &l->s, t, authorized);
}

/* As our client would send it: the same bytes, as signatures and boxes have nothing random. */
static void assert_own_encoding(const struct sx_session *s, const struct sx_keypair *key,
                                const struct sx_transmission *t, const struct sx_cmd *cmd)
{
    struct sx_wr w = writer();

    if (t->corr_id.len != SX_ID_LEN || t->has_service_sig)
        return;
    assert_int_equal(sx_session_encode(s, key, t->corr_id.ptr, t->entity_id, cmd, &w), SIMPLEX_OK);
    assert_written(&w, tr_encoded(t, s->version), "own transmission");
}

/* What a relay does with RFWD (section 8), up to the authorisation of the inner command. */
static void check_forwarded(struct replay *r, const struct link *l,
                            const struct sx_transmission *outer, simplex_bytes box)
{
    uint8_t *buf = vec_keep(box.len), nonce[SX_NONCE_LEN], secret[SX_DH_MAX];
    struct sx_fwd_transmission f;
    struct sx_box_key k;
    struct sx_batch_rd b;
    struct sx_transmission t;
    struct sx_session relay;
    struct sx_cmd cmd;
    struct sx_smp_err err;
    simplex_bytes content, one;

    sx_nonce_from(outer->corr_id, nonce);
    assert_true(l->s.has_shared);
    assert_int_equal(sx_box_open(&l->s.shared, nonce, box, buf), SIMPLEX_OK);
    assert_int_equal(sx_fwd_transmission_decode(sx_bytes(buf, box.len - SX_BOX_TAG), &f),
                     SIMPLEX_OK);
    assert_int_equal(sx_dh(&l->s.own.priv, &f.key, secret), SIMPLEX_OK);
    sx_box_key_init(&k, secret);
    sx_nonce_from(f.corr_id, nonce);
    uint8_t *inner = vec_keep(f.encrypted.len);
    memcpy(inner, f.encrypted.ptr, f.encrypted.len);
    assert_int_equal(sx_box_open_padded(&k, nonce, inner, f.encrypted.len, &content), SIMPLEX_OK);
    assert_int_equal(sx_batch_open(content, &b), SIMPLEX_OK);
    assert_true(sx_batch_next(&b, &one));
    assert_int_equal(sx_transmission_decode(one, f.version, &t), SIMPLEX_OK);
    assert_int_equal(sx_cmd_decode(t.command, f.version, &cmd, &err), SIMPLEX_OK);
    const struct sx_keypair *key = NULL;
    if (t.auth.len > 0)
        key = find_signer(r, &l->s, &t, authorized_by(sx_session_id(&l->s), &t));
    assert_int_equal(sx_session_relay(&relay, f.version, sx_session_id(&l->s), &l->s.own.pub),
                     SIMPLEX_OK);
    assert_own_encoding(&relay, key, &t, &cmd);
    r->n.forwarded++;
}

static void check_command(struct replay *r, const struct link *l, const struct sx_transmission *t)
{
    struct sx_cmd cmd;
    struct sx_smp_err err;
    struct sx_wr w = writer();
    const struct sx_keypair *key = check_auth(r, l, t);

    r->n.commands++;
    assert_int_equal(sx_cmd_decode(t->command, l->version, &cmd, &err), SIMPLEX_OK);
    assert_int_equal(err.err, SX_ERR_NONE);
    sx_cmd_encode(&w, &cmd, l->version);
    assert_written(&w, t->command, sx_cmd_name(cmd.tag));
    assert_own_encoding(&l->c, key, t, &cmd);
    if (cmd.tag == SX_RFWD)
        check_forwarded(r, l, t, cmd.rfwd.body);
}

static void check_response(struct replay *r, const struct link *l, const struct sx_transmission *t)
{
    struct sx_rsp rsp;
    struct sx_wr w = writer();

    assert_int_equal(sx_rsp_decode(t->command, l->version, &rsp), SIMPLEX_OK);
    sx_rsp_encode(&w, &rsp, l->version);
    assert_written(&w, t->command, sx_rsp_name(rsp.tag));
    r->n.responses++;
}

/* ---- blocks ---- */

static simplex_bytes block_content(struct replay *r, const struct link *l, const cJSON *json)
{
    const cJSON *x;
    struct sx_wr w = writer();

    sx_wr_u8(&w, (uint8_t)cJSON_GetArraySize(vec_get(json, "transmissions")));
    vec_each(x, vec_get(json, "transmissions"))
    {
        struct sx_transmission t = tr_transmission(&r->t, x);
        sx_wr_large(&w, tr_encoded(&t, l->version));
    }
    assert_false(w.bad);
    assert_int_equal(w.len, vec_int(json, "content_len"));
    return sx_wr_bytes(&w);
}

static void check_content(struct replay *r, const struct link *l, const cJSON *json,
                          simplex_bytes content, bool from_server)
{
    struct sx_batch_rd b;
    struct sx_transmission t;
    simplex_bytes one;
    const cJSON *x = vec_get(json, "transmissions")->child;

    assert_int_equal(sx_batch_open(content, &b), SIMPLEX_OK);
    for (; sx_batch_next(&b, &one); x = x->next) {
        assert_non_null(x);
        assert_int_equal(sx_transmission_decode(one, l->version, &t), SIMPLEX_OK);
        vec_assert_eq(tr_encoded(&t, l->version), one, "transmission");
        vec_assert_eq(t.corr_id, vec_hex(x, "corr_id"), "corr_id");
        vec_assert_eq(t.entity_id, vec_hex(x, "entity_id"), "entity_id");
        if (l->version == 6)
            vec_assert_eq(t.session_id, sx_session_id(&l->s), "session id");
        r->n.transmissions++;
        if (from_server)
            check_response(r, l, &t);
        else
            check_command(r, l, &t);
    }
    assert_null(x);
}

static void replay_block(struct replay *r, const cJSON *json)
{
    struct link *l = find_link(r, json);
    bool from_server = strcmp(vec_text(json, "from"), "server") == 0;
    struct sx_session *from = from_server ? &l->s : &l->c, *to = from_server ? &l->c : &l->s;
    uint8_t *block = vec_keep(SX_BLOCK);
    simplex_bytes content = block_content(r, l, json), got;
    bool has_reply;

    assert_int_equal(from->encrypted, vec_opt(json, "sb_key") != NULL);
    assert_int_equal(sx_session_seal(from, content, block), SIMPLEX_OK);
    assert_wire(block, json);
    assert_int_equal(sx_session_input(to, block, NULL, &has_reply, &got), SIMPLEX_OK);
    assert_false(has_reply);
    vec_assert_eq(got, content, "opened block");
    r->n.blocks++;
    r->n.encrypted += from->encrypted;
    check_content(r, l, json, got, from_server);
}

static struct counts replay(const char *name)
{
    static struct replay r;
    const cJSON *block;

    r = (struct replay){ 0 };
    tr_open(&r.t, name);
    find_chain(&r);
    vec_each(block, vec_get(r.t.json, "blocks"))
    {
        if (vec_opt(block, "handshake") != NULL)
            replay_handshake(&r, block);
        else if (vec_opt(block, "note") == NULL)
            replay_block(&r, block);
    }
    for (size_t i = 0; i < r.n_links; i++) {
        sx_session_wipe(&r.links[i].c);
        sx_session_wipe(&r.links[i].s);
    }
    tr_close(&r.t);
    return r.n;
}

/* handshakes, blocks, encrypted; transmissions, commands, responses; signatures, authenticators,
 * service signatures; forwarded */
static const struct row {
    const char *name;
    struct counts n;
} rows[] = {
    { "transcript-smp-v6.json", { 4, 31, 0, 31, 13, 18, 10, 0, 0, 0 } },
    { "transcript-smp-v9.json", { 4, 31, 0, 31, 13, 18, 6, 4, 0, 0 } },
    { "transcript-smp-v18.json", { 10, 222, 222, 246, 108, 138, 85, 8, 0, 0 } },
    { "transcript-smp-hello.json", { 8, 8, 2, 8, 4, 4, 0, 0, 0, 0 } },
    { "transcript-agents.json", { 4, 58, 58, 58, 24, 34, 24, 0, 0, 0 } },
    { "transcript-agents-standard.json", { 4, 38, 0, 38, 16, 22, 14, 0, 0, 0 } },
    { "transcript-contact.json", { 4, 35, 35, 35, 15, 20, 14, 0, 0, 0 } },
    { "transcript-switch.json", { 12, 68, 68, 68, 29, 39, 29, 0, 0, 0 } },
    { "transcript-resync.json", { 8, 87, 87, 87, 36, 51, 36, 0, 0, 0 } },
    { "transcript-short-links.json", { 4, 32, 32, 32, 14, 18, 13, 0, 0, 0 } },
    { "transcript-proxy.json", { 8, 36, 30, 36, 16, 20, 12, 0, 0, 3 } },
    { "transcript-service.json", { 18, 34, 34, 34, 15, 19, 14, 0, 4, 0 } },
};

static void replays_every_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct counts got = replay(rows[i].name), want = rows[i].n;
        if (memcmp(&got, &want, sizeof got) != 0)
            fail_msg("%s: other counts than before", rows[i].name);
    }
}

static int set_up(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_every_block),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
