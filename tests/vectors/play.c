/* SPDX-License-Identifier: Apache-2.0 */
#include "play.h"

#include <stdio.h>
#include <unistd.h>

const enum sx_cmd_tag counted[TAGS] = { SX_NEW, SX_KEY, SX_SKEY, SX_SEND, SX_ACK, SX_SUB };

struct play p;

/* ---- the recording ---- */

bool side_is(const char *sides)
{
    return strchr(sides, p.side[0]) != NULL;
}

const cJSON *nth_transmission(const char *tag, const char *from, unsigned nth)
{
    const cJSON *b, *t;

    vec_each(b, vec_get(p.t.json, "blocks"))
    {
        if (strcmp(vec_text(b, "session"), p.session) != 0 ||
            strcmp(vec_text(b, "from"), from) != 0)
            continue;
        vec_each(t, vec_opt(b, "transmissions")) if (strcmp(vec_text(t, "tag"), tag) == 0 &&
                                                     nth-- == 0) return t;
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

void load_story(void)
{
    const cJSON *s, *b, *t, *x;

    vec_each(s, vec_get(p.t.json, "sessions"))
    {
        if (strcmp(vec_text(s, "client"), p.side) == 0 && p.session == NULL) {
            p.session = vec_text(s, "session_id");
            p.version = vec_int(s, "version");
        }
    }
    vec_each(b, vec_get(p.t.json, "blocks"))
    {
        if (strcmp(vec_text(tr_session(&p.t, vec_text(b, "session")), "client"), p.side) != 0)
            continue;
        vec_each(t, vec_opt(b, "transmissions"))
        {
            if (strcmp(vec_text(b, "from"), "client") == 0)
                add_command(vec_int(b, "t_ms"), vec_text(t, "tag"));
            else if (strcmp(vec_text(t, "tag"), "MSG") == 0)
                add_item(vec_int(b, "t_ms"), NULL, t, -1);
        }
    }
    vec_each(x, vec_get(vec_get(p.t.json, "api"), p.side)) if (vec_opt(x, "t_ms") !=
                                                               NULL) /* a note has none */
        add_item(vec_int(x, "t_ms"), x, NULL, -1);
    p.op = vec_get(vec_get(p.t.json, "ratchets"), p.side)->child;
}

struct sx_rsp recorded_rsp(const cJSON *transmission)
{
    struct sx_rsp rsp;

    simplex_bytes text = tr_parts(&p.t, vec_get(transmission, "command"));
    must(sx_rsp_decode(text, (uint16_t)p.version, &rsp));
    return rsp;
}

struct sx_keypair pair_of(const struct sx_pub *pub)
{
    struct sx_wr w;

    sx_wr_fixed(&w, vec_keep(128), 128);
    sx_spki_encode(pub, &w);
    const struct sx_keypair *k = tr_key(&p.t, sx_wr_bytes(&w));
    assert_non_null(k);
    return *k;
}

struct sx_keypair e2e_pair(unsigned nth)
{
    const cJSON *b, *k, *key;

    vec_each(b, vec_get(p.t.json, "bodies"))
    {
        const cJSON *head = vec_opt(b, "header_key");
        if (head == NULL)
            continue;
        vec_each(k, vec_get(vec_get(b, "box"), "dh_of"))
        {
            if (strcmp(k->valuestring, head->valuestring) == 0)
                continue;
            vec_each(key,
                     vec_get(p.t.json,
                             "keys")) if (strcmp(vec_text(key, "pub"), k->valuestring) == 0 &&
                                          strcmp(vec_text(key, "owner"), p.side) == 0 &&
                                          nth-- == 0) return *tr_key(&p.t,
                                                                     vec_unhex(k->valuestring));
        }
    }
    fail_msg("no key for the queue");
    return (struct sx_keypair){ 0 };
}

/* ---- the server ---- */

static bool answer(struct peer *peer, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    struct sx_cmd want;
    struct sx_smp_err err;

    p.client = c;
    for (int n = 0; n < TAGS; n++)
        p.got[n] += cmd->tag == counted[n];
    p.repeat_acked |= cmd->tag == SX_ACK &&
                      sx_bytes_eq(cmd->ack.msg_id, sx_bytes(p.repeat_id, sizeof p.repeat_id));
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

void server_open(void)
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

void pump(void)
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

simplex_event *event(int32_t kind)
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

simplex_rc run_on_loop(simplex_rc (*fn)(struct simplex_agent *, void *), void *arg)
{
    struct sx_call call = { .fn = fn, .arg = arg, .wants_store = true };

    return sx_agent_call(p.a, &call);
}
