/* SPDX-License-Identifier: Apache-2.0 */
/* A victim, somebody it talks to, and a contact made by hand that does not keep to the protocol.
 * One at a time: each test sets it up and tears it down. */
#ifndef HOSTILE_STAGE_H
#define HOSTILE_STAGE_H

#include "support/agents.h"
#include "support/contact.h"

#define BODY_MAX 20000

extern struct hostile_stage {
    struct duo d; /* i: the victim; j: somebody it talks to as well */
    struct contact c;
    int64_t conn; /* of i with the contact */
} s;

int set_up(void **state);
int tear_down(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

void connect_contact(void); /* both of: */
void allow_contact(void);   /* its confirmation was sent */

/* ---- what the victim shows ---- */

void expect_err(simplex_rc why);
simplex_rc next_err(void);
void expect_msg(const char *text, int32_t integrity, int64_t first, int64_t last);
void others_go_on(void);
/* So is its queue with the contact. */
void assert_usable(void);

/* ---- what the contact sends ---- */

extern const struct contact_how saying; /* as messages are */

void send_noise(size_t len);
void box_and_send(const struct contact_how *how, simplex_bytes envelope);
void send_plain(simplex_bytes plain);
/* An agent message with the number and the hash that are due. */
struct sx_agent_msg next_msg(enum sx_msg_tag tag);
/* What comes after it is to have its hash. */
void say_msg(const struct sx_agent_msg *m);

#endif
