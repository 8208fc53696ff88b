/* SPDX-License-Identifier: Apache-2.0 */
/* Host names and SMP server addresses (protocol/smp.md sections 1 and 14). */
#include "wire/server.h"

#define SCHEME "smp://"
#define ONION ".onion"
#define DEFAULT_PORT 5223
#define PORT_DIGITS 5

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static simplex_bytes slice(simplex_bytes s, size_t from, size_t to)
{
    return to > from ? sx_bytes(s.ptr + from, to - from) : sx_bytes(NULL, 0);
}

/* Index of the first (last) c, or s.len. */
static size_t find(simplex_bytes s, uint8_t c)
{
    size_t i = 0;

    while (i < s.len && s.ptr[i] != c)
        i++;
    return i;
}

static size_t find_last(simplex_bytes s, uint8_t c)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == c)
            return i - 1;
    }
    return s.len;
}

/* ---- hosts ---- */

/* Four runs of digits with dots between: whoever reads it takes it for IPv4, so it must be one. */
static bool starts_like_ipv4(simplex_bytes t)
{
    size_t at = 0;

    for (unsigned octet = 0; octet < 4; octet++) {
        if (octet > 0 && (at == t.len || t.ptr[at++] != '.'))
            return false;
        if (at == t.len || !is_digit(t.ptr[at]))
            return false;
        while (at < t.len && is_digit(t.ptr[at]))
            at++;
    }
    return true;
}

/* Leading zeros are refused: some readers take them for octal. */
static bool is_octet(simplex_bytes t)
{
    unsigned v = 0;

    if (t.len == 0 || t.len > 3 || (t.len > 1 && t.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (!is_digit(t.ptr[i]))
            return false;
        v = v * 10 + (unsigned)(t.ptr[i] - '0');
    }
    return v <= 255;
}

static bool is_ipv4(simplex_bytes t)
{
    for (unsigned octet = 0; octet < 3; octet++) {
        size_t dot = find(t, '.');

        if (dot == t.len || !is_octet(slice(t, 0, dot)))
            return false;
        t = slice(t, dot + 1, t.len);
    }
    return is_octet(t);
}

/* Groups of one side of `::`; -1 when malformed. A dotted quad may end the last side. */
static int ipv6_groups(simplex_bytes t, bool last)
{
    int groups = 0;

    if (t.len == 0)
        return 0;
    for (;;) {
        size_t colon = find(t, ':');
        simplex_bytes g = slice(t, 0, colon);

        if (last && colon == t.len && find(g, '.') < g.len)
            return is_ipv4(g) ? groups + 2 : -1;
        if (g.len == 0 || g.len > 4)
            return -1;
        for (size_t i = 0; i < g.len; i++) {
            if (!is_hex(g.ptr[i]))
                return -1;
        }
        groups++;
        if (colon == t.len)
            return groups;
        t = slice(t, colon + 1, t.len);
    }
}

static bool is_ipv6(simplex_bytes t)
{
    for (size_t i = 0; i + 1 < t.len; i++) {
        if (t.ptr[i] != ':' || t.ptr[i + 1] != ':')
            continue;
        int head = ipv6_groups(slice(t, 0, i), false);
        int tail = ipv6_groups(slice(t, i + 2, t.len), true);
        return head >= 0 && tail >= 0 && head + tail <= 7;
    }
    return ipv6_groups(t, true) == 8;
}

static bool ends_with(simplex_bytes t, const char *end)
{
    size_t n = strlen(end);

    return t.len >= n && memcmp(t.ptr + t.len - n, end, n) == 0;
}

static bool is_onion(simplex_bytes t)
{
    for (size_t i = 0; i < t.len - strlen(ONION); i++) {
        if (!is_digit(t.ptr[i]) && !(t.ptr[i] >= 'a' && t.ptr[i] <= 'z'))
            return false;
    }
    return true;
}

/*
 * An onion address in a form that is none here: upper case, a dot behind it. As a name it would be
 * looked up, which tells resolvers whom the user wants to reach (RFC 7686).
 */
static bool looks_like_onion(simplex_bytes t)
{
    size_t n = strlen(ONION);

    if (t.len > 0 && t.ptr[t.len - 1] == '.')
        t.len--;
    for (size_t i = 0; t.len >= n && i < n; i++) {
        uint8_t c = t.ptr[t.len - n + i];
        if ((c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c) != ONION[i])
            return false;
    }
    return t.len >= n;
}

/* Printable ASCII without what separates parts of addresses and links. */
static bool is_name(simplex_bytes t)
{
    if (looks_like_onion(t))
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (t.ptr[i] <= ' ' || t.ptr[i] >= 0x7f || strchr(":#,;/[]@?", t.ptr[i]) != NULL)
            return false;
    }
    return t.len > 0;
}

