/* SPDX-License-Identifier: Apache-2.0 */
/* Links and link data: memory, strictness, and what a changed bit does. */
#include "support/vec.h"

#include "wire/short_link.h"

#define FP "kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8"
#define LINK_KEY "oKGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm6u7y9vr8"

/* ---- a full link with everything in it ---- */

static void make_queue(struct sx_queue_addr *q)
{
    uint8_t raw[32];

    memset(q, 0, sizeof *q);
    memset(raw, 9, sizeof raw);
    q->v = (struct sx_range){ 2, 4 };
    assert_int_equal(
        sx_server_parse(sx_str("smp://" FP "@smp.example.org,abc.onion:5224"), &q->server, NULL),
        SIMPLEX_OK);
    q->snd_id.len = SX_ID_LEN;
    memset(q->snd_id.b, 5, SX_ID_LEN);
    assert_int_equal(sx_pub_from_raw(SX_X25519, sx_bytes(raw, 32), &q->dh), SIMPLEX_OK);
    q->mode = SX_MODE_MESSAGING;
}

static void make_link(struct sx_link *l, size_t n_queues)
{
    uint8_t raw[56], pk[SX_KEM_PK];

    memset(l, 0, sizeof *l);
    memset(raw, 3, sizeof raw);
    memset(pk, 0x4b, sizeof pk);
    sx_wr_init(&l->data, UINT16_MAX);
    l->kind = SX_LINK_INVITATION;
    l->agent_v = (struct sx_range){ 2, 7 };
    l->queues = sx_calloc(n_queues, sizeof *l->queues);
    assert_non_null(l->queues);
    l->n_queues = n_queues;
    for (size_t i = 0; i < n_queues; i++)
        make_queue(&l->queues[i]);
    l->e2e.v = (struct sx_range){ 2, 3 };
    assert_int_equal(sx_pub_from_raw(SX_X448, sx_bytes(raw, 56), &l->e2e.k1), SIMPLEX_OK);
    assert_int_equal(sx_pub_from_raw(SX_X448, sx_bytes(raw, 56), &l->e2e.k2), SIMPLEX_OK);
    assert_int_equal(sx_link_set_kem(l, sx_bytes(pk, sizeof pk)), SIMPLEX_OK);
    assert_int_equal(sx_link_set_data(l, sx_str("{\"some\": \"data & more\"}")), SIMPLEX_OK);
}

static simplex_bytes printed(const struct sx_link *l)
{
    struct sx_wr w;

    sx_wr_init(&w, SX_LINK_TEXT_MAX);
    sx_link_print(&w, l, "simplex:");
    assert_false(w.bad);
    simplex_bytes copy = { vec_keep(w.len), w.len };
    memcpy((void *)(uintptr_t)copy.ptr, w.p, w.len);
    sx_wr_free(&w);
    return copy;
}

static simplex_bytes encoded(const struct sx_link *l)
{
    struct sx_wr w;

    sx_wr_init(&w, 65536);
    sx_link_encode(&w, l);
    assert_false(w.bad);
    simplex_bytes copy = { vec_keep(w.len), w.len };
    memcpy((void *)(uintptr_t)copy.ptr, w.p, w.len);
    sx_wr_free(&w);
    return copy;
}

static void parsing_survives_each_failed_allocation(void **state)
{
    struct sx_link made;
    bool fired = true;
    unsigned nth = 0;

    (void)state;
    make_link(&made, 2);
    simplex_bytes text = printed(&made), binary = encoded(&made);
    sx_link_free(&made);
    size_t before = sx_fault_live_blocks();
    for (; fired; nth++) {
        struct sx_link l;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_link_parse(text, &l);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        if (rc == SIMPLEX_OK)
            sx_link_free(&l);
        assert_int_equal(sx_fault_live_blocks(), before);
    }
    assert_true(nth > 5);
    fired = true;
    for (nth = 0; fired; nth++) {
        struct sx_link l;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_link_decode(binary, &l);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        if (rc == SIMPLEX_OK)
            sx_link_free(&l);
        assert_int_equal(sx_fault_live_blocks(), before);
    }
    assert_true(nth > 2);
}

