/* SPDX-License-Identifier: Apache-2.0 */
#include "support/contact.h"

#include <unistd.h>

#include "support/vec.h"

#define BODY_MAX 20000

static void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_msg("contact: %s", simplex_rc_name(rc));
}

/* ---- opening ---- */

static const struct sx_rsp *command(struct contact *c, const struct sx_keypair *key,
                                    simplex_bytes entity, const struct sx_cmd *cmd)
{
    const struct sx_rsp *rsp = smp_peer_cmd(&c->net, key, entity, cmd);

    assert_non_null(rsp);
    return rsp;
}

static void keys(struct contact *c)
{
    uint8_t secret[SX_DH_MAX];

    must(sx_keypair_new(SX_ED25519, &c->auth));
    must(sx_keypair_new(SX_X25519, &c->e2e));
    must(sx_keypair_new(SX_ED25519, &c->rcv_auth));
    must(sx_keypair_new(SX_X25519, &c->rcv_dh));
    must(sx_keypair_new(SX_X25519, &c->rcv_e2e));
    must(sx_dh(&c->e2e.priv, &c->to.dh, secret));
    memcpy(c->e2e_secret, secret, sizeof c->e2e_secret);
}

static void make_reply_queue(struct contact *c)
{
    struct sx_cmd cmd = { .tag = SX_NEW };
    const struct sx_rsp *rsp;

    cmd.new_.auth = c->rcv_auth.pub;
    cmd.new_.dh = c->rcv_dh.pub;
    cmd.new_.mode = SX_MODE_MESSAGING;
    rsp = command(c, &c->rcv_auth, sx_bytes(NULL, 0), &cmd);
    assert_int_equal(rsp->tag, SX_R_IDS);
    c->reply = c->to;
    c->reply.v = (struct sx_range){ SX_CLIENT_MAX, SX_CLIENT_MAX };
    c->reply.dh = c->rcv_e2e.pub;
    c->reply.mode = rsp->ids.mode;
    c->reply.snd_id.len = (uint8_t)rsp->ids.snd_id.len;
    memcpy(c->reply.snd_id.b, rsp->ids.snd_id.ptr, rsp->ids.snd_id.len);
}

void contact_open(struct contact *c, simplex_bytes text, uint16_t port)
{
    struct sx_cmd skey = { .tag = SX_SKEY };
    struct sx_x3dh_keys own;
    struct sx_link link;

    memset(c, 0, sizeof *c);
    memset(&link, 0, sizeof link);
    must(sx_link_parse(text, &link));
    c->to = link.queues[0];
    must(sx_ratchet_init_send(&c->r, &link.e2e, SX_E2E_MAX, false, &own, &c->params, NULL));
    sx_x3dh_keys_wipe(&own);
    sx_link_free(&link);
    keys(c);
    struct smp_peer_cfg cfg = { .port = port, .key_hash = c->to.server.key_hash };
    must(smp_peer_open(&c->net, &cfg));
    if (c->to.mode == SX_MODE_MESSAGING) {
        skey.key.key = c->auth.pub;
        assert_int_equal(command(c, &c->auth, sx_id_bytes(&c->to.snd_id), &skey)->tag, SX_R_OK);
    }
    make_reply_queue(c);
}

void contact_close(struct contact *c)
{
    smp_peer_close(&c->net);
    sx_ratchet_wipe(&c->r);
}

/* ---- layers ---- */

void contact_ratchet(struct contact *c, simplex_bytes plain, struct sx_wr *out)
{
    struct sx_msg_key key;

    must(sx_ratchet_encrypt_header(&c->r, SX_PQ_KEEP, &key));
    must(sx_ratchet_encrypt_body(&key, plain, plain.len + 100, out));
}

void contact_envelope(struct contact *c, struct sx_envelope *e, simplex_bytes plain,
                      struct sx_wr *out)
{
    struct sx_wr body;

    sx_wr_init(&body, BODY_MAX);
    contact_ratchet(c, plain, &body);
    e->body = sx_wr_bytes(&body);
    sx_envelope_encode(out, e);
    assert_false(out->bad);
    sx_wr_free(&body);
}

