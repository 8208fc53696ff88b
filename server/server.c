/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions: configuration, start and stop of the loops. */
#include "simplex/server.h"

#include <stdio.h>
#include <unistd.h>

#include "identity.h"
#include "listen.h"
#include "loop.h"
#include "open_files.h"
#include "ops.h"
#include "persist.h"
#include "stats_file.h"
#include "proxy_config.h"
#include "web.h"

#define THREADS_MAX 64
#define CONNECTIONS_MAX 100000

struct simplex_server {
    struct sx_io_cfg io;
    struct sx_open_files files;
    struct sx_identity certs;
    struct sx_srv *srv;
    struct sx_loop *loops;
    unsigned n_loops;
    struct sx_listeners listeners;
    struct sx_proxy *proxy; /* NULL: none */
    struct sx_web *web;     /* NULL: none */
    uint16_t web_tls_port;
    uint16_t port;
    pthread_mutex_t lock; /* of the password */
    char *password;       /* for the address */
    struct sx_server address;
    struct sx_ops *ops;
    char *stats_dir; /* the counters are saved there at the stop */
};

void simplex_server_config_init(simplex_server_config *cfg)
{
    *cfg = (simplex_server_config){
        .size = sizeof(*cfg),
        .new_queues = true,
        .message_ttl_ms = SX_STORE_TTL_MS,
        .expire_on_start = true,
        .expire_on_send = true,
        .ntf_ttl_ms = SX_STORE_NTF_TTL_MS,
        .expire_interval_ms = 2 * 3600 * 1000,
        .end_flush_ms = 15000,
        .ntf_flush_ms = 1500,
        .tls_timeout_ms = 60000,
        .handshake_timeout_ms = 120000,
        .stall_timeout_ms = 120000,
        .inactive_check_ms = 3600 * 1000,
        .control_block_quota = 20,
        .proxy = true,
    };
}

/* ---- configuration ---- */

static simplex_rc check_config(const simplex_server_config *cfg, struct sx_errtext *err)
{
    if (cfg->threads > THREADS_MAX || cfg->quota > UINT16_MAX - 1) {
        sx_errtext_set(err, "at most %d threads and a quota of %d messages", THREADS_MAX,
                       UINT16_MAX - 1);
        return SIMPLEX_E_ARG;
    }
    unsigned min = cfg->min_version == 0 ? SX_SMP_MIN : cfg->min_version;
    unsigned max = cfg->max_version == 0 ? SX_SMP_MAX : cfg->max_version;
    if (min < SX_SMP_MIN || max > SX_SMP_MAX || min > max) {
        sx_errtext_set(err, "SMP versions must be within %d..%d", SX_SMP_MIN, SX_SMP_MAX);
        return SIMPLEX_E_ARG;
    }
    for (const char *p = cfg->password; p != NULL && *p != 0; p++) {
        if (*p <= ' ' || *p > '~' || strchr("@:/", *p) != NULL || p - cfg->password > 254) {
            sx_errtext_set(err, "the password must be printable ASCII without space, @, : or /, "
                                "at most 255 characters");
            return SIMPLEX_E_ARG;
        }
    }
    return sx_proxy_check(cfg, err);
}

static simplex_rc open_sockets(struct simplex_server *s, const simplex_server_config *cfg,
                               struct sx_errtext *err)
{
    const char *host = cfg->host == NULL ? "127.0.0.1" : cfg->host;

    simplex_rc rc = sx_listen(&s->listeners, host, cfg->port, err);
    s->port = s->listeners.port[0].number;
    for (size_t i = 0; rc == SIMPLEX_OK && i < cfg->n_more_ports; i++)
        rc = sx_listen(&s->listeners, host, cfg->more_ports[i], err);
    return rc;
}

/* The listener that SMP clients and browsers share; SX_LISTEN_MAX: none. */
static unsigned shared_listener(const simplex_server_config *cfg)
{
    if (cfg->web_https_port == 0 || cfg->web_https_port == cfg->port)
        return 0;
    for (unsigned i = 0; i < cfg->n_more_ports; i++)
        if (cfg->more_ports[i] == cfg->web_https_port)
            return i + 1;
    return SX_LISTEN_MAX;
}

/* That port has a context of its own: on the others naming a host means nothing. */
static simplex_rc share_port(struct simplex_server *s, unsigned at, uint16_t port)
{
    s->listeners.port[at].web = true;
    s->web_tls_port = port == 0 ? s->port : port;
    return sx_tls_ctx_server(sx_wr_bytes(&s->certs.chain_pem), sx_wr_bytes(&s->certs.key_pem),
                             &s->io.tls_web);
}

