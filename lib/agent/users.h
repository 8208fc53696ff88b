/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users: each has connections, servers and sessions of its own (agent.md sections 8.3, 8.4). The
 * rows of `users` and `user_servers` are the truth; what is here is read from them when the agent
 * starts and after each failure of the database.
 */
#ifndef SX_AGENT_USERS_H
#define SX_AGENT_USERS_H

#include "agent/agent.h"

struct sx_user_server {
    struct sx_server server;
    char *password;      /* owned; NULL: none */
    int64_t operator_id; /* 0: nobody in particular */
    uint8_t flags;       /* enum sx_server_flags */
};

void sx_server_list_free(struct sx_server_list *l);

struct sx_user {
    struct sx_user *next;
    struct sx_user_row row;
    struct sx_server_list own; /* with row.own_servers */
};

simplex_rc sx_users_load(struct simplex_agent *a) SIMPLEX_CHECK; /* or all stays as it is */
void sx_users_free(struct simplex_agent *a);
/* At start: has the list of servers in the configuration become another one? Writes rows. */
simplex_rc sx_users_opened(struct simplex_agent *a) SIMPLEX_CHECK;

/* row uses l from now on: when that is another list than before, hash, version and time say so. */
simplex_rc sx_user_note_list(struct sx_user_row *row, const struct sx_server_list *l) SIMPLEX_CHECK;

struct sx_user *sx_user_find(struct simplex_agent *a, int64_t user); /* NULL: there is none */
/* May it have new connections? E_NOT_FOUND: no such user, or it is being deleted. */
simplex_rc sx_user_check(struct simplex_agent *a, int64_t user) SIMPLEX_CHECK;
/* Whose connection is it; 0 (none) is the default user's. E_NOT_FOUND. */
simplex_rc sx_user_of(struct simplex_agent *a, int64_t conn, int64_t *user) SIMPLEX_CHECK;
/* The list that it uses; an empty one of a user that is not there. */
const struct sx_server_list *sx_user_servers(struct simplex_agent *a, int64_t user);

/* ---- users_api.c, delete.c ---- */

/* A user that is being deleted ends with its last connection: DEL_USER. */
simplex_rc sx_user_gone_if_empty(struct simplex_agent *a, int64_t user) SIMPLEX_CHECK;
/* The rows of a connection go, its queues stay on their servers; no event. */
simplex_rc sx_forget(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* ---- servers.c: which one for a purpose ---- */

#define SX_CHOICE_USED 8

struct sx_choice {
    int64_t user;
    uint8_t role;                                 /* SX_SRV_STORAGE or SX_SRV_PROXY */
    const struct sx_server *used[SX_CHOICE_USED]; /* other operators and hosts, if possible */
    size_t n_used;
    const struct sx_server *not_there; /* not this one, if there is any other */
    const struct sx_server *failed;    /* just now: rather another one */
    struct sx_tried *tried;            /* the same of earlier times; NULL: none */
    bool reachable;                    /* none that our settings cannot reach */
};
/* Uniform over those that suit best. E_NO_SERVERS. *out lives until the list is changed. */
simplex_rc sx_choose(struct simplex_agent *a, const struct sx_choice *c,
                     const struct sx_user_server **out) SIMPLEX_CHECK;
/* How many servers the user has for the role. */
size_t sx_servers_for(struct simplex_agent *a, int64_t user, uint8_t role);
/* Is it one of these? */
bool sx_serves(struct simplex_agent *a, int64_t user, uint8_t role, const struct sx_server *s);
/* It did not work there; when nothing is left that was not tried, all are tried anew. */
void sx_tried_add(struct simplex_agent *a, struct sx_choice *c, const struct sx_server *s);

#endif
