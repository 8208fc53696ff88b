/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block of commands: parsed and verified against the present state, all of it, before any of
 * them runs; then run in the order they were sent (section 5). The reference runs them from the
 * last to the first, so careful clients put commands that depend on each other into two blocks.
 *
 * Names are not resolved by this server. It answers what a reference server answers that has that
 * switched off: NAME NO_RESOLVER to RSLV.
 */
#include "commands.h"

#include "forward.h"
#include "persist.h"

#define AUTHORIZED_CAP (3 * 256 + SX_BLOCK)
#define CERT_HASH_LEN 32

struct task { /* one transmission */
    struct sx_transmission t;
    struct sx_cmd cmd;
    struct sx_queue *q; /* referenced */
    struct sx_smp_err err;
    uint16_t version;    /* of its encoding */
    struct sx_wr *inner; /* it was forwarded: takes the answer */
};

struct sx_block {
    struct task task[SX_BATCH_MAX];
    size_t n;
    unsigned list_keys; /* of lists of recipient keys, tried so far */
    bool staged;        /* a command changed something that must be durable first */
    struct sx_answers answers, events;
    uint8_t authorized[CERT_HASH_LEN + AUTHORIZED_CAP]; /* room for the hash in front */
    uint8_t opened[SX_BLOCK], body[SX_BLOCK];           /* of a forwarded command; its answer */
};

/* ---- what every command needs ---- */

enum auth {
    NO_AUTH,  /* nothing to verify */
    AUTH_CMD, /* the key inside the command */
    AUTH_RCV,
    AUTH_SND, /* none while the queue is not secured */
    AUTH_NTF,
    AUTH_SERVICE, /* the session key of the service */
};

static void run_rfwd(struct sx_run *r);

static const struct rule {
    void (*run)(struct sx_run *r);
    uint8_t auth;
    bool queue;        /* needs a queue: */
    uint8_t by;        /* enum sx_id_kind: what the entity is */
    bool when_blocked; /* may run on a blocked queue, or looks at that itself */
    bool forwarded;    /* may come through a proxy */
    bool no_use;       /* the queue does not count as used on this day */
    bool link;         /* the answer has link data */
    bool binds;        /* with a signature of the service in its sessions, and only there */
    uint8_t refuse;    /* enum sx_err: always answered */
    uint8_t detail;    /* of that error */
} rules[SX_CMD_TAGS] = {
    [SX_NEW] = { sx_run_new, AUTH_CMD, .binds = true },
    [SX_SUB] = { sx_run_sub, AUTH_RCV, true, SX_BY_RCV, .binds = true },
    [SX_KEY] = { sx_run_key, AUTH_RCV, true, SX_BY_RCV },
    [SX_RKEY] = { sx_run_rkey, AUTH_RCV, true, SX_BY_RCV },
    [SX_LSET] = { sx_run_lset, AUTH_RCV, true, SX_BY_RCV },
    [SX_LDEL] = { sx_run_ldel, AUTH_RCV, true, SX_BY_RCV },
    [SX_NKEY] = { sx_run_nkey, AUTH_RCV, true, SX_BY_RCV },
    [SX_NDEL] = { sx_run_ndel, AUTH_RCV, true, SX_BY_RCV },
    [SX_GET] = { sx_run_get, AUTH_RCV, true, SX_BY_RCV },
    [SX_ACK] = { sx_run_ack, AUTH_RCV, true, SX_BY_RCV },
    [SX_OFF] = { sx_run_off, AUTH_RCV, true, SX_BY_RCV, .when_blocked = true, .no_use = true },
    [SX_DEL] = { sx_run_del, AUTH_RCV, true, SX_BY_RCV, .when_blocked = true, .no_use = true },
    [SX_QUE] = { sx_run_que, AUTH_RCV, true, SX_BY_RCV },
    [SX_SKEY] = { sx_run_skey, AUTH_CMD, true, SX_BY_SND, .forwarded = true },
    [SX_SEND] = { sx_run_send, AUTH_SND, true, SX_BY_SND, .when_blocked = true, .forwarded = true },
    [SX_LKEY] = { sx_run_lkey, AUTH_CMD, true, SX_BY_LINK, .forwarded = true, .link = true },
    [SX_LGET] = { sx_run_lget, NO_AUTH, true, SX_BY_LINK, .forwarded = true, .link = true },
    [SX_NSUB] = { sx_run_nsub, AUTH_NTF, true, SX_BY_NTF, .when_blocked = true, .no_use = true,
                  .binds = true },
    [SX_PING] = { NULL, NO_AUTH },
    [SX_SUBS] = { sx_run_subs, AUTH_SERVICE },
    [SX_NSUBS] = { sx_run_subs, AUTH_SERVICE },
    [SX_PRXY] = { sx_run_prxy, NO_AUTH },
    [SX_PFWD] = { sx_run_pfwd, NO_AUTH },
    [SX_RFWD] = { run_rfwd, NO_AUTH },
    [SX_RSLV] = { .refuse = SX_ERR_NAME, .detail = SX_NAME_NO_RESOLVER, .forwarded = true },
};

