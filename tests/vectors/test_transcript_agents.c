/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole agent in the place of one of the two recorded ones: it gets the recorded keys, a server
 * (tests/support/smp_peer.c) answers with the recorded answers and pushes the recorded messages of
 * the reference, and the application does what the recorded one did. The events must be the
 * recorded events, the commands sent as many as the recorded ones.
 *
 * Ratchet keys are made anew at each step, so the recorded state is put in place before each
 * recorded message: what is under test is everything around the ratchet, which has replays of its
 * own.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "ratchet_fields.h"
#include "support/agents.h"
#include "support/smp_peer.h"
#include "support/transcript.h"

struct item { /* of the story of one side, in order of time */
    int64_t t_ms;
    const cJSON *api;  /* a command of the application or an event; or */
    const cJSON *push; /* a MSG of the server; or */
    int command;       /* the agent's, index of `counted` */
};

#define TAGS 6
static const enum sx_cmd_tag counted[TAGS] = { SX_NEW, SX_KEY, SX_SKEY, SX_SEND, SX_ACK, SX_SUB };

static struct play {
    struct transcript t;
    /* "I" or "J"; of a contact address "O", who owns it, or "R", who asks; of a synchronisation "A",
     * who initiated the connection, or "B", whose database is exchanged for an old copy */
    const char *side;
    bool pq;
    unsigned begun; /* receiving queues made */
    bool asked;     /* O: the request has come */
    const char *session;
    int64_t version;
    struct item items[256];
    size_t n_items;
    unsigned want[TAGS], got[TAGS];
    uv_loop_t loop;
    struct peer peer;
    struct peer_conn *client;
    char dir[256], address[512];
    simplex_agent *a;
    simplex_event *held[64];
    size_t n_held;
    int64_t conn, conf, sent;
    cJSON *ratchet; /* the recorded state so far */
    const cJSON *op; /* the next recorded operation on it */
    unsigned messages, events;
    unsigned starts, ratchet_keys, ereadies;
    cJSON *copied;   /* the ratchet when the database was copied */
    struct sx_x3dh_keys fresh;
    bool twice; /* each message comes once more, as noise repeats it */
    unsigned repeated;
} p;

static void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_msg("%s", simplex_rc_name(rc));
}

/* ---- the recording ---- */

static bool side_is(const char *sides)
{
    return strchr(sides, p.side[0]) != NULL;
}

static const cJSON *nth_transmission(const char *tag, const char *from, unsigned nth)
{
    const cJSON *b, *t;

    vec_each(b, vec_get(p.t.json, "blocks")) {
        if (strcmp(vec_text(b, "session"), p.session) != 0 ||
            strcmp(vec_text(b, "from"), from) != 0)
            continue;
        vec_each(t, vec_opt(b, "transmissions"))
            if (strcmp(vec_text(t, "tag"), tag) == 0 && nth-- == 0)
                return t;
    }
    fail_msg("no %s", tag);
    return NULL;
}

static void add_item(int64_t t_ms, const cJSON *api, const cJSON *push, int command)
{
    size_t n = p.n_items++;

    assert_true(n < SX_COUNT(p.items));
    while (n > 0 && p.items[n - 1].t_ms > t_ms) {
        p.items[n] = p.items[n - 1];
        n--;
    }
    p.items[n] = (struct item){ t_ms, api, push, command };
}

static void add_command(int64_t t_ms, const char *tag)
{
    for (int n = 0; n < TAGS; n++) {
        if (strcmp(tag, sx_cmd_name(counted[n])) == 0)
            add_item(t_ms, NULL, NULL, n);
    }
}

static void load_story(void)
{
    const cJSON *s, *b, *t, *x;

    vec_each(s, vec_get(p.t.json, "sessions")) {
        if (strcmp(vec_text(s, "client"), p.side) == 0 && p.session == NULL) {
            p.session = vec_text(s, "session_id");
            p.version = vec_int(s, "version");
        }
    }
    vec_each(b, vec_get(p.t.json, "blocks")) {
        if (strcmp(vec_text(tr_session(&p.t, vec_text(b, "session")), "client"), p.side) != 0)
            continue;
        vec_each(t, vec_opt(b, "transmissions")) {
            if (strcmp(vec_text(b, "from"), "client") == 0)
                add_command(vec_int(b, "t_ms"), vec_text(t, "tag"));
            else if (strcmp(vec_text(t, "tag"), "MSG") == 0)
                add_item(vec_int(b, "t_ms"), NULL, t, -1);
        }
    }
    vec_each(x, vec_get(vec_get(p.t.json, "api"), p.side))
        if (vec_opt(x, "t_ms") != NULL) /* a note has none */
            add_item(vec_int(x, "t_ms"), x, NULL, -1);
    p.op = vec_get(vec_get(p.t.json, "ratchets"), p.side)->child;
}

static struct sx_rsp recorded_rsp(const cJSON *transmission)
{
    struct sx_rsp rsp;

    simplex_bytes text = tr_parts(&p.t, vec_get(transmission, "command"));
    must(sx_rsp_decode(text, (uint16_t)p.version, &rsp));
    return rsp;
}

static struct sx_keypair pair_of(const struct sx_pub *pub)
{
    struct sx_wr w;

    sx_wr_fixed(&w, vec_keep(128), 128);
    sx_spki_encode(pub, &w);
    const struct sx_keypair *k = tr_key(&p.t, sx_wr_bytes(&w));
    assert_non_null(k);
    return *k;
}

/* The side's own pair in the box of the nth confirmation or request that it received: the other key
 * is in the head. */
static struct sx_keypair e2e_pair(unsigned nth)
{
    const cJSON *b, *k, *key;

