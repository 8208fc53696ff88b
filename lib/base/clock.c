/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/base.h"

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t sx_now_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t sx_mono_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t sx_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}
