/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of clients on one loop, and the point in each turn of the loop where they work. */
#include "client/net_internal.h"

int64_t sx_net_now(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- work of the turn ---- */

static void run_work(struct sx_net *n)
{
    struct sx_client *last = n->work_last;
    struct sx_client *c;

    /* What is added meanwhile waits for the next turn: callbacks cannot keep the loop busy. */
    while (!n->closing && (c = n->work_first) != NULL) {
        n->work_first = c->next_work;
        if (n->work_first == NULL)
            n->work_last = NULL;
        c->next_work = NULL;
        c->has_work = false;
        sx_client_work(c);
        if (c == last)
            break;
    }
    if (n->work_first == NULL && !n->closing) {
        uv_idle_stop(&n->idle);
        uv_check_stop(&n->check);
    }
}

static void on_check(uv_check_t *h)
{
    run_work(h->data);
}

/* Runs before polling, and its being active keeps the loop from sleeping. */
static void on_idle(uv_idle_t *h)
{
    run_work(h->data);
}

void sx_net_add_work(struct sx_net *n, struct sx_client *c)
{
    if (c->has_work || n->closing)
        return;
    c->has_work = true;
    if (n->work_last != NULL)
        n->work_last->next_work = c;
    else
        n->work_first = c;
    n->work_last = c;
    uv_idle_start(&n->idle, on_idle);
    uv_check_start(&n->check, on_check);
}

/* ---- opening ---- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static void fill_defaults(struct sx_net_cfg *cfg)
{
    cfg->connect_timeout = or_default(cfg->connect_timeout, 45000);
    cfg->command_timeout = or_default(cfg->command_timeout, 30000);
    cfg->ping_interval = or_default(cfg->ping_interval, 600000);
    cfg->ping_give_up = or_default(cfg->ping_give_up, 900000);
    cfg->reconnect_first = or_default(cfg->reconnect_first, 2000);
    cfg->reconnect_grow = or_default(cfg->reconnect_grow, 10000);
    cfg->reconnect_max = or_default(cfg->reconnect_max, 180000);
    /* Who asks to connect again sooner does not want to hear of the failure for longer. */
    cfg->failed_cache = or_default(
        cfg->failed_cache, cfg->reconnect_first < 2000 ? cfg->reconnect_first * 3 / 2 : 3000);
    if (cfg->min_version == 0)
        cfg->min_version = SX_SMP_MIN;
    if (cfg->max_version == 0)
        cfg->max_version = SX_SMP_MAX;
}

static bool valid(const struct sx_net_cfg *cfg)
{
    return memchr(cfg->socks_host, 0, sizeof(cfg->socks_host)) != NULL &&
           memchr(cfg->socks_user, 0, sizeof(cfg->socks_user)) != NULL &&
           memchr(cfg->socks_password, 0, sizeof(cfg->socks_password)) != NULL &&
           cfg->min_version <= cfg->max_version;
}

/* All connections are those of this service. */
static simplex_rc open_service(struct sx_net *n)
{
    struct sx_net_cfg *cfg = &n->cfg;
    simplex_rc rc = SIMPLEX_OK;

    if (cfg->service_role != 0)
        rc = sx_identity_open(cfg->service_role, cfg->service_chain_pem, cfg->service_key_pem,
                              &n->identity);
    cfg->service_chain_pem = cfg->service_key_pem = sx_bytes(NULL, 0);
    return rc;
}

