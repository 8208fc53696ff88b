/* SPDX-License-Identifier: Apache-2.0 */
/* [WEB]: the pages of the site, and the certificate that browsers get. */
#include "cli.h"
#include "identity.h"
#include "site.h"
#include "web.h"

/* The line of smp-server.ini, since that is where it is put right. */
static int check_cert(const struct sx_cli *cli, const struct sx_config *c)
{
    char text[1024] = "";
    struct sx_errtext err = { text, sizeof(text) };
    bool key_at_fault;

    if (!sx_config_has_https(c))
        return SX_CLI_GO_ON;
    simplex_rc rc = sx_web_check(c->web.cert, c->web.key, &key_at_fault, &err);
    if (rc == SIMPLEX_OK)
        return SX_CLI_GO_ON;
    return sx_cli_fail(SX_CLI_FAILED,
                       "%s:%u: [WEB] %s: %s. A certificate for the host name of this server is to "
                       "be had for example with certbot (see the operator's guide); without a site "
                       "over HTTPS, write # before https, cert and key",
                       cli->paths.path[SX_PATH_INI],
                       key_at_fault ? c->web.key_line : c->web.cert_line,
                       key_at_fault ? "key" : "cert", text[0] != 0 ? text : simplex_rc_text(rc));
}

static simplex_rc read_fingerprint(const struct sx_cli *cli, uint8_t fingerprint[64],
                                   struct sx_errtext *err)
{
    struct sx_identity id;
    struct sx_wr w;

    simplex_rc rc = sx_identity_read(&id, cli->paths.path[SX_PATH_CONFIG_DIR], err);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, fingerprint, 64);
    sx_b64url_encode(&w, sx_bytes(id.fingerprint, sizeof(id.fingerprint)));
    sx_wr_u8(&w, 0);
    sx_identity_wipe(&id);
    return SIMPLEX_OK;
}

int sx_cli_site(const struct sx_cli *cli, const struct sx_config *c, bool cert)
{
    char text[1024] = "";
    struct sx_errtext err = { text, sizeof(text) };
    uint8_t fingerprint[64];
    unsigned kept = 0;
    int status = cert ? check_cert(cli, c) : SX_CLI_GO_ON;

    if (status != SX_CLI_GO_ON || c->web.static_path == NULL)
        return status;
    simplex_rc rc = read_fingerprint(cli, fingerprint, &err);
    if (rc != SIMPLEX_OK && cert) /* the start fails for the same reason, and says so */
        return SX_CLI_GO_ON;
    if (rc == SIMPLEX_OK)
        rc = sx_site_write(c->web.static_path, c, (const char *)fingerprint, &kept, &err);
    if (rc != SIMPLEX_OK) /* messages are more important than pages */
        sx_log(SX_LOG_WARN, "the pages of the site could not be written: %s",
               text[0] != 0 ? text : simplex_rc_text(rc));
    else if (kept > 0)
        sx_log(SX_LOG_INFO, "pages of the site are in %s; %u that this program has not made stay",
               c->web.static_path, kept);
    return SX_CLI_GO_ON;
}
