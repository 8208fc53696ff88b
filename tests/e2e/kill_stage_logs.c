/* SPDX-License-Identifier: Apache-2.0 */
/* What the logs of both workers must say, taken together. */
#include <stdio.h>
#include <string.h>

#include "kill_stage_logs.h"

struct batch {
    long sent, arrived;
};

struct side {            /* of one conversation */
    long pings[4096][2]; /* n, attempt: as they arrived */
    size_t n_pings;
    long pongs[4096][2];
    size_t n_pongs;
    long taken[4096][2]; /* the agent took them over for sure */
    int64_t taken_id[4096];
    size_t n_taken;
    long begun[4096][2]; /* with the number of the batch in `batch` */
    long batch[4096];
    size_t n_begun;
    int64_t received[8192]; /* with a receipt */
    size_t n_received;
    size_t n_syncs;
    int64_t last_id;
};

static struct side sides[2][CONVS];
static struct batch batches[2][65536];
static long queues[2]; /* that each says it has */
static size_t n_errors;

static void add(long (*list)[2], size_t *count, long n, long attempt)
{
    assert_true(*count < 4096);
    list[*count][0] = n;
    list[*count][1] = attempt;
    ++*count;
}

static void read_received(struct side *x, const char *line)
{
    long conv, n, attempt;
    long long id;
    int integrity;
    char kind[8];

    if (sscanf(line, "r %ld %lld %d %7s %ld %ld", &conv, &id, &integrity, kind, &n, &attempt) != 6)
        fail_msg("not understood: %s", line);
    if (integrity != SIMPLEX_MSG_OK || id <= x->last_id) {
        print_error("after %lld: %s", (long long)x->last_id, line);
        n_errors++;
    }
    x->last_id = id;
    if (strcmp(kind, "ping") == 0)
        add(x->pings, &x->n_pings, n, attempt);
    else
        add(x->pongs, &x->n_pongs, n, attempt);
}

static void read_sending(struct side *x, const char *line)
{
    long n, attempt, batch;
    long long id;

    if (sscanf(line, "d %*d %ld %ld %lld", &n, &attempt, &id) == 3) {
        x->taken_id[x->n_taken] = id;
        add(x->taken, &x->n_taken, n, attempt);
    } else if (sscanf(line, "s %*d %ld %ld %ld", &n, &attempt, &batch) == 3) {
        assert_in_range(batch, 0, 65535);
        x->batch[x->n_begun] = batch;
        add(x->begun, &x->n_begun, n, attempt);
    } else {
        fail_msg("not understood: %s", line);
    }
}

static void read_receipt(struct side *x, const char *line)
{
    long long id;
    int status;

    if (sscanf(line, "c %*d %lld %d", &id, &status) != 2 || status != SIMPLEX_RECEIPT_OK ||
        x->n_received == sizeof x->received / sizeof x->received[0])
        fail_msg("not expected: %s", line);
    x->received[x->n_received++] = id;
}

static void read_log(const struct stage *s, int who)
{
    char path[300], line[600];
    long conv;

    (void)snprintf(path, sizeof path, "%s/log.%c", s->dir, who == 0 ? 'I' : 'J');
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == 'e') {
            print_error("%c: %s", who == 0 ? 'I' : 'J', line);
            n_errors++;
        } else if (sscanf(line, "q %ld", &queues[who]) != 1) {
            if (sscanf(line, "%*c %ld", &conv) != 1 || conv < 0 || conv >= CONVS)
                fail_msg("not understood: %s", line);
            struct side *x = &sides[who][conv];
            if (line[0] == 'r')
                read_received(x, line);
            else if (line[0] == 'y')
                x->n_syncs++;
            else if (line[0] == 'c')
                read_receipt(x, line);
            else
                read_sending(x, line);
        }
    }
    (void)fclose(f);
}

