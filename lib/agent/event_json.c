/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON rendering of events, for hosts that prefer text (bindings, scripts). */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "agent/agent.h"
#include "agent/event.h"
#include "agent/status.h"

static const char *const integrity_names[] = { "OK", "SKIPPED", "BAD_ID", "DUPLICATE", "BAD_HASH" };

static const char *const sync_names[] = { "ok", "allowed", "required", "started", "agreed" };

/* Exact, though a reader that has only doubles may round: a peer numbers its messages as it
 * likes. */
static bool add_int(cJSON *o, const char *key, int64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, v);
    return cJSON_AddRawToObject(o, key, text) != NULL;
}

static bool add_data(cJSON *o, const char *key, simplex_bytes data)
{
    struct sx_wr w;
    bool ok;

    sx_wr_init(&w, data.len * 2 + 8);
    sx_b64url_encode(&w, data);
    sx_wr_u8(&w, 0);
    ok = !w.bad && cJSON_AddStringToObject(o, key, (const char *)w.p) != NULL;
    sx_wr_free(&w);
    return ok;
}

static bool add_text(cJSON *o, const char *key, simplex_bytes text)
{
    uint8_t *copy = sx_memdup(text);
    bool ok = copy != NULL && cJSON_AddStringToObject(o, key, (const char *)copy) != NULL;

    if (copy != NULL)
        sx_free_secret(copy, text.len);
    return ok;
}

static bool add_integrity(cJSON *o, const simplex_event *ev)
{
    bool ok = cJSON_AddStringToObject(o, "integrity", integrity_names[ev->integrity]) != NULL;

    if (ev->integrity == SIMPLEX_MSG_SKIPPED)
        ok = ok && add_int(o, "gapFirst", ev->gap_first) && add_int(o, "gapLast", ev->gap_last);
    if (ev->integrity == SIMPLEX_MSG_BAD_ID)
        ok = ok && add_int(o, "badId", ev->gap_first);
    return ok;
}

/* Integrity is not known before the message is received. */
static bool add_message(cJSON *o, const simplex_event *ev)
{
    return add_data(o, "body", sx_wr_bytes(&ev->data)) &&
           (ev->kind == SIMPLEX_EV_PEEKED || add_integrity(o, ev)) &&
           add_int(o, "senderId", ev->ext_id) && add_int(o, "serverTime", ev->srv_ts) &&
           cJSON_AddBoolToObject(o, "notify", ev->notify) != NULL &&
           cJSON_AddBoolToObject(o, "pq", ev->pq) != NULL;
}

static bool add_conns(cJSON *o, const simplex_event *ev)
{
    cJSON *array = cJSON_AddArrayToObject(o, "conns");
    bool ok = array != NULL;

    for (size_t i = 0; ok && i < ev->n_conns; i++) {
        cJSON *n = cJSON_CreateNumber((double)ev->conns[i]);
        ok = n != NULL && cJSON_AddItemToArray(array, n);
    }
    return ok;
}

static const char *const phase_names[] = {
    NULL, "started", "confirmed", "secured", "completed", "aborted",
};

static bool add_switch(cJSON *o, const simplex_event *ev)
{
    size_t phase = (size_t)ev->phase;

    return cJSON_AddStringToObject(o, "direction",
                                   ev->direction == SIMPLEX_SWITCH_RCV ? "rcv" : "snd") != NULL &&
           (phase == 0 || phase >= SX_COUNT(phase_names) ||
            cJSON_AddStringToObject(o, "phase", phase_names[phase]) != NULL);
}

/* Both lists end before what cannot be read: the rest of the event is still worth showing. */
static bool add_owners(cJSON *o, const simplex_event *ev, size_t n)
{
    cJSON *array = cJSON_AddArrayToObject(o, "owners");
    bool ok = array != NULL;
    simplex_link_owner owner;

    for (size_t i = 0; ok && i < n && simplex_event_link_owner(ev, i, &owner) == SIMPLEX_OK; i++) {
        cJSON *item = cJSON_CreateObject();
        ok = item != NULL && cJSON_AddItemToArray(array, item) && add_data(item, "id", owner.id) &&
             add_data(item, "key", owner.key);
    }
    return ok;
}

