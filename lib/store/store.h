/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encrypted state database (SQLCipher). One connection, one thread. Nobody else includes the
 * database header. Records are plain structures; functions are named after what they do to rows.
 *
 * Transactions: sx_store_begin opens one unless one is open; everything until sx_store_commit
 * belongs together. A handler that may fail half-way brackets its writes with _savepoint and
 * _release or _undo. Reads see the open transaction. Without a transaction each call is one.
 *
 * A full disk, an I/O error or a lack of memory may cost the whole transaction, not only the
 * statement. Nothing is written piece by piece then: until _commit or _rollback every call,
 * _savepoint, _undo and _begin included, fails with that same result; the next transaction starts
 * afresh. Other failures leave the transaction as it was before the call.
 *
 * Results beside those of the single function: E_DB_FULL, E_DB_IO, E_NOMEM; E_DB_DAMAGED for pages
 * or values that nobody but us could have written and we did not; E_TOO_LARGE for rows above 1 MB.
 * Writing to a connection or queue that is not there is E_NOT_FOUND, adding what is there
 * E_PROHIBITED; an update of no row is E_NOT_FOUND, a removal of no row succeeds. A record with a
 * state that has no name is E_ARG.
 */
#ifndef SX_STORE_H
#define SX_STORE_H

#include "ratchet/ratchet.h"

struct sx_store;

struct sx_store_cfg {
    const char *path;
    simplex_bytes key; /* 32 bytes and raw_key, or a passphrase of any length >= 1 */
    bool raw_key;
    bool read_only;
    bool older; /* with read_only: a schema not up to date is fine; for sx_store_restore alone */
};
/* Opens or creates, migrates. E_DB_KEY, _SCHEMA, _DAMAGED, _LOCKED, _FULL, _IO. On failure *out is
 * NULL and the files are as they were. A second process is refused (E_DB_LOCKED).
 * read_only: nothing is created, migrated (E_DB_SCHEMA) or written (E_PROHIBITED); the lock is
 * taken all the same. A passphrase of the form x'64 hex digits' is that raw key (SQLCipher). */
simplex_rc sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out) SIMPLEX_CHECK;
void sx_store_close(struct sx_store *s); /* rolls back what is open */
/* Not inside a transaction (E_PROHIBITED). Survives a crash: one of the two keys opens the file. It
 * needs as much room as the file has (E_DB_FULL: nothing happened). After E_DB_IO only closing and
 * opening again is left: every call fails. */
simplex_rc sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key) SIMPLEX_CHECK;

/*
 * A copy of everything that is committed, in a new file with another key or the same: nothing about
 * the one key can be learned from the other. Not inside a transaction (E_PROHIBITED). It appears
 * under its name when it is whole, on disk and checked; until then, and after a crash, there is
 * PATH.part. E_PROHIBITED: the file exists. Otherwise E_DB_FULL, E_DB_IO; nothing is left then.
 */
simplex_rc sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key,
                           bool raw_key) SIMPLEX_CHECK;
/*
 * The other way: the backup takes the place of what is in the database at to->path, which keeps
 * its key, in one transaction; where there is no file, one is made. The backup is read through and
 * checked before. On failure, and after a crash before the end, the database is as it was.
 * E_DB_KEY, _SCHEMA, _DAMAGED, _LOCKED, _IO (also: there is no backup) of either file.
 */
simplex_rc sx_store_restore(const struct sx_store_cfg *from,
                            const struct sx_store_cfg *to) SIMPLEX_CHECK;

/* Pages are kept in up to so much memory. After opening it is 512 KiB: whoever reads each row once
 * to begin with would only fill it with what is not needed again. */
void sx_store_cache(struct sx_store *s, unsigned kib);

simplex_rc sx_store_begin(struct sx_store *s) SIMPLEX_CHECK;
bool sx_store_in_transaction(const struct sx_store *s);
bool sx_store_in_savepoint(const struct sx_store *s);
bool sx_store_dirty(const struct sx_store *s); /* the open transaction has written something */
simplex_rc sx_store_commit(struct sx_store *s) SIMPLEX_CHECK; /* on failure all is rolled back */
void sx_store_rollback(struct sx_store *s);
/* For a caller in the middle of others' work: the transaction is rolled back, and what they still
 * do in it fails with `why` (not OK) until _rollback. */
void sx_store_abandon(struct sx_store *s, simplex_rc why);
simplex_rc sx_store_savepoint(struct sx_store *s) SIMPLEX_CHECK; /* one level */
simplex_rc sx_store_release(struct sx_store *s) SIMPLEX_CHECK;
simplex_rc sx_store_undo(struct sx_store *s) SIMPLEX_CHECK;
/* Within a savepoint: what is written from here to _part_end can be undone by itself. One level. */
simplex_rc sx_store_part(struct sx_store *s) SIMPLEX_CHECK;
simplex_rc sx_store_part_end(struct sx_store *s, bool keep) SIMPLEX_CHECK;

