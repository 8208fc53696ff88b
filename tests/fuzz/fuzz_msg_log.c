/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference's files of messages and notifications. The first byte: 'l' decodes one line, 'm'
 * loads a file of messages, 's' too, and skips damage, 'n' loads a file of notifications. What is
 * read must be written as what is read as the same; a body must be one that a block can carry.
 */
#include "fuzz.h"

#include <stdio.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "msg_log.h"

#define LINE_LEN (24u << 10) /* of a file at most */
#define LONG_BYTE 0x7f       /* stands for so many bytes of a file, so that lines get too long: */
#define LONG_LEN 4096
#define FILE_LEN (1u << 20)

static uint8_t text[32768];

/* ---- lines ---- */

static void check_message(simplex_bytes line)
{
    uint8_t rid[SX_ID_LEN], again_rid[SX_ID_LEN];
    struct sx_msg *m, *again;
    struct sx_wr w;

    if (sx_msg_line_decode(line, rid, &m) != SIMPLEX_OK)
        return;
    CHECK(m->len <= sx_smp_max_send(SX_SMP_MIN) && !(m->quota && (m->notify || m->len > 0)));
    sx_wr_fixed(&w, text, sizeof(text));
    sx_msg_line_encode(&w, rid, m);
    CHECK(!w.bad);
    CHECK(sx_msg_line_decode(sx_wr_bytes(&w), again_rid, &again) == SIMPLEX_OK);
    CHECK(memcmp(rid, again_rid, sizeof(rid)) == 0 && memcmp(m->id, again->id, SX_ID_LEN) == 0);
    CHECK(m->ts_ms == again->ts_ms && m->quota == again->quota && m->notify == again->notify);
    CHECK(sx_bytes_eq(sx_bytes(m->body, m->len), sx_bytes(again->body, again->len)));
    sx_msg_unref(m);
    sx_msg_unref(again);
}

static void check_notification(simplex_bytes line)
{
    struct sx_notifier n = { .count = 0 };
    uint8_t again_id[SX_ID_LEN];
    struct sx_ntf ntf, again;
    struct sx_wr w;

    if (sx_ntf_line_decode(line, n.node.id, &ntf) != SIMPLEX_OK)
        return;
    sx_wr_fixed(&w, text, sizeof(text));
    sx_ntf_line_encode(&w, &n, &ntf);
    CHECK(!w.bad);
    CHECK(sx_ntf_line_decode(sx_wr_bytes(&w), again_id, &again) == SIMPLEX_OK);
    CHECK(memcmp(n.node.id, again_id, SX_ID_LEN) == 0);
    CHECK(memcmp(ntf.msg_id, again.msg_id, SX_ID_LEN) == 0 && ntf.ts_ms == again.ts_ms);
}

/* ---- files ---- */

static char path[] = "/tmp/sx-fuzz-msg-XXXXXX"; /* a file; it is saved anew with .tmp behind it */

struct shelf { /* the queues of a server: one, that has a notifier of the same id */
    struct sx_store *st;
    struct sx_queue *q;
};

static const uint8_t known_id[SX_ID_LEN] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                             12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 };

static void shelf_open(struct shelf *s)
{
    struct sx_qstore_cfg cfg = { .quota = 4 };
    struct sx_queue_new n = { .rcv_id = known_id, .has_ntf = true, .ntf_id = known_id };

    n.rcv_key.alg = SX_ED25519;
    n.ntf_key.alg = SX_ED25519;
    CHECK(sx_qstore_open(&cfg, &s->st) == SIMPLEX_OK);
    CHECK(sx_qstore_create(s->st, &n, &s->q) == SX_ERR_NONE);
}

static void shelf_close(struct shelf *s)
{
    sx_queue_unref(s->q);
    sx_qstore_close(s->st);
}

/* What is to be found, told without the reader. */
struct found {
    size_t ours, no_queue, bad;
    bool damaged;
};

/* NULL: it is no record. */
static const uint8_t *id_of_line(simplex_bytes line, bool ntfs)
{
    static uint8_t id[SX_ID_LEN];
    struct sx_ntf ntf;
    struct sx_msg *m = NULL;

    if (line.len > LINE_LEN)
        return NULL;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    simplex_rc rc = ntfs ? sx_ntf_line_decode(line, id, &ntf) : sx_msg_line_decode(line, id, &m);
    sx_msg_unref(m);
    return rc == SIMPLEX_OK ? id : NULL;
}

static struct found find_records(simplex_bytes in, bool ntfs, bool skip)
{
    struct found f = { .ours = 0 };
    const uint8_t *lf;

