/* SPDX-License-Identifier: Apache-2.0 */
/* Making an identity, and making a new leaf for one (protocol/smp.md section 10). */
#include "identity.h"

static simplex_rc cannot_make(const char *host, simplex_rc rc, struct sx_errtext *err)
{
    if (rc == SIMPLEX_E_ARG)
        sx_errtext_set(err,
                       "cannot make certificates for host \"%s\": give a name of 1 to 64 "
                       "characters without spaces; a longer one can stand in `host` of "
                       "smp-server.ini",
                       host);
    else
        sx_errtext_set(err, "cannot make certificates for host %s: %s", host, simplex_rc_text(rc));
    return rc;
}

/* ---- a new identity ---- */

static simplex_rc check_empty(const char *dir, struct sx_errtext *err)
{
    static const char *const names[] = { SX_CA_KEY, SX_CA_CERT, SX_SERVER_KEY, SX_SERVER_CERT,
                                         SX_FINGERPRINT };

    for (size_t i = 0; i < SX_COUNT(names); i++) {
        if (!sx_file_exists(dir, names[i]))
            continue;
        sx_errtext_set(err,
                       "%s/%s exists, but not all files of an identity do: `smp-server cert` "
                       "makes " SX_SERVER_KEY " and " SX_SERVER_CERT " again; to start with a new "
                       "identity, move the files away",
                       dir, names[i]);
        return SIMPLEX_E_CERT;
    }
    return SIMPLEX_OK;
}

/* server.crt last: its presence says that all of it is there. */
static simplex_rc save(const struct sx_identity *c, const struct sx_server_certs *made,
                       const char *dir, struct sx_errtext *err)
{
    uint8_t text[64];
    struct sx_wr w;

    sx_wr_fixed(&w, text, sizeof(text));
    sx_identity_print(c->fingerprint, &w);
    const struct {
        const char *name;
        const struct sx_wr *text;
        mode_t mode;
    } files[] = {
        { SX_CA_KEY, &made->ca_key, 0600 },    { SX_CA_CERT, &made->ca_cert, 0644 },
        { SX_SERVER_KEY, &made->key, 0600 },   { SX_FINGERPRINT, &w, 0644 },
        { SX_SERVER_CERT, &made->cert, 0644 },
    };
    simplex_rc rc = sx_dir_make(dir, 0700, err);
    if (rc == SIMPLEX_OK)
        rc = check_empty(dir, err);
    for (size_t i = 0; rc == SIMPLEX_OK && i < SX_COUNT(files); i++)
        rc = sx_file_write(dir, files[i].name, sx_wr_bytes(files[i].text), files[i].mode, err);
    return rc;
}

simplex_rc sx_identity_make(struct sx_identity *c, const char *dir, enum sx_alg alg,
                            const char *host, struct sx_errtext *err)
{
    struct sx_server_certs made;

    sx_identity_init(c);
    simplex_rc rc = sx_certs_make(alg, host, &made);
    if (rc != SIMPLEX_OK)
        return cannot_make(host, rc, err);
    sx_wr_raw(&c->chain_pem, sx_wr_bytes(&made.cert));
    sx_wr_raw(&c->chain_pem, sx_wr_bytes(&made.ca_cert));
    sx_wr_raw(&c->key_pem, sx_wr_bytes(&made.key));
    rc = sx_identity_parse(c);
    if (rc == SIMPLEX_OK && dir != NULL)
        rc = save(c, &made, dir, err);
    sx_certs_free(&made);
    if (rc != SIMPLEX_OK)
        sx_identity_wipe(c);
    return rc;
}

/* ---- a new leaf ---- */

struct renewal {
    const char *dir;
    struct sx_wr server_der, ca_der;
    struct sx_chain server, ca;
    struct sx_keypair ca_key;
    struct sx_server_certs made;
    simplex_bytes signer; /* the identity certificate */
};

static simplex_rc read_ca_key(struct renewal *r, struct sx_errtext *err)
{
    struct sx_wr pem;

    if (!sx_file_exists(r->dir, SX_CA_KEY)) {
        sx_errtext_set(
            err,
            "%s/" SX_CA_KEY " is not there: it signs the new certificate. If you keep "
            "it offline, copy it here, run `smp-server cert` and remove it again; or "
            "run `smp-server cert --config DIR` on the machine that has it, with " SX_CA_CERT
            ", " SX_FINGERPRINT " and " SX_SERVER_CERT " in DIR, and bring " SX_SERVER_KEY
            " and " SX_SERVER_CERT " from there",
            r->dir);
        return SIMPLEX_E_CERT;
    }
    sx_wr_init(&pem, SX_IDENTITY_PEM_MAX);
    simplex_rc rc = sx_file_read(r->dir, SX_CA_KEY, &pem, err);
    if (rc == SIMPLEX_OK && (rc = sx_pem_key(sx_wr_bytes(&pem), &r->ca_key)) != SIMPLEX_OK)
        sx_errtext_set(err,
                       "%s/" SX_CA_KEY " is not an Ed25519 or Ed448 key in PEM format: copy the "
                       "right one there",
                       r->dir);
    sx_wr_free(&pem);
    return rc;
}

