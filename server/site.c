/* SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#define DIR_MODE 0755 /* for another web server too */
#define FILE_MODE 0644
#define LOOK 4096 /* bytes of a page that tell who made it */

static const char style[] =
    "/* made by smp-server */\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto;"
    " padding: 0 1rem; }\n"
    "h1 { font-size: 1.6rem; }\n"
    "h2 { font-size: 1.2rem; margin-bottom: .3rem; }\n"
    "table { border-collapse: collapse; width: 100%; }\n"
    "th { text-align: left; font-weight: normal; opacity: .7; width: 14rem;"
    " vertical-align: top; }\n"
    "td, code { overflow-wrap: anywhere; }\n"
    ".qr { width: 16rem; max-width: 100%; display: block; }\n"
    ".button { display: inline-block; padding: .6rem 1.2rem; border-radius: .5rem;"
    " background: #0053d0; color: #fff; text-decoration: none; }\n"
    "footer { margin-top: 3rem; opacity: .6; font-size: .9rem; }\n";

/* https://host/a#key?p=..&c=.. is simplex:/a#key?h=host&p=..&c=.. (agent.md, short links); links in
 * full name their servers themselves. */
static const char script[] =
    "/* made by smp-server */\n"
    "'use strict';\n"
    "(function () {\n"
    "  function appLink() {\n"
    "    var kind = location.pathname.split('/').filter(Boolean)[0] || '';\n"
    "    var rest = location.hash;\n"
    "    if (rest.length < 2) return null;\n"
    "    if (kind === 'contact' || kind === 'invitation') return 'simplex:/' + kind + rest;\n"
    "    var at = rest.indexOf('?');\n"
    "    var key = at < 0 ? rest : rest.slice(0, at);\n"
    "    var query = at < 0 ? [] : rest.slice(at + 1).split('&');\n"
    "    var hosts = [location.hostname], others = [];\n"
    "    query.forEach(function (p) {\n"
    "      if (p.slice(0, 2) === 'h=') hosts.push(p.slice(2)); else if (p) others.push(p);\n"
    "    });\n"
    "    return 'simplex:/' + kind + key + '?' + ['h=' + hosts.join(',')].concat(others)"
    ".join('&');\n"
    "  }\n"
    "  function show() {\n"
    "    var link = appLink();\n"
    "    document.getElementById('open').hidden = link === null;\n"
    "    document.getElementById('none').hidden = link !== null;\n"
    "    if (link !== null) document.getElementById('app').setAttribute('href', link);\n"
    "  }\n"
    "  show();\n"
    "  window.addEventListener('hashchange', show);\n"
    "})();\n";

/* Apps of the SimpleX project open links to this server: public identifiers of theirs. */
static const char apple[] =
    "{\"applinks\":{\"details\":[{\"appIDs\":[\"5NN7GUYB6T.chat.simplex.app\"],\"components\":["
    "{\"/\":\"/contact\"},{\"/\":\"/contact/*\"},{\"/\":\"/invitation\"},"
    "{\"/\":\"/invitation/*\"},"
    "{\"/\":\"/a\"},{\"/\":\"/a/*\"},{\"/\":\"/c\"},{\"/\":\"/c/*\"},{\"/\":\"/g\"},"
    "{\"/\":\"/g/*\"},{\"/\":\"/r\"},{\"/\":\"/r/*\"},{\"/\":\"/i\"},{\"/\":\"/i/*\"}]}]}}\n";
static const char android[] =
    "[{\"relation\":[\"delegate_permission/common.handle_all_urls\"],\"target\":{"
    "\"namespace\":\"android_app\",\"package_name\":\"chat.simplex.app\","
    "\"sha256_cert_fingerprints\":["
    "\"5E:3E:DC:C2:00:FB:A8:D5:F4:88:F3:CA:4C:32:5B:05:78:C5:6A:9C:03:A1:CC:B5:92:9C:D7:5C:7E:57:"
    "E2:4D\","
    "\"3C:52:C4:FD:3C:AD:1C:07:C9:B0:0A:70:80:E3:58:FA:B9:FE:FC:B8:AF:5A:EC:14:77:65:F1:6D:0F:21:"
    "AD:85\"]}}]\n";

/* Pages carry the generator, style and script the comment; pages of the reference load this style
 * sheet. */
