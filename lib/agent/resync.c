/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new ratchet for a connection whose sides do not read each other any more, because one of them
 * restored an old copy of its database (agent.md section 6.6). Both send new X3DH keys outside the
 * ratchet, protected by the queue's layer alone; the hashes of the keys decide who plays which part
 * of the agreement. Our keys, their message and the state are written in one transaction, so that
 * a crash at any point continues the same attempt.
 */
#include "agent/enqueue.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/numbers.h"
#include "agent/receive.h"
#include "agent/resync.h"
#include "agent/several.h"
#include "agent/switch_again.h"

#define X448_LEN 56

bool sx_sync_blocks(const struct sx_conn *c)
{
    return c->sync_state >= SX_SYNC_REQUIRED;
}

static simplex_rc set_state(struct simplex_agent *a, struct sx_conn *c, enum sx_sync_state state,
                            simplex_rc why, const char *detail)
{
    c->sync_state = (uint8_t)state;
    return sx_emit_rsync(a, c, why, detail);
}

/* ---- what messages say about the ratchet ---- */

/* The table of section 3.5; OK: the failure says nothing about the ratchet. A key used for two
 * messages (a duplicate that is none) is the same sign as a number that was there before. */
static enum sx_sync_state sign_of(simplex_rc why)
{
    switch (why) {
    case SIMPLEX_E_RATCHET_AES:
    case SIMPLEX_E_RATCHET_EARLIER:
    case SIMPLEX_E_RATCHET_DUPLICATE:
        return SX_SYNC_ALLOWED;
    case SIMPLEX_E_RATCHET_HEADER:
    case SIMPLEX_E_RATCHET_SKIPPED:
        return SX_SYNC_REQUIRED;
    default:
        return SX_SYNC_OK;
    }
}

simplex_rc sx_sync_unreadable(struct simplex_agent *a, struct sx_conn *c, simplex_rc why,
                              bool *told)
{
    enum sx_sync_state sign = sign_of(why);

    *told =
        sign != SX_SYNC_OK; /* once for each change to the worse; the next message tells the gap */
    if (c->sync_state > SX_SYNC_REQUIRED || sign <= (enum sx_sync_state)c->sync_state)
        return SIMPLEX_OK;
    return set_state(a, c, sign, why, NULL);
}

simplex_rc sx_sync_read(struct simplex_agent *a, struct sx_conn *c)
{
    simplex_rc rc;

    /* In `started` it may be an old message that was still on its way; in an old copy it says no
     * more than that it was not read yet when the copy was made. */
    if (c->sync_state == SX_SYNC_OK || c->sync_state == SX_SYNC_STARTED || c->old_copy)
        return SIMPLEX_OK;
    rc = sx_store_x3dh_delete(a->store, c->id);
    if (rc == SIMPLEX_OK)
        rc = set_state(a, c, SX_SYNC_OK, SIMPLEX_OK, NULL);
    return rc == SIMPLEX_OK ? sx_switch_again(a, c) : rc;
}

/* ---- EREADY ---- */

static simplex_rc send_eready(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_EREADY };
    struct sx_outgoing o = { .type = SX_M_EREADY, .notify = true };
    int64_t id;

    msg.eready = c->last_rcv_ext_id;
    return sx_enqueue(a, c, &msg, &o, &id);
}

/* Its first message gives the receiving side of the agreement something to send with. */
simplex_rc sx_on_eready(struct simplex_agent *a, struct sx_conn *c, bool had_chain)
{
    return had_chain ? SIMPLEX_OK : send_eready(a, c);
}

/* ---- our keys ---- */

static simplex_rc new_keys(struct simplex_agent *a, const struct sx_conn *c, uint16_t version,
                           struct sx_x3dh_keys *k)
{
    if (a->fresh_keys == NULL)
        return sx_x3dh_keys_new(c->pq_support && version >= 3 && sx_kem_available(), k);
    *k = *a->fresh_keys;
    return SIMPLEX_OK;
}

/* A place in the hash chain, although the peer will not count it (section 4): the hash is the one
 * of the empty information "R". */
static void take_place(struct sx_conn *c)
{
    c->last_snd_id++;
    sx_sha256(sx_str("R"), c->last_snd_hash);
    c->has_snd_hash = true;
}

/*
 * The information that goes with keys: "R", of which the reference looks at nothing. Behind it
 * stands what a peer of ours has to know: that their side may have gone back in time, and have none
 * of ours any more; or, when they are sent once more, the hash of the keys that they answer, and a
 * number that tells this message from its repeats.
 */
#define INFO sx_str("R")
#define INFO_BACK sx_str("RB")
#define INFO_LEN (1 + 32 + 8)

static bool is_again(simplex_bytes info)
{
    return info.len == INFO_LEN;
}

