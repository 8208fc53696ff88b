/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From queued requests to the contents of blocks (protocol/smp.md sections 2 and 5). Pure
 * computation. Servers run a block from its last command to its first, so requests about one
 * entity never share a block.
 */
#ifndef SX_OUTBOX_H
#define SX_OUTBOX_H

#include "client/requests.h"

#define SX_OUTBOX_REQUESTS 1350 /* ten blocks of SUB */
#define SX_OUTBOX_BYTES (10u * SX_BLOCK)
#define SX_OUTBOX_SEEN 4096 /* a power of two, at least twice the requests */

struct sx_outbox {
    size_t n;      /* requests taken */
    size_t blocks; /* they fill this many blocks */
    struct sx_req *req[SX_OUTBOX_REQUESTS];
    size_t len[SX_OUTBOX_REQUESTS];
    size_t first[SX_OUTBOX_REQUESTS]; /* of each block */
    uint16_t seen[SX_OUTBOX_SEEN];    /* set of entities: index in req + 1 */
};

/*
 * Looks at the head of the list and plans one group of blocks: requests with different entities,
 * or a single one that is too long for a batch. The requests stay in the list.
 */
simplex_rc sx_outbox_plan(struct sx_outbox *o, const struct sx_req_list *queued) SIMPLEX_CHECK;
/* The requests of block i: req[*from] .. req[*to - 1]. */
void sx_outbox_range(const struct sx_outbox *o, size_t i, size_t *from, size_t *to);
/* The content of block i. */
void sx_outbox_content(const struct sx_outbox *o, size_t i, struct sx_wr *content);

#endif
