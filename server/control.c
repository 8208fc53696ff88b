/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of the control port and what needs no queue. Commands are logged, but neither their
 * ids nor passwords.
 */
#include "control.h"

#include <stdarg.h>
#include <stdio.h>

#include "control_cmd.h"
#include "crypto/crypto.h"
#include "stats_file.h"

#define WRONG_PASSWORD_MS                                                   \
    2000 /* the answer waits so long; the next line is not looked at before \
          */
#define WORDS_MAX 8
#define REFUSED_LOG_MS 1000

void sx_say(struct sx_wr *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sx_wr_text(out, text);
    sx_wr_text(out, "\n");
}

/* ---- roles ---- */

static const char *const role_names[] = {
    [SX_ROLE_NONE] = "CPRNone",
    [SX_ROLE_USER] = "CPRUser",
    [SX_ROLE_ADMIN] = "CPRAdmin",
};

static enum sx_role role_of(struct sx_control *c, simplex_bytes password)
{
    uint8_t given[32];

    sx_sha256(password, given); /* equal lengths: the time says nothing about the password */
    pthread_mutex_lock(&c->lock);
    bool admin = sx_equal_ct(given, c->admin, sizeof(given)) && c->has_admin;
    bool user = sx_equal_ct(given, c->user, sizeof(given)) && c->has_user;
    pthread_mutex_unlock(&c->lock);
    sx_wipe(given, sizeof(given));
    return admin ? SX_ROLE_ADMIN : user ? SX_ROLE_USER : SX_ROLE_NONE;
}

static int64_t auth(struct sx_control *c, struct sx_control_state *s, simplex_bytes password,
                    struct sx_wr *out)
{
    int64_t delay = 0;

    if (s->role == SX_ROLE_NONE) {
        s->role = role_of(c, password);
        if (s->role == SX_ROLE_NONE) {
            sx_log(SX_LOG_WARN, "control port: wrong password");
            delay = WRONG_PASSWORD_MS;
        } else {
            sx_log(SX_LOG_INFO, "control port: session with role %s", role_names[s->role]);
        }
    }
    sx_say(out, "Current role is %s", role_names[s->role]);
    return delay;
}

/* ---- what there is ---- */

static void say_counter(struct sx_wr *out, const struct sx_report *r, enum sx_stat stat,
                        const char *name)
{
    sx_say(out, "%s: %" PRIu64, name, r->s.v[stat]);
}

static void say_proxy(struct sx_wr *out, const struct sx_report *r, unsigned first,
                      const char *name)
{
    const uint64_t *v = &r->s.v[first];

    sx_say(out,
           "%s: requests=%" PRIu64 ", successes=%" PRIu64 ", errorsConnect=%" PRIu64
           ", errorsCompat=%" PRIu64 ", errorsOther=%" PRIu64,
           name, v[0], v[1], v[2], v[3], v[4]);
}

