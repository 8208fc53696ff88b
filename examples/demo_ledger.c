/* SPDX-License-Identifier: Apache-2.0 */
#include "demo_ledger.h"

#include <stdio.h>
#include <stdlib.h>

bool ledger_open(struct ledger *l, long count)
{
    *l = (struct ledger){ .count = count };
    l->of = calloc((size_t)count + 1, sizeof *l->of);
    return l->of != NULL;
}

void ledger_close(struct ledger *l)
{
    free(l->of);
    l->of = NULL;
}

void ledger_take(struct ledger *l, const char *text)
{
    long long received, id, sent;
    long n, count, window;
    int integrity;

    if (sscanf(text, "%lld %lld %d load %ld %ld %ld %lld", &received, &id, &integrity, &n, &count,
               &window, &sent) != 7 ||
        n < 1 || n > l->count || count != l->count) {
        l->strange++;
        return;
    }
    struct entry *e = &l->of[n];
    if (e->msg_id != 0) {
        if (e->msg_id == id && n == l->last)
            l->shown_again++;
        else
            l->duplicates++;
        return;
    }
    *e = (struct entry){ .msg_id = id, .sent = sent, .received = received };
    l->strange += integrity != 0;
    l->misplaced += n != l->last + 1;
    l->last = n;
    l->arrived++;
}

bool ledger_good(const struct ledger *l)
{
    return l->arrived == l->count && l->duplicates == 0 && l->misplaced == 0 && l->strange == 0;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static bool on_its_way(const struct entry *e, const int64_t *kills, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (e->sent <= kills[i] && kills[i] <= e->received)
            return true;
    }
    return false;
}

/* The nearest-rank percentile. */
static double rank(const int64_t *sorted, long n, long percent)
{
    long i = (n * percent + 99) / 100;

    return (double)sorted[i > 0 ? i - 1 : 0] / 1000;
}

struct latency ledger_latency(const struct ledger *l, const int64_t *kills, size_t n_kills,
                              bool waited)
{
    struct latency r = { 0 };
    int64_t *us = calloc((size_t)l->count + 1, sizeof *us);

    if (us == NULL)
        return r;
    for (long i = 1; i <= l->count; i++) {
        if (l->of[i].msg_id != 0 && on_its_way(&l->of[i], kills, n_kills) == waited)
            us[r.n++] = l->of[i].received - l->of[i].sent;
    }
    if (r.n > 0) {
        qsort(us, (size_t)r.n, sizeof *us, ascending);
        r.p50 = rank(us, r.n, 50);
        r.p90 = rank(us, r.n, 90);
        r.p99 = rank(us, r.n, 99);
        r.max = rank(us, r.n, 100);
    }
    free(us);
    return r;
}
