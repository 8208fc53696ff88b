/* SPDX-License-Identifier: Apache-2.0 */
#include "web_cert.h"

#include <sys/stat.h>

#include "web.h"

#define PEM_MAX 65536

static simplex_rc read_file(const char *path, struct sx_wr *to, struct sx_errtext *err)
{
    const char *slash = strrchr(path, '/');
    char dir[SX_PATH_MAX] = ".";

    if (slash == NULL)
        return sx_file_read(dir, path, to, err);
    if ((size_t)(slash - path) >= sizeof(dir)) {
        sx_errtext_set(err, "the path %.60s... is too long", path);
        return SIMPLEX_E_ARG;
    }
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    return sx_file_read(dir, slash + 1, to, err);
}

static struct sx_web_stamp stamp_of(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct sx_web_stamp){ 0 };
    return (struct sx_web_stamp){ (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec,
                                  (int64_t)st.st_size, (uint64_t)st.st_ino };
}

static bool same(const struct sx_web_stamp *a, const struct sx_web_stamp *b)
{
    return a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns && a->size == b->size &&
           a->inode == b->inode;
}

bool sx_web_cert_changed(const struct sx_web_cert *c)
{
    struct sx_web_stamp cert = stamp_of(c->cert), key = stamp_of(c->key);

    return !same(&cert, &c->stamp[0]) || !same(&key, &c->stamp[1]);
}

static void explain(const struct sx_web_cert *c, simplex_rc rc, struct sx_errtext *err)
{
    switch (rc) {
    case SIMPLEX_E_CERT:
        sx_errtext_set(err,
                       "%s has no certificates in PEM that can be used: the site's own has to "
                       "be the first, those of its issuers follow (fullchain.pem of certbot)",
                       c->cert);
        break;
    case SIMPLEX_E_KEY:
        sx_errtext_set(err,
                       "%s is not the private key of the first certificate of %s, in PEM and "
                       "without a password: take both files of one certificate",
                       c->key, c->cert);
        break;
    case SIMPLEX_E_UNSUPPORTED:
        sx_errtext_set(err,
                       "browsers do not take the key %s: use RSA of 2048 bits or more, or "
                       "ECDSA P-256",
                       c->key);
        break;
    default:
        sx_errtext_set(err, "%s", simplex_rc_text(rc));
    }
}

static simplex_rc use(struct sx_web_cert *c, struct sx_tls_ctx *const *ctx, size_t n,
                      const struct sx_wr *chain, const struct sx_wr *key, struct sx_errtext *err)
{
    int64_t not_after = 0;
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++)
        if (ctx[i] != NULL)
            rc = sx_tls_ctx_set_web(ctx[i], sx_wr_bytes(chain), sx_wr_bytes(key), &not_after);
    if (rc != SIMPLEX_OK)
        explain(c, rc, err);
    else if (not_after < sx_now_ms() / 1000)
        sx_log(SX_LOG_WARN, "%s has expired, browsers refuse it: renew it", c->cert);
    return rc;
}

simplex_rc sx_web_cert_load(struct sx_web_cert *c, struct sx_tls_ctx *const *ctx, size_t n,
                            bool *key_at_fault, struct sx_errtext *err)
{
    struct sx_wr chain, key;
    bool key_fault = false;

    c->stamp[0] = stamp_of(c->cert); /* before they are read: a change meanwhile is seen later */
    c->stamp[1] = stamp_of(c->key);
    sx_wr_init(&chain, PEM_MAX);
    sx_wr_init(&key, PEM_MAX);
    simplex_rc rc = read_file(c->cert, &chain, err);
    if (rc == SIMPLEX_OK) {
        rc = read_file(c->key, &key, err);
        key_fault = rc != SIMPLEX_OK;
    }
    if (rc == SIMPLEX_OK) {
        rc = use(c, ctx, n, &chain, &key, err);
        key_fault = rc == SIMPLEX_E_KEY || rc == SIMPLEX_E_UNSUPPORTED;
    }
    if (key_at_fault != NULL)
        *key_at_fault = key_fault;
    sx_wr_free(&chain);
    sx_wr_free(&key); /* wiped */
    return rc;
}

simplex_rc sx_web_check(const char *cert, const char *key, bool *key_at_fault,
                        struct sx_errtext *err)
{
    struct sx_web_cert c = { .cert = cert, .key = key };
    struct sx_tls_ctx *ctx;

    *key_at_fault = false;
    simplex_rc rc = sx_tls_ctx_https(&ctx);
    if (rc == SIMPLEX_OK)
        rc = sx_web_cert_load(&c, &ctx, 1, key_at_fault, err);
    sx_tls_ctx_free(ctx);
    return rc;
}
