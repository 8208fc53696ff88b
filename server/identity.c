/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

void sx_identity_init(struct sx_identity *c)
{
    memset(c, 0, sizeof(*c));
    sx_wr_init(&c->chain_pem, SX_IDENTITY_PEM_MAX);
    sx_wr_init(&c->key_pem, SX_IDENTITY_PEM_MAX);
    sx_wr_init(&c->der, SX_IDENTITY_PEM_MAX);
}

void sx_identity_wipe(struct sx_identity *c)
{
    sx_wr_free(&c->chain_pem);
    sx_wr_free(&c->key_pem);
    sx_wr_free(&c->der);
    sx_keypair_wipe(&c->leaf);
}

void sx_identity_print(const uint8_t fingerprint[32], struct sx_wr *w)
{
    sx_b64url_encode(w, sx_bytes(fingerprint, 32));
    sx_wr_u8(w, '\n');
}

simplex_rc sx_identity_parse(struct sx_identity *c)
{
    if (c->chain_pem.bad || c->key_pem.bad)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = sx_pem_chain(sx_wr_bytes(&c->chain_pem), &c->der, &c->chain);
    if (rc == SIMPLEX_OK)
        rc = sx_chain_fingerprint(&c->chain, c->fingerprint);
    if (rc == SIMPLEX_OK && c->key_pem.len > 0)
        rc = sx_pem_key(sx_wr_bytes(&c->key_pem), &c->leaf);
    return rc;
}

/* ---- the chain ---- */

static bool holds(const struct sx_chain *chain, simplex_bytes cert)
{
    for (size_t i = 0; i < chain->count; i++)
        if (sx_bytes_eq(chain->cert[i], cert))
            return true;
    return false;
}

/* Some keep the whole chain in server.crt: what it has already is not sent twice. */
static void join_chains(struct sx_wr *pem, const struct sx_chain *server, const struct sx_chain *ca)
{
    for (size_t i = 0; i < server->count; i++)
        sx_pem_cert(pem, server->cert[i]);
    for (size_t i = 0; i < ca->count; i++)
        if (!holds(server, ca->cert[i]))
            sx_pem_cert(pem, ca->cert[i]);
}

static simplex_rc bad_file(const char *dir, const char *name, simplex_rc rc, struct sx_errtext *err)
{
    sx_errtext_set(err, "%s/%s cannot be used: %s; restore it from a backup", dir, name,
                   rc == SIMPLEX_E_CERT ? "it has more than four certificates"
                                        : "it is not in PEM format or has another kind of key");
    return SIMPLEX_E_CERT;
}

/* A file of the identity; when it is gone it says how to get it back. */
static simplex_rc read_file(const char *dir, const char *name, struct sx_wr *w,
                            struct sx_errtext *err)
{
    simplex_rc rc = sx_file_read(dir, name, w, err);
    bool is_leaf = strcmp(name, SX_SERVER_KEY) == 0 || strcmp(name, SX_SERVER_CERT) == 0;

    if (rc == SIMPLEX_E_SYSTEM && sx_file_missing(dir, name))
        sx_errtext_set(err, "%s/%s does not exist: restore it from a backup%s", dir, name,
                       is_leaf ? ", or make " SX_SERVER_KEY " and " SX_SERVER_CERT
                                 " anew with `smp-server cert`"
                               : "");
    return rc;
}

simplex_rc sx_identity_certs(const char *dir, const char *name, struct sx_wr *der,
                             struct sx_chain *chain, struct sx_errtext *err)
{
    struct sx_wr pem;

    sx_wr_init(&pem, SX_IDENTITY_PEM_MAX);
    simplex_rc rc = read_file(dir, name, &pem, err);
    if (rc == SIMPLEX_OK && (rc = sx_pem_chain(sx_wr_bytes(&pem), der, chain)) != SIMPLEX_OK)
        rc = rc == SIMPLEX_E_NOMEM ? rc : bad_file(dir, name, rc, err);
    sx_wr_free(&pem);
    return rc;
}

static simplex_rc read_chain(struct sx_identity *c, const char *dir, const char *cert,
                             struct sx_errtext *err)
{
    struct sx_wr server_der, ca_der;
    struct sx_chain server, ca;

    sx_wr_init(&server_der, SX_IDENTITY_PEM_MAX);
    sx_wr_init(&ca_der, SX_IDENTITY_PEM_MAX);
    simplex_rc rc = sx_identity_certs(dir, cert, &server_der, &server, err);
    if (rc == SIMPLEX_OK)
        rc = sx_identity_certs(dir, SX_CA_CERT, &ca_der, &ca, err);
    if (rc == SIMPLEX_OK) {
        join_chains(&c->chain_pem, &server, &ca);
        rc = c->chain_pem.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    }
    sx_wr_free(&server_der);
    sx_wr_free(&ca_der);
    return rc;
}

