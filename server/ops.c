/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"

#include <stdio.h>
#include <sys/resource.h>

#include "control.h"
#include "crypto/crypto.h"
#include "metrics_http.h"
#include "persist.h"
#include "stats_file.h"

#define TICK_MS 1000
#define RETRY_MS (60 * 1000) /* after a file could not be written */
#define HTTP_CONNS 16
#define HTTP_IDLE_MS 5000
#define CONTROL_CONNS 8
#define CONTROL_IDLE_MS (600 * 1000)

struct sx_ops {
    struct sx_ops_cfg cfg;
    char *dir;
    struct sx_control control;
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t tick;
    uv_thread_t thread;
    struct sx_local *http, *lines;
    int64_t started_ms, metrics_made_ms, daily_due_ms; /* the last two: monotonic */
    _Atomic int64_t metrics_interval_ms;               /* 0: no file; changed by a reload */
    atomic_bool stopping;
    bool has_uv, has_thread, has_lock;
};

/* ---- what there is to report ---- */

static void report_process(struct sx_report *r)
{
    struct rusage use;
    size_t rss;

    if (uv_resident_set_memory(&rss) == 0)
        r->rss_bytes = rss;
    if (getrusage(RUSAGE_SELF, &use) == 0) {
        r->cpu_user_us = (uint64_t)use.ru_utime.tv_sec * 1000000 + (uint64_t)use.ru_utime.tv_usec;
        r->cpu_system_us = (uint64_t)use.ru_stime.tv_sec * 1000000 + (uint64_t)use.ru_stime.tv_usec;
    }
}

static void report_persistence(struct sx_store *store, struct sx_report *r)
{
    struct sx_persist_figures f;

    r->persistent = sx_persist_figures(store, &f);
    r->commits = f.commits.commits;
    r->commit_failures = f.commits.failures;
    r->commit_total_us = f.commits.total_us;
    r->journal_bytes = f.journal_bytes;
    r->journal_live_bytes = f.journal_live_bytes;
    r->log_bytes = f.log_bytes;
    r->log_base_bytes = f.log_base_bytes;
    r->compactions = f.compactions;
    r->compaction_failures = f.compaction_failures;
    r->compaction_ms = f.compaction_ms;
}

static void report_relays(struct sx_proxy *proxy, struct sx_report *r)
{
    struct sx_proxy_figures f;

    if (proxy == NULL)
        return;
    sx_proxy_figures(proxy, &f);
    r->relays = f.relays;
    r->relays_connecting = f.connecting;
    r->relays_hurried = f.hurried;
    r->relay_commands_pending = f.pending;
    r->relay_commands_refused = f.refused;
}

_Static_assert(SX_LISTEN_MAX <= SX_PORTS_MAX, "raise SX_PORTS_MAX");

static void report_ports(const struct sx_listeners *l, struct sx_report *r)
{
    for (unsigned i = 0; l != NULL && i < l->count; i++) {
        r->port[i].number = l->port[i].number;
        r->port[i].open = atomic_load(&l->port[i].open); /* first: never more than accepted */
        r->port[i].accepted = atomic_load(&l->port[i].accepted);
        r->n_ports++;
    }
}

void sx_ops_report(struct sx_ops *o, struct sx_report *r)
{
    const struct sx_ops_cfg *cfg = &o->cfg;

    memset(r, 0, sizeof(*r));
    sx_stats_read(cfg->srv->stats, cfg->srv->store, sx_srv_now(cfg->srv), &r->s);
    for (unsigned i = 0; i < 2; i++) {
        r->services[i] = r->s.services.services[i];
        r->service_queues[i] = r->s.services.queues[i];
        r->service_subscribed[i] = r->s.services.subscribed[i];
    }
    r->services_recorded = r->s.services.recorded;
    r->services_forgotten = r->s.services.forgotten;
    r->services_refused = r->s.services.refused;
    r->started_ms = (uint64_t)o->started_ms;
    report_persistence(cfg->srv->store, r);
    report_relays(cfg->proxy, r);
    if (cfg->web != NULL) {
        r->browsers = sx_web_connections(cfg->web);
        r->browsers_refused = sx_web_refused(cfg->web);
    }
    r->threads = cfg->n_loops + 1 + r->persistent + (cfg->proxy != NULL) + (cfg->web != NULL);
    r->n_loops = cfg->n_loops < SX_LOOPS_MAX ? cfg->n_loops : SX_LOOPS_MAX;
    for (unsigned i = 0; i < r->n_loops; i++) {
        r->loop[i].connections = atomic_load(&cfg->loops[i].n_conns);
        r->loop[i].late_us = atomic_load(&cfg->loops[i].late_us);
        r->loop[i].late_total_us = atomic_load(&cfg->loops[i].late_total_us);
        r->connections += r->loop[i].connections;
    }
    report_ports(cfg->listeners, r);
    report_process(r);
}

