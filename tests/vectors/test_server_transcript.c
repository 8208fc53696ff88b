/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded clients against our server: every block they sent is run by the command layer, and
 * every answer and event of the reference server is compared with ours, byte by byte.
 *
 * What the server draws at random (ids, its DH keys, message ids) is replaced by what was recorded
 * right after it was drawn, so that later commands, and the ciphertext of messages, fit. The
 * reference runs a block from the last command to the first; ours in order: see run_block.
 */
#include "support/server_mem.h"

#include "errand.h"
#include "forward.h"
#include "queue_store.h"
#include "relay.h"
#include "store_index.h"
#include "support/transcript.h"

#define SESSIONS_MAX 8
#define RECORDED_MAX 256

struct session {
    struct mem_client c;
    const char *id;
    struct mem_item *events, *events_last; /* made by ours, not compared yet */
};

struct recorded_msg { /* a MSG in the order of its queue */
    simplex_bytes rcv_id, msg_id, body;
    bool used;
};

struct replay {
    struct transcript tr;
    struct mem_server m;
    struct session session[SESSIONS_MAX];
    size_t n_sessions;
    struct recorded_msg msg[RECORDED_MAX];
    size_t n_msg;
    int answers, events; /* compared */
    const cJSON *block;  /* that runs now */
};

/* ---- reading ---- */

static bool is(const cJSON *obj, const char *key, const char *text)
{
    const cJSON *v = vec_opt(obj, key);

    return v != NULL && cJSON_IsString(v) && strcmp(v->valuestring, text) == 0;
}

static struct session *session_of(struct replay *r, const cJSON *block)
{
    for (size_t i = 0; i < r->n_sessions; i++)
        if (is(block, "session", r->session[i].id))
            return &r->session[i];
    fail_msg("a block of an unknown session");
    return NULL;
}

/* The hello of a service, whose session is opened as its handshake left it. */
static struct sx_client_hello service_hello(struct replay *r, const cJSON *session)
{
    struct sx_client_hello h = { .has_service = false };
    const cJSON *b;

    vec_each(b, vec_get(r->tr.json, "blocks"))
    {
        if (is(b, "session", vec_text(session, "session_id")) && is(b, "from", "client") &&
            vec_opt(b, "handshake") != NULL)
            assert_int_equal(sx_client_hello_decode(vec_hex(b, "handshake"), &h), SIMPLEX_OK);
    }
    assert_true(h.has_service);
    return h;
}

static void open_service(struct replay *r, const cJSON *json, struct session *to)
{
    struct sx_session_service *svc = &to->c.server.service;
    struct sx_client_hello h = service_hello(r, json);
    struct sx_service_rec rec = { .role = h.service_role, .chain = { .count = h.n_certs } };
    struct sx_pub leaf;

    assert_in_range(h.n_certs, 1, SX_CHAIN_MAX);
    for (size_t i = 0; i < h.n_certs; i++)
        rec.chain.cert[i] = h.certs[i];
    assert_int_equal(sx_chain_verify_service(&rec.chain, sx_now_ms() / 1000, rec.cert_hash),
                     SIMPLEX_OK);
    vec_assert_eq(sx_bytes(rec.cert_hash, 32), vec_hex(json, "service_cert_hash"), "certificate");
    assert_int_equal(sx_chain_leaf_key(&rec.chain, &leaf), SIMPLEX_OK);
    assert_int_equal(sx_signed_key_verify(h.signed_key, &leaf, &svc->key.pub), SIMPLEX_OK);
    memcpy(rec.id, vec_hex(json, "service_id").ptr, SX_ID_LEN);
    to->c.peer.service = sx_service_find(r->m.srv->store, sx_bytes(rec.id, SX_ID_LEN));
    if (to->c.peer.service == NULL) {
        assert_int_equal(sx_service_load(r->m.srv->store, &rec), SIMPLEX_OK);
        to->c.peer.service = sx_service_find(r->m.srv->store, sx_bytes(rec.id, SX_ID_LEN));
    }
    svc->role = rec.role;
    memcpy(svc->id, rec.id, sizeof(svc->id));
    memcpy(svc->cert_hash, rec.cert_hash, sizeof(svc->cert_hash));
}

