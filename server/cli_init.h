/* SPDX-License-Identifier: Apache-2.0 */
/* init: what it is told, by options or by answers. */
#ifndef SX_CLI_INIT_H
#define SX_CLI_INIT_H

#include "cli.h"
#include "crypto/x509.h"
#include "ini_template.h"

#define SX_PASSWORD_SIZE 48 /* 32 random bytes in base64url, and NUL */
#define SX_ANSWER_SIZE 1024

struct sx_cli_init {
    struct sx_cli *cli;
    struct sx_ini_options ini;
    enum sx_alg alg;
    const char *ip, *fqdn; /* the second wins; both NULL: 127.0.0.1 */
    bool has_source;       /* --source-code was given, with or without a URI */
    bool yes, no_store_log, store_log, no_password, disable_web;
    char random_password[SX_PASSWORD_SIZE], admin_password[SX_PASSWORD_SIZE],
        user_password[SX_PASSWORD_SIZE];
    /* answers that `ini`, ip and fqdn point into */
    char password_answer[SX_ANSWER_SIZE], host_answer[SX_ANSWER_SIZE],
        source_answer[SX_ANSWER_SIZE], web_answer[SX_ANSWER_SIZE];
    /* names of files that `ini` points into, if the directories were given as relative ones */
    char web_path[SX_PATH_MAX], web_cert[SX_PATH_MAX], web_key[SX_PATH_MAX];
};

/* SX_CLI_GO_ON, or the exit status. */
int sx_cli_init_options(struct sx_cli_init *i, int argc, char **argv);
/* Asks on stdin; the options are what Enter stands for. */
int sx_cli_init_ask(struct sx_cli_init *i);
/* Printable ASCII without what separates the parts of an address. */
bool sx_cli_password_ok(const char *password);
void sx_cli_random_password(char to[SX_PASSWORD_SIZE]);

#endif
