/* SPDX-License-Identifier: Apache-2.0 */
/* Full links as text (protocol/agent.md sections 5.1 and 13). */
#include "wire/link_parts.h"
#include "wire/url.h"

#define DER_X448 68
#define PRINT_MAX (4 * SX_LINK_TEXT_MAX)

/* ---- printing ---- */

/* The queues as one unescaped value. */
static void print_queues(struct sx_wr *w, const struct sx_link *l)
{
    for (size_t i = 0; i < l->n_queues; i++) {
        if (i > 0)
            sx_wr_text(w, ";");
        sx_queue_uri_print(w, &l->queues[i]);
    }
}

static void print_key(struct sx_wr *w, const struct sx_pub *k)
{
    uint8_t der[SX_SPKI_MAX];
    struct sx_wr d;

    sx_wr_fixed(&d, der, sizeof der);
    sx_spki_encode(k, &d);
    if (d.bad)
        w->bad = true;
    sx_b64url_encode(w, sx_wr_bytes(&d));
}

/* A query string of its own that is escaped as a whole, so nothing in it is escaped before. */
static void print_e2e(struct sx_wr *w, const struct sx_e2e_params *p)
{
    sx_wr_text(w, "v=");
    sx_range_print(w, p->v);
    sx_wr_text(w, "&x3dh=");
    print_key(w, &p->k1);
    sx_wr_text(w, ",");
    print_key(w, &p->k2);
    if (p->kem.kind == SX_KEM_ACCEPTED)
        w->bad = true;
    if (p->kem.kind == SX_KEM_PROPOSED && p->v.max >= 3) {
        sx_wr_text(w, "&kem_key=");
        sx_b64url_encode(w, p->kem.pk);
    }
}

static void print_value(struct sx_wr *w, const char *name, struct sx_wr *value)
{
    sx_wr_text(w, name);
    sx_url_encode(w, sx_wr_bytes(value));
    if (value->bad)
        w->bad = true;
    sx_wr_reset(value);
}

void sx_link_print(struct sx_wr *w, const struct sx_link *l, const char *scheme)
{
    struct sx_wr value;

    sx_wr_init(&value, PRINT_MAX);
    sx_wr_text(w, scheme);
    sx_wr_text(w, l->kind == SX_LINK_INVITATION ? "/invitation#/?v=" : "/contact#/?v=");
    sx_range_print(w, l->agent_v);
    print_queues(&value, l);
    print_value(w, "&smp=", &value);
    if (l->kind == SX_LINK_INVITATION) {
        print_e2e(&value, &l->e2e);
        print_value(w, "&e2e=", &value);
    }
    if (l->has_data) {
        sx_wr_text(w, "&data=");
        sx_url_encode(w, sx_wr_bytes(&l->data));
    }
    if (l->n_queues == 0)
        w->bad = true;
    sx_wr_free(&value);
}

/* ---- parsing ---- */

/*
 * The decoded value of a parameter that must be there. The writer's cap is the longest text
 * that is read at all, so it can only fail for want of memory.
 */
