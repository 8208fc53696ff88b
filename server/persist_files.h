/* SPDX-License-Identifier: Apache-2.0 */
/* What persist.c and persist_open.c share: the files of a server's state. */
#ifndef SX_PERSIST_FILES_H
#define SX_PERSIST_FILES_H

#include "journal.h"
#include "persist.h"
#include "store_log.h"

enum sx_state_file {
    SX_FILE_QUEUES,   /* smp-server-store.log */
    SX_FILE_MESSAGES, /* smp-server-messages.log */
    SX_FILE_NTFS,     /* smp-server-ntfs.log */
    SX_FILE_JOURNAL,  /* smp-server-journal, a directory */
    SX_STATE_FILES
};

enum sx_compact_stage { SX_COMPACT_IDLE, SX_COMPACT_SERVICES, SX_COMPACT_QUEUES };

struct sx_compacting { /* of the committing thread (persist_compact.c) */
    enum sx_compact_stage stage;
    unsigned shard;
    size_t cursor; /* of services, or within the shard */
    uint64_t before;
    int64_t started_ms, retry_ms;
    atomic_uint_fast64_t done, failures, total_ms; /* read by any thread */
};

struct sx_persist {
    struct sx_store *st;
    struct sx_slog *log;
    struct sx_journal *journal; /* NULL: messages are kept in memory */
    struct sx_commit *commit;
    struct sx_persist_cfg cfg; /* without dir, which is the caller's */
    char *path[SX_STATE_FILES];
    uint64_t loaded_ntfs; /* notifications found at the start */
    bool log_was_empty;   /* when the start came to it */
    size_t strangers;     /* messages in the journal whose queue is not in it */
    struct sx_compacting compact;
};

#endif