static void run_stats(struct sx_call *call)
{
    static const struct {
        uint8_t stat;
        const char *name;
    } rows[] = {
        { SX_STAT_Q_CREATED, "qCreated" },
        { SX_STAT_Q_SECURED, "qSecured" },
        { SX_STAT_Q_DELETED, "qDeletedAll" },
        { SX_STAT_Q_DELETED_B, "qDeletedAllB" },
        { SX_STAT_Q_DELETED_NEW, "qDeletedNew" },
        { SX_STAT_Q_DELETED_SECURED, "qDeletedSecured" },
        { SX_STAT_Q_BLOCKED, "qBlocked" },
        { SX_STAT_DAY_QUEUES, "daily active queues" },
        { SX_STAT_Q_SUB, "qSub" },
        { SX_STAT_Q_SUB_B, "qSubAllB" },
        { SX_STAT_Q_SUB_END, "qSubEnd" },
        { SX_STAT_Q_SUB_END_B, "qSubEndB" },
        { SX_STAT_Q_SUB_AUTH, "qSubAuth" },
        { SX_STAT_Q_SUB_DUPLICATE, "qSubDuplicate" },
        { SX_STAT_Q_SUB_PROHIBITED, "qSubProhibited" },
        { SX_STAT_MSG_SENT, "msgSent" },
        { SX_STAT_MSG_RECV, "msgRecv" },
        { SX_STAT_MSG_RECV_GET, "msgRecvGet" },
        { SX_STAT_MSG_GET, "msgGet" },
        { SX_STAT_MSG_GET_NO_MSG, "msgGetNoMsg" },
        { SX_STAT_MSG_EXPIRED, "msgExpired" },
        { SX_STAT_MSG_SENT_NTF, "msgSentNtf" },
        { SX_STAT_MSG_RECV_NTF, "msgRecvNtf" },
        { SX_STAT_MSG_NTFS, "msgNtfs" },
        { SX_STAT_MSG_NTFS_B, "msgNtfsB" },
        { SX_STAT_MSG_NTF_EXPIRED, "msgNtfExpired" },
        { SX_STAT_Q_COUNT, "qCount" },
        { SX_STAT_NTF_COUNT, "ntfCount" },
        { SX_STAT_P_FWDS_RECV, "pMsgFwdsRecv" },
    };
    struct sx_wr *out = call->out;
    struct sx_report r;
    char time[SX_TIME_TEXT];

    sx_ops_report(call->c->ops, &r);
    sx_time_text(r.s.from_ms, time);
    sx_say(out, "fromTime: %s", time);
    for (size_t i = 0; i < SX_COUNT(rows); i++)
        say_counter(out, &r, (enum sx_stat)rows[i].stat, rows[i].name);
    sx_say(out, "notifiers: %" PRIu64, r.s.notifiers);
    sx_say(out, "msgCount: %" PRIu64, r.s.messages);
    say_proxy(out, &r, SX_STAT_P_RELAYS_REQUESTS, "pRelays");
    say_proxy(out, &r, SX_STAT_P_RELAYS_OWN_REQUESTS, "pRelaysOwn");
    say_proxy(out, &r, SX_STAT_P_FWDS_REQUESTS, "pMsgFwds");
    say_proxy(out, &r, SX_STAT_P_FWDS_OWN_REQUESTS, "pMsgFwdsOwn");
    sx_say(out, "rcvServiceCount: %" PRIu64, r.services[0]);
    sx_say(out, "ntfServiceCount: %" PRIu64, r.services[1]);
    sx_say(out, "rcvServiceQueuesCount: %" PRIu64, r.service_queues[0]);
    sx_say(out, "ntfServiceQueuesCount: %" PRIu64, r.service_queues[1]);
}

static void run_stats_rts(struct sx_call *call)
{
    struct sx_report r;

    sx_ops_report(call->c->ops, &r);
    sx_say(call->out, "there is no run-time system to report of; the process has used");
    sx_say(call->out, "processor: %" PRIu64 " s, of it in the system: %" PRIu64 " s",
           (r.cpu_user_us + r.cpu_system_us) / 1000000, r.cpu_system_us / 1000000);
    sx_say(call->out, "memory: %" PRIu64 " KiB", r.rss_bytes / 1024);
}

static void run_sockets(struct sx_call *call)
{
    struct sx_report r;

    sx_ops_report(call->c->ops, &r);
    for (unsigned i = 0; i < r.n_ports; i++) {
        sx_say(call->out, "Sockets for port %u:", r.port[i].number);
        sx_say(call->out, "accepted: %" PRIu64, r.port[i].accepted);
        sx_say(call->out, "closed: %" PRIu64, r.port[i].accepted - r.port[i].open);
        sx_say(call->out, "active: %" PRIu64, r.port[i].open);
    }
}

