/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMP responses and events (protocol/smp.md section 6.2). One row per tag: its parameters in both
 * directions, and for tags that older peers do not know the one which is sent to them instead.
 */
#include "wire/smp_parts.h"

#define V_SECURE_BOOL 9 /* IDS: Bool for the mode */
#define V_DELD 10
#define V_LINK 15       /* IDS: ?mode ?linkId */
#define V_SERVICE 16    /* IDS: ?serviceId; SOK */
#define V_NTF 17        /* IDS: ?(ntfId srvNtfDh) */
#define V_COUNT_HASH 19 /* SOKS, ENDS */

/* ---- IDS ---- */

static void put_mode(struct sx_wr *w, uint8_t mode)
{
    sx_wr_maybe(w, mode != SX_MODE_NONE);
    if (mode == SX_MODE_NONE)
        return;
    if (mode != SX_MODE_MESSAGING && mode != SX_MODE_CONTACT)
        w->bad = true;
    sx_wr_u8(w, mode);
}

static uint8_t get_mode(struct sx_rd *r)
{
    if (!sx_rd_maybe(r))
        return SX_MODE_NONE;
    uint8_t mode = sx_rd_u8(r);
    if (mode != SX_MODE_MESSAGING && mode != SX_MODE_CONTACT)
        r->bad = true;
    return mode;
}

static void put_maybe_short(struct sx_wr *w, bool some, simplex_bytes s)
{
    sx_wr_maybe(w, some);
    if (some)
        sx_wr_short(w, s);
}

static void get_maybe_short(struct sx_rd *r, bool *some, simplex_bytes *s)
{
    *some = sx_rd_maybe(r);
    if (*some)
        *s = sx_rd_short(r);
}

static void put_ids_ntf(struct sx_wr *w, const struct sx_rsp *m)
{
    put_maybe_short(w, m->ids.has_ntf, m->ids.ntf_id);
    if (m->ids.has_ntf)
        sx_wr_key(w, &m->ids.ntf_srv_dh);
}

static void get_ids_ntf(struct sx_rd *r, struct sx_rsp *m)
{
    get_maybe_short(r, &m->ids.has_ntf, &m->ids.ntf_id);
    if (m->ids.has_ntf)
        sx_rd_key_of(r, SX_X25519, &m->ids.ntf_srv_dh);
}

static void put_ids(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    sx_wr_short(w, m->ids.rcv_id);
    sx_wr_short(w, m->ids.snd_id);
    sx_wr_key(w, &m->ids.srv_dh);
    if (v >= V_LINK) {
        put_mode(w, m->ids.mode);
        put_maybe_short(w, m->ids.has_link_id, m->ids.link_id);
    } else if (v >= V_SECURE_BOOL) {
        sx_wr_bool(w, m->ids.mode == SX_MODE_MESSAGING);
    }
    if (v >= V_SERVICE)
        put_maybe_short(w, m->ids.has_service_id, m->ids.service_id);
    if (v >= V_NTF)
        put_ids_ntf(w, m);
}

static void get_ids(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    m->ids.rcv_id = sx_rd_short(r);
    m->ids.snd_id = sx_rd_short(r);
    sx_rd_key_of(r, SX_X25519, &m->ids.srv_dh);
    if (v >= V_LINK) {
        m->ids.mode = get_mode(r);
        get_maybe_short(r, &m->ids.has_link_id, &m->ids.link_id);
    } else if (v >= V_SECURE_BOOL) {
        m->ids.mode = sx_rd_bool(r) ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
    }
    if (v >= V_SERVICE)
        get_maybe_short(r, &m->ids.has_service_id, &m->ids.service_id);
    if (v >= V_NTF)
        get_ids_ntf(r, m);
}

/* ---- the others, in the order of the table ---- */

static void put_lnk(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_short(w, m->lnk.snd_id);
    sx_wr_large(w, m->lnk.fixed);
    sx_wr_large(w, m->lnk.user);
}

static void get_lnk(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    m->lnk.snd_id = sx_rd_short(r);
    m->lnk.fixed = sx_rd_large(r);
    m->lnk.user = sx_rd_large(r);
}

static void put_sok(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    put_maybe_short(w, m->sok.has_service_id, m->sok.service_id);
}

static void get_sok(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    get_maybe_short(r, &m->sok.has_service_id, &m->sok.service_id);
}

static void put_soks(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    sx_wr_i64(w, m->soks.count);
    if (v < V_COUNT_HASH)
        return;
    if (!m->soks.has_hash)
        w->bad = true;
    sx_wr_short(w, sx_bytes(m->soks.hash, sizeof m->soks.hash));
}

static void get_soks(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    m->soks.count = sx_rd_i64(r);
    m->soks.has_hash = v >= V_COUNT_HASH;
    if (!m->soks.has_hash)
        return;
    if (sx_rd_u8(r) != sizeof m->soks.hash)
        r->bad = true;
    sx_rd_copy(r, m->soks.hash, sizeof m->soks.hash);
}

static void put_msg(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_short(w, m->msg.msg_id);
    sx_wr_raw(w, m->msg.body);
}

static void get_msg(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    m->msg.msg_id = sx_rd_short(r);
    m->msg.body = sx_rd_rest(r);
}

static void put_nid(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_short(w, m->nid.ntf_id);
    sx_wr_key(w, &m->nid.srv_dh);
}

static void get_nid(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    m->nid.ntf_id = sx_rd_short(r);
    sx_rd_key_of(r, SX_X25519, &m->nid.srv_dh);
}

