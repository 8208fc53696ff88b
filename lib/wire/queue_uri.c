/* SPDX-License-Identifier: Apache-2.0 */
/* Queue addresses as text (protocol/agent.md section 5.1). */
#include "wire/queue.h"
#include "wire/url.h"

#include <stdio.h>

#define DER_X25519 44
#define HOSTS_TEXT_MAX (SX_HOSTS_MAX * (SX_HOST_MAX + 1))

/* ---- version ranges ---- */

void sx_range_print(struct sx_wr *w, struct sx_range v)
{
    char text[16];

    if (v.min == v.max)
        (void)snprintf(text, sizeof text, "%u", (unsigned)v.min);
    else
        (void)snprintf(text, sizeof text, "%u-%u", (unsigned)v.min, (unsigned)v.max);
    sx_wr_text(w, text);
}

bool sx_range_parse(simplex_bytes text, struct sx_range *v)
{
    struct sx_rd r = sx_rd_init(text);

    if (!sx_text_u16(sx_rd_until(&r, "-"), &v->min))
        return false;
    v->max = v->min;
    if (sx_rd_lit(&r, "-") && !sx_text_u16(sx_rd_rest(&r), &v->max))
        return false;
    return sx_rd_done(&r) && v->min <= v->max;
}

/* ---- printing ---- */

static void print_hosts(struct sx_wr *w, const struct sx_server *s, unsigned first)
{
    for (unsigned i = first; i < s->n_hosts; i++) {
        if (i > first)
            sx_url_encode(w, sx_str(","));
        sx_url_encode(w, sx_str(s->hosts[i].text));
    }
}

static void print_dh(struct sx_wr *w, const struct sx_pub *dh)
{
    uint8_t der[SX_SPKI_MAX];
    char text[2 * SX_SPKI_MAX];
    struct sx_wr d, t;

    sx_wr_fixed(&d, der, sizeof der);
    sx_wr_fixed(&t, text, sizeof text);
    sx_spki_encode(dh, &d);
    sx_b64url_encode(&t, sx_wr_bytes(&d));
    if (d.bad || t.bad)
        w->bad = true;
    sx_url_encode(w, sx_wr_bytes(&t));
}

void sx_queue_uri_print(struct sx_wr *w, const struct sx_queue_addr *q)
{
    bool one_host = q->v.min < 2; /* version 1 cannot read more of them in front of the id */
    struct sx_server shown = q->server;

    if (one_host)
        shown.n_hosts = 1;
    sx_server_print(w, &shown, sx_bytes(NULL, 0));
    sx_wr_text(w, "/");
    sx_b64url_encode(w, sx_id_bytes(&q->snd_id));
    sx_wr_text(w, "#/?v=");
    sx_range_print(w, q->v);
    sx_wr_text(w, "&dh=");
    print_dh(w, &q->dh);
    if (q->mode == SX_MODE_MESSAGING)
        sx_wr_text(w, q->v.min < 4 ? "&q=m&k=s" : "&q=m");
    else if (q->mode == SX_MODE_CONTACT)
        sx_wr_text(w, "&q=c");
    if (one_host && q->server.n_hosts > 1) {
        sx_wr_text(w, "&srv=");
        print_hosts(w, &q->server, 1);
    }
}

/* ---- parsing ---- */

/* A parameter that fits `size` bytes. False when it is missing or longer. */
static bool param(simplex_bytes query, const char *name, void *buf, size_t size, simplex_bytes *out)
{
    struct sx_wr w;

    sx_wr_fixed(&w, buf, size);
    if (!sx_query_get(query, name, &w) || w.bad)
        return false;
    *out = sx_wr_bytes(&w);
    return true;
}

static bool parse_dh(simplex_bytes text, struct sx_pub *dh)
{
    uint8_t der[DER_X25519];
    size_t n = sizeof der;

    return sx_b64url_decode(text, der, &n) == SIMPLEX_OK &&
           sx_spki_decode(sx_bytes(der, n), dh) == SIMPLEX_OK && dh->alg == SX_X25519;
}

