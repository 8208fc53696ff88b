/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases in memory: a file system for the database library. It knows what was synced, so that
 * the power can fail and not the process alone. In the directory is an empty file for each, since
 * the product looks there which ones exist.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/sim.h"
#include "store/memory.h"

#define FILES 24
#define NAME 320

struct undo { /* what was there before a write that is not synced */
    struct undo *next;
    size_t at, n, size; /* size: of the whole file */
    uint8_t bytes[];
};

static struct file {
    char name[NAME]; /* empty: free */
    uint8_t *bytes;
    size_t len, room;
    struct undo *undos; /* the last one first */
} files[FILES];

static bool frozen;
static uint32_t freeze_in; /* changes; 0: not */

struct handle {
    sqlite3_file base;
    struct file *f;
};

/* ---- files ---- */

static struct file *find(const char *name)
{
    for (size_t i = 0; i < FILES; i++) {
        if (files[i].name[0] != 0 && strcmp(files[i].name, name) == 0)
            return &files[i];
    }
    return NULL;
}

static struct file *make(const char *name)
{
    for (size_t i = 0; i < FILES; i++) {
        if (files[i].name[0] != 0)
            continue;
        (void)snprintf(files[i].name, NAME, "%s", name);
        return &files[i];
    }
    sim_fail("too many files");
}

static void synced(struct file *f)
{
    while (f->undos != NULL) {
        struct undo *u = f->undos;
        f->undos = u->next;
        free(u);
    }
}

static void drop(struct file *f)
{
    synced(f);
    free(f->bytes);
    *f = (struct file){ .name = "" };
}

static void note(struct file *f, size_t at, size_t n)
{
    size_t kept = at >= f->len ? 0 : n < f->len - at ? n : f->len - at;
    struct undo *u = malloc(sizeof *u + kept);

    SIM_CHECK(u != NULL);
    *u = (struct undo){ .next = f->undos, .at = at, .n = kept, .size = f->len };
    if (kept > 0)
        memcpy(u->bytes, f->bytes + at, kept);
    f->undos = u;
}

static void resize(struct file *f, size_t len)
{
    if (len > f->room) {
        f->room = len < 65536 ? 65536 : 2 * len;
        f->bytes = realloc(f->bytes, f->room);
        SIM_CHECK(f->bytes != NULL);
    }
    if (len > f->len)
        memset(f->bytes + f->len, 0, len - f->len);
    f->len = len;
}

/* ---- what the world does with them ---- */

void sim_file_get(const char *name, uint8_t **bytes, size_t *len)
{
    const struct file *f = find(name);

    *bytes = NULL;
    *len = 0;
    if (f == NULL)
        return;
    *len = f->len;
    *bytes = malloc(f->len + 1);
    SIM_CHECK(*bytes != NULL);
    if (f->len > 0)
        memcpy(*bytes, f->bytes, f->len);
}

int __real_unlink(const char *name);
int __wrap_unlink(const char *name);

static void marker(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    SIM_CHECK(fd >= 0 && close(fd) == 0);
}

void sim_file_put(const char *name, const uint8_t *bytes, size_t len)
{
    struct file *f = find(name);

    if (bytes == NULL) {
        if (f != NULL)
            drop(f);
        (void)__real_unlink(name);
        return;
    }
    if (f == NULL)
        f = make(name);
    synced(f);
    f->len = 0;
    resize(f, len);
    if (len > 0)
        memcpy(f->bytes, bytes, len);
    marker(name);
}

void sim_files_freeze(bool on)
{
    frozen = on;
    freeze_in = 0;
}

void sim_files_freeze_in(uint32_t changes)
{
    freeze_in = changes;
}

bool sim_files_frozen(void)
{
    return frozen;
}

/* The process that writes is dead from here on, though its code goes on. */
static bool is_late(void)
{
    if (freeze_in > 0 && --freeze_in == 0)
        frozen = true;
    return frozen;
}

void sim_power_lost(const char *name)
{
    struct file *f = find(name);

    while (f != NULL && f->undos != NULL) {
        struct undo *u = f->undos;
        if (u->n > 0)
            memcpy(f->bytes + u->at, u->bytes, u->n);
        resize(f, u->size);
        f->undos = u->next;
        free(u);
    }
}

void sim_files_drop(void)
{
    for (size_t i = 0; i < FILES; i++) {
        if (files[i].name[0] != 0)
            drop(&files[i]);
    }
}

/* ---- an open file ---- */

static struct file *of(sqlite3_file *h)
{
    return ((struct handle *)(void *)h)->f;
}

static int on_close(sqlite3_file *h)
{
    (void)h;
    return SQLITE_OK;
}