static bool add_relays(cJSON *o, const simplex_event *ev, size_t n)
{
    cJSON *array = cJSON_AddArrayToObject(o, "relays");
    bool ok = array != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        char text[4096];
        size_t len = sizeof text - 1;
        if (simplex_event_link_relay(ev, i, text, &len) != SIMPLEX_OK)
            break;
        text[len] = 0;
        cJSON *item = cJSON_CreateString(text);
        ok = item != NULL && cJSON_AddItemToArray(array, item);
    }
    return ok;
}

static bool add_link_data(cJSON *o, const simplex_event *ev)
{
    simplex_link_info i = { .size = sizeof i };
    char type[2] = "";

    simplex_rc rc = simplex_event_link_info(ev, &i);
    if (rc != SIMPLEX_OK) /* a look that failed has none */
        return rc != SIMPLEX_E_NOMEM;
    type[0] = (char)i.type;
    return cJSON_AddStringToObject(o, "type", type) != NULL &&
           add_data(o, "data", simplex_event_data(ev)) && add_text(o, "link", i.link) &&
           add_data(o, "rootKey", i.root_key) && add_data(o, "entity", i.entity) &&
           cJSON_AddBoolToObject(o, "direct", i.direct) != NULL && add_owners(o, ev, i.n_owners) &&
           add_relays(o, ev, i.n_relays);
}

static bool add_queue(cJSON *o, const simplex_queue_status *q)
{
    return cJSON_AddBoolToObject(o, "secured", q->secured) != NULL &&
           cJSON_AddBoolToObject(o, "notifier", q->notifier) != NULL &&
           cJSON_AddStringToObject(o, "subscription", sx_subscription_names[q->subscription]) !=
               NULL &&
           cJSON_AddBoolToObject(o, "delivered", q->delivered) != NULL &&
           add_int(o, "messages", q->messages) && cJSON_AddBoolToObject(o, "full", q->full) != NULL;
}

static bool add_misses(cJSON *o, const simplex_event *ev)
{
    int64_t behind, missed = simplex_event_misses(ev, &behind);

    return add_int(o, "queue", ev->conf) && add_int(o, "missed", missed) &&
           add_int(o, "behind", behind);
}

static const char *const change_names[] = { NULL, "added", "removed", "suspended" };

static bool add_change(cJSON *o, const simplex_event *ev)
{
    size_t change = (size_t)ev->phase;

    return cJSON_AddStringToObject(o, "direction",
                                   ev->direction == SIMPLEX_SWITCH_RCV ? "rcv" : "snd") != NULL &&
           (change == 0 || change >= SX_COUNT(change_names) ||
            cJSON_AddStringToObject(o, "change", change_names[change]) != NULL);
}

static const char *const step_names[] = {
    NULL, "connect", "create", "secure", "delete", "disconnect",
};

static bool add_test(cJSON *o, const simplex_event *ev)
{
    size_t step = (size_t)ev->phase;

    return add_int(o, "test", ev->conf) &&
           (step == 0 || step >= SX_COUNT(step_names) ||
            cJSON_AddStringToObject(o, "step", step_names[step]) != NULL);
}

