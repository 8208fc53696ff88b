/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "file.h"

int sx_cli_fail(int status, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("smp-server: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\n", stderr);
    return status;
}

int sx_cli_paths(struct sx_cli *c)
{
    simplex_rc rc = sx_paths_init(&c->paths, c->config_dir, c->state_dir);

    if (rc == SIMPLEX_OK)
        return SX_CLI_GO_ON;
    return sx_cli_fail(SX_CLI_USAGE,
                       rc == SIMPLEX_E_ARG
                           ? "the names of the directories (--config, --state, " SX_CONFIG_DIR_ENV
                             ", " SX_STATE_DIR_ENV ") must not be empty"
                           : "out of memory");
}

int sx_cli_need_ini(const struct sx_cli *c)
{
    const char *ini = c->paths.path[SX_PATH_INI];
    FILE *f = sx_file_open(ini);

    if (f != NULL) {
        fclose(f);
        return SX_CLI_GO_ON;
    }
    if (errno != ENOENT && errno != ENOTDIR)
        return sx_cli_fail(SX_CLI_FAILED, "cannot read %s: %s", ini, sx_file_error(errno));
    fprintf(stderr,
            "Error: server is not initialized (%s does not exist).\n"
            "Run `smp-server init` for a new server, say where the file is with --config DIR, or "
            "restore it from a backup.\n",
            ini);
    return SX_CLI_FAILED;
}

bool sx_cli_act_as_owner(const char *dir)
{
    struct stat st;

    if (geteuid() != 0 || (stat(dir, &st) != 0 && errno == ENOENT))
        return true;
    if (stat(dir, &st) == 0 && setegid(st.st_gid) == 0 && seteuid(st.st_uid) == 0)
        return true;
    sx_cli_fail(0, "cannot act as the owner of %s: %s", dir, strerror(errno));
    return false;
}

int sx_cli_option(struct sx_cli *c, int opt, const char *usage)
{
    switch (opt) {
    case SX_OPT_CONFIG:
        c->config_dir = optarg;
        return SX_CLI_GO_ON;
    case SX_OPT_STATE:
        c->state_dir = optarg;
        return SX_CLI_GO_ON;
    case 'h':
        fputs(usage, stdout);
        return SX_CLI_OK;
    default: /* getopt has said what is wrong */
        fputs("Try `smp-server --help`, or --help after the command.\n", stderr);
        return SX_CLI_USAGE;
    }
}

int sx_cli_no_more(int argc, char **argv)
{
    if (optind >= argc)
        return SX_CLI_GO_ON;
    return sx_cli_fail(SX_CLI_USAGE, "unexpected argument \"%s\"; try `smp-server %s --help`",
                       argv[optind], argv[0]);
}

const char *sx_cli_optional(int argc, char **argv)
{
    if (optarg != NULL)
        return optarg;
    if (optind < argc && argv[optind][0] != '-')
        return argv[optind++];
    return NULL;
}

bool sx_cli_number(const char *option, const char *text, unsigned long min, unsigned long max,
                   unsigned long *out)
{
    char *end;

    errno = 0;
    *out = strtoul(text, &end, 10);
    if (errno == 0 && *text >= '0' && *text <= '9' && *end == 0 && *out >= min && *out <= max)
        return true;
    sx_cli_fail(SX_CLI_USAGE, "%s takes a number from %lu to %lu, not \"%s\"", option, min, max,
                text);
    return false;
}

bool sx_cli_algorithm(const char *text, enum sx_alg *out)
{
    if (strcasecmp(text, "ED25519") == 0)
        *out = SX_ED25519;
    else if (strcasecmp(text, "ED448") == 0)
        *out = SX_ED448;
    else
        return sx_cli_fail(0, "the algorithm is ED25519 or ED448, not \"%s\"", text) != 0;
    return true;
}
