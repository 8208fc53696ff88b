/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What arrives at an agent, as a script of steps. Each is a byte (low half: what happens, table
 * below; high half: to which connection) and its parameters. After each step all rows can be read,
 * nothing has gone back, events have been shown, and the server was or will be told about every
 * message. All is rolled back at the end, so that runs do not depend on each other.
 */
#include "agent/address.h"
#include "agent/delete.h"
#include "agent/enqueue.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/receive.h"
#include "fuzz_agent.h"

#define STEPS_MAX 40
#define KEPT 16 /* bodies that may be delivered again */

struct body {
    size_t len;
    uint8_t b[FUZZ_BODY_MAX];
    uint8_t msg_id[SX_NONCE_LEN];
};

static struct run {
    struct fuzz_peer peers[FUZZ_PEERS];
    struct sx_conn before[FUZZ_PEERS]; /* id 0: deleted */
    unsigned missing[FUZZ_PEERS];      /* ratchet messages never delivered, at most */
    size_t n_kept;
    uint64_t next_msg_id;
    int64_t conf[FUZZ_PEERS], msg[FUZZ_PEERS]; /* of the last CONF (REQ) and MSG */
    bool asked[256];                           /* links that were sent to the address */
    /* the last MSG, CONF or REQ event */
    int64_t event_conn;
    int32_t event_kind, integrity;
    int64_t gap_first, gap_last;
    struct sx_wr event_data;
} now;
static struct body kept[KEPT];

/* ---- events ---- */

static void on_event(void *user, const simplex_event *ev)
{
    int32_t kind = simplex_event_kind(ev);

    (void)user;
    CHECK(strcmp(simplex_event_name(ev), "UNKNOWN") != 0 && simplex_event_json(ev) != NULL);
    for (size_t i = 0; i < FUZZ_PEERS; i++) {
        if (now.peers[i].conn != simplex_event_conn(ev))
            continue;
        if (kind == SIMPLEX_EV_CONF)
            now.conf[i] = simplex_event_conf(ev);
        if (kind == SIMPLEX_EV_REQ)
            now.conf[i] = simplex_event_request(ev);
        if (kind == SIMPLEX_EV_MSG)
            now.msg[i] = simplex_event_msg_id(ev);
    }
    if (kind != SIMPLEX_EV_MSG && kind != SIMPLEX_EV_CONF && kind != SIMPLEX_EV_REQ)
        return;
    now.event_kind = kind;
    now.event_conn = simplex_event_conn(ev);
    now.integrity = simplex_event_integrity(ev, &now.gap_first, &now.gap_last);
    sx_wr_free(&now.event_data);
    sx_wr_init(&now.event_data, FUZZ_BODY_MAX);
    sx_wr_raw(&now.event_data, simplex_event_data(ev));
}

static void check_event(struct simplex_agent *a, const struct sx_event_row *row)
{
    struct sx_rcv_msg_row m;
    struct simplex_event ev;

    if (row->msg_id != 0) { /* the message itself is the event */
        fuzz_must(sx_store_rcv_msg_get(a->store, row->conn_id, row->msg_id, &m));
        CHECK(m.type == SX_M_MSG);
        return;
    }
    fuzz_must(sx_event_decode(row->data, &ev));
    sx_event_clear(&ev);
}

/* Rows that decode; shown as if they were on disk. */
static void show(struct simplex_agent *a)
{
    struct sx_event_row row;
    int64_t after = a->shown;

    while (sx_store_event_next(a->store, after, &row) == SIMPLEX_OK) {
        after = row.id;
        check_event(a, &row);
    }
    a->uncommitted = 0;
    a->must_commit = false;
    a->lazy_since = 0;
    while (sx_show_events(a))
        continue;
    CHECK(a->shown == after && a->transient == NULL);
}

/* ---- what must hold after each step ---- */

