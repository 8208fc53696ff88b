/* SPDX-License-Identifier: Apache-2.0 */
/* cert: a new server.key and server.crt, signed by the CA that is the server's identity. */
#include "cli.h"
#include "identity.h"

static const char usage[] =
    "Usage: smp-server cert [options]\n"
    "\n"
    "Makes a new " SX_SERVER_KEY " and " SX_SERVER_CERT " from " SX_CA_KEY " and " SX_CA_CERT
    ": the identity and the\n"
    "address of the server stay as they are. Restart the server afterwards.\n"
    "\n"
    "  -a, --sign-algorithm A  ED25519 or ED448 (default: that of the present certificate)\n"
    "      --cn FQDN           host name in the certificate (default: the present "
    "one)\n" SX_CLI_OPTIONS_HELP "\n" SX_CA_KEY
    " is needed for nothing else. Keep it offline: copy it here for this command, or "
    "copy\n" SX_CA_CERT ", " SX_FINGERPRINT " and " SX_SERVER_CERT
    " to DIR on a machine that has it, run\n"
    "`smp-server cert --config DIR` there, and bring " SX_SERVER_KEY " and " SX_SERVER_CERT
    " back.\n";

static const struct option options[] = {
    { "sign-algorithm", required_argument, NULL, 'a' },
    { "cn", required_argument, NULL, 1 },
    SX_CLI_OPTIONS,
};

static int renew(const char *dir, enum sx_alg alg, const char *cn)
{
    char error[1024] = "", name[256] = "";
    struct sx_errtext err = { error, sizeof(error) };
    struct sx_identity id;
    uint8_t buf[64];
    struct sx_wr w;

    simplex_rc rc = sx_identity_renew(&id, dir, alg, cn, &err);
    if (rc != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "%s", error[0] != 0 ? error : simplex_rc_text(rc));
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_identity_print(id.fingerprint, &w);
    if (sx_chain_leaf_name(&id.chain, name, sizeof(name)) != SIMPLEX_OK)
        name[0] = 0;
    printf("Generated new server credentials for %s (%s).\n", name,
           id.leaf.pub.alg == SX_ED448 ? "ED448" : "ED25519");
    printf("Fingerprint, as before: %.*s\n", (int)w.len - 1, (const char *)buf);
    printf("Restart the server to use them.\n");
    sx_identity_wipe(&id);
    return SX_CLI_OK;
}

int sx_cli_cert(struct sx_cli *c, int argc, char **argv)
{
    enum sx_alg alg = SX_NO_KEY;
    const char *cn = NULL;
    int opt, status = SX_CLI_GO_ON;

    while (status == SX_CLI_GO_ON && (opt = getopt_long(argc, argv, "a:h", options, NULL)) != -1) {
        if (opt == 'a')
            status = sx_cli_algorithm(optarg, &alg) ? SX_CLI_GO_ON : SX_CLI_USAGE;
        else if (opt == 1)
            cn = optarg;
        else
            status = sx_cli_option(c, opt, usage);
    }
    if (status == SX_CLI_GO_ON)
        status = sx_cli_no_more(argc, argv);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_paths(c);
    if (status != SX_CLI_GO_ON)
        return status;
    /* No ini is needed: the machine with the key of the CA need not have one. */
    if (sx_file_missing(c->paths.path[SX_PATH_CONFIG_DIR], SX_CA_CERT))
        return sx_cli_fail(SX_CLI_FAILED,
                           "%s does not exist: restore it from a backup, say where it is with "
                           "--config DIR, or run `smp-server init` for a new server",
                           c->paths.path[SX_PATH_CA_CRT]);
    return renew(c->paths.path[SX_PATH_CONFIG_DIR], alg, cn);
}