struct sx_block *sx_block_new(void)
{
    struct sx_block *b = sx_calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    sx_wr_init(&b->answers.buf, SX_ANSWERS_CAP);
    sx_wr_init(&b->events.buf, SX_ANSWERS_CAP);
    return b;
}

void sx_block_free(struct sx_block *b)
{
    if (b == NULL)
        return;
    sx_answers_free(&b->answers);
    sx_answers_free(&b->events);
    sx_free_secret(b, sizeof(*b)); /* opened commands, passwords */
}

struct sx_answers *sx_block_events(struct sx_block *b)
{
    return &b->events;
}

void sx_run_fail(struct sx_run *r, enum sx_err err)
{
    r->answer.rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err = { .err = (uint8_t)err } };
    if (err == SX_ERR_BLOCKED)
        r->answer.rsp.err = sx_queue_blocked(r->q);
}

void sx_run_fail_cmd(struct sx_run *r, enum sx_err_cmd err)
{
    sx_run_fail(r, SX_ERR_CMD);
    r->answer.rsp.err.cmd = (uint8_t)err;
}

/* ---- verification ---- */

/* The command's own key: an X25519 one is fine as well, X448 was refused when it was decoded. */
static const struct sx_pub *key_of_command(const struct sx_cmd *c)
{
    return c->tag == SX_NEW ? &c->new_.auth : &c->key.key;
}

/* What is signed. with_cert: by the key of the entity, when the service has signed as well. */
static simplex_bytes authorized(const struct sx_peer *p, struct sx_block *b,
                                const struct sx_transmission *t, bool with_cert)
{
    struct sx_wr w;

    sx_wr_fixed(&w, b->authorized + CERT_HASH_LEN, AUTHORIZED_CAP);
    sx_authorized_encode(&w, sx_session_id(p->session), t->corr_id, t->entity_id, t->command);
    if (!with_cert)
        return sx_wr_bytes(&w);
    memcpy(b->authorized, p->session->service.cert_hash, CERT_HASH_LEN);
    return sx_bytes(b->authorized, CERT_HASH_LEN + w.len);
}

/* A recipient with several keys: any of them. The list is copied, so that no lock is held. */
static bool verify_keys(const struct sx_peer *p, struct sx_block *b, const struct task *k,
                        struct sx_keys *keys)
{
    simplex_bytes what = authorized(p, b, &k->t, k->t.has_service_sig);
    bool ok = false;

    b->list_keys += keys->count;
    for (unsigned i = 0; i < keys->count && !ok; i++)
        ok = sx_session_verify(p->session, &keys->key[i], &k->t, what);
    return ok;
}

struct credentials {
    struct sx_pub key;   /* SX_NO_KEY: there is none */
    struct sx_keys *all; /* copy, freed by the user */
    bool unsecured;      /* a queue without a sender key */
};

static bool copy_keys(const struct sx_queue *q, struct credentials *c)
{
    c->key = q->rcv_key;
    if (q->keys == NULL)
        return true;
    size_t size = sizeof(*q->keys) + q->keys->count * sizeof(q->keys->key[0]);
    c->all = (struct sx_keys *)(void *)sx_memdup(sx_bytes(q->keys, size));
    return c->all != NULL;
}

