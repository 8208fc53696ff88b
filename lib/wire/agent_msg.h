/* SPDX-License-Identifier: Apache-2.0 */
/* Agent envelopes, messages and e2e parameters (protocol/agent.md sections 3.1 and 4). */
#ifndef SX_WIRE_AGENT_MSG_H
#define SX_WIRE_AGENT_MSG_H

#include "wire/queue.h"

/* ---- e2e (X3DH) parameters ---- */

enum sx_kem_kind { SX_KEM_NONE = 0, SX_KEM_PROPOSED = 'P', SX_KEM_ACCEPTED = 'A' };

struct sx_kem_params { /* borrowed; pk 1158 bytes, ct 1039 bytes (ACCEPTED only) */
    uint8_t kind;
    simplex_bytes pk, ct;
};
void sx_kem_params_encode(struct sx_wr *w, const struct sx_kem_params *k); /* Opt Kem */
void sx_kem_params_decode(struct sx_rd *r, struct sx_kem_params *k);       /* wrong sizes: bad */

struct sx_e2e_params {
    struct sx_range v;       /* binary form outside links has one version: min == max */
    struct sx_pub k1, k2;    /* X448 */
    struct sx_kem_params kem;
};
/* u16 version, Key, Key, [v >= 3: Opt Kem] */
void sx_e2e_params_encode(struct sx_wr *w, const struct sx_e2e_params *p);
void sx_e2e_params_decode(struct sx_rd *r, struct sx_e2e_params *p);
/* binary e2eUri of links: VRange, Key, Key, Opt Kem always; ACCEPTED is refused */
void sx_e2e_uri_encode(struct sx_wr *w, const struct sx_e2e_params *p);
void sx_e2e_uri_decode(struct sx_rd *r, struct sx_e2e_params *p);

/* ---- envelopes ---- */

enum sx_envelope_tag { SX_ENV_CONFIRMATION = 'C', SX_ENV_MESSAGE = 'M', SX_ENV_INVITATION = 'I',
                       SX_ENV_RATCHET_KEY = 'R' };

struct sx_envelope {
    uint16_t version; /* agent version */
    uint8_t tag;
    bool has_e2e;     /* C: Opt, R: always */
    struct sx_e2e_params e2e;
    simplex_bytes link; /* I: text of a one-time link */
    simplex_bytes body; /* C, M: ratchet message; I: connection info; R: info */
};
void sx_envelope_encode(struct sx_wr *w, const struct sx_envelope *e);
simplex_rc sx_envelope_decode(simplex_bytes in, struct sx_envelope *e) SIMPLEX_CHECK;

/* ---- agent messages: the plaintext of the ratchet ---- */

enum sx_amsg_tag { SX_AM_INFO = 'I', SX_AM_INFO_REPLY = 'D', SX_AM_RATCHET_INFO = 'R',
                   SX_AM_MESSAGE = 'M' };
enum sx_msg_tag { SX_M_HELLO = 1, SX_M_MSG, SX_M_RCVD, SX_M_QCONT, SX_M_QADD, SX_M_QKEY, SX_M_QUSE,
                  SX_M_QTEST, SX_M_EREADY };

/* Lists are kept encoded and read with the _next functions; decode has checked them whole. */
struct sx_list {
    unsigned count;
    simplex_bytes items;
};

struct sx_agent_msg {
    uint8_t tag;          /* enum sx_amsg_tag */
    simplex_bytes info;   /* I, D, R */
    struct sx_list queues; /* D: SMPQueueInfo */
    /* M: */
    int64_t snd_msg_id;
    simplex_bytes prev_hash;
    uint8_t msg;          /* enum sx_msg_tag */
    simplex_bytes body;   /* MSG */
    struct sx_list list;  /* RCVD, QADD, QKEY, QUSE, QTEST */
    struct sx_queue_ref qcont;
    int64_t eready;
};
void sx_agent_msg_encode(struct sx_wr *w, const struct sx_agent_msg *m);
simplex_rc sx_agent_msg_decode(simplex_bytes in, struct sx_agent_msg *m) SIMPLEX_CHECK;
const char *sx_msg_name(enum sx_msg_tag tag); /* the reference's database tags: H, M, V, QC ... */

struct sx_receipt { int64_t id; simplex_bytes hash, info; };
struct sx_qadd { struct sx_queue_addr queue; bool has_replaced; struct sx_queue_ref replaced; };
struct sx_qkey { struct sx_queue_addr queue; struct sx_pub key; };
struct sx_quse { struct sx_queue_ref queue; bool primary; };
/* Item writers append one item; readers take the next one off `r` (sx_rd_init(list.items)). */
void sx_receipt_encode(struct sx_wr *w, const struct sx_receipt *x);
void sx_receipt_next(struct sx_rd *r, struct sx_receipt *x);
void sx_qadd_encode(struct sx_wr *w, const struct sx_qadd *x);
void sx_qadd_next(struct sx_rd *r, struct sx_qadd *x);
void sx_qkey_encode(struct sx_wr *w, const struct sx_qkey *x);
void sx_qkey_next(struct sx_rd *r, struct sx_qkey *x);
void sx_quse_encode(struct sx_wr *w, const struct sx_quse *x);
void sx_quse_next(struct sx_rd *r, struct sx_quse *x);

#endif
