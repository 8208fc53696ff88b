/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the tour, in order. Each is what an application would write, plus a few lines to
 * say. */
#include <stdio.h>
#include <string.h>

#include "demo_child.h"
#include "demo_push.h"
#include "demo_redundant.h"
#include "demo_screen.h"
#include "demo_tour.h"

/* ---- a contact address, and the short link to it ---- */

static bool publish(struct tour *t)
{
    simplex_link_data data = { .size = sizeof data,
                               .data = text_bytes("Carol, clock maker. Ask me anything.") };
    int64_t address;

    if (!worked("create", simplex_agent_create_short(t->carol->a, SIMPLEX_LINK_CONTACT,
                                                     SIMPLEX_PQ_ON, &data, &address)))
        return false;
    simplex_event *ev = await(t->carol, SIMPLEX_EV_LINK, address);
    if (ev == NULL)
        return false;
    simplex_bytes link = simplex_event_data(ev);
    (void)snprintf(t->link, sizeof t->link, "%.*s", (int)link.len, (const char *)link.ptr);
    simplex_event_free(ev);
    say(PLAIN, "Carol has an address that many can use, and a short link to it:");
    say(DIM, "%s", t->link);
    return true;
}

static bool look(struct person *p, const char *link)
{
    int64_t began = demo_us(), conn;

    if (!worked("look", simplex_agent_look(p->a, text_bytes(link), &conn)))
        return false;
    simplex_event *ev = await(p, SIMPLEX_EV_LDATA, conn);
    if (ev == NULL)
        return false;
    simplex_bytes data = simplex_event_data(ev);
    say(PLAIN, "%s looks behind it: \"%.*s\"  %.1f ms", p->name, (int)data.len,
        (const char *)data.ptr, tour_ms(began));
    simplex_event_free(ev);
    return true;
}

static bool step_address(struct tour *t)
{
    t->carol = person_open(t, "Carol", 2, NULL);
    t->dave = person_open(t, "Dave", 2, NULL);
    if (t->carol == NULL || t->dave == NULL || !publish(t) || !look(t->dave, t->link))
        return false;
    int64_t began = demo_us();
    if (!ask_carol(t, t->dave, &t->carol_dave, &t->dave_carol))
        return false;
    say(PLAIN, "Dave asks, Carol accepts, Dave allows: connected in %.1f ms", tour_ms(began));
    return talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "Do you repair sundials?");
}

/* ---- receipts ---- */

static bool step_receipts(struct tour *t)
{
    int64_t began = demo_us(), id;

    if (!worked("send", simplex_agent_send(t->carol->a, t->carol_dave,
                                           text_bytes("Only on sunny days."), 0, &id)) ||
        !await_done(t->carol, SIMPLEX_EV_SENT, t->carol_dave))
        return false;
    say(PLAIN, "SENT: the server has Carol's message  %.1f ms", tour_ms(began));
    simplex_event *ev = await(t->dave, SIMPLEX_EV_MSG, t->dave_carol);
    if (ev == NULL)
        return false;
    simplex_rc rc = simplex_agent_ack_receipt(t->dave->a, t->dave_carol, simplex_event_msg_id(ev),
                                              text_bytes(""));
    simplex_event_free(ev);
    ev = worked("receipt", rc) ? await(t->carol, SIMPLEX_EV_RCVD, t->carol_dave) : NULL;
    if (ev == NULL)
        return false;
    bool right = simplex_event_msg_id(ev) == id && simplex_event_receipt(ev) == SIMPLEX_RECEIPT_OK;
    simplex_event_free(ev);
    say(right ? PLAIN : RED, "RCVD: Dave's application has it, unchanged  %.1f ms", tour_ms(began));
    return right;
}

/* ---- one message to many ---- */

enum { GUESTS = 5 };

