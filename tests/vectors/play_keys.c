/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/address.h"
#include "agent/envelope.h"
#include "agent/handshake.h"
#include "agent/resync.h"
#include "agent/work.h"
#include "play.h"

#include <stdio.h>
#include <unistd.h>

#include "ratchet_fields.h"

/* ---- the recorded keys ---- */

static void shown_link(const char *side, const char *event, struct sx_link *l)
{
    const cJSON *x;

    memset(l, 0, sizeof *l);
    vec_each(x, vec_get(vec_get(p.t.json, "api"), side)) if (strncmp(vec_text(x, "text"), event,
                                                                     strlen(event)) == 0)
        must(sx_link_parse(sx_str(strstr(vec_text(x, "text"), "simplex:")), l));
    assert_int_equal(l->n_queues, 1);
}

struct sx_envelope recorded_request(void)
{
    struct sx_envelope e = { .tag = 0 };
    const cJSON *b;

    vec_each(b, vec_get(p.t.json, "bodies"))
    {
        if (vec_opt(b, "envelope_tag") != NULL && strcmp(vec_text(b, "envelope_tag"), "I") == 0)
            must(sx_envelope_decode(tr_parts(&p.t, vec_get(b, "agent_envelope")), &e));
    }
    assert_int_equal(e.tag, SX_ENV_INVITATION);
    return e;
}

void parse_recorded_link(struct sx_link *l)
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

void assert_same_link(simplex_bytes text, const struct sx_link *want)
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

void check_request(const struct sx_cmd *cmd)
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

simplex_bytes link_to(const struct sx_server *server, struct sx_link *l)
{
    struct sx_wr w;

    l->queues[0].server = *server;
    sx_wr_fixed(&w, vec_keep(SX_LINK_TEXT_MAX), SX_LINK_TEXT_MAX);
    sx_link_print(&w, l, "simplex:");
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

struct begin recorded_begin(simplex_bytes info)
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

/* ---- on the agent's thread: no assertions ---- */

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

simplex_rc create_recorded(struct simplex_agent *a, void *arg)
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

simplex_rc join_recorded(struct simplex_agent *a, void *arg)
{
    const struct begin *b = arg;

    TRY(sx_join(a, SX_USER_DEFAULT, b->link, b->info, p.pq ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF,
                &p.conn));
    return exchange_queue(a, b);
}

simplex_rc create_recorded_address(struct simplex_agent *a, void *arg)
{
    TRY(sx_create_address(a, SX_USER_DEFAULT, &p.conn));
    return exchange_queue(a, arg);
}

simplex_rc accept_recorded(struct simplex_agent *a, void *arg)
{
    struct begin *b = arg;
    struct sx_invitation i;

    TRY(sx_store_inv_get(a->store, p.conf, &i));
    i = (struct sx_invitation){ .conn_id = p.conn, .link = b->link, .info = sx_str("") };
    TRY(sx_store_inv_add(a->store, &i, sx_now_ms()));
    TRY(sx_accept(a, i.id, b->info, SIMPLEX_PQ_OFF, &p.conn));
    return exchange_queue(a, b);
}

simplex_rc allow_recorded(struct simplex_agent *a, void *arg)
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

    vec_each(b, vec_get(p.t.json, "bodies"))
    {
        if (vec_opt(b, "envelope_tag") == NULL || strcmp(vec_text(b, "envelope_tag"), "R") != 0)
            continue;
        must(sx_envelope_decode(tr_parts(&p.t, vec_get(b, "agent_envelope")), e));
        sx_wr_fixed(&w, vec_keep(128), 128);
        sx_spki_encode(&e->e2e.k1, &w);
        vec_each(key,
                 vec_get(p.t.json, "keys")) if (sx_bytes_eq(vec_hex(key, "pub"), sx_wr_bytes(&w)) &&
                                                strcmp(vec_text(key, "owner"), owner) ==
                                                    0) return vec_get(b, "agent_envelope");
    }
    fail_msg("%s sent no keys", owner);
    return NULL;
}

static simplex_rc put_fresh(struct simplex_agent *a, void *arg)
{
    a->fresh_keys = arg;
    return SIMPLEX_OK;
}

void use_recorded_keys(void)
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

void check_agreement(void)
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

void check_synchronisation(const struct sx_cmd *cmd)
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
    vec_each(m, vec_get(p.t.json, "ratchet_messages")) same =
        same || (strcmp(vec_text(m, "sender"), p.side) == 0 &&
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
    static uint8_t box[SX_BLOCK], plain[SX_BLOCK];
    struct sx_rsp msg = { .tag = SX_R_MSG };
    struct sx_rcv_queue q = { .rcv_id = { .len = (uint8_t)entity.len } };
    struct sx_snd_queue sender = { .client_version = SX_CLIENT_MAX };
    struct sx_box_key key;
    struct sx_wr body, w;
    int64_t until = sx_mono_ms() + WAIT_MS;

    memcpy(q.rcv_id.b, entity.ptr, entity.len);
    must(run_on_loop(get_queue, &q));
    assert_true(q.has_e2e_secret && q.has_srv_secret);
    memcpy(sender.e2e_secret, q.e2e_secret, sizeof sender.e2e_secret);
    must(sx_seal_again(&sender, ratchet_message, &body));
    sx_wr_fixed(&w, plain, sizeof plain);
    sx_rcv_msg_encode(&w, &(struct sx_rcv_msg){ .ts_s = 1, .body = sx_wr_bytes(&body) });
    sx_random(p.repeat_id, sizeof p.repeat_id);
    sx_box_key_init(&key, q.srv_secret);
    must(sx_box_seal_padded(&key, p.repeat_id, sx_wr_bytes(&w), SX_MSG_PADDED, box));
    sx_wr_free(&body);
    msg.msg.msg_id = sx_bytes(p.repeat_id, sizeof p.repeat_id);
    msg.msg.body = sx_bytes(box, SX_MSG_PADDED + SX_BOX_TAG);
    p.repeat_acked = false; /* the ACK of the message itself may be on its way */
    peer_push(p.client, sx_bytes(NULL, 0), entity, &msg);
    p.repeated++;
    p.want[4]++;
    while (!p.repeat_acked && sx_mono_ms() < until)
        pump();
    if (!p.repeat_acked)
        fail_msg("%s: the repeat of message %u was not acknowledged", p.side, p.messages);
}

void push(const cJSON *transmission)
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
    vec_each(
        m, vec_get(p.t.json, "ratchet_messages")) if (strcmp(vec_text(m, "id"),
                                                             vec_text(op, "ratchet_message")) == 0)
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
