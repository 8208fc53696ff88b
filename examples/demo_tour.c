/* SPDX-License-Identifier: Apache-2.0 */
#include "demo_tour.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "demo_child.h"
#include "demo_screen.h"

simplex_bytes text_bytes(const char *text)
{
    return (simplex_bytes){ (const uint8_t *)text, strlen(text) };
}

double tour_ms(int64_t since)
{
    return (double)(demo_us() - since) / 1000;
}

bool worked(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        say(RED, "%s: %s", what, simplex_rc_text(rc));
    return rc == SIMPLEX_OK;
}

/* ---- people ---- */

static bool make_key(uint8_t key[32])
{
    FILE *f = fopen("/dev/urandom", "rb");
    bool ok = f != NULL && fread(key, 1, 32, f) == 32;

    if (f != NULL)
        (void)fclose(f);
    return ok;
}

struct person *person_open(struct tour *t, const char *name, size_t n_servers,
                           const simplex_agent_config *cfg)
{
    struct person *p = &t->people[t->n_people];

    if (t->n_people == TOUR_PEOPLE || !make_key(p->key))
        return NULL;
    t->n_people++;
    p->name = name;
    (void)snprintf(p->db, sizeof p->db, "%s/%s.db", t->dir, name);
    if (cfg != NULL)
        p->cfg = *cfg;
    p->cfg.size = sizeof p->cfg;
    p->cfg.db_path = p->db;
    p->cfg.db_key = (simplex_bytes){ p->key, sizeof p->key };
    p->cfg.db_raw_key = true;
    if (p->cfg.servers == NULL) {
        p->cfg.servers = t->addresses;
        p->cfg.n_servers = n_servers;
    }
    return person_reopen(p) ? p : NULL;
}

static void forget_events(struct person *p)
{
    for (size_t n = 0; n < p->n_held; n++)
        simplex_event_free(p->held[n]);
    p->n_held = 0;
}

bool person_close(struct person *p)
{
    simplex_agent *a = p->a;

    forget_events(p);
    p->a = NULL;
    return worked("close", simplex_agent_close(a));
}

bool person_reopen(struct person *p)
{
    if (p->a != NULL && !person_close(p))
        return false;
    return worked("open", simplex_agent_open(&p->cfg, &p->a));
}

/* ---- events ---- */

static bool is(const simplex_event *ev, int32_t kind, int64_t conn)
{
    return simplex_event_kind(ev) == kind && (conn == 0 || simplex_event_conn(ev) == conn);
}

static simplex_event *held(struct person *p, int32_t kind, int64_t conn)
{
    for (size_t n = 0; n < p->n_held; n++) {
        simplex_event *ev = p->held[n];
        if (is(ev, kind, conn)) {
            memmove(p->held + n, p->held + n + 1, (p->n_held - n - 1) * sizeof *p->held);
            p->n_held--;
            return ev;
        }
    }
    return NULL;
}

/* What nobody waits for makes room. */
static void hold(struct person *p, simplex_event *ev)
{
    if (p->n_held == TOUR_HELD) {
        simplex_event_free(p->held[0]);
        memmove(p->held, p->held + 1, (TOUR_HELD - 1) * sizeof *p->held);
        p->n_held--;
    }
    p->held[p->n_held++] = ev;
}

simplex_event *await(struct person *p, int32_t kind, int64_t conn)
{
    int64_t until = demo_us() + TOUR_PATIENCE_MS * 1000LL;
    simplex_event *ev = held(p, kind, conn);

    while (ev == NULL) {
        int64_t left = (until - demo_us()) / 1000;
        if (!worked(p->name, simplex_agent_next_event(p->a, left > 0 ? left : 0, &ev)))
            return NULL;
        if (is(ev, kind, conn))
            break;
        if (simplex_event_kind(ev) == SIMPLEX_EV_ERR || simplex_event_kind(ev) == SIMPLEX_EV_MERR) {
            say(RED, "%s reports: %s", p->name, simplex_event_json(ev));
            simplex_event_free(ev);
            return NULL;
        }
        hold(p, ev);
        ev = NULL;
    }
    return ev;
}

bool await_done(struct person *p, int32_t kind, int64_t conn)
{
    simplex_event *ev = await(p, kind, conn);

    simplex_event_free(ev);
    return ev != NULL;
}

/* ---- talking ---- */

bool send_text(struct person *p, int64_t conn, const char *text)
{
    int64_t id;

    return worked("send", simplex_agent_send(p->a, conn, text_bytes(text), 0, &id));
}

