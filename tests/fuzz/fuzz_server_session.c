/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's command layer with six clients on two hubs: three ordinary ones, two connections of
 * a messaging service and a notifier service. The input is a script: a byte chooses
 * an operation and who does it, parameters follow. After each step the answers must parse, and
 * queues, counters and subscriptions must agree with each other.
 */
#include "fuzz.h"

#include "commands.h"

#define CLIENTS 6
#define PLAIN 3
#define QUEUES 4
#define STEPS_MAX 200
#define QUOTA 3

struct client {
    struct sx_session session; /* of both sides: they share the id and have no keys */
    struct sx_peer peer;
};

struct queue {
    bool made;
    uint8_t rcv[24], snd[24], ntf[24], link[24];
    uint8_t last_msg[24];
};

struct machine {
    struct sx_srv *srv;
    struct sx_hub hub[2];
    struct client client[CLIENTS];
    struct queue queue[QUEUES];
    int64_t now;
    struct sx_rd in;
};

static struct sx_keypair keys[2], dh, service_key;

static int64_t clock_of(void *user)
{
    return ((struct machine *)user)->now;
}

static void become_service(struct machine *m, struct client *c, uint8_t role)
{
    struct sx_session_service *svc = &c->session.service;
    struct sx_chain chain = { .cert = { { &role, 1 } }, .count = 1 };

    c->session.version = 19;
    svc->role = role;
    svc->key = service_key;
    memset(svc->cert_hash, role, sizeof(svc->cert_hash));
    c->peer.service = sx_service_enter(m->srv->store, role, svc->cert_hash, &chain, 0);
    CHECK(c->peer.service != NULL);
    memcpy(svc->id, c->peer.service->id, sizeof(svc->id));
}

static void connect_client(struct machine *m, unsigned i, uint16_t version)
{
    struct client *c = &m->client[i];

    memset(c, 0, sizeof(*c));
    c->session.state = SX_S_READY;
    c->session.version = version;
    c->session.id_len = 32;
    memset(c->session.id, (int)i + 1, 32);
    sx_peer_init(&c->peer, &m->hub[i % 2], &c->session, c);
    if (i >= PLAIN)
        become_service(m, c, i + 1 < CLIENTS ? 'M' : 'N');
}

static void once(void)
{
    static bool done;
    struct sx_priv priv = { .alg = SX_ED25519 };

    if (done)
        return;
    done = true;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    for (uint8_t i = 0; i < 2; i++) {
        memset(priv.b, i + 1, 32);
        CHECK(sx_keypair_from_priv(&priv, &keys[i]) == SIMPLEX_OK);
    }
    memset(priv.b, 9, 32);
    CHECK(sx_keypair_from_priv(&priv, &service_key) == SIMPLEX_OK);
    priv.alg = SX_X25519;
    CHECK(sx_keypair_from_priv(&priv, &dh) == SIMPLEX_OK);
}

/* ---- answers ---- */

static void learn(struct machine *m, const struct sx_transmission *t, const struct sx_rsp *r,
                  struct queue *q)
{
    if (r->tag == SX_R_IDS && q != NULL) {
        memcpy(q->rcv, r->ids.rcv_id.ptr, 24);
        memcpy(q->snd, r->ids.snd_id.ptr, 24);
        if (r->ids.has_ntf)
            memcpy(q->ntf, r->ids.ntf_id.ptr, 24);
        if (r->ids.has_link_id)
            memcpy(q->link, r->ids.link_id.ptr, 24);
        q->made = true;
    }
    if (r->tag == SX_R_NID && q != NULL)
        memcpy(q->ntf, r->nid.ntf_id.ptr, 24);
    for (size_t i = 0; r->tag == SX_R_MSG && i < QUEUES; i++)
        if (sx_bytes_eq(t->entity_id, sx_bytes(m->queue[i].rcv, 24)))
            memcpy(m->queue[i].last_msg, r->msg.msg_id.ptr, 24);
}

