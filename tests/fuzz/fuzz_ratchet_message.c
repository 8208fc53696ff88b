/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decryption. The first byte says what the rest is: a whole message, or the plain header of one
 * that is sealed here with a key the ratchet knows, so that the fuzzer gets behind the GCM.
 *   bit 0: whole message     bits 1-2: header key (receiving, next, skipped)
 *   bit 3: header version 2  bit 4: the body opens, when the number is the next of its chain
 *   bit 5: own KEM pair      bit 6: wants the KEM
 * What must hold: a state that is not to be saved is as it was; the skipped keys change by what
 * the difference says.
 */
#include "fuzz_check.h"

#include "ratchet/internal.h"

#define BODY 64

enum { WHOLE = 1, KEY_SHIFT = 1, VERSION_2 = 8, GOOD_BODY = 16, OWN_KEM = 32, WANTS_KEM = 64 };

static struct sx_keypair dh_pair(uint8_t fill)
{
    struct sx_priv priv = { .alg = SX_X448 };
    struct sx_keypair k;

    memset(priv.b, fill, SX_X448_LEN);
    CHECK(sx_keypair_from_priv(&priv, &k) == SIMPLEX_OK);
    return k;
}

/* The same in every run: a chain at message 5 with message 2 missing. */
static void fixed_ratchet(struct sx_ratchet *r, uint8_t flags)
{
    static struct sx_keypair dhs;
    static struct sx_kem_pair kem;
    struct sx_skipped s = { .n = 2 };

    if (dhs.pub.alg == SX_NO_KEY) {
        dhs = dh_pair(7);
        if (sx_kem_available())
            CHECK(sx_kem_keypair(kem.pk, kem.sk) == SIMPLEX_OK);
    }
    memset(r, 0, sizeof *r);
    r->current = r->max_supported = 3;
    r->dhs = dhs;
    r->has_snd = r->has_rcv = true;
    r->nr = 5;
    r->ns = 4;
    memset(r->rk, 1, 32);
    memset(r->ckr, 2, 32);
    memset(r->hkr, 3, 32);
    memset(r->nhkr, 4, 32);
    memset(r->nhks, 5, 32);
    r->has_kem = (flags & OWN_KEM) != 0 && sx_kem_available();
    if (r->has_kem)
        r->kem = kem;
    r->enable_kem = (flags & WANTS_KEM) != 0;
    memset(s.hk, 6, 32);
    memset(s.mk, 8, 32);
    CHECK(sx_ratchet_add_skipped(r, &s) == SIMPLEX_OK);
}

/* The message key that the body is sealed with: right for the next of the chain and the skipped. */
static void body_key(const struct sx_ratchet *r, unsigned which, struct sx_msg_key *key)
{
    struct sx_chain_keys k;

    CHECK(sx_chain_kdf(r->ckr, &k) == SIMPLEX_OK);
    memcpy(key->mk, which == 2 ? r->skipped[0].mk : k.mk, 32);
    memcpy(key->iv, which == 2 ? r->skipped[0].iv : k.iv, 16);
}

static size_t seal(const struct sx_ratchet *r, uint8_t flags, simplex_bytes header, uint8_t *out,
                   size_t size)
{
    unsigned which = flags >> KEY_SHIFT & 3;
    const uint8_t *hk = which == 2 ? r->skipped[0].hk : which == 1 ? r->nhkr : r->hkr;
    size_t padded = header.len + 2 < SX_HEADER_PAD ? SX_HEADER_PAD : SX_HEADER_PAD_PQ;
    static const uint8_t iv[16];
    struct sx_msg_key key = { .version = (flags & VERSION_2) != 0 ? 2 : 3 };
    struct sx_wr w;

    if (header.len + 2 > padded)
        return 0;
    if (key.version == 2)
        padded = SX_HEADER_PAD;
    if (header.len + 2 > padded)
        return 0;
    sx_wr_fixed(&w, key.emh, sizeof key.emh);
    sx_wr_u16(&w, key.version);
    sx_wr_raw(&w, sx_bytes(iv, sizeof iv));
    uint8_t *tag = sx_wr_space(&w, SX_GCM_TAG);
    if (key.version == 2)
        sx_wr_u8(&w, (uint8_t)padded);
    else
        sx_wr_u16(&w, (uint16_t)padded);
    uint8_t *body = sx_wr_space(&w, padded);
    CHECK(!w.bad && sx_pad(header, body, padded) == SIMPLEX_OK);
    CHECK(sx_gcm_encrypt(hk, iv, 16, sx_bytes(r->ad, sizeof r->ad), sx_bytes(NULL, 0),
                         sx_bytes(body, padded), body, tag) == SIMPLEX_OK);
    key.emh_len = (uint16_t)w.len;
    if ((flags & GOOD_BODY) != 0)
        body_key(r, which, &key);
    sx_wr_fixed(&w, out, size);
    CHECK(sx_ratchet_encrypt_body(&key, sx_str("text"), BODY, &w) == SIMPLEX_OK);
    return w.len;
}

static void check(struct sx_ratchet *r, simplex_bytes msg, uint8_t *plain)
{
    static uint8_t before[8192], after[8192];
    const struct sx_keypair fresh_dh = r->dhs;
    const struct sx_ratchet_fresh fresh = { .dh = &fresh_dh };
    struct sx_ratchet_in res;
    struct sx_wr a, b;
    size_t skipped = r->n_skipped;

    sx_wr_fixed(&a, before, sizeof before);
    sx_ratchet_encode(&a, r);
    simplex_rc rc = sx_ratchet_decrypt(r, msg, plain, &res, &fresh);
    CHECK(rc != SIMPLEX_OK ||
          (res.saved && res.text.ptr >= plain && res.text.ptr + res.text.len <= plain + msg.len));
    CHECK(rc == SIMPLEX_OK || res.text.len == 0);
    CHECK(r->n_skipped == skipped + res.diff.added - (res.diff.removed ? 1 : 0));
    CHECK(res.diff.added <= 2 * SX_RATCHET_MAX_SKIP);
    sx_wr_fixed(&b, after, sizeof after);
    sx_ratchet_encode(&b, r);
    CHECK(!a.bad && !b.bad);
    if (!res.saved)
        CHECK(sx_bytes_eq(sx_wr_bytes(&a), sx_wr_bytes(&b)) && r->n_skipped == skipped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sealed[4096];
    struct sx_ratchet r;

    if (size == 0)
        return 0;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    fixed_ratchet(&r, data[0]);
    simplex_bytes msg = { data + 1, size - 1 };
    if ((data[0] & WHOLE) == 0)
        msg = sx_bytes(sealed, seal(&r, data[0], msg, sealed, sizeof sealed));
    uint8_t *plain = sx_malloc(msg.len);
    if (plain != NULL)
        check(&r, msg, plain);
    sx_free(plain);
    sx_ratchet_wipe(&r);
    return 0;
}