bool hear(struct person *p, int64_t conn, const char *text)
{
    simplex_event *ev = await(p, SIMPLEX_EV_MSG, conn);

    if (ev == NULL)
        return false;
    simplex_bytes body = simplex_event_data(ev);
    bool same = body.len == strlen(text) && memcmp(body.ptr, text, body.len) == 0;
    bool ok = worked("ack", simplex_agent_ack(p->a, conn, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
    if (!same)
        say(RED, "%s got another message than \"%s\"", p->name, text);
    return ok && same;
}

bool talk_to(struct person *from, int64_t from_conn, struct person *to, int64_t to_conn,
             const char *text)
{
    return send_text(from, from_conn, text) && hear(to, to_conn, text);
}

/* ---- connecting ---- */

static bool allow(struct person *p, int64_t conn)
{
    simplex_event *ev = await(p, SIMPLEX_EV_CONF, conn);

    if (ev == NULL)
        return false;
    bool ok = worked("allow",
                     simplex_agent_allow(p->a, conn, simplex_event_conf(ev), text_bytes(p->name)));
    simplex_event_free(ev);
    return ok;
}

bool befriend(struct person *i, int64_t user, struct person *j, int64_t *ic, int64_t *jc)
{
    user = user != 0 ? user : SIMPLEX_USER_DEFAULT;
    if (!worked("create", simplex_agent_create_as(i->a, user, SIMPLEX_PQ_ON, ic)))
        return false;
    simplex_event *ev = await(i, SIMPLEX_EV_INV, *ic);
    if (ev == NULL)
        return false;
    simplex_rc rc =
        simplex_agent_join(j->a, simplex_event_data(ev), text_bytes(j->name), SIMPLEX_PQ_ON, jc);
    simplex_event_free(ev);
    return worked("join", rc) && allow(i, *ic) && await_done(i, SIMPLEX_EV_CON, *ic) &&
           await_done(j, SIMPLEX_EV_CON, *jc);
}

bool ask_carol(struct tour *t, struct person *j, int64_t *carol, int64_t *jc)
{
    if (!worked("join", simplex_agent_join(j->a, text_bytes(t->link), text_bytes(j->name),
                                           SIMPLEX_PQ_ON, jc)))
        return false;
    simplex_event *ev = await(t->carol, SIMPLEX_EV_REQ, 0);
    if (ev == NULL)
        return false;
    simplex_rc rc = simplex_agent_accept(t->carol->a, simplex_event_request(ev),
                                         text_bytes("Carol"), SIMPLEX_PQ_ON, carol);
    simplex_event_free(ev);
    return worked("accept", rc) && allow(j, *jc) && await_done(j, SIMPLEX_EV_CON, *jc) &&
           await_done(t->carol, SIMPLEX_EV_CON, *carol);
}

/* ---- the tour ---- */

static bool start_servers(struct tour *t)
{
    char error[256] = "";

    for (size_t n = 0; n < TOUR_SERVERS; n++) {
        simplex_server_config cfg;
        size_t len = sizeof t->address[n];
        simplex_server_config_init(&cfg);
        cfg.error = error;
        cfg.error_size = sizeof error;
        cfg.ntf_flush_ms = 0; /* a second and a half is nothing for a telephone, and long here */
        if (!worked(error, simplex_server_start(&cfg, &t->server[n])) ||
            !worked("server", simplex_server_address(t->server[n], t->address[n], &len)))
            return false;
        t->addresses[n] = t->address[n];
    }
    return true;
}

static void clean_up(struct tour *t)
{
    static const char *const ends[] = { "", "-wal", "-age", ".backup" };

    for (size_t n = 0; n < t->n_people; n++) {
        struct person *p = &t->people[n];
        if (p->a != NULL)
            (void)person_close(p);
        for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
            char path[600];
            (void)snprintf(path, sizeof path, "%s%s", p->db, ends[e]);
            (void)unlink(path);
        }
    }
    for (size_t n = 0; n < TOUR_SERVERS; n++)
        simplex_server_stop(t->server[n]);
}

bool tour_run(const char *dir)
{
    static struct tour t;
    bool ok;

    t = (struct tour){ .dir = dir };
    ok = start_servers(&t);
    for (size_t n = 0; ok && n < n_tour_steps; n++) {
        act(tour_steps[n].title);
        t.began = demo_us();
        ok = tour_steps[n].run(&t);
        if (ok)
            say(GREEN, "done in %.0f ms", tour_ms(t.began));
    }
    clean_up(&t);
    return ok;
}