simplex_rc sx_hosts_parse(simplex_bytes text, struct sx_server *s)
{
    struct sx_rd r = sx_rd_init(text);

    do {
        if (s->n_hosts == SX_HOSTS_MAX ||
            sx_host_parse(sx_rd_until(&r, ","), &s->hosts[s->n_hosts]) != SIMPLEX_OK)
            return SIMPLEX_E_LINK;
        s->n_hosts++;
    } while (sx_rd_lit(&r, ","));
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_LINK;
}

/* smp://<fingerprint>@hosts[:port]; a password has no place in an address that is given away */
static bool parse_authority(struct sx_rd *r, struct sx_server *s)
{
    struct sx_rd rest = *r;

    if (!sx_rd_lit(&rest, "smp://"))
        return false;
    (void)sx_rd_until(&rest, "/");
    simplex_bytes authority = { r->p, r->left - rest.left };
    *r = rest;
    return sx_server_parse(authority, s, NULL) == SIMPLEX_OK;
}

static bool parse_id(struct sx_rd *r, struct sx_id *id)
{
    size_t n = sizeof id->b;

    if (sx_b64url_decode(sx_rd_until(r, "/#"), id->b, &n) != SIMPLEX_OK || n == 0)
        return false;
    id->len = (uint8_t)n;
    return true;
}

static uint8_t parse_mode(simplex_bytes query)
{
    char buf[8];
    simplex_bytes s;

    if (param(query, "q", buf, sizeof buf, &s)) {
        if (sx_bytes_eq(s, sx_str("m")))
            return SX_MODE_MESSAGING;
        if (sx_bytes_eq(s, sx_str("c")))
            return SX_MODE_CONTACT;
    }
    if (param(query, "k", buf, sizeof buf, &s) && sx_bytes_eq(s, sx_str("s")))
        return SX_MODE_MESSAGING;
    return SX_MODE_NONE;
}

static bool parse_query(simplex_bytes query, bool has_dh, struct sx_queue_addr *q)
{
    char buf[HOSTS_TEXT_MAX];
    simplex_bytes s;
    struct sx_wr srv;

    if (!param(query, "v", buf, sizeof buf, &s) || !sx_range_parse(s, &q->v))
        return false;
    if (!has_dh && (!param(query, "dh", buf, sizeof buf, &s) || !parse_dh(s, &q->dh)))
        return false;
    q->mode = parse_mode(query);
    sx_wr_fixed(&srv, buf, sizeof buf);
    if (!sx_query_get(query, "srv", &srv))
        return true;
    s = sx_wr_bytes(&srv);
    return !srv.bad && (s.len == 0 || sx_hosts_parse(s, &q->server) == SIMPLEX_OK);
}

/* Behind '#': `/?query`, `<dh>/?query`, `<dh>?query`, or `<dh>` alone at version 1. */
static bool parse_fragment(struct sx_rd *r, struct sx_queue_addr *q)
{
    simplex_bytes dh = sx_rd_until(r, "?");
    bool has_query = sx_rd_lit(r, "?");

    if (has_query && dh.len > 0 && dh.ptr[dh.len - 1] == '/')
        dh.len--;
    if (dh.len > 0 && !parse_dh(dh, &q->dh))
        return false;
    if (has_query)
        return parse_query(sx_rd_rest(r), dh.len > 0, q);
    q->v = (struct sx_range){ 1, 1 };
    return dh.len > 0;
}

simplex_rc sx_queue_uri_parse(simplex_bytes text, struct sx_queue_addr *q)
{
    struct sx_rd r = sx_rd_init(text);

    memset(q, 0, sizeof *q);
    if (!sx_text_is_solid(text) || !parse_authority(&r, &q->server) || !sx_rd_lit(&r, "/") ||
        !parse_id(&r, &q->snd_id))
        return SIMPLEX_E_LINK;
    (void)sx_rd_lit(&r, "/");
    if (!sx_rd_lit(&r, "#") || !parse_fragment(&r, q))
        return SIMPLEX_E_LINK;
    if (q->v.max < 2 && sx_queue_add_known_onion(&q->server) != SIMPLEX_OK)
        return SIMPLEX_E_LINK;
    return SIMPLEX_OK;
}