static void open_sessions(struct replay *r)
{
    const cJSON *s;

    vec_each(s, vec_get(r->tr.json, "sessions"))
    {
        assert_true(r->n_sessions < SESSIONS_MAX);
        struct session *to = &r->session[r->n_sessions++];
        simplex_bytes id = vec_hex(s, "session_id"), priv = vec_hex(s, "server_priv");
        struct sx_priv key = { .alg = SX_X25519 };
        to->id = vec_text(s, "session_id");
        to->c.m = &r->m;
        to->c.server.state = SX_S_READY;
        to->c.server.version = (uint16_t)vec_int(s, "version");
        to->c.server.min = SX_SMP_MIN;
        to->c.server.max = SX_SMP_MAX;
        if (vec_opt(s, "secret") != NULL) {
            simplex_bytes secret = vec_hex(s, "secret");
            assert_int_equal(secret.len, 32);
            sx_box_key_init(&to->c.server.shared, secret.ptr);
            to->c.server.has_shared = true;
        }
        to->c.server.id_len = (uint8_t)id.len;
        memcpy(to->c.server.id, id.ptr, id.len);
        assert_int_equal(priv.len, 32);
        memcpy(key.b, priv.ptr, 32);
        assert_int_equal(sx_keypair_from_priv(&key, &to->c.server.own), SIMPLEX_OK);
        sx_peer_init(&to->c.peer, &r->m.hub[r->n_sessions % 2], &to->c.server, &to->c);
        if (vec_opt(s, "service_role") != NULL)
            open_service(r, s, to);
    }
}

static bool response(struct replay *r, const cJSON *json, uint16_t version,
                     struct sx_transmission *t, struct sx_rsp *rsp)
{
    *t = tr_transmission(&r->tr, json);
    return sx_rsp_decode(t->command, version, rsp) == SIMPLEX_OK;
}

static void find_messages(struct replay *r)
{
    const cJSON *b, *json;
    struct sx_transmission t;
    struct sx_rsp rsp;

    vec_each(b, vec_get(r->tr.json, "blocks"))
    {
        if (!is(b, "from", "server") || vec_opt(b, "transmissions") == NULL)
            continue;
        vec_each(json, vec_get(b, "transmissions"))
        {
            assert_true(response(r, json, session_of(r, b)->c.server.version, &t, &rsp));
            bool known = false;
            for (size_t i = 0; i < r->n_msg && rsp.tag == SX_R_MSG; i++)
                known |= sx_bytes_eq(r->msg[i].msg_id, rsp.msg.msg_id);
            if (rsp.tag != SX_R_MSG || known)
                continue;
            assert_true(r->n_msg < RECORDED_MAX);
            r->msg[r->n_msg++] = (struct recorded_msg){ .rcv_id = t.entity_id,
                                                        .msg_id = rsp.msg.msg_id,
                                                        .body = rsp.msg.body };
        }
    }
}

/* The recorded answer to a command. */
static const cJSON *answer_to(const cJSON *block, simplex_bytes corr_id)
{
    const cJSON *json;

    for (const cJSON *b = block->next; b != NULL; b = b->next) {
        if (!is(b, "from", "server") || vec_opt(b, "transmissions") == NULL ||
            !is(b, "session", vec_text(block, "session")))
            continue;
        vec_each(json, vec_get(b, "transmissions")) if (sx_bytes_eq(vec_hex(json, "corr_id"),
                                                                    corr_id)) return json;
    }
    fail_msg("a command without an answer");
    return NULL;
}

/* ---- replacing what was random ---- */

static void rename_node(struct replay *r, enum sx_id_kind kind, struct sx_node *n, simplex_bytes id)
{
    sx_index_remove(r->m.srv->store, kind, n);
    memcpy(n->id, id.ptr, SX_ID_LEN);
    assert_int_equal(sx_index_add(r->m.srv->store, kind, n), SX_INDEX_ADDED);
}

