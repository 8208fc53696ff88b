/* SPDX-License-Identifier: Apache-2.0 */
/* The relays that the proxy remembers: by address, by session while one is up, and the work that
 * waits for each. */
#include "client/hosts.h"
#include "proxy_internal.h"

/* ---- their work ---- */

void sx_proxy_work_add(struct sx_proxy_relay *r, struct sx_errand *e)
{
    e->work = r;
    e->work_prev = NULL;
    e->work_next = r->work;
    if (r->work != NULL)
        r->work->work_prev = e;
    r->work = e;
    r->n_work++;
}

void sx_proxy_work_remove(struct sx_proxy_relay *r, struct sx_errand *e)
{
    if (e->work_prev == NULL)
        r->work = e->work_next;
    else
        e->work_prev->work_next = e->work_next;
    if (e->work_next != NULL)
        e->work_next->work_prev = e->work_prev;
    r->n_work--;
}

void sx_proxy_fail_work(struct sx_proxy_relay *r, simplex_rc rc)
{
    while (r->work != NULL) {
        struct sx_errand *e = r->work;
        sx_proxy_work_remove(r, e);
        sx_proxy_fail(r->proxy, e, rc);
    }
}

/* ---- finding, adding, forgetting ---- */

static unsigned address_bucket(const struct sx_server *s)
{
    return s->key_hash[0];
}

static unsigned session_bucket(simplex_bytes id)
{
    return id.len == 0 ? 0 : id.ptr[0];
}

struct sx_proxy_relay *sx_proxy_find_address(struct sx_proxy *p, const struct sx_server *s)
{
    struct sx_proxy_relay *r = p->by_address[address_bucket(s)];

    while (r != NULL && !sx_server_eq(sx_client_server(r->client), s))
        r = r->next;
    return r;
}

struct sx_proxy_relay *sx_proxy_find_session(struct sx_proxy *p, simplex_bytes id)
{
    struct sx_proxy_relay *r = p->by_session[session_bucket(id)];

    while (r != NULL && !sx_bytes_eq(sx_bytes(r->session, r->session_len), id))
        r = r->next_session;
    return r;
}

static void session_begins(struct sx_proxy_relay *r, const struct sx_session *s)
{
    simplex_bytes id = sx_session_id(s);
    struct sx_proxy_relay **bucket = &r->proxy->by_session[session_bucket(id)];

    memcpy(r->session, id.ptr, id.len);
    r->session_len = (uint8_t)id.len;
    r->next_session = *bucket;
    *bucket = r;
    r->up = true;
}

static void session_ends(struct sx_proxy_relay *r)
{
    struct sx_proxy_relay **at =
        &r->proxy->by_session[session_bucket(sx_bytes(r->session, r->session_len))];

    if (!r->up)
        return;
    while (*at != r)
        at = &(*at)->next_session;
    *at = r->next_session;
    r->up = false;
}

void sx_proxy_connecting_begins(struct sx_proxy_relay *r, const void *client)
{
    if (r->connecting)
        return;
    r->connecting = true;
    r->tried_ms = sx_proxy_now();
    r->asker = client;
    atomic_fetch_add(&r->proxy->n_connecting, 1);
}

void sx_proxy_connecting_ends(struct sx_proxy_relay *r)
{
    if (r->connecting)
        atomic_fetch_sub(&r->proxy->n_connecting, 1);
    r->connecting = false;
}

static void forget(struct sx_proxy_relay *r)
{
    struct sx_proxy *p = r->proxy;
    struct sx_proxy_relay **at = &p->by_address[address_bucket(sx_client_server(r->client))];

    session_ends(r);
    sx_proxy_connecting_ends(r);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    sx_client_set_data(r->client, NULL);
    sx_client_drop(r->client);
    atomic_fetch_sub(&p->n_relays, 1);
    sx_free(r);
}

static bool is_idle(const struct sx_proxy_relay *r)
{
    return r->work == NULL;
}

/* Frees a place: that of a failed relay, or of the one that was not used for the longest time. */
static bool make_room(struct sx_proxy *p)
{
    struct sx_proxy_relay *oldest = NULL;

    for (unsigned b = 0; b < SX_PROXY_BUCKETS; b++) {
        for (struct sx_proxy_relay *r = p->by_address[b]; r != NULL; r = r->next) {
            if (is_idle(r) && (oldest == NULL || (oldest->up && !r->up) ||
                               (oldest->up == r->up && r->used_ms < oldest->used_ms)))
                oldest = r;
        }
    }
    if (oldest == NULL)
        return false;
    forget(oldest);
    return true;
}

