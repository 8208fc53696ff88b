/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker does beside talking: links of all kinds, rotations, new ratchets. */
#include <stdio.h>
#include <string.h>

#include "agent_worker.h"

#define STUCK_MS 4000 /* a new ratchet that takes longer is begun again */
#define SYNCS_MAX 5   /* of each side in a connection: more than 20 an hour would be dropped */

/* ---- links ---- */

static void create_short(void)
{
    simplex_link_data data = { .size = sizeof data, .data = { (const uint8_t *)"worker", 6 } };
    int64_t conn;

    check("create", simplex_agent_create_short(
                        self.a, self.owner ? SIMPLEX_LINK_CONTACT : SIMPLEX_LINK_INVITATION,
                        SIMPLEX_PQ_OFF, &data, &conn));
}

static void create(void)
{
    int64_t conn;

    if (chore(CHORE_SHORT))
        create_short();
    else if (self.owner)
        check("create", simplex_agent_create_address(self.a, &conn));
    else
        check("create", simplex_agent_create(self.a, SIMPLEX_PQ_OFF, &conn));
}

static void join(long n, simplex_bytes link, int64_t looked)
{
    char number[32];
    simplex_bytes info = { (const uint8_t *)number, 0 };
    int64_t conn = 0;

    info.len = (size_t)snprintf(number, sizeof number, "%ld", n);
    check("join", simplex_agent_join(self.a, link, info, SIMPLEX_PQ_OFF, &conn));
    if (looked != 0 && conn != looked)
        error("join", "made another connection than the look");
}

/* Some are joined at once, some from inside LDATA, the others from the main thread after it. */
static void take(long n, simplex_bytes link)
{
    int64_t conn;

    if (chore(CHORE_SHORT) && n % 3 != 0)
        check("look", simplex_agent_look(self.a, link, &conn));
    else
        join(n, link, 0);
}

/* A look that was not joined keeps others at the same address from being told from it. */
static bool looking(long n, int64_t conn, simplex_bytes link)
{
    simplex_connection_info info = { .size = sizeof info };
    int64_t again = 0;

    check("connection", simplex_agent_connection(self.a, conn, &info));
    if (info.state == SIMPLEX_CONN_LOOKED && n % 3 == 2)
        join(n, link, conn);
    else if (info.state == SIMPLEX_CONN_LOOKING && below(50) == 0) {
        simplex_rc rc = simplex_agent_look(self.a, link, &again);
        /* LDATA may have come meanwhile, and been answered with a join */
        if (rc != SIMPLEX_E_PROHIBITED)
            check("look", rc);
        if (rc == SIMPLEX_OK && again != conn)
            error("look", "made another connection");
    }
    return info.state == SIMPLEX_CONN_LOOKED || info.state == SIMPLEX_CONN_LOOKING;
}

void begin(long n, const int64_t *ids, long goal)
{
    char text[8192];
    simplex_bytes link = { (const uint8_t *)text, 0 };
    bool one = chore(CHORE_ADDRESS);

    if (self.initiator) {
        if (self.owner ? n < 0 : n < goal)
            create();
        return;
    }
    if (n > 0 && chore(CHORE_SHORT)) {
        link.len = get_file("link", one ? 0 : n - 1, text, sizeof text);
        if (looking(n - 1, ids[n - 1], link))
            return;
    }
    if (n < goal && (link.len = get_file("link", one ? 0 : n, text, sizeof text)) > 0)
        take(n, link);
}

void on_link_data(const simplex_event *ev)
{
    simplex_bytes data = simplex_event_data(ev);
    char text[8192];
    simplex_bytes link = { (const uint8_t *)text, 0 };
    int64_t ids[CONVS];
    size_t n = CONVS, k = 0;

    if (data.len != 6 || memcmp(data.ptr, "worker", 6) != 0)
        error("link", "leads to something else");
    check("connections", simplex_agent_connections(self.a, 0, ids, &n));
    while (k < n && ids[k] != simplex_event_conn(ev))
        k++;
    link.len = get_file("link", chore(CHORE_ADDRESS) ? 0 : (long)k, text, sizeof text);
    if (k % 3 == 1)
        join((long)k, link, simplex_event_conn(ev));
}

/* ---- errors that belong to it ---- */

/* A step of a rotation that was given up meanwhile. */
bool expected_error(const simplex_event *ev)
{
    const char *detail = simplex_event_detail(ev);

    return chore(CHORE_ABORT) && simplex_event_kind(ev) == SIMPLEX_EV_ERR &&
           simplex_event_error(ev) == SIMPLEX_E_PROHIBITED && detail != NULL &&
           (strcmp(detail, "QK") == 0 || strcmp(detail, "QU") == 0);
}

/* ---- rotation ---- */

void set_policy(bool stop)
{
    static int before = -1; /* in this process */
    const simplex_rotation soon = {
        .size = sizeof soon, .every = 200, .messages = 20, .spread = 1, .per_day = 864000000
    };

    if (!chore(CHORE_POLICY) || before == (int)stop)
        return;
    check("policy", simplex_agent_set_rotation(self.a, SIMPLEX_USER_DEFAULT, stop ? NULL : &soon));
    before = (int)stop;
}

static void rotate(int64_t conn, const simplex_connection_info *info)
{
    static const simplex_bytes any = { NULL, 0 };
    simplex_rc rc = SIMPLEX_OK;

    if (info->rcv_switch == 0)
        rc = simplex_agent_switch(self.a, conn, any);
    else if (chore(CHORE_ABORT) && below(3) == 0)
        rc = simplex_agent_abort_switch(self.a, conn);
    if (rc != SIMPLEX_E_PROHIBITED) /* it went on meanwhile */
        check("switch", rc);
}

/* ---- new ratchets ---- */

/* One side alone mends what does not come to an end by itself (docs/api-guide.md). */
static void sync_ratchet(long conv, int64_t conn, const simplex_connection_info *info, bool stop)
{
    struct conv *c = &self.convs[conv];
    int64_t now = now_ms();
    bool stuck = false;
    char line[32];

    if (info->sync_state == SIMPLEX_SYNC_OK)
        c->blocked_at = 0;
    else if (c->blocked_at == 0)
        c->blocked_at = now;
    else
        stuck = self.initiator && now - c->blocked_at > STUCK_MS;
    bool wanted =
        !stop && info->sync_state == SIMPLEX_SYNC_OK && c->syncs < SYNCS_MAX && now >= c->sync_at;
    if (!stuck && !wanted)
        return;
    c->blocked_at = 0;
    c->syncs++;
    (void)snprintf(line, sizeof line, "y %ld\n", conv);
    write_log(line);
    c->sync_at = now + 50 + below(200);
    check("sync", simplex_agent_sync_ratchet(self.a, conn, true));
}

/* ---- */

bool do_chore(long conv, int64_t conn, const simplex_connection_info *info, bool stop)
{
    struct conv *c = &self.convs[conv];

    if (chore(CHORE_SYNC))
        sync_ratchet(conv, conn, info, stop);
    if (chore(CHORE_SWITCH) && !stop && now_ms() >= c->switch_at) {
        c->switch_at = now_ms() + below(60);
        rotate(conn, info);
    }
    /* Of a move that the peer gives up we are not told: the next one takes its place. */
    bool followed =
        info->snd_switch == 0 || (chore(CHORE_ABORT) && info->snd_switch == SIMPLEX_SWITCH_STARTED);
    return info->rcv_switch == 0 && followed && info->sync_state == SIMPLEX_SYNC_OK;
}
