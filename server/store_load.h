/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the store log and the memory: records of the file become queues and services at the
 * start, and what lives becomes records when the log is written anew.
 */
#ifndef SX_STORE_LOAD_H
#define SX_STORE_LOAD_H

#include "services.h"
#include "store_log.h"

struct sx_load_counts {
    uint64_t records;   /* in the file */
    uint64_t unknown;   /* about a queue or service that is not there (any more) */
    uint64_t refused;   /* an id was there already, or the queue's state does not allow it */
    uint64_t first_odd; /* line of the first one unknown or refused; 0: none */
};

struct sx_load_cfg {
    const char *path; /* of the log */
    bool skip_damage;
    const struct sx_slog_sys *sys; /* NULL: the system's */
    void *user;
    void (*progress)(void *user, uint64_t bytes, uint64_t total); /* or NULL */
    void (*warn)(void *user, const char *text);                   /* or NULL */
};

/* Opens the log (sx_slog_open) into an empty store that nobody else uses yet and that records
 * nothing yet (st->persist is NULL). counts may be NULL. */
simplex_rc sx_store_load(struct sx_store *st, const struct sx_load_cfg *cfg,
                         struct sx_load_counts *counts, struct sx_errtext *err,
                         struct sx_slog **out) SIMPLEX_CHECK;

/* Applies one record. E_NOT_FOUND, E_PROHIBITED: counted as unknown, refused. E_NOMEM. */
simplex_rc sx_load_record(struct sx_store *st, const struct sx_slog_record *r) SIMPLEX_CHECK;
/* Puts a record for each service and each queue, for a log written anew or an export; queues may
 * change meanwhile, and those that come or go may be left out. False when put answered false. */
bool sx_load_rewrite(struct sx_store *st, sx_slog_put *put, void *to) SIMPLEX_CHECK;

/* Puts the record of one queue, with its lock held, unless it is deleted. */
bool sx_load_put_queue(struct sx_store *st, struct sx_queue *q, sx_slog_mark_put *put, void *to);

/* The records of a queue (with its lock held) and of a service. They borrow from them. */
void sx_load_create_record(const struct sx_queue *q, struct sx_slog_record *r);
void sx_load_service_record(const struct sx_service *svc, struct sx_slog_record *r);

#endif
