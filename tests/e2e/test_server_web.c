/* SPDX-License-Identifier: Apache-2.0 */
/* Browsers and SMP clients at one server: which of them gets what (smp.md sections 3 and 10). */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "support/running_server.h"
#include "support/server_dirs.h"
#include "support/browser.h"
#include "support/free_port.h"

static char dir[64], site[96], cert[96], key[96];
static struct browser b, others[8]; /* large */

struct server {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
    struct browser_cfg https, http;
};

static void put_file(const char *name, const char *text)
{
    struct sx_errtext none = { 0 };
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", site, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(sx_dir_make(path, 0755, &none), SIMPLEX_OK);
    assert_int_equal(sx_file_write(path, slash + 1, sx_str(text), 0644, &none), SIMPLEX_OK);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/simplex-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(site, sizeof(site), "%s/www", dir);
    snprintf(cert, sizeof(cert), "%s/web.crt", dir);
    snprintf(key, sizeof(key), "%s/web.key", dir);
    put_file("index.html", "<p>the page\n");
    put_file("a/index.html", "<p>a link\n");
    put_file("media/style.css", "p { }\n");
    put_file(".hidden", "secret\n");
    web_cert_make(dir, WEB_EC, "site.example.org");
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    vec_free_all();
    return system(command);
}

static void init(simplex_server_config *cfg)
{
    simplex_server_config_init(cfg);
    cfg->threads = 2;
    cfg->web_path = site;
    cfg->web_https = true;
    cfg->web_http = true;
    cfg->web_cert = cert;
    cfg->web_key = key;
}

static void start(struct server *t, simplex_server_config *cfg)
{
    t->s = run_server(cfg, t->key_hash, &t->peer);
    t->https = (struct browser_cfg){ .port = simplex_server_web_tls_port(t->s),
                                     .sni = "site.example.org",
                                     .alpn = "http/1.1" };
    t->http = (struct browser_cfg){ .port = simplex_server_web_port(t->s), .plain = true };
}

static void start_default(struct server *t)
{
    simplex_server_config cfg;

    init(&cfg);
    start(t, &cfg);
}

static void assert_smp(const struct server *t)
{
    struct sx_cmd ping = { .tag = SX_PING };
    struct smp_peer p;

    assert_int_equal(smp_peer_open(&p, &t->peer), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(&p, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&p);
}

/* ---- a name in one of two hellos ---- */

static const char *name_from_now_on;

/* The server asks for another key: what the next hello says can still be changed. */
static void on_message(int write_p, int version, int content, const void *p, size_t len, SSL *ssl,
                       void *arg)
{
    (void)version;
    (void)arg;
    if (!write_p && content == SSL3_RT_HANDSHAKE && len > 0 &&
        *(const uint8_t *)p == SSL3_MT_SERVER_HELLO)
        (void)SSL_set_tlsext_host_name(ssl, name_from_now_on);
}

/* A hello whose first key nobody takes. Ends with the handshake, or its failure. */
static bool two_hellos(const struct server *t, const char *first, const char *second)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(t->https.port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval limit = { 10, 0 };

    b.have = b.len = 0;
    b.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(b.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(b.fd, (struct sockaddr *)&at, sizeof(at)), 0);
    b.ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set1_groups_list(b.ctx, "ffdhe2048:X25519"), 1);
    b.ssl = SSL_new(b.ctx);
    if (first != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(b.ssl, first), 1);
    name_from_now_on = second;
    SSL_set_msg_callback(b.ssl, on_message);
    SSL_set_fd(b.ssl, b.fd);
    return SSL_connect(b.ssl) == 1;
}

static void one_of_two_hellos_that_names_a_host_makes_a_browser(void **state)
{
    static const char host[] = "site.example.org";
    static const char *const names[][2] = { { host, host }, { host, NULL }, { NULL, host } };
    struct server t;
    char name[64];

    (void)state;
    start_default(&t);
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        bool open = two_hellos(&t, names[i][0], names[i][1]);
        assert_true(open || i == 2); /* the last one may be refused */
        if (open) {
            browser_cert_name(&b, name);
            assert_string_equal(name, host);
            browser_send(&b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_true(browser_read(&b, false));
            assert_int_equal(b.status, 200);
        }
        browser_close(&b);
        assert_smp(&t);
    }
    simplex_server_stop(t.s);
}

/* ---- who gets what ---- */