static void printing_says_when_memory_runs_out(void **state)
{
    struct sx_link l;
    bool fired = true;

    (void)state;
    make_link(&l, 1);
    size_t before = sx_fault_live_blocks();
    for (unsigned nth = 0; fired; nth++) {
        struct sx_wr w;
        sx_wr_init(&w, SX_LINK_TEXT_MAX);
        sx_fault_malloc(nth);
        sx_link_print(&w, &l, "simplex:");
        fired = sx_fault_disarm();
        assert_int_equal(w.bad, fired);
        sx_wr_free(&w);
        assert_int_equal(sx_fault_live_blocks(), before);
    }
    sx_link_free(&l);
}

static bool parses(const char *text)
{
    struct sx_link l;
    simplex_rc rc = sx_link_parse(sx_str(text), &l);

    if (rc == SIMPLEX_OK)
        sx_link_free(&l);
    else
        assert_int_equal(rc, SIMPLEX_E_LINK);
    return rc == SIMPLEX_OK;
}

#define QUEUE                                                                                    \
    "smp%3A%2F%2F" FP "%3D%40smp.example.org%2FMDEyMzQ1Njc4OTo7PD0-P0BBQkNERUZH%23%2F%3Fv%3D1-4" \
    "%26dh%3DMCowBQYDK2VuAyEAJE_juWPomd0pW6_84kjTUw86mnR5ugYwAmgOv-etrUk%253D%26q%3Dc"

static void white_space_is_allowed_around_a_link_and_nowhere_else(void **state)
{
    (void)state;
    assert_true(parses("simplex:/contact#/?v=2-7&smp=" QUEUE));
    assert_true(parses(" \t\r\n simplex:/contact#/?v=2-7&smp=" QUEUE " \r\n\t"));
    assert_false(parses("simplex:/contact#/?v=2-7 &smp=" QUEUE));
    assert_false(parses("simplex:/contact#/?v=2-7&smp=" QUEUE "\nsimplex"));
    assert_false(parses("simplex:/contact#/?v=2-7&smp=" QUEUE "&data=a\tb"));
    assert_false(parses(" "));
    assert_false(parses(""));
}

static void schemes_and_sites_are_checked(void **state)
{
    (void)state;
    assert_true(parses("https://simplex.chat/contact#/?v=2-7&smp=" QUEUE));
    assert_true(parses("https://example.org:8443/contact/#/?v=2-7&smp=" QUEUE));
    assert_false(parses("https:///contact#/?v=2-7&smp=" QUEUE));
    assert_false(parses("https://example.org:99999/contact#/?v=2-7&smp=" QUEUE));
    assert_false(parses("https://example.org:/contact#/?v=2-7&smp=" QUEUE));
    assert_false(parses("https://a b/contact#/?v=2-7&smp=" QUEUE));
    assert_false(parses("simplex:contact#/?v=2-7&smp=" QUEUE));
    assert_false(parses("simplex:/contact//#/?v=2-7&smp=" QUEUE));
    assert_false(parses("smp://" FP "@smp.example.org"));
}

static void number_of_queues_and_length_are_bounded(void **state)
{
    static char text[SX_LINK_TEXT_MAX + 100];
    struct sx_link l, got;

    (void)state;
    make_link(&l, SX_LINK_QUEUES_MAX);
    assert_int_equal(sx_link_parse(printed(&l), &got), SIMPLEX_OK);
    assert_int_equal(got.n_queues, SX_LINK_QUEUES_MAX);
    sx_link_free(&got);
    assert_int_equal(sx_link_decode(encoded(&l), &got), SIMPLEX_OK);
    sx_link_free(&got);
    sx_link_free(&l);
    make_link(&l, SX_LINK_QUEUES_MAX + 1);
    assert_int_equal(sx_link_parse(printed(&l), &got), SIMPLEX_E_LINK);
    sx_link_free(&l);

    memset(text, 'a', sizeof text - 1);
    const char *head = "simplex:/contact#/?v=2-7&smp=" QUEUE "&x=";
    memcpy(text, head, strlen(head));
    text[SX_LINK_TEXT_MAX] = 0;
    assert_true(parses(text));
    text[SX_LINK_TEXT_MAX] = 'a';
    text[SX_LINK_TEXT_MAX + 1] = 0;
    assert_false(parses(text));
}

