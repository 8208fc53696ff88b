/* SPDX-License-Identifier: Apache-2.0 */
#include "client/identity.h"

#define DER_MAX (4 * 16384)

simplex_rc sx_identity_open(uint8_t role, simplex_bytes chain_pem, simplex_bytes key_pem,
                            struct sx_identity **out)
{
    struct sx_identity *i = sx_calloc(1, sizeof *i);

    *out = NULL;
    if (i == NULL)
        return SIMPLEX_E_NOMEM;
    i->refs = 1;
    sx_wr_init(&i->der, DER_MAX);
    i->cert.role = role;
    simplex_rc rc = sx_tls_ctx_client(&i->tls);
    if (rc == SIMPLEX_OK)
        rc = sx_tls_ctx_present(i->tls, chain_pem, key_pem);
    if (rc == SIMPLEX_OK)
        rc = sx_pem_chain(chain_pem, &i->der, &i->cert.chain);
    if (rc == SIMPLEX_OK)
        rc = sx_pem_key(key_pem, &i->cert.leaf);
    if (rc == SIMPLEX_OK)
        *out = i;
    else
        sx_identity_unref(i);
    return rc;
}

struct sx_identity *sx_identity_ref(struct sx_identity *i)
{
    if (i != NULL)
        i->refs++;
    return i;
}

void sx_identity_unref(struct sx_identity *i)
{
    if (i == NULL || --i->refs > 0)
        return;
    sx_tls_ctx_free(i->tls);
    sx_wr_free(&i->der);
    sx_free_secret(i, sizeof *i);
}
