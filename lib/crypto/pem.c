/* SPDX-License-Identifier: Apache-2.0 */
/* PEM (RFC 7468) of certificates and PKCS#8 keys. Text between the blocks is skipped. */
#include "crypto/pem.h"

#define LINE_BYTES 48  /* 64 characters */
#define CERT_MAX 16384 /* the reference's are below 500 bytes */

void sx_pem_write(struct sx_wr *w, const char *label, simplex_bytes der)
{
    sx_wr_text(w, "-----BEGIN ");
    sx_wr_text(w, label);
    sx_wr_text(w, "-----\n");
    while (der.len > 0) {
        size_t n = der.len < LINE_BYTES ? der.len : LINE_BYTES;

        sx_b64_encode(w, sx_bytes(der.ptr, n));
        sx_wr_u8(w, '\n');
        der.ptr += n;
        der.len -= n;
    }
    sx_wr_text(w, "-----END ");
    sx_wr_text(w, label);
    sx_wr_text(w, "-----\n");
}

void sx_pem_cert(struct sx_wr *w, simplex_bytes der)
{
    sx_pem_write(w, "CERTIFICATE", der);
}

static bool starts(simplex_bytes line, const char *text)
{
    size_t n = strlen(text);

    return line.len >= n && memcmp(line.ptr, text, n) == 0;
}

static bool is_marker(simplex_bytes line, const char *word, const char *label)
{
    size_t n = strlen(word), l = strlen(label);

    return line.len == n + l + 5 && starts(line, word) && memcmp(line.ptr + n, label, l) == 0 &&
           memcmp(line.ptr + n + l, "-----", 5) == 0;
}

/* The next line without its end and trailing blanks; false when there is none. */
static bool next_line(struct sx_rd *r, simplex_bytes *line)
{
    if (r->left == 0)
        return false;
    const uint8_t *nl = memchr(r->p, '\n', r->left);
    *line = sx_rd_take(r, nl != NULL ? (size_t)(nl - r->p) + 1 : r->left);
    while (line->len > 0 && strchr("\r\n \t", line->ptr[line->len - 1]) != NULL &&
           line->ptr[line->len - 1] != 0)
        line->len--;
    return true;
}

/* The body of the next block with this label, others are skipped; false at the end. */
static bool next_block(struct sx_rd *r, const char *label, simplex_bytes *body, bool *bad)
{
    simplex_bytes line;

    do {
        if (!next_line(r, &line))
            return false;
    } while (!is_marker(line, "-----BEGIN ", label));
    const uint8_t *start = r->p;
    for (;;) {
        const uint8_t *end = r->p;

        if (!next_line(r, &line) || starts(line, "-----BEGIN ")) {
            *bad = true;
            return false;
        }
        if (is_marker(line, "-----END ", label)) {
            *body = sx_bytes(start, (size_t)(end - start));
            return true;
        }
    }
}

/* Appends the decoded body to w. */
static simplex_rc decode_body(struct sx_wr *w, simplex_bytes body, simplex_bytes *der)
{
    size_t at = w->len, n;
    size_t room = body.len / 4 * 3 + 3;

    if (body.len == 0 || room > CERT_MAX)
        return SIMPLEX_E_DECODE;
    uint8_t *to = sx_wr_space(w, room);
    if (to == NULL)
        return SIMPLEX_E_NOMEM;
    (void)sx_b64_decode_lines(body, to, room, &n);
    sx_wipe(to + n, room - n);
    w->len = at + n;
    *der = sx_bytes(to, n);
    return n > 0 ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}

simplex_rc sx_pem_chain(simplex_bytes pem, struct sx_wr *der, struct sx_chain *chain)
{
    size_t start = der->len, lens[SX_CHAIN_MAX];
    struct sx_rd r = sx_rd_init(pem);
    simplex_bytes body, cert;
    bool bad = false;

    *chain = (struct sx_chain){ 0 };
    size_t count = 0;
    while (next_block(&r, "CERTIFICATE", &body, &bad)) {
        if (count == SX_CHAIN_MAX)
            return SIMPLEX_E_CERT;
        simplex_rc rc = decode_body(der, body, &cert);
        if (rc != SIMPLEX_OK)
            return rc;
        lens[count++] = cert.len;
    }
    if (bad || count == 0)
        return SIMPLEX_E_DECODE;
    for (size_t i = 0; i < count; i++) { /* only now: the buffer may have moved while it grew */
        chain->cert[i] = sx_bytes(der->p + start, lens[i]);
        start += lens[i];
    }
    chain->count = count;
    return SIMPLEX_OK;
}

simplex_rc sx_pem_key(simplex_bytes pem, struct sx_keypair *out)
{
    uint8_t buf[256];
    struct sx_wr w;
    struct sx_priv priv = { 0 };
    struct sx_rd r = sx_rd_init(pem);
    simplex_bytes body, der;
    bool bad = false;

    memset(out, 0, sizeof *out);
    sx_wr_fixed(&w, buf, sizeof buf);
    if (!next_block(&r, "PRIVATE KEY", &body, &bad))
        return SIMPLEX_E_DECODE;
    simplex_rc rc = decode_body(&w, body, &der);
    if (rc == SIMPLEX_E_NOMEM)
        rc = SIMPLEX_E_KEY; /* too long for the kinds that are accepted */
    if (rc == SIMPLEX_OK)
        rc = sx_pkcs8_decode(der, &priv);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_from_priv(&priv, out);
    sx_wipe(&priv, sizeof priv);
    sx_wipe(buf, sizeof buf);
    return rc;
}