/* What the queue of the task asks for. False: no memory. */
static bool find_credentials(const struct sx_srv *srv, const struct rule *rule,
                             const struct task *k, struct credentials *c)
{
    struct sx_queue *q = k->q;
    bool ok = true;

    if (q == NULL)
        return true;
    sx_queue_lock(srv->store, q);
    if (q->deleted) {
        /* as if it had not been found */
    } else if (rule->auth == AUTH_RCV) {
        ok = copy_keys(q, c);
    } else if (rule->auth == AUTH_SND) {
        c->key = q->snd_key;
        c->unsecured = q->snd_key.alg == SX_NO_KEY;
    } else if (rule->auth == AUTH_NTF) {
        if (q->ntf != NULL && memcmp(q->ntf->node.id, k->t.entity_id.ptr, SX_ID_LEN) == 0)
            c->key = q->ntf->key;
    } else if (rule->auth == AUTH_CMD) {
        c->key = *key_of_command(&k->cmd);
    }
    sx_queue_unlock(srv->store, q);
    return ok;
}

/*
 * AUTH is answered after the same work whether the queue, the key or the signature is wrong:
 * sx_session_verify verifies against a dummy key when there is none of the right kind.
 */
static enum sx_err verify(const struct sx_peer *p, struct sx_block *b, const struct rule *rule,
                          const struct task *k)
{
    struct credentials c = { .all = NULL };
    bool ok;

    if (rule->auth == AUTH_SERVICE)
        return SX_ERR_NONE; /* verified with the session */
    if (rule->auth == NO_AUTH)
        return rule->queue && k->q == NULL ? SX_ERR_AUTH : SX_ERR_NONE;
    if (!rule->queue)
        c.key = *key_of_command(&k->cmd);
    else if (!find_credentials(p->hub->srv, rule, k, &c))
        return SX_ERR_INTERNAL;
    if (c.all != NULL && b->list_keys + c.all->count > SX_BLOCK_LIST_KEYS_MAX) {
        sx_free(c.all);
        return SX_ERR_INTERNAL;
    }
    if (c.all != NULL)
        ok = verify_keys(p, b, k, c.all);
    else if (k->t.auth.len == 0)
        ok = c.unsecured;
    else
        ok = sx_session_verify(p->session, c.key.alg == SX_NO_KEY ? NULL : &c.key, &k->t,
                               authorized(p, b, &k->t, k->t.has_service_sig));
    sx_free(c.all);
    return ok ? SX_ERR_NONE : SX_ERR_AUTH;
}

/* ---- services (sections 5 and 6.3) ---- */

/* The role a service needs for the command; 0: any. */
static uint8_t role_for(enum sx_cmd_tag tag)
{
    if (tag == SX_RFWD)
        return 'P';
    if (tag == SX_NSUB || tag == SX_NSUBS)
        return 'N';
    return tag == SX_NEW || tag == SX_SUBS || rules[tag].auth == AUTH_RCV ? 'M' : 0;
}

/* SUBS came with version 19; NSUBS is older. */
static bool may_subscribe_all(const struct sx_session *s, enum sx_cmd_tag tag)
{
    return tag == SX_NSUBS || s->version >= 19;
}

static bool is_service_itself(const struct sx_peer *p, struct sx_block *b,
                              const struct sx_transmission *t)
{
    const struct sx_session_service *svc = &p->session->service;

    return svc->role != 0 && !t->has_service_sig &&
           sx_bytes_eq(t->entity_id, sx_bytes(svc->id, sizeof(svc->id))) &&
           sx_session_verify(p->session, &svc->key.pub, t, authorized(p, b, t, false));
}

