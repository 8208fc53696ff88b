/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers say about our queues (QUE, smp.md section 6), and what is subscribed where. Nothing
 * here is stored: it describes the moment.
 */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "agent/event.h"
#include "agent/network.h"
#include "agent/promised.h"
#include "agent/route.h"
#include "agent/status.h"

#define JSON_MAX 4096 /* a server needs some 250; bounds the parser's work and depth */

/* By SIMPLEX_QUEUE_...: the words of INFO, and ours. */
static const char *const words[] = { NULL, "noSub", "subPending", "subThread", "prohibitSub" };
const char *const sx_subscription_names[] = { "none", "idle", "pending", "delivering", "get" };

static bool is_true(const cJSON *o, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static bool get_subscription(const cJSON *sub, simplex_queue_status *out)
{
    const cJSON *word = cJSON_GetObjectItemCaseSensitive(sub, "qSubThread");

    if (!cJSON_IsString(word))
        return false;
    out->delivered = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(sub, "qDelivered"));
    for (size_t n = 1; n < SX_COUNT(words); n++) {
        if (strcmp(word->valuestring, words[n]) == 0) {
            out->subscription = (int32_t)n;
            return true;
        }
    }
    return false;
}

static bool get_status(const cJSON *o, simplex_queue_status *out)
{
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(o, "qiSize");
    const cJSON *sub = cJSON_GetObjectItemCaseSensitive(o, "qiSub");
    const cJSON *type =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(o, "qiMsg"), "msgType");

    if (!cJSON_IsObject(o) || !cJSON_IsNumber(size) || !(size->valuedouble >= 0) ||
        size->valuedouble > INT32_MAX ||
        !cJSON_IsBool(cJSON_GetObjectItemCaseSensitive(o, "qiSnd")))
        return false;
    out->secured = is_true(o, "qiSnd");
    out->notifier = is_true(o, "qiNtf");
    out->messages = (int64_t)size->valuedouble;
    out->full = cJSON_IsString(type) && strcmp(type->valuestring, "quota") == 0;
    return sub == NULL || cJSON_IsNull(sub) || get_subscription(sub, out);
}

simplex_rc sx_queue_status_parse(simplex_bytes json, simplex_queue_status *out)
{
    cJSON *o;
    bool ok;

    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    if (json.len == 0 || json.len > JSON_MAX)
        return SIMPLEX_E_RESPONSE;
    o = cJSON_ParseWithLength((const char *)json.ptr, json.len);
    ok = get_status(o, out);
    cJSON_Delete(o);
    return ok ? SIMPLEX_OK : SIMPLEX_E_RESPONSE;
}

simplex_rc simplex_event_queue(const simplex_event *ev, simplex_queue_status *out)
{
    if (ev->kind != SIMPLEX_EV_QINFO || ev->rc != SIMPLEX_OK || out == NULL ||
        out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    size_t size = out->size;
    *out = ev->queue;
    out->size = size;
    return SIMPLEX_OK;
}

/* ---- QUE ---- */

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_promised *p = ctx;

    /* Deleted meanwhile; but after a failure of the disk the tables are empty for a while. */
    if (sx_rt_rcvq_by_id(a, p->queue) == NULL && a->recover_at == 0) {
        sx_promise_forget(a, p);
        return;
    }
    p->answer->rc = why;
    if (why == SIMPLEX_OK)
        p->answer->rc = sx_queue_status_parse(rsp->info.json, &p->answer->queue);
    else
        p->answer->detail = sx_smp_err_text(rsp);
    sx_promise_keep(a, p);
}

static simplex_rc ask(struct simplex_agent *a, struct sx_promised *p)
{
    static const struct sx_cmd que = { .tag = SX_QUE };
    const struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, p->queue);
    struct sx_request req = {
        .cmd = &que, .entity = sx_id_bytes(q->rcv_id), .key = q->auth, .done = on_answer, .ctx = p
    };

    return sx_client_send(q->server->client, &req);
}

static bool may_ask(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    return sx_rt_rcvq_by_id(a, q->id) != NULL;
}

static simplex_rc do_query(struct simplex_agent *a, void *p)
{
    static const struct sx_question how = { SIMPLEX_EV_QINFO, may_ask, ask };

    return sx_ending(a, SX_SUSPENDED) ? SIMPLEX_E_SUSPENDED
                                      : sx_promise_answers(a, *(const int64_t *)p, &how);
}

simplex_rc simplex_agent_query_queues(simplex_agent *a, int64_t conn)
{
    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_query, &conn);
}

/* ---- subscriptions ---- */

static void show_counts(const struct sx_rt_server *s, simplex_server_status *out)
{
    const struct sx_traffic *t = sx_client_traffic(s->client);

    out->attempts = (int64_t)t->attempts;
    out->sessions = (int64_t)t->sessions;
    out->bytes_out = (int64_t)t->blocks_out * SX_BLOCK;
    out->bytes_in = (int64_t)t->blocks_in * SX_BLOCK;
    out->subscriptions = (int64_t)s->served.subs;
    out->received = (int64_t)s->served.received;
    out->acknowledged = (int64_t)s->served.acks;
    out->sent = (int64_t)s->served.sent;
    out->send_errors = (int64_t)s->served.send_errors;
}

struct args {
    size_t index;
    simplex_server_status *out;
};

static simplex_rc do_server(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    const struct sx_rt_server *s = a->rt_servers;

    for (size_t n = 0; s != NULL && n < x->index; n++)
        s = s->next;
    if (s == NULL)
        return SIMPLEX_E_NOT_FOUND;
    char *text = sx_server_text(sx_client_server(s->client));
    if (text == NULL)
        return SIMPLEX_E_NOMEM;
    (void)snprintf(x->out->server, sizeof x->out->server, "%s", text);
    sx_free(text);
    x->out->user = s->user;
    x->out->connected = sx_client_is_up(s->client);
    x->out->version = sx_client_version(s->client);
    x->out->active = (int64_t)s->n_active;
    x->out->pending = (int64_t)(s->n_pending + s->n_sent);
    for (const struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server)
        x->out->queues++;
    show_counts(s, x->out);
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_server(simplex_agent *a, size_t index, simplex_server_status *out)
{
    struct args x = { .index = index, .out = out };

    if (a == NULL || out == NULL || out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    size_t size = out->size;
    memset(out, 0, sizeof *out);
    out->size = size;
    return sx_agent_run(a, do_server, &x, false);
}
