/* SPDX-License-Identifier: Apache-2.0 */
/* Stored events: what can be read is the same when written and read again, and has a JSON form. */
#include <cjson/cJSON.h>

#include "agent/agent.h"
#include "agent/event.h"
#include "fuzz.h"

static void check_same(const struct simplex_event *a, const struct simplex_event *b)
{
    CHECK(a->kind == b->kind && a->conn == b->conn && a->msg_id == b->msg_id);
    CHECK(a->conf == b->conf && a->status == b->status && a->rc == b->rc && a->pq == b->pq);
    CHECK(sx_bytes_eq(simplex_event_data(a), simplex_event_data(b)));
    CHECK((a->server == NULL) == (b->server == NULL));
    CHECK(a->server == NULL || strcmp(a->server, b->server) == 0);
    CHECK((a->detail == NULL) == (b->detail == NULL));
    CHECK(a->detail == NULL || strcmp(a->detail, b->detail) == 0);
}

static void check_json(const struct simplex_event *ev)
{
    const char *text = simplex_event_json(ev);

    CHECK(text != NULL && simplex_event_json(ev) == text);
    bool has_text = ev->server != NULL || ev->detail != NULL || ev->kind == SIMPLEX_EV_INV ||
                    ev->kind == SIMPLEX_EV_LINK || ev->kind == SIMPLEX_EV_LDATA;
    CHECK(has_text || strstr(text, "e+") == NULL); /* numbers are written out */
    cJSON *o = cJSON_Parse(text);
    CHECK(cJSON_IsObject(o));
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "event");
    CHECK(cJSON_IsString(name) && strcmp(name->valuestring, simplex_event_name(ev)) == 0);
    cJSON_Delete(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simplex_event ev, again;
    struct sx_wr w, w2;
    simplex_rc rc = sx_event_decode(sx_bytes(data, size), &ev);

    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_DAMAGED);
    if (rc != SIMPLEX_OK) {
        sx_event_clear(&ev);
        return 0;
    }
    sx_wr_init(&w, 1 << 20);
    sx_wr_init(&w2, 1 << 20);
    sx_event_encode(&w, &ev);
    CHECK(!w.bad && sx_event_decode(sx_wr_bytes(&w), &again) == SIMPLEX_OK);
    check_same(&ev, &again);
    sx_event_encode(&w2, &again);
    CHECK(sx_bytes_eq(sx_wr_bytes(&w), sx_wr_bytes(&w2)));
    check_json(&ev);
    sx_wr_free(&w);
    sx_wr_free(&w2);
    sx_event_clear(&ev);
    sx_event_clear(&again);
    return 0;
}
