/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a thread: made, written to, lost, closed. */
#include "bench/load/engine.h"

#include <stdlib.h>

void count_error(struct thread *t, const char *what, const char *detail)
{
    errors_add(&t->r.errors, what, detail, 1);
    atomic_fetch_add(&t->errors, 1);
}

static void on_ready(void *owner)
{
    struct link *l = owner;
    struct thread *t = l->t;

    l->state = LINK_READY;
    hist_add(&t->r.connect, (uint64_t)(sx_mono_us() - l->since_us));
    t->r.version = sx_conn_session(l->conn)->version;
    t->r.ready++;
    t->connecting--;
    t->resolved++;
    atomic_fetch_add(&t->ready, 1);
    if (t->o->mode == LOAD_STORM)
        atomic_fetch_add(&t->done, 1);
    links_open(t);
}

static void on_lost(void *owner, simplex_rc rc)
{
    struct link *l = owner;
    struct thread *t = l->t;
    bool was_ready = l->state == LINK_READY;

    l->conn = NULL;
    l->state = LINK_OVER;
    count_error(t, was_ready ? "connection lost" : "connect", simplex_rc_text(rc));
    if (was_ready) {
        atomic_fetch_sub(&t->ready, 1);
        work_lost(l);
        return;
    }
    t->connecting--;
    t->resolved++;
    links_open(t);
}

static void on_content(void *owner, simplex_bytes content);

static void on_drained(void *owner)
{
    link_touch(owner);
}

static const struct sx_conn_ops ops = {
    .ready = on_ready, .content = on_content, .drained = on_drained, .lost = on_lost
};

bool links_make(struct thread *t, unsigned n)
{
    t->links = sx_calloc(n == 0 ? 1 : n, sizeof(*t->links));
    t->n_links = t->links == NULL ? 0 : n;
    for (unsigned i = 0; i < t->n_links; i++) {
        t->links[i].t = t;
        bool sends = t->other == NULL && t->o->mode == LOAD_CYCLE && i % 2 == 1;
        t->links[i].side = t->senders || sends ? SENDER : RECIPIENT;
    }
    return t->links != NULL;
}

void links_open(struct thread *t)
{
    unsigned limit = t->o->mode == LOAD_STORM ? 0 : t->o->parallel;

    while (t->opened < t->n_links && (limit == 0 || t->connecting < limit)) {
        struct link *l = &t->links[t->opened++];
        l->since_us = sx_mono_us();
        l->state = LINK_CONNECTING;
        simplex_rc rc = sx_conn_open(t->net, &t->o->server, 0, 0, &ops, l, &l->conn);
        if (rc != SIMPLEX_OK) {
            l->state = LINK_OVER;
            t->resolved++;
            count_error(t, "connect", simplex_rc_text(rc));
        } else {
            t->connecting++;
        }
    }
}

void links_close(struct thread *t)
{
    for (unsigned i = 0; i < t->n_links; i++) {
        struct link *l = &t->links[i];
        if (l->conn != NULL)
            sx_conn_close(l->conn);
        l->conn = NULL;
        l->state = LINK_NONE;
    }
    t->opened = t->connecting = t->resolved = 0;
    t->dirty = NULL;
    atomic_store(&t->ready, 0);
}

void link_touch(struct link *l)
{
    if (l->dirty)
        return;
    l->dirty = true;
    l->next_dirty = l->t->dirty;
    l->t->dirty = l;
}

static void flush(struct link *l)
{
    size_t len;

    while (l->state == LINK_READY && !sx_conn_congested(l->conn) && (len = work_block(l)) > 0) {
        simplex_rc rc = sx_conn_write(l->conn, sx_bytes(l->t->block, len));
        atomic_fetch_add_explicit(&l->t->blocks, 1, memory_order_relaxed);
        if (rc == SIMPLEX_OK)
            rc = sx_conn_push(l->conn);
        if (rc == SIMPLEX_OK)
            continue;
        struct sx_conn *c = l->conn;
        on_lost(l, rc);
        sx_conn_close(c);
    }
}

/*
 * With one queue a connection an answer has nothing to wait for: it leaves while the connection is
 * still in the cache, and an ACK, which the next message waits for, before the SENDs.
 */
static void on_content(void *owner, simplex_bytes content)
{
    struct link *l = owner;

    atomic_fetch_add_explicit(&l->t->blocks, 1, memory_order_relaxed);
    work_content(l, content);
    if (l->t->o->queues == 1 && l->first != NULL)
        flush(l);
}

void links_flush(struct thread *t)
{
    struct link *l = t->dirty;

    t->dirty = NULL;
    while (l != NULL) {
        struct link *next = l->next_dirty;
        l->dirty = false;
        flush(l);
        l = next;
    }
}
