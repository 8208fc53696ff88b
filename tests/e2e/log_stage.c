/* SPDX-License-Identifier: Apache-2.0 */
#include "support/vec.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log_stage.h"
#include "simplex/server.h"
#include "support/blocking_client.h"
#include "support/certs.h"
#include "support/free_port.h"

#define PADDED 16226 /* content of the inner box of private routing */
#define ONION "gmgcwwozqlkxknhkbhvvxtgwgf5bhlmcuxofr3mw2crm5vvm5pylxoid.onion"

static const struct log_stage *stage;
static struct secrets *secrets;

/* ---- what the test knows ---- */

static void learn(const char *label, simplex_bytes id)
{
    secrets_add(secrets, label, id);
}

static void learn_cmd(const struct sx_keypair *key, simplex_bytes entity, const struct sx_cmd *c)
{
    learn("entity id", entity);
    if (key != NULL)
        secrets_key(secrets, "key of a command", &key->pub);
    switch (c->tag) {
    case SX_NEW:
        secrets_key(secrets, "key of a recipient", &c->new_.auth);
        secrets_key(secrets, "DH key of a recipient", &c->new_.dh);
        learn("link id", c->new_.link_id);
        learn("link data", c->new_.fixed);
        learn("link data", c->new_.user);
        break;
    case SX_KEY:
    case SX_SKEY:
    case SX_LKEY:
        secrets_key(secrets, "key of a sender", &c->key.key);
        break;
    case SX_NKEY:
        secrets_key(secrets, "key of a notifier", &c->nkey.auth);
        secrets_key(secrets, "DH key for notifications", &c->nkey.dh);
        break;
    case SX_SEND:
        learn("message", c->send.body);
        break;
    case SX_PRXY:
        learn("identity of a relay", sx_bytes(c->prxy.server.key_hash, 32));
        break;
    case SX_PFWD:
        secrets_key(secrets, "key of a forwarded command", &c->pfwd.key);
        learn("forwarded command", c->pfwd.body);
        break;
    default:
        break;
    }
}

static void learn_rsp(const struct sx_transmission *t, const struct sx_rsp *r)
{
    learn("entity id", t->entity_id);
    switch (r->tag) {
    case SX_R_IDS:
        learn("recipient id", r->ids.rcv_id);
        learn("sender id", r->ids.snd_id);
        learn("link id", r->ids.link_id);
        learn("service id", r->ids.service_id);
        secrets_key(secrets, "DH key of a queue", &r->ids.srv_dh);
        break;
    case SX_R_NID:
        learn("notifier id", r->nid.ntf_id);
        secrets_key(secrets, "DH key of a notifier", &r->nid.srv_dh);
        break;
    case SX_R_MSG:
        learn("message id", r->msg.msg_id);
        learn("message body", r->msg.body);
        break;
    case SX_R_NMSG:
        learn("nonce of a notification", sx_bytes(r->nmsg.nonce, 24));
        learn("notification", r->nmsg.meta);
        break;
    case SX_R_PKEY:
        learn("session with a relay", r->pkey.session_id);
        break;
    default:
        break;
    }
}

static void learn_peer(const struct smp_peer *p)
{
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    char text[16];

    assert_int_equal(getsockname(p->fd, (struct sockaddr *)&at, &len), 0);
    snprintf(text, sizeof(text), "%u", ntohs(at.sin_port));
    secrets_word(stage->ports, "port of a client", text);
    learn("session id", sx_session_id(&p->session));
    secrets_key(secrets, "session key of a client", &p->session.own.pub);
    secrets_key(secrets, "session key of the server", &p->session.peer_key);
    if (p->session.service.role == 0)
        return;
    learn("service id", sx_bytes(p->session.service.id, SX_ID_LEN));
    learn("certificate of a service", sx_bytes(p->session.service.cert_hash, 32));
    secrets_key(secrets, "session key of a service", &p->session.service.key.pub);
}

/* ---- clients ---- */

static void connect_peer(struct smp_peer *p, const struct test_certs *certs,
                         const struct sx_service_cert *service)
{
    struct smp_peer_cfg cfg = { .port = stage->port,
                                .key_hash = stage->key_hash,
                                .service = service };

    if (certs != NULL) {
        cfg.cert_pem = sx_wr_bytes(&certs->chain_pem);
        cfg.cert_key_pem = sx_wr_bytes(&certs->key_pem);
    }
    assert_int_equal(smp_peer_open(p, &cfg), SIMPLEX_OK);
    learn_peer(p);
}

