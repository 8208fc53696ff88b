/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender's side of the recorded private routing (transcript-proxy.json): PKEY is checked, each
 * PFWD is made again from the command inside it, byte for byte, and each PRES is opened.
 */
#include "client/proxied.h"
#include "support/transcript.h"

enum { NOW = 1795392000, VERSION = 18 }; /* the day after the recording; of the session */

static const cJSON *find(const struct transcript *t, const char *tag, simplex_bytes corr_id)
{
    const cJSON *block, *json;

    vec_each(block, vec_get(t->json, "blocks"))
    {
        if (vec_opt(block, "transmissions") == NULL)
            continue;
        vec_each(json, vec_get(block, "transmissions"))
        {
            if (strcmp(vec_text(json, "tag"), tag) == 0 &&
                (corr_id.len == 0 || sx_bytes_eq(vec_hex(json, "corr_id"), corr_id)))
                return json;
        }
    }
    fail_msg("no %s", tag);
    return NULL;
}

static struct sx_server relay_of(const struct transcript *t)
{
    const cJSON *s;
    simplex_bytes password;
    struct sx_server server = { .n_hosts = 0 };

    vec_each(s, vec_get(t->json, "servers"))
    {
        if (strcmp(vec_text(s, "name"), "relay") != 0)
            continue;
        assert_int_equal(sx_server_parse(sx_str(vec_text(s, "address")), &server, &password),
                         SIMPLEX_OK);
        return server;
    }
    fail_msg("no relay");
    return server;
}

static struct sx_rsp pkey_of(struct transcript *t)
{
    struct sx_rsp rsp;
    struct sx_transmission x = tr_transmission(t, find(t, "PKEY", sx_bytes(NULL, 0)));

    assert_int_equal(sx_rsp_decode(x.command, VERSION, &rsp), SIMPLEX_OK);
    assert_int_equal(rsp.tag, SX_R_PKEY);
    return rsp;
}

/* The recorded transmission inside a body of this kind that has this correlation id. */
static const cJSON *inside(const struct transcript *t, const char *kind, simplex_bytes corr_id)
{
    const cJSON *body, *part, *inner;

    vec_each(body, vec_get(t->json, "bodies"))
    {
        if (strcmp(vec_text(body, "kind"), kind) != 0)
            continue;
        vec_each(part, vec_get(vec_get(body, "box"), "plain"))
        {
            if (cJSON_IsObject(part) && (inner = vec_opt(part, "transmission")) != NULL &&
                sx_bytes_eq(vec_hex(inner, "corr_id"), corr_id))
                return inner;
        }
    }
    fail_msg("no %s", kind);
    return NULL;
}

static bool is_made_again(const struct sx_proxied *p, const struct sx_keypair *key,
                          const struct sx_transmission *inner, const struct sx_keypair *command_key,
                          const struct sx_transmission *pfwd, struct sx_proxied_cmd *c)
{
    uint8_t body[SX_PROXIED_BOX], text[SX_BLOCK];
    struct sx_smp_err err;
    struct sx_cmd cmd, made;
    struct sx_wr w;

    assert_int_equal(sx_cmd_decode(inner->command, p->s.version, &cmd, &err), SIMPLEX_OK);
    assert_int_equal(sx_proxied_seal(p, key, inner->entity_id, &cmd, pfwd->corr_id.ptr, command_key,
                                     c, body, &made),
                     SIMPLEX_OK);
    sx_wr_fixed(&w, text, sizeof text);
    sx_cmd_encode(&w, &made, VERSION);
    assert_false(w.bad);
    return sx_bytes_eq(sx_wr_bytes(&w), pfwd->command);
}

static void check_pfwd(struct transcript *t, const struct sx_proxied *p, const cJSON *json)
{
    struct sx_transmission pfwd = tr_transmission(t, json), inner, answer, want;
    struct sx_proxied_cmd c;
    struct sx_smp_err err;
    struct sx_cmd cmd;
    struct sx_rsp rsp;
    struct sx_wr w;
    uint8_t plain[SX_PROXIED_BOX], spki[SX_SPKI_MAX];
    bool found = false;

    vec_assert_eq(pfwd.entity_id, sx_proxied_id(p), "entity of PFWD");
    assert_int_equal(sx_cmd_decode(pfwd.command, VERSION, &cmd, &err), SIMPLEX_OK);
    assert_int_equal(cmd.pfwd.version, p->s.version);
    sx_wr_fixed(&w, spki, sizeof spki);
    sx_spki_encode(&cmd.pfwd.key, &w);
    const struct sx_keypair *command_key = tr_key(t, sx_wr_bytes(&w));
    assert_non_null(command_key);
    inner = tr_transmission(t, inside(t, "pfwd", pfwd.corr_id));
    /* Which key signed is not written beside it. */
    for (size_t i = 0; i < t->n_keys && !found; i++) {
        const struct sx_keypair *key = inner.auth.len > 0 ? &t->keys[i] : NULL;
        if (key == NULL || key->pub.alg == SX_ED25519)
            found = is_made_again(p, key, &inner, command_key, &pfwd, &c);
    }
    assert_true(found);
    struct sx_transmission pres = tr_transmission(t, find(t, "PRES", pfwd.corr_id));
    assert_int_equal(sx_rsp_decode(pres.command, VERSION, &rsp), SIMPLEX_OK);
    simplex_bytes sealed = rsp.enc.body;
    assert_int_equal(sx_proxied_answer(&c, sealed, plain, &answer, &rsp), SIMPLEX_OK);
    want = tr_transmission(t, inside(t, "pres", pfwd.corr_id));
    vec_assert_eq(answer.command, want.command, "answer of the relay");
    vec_assert_eq(answer.entity_id, inner.entity_id, "its entity");
    assert_int_equal(rsp.tag, SX_R_OK);
    for (size_t i = 0; i < sealed.len; i += 997) { /* a proxy that changes it */
        uint8_t *changed = vec_keep(sealed.len);
        memcpy(changed, sealed.ptr, sealed.len);
        changed[i] ^= 1;
        assert_int_equal(sx_proxied_answer(&c, sx_bytes(changed, sealed.len), plain, &answer, &rsp),
                         SIMPLEX_E_CRYPTO);
    }
}

