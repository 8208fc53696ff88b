/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of SMP servers (protocol/smp.md sections 3, 4 and 10). */
#ifndef SX_X509_H
#define SX_X509_H

#include "crypto/crypto.h"

#define SX_CHAIN_MAX 4

struct sx_chain { /* DER certificates, leaf first; 2..4 for servers, borrowed */
    simplex_bytes cert[SX_CHAIN_MAX];
    size_t count;
};

/*
 * The rules of smp.md section 3: 2..4 certificates, the second is the identity and its SHA-256
 * must be `fingerprint` (32 bytes; NULL: not compared), then X.509 validation with the last one
 * as sole anchor at time `now_s`. E_CERT, E_FINGERPRINT. Host names are not compared. The path
 * from the leaf to the anchor must lead through the identity.
 */
simplex_rc sx_chain_verify(const struct sx_chain *chain, const uint8_t *fingerprint,
                           int64_t now_s) SIMPLEX_CHECK;
/*
 * The chain of a service: as above, or one certificate that signed itself and is the identity.
 * cert_hash: SHA-256 of the identity certificate. E_CERT.
 */
simplex_rc sx_chain_verify_service(const struct sx_chain *chain, int64_t now_s,
                                   uint8_t cert_hash[32]) SIMPLEX_CHECK;
/* SHA-256 of the identity certificate: the second of 2..4. */
simplex_rc sx_chain_fingerprint(const struct sx_chain *chain, uint8_t out[32]) SIMPLEX_CHECK;
/* The public key of the leaf: Ed25519 or Ed448, else E_KEY. */
simplex_rc sx_chain_leaf_key(const struct sx_chain *chain, struct sx_pub *out) SIMPLEX_CHECK;
/* The common name of the leaf, NUL-terminated; E_CERT when it has none that fits. */
simplex_rc sx_chain_leaf_name(const struct sx_chain *chain, char *to, size_t size) SIMPLEX_CHECK;

/* SignedKey: `key` (X25519 SPKI, or Ed25519 for services) signed by the leaf (smp.md section 4). */
simplex_rc sx_signed_key_encode(struct sx_wr *w, const struct sx_pub *key,
                                const struct sx_keypair *leaf) SIMPLEX_CHECK;
simplex_rc sx_signed_key_verify(simplex_bytes der, const struct sx_pub *leaf,
                                struct sx_pub *key) SIMPLEX_CHECK; /* E_DECODE, E_SIGNATURE */

/*
 * Making a server's certificates: self-signed CA and a leaf signed by it, as the reference does
 * (CN=SMP server CA, O=SimpleX; leaf CN = host). alg: SX_ED25519 or SX_ED448. PEM, PKCS#8 keys.
 */
struct sx_server_certs {
    struct sx_wr ca_key, ca_cert, key, cert; /* PEM */
};
simplex_rc sx_certs_make(enum sx_alg alg, const char *host,
                         struct sx_server_certs *out) SIMPLEX_CHECK;
/*
 * A new key and certificate for a server whose CA stays: fills in key and cert. ca_der: the
 * certificate that is to sign. E_KEY: `ca` is not its key; E_CERT: ca_der is no certificate.
 */
simplex_rc sx_certs_renew(enum sx_alg alg, const char *host, simplex_bytes ca_der,
                          const struct sx_keypair *ca, struct sx_server_certs *out) SIMPLEX_CHECK;
void sx_certs_free(struct sx_server_certs *c);
/*
 * The certificate of a service (section 4): Ed25519, signed by itself, with a random name: nothing
 * in it is the same for two services. PEM, appended to both.
 */
simplex_rc sx_cert_make_service(struct sx_wr *cert, struct sx_wr *key) SIMPLEX_CHECK;
/* One certificate as PEM. */
void sx_pem_cert(struct sx_wr *w, simplex_bytes der);
/*
 * PEM certificate(s) to DER, appended to `der`; *chain is overwritten and points into it, until it
 * grows again. Text around the blocks is skipped. E_DECODE; E_CERT: more than four; E_NOMEM.
 */
simplex_rc sx_pem_chain(simplex_bytes pem, struct sx_wr *der, struct sx_chain *chain) SIMPLEX_CHECK;
/* PKCS#8 (`PRIVATE KEY`) of one of the four kinds. E_DECODE, E_KEY. */
simplex_rc sx_pem_key(simplex_bytes pem, struct sx_keypair *out) SIMPLEX_CHECK;

#endif