static void put_nmsg(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_raw(w, sx_bytes(m->nmsg.nonce, sizeof m->nmsg.nonce));
    sx_wr_short(w, m->nmsg.meta);
}

static void get_nmsg(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_rd_copy(r, m->nmsg.nonce, sizeof m->nmsg.nonce);
    m->nmsg.meta = sx_rd_short(r);
}

static void put_pkey(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_short(w, m->pkey.session_id);
    if (m->pkey.min > m->pkey.max)
        w->bad = true;
    sx_wr_u16(w, m->pkey.min);
    sx_wr_u16(w, m->pkey.max);
    sx_wr_raw(w, m->pkey.chain);
    sx_wr_large(w, m->pkey.signed_key);
}

static void get_pkey(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    size_t certs;

    (void)v;
    m->pkey.session_id = sx_rd_short(r);
    m->pkey.min = sx_rd_u16(r);
    m->pkey.max = sx_rd_u16(r);
    if (m->pkey.min > m->pkey.max)
        r->bad = true;
    m->pkey.chain = sx_rd_chain(r, NULL, &certs);
    m->pkey.signed_key = sx_rd_large(r);
}

static void put_enc(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_raw(w, m->enc.body);
}

static void get_enc(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    m->enc.body = sx_rd_rest(r);
}

static void put_json(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    (void)v;
    sx_wr_raw(w, m->info.json);
}

static void get_json(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    m->info.json = sx_rd_rest(r);
}

static void put_err(struct sx_wr *w, const struct sx_rsp *m, uint16_t v)
{
    sx_smp_err_encode(w, &m->err, v);
}

static void get_err(struct sx_rd *r, struct sx_rsp *m, uint16_t v)
{
    (void)v;
    if (sx_smp_err_decode(sx_rd_rest(r), &m->err) != SIMPLEX_OK)
        r->bad = true;
}

/* ---- the table ---- */

static const struct row {
    const char *name;
    void (*put)(struct sx_wr *w, const struct sx_rsp *m,
                uint16_t version); /* NULL: no parameters */
    void (*get)(struct sx_rd *r, struct sx_rsp *m, uint16_t version);
    uint16_t since; /* below this version `older` is sent, which has no parameters */
    enum sx_rsp_tag older;
} rows[SX_RSP_TAGS] = {
    [SX_R_IDS] = { "IDS", put_ids, get_ids, 0, 0 },
    [SX_R_LNK] = { "LNK", put_lnk, get_lnk, 0, 0 },
    [SX_R_OK] = { "OK", NULL, NULL, 0, 0 },
    [SX_R_SOK] = { "SOK", put_sok, get_sok, V_SERVICE, SX_R_OK },
    [SX_R_SOKS] = { "SOKS", put_soks, get_soks, 0, 0 },
    [SX_R_MSG] = { "MSG", put_msg, get_msg, 0, 0 },
    [SX_R_ALLS] = { "ALLS", NULL, NULL, 0, 0 },
    [SX_R_NID] = { "NID", put_nid, get_nid, 0, 0 },
    [SX_R_NMSG] = { "NMSG", put_nmsg, get_nmsg, 0, 0 },
    [SX_R_PKEY] = { "PKEY", put_pkey, get_pkey, 0, 0 },
    [SX_R_PRES] = { "PRES", put_enc, get_enc, 0, 0 },
    [SX_R_RRES] = { "RRES", put_enc, get_enc, 0, 0 },
    [SX_R_END] = { "END", NULL, NULL, 0, 0 },
    [SX_R_ENDS] = { "ENDS", put_soks, get_soks, 0, 0 },
    [SX_R_DELD] = { "DELD", NULL, NULL, V_DELD, SX_R_END },
    [SX_R_PONG] = { "PONG", NULL, NULL, 0, 0 },
    [SX_R_INFO] = { "INFO", put_json, get_json, 0, 0 },
    [SX_R_RNAME] = { "RNAME", put_json, get_json, 0, 0 },
    [SX_R_ERR] = { "ERR", put_err, get_err, 0, 0 },
};

const char *sx_rsp_name(enum sx_rsp_tag tag)
{
    return (unsigned)tag < SX_RSP_TAGS ? rows[tag].name : "";
}

void sx_rsp_encode(struct sx_wr *w, const struct sx_rsp *m, uint16_t version)
{
    if ((unsigned)m->tag >= SX_RSP_TAGS) {
        w->bad = true;
        return;
    }
    const struct row *row = &rows[m->tag];
    if (version < row->since)
        row = &rows[row->older];
    sx_wr_text(w, row->name);
    if (row->put != NULL) {
        sx_wr_u8(w, ' ');
        row->put(w, m, version);
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

simplex_rc sx_rsp_decode(simplex_bytes text, uint16_t version, struct sx_rsp *m)
{
    struct sx_rd r = sx_rd_init(text);
    size_t n = 0;

    *m = (struct sx_rsp){ .tag = SX_RSP_TAGS };
    while (n < text.len && text.ptr[n] != ' ')
        n++;
    const struct row *row = find_row(sx_rd_take(&r, n));
    if (row == NULL)
        return SIMPLEX_E_DECODE;
    if (row->get != NULL) {
        if (!sx_rd_lit(&r, " "))
            r.bad = true;
        row->get(&r, m, version);
    }
    if (!sx_rd_done(&r)) {
        *m = (struct sx_rsp){ .tag = SX_RSP_TAGS };
        return SIMPLEX_E_DECODE;
    }
    m->tag = (enum sx_rsp_tag)(row - rows);
    return SIMPLEX_OK;
}
