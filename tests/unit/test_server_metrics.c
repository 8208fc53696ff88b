/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics, their answers over HTTP, and the dashboard that shows them. */
#include "support/vec.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "control.h"
#include "metrics_http.h"
#include "prometheus.h"

static struct sx_report sample(void)
{
    struct sx_report r = { .started_ms = 1700000000123, .n_loops = 2, .persistent = true };

    for (unsigned i = 0; i < SX_STAT_COUNT; i++)
        r.s.v[i] = 1000 + i;
    for (unsigned i = 0; i <= SX_ACK_TIMES; i++)
        r.s.v[SX_STAT_ACK_TIME + i] = i + 1;
    for (unsigned i = 0; i <= 12; i++)
        r.s.v[SX_STAT_DELIVERED + i] = 11 + i;
    for (unsigned i = 0; i < SX_UNACKED_AGES; i++)
        r.s.v[SX_STAT_UNACKED + i] = 30 + i;
    r.s.unacked = 160;
    r.s.unacked_s = 161;
    r.s.unacked_max_s = 162;
    r.s.at_ms = 1700000060000;
    r.s.from_ms = 1700000000000;
    r.s.queues = 501;
    r.s.messages = 502;
    r.s.notifiers = 503;
    r.services[0] = 504;
    r.service_subscribed[0] = 2;
    r.cpu_user_us = 12000034;
    r.n_ports = 2;
    r.port[0].number = 5223;
    r.port[0].accepted = 50;
    r.port[0].open = 20;
    r.port[1].number = 443;
    r.port[1].accepted = 7;
    r.loop[1].late_us = 1500000;
    r.journal_live_bytes = 7;
    r.log_bytes = 9000;
    r.log_base_bytes = 4000;
    r.compactions = 2;
    r.compaction_failures = 1;
    r.compaction_ms = 1500;
    r.services_recorded = 3;
    r.services_forgotten = 4;
    r.services_refused = 5;
    return r;
}

static char *expose(const struct sx_report *r)
{
    struct sx_wr w;

    sx_wr_init(&w, SX_METRICS_MAX);
    sx_prometheus(&w, r);
    assert_false(w.bad);
    char *text = calloc(1, w.len + 1);
    assert_non_null(text);
    memcpy(text, w.p, w.len);
    assert_int_equal(strlen(text), w.len);
    sx_wr_free(&w);
    return text;
}

/* ---- the text format ---- */

static size_t name_len(const char *s)
{
    size_t n = 0;

    while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == ':')
        n++;
    return isdigit((unsigned char)s[0]) ? 0 : n;
}

/* {name="value",...}; values without escapes. Returns what follows. */
static const char *skip_labels(const char *s)
{
    if (*s != '{')
        return s;
    do {
        s++;
        size_t n = name_len(s);
        assert_true(n > 0);
        s += n;
        assert_memory_equal(s, "=\"", 2);
        s += 2;
        s += strcspn(s, "\"\\\n");
        assert_int_equal(*s, '"');
        s++;
    } while (*s == ',');
    assert_int_equal(*s, '}');
    return s + 1;
}

struct seen {
    char line[300][160];
    unsigned n;
};

static void see_once(struct seen *all, const char *s, size_t len)
{
    assert_true(len < sizeof(all->line[0]) && all->n < SX_COUNT(all->line));
    for (unsigned i = 0; i < all->n; i++) {
        if (strlen(all->line[i]) == len && memcmp(all->line[i], s, len) == 0)
            fail_msg("twice: %s", all->line[i]);
    }
    memcpy(all->line[all->n], s, len);
    all->line[all->n++][len] = 0;
}

