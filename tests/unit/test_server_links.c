/* SPDX-License-Identifier: Apache-2.0 */
/* Link data and notifications (protocol/smp.md sections 6.3, 7 and 11). */
#include "support/mem_service.h"

#define FIXED sx_str("fixed data")
#define USER sx_str("user data")

/* NEW with link data; contact: q->link_id is the client's. snd_id: of the correlation id. */
static const struct sx_rsp *new_link(struct mem_client *c, struct mem_queue *q,
                                     enum sx_queue_mode mode, bool right_snd_id)
{
    uint8_t corr[24], hash[48];
    struct sx_cmd cmd;

    memset(q, 0, sizeof(*q));
    mem_keys(q, SX_ED25519);
    sx_random(corr, sizeof(corr));
    sx_random(q->link_id, sizeof(q->link_id));
    sx_sha3_384(sx_bytes(corr, sizeof(corr)), hash);
    hash[0] ^= right_snd_id ? 0 : 1;
    cmd = mem_new_cmd(q, mode, true);
    cmd.new_.has_link = true;
    cmd.new_.link_id = sx_bytes(q->link_id, 24);
    cmd.new_.snd_id = sx_bytes(hash, 24);
    cmd.new_.fixed = FIXED;
    cmd.new_.user = USER;
    const struct sx_rsp *r = mem_cmd_corr(c, &q->rcv, corr, sx_bytes(NULL, 0), &cmd);
    if (r->tag != SX_R_IDS)
        return r;
    assert_memory_equal(r->ids.snd_id.ptr, hash, 24);
    assert_true(r->ids.has_link_id);
    if (mode == SX_MODE_CONTACT)
        vec_assert_eq(r->ids.link_id, sx_bytes(q->link_id, 24), "link id");
    mem_take_ids(q, r);
    memcpy(q->link_id, r->ids.link_id.ptr, 24);
    return r;
}

static simplex_bytes link_id(const struct mem_queue *q)
{
    return sx_bytes(q->link_id, 24);
}

static const struct sx_rsp *lget(struct mem_client *c, const struct mem_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_LGET };

    return mem_cmd(c, NULL, link_id(q), &cmd);
}

static const struct sx_rsp *lkey(struct mem_client *c, const struct sx_keypair *signer,
                                 const struct sx_pub *key, simplex_bytes entity)
{
    struct sx_cmd cmd = { .tag = SX_LKEY };

    cmd.key.key = *key;
    return mem_cmd(c, signer, entity, &cmd);
}

static const struct sx_rsp *lset(struct mem_client *c, const struct mem_queue *q, simplex_bytes id,
                                 simplex_bytes fixed, simplex_bytes user)
{
    struct sx_cmd cmd = { .tag = SX_LSET, .lset = { .link_id = id, .fixed = fixed, .user = user } };

    return mem_cmd(c, &q->rcv, mem_rcv_id(q), &cmd);
}

static void assert_link(const struct sx_rsp *r, const struct mem_queue *q, simplex_bytes user)
{
    mem_assert_tag(r, SX_R_LNK);
    vec_assert_eq(r->lnk.snd_id, mem_snd_id(q), "sender id");
    vec_assert_eq(r->lnk.fixed, FIXED, "fixed data");
    vec_assert_eq(r->lnk.user, user, "user data");
}

/* testInvQueueLinkData */
static void invitation_links_secure_their_queue(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct sx_keypair other;

    (void)state;
    mem_open_two(&t, NULL);
    assert_int_equal(sx_keypair_new(SX_ED25519, &other), SIMPLEX_OK);
    mem_assert_cmd_err(new_link(&t.a, &q, SX_MODE_MESSAGING, false), SX_CMD_PROHIBITED);
    mem_assert_tag(new_link(&t.a, &q, SX_MODE_MESSAGING, true), SX_R_IDS);
    mem_assert_err(lget(&t.b, &q), SX_ERR_AUTH);
    mem_assert_tag(lset(&t.a, &q, link_id(&q), FIXED, sx_str("newer")), SX_R_OK);
    mem_assert_cmd_err(lkey(&t.b, NULL, &q.snd.pub, link_id(&q)), SX_CMD_NO_AUTH);
    mem_assert_err(lkey(&t.b, &other, &q.snd.pub, link_id(&q)), SX_ERR_AUTH);
    mem_assert_err(lkey(&t.b, &q.snd, &q.snd.pub, mem_rcv_id(&q)), SX_ERR_AUTH);
    assert_link(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), &q, sx_str("newer"));
    assert_link(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), &q, sx_str("newer"));
    mem_assert_err(lkey(&t.b, &other, &other.pub, link_id(&q)), SX_ERR_AUTH);
    mem_assert_err(lset(&t.a, &q, link_id(&q), FIXED, USER), SX_ERR_AUTH);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_LDEL), SX_R_OK);
    mem_assert_err(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), SX_ERR_AUTH);
    mem_close_two(&t);
}

