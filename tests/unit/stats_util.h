/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed in the server's statistics. */
#ifndef STATS_UTIL_H
#define STATS_UTIL_H

#include "support/mem_service.h"

#include <stdio.h>

#include "stats_file.h"

static const char *const names[] = {
#define X(id, key) #id,
#define SECTION(name)
#include "stats_list.h"
#undef X
#undef SECTION
    "NTF_COUNT",
    "SUBS",
    "SUB_CLIENTS",
    "NTF_SUBS",
    "NTF_SUB_CLIENTS",
    "RCV_SERVICE_SUBS",
    "NTF_SERVICE_SUBS",
    "ACK_1",
    "ACK_5",
    "ACK_10",
    "ACK_30",
    "ACK_60",
    "ACK_300",
    "ACK_1200",
    "ACK_3600",
    "ACK_MORE",
    "ACK_SUM",
};

static inline struct sx_snapshot read_now(struct mem_server *m)
{
    struct sx_snapshot s;

    sx_stats_read(m->srv->stats, m->srv->store, m->now, &s);
    return s;
}

/* What has changed since `was`, as "NAME value" of every counter that is not the same. */
static inline void assert_change(struct mem_server *m, struct sx_snapshot *was, const char *wanted)
{
    struct sx_snapshot is = read_now(m);
    char text[2048] = "";

    for (unsigned i = 0; i < SX_COUNT(names); i++) { /* the others: test_services_queues.c */
        size_t n = strlen(text);
        int64_t change = (int64_t)(is.v[i] - was->v[i]);
        if (change != 0)
            snprintf(text + n, sizeof(text) - n, "%s%s %d", n == 0 ? "" : ", ", names[i],
                     (int)change);
    }
    assert_string_equal(text, wanted);
    *was = is;
}

static inline void send_notifying(struct mem_two *t, const struct mem_queue *q)
{
    struct sx_cmd c = { .tag = SX_SEND };

    c.send.notify = true;
    c.send.body = sx_str("ring");
    mem_assert_tag(mem_cmd(&t->b, NULL, mem_snd_id(q), &c), SX_R_OK);
}

#endif
