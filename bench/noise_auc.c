/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/noise_auc.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BASE 6                                     /* features that are looked at */
#define ALL (1 + 2 * BASE + BASE * (BASE - 1) / 2) /* with squares and products */
#define STEPS 400

struct row {
    double x[ALL];
    double score;
    bool real;
};

static struct row *new_rows(size_t n)
{
    struct row *r = calloc(n > 0 ? n : 1, sizeof *r);

    if (r == NULL)
        abort();
    return r;
}

/* Mean 0 and deviation 1; what does not vary is 0 and of no use. */
static void standardise(struct row *r, size_t n)
{
    for (int f = 0; f < BASE; f++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++) {
            sum += r[i].x[1 + f];
            squares += r[i].x[1 + f] * r[i].x[1 + f];
        }
        double mean = sum / (double)n, var = squares / (double)n - mean * mean;
        for (size_t i = 0; i < n; i++)
            r[i].x[1 + f] = var > 1e-12 ? (r[i].x[1 + f] - mean) / sqrt(var) : 0;
    }
}

static void expand(struct row *r)
{
    int at = 1 + BASE;

    r->x[0] = 1;
    for (int f = 0; f < BASE; f++) {
        for (int g = f; g < BASE; g++)
            r->x[at++] = r->x[1 + f] * r->x[1 + g];
    }
}

static double score(const double w[ALL], const struct row *r)
{
    double z = 0;

    for (int f = 0; f < ALL; f++)
        z += w[f] * r->x[f];
    return z;
}

/* Logistic regression with weights for the rarer class, by descent with the step of Adam. */
static void train(const struct row *r, size_t n, double w[ALL])
{
    double m[ALL] = { 0 }, v[ALL] = { 0 };
    size_t real = 0;

    for (int f = 0; f < ALL; f++)
        w[f] = 0;
    for (size_t i = 0; i < n; i++)
        real += r[i].real;
    if (real == 0 || real == n)
        return;
    for (int step = 1; step <= STEPS; step++) {
        double g[ALL] = { 0 };
        for (size_t i = 0; i < n; i++) {
            double weight = r[i].real ? 0.5 / (double)real : 0.5 / (double)(n - real);
            double z = fmax(-30, fmin(30, score(w, &r[i])));
            double error = (1 / (1 + exp(-z)) - (r[i].real ? 1 : 0)) * weight;
            for (int f = 0; f < ALL; f++)
                g[f] += error * r[i].x[f];
        }
        for (int f = 0; f < ALL; f++) {
            g[f] += (1e-4 + 5 / (double)n) * w[f]; /* little data supports little */
            m[f] = 0.9 * m[f] + 0.1 * g[f];
            v[f] = 0.999 * v[f] + 0.001 * g[f] * g[f];
            w[f] -=
                0.05 * m[f] / (1 - pow(0.9, step)) / (sqrt(v[f] / (1 - pow(0.999, step))) + 1e-9);
        }
    }
}

static int by_score(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return (x->score > y->score) - (x->score < y->score);
}

/* The probability that a real one scores higher than another; ties count half. */
static double area(struct row *r, size_t n)
{
    double ranks = 0, real = 0;

    qsort(r, n, sizeof *r, by_score);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && r[k].score == r[i].score)
            k++;
        for (size_t t = i; t < k; t++) {
            ranks += r[t].real ? (double)(i + k + 1) / 2 : 0;
            real += r[t].real;
        }
        i = k;
    }
    if (real == 0 || real == (double)n)
        return NAN;
    return (ranks - real * (real + 1) / 2) / (real * ((double)n - real));
}

/* Slices are dealt to two halves in turn; each half is judged by what was learnt from the other. */
#define SLICES 16

static double judge(struct row *r, size_t n)
{
    struct row *half[2] = { new_rows(n), new_rows(n) };
    size_t len[2] = { 0, 0 };
    double w[ALL], sum = 0, auc[2];

    standardise(r, n);
    for (size_t i = 0; i < n; i++) {
        int h = (int)(i * SLICES / n % 2);
        expand(&r[i]);
        half[h][len[h]++] = r[i];
    }
    for (int h = 0; h < 2; h++) {
        train(half[h], len[h], w);
        for (size_t i = 0; i < len[1 - h]; i++)
            half[1 - h][i].score = score(w, &half[1 - h][i]);
    }
    for (int h = 0; h < 2; h++) {
        auc[h] = area(half[h], len[h]);
        sum += auc[h];
        free(half[h]);
    }
    return isnan(auc[0]) ? auc[1] : isnan(auc[1]) ? auc[0] : sum / 2;
}

static double gap(const struct auc_send *s, size_t n, size_t i, int by)
{
    int64_t k = (int64_t)i + by;

    if (k < 0 || k >= (int64_t)n)
        return 0;
    return log(fabs(s[k].at - s[i].at) + 1e-4);
}

double auc_of_sends(const struct auc_send *s, size_t n)
{
    struct row *r = new_rows(n);

    for (size_t i = 0; i < n; i++) {
        r[i].real = s[i].real;
        r[i].x[1] = gap(s, n, i, -1);
        r[i].x[2] = gap(s, n, i, 1);
        r[i].x[3] = gap(s, n, i, -3);
        r[i].x[4] = gap(s, n, i, 3);
        r[i].x[5] = s[i].size;
        r[i].x[6] = log(s[i].other + 1e-3);
    }
    double auc = judge(r, n);
    free(r);
    return auc;
}

double auc_of_windows(const struct auc_send *s, size_t n, const double *written, size_t n_written,
                      double seconds)
{
    double begin = n > 0 ? s[0].at : 0, end = n > 0 ? s[n - 1].at : 0, last = begin;
    size_t windows = (size_t)((end - begin) / seconds) + 1;
    struct row *r = new_rows(windows);

    for (size_t i = 0; i < windows; i++)
        r[i].x[2] = log(seconds); /* the least distance in it */
    for (size_t i = 0; i < n_written; i++) {
        if (written[i] >= begin && written[i] <= end)
            r[(size_t)((written[i] - begin) / seconds)].real = true;
    }
    for (size_t i = 0; i < n; i++) {
        struct row *w = &r[(size_t)((s[i].at - begin) / seconds)];
        double distance = log(s[i].at - last + 1e-4);
        w->x[1]++;
        w->x[2] = distance < w->x[2] ? distance : w->x[2];
        last = s[i].at;
    }
    for (size_t i = 0; i < windows; i++) { /* and the windows beside it */
        r[i].x[3] = i > 0 ? r[i - 1].x[1] : 0;
        r[i].x[4] = i + 1 < windows ? r[i + 1].x[1] : 0;
    }
    double auc = judge(r, windows);
    free(r);
    return auc;
}