/* What comes meanwhile is learnt as well. */
static const struct sx_rsp *ask_corr(struct smp_peer *p, const struct sx_keypair *key,
                                     const uint8_t corr[24], const uint8_t *id,
                                     const struct sx_cmd *cmd)
{
    static struct smp_batch b;
    simplex_bytes entity = sx_bytes(id, id == NULL ? 0 : 24);

    learn_cmd(key, entity, cmd);
    learn("correlation id", sx_bytes(corr, 24));
    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, p, key, corr, entity, cmd), SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, p), SIMPLEX_OK);
    const struct smp_item *i = smp_peer_wait(p, sx_bytes(corr, 24), 20000);
    assert_non_null(i);
    learn_rsp(&i->t, &i->rsp);
    return &i->rsp;
}

static const struct sx_rsp *ask(struct smp_peer *p, const struct sx_keypair *key, const uint8_t *id,
                                const struct sx_cmd *cmd)
{
    uint8_t corr[24];

    sx_random(corr, sizeof(corr));
    return ask_corr(p, key, corr, id, cmd);
}

static const struct sx_rsp *expect_at(const struct sx_rsp *r, enum sx_rsp_tag tag, int line)
{
    if (r->tag != tag)
        fail_msg("line %d: %s (%d) instead of %s", line, sx_rsp_name(r->tag),
                 r->tag == SX_R_ERR ? (int)r->err.err : 0, sx_rsp_name(tag));
    return r;
}
#define expect(rsp, tag) expect_at(rsp, tag, __LINE__)

/* The next event of this kind; others are learnt from. */
static const struct sx_rsp *event(struct smp_peer *p, enum sx_rsp_tag tag)
{
    for (;;) {
        const struct smp_item *i = smp_peer_event(p, 20000);
        if (i == NULL)
            fail_msg("no %s", sx_rsp_name(tag));
        learn_rsp(&i->t, &i->rsp);
        if (i->rsp.tag == tag)
            return &i->rsp;
    }
}

struct queue {
    struct sx_keypair rcv, dh, snd, ntf, ntf_dh;
    uint8_t rcv_id[24], snd_id[24], ntf_id[24], link_id[24];
};

static void make_keys(struct queue *q)
{
    struct sx_keypair *const pair[] = { &q->rcv, &q->snd, &q->ntf, &q->dh, &q->ntf_dh };

    memset(q, 0, sizeof(*q));
    for (size_t i = 0; i < SX_COUNT(pair); i++)
        assert_int_equal(sx_keypair_new(i < 3 ? SX_ED25519 : SX_X25519, pair[i]), SIMPLEX_OK);
    sx_random(q->link_id, sizeof(q->link_id));
}

/* With the data of a link. */
static void make_queue(struct smp_peer *p, struct queue *q, enum sx_queue_mode mode)
{
    uint8_t corr[24], hash[48];
    struct sx_cmd c = { .tag = SX_NEW };

    make_keys(q);
    sx_random(corr, sizeof(corr));
    sx_sha3_384(sx_bytes(corr, sizeof(corr)), hash);
    c.new_.auth = q->rcv.pub;
    c.new_.dh = q->dh.pub;
    c.new_.mode = (uint8_t)mode;
    c.new_.subscribe = mode == SX_MODE_MESSAGING;
    c.new_.has_link = true;
    c.new_.link_id = sx_bytes(q->link_id, 24);
    c.new_.snd_id = sx_bytes(hash, 24);
    c.new_.fixed = sx_str("fixed-data of a link");
    c.new_.user = sx_str("user-data of a link");
    const struct sx_rsp *r = expect(ask_corr(p, &q->rcv, corr, NULL, &c), SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    memcpy(q->link_id, r->ids.link_id.ptr, 24);
}

static const struct sx_rsp *say(struct smp_peer *p, const struct queue *q, bool sign)
{
    struct sx_cmd c = { .tag = SX_SEND,
                        .send = { .notify = true, .body = sx_str("confidential: a message") } };

    return ask(p, sign ? &q->snd : NULL, q->snd_id, &c);
}

static const struct sx_rsp *plain(struct smp_peer *p, const struct sx_keypair *key,
                                  const uint8_t *id, enum sx_cmd_tag tag)
{
    struct sx_cmd c = { .tag = tag };

    return ask(p, key, id, &c);
}

static const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q, const struct sx_rsp *msg)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = msg->msg.msg_id } };

    return ask(p, &q->rcv, q->rcv_id, &c);
}