    vec_each(b, vec_get(p.t.json, "bodies")) {
        const cJSON *head = vec_opt(b, "header_key");
        if (head == NULL)
            continue;
        vec_each(k, vec_get(vec_get(b, "box"), "dh_of")) {
            if (strcmp(k->valuestring, head->valuestring) == 0)
                continue;
            vec_each(key, vec_get(p.t.json, "keys"))
                if (strcmp(vec_text(key, "pub"), k->valuestring) == 0 &&
                    strcmp(vec_text(key, "owner"), p.side) == 0 && nth-- == 0)
                    return *tr_key(&p.t, vec_unhex(k->valuestring));
        }
    }
    fail_msg("no key for the queue");
    return (struct sx_keypair){ 0 };
}

/* ---- the server ---- */

/* The first SEND of R, under the key of the address. */
static void check_request(const struct sx_cmd *cmd);
/* A SEND with new ratchet keys or with EREADY. */
static void check_synchronisation(const struct sx_cmd *cmd);

static bool answer(struct peer *peer, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    struct sx_cmd want;
    struct sx_smp_err err;

    p.client = c;
    for (int n = 0; n < TAGS; n++)
        p.got[n] += cmd->tag == counted[n];
    if (cmd->tag == SX_SEND && side_is("R") && !p.asked)
        check_request(cmd);
    if (cmd->tag == SX_SEND && side_is("AB"))
        check_synchronisation(cmd);
    if (cmd->tag != SX_NEW)
        return peer_answer(peer, c, cmd, t, rsp);
    unsigned nth = p.got[0] - 1;
    const cJSON *new = nth_transmission("NEW", "client", nth);
    must(sx_cmd_decode(tr_parts(&p.t, vec_get(new, "command")), (uint16_t)p.version, &want, &err));
    assert_true(cmd->new_.subscribe == want.new_.subscribe && cmd->new_.mode == want.new_.mode);
    assert_memory_equal(&cmd->new_.dh, &want.new_.dh, sizeof want.new_.dh);
    *rsp = recorded_rsp(nth_transmission("IDS", "server", nth));
    return true;
}

static void server_open(void)
{
    struct sx_server server;
    struct sx_wr w;

    assert_int_equal(uv_loop_init(&p.loop), 0);
    peer_start(&p.peer, &p.loop, 0);
    p.peer.answer = answer;
    p.peer.max = (uint16_t)p.version;
    peer_server(&p.peer, "127.0.0.1", &server);
    sx_wr_fixed(&w, p.address, sizeof p.address - 1);
    sx_server_print(&w, &server, sx_bytes(NULL, 0));
    assert_false(w.bad);
}

/* ---- events ---- */

static simplex_event *take_held(int32_t kind)
{
    for (size_t n = 0; n < p.n_held; n++) {
        simplex_event *ev = p.held[n];
        if (simplex_event_kind(ev) != kind)
            continue;
        memmove(&p.held[n], &p.held[n + 1], (p.n_held - n - 1) * sizeof *p.held);
        p.n_held--;
        return ev;
    }
    return NULL;
}

static void pump(void)
{
    simplex_event *ev;

    (void)uv_run(&p.loop, UV_RUN_NOWAIT);
    if (simplex_agent_next_event(p.a, 1, &ev) != SIMPLEX_OK)
        return;
    if (simplex_event_kind(ev) == SIMPLEX_EV_ERR)
        fail_msg("unexpected %s", simplex_event_json(ev));
    assert_true(p.n_held < SX_COUNT(p.held));
    p.held[p.n_held++] = ev;
}

static simplex_event *event(int32_t kind)
{
    int64_t until = sx_mono_ms() + WAIT_MS;
    simplex_event *ev;

    while ((ev = take_held(kind)) == NULL && sx_mono_ms() < until)
        pump();
    if (ev == NULL)
        fail_msg("%s: no event of kind %d", p.side, kind);
    p.events++;
    return ev;
}

static simplex_rc run_on_loop(simplex_rc (*fn)(struct simplex_agent *, void *), void *arg)
{
    struct sx_call call = { .fn = fn, .arg = arg, .wants_store = true };

    return sx_agent_call(p.a, &call);
}

/* ---- the recorded keys ---- */

static void shown_link(const char *side, const char *event, struct sx_link *l)
{
    const cJSON *x;

    memset(l, 0, sizeof *l);
    vec_each(x, vec_get(vec_get(p.t.json, "api"), side))
        if (strncmp(vec_text(x, "text"), event, strlen(event)) == 0)
            must(sx_link_parse(sx_str(strstr(vec_text(x, "text"), "simplex:")), l));
    assert_int_equal(l->n_queues, 1);
}

static struct sx_envelope recorded_request(void)
{
    struct sx_envelope e = { .tag = 0 };
    const cJSON *b;

    vec_each(b, vec_get(p.t.json, "bodies")) {
        if (vec_opt(b, "envelope_tag") != NULL && strcmp(vec_text(b, "envelope_tag"), "I") == 0)
            must(sx_envelope_decode(tr_parts(&p.t, vec_get(b, "agent_envelope")), &e));
    }
    assert_int_equal(e.tag, SX_ENV_INVITATION);
    return e;
}

/* The link of this side, which another one joins. */
static void parse_recorded_link(struct sx_link *l)
{
    if (side_is("IJAB")) {
        shown_link(side_is("IJ") ? "I" : "A", "INV ", l);
    } else if (side_is("R")) {
        memset(l, 0, sizeof *l);
        must(sx_link_parse(recorded_request().link, l));
    } else {
        shown_link("O", "ADDR ", l);
    }
}

