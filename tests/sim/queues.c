/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving queues that are added to connections, moved one by one, and removed. */
#include "sim/acts.h"

static struct {
    struct app_end *e;
    enum { ADD, REMOVE, MOVE } what;
    simplex_rc rc;
} call;

/* One of its receiving queues; 0: it has none. */
static int64_t any_queue(struct sim_node *n)
{
    int64_t ids[8];
    uint32_t count = 0;
    simplex_queue_info q = { .size = sizeof q };

    for (size_t i = 0; simplex_agent_queue(n->a, call.e->id, i, &q) == SIMPLEX_OK; i++) {
        if (q.direction == SIMPLEX_SWITCH_RCV && count < SX_COUNT(ids))
            ids[count++] = q.id;
    }
    return count > 0 ? ids[sim_below(count)] : 0;
}

static void run_queue(struct sim_node *n, void *arg)
{
    int64_t queue = call.what != ADD ? any_queue(n) : 0;

    (void)arg;
    call.rc = SIMPLEX_E_NOT_FOUND;
    if (call.what == ADD)
        call.rc = simplex_agent_add_queue(n->a, call.e->id, sx_bytes(NULL, 0), &queue);
    else if (queue != 0 && call.what == REMOVE)
        call.rc = simplex_agent_remove_queue(n->a, call.e->id, queue);
    else if (queue != 0)
        call.rc = simplex_agent_switch_queue(n->a, call.e->id, queue, sx_bytes(NULL, 0));
}

/* Not possible at any time: all servers are used, it is the only queue, or it moves already. */
static bool is_refusal(simplex_rc rc)
{
    return rc == SIMPLEX_E_PROHIBITED || rc == SIMPLEX_E_NO_SERVERS || rc == SIMPLEX_E_NOT_FOUND;
}

bool queues_change(struct sim_node *n)
{
    static const char *const names[] = { [ADD] = "adds", [REMOVE] = "removes", [MOVE] = "moves" };

    call.e = act_any_end(n, app_usable);
    if (call.e == NULL)
        return false;
    call.what = sim_chance(40) ? ADD : sim_chance(50) ? REMOVE : MOVE;
    call.e->switched = true;
    if (sim_app(n, run_queue, NULL) && !is_refusal(call.rc))
        (void)act_tolerated(call.rc);
    sim_trace("%u/%u %s a queue: %s", n->n, call.e->n, names[call.what], simplex_rc_name(call.rc));
    return true;
}
