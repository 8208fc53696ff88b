/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of the store log (protocol/smp.md section 10, "Files"): text of the reference, written
 * and read. Ids, secrets and link data are padded base64url; keys are base64url of their SPKI.
 */
#ifndef SX_STORE_LOG_LINE_H
#define SX_STORE_LOG_LINE_H

#include "queue_store.h"

#define SX_SLOG_LINE_MAX (1u << 20) /* longer ones are not records */
#define SX_SLOG_CERTS 8             /* of the chain of a service */
#define SX_SLOG_KEYS 255            /* recipient keys of one queue: RKEY counts them in a byte */

enum sx_slog_tag {
    SX_SLOG_CREATE = 1,
    SX_SLOG_LINK,
    SX_SLOG_LDELETE,
    SX_SLOG_SECURE,
    SX_SLOG_SET_KEYS,
    SX_SLOG_NOTIFIER,
    SX_SLOG_NDELETE,
    SX_SLOG_SUSPEND,
    SX_SLOG_BLOCK,
    SX_SLOG_UNBLOCK,
    SX_SLOG_DELETE,
    SX_SLOG_TIME,
    SX_SLOG_NEW_SERVICE,
    SX_SLOG_QUEUE_SERVICE,
};

/* Flat; a tag uses the fields named behind it, the others are zero. Spans are borrowed. */
struct sx_slog_record {
    enum sx_slog_tag tag;
    uint8_t rid[SX_ID_LEN];  /* all but NEW_SERVICE */
    const struct sx_pub *rk; /* CREATE, KEYS: rk_count recipient keys */
    unsigned rk_count;
    uint8_t rdh[32];            /* CREATE */
    uint8_t sid[SX_ID_LEN];     /* CREATE */
    struct sx_pub sk;           /* CREATE (SX_NO_KEY: not secured), SECURE */
    uint8_t queue_mode;         /* CREATE: enum sx_queue_mode; NONE: unknown */
    bool has_link;              /* CREATE; set for LINK too */
    uint8_t link_id[SX_ID_LEN]; /* CREATE, LINK */
    simplex_bytes fixed, user;  /* CREATE, LINK */
    bool has_notifier;          /* CREATE; set for NOTIFIER too */
    uint8_t ntf_id[SX_ID_LEN];  /* CREATE, NOTIFIER */
    struct sx_pub ntf_key;      /* CREATE, NOTIFIER */
    uint8_t ntf_secret[32];     /* CREATE, NOTIFIER */
    bool has_nsrv;              /* CREATE, NOTIFIER */
    uint8_t nsrv[SX_ID_LEN];    /* service of the notifier */
    bool has_updated_at;        /* CREATE; set for TIME too */
    uint32_t day;               /* CREATE, TIME: days since 1970; seconds in the file */
    uint8_t status;             /* CREATE: enum sx_q_status */
    uint8_t reason;             /* CREATE when blocked, BLOCK: enum sx_block_reason */
    bool has_notice, has_ttl;   /* CREATE when blocked, BLOCK */
    int64_t ttl;                /* of the notice */
    bool has_rsrv;           /* CREATE; QUEUE_SERVICE: not set when the queue leaves its service */
    uint8_t rsrv[SX_ID_LEN]; /* CREATE, QUEUE_SERVICE */
    bool ntf;                /* QUEUE_SERVICE: N, the service of the notifier; else R */
    uint8_t service_id[SX_ID_LEN];     /* this and what follows: NEW_SERVICE */
    uint8_t role;                      /* 'M', 'N', 'P' */
    simplex_bytes cert[SX_SLOG_CERTS]; /* DER */
    unsigned cert_count;
    uint8_t cert_hash[32];
    int64_t created_at; /* seconds */
};

/* Appends the line without its LF. w is bad when it does not fit or there is no memory. */
void sx_slog_encode(struct sx_wr *w, const struct sx_slog_record *r);

/* What the spans of a decoded record point into: one for many lines, about 16 KiB. */
struct sx_slog_scratch {
    struct sx_pub key[SX_SLOG_KEYS];
    struct sx_wr blob;
};
void sx_slog_scratch_init(struct sx_slog_scratch *s);
void sx_slog_scratch_wipe(struct sx_slog_scratch *s);

/* Reads a line without its LF (a CR at the end is ignored); r borrows from s until the next line.
 * E_DECODE: not a record; *what names the field in words. E_NOMEM. */
simplex_rc sx_slog_decode(simplex_bytes line, struct sx_slog_scratch *s, struct sx_slog_record *r,
                          const char **what) SIMPLEX_CHECK;

#endif