static void set_secret(struct replay *r, uint8_t secret[32], const struct sx_pub *server,
                       const struct sx_pub *client)
{
    uint8_t spki[SX_SPKI_MAX], dh[SX_DH_MAX];
    struct sx_wr w;

    sx_wr_fixed(&w, spki, sizeof(spki));
    sx_spki_encode(server, &w);
    const struct sx_keypair *k = tr_key(&r->tr, sx_wr_bytes(&w));
    assert_non_null(k);
    assert_int_equal(sx_dh(&k->priv, client, dh), SIMPLEX_OK);
    memcpy(secret, dh, 32);
}

static void adopt_ids(struct replay *r, const struct sx_cmd *cmd, const struct sx_rsp *ours,
                      const struct sx_rsp *theirs)
{
    struct sx_queue *q = sx_qstore_find(r->m.srv->store, SX_BY_RCV, ours->ids.rcv_id);

    assert_non_null(q);
    assert_int_equal(ours->ids.mode, theirs->ids.mode);
    assert_int_equal(ours->ids.has_link_id, theirs->ids.has_link_id);
    assert_int_equal(ours->ids.has_ntf, theirs->ids.has_ntf);
    rename_node(r, SX_BY_RCV, &q->rcv, theirs->ids.rcv_id);
    if (cmd->new_.has_link)
        vec_assert_eq(ours->ids.snd_id, theirs->ids.snd_id, "sender id of the client");
    rename_node(r, SX_BY_SND, &q->snd, theirs->ids.snd_id);
    set_secret(r, q->secret, &theirs->ids.srv_dh, &cmd->new_.dh);
    if (ours->ids.has_link_id)
        rename_node(r, SX_BY_LINK, &q->link->node, theirs->ids.link_id);
    if (ours->ids.has_ntf) {
        rename_node(r, SX_BY_NTF, &q->ntf->node, theirs->ids.ntf_id);
        set_secret(r, q->ntf->secret, &theirs->ids.ntf_srv_dh, &cmd->new_.ntf_dh);
    }
    sx_queue_unref(q);
}

static void adopt_notifier(struct replay *r, const struct sx_cmd *cmd, const struct sx_rsp *ours,
                           const struct sx_rsp *theirs)
{
    struct sx_queue *q = sx_qstore_find(r->m.srv->store, SX_BY_NTF, ours->nid.ntf_id);

    assert_non_null(q);
    rename_node(r, SX_BY_NTF, &q->ntf->node, theirs->nid.ntf_id);
    set_secret(r, q->ntf->secret, &theirs->nid.srv_dh, &cmd->nkey.dh);
    sx_queue_unref(q);
}

/* A message was stored: it gets the id and the time of the next one recorded for its queue. */
static void adopt_message(struct replay *r, simplex_bytes snd_id)
{
    struct sx_queue *q = sx_qstore_find(r->m.srv->store, SX_BY_SND, snd_id);
    static uint8_t body[SX_MSG_BODY];
    struct sx_box_key key;
    struct sx_rcv_msg msg;
    simplex_bytes plain;

    assert_non_null(q);
    assert_non_null(q->tail);
    for (size_t i = 0; i < r->n_msg; i++) {
        struct recorded_msg *m = &r->msg[i];
        if (m->used || !sx_bytes_eq(m->rcv_id, sx_bytes(q->rcv.id, 24)))
            continue;
        m->used = true;
        sx_box_key_init(&key, q->secret);
        assert_int_equal(m->body.len, sizeof(body));
        memcpy(body, m->body.ptr, sizeof(body));
        assert_int_equal(sx_box_open_padded(&key, m->msg_id.ptr, body, sizeof(body), &plain),
                         SIMPLEX_OK);
        assert_int_equal(sx_rcv_msg_decode(plain, &msg), SIMPLEX_OK);
        memcpy(q->tail->id, m->msg_id.ptr, SX_ID_LEN);
        q->tail->ts_ms = msg.ts_s * 1000;
        if (q->sub != NULL && q->sub->pushed)
            memcpy(q->sub->delivered, q->tail->id, SX_ID_LEN);
        break;
    }
    sx_queue_unref(q);
}

