/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct sx_cmd is as large as its largest command, but thousands of SUBs may wait at once: only
 * the part that a tag uses is kept, followed by the bytes its slices point to.
 */
#include "client/cmd_copy.h"

#define SLICES_MAX 5

struct sx_cmd_copy {
    size_t size; /* of the whole allocation */
    size_t part; /* bytes of struct sx_cmd kept */
    bool has_key;
    struct sx_keypair key;
    uint8_t data[]; /* part, then the slices in the order of the table */
};

struct layout {
    size_t part;
    uint8_t n;
    size_t slice[SLICES_MAX]; /* offsets of simplex_bytes in struct sx_cmd */
};

#define AT(field) offsetof(struct sx_cmd, field)
#define PART(member) (AT(member) + sizeof(((struct sx_cmd *)0)->member))
#define TAG_ONLY                    \
    {                               \
        sizeof(enum sx_cmd_tag), 0, \
        {                           \
            0                       \
        }                           \
    }

static const struct layout layouts[SX_CMD_TAGS] = {
    [SX_NEW] = { PART(new_),
                 5,
                 { AT(new_.password), AT(new_.link_id), AT(new_.snd_id), AT(new_.fixed),
                   AT(new_.user) } },
    [SX_SUB] = TAG_ONLY,
    [SX_SUBS] = { PART(subs), 0, { 0 } },
    [SX_KEY] = { PART(key), 0, { 0 } },
    [SX_RKEY] = { PART(rkey), 1, { AT(rkey.keys) } },
    [SX_LSET] = { PART(lset), 3, { AT(lset.link_id), AT(lset.fixed), AT(lset.user) } },
    [SX_LDEL] = TAG_ONLY,
    [SX_NKEY] = { PART(nkey), 0, { 0 } },
    [SX_NDEL] = TAG_ONLY,
    [SX_GET] = TAG_ONLY,
    [SX_ACK] = { PART(ack), 1, { AT(ack.msg_id) } },
    [SX_OFF] = TAG_ONLY,
    [SX_DEL] = TAG_ONLY,
    [SX_QUE] = TAG_ONLY,
    [SX_SKEY] = { PART(key), 0, { 0 } },
    [SX_SEND] = { PART(send), 1, { AT(send.body) } },
    [SX_PING] = TAG_ONLY,
    [SX_LKEY] = { PART(key), 0, { 0 } },
    [SX_LGET] = TAG_ONLY,
    [SX_NSUB] = TAG_ONLY,
    [SX_NSUBS] = { PART(subs), 0, { 0 } },
    [SX_PRXY] = { PART(prxy), 1, { AT(prxy.password) } },
    [SX_PFWD] = { PART(pfwd), 1, { AT(pfwd.body) } },
    [SX_RFWD] = { PART(rfwd), 1, { AT(rfwd.body) } },
    [SX_RSLV] = { PART(rslv), 1, { AT(rslv.name) } },
};

static simplex_bytes slice_at(const struct sx_cmd *cmd, size_t offset)
{
    simplex_bytes s;

    memcpy(&s, (const uint8_t *)cmd + offset, sizeof(s));
    return s;
}

static size_t slices_len(const struct sx_cmd *cmd)
{
    const struct layout *l = &layouts[cmd->tag];
    size_t sum = 0;

    for (size_t i = 0; i < l->n && sum <= SX_BLOCK; i++) {
        size_t n = slice_at(cmd, l->slice[i]).len;
        sum = n > SX_BLOCK ? n : sum + n;
    }
    return sum;
}

bool sx_cmd_fits(const struct sx_cmd *cmd)
{
    return slices_len(cmd) <= SX_BLOCK;
}

simplex_rc sx_cmd_copy_new(const struct sx_cmd *cmd, const struct sx_keypair *key,
                           struct sx_cmd_copy **out)
{
    const struct layout *l = &layouts[cmd->tag];
    size_t size = sizeof(struct sx_cmd_copy) + l->part + slices_len(cmd);

    *out = NULL;
    struct sx_cmd_copy *c = sx_calloc(1, size);
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    c->size = size;
    c->part = l->part;
    c->has_key = key != NULL;
    if (key != NULL)
        c->key = *key;
    memcpy(c->data, cmd, l->part);
    uint8_t *to = c->data + l->part;
    for (size_t i = 0; i < l->n; i++) {
        simplex_bytes s = slice_at(cmd, l->slice[i]);
        if (s.len > 0)
            memcpy(to, s.ptr, s.len);
        to += s.len;
    }
    *out = c;
    return SIMPLEX_OK;
}

void sx_cmd_copy_free(struct sx_cmd_copy *c)
{
    if (c != NULL)
        sx_free_secret(c, c->size);
}

void sx_cmd_copy_get(const struct sx_cmd_copy *c, struct sx_cmd *cmd, const struct sx_keypair **key)
{
    memset(cmd, 0, sizeof(*cmd));
    memcpy(cmd, c->data, c->part);
    const struct layout *l = &layouts[cmd->tag];
    const uint8_t *from = c->data + c->part;
    for (size_t i = 0; i < l->n; i++) {
        simplex_bytes s = slice_at(cmd, l->slice[i]);
        s.ptr = from;
        memcpy((uint8_t *)cmd + l->slice[i], &s, sizeof(s));
        from += s.len;
    }
    *key = c->has_key ? &c->key : NULL;
}

size_t sx_cmd_copy_size(const struct sx_cmd_copy *c)
{
    return c->size;
}
