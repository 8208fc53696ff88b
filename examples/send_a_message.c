/* SPDX-License-Identifier: Apache-2.0 */
/* Joins by an invitation link, sends one message and ends when the server has it. */
#include <simplex/agent.h>
#include <stdio.h>
#include <string.h>

static simplex_bytes bytes(const char *text)
{
    return (simplex_bytes){ (const uint8_t *)text, strlen(text) };
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return puts("usage: send_a_message SERVER LINK TEXT"), 2;
    const char *servers[] = { argv[1] };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = "sender.db",
                                 .db_key = bytes("a passphrase of the user"),
                                 .servers = servers,
                                 .n_servers = 1 };
    simplex_agent *agent;
    int64_t conn, msg = 0;
    int32_t kind = 0;
    simplex_rc rc = simplex_agent_open(&cfg, &agent);
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_join(agent, bytes(argv[2]), bytes("hello"), SIMPLEX_PQ_ON, &conn);
    while (rc == SIMPLEX_OK && kind != SIMPLEX_EV_SENT) {
        simplex_event *event;
        rc = simplex_agent_next_event(agent, -1, &event);
        if (rc != SIMPLEX_OK)
            break;
        kind = simplex_event_kind(event);
        puts(simplex_event_name(event));
        if (kind == SIMPLEX_EV_CON)
            rc = simplex_agent_send(agent, conn, bytes(argv[3]), 0, &msg);
        else if (kind == SIMPLEX_EV_ERR || kind == SIMPLEX_EV_MERR)
            rc = simplex_event_error(event);
        simplex_event_free(event);
    }
    if (rc != SIMPLEX_OK)
        fprintf(stderr, "%s\n", simplex_rc_text(rc));
    simplex_agent_close(agent);
    return rc == SIMPLEX_OK ? 0 : 1;
}
