/* SPDX-License-Identifier: Apache-2.0 */
/* A running server with a directory of its own, and clients of its text ports. */
#ifndef OPS_STAGE_H
#define OPS_STAGE_H

#include "support/running_server.h"

#define ADMIN_PASSWORD "admin-secret"
#define USER_PASSWORD "user-secret"

struct server {
    simplex_server *s;
    simplex_server_config cfg;
    char dir[64];
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

/* Its directory, and the default configuration, which names nothing in it; to be started. */
void make_server(struct server *t);
void start(struct server *t); /* again, too, after simplex_server_stop */
void restart(struct server *t);
/* Running, with statistics, metrics and a control port; the same with its state kept, too. */
void open_server(struct server *t);
void open_kept_server(struct server *t, bool messages_in_memory);
void close_server(struct server *t);

void open_peer(const struct server *t, struct smp_peer *p);
/* NKEY with a key of its own, q->ntf. */
void make_notifier(struct smp_peer *p, struct queue *q);
const struct sx_rsp *send_text(struct smp_peer *p, const struct queue *q, const char *text);
char *id_text(const uint8_t id[24], char to[40]);

/* ---- text ports ---- */

struct text_client {
    int fd;
    char in[1 << 20];
    size_t have;
};

int connect_to(uint16_t port);
struct text_client *text_open(uint16_t port);
void text_close(struct text_client *c);
void text_send(struct text_client *c, const char *text);
/* Reads on; false: closed, or nothing came within the time. */
bool text_more(struct text_client *c, int timeout_ms);
bool text_closed(struct text_client *c, int timeout_ms);
/* The next line, without its end. Valid until the next call. */
const char *text_line(struct text_client *c);
/* The first line of the answer to a command. */
const char *ask(struct text_client *c, const char *fmt, const char *arg);
void assert_starts(const char *line, const char *with);
struct exchange {
    const char *command;
    const char *answer; /* its first line; before a * at its end, how that begins */
};
void assert_answers(struct text_client *c, const struct exchange *e, size_t n);
/* Lines up to the one that starts so. */
void skip_to(struct text_client *c, const char *with);
/* At the control port; NULL: without a role. */
struct text_client *control(struct server *t, const char *password);
/* One request to the port of the metrics: the whole answer, for the caller to free. */
char *metrics_get(struct server *t, const char *request);

#endif
