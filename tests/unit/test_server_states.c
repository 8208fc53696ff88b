/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every command on a queue in every state, in every version (protocol/smp.md section 6.3): a table
 * of answers. What the commands do is tested elsewhere; here is whether they may.
 */
#include "support/server_mem.h"

#define FIXED sx_str("fixed")
#define USER sx_str("user")

enum state { UNSECURED, SECURED, OFF, BLOCKED, DELETED, STATES };

struct keys { /* the same for all queues: their ids differ */
    struct sx_keypair rcv, snd, ntf, other, dh;
};

struct ids {
    uint8_t rcv[24], snd[24], link[24], ntf[24];
};

enum by { RCV, SND, LINK, NTF };

/*
 * Answers, by state: o OK, s SOK (OK before version 16), n NID, i INFO, l LNK, a AUTH, x NO_MSG,
 * b BLOCKED (AUTH before version 12).
 */
struct row {
    const char *name;
    uint8_t tag;  /* enum sx_cmd_tag */
    uint8_t mode; /* of the queue; all have link data but those without a mode */
    uint8_t by;   /* enum by: whose id */
    char key; /* what signs, and for keys what is in the command: r s n, o another one, 0 none */
    const char *answers;
};

#define M SX_MODE_MESSAGING
#define C SX_MODE_CONTACT
#define N SX_MODE_NONE

static const struct row rows[] = {
    { "SUB", SX_SUB, M, RCV, 'r', "sssba" },
    { "SUB, another key", SX_SUB, M, RCV, 'o', "aaaaa" },
    { "SUB by the sender's id", SX_SUB, M, SND, 'r', "aaaaa" },
    { "GET", SX_GET, M, RCV, 'r', "oooba" },
    { "ACK", SX_ACK, M, RCV, 'r', "xxxba" },
    { "QUE", SX_QUE, M, RCV, 'r', "iiiba" },
    { "KEY", SX_KEY, M, RCV, 's', "oooba" },
    { "KEY, another one", SX_KEY, M, RCV, 'o', "oaaba" },
    { "KEY of a contact queue", SX_KEY, C, RCV, 's', "oooba" },
    { "KEY without mode", SX_KEY, N, RCV, 's', "oooba" },
    { "RKEY", SX_RKEY, C, RCV, 'r', "oooba" },
    { "RKEY of an invitation", SX_RKEY, M, RCV, 'r', "aaaba" },
    { "RKEY without mode", SX_RKEY, N, RCV, 'r', "aaaba" },
    { "LSET", SX_LSET, M, RCV, 'r', "oaaba" },
    { "LSET of a contact queue", SX_LSET, C, RCV, 'r', "oooba" },
    { "LDEL", SX_LDEL, M, RCV, 'r', "oooba" },
    { "NKEY", SX_NKEY, M, RCV, 'r', "nnnba" },
    { "NDEL", SX_NDEL, M, RCV, 'r', "oooba" },
    { "OFF", SX_OFF, M, RCV, 'r', "ooooa" },
    { "DEL", SX_DEL, M, RCV, 'r', "ooooa" },
    { "DEL by the sender", SX_DEL, M, SND, 's', "aaaaa" },
    { "SKEY", SX_SKEY, M, SND, 's', "oooba" },
    { "SKEY, another one", SX_SKEY, M, SND, 'o', "oaaba" },
    { "SKEY by the recipient's id", SX_SKEY, M, RCV, 's', "aaaaa" },
    { "SKEY of a contact queue", SX_SKEY, C, SND, 's', "aaaba" },
    { "SKEY without mode", SX_SKEY, N, SND, 's', "aaaba" },
    { "SEND", SX_SEND, M, SND, 's', "aoaba" },
    { "SEND, another key", SX_SEND, M, SND, 'o', "aaaaa" },
    { "SEND, unsigned", SX_SEND, M, SND, 0, "oaaaa" },
    { "LKEY", SX_LKEY, M, LINK, 's', "lllba" },
    { "LKEY, another one", SX_LKEY, M, LINK, 'o', "laaba" },
    { "LKEY by the sender's id", SX_LKEY, M, SND, 's', "aaaaa" },
    { "LKEY of a contact queue", SX_LKEY, C, LINK, 's', "aaaba" },
    { "LGET", SX_LGET, C, LINK, 0, "lllba" },
    { "LGET of an invitation", SX_LGET, M, LINK, 0, "aaaba" },
    { "LGET without mode", SX_LGET, N, LINK, 0, "laaba" },
    { "LGET by the sender's id", SX_LGET, C, SND, 0, "aaaaa" },
    { "NSUB", SX_NSUB, M, NTF, 'n', "ssssa" },
    { "NSUB, another key", SX_NSUB, M, NTF, 'o', "aaaaa" },
    { "NSUB by the recipient", SX_NSUB, M, RCV, 'r', "aaaaa" },
};

/* A queue in the state, made in the store: the commands that lead there have tests of their own. */
static void make(struct mem_server *m, const struct keys *k, uint8_t mode, enum state state,
                 struct ids *ids)
{
    struct sx_store *st = m->srv->store;
    struct sx_queue_new n = { .mode = mode, .has_link = true, .has_ntf = true };
    struct sx_smp_err why = { .blocked = SX_BLOCKED_SPAM };
    struct sx_queue *q;

