/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the store log, both ways: a table with a row for each kind of record. */
#include "store_log_line.h"

#include <stdio.h>

#define SPKI_MAX 80
#define DAY 86400

/* ---- fields, written ---- */

static void put(struct sx_wr *w, const void *p, size_t n)
{
    sx_b64url_encode(w, sx_bytes(p, n));
}

static void put_key(struct sx_wr *w, const struct sx_pub *k)
{
    uint8_t der[SPKI_MAX];
    struct sx_wr spki;

    sx_wr_fixed(&spki, der, sizeof(der));
    sx_spki_encode(k, &spki);
    w->bad |= spki.bad || k->alg == SX_NO_KEY;
    sx_b64url_encode(w, sx_wr_bytes(&spki));
}

static void put_keys(struct sx_wr *w, const struct sx_slog_record *r)
{
    w->bad |= r->rk_count == 0 || r->rk_count > SX_SLOG_KEYS;
    for (unsigned i = 0; i < r->rk_count && !w->bad; i++) {
        if (i > 0)
            sx_wr_u8(w, ',');
        put_key(w, &r->rk[i]);
    }
}

static void put_number(struct sx_wr *w, int64_t v)
{
    char text[24];

    w->bad |= v < 0;
    (void)snprintf(text, sizeof(text), "%" PRId64, v);
    sx_wr_text(w, text);
}

static void put_data(struct sx_wr *w, const struct sx_slog_record *r)
{
    put(w, r->fixed.ptr, r->fixed.len);
    sx_wr_u8(w, ' ');
    put(w, r->user.ptr, r->user.len);
}

static void put_notifier(struct sx_wr *w, const struct sx_slog_record *r)
{
    put(w, r->ntf_id, SX_ID_LEN);
    sx_wr_u8(w, ' ');
    put_key(w, &r->ntf_key);
    sx_wr_u8(w, ' ');
    put(w, r->ntf_secret, sizeof(r->ntf_secret));
    if (!r->has_nsrv)
        return;
    sx_wr_text(w, " nsrv=");
    put(w, r->nsrv, SX_ID_LEN);
}

static void put_reason(struct sx_wr *w, const struct sx_slog_record *r)
{
    struct sx_smp_err e = {
        .blocked = r->reason, .has_notice = r->has_notice, .has_ttl = r->has_ttl, .ttl = r->ttl
    };

    sx_wr_block_info(w, &e, SX_SMP_MAX);
}

static void put_status(struct sx_wr *w, const struct sx_slog_record *r)
{
    if (r->status == SX_Q_OFF)
        sx_wr_text(w, " status=off");
    if (r->status != SX_Q_BLOCKED)
        return;
    sx_wr_text(w, " status=blocked,");
    put_reason(w, r);
}

/* ---- fields, read ---- */

/* The rest of a line. `what` names the first field that is wrong. */
struct line {
    struct sx_rd rd;
    struct sx_slog_scratch *s;
    const char *what;
};

static void fail(struct line *l, const char *what)
{
    if (l->what == NULL)
        l->what = what;
    l->rd.bad = true;
}

static bool next_is(struct line *l, const char *text)
{
    return !l->rd.bad && sx_rd_lit(&l->rd, text);
}

/* `text` is the word before a value, like " rdh=", or a single space. */
static void expect(struct line *l, const char *text, const char *what)
{
    if (!next_is(l, text))
        fail(l, what);
}

