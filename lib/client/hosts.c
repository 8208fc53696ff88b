/* SPDX-License-Identifier: Apache-2.0 */
#include "client/hosts.h"

static size_t of_kind(const struct sx_net_cfg *cfg, const struct sx_server *s, bool onion,
                      struct sx_route *out)
{
    size_t n = 0;

    if (onion && !cfg->has_socks)
        return 0;
    for (uint8_t i = 0; i < s->n_hosts && i < SX_HOSTS_MAX; i++) {
        if ((s->hosts[i].kind == SX_HOST_ONION) != onion)
            continue;
        out[n++] = (struct sx_route){
            .host = i,
            .socks = cfg->has_socks && (onion || cfg->socks_mode == SX_SOCKS_ALWAYS),
        };
    }
    return n;
}

size_t sx_routes(const struct sx_net_cfg *cfg, const struct sx_server *s,
                 struct sx_route out[SX_HOSTS_MAX])
{
    bool onion = cfg->host_mode == SX_HOSTS_ONION ||
                 (cfg->host_mode == SX_HOSTS_ONION_VIA_SOCKS && cfg->has_socks);
    size_t n = of_kind(cfg, s, onion, out);

    if (n == 0 && !cfg->required_host_mode)
        n = of_kind(cfg, s, !onion, out);
    return n;
}