/* ---- files ---- */

static void write_metrics(struct sx_ops *o)
{
    char text[512];
    struct sx_errtext err = { text, sizeof(text) };
    struct sx_report r;
    struct sx_wr w;

    sx_ops_report(o, &r);
    sx_wr_init(&w, SX_METRICS_MAX);
    sx_prometheus(&w, &r);
    if (w.bad)
        sx_log(SX_LOG_WARN, "no memory for %s", SX_METRICS_FILE);
    else if (sx_file_write(o->dir, SX_METRICS_FILE, sx_wr_bytes(&w), 0644, &err) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "%s", text);
    sx_wr_free(&w);
}

/* The day is over: its line, or only a new day for the counts of active queues. */
static void end_day(struct sx_ops *o, int64_t mono)
{
    struct sx_srv *srv = o->cfg.srv;
    int64_t now = sx_srv_now(srv);
    char text[512];
    struct sx_errtext err = { text, sizeof(text) };

    if (!sx_stats_new_periods(srv->stats, now).day || mono < o->daily_due_ms)
        return;
    if (o->cfg.daily && o->dir != NULL) {
        if (sx_stats_write_day(srv->stats, srv->store, o->dir, now, &err) == SIMPLEX_OK)
            return;
        sx_log(SX_LOG_WARN, "%s; tried again in a minute", text);
        o->daily_due_ms = mono + RETRY_MS; /* nothing is lost: the counters go on */
        return;
    }
    struct sx_snapshot s;
    sx_stats_read(srv->stats, srv->store, now, &s);
    sx_stats_begin_day(srv->stats, &s);
}

static void on_tick(uv_timer_t *t)
{
    struct sx_ops *o = t->data;
    int64_t mono = sx_mono_ms();

    end_day(o, mono);
    int64_t interval = atomic_load(&o->metrics_interval_ms);
    bool due = o->metrics_made_ms == 0 || mono - o->metrics_made_ms >= interval;
    if (interval > 0 && o->dir != NULL && due) {
        write_metrics(o);
        o->metrics_made_ms = mono;
    }
}

/* ---- metrics over HTTP ---- */

static size_t http_input(struct sx_local_conn *c, simplex_bytes in)
{
    struct sx_ops *o = sx_local_user(c);
    struct sx_wr *out = sx_local_out(c), body;
    struct sx_report r;
    bool head;

    enum sx_http_result what = sx_http_parse(in, &head);
    if (what == SX_HTTP_MORE)
        return 0;
    sx_wr_init(&body, SX_METRICS_MAX);
    if (what == SX_HTTP_METRICS) {
        sx_ops_report(o, &r);
        sx_prometheus(&body, &r);
    }
    sx_http_answer(out, what, body.len, head);
    if (!head)
        sx_wr_raw(out, sx_wr_bytes(&body));
    out->bad |= body.bad;
    sx_wr_free(&body);
    sx_local_finish(c);
    return in.len;
}

/* ---- life ---- */

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void close_all(struct sx_ops *o)
{
    sx_local_close(o->http);
    sx_local_close(o->lines);
    o->http = o->lines = NULL;
    uv_walk(&o->uv, close_handle, NULL);
}

static void on_async(uv_async_t *a)
{
    struct sx_ops *o = a->data;

    if (atomic_load(&o->stopping))
        close_all(o);
}

static void thread_main(void *arg)
{
    struct sx_ops *o = arg;

    sx_thread_ignore_sigpipe();
    uv_run(&o->uv, UV_RUN_DEFAULT);
}

void sx_ops_set_metrics_interval(struct sx_ops *o, int64_t interval_ms)
{
    atomic_store(&o->metrics_interval_ms, interval_ms);
}

static void set_password(const char *password, bool *has, uint8_t hash[32])
{
    *has = password != NULL && *password != 0;
    memset(hash, 0, 32);
    if (*has)
        sx_sha256(sx_str(password), hash);
}

void sx_ops_set_passwords(struct sx_ops *o, const char *admin, const char *user,
                          int64_t block_quota)
{
    struct sx_control *c = &o->control;

    pthread_mutex_lock(&c->lock);
    set_password(admin, &c->has_admin, c->admin);
    set_password(user, &c->has_user, c->user);
    c->block_quota = block_quota;
    pthread_mutex_unlock(&c->lock);
}

