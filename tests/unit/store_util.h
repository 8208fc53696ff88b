/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for each test of the store, and files as bytes. */
#ifndef STORE_UTIL_H
#define STORE_UTIL_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "support/vec.h"

struct tmp {
    char dir[64];
    char path[80];
    char log[80];
};

static inline int tmp_setup(void **state)
{
    struct tmp *t = calloc(1, sizeof *t);

    strcpy(t->dir, "/tmp/sx_store_XXXXXX");
    if (sx_crypto_init() != SIMPLEX_OK || mkdtemp(t->dir) == NULL)
        return -1;
    snprintf(t->path, sizeof t->path, "%s/db", t->dir);
    snprintf(t->log, sizeof t->log, "%s/db-wal", t->dir);
    *state = t;
    return 0;
}

static inline size_t tmp_files(const struct tmp *t, bool remove)
{
    DIR *d = opendir(t->dir);
    struct dirent *e;
    char path[400];
    size_t n = 0;

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        snprintf(path, sizeof path, "%s/%s", t->dir, e->d_name);
        if (remove)
            (void)unlink(path);
    }
    closedir(d);
    return n;
}

static inline int tmp_teardown(void **state)
{
    struct tmp *t = *state;

    (void)tmp_files(t, true);
    (void)rmdir(t->dir);
    free(t);
    return 0;
}

static inline struct sx_store_cfg tmp_cfg(const struct tmp *t)
{
    static const uint8_t key[32] = { 7, 7, 7 };

    return (struct sx_store_cfg){ .path = t->path, .key = { key, 32 }, .raw_key = true };
}

static inline struct sx_store *tmp_open(const struct tmp *t)
{
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s = NULL;

    assert_int_equal(sx_store_open(&cfg, &s), SIMPLEX_OK);
    assert_non_null(s);
    return s;
}

struct file {
    uint8_t *p;
    size_t n;
};

static inline struct file file_read(const char *path)
{
    struct file f = { NULL, 0 };
    FILE *in = fopen(path, "rb");

    if (in == NULL)
        return f;
    f.p = malloc(1 << 24);
    f.n = fread(f.p, 1, 1 << 24, in);
    fclose(in);
    return f;
}

static inline void file_write(const char *path, const void *p, size_t n)
{
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_int_equal(fwrite(p, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

/* Compares and frees. */
static inline bool file_unchanged(const char *path, struct file *old)
{
    struct file now = file_read(path);
    bool same = now.n == old->n && (now.n == 0 || memcmp(now.p, old->p, now.n) == 0) &&
                (now.p == NULL) == (old->p == NULL);

    free(now.p);
    free(old->p);
    return same;
}

static inline void ok(simplex_rc rc)
{
    assert_string_equal(simplex_rc_name(rc), "OK");
}

/* ---- rows ---- */

static inline struct sx_conn make_conn(void)
{
    struct sx_conn c = { .role = SX_INITIATOR,
                         .state = SX_CONN_READY,
                         .agent_version = 7,
                         .pq_support = true,
                         .subscribe = true,
                         .last_id = 12,
                         .last_snd_id = 5,
                         .last_rcv_ext_id = 6,
                         .received = 9,
                         .has_snd_hash = true,
                         .created_at = 1700000000123,
                         .sync_state = 1 };

    memset(c.last_snd_hash, 0xab, 32);
    return c;
}

static inline int64_t add_conn(struct sx_store *s)
{
    struct sx_conn c = make_conn();

    ok(sx_store_conn_add(s, &c));
    return c.id;
}

static inline struct sx_server make_server(const char *hosts_port)
{
    struct sx_server server;
    simplex_bytes password;
    char text[200];

    snprintf(text, sizeof text, "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@%s",
             hosts_port);
    ok(sx_server_parse(sx_str(text), &server, &password));
    return server;
}

static inline struct sx_rcv_queue make_rcvq(int64_t conn_id, uint8_t id)
{
    struct sx_rcv_queue q = { .conn_id = conn_id,
                              .has_srv_secret = true,
                              .mode = SX_MODE_MESSAGING,
                              .client_version = 4,
                              .status = SX_Q_SECURED,
                              .delete_errors = 3 };

    q.server = make_server("a.example,b.onion:7001");
    q.rcv_id.len = 24;
    memset(q.rcv_id.b, id, 24);
    q.snd_id.len = 3;
    memset(q.snd_id.b, 0x33, 3);
    ok(sx_keypair_new(SX_ED25519, &q.auth));
    ok(sx_keypair_new(SX_X25519, &q.dh));
    ok(sx_keypair_new(SX_X25519, &q.e2e));
    memset(q.srv_secret, 0x55, 32);
    return q;
}

static inline struct sx_snd_queue make_sndq(int64_t conn_id)
{
    struct sx_snd_queue q = {
        .conn_id = conn_id, .mode = SX_MODE_CONTACT, .client_version = 3, .status = SX_Q_NEW
    };
    struct sx_keypair k;

    q.server = make_server("c.example");
    q.snd_id.len = 24;
    memset(q.snd_id.b, 0x44, 24);
    ok(sx_keypair_new(SX_ED25519, &q.auth));
    ok(sx_keypair_new(SX_X25519, &k));
    q.e2e_pub = k.pub;
    memset(q.e2e_secret, 0x66, 32);
    return q;
}

static inline struct sx_ratchet make_ratchet(void)
{
    struct sx_ratchet r = { .current = 3,
                            .max_supported = 3,
                            .has_snd = true,
                            .has_rcv = true,
                            .ns = 4,
                            .nr = 9,
                            .pn = 2 };

    ok(sx_keypair_new(SX_X448, &r.dhs));
    memset(r.rk, 0x77, 32);
    return r;
}

/* When a child is killed whose work takes a time that only this machine knows: later each time
 * until it was too late, then earlier. Both come about, after few attempts. */
static inline unsigned next_kill(unsigned us, bool too_late)
{
    return too_late ? us / 2 : us + us / 2 + 1000;
}

static inline struct sx_skipped make_skipped(uint8_t hk, uint32_t n)
{
    struct sx_skipped k = { .n = n };

    memset(k.hk, hk, 32);
    memset(k.mk, (int)n, 32);
    memset(k.iv, hk + 1, 16);
    return k;
}

#endif
