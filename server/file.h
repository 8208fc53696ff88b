/* SPDX-License-Identifier: Apache-2.0 */
/* Small files read and written as a whole, and the one sentence that tells what failed. */
#ifndef SX_FILE_H
#define SX_FILE_H

#include <stdio.h>
#include <sys/types.h>

#include "base/base.h"

#define SX_PATH_MAX 4096

struct sx_errtext { /* one sentence for whoever starts the server */
    char *to;
    size_t size;
};
void sx_errtext_set(struct sx_errtext *e, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

bool sx_path_join(char to[SX_PATH_MAX], const char *dir, const char *name) SIMPLEX_CHECK;
bool sx_file_exists(const char *dir, const char *name);
/* It is known not to be there; false also when the directory cannot be looked into. */
bool sx_file_missing(const char *dir, const char *name);
/*
 * Opens a file to read it. What is none (a FIFO, a device, a directory) is refused with ENOTSUP,
 * without waiting for whoever is at its other end. NULL: errno, of which sx_file_error tells.
 */
FILE *sx_file_open(const char *path) SIMPLEX_CHECK;
const char *sx_file_error(int e); /* and what to do, where that is not plain */
/* simplex_rc_text for the files of a server, of which none is a database. */
const char *sx_file_rc_text(simplex_rc rc);
/* Appends the file to w, which limits its size. */
simplex_rc sx_file_read(const char *dir, const char *name, struct sx_wr *w,
                        struct sx_errtext *err) SIMPLEX_CHECK;
/*
 * Writes the file under a temporary name and renames it when it is on disk: whoever reads it sees
 * all of it, or what was there before, after a loss of power as well. Written by root, it belongs
 * to the owner of the directory.
 */
simplex_rc sx_file_write(const char *dir, const char *name, simplex_bytes b, mode_t mode,
                         struct sx_errtext *err) SIMPLEX_CHECK;
simplex_rc sx_file_rename(const char *dir, const char *from, const char *to,
                          struct sx_errtext *err) SIMPLEX_CHECK;
/*
 * Of a directory that was just made: the entry in the one above it is on disk. False: errno. A file
 * system that cannot sync directories has it there when it has it.
 */
bool sx_dir_sync_parent(const char *dir) SIMPLEX_CHECK;
/* Makes the directory, and those above it, unless it is there; durable when it returns. */
simplex_rc sx_dir_make(const char *dir, mode_t mode, struct sx_errtext *err) SIMPLEX_CHECK;

#endif
