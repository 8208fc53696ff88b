/* SPDX-License-Identifier: Apache-2.0 */
#include "open_files.h"

#include <sys/resource.h>

#define OWN 64       /* journal, logs, ports for the operator, resolver */
#define PER_THREAD 4 /* of a loop */

static uint64_t own(unsigned threads)
{
    return OWN + (uint64_t)threads * PER_THREAD;
}

static unsigned at_most(unsigned wanted, uint64_t n)
{
    if (wanted <= n)
        return wanted;
    return n == 0 ? 1 : (unsigned)n;
}

/* We have half of a very low limit, relays a quarter of the rest, browsers an eighth. */
struct sx_open_files sx_open_files_share(uint64_t files, unsigned threads,
                                         const struct sx_open_files *wanted)
{
    struct sx_open_files share;
    uint64_t left = files - (files / 2 < own(threads) ? files / 2 : own(threads));

    share.relays = at_most(wanted->relays, left / 4);
    share.web = wanted->web == 0 ? 0 : at_most(wanted->web, left / 8);
    uint64_t others = (uint64_t)share.relays + share.web;
    share.clients = at_most(wanted->clients, left - (others < left ? others : left));
    return share;
}

struct sx_open_files sx_open_files_now(unsigned threads, const struct sx_open_files *wanted)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return *wanted;
    return sx_open_files_share(r.rlim_cur, threads, wanted);
}

uint64_t sx_open_files_needed(unsigned threads, const struct sx_open_files *wanted)
{
    return own(threads) + wanted->clients + wanted->relays + wanted->web;
}
