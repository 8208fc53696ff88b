/* SPDX-License-Identifier: Apache-2.0 */
#include "support/free_port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "support/vec.h"

/* Below those that systems hand out for outgoing connections and for port 0: between two lives of a
 * server nobody can get its port by chance. */
enum { FIRST = 10000, LAST = 32000 };

/* A socket bound to this port of loopback, or -1. */
static int bound(int type, uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, type, 0);

    assert_true(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Its UDP port is what says to other processes that it is taken. */
uint16_t free_port(void)
{
    for (int i = 0; i < 1000; i++) {
        uint16_t port = (uint16_t)(FIRST + sx_random_below(LAST - FIRST));
        int taken = bound(SOCK_DGRAM, port);
        int fd = taken >= 0 ? bound(SOCK_STREAM, port) : -1;
        if (fd >= 0) {
            close(fd);
            (void)fcntl(taken, F_SETFD, FD_CLOEXEC);
            return port;
        }
        if (taken >= 0)
            close(taken);
    }
    fail_msg("no free port");
    return 0;
}
