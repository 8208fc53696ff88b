/* SPDX-License-Identifier: Apache-2.0 */
/* I, which is woken by pushes and fetches its messages, and J, which sends them. */
#ifndef PUSH_STAGE_H
#define PUSH_STAGE_H

#include "support/agents.h"

extern struct duo d;

void begin(void);
void end(void);
void reopen(bool fetch_only, bool notifications); /* I */
/* I goes on from its files as they are at this moment: as after kill -9. */
void crash(void);
/* The next event of I, or one that another wait has put aside. NULL: none for a moment. */
simplex_event *any_event(void);

void fetch(int64_t conn);
/* FETCHED; the id of the message. */
int64_t fetched(int64_t conn, int64_t count, simplex_rc rc);
/* MSGNTF; the server's id of the message, unless NULL. */
void acked(int64_t conn, uint8_t id[24]);
void nothing_waits(int64_t conn);

#endif