static void makes_every_recorded_layer_again(void **state)
{
    struct sx_proxied p;
    struct transcript t;
    const cJSON *block, *json;
    int n = 0;

    (void)state;
    tr_open(&t, "transcript-proxy.json");
    struct sx_server relay = relay_of(&t);
    struct sx_rsp pkey = pkey_of(&t);
    assert_int_equal(sx_proxied_open(&p, &pkey, relay.key_hash, VERSION, NOW), SIMPLEX_OK);
    assert_int_equal(p.s.version, 17); /* what the recorded proxy offers at most */
    vec_each(block, vec_get(t.json, "blocks"))
    {
        if (vec_opt(block, "transmissions") == NULL)
            continue;
        vec_each(json, vec_get(block, "transmissions"))
        {
            if (strcmp(vec_text(json, "tag"), "PFWD") != 0)
                continue;
            check_pfwd(&t, &p, json);
            n++;
        }
    }
    assert_int_equal(n, 3); /* SKEY, the confirmation, a message */
    sx_proxied_wipe(&p);
    tr_close(&t);
}

static void asks_for_the_relay_as_recorded(void **state)
{
    struct sx_cmd cmd = { .tag = SX_PRXY };
    struct transcript t;
    uint8_t text[512];
    struct sx_wr w;

    (void)state;
    tr_open(&t, "transcript-proxy.json");
    cmd.prxy.server = relay_of(&t);
    sx_wr_fixed(&w, text, sizeof text);
    sx_cmd_encode(&w, &cmd, VERSION);
    assert_false(w.bad);
    vec_assert_eq(sx_wr_bytes(&w), tr_transmission(&t, find(&t, "PRXY", sx_bytes(NULL, 0))).command,
                  "PRXY");
    tr_close(&t);
}

static void refuses_a_relay_that_is_not_the_one_asked_for(void **state)
{
    struct sx_proxied p;
    struct transcript t;
    uint8_t other[32];

    (void)state;
    tr_open(&t, "transcript-proxy.json");
    struct sx_server relay = relay_of(&t);
    struct sx_rsp pkey = pkey_of(&t), changed = pkey;
    memcpy(other, relay.key_hash, 32);
    other[31] ^= 1;
    assert_int_equal(sx_proxied_open(&p, &pkey, other, VERSION, NOW), SIMPLEX_E_FINGERPRINT);
    assert_int_equal(p.s.state, SX_S_FAILED);
    assert_int_equal(sx_proxied_open(&p, &pkey, relay.key_hash, VERSION, NOW - 10 * 86400),
                     SIMPLEX_E_CERT); /* before it was made */
    assert_int_equal(sx_proxied_open(&p, &pkey, relay.key_hash, 7, NOW), SIMPLEX_E_VERSION);
    changed.pkey.max = 7;
    assert_int_equal(sx_proxied_open(&p, &changed, relay.key_hash, VERSION, NOW),
                     SIMPLEX_E_VERSION);
    changed = pkey;
    changed.pkey.min = changed.pkey.max = 19;
    assert_int_equal(sx_proxied_open(&p, &changed, relay.key_hash, VERSION, NOW),
                     SIMPLEX_E_VERSION);
    changed = pkey;
    changed.pkey.session_id.len = 0;
    assert_int_equal(sx_proxied_open(&p, &changed, relay.key_hash, VERSION, NOW), SIMPLEX_E_DECODE);
    uint8_t *key = vec_keep(pkey.pkey.signed_key.len);
    for (size_t i = 0; i < pkey.pkey.signed_key.len; i++) { /* nobody else signs the key */
        memcpy(key, pkey.pkey.signed_key.ptr, pkey.pkey.signed_key.len);
        key[i] ^= 1;
        changed = pkey;
        changed.pkey.signed_key.ptr = key;
        assert_int_not_equal(sx_proxied_open(&p, &changed, relay.key_hash, VERSION, NOW),
                             SIMPLEX_OK);
    }
    tr_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_the_relay_as_recorded),
        cmocka_unit_test(makes_every_recorded_layer_again),
        cmocka_unit_test(refuses_a_relay_that_is_not_the_one_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
