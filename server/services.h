/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services: clients with a certificate that subscribe all their queues with one command
 * (protocol/smp.md sections 4 and 6.3). Here is who they are and which queues are theirs; who is
 * connected is in service_sub.c.
 *
 * A service is one certificate in one role: the recipient of its queues (M) or the notifier of
 * other people's (N); P has no queues. Anybody can make certificates, so saying hello leaves
 * nothing behind: the id follows from role and certificate, the same whenever it is told, and the
 * service is forgotten with its last connection. Recorded it is when the first queue joins. Of
 * those there are so many at most: when a place is needed, some are forgotten that nobody is
 * connected as and that have no queues, or a few. Such a service is none the worse for it: it is
 * told the same id, finds that SUBS has no queues, and subscribes each of them. A pointer to a
 * service is good as long as a connection of it is open, and with the lock of one of its queues
 * held.
 *
 * Threads. The registry has a lock of its own, taken when a client says hello or goodbye, and when
 * a service is recorded. The queues of a service are listed under the lock of that service, which
 * is taken when a queue joins or leaves, and on the way of a message only for the first message of
 * a queue after its service has connected. Order of locks: stripe of the queue, then registry, then
 * service, then inbox of a hub.
 *
 * The list is an array, in which each queue knows its place: count and hash are kept as queues
 * come and go, so that SUBS is answered at once whatever their number, and a walk over the array
 * from its end to its beginning, in slices, meets every queue that does not join meanwhile,
 * whatever leaves: the place of one that leaves is taken by the last.
 */
#ifndef SX_SERVICES_H
#define SX_SERVICES_H

#include <pthread.h>

#include "crypto/x509.h"
#include "queue_store.h"
#include "store_log_line.h"

#define SX_SERVICES_MAX 16384             /* recorded; then no queue can join a further one */
#define SX_SERVICE_QUEUES_MAX (64u << 20) /* queues of one service, about */
#define SX_SERVICE_FEW 16                 /* queues: with more it keeps its place when it is away */
#define SX_SERVICE_HASH 16                /* XOR of the MD5 of the ids */

struct sx_services; /* the registry: st->services */

/* Takes a record of something with its mark and with its lock held. False: stop. */
typedef bool sx_slog_mark_put(void *to, const struct sx_slog_record *r, uint16_t *mark);

struct sx_service {
    struct sx_service *next_by_id, *next_by_cert; /* [registry] chains of its tables */
    struct sx_service *prev, *next;               /* [registry] in the order they were left */
    unsigned refs;                                /* [registry] connections */
    uint8_t id[SX_ID_LEN];
    uint8_t role;             /* 'M' 'N' 'P' */
    uint8_t cert_hash[32];    /* of its identity certificate */
    int64_t created_s;        /* since 1970 */
    struct sx_chain chain;    /* leaf first, into der */
    bool recorded;            /* changes under the locks of the registry and of the service */
    pthread_mutex_t lock;     /* of what follows */
    uint16_t logged;          /* the mark of the store log: store_log_compact.h */
    struct sx_served **queue; /* of queues, or of notifiers for the role N */
    uint32_t n_queues, reserved, size;
    uint8_t hash[SX_SERVICE_HASH];
    struct sx_sub *sub;     /* the connection that has the subscription, or NULL: service_sub.c */
    atomic_bool subscribed; /* sub is not NULL; read without the lock */
    uint8_t der[];
};

struct sx_service_rec { /* as the store log has it */
    uint8_t id[SX_ID_LEN];
    uint8_t role;
    uint8_t cert_hash[32];
    int64_t created_s;
    struct sx_chain chain; /* copied */
};

simplex_rc sx_services_open(unsigned max, struct sx_services **out) SIMPLEX_CHECK;
void sx_services_close(struct sx_services *s); /* after the queues are gone */

/* The service of a certificate, for one more connection. NULL: the certificate is known in another
 * role, or no memory. */
struct sx_service *sx_service_enter(struct sx_store *st, uint8_t role, const uint8_t cert_hash[32],
                                    const struct sx_chain *chain, int64_t now_s) SIMPLEX_CHECK;
/* When all places are taken: parts services that nobody is connected as from their queues, if they
 * have few, and forgets them; those that were left first. No lock of a queue is held. */
void sx_services_make_room(struct sx_store *st);
/* The connection is closed; svc may be NULL. */
void sx_service_release(struct sx_store *st, struct sx_service *svc);
/* From the store log. E_ARG: a role or chain that cannot be, an id or a certificate that is there
 * already with something else; E_NOMEM. The same once more is fine; a certificate that was
 * recorded again, after its service was forgotten, has the newer id. */
simplex_rc sx_service_load(struct sx_store *st, const struct sx_service_rec *rec) SIMPLEX_CHECK;
struct sx_service *sx_service_find(struct sx_store *st, simplex_bytes id);
/* Before the record that names it. QUOTA: there is no place; INTERNAL: disk. */
enum sx_err sx_service_record(struct sx_store *st, struct sx_service *svc) SIMPLEX_CHECK;
/* Forgets those beyond the limit that have no queues: after loading. */
void sx_services_trim(struct sx_store *st);
/* Puts the records of some services; *at: 0 first, moves on, 0 again when all are put. False when
 * put answered false. */
bool sx_services_put(struct sx_store *st, size_t *at, sx_slog_mark_put *put, void *to);

/* ---- with the lock of q held ---- */

/* The service of the queue's recipient, or of its notifier (which there is). */
struct sx_service *sx_queue_service(const struct sx_queue *q, bool ntf);
/* Associates the queue, or its notifier, with svc (NULL: with none) and records it. INTERNAL: no
 * memory or disk; QUOTA: too many services; nothing has changed. svc must have the role. */
enum sx_err sx_queue_set_service(struct sx_store *st, struct sx_queue *q, bool ntf,
                                 struct sx_service *svc) SIMPLEX_CHECK;
/* The same from the store log, without recording it: E_ARG when svc has another role; E_NOMEM. */
simplex_rc sx_queue_load_service(struct sx_queue *q, bool ntf,
                                 struct sx_service *svc) SIMPLEX_CHECK;
/* The queue or its notifier is about to be deleted: off the list, nothing is recorded. */
void sx_queue_leave_service(struct sx_queue *q, bool ntf);

/* ---- without a lock ---- */

void sx_service_total(struct sx_service *svc, uint32_t *count, uint8_t hash[SX_SERVICE_HASH]);
/* The up to `max` queues before *at in the list (UINT32_MAX: from its end), each referenced; *at
 * moves on, 0: the walk is over. */
size_t sx_service_walk(struct sx_service *svc, uint32_t *at, struct sx_queue **out, size_t max);

struct sx_services_count { /* for statistics, by role: 0 recipients (M), 1 notifiers (N) */
    size_t services[2];    /* recorded, or connected */
    size_t queues[2];      /* associated */
    size_t subscribed[2];  /* of them: of services that are subscribed now */
    size_t recorded, forgotten, refused; /* now; since the start: for their places; QUOTA */
};
void sx_services_count(struct sx_store *st, struct sx_services_count *out);

#endif