/* Returns the number of answers: what has a correlation id. */
static unsigned drain(struct machine *m, unsigned who, struct queue *q)
{
    struct client *c = &m->client[who];
    static uint8_t content[SX_BLOCK];
    struct sx_batch_rd rd;
    simplex_bytes in;
    unsigned answers = 0;
    size_t len;

    while ((len = sx_peer_next(&c->peer, content)) > 0) {
        CHECK(!c->peer.failed && len <= SX_BLOCK_CONTENT_ENC);
        CHECK(sx_batch_open(sx_bytes(content, len), &rd) == SIMPLEX_OK);
        while (sx_batch_next(&rd, &in)) {
            struct sx_transmission t;
            struct sx_rsp r;
            CHECK(sx_transmission_decode(in, c->session.version, &t) == SIMPLEX_OK);
            CHECK(sx_rsp_decode(t.command, c->session.version, &r) == SIMPLEX_OK);
            learn(m, &t, &r, q);
            answers += t.corr_id.len > 0;
        }
    }
    CHECK(c->peer.n_out == 0 && c->peer.out_last == NULL);
    return answers;
}

/* ---- what must always hold ---- */

static size_t check_queue(const struct sx_queue *q)
{
    size_t n = 0;

    CHECK(!q->deleted);
    for (const struct sx_msg *x = q->head; x != NULL; x = x->next) {
        CHECK((x->next == NULL) == (x == q->tail));
        CHECK(!x->quota || x->next == NULL); /* nothing comes behind the marker */
        n++;
    }
    CHECK(n == q->count && n <= QUOTA + 1);
    CHECK((q->head == NULL) == (q->tail == NULL || n == 0));
    CHECK(q->sub == NULL || (q->sub->q == q && q->sub->kind == SX_SUB_MSG));
    CHECK(q->sub == NULL || !q->sub->pushed || q->sub->in_flight);
    for (const struct sx_sub *s = q->gets; s != NULL; s = s->get_next) {
        CHECK(s->q == q && s->kind == SX_SUB_GET);
        CHECK(q->sub == NULL || q->sub->peer != s->peer); /* never both on one connection */
    }
    if (q->served.svc != NULL) /* and then nobody else is subscribed */
        CHECK(q->served.svc->role == 'M' && (q->sub == NULL || q->sub->service));
    else
        CHECK(q->sub == NULL || !q->sub->service);
    if (q->ntf != NULL && q->ntf->served.svc != NULL)
        CHECK(q->ntf->served.svc->role == 'N' && (q->ntf->sub == NULL || q->ntf->sub->service));
    if (q->ntf != NULL)
        CHECK(q->ntf->q == q && q->ntf->count <= SX_STORE_NTF_MAX);
    if (q->link != NULL)
        CHECK(q->link->q == q);
    return n;
}

static void check_store(struct machine *m)
{
    struct sx_queue *found[64];
    size_t queues = 0, messages = 0, served = 0;
    struct sx_services_count count;

    for (unsigned shard = 0; shard < SX_STORE_SHARDS; shard++) {
        size_t cursor = 0;
        do {
            size_t n = sx_qstore_walk(m->srv->store, shard, &cursor, found, SX_COUNT(found));
            for (size_t i = 0; i < n; i++) {
                messages += check_queue(found[i]);
                served += found[i]->served.svc != NULL;
                served += found[i]->ntf != NULL && found[i]->ntf->served.svc != NULL;
                sx_queue_unref(found[i]);
            }
            queues += n;
        } while (cursor != 0);
    }
    CHECK(queues == sx_qstore_queues(m->srv->store));
    CHECK(messages == sx_qstore_messages(m->srv->store));
    sx_services_count(m->srv->store, &count);
    CHECK(served == count.queues[0] + count.queues[1]);
    for (size_t i = 0; i < CLIENTS; i++) {
        size_t n = 0;
        for (const struct sx_sub *s = m->client[i].peer.subs; s != NULL; s = s->next)
            n++;
        CHECK(n == m->client[i].peer.n_subs);
    }
}

static int64_t counted(const struct sx_hub *h, unsigned stat)
{
    return (int64_t)atomic_load(&h->stats->v[stat]);
}

