/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of an ini file, without I/O (protocol/smp.md section 10): sections in brackets, `key: value`
 * and `key = value`, lines starting with # or ; are comments. A comment behind a value is not one:
 * it belongs to the value, as in the reference. LF or CRLF, a UTF-8 mark at the start is skipped.
 */
#ifndef SX_INI_H
#define SX_INI_H

#include "base/base.h"

#define SX_INI_LINE_MAX 4096 /* bytes of a line; longer ones are refused */

enum sx_ini_kind {
    SX_INI_END,     /* of the text */
    SX_INI_SECTION, /* [section] */
    SX_INI_VALUE,   /* key: value */
    SX_INI_JUNK,    /* text that is neither, as files of the reference's `init` have some */
    SX_INI_BAD,     /* what nobody reads; the next call goes on with the line after it */
};

/* One line that means something. Slices borrow from the text. */
struct sx_ini_item {
    enum sx_ini_kind kind;
    unsigned line;         /* 1: the first */
    simplex_bytes section; /* SX_INI_VALUE too: where it stands; empty before the first */
    simplex_bytes key;     /* never empty in SX_INI_VALUE */
    simplex_bytes value;   /* without blanks around it; may be empty */
    const char *problem;   /* what is wrong and what to write; SX_INI_JUNK, SX_INI_BAD, or with a
                            * SX_INI_SECTION that has text behind it */
};

struct sx_ini {
    struct sx_rd in;
    unsigned line;
    simplex_bytes section;
};

/* Without the blanks around it. */
simplex_bytes sx_ini_trim(simplex_bytes s);
void sx_ini_start(struct sx_ini *ini, simplex_bytes text);
/* The next item; SX_INI_END for ever at the end. */
void sx_ini_next(struct sx_ini *ini, struct sx_ini_item *out);

#endif
