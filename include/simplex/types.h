/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain types and result codes shared by every public header of libsimplex.
 *
 * Every function that can fail returns simplex_rc: SIMPLEX_OK (0) or a negative number. The
 * numbers are part of the ABI: they never change meaning, new ones are appended to their class.
 * What happens later (a server refuses, a contact disappears) is an event, not a result code.
 */
#ifndef SIMPLEX_TYPES_H
#define SIMPLEX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define SIMPLEX_API
#elif defined(__GNUC__)
#define SIMPLEX_API __attribute__((visibility("default")))
#else
#define SIMPLEX_API
#endif

#if defined(__GNUC__)
#define SIMPLEX_CHECK __attribute__((warn_unused_result))
#else
#define SIMPLEX_CHECK
#endif

/* A borrowed run of bytes. The library never keeps ptr after the call returns. */
typedef struct simplex_bytes {
    const uint8_t *ptr; /* may be NULL when len is 0 */
    size_t len;         /* bytes */
} simplex_bytes;

typedef int32_t simplex_rc;

enum {
    SIMPLEX_OK = 0,

    /* The caller: the call was wrong, nothing happened. */
    SIMPLEX_E_ARG = -1,        /* an argument is NULL, out of range or malformed */
    SIMPLEX_E_PROHIBITED = -2, /* not allowed in the present state of the object */
    SIMPLEX_E_NOT_FOUND = -3,  /* no connection, message or confirmation with this id */
    SIMPLEX_E_TOO_LARGE = -4,  /* the data exceeds what the protocol can carry */
    SIMPLEX_E_BUFFER = -5,     /* the caller's buffer is too small; the needed length was stored */
    SIMPLEX_E_CLOSED = -6,     /* the handle is closing or closed */
    SIMPLEX_E_CALLBACK = -7,   /* may not be called from inside the event callback */
    SIMPLEX_E_NO_EVENT = -8,   /* no event within the timeout (pull mode) */
    SIMPLEX_E_NO_SERVERS = -9, /* no SMP server is configured */
    SIMPLEX_E_SUSPENDED = -10, /* the agent is suspended: resume it first */
    SIMPLEX_E_NOTICE = -11,    /* the server asked for no new contact addresses for a time */

    /* Resources of this machine. */
    SIMPLEX_E_NOMEM = -100,       /* out of memory */
    SIMPLEX_E_SYSTEM = -101,      /* the operating system refused (threads, sockets, files) */
    SIMPLEX_E_UNSUPPORTED = -102, /* this build was configured without the feature */
    SIMPLEX_E_INTERNAL = -103,    /* a defect of the library: please report it */

    /* Encodings: the bytes or the text are not what the protocol prescribes. */
    SIMPLEX_E_DECODE = -200,  /* malformed binary data */
    SIMPLEX_E_LINK = -201,    /* not a SimpleX link */
    SIMPLEX_E_ADDRESS = -202, /* not an SMP server address */
    SIMPLEX_E_VERSION = -203, /* no protocol version in common: one side must be updated */
    SIMPLEX_E_ENCODE = -204,  /* a field does not fit its encoding */
    SIMPLEX_E_PADDING = -205, /* padded data with an impossible length */

    /* Cryptography. */
    SIMPLEX_E_CRYPTO = -300,    /* decryption failed: wrong key or changed data */
    SIMPLEX_E_SIGNATURE = -301, /* a signature or authenticator does not verify */
    SIMPLEX_E_KEY = -302,       /* a key of a kind or length that is not accepted */
    SIMPLEX_E_CERT = -303,      /* a certificate or a chain of them does not verify */
    SIMPLEX_E_RANDOM = -304,    /* the system's random generator failed */

    /* Double ratchet (protocol/agent.md section 3.5). */
    SIMPLEX_E_RATCHET_HEADER = -400,    /* no header key opens the header */
    SIMPLEX_E_RATCHET_EARLIER = -401,   /* older than the chain and its key is gone */
    SIMPLEX_E_RATCHET_SKIPPED = -402,   /* more than 512 messages would have to be skipped */
    SIMPLEX_E_RATCHET_DUPLICATE = -403, /* the message decrypted last, once more */
    SIMPLEX_E_RATCHET_AES = -404,       /* the body does not decrypt */
    SIMPLEX_E_RATCHET_KEM = -405,       /* KEM data that does not fit the state */
    SIMPLEX_E_RATCHET_NO_CHAIN = -406,  /* no sending chain yet: receive first */

    /* Transport: all of these may pass when tried again later, but for FINGERPRINT. */
    SIMPLEX_E_CONNECT = -500,      /* TCP connection refused or host unreachable */
    SIMPLEX_E_HOST = -501,         /* no usable host name in the address, or it does not resolve */
    SIMPLEX_E_PROXY = -502,        /* the SOCKS5 proxy refused or is not one */
    SIMPLEX_E_TLS = -503,          /* TLS failed */
    SIMPLEX_E_FINGERPRINT = -504,  /* the server's identity is not the one in its address */
    SIMPLEX_E_SESSION = -505,      /* the handshake names another TLS session: an interceptor */
    SIMPLEX_E_HANDSHAKE = -506,    /* the SMP handshake is malformed */
    SIMPLEX_E_TIMEOUT = -507,      /* no answer in time */
    SIMPLEX_E_DISCONNECTED = -508, /* the connection closed before the answer */
    SIMPLEX_E_BLOCK = -509,    /* a malformed or undecryptable block; the connection is closed */
    SIMPLEX_E_RESPONSE = -510, /* an answer that does not belong to the command */
    SIMPLEX_E_SERVER = -511,   /* the server answered ERR; the error is in the response */

    /* The state database. */
    SIMPLEX_E_DB_KEY = -600,     /* wrong key, or the file is not a database */
    SIMPLEX_E_DB_SCHEMA = -601,  /* made by a newer libsimplex: update the application */
    SIMPLEX_E_DB_DAMAGED = -602, /* the file is damaged: restore a backup */
    SIMPLEX_E_DB_LOCKED = -603,  /* another process has it open */
    SIMPLEX_E_DB_FULL = -604,    /* the disk is full: free space and try again */
    SIMPLEX_E_DB_IO = -605,      /* the file cannot be opened, read or written */
    SIMPLEX_E_DB_OLD = -606,     /* in RSYNC, ERR: an old copy of the database was put back */
};

/* One English sentence for rc, static, never NULL. Thread-safe. */
SIMPLEX_API const char *simplex_rc_text(simplex_rc rc);

/* The name of rc as in this header without SIMPLEX_ ("E_ARG"), static, never NULL. Thread-safe. */
SIMPLEX_API const char *simplex_rc_name(simplex_rc rc);

/* The version of the library, "major.minor.patch", static. Thread-safe. */
SIMPLEX_API const char *simplex_version(void);

#ifdef __cplusplus
}
#endif
#endif
