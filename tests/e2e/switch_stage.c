/* SPDX-License-Identifier: Apache-2.0 */
#include "switch_stage.h"

#include <unistd.h>

void trio_open(struct trio *t, const simplex_server_config *cfg)
{
    memset(t, 0, sizeof *t);
    duo_open(&t->d, cfg);
    server_start(&t->second, cfg);
    forwarder_start(&t->next, simplex_server_port(t->second.s));
    forwarder_address(&t->next, t->second.address, t->address, sizeof t->address);
    duo_connect(&t->d);
}

void trio_close(struct trio *t)
{
    duo_close(&t->d);
    forwarder_stop(&t->next);
    server_stop(&t->second);
}

void start_move(struct test_agent *t, int64_t conn, const char *server)
{
    simplex_rc rc = simplex_agent_switch(t->a, conn, sx_str(server));

    if (rc != SIMPLEX_OK)
        fail_msg("switch: %s", simplex_rc_name(rc));
}

void reach(struct test_agent *t, int64_t conn, int32_t phase, const char *server)
{
    int32_t got = 0;

    while (got < phase) {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
        if (strstr(server, simplex_event_server(ev)) != NULL)
            got = simplex_event_switch(ev, NULL);
        simplex_event_free(ev);
        assert_int_not_equal(got, SIMPLEX_SWITCH_ABORTED);
    }
}

void wait_until_moved(struct duo *d)
{
    for (int n = 0; n < 4000; n++) {
        if (connection_info(&d->i, d->ic).rcv_switch == 0 &&
            connection_info(&d->j, d->jc).snd_switch == 0)
            return;
        usleep(5000);
    }
    fail_msg("still moving: %d, %d", connection_info(&d->i, d->ic).rcv_switch,
             connection_info(&d->j, d->jc).snd_switch);
}
