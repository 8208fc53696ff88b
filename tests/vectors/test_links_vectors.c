/* SPDX-License-Identifier: Apache-2.0 */
/* Replays links.json: full links, queue addresses, short links and link data. */
#include "support/vec.h"

#include <stdio.h>

#include "wire/short_link.h"

/* ---- from JSON ---- */

static void server_from(const cJSON *j, struct sx_server *s, bool *has_hash)
{
    const cJSON *host;
    const char *port = vec_text(j, "port");
    simplex_bytes hash = vec_hex(j, "key_hash");

    memset(s, 0, sizeof *s);
    vec_each(host, vec_get(j, "hosts"))
    {
        assert_true(s->n_hosts < SX_HOSTS_MAX);
        assert_int_equal(sx_host_parse(sx_str(host->valuestring), &s->hosts[s->n_hosts++]),
                         SIMPLEX_OK);
    }
    assert_true(strlen(port) < sizeof s->port);
    memcpy(s->port, port, strlen(port));
    *has_hash = hash.len > 0;
    if (*has_hash) {
        assert_int_equal(hash.len, 32);
        memcpy(s->key_hash, hash.ptr, 32);
    }
}

static void queue_from(const cJSON *j, struct sx_queue_addr *q)
{
    simplex_bytes id = vec_hex(j, "snd_id");
    const cJSON *mode = vec_opt(j, "mode");
    bool has_hash;

    memset(q, 0, sizeof *q);
    q->v = (struct sx_range){ (uint16_t)vec_int(j, "min"), (uint16_t)vec_int(j, "max") };
    server_from(vec_get(j, "server"), &q->server, &has_hash);
    assert_true(has_hash);
    q->snd_id.len = (uint8_t)id.len;
    memcpy(q->snd_id.b, id.ptr, id.len);
    assert_int_equal(sx_spki_decode(vec_hex(j, "dh_key"), &q->dh), SIMPLEX_OK);
    q->mode = mode != NULL ? (uint8_t)mode->valuestring[0] : SX_MODE_NONE;
}

static simplex_bytes kem_from(const cJSON *j)
{
    if (strcmp(j->valuestring, "1158 bytes 4b") == 0)
        return sx_bytes(memset(vec_keep(SX_KEM_PK), 0x4b, SX_KEM_PK), SX_KEM_PK);
    return vec_unhex(j->valuestring);
}

static void link_from(const cJSON *j, struct sx_link *l)
{
    bool contact = strcmp(vec_text(j, "kind"), "contact") == 0;
    const cJSON *queues = vec_get(j, "queues"), *queue;

    memset(l, 0, sizeof *l);
    sx_wr_init(&l->data, UINT16_MAX);
    l->kind = contact ? SX_LINK_CONTACT : SX_LINK_INVITATION;
    l->agent_v =
        (struct sx_range){ (uint16_t)vec_int(j, "agent_min"), (uint16_t)vec_int(j, "agent_max") };
    l->queues = sx_calloc((size_t)cJSON_GetArraySize(queues), sizeof *l->queues);
    assert_non_null(l->queues);
    vec_each(queue, queues) queue_from(queue, &l->queues[l->n_queues++]);
    if (vec_opt(j, "client_data") != NULL)
        assert_int_equal(sx_link_set_data(l, vec_hex(j, "client_data")), SIMPLEX_OK);
    if (contact)
        return;
    const cJSON *e2e = vec_get(j, "e2e");
    l->e2e.v = (struct sx_range){ (uint16_t)vec_int(e2e, "min"), (uint16_t)vec_int(e2e, "max") };
    assert_int_equal(sx_pub_from_raw(SX_X448, vec_hex(e2e, "key1"), &l->e2e.k1), SIMPLEX_OK);
    assert_int_equal(sx_pub_from_raw(SX_X448, vec_hex(e2e, "key2"), &l->e2e.k2), SIMPLEX_OK);
    if (vec_opt(e2e, "kem_key") != NULL)
        assert_int_equal(sx_link_set_kem(l, kem_from(vec_get(e2e, "kem_key"))), SIMPLEX_OK);
}

