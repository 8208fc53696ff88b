/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KILL_STAGE_LOGS_H
#define KILL_STAGE_LOGS_H

#include "kill_stage.h"

/* Fails the test unless every message is accounted for. How many queues both say they have. */
long check_logs(const struct stage *s);

#endif