static void truncated_binary_links_are_refused(void **state)
{
    struct sx_link l, got;

    (void)state;
    make_link(&l, 2);
    simplex_bytes whole = encoded(&l);
    for (size_t n = 0; n < whole.len; n++) {
        uint8_t *copy = test_malloc(n + 1);
        memcpy(copy, whole.ptr, n);
        assert_int_equal(sx_link_decode(sx_bytes(copy, n), &got), SIMPLEX_E_DECODE);
        test_free(copy);
    }
    sx_link_free(&l);
}

static void client_data_becomes_utf8(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "plain", "plain" },
        { "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\xff\xfe", "??" },
        { "\xc0\xaf", "??" },           /* overlong */
        { "\xe0\x80\xaf", "???" },      /* overlong */
        { "\xed\xa0\x80", "???" },      /* a surrogate */
        { "\xf4\x90\x80\x80", "????" }, /* above U+10FFFF */
        { "\xf5z", "?z" },
        { "a\xe2\x82", "a??" }, /* cut short */
        { "\xe2\x82z", "??z" },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_link l;
        make_link(&l, 1);
        assert_int_equal(sx_link_set_data(&l, sx_str(rows[i].in)), SIMPLEX_OK);
        vec_assert_eq(sx_wr_bytes(&l.data), sx_str(rows[i].out), "client data");
        sx_link_free(&l);
    }
}

static void kem_keys_are_copied_and_their_size_is_checked(void **state)
{
    uint8_t pk[SX_KEM_PK + 1] = { 1 };
    struct sx_link l;

    (void)state;
    make_link(&l, 1);
    assert_int_equal(sx_link_set_kem(&l, sx_bytes(pk, SX_KEM_PK)), SIMPLEX_OK);
    pk[0] = 2;
    assert_int_equal(l.e2e.kem.pk.ptr[0], 1);
    assert_int_equal(sx_link_set_kem(&l, sx_bytes(pk, SX_KEM_PK + 1)), SIMPLEX_E_KEY);
    assert_int_equal(l.e2e.kem.kind, SX_KEM_NONE);
    assert_int_equal(sx_link_set_kem(&l, sx_bytes(pk, SX_KEM_PK)), SIMPLEX_OK);
    assert_int_equal(sx_link_set_kem(&l, sx_bytes(NULL, 0)), SIMPLEX_OK);
    assert_int_equal(l.e2e.kem.kind, SX_KEM_NONE);
    sx_link_free(&l);
}

/* ---- short links ---- */

static bool short_parses(const char *text)
{
    struct sx_short_link s;
    simplex_rc rc = sx_short_link_parse(sx_str(text), &s);

    return rc == SIMPLEX_OK;
}

static void short_links_are_parsed_strictly(void **state)
{
    (void)state;
    assert_true(short_parses("https://smp.example.org/a#" LINK_KEY));
    assert_true(short_parses(" https://smp.example.org/a#" LINK_KEY "?p=443&c=" FP "\n"));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?p=0"));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?p="));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?p=65536"));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?p=4a3"));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?c="));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?h="));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "?h=a,,b"));
    assert_true(short_parses("https://h1/a#" LINK_KEY "?h=h2,h3,h4,h5,h6,h7,h8"));
    assert_false(short_parses("https://h1/a#" LINK_KEY "?h=h2,h3,h4,h5,h6,h7,h8,h9"));
    assert_false(short_parses("https:///a#" LINK_KEY));
    assert_false(short_parses("https://smp.example.org/a#" LINK_KEY "\n?p=443"));
    assert_false(short_parses(""));
}

static void sender_ids_follow_from_correlation_ids(void **state)
{
    uint8_t corr[24] = { 1, 2, 3 }, hash[48];
    struct sx_id id;

    (void)state;
    sx_sha3_384(sx_bytes(corr, sizeof corr), hash);
    sx_link_sender_id(corr, &id);
    vec_assert_eq(sx_id_bytes(&id), sx_bytes(hash, 24), "sender id");
}

/* ---- link data ---- */

struct stored { /* a contact link as its server holds it */
    struct sx_short_link link;
    struct sx_keypair root, owner;
    uint8_t fixed[SX_LINK_FIXED_STORED];
    uint8_t user[SX_LINK_USER_STORED];
    struct sx_id snd_id;
};

static void new_key(struct sx_keypair *k)
{
    assert_int_equal(sx_keypair_new(SX_ED25519, k), SIMPLEX_OK);
}

