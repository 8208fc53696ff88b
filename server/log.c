/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_int max_level;

static const char *const tags[] = {
    [SX_LOG_ERROR] = "ERROR",
    [SX_LOG_WARN] = "WARN",
    [SX_LOG_INFO] = "INFO",
    [SX_LOG_DEBUG] = "DEBUG",
};

static void write_line(void *user, enum sx_log_level level, const char *text)
{
    time_t now = time(NULL);
    char when[32] = "";
    struct tm tm;

    (void)user;
    if ((int)level > atomic_load(&max_level))
        return;
    if (gmtime_r(&now, &tm) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "%s %s %s\n", when, tags[level], text); /* one write: stderr locks itself */
}

void sx_log_to_stderr(enum sx_log_level max)
{
    atomic_store(&max_level, (int)max);
    sx_log_set(write_line, NULL, SX_LOG_DEBUG);
}

void sx_log_set_level(enum sx_log_level max)
{
    atomic_store(&max_level, (int)max);
}

bool sx_log_level_parse(const char *text, enum sx_log_level *out)
{
    static const struct {
        const char *name;
        enum sx_log_level level;
    } levels[] = {
        { "trace", SX_LOG_DEBUG }, { "debug", SX_LOG_DEBUG }, { "info", SX_LOG_INFO },
        { "warn", SX_LOG_WARN },   { "error", SX_LOG_ERROR },
    };

    for (size_t i = 0; i < SX_COUNT(levels); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *out = levels[i].level;
            return true;
        }
    }
    return false;
}
