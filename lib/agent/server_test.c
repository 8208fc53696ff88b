/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests whether a server can be used for queues: a session of its own, a queue that is made,
 * secured as a sender would do, and deleted. The event tells the step that failed, and why.
 */
#include "agent/event.h"
#include "agent/network.h"
#include "agent/route.h"
#include "agent/users.h"

#define TESTS_MAX 16 /* at a time */

struct sx_server_test {
    struct sx_server_test *next;
    int64_t id;
    struct sx_client *client;
    struct simplex_event *answer; /* TEST: made before anything is done */
    int32_t step;                 /* SIMPLEX_TEST_...: what is being done */
    char *password;
    struct sx_keypair auth, dh, sender;
    struct sx_id rcv_id, snd_id;
    bool by_sender; /* the queue takes SKEY */
};

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);

/* ---- the end ---- */

static void free_test(struct sx_server_test *t)
{
    sx_event_delete(t->answer);
    if (t->password != NULL)
        sx_free_secret(t->password, strlen(t->password));
    sx_free_secret(t, sizeof *t);
}

static void unlink_test(struct simplex_agent *a, struct sx_server_test *t)
{
    struct sx_server_test **p = &a->tests;

    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    a->n_tests--;
}

/* t is gone afterwards. */
static void finish(struct simplex_agent *a, struct sx_server_test *t)
{
    sx_emit_made(a, t->answer);
    t->answer = NULL;
    sx_client_drop(t->client);
    unlink_test(a, t);
    free_test(t);
}

static void note_failure(struct sx_server_test *t, simplex_rc why, const struct sx_rsp *rsp)
{
    if (t->answer->rc != SIMPLEX_OK) /* the first one is what matters */
        return;
    t->answer->rc = why;
    t->answer->phase = t->step;
    t->answer->detail = sx_smp_err_text(rsp);
}

/* ---- steps ---- */

static simplex_rc send_cmd(struct sx_server_test *t, const struct sx_cmd *cmd,
                           const struct sx_keypair *key, const struct sx_id *entity)
{
    struct sx_request req = {
        .cmd = cmd,
        .key = key,
        .entity = entity != NULL ? sx_id_bytes(entity) : sx_bytes(NULL, 0),
        .done = on_answer,
        .ctx = (void *)(intptr_t)t->id,
    };

    return sx_client_send(t->client, &req);
}

static simplex_rc create(struct sx_server_test *t)
{
    struct sx_cmd cmd = { .tag = SX_NEW };

    cmd.new_.auth = t->auth.pub;
    cmd.new_.dh = t->dh.pub;
    cmd.new_.has_password = t->password != NULL;
    cmd.new_.password = t->password != NULL ? sx_str(t->password) : sx_bytes(NULL, 0);
    cmd.new_.mode = SX_MODE_MESSAGING;
    return send_cmd(t, &cmd, &t->auth, NULL);
}

static simplex_rc secure(struct sx_server_test *t)
{
    struct sx_cmd cmd = { .tag = t->by_sender ? SX_SKEY : SX_KEY };

    cmd.key.key = t->sender.pub;
    return t->by_sender ? send_cmd(t, &cmd, &t->sender, &t->snd_id)
                        : send_cmd(t, &cmd, &t->auth, &t->rcv_id);
}

static simplex_rc delete_queue(struct sx_server_test *t)
{
    struct sx_cmd cmd = { .tag = SX_DEL };

    return send_cmd(t, &cmd, &t->auth, &t->rcv_id);
}

static simplex_rc created(struct sx_server_test *t, const struct sx_rsp *rsp)
{
    if (rsp->tag != SX_R_IDS || !sx_id_take(&t->rcv_id, rsp->ids.rcv_id) ||
        !sx_id_take(&t->snd_id, rsp->ids.snd_id))
        return SIMPLEX_E_RESPONSE;
    t->by_sender = rsp->ids.mode == SX_MODE_MESSAGING;
    return SIMPLEX_OK;
}

/* What comes after the step that is done; OK: it is on its way. */
static simplex_rc next_step(struct sx_server_test *t)
{
    switch (++t->step) {
    case SIMPLEX_TEST_SECURE:
        return secure(t);
    case SIMPLEX_TEST_DELETE:
        return delete_queue(t);
    default:
        sx_client_disconnect(t->client, SIMPLEX_E_DISCONNECTED);
        return SIMPLEX_OK;
    }
}

static struct sx_server_test *by_id(struct simplex_agent *a, int64_t id)
{
    struct sx_server_test *t = a->tests;

    while (t != NULL && t->id != id)
        t = t->next;
    return t;
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_server_test *t = by_id(a, (int64_t)(intptr_t)ctx);

