/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients, browsers and an operator who do all there is to do with a server, right and wrong, and
 * note every identifier that they meet.
 */
#ifndef TESTS_LOG_STAGE_H
#define TESTS_LOG_STAGE_H

#include "support/secrets.h"

#define LOG_STAGE_PASSWORD "the-admin" /* of the control port */
#define LOG_STAGE_QUOTA "2"            /* messages_per_queue */

struct log_stage {
    uint16_t port, control_port, web_port; /* on 127.0.0.1 */
    uint8_t key_hash[32];
    struct secrets *secrets;
    struct secrets *ports; /* apart: where there are counts, one may be as large as a port */
};

void log_stage_play(const struct log_stage *s);
/* Then one more client, which says nothing; and its end, when the server has had enough of it. */
void log_stage_fall_silent(void);
void log_stage_await_end(void);

#endif