static void one_port_serves_browsers_and_smp_clients(void **state)
{
    static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };
    struct server t;
    char name[64];

    (void)state;
    start_default(&t);
    assert_int_equal(t.https.port, simplex_server_port(t.s));
    for (size_t i = 0; i < SX_COUNT(versions); i++) {
        t.https.max_version = versions[i];
        assert_smp(&t);
        assert_int_equal(browser_get(&b, &t.https, "/"), 200);
        assert_string_equal(b.body, "<p>the page\n");
        assert_true(browser_has(&b, "Content-Type: text/html; charset=utf-8"));
        assert_true(browser_open(&b, &t.https));
        browser_cert_name(&b, name);
        assert_string_equal(name, "site.example.org");
        assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(b.ssl)), 2);
        browser_close(&b);
    }
    simplex_server_stop(t.s);
}

static void naming_a_host_is_enough_and_nothing_else_makes_a_browser(void **state)
{
    struct server t;
    char name[64];

    (void)state;
    start_default(&t);
    t.https.alpn = NULL;
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    t.https.alpn = "h2"; /* not spoken: an alert */
    assert_false(browser_open(&b, &t.https));
    t.https.alpn = "smp/1"; /* SMP clients name no host */
    assert_false(browser_open(&b, &t.https));
    /* Any name: certificates are the browser's matter. */
    t.https.alpn = "http/1.1";
    t.https.sni = "other.example.net";
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    /* Without a name it is SMP, whatever is offered: networks may let nothing else through. */
    t.https.sni = NULL;
    assert_true(browser_open(&b, &t.https));
    browser_cert_name(&b, name);
    assert_string_equal(name, "127.0.0.1");
    browser_close(&b);
    simplex_server_stop(t.s);
}

static void other_ports_and_a_server_without_site_give_the_identity_to_everyone(void **state)
{
    const uint16_t more[] = { free_port() };
    simplex_server_config cfg;
    struct server t;
    char name[64];

    (void)state;
    init(&cfg);
    cfg.more_ports = more;
    cfg.n_more_ports = 1;
    cfg.web_https_port = more[0];
    start(&t, &cfg);
    assert_int_equal(t.https.port, more[0]);
    assert_int_equal(browser_get(&b, &t.https, "/a"), 200);
    assert_smp(&t);
    t.https.port = simplex_server_port(t.s);
    assert_true(browser_open(&b, &t.https));
    browser_cert_name(&b, name);
    assert_string_equal(name, "127.0.0.1");
    browser_close(&b);
    t.peer.port = more[0];
    assert_smp(&t);
    simplex_server_stop(t.s);

    simplex_server_config_init(&cfg);
    start(&t, &cfg);
    assert_int_equal(simplex_server_web_port(t.s), 0);
    assert_int_equal(simplex_server_web_tls_port(t.s), 0);
    t.https.port = simplex_server_port(t.s);
    assert_true(browser_open(&b, &t.https));
    browser_cert_name(&b, name);
    assert_string_equal(name, "127.0.0.1");
    browser_send(&b, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* no block of SMP */
    browser_close(&b);
    assert_smp(&t);
    simplex_server_stop(t.s);
}

static void a_port_for_https_alone_asks_for_no_name(void **state)
{
    simplex_server_config cfg;
    struct server t;

    (void)state;
    init(&cfg);
    cfg.web_https_port = free_port();
    start(&t, &cfg);
    assert_int_equal(t.https.port, cfg.web_https_port);
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    t.https.sni = NULL;
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    t.peer.port = t.https.port;
    struct smp_peer p;
    assert_int_not_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    simplex_server_stop(t.s);
}

static void rsa_and_ed25519_certificates_are_served_too(void **state)
{
    static const enum web_key kinds[] = { WEB_RSA_2048, WEB_ED25519 };
    struct server t;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(kinds); i++) {
        web_cert_make(dir, kinds[i], "site.example.org");
        start_default(&t);
        assert_int_equal(browser_get(&b, &t.https, "/"), 200);
        assert_smp(&t);
        simplex_server_stop(t.s);
    }
}

/* ---- HTTP ---- */

