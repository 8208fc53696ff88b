/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded session with short links, step by step, by an agent without thread and network in
 * the place of each side. Its maker gets the recorded keys and must sign the same bytes and show
 * the same links; who looks must ask for the same ids, understand the recorded data, and join with
 * the key that LKEY set.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/work.h"
#include "support/agents.h"
#include "support/transcript.h"

#define FILE_NAME "transcript-short-links.json"
#define VERSION 18

static struct play {
    struct transcript t;
    char dir[256];
    struct simplex_agent *a;
} p;

static int open_play(void **state)
{
    char path[300];
    const char *servers[] = { "smp://J5Z6qZ25xMovwa7F0y9y9m23EzOTeksgtC0lCGyg41c=@127.0.0.1:5486" };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str("key"),
                                 .servers = servers,
                                 .n_servers = 1 };

    (void)state;
    must(sx_crypto_init());
    tr_open(&p.t, FILE_NAME);
    tmp_make(p.dir);
    (void)snprintf(path, sizeof path, "%s/agent.db", p.dir);
    must(sx_agent_prepare(&cfg, &p.a));
    must(sx_store_begin(p.a->store));
    return 0;
}

static int close_play(void **state)
{
    (void)state;
    must(simplex_agent_close(p.a));
    tmp_remove(p.dir);
    tr_close(&p.t);
    vec_free_all();
    return 0;
}

/* ---- the recording ---- */

static const cJSON *nth(const char *tag, const char *from, unsigned n)
{
    const cJSON *b, *t;

    vec_each(b, vec_get(p.t.json, "blocks"))
    {
        if (strcmp(vec_text(b, "from"), from) != 0)
            continue;
        vec_each(t, vec_opt(b, "transmissions")) if (strcmp(vec_text(t, "tag"), tag) == 0 &&
                                                     n-- == 0) return t;
    }
    fail_msg("no %s", tag);
    return NULL;
}

static struct sx_cmd recorded_cmd(const cJSON *t)
{
    struct sx_cmd cmd;
    struct sx_smp_err err;

    must(sx_cmd_decode(tr_parts(&p.t, vec_get(t, "command")), VERSION, &cmd, &err));
    return cmd;
}

static struct sx_rsp recorded_rsp(const cJSON *t)
{
    struct sx_rsp rsp;