static void check_conn(struct simplex_agent *a, size_t i)
{
    struct sx_conn c, *old = &now.before[i];
    struct sx_rcv_queue q;
    struct sx_ratchet r;
    simplex_rc rc;

    if (old->id == 0)
        return;
    fuzz_must(sx_store_conn_get(a->store, old->id, &c));
    CHECK(c.last_id >= old->last_id && c.last_snd_id >= old->last_snd_id);
    CHECK(c.state >= old->state && c.agent_version >= old->agent_version);
    CHECK(c.agent_version <= SX_AGENT_MAX && c.role == old->role);
    CHECK(!old->deleted || c.deleted);
    *old = c;
    fuzz_must(sx_store_rcvq_of(a->store, c.id, 0, &q));
    CHECK(q.id == now.peers[i].queue &&
          (c.state < SX_CONN_CONFIRMED || c.role == SX_JOINER || q.has_e2e_secret));
    memset(&r, 0, sizeof r);
    rc = sx_store_ratchet_get(a->store, c.id, &r);
    CHECK(rc == SIMPLEX_OK || (rc == SIMPLEX_E_NOT_FOUND && c.state == SX_CONN_INVITED));
    sx_ratchet_wipe(&r);
}

static void check_step(struct simplex_agent *a, size_t peer)
{
    CHECK(!a->failed && a->recover_at == 0);
    CHECK(sx_store_in_transaction(a->store));
    fuzz_must(sx_store_savepoint(a->store)); /* none was left open */
    fuzz_must(sx_store_release(a->store));
    check_conn(a, peer);
    show(a);
    sx_drop_acks(a);
}

/* Acknowledged when this turn is on disk, or by the application, but never forgotten. */
static void check_acked(struct simplex_agent *a, const struct fuzz_peer *p, simplex_bytes msg_id)
{
    struct sx_rcv_msg_row row;

    for (const struct sx_ack *k = a->acks; k != NULL; k = k->next) {
        if (k->queue == p->queue && sx_bytes_eq(sx_id_bytes(&k->msg_id), msg_id))
            return;
    }
    fuzz_must(sx_store_rcv_msg_find(a->store, p->conn, p->queue, msg_id, &row));
}

/* ---- delivering ---- */

static void deliver_msg(struct simplex_agent *a, const struct fuzz_peer *p, simplex_bytes msg_id,
                        simplex_bytes msg)
{
    struct sx_rsp rsp = { .tag = SX_R_MSG };

    rsp.msg.msg_id = msg_id;
    rsp.msg.body = msg;
    now.event_conn = 0;
    sx_receive(a, p->queue, &rsp);
    check_acked(a, p, msg_id);
}

static void deliver_plain(struct simplex_agent *a, const struct fuzz_peer *p,
                          const uint8_t msg_id[SX_NONCE_LEN], simplex_bytes plain)
{
    struct sx_wr msg;

    sx_wr_init(&msg, 2 * FUZZ_BODY_MAX);
    fuzz_seal_msg(p, msg_id, plain, &msg);
    deliver_msg(a, p, sx_bytes(msg_id, SX_NONCE_LEN), sx_wr_bytes(&msg));
    sx_wr_free(&msg);
}

static void deliver_body(struct simplex_agent *a, const struct fuzz_peer *p,
                         const uint8_t msg_id[SX_NONCE_LEN], simplex_bytes body)
{
    struct sx_rcv_msg m = { .ts_s = 1700000000, .notify = true, .body = body };
    struct sx_wr plain;

    sx_wr_init(&plain, 2 * FUZZ_BODY_MAX);
    sx_rcv_msg_encode(&plain, &m);
    deliver_plain(a, p, msg_id, sx_wr_bytes(&plain));
    sx_wr_free(&plain);
}

static void new_msg_id(uint8_t id[SX_NONCE_LEN])
{
    memset(id, 0, SX_NONCE_LEN);
    now.next_msg_id++;
    memcpy(id, &now.next_msg_id, sizeof now.next_msg_id);
}

/* Delivers now, unless it is held back for a later step; kept for that in any case. */
static void send_envelope(struct simplex_agent *a, const struct fuzz_peer *p,
                          const struct fuzz_head *h, simplex_bytes envelope, bool hold)
{
    struct body *k = &kept[now.n_kept++ % KEPT];
    struct sx_wr body;

    sx_wr_init(&body, sizeof k->b);
    fuzz_seal_body(p, h, envelope, &body);
    CHECK(!body.bad);
    memcpy(k->b, body.p, body.len);
    k->len = body.len;
    new_msg_id(k->msg_id);
    if (!hold)
        deliver_body(a, p, k->msg_id, sx_wr_bytes(&body));
    sx_wr_free(&body);
}

