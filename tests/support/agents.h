/* SPDX-License-Identifier: Apache-2.0 */
/* Agents for end-to-end tests: real databases in a temporary folder, events pulled in order. */
#ifndef TESTS_AGENTS_H
#define TESTS_AGENTS_H

#include "support/forwarder.h"
#include "support/vec.h"

#include "simplex/agent.h"
#include "simplex/server.h"

#define WAIT_MS 20000 /* for an event that must come; generous for sanitizer builds */

/* A folder of its own below TMPDIR, removed by tmp_remove. */
void tmp_make(char path[256]);
void tmp_remove(const char *path);

/* An in-process server on a free port, with certificates in memory unless cfg says otherwise. */
struct test_server {
    simplex_server *s;
    char address[512];
};
void server_start(struct test_server *t, const simplex_server_config *cfg); /* NULL: defaults */
void server_stop(struct test_server *t);

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
/* True when no event of this kind comes within ms. */
bool quiet(struct test_agent *t, int32_t kind, int ms);
/* Those of this kind that are there. */
void forget_events(struct test_agent *t, int32_t kind);

/* J joins by the invitation of I's connection that comes next, with this information about itself.
 */
void agent_join(struct test_agent *i, int64_t ic, struct test_agent *j, const char *info,
                int64_t *jc);
/* Lets in who asks next, with this information. */
void agent_allow(struct test_agent *t, int64_t conn, const char *info);
/* A whole handshake: *i and *j are the ids of the connection on both sides. */
void connect_agents(struct test_agent *ia, struct test_agent *ja, int32_t pq, int64_t *i,
                    int64_t *j);
/* Sends text; its id. */
int64_t send_text(struct test_agent *t, int64_t conn, const char *text);
/* The next message: must be this text, with nothing missing before it. Acknowledges it; its id. */
int64_t receive_text(struct test_agent *t, int64_t conn, const char *text);
/* Sends text and checks that it arrives intact; acknowledges it. Waits for SENT. */
void talk(struct test_agent *from, int64_t from_conn, struct test_agent *to, int64_t to_conn,
          const char *text);

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
void duo_close(struct duo *d);

#endif
