/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to one server: correlation with responses, order and deadlines. Pure computation; the
 * time is an argument (protocol/smp.md sections 5 and 9).
 */
#ifndef SX_REQUESTS_H
#define SX_REQUESTS_H

#include "wire/smp.h"

struct sx_cmd_copy;

#define SX_NO_DEADLINE INT64_MAX

enum sx_req_state {
    SX_REQ_WAITING,  /* for the session; `copy` holds the command */
    SX_REQ_QUEUED,   /* encoded in `out` */
    SX_REQ_SENT,     /* in a block */
    SX_REQ_FINISHED, /* not in the table any more; `rc` is to be reported */
};

struct sx_req {
    struct sx_req *chain;       /* next in its bucket */
    struct sx_req *prev, *next; /* in its list */
    size_t slot;                /* in the heap of deadlines, or SIZE_MAX */
    int64_t deadline;
    void (*done)(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp); /* or NULL */
    void *ctx;
    int64_t timeout; /* ms from encoding */
    struct sx_cmd_copy *copy;
    uint8_t *out;
    size_t out_len;
    simplex_rc rc;
    uint8_t state; /* enum sx_req_state */
    uint8_t tag;   /* enum sx_cmd_tag */
    uint8_t corr_id[SX_ID_LEN];
    uint8_t entity_len;
    uint8_t entity[];
};

/* E_ARG when entity is longer than 255 bytes. */
simplex_rc sx_req_new(const uint8_t corr_id[SX_ID_LEN], simplex_bytes entity, enum sx_cmd_tag tag,
                      struct sx_req **out) SIMPLEX_CHECK;
void sx_req_free(struct sx_req *r); /* wipes the command */
static inline simplex_bytes sx_req_entity(const struct sx_req *r)
{
    return (simplex_bytes){ r->entity, r->entity_len };
}
/* Can rsp answer r? SIMPLEX_OK, E_SERVER for ERR, E_RESPONSE. */
simplex_rc sx_req_check(const struct sx_req *r, const struct sx_transmission *t,
                        const struct sx_rsp *rsp) SIMPLEX_CHECK;

/* ---- lists in order of arrival ---- */

struct sx_req_list {
    struct sx_req *first, *last;
};
void sx_req_append(struct sx_req_list *l, struct sx_req *r);
void sx_req_unlink(struct sx_req_list *l, struct sx_req *r);

/* ---- the table: by correlation id and by deadline. All zero: an empty table ---- */

struct sx_requests {
    struct sx_req **bucket;
    size_t n_buckets; /* 0 or a power of two */
    struct sx_req **heap;
    size_t heap_len, heap_size;
    size_t count;
};
/* Without a deadline. E_PROHIBITED when the correlation id is in use, E_NOMEM. */
simplex_rc sx_requests_add(struct sx_requests *t, struct sx_req *r) SIMPLEX_CHECK;
void sx_requests_remove(struct sx_requests *t, struct sx_req *r); /* of the table; not freed */
struct sx_req *sx_requests_find(const struct sx_requests *t, simplex_bytes corr_id);
void sx_requests_set_deadline(struct sx_requests *t, struct sx_req *r, int64_t when);
int64_t sx_requests_next(const struct sx_requests *t); /* SX_NO_DEADLINE when none */
/* The one with the earliest deadline, if that is not after now. Stays in the table. */
struct sx_req *sx_requests_expired(const struct sx_requests *t, int64_t now);
void sx_requests_free(struct sx_requests *t); /* of the table's memory; must be empty */

#endif
