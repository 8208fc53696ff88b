/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that is driven by hand (no thread, no server) and the people at the other end of its
 * connections, whose keys and ratchets are here. What a peer sends passes through every layer: its
 * ratchet, the queue's box, the server's box.
 */
#ifndef TESTS_FUZZ_AGENT_H
#define TESTS_FUZZ_AGENT_H

#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"

#include "fuzz.h"

#define FUZZ_BODY_MAX 20000 /* of SEND; also too long ones are tried */

enum fuzz_peer_kind { READY, READY_PQ, INVITED, INVITED_STD, JOINING, JOINING_STD,
                      ADDRESS, /* a contact address; the peer is somebody who writes there */
                      FUZZ_PEERS };

struct fuzz_peer {
    enum fuzz_peer_kind kind;
    int64_t conn, queue; /* of the agent; queue: the one the peer sends to */
    struct sx_pub queue_key;
    uint8_t srv_secret[32], e2e_secret[32];
    struct sx_keypair e2e, auth; /* the peer's own for this queue */
    struct sx_ratchet r;
    bool has_params; /* of a joiner, for its confirmation */
    struct sx_e2e_params params;
    uint8_t kem_pk[SX_KEM_PK], kem_ct[SX_KEM_CT];
};

static struct fuzz_peer fuzz_peers[FUZZ_PEERS]; /* as they are before each run */
static char fuzz_dir[256];

static void fuzz_must(simplex_rc rc)
{
    CHECK(rc == SIMPLEX_OK);
}

/* ---- what a peer makes ---- */

/* plain of n bytes encrypted with the next key of the peer's ratchet. */
static void fuzz_ratchet_message(struct fuzz_peer *p, simplex_bytes plain, enum sx_pq_flag pq,
                                 struct sx_wr *out)
{
    struct sx_msg_key key;

    fuzz_must(sx_ratchet_encrypt_header(&p->r, pq, &key));
    fuzz_must(sx_ratchet_encrypt_body(&key, plain, plain.len + 32, out));
    sx_msg_key_wipe(&key);
}

struct fuzz_head { /* of a body: what differs between kinds */
    bool keyed;    /* the queue's key is in the header */
    bool auth;     /* the sender's key is inside */
    uint16_t version;
};

static void fuzz_seal_body(const struct fuzz_peer *p, const struct fuzz_head *h,
                           simplex_bytes envelope, struct sx_wr *body)
{
    struct sx_client_msg head = { .version = h->version, .has_key = h->keyed, .key = p->e2e.pub };
    struct sx_private_msg priv = { .has_key = h->auth, .key = p->auth.pub, .envelope = envelope };
    struct sx_box_key box;
    struct sx_wr inner;
    uint8_t *at;

    sx_wr_init(&inner, FUZZ_BODY_MAX);
    sx_private_msg_encode(&inner, &priv);
    sx_random(head.nonce, sizeof head.nonce);
    sx_client_msg_encode(body, &head);
    at = sx_wr_space(body, inner.len + 2 + SX_BOX_TAG);
    CHECK(!inner.bad && at != NULL);
    sx_box_key_init(&box, p->e2e_secret);
    fuzz_must(sx_box_seal_padded(&box, head.nonce, sx_wr_bytes(&inner), inner.len + 2, at));
    sx_wr_free(&inner);
}

/* The server's layer around `plain`, under the nonce msg_id. */
static void fuzz_seal_msg(const struct fuzz_peer *p, const uint8_t msg_id[SX_NONCE_LEN],
                          simplex_bytes plain, struct sx_wr *out)
{
    struct sx_box_key box;
    uint8_t *at = sx_wr_space(out, plain.len + 2 + SX_BOX_TAG);

    CHECK(at != NULL);
    sx_box_key_init(&box, p->srv_secret);
    fuzz_must(sx_box_seal_padded(&box, msg_id, plain, plain.len + 2, at));
}

/* ---- rows ---- */

static void fuzz_id(struct sx_id *id)
{
    id->len = 24;
    sx_random(id->b, id->len);
}

static void fuzz_server(struct sx_server *s)
{
    static const char text[] = "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:1";
    simplex_bytes password;

    fuzz_must(sx_server_parse(sx_str(text), s, &password));
}

static bool fuzz_standard(enum fuzz_peer_kind k)
{
    return k == INVITED_STD || k == JOINING_STD;
}