static struct sx_smp_err check_service(const struct sx_peer *p, struct sx_block *b,
                                       const struct task *k)
{
    const struct sx_session *s = p->session;
    const struct rule *rule = &rules[k->cmd.tag];
    uint8_t role = role_for(k->cmd.tag);
    bool ok = !k->t.has_service_sig;

    if (s->service.role != 0 && role != 0 && role != s->service.role)
        return (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_PROHIBITED };
    if (rule->auth == AUTH_SERVICE) {
        ok = is_service_itself(p, b, &k->t);
        if (ok && !may_subscribe_all(s, k->cmd.tag))
            return (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_PROHIBITED };
    } else if (rule->binds && s->service.role != 0) {
        ok = sx_session_verify_service(s, &k->t, authorized(p, b, &k->t, false));
    }
    return (struct sx_smp_err){ .err = ok ? SX_ERR_NONE : SX_ERR_SERVICE };
}

/* ---- parsing ---- */

/* Statistics of commands whatever becomes of them: enum sx_stat, 0: none. */
static const struct {
    uint8_t refused; /* the authorization is wrong */
    uint8_t batch;   /* a block of several that begins with this command */
} counted[SX_CMD_TAGS] = {
    [SX_SUB] = { SX_STAT_Q_SUB_AUTH, SX_STAT_Q_SUB_B },
    [SX_NSUB] = { SX_STAT_NTF_SUB_AUTH, SX_STAT_NTF_SUB_B },
    [SX_GET] = { SX_STAT_MSG_GET_AUTH, 0 },
    [SX_SEND] = { SX_STAT_MSG_SENT_AUTH, 0 },
    [SX_DEL] = { 0, SX_STAT_Q_DELETED_B },
    [SX_NDEL] = { 0, SX_STAT_NTF_DELETED_B },
};

static void count_refused(const struct sx_peer *p, const struct sx_cmd *c)
{
    unsigned stat = counted[c->tag].refused;

    if (stat != 0)
        sx_count(p->hub->stats, stat, 1);
}

/* The checks of section 5, in its order. */
static struct sx_smp_err check(const struct sx_peer *p, struct sx_block *b, struct task *k,
                               simplex_bytes in)
{
    const struct sx_session *s = p->session;
    struct sx_smp_err err = { .err = SX_ERR_BLOCK };

    if (sx_transmission_decode(in, k->version, &k->t) != SIMPLEX_OK) {
        k->t = (struct sx_transmission){ .auth = { NULL, 0 } };
        return err;
    }
    if (!sx_auth_len_valid(k->t.auth.len)) {
        k->t.entity_id = sx_bytes(NULL, 0);
        return err;
    }
    if (k->version < 7 && !sx_bytes_eq(k->t.session_id, sx_session_id(s)))
        return (struct sx_smp_err){ .err = SX_ERR_SESSION };
    if (sx_cmd_decode(k->t.command, k->version, &k->cmd, &err) != SIMPLEX_OK)
        return err;
    err = sx_cmd_check_credentials(&k->cmd, k->t.auth.len > 0, k->t.entity_id.len > 0);
    if (err.err != SX_ERR_NONE)
        return err;
    const struct rule *rule = &rules[k->cmd.tag];
    if (k->inner != NULL && !rule->forwarded)
        return (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_PROHIBITED };
    if (rule->queue)
        k->q = sx_qstore_find(p->hub->srv->store, rule->by, k->t.entity_id);
    if (!rule->queue || k->q != NULL)
        err = check_service(p, b, k);
    if (err.err != SX_ERR_NONE)
        return err;
    if (rule->refuse != 0) {
        err.err = rule->refuse;
        err.cmd = rule->refuse == SX_ERR_CMD ? rule->detail : 0;
        err.proxy = rule->refuse == SX_ERR_PROXY ? rule->detail : 0;
        err.name = rule->refuse == SX_ERR_NAME ? rule->detail : 0;
        return err;
    }
    err.err = (uint8_t)verify(p, b, rule, k);
    if (err.err == SX_ERR_AUTH)
        count_refused(p, &k->cmd);
    return err;
}

/* ---- running ---- */

