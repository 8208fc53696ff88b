/* SPDX-License-Identifier: Apache-2.0 */
/* The site of smp-server, from init over the ini to browsers (smp.md section 10, [WEB]). */
#include "support/vec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli_stage.h"
#include "file.h"
#include "support/browser.h"
#include "support/free_port.h"

static uint16_t http_port;
static struct browser b;
static struct browser_cfg https, http;

static int set_up(void **state)
{
    if (make_dirs(state) != 0)
        return -1;
    init_server();
    http_port = free_port();
    https = (struct browser_cfg){ .port = port, .sni = "smp.example.org", .alpn = "http/1.1" };
    http = (struct browser_cfg){ .port = http_port, .plain = true };
    return 0;
}

/* smp-server.ini with a site, and with this about the server. */
static void write_web(const char *information)
{
    char text[2048];

    snprintf(text, sizeof(text),
             "[INFORMATION]\n%s[STORE_LOG]\nenable: on\n[TRANSPORT]\nhost: smp.example.org\n"
             "port: %u\nwebsockets: off\n[WEB]\nstatic_path: %s/www\nhttp: %u\nhttps: %u\n"
             "cert: %s/web.crt\nkey: %s/web.key\n",
             information, port, state_dir, http_port, port, config_dir, config_dir);
    write_text("smp-server.ini", text);
}

/* The reference's test of a shared port. */
static void one_port_for_https_and_smp_as_the_ini_says(void **state)
{
    struct program p;
    char line[160], name[64];

    (void)state;
    web_cert_make(config_dir, WEB_RSA_2048, "smp.example.org");
    write_web("source_code: https://example.org/one\n");
    start_server(&p);
    snprintf(line, sizeof(line), "Serving static site on port %u (TLS)...\n", port);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Serving static site on port %u...\n", http_port);
    assert_non_null(strstr(p.text, line));
    assert_served(&p, "");
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
    assert_served(&p, "");
    stop_server(&p, SIGTERM);
}

static void sighup_brings_pages_and_certificate_up_to_date(void **state)
{
    struct program p;
    char name[64] = "";

    (void)state;
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
    stop_server(&p, SIGTERM);
}

static void a_start_names_the_line_of_a_certificate_that_cannot_be_used(void **state)
{
    (void)state;
    write_web("");
    expect(ARG("start"), NULL, 1, "smp-server.ini:12: [WEB] cert: cannot read");
    web_cert_make(config_dir, WEB_EC, "smp.example.org");
    write_text("web.key", "x");
    expect(ARG("start"), NULL, 1, "smp-server.ini:13: [WEB] key: ");
    expect(ARG("start"), NULL, 1, "write # before https, cert and key");
}

static void init_writes_the_site_with_https_when_there_is_a_certificate(void **state)
{
    struct sx_errtext none = { 0 };
    struct sx_config c;

    (void)state;
    read_config(&c);
    assert_non_null(c.web.static_path);
    assert_false(sx_config_has_https(&c));
    sx_config_free(&c);
    expect(ARG("delete"), "Y\n", 0, NULL);

    assert_int_equal(sx_dir_make(config_dir, 0700, &none), SIMPLEX_OK);
    web_cert_make(config_dir, WEB_EC, "smp.example.org");
    expect(ARG("init", "-y", "--web-path", "/srv/www"), NULL, 0, NULL);
    read_config(&c);
    assert_string_equal(c.web.static_path, "/srv/www");
    assert_true(sx_config_has_https(&c));
    assert_int_equal(c.web.https, 443);
    sx_config_free(&c);
    expect(ARG("delete"), "Y\n", 0, NULL);

    expect(ARG("init", "-y", "--disable-web"), NULL, 0, NULL);
    read_config(&c);
    assert_null(c.web.static_path);
    assert_int_equal(c.web.https, 0);
    sx_config_free(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, remove_dirs)

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