/* ---- comparison ---- */

static void assert_queue_eq(const struct sx_queue_addr *a, const struct sx_queue_addr *b)
{
    assert_int_equal(a->v.min, b->v.min);
    assert_int_equal(a->v.max, b->v.max);
    assert_int_equal(a->server.n_hosts, b->server.n_hosts);
    for (unsigned i = 0; i < a->server.n_hosts; i++)
        assert_string_equal(a->server.hosts[i].text, b->server.hosts[i].text);
    assert_string_equal(a->server.port, b->server.port);
    vec_assert_eq(sx_bytes(a->server.key_hash, 32), sx_bytes(b->server.key_hash, 32), "key hash");
    vec_assert_eq(sx_id_bytes(&a->snd_id), sx_id_bytes(&b->snd_id), "sender id");
    assert_true(sx_pub_eq(&a->dh, &b->dh));
    assert_int_equal(a->mode, b->mode);
}

static void assert_link_is(const struct sx_link *l, const cJSON *want_json)
{
    struct sx_link want;

    link_from(want_json, &want);
    assert_int_equal(l->kind, want.kind);
    assert_int_equal(l->agent_v.min, want.agent_v.min);
    assert_int_equal(l->agent_v.max, want.agent_v.max);
    assert_int_equal(l->n_queues, want.n_queues);
    for (size_t i = 0; i < want.n_queues; i++)
        assert_queue_eq(&l->queues[i], &want.queues[i]);
    assert_int_equal(l->has_data, want.has_data);
    vec_assert_eq(sx_wr_bytes(&l->data), sx_wr_bytes(&want.data), "client data");
    assert_int_equal(l->e2e.v.min, want.e2e.v.min);
    assert_int_equal(l->e2e.v.max, want.e2e.v.max);
    if (l->kind == SX_LINK_INVITATION) {
        assert_true(sx_pub_eq(&l->e2e.k1, &want.e2e.k1));
        assert_true(sx_pub_eq(&l->e2e.k2, &want.e2e.k2));
    }
    assert_int_equal(l->e2e.kem.kind, want.e2e.kem.kind);
    vec_assert_eq(l->e2e.kem.pk, want.e2e.kem.pk, "KEM key");
    sx_link_free(&want);
}

static void assert_prints(const struct sx_link *l, const char *scheme, const char *text)
{
    struct sx_wr w;

    sx_wr_init(&w, 2 * SX_LINK_TEXT_MAX);
    sx_link_print(&w, l, scheme);
    assert_false(w.bad);
    vec_assert_eq(sx_wr_bytes(&w), sx_str(text), text);
    sx_wr_free(&w);
}

static bool named(const char *what, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(what, *list) == 0)
            return true;
    }
    return false;
}

/* ---- full links ---- */

/*
 * The reference prints an IPv6 host without brackets and then reads port and host as one address
 * (text_decoded of this row). We print brackets, which it reads well: what is printed must be read
 * back as what it was made of.
 */
static void assert_ipv6_survives(const struct sx_link *l, const cJSON *fields)
{
    struct sx_link again;
    struct sx_wr w;

    sx_wr_init(&w, SX_LINK_TEXT_MAX);
    sx_link_print(&w, l, vec_text(fields, "scheme"));
    assert_false(w.bad);
    assert_int_equal(sx_link_parse(sx_wr_bytes(&w), &again), SIMPLEX_OK);
    assert_link_is(&again, fields);
    sx_link_free(&again);
    sx_wr_free(&w);
}

