/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections, keys and their order are those of the reference's file, which reads this one too;
 * [LIMITS] and [LOG] are ours and it passes over them.
 */
#include "ini_template.h"

#include <stdio.h>

#include "config_keys.h"

/* "key: value", or the same as a comment. A line break in a value would be a setting of its own. */
static void line(struct sx_wr *w, bool active, const char *key, const char *value)
{
    for (const char *p = value; *p != 0; p++) {
        if ((uint8_t)*p < ' ' || *p == 0x7f)
            w->bad = true;
    }
    sx_wr_text(w, active ? "" : "# ");
    sx_wr_text(w, key);
    sx_wr_text(w, ":");
    sx_wr_text(w, value[0] != 0 ? " " : "");
    sx_wr_text(w, value);
    sx_wr_text(w, "\n");
}

/* A value that was given, or what it would look like in a comment. */
static void option(struct sx_wr *w, const char *key, const char *value, const char *example)
{
    line(w, value != NULL, key, value != NULL ? value : example);
}

static void on_off(struct sx_wr *w, const char *key, bool on)
{
    line(w, true, key, on ? "on" : "off");
}

static void information(struct sx_wr *w, const struct sx_ini_options *o)
{
    sx_wr_text(w,
               "[INFORMATION]\n"
               "# What users may know about this server. source_code says where they find the\n"
               "# source code of what you run; nothing else of this section is used without it.\n");
    option(w, "source_code", o->source_code, "https://...");
    sx_wr_text(w, "\n# Conditions of use, and what you change in them.\n");
    line(w, false, "usage_conditions", "https://...");
    line(w, false, "condition_amendments", "https://...");
    sx_wr_text(w, "\n# Countries are two letters (ISO 3166).\n");
    option(w, "server_country", o->server_country, "SE");
    option(w, "operator", o->operator_name, "name of the organization or person");
    option(w, "operator_country", o->operator_country, "SE");
    option(w, "website", o->website, "https://...");
    sx_wr_text(w, "\n# Who administers the server.\n");
    line(w, false, "admin_simplex", "SimpleX address");
    line(w, false, "admin_email", "name@example.org");
    line(w, false, "admin_pgp", "https://...");
    line(w, false, "admin_pgp_fingerprint", "");
    sx_wr_text(w, "\n# Who takes complaints.\n");
    line(w, false, "complaints_simplex", "SimpleX address");
    line(w, false, "complaints_email", "name@example.org");
    line(w, false, "complaints_pgp", "https://...");
    line(w, false, "complaints_pgp_fingerprint", "");
    sx_wr_text(w, "\n# Where it stands. hosting_type: virtual, dedicated, colocation or owned.\n");
    option(w, "hosting", o->hosting, "name of the provider");
    option(w, "hosting_country", o->hosting_country, "SE");
    option(w, "hosting_type", o->hosting_type, "virtual");
}

static void store_log(struct sx_wr *w, const struct sx_ini_options *o)
{
    sx_wr_text(w,
               "\n[STORE_LOG]\n"
               "# on: queues are kept in an append-only log and are there again after a restart.\n"
               "# The log is compacted at every start.\n");
    on_off(w, "enable", o->store_log);
    sx_wr_text(w, "\n# Queues are held in memory; there is no database store.\n");
    line(w, true, "store_queues", "memory");
    sx_wr_text(w,
               "\n# disk: a message that was accepted is on disk, whatever happens. This is the\n"
               "# default while enable and restore_messages are on; the reference does not know\n"
               "# the word. memory: messages are saved when the server is stopped, and are lost\n"
               "# when it is killed.\n");
    line(w, false, "store_messages", "disk");
    sx_wr_text(w, "\n# off: messages do not outlive the server.\n");
    on_off(w, "restore_messages", o->store_log);
    sx_wr_text(w,
               "\n# Older messages and notifications are deleted: on a schedule, at the start and\n"
               "# when another message is sent to the queue.\n");
    line(w, true, "expire_messages_days", "21");
    line(w, true, "expire_messages_on_start", "on");
    line(w, true, "expire_messages_on_send", "off");
    line(w, true, "expire_ntfs_hours", "24");
    sx_wr_text(w, "\n# A line of numbers a day in smp-server-stats.daily.log (CSV).\n");
    on_off(w, "log_stats", o->log_stats);
    sx_wr_text(w, "\n# Seconds between two versions of smp-server-metrics.txt (Prometheus).\n");
    line(w, false, "prometheus_interval", "60");
}

