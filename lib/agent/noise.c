/* SPDX-License-Identifier: Apache-2.0 */
/* Noise and the agent: settings, slots, statistics, and what is learnt from real messages. */
#include "agent/noise.h"
#include "agent/work.h"

#define SLOTS_AT_ONCE 8  /* then the loop looks at its sockets again */
#define DELAY_MAX 60000  /* ms: an application that is asleep is no example for an ACK */
#define DELAY_UNKNOWN 20 /* ms on average, before there is an example */

/* ---- settings ---- */

#define CONFIG_MIN (offsetof(simplex_noise, budget_metered) + sizeof(int64_t))

static bool budget_ok(int64_t b)
{
    return b == 0 || (b >= SX_NOISE_BUDGET_MIN && b <= SX_NOISE_BUDGET_MAX);
}

simplex_rc sx_noise_check(const simplex_noise *cfg, simplex_noise *out)
{
    memset(out, 0, sizeof *out);
    if (cfg == NULL)
        return SIMPLEX_OK;
    if (cfg->size < CONFIG_MIN)
        return SIMPLEX_E_ARG;
    memcpy(out, cfg, cfg->size < sizeof *out ? cfg->size : sizeof *out);
    if (out->wait < 0 || out->wait > SX_NOISE_WAIT_MAX)
        return SIMPLEX_E_ARG;
    if (!budget_ok(out->budget) || !budget_ok(out->budget_metered) ||
        out->kinds >> SX_NOISE_KINDS != 0)
        return SIMPLEX_E_ARG;
    return SIMPLEX_OK;
}

static int64_t budget_now(const struct sx_noise *n)
{
    if (n->paused || n->cfg.kinds == 0)
        return 0;
    return n->metered ? n->cfg.budget_metered : n->cfg.budget;
}

static void let_all_go(struct simplex_agent *a);

static void apply(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;

    let_all_go(a);

    sx_noise_plan_set(&n->plan, budget_now(n), n->cfg.kinds, sx_mono_ms());
    if ((n->cfg.kinds & SIMPLEX_NOISE_REPEAT) == 0 || n->cfg.budget == 0)
        sx_noise_repeats_free(n);
    n->wake = 0;
}

static struct sx_noise *make(struct simplex_agent *a)
{
    if (a->noise == NULL && (a->noise = sx_calloc(1, sizeof *a->noise)) != NULL)
        sx_noise_plan_set(&a->noise->plan, 0, 0, sx_mono_ms());
    return a->noise;
}