/* Every delivery without an ACK is in one line of its hub, at its place in time. */
static void check_unacked(const struct machine *m)
{
    size_t in_lines = 0, delivered = 0;

    for (size_t i = 0; i < 2; i++) {
        const struct sx_hub *h = &m->hub[i];
        int64_t since = 0;
        for (unsigned age = 0; age < SX_UNACKED_AGES; age++) {
            const struct sx_sub *prev = NULL;
            int64_t n = 0;
            for (const struct sx_sub *s = h->unacked.line[age].first; s != NULL; s = s->line_next) {
                CHECK(s->line == age + 1 && s->line_prev == prev && s->peer->hub == h);
                CHECK(s->in_flight && !s->pushed && s->kind != SX_SUB_NTF);
                CHECK(prev == NULL || prev->delivered_s <= s->delivered_s);
                since += s->delivered_s;
                prev = s;
                n++;
            }
            CHECK(h->unacked.line[age].last == prev);
            CHECK(n == counted(h, SX_STAT_UNACKED + age));
            in_lines += (size_t)n;
        }
        CHECK(since == counted(h, SX_STAT_UNACKED_SINCE));
    }
    for (size_t i = 0; i < CLIENTS; i++)
        for (const struct sx_sub *s = m->client[i].peer.subs; s != NULL; s = s->next)
            delivered += s->in_flight && !s->pushed;
    CHECK(delivered == in_lines);
}

/* ---- operations ---- */

static void put_command(struct machine *m, struct queue *q, struct sx_cmd *c, simplex_bytes *entity)
{
    uint8_t how = sx_rd_u8(&m->in);

    *entity = sx_bytes(q->rcv, 24);
    switch (c->tag) {
    case SX_NEW:
        c->new_.auth = keys[0].pub;
        c->new_.dh = dh.pub;
        c->new_.subscribe = how & 1;
        c->new_.mode = how & 2 ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
        c->new_.has_ntf = how & 4;
        c->new_.ntf_auth = keys[0].pub;
        c->new_.ntf_dh = dh.pub;
        *entity = sx_bytes(NULL, 0);
        break;
    case SX_KEY:
    case SX_SKEY:
    case SX_LKEY:
        c->key.key = keys[how & 1].pub;
        *entity = sx_bytes(c->tag == SX_KEY ? q->rcv : c->tag == SX_SKEY ? q->snd : q->link, 24);
        break;
    case SX_LSET:
        sx_rd_copy(&m->in, q->link, 24);
        c->lset.link_id = sx_bytes(q->link, 24);
        c->lset.fixed = sx_bytes("fixed", how % 6);
        c->lset.user = sx_rd_take(&m->in, how);
        break;
    case SX_NKEY:
        c->nkey.auth = keys[0].pub;
        c->nkey.dh = dh.pub;
        break;
    case SX_ACK:
        c->ack.msg_id = sx_bytes(q->last_msg, how & 1 ? 24 : 0);
        break;
    case SX_SEND:
        c->send.notify = how & 1;
        c->send.body = sx_rd_take(&m->in, how);
        *entity = sx_bytes(q->snd, 24);
        break;
    case SX_LGET:
        *entity = sx_bytes(q->link, 24);
        break;
    case SX_NSUB:
        *entity = sx_bytes(q->ntf, 24);
        break;
    case SX_SUBS:
    case SX_NSUBS:
        c->subs.has_hash = true;
        break;
    case SX_PING:
        *entity = sx_bytes(NULL, 0);
        break;
    default:
        break;
    }
}

/*
 * Spoils one transmission: a byte changed anywhere, cut off, or something behind it. What it was
 * signed for does not hold any more, or it cannot be read: an error is the only right answer, and
 * sometimes a correlation id that cannot be read is not in it.
 */
static void damage(struct machine *m, uint8_t *one, size_t *len)
{
    uint8_t how = sx_rd_u8(&m->in);
    size_t at = sx_rd_u16(&m->in) % *len;

    if (how % 4 == 0)
        *len = at;
    else if (how % 4 == 1 && *len < SX_BLOCK / 8)
        one[(*len)++] = how;
    else
        one[at] ^= how;
}

