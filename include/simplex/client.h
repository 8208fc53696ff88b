/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to one SMP server, for applications that speak the queue protocol themselves
 * (section numbers are those of protocol/smp.md). No agent, no ratchet, no database: you keep the
 * keys, encrypt the messages, and decide what to do when a server refuses.
 *
 * A client has one thread of its own. simplex_client_send posts a command and returns at once; what
 * the server says follows as an event, either through one callback on the client's thread or, when
 * no callback is configured, through simplex_client_next_event. Commands posted together travel
 * together, in order; a command for a queue never shares a block with another one for the same
 * queue, because servers run a block from its end.
 *
 *     recipient                                     sender
 *     NEW        -> IDS rcv_id, snd_id, server_key  (snd_id and a key, by other means)
 *     SUB        -> OK, then a PUSH with MSG         SKEY snd_id  -> OK
 *     simplex_client_open_message                    SEND snd_id  -> OK
 *     ACK msg_id -> OK, or the next MSG
 *
 * Keys are DER: public ones SubjectPublicKeyInfo (44 bytes, Ed448 69), private ones PKCS #8 (48
 * bytes, Ed448 73). simplex_client_keypair makes them. Ids are the server's, 24 bytes as a rule,
 * at most 255. Functions return SIMPLEX_E_ARG when a pointer that must not be NULL is NULL.
 */
#ifndef SIMPLEX_CLIENT_H
#define SIMPLEX_CLIENT_H

#include "simplex/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simplex_client simplex_client; /* callable from any thread */

/* Commands (section 6.1). Beside each: the fields of simplex_command it needs, and the answer. */
enum {
    SIMPLEX_SMP_NEW = 1,   /* auth_key, dh_key, queue_mode, subscribe; may: password, link data
                              (snd_id, fixed_data, user_data, in contact mode link_id; corr_id),
                              ntf_key and ntf_dh_key (v17) -> IDS */
    SIMPLEX_SMP_SUB = 2,   /* entity rcv_id, auth_key -> OK; MSG follows as PUSH */
    SIMPLEX_SMP_KEY = 3,   /* entity rcv_id, auth_key, key: the sender's public key -> OK */
    SIMPLEX_SMP_RKEY = 4,  /* entity rcv_id, auth_key, keys: new recipient keys -> OK */
    SIMPLEX_SMP_LSET = 5,  /* entity rcv_id, auth_key, link_id, fixed_data, user_data -> OK */
    SIMPLEX_SMP_LDEL = 6,  /* entity rcv_id, auth_key -> OK */
    SIMPLEX_SMP_NKEY = 7,  /* entity rcv_id, auth_key, key: the notifier's, dh_key -> NID */
    SIMPLEX_SMP_NDEL = 8,  /* entity rcv_id, auth_key -> OK */
    SIMPLEX_SMP_GET = 9,   /* entity rcv_id, auth_key -> MSG, or OK when there is none */
    SIMPLEX_SMP_ACK = 10,  /* entity rcv_id, auth_key, msg_id -> OK, or the next MSG */
    SIMPLEX_SMP_OFF = 11,  /* entity rcv_id, auth_key -> OK: nobody can send any more */
    SIMPLEX_SMP_DEL = 12,  /* entity rcv_id, auth_key -> OK */
    SIMPLEX_SMP_QUE = 13,  /* entity rcv_id, auth_key -> INFO */
    SIMPLEX_SMP_SKEY = 14, /* entity snd_id, auth_key: whose public key secures the queue -> OK */
    SIMPLEX_SMP_SEND = 15, /* entity snd_id, auth_key (none: unsecured queue), body, notify -> OK */
    SIMPLEX_SMP_LKEY = 16, /* entity link_id, auth_key: as SKEY -> LNK */
    SIMPLEX_SMP_LGET = 17, /* entity link_id -> LNK */
    SIMPLEX_SMP_NSUB = 18, /* entity ntf_id, auth_key -> OK; NMSG follows as PUSH */
    SIMPLEX_SMP_PING = 19, /* -> PONG */
    SIMPLEX_SMP_SUBS = 20, /* of a service, when UP: count, ids_hash -> SOKS; for each queue with a
                              message MSG as PUSH, then ALLS */
    SIMPLEX_SMP_NSUBS = 21, /* the same of a notification service -> SOKS */
};

