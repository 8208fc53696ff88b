/* SPDX-License-Identifier: Apache-2.0 */
/* The site of smp-server, from init over the ini to browsers (smp.md section 10, [WEB]). */
#include "support/vec.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "file.h"
#include "identity.h"
#include "support/blocking_client.h"
#include "support/browser.h"
#include "support/program.h"

static char base[64], config_dir[96], state_dir[96];
static uint16_t port, http_port;
static struct browser b;
static struct browser_cfg https, http;

#define ARGS(...)                                                       \
    (const char *const[])                                               \
    {                                                                   \
        __VA_ARGS__, "--config", config_dir, "--state", state_dir, NULL \
    }

static uint16_t free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/simplex-test-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(config_dir, sizeof(config_dir), "%s/etc", base);
    snprintf(state_dir, sizeof(state_dir), "%s/var", base);
    port = free_port();
    http_port = free_port();
    https = (struct browser_cfg){ .port = port, .sni = "smp.example.org", .alpn = "http/1.1" };
    http = (struct browser_cfg){ .port = http_port, .plain = true };
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    vec_free_all();
    return system(command);
}

/* smp-server.ini with `text` behind it, which may open sections that it does not have. */
static void write_ini(const char *web, const char *information)
{
    struct sx_errtext none = { 0 };
    char text[2048];

    snprintf(text, sizeof(text),
             "[INFORMATION]\n%s[STORE_LOG]\nenable: on\n[TRANSPORT]\nhost: smp.example.org\n"
             "port: %u\nwebsockets: off\n[WEB]\n%s",
             information, port, web);
    assert_int_equal(sx_file_write(config_dir, "smp-server.ini", sx_str(text), 0600, &none),
                     SIMPLEX_OK);
}

static void write_web(const char *information)
{
    char web[512];

    snprintf(web, sizeof(web),
             "static_path: %s/www\nhttp: %u\nhttps: %u\ncert: %s/web.crt\nkey: %s/web.key\n",
             state_dir, http_port, port, config_dir, config_dir);
    write_ini(web, information);
}

static void init_server(void)
{
    program_expect(SMP_SERVER, ARGS("init", "-y", "--no-password", "-n", "smp.example.org"), NULL,
                   0, "Server initialized");
}

static void start_server(struct program *p)
{
    program_run(p, SMP_SERVER, ARGS("start"), NULL);
    if (!program_read(p, "creating new queues"))
        fail_msg("%s", p->text);
}

static void stop_server(struct program *p)
{
    assert_int_equal(kill(p->pid, SIGTERM), 0);
    assert_int_equal(program_end(p), 0);
}

static void assert_smp(void)
{
    struct sx_errtext none = { 0 };
    struct sx_cmd ping = { .tag = SX_PING };
    struct sx_identity id;
    struct smp_peer p;

    assert_int_equal(sx_identity_read(&id, config_dir, &none), SIMPLEX_OK);
    const struct smp_peer_cfg cfg = { .port = port, .key_hash = id.fingerprint };
    assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(&p, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&p);
    sx_identity_wipe(&id);
}

/* The reference's test of a shared port. */
static void one_port_for_https_and_smp_as_the_ini_says(void **state)
{
    struct program p;
    char line[160], name[64];

    (void)state;
    init_server();
    web_cert_make(config_dir, WEB_RSA_2048, "smp.example.org");
    write_web("source_code: https://example.org/one\n");
    start_server(&p);
    snprintf(line, sizeof(line), "Serving static site on port %u (TLS)...\n", port);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Serving static site on port %u...\n", http_port);
    assert_non_null(strstr(p.text, line));
    assert_smp();
    assert_int_equal(browser_get(&b, &http, "/"), 200);
    assert_non_null(strstr(b.body, "@smp.example.org:"));
    assert_int_equal(browser_get(&b, &https, "/"), 200);
    assert_non_null(strstr(b.body, "https://example.org/one"));
    assert_true(browser_open(&b, &https));
    browser_cert_name(&b, name);
    assert_string_equal(name, "smp.example.org");
    browser_close(&b);
    static const char *const pages[] = { "/a",
                                         "/c",
                                         "/g",
                                         "/i",
                                         "/r",
                                         "/contact/",
                                         "/invitation/",
                                         "/media/link.js",
                                         "/media/style.css",
                                         "/.well-known/apple-app-site-association",
                                         "/.well-known/assetlinks.json" };
    for (size_t i = 0; i < SX_COUNT(pages); i++)
        if (browser_get(&b, &https, pages[i]) != 200)
            fail_msg("%s: %u", pages[i], b.status);
    assert_true(browser_has(&b, "Content-Type: application/json"));
    assert_smp();
    stop_server(&p);
}

