/* SPDX-License-Identifier: Apache-2.0 */
#include "web_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_SIZE 256
#define WELL_KNOWN ".well-known/"

static const char *type_of(const char *name)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        { ".html", "text/html; charset=utf-8" },
        { ".css", "text/css; charset=utf-8" },
        { ".js", "text/javascript; charset=utf-8" },
        { ".json", "application/json" },
        { ".svg", "image/svg+xml" },
        { ".png", "image/png" },
        { ".jpg", "image/jpeg" },
        { ".gif", "image/gif" },
        { ".webp", "image/webp" },
        { ".ico", "image/x-icon" },
        { ".txt", "text/plain; charset=utf-8" },
        { ".asc", "text/plain; charset=utf-8" },
        { ".pdf", "application/pdf" },
        { ".xml", "application/xml" },
        { ".wasm", "application/wasm" },
        { ".woff", "font/woff" },
        { ".woff2", "font/woff2" },
        { ".ttf", "font/ttf" },
        { "apple-app-site-association", "application/json" },
    };
    size_t n = strlen(name);

    for (size_t i = 0; i < SX_COUNT(types); i++) {
        size_t m = strlen(types[i].end);
        if (n >= m && strcmp(name + n - m, types[i].end) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

void sx_web_date(int64_t seconds, char out[SX_WEB_DATE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)seconds;
    struct tm tm = { 0 };

    gmtime_r(&t, &tm);
    snprintf(out, SX_WEB_DATE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday,
             (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

/* Opens the folder or file below dir; dir is closed unless it is the root. */
static int step(int root, int dir, const char *name)
{
    /* A FIFO must not make the thread wait. */
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (dir != root)
        close(dir);
    return fd;
}

static bool describe(int fd, const char *name, struct sx_web_file *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
        (uint64_t)st.st_size > SX_WEB_FILE_SIZE_MAX)
        return false;
    out->fd = fd;
    out->size = (uint64_t)st.st_size;
    out->type = type_of(name);
    sx_web_date((int64_t)st.st_mtime, out->modified);
    snprintf(out->etag, sizeof(out->etag), "\"%" PRIx64 "-%" PRIx64 "-%lx\"", (uint64_t)st.st_size,
             (uint64_t)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec);
    return true;
}

static bool is_folder(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The last name on the way is left in `name`. -1: there is no such file. */
static int walk(int root, const char *path, char name[NAME_SIZE])
{
    int fd = root;

    snprintf(name, NAME_SIZE, "%s", ".");
    while (fd >= 0 && *path != 0) {
        size_t n = strcspn(path, "/");
        if (n >= NAME_SIZE) {
            if (fd != root)
                close(fd);
            return -1;
        }
        memcpy(name, path, n);
        name[n] = 0;
        fd = step(root, fd, name); /* fails below a file */
        path += n + (path[n] == '/');
    }
    return fd;
}

static bool open_at(int root, const char *path, struct sx_web_file *out)
{
    char name[NAME_SIZE];
    int fd = walk(root, path, name);

    if (is_folder(fd)) {
        snprintf(name, sizeof(name), "%s", "index.html");
        fd = step(root, fd, name);
    }
    if (fd < 0)
        return false;
    if (describe(fd, name, out))
        return true;
    close(fd);
    return false;
}

bool sx_web_file_open(int root, const char *path, struct sx_web_file *out)
{
    if (open_at(root, path, out))
        return true;
    return strncmp(path, WELL_KNOWN, strlen(WELL_KNOWN)) == 0 && open_at(root, path + 1, out);
}