static void assert_same_link(simplex_bytes text, const struct sx_link *want)
{
    struct sx_link got;

    memset(&got, 0, sizeof got);
    must(sx_link_parse(text, &got));
    assert_int_equal(got.kind, want->kind);
    assert_int_equal(got.agent_v.min, want->agent_v.min);
    assert_int_equal(got.agent_v.max, want->agent_v.max);
    assert_int_equal(got.queues[0].v.min, want->queues[0].v.min);
    assert_int_equal(got.queues[0].mode, want->queues[0].mode);
    assert_memory_equal(&got.queues[0].dh, &want->queues[0].dh, sizeof want->queues[0].dh);
    vec_assert_eq(sx_id_bytes(&got.queues[0].snd_id), sx_id_bytes(&want->queues[0].snd_id), "id");
    assert_memory_equal(&got.e2e.k1, &want->e2e.k1, sizeof want->e2e.k1);
    assert_memory_equal(&got.e2e.k2, &want->e2e.k2, sizeof want->e2e.k2);
    sx_link_free(&got);
}

static void check_request(const struct sx_cmd *cmd)
{
    struct sx_rcv_queue q = { .client_version = SX_CLIENT_MAX };
    struct sx_envelope want = recorded_request();
    struct sx_link address, own;
    struct sx_opened o;
    struct sx_wr body;

    p.asked = true;
    shown_link("O", "ADDR ", &address);
    q.e2e = pair_of(&address.queues[0].dh);
    assert_int_equal(cmd->send.body.len, 15992);
    assert_true(cmd->send.notify);
    sx_wr_init(&body, SX_BLOCK);
    sx_wr_raw(&body, cmd->send.body);
    must(sx_open_body(&q, body.p, body.len, &o));
    assert_int_equal(o.outer.version, 4);
    assert_true(o.first && !o.inner.has_key);
    assert_int_equal(o.env.tag, want.tag);
    assert_int_equal(o.env.version, want.version);
    vec_assert_eq(o.env.body, want.body, "information");
    parse_recorded_link(&own);
    assert_same_link(o.env.link, &own);
    sx_link_free(&own);
    sx_link_free(&address);
    sx_wr_free(&body);
}

struct begin { /* read on the main thread, used on the loop */
    simplex_bytes link, info;
    struct sx_server server;
    struct sx_keypair auth, dh, e2e;
    struct sx_x3dh_keys x3dh;
};

