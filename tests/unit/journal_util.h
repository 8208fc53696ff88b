/* SPDX-License-Identifier: Apache-2.0 */
/* A journal in a folder of its own, what it loaded, and its files as bytes. */
#ifndef JOURNAL_UTIL_H
#define JOURNAL_UTIL_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal.h"
#include "journal_internal.h"
#include "support/vec.h"

#define MAX_LOADED 20000

struct jt {
    char dir[64];
    struct sx_journal *j;
    pthread_mutex_t stripes[SX_STORE_SHARDS];
    struct sx_journal_cfg cfg;
    struct sx_msg *loaded[MAX_LOADED];
    size_t count;
    const uint8_t *refused; /* load refuses messages of this queue */
    char err[600];
    char warned[1024]; /* the last one */
    unsigned warnings;
};

static inline bool jt_load(void *user, const uint8_t *rid, struct sx_msg *m)
{
    struct jt *t = user;

    if (t->refused != NULL && memcmp(t->refused, rid, SX_ID_LEN) == 0)
        return false;
    assert_true(t->count < MAX_LOADED);
    assert_memory_equal(rid, m->journal.rid, SX_ID_LEN);
    t->loaded[t->count++] = m;
    return true;
}

static inline void jt_warn(void *user, const char *text)
{
    struct jt *t = user;

    t->warnings++;
    snprintf(t->warned, sizeof t->warned, "%s", text);
}

static inline struct jt *jt_new_in(const char *base)
{
    struct jt *t = calloc(1, sizeof *t);

    assert_non_null(t);
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    snprintf(t->dir, sizeof t->dir, "%s/sx_journal_XXXXXX", base);
    assert_non_null(mkdtemp(t->dir));
    for (size_t i = 0; i < SX_STORE_SHARDS; i++)
        assert_int_equal(pthread_mutex_init(&t->stripes[i], NULL), 0);
    t->cfg = (struct sx_journal_cfg){ .dir = t->dir,
                                      .segment_size = SX_SEGMENT_MIN,
                                      .stripes = t->stripes,
                                      .load = jt_load,
                                      .warn = jt_warn,
                                      .user = t };
    return t;
}

static inline struct jt *jt_new(void)
{
    return jt_new_in("/tmp");
}

static inline simplex_rc jt_try(struct jt *t)
{
    struct sx_errtext err = { t->err, sizeof t->err };

    t->err[0] = '\0';
    return sx_journal_open(&t->cfg, &err, &t->j);
}

static inline void jt_open(struct jt *t)
{
    simplex_rc rc = jt_try(t);

    if (rc != SIMPLEX_OK)
        print_message("%s\n", t->err);
    assert_int_equal(rc, SIMPLEX_OK);
}

static inline void jt_close(struct jt *t)
{
    sx_journal_close(t->j);
    t->j = NULL;
    while (t->count > 0)
        sx_msg_unref(t->loaded[--t->count]);
}

static inline void jt_reopen(struct jt *t)
{
    jt_close(t);
    jt_open(t);
}

static inline void jt_each_file(const char *dir,
                                void (*f)(const char *path, const char *name, void *arg), void *arg)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[400];

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "%.100s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            f(path, e->d_name, arg);
    }
    closedir(d);
}

static inline void jt_remove_one(const char *path, const char *name, void *arg)
{
    (void)name;
    (void)arg;
    (void)unlink(path);
}

static inline void jt_free(struct jt *t)
{
    jt_close(t);
    jt_each_file(t->dir, jt_remove_one, NULL);
    assert_int_equal(rmdir(t->dir), 0);
    free(t);
}

/* ---- files ---- */

static inline uint8_t *jt_read(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    *len = (size_t)st.st_size;
    assert_int_equal(read(fd, p, *len), st.st_size);
    close(fd);
    return p;
}

static inline void jt_write(const char *path, const uint8_t *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && write(fd, p, len) == (ssize_t)len);
    close(fd);
}

static inline void jt_copy_one(const char *path, const char *name, void *arg)
{
    char to[400];
    size_t len;
    uint8_t *p = jt_read(path, &len);

    (void)snprintf(to, sizeof to, "%.100s/%.255s", (const char *)arg, name);
    jt_write(to, p, len);
    free(p);
}

/* Another folder with the same files, as a killed process leaves them: opened, not closed. */
static inline struct jt *jt_snapshot(struct jt *t)
{
    struct jt *copy = jt_new();

    jt_each_file(t->dir, jt_copy_one, copy->dir);
    return copy;
}

