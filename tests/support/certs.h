/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate chains for tests, of lengths that servers have and of lengths they must not have. */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include "crypto/x509.h"

#define TEST_CERTS_MAX 5

struct test_certs {
    struct sx_wr chain_pem, key_pem; /* key of the leaf */
    struct sx_wr der;
    struct sx_chain chain; /* into der; empty when count exceeds 4 */
    struct sx_keypair leaf;
    uint8_t fingerprint[32]; /* of the second, or of the only one */
};

/* Leaf, identity, network, CA: each signed by the next, the last by itself. count: 1..5. */
void test_certs_make(enum sx_alg alg, size_t count, struct test_certs *out);
void test_certs_free(struct test_certs *c);

#endif