static void secure(struct smp_peer *p, enum sx_cmd_tag tag, const struct sx_keypair *key,
                   const uint8_t *id, const struct queue *q, enum sx_rsp_tag answer)
{
    struct sx_cmd c = { .tag = tag, .key = { .key = q->snd.pub } };

    expect(ask(p, key, id, &c), answer);
}

static void add_notifier(struct smp_peer *p, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_NKEY, .nkey = { q->ntf.pub, q->ntf_dh.pub } };

    const struct sx_rsp *r = expect(ask(p, &q->rcv, q->rcv_id, &c), SX_R_NID);
    memcpy(q->ntf_id, r->nid.ntf_id.ptr, 24);
}

/* ---- what clients do ---- */

static void use_queues(struct smp_peer *rcv, struct smp_peer *snd, struct smp_peer *ntf)
{
    struct queue q, contact;
    struct sx_cmd lset = { .tag = SX_LSET };

    make_queue(rcv, &q, SX_MODE_MESSAGING);
    make_queue(rcv, &contact, SX_MODE_CONTACT);
    lset.lset.link_id = sx_bytes(contact.link_id, 24);
    lset.lset.fixed = sx_str("fixed-data of a link");
    lset.lset.user = sx_str("newer-user-data of a link");
    expect(ask(rcv, &contact.rcv, contact.rcv_id, &lset), SX_R_OK);
    expect(plain(snd, NULL, contact.link_id, SX_LGET), SX_R_LNK);
    secure(snd, SX_LKEY, &q.snd, q.link_id, &q, SX_R_LNK);
    secure(snd, SX_SKEY, &q.snd, q.snd_id, &q, SX_R_OK);
    secure(rcv, SX_KEY, &contact.rcv, contact.rcv_id, &contact, SX_R_OK);
    add_notifier(rcv, &q);
    expect(plain(ntf, &q.ntf, q.ntf_id, SX_NSUB), SX_R_SOK);
    expect(say(snd, &q, true), SX_R_OK);
    const struct sx_rsp *msg = event(rcv, SX_R_MSG);
    event(ntf, SX_R_NMSG);
    expect(plain(rcv, &q.rcv, q.rcv_id, SX_QUE), SX_R_INFO);
    expect(ack(rcv, &q, msg), SX_R_OK);
    expect(say(snd, &contact, true), SX_R_OK);
    msg = expect(plain(rcv, &contact.rcv, contact.rcv_id, SX_GET), SX_R_MSG);
    expect(ack(rcv, &contact, msg), SX_R_OK);
    expect(plain(snd, &q.rcv, q.rcv_id, SX_SUB), SX_R_SOK); /* the other one gets END */
    event(rcv, SX_R_END);
    expect(plain(rcv, &contact.rcv, contact.rcv_id, SX_LDEL), SX_R_OK);
    expect(plain(rcv, &q.rcv, q.rcv_id, SX_NDEL), SX_R_OK);
    expect(plain(rcv, &q.rcv, q.rcv_id, SX_OFF), SX_R_OK);
    expect(plain(rcv, &q.rcv, q.rcv_id, SX_DEL), SX_R_OK);
}

static void use_services(struct smp_peer *snd)
{
    static const uint8_t roles[] = { 'M', 'N' };
    struct queue q;
    struct sx_cmd subs = { .subs = { .has_hash = true } };

    for (size_t i = 0; i < SX_COUNT(roles); i++) {
        struct test_certs certs;
        struct smp_peer p;
        test_certs_make(SX_ED25519, 2, &certs);
        learn("certificate of a service", sx_bytes(certs.fingerprint, 32));
        struct sx_service_cert service = { roles[i], certs.chain, certs.leaf };
        connect_peer(&p, &certs, &service);
        if (roles[i] == 'M') {
            make_queue(&p, &q, SX_MODE_MESSAGING);
            add_notifier(snd, &q);
        } else {
            expect(plain(&p, &q.ntf, q.ntf_id, SX_NSUB), SX_R_SOK);
        }
        subs.tag = roles[i] == 'M' ? SX_SUBS : SX_NSUBS;
        expect(ask(&p, &p.session.service.key, p.session.service.id, &subs), SX_R_SOKS);
        expect(say(snd, &q, false), SX_R_OK);
        smp_peer_close(&p);
        service.role = 'P' == roles[i] ? 'N' : 'P';
        struct smp_peer_cfg cfg = { .port = stage->port,
                                    .key_hash = stage->key_hash,
                                    .service = &service };
        cfg.cert_pem = sx_wr_bytes(&certs.chain_pem);
        cfg.cert_key_pem = sx_wr_bytes(&certs.key_pem);
        assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_E_HANDSHAKE); /* another role */
        test_certs_free(&certs);
    }
}

