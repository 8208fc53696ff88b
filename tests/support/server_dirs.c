/* SPDX-License-Identifier: Apache-2.0 */
#include "support/server_dirs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "support/program.h"
#include "support/vec.h"

char base[64], config_dir[96], state_dir[96];

int make_dirs(void **state)
{
    (void)state;
    strcpy(base, "/tmp/simplex-test-XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(config_dir, sizeof(config_dir), "%s/config", base);
    snprintf(state_dir, sizeof(state_dir), "%s/state", base);
    return sx_crypto_init();
}

int remove_dirs(void **state)
{
    char cmd[96];

    (void)state;
    vec_free_all();
    snprintf(cmd, sizeof(cmd), "rm -r %s", base);
    return system(cmd);
}

const char *const *with_dirs(const char *const *args)
{
    static const char *all[PROGRAM_ARGS_MAX + 1];
    size_t n = 0;

    for (; args[n] != NULL; n++)
        all[n] = args[n];
    assert_true(n + 4 < PROGRAM_ARGS_MAX);
    all[n++] = "--config";
    all[n++] = config_dir;
    all[n++] = "--state";
    all[n++] = state_dir;
    all[n] = NULL;
    return all;
}
