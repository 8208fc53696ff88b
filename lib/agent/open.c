/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing an agent. */
#include <stdlib.h>

#include "agent/event.h"
#include "agent/farewell.h"
#include "agent/network.h"
#include "agent/noise.h"
#include "agent/promised.h"
#include "agent/receive.h"
#include "agent/users.h"
#include "agent/work.h"

#define SERVERS_MAX SX_USER_SERVERS_MAX
#define KEY_MAX 1024

/* The structure of the first release ended here; a host built against it goes on working. */
#define CONFIG_MIN (offsetof(simplex_agent_config, smp_max) + sizeof(uint16_t))

/* What the host knows of the structure; what came later is 0. */
static simplex_rc read_config(const simplex_agent_config *host, simplex_agent_config *cfg)
{
    memset(cfg, 0, sizeof *cfg);
    if (host == NULL || host->size < CONFIG_MIN)
        return SIMPLEX_E_ARG;
    memcpy(cfg, host, host->size < sizeof *cfg ? host->size : sizeof *cfg);
    return SIMPLEX_OK;
}

static bool in_range(int32_t value, int32_t max)
{
    return value >= 0 && value <= max;
}

static simplex_rc check_config(const simplex_agent_config *cfg)
{
    if (cfg->db_path == NULL || cfg->db_path[0] == 0)
        return SIMPLEX_E_ARG;
    if (cfg->db_key.ptr == NULL || cfg->db_key.len == 0 || cfg->db_key.len > KEY_MAX ||
        (cfg->db_raw_key && cfg->db_key.len != 32))
        return SIMPLEX_E_ARG;
    if (cfg->n_servers > SERVERS_MAX || (cfg->n_servers > 0 && cfg->servers == NULL))
        return SIMPLEX_E_ARG;
    if (cfg->n_preset_servers > SERVERS_MAX ||
        (cfg->n_preset_servers > 0 && cfg->preset_servers == NULL))
        return SIMPLEX_E_ARG;
    if (cfg->smp_min > cfg->smp_max && cfg->smp_max != 0)
        return SIMPLEX_E_ARG;
    if (!in_range(cfg->proxy_mode, SIMPLEX_PROXY_UNPROTECTED) ||
        !in_range(cfg->proxy_fallback, SIMPLEX_FALLBACK_PROHIBIT) ||
        !in_range(cfg->isolation, SIMPLEX_ISOLATE_ENTITY) ||
        !in_range(cfg->host_mode, SIMPLEX_HOSTS_PUBLIC) ||
        !in_range(cfg->queues, SIMPLEX_QUEUES_MAX))
        return SIMPLEX_E_ARG;
    /* A service shows which queues belong together, which that isolation is there to hide. */
    if (cfg->client_service && cfg->isolation == SIMPLEX_ISOLATE_ENTITY)
        return SIMPLEX_E_ARG;
    return SIMPLEX_OK;
}

static void or_default(int64_t *v, int64_t def)
{
    if (*v <= 0)
        *v = def;
    if (*v > SX_MS_MAX)
        *v = SX_MS_MAX;
}

static const enum sx_isolation_mode isolations[] = {
    [SIMPLEX_ISOLATE_DEFAULT] = SX_ISOLATE_SERVER,  [SIMPLEX_ISOLATE_USER] = SX_ISOLATE_USER,
    [SIMPLEX_ISOLATE_SESSION] = SX_ISOLATE_SESSION, [SIMPLEX_ISOLATE_SERVER] = SX_ISOLATE_SERVER,
    [SIMPLEX_ISOLATE_ENTITY] = SX_ISOLATE_ENTITY,
};
static const enum sx_host_mode host_modes[] = {
    [SIMPLEX_HOSTS_ONION_VIA_SOCKS] = SX_HOSTS_ONION_VIA_SOCKS,
    [SIMPLEX_HOSTS_ONION] = SX_HOSTS_ONION,
    [SIMPLEX_HOSTS_PUBLIC] = SX_HOSTS_PUBLIC,
};

