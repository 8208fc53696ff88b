/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the store log and the memory: records of the file become queues and services at the
 * start, and what lives becomes records when the log is written anew.
 */
#ifndef SX_STORE_LOAD_H
#define SX_STORE_LOAD_H

#include "store_log.h"

struct sx_load_counts {
    uint64_t lines;     /* records read */
    uint64_t unknown;   /* about queues or services that are not there (any more) */
    uint64_t refused;   /* an id was there already, or the queue does not allow the change */
    uint64_t first_odd; /* line of the first unknown or refused one */
};

struct sx_load_cfg {
    const char *path; /* of the log */
    bool skip_damage;
    const struct sx_slog_sys *sys;                                /* NULL: the system's */
    void (*progress)(void *user, uint64_t bytes, uint64_t total); /* or NULL */
    void (*warn)(void *user, const char *text);                   /* or NULL */
    void *user;
};

/* Opens the log (sx_slog_open) into an empty store that nobody else uses yet. counts may be NULL.
 */
simplex_rc sx_store_load(struct sx_store *st, const struct sx_load_cfg *cfg,
                         struct sx_load_counts *counts, struct sx_errtext *err,
                         struct sx_slog **out) SIMPLEX_CHECK;

/* Applies one record. E_NOT_FOUND, E_PROHIBITED: counted as unknown, refused. E_NOMEM. */
simplex_rc sx_load_record(struct sx_store *st, const struct sx_slog_record *r) SIMPLEX_CHECK;
/* The CREATE record of a queue; with its lock held. r borrows from q. */
void sx_load_create_record(const struct sx_queue *q, struct sx_slog_record *r);

#endif
