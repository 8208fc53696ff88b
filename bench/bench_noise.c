/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How well noise hides messages, and what it costs. An observer who has seen everything but the
 * contents (times and sizes; inside the servers, queues and commands too) has to say which sends
 * are messages. The figure is the area under the curve (AUC): 0.5 is guessing, 1 is knowing.
 *
 * The classifier is a logistic regression on the distances to the sends before and after, their
 * squares and products, and the size; it is trained on one half and judged on the other.
 *
 *   1. the scheduler alone, in simulated time: thousands of hours of conversations
 *   2. real agents and servers, recorded inside the servers (tests/support/wire_log.h)
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/noise.h"
#include "bench/noise_auc.h"
#include "simplex/server.h"
#include "tests/support/wire_log.h"

/* ---- 1. simulated time ---- */

struct talk { /* a person: conversations of several messages, and long pauses */
    double pause_s, gap_s, length;
};

static double exponential(double mean)
{
    return (double)sx_noise_exponential((int64_t)(mean * 1e6)) / 1e6;
}

static double next_message(const struct talk *t, double now, unsigned *left)
{
    if (*left > 0) {
        --*left;
        return now + exponential(t->gap_s);
    }
    while (sx_random_below(1000) >= 1000 / t->length)
        ++*left;
    return now + exponential(t->pause_s);
}

enum rule { NO_NOISE, ON_TOP, NEXT_SLOT, ONE_OF_NEXT, WAITS };
static const char *const rules[] = {
    "no noise",
    "messages on top of noise",
    "a message takes the next slot",
    "a message takes one of the next",
    "a message waits for a slot",
};

static bool left_out(enum rule rule, uint32_t *debt)
{
    if (rule == ON_TOP || *debt == 0)
        return false;
    if (rule == ONE_OF_NEXT)
        return sx_noise_pay(debt);
    --*debt;
    return true;
}

#define SENDS 60000
#define WINDOW 600.0 /* s */

static void simulate(const struct talk *t, enum rule rule, double slots_an_hour)
{
    static struct auc_send s[SENDS];
    static double since[SENDS];
    double mean = 3600 / slots_an_hour, waited = 0;
    double slot = rule == NO_NOISE ? INFINITY : exponential(mean), now = 0;
    unsigned left = 0;
    double message = next_message(t, 0, &left);
    size_t n = 0, real = 0, came = 0;
    uint32_t debt = 0;

    while (n < SENDS && came < SENDS) {
        now = slot < message ? slot : message;
        if (now == message) {
            since[came++] = now;
            message = next_message(t, now, &left);
            if (rule == WAITS)
                continue;
            sx_noise_owe(&debt);
            s[n++] = (struct auc_send){ .at = now, .size = 16384, .real = true };
            real++;
            continue;
        }
        bool takes = rule == WAITS && real < came;
        if (takes)
            waited += now - since[real++];
        if (takes || !left_out(rule, &debt))
            s[n++] = (struct auc_send){ .at = now, .size = 16384, .real = takes };
        slot += exponential(mean);
    }
    if (rule == NO_NOISE)
        printf("  %-34s %6.1f %6.1f  all real\n", rules[rule], (double)real * 3600 / now,
               (double)n * 3600 / now);
    else
        printf("  %-34s %6.1f %6.1f %9.3f %9.3f %9.1f\n", rules[rule], (double)real * 3600 / now,
               (double)n * 3600 / now, auc_of_sends(s, n),
               auc_of_windows(s, n, since, came, WINDOW), real > 0 ? waited / (double)real : 0);
}

static void simulate_person(const char *who, const struct talk *t)
{
    static const double slots[] = { 8, 30, 120 };

    printf("\n%s\n\n  %-34s %6s %6s %9s %9s %9s\n", who, "", "msgs/h", "all/h", "sends", "windows",
           "wait s");
    simulate(t, NO_NOISE, 1);
    for (size_t i = 0; i < SX_COUNT(slots); i++) {
        printf("  %.0f slots an hour\n", slots[i]);
        for (int rule = ON_TOP; rule <= WAITS; rule++)
            simulate(t, (enum rule)rule, slots[i]);
    }
}

static void simulated(void)
{
    static const struct talk talks = { 7200, 20, 8 }, single = { 900, 1, 1 };

    printf(
        "Simulated time. AUC of single sends (which is a message?) and of windows of 10 minutes\n"
        "(was any message written?); the mean time that a message waits. Where messages wait,\n"
        "a slot after a long distance is more likely to carry one; that says nothing about\n"
        "when it was written.\n");
    simulate_person("Conversations of 8 messages on average, every two hours", &talks);
    simulate_person("Single messages, every 15 minutes", &single);
}

