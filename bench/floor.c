/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/floor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "wire/smp.h"

#define TIMES 300

static uint8_t buf[SX_BLOCK + 64], out[SX_BLOCK + 64];

static void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        abort();
}

/* One block on a session: a key step and the box; TLS below it costs a ChaCha20-Poly1305 over the
 * same bytes, for which the box stands in (both are a stream cipher with Poly1305). */
static void block(const struct sx_box_key *k, const uint8_t nonce[24])
{
    uint8_t okm[88], ck[32] = { 1 };

    must(sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, sizeof ck), "SimpleXSbChain", okm,
                        sizeof okm));
    sx_box_seal(k, nonce, sx_bytes(buf, 16368), out); /* block encryption */
    sx_box_seal(k, nonce, sx_bytes(buf, 16384), out); /* TLS */
}

static void ratchet_side(void)
{
    uint8_t okm[96], ck[32] = { 2 }, key[32] = { 3 }, iv[16] = { 4 }, tag[16];
    simplex_bytes ad = sx_bytes(buf, 235);

    must(sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, sizeof ck), "SimpleXChainRatchet", okm,
                        sizeof okm));
    must(sx_gcm_encrypt(key, iv, 16, ad, sx_bytes(NULL, 0), sx_bytes(buf, 88), out, tag));
    must(sx_gcm_encrypt(key, iv, 16, ad, sx_bytes(NULL, 0), sx_bytes(buf, 15840), out, tag));
}

/* SEND, OK, MSG, ACK, OK: five blocks, each sealed and opened. */
static void message(const struct sx_keypair *sign, const struct sx_box_key *k)
{
    uint8_t nonce[24] = { 5 }, sig[SX_SIG_MAX];
    size_t n;

    ratchet_side();
    ratchet_side();
    for (int side = 0; side < 2; side++) {
        sx_box_seal(k, nonce, sx_bytes(buf, 16000), out); /* the queue's layer */
        sx_box_seal(k, nonce, sx_bytes(buf, 16106), out); /* the server's layer */
    }
    for (int b = 0; b < 10; b++)
        block(k, nonce);
    must(sx_sign(sign, sx_bytes(buf, 16100), sig, &n)); /* SEND */
    if (!sx_verify(&sign->pub, sx_bytes(buf, 16100), sx_bytes(sig, n)))
        abort();
    must(sx_sign(sign, sx_bytes(buf, 100), sig, &n)); /* ACK */
    if (!sx_verify(&sign->pub, sx_bytes(buf, 100), sx_bytes(sig, n)))
        abort();
}

/* Two agreements and a new pair. */
static void ratchet_step(const struct sx_keypair *peer)
{
    struct sx_keypair own;
    uint8_t secret[SX_DH_MAX];

    must(sx_keypair_new(SX_X448, &own));
    must(sx_dh(&own.priv, &peer->pub, secret));
    must(sx_dh(&peer->priv, &own.pub, secret));
}

/* X3DH and the first ratchet steps: 6 agreements each side and 3 pairs; keys of 2 queues each;
 * NEW, SKEY, SEND, ACK in both directions, 20 blocks. */
static void connection(const struct sx_keypair *sign, const struct sx_box_key *k)
{
    struct sx_keypair x448, other;
    uint8_t secret[SX_DH_MAX], sig[SX_SIG_MAX], nonce[24] = { 6 };
    size_t n;

    must(sx_keypair_new(SX_X448, &other));
    for (int i = 0; i < 6; i++)
        must(sx_keypair_new(SX_X448, &x448));
    for (int i = 0; i < 12; i++)
        must(sx_dh(&x448.priv, &other.pub, secret));
    for (int i = 0; i < 10; i++) {
        must(sx_keypair_new(SX_X25519, &x448));
        must(sx_sign(sign, sx_bytes(buf, 200), sig, &n));
        if (!sx_verify(&sign->pub, sx_bytes(buf, 200), sx_bytes(sig, n)))
            abort();
    }
    for (int b = 0; b < 40; b++)
        block(k, nonce);
    ratchet_side();
    ratchet_side();
}

struct floor measure_floor(void)
{
    struct sx_keypair sign, x448;
    struct sx_box_key k;
    struct floor f;
    uint8_t secret[32] = { 7 };

    must(sx_crypto_init());
    must(sx_keypair_new(SX_ED25519, &sign));
    sx_box_key_init(&k, secret);
    message(&sign, &k); /* warm up */
    int64_t start = sx_mono_us();
    for (int i = 0; i < TIMES; i++)
        message(&sign, &k);
    f.message_us = (double)(sx_mono_us() - start) / TIMES;
    must(sx_keypair_new(SX_X448, &x448));
    start = sx_mono_us();
    for (int i = 0; i < TIMES; i++)
        ratchet_step(&x448);
    f.step_us = (double)(sx_mono_us() - start) / TIMES;
    start = sx_mono_us();
    for (int i = 0; i < TIMES / 10; i++)
        connection(&sign, &k);
    f.connect_ms = (double)(sx_mono_us() - start) / (TIMES / 10) / 1e3;
    return f;
}

double measure_sync_us(const char *dir)
{
    char path[512];
    static uint8_t page[24576];
    int fd;

    (void)snprintf(path, sizeof path, "%s/sync", dir);
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;
    int64_t start = sx_mono_us();
    for (int i = 0; i < 200; i++) {
        if (pwrite(fd, page, sizeof page, (off_t)(i % 100) * (off_t)sizeof page) < 0 ||
            fdatasync(fd) != 0)
            break;
    }
    double us = (double)(sx_mono_us() - start) / 200;
    (void)close(fd);
    (void)unlink(path);
    return us;
}
