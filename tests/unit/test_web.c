/* SPDX-License-Identifier: Apache-2.0 */
/* The static site without a server: requests, files, and clients that take their time. */
#include "support/vec.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/browser.h"
#include "web.h"
#include "web_file.h"
#include "web_request.h"

static struct sx_web_request r;

static size_t read_text(const char *text)
{
    return sx_web_request_read(sx_str(text), &r);
}

static void expect(const char *text, unsigned refused, const char *path)
{
    size_t n = read_text(text);

    assert_int_equal(n, strlen(text));
    assert_int_equal(r.refused, refused);
    if (refused == 0)
        assert_string_equal(r.path, path);
    else
        assert_true(r.close);
}

/* ---- requests ---- */

static void a_request_is_read_when_its_head_is_there(void **state)
{
    static const char text[] = "GET /a/b?c HTTP/1.1\r\nhost: x\r\nIF-none-match:  \"t\" \r\n"
                               "If-Modified-Since: then\r\n\r\n";

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        assert_int_equal(sx_web_request_read(sx_bytes(text, n), &r), 0);
    expect(text, 0, "a/b");
    assert_false(r.head || r.close);
    assert_true(sx_bytes_eq(r.if_none_match, sx_str("\"t\"")));
    assert_true(sx_bytes_eq(r.if_modified_since, sx_str("then")));
}

static void what_follows_is_the_next_request(void **state)
{
    static const char one[] = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";
    char two[128];

    (void)state;
    snprintf(two, sizeof(two), "%sGET /b", one);
    assert_int_equal(read_text(two), strlen(one));
    assert_true(r.head);
    assert_int_equal(r.refused, 0);
}

static void connections_of_old_clients_end_with_the_answer(void **state)
{
    (void)state;
    expect("GET / HTTP/1.0\r\n\r\n", 0, "");
    assert_true(r.close);
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n", 0, "");
    assert_true(r.close);
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", 0, "");
    assert_false(r.close);
}

#define PATH(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void paths_stay_below_the_root(void **state)
{
    (void)state;
    expect(PATH("/"), 0, "");
    expect(PATH("/a/"), 0, "a");
    expect(PATH("/a%20b"), 0, "a b");
    expect(PATH("/%C3%A4"), 0, "\xc3\xa4");
    expect(PATH("https://host/x"), 0, "x");
    expect(PATH("/.well-known/x"), 0, ".well-known/x");
    expect(PATH("/a/.well-known/x"), 404, NULL);
    expect(PATH("/.well-knownx"), 404, NULL);
    expect(PATH("/."), 404, NULL);
    expect(PATH("/.."), 404, NULL);
    expect(PATH("/a/../b"), 404, NULL);
    expect(PATH("/a/%2e%2e/b"), 404, NULL);
    expect(PATH("/a%2fb"), 404, NULL);
    expect(PATH("/a//b"), 404, NULL);
    expect(PATH("/a%5cb"), 404, NULL);
    expect(PATH("/a%00b"), 404, NULL);
    expect(PATH("/a%0ab"), 404, NULL);
    expect(PATH("/a%7f"), 404, NULL);
    expect(PATH("/%"), 400, NULL);
    expect(PATH("/%4"), 400, NULL);
    expect(PATH("/%4g"), 400, NULL);
    expect(PATH("a"), 400, NULL);
    expect(PATH("http://host"), 400, NULL);
}

static void lengths_have_limits(void **state)
{
    static char text[SX_WEB_HEAD_MAX + 100], path[SX_WEB_PATH_MAX + 1];

    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    assert_true(read_text(text) > 0);
    assert_int_equal(r.refused, 414);
    snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", path + 1);
    assert_true(read_text(text) > 0);
    assert_int_equal(r.refused, 0);
    size_t n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    memset(text + n, 'b', sizeof(text) - n);
    assert_int_equal(sx_web_request_read(sx_bytes(text, SX_WEB_HEAD_MAX - 1), &r), 0);
    assert_int_equal(sx_web_request_read(sx_bytes(text, SX_WEB_HEAD_MAX), &r), SX_WEB_HEAD_MAX);
    assert_int_equal(r.refused, 431);
}

/* ---- files ---- */

