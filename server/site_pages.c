/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "site.h"

void sx_site_escape(struct sx_wr *w, const char *text)
{
    for (const char *p = text; *p != 0; p++) {
        switch (*p) {
        case '&':
            sx_wr_text(w, "&amp;");
            break;
        case '<':
            sx_wr_text(w, "&lt;");
            break;
        case '>':
            sx_wr_text(w, "&gt;");
            break;
        case '"':
            sx_wr_text(w, "&quot;");
            break;
        default:
            sx_wr_u8(w, (uint8_t)*p);
        }
    }
}

/* A page loads and runs what is in files of this server alone, whatever a value may contain. */
static void begin(struct sx_wr *w, const char *title)
{
    sx_wr_text(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta name=\"generator\" content=\"smp-server\">\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                  "style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; "
                  "form-action 'none'\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta name=\"referrer\" content=\"no-referrer\">\n"
                  "<link rel=\"stylesheet\" href=\"/media/style.css\">\n<title>");
    sx_site_escape(w, title);
    sx_wr_text(w, "</title>\n</head>\n<body>\n<main>\n");
}

static void end(struct sx_wr *w)
{
    sx_wr_text(w, "</main>\n<footer>smp-server of libsimplex " SX_VERSION "</footer>\n"
                  "</body>\n</html>\n");
}

/* ---- the server ---- */

/* IPv6 in brackets, and the port when it is not the one that clients use without. */
void sx_site_address(struct sx_wr *w, const struct sx_config *c, const char *fingerprint)
{
    const char *hosts = c->transport.host;
    unsigned port = sx_config_client_port(c);
    char text[8];

    sx_wr_text(w, "smp://");
    sx_wr_text(w, fingerprint);
    sx_wr_text(w, "@");
    for (const char *p = hosts; p != NULL;) {
        size_t n = strcspn(p, ",");
        bool bare = memchr(p, ':', n) != NULL && p[0] != '[';
        sx_wr_text(w, bare ? "[" : "");
        sx_wr_raw(w, sx_bytes(p, n));
        sx_wr_text(w, bare ? "]" : "");
        p = p[n] == 0 ? NULL : p + n + 1;
        sx_wr_text(w, p == NULL ? "" : ",");
    }
    if (port != SX_CONFIG_CLIENT_PORT) {
        snprintf(text, sizeof(text), ":%u", port);
        sx_wr_text(w, text);
    }
}

static void row_begin(struct sx_wr *w, const char *name)
{
    sx_wr_text(w, "<tr><th>");
    sx_wr_text(w, name);
    sx_wr_text(w, "</th><td>");
}

static void row_end(struct sx_wr *w)
{
    sx_wr_text(w, "</td></tr>\n");
}

