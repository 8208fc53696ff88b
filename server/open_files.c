/* SPDX-License-Identifier: Apache-2.0 */
#include "open_files.h"

#include <sys/resource.h>

#define OWN 128      /* journal, logs, ports for the operator, resolver, browsers handed over */
#define PER_THREAD 4 /* of a loop */
#define PER_WEB 2    /* of a browser: its socket and the file it is sent */

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

/* We have half of a very low limit, relays a quarter of the rest, browsers too. */
struct sx_open_files sx_open_files_share(uint64_t files, unsigned threads,
                                         const struct sx_open_files *wanted)
{
    struct sx_open_files share;
    uint64_t left = files - (files / 2 < own(threads) ? files / 2 : own(threads));

    share.relays = at_most(wanted->relays, left / 4);
    share.web = wanted->web == 0 ? 0 : at_most(wanted->web, left / 4 / PER_WEB);
    uint64_t others = (uint64_t)share.relays + (uint64_t)share.web * PER_WEB;
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
    return own(threads) + wanted->clients + wanted->relays + (uint64_t)wanted->web * PER_WEB;
}
