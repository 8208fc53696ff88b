/* SPDX-License-Identifier: Apache-2.0 */
/* delete: everything the server has, after one question. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "store_log.h"

#define OPEN_DIRS 16

static const char usage[] =
    "Usage: smp-server delete [options]\n"
    "\n"
    "Deletes all files in the directories of the configuration and of the state: the identity of\n"
    "the server, its queues and its messages. It asks before; the answer must be Y. A server that\n"
    "runs must be stopped first.\n"
    "\n" SX_CLI_OPTIONS_HELP;

static const struct option options[] = { SX_CLI_OPTIONS };

/* Links are removed, not followed; the directory itself stays, as it may be a mount point. */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    if (at->level == 0)
        return 0;
    if ((type == FTW_DP ? rmdir(path) : unlink(path)) == 0)
        return 0;
    return sx_cli_fail(SX_CLI_FAILED, "cannot delete %s: %s", path, strerror(errno));
}

static bool become_root_again(bool was_root)
{
    return !was_root || (seteuid(0) == 0 && setegid(0) == 0);
}

static int empty_dir(const char *dir)
{
    bool was_root = geteuid() == 0;
    char itself[SX_PATH_MAX]; /* also if it is a link, to another disk for example */

    if (access(dir, F_OK) != 0 && errno == ENOENT)
        return SX_CLI_OK;
    if (!sx_path_join(itself, dir, "."))
        return sx_cli_fail(SX_CLI_FAILED, "the path %.60s... is too long", dir);
    if (!sx_cli_act_as_owner(dir))
        return SX_CLI_FAILED;
    int status = nftw(itself, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (status < 0)
        status =
            sx_cli_fail(SX_CLI_FAILED, "cannot delete the files in %s: %s", dir, strerror(errno));
    return become_root_again(was_root) ? status : SX_CLI_FAILED;
}

/* *fd: -1 when there is no state, or else open as long as no server may start. */
static int keep_servers_out(const struct sx_cli *c, int *fd)
{
    bool was_root = geteuid() == 0;
    const char *dir = c->paths.path[SX_PATH_STATE_DIR];
    char error[1024] = "";
    struct sx_errtext err = { error, sizeof(error) };

    *fd = -1;
    if (access(dir, F_OK) != 0 && errno == ENOENT)
        return SX_CLI_GO_ON;
    if (!sx_cli_act_as_owner(dir))
        return SX_CLI_FAILED;
    simplex_rc rc = sx_slog_lock(c->paths.path[SX_PATH_STORE_LOG], &err, fd);
    if (rc != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "nothing was deleted: %s",
                           error[0] != 0 ? error : simplex_rc_text(rc));
    return become_root_again(was_root) ? SX_CLI_GO_ON : SX_CLI_FAILED;
}

/* Nobody should lose other files by a slip of --config or --state. False: errno. */
static bool is_ours(const struct sx_cli *c)
{
    static const enum sx_path files[] = { SX_PATH_INI, SX_PATH_CA_CRT, SX_PATH_SERVER_CRT,
                                          SX_PATH_FINGERPRINT };

    for (size_t i = 0; i < SX_COUNT(files); i++)
        if (access(c->paths.path[files[i]], F_OK) == 0)
            return true;
    return false;
}

static bool confirmed(const struct sx_cli *c)
{
    char answer[16];

    printf("WARNING: this deletes the server's identity, all queues and all messages, in\n"
           "  %s\n  %s\nIt cannot be undone. Continue (Y/n): ",
           c->paths.path[SX_PATH_CONFIG_DIR], c->paths.path[SX_PATH_STATE_DIR]);
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "Y\n") == 0;
}

static int delete_all(const struct sx_cli *c)
{
    if (!confirmed(c)) {
        printf("\nServer NOT deleted.\n");
        return SX_CLI_FAILED;
    }
    int status = empty_dir(c->paths.path[SX_PATH_STATE_DIR]);
    if (status == SX_CLI_OK)
        status = empty_dir(c->paths.path[SX_PATH_CONFIG_DIR]);
    if (status == SX_CLI_OK)
        printf("Deleted configuration, identity, queues and messages.\n");
    return status;
}

int sx_cli_delete(struct sx_cli *c, int argc, char **argv)
{
    int opt, lock, status = SX_CLI_GO_ON;

    while (status == SX_CLI_GO_ON && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1)
        status = sx_cli_option(c, opt, usage);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_no_more(argc, argv);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_paths(c);
    if (status != SX_CLI_GO_ON)
        return status;
    const char *config_dir = c->paths.path[SX_PATH_CONFIG_DIR];
    const char *state_dir = c->paths.path[SX_PATH_STATE_DIR];
    if (!is_ours(c))
        return sx_cli_fail(SX_CLI_FAILED, "nothing was deleted: no files of a server in %s: %s",
                           config_dir, sx_file_error(errno));
    if (strcmp(config_dir, "/") == 0 || strcmp(state_dir, "/") == 0)
        return sx_cli_fail(SX_CLI_USAGE, "/ is not a directory of the server alone");
    if ((status = keep_servers_out(c, &lock)) != SX_CLI_GO_ON)
        return status;
    status = delete_all(c);
    if (lock >= 0)
        (void)close(lock);
    return status;
}
