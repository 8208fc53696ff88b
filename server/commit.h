/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: one thread makes durable, together, what all threads have staged meanwhile.
 *
 * Time is cut into epochs. A thread that has staged a change takes the stamp of the epoch that is
 * open; the answer of the command leaves when that epoch is durable. The committing thread closes
 * the epoch (whatever was staged before has this stamp or an earlier one), writes and syncs, and
 * tells the hubs. While it waits for the disk the next epoch fills: the slower the disk, the more
 * changes share one sync.
 *
 * When a commit fails nobody knows what is on disk: who waits for an answer is disconnected
 * instead (the protocol's commands can be repeated), and the thread tries to recover every second
 * until it works. Meanwhile staging is refused, so commands answer INTERNAL.
 */
#ifndef SX_COMMIT_H
#define SX_COMMIT_H

#include "base/base.h"

struct sx_commit;

struct sx_commit_cfg {
    simplex_rc (*sync)(void *user);    /* writes and makes durable everything staged */
    simplex_rc (*recover)(void *user); /* after a failed sync: the same, from what is in memory */
    bool (*tidy)(void *user);          /* housekeeping after a sync; true: there is more to do */
    void (*done)(void *user);          /* an epoch is durable, or failed: look again */
    void *user;
    int64_t idle_ms;  /* changes nobody waits for are committed after so long */
    int64_t retry_ms; /* between attempts to recover */
};

simplex_rc sx_commit_open(const struct sx_commit_cfg *cfg, struct sx_commit **out) SIMPLEX_CHECK;
/* Commits what is staged and ends the thread. Nobody may stage any more. The result of the last
 * commit. */
simplex_rc sx_commit_close(struct sx_commit *c);

/* False: the last commit failed and nothing should be staged, since it would fail as well. */
bool sx_commit_works(const struct sx_commit *c);
/* After staging: the epoch to wait for. Never 0. */
uint64_t sx_commit_stamp(struct sx_commit *c);
/* Somebody waits: commit soon. Cheap when a commit is wanted already. */
void sx_commit_request(struct sx_commit *c);

enum sx_commit_state { SX_COMMIT_WAIT, SX_COMMIT_DURABLE, SX_COMMIT_LOST };
enum sx_commit_state sx_commit_state(const struct sx_commit *c, uint64_t stamp);
/* Grows with each commit, made or failed: as long as it does not, no state changes. */
uint64_t sx_commit_settled(const struct sx_commit *c);

/* How often it committed, and how long that took: for statistics. */
struct sx_commit_figures {
    uint64_t commits, failures;
    uint64_t total_us, max_us; /* of sync; max since the figures were last read */
};
void sx_commit_figures(struct sx_commit *c, struct sx_commit_figures *out);

#endif
