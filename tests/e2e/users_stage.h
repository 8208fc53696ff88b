/* SPDX-License-Identifier: Apache-2.0 */
/* An agent with two users, a peer with one, and a server for each. */
#ifndef USERS_STAGE_H
#define USERS_STAGE_H

#include "agent/users.h"
#include "support/agents.h"

/* `t` is the agent with several users, `p` a peer with one; one and two are servers. */
struct world {
    char dir[256];
    struct test_server one, two;
    struct forwarder to_one, to_two; /* of t */
    char one_address[512], two_address[512];
    struct test_agent t, p;
    int64_t user;
};
extern struct world w;

/* For cmocka, before and after each test. */
int set_up(void **state);
int tear_down(void **state);

simplex_user_server entry(const char *address, int64_t op); /* of a list */
int64_t make_user(const char *address);
/* A connection of a user of t (who invites) with the peer. */
void connect_user(int64_t user, int64_t *tc, int64_t *pc);
unsigned port_of(const char *server);
/* The port of the server that has the receiving queue. */
unsigned queue_port(struct test_agent *t, int64_t conn);
int64_t user_of(int64_t conn);
simplex_user_info info_of(int64_t user);
/* What is known of the session of a user with a server; false: there is none. */
bool session_of(int64_t user, unsigned port, simplex_server_status *out);
void expect_user_deleted(int64_t user);

#endif
