/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing, both roles. The first byte says where the rest of the input is put: as RFWD
 * itself, as the plaintext of its outer box, as the batch in its inner box (a whole command, run by
 * a server with a queue), or, for the proxy, as the plaintext of RRES and as the hello of a relay.
 */
#include "fuzz.h"

#include "commands.h"
#include "forward.h"
#include "relay.h"

static struct sx_keypair server_key, proxy_key, client_key;
static struct sx_session session; /* of proxy and relay, as both sides have it */
static const uint8_t outer[24] = "outer correlation id ..", inner[24] = "inner correlation id ..";

static void fixed_key(struct sx_keypair *k, uint8_t fill)
{
    struct sx_priv priv = { .alg = SX_X25519 };

    memset(priv.b, fill, 32);
    CHECK(sx_keypair_from_priv(&priv, k) == SIMPLEX_OK);
}

static void once(void)
{
    static bool done;
    uint8_t secret[SX_DH_MAX];

    if (done)
        return;
    done = true;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    fixed_key(&server_key, 1);
    fixed_key(&proxy_key, 2);
    fixed_key(&client_key, 3);
    session.state = SX_S_READY;
    session.version = SX_SMP_MAX;
    session.min = SX_SMP_MIN;
    session.max = SX_SMP_MAX;
    session.id_len = 32;
    session.own = server_key;
    session.has_shared = true;
    CHECK(sx_dh(&proxy_key.priv, &server_key.pub, secret) == SIMPLEX_OK);
    sx_box_key_init(&session.shared, secret);
}

static void inner_key(struct sx_box_key *k)
{
    uint8_t secret[SX_DH_MAX];

    CHECK(sx_dh(&client_key.priv, &server_key.pub, secret) == SIMPLEX_OK);
    sx_box_key_init(k, secret);
}

/* ---- the relay ---- */

static void open_box(simplex_bytes box)
{
    uint8_t *buf = malloc(box.len + 1);
    struct sx_forwarded f;

    CHECK(buf != NULL);
    struct sx_smp_err e = sx_forward_open(&session, sx_bytes(outer, 24), box, buf, &f);
    if (e.err == SX_ERR_NONE) {
        CHECK(f.content.ptr >= buf && f.content.ptr + f.content.len <= buf + box.len);
        CHECK(f.corr_id.ptr >= buf && f.corr_id.ptr + f.corr_id.len <= buf + box.len);
    }
    free(buf);
}

static void open_plain(simplex_bytes plain)
{
    uint8_t *box = malloc(plain.len + SX_BOX_TAG);

    CHECK(box != NULL);
    sx_box_seal(&session.shared, outer, plain, box);
    open_box(sx_bytes(box, plain.len + SX_BOX_TAG));
    free(box);
}

/* The answer to RFWD: what is inside must be one transmission that the client can read. */
static void check_rres(simplex_bytes body, uint16_t version)
{
    uint8_t buf[SX_BLOCK], back[24];
    simplex_bytes box, content, in;
    struct sx_transmission t;
    struct sx_batch_rd rd;
    struct sx_box_key k;
    struct sx_rsp r;

    CHECK(body.len <= sizeof(buf));
    CHECK(sx_forward_unwrap(&session, outer, body, buf, &box) == SIMPLEX_OK);
    CHECK(box.len == SX_FORWARD_PADDED + SX_BOX_TAG);
    inner_key(&k);
    sx_nonce_reverse(inner, back);
    CHECK(sx_box_open_padded(&k, back, buf + (box.ptr - buf), box.len, &content) == SIMPLEX_OK);
    CHECK(sx_batch_open(content, &rd) == SIMPLEX_OK && rd.left == 1);
    CHECK(sx_batch_next(&rd, &in));
    CHECK(sx_transmission_decode(in, version, &t) == SIMPLEX_OK);
    CHECK(sx_rsp_decode(t.command, version, &r) == SIMPLEX_OK);
    CHECK(r.tag == SX_R_OK || r.tag == SX_R_LNK || r.tag == SX_R_ERR);
}

static void check_answers(struct sx_peer *p, uint16_t version)
{
    static uint8_t content[SX_BLOCK];
    struct sx_transmission t;
    struct sx_batch_rd rd;
    struct sx_rsp r;
    simplex_bytes in;
    size_t len;

    while ((len = sx_peer_next(p, content)) > 0) {
        CHECK(!p->failed && sx_batch_open(sx_bytes(content, len), &rd) == SIMPLEX_OK);
        while (sx_batch_next(&rd, &in)) {
            CHECK(sx_transmission_decode(in, session.version, &t) == SIMPLEX_OK);
            CHECK(sx_rsp_decode(t.command, session.version, &r) == SIMPLEX_OK);
            CHECK(r.tag == SX_R_RRES || r.tag == SX_R_ERR);
            if (r.tag == SX_R_RRES)
                check_rres(r.enc.body, version);
        }
    }
}