static int on_read(sqlite3_file *h, void *to, int n, sqlite3_int64 at)
{
    const struct file *f = of(h);
    size_t left = (size_t)at < f->len ? f->len - (size_t)at : 0;
    size_t got = left < (size_t)n ? left : (size_t)n;

    if (got > 0)
        memcpy(to, f->bytes + at, got);
    if (got == (size_t)n)
        return SQLITE_OK;
    memset((uint8_t *)to + got, 0, (size_t)n - got);
    return SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *h, const void *from, int n, sqlite3_int64 at)
{
    struct file *f = of(h);

    if (is_late())
        return SQLITE_OK;
    note(f, (size_t)at, (size_t)n);
    if ((size_t)at + (size_t)n > f->len)
        resize(f, (size_t)at + (size_t)n);
    memcpy(f->bytes + at, from, (size_t)n);
    return SQLITE_OK;
}

static int on_truncate(sqlite3_file *h, sqlite3_int64 len)
{
    struct file *f = of(h);

    if (is_late())
        return SQLITE_OK;
    if ((size_t)len < f->len)
        note(f, (size_t)len, f->len - (size_t)len);
    resize(f, (size_t)len);
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *h, int flags)
{
    (void)flags;
    if (!is_late())
        synced(of(h));
    return SQLITE_OK;
}

static int on_size(sqlite3_file *h, sqlite3_int64 *len)
{
    *len = (sqlite3_int64)of(h)->len;
    return SQLITE_OK;
}

/* A device has one agent, and nobody else opens its files. */
static int on_lock(sqlite3_file *h, int level)
{
    (void)h;
    (void)level;
    return SQLITE_OK;
}

static int on_reserved(sqlite3_file *h, int *out)
{
    (void)h;
    *out = 0;
    return SQLITE_OK;
}

static int on_control(sqlite3_file *h, int op, void *arg)
{
    (void)h;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *h)
{
    (void)h;
    return 4096;
}

static int on_device(sqlite3_file *h)
{
    (void)h;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* Version 1, without shared memory: the index of the log is on the heap, as in the product. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_lock,
    .xCheckReservedLock = on_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector,
    .xDeviceCharacteristics = on_device,
};

/* ---- the file system ---- */

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *h, int flags, int *out_flags)
{
    struct handle *x = (struct handle *)(void *)h;
    struct file *f;

    (void)v;
    h->pMethods = NULL;
    SIM_CHECK(name != NULL && strlen(name) < NAME);
    f = find(name);
    if (f != NULL && access(name, F_OK) != 0) {
        drop(f); /* the product removed it */
        f = NULL;
    }
    if (f == NULL && (flags & SQLITE_OPEN_CREATE) == 0 && access(name, F_OK) != 0)
        return SQLITE_CANTOPEN;
    if (f == NULL) {
        f = make(name);
        marker(name);
    }
    x->f = f;
    h->pMethods = &methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    (void)v;
    (void)sync_dir;
    if (!is_late())
        sim_file_put(name, NULL, 0);
    return SQLITE_OK;
}

int __wrap_unlink(const char *name)
{
    struct file *f = find(name);

    if (f == NULL)
        return __real_unlink(name);
    if (is_late())
        return 0;
    drop(f);
    return __real_unlink(name);
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);

/* How a copy gets its name, when all of it must be on disk. */
int __wrap_link(const char *from, const char *to)
{
    const struct file *f = find(from);

    if (f == NULL)
        return __real_link(from, to);
    if (is_late())
        return 0;
    if (f->undos != NULL)
        sim_fail("a copy of a database is published before it is on disk");
    if (__real_link(from, to) != 0)
        return -1;
    sim_file_put(to, f->bytes, f->len);
    return 0;
}

static int on_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    const struct file *f = find(name);

    (void)v;
    *out = f != NULL && access(name, F_OK) == 0 && (flags != SQLITE_ACCESS_EXISTS || f->len > 0);
    return SQLITE_OK;
}

static int on_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
    (void)v;
    (void)snprintf(out, (size_t)n, "%s", name);
    return SQLITE_OK;
}

/* Once in a process, so not what a seed says: salts of logs, which change nothing. */
static int on_random(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    memset(out, 7, (size_t)n);
    return n;
}

static int on_sleep(sqlite3_vfs *v, int us)
{
    (void)v;
    return us;
}

static int on_time(sqlite3_vfs *v, double *days)
{
    (void)v;
    *days = 2460000.5;
    return SQLITE_OK;
}

static int on_error(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    (void)n;
    (void)out;
    return 0;
}

/* Before the database library is used for the first time. */
void sim_files_prepare(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(struct handle),
        .mxPathname = NAME - 1,
        .zName = "sim",
        .xOpen = on_open,
        .xDelete = on_delete,
        .xAccess = on_access,
        .xFullPathname = on_path,
        .xRandomness = on_random,
        .xSleep = on_sleep,
        .xCurrentTime = on_time,
        .xGetLastError = on_error,
    };

    sx_db_memory();
    SIM_CHECK(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    SIM_CHECK(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    SIM_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}