static void the_first_message_removes_the_invitation_link(void **state)
{
    struct mem_two t;
    struct mem_queue q, contact;

    (void)state;
    mem_open_two(&t, NULL);
    mem_assert_tag(new_link(&t.a, &q, SX_MODE_MESSAGING, true), SX_R_IDS);
    assert_link(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), &q, USER);
    mem_assert_tag(mem_send(&t.b, &q, true, "confirmation"), SX_R_OK);
    mem_assert_err(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), SX_ERR_AUTH);
    mem_expect_msg(&t.a, &q, "confirmation");

    mem_assert_tag(new_link(&t.a, &contact, SX_MODE_CONTACT, true), SX_R_IDS);
    mem_put(&t.b, &contact, "request");
    assert_link(lget(&t.b, &contact), &contact, USER);
    mem_close_two(&t);
}

/* A queue of a client that knows no modes is one for messages once it is secured. */
static void the_first_message_removes_the_link_of_a_queue_without_mode(void **state)
{
    struct mem_two t;
    struct mem_queue q, other;
    struct sx_cmd key = { .tag = SX_KEY };

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_NONE, false);
    mem_new(&t.a, &other, SX_MODE_NONE, false);
    mem_assert_tag(lset(&t.a, &q, link_id(&q), FIXED, USER), SX_R_OK);
    mem_assert_err(lset(&t.a, &other, link_id(&q), FIXED, USER), SX_ERR_AUTH);
    mem_put(&t.b, &q, "request");
    mem_assert_err(lset(&t.a, &other, link_id(&q), FIXED, USER), SX_ERR_AUTH);
    key.key.key = q.snd.pub;
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &key), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &q, true, "message"), SX_R_OK);
    mem_assert_tag(lset(&t.a, &other, link_id(&q), FIXED, USER), SX_R_OK); /* free */
    mem_close_two(&t);
}

/* testContactQueueLinkData */
static void contact_links_are_open_to_all(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct sx_cmd cmd = { .tag = SX_LGET };

    (void)state;
    mem_open_two(&t, NULL);
    mem_assert_cmd_err(new_link(&t.a, &q, SX_MODE_CONTACT, false), SX_CMD_PROHIBITED);
    mem_assert_tag(new_link(&t.a, &q, SX_MODE_CONTACT, true), SX_R_IDS);
    mem_assert_err(lkey(&t.b, &q.snd, &q.snd.pub, link_id(&q)), SX_ERR_AUTH);
    mem_assert_cmd_err(mem_cmd(&t.b, &q.snd, link_id(&q), &cmd), SX_CMD_HAS_AUTH);
    mem_assert_err(mem_cmd(&t.b, NULL, mem_rcv_id(&q), &cmd), SX_ERR_AUTH);
    mem_assert_err(mem_cmd(&t.b, NULL, mem_snd_id(&q), &cmd), SX_ERR_AUTH);
    assert_link(lget(&t.b, &q), &q, USER);
    assert_link(lget(&t.b, &q), &q, USER);
    mem_assert_tag(lset(&t.a, &q, link_id(&q), FIXED, sx_str("longer user data")), SX_R_OK);
    assert_link(lget(&t.b, &q), &q, sx_str("longer user data"));
    mem_assert_err(lset(&t.a, &q, mem_snd_id(&q), FIXED, USER), SX_ERR_AUTH);
    mem_assert_err(lset(&t.a, &q, link_id(&q), sx_str("other fixed"), USER), SX_ERR_AUTH);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_LDEL), SX_R_OK);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_LDEL), SX_R_OK);
    mem_assert_err(lget(&t.b, &q), SX_ERR_AUTH);
    mem_close_two(&t);
}