static void dates_are_those_of_http(void **state)
{
    char text[SX_WEB_DATE];

    (void)state;
    sx_web_date(784111777, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    sx_web_date(0, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static char dir[64];

static void put(const char *name, const char *text)
{
    struct sx_errtext none = { 0 };

    assert_int_equal(sx_file_write(dir, name, sx_str(text), 0644, &none), SIMPLEX_OK);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/simplex-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    put("index.html", "page");
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void a_version_of_a_file_has_a_tag_of_its_own(void **state)
{
    struct sx_web_file f;
    char first[SX_WEB_ETAG];
    int root = open(dir, O_RDONLY | O_DIRECTORY);

    (void)state;
    assert_true(sx_web_file_open(root, "", &f));
    assert_int_equal(f.size, 4);
    assert_string_equal(f.type, "text/html; charset=utf-8");
    memcpy(first, f.etag, sizeof(first));
    close(f.fd);
    usleep(20000);
    put("index.html", "gage");
    assert_true(sx_web_file_open(root, "index.html", &f));
    assert_string_not_equal(first, f.etag);
    close(f.fd);
    assert_false(sx_web_file_open(root, "index.html/x", &f));
    assert_false(sx_web_file_open(root, "none/x", &f));
    close(root);
}

static void a_file_beyond_the_limit_is_not_served(void **state)
{
    struct sx_web_file f;
    int root = open(dir, O_RDONLY | O_DIRECTORY);
    int fd = openat(root, "large", O_WRONLY | O_CREAT, 0644);

    (void)state;
    assert_int_equal(ftruncate(fd, (off_t)SX_WEB_FILE_SIZE_MAX), 0);
    assert_true(sx_web_file_open(root, "large", &f));
    close(f.fd);
    assert_int_equal(ftruncate(fd, (off_t)SX_WEB_FILE_SIZE_MAX + 1), 0);
    assert_false(sx_web_file_open(root, "large", &f));
    close(fd);
    close(root);
}

/* ---- clients that take their time ---- */

static struct browser b;
static struct browser_cfg http = { .plain = true };

static struct sx_web *open_site(int64_t head_ms, int64_t stall_ms)
{
    const struct sx_web_cfg cfg = { .path = dir,
                                    .host = "127.0.0.1",
                                    .http = true,
                                    .head_timeout_ms = head_ms,
                                    .stall_timeout_ms = stall_ms };
    struct sx_errtext none = { 0 };
    struct sx_web *w;

    assert_int_equal(sx_web_open(&cfg, &w, &none), SIMPLEX_OK);
    http.port = sx_web_http_port(w);
    return w;
}

static void wait_for_none(struct sx_web *w)
{
    for (int i = 0; i < 3000 && sx_web_connections(w) > 0; i++)
        usleep(10000);
    assert_int_equal(sx_web_connections(w), 0);
}

/* A machine may stand still for as long as a request may take: then once more. */
static bool open_and_ask(void)
{
    for (int tries = 0; tries < 4; tries++) {
        assert_true(browser_open(&b, &http));
        browser_send(&b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        if (browser_read(&b, false))
            return true;
        browser_close(&b);
    }
    return false;
}

static void a_request_that_comes_byte_by_byte_is_not_waited_for(void **state)
{
    struct sx_web *w = open_site(3000, 60000);
    int64_t began = sx_mono_ms();

    (void)state;
    assert_true(browser_open(&b, &http));
    browser_send(&b, "GET / HTTP/1.1\r\nX: ");
    while (!browser_closed(&b, 50) && sx_mono_ms() - began < 50000)
        browser_send(&b, "x");
    int64_t took = sx_mono_ms() - began;
    assert_in_range(took, 2900, 49999); /* not the 60 s of an answer */
    browser_close(&b);
    /* Between two requests no longer either. */
    assert_true(open_and_ask());
    assert_true(browser_closed(&b, 30000));
    browser_close(&b);
    wait_for_none(w);
    sx_web_close(w);
}

static void an_answer_that_nobody_reads_is_given_up(void **state)
{
    struct sx_web *w = open_site(60000, 1000);
    int root = open(dir, O_RDONLY | O_DIRECTORY);
    int fd = openat(root, "large", O_WRONLY | O_CREAT, 0644);

    (void)state;
    assert_int_equal(ftruncate(fd, 32 << 20), 0);
    close(fd);
    close(root);
    assert_true(browser_open(&b, &http));
    browser_send(&b, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 3000 && sx_web_connections(w) == 0; i++)
        usleep(10000);
    wait_for_none(w);
    browser_close(&b);
    sx_web_close(w);
}

static void a_client_that_says_nothing_more_is_still_answered(void **state)
{
    struct sx_web *w = open_site(0, 0);

    (void)state;
    assert_true(browser_open(&b, &http));
    browser_send(&b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(shutdown(b.fd, SHUT_WR), 0);
    assert_true(browser_read(&b, false));
    assert_int_equal(b.status, 200);
    assert_false(browser_read(&b, false));
    browser_close(&b);
    sx_web_close(w);
}

static void a_site_without_folder_answers_that_nothing_is_there(void **state)
{
    char old[64];

    (void)state;
    memcpy(old, dir, sizeof(old));
    strcat(dir, "/none");
    struct sx_web *w = open_site(0, 0);
    memcpy(dir, old, sizeof(old));
    assert_int_equal(browser_get(&b, &http, "/"), 404);
    sx_web_close(w);
}

static void opens_or_says_why_not_whatever_allocation_fails(void **state)
{
    const struct sx_web_cfg cfg = { .path = dir, .host = "127.0.0.1", .http = true };
    struct sx_errtext none = { 0 };
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct sx_web *w;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_web_open(&cfg, &w, &none);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_true((w == NULL) == fired);
        sx_web_close(w);
    }
}

/* ---- browsers that loops hand over ---- */

#define HANDED 400 /* more than are kept, and fewer than the usual limit of files */

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool reached;

static void hold_thread(void *user, enum sx_log_level level, const char *text)
{
    (void)user;
    (void)level;
    if (strstr(text, "web certificate") == NULL)
        return;
    atomic_store(&reached, true);
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
}

static unsigned count_refused(int (*fd)[2])
{
    unsigned n = 0;
    char c;

    for (unsigned i = 0; i < HANDED; i++)
        n += recv(fd[i][0], &c, 1, MSG_DONTWAIT) == 0;
    return n;
}

/* A flood of browsers must not take the descriptors of SMP clients while the thread is busy. */
static void what_the_thread_has_no_time_for_is_not_kept(void **state)
{
    static int fd[HANDED][2];
    char cert[128], key[128];
    struct sx_errtext none = { 0 };
    struct sx_web *w;

    (void)state;
    web_cert_make(dir, WEB_EC, "site.example.org");
    snprintf(cert, sizeof(cert), "%s/web.crt", dir);
    snprintf(key, sizeof(key), "%s/web.key", dir);
    const struct sx_web_cfg cfg = {
        .path = dir, .host = "127.0.0.1", .https = true, .cert = cert, .key = key
    };
    assert_int_equal(sx_web_open(&cfg, &w, &none), SIMPLEX_OK);
    pthread_mutex_lock(&held);
    sx_log_set(hold_thread, NULL, SX_LOG_INFO);
    sx_web_reload(w);
    while (!atomic_load(&reached))
        usleep(1000);
    for (unsigned i = 0; i < HANDED; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
        sx_web_take(w, fd[i][1], NULL);
    }
    unsigned refused = count_refused(fd);
    sx_log_set(NULL, NULL, SX_LOG_INFO);
    pthread_mutex_unlock(&held);
    assert_in_range(refused, HANDED - 128, HANDED - 16);
    assert_int_equal(sx_web_refused(w), refused);
    for (int i = 0; i < 3000 && sx_web_connections(w) < HANDED - refused; i++)
        usleep(10000);
    assert_int_equal(sx_web_connections(w), HANDED - refused);
    for (unsigned i = 0; i < HANDED; i++)
        close(fd[i][0]);
    wait_for_none(w);
    sx_web_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_when_its_head_is_there),
        cmocka_unit_test(what_follows_is_the_next_request),
        cmocka_unit_test(connections_of_old_clients_end_with_the_answer),
        cmocka_unit_test(paths_stay_below_the_root),
        cmocka_unit_test(lengths_have_limits),
        cmocka_unit_test(dates_are_those_of_http),
        cmocka_unit_test(a_version_of_a_file_has_a_tag_of_its_own),
        cmocka_unit_test(a_file_beyond_the_limit_is_not_served),
        cmocka_unit_test(a_request_that_comes_byte_by_byte_is_not_waited_for),
        cmocka_unit_test(an_answer_that_nobody_reads_is_given_up),
        cmocka_unit_test(a_client_that_says_nothing_more_is_still_answered),
        cmocka_unit_test(a_site_without_folder_answers_that_nothing_is_there),
        cmocka_unit_test(opens_or_says_why_not_whatever_allocation_fails),
        cmocka_unit_test(what_the_thread_has_no_time_for_is_not_kept),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