static void auth(struct sx_wr *w, const struct sx_ini_options *o)
{
    bool control = o->control_admin_password != NULL && o->control_user_password != NULL;

    sx_wr_text(w,
               "\n[AUTH]\n"
               "# off: no new queues, for a server that is to be given up. Those it has go on.\n");
    line(w, true, "new_queues", "on");
    sx_wr_text(w,
               "\n# Only clients whose server address has the password create queues and have\n"
               "# messages forwarded: smp://fingerprint:password@host. It is never shown to the\n"
               "# people they talk to. Printable characters without blanks, @, : and /.\n");
    option(w, "create_password", o->password, "password");
    sx_wr_text(w, "\n# Who knows them may use the control port (control_port below).\n");
    line(w, control, "control_port_admin_password", control ? o->control_admin_password : "");
    line(w, control, "control_port_user_password", control ? o->control_user_password : "");
    sx_wr_text(w,
               "\n# Queues that may be blocked on the control port until 0:00 UTC; 0: no limit,\n"
               "# -1: none.\n");
    line(w, false, "daily_block_queue_quota", "20");
}

static void transport(struct sx_wr *w, const struct sx_ini_options *o)
{
    char port[8];

    snprintf(port, sizeof port, "%u", o->control_port == 0 ? 5224u : o->control_port);
    sx_wr_text(w, "\n[TRANSPORT]\n"
                  "# Host names for the address that is printed at the start; clients are served\n"
                  "# on all ports.\n");
    line(w, true, "host", o->host == NULL ? "<hostnames>" : o->host);
    line(w, true, "port", o->ports == NULL ? "5223,443" : o->ports);
    sx_wr_text(w, "\n# Address to listen on; without it all addresses of the machine.\n");
    line(w, false, "bind", "::");
    sx_wr_text(w, "\n");
    line(w, true, "log_tls_errors", "off");
    sx_wr_text(w, "\n# SMP over WebSocket is not served; the reference needs the line.\n");
    line(w, true, "websockets", "off");
    sx_wr_text(
        w, "\n# Commands for the operator, and metrics over HTTP. Both are open to programs on\n"
           "# this machine alone (127.0.0.1).\n");
    line(w, o->control_port != 0, "control_port", port);
    line(w, false, "prometheus_port", "5225");
}

/* With blanks between them: the reference takes commas for a part of the name. */
static void domains(struct sx_wr *w, const char *list)
{
    char text[SX_CONFIG_DOMAINS_MAX * (SX_HOST_MAX + 1)];
    size_t n = strlen(list);

    if (n >= sizeof text) {
        w->bad = true;
        return;
    }
    for (size_t i = 0; i <= n; i++)
        text[i] = (char)(list[i] == ',' ? ' ' : list[i]);
    line(w, true, "own_server_domains", text);
}

static void proxy(struct sx_wr *w, const struct sx_ini_options *o)
{
    sx_wr_text(w, "\n[PROXY]\n"
                  "# off: nothing is forwarded, and the rest of this section has no effect.\n");
    line(w, false, "enable", "on");
    sx_wr_text(w, "\n# How other servers are reached to which clients have messages forwarded.\n"
                  "# host_mode: which of their hosts is preferred, public or onion.\n"
                  "# required_host_mode: servers without such a host are not connected to.\n");
    line(w, false, "host_mode", "public");
    line(w, false, "required_host_mode", "off");
    sx_wr_text(w, "\n# Domains of your own servers, separated by blanks: counted apart.\n");
    if (o->own_domains != NULL)
        domains(w, o->own_domains);
    else
        line(w, false, "own_server_domains", "example.org example.net");
    sx_wr_text(w,
               "\n# SOCKS proxy, for example Tor. Do not share it with other programs that need\n"
               "# to stay apart from this one.\n");
    option(w, "socks_proxy", o->socks_proxy, "127.0.0.1:9050");
    sx_wr_text(w,
               "\n# onion: for onion hosts alone. always: for all, on a server that is an onion\n"
               "# service itself.\n");
    line(w, false, "socks_mode", "onion");
    sx_wr_text(w, "\n# Commands of one client that are forwarded at once.\n");
    line(w, false, "client_concurrency", "32");
}