static simplex_rc open_web(struct simplex_server *s, const simplex_server_config *cfg,
                           struct sx_errtext *err)
{
    unsigned at = cfg->web_https ? shared_listener(cfg) : SX_LISTEN_MAX;
    struct sx_web_cfg web = {
        .path = cfg->web_path,
        .host = cfg->host == NULL ? "127.0.0.1" : cfg->host,
        .http = cfg->web_http,
        .https = cfg->web_https && at == SX_LISTEN_MAX,
        .http_port = cfg->web_http_port,
        .https_port = cfg->web_https_port,
        .cert = cfg->web_cert,
        .key = cfg->web_key,
        .max_conns = s->files.web,
        .tls_timeout_ms = cfg->tls_timeout_ms,
    };
    simplex_rc rc = SIMPLEX_OK;

    if (cfg->web_path == NULL || (!cfg->web_http && !cfg->web_https))
        return SIMPLEX_OK;
    if (at != SX_LISTEN_MAX)
        rc = share_port(s, at, cfg->web_https_port);
    web.shared = s->io.tls_web;
    if (rc == SIMPLEX_OK)
        rc = sx_web_open(&web, &s->web, err);
    s->io.web = s->web;
    if (rc == SIMPLEX_OK && web.https)
        s->web_tls_port = sx_web_https_port(s->web);
    return rc;
}

/* An old certificate keeps its name: `host` is for a new one. */
static simplex_rc open_identity(struct simplex_server *s, const simplex_server_config *cfg,
                                const char *host, struct sx_errtext *err)
{
    if (!cfg->no_new_identity)
        return sx_identity_load(&s->certs, cfg->dir, host, err);
    if (cfg->dir != NULL)
        return sx_identity_read(&s->certs, cfg->dir, err);
    sx_errtext_set(err, "without new certificates, a directory with certificates is needed");
    return SIMPLEX_E_ARG;
}

static simplex_rc set_address(struct simplex_server *s, const char *host, struct sx_errtext *err)
{
    simplex_rc rc = sx_host_parse(sx_str(host), &s->address.hosts[0]);

    if (rc != SIMPLEX_OK) {
        sx_errtext_set(err, "%s is not a host name that can stand in a server address", host);
        return SIMPLEX_E_ARG;
    }
    s->address.n_hosts = 1;
    snprintf(s->address.port, sizeof(s->address.port), "%u", s->port);
    memcpy(s->address.key_hash, s->certs.fingerprint, sizeof(s->address.key_hash));
    return SIMPLEX_OK;
}

/* What a reload changes. */
static void set_intervals(struct simplex_server *s, const simplex_server_config *cfg)
{
    atomic_store(&s->io.end_flush_ms, cfg->end_flush_ms);
    atomic_store(&s->io.ntf_flush_ms, cfg->ntf_flush_ms);
    atomic_store(&s->io.expire_interval_ms, cfg->expire_interval_ms);
    atomic_store(&s->io.inactive_ttl_ms, cfg->inactive_ttl_ms);
    atomic_store(&s->io.inactive_check_ms, cfg->inactive_check_ms);
}

static void set_io(struct simplex_server *s, const simplex_server_config *cfg)
{
    s->io.chain = s->certs.chain;
    s->io.leaf = s->certs.leaf;
    memcpy(s->io.key_hash, s->certs.fingerprint, sizeof(s->io.key_hash));
    s->io.min_version = cfg->min_version;
    s->io.max_version = cfg->max_version;
    s->io.tls_timeout_ms = cfg->tls_timeout_ms;
    s->io.handshake_timeout_ms = cfg->handshake_timeout_ms;
    s->io.stall_timeout_ms = cfg->stall_timeout_ms;
    s->io.log_tls_errors = cfg->log_tls_errors;
    set_intervals(s, cfg);
    s->io.max_connections = s->files.clients;
}

static struct sx_qstore_cfg store_config(const simplex_server_config *cfg)
{
    return (struct sx_qstore_cfg){
        .quota = cfg->quota,
        .ttl_ms = cfg->message_ttl_ms,
        .not_on_send = !cfg->expire_on_send,
        .ntf_ttl_ms = cfg->ntf_ttl_ms,
        .memory = cfg->max_message_memory,
        .services = cfg->services,
    };
}