/* The first host, or a domain it belongs to, is one of the operator's. */
static bool is_own(const struct sx_proxy *p, const struct sx_server *s)
{
    const char *host = s->hosts[0].text;
    size_t len = strlen(host);

    for (size_t i = 0; i < p->own.n; i++) {
        size_t n = strlen(p->own.name[i]);
        if (n <= len && strcmp(host + len - n, p->own.name[i]) == 0 &&
            (n == len || host[len - n - 1] == '.'))
            return true;
    }
    return false;
}

struct sx_proxy_relay *sx_proxy_new_relay(struct sx_proxy *p, const struct sx_server *s,
                                          simplex_rc *rc)
{
    *rc = SIMPLEX_E_TIMEOUT; /* too busy */
    if (atomic_load(&p->n_relays) >= p->cfg.relays_max && !make_room(p))
        return NULL;
    struct sx_proxy_relay *r = sx_calloc(1, sizeof(*r));
    *rc = SIMPLEX_E_NOMEM;
    if (r == NULL)
        return NULL;
    *rc = sx_net_client(p->net, s, &r->client);
    if (*rc != SIMPLEX_OK) {
        sx_free(r);
        return NULL;
    }
    r->proxy = p;
    r->own = is_own(p, s);
    sx_client_set_data(r->client, r);
    r->next = p->by_address[address_bucket(s)];
    p->by_address[address_bucket(s)] = r;
    atomic_fetch_add(&p->n_relays, 1);
    return r;
}

/* ---- sessions come and go ---- */

void sx_proxy_answer_pkey(struct sx_proxy_relay *r, struct sx_errand *e)
{
    sx_relay_pkey(e, sx_client_session(r->client), sx_client_hello(r->client));
    sx_proxy_done(r->proxy, e);
}

void sx_proxy_on_up(void *user, struct sx_client *c)
{
    struct sx_proxy_relay *r = sx_client_data(c);
    struct sx_errand *next;

    (void)user;
    if (r == NULL)
        return;
    sx_proxy_connecting_ends(r);
    sx_client_want(c, false); /* it stays up, but does not come again by itself */
    session_begins(r, sx_client_session(c));
    for (struct sx_errand *e = r->work; e != NULL; e = next) {
        next = e->work_next;
        sx_proxy_work_remove(r, e);
        sx_proxy_answer_pkey(r, e);
    }
}

/* Clients take HOST for a relay that no proxy can use, and may come directly then: a name that does
 * not resolve just now is no such thing, or whoever disturbs our resolver could bring them to it.
 */
static bool did_not_resolve(const struct sx_proxy_relay *r, const struct sx_client *c,
                            simplex_rc rc)
{
    struct sx_route routes[SX_HOSTS_MAX];

    return rc == SIMPLEX_E_HOST && sx_routes(&r->proxy->cfg.net, sx_client_server(c), routes) > 0;
}

void sx_proxy_on_down(void *user, struct sx_client *c, simplex_rc rc)
{
    struct sx_proxy_relay *r = sx_client_data(c);

    (void)user;
    if (r == NULL)
        return;
    if (r->up) {
        session_ends(r);
        sx_client_want(c, r->work != NULL); /* PRXY that came since; all PFWD were answered */
        return;
    }
    sx_proxy_connecting_ends(r);
    sx_client_want(c, false);
    if (did_not_resolve(r, c, rc))
        rc = SIMPLEX_E_CONNECT;
    r->failed_rc = rc;
    if (rc != SIMPLEX_E_NOMEM && rc != SIMPLEX_E_SYSTEM) /* nobody's fault but ours */
        r->failed_until = sx_proxy_now() + r->proxy->cfg.failed_ms;
    sx_proxy_fail_work(r, rc);
}

/* ---- all of them ---- */

void sx_proxy_sweep(struct sx_proxy *p)
{
    int64_t now = sx_proxy_now();
    struct sx_proxy_relay *next;

    for (unsigned b = 0; b < SX_PROXY_BUCKETS; b++) {
        for (struct sx_proxy_relay *r = p->by_address[b]; r != NULL; r = next) {
            next = r->next;
            if (is_idle(r) && (r->up ? now - r->used_ms >= p->cfg.idle_ms : now >= r->failed_until))
                forget(r);
        }
    }
}

void sx_proxy_drop_relays(struct sx_proxy *p)
{
    struct sx_proxy_relay *next;

    for (unsigned b = 0; b < SX_PROXY_BUCKETS; b++) {
        for (struct sx_proxy_relay *r = p->by_address[b]; r != NULL; r = next) {
            next = r->next;
            sx_proxy_fail_work(r, SIMPLEX_E_CLOSED);
            sx_free(r);
        }
        p->by_address[b] = p->by_session[b] = NULL;
    }
}
