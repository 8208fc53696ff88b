/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The security code of a connection (agent.md section 3.2: both sides have the same associated
 * data, made of the keys that were exchanged, or somebody exchanged other keys with each of them).
 */
#include "agent/agent.h"
#include "agent/status.h"

#define GROUP 5

/* One digit: divides the number by ten. Returns the remainder. */
static unsigned divide(uint8_t n[32])
{
    unsigned rest = 0;

    for (size_t i = 0; i < 32; i++) {
        rest = rest << 8 | n[i];
        n[i] = (uint8_t)(rest / 10);
        rest %= 10;
    }
    return rest;
}

static bool is_zero(const uint8_t n[32])
{
    unsigned bits = 0;

    for (size_t i = 0; i < 32; i++)
        bits |= n[i];
    return bits == 0;
}

void sx_code_text(const uint8_t code[32], char text[SIMPLEX_CODE_TEXT])
{
    char digits[80]; /* 2^256 has 78, from the last */
    uint8_t rest[32];
    size_t n = 0, at = 0;

    memcpy(rest, code, sizeof rest);
    do {
        digits[n++] = (char)('0' + divide(rest));
    } while (!is_zero(rest));
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && i % GROUP == 0)
            text[at++] = ' ';
        text[at++] = digits[n - 1 - i];
    }
    text[at] = '\0';
}

struct args {
    int64_t conn;
    uint8_t *code;
};

static simplex_rc do_code(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_ratchet r;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, x->conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_ratchet_get_snd(a->store, c.id, &r);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
    sx_sha256(sx_bytes(r.ad, sizeof r.ad), x->code);
    sx_ratchet_wipe(&r);
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_security_code(simplex_agent *a, int64_t conn, uint8_t code[32],
                                       char text[SIMPLEX_CODE_TEXT])
{
    struct args x = { conn, code };
    simplex_rc rc;

    if (a == NULL || code == NULL)
        return SIMPLEX_E_ARG;
    rc = sx_agent_run(a, do_code, &x, false);
    if (rc == SIMPLEX_OK && text != NULL)
        sx_code_text(code, text);
    return rc;
}