/* Most of a start is spent on these characters: a table instead of comparisons. */
static const bool base64[256] = {
    ['-'] = true, ['_'] = true, ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true,
    ['4'] = true, ['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true,
    ['A'] = true, ['B'] = true, ['C'] = true, ['D'] = true, ['E'] = true, ['F'] = true,
    ['G'] = true, ['H'] = true, ['I'] = true, ['J'] = true, ['K'] = true, ['L'] = true,
    ['M'] = true, ['N'] = true, ['O'] = true, ['P'] = true, ['Q'] = true, ['R'] = true,
    ['S'] = true, ['T'] = true, ['U'] = true, ['V'] = true, ['W'] = true, ['X'] = true,
    ['Y'] = true, ['Z'] = true, ['a'] = true, ['b'] = true, ['c'] = true, ['d'] = true,
    ['e'] = true, ['f'] = true, ['g'] = true, ['h'] = true, ['i'] = true, ['j'] = true,
    ['k'] = true, ['l'] = true, ['m'] = true, ['n'] = true, ['o'] = true, ['p'] = true,
    ['q'] = true, ['r'] = true, ['s'] = true, ['t'] = true, ['u'] = true, ['v'] = true,
    ['w'] = true, ['x'] = true, ['y'] = true, ['z'] = true,
};

static bool next_is_base64(const struct line *l)
{
    return l->rd.left > 0 && base64[l->rd.p[0]];
}

static simplex_bytes take_base64(struct line *l)
{
    const uint8_t *p = l->rd.p;
    const uint8_t *end = p + l->rd.left;

    while (p < end && base64[*p])
        p++;
    while (p < end && *p == '=')
        p++;
    return sx_rd_take(&l->rd, (size_t)(p - l->rd.p));
}

static void get(struct line *l, uint8_t *to, size_t n, const char *what)
{
    size_t len = n;

    if (l->rd.bad)
        return;
    if (sx_b64url_decode(take_base64(l), to, &len) != SIMPLEX_OK || len != n)
        fail(l, what);
}

/* Bytes of any length, kept in the scratch, which has room for all of a line. */
static simplex_bytes get_blob(struct line *l, const char *what)
{
    struct sx_wr *blob = &l->s->blob;
    size_t len = blob->size - blob->len;
    uint8_t *at = blob->p + blob->len;

    if (l->rd.bad)
        return sx_bytes(NULL, 0);
    if (sx_b64url_decode(take_base64(l), at, &len) != SIMPLEX_OK) {
        fail(l, what);
        return sx_bytes(NULL, 0);
    }
    blob->len += len;
    return sx_bytes(at, len);
}

/* A key that may authorise a command (section 1): everything but X448. */
static void get_key(struct line *l, struct sx_pub *k, const char *what)
{
    uint8_t der[SPKI_MAX];
    size_t len = sizeof(der);

    if (l->rd.bad)
        return;
    if (sx_b64url_decode(take_base64(l), der, &len) != SIMPLEX_OK ||
        sx_spki_decode(sx_bytes(der, len), k) != SIMPLEX_OK || k->alg == SX_X448)
        fail(l, what);
}

static void get_keys(struct line *l, struct sx_slog_record *r)
{
    r->rk = l->s->key;
    do {
        if (r->rk_count == SX_SLOG_KEYS)
            fail(l, "recipient keys (more than 255)");
        else
            get_key(l, &l->s->key[r->rk_count++], "recipient key");
    } while (next_is(l, ","));
}

static int64_t get_number(struct line *l, const char *what)
{
    int64_t v = 0;
    size_t n = 0;

    for (; !l->rd.bad && l->rd.left > 0 && l->rd.p[0] >= '0' && l->rd.p[0] <= '9'; n++) {
        int d = sx_rd_u8(&l->rd) - '0';
        if (v > (INT64_MAX - d) / 10)
            fail(l, what);
        else
            v = v * 10 + d;
    }
    if (n == 0)
        fail(l, what);
    return v;
}

static void get_day(struct line *l, struct sx_slog_record *r)
{
    int64_t day = get_number(l, "time") / DAY;

    if (day > UINT32_MAX)
        fail(l, "time");
    r->day = (uint32_t)day;
    r->has_updated_at = true;
}

/* The two blobs of link data; an empty one is an empty word, which the reference writes too. */
static void get_data(struct line *l, struct sx_slog_record *r)
{
    r->fixed = get_blob(l, "fixed link data");
    expect(l, " ", "user link data");
    r->user = get_blob(l, "user link data");
    if (r->fixed.len > UINT16_MAX || r->user.len > UINT16_MAX)
        fail(l, "link data (too long)");
    r->has_link = true;
}

static void get_notifier(struct line *l, struct sx_slog_record *r)
{
    get(l, r->ntf_id, SX_ID_LEN, "notifier id");
    expect(l, " ", "notifier key");
    get_key(l, &r->ntf_key, "notifier key");
    expect(l, " ", "notifier secret");
    get(l, r->ntf_secret, sizeof(r->ntf_secret), "notifier secret");
    r->has_notifier = true;
    r->has_nsrv = next_is(l, " nsrv=");
    if (r->has_nsrv)
        get(l, r->nsrv, SX_ID_LEN, "nsrv");
}

/* What is before " rsrv=", if that follows: the reader of the notice would eat the space. */
static simplex_bytes before_rsrv(const struct line *l)
{
    static const char word[] = " rsrv=";
    size_t n = sizeof(word) - 1;

    for (size_t i = l->rd.left; i >= n; i--)
        if (memcmp(l->rd.p + i - n, word, n) == 0)
            return sx_bytes(l->rd.p, i - n);
    return sx_bytes(l->rd.p, l->rd.left);
}

static void get_reason(struct line *l, struct sx_slog_record *r)
{
    struct sx_rd rd = sx_rd_init(before_rsrv(l));
    struct sx_smp_err e = { 0 };

    (void)sx_rd_take(&l->rd, rd.left);
    sx_rd_block_info(&rd, &e);
    if (!sx_rd_done(&rd))
        fail(l, "reason or notice of the block");
    r->reason = e.blocked;
    r->has_notice = e.has_notice;
    r->has_ttl = e.has_ttl;
    r->ttl = e.ttl;
}

static void get_status(struct line *l, struct sx_slog_record *r)
{
    if (next_is(l, "off")) {
        r->status = SX_Q_OFF;
    } else if (next_is(l, "blocked,")) {
        r->status = SX_Q_BLOCKED;
        get_reason(l, r);
    } else if (!next_is(l, "active")) {
        fail(l, "status");
    }
}

static uint8_t get_char(struct line *l, const char *allowed, const char *what)
{
    int c = sx_rd_peek(&l->rd);

    if (l->rd.bad || c <= 0 || strchr(allowed, c) == NULL) {
        fail(l, what);
        return 0;
    }
    return sx_rd_u8(&l->rd);
}

static void get_mode(struct line *l, struct sx_slog_record *r)
{
    if (next_is(l, " sndSecure="))
        r->queue_mode = get_char(l, "TF", "sndSecure") == 'T' ? SX_MODE_MESSAGING : SX_MODE_CONTACT;
    else if (next_is(l, " queue_mode="))
        r->queue_mode = get_char(l, "MC", "queue_mode");
}

/* ---- records: what follows the tag and a space ---- */

static void put_create(struct sx_wr *w, const struct sx_slog_record *r)
{
    sx_wr_text(w, "rid=");
    put(w, r->rid, SX_ID_LEN);
    sx_wr_text(w, " rk=");
    put_keys(w, r);
    sx_wr_text(w, " rdh=");
    put(w, r->rdh, sizeof(r->rdh));
    sx_wr_text(w, " sid=");
    put(w, r->sid, SX_ID_LEN);
    sx_wr_text(w, " sk=");
    if (r->sk.alg != SX_NO_KEY)
        put_key(w, &r->sk);
    if (r->queue_mode != SX_MODE_NONE) {
        sx_wr_text(w, " queue_mode=");
        sx_wr_u8(w, r->queue_mode);
    }
    if (r->has_link) {
        sx_wr_text(w, " link_id=");
        put(w, r->link_id, SX_ID_LEN);
        sx_wr_text(w, " queue_data=");
        put_data(w, r);
    }
    if (r->has_notifier) {
        sx_wr_text(w, " notifier=");
        put_notifier(w, r);
    }
    if (r->has_updated_at) {
        sx_wr_text(w, " updated_at=");
        put_number(w, (int64_t)r->day * DAY);
    }
    put_status(w, r);
    if (r->has_rsrv) {
        sx_wr_text(w, " rsrv=");
        put(w, r->rsrv, SX_ID_LEN);
    }
}

static void get_create(struct line *l, struct sx_slog_record *r)
{
    expect(l, "rid=", "rid");
    get(l, r->rid, SX_ID_LEN, "rid");
    expect(l, " rk=", "rk");
    get_keys(l, r);
    expect(l, " rdh=", "rdh");
    get(l, r->rdh, sizeof(r->rdh), "rdh");
    expect(l, " sid=", "sid");
    get(l, r->sid, SX_ID_LEN, "sid");
    expect(l, " sk=", "sk");
    if (next_is_base64(l))
        get_key(l, &r->sk, "sk");
    get_mode(l, r);
    if (next_is(l, " link_id=")) {
        get(l, r->link_id, SX_ID_LEN, "link_id");
        expect(l, " queue_data=", "queue_data");
        get_data(l, r);
    }
    if (next_is(l, " notifier="))
        get_notifier(l, r);
    if (next_is(l, " updated_at="))
        get_day(l, r);
    if (next_is(l, " status="))
        get_status(l, r);
    r->has_rsrv = next_is(l, " rsrv=");
    if (r->has_rsrv)
        get(l, r->rsrv, SX_ID_LEN, "rsrv");
}

static void put_rid(struct sx_wr *w, const struct sx_slog_record *r)
{
    put(w, r->rid, SX_ID_LEN);
}

static void get_rid(struct line *l, struct sx_slog_record *r)
{
    get(l, r->rid, SX_ID_LEN, "recipient id");
}

static void put_rid_space(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid(w, r);
    sx_wr_u8(w, ' ');
}

static void get_rid_space(struct line *l, struct sx_slog_record *r)
{
    get_rid(l, r);
    expect(l, " ", "value after the recipient id");
}

static void put_link(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put(w, r->link_id, SX_ID_LEN);
    sx_wr_u8(w, ' ');
    put_data(w, r);
}

static void get_link(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get(l, r->link_id, SX_ID_LEN, "link id");
    expect(l, " ", "fixed link data");
    get_data(l, r);
}

static void put_secure(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put_key(w, &r->sk);
}

static void get_secure(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get_key(l, &r->sk, "sender key");
}

static void put_set_keys(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put_keys(w, r);
}

static void get_set_keys(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get_keys(l, r);
}

static void put_add_notifier(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put_notifier(w, r);
}

static void get_add_notifier(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get_notifier(l, r);
}

static void put_block(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put_reason(w, r);
}

static void get_block(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get_reason(l, r);
}

static void put_time(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    put_number(w, (int64_t)r->day * DAY);
}

static void get_time(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    get_day(l, r);
}

static void put_service(struct sx_wr *w, const struct sx_slog_record *r)
{
    w->bad |= r->cert_count == 0 || r->cert_count > SX_SLOG_CERTS;
    sx_wr_text(w, "service_id=");
    put(w, r->service_id, SX_ID_LEN);
    sx_wr_text(w, " role=");
    sx_wr_u8(w, r->role);
    sx_wr_text(w, " cert=");
    for (unsigned i = 0; i < r->cert_count && !w->bad; i++) {
        if (i > 0)
            sx_wr_u8(w, ',');
        put(w, r->cert[i].ptr, r->cert[i].len);
    }
    sx_wr_text(w, " cert_hash=");
    put(w, r->cert_hash, sizeof(r->cert_hash));
    sx_wr_text(w, " created_at=");
    put_number(w, r->created_at);
}

static void get_service(struct line *l, struct sx_slog_record *r)
{
    expect(l, "service_id=", "service_id");
    get(l, r->service_id, SX_ID_LEN, "service_id");
    expect(l, " role=", "role");
    r->role = get_char(l, "MNP", "role");
    expect(l, " cert=", "cert");
    do {
        if (r->cert_count == SX_SLOG_CERTS || !next_is_base64(l))
            fail(l, "cert");
        else
            r->cert[r->cert_count++] = get_blob(l, "cert");
    } while (next_is(l, ","));
    expect(l, " cert_hash=", "cert_hash");
    get(l, r->cert_hash, sizeof(r->cert_hash), "cert_hash");
    expect(l, " created_at=", "created_at");
    r->created_at = get_number(l, "created_at");
}

static void put_queue_service(struct sx_wr *w, const struct sx_slog_record *r)
{
    put_rid_space(w, r);
    sx_wr_text(w, r->ntf ? "N " : "R ");
    if (r->has_rsrv)
        put(w, r->rsrv, SX_ID_LEN);
}

/* Without a service the line ends with a space, which editors take away. */
static void get_queue_service(struct line *l, struct sx_slog_record *r)
{
    get_rid_space(l, r);
    r->ntf = get_char(l, "RN", "party") == 'N';
    r->has_rsrv = next_is(l, " ") && l->rd.left > 0;
    if (r->has_rsrv)
        get(l, r->rsrv, SX_ID_LEN, "service id");
}

/* ---- lines ---- */

static const struct {
    const char *tag;
    void (*put)(struct sx_wr *w, const struct sx_slog_record *r);
    void (*get)(struct line *l, struct sx_slog_record *r);
} records[] = {
    [SX_SLOG_CREATE] = { "CREATE ", put_create, get_create },
    [SX_SLOG_LINK] = { "LINK ", put_link, get_link },
    [SX_SLOG_LDELETE] = { "LDELETE ", put_rid, get_rid },
    [SX_SLOG_SECURE] = { "SECURE ", put_secure, get_secure },
    [SX_SLOG_SET_KEYS] = { "KEYS ", put_set_keys, get_set_keys },
    [SX_SLOG_NOTIFIER] = { "NOTIFIER ", put_add_notifier, get_add_notifier },
    [SX_SLOG_NDELETE] = { "NDELETE ", put_rid, get_rid },
    [SX_SLOG_SUSPEND] = { "SUSPEND ", put_rid, get_rid },
    [SX_SLOG_BLOCK] = { "BLOCK ", put_block, get_block },
    [SX_SLOG_UNBLOCK] = { "UNBLOCK ", put_rid, get_rid },
    [SX_SLOG_DELETE] = { "DELETE ", put_rid, get_rid },
    [SX_SLOG_TIME] = { "TIME ", put_time, get_time },
    [SX_SLOG_NEW_SERVICE] = { "NEW_SERVICE ", put_service, get_service },
    [SX_SLOG_QUEUE_SERVICE] = { "QUEUE_SERVICE ", put_queue_service, get_queue_service },
};

void sx_slog_encode(struct sx_wr *w, const struct sx_slog_record *r)
{
    if (r->tag < SX_SLOG_CREATE || r->tag >= SX_COUNT(records)) {
        w->bad = true;
        return;
    }
    sx_wr_text(w, records[r->tag].tag);
    records[r->tag].put(w, r);
}

void sx_slog_scratch_init(struct sx_slog_scratch *s)
{
    memset(s->key, 0, sizeof(s->key));
    sx_wr_init(&s->blob, SX_SLOG_LINE_MAX);
}

void sx_slog_scratch_wipe(struct sx_slog_scratch *s)
{
    sx_wr_free(&s->blob);
}

/* Makes room for whatever the line holds, so that nothing moves while it is read. */
static bool make_room(struct sx_wr *blob, size_t n)
{
    sx_wr_reset(blob);
    bool ok = blob->size >= n || sx_wr_space(blob, n) != NULL;
    sx_wr_reset(blob);
    return ok;
}

simplex_rc sx_slog_decode(simplex_bytes text, struct sx_slog_scratch *s, struct sx_slog_record *r,
                          const char **what)
{
    struct line l = { .s = s };

    memset(r, 0, sizeof(*r));
    *what = "length";
    if (text.len > SX_SLOG_LINE_MAX)
        return SIMPLEX_E_DECODE;
    if (!make_room(&s->blob, text.len))
        return SIMPLEX_E_NOMEM;
    if (text.len > 0 && text.ptr[text.len - 1] == '\r')
        text.len--;
    l.rd = sx_rd_init(text);
    for (unsigned tag = SX_SLOG_CREATE; tag < SX_COUNT(records) && r->tag == 0; tag++)
        if (sx_rd_lit(&l.rd, records[tag].tag))
            r->tag = (enum sx_slog_tag)tag;
    if (r->tag == 0)
        fail(&l, "kind of record");
    else
        records[r->tag].get(&l, r);
    if (!l.rd.bad && l.rd.left > 0)
        fail(&l, "end of the record");
    *what = l.what;
    return l.rd.bad ? SIMPLEX_E_DECODE : SIMPLEX_OK;
}