static void full_links_round_trip_as_text_and_binary(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(json, "full_links"))
    {
        const cJSON *fields = vec_get(row, "fields");
        simplex_bytes binary = vec_hex(row, "binary");
        bool ipv6 = strcmp(vec_text(row, "what"), "invitation, IPv6") == 0;
        struct sx_link l;
        struct sx_wr w;

        link_from(fields, &l);
        if (ipv6)
            assert_ipv6_survives(&l, fields);
        else
            assert_prints(&l, vec_text(fields, "scheme"), vec_text(row, "text"));
        sx_wr_init(&w, 65536);
        sx_link_encode(&w, &l);
        assert_false(w.bad);
        vec_assert_eq(sx_wr_bytes(&w), binary, vec_text(row, "what"));
        sx_wr_free(&w);
        sx_link_free(&l);

        assert_int_equal(sx_link_parse(sx_str(vec_text(row, "text")), &l), SIMPLEX_OK);
        assert_link_is(&l, vec_get(row, "text_decoded"));
        if (!ipv6)
            assert_prints(&l, vec_text(fields, "scheme"), vec_text(row, "text"));
        sx_link_free(&l);

        assert_int_equal(sx_link_decode(binary, &l), SIMPLEX_OK);
        assert_link_is(&l, vec_get(row, "binary_decoded"));
        sx_link_free(&l);
        n++;
    }
    assert_int_equal(n, 19);
    cJSON_Delete(json);
}

/* README.md, "Traps": the size of a KEM key is not checked by the recorded version */
static const char *const stricter_links[] = {
    "e2e short kem_key: accepted as text, not checked here", NULL
};
/* agent.md section 13.2: the application trims, and so does sx_link_parse */
static const char *const trimmed_links[] = { "trailing space", "trailing newline", "leading space",
                                             "trailing newline after query", NULL };

static void odd_full_links_are_read_like_the_reference(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0, rejected = 0, trimmed = 0;

    (void)state;
    vec_each(row, vec_get(json, "full_link_texts"))
    {
        const char *what = vec_text(row, "what");
        const cJSON *result = vec_get(row, "result");
        struct sx_link l;
        simplex_rc rc = sx_link_parse(sx_str(vec_text(row, "text")), &l);

        n++;
        if (named(what, trimmed_links)) {
            assert_true(cJSON_IsString(result));
            assert_int_equal(rc, SIMPLEX_OK);
            sx_link_free(&l);
            trimmed++;
        } else if (cJSON_IsString(result) || named(what, stricter_links)) {
            if (rc != SIMPLEX_E_LINK)
                fail_msg("%s: rc %d", what, (int)rc);
            rejected++;
        } else {
            if (rc != SIMPLEX_OK)
                fail_msg("%s: rc %d", what, (int)rc);
            assert_link_is(&l, vec_get(result, "decoded"));
            assert_prints(&l, "simplex:", vec_text(result, "canonical"));
            sx_link_free(&l);
        }
    }
    assert_int_equal(n, 47);
    assert_int_equal(trimmed, 3);
    assert_int_equal(rejected, 17);
    cJSON_Delete(json);
}

/* agent.md section 13.4: lengths are not checked there; here they are */
static const char *const stricter_queues[] = { "bad key hash length accepted", NULL };

static void odd_queue_addresses_are_read_like_the_reference(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0, rejected = 0;

    (void)state;
    vec_each(row, vec_get(json, "queue_uri_texts"))
    {
        const char *what = vec_text(row, "what");
        const cJSON *result = vec_get(row, "result");
        struct sx_queue_addr q, want;
        struct sx_wr w;
        simplex_rc rc = sx_queue_uri_parse(sx_str(vec_text(row, "text")), &q);

        n++;
        if (cJSON_IsString(result) || named(what, stricter_queues)) {
            if (rc != SIMPLEX_E_LINK)
                fail_msg("%s: rc %d", what, (int)rc);
            rejected++;
            continue;
        }
        if (rc != SIMPLEX_OK)
            fail_msg("%s: rc %d", what, (int)rc);
        queue_from(vec_get(result, "decoded"), &want);
        assert_queue_eq(&q, &want);
        sx_wr_init(&w, 4096);
        sx_queue_uri_print(&w, &q);
        assert_false(w.bad);
        vec_assert_eq(sx_wr_bytes(&w), sx_str(vec_text(result, "canonical")), what);
        sx_wr_free(&w);
    }
    assert_int_equal(n, 23);
    assert_int_equal(rejected, 8);
    cJSON_Delete(json);
}

/* ---- short links ---- */