static void serves_files_and_nothing_around_them(void **state)
{
    static const struct {
        const char *path;
        unsigned status;
    } cases[] = {
        { "/", 200 },
        { "/?q=1#x", 200 },
        { "http://site.example.org/a/", 200 },
        { "/a", 200 },
        { "/a/", 200 },
        { "/a/index.html", 200 },
        { "/%61/index%2ehtml", 200 },
        { "/media/style.css", 200 },
        { "/media", 404 }, /* no listing */
        { "/a/index.html/x", 404 },
        { "/nothing", 404 },
        { "/.hidden", 404 },
        { "/%2ehidden", 404 },
        { "/../web.key", 404 },
        { "/a/../../web.key", 404 },
        { "/%2e%2e/web.key", 404 },
        { "/..%2fweb.key", 404 },
        { "/a%2findex.html", 404 },
        { "//a", 404 },
        { "/a\\..\\..\\web.key", 404 },
        { "/outside", 404 }, /* a link to the key */
        { "/folder/web.key", 404 },
        { "/index.html%00.css", 404 },
        { "/pipe", 404 },
        { "/%zz", 400 },
        { "*", 400 },
    };
    struct server t;
    char path[256], target[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/outside", site);
    assert_int_equal(symlink(key, path), 0);
    snprintf(path, sizeof(path), "%s/folder", site);
    assert_int_equal(symlink(dir, path), 0);
    snprintf(path, sizeof(path), "%s/pipe", site);
    assert_int_equal(mkfifo(path, 0644), 0);
    start_default(&t);
    for (size_t i = 0; i < SX_COUNT(cases); i++) {
        snprintf(target, sizeof(target), "%s", cases[i].path);
        if (browser_get(&b, &t.https, target) != cases[i].status ||
            browser_get(&b, &t.http, target) != cases[i].status)
            fail_msg("%s: %u", target, b.status);
        assert_null(strstr(b.text, "PRIVATE KEY"));
    }
    simplex_server_stop(t.s);
}

static void a_challenge_that_is_put_there_is_served_at_once(void **state)
{
    struct server t;

    (void)state;
    start_default(&t);
    assert_int_equal(browser_get(&b, &t.http, "/.well-known/acme-challenge/token"), 404);
    put_file(".well-known/acme-challenge/token", "answer");
    assert_int_equal(browser_get(&b, &t.http, "/.well-known/acme-challenge/token"), 200);
    assert_string_equal(b.body, "answer");
    put_file("well-known/assetlinks.json", "[]"); /* where the reference has them */
    assert_int_equal(browser_get(&b, &t.https, "/.well-known/assetlinks.json"), 200);
    assert_true(browser_has(&b, "Content-Type: application/json"));
    simplex_server_stop(t.s);
}

static void what_a_browser_has_already_is_not_sent_again(void **state)
{
    struct server t;
    char etag[128] = "", modified[128] = "", text[512];

    (void)state;
    start_default(&t);
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    assert_int_equal(sscanf(strstr(b.text, "ETag: "), "ETag: %127[^\r]", etag), 1);
    assert_int_equal(
        sscanf(strstr(b.text, "Last-Modified: "), "Last-Modified: %127[^\r]", modified), 1);
    assert_true(browser_open(&b, &t.https));
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\", %s\r\n\r\n",
             etag);
    browser_send(&b, text);
    assert_true(browser_read(&b, false));
    assert_int_equal(b.status, 304);
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nIf-Modified-Since: %s\r\n\r\n",
             modified);
    browser_send(&b, text);
    assert_true(browser_read(&b, false));
    assert_int_equal(b.status, 304);
    browser_send(&b, "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\n\r\n");
    assert_true(browser_read(&b, false));
    assert_int_equal(b.status, 200);
    assert_int_equal(b.len - (size_t)(b.body - b.text), 12);
    browser_send(&b, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(browser_read(&b, true));
    assert_int_equal(b.status, 200);
    assert_true(browser_has(&b, "Content-Length: 12"));
    assert_true(browser_has(&b, "Connection: keep-alive"));
    browser_close(&b);
    simplex_server_stop(t.s);
}