static simplex_bytes take(struct sx_rd *r, size_t max)
{
    size_t n = sx_rd_u16(r);

    if (n > r->left)
        n = r->left;
    return sx_rd_take(r, n < max ? n : max);
}

/* ---- steps ---- */

typedef void step(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r);

static void send_encrypted(struct simplex_agent *a, struct fuzz_peer *p, simplex_bytes plain,
                           uint16_t version, uint8_t flags, uint32_t flip)
{
    static const struct fuzz_head head = { .version = SX_CLIENT_MAX };
    struct sx_envelope env = { .version = version, .tag = SX_ENV_MESSAGE };
    enum sx_pq_flag pq = (flags & 4) != 0 ? SX_PQ_ON : (flags & 8) != 0 ? SX_PQ_OFF : SX_PQ_KEEP;
    struct sx_wr msg, w;

    sx_wr_init(&msg, FUZZ_BODY_MAX);
    sx_wr_init(&w, FUZZ_BODY_MAX);
    fuzz_ratchet_message(p, plain, pq, &msg);
    if (flip != 0)
        msg.p[(flip >> 8) % msg.len] ^= (uint8_t)flip;
    env.body = sx_wr_bytes(&msg);
    sx_envelope_encode(&w, &env);
    send_envelope(a, p, &head, sx_wr_bytes(&w), (flags & 2) != 0);
    now.missing[p - now.peers]++;
    sx_wr_free(&msg);
    sx_wr_free(&w);
}

/* L(agent message): whatever a peer with the right keys may say. */
static void step_plain(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t flags = sx_rd_u8(r);

    send_encrypted(a, p, take(r, 16000), SX_AGENT_MAX, flags, 0);
}

static bool was_ready(const struct fuzz_peer *p)
{
    const struct sx_conn *c = &now.before[p - now.peers];

    return (p->kind == READY || p->kind == READY_PQ) && c->id != 0 && !c->deleted &&
           now.missing[p - now.peers] < SX_RATCHET_MAX_SKIP;
}

/* A gap before messages of the protocol is told with the next message that is shown. */
static void check_integrity(const struct sx_conn *before)
{
    if (before->gap_last == 0) {
        CHECK(now.integrity == SIMPLEX_MSG_OK);
        return;
    }
    CHECK(now.integrity == SIMPLEX_MSG_SKIPPED);
    CHECK(now.gap_first == before->gap_first && now.gap_last == before->gap_last);
}

/* kind, distance from the right number, flags (1: wrong hash, 2: hold back, 4, 8: PQ on, off),
 * L(rest). A message without any of that must be shown as it is, whatever came before. */
static void step_made(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    static const char *const tags[] = { "M", "H", "V", "QC", "QA", "QK", "QU", "QT", "E", "X" };
    uint8_t kind = sx_rd_u8(r) % SX_COUNT(tags), off = sx_rd_u8(r), flags = sx_rd_u8(r);
    const struct sx_conn *c = &now.before[p - now.peers];
    simplex_bytes rest = take(r, 15000);
    bool clean =
        kind == 0 && off == 0 && (flags & 3) == 0 && was_ready(p) && c->last_rcv_ext_id < INT64_MAX;
    struct sx_wr w;

    sx_wr_init(&w, SX_BLOCK);
    sx_wr_u8(&w, SX_AM_MESSAGE);
    sx_wr_i64(&w, (int64_t)((uint64_t)c->last_rcv_ext_id + 1 + off));
    sx_wr_short(&w, sx_bytes(c->last_rcv_hash, (flags & 1) != 0 ? 31 : 32));
    sx_wr_text(&w, tags[kind]);
    sx_wr_raw(&w, rest);
    send_encrypted(a, p, sx_wr_bytes(&w), SX_AGENT_MAX, flags, 0);
    sx_wr_free(&w);
    if (!clean)
        return;
    show(a);
    CHECK(now.event_kind == SIMPLEX_EV_MSG && now.event_conn == p->conn);
    CHECK(sx_bytes_eq(sx_wr_bytes(&now.event_data), rest));
    check_integrity(c);
    now.missing[p - now.peers]--;
}

