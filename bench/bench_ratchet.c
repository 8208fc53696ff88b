/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ratchet costs beside the primitives it cannot do without, measured in the same run:
 * encryption and decryption in one chain against its AES-GCM and HKDF calls, a change of
 * direction against its X448 operations, and with PQ against X448 and sntrup761.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ratchet/internal.h"
#include "ratchet_peers.h"

#define PADDED 15840
#define PAYLOAD (PADDED - 2)
#define ROUNDS 7

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Microseconds of one call: the median of some rounds, each as long as 60 ms. */
static double measure(bool (*fn)(void *), void *arg, const char *what)
{
    double us[ROUNDS];

    must(fn(arg), what); /* warms up */
    for (size_t n = 0; n < ROUNDS; n++) {
        int64_t start = sx_mono_us(), now = start;
        unsigned calls = 0;

        while (now - start < 60000) {
            for (unsigned i = 0; i < 8; i++, calls++)
                must(fn(arg), what);
            now = sx_mono_us();
        }
        us[n] = (double)(now - start) / calls;
    }
    qsort(us, ROUNDS, sizeof us[0], by_value);
    return us[ROUNDS / 2];
}

/* ---- the floor ---- */

static uint8_t text[PADDED + 4096], sealed[PADDED + 4096];

static bool hkdf(void *arg)
{
    struct sx_chain_keys k;

    return sx_chain_kdf(arg, &k) == SIMPLEX_OK;
}

/* Encryption and decryption of n bytes with the associated data of a ratchet message. */
static bool gcm(size_t n, size_t ad2)
{
    static const uint8_t key[32], iv[16], ad[SX_RATCHET_AD + 400];
    uint8_t tag[SX_GCM_TAG];
    simplex_bytes a = sx_bytes(ad, SX_RATCHET_AD), b = sx_bytes(ad, ad2);

    return sx_gcm_encrypt(key, iv, 16, a, b, sx_bytes(text, n), sealed, tag) == SIMPLEX_OK &&
           sx_gcm_decrypt(key, iv, 16, a, b, sx_bytes(sealed, n), tag, text) == SIMPLEX_OK;
}

static bool message_floor(void *arg)
{
    return hkdf(arg) && hkdf(arg) && gcm(SX_HEADER_PAD, 0) && gcm(PADDED, 124);
}

static bool x448_floor(void *arg)
{
    struct sx_keypair *own = arg, fresh;
    uint8_t out[SX_DH_MAX];

    return sx_dh(&own->priv, &own->pub, out) == SIMPLEX_OK &&
           sx_keypair_new(SX_X448, &fresh) == SIMPLEX_OK &&
           sx_dh(&fresh.priv, &own->pub, out) == SIMPLEX_OK;
}

static bool pq_floor(void *arg)
{
    static struct sx_kem_pair k;
    static uint8_t ct[SX_KEM_CT], ss[SX_KEM_SS];

    return x448_floor(arg) && sx_kem_keypair(k.pk, k.sk) == SIMPLEX_OK &&
           sx_kem_encaps(k.pk, ct, ss) == SIMPLEX_OK && sx_kem_decaps(ct, k.sk, ss) == SIMPLEX_OK;
}

/* ---- ours ---- */

struct pair {
    struct sx_ratchet side[2];
    unsigned turn; /* who sends next */
};

static bool move(struct pair *p, unsigned from, size_t payload, size_t padded)
{
    static uint8_t plain[sizeof sealed];
    struct sx_msg_key key;
    struct sx_ratchet_in res;
    struct sx_wr w;

    sx_wr_fixed(&w, sealed, sizeof sealed);
    return sx_ratchet_encrypt_header(&p->side[from], SX_PQ_KEEP, &key) == SIMPLEX_OK &&
           sx_ratchet_encrypt_body(&key, sx_bytes(text, payload), padded, &w) == SIMPLEX_OK &&
           sx_ratchet_decrypt(&p->side[1 - from], sx_wr_bytes(&w), plain, &res, NULL) ==
               SIMPLEX_OK &&
           res.text.len == payload;
}

