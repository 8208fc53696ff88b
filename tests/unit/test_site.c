/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that smp-server writes about itself. */
#include "support/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "site.h"
#include "wire/server.h"

#define FINGERPRINT "0123456789abcdefghijklmnopqrstuvwxyzABCDEF0="

static struct sx_config c;
static char dir[64];
static struct sx_wr page;

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/simplex-test-XXXXXX");
    sx_wr_init(&page, SX_SITE_PAGE_MAX);
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    sx_wr_free(&page);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void load(const char *text)
{
    assert_int_equal(sx_config_parse("ini", sx_str(text), NULL, NULL, &c), SIMPLEX_OK);
}

static const char *index_text(void)
{
    sx_wr_reset(&page);
    sx_site_index(&page, &c, FINGERPRINT);
    sx_wr_u8(&page, 0);
    assert_false(page.bad);
    return (const char *)page.p;
}

#define HAS(text, part) assert_non_null(strstr(text, part))
#define HAS_NOT(text, part) assert_null(strstr(text, part))

static void the_page_says_what_the_ini_says(void **state)
{
    (void)state;
    load("[TRANSPORT]\nhost: smp.example.org,2001:db8::1\nport: 5223,443\n"
         "[AUTH]\ncreate_password: hunter2\n"
         "[STORE_LOG]\nenable: on\nexpire_messages_days: 1\nlog_stats: on\n"
         "[INFORMATION]\nsource_code: https://example.org/src\noperator: O\noperator_country: SE\n"
         "admin_email: admin@example.org\nhosting: H\n");
    const char *text = index_text();
    HAS(text, "smp://" FINGERPRINT "@smp.example.org,[2001:db8::1]</code>");
    HAS_NOT(text, "hunter2");
    HAS(text, "with a password");
    HAS(text, "queues and messages");
    HAS(text, "after 1 day<");
    HAS(text, "<a rel=\"noreferrer\" href=\"https://example.org/src\">https://example.org/src</a>");
    HAS(text, "O (SE)");
    HAS(text, "href=\"mailto:admin@example.org\"");
    HAS(text, "Administrator");
    HAS_NOT(text, "Complaints");
    sx_config_free(&c);
}

/* Clients take addresses with one port, or none, which means 5223. */
static void the_address_is_one_that_clients_take(void **state)
{
    static const struct {
        const char *ports, *written;
        uint16_t port;
    } rows[] = {
        { "5223", "", 5223 },      { "5223,443", "", 5223 },      { "443,5223", "", 5223 },
        { "7001", ":7001", 7001 }, { "7001,443", ":7001", 7001 },
    };
    char text[128], address[256];
    struct sx_server server;
    struct sx_wr w;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        snprintf(text, sizeof(text), "[TRANSPORT]\nhost: smp.example.org,::1\nport: %s\n",
                 rows[i].ports);
        load(text);
        sx_wr_fixed(&w, address, sizeof(address));
        sx_site_address(&w, &c, FINGERPRINT);
        assert_int_equal(sx_server_parse(sx_wr_bytes(&w), &server, NULL), SIMPLEX_OK);
        assert_int_equal(sx_server_port(&server), rows[i].port);
        sx_wr_u8(&w, 0);
        snprintf(text, sizeof(text), "smp://" FINGERPRINT "@smp.example.org,[::1]%s",
                 rows[i].written);
        assert_string_equal(address, text);
        sx_config_free(&c);
    }
}

static void without_source_code_nothing_of_the_operator_is_shown(void **state)
{
    (void)state;
    load("[TRANSPORT]\nport: 5223\n[INFORMATION]\noperator: Somebody\n");
    const char *text = index_text();
    HAS_NOT(text, "Somebody");
    HAS_NOT(text, "smp://");
    HAS(text, "Fingerprint: <code>" FINGERPRINT);
    sx_config_free(&c);
}

static void values_cannot_become_markup(void **state)
{
    (void)state;
    load("[TRANSPORT]\nport: 5223\n[INFORMATION]\nsource_code: https://example.org/\"><script>\n"
         "operator: <script>alert(1)</script> & \"x\"\nwebsite: javascript:alert(1)\n");
    const char *text = index_text();
    HAS_NOT(text, "<script>");
    HAS_NOT(text, "href=\"javascript");
    HAS(text, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;");
    HAS(text, "https://example.org/&quot;&gt;&lt;script&gt;");
    HAS(text, "Content-Security-Policy");
    sx_config_free(&c);
}

static void the_code_is_drawn_when_there_is_a_library_for_it(void **state)
{
    (void)state;
    sx_wr_reset(&page);
    sx_site_qr(&page, "smp://" FINGERPRINT "@smp.example.org");
    sx_wr_u8(&page, 0);
    const char *text = (const char *)page.p;
    if (*text == 0)
        skip(); /* built without libqrencode */
    HAS(text, "<svg class=\"qr\"");
    HAS(text, "d=\"M4 4h7v1h-7z"); /* the corner of any code */
    HAS(text, "</svg>");
}

/* ---- files ---- */

static char *read_back(const char *folder, const char *name)
{
    struct sx_errtext none = { 0 };
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, folder);
    sx_wr_reset(&page);
    assert_int_equal(sx_file_read(path, name, &page, &none), SIMPLEX_OK);
    sx_wr_u8(&page, 0);
    return (char *)page.p;
}