/* RFWD around a batch, in a block. False: it does not fit. */
static bool wrap(simplex_bytes content, uint16_t version, struct sx_wr *block)
{
    uint8_t sealed[SX_FORWARD_PADDED + SX_BOX_TAG], body[SX_BLOCK], one[SX_BLOCK];
    struct sx_box_key k;
    struct sx_wr w;

    inner_key(&k);
    if (sx_box_seal_padded(&k, inner, content, SX_FORWARD_PADDED, sealed) != SIMPLEX_OK)
        return false;
    struct sx_fwd_transmission f = { .corr_id = sx_bytes(inner, 24),
                                     .version = version,
                                     .key = client_key.pub,
                                     .encrypted = sx_bytes(sealed, sizeof(sealed)) };
    sx_wr_fixed(&w, body, sizeof(body));
    CHECK(sx_forward_wrap(&session, outer, &f, &w) == SIMPLEX_OK);
    struct sx_cmd cmd = { .tag = SX_RFWD, .rfwd = { .body = sx_wr_bytes(&w) } };
    sx_wr_fixed(&w, one, sizeof(one));
    CHECK(sx_session_encode(&session, NULL, outer, sx_bytes(NULL, 0), &cmd, &w) == SIMPLEX_OK);
    sx_wr_u8(block, 1);
    sx_wr_large(block, sx_wr_bytes(&w));
    return !block->bad;
}

/* A queue of contact mode whose sender id is 24 times 's'. */
static void add_queue(struct sx_srv *srv)
{
    static const uint8_t snd[SX_ID_LEN] = "ssssssssssssssssssssssss",
                         link[SX_ID_LEN] = "llllllllllllllllllllllll";
    struct sx_queue_new n = { .mode = SX_MODE_CONTACT,
                              .rcv_key = server_key.pub,
                              .has_link = true,
                              .snd_id = snd,
                              .link_id = link,
                              .fixed = sx_str("fixed"),
                              .user = sx_str("user") };
    struct sx_queue *q;

    if (sx_qstore_create(srv->store, &n, &q) == SX_ERR_NONE)
        sx_queue_unref(q);
}

static void run_inner(simplex_bytes content, uint16_t version)
{
    static uint8_t buf[SX_BLOCK];
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_srv *srv;
    struct sx_hub hub;
    struct sx_peer peer;
    struct sx_wr block;

    sx_wr_fixed(&block, buf, sizeof(buf));
    if (!wrap(content, version, &block))
        return;
    CHECK(sx_srv_open(&cfg, &srv) == SIMPLEX_OK);
    CHECK(sx_hub_open(&hub, srv, NULL, NULL) == SIMPLEX_OK);
    add_queue(srv);
    sx_peer_init(&peer, &hub, &session, NULL);
    sx_peer_block(&peer, sx_wr_bytes(&block));
    check_answers(&peer, version);
    sx_peer_close(&peer);
    sx_hub_close(&hub);
    sx_srv_close(srv);
}

/* ---- the proxy ---- */

static void check_errand(struct sx_errand *e)
{
    struct sx_rsp back;
    struct sx_wr w;

    sx_wr_init(&w, 4 * SX_BLOCK);
    sx_rsp_encode(&w, &e->rsp, SX_SMP_MAX);
    CHECK(!w.bad);
    CHECK(sx_rsp_decode(sx_wr_bytes(&w), SX_SMP_MAX, &back) == SIMPLEX_OK);
    CHECK(back.tag == e->rsp.tag);
    sx_wr_free(&w);
    sx_free(e->body);
    e->body = NULL;
}

static void answer_of_relay(simplex_bytes in)
{
    static struct sx_errand e;
    uint8_t back[24];
    uint8_t *box = malloc(in.len + SX_BOX_TAG);
    struct sx_rsp rsp = { .tag = SX_R_RRES };

    CHECK(box != NULL);
    memset(&e, 0, sizeof(e));
    e.tag = SX_PFWD;
    memcpy(e.nonce, outer, 24);
    sx_nonce_reverse(outer, back);
    sx_box_seal(&session.shared, back, in, box);
    rsp.enc.body = sx_bytes(box, in.len + SX_BOX_TAG);
    sx_relay_answer(&e, &session, SIMPLEX_OK, &rsp);
    free(box);
    check_errand(&e);
    if (sx_rsp_decode(in, SX_SMP_MAX, &rsp) == SIMPLEX_OK && rsp.tag == SX_R_ERR) {
        sx_relay_answer(&e, &session, SIMPLEX_E_SERVER, &rsp);
        check_errand(&e);
    }
    e.tag = SX_PRXY;
    sx_relay_pkey(&e, &session, in);
    check_errand(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_bytes in = sx_bytes(data + 2, size < 2 ? 0 : size - 2);

    if (size < 2 || size > SX_BLOCK)
        return 0;
    once();
    switch (data[0] % 4) {
    case 0:
        open_box(in);
        break;
    case 1:
        open_plain(in);
        break;
    case 2:
        run_inner(in, data[1]);
        break;
    default:
        answer_of_relay(in);
    }
    return 0;
}
