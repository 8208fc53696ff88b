/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator sees of a running server: metrics, and statistics over a restart. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ops_stage.h"
#include "stats_file.h"

/* ---- metrics ---- */

/* testPrometheusMetrics */
static void writes_metrics_to_a_file(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    struct sx_wr w;

    (void)state;
    open_server(&t);
    for (int i = 0; i < 2000 && !sx_file_exists(t.dir, "smp-server-metrics.txt"); i++)
        usleep(10000);
    sx_wr_init(&w, 1 << 20);
    assert_int_equal(sx_file_read(t.dir, "smp-server-metrics.txt", &w, &none), SIMPLEX_OK);
    sx_wr_u8(&w, 0);
    assert_non_null(strstr((char *)w.p, "\nsimplex_smp_queues_total1 0\n"));
    assert_non_null(strstr((char *)w.p, "\nsimplex_smp_threads_total 4\n"));
    sx_wr_free(&w);
    close_server(&t);
}

static void answers_prometheus_over_http(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    char *text = metrics_get(&t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    char *body = strstr(text, "\r\n\r\n") + 4, *length = strstr(text, "Content-Length: ") + 16;
    assert_int_equal(strlen(body), strtoul(length, NULL, 10));
    assert_non_null(strstr(body, "\nsimplex_smp_messages_sent 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_queues_created 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_subscribtion_total 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_clients_total 1\n"));
    assert_null(strstr(body, "\nsimplex_smp_resident_memory_bytes 0\n"));
    free(text);
    text = metrics_get(&t, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    free(text);
    text = metrics_get(&t, "GET / HTTP/1.1\r\n\r\n");
    assert_starts(text, "HTTP/1.1 404 ");
    free(text);
    text = metrics_get(&t, "\x16\x03\x01 not HTTP\n");
    assert_starts(text, "HTTP/1.1 400 ");
    free(text);
    smp_peer_close(&p);
    close_server(&t);
}

/* The value of a sample, asked for until it is at least `least`. */
static unsigned long metric_from(struct server *t, const char *name, unsigned long least)
{
    char line[100];

    snprintf(line, sizeof(line), "\nsimplex_smp_%s ", name);
    for (int i = 0;; i++) {
        char *text = metrics_get(t, "GET /metrics HTTP/1.1\r\n\r\n"), *at = strstr(text, line);
        assert_non_null(at);
        unsigned long v = strtoul(at + strlen(line), NULL, 10);
        free(text);
        if (v >= least)
            return v;
        if (i == 500)
            fail_msg("%s stays at %lu", name, v);
        usleep(20000);
    }
}

static void tells_how_long_messages_wait_for_their_ack(void **state)
{
    static const char pending[] = "delivery_ack_pending_count{period=\"0-60\"}";
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(metric_from(&t, pending, 0), 0);
    assert_int_equal(metric_from(&t, "delivery_ack_time_max", 0), 0);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    assert_int_equal(metric_from(&t, pending, 1), 1);
    assert_in_range(metric_from(&t, "delivery_ack_time_max", 1), 1, 60);
    assert_in_range(metric_from(&t, "delivery_ack_time_sum", 1), 1, 60);
    assert_int_equal(metric_from(&t, "delivery_ack_time_count", 1), 1);
    smp_peer_close(&p); /* nobody has to acknowledge it any more */
    for (int i = 0; metric_from(&t, pending, 0) != 0; i++) {
        assert_true(i < 500);
        usleep(20000);
    }
    assert_int_equal(metric_from(&t, "delivery_ack_time_count", 0), 0);
    close_server(&t);
}

static size_t count_closed(const int *fd, size_t n)
{
    size_t closed = 0;
    char byte;

    for (size_t i = 0; i < n; i++) {
        ssize_t got = recv(fd[i], &byte, 1, MSG_DONTWAIT);
        closed += got == 0 || (got < 0 && errno == ECONNRESET);
    }
    return closed;
}

static void limits_what_http_clients_hold(void **state)
{
    enum { HELD = 16 };
    struct server t;
    int fd[40];
    char *text;

    (void)state;
    open_server(&t);
    int64_t before = sx_mono_ms();
    for (size_t i = 0; i < SX_COUNT(fd); i++) {
        fd[i] = connect_to(simplex_server_metrics_port(t.s));
        assert_int_equal(send(fd[i], "GET ", 4, MSG_NOSIGNAL), 4);
    }
    for (int i = 0; i < 1000 && count_closed(fd, SX_COUNT(fd)) < SX_COUNT(fd) - HELD; i++)
        usleep(20000);
    size_t closed = count_closed(fd, SX_COUNT(fd));
    bool in_time = sx_mono_ms() - before < 4500; /* a head has 5 s */
    assert_in_range(closed, SX_COUNT(fd) - HELD, SX_COUNT(fd) - (in_time ? HELD : 0));
    for (size_t i = 0; i < SX_COUNT(fd); i++)
        close(fd[i]);
    for (int i = 0; *(text = metrics_get(&t, "GET /metrics HTTP/1.1\r\n\r\n")) == 0; i++) {
        free(text); /* it has not seen yet that they are gone */
        assert_true(i < 1000);
        usleep(20000);
    }
    assert_starts(text, "HTTP/1.1 200 OK\r\n"); /* there is room again */
    free(text);
    before = sx_mono_ms();
    struct text_client *c = text_open(simplex_server_metrics_port(t.s));
    text_send(c, "GET /metrics HTTP/1.1\r\n");
    assert_true(text_closed(c, 30000)); /* a head that never ends */
    assert_true(sx_mono_ms() - before > 3000);
    text_close(c);
    close_server(&t);
}

/* ---- statistics ---- */

static void keeps_statistics_over_a_restart(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    smp_peer_close(&p);
    simplex_server_stop(t.s);
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    start(&t);
    assert_false(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE_OLD));
    char *text = metrics_get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent 1\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_queues_daily 1\n"));
    free(text);
    close_server(&t);
}

static void writes_the_line_of_a_day_it_was_stopped_on(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    struct sx_wr w;
    char path[SX_PATH_MAX], date[16];

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    time_t yesterday = time(NULL) - 86400;
    struct timespec times[2] = { { .tv_sec = yesterday }, { .tv_sec = yesterday } };
    assert_true(strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&yesterday)) == 10);
    char text[200];
    snprintf(text, sizeof(text), "fromTime=%sT00:00:00Z\nqCreated=7\n", date);
    assert_int_equal(sx_file_write(t.dir, SX_STATS_FILE, sx_str(text), 0600, &none), SIMPLEX_OK);
    assert_true(sx_path_join(path, t.dir, SX_STATS_FILE));
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    start(&t);
    sx_wr_init(&w, 4096);
    for (int i = 0; i < 2000 && w.len == 0; i++) {
        usleep(10000);
        (void)!sx_file_read(t.dir, SX_STATS_DAILY_FILE, &w, &none);
    }
    sx_wr_u8(&w, 0);
    snprintf(text, sizeof(text), "%s,7,0,0,", date);
    assert_starts((char *)w.p, text);
    sx_wr_free(&w);
    for (int i = 0; metric_from(&t, "queues_created", 0) != 0; i++) { /* counted anew since then */
        assert_true(i < 500);
        usleep(20000);
    }
    close_server(&t);
}

static void starts_with_a_damaged_file_of_statistics(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    static const uint8_t garbage[] = "qCreated=5\n\0\xff=\nmsgSent=12";

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    assert_int_equal(
        sx_file_write(t.dir, SX_STATS_FILE, sx_bytes(garbage, sizeof(garbage)), 0600, &none),
        SIMPLEX_OK);
    start(&t);
    char *text = metrics_get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_queues_created 5\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent 0\n"));
    free(text);
    close_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_metrics_to_a_file),
        cmocka_unit_test(answers_prometheus_over_http),
        cmocka_unit_test(tells_how_long_messages_wait_for_their_ack),
        cmocka_unit_test(limits_what_http_clients_hold),
        cmocka_unit_test(keeps_statistics_over_a_restart),
        cmocka_unit_test(writes_the_line_of_a_day_it_was_stopped_on),
        cmocka_unit_test(starts_with_a_damaged_file_of_statistics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
