/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The per-queue layer. The first byte chooses the queue (with or without the sender's secret, its
 * mode) and whether the rest is a whole body or what is inside its box, sealed here. What is
 * opened lies inside the body, is of a kind the queue takes, and can be written again.
 */
#include "agent/agent.h"
#include "agent/envelope.h"
#include "fuzz.h"

enum { /* bits of the first byte */
       HAS_SECRET = 1,
       MESSAGING = 2,
       RAW = 4,
       KEYED = 8,      /* the sender's key is in the header */
       OTHER_KEY = 16, /* not the one that the secret was made with */
       LATER = 32,     /* of a version this code does not know */
       SHORT = 64,     /* less padding than senders use */
};

static struct sx_rcv_queue fixed;
static struct sx_keypair sender, stranger;

static void pair_from(uint8_t fill, struct sx_keypair *k)
{
    struct sx_priv p = { .alg = SX_X25519 };

    memset(p.b, fill, 32);
    CHECK(sx_keypair_from_priv(&p, k) == SIMPLEX_OK);
}

static void prepare(void)
{
    uint8_t secret[SX_DH_MAX];

    CHECK(sx_crypto_init() == SIMPLEX_OK);
    pair_from(1, &fixed.e2e);
    pair_from(2, &sender);
    pair_from(3, &stranger);
    CHECK(sx_dh(&sender.priv, &fixed.e2e.pub, secret) == SIMPLEX_OK);
    memcpy(fixed.e2e_secret, secret, sizeof fixed.e2e_secret);
    fixed.client_version = SX_CLIENT_MAX;
}

static void seal(uint8_t flags, simplex_bytes inner, struct sx_wr *body)
{
    struct sx_client_msg head = { .version = SX_CLIENT_MAX, .has_key = (flags & KEYED) != 0 };
    const struct sx_keypair *from = (flags & OTHER_KEY) != 0 ? &stranger : &sender;
    size_t n = (flags & SHORT) != 0 ? inner.len + 2 : SX_PAD_CONFIRMATION;
    uint8_t secret[SX_DH_MAX], *at;
    struct sx_box_key box;

    if ((flags & LATER) != 0)
        head.version = SX_CLIENT_MAX + 1;
    head.key = from->pub;
    memset(head.nonce, 7, sizeof head.nonce);
    if (inner.len > n - 2)
        inner.len = n - 2;
    CHECK(sx_dh(&from->priv, &fixed.e2e.pub, secret) == SIMPLEX_OK);
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, n + SX_BOX_TAG);
    CHECK(at != NULL);
    sx_box_key_init(&box, secret);
    CHECK(sx_box_seal_padded(&box, head.nonce, inner, n, at) == SIMPLEX_OK);
}

static bool within(simplex_bytes part, simplex_bytes all)
{
    return part.len == 0 || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len);
}

static void check_opened(const struct sx_rcv_queue *q, const struct sx_opened *o,
                         simplex_bytes body)
{
    struct sx_wr w;

    CHECK(within(o->inner.envelope, body) && within(o->env.body, body));
    CHECK(within(o->env.e2e.kem.pk, body) && within(o->env.e2e.kem.ct, body));
    CHECK(o->first == !q->has_e2e_secret);
    if (o->first) {
        CHECK(o->outer.has_key);
        if (o->env.tag == SX_ENV_INVITATION)
            CHECK(!o->inner.has_key);
        else
            CHECK(o->env.tag == SX_ENV_CONFIRMATION &&
                  (o->inner.has_key || q->mode == SX_MODE_MESSAGING));
    } else {
        CHECK(!o->outer.has_key && !o->inner.has_key);
        CHECK(o->env.tag == SX_ENV_MESSAGE || o->env.tag == SX_ENV_RATCHET_KEY);
    }
    sx_wr_init(&w, SX_BLOCK);
    sx_envelope_encode(&w, &o->env);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), o->inner.envelope));
    sx_wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rcv_queue q;
    struct sx_opened o;
    struct sx_wr body;
    uint8_t flags;

    if (fixed.client_version == 0)
        prepare();
    if (size < 1 || size > SX_BLOCK)
        return 0;
    flags = data[0];
    q = fixed;
    q.has_e2e_secret = (flags & HAS_SECRET) != 0;
    q.mode = (flags & MESSAGING) != 0 ? SX_MODE_MESSAGING : SX_MODE_NONE;
    memset(&o, 0, sizeof o);
    sx_wr_init(&body, 2 * SX_BLOCK);
    if ((flags & RAW) != 0)
        sx_wr_raw(&body, sx_bytes(data + 1, size - 1));
    else
        seal(flags, sx_bytes(data + 1, size - 1), &body);
    CHECK(!body.bad);
    simplex_rc rc = sx_open_body(&q, body.p, body.len, &o);
    if (rc == SIMPLEX_OK)
        check_opened(&q, &o, sx_wr_bytes(&body));
    /* What the sender of a good box writes is told from what somebody else does. */
    bool good = (flags & (RAW | LATER)) == 0 &&
                (q.has_e2e_secret ? (flags & OTHER_KEY) == 0 : (flags & KEYED) != 0);
    CHECK(!good || rc == SIMPLEX_OK || rc == SIMPLEX_E_DECODE || rc == SIMPLEX_E_PROHIBITED ||
          rc == SIMPLEX_E_RATCHET_DUPLICATE);
    CHECK((flags & RAW) != 0 || good || rc != SIMPLEX_OK);
    sx_wr_free(&body);
    return 0;
}