static simplex_rc open_state(struct simplex_server *s, const simplex_server_config *cfg,
                             struct sx_errtext *err)
{
    struct sx_srv_cfg srv = {
        .new_queues = cfg->new_queues,
        .client_concurrency = cfg->proxy_concurrency,
        .limits = { .queues = cfg->queues_per_client,
                    .queues_ms = cfg->queues_interval_ms,
                    .memory = cfg->memory_per_client,
                    .commands = cfg->commands_per_block,
                    .subs = cfg->subscriptions_per_client,
                    .failed_relays = cfg->failed_relays_per_client },
        .store = store_config(cfg),
        .state_dir = cfg->state_dir,
        .messages_in_memory = cfg->messages_in_memory,
        .messages_not_saved = cfg->messages_not_saved,
        .offline = cfg->offline,
        .skip_damage = cfg->skip_damage,
        .compact_growth = cfg->compact_growth,
        .compact_bytes = cfg->compact_bytes,
        .err = err,
    };

    if (cfg->password != NULL && *cfg->password != 0) {
        srv.password = sx_str(cfg->password);
        s->password = sx_strdup(cfg->password);
        if (s->password == NULL)
            return SIMPLEX_E_NOMEM;
    }
    simplex_rc rc = sx_srv_open(&srv, &s->srv);
    if (rc == SIMPLEX_OK && cfg->expire_on_start)
        sx_srv_expire(s->srv);
    return rc;
}

/* ---- loops ---- */

static unsigned thread_count(unsigned wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted > 0)
        return wanted;
    return cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

/* Clients and relays that the limit of open files has room for. */
static void share_files(struct simplex_server *s, const simplex_server_config *cfg)
{
    struct sx_open_files wanted = {
        .clients = cfg->max_connections == 0 ? CONNECTIONS_MAX : cfg->max_connections,
        .relays = sx_proxy_relays_max(cfg),
        .web = cfg->web_path == NULL       ? 0
               : cfg->web_connections == 0 ? SX_WEB_CONNECTIONS_MAX
                                           : cfg->web_connections,
    };

    s->files = sx_open_files_now(thread_count(cfg->threads), &wanted);
}

static simplex_rc start_loops(struct simplex_server *s, unsigned threads)
{
    s->loops = sx_calloc(threads, sizeof(*s->loops));
    if (s->loops == NULL)
        return SIMPLEX_E_NOMEM;
    s->n_loops = threads;
    /* The accepting one last: it hands connections to all the others. */
    for (unsigned i = threads; i-- > 0;) {
        simplex_rc rc = sx_loop_start(&s->loops[i], &s->io, s->srv, i == 0 ? &s->listeners : NULL,
                                      s->loops, threads);
        if (rc != SIMPLEX_OK)
            return rc;
    }
    return SIMPLEX_OK;
}

/* ---- for the operator ---- */

static simplex_rc restore_stats(struct simplex_server *s, const simplex_server_config *cfg)
{
    if (cfg->stats_dir == NULL)
        return SIMPLEX_OK;
    s->stats_dir = sx_strdup(cfg->stats_dir);
    if (s->stats_dir == NULL)
        return SIMPLEX_E_NOMEM;
    sx_stats_restore(s->srv->stats, s->srv->store, s->stats_dir, sx_now_ms());
    return SIMPLEX_OK;
}

static void save_stats(struct simplex_server *s)
{
    char text[512];
    struct sx_errtext err = { text, sizeof(text) };

    if (s->stats_dir != NULL &&
        sx_stats_save(s->srv->stats, s->srv->store, s->stats_dir, sx_now_ms(), &err) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "%s", text);
    sx_free(s->stats_dir);
}

/* What the control port's `save` writes: whatever is not on disk all the time. */
static simplex_rc save_now(void *user, struct sx_errtext *err)
{
    struct simplex_server *s = user;

    simplex_rc rc = sx_persist_save(s->srv->store, err);
    if (rc != SIMPLEX_OK)
        return rc;
    return s->stats_dir == NULL
               ? SIMPLEX_OK
               : sx_stats_save(s->srv->stats, s->srv->store, s->stats_dir, sx_now_ms(), err);
}

static simplex_rc start_ops(struct simplex_server *s, const simplex_server_config *cfg,
                            struct sx_errtext *err)
{
    struct sx_ops_cfg ops = {
        .srv = s->srv,
        .loops = s->loops,
        .n_loops = s->n_loops,
        .dir = cfg->stats_dir,
        .daily = cfg->daily_stats,
        .metrics_interval_ms = cfg->metrics_interval_ms,
        .has_metrics_port = cfg->metrics_http,
        .has_control_port = cfg->control,
        .metrics_port = cfg->metrics_port,
        .control_port = cfg->control_port,
        .admin_password = cfg->control_admin,
        .user_password = cfg->control_user,
        .block_quota = cfg->control_block_quota,
        .listeners = &s->listeners,
        .proxy = s->proxy,
        .web = s->web,
        .save = s->stats_dir == NULL && cfg->state_dir == NULL ? NULL : save_now,
        .save_user = s,
    };

