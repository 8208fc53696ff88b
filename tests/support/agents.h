/* SPDX-License-Identifier: Apache-2.0 */
/* Agents for end-to-end tests: real databases in a temporary folder, events pulled in order. */
#ifndef TESTS_AGENTS_H
#define TESTS_AGENTS_H

#include "support/forwarder.h"
#include "support/vec.h"

#include "simplex/agent.h"
#include "simplex/server.h"

#define WAIT_MS 20000 /* for an event that must come; generous for sanitizer builds */

/* Fails the test, naming the code, unless it is OK. */
void must(simplex_rc rc);

/* A folder of its own below TMPDIR, removed by tmp_remove with all that is in it. */
void tmp_make(char path[256]);
void tmp_remove(const char *path);
void copy_file(const char *from, const char *to);

/* An in-process server on a free port, with certificates in memory unless cfg says otherwise. */
struct test_server {
    simplex_server *s;
    char address[512];
};
void server_start(struct test_server *t, const simplex_server_config *cfg); /* NULL: defaults */
void server_stop(struct test_server *t);
size_t server_queues(const struct test_server *t);                /* that it holds */
void expect_server_queues(const struct test_server *t, size_t n); /* waits for it */
void expect_server_connections(const struct test_server *t, size_t n);
void expect_server_empty(const struct test_server *t); /* waits until no message is on it */

#define AGENT_KEY "0123456789abcdef0123456789abcdef" /* of their databases: a raw one */

struct test_agent {
    simplex_agent *a;
    char db[300];
    const char *servers[4];
    size_t n_servers;
    simplex_agent_config cfg; /* change before agent_reopen */
    simplex_event *held[256]; /* events that came while another kind was waited for */
    size_t n_held;
    bool errors_ok; /* ERR events are dropped instead of failing the test */
};
void agent_open(struct test_agent *t, const char *dir, const char *name, const char *server);
void agent_reopen(struct test_agent *t); /* with t->cfg; closes first when open */
void agent_close(struct test_agent *t);

/* The next event of this kind (and connection, unless 0), keeping others for later. Fails the test
 * after WAIT_MS. The caller frees it with simplex_event_free. ERR fails the test unless it is what
 * is waited for. */
simplex_event *wait_event(struct test_agent *t, int32_t kind, int64_t conn);
/* Waits for it and frees it. */
void expect(struct test_agent *t, int32_t kind, int64_t conn);
/* The next RSYNC, which must be of this state and for this reason. */
void expect_sync(struct test_agent *t, int64_t conn, int32_t state, simplex_rc why);
/* The next SWITCH, which must be of this direction and phase, and name its server. */
void expect_switch(struct test_agent *t, int64_t conn, int32_t direction, int32_t phase);
/* The whole move of a queue of this direction, each phase in its turn. */
void expect_moved(struct test_agent *t, int64_t conn, int32_t direction);
/* Until a move is told to be over; one that is given up fails the test. */
void wait_moved(struct test_agent *t, int64_t conn);
/* Until a new ratchet is told to be in use on both sides. */
void wait_synced(struct test_agent *t, int64_t conn);
/* True when no event of this kind comes within ms. */
bool quiet(struct test_agent *t, int32_t kind, int ms);
/* Those of this kind that are there. */
void forget_events(struct test_agent *t, int32_t kind);
/* All that were kept for later. */
void forget_held(struct test_agent *t);

/* J joins by the invitation of I's connection that comes next, with this information about itself.
 */
void agent_join(struct test_agent *i, int64_t ic, struct test_agent *j, const char *info,
                int64_t *jc);
/* Lets in who asks next, with this information. */
void agent_allow(struct test_agent *t, int64_t conn, const char *info);
/* A whole handshake: *i and *j are the ids of the connection on both sides. */
void connect_agents(struct test_agent *ia, struct test_agent *ja, int32_t pq, int64_t *i,
                    int64_t *j);
/* The same for this user of I. */
void connect_agents_as(struct test_agent *ia, int64_t user, struct test_agent *ja, int64_t *i,
                       int64_t *j);
simplex_connection_info connection_info(struct test_agent *t, int64_t conn);
int64_t last_id(struct test_agent *t, int64_t conn); /* of its messages */
/* Sends text; its id. */
int64_t send_text(struct test_agent *t, int64_t conn, const char *text);
/* The next message: must be this text, with nothing missing before it; its id. */
int64_t see_text(struct test_agent *t, int64_t conn, const char *text);
/* And acknowledges it. */
int64_t receive_text(struct test_agent *t, int64_t conn, const char *text);
/* Sends text and checks that it arrives intact; acknowledges it. Waits for SENT. */
void talk(struct test_agent *from, int64_t from_conn, struct test_agent *to, int64_t to_conn,
          const char *text);

/* The same with the first message behind a new ratchet: it may tell of a gap, the numbers of what
 * was lost. */
void first_words(struct test_agent *from, int64_t from_conn, struct test_agent *to, int64_t to_conn,
                 const char *text);
/* Texts that are numbers. */
int64_t send_number(struct test_agent *t, int64_t conn, int n);
void receive_number(struct test_agent *t, int64_t conn, int n);
/* Sends, and is told that there is no such queue, or not for senders. */
void expect_gone(struct test_agent *t, int64_t conn);

/* SIMPLEX_TEST in the environment is a pattern: only these tests of the program are run. */
void choose_tests(void);

/* Two agents and one server. Each agent knows it by another port, so that the way to I's queue (fi)
 * and the way to J's queue (fj) can fail apart; both agents use both. */
struct duo {
    char dir[256];
    struct test_server srv;
    struct forwarder fi, fj;
    char i_address[512], j_address[512];
    struct test_agent i, j;
    int64_t ic, jc;
};
void duo_open(struct duo *d, const simplex_server_config *cfg); /* NULL: defaults */
void duo_connect(struct duo *d);
void duo_talk(struct duo *d, const char *text);         /* a message each way */
void duo_ways(struct duo *d, enum forwarder_mode mode); /* both */
void duo_close(struct duo *d);

#endif