static inline void jt_segment_path(const struct jt *t, uint32_t number, char path[160])
{
    char name[SX_SEGMENT_NAME];

    sx_segment_name(number, name);
    snprintf(path, 160, "%s/%s", t->dir, name);
}

static inline void jt_count_one(const char *path, const char *name, void *arg)
{
    (void)path;
    *(size_t *)arg += strlen(name) == 14 && strcmp(name + 10, ".seg") == 0;
}

static inline size_t jt_segments(const struct jt *t)
{
    size_t n = 0;

    jt_each_file(t->dir, jt_count_one, &n);
    return n;
}

/* ---- messages ---- */

static inline void jt_body(const struct sx_msg *m, uint8_t *to)
{
    for (size_t i = 0; i < m->len; i++)
        to[i] = (uint8_t)(m->id[i % SX_ID_LEN] + i);
}

/* Its body follows from its random id. */
static inline struct sx_msg *jt_msg(size_t len)
{
    struct sx_msg *m = sx_calloc(1, sizeof(*m) + len);

    assert_non_null(m);
    atomic_init(&m->refs, 1);
    m->len = (uint16_t)len;
    m->ts_ms = 1234567;
    sx_random(m->id, SX_ID_LEN);
    jt_body(m, m->body);
    return m;
}

static inline void jt_check(const struct sx_msg *m)
{
    static _Thread_local uint8_t want[SX_BODY_MAX];

    jt_body(m, want);
    assert_memory_equal(m->body, want, m->len);
    assert_int_equal(m->ts_ms, 1234567);
}

/* All messages of a test are in the queue with the id n n n ... unless said otherwise. */
static inline const uint8_t *jt_rid(uint8_t n, uint8_t rid[SX_ID_LEN])
{
    memset(rid, n, SX_ID_LEN);
    return rid;
}

static inline bool jt_try_add(struct jt *t, uint8_t queue, struct sx_msg *m)
{
    uint8_t rid[SX_ID_LEN];
    unsigned stripe = queue % SX_STORE_SHARDS;

    pthread_mutex_lock(&t->stripes[stripe]);
    bool ok = sx_journal_add(t->j, stripe, jt_rid(queue, rid), m);
    pthread_mutex_unlock(&t->stripes[stripe]);
    return ok;
}

/* The reference of the queue is the caller's. */
static inline struct sx_msg *jt_add(struct jt *t, uint8_t queue, size_t len)
{
    struct sx_msg *m = jt_msg(len);

    assert_true(jt_try_add(t, queue, m));
    return m;
}

static inline bool jt_try_del(struct jt *t, struct sx_msg *m)
{
    unsigned stripe = m->journal.rid[0] % SX_STORE_SHARDS;

    pthread_mutex_lock(&t->stripes[stripe]);
    bool ok = sx_journal_del(t->j, stripe, m);
    pthread_mutex_unlock(&t->stripes[stripe]);
    return ok;
}

static inline void jt_del(struct jt *t, struct sx_msg *m)
{
    assert_true(jt_try_del(t, m));
    sx_msg_unref(m);
}

static inline void jt_forget(struct jt *t, struct sx_msg *m)
{
    unsigned stripe = m->journal.rid[0] % SX_STORE_SHARDS;

    pthread_mutex_lock(&t->stripes[stripe]);
    sx_journal_forget(t->j, stripe, m);
    pthread_mutex_unlock(&t->stripes[stripe]);
    sx_msg_unref(m);
}

/* What keeps the queues has been synced. */
static inline void jt_let_go(struct jt *t)
{
    sx_journal_note_forgotten(t->j);
    sx_journal_let_go(t->j);
}

static inline void jt_sync(struct jt *t)
{
    assert_int_equal(sx_journal_sync(t->j), SIMPLEX_OK);
}

static inline void jt_tidy(struct jt *t)
{
    for (unsigned i = 0; sx_journal_tidy(t->j); i++)
        assert_true(i < 100000); /* it ends */
}

/* What was loaded is exactly this, in this order. */
static inline void jt_expect(struct jt *t, struct sx_msg *const *want, size_t n)
{
    assert_int_equal(t->count, n);
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(t->loaded[i]->id, want[i]->id, SX_ID_LEN);
        assert_int_equal(t->loaded[i]->len, want[i]->len);
        jt_check(t->loaded[i]);
    }
}

#endif
