/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMP commands (protocol/smp.md section 6.1). One row per tag: its parameters in both directions,
 * the first version that has them, and the credentials it needs. Tags are known at every version.
 */
#include "wire/smp_parts.h"

#define V_NEW_MAYBE 9   /* NEW: ?password, Bool for the mode */
#define V_QUEUE_DATA 15 /* NEW: ?reqData */
#define V_NTF_KEYS 17   /* NEW: ?(ntfAuth ntfDh) */
#define V_COUNT_HASH 19 /* SUBS, NSUBS */
#define NAME_MAX_LEN 253
#define LABEL_MAX_LEN 63

/* ---- parts that more than one command has ---- */

void sx_rd_auth_key(struct sx_rd *r, struct sx_pub *out)
{
    sx_rd_key(r, out);
    if (r->bad || out->alg == SX_X448) {
        *out = (struct sx_pub){ 0 };
        r->bad = true;
    }
}

void sx_wr_password(struct sx_wr *w, bool some, simplex_bytes password)
{
    sx_wr_maybe(w, some);
    if (!some)
        return;
    if (!sx_password_valid(password))
        w->bad = true;
    sx_wr_short(w, password);
}

static simplex_bytes password(struct sx_rd *r)
{
    simplex_bytes p = sx_rd_short(r);

    if (!sx_password_valid(p))
        r->bad = true;
    return p;
}

void sx_rd_password(struct sx_rd *r, bool *some, simplex_bytes *out)
{
    *some = sx_rd_maybe(r);
    if (*some)
        *out = password(r);
}

void sx_wr_flags(struct sx_wr *w, bool notify)
{
    sx_wr_bool(w, notify);
    sx_wr_u8(w, ' ');
}

bool sx_rd_flags(struct sx_rd *r)
{
    bool notify = sx_rd_bool(r);

    while (!r->bad && sx_rd_u8(r) != ' ')
        ; /* flags that we do not know */
    return notify;
}

/* ---- NEW ---- */

static void put_link_data(struct sx_wr *w, const struct sx_cmd *c)
{
    sx_wr_maybe(w, c->new_.has_link);
    if (!c->new_.has_link)
        return;
    if (c->new_.mode == SX_MODE_CONTACT)
        sx_wr_short(w, c->new_.link_id);
    sx_wr_short(w, c->new_.snd_id);
    sx_wr_large(w, c->new_.fixed);
    sx_wr_large(w, c->new_.user);
}

static void get_link_data(struct sx_rd *r, struct sx_cmd *c)
{
    c->new_.has_link = sx_rd_maybe(r);
    if (!c->new_.has_link)
        return;
    if (c->new_.mode == SX_MODE_CONTACT)
        c->new_.link_id = sx_rd_short(r);
    c->new_.snd_id = sx_rd_short(r);
    c->new_.fixed = sx_rd_large(r);
    c->new_.user = sx_rd_large(r);
}

static void put_queue_data(struct sx_wr *w, const struct sx_cmd *c)
{
    uint8_t mode = c->new_.mode;

    sx_wr_maybe(w, mode != SX_MODE_NONE);
    if (mode == SX_MODE_NONE)
        return;
    if (mode != SX_MODE_MESSAGING && mode != SX_MODE_CONTACT)
        w->bad = true;
    sx_wr_u8(w, mode);
    put_link_data(w, c);
}

static void get_queue_data(struct sx_rd *r, struct sx_cmd *c)
{
    if (!sx_rd_maybe(r))
        return;
    c->new_.mode = sx_rd_u8(r);
    if (c->new_.mode != SX_MODE_MESSAGING && c->new_.mode != SX_MODE_CONTACT)
        r->bad = true;
    get_link_data(r, c);
}

static void put_ntf_keys(struct sx_wr *w, const struct sx_cmd *c)
{
    sx_wr_maybe(w, c->new_.has_ntf);
    if (c->new_.has_ntf) {
        sx_wr_key(w, &c->new_.ntf_auth);
        sx_wr_key(w, &c->new_.ntf_dh);
    }
}

static void get_ntf_keys(struct sx_rd *r, struct sx_cmd *c)
{
    c->new_.has_ntf = sx_rd_maybe(r);
    if (c->new_.has_ntf) {
        sx_rd_auth_key(r, &c->new_.ntf_auth);
        sx_rd_key_of(r, SX_X25519, &c->new_.ntf_dh);
    }
}

