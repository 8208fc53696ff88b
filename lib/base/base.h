/* SPDX-License-Identifier: Apache-2.0 */
/* Byte spans, cursors, memory and logging: what every layer stands on. */
#ifndef SX_BASE_H
#define SX_BASE_H

#include <inttypes.h>
#include <string.h>

#include "simplex/types.h"

#define SX_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- spans ---- */

static inline simplex_bytes sx_bytes(const void *p, size_t n)
{
    return (simplex_bytes){ (const uint8_t *)p, n };
}

static inline simplex_bytes sx_str(const char *s)
{
    return (simplex_bytes){ (const uint8_t *)s, strlen(s) };
}

/* Public data only; secrets are compared with sx_equal_ct of lib/crypto. */
static inline bool sx_bytes_eq(simplex_bytes a, simplex_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ---- reading: a cursor with a sticky `bad` flag, tested once at the end ---- */

struct sx_rd {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline struct sx_rd sx_rd_init(simplex_bytes in)
{
    return (struct sx_rd){ in.ptr, in.len, false };
}

simplex_bytes sx_rd_take(struct sx_rd *r, size_t n); /* borrows; empty and bad when short */
simplex_bytes sx_rd_rest(struct sx_rd *r);           /* all that is left */
void sx_rd_copy(struct sx_rd *r, void *to, size_t n); /* zeros `to` when short */
uint8_t sx_rd_u8(struct sx_rd *r);
uint16_t sx_rd_u16(struct sx_rd *r);
uint32_t sx_rd_u32(struct sx_rd *r);
int64_t sx_rd_i64(struct sx_rd *r);
bool sx_rd_bool(struct sx_rd *r);           /* 'T' or 'F', else bad */
bool sx_rd_maybe(struct sx_rd *r);          /* '0' or '1', else bad */
simplex_bytes sx_rd_short(struct sx_rd *r); /* 1-byte length prefix */
simplex_bytes sx_rd_large(struct sx_rd *r); /* u16 length prefix */
bool sx_rd_lit(struct sx_rd *r, const char *text); /* takes `text` if it is next; else no move */
int sx_rd_peek(const struct sx_rd *r);      /* next byte or -1 */
static inline bool sx_rd_done(const struct sx_rd *r) /* all consumed, nothing bad */
{
    return !r->bad && r->left == 0;
}

/* ---- writing: a growable buffer with a cap named at init and a sticky `bad` flag ---- */

struct sx_wr {
    uint8_t *p;
    size_t len;
    size_t size; /* allocated or lent */
    size_t cap;  /* never grows past this */
    bool bad;    /* a field did not fit, or no memory */
    bool lent;   /* p belongs to the caller: no growth, no free */
};

void sx_wr_init(struct sx_wr *w, size_t cap);              /* grows by copy and wipe */
void sx_wr_fixed(struct sx_wr *w, void *buf, size_t size); /* writes into the caller's buffer */
void sx_wr_free(struct sx_wr *w);                          /* wipes; leaves an empty writer */
void sx_wr_reset(struct sx_wr *w);                         /* len = 0, bad = false; keeps memory */
uint8_t *sx_wr_space(struct sx_wr *w, size_t n); /* n bytes to fill in, or NULL and bad */
void sx_wr_raw(struct sx_wr *w, simplex_bytes s);
void sx_wr_text(struct sx_wr *w, const char *s); /* without the NUL */
void sx_wr_u8(struct sx_wr *w, uint8_t v);
void sx_wr_u16(struct sx_wr *w, uint16_t v);
void sx_wr_u32(struct sx_wr *w, uint32_t v);
void sx_wr_i64(struct sx_wr *w, int64_t v);
void sx_wr_bool(struct sx_wr *w, bool v);           /* 'T' / 'F' */
void sx_wr_maybe(struct sx_wr *w, bool some);       /* '1' / '0' */
void sx_wr_short(struct sx_wr *w, simplex_bytes s); /* bad when longer than 255 */
void sx_wr_large(struct sx_wr *w, simplex_bytes s); /* bad when longer than 65535 */
static inline simplex_bytes sx_wr_bytes(const struct sx_wr *w)
{
    return (simplex_bytes){ w->p, w->len };
}

/* ---- memory: every allocation of the library, so that tests can make each one fail ---- */

void *sx_malloc(size_t n) SIMPLEX_CHECK; /* NULL when out of memory; n == 0 is valid */
void *sx_calloc(size_t count, size_t size) SIMPLEX_CHECK; /* zeroed, overflow checked */
void sx_free(void *p);
void sx_free_secret(void *p, size_t n); /* wipes, then frees */
char *sx_strdup(const char *s) SIMPLEX_CHECK;
uint8_t *sx_memdup(simplex_bytes s) SIMPLEX_CHECK; /* one extra NUL byte behind the copy */
void sx_wipe(void *p, size_t n);                   /* never optimised away */

/* For tests: the allocation number `nth` from now on fails (and only that). */
void sx_fault_malloc(unsigned nth);
bool sx_fault_disarm(void);     /* true when the fault fired */
size_t sx_fault_live_blocks(void); /* allocated and not freed; counted only in debug builds */

/* ---- clocks (ms) ---- */

int64_t sx_now_ms(void);  /* wall clock since 1970 */
int64_t sx_mono_ms(void); /* monotonic */
int64_t sx_mono_us(void);

/* For threads of ours that write to sockets: a peer that went away is an error code there, and no
 * signal that ends the host's process. The host's own threads and handlers stay as they are. */
void sx_thread_ignore_sigpipe(void);

/* ---- logging: never keys, plaintext, links, full queue ids or addresses of contacts ---- */

enum sx_log_level { SX_LOG_ERROR, SX_LOG_WARN, SX_LOG_INFO, SX_LOG_DEBUG };
typedef void sx_log_fn(void *user, enum sx_log_level level, const char *text);
/* Process-wide; call before other threads start. NULL: silent (the default). */
void sx_log_set(sx_log_fn *fn, void *user, enum sx_log_level max);
void sx_log(enum sx_log_level level, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

#endif
