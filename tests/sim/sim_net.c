/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of client/conn.c and client/tls_ctx.c: connections to servers in memory. Servers are
 * the real core (queues, commands, deliveries) without sockets, and the real proxies. Sessions are
 * made without a handshake, unless it is one of a service or a proxy, and blocks travel without
 * padding and encryption; batches, transmissions and their authorisation are real. Each block
 * arrives after a while, in order within its connection.
 */
#include <stdlib.h>

#include "client/net_internal.h"
#include "hub.h"
#include "proxy.h"
#include "sim/sim_cert.h"

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
    simplex_rc refused; /* why, when it is */
    uint8_t *hello;     /* the server's, for a proxy */
    size_t hello_len;
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
    struct sx_keypair key; /* of all sessions that are made without a handshake */
    struct sim_cert cert;
    struct sx_proxy *proxy; /* NULL: it is none */
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
    free(c->hello);
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

static uint16_t highest(const struct sx_conn *c)
{
    uint16_t max = c->net->cfg.max_version;

    return sim_net_cfg.version != 0 && sim_net_cfg.version < max ? sim_net_cfg.version : max;
}

static void begin_plain(struct sx_conn *c)
{
    const struct server *s = &servers[c->server];
    struct sx_session *own = &c->session, *peer = &c->srv_session;

    memset(own, 0, sizeof *own);
    own->state = SX_S_READY;
    own->version = highest(c);
    own->id_len = 32;
    sx_random(own->id, own->id_len);
    *peer = *own;
    peer->is_server = true;
    peer->own = s->key;
    own->peer_key = s->key.pub;
}

/* ---- handshakes ---- */

static bool accept_service(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    struct sx_conn *c = user;

    c->peer.service = sx_service_hello(servers[c->server].srv, h);
    if (c->peer.service != NULL)
        memcpy(id, c->peer.service->id, SX_ID_LEN);
    return c->peer.service != NULL;
}

static void keep_hello(struct sx_conn *c, const uint8_t block[SX_BLOCK])
{
    simplex_bytes hello;

    SIM_CHECK(sx_unpad(sx_bytes(block, SX_BLOCK), &hello) == SIMPLEX_OK);
    c->hello = malloc(hello.len);
    SIM_CHECK(c->hello != NULL);
    memcpy(c->hello, hello.ptr, hello.len);
    c->hello_len = hello.len;
}

/* The three messages, or two: what the client says to the last one. */
static simplex_rc talk(struct sx_conn *c, uint8_t block[SX_BLOCK])
{
    uint8_t reply[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;

    simplex_rc rc = sx_session_input(&c->session, block, reply, &has_reply, &content);
    if (rc != SIMPLEX_OK)
        return rc;
    SIM_CHECK(has_reply);
    rc = sx_session_input(&c->srv_session, reply, block, &has_reply, &content);
    if (!has_reply)
        return rc;
    return sx_session_input(&c->session, block, NULL, &has_reply, &content);
}

static simplex_rc shake_hands(struct sx_conn *c, const struct sx_service_cert *service)
{
    const struct server *s = &servers[c->server];
    uint8_t id[32], block[SX_BLOCK];
    struct sx_session_server_cfg there = { .max = sim_net_cfg.version,
                                           .session_id = sx_bytes(id, sizeof id),
                                           .key_hash = s->cert.fingerprint,
                                           .chain = &s->cert.chain,
                                           .leaf = &s->cert.leaf,
                                           .alpn = true,
                                           .peer_chain = service != NULL ? &service->chain : NULL,
                                           .accept = accept_service,
                                           .accept_user = c };
    struct sx_session_client_cfg here = { .min = c->net->cfg.min_version,
                                          .max = c->net->cfg.max_version,
                                          .session_id = sx_bytes(id, sizeof id),
                                          .key_hash = s->cert.fingerprint,
                                          .chain = &s->cert.chain,
                                          .alpn = true,
                                          .proxy = c->net->cfg.proxy,
                                          .service = service };

    sx_random(id, sizeof id);
    SIM_CHECK(sx_session_server(&c->srv_session, &there, block) == SIMPLEX_OK);
    SIM_CHECK(sx_session_client(&c->session, &here) == SIMPLEX_OK);
    if (c->net->cfg.proxy)
        keep_hello(c, block);
    return talk(c, block);
}

static simplex_rc begin_session(struct sx_conn *c)
{
    const struct sx_identity *i = c->ops->identity != NULL ? c->ops->identity(c->owner) : NULL;

    if (i != NULL || c->net->cfg.proxy)
        return shake_hands(c, i != NULL ? &i->cert : NULL);
    begin_plain(c);
    return SIMPLEX_OK;
}

static void accept_conn(struct sx_conn *c)
{
    struct server *s = &servers[c->server];

    c->refused = s->down || !c->client_open ? SIMPLEX_E_CONNECT : SIMPLEX_OK;
    if (c->refused == SIMPLEX_OK) {
        sx_peer_init(&c->peer, &s->hub, &c->srv_session, c);
        c->refused = begin_session(c);
        c->srv_open = true;
        if (c->refused != SIMPLEX_OK)
            srv_close(c);
    }
    post(c, c->refused == SIMPLEX_OK ? K_READY : K_REFUSED, NULL, 0);
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
        c->ops->lost(c->owner, x->p->kind == K_REFUSED ? c->refused : SIMPLEX_E_DISCONNECTED);
    }
}

