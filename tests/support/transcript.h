/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded transcripts (tests/vectors/README.md): every part rebuilt with the library. */
#ifndef TESTS_TRANSCRIPT_H
#define TESTS_TRANSCRIPT_H

#include "support/vec.h"

#include "wire/smp.h"

struct transcript {
    cJSON *json;
    simplex_bytes *bodies;   /* rebuilt on first use, checked against len and sha256 */
    simplex_bytes *messages; /* ratchet messages, likewise */
    struct sx_keypair *keys; /* of `keys`, and the ephemeral keys of the sessions */
    size_t n_keys;
};

void tr_open(struct transcript *t, const char *name);
void tr_close(struct transcript *t);

/* A value of the files: hex text, or a list of hex texts and references to bodies, ratchet
 * messages and transmissions. */
simplex_bytes tr_parts(struct transcript *t, const cJSON *value);
simplex_bytes tr_body(struct transcript *t, const cJSON *body);
simplex_bytes tr_ratchet_message(struct transcript *t, const cJSON *message);

/* Slices live until vec_free_all. */
struct sx_transmission tr_transmission(struct transcript *t, const cJSON *json);
simplex_bytes tr_encoded(const struct sx_transmission *t, uint16_t version);

/* The recorded pair of a public key (SPKI); NULL when the private half was not recorded. */
const struct sx_keypair *tr_key(const struct transcript *t, simplex_bytes spki);
/* session_id as in the file */
const cJSON *tr_session(const struct transcript *t, const char *id);

void tr_assert_sha256(simplex_bytes b, const cJSON *obj, const char *key);

#endif
