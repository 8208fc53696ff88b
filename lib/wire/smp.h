/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMP commands, responses and errors, versions 6..19 (protocol/smp.md sections 1, 5, 6).
 * Encoders write into a sx_wr, decoders borrow from their input. Tables in smp_command.c and
 * smp_response.c say which parameters a tag has at which version.
 */
#ifndef SX_WIRE_SMP_H
#define SX_WIRE_SMP_H

#include "crypto/crypto.h"
#include "wire/server.h"

#define SX_SMP_MIN 6
#define SX_SMP_MAX 19
#define SX_BLOCK 16384           /* every block on the TLS stream */
#define SX_BLOCK_CONTENT 16382   /* content of a plain block */
#define SX_BLOCK_CONTENT_ENC 16366
#define SX_BATCH_CONTENT 16365   /* what a batch may use: always room for pad, count and tag */
#define SX_BATCH_MAX 255
#define SX_ID_LEN 24             /* queue ids, message ids and correlation ids we make */
#define SX_MSG_BODY 16122        /* encrypted MSG body at every version */
#define SX_MSG_PADDED 16106
#define SX_NMSG_PADDED 128

size_t sx_smp_max_send(uint16_t version); /* SEND body limit: 16088, 16064, 16048 */

enum sx_queue_mode { SX_MODE_NONE = 0, SX_MODE_MESSAGING = 'M', SX_MODE_CONTACT = 'C' };

/* ---- errors (section 6.2) ---- */

enum sx_err {
    SX_ERR_NONE = 0,
    SX_ERR_BLOCK, SX_ERR_SESSION, SX_ERR_AUTH, SX_ERR_SERVICE, SX_ERR_CRYPTO, SX_ERR_QUOTA,
    SX_ERR_EXPIRED, SX_ERR_NO_MSG, SX_ERR_LARGE_MSG, SX_ERR_INTERNAL, SX_ERR_DUPLICATE,
    SX_ERR_CMD,     /* + cmd */
    SX_ERR_BLOCKED, /* + blocked */
    SX_ERR_STORE,   /* + text */
    SX_ERR_NAME,    /* + name, text for RESOLVER */
    SX_ERR_PROXY,   /* + proxy ... */
};
enum sx_err_cmd { SX_CMD_UNKNOWN = 1, SX_CMD_SYNTAX, SX_CMD_PROHIBITED, SX_CMD_NO_AUTH,
                  SX_CMD_HAS_AUTH, SX_CMD_NO_ENTITY };
enum sx_err_name { SX_NAME_NO_RESOLVER = 1, SX_NAME_NOT_FOUND, SX_NAME_RESOLVER };
enum sx_err_proxy { SX_PROXY_PROTOCOL = 1, SX_PROXY_BROKER, SX_PROXY_BASIC_AUTH,
                    SX_PROXY_NO_SESSION };
enum sx_err_broker { SX_BROKER_RESPONSE = 1, SX_BROKER_UNEXPECTED, SX_BROKER_NETWORK,
                     SX_BROKER_TIMEOUT, SX_BROKER_HOST, SX_BROKER_NO_SERVICE,
                     SX_BROKER_TRANSPORT };
enum sx_err_transport { SX_TRANSPORT_BLOCK = 1, SX_TRANSPORT_VERSION, SX_TRANSPORT_LARGE_MSG,
                        SX_TRANSPORT_SESSION, SX_TRANSPORT_NO_AUTH, SX_TRANSPORT_HANDSHAKE };
enum sx_err_handshake { SX_HS_PARSE = 1, SX_HS_IDENTITY, SX_HS_BAD_AUTH, SX_HS_BAD_SERVICE };
enum sx_block_reason { SX_BLOCKED_SPAM = 1, SX_BLOCKED_CONTENT };

