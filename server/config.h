/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What smp-server.ini says, decoded and checked (protocol/smp.md section 10). config_keys.c has one
 * row for each key: type, range, value when absent, and whether it can change while the server
 * runs. Text members are NULL when the key is absent or empty.
 */
#ifndef SX_CONFIG_H
#define SX_CONFIG_H

#include "wire/server.h"

#define SX_CONFIG_PORTS_MAX 8
#define SX_CONFIG_DOMAINS_MAX 32
#define SX_CONFIG_FILE_MAX ((size_t)1 << 20) /* bytes of smp-server.ini */

enum sx_store_messages { SX_MESSAGES_DISK, SX_MESSAGES_MEMORY };
enum sx_config_hosts { SX_CONFIG_PUBLIC, SX_CONFIG_ONION };             /* host_mode */
enum sx_config_socks { SX_CONFIG_SOCKS_ONION, SX_CONFIG_SOCKS_ALWAYS }; /* socks_mode */

struct sx_config_ports {
    unsigned count;
    uint16_t port[SX_CONFIG_PORTS_MAX]; /* no port twice */
    char text[SX_CONFIG_PORTS_MAX * 6]; /* "5223,443" */
};

struct sx_config_domains { /* lower case, without a dot in front */
    unsigned count;
    char *name[SX_CONFIG_DOMAINS_MAX];
};

/* [user:password@]host:port, "@host:port" or host:port */
struct sx_config_proxy {
    char *host;            /* NULL: no proxy. Name or address, IPv6 without brackets */
    char *user, *password; /* NULL unless given; `password` is wiped when freed */
    uint16_t port;
    bool no_auth; /* "@host:port": no credentials; else those given, or else ones that
                     keep circuits apart */
};

struct sx_config {
    struct {                    /* [STORE_LOG] */
        bool enable;            /* queues are kept in the store log */
        uint8_t store_messages; /* enum sx_store_messages; decided when absent: see below */
        bool restore_messages;  /* SX_MESSAGES_MEMORY: saved when stopped, read at the start */
        int64_t expire_messages_ms;
        bool expire_messages_on_start, expire_messages_on_send;
        int64_t expire_ntfs_ms;
        bool log_stats;
        int64_t prometheus_interval_ms; /* 0: no metrics file */
    } store;
    struct { /* [AUTH] */
        bool new_queues;
        char *create_password;
        char *control_port_admin_password, *control_port_user_password;
        int64_t daily_block_queue_quota; /* 0: no limit; -1: no blocking */
    } auth;
    struct {        /* [TRANSPORT] */
        char *host; /* for the address that is printed; NULL: unknown, "<hostnames>" there */
        struct sx_config_ports port; /* its text is left out of that address when it is 5223 */
        char *bind;                  /* address to listen on; NULL: all, :: or else 0.0.0.0 */
        bool log_tls_errors;
        uint16_t control_port;    /* on 127.0.0.1; 0: none */
        uint16_t prometheus_port; /* HTTP on 127.0.0.1; 0: none */
    } transport;
    struct {                     /* [PROXY] */
        uint8_t host_mode;       /* enum sx_config_hosts */
        bool enable;             /* ours: off: PRXY is refused */
        bool required_host_mode; /* servers without such a host are not connected to */
        struct sx_config_domains own_server_domains;
        struct sx_config_proxy socks_proxy;
        uint8_t socks_mode; /* enum sx_config_socks */
        int64_t client_concurrency;
    } proxy;
    struct { /* [INACTIVE_CLIENTS] */
        bool disconnect;
        int64_t ttl_ms, check_interval_ms; /* set when disconnect is on */
    } inactive;
    struct {               /* [WEB] */
        char *static_path; /* NULL: no site */
        char *cert, *key;
        unsigned cert_line, key_line; /* where they stand: the files are looked at later */
        uint16_t http, https; /* 0: none. https: a port of its own, or one of transport.port */
    } web;
    struct { /* [INFORMATION] */
        char *source_code, *usage_conditions, *condition_amendments;
        char *server_country, *operator_name, *operator_country, *website;
        char *admin_simplex, *admin_email, *admin_pgp, *admin_pgp_fingerprint;
        char *complaints_simplex, *complaints_email, *complaints_pgp, *complaints_pgp_fingerprint;
        char *hosting, *hosting_country, *hosting_type;
    } info;
    struct {                                      /* [LIMITS], ours; 0: no limit where it says so */
        int64_t messages_per_queue;               /* 128 */
        int64_t end_flush_ms;                     /* 15000; 0: at once */
        int64_t ntf_flush_ms;                     /* 1500; 0: at once */
        int64_t tls_timeout_ms;                   /* 60000 */
        int64_t handshake_timeout_ms;             /* 120000 */
        int64_t stall_timeout_ms;                 /* 120000 */
        int64_t expire_interval_ms;               /* 2 hours */
        int64_t smp_min_version, smp_max_version; /* 6, 19 */
        int64_t max_connections;                  /* 100000 */
        int64_t queues_per_client;                /* new ones in queues_interval_ms; 0: no limit */
        int64_t queues_interval_ms;               /* 1 hour */
        int64_t memory_per_client;        /* bytes of buffers of a connection; 0: no limit */
        int64_t commands_per_block;       /* 255 */
        int64_t subscriptions_per_client; /* 1048576 */
        int64_t proxy_relays;             /* 1000 */
        int64_t proxy_pending;            /* 4096 */
        int64_t proxy_relay_pending;      /* 512 */
        int64_t proxy_connect_timeout_ms; /* 45000 */
        int64_t proxy_command_timeout_ms; /* 30000 */
        int64_t proxy_idle_ms;            /* 1 hour */
        int64_t proxy_failed_ms;          /* 30000 */
        int64_t web_connections;          /* 1000 */
        int64_t threads;                  /* 0: one a processor core */
        int64_t max_message_memory;       /* bytes of all waiting messages; 0: no limit */
        int64_t store_log_growth;         /* 4 */
        int64_t store_log_compact;        /* bytes; 64 MiB */
        int64_t failed_relays_per_client; /* 60 */
        int64_t services;                 /* 16384 */
    } limits;
    bool names_enable; /* [NAMES]: accepted with a warning, names are not resolved */
    uint8_t log_level; /* [LOG] level, ours: enum sx_log_level, or trace: one more */
};

