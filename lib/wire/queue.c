/* SPDX-License-Identifier: Apache-2.0 */
/* Binary queue addresses and the per-queue envelope (protocol/agent.md sections 2 and 5.2). */
#include "wire/queue.h"
#include "wire/smp_parts.h"

/* ---- version ranges ---- */

void sx_range_encode(struct sx_wr *w, struct sx_range v)
{
    sx_wr_u16(w, v.min);
    sx_wr_u16(w, v.max);
}

void sx_range_decode(struct sx_rd *r, struct sx_range *v)
{
    v->min = sx_rd_u16(r);
    v->max = sx_rd_u16(r);
    if (v->min > v->max)
        r->bad = true;
}

uint16_t sx_range_agree(struct sx_range a, struct sx_range b)
{
    if (a.min > b.max || b.min > a.max)
        return 0;
    return a.max < b.max ? a.max : b.max;
}

/* ---- parts of an address ---- */

static void read_id(struct sx_rd *r, struct sx_id *id)
{
    simplex_bytes s = sx_rd_short(r);

    id->len = (uint8_t)s.len;
    if (s.len > 0)
        memcpy(id->b, s.ptr, s.len);
    else
        r->bad = true; /* an empty id names no queue */
}

/* Version 1 has one host and no count in front of it. */
static void write_legacy_server(struct sx_wr *w, const struct sx_server *s)
{
    sx_wr_short(w, sx_str(s->hosts[0].text));
    sx_wr_short(w, sx_str(s->port));
    sx_wr_short(w, sx_bytes(s->key_hash, sizeof s->key_hash));
}

static void read_legacy_server(struct sx_rd *r, struct sx_server *s)
{
    uint8_t buf[1 + 3 * 256];
    const uint8_t *start = r->p;

    for (int i = 0; i < 3; i++)
        (void)sx_rd_short(r);
    if (r->bad)
        return;
    /* the same three fields behind a count of 1 are a server of today */
    size_t n = (size_t)(r->p - start);
    buf[0] = 1;
    memcpy(buf + 1, start, n);
    struct sx_rd server = sx_rd_init(sx_bytes(buf, n + 1));
    sx_server_decode(&server, s);
    if (!sx_rd_done(&server))
        r->bad = true;
}

/*
 * Addresses of version 1 carry one host. These servers had an onion host when such addresses were
 * in use, and every implementation adds it when it reads one.
 */
static const struct {
    const char *host, *onion;
} known_onions[] = {
    { "smp4.simplex.im", "o5vmywmrnaxalvz6wi3zicyftgio6psuvyniis6gco6bp6ekl4cqj4id.onion" },
    { "smp5.simplex.im", "jjbyvoemxysm7qxap7m5d5m35jzv5qq6gnlv7s4rsn7tdwwmuqciwpid.onion" },
    { "smp6.simplex.im", "bylepyau3ty4czmn77q4fglvperknl4bi2eb2fdy2bh4jxtf32kf73yd.onion" },
    { "smp8.simplex.im", "beccx4yfxxbvyhqypaavemqurytl6hozr47wfc7uuecacjqdvwpw2xid.onion" },
    { "smp9.simplex.im", "jssqzccmrcws6bhmn77vgmhfjmhwlyr3u7puw4erkyoosywgl67slqqd.onion" },
    { "smp10.simplex.im", "rb2pbttocvnbrngnwziclp2f4ckjq65kebafws6g4hy22cdaiv5dwjqd.onion" },
};

simplex_rc sx_queue_add_known_onion(struct sx_server *s)
{
    if (s->n_hosts != 1)
        return SIMPLEX_OK;
    for (size_t i = 0; i < SX_COUNT(known_onions); i++) {
        if (strcmp(s->hosts[0].text, known_onions[i].host) != 0)
            continue;
        s->n_hosts = 2;
        return sx_host_parse(sx_str(known_onions[i].onion), &s->hosts[1]);
    }
    return SIMPLEX_OK;
}

/* The optional last byte of an address: a mode, or the older "sender may secure the queue". */
static uint8_t read_mode(struct sx_rd *r)
{
    if (sx_rd_lit(r, "M") || sx_rd_lit(r, "T"))
        return SX_MODE_MESSAGING;
    if (sx_rd_lit(r, "C") || sx_rd_lit(r, "F"))
        return SX_MODE_CONTACT;
    return SX_MODE_NONE;
}

/* ---- SMPQueueInfo ---- */