static bool step_batch(struct tour *t)
{
    static const char *const names[GUESTS] = { "Erin", "Frank", "Grace", "Heidi", "Ivan" };
    const simplex_bytes body = text_bytes("The workshop is open on Saturday.");
    simplex_batch_message batch[GUESTS] = { 0 };
    struct person *guest[GUESTS];
    int64_t conn[GUESTS], began = demo_us();
    size_t sent;

    for (size_t n = 0; n < GUESTS; n++) {
        guest[n] = person_open(t, names[n], 2, NULL);
        if (guest[n] == NULL || !ask_carol(t, guest[n], &batch[n].conn, &conn[n]))
            return false;
        batch[n].body = body;
    }
    say(PLAIN, "%d more connect through Carol's address  %.1f ms", GUESTS, tour_ms(began));
    began = demo_us();
    if (!worked("batch",
                simplex_agent_send_batch(t->carol->a, batch, GUESTS, sizeof batch[0], &sent)) ||
        sent != GUESTS)
        return false;
    say(PLAIN, "one call, one transaction, one copy of the body on disk  %.1f ms", tour_ms(began));
    for (size_t n = 0; n < GUESTS; n++) {
        if (!hear(guest[n], conn[n], "The workshop is open on Saturday."))
            return false;
    }
    say(PLAIN, "all %d have it  %.1f ms", GUESTS, tour_ms(began));
    return true;
}

/* ---- two users in one agent ---- */

static bool step_users(struct tour *t)
{
    const simplex_user_server servers[] = {
        { .size = sizeof servers[0], .address = t->address[1], .enabled = true, .storage = true }
    };
    simplex_server_status s = { .size = sizeof s };
    int64_t shop, shop_dave, dave_shop;
    size_t sessions = 0;

    if (!worked("user", simplex_agent_create_user(t->carol->a, servers, 1, &shop)) ||
        !befriend(t->carol, shop, t->dave, &shop_dave, &dave_shop) ||
        !talk_to(t->dave, dave_shop, t->carol, shop_dave, "Is this the shop?"))
        return false;
    say(PLAIN, "Carol has a second user with a server of its own; Dave cannot tell who it is");
    for (size_t n = 0; simplex_agent_server(t->carol->a, n, &s) == SIMPLEX_OK; n++)
        sessions += s.user == shop && s.connected ? 1 : 0;
    say(PLAIN, "%zu sessions with servers are of this user alone", sessions);
    if (!worked("delete", simplex_agent_delete_user(t->carol->a, shop, true)) ||
        !await_done(t->carol, SIMPLEX_EV_DEL_USER, 0))
        return false;
    say(PLAIN, "deleted, with its connection and its queue on the server");
    return sessions > 0;
}

/* ---- queues that move ---- */

static bool moved(struct tour *t, int64_t began)
{
    static const char *const phases[] = { "", "the new queue exists, Dave is told",
                                          "Dave's keys are here", "they are set, Dave goes over",
                                          "the old queue was read to its end and deleted" };

    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++) {
        simplex_event *ev = await(t->carol, SIMPLEX_EV_SWITCH, t->carol_dave);
        if (ev == NULL)
            return false;
        bool right = simplex_event_switch(ev, NULL) == phase;
        say(right ? PLAIN : RED, "%s: %s  %.1f ms", simplex_event_server(ev), phases[phase],
            tour_ms(began));
        simplex_event_free(ev);
        if (!right)
            return false;
    }
    return true;
}

static bool step_rotation(struct tour *t)
{
    enum { MESSAGES = 5 };
    const simplex_rotation policy = {
        .size = sizeof policy, .messages = MESSAGES, .jitter = 1, .spread = 1
    };
    int64_t began = demo_us();

    say(PLAIN, "Carol's queue moves to another server while Dave writes:");
    if (!worked("switch", simplex_agent_switch(t->carol->a, t->carol_dave, text_bytes(""))) ||
        !talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "Where are you?") ||
        !moved(t, began))
        return false;
    say(PLAIN, "and by itself, with a policy: after %d messages", MESSAGES);
    if (!worked("policy", simplex_agent_set_conn_rotation(t->carol->a, t->carol_dave, &policy)))
        return false;
    for (int n = 0; n < MESSAGES + 1; n++) {
        if (!talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "And now?"))
            return false;
    }
    began = demo_us();
    return moved(t, began) &&
           worked("policy", simplex_agent_set_conn_rotation(t->carol->a, t->carol_dave, NULL)) &&
           talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "There you are.");
}

