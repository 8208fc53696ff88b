/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/event.h"
#include "agent/promised.h"
#include "agent/route.h"

static void free_promise(struct sx_promised *p)
{
    sx_event_delete(p->answer);
    sx_free(p);
}

static void free_list(struct sx_promised **list)
{
    while (*list != NULL) {
        struct sx_promised *next = (*list)->next;
        free_promise(*list);
        *list = next;
    }
}

void sx_promises_free(struct simplex_agent *a)
{
    free_list(&a->promised);
}

void sx_promise_forget(struct simplex_agent *a, struct sx_promised *p)
{
    struct sx_promised **at = &a->promised;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free_promise(p);
}

void sx_promise_keep(struct simplex_agent *a, struct sx_promised *p)
{
    sx_emit_made(a, p->answer);
    p->answer = NULL;
    sx_promise_forget(a, p);
}

static bool promise(struct sx_promised **list, int32_t kind, const struct sx_rcv_queue *q)
{
    struct sx_promised *p = sx_calloc(1, sizeof *p);

    if (p == NULL)
        return false;
    p->next = *list;
    *list = p;
    p->queue = q->id;
    p->answer = sx_event_new(kind, q->conn_id);
    if (p->answer != NULL)
        p->answer->server = sx_server_text(&q->server);
    return p->answer != NULL && p->answer->server != NULL;
}

static simplex_rc promise_all(struct simplex_agent *a, int64_t conn, const struct sx_question *how,
                              struct sx_promised **list)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc == SIMPLEX_OK && how->may_ask(a, &q) && !promise(list, how->kind, &q))
            rc = SIMPLEX_E_NOMEM;
    }
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    return *list != NULL ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
}

/* The first of the list joins those under way. */
static void begin(struct simplex_agent *a, struct sx_promised **list, const struct sx_question *how)
{
    struct sx_promised *p = *list;

    *list = p->next;
    p->next = a->promised;
    a->promised = p;
    p->answer->rc = how->ask(a, p);
    if (p->answer->rc != SIMPLEX_OK)
        sx_promise_keep(a, p);
}

simplex_rc sx_promise_answers(struct simplex_agent *a, int64_t conn, const struct sx_question *how)
{
    struct sx_promised *list = NULL;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK)
        rc = promise_all(a, conn, how, &list);
    while (rc == SIMPLEX_OK && list != NULL)
        begin(a, &list, how);
    free_list(&list);
    return rc;
}
