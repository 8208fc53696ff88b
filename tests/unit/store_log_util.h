/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a store log in the form of the reference, put together by hand from protocol/smp.md
 * section 10, and what their fields stand for.
 */
#ifndef TESTS_STORE_LOG_UTIL_H
#define TESTS_STORE_LOG_UTIL_H

#include "support/server_mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_load.h"

/* Ids of 24 equal bytes. */
#define RID "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
#define SID "AgICAgICAgICAgICAgICAgICAgICAgIC"
#define LID "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"
#define NID "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
#define SRV "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF"
#define RID2 "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYG"
#define SID2 "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
/* SPKI of keys with the raw bytes 0, 1, 2 ... (ED2 from 32 on, X from 64 on). */
#define ED "MCowBQYDK2VwAyEAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define ED2 "MCowBQYDK2VwAyEAICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define X "MCowBQYDK2VuAyEAQEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
#define E448 \
    "MEMwBQYDK2VxAzoAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4"
#define X448 \
    "MEIwBQYDK2VvAzkAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc="
#define RDH "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="  /* 32 times aa */
#define NDH "u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7s="  /* 32 times bb */
#define FIXED "Zml4ZWQgZGF0YQ=="                            /* "fixed data" */
#define USER "dXNlciBkYXRh"                                 /* "user data" */
#define CERTS "bGVhZg==,aWRlbnRpdHk="                       /* "leaf", "identity" */
#define HASH "zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMw=" /* 32 times cc */
#define DAY_TEXT "1732147200"                               /* 20048 days */
#define DAY 20048

#define NEW_QUEUE "CREATE rid=" RID " rk=" ED " rdh=" RDH " sid=" SID " sk="
#define NEW_QUEUE2 "CREATE rid=" RID2 " rk=" ED " rdh=" RDH " sid=" SID2 " sk="
#define NEW_SERVICE_OF(role)                                                      \
    "NEW_SERVICE service_id=" SRV " role=" role " cert=" CERTS " cert_hash=" HASH \
    " created_at=" DAY_TEXT

static inline bool all(const uint8_t *p, uint8_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != v)
            return false;
    return true;
}

static inline bool is_key(const struct sx_pub *k, enum sx_alg alg, uint8_t first)
{
    for (size_t i = 0; i < sx_key_len(alg); i++)
        if (k->b[i] != (uint8_t)(first + i))
            return false;
    return k->alg == alg;
}

#endif