/* Numbers and the callback are kept; what the pointers lead to is copied where it is used. */
static void copy_numbers(struct simplex_agent *a, const simplex_agent_config *cfg)
{
    a->cfg = *cfg;
    a->cfg.db_path = NULL;
    a->cfg.db_key = sx_bytes(NULL, 0);
    a->cfg.servers = NULL;
    a->cfg.preset_servers = NULL;
    a->cfg.socks_proxy = NULL;
    a->cfg.noise = NULL;
    or_default(&a->cfg.retry_first, SX_RETRY_FIRST);
    or_default(&a->cfg.retry_max, SX_RETRY_MAX);
    or_default(&a->cfg.quota_retry_first, SX_QUOTA_RETRY_FIRST);
    or_default(&a->cfg.message_timeout, SX_MESSAGE_TIMEOUT);
    or_default(&a->cfg.quota_timeout, SX_QUOTA_TIMEOUT);
    or_default(&a->cfg.hold_time, SX_HOLD_TIME);
    or_default(&a->cfg.miss_messages, 1);
    or_default(&a->cfg.miss_time, SX_MISS_TIME);
    or_default(&a->cfg.spare_messages, SX_SPARE_MESSAGES);
    or_default(&a->cfg.spare_time, SX_SPARE_TIME);
    or_default(&a->cfg.delete_timeout, SX_FAREWELL_TIME);
    a->net_cfg.connect_timeout = cfg->connect_timeout;
    a->net_cfg.command_timeout = cfg->command_timeout;
    a->net_cfg.reconnect_first = cfg->reconnect_first;
    a->net_cfg.reconnect_max = cfg->reconnect_max;
    a->net_cfg.min_version = cfg->smp_min;
    a->net_cfg.max_version = cfg->smp_max;
    a->net_cfg.isolation = isolations[cfg->isolation];
    a->net_cfg.host_mode = host_modes[cfg->host_mode];
    a->net_cfg.required_host_mode = cfg->required_host_mode;
}

static bool copy_text(char *to, size_t size, const char *from, size_t n)
{
    if (n >= size)
        return false;
    memcpy(to, from, n);
    to[n] = 0;
    return true;
}

/* "host:port" or "user:password@host:port" or "@host:port" (no credentials at all) */
static simplex_rc parse_socks(struct sx_net_cfg *n, const char *text, bool only_onion)
{
    const char *at, *host, *colon, *port;
    char *end;
    unsigned long p;

    if (text == NULL)
        return SIMPLEX_OK;
    at = strrchr(text, '@');
    host = at != NULL ? at + 1 : text;
    colon = strrchr(host, ':');
    if (colon == NULL || colon == host)
        return SIMPLEX_E_ARG;
    port = colon + 1;
    p = strtoul(port, &end, 10);
    if (*port < '0' || *port > '9' || *end != 0 || p == 0 || p > UINT16_MAX ||
        !copy_text(n->socks_host, sizeof n->socks_host, host, (size_t)(colon - host)))
        return SIMPLEX_E_ARG;
    n->socks_port = (uint16_t)p;
    n->has_socks = true;
    n->socks_mode = only_onion ? SX_SOCKS_ONION : SX_SOCKS_ALWAYS;
    if (at == text) {
        n->socks_no_auth = true;
    } else if (at != NULL) {
        colon = memchr(text, ':', (size_t)(at - text));
        if (colon == NULL ||
            !copy_text(n->socks_user, sizeof n->socks_user, text, (size_t)(colon - text)) ||
            !copy_text(n->socks_password, sizeof n->socks_password, colon + 1,
                       (size_t)(at - colon - 1)))
            return SIMPLEX_E_ARG;
        n->socks_has_auth = true;
    }
    return SIMPLEX_OK;
}

static simplex_rc copy_servers(struct simplex_agent *a, const simplex_agent_config *cfg)
{
    simplex_bytes password;

    a->servers.v = sx_calloc(cfg->n_servers, sizeof *a->servers.v);
    if (a->servers.v == NULL)
        return SIMPLEX_E_NOMEM;
    for (size_t i = 0; i < cfg->n_servers; i++) {
        struct sx_user_server *s = &a->servers.v[i];
        if (cfg->servers[i] == NULL)
            return SIMPLEX_E_ARG;
        simplex_rc rc = sx_server_parse(sx_str(cfg->servers[i]), &s->server, &password);
        if (rc != SIMPLEX_OK)
            return rc;
        s->flags = SX_SRV_ENABLED | SX_SRV_STORAGE | SX_SRV_PROXY;
        a->servers.n = i + 1;
        if (password.len > 0 && (s->password = (char *)sx_memdup(password)) == NULL)
            return SIMPLEX_E_NOMEM;
    }
    return SIMPLEX_OK;
}

static simplex_rc copy_presets(struct simplex_agent *a, const simplex_agent_config *cfg)
{
    simplex_bytes password;

    a->presets = sx_calloc(cfg->n_preset_servers, sizeof *a->presets);
    if (a->presets == NULL)
        return SIMPLEX_E_NOMEM;
    for (size_t i = 0; i < cfg->n_preset_servers; i++) {
        if (cfg->preset_servers[i] == NULL)
            return SIMPLEX_E_ARG;
        simplex_rc rc =
            sx_server_parse(sx_str(cfg->preset_servers[i]), &a->presets[i], &password);
        if (rc != SIMPLEX_OK)
            return rc;
        a->n_presets = i + 1;
    }
    return SIMPLEX_OK;
}