static simplex_bytes info_again(const uint8_t answers[32], int64_t number, uint8_t info[INFO_LEN])
{
    struct sx_wr w;

    sx_wr_fixed(&w, info, INFO_LEN);
    sx_wr_u8(&w, 'R');
    sx_wr_raw(&w, sx_bytes(answers, 32));
    sx_wr_i64(&w, number);
    return sx_wr_bytes(&w);
}

/* When they are sent once more they have their place, and the peer, which knows them, must not look
 * for another (numbers.c). */
static simplex_rc send_keys(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_x3dh_keys *k, uint16_t version, simplex_bytes info)
{
    if (!is_again(info))
        take_place(c);
    struct sx_snd_msg m = { .conn_id = c->id,
                            .id = ++c->last_id,
                            .snd_id = c->last_snd_id,
                            .type = SX_ROW_RATCHET_KEY,
                            .notify = true,
                            .plain = info,
                            .key = sx_str(""),
                            .created_at = sx_now_ms() };
    struct sx_e2e_params params;
    struct sx_wr w;
    simplex_rc rc;

    sx_x3dh_params(k, (struct sx_range){ version, version }, &params);
    sx_wr_init(&w, 4096);
    sx_e2e_params_encode(&w, &params);
    m.e2e = sx_wr_bytes(&w);
    rc = w.bad ? SIMPLEX_E_NOMEM : sx_store_snd_msg_add(a->store, &m);
    sx_wr_free(&w);
    return rc == SIMPLEX_OK ? sx_add_deliveries(a, c->id, m.id) : rc;
}

static simplex_rc send_again(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_x3dh_keys *k, uint16_t version,
                             const uint8_t answers[32])
{
    uint8_t info[INFO_LEN];

    return send_keys(a, c, k, version, info_again(answers, c->last_id, info));
}

/* Keys that are still here reach the peer when it is time: others would only follow them. */
static simplex_rc keys_wait(struct simplex_agent *a, int64_t conn, bool *wait)
{
    struct sx_snd_queue q;
    struct sx_snd_msg m;
    simplex_rc rc = sx_store_sndq_of(a->store, conn, 0, &q);

    *wait = false;
    for (int64_t after = 0; rc == SIMPLEX_OK && !*wait; after = m.id) {
        rc = sx_store_delivery_next(a->store, q.id, after, &m);
        *wait = rc == SIMPLEX_OK && m.type == SX_ROW_RATCHET_KEY;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc start(struct simplex_agent *a, struct sx_conn *c, bool back)
{
    struct sx_x3dh_keys k;
    simplex_rc rc = new_keys(a, c, a->speaks.e2e.max, &k);

    if (rc == SIMPLEX_OK)
        rc = sx_store_x3dh_put(a->store, c->id, &k);
    if (rc == SIMPLEX_OK)
        rc = send_keys(a, c, &k, a->speaks.e2e.max, back ? INFO_BACK : INFO);
    sx_x3dh_keys_wipe(&k);
    c->sync_state = SX_SYNC_STARTED; /* the old ratchet stays: it may read what is on its way */
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, c) : rc;
}

simplex_rc sx_sync_start(struct simplex_agent *a, int64_t conn, bool force)
{
    struct sx_conn c;
    bool wait = false;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc != SIMPLEX_OK || c.deleted)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_NOT_FOUND;
    if (c.state != SX_CONN_READY || c.suspended) /* the answer could not come */
        return SIMPLEX_E_PROHIBITED;
    if (!force && c.sync_state != SX_SYNC_ALLOWED && c.sync_state != SX_SYNC_REQUIRED)
        return SIMPLEX_E_PROHIBITED;
    if (c.agent_version < SX_AGENT_SYNC)
        return SIMPLEX_E_VERSION;
    if (c.sync_state == SX_SYNC_STARTED)
        rc = keys_wait(a, conn, &wait);
    return rc == SIMPLEX_OK && !wait ? start(a, &c, c.old_copy || force) : rc;
}

simplex_rc sx_sync_undelivered(struct simplex_agent *a, int64_t conn, simplex_rc why,
                               const char *detail)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc != SIMPLEX_OK || c.sync_state < SX_SYNC_STARTED) /* superseded */
        return rc;
    rc = sx_store_x3dh_delete(a->store, conn);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = set_state(a, &c, SX_SYNC_REQUIRED, why, detail);
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, &c) : rc;
}

/* ---- the peer's keys ---- */

static void hash_keys(const struct sx_pub *k1, const struct sx_pub *k2, uint8_t hash[32])
{
    uint8_t both[2 * X448_LEN];

    memcpy(both, k1->b, X448_LEN);
    memcpy(both + X448_LEN, k2->b, X448_LEN);
    sx_sha256(sx_bytes(both, sizeof both), hash);
}