/* A block of up to four commands, correct ones unless `damaged`; returns how many. */
static unsigned commands(struct machine *m, unsigned who, struct queue *q, bool damaged)
{
    static const uint8_t tags[] = { SX_NEW,  SX_SUB,  SX_KEY,  SX_LSET, SX_LDEL, SX_NKEY, SX_NDEL,
                                    SX_GET,  SX_ACK,  SX_OFF,  SX_DEL,  SX_QUE,  SX_SKEY, SX_SEND,
                                    SX_LKEY, SX_LGET, SX_NSUB, SX_PING, SX_SUBS, SX_NSUBS };
    struct client *c = &m->client[who];
    static uint8_t block[SX_BLOCK], one[SX_BLOCK];
    unsigned n = 1 + sx_rd_u8(&m->in) % 4;
    struct sx_wr w, t;

    sx_wr_fixed(&w, block, sizeof(block));
    sx_wr_u8(&w, (uint8_t)n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t x = sx_rd_u8(&m->in), corr[24] = { (uint8_t)i };
        struct sx_cmd cmd = { .tag = tags[x % (SX_COUNT(tags) - (who < PLAIN ? 2u : 0u))] };
        const struct sx_keypair *key = &keys[x >= 240];
        simplex_bytes entity;
        put_command(m, q, &cmd, &entity);
        if (cmd.tag == SX_PING || cmd.tag == SX_LGET || (cmd.tag == SX_SEND && x & 128))
            key = NULL;
        if (cmd.tag == SX_SUBS || cmd.tag == SX_NSUBS) {
            key = &service_key;
            entity = sx_bytes(c->session.service.id, 24);
        }
        sx_wr_fixed(&t, one, sizeof(one));
        CHECK(sx_session_encode(&c->session, key, corr, entity, &cmd, &t) == SIMPLEX_OK);
        if (damaged && i == 0)
            damage(m, one, &t.len);
        sx_wr_large(&w, sx_wr_bytes(&t));
    }
    CHECK(!w.bad);
    sx_peer_block(&c->peer, sx_wr_bytes(&w));
    return n;
}

static void step(struct machine *m)
{
    uint8_t op = sx_rd_u8(&m->in);
    bool service = op >= 192;
    unsigned who = op / 8 % PLAIN + (service ? PLAIN : 0u);
    struct queue *q = &m->queue[op / 32 % (service ? 2u : QUEUES)];
    struct client *c = &m->client[who];
    unsigned n;

    switch (op % 8) {
    case 0:
        sx_peer_block(&c->peer, sx_rd_take(&m->in, sx_rd_u8(&m->in)));
        break;
    case 1:
        sx_peer_close(&c->peer);
        connect_client(m, who, (uint16_t)(SX_SMP_MIN + 3 + sx_rd_u8(&m->in) % 11));
        break;
    case 2:
        sx_peer_flush_ends(&c->peer);
        sx_peer_flush_ntfs(&c->peer);
        break;
    case 3:
        m->now += (int64_t)sx_rd_u8(&m->in) * 100;
        sx_srv_expire(m->srv);
        break;
    case 4:
        n = commands(m, who, q, true);
        CHECK(drain(m, who, q) + 1 >= n);
        break;
    default:
        n = commands(m, who, q, false);
        CHECK(drain(m, who, q) == n); /* one answer to each, whatever it is */
        break;
    }
    (void)drain(m, who, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m = { .now = 1000000, .in = sx_rd_init(sx_bytes(data, size)) };
    struct sx_srv_cfg cfg = { .new_queues = true,
                              .store = { .quota = QUOTA, .ttl_ms = 5000 },
                              .now = clock_of,
                              .now_user = &m };

    once();
    CHECK(sx_srv_open(&cfg, &m.srv) == SIMPLEX_OK);
    for (size_t i = 0; i < 2; i++)
        CHECK(sx_hub_open(&m.hub[i], m.srv, NULL, NULL) == SIMPLEX_OK);
    for (unsigned i = 0; i < CLIENTS; i++)
        connect_client(&m, i, SX_SMP_MAX);
    for (int n = 0; n < STEPS_MAX && m.in.left > 0 && !m.in.bad; n++) {
        step(&m);
        for (size_t i = 0; i < 2; i++) {
            sx_hub_run(&m.hub[i]);
            sx_unacked_tick(&m.hub[i]);
        }
        check_store(&m);
        check_unacked(&m);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        sx_peer_close(&m.client[i].peer);
    for (size_t i = 0; i < 2; i++)
        sx_hub_close(&m.hub[i]);
    sx_srv_close(m.srv);
    return 0;
}