/* A small command with a large answer, many times in one block: memory, if nobody reads. */
static void a_block_is_answered_with_a_few_large_links(void **state)
{
    static uint8_t user[13000];
    struct sx_cmd cmd = { .tag = SX_LGET };
    struct mem_two t;
    struct mem_queue q;
    struct mem_batch b;
    const struct mem_item *i;
    unsigned links = 0, refused = 0;

    (void)state;
    mem_open_two(&t, NULL);
    mem_assert_tag(new_link(&t.a, &q, SX_MODE_CONTACT, true), SX_R_IDS);
    mem_assert_tag(lset(&t.a, &q, link_id(&q), FIXED, sx_bytes(user, sizeof(user))), SX_R_OK);
    mem_batch_open(&b, &t.b);
    for (int k = 0; k < 200; k++)
        mem_batch_add(&b, NULL, link_id(&q), &cmd);
    mem_batch_run(&b);
    assert_in_range(t.b.peer.n_out, SX_PEER_OUT_PAUSE, 2 * SX_PEER_OUT_PAUSE);
    while ((i = mem_next(&t.b)) != NULL) {
        links += i->rsp.tag == SX_R_LNK;
        refused += i->rsp.tag == SX_R_ERR && i->rsp.err.err == SX_ERR_INTERNAL;
    }
    assert_in_range(links, SX_PEER_OUT_PAUSE, 2 * SX_PEER_OUT_PAUSE);
    assert_int_equal(links + refused, 200);
    assert_link(lget(&t.b, &q), &q, sx_bytes(user, sizeof(user)));
    mem_close_two(&t);
}

/* testDuplicateQueueLinkData */
static void a_link_id_cannot_be_taken_over(void **state)
{
    struct mem_two t;
    struct mem_queue victim, q;

    (void)state;
    mem_open_two(&t, NULL);
    mem_assert_tag(new_link(&t.a, &victim, SX_MODE_CONTACT, true), SX_R_IDS);
    mem_new(&t.b, &q, SX_MODE_CONTACT, true);
    mem_assert_err(lset(&t.b, &q, link_id(&victim), FIXED, sx_str("mine")), SX_ERR_AUTH);
    assert_link(lget(&t.b, &victim), &victim, USER);
    mem_assert_tag(mem_rcv(&t.b, &q, SX_DEL), SX_R_OK);
    assert_link(lget(&t.b, &victim), &victim, USER);
    mem_close_two(&t);
}

/* The sender id follows from the correlation id: it cannot be taken a second time. */
static void a_taken_sender_id_is_refused_whole(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    uint8_t corr[24] = "always the same", hash[48];
    simplex_bytes none = sx_bytes(NULL, 0);

    (void)state;
    mem_open_two(&t, NULL);
    mem_keys(&q, SX_ED25519);
    sx_sha3_384(sx_bytes(corr, 24), hash);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    cmd.new_.has_link = true;
    cmd.new_.snd_id = sx_bytes(hash, 24);
    cmd.new_.fixed = FIXED;
    mem_assert_tag(mem_cmd_corr(&t.a, &q.rcv, corr, none, &cmd), SX_R_IDS);
    mem_assert_err(mem_cmd_corr(&t.a, &q.rcv, corr, none, &cmd), SX_ERR_AUTH);
    assert_int_equal(sx_qstore_queues(t.m.srv->store), 1);
    assert_int_equal(t.a.peer.n_subs, 1);
    mem_close_two(&t);
}

/* ---- notifications ---- */

/* A queue of the first client, secured, and its notifier. */
static void make_notified(struct mem_two *t, struct mem_queue *q, struct mem_ntf *n)
{
    mem_new(&t->a, q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_skey(&t->b, q), SX_R_OK);
    mem_nkey(&t->a, q, n);
}

static void notify(struct mem_client *c, const struct mem_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .notify = true, .body = sx_str("n") } };

    mem_assert_tag(mem_cmd(c, &q->snd, mem_snd_id(q), &cmd), SX_R_OK);
}

static void expect_nmsg(struct mem_client *c, const struct mem_ntf *n, simplex_bytes msg_id,
                        int64_t ts_s)
{
    struct sx_ntf_meta meta = mem_assert_nmsg(mem_expect(c, SX_R_NMSG, mem_ntf_id(n)), n);

    vec_assert_eq(meta.msg_id, msg_id, "message id");
    assert_int_equal(meta.ts_s, ts_s);
}