static void hash_own(const struct sx_x3dh_keys *own, uint8_t hash[32])
{
    hash_keys(&own->k1.pub, &own->k2.pub, hash);
}

static bool answer(simplex_bytes info, const struct sx_x3dh_keys *own)
{
    uint8_t hash[32];

    hash_own(own, hash);
    return is_again(info) && memcmp(info.ptr + 1, hash, sizeof hash) == 0;
}

/* The ratchet that is here is the one of these keys: its associated data are both k1. */
static simplex_rc in_use(struct simplex_agent *a, const struct sx_conn *c,
                         const struct sx_x3dh_keys *own, const struct sx_pub *peer, bool *yes)
{
    struct sx_ratchet r;
    simplex_rc rc = sx_store_ratchet_get_snd(a->store, c->id, &r);

    *yes = false;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    const uint8_t *own_ad = memcmp(r.ad, own->k1.pub.b, X448_LEN) == 0 ? r.ad : r.ad + X448_LEN;
    const uint8_t *peer_ad = own_ad == r.ad ? r.ad + X448_LEN : r.ad;
    *yes = memcmp(own_ad, own->k1.pub.b, X448_LEN) == 0 && memcmp(peer_ad, peer->b, X448_LEN) == 0;
    sx_ratchet_wipe(&r);
    return SIMPLEX_OK;
}

/* Each message with keys that are sent once more counts once: by its hash, beside those of keys. */
static simplex_rc first_time(struct simplex_agent *a, const struct sx_conn *c,
                             const uint8_t keys[32], simplex_bytes info, bool *yes)
{
    uint8_t both[32 + INFO_LEN], hash[32];
    int64_t now = sx_now_ms();
    bool known;

    memcpy(both, keys, 32);
    memcpy(both + 32, info.ptr, INFO_LEN);
    sx_sha256(sx_bytes(both, sizeof both), hash);
    simplex_rc rc = sx_store_key_hash_known(a->store, c->id, hash, &known);
    *yes = rc == SIMPLEX_OK && !known;
    return *yes ? sx_store_key_hash_add(a->store, c->id, hash, now, now - SX_HASH_TTL) : rc;
}

/*
 * Known keys that were sent once more say which of ours they answer. Our last ones: then they are
 * what to agree on, unless that was done. Earlier ones: the peer goes on with a ratchet that we
 * shall never have, until it hears of the last ones. Those are on their way while we wait; when we
 * have agreed on these the peer had them, and went on to others of ours that a slower queue kept.
 */
static simplex_rc known_again(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_e2e_params *peer, const uint8_t hash[32],
                              simplex_bytes info, bool *take)
{
    struct sx_x3dh_keys own;
    bool first = false, used = false;
    simplex_rc rc = sx_store_x3dh_get(a->store, c->id, &own);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    bool ours = answer(info, &own);
    if (!ours && c->sync_state == SX_SYNC_STARTED)
        c->crossed = true;
    else
        rc = first_time(a, c, hash, info, &first);
    if (rc == SIMPLEX_OK && first)
        rc = in_use(a, c, &own, &peer->k1, &used);
    *take = rc == SIMPLEX_OK && first && ours && !used;
    if (rc == SIMPLEX_OK && first && !ours && used)
        rc = send_again(a, c, &own, peer->v.max, hash);
    sx_x3dh_keys_wipe(&own);
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, c) : rc;
}

/* Keys that were seen before are a repeat: their server showed them twice, or a rotation had them
 * sent through the new queue as well; unless the peer, which did not know whether it had to, sent
 * them once more (own_keys) while there is something to agree on. More than SX_SYNC_KEYS_MAX in an
 * hour are a flood: each would cost an agreement and an answer. */
static simplex_rc take_keys(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_e2e_params *peer, const uint8_t hash[32],
                            simplex_bytes info, bool *take)
{
    int64_t now = sx_now_ms(), n;
    bool known, first;
    simplex_rc rc = sx_store_key_hash_known(a->store, c->id, hash, &known);

    *take = false;
    if (rc != SIMPLEX_OK || (known && (!is_again(info) || c->sync_state < SX_SYNC_STARTED)))
        return rc;
    rc = sx_store_key_hash_count(a->store, c->id, now - SX_SYNC_KEYS_TIME, now + SX_SYNC_KEYS_TIME,
                                 &n);
    if (rc != SIMPLEX_OK || (n >= SX_SYNC_KEYS_MAX && c->sync_state != SX_SYNC_STARTED))
        return rc;
    if (known)
        return known_again(a, c, peer, hash, info, take);
    *take = true;
    sx_note_other(c);
    if (is_again(info)) /* and not a second time */
        rc = first_time(a, c, hash, info, &first);
    return rc == SIMPLEX_OK ? sx_store_key_hash_add(a->store, c->id, hash, now, now - SX_HASH_TTL)
                            : rc;
}