static void row(struct sx_wr *w, const char *name, const char *value)
{
    if (value == NULL)
        return;
    row_begin(w, name);
    sx_site_escape(w, value);
    row_end(w);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A link when the value is one that a browser opens; anything else (javascript:, say) is text. */
static void link_row(struct sx_wr *w, const char *name, const char *value)
{
    if (value == NULL ||
        !(begins(value, "https://") || begins(value, "http://") || begins(value, "simplex:"))) {
        row(w, name, value);
        return;
    }
    row_begin(w, name);
    sx_wr_text(w, "<a rel=\"noreferrer\" href=\"");
    sx_site_escape(w, value);
    sx_wr_text(w, "\">");
    sx_site_escape(w, value);
    sx_wr_text(w, "</a>");
    row_end(w);
}

static void email_row(struct sx_wr *w, const char *name, const char *value)
{
    if (value == NULL)
        return;
    row_begin(w, name);
    sx_wr_text(w, "<a href=\"mailto:");
    sx_site_escape(w, value);
    sx_wr_text(w, "\">");
    sx_site_escape(w, value);
    sx_wr_text(w, "</a>");
    row_end(w);
}

static void named_row(struct sx_wr *w, const char *name, const char *value, const char *country)
{
    if (value == NULL)
        return;
    row_begin(w, name);
    sx_site_escape(w, value);
    if (country != NULL) {
        sx_wr_text(w, " (");
        sx_site_escape(w, country);
        sx_wr_text(w, ")");
    }
    row_end(w);
}

/* A heading, if anything stands below it. */
static void section(struct sx_wr *w, const char *title, const char *const *values, size_t n)
{
    size_t i = 0;

    while (i < n && values[i] == NULL)
        i++;
    if (i == n)
        return;
    sx_wr_text(w, "</table>\n<h2>");
    sx_wr_text(w, title);
    sx_wr_text(w, "</h2>\n<table>\n");
}

static const char *kept(const struct sx_config *c)
{
    if (!c->store.enable)
        return "nothing, when the server is restarted";
    return c->store.restore_messages ? "queues and messages" : "queues";
}

static void settings(struct sx_wr *w, const struct sx_config *c)
{
    int64_t days = c->store.expire_messages_ms / 86400000;
    char text[64];

    snprintf(text, sizeof(text), "after %" PRId64 " day%s", days, days == 1 ? "" : "s");
    sx_wr_text(w, "<h2>Settings</h2>\n<table>\n");
    row(w, "Kept on disk", kept(c));
    row(w, "Messages expire", text);
    row(w, "Daily statistics", c->store.log_stats ? "yes" : "no");
    row(w, "New queues",
        !c->auth.new_queues               ? "not allowed"
        : c->auth.create_password != NULL ? "with a password"
                                          : "allowed to everybody");
}

/* Without source_code the rest is not shown (section 10). */
static void information(struct sx_wr *w, const struct sx_config *c)
{
    const char *const admin[] = { c->info.admin_simplex, c->info.admin_email, c->info.admin_pgp,
                                  c->info.admin_pgp_fingerprint };
    const char *const complaints[] = { c->info.complaints_simplex, c->info.complaints_email,
                                       c->info.complaints_pgp, c->info.complaints_pgp_fingerprint };

    if (c->info.source_code == NULL)
        return;
    section(w, "Server", (const char *const *)&c->info.source_code, 1);
    link_row(w, "Source code", c->info.source_code);
    link_row(w, "Conditions of use", c->info.usage_conditions);
    link_row(w, "Amendments", c->info.condition_amendments);
    named_row(w, "Operator", c->info.operator_name, c->info.operator_country);
    link_row(w, "Web site", c->info.website);
    row(w, "Country of the server", c->info.server_country);
    named_row(w, "Hosting", c->info.hosting, c->info.hosting_country);
    row(w, "Type of hosting", c->info.hosting_type);
    section(w, "Administrator", admin, SX_COUNT(admin));
    link_row(w, "SimpleX", c->info.admin_simplex);
    email_row(w, "E-mail", c->info.admin_email);
    link_row(w, "PGP key", c->info.admin_pgp);
    row(w, "PGP fingerprint", c->info.admin_pgp_fingerprint);
    section(w, "Complaints and feedback", complaints, SX_COUNT(complaints));
    link_row(w, "SimpleX", c->info.complaints_simplex);
    email_row(w, "E-mail", c->info.complaints_email);
    link_row(w, "PGP key", c->info.complaints_pgp);
    row(w, "PGP fingerprint", c->info.complaints_pgp_fingerprint);
}

void sx_site_index(struct sx_wr *w, const struct sx_config *c, const char *fingerprint)
{
    char address[2048];
    struct sx_wr a;

    begin(w, "SMP server");
    sx_wr_text(w, "<h1>SMP server</h1>\n"
                  "<p>A relay of the SimpleX network: it passes on encrypted messages and does not "
                  "know between whom.</p>\n");
    if (c->transport.host != NULL) {
        sx_wr_fixed(&a, address, sizeof(address));
        sx_site_address(&a, c, fingerprint);
        sx_wr_u8(&a, 0);
        w->bad = w->bad || a.bad;
        if (!a.bad) {
            sx_wr_text(w, "<p>Its address, to add in the app under network and servers:</p>\n"
                          "<p class=\"address\"><code>");
            sx_site_escape(w, address);
            sx_wr_text(w, "</code></p>\n");
            sx_site_qr(w, address);
        }
    } else {
        sx_wr_text(w, "<p>Fingerprint: <code>");
        sx_site_escape(w, fingerprint);
        sx_wr_text(w, "</code></p>\n");
    }
    settings(w, c);
    information(w, c);
    sx_wr_text(w, "</table>\n");
    end(w);
}

/* ---- links ---- */

/* What is behind # is never sent to this server: a script in the browser makes the app's link. */
void sx_site_link(struct sx_wr *w)
{
    begin(w, "SimpleX link");
    sx_wr_text(w, "<h1>This is a SimpleX link</h1>\n"
                  "<p>It was made for the SimpleX app. What it says was not sent to this server: "
                  "it is in the part of the address that browsers keep.</p>\n"
                  "<noscript><p>Copy the whole address of this page into the app: without "
                  "JavaScript the page cannot open it.</p></noscript>\n"
                  "<p id=\"open\" hidden><a class=\"button\" id=\"app\" href=\"/\">Open in the "
                  "app</a></p>\n"
                  "<p id=\"none\" hidden>The address of this page is not complete: the part from "
                  "# on is missing. Ask for the link again.</p>\n"
                  "<p>You do not have the app? It is at <a rel=\"noreferrer\" "
                  "href=\"https://simplex.chat/downloads/\">simplex.chat</a>; come back to this "
                  "page when it is installed.</p>\n"
                  "<p><a href=\"/\">About this server</a></p>\n"
                  "<script src=\"/media/link.js\"></script>\n");
    end(w);
}
