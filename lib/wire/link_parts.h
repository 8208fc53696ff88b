/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by link.c (binary) and link_text.c (text); nobody else includes it. */
#ifndef SX_WIRE_LINK_PARTS_H
#define SX_WIRE_LINK_PARTS_H

#include "wire/link.h"

void sx_link_init(struct sx_link *l, uint8_t kind);
simplex_rc sx_link_alloc_queues(struct sx_link *l, size_t n) SIMPLEX_CHECK;
/* Every byte that is not part of UTF-8 becomes '?', as the reference shows it. */
void sx_link_clean_utf8(struct sx_wr *w);

#endif
