/* SPDX-License-Identifier: Apache-2.0 */
#include "support/transcript.h"

static const cJSON *list(const struct transcript *t, const char *name)
{
    return vec_opt(t->json, name);
}

static size_t count(const struct transcript *t, const char *name)
{
    return (size_t)cJSON_GetArraySize(list(t, name));
}

static void add_key(struct transcript *t, const struct sx_priv *priv, const cJSON *pub)
{
    uint8_t der[SX_SPKI_MAX];
    struct sx_wr w;
    struct sx_keypair *k = &t->keys[t->n_keys++];

    assert_int_equal(sx_keypair_from_priv(priv, k), SIMPLEX_OK);
    if (pub == NULL || cJSON_IsNull(pub))
        return;
    sx_wr_fixed(&w, der, sizeof der);
    sx_spki_encode(&k->pub, &w);
    vec_assert_eq(sx_wr_bytes(&w), vec_unhex(pub->valuestring), "public key");
}

static void add_session_key(struct transcript *t, const cJSON *session, const char *priv,
                            const char *pub)
{
    struct sx_priv p = { .alg = SX_X25519 };
    simplex_bytes raw = vec_hex_opt(session, priv);

    if (raw.len == 0)
        return;
    assert_int_equal(raw.len, 32);
    memcpy(p.b, raw.ptr, 32);
    add_key(t, &p, pub != NULL ? vec_opt(session, pub) : NULL);
}

static void load_keys(struct transcript *t)
{
    const cJSON *k;
    struct sx_priv p;

    t->keys = vec_keep((count(t, "keys") + 2 * count(t, "sessions")) * sizeof *t->keys);
    vec_each(k, list(t, "keys"))
    {
        assert_int_equal(sx_pkcs8_decode(vec_hex(k, "priv"), &p), SIMPLEX_OK);
        add_key(t, &p, vec_get(k, "pub"));
    }
    vec_each(k, list(t, "sessions"))
    {
        add_session_key(t, k, "server_priv", NULL);
        add_session_key(t, k, "client_priv", "client_pub");
    }
}

void tr_open(struct transcript *t, const char *name)
{
    *t = (struct transcript){ .json = vec_load(name) };
    t->bodies = vec_keep(count(t, "bodies") * sizeof *t->bodies);
    t->messages = vec_keep(count(t, "ratchet_messages") * sizeof *t->messages);
    load_keys(t);
}

void tr_close(struct transcript *t)
{
    cJSON_Delete(t->json);
    vec_free_all();
}

const struct sx_keypair *tr_key(const struct transcript *t, simplex_bytes spki)
{
    struct sx_pub pub;

    assert_int_equal(sx_spki_decode(spki, &pub), SIMPLEX_OK);
    for (size_t i = 0; i < t->n_keys; i++) {
        if (sx_pub_eq(&t->keys[i].pub, &pub))
            return &t->keys[i];
    }
    return NULL;
}

const cJSON *tr_session(const struct transcript *t, const char *id)
{
    const cJSON *s;

    vec_each(s, list(t, "sessions"))
    {
        if (strcmp(vec_text(s, "session_id"), id) == 0)
            return s;
    }
    fail_msg("no session %s", id);
    return NULL;
}

void tr_assert_sha256(simplex_bytes b, const cJSON *obj, const char *key)
{
    uint8_t digest[32];

    sx_sha256(b, digest);
    vec_assert_eq(sx_bytes(digest, sizeof digest), vec_hex(obj, key), key);
}

/* ---- transmissions ---- */

struct sx_transmission tr_transmission(struct transcript *t, const cJSON *json)
{
    struct sx_transmission x = {
        .auth = vec_hex(json, "auth"),
        .service_sig = vec_hex_opt(json, "service_sig"),
        .session_id = vec_hex_opt(json, "session_id"),
        .corr_id = vec_hex(json, "corr_id"),
        .entity_id = vec_hex(json, "entity_id"),
        .command = tr_parts(t, vec_get(json, "command")),
    };

    x.has_service_sig = x.service_sig.len > 0;
    return x;
}