static void short_from(const cJSON *j, struct sx_short_link *s)
{
    simplex_bytes key = vec_hex(j, "link_key"), id = vec_hex_opt(j, "link_id");

    memset(s, 0, sizeof *s);
    s->type = (uint8_t)vec_text(j, "type")[0];
    s->scheme = strcmp(vec_text(j, "scheme"), "https") == 0 ? SX_SHORT_HTTPS : SX_SHORT_SIMPLEX;
    server_from(vec_get(j, "server"), &s->server, &s->has_key_hash);
    assert_int_equal(key.len, sizeof s->link_key);
    memcpy(s->link_key, key.ptr, key.len);
    if (s->type == SX_SHORT_INVITATION) {
        assert_int_equal(id.len, sizeof s->link_id);
        memcpy(s->link_id, id.ptr, id.len);
    }
}

static void assert_short_eq(const struct sx_short_link *a, const struct sx_short_link *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->has_key_hash, b->has_key_hash);
    assert_true(sx_server_eq(&a->server, &b->server));
    assert_memory_equal(a->link_id, b->link_id, sizeof a->link_id);
    assert_memory_equal(a->link_key, b->link_key, sizeof a->link_key);
}

static void assert_short_prints(const struct sx_short_link *s, const char *text)
{
    struct sx_wr w;

    sx_wr_init(&w, 4096);
    sx_short_link_print(&w, s);
    assert_false(w.bad);
    vec_assert_eq(sx_wr_bytes(&w), sx_str(text), text);
    sx_wr_free(&w);
}

static void short_links_round_trip_as_text_and_binary(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(json, "short_links"))
    {
        const char *text = vec_text(row, "text");
        simplex_bytes binary = vec_hex(row, "binary");
        struct sx_short_link s, want;
        struct sx_wr w;

        short_from(vec_get(row, "fields"), &want);
        assert_short_prints(&want, text);
        sx_wr_init(&w, 4096);
        sx_short_link_encode(&w, &want);
        assert_false(w.bad);
        vec_assert_eq(sx_wr_bytes(&w), binary, text);
        sx_wr_free(&w);

        short_from(vec_get(row, "text_decoded"), &want);
        assert_int_equal(sx_short_link_parse(sx_str(text), &s), SIMPLEX_OK);
        assert_short_eq(&s, &want);
        assert_int_equal(s.scheme, want.scheme);

        struct sx_rd r = sx_rd_init(binary);
        sx_short_link_read(&r, &s);
        assert_true(sx_rd_done(&r));
        assert_short_eq(&s, &want);
        n++;
    }
    assert_int_equal(n, 26);
    cJSON_Delete(json);
}

/* agent.md section 13.4 and README.md, "Traps" */
static const char *const stricter_shorts[] = { "key of 31 bytes",     "key of 33 bytes",
                                               "link id of 10 bytes", "bad port",
                                               "short hash",          NULL };

static void odd_short_links_are_read_like_the_reference(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0, rejected = 0, trimmed = 0;

    (void)state;
    vec_each(row, vec_get(json, "short_link_texts"))
    {
        const char *what = vec_text(row, "what");
        const cJSON *result = vec_get(row, "result");
        struct sx_short_link s, want;
        simplex_rc rc = sx_short_link_parse(sx_str(vec_text(row, "text")), &s);

        n++;
        if (named(what, trimmed_links)) {
            assert_true(cJSON_IsString(result));
            assert_int_equal(rc, SIMPLEX_OK);
            trimmed++;
        } else if (cJSON_IsString(result) || named(what, stricter_shorts)) {
            if (rc != SIMPLEX_E_LINK)
                fail_msg("%s: rc %d", what, (int)rc);
            rejected++;
        } else {
            if (rc != SIMPLEX_OK)
                fail_msg("%s: rc %d", what, (int)rc);
            short_from(vec_get(result, "decoded"), &want);
            assert_short_eq(&s, &want);
            assert_int_equal(s.scheme, want.scheme);
            assert_short_prints(&s, vec_text(result, "canonical"));
        }
    }
    assert_int_equal(n, 31);
    assert_int_equal(trimmed, 2);
    assert_int_equal(rejected, 20);
    cJSON_Delete(json);
}

