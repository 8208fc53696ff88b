/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services: clients with a certificate that subscribe all their queues with one command
 * (protocol/smp.md sections 4 and 6.3). Here is who they are and which queues are theirs; who is
 * connected is in service_sub.c.
 *
 * A service is one certificate in one role: the recipient of its queues (M) or the notifier of
 * other people's (N); P has no queues. It stays for the life of the server, so pointers to it are
 * good for ever.
 *
 * Threads. The registry has a lock of its own, taken when a client says hello and nowhere else.
 * The queues of a service are listed under the lock of that service, which is taken when a queue
 * joins or leaves, and on the way of a message only for the first message of a queue after its
 * service has connected. Order of locks: stripe of the queue, then service, then inbox of a hub.
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

#define SX_SERVICES_MAX 16384 /* certificates known; the hello of a further one is refused */
#define SX_SERVICE_QUEUES_MAX (64u << 20) /* queues of one service, about */
#define SX_SERVICE_HASH 16                /* XOR of the MD5 of the ids */

struct sx_services; /* the registry: st->services */

struct sx_service {
    struct sx_service *next_by_id, *next_by_cert; /* [registry] chains of its tables */
    struct sx_service *next;                      /* [registry] in order of creation */
    uint8_t id[SX_ID_LEN];
    uint8_t role;             /* 'M' 'N' 'P' */
    uint8_t cert_hash[32];    /* of its identity certificate */
    int64_t created_s;        /* since 1970 */
    uint64_t stamp;           /* of its record (persist.h); 0: from the store log */
    struct sx_chain chain;    /* leaf first, into der */
    pthread_mutex_t lock;     /* of what follows */
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

simplex_rc sx_services_open(struct sx_services **out) SIMPLEX_CHECK;
void sx_services_close(struct sx_services *s); /* after the queues are gone */

/* The service of a certificate, made when it is new (and recorded: persist.h). NULL: the
 * certificate is known in another role, there are too many services, or no memory or disk. */
struct sx_service *sx_service_enter(struct sx_store *st, uint8_t role, const uint8_t cert_hash[32],
                                    const struct sx_chain *chain, int64_t now_s) SIMPLEX_CHECK;
/* From the store log. E_ARG: a role or chain that cannot be, an id or a certificate that is there
 * already; E_NOMEM. */
simplex_rc sx_service_load(struct sx_store *st, const struct sx_service_rec *rec) SIMPLEX_CHECK;
struct sx_service *sx_service_find(struct sx_store *st, simplex_bytes id);
/* All of them in order of creation: `after` NULL for the first; NULL behind the last. */
struct sx_service *sx_service_next(struct sx_store *st, struct sx_service *after);

/* ---- with the lock of q held ---- */

/* The service of the queue's recipient, or of its notifier (which there is). */
struct sx_service *sx_queue_service(const struct sx_queue *q, bool ntf);
/* Associates the queue, or its notifier, with svc (NULL: with none) and records it. INTERNAL: no
 * memory or disk, nothing has changed. svc must have the role. */
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
    size_t services[2];
    size_t queues[2];     /* associated */
    size_t subscribed[2]; /* of them: of services that are subscribed now */
};
void sx_services_count(struct sx_store *st, struct sx_services_count *out);

#endif