static void seal_user(struct stored *s, const struct sx_link_user *u, const struct sx_keypair *by)
{
    uint8_t nonce[SX_NONCE_LEN];
    struct sx_link_keys keys;
    struct sx_wr w;

    sx_random(nonce, sizeof nonce);
    assert_int_equal(sx_link_keys_derive(SX_LINK_CONTACT, s->link.link_key, &keys), SIMPLEX_OK);
    sx_wr_init(&w, 20000);
    assert_int_equal(sx_link_user_sign(&w, u, by), SIMPLEX_OK);
    assert_int_equal(
        sx_link_data_seal(keys.key, nonce, sx_wr_bytes(&w), SX_LINK_USER_PADDED, s->user),
        SIMPLEX_OK);
    sx_wr_free(&w);
    sx_wipe(&keys, sizeof keys);
}

static void make_stored(struct stored *s)
{
    uint8_t nonce[SX_NONCE_LEN], corr[24];
    struct sx_link_fixed f = { .agent_v = { 2, 7 } };
    struct sx_link_user u = { .kind = SX_LINK_CONTACT, .agent_v = { 2, 7 }, .direct = true };
    struct sx_link_keys keys;
    struct sx_wr w;

    memset(s, 0, sizeof *s);
    new_key(&s->root);
    new_key(&s->owner);
    sx_random(corr, sizeof corr);
    sx_random(nonce, sizeof nonce);
    sx_link_sender_id(corr, &s->snd_id);
    f.root = s->root.pub;
    make_link(&f.request, 1);
    f.request.kind = SX_LINK_CONTACT;
    f.request.queues[0].snd_id = s->snd_id;
    f.request.queues[0].mode = SX_MODE_CONTACT;
    sx_wr_init(&w, 4000);
    assert_int_equal(sx_link_fixed_sign(&w, &f, &s->root, s->link.link_key), SIMPLEX_OK);
    s->link.type = SX_SHORT_CONTACT;
    s->link.server = f.request.queues[0].server;
    s->link.has_key_hash = true;
    assert_int_equal(sx_link_keys_derive(SX_LINK_CONTACT, s->link.link_key, &keys), SIMPLEX_OK);
    assert_int_equal(
        sx_link_data_seal(keys.key, nonce, sx_wr_bytes(&w), SX_LINK_FIXED_PADDED, s->fixed),
        SIMPLEX_OK);
    u.data = sx_str("profile");
    seal_user(s, &u, &s->root);
    sx_link_free(&f.request);
    sx_wr_free(&w);
    sx_wipe(&keys, sizeof keys);
}

/* Opens copies, since opening overwrites. */
static simplex_rc open_stored(const struct stored *s, struct sx_link_data *d,
                              enum sx_link_fault *fault)
{
    static struct stored copy;

    copy = *s;
    return sx_short_link_open(&copy.link, sx_id_bytes(&copy.snd_id), copy.fixed, sizeof copy.fixed,
                              copy.user, sizeof copy.user, d, fault);
}

static void assert_fault(const struct stored *s, enum sx_link_fault want)
{
    struct sx_link_data d;
    enum sx_link_fault fault;

    assert_int_not_equal(open_stored(s, &d, &fault), SIMPLEX_OK);
    assert_int_equal(fault, want);
    assert_null(d.fixed.request.queues);
}

static void a_contact_link_opens_and_its_data_can_be_replaced(void **state)
{
    static struct stored s;
    struct sx_link_user u = { .kind = SX_LINK_CONTACT, .agent_v = { 2, 7 } };
    struct sx_link_data d;
    enum sx_link_fault fault;
    uint8_t profile[13000] = { 'p' };

    (void)state;
    make_stored(&s);
    assert_int_equal(open_stored(&s, &d, &fault), SIMPLEX_OK);
    vec_assert_eq(d.user.data, sx_str("profile"), "user data");
    assert_true(d.user.direct);
    assert_true(sx_pub_eq(&d.fixed.root, &s.root.pub));
    sx_link_data_free(&d);

    u.data = sx_bytes(profile, sizeof profile);
    seal_user(&s, &u, &s.root);
    assert_int_equal(open_stored(&s, &d, &fault), SIMPLEX_OK);
    vec_assert_eq(d.user.data, u.data, "longer user data");
    sx_link_data_free(&d);
    seal_user(&s, &u, &s.owner); /* whom nobody has authorised */
    assert_fault(&s, SX_LINK_FAULT_USER_SIGNATURE);
}