/* Responses (section 6.2). Beside each: the fields of simplex_client_event it fills. */
enum {
    SIMPLEX_SMP_IDS = 1, /* rcv_id, snd_id, server_key; may: queue_mode, link_id, ntf_id,
                            ntf_server_key, service_id */
    SIMPLEX_SMP_OK = 2, /* service_id when the queue belongs to the service now */
    SIMPLEX_SMP_MSG = 3,  /* msg_id, body: see simplex_client_open_message */
    SIMPLEX_SMP_LNK = 4,  /* snd_id, fixed_data, user_data */
    SIMPLEX_SMP_NID = 5,  /* ntf_id, server_key */
    SIMPLEX_SMP_NMSG = 6, /* nonce, meta: see simplex_client_open_notification */
    SIMPLEX_SMP_INFO = 7, /* json */
    SIMPLEX_SMP_PONG = 8,
    SIMPLEX_SMP_END = 9,   /* another connection subscribed to the queue `entity` */
    SIMPLEX_SMP_DELD = 10, /* the queue `entity` was deleted by another connection */
    SIMPLEX_SMP_ERR = 11,  /* error */
    SIMPLEX_SMP_SOKS = 12, /* count, ids_hash: what the server knows to be the service's */
    SIMPLEX_SMP_ENDS = 13, /* count, ids_hash: another connection has the service's queues now */
    SIMPLEX_SMP_ALLS = 14, /* all that waited after SUBS was delivered */
};

/* queue_mode */
enum {
    SIMPLEX_QUEUE_MESSAGING = 'M', /* one sender, who secures it with SKEY */
    SIMPLEX_QUEUE_CONTACT = 'C',   /* anybody may send */
};

/* What an event is about. */
enum {
    SIMPLEX_CLIENT_UP = 1,       /* version: the session is ready, also after reconnecting;
                                    service_id: when it is one of a service */
    SIMPLEX_CLIENT_DOWN = 2,     /* rc: it ended, or could not be had. Subscriptions are gone */
    SIMPLEX_CLIENT_RESPONSE = 3, /* request, rc; response, its fields when rc is OK or SERVER */
    SIMPLEX_CLIENT_PUSH = 4,     /* response and its fields: sent without being asked for, or an
                                    answer that came after the time limit */
};

/*
 * An event. Everything it points to belongs to the library: valid during the callback or until
 * simplex_client_event_free. What an event does not carry is zero. New fields go to the end.
 */
typedef struct simplex_client_event {
    int32_t kind;         /* SIMPLEX_CLIENT_... */
    simplex_rc rc;        /* DOWN, RESPONSE */
    uint64_t request;     /* RESPONSE: the number simplex_client_send gave */
    int32_t response;     /* SIMPLEX_SMP_IDS ... SIMPLEX_SMP_ERR */
    uint16_t version;     /* UP: SMP version, 6..19 */
    simplex_bytes entity; /* the queue (or link) that the response is about */
    simplex_bytes rcv_id, snd_id, link_id, ntf_id;
    simplex_bytes server_key;     /* X25519 public key of the queue, DER */
    simplex_bytes ntf_server_key; /* X25519 public key for notifications, DER */
    int32_t queue_mode;           /* 0: the server did not say */
    simplex_bytes msg_id, body;
    simplex_bytes fixed_data, user_data;
    simplex_bytes nonce, meta;
    simplex_bytes json;  /* UTF-8 */
    simplex_bytes error; /* what the server said: "AUTH", "CMD SYNTAX" (section 6.2) */
    simplex_bytes service_id;
    int64_t count;
    simplex_bytes ids_hash; /* 16 bytes: simplex_client_ids_hash */
} simplex_client_event;

/*
 * Called on the client's thread, one event at a time. simplex_client_send may be called inside;
 * simplex_client_close may not. Do not block: the connection waits.
 */
typedef void simplex_client_event_cb(void *user, const simplex_client_event *ev);

