/* SPDX-License-Identifier: Apache-2.0 */
#include "support/running_server.h"

#include <unistd.h>

#define PATIENCE_MS 30000

void prompt_config(simplex_server_config *cfg, unsigned threads)
{
    simplex_server_config_init(cfg);
    cfg->end_flush_ms = 0;
    cfg->ntf_flush_ms = 0;
    cfg->threads = threads;
}

simplex_server *run_server(simplex_server_config *cfg, uint8_t key_hash[32],
                           struct smp_peer_cfg *peer)
{
    char error[500] = "";
    simplex_server *s;

    cfg->error = error;
    cfg->error_size = sizeof(error);
    if (simplex_server_start(cfg, &s) != SIMPLEX_OK)
        fail_msg("%s", error);
    cfg->error = NULL;
    cfg->error_size = 0;
    simplex_server_fingerprint(s, key_hash);
    *peer = (struct smp_peer_cfg){ .port = simplex_server_port(s), .key_hash = key_hash };
    return s;
}

simplex_server_counters server_counters(const simplex_server *s)
{
    simplex_server_counters c = { .size = sizeof(c) };

    assert_int_equal(simplex_server_count(s, &c), SIMPLEX_OK);
    return c;
}

void wait_connections(const simplex_server *s, size_t n)
{
    int64_t until = sx_mono_ms() + PATIENCE_MS;

    while (server_counters(s).connections != n && sx_mono_ms() < until)
        usleep(10000);
    assert_int_equal(server_counters(s).connections, n);
}

const struct sx_rsp *new_queue(struct smp_peer *p, struct queue *q, enum sx_alg snd, bool subscribe)
{
    struct sx_cmd cmd = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(snd, &q->snd), SIMPLEX_OK);
    cmd.new_.auth = q->rcv.pub;
    cmd.new_.dh = q->dh.pub;
    cmd.new_.mode = SX_MODE_MESSAGING;
    cmd.new_.subscribe = subscribe;
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(NULL, 0), &cmd);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    q->srv_dh = r->ids.srv_dh;
    return r;
}
