/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of client/conn.c and client/tls_ctx.c: connections to servers in memory. Servers are
 * the real core (queues, commands, deliveries) without sockets. Sessions are made without a
 * handshake and blocks travel without padding and encryption; batches, transmissions and their
 * authorisation are real. Each block arrives after a while, in order within its connection.
 */
#include <stdlib.h>

#include "client/net_internal.h"
#include "hub.h"
#include "sim/sim.h"

#define MSG_BLOCK 16000 /* a block this long brings a message */

enum kind { K_OPEN, K_READY, K_REFUSED, K_UP, K_DOWN, K_CLIENT_GONE, K_SERVER_GONE };

struct sx_conn {
    struct sx_conn *next;
    struct sx_net *net;
    const struct sx_conn_ops *ops;
    void *owner;
    struct sim_node *node;
    unsigned server;
    unsigned packets; /* on the way */
    bool client_open, srv_open;
    bool ready, broken, deaf;
    int64_t up_at, down_at; /* when the last packet arrives there */
    struct sx_session session, srv_session;
    struct sx_peer peer;
    uint8_t *msg; /* the last block that brought a message */
    size_t msg_len;
};

struct packet {
    struct packet *next;
    struct sx_conn *conn;
    int64_t when;
    enum kind kind;
    size_t len;
    uint8_t bytes[];
};

static struct server {
    struct sx_srv *srv;
    struct sx_hub hub;
    struct sx_keypair key; /* of all sessions */
    char address[128];
    bool down;
} servers[SIM_SERVERS];

static unsigned n_servers;
static struct sx_conn *conns;
static struct packet *packets; /* by time */
struct sim_net_cfg sim_net_cfg;

/* ---- what is on the way ---- */

static void insert(struct packet *p)
{
    struct packet **at = &packets;

    while (*at != NULL && (*at)->when <= p->when)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
    p->conn->packets++;
}

static void post(struct sx_conn *c, enum kind kind, const uint8_t *bytes, size_t len)
{
    bool up = kind == K_OPEN || kind == K_UP || kind == K_CLIENT_GONE;
    int64_t *last = up ? &c->up_at : &c->down_at;
    struct packet *p = malloc(sizeof *p + len);

    SIM_CHECK(p != NULL);
    *p = (struct packet){ .conn = c, .kind = kind, .len = len };
    if (len > 0)
        memcpy(p->bytes, bytes, len);
    p->when = sim.now + 1 + sim_luck(sim_net_cfg.latency);
    if (p->when < *last)
        p->when = *last;
    *last = p->when;
    insert(p);
}

static void release(struct sx_conn *c)
{
    struct sx_conn **at = &conns;

    if (c->client_open || c->srv_open || c->packets > 0)
        return;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c->msg);
    free(c);
}

int64_t sim_net_due(void)
{
    return packets != NULL ? packets->when : INT64_MAX;
}

/* ---- the server's side ---- */

static int64_t srv_now(void *user)
{
    (void)user;
    return sx_now_ms();
}

static void keep_msg(struct sx_conn *c, const uint8_t *content, size_t len)
{
    if (len < MSG_BLOCK)
        return;
    free(c->msg);
    c->msg = malloc(len);
    SIM_CHECK(c->msg != NULL);
    memcpy(c->msg, content, len);
    c->msg_len = len;
}

/* What the server has to say leaves for its clients. */
static void pump(struct server *s)
{
    static uint8_t content[SX_BLOCK];
    struct sx_peer *p;
    size_t len;

    sx_hub_run(&s->hub);
    for (struct sx_conn *c = conns; c != NULL; c = c->next) {
        if (c->srv_open && &servers[c->server] == s)
            sx_peer_flush_ends(&c->peer);
    }
    while ((p = sx_hub_ready(&s->hub)) != NULL) {
        struct sx_conn *c = p->user;
        while ((len = sx_peer_next(p, content)) > 0) {
            keep_msg(c, content, len);
            post(c, K_DOWN, content, len);
        }
        SIM_CHECK(!p->failed);
    }
}