static bool same(const long a[2], const long b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

static void complain(int who, long conv, const char *what, const long x[2])
{
    print_error("%c, conversation %ld: %s at ping %ld.%ld\n", who == 0 ? 'I' : 'J', conv, what,
                x[0], x[1]);
    n_errors++;
}

/* Pings of `from` as they arrived at the other side, and the answers that came back. */
static void check_way(int from, long conv, bool answers)
{
    const struct side *a = &sides[from][conv], *b = &sides[!from][conv];
    size_t k = 0;

    for (size_t n = 0; n < b->n_pings; n++) {
        const long *x = b->pings[n];
        if (n > 0 && x[0] != b->pings[n - 1][0] + 1 &&
            (x[0] != b->pings[n - 1][0] || x[1] <= b->pings[n - 1][1]))
            complain(from, conv, "out of order or missing", x);
        if (k < a->n_taken && same(a->taken[k], x))
            k++;
        if (answers && (n >= a->n_pongs || !same(a->pongs[n], x)))
            complain(from, conv, "no answer", x);
    }
    if (k != a->n_taken)
        complain(from, conv, "lost", a->taken[k]);
    if (answers && a->n_pongs != b->n_pings)
        complain(from, conv, "surplus answers", a->taken[0]);
    if (b->n_pings == 0 || b->pings[0][0] != 1)
        complain(from, conv, "does not begin", (long[2]){ 1, 1 });
}

static void check_receipts(int from, long conv)
{
    const struct side *a = &sides[from][conv];
    size_t k = 0;

    for (size_t n = 0; n < a->n_taken; n++) {
        while (k < a->n_received && a->received[k] < a->taken_id[n])
            k++;
        if (k == a->n_received || a->received[k] != a->taken_id[n])
            complain(from, conv, "no receipt", a->taken[n]);
    }
}

static bool did_arrive(const struct side *to, const long ping[2])
{
    for (size_t n = 0; n < to->n_pings; n++) {
        if (same(to->pings[n], ping))
            return true;
    }
    return false;
}

/* A batch is one transaction: all of it or nothing. */
static void check_batches(int from, long convs)
{
    memset(batches[from], 0, sizeof batches[from]);
    for (long c = 0; c < convs; c++) {
        const struct side *a = &sides[from][c];
        for (size_t n = 0; n < a->n_begun; n++) {
            struct batch *b = &batches[from][a->batch[n]];
            b->sent++;
            b->arrived += did_arrive(&sides[!from][c], a->begun[n]) ? 1 : 0;
        }
    }
    for (size_t n = 0; n < sizeof batches[from] / sizeof batches[from][0]; n++) {
        const struct batch *b = &batches[from][n];
        if (b->arrived != 0 && b->arrived != b->sent) {
            print_error("batch %zu: %ld of %ld\n", n, b->arrived, b->sent);
            n_errors++;
        }
    }
}

static bool chore(const struct stage *s, char letter)
{
    return strchr(s->chores, letter) != NULL;
}

long check_logs(const struct stage *s)
{
    size_t messages = 0, syncs = 0;

    memset(sides, 0, sizeof sides);
    n_errors = 0;
    read_log(s, 0);
    read_log(s, 1);
    for (long c = 0; c < s->goal; c++) {
        for (int from = 0; from < 2; from++) {
            check_way(from, c, !chore(s, 'y'));
            if (chore(s, 'r') && !chore(s, 'y'))
                check_receipts(from, c);
        }
        messages +=
            sides[0][c].n_pings + sides[0][c].n_pongs + sides[1][c].n_pings + sides[1][c].n_pongs;
    }
    for (long c = 0; c < s->goal; c++)
        syncs += sides[0][c].n_syncs + sides[1][c].n_syncs;
    for (int from = 0; from < 2; from++) {
        if (chore(s, 'b') && !chore(s, 'y')) /* there a message of a batch may be refused alone */
            check_batches(from, s->goal);
    }
    print_message("%ld conversations, %zu messages, %zu new ratchets begun\n", s->goal, messages,
                  syncs);
    assert_int_equal(n_errors, 0);
    return queues[0] + queues[1];
}