static void budgets(void)
{
    static const int64_t mb[] = { 1, 5, 20, 100 };
    struct sx_noise_plan p = { 0 };

    printf(
        "\nA budget, and what it buys an hour on average (half of it is used; all three kinds)\n\n"
        "  %10s %8s %8s %8s\n",
        "MB/h", "PINGs", "loops", "repeats");
    for (size_t i = 0; i < SX_COUNT(mb); i++) {
        sx_noise_plan_set(&p, mb[i] << 20, 7, 0);
        printf("  %10" PRId64, mb[i]);
        for (int k = 0; k < SX_NOISE_KINDS; k++)
            printf(" %8.1f",
                   (double)SX_NOISE_HOUR / (double)sx_noise_plan_mean(&p, (enum sx_noise_kind)k));
        printf("\n");
    }
}

/* ---- 2. real agents ---- */

#define KEPT 40000

enum label { REAL, REPEAT, LOOP };

/* What J seals, in order: bodies leave its session in this order. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum label sealed[KEPT];
static size_t n_sealed;
static atomic_bool recording;

static void note(enum label l)
{
    if (!atomic_load(&recording))
        return;
    (void)pthread_mutex_lock(&lock);
    if (n_sealed < KEPT)
        sealed[n_sealed++] = l;
    (void)pthread_mutex_unlock(&lock);
}

simplex_rc __real_sx_seal_send(const struct sx_conn *, const struct sx_snd_queue *,
                               const struct sx_snd_msg *, struct sx_wr *);
simplex_rc __wrap_sx_seal_send(const struct sx_conn *, const struct sx_snd_queue *,
                               const struct sx_snd_msg *, struct sx_wr *);
simplex_rc __real_sx_seal_again(const struct sx_snd_queue *, simplex_bytes, struct sx_wr *);
simplex_rc __wrap_sx_seal_again(const struct sx_snd_queue *, simplex_bytes, struct sx_wr *);
simplex_rc __real_sx_seal_nothing(struct sx_wr *);
simplex_rc __wrap_sx_seal_nothing(struct sx_wr *);

simplex_rc __wrap_sx_seal_send(const struct sx_conn *c, const struct sx_snd_queue *q,
                               const struct sx_snd_msg *m, struct sx_wr *body)
{
    note(REAL);
    return __real_sx_seal_send(c, q, m, body);
}

simplex_rc __wrap_sx_seal_again(const struct sx_snd_queue *q, simplex_bytes text,
                                struct sx_wr *body)
{
    note(REPEAT);
    return __real_sx_seal_again(q, text, body);
}

simplex_rc __wrap_sx_seal_nothing(struct sx_wr *body)
{
    note(LOOP);
    return __real_sx_seal_nothing(body);
}

struct side {
    simplex_agent *a;
    char dir[64], link[4096];
    bool answers;
    atomic_uint inv, con, messages;
    double *latency_ms;
};

static void die(const char *what, simplex_rc rc)
{
    fprintf(stderr, "bench_noise: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

static void must(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        die(what, rc);
}

static void on_message(struct side *s, const simplex_event *ev)
{
    int64_t sent, id;
    unsigned n = atomic_load(&s->messages);

    memcpy(&sent, simplex_event_data(ev).ptr, sizeof sent);
    if (n < KEPT)
        s->latency_ms[n] = (double)(sx_mono_us() - sent) / 1e3;
    atomic_fetch_add(&s->messages, 1);
    must("ack", simplex_agent_ack(s->a, simplex_event_conn(ev), simplex_event_msg_id(ev)));
    if (s->answers && n % 4 == 0) { /* who is never heard gets no repeats */
        sent = sx_mono_us();
        must("answer", simplex_agent_send(s->a, simplex_event_conn(ev),
                                          sx_bytes(&sent, sizeof sent), 0, &id));
    }
}

static void on_event(void *user, const simplex_event *ev)
{
    struct side *s = user;
    simplex_bytes data = simplex_event_data(ev);

    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        memcpy(s->link, data.ptr, data.len < 4095 ? data.len : 4095);
        atomic_fetch_add(&s->inv, 1);
        break;
    case SIMPLEX_EV_CONF:
        must("allow", simplex_agent_allow(s->a, simplex_event_conn(ev), simplex_event_conf(ev),
                                          sx_str("I")));
        break;
    case SIMPLEX_EV_CON:
        atomic_fetch_add(&s->con, 1);
        break;
    case SIMPLEX_EV_MSG:
        on_message(s, ev);
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
        fprintf(stderr, "bench_noise: %s\n", simplex_event_json(ev));
        exit(1);
    default:
        break;
    }
}