static void srv_close(struct sx_conn *c)
{
    if (!c->srv_open)
        return;
    c->srv_open = false;
    sx_peer_close(&c->peer);
    sx_session_wipe(&c->srv_session);
    pump(&servers[c->server]);
}

static void begin_session(struct sx_conn *c)
{
    const struct server *s = &servers[c->server];
    struct sx_session *own = &c->session, *peer = &c->srv_session;

    memset(own, 0, sizeof *own);
    own->state = SX_S_READY;
    own->version = c->net->cfg.max_version;
    if (sim_net_cfg.version != 0 && sim_net_cfg.version < own->version)
        own->version = sim_net_cfg.version;
    own->id_len = 32;
    sx_random(own->id, own->id_len);
    *peer = *own;
    peer->is_server = true;
    peer->own = s->key;
    own->peer_key = s->key.pub;
}

static void accept_conn(struct sx_conn *c)
{
    struct server *s = &servers[c->server];

    if (s->down || !c->client_open) {
        post(c, K_REFUSED, NULL, 0);
        return;
    }
    begin_session(c);
    c->srv_open = true;
    sx_peer_init(&c->peer, &s->hub, &c->srv_session, c);
    post(c, K_READY, NULL, 0);
}

/* ---- the client's side ---- */

struct arrival {
    struct sx_conn *c;
    const struct packet *p;
};

static void arrive(void *arg)
{
    const struct arrival *x = arg;
    struct sx_conn *c = x->c;

    if (!c->client_open)
        return;
    switch (x->p->kind) {
    case K_READY:
        c->ready = true;
        c->ops->ready(c->owner);
        break;
    case K_DOWN:
        c->ops->content(c->owner, sx_bytes(x->p->bytes, x->p->len));
        break;
    default:
        c->client_open = false;
        c->ops->lost(c->owner,
                     x->p->kind == K_REFUSED ? SIMPLEX_E_CONNECT : SIMPLEX_E_DISCONNECTED);
    }
}

static void arrive_in_turn(struct sim_node *n, void *arg)
{
    sim_turn(n, arrive, arg);
}

simplex_rc sx_conn_open(struct sx_net *net, const struct sx_server *server, int64_t user,
                        int64_t entity, const struct sx_conn_ops *ops, void *owner,
                        struct sx_conn **out)
{
    struct sx_conn *c = calloc(1, sizeof *c);

    (void)user;
    (void)entity;
    SIM_CHECK(c != NULL && server->key_hash[0] < n_servers);
    *c = (struct sx_conn){ .net = net,
                           .ops = ops,
                           .owner = owner,
                           .node = sim.at,
                           .server = server->key_hash[0],
                           .client_open = true,
                           .next = conns };
    conns = c;
    post(c, K_OPEN, NULL, 0);
    *out = c;
    return SIMPLEX_OK;
}

void sx_conn_close(struct sx_conn *c)
{
    c->client_open = false;
    post(c, K_CLIENT_GONE, NULL, 0);
}

const struct sx_session *sx_conn_session(const struct sx_conn *c)
{
    return &c->session;
}

simplex_bytes sx_conn_hello(const struct sx_conn *c)
{
    (void)c;
    return sx_bytes(NULL, 0);
}

bool sx_conn_congested(const struct sx_conn *c)
{
    (void)c;
    return false;
}

simplex_rc sx_conn_write(struct sx_conn *c, simplex_bytes content)
{
    sim_point();
    post(c, K_UP, content.ptr, content.len);
    sim_point();
    return SIMPLEX_OK;
}

simplex_rc sx_conn_push(struct sx_conn *c)
{
    (void)c;
    return SIMPLEX_OK;
}

simplex_rc sx_tls_ctx_client(struct sx_tls_ctx **out)
{
    *out = NULL;
    return SIMPLEX_OK;
}