static void links_to_preset_servers_are_shortened_and_restored(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *group = vec_get(json, "preset_servers"), *row;
    struct sx_server presets[4];
    struct sx_short_link s;
    size_t n_presets = 0;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(group, "presets"))
    {
        assert_true(n_presets < SX_COUNT(presets));
        assert_int_equal(sx_server_parse(sx_str(row->valuestring), &presets[n_presets++], NULL),
                         SIMPLEX_OK);
    }
    vec_each(row, vec_get(group, "shorten"))
    {
        assert_int_equal(sx_short_link_parse(sx_str(vec_text(row, "before")), &s), SIMPLEX_OK);
        sx_short_link_shorten(&s, presets, n_presets);
        assert_short_prints(&s, vec_text(row, "after"));
        n++;
    }
    assert_int_equal(n, 11);
    vec_each(row, vec_get(group, "restore"))
    {
        assert_int_equal(sx_short_link_parse(sx_str(vec_text(row, "before")), &s), SIMPLEX_OK);
        sx_short_link_restore(&s, presets, n_presets);
        assert_short_prints(&s, vec_text(row, "after"));
        n++;
    }
    assert_int_equal(n, 17);
    cJSON_Delete(json);
}

/* ---- link data ---- */

static void link_keys_give_ids_and_encryption_keys(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0;

    (void)state;
    vec_each(row, vec_get(json, "link_key_derivation"))
    {
        const uint8_t *key = vec_hex(row, "link_key").ptr;
        struct sx_link_keys k;

        assert_int_equal(sx_link_keys_derive(SX_LINK_CONTACT, key, &k), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(k.id, sizeof k.id), vec_hex(row, "contact_link_id"), "id");
        vec_assert_eq(sx_bytes(k.key, 32), vec_hex(row, "contact_sb_key"), "contact key");
        assert_int_equal(sx_link_keys_derive(SX_LINK_INVITATION, key, &k), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(k.key, 32), vec_hex(row, "invitation_sb_key"), "1-time key");
        n++;
    }
    assert_int_equal(n, 2);
    cJSON_Delete(json);
}

static struct sx_keypair ed25519_from(simplex_bytes seed)
{
    struct sx_priv priv = { SX_ED25519, { 0 } };
    struct sx_keypair k;

    assert_int_equal(seed.len, 32);
    memcpy(priv.b, seed.ptr, 32);
    assert_int_equal(sx_keypair_from_priv(&priv, &k), SIMPLEX_OK);
    return k;
}

static void assert_stored(const cJSON *row, const char *name, simplex_bytes got)
{
    char digest[64];
    uint8_t hash[32];

    (void)snprintf(digest, sizeof digest, "%s_sha256", name);
    if (vec_opt(row, name) != NULL) {
        vec_assert_eq(got, vec_hex(row, name), name);
    } else {
        sx_sha256(got, hash);
        vec_assert_eq(sx_bytes(hash, 32), vec_hex(row, digest), digest);
    }
}

/* Makes both signed parts again, from the decoded ones and the private keys. */
static void assert_signs_again(const cJSON *row, const struct sx_link_data *d)
{
    struct sx_keypair root = ed25519_from(vec_hex(row, "root_priv"));
    struct sx_keypair signer = root;
    struct sx_link_fixed f = d->fixed;
    uint8_t key[SX_LINK_KEY_LEN];
    struct sx_wr w;

    assert_int_equal(sx_link_decode(vec_hex(row, "conn_req"), &f.request), SIMPLEX_OK);
    f.entity = vec_hex_opt(row, "entity_id");
    f.has_entity = vec_opt(row, "entity_id") != NULL;
    sx_wr_init(&w, 16384);
    assert_int_equal(sx_link_fixed_sign(&w, &f, &root, key), SIMPLEX_OK);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "fixed_signed"), "fixed data");
    vec_assert_eq(sx_bytes(key, sizeof key), vec_hex(row, "link_key"), "link key");
    sx_link_free(&f.request);
    sx_wr_reset(&w);

    if (strstr(vec_text(row, "what"), "signed by the second owner") != NULL)
        signer = ed25519_from(vec_hex(row, "owner2_priv"));
    assert_int_equal(sx_link_user_sign(&w, &d->user, &signer), SIMPLEX_OK);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(row, "user_signed"), "user data");
    sx_wr_free(&w);
    sx_keypair_wipe(&root);
    sx_keypair_wipe(&signer);
}