/* Nobody is at the recorded address. */
static simplex_bytes link_to(const struct sx_server *server, struct sx_link *l)
{
    struct sx_wr w;

    l->queues[0].server = *server;
    sx_wr_fixed(&w, vec_keep(SX_LINK_TEXT_MAX), SX_LINK_TEXT_MAX);
    sx_link_print(&w, l, "simplex:");
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static struct begin recorded_begin(simplex_bytes info)
{
    unsigned nth = p.begun++;
    struct begin b = { .info = info, .e2e = e2e_pair(nth) };
    const cJSON *new = nth_transmission("NEW", "client", nth);
    struct sx_cmd cmd;
    struct sx_smp_err err;
    struct sx_link l;

    must(sx_cmd_decode(tr_parts(&p.t, vec_get(new, "command")), (uint16_t)p.version, &cmd, &err));
    b.auth = pair_of(&cmd.new_.auth);
    b.dh = pair_of(&cmd.new_.dh);
    peer_server(&p.peer, "127.0.0.1", &b.server);
    parse_recorded_link(&l);
    if (side_is("IRA")) {
        b.x3dh.k1 = pair_of(&l.e2e.k1);
        b.x3dh.k2 = pair_of(&l.e2e.k2);
    }
    if (side_is("R")) {
        sx_link_free(&l);
        shown_link("O", "ADDR ", &l);
    }
    b.link = link_to(&b.server, &l);
    sx_link_free(&l);
    return b;
}

/* No assertions from here on: this is the agent's thread. */
#define TRY(call)                \
    do {                         \
        simplex_rc rc_ = (call); \
        if (rc_ != SIMPLEX_OK)   \
            return rc_;          \
    } while (0)

static simplex_rc recorded_queue(struct simplex_agent *a, const struct begin *b,
                                 uint16_t client_version, struct sx_rcv_queue *q)
{
    *q = (struct sx_rcv_queue){ .conn_id = p.conn,
                                .server = b->server,
                                .auth = b->auth,
                                .dh = b->dh,
                                .e2e = b->e2e,
                                .client_version = client_version,
                                .status = SX_Q_NEW,
                                .primary = true };
    return sx_store_rcvq_add(a->store, q);
}

/* sx_create with other keys. */
static simplex_rc create_recorded(struct simplex_agent *a, void *arg)
{
    const struct begin *b = arg;
    struct sx_conn c = { .role = SX_INITIATOR,
                         .state = SX_CONN_NEW,
                         .subscribe = true,
                         .pq_support = p.pq,
                         .created_at = sx_now_ms() };
    struct sx_rcv_queue q;

    TRY(sx_store_conn_add(a->store, &c));
    p.conn = c.id;
    TRY(recorded_queue(a, b, SX_CLIENT_MAX, &q));
    TRY(sx_store_x3dh_put(a->store, c.id, &b->x3dh));
    return sx_command_add(a, c.id, SX_C_NEW, q.id, sx_bytes(NULL, 0));
}

/* The queue that was made is exchanged for one with other keys. */
static simplex_rc exchange_queue(struct simplex_agent *a, const struct begin *b)
{
    struct sx_rcv_queue made, q;
    struct sx_command cmd = { .id = 0 };
    struct sx_wr data;

    TRY(sx_store_rcvq_of(a->store, p.conn, 0, &made));
    TRY(recorded_queue(a, b, made.client_version, &q));
    q.mode = made.mode;
    TRY(sx_store_rcvq_update(a->store, &q));
    if (side_is("R"))
        TRY(sx_store_x3dh_put(a->store, p.conn, &b->x3dh));
    do
        TRY(sx_store_command_next(a->store, p.conn, cmd.id, &cmd));
    while (cmd.tag != SX_C_NEW);
    sx_wr_init(&data, 65536);
    sx_wr_raw(&data, cmd.data);
    TRY(sx_store_command_delete(a->store, cmd.id));
    TRY(sx_store_rcvq_delete(a->store, made.id));
    TRY(sx_command_add(a, p.conn, SX_C_NEW, q.id, sx_wr_bytes(&data)));
    sx_wr_free(&data);
    return SIMPLEX_OK;
}

static simplex_rc join_recorded(struct simplex_agent *a, void *arg)
{
    const struct begin *b = arg;

    TRY(sx_join(a, SX_USER_DEFAULT, b->link, b->info, p.pq ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF, &p.conn));
    return exchange_queue(a, b);
}

static simplex_rc create_recorded_address(struct simplex_agent *a, void *arg)
{
    TRY(sx_create_address(a, SX_USER_DEFAULT, &p.conn));
    return exchange_queue(a, arg);
}

/* sx_accept of a request whose queue is where somebody answers. */
static simplex_rc accept_recorded(struct simplex_agent *a, void *arg)
{
    struct begin *b = arg;
    struct sx_invitation i;

    TRY(sx_store_inv_get(a->store, p.conf, &i));
    i = (struct sx_invitation){ .conn_id = p.conn, .link = b->link, .info = sx_str("") };
    TRY(sx_store_inv_add(a->store, &i, sx_now_ms()));
    TRY(sx_accept(a, i.id, b->info, SIMPLEX_PQ_OFF, &p.conn));
    return exchange_queue(a, b);
}

struct allow {
    simplex_bytes info;
    struct sx_server server;
};

/* sx_allow of a confirmation whose reply queue is where somebody answers. */
static simplex_rc allow_recorded(struct simplex_agent *a, void *arg)
{
    const struct allow *x = arg;
    struct sx_confirmation conf;
    struct sx_queue_addr addr;
    struct sx_wr w;

    TRY(sx_store_conf_get(a->store, p.conf, &conf));
    struct sx_rd r = sx_rd_init(conf.reply_queue);
    sx_queue_info_decode(&r, &addr);
    addr.server = x->server;
    sx_wr_init(&w, 4096);
    sx_queue_info_encode(&w, &addr);
    conf = (struct sx_confirmation){ .conn_id = p.conn, .reply_queue = sx_wr_bytes(&w) };
    TRY(sx_store_conf_add(a->store, &conf));
    sx_wr_free(&w);
    return sx_allow(a, p.conn, conf.id, x->info);
}

/* ---- pushing ---- */

/* The state that the reference had before it decrypted this message. */
static simplex_rc put_ratchet(struct simplex_agent *a, void *arg)
{
    return sx_store_ratchet_put(a->store, p.conn, arg, NULL);
}

static const cJSON *next_decrypt(void)
{
    for (; p.op != NULL; p.op = p.op->next) {
        const char *name = vec_text(p.op, "op");
        if (strcmp(name, "decrypt") == 0)
            return p.op;
        if (strncmp(name, "init_", 5) == 0)
            p.ratchet = cJSON_Duplicate(vec_get(p.op, "state"), 1);
        else
            merge(p.ratchet, vec_opt(p.op, "changed"));
    }
    fail_msg("the ratchet decrypted no more");
    return NULL;
}

struct known {
    uint8_t hash[32];
    bool yes;
};

static simplex_rc is_known(struct simplex_agent *a, void *arg)
{
    struct known *k = arg;

    return sx_store_rcv_hash_known(a->store, p.conn, k->hash, &k->yes, NULL);
}

/* ---- new ratchet keys ---- */

static const cJSON *recorded_keys(const char *owner, struct sx_envelope *e)
{
    const cJSON *b, *key;
    struct sx_wr w;

    vec_each(b, vec_get(p.t.json, "bodies")) {
        if (vec_opt(b, "envelope_tag") == NULL || strcmp(vec_text(b, "envelope_tag"), "R") != 0)
            continue;
        must(sx_envelope_decode(tr_parts(&p.t, vec_get(b, "agent_envelope")), e));
        sx_wr_fixed(&w, vec_keep(128), 128);
        sx_spki_encode(&e->e2e.k1, &w);
        vec_each(key, vec_get(p.t.json, "keys"))
            if (sx_bytes_eq(vec_hex(key, "pub"), sx_wr_bytes(&w)) &&
                strcmp(vec_text(key, "owner"), owner) == 0)
                return vec_get(b, "agent_envelope");
    }
    fail_msg("%s sent no keys", owner);
    return NULL;
}

static simplex_rc put_fresh(struct simplex_agent *a, void *arg)
{
    a->fresh_keys = arg;
    return SIMPLEX_OK;
}

static void use_recorded_keys(void)
{
    struct sx_envelope e;

    (void)recorded_keys(p.side, &e);
    memset(&p.fresh, 0, sizeof p.fresh);
    p.fresh.k1 = pair_of(&e.e2e.k1);
    p.fresh.k2 = pair_of(&e.e2e.k2);
    must(run_on_loop(put_fresh, &p.fresh));
}

/* The ratchet begins anew before it decrypts again. */
static bool pushes_keys(void)
{
    const cJSON *op = p.op;

    while (op != NULL && strcmp(vec_text(op, "op"), "encrypt") == 0)
        op = op->next;
    return op != NULL && strncmp(vec_text(op, "op"), "init_", 5) == 0;
}

static void push_keys(const cJSON *transmission)
{
    struct sx_rsp msg = recorded_rsp(transmission);

    while (strncmp(vec_text(p.op, "op"), "init_", 5) != 0)
        p.op = p.op->next;
    cJSON_Delete(p.ratchet);
    p.ratchet = cJSON_Duplicate(vec_get(p.op, "state"), 1);
    p.op = p.op->next;
    if (side_is("A"))
        use_recorded_keys();
    peer_push(p.client, sx_bytes(NULL, 0), vec_hex(transmission, "entity_id"), &msg);
}

static simplex_rc get_ratchet(struct simplex_agent *a, void *arg)
{
    return sx_store_ratchet_get(a->store, p.conn, arg);
}

/* The recorded ratchet, but for what the sending side made up. */
static void check_agreement(void)
{
    struct sx_ratchet want, got;

    load(p.ratchet, &want);
    must(run_on_loop(get_ratchet, &got));
    assert_int_equal(got.current, want.current);
    assert_memory_equal(got.ad, want.ad, sizeof want.ad);
    assert_memory_equal(got.nhkr, want.nhkr, sizeof want.nhkr);
    assert_int_equal(got.has_snd, side_is("B"));
    assert_int_equal(got.support_kem, want.support_kem);
    if (side_is("A")) {
        assert_memory_equal(got.rk, want.rk, sizeof want.rk);
        assert_memory_equal(got.nhks, want.nhks, sizeof want.nhks);
        assert_memory_equal(&got.dhs, &want.dhs, sizeof want.dhs);
    } else {
        assert_memory_equal(got.hks, want.hks, sizeof want.hks);
    }
    sx_ratchet_wipe(&got);
}

struct first_delivery {
    struct sx_snd_queue q;
    uint8_t type, plain[256];
    size_t len;
};

static simplex_rc get_delivery(struct simplex_agent *a, void *arg)
{
    struct first_delivery *d = arg;
    struct sx_snd_msg m;

    TRY(sx_store_sndq_of(a->store, p.conn, 0, &d->q));
    TRY(sx_store_delivery_next(a->store, d->q.id, 0, &m));
    d->type = m.type;
    d->len = m.plain.len < sizeof d->plain ? m.plain.len : sizeof d->plain;
    memcpy(d->plain, m.plain.ptr, d->len);
    return SIMPLEX_OK;
}

static void check_sent_keys(const struct sx_cmd *cmd, const struct sx_snd_queue *q)
{
    struct sx_rcv_queue to = { .client_version = SX_CLIENT_MAX, .has_e2e_secret = true };
    struct sx_envelope e;
    struct sx_opened o;
    struct sx_wr body;

    memset(&o, 0, sizeof o);
    memcpy(to.e2e_secret, q->e2e_secret, sizeof to.e2e_secret);
    sx_wr_init(&body, SX_BLOCK);
    sx_wr_raw(&body, cmd->send.body);
    assert_int_equal(body.len, 16043);
    assert_true(cmd->send.notify);
    must(sx_open_body(&to, body.p, body.len, &o));
    assert_false(o.outer.has_key || o.inner.has_key);
    vec_assert_eq(o.inner.envelope, tr_parts(&p.t, recorded_keys(p.side, &e)), "envelope");
    sx_wr_free(&body);
    p.ratchet_keys++;
}

static void check_synchronisation(const struct sx_cmd *cmd)
{
    struct first_delivery d;
    const cJSON *m;
    bool same = false;

    memset(&d, 0, sizeof d);
    must(run_on_loop(get_delivery, &d));
    if (d.type == SX_ROW_RATCHET_KEY)
        check_sent_keys(cmd, &d.q);
    if (d.type != SX_M_EREADY)
        return;
    vec_each(m, vec_get(p.t.json, "ratchet_messages"))
        same = same || (strcmp(vec_text(m, "sender"), p.side) == 0 &&
                        sx_bytes_eq(vec_hex(m, "plain"), sx_bytes(d.plain, d.len)));
    assert_true(same);
    p.ereadies++;
}

/* A request is not from a ratchet. */
static void push_request(const cJSON *transmission)
{
    struct sx_rsp msg = recorded_rsp(transmission);

    p.asked = true;
    peer_push(p.client, sx_bytes(NULL, 0), vec_hex(transmission, "entity_id"), &msg);
}

static simplex_rc get_queue(struct simplex_agent *a, void *arg)
{
    struct sx_rcv_queue *q = arg;
    struct sx_id id = q->rcv_id;

    for (unsigned n = 0;; n++) {
        TRY(sx_store_rcvq_of(a->store, p.conn, n, q));
        if (sx_bytes_eq(sx_id_bytes(&q->rcv_id), sx_id_bytes(&id)))
            return SIMPLEX_OK;
    }
}

/* The same ratchet message as the sender's noise repeats it: in a new envelope, under a new nonce,
 * with a new id of the server. */
static void push_again(simplex_bytes entity, simplex_bytes ratchet_message)
{
    static uint8_t box[SX_BLOCK], plain[SX_BLOCK], id[SX_NONCE_LEN];
    struct sx_rsp msg = { .tag = SX_R_MSG };
    struct sx_rcv_queue q = { .rcv_id = { .len = (uint8_t)entity.len } };
    struct sx_snd_queue sender = { .client_version = SX_CLIENT_MAX };
    struct sx_box_key key;
    struct sx_wr body, w;
    unsigned acks = p.got[4] + 1;
    int64_t until = sx_mono_ms() + WAIT_MS;

    memcpy(q.rcv_id.b, entity.ptr, entity.len);
    must(run_on_loop(get_queue, &q));
    assert_true(q.has_e2e_secret && q.has_srv_secret);
    memcpy(sender.e2e_secret, q.e2e_secret, sizeof sender.e2e_secret);
    must(sx_seal_again(&sender, ratchet_message, &body));
    sx_wr_fixed(&w, plain, sizeof plain);
    sx_rcv_msg_encode(&w, &(struct sx_rcv_msg){ .ts_s = 1, .body = sx_wr_bytes(&body) });
    sx_random(id, sizeof id);
    sx_box_key_init(&key, q.srv_secret);
    must(sx_box_seal_padded(&key, id, sx_wr_bytes(&w), SX_MSG_PADDED, box));
    sx_wr_free(&body);
    msg.msg.msg_id = sx_bytes(id, sizeof id);
    msg.msg.body = sx_bytes(box, SX_MSG_PADDED + SX_BOX_TAG);
    peer_push(p.client, sx_bytes(NULL, 0), entity, &msg);
    p.repeated++;
    p.want[4]++;
    while (p.got[4] < acks && sx_mono_ms() < until)
        pump();
    if (p.got[4] < acks)
        fail_msg("%s: the repeat of message %u was not acknowledged", p.side, p.messages);
}

static void push(const cJSON *transmission)
{
    if (side_is("O") && !p.asked) {
        push_request(transmission);
        return;
    }
    if (side_is("AB") && p.messages > 0 && pushes_keys()) {
        push_keys(transmission);
        return;
    }
    const cJSON *op = next_decrypt(), *m;
    simplex_bytes entity = vec_hex(transmission, "entity_id");
    struct sx_rsp msg = recorded_rsp(transmission);
    struct known k = { .yes = false };
    simplex_bytes text = { 0 };
    int64_t until = sx_mono_ms() + WAIT_MS;

    if (!(p.messages == 0 && side_is("IRA"))) { /* its first: from the keys of the link */
        struct sx_ratchet before;
        load(p.ratchet, &before);
        must(run_on_loop(put_ratchet, &before));
    }
    vec_each(m, vec_get(p.t.json, "ratchet_messages"))
        if (strcmp(vec_text(m, "id"), vec_text(op, "ratchet_message")) == 0)
            sx_sha256(text = tr_ratchet_message(&p.t, m), k.hash);
    peer_push(p.client, sx_bytes(NULL, 0), entity, &msg);
    if (vec_opt(op, "error") != NULL) { /* RSYNC is next */
        p.op = op->next;
        p.messages++;
        return;
    }
    while (!k.yes && sx_mono_ms() < until) {
        pump();
        must(run_on_loop(is_known, &k));
    }
    if (!k.yes)
        fail_msg("%s: message %u was not accepted", p.side, p.messages);
    if (p.twice && p.messages > 0) /* the first is a confirmation */
        push_again(entity, text);
    merge(p.ratchet, vec_opt(op, "changed"));
    p.op = op->next;
    p.messages++;
}

/* ---- what the application did and saw ---- */

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

static simplex_bytes last_word(const char *text)
{
    return vec_unhex(strrchr(text, ' ') + 1);
}

/* The third word. */
static int64_t message_id(const char *text)
{
    long long id;

    assert_int_equal(sscanf(text, "%*s %*s %lld", &id), 1);
    return id;
}

/* The address of our reply queue is not the recorded one, and so is the hash of the confirmation
 * that told it: receipts fit when the chain goes on from the recorded one. */
static simplex_rc continue_recorded_chain(struct simplex_agent *a, void *arg)
{
    const cJSON *m;
    struct sx_conn c;

    (void)arg;
    TRY(sx_store_conn_get(a->store, p.conn, &c));
    vec_each(m, vec_get(p.t.json, "ratchet_messages")) {
        if (strcmp(vec_text(m, "sender"), p.side) != 0)
            continue;
        sx_sha256(vec_hex(m, "plain"), c.last_snd_hash);
        break;
    }
    return sx_store_conn_update(a->store, &c);
}

static void do_command(const char *text)
{
    if (has(text, "new ")) {
        struct begin b = recorded_begin(sx_bytes(NULL, 0));
        must(run_on_loop(create_recorded, &b));
    } else if (has(text, "join ")) {
        struct begin b = recorded_begin(last_word(text));
        must(run_on_loop(join_recorded, &b));
    } else if (strcmp(text, "address") == 0) {
        struct begin b = recorded_begin(sx_bytes(NULL, 0));
        must(run_on_loop(create_recorded_address, &b));
    } else if (has(text, "accept ")) {
        struct begin b = recorded_begin(last_word(text));
        struct sx_link l;
        memset(&l, 0, sizeof l);
        must(sx_link_parse(recorded_request().link, &l));
        b.link = link_to(&b.server, &l);
        sx_link_free(&l);
        must(run_on_loop(accept_recorded, &b));
    } else if (has(text, "allow ")) {
        struct allow x = { .info = last_word(text) };
        peer_server(&p.peer, "127.0.0.1", &x.server);
        must(run_on_loop(allow_recorded, &x));
    } else if (has(text, "send ")) {
        uint32_t flags = p.pq ? SIMPLEX_SEND_PQ_ON : 0;
        if (p.sent == 0 && strcmp(p.side, "J") == 0 && p.pq)
            must(run_on_loop(continue_recorded_chain, NULL));
        must(simplex_agent_send(p.a, p.conn, last_word(text), flags, &p.sent));
    } else if (has(text, "ack ")) {
        if (has(text, " rcpt"))
            must(simplex_agent_ack_receipt(p.a, p.conn, message_id(text), (simplex_bytes){ 0 }));
        else
            must(simplex_agent_ack(p.a, p.conn, message_id(text)));
    } else if (has(text, "sync ")) {
        use_recorded_keys();
        must(simplex_agent_sync_ratchet(p.a, p.conn, false));
    } else if (has(text, "sub ")) {
        return; /* it does so by itself */
    } else {
        assert_string_equal(text, "quit");
    }
}

static void check_invitation(const simplex_event *ev)
{
    struct sx_link want;

    parse_recorded_link(&want);
    assert_same_link(simplex_event_data(ev), &want);
    sx_link_free(&want);
}

/* The copy of B ends with number 2, and the first that comes in the new ratchet is EREADY, number 7:
 * what is missing before it the reference does not tell. */
static void check_integrity(const simplex_event *ev, bool behind_eready)
{
    int64_t first, last;
    int32_t integrity = simplex_event_integrity(ev, &first, &last);

    assert_int_equal(integrity, behind_eready ? SIMPLEX_MSG_SKIPPED : SIMPLEX_MSG_OK);
    assert_true(!behind_eready || (first == 3 && last == 6));
}

static void check_message(const simplex_event *ev, const char *text)
{
    long long id, snd;

    assert_int_equal(sscanf(text, "MSG %*s %lld snd=%lld integrity=OK", &id, &snd), 2);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_sender_id(ev), snd);
    check_integrity(ev, strcmp(p.side, "B") == 0 && snd == 8);
    assert_int_equal(simplex_event_notify(ev), has(text, "ntf=on"));
    assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
    vec_assert_eq(simplex_event_data(ev), last_word(text), "body");
}

