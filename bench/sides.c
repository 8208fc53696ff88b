/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/sides.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/served.h"
#include "crypto/crypto.h"

#define PARALLEL 64 /* connections being made at a time */

const char *bench_servers[SERVERS_MAX];
static struct served processes[SERVERS_MAX];
static char addresses[SERVERS_MAX][128];

void bench_die(const char *what, simplex_rc rc)
{
    fprintf(stderr, "benchmark: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

void bench_must(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        bench_die(what, rc);
}

/* ---- events ---- */

/* Both agents are in this process. */
static void on_link(const struct side *s, const simplex_event *ev)
{
    int64_t conn;

    if (s->peer != NULL)
        bench_must("join", simplex_agent_join(s->peer->a, simplex_event_data(ev), sx_str("J"),
                                              SIMPLEX_PQ_OFF, &conn));
}

static void on_message(const struct side *s, const simplex_event *ev)
{
    int64_t conn = simplex_event_conn(ev), id = simplex_event_msg_id(ev);

    if (s->receipts)
        bench_must("receipt", simplex_agent_ack_receipt(s->a, conn, id, sx_bytes(NULL, 0)));
    else
        bench_must("ack", simplex_agent_ack(s->a, conn, id));
}

static void take(struct side *s, const simplex_event *ev)
{
    size_t n;

    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        on_link(s, ev);
        break;
    case SIMPLEX_EV_CONF:
        bench_must("allow", simplex_agent_allow(s->a, simplex_event_conn(ev),
                                                simplex_event_conf(ev), sx_str("I")));
        break;
    case SIMPLEX_EV_CON:
        if (s->seen[SIMPLEX_EV_CON] < SIDE_CONNS)
            s->conns[s->seen[SIMPLEX_EV_CON]] = simplex_event_conn(ev);
        break;
    case SIMPLEX_EV_UP:
        (void)simplex_event_conns(ev, &n);
        s->up += n;
        break;
    case SIMPLEX_EV_MSG:
        on_message(s, ev);
        break;
    case SIMPLEX_EV_SWITCH:
        s->moved += simplex_event_switch(ev, NULL) == SIMPLEX_SWITCH_COMPLETED;
        break;
    case SIMPLEX_EV_RSYNC:
        s->synced += simplex_event_sync_state(ev) == SIMPLEX_SYNC_OK;
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
        fprintf(stderr, "benchmark: %s\n", simplex_event_json(ev));
        exit(1);
    default:
        break;
    }
}

static void on_event(void *user, const simplex_event *ev)
{
    struct side *s = user;
    int32_t kind = simplex_event_kind(ev);

    pthread_mutex_lock(&s->lock);
    take(s, ev);
    if (kind >= 0 && kind < SIDE_KINDS)
        s->seen[kind]++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void side_wait(struct side *s, const size_t *counter, size_t n)
{
    pthread_mutex_lock(&s->lock);
    while (*counter < n)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* ---- agents ---- */

void side_open(struct side *s, const char *db, const char *const *servers, size_t n_servers,
               const simplex_agent_config *unusual)
{
    simplex_agent_config cfg = { .size = sizeof cfg };

    if (unusual != NULL)
        cfg = *unusual;
    cfg.db_path = db;
    cfg.db_key = sx_str("0123456789abcdef0123456789abcdef");
    cfg.db_raw_key = true;
    cfg.on_event = on_event;
    cfg.user = s;
    cfg.servers = servers;
    cfg.n_servers = n_servers;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    bench_must("open", simplex_agent_open(&cfg, &s->a));
}

void side_close(struct side *s)
{
    bench_must("close", simplex_agent_close(s->a));
    s->a = NULL;
}

void side_connect(struct side *s, size_t n)
{
    size_t before = s->seen[SIMPLEX_EV_CON], peers = s->peer->seen[SIMPLEX_EV_CON];
    int64_t conn;

    for (size_t i = 0; i < n; i++) {
        bench_must("create", simplex_agent_create(s->a, SIMPLEX_PQ_OFF, &conn));
        side_wait(s, &s->seen[SIMPLEX_EV_CON], before + (i > PARALLEL ? i - PARALLEL : 0));
    }
    side_wait(s, &s->seen[SIMPLEX_EV_CON], before + n);
    side_wait(s->peer, &s->peer->seen[SIMPLEX_EV_CON], peers + n);
}

void side_remove_db(const char *db)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-lock", "-age" };
    char path[320];

    for (size_t i = 0; i < SX_COUNT(ends); i++) {
        (void)snprintf(path, sizeof path, "%s%s", db, ends[i]);
        (void)unlink(path);
    }
}

/* ---- servers ---- */

void bench_servers_start(size_t n)
{
    uint8_t fingerprint[64];

    for (size_t i = 0; i < n; i++) {
        struct sx_wr w;
        processes[i] = served_start(NULL);
        sx_wr_fixed(&w, fingerprint, sizeof fingerprint);
        sx_b64url_encode(&w, sx_bytes(processes[i].key_hash, 32));
        (void)snprintf(addresses[i], sizeof addresses[i], "smp://%.*s@127.0.0.1:%u", (int)w.len,
                       (const char *)fingerprint, (unsigned)processes[i].port);
        bench_servers[i] = addresses[i];
    }
}

void bench_servers_stop(size_t n)
{
    while (n > 0) /* backwards: the later ones hold what stops the earlier ones open */
        served_stop(&processes[--n]);
}
