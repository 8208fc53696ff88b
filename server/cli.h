/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program smp-server (protocol/smp.md section 10, CLI): its commands, and what they share. Only
 * the program has these files, the library does not.
 */
#ifndef SX_CLI_H
#define SX_CLI_H

#include <getopt.h>
#include <stdio.h>

#include "config.h"
#include "file.h"
#include "paths.h"
#include "simplex/server.h"

enum { SX_CLI_OK = 0, SX_CLI_FAILED = 1, SX_CLI_USAGE = 2 };
enum { SX_CLI_GO_ON = -1 }; /* of functions that otherwise return the exit status */

struct sx_cli {
    const char *config_dir, *state_dir; /* of --config and --state; NULL: not given */
    struct sx_paths paths;              /* after sx_cli_paths */
};

/* One error on stderr, "smp-server: ..."; returns `status`. */
int sx_cli_fail(int status, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
/* Fills in the paths, and says why if it cannot. */
int sx_cli_paths(struct sx_cli *c);
/* SX_CLI_GO_ON when there is a smp-server.ini, or says that init is needed. */
int sx_cli_need_ini(const struct sx_cli *c);

/*
 * Root goes on with the rights of the directory's owner, if that is another user: what it writes
 * is for a server that runs as that one, and whatever the owner puts there meanwhile, nothing else
 * can be touched. A directory that does not exist changes nothing. False: it said why not.
 */
bool sx_cli_act_as_owner(const char *dir);

/* ---- options ---- */

enum { SX_OPT_CONFIG = 1000, SX_OPT_STATE };
#define SX_CLI_OPTIONS /* that every command has; last in its table */                          \
    { "config", required_argument, NULL, SX_OPT_CONFIG },                                       \
        { "state", required_argument, NULL, SX_OPT_STATE }, { "help", no_argument, NULL, 'h' }, \
    {                                                                                           \
        NULL, 0, NULL, 0                                                                        \
    }
#define SX_CLI_OPTIONS_HELP                                                               \
    "  --config DIR          directory of smp-server.ini and the certificates (default\n" \
    "                        " SX_CONFIG_DIR ", or " SX_CONFIG_DIR_ENV ")\n"              \
    "  --state DIR           directory of queues, messages and statistics (default\n"     \
    "                        " SX_STATE_DIR ", or " SX_STATE_DIR_ENV ")\n"                \
    "  -h, --help            this text\n"

/* Takes an option of SX_CLI_OPTIONS, or says that it is unknown. */
int sx_cli_option(struct sx_cli *c, int opt, const char *usage);
/* After the options: no argument may be left. */
int sx_cli_no_more(int argc, char **argv);
/* An option whose argument may be left out, also when it stands apart: "--control-port 5224". NULL:
 * left out. */
const char *sx_cli_optional(int argc, char **argv);
bool sx_cli_number(const char *option, const char *text, unsigned long min, unsigned long max,
                   unsigned long *out);
/* ED25519 or ED448, in either case. */
bool sx_cli_algorithm(const char *text, enum sx_alg *out);

/* ---- commands: argv[0] is the command's name; they return the exit status ---- */

int sx_cli_init(struct sx_cli *c, int argc, char **argv);
int sx_cli_start(struct sx_cli *c, int argc, char **argv);
int sx_cli_cert(struct sx_cli *c, int argc, char **argv);
int sx_cli_messages(struct sx_cli *c, int argc, char **argv);
int sx_cli_delete(struct sx_cli *c, int argc, char **argv);
void sx_cli_version(void);

/* ---- start: with an ini, or quick ---- */

struct sx_cli_quick { /* start without an ini: everything is an option */
    bool wanted;
    simplex_server_config cfg;
};
/* Takes an option of the quick start; SX_CLI_USAGE when its value is wrong. */
int sx_cli_quick_option(struct sx_cli_quick *q, int opt, const char *arg);
int sx_cli_quick_run(struct sx_cli_quick *q, enum sx_log_level level);
enum { /* its options */
       SX_OPT_HOST = 1100,
       SX_OPT_NAME,
       SX_OPT_PORT,
       SX_OPT_DIR,
       SX_OPT_PASSWORD,
       SX_OPT_THREADS,
       SX_OPT_QUOTA,
       SX_OPT_COMPACT,
       SX_OPT_NO_NEW,
       SX_OPT_IN_MEMORY
};

/* Reads smp-server.ini; says what is wrong with it. */
int sx_cli_read_config(const struct sx_cli *c, struct sx_config *out);
/* *cfg borrows from c and its paths. */
void sx_cli_server_config(const struct sx_cli *cli, const struct sx_config *c,
                          simplex_server_config *cfg);
/* What is printed when the server runs, and by init. fingerprint: as in the file. */
void sx_cli_banner_identity(const char *fingerprint, const struct sx_config *c);
void sx_cli_banner(const struct sx_cli *cli, const struct sx_config *c, const simplex_server *s);

/* Writes the pages of the site, if there is one, and says so. cert: the files of its certificate
 * are looked at first. SX_CLI_GO_ON, or the exit status. */
int sx_cli_site(const struct sx_cli *cli, const struct sx_config *c, bool cert);

/* As many open files as so many connections need, if the system allows; before the start, which
 * shares them. Then a warning when it does not. */
void sx_cli_raise_files(const simplex_server_config *cfg);
void sx_cli_tell_files(const simplex_server_config *cfg);

/* Tells the service manager that clients can connect, if there is one that waits for it
 * (sd_notify(3); Type=notify in a unit). Says so when it cannot. */
void sx_cli_ready(void);

/* ---- signals ---- */

/* Before any thread starts. */
void sx_cli_block_signals(void);
/* Waits for SIGINT or SIGTERM; on_hup for each SIGHUP. Afterwards a further SIGINT ends the program
 * at once. */
void sx_cli_wait(void (*on_hup)(void *user), void *user);

#endif
