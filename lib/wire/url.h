/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding and query strings, as links use them (protocol/agent.md section 5.1). */
#ifndef SX_WIRE_URL_H
#define SX_WIRE_URL_H

#include "base/base.h"

/* Everything but A-Z a-z 0-9 - _ . ~ becomes %XX with upper-case digits. */
void sx_url_encode(struct sx_wr *w, simplex_bytes s);
/* '+' is a space; an escape that is none stays as it is written. */
void sx_url_decode(struct sx_wr *w, simplex_bytes s);

/*
 * Appends the decoded value of the first parameter `name`; false and no change when there is none.
 * Both '&' and ';' separate parameters; one without '=' has an empty value.
 */
bool sx_query_get(simplex_bytes query, const char *name, struct sx_wr *value);

/* Without the white space around it, as a user pastes it. */
simplex_bytes sx_text_trim(simplex_bytes s);
/* No white space, control character or NUL anywhere. */
bool sx_text_is_solid(simplex_bytes s);
/* Takes the bytes before the first one of `stops`, or all that are left. */
simplex_bytes sx_rd_until(struct sx_rd *r, const char *stops);
/* The whole text is a decimal number up to 65535. */
bool sx_text_u16(simplex_bytes s, uint16_t *out);

#endif