/* ---- private routing ---- */

static const struct sx_rsp *prxy(struct smp_peer *p, const char *host, uint16_t to,
                                 const uint8_t relay[32])
{
    struct sx_cmd c = { .tag = SX_PRXY };
    struct sx_server *s = &c.prxy.server;

    s->n_hosts = 1;
    assert_int_equal(sx_host_parse(sx_str(host), &s->hosts[0]), SIMPLEX_OK);
    snprintf(s->port, sizeof(s->port), "%u", to);
    memcpy(s->key_hash, relay, 32);
    return ask(p, NULL, NULL, &c);
}

/* The key with which commands are boxed for the relay. */
static void relay_key(const struct sx_rsp *pkey, struct sx_pub *out)
{
    struct sx_chain chain = { .count = 0 };
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    struct sx_pub leaf;

    assert_int_equal(sx_chain_decode(pkey->pkey.chain, certs, &chain.count), SIMPLEX_OK);
    for (size_t i = 0; i < chain.count; i++)
        chain.cert[i] = certs[i];
    assert_int_equal(sx_chain_leaf_key(&chain, &leaf), SIMPLEX_OK);
    assert_int_equal(sx_signed_key_verify(pkey->pkey.signed_key, &leaf, out), SIMPLEX_OK);
    secrets_key(secrets, "session key of a relay", out);
}

/* A SEND through the proxy. */
static void forward(struct smp_peer *p, const struct sx_rsp *pkey, const struct queue *q)
{
    static struct smp_batch b;
    uint8_t one[SX_BLOCK], content[SX_BLOCK], sealed[PADDED + SX_BOX_TAG], corr[24], dh[SX_DH_MAX];
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("inner-message") } };
    struct sx_cmd pfwd = { .tag = SX_PFWD, .pfwd = { .version = pkey->pkey.max } };
    simplex_bytes route = pkey->pkey.session_id;
    struct sx_keypair command;
    struct sx_session s;
    struct sx_box_key box;
    struct sx_pub relay;
    struct sx_wr w, batch;

    relay_key(pkey, &relay);
    sx_random(corr, sizeof(corr));
    assert_int_equal(sx_keypair_new(SX_X25519, &command), SIMPLEX_OK);
    assert_int_equal(sx_session_relay(&s, pkey->pkey.max, route, &relay), SIMPLEX_OK);
    sx_wr_fixed(&w, one, sizeof(one));
    assert_int_equal(sx_session_encode(&s, &q->snd, corr, sx_bytes(q->snd_id, 24), &send, &w),
                     SIMPLEX_OK);
    sx_wr_fixed(&batch, content, sizeof(content));
    sx_wr_u8(&batch, 1);
    sx_wr_large(&batch, sx_wr_bytes(&w));
    assert_int_equal(sx_dh(&command.priv, &relay, dh), SIMPLEX_OK);
    sx_box_key_init(&box, dh);
    assert_int_equal(sx_box_seal_padded(&box, corr, sx_wr_bytes(&batch), PADDED, sealed),
                     SIMPLEX_OK);
    pfwd.pfwd.key = command.pub;
    pfwd.pfwd.body = sx_bytes(sealed, sizeof(sealed));
    learn_cmd(&q->snd, route, &pfwd);
    learn("correlation id", sx_bytes(corr, 24));
    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, p, NULL, corr, route, &pfwd), SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, p), SIMPLEX_OK);
    const struct smp_item *i = smp_peer_wait(p, sx_bytes(corr, 24), 20000);
    assert_non_null(i);
    expect(&i->rsp, SX_R_PRES);
}

