/* SPDX-License-Identifier: Apache-2.0 */
/* Values of smp-server.ini: from text, checked, and as text for the operator. */
#include <stdio.h>

#include "config_keys.h"

#define DECIMALS 3 /* of seconds */
#define DIGITS_MAX 15
#define PORT_MAX 65535
#define SOCKS_HOST "127.0.0.1" /* what the reference takes when host or port is left out */
#define SOCKS_PORT 9050
#define PASSWORD_MAX 255
#define NO_HOSTS "<hostnames>"

/* ---- text ---- */

static simplex_bytes part(simplex_bytes s, size_t from, size_t to)
{
    return sx_bytes(s.ptr + from, to - from);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_blank(simplex_bytes s)
{
    return s.len > 0 && (memchr(s.ptr, ' ', s.len) != NULL || memchr(s.ptr, '\t', s.len) != NULL);
}

static bool starts(simplex_bytes s, const char *with)
{
    size_t n = strlen(with);

    return s.len > n && memcmp(s.ptr, with, n) == 0;
}

/* Index of the first c, or the length. */
static size_t find(simplex_bytes s, char c)
{
    size_t i = 0;

    while (i < s.len && s.ptr[i] != (uint8_t)c)
        i++;
    return i;
}

/* A copy with NUL; empty text is "absent". */
static simplex_rc copy_text(simplex_bytes s, char **out)
{
    *out = NULL;
    if (s.len == 0)
        return SIMPLEX_OK;
    *out = (char *)sx_memdup(s);
    return *out == NULL ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

static bool is_label(simplex_bytes s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (!is_digit(c) && !is_letter(c) && c != '-' && c != '_')
            return false;
    }
    return s.len > 0;
}

/* Stricter than in addresses of other servers: a name that cannot be one is a slip of the pen. */
static bool read_host(simplex_bytes s, struct sx_host *host)
{
    if (sx_host_parse(s, host) != SIMPLEX_OK)
        return false;
    if (host->kind != SX_HOST_NAME)
        return true;
    for (;;) {
        size_t dot = find(s, '.');
        if (!is_label(part(s, 0, dot)))
            return false;
        if (dot == s.len)
            return true;
        s = part(s, dot + 1, s.len);
    }
}

/* ---- numbers ---- */

static bool take_digits(simplex_bytes s, int64_t *out)
{
    *out = 0;
    if (s.len == 0 || s.len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]))
            return false;
        *out = *out * 10 + (s.ptr[i] - '0');
    }
    return true;
}

static bool read_number(const struct sx_key *k, simplex_bytes s, int64_t *out)
{
    bool negative = k->min < 0 && s.len > 0 && s.ptr[0] == '-';
    int64_t n;

    if (!take_digits(negative ? part(s, 1, s.len) : s, &n))
        return false;
    n = negative ? -n : n;
    if (n < k->min || n > k->max)
        return false;
    *out = n * (k->unit == 0 ? 1 : k->unit);
    return true;
}

static bool read_seconds(const struct sx_key *k, simplex_bytes s, int64_t *out)
{
    size_t dot = find(s, '.');
    int64_t seconds, ms = 0;

    if (!take_digits(part(s, 0, dot), &seconds) || seconds > k->max / 1000)
        return false;
    if (dot < s.len) {
        simplex_bytes decimals = part(s, dot + 1, s.len);
        if (decimals.len > DECIMALS || !take_digits(decimals, &ms))
            return false;
        for (size_t i = decimals.len; i < DECIMALS; i++)
            ms *= 10;
    }
    ms += seconds * 1000;
    if (ms < k->min || ms > k->max)
        return false;
    *out = ms;
    return true;
}

static bool read_port(simplex_bytes s, uint16_t *out)
{
    int64_t n;

    if (!take_digits(s, &n) || n < 1 || n > PORT_MAX)
        return false;
    *out = (uint16_t)n;
    return true;
}

static bool read_bool(simplex_bytes s, bool *out)
{
    bool on = sx_bytes_eq(s, sx_str("on"));

    if (!on && !sx_bytes_eq(s, sx_str("off")))
        return false;
    *out = on;
    return true;
}

