/* SPDX-License-Identifier: Apache-2.0 */
/* Short links between two agents and a real server: the duo's i makes them, j looks and joins. */
#ifndef SHORT_LINKS_STAGE_H
#define SHORT_LINKS_STAGE_H

#include "agent/agent.h"
#include "support/agents.h"

struct story {
    struct duo d;
    char full[4096], link[2048];
    int64_t ic, jc;
};
extern struct story s;

/* For cmocka: before all tests of a program, before each and after each. */
int start(void **state);
int open_story(void **state);
int close_story(void **state);

simplex_link_data data_of(const char *text);
void keep(char *to, size_t size, simplex_bytes text); /* as a string */
void take_links(struct test_agent *t, int64_t conn);  /* of INV and LINK */
void make(int32_t type, int32_t pq, const char *text);
void look(struct test_agent *t, int64_t *conn);
simplex_event *ldata(struct test_agent *t, int64_t conn);
void expect_data(struct test_agent *t, int64_t conn, const char *text);
void expect_error(struct test_agent *t, int64_t conn, simplex_rc rc, const char *detail);
/* What follows JOINED of an invitation. */
void finish(struct test_agent *j, int64_t jc, bool pq);
void join(struct test_agent *t, const char *link, int32_t pq, int64_t *conn);

#endif