/*
 * Ours, sent when this attempt was started here, or made for the answer.
 *
 * Further keys after both have agreed, as it seemed, are the answer to our last ones, when those
 * before answered earlier ones of ours, or the peer begins again. Who began here cannot tell,
 * unless they say it, so it agrees on them and sends its own once more: in the first case the peer
 * has them and ignores them. Who only answered takes it for the second case, once: after an old
 * copy was restored that may be wrong on both sides, and they would answer each other without end.
 * So both end with the last keys of both, however many attempts cross each other; the reference
 * stays in two minds (section 6.6).
 *
 * Who waits (`started`) sends its own once more when the peer went back in time: before that it may
 * have taken them, and its server shows them to nobody any more.
 */
static simplex_rc own_keys(struct simplex_agent *a, struct sx_conn *c, uint16_t version,
                           const uint8_t peer_hash[32], simplex_bytes peer_info,
                           struct sx_x3dh_keys *k)
{
    bool agreed = c->sync_state == SX_SYNC_AGREED;
    simplex_rc rc = SIMPLEX_E_NOT_FOUND;

    if (agreed || c->sync_state == SX_SYNC_STARTED)
        rc = sx_store_x3dh_get(a->store, c->id, k);
    if (rc == SIMPLEX_OK &&
        (answer(peer_info, k) || (!agreed && !sx_bytes_eq(peer_info, INFO_BACK))))
        return rc; /* it has them, or they are on their way */
    if (rc == SIMPLEX_OK)
        return send_again(a, c, k, version, peer_hash);
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = new_keys(a, c, version, k);
    if (rc == SIMPLEX_OK)
        rc = agreed ? sx_store_x3dh_put(a->store, c->id, k) : sx_store_x3dh_delete(a->store, c->id);
    return rc == SIMPLEX_OK ? send_keys(a, c, k, version, INFO) : rc;
}

/* The new ratchet takes the place of the old one. The larger hash sends first. */
static simplex_rc agree(struct simplex_agent *a, struct sx_conn *c, const struct sx_x3dh_keys *own,
                        const struct sx_e2e_params *peer, const uint8_t peer_hash[32])
{
    struct sx_ratchet r;
    uint8_t own_hash[32];
    simplex_rc rc;

    hash_own(own, own_hash);
    bool receives = memcmp(own_hash, peer_hash, sizeof own_hash) <= 0;
    rc = receives ? sx_ratchet_init_receive(&r, own, peer, c->pq_support)
                  : sx_ratchet_init_send_with(&r, peer, peer->v.max, own, NULL);
    if (rc != SIMPLEX_OK)
        return rc;
    r.max_supported = a->speaks.e2e.max;
    rc = sx_store_ratchet_put(a->store, c->id, &r, NULL);
    sx_ratchet_wipe(&r);
    c->old_copy = c->crossed = false;
    if (rc == SIMPLEX_OK)
        rc = set_state(a, c, SX_SYNC_AGREED, SIMPLEX_OK, NULL);
    if (rc == SIMPLEX_OK) /* the peer may never have read of them */
        rc = sx_add_end(a, c, SIMPLEX_E_PROHIBITED, NULL);
    return rc == SIMPLEX_OK && !receives ? send_eready(a, c) : rc;
}

simplex_rc sx_on_ratchet_key(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q, const struct sx_opened *o,
                             struct sx_incoming *in)
{
    const struct sx_e2e_params *peer = &o->env.e2e;
    struct sx_x3dh_keys own;
    uint8_t hash[32];
    bool take;
    simplex_rc rc;

    if (c->state != SX_CONN_READY && c->state != SX_CONN_ACCEPTED)
        return SIMPLEX_E_PROHIBITED;
    if (o->env.version < SX_AGENT_SYNC || peer->v.max < a->speaks.e2e.min ||
        peer->v.max > a->speaks.e2e.max)
        return SIMPLEX_E_VERSION;
    hash_keys(&peer->k1, &peer->k2, hash);
    rc = take_keys(a, c, peer, hash, o->env.body, &take);
    if (rc == SIMPLEX_OK && take)
        rc = sx_hold_keys(a, c, q, in);
    if (rc != SIMPLEX_OK || !take || in->hold)
        return rc;
    memset(&own, 0, sizeof own);
    rc = own_keys(a, c, peer->v.max, hash, o->env.body, &own);
    if (rc == SIMPLEX_OK)
        rc = agree(a, c, &own, peer, hash);
    sx_x3dh_keys_wipe(&own);
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, c) : rc;
}
