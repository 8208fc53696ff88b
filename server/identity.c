/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_MAX 65536
#define PATH_SIZE 4096

void sx_errtext_set(struct sx_errtext *e, const char *fmt, ...)
{
    va_list ap;

    if (e->to == NULL || e->size == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(e->to, e->size, fmt, ap);
    va_end(ap);
}

static bool path_of(char to[PATH_SIZE], const char *dir, const char *name)
{
    int n = snprintf(to, PATH_SIZE, "%s/%s", dir, name);

    return n > 0 && n < PATH_SIZE;
}

/* Appends the file to w. */
static simplex_rc read_file(const char *dir, const char *name, struct sx_wr *w,
                            struct sx_errtext *err)
{
    char path[PATH_SIZE];
    uint8_t buf[4096];
    size_t n;

    if (!path_of(path, dir, name))
        return SIMPLEX_E_ARG;
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        sx_errtext_set(err, "cannot read %s: %s", path, strerror(errno));
        return SIMPLEX_E_SYSTEM;
    }
    while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
        sx_wr_raw(w, sx_bytes(buf, n));
    bool failed = ferror(f) != 0;
    fclose(f);
    sx_wipe(buf, sizeof(buf));
    if (failed || w->bad) {
        sx_errtext_set(err, "cannot read %s, or it is too large", path);
        return SIMPLEX_E_SYSTEM;
    }
    return SIMPLEX_OK;
}

static bool write_all(int fd, simplex_bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n <= 0)
            return false;
        b.ptr += n;
        b.len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

static simplex_rc write_file(const char *dir, const char *name, simplex_bytes b, mode_t mode,
                             struct sx_errtext *err)
{
    char path[PATH_SIZE];

    if (!path_of(path, dir, name))
        return SIMPLEX_E_ARG;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write_all(fd, b);
    if (!ok)
        sx_errtext_set(err, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok ? SIMPLEX_OK : SIMPLEX_E_SYSTEM;
}

static simplex_rc print_fingerprint(const struct sx_identity *c, struct sx_wr *w)
{
    sx_b64url_encode(w, sx_bytes(c->fingerprint, sizeof(c->fingerprint)));
    sx_wr_u8(w, '\n');
    return w->bad ? SIMPLEX_E_INTERNAL : SIMPLEX_OK;
}

/* What everything else needs, from the PEM texts. */
static simplex_rc parse(struct sx_identity *c)
{
    simplex_rc rc = sx_pem_chain(sx_wr_bytes(&c->chain_pem), &c->der, &c->chain);

    if (rc == SIMPLEX_OK)
        rc = sx_chain_fingerprint(&c->chain, c->fingerprint);
    if (rc == SIMPLEX_OK)
        rc = sx_pem_key(sx_wr_bytes(&c->key_pem), &c->leaf);
    return rc;
}

static bool key_fits(const struct sx_identity *c)
{
    struct sx_pub leaf;

    return sx_chain_leaf_key(&c->chain, &leaf) == SIMPLEX_OK && sx_pub_eq(&leaf, &c->leaf.pub);
}

/* ca.key and fingerprint first, server.crt last: its presence says that all of it is there. */
static simplex_rc save(const struct sx_identity *c, const struct sx_server_certs *made,
                       const char *dir, struct sx_errtext *err)
{
    uint8_t text[64];
    struct sx_wr w;

    sx_wr_fixed(&w, text, sizeof(text));
    simplex_rc rc = print_fingerprint(c, &w);
    if (rc == SIMPLEX_OK)
        rc = write_file(dir, "ca.key", sx_wr_bytes(&made->ca_key), 0600, err);
    if (rc == SIMPLEX_OK)
        rc = write_file(dir, "ca.crt", sx_wr_bytes(&made->ca_cert), 0644, err);
    if (rc == SIMPLEX_OK)
        rc = write_file(dir, "server.key", sx_wr_bytes(&made->key), 0600, err);
    if (rc == SIMPLEX_OK)
        rc = write_file(dir, "fingerprint", sx_wr_bytes(&w), 0644, err);
    if (rc == SIMPLEX_OK)
        rc = write_file(dir, "server.crt", sx_wr_bytes(&made->cert), 0644, err);
    return rc;
}

static simplex_rc make(struct sx_identity *c, const char *dir, const char *host,
                       struct sx_errtext *err)
{
    struct sx_server_certs made;
    simplex_rc rc = sx_certs_make(SX_ED25519, host, &made);