static void fuzz_add_rcvq(struct simplex_agent *a, struct fuzz_peer *p, bool active)
{
    struct sx_rcv_queue q = { .conn_id = p->conn,
                              .mode = fuzz_standard(p->kind) ? SX_MODE_NONE
                                      : p->kind == ADDRESS   ? SX_MODE_CONTACT
                                                             : SX_MODE_MESSAGING,
                              .client_version = SX_CLIENT_MAX,
                              .status = active ? SX_Q_ACTIVE : SX_Q_NEW,
                              .primary = true,
                              .has_srv_secret = true,
                              .has_e2e_secret = active };
    uint8_t secret[SX_DH_MAX];

    fuzz_server(&q.server);
    fuzz_id(&q.rcv_id);
    fuzz_id(&q.snd_id);
    fuzz_must(sx_keypair_new(SX_ED25519, &q.auth));
    fuzz_must(sx_keypair_new(SX_X25519, &q.dh));
    fuzz_must(sx_keypair_new(SX_X25519, &q.e2e));
    fuzz_must(sx_keypair_new(SX_X25519, &p->e2e));
    fuzz_must(sx_keypair_new(SX_ED25519, &p->auth));
    sx_random(p->srv_secret, sizeof p->srv_secret);
    fuzz_must(sx_dh(&p->e2e.priv, &q.e2e.pub, secret));
    memcpy(p->e2e_secret, secret, sizeof p->e2e_secret);
    memcpy(q.srv_secret, p->srv_secret, sizeof q.srv_secret);
    if (active)
        memcpy(q.e2e_secret, p->e2e_secret, sizeof q.e2e_secret);
    fuzz_must(sx_store_rcvq_add(a->store, &q));
    p->queue = q.id;
}

static void fuzz_add_sndq(struct simplex_agent *a, const struct fuzz_peer *p, bool active)
{
    struct sx_snd_queue q = { .conn_id = p->conn,
                              .mode = SX_MODE_MESSAGING,
                              .client_version = SX_CLIENT_MAX,
                              .status = active ? SX_Q_ACTIVE : SX_Q_CONFIRMED,
                              .primary = true };

    fuzz_server(&q.server);
    fuzz_id(&q.snd_id);
    fuzz_must(sx_keypair_new(SX_ED25519, &q.auth));
    q.e2e_pub = p->e2e.pub;
    sx_random(q.e2e_secret, sizeof q.e2e_secret);
    fuzz_must(sx_store_sndq_add(a->store, &q));
}

/* ---- ratchets ---- */

static void fuzz_hear(struct sx_ratchet *from, struct sx_ratchet *to)
{
    static uint8_t plain[SX_BLOCK];
    struct sx_msg_key key;
    struct sx_ratchet_in in;
    struct sx_wr w;

    sx_wr_init(&w, SX_BLOCK);
    fuzz_must(sx_ratchet_encrypt_header(from, SX_PQ_KEEP, &key));
    fuzz_must(sx_ratchet_encrypt_body(&key, sx_str("hello"), 100, &w));
    fuzz_must(sx_ratchet_decrypt(to, sx_wr_bytes(&w), plain, &in, NULL));
    sx_msg_key_wipe(&key);
    sx_wr_free(&w);
}

static void fuzz_keep_params(struct fuzz_peer *p, const struct sx_e2e_params *params)
{
    p->has_params = true;
    p->params = *params;
    if (params->kem.pk.len > 0) {
        memcpy(p->kem_pk, params->kem.pk.ptr, SX_KEM_PK);
        p->params.kem.pk.ptr = p->kem_pk;
    }
    if (params->kem.ct.len > 0) {
        memcpy(p->kem_ct, params->kem.ct.ptr, SX_KEM_CT);
        p->params.kem.ct.ptr = p->kem_ct;
    }
}

/* The keys of a link, and what the joiner makes of them. */
static void fuzz_join(struct fuzz_peer *p, bool pq, struct sx_x3dh_keys *link,
                      struct sx_ratchet *joiner)
{
    struct sx_e2e_params from_link, params;
    struct sx_x3dh_keys own;

    fuzz_must(sx_x3dh_keys_new(pq, link));
    sx_x3dh_params(link, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX }, &from_link);
    memset(&own, 0, sizeof own);
    fuzz_must(sx_ratchet_init_send(joiner, &from_link, SX_E2E_MAX, pq, &own, &params, NULL));
    fuzz_keep_params(p, &params);
    sx_x3dh_keys_wipe(&own);
}

