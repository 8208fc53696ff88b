/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simplex/agent.h: several users of one agent, and their lists of servers. */
#ifndef SIMPLEX_AGENT_USERS_H
#define SIMPLEX_AGENT_USERS_H

#include "simplex/agent/connect.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- users (sections 8.3, 8.4) ---- */

/*
 * One agent can serve several users (profiles). Each has connections of its own, servers of its own
 * to make queues on, and sessions of its own with servers: nobody who looks on can tell from TCP
 * connections or Tor circuits that two users share an agent. The default user is there from the
 * beginning; functions without a user act for it. A user that was not given a list of servers uses
 * that of the configuration.
 */
#define SIMPLEX_USER_DEFAULT 1

/* A server in the list of a user. */
typedef struct simplex_user_server {
    size_t size;         /* set by the caller: sizeof(simplex_user_server) */
    const char *address; /* as in the configuration, with the password if it has one */
    int64_t operator_id; /* who runs it, a number of the application's choice; 0: not known. Two
                          * servers of one operator see the same as one server would */
    bool enabled;        /* of a list in which none is enabled for a role, all are used for it */
    bool storage;        /* roles: new queues are made there */
    bool proxy;          /*        servers of contacts are written to through it */
    bool preset;         /* came with the application; kept for it, of no meaning here */
} simplex_user_server;

/*
 * Makes a user with this list of servers (NULL, 0: that of the configuration). *user: stable id,
 * never used again. Errors: ARG (also: more than 256), ADDRESS.
 */
SIMPLEX_API simplex_rc simplex_agent_create_user(simplex_agent *a,
                                                 const simplex_user_server *servers, size_t n,
                                                 int64_t *user) SIMPLEX_CHECK;

/*
 * Makes one user a client service to its servers, or an ordinary client again, as `client_service`
 * of the configuration does for all; kept over restarts. Its sessions are closed and opened anew.
 * Errors: NOT_FOUND, PROHIBITED (all users are, or isolation is by connection).
 */
SIMPLEX_API simplex_rc simplex_agent_set_user_service(simplex_agent *a, int64_t user,
                                                      bool on) SIMPLEX_CHECK;

/*
 * Deletes a user and its connections. queues: as simplex_agent_delete does, with DEL_RCVQ and
 * DEL_CONN for each; DEL_USER follows when the last one is gone. Without it they are only forgotten
 * here, at once, and DEL_USER follows: what is left on the servers expires there. Calls with user
 * give NOT_FOUND from now on. A repeat without `queues` ends a deletion that waits for servers.
 * Errors: NOT_FOUND, PROHIBITED (the default user).
 */
SIMPLEX_API simplex_rc simplex_agent_delete_user(simplex_agent *a, int64_t user,
                                                 bool queues) SIMPLEX_CHECK;

/* Ids above `after` in ascending order: fills up to *n, sets *n. Start with 0. */
SIMPLEX_API simplex_rc simplex_agent_users(simplex_agent *a, int64_t after, int64_t *ids,
                                           size_t *n) SIMPLEX_CHECK;

typedef struct simplex_user_info {
    size_t size;         /* set by the caller: sizeof(simplex_user_info) */
    bool active;         /* simplex_agent_activate_user */
    bool own_servers;    /* it was given a list; else it uses the one of the configuration */
    int64_t n_servers;   /* in the list that it uses */
    int64_t servers_version; /* grows by 1 whenever that list becomes another one, also by another
                              * configuration at the next start */
    int64_t servers_changed_at; /* when it did so last: ms since 1970 */
    int64_t created_at;  /* ms since 1970; 0: with the database */
} simplex_user_info;
/* Errors: NOT_FOUND, ARG. */
SIMPLEX_API simplex_rc simplex_agent_user(simplex_agent *a, int64_t user,
                                          simplex_user_info *out) SIMPLEX_CHECK;

/*
 * Replaces the list of servers of a user. From now on queues are made on these: of several the one
 * for a reply or for a rotation is chosen from other operators, and then on other hosts, than those
 * of the connection, if there are any. Queues that exist stay where they are. n 0 with a list that
 * is not NULL: no servers; NULL: that of the configuration again. Errors: NOT_FOUND, ARG (also:
 * more than 256), ADDRESS.
 */
SIMPLEX_API simplex_rc simplex_agent_set_servers(simplex_agent *a, int64_t user,
                                                 const simplex_user_server *servers,
                                                 size_t n) SIMPLEX_CHECK;

/*
 * Server number `index`, from 0, of the list that a user uses. out->address becomes `address`,
 * which gets up to *len characters, the NUL included; *len is set. Errors: NOT_FOUND (no such user,
 * or behind the last), BUFFER (*len is what it needs), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_user_server(simplex_agent *a, int64_t user, size_t index,
                                                 char *address, size_t *len,
                                                 simplex_user_server *out) SIMPLEX_CHECK;

/* Whose queues are subscribed first when the agent starts: exactly one user, to begin with the
 * default one. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_activate_user(simplex_agent *a, int64_t user) SIMPLEX_CHECK;

/* Connections of a user, as simplex_agent_connections. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_user_connections(simplex_agent *a, int64_t user, int64_t after,
                                                      int64_t *ids, size_t *n) SIMPLEX_CHECK;

/* As the functions without _as, for a user. Errors: those, and NOT_FOUND (no such user). A
 * connection that is accepted belongs to the user of the address; one that looked at a link, to
 * who looked. */
SIMPLEX_API simplex_rc simplex_agent_create_as(simplex_agent *a, int64_t user, int32_t pq,
                                               int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_join_as(simplex_agent *a, int64_t user, simplex_bytes link,
                                             simplex_bytes info, int32_t pq,
                                             int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_create_address_as(simplex_agent *a, int64_t user,
                                                       int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_create_short_as(simplex_agent *a, int64_t user, int32_t type,
                                                     int32_t pq, const simplex_link_data *data,
                                                     int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_prepare_short_as(simplex_agent *a, int64_t user, int32_t type,
                                                      int32_t pq, const simplex_link_data *data,
                                                      int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_look_as(simplex_agent *a, int64_t user, simplex_bytes link,
                                             int64_t *conn) SIMPLEX_CHECK;

/* Gives an invitation that nobody has joined to another user: its link stays, its queue is served
 * by the sessions of that user from now on. Errors: NOT_FOUND, PROHIBITED (another state). */
SIMPLEX_API simplex_rc simplex_agent_change_user(simplex_agent *a, int64_t conn,
                                                 int64_t user) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
