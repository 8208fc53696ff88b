/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording of two agents is played again: a whole agent takes the place of one of them, a server
 * (tests/support/smp_peer.c) answers with the recorded answers and pushes the recorded messages.
 */
#ifndef PLAY_H
#define PLAY_H

#include "agent/agent.h"
#include "support/agents.h"
#include "support/smp_peer.h"
#include "support/transcript.h"
#include "wire/link.h"

struct item { /* of the story of one side, in order of time */
    int64_t t_ms;
    const cJSON *api;  /* a command of the application or an event; or */
    const cJSON *push; /* a MSG of the server; or */
    int command;       /* the agent's, index of `counted` */
};

#define TAGS 6
extern const enum sx_cmd_tag counted[TAGS];

extern struct play {
    struct transcript t;
    /* "I" or "J"; of a contact address "O", who owns it, or "R", who asks; of a synchronisation
     * "A", who initiated the connection, or "B", whose database is exchanged for an old copy */
    const char *side;
    bool pq;
    unsigned begun; /* receiving queues made */
    bool asked;     /* O: the request has come */
    const char *session;
    int64_t version;
    struct item items[256];
    size_t n_items;
    unsigned want[TAGS], got[TAGS];
    uv_loop_t loop;
    struct peer peer;
    struct peer_conn *client;
    char dir[256], address[512];
    simplex_agent *a;
    simplex_event *held[64];
    size_t n_held;
    int64_t conn, conf, sent;
    cJSON *ratchet;  /* the recorded state so far */
    const cJSON *op; /* the next recorded operation on it */
    unsigned messages, events;
    unsigned starts, ratchet_keys, ereadies;
    cJSON *copied; /* the ratchet when the database was copied */
    struct sx_x3dh_keys fresh;
    bool twice; /* each message comes once more, as noise repeats it */
    unsigned repeated;
    uint8_t repeat_id[SX_NONCE_LEN]; /* of the server, for the last of them */
    bool repeat_acked;
} p;

/* Where nothing may be asserted: on the agent's thread. */
#define TRY(call)                \
    do {                         \
        simplex_rc rc_ = (call); \
        if (rc_ != SIMPLEX_OK)   \
            return rc_;          \
    } while (0)

/* ---- the recording, the server, events ---- */

bool side_is(const char *sides);
const cJSON *nth_transmission(const char *tag, const char *from, unsigned nth);
void load_story(void);
struct sx_rsp recorded_rsp(const cJSON *transmission);
struct sx_keypair pair_of(const struct sx_pub *pub);
/* The side's own pair in the box of the nth confirmation or request that it received: the other key
 * is in the head. */
struct sx_keypair e2e_pair(unsigned nth);
void server_open(void);
void pump(void);
simplex_event *event(int32_t kind);
simplex_rc run_on_loop(simplex_rc (*fn)(struct simplex_agent *, void *), void *arg);

/* ---- recorded keys, in the place of those that the agent would make ---- */

struct begin { /* read on the main thread, used on the loop */
    simplex_bytes link, info;
    struct sx_server server;
    struct sx_keypair auth, dh, e2e;
    struct sx_x3dh_keys x3dh;
};

struct allow {
    simplex_bytes info;
    struct sx_server server;
};

struct sx_envelope recorded_request(void);
/* The link of this side, which another one joins. */
void parse_recorded_link(struct sx_link *l);
void assert_same_link(simplex_bytes text, const struct sx_link *want);
void check_request(const struct sx_cmd *cmd);
/* Nobody is at the recorded address. */
simplex_bytes link_to(const struct sx_server *server, struct sx_link *l);
struct begin recorded_begin(simplex_bytes info);
/* sx_create with other keys. */
simplex_rc create_recorded(struct simplex_agent *a, void *arg);
simplex_rc join_recorded(struct simplex_agent *a, void *arg);
simplex_rc create_recorded_address(struct simplex_agent *a, void *arg);
/* sx_accept of a request whose queue is where somebody answers. */
simplex_rc accept_recorded(struct simplex_agent *a, void *arg);
/* sx_allow of a confirmation whose reply queue is where somebody answers. */
simplex_rc allow_recorded(struct simplex_agent *a, void *arg);
void use_recorded_keys(void);
/* The recorded ratchet, but for what the sending side made up. */
void check_agreement(void);
void check_synchronisation(const struct sx_cmd *cmd);
void push(const cJSON *transmission);

#endif
