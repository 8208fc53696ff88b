/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of sd_notify(3) that is needed, in place of a library of systemd: one datagram. Other
 * service managers speak it too.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

static bool tell(const char *name, const char *text)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = strlen(name);

    if (n > sizeof(to.sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(to.sun_path, name, n);
    if (name[0] == '@') /* an abstract address, which begins with 0 */
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0)
        return false;
    ssize_t sent = sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    int why = errno;
    close(fd);
    errno = why;
    return sent >= 0;
}

void sx_cli_ready(void)
{
    const char *name = getenv("NOTIFY_SOCKET");

    if (name != NULL && *name != 0 && !tell(name, "READY=1"))
        sx_cli_fail(0, "the service manager cannot be told that the server runs: NOTIFY_SOCKET: %s",
                    strerror(errno));
}