/* One flat record: PROXY PROTOCOL nests one level (`relay`); deeper nesting is refused. */
struct sx_smp_err {
    uint8_t err;       /* enum sx_err */
    uint8_t cmd;       /* of err, or of relay when err is PROXY PROTOCOL */
    uint8_t name;
    uint8_t proxy;
    uint8_t relay;     /* enum sx_err: what the relay answered, for PROXY PROTOCOL */
    uint8_t broker;
    uint8_t transport;
    uint8_t handshake;
    uint8_t blocked;   /* enum sx_block_reason */
    bool has_notice;
    bool has_ttl;
    int64_t ttl;       /* seconds */
    simplex_bytes text; /* RESPONSE, UNEXPECTED, STORE, RESOLVER, detail of NETWORK; borrowed */
};

/* Writes without the leading "ERR ". `version` decides about BLOCKED. */
void sx_smp_err_encode(struct sx_wr *w, const struct sx_smp_err *e, uint16_t version);
simplex_rc sx_smp_err_decode(simplex_bytes text, struct sx_smp_err *e) SIMPLEX_CHECK;
/* reason=spam|content[,notice={...}], as in BLOCKED, the store log and the control port: the fields
 * `blocked` to `ttl` of e, which are zero before. */
void sx_wr_block_info(struct sx_wr *w, const struct sx_smp_err *e, uint16_t version);
void sx_rd_block_info(struct sx_rd *r, struct sx_smp_err *e);

/* ---- commands (section 6.1) ---- */

enum sx_cmd_tag {
    SX_NEW, SX_SUB, SX_SUBS, SX_KEY, SX_RKEY, SX_LSET, SX_LDEL, SX_NKEY, SX_NDEL, SX_GET, SX_ACK,
    SX_OFF, SX_DEL, SX_QUE, SX_SKEY, SX_SEND, SX_PING, SX_LKEY, SX_LGET, SX_NSUB, SX_NSUBS,
    SX_PRXY, SX_PFWD, SX_RFWD, SX_RSLV, SX_CMD_TAGS
};

#define SX_RKEYS_MAX 255

struct sx_cmd {
    enum sx_cmd_tag tag;
    union {
        struct {
            struct sx_pub auth, dh;
            bool has_password;
            simplex_bytes password;
            bool subscribe;          /* 'S' or 'C' */
            uint8_t mode;            /* enum sx_queue_mode; NONE: no queue data */
            bool has_link;           /* link data follows the mode (v15+) */
            simplex_bytes link_id;   /* contact only */
            simplex_bytes snd_id, fixed, user;
            bool has_ntf;            /* v17+ */
            struct sx_pub ntf_auth, ntf_dh;
        } new_;
        struct { bool has_hash; int64_t count; uint8_t hash[16]; } subs; /* SUBS NSUBS; v19+
            has both and needs has_hash to be encoded, older versions have neither */
        struct { struct sx_pub key; } key;                               /* KEY SKEY LKEY */
        struct { simplex_bytes keys; uint8_t count; } rkey; /* keys: count * K, validated */
        struct { simplex_bytes link_id, fixed, user; } lset;
        struct { struct sx_pub auth, dh; } nkey;
        struct { simplex_bytes msg_id; } ack;
        struct { bool notify; simplex_bytes body; } send;
        struct { struct sx_server server; bool has_password; simplex_bytes password; } prxy;
        struct { uint16_t version; struct sx_pub key; simplex_bytes body; } pfwd;
        struct { simplex_bytes body; } rfwd;
        struct { simplex_bytes name; } rslv;
    };
};

const char *sx_cmd_name(enum sx_cmd_tag tag);
void sx_cmd_encode(struct sx_wr *w, const struct sx_cmd *c, uint16_t version);
/* *err says what a server answers: CMD UNKNOWN or CMD SYNTAX (SX_ERR_NONE on success). */
simplex_rc sx_cmd_decode(simplex_bytes text, uint16_t version, struct sx_cmd *c,
                         struct sx_smp_err *err) SIMPLEX_CHECK;
/* Reads the next key of an RKEY list. */
void sx_rkey_next(struct sx_rd *keys, struct sx_pub *out);
/* The credentials table of section 6.1: SX_ERR_NONE or the CMD error. */
struct sx_smp_err sx_cmd_check_credentials(const struct sx_cmd *c, bool has_auth, bool has_entity);

