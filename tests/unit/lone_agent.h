/* SPDX-License-Identifier: Apache-2.0 */
/* An agent without thread and network: a test calls its steps one by one. */
#ifndef LONE_AGENT_H
#define LONE_AGENT_H

#include "agent/agent.h"
#include "support/agents.h"

static inline struct simplex_agent *lone_agent_open(char dir[256])
{
    static const char *const servers[] = {
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:1"
    };
    char path[300];
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str(AGENT_KEY),
                                 .db_raw_key = true,
                                 .servers = servers,
                                 .n_servers = 1 };
    struct simplex_agent *a;

    tmp_make(dir);
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(sx_agent_prepare(&cfg, &a));
    return a;
}

static inline void lone_agent_close(struct simplex_agent *a, const char *dir)
{
    must(simplex_agent_close(a));
    tmp_remove(dir);
}

/* After a step that failed: what is in memory is what the database says. */
static inline void lone_agent_undo(struct simplex_agent *a)
{
    a->failed = false;
    a->uncommitted = 0;
    sx_store_rollback(a->store);
    sx_rt_clear(a);
}

#endif
