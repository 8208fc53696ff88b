/* SPDX-License-Identifier: Apache-2.0 */
/* A step of the tour: two servers for one connection, one of which dies. */
#include <string.h>

#include "demo_child.h"
#include "demo_redundant.h"
#include "demo_screen.h"

static size_t queues_in_use(struct person *p, int64_t conn, int32_t direction)
{
    simplex_queue_info q = { .size = sizeof q };
    size_t n = 0;

    for (size_t k = 0; simplex_agent_queue(p->a, conn, k, &q) == SIMPLEX_OK; k++)
        n += q.direction == direction && q.state == SIMPLEX_QUEUE_IN_USE ? 1 : 0;
    return n;
}

/* Each says something until messages come through both queues of the other. */
static bool both_are_used(struct person *k, int64_t kl, struct person *l, int64_t lk)
{
    for (int n = 0; n < 100; n++) {
        if (queues_in_use(k, kl, SIMPLEX_SWITCH_RCV) == 2 &&
            queues_in_use(l, lk, SIMPLEX_SWITCH_RCV) == 2)
            return true;
        if (!talk_to(k, kl, l, lk, "Both ways?") || !talk_to(l, lk, k, kl, "Both."))
            return false;
    }
    return false;
}

static bool talk_on(struct person *k, int64_t kl, struct person *l, int64_t lk)
{
    enum { ROUNDS = 10 };
    int64_t began = demo_us();

    for (int n = 0; n < ROUNDS; n++) {
        if (!send_text(k, kl, "Still there?") || !hear(l, lk, "Still there?") ||
            !send_text(l, lk, "As you hear.") || !hear(k, kl, "As you hear."))
            return false;
    }
    say(PLAIN, "%d messages on, once each and in order  %.1f ms", 2 * ROUNDS, tour_ms(began));
    return true;
}

static bool with_two(struct tour *t, simplex_server **dies, const char *address)
{
    const char *own[] = { t->address[0], address };
    const simplex_agent_config cfg = { .servers = own, .n_servers = 2, .queues = 2 };
    struct person *k = person_open(t, "Kim", 2, &cfg), *l = person_open(t, "Lee", 2, &cfg);
    int64_t kl, lk;

    if (k == NULL || l == NULL || !befriend(k, 0, l, &kl, &lk) || !both_are_used(k, kl, l, lk))
        return false;
    say(PLAIN, "Kim and Lee receive through two servers each; what comes twice is shown once");
    simplex_server_stop(*dies);
    *dies = NULL;
    say(YELLOW, "one of them is gone, with all that it had");
    return talk_on(k, kl, l, lk) && person_close(k) && person_close(l);
}

bool step_redundant(struct tour *t)
{
    simplex_server_config cfg;
    simplex_server *dies;
    char address[512];
    size_t len = sizeof address;

    simplex_server_config_init(&cfg);
    if (!worked("server", simplex_server_start(&cfg, &dies)))
        return false;
    bool ok = worked("address", simplex_server_address(dies, address, &len)) &&
              with_two(t, &dies, address);
    if (dies != NULL)
        simplex_server_stop(dies);
    return ok;
}