/* u24 of which the last byte is mixed into one of the ratchet message; u16 version; L(plain). */
static void step_broken(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint32_t flip = (uint32_t)sx_rd_u16(r) << 8;
    uint16_t version;

    flip |= sx_rd_u8(r);
    version = sx_rd_u16(r);
    send_encrypted(a, p, take(r, 2000), version, 0, flip);
}

/* flags (1: keyed, 2: with the sender's key, 4: held back), u16 client version, L(envelope) */
static void step_envelope(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t flags = sx_rd_u8(r);
    struct fuzz_head h = { .keyed = (flags & 1) != 0, .auth = (flags & 2) != 0 };

    h.version = (uint16_t)(SX_CLIENT_MAX ^ sx_rd_u16(r));
    send_envelope(a, p, &h, take(r, 16000), (flags & 4) != 0);
}

static void info_of(struct fuzz_peer *p, simplex_bytes info, struct sx_wr *plain)
{
    struct sx_agent_msg m = { .tag = p->has_params ? SX_AM_INFO_REPLY : SX_AM_INFO, .info = info };
    struct sx_queue_addr addr = { .v = { SX_CLIENT_MAX, SX_CLIENT_MAX }, .dh = p->e2e.pub };
    struct sx_wr w;

    sx_wr_init(&w, 4096);
    if (p->has_params) {
        fuzz_server(&addr.server);
        fuzz_id(&addr.snd_id);
        addr.mode = fuzz_standard(p->kind) ? SX_MODE_NONE : SX_MODE_MESSAGING;
        sx_queue_info_encode(&w, &addr);
        m.queues = (struct sx_list){ 1, sx_wr_bytes(&w) };
    }
    sx_agent_msg_encode(plain, &m);
    sx_wr_free(&w);
}

/* What each bit of the first byte changes in a good confirmation. */
enum {
    C_AUTH = 1,
    C_E2E = 2,
    C_KEYED = 4,
    C_VERSION = 8,
    C_E2E_VERSION = 16,
    C_PLAIN = 32,
    C_FLIP = 64,
    C_KEYS = 128
};

static void confirmation(struct fuzz_peer *p, uint8_t changed, struct sx_rd *r, simplex_bytes info,
                         struct sx_wr *out)
{
    struct sx_envelope env = { .version = SX_AGENT_MAX, .tag = SX_ENV_CONFIRMATION };
    struct sx_wr plain, msg;

    env.has_e2e = p->has_params != ((changed & C_E2E) != 0);
    env.e2e = p->has_params ? p->params : fuzz_peers[INVITED].params;
    if ((changed & C_VERSION) != 0)
        env.version = sx_rd_u16(r);
    if ((changed & C_E2E_VERSION) != 0)
        env.e2e.v.min = env.e2e.v.max = sx_rd_u16(r);
    if ((changed & C_KEYS) != 0)
        env.e2e.k1 = env.e2e.k2;
    sx_wr_init(&plain, SX_BLOCK);
    sx_wr_init(&msg, FUZZ_BODY_MAX);
    if ((changed & C_PLAIN) != 0)
        sx_wr_raw(&plain, info);
    else
        info_of(p, info, &plain);
    fuzz_ratchet_message(p, sx_wr_bytes(&plain), SX_PQ_KEEP, &msg);
    env.body = sx_wr_bytes(&msg);
    sx_envelope_encode(out, &env);
    if ((changed & C_FLIP) != 0)
        out->p[sx_rd_u16(r) % out->len] ^= sx_rd_u8(r);
    sx_wr_free(&plain);
    sx_wr_free(&msg);
}

/* The link of somebody who asks; different ones differ in the application's text. */
static void print_link(const struct fuzz_peer *p, uint8_t number, struct sx_wr *w)
{
    struct sx_queue_addr addr = { .v = { SX_CLIENT_MIN, SX_CLIENT_MAX },
                                  .dh = p->e2e.pub,
                                  .mode = SX_MODE_MESSAGING };
    struct sx_link l = { .kind = SX_LINK_INVITATION,
                         .agent_v = { SX_AGENT_MIN, SX_AGENT_MAX },
                         .queues = &addr,
                         .n_queues = 1,
                         .e2e = p->params };

    fuzz_server(&addr.server);
    addr.snd_id.len = 24;
    l.e2e.v = (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX };
    l.e2e.kem = (struct sx_kem_params){ SX_KEM_NONE };
    sx_wr_init(&l.data, 8);
    fuzz_must(sx_link_set_data(&l, sx_bytes(&(uint8_t){ (uint8_t)('!' + number % 64) }, 1)));
    sx_link_print(w, &l, "simplex:");
    sx_wr_free(&l.data);
}