/* v6-8: [`A` S(password)], and nothing says of which mode the queue is. */
static void put_old_password(struct sx_wr *w, const struct sx_cmd *c)
{
    if (!c->new_.has_password)
        return;
    if (!sx_password_valid(c->new_.password))
        w->bad = true;
    sx_wr_u8(w, 'A');
    sx_wr_short(w, c->new_.password);
}

static void get_old_password(struct sx_rd *r, struct sx_cmd *c)
{
    c->new_.has_password = sx_rd_lit(r, "A");
    if (c->new_.has_password)
        c->new_.password = password(r);
}

static void put_new(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    sx_wr_key(w, &c->new_.auth);
    sx_wr_key(w, &c->new_.dh);
    if (v < V_NEW_MAYBE)
        put_old_password(w, c);
    else
        sx_wr_password(w, c->new_.has_password, c->new_.password);
    sx_wr_u8(w, c->new_.subscribe ? 'S' : 'C');
    if (v >= V_QUEUE_DATA)
        put_queue_data(w, c);
    else if (v >= V_NEW_MAYBE)
        sx_wr_bool(w, c->new_.mode == SX_MODE_MESSAGING);
    if (v >= V_NTF_KEYS)
        put_ntf_keys(w, c);
}

static void get_new(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    sx_rd_auth_key(r, &c->new_.auth);
    sx_rd_key_of(r, SX_X25519, &c->new_.dh);
    if (v < V_NEW_MAYBE)
        get_old_password(r, c);
    else
        sx_rd_password(r, &c->new_.has_password, &c->new_.password);
    uint8_t subscribe = sx_rd_u8(r);
    c->new_.subscribe = subscribe == 'S';
    if (subscribe != 'S' && subscribe != 'C')
        r->bad = true;
    if (v >= V_QUEUE_DATA)
        get_queue_data(r, c);
    else if (v >= V_NEW_MAYBE)
        c->new_.mode = sx_rd_bool(r) ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
    if (v >= V_NTF_KEYS)
        get_ntf_keys(r, c);
}

/* ---- the others, in the order of the table ---- */

static void put_subs(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    if (!c->subs.has_hash)
        w->bad = true;
    sx_wr_i64(w, c->subs.count);
    sx_wr_short(w, sx_bytes(c->subs.hash, sizeof c->subs.hash));
}

static void get_subs(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->subs.has_hash = true;
    c->subs.count = sx_rd_i64(r);
    if (sx_rd_u8(r) != sizeof c->subs.hash)
        r->bad = true;
    sx_rd_copy(r, c->subs.hash, sizeof c->subs.hash);
}

static void put_key(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_key(w, &c->key.key);
}

static void get_key(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_rd_auth_key(r, &c->key.key);
}

static void put_rkey(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    if (c->rkey.count == 0)
        w->bad = true;
    sx_wr_u8(w, c->rkey.count);
    sx_wr_raw(w, c->rkey.keys);
}

void sx_rkey_next(struct sx_rd *keys, struct sx_pub *out)
{
    sx_rd_auth_key(keys, out);
}

static void get_rkey(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    struct sx_pub key;

    (void)v;
    c->rkey.count = sx_rd_u8(r);
    if (c->rkey.count == 0)
        r->bad = true;
    struct sx_rd keys = *r;
    for (unsigned i = 0; i < c->rkey.count && !r->bad; i++)
        sx_rkey_next(r, &key);
    c->rkey.keys = sx_rd_take(&keys, keys.left - r->left);
}

static void put_lset(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_short(w, c->lset.link_id);
    sx_wr_large(w, c->lset.fixed);
    sx_wr_large(w, c->lset.user);
}

static void get_lset(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->lset.link_id = sx_rd_short(r);
    c->lset.fixed = sx_rd_large(r);
    c->lset.user = sx_rd_large(r);
}

static void put_nkey(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_key(w, &c->nkey.auth);
    sx_wr_key(w, &c->nkey.dh);
}

static void get_nkey(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_rd_auth_key(r, &c->nkey.auth);
    sx_rd_key_of(r, SX_X25519, &c->nkey.dh);
}

static void put_ack(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_short(w, c->ack.msg_id);
}

static void get_ack(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->ack.msg_id = sx_rd_short(r);
}

static void put_send(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_flags(w, c->send.notify);
    sx_wr_raw(w, c->send.body);
}

