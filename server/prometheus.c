/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of metrics with the same name follow each other and share the help of the first. No time
 * stands behind a value, unlike in the reference's file: the textfile collector of the node
 * exporter refuses it, and Prometheus would keep showing values of a server that is gone.
 */
#include "prometheus.h"

#include <stddef.h>
#include <stdio.h>

#include "stats_file.h"

enum type { COUNTER, GAUGE };
enum unit { ONE, MICROSECONDS, MILLISECONDS }; /* times are shown in seconds */

#define S(id) offsetof(struct sx_report, s.v[SX_STAT_##id])
#define R(field) offsetof(struct sx_report, field)
#define ALL "source=\"all\""
#define OWN "source=\"own\""

static const struct metric {
    const char *name; /* behind simplex_smp_ */
    size_t at;        /* of an uint64_t in struct sx_report */
    const char *help; /* NULL: a further row of the metric before */
    const char *labels;
    uint8_t type, unit;
} metrics[] = {
    { "queues_created", S(Q_CREATED), "Created queues" },
    { "queues_secured", S(Q_SECURED), "Secured queues" },
    { "queues_deleted", S(Q_DELETED), "Deleted queues", "type=\"all\"" },
    { "queues_deleted", S(Q_DELETED_NEW), NULL, "type=\"new\"" },
    { "queues_deleted", S(Q_DELETED_SECURED), NULL, "type=\"secured\"" },
    { "queues_blocked", S(Q_BLOCKED), "Blocked queues" },
    { "queues_deleted_batch", S(Q_DELETED_B), "Blocks of commands that delete queues" },
    { "queues_total1", S(Q_COUNT), "Queues", NULL, GAUGE },
    { "queues_total2", R(s.queues), "Queues (the reference counts them twice)", NULL, GAUGE },
    { "queues_daily", S(DAY_QUEUES), "Queues active today (UTC)", NULL, GAUGE },
    { "queues_weekly", S(WEEK_QUEUES), "Queues active since Monday", NULL, GAUGE },
    { "queues_monthly", S(MONTH_QUEUES), "Queues active this month", NULL, GAUGE },
    { "queues_notify_daily", S(DAY_NTFS), "Queues with notifying messages today", NULL, GAUGE },
    { "queues_notify_weekly", S(WEEK_NTFS), "The same since Monday", NULL, GAUGE },
    { "queues_notify_monthly", S(MONTH_NTFS), "The same this month", NULL, GAUGE },

    { "subscribtion_successes", S(Q_SUB), "Subscriptions to queues with messages" },
    { "subscribtion_successes_batch", S(Q_SUB_B), "Blocks of subscriptions" },
    { "subscribtion_end", S(Q_SUB_END), "Subscriptions that ended" },
    { "subscribtion_end_batch", S(Q_SUB_END_B), "Blocks that told of ends" },
    { "subscribtion_errors", S(Q_SUB_AUTH), "Subscriptions that failed", "type=\"auth\"" },
    { "subscribtion_errors", S(Q_SUB_DUPLICATE), NULL, "type=\"duplicate\"" },
    { "subscribtion_errors", S(Q_SUB_PROHIBITED), NULL, "type=\"prohibited\"" },

    { "messages_sent", S(MSG_SENT), "Messages sent to queues" },
    { "messages_sent_errors", S(MSG_SENT_AUTH), "Messages not taken", "type=\"auth\"" },
    { "messages_sent_errors", S(MSG_SENT_QUOTA), NULL, "type=\"quota\"" },
    { "messages_sent_errors", S(MSG_SENT_LARGE), NULL, "type=\"large\"" },
    { "messages_sent_errors", S(MSG_SENT_BLOCK), NULL, "type=\"block\"" },
    { "messages_received", S(MSG_RECV), "Messages acknowledged by recipients" },
    { "messages_expired", S(MSG_EXPIRED), "Messages that expired" },
    { "messages_total", R(s.messages), "Messages that wait", NULL, GAUGE },

    { "messages_notify_sent", S(MSG_SENT_NTF), "Messages sent with the notify flag" },
    { "messages_notify_received", S(MSG_RECV_NTF), "Messages received with the notify flag" },
    { "messages_notify_get_sent", S(MSG_GET), "Messages sent as an answer to GET" },
    { "messages_notify_get_received", S(MSG_RECV_GET), "Of them: acknowledged" },
    { "messages_notify_get_errors", S(MSG_GET_NO_MSG), "GET without a message", "type=\"nomsg\"" },
    { "messages_notify_get_errors", S(MSG_GET_AUTH), NULL, "type=\"auth\"" },
    { "messages_notify_get_errors", S(MSG_GET_DUPLICATE), NULL, "type=\"duplicate\"" },
    { "messages_notify_get_errors", S(MSG_GET_PROHIBITED), NULL, "type=\"prohibited\"" },
    { "queues_notify_created", S(NTF_CREATED), "Notifiers created" },
    { "queues_notify_deleted", S(NTF_DELETED), "Notifiers deleted" },
    { "queues_notify_deleted_batch", S(NTF_DELETED_B), "Blocks that delete notifiers" },
    { "queues_notify_total1", S(NTF_COUNT), "Notifications that wait", NULL, GAUGE },
    { "queues_notify_total2", R(s.notifiers), "Queues with a notifier", NULL, GAUGE },

    { "messages_ntf_successes", S(MSG_NTFS), "Notifications sent" },
    { "messages_ntf_successes_batch", S(MSG_NTFS_B), "Blocks of notifications sent" },
    { "messages_ntf_errors", S(MSG_NTF_NO_SUB), "Notifications not sent at once",
      "type=\"nosub\"" },
    { "messages_ntf_errors", S(MSG_NTF_LOST), NULL, "type=\"lost\"" },
    { "messages_ntf_errors", S(MSG_NTF_EXPIRED), NULL, "type=\"expired\"" },
    { "subscription_ntf_requests", S(NTF_SUB), "Subscriptions to notifications" },
    { "subscription_ntf_requests_batch", S(NTF_SUB_B), "Blocks of them" },
    { "subscribtion_ntf_errors", S(NTF_SUB_AUTH), "Subscriptions to notifications that failed",
      "type=\"auth\"" },
    { "subscribtion_ntf_errors", S(NTF_SUB_DUPLICATE), NULL, "type=\"duplicate\"" },

    { "relay_sessions_requests", S(P_RELAYS_REQUESTS), "Sessions with relays asked for", ALL },
    { "relay_sessions_requests", S(P_RELAYS_OWN_REQUESTS), NULL, OWN },
    { "relay_sessions_successes", S(P_RELAYS_SUCCESSES), "Sessions with relays given", ALL },
    { "relay_sessions_successes", S(P_RELAYS_OWN_SUCCESSES), NULL, OWN },
    { "relay_sessions_errors", S(P_RELAYS_CONNECT), "Sessions with relays that failed",
      ALL ",type=\"connect\"" },
    { "relay_sessions_errors", S(P_RELAYS_COMPAT), NULL, ALL ",type=\"compat\"" },
    { "relay_sessions_errors", S(P_RELAYS_OTHER), NULL, ALL ",type=\"other\"" },
    { "relay_sessions_errors", S(P_RELAYS_OWN_CONNECT), NULL, OWN ",type=\"connect\"" },
    { "relay_sessions_errors", S(P_RELAYS_OWN_COMPAT), NULL, OWN ",type=\"compat\"" },
    { "relay_sessions_errors", S(P_RELAYS_OWN_OTHER), NULL, OWN ",type=\"other\"" },
    { "relay_messages_requests", S(P_FWDS_REQUESTS), "Commands to forward to relays", ALL },
    { "relay_messages_requests", S(P_FWDS_OWN_REQUESTS), NULL, OWN },
    { "relay_messages_successes", S(P_FWDS_SUCCESSES), "Commands forwarded and answered", ALL },
    { "relay_messages_successes", S(P_FWDS_OWN_SUCCESSES), NULL, OWN },
    { "relay_messages_errors", S(P_FWDS_CONNECT), "Commands that could not be forwarded",
      ALL ",type=\"connect\"" },
    { "relay_messages_errors", S(P_FWDS_COMPAT), NULL, ALL ",type=\"compat\"" },
    { "relay_messages_errors", S(P_FWDS_OTHER), NULL, ALL ",type=\"other\"" },
    { "relay_messages_errors", S(P_FWDS_OWN_CONNECT), NULL, OWN ",type=\"connect\"" },
    { "relay_messages_errors", S(P_FWDS_OWN_COMPAT), NULL, OWN ",type=\"compat\"" },
    { "relay_messages_errors", S(P_FWDS_OWN_OTHER), NULL, OWN ",type=\"other\"" },
    { "relay_messages_received", S(P_FWDS_RECV), "Commands that came through a proxy" },

    { "rcv_services_count", R(services[0]), "Services of recipients", NULL, GAUGE },
    { "rcv_services_queues_count", R(service_queues[0]), "Queues of theirs", NULL, GAUGE },
    { "ntf_services_count", R(services[1]), "Services that notify", NULL, GAUGE },
    { "ntf_services_queues_count", R(service_queues[1]), "Notifiers of theirs", NULL, GAUGE },
    { "rcv_services_sub_msg_count", S(RCV_SUB_MSG),
      "Queues with messages when their service subscribed" },
    { "rcv_services_sub_duplicate_count", S(RCV_SUB_MSG_DUPLICATE),
      "Queues that were subscribed already then" },
#define SERVICE(role, p, sub, name)                                                               \
    { #role "_services_assoc_new", S(p##_ASSOC_NEW), "Queues that joined " name },                \
        { #role "_services_assoc_duplicate", S(p##_ASSOC_DUPLICATE), "Those that had before" },   \
        { #role "_services_assoc_updated", S(p##_ASSOC_UPDATED), "Those that had another" },      \
        { #role "_services_assoc_removed", S(p##_ASSOC_REMOVED), "Queues that left " name },      \
        { #role "_services_sub_count", S(sub##_COUNT), "Subscriptions of " name },                \
        { #role "_services_sub_duplicate", S(sub##_DUPLICATE), "Subscriptions that were there" }, \
        { #role "_services_sub_ok", S(sub##_OK), "Services that knew their queues" },             \
        { #role "_services_sub_more", S(sub##_OK) + 8 * SX_SUBS_MORE, "Services with more" },     \
        { #role "_services_sub_fewer", S(sub##_OK) + 8 * SX_SUBS_FEWER, "With fewer" },           \
        { #role "_services_sub_diff", S(sub##_OK) + 8 * SX_SUBS_DIFF, "With others" },            \
        { #role "_services_sub_more_total", S(sub##_OK) + 8 * SX_SUBS_MORE_TOTAL,                 \
          "Queues that services did not know of" },                                               \
        { #role "_services_sub_fewer_total", S(sub##_OK) + 8 * SX_SUBS_FEWER_TOTAL,               \
          "Queues that services believed to have" },                                              \
        { #role "_services_sub_queues", S(sub##_QUEUES), "Queues subscribed by " name, NULL,      \
          GAUGE },                                                                                \
    {                                                                                             \
#role "_services_sub_end", S(sub##_END), "Ended subscriptions of " name, NULL, GAUGE      \
    }
    SERVICE(rcv, RCV, RCV_SUB, "a service of a recipient"),
    SERVICE(ntf, NTF, NTF_SRV_SUB, "a service that notifies"),

    { "names_reqs", S(RSLV_REQS), "Names asked for" },
    { "names_success", S(RSLV_SUCC), "Names resolved" },
    { "names_not_found", S(RSLV_NOT_FOUND), "Names not found" },
    { "names_resolver_errs", S(RSLV_ERRS), "Failures of the resolver" },
    { "names_disabled", S(RSLV_DISABLED), "Names asked for without a resolver" },

    { "threads_total", R(threads), "Threads", NULL, GAUGE },
    { "clients_total", R(connections), "Connections of clients", NULL, GAUGE },
    { "delivered_total", S(DELIVERED), "Subscriptions with a message that waits for its ACK", NULL,
      GAUGE },
    { "delivered_clients_total", S(DELIVERED_CLIENTS), "Clients with such subscriptions", NULL,
      GAUGE },
    { "subscribtion_total", S(SUBS), "Queues subscribed", NULL, GAUGE },
    { "subscribtion_clients_total", S(SUB_CLIENTS), "Clients with subscriptions", NULL, GAUGE },
    { "subscribtion_services_total", S(RCV_SERVICE_SUBS), "Services subscribed", NULL, GAUGE },
    { "subscribtion_service_subs_total", R(service_subscribed[0]), "Queues subscribed by services",
      NULL, GAUGE },
    { "subscription_ntf_total", S(NTF_SUBS), "Notifiers subscribed", NULL, GAUGE },
    { "subscription_ntf_clients_total", S(NTF_SUB_CLIENTS), "Clients with such subscriptions", NULL,
      GAUGE },
    { "subscribtion_nts_services_total", S(NTF_SERVICE_SUBS), "Services that notify, subscribed",
      NULL, GAUGE },
    { "subscription_ntf_service_subs_total", R(service_subscribed[1]),
      "Notifiers subscribed by services", NULL, GAUGE },
    { "loaded_queues_queue_count", R(s.queues), "Queues in memory", NULL, GAUGE },
    { "loaded_queues_ntf_count", R(s.notifiers), "Notifiers in memory", NULL, GAUGE },

    /* ours */
    { "services_recorded", R(services_recorded), "Services in the store log", NULL, GAUGE },
    { "services_forgotten_total", R(services_forgotten), "Services that made room" },
    { "services_refused_total", R(services_refused), "Queues that no new service could take" },
    { "relays_total", R(relays), "Relays remembered, connected or failed", NULL, GAUGE },
    { "relays_connecting", R(relays_connecting), "Of them: being connected to", NULL, GAUGE },
    { "relays_hurried_total", R(relays_hurried),
      "Relays given up early because others needed the place" },
    { "relay_commands_pending", R(relay_commands_pending), "PRXY and PFWD that wait for relays",
      NULL, GAUGE },
    { "relay_commands_refused_total", R(relay_commands_refused),
      "PRXY and PFWD that found no place" },
    { "web_connections", R(browsers), "Browsers at the site", NULL, GAUGE },
    { "web_refused_total", R(browsers_refused), "Browsers that found the site too busy" },
    { "start_time_seconds", R(started_ms), "When the server was started, since 1970", NULL, GAUGE,
      MILLISECONDS },
    { "resident_memory_bytes", R(rss_bytes), "Memory of the process", NULL, GAUGE },
    { "cpu_seconds_total", R(cpu_user_us), "Processor time used", "mode=\"user\"", COUNTER,
      MICROSECONDS },
    { "cpu_seconds_total", R(cpu_system_us), NULL, "mode=\"system\"", COUNTER, MICROSECONDS },
};

static const struct metric persistence[] = {
    { "commits_total", R(commits), "Times that changes were made durable" },
    { "commit_failures_total", R(commit_failures), "Times that this failed" },
    { "commit_seconds_total", R(commit_total_us), "Time it took", NULL, COUNTER, MICROSECONDS },
    { "journal_bytes", R(journal_bytes), "Bytes of messages on disk", "state=\"all\"", GAUGE },
    { "journal_bytes", R(journal_live_bytes), NULL, "state=\"live\"", GAUGE },
    { "store_log_bytes", R(log_bytes), "Bytes of the store log", NULL, GAUGE },
    { "store_log_compacted_bytes", R(log_base_bytes), "After it was last compacted", NULL, GAUGE },
    { "store_log_compactions_total", R(compactions), "Compactions since the start" },
    { "store_log_compaction_failures_total", R(compaction_failures), "Of them: given up" },
    { "store_log_compaction_seconds_total", R(compaction_ms), "Time they took", NULL, COUNTER,
      MILLISECONDS },
};

static void write_value(struct sx_wr *w, uint64_t v, unsigned unit)
{
    char text[48];

    switch (unit) {
    case MICROSECONDS:
        snprintf(text, sizeof(text), " %" PRIu64 ".%06u\n", v / 1000000, (unsigned)(v % 1000000));
        break;
    case MILLISECONDS:
        snprintf(text, sizeof(text), " %" PRIu64 ".%03u\n", v / 1000, (unsigned)(v % 1000));
        break;
    default:
        snprintf(text, sizeof(text), " %" PRIu64 "\n", v);
    }
    sx_wr_text(w, text);
}

static void write_name(struct sx_wr *w, const char *before, const char *name, const char *behind)
{
    sx_wr_text(w, before);
    sx_wr_text(w, "simplex_smp_");
    sx_wr_text(w, name);
    sx_wr_text(w, behind);
}

static void write_head(struct sx_wr *w, const char *name, const char *help, unsigned type)
{
    write_name(w, "# HELP ", name, " ");
    sx_wr_text(w, help);
    write_name(w, "\n# TYPE ", name, type == COUNTER ? " counter\n" : " gauge\n");
}

static void write_sample(struct sx_wr *w, const char *name, const char *labels, uint64_t v,
                         unsigned unit)
{
    write_name(w, "", name, "");
    if (labels != NULL) {
        sx_wr_text(w, "{");
        sx_wr_text(w, labels);
        sx_wr_text(w, "}");
    }
    write_value(w, v, unit);
}

static void write_metrics(struct sx_wr *w, const struct sx_report *r, const struct metric *m,
                          size_t n)
{
    for (; n > 0; n--, m++) {
        uint64_t v;
        memcpy(&v, (const uint8_t *)r + m->at, sizeof(v));
        if (m->help != NULL)
            write_head(w, m->name, m->help, m->type);
        write_sample(w, m->name, m->labels, v, m->unit);
    }
}

static void write_sockets(struct sx_wr *w, const struct sx_report *r)
{
    static const struct {
        const char *name, *help;
    } rows[] = {
        { "sockets_accepted", "Accepted sockets" },
        { "sockets_closed", "Closed sockets" },
        { "sockets_active", "Open sockets" },
    };
    char label[32];

    for (size_t what = 0; what < SX_COUNT(rows); what++) {
        write_head(w, rows[what].name, rows[what].help, GAUGE);
        for (unsigned i = 0; i < r->n_ports; i++) {
            uint64_t accepted = r->port[i].accepted, open = r->port[i].open;
            uint64_t v = what == 0 ? accepted : what == 1 ? accepted - open : open;
            snprintf(label, sizeof(label), "port=\"%u\"", r->port[i].number);
            write_sample(w, rows[what].name, label, v, ONE);
        }
    }
}

static void write_loops(struct sx_wr *w, const struct sx_report *r)
{
    char label[32];

    for (unsigned what = 0; what < 3; what++) {
        static const char *const names[] = { "loop_connections", "loop_late_seconds",
                                             "loop_late_seconds_total" };
        static const char *const helps[] = {
            "Connections of a thread", "How late the last timer of a thread was",
            "How late all timers of a thread were; one is due every 250 ms"
        };
        write_head(w, names[what], helps[what], what == 2 ? COUNTER : GAUGE);
        for (unsigned i = 0; i < r->n_loops; i++) {
            uint64_t v = what == 0   ? r->loop[i].connections
                         : what == 1 ? r->loop[i].late_us
                                     : r->loop[i].late_total_us;
            snprintf(label, sizeof(label), "loop=\"%u\"", i);
            write_sample(w, names[what], label, v, what == 0 ? ONE : MICROSECONDS);
        }
    }
}

/* The name is the reference's, the steps are fewer. */
static void write_ack_times(struct sx_wr *w, const struct sx_report *r)
{
    static const char name[] = "delivery_ack_confirmed_time";
    uint64_t sum = 0;
    char label[32];

    write_name(w, "# HELP ", name, " Seconds from the delivery of a message to its ACK\n");
    write_name(w, "# TYPE ", name, " histogram\n");
    for (unsigned i = 0; i < SX_ACK_TIMES; i++) {
        sum += r->s.v[SX_STAT_ACK_TIME + i];
        if (i < SX_ACK_TIMES - 1)
            snprintf(label, sizeof(label), "le=\"%u\"", sx_ack_times[i]);
        else
            snprintf(label, sizeof(label), "le=\"+Inf\"");
        write_sample(w, "delivery_ack_confirmed_time_bucket", label, sum, ONE);
    }
    write_sample(w, "delivery_ack_confirmed_time_sum", NULL, r->s.v[SX_STAT_ACK_TIME_SUM], ONE);
    write_sample(w, "delivery_ack_confirmed_time_count", NULL, sum, ONE);
}

static const char *const periods[SX_UNACKED_AGES] = { "period=\"0-60\"", "period=\"60-300\"",
                                                      "period=\"300-1200\"", "period=\"1200-3600\"",
                                                      "period=\"3600+\"" };

/* The same in the reference's periods, each by itself; the times above end where they do. */
static void write_ack_periods(struct sx_wr *w, const struct sx_report *r)
{
    static const char name[] = "delivery_ack_confirmed_count";
    unsigned i = 0;

    write_head(w, name, "Messages acknowledged so many seconds after their delivery", COUNTER);
    for (unsigned k = 0; k < SX_UNACKED_AGES; k++) {
        bool last = k == SX_UNACKED_AGES - 1;
        uint64_t sum = 0;
        for (; i < SX_ACK_TIMES; i++) {
            if (!last && (i == SX_ACK_TIMES - 1 || sx_ack_times[i] > sx_unacked_ages[k]))
                break;
            sum += r->s.v[SX_STAT_ACK_TIME + i];
        }
        write_sample(w, name, periods[k], sum, ONE);
    }
}

/* What waits now. Earlier releases of the reference have the histogram, later ones the periods;
 * both have the longest time. */
static void write_unacked(struct sx_wr *w, const struct sx_report *r)
{
    static const char count[] = "delivery_ack_pending_count", time[] = "delivery_ack_time";
    uint64_t sum = 0;
    char label[32];

    write_head(w, count, "Messages delivered so many seconds ago and not acknowledged yet", GAUGE);
    for (unsigned i = 0; i < SX_UNACKED_AGES; i++)
        write_sample(w, count, periods[i], r->s.v[SX_STAT_UNACKED + i], ONE);
    write_name(w, "# HELP ", time, " Seconds since the delivery of what waits for its ACK now\n");
    write_name(w, "# TYPE ", time, " histogram\n");
    for (unsigned i = 0; i < SX_UNACKED_AGES - 1; i++) {
        sum += r->s.v[SX_STAT_UNACKED + i];
        snprintf(label, sizeof(label), "le=\"%u\"", sx_unacked_ages[i]);
        write_sample(w, "delivery_ack_time_bucket", label, sum, ONE);
    }
    write_sample(w, "delivery_ack_time_bucket", "le=\"+Inf\"", r->s.unacked, ONE);
    write_sample(w, "delivery_ack_time_sum", NULL, r->s.unacked_s, ONE);
    write_sample(w, "delivery_ack_time_count", NULL, r->s.unacked, ONE);
    write_head(w, "delivery_ack_time_max", "The longest of these times", GAUGE);
    write_sample(w, "delivery_ack_time_max", NULL, r->s.unacked_max_s, ONE);
}

void sx_prometheus(struct sx_wr *to, const struct sx_report *r)
{
    char time[SX_TIME_TEXT];

    sx_wr_text(to, "# Recorded at: ");
    sx_time_text(r->s.at_ms, time);
    sx_wr_text(to, time);
    sx_wr_text(to, "\n# Stats from: ");
    sx_time_text(r->s.from_ms, time);
    sx_wr_text(to, time);
    sx_wr_text(to, "\n");
    write_metrics(to, r, metrics, SX_COUNT(metrics));
    write_head(to, "info", "The program", GAUGE);
    write_sample(to, "info", "version=\"" SX_VERSION "\",program=\"libsimplex\"", 1, ONE);
    write_sockets(to, r);
    write_loops(to, r);
    write_ack_times(to, r);
    write_ack_periods(to, r);
    write_unacked(to, r);
    if (r->persistent)
        write_metrics(to, r, persistence, SX_COUNT(persistence));
}
