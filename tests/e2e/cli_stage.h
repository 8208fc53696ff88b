/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator of the program smp-server: its commands, its files, its output. Where the files are:
 * support/server_dirs.h. What is returned as text is there until the test ends.
 */
#ifndef TESTS_CLI_STAGE_H
#define TESTS_CLI_STAGE_H

#include "support/vec.h"

#include "config.h"
#include "support/blocking_client.h"
#include "support/program.h"
#include "support/server_dirs.h"

extern uint16_t port; /* of the server that init_server made */

/* A command: fails the test unless it ends with this status and `text` is in its output. */
void expect(const char *const *args, const char *input, int status, const char *text);

/* Files of the configuration. */
bool has_file(const char *name);
char *read_text(const char *name);
void write_text(const char *name, const char *text);
/* Replaces the line of this key in smp-server.ini; returns the number of the line. */
unsigned set_line(const char *key, const char *line);
/* smp-server.ini, as start reads it. */
void read_config(struct sx_config *c);

/* With a port of its own, without a password, for smp.example.org. */
void init_server(void);
/* Returns when it listens. */
void start_server(struct program *p);
void stop_server(struct program *p, int signal_no);

/* What stands behind `name` in the output. */
const char *printed(const struct program *p, const char *name);
/* A client at the address that was printed. */
void open_client(const struct program *p, struct smp_peer *c);
/* A client finds port and password in the address that was printed, and is served. */
void assert_served(const struct program *p, const char *password);

#endif
