/* SPDX-License-Identifier: Apache-2.0 */
/* Queue addresses and the per-queue envelope (protocol/agent.md sections 2 and 5.2). */
#ifndef SX_WIRE_QUEUE_H
#define SX_WIRE_QUEUE_H

#include "wire/smp.h"

#define SX_CLIENT_MIN 1
#define SX_CLIENT_MAX 4
#define SX_AGENT_MIN 2
#define SX_AGENT_MAX 7
#define SX_E2E_MIN 2
#define SX_E2E_MAX 3
#define SX_QUEUE_ID_MAX 255

struct sx_range {
    uint16_t min, max;
};
void sx_range_encode(struct sx_wr *w, struct sx_range v);
void sx_range_decode(struct sx_rd *r, struct sx_range *v); /* min > max is bad */
/* min(max1, max2) when the ranges overlap, else 0. */
uint16_t sx_range_agree(struct sx_range a, struct sx_range b);
/* Text: "2-7", or "7" when min == max. */
void sx_range_print(struct sx_wr *w, struct sx_range v);
bool sx_range_parse(simplex_bytes text, struct sx_range *v);

struct sx_id { /* owned queue id */
    uint8_t len;
    uint8_t b[SX_QUEUE_ID_MAX];
};
static inline simplex_bytes sx_id_bytes(const struct sx_id *id)
{
    return (simplex_bytes){ id->b, id->len };
}
/* False, and nothing happens, when it is empty or too long. */
static inline bool sx_id_take(struct sx_id *id, simplex_bytes from)
{
    if (from.len == 0 || from.len > sizeof id->b)
        return false;
    id->len = (uint8_t)from.len;
    memcpy(id->b, from.ptr, from.len);
    return true;
}

/* SMPQueueUri (with a version range) and SMPQueueInfo (min == max == its version). Owned. */
struct sx_queue_addr {
    struct sx_range v; /* SMP client versions */
    struct sx_server server;
    struct sx_id snd_id;
    struct sx_pub dh;  /* X25519 */
    uint8_t mode;      /* enum sx_queue_mode; NONE: unknown */
};

void sx_queue_info_encode(struct sx_wr *w, const struct sx_queue_addr *q); /* version q->v.max */
void sx_queue_info_decode(struct sx_rd *r, struct sx_queue_addr *q);
void sx_queue_uri_encode(struct sx_wr *w, const struct sx_queue_addr *q);
void sx_queue_uri_decode(struct sx_rd *r, struct sx_queue_addr *q);
/* smp://...#/?v=..&dh=..; the text is one whole queue URI. E_LINK. */
void sx_queue_uri_print(struct sx_wr *w, const struct sx_queue_addr *q);
simplex_rc sx_queue_uri_parse(simplex_bytes text, struct sx_queue_addr *q) SIMPLEX_CHECK;

/* Reads a comma-separated list and appends it to s->hosts. E_LINK. */
simplex_rc sx_hosts_parse(simplex_bytes text, struct sx_server *s) SIMPLEX_CHECK;
/* Addresses of version 1 with one of six known hosts get its onion host (section 5.1). */
simplex_rc sx_queue_add_known_onion(struct sx_server *s) SIMPLEX_CHECK;

/* QAddr: what A_QCONT, QADD, QUSE and QTEST name a queue by. */
struct sx_queue_ref {
    struct sx_server server;
    struct sx_id snd_id;
};
void sx_queue_ref_encode(struct sx_wr *w, const struct sx_queue_ref *q);
void sx_queue_ref_decode(struct sx_rd *r, struct sx_queue_ref *q);

/* Body of SEND (agent.md section 2): u16 version, Opt Key, nonce, box. */
struct sx_client_msg {
    uint16_t version;
    bool has_key;
    struct sx_pub key; /* X25519 */
    uint8_t nonce[24];
    simplex_bytes box; /* tag and ciphertext */
};
#define SX_PAD_CONFIRMATION 15904
#define SX_PAD_MESSAGE 16000
void sx_client_msg_encode(struct sx_wr *w, const struct sx_client_msg *m);
simplex_rc sx_client_msg_decode(simplex_bytes in, struct sx_client_msg *m) SIMPLEX_CHECK;

/* Inside the box: '_' or 'K' Key, then the agent envelope. */
struct sx_private_msg {
    bool has_key;
    struct sx_pub key; /* the sender's auth key */
    simplex_bytes envelope;
};
void sx_private_msg_encode(struct sx_wr *w, const struct sx_private_msg *m);
simplex_rc sx_private_msg_decode(simplex_bytes in, struct sx_private_msg *m) SIMPLEX_CHECK;

#endif