static void run_locked(struct sx_run *r, const struct rule *rule)
{
    if (r->q->deleted) {
        count_refused(r->p, r->cmd);
        sx_run_fail(r, SX_ERR_AUTH); /* meanwhile, or earlier in this block */
    } else if (r->q->status == SX_Q_BLOCKED && !rule->when_blocked) {
        sx_run_fail(r, SX_ERR_BLOCKED);
    } else if (rule->link && r->p->hub->block->answers.buf.len > SX_BLOCK_LINKS_MAX) {
        sx_run_fail(r, SX_ERR_INTERNAL);
    } else {
        if (!rule->no_use)
            sx_persist_used(r->srv->store, r->q, sx_srv_now(r->srv));
        rule->run(r);
    }
}

/* With the lock of q held. */
static void note_staged(struct sx_block *b, struct sx_queue *q)
{
    if (q == NULL || !q->staged)
        return;
    b->staged = true;
    q->staged = false;
}

static void put_answer(struct sx_peer *p, struct sx_block *b, const struct task *k,
                       const struct sx_answer *a)
{
    if (k->inner != NULL)
        sx_answer_encode(k->inner, p->session, k->version, a);
    else
        sx_answers_add(&b->answers, p, a);
}

static void run(struct sx_peer *p, struct sx_block *b, struct task *k)
{
    const struct rule *rule = &rules[k->cmd.tag];
    struct sx_run r = {
        .p = p,
        .srv = p->hub->srv,
        .t = &k->t,
        .cmd = &k->cmd,
        .q = k->q,
        .version = k->version,
        .answer = { .corr_id = k->t.corr_id, .entity_id = k->t.entity_id },
    };

    r.answer.rsp.tag = rule->run == NULL ? SX_R_PONG : SX_R_OK;
    if (rule->queue)
        sx_queue_lock(r.srv->store, r.q);
    if (rule->queue)
        run_locked(&r, rule);
    else if (rule->run != NULL)
        rule->run(&r);
    if (!r.later)
        put_answer(p, b, k, &r.answer); /* may borrow from q: under its lock */
    if (r.made != NULL) {
        sx_queue_lock(r.srv->store, r.made);
        note_staged(b, r.made);
        sx_queue_unlock(r.srv->store, r.made);
    }
    if (rule->queue) {
        note_staged(b, r.q);
        sx_queue_unlock(r.srv->store, r.q);
    }
    if (r.message.msg != NULL)
        sx_answers_add(&b->events, p, &r.message);
    sx_queue_unref(r.made);
}

static void answer_error(struct sx_peer *p, struct sx_block *b, const struct task *k)
{
    struct sx_answer a = {
        .corr_id = k->t.corr_id,
        .entity_id = k->t.entity_id,
        .rsp = { .tag = SX_R_ERR, .err = k->err },
    };

    put_answer(p, b, k, &a);
}

/* ---- commands of a client behind a proxy (section 8) ---- */

/*
 * The one command of a forwarded batch: checked and run as any other, but authorised with this
 * session's key and id, and encoded as the client's version has it. answer: a batch.
 */
static void run_forwarded(struct sx_peer *p, struct sx_block *b, simplex_bytes in, uint16_t version,
                          struct sx_wr *answer)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;
    struct task k = { .version = version, .inner = &w };

    sx_wr_fixed(&w, buf, sizeof(buf));
    k.err = check(p, b, &k, in);
    if (k.err.err == SX_ERR_NONE)
        run(p, b, &k);
    else
        answer_error(p, b, &k);
    sx_queue_unref(k.q);
    sx_wr_u8(answer, 1);
    sx_wr_large(answer, sx_wr_bytes(&w));
    answer->bad |= w.bad;
}

static void run_layers(struct sx_run *r, struct sx_block *b, const struct sx_forwarded *f)
{
    uint8_t content[SX_BLOCK];
    struct sx_wr answer, body;
    struct sx_batch_rd rd;
    simplex_bytes in = sx_bytes(NULL, 0); /* what cannot be read is BLOCK for the client inside */

    if (sx_batch_open(f->content, &rd) == SIMPLEX_OK && (!sx_batch_next(&rd, &in) || rd.left > 0)) {
        sx_run_fail(r, SX_ERR_BLOCK);
        return;
    }
    sx_wr_fixed(&answer, content, sizeof(content));
    run_forwarded(r->p, b, in, f->version, &answer);
    sx_wr_fixed(&body, b->body, sizeof(b->body));
    if (answer.bad || sx_forward_answer(r->p->session, r->t->corr_id, f, sx_wr_bytes(&answer),
                                        &body) != SIMPLEX_OK) {
        sx_run_fail(r, SX_ERR_BLOCK);
        return;
    }
    r->answer.rsp.tag = SX_R_RRES;
    r->answer.rsp.enc.body = sx_wr_bytes(&body);
    sx_count(r->p->hub->stats, SX_STAT_P_FWDS_RECV, 1);
}