static void run_server_info(struct sx_call *call)
{
    struct sx_wr *out = call->out;
    struct sx_report r;

    sx_ops_report(call->c->ops, &r);
    sx_say(out, "Threads: %" PRIu64, r.threads);
    sx_say(out, "Clients: %" PRIu64, r.connections);
    sx_say(out, "SMP subscriptions: %" PRIu64, r.s.v[SX_STAT_SUBS]);
    sx_say(out, "SMP subscribed clients: %" PRIu64, r.s.v[SX_STAT_SUB_CLIENTS]);
    sx_say(out, "SMP subscribed services: %" PRIu64, r.s.v[SX_STAT_RCV_SERVICE_SUBS]);
    sx_say(out, "Ntf subscriptions: %" PRIu64, r.s.v[SX_STAT_NTF_SUBS]);
    sx_say(out, "Ntf subscribed clients: %" PRIu64, r.s.v[SX_STAT_NTF_SUB_CLIENTS]);
    sx_say(out, "Ntf subscribed services: %" PRIu64, r.s.v[SX_STAT_NTF_SERVICE_SUBS]);
}

static void run_threads(struct sx_call *call)
{
    struct sx_report r;

    sx_ops_report(call->c->ops, &r);
    sx_say(call->out, "Threads: %" PRIu64, r.threads);
    for (unsigned i = 0; i < r.n_loops; i++)
        sx_say(call->out, "loop %u: %" PRIu64 " connections, %" PRIu64 " us late", i,
               r.loop[i].connections, r.loop[i].late_us);
    sx_say(call->out, "operator: this one");
}

struct listing {
    struct sx_wr *to;
    unsigned n, loop;
    bool threads;
};

static void list_conns(struct sx_loop *l, void *arg)
{
    struct listing *list = arg;

    sx_srv_conns_list(l, list->to, &list->n);
}

static void run_clients(struct sx_call *call)
{
    struct listing list = { .to = call->out };

    sx_say(call->out, "clientId,sessionId,connected,age,idle,subscriptions");
    for (unsigned i = 0; i < call->c->n_loops; i++)
        sx_loop_call(&call->c->loops[i], list_conns, &list);
}

static void run_socket_threads(struct sx_call *call)
{
    char ports[8 * SX_PORTS_MAX] = ""; /* each thread serves all of them */
    struct sx_report r;
    size_t n = 0;

    sx_ops_report(call->c->ops, &r);
    for (unsigned i = 0; i < r.n_ports; i++)
        n += (size_t)snprintf(ports + n, sizeof(ports) - n, "%s%u", i > 0 ? "," : "",
                              r.port[i].number);
    for (unsigned i = 0; i < r.n_loops; i++)
        sx_say(call->out, "%s,loop %u,%" PRIu64 " connections", ports, i, r.loop[i].connections);
}

static void run_save(struct sx_call *call)
{
    char text[512] = "";
    struct sx_errtext err = { text, sizeof(text) };

    if (call->c->save == NULL) {
        sx_say(call->out, "error: this server keeps nothing on disk");
        return;
    }
    sx_say(call->out, "saving server state...");
    if (call->c->save(call->c->save_user, &err) == SIMPLEX_OK)
        sx_say(call->out, "server state saved!");
    else
        sx_say(call->out, "error: %s", text);
}

static void run_suspend(struct sx_call *call)
{
    sx_say(call->out,
           "error: not offered; stop the server, or set new_queues: off and send SIGHUP");
}

static void run_help(struct sx_call *call);

/* ---- commands ---- */

static const struct command {
    const char *name;
    enum sx_role role; /* at least */
    unsigned words;    /* behind the name */
    void (*run)(struct sx_call *call);
} commands[] = {
    { "stats", SX_ROLE_USER, 0, run_stats },
    { "stats-rts", SX_ROLE_NONE, 0, run_stats_rts },
    { "clients", SX_ROLE_ADMIN, 0, run_clients },
    { "sockets", SX_ROLE_USER, 0, run_sockets },
    { "socket-threads", SX_ROLE_ADMIN, 0, run_socket_threads },
    { "threads", SX_ROLE_ADMIN, 0, run_threads },
    { "server-info", SX_ROLE_USER, 0, run_server_info },
    { "status", SX_ROLE_USER, 1, sx_control_status },
    { "block", SX_ROLE_USER, 2, sx_control_block },
    { "unblock", SX_ROLE_USER, 1, sx_control_unblock },
    { "delete", SX_ROLE_ADMIN, 1, sx_control_delete },
    { "save", SX_ROLE_ADMIN, 0, run_save },
    { "suspend", SX_ROLE_ADMIN, 0, run_suspend },
    { "resume", SX_ROLE_ADMIN, 0, run_suspend },
    { "help", SX_ROLE_NONE, 0, run_help },
};

