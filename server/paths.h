/* SPDX-License-Identifier: Apache-2.0 */
/* Where the server's files are (protocol/smp.md section 10). */
#ifndef SX_PATHS_H
#define SX_PATHS_H

#include "base/base.h"

#define SX_CONFIG_DIR "/etc/opt/simplex"
#define SX_STATE_DIR "/var/opt/simplex"
#define SX_CONFIG_DIR_ENV "SMP_SERVER_CFG_PATH"
#define SX_STATE_DIR_ENV "SMP_SERVER_LOG_PATH"

enum sx_path {
    SX_PATH_CONFIG_DIR,
    SX_PATH_CA_KEY,
    SX_PATH_CA_CRT,
    SX_PATH_CA_SRL,
    SX_PATH_SERVER_KEY,
    SX_PATH_SERVER_CRT,
    SX_PATH_SERVER_CSR,
    SX_PATH_FINGERPRINT,
    SX_PATH_OPENSSL_CA_CONF,
    SX_PATH_OPENSSL_SERVER_CONF,
    SX_PATH_INI,
    SX_PATH_WEB_CRT,
    SX_PATH_WEB_KEY,
    SX_PATH_STATE_DIR,
    SX_PATH_STORE_LOG,
    SX_PATH_MESSAGES, /* of store_messages: memory, and of export */
    SX_PATH_NTFS,
    SX_PATH_STATS_BACKUP, /* counters over a restart */
    SX_PATH_STATS_DAILY,  /* CSV */
    SX_PATH_METRICS,      /* Prometheus */
    SX_PATH_JOURNAL_DIR,  /* of the reference: messages/ */
    SX_PATH_WWW_DIR,
    SX_PATHS
};

struct sx_paths {
    char *path[SX_PATHS];
};

/* Directories: the argument, or else (NULL) the environment variable, or else the fixed name; a
 * slash at the end is left out. E_ARG: an empty name; E_NOMEM. On failure nothing is left. */
simplex_rc sx_paths_init(struct sx_paths *p, const char *config_dir,
                         const char *state_dir) SIMPLEX_CHECK;
void sx_paths_free(struct sx_paths *p);

#endif
