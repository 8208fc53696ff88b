/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents through a real server: TLS on loopback, databases on disk. */
#include "support/agents.h"

struct duo {
    char dir[256];
    struct test_server srv;
    struct test_agent i, j;
    int64_t ic, jc;
};

static void duo_open(struct duo *d, const simplex_server_config *cfg)
{
    memset(d, 0, sizeof *d);
    tmp_make(d->dir);
    server_start(&d->srv, cfg);
    agent_open(&d->i, d->dir, "i", d->srv.address);
    agent_open(&d->j, d->dir, "j", d->srv.address);
}

static void duo_close(struct duo *d)
{
    agent_close(&d->i);
    agent_close(&d->j);
    server_stop(&d->srv);
    tmp_remove(d->dir);
}

static void two_agents_connect_and_talk(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &d.ic, &d.jc);
    for (int n = 0; n < 5; n++) {
        talk(&d.i, d.ic, &d.j, d.jc, "hello from I");
        talk(&d.j, d.jc, &d.i, d.ic, "hello from J");
    }
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_agents_connect_and_talk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