static void get_send(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->send.notify = sx_rd_flags(r);
    c->send.body = sx_rd_rest(r);
}

static void put_prxy(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_server_encode(w, &c->prxy.server);
    sx_wr_password(w, c->prxy.has_password, c->prxy.password);
}

static void get_prxy(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_server_decode(r, &c->prxy.server);
    sx_rd_password(r, &c->prxy.has_password, &c->prxy.password);
}

static void put_pfwd(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_u16(w, c->pfwd.version);
    sx_wr_key(w, &c->pfwd.key);
    sx_wr_raw(w, c->pfwd.body);
}

static void get_pfwd(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->pfwd.version = sx_rd_u16(r);
    sx_rd_key_of(r, SX_X25519, &c->pfwd.key);
    c->pfwd.body = sx_rd_rest(r);
}

static void put_rfwd(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    sx_wr_raw(w, c->rfwd.body);
}

static void get_rfwd(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    (void)v;
    c->rfwd.body = sx_rd_rest(r);
}

/* At least two labels of printable ASCII. */
static bool is_rslv_name(simplex_bytes name)
{
    size_t label = 0;
    unsigned dots = 0;

    for (size_t i = 0; i < name.len; i++) {
        uint8_t b = name.ptr[i];

        if (b <= ' ' || b >= 0x7f)
            return false;
        if (b != '.') {
            if (++label > LABEL_MAX_LEN)
                return false;
        } else if (label == 0) {
            return false;
        } else {
            label = 0;
            dots++;
        }
    }
    return name.len <= NAME_MAX_LEN && dots > 0 && label > 0;
}

static void put_rslv(struct sx_wr *w, const struct sx_cmd *c, uint16_t v)
{
    (void)v;
    if (!is_rslv_name(c->rslv.name))
        w->bad = true;
    sx_wr_raw(w, c->rslv.name);
}

static bool is_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

static void get_rslv(struct sx_rd *r, struct sx_cmd *c, uint16_t v)
{
    size_t n = 0;

    (void)v;
    while (n < r->left && !is_space(r->p[n]))
        n++;
    c->rslv.name = sx_rd_take(r, n);
    if (!is_rslv_name(c->rslv.name))
        r->bad = true;
    (void)sx_rd_rest(r); /* later versions may say more */
}

/* ---- the table ---- */

enum creds {
    QUEUE,     /* authorisation and entity */
    NEW_QUEUE, /* authorisation, no entity */
    SENDER,    /* entity; the queue's state decides about authorisation */
    ANONYMOUS, /* entity, no authorisation */
    SESSION,   /* neither */
};

#define NEVER UINT16_MAX
#define ALWAYS 0

static const struct row {
    const char *name;
    enum creds creds;
    uint16_t params_since; /* below this version the tag stands alone */
    void (*put)(struct sx_wr *w, const struct sx_cmd *c, uint16_t version);
    void (*get)(struct sx_rd *r, struct sx_cmd *c, uint16_t version);
} rows[SX_CMD_TAGS] = {
    [SX_NEW] = { "NEW", NEW_QUEUE, ALWAYS, put_new, get_new },
    [SX_SUB] = { "SUB", QUEUE, NEVER, NULL, NULL },
    [SX_SUBS] = { "SUBS", QUEUE, V_COUNT_HASH, put_subs, get_subs },
    [SX_KEY] = { "KEY", QUEUE, ALWAYS, put_key, get_key },
    [SX_RKEY] = { "RKEY", QUEUE, ALWAYS, put_rkey, get_rkey },
    [SX_LSET] = { "LSET", QUEUE, ALWAYS, put_lset, get_lset },
    [SX_LDEL] = { "LDEL", QUEUE, NEVER, NULL, NULL },
    [SX_NKEY] = { "NKEY", QUEUE, ALWAYS, put_nkey, get_nkey },
    [SX_NDEL] = { "NDEL", QUEUE, NEVER, NULL, NULL },
    [SX_GET] = { "GET", QUEUE, NEVER, NULL, NULL },
    [SX_ACK] = { "ACK", QUEUE, ALWAYS, put_ack, get_ack },
    [SX_OFF] = { "OFF", QUEUE, NEVER, NULL, NULL },
    [SX_DEL] = { "DEL", QUEUE, NEVER, NULL, NULL },
    [SX_QUE] = { "QUE", QUEUE, NEVER, NULL, NULL },
    [SX_SKEY] = { "SKEY", QUEUE, ALWAYS, put_key, get_key },
    [SX_SEND] = { "SEND", SENDER, ALWAYS, put_send, get_send },
    [SX_PING] = { "PING", SESSION, NEVER, NULL, NULL },
    [SX_LKEY] = { "LKEY", QUEUE, ALWAYS, put_key, get_key },
    [SX_LGET] = { "LGET", ANONYMOUS, NEVER, NULL, NULL },
    [SX_NSUB] = { "NSUB", QUEUE, NEVER, NULL, NULL },
    [SX_NSUBS] = { "NSUBS", QUEUE, V_COUNT_HASH, put_subs, get_subs },
    [SX_PRXY] = { "PRXY", SESSION, ALWAYS, put_prxy, get_prxy },
    [SX_PFWD] = { "PFWD", ANONYMOUS, ALWAYS, put_pfwd, get_pfwd },
    [SX_RFWD] = { "RFWD", SESSION, ALWAYS, put_rfwd, get_rfwd },
    [SX_RSLV] = { "RSLV", SESSION, ALWAYS, put_rslv, get_rslv },
};

