/* SPDX-License-Identifier: Apache-2.0 */
#include "noise_stage.h"

#include <unistd.h>

#include "crypto/crypto.h"

int init(void **state)
{
    (void)state;
    return sx_crypto_init();
}

simplex_noise noise_of(uint32_t kinds)
{
    return (simplex_noise){ .size = sizeof(simplex_noise), .budget = PLENTY, .kinds = kinds };
}

void set_noise_to(struct test_agent *t, uint32_t kinds, int64_t budget)
{
    simplex_noise n = noise_of(kinds);

    n.budget = budget;
    assert_int_equal(simplex_agent_set_noise(t->a, &n), SIMPLEX_OK);
}

void set_noise(struct test_agent *t, uint32_t kinds)
{
    set_noise_to(t, kinds, PLENTY);
}

simplex_noise_stats stats_of(struct test_agent *t)
{
    simplex_noise_stats s = { .size = sizeof s };

    assert_int_equal(simplex_agent_noise_stats(t->a, &s), SIMPLEX_OK);
    return s;
}

static int64_t field(const simplex_noise_stats *s, uint32_t kind)
{
    return kind == SIMPLEX_NOISE_PING   ? s->total.pings
           : kind == SIMPLEX_NOISE_LOOP ? s->total.loops
                                        : s->total.repeats;
}

int64_t sent_of(struct test_agent *t, uint32_t kind)
{
    simplex_noise_stats s = stats_of(t);

    return field(&s, kind);
}

void wait_sent(struct test_agent *t, uint32_t kind, int64_t all)
{
    int64_t end = sx_mono_ms() + WAIT_MS;

    while (sent_of(t, kind) < all) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

void wait_noise(struct test_agent *t, uint32_t kind, int64_t more)
{
    wait_sent(t, kind, sent_of(t, kind) + more);
}
