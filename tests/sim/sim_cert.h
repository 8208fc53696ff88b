/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of the simulation's servers: sim_cert.c. */
#ifndef TESTS_SIM_CERT_H
#define TESTS_SIM_CERT_H

#include "crypto/x509.h"
#include "sim/sim.h"

struct sim_cert {
    uint8_t room[256];
    struct sx_chain chain; /* into room: leaf, identity */
    struct sx_keypair leaf;
    uint8_t fingerprint[32];
};

void sim_cert_make(struct sim_cert *c);

#endif