static void web(struct sx_wr *w, const struct sx_ini_options *o)
{
    bool https = o->web_cert != NULL && o->web_key != NULL;

    sx_wr_text(
        w, "\n[WEB]\n"
           "# A page about the server, and pages that open SimpleX links in the app, are written\n"
           "# to this folder at every start.\n");
    option(w, "static_path", o->web_static_path, "/var/opt/simplex/www");
    sx_wr_text(w,
               "\n# Ports on which they are served. For https a certificate of the host name is\n"
               "# needed; the port may be one of [TRANSPORT], browsers and SMP clients are told\n"
               "# apart. Without both another web server can serve the folder.\n");
    line(w, false, "http", "80");
    line(w, https, "https", "443");
    sx_wr_text(
        w, "\n# PEM, for example fullchain.pem and privkey.pem of certbot. They are read again\n"
           "# when they change.\n");
    option(w, "cert", https ? o->web_cert : NULL, "/etc/opt/simplex/web.crt");
    option(w, "key", https ? o->web_key : NULL, "/etc/opt/simplex/web.key");
}

static void rest(struct sx_wr *w, const struct sx_ini_options *o)
{
    sx_wr_text(w, "\n[NAMES]\n"
                  "# Names are not resolved by this server.\n");
    line(w, false, "enable", "off");
    sx_wr_text(w, "\n[INACTIVE_CLIENTS]\n"
                  "# Clients without subscriptions that sent and received nothing for ttl seconds\n"
                  "# are disconnected; they are looked for every check_interval seconds.\n");
    line(w, true, "disconnect", "on");
    line(w, true, "ttl", "21600");
    line(w, true, "check_interval", "3600");
    web(w, o);
}

/* "# " before each line, broken at about 90 bytes */
static void comment(struct sx_wr *w, const char *text)
{
    size_t column = 0;

    for (const char *p = text; *p != 0;) {
        size_t n = strcspn(p, " ");
        if (column == 0 || column + 1 + n > 88) {
            sx_wr_text(w, column == 0 ? "# " : "\n# ");
            column = 1;
        } else {
            sx_wr_text(w, " ");
        }
        sx_wr_raw(w, sx_bytes(p, n));
        column += 1 + n;
        p += n + (p[n] == ' ' ? 1 : 0);
    }
    sx_wr_text(w, "\n");
}

/* Sections of ours: every key of the table with its value when absent. */
static void own_section(struct sx_wr *w, const char *section, bool active, const char *what)
{
    sx_wr_text(w, "\n[");
    sx_wr_text(w, section);
    sx_wr_text(w, "]\n");
    comment(w, what);
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (strcmp(k->section, section) != 0)
            continue;
        if (k->doc != NULL) {
            sx_wr_text(w, "\n");
            comment(w, k->doc);
        }
        line(w, active, k->key, k->absent);
    }
}

void sx_ini_template(struct sx_wr *w, const struct sx_ini_options *o)
{
    information(w, o);
    store_log(w, o);
    auth(w, o);
    transport(w, o);
    proxy(w, o);
    rest(w, o);
    own_section(w, "LIMITS", false,
                "Limits, with the values that hold when a line is a comment. The reference has no "
                "such section.");
    /* Some readers of ini files refuse one that ends with a comment. */
    own_section(w, "LOG", true, "Messages of the server go to its standard error.");
}