static bool host_kind(simplex_bytes t, uint8_t *kind)
{
    if (starts_like_ipv4(t)) {
        *kind = SX_HOST_IPV4;
        return is_ipv4(t);
    }
    if (find(t, ':') < t.len) {
        *kind = SX_HOST_IPV6;
        return is_ipv6(t);
    }
    if (ends_with(t, ONION)) {
        *kind = SX_HOST_ONION;
        return is_onion(t);
    }
    *kind = SX_HOST_NAME;
    return is_name(t);
}

simplex_rc sx_host_parse(simplex_bytes text, struct sx_host *out)
{
    bool brackets = text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';

    *out = (struct sx_host){ 0 };
    if (brackets)
        text = slice(text, 1, text.len - 1);
    if (text.len == 0 || text.len > SX_HOST_MAX || !host_kind(text, &out->kind))
        return SIMPLEX_E_ADDRESS;
    if (brackets && out->kind != SX_HOST_IPV6)
        return SIMPLEX_E_ADDRESS;
    memcpy(out->text, text.ptr, text.len);
    return SIMPLEX_OK;
}

/* ---- ports and passwords ---- */

/* Leading zeros are dropped; as in the reference any number of up to five digits may stand here. */
static bool parse_port(simplex_bytes t, char port[PORT_DIGITS + 1])
{
    if (t.len == 0)
        return false;
    while (t.len > 1 && t.ptr[0] == '0')
        t = slice(t, 1, t.len);
    if (t.len > PORT_DIGITS)
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (!is_digit(t.ptr[i]))
            return false;
    }
    memset(port, 0, PORT_DIGITS + 1);
    memcpy(port, t.ptr, t.len);
    return true;
}

uint16_t sx_server_port(const struct sx_server *s)
{
    uint32_t v = 0;

    if (s->port[0] == 0)
        return DEFAULT_PORT;
    for (const char *p = s->port; *p != 0; p++)
        v = v * 10 + (uint32_t)(*p - '0');
    return v <= UINT16_MAX ? (uint16_t)v : 0;
}

/* The reference asks for printable Latin-1: 0xa0 is a space there and 0xad (soft hyphen) is none.
 */
bool sx_password_valid(simplex_bytes p)
{
    for (size_t i = 0; i < p.len; i++) {
        uint8_t c = p.ptr[i];

        if (c <= ' ' || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == '@' || c == ':' || c == '/')
            return false;
    }
    return p.len > 0;
}

/* ---- binary ---- */

void sx_server_encode(struct sx_wr *w, const struct sx_server *s)
{
    if (s->n_hosts == 0 || s->n_hosts > SX_HOSTS_MAX) {
        w->bad = true;
        return;
    }
    sx_wr_u8(w, s->n_hosts);
    for (size_t i = 0; i < s->n_hosts; i++)
        sx_wr_short(w, sx_str(s->hosts[i].text));
    sx_wr_short(w, sx_str(s->port));
    sx_wr_short(w, sx_bytes(s->key_hash, sizeof s->key_hash));
}

void sx_server_decode(struct sx_rd *r, struct sx_server *s)
{
    *s = (struct sx_server){ 0 };
    s->n_hosts = sx_rd_u8(r);
    if (s->n_hosts == 0 || s->n_hosts > SX_HOSTS_MAX)
        r->bad = true;
    for (size_t i = 0; !r->bad && i < s->n_hosts; i++) {
        if (sx_host_parse(sx_rd_short(r), &s->hosts[i]) != SIMPLEX_OK)
            r->bad = true;
    }
    simplex_bytes port = sx_rd_short(r);
    if (port.len > 0 && !parse_port(port, s->port))
        r->bad = true;
    if (sx_rd_u8(r) != sizeof s->key_hash)
        r->bad = true;
    sx_rd_copy(r, s->key_hash, sizeof s->key_hash);
    if (r->bad)
        *s = (struct sx_server){ 0 };
}

/* ---- text ---- */

/*
 * The last item is a host with or without a port. A bare IPv6 address counts as a host only when
 * it is the whole item: the reference writes `::1:5223` and reads it back as an address as well.
 */