/* Likewise to the address: number of the link, L(information), where and what to flip. The first
 * good request with a link is shown. */
static void step_request(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    static const struct fuzz_head head = { .keyed = true, .version = SX_CLIENT_MAX };
    struct sx_envelope env = { .version = SX_AGENT_MAX, .tag = SX_ENV_INVITATION };
    const struct sx_conn *c = &now.before[p - now.peers];
    uint8_t number = sx_rd_u8(r) % 64, flip;
    struct sx_wr link, w;

    env.body = take(r, 10000);
    sx_wr_init(&link, SX_LINK_TEXT_MAX);
    sx_wr_init(&w, FUZZ_BODY_MAX);
    print_link(p, number, &link);
    size_t at = sx_rd_u16(r) % link.len;
    flip = sx_rd_u8(r);
    link.p[at] ^= flip;
    env.link = sx_wr_bytes(&link);
    sx_envelope_encode(&w, &env);
    bool first = c->id != 0 && !c->deleted && flip == 0 && !now.asked[number];
    send_envelope(a, p, &head, sx_wr_bytes(&w), false);
    if (first) {
        now.asked[number] = true;
        show(a);
        CHECK(now.event_kind == SIMPLEX_EV_REQ && now.event_conn == p->conn);
        CHECK(sx_bytes_eq(sx_wr_bytes(&now.event_data), env.body));
    }
    sx_wr_free(&link);
    sx_wr_free(&w);
}

/* The letter of a mode ends a queue (section 5.2). Where it has none nothing else tells where the
 * information begins: such a letter there is taken for it. */
static bool read_as_mode(const struct fuzz_peer *p, simplex_bytes info)
{
    return fuzz_standard(p->kind) && info.len > 0 && memchr("MCTF", info.ptr[0], 4) != NULL;
}

/* changes, L(information), parameters of the changes. The first good one is shown. */
static void step_confirm(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    if (p->kind == ADDRESS) {
        step_request(a, p, r);
        return;
    }
    uint8_t changed = sx_rd_u8(r);
    simplex_bytes info = take(r, 10000);
    struct fuzz_head h = { .keyed = (changed & C_KEYED) == 0,
                           .auth = fuzz_standard(p->kind) != ((changed & C_AUTH) != 0),
                           .version = SX_CLIENT_MAX };
    const struct sx_conn *c = &now.before[p - now.peers];
    struct sx_rcv_queue q;
    struct sx_wr w;
    bool first = c->id != 0 && !c->deleted && now.missing[p - now.peers] < SX_RATCHET_MAX_SKIP &&
                 sx_store_rcvq_get(a->store, p->queue, &q) == SIMPLEX_OK && !q.has_e2e_secret;

    sx_wr_init(&w, FUZZ_BODY_MAX);
    confirmation(p, changed, r, info, &w);
    send_envelope(a, p, &h, sx_wr_bytes(&w), false);
    now.missing[p - now.peers]++;
    sx_wr_free(&w);
    if (!first || changed != 0)
        return;
    CHECK(sx_store_rcvq_get(a->store, p->queue, &q) == SIMPLEX_OK && q.has_e2e_secret);
    if (!p->has_params)
        return;
    show(a);
    CHECK(now.event_kind == SIMPLEX_EV_CONF && now.event_conn == p->conn);
    if (read_as_mode(p, info))
        info = sx_bytes(info.ptr + 1, info.len - 1);
    CHECK(sx_bytes_eq(sx_wr_bytes(&now.event_data), info));
}

/* which, flags (1: as a new message of the server): a body sent before or held back, whosever it
 * was */
static void step_again(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t which = sx_rd_u8(r), flags = sx_rd_u8(r);
    struct body *k;

    if (now.n_kept == 0)
        return;
    k = &kept[(now.n_kept - 1 - which % (now.n_kept < KEPT ? now.n_kept : KEPT)) % KEPT];
    if ((flags & 1) != 0)
        new_msg_id(k->msg_id);
    deliver_body(a, p, k->msg_id, sx_bytes(k->b, k->len));
}

