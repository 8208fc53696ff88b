/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repeats: the server of a contact gets a message once more that the contact has already, under a
 * fresh nonce of the queue's layer. To the server it is a message. The contact's agent cannot
 * decrypt it a second time, finds its hash among those received, and acknowledges it without a
 * word (agent.md section 6.8, and the reference: docs/protocol-notes.md).
 *
 * What is repeated is kept in memory only: it is ciphertext, but which contacts were written to
 * last is nobody's business on a disk.
 */
#include "agent/envelope.h"
#include "agent/noise.h"
#include "agent/resync.h"
#include "agent/route.h"

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);

#define KEEP_FOR 600000 /* ms: a newer message takes the place of one that is older than this */

/* ---- what can be repeated ---- */

static void drop(struct sx_noise *n, struct sx_noise_repeat *r)
{
    struct sx_noise_repeat **p = &n->repeats;

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    n->n_repeats--;
    sx_free_secret((void *)(uintptr_t)r->text.ptr, r->text.len);
    sx_free(r);
}

void sx_noise_repeats_free(struct sx_noise *n)
{
    while (n->repeats != NULL)
        drop(n, n->repeats);
}

struct sx_noise_repeat *sx_noise_repeat_of(struct sx_noise *n, int64_t queue)
{
    struct sx_noise_repeat *r = n->repeats;

    while (r != NULL && r->queue != queue)
        r = r->next;
    return r;
}

static void to_front(struct sx_noise *n, struct sx_noise_repeat *r)
{
    struct sx_noise_repeat **p = &n->repeats;

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    r->next = n->repeats;
    n->repeats = r;
}

static struct sx_noise_repeat *new_repeat(struct sx_noise *n, int64_t queue, int64_t conn)
{
    struct sx_noise_repeat *r, *last = n->repeats;

    if (n->n_repeats >= SX_NOISE_REPEATS_MAX) {
        while (last->next != NULL)
            last = last->next;
        drop(n, last);
    }
    r = sx_calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->queue = queue;
    r->conn = conn;
    r->next = n->repeats;
    n->repeats = r;
    n->n_repeats++;
    return r;
}

static bool is_ratchet_message(const struct sx_snd_msg *m)
{
    return m->type != 0 && m->type != SX_ROW_RATCHET_KEY;
}

void sx_noise_delivered(struct simplex_agent *a, const struct sx_rt_sndq *w,
                        const struct sx_snd_msg *m)
{
    struct sx_noise *n = a->noise;
    struct sx_noise_repeat *r;
    struct sx_wr text;

    if (n == NULL || (n->cfg.kinds & SIMPLEX_NOISE_REPEAT) == 0 || n->cfg.budget == 0 ||
        !is_ratchet_message(m))
        return;
    r = sx_noise_repeat_of(n, w->id);
    if (r != NULL) {
        to_front(n, r);
        r->full = false;
        if (sx_mono_ms() - r->since < KEEP_FOR)
            return;
    }
    sx_wr_init(&text, SX_BLOCK);
    if (sx_ratchet_message_of(m, &text) == SIMPLEX_OK && !text.bad &&
        (r != NULL || (r = new_repeat(n, w->id, m->conn_id)) != NULL)) {
        sx_free_secret((void *)(uintptr_t)r->text.ptr, r->text.len);
        r->text.ptr = sx_memdup(sx_wr_bytes(&text));
        r->text.len = r->text.ptr != NULL ? text.len : 0;
        r->since = sx_mono_ms();
        if (r->text.ptr == NULL)
            drop(n, r); /* less noise: nothing depends on it */
    }
    sx_wr_free(&text);
}

void sx_noise_heard(struct simplex_agent *a, int64_t conn)
{
    struct sx_noise_repeat *r = a->noise != NULL ? a->noise->repeats : NULL;

    for (; r != NULL; r = r->next) {
        if (r->conn == conn) {
            r->unanswered = 0;
            r->full = false;
        }
    }
}

/* ---- a slot ---- */