/*
 * For tests. The nth statement (begin, commit and savepoints included; 0: the next one) from now
 * fails with rc, once, and takes the open transaction with it as a full disk does. _disarm: true
 * when it did. _exec runs SQL past all of that. _memory: failures of sx_fault_malloc reach the
 * database's own allocations too.
 */
void sx_store_fault(struct sx_store *s, unsigned nth, simplex_rc rc);
bool sx_store_fault_disarm(struct sx_store *s);
void sx_store_fault_memory(bool on);
int64_t sx_store_pages(struct sx_store *s); /* written by commits since this was last asked */
simplex_rc sx_store_exec(struct sx_store *s, const char *sql) SIMPLEX_CHECK;

/* ---- users and their servers ---- */

#define SX_USER_DEFAULT 1 /* made with the database */

struct sx_user_row {
    int64_t id;
    bool active;                 /* its queues are subscribed first */
    bool deleted;                /* its connections are being deleted */
    bool own_servers;            /* it has a list of its own, perhaps an empty one */
    bool has_hash;
    uint8_t servers_hash[32];    /* of the list that it uses */
    int64_t servers_version;     /* how often that became another one */
    int64_t servers_changed_at;  /* ms */
    int64_t created_at;          /* ms */
};
simplex_rc sx_store_user_add(struct sx_store *s, struct sx_user_row *u) SIMPLEX_CHECK; /* sets id */
/* The first with an id above `after`. E_NOT_FOUND behind the last. */
simplex_rc sx_store_user_next(struct sx_store *s, int64_t after,
                              struct sx_user_row *u) SIMPLEX_CHECK;
simplex_rc sx_store_user_update(struct sx_store *s, const struct sx_user_row *u) SIMPLEX_CHECK;
/* With its list of servers. E_PROHIBITED: it has connections. */
simplex_rc sx_store_user_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;

enum sx_server_flags { SX_SRV_ENABLED = 1, SX_SRV_STORAGE = 2, SX_SRV_PROXY = 4, SX_SRV_PRESET = 8 };

struct sx_server_row {
    int64_t user_id;
    int64_t position;     /* from 1 */
    simplex_bytes server; /* text with the password; next: borrowed until the next call */
    int64_t operator_id;
    uint8_t flags;        /* enum sx_server_flags */
};
simplex_rc sx_store_user_server_add(struct sx_store *s,
                                    const struct sx_server_row *r) SIMPLEX_CHECK;
/* The first of the user behind position `after`. E_NOT_FOUND behind the last. */
simplex_rc sx_store_user_server_next(struct sx_store *s, int64_t user_id, int64_t after,
                                     struct sx_server_row *r) SIMPLEX_CHECK;
simplex_rc sx_store_user_servers_delete(struct sx_store *s, int64_t user_id) SIMPLEX_CHECK;

/* ---- connections ---- */

enum sx_conn_state {       /* where the handshake is (agent.md section 6.1) */
    SX_CONN_NEW = 1,       /* row only: NEW or JOIN is queued */
    SX_CONN_INVITED,       /* I: link given out, waiting for a confirmation */
    SX_CONN_JOINING,       /* J: confirmation stored, being delivered */
    SX_CONN_CONFIRMED,     /* I: CONF shown, waiting for allow */
    SX_CONN_ACCEPTED,      /* I: allowed, reply confirmation being delivered */
    SX_CONN_READY,         /* CON was shown */
    SX_CONN_REQUESTED,     /* I: the link goes to a contact address, waiting for a confirmation */
    SX_CONN_LOOKING,       /* J: the data behind a short link is fetched */
    SX_CONN_LOOKED,        /* J: it was read; joining comes next */
};
enum sx_conn_role {
    SX_INITIATOR = 'I',
    SX_JOINER = 'J',
    SX_ADDRESS = 'A', /* a contact address: only requests arrive there */
};

enum sx_sync_state { /* of the ratchet with the peer's (section 6.6) */
    SX_SYNC_OK,
    SX_SYNC_ALLOWED,  /* a message could not be read: a new ratchet may be wanted */
    SX_SYNC_REQUIRED, /* nothing can be read until there is a new one */
    SX_SYNC_STARTED,  /* our new keys are on their way to the peer */
    SX_SYNC_AGREED,   /* both have the keys of the other: no message came yet */
};

