/* SPDX-License-Identifier: Apache-2.0 */
/* The floors the benchmarks compare with: what the protocol makes everybody compute. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

struct floor {
    double message_us; /* all cryptography of one message: sender, server and recipient */
    double step_us;    /* of a ratchet step, which the first message of each turn adds to it */
    double connect_ms; /* of establishing a connection, both agents and the server */
};

struct floor measure_floor(void);

/* One fdatasync of 24 KiB written to a file in dir, as a commit of a message does. */
double measure_sync_us(const char *dir);

#endif