static void drop_old(struct sx_noise *n)
{
    int64_t now = sx_mono_ms();
    struct sx_noise_repeat *next;

    for (struct sx_noise_repeat *r = n->repeats; r != NULL; r = next) {
        next = r->next;
        if (now - r->since >= SX_NOISE_REPEAT_AGE)
            drop(n, r);
    }
}

static struct sx_noise_repeat *any(struct sx_noise *n)
{
    struct sx_noise_repeat *picked = NULL;
    uint32_t seen = 0;

    for (struct sx_noise_repeat *r = n->repeats; r != NULL; r = r->next) {
        if (!r->in_flight && !r->full && r->unanswered < SX_NOISE_UNANSWERED_MAX &&
            sx_random_below(++seen) == 0)
            picked = r;
    }
    return picked;
}

/*
 * Only where nothing is going on: no message is on its way or waits, the ratchets agree, the queue
 * is not being replaced (there the reference takes every message for a step of the rotation).
 * E_PROHIBITED: not now. E_NOT_FOUND: never.
 */
static simplex_rc may_repeat(struct simplex_agent *a, const struct sx_noise_repeat *r,
                             struct sx_snd_queue *q)
{
    struct sx_conn c;
    struct sx_snd_msg m;
    simplex_rc rc = sx_store_sndq_get(a->store, r->queue, q);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, r->conn, &c);
    if (rc != SIMPLEX_OK)
        return rc;
    if (c.deleted || c.suspended || q->status == SX_Q_DISABLED)
        return SIMPLEX_E_NOT_FOUND;
    if (c.sync_state != SX_SYNC_OK || c.state != SX_CONN_READY || q->replaces != 0 ||
        q->switch_state != SX_SW_NONE)
        return SIMPLEX_E_PROHIBITED;
    rc = sx_store_delivery_next(a->store, r->queue, 0, &m);
    if (rc == SIMPLEX_OK)
        return SIMPLEX_E_PROHIBITED;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* Without notification, as receipts are: nobody is to be woken by noise. */
static void send_again(struct simplex_agent *a, struct sx_noise_repeat *r,
                       const struct sx_snd_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_request req = { .cmd = &cmd,
                              .entity = sx_id_bytes(&q->snd_id),
                              .key = &q->auth,
                              .done = on_answer,
                              .ctx = (void *)(intptr_t)r->queue };
    struct sx_rt_server *path;
    struct sx_wr body;

    if (sx_seal_again(q, r->text, &body) == SIMPLEX_OK) {
        cmd.send.body = sx_wr_bytes(&body);
        r->in_flight = sx_route_send(a, r->conn, &q->server, &req, &path) == SIMPLEX_OK;
        if (r->in_flight) {
            r->unanswered++;
            sx_noise_did(a->noise, SX_NOISE_REPEAT);
        }
    }
    sx_wr_free(&body);
}

void sx_noise_repeat(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;
    struct sx_noise_repeat *r;
    struct sx_snd_queue q;
    simplex_rc rc;

    drop_old(n);
    r = any(n);
    if (r == NULL || sx_noise_pay_repeat(n, r))
        return;
    rc = may_repeat(a, r, &q);
    if (rc == SIMPLEX_OK && sx_noise_may(n, SX_NOISE_COST_COMMAND))
        send_again(a, r, &q);
    else if (rc == SIMPLEX_E_NOT_FOUND)
        drop(n, r);
    else if (sx_rc_is_store(rc))
        sx_agent_store_failed(a, rc);
    sx_wipe(&q, sizeof q);
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_repeat *r =
        a->noise != NULL ? sx_noise_repeat_of(a->noise, (int64_t)(intptr_t)ctx) : NULL;

    if (r == NULL)
        return;
    r->in_flight = false;
    if (why == SIMPLEX_OK || sx_is_temporary(why, rsp))
        return;
    if (why == SIMPLEX_E_SERVER && rsp->err.err == SX_ERR_QUOTA)
        r->full = true; /* until the contact is heard */
    else
        drop(a->noise, r); /* the next message will find out, and say so */
}