/* Every sample belongs to the metric whose HELP and TYPE stand before it; nothing comes twice. */
static void assert_exposition(const char *text)
{
    static struct seen heads, samples;
    char help[100] = "", type[100] = "";
    bool histogram = false;

    heads.n = samples.n = 0;
    while (*text != 0) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        if (strncmp(text, "# HELP ", 7) == 0) {
            see_once(&heads, text + 7, name_len(text + 7));
            snprintf(help, sizeof(help), "%.*s", (int)name_len(text + 7), text + 7);
            assert_true(strlen(help) > 0 && text[7 + strlen(help)] == ' ');
        } else if (strncmp(text, "# TYPE ", 7) == 0) {
            snprintf(type, sizeof(type), "%.*s", (int)name_len(text + 7), text + 7);
            assert_string_equal(type, help);
            const char *kind = text + 7 + strlen(type);
            histogram = strncmp(kind, " histogram\n", 11) == 0;
            assert_true(histogram || strncmp(kind, " counter\n", 9) == 0 ||
                        strncmp(kind, " gauge\n", 7) == 0);
        } else if (*text != '#') {
            size_t n = name_len(text);
            size_t len = strlen(type);
            assert_true(n >= len && memcmp(text, type, len) == 0);
            assert_true(n == len ? !histogram : histogram && text[len] == '_');
            const char *value = skip_labels(text + n);
            see_once(&samples, text, (size_t)(value - text));
            assert_int_equal(*value, ' ');
            char *rest;
            strtod(value + 1, &rest);
            assert_true(rest > value + 1 && rest == end);
        }
        text = end + 1;
    }
    assert_true(heads.n > 90);
}

static void writes_the_text_format(void **state)
{
    struct sx_report r = sample();

    (void)state;
    char *text = expose(&r);
    assert_exposition(text);
    free(text);
    r = (struct sx_report){ .n_loops = 0 };
    text = expose(&r);
    assert_exposition(text);
    assert_null(strstr(text, "journal"));
    free(text);
}

static void assert_sample(const char *text, const char *line)
{
    char all[200];

    snprintf(all, sizeof(all), "\nsimplex_smp_%s\n", line);
    if (strstr(text, all) == NULL)
        fail_msg("not there: %s", line);
}

static void shows_every_counter(void **state)
{
    struct sx_report r = sample();

    (void)state;
    char *text = expose(&r);
    for (unsigned i = 0; i < SX_STAT_ACK_TIME; i++) {
        char value[16];
        snprintf(value, sizeof(value), " %u\n", 1000 + i);
        if (strstr(text, value) == NULL)
            fail_msg("counter %u is not shown", i);
    }
    free(text);
}

