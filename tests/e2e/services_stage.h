/* SPDX-License-Identifier: Apache-2.0 */
/* Services over real TLS. */
#ifndef SERVICES_STAGE_H
#define SERVICES_STAGE_H

#include "ops_stage.h"
#include "support/certs.h"

struct service {
    struct test_certs certs;
    struct sx_service_cert cert;
};

/* A server of three threads; kept: with its identity and state in its directory. */
void open_threaded(struct server *t, bool kept);

void make_service(struct service *s, uint8_t role, enum sx_alg alg, size_t n_certs);
void free_service(struct service *s);
/* What TLS presents, and what the hello says: NULL: nothing. */
simplex_rc open_service(const struct server *t, struct smp_peer *p, const struct service *tls,
                        const struct sx_service_cert *hello);
void connect_service(const struct server *t, struct smp_peer *p, const struct service *s);

void make_queue(struct smp_peer *p, struct queue *q);
void send_to(struct smp_peer *p, const struct queue *q, const char *text);
const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q, simplex_bytes id);
/* SUBS or NSUBS, as the role has it; the same, answered with SOKS. */
const struct sx_rsp *subs(struct smp_peer *p);
const struct sx_rsp *subscribe(struct smp_peer *p);
const struct smp_item *expect_event(struct smp_peer *p, enum sx_rsp_tag tag);
/* And acknowledges it: no other one waits. */
void expect_msg(struct smp_peer *p, const struct queue *q, const char *text);

#endif