static unsigned write_site(void)
{
    char error[256] = "";
    struct sx_errtext err = { error, sizeof(error) };
    unsigned kept;

    if (sx_site_write(dir, &c, FINGERPRINT, &kept, &err) != SIMPLEX_OK)
        fail_msg("%s", error);
    return kept;
}

static void the_folder_has_the_files_of_the_reference(void **state)
{
    static const char *const links[] = { "a", "c", "g", "i", "r", "contact", "invitation" };

    (void)state;
    load("[TRANSPORT]\nport: 5223\n");
    assert_int_equal(write_site(), 0);
    for (size_t i = 0; i < SX_COUNT(links); i++)
        HAS(read_back(links[i], "index.html"), "/media/link.js");
    HAS(read_back("", "index.html"), "/media/style.css");
    HAS(read_back("media", "link.js"), "location.hash");
    HAS(read_back("media", "style.css"), "body");
    static const char *const json[] = { "apple-app-site-association", "assetlinks.json" };
    for (size_t i = 0; i < SX_COUNT(json); i++) {
        cJSON *parsed = cJSON_Parse(read_back("well-known", json[i]));
        assert_non_null(parsed);
        cJSON_Delete(parsed);
    }
    sx_config_free(&c);
}

static void pages_of_others_stay_and_ours_follow_the_ini(void **state)
{
    struct sx_errtext none = { 0 };

    (void)state;
    load("[TRANSPORT]\nport: 5223\n");
    assert_int_equal(write_site(), 0);
    assert_int_equal(write_site(), 0);
    sx_config_free(&c);
    load("[TRANSPORT]\nport: 5223\n[AUTH]\nnew_queues: off\n");
    assert_int_equal(write_site(), 0);
    HAS(read_back("", "index.html"), "not allowed");
    assert_int_equal(sx_file_write(dir, "index.html", sx_str("<p>my own\n"), 0644, &none),
                     SIMPLEX_OK);
    assert_int_equal(write_site(), 1);
    assert_string_equal(read_back("", "index.html"), "<p>my own\n");
    /* One of the reference is replaced, as by itself. */
    assert_int_equal(sx_file_write(dir, "index.html",
                                   sx_str("<link href=\"/media/tailwind.css\" rel=\"x\">"), 0644,
                                   &none),
                     SIMPLEX_OK);
    assert_int_equal(write_site(), 0);
    HAS(read_back("", "index.html"), "not allowed");
    sx_config_free(&c);
}

/* They name apps and cannot carry a mark of who made them: other apps may have been added. */
static void the_associations_of_apps_that_were_edited_stay(void **state)
{
    static const char *const names[] = { "assetlinks.json", "apple-app-site-association" };
    struct sx_errtext none = { 0 };
    char path[128], text[8192];

    (void)state;
    load("[TRANSPORT]\nport: 5223\n");
    assert_int_equal(write_site(), 0);
    snprintf(path, sizeof(path), "%s/well-known", dir);
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        snprintf(text, sizeof(text), "%s ", read_back("well-known", names[i]));
        assert_non_null(strstr(text, "chat.simplex.app"));
        assert_int_equal(sx_file_write(path, names[i], sx_str(text), 0644, &none), SIMPLEX_OK);
        assert_int_equal(write_site(), i + 1);
        assert_string_equal(read_back("well-known", names[i]), text);
    }
    sx_config_free(&c);
}

static void what_is_no_file_stays_and_is_not_waited_for(void **state)
{
    char path[2][128];
    struct stat st;

    (void)state;
    load("[TRANSPORT]\nport: 5223\n");
    assert_int_equal(write_site(), 0);
    snprintf(path[0], sizeof(path[0]), "%s/index.html", dir);
    snprintf(path[1], sizeof(path[1]), "%s/media/style.css", dir);
    assert_int_equal(unlink(path[0]), 0);
    assert_int_equal(unlink(path[1]), 0);
    assert_int_equal(mkfifo(path[0], 0644), 0);
    assert_int_equal(mkdir(path[1], 0755), 0);
    assert_int_equal(write_site(), 2);
    assert_true(stat(path[0], &st) == 0 && S_ISFIFO(st.st_mode));
    assert_true(stat(path[1], &st) == 0 && S_ISDIR(st.st_mode));
    sx_config_free(&c);
}

static void a_folder_that_cannot_be_made_is_named(void **state)
{
    char path[128], error[256] = "";
    struct sx_errtext err = { error, sizeof(error) }, none = { 0 };
    unsigned kept;

    (void)state;
    load("[TRANSPORT]\nport: 5223\n");
    assert_int_equal(sx_file_write(dir, "file", sx_str("x"), 0644, &none), SIMPLEX_OK);
    snprintf(path, sizeof(path), "%s/file", dir);
    assert_int_not_equal(sx_site_write(path, &c, FINGERPRINT, &kept, &err), SIMPLEX_OK);
    HAS(error, path);
    sx_config_free(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_page_says_what_the_ini_says),
        TEST(the_address_is_one_that_clients_take),
        TEST(without_source_code_nothing_of_the_operator_is_shown),
        TEST(values_cannot_become_markup),
        TEST(the_code_is_drawn_when_there_is_a_library_for_it),
        TEST(the_folder_has_the_files_of_the_reference),
        TEST(pages_of_others_stay_and_ours_follow_the_ini),
        TEST(the_associations_of_apps_that_were_edited_stay),
        TEST(what_is_no_file_stays_and_is_not_waited_for),
        TEST(a_folder_that_cannot_be_made_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