simplex_rc sx_tls_ctx_present(struct sx_tls_ctx *ctx, simplex_bytes chain, simplex_bytes key)
{
    (void)ctx;
    (void)chain;
    (void)key;
    return SIMPLEX_OK;
}

void sx_tls_ctx_free(struct sx_tls_ctx *ctx)
{
    (void)ctx;
}

/* ---- telling what passes ---- */

static void tell_one(const struct sx_conn *c, bool up, const struct sx_transmission *t)
{
    const char *what = "?", *more = "";
    struct sx_cmd cmd;
    struct sx_rsp rsp;
    struct sx_smp_err why;
    unsigned id =
        t->entity_id.len > 1 ? (unsigned)t->entity_id.ptr[0] << 8 | t->entity_id.ptr[1] : 0u;

    if (up && sx_cmd_decode(t->command, c->session.version, &cmd, &why) == SIMPLEX_OK)
        what = sx_cmd_name(cmd.tag);
    if (!up && sx_rsp_decode(t->command, c->session.version, &rsp) == SIMPLEX_OK)
        what = sx_rsp_name(rsp.tag);
    if (!up && t->corr_id.len > 0)
        more = " (answer)";
    sim_trace("    %u %s s%u %s %04x%s", c->node->n, up ? "->" : "<-", c->server, what, id, more);
}

static void tell(const struct sx_conn *c, bool up, simplex_bytes content)
{
    struct sx_transmission t;
    struct sx_batch_rd rd;
    simplex_bytes in;

    if (!sim.trace_blocks || sx_batch_open(content, &rd) != SIMPLEX_OK)
        return;
    while (sx_batch_next(&rd, &in)) {
        if (sx_transmission_decode(in, c->session.version, &t) == SIMPLEX_OK)
            tell_one(c, up, &t);
    }
}

/* ---- arrival ---- */

/* What was on its way is lost; the two sides notice one after the other. */
static void break_conn(struct sx_conn *c)
{
    if (c->broken)
        return;
    c->broken = true;
    post(c, K_CLIENT_GONE, NULL, 0);
    post(c, K_SERVER_GONE, NULL, 0);
}

static bool breaks(void)
{
    return sim_net_cfg.break_percent > 0 && sim_luck(100) < sim_net_cfg.break_percent;
}

static void at_server(struct sx_conn *c, const struct packet *p)
{
    if (!c->srv_open || c->broken || c->deaf)
        return;
    tell(c, true, sx_bytes(p->bytes, p->len));
    if (breaks()) {
        break_conn(c); /* it never heard of this */
        return;
    }
    sx_peer_block(&c->peer, sx_bytes(p->bytes, p->len));
    pump(&servers[c->server]);
    if (breaks())
        break_conn(c); /* its answer is lost */
}

static void at_client(struct sx_conn *c, struct packet *p)
{
    struct arrival x = { c, p };

    if (c->client_open && p->kind == K_DOWN)
        tell(c, false, sx_bytes(p->bytes, p->len));
    if (c->client_open)
        (void)sim_app(c->node, arrive_in_turn, &x);
}

void sim_net_step(void)
{
    struct packet *p = packets;
    struct sx_conn *c = p->conn;

    packets = p->next;
    switch (p->kind) {
    case K_OPEN:
        accept_conn(c);
        break;
    case K_UP:
        at_server(c, p);
        break;
    case K_CLIENT_GONE:
        srv_close(c);
        break;
    case K_DOWN:
    case K_READY:
        if (!c->broken && !c->deaf)
            at_client(c, p);
        break;
    case K_REFUSED:
    case K_SERVER_GONE:
        at_client(c, p);
    }
    free(p);
    c->packets--;
    release(c);
}

/* ---- faults ---- */

void sim_net_forget(struct sim_node *n)
{
    for (struct sx_conn *c = conns; c != NULL; c = c->next) {
        if (c->node == n && c->client_open)
            sx_conn_close(c);
    }
}

