/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data behind short links: replaced and deleted by who made the link, read by others. Who reads
 * sees a version that was written, whole; in the end the last one.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "agent/work.h"
#include "sim/acts.h"

#define VERSIONS 64
#define DATA_MAX 13000

static struct maker {         /* of a link */
    unsigned versions;        /* that were tried to write */
    bool unwritten[VERSIONS]; /* the call failed */
    bool uncertain;           /* an old copy, or the device died: any of them may be the last */
    bool dropped;             /* deleted, at least once: who has an older link reads nothing */
    bool touched;
} makers[APP_ENDS];

static struct reader {
    bool due;   /* LDATA */
    bool vague; /* or it came before the copy that was put back */
    int seen;   /* version; -1: none since it looked last */
} readers[APP_ENDS];

static struct {
    struct app_end *e;
    unsigned version;
    simplex_rc rc;
    int64_t id;
    bool *flag;
} call;

void links_open(void)
{
    memset(makers, 0, sizeof makers);
    memset(readers, 0, sizeof readers);
}

/* ---- what is written ---- */

/* Versions differ in each byte and in length, which says whose they are and which. */
simplex_bytes links_data(const struct app_end *e, unsigned version)
{
    static uint8_t room[DATA_MAX];
    size_t len = version % 8 == 7 ? DATA_MAX : 20 + (size_t)(version * 37 + e->n) % 400;
    struct sx_wr w;

    sx_wr_fixed(&w, room, sizeof room);
    sx_wr_u32(&w, e->n);
    sx_wr_u32(&w, version);
    while (w.len < len)
        sx_wr_u8(&w, (uint8_t)(e->n + version * 101 + w.len));
    return sx_wr_bytes(&w);
}

static void run_set(struct sim_node *n, void *arg)
{
    simplex_link_data data = { .size = sizeof data, .data = links_data(call.e, call.version) };

    (void)arg;
    call.rc = simplex_agent_set_link_data(n->a, call.e->id, &data);
}

static void run_drop(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_delete_link_data(n->a, call.e->id);
}

/* Not possible at any time: somebody has used it, it is being deleted, there is none. */
static bool written(void)
{
    return call.rc != SIMPLEX_E_PROHIBITED && act_tolerated(call.rc);
}

static bool write_next(struct app_end *e)
{
    struct maker *m = &makers[e->n];

    if (m->versions + 1 >= VERSIONS)
        return false;
    call.e = e;
    call.version = ++m->versions;
    m->touched = true;
    m->uncertain = m->uncertain || (e->role == APP_INVITER && e->used != 0);
    if (!sim_app(e->node, run_set, NULL)) {
        m->uncertain = true;
        return false;
    }
    m->unwritten[call.version] = !written();
    sim_trace("%u/%u version %u of its link: %s", e->node->n, e->n, call.version,
              simplex_rc_name(call.rc));
    return !m->unwritten[call.version];
}

/* Who is about to use the link does not come further. */
static void link_ends(const struct app_end *e)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *x = &app.ends[i];
        if (x->offer == e && x->by_short && x->ready == 0)
            x->dead = true;
    }
}

static bool drop(struct app_end *e)
{
    call.e = e;
    makers[e->n].touched = makers[e->n].dropped = true;
    link_ends(e);
    if (sim_app(e->node, run_drop, NULL) && written())
        e->short_link[0] = 0;
    return true;
}

static bool is_offer(const struct app_end *e)
{
    return act_deletable(e) && (e->role == APP_ADDRESS || e->role == APP_INVITER) && e->ready == 0;
}

static bool has_link(const struct app_end *e)
{
    return is_offer(e) && e->short_link[0] != 0;
}

bool links_change(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, sim_chance(80) ? has_link : is_offer);

    if (e == NULL)
        return false;
    if (e->role == APP_ADDRESS && sim_chance(15))
        return drop(e);
    for (uint32_t i = sim_below(3); write_next(e) && i > 0; i--)
        continue;
    return true;
}

bool links_dropped(const struct app_end *e)
{
    return makers[e->n].dropped;
}

/* A link that was made or deleted since the copy is not what the server has; an invitation that
 * somebody looked at is not changed any more. */
bool links_may_be_refused(const struct app_end *e)
{
    return makers[e->n].touched &&
           (makers[e->n].uncertain || (e->role == APP_INVITER && e->used != 0));
}

/* ---- what is read ---- */

