/* SPDX-License-Identifier: Apache-2.0 */
/* What the device tells of its network: no attempts while there is none, at once when it is back.
 */
#include "agent/network.h"
#include "agent/noise.h"
#include "agent/route.h"
#include "agent/users.h"
#include "agent/work.h"

static bool is_online(int32_t network, bool online)
{
    return network != SIMPLEX_NET_NONE && online;
}

bool sx_network_off(const struct simplex_agent *a)
{
    return a->network.offline && !a->network.waited;
}

void sx_network_apply(struct simplex_agent *a)
{
    bool cellular = a->network.type == SIMPLEX_NET_CELLULAR;

    sx_net_set_slow(a->net, cellular || a->network.offline); /* section 8.1 */
    sx_net_set_online(a->net, !sx_network_off(a) && !sx_ending(a, SX_SUSPENDED));
    sx_noise_network(a, cellular, a->network.offline || sx_ending(a, SX_END_RECEIVING));
}

static void go_offline(struct simplex_agent *a)
{
    a->network.offline_at = 0;
    a->network.offline = true;
    a->network.waited = false;
    a->network.wait_until = sx_mono_ms() + a->network.wait;
    sx_network_apply(a);
    sx_tests_end(a, true, SIMPLEX_E_CONNECT);
}

/* Back, or by another way: sessions of before may be dead without knowing. */
static void go_online(struct simplex_agent *a)
{
    a->network.offline_at = 0;
    a->network.offline = a->network.waited = false;
    a->network.wait_until = 0;
    sx_network_apply(a);
    if (sx_ending(a, SX_SUSPENDED))
        return;
    sx_net_reconnect(a->net);
    sx_wake_all(a);
}

struct args {
    int64_t user;
    int32_t network;
    bool online;
    const char *server;
};

static simplex_rc do_set_network(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    bool online = is_online(x->network, x->online);
    bool other = a->network.type != x->network;
    int64_t now = sx_mono_ms();

    a->network.type = x->network;
    if (online && (a->network.offline || other)) {
        go_online(a);
    } else if (online) {
        a->network.offline_at = 0; /* it was back before anybody noticed */
    } else if (!a->network.offline && a->network.offline_at == 0) {
        /* A device that changes from one network to the other is offline for a moment. */
        int64_t at = a->network.changed_at + SX_OFFLINE_DEBOUNCE;
        if (a->network.changed_at == 0 || at <= now)
            go_offline(a);
        else
            a->network.offline_at = at;
    } else {
        sx_network_apply(a);
    }
    a->network.changed_at = now;
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_set_network(simplex_agent *a, int32_t network, bool online)
{
    struct args x = { .network = network, .online = online };

    if (a == NULL || network < SIMPLEX_NET_NONE || network > SIMPLEX_NET_OTHER)
        return SIMPLEX_E_ARG;
    return sx_agent_begin(a, do_set_network, &x);
}

void sx_network_run(struct simplex_agent *a)
{
    int64_t now = sx_mono_ms();

    if (a->network.offline_at != 0 && now >= a->network.offline_at)
        go_offline(a);
    if (a->network.wait_until == 0 || now < a->network.wait_until)
        return;
    a->network.wait_until = 0; /* the device may be wrong: from now on as if it had said nothing */
    a->network.waited = true;
    sx_network_apply(a);
    if (!sx_ending(a, SX_SUSPENDED)) {
        sx_net_reconnect(a->net);
        sx_wake_all(a);
    }
}

int64_t sx_network_alarm(const struct simplex_agent *a)
{
    int64_t at = INT64_MAX;

    if (a->network.offline_at != 0)
        at = a->network.offline_at;
    if (a->network.wait_until != 0 && a->network.wait_until < at)
        at = a->network.wait_until;
    return at;
}

/* ---- on demand ---- */

static simplex_rc do_reconnect(struct simplex_agent *a, void *p)
{
    (void)p;
    if (sx_ending(a, SX_SUSPENDED))
        return SIMPLEX_E_SUSPENDED;
    sx_net_reconnect(a->net);
    sx_wake_all(a);
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_reconnect(simplex_agent *a)
{
    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_reconnect, NULL);
}

/* By the address as it stands in a list, or as events name it. */
static simplex_rc names_server(const struct sx_server *s, const char *name, bool *yes)
{
    char *text = sx_server_text(s);
    struct sx_server other;
    simplex_bytes password;

    *yes = text != NULL && strcmp(text, name) == 0;
    if (!*yes && sx_server_parse(sx_str(name), &other, &password) == SIMPLEX_OK)
        *yes = sx_server_eq(s, &other);
    sx_free(text);
    return text != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc do_reconnect_user(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    bool found = false, yes = true;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK && sx_ending(a, SX_SUSPENDED))
        rc = SIMPLEX_E_SUSPENDED;
    for (struct sx_rt_server *s = a->rt_servers; rc == SIMPLEX_OK && s != NULL; s = s->next) {
        if (s->user != x->user)
            continue;
        if (x->server != NULL)
            rc = names_server(sx_client_server(s->client), x->server, &yes);
        if (rc != SIMPLEX_OK || !yes)
            continue;
        sx_client_restart(s->client);
        found = true;
    }
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wake_all(a);
    return found || x->server == NULL ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND;
}

simplex_rc simplex_agent_reconnect_user(simplex_agent *a, int64_t user, const char *server)
{
    struct args x = { .user = user, .server = server };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_reconnect_user, &x);
}
