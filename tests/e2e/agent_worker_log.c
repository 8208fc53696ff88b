/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a worker: what it tells others, and its log, from which it goes on after a kill. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_worker.h"

/* ---- files ---- */

static void path_of(char path[512], const char *name, long n)
{
    (void)snprintf(path, 512, n >= 0 ? "%s/%s.%ld" : "%s/%s", self.dir, name, n);
}

bool exists(const char *name)
{
    char path[512];

    path_of(path, name, -1);
    return access(path, F_OK) == 0;
}

void put_file(const char *name, long n, const void *text, size_t len)
{
    char path[512], tmp[520];
    FILE *f;

    path_of(path, name, n);
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    f = fopen(tmp, "wb");
    if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0 || rename(tmp, path) != 0)
        abort();
}

size_t get_file(const char *name, long n, char *to, size_t size)
{
    char path[512];
    size_t len;
    FILE *f;

    path_of(path, name, n);
    f = fopen(path, "rb");
    if (f == NULL)
        return 0;
    len = fread(to, 1, size - 1, f);
    (void)fclose(f);
    to[len] = 0;
    return len;
}

void write_log(const char *line)
{
    size_t len = strlen(line);

    if (write(self.log, line, len) != (ssize_t)len || fdatasync(self.log) != 0)
        abort();
}

void error(const char *what, const char *text)
{
    char line[512];

    (void)snprintf(line, sizeof line, "e %s: %s\n", what, text);
    write_log(line);
}

void check(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        error(what, simplex_rc_name(rc));
}

/* ---- what was before ---- */

static void read_line(const char *line)
{
    long conv, n, attempt, batch;
    long long id;
    int integrity;
    char text[64];

    if (sscanf(line, "s %ld %ld %ld %ld", &conv, &n, &attempt, &batch) == 4) {
        self.convs[conv].n = n;
        self.convs[conv].attempt = attempt;
        self.convs[conv].open = true;
        self.batch = batch > self.batch ? batch : self.batch;
    } else if (sscanf(line, "d %ld %ld %ld %lld", &conv, &n, &attempt, &id) == 4) {
        self.convs[conv].open = false;
        self.convs[conv].taken_id = id;
    } else if (sscanf(line, "y %ld", &conv) == 1) {
        self.convs[conv].syncs++;
    } else if (sscanf(line, "c %ld %lld", &conv, &id) == 2) {
        self.convs[conv].received = id;
    } else if (sscanf(line, "r %ld %lld %d %63[^\n]", &conv, &id, &integrity, text) == 4) {
        self.convs[conv].last_id = id;
        (void)snprintf(self.convs[conv].last, sizeof self.convs[conv].last, "%s", text);
        if (sscanf(text, "pong %ld", &n) == 1)
            self.convs[conv].answered = n;
    }
}

void open_log(const char *role)
{
    char path[512], line[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/log.%s", self.dir, role);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        read_line(line);
    if (f != NULL)
        (void)fclose(f);
    self.log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (self.log < 0)
        abort();
}
