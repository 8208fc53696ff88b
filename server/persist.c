/* SPDX-License-Identifier: Apache-2.0 */
/* Recording of changes: the seam between the queue store and its files. */
#include "persist.h"

#include "store_index.h"

void sx_persist_close(struct sx_store *st)
{
    (void)st;
}

uint64_t sx_persist_stamp(struct sx_store *st)
{
    (void)st;
    return 0;
}

enum sx_commit_state sx_persist_state(struct sx_store *st, uint64_t stamp)
{
    (void)st;
    (void)stamp;
    return SX_COMMIT_DURABLE;
}

void sx_persist_request(struct sx_store *st)
{
    (void)st;
}

/* Without persistence there is nothing to record. */
static bool record(struct sx_store *st, struct sx_queue *q)
{
    if (q != NULL)
        q->staged = st->persist != NULL;
    return true;
}

bool sx_persist_create(struct sx_store *st, struct sx_queue *q)
{
    return record(st, q);
}

bool sx_persist_secure(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key)
{
    (void)key;
    return record(st, q);
}

bool sx_persist_keys(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key,
                     unsigned count)
{
    (void)key;
    (void)count;
    return record(st, q);
}

bool sx_persist_link(struct sx_store *st, struct sx_queue *q, const struct sx_link *l)
{
    (void)l;
    return record(st, q);
}

bool sx_persist_del_link(struct sx_store *st, struct sx_queue *q)
{
    return record(st, q);
}

bool sx_persist_notifier(struct sx_store *st, struct sx_queue *q, const struct sx_notifier *n)
{
    (void)n;
    return record(st, q);
}

bool sx_persist_del_notifier(struct sx_store *st, struct sx_queue *q)
{
    return record(st, q);
}

bool sx_persist_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                       enum sx_block_reason why)
{
    (void)status;
    (void)why;
    return record(st, q);
}

bool sx_persist_delete(struct sx_store *st, struct sx_queue *q)
{
    return record(st, q);
}

void sx_persist_used(struct sx_store *st, struct sx_queue *q, int64_t now_ms)
{
    (void)st;
    (void)q;
    (void)now_ms;
}

bool sx_persist_service(struct sx_store *st, const struct sx_service *svc)
{
    (void)svc;
    return record(st, NULL);
}

bool sx_persist_queue_service(struct sx_store *st, struct sx_queue *q, bool ntf,
                              const struct sx_service *svc)
{
    (void)ntf;
    (void)svc;
    return record(st, q);
}

bool sx_persist_push(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    (void)m;
    return record(st, q);
}

bool sx_persist_pop(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    (void)m;
    return record(st, q);
}

void sx_persist_forget(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    (void)st;
    (void)q;
    (void)m;
}