static void assert_owners_sign_again(const cJSON *row, const struct sx_link_user *u)
{
    struct sx_keypair keys[] = { ed25519_from(vec_hex(row, "root_priv")),
                                 ed25519_from(vec_hex(row, "owner1_priv")) };
    struct sx_rd r = sx_rd_init(u->owners.items);
    struct sx_link_owner o, again;
    struct sx_wr w;

    sx_wr_init(&w, 16384);
    for (unsigned i = 0; i < 2; i++) { /* the second one is signed by the first */
        sx_link_owner_next(&r, &o);
        again = o;
        memset(again.sig, 0, sizeof again.sig);
        assert_int_equal(sx_link_owner_sign(&again, &keys[i]), SIMPLEX_OK);
        sx_link_owner_encode(&w, &again);
    }
    assert_true(sx_rd_done(&r));
    vec_assert_eq(sx_wr_bytes(&w), u->owners.items, "owners");
    sx_wr_free(&w);

    struct sx_short_link relay;
    r = sx_rd_init(u->relays.items);
    sx_link_relay_next(&r, &relay);
    assert_true(sx_rd_done(&r));
    assert_int_equal(relay.type, SX_SHORT_RELAY);
}

static uint8_t kind_of(const cJSON *row)
{
    return vec_hex(row, "conn_req").ptr[0];
}

static void link_data_is_made_and_read(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0, owned = 0;

    (void)state;
    vec_each(row, vec_get(json, "link_data"))
    {
        uint8_t fixed[SX_LINK_FIXED_STORED];
        uint8_t user[SX_LINK_USER_STORED];
        struct sx_short_link link = { 0 };
        struct sx_link_keys keys;
        struct sx_link_data d;
        enum sx_link_fault fault;

        memcpy(link.link_key, vec_hex(row, "link_key").ptr, sizeof link.link_key);
        link.type = kind_of(row) == SX_LINK_INVITATION ? SX_SHORT_INVITATION : SX_SHORT_CONTACT;
        assert_int_equal(sx_link_keys_derive(kind_of(row), link.link_key, &keys), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(keys.key, 32), vec_hex(row, "sb_key"), "key");
        if (link.type == SX_SHORT_CONTACT)
            vec_assert_eq(sx_bytes(keys.id, sizeof keys.id), vec_hex(row, "link_id"), "id");
        assert_int_equal(sx_link_data_seal(keys.key, vec_hex(row, "fixed_nonce").ptr,
                                           vec_hex(row, "fixed_signed"), SX_LINK_FIXED_PADDED,
                                           fixed),
                         SIMPLEX_OK);
        assert_stored(row, "fixed_stored", sx_bytes(fixed, sizeof fixed));
        assert_int_equal(sx_link_data_seal(keys.key, vec_hex(row, "user_nonce").ptr,
                                           vec_hex(row, "user_signed"), SX_LINK_USER_PADDED, user),
                         SIMPLEX_OK);
        assert_stored(row, "user_stored", sx_bytes(user, sizeof user));

        assert_true(vec_bool(row, "decrypt_ok"));
        assert_int_equal(sx_host_parse(sx_str("smp.example.org"), &link.server.hosts[0]),
                         SIMPLEX_OK);
        link.server.n_hosts = 1;
        assert_int_equal(
            sx_short_link_open(&link, vec_unhex("303132333435363738393a3b3c3d3e3f4041424344454647"),
                               fixed, sizeof fixed, user, sizeof user, &d, &fault),
            SIMPLEX_OK);
        assert_int_equal(d.fixed.agent_v.min, vec_int(row, "agent_min"));
        assert_int_equal(d.fixed.agent_v.max, vec_int(row, "agent_max"));
        assert_int_equal(d.fixed.has_entity, vec_opt(row, "entity_id") != NULL);
        vec_assert_eq(d.fixed.entity, vec_hex_opt(row, "entity_id"), "entity id");
        if (vec_opt(row, "user_data") != NULL)
            vec_assert_eq(d.user.data, vec_hex(row, "user_data"), "user data");
        assert_signs_again(row, &d);
        if (d.user.owners.count > 0) {
            assert_owners_sign_again(row, &d.user);
            owned++;
        }
        sx_link_data_free(&d);
        n++;
    }
    assert_int_equal(n, 7);
    assert_int_equal(owned, 1);
    cJSON_Delete(json);
}