/* ---- responses and events (section 6.2) ---- */

enum sx_rsp_tag {
    SX_R_IDS, SX_R_LNK, SX_R_OK, SX_R_SOK, SX_R_SOKS, SX_R_MSG, SX_R_ALLS, SX_R_NID, SX_R_NMSG,
    SX_R_PKEY, SX_R_PRES, SX_R_RRES, SX_R_END, SX_R_ENDS, SX_R_DELD, SX_R_PONG, SX_R_INFO,
    SX_R_RNAME, SX_R_ERR, SX_RSP_TAGS
};

struct sx_rsp {
    enum sx_rsp_tag tag;
    union {
        struct {
            simplex_bytes rcv_id, snd_id;
            struct sx_pub srv_dh;
            uint8_t mode;          /* v9-14 Bool, v15+ Maybe */
            bool has_link_id, has_service_id, has_ntf;
            simplex_bytes link_id, service_id, ntf_id;
            struct sx_pub ntf_srv_dh;
        } ids;
        struct { simplex_bytes snd_id, fixed, user; } lnk;
        struct { bool has_service_id; simplex_bytes service_id; } sok; /* v<16: OK */
        struct { int64_t count; bool has_hash; uint8_t hash[16]; } soks; /* SOKS ENDS; hash: v19+,
            where has_hash must be set to encode */
        struct { simplex_bytes msg_id, body; } msg;
        struct { simplex_bytes ntf_id; struct sx_pub srv_dh; } nid;
        struct { uint8_t nonce[24]; simplex_bytes meta; } nmsg;
        struct { simplex_bytes session_id; uint16_t min, max; simplex_bytes chain; /* n*L */
                 simplex_bytes signed_key; } pkey; /* sx_chain_decode reads chain */
        struct { simplex_bytes body; } enc; /* PRES RRES */
        struct { simplex_bytes json; } info; /* INFO RNAME */
        struct sx_smp_err err;
    };
};

const char *sx_rsp_name(enum sx_rsp_tag tag);
void sx_rsp_encode(struct sx_wr *w, const struct sx_rsp *r, uint16_t version);
simplex_rc sx_rsp_decode(simplex_bytes text, uint16_t version, struct sx_rsp *r) SIMPLEX_CHECK;

/* ---- transmissions and batches (sections 2 and 5) ---- */

struct sx_transmission {
    simplex_bytes auth;        /* signature, authenticator or empty */
    bool has_service_sig;
    simplex_bytes service_sig; /* 64 bytes */
    simplex_bytes session_id;  /* v6 only */
    simplex_bytes corr_id, entity_id, command;
};

/* session_id is written at v6 only. */
void sx_transmission_encode(struct sx_wr *w, const struct sx_transmission *t, uint16_t version);
simplex_rc sx_transmission_decode(simplex_bytes in, uint16_t version, struct sx_transmission *t)
    SIMPLEX_CHECK;
/* What is signed: S(sessionId) S(corrId) S(entityId) command, at every version. */
void sx_authorized_encode(struct sx_wr *w, simplex_bytes session_id, simplex_bytes corr_id,
                          simplex_bytes entity_id, simplex_bytes command);

/* A signature is recognised by its length: 0, 64, 80 or 114. Decoding accepts any length, because
 * the answer to a wrong one (ERR BLOCK) carries the correlation id. */
bool sx_auth_len_valid(size_t len);

/* Iterates the content of a block: count(1..255), then count * L(transmission), nothing behind. */
struct sx_batch_rd {
    struct sx_rd rd;
    unsigned left;
};
simplex_rc sx_batch_open(simplex_bytes content, struct sx_batch_rd *b) SIMPLEX_CHECK; /* E_BLOCK;
    checks the whole structure first, so that _next cannot fail */
bool sx_batch_next(struct sx_batch_rd *b, simplex_bytes *transmission);

