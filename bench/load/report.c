/* SPDX-License-Identifier: Apache-2.0 */
/* What a run found, for people and for programs. */
#include "bench/load/load.h"

const char *load_mode_name(enum load_mode m)
{
    static const char *const names[] = { "cycle", "idle", "storm", "subscribe" };

    return names[m];
}

static const struct row { /* the latencies */
    const char *text, *name;
    size_t at;
} rows[] = {
    { "connect: TCP, TLS, handshake", "connect", offsetof(struct load_result, connect) },
    { "SEND -> OK", "send", offsetof(struct load_result, send) },
    { "SEND -> MSG", "deliver", offsetof(struct load_result, deliver) },
    { "ACK -> OK", "ack", offsetof(struct load_result, ack) },
    { "SUB -> OK", "sub", offsetof(struct load_result, sub) },
    { "PING -> PONG", "ping", offsetof(struct load_result, ping) },
};

static const struct {
    const char *name;
    double share; /* 1: the maximum */
} points[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1 } };

static const struct hist *hist_of(const struct load_result *r, const struct row *row)
{
    return (const struct hist *)(const void *)((const char *)r + row->at);
}

static uint64_t point(const struct hist *h, size_t i)
{
    return points[i].share < 1 ? hist_at(h, points[i].share) : h->max;
}

static const char *unit(enum load_mode m)
{
    static const char *const units[] = { "cycles", "connections held", "connections",
                                         "subscriptions" };

    return units[m];
}

static double rate(const struct load_result *r)
{
    return r->seconds > 0 ? (double)r->done / r->seconds : 0;
}

static void print_latencies(FILE *f, const struct load_result *r)
{
    fprintf(f, "%-30s %9s", "latency, ms", "number");
    for (size_t i = 0; i < SX_COUNT(points); i++)
        fprintf(f, " %9s", points[i].name);
    fputc('\n', f);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        const struct hist *h = hist_of(r, &rows[i]);
        if (h->n == 0)
            continue;
        fprintf(f, "  %-28s %9" PRIu64, rows[i].text, h->n);
        for (size_t k = 0; k < SX_COUNT(points); k++)
            fprintf(f, " %9.2f", (double)point(h, k) / 1e3);
        fputc('\n', f);
    }
}

void load_print(FILE *f, const struct load_options *o, const struct load_result *r)
{
    fprintf(f, "%u connections made (SMP %u)", r->ready, r->version);
    if (o->mode != LOAD_STORM)
        fprintf(f, " in %.1f s", r->connect_seconds);
    if (o->mode == LOAD_IDLE)
        fprintf(f, ", held for %.1f s\n", r->seconds);
    else
        fprintf(f, "\n%" PRIu64 " %s in %.1f s: %.0f a second\n", r->done, unit(o->mode),
                r->seconds, rate(r));
    print_latencies(f, r);
    fprintf(f, "errors: %" PRIu64 ", commands or messages without an answer: %" PRIu64 "\n",
            r->errors.total, r->unanswered);
    for (size_t i = 0; i < r->errors.n; i++)
        fprintf(f, "  %9" PRIu64 "  %s\n", r->errors.kind[i].n, r->errors.kind[i].kind);
}

/* The texts are ours or a server's: what JSON does not take becomes '?'. */
static void json_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s != 0; s++)
        fputc(*s < ' ' || *s > '~' || *s == '"' || *s == '\\' ? '?' : *s, f);
    fputc('"', f);
}

void load_print_json(FILE *f, const struct load_options *o, const struct load_result *r)
{
    fprintf(
        f,
        "{\"mode\":\"%s\",\"connections\":%u,\"queues\":%u,\"threads\":%u,\"window\":%u,"
        "\"in_flight\":%u,\"burst\":%u,\"ready\":%u,\"smp_version\":%u,\"connect_seconds\":%.3f,"
        "\"prepare_seconds\":%.3f,\"seconds\":%.3f,\"done\":%" PRIu64
        ",\"per_second\":%.1f,\"unanswered\":%" PRIu64,
        load_mode_name(o->mode), o->connections, o->queues, o->threads, o->window, o->in_flight,
        o->burst, r->ready, r->version, r->connect_seconds, r->prepare_seconds, r->seconds, r->done,
        rate(r), r->unanswered);
    fputs(",\"latency_us\":{", f);
    for (size_t i = 0, n = 0; i < SX_COUNT(rows); i++) {
        const struct hist *h = hist_of(r, &rows[i]);
        if (h->n == 0)
            continue;
        fprintf(f, "%s\"%s\":{\"n\":%" PRIu64, n++ > 0 ? "," : "", rows[i].name, h->n);
        for (size_t k = 0; k < SX_COUNT(points); k++)
            fprintf(f, ",\"%s\":%" PRIu64, points[k].name, point(h, k));
        fputc('}', f);
    }
    fprintf(f, "},\"errors\":%" PRIu64 ",\"errors_by_kind\":{", r->errors.total);
    for (size_t i = 0; i < r->errors.n; i++) {
        fputs(i > 0 ? "," : "", f);
        json_text(f, r->errors.kind[i].kind);
        fprintf(f, ":%" PRIu64, r->errors.kind[i].n);
    }
    fputs("}}\n", f);
}
