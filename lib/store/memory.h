/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SX_STORE_MEMORY_H
#define SX_STORE_MEMORY_H

/* Makes the database wipe what it frees. Idempotent, thread-safe. */
void sx_db_memory(void);

#endif
