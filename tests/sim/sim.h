/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in one thread: real agents and real server cores, with everything between and below them
 * replaced at link time, so that a run follows from its seed alone.
 *
 *     sim_env.c    clocks, the heap and randomness of the library; choices of the schedule
 *     sim_uv.c     the calls of libuv that agents and clients use: loops in virtual time
 *     sim_net.c    connections (client/conn.h) to servers in memory, and what can happen to them
 *     sim_vfs.c    databases in memory
 *     sim_cert.c   stand-ins for certificates
 *     sim_world.c  devices: an agent with its database, which can be closed, killed, set back
 *     sim_contact.c  a contact that sends anything
 *     sim_crypto.c cheap stand-ins for key agreement and signatures; use of message keys is watched
 *
 * The product's objects are linked as they are. docs/testing.md says how to use it.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "base/base.h"
#include "simplex/agent.h"

#define SIM_NODES 3
#define SIM_SERVERS 3

/* ---- devices ---- */

struct sim_block; /* of its heap */

struct sim_node {
    unsigned n;
    struct simplex_agent *a; /* NULL: not running */
    simplex_agent_config cfg;
    char db[300];
    int64_t skew; /* of its wall clock, ms */
    struct sim_block *blocks;
    unsigned runs; /* how often its agent was opened */
    unsigned kills;
    bool hides; /* it must write to servers of contacts through a proxy alone */
};

struct sim_copy { /* of a database, made while its agent ran or not */
    uint8_t *file[2];
    size_t len[2];
    unsigned run;
    bool open;         /* the agent was running */
    simplex_bytes key; /* of the database then */
};

/* ---- the world ---- */

extern struct sim {
    uint64_t seed;
    uint64_t steps;                                 /* things that happened */
    int64_t now;                                    /* ms since it began: the monotonic clock */
    struct sim_node nodes[SIM_NODES + SIM_SERVERS]; /* behind the devices: proxies of servers */
    unsigned n_nodes;                               /* devices */
    struct sim_node *at;                            /* whose code runs; NULL: the world's */
    bool looping;             /* it is the device's loop, not its application */
    bool trace, trace_blocks; /* on stderr: what happens; and what passes the network */
    struct sim_node *hostile; /* sends anything to its contacts; NULL: nobody */
    const uint8_t *script;    /* choices come from here instead of the seed; NULL: from the seed */
    bool encrypted;           /* databases are, as in the product; it takes time */
    int32_t queues;           /* receiving queues of each connection; 0: one */
    size_t script_left;
    void (*committed)(struct sim_node *n); /* its database has what it wrote; NULL: nobody asks */
    void (*undone)(struct sim_node *n);    /* what it wrote since is gone */
    void (*failed)(void);                  /* after the report; NULL: the process ends */
    const char *how;                       /* to reproduce, part of the report */
} sim;

void sim_prepare(void);       /* what runs have in common; by the first sim_seed */
void sim_seed(uint64_t seed); /* before the first choice */
void sim_open(unsigned nodes, unsigned servers);
void sim_close(void);
void sim_end(void); /* of the process: temporary files */

