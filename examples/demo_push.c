/* SPDX-License-Identifier: Apache-2.0 */
/* A step of the tour: a telephone that sleeps is woken by a push, reads the message without taking
 * it, and then fetches it without a subscription. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "demo_child.h"
#include "demo_push.h"
#include "demo_screen.h"
#include "simplex/client.h"

static const char question[] = "Lunch at noon?";

struct sleeper {
    struct tour *t;
    struct person *mia, *nat;
    int64_t mia_nat, nat_mia;
    simplex_client *service; /* of notifications: a plain client of the same server */
};

static bool messages_there(const struct sleeper *s, size_t n)
{
    simplex_server_counters c = { .size = sizeof c };

    return worked("count", simplex_server_count(s->t->server[0], &c)) && c.messages == n;
}

/* What the connection took to be made may not be acknowledged yet. */
static bool all_is_read(const struct sleeper *s)
{
    int64_t began = demo_us();

    while (!messages_there(s, 0)) {
        if (tour_ms(began) > TOUR_PATIENCE_MS)
            return worked("the server's queues", SIMPLEX_E_TIMEOUT);
        (void)usleep(1000);
    }
    return true;
}

/* ---- the notification service ---- */

static simplex_client_event *service_event(struct sleeper *s, int32_t kind)
{
    simplex_client_event *ev;

    while (worked("the service", simplex_client_next_event(s->service, TOUR_PATIENCE_MS, &ev))) {
        if (ev->kind == kind)
            return ev;
        simplex_client_event_free(ev);
    }
    return NULL;
}

static bool hand_over(struct sleeper *s, const simplex_notifier *n)
{
    simplex_client_config cfg = { .size = sizeof cfg, .server = n->server, .stay_connected = true };
    simplex_command nsub = { .size = sizeof nsub,
                             .command = SIMPLEX_SMP_NSUB,
                             .entity = { n->id, n->id_len },
                             .auth_key = { n->private_key, sizeof n->private_key } };

    if (!worked("the service", simplex_client_open(&cfg, &s->service)) ||
        !worked("NSUB", simplex_client_send(s->service, &nsub, NULL)))
        return false;
    simplex_client_event *ev = service_event(s, SIMPLEX_CLIENT_RESPONSE);
    bool ok = ev != NULL && worked("NSUB", ev->rc);
    simplex_client_event_free(ev);
    return ok;
}

static bool fall_asleep(struct sleeper *s)
{
    simplex_notifier n = { .size = sizeof n };

    if (!await_done(s->mia, SIMPLEX_EV_NOTIFIER, s->mia_nat) ||
        !worked("notifier", simplex_agent_notifier(s->mia->a, s->mia_nat, 0, &n)) ||
        !hand_over(s, &n) || !all_is_read(s) || !person_close(s->mia))
        return false;
    say(PLAIN,
        "Mia's telephone sleeps. A service may be told that something waits, with a key for");
    say(PLAIN, "that alone: it can neither read nor take it, and does not know from whom it is");
    return true;
}

/* ---- the extension: the database is open for reading alone ---- */

/* Steps of the connection were notified too: those Mia has. */
static bool pushed(struct sleeper *s, simplex_push *push)
{
    do {
        simplex_client_event *ev = service_event(s, SIMPLEX_CLIENT_PUSH);
        if (ev == NULL)
            return false;
        *push = (simplex_push){ .size = sizeof *push };
        simplex_rc rc = simplex_agent_open_push(s->mia->a, ev->entity, ev->nonce, ev->meta, push);
        simplex_client_event_free(ev);
        if (!worked("push", rc))
            return false;
    } while (push->received);
    return true;
}

static bool is_question(const char *what, simplex_event *ev)
{
    simplex_bytes body = ev != NULL ? simplex_event_data(ev) : (simplex_bytes){ 0 };

    if (ev == NULL)
        return false;
    bool ok = body.len == strlen(question) && memcmp(body.ptr, question, body.len) == 0;
    if (!ok)
        say(RED, "%s is not what Nat wrote", what);
    return ok;
}

static bool peek(struct sleeper *s, int64_t conn)
{
    if (!worked("peek", simplex_agent_peek(s->mia->a, conn)))
        return false;
    simplex_event *ev = await(s->mia, SIMPLEX_EV_PEEKED, conn);
    bool ok = is_question("the message that waits", ev);
    simplex_event_free(ev);
    return ok;
}

static bool look(struct sleeper *s)
{
    int64_t began = demo_us(), id;
    simplex_push push;
    char when[16] = "";

    if (!worked("send", simplex_agent_send(s->nat->a, s->nat_mia, text_bytes(question),
                                           SIMPLEX_SEND_NOTIFY, &id)))
        return false;
    say(PLAIN, "%sNat%s    %s", paint(BOLD), paint(PLAIN), question);
    s->mia->cfg.read_only = true;
    if (!person_reopen(s->mia) || !pushed(s, &push) || push.conn != s->mia_nat)
        return false;
    time_t at = (time_t)(push.server_time / 1000);
    (void)strftime(when, sizeof when, "%H:%M:%S", localtime(&at));
    say(PLAIN, "a push came. With Mia's keys it says: in the chat with Nat, at %s  %.1f ms", when,
        tour_ms(began));
    if (!peek(s, push.conn))
        return false;
    say(PLAIN, "her extension looks, and takes nothing: \"%s\"  %.1f ms", question, tour_ms(began));
    if (!messages_there(s, 1)) {
        say(RED, "the look changed something on the server");
        return false;
    }
    return true;
}

/* ---- a short run in the background ---- */

static bool fetch_it(struct sleeper *s)
{
    simplex_server_status status = { .size = sizeof status };
    int64_t began = demo_us();

    s->mia->cfg.read_only = false;
    s->mia->cfg.fetch_only = true;
    if (!person_reopen(s->mia) ||
        !worked("fetch", simplex_agent_fetch(s->mia->a, &s->mia_nat, 1)) ||
        !hear(s->mia, s->mia_nat, question) || !await_done(s->mia, SIMPLEX_EV_MSGNTF, s->mia_nat) ||
        !worked("server", simplex_agent_server(s->mia->a, 0, &status)))
        return false;
    say(PLAIN, "woken: one message fetched, stored and acknowledged, %lld subscriptions  %.1f ms",
        (long long)status.active, tour_ms(began));
    if (status.active != 0 || !messages_there(s, 0)) {
        say(RED, "it was to be one message, and no subscription");
        return false;
    }
    return true;
}

static bool come_back(struct sleeper *s)
{
    s->mia->cfg.fetch_only = false;
    if (!person_reopen(s->mia) ||
        !talk_to(s->mia, s->mia_nat, s->nat, s->nat_mia, "I am on my way.") ||
        !talk_to(s->nat, s->nat_mia, s->mia, s->mia_nat, "Good."))
        return false;
    say(PLAIN, "back in front of the screen: it is there once, and the talk goes on");
    return person_close(s->mia) && person_close(s->nat);
}

bool step_push(struct tour *t)
{
    const simplex_agent_config with = { .notifications = true };
    struct sleeper s = { .t = t };

    s.mia = person_open(t, "Mia", 1, &with);
    s.nat = person_open(t, "Nat", 1, NULL);
    if (s.mia == NULL || s.nat == NULL || !befriend(s.mia, 0, s.nat, &s.mia_nat, &s.nat_mia))
        return false;
    bool ok = fall_asleep(&s) && look(&s) && fetch_it(&s) && come_back(&s);
    return worked("the service", simplex_client_close(s.service)) && ok;
}
