/* SPDX-License-Identifier: Apache-2.0 */
/* Services as clients of a server in memory (server_mem.h). */
#ifndef TESTS_MEM_SERVICE_H
#define TESTS_MEM_SERVICE_H

#include "support/certs.h"
#include "support/server_mem.h"

struct mem_service {
    struct test_certs certs;
    struct sx_service_cert cert;
};

void mem_service_make(struct mem_service *s, uint8_t role, size_t n_certs);
void mem_service_free(struct mem_service *s);

struct mem_world { /* a, b: on different threads; s, s2: connections of the same service */
    struct mem_server m;
    struct mem_service service; /* for messages */
    struct mem_client a, b, s, s2;
};
void mem_open_world(struct mem_world *w, const struct sx_srv_cfg *cfg);
/* With queues of the service, to which s is subscribed. */
void mem_open_served(struct mem_world *w, struct mem_queue *q, size_t n);
void mem_close_world(struct mem_world *w);
/* Again, where s or s2 was; it has subscribed to nothing. */
void mem_reconnect(struct mem_world *w, struct mem_client *c);

static inline simplex_bytes mem_service_id(const struct mem_client *c)
{
    return sx_bytes(c->client.service.id, 24);
}

/* SUBS or NSUBS, as the client's role has it. */
const struct sx_rsp *mem_subs(struct mem_client *c);
/* A command as a client sends it that is no service, on the connection of one. */
const struct sx_rsp *mem_unbound(struct mem_client *c, const struct sx_keypair *key,
                                 simplex_bytes entity, const struct sx_cmd *cmd);
/* SUBS, run before any hub does (mem_run_ahead). */
void mem_subs_ahead(struct mem_client *c);
/* SOKS or ENDS with the count and the hash of these ids (24 bytes each). */
void mem_assert_total(const struct sx_rsp *r, enum sx_rsp_tag tag, size_t n, ...);
/* The same for ids of queues that follow each other. */
void mem_assert_queues(const struct sx_rsp *r, enum sx_rsp_tag tag, const struct mem_queue *q,
                       size_t n);
/* SOK with the id of this service; NULL: with none. */
void mem_assert_sok(const struct sx_rsp *r, const struct mem_client *service);
void mem_expect_alls(struct mem_client *c);
/* SUBS, with these queues and without messages that wait. */
void mem_subscribe_all(struct mem_client *c, const struct mem_queue *q, size_t n);

/* The notifier of a queue. */
struct mem_ntf {
    struct sx_keypair key, dh;
    uint8_t id[24];
    struct sx_pub srv_dh;
};
static inline simplex_bytes mem_ntf_id(const struct mem_ntf *n)
{
    return sx_bytes(n->id, 24);
}
void mem_nkey(struct mem_client *c, const struct mem_queue *q, struct mem_ntf *n);
const struct sx_rsp *mem_nsub(struct mem_client *c, const struct mem_ntf *n);
/* It is an NMSG for this notifier; what it says, until the next one is opened. */
struct sx_ntf_meta mem_assert_nmsg(const struct sx_rsp *r, const struct mem_ntf *n);

#endif
