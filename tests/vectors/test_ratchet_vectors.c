/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays ratchet-v2.json, ratchet-v3.json and ratchet-v3-pq.json: X3DH, both first states, and
 * every step from its recorded state with its recorded randomness. One difference is on purpose:
 * after `pq` = off our sender keeps the ciphertext (protocol/agent.md sections 3.6 and 13), so
 * there the state is compared with the KEM part from before the step.
 */
#include <stdlib.h>

#include "ratchet/internal.h"
#include "support/vec.h"

struct counts {
    unsigned sessions, encrypt, decrypt, failed, drop, kept_ct;
};

struct stored { /* keys of skipped messages, as the steps so far recorded them */
    struct sx_skipped k[1100];
    size_t n;
};

static void to(void *out, simplex_bytes b, size_t n)
{
    assert_int_equal(b.len, n);
    memcpy(out, b.ptr, n);
}

static void pair_from(const cJSON *obj, const char *priv, const char *pub, struct sx_keypair *k)
{
    k->priv.alg = k->pub.alg = SX_X448;
    to(k->priv.b, vec_hex(obj, priv), SX_X448_LEN);
    to(k->pub.b, vec_hex(obj, pub), SX_X448_LEN);
}

static const cJSON *by_id(const cJSON *session, int64_t id)
{
    const cJSON *state = cJSON_GetArrayItem(vec_get(session, "states"), (int)id);

    assert_int_equal(vec_int(state, "id"), id);
    return state;
}

/* ---- recorded states to ours ---- */

static void load_kem(const cJSON *session, const cJSON *state, struct sx_ratchet *r)
{
    if (vec_opt(state, "kem_state") == NULL)
        return;
    const cJSON *kem =
        cJSON_GetArrayItem(vec_get(session, "kem_states"), (int)vec_int(state, "kem_state"));
    const cJSON *accepted = vec_opt(kem, "accepted");
    size_t at = (size_t)vec_int(kem, "pk_offset_in_sk");

    r->has_kem = true;
    to(r->kem.sk, vec_hex(kem, "sk"), SX_KEM_SK);
    memcpy(r->kem.pk, r->kem.sk + at, SX_KEM_PK);
    if (accepted == NULL)
        return;
    r->has_accepted = true;
    to(r->accepted.ct, vec_hex(accepted, "ct"), SX_KEM_CT);
    to(r->accepted.ss, vec_hex(accepted, "ss"), SX_KEM_SS);
    /* recorded as its hash only; no operation reads it */
    memset(r->accepted.pk, 0, SX_KEM_PK);
    to(r->accepted.pk, vec_hex(accepted, "peer_pk_sha256"), 32);
}

static void load_skipped(const cJSON *state, const struct stored *st, struct sx_ratchet *r)
{
    const cJSON *group, *n;

    vec_each(group, vec_get(state, "skipped"))
    {
        simplex_bytes hk = vec_hex(group, "hk");
        vec_each(n, vec_get(group, "n"))
        {
            size_t i = 0;
            while (i < st->n &&
                   (st->k[i].n != (uint32_t)n->valueint || memcmp(st->k[i].hk, hk.ptr, 32) != 0))
                i++;
            assert_true(i < st->n);
            assert_int_equal(sx_ratchet_add_skipped(r, &st->k[i]), SIMPLEX_OK);
        }
    }
}

static void load_chains(const cJSON *state, struct sx_ratchet *r)
{
    const cJSON *snd = vec_opt(state, "snd"), *rcv = vec_opt(state, "rcv");

    r->has_snd = snd != NULL;
    r->has_rcv = rcv != NULL;
    if (snd != NULL) {
        to(r->cks, vec_hex(snd, "cks"), 32);
        to(r->hks, vec_hex(snd, "hks"), 32);
    }
    if (rcv != NULL) {
        to(r->ckr, vec_hex(rcv, "ckr"), 32);
        to(r->hkr, vec_hex(rcv, "hkr"), 32);
    }
}