/* The report of what went wrong, with the seed; does not return. */
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define SIM_CHECK(cond)                                       \
    do {                                                      \
        if (!(cond))                                          \
            sim_fail("%s:%d: %s", __FILE__, __LINE__, #cond); \
    } while (0)

/* ---- choices ---- */

uint32_t sim_below(uint32_t n); /* 0 .. n-1; of the schedule, not of the library's randomness */
bool sim_chance(uint32_t percent);
uint32_t sim_luck(uint32_t n); /* of the network: never from a script */

/* ---- running code of a device ---- */

/* Runs fn as the device's application. False: the device was killed meanwhile. */
bool sim_app(struct sim_node *n, void (*fn)(struct sim_node *n, void *arg), void *arg);
/* Runs fn as the proxy of a server, which does not die. */
void sim_proxy(unsigned server, void (*fn)(struct sim_node *n, void *arg), void *arg);
bool sim_is_proxy(const struct sim_node *n);
/* A point between two lines of the device's code: here it can be killed. */
void sim_point(void);
/* On: it does not die on the way, until this is off again. */
void sim_spare(bool on);
/* The device dies `points` points from now. 0: not. */
void sim_kill_in(uint32_t points);
size_t sim_heap_used(const struct sim_node *n);
void sim_heap_drop(struct sim_node *n); /* frees all that is left */
size_t sim_heap_total(void);

/* ---- devices ---- */

simplex_rc sim_start(struct sim_node *n); /* opens its agent */
void sim_stop(struct sim_node *n);        /* closes it in good order */
void sim_kill(struct sim_node *n);        /* now; what is not committed is lost */
void sim_copy_make(struct sim_node *n, struct sim_copy *c);
void sim_copy_put(struct sim_node *n, const struct sim_copy *c); /* the agent must not run */
void sim_copy_free(struct sim_copy *c);
bool sim_key_opens(const struct sim_node *n, simplex_bytes key); /* its agent must not run */

/* ---- sim_vfs.c ---- */

void sim_files_prepare(void);
void sim_files_drop(void);
void sim_file_get(const char *name, uint8_t **bytes, size_t *len); /* bytes NULL: there is none */
void sim_file_put(const char *name, const uint8_t *bytes, size_t len); /* NULL: removes it */
void sim_files_freeze(bool on);             /* who closes them does not change them any more */
void sim_files_freeze_in(uint32_t changes); /* that many from now on; 0: not */
bool sim_files_frozen(void);
void sim_power_lost(const char *name); /* what is not synced is gone; nobody has it open */

/* ---- time ---- */

/* Lets things happen until that time; stops before when `done` says so. False: it did not. */
bool sim_run(int64_t ms, bool (*done)(void));
bool sim_step(int64_t until); /* one thing; false: nothing happens until then */

/* ---- sim_uv.c ---- */

/* Turns of the device's loop until it would sleep; the first begins with fn, unless NULL. */
void sim_turn(struct sim_node *n, void (*fn)(void *arg), void *arg);
int64_t sim_due(const struct sim_node *n); /* its next timer; INT64_MAX: none */
void sim_loop_forget(struct sim_node *n);  /* it was killed */

/* ---- sim_net.c ---- */

void sim_net_open(unsigned servers);
void sim_net_close(void);
int64_t sim_net_due(void);               /* the next thing on the way; INT64_MAX: none */
void sim_net_step(void);                 /* lets it arrive */
void sim_proxy_step(unsigned server);    /* turns of the loop of its proxy */
void sim_net_forget(struct sim_node *n); /* it was killed: its connections break */
unsigned sim_servers(void); /* how many there are */
const char *sim_server_address(unsigned s);
void sim_server_down(unsigned s, bool down);
bool sim_server_is_down(unsigned s);
void sim_server_restart(unsigned s); /* all sessions break, the state stays */
struct sx_server;
struct sim_notifier { /* of a queue, as its server has it */
    bool has;
    uint8_t id[24], secret[32];
};
bool sim_server_queue(const struct sx_server *address, simplex_bytes rcv_id,
                      struct sim_notifier *out); /* false: there is no such queue */
void sim_server_expire(unsigned s);              /* old messages, as its timer does */

/* What may happen to the connection of a device to a server. */
unsigned sim_conns(const struct sim_node *n);               /* how many it has */
void sim_conn_break(const struct sim_node *n, unsigned i);  /* answers on the way are lost */
void sim_conn_deaf(const struct sim_node *n, unsigned i);   /* nothing passes from now on */
void sim_conn_repeat(const struct sim_node *n, unsigned i); /* the last MSG comes again */
void sim_net_heal(void); /* all servers are there, deaf connections break */
struct sim_net_cfg {
    uint32_t latency;       /* ms, at most, one way */
    uint32_t break_percent; /* of blocks that arrive: the connection breaks after or before it */
    uint16_t version;       /* of SMP; 0: the newest */
    unsigned quota;         /* messages in a queue; 0: the server's default */
    bool proxies;           /* servers pass on commands to others (private routing) */
};
extern struct sim_net_cfg sim_net_cfg;

/* ---- sim_crypto.c ---- */

void sim_keys_clear(void);
extern uint64_t sim_seals; /* messages encrypted with keys of ratchets */

#endif