static bool is_made(simplex_bytes text)
{
    static const char *const marks[] = { "content=\"smp-server\"", "/* made by smp-server */",
                                         "/media/tailwind.css" };
    char head[LOOK + 1];
    size_t n = text.len < LOOK ? text.len : LOOK;

    memcpy(head, text.ptr == NULL ? (const uint8_t *)"" : text.ptr, n);
    head[n] = 0;
    for (size_t i = 0; i < SX_COUNT(marks); i++)
        if (strstr(head, marks[i]) != NULL)
            return true;
    return false;
}

/* Somebody's own, or what cannot be read: both stay. So do associations of apps, which have no room
 * for a mark, once they are edited. */
static bool is_foreign(const char *dir, const char *name, simplex_bytes wanted, bool *same)
{
    struct sx_errtext none = { 0 };
    struct sx_wr w;

    *same = false;
    if (!sx_file_exists(dir, name))
        return false;
    sx_wr_init(&w, SX_SITE_PAGE_MAX);
    bool foreign = true;
    if (sx_file_read(dir, name, &w, &none) == SIMPLEX_OK) {
        *same = sx_bytes_eq(sx_wr_bytes(&w), wanted);
        foreign = !*same && !is_made(sx_wr_bytes(&w));
    }
    sx_wr_free(&w);
    return foreign;
}

static simplex_rc put_file(const char *dir, const char *name, simplex_bytes text, unsigned *kept,
                           struct sx_errtext *err)
{
    bool same;

    if (is_foreign(dir, name, text, &same)) {
        ++*kept;
        return SIMPLEX_OK;
    }
    return same ? SIMPLEX_OK : sx_file_write(dir, name, text, FILE_MODE, err);
}

static simplex_rc put_below(const char *site, const char *folder, const char *name,
                            simplex_bytes text, unsigned *kept, struct sx_errtext *err)
{
    char dir[SX_PATH_MAX];

    if (!sx_path_join(dir, site, folder)) {
        sx_errtext_set(err, "the path %.60s... is too long", site);
        return SIMPLEX_E_ARG;
    }
    simplex_rc rc = sx_dir_make(dir, DIR_MODE, err);
    return rc == SIMPLEX_OK ? put_file(dir, name, text, kept, err) : rc;
}

static simplex_rc put_links(const char *dir, unsigned *kept, struct sx_errtext *err)
{
    static const char *const folders[] = { "contact", "invitation", "a", "c", "g", "r", "i" };
    simplex_rc rc = SIMPLEX_OK;
    struct sx_wr page;

    sx_wr_init(&page, SX_SITE_PAGE_MAX);
    sx_site_link(&page);
    if (page.bad)
        rc = SIMPLEX_E_NOMEM;
    for (size_t i = 0; rc == SIMPLEX_OK && i < SX_COUNT(folders); i++)
        rc = put_below(dir, folders[i], "index.html", sx_wr_bytes(&page), kept, err);
    sx_wr_free(&page);
    return rc;
}

static simplex_rc put_others(const char *dir, unsigned *kept, struct sx_errtext *err)
{
    static const struct {
        const char *folder, *name, *text;
    } files[] = {
        { "media", "style.css", style },
        { "media", "link.js", script },
        { "well-known", "apple-app-site-association",
          apple }, /* as /.well-known/, see web_file.h */
        { "well-known", "assetlinks.json", android },
    };
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; rc == SIMPLEX_OK && i < SX_COUNT(files); i++)
        rc = put_below(dir, files[i].folder, files[i].name, sx_str(files[i].text), kept, err);
    return rc;
}

simplex_rc sx_site_write(const char *dir, const struct sx_config *c, const char *fingerprint,
                         unsigned *kept, struct sx_errtext *err)
{
    struct sx_wr page;

    *kept = 0;
    sx_wr_init(&page, SX_SITE_PAGE_MAX);
    sx_site_index(&page, c, fingerprint);
    simplex_rc rc = page.bad ? SIMPLEX_E_NOMEM : sx_dir_make(dir, DIR_MODE, err);
    if (rc == SIMPLEX_OK)
        rc = put_file(dir, "index.html", sx_wr_bytes(&page), kept, err);
    sx_wr_free(&page);
    if (rc == SIMPLEX_OK)
        rc = put_links(dir, kept, err);
    if (rc == SIMPLEX_OK)
        rc = put_others(dir, kept, err);
    return rc;
}