static void load(const cJSON *session, int64_t id, const struct stored *st, struct sx_ratchet *r)
{
    const cJSON *s = by_id(session, id);

    memset(r, 0, sizeof *r);
    r->current = (uint16_t)vec_int(s, "current");
    r->max_supported = (uint16_t)vec_int(s, "max_supported");
    to(r->ad, vec_hex(vec_get(session, "x3dh"), "ad"), SX_RATCHET_AD);
    pair_from(s, "dhs_priv", "dhs_pub", &r->dhs);
    r->support_kem = vec_bool(s, "support_kem");
    r->enable_kem = vec_bool(s, "enable_kem");
    r->snd_kem = vec_bool(s, "snd_kem");
    r->rcv_kem = vec_bool(s, "rcv_kem");
    to(r->rk, vec_hex(s, "rk"), 32);
    to(r->nhks, vec_hex(s, "nhks"), 32);
    to(r->nhkr, vec_hex(s, "nhkr"), 32);
    r->ns = (uint32_t)vec_int(s, "ns");
    r->nr = (uint32_t)vec_int(s, "nr");
    r->pn = (uint32_t)vec_int(s, "pn");
    load_kem(session, s, r);
    load_chains(s, r);
    load_skipped(s, st, r);
}

static int by_key(const void *a, const void *b)
{
    const struct sx_skipped *x = a, *y = b;
    int d = memcmp(x->hk, y->hk, 32);

    return d != 0 ? d : (x->n > y->n) - (x->n < y->n);
}

static void assert_same_skipped(struct sx_ratchet *got, struct sx_ratchet *want)
{
    assert_int_equal(got->n_skipped, want->n_skipped);
    if (got->n_skipped == 0)
        return;
    qsort(got->skipped, got->n_skipped, sizeof *got->skipped, by_key);
    qsort(want->skipped, want->n_skipped, sizeof *want->skipped, by_key);
    for (size_t i = 0; i < got->n_skipped; i++) {
        assert_int_equal(got->skipped[i].n, want->skipped[i].n);
        assert_memory_equal(got->skipped[i].hk, want->skipped[i].hk, 32);
        assert_memory_equal(got->skipped[i].mk, want->skipped[i].mk, 32);
        assert_memory_equal(got->skipped[i].iv, want->skipped[i].iv, 16);
    }
}

/* The recorded accepted.pk is a hash: bring a state of ours, which has the key, to that form. */
static void hash_accepted(struct sx_ratchet *r, const struct sx_ratchet *want)
{
    uint8_t h[32];

    if (!r->has_accepted || memcmp(r->accepted.pk, want->accepted.pk, SX_KEM_PK) == 0)
        return;
    sx_sha256(sx_bytes(r->accepted.pk, SX_KEM_PK), h);
    memset(r->accepted.pk, 0, SX_KEM_PK);
    memcpy(r->accepted.pk, h, 32);
}

/* Every field, by way of the encoding (chains that do not exist have no fields). */
static void assert_same_state(struct sx_ratchet *got, struct sx_ratchet *want)
{
    struct sx_wr a, b;

    hash_accepted(got, want);
    sx_wr_init(&a, 16384);
    sx_wr_init(&b, 16384);
    sx_ratchet_encode(&a, got);
    sx_ratchet_encode(&b, want);
    vec_assert_eq(sx_wr_bytes(&a), sx_wr_bytes(&b), "state");
    sx_wr_free(&a);
    sx_wr_free(&b);
    assert_same_skipped(got, want);
}

static void assert_state(const cJSON *session, int64_t id, const struct stored *st,
                         struct sx_ratchet *got)
{
    struct sx_ratchet want;

    load(session, id, st, &want);
    assert_same_state(got, &want);
    sx_ratchet_wipe(&want);
}

/* ---- X3DH ---- */

static void kem_pair_from(simplex_bytes pk, simplex_bytes sk, struct sx_kem_pair *k)
{
    to(k->pk, pk, SX_KEM_PK);
    to(k->sk, sk, SX_KEM_SK);
}

struct joiner_kem {
    uint8_t kind;
    struct sx_kem_pair pair;
    uint8_t ct[SX_KEM_CT], ss[SX_KEM_SS];
};

