/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

void sx_errtext_set(struct sx_errtext *e, const char *fmt, ...)
{
    va_list ap;

    if (e->to == NULL || e->size == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(e->to, e->size, fmt, ap);
    va_end(ap);
}

bool sx_path_join(char to[SX_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(to, SX_PATH_MAX, "%s/%s", dir, name);

    return n > 0 && n < SX_PATH_MAX;
}

static simplex_rc too_long(const char *dir, struct sx_errtext *err)
{
    sx_errtext_set(err, "the path %.60s... is too long", dir);
    return SIMPLEX_E_ARG;
}

bool sx_file_exists(const char *dir, const char *name)
{
    char path[SX_PATH_MAX];

    return sx_path_join(path, dir, name) && access(path, F_OK) == 0;
}

bool sx_file_missing(const char *dir, const char *name)
{
    char path[SX_PATH_MAX];

    return sx_path_join(path, dir, name) && access(path, F_OK) != 0 &&
           (errno == ENOENT || errno == ENOTDIR);
}

static bool is_regular(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return false;
    errno = ENOTSUP;
    return S_ISREG(st.st_mode);
}

FILE *sx_file_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    FILE *f = fd >= 0 && is_regular(fd) ? fdopen(fd, "rb") : NULL;

    if (f == NULL && fd >= 0) {
        int e = errno;
        close(fd);
        errno = e;
    }
    return f;
}

const char *sx_file_error(int e)
{
    switch (e) {
    case ENOTSUP:
        return "it is not a file";
    case EACCES:
        return "Permission denied: run smp-server as a user who may, or change owner or mode "
               "(chown, chmod)";
    default:
        return strerror(e);
    }
}

const char *sx_file_rc_text(simplex_rc rc)
{
    switch (rc) {
    case SIMPLEX_E_DB_SCHEMA:
        return "it was written by a newer smp-server; update this one";
    case SIMPLEX_E_DB_DAMAGED:
        return "a file is damaged; restore a backup";
    case SIMPLEX_E_DB_LOCKED:
        return "it is in use by a running server";
    case SIMPLEX_E_DB_IO:
        return "a file cannot be opened, read or written";
    default:
        return simplex_rc_text(rc);
    }
}

simplex_rc sx_file_read(const char *dir, const char *name, struct sx_wr *w, struct sx_errtext *err)
{
    char path[SX_PATH_MAX];
    uint8_t buf[4096];
    size_t n;

    if (!sx_path_join(path, dir, name))
        return too_long(dir, err);
    FILE *f = sx_file_open(path);
    if (f == NULL) {
        sx_errtext_set(err, "cannot read %s: %s", path, sx_file_error(errno));
        return SIMPLEX_E_SYSTEM;
    }
    (void)setvbuf(f, NULL, _IONBF, 0); /* keys: no copy that nobody wipes */
    while (!w->bad && (n = fread(buf, 1, sizeof(buf), f)) > 0)
        sx_wr_raw(w, sx_bytes(buf, n));
    bool failed = ferror(f) != 0;
    fclose(f);
    sx_wipe(buf, sizeof(buf));
    if (failed || w->bad) {
        sx_errtext_set(err, "cannot read %s, or it is too large", path);
        return SIMPLEX_E_SYSTEM;
    }
    return SIMPLEX_OK;
}

static bool write_all(int fd, simplex_bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b.ptr += n;
        b.len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* So that the new name is on disk as well. */
static bool sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

/* What root writes belongs to the user who has the directory: the server runs as that one. */
static bool give_to_owner(int fd, const char *dir)
{
    struct stat st;

    if (geteuid() != 0)
        return true;
    return stat(dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0;
}

/* Returns false with errno set; the file is closed either way. */
static bool write_new(const char *dir, const char *path, simplex_bytes b, mode_t mode)
{
    /* A new file always: root must not write through a link that the owner of the directory made,
     * let alone give what it leads to away. */
    if (unlink(path) != 0 && errno != ENOENT)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

    if (fd < 0)
        return false;
    /* Mode and owner before there is anything to read. */
    bool ok = fchmod(fd, mode) == 0 && give_to_owner(fd, dir) && write_all(fd, b);
    int e = errno;
    if (close(fd) != 0 && ok)
        return false;
    errno = e;
    return ok;
}

simplex_rc sx_file_write(const char *dir, const char *name, simplex_bytes b, mode_t mode,
                         struct sx_errtext *err)
{
    char path[SX_PATH_MAX], tmp[SX_PATH_MAX];
    int n = snprintf(tmp, sizeof(tmp), "%s/%s.tmp", dir, name);

    if (n < 0 || n >= SX_PATH_MAX || !sx_path_join(path, dir, name))
        return too_long(dir, err);
    if (write_new(dir, tmp, b, mode) && rename(tmp, path) == 0 && sync_dir(dir))
        return SIMPLEX_OK;
    sx_errtext_set(err, "cannot write %s: %s", path, sx_file_error(errno));
    unlink(tmp);
    return SIMPLEX_E_SYSTEM;
}

simplex_rc sx_file_rename(const char *dir, const char *from, const char *to, struct sx_errtext *err)
{
    char a[SX_PATH_MAX], b[SX_PATH_MAX];

    if (!sx_path_join(a, dir, from) || !sx_path_join(b, dir, to))
        return too_long(dir, err);
    if (rename(a, b) == 0 && sync_dir(dir))
        return SIMPLEX_OK;
    sx_errtext_set(err, "cannot rename %s to %s: %s", a, to, sx_file_error(errno));
    return SIMPLEX_E_SYSTEM;
}

bool sx_dir_sync_parent(const char *dir)
{
    char above[SX_PATH_MAX];

    errno = ENAMETOOLONG;
    int fd = sx_path_join(above, dir, "..") ? open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int e = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = e;
    return ok;
}

/* Unless it is there. Returns false with errno set. */
static bool make_one(const char *dir, mode_t mode)
{
    return mkdir(dir, mode) == 0 ? sx_dir_sync_parent(dir) : errno == EEXIST;
}

simplex_rc sx_dir_make(const char *dir, mode_t mode, struct sx_errtext *err)
{
    char path[SX_PATH_MAX];
    size_t len = strlen(dir);

    if (len == 0 || len >= sizeof(path))
        return too_long(dir, err);
    for (size_t i = 1; i <= len; i++) {
        if (dir[i] != '/' && dir[i] != 0)
            continue;
        memcpy(path, dir, i);
        path[i] = 0;
        /* Directories above are for others to look through, this one is not. */
        if (!make_one(path, i == len ? mode : 0755)) {
            sx_errtext_set(err, "cannot create the directory %s: %s", dir, sx_file_error(errno));
            return SIMPLEX_E_SYSTEM;
        }
    }
    return SIMPLEX_OK;
}
