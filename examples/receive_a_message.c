/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of send_a_message: prints an invitation link and then the first message. */
#include <simplex/agent.h>
#include <stdio.h>
#include <string.h>

static simplex_bytes bytes(const char *text)
{
    return (simplex_bytes){ (const uint8_t *)text, strlen(text) };
}

static void print(const char *what, simplex_bytes data)
{
    printf("%s %.*s\n", what, (int)data.len, (const char *)data.ptr);
    (void)fflush(stdout);
}

/* What to do about each event that concerns this program. */
static simplex_rc take(simplex_agent *agent, const simplex_event *event)
{
    int64_t conn = simplex_event_conn(event);

    switch (simplex_event_kind(event)) {
    case SIMPLEX_EV_INV:
        print("link", simplex_event_data(event));
        return SIMPLEX_OK;
    case SIMPLEX_EV_CONF: /* somebody used the link: here the user would be asked */
        print("joined:", simplex_event_data(event));
        return simplex_agent_allow(agent, conn, simplex_event_conf(event), bytes("welcome"));
    case SIMPLEX_EV_MSG: /* keep the message first, then say that it is kept */
        print("message", simplex_event_data(event));
        return simplex_agent_ack(agent, conn, simplex_event_msg_id(event));
    case SIMPLEX_EV_ERR:
        return simplex_event_error(event);
    default:
        return SIMPLEX_OK;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return puts("usage: receive_a_message SERVER"), 2;
    const char *servers[] = { argv[1] };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = "receiver.db",
                                 .db_key = bytes("a passphrase of the user"),
                                 .servers = servers,
                                 .n_servers = 1 };
    simplex_agent *agent;
    int64_t conn;
    int32_t kind = 0;
    simplex_rc rc = simplex_agent_open(&cfg, &agent);
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_create(agent, SIMPLEX_PQ_ON, &conn);
    while (rc == SIMPLEX_OK && kind != SIMPLEX_EV_MSG) {
        simplex_event *event;
        rc = simplex_agent_next_event(agent, -1, &event);
        if (rc != SIMPLEX_OK)
            break;
        kind = simplex_event_kind(event);
        rc = take(agent, event);
        simplex_event_free(event);
    }
    if (rc != SIMPLEX_OK)
        fprintf(stderr, "%s\n", simplex_rc_text(rc));
    simplex_agent_close(agent);
    return rc == SIMPLEX_OK ? 0 : 1;
}