    if (ops.dir == NULL && !ops.has_metrics_port && !ops.has_control_port)
        return SIMPLEX_OK;
    return sx_ops_open(&ops, &s->ops, err);
}

static simplex_rc start(struct simplex_server *s, const simplex_server_config *cfg,
                        struct sx_errtext *err)
{
    const char *host = cfg->host == NULL ? "127.0.0.1" : cfg->host;
    const char *name = cfg->public_host == NULL ? host : cfg->public_host;

    simplex_rc rc = check_config(cfg, err);
    if (rc == SIMPLEX_OK)
        rc = sx_crypto_init();
    if (rc == SIMPLEX_OK)
        rc = open_identity(s, cfg, name, err);
    if (rc == SIMPLEX_OK)
        rc = sx_tls_ctx_server(sx_wr_bytes(&s->certs.chain_pem), sx_wr_bytes(&s->certs.key_pem),
                               &s->io.tls);
    if (rc == SIMPLEX_OK && !cfg->offline)
        rc = open_sockets(s, cfg, err);
    if (rc == SIMPLEX_OK)
        rc = set_address(s, name, err);
    if (rc == SIMPLEX_OK)
        rc = open_state(s, cfg, err);
    share_files(s, cfg);
    if (rc == SIMPLEX_OK)
        rc = sx_proxy_open(cfg, s->files.relays, s->srv, &s->proxy);
    if (rc == SIMPLEX_OK && !cfg->offline)
        rc = open_web(s, cfg, err);
    if (rc != SIMPLEX_OK)
        return rc;
    set_io(s, cfg);
    rc = restore_stats(s, cfg);
    if (rc == SIMPLEX_OK && !cfg->offline)
        rc = start_loops(s, thread_count(cfg->threads));
    if (rc == SIMPLEX_OK && !cfg->offline)
        rc = start_ops(s, cfg, err);
    return rc;
}

simplex_rc simplex_server_start(const simplex_server_config *cfg, simplex_server **out)
{
    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (cfg == NULL || cfg->size < sizeof(*cfg))
        return SIMPLEX_E_ARG;
    struct sx_errtext err = { cfg->error, cfg->error_size };
    sx_errtext_set(&err, "%s", "");
    struct simplex_server *s = sx_calloc(1, sizeof(*s));
    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        sx_free(s);
        return SIMPLEX_E_SYSTEM;
    }
    simplex_rc rc = start(s, cfg, &err);
    if (rc != SIMPLEX_OK) {
        if (cfg->error != NULL && cfg->error_size > 0 && cfg->error[0] == 0)
            sx_errtext_set(&err, "%s", sx_file_rc_text(rc));
        (void)simplex_server_stop(s);
        return rc;
    }
    *out = s;
    return SIMPLEX_OK;
}

simplex_rc simplex_server_stop(simplex_server *s)
{
    if (s == NULL)
        return SIMPLEX_OK;
    sx_ops_close(s->ops);    /* it asks the loops */
    sx_proxy_stop(s->proxy); /* gives back what the hubs wait for */
    for (unsigned i = 0; i < s->n_loops; i++)
        sx_loop_stop(&s->loops[i]);
    for (unsigned i = 0; i < s->n_loops; i++)
        sx_loop_join(&s->loops[i]);
    sx_web_close(s->web); /* the loops do not hand over any more */
    sx_listen_close(&s->listeners);
    if (s->loops != NULL)
        sx_free_secret(s->loops, s->n_loops * sizeof(*s->loops)); /* decrypted blocks */
    sx_proxy_free(s->proxy);
    save_stats(s);
    simplex_rc rc = sx_srv_close(s->srv);
    sx_tls_ctx_free(s->io.tls);
    sx_tls_ctx_free(s->io.tls_web);
    sx_identity_wipe(&s->certs);
    sx_keypair_wipe(&s->io.leaf);
    if (s->password != NULL)
        sx_free_secret(s->password, strlen(s->password));
    pthread_mutex_destroy(&s->lock);
    sx_free(s);
    return rc;
}

/* ---- while it runs ---- */