static void wait_for(atomic_uint *counter, unsigned want)
{
    while (atomic_load(counter) < want)
        usleep(1000);
}

static void open_side(struct side *s, const char *const *servers, size_t n, int32_t proxy_mode)
{
    char path[100];
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .user = s,
                                 .servers = servers,
                                 .n_servers = n,
                                 .proxy_mode = proxy_mode };

    memset(s, 0, sizeof *s);
    s->latency_ms = calloc(KEPT, sizeof *s->latency_ms);
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/bench_noise_XXXXXX");
    if (s->latency_ms == NULL || mkdtemp(s->dir) == NULL)
        die("folder", SIMPLEX_E_SYSTEM);
    (void)snprintf(path, sizeof path, "%s/db", s->dir);
    must("open", simplex_agent_open(&cfg, &s->a));
}

static void close_side(struct side *s)
{
    char cmd[100];

    must("close", simplex_agent_close(s->a));
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", s->dir);
    (void)!system(cmd);
    free(s->latency_ms);
}

static double written[KEPT]; /* s, of the clock of the log */
static size_t n_written;

/* The conversation of part 1, faster: messages 150 ms apart, pauses of 2 s. */
static void converse(struct side *j, int64_t conn, double seconds)
{
    static const struct talk fast = { 2, 0.15, 6 };
    int64_t begin = sx_mono_us(), id, now;
    unsigned left = 0;

    for (double at = next_message(&fast, 0, &left); at < seconds;
         at = next_message(&fast, at, &left)) {
        while ((now = sx_mono_us()) - begin < (int64_t)(at * 1e6))
            usleep(500);
        now = sx_mono_us();
        if (n_written < KEPT)
            written[n_written++] = (double)now / 1e6;
        must("send", simplex_agent_send(j->a, conn, sx_bytes(&now, sizeof now), 0, &id));
    }
}

/* What one observer sees of all that was recorded. */
struct view {
    struct auc_send s[KEPT];
    size_t n, real;
};

static void see(struct view *v, const struct wire_item *x, enum label l, double ack_ms)
{
    if (v->n == KEPT)
        return;
    v->s[v->n++] = (struct auc_send){
        .at = (double)x->us / 1e6, .size = x->len, .other = ack_ms, .real = l == REAL
    };
    v->real += l == REAL;
}

/* ms until the ACK of the message that was shown. */
static double ack_delay(const struct wire_item *x, size_t i, size_t n)
{
    for (size_t k = i + 1; k < n; k++) {
        if (x[k].session == x[i].session && strcmp(x[k].name, "ACK") == 0 &&
            memcmp(x[k].entity, x[i].entity, 24) == 0)
            return (double)(x[k].us - x[i].us) / 1e3;
    }
    return 0;
}

static struct wire_item items[8 * KEPT];

/* The queue that is shown most: I's, where messages and repeats of J arrive in the order of
 * sealing. */
static const struct wire_item *queue_of_i(size_t n, const void *j_session)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].out && strcmp(items[i].name, "MSG") == 0 && items[i].session != j_session)
            return &items[i];
    }
    return NULL;
}

static void read_log(const char *send, struct view *sender, struct view *recipient)
{
    size_t n = wire_log(items, SX_COUNT(items)), at = 0;
    const void *j = NULL;

    memset(sender, 0, sizeof *sender);
    memset(recipient, 0, sizeof *recipient);
    for (size_t i = 0; i < n && j == NULL; i++)
        j = strcmp(items[i].name, send) == 0 ? items[i].session : NULL;
    for (size_t i = 0; i < n && at < n_sealed; i++) {
        if (items[i].session == j && strcmp(items[i].name, send) == 0)
            see(sender, &items[i], sealed[at++], 0);
    }
    const struct wire_item *q = queue_of_i(n, j);
    at = 0;
    for (size_t i = 0; i < n && q != NULL; i++) {
        if (!items[i].out || strcmp(items[i].name, "MSG") != 0 ||
            memcmp(items[i].entity, q->entity, 24) != 0)
            continue;
        while (at < n_sealed && sealed[at] == LOOP)
            at++;
        if (at < n_sealed)
            see(recipient, &items[i], sealed[at++], ack_delay(items, i, n));
    }
}

