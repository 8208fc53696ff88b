/* SPDX-License-Identifier: Apache-2.0 */
/* Between the public structs of simplex/client.h and the layers below. Pure computation. */
#ifndef SX_CLIENT_PUBLIC_H
#define SX_CLIENT_PUBLIC_H

#include "simplex/client.h"
#include "wire/smp.h"

struct sx_public_cmd {
    struct sx_cmd cmd; /* borrows from the simplex_command, and from rkeys */
    bool has_key;
    struct sx_keypair key;
    struct sx_wr rkeys;
};

/* password: of the server's address. E_ARG, E_KEY, E_NOMEM. Wipe out also after a failure. */
simplex_rc sx_public_command(const simplex_command *in, simplex_bytes password,
                             struct sx_public_cmd *out) SIMPLEX_CHECK;
void sx_public_command_wipe(struct sx_public_cmd *c);

struct sx_public_event {
    simplex_client_event ev; /* points into keys and error */
    uint8_t keys[2][SX_SPKI_MAX];
    uint8_t error[1024];
};

/* Fills in response and its fields; false for one that this header has no name for. */
bool sx_public_response(struct sx_public_event *e, const struct sx_rsp *rsp, uint16_t version);
/* One allocation with all it points to, to be freed with sx_free; its size in *size. E_NOMEM. */
simplex_rc sx_public_event_copy(const simplex_client_event *ev, simplex_client_event **out,
                                size_t *size) SIMPLEX_CHECK;

#endif
