/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy_config.h"

#define CONCURRENCY_MAX 65535
#define RELAYS_MAX 100000
#define PENDING_MAX 1000000

static bool too_long(const char *text, size_t size)
{
    return text != NULL && strlen(text) >= size;
}

simplex_rc sx_proxy_check(const simplex_server_config *cfg, struct sx_errtext *err)
{
    const struct sx_net_cfg *n = NULL;

    if (cfg->proxy_pending > PENDING_MAX || cfg->proxy_relay_pending > PENDING_MAX) {
        sx_errtext_set(err, "at most %d forwarded commands under way", PENDING_MAX);
        return SIMPLEX_E_ARG;
    }
    if (cfg->proxy_concurrency > CONCURRENCY_MAX || cfg->proxy_relays > RELAYS_MAX) {
        sx_errtext_set(err, "at most %d commands of a client under way and %d relays",
                       CONCURRENCY_MAX, RELAYS_MAX);
        return SIMPLEX_E_ARG;
    }
    if (too_long(cfg->proxy_socks_host, sizeof(n->socks_host)) ||
        too_long(cfg->proxy_socks_user, sizeof(n->socks_user)) ||
        too_long(cfg->proxy_socks_password, sizeof(n->socks_password))) {
        sx_errtext_set(err, "host, user and password of the SOCKS proxy: at most 255 characters");
        return SIMPLEX_E_ARG;
    }
    if (cfg->proxy_socks_host == NULL && cfg->proxy_socks_always) {
        sx_errtext_set(err, "to reach all relays through a SOCKS proxy, give its host");
        return SIMPLEX_E_ARG;
    }
    return SIMPLEX_OK;
}

static void copy(char *to, const char *text)
{
    if (text != NULL)
        memcpy(to, text, strlen(text) + 1); /* checked before */
}

static void set_net(struct sx_net_cfg *n, const simplex_server_config *cfg)
{
    n->connect_timeout = cfg->proxy_connect_timeout_ms;
    n->command_timeout = cfg->proxy_command_timeout_ms;
    n->host_mode = cfg->proxy_onion ? SX_HOSTS_ONION : SX_HOSTS_PUBLIC;
    n->required_host_mode = cfg->proxy_required_host;
    n->has_socks = cfg->proxy_socks_host != NULL;
    n->socks_mode = cfg->proxy_socks_always ? SX_SOCKS_ALWAYS : SX_SOCKS_ONION;
    copy(n->socks_host, cfg->proxy_socks_host);
    n->socks_port = cfg->proxy_socks_port;
    n->socks_no_auth = cfg->proxy_socks_no_auth;
    n->socks_has_auth = !n->socks_no_auth && cfg->proxy_socks_user != NULL;
    copy(n->socks_user, cfg->proxy_socks_user);
    copy(n->socks_password, cfg->proxy_socks_password);
}

unsigned sx_proxy_relays_max(const simplex_server_config *cfg)
{
    if (!cfg->proxy)
        return 0;
    return cfg->proxy_relays == 0 ? SX_PROXY_RELAYS_MAX : cfg->proxy_relays;
}

static struct sx_proxy_cfg limits(const simplex_server_config *cfg, unsigned relays)
{
    return (struct sx_proxy_cfg){ .relays_max = relays,
                                  .pending_max = cfg->proxy_pending,
                                  .relay_pending_max = cfg->proxy_relay_pending,
                                  .idle_ms = cfg->proxy_idle_ms,
                                  .failed_ms = cfg->proxy_failed_ms,
                                  .own_domains = cfg->own_domains,
                                  .n_own_domains = cfg->n_own_domains };
}

simplex_rc sx_proxy_follow(const simplex_server_config *cfg, unsigned relays, struct sx_proxy *p)
{
    struct sx_proxy_cfg c = limits(cfg, relays);

    return p == NULL ? SIMPLEX_OK : sx_proxy_reload(p, &c);
}

simplex_rc sx_proxy_open(const simplex_server_config *cfg, unsigned relays, struct sx_srv *srv,
                         struct sx_proxy **out)
{
    struct sx_proxy_cfg c = limits(cfg, relays);

    *out = NULL;
    if (!cfg->proxy)
        return SIMPLEX_OK;
    set_net(&c.net, cfg);
    simplex_rc rc = sx_proxy_start(&c, out);
    sx_wipe(&c.net, sizeof(c.net));
    if (rc == SIMPLEX_OK)
        srv->relays = (struct sx_relays){ sx_proxy_submit, *out };
    return rc;
}