/* server.crt may be missing or damaged when alg and host are given. */
static simplex_rc read_present(struct renewal *r, struct sx_errtext *err)
{
    struct sx_errtext none = { 0 };
    uint8_t fingerprint[32];

    simplex_rc rc = sx_identity_certs(r->dir, SX_CA_CERT, &r->ca_der, &r->ca, err);
    if (rc != SIMPLEX_OK)
        return rc;
    if (sx_identity_certs(r->dir, SX_SERVER_CERT, &r->server_der, &r->server, &none) != SIMPLEX_OK)
        r->server.count = 0;
    r->signer = r->server.count > 1 ? r->server.cert[1] : r->ca.cert[0];
    sx_sha256(r->signer, fingerprint);
    return sx_identity_check(fingerprint, r->dir, err);
}

static simplex_rc sign(struct renewal *r, enum sx_alg alg, const char *host, struct sx_errtext *err)
{
    char name[256];
    struct sx_pub leaf;

    if (host == NULL && sx_chain_leaf_name(&r->server, name, sizeof(name)) != SIMPLEX_OK) {
        sx_errtext_set(err, "%s/" SX_SERVER_CERT " does not tell the host name: give it with --cn",
                       r->dir);
        return SIMPLEX_E_ARG;
    }
    if (alg == SX_NO_KEY)
        alg = sx_chain_leaf_key(&r->server, &leaf) == SIMPLEX_OK ? (enum sx_alg)leaf.alg
                                                                 : (enum sx_alg)r->ca_key.pub.alg;
    host = host == NULL ? name : host;
    simplex_rc rc = sx_certs_renew(alg, host, r->signer, &r->ca_key, &r->made);
    if (rc == SIMPLEX_E_KEY) {
        sx_errtext_set(err,
                       "%s/" SX_CA_KEY " is not the key of the certificate in " SX_CA_CERT
                       ": copy the right one there",
                       r->dir);
        return rc;
    }
    return rc == SIMPLEX_OK ? rc : cannot_make(host, rc, err);
}

/* The certificates between the old leaf and the CA stay. */
static simplex_rc put_in_place(struct renewal *r, struct sx_errtext *err)
{
    for (size_t i = 1; i < r->server.count; i++)
        sx_pem_cert(&r->made.cert, r->server.cert[i]);
    if (r->made.cert.bad)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc =
        sx_file_write(r->dir, SX_SERVER_KEY SX_RENEWED, sx_wr_bytes(&r->made.key), 0600, err);
    if (rc == SIMPLEX_OK)
        rc =
            sx_file_write(r->dir, SX_SERVER_CERT SX_RENEWED, sx_wr_bytes(&r->made.cert), 0644, err);
    if (rc == SIMPLEX_OK)
        rc = sx_file_rename(r->dir, SX_SERVER_KEY SX_RENEWED, SX_SERVER_KEY, err);
    if (rc == SIMPLEX_OK)
        rc = sx_file_rename(r->dir, SX_SERVER_CERT SX_RENEWED, SX_SERVER_CERT, err);
    return rc;
}

simplex_rc sx_identity_renew(struct sx_identity *c, const char *dir, enum sx_alg alg,
                             const char *host, struct sx_errtext *err)
{
    struct renewal r = { .dir = dir };

    sx_identity_init(c);
    sx_wr_init(&r.server_der, SX_IDENTITY_PEM_MAX);
    sx_wr_init(&r.ca_der, SX_IDENTITY_PEM_MAX);
    simplex_rc rc = read_present(&r, err);
    if (rc == SIMPLEX_OK)
        rc = read_ca_key(&r, err);
    if (rc == SIMPLEX_OK)
        rc = sign(&r, alg, host, err);
    if (rc == SIMPLEX_OK)
        rc = put_in_place(&r, err);
    sx_certs_free(&r.made);
    sx_keypair_wipe(&r.ca_key);
    sx_wr_free(&r.server_der);
    sx_wr_free(&r.ca_der);
    return rc == SIMPLEX_OK ? sx_identity_read(c, dir, err) : rc;
}