/* testMessageNotifications */
static void notifies_about_messages(void **state)
{
    struct mem_two t;
    struct mem_client c;
    struct mem_queue q;
    struct mem_ntf old, n, newer;

    (void)state;
    mem_open_two(&t, NULL);
    mem_connect(&t.m, &c, 0, 0);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_nkey(&t.a, &q, &old);
    mem_nkey(&t.a, &q, &n);
    assert_memory_not_equal(old.id, n.id, 24);
    mem_assert_err(mem_nsub(&t.b, &old), SX_ERR_AUTH);
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    notify(&c, &q);
    simplex_bytes id = mem_expect_msg(&t.a, &q, "n");
    mem_assert_quiet(&t.b);
    sx_peer_flush_ntfs(&t.b.peer);
    expect_nmsg(&t.b, &n, id, t.m.now / 1000);
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);

    mem_assert_tag(mem_nsub(&c, &n), SX_R_SOK); /* the first subscriber is told */
    mem_expect_ended(&t.b, SX_R_END, mem_ntf_id(&n));
    mem_assert_tag(mem_rcv(&t.a, &q, SX_NDEL), SX_R_OK);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_NDEL), SX_R_OK);
    mem_expect_ended(&c, SX_R_DELD, mem_ntf_id(&n));
    mem_assert_err(mem_nsub(&c, &n), SX_ERR_AUTH);
    mem_nkey(&t.a, &q, &newer);
    mem_assert_tag(mem_nsub(&c, &newer), SX_R_SOK);
    mem_nkey(&t.a, &q, &n); /* replaces it: its subscriber is told */
    mem_expect_ended(&c, SX_R_DELD, mem_ntf_id(&newer));
    mem_assert_quiet(&c);
    mem_assert_quiet(&t.b);
    mem_disconnect(&c);
    mem_close_two(&t);
}

static void keeps_notifications_for_a_notifier_who_is_away(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct mem_ntf n;
    uint8_t ids[3][24];

    (void)state;
    mem_open_two(&t, NULL);
    make_notified(&t, &q, &n);
    for (int i = 0; i < 3; i++) {
        notify(&t.b, &q);
        mem_assert_tag(mem_send(&t.b, &q, true, "silent"), SX_R_OK);
        memcpy(ids[i], mem_get_msg(&t.a, &q, "n").ptr, 24);
        mem_get_msg(&t.a, &q, "silent");
        t.m.now += i == 0 ? SX_STORE_NTF_TTL_MS : 1; /* the first is too old in the end */
    }
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    sx_peer_flush_ntfs(&t.b.peer);
    expect_nmsg(&t.b, &n, sx_bytes(ids[1], 24), (t.m.now - 2) / 1000);
    expect_nmsg(&t.b, &n, sx_bytes(ids[2], 24), (t.m.now - 1) / 1000);
    mem_assert_quiet(&t.b);
    mem_close_two(&t);
}

/* Nobody comes for them: they go with time, as messages do. */
static void forgets_old_notifications_of_a_notifier_who_stays_away(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct mem_ntf n;

    (void)state;
    mem_open_two(&t, NULL);
    make_notified(&t, &q, &n);
    notify(&t.b, &q);
    notify(&t.b, &q);
    t.m.now += SX_STORE_NTF_TTL_MS;
    notify(&t.b, &q);
    sx_srv_expire(t.m.srv);
    assert_int_equal(mem_stat(&t.m, SX_STAT_NTF_COUNT), 3); /* not too old */
    t.m.now += 1;
    sx_srv_expire(t.m.srv);
    assert_int_equal(mem_stat(&t.m, SX_STAT_NTF_COUNT), 1);
    assert_int_equal(mem_stat(&t.m, SX_STAT_MSG_NTF_EXPIRED), 2);
    t.m.now += SX_STORE_NTF_TTL_MS;
    sx_srv_expire(t.m.srv);
    assert_int_equal(mem_stat(&t.m, SX_STAT_NTF_COUNT), 0);
    notify(&t.b, &q);
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    sx_peer_flush_ntfs(&t.b.peer);
    mem_assert_tag(&mem_next(&t.b)->rsp, SX_R_NMSG);
    mem_assert_quiet(&t.b);
    assert_int_equal(mem_stat(&t.m, SX_STAT_MSG_NTF_EXPIRED), 3);
    mem_close_two(&t);
}