static void check_receipt(const simplex_event *ev, const char *text)
{
    long long own;

    assert_int_equal(sscanf(strrchr(text, ' '), " %lld:MROk", &own), 1);
    assert_int_equal(simplex_event_msg_id(ev), own);
    assert_int_equal(simplex_event_receipt(ev), SIMPLEX_RECEIPT_OK);
}

/* Made of the recorded keys by our own key agreement; the reference shows the hash of its own. */
static void check_security_code(void)
{
    const cJSON *m = vec_get(p.t.json, "ratchet_messages")->child;
    uint8_t code[32], want[32];

    sx_sha256(vec_hex(m, "ad"), want);
    must(simplex_agent_security_code(p.a, p.conn, code, NULL));
    assert_memory_equal(code, want, sizeof want);
}

static void check_rsync(const simplex_event *ev, const char *text)
{
    bool header = has(text, " required RATCHET_HEADER");
    int32_t state = has(text, " agreed -") ? SIMPLEX_SYNC_AGREED
                                           : header ? SIMPLEX_SYNC_REQUIRED : SIMPLEX_SYNC_OK;

    assert_true(state != SIMPLEX_SYNC_OK || has(text, " ok -"));
    assert_int_equal(simplex_event_sync_state(ev), state);
    assert_int_equal(simplex_event_error(ev), header ? SIMPLEX_E_RATCHET_HEADER : SIMPLEX_OK);
    if (state == SIMPLEX_SYNC_AGREED)
        check_agreement();
}

