/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a segment: its header and the headers of records. Integers are big-endian.
 *
 * A record knows its place, and its checksum is keyed with the salt of the segment, which nobody
 * outside knows: neither a record of another file nor a body made by a sender that looks like one
 * is taken for a record, also when the file is searched for the next good one after damage.
 */
#include "journal_internal.h"

#define RECORD_MAGIC 0x53584a52u /* SXJR */
#define FLAG_NOTIFY 1
#define FLAG_QUOTA 2
#define SEQ_MAX (UINT64_C(1) << 62)

static const char segment_magic[8] = "SXJOURNL";
#define FORMAT_VERSION 1

static uint64_t rd_u64(struct sx_rd *r)
{
    return (uint64_t)sx_rd_i64(r);
}

static void wr_u64(struct sx_wr *w, uint64_t v)
{
    sx_wr_i64(w, (int64_t)v);
}

/* Keyed with the random id, so that no sender knows which bodies share a hash. */
uint64_t sx_record_hash(const uint8_t *id, simplex_bytes body)
{
    _Static_assert(SX_ID_LEN >= 16, "an id is long enough for a key");
    return sx_shorthash(id, body);
}

void sx_record_encode(const struct sx_record *r, const uint8_t *salt, uint32_t at,
                      uint8_t to[SX_RECORD_HEADER])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, SX_RECORD_HEADER);
    sx_wr_u32(&w, RECORD_MAGIC);
    sx_wr_u8(&w, r->type);
    sx_wr_u8(&w, (uint8_t)((r->notify ? FLAG_NOTIFY : 0) | (r->quota ? FLAG_QUOTA : 0)));
    sx_wr_u16(&w, r->len);
    sx_wr_u32(&w, r->synced);
    sx_wr_u32(&w, at);
    wr_u64(&w, r->seq);
    sx_wr_i64(&w, r->ts_ms);
    sx_wr_raw(&w, sx_bytes(r->rid, SX_ID_LEN));
    sx_wr_raw(&w, sx_bytes(r->id, SX_ID_LEN));
    wr_u64(&w, r->hash);
    wr_u64(&w, sx_shorthash(salt, sx_wr_bytes(&w)));
}

bool sx_record_decode(const uint8_t from[SX_RECORD_HEADER], const uint8_t *salt, uint32_t at,
                      struct sx_record *r)
{
    struct sx_rd rd = sx_rd_init(sx_bytes(from, SX_RECORD_HEADER));

    if (sx_rd_u32(&rd) != RECORD_MAGIC)
        return false;
    r->type = sx_rd_u8(&rd);
    uint8_t flags = sx_rd_u8(&rd);
    r->notify = (flags & FLAG_NOTIFY) != 0;
    r->quota = (flags & FLAG_QUOTA) != 0;
    r->len = sx_rd_u16(&rd);
    r->synced = sx_rd_u32(&rd);
    uint32_t own = sx_rd_u32(&rd);
    r->seq = rd_u64(&rd);
    r->ts_ms = sx_rd_i64(&rd);
    sx_rd_copy(&rd, r->rid, SX_ID_LEN);
    sx_rd_copy(&rd, r->id, SX_ID_LEN);
    r->hash = rd_u64(&rd);
    if (own != at || rd_u64(&rd) != sx_shorthash(salt, sx_bytes(from, SX_RECORD_HEADER - 8)))
        return false;
    if (r->type < SX_RECORD_ADD || r->type > SX_RECORD_MARK || flags > (FLAG_NOTIFY | FLAG_QUOTA))
        return false;
    return r->len <= (r->type == SX_RECORD_ADD ? SX_BODY_MAX : 0) && r->synced <= at &&
           r->seq < SEQ_MAX;
}

void sx_segment_encode(const struct sx_segment_header *h, uint8_t to[SX_SEGMENT_HEADER])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, SX_SEGMENT_HEADER);
    sx_wr_raw(&w, sx_bytes(segment_magic, sizeof(segment_magic)));
    sx_wr_u32(&w, FORMAT_VERSION);
    sx_wr_u32(&w, h->number);
    sx_wr_u32(&w, h->prev);
    sx_wr_u32(&w, h->prev_end);
    sx_wr_u32(&w, h->synced);
    sx_wr_u32(&w, 0);
    sx_wr_i64(&w, 0);
    sx_wr_raw(&w, sx_bytes(h->salt, SX_SALT_LEN));
    wr_u64(&w, sx_shorthash(h->salt, sx_wr_bytes(&w)));
}

simplex_rc sx_segment_decode(const uint8_t from[SX_SEGMENT_HEADER], struct sx_segment_header *h)
{
    struct sx_rd rd = sx_rd_init(sx_bytes(from, SX_SEGMENT_HEADER));

    if (!sx_bytes_eq(sx_rd_take(&rd, sizeof(segment_magic)),
                     sx_bytes(segment_magic, sizeof(segment_magic))))
        return SIMPLEX_E_DB_DAMAGED;
    uint32_t version = sx_rd_u32(&rd);
    h->number = sx_rd_u32(&rd);
    h->prev = sx_rd_u32(&rd);
    h->prev_end = sx_rd_u32(&rd);
    h->synced = sx_rd_u32(&rd);
    (void)sx_rd_take(&rd, 12); /* zeros, for what may come */
    sx_rd_copy(&rd, h->salt, SX_SALT_LEN);
    if (rd_u64(&rd) != sx_shorthash(h->salt, sx_bytes(from, SX_SEGMENT_HEADER - 8)))
        return SIMPLEX_E_DB_DAMAGED;
    return version == FORMAT_VERSION ? SIMPLEX_OK : SIMPLEX_E_DB_SCHEMA;
}
