/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short run in the background, as after a push, made to be killed at any moment
 * (test_agent_fetch_kill.c):
 *
 *     fetch_worker <folder> <database> <server> <connection>
 *
 * opens the database to fetch alone, and fetches until nothing waits. In the log, on disk before
 * the agent is told more:
 *
 *     m <id> <integrity> <text>   a message is shown
 *     a <id>                      its acknowledgement has returned
 *     e <text>                    what should not have happened
 *
 * It ends with status 0 when all was fetched, 1 when something was wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_worker.h"

#define WAIT_MS 20000
#define FETCHES_MAX 50 /* far more than there are messages */

struct worker self;
static int64_t conn;
static int fetches;
static bool failed, done;

static void must(const char *what, simplex_rc rc)
{
    check(what, rc);
    failed = failed || rc != SIMPLEX_OK;
}

static void fetch(void)
{
    if (fetches++ < FETCHES_MAX)
        must("fetch", simplex_agent_fetch(self.a, &conn, 1));
    else
        must("it fetches without end", SIMPLEX_E_INTERNAL);
}

static void on_message(const simplex_event *ev)
{
    simplex_bytes body = simplex_event_data(ev);
    int64_t id = simplex_event_msg_id(ev);
    char line[128];

    (void)snprintf(line, sizeof line, "m %lld %d %.*s\n", (long long)id,
                   (int)simplex_event_integrity(ev, NULL, NULL), body.len < 64 ? (int)body.len : 64,
                   (const char *)body.ptr);
    write_log(line);
    must("ack", simplex_agent_ack(self.a, conn, id));
    (void)snprintf(line, sizeof line, "a %lld\n", (long long)id);
    write_log(line);
    fetch();
}

/* One with a message announces its MSG; one without, and nothing there, is the end. It may come
 * from a run before: then it says nothing of this one, which asks again. */
static void on_fetched(const simplex_event *ev)
{
    must("fetched", simplex_event_error(ev));
    if (simplex_event_msg_id(ev) != 0)
        return;
    if (simplex_event_count(ev) == 0)
        done = true;
    else
        fetch(); /* a message that was acknowledged before, say */
}

static void on_event(const simplex_event *ev)
{
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_MSG:
        on_message(ev);
        break;
    case SIMPLEX_EV_FETCHED:
        on_fetched(ev);
        break;
    case SIMPLEX_EV_ERR:
        error("ERR", simplex_event_json(ev));
        failed = true;
        break;
    default:
        break;
    }
}

int main(int argc, char **argv)
{
    static const char key[] = "0123456789abcdef0123456789abcdef";
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_key = { (const uint8_t *)key, 32 },
                                 .db_raw_key = true,
                                 .fetch_only = true,
                                 .n_servers = 1 };
    simplex_event *ev;

    if (argc != 5)
        return 2;
    self.dir = argv[1];
    cfg.db_path = argv[2];
    cfg.servers = (const char *const *)&argv[3];
    conn = atoll(argv[4]);
    open_log("F");
    plan_kill("F");
    must("open", simplex_agent_open(&cfg, &self.a));
    if (!failed)
        fetch();
    while (!failed && !done) {
        must("wait", simplex_agent_next_event(self.a, WAIT_MS, &ev));
        if (failed)
            break;
        on_event(ev);
        simplex_event_free(ev);
    }
    must("close", simplex_agent_close(self.a));
    return failed ? 1 : 0;
}
