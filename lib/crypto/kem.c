/* SPDX-License-Identifier: Apache-2.0 */
/* sntrup761 with libntruprime; builds without it answer E_UNSUPPORTED. */
#include "crypto/crypto.h"

#ifdef SX_HAVE_PQ

#include <ntruprime.h>

_Static_assert(sntrup761_PUBLICKEYBYTES == SX_KEM_PK, "size of a public key");
_Static_assert(sntrup761_SECRETKEYBYTES == SX_KEM_SK, "size of a secret key");
_Static_assert(sntrup761_CIPHERTEXTBYTES == SX_KEM_CT, "size of a ciphertext");
_Static_assert(sntrup761_BYTES == SX_KEM_SS, "size of a shared secret");

bool sx_kem_available(void)
{
    return true;
}

simplex_rc sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK])
{
    simplex_rc rc = sx_crypto_init();

    if (rc == SIMPLEX_OK)
        sntrup761_keypair(pk, sk);
    return rc;
}

simplex_rc sx_kem_encaps(const uint8_t pk[SX_KEM_PK], uint8_t ct[SX_KEM_CT], uint8_t ss[SX_KEM_SS])
{
    simplex_rc rc = sx_crypto_init();

    if (rc == SIMPLEX_OK)
        sntrup761_enc(ct, ss, pk);
    return rc;
}

/* A ciphertext that was not made for this key gives a pseudo-random secret, not an error. */
simplex_rc sx_kem_decaps(const uint8_t ct[SX_KEM_CT], const uint8_t sk[SX_KEM_SK],
                         uint8_t ss[SX_KEM_SS])
{
    sntrup761_dec(ss, ct, sk);
    return SIMPLEX_OK;
}

#else

bool sx_kem_available(void)
{
    return false;
}

simplex_rc sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK])
{
    memset(pk, 0, SX_KEM_PK);
    memset(sk, 0, SX_KEM_SK);
    return SIMPLEX_E_UNSUPPORTED;
}

simplex_rc sx_kem_encaps(const uint8_t pk[SX_KEM_PK], uint8_t ct[SX_KEM_CT], uint8_t ss[SX_KEM_SS])
{
    (void)pk;
    memset(ct, 0, SX_KEM_CT);
    memset(ss, 0, SX_KEM_SS);
    return SIMPLEX_E_UNSUPPORTED;
}

simplex_rc sx_kem_decaps(const uint8_t ct[SX_KEM_CT], const uint8_t sk[SX_KEM_SK],
                         uint8_t ss[SX_KEM_SS])
{
    (void)ct;
    (void)sk;
    memset(ss, 0, SX_KEM_SS);
    return SIMPLEX_E_UNSUPPORTED;
}

#endif
