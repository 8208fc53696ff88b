/* SPDX-License-Identifier: Apache-2.0 */
/* Short links: text, binary, preset servers, keys (protocol/agent.md section 5.3). */
#include "wire/short_link.h"
#include "wire/url.h"

#define TEXT_MAX 4096 /* eight longest hosts, a key, an id and a hash fit well */

static const uint8_t no_hash[32];

static bool is_contact_type(uint8_t t)
{
    return t == SX_SHORT_CONTACT || t == SX_SHORT_CHANNEL || t == SX_SHORT_GROUP ||
           t == SX_SHORT_RELAY;
}

uint8_t sx_short_link_kind(const struct sx_short_link *s)
{
    return s->type == SX_SHORT_INVITATION ? SX_LINK_INVITATION : SX_LINK_CONTACT;
}

/* ---- printing ---- */

static void print_param(struct sx_wr *w, bool *first, const char *name)
{
    sx_wr_text(w, *first ? "?" : "&");
    sx_wr_text(w, name);
    *first = false;
}

static void print_query(struct sx_wr *w, const struct sx_short_link *s, unsigned first_host)
{
    bool first = true;

    for (unsigned i = first_host; i < s->server.n_hosts; i++) {
        if (i == first_host)
            print_param(w, &first, "h=");
        else
            sx_url_encode(w, sx_str(","));
        sx_url_encode(w, sx_str(s->server.hosts[i].text));
    }
    if (s->server.port[0] != 0) {
        print_param(w, &first, "p=");
        sx_wr_text(w, s->server.port);
    }
    if (s->has_key_hash) {
        print_param(w, &first, "c=");
        sx_b64url_encode_unpadded(w, sx_bytes(s->server.key_hash, sizeof s->server.key_hash));
    }
}

void sx_short_link_print(struct sx_wr *w, const struct sx_short_link *s)
{
    bool https = s->scheme == SX_SHORT_HTTPS;

    if (s->server.n_hosts == 0) {
        w->bad = true;
        return;
    }
    sx_wr_text(w, https ? "https://" : "simplex:");
    if (https)
        sx_wr_text(w, s->server.hosts[0].text);
    sx_wr_text(w, "/");
    sx_wr_u8(w, s->type);
    sx_wr_text(w, "#");
    if (s->type == SX_SHORT_INVITATION) {
        sx_b64url_encode_unpadded(w, sx_bytes(s->link_id, sizeof s->link_id));
        sx_wr_text(w, "/");
    }
    sx_b64url_encode_unpadded(w, sx_bytes(s->link_key, sizeof s->link_key));
    print_query(w, s, https ? 1 : 0);
}

/* ---- parsing ---- */

/* Exactly n bytes, padded or not. */
static bool parse_exact(simplex_bytes text, uint8_t *out, size_t n)
{
    size_t got = n;

    return sx_b64url_decode(text, out, &got) == SIMPLEX_OK && got == n;
}

static bool parse_port(simplex_bytes text, struct sx_server *s)
{
    uint16_t port;
    struct sx_wr w;
    struct sx_range v;

    if (!sx_text_u16(text, &port) || port == 0)
        return false;
    v.min = v.max = port;
    sx_wr_fixed(&w, s->port, sizeof s->port - 1);
    sx_range_print(&w, v); /* drops leading zeros */
    return !w.bad;
}

/* The value of a parameter; *found says whether it is there. False when it is too long. */
static bool get(simplex_bytes query, const char *name, struct sx_wr *value, bool *found)
{
    sx_wr_reset(value);
    *found = sx_query_get(query, name, value);
    return !value->bad;
}

static bool parse_query(simplex_bytes query, struct sx_short_link *s)
{
    char buf[TEXT_MAX];
    struct sx_wr value;
    bool found;

    sx_wr_fixed(&value, buf, sizeof buf);
    if (!get(query, "h", &value, &found) ||
        (found && sx_hosts_parse(sx_wr_bytes(&value), &s->server) != SIMPLEX_OK))
        return false;
    if (!get(query, "p", &value, &found) || (found && !parse_port(sx_wr_bytes(&value), &s->server)))
        return false;
    if (!get(query, "c", &value, &found))
        return false;
    s->has_key_hash = found;
    return !found || parse_exact(sx_wr_bytes(&value), s->server.key_hash, 32);
}

