/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without a fuzzer: every file of the corpus directory given, and a few hundred
 * changed copies of each. The changes are the same in every run; any compiler can build it.
 */
#include <dirent.h>
#include <stdio.h>

#include "fuzz.h"

#define CHANGES 300 /* for each seed */
#define SEED_MAX ((size_t)1 << 20)

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 17;
    rng_state ^= rng_state << 5;
    return below > 0 ? rng_state % below : 0;
}

/* From a copy of exactly this size, so that a sanitizer sees any read behind the end. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = calloc(1, n > 0 ? n : 1); /* gcc takes malloc for uninitialised */

    CHECK(copy != NULL);
    if (n > 0)
        memcpy(copy, data, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static const uint8_t odd[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, '0', '1', 'T', 'F', '#', ' ', '\n' };

/* One change of buf, which has room for twice `n` bytes; the new length. */
static size_t change(uint8_t *buf, size_t n)
{
    size_t at = rng((uint32_t)n), len = 1 + rng((uint32_t)(n - at));

    switch (rng(6)) {
    case 0:
        buf[at] ^= (uint8_t)(1u << rng(8));
        return n;
    case 1:
        buf[at] = odd[rng(SX_COUNT(odd))];
        return n;
    case 2: /* ends early */
        return at;
    case 3: /* a piece is missing */
        len = at + len > n ? n - at : len;
        memmove(buf + at, buf + at + len, n - at - len);
        return n - len;
    case 4: /* a piece comes twice */
        len = at + len > n ? n - at : len;
        memmove(buf + at + len, buf + at, n - at);
        return n + len;
    default: /* as a length: one more or one less */
        buf[at] = (uint8_t)(buf[at] + (rng(2) == 0 ? 1 : -1));
        return n;
    }
}

static void run_changed(const uint8_t *seed, size_t n)
{
    if (n == 0)
        return;
    uint8_t *buf = malloc(16 * n);
    CHECK(buf != NULL);
    for (unsigned i = 0; i < CHANGES; i++) {
        size_t len = n;

        memcpy(buf, seed, n);
        for (unsigned k = 1 + rng(3); k > 0 && len > 0; k--)
            len = change(buf, len);
        run(buf, len);
    }
    free(buf);
}

static bool run_file(const char *dir, const char *name)
{
    char path[1024];

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return false;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    uint8_t *data = malloc(SEED_MAX);
    CHECK(data != NULL);
    size_t n = fread(data, 1, SEED_MAX, f);
    bool ok = ferror(f) == 0;
    (void)fclose(f);
    rng_state = 0x9e3779b9u ^ (uint32_t)n; /* for each file alone: new seeds change nothing */
    run(data, n);
    run_changed(data, n);
    free(data);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned files = 0;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s corpus-directory\n", argv[0]);
        return 2;
    }
    run(NULL, 0);
    DIR *d = opendir(argv[1]);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        if (!run_file(argv[1], e->d_name)) {
            (void)fprintf(stderr, "cannot read %s/%s\n", argv[1], e->d_name);
            return 1;
        }
        files++;
    }
    if (d != NULL)
        (void)closedir(d);
    (void)printf("%u seeds, %u changes each\n", files, CHANGES);
    return files > 0 ? 0 : 1; /* a target without a corpus would test nothing */
}
