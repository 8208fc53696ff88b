/* SPDX-License-Identifier: Apache-2.0 */
#include "support/wire_log.h"

#include <pthread.h>
#include <stdlib.h>

#include "client/session.h"

simplex_rc __real_sx_session_input(struct sx_session *s, uint8_t block[SX_BLOCK],
                                   uint8_t reply[SX_BLOCK], bool *has_reply,
                                   simplex_bytes *content);
simplex_rc __wrap_sx_session_input(struct sx_session *s, uint8_t block[SX_BLOCK],
                                   uint8_t reply[SX_BLOCK], bool *has_reply,
                                   simplex_bytes *content);
simplex_rc __real_sx_session_seal(struct sx_session *s, simplex_bytes content,
                                  uint8_t block[SX_BLOCK]);
simplex_rc __wrap_sx_session_seal(struct sx_session *s, simplex_bytes content,
                                  uint8_t block[SX_BLOCK]);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wire_item *items;
static size_t n_items, cap_items;
static unsigned blocks;

static struct wire_item *new_item(void)
{
    if (n_items == cap_items) {
        cap_items = cap_items == 0 ? 1024 : cap_items * 2;
        items = realloc(items, cap_items * sizeof *items);
        if (items == NULL)
            abort();
    }
    return &items[n_items++];
}

static void read_command(struct wire_item *x, simplex_bytes text, uint16_t version)
{
    struct sx_smp_err err;
    struct sx_cmd cmd;

    x->name = "?";
    if (sx_cmd_decode(text, version, &cmd, &err) != SIMPLEX_OK)
        return;
    x->name = sx_cmd_name(cmd.tag);
    if (cmd.tag == SX_SEND)
        x->body = (uint16_t)cmd.send.body.len;
    else if (cmd.tag == SX_PFWD)
        x->body = (uint16_t)cmd.pfwd.body.len;
    else if (cmd.tag == SX_RFWD)
        x->body = (uint16_t)cmd.rfwd.body.len;
}

static void read_response(struct wire_item *x, simplex_bytes text, uint16_t version)
{
    struct sx_rsp rsp;

    x->name = "?";
    if (sx_rsp_decode(text, version, &rsp) != SIMPLEX_OK)
        return;
    x->name = sx_rsp_name(rsp.tag);
    if (rsp.tag == SX_R_MSG)
        x->body = (uint16_t)rsp.msg.body.len;
    else if (rsp.tag == SX_R_PRES || rsp.tag == SX_R_RRES)
        x->body = (uint16_t)rsp.enc.body.len;
}

static void record(const struct sx_session *s, simplex_bytes content, bool out)
{
    struct sx_batch_rd b;
    struct sx_transmission t;
    simplex_bytes one;

    if (sx_batch_open(content, &b) != SIMPLEX_OK)
        return;
    (void)pthread_mutex_lock(&lock);
    blocks++;
    while (sx_batch_next(&b, &one)) {
        if (sx_transmission_decode(one, s->version, &t) != SIMPLEX_OK)
            continue;
        struct wire_item *x = new_item();
        *x = (struct wire_item){ .us = sx_mono_us(),
                                 .session = s,
                                 .block = blocks,
                                 .out = out,
                                 .event = t.corr_id.len == 0,
                                 .len = (uint16_t)one.len };
        x->entity_len = (uint8_t)(t.entity_id.len < 24 ? t.entity_id.len : 24);
        if (x->entity_len > 0)
            memcpy(x->entity, t.entity_id.ptr, x->entity_len);
        if (out)
            read_response(x, t.command, s->version);
        else
            read_command(x, t.command, s->version);
    }
    (void)pthread_mutex_unlock(&lock);
}

simplex_rc __wrap_sx_session_input(struct sx_session *s, uint8_t block[SX_BLOCK],
                                   uint8_t reply[SX_BLOCK], bool *has_reply, simplex_bytes *content)
{
    bool ready = s->state == SX_S_READY;
    simplex_rc rc = __real_sx_session_input(s, block, reply, has_reply, content);

    if (rc == SIMPLEX_OK && s->is_server && ready)
        record(s, *content, false);
    return rc;
}

simplex_rc __wrap_sx_session_seal(struct sx_session *s, simplex_bytes content,
                                  uint8_t block[SX_BLOCK])
{
    if (s->is_server && s->state == SX_S_READY)
        record(s, content, true);
    return __real_sx_session_seal(s, content, block);
}

void wire_log_start(void)
{
    (void)pthread_mutex_lock(&lock);
    n_items = 0;
    (void)pthread_mutex_unlock(&lock);
}

size_t wire_log(struct wire_item *to, size_t max)
{
    size_t n;

    (void)pthread_mutex_lock(&lock);
    n = n_items;
    if (n > 0 && max > 0)
        memcpy(to, items, (n < max ? n : max) * sizeof *to);
    (void)pthread_mutex_unlock(&lock);
    return n;
}