static simplex_rc get(simplex_bytes query, const char *name, struct sx_wr *value)
{
    sx_wr_reset(value);
    if (!sx_query_get(query, name, value))
        return SIMPLEX_E_LINK;
    return value->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

static simplex_rc parse_agent_range(simplex_bytes query, struct sx_wr *value, struct sx_link *l)
{
    simplex_rc rc = get(query, "v", value);

    if (rc != SIMPLEX_OK)
        return rc;
    if (!sx_range_parse(sx_wr_bytes(value), &l->agent_v))
        return SIMPLEX_E_LINK;
    /* addresses made before agent version 2 live on; nobody speaks version 1 */
    if (l->kind == SX_LINK_CONTACT && l->agent_v.min < SX_AGENT_MIN) {
        l->agent_v.min = SX_AGENT_MIN;
        if (l->agent_v.max < SX_AGENT_MIN)
            l->agent_v.max = SX_AGENT_MIN;
    }
    return SIMPLEX_OK;
}

static size_t count_parts(simplex_bytes s, uint8_t separator)
{
    size_t n = 1;

    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == separator;
    return n;
}

static simplex_rc parse_queues(simplex_bytes query, struct sx_wr *value, struct sx_link *l)
{
    simplex_rc rc = get(query, "smp", value);

    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_rd r = sx_rd_init(sx_wr_bytes(value));
    size_t n = count_parts(sx_wr_bytes(value), ';');
    if (n > SX_LINK_QUEUES_MAX)
        return SIMPLEX_E_LINK;
    rc = sx_link_alloc_queues(l, n);
    for (size_t i = 0; i < n && rc == SIMPLEX_OK; i++) {
        rc = sx_queue_uri_parse(sx_rd_until(&r, ";"), &l->queues[i]);
        (void)sx_rd_lit(&r, ";");
    }
    return rc;
}

static bool parse_key(simplex_bytes text, struct sx_pub *k)
{
    uint8_t der[DER_X448];
    size_t n = sizeof der;

    return sx_b64url_decode(text, der, &n) == SIMPLEX_OK &&
           sx_spki_decode(sx_bytes(der, n), k) == SIMPLEX_OK && k->alg == SX_X448;
}

static simplex_rc parse_kem(simplex_bytes query, struct sx_wr *value, struct sx_link *l)
{
    uint8_t pk[SX_KEM_PK];
    size_t n = sizeof pk;
    simplex_rc rc;

    if (l->e2e.v.max < 3)
        return SIMPLEX_OK;
    if (sx_query_get(query, "kem_ct", value)) /* accepts a proposal nobody can have made */
        return SIMPLEX_E_LINK;
    sx_wr_reset(value);
    if (!sx_query_get(query, "kem_key", value))
        return SIMPLEX_OK;
    if (value->bad)
        return SIMPLEX_E_NOMEM;
    rc = sx_b64url_decode(sx_wr_bytes(value), pk, &n);
    return rc == SIMPLEX_OK && n == sizeof pk ? sx_link_set_kem(l, sx_bytes(pk, n))
                                              : SIMPLEX_E_LINK;
}

/* `inner` is the decoded value of e2e, a query string again. */
static simplex_rc parse_e2e_query(simplex_bytes inner, struct sx_wr *value, struct sx_link *l)
{
    simplex_rc rc = get(inner, "v", value);

    if (rc == SIMPLEX_OK && !sx_range_parse(sx_wr_bytes(value), &l->e2e.v))
        rc = SIMPLEX_E_LINK;
    if (rc == SIMPLEX_OK)
        rc = get(inner, "x3dh", value);
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_rd r = sx_rd_init(sx_wr_bytes(value));
    if (!parse_key(sx_rd_until(&r, ","), &l->e2e.k1) || !sx_rd_lit(&r, ",") ||
        !parse_key(sx_rd_rest(&r), &l->e2e.k2))
        return SIMPLEX_E_LINK;
    return parse_kem(inner, value, l);
}

static simplex_rc parse_e2e(simplex_bytes query, struct sx_wr *value, struct sx_link *l)
{
    struct sx_wr inner;

    sx_wr_init(&inner, SX_LINK_TEXT_MAX);
    simplex_rc rc = get(query, "e2e", &inner);
    if (rc == SIMPLEX_OK)
        rc = parse_e2e_query(sx_wr_bytes(&inner), value, l);
    sx_wr_free(&inner);
    return rc;
}

static simplex_rc parse_data(simplex_bytes query, struct sx_link *l)
{
    l->has_data = sx_query_get(query, "data", &l->data);
    if (l->data.bad)
        return SIMPLEX_E_NOMEM;
    sx_link_clean_utf8(&l->data);
    return SIMPLEX_OK;
}

static simplex_rc parse_query(simplex_bytes query, struct sx_link *l)
{
    struct sx_wr value;

    sx_wr_init(&value, SX_LINK_TEXT_MAX);
    simplex_rc rc = parse_agent_range(query, &value, l);
    if (rc == SIMPLEX_OK)
        rc = parse_queues(query, &value, l);
    if (rc == SIMPLEX_OK && l->kind == SX_LINK_INVITATION)
        rc = parse_e2e(query, &value, l);
    if (rc == SIMPLEX_OK)
        rc = parse_data(query, l);
    sx_wr_free(&value);
    return rc;
}

/* The site is not visited: its name only has to be one. */
static bool parse_site(simplex_bytes site)
{
    struct sx_host host;
    uint16_t port;

    if (sx_host_parse(site, &host) == SIMPLEX_OK)
        return true;
    struct sx_rd r = sx_rd_init(site);
    simplex_bytes name = sx_rd_until(&r, ":");
    return sx_rd_lit(&r, ":") && sx_text_u16(sx_rd_rest(&r), &port) &&
           sx_host_parse(name, &host) == SIMPLEX_OK;
}

/* Takes all in front of the query: the scheme, the kind and "#/?". */
static bool parse_head(struct sx_rd *r, uint8_t *kind)
{
    if (sx_rd_lit(r, "https://")) {
        if (!parse_site(sx_rd_until(r, "/")))
            return false;
    } else if (!sx_rd_lit(r, "simplex:")) {
        return false;
    }
    if (sx_rd_lit(r, "/invitation"))
        *kind = SX_LINK_INVITATION;
    else if (sx_rd_lit(r, "/contact"))
        *kind = SX_LINK_CONTACT;
    else
        return false;
    (void)sx_rd_lit(r, "/");
    return sx_rd_lit(r, "#/?");
}

simplex_rc sx_link_parse(simplex_bytes text, struct sx_link *l)
{
    uint8_t kind = 0;

    memset(l, 0, sizeof *l);
    text = sx_text_trim(text);
    struct sx_rd r = sx_rd_init(text);
    if (text.len > SX_LINK_TEXT_MAX || !sx_text_is_solid(text) || !parse_head(&r, &kind))
        return SIMPLEX_E_LINK;
    sx_link_init(l, kind);
    simplex_rc rc = parse_query(sx_rd_rest(&r), l);
    if (rc != SIMPLEX_OK)
        sx_link_free(l);
    return rc;
}
