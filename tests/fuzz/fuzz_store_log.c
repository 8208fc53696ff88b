/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store log. The first byte: 'm' replays its lines in memory, 'f' goes through the file, 's'
 * too, and skips damage. Whatever lives is written anew and must be read back without a warning
 * as the same lines.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "store_load.h"

#define LINES_MAX 4096
#define TEXT_MAX (8u << 20)

static char dir[] = "/tmp/sx-fuzz-slog-XXXXXX";
static char path[64];

struct text { /* lines one after the other */
    struct sx_wr w;
    size_t at[LINES_MAX + 1];
    size_t n;
};

static bool add_line(void *to, const struct sx_slog_record *r)
{
    struct text *t = to;

    CHECK(t->n < LINES_MAX);
    sx_slog_encode(&t->w, r);
    CHECK(!t->w.bad && t->w.len - t->at[t->n] <= SX_SLOG_LINE_MAX);
    t->at[++t->n] = t->w.len;
    return true;
}

static simplex_bytes line_of(const struct text *t, size_t i)
{
    return sx_bytes(t->w.p + t->at[i], t->at[i + 1] - t->at[i]);
}

static int by_bytes(const void *a, const void *b)
{
    const simplex_bytes *x = a;
    const simplex_bytes *y = b;
    int c = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);

    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

/* The order of the queues is that of the index, which has random keys. */
static void check_same(const struct text *a, const struct text *b)
{
    static simplex_bytes x[LINES_MAX], y[LINES_MAX];

    CHECK(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        x[i] = line_of(a, i);
        y[i] = line_of(b, i);
    }
    qsort(x, a->n, sizeof(x[0]), by_bytes);
    qsort(y, b->n, sizeof(y[0]), by_bytes);
    for (size_t i = 0; i < a->n; i++)
        CHECK(sx_bytes_eq(x[i], y[i]));
}

static struct sx_store *new_store(void)
{
    struct sx_qstore_cfg cfg = { .quota = 4 };
    struct sx_store *st;

    CHECK(sx_qstore_open(&cfg, &st) == SIMPLEX_OK);
    return st;
}

static struct text *text_of(struct sx_store *st)
{
    struct text *t = calloc(1, sizeof(*t));

    CHECK(t != NULL);
    sx_wr_init(&t->w, TEXT_MAX);
    CHECK(sx_load_rewrite(st, add_line, t));
    return t;
}

static void free_text(struct text *t)
{
    sx_wr_free(&t->w);
    free(t);
}

/* ---- in memory ---- */

static void replay_line(struct sx_store *st, simplex_bytes line, struct sx_slog_scratch *s,
                        bool must_fit)
{
    struct sx_slog_record r;
    const char *what;
    simplex_rc rc = sx_slog_decode(line, s, &r, &what);

    CHECK((rc == SIMPLEX_OK) == (what == NULL));
    if (rc == SIMPLEX_OK)
        rc = sx_load_record(st, &r);
    CHECK(rc != SIMPLEX_E_NOMEM && (!must_fit || rc == SIMPLEX_OK));
}

static void in_memory(simplex_bytes in)
{
    struct sx_slog_scratch s;
    struct sx_store *st = new_store();
    struct sx_store *again = new_store();
    const uint8_t *lf;
    size_t lines = 0;

    sx_slog_scratch_init(&s);
    while (lines++ < LINES_MAX && (lf = memchr(in.ptr, '\n', in.len)) != NULL) {
        size_t n = (size_t)(lf - in.ptr);
        replay_line(st, sx_bytes(in.ptr, n), &s, false);
        in = sx_bytes(in.ptr + n + 1, in.len - n - 1);
    }
    struct text *a = text_of(st);
    for (size_t i = 0; i < a->n; i++)
        replay_line(again, line_of(a, i), &s, true);
    struct text *b = text_of(again);
    check_same(a, b);
    free_text(a);
    free_text(b);
    sx_slog_scratch_wipe(&s);
    sx_qstore_close(st);
    sx_qstore_close(again);
}

/* ---- through the file ---- */

static void no_warning(void *user, const char *text)
{
    (void)user;
    (void)text;
    CHECK(false);
}

static simplex_rc load(struct sx_store *st, bool skip, bool clean)
{
    char problem[256];
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_load_cfg cfg = { .path = path,
                               .skip_damage = skip,
                               .warn = clean ? no_warning : NULL };
    struct sx_slog *log;
    simplex_rc rc = sx_store_load(st, &cfg, NULL, &err, &log);

    CHECK((rc == SIMPLEX_OK) == (log != NULL));
    CHECK(sx_slog_close(log) == SIMPLEX_OK);
    return rc;
}

static void empty_dir(void)
{
    char name[320];
    const struct dirent *e;
    DIR *d = opendir(dir);

    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        (void)snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            CHECK(unlink(name) == 0);
    }
    (void)closedir(d);
}

static void in_file(simplex_bytes in, bool skip)
{
    struct sx_store *st = new_store();
    struct sx_store *again = new_store();
    FILE *f = fopen(path, "wb");

    CHECK(f != NULL && fwrite(in.ptr, 1, in.len, f) == in.len && fclose(f) == 0);
    simplex_rc rc = load(st, skip, false);
    CHECK(rc == SIMPLEX_OK || (rc == SIMPLEX_E_DB_DAMAGED && !skip));
    if (rc == SIMPLEX_OK) {
        CHECK(load(again, false, true) == SIMPLEX_OK);
        struct text *a = text_of(st);
        struct text *b = text_of(again);
        check_same(a, b);
        free_text(a);
        free_text(b);
    }
    sx_qstore_close(st);
    sx_qstore_close(again);
    empty_dir();
}

static void remove_dir(void)
{
    empty_dir();
    rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (path[0] == 0) {
        CHECK(sx_crypto_init() == SIMPLEX_OK && mkdtemp(dir) != NULL);
        snprintf(path, sizeof(path), "%s/store.log", dir);
        atexit(remove_dir);
    }
    if (size == 0 || size > (1u << 20))
        return 0;
    if (data[0] == 'm')
        in_memory(sx_bytes(data + 1, size - 1));
    else if (data[0] == 'f' || data[0] == 's')
        in_file(sx_bytes(data + 1, size - 1), data[0] == 's');
    return 0;
}