static bool read_word(const struct sx_key *k, simplex_bytes s, uint8_t *out)
{
    for (uint8_t i = 0; k->words[i] != NULL; i++) {
        if (sx_bytes_eq(s, sx_str(k->words[i]))) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* ---- lists ---- */

static bool is_separator(uint8_t c)
{
    return c == ',' || c == ' ' || c == '\t';
}

/* Between blanks and commas; empty at the end. */
static simplex_bytes next_item(simplex_bytes *s)
{
    size_t from = 0, to;

    while (from < s->len && is_separator(s->ptr[from]))
        from++;
    for (to = from; to < s->len && !is_separator(s->ptr[to]);)
        to++;
    simplex_bytes item = part(*s, from, to);
    *s = part(*s, to, s->len);
    return item;
}

static bool has_port(const struct sx_config_ports *p, uint16_t port)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->port[i] == port)
            return true;
    }
    return false;
}

static bool read_ports(simplex_bytes s, struct sx_config_ports *out)
{
    struct sx_config_ports p = { 0 };
    size_t len = 0;

    for (simplex_bytes item; (item = next_item(&s)).len > 0;) {
        uint16_t port;
        if (p.count == SX_CONFIG_PORTS_MAX || !read_port(item, &port) || has_port(&p, port))
            return false;
        p.port[p.count++] = port;
        len +=
            (size_t)snprintf(p.text + len, sizeof p.text - len, "%s%u", len > 0 ? "," : "", port);
    }
    if (p.count == 0)
        return false;
    *out = p;
    return true;
}

static void free_domains(struct sx_config_domains *d)
{
    for (unsigned i = 0; i < d->count; i++)
        sx_free(d->name[i]);
    *d = (struct sx_config_domains){ 0 };
}