static simplex_rc copy_config(struct simplex_agent *a, const simplex_agent_config *cfg)
{
    uint8_t random[18];
    struct sx_wr text;
    simplex_rc rc;

    copy_numbers(a, cfg);
    rc = sx_noise_check(cfg->noise, &a->noise_cfg);
    if (rc == SIMPLEX_OK)
        rc = parse_socks(&a->net_cfg, cfg->socks_proxy, cfg->socks_only_onion);
    if (rc == SIMPLEX_OK)
        rc = copy_servers(a, cfg);
    if (rc == SIMPLEX_OK)
        rc = copy_presets(a, cfg);
    if (rc != SIMPLEX_OK)
        return rc;
    /* Isolation of circuits lasts for one run: nothing links it to the next. */
    sx_random(random, sizeof random);
    sx_wr_init(&text, 64);
    sx_b64url_encode(&text, sx_bytes(random, sizeof random));
    a->isolation = text.bad ? NULL : (char *)sx_memdup(sx_wr_bytes(&text));
    sx_wr_free(&text);
    return a->isolation != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static void free_agent(struct simplex_agent *a)
{
    sx_agent_stop(a);
    sx_noise_free(a);
    sx_rt_free(a);
    sx_tests_free(a);
    sx_free_acks(a);
    sx_lost_drop(a, NULL);
    sx_promises_free(a);
    sx_event_delete(a->life.tell);
    sx_events_drop(a);
    sx_age_closed(a);
    sx_store_close(a->store);
    sx_free(a->db_path);
    sx_users_free(a);
    sx_server_list_free(&a->servers);
    sx_free(a->presets);
    sx_free(a->isolation);
    sx_free_secret(a->scratch, SX_BLOCK);
    sx_free_secret(a->plain, SX_BLOCK);
    uv_cond_destroy(&a->changed);
    uv_mutex_destroy(&a->lock);
    sx_free_secret(a, sizeof *a);
}

static struct simplex_agent *new_agent(void)
{
    struct simplex_agent *a = sx_calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    if (uv_mutex_init(&a->lock) != 0) {
        sx_free(a);
        return NULL;
    }
    if (uv_cond_init(&a->changed) != 0) {
        uv_mutex_destroy(&a->lock);
        sx_free(a);
        return NULL;
    }
    a->calls_end = &a->calls;
    a->acks_end = &a->acks;
    a->transient_end = &a->transient;
    a->pulled_end = &a->pulled;
    a->speaks.agent = (struct sx_range){ SX_AGENT_MIN, SX_AGENT_MAX };
    a->speaks.client = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    a->speaks.e2e = (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX };
    a->next_retry = INT64_MAX;
    a->recover_after = SX_RECOVER_AFTER;
    a->idle_time = SX_IDLE_TIME;
    a->network.type = SIMPLEX_NET_OTHER;
    a->network.wait = SX_OFFLINE_WAIT;
    return a;
}

simplex_rc sx_agent_prepare(const simplex_agent_config *host, struct simplex_agent **out)
{
    struct simplex_agent *a;
    simplex_agent_config own, *cfg = &own;
    simplex_rc rc = read_config(host, cfg);

    *out = NULL;
    if (rc == SIMPLEX_OK)
        rc = check_config(cfg);
    if (rc == SIMPLEX_OK)
        rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    a = new_agent();
    if (a == NULL)
        return SIMPLEX_E_NOMEM;
    rc = copy_config(a, cfg);
    a->scratch = sx_malloc(SX_BLOCK);
    a->plain = sx_malloc(SX_BLOCK);
    a->db_path = sx_strdup(cfg->db_path);
    if (rc == SIMPLEX_OK && (a->scratch == NULL || a->plain == NULL || a->db_path == NULL))
        rc = SIMPLEX_E_NOMEM;
    if (rc == SIMPLEX_OK) {
        struct sx_store_cfg store = { .path = cfg->db_path,
                                      .key = cfg->db_key,
                                      .raw_key = cfg->db_raw_key,
                                      .read_only = cfg->read_only };
        rc = sx_store_open(&store, &a->store);
    }
    if (rc == SIMPLEX_OK)
        rc = cfg->read_only ? SIMPLEX_OK : sx_age_opened(a);
    if (rc == SIMPLEX_OK)
        rc = sx_users_load(a);
    if (rc == SIMPLEX_OK && !cfg->read_only)
        rc = sx_users_opened(a);
    if (rc == SIMPLEX_OK)
        rc = sx_agent_load(a);
    if (rc == SIMPLEX_OK)
        *out = a;
    else
        free_agent(a);
    return rc;
}

simplex_rc simplex_agent_open(const simplex_agent_config *cfg, simplex_agent **out)
{
    struct simplex_agent *a;
    simplex_rc rc;

    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    rc = sx_agent_prepare(cfg, &a);
    if (rc != SIMPLEX_OK)
        return rc;
    *out = a; /* before the first event: the callback may look for the agent there */
    rc = sx_agent_start(a);
    if (rc != SIMPLEX_OK) {
        *out = NULL;
        free_agent(a);
    }
    return rc;
}

simplex_rc simplex_agent_close(simplex_agent *a)
{
    if (a == NULL)
        return SIMPLEX_OK;
    if (sx_on_loop(a))
        return SIMPLEX_E_CALLBACK;
    free_agent(a);
    return SIMPLEX_OK;
}