static const struct {
    const char *reason; /* how the reference's error begins */
    enum sx_link_fault fault;
    simplex_rc rc;
} reasons[] = {
    { "A_MESSAGE", SX_LINK_FAULT_SYNTAX, SIMPLEX_E_DECODE },
    { "A_LINK link data hash", SX_LINK_FAULT_HASH, SIMPLEX_E_SIGNATURE },
    { "A_LINK link data signature", SX_LINK_FAULT_SIGNATURE, SIMPLEX_E_SIGNATURE },
    { "A_LINK owner key for ID", SX_LINK_FAULT_OWNER_ROOT, SIMPLEX_E_SIGNATURE },
    { "A_LINK duplicate owner", SX_LINK_FAULT_OWNER_DUPLICATE, SIMPLEX_E_SIGNATURE },
    { "A_LINK invalid authorization", SX_LINK_FAULT_OWNER_SIGNATURE, SIMPLEX_E_SIGNATURE },
    { "A_LINK user data signature", SX_LINK_FAULT_USER_SIGNATURE, SIMPLEX_E_SIGNATURE },
};

static void assert_refused(const cJSON *row, simplex_rc rc, enum sx_link_fault fault)
{
    const char *reason = vec_text(row, "result");

    for (size_t i = 0; i < SX_COUNT(reasons); i++) {
        if (strncmp(reason, reasons[i].reason, strlen(reasons[i].reason)) != 0)
            continue;
        if (fault != reasons[i].fault || rc != reasons[i].rc)
            fail_msg("%s: fault %d, rc %d", vec_text(row, "what"), (int)fault, (int)rc);
        return;
    }
    fail_msg("unknown reason %s", reason);
}

static void wrong_link_data_is_refused_for_the_right_reason(void **state)
{
    cJSON *json = vec_load("links.json");
    const cJSON *row;
    unsigned n = 0, good = 0;

    (void)state;
    vec_each(row, vec_get(json, "link_data_checks"))
    {
        const cJSON *result = vec_get(row, "result");
        struct sx_link_data d;
        enum sx_link_fault fault;
        simplex_rc rc = sx_link_data_verify(SX_LINK_CONTACT, vec_hex(row, "link_key").ptr,
                                            vec_hex(row, "fixed_signed"),
                                            vec_hex(row, "user_signed"), &d, &fault);

        n++;
        if (cJSON_IsString(result)) {
            assert_refused(row, rc, fault);
            continue;
        }
        if (rc != SIMPLEX_OK)
            fail_msg("%s: rc %d, fault %d", vec_text(row, "what"), (int)rc, (int)fault);
        assert_int_equal(fault, SX_LINK_GOOD);
        vec_assert_eq(d.fixed.entity, vec_hex_opt(result, "entity_id"), "entity id");
        sx_link_data_free(&d);
        good++;
    }
    assert_int_equal(n, 18);
    assert_int_equal(good, 5);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_links_round_trip_as_text_and_binary),
        cmocka_unit_test(odd_full_links_are_read_like_the_reference),
        cmocka_unit_test(odd_queue_addresses_are_read_like_the_reference),
        cmocka_unit_test(short_links_round_trip_as_text_and_binary),
        cmocka_unit_test(odd_short_links_are_read_like_the_reference),
        cmocka_unit_test(links_to_preset_servers_are_shortened_and_restored),
        cmocka_unit_test(link_keys_give_ids_and_encryption_keys),
        cmocka_unit_test(link_data_is_made_and_read),
        cmocka_unit_test(wrong_link_data_is_refused_for_the_right_reason),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, vec_teardown);
}