    while (!f.damaged && in.len > 0 && (lf = memchr(in.ptr, '\n', in.len)) != NULL) {
        size_t n = (size_t)(lf - in.ptr);
        const uint8_t *id = id_of_line(sx_bytes(in.ptr, n), ntfs);
        in = sx_bytes(in.ptr + n + 1, in.len - n - 1);
        f.damaged = id == NULL && !skip;
        if (id == NULL)
            f.bad += skip;
        else if (memcmp(id, known_id, sizeof(known_id)) == 0)
            f.ours++;
        else
            f.no_queue++;
    }
    f.bad += !f.damaged && in.len > 0; /* torn */
    return f;
}

static simplex_rc load(struct shelf *s, bool ntfs, bool skip, struct sx_msg_log_count *count)
{
    char problem[256];
    struct sx_errtext err = { problem, sizeof(problem) };

    return ntfs ? sx_ntf_log_load(s->st, path, count, &err)
                : sx_msg_log_load(s->st, path, skip, count, &err);
}

static void check_same(const struct shelf *a, const struct shelf *b)
{
    const struct sx_msg *y = b->q->head;
    const struct sx_ntf *v = b->q->ntf->head;

    for (const struct sx_msg *x = a->q->head; x != NULL; x = x->next, y = y->next) {
        CHECK(y != NULL && memcmp(x->id, y->id, SX_ID_LEN) == 0 && x->ts_ms == y->ts_ms);
        CHECK(x->quota == y->quota && x->notify == y->notify);
        CHECK(sx_bytes_eq(sx_bytes(x->body, x->len), sx_bytes(y->body, y->len)));
    }
    for (const struct sx_ntf *u = a->q->ntf->head; u != NULL; u = u->next, v = v->next)
        CHECK(v != NULL && memcmp(u->msg_id, v->msg_id, SX_ID_LEN) == 0 && u->ts_ms == v->ts_ms);
    CHECK(y == NULL && v == NULL);
}

static void write_file(simplex_bytes in)
{
    FILE *f = fopen(path, "wb");

    CHECK(f != NULL && fwrite(in.ptr, 1, in.len, f) == in.len && fclose(f) == 0);
}

static void check_saved(struct shelf *s, bool ntfs)
{
    struct sx_errtext none = { NULL, 0 };
    struct sx_msg_log_count count;
    struct shelf again;

    CHECK((ntfs ? sx_ntf_log_save(s->st, path, &none) : sx_msg_log_save(s->st, path, &none)) ==
          SIMPLEX_OK);
    shelf_open(&again);
    CHECK(load(&again, ntfs, false, &count) == SIMPLEX_OK);
    CHECK(count.loaded == (ntfs ? s->q->ntf->count : s->q->count));
    CHECK(count.known == 0 && count.no_queue == 0 && count.bad == 0);
    check_same(s, &again);
    shelf_close(&again);
}

static void check_file(simplex_bytes in, bool ntfs, bool skip)
{
    struct found f = find_records(in, ntfs, skip);
    struct sx_msg_log_count count;
    struct shelf s;

    write_file(in);
    shelf_open(&s);
    CHECK(load(&s, ntfs, skip, &count) == (f.damaged ? SIMPLEX_E_DB_DAMAGED : SIMPLEX_OK));
    CHECK(count.loaded + count.known == f.ours && (count.known == 0 || !ntfs));
    CHECK(count.no_queue == f.no_queue && count.bad == f.bad);
    size_t kept = count.loaded < SX_STORE_NTF_MAX ? count.loaded : SX_STORE_NTF_MAX;
    CHECK(s.q->count == (ntfs ? 0 : count.loaded) && s.q->ntf->count == (ntfs ? kept : 0));
    check_saved(&s, ntfs);
    shelf_close(&s);
}

static simplex_bytes expand(simplex_bytes in)
{
    static uint8_t file[FILE_LEN];
    size_t len = 0;

    for (size_t i = 0; i < in.len && len + LONG_LEN <= sizeof(file); i++) {
        if (in.ptr[i] == LONG_BYTE) {
            memset(file + len, 'A', LONG_LEN);
            len += LONG_LEN;
        } else {
            file[len++] = in.ptr[i];
        }
    }
    return sx_bytes(file, len);
}

static void remove_file(void)
{
    (void)unlink(path);
}

static void prepare(void)
{
    int fd = mkstemp(path);

    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(atexit(remove_file) == 0);
    CHECK(sx_crypto_init() == SIMPLEX_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready)
        prepare();
    ready = true;
    if (size == 0)
        return 0;
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    if (data[0] == 'l') {
        check_message(in);
        check_notification(in);
    } else if (data[0] == 'm' || data[0] == 's' || data[0] == 'n') {
        check_file(expand(in), data[0] == 'n', data[0] != 'm'); /* hints: damage stops nothing */
    }
    return 0;
}