const char *sx_cmd_name(enum sx_cmd_tag tag)
{
    return (unsigned)tag < SX_CMD_TAGS ? rows[tag].name : "";
}

void sx_cmd_encode(struct sx_wr *w, const struct sx_cmd *c, uint16_t version)
{
    if ((unsigned)c->tag >= SX_CMD_TAGS) {
        w->bad = true;
        return;
    }
    const struct row *row = &rows[c->tag];
    sx_wr_text(w, row->name);
    if (version >= row->params_since) {
        sx_wr_u8(w, ' ');
        row->put(w, c, version);
    }
}

static const struct row *find_row(simplex_bytes name)
{
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        if (sx_bytes_eq(name, sx_str(rows[i].name)))
            return &rows[i];
    }
    return NULL;
}

static simplex_rc refuse(struct sx_cmd *c, struct sx_smp_err *err, uint8_t cmd)
{
    *c = (struct sx_cmd){ 0 };
    *err = (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = cmd };
    return SIMPLEX_E_DECODE;
}

simplex_rc sx_cmd_decode(simplex_bytes text, uint16_t version, struct sx_cmd *c,
                         struct sx_smp_err *err)
{
    struct sx_rd r = sx_rd_init(text);
    size_t n = 0;

    *err = (struct sx_smp_err){ 0 };
    while (n < text.len && text.ptr[n] != ' ')
        n++;
    const struct row *row = find_row(sx_rd_take(&r, n));
    if (row == NULL)
        return refuse(c, err, SX_CMD_UNKNOWN);
    *c = (struct sx_cmd){ .tag = (enum sx_cmd_tag)(row - rows) };
    if (version >= row->params_since) {
        if (!sx_rd_lit(&r, " "))
            return refuse(c, err, SX_CMD_SYNTAX);
        row->get(&r, c, version);
    }
    return sx_rd_done(&r) ? SIMPLEX_OK : refuse(c, err, SX_CMD_SYNTAX);
}

static uint8_t check(enum creds creds, bool auth, bool entity)
{
    switch (creds) {
    case NEW_QUEUE:
        return !auth ? SX_CMD_NO_AUTH : entity ? SX_CMD_HAS_AUTH : 0;
    case SENDER:
        return entity ? 0 : SX_CMD_NO_ENTITY;
    case ANONYMOUS:
        return !entity ? SX_CMD_NO_ENTITY : auth ? SX_CMD_HAS_AUTH : 0;
    case SESSION:
        return auth || entity ? SX_CMD_HAS_AUTH : 0;
    case QUEUE:
        break;
    }
    return auth && entity ? 0 : SX_CMD_NO_AUTH;
}

struct sx_smp_err sx_cmd_check_credentials(const struct sx_cmd *c, bool has_auth, bool has_entity)
{
    uint8_t cmd = SX_CMD_UNKNOWN;

    if ((unsigned)c->tag < SX_CMD_TAGS)
        cmd = check(rows[c->tag].creds, has_auth, has_entity);
    return (struct sx_smp_err){ .err = cmd != 0 ? SX_ERR_CMD : SX_ERR_NONE, .cmd = cmd };
}
