/* SPDX-License-Identifier: Apache-2.0 */
/* I's queue is on the relay, J writes to it through a proxy of its own. */
#ifndef ROUTING_STAGE_H
#define ROUTING_STAGE_H

#include "support/agents.h"

struct net {
    char dir[256];
    struct test_server relay, proxy, other;
    struct forwarder way; /* to the relay: for I, for proxies and, when it comes to that, for J */
    struct forwarder to_proxy, to_other; /* J's */
    char relay_address[512], proxy_address[512], other_address[512];
    struct test_agent i, j;
    int64_t ic, jc;
};
extern struct net n;

simplex_server_config server_config(void);
/* NULL: as all servers of the net. */
void open_net(const simplex_server_config *relay, const simplex_server_config *proxy);
void close_net(void);
/* For cmocka, before and after each test. */
int set_up(void **state);
int tear_down(void **state);

void reopen_j(int32_t mode, int32_t fallback);
void connect_both(void);
/* By which server SENT says the message went; its port, 0: directly. */
unsigned sent_through(int64_t id);
unsigned send_through(const char *text); /* to I, who receives it */
void assert_warned(int64_t id, simplex_rc rc, const char *detail);

#endif
