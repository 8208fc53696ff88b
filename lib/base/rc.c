/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

static const struct row {
    simplex_rc rc;
    const char *name;
    const char *text;
} rows[] = {
    { SIMPLEX_OK, "OK", "success" },
    { SIMPLEX_E_ARG, "E_ARG", "an argument is missing, out of range or malformed" },
    { SIMPLEX_E_PROHIBITED, "E_PROHIBITED", "not allowed in the present state" },
    { SIMPLEX_E_NOT_FOUND, "E_NOT_FOUND", "there is nothing with this id" },
    { SIMPLEX_E_TOO_LARGE, "E_TOO_LARGE", "larger than the protocol can carry; send less" },
    { SIMPLEX_E_BUFFER, "E_BUFFER", "the buffer is too small; the needed length was stored" },
    { SIMPLEX_E_CLOSED, "E_CLOSED", "the handle is closed" },
    { SIMPLEX_E_CALLBACK, "E_CALLBACK", "may not be called from inside the event callback" },
    { SIMPLEX_E_NO_EVENT, "E_NO_EVENT", "no event within the timeout" },
    { SIMPLEX_E_NO_SERVERS, "E_NO_SERVERS", "no SMP server is configured; name at least one" },
    { SIMPLEX_E_SUSPENDED, "E_SUSPENDED", "the agent is suspended; resume it first" },
    { SIMPLEX_E_NOTICE, "E_NOTICE",
      "the server asked for no new contact addresses for a time; use another server" },
    { SIMPLEX_E_NOMEM, "E_NOMEM", "out of memory" },
    { SIMPLEX_E_SYSTEM, "E_SYSTEM", "the operating system refused the operation" },
    { SIMPLEX_E_UNSUPPORTED, "E_UNSUPPORTED", "this build has no support for the feature" },
    { SIMPLEX_E_INTERNAL, "E_INTERNAL", "internal error of libsimplex; please report it" },
    { SIMPLEX_E_DECODE, "E_DECODE", "malformed data" },
    { SIMPLEX_E_LINK, "E_LINK", "not a SimpleX link; check that it was copied whole" },
    { SIMPLEX_E_ADDRESS, "E_ADDRESS", "not an SMP server address (smp://fingerprint@host)" },
    { SIMPLEX_E_VERSION, "E_VERSION", "no protocol version in common; update the older side" },
    { SIMPLEX_E_ENCODE, "E_ENCODE", "a field does not fit its encoding" },
    { SIMPLEX_E_PADDING, "E_PADDING", "padded data with an impossible length" },
    { SIMPLEX_E_CRYPTO, "E_CRYPTO", "decryption failed" },
    { SIMPLEX_E_SIGNATURE, "E_SIGNATURE", "the signature does not verify" },
    { SIMPLEX_E_KEY, "E_KEY", "not a key of an accepted kind" },
    { SIMPLEX_E_CERT, "E_CERT", "the certificate chain does not verify" },
    { SIMPLEX_E_RANDOM, "E_RANDOM", "the system's random generator failed" },
    { SIMPLEX_E_RATCHET_HEADER, "E_RATCHET_HEADER", "no key opens the message header" },
    { SIMPLEX_E_RATCHET_EARLIER, "E_RATCHET_EARLIER", "an earlier message; its key is gone" },
    { SIMPLEX_E_RATCHET_SKIPPED, "E_RATCHET_SKIPPED", "too many messages were skipped" },
    { SIMPLEX_E_RATCHET_DUPLICATE, "E_RATCHET_DUPLICATE", "the message was already decrypted" },
    { SIMPLEX_E_RATCHET_AES, "E_RATCHET_AES", "the message body does not decrypt" },
    { SIMPLEX_E_RATCHET_KEM, "E_RATCHET_KEM", "post-quantum data that does not fit the state" },
    { SIMPLEX_E_RATCHET_NO_CHAIN, "E_RATCHET_NO_CHAIN", "nothing can be sent before receiving" },
    { SIMPLEX_E_CONNECT, "E_CONNECT", "cannot connect to the server" },
    { SIMPLEX_E_HOST, "E_HOST", "the server's host name cannot be used or resolved" },
    { SIMPLEX_E_PROXY, "E_PROXY", "the SOCKS5 proxy refused the connection" },
    { SIMPLEX_E_TLS, "E_TLS", "the TLS connection failed" },
    { SIMPLEX_E_FINGERPRINT, "E_FINGERPRINT",
      "the server's certificate is not the one its address names" },
    { SIMPLEX_E_SESSION, "E_SESSION", "the server names another TLS session; interception?" },
    { SIMPLEX_E_HANDSHAKE, "E_HANDSHAKE", "the server does not speak SMP" },
    { SIMPLEX_E_TIMEOUT, "E_TIMEOUT", "no answer in time" },
    { SIMPLEX_E_DISCONNECTED, "E_DISCONNECTED", "the connection was closed" },
    { SIMPLEX_E_BLOCK, "E_BLOCK", "a block that cannot be read" },
    { SIMPLEX_E_RESPONSE, "E_RESPONSE", "an answer that does not belong to the command" },
    { SIMPLEX_E_SERVER, "E_SERVER", "the server refused the command" },
    { SIMPLEX_E_DB_KEY, "E_DB_KEY", "wrong database key, or the file is not a database" },
    { SIMPLEX_E_DB_SCHEMA, "E_DB_SCHEMA",
      "the database was made by a newer version; update the application" },
    { SIMPLEX_E_DB_DAMAGED, "E_DB_DAMAGED", "the database is damaged; restore a backup" },
    { SIMPLEX_E_DB_LOCKED, "E_DB_LOCKED", "the database is open in another process" },
    { SIMPLEX_E_DB_FULL, "E_DB_FULL", "the disk is full; free some space" },
    { SIMPLEX_E_DB_OLD, "E_DB_OLD", "an old copy of the database was put back" },
    { SIMPLEX_E_DB_IO, "E_DB_IO", "the database file cannot be opened, read or written" },
};

static const struct row *find(simplex_rc rc)
{
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        if (rows[i].rc == rc)
            return &rows[i];
    }
    return NULL;
}

const char *simplex_rc_text(simplex_rc rc)
{
    const struct row *row = find(rc);

    return row != NULL ? row->text : "unknown error";
}

const char *simplex_rc_name(simplex_rc rc)
{
    const struct row *row = find(rc);

    return row != NULL ? row->name : "E_UNKNOWN";
}

const char *simplex_version(void)
{
    return SX_VERSION;
}