/* First, middle and last of those that wait. */
static void a_lost_notifier_does_not_disturb_those_that_wait(void **state)
{
    enum { N = 5 };
    struct mem_two t;
    struct mem_queue q[N];
    struct mem_ntf n[N];
    uint8_t got = 0;

    (void)state;
    mem_open_two(&t, NULL);
    for (int i = 0; i < N; i++) {
        make_notified(&t, &q[i], &n[i]);
        mem_assert_tag(mem_nsub(&t.b, &n[i]), SX_R_SOK);
        notify(&t.a, &q[i]);
    }
    for (int i = 0; i < N; i += 2)
        mem_assert_tag(mem_rcv(&t.a, &q[i], SX_NDEL), SX_R_OK);
    sx_peer_flush_ntfs(&t.b.peer);
    for (int left = N / 2; left > 0; left--) {
        const struct mem_item *it = mem_next(&t.b);
        assert_non_null(it);
        mem_assert_tag(&it->rsp, SX_R_NMSG);
        for (int i = 1; i < N; i += 2)
            got |= (uint8_t)(sx_bytes_eq(it->t.entity_id, mem_ntf_id(&n[i])) << i);
    }
    assert_int_equal(got, 1 << 1 | 1 << 3);
    mem_assert_quiet(&t.b);
    notify(&t.a, &q[1]); /* one waits when the peer is closed */
    mem_close_two(&t);
}

static void packs_eighty_notifications_into_a_block(void **state)
{
    struct mem_two t;
    struct mem_queue q;
    struct mem_ntf n;

    (void)state;
    mem_open_two(&t, NULL);
    make_notified(&t, &q, &n);
    for (int i = 0; i < 100; i++)
        notify(&t.b, &q);
    mem_assert_tag(mem_nsub(&t.a, &n), SX_R_SOK);
    sx_peer_flush_ntfs(&t.a.peer);
    unsigned first = t.a.n_blocks + 1;
    for (unsigned i = 0; i < 100; i++) {
        const struct mem_item *it = mem_next(&t.a);
        assert_non_null(it);
        mem_assert_tag(&it->rsp, SX_R_NMSG);
        assert_int_equal(it->block, first + i / 80);
    }
    mem_close_two(&t);
}

/* Not only what fits into the output at the time of a flush. */
static void many_notifications_follow_each_other_as_the_client_reads(void **state)
{
    enum { N = 7 };
    struct mem_two t;
    struct mem_queue q[N];
    struct mem_ntf n[N];
    size_t got = 0;

    (void)state;
    mem_open_two(&t, NULL);
    for (int i = 0; i < N; i++) {
        make_notified(&t, &q[i], &n[i]);
        for (int k = 0; k < 120; k++)
            notify(&t.b, &q[i]);
        mem_assert_tag(mem_nsub(&t.a, &n[i]), SX_R_SOK);
    }
    sx_peer_flush_ntfs(&t.a.peer);
    while (mem_next(&t.a) != NULL)
        got++;
    assert_int_equal(got, 120 * N);
    mem_close_two(&t);
}

static void creates_a_queue_with_its_notifier(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct mem_ntf n;

    (void)state;
    mem_open_two(&t, NULL);
    mem_keys(&q, SX_ED25519);
    assert_int_equal(sx_keypair_new(SX_ED25519, &n.key), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &n.dh), SIMPLEX_OK);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    cmd.new_.has_ntf = true;
    cmd.new_.ntf_auth = n.key.pub;
    cmd.new_.ntf_dh = n.dh.pub;
    const struct sx_rsp *r = mem_cmd(&t.a, &q.rcv, sx_bytes(NULL, 0), &cmd);
    mem_take_ids(&q, r);
    assert_true(r->ids.has_ntf);
    memcpy(n.id, r->ids.ntf_id.ptr, 24);
    n.srv_dh = r->ids.ntf_srv_dh;
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    notify(&t.b, &q);
    simplex_bytes id = mem_expect_msg(&t.a, &q, "n");
    sx_peer_flush_ntfs(&t.b.peer);
    expect_nmsg(&t.b, &n, id, t.m.now / 1000);
    mem_close_two(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invitation_links_secure_their_queue),
        cmocka_unit_test(the_first_message_removes_the_invitation_link),
        cmocka_unit_test(the_first_message_removes_the_link_of_a_queue_without_mode),
        cmocka_unit_test(contact_links_are_open_to_all),
        cmocka_unit_test(a_block_is_answered_with_a_few_large_links),
        cmocka_unit_test(a_link_id_cannot_be_taken_over),
        cmocka_unit_test(a_taken_sender_id_is_refused_whole),
        cmocka_unit_test(notifies_about_messages),
        cmocka_unit_test(keeps_notifications_for_a_notifier_who_is_away),
        cmocka_unit_test(forgets_old_notifications_of_a_notifier_who_stays_away),
        cmocka_unit_test(a_lost_notifier_does_not_disturb_those_that_wait),
        cmocka_unit_test(packs_eighty_notifications_into_a_block),
        cmocka_unit_test(many_notifications_follow_each_other_as_the_client_reads),
        cmocka_unit_test(creates_a_queue_with_its_notifier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