static simplex_rc follow_proxy(struct simplex_server *s, const simplex_server_config *cfg)
{
    struct sx_open_files wanted = { .clients = s->files.clients,
                                    .relays = sx_proxy_relays_max(cfg) };
    unsigned relays = sx_open_files_now(s->n_loops, &wanted).relays;

    simplex_rc rc = sx_proxy_follow(cfg, relays, s->proxy);
    if (rc == SIMPLEX_OK)
        atomic_store(&s->srv->concurrency,
                     cfg->proxy_concurrency == 0 ? SX_PEER_ERRANDS : cfg->proxy_concurrency);
    return rc;
}

simplex_rc simplex_server_reload(simplex_server *s, const simplex_server_config *cfg)
{
    bool has_password = cfg != NULL && cfg->password != NULL && *cfg->password != 0;

    if (cfg == NULL || cfg->size < sizeof(*cfg))
        return SIMPLEX_E_ARG;
    struct sx_errtext err = { cfg->error, cfg->error_size };
    sx_errtext_set(&err, "%s", "");
    simplex_rc rc = check_config(cfg, &err);
    if (rc != SIMPLEX_OK)
        return rc;
    char *password = has_password ? sx_strdup(cfg->password) : NULL;
    if (has_password && password == NULL)
        return SIMPLEX_E_NOMEM;
    if ((rc = follow_proxy(s, cfg)) != SIMPLEX_OK) {
        if (password != NULL)
            sx_free_secret(password, strlen(password));
        return rc;
    }
    sx_srv_set_policy(s->srv, cfg->new_queues, has_password ? sx_str(password) : sx_bytes("", 0));
    struct sx_qstore_cfg store = store_config(cfg);
    sx_qstore_set_ttl(s->srv->store, &store);
    set_intervals(s, cfg);
    if (s->ops != NULL) {
        sx_ops_set_metrics_interval(s->ops, cfg->metrics_interval_ms);
        sx_ops_set_passwords(s->ops, cfg->control_admin, cfg->control_user,
                             cfg->control_block_quota);
    }
    if (s->web != NULL)
        sx_web_reload(s->web);
    pthread_mutex_lock(&s->lock);
    char *old = s->password;
    s->password = password;
    pthread_mutex_unlock(&s->lock);
    if (old != NULL)
        sx_free_secret(old, strlen(old));
    return SIMPLEX_OK;
}

/* ---- questions ---- */

simplex_rc simplex_server_address(const simplex_server *s, char *to, size_t *len)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&s->lock; /* of what is const outside */
    struct sx_wr w;

    sx_wr_init(&w, 4096);
    pthread_mutex_lock(lock);
    sx_server_print(&w, &s->address, s->password == NULL ? sx_bytes(NULL, 0) : sx_str(s->password));
    pthread_mutex_unlock(lock);
    simplex_rc rc = w.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    if (rc == SIMPLEX_OK && *len < w.len + 1)
        rc = SIMPLEX_E_BUFFER;
    if (rc == SIMPLEX_OK) {
        memcpy(to, w.p, w.len);
        to[w.len] = 0;
    }
    *len = w.len;
    sx_wr_free(&w);
    return rc;
}

void simplex_server_fingerprint(const simplex_server *s, uint8_t out[32])
{
    memcpy(out, s->certs.fingerprint, 32);
}

uint16_t simplex_server_port(const simplex_server *s)
{
    return s->port;
}

uint16_t simplex_server_web_port(const simplex_server *s)
{
    return s->web == NULL ? 0 : sx_web_http_port(s->web);
}

uint16_t simplex_server_web_tls_port(const simplex_server *s)
{
    return s->web == NULL ? 0 : s->web_tls_port;
}

uint16_t simplex_server_metrics_port(const simplex_server *s)
{
    return s->ops == NULL ? 0 : sx_ops_metrics_port(s->ops);
}

uint16_t simplex_server_control_port(const simplex_server *s)
{
    return s->ops == NULL ? 0 : sx_ops_control_port(s->ops);
}

simplex_rc simplex_server_count(const simplex_server *s, simplex_server_counters *c)
{
    if (c == NULL || c->size < sizeof(*c))
        return SIMPLEX_E_ARG;
    c->connections = 0;
    for (unsigned i = 0; i < s->n_loops; i++)
        c->connections += atomic_load(&s->loops[i].n_conns);
    c->accepted = 0;
    for (unsigned i = 0; i < s->listeners.count; i++)
        c->accepted += atomic_load(&s->listeners.port[i].accepted);
    c->queues = sx_qstore_queues(s->srv->store);
    c->messages = sx_qstore_messages(s->srv->store);
    return SIMPLEX_OK;
}

void simplex_server_drop_connections(simplex_server *s)
{
    for (unsigned i = 0; i < s->n_loops; i++)
        sx_loop_drop(&s->loops[i]);
}
