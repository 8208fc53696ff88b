/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the keys of smp-server.ini: between config.c, config_value.c and config_diff.c. */
#ifndef SX_CONFIG_KEYS_H
#define SX_CONFIG_KEYS_H

#include "config.h"
#include "ini.h"

enum sx_key_type {
    SX_KEY_BOOL,     /* bool: on | off */
    SX_KEY_NUMBER,   /* int64_t: whole number, times `unit` */
    SX_KEY_SECONDS,  /* int64_t ms: seconds with up to three decimals */
    SX_KEY_WORD,     /* uint8_t: index in `words` */
    SX_KEY_PORT,     /* uint16_t */
    SX_KEY_PORTS,    /* struct sx_config_ports */
    SX_KEY_DOMAINS,  /* struct sx_config_domains */
    SX_KEY_PROXY,    /* struct sx_config_proxy */
    SX_KEY_PASSWORD, /* char *, never shown, wiped; this and what follows: char * */
    SX_KEY_TEXT,     /* anything */
    SX_KEY_PATH,     /* absolute, or in doubt where the server is started */
    SX_KEY_URL,      /* http:// or https://; anything in doubt */
    SX_KEY_COUNTRY,  /* two letters */
    SX_KEY_CONTACT,  /* simplex: or https:// link */
    SX_KEY_EMAIL,    /* anything in doubt */
    SX_KEY_HOSTS,    /* host names and addresses with commas, or <hostnames> for none */
    SX_KEY_ADDRESS,  /* IPv4 or IPv6 address */
    SX_KEY_CHOICE,   /* one of `words`, kept as text */
    SX_KEY_OFF,      /* off: what it would switch on is not there; nothing is kept */
};

enum sx_key_group { /* what is said about keys of features that this server does not have */
                    SX_GROUP_NONE,
                    SX_GROUP_DATABASE,
};

#define SX_KEY_NO_FIELD SIZE_MAX /* checked, but there is nothing to keep */

struct sx_key {
    const char *section, *key;
    const char *absent;    /* value when absent, as it would be written; NULL: none */
    size_t offset;         /* in struct sx_config, or SX_KEY_NO_FIELD */
    uint8_t type;          /* enum sx_key_type */
    uint8_t group;         /* enum sx_key_group */
    bool live;             /* can change while the server runs */
    int64_t min, max;      /* as written; SX_KEY_SECONDS: in ms */
    int64_t unit;          /* SX_KEY_NUMBER: one of what is written is so much in the field; 0: 1 */
    const char *unit_name; /* plural, for the operator */
    const char *const *words; /* NULL behind the last */
    const char *name;         /* for the operator, in the text of a change */
    const char *doc;          /* [LIMITS], [LOG]: a comment of the template */
};

#define SX_KEYS_MAX 128
extern const struct sx_key sx_keys[];
extern const size_t sx_keys_count; /* at most SX_KEYS_MAX */

/* Index in sx_keys, or sx_keys_count. */
size_t sx_key_find(simplex_bytes section, simplex_bytes key);
static inline void *sx_key_field(const struct sx_key *k, struct sx_config *c)
{
    return (char *)c + k->offset;
}
static inline const void *sx_key_field_of(const struct sx_key *k, const struct sx_config *c)
{
    return (const char *)c + k->offset;
}
size_t sx_key_size(const struct sx_key *k); /* of the field; 0 without one */

/* Reads a value into the field, or checks it alone (field NULL). E_ARG: it cannot be used, the
 * field is as it was. E_NOMEM. */
simplex_rc sx_key_read(const struct sx_key *k, simplex_bytes value, void *field) SIMPLEX_CHECK;
/*
 * Of a value that was read: it is not what belongs here, but the reference starts with it, and uses
 * it or not. What it says is in the field as far as that is possible.
 */
bool sx_key_in_doubt(const struct sx_key *k, simplex_bytes value);
/* What to write instead: "a number from 1 to 36500". */
void sx_key_remedy(const struct sx_key *k, struct sx_wr *w);
/* The value as an operator reads it: "21 days", "none"; passwords are not shown. */
void sx_key_show(const struct sx_key *k, const void *field, struct sx_wr *w);
void sx_key_free(const struct sx_key *k, void *field); /* to "absent without default" */
bool sx_key_equal(const struct sx_key *k, const void *a, const void *b);

/* ---- while a file is read ---- */

struct sx_config_reading {
    const char *file; /* for messages */
    sx_config_report_fn *report;
    void *user;
    simplex_bytes text;
    struct sx_config *c;
    unsigned line[SX_KEYS_MAX]; /* where a key has its value; 0: absent */
    unsigned reported;
    bool replaced; /* the section that is read stands again further down */
    bool failed;   /* an error was reported */
};

/* k NULL: no key. line 0: not about a line. */
void sx_config_say(struct sx_config_reading *r, enum sx_config_severity severity, unsigned line,
                   const struct sx_key *k, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 5, 6)))
#endif
    ;
/* When all lines are read: values that depend on others, and what does not fit together. E_NOMEM.
 */
simplex_rc sx_config_check(struct sx_config_reading *r) SIMPLEX_CHECK;
/* What a name may have meant, as the end of a sentence; empty when nothing is near. */
#define SX_CONFIG_HINT 96
void sx_config_hint_key(simplex_bytes section, simplex_bytes key, char out[SX_CONFIG_HINT]);
void sx_config_hint_section(simplex_bytes section, char out[SX_CONFIG_HINT]);

#endif
