/* SPDX-License-Identifier: Apache-2.0 */
/* When the store log is compacted while the server runs, and what is put into the new one. */
#ifndef SX_PERSIST_COMPACT_H
#define SX_PERSIST_COMPACT_H

#include "persist_files.h"

/* A slice of it, by the committing thread between two commits. True: there is more to do. */
bool sx_persist_compact(struct sx_persist *p);

#endif