static void use_the_proxy(struct smp_peer *p)
{
    simplex_server_config cfg;
    simplex_server *relay;
    uint8_t relay_hash[32], other[32] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct smp_peer rcv;
    struct queue q;
    char text[16];

    simplex_server_config_init(&cfg);
    cfg.port = free_port(); /* nobody listens there when it is gone */
    assert_int_equal(simplex_server_start(&cfg, &relay), SIMPLEX_OK);
    simplex_server_fingerprint(relay, relay_hash);
    uint16_t at = simplex_server_port(relay);
    struct smp_peer_cfg peer = { .port = at, .key_hash = relay_hash };
    assert_int_equal(smp_peer_open(&rcv, &peer), SIMPLEX_OK);
    make_queue(&rcv, &q, SX_MODE_MESSAGING);
    secure(&rcv, SX_SKEY, &q.snd, q.snd_id, &q, SX_R_OK);
    forward(p, expect(prxy(p, "127.0.0.1", at, relay_hash), SX_R_PKEY), &q);
    event(&rcv, SX_R_MSG);
    smp_peer_close(&rcv);
    snprintf(text, sizeof(text), "%u", at);
    secrets_word(stage->ports, "port of a relay", text);
    expect(prxy(p, "127.0.0.1", at, other), SX_R_ERR); /* another identity */
    expect(prxy(p, ONION, 5223, other), SX_R_ERR);     /* no way there */
    simplex_server_stop(relay);
    expect(prxy(p, "127.0.0.1", at, relay_hash), SX_R_ERR);
}

/* ---- what clients do wrong ---- */

static void err_in_commands(struct smp_peer *p)
{
    struct queue q, none;
    struct sx_cmd ack_cmd = { .tag = SX_ACK };

    make_queue(p, &q, SX_MODE_MESSAGING);
    make_keys(&none);
    sx_random(none.rcv_id, 24);
    expect(plain(p, &none.rcv, q.rcv_id, SX_SUB), SX_R_ERR);
    expect(plain(p, &none.rcv, none.rcv_id, SX_SUB), SX_R_ERR);
    expect(plain(p, &none.rcv, none.rcv_id, SX_NSUB), SX_R_ERR);
    expect(plain(p, NULL, none.rcv_id, SX_LGET), SX_R_ERR);
    expect(plain(p, NULL, q.rcv_id, SX_DEL), SX_R_ERR);
    ack_cmd.ack.msg_id = sx_bytes(none.rcv_id, 24);
    expect(ask(p, &q.rcv, q.rcv_id, &ack_cmd), SX_R_ERR);
    expect(say(p, &q, true), SX_R_ERR);
    secure(p, SX_SKEY, &q.snd, q.rcv_id, &q, SX_R_ERR);
    expect(say(p, &q, false), SX_R_OK);
    event(p, SX_R_MSG);
    expect(say(p, &q, false), SX_R_OK);
    expect(say(p, &q, false), SX_R_ERR); /* QUOTA: the ini has 2 */
}

/* Blocks that have ids in the wrong places; the last ones end the connection. */
static void err_in_blocks(void)
{
    static const struct {
        const char *text;
        size_t len;
    } odd[] = { { "", 0 },
                { "\1", 1 },
                { "\377\0\1", 3 },
                { "\1\0\7\0\0\0SUB=", 10 },
                { "\2\0\4\0\0\0A", 7 } };
    uint8_t noise[SX_BLOCK], ids[400];

    for (size_t i = 0; i < SX_COUNT(odd) + 2; i++) {
        struct smp_peer p;
        connect_peer(&p, NULL, NULL);
        sx_random(ids, sizeof(ids));
        sx_random(noise, sizeof(noise));
        ids[0] = (uint8_t)i; /* transmissions that are noise */
        learn("hostile block", sx_bytes(ids + 1, sizeof(ids) - 1));
        simplex_rc rc =
            i < SX_COUNT(odd)    ? smp_peer_send_content(&p, sx_bytes(odd[i].text, odd[i].len))
            : i == SX_COUNT(odd) ? smp_peer_send_content(&p, sx_bytes(ids, sizeof(ids)))
                                 : smp_peer_send_raw(&p, sx_bytes(noise, sizeof(noise)));
        assert_int_equal(rc, SIMPLEX_OK);
        (void)smp_peer_next(&p, i < SX_COUNT(odd) ? 300 : 3000);
        smp_peer_close(&p);
    }
}

static int raw_socket(uint16_t to)
{
    struct smp_peer_cfg cfg = { .port = to };
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    char text[16];

    int fd = smp_peer_socket(&cfg);
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(text, sizeof(text), "%u", ntohs(at.sin_port));
    secrets_word(stage->ports, "port of a client", text);
    return fd;
}

