/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data behind short links. Input: 'f' fixed data, 'u' user data, both signed here so that the
 * checks behind the signature are reached; 'r' two parts as they are, a length in front of one.
 */
#include "fuzz.h"

#include "wire/short_link.h"

#define PART_MAX 20000

static struct sx_keypair root;
static uint8_t good_fixed[4000];
static size_t good_len;
static uint8_t good_key[SX_LINK_KEY_LEN];
static struct sx_wr good_user;

static void make_fixed(void)
{
    struct sx_link_fixed f = { .agent_v = { 2, 7 }, .root = root.pub };
    struct sx_link *l = &f.request;
    struct sx_queue_addr q = { .v = { 2, 4 }, .snd_id = { 1, { 1 } }, .mode = SX_MODE_CONTACT };
    struct sx_wr w;

    q.server.n_hosts = 1;
    memcpy(q.server.hosts[0].text, "h", 2);
    q.dh.alg = SX_X25519;
    q.dh.b[0] = 9;
    l->kind = SX_LINK_CONTACT;
    l->agent_v = f.agent_v;
    l->queues = &q;
    l->n_queues = 1;
    sx_wr_fixed(&w, good_fixed, sizeof good_fixed);
    CHECK(sx_link_fixed_sign(&w, &f, &root, good_key) == SIMPLEX_OK);
    good_len = w.len;
}

static void sign(struct sx_wr *w, simplex_bytes body)
{
    uint8_t sig[SX_SIG_MAX];
    size_t n = sizeof sig;

    sx_wr_init(w, PART_MAX + 100);
    CHECK(sx_sign(&root, body, sig, &n) == SIMPLEX_OK);
    sx_wr_short(w, sx_bytes(sig, n));
    sx_wr_raw(w, body);
    CHECK(!w->bad);
}

static void start(void)
{
    static bool started;
    struct sx_priv seed = { SX_ED25519, { 1 } };

    if (started)
        return;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    CHECK(sx_keypair_from_priv(&seed, &root) == SIMPLEX_OK);
    make_fixed();
    sign(&good_user, sx_bytes("C\0\2\0\7T\0\0\1u", 10));
    started = true;
}

static void read_items(const struct sx_link_user *u)
{
    struct sx_rd r = sx_rd_init(u->owners.items);
    struct sx_link_owner o;
    struct sx_short_link s;

    for (unsigned i = 0; i < u->owners.count; i++)
        sx_link_owner_next(&r, &o);
    CHECK(sx_rd_done(&r));
    r = sx_rd_init(u->relays.items);
    for (unsigned i = 0; i < u->relays.count; i++)
        sx_link_relay_next(&r, &s);
    CHECK(sx_rd_done(&r));
}

/* User data that is accepted is accepted again when it is written and signed anew. */
static void fuzz_user(simplex_bytes body)
{
    struct sx_link_data d, again;
    enum sx_link_fault fault;
    struct sx_wr w, w2;
    simplex_bytes fixed = { good_fixed, good_len };

    sign(&w, body);
    simplex_rc rc =
        sx_link_data_verify(SX_LINK_CONTACT, good_key, fixed, sx_wr_bytes(&w), &d, &fault);
    CHECK((rc == SIMPLEX_OK) == (fault == SX_LINK_GOOD));
    sx_wr_init(&w2, PART_MAX + 100);
    if (rc == SIMPLEX_OK) {
        read_items(&d.user);
        /* what does not fit the padded size cannot be signed again */
        if (sx_link_user_sign(&w2, &d.user, &root) == SIMPLEX_OK) {
            CHECK(sx_link_data_verify(SX_LINK_CONTACT, good_key, fixed, sx_wr_bytes(&w2), &again,
                                      &fault) == SIMPLEX_OK);
            CHECK(sx_bytes_eq(d.user.data, again.user.data));
            CHECK(sx_bytes_eq(d.user.owners.items, again.user.owners.items));
            sx_link_data_free(&again);
        }
        sx_link_data_free(&d);
    }
    sx_wr_free(&w2);
    sx_wr_free(&w);
}

/* Signed anew, when it fits, it is accepted again under its new link key. */
static void check_fixed_again(const struct sx_link_data *d)
{
    struct sx_link_data again;
    enum sx_link_fault fault;
    uint8_t key[SX_LINK_KEY_LEN];
    struct sx_wr w;

    sx_wr_init(&w, PART_MAX);
    if (sx_link_fixed_sign(&w, &d->fixed, &root, key) == SIMPLEX_OK) {
        CHECK(sx_link_data_verify(SX_LINK_CONTACT, key, sx_wr_bytes(&w), sx_wr_bytes(&good_user),
                                  &again, &fault) == SIMPLEX_OK);
        CHECK(again.fixed.has_entity == d->fixed.has_entity);
        CHECK(sx_bytes_eq(again.fixed.entity, d->fixed.entity));
        sx_link_data_free(&again);
    }
    sx_wr_free(&w);
}

/* The root key is put where fixed data has it, so that the signature is right when the rest is. */
static void fuzz_fixed(simplex_bytes body)
{
    struct sx_link_data d;
    enum sx_link_fault fault;
    uint8_t key[SX_LINK_KEY_LEN];
    struct sx_wr part, w;

    if (body.len < 4)
        return;
    sx_wr_init(&part, PART_MAX + 100);
    sx_wr_raw(&part, sx_bytes(body.ptr, 4));
    sx_wr_key(&part, &root.pub);
    sx_wr_raw(&part, sx_bytes(body.ptr + 4, body.len - 4));
    sign(&w, sx_wr_bytes(&part));
    sx_sha3_256(sx_wr_bytes(&part), key);
    simplex_rc rc = sx_link_data_verify(SX_LINK_CONTACT, key, sx_wr_bytes(&w),
                                        sx_wr_bytes(&good_user), &d, &fault);
    CHECK((rc == SIMPLEX_OK) == (fault == SX_LINK_GOOD));
    if (rc == SIMPLEX_OK) {
        CHECK(sx_pub_eq(&d.fixed.root, &root.pub));
        CHECK(d.fixed.request.kind == SX_LINK_CONTACT && d.fixed.request.n_queues > 0);
        check_fixed_again(&d);
        sx_link_data_free(&d);
    } else {
        CHECK(fault == SX_LINK_FAULT_SYNTAX);
    }
    sx_wr_free(&w);
    sx_wr_free(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct sx_link_data d;
    enum sx_link_fault fault;

    if (size > PART_MAX)
        return 0;
    start();
    uint8_t what = sx_rd_u8(&r);
    if (what == 'u') {
        fuzz_user(sx_rd_rest(&r));
    } else if (what == 'f') {
        fuzz_fixed(sx_rd_rest(&r));
    } else if (what == 'r') {
        simplex_bytes fixed = sx_rd_large(&r), user = sx_rd_rest(&r);
        if (sx_link_data_verify(SX_LINK_INVITATION, good_key, fixed, user, &d, &fault) ==
            SIMPLEX_OK)
            sx_link_data_free(&d);
    }
    return 0;
}
