/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cycle_floor.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/crypto.h"
#include "wire/smp.h"

static void die(const char *what)
{
    fprintf(stderr, "measuring cryptography: %s failed\n", what);
    exit(1);
}

static void must(simplex_rc rc, const char *what)
{
    if (rc != SIMPLEX_OK)
        die(what);
}

static uint8_t buf[SX_BLOCK + 64], out[SX_BLOCK + 64];

/* Processor time: other work on the machine does not count. */
static double cpu_us(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        die("the clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

#define MEASURE(result, times, what)                        \
    do {                                                    \
        double start_us = cpu_us();                         \
        for (int t_ = 0; t_ < (times); t_++)                \
            what;                                           \
        (result) = (cpu_us() - start_us) / (double)(times); \
    } while (0)

static void chacha(EVP_CIPHER_CTX *ctx)
{
    static const uint8_t key[32] = { 1 }, iv[12] = { 2 };
    uint8_t tag[16];
    int n;

    if (EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, iv) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &n, iv, 5) != 1 ||
        EVP_EncryptUpdate(ctx, out, &n, buf, SX_BLOCK) != 1 ||
        EVP_EncryptFinal_ex(ctx, out + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) != 1)
        die("ChaCha20-Poly1305");
}

struct cycle_costs cycle_costs_measure(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    struct sx_box_key k;
    struct sx_keypair sign;
    uint8_t nonce[24] = { 3 }, okm[88], ck[32] = { 4 }, sig[SX_SIG_MAX];
    size_t sig_len;
    struct cycle_costs c;
    bool ok = true;

    if (ctx == NULL)
        die("memory");
    sx_box_key_init(&k, ck);
    must(sx_keypair_new(SX_ED25519, &sign), "key");
    for (int warm = 0; warm < 2; warm++) {
        MEASURE(c.tls, 2000, chacha(ctx));
        MEASURE(c.box, 2000, sx_box_seal(&k, nonce, sx_bytes(buf, 16368), out));
        MEASURE(c.msg, 2000, sx_box_seal(&k, nonce, sx_bytes(buf, SX_MSG_PADDED), out));
        MEASURE(c.hkdf, 2000,
                must(sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, sizeof(ck)), "SimpleXSbChain",
                                    okm, sizeof(okm)),
                     "HKDF"));
        MEASURE(c.sign, 500, must(sx_sign(&sign, sx_bytes(buf, 8100), sig, &sig_len), "sign"));
        MEASURE(c.verify, 500,
                ok &= sx_verify(&sign.pub, sx_bytes(buf, 8100), sx_bytes(sig, sig_len)));
    }
    if (!ok)
        die("verify");
    EVP_CIPHER_CTX_free(ctx);
    return c;
}

/* Blocks (SEND, OK, MSG, ACK, OK: five), each sealed and opened, on TLS and on the session; two
 * signatures made and verified; one message encrypted for its recipient. */
double cycle_floor(const struct cycle_costs *c, double blocks)
{
    return 2 * blocks * (c->tls + c->box + c->hkdf) + 2 * (c->sign + c->verify) + c->msg;
}

void cycle_costs_print(const struct cycle_costs *c)
{
    printf("prescribed cryptography of one cycle, server and both clients (us):\n");
    printf("  10 x ChaCha20-Poly1305, 16 KB (TLS)         %8.1f\n", 10 * c->tls);
    printf("  10 x XSalsa20-Poly1305, 16 KB (blocks)      %8.1f\n", 10 * c->box);
    printf("  10 x HKDF-SHA512 (block keys)               %8.1f\n", 10 * c->hkdf);
    printf("   1 x XSalsa20-Poly1305, 16 KB (MSG body)    %8.1f\n", c->msg);
    printf("   2 x Ed25519 signature made and verified    %8.1f\n", 2 * (c->sign + c->verify));
    printf("  sum                                         %8.1f\n", cycle_floor(c, 5));
}