/* ---- private routing ---- */

static bool step_routing(struct tour *t)
{
    const char *own[] = { t->address[2] };
    const simplex_agent_config cfg = { .servers = own,
                                       .n_servers = 1,
                                       .proxy_mode = SIMPLEX_PROXY_ALWAYS };
    struct person *judy = person_open(t, "Judy", 1, &cfg);
    int64_t began = demo_us(), carol, conn;

    if (judy == NULL || !ask_carol(t, judy, &carol, &conn))
        return false;
    say(PLAIN, "Judy connects through a server of her own  %.1f ms", tour_ms(began));
    began = demo_us();
    if (!send_text(judy, conn, "Guess where I am."))
        return false;
    simplex_event *ev = await(judy, SIMPLEX_EV_SENT, conn);
    if (ev == NULL)
        return false;
    const char *proxy = simplex_event_server(ev);
    say(proxy != NULL ? PLAIN : RED, "SENT by way of %s: Carol's server saw only that  %.1f ms",
        proxy != NULL ? proxy : "nobody", tour_ms(began));
    bool ok = proxy != NULL;
    simplex_event_free(ev);
    return ok && hear(t->carol, carol, "Guess where I am.") && person_close(judy);
}

/* ---- an old backup, and a new ratchet ---- */

static bool restore(struct tour *t)
{
    char path[600];
    simplex_bytes password = text_bytes("of the backup alone");

    (void)snprintf(path, sizeof path, "%s.backup", t->dave->db);
    if (!worked("backup", simplex_agent_backup(t->dave->a, path, password, false)))
        return false;
    say(PLAIN, "Dave makes a backup, and talks on");
    for (int n = 0; n < 2; n++) {
        if (!talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "Tick.") ||
            !talk_to(t->carol, t->carol_dave, t->dave, t->dave_carol, "Tock."))
            return false;
    }
    if (!person_close(t->dave) ||
        !worked("restore", simplex_agent_restore(path, password, false, t->dave->db,
                                                 t->dave->cfg.db_key, true)))
        return false;
    return person_reopen(t->dave);
}

static bool synchronised(struct person *p, int64_t conn)
{
    int32_t state = -1;

    while (state != SIMPLEX_SYNC_OK) {
        simplex_event *ev = await(p, SIMPLEX_EV_RSYNC, conn);
        if (ev == NULL)
            return false;
        state = simplex_event_sync_state(ev);
        simplex_event_free(ev);
    }
    return true;
}

/* The first message after it tells in its integrity what is missing; here that is what is shown. */
static bool step_restored(struct tour *t)
{
    if (!restore(t))
        return false;
    simplex_event *ev = await(t->dave, SIMPLEX_EV_RSYNC, t->dave_carol);
    if (ev == NULL || simplex_event_sync_state(ev) != SIMPLEX_SYNC_REQUIRED)
        return false;
    say(YELLOW, "restored: %s", simplex_rc_text(simplex_event_error(ev)));
    simplex_event_free(ev);
    int64_t began = demo_us();
    if (!worked("sync", simplex_agent_sync_ratchet(t->dave->a, t->dave_carol, false)) ||
        !synchronised(t->dave, t->dave_carol) || !synchronised(t->carol, t->carol_dave))
        return false;
    say(PLAIN, "both have a new ratchet  %.1f ms", tour_ms(began));
    return talk_to(t->dave, t->dave_carol, t->carol, t->carol_dave, "What time is it?") &&
           talk_to(t->carol, t->carol_dave, t->dave, t->dave_carol, "Later than you think.");
}

/* ---- */

const struct step tour_steps[] = {
    { "A contact address and a short link", step_address },
    { "Receipts", step_receipts },
    { "One message to several contacts", step_batch },
    { "Two users in one agent", step_users },
    { "Queues that move to another server", step_rotation },
    { "Two servers for one connection", step_redundant },
    { "Private routing", step_routing },
    { "A push that wakes a telephone", step_push },
    { "An old backup, and a new ratchet", step_restored },
};
const size_t n_tour_steps = sizeof tour_steps / sizeof tour_steps[0];
