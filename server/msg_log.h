/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference's files of messages and notifications (protocol/smp.md section 10), one record a
 * line: `v3 <rid> <msgId> <sec> flags=T|F <body>`, `v3 <rid> <msgId> <sec> quota` and
 * `v1 <ntfId> <msgId> <sec> <nonce> <meta>`. Written when the server stops and messages are kept in
 * memory, and by the export of those that are kept in the journal; read at the start.
 */
#ifndef SX_MSG_LOG_H
#define SX_MSG_LOG_H

#include "identity.h" /* struct sx_errtext */
#include "queue_store.h"

/* ---- lines, without the line feed; pure computation ---- */

void sx_msg_line_encode(struct sx_wr *w, const uint8_t rid[SX_ID_LEN], const struct sx_msg *m);
/* E_DECODE, E_NOMEM. */
simplex_rc sx_msg_line_decode(simplex_bytes line, uint8_t rid[SX_ID_LEN],
                              struct sx_msg **out) SIMPLEX_CHECK;

void sx_ntf_line_encode(struct sx_wr *w, const struct sx_notifier *n, const struct sx_ntf *ntf);
/* What nonce and meta tell besides can be made again from the rest. E_DECODE. */
simplex_rc sx_ntf_line_decode(simplex_bytes line, uint8_t ntf_id[SX_ID_LEN],
                              struct sx_ntf *out) SIMPLEX_CHECK;

/* ---- files ---- */

/* Writes all messages (notifications) of st; the file appears whole or not at all. */
simplex_rc sx_msg_log_save(struct sx_store *st, const char *path,
                           struct sx_errtext *err) SIMPLEX_CHECK;
simplex_rc sx_ntf_log_save(struct sx_store *st, const char *path,
                           struct sx_errtext *err) SIMPLEX_CHECK;

struct sx_msg_log_count {
    size_t loaded, known, no_queue, bad;
};
/*
 * Adds what the file holds to the queues of st, recording it; what a queue has already is left
 * out. No file is fine. A torn last line is left out with a warning. E_DB_DAMAGED: another line
 * cannot be read (with `skip` it is left out with a warning). The file stays: when everything is
 * durable the caller renames it.
 */
simplex_rc sx_msg_log_load(struct sx_store *st, const char *path, bool skip,
                           struct sx_msg_log_count *count, struct sx_errtext *err) SIMPLEX_CHECK;
simplex_rc sx_ntf_log_load(struct sx_store *st, const char *path, struct sx_msg_log_count *count,
                           struct sx_errtext *err) SIMPLEX_CHECK;

#endif