void sx_queue_info_encode(struct sx_wr *w, const struct sx_queue_addr *q)
{
    uint16_t v = q->v.max;

    sx_wr_u16(w, v);
    if (v < 2)
        write_legacy_server(w, &q->server);
    else
        sx_server_encode(w, &q->server);
    sx_wr_short(w, sx_id_bytes(&q->snd_id));
    sx_wr_key(w, &q->dh);
    if (v >= 4 && q->mode != SX_MODE_NONE)
        sx_wr_u8(w, q->mode);
    else if (v == 3 && q->mode == SX_MODE_MESSAGING)
        sx_wr_bool(w, true);
}

void sx_queue_info_decode(struct sx_rd *r, struct sx_queue_addr *q)
{
    memset(q, 0, sizeof *q);
    q->v.min = q->v.max = sx_rd_u16(r);
    if (q->v.max < 2) {
        read_legacy_server(r, &q->server);
        if (!r->bad && sx_queue_add_known_onion(&q->server) != SIMPLEX_OK)
            r->bad = true;
    } else {
        sx_server_decode(r, &q->server);
    }
    read_id(r, &q->snd_id);
    sx_rd_key_of(r, SX_X25519, &q->dh);
    q->mode = read_mode(r);
}

/* ---- SMPQueueUri, binary ---- */

void sx_queue_uri_encode(struct sx_wr *w, const struct sx_queue_addr *q)
{
    sx_range_encode(w, q->v);
    sx_server_encode(w, &q->server);
    sx_wr_short(w, sx_id_bytes(&q->snd_id));
    sx_wr_key(w, &q->dh);
    if (q->v.min >= 4) {
        if (q->mode != SX_MODE_NONE)
            sx_wr_u8(w, q->mode);
    } else if (q->v.min >= 3 || (q->v.max >= 3 && q->mode == SX_MODE_MESSAGING)) {
        sx_wr_bool(w, q->mode == SX_MODE_MESSAGING);
    }
}

void sx_queue_uri_decode(struct sx_rd *r, struct sx_queue_addr *q)
{
    memset(q, 0, sizeof *q);
    sx_range_decode(r, &q->v);
    sx_server_decode(r, &q->server);
    read_id(r, &q->snd_id);
    sx_rd_key_of(r, SX_X25519, &q->dh);
    q->mode = read_mode(r);
}

/* ---- QAddr ---- */

void sx_queue_ref_encode(struct sx_wr *w, const struct sx_queue_ref *q)
{
    sx_server_encode(w, &q->server);
    sx_wr_short(w, sx_id_bytes(&q->snd_id));
}

void sx_queue_ref_decode(struct sx_rd *r, struct sx_queue_ref *q)
{
    memset(q, 0, sizeof *q);
    sx_server_decode(r, &q->server);
    read_id(r, &q->snd_id);
}

/* ---- the body of SEND ---- */

void sx_client_msg_encode(struct sx_wr *w, const struct sx_client_msg *m)
{
    sx_wr_u16(w, m->version);
    sx_wr_maybe(w, m->has_key);
    if (m->has_key)
        sx_wr_key(w, &m->key);
    sx_wr_raw(w, sx_bytes(m->nonce, sizeof m->nonce));
    sx_wr_raw(w, m->box);
}

simplex_rc sx_client_msg_decode(simplex_bytes in, struct sx_client_msg *m)
{
    struct sx_rd r = sx_rd_init(in);

    memset(m, 0, sizeof *m);
    m->version = sx_rd_u16(&r);
    m->has_key = sx_rd_maybe(&r);
    if (m->has_key)
        sx_rd_key_of(&r, SX_X25519, &m->key);
    sx_rd_copy(&r, m->nonce, sizeof m->nonce);
    m->box = sx_rd_rest(&r);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}

void sx_private_msg_encode(struct sx_wr *w, const struct sx_private_msg *m)
{
    sx_wr_u8(w, m->has_key ? 'K' : '_');
    if (m->has_key)
        sx_wr_key(w, &m->key);
    sx_wr_raw(w, m->envelope);
}

simplex_rc sx_private_msg_decode(simplex_bytes in, struct sx_private_msg *m)
{
    struct sx_rd r = sx_rd_init(in);

    memset(m, 0, sizeof *m);
    m->has_key = sx_rd_lit(&r, "K");
    if (m->has_key)
        sx_rd_auth_key(&r, &m->key);
    else if (!sx_rd_lit(&r, "_"))
        r.bad = true;
    m->envelope = sx_rd_rest(&r);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}
