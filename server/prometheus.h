/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server tells Prometheus: text exposition format, the names of the reference where it has
 * one. Counters are of the time since the daily line was written, as everywhere (stats.h).
 */
#ifndef SX_PROMETHEUS_H
#define SX_PROMETHEUS_H

#include "stats.h"

#define SX_METRICS_FILE "smp-server-metrics.txt"
#define SX_METRICS_MAX ((size_t)1 << 20) /* bytes; about 40 KB with two threads */
#define SX_LOOPS_MAX 64
#define SX_PORTS_MAX 16

struct sx_report {
    struct sx_snapshot s;
    uint64_t services[2], service_queues[2], service_subscribed[2]; /* struct sx_services_count */
    uint64_t browsers, browsers_refused;
    uint64_t relays_connecting, relays_hurried, relay_commands_pending, relay_commands_refused;
    uint64_t services_recorded, services_forgotten, services_refused;
    /* the process */
    uint64_t started_ms;
    uint64_t threads, connections, relays;
    uint64_t rss_bytes, cpu_user_us, cpu_system_us;
    unsigned n_loops;
    struct {
        uint64_t connections;
        uint64_t late_us, late_total_us; /* its timers: the last one, all of them */
    } loop[SX_LOOPS_MAX];
    unsigned n_ports;
    struct {
        uint16_t number;
        uint64_t accepted, open;
    } port[SX_PORTS_MAX];
    /* persistence */
    bool persistent;
    uint64_t commits, commit_failures, commit_total_us;
    uint64_t journal_bytes, journal_live_bytes;
    uint64_t log_bytes, log_base_bytes; /* of queues; after the last compaction */
    uint64_t compactions, compaction_failures, compaction_ms;
};

void sx_prometheus(struct sx_wr *to, const struct sx_report *r);

#endif
