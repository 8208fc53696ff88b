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

/* SUBS or NSUBS, as the client's role has it. */
const struct sx_rsp *mem_subs(struct mem_client *c);
/* A command as a client sends it that is no service, on the connection of one. */
const struct sx_rsp *mem_unbound(struct mem_client *c, const struct sx_keypair *key,
                                 simplex_bytes entity, const struct sx_cmd *cmd);
/* SOKS or ENDS with the count and the hash of these ids (24 bytes each). */
void mem_assert_total(const struct sx_rsp *r, enum sx_rsp_tag tag, size_t n, ...);

/* The notifier of a queue. */
struct mem_ntf {
    struct sx_keypair key, dh;
    uint8_t id[24];
    struct sx_pub srv_dh;
};
void mem_nkey(struct mem_client *c, const struct mem_queue *q, struct mem_ntf *n);
const struct sx_rsp *mem_nsub(struct mem_client *c, const struct mem_ntf *n);
void mem_assert_nmsg(const struct sx_rsp *r, const struct mem_ntf *n);

#endif
