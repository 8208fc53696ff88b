/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents that connect in every way there is, each with its wish for post-quantum keys. */
#ifndef TESTS_SIDES_H
#define TESTS_SIDES_H

#include "support/agents.h"

struct side {
    struct test_agent *t;
    int32_t pq; /* its wish */
    int64_t conn;
    bool supports; /* in CONF or INFO */
    bool con;      /* in CON */
};

/* i makes the link and allows, j joins. */
void by_invitation(struct side *i, struct side *j);
void by_short_link(struct side *i, struct side *j);

struct address {
    struct test_agent *t;
    int64_t conn;
    simplex_event *inv; /* with the link */
};
void make_address(struct address *a, struct test_agent *t);
void drop_address(struct address *a);
/* r asks and becomes the initiator; o, the owner, accepts. */
void by_address(const struct address *at, struct side *r, struct side *o);

/* A message, and its way: delivered, acknowledged, with or without a KEM, through the proxy if the
 * sender has one. */
void say(struct side *from, struct side *to, bool pq);
void both_say(struct side *i, struct side *j, int rounds, bool pq);
/* Both go: what is deleted on one side is refused to the other. Events that nobody asked for go
 * too. */
void part(struct side *i, struct side *j);

#endif