    if (rc != SIMPLEX_OK) {
        sx_errtext_set(err, "cannot make certificates for host %s: %s", host, simplex_rc_text(rc));
        return rc;
    }
    sx_wr_raw(&c->chain_pem, sx_wr_bytes(&made.cert));
    sx_wr_raw(&c->chain_pem, sx_wr_bytes(&made.ca_cert));
    sx_wr_raw(&c->key_pem, sx_wr_bytes(&made.key));
    rc = c->chain_pem.bad || c->key_pem.bad ? SIMPLEX_E_NOMEM : parse(c);
    if (rc == SIMPLEX_OK && dir != NULL) {
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
            sx_errtext_set(err, "cannot create the directory %s: %s", dir, strerror(errno));
            rc = SIMPLEX_E_SYSTEM;
        } else {
            rc = save(c, &made, dir, err);
        }
    }
    sx_certs_free(&made);
    return rc;
}

static simplex_rc check_fingerprint(const struct sx_identity *c, const char *dir,
                                    struct sx_errtext *err)
{
    uint8_t want[64];
    struct sx_wr w, have;

    sx_wr_fixed(&w, want, sizeof(want));
    simplex_rc rc = print_fingerprint(c, &w);
    sx_wr_init(&have, PEM_MAX);
    if (rc == SIMPLEX_OK)
        rc = read_file(dir, "fingerprint", &have, err);
    simplex_bytes text = sx_wr_bytes(&have);
    if (text.len > 0 && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (rc == SIMPLEX_OK && !sx_bytes_eq(text, sx_bytes(want, w.len - 1))) {
        sx_errtext_set(err,
                       "%s/fingerprint belongs to another ca.crt: clients know the server by it, "
                       "so restore the right ca.crt from a backup (to start with a "
                       "new identity, remove all files of the directory)",
                       dir);
        rc = SIMPLEX_E_FINGERPRINT;
    }
    sx_wr_free(&have);
    return rc;
}

static simplex_rc load(struct sx_identity *c, const char *dir, struct sx_errtext *err)
{
    simplex_rc rc = read_file(dir, "server.crt", &c->chain_pem, err);

    if (rc == SIMPLEX_OK)
        rc = read_file(dir, "ca.crt", &c->chain_pem, err);
    if (rc == SIMPLEX_OK)
        rc = read_file(dir, "server.key", &c->key_pem, err);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = parse(c);
    if (rc != SIMPLEX_OK || !key_fits(c)) {
        sx_errtext_set(err, "the certificates in %s cannot be used: %s", dir,
                       rc != SIMPLEX_OK ? simplex_rc_text(rc)
                                        : "server.key is not the key of server.crt");
        return SIMPLEX_E_CERT;
    }
    return check_fingerprint(c, dir, err);
}

simplex_rc sx_identity_load(struct sx_identity *c, const char *dir, const char *host,
                            struct sx_errtext *err)
{
    char path[PATH_SIZE];
    simplex_rc rc;

    memset(c, 0, sizeof(*c));
    sx_wr_init(&c->chain_pem, PEM_MAX);
    sx_wr_init(&c->key_pem, PEM_MAX);
    sx_wr_init(&c->der, PEM_MAX);
    if (dir != NULL && !path_of(path, dir, "server.crt"))
        return SIMPLEX_E_ARG;
    if (dir != NULL && access(path, F_OK) == 0)
        rc = load(c, dir, err);
    else
        rc = make(c, dir, host, err);
    if (rc != SIMPLEX_OK)
        sx_identity_wipe(c);
    return rc;
}

void sx_identity_wipe(struct sx_identity *c)
{
    sx_wr_free(&c->chain_pem);
    sx_wr_free(&c->key_pem);
    sx_wr_free(&c->der);
    sx_keypair_wipe(&c->leaf);
}
