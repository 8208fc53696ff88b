/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers are remembered while somebody needs them: receiving queues are there, something is being
 * sent, or was not long ago. An agent that is open for months meets any number of them: contacts
 * choose where they receive.
 */
#include "agent/noise.h"
#include "agent/route.h"

/* Workers remember the server of their last attempt, to be woken when it is up. */
static void mark_workers(struct simplex_agent *a)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->server != NULL)
                w->server->in_use = true;
        }
        for (struct sx_rt_conn *w = a->conns[b]; w != NULL; w = w->next) {
            if (w->server != NULL)
                w->server->in_use = true;
        }
    }
}

static bool is_idle(const struct sx_rt_server *s, int64_t before)
{
    return s->queues == NULL && !s->in_use && s->used_at <= before && !sx_client_is_busy(s->client);
}

void sx_idle_run(struct simplex_agent *a)
{
    int64_t before = sx_mono_ms() - a->idle_time;
    struct sx_rt_server *next;

    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next)
        s->in_use = false;
    sx_routes_idle(a, before);
    mark_workers(a);
    sx_noise_loops_mark(a);
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = next) {
        next = s->next;
        if (!is_idle(s, before))
            continue;
        sx_client_want(s->client, false);
        if (sx_client_is_up(s->client)) /* it is told, and goes the next time */
            sx_client_disconnect(s->client, SIMPLEX_E_DISCONNECTED);
        else
            sx_rt_server_forget(a, s);
    }
}
