/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be read in a log: identifiers in every form in which programs print them. */
#ifndef TESTS_SECRETS_H
#define TESTS_SECRETS_H

#include "crypto/crypto.h"

struct secrets {
    struct secret *list;
    size_t n;
};

/* Copied. label: what a failure calls it; a literal. Less than six bytes are no identifier. */
void secrets_add(struct secrets *s, const char *label, simplex_bytes id);
void secrets_key(struct secrets *s, const char *label, const struct sx_pub *key);
/* Found as a word of its own only: "5223" is not in "15223". */
void secrets_word(struct secrets *s, const char *label, const char *word);
void secrets_free(struct secrets *s);

/* One of them, or the first six bytes of it, is in the text: as it is, in hex of either case, in
 * base64 of either alphabet. why: which one, and the line of the text. */
bool secrets_find(const struct secrets *s, simplex_bytes text, char *why, size_t size);

#endif