simplex_rc sx_net_open(uv_loop_t *loop, const struct sx_net_cfg *cfg,
                       const struct sx_net_callbacks *cb, void *user, const char *isolation,
                       struct sx_net **out)
{
    *out = NULL;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_net *n = sx_calloc(1, sizeof(*n));
    if (n == NULL)
        return SIMPLEX_E_NOMEM;
    n->loop = loop;
    n->cfg = *cfg;
    n->cb = *cb;
    n->user = user;
    fill_defaults(&n->cfg);
    n->connect_timeout = n->cfg.connect_timeout;
    n->command_timeout = n->cfg.command_timeout;
    n->session = 1;
    n->isolation = sx_strdup(isolation != NULL ? isolation : "");
    if (!valid(&n->cfg))
        rc = SIMPLEX_E_ARG;
    else if (n->isolation == NULL)
        rc = SIMPLEX_E_NOMEM;
    else
        rc = sx_tls_ctx_client(&n->tls);
    if (rc == SIMPLEX_OK)
        rc = open_service(n);
    if (rc != SIMPLEX_OK) {
        sx_tls_ctx_free(n->tls);
        sx_identity_unref(n->identity);
        sx_free(n->isolation);
        sx_free_secret(n, sizeof(*n));
        return rc;
    }
    uv_idle_init(loop, &n->idle);
    uv_check_init(loop, &n->check);
    n->idle.data = n->check.data = n;
    n->open = 2;
    *out = n;
    return SIMPLEX_OK;
}

/* ---- closing ---- */

static void net_free(struct sx_net *n)
{
    void (*closed)(void *user) = n->closed;
    void *user = n->closed_user;

    sx_vias_free(n);
    for (struct sx_client *c = n->clients, *next; c != NULL; c = next) {
        next = c->next;
        sx_client_free(c);
    }
    sx_tls_ctx_free(n->tls);
    sx_identity_unref(n->identity);
    if (n->isolation != NULL)
        sx_free_secret(n->isolation, strlen(n->isolation));
    sx_free_secret(n, sizeof(*n));
    if (closed != NULL)
        closed(user);
}

void sx_net_released(struct sx_net *n)
{
    if (--n->open == 0 && n->closing)
        net_free(n);
}

static void on_handle_closed(uv_handle_t *h)
{
    sx_net_released(h->data);
}

void sx_net_close(struct sx_net *n, void (*closed)(void *user), void *user)
{
    if (n == NULL || n->closing)
        return;
    n->closing = true;
    n->closed = closed;
    n->closed_user = user;
    for (struct sx_client *c = n->clients; c != NULL; c = c->next)
        sx_client_close(c);
    uv_close((uv_handle_t *)&n->idle, on_handle_closed);
    uv_close((uv_handle_t *)&n->check, on_handle_closed);
}

/* ---- clients ---- */

simplex_rc sx_net_client(struct sx_net *n, const struct sx_server *server, struct sx_client **out)
{
    return sx_net_client_of(n, server, 0, 0, out);
}

simplex_rc sx_net_client_of(struct sx_net *n, const struct sx_server *server, int64_t user,
                            int64_t entity, struct sx_client **out)
{
    *out = NULL;
    if (n->closing)
        return SIMPLEX_E_CLOSED;
    for (struct sx_client *c = n->clients; c != NULL; c = c->next) {
        if (!c->dropped && c->user == user && c->entity == entity &&
            sx_server_eq(&c->server, server)) {
            *out = c;
            return SIMPLEX_OK;
        }
    }
    struct sx_client *c;
    simplex_rc rc = sx_client_new(n, server, &c);
    if (rc != SIMPLEX_OK)
        return rc;
    c->user = user;
    c->entity = entity;
    c->next = n->clients;
    n->clients = c;
    *out = c;
    return SIMPLEX_OK;
}

void sx_net_forget(struct sx_net *n, struct sx_client *c)
{
    struct sx_client **p = &n->clients;

    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    c->gone = true;
}

void sx_net_reconnect(struct sx_net *n)
{
    if (n->closing)
        return;
    n->session++;
    for (struct sx_client *c = n->clients; c != NULL; c = c->next)
        sx_client_reconnect(c);
}

void sx_net_set_online(struct sx_net *n, bool online)
{
    n->offline = !online;
    for (struct sx_client *c = n->clients; online && !n->closing && c != NULL; c = c->next)
        sx_net_add_work(n, c); /* what waited */
}

void sx_net_set_slow(struct sx_net *n, bool slow)
{
    n->cfg.connect_timeout = n->connect_timeout;
    n->cfg.command_timeout = n->command_timeout;
    if (slow) {
        n->cfg.connect_timeout += n->connect_timeout / 2;
        n->cfg.command_timeout += n->command_timeout / 2;
    }
}