static simplex_rc open_ports(struct sx_ops *o, struct sx_errtext *err)
{
    const struct sx_ops_cfg *cfg = &o->cfg;
    const struct sx_local_cfg http = {
        .port = cfg->metrics_port,
        .max_conns = HTTP_CONNS,
        .idle_ms = HTTP_IDLE_MS,
        .input = http_input,
        .user = o,
    };
    const struct sx_local_cfg lines = {
        .port = cfg->control_port,
        .max_conns = CONTROL_CONNS,
        .idle_ms = CONTROL_IDLE_MS,
        .state_size = sizeof(struct sx_control_state),
        .opened = sx_control_opened,
        .input = sx_control_input,
        .user = &o->control,
    };
    simplex_rc rc = SIMPLEX_OK;

    if (cfg->has_metrics_port)
        rc = sx_local_open(&o->http, &o->uv, &http, err);
    if (rc == SIMPLEX_OK && cfg->has_control_port)
        rc = sx_local_open(&o->lines, &o->uv, &lines, err);
    return rc;
}

static simplex_rc open_control(struct sx_ops *o)
{
    struct sx_control *c = &o->control;

    c->srv = o->cfg.srv;
    c->ops = o;
    c->loops = o->cfg.loops;
    c->n_loops = o->cfg.n_loops;
    c->save = o->cfg.save;
    c->save_user = o->cfg.save_user;
    c->stats = sx_stats_counters(o->cfg.srv->stats);
    if (c->stats == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&c->lock, NULL) != 0)
        return SIMPLEX_E_SYSTEM;
    o->has_lock = true;
    sx_ops_set_passwords(o, o->cfg.admin_password, o->cfg.user_password, o->cfg.block_quota);
    o->cfg.admin_password = o->cfg.user_password = NULL; /* the caller's */
    return SIMPLEX_OK;
}

static simplex_rc open_loop(struct sx_ops *o)
{
    if (uv_loop_init(&o->uv) != 0)
        return SIMPLEX_E_SYSTEM;
    o->has_uv = true;
    o->async.data = o->tick.data = o;
    if (uv_async_init(&o->uv, &o->async, on_async) != 0 || uv_timer_init(&o->uv, &o->tick) != 0 ||
        uv_timer_start(&o->tick, on_tick, 0, TICK_MS) != 0)
        return SIMPLEX_E_SYSTEM;
    return SIMPLEX_OK;
}

static simplex_rc copy_text(char **to, const char *text)
{
    *to = sx_strdup(text == NULL ? "" : text);
    return *to == NULL ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

simplex_rc sx_ops_open(const struct sx_ops_cfg *cfg, struct sx_ops **out, struct sx_errtext *err)
{
    struct sx_ops *o = sx_calloc(1, sizeof(*o));

    *out = NULL;
    if (o == NULL)
        return SIMPLEX_E_NOMEM;
    o->cfg = *cfg;
    o->started_ms = sx_now_ms();
    atomic_init(&o->stopping, false);
    atomic_init(&o->metrics_interval_ms, cfg->metrics_interval_ms);
    simplex_rc rc = cfg->dir == NULL ? SIMPLEX_OK : copy_text(&o->dir, cfg->dir);
    if (rc == SIMPLEX_OK)
        rc = open_control(o);
    if (rc == SIMPLEX_OK)
        rc = open_loop(o);
    if (rc == SIMPLEX_OK)
        rc = open_ports(o, err);
    if (rc == SIMPLEX_OK && uv_thread_create(&o->thread, thread_main, o) != 0)
        rc = SIMPLEX_E_SYSTEM;
    if (rc != SIMPLEX_OK) {
        sx_ops_close(o);
        return rc;
    }
    o->has_thread = true;
    *out = o;
    return SIMPLEX_OK;
}

void sx_ops_close(struct sx_ops *o)
{
    if (o == NULL)
        return;
    if (o->has_thread) {
        atomic_store(&o->stopping, true);
        uv_async_send(&o->async);
        uv_thread_join(&o->thread);
    } else if (o->has_uv) { /* the start failed half-way */
        close_all(o);
        uv_run(&o->uv, UV_RUN_DEFAULT);
    }
    if (o->has_uv)
        uv_loop_close(&o->uv);
    if (o->has_lock)
        pthread_mutex_destroy(&o->control.lock);
    sx_free(o->dir);
    sx_free_secret(o, sizeof(*o));
}

uint16_t sx_ops_metrics_port(const struct sx_ops *o)
{
    return o->http == NULL ? 0 : sx_local_port(o->http);
}

uint16_t sx_ops_control_port(const struct sx_ops *o)
{
    return o->lines == NULL ? 0 : sx_local_port(o->lines);
}