static void fuzz_add_ratchet(struct simplex_agent *a, struct fuzz_peer *p, bool pq)
{
    struct sx_ratchet own, joiner;
    struct sx_x3dh_keys link;

    memset(&own, 0, sizeof own);
    memset(&joiner, 0, sizeof joiner);
    memset(&link, 0, sizeof link);
    fuzz_join(p, pq, &link, &joiner);
    if (p->kind == INVITED || p->kind == INVITED_STD) { /* the agent knows no ratchet yet */
        fuzz_must(sx_store_x3dh_put(a->store, p->conn, &link));
        p->r = joiner;
        sx_x3dh_keys_wipe(&link);
        return;
    }
    if (p->kind == ADDRESS) { /* and will never know one */
        p->r = joiner;
        sx_x3dh_keys_wipe(&link);
        return;
    }
    fuzz_must(sx_ratchet_init_receive(&own, &link, &p->params, pq));
    fuzz_hear(&joiner, &own);
    if (p->kind == READY || p->kind == READY_PQ) {
        fuzz_hear(&own, &joiner);
        fuzz_must(sx_store_ratchet_put(a->store, p->conn, &own, NULL));
        sx_ratchet_wipe(&own);
        p->r = joiner;
    } else {
        fuzz_must(sx_store_ratchet_put(a->store, p->conn, &joiner, NULL));
        sx_ratchet_wipe(&joiner);
        p->r = own;
        p->has_params = false;
    }
    sx_x3dh_keys_wipe(&link);
}

static void fuzz_add_peer(struct simplex_agent *a, enum fuzz_peer_kind kind)
{
    static const struct {
        uint8_t role, state;
        bool pq, sndq, active;
        int64_t last_snd, last_rcv;
    } as[FUZZ_PEERS] = {
        [READY] = { SX_INITIATOR, SX_CONN_READY, false, true, true, 1, 1 },
        [READY_PQ] = { SX_INITIATOR, SX_CONN_READY, true, true, true, 1, 1 },
        [INVITED] = { SX_INITIATOR, SX_CONN_INVITED, false, false, false, 0, 0 },
        [INVITED_STD] = { SX_INITIATOR, SX_CONN_INVITED, true, false, false, 0, 0 },
        [JOINING] = { SX_JOINER, SX_CONN_JOINING, false, true, false, 1, 0 },
        [JOINING_STD] = { SX_JOINER, SX_CONN_JOINING, true, true, false, 1, 0 },
        [ADDRESS] = { SX_ADDRESS, SX_CONN_INVITED, false, false, false, 0, 0 },
    };
    struct fuzz_peer *p = &fuzz_peers[kind];
    bool pq = as[kind].pq && sx_kem_available();
    struct sx_conn c = { .role = as[kind].role,
                         .state = as[kind].state,
                         .agent_version = kind == INVITED || kind == INVITED_STD || kind == ADDRESS
                                              ? 0
                                              : SX_AGENT_MAX,
                         .pq_support = pq,
                         .subscribe = true,
                         .last_id = as[kind].last_snd + as[kind].last_rcv,
                         .last_snd_id = as[kind].last_snd,
                         .last_rcv_ext_id = as[kind].last_rcv,
                         .has_snd_hash = as[kind].last_snd > 0,
                         .has_rcv_hash = as[kind].last_rcv > 0 };

    p->kind = kind;
    fuzz_must(sx_store_conn_add(a->store, &c));
    p->conn = c.id;
    fuzz_add_rcvq(a, p, as[kind].active);
    if (as[kind].sndq)
        fuzz_add_sndq(a, p, as[kind].active);
    fuzz_add_ratchet(a, p, pq);
}

/* ---- the agent ---- */

static struct simplex_agent *fuzz_agent;

static void fuzz_agent_close(void)
{
    static const char *const names[] = { "db", "db-wal", "db-shm", "db-journal" };
    char path[300];

    (void)simplex_agent_close(fuzz_agent);
    for (size_t i = 0; i < FUZZ_PEERS; i++)
        sx_ratchet_wipe(&fuzz_peers[i].r);
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fuzz_dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(fuzz_dir);
}

static void fuzz_agent_open(simplex_event_cb *on_event)
{
    char path[300];
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    static const char *const servers[] = {
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:1"
    };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .servers = servers,
                                 .n_servers = SX_COUNT(servers),
                                 .db_path = path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .on_event = on_event };

    (void)snprintf(fuzz_dir, sizeof fuzz_dir, "%s/sx_fuzz_agent_XXXXXX", base);
    CHECK(mkdtemp(fuzz_dir) != NULL);
    (void)snprintf(path, sizeof path, "%s/db", fuzz_dir);
    fuzz_must(sx_agent_prepare(&cfg, &fuzz_agent));
    fuzz_must(sx_store_begin(fuzz_agent->store));
    for (int k = 0; k < FUZZ_PEERS; k++)
        fuzz_add_peer(fuzz_agent, (enum fuzz_peer_kind)k);
    fuzz_must(sx_store_commit(fuzz_agent->store));
    CHECK(atexit(fuzz_agent_close) == 0);
}

#endif