static simplex_rc do_set(struct simplex_agent *a, void *p)
{
    struct sx_noise *n = make(a);

    if (n == NULL)
        return SIMPLEX_E_NOMEM;
    n->cfg = *(const simplex_noise *)p;
    apply(a);
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_set_noise(simplex_agent *a, const simplex_noise *noise)
{
    simplex_noise cfg;
    simplex_rc rc = sx_noise_check(noise, &cfg);

    if (a == NULL || rc != SIMPLEX_OK)
        return SIMPLEX_E_ARG;
    return a->cfg.read_only ? SIMPLEX_E_PROHIBITED : sx_agent_begin(a, do_set, &cfg);
}

void sx_noise_network(struct simplex_agent *a, bool metered, bool paused)
{
    struct sx_noise *n = a->noise;

    if (n == NULL && (metered || paused))
        n = make(a); /* the settings may come later */
    if (n == NULL || (n->metered == metered && n->paused == paused))
        return;
    n->metered = metered;
    n->paused = paused;
    apply(a);
}

/* ---- life ---- */

static simplex_rc has_rows(struct simplex_agent *a, bool *yes)
{
    struct sx_noise_row row;
    simplex_rc rc = sx_store_noise_next(a->store, 0, &row);

    *yes = rc == SIMPLEX_OK;
    sx_wipe(&row, sizeof row);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_noise_load(struct simplex_agent *a)
{
    bool rows;
    simplex_rc rc = has_rows(a, &rows);

    if (rc != SIMPLEX_OK || (!rows && a->noise_cfg.kinds == 0 && a->noise == NULL))
        return rc;
    if (a->noise == NULL) {
        if (make(a) == NULL)
            return SIMPLEX_E_NOMEM;
        a->noise->cfg = a->noise_cfg;
    }
    apply(a);
    return sx_noise_loops_load(a);
}

void sx_noise_reset(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;

    if (n == NULL)
        return;
    sx_noise_loops_free(n);
    sx_noise_repeats_free(n);
    n->n_shown = n->n_held = 0;
}

void sx_noise_free(struct simplex_agent *a)
{
    sx_noise_reset(a);
    if (a->noise != NULL)
        sx_free_secret(a->noise, sizeof *a->noise);
    a->noise = NULL;
}

/* ---- counting ---- */

static struct sx_noise_count *this_minute(struct sx_noise *n)
{
    int64_t minute = sx_mono_ms() / 60000;
    struct sx_noise_count *c = &n->minutes[minute % SX_NOISE_MINUTES];

    if (c->minute != minute) {
        memset(c, 0, sizeof *c);
        c->minute = minute;
    }
    return c;
}

void sx_noise_count_bytes(struct sx_noise *n, int64_t bytes)
{
    if (n->plan.budget > 0)
        n->plan.tokens -= bytes;
    n->total.bytes += bytes;
    this_minute(n)->bytes += bytes;
}

bool sx_noise_may(struct sx_noise *n, int64_t bytes)
{
    if (!sx_noise_plan_spend(&n->plan, bytes, sx_mono_ms()))
        return false;
    n->total.bytes += bytes;
    this_minute(n)->bytes += bytes;
    return true;
}

void sx_noise_did(struct sx_noise *n, enum sx_noise_kind kind)
{
    n->total.sent[kind]++;
    this_minute(n)->sent[kind]++;
}

static void replaced(struct sx_noise *n)
{
    n->total.replaced++;
    this_minute(n)->replaced++;
}

bool sx_noise_pay_session(struct sx_noise *n, struct sx_rt_server *s)
{
    bool paid = sx_noise_pay(&s->noise_debt);

    if (paid)
        replaced(n);
    return paid;
}

bool sx_noise_pay_repeat(struct sx_noise *n, struct sx_noise_repeat *r)
{
    bool paid = sx_noise_pay(&r->debt);

    if (paid)
        replaced(n);
    return paid;
}

static void add_count(simplex_noise_count *to, const struct sx_noise_count *c)
{
    to->bytes += c->bytes;
    to->pings += c->sent[SX_NOISE_PING];
    to->loops += c->sent[SX_NOISE_LOOP];
    to->repeats += c->sent[SX_NOISE_REPEAT];
    to->messages += c->real;
    to->replaced += c->replaced;
}

static simplex_rc do_stats(struct simplex_agent *a, void *p)
{
    simplex_noise_stats *out = p;
    const struct sx_noise *n = a->noise;
    int64_t minute = sx_mono_ms() / 60000;

    if (n == NULL)
        return SIMPLEX_OK;
    add_count(&out->total, &n->total);
    for (size_t i = 0; i < SX_NOISE_MINUTES; i++) {
        if (minute - n->minutes[i].minute < SX_NOISE_MINUTES)
            add_count(&out->hour, &n->minutes[i]);
    }
    out->queues = (int64_t)n->n_queues;
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_noise_stats(simplex_agent *a, simplex_noise_stats *stats)
{
    if (a == NULL || stats == NULL || stats->size < sizeof *stats)
        return SIMPLEX_E_ARG;
    size_t size = stats->size;
    memset(stats, 0, sizeof *stats);
    stats->size = size;
    return sx_agent_run(a, do_stats, stats, false);
}

/* ---- what is learnt from real messages ---- */

void sx_noise_real(struct simplex_agent *a, struct sx_rt_sndq *w, bool notify)
{
    struct sx_noise *n = a->noise;
    struct sx_noise_repeat *r;

    if (n == NULL || n->plan.budget == 0)
        return;
    n->notify = notify;
    n->total.real++;
    this_minute(n)->real++;
    if (n->in_slot) { /* it took its place */
        n->in_slot = false;
        return;
    }
    r = sx_noise_repeat_of(n, w->id);
    if (r != NULL)
        sx_noise_owe(&r->debt);
    else if (w->server != NULL)
        sx_noise_owe(&w->server->noise_debt);
}

void sx_noise_shown(struct simplex_agent *a, int64_t queue)
{
    struct sx_noise *n = a->noise;

    if (n == NULL || (n->cfg.kinds & SIMPLEX_NOISE_LOOP) == 0)
        return;
    n->shown[n->n_shown++ % SX_NOISE_DELAYS] =
        (struct sx_noise_shown){ .queue = queue, .since = sx_mono_ms() };
}

void sx_noise_acked(struct simplex_agent *a, int64_t queue)
{
    struct sx_noise *n = a->noise;
    int64_t now;

    if (n == NULL || queue == 0)
        return;
    now = sx_mono_ms();
    for (size_t i = 0; i < SX_NOISE_DELAYS; i++) {
        if (n->shown[i].queue != queue)
            continue;
        int64_t ms = now - n->shown[i].since;
        n->shown[i].queue = 0;
        if (ms >= 0 && ms <= DELAY_MAX)
            n->delays[n->n_delays++ % SX_NOISE_DELAYS] = (uint32_t)ms;
    }
}

int64_t sx_noise_delay(const struct sx_noise *n)
{
    size_t known = n->n_delays < SX_NOISE_DELAYS ? n->n_delays : SX_NOISE_DELAYS;

    if (known == 0)
        return sx_noise_exponential(DELAY_UNKNOWN);
    return n->delays[sx_random_below((uint32_t)known)];
}

/* ---- messages that wait for a slot ---- */

static struct sx_noise_held *held_of(struct sx_noise *n, int64_t queue)
{
    for (size_t i = 0; i < n->n_held; i++) {
        if (n->held[i].queue == queue)
            return &n->held[i];
    }
    return NULL;
}

static void held_remove(struct sx_noise *n, struct sx_noise_held *h)
{
    size_t at = (size_t)(h - n->held);

    memmove(h, h + 1, (n->n_held - at - 1) * sizeof *h);
    n->n_held--;
}

/* Counted from when it was written: a long row of messages waits no longer than one. */
static int64_t may_wait(const struct sx_noise *n, const struct sx_snd_msg *m)
{
    int64_t waited = sx_now_ms() - m->created_at;

    if (n->plan.budget == 0 || m->type == 0 || waited < 0)
        return 0;
    return waited < n->cfg.wait ? n->cfg.wait - waited : 0;
}

bool sx_noise_holds(struct simplex_agent *a, struct sx_rt_sndq *w, const struct sx_snd_msg *m)
{
    struct sx_noise *n = a->noise;
    struct sx_noise_held *h;
    int64_t left;

    if (n == NULL)
        return false;
    n->in_slot = false;
    if (n->cfg.wait == 0 && n->n_held == 0)
        return false;
    h = held_of(n, w->id);
    left = may_wait(n, m);
    n->in_slot = h != NULL && h->goes;
    if (left == 0 || n->in_slot || w->delay > 0 || (h == NULL && n->n_held == SX_NOISE_HELD_MAX)) {
        if (h != NULL)
            held_remove(n, h);
        return false;
    }
    if (h == NULL)
        n->held[n->n_held++] = (struct sx_noise_held){ .queue = w->id };
    w->waiting = true;
    w->retry_at = sx_mono_ms() + left;
    sx_retry_at(a, w->retry_at);
    return true;
}

/* The slot is for the message that has waited longest. */
static bool let_go(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;

    for (size_t i = 0; i < n->n_held; i++) {
        struct sx_rt_sndq *w = sx_rt_sndq_get(a, n->held[i].queue, false);
        if (w == NULL || !w->waiting) { /* its connection was deleted, or it is about to leave */
            held_remove(n, &n->held[i--]);
            continue;
        }
        if (n->held[i].goes)
            continue;
        n->held[i].goes = true;
        w->retry_at = sx_mono_ms();
        sx_retry_at(a, w->retry_at);
        replaced(n);
        return true;
    }
    return false;
}

/* The settings have changed: each is asked again whether it waits. */
static void let_all_go(struct simplex_agent *a)
{
    for (size_t i = 0; i < a->noise->n_held; i++) {
        struct sx_rt_sndq *w = sx_rt_sndq_get(a, a->noise->held[i].queue, false);
        if (w != NULL && w->waiting) {
            w->retry_at = sx_mono_ms();
            sx_retry_at(a, w->retry_at);
        }
    }
    a->noise->n_held = 0;
}

/* ---- slots ---- */

static struct sx_rt_server *any_session(struct simplex_agent *a)
{
    struct sx_rt_server *picked = NULL;
    uint32_t seen = 0;

    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (sx_client_is_up(s->client) && sx_random_below(++seen) == 0)
            picked = s;
    }
    return picked;
}

static void ping(struct simplex_agent *a)
{
    static const struct sx_cmd cmd = { .tag = SX_PING };
    struct sx_request req = { .cmd = &cmd };
    struct sx_rt_server *s = any_session(a);

    if (s == NULL || sx_noise_pay_session(a->noise, s) ||
        !sx_noise_may(a->noise, SX_NOISE_COST_COMMAND))
        return;
    if (sx_client_send(s->client, &req) == SIMPLEX_OK)
        sx_noise_did(a->noise, SX_NOISE_PING);
}

static void take_slot(struct simplex_agent *a, enum sx_noise_kind kind)
{
    if (let_go(a))
        return;
    switch (kind) {
    case SX_NOISE_PING:
        ping(a);
        break;
    case SX_NOISE_LOOP:
        sx_noise_loop(a);
        break;
    case SX_NOISE_REPEAT:
        sx_noise_repeat(a);
        break;
    case SX_NOISE_KINDS:
        break;
    }
}

void sx_noise_wake(struct sx_noise *n, int64_t at)
{
    if (at < n->wake)
        n->wake = at;
}

int64_t sx_noise_alarm(const struct simplex_agent *a)
{
    return a->noise != NULL && a->recover_at == 0 ? a->noise->wake : INT64_MAX;
}

void sx_noise_run(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;
    enum sx_noise_kind kind;
    int64_t now;

    if (n == NULL || a->must_commit || a->failed || a->recover_at != 0)
        return;
    now = sx_mono_ms();
    if (now < n->wake)
        return;
    for (int i = 0; i < SLOTS_AT_ONCE && !a->must_commit; i++) {
        if (!sx_noise_plan_due(&n->plan, now, &kind))
            break;
        take_slot(a, kind);
        if (a->failed)
            return;
    }
    n->wake = sx_noise_plan_next(&n->plan);
    sx_noise_loops_run(a, now);
}

/* ---- the network ---- */

void sx_noise_up(struct simplex_agent *a, struct sx_rt_server *s)
{
    if (a->noise != NULL)
        sx_noise_loops_up(a, s);
}

void sx_noise_down(struct simplex_agent *a, const struct sx_rt_server *s)
{
    if (a->noise != NULL)
        sx_noise_loops_down(a->noise, s);
}