void links_look(struct app_end *e)
{
    readers[e->n].due = true;
    readers[e->n].seen = -1;
}

static bool only_looks(const struct app_end *e)
{
    return e->looking && !e->wants_join && act_deletable(e);
}

static void run_look(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_look(n->a, sx_str(call.e->short_link), &call.id);
}

static void look(struct app_end *e)
{
    struct reader before = readers[e->n];

    call.e = e;
    links_look(e); /* it may be shown at once */
    if (!sim_app(e->node, run_look, NULL))
        readers[e->n].vague = true;
    else if (!act_tolerated(call.rc))
        readers[e->n] = before;
    else if (call.id != e->id && !e->rolled)
        sim_fail("end %u on %u: its link has another connection", e->n, e->node->n);
}

bool links_look_again(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, only_looks);

    if (e == NULL)
        return false;
    look(e);
    return true;
}

void links_on_data(struct app_end *e, const simplex_event *ev)
{
    simplex_bytes data = simplex_event_data(ev);
    struct sx_rd r = sx_rd_init(data);
    uint32_t whose = sx_rd_u32(&r), version = sx_rd_u32(&r);

    readers[e->n].due = false;
    if (e->offer == NULL || e->hostile)
        return;
    if (r.bad || whose != e->offer->n || version > makers[whose].versions ||
        makers[whose].unwritten[version])
        sim_fail("end %u on %u reads what nobody wrote", e->n, e->node->n);
    if (!sx_bytes_eq(data, links_data(e->offer, version)))
        sim_fail("end %u on %u reads version %u changed", e->n, e->node->n, version);
    readers[e->n].seen = (int)version;
}

/* It cannot be read. */
void links_on_error(struct app_end *e)
{
    readers[e->n].due = false;
}

void links_rolled_back(const struct sim_node *n)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (app.ends[i].node != n)
            continue;
        makers[i].uncertain = true;
        readers[i].vague = true;
    }
}

/* ---- the end ---- */

static void run_waits(struct sim_node *n, void *arg)
{
    struct sx_command cmd = { .id = 0 };

    (void)arg;
    while (sx_store_command_next(n->a->store, call.e->id, cmd.id, &cmd) == SIMPLEX_OK)
        *call.flag = *call.flag || cmd.tag == SX_C_LSET || cmd.tag == SX_C_LDEL;
}

static bool waits(struct app_end *e)
{
    bool yes = false;

    call.e = e;
    call.flag = &yes;
    SIM_CHECK(sim_app(e->node, run_waits, NULL));
    return yes;
}

bool links_settled(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (e->dead || !act_deletable(e))
            continue;
        if (readers[i].due && !readers[i].vague)
            return false;
        if (makers[i].touched && e->node->a != NULL && waits(e))
            return false;
    }
    return true;
}

static bool is_open(const struct app_end *e)
{
    return has_link(e) && !e->dead && !e->hostile;
}

/* Writes what is to be read. */
void links_end(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (makers[i].touched && is_open(e) && e->used == 0 && sim_chance(70) && write_next(e))
            makers[i].uncertain = false;
    }
}

static bool reads(const struct app_end *e)
{
    return only_looks(e) && e->offer != NULL && !e->dead && is_open(e->offer) &&
           strcmp(e->short_link, e->offer->short_link) == 0;
}

void links_look_all(void)
{
    unsigned before = app.n_ends;

    for (unsigned i = 0; i < before; i++) {
        struct app_end *e = &app.ends[i];
        if (reads(e)) {
            readers[i].vague = false;
            look(e);
        } else if (makers[i].touched && is_open(e) && (e->role == APP_ADDRESS || e->used == 0)) {
            conns_look(&sim.nodes[(e->node->n + 1) % sim.n_nodes], e);
        }
    }
}

static unsigned last_of(const struct maker *m)
{
    unsigned v = m->versions;

    while (v > 0 && m->unwritten[v])
        v--;
    return v;
}

void links_check(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        const struct app_end *e = &app.ends[i];
        const struct maker *m = e->offer != NULL ? &makers[e->offer->n] : NULL;
        if (!reads(e) || m->uncertain)
            continue;
        if (readers[i].seen != (int)last_of(m))
            sim_fail("end %u on %u reads version %d of %u/%u, which is at %u", e->n, e->node->n,
                     readers[i].seen, e->offer->node->n, e->offer->n, last_of(m));
    }
}
