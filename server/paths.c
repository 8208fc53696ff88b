/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the server's files. */
#include "paths.h"

#include <stdlib.h>

/* NULL: the directory itself. Up to SX_PATH_STATE_DIR in the configuration directory. */
static const char *const names[SX_PATHS] = {
    [SX_PATH_CA_KEY] = "ca.key",
    [SX_PATH_CA_CRT] = "ca.crt",
    [SX_PATH_CA_SRL] = "ca.srl",
    [SX_PATH_SERVER_KEY] = "server.key",
    [SX_PATH_SERVER_CRT] = "server.crt",
    [SX_PATH_SERVER_CSR] = "server.csr",
    [SX_PATH_FINGERPRINT] = "fingerprint",
    [SX_PATH_OPENSSL_CA_CONF] = "openssl_ca.conf",
    [SX_PATH_OPENSSL_SERVER_CONF] = "openssl_server.conf",
    [SX_PATH_INI] = "smp-server.ini",
    [SX_PATH_WEB_CRT] = "web.crt",
    [SX_PATH_WEB_KEY] = "web.key",
    [SX_PATH_STORE_LOG] = "smp-server-store.log",
    [SX_PATH_MESSAGES] = "smp-server-messages.log",
    [SX_PATH_NTFS] = "smp-server-ntfs.log",
    [SX_PATH_STATS_BACKUP] = "smp-server-stats.log",
    [SX_PATH_STATS_DAILY] = "smp-server-stats.daily.log",
    [SX_PATH_METRICS] = "smp-server-metrics.txt",
    [SX_PATH_JOURNAL_DIR] = "messages",
    [SX_PATH_WWW_DIR] = "www",
};

static const char *choose(const char *given, const char *variable, const char *fixed)
{
    const char *from_env = getenv(variable);

    if (given != NULL)
        return given;
    return from_env != NULL && from_env[0] != 0 ? from_env : fixed;
}

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir), m = name == NULL ? 0 : strlen(name) + 1;

    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (n > SIZE_MAX - m - 1)
        return NULL;
    char *path = sx_malloc(n + m + 1);
    if (path == NULL)
        return NULL;
    memcpy(path, dir, n);
    path[n] = 0;
    if (name != NULL) {
        bool root = n == 1 && dir[0] == '/';
        if (!root)
            path[n++] = '/';
        memcpy(path + n, name, m); /* its NUL too */
    }
    return path;
}

simplex_rc sx_paths_init(struct sx_paths *p, const char *config_dir, const char *state_dir)
{
    const char *config = choose(config_dir, SX_CONFIG_DIR_ENV, SX_CONFIG_DIR);
    const char *state = choose(state_dir, SX_STATE_DIR_ENV, SX_STATE_DIR);

    *p = (struct sx_paths){ 0 };
    if (config[0] == 0 || state[0] == 0)
        return SIMPLEX_E_ARG;
    for (unsigned i = 0; i < SX_PATHS; i++) {
        p->path[i] = join(i < SX_PATH_STATE_DIR ? config : state, names[i]);
        if (p->path[i] == NULL) {
            sx_paths_free(p);
            return SIMPLEX_E_NOMEM;
        }
    }
    return SIMPLEX_OK;
}

void sx_paths_free(struct sx_paths *p)
{
    for (unsigned i = 0; i < SX_PATHS; i++)
        sx_free(p->path[i]);
    *p = (struct sx_paths){ 0 };
}
