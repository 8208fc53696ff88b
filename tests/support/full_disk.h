/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is full for a moment, below a running agent. */
#ifndef TESTS_FULL_DISK_H
#define TESTS_FULL_DISK_H

#include "support/agents.h"

struct full_disk {
    unsigned nth;          /* statement from now on that does not find room */
    int64_t recover_after; /* ms until the agent tries again */
    bool fired;            /* there was such a statement */
};
void full_disk_begin(struct test_agent *t, struct full_disk *f);
/* There is room again; sets fired. */
void full_disk_end(struct test_agent *t, struct full_disk *f);

#endif