static void check_event(const char *text)
{
    static const struct {
        const char *name;
        int32_t kind;
    } shown[] = {
        { "INV ", SIMPLEX_EV_INV },   { "CONF ", SIMPLEX_EV_CONF },
        { "INFO ", SIMPLEX_EV_INFO }, { "CON ", SIMPLEX_EV_CON },
        { "MSG ", SIMPLEX_EV_MSG },   { "SENT ", SIMPLEX_EV_SENT },
        { "JOINED ", SIMPLEX_EV_JOINED }, { "ADDR ", SIMPLEX_EV_INV },
        { "REQ ", SIMPLEX_EV_REQ },   { "ACCEPTED ", SIMPLEX_EV_JOINED },
        { "RSYNC ", SIMPLEX_EV_RSYNC }, { "RCVD ", SIMPLEX_EV_RCVD },
    };
    simplex_event *ev = NULL;

    for (size_t n = 0; n < SX_COUNT(shown) && ev == NULL; n++) {
        if (strncmp(text, shown[n].name, strlen(shown[n].name)) == 0)
            ev = event(shown[n].kind);
    }
    if (strncmp(text, "QUEUED ", 7) == 0)
        assert_int_equal(p.sent, message_id(text));
    if (ev == NULL)
        return; /* answers to commands */
    assert_int_equal(simplex_event_conn(ev), p.conn);
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        check_invitation(ev);
        break;
    case SIMPLEX_EV_CONF:
        p.conf = simplex_event_conf(ev);
        check_security_code();
        vec_assert_eq(simplex_event_data(ev), last_word(text), "CONF");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_REQ:
        p.conf = simplex_event_request(ev);
        vec_assert_eq(simplex_event_data(ev), last_word(text), "REQ");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on") && sx_kem_available());
        break;
    case SIMPLEX_EV_INFO:
        vec_assert_eq(simplex_event_data(ev), last_word(text), "INFO");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_CON:
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_MSG:
        check_message(ev, text);
        break;
    case SIMPLEX_EV_RCVD:
        check_receipt(ev, text);
        break;
    case SIMPLEX_EV_SENT:
        assert_int_equal(simplex_event_msg_id(ev), message_id(text));
        break;
    case SIMPLEX_EV_RSYNC:
        check_rsync(ev, text);
        break;
    default:
        break;
    }
    simplex_event_free(ev);
}

