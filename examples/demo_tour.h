/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second half of the demo: what else an agent can do, one short step after the other. The
 * agents of it live in this process and are pulled for their events, so that a step reads from top
 * to bottom. A step is a function in demo_steps.c, or a file of its own, and a row of the table
 * there.
 */
#ifndef DEMO_TOUR_H
#define DEMO_TOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simplex/agent.h"
#include "simplex/server.h"

enum { TOUR_SERVERS = 3, TOUR_PEOPLE = 14, TOUR_HELD = 256, TOUR_PATIENCE_MS = 20000 };

struct person {
    const char *name;
    char db[512];
    uint8_t key[32];
    simplex_agent_config cfg; /* change before person_reopen */
    simplex_agent *a;
    simplex_event *held[TOUR_HELD]; /* events that came while others were waited for */
    size_t n_held;
};

struct tour {
    const char *dir; /* for databases */
    simplex_server *server[TOUR_SERVERS];
    char address[TOUR_SERVERS][512];
    const char *addresses[TOUR_SERVERS];
    struct person people[TOUR_PEOPLE];
    size_t n_people;
    struct person *carol, *dave; /* are connected by the first step */
    int64_t carol_dave, dave_carol;
    char link[512]; /* Carol's contact address, short */
    int64_t began;  /* of the present step, microseconds */
};

struct step {
    const char *title;
    bool (*run)(struct tour *t);
};

/* Starts servers, runs every step of the table until one fails, removes everything. */
bool tour_run(const char *dir);
extern const struct step tour_steps[];
extern const size_t n_tour_steps;

/* ---- for steps: each says in red what went wrong, and returns false or NULL ---- */

simplex_bytes text_bytes(const char *text);
double tour_ms(int64_t since); /* demo_us() then; until now */
bool worked(const char *what, simplex_rc rc);
/* How many servers of the tour it is given for its queues, from the first on; cfg NULL: as usual.
 */
struct person *person_open(struct tour *t, const char *name, size_t n_servers,
                           const simplex_agent_config *cfg);
bool person_reopen(struct person *p); /* opens; closes first when open */
bool person_close(struct person *p);
/* The next event of this kind (of this connection, unless 0), to be freed; others are kept. */
simplex_event *await(struct person *p, int32_t kind, int64_t conn);
bool await_done(struct person *p, int32_t kind, int64_t conn);
bool send_text(struct person *p, int64_t conn, const char *text);
/* The next message is this one; acknowledged. */
bool hear(struct person *p, int64_t conn, const char *text);
/* Sends, and waits until the other side has it. */
bool talk_to(struct person *from, int64_t from_conn, struct person *to, int64_t to_conn,
             const char *text);
/* A connection by an invitation link of one of i's users (0: the default one). */
bool befriend(struct person *i, int64_t user, struct person *j, int64_t *ic, int64_t *jc);
/* j asks at Carol's address, she accepts. */
bool ask_carol(struct tour *t, struct person *j, int64_t *carol, int64_t *jc);

#endif