typedef struct simplex_client_config {
    size_t size;        /* sizeof(simplex_client_config); new fields are added at the end */
    const char *server; /* smp://fingerprint[:password]@host[,host...][:port] */
    simplex_client_event_cb *on_event; /* NULL: pull with simplex_client_next_event */
    void *user;                        /* handed to on_event */
    bool stay_connected;    /* connect now, reconnect by itself, send PINGs; otherwise the client
                               connects when there is a command to send */
    const char *socks_host; /* SOCKS5 proxy, which resolves the server's name; NULL: none */
    uint16_t socks_port;    /* 0: 9050 */
    const char *socks_user; /* NULL: `isolation` makes up a user name */
    const char *socks_password; /* with socks_user */
    bool socks_only_onion;      /* the proxy is for .onion hosts alone */
    const char *isolation; /* connections with different texts use different Tor circuits; NULL: a
                              random one */
    /* 0: the protocol's default (section 9); times in milliseconds. */
    int64_t connect_timeout;           /* 45,000: TCP, TLS and handshake together */
    int64_t command_timeout;           /* 30,000 */
    int64_t reconnect_first;           /* 2,000; grows to reconnect_max. For 3/2 of it, 3,000 at
                                        * most, a failure to connect answers what follows */
    int64_t reconnect_max;             /* 180,000 */
    uint16_t min_version, max_version; /* SMP versions: 6..19 */

    /* The client is a service (sections 4 and 5): the server remembers which queues it made or
     * subscribed as one, and SUBS subscribes them all. PEM, as simplex_client_service_cert makes
     * them; a certificate is for one role. Servers before SMP 19 (notifications: 16) see an
     * ordinary client; one that refuses the service closes the connection (HANDSHAKE). */
    int32_t service_role; /* SIMPLEX_SERVICE_..., 0: none */
    simplex_bytes service_cert, service_key;
} simplex_client_config;

enum {
    SIMPLEX_SERVICE_MESSAGES = 'M',
    SIMPLEX_SERVICE_NOTIFICATIONS = 'N',
};

/*
 * Starts a client. cfg and all it points to are copied. *out: to be closed with
 * simplex_client_close; NULL on failure. Whether the server can be reached shows later, in events.
 * Errors: ARG (size, text too long, role), ADDRESS (server), DECODE, CERT, KEY (of the service),
 * NOMEM, SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_client_open(const simplex_client_config *cfg,
                                           simplex_client **out) SIMPLEX_CHECK;

/*
 * Closes the connection, waits for the thread and frees c. Requests without an answer are dropped
 * without an event, and so are events that were not pulled. No other thread may be inside a
 * function with c. NULL is fine. Refused (CALLBACK) inside on_event.
 */
SIMPLEX_API simplex_rc simplex_client_close(simplex_client *c);

/* A command. Set size and command, leave what the command does not need zero. Nothing is kept. */
typedef struct simplex_command {
    size_t size;               /* sizeof(simplex_command); new fields are added at the end */
    int32_t command;           /* SIMPLEX_SMP_NEW ... SIMPLEX_SMP_PING */
    simplex_bytes entity;      /* the id that the command is about, at most 255 bytes */
    simplex_bytes auth_key;    /* private key (Ed25519, Ed448 or X25519) that authorises it */
    simplex_bytes key, dh_key; /* public keys; dh_key is X25519 */
    simplex_bytes ntf_key, ntf_dh_key; /* NEW */
    const simplex_bytes *keys;         /* RKEY: public keys */
    size_t n_keys;                     /* 1..255 */
    simplex_bytes password;            /* NEW; the one in the server's address when empty */
    int32_t queue_mode;                /* NEW: SIMPLEX_QUEUE_..., 0: unknown (before v9) */
    bool subscribe;                    /* NEW: also as SUB */
    simplex_bytes link_id, snd_id;
    simplex_bytes fixed_data, user_data; /* encrypted link data */
    simplex_bytes msg_id;                /* ACK */
    simplex_bytes body;                  /* SEND: up to 16048 bytes (16064 before v11) */
    bool notify;                         /* SEND: the server should notify the recipient */
    simplex_bytes corr_id; /* 24 bytes to use as correlation id (NEW with link data); empty:
                              random */
    int64_t timeout;       /* ms; 0: command_timeout */
    int64_t count;         /* SUBS, NSUBS: how many queues (v19) ... */
    simplex_bytes ids_hash; /* ... and which: 16 bytes of simplex_client_ids_hash */
} simplex_command;

/*
 * Posts a command. *request (may be NULL): number of the RESPONSE event that follows: rc is OK,
 * SERVER (the server answered ERR), TIMEOUT, RESPONSE (an answer that does not fit), TOO_LARGE,
 * or why the connection failed or ended. Errors, after which no event follows: ARG (unknown
 * command, an id that is too long), KEY (a key of another kind), TOO_LARGE, NOMEM, CLOSED.
 */
SIMPLEX_API simplex_rc simplex_client_send(simplex_client *c, const simplex_command *cmd,
                                           uint64_t *request) SIMPLEX_CHECK;