/* What is no domain is the domain of no server: left out, as is what goes beyond the list. */
static simplex_rc add_domain(struct sx_config_domains *d, simplex_bytes item)
{
    struct sx_host host;

    if (d->count == SX_CONFIG_DOMAINS_MAX || !read_host(item, &host))
        return SIMPLEX_OK;
    for (char *c = host.text; *c != 0; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
    if ((d->name[d->count] = sx_strdup(host.text)) == NULL)
        return SIMPLEX_E_NOMEM;
    d->count++;
    return SIMPLEX_OK;
}

static simplex_rc read_domains(simplex_bytes s, struct sx_config_domains *out)
{
    struct sx_config_domains d = { 0 };
    simplex_rc rc = SIMPLEX_OK;

    for (simplex_bytes item; rc == SIMPLEX_OK && (item = next_item(&s)).len > 0;)
        rc = add_domain(&d, item);
    if (rc != SIMPLEX_OK) {
        free_domains(&d);
        return rc;
    }
    free_domains(out);
    *out = d;
    return SIMPLEX_OK;
}

static bool are_domains(simplex_bytes s)
{
    struct sx_host host;
    unsigned n = 0;

    for (simplex_bytes item; (item = next_item(&s)).len > 0; n++) {
        if (n == SX_CONFIG_DOMAINS_MAX || !read_host(item, &host))
            return false;
    }
    return true;
}

/* ---- the SOCKS proxy ---- */

static void free_proxy(struct sx_config_proxy *p)
{
    sx_free(p->host);
    sx_free(p->user);
    sx_free_secret(p->password, p->password == NULL ? 0 : strlen(p->password));
    *p = (struct sx_config_proxy){ 0 };
}

/* [host][:port]; an IPv6 address with a port stands in brackets. */
static bool read_endpoint(simplex_bytes s, struct sx_host *host, uint16_t *port)
{
    size_t colon = s.len;

    *port = SOCKS_PORT;
    if (s.len > 0 && read_host(s, host))
        return host->kind != SX_HOST_ONION;
    while (colon > 0 && s.ptr[colon - 1] != ':')
        colon--;
    if (s.len > 0 && (colon == 0 || !read_port(part(s, colon, s.len), port)))
        return false;
    simplex_bytes name = part(s, 0, colon > 0 ? colon - 1 : 0);
    if (name.len == 0)
        name = sx_str(SOCKS_HOST);
    return read_host(name, host) && host->kind != SX_HOST_ONION &&
           (host->kind != SX_HOST_IPV6 || name.ptr[0] == '[');
}

static simplex_rc read_proxy(simplex_bytes s, struct sx_config_proxy *out)
{
    struct sx_config_proxy p = { 0 };
    struct sx_host host;
    size_t at = find(s, '@');
    size_t end = at < s.len ? at : 0; /* of the credentials */
    simplex_bytes rest = at < s.len ? part(s, at + 1, s.len) : s;
    size_t colon = find(part(s, 0, end), ':');
    simplex_rc rc = SIMPLEX_OK;

    if (has_blank(s) || !read_endpoint(rest, &host, &p.port))
        return SIMPLEX_E_ARG;
    p.no_auth = s.len > 0 && at == 0;
    if (end > 0 &&
        (colon == 0 || colon == end || colon > PASSWORD_MAX || end - colon - 1 > PASSWORD_MAX))
        return SIMPLEX_E_ARG;
    if (end > 0) {
        p.user = (char *)sx_memdup(part(s, 0, colon));
        p.password = (char *)sx_memdup(part(s, colon + 1, end));
        if (p.user == NULL || p.password == NULL)
            rc = SIMPLEX_E_NOMEM;
    }
    if (rc == SIMPLEX_OK && (p.host = sx_strdup(host.text)) == NULL)
        rc = SIMPLEX_E_NOMEM;
    if (rc != SIMPLEX_OK) {
        free_proxy(&p);
        return rc;
    }
    free_proxy(out);
    *out = p;
    return SIMPLEX_OK;
}

/* ---- checked text ---- */

static bool is_country(simplex_bytes s)
{
    return s.len == 2 && is_letter(s.ptr[0]) && is_letter(s.ptr[1]);
}

static bool is_email(simplex_bytes s)
{
    size_t at = find(s, '@');

    return at > 0 && at + 1 < s.len && find(part(s, at + 1, s.len), '@') == s.len - at - 1;
}

static bool are_hosts(simplex_bytes s)
{
    for (unsigned n = 1; n <= SX_HOSTS_MAX; n++) {
        struct sx_host host;
        size_t comma = find(s, ',');
        if (!read_host(sx_ini_trim(part(s, 0, comma)), &host))
            return false;
        if (comma == s.len)
            return true;
        s = part(s, comma + 1, s.len);
    }
    return false;
}

static bool is_address(simplex_bytes s)
{
    struct sx_host host;

    return sx_host_parse(s, &host) == SIMPLEX_OK &&
           (host.kind == SX_HOST_IPV4 || host.kind == SX_HOST_IPV6);
}

static bool text_fits(const struct sx_key *k, simplex_bytes s)
{
    uint8_t index;

    switch (k->type) {
    case SX_KEY_PASSWORD:
        return sx_password_valid(s) && s.len <= PASSWORD_MAX;
    case SX_KEY_PATH:
        return s.ptr[0] == '/';
    case SX_KEY_URL:
        return (starts(s, "https://") || starts(s, "http://")) && !has_blank(s);
    case SX_KEY_COUNTRY:
        return is_country(s);
    case SX_KEY_CONTACT:
        return (starts(s, "simplex:/") || starts(s, "https://")) && !has_blank(s);
    case SX_KEY_EMAIL:
        return is_email(s) && !has_blank(s);
    case SX_KEY_HOSTS:
        return are_hosts(s);
    case SX_KEY_ADDRESS:
        return is_address(s);
    case SX_KEY_CHOICE:
        return read_word(k, s, &index);
    default:
        return true;
    }
}

/* The reference takes these as they are. */
static bool is_lenient(const struct sx_key *k)
{
    return k->type == SX_KEY_PATH || k->type == SX_KEY_URL || k->type == SX_KEY_EMAIL;
}

bool sx_key_in_doubt(const struct sx_key *k, simplex_bytes s)
{
    switch (k->type) {
    case SX_KEY_DOMAINS:
        return !are_domains(s);
    case SX_KEY_PROXY:
        return s.len == 0; /* host and port are left out */
    case SX_KEY_OFF:
        return !sx_bytes_eq(s, sx_str("off"));
    case SX_KEY_HOSTS:
        return s.len > 0 && !sx_bytes_eq(s, sx_str(NO_HOSTS)) && !are_hosts(s);
    default:
        return s.len > 0 && is_lenient(k) && !text_fits(k, s);
    }
}

/* Blanks around commas, which an address does not take. */
static void drop_blanks(char *text)
{
    size_t n = 0;

    for (const char *p = text; *p != 0; p++)
        if (*p != ' ' && *p != '\t')
            text[n++] = *p;
    text[n] = 0;
}

static void to_capitals(char *text)
{
    for (char *p = text; *p != 0; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

static void free_text(const struct sx_key *k, char **field)
{
    if (k->type == SX_KEY_PASSWORD && *field != NULL)
        sx_free_secret(*field, strlen(*field));
    else
        sx_free(*field);
    *field = NULL;
}

static simplex_rc read_text(const struct sx_key *k, simplex_bytes s, char **field)
{
    char *copy;

    if (k->type == SX_KEY_HOSTS && sx_bytes_eq(s, sx_str(NO_HOSTS)))
        s.len = 0;
    if (k->type == SX_KEY_HOSTS && s.len > 0 && !are_hosts(s)) /* no address without them */
        s.len = 0;
    if ((s.len == 0 && k->type == SX_KEY_PASSWORD) ||
        (s.len > 0 && !is_lenient(k) && !text_fits(k, s)))
        return SIMPLEX_E_ARG;
    if (field == NULL)
        return SIMPLEX_OK;
    if (k->type == SX_KEY_ADDRESS && s.len > 0 && s.ptr[0] == '[')
        s = part(s, 1, s.len - 1);
    if (copy_text(s, &copy) != SIMPLEX_OK)
        return SIMPLEX_E_NOMEM;
    if (k->type == SX_KEY_HOSTS && copy != NULL)
        drop_blanks(copy);
    if (k->type == SX_KEY_COUNTRY && copy != NULL)
        to_capitals(copy);
    free_text(k, field);
    *field = copy;
    return SIMPLEX_OK;
}

/* ---- by type ---- */

simplex_rc sx_key_read(const struct sx_key *k, simplex_bytes s, void *field)
{
    union { /* where values go that are only checked */
        bool on;
        int64_t number;
        uint8_t word;
        uint16_t port;
    } nowhere;
    void *to = field == NULL ? &nowhere : field;
    bool ok;

    switch (k->type) {
    case SX_KEY_BOOL:
        ok = read_bool(s, to);
        break;
    case SX_KEY_NUMBER:
        ok = read_number(k, s, to);
        break;
    case SX_KEY_SECONDS:
        ok = read_seconds(k, s, to);
        break;
    case SX_KEY_WORD:
        ok = read_word(k, s, to);
        break;
    case SX_KEY_PORT:
        ok = read_port(s, to);
        break;
    case SX_KEY_PORTS:
        ok = field != NULL && read_ports(s, field);
        break;
    case SX_KEY_DOMAINS:
        return field == NULL ? SIMPLEX_E_ARG : read_domains(s, field);
    case SX_KEY_PROXY:
        return field == NULL ? SIMPLEX_E_ARG : read_proxy(s, field);
    case SX_KEY_OFF:
        ok = s.len > 0;
        break;
    default:
        return read_text(k, s, field);
    }
    return ok ? SIMPLEX_OK : SIMPLEX_E_ARG;
}

void sx_key_free(const struct sx_key *k, void *field)
{
    if (k->type == SX_KEY_DOMAINS)
        free_domains(field);
    else if (k->type == SX_KEY_PROXY)
        free_proxy(field);
    else if (k->type >= SX_KEY_PASSWORD)
        free_text(k, field);
    else
        memset(field, 0, sx_key_size(k));
}

static bool equal_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool equal_domains(const struct sx_config_domains *a, const struct sx_config_domains *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (strcmp(a->name[i], b->name[i]) != 0)
            return false;
    }
    return true;
}

static bool equal_proxy(const struct sx_config_proxy *a, const struct sx_config_proxy *b)
{
    return equal_text(a->host, b->host) && equal_text(a->user, b->user) &&
           equal_text(a->password, b->password) && a->port == b->port && a->no_auth == b->no_auth;
}

bool sx_key_equal(const struct sx_key *k, const void *a, const void *b)
{
    if (k->type == SX_KEY_PORTS)
        return strcmp(((const struct sx_config_ports *)a)->text,
                      ((const struct sx_config_ports *)b)->text) == 0;
    if (k->type == SX_KEY_DOMAINS)
        return equal_domains(a, b);
    if (k->type == SX_KEY_PROXY)
        return equal_proxy(a, b);
    if (k->type >= SX_KEY_PASSWORD)
        return equal_text(*(char *const *)a, *(char *const *)b);
    return memcmp(a, b, sx_key_size(k)) == 0;
}
