/* SPDX-License-Identifier: Apache-2.0 */
/* The program's log: lines on stderr, never with keys, ids or addresses of clients. */
#ifndef SX_LOG_H
#define SX_LOG_H

#include "base/base.h"

/* Once, before threads start. */
void sx_log_to_stderr(enum sx_log_level max);
/* Any time, from any thread. */
void sx_log_set_level(enum sx_log_level max);
/* "trace" (all there is), "debug", "info", "warn", "error". */
bool sx_log_level_parse(const char *text, enum sx_log_level *out) SIMPLEX_CHECK;

#endif