/* What a client would find. */
static simplex_rc check_chain(const struct sx_identity *c, const char *dir, struct sx_errtext *err)
{
    struct sx_pub leaf;

    if (sx_chain_leaf_key(&c->chain, &leaf) != SIMPLEX_OK) {
        sx_errtext_set(err, "%s/" SX_SERVER_CERT " must have an Ed25519 or Ed448 key", dir);
        return SIMPLEX_E_CERT;
    }
    if (!sx_pub_eq(&leaf, &c->leaf.pub)) {
        sx_errtext_set(err,
                       "%s/" SX_SERVER_KEY " is not the key of " SX_SERVER_CERT
                       ": restore both from a backup, or make both anew with `smp-server cert`",
                       dir);
        return SIMPLEX_E_CERT;
    }
    if (sx_chain_verify(&c->chain, NULL, sx_now_ms() / 1000) != SIMPLEX_OK) {
        sx_errtext_set(err,
                       "clients will refuse the certificates in %s: " SX_SERVER_CERT " must be "
                       "signed by the first certificate of " SX_CA_CERT ", and both must be valid "
                       "now (is the clock right?); `smp-server cert` makes a new " SX_SERVER_CERT,
                       dir);
        return SIMPLEX_E_CERT;
    }
    return SIMPLEX_OK;
}

simplex_rc sx_identity_check(const uint8_t fingerprint[32], const char *dir, struct sx_errtext *err)
{
    uint8_t buf[64];
    struct sx_wr want, have;

    sx_wr_fixed(&want, buf, sizeof(buf));
    sx_identity_print(fingerprint, &want);
    sx_wr_init(&have, SX_IDENTITY_PEM_MAX);
    simplex_rc rc = read_file(dir, SX_FINGERPRINT, &have, err);
    simplex_bytes text = sx_wr_bytes(&have);
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    if (rc == SIMPLEX_OK && !sx_bytes_eq(text, sx_bytes(want.p, want.len - 1))) {
        sx_errtext_set(err,
                       "Stored fingerprint is invalid. %s/" SX_FINGERPRINT
                       " belongs to another " SX_CA_CERT ": clients know the server by it, so "
                       "restore the right " SX_CA_CERT " from a backup (to start with a new "
                       "identity, remove all files of the directory)",
                       dir);
        rc = SIMPLEX_E_FINGERPRINT;
    }
    sx_wr_free(&have);
    return rc;
}

/* ---- reading ---- */

static simplex_rc read_all(struct sx_identity *c, const char *dir, const char *cert,
                           struct sx_errtext *err)
{
    simplex_rc rc = read_chain(c, dir, cert, err);

    if (rc == SIMPLEX_OK)
        rc = read_file(dir, SX_SERVER_KEY, &c->key_pem, err);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_identity_parse(c);
    if (rc == SIMPLEX_E_NOMEM)
        return rc;
    if (c->chain.count < 2) {
        sx_errtext_set(err, "the certificates in %s cannot be used: two to four are needed in all",
                       dir);
        return SIMPLEX_E_CERT;
    }
    return rc == SIMPLEX_OK ? check_chain(c, dir, err) : bad_file(dir, SX_SERVER_KEY, rc, err);
}

/* A renewal that was cut off between its two renames: the second is still to do. */
static bool finish_renewal(struct sx_identity *c, const char *dir)
{
    struct sx_errtext none = { 0 };

    if (!sx_file_exists(dir, SX_SERVER_CERT SX_RENEWED))
        return false;
    sx_identity_wipe(c);
    sx_identity_init(c);
    return read_all(c, dir, SX_SERVER_CERT SX_RENEWED, &none) == SIMPLEX_OK &&
           sx_file_rename(dir, SX_SERVER_CERT SX_RENEWED, SX_SERVER_CERT, &none) == SIMPLEX_OK;
}

simplex_rc sx_identity_read(struct sx_identity *c, const char *dir, struct sx_errtext *err)
{
    sx_identity_init(c);
    simplex_rc rc = read_all(c, dir, SX_SERVER_CERT, err);
    if (rc == SIMPLEX_E_CERT && finish_renewal(c, dir))
        rc = SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_identity_check(c->fingerprint, dir, err);
    if (rc != SIMPLEX_OK)
        sx_identity_wipe(c);
    return rc;
}

simplex_rc sx_identity_load(struct sx_identity *c, const char *dir, const char *host,
                            struct sx_errtext *err)
{
    if (dir != NULL && sx_file_exists(dir, SX_SERVER_CERT))
        return sx_identity_read(c, dir, err);
    return sx_identity_make(c, dir, SX_ED25519, host, err);
}