static bool parse_type(struct sx_rd *r, uint8_t *type)
{
    uint8_t c = sx_rd_u8(r);

    if (c >= 'A' && c <= 'Z' && is_contact_type((uint8_t)(c - 'A' + 'a')))
        c = (uint8_t)(c - 'A' + 'a');
    *type = c;
    return !r->bad && (c == SX_SHORT_INVITATION || is_contact_type(c));
}

static bool parse_link(struct sx_rd *r, struct sx_short_link *s)
{
    if (sx_rd_lit(r, "https://")) {
        if (sx_host_parse(sx_rd_until(r, "/"), &s->server.hosts[0]) != SIMPLEX_OK)
            return false;
        s->server.n_hosts = 1;
    } else if (sx_rd_lit(r, "simplex:")) {
        s->scheme = SX_SHORT_SIMPLEX;
    } else {
        return false;
    }
    if (!sx_rd_lit(r, "/") || !parse_type(r, &s->type))
        return false;
    (void)sx_rd_lit(r, "/");
    if (!sx_rd_lit(r, "#"))
        return false;
    if (s->type == SX_SHORT_INVITATION &&
        (!parse_exact(sx_rd_until(r, "/"), s->link_id, sizeof s->link_id) || !sx_rd_lit(r, "/")))
        return false;
    if (!parse_exact(sx_rd_until(r, "?"), s->link_key, sizeof s->link_key))
        return false;
    (void)sx_rd_lit(r, "?");
    return parse_query(sx_rd_rest(r), s) && s->server.n_hosts > 0;
}

simplex_rc sx_short_link_parse(simplex_bytes text, struct sx_short_link *s)
{
    memset(s, 0, sizeof *s);
    text = sx_text_trim(text);
    struct sx_rd r = sx_rd_init(text);
    if (text.len > TEXT_MAX || !sx_text_is_solid(text) || !parse_link(&r, s)) {
        memset(s, 0, sizeof *s);
        return SIMPLEX_E_LINK;
    }
    return SIMPLEX_OK;
}

/* ---- binary ---- */

/* A server without key hash is written with an empty one. */
static void write_server(struct sx_wr *w, const struct sx_short_link *s)
{
    sx_wr_u8(w, s->server.n_hosts);
    for (unsigned i = 0; i < s->server.n_hosts; i++)
        sx_wr_short(w, sx_str(s->server.hosts[i].text));
    sx_wr_short(w, sx_str(s->server.port));
    sx_wr_short(w, sx_bytes(s->server.key_hash, s->has_key_hash ? 32 : 0));
}

void sx_short_link_encode(struct sx_wr *w, const struct sx_short_link *s)
{
    if (s->server.n_hosts == 0)
        w->bad = true;
    if (s->type == SX_SHORT_INVITATION) {
        sx_wr_u8(w, 'I');
    } else {
        sx_wr_u8(w, 'C');
        sx_wr_u8(w, (uint8_t)(s->type - 'a' + 'A'));
    }
    write_server(w, s);
    if (s->type == SX_SHORT_INVITATION)
        sx_wr_short(w, sx_bytes(s->link_id, sizeof s->link_id));
    sx_wr_short(w, sx_bytes(s->link_key, sizeof s->link_key));
}

static void read_exact(struct sx_rd *r, uint8_t *out, size_t n)
{
    simplex_bytes s = sx_rd_short(r);

    if (s.len == n)
        memcpy(out, s.ptr, n);
    else
        r->bad = true;
}

static void read_server(struct sx_rd *r, struct sx_short_link *s)
{
    uint8_t buf[1 + (SX_HOSTS_MAX + 1) * 256 + 33];
    struct sx_wr w;
    const uint8_t *start = r->p;
    unsigned n = sx_rd_u8(r);

    for (unsigned i = 0; i < n + 1 && !r->bad; i++)
        (void)sx_rd_short(r);
    if (r->bad || n > SX_HOSTS_MAX) {
        r->bad = true;
        return;
    }
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_wr_raw(&w, sx_bytes(start, (size_t)(r->p - start)));
    simplex_bytes hash = sx_rd_short(r);
    s->has_key_hash = hash.len > 0;
    /* completed with a hash of zeros, it is a server as elsewhere */
    sx_wr_short(&w, s->has_key_hash ? hash : sx_bytes(no_hash, sizeof no_hash));
    struct sx_rd server = sx_rd_init(sx_wr_bytes(&w));
    sx_server_decode(&server, &s->server);
    if (w.bad || !sx_rd_done(&server) || sx_server_port(&s->server) == 0)
        r->bad = true;
}

