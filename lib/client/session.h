/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SMP session above one TLS connection, either side, without I/O (protocol/smp.md sections
 * 2, 4 and 5): handshake, block encryption, the content of blocks. Bytes in, bytes out.
 *
 * The client and the server both use it; each feeds it whole 16384-byte blocks.
 */
#ifndef SX_SESSION_H
#define SX_SESSION_H

#include "crypto/x509.h"
#include "wire/smp.h"

enum sx_session_state {
    SX_S_WAIT_HELLO, /* client: for the server's hello; server: for the client's */
    SX_S_READY,
    SX_S_WAIT_SERVICE, /* client: for the server's answer to the service it said it is */
    SX_S_RELAY,        /* only sx_session_encode works: see sx_session_relay */
    SX_S_FAILED,       /* nothing may be fed or sealed any more */
};

/* A service as the server sees it in a hello; the certificates are those of TLS and verified. */
struct sx_service_hello {
    uint8_t role; /* 'M' 'N' 'P' */
    const struct sx_chain *chain;
    uint8_t cert_hash[32]; /* of its identity certificate */
};
/* Server: its id for the service; false: refused (BAD_SERVICE). */
typedef bool sx_service_accept(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN]);

struct sx_service_cert { /* client: what it is */
    uint8_t role;
    struct sx_chain chain;  /* the one that was presented to TLS, leaf first */
    struct sx_keypair leaf; /* key of the leaf */
};

/* What a session of a service knows (section 5), on both sides once READY. */
struct sx_session_service {
    uint8_t role; /* 0: no service */
    uint8_t id[SX_ID_LEN];
    uint8_t cert_hash[32];
    struct sx_keypair key; /* Ed25519, of this session; the server knows the public half */
};

struct sx_session { /* a few hundred bytes, no heap: part of its connection */
    enum sx_session_state state;
    bool is_server;
    uint16_t min, max; /* own range */
    uint16_t version;  /* agreed, once READY */
    uint8_t id[64];    /* TLS session id (tls-unique of the client) */
    uint8_t id_len;
    uint8_t key_hash[32];     /* client: expected identity; server: own identity */
    struct sx_keypair own;    /* ephemeral X25519; server: session key for authenticators */
    struct sx_pub peer_key;   /* the other side's X25519, SX_NO_KEY when absent */
    struct sx_pub leaf;       /* client: the key of the TLS leaf, until READY */
    bool encrypted;           /* blocks are encrypted from now on */
    bool proxy;               /* server: the client is a proxy; client: we are */
    bool no_key;              /* client: sends no key */
    bool has_shared;          /* both sides sent a key */
    struct sx_box_key shared; /* of both keys: RFWD and RRES (section 8) */
    uint8_t snd_chain[32], rcv_chain[32];
    struct sx_session_service service;
    const struct sx_service_cert *cert; /* client, until READY */
    const struct sx_chain *peer_chain;  /* these three: server, until READY */
    sx_service_accept *accept;
    void *accept_user;
};

static inline simplex_bytes sx_session_id(const struct sx_session *s)
{
    return (simplex_bytes){ s->id, s->id_len };
}

struct sx_session_client_cfg {
    uint16_t min, max;            /* 0: SX_SMP_MIN, SX_SMP_MAX */
    simplex_bytes session_id;     /* own tls-unique */
    const uint8_t *key_hash;      /* 32 bytes: identity in the server's address */
    const struct sx_chain *chain; /* the chain TLS saw (already verified); not kept */
    bool proxy;                   /* announce this connection as a proxy's */
    bool no_key;                  /* send no key: no block encryption (tests) */
    bool alpn;                    /* ALPN was negotiated; without it only version 6 is offered */
    /* The client is a service, and TLS has presented this chain; NULL: an ordinary client. Used
     * until READY. Versions below 16 (role M: 19) know no services: there the session is an
     * ordinary one, its service.role 0. */
    const struct sx_service_cert *service;
};
simplex_rc sx_session_client(struct sx_session *s,
                             const struct sx_session_client_cfg *cfg) SIMPLEX_CHECK;

