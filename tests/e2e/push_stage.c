/* SPDX-License-Identifier: Apache-2.0 */
#include "push_stage.h"

#include <stdio.h>
#include <unistd.h>

struct duo d;

void begin(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = cfg.ntf_flush_ms = 0;
    duo_open(&d, &cfg);
}

void end(void)
{
    duo_close(&d);
}

void reopen(bool fetch_only, bool notifications)
{
    d.i.cfg.fetch_only = fetch_only;
    d.i.cfg.notifications = notifications;
    agent_reopen(&d.i);
}

void crash(void)
{
    static const char *const parts[] = { "", "-wal", "-age" };
    static unsigned times;
    char from[320], to[320], name[300];

    (void)snprintf(name, sizeof name, "%.200s/crash%u.db", d.dir, times++);
    for (size_t n = 0; n < SX_COUNT(parts); n++) {
        (void)snprintf(from, sizeof from, "%s%s", d.i.db, parts[n]);
        (void)snprintf(to, sizeof to, "%s%s", name, parts[n]);
        if (access(from, F_OK) == 0)
            copy_file(from, to);
    }
    agent_close(&d.i); /* what it writes now is not in the copy */
    (void)snprintf(d.i.db, sizeof d.i.db, "%s", name);
    agent_reopen(&d.i);
}

simplex_event *any_event(void)
{
    simplex_event *ev = NULL;

    if (d.i.n_held > 0)
        return d.i.held[--d.i.n_held];
    return simplex_agent_next_event(d.i.a, 50, &ev) == SIMPLEX_OK ? ev : NULL;
}

void fetch(int64_t conn)
{
    assert_int_equal(simplex_agent_fetch(d.i.a, &conn, 1), SIMPLEX_OK);
}

int64_t fetched(int64_t conn, int64_t count, simplex_rc rc)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, conn);
    int64_t id = simplex_event_msg_id(ev);

    assert_int_equal(simplex_event_error(ev), rc);
    assert_int_equal(simplex_event_count(ev), count);
    simplex_event_free(ev);
    return id;
}

void acked(int64_t conn, uint8_t id[24])
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MSGNTF, conn);

    assert_int_equal(simplex_event_data(ev).len, 24);
    if (id != NULL)
        memcpy(id, simplex_event_data(ev).ptr, 24);
    simplex_event_free(ev);
}

void nothing_waits(int64_t conn)
{
    fetch(conn);
    assert_int_equal(fetched(conn, 0, SIMPLEX_OK), 0);
}