simplex_bytes tr_encoded(const struct sx_transmission *t, uint16_t version)
{
    uint8_t *buf = vec_keep(2 * SX_BLOCK);
    struct sx_wr w;

    sx_wr_fixed(&w, buf, 2 * SX_BLOCK);
    sx_transmission_encode(&w, t, version);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

/* Inside a proxied body the layout is told by the members present. */
static simplex_bytes nested_transmission(struct transcript *t, const cJSON *json)
{
    struct sx_transmission x = tr_transmission(t, json);
    bool with_service = cJSON_HasObjectItem(json, "service_sig");

    return tr_encoded(&x, x.auth.len > 0 && !with_service ? 9 : 18);
}

/* ---- parts ---- */

static const cJSON *by_id(struct transcript *t, const char *name, const cJSON *id)
{
    const cJSON *x;

    vec_each(x, list(t, name))
    {
        if (strcmp(vec_text(x, "id"), id->valuestring) == 0)
            return x;
    }
    fail_msg("no %s with id %s", name, id->valuestring);
    return NULL;
}

static simplex_bytes part(struct transcript *t, const cJSON *p)
{
    const cJSON *ref;

    if (cJSON_IsString(p))
        return vec_unhex(p->valuestring);
    if ((ref = vec_opt(p, "body")) != NULL)
        return tr_body(t, by_id(t, "bodies", ref));
    if ((ref = vec_opt(p, "ratchet_message")) != NULL)
        return tr_ratchet_message(t, by_id(t, "ratchet_messages", ref));
    return nested_transmission(t, vec_get(p, "transmission"));
}

simplex_bytes tr_parts(struct transcript *t, const cJSON *value)
{
    const cJSON *p;
    struct sx_wr w;

    if (cJSON_IsString(value))
        return vec_unhex(value->valuestring);
    sx_wr_fixed(&w, vec_keep(2 * SX_BLOCK), 2 * SX_BLOCK);
    vec_each(p, value) sx_wr_raw(&w, part(t, p));
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

/* ---- bodies ---- */

static size_t index_of(const cJSON *item, const cJSON *array)
{
    size_t i = 0;

    for (const cJSON *x = array->child; x != item; x = x->next)
        i++;
    return i;
}

/* A ratchet message: L(header) tag body; AES-GCM over the padded plaintext, ad then header. */
simplex_bytes tr_ratchet_message(struct transcript *t, const cJSON *m)
{
    simplex_bytes *kept = &t->messages[index_of(m, list(t, "ratchet_messages"))];
    simplex_bytes header = vec_hex(m, "header"), iv = vec_hex(m, "msg_iv");
    size_t n = (size_t)vec_int(m, "padded_len");
    uint8_t *padded = vec_keep(n);
    struct sx_wr w;

    if (kept->ptr != NULL)
        return *kept;
    sx_wr_fixed(&w, vec_keep(2 * SX_BLOCK), 2 * SX_BLOCK);
    assert_int_equal(sx_pad(vec_hex(m, "plain"), padded, n), SIMPLEX_OK);
    sx_wr_large(&w, header);
    uint8_t *tag = sx_wr_space(&w, SX_GCM_TAG);
    uint8_t *out = sx_wr_space(&w, n);
    assert_non_null(out);
    assert_int_equal(sx_gcm_encrypt(vec_hex(m, "msg_key").ptr, iv.ptr, iv.len, vec_hex(m, "ad"),
                                    header, sx_bytes(padded, n), out, tag),
                     SIMPLEX_OK);
    *kept = sx_wr_bytes(&w);
    assert_int_equal(kept->len, vec_int(m, "len"));
    tr_assert_sha256(*kept, m, "sha256");
    return *kept;
}

static void put_box(struct sx_wr *w, const cJSON *box, simplex_bytes plain)
{
    struct sx_box_key k;
    size_t n = vec_opt(box, "padded_len") != NULL ? (size_t)vec_int(box, "padded_len") : 0;

    sx_box_key_init(&k, vec_hex(box, "key").ptr);
    const uint8_t *nonce = vec_hex(box, "nonce").ptr;
    uint8_t *out = sx_wr_space(w, SX_BOX_TAG + (n > 0 ? n : plain.len));
    assert_non_null(out);
    if (n > 0)
        assert_int_equal(sx_box_seal_padded(&k, nonce, plain, n, out), SIMPLEX_OK);
    else
        sx_box_seal(&k, nonce, plain, out);
}

static simplex_bytes private_message(struct transcript *t, const cJSON *body)
{
    struct sx_wr w;

    sx_wr_fixed(&w, vec_keep(2 * SX_BLOCK), 2 * SX_BLOCK);
    if (vec_opt(body, "private_header_key") != NULL) {
        sx_wr_text(&w, "K");
        sx_wr_short(&w, vec_hex(body, "private_header_key"));
    } else {
        sx_wr_text(&w, "_");
    }
    sx_wr_raw(&w, tr_parts(t, vec_get(body, "agent_envelope")));
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

/* SEND body (agent.md section 2). */
static void put_send(struct transcript *t, struct sx_wr *w, const cJSON *body)
{
    const cJSON *box = vec_get(body, "box");
    simplex_bytes key = vec_hex_opt(body, "header_key");

    sx_wr_u16(w, (uint16_t)vec_int(body, "client_version"));
    sx_wr_maybe(w, key.len > 0);
    if (key.len > 0)
        sx_wr_short(w, key);
    sx_wr_raw(w, vec_hex(box, "nonce"));
    put_box(w, box, private_message(t, body));
}

static void put_body(struct transcript *t, struct sx_wr *w, const cJSON *body)
{
    if (vec_opt(body, "fill") != NULL) {
        size_t n = (size_t)vec_int(body, "len");
        memset(sx_wr_space(w, n), vec_hex(body, "fill").ptr[0], n);
    } else if (strcmp(vec_text(body, "kind"), "send") == 0) {
        put_send(t, w, body);
    } else {
        const cJSON *box = vec_get(body, "box");
        sx_wr_raw(w, vec_hex_opt(body, "nonce_prefix"));
        put_box(w, box, tr_parts(t, vec_get(box, "plain")));
    }
}

simplex_bytes tr_body(struct transcript *t, const cJSON *body)
{
    simplex_bytes *kept = &t->bodies[index_of(body, list(t, "bodies"))];
    struct sx_wr w;

    if (kept->ptr != NULL)
        return *kept;
    sx_wr_fixed(&w, vec_keep(2 * SX_BLOCK), 2 * SX_BLOCK);
    put_body(t, &w, body);
    assert_false(w.bad);
    *kept = sx_wr_bytes(&w);
    assert_int_equal(kept->len, vec_int(body, "len"));
    tr_assert_sha256(*kept, body, "sha256");
    if (vec_opt(body, "bytes") != NULL)
        vec_assert_eq(*kept, vec_hex(body, "bytes"), "bytes of a body");
    return *kept;
}