static struct sx_conn *nth(const struct sim_node *n, unsigned i)
{
    for (struct sx_conn *c = conns; c != NULL; c = c->next) {
        if (c->node == n && c->client_open && !c->broken && i-- == 0)
            return c;
    }
    return NULL;
}

unsigned sim_conns(const struct sim_node *n)
{
    unsigned i = 0;

    while (nth(n, i) != NULL)
        i++;
    return i;
}

void sim_conn_break(const struct sim_node *n, unsigned i)
{
    break_conn(nth(n, i));
}

void sim_conn_deaf(const struct sim_node *n, unsigned i)
{
    nth(n, i)->deaf = true;
}

void sim_conn_repeat(const struct sim_node *n, unsigned i)
{
    struct sx_conn *c = nth(n, i);

    if (c->ready && c->msg != NULL)
        post(c, K_DOWN, c->msg, c->msg_len);
}

void sim_server_restart(unsigned s)
{
    for (struct sx_conn *c = conns; c != NULL; c = c->next) {
        if (c->server == s && c->client_open)
            break_conn(c);
    }
}

void sim_server_down(unsigned s, bool down)
{
    servers[s].down = down;
    if (down)
        sim_server_restart(s);
}

bool sim_server_is_down(unsigned s)
{
    return servers[s].down;
}

void sim_server_expire(unsigned s)
{
    sx_srv_expire(servers[s].srv);
    pump(&servers[s]);
}

void sim_net_heal(void)
{
    sim_net_cfg.break_percent = 0;
    for (unsigned s = 0; s < n_servers; s++)
        servers[s].down = false;
    for (struct sx_conn *c = conns; c != NULL; c = c->next) {
        if (c->deaf && c->client_open)
            break_conn(c);
    }
}

/* ---- life ---- */

const char *sim_server_address(unsigned s)
{
    return servers[s].address;
}

static void open_server(unsigned i)
{
    struct server *s = &servers[i];
    struct sx_srv_cfg cfg = { .new_queues = true,
                              .now = srv_now,
                              .store = { .quota = sim_net_cfg.quota } };
    struct sx_server address = { .n_hosts = 1, .hosts = { { .kind = SX_HOST_NAME } } };
    struct sx_wr w;

    s->down = false;
    SIM_CHECK(sx_srv_open(&cfg, &s->srv) == SIMPLEX_OK);
    SIM_CHECK(sx_hub_open(&s->hub, s->srv, NULL, NULL) == SIMPLEX_OK);
    SIM_CHECK(sx_keypair_new(SX_X25519, &s->key) == SIMPLEX_OK);
    memcpy(address.hosts[0].text, "s0.sim", sizeof "s0.sim");
    address.hosts[0].text[1] = (char)('0' + i);
    address.key_hash[0] = (uint8_t)i;
    sx_wr_fixed(&w, s->address, sizeof s->address);
    sx_server_print(&w, &address, sx_bytes(NULL, 0));
    sx_wr_u8(&w, 0);
    SIM_CHECK(!w.bad);
}

void sim_net_open(unsigned servers_wanted)
{
    n_servers = servers_wanted;
    for (unsigned i = 0; i < n_servers; i++)
        open_server(i);
}

static void drop_packets(void)
{
    while (packets != NULL) {
        struct packet *p = packets;
        packets = p->next;
        p->conn->packets--;
        free(p);
    }
}

/* All devices are closed. */
void sim_net_close(void)
{
    drop_packets();
    while (conns != NULL) {
        struct sx_conn *c = conns;
        c->client_open = false;
        srv_close(c);
        drop_packets(); /* what that made the server say */
        release(c);
    }
    for (unsigned i = 0; i < n_servers; i++) {
        sx_hub_close(&servers[i].hub);
        sx_srv_close(servers[i].srv);
    }
    n_servers = 0;
}
