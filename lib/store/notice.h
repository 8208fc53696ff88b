/* SPDX-License-Identifier: Apache-2.0 */
/* What servers said when they blocked a receiving queue (lib/agent/notice.c). A server is known by
 * "host:port", so that a notice outlives the queue that it was for. */
#ifndef SX_STORE_NOTICE_H
#define SX_STORE_NOTICE_H

#include "store/store.h"

struct sx_notice {
    bool has_ttl;
    int64_t ttl; /* seconds */
    int64_t at;  /* ms: when it was seen first */
};
/* Another one for the same queue changes what it says, not since when. */
simplex_rc sx_store_notice_put(struct sx_store *s, const char *server, simplex_bytes rcv_id,
                               const struct sx_notice *n) SIMPLEX_CHECK;
simplex_rc sx_store_notice_delete(struct sx_store *s, const char *server,
                                  simplex_bytes rcv_id) SIMPLEX_CHECK;

struct sx_notices { /* of a server, taken together */
    char server[288];
    int64_t at;   /* ms: the latest */
    int64_t ttl;  /* seconds: the sum */
    bool endless; /* one has no ttl */
};
/* The server behind n->server (at first: "") in the order of their names. E_NOT_FOUND: none. */
simplex_rc sx_store_notices_next(struct sx_store *s, struct sx_notices *n) SIMPLEX_CHECK;

#endif