struct sx_conn {
    int64_t id;
    int64_t user;             /* id; 0 is written as SX_USER_DEFAULT */
    uint8_t role;             /* enum sx_conn_role */
    uint8_t state;            /* enum sx_conn_state */
    uint16_t agent_version;   /* 0: not agreed yet */
    bool pq_support;
    bool deleted;
    bool subscribe;           /* the application wants messages pushed */
    int64_t last_id;          /* internal ids, both directions */
    int64_t last_snd_id;      /* own external ids */
    int64_t last_rcv_ext_id;  /* the peer's external id received last */
    int64_t received;         /* messages that came, whatever their ids */
    int64_t rcv_others;       /* new keys and the like, whose ids were not left out yet */
    int64_t gap_first, gap_last; /* ids left out that the application was not told of; 0: none */
    uint8_t last_snd_hash[32];
    uint8_t last_rcv_hash[32];
    bool has_snd_hash, has_rcv_hash;
    int64_t created_at;       /* ms */
    uint8_t sync_state;       /* enum sx_sync_state */
    bool crossed;             /* the peer uses a ratchet that we do not have */
    bool old_copy;            /* until there is a new ratchet: keys of this one may have been used */
    uint8_t rcv_queues;       /* how many receiving queues the application wants; 0: one */
    bool peer_several;        /* the peer is known to use several queues */
    bool suspended;           /* its receiving queues are to take nothing more (suspend_queues.c) */
};
simplex_rc sx_store_conn_add(struct sx_store *s, struct sx_conn *c) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_conn_get(struct sx_store *s, int64_t id, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_store_conn_update(struct sx_store *s, const struct sx_conn *c) SIMPLEX_CHECK;
/* Cascades; its events go too, but one added afterwards stays: for telling of the deletion. */
simplex_rc sx_store_conn_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* ids in ascending order after `after`; fills up to *n, sets *n. */
simplex_rc sx_store_conn_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;

/* The same of one user. */
simplex_rc sx_store_conn_list_user(struct sx_store *s, int64_t user, int64_t after, int64_t *ids,
                                   size_t *n) SIMPLEX_CHECK;
/* Not one of the calls that end the life of slices. */
simplex_rc sx_store_conn_user(struct sx_store *s, int64_t id, int64_t *user) SIMPLEX_CHECK;

/* Deleted connections that deliver what was sent before (lib/agent/farewell.c). end_by: ms. */
simplex_rc sx_store_farewell_add(struct sx_store *s, int64_t conn, int64_t end_by) SIMPLEX_CHECK;
simplex_rc sx_store_farewell_has(struct sx_store *s, int64_t conn) SIMPLEX_CHECK; /* E_NOT_FOUND */
simplex_rc sx_store_farewell_delete(struct sx_store *s, int64_t conn) SIMPLEX_CHECK;
/* The one that ends first. E_NOT_FOUND: there is none. */
simplex_rc sx_store_farewell_first(struct sx_store *s, int64_t *conn,
                                   int64_t *end_by) SIMPLEX_CHECK;

/* ---- queues ---- */

enum sx_queue_status { SX_Q_NEW = 1, SX_Q_CONFIRMED, SX_Q_SECURED, SX_Q_ACTIVE, SX_Q_DISABLED };
/* stored as the reference's words: new, confirmed, secured, active, disabled */

/* Where the rotation of a queue is: kept with the queue that is being replaced (section 6.5). */
enum sx_switch_state {
    SX_SW_NONE,
    SX_SW_STARTED,  /* receiver: the new queue is being made */
    SX_SW_QADD,     /* its address is on the way to the sender, or the sender's key here */
    SX_SW_QUSE,     /* it is secured, the sender is told to use it */
    SX_SW_RECEIVED, /* a message came through it: this one is read to its end and deleted */
    SX_SW_QKEY,     /* sender: our key is on the way, or the word to use the new queue here */
    SX_SW_QTEST,    /* the new queue is in use, this one ends when it worked */
    SX_SW_ADD_NEW,  /* receiver: one more queue is being made; from here on not of a rotation */
    SX_SW_ADD_ASK,  /* it is there, the peer was asked whether it uses several */
    SX_SW_ADD_QADD, /* its address is on the way to the sender, or the sender's key here */
    SX_SW_ADD_QUSE, /* it is secured, the sender is told to use it */
    SX_SW_ADD_QKEY, /* sender: our key is on the way, or the word to use the queue here */
    SX_SW_REMOVE,   /* receiver: it is read to its end and deleted */
};
/* stored as the reference's words, "none" otherwise */

struct sx_rcv_queue {
    int64_t id, conn_id;
    struct sx_server server;
    struct sx_id rcv_id, snd_id;   /* empty until IDS arrived */
    struct sx_keypair auth;        /* Ed25519 */
    struct sx_keypair dh;          /* X25519 with the server */
    bool has_srv_secret;
    uint8_t srv_secret[32];        /* DH with the server's queue key: opens MSG bodies */
    struct sx_keypair e2e;         /* X25519: pub is in the link */
    bool has_e2e_secret;
    uint8_t e2e_secret[32];        /* DH with the sender */
    struct sx_pub sender_key;      /* to be set with KEY (standard handshake); SX_NO_KEY: none */
    uint8_t mode;                  /* enum sx_queue_mode */
    uint16_t client_version;
    uint8_t status;                /* enum sx_queue_status */
    bool primary;
    bool deleted;                  /* DEL is due */
    uint32_t delete_errors;
    uint8_t switch_state;          /* enum sx_switch_state */
    int64_t replaces;              /* id of the queue that this one takes the place of; 0: none */
    bool suspended;                /* its server takes nothing more for it */
};
simplex_rc sx_store_rcvq_add(struct sx_store *s, struct sx_rcv_queue *q) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_rcvq_get(struct sx_store *s, int64_t id, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* By the address of a MSG: server by hosts and port, and rcv_id. E_NOT_FOUND. */
simplex_rc sx_store_rcvq_find(struct sx_store *s, const struct sx_server *server,
                              simplex_bytes rcv_id, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* The nth queue of the connection, primary first. E_NOT_FOUND. */
simplex_rc sx_store_rcvq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_rcvq_update(struct sx_store *s, const struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_rcvq_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* Every queue with an id above `after`, ascending; E_NOT_FOUND behind the last. */
simplex_rc sx_store_rcvq_next(struct sx_store *s, int64_t after, struct sx_rcv_queue *q)
    SIMPLEX_CHECK;

/* What came through a queue of a connection that has several. */
struct sx_queue_counts {
    int64_t last_ext_id; /* the sender's number of the message that came last; 0: none did */
    int64_t received;    /* messages, whether or not another queue was faster */
    int64_t missed;      /* that came through others and will not through this one */
    int64_t missed_told; /* of these, how many the application was told of */
    bool behind_told;    /* it was told that the queue is behind the others */
    int64_t first_ts, last_ts; /* ms */
};
/* Zeros when there is no row yet. */
simplex_rc sx_store_counts_get(struct sx_store *s, int64_t rcv_queue_id,
                               struct sx_queue_counts *c) SIMPLEX_CHECK;
simplex_rc sx_store_counts_put(struct sx_store *s, int64_t rcv_queue_id,
                               const struct sx_queue_counts *c) SIMPLEX_CHECK;

struct sx_snd_queue {
    int64_t id, conn_id;
    struct sx_server server;
    struct sx_id snd_id;
    struct sx_keypair auth;        /* Ed25519: SKEY, or the `K` key of the confirmation */
    struct sx_pub e2e_pub;         /* own X25519 public key, in the confirmation's header */
    uint8_t e2e_secret[32];
    uint8_t mode;
    uint16_t client_version;
    uint8_t status;
    bool primary;
    uint8_t switch_state;          /* enum sx_switch_state */
    int64_t replaces;              /* as above */
};
simplex_rc sx_store_sndq_add(struct sx_store *s, struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_get(struct sx_store *s, int64_t id, struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_of(struct sx_store *s, int64_t conn_id, unsigned nth,
                            struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_update(struct sx_store *s, const struct sx_snd_queue *q) SIMPLEX_CHECK;
/* With its deliveries, and the messages that were to be delivered to this queue only. */
simplex_rc sx_store_sndq_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
simplex_rc sx_store_sndq_next(struct sx_store *s, int64_t after, struct sx_snd_queue *q)
    SIMPLEX_CHECK;

/* ---- ratchets ---- */

/* With all skipped keys. E_NOT_FOUND. Free with sx_ratchet_wipe. */
simplex_rc sx_store_ratchet_get(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
    SIMPLEX_CHECK;
/* Without the skipped keys: for sending, to be put back with an empty diff. */
simplex_rc sx_store_ratchet_get_snd(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
    SIMPLEX_CHECK;
/* Insert or replace the state; diff NULL: skipped keys are all replaced by r's. Of the skipped keys
 * of a connection the newest SX_SKIPPED_STORED_MAX are kept. */
#define SX_SKIPPED_STORED_MAX (4 * SX_RATCHET_MAX_SKIP)
simplex_rc sx_store_ratchet_put(struct sx_store *s, int64_t conn_id, const struct sx_ratchet *r,
                                const struct sx_skipped_diff *diff) SIMPLEX_CHECK;
/* X3DH private keys of a link not answered yet, or of a synchronisation that was started. */
/* E_NOT_FOUND: there was none. */
simplex_rc sx_store_ratchet_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;
simplex_rc sx_store_x3dh_put(struct sx_store *s, int64_t conn_id, const struct sx_x3dh_keys *k)
    SIMPLEX_CHECK;
simplex_rc sx_store_x3dh_get(struct sx_store *s, int64_t conn_id, struct sx_x3dh_keys *k)
    SIMPLEX_CHECK;
simplex_rc sx_store_x3dh_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;
/* Hashes of the peer's keys for a new ratchet, which count once. Those of before `before` (ms) are
 * forgotten with each _add. */
simplex_rc sx_store_key_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t now, int64_t before) SIMPLEX_CHECK;
simplex_rc sx_store_key_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known) SIMPLEX_CHECK;
simplex_rc sx_store_key_hash_count(struct sx_store *s, int64_t conn_id, int64_t since,
                                   int64_t until, int64_t *n) SIMPLEX_CHECK;

/* ---- the age of the database: to know an old copy ---- */

/*
 * A number that grows when the database is opened and closed. It stands in the database and, after
 * each growth, in a file beside it (PATH-age, which holds nothing else but an id made up for this
 * purpose): a database younger than its file is an old copy that was put back. A file of another
 * database, a damaged one or none says nothing.
 */
struct sx_age {
    uint8_t id[16]; /* of the database, made with it */
    int64_t n;      /* -1: this is a backup */
};
/* A database that has none yet gets one of 0 here. */
simplex_rc sx_store_age_get(struct sx_store *s, struct sx_age *a) SIMPLEX_CHECK;
simplex_rc sx_store_age_put(struct sx_store *s, const struct sx_age *a) SIMPLEX_CHECK;
bool sx_age_read(const char *db_path, struct sx_age *a); /* false: there is none that can be read */
bool sx_age_write(const char *db_path, const struct sx_age *a); /* as a whole; false: not written */

/* ---- messages to send ---- */

struct sx_snd_msg {
    int64_t conn_id, id;      /* internal id */
    int64_t snd_id;           /* external id */
    uint8_t type;             /* enum sx_msg_tag; 0: connection info (confirmation) */
    bool notify;
    uint16_t padded;          /* length the plaintext is padded to */
    simplex_bytes plain;      /* get: borrowed until the next call on the store */
    int64_t body_id;          /* of what follows plain and is the same in other messages; 0: nothing */
    simplex_bytes shared;     /* get: that; same lifetime */
    simplex_bytes key;        /* encoded sx_msg_key; same lifetime */
    simplex_bytes e2e;        /* confirmation: encoded e2e params; empty otherwise */
    int64_t created_at;       /* ms */
    /* get: of the delivery that was looked for */
    int64_t retry_delay;      /* ms, kept over restarts; 0: first attempt */
    bool quota_seen;          /* the last answer was QUOTA: slow retries */
    bool sent;                /* some queue has it: the application was told */
};
/* It lives as long as a delivery of it: the first is added in the same transaction. */
simplex_rc sx_store_snd_msg_add(struct sx_store *s, const struct sx_snd_msg *m) SIMPLEX_CHECK;
/* What several messages end with (body_id); it goes with the last of them. _trim: if there is none,
 * to be called when all were added. */
simplex_rc sx_store_snd_body_add(struct sx_store *s, simplex_bytes body,
                                 int64_t *id) SIMPLEX_CHECK;
simplex_rc sx_store_snd_body_trim(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* A delivery of message id to a queue of its connection; both must be there. */
simplex_rc sx_store_delivery_add(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                 int64_t msg_id) SIMPLEX_CHECK;
/* The oldest pending delivery of the queue with an id above `after` (0: the first).
 * E_NOT_FOUND when there is none. */
simplex_rc sx_store_delivery_next(struct sx_store *s, int64_t snd_queue_id, int64_t after,
                                  struct sx_snd_msg *m) SIMPLEX_CHECK;
simplex_rc sx_store_delivery_retry(struct sx_store *s, int64_t snd_queue_id, int64_t msg_id,
                                   int64_t retry_delay, bool quota_seen) SIMPLEX_CHECK;
/* Removes the delivery, and the message when it was the last one. *last (may be NULL).
 * E_NOT_FOUND: there is no such delivery. */
simplex_rc sx_store_delivery_done(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                  int64_t msg_id, bool *last) SIMPLEX_CHECK;
/* Some queue has the message: `sent` from now on, for the others. */
simplex_rc sx_store_msg_sent(struct sx_store *s, int64_t conn_id, int64_t msg_id) SIMPLEX_CHECK;
/* The delivery becomes one to queue `to`, of the same connection; one that is there is replaced. Of
 * all deliveries to `to` the newest `keep` are kept; messages that have no other go with theirs. */
simplex_rc sx_store_delivery_move(struct sx_store *s, int64_t from, int64_t to, int64_t msg_id,
                                  unsigned keep) SIMPLEX_CHECK;
/* What is to be delivered to `from` is to be delivered to `to` as well. */
simplex_rc sx_store_delivery_copy(struct sx_store *s, int64_t from, int64_t to) SIMPLEX_CHECK;
/* Messages of the connection that no queue has yet. */
simplex_rc sx_store_delivery_count(struct sx_store *s, int64_t conn_id, int64_t *n) SIMPLEX_CHECK;
/* Messages that this queue is to have. */
simplex_rc sx_store_delivery_count_of(struct sx_store *s, int64_t snd_queue_id,
                                      int64_t *n) SIMPLEX_CHECK;

/* ---- messages sent, for as long as the peer may send a receipt ---- */

struct sx_sent {
    int64_t conn_id;
    int64_t snd_id;       /* external id: what a receipt names */
    int64_t id;           /* internal id */
    uint8_t status;       /* enum of simplex/agent.h; 0: no receipt yet */
    int64_t created_at;   /* ms */
    uint8_t hash[32];     /* SHA-256 of the plaintext */
};
simplex_rc sx_store_sent_add(struct sx_store *s, const struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_get(struct sx_store *s, int64_t conn_id, int64_t snd_id,
                             struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_status(struct sx_store *s, const struct sx_sent *m) SIMPLEX_CHECK;
simplex_rc sx_store_sent_delete(struct sx_store *s, int64_t conn_id, int64_t snd_id) SIMPLEX_CHECK;

/* ---- messages received ---- */

struct sx_rcv_msg_row {
    int64_t conn_id, id;       /* internal id */
    int64_t seq;               /* set by _add: its number among the events; _get: 0 */
    int64_t rcv_queue_id;
    int64_t ext_id;            /* the sender's id */
    struct sx_id srv_msg_id;   /* what ACK names */
    int64_t srv_ts;            /* ms */
    int64_t rcv_ts;            /* ms */
    uint8_t type;              /* enum sx_msg_tag */
    uint8_t integrity;         /* enum of simplex/agent.h */
    int64_t gap_first, gap_last; /* skipped ids, or the bad id in gap_first */
    bool notify, pq;
    simplex_bytes body;        /* get: borrowed until the next call on the store */
    uint8_t hash[32];          /* SHA-256 of the plaintext: for receipts */
    uint32_t attempts;         /* times the server delivered it again */
};
/* The message is an event too, until it is deleted: sx_store_event_next. */
simplex_rc sx_store_rcv_msg_add(struct sx_store *s, struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_get(struct sx_store *s, int64_t conn_id, int64_t id,
                                struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
/* By the server's message id, for repeats. E_NOT_FOUND. */
simplex_rc sx_store_rcv_msg_find(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                 simplex_bytes srv_msg_id, struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
/* Is there one of another queue than this? */
simplex_rc sx_store_rcv_msg_other(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                  bool *there) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_attempt(struct sx_store *s, int64_t conn_id, int64_t id) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_delete(struct sx_store *s, int64_t conn_id, int64_t id) SIMPLEX_CHECK;
/* Hashes of ratchet messages, to drop repeats silently (kept 21 days). The connection is not
 * checked. Looking for one reads the last 200,000 from the newest back: for messages that could not
 * be decrypted only. ext_id: the sender's number of it; 0: none; _known: may be NULL. */
simplex_rc sx_store_rcv_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t ext_id, int64_t now) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known, int64_t *ext_id) SIMPLEX_CHECK;

/* ---- confirmations (initiator) ---- */

struct sx_confirmation {
    int64_t id, conn_id;
    simplex_bytes info;        /* the peer's; get: borrowed until the next call on the store */
    simplex_bytes reply_queue; /* encoded SMPQueueInfo */
    bool accepted;
    simplex_bytes own_info;    /* set when accepted */
};
simplex_rc sx_store_conf_add(struct sx_store *s, struct sx_confirmation *c) SIMPLEX_CHECK;
simplex_rc sx_store_conf_get(struct sx_store *s, int64_t id, struct sx_confirmation *c)
    SIMPLEX_CHECK;
simplex_rc sx_store_conf_accept(struct sx_store *s, int64_t id, simplex_bytes own_info)
    SIMPLEX_CHECK;
simplex_rc sx_store_conf_delete_all(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

/* ---- requests to a contact address ---- */

struct sx_invitation {
    int64_t id, conn_id;       /* conn_id: of the address */
    bool pending;              /* neither accepted nor rejected */
    int64_t accepted;          /* the connection that was made for it; 0: none */
    simplex_bytes link;        /* pending: text of the requester's link; get: borrowed until the */
    simplex_bytes info;        /* next call on the store */
};
/* E_PROHIBITED: this address has or had the same link. */
simplex_rc sx_store_inv_add(struct sx_store *s, struct sx_invitation *i,
                            int64_t now) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_inv_known(struct sx_store *s, int64_t conn_id, simplex_bytes link,
                              bool *known) SIMPLEX_CHECK;
simplex_rc sx_store_inv_get(struct sx_store *s, int64_t id, struct sx_invitation *i)
    SIMPLEX_CHECK;
/* Accepted by a connection or (0) rejected. The newest so many of an address are remembered. */
#define SX_INV_REMEMBERED 1000
simplex_rc sx_store_inv_close(struct sx_store *s, int64_t id, int64_t accepted) SIMPLEX_CHECK;
simplex_rc sx_store_inv_count(struct sx_store *s, int64_t conn_id, int64_t *n)
    SIMPLEX_CHECK; /* pending ones of the address */
/* Pending ones of all addresses, ascending after `after`. */
simplex_rc sx_store_inv_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;
simplex_rc sx_store_inv_delete_all(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

/* ---- short links ---- */

enum sx_link_state {
    SX_LINK_MADE = 1, /* with NEW or LSET, on its way to the server */
    SX_LINK_TOLD,     /* the same, but the application has the link: it must not change */
    SX_LINK_SET,      /* the server has it */
    SX_LINK_DROPPED,  /* LDEL is due */
};

struct sx_link_row { /* behind a short link of our own */
    int64_t queue_id;        /* of the receiving queue */
    uint8_t type;            /* enum sx_short_type */
    uint8_t state;           /* enum sx_link_state */
    bool kem_in_full;        /* the full link has the KEM key too */
    uint8_t corr_id[24];     /* of NEW: the sender id follows from it; zeros: made afterwards */
    bool has_link_id;
    uint8_t link_id[24];     /* of a 1-time link from the server's answer */
    uint8_t link_key[32];
    struct sx_keypair root;  /* Ed25519 */
    simplex_bytes fixed;     /* both as the server keeps them; get: borrowed until the next call */
    simplex_bytes user;      /* on the store */
};
/* Inserts or replaces. E_NOT_FOUND: there is no such queue. */
simplex_rc sx_store_link_put(struct sx_store *s, const struct sx_link_row *l) SIMPLEX_CHECK;
simplex_rc sx_store_link_get(struct sx_store *s, int64_t queue_id,
                             struct sx_link_row *l) SIMPLEX_CHECK;
simplex_rc sx_store_link_delete(struct sx_store *s, int64_t queue_id) SIMPLEX_CHECK;

struct sx_look { /* a short link of somebody else, which a connection was begun with */
    int64_t conn_id;
    uint8_t hash[32];       /* of what tells links apart; one connection has it at a time */
    simplex_bytes link;     /* binary; get: borrowed until the next call on the store */
    struct sx_keypair auth; /* 1-time: the key that LKEY sets */
    simplex_bytes request;  /* binary full link; empty until it was read; get: borrowed */
};
simplex_rc sx_store_look_add(struct sx_store *s, const struct sx_look *l) SIMPLEX_CHECK;
simplex_rc sx_store_look_get(struct sx_store *s, int64_t conn_id,
                             struct sx_look *l) SIMPLEX_CHECK; /* not hash */
simplex_rc sx_store_look_find(struct sx_store *s, const uint8_t hash[32],
                              int64_t *conn_id) SIMPLEX_CHECK; /* E_NOT_FOUND */
simplex_rc sx_store_look_request(struct sx_store *s, int64_t conn_id,
                                 simplex_bytes request) SIMPLEX_CHECK;
simplex_rc sx_store_look_delete(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

/* ---- queues for noise: no connection has them ---- */

enum sx_noise_state {
    SX_NOISE_NEW = 1, /* NEW is due */
    SX_NOISE_MADE,    /* SKEY is due */
    SX_NOISE_READY,
    SX_NOISE_GOING,   /* DEL is due */
};

struct sx_noise_row {
    int64_t id;
    int64_t user_id;
    uint8_t state;              /* enum sx_noise_state */
    struct sx_server server;
    struct sx_id rcv_id, snd_id; /* empty until IDS arrived */
    struct sx_keypair auth, dh; /* Ed25519, X25519: of the recipient */
    struct sx_keypair snd_auth; /* Ed25519: of the sender */
};
simplex_rc sx_store_noise_add(struct sx_store *s, struct sx_noise_row *r) SIMPLEX_CHECK; /* sets id */
simplex_rc sx_store_noise_update(struct sx_store *s, const struct sx_noise_row *r)
    SIMPLEX_CHECK; /* state and ids */
simplex_rc sx_store_noise_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* The first with an id above `after`. E_NOT_FOUND. */
simplex_rc sx_store_noise_next(struct sx_store *s, int64_t after,
                               struct sx_noise_row *r) SIMPLEX_CHECK;

/* ---- commands: what has to be done over the network, oldest first per connection ---- */

struct sx_command {
    int64_t id, conn_id;
    uint8_t tag;               /* enum of lib/agent/command.h */
    int64_t queue_id;          /* 0: none */
    simplex_bytes data;        /* get: borrowed until the next call on the store */
    int64_t created_at;
};
simplex_rc sx_store_command_add(struct sx_store *s, struct sx_command *c) SIMPLEX_CHECK;
/* The oldest of the connection with an id above `after`. E_NOT_FOUND. */
simplex_rc sx_store_command_next(struct sx_store *s, int64_t conn_id, int64_t after,
                                 struct sx_command *c) SIMPLEX_CHECK;
simplex_rc sx_store_command_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* Connections that have commands, ascending after `after`. */
simplex_rc sx_store_command_conns(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;

/* ---- events not shown to the application yet ---- */

struct sx_event_row {
    int64_t id, conn_id;
    int64_t msg_id;            /* next: a message received, and no data; otherwise 0 */
    bool of_peer;              /* add: it counts for _count */
    simplex_bytes data;        /* encoded event; next: borrowed until the next call */
};
simplex_rc sx_store_event_add(struct sx_store *s, struct sx_event_row *e) SIMPLEX_CHECK;
/* The first with an id above `after` of those added and of the messages received. E_NOT_FOUND. */
simplex_rc sx_store_event_next(struct sx_store *s, int64_t after, struct sx_event_row *e)
    SIMPLEX_CHECK;
/* Events of the connection that were not handled yet and are of_peer, and messages received that
 * were not acknowledged. Counts no further than `most` of either. */
simplex_rc sx_store_event_count(struct sx_store *s, int64_t conn_id, int64_t most,
                                int64_t *n) SIMPLEX_CHECK;
simplex_rc sx_store_event_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;

/* Hashes older than `before` (ms), or more than 200,000 back; at most `limit`, *n = how many went.
 * Messages sent before `before` too: each call looks through the next `limit` of them. */
simplex_rc sx_store_cleanup(struct sx_store *s, int64_t before, unsigned limit, unsigned *n)
    SIMPLEX_CHECK;

/* ---- when queues are rotated (lib/agent/rotation.c) ---- */

#define SX_ROTATION_MS_MAX (1000LL * 366 * 24 * 3600 * 1000) /* of any length of time */
#define SX_ROTATION_NEVER INT64_MAX

struct sx_rotation_policy {
    int64_t every;    /* ms; 0: not by time */
    uint32_t jitter;  /* per cent of what is drawn */
    int64_t messages; /* of the peer; 0: not by number */
    int64_t spread;   /* ms over which what became due by another cause than time is spread */
    bool server_list; /* when the queue's server is not one of the user's any more */
    uint32_t per_day; /* rotations of one user that may start in a day */
};
struct sx_user_rotation {
    int64_t user;
    struct sx_rotation_policy policy;
    int64_t next_at; /* ms; no rotation starts before */
    int64_t checked_version; /* of the list of servers that its queues were compared with */
};
struct sx_rotation_counts {
    int64_t started, completed, failed;
};
struct sx_rotation { /* of a connection that a policy is for */
    int64_t conn_id;
    bool own; /* the policy is this connection's; else its user's counts */
    struct sx_rotation_policy policy;
    int64_t due_at;    /* ms: to start, or while one runs, to give up; SX_ROTATION_NEVER */
    int64_t count_at;  /* so many messages of the peer make it due (sx_conn.received); 0: none do */
    bool unlisted;     /* due because of its server */
    bool running;      /* started by the policy */
    uint32_t attempts; /* that failed since the last success */
    struct sx_rotation_counts counts;
};
simplex_rc sx_store_user_rotation_put(struct sx_store *s,
                                      const struct sx_user_rotation *u) SIMPLEX_CHECK;
simplex_rc sx_store_user_rotation_get(struct sx_store *s, int64_t user,
                                      struct sx_user_rotation *u) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_put(struct sx_store *s, const struct sx_rotation *r) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_get(struct sx_store *s, int64_t conn_id,
                                 struct sx_rotation *r) SIMPLEX_CHECK;
/* What is due first of all. E_NOT_FOUND: nothing ever is. */
simplex_rc sx_store_rotation_first(struct sx_store *s, int64_t *conn_id,
                                   int64_t *due_at) SIMPLEX_CHECK;
/* Of a user: how many are due at `now`. */
simplex_rc sx_store_rotation_overdue(struct sx_store *s, int64_t user, int64_t now,
                                     int64_t *n) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_by_count(struct sx_store *s, bool *any) SIMPLEX_CHECK;
/* Of all connections of a user; *next_at: the first that is due, or SX_ROTATION_NEVER. */
simplex_rc sx_store_rotation_sums(struct sx_store *s, int64_t user,
                                  struct sx_rotation_counts *c, int64_t *next_at) SIMPLEX_CHECK;

#endif