/* The library's private form: 'P' pk sk, or 'A' ct ss pk sk. */
static void kem_from(const cJSON *x3dh, const char *key, struct joiner_kem *k)
{
    simplex_bytes in = vec_hex_opt(x3dh, key);
    struct sx_rd r = sx_rd_init(in);

    memset(k, 0, sizeof *k);
    if (in.len == 0)
        return;
    k->kind = sx_rd_u8(&r);
    if (k->kind == SX_KEM_ACCEPTED) {
        to(k->ct, sx_rd_large(&r), SX_KEM_CT);
        to(k->ss, sx_rd_short(&r), SX_KEM_SS);
    }
    simplex_bytes pk = sx_rd_large(&r);
    kem_pair_from(pk, sx_rd_large(&r), &k->pair);
    assert_true(sx_rd_done(&r));
}

static void params_from(const cJSON *x3dh, const char *key, struct sx_e2e_params *p)
{
    struct sx_rd r = sx_rd_init(vec_hex(x3dh, key));

    sx_e2e_params_decode(&r, p);
    assert_true(sx_rd_done(&r));
}

static void assert_params(const struct sx_e2e_params *p, const cJSON *x3dh, const char *key)
{
    struct sx_wr w;

    sx_wr_init(&w, 8192);
    sx_e2e_params_encode(&w, p);
    assert_false(w.bad);
    vec_assert_eq(sx_wr_bytes(&w), vec_hex(x3dh, key), key);
    sx_wr_free(&w);
}

static void check_secret(const cJSON *x, const struct sx_x3dh_keys *i)
{
    const struct sx_priv *const priv[3] = { &i->k1.priv, &i->k2.priv, &i->k2.priv };
    struct sx_x3dh_secret s;
    struct sx_e2e_params j;

    params_from(x, "j_params_wire", &j);
    const struct sx_pub *const pub[3] = { &j.k2, &j.k1, &j.k2 };
    simplex_bytes ss = vec_hex_opt(x, "kem_ss");
    assert_int_equal(sx_x3dh_agree(priv, pub, ss.len > 0 ? ss.ptr : NULL, &s), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(s.hk, 32), vec_hex(x, "hk"), "hk");
    vec_assert_eq(sx_bytes(s.nhk, 32), vec_hex(x, "nhk"), "nhk");
    vec_assert_eq(sx_bytes(s.sk, 32), vec_hex(x, "sk"), "sk");
}

static void initiator_keys(const cJSON *x, uint16_t version, struct sx_x3dh_keys *own)
{
    struct joiner_kem kem;
    struct sx_e2e_params p;

    memset(own, 0, sizeof *own);
    pair_from(vec_get(x, "i_key1"), "priv", "pub", &own->k1);
    pair_from(vec_get(x, "i_key2"), "priv", "pub", &own->k2);
    kem_from(x, "i_kem", &kem);
    own->has_kem = kem.kind != SX_KEM_NONE;
    own->kem = kem.pair;
    sx_x3dh_params(own, (struct sx_range){ version, version }, &p);
    assert_params(&p, x, "i_params_wire");
}

static void start_initiator(const cJSON *session, const struct sx_x3dh_keys *own)
{
    const cJSON *x = vec_get(session, "x3dh");
    static const struct stored none;
    struct sx_ratchet r;
    struct sx_e2e_params peer;

    params_from(x, "j_params_wire", &peer);
    assert_int_equal(sx_ratchet_init_receive(&r, own, &peer, vec_bool(session, "i_pq_support")),
                     SIMPLEX_OK);
    r.max_supported = (uint16_t)vec_int(session, "max_supported_i");
    assert_state(session, vec_int(vec_get(session, "initial"), "I"), &none, &r);
    sx_ratchet_wipe(&r);
}