/*
 * Packs encoded transmissions into block contents. Right fold as the reference (section 2):
 * given the lengths, fills first[i] = index of the first transmission of block i; returns the
 * number of blocks. A transmission longer than SX_BATCH_CONTENT - 2 is E_TOO_LARGE.
 */
simplex_rc sx_batch_plan(const size_t *len, size_t n, size_t *first, size_t *blocks) SIMPLEX_CHECK;

/* ---- handshake (section 4) ---- */

#define SX_HELLO_CERTS_MAX 8
/* n*L(cert): the chain of PKEY, whole. */
simplex_rc sx_chain_decode(simplex_bytes chain, simplex_bytes certs[SX_HELLO_CERTS_MAX], size_t *n)
    SIMPLEX_CHECK;

struct sx_server_hello {
    uint16_t min, max;
    simplex_bytes session_id;
    bool has_key;            /* chain and signed key are present (max >= 7) */
    simplex_bytes certs[SX_HELLO_CERTS_MAX];  /* DER, as sent; more than 8 is a decode error */
    size_t n_certs;
    simplex_bytes signed_key; /* DER */
};
void sx_server_hello_encode(struct sx_wr *w, const struct sx_server_hello *h);
simplex_rc sx_server_hello_decode(simplex_bytes in, struct sx_server_hello *h) SIMPLEX_CHECK;

struct sx_client_hello {
    uint16_t version;
    simplex_bytes key_hash;
    bool has_key;
    struct sx_pub key;       /* X25519 */
    bool proxy;              /* v14+ */
    bool has_service;        /* v16+ */
    uint8_t service_role;    /* 'M' 'N' 'P' */
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    size_t n_certs;
    simplex_bytes signed_key;
};
void sx_client_hello_encode(struct sx_wr *w, const struct sx_client_hello *h);
simplex_rc sx_client_hello_decode(simplex_bytes in, struct sx_client_hello *h) SIMPLEX_CHECK;

struct sx_service_reply { /* third message, only after a client service hello */
    bool ok;
    simplex_bytes service_id;   /* ok */
    struct sx_smp_err error;    /* not ok: transport and handshake fields */
};
void sx_service_reply_encode(struct sx_wr *w, const struct sx_service_reply *r);
simplex_rc sx_service_reply_decode(simplex_bytes in, struct sx_service_reply *r) SIMPLEX_CHECK;

/* ---- bodies the server makes (section 7) ---- */

struct sx_rcv_msg { /* plaintext of MSG */
    bool quota;     /* the quota marker: only ts */
    int64_t ts_s;
    bool notify;
    simplex_bytes body;
};
void sx_rcv_msg_encode(struct sx_wr *w, const struct sx_rcv_msg *m);
simplex_rc sx_rcv_msg_decode(simplex_bytes in, struct sx_rcv_msg *m) SIMPLEX_CHECK;

struct sx_ntf_meta { /* plaintext of NMSG */
    simplex_bytes msg_id;
    int64_t ts_s;
};
void sx_ntf_meta_encode(struct sx_wr *w, const struct sx_ntf_meta *m);
simplex_rc sx_ntf_meta_decode(simplex_bytes in, struct sx_ntf_meta *m) SIMPLEX_CHECK;

/* Forwarded transmission inside RFWD and response inside RRES (section 8). */
struct sx_fwd_transmission {
    simplex_bytes corr_id;
    uint16_t version;
    struct sx_pub key;
    simplex_bytes encrypted;
};
void sx_fwd_transmission_encode(struct sx_wr *w, const struct sx_fwd_transmission *f);
simplex_rc sx_fwd_transmission_decode(simplex_bytes in, struct sx_fwd_transmission *f)
    SIMPLEX_CHECK;
struct sx_fwd_response {
    simplex_bytes corr_id, encrypted;
};
void sx_fwd_response_encode(struct sx_wr *w, const struct sx_fwd_response *f);
simplex_rc sx_fwd_response_decode(simplex_bytes in, struct sx_fwd_response *f) SIMPLEX_CHECK;

#endif