static void requests_in_one_go_are_answered_in_order(void **state)
{
    static const char two[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
                              "GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct server t;

    (void)state;
    start_default(&t);
    const struct browser_cfg cfgs[] = { t.http, t.https };
    for (size_t i = 0; i < 2; i++) {
        assert_true(browser_open(&b, &cfgs[i]));
        browser_send(&b, two);
        assert_true(browser_read(&b, false));
        assert_memory_equal(b.body, "<p>a link\n", 10);
        assert_true(browser_read(&b, false));
        assert_memory_equal(b.body, "<p>the page\n", 12);
        assert_true(browser_read(&b, false));
        assert_int_equal(b.status, 404);
        assert_false(browser_read(&b, false));
        browser_close(&b);
    }
    simplex_server_stop(t.s);
}

static void what_is_no_request_for_a_file_is_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {
        { "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405 },
        { "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 413 },
        { "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400 },
        { "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505 },
        { "GET / HTTP/1.1\nHost: x\n\n", 400 },
        { "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400 },
        { "hello\r\n\r\n", 400 },
    };
    struct server t;

    (void)state;
    start_default(&t);
    const struct browser_cfg cfgs[] = { t.http, t.https };
    for (size_t i = 0; i < 2 * SX_COUNT(cases); i++) {
        assert_true(browser_open(&b, &cfgs[i % 2]));
        browser_send(&b, cases[i / 2].text);
        assert_true(browser_read(&b, false));
        if (b.status != cases[i / 2].status)
            fail_msg("%u for %s", b.status, cases[i / 2].text);
        assert_true(browser_has(&b, "Connection: close"));
        assert_false(browser_read(&b, false));
        browser_close(&b);
    }
    simplex_server_stop(t.s);
}

static void a_head_without_end_is_refused(void **state)
{
    struct server t;
    char text[9001];

    (void)state;
    start_default(&t);
    const struct browser_cfg cfgs[] = { t.http, t.https };
    for (size_t i = 0; i < 2; i++) {
        assert_true(browser_open(&b, &cfgs[i]));
        browser_send(&b, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        browser_send(&b, text);
        assert_true(browser_read(&b, false));
        assert_int_equal(b.status, 431);
        browser_close(&b);
    }
    simplex_server_stop(t.s);
}

static void a_large_file_comes_whole(void **state)
{
    size_t n = 900000;
    char *text = malloc(n + 1);
    struct server t;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i % 23);
    text[n] = 0;
    put_file("large.txt", text);
    start_default(&t);
    const struct browser_cfg cfgs[] = { t.http, t.https };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(browser_get(&b, &cfgs[i], "/large.txt"), 200);
        assert_int_equal(b.len - (size_t)(b.body - b.text), n);
        assert_memory_equal(b.body, text, n);
    }
    simplex_server_stop(t.s);
    free(text);
}

/* ---- crowds ---- */

static void browsers_beyond_the_limit_push_out_those_that_wait(void **state)
{
    simplex_server_config cfg;
    struct server t;

    (void)state;
    init(&cfg);
    cfg.web_connections = 4;
    start(&t, &cfg);
    for (size_t i = 0; i < SX_COUNT(others); i++) {
        assert_true(browser_open(&others[i], &t.http));
        browser_send(&others[i], "GET / HTTP/1.1\r\nHost: x\r\n"); /* and never the end */
    }
    for (size_t i = 0; i < SX_COUNT(others) - cfg.web_connections; i++)
        assert_true(browser_closed(&others[i], 30000)); /* so all of them have been accepted */
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    assert_int_equal(browser_get(&b, &t.http, "/"), 200);
    assert_smp(&t);
    for (size_t i = 0; i < SX_COUNT(others); i++)
        browser_close(&others[i]);
    simplex_server_stop(t.s);
}

static void the_metrics_count_the_site(void **state)
{
    struct server t;
    simplex_server_config cfg;

    (void)state;
    init(&cfg);
    cfg.metrics_http = true;
    start(&t, &cfg);
    const struct browser_cfg metrics = { .port = simplex_server_metrics_port(t.s), .plain = true };
    assert_true(browser_open(&others[0], &t.https));
    for (int i = 0; i < 1500; i++) { /* its loop may not have handed it over yet */
        assert_int_equal(browser_get(&b, &metrics, "/metrics"), 200);
        if (strstr(b.body, "\nsimplex_smp_web_connections 0\n") == NULL)
            break;
        usleep(20000);
    }
    assert_non_null(strstr(b.body, "\nsimplex_smp_web_connections 1\n"));
    assert_non_null(strstr(b.body, "\nsimplex_smp_web_refused_total 0\n"));
    assert_non_null(
        strstr(b.body, "\nsimplex_smp_threads_total 5\n")); /* 2, proxy, metrics, site */
    browser_close(&others[0]);
    simplex_server_stop(t.s);
}

static void browsers_leave_the_places_of_smp_clients(void **state)
{
    simplex_server_config cfg;
    struct server t;

    (void)state;
    init(&cfg);
    cfg.max_connections = 2;
    start(&t, &cfg);
    for (size_t i = 0; i < SX_COUNT(others); i++) {
        assert_true(browser_open(&others[i], &t.https));
        browser_send(&others[i], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(browser_read(&others[i], false)); /* so it was handed over */
        wait_connections(t.s, 0);                     /* and has left its place */
    }
    assert_smp(&t);
    for (size_t i = 0; i < SX_COUNT(others); i++) {
        browser_send(&others[i], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(browser_read(&others[i], false));
        browser_close(&others[i]);
    }
    wait_connections(t.s, 0);
    simplex_server_stop(t.s);
}

/* Connections that never get as far as telling what they are, on both kinds of ports. */
static void handshakes_that_do_not_end_are_given_up(void **state)
{
    enum { FLOOD = 200 };
    static int fd[FLOOD];
    static const uint8_t hello[] = { 22, 3, 1, 2, 0, 1, 0, 1 }; /* the beginning of one */
    simplex_server_config cfg;
    struct server t;

    (void)state;
    init(&cfg);
    cfg.tls_timeout_ms = 8000; /* who does not wait is to be done by then */
    cfg.web_connections = 50;
    const uint16_t more[] = { free_port() };
    cfg.more_ports = more;
    cfg.n_more_ports = 1;
    for (int own = 0; own < 2; own++) {
        cfg.web_https_port = own != 0 ? free_port() : more[0];
        start(&t, &cfg);
        const struct smp_peer_cfg to = { .port = t.https.port };
        for (int i = 0; i < FLOOD; i++) {
            fd[i] = smp_peer_socket(&to);
            assert_true(fd[i] >= 0);
            if (i % 2 == 0)
                (void)send(fd[i], hello, sizeof(hello), MSG_NOSIGNAL);
        }
        assert_int_equal(browser_get(&b, &t.https, "/"), 200);
        assert_smp(&t);
        for (int i = 0; i < FLOOD; i++) {
            b.fd = fd[i];
            b.ssl = NULL;
            b.ctx = NULL;
            assert_true(browser_closed(&b, 30000));
            browser_close(&b);
        }
        wait_connections(t.s, 0);
        simplex_server_stop(t.s);
    }
}

static void a_stop_does_not_wait_for_browsers(void **state)
{
    struct server t;

    (void)state;
    start_default(&t);
    for (size_t i = 0; i < SX_COUNT(others); i++)
        assert_true(browser_open(&others[i], i % 2 == 0 ? &t.https : &t.http));
    simplex_server_stop(t.s);
    for (size_t i = 0; i < SX_COUNT(others); i++) {
        assert_true(browser_closed(&others[i], 30000));
        browser_close(&others[i]);
    }
}

/* ---- certificates ---- */

static void expect_refused(const char *wanted, simplex_rc rc)
{
    simplex_server_config cfg;
    simplex_server *s;
    char error[500];

    init(&cfg);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &s), rc);
    assert_null(s);
    if (strstr(error, wanted) == NULL)
        fail_msg("%s", error);
}

static void certificates_that_cannot_be_used_stop_the_start(void **state)
{
    struct sx_errtext none = { 0 };

    (void)state;
    assert_int_equal(sx_file_write(dir, "web.key", sx_str("nonsense"), 0600, &none), SIMPLEX_OK);
    expect_refused("web.key is not the private key", SIMPLEX_E_KEY);
    assert_int_equal(unlink(key), 0);
    expect_refused("web.key", SIMPLEX_E_SYSTEM);
    web_cert_make(dir, WEB_EC, "site.example.org");
    assert_int_equal(sx_file_write(dir, "web.crt", sx_str("nonsense"), 0600, &none), SIMPLEX_OK);
    expect_refused("web.crt has no certificates", SIMPLEX_E_CERT);
    assert_int_equal(unlink(cert), 0);
    expect_refused("web.crt", SIMPLEX_E_SYSTEM);
    web_cert_make(dir, WEB_RSA_1024, "site.example.org");
    expect_refused("RSA of 2048 bits", SIMPLEX_E_UNSUPPORTED);
    web_cert_make(dir, WEB_EC, "site.example.org");
    char old[128];
    snprintf(old, sizeof(old), "%s/old.crt", dir);
    assert_int_equal(rename(cert, old), 0);
    web_cert_make(dir, WEB_EC, "site.example.org");
    assert_int_equal(rename(old, cert), 0); /* the key is the other one's */
    expect_refused("web.key is not the private key", SIMPLEX_E_KEY);
}

static void wait_for_name(const struct server *t, const char *wanted)
{
    char name[64] = "";

    for (int i = 0; i < 1000 && strcmp(name, wanted) != 0; i++) {
        assert_true(browser_open(&b, &t->https));
        browser_cert_name(&b, name);
        browser_close(&b);
        usleep(20000);
    }
    assert_string_equal(name, wanted);
}

/* Opening a FIFO waits for a writer, and reading a device may never end. */
static void what_is_no_file_is_not_waited_for(void **state)
{
    simplex_server_config cfg;
    struct server t;

    (void)state;
    assert_int_equal(unlink(key), 0);
    assert_int_equal(mkfifo(key, 0600), 0);
    expect_refused("web.key: it is not a file", SIMPLEX_E_SYSTEM);
    assert_int_equal(unlink(cert), 0);
    assert_int_equal(symlink("/dev/zero", cert), 0);
    expect_refused("web.crt: it is not a file", SIMPLEX_E_SYSTEM);
    assert_int_equal(unlink(cert), 0);
    assert_int_equal(mkdir(cert, 0700), 0);
    expect_refused("web.crt: it is not a file", SIMPLEX_E_SYSTEM);
    assert_int_equal(rmdir(cert), 0);
    assert_int_equal(unlink(key), 0);
    web_cert_make(dir, WEB_EC, "site.example.org");
    init(&cfg);
    start(&t, &cfg);
    assert_int_equal(unlink(key), 0);
    assert_int_equal(mkfifo(key, 0600), 0);
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    for (int i = 0; i < 10; i++) { /* the thread has looked at it by then, and serves on */
        assert_int_equal(browser_get(&b, &t.https, "/"), 200);
        usleep(20000);
    }
    assert_int_equal(unlink(key), 0);
    web_cert_make(dir, WEB_EC, "renewed.example.org");
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    wait_for_name(&t, "renewed.example.org");
    simplex_server_stop(t.s);
}

static void a_renewed_certificate_is_taken_while_it_runs(void **state)
{
    simplex_server_config cfg;
    struct server t;

    (void)state;
    init(&cfg);
    start(&t, &cfg);
    assert_true(browser_open(&others[0], &t.https));
    web_cert_make(dir, WEB_RSA_2048, "renewed.example.org");
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    wait_for_name(&t, "renewed.example.org");
    browser_send(&others[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); /* what is there goes on */
    assert_true(browser_read(&others[0], false));
    browser_close(&others[0]);
    /* What cannot be used changes nothing. */
    struct sx_errtext none = { 0 };
    assert_int_equal(sx_file_write(dir, "web.key", sx_str("nonsense"), 0600, &none), SIMPLEX_OK);
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    assert_int_equal(browser_get(&b, &t.https, "/"), 200);
    usleep(200000);
    wait_for_name(&t, "renewed.example.org");
    assert_smp(&t);
    /* Without being told: it looks every ten seconds. */
    web_cert_make(dir, WEB_EC, "again.example.org");
    for (int i = 0; i < 14; i++) {
        char name[64];
        sleep(1);
        assert_true(browser_open(&b, &t.https));
        browser_cert_name(&b, name);
        browser_close(&b);
        if (strcmp(name, "again.example.org") == 0)
            break;
    }
    wait_for_name(&t, "again.example.org");
    simplex_server_stop(t.s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_port_serves_browsers_and_smp_clients),
        TEST(naming_a_host_is_enough_and_nothing_else_makes_a_browser),
        TEST(one_of_two_hellos_that_names_a_host_makes_a_browser),
        TEST(other_ports_and_a_server_without_site_give_the_identity_to_everyone),
        TEST(a_port_for_https_alone_asks_for_no_name),
        TEST(rsa_and_ed25519_certificates_are_served_too),
        TEST(serves_files_and_nothing_around_them),
        TEST(a_challenge_that_is_put_there_is_served_at_once),
        TEST(what_a_browser_has_already_is_not_sent_again),
        TEST(requests_in_one_go_are_answered_in_order),
        TEST(what_is_no_request_for_a_file_is_refused),
        TEST(a_head_without_end_is_refused),
        TEST(a_large_file_comes_whole),
        TEST(browsers_beyond_the_limit_push_out_those_that_wait),
        TEST(browsers_leave_the_places_of_smp_clients),
        TEST(the_metrics_count_the_site),
        TEST(handshakes_that_do_not_end_are_given_up),
        TEST(a_stop_does_not_wait_for_browsers),
        TEST(certificates_that_cannot_be_used_stop_the_start),
        TEST(what_is_no_file_is_not_waited_for),
        TEST(a_renewed_certificate_is_taken_while_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