/*
 * Pull mode: waits up to timeout_ms (0: not at all, < 0: for ever) and hands over the next event,
 * which the caller frees with simplex_client_event_free. Any thread. Errors: NO_EVENT, PROHIBITED
 * (a callback is configured), NOMEM (events were lost; the connection was closed and all requests
 * without an answer are reported failed).
 */
SIMPLEX_API simplex_rc simplex_client_next_event(simplex_client *c, int64_t timeout_ms,
                                                 simplex_client_event **ev) SIMPLEX_CHECK;
/* Only pulled events; NULL is fine. Any thread. */
SIMPLEX_API void simplex_client_event_free(simplex_client_event *ev);

/* The network is back: connect now if connected is what the client should be. Any thread. */
SIMPLEX_API simplex_rc simplex_client_reconnect(simplex_client *c) SIMPLEX_CHECK;

/* ---- helpers: pure computation, any thread ---- */

enum { SIMPLEX_ED25519 = 1, SIMPLEX_ED448 = 2, SIMPLEX_X25519 = 3 };
#define SIMPLEX_PRIVATE_KEY_MAX 73
#define SIMPLEX_PUBLIC_KEY_MAX 69

/*
 * A new key pair as DER. private_len, public_len: in the room, out the length. Keep the private
 * key secret and wipe it when it has served. Errors: ARG (alg), BUFFER (both lengths are set).
 */
SIMPLEX_API simplex_rc simplex_client_keypair(int32_t alg, uint8_t *private_key,
                                              size_t *private_len, uint8_t *public_key,
                                              size_t *public_len) SIMPLEX_CHECK;

typedef struct simplex_client_message {
    bool quota;          /* not a message: senders hit the quota here; acknowledge it too */
    bool notify;         /* the sender asked for a notification */
    int64_t server_time; /* seconds since 1970 */
} simplex_client_message;

#define SIMPLEX_MESSAGE_MAX 16104

/*
 * Removes the server's encryption of a MSG (section 7). dh_key: the private key whose public part
 * went into NEW; server_key: from IDS. What the sender gave to SEND is written to `to`; *len: in
 * the room (SIMPLEX_MESSAGE_MAX is enough), out the length. Errors: KEY, CRYPTO (not encrypted
 * for this queue, or changed), DECODE, BUFFER (*len is set), NOMEM.
 */
SIMPLEX_API simplex_rc simplex_client_open_message(simplex_bytes dh_key, simplex_bytes server_key,
                                                   simplex_bytes msg_id, simplex_bytes body,
                                                   simplex_client_message *out, uint8_t *to,
                                                   size_t *len) SIMPLEX_CHECK;

/*
 * The same for NMSG: dh_key of NKEY (or ntf_dh_key of NEW), server_key of NID (ntf_server_key of
 * IDS). *id_len: in the room at msg_id (24 bytes as a rule, at most 255), out the length of the
 * id of the message that waits. *server_time: seconds since 1970. Errors as above.
 */
SIMPLEX_API simplex_rc simplex_client_open_notification(simplex_bytes dh_key,
                                                        simplex_bytes server_key,
                                                        simplex_bytes nonce, simplex_bytes meta,
                                                        uint8_t *msg_id, size_t *id_len,
                                                        int64_t *server_time) SIMPLEX_CHECK;

/*
 * The sender id that NEW with link data must name (section 6.3): it follows from the correlation
 * id, 24 random bytes that you choose. Writes 24 bytes.
 */
SIMPLEX_API simplex_rc simplex_client_sender_id(simplex_bytes corr_id,
                                                uint8_t snd_id[24]) SIMPLEX_CHECK;

/*
 * A certificate for service_cert and its key for service_key: Ed25519, self-signed, PEM without a
 * NUL. cert_len, key_len: in the room (SIMPLEX_SERVICE_PEM_MAX is enough), out the length. Keep the
 * key secret. Errors: ARG, BUFFER (both lengths are set), NOMEM.
 */
#define SIMPLEX_SERVICE_PEM_MAX 2048
SIMPLEX_API simplex_rc simplex_client_service_cert(char *cert, size_t *cert_len, char *key,
                                                   size_t *key_len) SIMPLEX_CHECK;

/* ids_hash of a set of queues: starts with 16 zeros; each queue's id (rcv_id for SUBS, ntf_id for
 * NSUBS) is added, and taken out again, by one call. Errors: ARG. */
SIMPLEX_API simplex_rc simplex_client_ids_hash(uint8_t hash[16], simplex_bytes id) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