    if (t == NULL)
        return;
    if (why == SIMPLEX_OK && t->step == SIMPLEX_TEST_CREATE)
        why = created(t, rsp);
    if (why != SIMPLEX_OK)
        note_failure(t, why, rsp);
    /* a queue that could not be secured is deleted all the same */
    bool goes_on = t->answer->rc == SIMPLEX_OK ||
                   (t->step == SIMPLEX_TEST_SECURE && sx_client_is_up(t->client));
    if (goes_on && (why = next_step(t)) != SIMPLEX_OK) {
        note_failure(t, why, NULL);
        goes_on = false;
    }
    if (!goes_on)
        finish(a, t);
}

/* ---- the session ---- */

static struct sx_server_test *by_client(struct simplex_agent *a, const struct sx_client *c)
{
    struct sx_server_test *t = a->tests;

    while (t != NULL && t->client != c)
        t = t->next;
    return t;
}

void sx_test_up(struct simplex_agent *a, const struct sx_client *c)
{
    struct sx_server_test *t = by_client(a, c);

    if (t != NULL && t->step == SIMPLEX_TEST_CONNECT)
        t->step = SIMPLEX_TEST_CREATE; /* the command left with it */
}

void sx_test_down(struct simplex_agent *a, const struct sx_client *c, simplex_rc why)
{
    struct sx_server_test *t = by_client(a, c);

    if (t == NULL)
        return;
    if (t->step != SIMPLEX_TEST_DISCONNECT)
        note_failure(t, why, NULL);
    finish(a, t);
}

void sx_tests_end(struct simplex_agent *a, bool waiting_only, simplex_rc why)
{
    struct sx_server_test *t, *next;

    for (t = a->tests; t != NULL; t = next) {
        next = t->next;
        if (waiting_only && t->step != SIMPLEX_TEST_CONNECT)
            continue;
        note_failure(t, why, NULL);
        finish(a, t);
    }
}

void sx_tests_free(struct simplex_agent *a)
{
    while (a->tests != NULL) {
        struct sx_server_test *t = a->tests;
        unlink_test(a, t);
        free_test(t);
    }
}

/* ---- the call ---- */

struct args {
    int64_t user;
    struct sx_server server;
    simplex_bytes password;
    int64_t test;
};

static struct simplex_event *make_answer(const struct args *x)
{
    struct simplex_event *ev = sx_event_new(SIMPLEX_EV_TEST, 0);

    if (ev == NULL)
        return NULL;
    ev->conf = x->test;
    ev->user = x->user;
    ev->server = sx_server_text(&x->server);
    if (ev->server != NULL)
        return ev;
    sx_event_delete(ev);
    return NULL;
}

static simplex_rc make_test(const struct args *x, struct sx_server_test **out)
{
    struct sx_server_test *t = sx_calloc(1, sizeof *t);
    simplex_rc rc;

    *out = t;
    if (t == NULL)
        return SIMPLEX_E_NOMEM;
    t->id = x->test;
    t->step = SIMPLEX_TEST_CONNECT;
    if ((t->answer = make_answer(x)) == NULL)
        return SIMPLEX_E_NOMEM;
    if (x->password.len > 0 && (t->password = (char *)sx_memdup(x->password)) == NULL)
        return SIMPLEX_E_NOMEM;
    rc = sx_keypair_new(SX_ED25519, &t->auth);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_X25519, &t->dh);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_ED25519, &t->sender);
    return rc;
}

static simplex_rc do_test(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_server_test *t = NULL;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK && sx_ending(a, SX_END_RECEIVING))
        rc = SIMPLEX_E_SUSPENDED;
    if (rc == SIMPLEX_OK && (a->n_tests >= TESTS_MAX || a->cfg.read_only))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc != SIMPLEX_OK)
        return rc;
    x->test = ++a->last_test;
    rc = make_test(x, &t);
    /* an entity of its own: a session that exists proves nothing about a new one */
    if (rc == SIMPLEX_OK)
        rc = sx_net_client_of(a->net, &x->server, x->user, -t->id, &t->client);
    if (rc == SIMPLEX_OK && (rc = create(t)) != SIMPLEX_OK)
        sx_client_drop(t->client);
    if (rc != SIMPLEX_OK) {
        if (t != NULL)
            free_test(t);
        return rc;
    }
    t->next = a->tests;
    a->tests = t;
    a->n_tests++;
    if (sx_network_off(a)) {
        note_failure(t, SIMPLEX_E_CONNECT, NULL);
        finish(a, t);
    }
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_test_server(simplex_agent *a, int64_t user, const char *server,
                                     int64_t *test)
{
    struct args x = { .user = user };
    simplex_rc rc;

    if (a == NULL || server == NULL || test == NULL)
        return SIMPLEX_E_ARG;
    *test = 0;
    rc = sx_server_parse(sx_str(server), &x.server, &x.password);
    if (rc == SIMPLEX_OK)
        rc = sx_agent_begin(a, do_test, &x);
    if (rc == SIMPLEX_OK)
        *test = x.test;
    return rc;
}

int64_t simplex_event_test(const simplex_event *ev, int32_t *step)
{
    bool is_test = ev->kind == SIMPLEX_EV_TEST;

    if (step != NULL)
        *step = is_test ? ev->phase : 0;
    return is_test ? ev->conf : 0;
}
