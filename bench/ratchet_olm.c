/* SPDX-License-Identifier: Apache-2.0 */
/* A pair of Olm sessions (libolm): Curve25519, AES-256-CBC, HMAC-SHA-256, base64 messages. */
#include <stdlib.h>
#include <string.h>

#include <olm/olm.h>

#include "crypto/crypto.h"
#include "ratchet_peers.h"

#define ROOM 65536

struct olm_pair {
    OlmSession *side[2];
    unsigned last; /* who sent last */
    size_t payload;
    uint8_t plain[ROOM], back[ROOM];
    char msg[ROOM];
};

static bool ok(size_t rc)
{
    return rc != olm_error();
}

static OlmAccount *account_new(void)
{
    static uint8_t random[4096];
    OlmAccount *a = olm_account(malloc(olm_account_size()));

    if (olm_create_account_random_length(a) > sizeof random)
        return NULL;
    sx_random(random, sizeof random);
    return ok(olm_create_account(a, random, olm_create_account_random_length(a))) ? a : NULL;
}

/* The string that follows the first name starting with `name` in the JSON of olm: a key. */
static bool key_from(const char *json, const char *name, char key[44])
{
    const char *at = strstr(json, name);

    at = at != NULL ? strchr(at, ':') : NULL;
    at = at != NULL ? strchr(at, '"') : NULL;
    if (at == NULL || strlen(at) < 44)
        return false;
    memcpy(key, at + 1, 43);
    key[43] = 0;
    return true;
}

static bool move(struct olm_pair *p, unsigned from, size_t payload)
{
    uint8_t random[128];
    OlmSession *s = p->side[from], *r = p->side[1 - from];
    size_t type = olm_encrypt_message_type(s), n = olm_encrypt_random_length(s);

    if (n > sizeof random)
        return false;
    sx_random(random, n);
    size_t len = olm_encrypt(s, p->plain, payload, random, n, p->msg, ROOM);
    if (!ok(len))
        return false;
    p->last = from;
    n = olm_decrypt(r, type, p->msg, len, p->back, ROOM); /* overwrites the message */
    return ok(n) && n == payload;
}

static bool same_chain(void *pair)
{
    struct olm_pair *p = pair;

    return move(p, 0, p->payload);
}

static bool turn(void *pair)
{
    struct olm_pair *p = pair;

    return move(p, 1 - p->last, TURN_PAYLOAD);
}

static bool outbound(struct olm_pair *p, OlmAccount *a, OlmAccount *b)
{
    static uint8_t random[4096];
    static char json[8192];
    char identity[44], one_time[44];

    sx_random(random, sizeof random);
    if (!ok(olm_account_generate_one_time_keys(
            b, 1, random, olm_account_generate_one_time_keys_random_length(b, 1))))
        return false;
    memset(json, 0, sizeof json);
    if (!ok(olm_account_identity_keys(b, json, olm_account_identity_keys_length(b))) ||
        !key_from(json, "curve25519", identity))
        return false;
    memset(json, 0, sizeof json);
    if (!ok(olm_account_one_time_keys(b, json, olm_account_one_time_keys_length(b))) ||
        !key_from(json, "AAAA", one_time)) /* the id of the first key */
        return false;
    return ok(olm_create_outbound_session(p->side[0], a, identity, 43, one_time, 43, random,
                                          olm_create_outbound_session_random_length(p->side[0])));
}

/* The first message makes the other session; then one turn, so that both are established. */
static bool inbound(struct olm_pair *p, OlmAccount *b)
{
    static char copy[ROOM];
    uint8_t random[128];

    sx_random(random, sizeof random);
    size_t len = olm_encrypt(p->side[0], p->plain, 10, random,
                             olm_encrypt_random_length(p->side[0]), p->msg, ROOM);
    if (!ok(len))
        return false;
    memcpy(copy, p->msg, len);
    if (!ok(olm_create_inbound_session(p->side[1], b, copy, len)))
        return false;
    p->last = 0;
    return ok(olm_decrypt(p->side[1], OLM_MESSAGE_TYPE_PRE_KEY, p->msg, len, p->back, ROOM)) &&
           turn(p) && turn(p);
}

bool ratchet_peer_olm(struct ratchet_peer *out, size_t payload)
{
    struct olm_pair *p = calloc(1, sizeof *p);
    OlmAccount *a = account_new(), *b = account_new();

    if (p == NULL || a == NULL || b == NULL)
        return false;
    p->payload = payload;
    p->side[0] = olm_session(malloc(olm_session_size()));
    p->side[1] = olm_session(malloc(olm_session_size()));
    *out = (struct ratchet_peer){ "libolm", p, same_chain, turn };
    return outbound(p, a, b) && inbound(p, b);
}
