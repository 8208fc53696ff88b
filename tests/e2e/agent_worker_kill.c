/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 by one's own hand: at a commit or at a block for a server, counted from the start. */
#include <signal.h>
#include <stdio.h>

#include "agent_worker.h"
#include "client/conn.h"
#include "store/store.h"

static char what; /* 0: none is planned */
static long left;

simplex_rc __real_sx_store_commit(struct sx_store *s);
simplex_rc __wrap_sx_store_commit(struct sx_store *s);
simplex_rc __real_sx_conn_write(struct sx_conn *c, simplex_bytes content);
simplex_rc __wrap_sx_conn_write(struct sx_conn *c, simplex_bytes content);
simplex_rc __real_sx_conn_push(struct sx_conn *c);
simplex_rc __wrap_sx_conn_push(struct sx_conn *c);

void plan_kill(const char *role)
{
    char name[16], text[32], letter;

    (void)snprintf(name, sizeof name, "kill.%s", role);
    if (get_file(name, -1, text, sizeof text) > 0 && sscanf(text, "%c %ld", &letter, &left) == 2)
        what = letter;
}

/* All of this happens on the agent's thread. */
static void at(char letter)
{
    if (letter == what && left-- == 0)
        (void)raise(SIGKILL);
}

simplex_rc __wrap_sx_store_commit(struct sx_store *s)
{
    at('b');
    simplex_rc rc = __real_sx_store_commit(s);
    at('a');
    return rc;
}

simplex_rc __wrap_sx_conn_write(struct sx_conn *c, simplex_bytes content)
{
    at('w');
    return __real_sx_conn_write(c, content);
}

simplex_rc __wrap_sx_conn_push(struct sx_conn *c)
{
    simplex_rc rc = __real_sx_conn_push(c);
    at('p');
    return rc;
}
