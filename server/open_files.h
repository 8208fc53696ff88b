/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may have how many of the files that the process may open. Clients and relays are as many as
 * others like: without a share of their own the journal could not begin a new segment, and commands
 * would fail, while somebody holds many idle connections.
 */
#ifndef SX_OPEN_FILES_H
#define SX_OPEN_FILES_H

#include "base/base.h"

struct sx_open_files {
    unsigned clients, relays, web; /* web: browsers */
};

/* What of the wanted connections fits into `files`; at least one of what is wanted. */
struct sx_open_files sx_open_files_share(uint64_t files, unsigned threads,
                                         const struct sx_open_files *wanted);
/* The same with the present limit of the process. */
struct sx_open_files sx_open_files_now(unsigned threads, const struct sx_open_files *wanted);
/* So many files all of that takes. */
uint64_t sx_open_files_needed(unsigned threads, const struct sx_open_files *wanted);

#endif