static void step_body(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t id[SX_NONCE_LEN];

    new_msg_id(id);
    deliver_body(a, p, id, take(r, 16100));
}

static void step_server(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t id[SX_NONCE_LEN];

    new_msg_id(id);
    deliver_plain(a, p, id, take(r, 16100));
}

static void step_garbage(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    simplex_bytes id = sx_rd_short(r);

    if (!r->bad)
        deliver_msg(a, p, id, take(r, FUZZ_BODY_MAX));
}

static void step_quota(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    struct sx_rcv_msg m = { .quota = true, .ts_s = sx_rd_u8(r) };
    uint8_t id[SX_NONCE_LEN];
    struct sx_wr plain;

    sx_wr_init(&plain, 100);
    sx_rcv_msg_encode(&plain, &m);
    new_msg_id(id);
    deliver_plain(a, p, id, sx_wr_bytes(&plain));
    sx_wr_free(&plain);
}

/* ---- what the application and the network do meanwhile ---- */

static bool expected(simplex_rc rc)
{
    return rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND || rc == SIMPLEX_E_PROHIBITED ||
           rc == SIMPLEX_E_TOO_LARGE;
}

/* With information it is accepted, without it rejected. */
static void step_answer(struct simplex_agent *a, const struct fuzz_peer *p, simplex_bytes info)
{
    int64_t request = now.conf[p - now.peers], conn = 0;

    fuzz_must(sx_handler_begin(a));
    simplex_rc rc = info.len > 0 ? sx_accept(a, request, info, SIMPLEX_PQ_OFF, &conn)
                                 : sx_reject(a, request);
    sx_handler_end(a, rc);
    CHECK(expected(rc) || rc == SIMPLEX_E_VERSION); /* its link may have been changed */
}

static void step_allow(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    simplex_bytes info = sx_rd_short(r);

    if (p->kind == ADDRESS) {
        step_answer(a, p, info);
        return;
    }
    fuzz_must(sx_handler_begin(a));
    simplex_rc rc = sx_allow(a, p->conn, now.conf[p - now.peers], info);
    sx_handler_end(a, rc);
    CHECK(expected(rc));
}

static void step_ack(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    uint8_t back = sx_rd_u8(r);
    simplex_bytes receipt = sx_str("seen");

    fuzz_must(sx_handler_begin(a));
    simplex_rc rc = sx_user_ack(a, p->conn, now.msg[p - now.peers] - back % 128,
                                back < 128 ? NULL : &receipt);
    sx_handler_end(a, rc);
    CHECK(expected(rc));
}