static void a_changed_bit_anywhere_is_found(void **state)
{
    static struct stored s;

    (void)state;
    make_stored(&s);
    for (size_t i = 0; i < sizeof s.fixed; i += 97) {
        s.fixed[i] ^= 1;
        assert_fault(&s, SX_LINK_FAULT_BOX);
        s.fixed[i] ^= 1;
    }
    for (size_t i = 0; i < sizeof s.user; i += 997) {
        s.user[i] ^= 0x80;
        assert_fault(&s, SX_LINK_FAULT_BOX);
        s.user[i] ^= 0x80;
    }
    s.link.link_key[5] ^= 1;
    assert_fault(&s, SX_LINK_FAULT_BOX);
}

static void parts_of_other_lengths_are_refused(void **state)
{
    static struct stored s;
    struct sx_link_data d;
    enum sx_link_fault fault;

    (void)state;
    make_stored(&s);
    assert_int_equal(sx_short_link_open(&s.link, sx_id_bytes(&s.snd_id), s.fixed,
                                        sizeof s.fixed - 1, s.user, sizeof s.user, &d, &fault),
                     SIMPLEX_E_CRYPTO);
    assert_int_equal(fault, SX_LINK_FAULT_BOX);
    assert_int_equal(
        sx_short_link_open(&s.link, sx_id_bytes(&s.snd_id), s.fixed, 0, s.user, 0, &d, &fault),
        SIMPLEX_E_CRYPTO);
}

static void the_queue_must_be_the_one_behind_the_link(void **state)
{
    static struct stored s, other;
    struct sx_link_data d;
    enum sx_link_fault fault;

    (void)state;
    make_stored(&s);
    other = s;
    other.snd_id.b[0] ^= 1;
    assert_fault(&other, SX_LINK_FAULT_ADDRESS);
    other = s;
    assert_int_equal(sx_host_parse(sx_str("elsewhere.example.org"), &other.link.server.hosts[0]),
                     SIMPLEX_OK);
    assert_fault(&other, SX_LINK_FAULT_ADDRESS);
    /* another record of the same server is preferred to the one in the request */
    other = s;
    other.link.server.n_hosts = 1;
    memcpy(other.link.server.port, "443", 4);
    assert_int_equal(open_stored(&other, &d, &fault), SIMPLEX_OK);
    assert_true(sx_server_eq(&d.fixed.request.queues[0].server, &other.link.server));
    sx_link_data_free(&d);
    /* but not one without key hash, which is no record */
    other.link.has_key_hash = false;
    assert_int_equal(open_stored(&other, &d, &fault), SIMPLEX_OK);
    assert_true(sx_server_eq(&d.fixed.request.queues[0].server, &s.link.server));
    sx_link_data_free(&d);
}

static void owners_sign_in_a_chain(void **state)
{
    static struct stored s;
    struct sx_keypair second;
    struct sx_link_owner o = { .id = sx_str("first") };
    struct sx_link_user u = { .kind = SX_LINK_CONTACT, .agent_v = { 2, 7 } };
    struct sx_link_data d;
    enum sx_link_fault fault;
    struct sx_wr owners;

    (void)state;
    make_stored(&s);
    new_key(&second);
    sx_wr_init(&owners, 10000);
    o.key = s.owner.pub;
    assert_int_equal(sx_link_owner_sign(&o, &s.root), SIMPLEX_OK);
    sx_link_owner_encode(&owners, &o);
    o.id = sx_str("second");
    o.key = second.pub;
    assert_int_equal(sx_link_owner_sign(&o, &s.owner), SIMPLEX_OK);
    sx_link_owner_encode(&owners, &o);
    u.owners = (struct sx_list){ 2, sx_wr_bytes(&owners) };
    seal_user(&s, &u, &second);
    assert_int_equal(open_stored(&s, &d, &fault), SIMPLEX_OK);
    assert_int_equal(d.user.owners.count, 2);
    sx_link_data_free(&d);

    o.sig[3] ^= 1;
    sx_link_owner_encode(&owners, &o); /* "second" a third time: the duplicate is found first */
    u.owners = (struct sx_list){ 3, sx_wr_bytes(&owners) };
    seal_user(&s, &u, &s.root);
    assert_fault(&s, SX_LINK_FAULT_OWNER_DUPLICATE);
    sx_wr_reset(&owners);
    sx_link_owner_encode(&owners, &o);
    u.owners = (struct sx_list){ 1, sx_wr_bytes(&owners) };
    seal_user(&s, &u, &s.root);
    assert_fault(&s, SX_LINK_FAULT_OWNER_SIGNATURE);
    sx_wr_free(&owners);
    sx_keypair_wipe(&second);
}

