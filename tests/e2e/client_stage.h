/* SPDX-License-Identifier: Apache-2.0 */
/* The client on a loop, its peer on the same one, and a test that runs the loop until something is
 * so. One at a time: each test sets it up and tears it down. */
#ifndef CLIENT_STAGE_H
#define CLIENT_STAGE_H

#include "client/smp_client.h"
#include "support/smp_peer.h"
#include "support/vec.h"

struct result {
    int done;
    simplex_rc rc;
    bool has_rsp;
    struct sx_rsp rsp;
    int order; /* of all callbacks of the test */
};

extern struct client_stage {
    uv_loop_t loop;
    uv_timer_t guard;
    int64_t deadline;
    bool late, closed, inside;
    struct peer peer;
    struct sx_net *net;
    struct sx_net_cfg cfg;
    struct sx_client *client;
    int ups, downs, events, callbacks;
    simplex_rc down_rc;
    int down_order, up_order;
    enum sx_rsp_tag event;
    struct sx_smp_err event_err;
    size_t event_corr;
    char event_entity[64];
    void (*on_up)(void);
    void (*on_down)(void);
    void (*on_event)(void);
    void (*on_done)(struct result *r);
    size_t live;
} t;

extern struct proxy proxy; /* torn down when it was started */

/* t.cfg may be changed before open_net. */
int set_up(void **state);
int tear_down(void **state); /* nothing may be left on the loop, on the heap or at the peer */
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

simplex_rc try_open_net(void);
void open_net(void);
struct sx_client *client_of(const char *hosts);
void open_client(void); /* both */
void close_net(void);
void closed(void *user);

void guard(int64_t ms); /* t.late after this time */
void run_for(int64_t ms);
#define GUARD_MS 40000
#define RUN_UNTIL(condition)                                \
    do {                                                    \
        guard(GUARD_MS);                                    \
        while (!(condition)) {                              \
            uv_run(&t.loop, UV_RUN_ONCE);                   \
            if (t.late)                                     \
                fail_msg("never happened: %s", #condition); \
        }                                                   \
        uv_timer_stop(&t.guard);                            \
    } while (0)

/* For requests that a test makes itself, with a struct result as ctx. */
void done(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp);
/* r is filled by the answer. */
simplex_rc try_send(const struct sx_cmd *cmd, const char *entity, int64_t timeout,
                    struct result *r);
void send_cmd(enum sx_cmd_tag tag, const char *entity, struct result *r);
void go_up(void); /* opens the client and is answered once */
/* The attempt fails with rc, and so does the command that caused it. */
void assert_fails(simplex_rc rc);

/* For t.peer.answer: what is odd is the name of the queue asked for. */
bool answer_oddly(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                  struct sx_transmission *tr, struct sx_rsp *rsp);
bool silence(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
             struct sx_transmission *tr, struct sx_rsp *rsp);

#endif