/* The relay's command was SEND, answered OK, inside. */
static void adopt_forwarded(struct replay *r, const struct sx_session *s,
                            const struct sx_transmission *t, simplex_bytes box)
{
    struct sx_forwarded f;
    struct sx_batch_rd rd;
    simplex_bytes in;
    struct sx_transmission inner;

    struct sx_smp_err e = sx_forward_open(s, t->corr_id, box, vec_keep(box.len), &f);
    assert_int_equal(e.err, SX_ERR_NONE);
    assert_int_equal(sx_batch_open(f.content, &rd), SIMPLEX_OK);
    assert_true(sx_batch_next(&rd, &in));
    assert_int_equal(sx_transmission_decode(in, f.version, &inner), SIMPLEX_OK);
    if (inner.command.len > 5 && memcmp(inner.command.ptr, "SEND ", 5) == 0)
        adopt_message(r, inner.entity_id);
}

/* ---- comparing ---- */

static void assert_same_info(simplex_bytes ours, simplex_bytes theirs)
{
    static const char *const keys[] = { "qiSnd", "qiNtf", "qiSize" };
    cJSON *a = cJSON_ParseWithLength((const char *)ours.ptr, ours.len);
    cJSON *b = cJSON_ParseWithLength((const char *)theirs.ptr, theirs.len);

    assert_non_null(a);
    assert_non_null(b);
    for (size_t i = 0; i < SX_COUNT(keys); i++)
        assert_true(cJSON_Compare(vec_get(a, keys[i]), vec_get(b, keys[i]), true));
    const cJSON *msg = vec_opt(b, "qiMsg");
    if (msg != NULL) {
        assert_string_equal(vec_text(vec_get(a, "qiMsg"), "msgId"), vec_text(msg, "msgId"));
        assert_string_equal(vec_text(vec_get(a, "qiMsg"), "msgType"), vec_text(msg, "msgType"));
    }
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static void compare(struct replay *r, const struct mem_item *ours, const struct sx_transmission *t,
                    const struct sx_rsp *theirs, const struct sx_cmd *cmd)
{
    mem_assert_tag(&ours->rsp, theirs->tag);
    vec_assert_eq(ours->t.entity_id, t->entity_id, "entity");
    switch (theirs->tag) {
    case SX_R_IDS:
        adopt_ids(r, cmd, &ours->rsp, theirs);
        break;
    case SX_R_NID:
        adopt_notifier(r, cmd, &ours->rsp, theirs);
        break;
    case SX_R_INFO:
        assert_same_info(ours->rsp.info.json, theirs->info.json);
        break;
    case SX_R_NMSG: /* its nonce is random */
        assert_int_equal(ours->rsp.nmsg.meta.len, theirs->nmsg.meta.len);
        break;
    default:
        vec_assert_eq(ours->t.command, t->command, "answer");
    }
}

static void keep_events(struct session *s)
{
    const struct mem_item *i;

    while ((i = mem_next(&s->c)) != NULL) {
        struct mem_item *e = vec_keep(sizeof(*e));
        assert_int_equal(i->t.corr_id.len, 0);
        *e = *i;
        e->next = NULL;
        if (s->events_last == NULL)
            s->events = e;
        else
            s->events_last->next = e;
        s->events_last = e;
    }
}

static struct mem_item *take_event(struct session *s, enum sx_rsp_tag tag, simplex_bytes entity)
{
    struct mem_item *before = NULL;

    for (struct mem_item *e = s->events; e != NULL; before = e, e = e->next) {
        if (e->rsp.tag != tag || !sx_bytes_eq(e->t.entity_id, entity))
            continue;
        if (before == NULL)
            s->events = e->next;
        else
            before->next = e->next;
        if (s->events_last == e)
            s->events_last = before;
        return e;
    }
    return NULL;
}

static void compare_events(struct replay *r, const cJSON *block)
{
    struct session *s = session_of(r, block);
    struct sx_transmission t;
    struct sx_rsp rsp;
    const cJSON *json;

    vec_each(json, vec_get(block, "transmissions"))
    {
        assert_true(response(r, json, s->c.server.version, &t, &rsp));
        if (t.corr_id.len > 0)
            continue; /* compared when its command ran */
        struct mem_item *e = take_event(s, rsp.tag, t.entity_id);
        if (e == NULL) { /* it is time for a flush */
            sx_peer_flush_ends(&s->c.peer);
            sx_peer_flush_ntfs(&s->c.peer);
            keep_events(s);
            e = take_event(s, rsp.tag, t.entity_id);
        }
        if (e == NULL)
            fail_msg("no %s in block %d", sx_rsp_name(rsp.tag), (int)vec_int(block, "n"));
        compare(r, e, &t, &rsp, NULL);
        r->events++;
    }
}

/* ---- the proxy: its connection to the relay is the recorded one ---- */

/* The next transmission of this kind that went between proxy and relay. */
static const cJSON *between(struct replay *r, const char *tag)
{
    const cJSON *json;

    for (const cJSON *b = r->block->next; b != NULL; b = b->next) {
        if (vec_opt(b, "transmissions") == NULL)
            continue;
        vec_each(json, vec_get(b, "transmissions")) if (is(json, "tag", tag)) return json;
    }
    fail_msg("no %s was recorded", tag);
    return NULL;
}

/* The session with the relay: the last one, whose client is the proxy. */
static struct session *to_relay(struct replay *r)
{
    struct session *s = &r->session[r->n_sessions - 1];

    assert_true(is(tr_session(&r->tr, s->id), "client", "proxy"));
    return s;
}

static void ask_key(struct replay *r, struct sx_errand *e)
{
    struct session *relay = to_relay(r);
    const cJSON *b;

    vec_each(b, vec_get(r->tr.json, "blocks"))
    {
        if (!is(b, "session", relay->id) || vec_opt(b, "handshake") == NULL)
            continue;
        sx_relay_pkey(e, &relay->c.server, vec_hex(b, "handshake"));
        break;
    }
    mem_assert_tag(&e->rsp, SX_R_PKEY);
    assert_int_equal(e->rsp.pkey.max, 18);
    e->rsp.pkey.max = 17; /* what the recorded proxy offers at most */
}

static void ask_forward(struct replay *r, struct sx_errand *e)
{
    const struct sx_session *relay = &to_relay(r)->c.server;
    struct sx_transmission rfwd = tr_transmission(&r->tr, between(r, "RFWD")), rres;
    uint8_t *buf = vec_keep(SX_BLOCK);
    struct sx_smp_err err;
    struct sx_cmd cmd;
    struct sx_rsp rsp;
    struct sx_wr w;

    assert_int_equal(sx_cmd_decode(rfwd.command, relay->version, &cmd, &err), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, SX_BLOCK);
    assert_int_equal(sx_relay_wrap(e, relay, rfwd.corr_id.ptr, &w), SIMPLEX_OK);
    vec_assert_eq(sx_wr_bytes(&w), cmd.rfwd.body, "RFWD");
    assert_true(response(r, between(r, "RRES"), relay->version, &rres, &rsp));
    vec_assert_eq(rres.corr_id, rfwd.corr_id, "correlation id of RRES");
    sx_relay_answer(e, relay, SIMPLEX_OK, &rsp);
    mem_assert_tag(&e->rsp, SX_R_PRES);
}

static bool submit(void *user, struct sx_errand *e)
{
    if (e->tag == SX_PRXY)
        ask_key(user, e);
    else
        ask_forward(user, e);
    sx_errand_done(e);
    return true;
}

/* ---- running ---- */

static void run_some(struct replay *r, struct session *s, const cJSON *block,
                     const struct sx_transmission *t, size_t n)
{
    uint8_t content[SX_BLOCK];
    struct sx_wr w;
    uint16_t version = s->c.server.version;

    sx_wr_fixed(&w, content, sizeof(content));
    sx_wr_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        sx_wr_large(&w, tr_encoded(&t[i], version));
    assert_false(w.bad);
    r->block = block;
    sx_peer_block(&s->c.peer, sx_wr_bytes(&w));
    sx_hub_errands(s->c.peer.hub); /* what the recorded relay has answered */
    for (size_t i = 0; i < n; i++) {
        const struct mem_item *ours = mem_next(&s->c);
        struct sx_transmission want;
        struct sx_rsp rsp;
        struct sx_smp_err err;
        struct sx_cmd cmd;
        assert_non_null(ours);
        assert_true(response(r, answer_to(block, ours->t.corr_id), version, &want, &rsp));
        size_t k = 0;
        while (!sx_bytes_eq(t[k].corr_id, ours->t.corr_id))
            k++;
        assert_int_equal(sx_cmd_decode(t[k].command, version, &cmd, &err), SIMPLEX_OK);
        compare(r, ours, &want, &rsp, &cmd);
        if (cmd.tag == SX_SEND && rsp.tag == SX_R_OK)
            adopt_message(r, t[k].entity_id);
        if (cmd.tag == SX_RFWD)
            adopt_forwarded(r, &s->c.server, &t[k], cmd.rfwd.body);
        r->answers++;
    }
    keep_events(s); /* what came in the same block */
    mem_settle(&r->m);
    for (size_t i = 0; i < r->n_sessions; i++)
        keep_events(&r->session[i]);
}

static bool first_is(const struct sx_transmission *t, const char *tag)
{
    return t->command.len >= strlen(tag) && memcmp(t->command.ptr, tag, strlen(tag)) == 0;
}

/* Commands of one queue in one block: the last first, as the reference runs them. QUE and DEL in
 * this order give the same answers either way, because both were verified before. */
static void run_block(struct replay *r, const cJSON *block)
{
    struct session *s = session_of(r, block);
    struct sx_transmission t[SX_BATCH_MAX];
    const cJSON *json;
    size_t n = 0;

    vec_each(json, vec_get(block, "transmissions")) t[n++] = tr_transmission(&r->tr, json);
    bool depend = n == 2 && sx_bytes_eq(t[0].entity_id, t[1].entity_id) && !first_is(&t[0], "QUE");
    if (!depend) {
        run_some(r, s, block, t, n);
        return;
    }
    while (n-- > 0)
        run_some(r, s, block, &t[n], 1);
}

static void replay(const char *name, int answers, int events)
{
    static struct replay only;
    struct replay *r = &only;
    const cJSON *b;

    memset(r, 0, sizeof(*r));
    mem_open(&r->m, NULL);
    r->m.srv->relays = (struct sx_relays){ submit, r };
    tr_open(&r->tr, name);
    open_sessions(r);
    find_messages(r);
    vec_each(b, vec_get(r->tr.json, "blocks"))
    {
        if (vec_opt(b, "transmissions") == NULL)
            continue;
        if (is(b, "from", "server"))
            compare_events(r, b);
        else
            run_block(r, b);
    }
    for (size_t i = 0; i < r->n_sessions; i++)
        for (const struct mem_item *e = r->session[i].events; e != NULL; e = e->next)
            fail_msg("%s that was not recorded", sx_rsp_name(e->rsp.tag));
    assert_int_equal(r->answers, answers);
    assert_int_equal(r->events, events);
    for (size_t i = 0; i < r->n_sessions; i++)
        mem_disconnect(&r->session[i].c);
    mem_close(&r->m);
    tr_close(&r->tr);
    vec_free_all();
}

static void answers_smp_version_18_as_recorded(void **state)
{
    (void)state;
    replay("transcript-smp-v18.json", 108, 30);
}

static void answers_smp_version_9_as_recorded(void **state)
{
    (void)state;
    replay("transcript-smp-v9.json", 13, 5);
}

static void answers_smp_version_6_as_recorded(void **state)
{
    (void)state;
    replay("transcript-smp-v6.json", 13, 5);
}

static void serves_recorded_services_as_recorded(void **state)
{
    (void)state;
    replay("transcript-service.json", 15, 4);
}

static void serves_recorded_agents_as_recorded(void **state)
{
    (void)state;
    replay("transcript-agents.json", 24, 10);
    replay("transcript-agents-standard.json", 16, 6);
    replay("transcript-contact.json", 15, 5);
    replay("transcript-switch.json", 29, 10);
    replay("transcript-resync.json", 36, 15);
    replay("transcript-short-links.json", 14, 4);
}

static void routes_privately_as_recorded(void **state)
{
    (void)state;
    replay("transcript-proxy.json", 16, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_smp_version_18_as_recorded),
        cmocka_unit_test(answers_smp_version_9_as_recorded),
        cmocka_unit_test(answers_smp_version_6_as_recorded),
        cmocka_unit_test(serves_recorded_agents_as_recorded),
        cmocka_unit_test(serves_recorded_services_as_recorded),
        cmocka_unit_test(routes_privately_as_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
