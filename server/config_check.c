/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server.ini as a whole: values that depend on others, and settings that do not fit together.
 */
#include <stdio.h>

#include "config_keys.h"

static const struct sx_key *key_of(const char *section, const char *key)
{
    return &sx_keys[sx_key_find(sx_str(section), sx_str(key))];
}

static unsigned line_of(const struct sx_config_reading *r, const char *section, const char *key)
{
    return r->line[sx_key_find(sx_str(section), sx_str(key))];
}

/* About a key, at its line (0 when it is absent). */
#define SAY(r, severity, section, key, ...)                                                  \
    sx_config_say((r), (severity), line_of((r), (section), (key)), key_of((section), (key)), \
                  __VA_ARGS__)

/* ---- [STORE_LOG] ---- */

static void check_messages(struct sx_config_reading *r)
{
    struct sx_config *c = r->c;
    bool given = line_of(r, "STORE_LOG", "store_messages") > 0;
    bool restore_given = line_of(r, "STORE_LOG", "restore_messages") > 0;

    if (!restore_given)
        c->store.restore_messages = c->store.enable;
    if (!given)
        c->store.store_messages =
            c->store.enable && c->store.restore_messages ? SX_MESSAGES_DISK : SX_MESSAGES_MEMORY;
    if (c->store.store_messages == SX_MESSAGES_DISK && !c->store.enable)
        SAY(r, SX_CONFIG_ERROR, "STORE_LOG", "store_messages",
            "messages on disk need their queues: write enable: on, or store_messages: memory");
    else if (c->store.store_messages == SX_MESSAGES_DISK && !c->store.restore_messages)
        SAY(r, SX_CONFIG_WARNING, "STORE_LOG", "restore_messages",
            "messages on disk are always kept: write on, or store_messages: memory");
    else if (c->store.restore_messages && !c->store.enable)
        SAY(r, SX_CONFIG_WARNING, "STORE_LOG", "restore_messages",
            "messages cannot be restored without their queues: write off, or enable: on");
}

/* One warning for all keys of a feature, at the first of them. */
static void say_group(struct sx_config_reading *r, enum sx_key_group group, const char *text)
{
    size_t first = sx_keys_count;

    for (size_t i = 0; i < sx_keys_count; i++) {
        if (sx_keys[i].group == group && r->line[i] != 0 &&
            (first == sx_keys_count || r->line[i] < r->line[first]))
            first = i;
    }
    if (first < sx_keys_count)
        sx_config_say(r, SX_CONFIG_WARNING, r->line[first], &sx_keys[first], "%s", text);
}

/* ---- [TRANSPORT] and [AUTH] ---- */

static bool serves(const struct sx_config *c, uint16_t port)
{
    for (unsigned i = 0; i < c->transport.port.count; i++) {
        if (c->transport.port.port[i] == port)
            return true;
    }
    return false;
}

static void check_ports(struct sx_config_reading *r)
{
    const struct sx_config *c = r->c;

    if (line_of(r, "TRANSPORT", "port") == 0)
        SAY(r, SX_CONFIG_ERROR, "TRANSPORT", "port", "it is missing: write port: 5223,443");
    if (c->transport.control_port != 0 && serves(c, c->transport.control_port))
        SAY(r, SX_CONFIG_ERROR, "TRANSPORT", "control_port",
            "clients are served on this port: write another one, for example 5224");
    if (c->transport.prometheus_port != 0 &&
        (serves(c, c->transport.prometheus_port) ||
         c->transport.prometheus_port == c->transport.control_port))
        SAY(r, SX_CONFIG_ERROR, "TRANSPORT", "prometheus_port",
            "this port has another use: write another one, for example 5225");
}

static void check_control(struct sx_config_reading *r)
{
    const char *admin = r->c->auth.control_port_admin_password;
    const char *user = r->c->auth.control_port_user_password;

    if (r->c->transport.control_port != 0 && admin == NULL && user == NULL)
        SAY(r, SX_CONFIG_WARNING, "TRANSPORT", "control_port",
            "nobody can log in: write control_port_admin_password in [AUTH]");
    if (admin != NULL && user != NULL && strcmp(admin, user) == 0)
        SAY(r, SX_CONFIG_DOUBT, "AUTH", "control_port_user_password",
            "it is the one of the administrator, which is what it makes: write another one");
}

uint16_t sx_config_client_port(const struct sx_config *c)
{
    for (unsigned i = 0; i < c->transport.port.count; i++)
        if (c->transport.port.port[i] == SX_CONFIG_CLIENT_PORT)
            return SX_CONFIG_CLIENT_PORT;
    return c->transport.port.port[0];
}

/* ---- [WEB] ---- */

bool sx_config_has_https(const struct sx_config *c)
{
    return c->web.static_path != NULL && c->web.https != 0 && c->web.cert != NULL &&
           c->web.key != NULL;
}

static bool has_other_use(const struct sx_config *c, uint16_t port)
{
    return port == c->transport.control_port || port == c->transport.prometheus_port;
}

static void check_web_ports(struct sx_config_reading *r)
{
    const struct sx_config *c = r->c;

    if (c->web.http != 0 &&
        (serves(c, c->web.http) || has_other_use(c, c->web.http) || c->web.http == c->web.https))
        SAY(r, SX_CONFIG_ERROR, "WEB", "http",
            "this port has another use: write another one, for example 80");
    if (c->web.https != 0 && has_other_use(c, c->web.https))
        SAY(r, SX_CONFIG_ERROR, "WEB", "https",
            "this port has another use: write another one, for example 443");
}