static void too_long_data_is_not_signed(void **state)
{
    static uint8_t profile[SX_LINK_USER_PADDED];
    static struct stored s;
    struct sx_link_user u = { .kind = SX_LINK_INVITATION, .agent_v = { 2, 7 } };
    struct sx_wr w;

    (void)state;
    make_stored(&s);
    sx_wr_init(&w, 40000);
    u.data = sx_bytes(profile, sizeof profile);
    assert_int_equal(sx_link_user_sign(&w, &u, &s.root), SIMPLEX_E_ENCODE);
    sx_wr_reset(&w);
    /* what is signed but not sealed: two bytes of length and 65 of signature go on top */
    u.data.len = SX_LINK_USER_PADDED - 2 - 65 - 8 + 1;
    assert_int_equal(sx_link_user_sign(&w, &u, &s.root), SIMPLEX_OK);
    assert_int_equal(
        sx_link_data_seal(s.link.link_key, s.fixed, sx_wr_bytes(&w), SX_LINK_USER_PADDED, s.user),
        SIMPLEX_E_TOO_LARGE);
    sx_wr_reset(&w);
    u.data.len--;
    assert_int_equal(sx_link_user_sign(&w, &u, &s.root), SIMPLEX_OK);
    assert_int_equal(
        sx_link_data_seal(s.link.link_key, s.fixed, sx_wr_bytes(&w), SX_LINK_USER_PADDED, s.user),
        SIMPLEX_OK);
    sx_wr_free(&w);
}

static void opening_survives_each_failed_allocation(void **state)
{
    static struct stored s;
    bool fired = true;
    unsigned nth = 0;

    (void)state;
    make_stored(&s);
    size_t before = sx_fault_live_blocks();
    for (; fired; nth++) {
        struct sx_link_data d;
        enum sx_link_fault fault;
        sx_fault_malloc(nth);
        simplex_rc rc = open_stored(&s, &d, &fault);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(fault, SX_LINK_GOOD);
        sx_link_data_free(&d);
        assert_int_equal(sx_fault_live_blocks(), before);
    }
    assert_true(nth > 1);
}

static void faults_have_texts(void **state)
{
    (void)state;
    for (int f = SX_LINK_GOOD; f <= SX_LINK_FAULT_ADDRESS; f++)
        assert_true(strlen(sx_link_fault_text((enum sx_link_fault)f)) > 5);
    assert_string_equal(sx_link_fault_text((enum sx_link_fault)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_survives_each_failed_allocation),
        cmocka_unit_test(printing_says_when_memory_runs_out),
        cmocka_unit_test(white_space_is_allowed_around_a_link_and_nowhere_else),
        cmocka_unit_test(schemes_and_sites_are_checked),
        cmocka_unit_test(number_of_queues_and_length_are_bounded),
        cmocka_unit_test(truncated_binary_links_are_refused),
        cmocka_unit_test(client_data_becomes_utf8),
        cmocka_unit_test(kem_keys_are_copied_and_their_size_is_checked),
        cmocka_unit_test(short_links_are_parsed_strictly),
        cmocka_unit_test(sender_ids_follow_from_correlation_ids),
        cmocka_unit_test(a_contact_link_opens_and_its_data_can_be_replaced),
        cmocka_unit_test(a_changed_bit_anywhere_is_found),
        cmocka_unit_test(parts_of_other_lengths_are_refused),
        cmocka_unit_test(the_queue_must_be_the_one_behind_the_link),
        cmocka_unit_test(owners_sign_in_a_chain),
        cmocka_unit_test(too_long_data_is_not_signed),
        cmocka_unit_test(opening_survives_each_failed_allocation),
        cmocka_unit_test(faults_have_texts),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, vec_teardown);
}
