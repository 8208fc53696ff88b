/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies in buckets: 32 to a doubling, so that memory does not grow with the run. */
#include "bench/load/load.h"

#define SUB 32u

static size_t bucket(uint64_t us)
{
    unsigned shift = 0;

    while (us >> shift >= 2 * SUB)
        shift++;
    size_t i = shift * SUB + (size_t)(us >> shift);
    return i < SX_COUNT(((struct hist *)NULL)->count) ? i
                                                      : SX_COUNT(((struct hist *)NULL)->count) - 1;
}

/* The largest value of a bucket. */
static uint64_t value(size_t i)
{
    unsigned shift = i < 2 * SUB ? 0 : (unsigned)(i / SUB) - 1;

    return ((uint64_t)(i - shift * SUB + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t us)
{
    h->count[bucket(us)]++;
    h->n++;
    if (us > h->max)
        h->max = us;
}

void hist_merge(struct hist *to, const struct hist *from)
{
    for (size_t i = 0; i < SX_COUNT(to->count); i++)
        to->count[i] += from->count[i];
    to->n += from->n;
    if (from->max > to->max)
        to->max = from->max;
}

uint64_t hist_at(const struct hist *h, double share)
{
    uint64_t want = (uint64_t)((double)h->n * share), seen = 0;

    for (size_t i = 0; i < SX_COUNT(h->count); i++) {
        seen += h->count[i];
        if (seen > want)
            return value(i) < h->max ? value(i) : h->max;
    }
    return h->max;
}

void errors_add(struct load_errors *e, const char *what, const char *detail, uint64_t n)
{
    char kind[sizeof(e->kind[0].kind)];
    size_t i = 0;

    snprintf(kind, sizeof(kind), "%s%s%s", what, *what != 0 ? ": " : "", detail);
    while (i < e->n && strcmp(e->kind[i].kind, kind) != 0)
        i++;
    if (i == LOAD_ERRORS_MAX)
        i--;
    else if (i == e->n)
        snprintf(e->kind[e->n++].kind, sizeof(kind), "%s",
                 i + 1 == LOAD_ERRORS_MAX ? "others" : kind);
    e->kind[i].n += n;
    e->total += n;
}