/* The reference says nothing of these and serves what it can. */
static void check_web(struct sx_config_reading *r)
{
    struct sx_config *c = r->c;
    bool any = c->web.http != 0 || c->web.https != 0;

    c->web.cert_line = line_of(r, "WEB", "cert");
    c->web.key_line = line_of(r, "WEB", "key");
    check_web_ports(r);
    if (any && c->web.static_path == NULL)
        SAY(r, SX_CONFIG_WARNING, "WEB", c->web.https != 0 ? "https" : "http",
            "there is no site without static_path: write where its pages are to be, for example "
            "static_path: /var/opt/simplex/www, or # before this line");
    else if (c->web.https != 0 && (c->web.cert == NULL || c->web.key == NULL))
        SAY(r, SX_CONFIG_WARNING, "WEB", "https",
            "the site is not served over HTTPS without cert and key: write where they are, or # "
            "before this line");
    if (c->web.https == 0 && (c->web.cert != NULL || c->web.key != NULL))
        SAY(r, SX_CONFIG_WARNING, "WEB", c->web.cert != NULL ? "cert" : "key",
            "it has no effect without https: write https: 443, or # before this line");
}

/* ---- [PROXY] ---- */

static simplex_rc check_proxy(struct sx_config_reading *r)
{
    struct sx_config *c = r->c;

    if (c->proxy.socks_proxy.host != NULL)
        return SIMPLEX_OK;
    /* The reference connects directly then, which an operator of an onion server must not learn
     * from the outside. */
    if (c->proxy.socks_mode == SX_CONFIG_SOCKS_ALWAYS) {
        SAY(r, SX_CONFIG_DOUBT, "PROXY", "socks_mode",
            "always needs a proxy, 127.0.0.1:9050 is taken: write socks_proxy: 127.0.0.1:9050, or "
            "socks_mode: onion");
        return sx_key_read(key_of("PROXY", "socks_proxy"), sx_str(""), &c->proxy.socks_proxy);
    }
    if (c->proxy.host_mode == SX_CONFIG_ONION)
        SAY(r, SX_CONFIG_WARNING, "PROXY", "host_mode",
            "onion hosts are not reached without a proxy: write socks_proxy: 127.0.0.1:9050, or "
            "host_mode: public");
    return SIMPLEX_OK;
}

static void check_names(struct sx_config_reading *r)
{
    if (r->c->names_enable)
        SAY(r, SX_CONFIG_WARNING, "NAMES", "enable",
            "names are not resolved by this server, clients are told so: write off");
}

/* ---- [INACTIVE_CLIENTS] ---- */

static void check_inactive(struct sx_config_reading *r)
{
    unsigned line = line_of(r, "INACTIVE_CLIENTS", "disconnect");

    if (!r->c->inactive.disconnect)
        return;
    if (r->c->inactive.ttl_ms == 0)
        sx_config_say(r, SX_CONFIG_ERROR, line, key_of("INACTIVE_CLIENTS", "ttl"),
                      "it is missing, and disconnect is on: write ttl: 21600, or disconnect: off");
    if (r->c->inactive.check_interval_ms == 0)
        sx_config_say(r, SX_CONFIG_ERROR, line, key_of("INACTIVE_CLIENTS", "check_interval"),
                      "it is missing, and disconnect is on: write check_interval: 3600, or "
                      "disconnect: off");
}

/* ---- [INFORMATION]: without source_code none of it is shown; the reference's template has
 * hosting_type without it, though ---- */

static void check_information(struct sx_config_reading *r)
{
    static const char section[] = "INFORMATION";

    if (r->c->info.source_code != NULL)
        return;
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (strcmp(k->section, section) != 0 || strcmp(k->key, "hosting_type") == 0 ||
            *(char *const *)sx_key_field_of(k, r->c) == NULL)
            continue;
        sx_config_say(r, SX_CONFIG_WARNING, r->line[i], k,
                      "nothing of [INFORMATION] is used without source_code: write where the "
                      "server's source code is");
        return;
    }
}

/* ---- [LIMITS] ---- */

static void check_limits(struct sx_config_reading *r)
{
    const struct sx_config *c = r->c;

    if (c->limits.smp_min_version > c->limits.smp_max_version)
        SAY(r, SX_CONFIG_ERROR, "LIMITS", "smp_min_version",
            "it is above smp_max_version: write at most %d", (int)c->limits.smp_max_version);
    if (c->limits.tls_timeout_ms > c->limits.handshake_timeout_ms)
        SAY(r, SX_CONFIG_ERROR, "LIMITS", "tls_timeout_seconds",
            "it is longer than handshake_timeout_seconds, which includes it: write at most that");
}

simplex_rc sx_config_check(struct sx_config_reading *r)
{
    check_messages(r);
    check_ports(r);
    check_control(r);
    check_inactive(r);
    check_information(r);
    check_limits(r);
    check_names(r);
    check_web(r);
    say_group(r, SX_GROUP_DATABASE,
              "keys of the database store have no effect: write # before every db_ line");
    return check_proxy(r);
}