/* By itself: nothing more is done for it. */
static void expect_command(int n)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    p.want[n]++;
    while (p.got[n] < p.want[n] && sx_mono_ms() < until)
        pump();
    if (p.got[n] < p.want[n])
        fail_msg("%s: no %s", p.side, sx_cmd_name(counted[n]));
}

/* ---- a run ---- */

static void agent_start(void)
{
    char path[300];
    const char *servers[] = { p.address };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .servers = servers,
                                 .n_servers = 1,
                                 .retry_first = 50 };

    (void)snprintf(path, sizeof path, "%s/agent.db", p.dir);
    must(simplex_agent_open(&cfg, &p.a));
}

static void copy_database(const char *from, const char *to)
{
    static uint8_t bytes[4 << 20];
    char path[300];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", p.dir, from);
    f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    assert_true(n < sizeof bytes && fclose(f) == 0);
    (void)snprintf(path, sizeof path, "%s/%s", p.dir, to);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* B's program ended and began again: the first time its database is copied, the second time it is
 * exchanged for the copy. */
static void restart(int64_t t_ms)
{
    char age[300];

    if (p.starts++ == 0)
        return;
    while (p.n_held > 0)
        simplex_event_free(p.held[--p.n_held]);
    must(simplex_agent_close(p.a));
    if (p.starts == 2) {
        for (; vec_int(p.op, "t_ms") < t_ms; p.op = p.op->next)
            merge(p.ratchet, vec_opt(p.op, "changed"));
        p.copied = cJSON_Duplicate(p.ratchet, 1);
        copy_database("agent.db", "copy.db");
    } else {
        copy_database("copy.db", "agent.db");
        (void)snprintf(age, sizeof age, "%s/agent.db-age", p.dir);
        assert_int_equal(unlink(age), 0); /* the reference does not know before it reads */
        while (vec_int(p.op, "t_ms") < t_ms)
            p.op = p.op->next;
        cJSON_Delete(p.ratchet);
        p.ratchet = p.copied;
    }
    agent_start();
}

static void finish(void)
{
    for (int n = 0; n < 30; n++) /* more than that would be wrong as well */
        pump();
    for (int n = 0; n < TAGS; n++) {
        if (p.got[n] != p.want[n])
            fail_msg("%s: %u times %s instead of %u", p.side, p.got[n], sx_cmd_name(counted[n]),
                     p.want[n]);
    }
    while (p.n_held > 0)
        simplex_event_free(p.held[--p.n_held]);
    must(simplex_agent_close(p.a));
    tmp_remove(p.dir);
    peer_stop(&p.peer);
    (void)uv_run(&p.loop, UV_RUN_DEFAULT);
    peer_free(&p.peer);
    assert_int_equal(uv_loop_close(&p.loop), 0);
    cJSON_Delete(p.ratchet);
    tr_close(&p.t);
}

static void play_it(const char *file, const char *side, unsigned messages, unsigned events,
                    bool twice)
{
    memset(&p, 0, sizeof p);
    p.side = side;
    p.twice = twice;
    tr_open(&p.t, file);
    load_story();
    p.pq = sx_kem_available() && p.version >= 9 && side_is("IJ");
    server_open();
    tmp_make(p.dir);
    agent_start();
    for (size_t n = 0; n < p.n_items; n++) {
        const struct item *x = &p.items[n];
        if (x->push != NULL)
            push(x->push);
        else if (x->command >= 0)
            expect_command(x->command);
        else if (strcmp(vec_text(x->api, "dir"), "command") == 0)
            do_command(vec_text(x->api, "text"));
        else if (strncmp(vec_text(x->api, "text"), "READY", 5) == 0)
            restart(x->t_ms);
        else
            check_event(vec_text(x->api, "text"));
    }
    assert_int_equal(p.messages, messages);
    assert_int_equal(p.events, events);
    assert_int_equal(p.asked, side_is("OR"));
    finish();
}

static void play(const char *file, const char *side, unsigned messages, unsigned events)
{
    play_it(file, side, messages, events, false);
}

static void plays_the_initiator_of_the_fast_handshake(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    play("transcript-agents.json", "I", 5, 10);
}

static void plays_the_joiner_of_the_fast_handshake(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    play("transcript-agents.json", "J", 5, 10);
}

static void plays_the_initiator_of_the_standard_handshake(void **state)
{
    (void)state;
    play("transcript-agents-standard.json", "I", 3, 5);
}

static void plays_the_joiner_of_the_standard_handshake(void **state)
{
    (void)state;
    play("transcript-agents-standard.json", "J", 3, 5);
}

static void plays_the_owner_of_a_contact_address(void **state)
{
    (void)state;
    play("transcript-contact.json", "O", 2, 7);
}

static void plays_the_requester_at_a_contact_address(void **state)
{
    (void)state;
    play("transcript-contact.json", "R", 2, 5);
}

static void plays_the_peer_of_an_old_copy(void **state)
{
    (void)state;
    play("transcript-resync.json", "A", 6, 14);
    assert_true(p.ratchet_keys == 1 && p.ereadies == 1);
}

static void plays_the_restored_copy(void **state)
{
    (void)state;
    play("transcript-resync.json", "B", 7, 14);
    assert_true(p.ratchet_keys == 1 && p.ereadies == 1);
}

/* Nothing changes but the number of ACKs: no event, no number, no receipt, no other state. */
static void every_message_of_the_reference_may_come_twice(void **state)
{
    static const struct {
        const char *file, *side;
        unsigned messages, events, repeated;
    } all[] = {
        { "transcript-agents-standard.json", "I", 3, 5, 2 },
        { "transcript-agents-standard.json", "J", 3, 5, 2 },
        { "transcript-contact.json", "O", 2, 7, 1 },
        { "transcript-contact.json", "R", 2, 5, 1 },
        { "transcript-resync.json", "A", 6, 14, 5 },
        { "transcript-resync.json", "B", 7, 14, 5 },
    };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(all); n++) {
        play_it(all[n].file, all[n].side, all[n].messages, all[n].events, true);
        assert_int_equal(p.repeated, all[n].repeated);
    }
    if (sx_kem_available()) {
        play_it("transcript-agents.json", "I", 5, 10, true);
        play_it("transcript-agents.json", "J", 5, 10, true);
        assert_int_equal(p.repeated, 4);
    }
}

static int set_up(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    vec_free_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(plays_the_initiator_of_the_fast_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_joiner_of_the_fast_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_initiator_of_the_standard_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_joiner_of_the_standard_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_peer_of_an_old_copy, tear_down),
        cmocka_unit_test_teardown(plays_the_restored_copy, tear_down),
        cmocka_unit_test_teardown(plays_the_owner_of_a_contact_address, tear_down),
        cmocka_unit_test_teardown(plays_the_requester_at_a_contact_address, tear_down),
        cmocka_unit_test_teardown(every_message_of_the_reference_may_come_twice, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