    must(sx_rsp_decode(tr_parts(&p.t, vec_get(t, "command")), VERSION, &rsp));
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

/* The words of the event of I that has both links: "INV id full short". */
static void recorded_links(const char *event, simplex_bytes *full, simplex_bytes *small)
{
    const cJSON *x;
    size_t n = strlen(event);

    vec_each(x, vec_get(vec_get(p.t.json, "api"), "I"))
    {
        const char *text = vec_text(x, "text");
        if (strncmp(text, event, n) != 0)
            continue;
        const char *from = strstr(text, "simplex:"), *end = strchr(from, ' ');
        *full = sx_bytes((const uint8_t *)from, (size_t)(end - from));
        *small = sx_str(end + 1);
        return;
    }
    fail_msg("no %s", event);
}

static simplex_bytes signed_part(const char *body)
{
    const cJSON *b;

    vec_each(b, vec_get(p.t.json, "bodies")) if (strcmp(vec_text(b, "id"), body) ==
                                                 0) return tr_parts(&p.t, vec_get(vec_get(b, "box"),
                                                                                  "plain"));
    fail_msg("no body %s", body);
    return sx_str("");
}

/* The data of the recorded link, as our own reader understands it. */
static void recorded_data(uint8_t kind, const char *fixed, const char *user,
                          const struct sx_short_link *s, struct sx_link_data *d)
{
    enum sx_link_fault fault;

    must(sx_link_data_verify(kind, s->link_key, signed_part(fixed), signed_part(user), d, &fault));
}

static void take_event(int32_t kind, struct simplex_event *ev)
{
    struct sx_event_row row = { .id = 0 };

    memset(ev, 0, sizeof *ev);
    while (ev->kind != kind) {
        sx_event_clear(ev);
        must(sx_store_event_next(p.a->store, row.id, &row));
        must(sx_event_decode(row.data, ev));
    }
}

static void check_event(int32_t kind, simplex_bytes want)
{
    struct simplex_event ev;

    take_event(kind, &ev);
    vec_assert_eq(simplex_event_data(&ev), want, simplex_event_name(&ev));
    sx_event_clear(&ev);
}

/* ---- I ---- */

/* The KEM key that the recorded data proposes has its private half among the recorded ones. */
static void take_kem(const struct sx_e2e_params *e2e, struct sx_x3dh_keys *keys)
{
    uint8_t hash[32];
    const cJSON *k;

    sx_sha256(e2e->kem.pk, hash);
    vec_each(k, vec_get(p.t.json, "kem_keys"))
    {
        simplex_bytes priv = vec_hex(k, "priv");
        if (!sx_bytes_eq(vec_hex(k, "pub_sha256"), sx_bytes(hash, sizeof hash)))
            continue;
        keys->has_kem = true;
        assert_int_equal(e2e->kem.pk.len, sizeof keys->kem.pk);
        assert_int_equal(priv.len, sizeof keys->kem.sk);
        memcpy(keys->kem.pk, e2e->kem.pk.ptr, e2e->kem.pk.len);
        memcpy(keys->kem.sk, priv.ptr, priv.len);
        return;
    }
    fail_msg("no KEM key");
}

static void use_recorded_keys(const struct sx_conn *c, struct sx_rcv_queue *q,
                              struct sx_link_row *l, const struct sx_cmd *new,
                              const struct sx_link_data *d, simplex_bytes corr_id)
{
    struct sx_x3dh_keys keys;

    q->auth = pair_of(&new->new_.auth);
    q->dh = pair_of(&new->new_.dh);
    q->e2e = pair_of(&d->fixed.request.queues[0].dh);
    memcpy(l->corr_id, corr_id.ptr, sizeof l->corr_id);
    sx_link_sender_id(l->corr_id, &q->snd_id);
    vec_assert_eq(sx_id_bytes(&q->snd_id), new->new_.snd_id, "sender id");
    must(sx_store_rcvq_update(p.a->store, q));
    l->root = pair_of(&d->fixed.root);
    if (c->role == SX_ADDRESS)
        return;
    memset(&keys, 0, sizeof keys);
    keys.k1 = pair_of(&d->fixed.request.e2e.k1);
    keys.k2 = pair_of(&d->fixed.request.e2e.k2);
    take_kem(&d->fixed.request.e2e, &keys);
    must(sx_store_x3dh_put(p.a->store, c->id, &keys));
    sx_x3dh_keys_wipe(&keys);
}

static void check_signed(struct sx_conn *c, struct sx_rcv_queue *q, struct sx_link_row *l,
                         const char *fixed, const char *user, const simplex_link_data *data,
                         const struct sx_short_link *s)
{
    struct sx_link_fixed f = { .agent_v = { SX_AGENT_MIN, SX_AGENT_MAX }, .root = l->root.pub };
    struct sx_x3dh_keys keys;
    struct sx_queue_addr addr;
    struct sx_wr w;

    sx_wr_init(&w, SX_LINK_USER_PADDED);
    must(sx_link_user(l, data, &w));
    vec_assert_eq(sx_wr_bytes(&w), signed_part(user), "user data");
    sx_wr_reset(&w);
    must(sx_queue_link(p.a, c, q, &keys, &addr, 1, &f.request));
    must(sx_link_fixed_sign(&w, &f, &l->root, l->link_key));
    vec_assert_eq(sx_wr_bytes(&w), signed_part(fixed), "fixed data");
    assert_memory_equal(l->link_key, s->link_key, sizeof s->link_key);
    sx_x3dh_keys_wipe(&keys);
    sx_wr_free(&w);
}

/* What NEW carries, and what its answer leads to. */
static void plays_maker(unsigned n, const char *event, uint8_t type, const char *text,
                        const char *fixed, const char *user)
{
    simplex_link_data data = { .size = sizeof data, .data = sx_str(text) };
    const cJSON *t = nth("NEW", "client", n);
    struct sx_cmd want = recorded_cmd(t), cmd = { .tag = SX_NEW };
    struct sx_rsp ids = recorded_rsp(nth("IDS", "server", n));
    struct sx_short_link s;
    struct sx_link_data d;
    struct sx_link_row l;
    struct sx_rcv_queue q;
    struct sx_command command;
    struct sx_conn c;
    simplex_bytes full, small;
    int64_t conn;

    recorded_links(event, &full, &small);
    must(sx_short_link_parse(small, &s));
    recorded_data(sx_short_link_kind(&s), fixed, user, &s, &d);
    must(sx_create_short(p.a, SX_USER_DEFAULT, type, SIMPLEX_PQ_ON, &data, false, &conn));
    must(sx_store_conn_get(p.a->store, conn, &c));
    must(sx_store_rcvq_of(p.a->store, conn, 0, &q));
    must(sx_store_link_get(p.a->store, q.id, &l));
    use_recorded_keys(&c, &q, &l, &want, &d, vec_hex(t, "corr_id"));
    check_signed(&c, &q, &l, fixed, user, &data, &s);
    /* the boxes have other nonces: the recorded ones take their place */
    l.fixed = want.new_.fixed;
    l.user = want.new_.user;
    l.has_link_id = want.new_.link_id.len > 0;
    if (l.has_link_id)
        memcpy(l.link_id, want.new_.link_id.ptr, want.new_.link_id.len);
    must(sx_store_link_put(p.a->store, &l));
    must(sx_link_new(p.a, &q, &l, &cmd));
    assert_true(cmd.new_.has_link);
    vec_assert_eq(cmd.new_.link_id, want.new_.link_id, "link id");
    vec_assert_eq(cmd.new_.snd_id, want.new_.snd_id, "sender id");
    vec_assert_eq(cmd.new_.fixed, want.new_.fixed, "fixed part");
    vec_assert_eq(cmd.new_.user, want.new_.user, "user part");
    must(sx_store_command_next(p.a->store, conn, 0, &command));
    assert_int_equal(command.tag, SX_C_NEW);
    must(sx_new_answered(p.a, &c, &command, &ids));
    check_event(SIMPLEX_EV_INV, full);
    check_event(SIMPLEX_EV_LINK, small);
    sx_link_data_free(&d);
    sx_wipe(&l, sizeof l);
}

static void plays_the_maker_of_the_invitation(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    plays_maker(0, "INV ", SX_SHORT_INVITATION, "peer-agent invitation", "b0", "b1");
}

static void plays_the_maker_of_the_address(void **state)
{
    (void)state;
    plays_maker(2, "ADDR ", SX_SHORT_CONTACT, "peer-agent address", "b10", "b11");
}

/* ---- J ---- */

static void looks(simplex_bytes link, const struct sx_wish *wish, const char *tag, int64_t *conn)
{
    const cJSON *t = nth(tag, "client", 0);
    struct sx_cmd cmd, want = recorded_cmd(t);
    struct sx_request req = { .cmd = &cmd };
    struct sx_short_link s;
    struct sx_look l;

    must(sx_look(p.a, SX_USER_DEFAULT, link, wish, conn));
    must(sx_look_send(p.a, *conn, &l, &s, &cmd, &req));
    assert_int_equal(cmd.tag, want.tag);
    vec_assert_eq(req.entity, vec_hex(t, "entity_id"), "link id");
    assert_int_equal(req.key != NULL, vec_text(t, "auth")[0] != 0);
    assert_string_equal(s.server.port, "5486");
    sx_wipe(&l, sizeof l);
}

static void answer(int64_t conn, unsigned n)
{
    struct sx_rsp lnk = recorded_rsp(nth("LNK", "server", n));
    struct sx_command cmd;
    struct sx_conn c;
    struct sx_wr data;

    must(sx_store_command_next(p.a->store, conn, 0, &cmd));
    assert_int_equal(cmd.tag, SX_C_LOOK);
    sx_wr_init(&data, 4096);
    sx_wr_raw(&data, cmd.data);
    cmd.data = sx_wr_bytes(&data);
    must(sx_store_conn_get(p.a->store, conn, &c));
    must(sx_store_command_delete(p.a->store, cmd.id));
    must(sx_look_answered(p.a, &c, &cmd, &lnk));
    sx_wr_free(&data);
}

static void plays_the_joiner_of_the_invitation(void **state)
{
    struct sx_wish wish = { .join = true, .pq = SIMPLEX_PQ_ON, .info = sx_str("J info") };
    struct sx_command cmd;
    struct sx_snd_queue q;
    struct sx_look l;
    struct sx_conn c;
    simplex_bytes full, small;
    int64_t conn;

    (void)state;
    recorded_links("INV ", &full, &small);
    looks(small, &wish, "LKEY", &conn);
    must(sx_store_look_get(p.a->store, conn, &l));
    answer(conn, 0);
    must(sx_store_conn_get(p.a->store, conn, &c));
    assert_int_equal(c.role, SX_JOINER);
    assert_int_equal(c.state, SX_CONN_NEW);
    assert_int_equal(c.pq_support, sx_kem_available());
    must(sx_store_sndq_of(p.a->store, conn, 0, &q));
    vec_assert_eq(sx_id_bytes(&q.snd_id), recorded_cmd(nth("NEW", "client", 0)).new_.snd_id,
                  "sender id");
    assert_true(sx_pub_eq(&q.auth.pub, &l.auth.pub)); /* what LKEY set */
    assert_int_equal(q.status, SX_Q_SECURED);
    assert_int_equal(q.mode, SX_MODE_MESSAGING);
    must(sx_store_command_next(p.a->store, conn, 0, &cmd));
    assert_int_equal(cmd.tag, SX_C_NEW); /* and no SKEY, as in the recording */
    assert_int_equal(sx_store_command_next(p.a->store, conn, cmd.id, &cmd), SIMPLEX_E_NOT_FOUND);
    sx_wipe(&q, sizeof q);
    sx_wipe(&l, sizeof l);
}

static void plays_who_looks_at_the_address(void **state)
{
    struct sx_wish wish = { .join = false };
    struct simplex_event ev;
    simplex_link_info info = { .size = sizeof info };
    simplex_bytes full, small;
    int64_t conn;

    (void)state;
    recorded_links("ADDR ", &full, &small);
    looks(small, &wish, "LGET", &conn);
    answer(conn, 1);
    take_event(SIMPLEX_EV_LDATA, &ev);
    vec_assert_eq(simplex_event_data(&ev), sx_str("peer-agent address"), "data");
    must(simplex_event_link_info(&ev, &info));
    vec_assert_eq(info.link, full, "full link");
    assert_true(info.direct);
    assert_int_equal(info.type, SIMPLEX_LINK_CONTACT);
    sx_event_clear(&ev);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_play, close_play)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(plays_the_maker_of_the_invitation),
        TEST(plays_the_maker_of_the_address),
        TEST(plays_the_joiner_of_the_invitation),
        TEST(plays_who_looks_at_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