static bool parse_last(simplex_bytes item, struct sx_host *host, char port[PORT_DIGITS + 1])
{
    if (sx_host_parse(item, host) == SIMPLEX_OK)
        return true;
    size_t colon = find_last(item, ':');
    if (colon == item.len)
        return false;
    simplex_bytes name = slice(item, 0, colon);
    if (sx_host_parse(name, host) != SIMPLEX_OK ||
        !parse_port(slice(item, colon + 1, item.len), port))
        return false;
    return host->kind != SX_HOST_IPV6 || name.ptr[0] == '[';
}

simplex_rc sx_server_parse_hosts(simplex_bytes text, struct sx_server *s)
{
    s->n_hosts = 0;
    memset(s->port, 0, sizeof s->port);
    for (;;) {
        size_t comma = find(text, ',');
        simplex_bytes item = slice(text, 0, comma);

        if (s->n_hosts == SX_HOSTS_MAX)
            return SIMPLEX_E_ADDRESS;
        struct sx_host *host = &s->hosts[s->n_hosts++];
        if (comma == text.len)
            return parse_last(item, host, s->port) ? SIMPLEX_OK : SIMPLEX_E_ADDRESS;
        if (sx_host_parse(item, host) != SIMPLEX_OK)
            return SIMPLEX_E_ADDRESS;
        text = slice(text, comma + 1, text.len);
    }
}

static simplex_rc parse_identity(simplex_bytes t, struct sx_server *s, simplex_bytes *password)
{
    size_t colon = find(t, ':');
    size_t n = sizeof s->key_hash;

    if (sx_b64url_decode(slice(t, 0, colon), s->key_hash, &n) != SIMPLEX_OK ||
        n != sizeof s->key_hash)
        return SIMPLEX_E_ADDRESS;
    if (colon == t.len)
        return SIMPLEX_OK;
    simplex_bytes p = slice(t, colon + 1, t.len);
    if (password == NULL || !sx_password_valid(p))
        return SIMPLEX_E_ADDRESS;
    *password = p;
    return SIMPLEX_OK;
}

simplex_rc sx_server_parse(simplex_bytes text, struct sx_server *s, simplex_bytes *password)
{
    struct sx_rd r = sx_rd_init(text);

    *s = (struct sx_server){ 0 };
    if (password != NULL)
        *password = sx_bytes(NULL, 0);
    if (!sx_rd_lit(&r, SCHEME))
        return SIMPLEX_E_ADDRESS;
    simplex_bytes rest = sx_rd_rest(&r);
    size_t at = find(rest, '@');
    if (at == rest.len)
        return SIMPLEX_E_ADDRESS;
    simplex_rc rc = parse_identity(slice(rest, 0, at), s, password);
    if (rc != SIMPLEX_OK)
        return rc;
    return sx_server_parse_hosts(slice(rest, at + 1, rest.len), s);
}

void sx_server_print_hosts(struct sx_wr *w, const struct sx_server *s)
{
    for (size_t i = 0; i < s->n_hosts; i++) {
        bool brackets = s->hosts[i].kind == SX_HOST_IPV6;

        if (i > 0)
            sx_wr_u8(w, ',');
        if (brackets)
            sx_wr_u8(w, '[');
        sx_wr_text(w, s->hosts[i].text);
        if (brackets)
            sx_wr_u8(w, ']');
    }
    if (s->port[0] != 0) {
        sx_wr_u8(w, ':');
        sx_wr_text(w, s->port);
    }
}

void sx_server_print(struct sx_wr *w, const struct sx_server *s, simplex_bytes password)
{
    sx_wr_text(w, SCHEME);
    sx_b64url_encode(w, sx_bytes(s->key_hash, sizeof s->key_hash));
    if (password.len > 0) {
        sx_wr_u8(w, ':');
        sx_wr_raw(w, password);
    }
    sx_wr_u8(w, '@');
    sx_server_print_hosts(w, s);
}

/* ---- comparing ---- */

bool sx_server_same_address(const struct sx_server *a, const struct sx_server *b)
{
    if (a->n_hosts != b->n_hosts || strcmp(a->port, b->port) != 0)
        return false;
    for (size_t i = 0; i < a->n_hosts; i++) {
        if (a->hosts[i].kind != b->hosts[i].kind || strcmp(a->hosts[i].text, b->hosts[i].text) != 0)
            return false;
    }
    return true;
}

bool sx_server_eq(const struct sx_server *a, const struct sx_server *b)
{
    return sx_server_same_address(a, b) &&
           memcmp(a->key_hash, b->key_hash, sizeof a->key_hash) == 0;
}