/* Not forwarded itself, so this runs inside itself never. */
static void run_rfwd(struct sx_run *r)
{
    const struct sx_session *s = r->p->session;
    struct sx_block *b = r->p->hub->block;
    struct sx_forwarded f;

    struct sx_smp_err err = sx_forward_open(s, r->t->corr_id, r->cmd->rfwd.body, b->opened, &f);
    if (err.err == SX_ERR_NONE && (f.version < s->min || f.version > s->max))
        err = (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_SYNTAX };
    if (err.err == SX_ERR_NONE)
        run_layers(r, b, &f);
    else
        r->answer.rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err = err };
    sx_wipe(&f.key, sizeof(f.key));
}

/* ---- blocks ---- */

/* Several commands of the same party in one block, by the first of them. */
static void count_batch(const struct sx_peer *p, const struct sx_block *b)
{
    const struct rule *first = &rules[b->task[0].cmd.tag];
    unsigned stat = counted[b->task[0].cmd.tag].batch;

    if (b->n < 2 || stat == 0)
        return;
    for (size_t i = 1; i < b->n; i++) {
        const struct rule *rule = &rules[b->task[i].cmd.tag];
        if (!rule->queue || rule->by != first->by)
            return;
    }
    sx_count(p->hub->stats, stat, 1);
}

/* Beyond the limit of a block: read for its correlation id, and not looked at further. */
static struct sx_smp_err refuse(struct task *k, simplex_bytes in)
{
    struct sx_smp_err err = { .err = SX_ERR_INTERNAL };

    if (sx_transmission_decode(in, k->version, &k->t) != SIMPLEX_OK) {
        k->t = (struct sx_transmission){ .auth = { NULL, 0 } };
        err.err = SX_ERR_BLOCK;
    }
    return err;
}

static void parse_block(struct sx_peer *p, struct sx_block *b, struct sx_batch_rd *rd)
{
    unsigned limit = p->hub->srv->limits.commands;
    simplex_bytes in;

    b->list_keys = 0;
    b->staged = false;
    for (b->n = 0; b->n < SX_BATCH_MAX && sx_batch_next(rd, &in); b->n++) {
        struct task *k = &b->task[b->n];
        k->q = NULL;
        k->version = p->session->version;
        k->inner = NULL;
        k->cmd.tag = SX_NEW; /* stays when it cannot be decoded: no command of a queue */
        k->err = b->n < limit ? check(p, b, k, in) : refuse(k, in);
    }
    count_batch(p, b);
}

void sx_peer_block(struct sx_peer *p, simplex_bytes content)
{
    struct sx_block *b = p->hub->block;
    struct sx_batch_rd rd;

    if (sx_batch_open(content, &rd) != SIMPLEX_OK) {
        struct sx_answer a = { .rsp = { .tag = SX_R_ERR, .err = { .err = SX_ERR_BLOCK } } };
        sx_peer_send(p, &a);
        return;
    }
    parse_block(p, b, &rd);
    for (size_t i = 0; i < b->n; i++) {
        if (b->task[i].err.err != SX_ERR_NONE)
            answer_error(p, b, &b->task[i]);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->task[i].err.err == SX_ERR_NONE)
            run(p, b, &b->task[i]);
        sx_queue_unref(b->task[i].q);
    }
    if (b->staged)
        b->answers.stamp = sx_persist_stamp(p->hub->srv->store);
    if (b->answers.n <= SX_MSG_BURST_MAX)
        sx_answers_join(&b->answers, &b->events);
    sx_answers_send(&b->answers, p);
    sx_answers_send_apart(&b->events, p);
}