static void step_send(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_MSG };
    struct sx_outgoing o = { .type = SX_M_MSG, .pq = (enum sx_pq_flag)(sx_rd_u8(r) % 3) };
    struct sx_snd_queue q;
    struct sx_conn c;
    int64_t id;
    simplex_rc rc;

    msg.body = take(r, FUZZ_BODY_MAX);
    fuzz_must(sx_handler_begin(a));
    rc = sx_store_conn_get(a->store, p->conn, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_first_snd_queue(a, &c, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_can_send(&c, &q) ? sx_enqueue(a, &c, &msg, &o, &id) : SIMPLEX_E_PROHIBITED;
    sx_handler_end(a, rc);
    CHECK(expected(rc));
}

/* The peer can read what the agent sent. */
static void read_by_peer(struct fuzz_peer *p, const struct sx_snd_queue *q, struct sx_wr *body)
{
    static uint8_t plain[SX_BLOCK];
    struct sx_client_msg outer;
    struct sx_private_msg priv;
    struct sx_envelope env;
    struct sx_agent_msg msg;
    struct sx_ratchet_in in;
    struct sx_box_key box;
    simplex_bytes inner;

    fuzz_must(sx_client_msg_decode(sx_wr_bytes(body), &outer));
    sx_box_key_init(&box, q->e2e_secret);
    fuzz_must(sx_box_open_padded(&box, outer.nonce, body->p + (outer.box.ptr - body->p),
                                 outer.box.len, &inner));
    fuzz_must(sx_private_msg_decode(inner, &priv));
    fuzz_must(sx_envelope_decode(priv.envelope, &env));
    fuzz_must(sx_ratchet_decrypt(&p->r, env.body, plain, &in, NULL));
    fuzz_must(sx_agent_msg_decode(in.text, &msg));
}

static simplex_rc take_one(struct simplex_agent *a, struct fuzz_peer *p)
{
    struct sx_snd_queue q;
    struct sx_snd_msg m;
    struct sx_conn c;
    struct sx_wr body;
    simplex_rc rc = sx_store_conn_get(a->store, p->conn, &c);

    if (rc == SIMPLEX_OK)
        rc = sx_first_snd_queue(a, &c, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_delivery_next(a->store, q.id, 0, &m);
    if (rc != SIMPLEX_OK)
        return rc;
    fuzz_must(sx_seal_send(a, &c, &q, &m, &body));
    read_by_peer(p, &q, &body);
    sx_wr_free(&body);
    uint8_t type = m.type;
    fuzz_must(sx_store_delivery_done(a->store, q.id, c.id, m.id, NULL));
    return type != SX_M_MSG ? sx_on_sent(a, &c, &q, type) : SIMPLEX_OK;
}

/* The server took the oldest messages of the agent, the peer reads them. */
static void step_take(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    for (unsigned n = 1 + sx_rd_u8(r) % 4; n > 0; n--) {
        fuzz_must(sx_handler_begin(a));
        simplex_rc rc = take_one(a, p);
        sx_handler_end(a, rc);
        CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND);
    }
}

/* Messages that are lost on the way. */
static void step_skip(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    struct sx_msg_key key;

    (void)a;
    for (unsigned n = sx_rd_u8(r); n > 0; n--) {
        fuzz_must(sx_ratchet_encrypt_header(&p->r, SX_PQ_KEEP, &key));
        now.missing[p - now.peers]++;
    }
    sx_msg_key_wipe(&key);
}

static void step_delete(struct simplex_agent *a, struct fuzz_peer *p, struct sx_rd *r)
{
    (void)r;
    fuzz_must(sx_handler_begin(a));
    simplex_rc rc = sx_delete(a, p->conn);
    sx_handler_end(a, rc);
    CHECK(rc == SIMPLEX_OK);
}

static step *const steps[16] = { step_plain, step_made,   step_envelope, step_confirm,
                                 step_again, step_body,   step_garbage,  step_quota,
                                 step_allow, step_send,   step_take,     step_skip,
                                 step_ack,   step_server, step_broken,   step_delete };

/* ---- a run ---- */

static void start_run(struct simplex_agent *a)
{
    memset(&now, 0, sizeof now);
    memcpy(now.peers, fuzz_peers, sizeof now.peers);
    fuzz_must(sx_store_begin(a->store));
    for (size_t i = 0; i < FUZZ_PEERS; i++)
        fuzz_must(sx_store_conn_get(a->store, now.peers[i].conn, &now.before[i]));
}

static void end_run(struct simplex_agent *a)
{
    for (size_t i = 0; i < FUZZ_PEERS; i++)
        check_conn(a, i); /* those that had no part in it as well */
    sx_store_rollback(a->store);
    sx_drop_acks(a);
    sx_events_drop(a);
    sx_rt_clear(a);
    sx_wr_free(&now.event_data);
    for (size_t i = 0; i < FUZZ_PEERS; i++) {
        CHECK(now.peers[i].r.skipped != fuzz_peers[i].r.skipped || fuzz_peers[i].r.skipped == NULL);
        sx_ratchet_wipe(&now.peers[i].r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct simplex_agent *a = fuzz_agent;
    size_t blocks;

    if (a == NULL) {
        fuzz_agent_open(on_event);
        a = fuzz_agent;
    }
    blocks = sx_fault_live_blocks();
    start_run(a);
    for (unsigned n = 0; n < STEPS_MAX && r.left > 0; n++) {
        uint8_t b = sx_rd_u8(&r);
        size_t peer = (b >> 4) % FUZZ_PEERS;
        steps[b & 15](a, &now.peers[peer], &r);
        check_step(a, peer);
    }
    end_run(a);
    CHECK(sx_fault_live_blocks() == blocks);
    return 0;
}
