/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "simplex/server.h"

static void die(const char *what)
{
    fprintf(stderr, "the server of the benchmark: %s\n", what);
    exit(1);
}

struct hello {
    uint16_t port;
    uint8_t key_hash[32];
};

static void serve(const char *dir, int in, int out)
{
    simplex_server_config cfg;
    simplex_server *s;
    char error[256] = "";
    struct hello h;
    char c;

    simplex_server_config_init(&cfg);
    cfg.state_dir = dir;
    cfg.error = error;
    cfg.error_size = sizeof(error);
    if (simplex_server_start(&cfg, &s) != SIMPLEX_OK)
        die(error);
    h.port = simplex_server_port(s);
    simplex_server_fingerprint(s, h.key_hash);
    if (write(out, &h, sizeof(h)) != (ssize_t)sizeof(h))
        die("write");
    while (read(in, &c, 1) > 0)
        ;
    simplex_server_stop(s);
    _exit(0); /* what stdout holds is the parent's */
}

struct served served_start(const char *dir)
{
    struct served s;
    struct hello h;
    int in[2], out[2];

    if (pipe(in) != 0 || pipe(out) != 0)
        die("pipe");
    s.pid = fork();
    if (s.pid < 0)
        die("fork");
    if (s.pid == 0) {
        close(in[1]);
        close(out[0]);
        serve(dir, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    if (read(out[0], &h, sizeof(h)) != (ssize_t)sizeof(h))
        die("it did not start");
    close(out[0]);
    s.stop = in[1];
    s.port = h.port;
    memcpy(s.key_hash, h.key_hash, sizeof(s.key_hash));
    return s;
}

void served_stop(const struct served *s)
{
    close(s->stop);
    waitpid(s->pid, NULL, 0);
}

double served_memory(const struct served *s)
{
    char path[64];
    long pages = 0, rss = 0;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)s->pid);
    FILE *f = fopen(path, "r");
    if (f == NULL || fscanf(f, "%ld %ld", &pages, &rss) != 2)
        die("reading /proc");
    fclose(f);
    return (double)rss * (double)sysconf(_SC_PAGESIZE);
}

double served_cpu(const struct served *s)
{
    char path[64];
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);
    FILE *f = fopen(path, "r");
    /* pid (name) state, ten numbers, utime, stime */
    if (f == NULL || fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &user, &system) != 2)
        die("reading /proc");
    fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
