/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cycle_floor.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

#define HALVES 10 /* blocks of a cycle, each sealed and opened */
#define CYCLES 250
#define SAMPLE_MS 100

/* What one core works on while all of them measure: the steps of a cycle one after the other, with
 * a buffer for each block, as they come in a server. The same step over and over is faster. */
struct core {
    pthread_t thread;
    EVP_CIPHER_CTX *tls;
    struct sx_keypair sign;
    struct cycle_costs costs; /* sums over `cycles` */
    size_t cycles;
    struct cycle_sampler *sampler;
    double used_us; /* by the sampler */
    uint8_t buf[HALVES][SX_BLOCK + 64], out[HALVES][SX_BLOCK + 64];
};

/* Processor time: other work on the machine does not count. */
static double cpu_us(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        die("the clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Adds what `what` took to `sum`. */
#define MEASURE(sum, what)            \
    do {                              \
        double start_us = cpu_us();   \
        what;                         \
        (sum) += cpu_us() - start_us; \
    } while (0)

static void chacha(struct core *c, int i)
{
    static const uint8_t key[32] = { 1 }, iv[12] = { 2 };
    uint8_t tag[16];
    int n;

    if (EVP_EncryptInit_ex(c->tls, EVP_chacha20_poly1305(), NULL, key, iv) != 1 ||
        EVP_EncryptUpdate(c->tls, NULL, &n, iv, 5) != 1 ||
        EVP_EncryptUpdate(c->tls, c->out[i], &n, c->buf[i], SX_BLOCK) != 1 ||
        EVP_EncryptFinal_ex(c->tls, c->out[i] + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(c->tls, EVP_CTRL_AEAD_GET_TAG, 16, tag) != 1)
        die("ChaCha20-Poly1305");
}

static void box(struct core *c, int i, size_t len)
{
    static const uint8_t key[32] = { 4 }, nonce[24] = { 3 };
    struct sx_box_key k;

    sx_box_key_init(&k, key);
    sx_box_seal(&k, nonce, sx_bytes(c->buf[i], len), c->out[i]);
}

static void hkdf(void)
{
    static const uint8_t chain[32] = { 4 };
    uint8_t okm[88];

    must(sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(chain, sizeof(chain)), "SimpleXSbChain", okm,
                        sizeof(okm)),
         "HKDF");
}

static void signature(struct core *c, int i)
{
    simplex_bytes text = sx_bytes(c->buf[i], 8100);
    uint8_t sig[SX_SIG_MAX];
    size_t len;
    bool ok = false;

    MEASURE(c->costs.sign, must(sx_sign(&c->sign, text, sig, &len), "sign"));
    MEASURE(c->costs.verify, ok = sx_verify(&c->sign.pub, text, sx_bytes(sig, len)));
    if (!ok)
        die("verify");
}

static void cycle(struct core *c)
{
    for (int i = 0; i < HALVES; i++) {
        MEASURE(c->costs.hkdf, hkdf());
        MEASURE(c->costs.box, box(c, i, 16368));
        MEASURE(c->costs.tls, chacha(c, i));
    }
    MEASURE(c->costs.msg, box(c, 0, SX_MSG_PADDED));
    signature(c, 1);
    signature(c, 2);
}

static void core_open(struct core *c)
{
    c->tls = EVP_CIPHER_CTX_new();
    if (c->tls == NULL)
        die("memory");
    must(sx_keypair_new(SX_ED25519, &c->sign), "key");
}

/* The first one finds cold caches: it is not counted. */
static void measure_cycles(struct core *c, size_t n)
{
    struct cycle_costs before = c->costs;

    cycle(c);
    c->costs = before;
    for (size_t i = 0; i < n; i++)
        cycle(c);
    c->cycles += n;
}

static void *measure_core(void *arg)
{
    struct core *c = arg;

    core_open(c);
    measure_cycles(c, CYCLES);
    EVP_CIPHER_CTX_free(c->tls);
    return NULL;
}

static void start(struct core *core, size_t cores, void *(*work)(void *core))
{
    for (size_t i = 0; i < cores; i++)
        if (pthread_create(&core[i].thread, NULL, work, &core[i]) != 0)
            die("a thread");
}

/* Waits for all; the mean of their cycles. */
static struct cycle_costs join(struct core *core, size_t cores)
{
    struct cycle_costs mean = { 0 };
    double cycles = 0;

    for (size_t i = 0; i < cores; i++) {
        pthread_join(core[i].thread, NULL);
        cycles += (double)core[i].cycles;
    }
    for (size_t i = 0; i < cores && cycles > 0; i++) {
        const struct cycle_costs *c = &core[i].costs;
        mean.tls += c->tls / HALVES / cycles;
        mean.box += c->box / HALVES / cycles;
        mean.hkdf += c->hkdf / HALVES / cycles;
        mean.msg += c->msg / cycles;
        mean.sign += c->sign / 2 / cycles;
        mean.verify += c->verify / 2 / cycles;
    }
    return mean;
}

struct cycle_costs cycle_costs_measure(size_t cores)
{
    struct core *core = calloc(cores, sizeof(*core));

    if (core == NULL)
        die("memory");
    start(core, cores, measure_core);
    struct cycle_costs mean = join(core, cores);
    free(core);
    return mean;
}

/* ---- while something else runs ---- */

struct cycle_sampler {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool on, end;
    size_t cores;
    struct core core[];
};

/* False: it is over. */
static bool wait_turn(struct cycle_sampler *s)
{
    struct timespec until;
    int rc = 0;

    if (clock_gettime(CLOCK_REALTIME, &until) != 0)
        die("the clock");
    until.tv_nsec += SAMPLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->lock);
    while (!s->end && (!s->on || rc != ETIMEDOUT))
        rc = s->on ? pthread_cond_timedwait(&s->changed, &s->lock, &until)
                   : pthread_cond_wait(&s->changed, &s->lock);
    bool go_on = !s->end;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void *sample_core(void *arg)
{
    struct core *c = arg;

    core_open(c);
    while (wait_turn(c->sampler))
        measure_cycles(c, 1);
    EVP_CIPHER_CTX_free(c->tls);
    c->used_us = cpu_us();
    return NULL;
}

struct cycle_sampler *cycle_sampler_start(size_t cores)
{
    struct cycle_sampler *s = calloc(1, sizeof(*s) + cores * sizeof(s->core[0]));

    if (s == NULL || pthread_mutex_init(&s->lock, NULL) != 0 ||
        pthread_cond_init(&s->changed, NULL) != 0)
        die("memory");
    s->cores = cores;
    for (size_t i = 0; i < cores; i++)
        s->core[i].sampler = s;
    start(s->core, cores, sample_core);
    return s;
}

static void tell(struct cycle_sampler *s, bool *what, bool value)
{
    pthread_mutex_lock(&s->lock);
    *what = value;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void cycle_sampler_set(struct cycle_sampler *s, bool on)
{
    tell(s, &s->on, on);
}

struct cycle_costs cycle_sampler_stop(struct cycle_sampler *s, double *used_us)
{
    tell(s, &s->end, true);
    struct cycle_costs mean = join(s->core, s->cores);
    *used_us = 0;
    for (size_t i = 0; i < s->cores; i++)
        *used_us += s->core[i].used_us;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return mean;
}

/* ---- the floor ---- */

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