void contact_box(const struct contact *c, const struct contact_how *how, simplex_bytes envelope,
                 struct sx_wr *out)
{
    struct sx_client_msg head = { .version = how->version != 0 ? how->version : SX_CLIENT_MAX,
                                  .has_key = how->confirmation,
                                  .key = c->e2e.pub };
    struct sx_private_msg priv = { .has_key = how->has_auth, .key = c->auth.pub,
                                   .envelope = envelope };
    size_t padded = how->confirmation ? SX_PAD_CONFIRMATION : SX_PAD_MESSAGE;
    uint8_t secret[32];
    struct sx_box_key box;
    struct sx_wr inner;

    memcpy(secret, c->e2e_secret, sizeof secret);
    secret[0] ^= how->other_secret;
    sx_wr_init(&inner, BODY_MAX);
    sx_private_msg_encode(&inner, &priv);
    sx_random(head.nonce, sizeof head.nonce);
    sx_client_msg_encode(out, &head);
    uint8_t *at = sx_wr_space(out, padded + SX_BOX_TAG);
    assert_non_null(at);
    sx_box_key_init(&box, secret);
    must(sx_box_seal_padded(&box, head.nonce, sx_wr_bytes(&inner), padded, at));
    sx_wr_free(&inner);
}

void contact_send(struct contact *c, simplex_bytes body)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = body };
    const struct sx_rsp *rsp;

    for (int n = 0; n < 2000; n++) {
        rsp = command(c, &c->auth, sx_id_bytes(&c->to.snd_id), &cmd);
        if (rsp->tag != SX_R_ERR || rsp->err.err != SX_ERR_QUOTA)
            break;
        usleep(5000);
    }
    if (rsp->tag != SX_R_OK)
        fail_msg("SEND: %s", sx_rsp_name(rsp->tag));
    smp_peer_forget(&c->net);
}

/* ---- the usual ---- */

void contact_info_plain(const struct contact *c, const char *info, struct sx_wr *out)
{
    struct sx_agent_msg msg = { .tag = SX_AM_INFO_REPLY, .info = sx_str(info) };
    struct sx_wr queue;

    sx_wr_init(&queue, 4096);
    sx_queue_info_encode(&queue, &c->reply);
    msg.queues = (struct sx_list){ 1, sx_wr_bytes(&queue) };
    sx_agent_msg_encode(out, &msg);
    assert_false(out->bad || queue.bad);
    sx_wr_free(&queue);
}

void contact_message_plain(struct contact *c, const char *text, struct sx_wr *out)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE,
                                .msg = SX_M_MSG,
                                .snd_msg_id = ++c->snd_id,
                                .prev_hash = sx_bytes(c->last_hash, 32),
                                .body = sx_str(text) };

    sx_agent_msg_encode(out, &msg);
    assert_false(out->bad);
    sx_sha256(sx_wr_bytes(out), c->last_hash);
}

void contact_plain_to_body(struct contact *c, simplex_bytes plain, struct sx_wr *body)
{
    struct sx_envelope e = { .version = SX_AGENT_MAX, .tag = SX_ENV_MESSAGE };
    struct contact_how right = { .confirmation = false };
    struct sx_wr envelope;

    sx_wr_init(&envelope, BODY_MAX);
    contact_envelope(c, &e, plain, &envelope);
    contact_box(c, &right, sx_wr_bytes(&envelope), body);
    sx_wr_free(&envelope);
}

void contact_confirm(struct contact *c, const char *info)
{
    struct sx_envelope e = { .version = SX_AGENT_MAX, .tag = SX_ENV_CONFIRMATION,
                             .has_e2e = true, .e2e = c->params };
    struct contact_how how = { .confirmation = true,
                               .has_auth = c->to.mode != SX_MODE_MESSAGING };
    struct sx_wr plain, envelope, body;

    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&envelope, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    contact_info_plain(c, info, &plain);
    c->snd_id = 1;
    sx_sha256(sx_wr_bytes(&plain), c->last_hash);
    contact_envelope(c, &e, sx_wr_bytes(&plain), &envelope);
    contact_box(c, &how, sx_wr_bytes(&envelope), &body);
    contact_send(c, sx_wr_bytes(&body));
    sx_wr_free(&plain);
    sx_wr_free(&envelope);
    sx_wr_free(&body);
}

void contact_say(struct contact *c, const char *text)
{
    struct sx_wr plain, body;

    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    contact_message_plain(c, text, &plain);
    contact_plain_to_body(c, sx_wr_bytes(&plain), &body);
    contact_send(c, sx_wr_bytes(&body));
    sx_wr_free(&plain);
    sx_wr_free(&body);
}