static bool add_kind(cJSON *o, const simplex_event *ev)
{
    switch (ev->kind) {
    case SIMPLEX_EV_INV:
        return add_text(o, "link", sx_wr_bytes(&ev->data));
    case SIMPLEX_EV_LINK:
        return add_text(o, "shortLink", sx_wr_bytes(&ev->data));
    case SIMPLEX_EV_LDATA:
        return add_link_data(o, ev);
    case SIMPLEX_EV_CONF:
        return add_int(o, "conf", ev->conf) && add_data(o, "info", sx_wr_bytes(&ev->data)) &&
               cJSON_AddBoolToObject(o, "pq", ev->pq) != NULL;
    case SIMPLEX_EV_REQ:
        return add_int(o, "request", ev->conf) && add_data(o, "info", sx_wr_bytes(&ev->data)) &&
               cJSON_AddBoolToObject(o, "pq", ev->pq) != NULL;
    case SIMPLEX_EV_INFO:
        return add_data(o, "info", sx_wr_bytes(&ev->data)) &&
               cJSON_AddBoolToObject(o, "pq", ev->pq) != NULL;
    case SIMPLEX_EV_CON:
        return cJSON_AddBoolToObject(o, "pq", ev->pq) != NULL;
    case SIMPLEX_EV_RSYNC:
        return cJSON_AddStringToObject(o, "state", sync_names[ev->conf]) != NULL;
    case SIMPLEX_EV_MSG:
        return add_message(o, ev);
    case SIMPLEX_EV_QINFO:
        return ev->rc != SIMPLEX_OK || add_queue(o, &ev->queue);
    case SIMPLEX_EV_RCVD:
        return cJSON_AddStringToObject(
                   o, "status", ev->status == SIMPLEX_RECEIPT_OK ? "OK" : "BAD_HASH") != NULL &&
               add_data(o, "info", sx_wr_bytes(&ev->data));
    case SIMPLEX_EV_TEST:
        return add_test(o, ev);
    case SIMPLEX_EV_SWITCH:
        return add_switch(o, ev);
    case SIMPLEX_EV_NOTIFIER:
        return add_data(o, "notifier", sx_wr_bytes(&ev->data));
    case SIMPLEX_EV_PEEKED:
        return add_int(o, "count", ev->conf) &&
               (ev->rc != SIMPLEX_OK || ev->conf == 0 || add_message(o, ev));
    case SIMPLEX_EV_FETCHED:
    case SIMPLEX_EV_SERVICE_UP:
    case SIMPLEX_EV_SERVICE_DOWN:
    case SIMPLEX_EV_SERVICE_ALL:
    case SIMPLEX_EV_SERVICE_END:
        return add_int(o, "count", ev->conf);
    case SIMPLEX_EV_MSGNTF:
        return add_data(o, "serverMsgId", sx_wr_bytes(&ev->data)) &&
               (ev->srv_ts == 0 || add_int(o, "serverTime", ev->srv_ts));
    case SIMPLEX_EV_QMISS:
        return add_misses(o, ev);
    case SIMPLEX_EV_QUEUE:
        return add_int(o, "queue", ev->conf) && add_change(o, ev);
    case SIMPLEX_EV_UP:
    case SIMPLEX_EV_DOWN:
        return add_conns(o, ev);
    default:
        return true;
    }
}

static bool add_common(cJSON *o, const simplex_event *ev)
{
    bool ok = cJSON_AddStringToObject(o, "event", simplex_event_name(ev)) != NULL;

    if (ev->conn != 0)
        ok = ok && add_int(o, "conn", ev->conn);
    if (simplex_event_user(ev) != 0)
        ok = ok && add_int(o, "user", simplex_event_user(ev));
    if (ev->msg_id != 0)
        ok = ok && add_int(o, "msgId", ev->msg_id);
    if (ev->server != NULL)
        ok = ok && cJSON_AddStringToObject(o, "server", ev->server) != NULL;
    if (ev->rc != SIMPLEX_OK)
        ok = ok && cJSON_AddStringToObject(o, "error", simplex_rc_name(ev->rc)) != NULL &&
             cJSON_AddStringToObject(o, "errorText", simplex_rc_text(ev->rc)) != NULL;
    if (ev->detail != NULL)
        ok = ok && cJSON_AddStringToObject(o, "detail", ev->detail) != NULL;
    return ok;
}

const char *simplex_event_json(const simplex_event *ev)
{
    simplex_event *own = (simplex_event *)(uintptr_t)ev; /* the cache is not part of its value */
    cJSON *o;

    if (ev->json != NULL)
        return ev->json;
    o = cJSON_CreateObject();
    if (o != NULL && add_common(o, ev) && add_kind(o, ev)) {
        char *text = cJSON_PrintUnformatted(o);
        if (text != NULL) {
            own->json = sx_strdup(text);
            sx_wipe(text, strlen(text));
            cJSON_free(text);
        }
    }
    cJSON_Delete(o);
    return ev->json;
}
