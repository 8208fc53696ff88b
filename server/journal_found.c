/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_found.h"

#include <stdlib.h>

#define TABLE_FIRST 1024 /* a power of two */

void sx_found_init(struct sx_found_table *t)
{
    *t = (struct sx_found_table){ .row = NULL };
    sx_random(t->key, sizeof(t->key));
}

void sx_found_free(struct sx_found_table *t)
{
    for (size_t i = 0; i < t->size; i++)
        sx_msg_unref(t->row[i].m);
    sx_free(t->row);
}

static struct sx_found_row *slot(const struct sx_found_table *t, const uint8_t *id)
{
    size_t i = sx_shorthash(t->key, sx_bytes(id, SX_ID_LEN)) & (t->size - 1);

    while (t->row[i].used && memcmp(t->row[i].id, id, SX_ID_LEN) != 0)
        i = (i + 1) & (t->size - 1);
    return &t->row[i];
}

static bool grow(struct sx_found_table *t)
{
    struct sx_found_table more = *t;

    if (t->count < t->size / 4 * 3)
        return true;
    more.size = t->size == 0 ? TABLE_FIRST : t->size * 2;
    more.row = sx_calloc(more.size, sizeof(*more.row));
    if (more.row == NULL)
        return false;
    for (size_t i = 0; i < t->size; i++)
        if (t->row[i].used)
            *slot(&more, t->row[i].id) = t->row[i];
    sx_free(t->row);
    *t = more;
    return true;
}

struct sx_found_row *sx_found_row(struct sx_found_table *t, const uint8_t *id)
{
    if (!grow(t))
        return NULL;
    struct sx_found_row *row = slot(t, id);
    if (!row->used) {
        memcpy(row->id, id, SX_ID_LEN);
        row->used = true;
        t->count++;
    }
    return row;
}

/* By seq. Equal ones are no work of ours, but the order is the same each time. */
static int by_seq(const void *a, const void *b)
{
    const struct sx_msg *x = *(struct sx_msg *const *)a, *y = *(struct sx_msg *const *)b;

    if (x->journal.seq != y->journal.seq)
        return x->journal.seq < y->journal.seq ? -1 : 1;
    return memcmp(x->id, y->id, SX_ID_LEN);
}

simplex_rc sx_found_sort(struct sx_found_table *t, struct sx_found *out)
{
    size_t n = 0;

    for (size_t i = 0; i < t->size; i++)
        n += t->row[i].m != NULL;
    out->msg = sx_calloc(n + 1, sizeof(*out->msg));
    if (out->msg == NULL)
        return SIMPLEX_E_NOMEM;
    for (size_t i = 0; i < t->size; i++) {
        if (t->row[i].m != NULL)
            out->msg[out->count++] = t->row[i].m;
        t->row[i].m = NULL;
    }
    qsort(out->msg, out->count, sizeof(struct sx_msg *), by_seq);
    return SIMPLEX_OK;
}
