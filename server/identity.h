/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of the server: made, or kept in a directory (protocol/smp.md section 10).
 *
 * What clients know the server by is the fingerprint of the second certificate that it sends
 * (section 3). server.crt holds the leaf, and may hold certificates between it and those of ca.crt;
 * ca.key is needed to sign a new leaf and nothing else, so it may be kept elsewhere.
 */
#ifndef SX_SERVER_IDENTITY_H
#define SX_SERVER_IDENTITY_H

#include "crypto/x509.h"
#include "file.h"

#define SX_CA_KEY "ca.key"
#define SX_CA_CERT "ca.crt"
#define SX_SERVER_KEY "server.key"
#define SX_SERVER_CERT "server.crt"
#define SX_FINGERPRINT "fingerprint"

struct sx_identity {
    struct sx_wr chain_pem, key_pem; /* leaf first, CA last; key of the leaf */
    struct sx_wr der;                /* what `chain` points into */
    struct sx_chain chain;
    struct sx_keypair leaf;
    uint8_t fingerprint[32];
};

/* Reads the files of dir and checks that clients will take the chain. E_CERT, E_FINGERPRINT. */
simplex_rc sx_identity_read(struct sx_identity *c, const char *dir,
                            struct sx_errtext *err) SIMPLEX_CHECK;
/* Makes a new identity; dir NULL: in memory, otherwise all files of dir, which must have none.
 * host: common name of the leaf, at most 64 characters. */
simplex_rc sx_identity_make(struct sx_identity *c, const char *dir, enum sx_alg alg,
                            const char *host, struct sx_errtext *err) SIMPLEX_CHECK;
/* Reads the files of dir, or makes them when it has no server.crt. */
simplex_rc sx_identity_load(struct sx_identity *c, const char *dir, const char *host,
                            struct sx_errtext *err) SIMPLEX_CHECK;
/*
 * A new server.key and server.crt for dir, signed with its ca.key: the identity stays. alg
 * SX_NO_KEY, host NULL: those of the present server.crt. *c is the new state.
 */
simplex_rc sx_identity_renew(struct sx_identity *c, const char *dir, enum sx_alg alg,
                             const char *host, struct sx_errtext *err) SIMPLEX_CHECK;
void sx_identity_wipe(struct sx_identity *c);

/* ---- inside identity*.c ---- */

#define SX_RENEWED \
    ".new" /* of files that a renewal is about to put in place: key, then certificate */
#define SX_IDENTITY_PEM_MAX 65536
void sx_identity_init(struct sx_identity *c);
/* What everything else needs, from the PEM texts; key_pem empty: no key. */
simplex_rc sx_identity_parse(struct sx_identity *c) SIMPLEX_CHECK;
/* Appends the certificates of the file to der; *chain points into it. */
simplex_rc sx_identity_certs(const char *dir, const char *name, struct sx_wr *der,
                             struct sx_chain *chain, struct sx_errtext *err) SIMPLEX_CHECK;
/* The text of the file `fingerprint`. */
void sx_identity_print(const uint8_t fingerprint[32], struct sx_wr *w);
/* That file is about this certificate; E_FINGERPRINT. */
simplex_rc sx_identity_check(const uint8_t fingerprint[32], const char *dir,
                             struct sx_errtext *err) SIMPLEX_CHECK;

#endif