void sx_short_link_read(struct sx_rd *r, struct sx_short_link *s)
{
    memset(s, 0, sizeof *s);
    if (sx_rd_lit(r, "I")) {
        s->type = SX_SHORT_INVITATION;
    } else if (sx_rd_lit(r, "C")) {
        uint8_t c = sx_rd_u8(r);
        s->type = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : 0;
        if (!is_contact_type(s->type))
            r->bad = true;
    } else {
        r->bad = true;
    }
    read_server(r, s);
    if (s->type == SX_SHORT_INVITATION)
        read_exact(r, s->link_id, sizeof s->link_id);
    read_exact(r, s->link_key, sizeof s->link_key);
}

/* ---- preset servers ---- */

static const struct sx_server *find_preset(const struct sx_short_link *s,
                                           const struct sx_server *presets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(presets[i].hosts[0].text, s->server.hosts[0].text) == 0)
            return &presets[i];
    }
    return NULL;
}

static bool has_host(const struct sx_server *s, const char *host)
{
    for (unsigned i = 0; i < s->n_hosts; i++) {
        if (strcmp(s->hosts[i].text, host) == 0)
            return true;
    }
    return false;
}

static bool is_preset(const struct sx_short_link *s, const struct sx_server *preset)
{
    const char *port = s->server.port;
    bool any_port = preset->port[0] == 0; /* such servers listen on both usual ports */

    for (unsigned i = 0; i < s->server.n_hosts; i++) {
        if (!has_host(preset, s->server.hosts[i].text))
            return false;
    }
    if (strcmp(port, preset->port) != 0 &&
        !(any_port && (strcmp(port, "443") == 0 || strcmp(port, "5223") == 0)))
        return false;
    return s->has_key_hash &&
           memcmp(s->server.key_hash, preset->key_hash, sizeof preset->key_hash) == 0;
}

void sx_short_link_shorten(struct sx_short_link *s, const struct sx_server *presets, size_t n)
{
    const struct sx_server *preset = find_preset(s, presets, n);

    if (preset == NULL || !is_preset(s, preset))
        return;
    s->server.n_hosts = 1;
    memset(s->server.port, 0, sizeof s->server.port);
    memset(s->server.key_hash, 0, sizeof s->server.key_hash);
    s->has_key_hash = false;
}

void sx_short_link_restore(struct sx_short_link *s, const struct sx_server *presets, size_t n)
{
    if (s->server.n_hosts != 1 || s->server.port[0] != 0 || s->has_key_hash)
        return;
    const struct sx_server *preset = find_preset(s, presets, n);
    if (preset == NULL)
        return;
    s->server = *preset;
    s->has_key_hash = true;
}

/* ---- keys ---- */

simplex_rc sx_link_keys_derive(uint8_t kind, const uint8_t link_key[SX_LINK_KEY_LEN],
                               struct sx_link_keys *out)
{
    simplex_bytes ikm = { link_key, SX_LINK_KEY_LEN };
    simplex_bytes salt = { NULL, 0 };
    uint8_t okm[SX_LINK_ID_LEN + 32];
    simplex_rc rc;

    memset(out, 0, sizeof *out);
    if (kind == SX_LINK_INVITATION)
        return sx_hkdf_sha512(salt, ikm, "SimpleXInvLink", out->key, sizeof out->key);
    rc = sx_hkdf_sha512(salt, ikm, "SimpleXContactLink", okm, sizeof okm);
    if (rc == SIMPLEX_OK) {
        memcpy(out->id, okm, sizeof out->id);
        memcpy(out->key, okm + sizeof out->id, sizeof out->key);
    }
    sx_wipe(okm, sizeof okm);
    return rc;
}

void sx_link_sender_id(const uint8_t corr_id[24], struct sx_id *out)
{
    uint8_t hash[48];

    sx_sha3_384(sx_bytes(corr_id, 24), hash);
    out->len = SX_ID_LEN;
    memcpy(out->b, hash, SX_ID_LEN);
}
