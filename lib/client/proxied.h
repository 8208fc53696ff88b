/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender's side of private routing (protocol/smp.md section 8), without I/O: what PKEY has to
 * prove, the layers around a command for a relay behind a proxy, and its answer.
 */
#ifndef SX_PROXIED_H
#define SX_PROXIED_H

#include "client/session.h"

#define SX_PROXIED_PADDED 16226 /* content of the box, both ways */
#define SX_PROXIED_BOX (SX_PROXIED_PADDED + SX_BOX_TAG)
#define SX_PROXIED_MIN 8 /* proxies and relays speak it at least */

struct sx_proxied { /* the session of a relay behind a proxy */
    struct sx_session s;
};

/*
 * Checks PKEY: the chain is that of the identity in the relay's address, and its leaf signed the
 * session key; anything else the proxy may have made up. max: own highest version. E_CERT,
 * E_FINGERPRINT, E_SIGNATURE, E_DECODE, E_KEY; E_VERSION: none in common.
 */
simplex_rc sx_proxied_open(struct sx_proxied *p, const struct sx_rsp *pkey,
                           const uint8_t key_hash[32], uint16_t max, int64_t now_s) SIMPLEX_CHECK;
void sx_proxied_wipe(struct sx_proxied *p);

struct sx_proxied_cmd {         /* what is kept of a command on its way */
    uint8_t corr_id[SX_ID_LEN]; /* of PFWD, and of what is in it; the nonce of its box */
    struct sx_box_key box;      /* of this command alone, with the relay */
    uint16_t version;
};

/*
 * Authorises cmd for the relay (key NULL: unsigned) and encrypts it; *pfwd borrows from body and is
 * to be sent to the proxy for the entity sx_proxied_id, with c->corr_id. corr_id and command_key
 * may be NULL: made here. E_TOO_LARGE, E_ENCODE, E_KEY.
 */
simplex_rc sx_proxied_seal(const struct sx_proxied *p, const struct sx_keypair *key,
                           simplex_bytes entity, const struct sx_cmd *cmd, const uint8_t *corr_id,
                           const struct sx_keypair *command_key, struct sx_proxied_cmd *c,
                           uint8_t body[SX_PROXIED_BOX], struct sx_cmd *pfwd) SIMPLEX_CHECK;
static inline simplex_bytes sx_proxied_id(const struct sx_proxied *p)
{
    return sx_session_id(&p->s);
}

/*
 * What the relay answered: body of PRES, opened into plain; t and rsp borrow from there. The
 * correlation id is checked. E_CRYPTO: it is not from the relay. E_PADDING, E_BLOCK, E_DECODE,
 * E_RESPONSE: it is, and makes no sense.
 */
simplex_rc sx_proxied_answer(const struct sx_proxied_cmd *c, simplex_bytes body,
                             uint8_t plain[SX_PROXIED_BOX], struct sx_transmission *t,
                             struct sx_rsp *rsp) SIMPLEX_CHECK;
#endif