static void uses_the_names_of_the_reference(void **state)
{
    struct sx_report r = sample();
    char line[100];

    (void)state;
    char *text = expose(&r);
    static const struct {
        const char *name;
        unsigned stat;
    } some[] = {
        { "queues_created", SX_STAT_Q_CREATED },
        { "queues_deleted{type=\"secured\"}", SX_STAT_Q_DELETED_SECURED },
        { "subscribtion_errors{type=\"duplicate\"}", SX_STAT_Q_SUB_DUPLICATE },
        { "messages_sent", SX_STAT_MSG_SENT },
        { "messages_sent_errors{type=\"block\"}", SX_STAT_MSG_SENT_BLOCK },
        { "messages_ntf_errors{type=\"lost\"}", SX_STAT_MSG_NTF_LOST },
        { "relay_messages_errors{source=\"own\",type=\"compat\"}", SX_STAT_P_FWDS_OWN_COMPAT },
        { "ntf_services_assoc_updated", SX_STAT_NTF_ASSOC_UPDATED },
        { "rcv_services_sub_end", SX_STAT_RCV_SUB_END },
    };
    for (size_t i = 0; i < SX_COUNT(some); i++) {
        snprintf(line, sizeof(line), "%s %u", some[i].name, 1000 + some[i].stat);
        assert_sample(text, line);
    }
    assert_sample(text, "delivery_ack_confirmed_time_bucket{le=\"1\"} 1");
    assert_sample(text, "delivery_ack_confirmed_time_bucket{le=\"10\"} 6");
    assert_sample(text, "delivery_ack_confirmed_time_bucket{le=\"+Inf\"} 45");
    assert_sample(text, "delivery_ack_confirmed_time_count 45");
    assert_sample(text, "delivery_ack_confirmed_time_sum 10");
    assert_sample(text, "delivery_ack_confirmed_count{period=\"0-60\"} 15");
    assert_sample(text, "delivery_ack_confirmed_count{period=\"60-300\"} 6");
    assert_sample(text, "delivery_ack_confirmed_count{period=\"300-1200\"} 7");
    assert_sample(text, "delivery_ack_confirmed_count{period=\"1200-3600\"} 8");
    assert_sample(text, "delivery_ack_confirmed_count{period=\"3600+\"} 9");
    assert_sample(text, "delivery_ack_pending_count{period=\"0-60\"} 30");
    assert_sample(text, "delivery_ack_pending_count{period=\"3600+\"} 34");
    assert_sample(text, "delivery_ack_time_bucket{le=\"60\"} 30");
    assert_sample(text, "delivery_ack_time_bucket{le=\"3600\"} 126");
    assert_sample(text, "delivery_ack_time_bucket{le=\"+Inf\"} 160");
    assert_sample(text, "delivery_ack_time_sum 161");
    assert_sample(text, "delivery_ack_time_count 160");
    assert_sample(text, "delivery_ack_time_max 162");
    assert_sample(text, "delivered_total 11");
    assert_sample(text, "delivered_clients_total 12");
    assert_sample(text, "rcv_services_sub_ok 13");
    assert_sample(text, "rcv_services_sub_fewer_total 18");
    assert_sample(text, "ntf_services_sub_ok 19");
    assert_sample(text, "ntf_services_sub_diff 22");
    assert_sample(text, "queues_total2 501");
    assert_sample(text, "messages_total 502");
    assert_sample(text, "subscribtion_service_subs_total 2");
    assert_sample(text, "sockets_accepted{port=\"5223\"} 50");
    assert_sample(text, "sockets_accepted{port=\"443\"} 7");
    assert_sample(text, "sockets_closed{port=\"5223\"} 30");
    assert_sample(text, "sockets_active{port=\"5223\"} 20");
    assert_sample(text, "sockets_active{port=\"443\"} 0");
    assert_sample(text, "cpu_seconds_total{mode=\"user\"} 12.000034");
    assert_sample(text, "start_time_seconds 1700000000.123");
    assert_sample(text, "loop_late_seconds{loop=\"1\"} 1.500000");
    assert_sample(text, "journal_bytes{state=\"live\"} 7");
    assert_sample(text, "store_log_bytes 9000");
    assert_sample(text, "store_log_compacted_bytes 4000");
    assert_sample(text, "store_log_compactions_total 2");
    assert_sample(text, "store_log_compaction_failures_total 1");
    assert_sample(text, "store_log_compaction_seconds_total 1.500");
    assert_sample(text, "services_recorded 3");
    assert_sample(text, "services_forgotten_total 4");
    assert_sample(text, "services_refused_total 5");
    free(text);
}

/* ---- the dashboard ---- */

static void collect(const cJSON *json, char **text)
{
    const cJSON *item;

    if (cJSON_IsString(json) && json->string != NULL && strcmp(json->string, "expr") == 0) {
        char *more = realloc(*text, strlen(*text) + strlen(json->valuestring) + 2);
        assert_non_null(more);
        strcat(strcat(more, " "), json->valuestring);
        *text = more;
    }
    cJSON_ArrayForEach(item, json) collect(item, text);
}

static void shows_on_the_dashboard_only_what_is_exposed(void **state)
{
    struct sx_report r = sample();
    char *exprs = calloc(1, 1), wanted[200];
    unsigned n = 0;

    (void)state;
    char *text = expose(&r);
    cJSON *json = vec_load("../../packaging/grafana/smp-server.json");
    collect(json, &exprs);
    for (const char *p = exprs; (p = strstr(p, "simplex_smp_")) != NULL; n++) {
        size_t len = name_len(p);
        char labelled[200]; /* of a histogram */
        snprintf(wanted, sizeof(wanted), "\n# TYPE %.*s ", (int)len, p);
        snprintf(labelled, sizeof(labelled), "\n%.*s{le=", (int)len, p);
        if (strstr(text, wanted) == NULL && strstr(text, labelled) == NULL)
            fail_msg("the dashboard has %.*s, the server does not", (int)len, p);
        p += len;
    }
    assert_true(n > 30);
    cJSON_Delete(json);
    free(exprs);
    free(text);
}