static void arrive_in_turn(struct sim_node *n, void *arg)
{
    sim_turn(n, arrive, arg);
}

/* By its name: s0.sim, s1.sim ... */
static unsigned index_of(const struct sx_server *address)
{
    unsigned i = (unsigned)(address->hosts[0].text[1] - '0');

    SIM_CHECK(i < n_servers);
    return i;
}

simplex_rc sx_conn_open(struct sx_net *net, const struct sx_server *server, int64_t user,
                        int64_t entity, const struct sx_conn_ops *ops, void *owner,
                        struct sx_conn **out)
{
    struct sx_conn *c = calloc(1, sizeof *c);

    (void)user;
    (void)entity;
    SIM_CHECK(c != NULL);
    *c = (struct sx_conn){ .net = net,
                           .ops = ops,
                           .owner = owner,
                           .node = sim.at,
                           .server = index_of(server),
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
    return sx_bytes(c->hello, c->hello_len);
}

bool sx_conn_congested(const struct sx_conn *c)
{
    (void)c;
    return false;
}

/* Who hides from servers of contacts gives them no command. */
static void check_hidden(const struct sx_conn *c, simplex_bytes content)
{
    struct sx_transmission t;
    struct sx_smp_err why;
    struct sx_batch_rd rd;
    struct sx_cmd cmd;
    simplex_bytes in;

    SIM_CHECK(sx_batch_open(content, &rd) == SIMPLEX_OK);
    while (sx_batch_next(&rd, &in)) {
        if (sx_transmission_decode(in, c->session.version, &t) != SIMPLEX_OK ||
            sx_cmd_decode(t.command, c->session.version, &cmd, &why) != SIMPLEX_OK)
            continue;
        if (cmd.tag == SX_SEND || cmd.tag == SX_SKEY || cmd.tag == SX_LKEY || cmd.tag == SX_LGET)
            sim_fail("device %u gives %s to a server itself", c->node->n, sx_cmd_name(cmd.tag));
    }
}

simplex_rc sx_conn_write(struct sx_conn *c, simplex_bytes content)
{
    if (c->node->hides)
        check_hidden(c, content);
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
    if (!c->client_open)
        return;
    if (!sim_is_proxy(c->node)) {
        (void)sim_app(c->node, arrive_in_turn, &x);
        return;
    }
    unsigned s = (unsigned)(c->node - &sim.nodes[SIM_NODES]);
    sim_proxy(s, arrive_in_turn, &x);
    pump(&servers[s]); /* errands may be done */
}

static void turn_of_proxy(struct sim_node *n, void *arg)
{
    (void)arg;
    sim_turn(n, NULL, NULL);
}

void sim_proxy_step(unsigned server)
{
    sim_proxy(server, turn_of_proxy, NULL);
    pump(&servers[server]);
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
        if ((c->server == s || c->node == &sim.nodes[SIM_NODES + s]) && c->client_open)
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

bool sim_server_queue(const struct sx_server *address, simplex_bytes rcv_id,
                      struct sim_notifier *out)
{
    struct sx_queue *q = sx_qstore_find(servers[index_of(address)].srv->store, SX_BY_RCV, rcv_id);

    *out = (struct sim_notifier){ .has = q != NULL && q->ntf != NULL };
    if (out->has) {
        memcpy(out->id, q->ntf->node.id, sizeof out->id);
        memcpy(out->secret, q->ntf->secret, sizeof out->secret);
    }
    if (q != NULL)
        sx_queue_unref(q);
    return q != NULL;
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

static void start_proxy(struct sim_node *n, void *arg)
{
    struct server *s = arg;
    struct sx_proxy_cfg cfg = { .failed_ms = 60000 };

    (void)n;
    SIM_CHECK(sx_proxy_start(&cfg, &s->proxy) == SIMPLEX_OK);
    s->srv->relays = (struct sx_relays){ sx_proxy_submit, s->proxy };
}

static void stop_proxy(struct sim_node *n, void *arg)
{
    struct server *s = arg;

    (void)n;
    sx_proxy_stop(s->proxy);
}

static void free_proxy(struct sim_node *n, void *arg)
{
    struct server *s = arg;

    sx_proxy_free(s->proxy);
    s->proxy = NULL;
    if (n->blocks != NULL)
        sim_fail("a proxy left %zu blocks", sim_heap_used(n));
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
    sim_cert_make(&s->cert);
    memcpy(address.key_hash, s->cert.fingerprint, sizeof address.key_hash);
    sx_wr_fixed(&w, s->address, sizeof s->address);
    sx_server_print(&w, &address, sx_bytes(NULL, 0));
    sx_wr_u8(&w, 0);
    SIM_CHECK(!w.bad);
    sim.nodes[SIM_NODES + i] = (struct sim_node){ .n = SIM_NODES + i };
    if (sim_net_cfg.proxies)
        sim_proxy(i, start_proxy, s);
}

unsigned sim_servers(void)
{
    return n_servers;
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
    for (unsigned i = 0; i < n_servers; i++) {
        if (servers[i].proxy != NULL)
            sim_proxy(i, stop_proxy, &servers[i]);
    }
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
        if (servers[i].proxy != NULL)
            sim_proxy(i, free_proxy, &servers[i]);
    }
    n_servers = 0;
}