static void sighup_brings_pages_and_certificate_up_to_date(void **state)
{
    struct program p;
    char name[64] = "";

    (void)state;
    init_server();
    web_cert_make(config_dir, WEB_EC, "smp.example.org");
    write_web("source_code: https://example.org/one\n");
    start_server(&p);
    write_web("source_code: https://example.org/two\n");
    web_cert_make(config_dir, WEB_EC, "renewed.example.org");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 1 change."));
    /* Its thread may say so before or after that. */
    if (strstr(p.text, "the web certificate was read again") == NULL)
        assert_true(program_read(&p, "the web certificate was read again"));
    assert_int_equal(browser_get(&b, &https, "/"), 200);
    assert_non_null(strstr(b.body, "https://example.org/two"));
    assert_true(browser_open(&b, &https));
    browser_cert_name(&b, name);
    assert_string_equal(name, "renewed.example.org");
    browser_close(&b);
    stop_server(&p);
}

static void a_start_names_the_line_of_a_certificate_that_cannot_be_used(void **state)
{
    struct sx_errtext none = { 0 };

    (void)state;
    init_server();
    write_web("");
    program_expect(SMP_SERVER, ARGS("start"), NULL, 1,
                   "smp-server.ini:12: [WEB] cert: cannot read");
    web_cert_make(config_dir, WEB_EC, "smp.example.org");
    assert_int_equal(sx_file_write(config_dir, "web.key", sx_str("x"), 0600, &none), SIMPLEX_OK);
    program_expect(SMP_SERVER, ARGS("start"), NULL, 1, "smp-server.ini:13: [WEB] key: ");
    program_expect(SMP_SERVER, ARGS("start"), NULL, 1, "write # before https, cert and key");
}

static void init_writes_the_site_with_https_when_there_is_a_certificate(void **state)
{
    struct sx_errtext none = { 0 };
    struct sx_config c;
    char path[160];

    (void)state;
    init_server();
    snprintf(path, sizeof(path), "%s/smp-server.ini", config_dir);
    assert_int_equal(sx_config_read(path, NULL, NULL, &c), SIMPLEX_OK);
    assert_non_null(c.web.static_path);
    assert_false(sx_config_has_https(&c));
    sx_config_free(&c);
    program_expect(SMP_SERVER, ARGS("delete"), "Y\n", 0, NULL);

    assert_int_equal(sx_dir_make(config_dir, 0700, &none), SIMPLEX_OK);
    web_cert_make(config_dir, WEB_EC, "smp.example.org");
    program_expect(SMP_SERVER, ARGS("init", "-y", "--web-path", "/srv/www"), NULL, 0, NULL);
    assert_int_equal(sx_config_read(path, NULL, NULL, &c), SIMPLEX_OK);
    assert_string_equal(c.web.static_path, "/srv/www");
    assert_true(sx_config_has_https(&c));
    assert_int_equal(c.web.https, 443);
    sx_config_free(&c);
    program_expect(SMP_SERVER, ARGS("delete"), "Y\n", 0, NULL);

    program_expect(SMP_SERVER, ARGS("init", "-y", "--disable-web"), NULL, 0, NULL);
    assert_int_equal(sx_config_read(path, NULL, NULL, &c), SIMPLEX_OK);
    assert_null(c.web.static_path);
    assert_int_equal(c.web.https, 0);
    sx_config_free(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_port_for_https_and_smp_as_the_ini_says),
        TEST(sighup_brings_pages_and_certificate_up_to_date),
        TEST(a_start_names_the_line_of_a_certificate_that_cannot_be_used),
        TEST(init_writes_the_site_with_https_when_there_is_a_certificate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
