/* SPDX-License-Identifier: Apache-2.0 */
/* What a scan of the journal knows about each message id. */
#ifndef SX_JOURNAL_FOUND_H
#define SX_JOURNAL_FOUND_H

#include "journal_internal.h"

struct sx_found_row {
    struct sx_msg *m; /* owned; NULL: not seen, or acknowledged */
    uint8_t id[SX_ID_LEN];
    bool used, dead;
};

struct sx_found_table { /* open addressing; at most 3/4 of it is used */
    struct sx_found_row *row;
    size_t size, count;
    uint8_t key[16]; /* random: no file makes it slow */
};

void sx_found_init(struct sx_found_table *t);
void sx_found_free(struct sx_found_table *t); /* with the messages in it */
/* The row of this id, made when there was none; NULL: no memory. Valid until the next call. */
struct sx_found_row *sx_found_row(struct sx_found_table *t, const uint8_t *id) SIMPLEX_CHECK;
/* Hands over the messages, by seq. */
simplex_rc sx_found_sort(struct sx_found_table *t, struct sx_found *out) SIMPLEX_CHECK;

#endif