static void start_joiner(const cJSON *session, bool link_has_kem)
{
    const cJSON *x = vec_get(session, "x3dh");
    static const struct stored none;
    struct sx_keypair k1, k2, dh;
    struct joiner_kem kem;
    struct sx_x3dh_keys own = { .has_kem = false };
    struct sx_e2e_params peer, params;
    struct sx_ratchet r;
    uint16_t v = (uint16_t)vec_int(session, "version");

    pair_from(vec_get(x, "j_key1"), "priv", "pub", &k1);
    pair_from(vec_get(x, "j_key2"), "priv", "pub", &k2);
    pair_from(vec_get(x, "j_ratchet_key"), "priv", "pub", &dh);
    kem_from(x, "j_kem", &kem);
    params_from(x, "i_params_wire", &peer);
    const struct sx_ratchet_fresh fresh = { &k1, &k2, &dh, &kem.pair, kem.ct, kem.ss };
    if (link_has_kem && kem.kind == SX_KEM_PROPOSED) { /* as a re-synchronisation does */
        own = (struct sx_x3dh_keys){ k1, k2, true, kem.pair };
        sx_x3dh_params(&own, (struct sx_range){ v, v }, &params);
        assert_int_equal(sx_ratchet_init_send_with(&r, &peer, v, &own, &fresh), SIMPLEX_OK);
    } else {
        assert_int_equal(sx_ratchet_init_send(&r, &peer, v, vec_bool(session, "j_pq_support"), &own,
                                              &params, &fresh),
                         SIMPLEX_OK);
    }
    assert_params(&params, x, "j_params_wire");
    r.max_supported = (uint16_t)vec_int(session, "max_supported_j");
    assert_state(session, vec_int(vec_get(session, "initial"), "J"), &none, &r);
    sx_ratchet_wipe(&r);
}

static void check_x3dh(const cJSON *session)
{
    const cJSON *x = vec_get(session, "x3dh");
    struct sx_x3dh_keys own;

    initiator_keys(x, (uint16_t)vec_int(session, "version"), &own);
    check_secret(x, &own);
    start_initiator(session, &own);
    start_joiner(session, own.has_kem);
}

/* The last session of the PQ file has no steps: I refuses an answer to a key it never proposed.
 * (That J cannot accept without a proposal needs no check: reply_kem answers proposals only.) */
static void check_refusal(const cJSON *session)
{
    const cJSON *x = vec_get(session, "x3dh");
    struct sx_x3dh_keys own;
    struct sx_e2e_params peer;
    struct sx_ratchet r;

    assert_string_equal(vec_text(session, "i_error"), "KEM state");
    assert_string_equal(vec_text(session, "j_error"), "KEM state");
    initiator_keys(x, (uint16_t)vec_int(session, "version"), &own);
    params_from(x, "j_params_wire", &peer);
    assert_int_equal(peer.kem.kind, SX_KEM_ACCEPTED);
    assert_int_equal(sx_ratchet_init_receive(&r, &own, &peer, true), SIMPLEX_E_RATCHET_KEM);
}

/* ---- steps ---- */

static simplex_rc error_of(const cJSON *step, uint32_t *count)
{
    static const struct {
        const char *text;
        simplex_rc rc;
    } errors[] = {
        { "no sending chain", SIMPLEX_E_RATCHET_NO_CHAIN },
        { "too large", SIMPLEX_E_TOO_LARGE },
        { "header syntax", SIMPLEX_E_DECODE },
        { "header", SIMPLEX_E_RATCHET_HEADER },
        { "duplicate", SIMPLEX_E_RATCHET_DUPLICATE },
        { "earlier ", SIMPLEX_E_RATCHET_EARLIER },
        { "too many skipped ", SIMPLEX_E_RATCHET_SKIPPED },
        { "decrypt", SIMPLEX_E_RATCHET_AES },
    };

    *count = 0;
    if (vec_opt(step, "error") == NULL)
        return SIMPLEX_OK;
    const char *text = vec_text(step, "error");
    for (size_t i = 0; i < SX_COUNT(errors); i++) {
        size_t n = strlen(errors[i].text);
        if (strncmp(text, errors[i].text, n) == 0) {
            *count = (uint32_t)strtoul(text + n, NULL, 10);
            return errors[i].rc;
        }
    }
    fail_msg("unknown error '%s'", text);
    return SIMPLEX_E_INTERNAL;
}

