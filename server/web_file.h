/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the static site. A name is walked folder by folder below the root, and no link is
 * followed, so nothing outside of it can be reached whatever the name says and whatever is changed
 * meanwhile.
 */
#ifndef SX_WEB_FILE_H
#define SX_WEB_FILE_H

#include "base/base.h"

#define SX_WEB_FILE_SIZE_MAX ((uint64_t)64 << 20)
#define SX_WEB_DATE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */
#define SX_WEB_ETAG 56

struct sx_web_file {
    int fd; /* to be closed */
    uint64_t size;
    const char *type; /* Content-Type */
    char modified[SX_WEB_DATE];
    char etag[SX_WEB_ETAG]; /* with its quotes */
};

/*
 * path: of a sx_web_request. A folder is its index.html. ".well-known/..." is also looked for in
 * the folder "well-known", where the reference keeps it. False: there is none that can be shown.
 */
bool sx_web_file_open(int root, const char *path, struct sx_web_file *out) SIMPLEX_CHECK;
void sx_web_date(int64_t seconds, char out[SX_WEB_DATE]);

#endif