static void print_view(const char *name, const struct view *v)
{
    if (v->real == v->n)
        printf("  %-28s %6zu %6zu   all are messages   %8s\n", name, v->real, v->n, "1.000");
    else
        printf("  %-28s %6zu %6zu %8.3f %9.3f  (chance: +-%.2f)\n", name, v->real, v->n,
               auc_of_sends(v->s, v->n), auc_of_windows(v->s, v->n, written, n_written, 1.0),
               sqrt((double)(v->n + 1) / 12 / (double)v->real / (double)(v->n - v->real)));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_latency(struct side *i, unsigned from)
{
    unsigned n = atomic_load(&i->messages) - from;

    if (n == 0)
        return;
    qsort(i->latency_ms + from, n, sizeof *i->latency_ms, by_value);
    printf("  latency of messages: %.2f ms median, %.2f ms 99th percentile\n",
           i->latency_ms[from + n / 2], i->latency_ms[from + n * 99 / 100]);
}

static void run(struct side *i, struct side *j, int64_t jc, const char *way, const char *send,
                uint32_t kinds, int64_t wait, double seconds)
{
    static struct view sender, recipient;
    simplex_noise noise = {
        .size = sizeof noise, .budget = INT64_C(3) << 30, .kinds = kinds, .wait = wait
    };
    simplex_noise_stats before = { .size = sizeof before }, after = { .size = sizeof after };
    int64_t id, now = sx_mono_us();
    unsigned messages;

    must("noise", simplex_agent_set_noise(j->a, kinds != 0 ? &noise : NULL));
    must("send", simplex_agent_send(j->a, jc, sx_bytes(&now, sizeof now), 0, &id));
    sleep(kinds != 0 ? 4 : 1); /* queues are made */
    messages = atomic_load(&i->messages);
    must("stats", simplex_agent_noise_stats(j->a, &before));
    n_sealed = n_written = 0;
    wire_log_start();
    atomic_store(&recording, true);
    converse(j, jc, seconds);
    usleep(500000);
    atomic_store(&recording, false);
    must("stats", simplex_agent_noise_stats(j->a, &after));
    printf("\n%s, %s: %.0f KB of noise a second (%.1f GB/h), %" PRId64
           " of it left out for messages\n",
           way,
           kinds == 0  ? "without noise"
           : wait == 0 ? "with noise"
                       : "with noise, messages wait for it",
           (double)(after.total.bytes - before.total.bytes) / seconds / 1e3,
           (double)(after.total.bytes - before.total.bytes) / seconds * 3600 / 1e9,
           after.total.replaced - before.total.replaced);
    read_log(send, &sender, &recipient);
    printf("  %-28s %6s %6s %8s %9s\n", "", "msgs", "all", "sends", "windows");
    print_view("sender's server", &sender);
    print_view("recipient's server", &recipient);
    print_latency(i, messages);
}

/* J makes noise, I does not: what I's server shows it is from J. */
static void real_agents(bool proxied, double seconds)
{
    simplex_server_config cfg;
    simplex_server *relay, *proxy;
    char addresses[2][512];
    const char *servers[2] = { addresses[1], addresses[0] };
    struct side i, j;
    int64_t ic, jc;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    must("server", simplex_server_start(&cfg, &relay));
    must("server", simplex_server_start(&cfg, &proxy));
    size_t len = sizeof addresses[0];
    must("address", simplex_server_address(relay, addresses[0], &len));
    len = sizeof addresses[1];
    must("address", simplex_server_address(proxy, addresses[1], &len));
    open_side(&i, servers + 1, 1, SIMPLEX_PROXY_NEVER);
    i.answers = true;
    open_side(&j, proxied ? servers : servers + 1, proxied ? 2 : 1,
              proxied ? SIMPLEX_PROXY_ALWAYS : SIMPLEX_PROXY_NEVER);
    must("create", simplex_agent_create(i.a, SIMPLEX_PQ_OFF, &ic));
    wait_for(&i.inv, 1);
    must("join", simplex_agent_join(j.a, sx_str(i.link), sx_str("J"), SIMPLEX_PQ_OFF, &jc));
    wait_for(&i.con, 1);
    wait_for(&j.con, 1);
    const char *way = proxied ? "Through a proxy" : "Directly", *send = proxied ? "PFWD" : "SEND";
    run(&i, &j, jc, way, send, 0, 0, seconds / 2);
    run(&i, &j, jc, way, send, 7, 0, seconds);
    run(&i, &j, jc, way, send, 7, 10000, seconds);
    close_side(&i);
    close_side(&j);
    simplex_server_stop(relay);
    simplex_server_stop(proxy);
}

int main(void)
{
    const char *text = getenv("NOISE_SECONDS");
    double seconds = text != NULL ? atof(text) : 60;

    if (sx_crypto_init() != SIMPLEX_OK)
        die("crypto", SIMPLEX_E_SYSTEM);
    simulated();
    budgets();
    if (seconds <= 0)
        return 0;
    printf("\nReal agents and servers on loopback, everything a hundred times as fast as life;\n"
           "windows of 1 s. An observer inside a server, who sees each queue by itself.\n");
    real_agents(false, seconds);
    real_agents(true, seconds);
    return 0;
}
