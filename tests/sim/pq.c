/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-quantum keys, wanted or not by each side at any time: the longest message always fits and a
 * longer one never does; in the end they are used when both sides want them.
 */
#include "agent/agent.h"
#include "sim/acts.h"

#define BODY_MAX 15795 /* include/simplex/agent/messages.h */
#define BODY_MAX_PQ 13573

static struct {
    struct app_end *e;
    bool on;
    bool wants[APP_ENDS];
    simplex_connection_info info;
} pq;

uint32_t pq_any_flag(void)
{
    static const uint32_t flags[] = { 0, 0, SIMPLEX_SEND_PQ_ON, SIMPLEX_SEND_PQ_OFF };

    return flags[sim_below(SX_COUNT(flags))];
}

/* ---- sizes ---- */

static size_t longest(struct app_end *e, uint32_t flag)
{
    struct sx_conn c;

    if (sx_store_conn_get(e->node->a->store, e->id, &c) != SIMPLEX_OK)
        return 0;
    return c.pq_support || flag == SIMPLEX_SEND_PQ_ON ? BODY_MAX_PQ : BODY_MAX;
}

static void run_longest(struct sim_node *n, void *arg)
{
    static const uint8_t body[BODY_MAX + 1];
    uint32_t flag = pq_any_flag();
    size_t len = longest(pq.e, flag);
    int64_t id;

    (void)arg;
    if (len == 0 || pq.e->sync != 0)
        return;
    simplex_rc rc = simplex_agent_send(n->a, pq.e->id, sx_bytes(body, len + 1), flag, &id);
    if (rc == SIMPLEX_OK)
        sim_fail("end %u on %u sends what is too long", pq.e->n, n->n);
    app_send_flags(pq.e, len, false, flag);
}

bool pq_longest(struct sim_node *n)
{
    pq.e = act_any_end(n, app_usable);
    if (pq.e == NULL)
        return false;
    (void)sim_app(n, run_longest, NULL);
    return true;
}

/* ---- the end ---- */

static bool talks(const struct app_end *e)
{
    return app_usable(e) && !e->dead && e->peer != NULL && e->peer->peer == e &&
           app_usable(e->peer) && !e->peer->dead;
}

static void run_wish(struct sim_node *n, void *arg)
{
    (void)n;
    (void)arg;
    app_send_flags(pq.e, 20, true, pq.wants[pq.e->n] ? SIMPLEX_SEND_PQ_ON : SIMPLEX_SEND_PQ_OFF);
}

void pq_choose(void)
{
    for (unsigned i = 0; i < APP_ENDS; i++)
        pq.wants[i] = sim_chance(60);
}

/* One side of each connection says something, then the other one does. */
void pq_talk(bool first)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        pq.e = &app.ends[i];
        if (talks(pq.e) && (pq.e->n < pq.e->peer->n) == first)
            (void)sim_app(pq.e->node, run_wish, NULL);
    }
}

static void run_info(struct sim_node *n, void *arg)
{
    (void)arg;
    pq.info = (simplex_connection_info){ .size = sizeof pq.info };
    SIM_CHECK(simplex_agent_connection(n->a, pq.e->id, &pq.info) == SIMPLEX_OK);
}

void pq_check(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = pq.e = &app.ends[i];
        if (!talks(e) || !sx_kem_available())
            continue;
        bool both = pq.wants[i] && pq.wants[e->peer->n];
        SIM_CHECK(sim_app(e->node, run_info, NULL));
        if (pq.info.pq_snd != both || pq.info.pq_rcv != both)
            sim_fail("end %u on %u: PQ wanted %d and %d, sends %d, receives %d", e->n, e->node->n,
                     pq.wants[i], pq.wants[e->peer->n], pq.info.pq_snd, pq.info.pq_rcv);
    }
}