static bool same_chain(void *arg)
{
    return move(arg, 0, PAYLOAD, PADDED);
}

static bool turn(void *arg)
{
    struct pair *p = arg;

    p->turn = 1 - p->turn;
    return move(p, p->turn, TURN_PAYLOAD, TURN_PAYLOAD + 2);
}

static void start(struct pair *p, bool pq)
{
    struct sx_x3dh_keys own, joiner;
    struct sx_e2e_params link, reply;

    must(sx_x3dh_keys_new(pq, &own) == SIMPLEX_OK, "keys");
    sx_x3dh_params(&own, (struct sx_range){ 3, 3 }, &link);
    must(sx_ratchet_init_send(&p->side[0], &link, 3, pq, &joiner, &reply, NULL) == SIMPLEX_OK &&
             sx_ratchet_init_receive(&p->side[1], &own, &reply, pq) == SIMPLEX_OK,
         "start");
    p->turn = 1;
    for (int n = 0; n < 4; n++)
        must(turn(p), "first messages");
}

/* ---- the table ---- */

static void row(const char *what, double us, double floor, const char *of)
{
    if (floor > 0)
        printf("%-44s %10.1f %10.1f %7.2f  %s\n", what, us, floor, us / floor, of);
    else
        printf("%-44s %10.1f %10s %7s  %s\n", what, us, "-", "-", of);
}

static void ours(void)
{
    static struct pair p;
    static uint8_t ck[32];
    struct sx_keypair k;

    must(sx_keypair_new(SX_X448, &k) == SIMPLEX_OK, "X448 pair");
    start(&p, false);
    row("libsimplex, one chain, 15840 bytes", measure(same_chain, &p, "message"),
        measure(message_floor, ck, "AES-GCM, HKDF"), "2 HKDF, AES-GCM of header and body");
    p.turn = 0; /* the last ones went from 0 to 1 */
    row("libsimplex, turn, 100 bytes", measure(turn, &p, "turn"), measure(x448_floor, &k, "X448"),
        "2 X448 agreements, 1 key pair");
    sx_ratchet_wipe(&p.side[0]);
    sx_ratchet_wipe(&p.side[1]);
    if (!sx_kem_available())
        return;
    start(&p, true);
    must(p.side[0].snd_kem && p.side[1].snd_kem, "PQ");
    row("libsimplex, turn with PQ, 100 bytes", measure(turn, &p, "PQ turn"),
        measure(pq_floor, &k, "X448, sntrup761"), "and sntrup761: pair, encapsulate, decapsulate");
    sx_ratchet_wipe(&p.side[0]);
    sx_ratchet_wipe(&p.side[1]);
}

static void other(bool (*open)(struct ratchet_peer *, size_t))
{
    struct ratchet_peer p;
    char line[64];

    must(open(&p, PAYLOAD), "session of another library");
    (void)snprintf(line, sizeof line, "%s, one chain, %d bytes", p.name, PAYLOAD);
    row(line, measure(p.same_chain, p.pair, p.name), 0, "no header encryption");
    must(p.turn(p.pair), p.name);
    (void)snprintf(line, sizeof line, "%s, turn, %d bytes", p.name, TURN_PAYLOAD);
    row(line, measure(p.turn, p.pair, p.name), 0, "X25519");
}

int main(void)
{
    must(sx_crypto_init() == SIMPLEX_OK, "crypto");
    printf("%-44s %10s %10s %7s\n", "encrypt + decrypt of one message", "us", "floor us", "ratio");
    ours();
#ifdef HAVE_SIGNAL
    other(ratchet_peer_signal);
#endif
#ifdef HAVE_OLM
    other(ratchet_peer_olm);
#endif
    (void)other;
    return 0;
}