/* ---- HTTP ---- */

static enum sx_http_result parse(const char *text)
{
    bool head;

    return sx_http_parse(sx_str(text), &head);
}

static void answers_http_requests(void **state)
{
    static const struct {
        const char *request;
        enum sx_http_result want;
    } cases[] = {
        { "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9101\r\n\r\n", SX_HTTP_METRICS },
        { "GET /metrics HTTP/1.0\r\n\r\n", SX_HTTP_METRICS },
        { "HEAD /metrics HTTP/1.1\r\nhost: LOCALHOST\r\nAccept: text/plain;q=1, */*\r\n\r\n",
          SX_HTTP_METRICS },
        { "GET /metrics HTTP/1.1\r\nHost: [::1]:9101\r\nContent-Length: 0\r\n\r\n",
          SX_HTTP_METRICS },
        { "GET /metrics HTTP/1.1\r\n", SX_HTTP_MORE },
        { "GET /met", SX_HTTP_MORE },
        { "GET / HTTP/1.1\r\n\r\n", SX_HTTP_NOT_FOUND },
        { "GET /metrics?x=1 HTTP/1.1\r\n\r\n", SX_HTTP_NOT_FOUND },
        { "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", SX_HTTP_NOT_ALLOWED },
        { "get /metrics HTTP/1.1\r\n\r\n", SX_HTTP_NOT_ALLOWED },
        { "GET /metrics HTTP/2.0\r\n\r\n", SX_HTTP_VERSION },
        { "GET /metrics HTTP/1.1\n\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET  /metrics HTTP/1.1\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1 x\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET http://localhost/metrics HTTP/1.1\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "\r\nGET /metrics HTTP/1.1\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nbad name: x\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\n folded: x\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\n: x\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nX: \x01\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", SX_HTTP_BAD_REQUEST },
        { "GET /metrics HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", SX_HTTP_BAD_REQUEST },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(cases); i++) {
        if (parse(cases[i].request) != cases[i].want)
            fail_msg("case %zu: %d", i, (int)parse(cases[i].request));
        for (size_t n = 0; n < strlen(cases[i].request); n++) { /* not before it is complete */
            bool head;
            enum sx_http_result r = sx_http_parse(sx_bytes(cases[i].request, n), &head);
            assert_true(r == SX_HTTP_MORE || r == SX_HTTP_BAD_REQUEST ||
                        cases[i].want == SX_HTTP_BAD_REQUEST);
        }
    }
}

static void refuses_a_head_without_end(void **state)
{
    uint8_t in[SX_HTTP_HEAD_MAX];
    bool head;

    (void)state;
    memset(in, 'a', sizeof(in));
    assert_int_equal(sx_http_parse(sx_bytes(in, sizeof(in) - 1), &head), SX_HTTP_MORE);
    assert_int_equal(sx_http_parse(sx_bytes(in, sizeof(in)), &head), SX_HTTP_TOO_LARGE);
}

static void writes_http_answers(void **state)
{
    struct sx_wr w;

    (void)state;
    sx_wr_init(&w, 1000);
    sx_http_answer(&w, SX_HTTP_METRICS, 12, false);
    sx_wr_u8(&w, 0);
    assert_memory_equal(w.p, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr((const char *)w.p, "\r\nContent-Length: 12\r\n"));
    assert_string_equal((const char *)w.p + w.len - 5, "\r\n\r\n");
    sx_wr_reset(&w);
    sx_http_answer(&w, SX_HTTP_NOT_FOUND, 0, false);
    sx_wr_u8(&w, 0);
    assert_non_null(strstr((const char *)w.p, "\r\nContent-Length: 14\r\n"));
    assert_non_null(strstr((const char *)w.p, "\r\n\r\n404 Not Found\n"));
    sx_wr_free(&w);
}

/* ---- without memory ---- */

static void starts_with_each_failed_malloc(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_errtext none = { NULL, 0 };
    struct sx_ops_cfg ops = { .has_metrics_port = true,
                              .has_control_port = true,
                              .admin_password = "admin",
                              .dir = "/nonexistent" };
    bool fired = true;

    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    assert_int_equal(sx_srv_open(&cfg, &ops.srv), SIMPLEX_OK);
    for (unsigned nth = 0; fired; nth++) {
        struct sx_ops *o = NULL;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_ops_open(&ops, &o, &none);
        fired = sx_fault_disarm();
        assert_true(nth > 3 || fired);
        if (rc != SIMPLEX_OK)
            assert_int_equal(rc, SIMPLEX_E_NOMEM);
        assert_int_equal(o == NULL, rc != SIMPLEX_OK);
        sx_ops_close(o); /* a fault of its thread only costs it one line of the log */
    }
    sx_srv_close(ops.srv);
}

static void answers_control_lines_with_each_failed_malloc(void **state)
{
    static const char *const lines[] = { "stats", "help", "server-info", "clients", "threads" };
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_errtext none = { NULL, 0 };
    struct sx_control c = { .save = NULL };
    struct sx_ops_cfg ops = { .listeners = NULL };
    struct sx_control_state s = { .role = SX_ROLE_ADMIN };

    (void)state;
    assert_int_equal(sx_srv_open(&cfg, &ops.srv), SIMPLEX_OK);
    assert_int_equal(sx_ops_open(&ops, &c.ops, &none), SIMPLEX_OK);
    c.srv = ops.srv;
    for (size_t i = 0; i < SX_COUNT(lines); i++) {
        bool fired = true;
        for (unsigned nth = 0; fired; nth++) {
            struct sx_wr out;
            size_t blocks = sx_fault_live_blocks();
            sx_wr_init(&out, SX_LOCAL_OUT);
            sx_fault_malloc(nth);
            assert_int_equal(sx_control_line(&c, &s, sx_str(lines[i]), &out), 0);
            fired = sx_fault_disarm();
            assert_int_equal(out.bad, fired); /* the connection is closed */
            sx_wr_free(&out);
            assert_int_equal(sx_fault_live_blocks(), blocks);
        }
    }
    sx_ops_close(c.ops);
    sx_srv_close(ops.srv);
}

static unsigned logged;

static void count_line(void *user, enum sx_log_level level, const char *text)
{
    (void)user;
    (void)level;
    (void)text;
    logged++;
}

static void who_may_nothing_cannot_fill_the_log(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_errtext none = { NULL, 0 };
    struct sx_control c = { .save = NULL };
    struct sx_ops_cfg ops = { .listeners = NULL };
    struct sx_control_state s = { .role = SX_ROLE_NONE };

    (void)state;
    assert_int_equal(sx_srv_open(&cfg, &ops.srv), SIMPLEX_OK);
    assert_int_equal(sx_ops_open(&ops, &c.ops, &none), SIMPLEX_OK);
    c.srv = ops.srv;
    logged = 0;
    sx_log_set(count_line, NULL, SX_LOG_DEBUG);
    for (int i = 0; i < 100; i++) {
        struct sx_wr out;
        sx_wr_init(&out, SX_LOCAL_OUT);
        assert_int_equal(sx_control_line(&c, &s, sx_str("clients"), &out), 0);
        assert_int_equal(sx_control_line(&c, &s, sx_str("stats-rts"), &out), 0);
        assert_true(out.len > 0);
        sx_wr_free(&out);
    }
    sx_log_set(NULL, NULL, SX_LOG_ERROR);
    assert_in_range(logged, 1, 10); /* a line a second */
    sx_ops_close(c.ops);
    sx_srv_close(ops.srv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_text_format),
        cmocka_unit_test(who_may_nothing_cannot_fill_the_log),
        cmocka_unit_test(shows_every_counter),
        cmocka_unit_test(uses_the_names_of_the_reference),
        cmocka_unit_test(shows_on_the_dashboard_only_what_is_exposed),
        cmocka_unit_test(answers_http_requests),
        cmocka_unit_test(refuses_a_head_without_end),
        cmocka_unit_test(writes_http_answers),
        cmocka_unit_test(starts_with_each_failed_malloc),
        cmocka_unit_test(answers_control_lines_with_each_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
