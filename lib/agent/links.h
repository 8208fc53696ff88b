/* SPDX-License-Identifier: Apache-2.0 */
/* Short links (agent.md section 5.3). */
#ifndef SX_AGENT_LINKS_H
#define SX_AGENT_LINKS_H

#include "agent/agent.h"
#include "wire/short_link.h"

/* ---- link.c, link_make.c: our own ---- */

/* told: the link is known before the network is asked, by sx_publish. */
simplex_rc sx_create_short(struct simplex_agent *a, int64_t user, uint8_t type, int32_t pq,
                           const simplex_link_data *d, bool told, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_publish(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
simplex_rc sx_set_link_data(struct simplex_agent *a, int64_t conn,
                            const simplex_link_data *d) SIMPLEX_CHECK;
simplex_rc sx_delete_link_data(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* An invitation or address whose link may be shown: E_NOT_FOUND, E_PROHIBITED. Wipe q. */
simplex_rc sx_link_queue(struct simplex_agent *a, int64_t conn, struct sx_conn *c,
                         struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_short_text(struct simplex_agent *a, int64_t conn, struct sx_wr *w) SIMPLEX_CHECK;
/* Rows: the signed user part, and all that follows from it and the queue. */
simplex_rc sx_link_user(const struct sx_link_row *l, const simplex_link_data *d,
                        struct sx_wr *user_signed) SIMPLEX_CHECK;
simplex_rc sx_link_make(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                        struct sx_link_row *l, simplex_bytes user_signed) SIMPLEX_CHECK;
simplex_rc sx_link_update(struct simplex_agent *a, struct sx_link_row *l,
                          simplex_bytes user_signed) SIMPLEX_CHECK; /* other user data */
simplex_rc sx_link_open_user(const struct sx_link_row *l, struct sx_wr *user_signed) SIMPLEX_CHECK;
/* For NEW of q, when it has link data: slices of cmd live until the next call on the store. */
simplex_rc sx_link_new(struct simplex_agent *a, const struct sx_rcv_queue *q,
                       struct sx_link_row *l, struct sx_cmd *cmd) SIMPLEX_CHECK;
/* NEW may have been executed, or moves to another server: ids and link are made anew. */
simplex_rc sx_link_renew(struct simplex_agent *a, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_link_told(struct simplex_agent *a, int64_t queue, bool *yes) SIMPLEX_CHECK;
/* IDS, when the queue has been stored. *on: the connection goes on. */
simplex_rc sx_link_made(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        const struct sx_rsp *rsp, bool *on) SIMPLEX_CHECK;
simplex_rc sx_link_show(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q) SIMPLEX_CHECK; /* LINK, if it has one */
simplex_rc sx_link_set(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK; /* LSET was answered */
simplex_rc sx_link_deleted(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK; /* LDEL was answered */
simplex_rc sx_link_refused(struct simplex_agent *a, const struct sx_command *cmd) SIMPLEX_CHECK;
/* Somebody joined through it: the server drops the data. */
simplex_rc sx_link_used(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK;

/* ---- look.c: those of others ---- */

struct sx_wish { /* what happens when the data was read */
    bool join;
    int32_t pq;
    simplex_bytes info;
};
simplex_rc sx_look(struct simplex_agent *a, int64_t user, simplex_bytes link,
                   const struct sx_wish *wish, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_look_send(struct simplex_agent *a, int64_t conn, struct sx_look *l,
                        struct sx_short_link *s, struct sx_cmd *cmd,
                        struct sx_request *req) SIMPLEX_CHECK;
simplex_rc sx_look_answered(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_command *cmd, const struct sx_rsp *rsp) SIMPLEX_CHECK;

/* What LDATA carries, in the data of the event. */
struct sx_ldata { /* borrowed */
    uint8_t type;
    bool direct;
    simplex_bytes root; /* raw Ed25519 key */
    simplex_bytes link, entity, data;
    struct sx_list owners, relays;
};
void sx_ldata_encode(struct sx_wr *w, const struct sx_ldata *d);
simplex_rc sx_ldata_decode(simplex_bytes in, struct sx_ldata *d) SIMPLEX_CHECK;

#endif
