/* SPDX-License-Identifier: Apache-2.0 */
/* One call that sends to many connections. */
#include "sim/acts.h"

#define MANY 8

static struct {
    size_t n;
    bool shared; /* one body for all */
    struct app_msg *msgs[MANY];
    simplex_batch_message calls[MANY];
    uint8_t bodies[MANY][APP_BODY];
    simplex_rc rc;
} batch;

static void run_batch(struct sim_node *n, void *arg)
{
    size_t sent;

    (void)arg;
    batch.rc = simplex_agent_send_batch(n->a, batch.calls, batch.n, sizeof batch.calls[0], &sent);
    for (size_t i = 0; i < batch.n; i++) {
        struct app_msg *m = batch.msgs[i];
        m->id = batch.calls[i].msg_id;
        app_sent(m, batch.rc != SIMPLEX_OK ? batch.rc : batch.calls[i].rc);
        sent -= batch.calls[i].rc == SIMPLEX_OK;
    }
    if (batch.rc == SIMPLEX_OK && sent != 0)
        sim_fail("a batch counts other messages than it sent");
}

/* Each connection once, so that a body tells whose message it is. */
static void add(struct app_end *e, size_t len)
{
    struct app_msg *m = app_new_msg(e, false);
    simplex_batch_message *c = &batch.calls[batch.n];

    if (m == NULL)
        return;
    if (batch.shared && batch.n > 0) {
        m->text = batch.msgs[0]->n;
        c->body = batch.calls[0].body;
    } else {
        c->body = app_body(m, len, batch.bodies[batch.n]);
    }
    c->conn = e->id;
    c->flags = sim_chance(50) ? SIMPLEX_SEND_NOTIFY : 0;
    batch.msgs[batch.n++] = m;
}

bool batch_send(struct sim_node *n)
{
    size_t len = sim_chance(5) ? 13000 : 30;

    batch.n = 0;
    batch.shared = sim_chance(60);
    for (unsigned i = 0; i < app.n_ends && batch.n < MANY; i++) {
        if (app.ends[i].node == n && app_usable(&app.ends[i]) && sim_chance(70))
            add(&app.ends[i], len);
    }
    if (batch.n == 0)
        return false;
    (void)sim_app(n, run_batch, NULL);
    return true;
}