static enum sx_pq_flag pq_of(const cJSON *step)
{
    const char *pq = vec_text(step, "pq");

    return strcmp(pq, "on") == 0 ? SX_PQ_ON : strcmp(pq, "off") == 0 ? SX_PQ_OFF : SX_PQ_KEEP;
}

static void check_body(const cJSON *step, const struct sx_msg_key *key, simplex_rc want)
{
    simplex_bytes plain = vec_hex(step, "plain");
    size_t padded = (size_t)vec_int(step, "padded_len");
    struct sx_wr w;
    uint8_t h[32];

    sx_wr_init(&w, 32768);
    assert_int_equal(sx_ratchet_encrypt_body(key, plain, padded, &w), want);
    if (want == SIMPLEX_OK) {
        vec_assert_eq(sx_bytes(key->mk, 32), vec_hex(step, "msg_key"), "msg_key");
        vec_assert_eq(sx_bytes(key->iv, 16), vec_hex(step, "msg_iv"), "msg_iv");
        sx_sha256(sx_bytes(key->emh, key->emh_len), h);
        vec_assert_eq(sx_bytes(h, 32), vec_hex(step, "encrypted_header_sha256"), "header");
        vec_assert_eq(sx_wr_bytes(&w), vec_hex(step, "encrypted"), "encrypted");
        assert_int_equal(w.len, sx_ratchet_msg_len(key, padded));
    } else {
        assert_int_equal(w.len, 0);
    }
    sx_wr_free(&w);
}

static void step_encrypt(const cJSON *session, const cJSON *step, const struct stored *st,
                         struct counts *c)
{
    struct sx_ratchet r, want;
    struct sx_msg_key key;
    enum sx_pq_flag pq = pq_of(step);
    uint32_t count;
    simplex_rc rc = error_of(step, &count);
    simplex_rc header_rc = rc == SIMPLEX_E_RATCHET_NO_CHAIN ? rc : SIMPLEX_OK;

    load(session, vec_int(step, "before"), st, &r);
    bool ct = r.has_accepted;
    assert_int_equal(
        sx_ratchet_encrypt_header_as(&r, pq, (uint16_t)vec_int(step, "supported_version"), &key),
        header_rc);
    if (header_rc == SIMPLEX_OK)
        check_body(step, &key, rc);
    load(session, vec_int(step, "after"), st, &want);
    if (pq == SX_PQ_OFF && ct) { /* the difference on purpose */
        assert_false(want.has_accepted);
        want.accepted = r.accepted;
        want.has_accepted = true;
        c->kept_ct++;
    }
    assert_same_state(&r, &want);
    sx_ratchet_wipe(&r);
    sx_ratchet_wipe(&want);
    c->encrypt++;
}

static void step_drop(const cJSON *session, const cJSON *step, const struct stored *st,
                      struct counts *c)
{
    struct sx_ratchet r;
    struct sx_msg_key key;
    uint16_t max = (uint16_t)vec_int(step, "supported_version");

    load(session, vec_int(step, "before"), st, &r);
    for (int64_t i = vec_int(step, "count"); i > 0; i--)
        assert_int_equal(sx_ratchet_encrypt_header_as(&r, SX_PQ_KEEP, max, &key), SIMPLEX_OK);
    assert_state(session, vec_int(step, "after"), st, &r);
    sx_ratchet_wipe(&r);
    c->drop++;
}

static simplex_bytes message_of(const cJSON *session, const cJSON *step)
{
    const cJSON *s;

    if (vec_opt(step, "encrypted") != NULL)
        return vec_hex(step, "encrypted");
    vec_each(s, vec_get(session, "steps")) if (strcmp(vec_text(s, "op"), "encrypt") == 0 &&
                                               strcmp(vec_text(s, "msg"), vec_text(step, "msg")) ==
                                                   0) return vec_hex(s, "encrypted");
    fail_msg("no message %s", vec_text(step, "msg"));
    return sx_bytes(NULL, 0);
}

