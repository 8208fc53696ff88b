/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices to clients: a server that blocks a queue may add for how long its owner shall make no
 * contact address there (BLOCKED with `notice`, smp.md section 6.2). Notices of one server add up:
 * they end when the sum of their times has passed since the last one. One without a time has no
 * end. Each goes when its queue can be subscribed again, or is blocked without a notice.
 */
#include "agent/notice.h"
#include "agent/route.h"

#include "store/notice.h"

#define TTL_MAX (SX_MS_MAX / 1000)

simplex_rc sx_notices_load(struct simplex_agent *a)
{
    struct sx_notices n = { .server = "" };
    simplex_rc rc = sx_store_notices_next(a->store, &n);

    a->noticed = rc == SIMPLEX_OK;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static bool is_notice(const struct sx_rsp *rsp)
{
    return rsp != NULL && rsp->tag == SX_R_ERR && rsp->err.err == SX_ERR_BLOCKED &&
           rsp->err.has_notice;
}

static int64_t bounded(int64_t ttl)
{
    if (ttl < 0)
        return 0;
    return ttl < TTL_MAX ? ttl : TTL_MAX;
}

simplex_rc sx_notice_answer(struct simplex_agent *a, int64_t queue, const struct sx_rsp *rsp)
{
    struct sx_notice n = { .at = sx_now_ms() };
    struct sx_rcv_queue q;
    char *server;
    simplex_rc rc;

    if (!a->noticed && !is_notice(rsp))
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, queue, &q);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    server = sx_server_text(&q.server);
    if (server == NULL) {
        rc = SIMPLEX_E_NOMEM;
    } else if (is_notice(rsp)) {
        n.has_ttl = rsp->err.has_ttl;
        n.ttl = bounded(rsp->err.ttl);
        rc = sx_store_notice_put(a->store, server, sx_id_bytes(&q.rcv_id), &n);
        a->noticed = true;
    } else {
        rc = sx_store_notice_delete(a->store, server, sx_id_bytes(&q.rcv_id));
    }
    sx_free(server);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ms since 1970; 0: no end. E_NOT_FOUND: they have passed. */
static simplex_rc in_force(const struct sx_notices *n, int64_t *until)
{
    *until = 0;
    if (n->endless)
        return SIMPLEX_OK;
    *until = n->at + bounded(n->ttl) * 1000;
    return *until > sx_now_ms() ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND;
}

simplex_rc sx_notice_check(struct simplex_agent *a, const struct sx_server *server)
{
    struct sx_notices n = { .server = "" };
    char *text;
    int64_t until;
    simplex_rc rc = SIMPLEX_OK;
    bool there = false;

    if (!a->noticed)
        return SIMPLEX_OK;
    text = sx_server_text(server);
    if (text == NULL)
        return SIMPLEX_E_NOMEM;
    while (!there && (rc = sx_store_notices_next(a->store, &n)) == SIMPLEX_OK)
        there = strcmp(n.server, text) == 0 && in_force(&n, &until) == SIMPLEX_OK;
    sx_free(text);
    if (there)
        return SIMPLEX_E_NOTICE;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- the public function ---- */

struct args {
    size_t index;
    simplex_notice *out;
};

static simplex_rc do_notice(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_notices n = { .server = "" };
    size_t left = x->index;
    int64_t until = 0;
    simplex_rc rc;

    while ((rc = sx_store_notices_next(a->store, &n)) == SIMPLEX_OK) {
        if (in_force(&n, &until) == SIMPLEX_OK && left-- == 0)
            break;
    }
    if (rc != SIMPLEX_OK)
        return rc;
    memcpy(x->out->server, n.server, sizeof x->out->server);
    x->out->until = until;
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_notice(simplex_agent *a, size_t index, simplex_notice *out)
{
    struct args x = { .index = index, .out = out };

    if (a == NULL || out == NULL || out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    size_t size = out->size;
    memset(out, 0, sizeof *out);
    out->size = size;
    return sx_agent_run(a, do_notice, &x, false);
}