static void run_help(struct sx_call *call)
{
    sx_wr_text(call->out, "commands: auth, ");
    for (size_t i = 0; i < SX_COUNT(commands); i++) {
        if (commands[i].run != run_suspend) {
            sx_wr_text(call->out, commands[i].name);
            sx_wr_text(call->out, ", ");
        }
    }
    sx_say(call->out, "quit");
}

static unsigned split(simplex_bytes line, simplex_bytes word[WORDS_MAX])
{
    unsigned n = 0;
    size_t at = 0;

    while (n < WORDS_MAX && at < line.len) {
        const uint8_t *space = memchr(line.ptr + at, ' ', line.len - at);
        size_t end = space == NULL ? line.len : (size_t)(space - line.ptr);
        if (end > at)
            word[n++] = sx_bytes(line.ptr + at, end - at);
        at = end + 1;
    }
    return n;
}

static const struct command *find_command(simplex_bytes name)
{
    for (size_t i = 0; i < SX_COUNT(commands); i++)
        if (sx_bytes_eq(name, sx_str(commands[i].name)))
            return &commands[i];
    return NULL;
}

/* A line a second at most. */
static void log_refused(struct sx_control *c, const char *name)
{
    int64_t now = sx_mono_ms();

    if (c->refused_ms != 0 && now - c->refused_ms < REFUSED_LOG_MS)
        return;
    c->refused_ms = now;
    sx_log(SX_LOG_WARN, "control port: %s without the role for it", name);
}

int64_t sx_control_line(struct sx_control *c, struct sx_control_state *s, simplex_bytes line,
                        struct sx_wr *out)
{
    simplex_bytes word[WORDS_MAX] = { { NULL, 0 } };
    struct sx_call call = { .c = c, .role = s->role, .word = word + 1, .out = out };
    unsigned n = split(line, word);

    if (n == 0)
        return 0;
    bool is_quit = sx_bytes_eq(word[0], sx_str("quit"));
    bool is_auth = sx_bytes_eq(word[0], sx_str("auth"));
    if (n == 1 && is_quit)
        return -1;
    if (n == 2 && is_auth)
        return auth(c, s, word[1], out);
    const struct command *cmd = find_command(word[0]);
    if (cmd == NULL || n - 1 != cmd->words) {
        sx_say(out, "error: %s; 'help' for supported commands",
               cmd != NULL || is_quit || is_auth ? "wrong number of words" : "unknown command");
    } else if (s->role < cmd->role) {
        log_refused(c, cmd->name);
        sx_say(out, "AUTH");
    } else {
        if (cmd->role != SX_ROLE_NONE) /* every user of the machine may do that all day */
            sx_log(SX_LOG_INFO, "control port: %s", cmd->name);
        cmd->run(&call);
    }
    return 0;
}

/* ---- sessions ---- */

void sx_control_opened(struct sx_local_conn *conn)
{
    sx_say(sx_local_out(conn), "SMP server control port\n'help' for supported commands");
}

size_t sx_control_input(struct sx_local_conn *conn, simplex_bytes in)
{
    const uint8_t *lf = memchr(in.ptr, '\n', in.len);

    if (lf == NULL)
        return 0;
    size_t n = (size_t)(lf - in.ptr);
    bool cr = n > 0 && lf[-1] == '\r';
    int64_t delay = sx_control_line(sx_local_user(conn), sx_local_state(conn),
                                    sx_bytes(in.ptr, n - cr), sx_local_out(conn));
    if (delay < 0)
        sx_local_finish(conn);
    else if (delay > 0)
        sx_local_delay(conn, delay);
    return n + 1;
}
