/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded notifier, step by step against the state machine: NKEY with the recorded keys is the
 * recorded command, the recorded NID gives the secret, and that opens the recorded NMSG.
 */
#include <stdio.h>

#include "agent/push.h"
#include "agent/work.h"
#include "support/agents.h"
#include "support/transcript.h"

#define VERSION 18

static struct {
    struct transcript t;
    char dir[256], path[300];
    struct simplex_agent *a;
    struct sx_conn c;
    struct sx_rcv_queue q;
} p;

/* The nth recorded transmission of this tag. */
static struct sx_transmission recorded(const char *tag, int nth)
{
    const cJSON *block, *t;

    vec_each(block, vec_get(p.t.json, "blocks"))
    {
        const cJSON *list = vec_opt(block, "transmissions");
        vec_each(t, list)
        {
            if (strcmp(vec_text(t, "tag"), tag) == 0 && nth-- == 0)
                return tr_transmission(&p.t, t);
        }
    }
    fail_msg("no %s was recorded", tag);
    return (struct sx_transmission){ 0 };
}

static struct sx_cmd recorded_nkey(void)
{
    struct sx_smp_err err;
    struct sx_cmd cmd;

    must(sx_cmd_decode(recorded("NKEY", 0).command, VERSION, &cmd, &err));
    return cmd;
}

static const struct sx_keypair *private_of(const struct sx_pub *pub)
{
    uint8_t buf[SX_SPKI_MAX];
    struct sx_wr w;
    const struct sx_keypair *k;

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_spki_encode(pub, &w);
    k = tr_key(&p.t, sx_wr_bytes(&w));
    assert_non_null(k);
    return k;
}

static int open_agent(void **state)
{
    static const char *servers[] = {
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.0.1:1"
    };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = p.path,
                                 .db_key = sx_str(AGENT_KEY),
                                 .db_raw_key = true,
                                 .servers = servers,
                                 .n_servers = 1 };
    simplex_bytes rcv_id;

    (void)state;
    must(sx_crypto_init());
    tr_open(&p.t, "transcript-service.json");
    tmp_make(p.dir);
    (void)snprintf(p.path, sizeof p.path, "%s/agent.db", p.dir);
    must(sx_agent_prepare(&cfg, &p.a));
    p.c = (struct sx_conn){ .role = SX_INITIATOR, .state = SX_CONN_READY, .created_at = 1 };
    must(sx_store_conn_add(p.a->store, &p.c));
    p.q = (struct sx_rcv_queue){ .conn_id = p.c.id,
                                 .mode = SX_MODE_MESSAGING,
                                 .client_version = 4,
                                 .status = SX_Q_ACTIVE,
                                 .primary = true };
    must(sx_server_parse(sx_str(servers[0]), &p.q.server, &rcv_id));
    must(sx_keypair_new(SX_ED25519, &p.q.auth));
    must(sx_keypair_new(SX_X25519, &p.q.dh));
    must(sx_keypair_new(SX_X25519, &p.q.e2e));
    rcv_id = recorded("NKEY", 0).entity_id;
    p.q.rcv_id.len = (uint8_t)rcv_id.len;
    memcpy(p.q.rcv_id.b, rcv_id.ptr, rcv_id.len);
    must(sx_store_rcvq_add(p.a->store, &p.q));
    return 0;
}

static int close_agent(void **state)
{
    (void)state;
    must(simplex_agent_close(p.a));
    tmp_remove(p.dir);
    tr_close(&p.t);
    vec_free_all();
    return 0;
}

static void the_recorded_notifier_is_set_and_its_notification_opened(void **state)
{
    struct sx_cmd theirs = recorded_nkey(), ours;
    struct sx_notifier n = { .queue_id = p.q.id, .state = SX_NTF_WANTED };
    struct sx_command cmd = { .conn_id = p.c.id, .tag = SX_C_NKEY, .queue_id = p.q.id };
    uint8_t buf[256];
    struct sx_push push;
    struct sx_rsp rsp;
    struct sx_wr w;
    bool moot;

    (void)state;
    n.auth = *private_of(&theirs.nkey.auth);
    n.dh = *private_of(&theirs.nkey.dh);
    must(sx_store_notifier_put(p.a->store, &n));
    cmd.data = sx_bytes(n.auth.pub.b, 32);
    memset(&ours, 0, sizeof ours);
    must(sx_notifier_cmd(p.a, &cmd, &ours, &moot));
    assert_false(moot);
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_cmd_encode(&w, &ours, VERSION);
    vec_assert_eq(sx_wr_bytes(&w), recorded("NKEY", 0).command, "NKEY");

    must(sx_rsp_decode(recorded("NID", 0).command, VERSION, &rsp));
    must(sx_handler_begin(p.a));
    must(sx_notifier_answered(p.a, &cmd, &rsp));
    sx_handler_end(p.a, SIMPLEX_OK);
    must(sx_notifier_cmd(p.a, &cmd, &ours, &moot)); /* a repeat has no purpose any more */
    assert_true(moot);

    struct sx_transmission nmsg = recorded("NMSG", 0);
    must(sx_rsp_decode(nmsg.command, VERSION, &rsp));
    must(sx_store_notifier_find(p.a->store, nmsg.entity_id, 0, &n));
    assert_int_equal(n.queue_id, p.q.id);
    assert_int_equal(n.state, SX_NTF_SET);
    assert_int_equal(n.dh.pub.alg, SX_NO_KEY);
    must(sx_push_open(n.secret, sx_bytes(rsp.nmsg.nonce, 24), rsp.nmsg.meta, &push));
    const cJSON *msg = cJSON_GetArrayItem(vec_get(p.t.json, "bodies"), 0);
    vec_assert_eq(sx_id_bytes(&push.msg_id), vec_hex(vec_get(msg, "box"), "nonce"),
                  "the message that waits"); /* its id is its nonce */
    assert_true(push.ts > 1500000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_recorded_notifier_is_set_and_its_notification_opened,
                                        open_agent, close_agent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
