/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers in this process read and write, in plaintext: every command and every answer with
 * its size, queue, session and time. The linker puts this between the servers and their sessions
 * (--wrap), so nothing in them knows of it. Of all servers together; thread-safe.
 */
#ifndef TESTS_WIRE_LOG_H
#define TESTS_WIRE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_item {
    int64_t us;          /* sx_mono_us */
    const void *session; /* tells sessions that exist at the same time apart */
    unsigned block;      /* of the session, of this direction */
    bool out;            /* the server's */
    bool event;          /* answers no command */
    const char *name;    /* "SEND" */
    uint8_t entity_len, entity[24];
    uint16_t len;  /* of the transmission */
    uint16_t body; /* of SEND, MSG, PFWD, PRES, RFWD, RRES */
};

void wire_log_start(void); /* forgets what was recorded */
/* Copies what was recorded since, up to max; how many there are. */
size_t wire_log(struct wire_item *to, size_t max);

#endif