    n.rcv_key = k->rcv.pub;
    n.ntf_key = k->ntf.pub;
    n.fixed = FIXED;
    n.user = USER;
    assert_int_equal(sx_qstore_create(st, &n, &q), SX_ERR_NONE);
    memcpy(ids->rcv, q->rcv.id, 24);
    memcpy(ids->snd, q->snd.id, 24);
    memcpy(ids->link, q->link->node.id, 24);
    memcpy(ids->ntf, q->ntf->node.id, 24);
    sx_queue_lock(st, q);
    if (state != UNSECURED)
        assert_int_equal(sx_queue_secure(st, q, &k->snd.pub), SX_ERR_NONE);
    if (state == OFF)
        assert_int_equal(sx_queue_set_status(st, q, SX_Q_OFF, 0), SX_ERR_NONE);
    if (state == BLOCKED)
        assert_int_equal(sx_queue_block(st, q, &why), SX_ERR_NONE);
    if (state == DELETED)
        sx_queue_delete(st, q);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
}

static const struct sx_keypair *signer(const struct row *r, const struct keys *k)
{
    /* A recipient's command that sets a sender's key is signed by the recipient. */
    if (r->tag == SX_KEY)
        return &k->rcv;
    return r->key == 'r'   ? &k->rcv
           : r->key == 's' ? &k->snd
           : r->key == 'n' ? &k->ntf
           : r->key == 'o' ? &k->other
                           : NULL;
}

static const struct sx_rsp *run(struct mem_client *c, const struct row *r, const struct keys *k,
                                const struct ids *ids)
{
    const uint8_t *const id[] = {
        [RCV] = ids->rcv, [SND] = ids->snd, [LINK] = ids->link, [NTF] = ids->ntf
    };
    struct sx_cmd cmd = { .tag = r->tag };
    uint8_t buf[128];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    switch (r->tag) {
    case SX_KEY:
    case SX_SKEY:
    case SX_LKEY:
        cmd.key.key = r->key == 'o' ? k->other.pub : k->snd.pub;
        break;
    case SX_RKEY:
        sx_wr_key(&w, &k->other.pub);
        cmd.rkey.keys = sx_wr_bytes(&w);
        cmd.rkey.count = 1;
        break;
    case SX_LSET:
        cmd.lset.link_id = sx_bytes(ids->link, 24);
        cmd.lset.fixed = FIXED;
        cmd.lset.user = sx_str("other");
        break;
    case SX_NKEY:
        cmd.nkey.auth = k->other.pub;
        cmd.nkey.dh = k->dh.pub;
        break;
    case SX_SEND:
        cmd.send.body = sx_str("hello");
        break;
    default:
        break;
    }
    return mem_cmd(c, signer(r, k), sx_bytes(id[r->by], 24), &cmd);
}

static bool is(const struct sx_rsp *r, char code, uint16_t version)
{
    static const struct {
        char code;
        uint8_t tag, err;
    } codes[] = {
        { 'o', SX_R_OK, 0 },
        { 'n', SX_R_NID, 0 },
        { 'i', SX_R_INFO, 0 },
        { 'l', SX_R_LNK, 0 },
        { 'a', SX_R_ERR, SX_ERR_AUTH },
        { 'x', SX_R_ERR, SX_ERR_NO_MSG },
        { 'b', SX_R_ERR, SX_ERR_BLOCKED },
        { 's', SX_R_SOK, 0 },
    };

    if (code == 's' && version < 16)
        code = 'o';
    if (code == 'b' && version < 12)
        code = 'a';
    for (size_t i = 0; i < SX_COUNT(codes); i++)
        if (codes[i].code == code)
            return r->tag == codes[i].tag && (r->tag != SX_R_ERR || r->err.err == codes[i].err);
    fail_msg("code %c", code);
    return false;
}

static void every_command_in_every_state_and_version(void **state)
{
    struct mem_server m;
    struct keys k;
    unsigned n = 0;

    (void)state;
    mem_open(&m, NULL);
    assert_int_equal(sx_keypair_new(SX_ED25519, &k.rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &k.snd), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &k.ntf), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &k.other), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &k.dh), SIMPLEX_OK);
    for (uint16_t v = SX_SMP_MIN; v <= SX_SMP_MAX; v++) {
        struct mem_client c;
        mem_connect(&m, &c, 0, v);
        for (size_t i = 0; i < SX_COUNT(rows); i++) {
            assert_int_equal(strlen(rows[i].answers), STATES);
            for (unsigned s = 0; s < STATES; s++, n++) {
                struct ids ids;
                make(&m, &k, rows[i].mode, (enum state)s, &ids);
                const struct sx_rsp *r = run(&c, &rows[i], &k, &ids);
                if (!is(r, rows[i].answers[s], v))
                    fail_msg("%s, state %u, version %u: tag %d, error %d", rows[i].name, s, v,
                             r->tag, r->tag == SX_R_ERR ? r->err.err : 0);
            }
        }
        mem_disconnect(&c);
    }
    assert_int_equal(n, SX_COUNT(rows) * STATES * (SX_SMP_MAX - SX_SMP_MIN + 1));
    mem_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_in_every_state_and_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
