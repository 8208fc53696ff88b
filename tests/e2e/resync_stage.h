/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents that lose their ratchet, and how they show that they have a new one. */
#ifndef RESYNC_STAGE_H
#define RESYNC_STAGE_H

#include "support/agents.h"

/* Nothing can be sent. */
void assert_blocked(struct test_agent *t, int64_t conn);
void sync_ok(struct test_agent *t, int64_t conn, bool force);
/* Until nothing waits to be sent. */
void await_delivery(struct test_agent *t, int64_t conn);

void both_agree(struct duo *d);
/* Both directions, several turns of the ratchet. */
void converse(struct duo *d);
/* With first words in both directions. */
void usable_again(struct duo *d);
/* both_agree, and usable_again. */
void both_recover(struct duo *d);
/* When attempts cross each other agreements come and go, also after both sides were content with
 * one. It ends by itself, and well. */
void agreed_at_rest(struct duo *d);

/* ---- old copies of a database ---- */

void save_copy(struct test_agent *t);
/* In the place of the newer one. The agent stays closed. */
void put_back(struct test_agent *t);
/* On another device, where nothing but the messages shows that it is old. */
void restore_copy(struct test_agent *t);
/* J is back at an old copy, and does not know it yet. */
void open_restored(struct duo *d, int32_t pq);

#endif