/* Reads what comes until the server closes, or has had its time. */
static void hear_out(int fd)
{
    struct timeval patience = { .tv_sec = 10 };
    char in[1024];

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    while (recv(fd, in, sizeof(in), 0) > 0)
        ;
    close(fd);
}

static int say_first(uint16_t to, const char *text, simplex_bytes more)
{
    int fd = raw_socket(to);

    assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0);
    assert_true(send(fd, more.ptr, more.len, MSG_NOSIGNAL) >= 0);
    return fd;
}

static void talk(uint16_t to, const char *text, simplex_bytes more)
{
    hear_out(say_first(to, text, more));
}

/* The server waits for the rest, which does not come. */
static void break_off(uint16_t to, const char *text, simplex_bytes more)
{
    int fd = say_first(to, text, more);

    (void)shutdown(fd, SHUT_WR);
    hear_out(fd);
}

static void err_before_tls(void)
{
    uint8_t noise[64];

    sx_random(noise, sizeof(noise));
    learn("noise", sx_bytes(noise, sizeof(noise)));
    talk(stage->port, "GET /visitor-of-a-site HTTP/1.1\r\n\r\n", sx_bytes(NULL, 0));
    talk(stage->port, "", sx_bytes(noise, sizeof(noise)));
    break_off(stage->port, "\x16\x03\x01\x02", sx_bytes(noise, sizeof(noise)));
    close(raw_socket(stage->port));
}

static void browse(void)
{
    secrets_word(secrets, "address that a browser asks for", "visitor");
    secrets_word(secrets, "browser", "Telltale");
    talk(stage->web_port,
         "GET /visitor-of-a-site HTTP/1.1\r\nHost: visitor.example\r\nUser-Agent: Telltale/1.0\r\n"
         "Connection: close\r\n\r\n",
         sx_bytes(NULL, 0));
    talk(stage->web_port, "visitor / Telltale\r\n\r\n", sx_bytes(NULL, 0));
}

/* ---- what the operator does ---- */

static void control(struct smp_peer *p)
{
    struct queue q;
    struct sx_wr w;
    char text[1024], id[40] = "", link[40] = "";

    make_queue(p, &q, SX_MODE_CONTACT);
    sx_wr_fixed(&w, (uint8_t *)id, sizeof(id) - 1);
    sx_b64url_encode(&w, sx_bytes(q.snd_id, 24));
    sx_wr_fixed(&w, (uint8_t *)link, sizeof(link) - 1);
    sx_b64url_encode(&w, sx_bytes(q.link_id, 24));
    snprintf(text, sizeof(text),
             "auth wrong-%s\nstatus %s\nauth " LOG_STAGE_PASSWORD
             "\nstatus %s\nstatus %s\nblock %s reason=spam\n"
             "unblock %s\nblock %s what\nclients\nsockets\n%s\nstats\nsave\ndelete %s\nstatus %s\n"
             "quit\n",
             id, id, id, link, id, link, id, id, id, link);
    secrets_word(secrets, "password", LOG_STAGE_PASSWORD);
    talk(stage->control_port, text, sx_bytes(NULL, 0));
    expect(plain(p, NULL, q.link_id, SX_LGET), SX_R_ERR); /* it is deleted */
}

/* ---- all of it ---- */

void log_stage_play(const struct log_stage *s)
{
    struct smp_peer a, b, c;

    stage = s;
    secrets = s->secrets;
    secrets_word(secrets, "address of a client", "127.0.0.1");
    secrets_word(secrets, "address of a relay", ONION);
    connect_peer(&a, NULL, NULL);
    connect_peer(&b, NULL, NULL);
    connect_peer(&c, NULL, NULL);
    use_queues(&a, &b, &c);
    use_services(&a);
    use_the_proxy(&b);
    err_in_commands(&c);
    err_in_blocks();
    err_before_tls();
    browse();
    control(&c);
    smp_peer_close(&a);
    smp_peer_close(&b);
    smp_peer_close(&c);
}

/* ---- a client that says nothing ---- */

static struct smp_peer silent;

void log_stage_fall_silent(void)
{
    connect_peer(&silent, NULL, NULL);
}

void log_stage_await_end(void)
{
    assert_true(smp_peer_wait_closed(&silent, 40000));
    smp_peer_close(&silent);
}