/*
 * store_messages when absent: disk, unless nothing is to outlive the server: `enable` or
 * `restore_messages` is off. expire_messages_on_send when absent: on.
 */
void sx_config_init(struct sx_config *c); /* every value as when absent, no port */
void sx_config_free(struct sx_config *c); /* wipes secrets; what is left may be freed again */

/*
 * The port in an address for clients, who take one: SX_CONFIG_CLIENT_PORT, which they use when none
 * is given, if SMP is served there, otherwise the first.
 */
#define SX_CONFIG_CLIENT_PORT 5223
uint16_t sx_config_client_port(const struct sx_config *c);
/* The site is served over HTTPS: everything that needs is given. */
bool sx_config_has_https(const struct sx_config *c);

/* A doubt: a value of no use that the reference starts with all the same, and so does this server.
 */
enum sx_config_severity { SX_CONFIG_WARNING, SX_CONFIG_DOUBT, SX_CONFIG_ERROR };
/* text: "smp-server.ini:17: [TRANSPORT] port: ...", one sentence that says what to write. No
 * password is ever in it. */
typedef void sx_config_report_fn(void *user, enum sx_config_severity severity, unsigned line,
                                 const char *text);

/*
 * Reads the text; `file` is its name in messages, report may be NULL. Every fault is reported, not
 * only the first; a file with more than a hundred is refused.
 * E_ARG: at least one error; E_NOMEM. On failure *out is freed.
 */
simplex_rc sx_config_parse(const char *file, simplex_bytes text, sx_config_report_fn *report,
                           void *user, struct sx_config *out) SIMPLEX_CHECK;
/* The same from a file; E_SYSTEM when it cannot be read, which is reported too (line 0). */
simplex_rc sx_config_read(const char *path, sx_config_report_fn *report, void *user,
                          struct sx_config *out) SIMPLEX_CHECK;

/*
 * One call for each key whose value differs: "message TTL: 21 days -> 14 days"; passwords are
 * "set", "changed" or "removed". live: it can be used at once; otherwise it needs a restart.
 */
typedef void sx_config_diff_fn(void *user, bool live, const char *text);
void sx_config_diff(const struct sx_config *old, const struct sx_config *new, sx_config_diff_fn *fn,
                    void *user);

/*
 * After a reload: moves the values that can change while running from `from` to `c`, all others of
 * `c` stay; `from` gets the old ones and is to be freed.
 */
void sx_config_take_live(struct sx_config *c, struct sx_config *from);

#endif
