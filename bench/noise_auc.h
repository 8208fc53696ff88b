/* SPDX-License-Identifier: Apache-2.0 */
/* A classifier for sends by time and size, and how good it is: 0.5 is guessing, 1 is knowing. */
#ifndef BENCH_NOISE_AUC_H
#define BENCH_NOISE_AUC_H

#include <stdbool.h>
#include <stddef.h>

struct auc_send {
    double at; /* s, ascending */
    double size;
    double other; /* whatever else is seen of it */
    bool real;
};

/* Of single sends: which are real? */
double auc_of_sends(const struct auc_send *s, size_t n);
/* Of windows of so many seconds: in which was any message written? written: ascending, s. */
double auc_of_windows(const struct auc_send *s, size_t n, const double *written, size_t n_written,
                      double seconds);

#endif
