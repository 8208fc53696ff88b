/* SPDX-License-Identifier: Apache-2.0 */
/* Tor gives connections with different SOCKS5 user names different circuits. */
#include <inttypes.h>
#include <stdio.h>

#include "client/hosts.h"

#define TEXT_MAX 4096

static void put_number(struct sx_wr *w, char before, int64_t n)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%c%" PRId64, before, n);
    sx_wr_text(w, text);
}

simplex_rc sx_isolation_user(const struct sx_isolation *i, char out[SX_ISOLATION_USER])
{
    struct sx_wr text, user;
    uint8_t digest[32];

    sx_wr_init(&text, TEXT_MAX);
    sx_wr_text(&text, i->text);
    if (i->user != 0)
        put_number(&text, '#', i->user);
    if (i->session != 0)
        put_number(&text, ':', i->session);
    if (i->server != NULL) {
        sx_wr_u8(&text, '@');
        sx_server_print(&text, i->server, (simplex_bytes){ 0 });
    }
    if (i->entity != 0)
        put_number(&text, '/', i->entity);
    bool bad = text.bad;
    if (!bad) {
        sx_sha256(sx_wr_bytes(&text), digest);
        sx_wr_fixed(&user, out, SX_ISOLATION_USER - 1);
        sx_b64_encode(&user, sx_bytes(digest, sizeof(digest)));
        out[user.len] = 0;
        bad = user.bad;
    }
    sx_wr_free(&text);
    return bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}