struct sx_session_server_cfg {
    uint16_t min, max; /* 0: SX_SMP_MIN, SX_SMP_MAX */
    simplex_bytes session_id;
    const uint8_t *key_hash;           /* own identity fingerprint */
    const struct sx_chain *chain;      /* own chain; not kept */
    const struct sx_keypair *leaf;     /* signs the session key; not kept */
    bool alpn;                         /* false: the hello offers version 6 alone */
    const struct sx_chain *peer_chain; /* what the client presented to TLS; used until READY */
    sx_service_accept *accept;         /* NULL: services are refused */
    void *accept_user;
};
/* hello: room for one block, to be sent first. */
simplex_rc sx_session_server(struct sx_session *s, const struct sx_session_server_cfg *cfg,
                             uint8_t hello[SX_BLOCK]) SIMPLEX_CHECK;

/*
 * Feeds a block, which is decrypted in place. While the handshake lasts `reply` may receive a
 * block to send (*has_reply) and *content is empty; reply may be NULL once READY. When READY,
 * *content is the content of the block (to be read with sx_batch_open). Errors put the session
 * into SX_S_FAILED: the caller closes the connection, after sending the reply if there is one
 * (a server refuses service certificates like that). E_HANDSHAKE, E_SESSION, E_VERSION,
 * E_FINGERPRINT, E_SIGNATURE, E_BLOCK.
 */
simplex_rc sx_session_input(struct sx_session *s, uint8_t block[SX_BLOCK], uint8_t reply[SX_BLOCK],
                            bool *has_reply, simplex_bytes *content) SIMPLEX_CHECK;

/* Largest content of one block now; batches use SX_BATCH_CONTENT. */
size_t sx_session_room(const struct sx_session *s);
/*
 * Pads (and encrypts) content into block; they may not overlap. The size is checked before the
 * chain advances: E_TOO_LARGE leaves the session usable.
 */
simplex_rc sx_session_seal(struct sx_session *s, simplex_bytes content,
                           uint8_t block[SX_BLOCK]) SIMPLEX_CHECK;

/*
 * Authorises and encodes a transmission of the client: signature (Ed25519, Ed448) or
 * authenticator (X25519 with the server's session key; E_KEY when it sent none). key NULL:
 * unsigned. A service signs NEW, SUB and NSUB with its session key as well; SUBS and NSUBS with
 * service.key alone, for the entity service.id. E_ENCODE; E_TOO_LARGE when it does not fit into one
 * block, alone. On failure out has the length it had.
 */
simplex_rc sx_session_encode(const struct sx_session *s, const struct sx_keypair *key,
                             const uint8_t corr_id[SX_ID_LEN], simplex_bytes entity,
                             const struct sx_cmd *cmd, struct sx_wr *out) SIMPLEX_CHECK;
/*
 * The session of a relay behind a proxy (section 8): what PKEY tells about it is enough to
 * encode the inner transmissions of PFWD with sx_session_encode, and for nothing else. relay_key:
 * X25519, verified by the caller. Wipe as any session.
 */
simplex_rc sx_session_relay(struct sx_session *s, uint16_t version, simplex_bytes session_id,
                            const struct sx_pub *relay_key) SIMPLEX_CHECK;

/*
 * Server: does t->auth authorise t with key? `authorized` is made with sx_authorized_encode. A
 * key of another kind, and NULL (no such queue), answers false after verifying with a fixed key
 * of the kind of t->auth: the time tells nothing (section 5).
 */
bool sx_session_verify(const struct sx_session *s, const struct sx_pub *key,
                       const struct sx_transmission *t, simplex_bytes authorized);

/* Server, session of a service: is the service's signature of the transmission right? */
bool sx_session_verify_service(const struct sx_session *s, const struct sx_transmission *t,
                               simplex_bytes authorized);

void sx_session_wipe(struct sx_session *s);

#endif