/* Remembers the keys that the step added and compares what it says with the diff of ours. */
static void check_diff(const cJSON *step, const struct sx_ratchet *r,
                       const struct sx_skipped_diff *diff, struct stored *st)
{
    const cJSON *d = vec_opt(step, "skipped_diff"), *group, *k;
    const cJSON *add = cJSON_IsObject(d) ? vec_opt(d, "add") : NULL;
    const cJSON *gone = cJSON_IsObject(d) ? vec_opt(d, "remove") : NULL;
    size_t added = 0;

    vec_each(group, add)
    {
        vec_each(k, vec_get(group, "keys"))
        {
            struct sx_skipped *s = &st->k[st->n++];
            assert_true(st->n <= SX_COUNT(st->k));
            to(s->hk, vec_hex(group, "hk"), 32);
            s->n = (uint32_t)vec_int(k, "n");
            to(s->mk, vec_hex(k, "msg_key"), 32);
            to(s->iv, vec_hex(k, "msg_iv"), 16);
            const struct sx_skipped *ours = &r->skipped[r->n_skipped - diff->added + added++];
            assert_int_equal(ours->n, s->n);
            assert_memory_equal(ours->hk, s->hk, 32);
        }
    }
    assert_int_equal(diff->added, added);
    assert_int_equal(diff->removed, gone != NULL);
    if (gone != NULL) {
        assert_int_equal(diff->gone.n, vec_int(gone, "n"));
        vec_assert_eq(sx_bytes(diff->gone.hk, 32), vec_hex(gone, "hk"), "removed hk");
    }
}

static void step_decrypt(const cJSON *session, const cJSON *step, struct stored *st,
                         struct counts *c)
{
    struct sx_ratchet r, after;
    struct sx_ratchet_in res;
    simplex_bytes msg = message_of(session, step);
    uint8_t *plain = vec_keep(msg.len + 1);
    uint32_t count;
    simplex_rc want = error_of(step, &count);

    load(session, vec_int(step, "before"), st, &r);
    memset(&after, 0, sizeof after);
    const cJSON *end = by_id(session, vec_int(step, "after"));
    pair_from(end, "dhs_priv", "dhs_pub", &after.dhs);
    load_kem(session, end, &after);
    const struct sx_ratchet_fresh fresh = { .dh = &after.dhs,
                                            .kem = after.has_kem ? &after.kem : NULL,
                                            .ct = after.has_accepted ? after.accepted.ct : NULL,
                                            .ss = after.has_accepted ? after.accepted.ss : NULL };
    assert_int_equal(sx_ratchet_decrypt(&r, msg, plain, &res, &fresh), want);
    assert_int_equal(res.count, count);
    if (want == SIMPLEX_OK)
        vec_assert_eq(res.text, vec_hex(step, "plain"), "plain");
    assert_int_equal(res.saved, want == SIMPLEX_OK || vec_bool(step, "state_saved"));
    check_diff(step, &r, &res.diff, st);
    assert_state(session, vec_int(step, "after"), st, &r);
    sx_ratchet_wipe(&r);
    c->decrypt++;
    c->failed += want != SIMPLEX_OK;
}

static void replay(const cJSON *session, struct counts *c)
{
    struct stored *st = vec_keep(sizeof *st);
    const cJSON *step;

    print_message("%s\n", vec_text(session, "name"));
    c->sessions++;
    if (vec_opt(session, "steps") == NULL) {
        check_refusal(session);
        return;
    }
    memset(st, 0, sizeof *st);
    check_x3dh(session);
    vec_each(step, vec_get(session, "steps"))
    {
        const char *op = vec_text(step, "op");
        if (strcmp(op, "encrypt") == 0)
            step_encrypt(session, step, st, c);
        else if (strcmp(op, "decrypt") == 0)
            step_decrypt(session, step, st, c);
        else if (strcmp(op, "encrypt_and_drop") == 0)
            step_drop(session, step, st, c);
        else if (strcmp(op, "note") != 0 && strcmp(op, "save") != 0 &&
                 strcmp(op, "restore_saved") != 0) /* the states in the steps follow these */
            fail_msg("unknown step %s", op);
    }
}

static struct counts replay_file(const char *name)
{
    cJSON *doc = vec_load(name);
    const cJSON *session;
    struct counts c = { 0 };

