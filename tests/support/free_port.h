/* SPDX-License-Identifier: Apache-2.0 */
/* Ports for servers of tests that must know theirs beforehand, or come back to it. */
#ifndef TESTS_FREE_PORT_H
#define TESTS_FREE_PORT_H

#include <stdint.h>

/* A TCP port of loopback that nobody listens at, and that no other test gets as long as this
 * process lives. */
uint16_t free_port(void);

#endif