    vec_each(session, vec_get(doc, "sessions"))
    {
        bool kem = cJSON_GetArraySize(vec_opt(session, "kem_states")) > 0;
        if (!kem || sx_kem_available())
            replay(session, &c);
    }
    cJSON_Delete(doc);
    return c;
}

static void assert_counts(struct counts got, struct counts all, struct counts without_kem)
{
    const struct counts *want = sx_kem_available() ? &all : &without_kem;

    assert_int_equal(got.sessions, want->sessions);
    assert_int_equal(got.encrypt, want->encrypt);
    assert_int_equal(got.decrypt, want->decrypt);
    assert_int_equal(got.failed, want->failed);
    assert_int_equal(got.drop, want->drop);
    assert_int_equal(got.kept_ct, want->kept_ct);
}

static void version_2_sessions_replay(void **state)
{
    (void)state;
    assert_counts(replay_file("ratchet-v2.json"), (struct counts){ 2, 45, 55, 14, 0, 0 },
                  (struct counts){ 1, 30, 40, 14, 0, 0 });
}

static void version_3_sessions_replay(void **state)
{
    (void)state;
    assert_counts(replay_file("ratchet-v3.json"), (struct counts){ 2, 45, 55, 16, 2, 1 },
                  (struct counts){ 1, 34, 44, 16, 2, 0 });
}

static void pq_sessions_replay(void **state)
{
    (void)state;
    assert_counts(replay_file("ratchet-v3-pq.json"), (struct counts){ 7, 61, 67, 7, 0, 3 },
                  (struct counts){ 1, 0, 0, 0, 0, 0 });
}

/*
 * The recorded session in which the reference fails in both directions: with our sender the
 * message behind the lost one decrypts, so does the lost one later, and so does the answer.
 */
static void lost_message_after_switching_off_breaks_nothing(void **state)
{
    if (!sx_kem_available())
        skip();
    (void)state;
    cJSON *doc = vec_load("ratchet-v3-pq.json");
    const cJSON *session = cJSON_GetArrayItem(vec_get(doc, "sessions"), 4);
    static const struct stored none;
    struct sx_ratchet i, j;
    struct sx_wr w[3];
    uint8_t plain[4096];

    assert_string_equal(vec_text(session, "name"),
                        "the first message after switching PQ off is lost");
    load(session, 7, &none, &i);
    load(session, 6, &none, &j);
    for (size_t n = 0; n < SX_COUNT(w); n++) {
        struct sx_msg_key key;
        struct sx_ratchet *from = n < 2 ? &i : &j, *to_ = n < 2 ? &j : &i;
        struct sx_ratchet_in res;

        sx_wr_init(&w[n], 8192);
        assert_int_equal(sx_ratchet_encrypt_header(from, n < 2 ? SX_PQ_OFF : SX_PQ_KEEP, &key),
                         SIMPLEX_OK);
        assert_int_equal(sx_ratchet_encrypt_body(&key, sx_str("text"), 100, &w[n]), SIMPLEX_OK);
        if (n == 0)
            continue; /* lost, for now */
        assert_int_equal(sx_ratchet_decrypt(to_, sx_wr_bytes(&w[n]), plain, &res, NULL),
                         SIMPLEX_OK);
        assert_true(sx_bytes_eq(res.text, sx_str("text")));
        if (n == 1)
            assert_int_equal(sx_ratchet_decrypt(&j, sx_wr_bytes(&w[0]), plain, &res, NULL),
                             SIMPLEX_OK);
    }
    for (size_t n = 0; n < SX_COUNT(w); n++)
        sx_wr_free(&w[n]);
    sx_ratchet_wipe(&i);
    sx_ratchet_wipe(&j);
    cJSON_Delete(doc);
}

static int setup(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(version_2_sessions_replay, vec_teardown),
        cmocka_unit_test_teardown(version_3_sessions_replay, vec_teardown),
        cmocka_unit_test_teardown(pq_sessions_replay, vec_teardown),
        cmocka_unit_test_teardown(lost_message_after_switching_off_breaks_nothing, vec_teardown),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
